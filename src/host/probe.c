/* probe.c - one run of the probe: names, one path per server and family, all of
 * them measured at once, within the time that was given. */
#include "host/probe_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ztna/err.h>

#include "base/log.h"
#include "host/clock.h"

#define NAMES_WITHIN (1500 * MS)

enum { PORT_RELAY = 4433, PORT_STUN = 3478 };

static size_t n_paths(const struct probe *p) { return 2 * p->o->n_targets; }

/* --- one server's address */

/* The first two servers with addresses of their own tell mapping; relays stand
 * in front of plain servers. */
static void tell_observer(struct probe *p, int family) {
  size_t n = 0;
  for (int relay = 1; relay >= 0; relay--)
    for (size_t i = 0; i < n_paths(p) && n < OBSERVER_SERVERS; i++) {
      const struct probe_path *q = &p->paths[i];
      if (q->addr.family == family && q->target->relay == relay)
        observer_set_server(p->observer, n++, family, &q->addr);
    }
}

static void path_begin(struct probe_path *q, const struct ztna_addr *a,
                       uint64_t now) {
  struct probe *p = q->probe;
  q->addr = *a;
  if (!p->has[a->family == 6]) return;
  ping_start(&q->ping, a, &clock_rng, now);
  if (p->quic && q->target->relay) probe_control_dial(q, now);
}

static bool path_is_over(const struct probe_path *q, uint64_t now) {
  return ping_is_over(&q->ping, now) && probe_control_is_over(q, now);
}

/* --- names */

static void on_name(void *ctx, const struct ztna_addr *v, int n,
                    const char *why) {
  struct probe_path *q = ctx; /* that of IPv4, IPv6's follows */
  struct probe *p = q->probe;
  p->n_resolving--;
  if (p->stopping || p->observed) return;
  if (n <= 0) snprintf(p->why[q->index], sizeof(p->why[0]), "%s", why);
  if (p->role) host_enter(p->role);
  uint64_t now = clock_now();
  for (int i = 0; i < n; i++) {
    struct probe_path *at = q + (v[i].family == 6);
    if (!at->addr.family) path_begin(at, &v[i], now);
  }
}

static void look_up(struct probe *p) {
  p->n_resolving = p->o->n_targets;
  for (size_t i = 0; i < n_paths(p); i++) {
    struct probe_path *q = &p->paths[i];
    *q = (struct probe_path){.probe = p,
                             .target = &p->o->targets[i / 2],
                             .index = i / 2,
                             .family = i % 2 ? 6 : 4};
  }
  for (size_t i = 0; i < p->o->n_targets; i++) {
    const struct probe_target *t = &p->o->targets[i];
    snprintf(p->why[i], sizeof(p->why[i]), "the name service does not answer");
    resolve_name(host_resolver(p->host), t->name,
                 t->relay ? PORT_RELAY : PORT_STUN, on_name, &p->paths[2 * i]);
  }
}

/* --- port mapping */

/* Routers that have it answer in a few milliseconds. */
#define ROUTER_WITHIN (1500 * MS)

static void on_mapped(void *ctx, uint64_t now, const struct ztna_addr *v,
                      size_t n) {}

static void ask_router(struct probe *p) {
  struct ztna_addr any = {.family = 4};
  if (!p->o->port_mapping || !p->has[0]) return;
  p->mapped_udp = udp_new();
  if (p->mapped_udp && udp_bind(p->mapped_udp, &any) >= 0)
    p->portmap = portmap_new(p->role, p->mapped_udp, on_mapped, p);
}

static bool router_is_over(const struct probe *p, uint64_t now) {
  if (!p->portmap || now >= p->begun_at + ROUTER_WITHIN) return true;
  json_t *status = portmap_status(p->portmap);
  const char *state = json_string_value(json_object_get(status, "state"));
  bool over = !state || strcmp(state, "asking");
  json_decref(status);
  return over;
}

/* --- the run */

static void begin_observing(struct probe *p, uint64_t now) {
  p->observed = true;
  tell_observer(p, 4);
  tell_observer(p, 6);
  observer_start(p->observer, now);
}

