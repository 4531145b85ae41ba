/* connector.c - life, verbs and relays of the connector. */
#include "role/connector_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "base/log.h"

/* A relay asks every 5 s whether its connectors are there. One that does not
 * was started again, and nobody can reach us until we notice. */
#define KEEP_ALIVE (6 * SEC)

void connector_drop(struct connector *c, enum reason why) {
  c->counters.drops[why]++;
}

/* --- relays --- */

size_t connector_relay_index(const struct connector *c,
                             const struct uplink *u) {
  size_t i = 0;

  while (i < c->n_uplinks && c->uplinks[i] != u) i++;
  return i;
}

struct registration {
  struct connector *c;
  struct uplink *u;
  bool first; /* of its connection */
};

static void on_registered(void *ud, int status, json_t *body) {
  struct registration *r = ud;
  enum reason why;

  /* Without an answer the connection is gone; the next one begins anew. */
  if (status) check_registered(r->c, r->u, status == 200);
  if (status == 200) {
    uplink_confirm(r->u);
    /* Later the events tell what became of grants, and the answer may be older
     * than they are. */
    if (r->first) grants_sync(r->c, r->u, body);
    log_info("connector: %s relay=%s",
             r->first ? "registered" : "services registered anew",
             uplink_name(r->u));
  } else if (status) {
    why = uplink_problem(status, body);
    log_err("connector: registration refused relay=%s reason=%s detail=\"%s\"",
            uplink_name(r->u), reason_name(why),
            body && json_string_value(json_object_get(body, "detail"))
                ? json_string_value(json_object_get(body, "detail"))
                : reason_text(why));
    r->c->counters.n_refused++;
  }
  free(r);
}

bool connector_register(struct connector *c, struct uplink *u, bool first) {
  struct registration *r = malloc(sizeof(*r));
  json_t *list = json_array(), *body;
  bool ok;

  for (size_t i = 0; i < c->n_services; i++)
    json_array_append_new(list, service_json(c->services[i]));
  body = json_pack("{s:s, s:o, s:b}", "instance", c->instance, "services", list,
                   "draining", c->draining);
  if (first) json_object_set_new(body, "resume", link_tickets(c, u));
  check_registering(c, u);
  if (r) *r = (struct registration){c, u, first};
  ok = r && uplink_request(u, "PUT", "/v1/connector", body, on_registered, r);
  if (!ok) free(r);
  json_decref(body);
  return ok;
}

static void on_up(struct uplink *u, void *ud, json_t *self) {
  struct connector *c = ud;

  c->now = quic_now(c->quic);
  link_follow(c, u);
  connector_direct_relay(c, u, true);
  log_info("connector: relay connected relay=%s identity=%s", uplink_name(u),
           uplink_relay_identity(u));
  connector_register(c, u, true);
}

static void on_event(struct uplink *u, void *ud, const char *name, json_t *e) {
  struct connector *c = ud;

  c->now = quic_now(c->quic);
  if (!strcmp(name, "route-request"))
    link_request(c, u, e);
  else if (!strcmp(name, "route-closed"))
    link_route_closed(c, u, e);
  else if (!strcmp(name, "peer-observed"))
    link_observed(c, u, e);
  else if (!strncmp(name, "grant-", 6))
    grant_event(c, u, name, e);
}

static void on_down(struct uplink *u, void *ud, enum reason why,
                    const char *text) {
  struct connector *c = ud;

  c->now = quic_now(c->quic);
  check_unregistered(c, u);
  connector_direct_relay(c, u, false);
  log_warn("connector: relay lost relay=%s reason=%s text=\"%s\" (%s; can be "
           "fixed by: %s)",
           uplink_name(u), reason_name(why), text, reason_text(why),
           reason_fix(why));
  if (uplink_is_revoked(u)) links_by_relay_end(c, u, why);
}

static const struct uplink_events uplink_events = {on_up, on_event, on_down};

/* --- life --- */

static int make_uplinks(struct connector *c,
                        const struct connector_options *o) {
  c->uplinks = calloc(o->n_relays + 1, sizeof(*c->uplinks));
  if (!c->uplinks) return -1;
  for (; c->n_uplinks < o->n_relays; c->n_uplinks++) {
    struct uplink_options u = {.quic = c->quic,
                               .rng = o->rng,
                               .relay = o->relays[c->n_uplinks],
                               .trust_domain =
                                   tls_identity(o->tls)->trust_domain,
                               .ev = &uplink_events,
                               .ud = c,
                               .keep_alive = KEEP_ALIVE};

    if (!(c->uplinks[c->n_uplinks] = uplink_new(&u))) return -1;
  }
  return 0;
}

static void set_defaults(struct connector_options *o) {
  if (!o->max_tcp_flows) o->max_tcp_flows = 8192;
  if (!o->max_tcp_flows_per_agent) o->max_tcp_flows_per_agent = 1024;
  if (!o->max_buffered) o->max_buffered = 256 << 20;
  if (!o->connect_timeout) o->connect_timeout = 5 * SEC;
}

