/* connector_host.c - sockets, names and backends of a connector. */
#include "host/connector_host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ztna/err.h>

#include "base/log.h"
#include "host/clock.h"
#include "host/locals.h"
#include "host/resolve.h"

/* --- names: relays and backends */

/* An answer may come when other services are configured: a backend is named by
 * all that makes it the same one. */
struct lookup {
  struct connector_host *p;
  size_t relay; /* SIZE_MAX: a backend */
  char service[64];
  unsigned protocol;
  uint16_t port;
  char name[300]; /* as configured */
};

static bool is_asked_for(const struct lookup *l,
                         const struct backend_config *b) {
  return b->protocol == l->protocol && b->port == l->port &&
         !strcmp(b->to, l->name);
}

static void set_backend(const struct lookup *l, const struct ztna_addr *v,
                        int n) {
  const struct connector_config *c = l->p->config;

  for (size_t i = 0; i < c->n_services; i++) {
    const struct service_config *s = &c->services[i];

    if (strcmp(s->id, l->service)) continue;
    for (size_t k = 0; k < s->n_backends; k++)
      if (is_asked_for(l, &s->backends[k]))
        connector_set_backend(l->p->core, i, k, v, (size_t)n);
  }
}

static void take_addresses(void *ctx, const struct ztna_addr *v, int n,
                           const char *why) {
  struct lookup *l = ctx;

  if (n <= 0) {
    log_warn("connector: name not resolved name=%s: %s", l->name, why);
    free(l);
    return;
  }
  if (l->p->role) host_enter(l->p->role);
  if (l->relay == SIZE_MAX)
    set_backend(l, v, n);
  else
    connector_set_relay(l->p->core, l->relay, v, (size_t)n, clock_now());
  free(l);
}

static void look_up_backend(struct connector_host *p, size_t i, size_t k) {
  const struct service_config *s = &p->config->services[i];
  const struct backend_config *b = &s->backends[k];
  struct lookup *l = malloc(sizeof(*l));
  char host[sizeof(l->name) + 2];

  if (!l) return;
  *l = (struct lookup){
      .p = p, .relay = SIZE_MAX, .protocol = b->protocol, .port = b->port};
  snprintf(l->service, sizeof(l->service), "%s", s->id);
  snprintf(l->name, sizeof(l->name), "%s", b->to);
  /* A backend for ICMP is a host without port. */
  snprintf(host, sizeof(host), "%s%s", l->name,
           b->protocol == PROTO_ICMP ? ":7" : "");
  resolve_name(host_resolver(p->host), host, 0, take_addresses, l);
}

static void look_up_relays(struct connector_host *p) {
  struct lookup *l;
  int i;

  while ((i = connector_wants_relay(p->core)) >= 0 &&
         (l = malloc(sizeof(*l)))) {
    *l = (struct lookup){.p = p, .relay = (size_t)i};
    snprintf(l->name, sizeof(l->name), "%s", p->config->relays[i]);
    resolve_name(host_resolver(p->host), p->config->relays[i], 4433,
                 take_addresses, l);
  }
}

static void look_up_backends(struct connector_host *p) {
  size_t service, backend;

  while (connector_wants_backend(p->core, &service, &backend))
    look_up_backend(p, service, backend);
}

/* --- TCP backends */

static bool sock_next(void *ctx, struct ztna_sock_op *op) {
  return connector_sock_next(((struct connector_host *)ctx)->core, op);
}

static void sock_connected(void *ctx, uint64_t now, uint32_t sock) {
  connector_sock_connected(((struct connector_host *)ctx)->core, now, sock);
}

static void sock_failed(void *ctx, uint64_t now, uint32_t sock,
                        enum ztna_sock_error why) {
  connector_sock_failed(((struct connector_host *)ctx)->core, now, sock, why);
}

static uint8_t *sock_room(void *ctx, uint32_t sock, size_t *room) {
  return connector_sock_room(((struct connector_host *)ctx)->core, sock, room);
}

static void sock_read(void *ctx, uint64_t now, uint32_t sock, size_t n) {
  connector_sock_read(((struct connector_host *)ctx)->core, now, sock, n);
}

static void sock_eof(void *ctx, uint64_t now, uint32_t sock) {
  connector_sock_eof(((struct connector_host *)ctx)->core, now, sock);
}

