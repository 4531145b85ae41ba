/* connector.c - `ztna connector`: exposes services next to it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "host/backend.h"
#include "host/clock.h"
#include "host/resolve.h"
#include "role.h"
#include "role/connector.h"

extern const struct applet applet_connector;

struct program {
  const struct applet_call *call;
  const struct connector_config *config;
  struct tls *tls;
  struct host *host;
  struct host_role *role;
  struct udp *udp; /* the host's once the role is added */
  struct connector *connector;
  struct backend *backend;
  struct http *http;
};

/* --- names: relays and backends */

struct lookup {
  struct program *p;
  bool relay;
  size_t i, k; /* relay; or service and its backend */
};

static void take_addresses(void *ctx, const struct ztna_addr *v, int n,
                        const char *why) {
  struct lookup l = *(struct lookup *)ctx;
  const struct connector_config *c = l.p->config;
  const char *name =
      l.relay ? c->relays[l.i] : c->services[l.i].backends[l.k].to;

  free(ctx);
  if (n <= 0) {
    log_warn("connector: name not resolved name=%s: %s", name, why);
    return;
  }
  if (l.p->role) host_enter(l.p->role);
  if (l.relay)
    connector_set_relay(l.p->connector, l.i, v, (size_t)n, clock_now());
  else
    connector_set_backend(l.p->connector, l.i, l.k, &v[0]);
}

static void look_up(struct program *p, bool relay, size_t i, size_t k) {
  struct lookup *l = malloc(sizeof(*l));
  const struct backend_config *b =
      relay ? NULL : &p->config->services[i].backends[k];
  char host[300];

  if (!l) return;
  *l = (struct lookup){p, relay, i, k};
  if (relay) {
    resolve_name(host_resolver(p->host), p->config->relays[i], 4433, take_addresses, l);
    return;
  }
  /* A backend for ICMP is a host without port. */
  snprintf(host, sizeof(host), "%s%s", b->to,
           b->protocol == PROTO_ICMP ? ":7" : "");
  resolve_name(host_resolver(p->host), host, 0, take_addresses, l);
}

static void look_up_relays(struct program *p) {
  int i;

  while ((i = connector_wants_relay(p->connector)) >= 0)
    look_up(p, true, (size_t)i, 0);
}

/* --- backends */

static void on_packet(void *ctx, uint32_t flow, const uint8_t *data,
                      size_t len) {
  struct program *p = ctx;
  connector_backend_in(p->connector, clock_now(), flow, data, len);
}

static void on_echo(void *ctx, uint32_t flow, uint16_t seq, const uint8_t *data,
                    size_t len) {
  struct program *p = ctx;
  connector_echo_in(p->connector, clock_now(), flow, seq, data, len);
}

static void on_error(void *ctx, uint32_t flow, enum backend_error kind,
                     uint32_t mtu) {
  static const enum connector_backend_error kinds[] = {
      [BACKEND_REFUSED] = CONNECTOR_REFUSED,
      [BACKEND_UNREACHABLE] = CONNECTOR_UNREACHABLE,
      [BACKEND_PROHIBITED] = CONNECTOR_PROHIBITED,
      [BACKEND_TOO_BIG] = CONNECTOR_TOO_BIG,
  };
  struct program *p = ctx;
  connector_backend_failed(p->connector, clock_now(), flow, kinds[kind], mtu);
}

static const struct backend_events backend_events = {on_packet, on_echo,
                                                     on_error};

static void on_backend_readable(void *ctx, uint64_t now) {
  backend_run(((struct program *)ctx)->backend);
}

static void open_failed(struct program *p, uint64_t now, uint32_t flow, int rc,
                        bool ping) {
  static bool told;

  if (ping && rc == ZTNA_EPERM && !told) {
    told = true;
    log_err("connector: cannot ping backends: give the process CAP_NET_RAW, or "
            "its group in sysctl net.ipv4.ping_group_range");
  }
  connector_backend_failed(p->connector, now, flow,
                           rc == ZTNA_EPERM ? CONNECTOR_PROHIBITED
                                            : CONNECTOR_UNREACHABLE,
                           0);
}

static void do_op(struct program *p, uint64_t now, const struct backend_op *op) {
  int rc;

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
    backend_send(p->backend, op->flow, op->data, op->len);
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
  struct program *p = ctx;
  struct backend_op op;

  while (connector_backend_next(p->connector, &op)) do_op(p, now, &op);
}

static void on_udp(void *ctx, uint64_t now, const struct dgram *d) {
  connector_udp_in(((struct program *)ctx)->connector, now, d);
}

static void on_tick(void *ctx, uint64_t now) {
  struct program *p = ctx;
  connector_tick(p->connector, now);
  look_up_relays(p);
}

static int next(void *ctx, uint64_t now, struct dgram *v, int max) {
  return connector_next(((struct program *)ctx)->connector, now, v, max);
}

static uint64_t deadline(const void *ctx) {
  return connector_deadline(((const struct program *)ctx)->connector);
}