struct connector *connector_new(const struct connector_options *o,
                                uint64_t now) {
  struct connector *c = calloc(1, sizeof(*c));
  struct quic_config q = {.tls = o->tls,
                          .rng = o->rng,
                          .ud = c,
                          .retry = QUIC_RETRY_NEVER,
                          .cubic = o->cubic};
  uint8_t raw[ID_LEN];

  if (!c) return NULL;
  c->o = *o;
  set_defaults(&c->o);
  c->now = now;
  c->sweep_at = NEVER;
  rng_fill(o->rng, q.secret, sizeof(q.secret));
  rng_fill(o->rng, raw, sizeof(raw));
  hex_print(raw, sizeof(raw), c->instance);
  if (connector_direct_init(c) < 0) goto fail;
  c->quic = quic_new(&q);
  c->flows = flows_new(o->max_flows, LINKS_MAX, o->udp_idle_after, o->rng);
  c->ops = calloc(OPS_MAX, sizeof(*c->ops));
  c->scratch = malloc(65536);
  if (c->quic && c->flows && c->ops && c->scratch &&
      pool_init(&c->pool, POOL_PACKETS) == 0 && services_copy(c, o) == 0 &&
      make_uplinks(c, o) == 0 && check_init(c, o) == 0 &&
      splices_init(c) == 0 && connector_audit_init(c) == 0)
    return c;
fail:
  connector_free(c);
  return NULL;
}

void connector_free(struct connector *c) {
  if (!c) return;
  for (size_t i = c->n_links; i-- > 0;)
    if (c->links[i]) link_free(c->links[i]);
  splices_free(c);
  quic_free(c->quic);
  for (size_t i = 0; i < c->n_uplinks; i++) uplink_free(c->uplinks[i]);
  direct_common_done(&c->direct);
  services_free(c);
  ops_free(c);
  check_free(c);
  connector_audit_done(c);
  flows_free(c->flows);
  pool_done(&c->pool);
  free(c->uplinks);
  free(c->ops);
  free(c->scratch);
  free(c);
}

void connector_set_relay(struct connector *c, size_t relay,
                         const struct ztna_addr *v, size_t n, uint64_t now) {
  if (relay < c->n_uplinks) uplink_set_addrs(c->uplinks[relay], v, n, now);
}

/* Agents decide when paths are made anew (agent_cert.c). */
static void tell_exchanged(struct link *l) {
  for (size_t i = 0; i < l->ways.n; i++) {
    const struct quic_conn *q = path_conn(l->ways.v[i]->path);

    if (!q || !quic_is_ready(q) || !quic_is_outdated(q)) continue;
    link_say(l, json_pack("{s:s}", "type", "renew"));
    return;
  }
}

void connector_set_tls(struct connector *c, struct tls *t, uint64_t now) {
  c->now = now;
  c->o.tls = t;
  quic_set_tls(c->quic, t); /* puts out paths (connector_way.c) and relays */
  for (size_t i = 0; i < c->n_links; i++)
    if (c->links[i]) tell_exchanged(c->links[i]);
}

int connector_wants_relay(struct connector *c) {
  for (size_t i = 0; i < c->n_uplinks; i++)
    if (uplink_wants_addrs(c->uplinks[i])) return (int)i;
  return -1;
}

/* --- verbs --- */

void connector_udp_in(struct connector *c, uint64_t now,
                      const struct dgram *d) {
  c->now = now;
  if (direct_udp_in(&c->direct, now, d)) return;
  quic_dgram_in(c->quic, now, d);
  if (splices_are_too_fat(c)) c->tcp_at = now;
}

void connector_tick(struct connector *c, uint64_t now) {
  c->now = now;
  quic_tick(c->quic, now);
  for (size_t i = 0; i < c->n_uplinks; i++) uplink_tick(c->uplinks[i], now);
  nat_tick(c, now);
  link_tick(c, now);
  direct_tick(&c->direct, now);
  splices_tick(c, now);
  check_tick(c, now);
}

/* A path's goodbye leaves before its socket is closed. */
int connector_next(struct connector *c, uint64_t now, struct dgram *v,
                   int max) {
  int n = quic_next(c->quic, now, v, max);

  c->now = now;
  return n < max ? n + direct_next(&c->direct, now, v + n, max - n) : n;
}

uint64_t connector_deadline(const struct connector *c) {
  uint64_t at = quic_deadline(c->quic);

  for (size_t i = 0; i < c->n_uplinks; i++)
    at = time_min(at, uplink_deadline(c->uplinks[i]));
  at = time_min(at, flows_deadline(c->flows));
  at = time_min(at, c->check_at);
  at = time_min(at, c->tcp_at);
  at = time_min(at, direct_deadline(&c->direct));
  return time_min(at, c->sweep_at);
}

void connector_stop(struct connector *c, uint64_t now) {
  c->now = now;
  c->stopping = true;
  splices_stop(c);
  for (size_t i = 0; i < c->n_links; i++)
    if (c->links[i]) nat_forget(c->links[i], REASON_SHUTTING_DOWN);
  for (size_t i = 0; i < c->n_links; i++)
    for (size_t k = 0; c->links[i] && k < c->links[i]->ways.n; k++)
      path_close(c->links[i]->ways.v[k]->path, REASON_SHUTTING_DOWN);
  for (size_t i = 0; i < c->n_uplinks; i++) uplink_close(c->uplinks[i]);
}