static int sock_peek(void *ctx, uint32_t sock, struct ztna_sock_vec *v, int n) {
  return connector_sock_peek(((struct connector_host *)ctx)->core, sock, v, n);
}

static void sock_wrote(void *ctx, uint64_t now, uint32_t sock, size_t n) {
  connector_sock_wrote(((struct connector_host *)ctx)->core, now, sock, n);
}

static const struct tcp_sock_core sock_core = {
    .next = sock_next,
    .connected = sock_connected,
    .failed = sock_failed,
    .room = sock_room,
    .read = sock_read,
    .eof = sock_eof,
    .peek = sock_peek,
    .wrote = sock_wrote,
};

static void on_sock_ready(void *ctx, uint64_t now) {
  tcp_socks_run(((struct connector_host *)ctx)->socks, now);
}

/* --- UDP and ICMP backends */

static void on_packet(void *ctx, uint32_t flow, const uint8_t *data,
                      size_t len) {
  struct connector_host *p = ctx;
  connector_backend_in(p->core, clock_now(), flow, data, len);
}

static void on_echo(void *ctx, uint32_t flow, uint16_t seq, const uint8_t *data,
                    size_t len) {
  struct connector_host *p = ctx;
  connector_echo_in(p->core, clock_now(), flow, seq, data, len);
}

static void on_error(void *ctx, uint32_t flow, enum backend_error kind,
                     uint32_t mtu) {
  static const enum connector_backend_error kinds[] = {
      [BACKEND_REFUSED] = CONNECTOR_REFUSED,
      [BACKEND_UNREACHABLE] = CONNECTOR_UNREACHABLE,
      [BACKEND_PROHIBITED] = CONNECTOR_PROHIBITED,
      [BACKEND_TOO_BIG] = CONNECTOR_TOO_BIG,
  };
  struct connector_host *p = ctx;
  connector_backend_failed(p->core, clock_now(), flow, kinds[kind], mtu);
}

static const struct backend_events backend_events = {on_packet, on_echo,
                                                     on_error};

static void on_backend_readable(void *ctx, uint64_t now) {
  backend_run(((struct connector_host *)ctx)->backend);
}

static void open_failed(struct connector_host *p, uint64_t now, uint32_t flow,
                        int rc, bool ping) {
  static bool told;

  if (ping && rc == ZTNA_EPERM && !told) {
    told = true;
    log_err("connector: cannot ping backends: put its group into sysctl "
            "net.ipv4.ping_group_range, or give it CAP_NET_RAW and set "
            "sandbox.capabilities and sandbox.seccomp to false");
  }
  connector_backend_failed(
      p->core, now, flow,
      rc == ZTNA_EPERM ? CONNECTOR_PROHIBITED : CONNECTOR_UNREACHABLE, 0);
}

static void do_op(struct connector_host *p, uint64_t now,
                  const struct backend_op *op) {
  int rc;

  if (op->kind != BACKEND_OP_SEND) backend_flush(p->backend);
  switch (op->kind) {
  case BACKEND_OP_OPEN:
  case BACKEND_OP_OPEN_PING:
    backend_close(p->backend, op->flow);
    rc = op->kind == BACKEND_OP_OPEN
             ? backend_open(p->backend, op->flow, &op->addr)
             : backend_open_ping(p->backend, op->flow, &op->addr);
    if (rc < 0)
      open_failed(p, now, op->flow, rc, op->kind == BACKEND_OP_OPEN_PING);
    break;
  case BACKEND_OP_SEND:
    backend_queue(p->backend, op->flow, op->data, op->len);
    break;
  case BACKEND_OP_SEND_ECHO:
    backend_send_echo(p->backend, op->flow, op->seq, op->data, op->len);
    break;
  case BACKEND_OP_CLOSE:
    backend_close(p->backend, op->flow);
    break;
  }
}

/* --- the role in the loop */

static void flush(void *ctx, uint64_t now) {
  struct connector_host *p = ctx;
  struct backend_op op;

  while (connector_backend_next(p->core, &op)) do_op(p, now, &op);
  backend_flush(p->backend);
  tcp_socks_flush(p->socks, now);
  connector_checks_flush(p);
  look_up_backends(p);
  audit_drain(p->audit, connector_audit(p->core));
}