static void stop(void *ctx, uint64_t now) {
  connector_stop(((struct program *)ctx)->connector, now);
}

static bool stopped(const void *ctx) {
  return connector_stopped(((const struct program *)ctx)->connector);
}

static const struct loop_role verbs = {
    .udp_in = on_udp,
    .tick = on_tick,
    .next = next,
    .deadline = deadline,
    .flush = flush,
    .stop = stop,
    .stopped = stopped,
};

/* --- local pages */

static int page_ready(void *ctx, struct sbuf *why_json) {
  enum reason why;

  if (connector_ready(((struct program *)ctx)->connector, &why)) return 1;
  role_not_ready(why_json, reason_name(why));
  return 0;
}

static void page_metrics(void *ctx, struct sbuf *out) {
  struct program *p = ctx;
  connector_metrics(p->connector, out);
  metrics_print(out, udp_metrics, udp_counters(p->udp));
  metrics_print(out, backend_metrics, backend_counters(p->backend));
}

static void page_status(void *ctx, struct sbuf *out) {
  json_t *o = json_pack("{s:s}", "schema", "ztna.status/1");
  connector_status(((struct program *)ctx)->connector, o);
  role_page_json(out, o);
}

static const struct http_pages pages = {page_ready, page_metrics, page_status};

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
    for (size_t k = 0; k < s->n_backends; k++)
      (*backends)[n++] = (struct connector_backend){s->backends[k].protocol,
                                                    s->backends[k].port};
  }
  return v;
}

static int make_connector(struct program *p) {
  const struct connector_config *c = p->config;
  struct connector_backend *backends = NULL;
  struct connector_service *services = services_of(c, &backends);
  struct connector_options o = {
      .tls = p->tls,
      .rng = &clock_rng,
      .relays = (const char *const *)c->relays,
      .n_relays = c->n_relays,
      .services = services,
      .n_services = c->n_services,
      .max_flows = c->max_flows,
      .max_flows_per_agent = c->max_flows_per_agent,
      .udp_idle_after = c->udp_idle_after,
      .unix_at_start = (int64_t)(clock_wall() / SEC),
  };

  if (services) p->connector = connector_new(&o, clock_now());
  free(services);
  free(backends);
  p->backend = backend_new(c->max_flows, &backend_events, p);
  return p->connector && p->backend ? EXIT_DONE : EXIT_FAILED;
}

static int run(struct program *p) {
  int code;

  p->host = host_new();
  if (!p->host) return EXIT_FAILED;
  p->role = host_add(p->host, &verbs, p, p->udp);
  if (!p->role || host_watch(p->role, backend_fd(p->backend),
                             on_backend_readable, p) < 0)
    return EXIT_FAILED;
  code = role_pages(p->call->config, p->host, &pages, p, &p->http);
  if (code) return code;
  for (size_t i = 0; i < p->config->n_services; i++)
    for (size_t k = 0; k < p->config->services[i].n_backends; k++)
      look_up(p, false, i, k);
  look_up_relays(p);
  log_info("connector: started identity=%s services=%zu",
           tls_identity(p->tls)->spiffe, p->config->n_services);
  code = applet_exit(host_run(p->host));
  http_stop(p->http);
  return code;
}

static int prepare(struct program *p) {
  const struct connector_config *c = p->config;
  int code = role_tls(p->call, ROLE_CONNECTOR, &p->tls);

  if (code) return code;
  for (size_t i = 0; i < c->n_services; i++)
    if (!identity_serves(tls_identity(p->tls), c->services[i].id)) {
      fprintf(stderr,
              "%s: connector.services[%zu].id: the certificate does not name "
              "\"%s\"; issue one with: ztna cert issue --role connector "
              "--service %s ...\n",
              role_source(p->call), i, c->services[i].id, c->services[i].id);
      return EXIT_CONFIG;
    }
  p->udp = role_bind(c->listen, c->n_listen);
  if (!p->udp) return EXIT_FAILED;
  return make_connector(p);
}

static int connector_start(struct applet_call *c) {
  struct program p = {.call = c, .config = &c->config->connector};
  int code = prepare(&p);

  if (code == EXIT_DONE) code = run(&p);
  if (p.host)
    host_free(p.host);
  else
    udp_free(p.udp);
  backend_free(p.backend);
  connector_free(p.connector);
  tls_free(p.tls);
  return code;
}

const struct applet applet_connector = {
    .name = "connector",
    .summary = "expose services that run next to it",
    .usage = "--config FILE",
    .about =
        "Runs where the services are. It dials its relays, tells them what it\n"
        "serves, and carries the packets of agents that were let in to the\n"
        "services' machines. It opens no port to the world: a scan of it gets\n"
        "no answer.\n",
    .example = "  ztna connector --config /etc/ztna/connector.json\n",
    .exits = "3 wrong configuration",
    .config = APPLET_CONFIG,
    .want = CONFIG_CONNECTOR,
    .max_args = 0,
    .start = connector_start,
};