bool connector_stopped(const struct connector *c) {
  for (size_t i = 0; i < c->n_uplinks; i++)
    if (!uplink_is_closed(c->uplinks[i])) return false;
  return c->stopping;
}

/* --- asked by people --- */

bool connector_ready(const struct connector *c, enum reason *why) {
  *why = c->stopping ? REASON_SHUTTING_DOWN : REASON_RELAY_UNREACHABLE;
  if (c->draining && !c->stopping) *why = REASON_DRAINING;
  if (c->stopping || c->draining) return false;
  for (size_t i = 0; i < c->n_uplinks; i++) {
    if (uplink_is_up(c->uplinks[i])) return true;
    *why = uplink_why(c->uplinks[i], NULL);
  }
  return false;
}

#define COUNTER(member, text)                           \
  {                                                     \
    "ztna_connector_" #member, text, METRIC_GAUGE,      \
        offsetof(struct connector_counters, n_##member) \
  }

static const struct metric metrics[] = {
    COUNTER(links, "agents with a route here"),
    COUNTER(flows, "UDP and ICMP conversations"),
    {"ztna_connector_route_requests_total", "route requests of relays",
     METRIC_COUNTER, offsetof(struct connector_counters, n_requests)},
    {"ztna_connector_refused_total", "route requests refused", METRIC_COUNTER,
     offsetof(struct connector_counters, n_refused)},
    {"ztna_connector_to_backend_packets_total", "packets given to backends",
     METRIC_COUNTER, offsetof(struct connector_counters, n_to_backend)},
    {"ztna_connector_from_backend_packets_total", "packets sent to agents",
     METRIC_COUNTER, offsetof(struct connector_counters, n_from_backend)},
    {"ztna_connector_moves_total", "times a link went on over another path",
     METRIC_COUNTER, offsetof(struct connector_counters, n_moves)},
    {"ztna_connector_failovers_total",
     "of them, those from a path that did not work any more", METRIC_COUNTER,
     offsetof(struct connector_counters, n_failovers)},
    {"ztna_connector_drops_total", "inner packets dropped", METRIC_REASONS,
     offsetof(struct connector_counters, drops)},
    {0},
};

static const struct metric quic_metrics[] = {
    {"ztna_connector_quic_packets_in_total", "QUIC packets received",
     METRIC_COUNTER, offsetof(struct quic_stats, n_in)},
    {"ztna_connector_quic_packets_out_total", "QUIC packets sent",
     METRIC_COUNTER, offsetof(struct quic_stats, n_out)},
    {"ztna_connector_quic_drops_total", "outer packets dropped", METRIC_REASONS,
     offsetof(struct quic_stats, drops)},
    {"ztna_connector_quic_discarded_packets_total",
     "packets of a connection that were damaged, replayed or of no use",
     METRIC_COUNTER, offsetof(struct quic_stats, n_discarded)},
    {0},
};

static const struct metric path_metrics[] = {PATH_METRICS("connector")};

void connector_metrics(const struct connector *c, struct sbuf *out) {
  struct path_totals sum = c->gone;

  for (size_t i = 0; i < c->n_links; i++)
    for (size_t k = 0; c->links[i] && k < c->links[i]->ways.n; k++)
      path_total(c->links[i]->ways.v[k]->path, &sum);
  metrics_print(out, path_metrics, &sum);
  metrics_print(out, metrics, &c->counters);
  link_ways_metrics(c, out);
  metrics_print(out, direct_metrics, &c->direct.stats);
  metrics_print(out, quic_metrics, quic_stats(c->quic));
  check_metrics(c, out);
  splices_metrics(c, out);
}

static json_t *service_status(const struct connector *c,
                              const struct service *s) {
  json_t *j = service_json(s);

  health_status(&s->health, c->now, j);
  return j;
}

void connector_status(const struct connector *c, json_t *status) {
  json_t *relays = json_array(), *links = json_array(), *list = json_array();

  for (size_t i = 0; i < c->n_uplinks; i++)
    json_array_append_new(relays, uplink_status(c->uplinks[i]));
  for (size_t i = 0; i < c->n_services; i++)
    json_array_append_new(list, service_status(c, c->services[i]));
  links_status(c, links);
  json_object_set_new(status, "role", json_string("connector"));
  json_object_set_new(status, "identity",
                      json_string(tls_identity(c->o.tls)->spiffe));
  json_object_set_new(status, "draining", json_boolean(c->draining));
  json_object_set_new(status, "relays", relays);
  json_object_set_new(status, "services", list);
  json_object_set_new(status, "links", links);
  json_object_set_new(status, "flows",
                      json_integer((json_int_t)c->counters.n_flows));
  json_object_set_new(status, "tcp_flows",
                      json_integer((json_int_t)c->counters.n_tcp_flows));
}