static void on_udp(void *ctx, uint64_t now, const struct dgram *d) {
  connector_udp_in(((struct connector_host *)ctx)->core, now, d);
}

static void on_tick(void *ctx, uint64_t now) {
  struct connector_host *p = ctx;
  connector_tick(p->core, now);
  portmap_tick(p->portmap, now);
  look_up_relays(p);
}

static int next(void *ctx, uint64_t now, struct dgram *v, int max) {
  return connector_next(((struct connector_host *)ctx)->core, now, v, max);
}

static uint64_t deadline(const void *ctx) {
  const struct connector_host *p = ctx;
  return time_min(time_min(connector_deadline(p->core), p->drain_until),
                  portmap_deadline(p->portmap));
}

static void drain(void *ctx, uint64_t now) {
  struct connector_host *p = ctx;
  connector_set_draining(p->core, true, now);
  p->drain_until = now + p->config->drain_timeout;
}

static bool drained(const void *ctx, uint64_t now) {
  const struct connector_host *p = ctx;
  return now >= p->drain_until || connector_is_drained(p->core);
}

static void toggle(void *ctx, uint64_t now) {
  struct connector_host *p = ctx;
  if (p->drain_until == NEVER)
    connector_set_draining(p->core, !connector_is_draining(p->core), now);
}

static void tell_locals(struct connector_host *p, uint64_t now) {
  struct ztna_local v[LOCALS_MAX];
  connector_set_locals(p->core, v, locals_list(v, p->udp, 0), now);
}

static void on_mapped(void *ctx, uint64_t now, const struct ztna_addr *v,
                      size_t n) {
  connector_set_mapped(((struct connector_host *)ctx)->core, v, n, now);
}

static void network_changed(void *ctx, uint64_t now) {
  struct connector_host *p = ctx;
  tell_locals(p, now);
  connector_network_changed(p->core, now);
  portmap_network_changed(p->portmap, now);
}

static void reload(void *ctx, uint64_t now) {
  struct connector_host *p = ctx;
  if (p->on_reload) p->on_reload(p->reload_ctx);
}

static void stop(void *ctx, uint64_t now) {
  struct connector_host *p = ctx;
  p->drain_until = NEVER; /* over */
  portmap_stop(p->portmap, now);
  connector_stop(p->core, now);
}

static bool stopped(const void *ctx) {
  const struct connector_host *p = ctx;
  return connector_stopped(p->core) && portmap_stopped(p->portmap);
}

static const struct loop_role verbs = {
    .udp_in = on_udp,
    .tick = on_tick,
    .next = next,
    .deadline = deadline,
    .flush = flush,
    .drain = drain,
    .drained = drained,
    .toggle = toggle,
    .stop = stop,
    .stopped = stopped,
    .reload = reload,
    .network_changed = network_changed,
};

/* --- start */

/* The core's view of the configured services; *backends holds all of them. */
static struct connector_service *
services_of(const struct connector_config *c,
            struct connector_backend **backends) {
  struct connector_service *v = calloc(c->n_services + 1, sizeof(*v));
  size_t n = 0;

  for (size_t i = 0; i < c->n_services; i++) n += c->services[i].n_backends;
  *backends = calloc(n + 1, sizeof(**backends));
  if (!v || !*backends) {
    free(v);
    return NULL;
  }
  n = 0;
  for (size_t i = 0; i < c->n_services; i++) {
    const struct service_config *s = &c->services[i];

    v[i] = (struct connector_service){.id = s->id,
                                      .backends = *backends + n,
                                      .n_backends = s->n_backends,
                                      .agents = (const char *const *)s->agents,
                                      .n_agents = s->n_agents,
                                      .weight = s->weight};
    connector_checks_rule(s, &v[i]);
    for (size_t k = 0; k < s->n_backends; k++)
      (*backends)[n++] = (struct connector_backend){
          .protocol = s->backends[k].protocol,
          .port = s->backends[k].port,
          .proxy_protocol = s->backends[k].proxy_protocol,
          .to = s->backends[k].to};
  }
  return v;
}

