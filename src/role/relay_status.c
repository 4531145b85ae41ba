/* relay_status.c - what the relay counted, for Prometheus and for people. */
#include "role/relay_int.h"

#include <stdlib.h>

/* Everything in one place, so that one table names it. */
struct report {
  struct relay_counters own;
  struct route_stats route;
  struct quic_stats quic;
  uint64_t n_services, n_stopping;
};

#define OWN(member) offsetof(struct report, own.member)
#define ROUTE(member) offsetof(struct report, route.member)
#define QUIC(member) offsetof(struct report, quic.member)

static const struct metric metrics[] = {
    {"ztna_relay_forwarded_packets_total", "packets sent on", METRIC_COUNTER,
     ROUTE(n_packets)},
    {"ztna_relay_forwarded_bytes_total", "bytes sent on", METRIC_COUNTER,
     ROUTE(n_bytes)},
    {"ztna_relay_forwarded_trains_total", "sends of one or more packets",
     METRIC_COUNTER, ROUTE(n_trains)},
    {"ztna_relay_dropped_packets_total", "packets of routes not sent on",
     METRIC_REASONS, ROUTE(drops)},
    {"ztna_relay_queue_overflows_total", "of them those that met a full queue",
     METRIC_COUNTER, ROUTE(n_overflows)},
    {"ztna_relay_routes", "routes now, waiting ones too", METRIC_GAUGE,
     ROUTE(n_routes)},
    {"ztna_relay_routes_ended_total", "routes that ended", METRIC_REASONS,
     OWN(ended_routes)},
    {"ztna_relay_routes_resumed_total", "routes that tickets brought back",
     METRIC_COUNTER, OWN(n_resumed)},
    {"ztna_relay_routes_renewed_total", "routes made beside a former one",
     METRIC_COUNTER, OWN(n_routes_renewed)},
    {"ztna_relay_grants", "grants now", METRIC_GAUGE, OWN(n_grants)},
    {"ztna_relay_grants_made_total", "grants made", METRIC_COUNTER,
     OWN(n_grants_made)},
    {"ztna_relay_grants_renewed_total", "leases renewed", METRIC_COUNTER,
     OWN(n_grants_renewed)},
    {"ztna_relay_grants_refused_total", "grants refused", METRIC_REASONS,
     OWN(refused_grants)},
    {"ztna_relay_grants_ended_total", "grants that ended", METRIC_REASONS,
     OWN(ended_grants)},
    {"ztna_relay_answers_unwanted_total",
     "connectors' answers that were late or not asked for", METRIC_COUNTER,
     OWN(n_answers_late)},
    {"ztna_relay_connections", "control connections now, half-open ones too",
     METRIC_GAUGE, OWN(n_sessions)},
    {"ztna_relay_connections_ended_total", "control connections that ended",
     METRIC_REASONS, OWN(ended_sessions)},
    {"ztna_relay_handshakes_total", "control connections accepted",
     METRIC_COUNTER, QUIC(n_handshakes)},
    {"ztna_relay_handshakes_refused_total", "control connections refused",
     METRIC_REASONS, OWN(refused_handshakes)},
    {"ztna_relay_half_open", "handshakes on their way", METRIC_GAUGE,
     QUIC(n_half_open)},
    {"ztna_relay_retries_total", "Retry packets sent", METRIC_COUNTER,
     QUIC(n_retries)},
    {"ztna_relay_resets_total", "stateless resets sent", METRIC_COUNTER,
     QUIC(n_resets_out)},
    {"ztna_relay_stray_packets_total", "packets of no route and no connection",
     METRIC_REASONS, QUIC(drops)},
    {"ztna_relay_discarded_packets_total",
     "packets of a connection that were damaged, replayed or of no use",
     METRIC_COUNTER, QUIC(n_discarded)},
    {"ztna_relay_stun_requests_total", "STUN binding requests", METRIC_COUNTER,
     OWN(n_stun_requests)},
    {"ztna_relay_stun_answers_total", "of them answered with an address",
     METRIC_COUNTER, OWN(n_stun_answers)},
    {"ztna_relay_stun_refused_total", "of them answered by an error",
     METRIC_REASONS, OWN(stun_refusals)},
    {"ztna_relay_stun_dropped_total", "STUN packets without an answer",
     METRIC_REASONS, OWN(stun_drops)},
    {"ztna_relay_requests_total", "requests of the control API", METRIC_COUNTER,
     OWN(n_requests)},
    {"ztna_relay_requests_refused_total", "requests refused, grants aside",
     METRIC_REASONS, OWN(refused_requests)},
    {"ztna_relay_agents", "agents now, those away for less than 30 s too",
     METRIC_GAUGE, OWN(n_agents)},
    {"ztna_relay_connectors",
     "connectors now, those away for less than 30 s too", METRIC_GAUGE,
     OWN(n_connectors)},
    {"ztna_relay_services", "services known", METRIC_GAUGE,
     offsetof(struct report, n_services)},
    {"ztna_relay_stopping", "1 while it stops", METRIC_GAUGE,
     offsetof(struct report, n_stopping)},
    {0},
};

static void fill(struct report *to, const struct relay *r) {
  to->own = r->n;
  to->route = *route_stats(r->table);
  to->quic = *quic_stats(r->quic);
  to->n_services = r->n_services;
  to->n_stopping = r->stopping;
}

void relay_metrics(const struct relay *r, struct sbuf *out) {
  struct report report;
  fill(&report, r);
  metrics_print(out, metrics, &report);
}

/* --- for people */

