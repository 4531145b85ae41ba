/* agent_service_status.c - what `ztna status` and `ztna why` are told of a
 * service. */
#include "role/agent_int.h"

#include <string.h>

#include "role/grant_json.h"

static const char *use_name(const struct service *s) {
  static const char *const names[] = {"unused", "asking", "opening", "open",
                                      "refused"};

  return names[s->use];
}

static json_t *protocols_json(unsigned bits) {
  json_t *list = json_array();

  if (bits & PROTO_UDP) json_array_append_new(list, json_string("udp"));
  if (bits & PROTO_TCP) json_array_append_new(list, json_string("tcp"));
  if (bits & PROTO_ICMP) json_array_append_new(list, json_string("icmp"));
  return list;
}

static const char *range_protocol(unsigned bits) {
  if (bits == PROTO_UDP) return "udp";
  return bits == PROTO_TCP ? "tcp" : "any";
}

/* As relays write it (docs/CONTROL_API.md); no ports: all. */
static json_t *grant_json(const struct service *s) {
  const struct permission *may = &s->may;
  json_t *j = json_pack("{s:s, s:o, s:s}", "id", s->grant, "protocols",
                        protocols_json(may->protocols), "rule", s->rule);
  json_t *ports = json_array();

  for (size_t i = 0; i < may->n_ranges; i++)
    json_array_append_new(
        ports, json_pack("[i, i, s]", may->ranges[i].first, may->ranges[i].last,
                         range_protocol(may->range_protocols[i])));
  if (may->n_ranges)
    json_object_set_new(j, "ports", ports);
  else
    json_decref(ports);
  return j;
}

static void add_reason(json_t *j, enum reason why) {
  json_object_set_new(j, "reason", json_string(reason_name(why)));
  json_object_set_new(j, "why", json_string(reason_text(why)));
  json_object_set_new(j, "fix", json_string(reason_fix(why)));
}

static json_t *tcp_refusal_json(const struct ztna_agent *a,
                                const struct service *s) {
  uint64_t ago = a->now > s->tcp_refusal.at ? a->now - s->tcp_refusal.at : 0;
  json_t *j = json_pack("{s:i, s:I}", "port", s->tcp_refusal.port, "ago_ms",
                        (json_int_t)(ago / MS));

  add_reason(j, s->tcp_refusal.why);
  return j;
}

/* A connector whose certificate we do not take. */
static json_t *peer_json(const struct service *s) {
  json_t *j = json_pack("{s:s}", "connector", s->peer);

  add_reason(j, s->peer_why);
  return j;
}

/* What the relay lists as offered by connectors and allowed: [protocol, port].
 * NULL: it lists no such service. */
static json_t *listed_ports(const struct ztna_agent *a,
                            const struct service *s) {
  const char *id;
  json_t *j;
  size_t i;

  json_array_foreach(json_object_get(a->lists[a->current], "services"), i, j) {
    id = json_string_value(json_object_get(j, "id"));
    if (id && !strcmp(id, s->id)) return json_object_get(j, "ports");
  }
  return NULL;
}

json_t *agent_service_status(const struct ztna_agent *a,
                             const struct service *s) {
  json_t *j = json_pack("{s:s, s:s, s:s, s:o, s:b, s:b}", "id", s->id, "state",
                        s->state, "use", use_name(s), "addresses",
                        addrs_json_write(s->addrs), "listed", s->listed,
                        "asked", s->asked);

  json_t *ports = listed_ports(a, s);

  if (ports) json_object_set(j, "ports", ports);
  if (s->link)
    json_object_set_new(j, "connector", json_string(s->link->connector));
  if (s->grant[0]) json_object_set_new(j, "grant", grant_json(s));
  if (s->tcp_refusal.why)
    json_object_set_new(j, "tcp_refused", tcp_refusal_json(a, s));
  if (s->use == USE_REFUSED) add_reason(j, s->why);
  if (s->peer_why) json_object_set_new(j, "not_let_in", peer_json(s));
  return j;
}