static int make_core(struct connector_host *p, struct tls *tls) {
  const struct connector_config *c = p->config;
  struct connector_backend *backends = NULL;
  struct connector_service *services = services_of(c, &backends);
  struct connector_options o = {
      .tls = tls,
      .rng = &clock_rng,
      .relays = (const char *const *)c->relays,
      .n_relays = c->n_relays,
      .services = services,
      .n_services = c->n_services,
      .max_flows = c->max_flows,
      .max_flows_per_agent = c->max_flows_per_agent,
      .udp_idle_after = c->udp_idle_after,
      .direct = c->direct,
      .direct_networks = c->direct_networks,
      .n_direct_networks = c->n_direct_networks,
      .max_tcp_flows = c->max_tcp_flows,
      .max_tcp_flows_per_agent = c->max_tcp_flows_per_agent,
      .max_buffered = c->max_buffered,
      .connect_timeout = c->connect_timeout,
      .cubic = c->congestion == CONGESTION_CUBIC,
      .audit = c->audit.file ? AUDIT_QUEUE : 0,
  };

  if (services) p->core = connector_new(&o, clock_now());
  free(services);
  free(backends);
  if (!p->core) return ZTNA_ENOMEM;
  p->backend = backend_new(c->max_flows, &backend_events, p);
  p->socks = tcp_socks_new(connector_max_socks(p->core), &sock_core, p);
  return p->backend && p->socks ? 0 : ZTNA_ENOMEM;
}

int connector_host_start(struct connector_host *p, struct host *h,
                         struct connector_config *config, struct tls *tls,
                         struct udp *udp) {
  int rc;

  p->config = config;
  p->host = h;
  p->drain_until = NEVER;
  rc = make_core(p, tls);
  if (rc < 0) {
    udp_free(udp);
    return rc;
  }
  p->role = host_add(h, &verbs, p, udp);
  if (!p->role ||
      host_watch(p->role, backend_fd(p->backend), on_backend_readable, p) < 0 ||
      host_watch(p->role, tcp_socks_fd(p->socks), on_sock_ready, p) < 0 ||
      connector_checks_start(p) < 0)
    return ZTNA_EIO;
  p->udp = udp;
  tell_locals(p, clock_now());
  if (config->port_mapping)
    p->portmap = portmap_new(p->role, udp, on_mapped, p);
  for (size_t i = 0; i < config->n_services; i++)
    for (size_t k = 0; k < config->services[i].n_backends; k++)
      look_up_backend(p, i, k);
  look_up_relays(p);
  return 0;
}

/* --- other services */

static size_t number_of(const struct connector_config *c, const char *id) {
  for (size_t i = 0; i < c->n_services; i++)
    if (!strcmp(c->services[i].id, id)) return i;
  return SIZE_MAX;
}

/* Where the services of a are in b. */
static size_t *numbers(const struct connector_config *a,
                       const struct connector_config *b) {
  size_t *to = calloc(a->n_services + 1, sizeof(*to));

  for (size_t i = 0; to && i < a->n_services; i++)
    to[i] = number_of(b, a->services[i].id);
  return to;
}

static void exchange(struct connector_config *a, struct connector_config *b) {
  struct connector_config was = *a;

  a->services = b->services;
  a->n_services = b->n_services;
  a->drain_timeout = b->drain_timeout;
  b->services = was.services;
  b->n_services = was.n_services;
  b->drain_timeout = was.drain_timeout;
}

int connector_host_reload(struct connector_host *p,
                          struct connector_config *fresh) {
  struct connector_backend *backends = NULL;
  struct connector_service *v = services_of(fresh, &backends);
  size_t *to = numbers(p->config, fresh);
  int rc = ZTNA_ENOMEM;

  for (size_t i = 0; v && to && i < p->config->n_services; i++)
    if (to[i] != SIZE_MAX)
      v[to[i]].check_changed = connector_checks_differ(&p->config->services[i],
                                                       &fresh->services[to[i]]);
  if (v && to)
    rc = connector_set_services(p->core, v, fresh->n_services, clock_now());
  if (rc == 0) {
    checks_renumber(p->checks, to, p->config->n_services);
    exchange(p->config, fresh);
  }
  free(v);
  free(backends);
  free(to);
  return rc;
}

void connector_host_free(struct connector_host *p) {
  audit_close(p->audit, p->core ? connector_audit(p->core) : NULL);
  backend_free(p->backend);
  tcp_socks_free(p->socks);
  checks_free(p->checks);
  portmap_free(p->portmap);
  connector_free(p->core);
}
