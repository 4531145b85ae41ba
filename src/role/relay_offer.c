/* relay_offer.c - the services of a registration, read and judged as a whole
 * before anything of it counts. */
#include "role/relay_int.h"

#include <stdio.h>
#include <stdlib.h>

enum { WEIGHT_MAX = 100 };

struct reading {
  char *why;
  size_t room, i; /* the service's place in the list */
};

static enum reason wrong(const struct reading *u, const char *member,
                         const char *want) {
  snprintf(u->why, u->room, "services[%zu].%s: want %s", u->i, member, want);
  return REASON_MALFORMED;
}

bool relay_service_id_is_valid(const char *id) {
  static const char chars[] = "abcdefghijklmnopqrstuvwxyz0123456789-_";
  size_t n = id ? strlen(id) : 0;
  return n && n <= RELAY_SERVICE_ID && strspn(id, chars) == n;
}

static enum reason read_protocols(const struct reading *u, struct offer *o,
                                  const json_t *list) {
  size_t i;
  json_t *name;
  if (list && !json_is_array(list)) return wrong(u, "protocols", "a list");
  json_array_foreach(list, i, name) {
    unsigned bit = relay_protocol_find(json_string_value(name));
    if (!bit) return wrong(u, "protocols", "\"udp\", \"tcp\" or \"icmp\"");
    o->protocols |= bit;
  }
  return REASON_NONE;
}

static bool read_port(struct offer *o, const json_t *pair) {
  unsigned bit =
      relay_protocol_find(json_string_value(json_array_get(pair, 0)));
  json_int_t port = json_integer_value(json_array_get(pair, 1));
  if (json_array_size(pair) != 2 || port < 1 || port > UINT16_MAX) return false;
  if (bit != PROTO_UDP && bit != PROTO_TCP) return false;
  o->ports[o->n_ports].port = (uint16_t)port;
  o->ports[o->n_ports++].protocol = (uint8_t)bit;
  o->protocols |= bit;
  return true;
}

static enum reason read_ports(const struct reading *u, struct offer *o,
                              const json_t *list) {
  size_t n = json_array_size(list), i;
  json_t *pair;
  if (list && !json_is_array(list)) return wrong(u, "ports", "a list");
  if (n > RELAY_PORTS) return wrong(u, "ports", "64 at most");
  if (!n) return REASON_NONE;
  o->ports = calloc(n, sizeof(*o->ports));
  if (!o->ports) return REASON_INTERNAL;
  json_array_foreach(list, i, pair) {
    if (!read_port(o, pair))
      return wrong(u, "ports", "pairs like [\"udp\", 9999]");
  }
  return REASON_NONE;
}

bool relay_health_read(const json_t *text, bool *up) {
  const char *state = json_string_value(text);
  *up = state && !strcmp(state, "up");
  return *up || (state && !strcmp(state, "down"));
}

static enum reason read_state(const struct reading *u, struct offer *o,
                              const json_t *service) {
  const json_t *weight = json_object_get(service, "weight");
  const json_t *health = json_object_get(service, "health");
  json_int_t w = weight ? json_integer_value(weight) : 1;
  if (w < 1 || w > WEIGHT_MAX) return wrong(u, "weight", "1 to 100");
  o->weight = (uint16_t)w;
  o->up = true;
  if (health && !relay_health_read(health, &o->up))
    return wrong(u, "health", "\"up\" or \"down\"");
  return REASON_NONE;
}

static enum reason read_service(const struct reading *u, struct offer *o,
                                const json_t *service) {
  const char *id = json_string_value(json_object_get(service, "id"));
  enum reason rc;
  if (!relay_service_id_is_valid(id)) return wrong(u, "id", "a service id");
  memcpy(o->id, id, strlen(id) + 1);
  rc = read_protocols(u, o, json_object_get(service, "protocols"));
  if (rc == REASON_NONE)
    rc = read_ports(u, o, json_object_get(service, "ports"));
  return rc == REASON_NONE ? read_state(u, o, service) : rc;
}

static int by_id(const void *a, const void *b) {
  return strcmp(((const struct offer *)a)->id, ((const struct offer *)b)->id);
}

static bool has_twins(struct offer *v, size_t n) {
  qsort(v, n, sizeof(*v), by_id);
  for (size_t i = 1; i < n; i++)
    if (!strcmp(v[i - 1].id, v[i].id)) return true;
  return false;
}

static enum reason read_all(const json_t *services, const struct identity *peer,
                            struct offer *v, char *why, size_t room) {
  struct reading u = {.why = why, .room = room};
  json_t *service;
  json_array_foreach(services, u.i, service) {
    enum reason rc = read_service(&u, &v[u.i], service);
    if (rc != REASON_NONE) return rc;
    if (identity_serves(peer, v[u.i].id)) continue;
    snprintf(why, room, "the certificate does not name connector.%s.ztna",
             v[u.i].id);
    return REASON_IDENTITY_MISMATCH;
  }
  return REASON_NONE;
}

enum reason relay_offers_parse(const json_t *services,
                               const struct identity *peer, struct offer **v,
                               size_t *n, char *why, size_t room) {
  *n = json_array_size(services);
  *why = 0;
  if (!json_is_array(services)) {
    snprintf(why, room, "services: want a list");
    return REASON_MALFORMED;
  }
  if (*n > RELAY_OFFERS) {
    snprintf(why, room, "services: 1024 at most");
    return REASON_TOO_MANY_ROUTES;
  }
  *v = calloc(*n + 1, sizeof(**v));
  if (!*v) return REASON_INTERNAL;
  enum reason rc = read_all(services, peer, *v, why, room);
  if (rc == REASON_NONE && has_twins(*v, *n)) {
    snprintf(why, room, "services: an id stands there twice");
    rc = REASON_MALFORMED;
  }
  if (rc != REASON_NONE) relay_offers_free(*v, *n);
  return rc;
}

void relay_offers_free(struct offer *v, size_t n) {
  for (size_t i = 0; v && i < n; i++) free(v[i].ports);
  free(v);
}