static bool is_over(const struct probe *p, uint64_t now) {
  if (!p->observed || p->lifetime.running || p->hairpin.running) return false;
  if (!observer_is_done(p->observer, 4) || !observer_is_done(p->observer, 6))
    return now >= p->end_at;
  for (size_t i = 0; i < n_paths(p); i++)
    if (!path_is_over(&p->paths[i], now)) return now >= p->end_at;
  return router_is_over(p, now);
}

static void on_result(void *ud, const struct observer_result *r) {
  struct probe *p = ud;
  int i = r->server.family == 6;
  if (r->sock || r->change) return;
  for (size_t k = 0; k < n_paths(p); k++)
    if (ztna_addr_equal(&p->paths[k].addr, &r->server)) return;
  p->n_elsewhere[i]++;
  p->n_elsewhere_answered[i] += r->mapped.family != 0;
}

/* What needs the view of IPv4 begins when it is complete. */
static void on_view(void *ud, int family) {
  struct probe *p = ud;
  uint64_t now = clock_now();
  if (family != 4 || p->stopping) return;
  if (p->o->hairpin && !p->hairpin.done) probe_hairpin_start(p, now);
  if (p->o->lifetime && !p->lifetime.done) probe_lifetime_start(p, now);
}

static void tick(void *ctx, uint64_t now) {
  struct probe *p = ctx;
  if (p->quic) quic_tick(p->quic, now);
  if (!p->observed && (!p->n_resolving || now >= p->begun_at + NAMES_WITHIN))
    begin_observing(p, now);
  if (p->observed) observer_tick(p->observer, now);
  probe_hole_tick(p, now);
  portmap_tick(p->portmap, now);
  for (size_t i = 0; i < n_paths(p); i++) probe_control_look(&p->paths[i]);
  if (!p->stopping && is_over(p, now)) host_stop(p->host, 0);
}

static uint64_t deadline(const void *ctx) {
  const struct probe *p = ctx;
  uint64_t at =
      p->observed ? observer_deadline(p->observer) : p->begun_at + NAMES_WITHIN;
  if (p->quic) at = time_min(at, quic_deadline(p->quic));
  at = time_min(at, portmap_deadline(p->portmap));
  if (p->stopping) return at;
  if (is_over(p, clock_now())) return 0;
  at = time_min(at, probe_hole_deadline(p));
  if (!router_is_over(p, clock_now()))
    at = time_min(at, p->begun_at + ROUTER_WITHIN);
  /* Once it is past, only tests without it are waited for. */
  if (!p->lifetime.running && !p->hairpin.running) at = time_min(at, p->end_at);
  for (size_t i = 0; i < n_paths(p); i++) {
    const struct probe_path *q = &p->paths[i];
    if (path_is_over(q, clock_now())) continue;
    at = time_min(at, ping_deadline(&q->ping));
    at = time_min(at, probe_control_deadline(q));
  }
  return at;
}

/* --- packets */

static void stun_in(struct probe *p, uint64_t now, const struct dgram *d) {
  struct stun_msg m;
  if (stun_read(&m, d->data, d->len) < 0) return;
  for (size_t i = 0; i < n_paths(p); i++)
    if (ping_in(&p->paths[i].ping, now, d, &m)) return;
  if (probe_hole_in(p, now, d, &m)) return;
  observer_in(p->observer, now, d, &m);
}

static void udp_in(void *ctx, uint64_t now, const struct dgram *d) {
  struct probe *p = ctx;
  if (d->data[0] > 3) {
    if (p->quic) quic_dgram_in(p->quic, now, d);
    return;
  }
  for (uint32_t at = 0; at < d->len; at += d->seg) {
    struct dgram one = *d;
    one.data += at;
    one.len = d->len - at < d->seg ? d->len - at : d->seg;
    one.seg = (uint16_t)one.len;
    stun_in(p, now, &one);
  }
}

static int next(void *ctx, uint64_t now, struct dgram *v, int max) {
  struct probe *p = ctx;
  int n = 0;
  for (size_t i = 0; !p->stopping && i < n_paths(p) && n < max; i++)
    if (ping_next(&p->paths[i].ping, now, &v[n])) n++;
  if (n) return n;
  if (!p->stopping && probe_hole_next(p, now, &v[0])) return 1;
  if (p->observed && !p->stopping) n = observer_next(p->observer, now, v, max);
  if (!n && p->quic) n = quic_next(p->quic, now, v, max);
  return n;
}