static json_t *services(const struct relay *r) {
  json_t *list = json_array();
  for (size_t i = 0; i < r->n_services; i++) {
    const struct service *s = r->services[i];
    const struct offer *o;
    if (!s->known) continue;
    json_t *who = json_array();
    LIST_FOREACH(o, &s->offers, of_service)
    json_array_append_new(
        who,
        json_pack("{s:s, s:b, s:s, s:b, s:i}", "identity", o->connector->spiffe,
                  "connected", o->connector->session != NULL, "health",
                  o->up ? "up" : "down", "draining", o->connector->draining,
                  "weight", (int)o->weight));
    json_array_append_new(
        list, json_pack("{s:s, s:o, s:s, s:o}", "id", s->id, "addresses",
                        relay_json_ips(s->addrs, RELAY_FAMILIES), "state",
                        relay_service_state(s), "connectors", who));
  }
  return list;
}

static json_t *routes(const struct relay *r) {
  json_t *list = json_array();
  const struct meeting *m;
  size_t pos = 0;
  while ((m = map_next(&r->meetings, &pos))) {
    const struct grant *g;
    json_t *grants = json_array();
    LIST_FOREACH(g, &m->grants, of_meeting)
    json_array_append_new(grants,
                          relay_json_grant(m, g->id, g->service, &g->may));
    json_array_append_new(
        list, json_pack("{s:o, s:s, s:s, s:b, s:o, s:o, s:I, s:I, s:o}", "id",
                        relay_json_id(m->r.id), "agent", m->end[0]->spiffe,
                        "connector", m->end[1]->spiffe, "open", m->open,
                        "agent_address", relay_json_addr(&m->r.end[0].remote),
                        "connector_address",
                        relay_json_addr(&m->r.end[1].remote), "bytes_to_agent",
                        (json_int_t)m->r.end[0].n_bytes, "bytes_to_connector",
                        (json_int_t)m->r.end[1].n_bytes, "grants", grants));
  }
  return list;
}

static json_t *connection(const struct session *s) {
  const struct identity *peer = relay_session_peer(s);
  return json_pack("{s:s, s:s, s:o, s:I, s:I, s:b}", "identity", peer->spiffe,
                   "role", role_name(s->role), "address",
                   relay_json_addr(&s->remote), "rtt",
                   (json_int_t)relay_session_rtt(s), "age",
                   (json_int_t)((s->relay->now - s->began_at) / MS),
                   "registered", s->declared);
}

static json_t *connections(const struct relay *r) {
  json_t *list = json_array();
  const struct session *s;
  LIST_FOREACH(s, &r->sessions, all)
  if (s->admitted && !s->closing) json_array_append_new(list, connection(s));
  return list;
}

static json_t *reasons(const uint64_t n[REASON_N]) {
  json_t *o = json_object();
  for (int i = 0; i < REASON_N; i++)
    if (n[i])
      json_object_set_new(o, reason_name((enum reason)i),
                          json_integer((json_int_t)n[i]));
  return o;
}

static json_t *refusals(const struct relay *r) {
  return json_pack("{s:o, s:o, s:o, s:o}", "handshakes",
                   reasons(r->n.refused_handshakes), "grants",
                   reasons(r->n.refused_grants), "requests",
                   reasons(r->n.refused_requests), "packets",
                   reasons(route_stats(r->table)->drops));
}

static void add_counts(const struct relay *r, json_t *o) {
  const struct route_stats *s = route_stats(r->table);
  json_object_set_new(o, "connections",
                      json_integer((json_int_t)r->n.n_sessions));
  json_object_set_new(o, "agents", json_integer((json_int_t)r->n.n_agents));
  json_object_set_new(o, "connectors",
                      json_integer((json_int_t)r->n.n_connectors));
  json_object_set_new(o, "grants", json_integer((json_int_t)r->n.n_grants));
  json_object_set_new(o, "forwarded_packets",
                      json_integer((json_int_t)s->n_packets));
  json_object_set_new(o, "forwarded_bytes",
                      json_integer((json_int_t)s->n_bytes));
}

void relay_status(const struct relay *r, json_t *status) {
  const struct identity *own = tls_identity(r->o.tls);
  json_object_set_new(status, "identity", json_string(own->spiffe));
  json_object_set_new(status, "not_after",
                      json_integer((json_int_t)own->not_after));
  json_object_set_new(status, "stopping", json_boolean(r->stopping));
  add_counts(r, status);
  json_object_set_new(status, "refused", refusals(r));
  json_object_set_new(status, "services", services(r));
  json_object_set_new(status, "routes", routes(r));
}

/* --- GET /v1/admin/... */

void relay_admin_get(struct session *s, struct h3_req *req, const char *what) {
  struct relay *r = s->relay;
  json_t *o = json_object();
  if (strchr(h3_path(req), '?')) {
    json_decref(o);
    relay_api_refuse(s, req, REASON_MALFORMED,
                     "there is nothing to ask for "
                     "behind the question mark");
    return;
  }
  if (!strcmp(what, "connections")) {
    json_object_set_new(o, "connections", connections(r));
  } else if (!strcmp(what, "services")) {
    json_object_set_new(o, "services", services(r));
  } else if (!strcmp(what, "routes")) {
    json_object_set_new(o, "routes", routes(r));
  } else if (!strcmp(what, "status")) {
    relay_status(r, o);
  } else {
    json_decref(o);
    relay_api_refuse(s, req, REASON_ROUTE_UNKNOWN,
                     "want connections, services, routes or status");
    return;
  }
  relay_json_respond(req, 200, o);
}