static void stop(void *ctx, uint64_t now) {
  struct probe *p = ctx;
  p->stopping = true;
  p->mapping = portmap_status(p->portmap);
  portmap_stop(p->portmap, now);
  for (size_t i = 0; i < n_paths(p); i++) probe_control_close(&p->paths[i]);
}

static bool stopped(const void *ctx) {
  const struct probe *p = ctx;
  for (size_t i = 0; i < n_paths(p); i++)
    if (p->paths[i].control.session) return false;
  return portmap_stopped(p->portmap);
}

static const struct loop_role verbs = {
    .udp_in = udp_in,
    .tick = tick,
    .next = next,
    .deadline = deadline,
    .stop = stop,
    .stopped = stopped,
};

/* --- life */

static void bind_family(struct probe *p, int i) {
  struct ztna_addr any = {.family = i ? 6 : 4};
  if (!net_has(p->net, any.family)) return;
  int s = udp_bind(p->udp, &any);
  p->has[i] = s >= 0;
  if (s >= 0) p->port[i] = udp_local(p->udp, s).port;
}

static void tell_locals(struct probe *p) {
  struct ztna_addr v[PROBE_NET_ADDRS];
  p->n_addrs = net_addrs(p->net, 0, p->addrs, PROBE_NET_ADDRS);
  if (p->n_addrs < 0) p->n_addrs = 0;
  for (int i = 0; i < p->n_addrs; i++) {
    v[i] = p->addrs[i].addr;
    v[i].port = p->port[v[i].family == 6];
  }
  observer_set_local(p->observer, v, (size_t)p->n_addrs);
}

static int make_quic(struct probe *p) {
  struct quic_config cfg = {
      .tls = p->o->tls, .rng = &clock_rng, .retry = QUIC_RETRY_NEVER};
  if (!p->o->tls) return 0;
  rng_fill(&clock_rng, cfg.secret, sizeof(cfg.secret));
  p->quic = quic_new(&cfg);
  return p->quic ? 0 : ZTNA_ENOMEM;
}

static int make(struct probe *p) {
  struct observer_options oo = {.rng = &clock_rng,
                                .socks = &p->socks,
                                .filtering = true,
                                .on_result = on_result,
                                .on_done = on_view,
                                .ud = p};
  if (!(p->host = host_new()) || !(p->udp = udp_new()) ||
      !(p->net = net_new()) || !(p->observer = observer_new(&oo)))
    return ZTNA_EIO;
  if (make_quic(p) < 0) return ZTNA_ENOMEM;
  for (int i = 0; i < 2; i++) bind_family(p, i);
  if (!udp_count(p->udp)) return ZTNA_EIO;
  tell_locals(p);
  p->role = host_add(p->host, &verbs, p, p->udp);
  if (!p->role) return ZTNA_EIO;
  p->udp = NULL;
  ask_router(p);
  return 0;
}

static void unmake(struct probe *p) {
  quic_free(p->quic);
  observer_free(p->observer);
  for (size_t i = 0; i < n_paths(p); i++) json_decref(p->paths[i].control.self);
  net_free(p->net);
  udp_free(p->udp);
  if (p->host) host_free(p->host);
  portmap_free(p->portmap);
  udp_free(p->mapped_udp);
  json_decref(p->mapping);
  free(p);
}

int probe_run(const struct probe_options *o, json_t **report,
              enum probe_result *result) {
  struct probe *p = calloc(1, sizeof(*p));
  if (!p) return ZTNA_ENOMEM;
  p->o = o;
  p->begun_at = clock_now();
  p->end_at = p->begun_at + o->timeout;
  int rc = make(p);
  if (rc == 0) {
    look_up(p);
    host_run(p->host);
    *report = probe_report(p, clock_now(), result);
    if (!*report) rc = ZTNA_ENOMEM;
  }
  unmake(p);
  return rc;
}
