/* connector_service.c - what is served: services and their backends. */
#include "role/connector_int.h"

#include <stdlib.h>
#include <string.h>

#define ASK_EVERY (5 * SEC) /* where a backend is */

/* --- life --- */

static bool copy_backends(struct service *s,
                          const struct connector_service *from) {
  s->backends = calloc(from->n_backends + 1, sizeof(*s->backends));
  if (!s->backends) return false;
  for (; s->n_backends < from->n_backends; s->n_backends++) {
    struct connector_backend *b = &s->backends[s->n_backends].how;

    *b = from->backends[s->n_backends];
    if (b->to && !(b->to = strdup(b->to))) return false;
  }
  return true;
}

static bool copy_agents(struct service *s,
                        const struct connector_service *from) {
  s->agents = calloc(from->n_agents + 1, sizeof(*s->agents));
  if (!s->agents) return false;
  for (; s->n_agents < from->n_agents; s->n_agents++)
    if (!(s->agents[s->n_agents] = strdup(from->agents[s->n_agents])))
      return false;
  return true;
}

struct service *service_new(const struct connector_service *from) {
  struct service *s = calloc(1, sizeof(*s));

  if (!s) return NULL;
  s->id = strdup(from->id);
  s->weight = from->weight ? from->weight : 1;
  if (s->id && copy_backends(s, from) && copy_agents(s, from)) return s;
  service_free(s);
  return NULL;
}

void service_free(struct service *s) {
  if (!s) return;
  for (size_t i = 0; i < s->n_backends; i++)
    free((char *)s->backends[i].how.to);
  for (size_t i = 0; i < s->n_agents; i++) free(s->agents[i]);
  free(s->backends);
  free(s->agents);
  free(s->id);
  free(s);
}

int services_copy(struct connector *c, const struct connector_options *o) {
  c->services = calloc(o->n_services + 1, sizeof(*c->services));
  if (!c->services) return -1;
  for (; c->n_services < o->n_services; c->n_services++)
    if (!(c->services[c->n_services] =
              service_new(&o->services[c->n_services])))
      return -1;
  return 0;
}

void services_free(struct connector *c) {
  for (size_t i = 0; i < c->n_services; i++) service_free(c->services[i]);
  free(c->services);
}

struct service *service_find(struct connector *c, const char *id) {
  for (size_t i = 0; id && i < c->n_services; i++)
    if (!strcmp(c->services[i]->id, id)) return c->services[i];
  return NULL;
}

/* Our own configuration may only narrow what relays grant. */
bool service_admits(const struct service *s, const char *agent) {
  if (!s->n_agents) return true;
  for (size_t i = 0; i < s->n_agents; i++)
    if (identity_matches(agent, s->agents[i])) return true;
  return false;
}

/* --- backends --- */

/* Echo asks for the machine, not for a port: any backend whose address is known
 * will do. */
static struct backend_place *echo_backend(const struct service *s) {
  for (size_t i = 0; i < s->n_backends; i++)
    if (s->backends[i].n_to) return &s->backends[i];
  return s->n_backends ? &s->backends[0] : NULL;
}

struct backend_place *service_backend(const struct service *s,
                                      unsigned protocol, uint16_t port) {
  for (size_t i = 0; i < s->n_backends; i++) {
    struct backend_place *b = &s->backends[i];

    if (b->how.protocol == protocol && b->how.port == port) return b;
  }
  return protocol == PROTO_ICMP ? echo_backend(s) : NULL;
}

void connector_set_backend(struct connector *c, size_t service, size_t backend,
                           const struct ztna_addr *v, size_t n) {
  struct ztna_addr was[ZTNA_SOCK_ADDRS];
  struct backend_place *b;

  if (service >= c->n_services || backend >= c->services[service]->n_backends)
    return;
  b = &c->services[service]->backends[backend];
  memcpy(was, b->to, sizeof(was));
  memset(b->to, 0, sizeof(b->to));
  for (b->n_to = 0; b->n_to < n && b->n_to < ZTNA_SOCK_ADDRS; b->n_to++)
    b->to[b->n_to] = v[b->n_to];
  if (memcmp(was, b->to, sizeof(was)))
    check_place(c, c->services[service], backend);
}

void service_lost(struct connector *c, struct backend_place *b) {
  if (!b || b->stale) return;
  b->stale = true;
  c->n_stale++;
  c->ask_at = 0;
}

static bool take_stale(struct connector *c, struct backend_place *b) {
  if (!b->stale || (b->asked_at && c->now < b->asked_at + ASK_EVERY))
    return false;
  b->stale = false;
  b->asked_at = c->now;
  c->n_stale--;
  return true;
}

bool connector_wants_backend(struct connector *c, size_t *service,
                             size_t *backend) {
  if (!c->n_stale || c->now < c->ask_at) return false;
  for (size_t i = 0; i < c->n_services; i++)
    for (size_t k = 0; k < c->services[i]->n_backends; k++) {
      if (!take_stale(c, &c->services[i]->backends[k])) continue;
      *service = i;
      *backend = k;
      return true;
    }
  c->ask_at = c->now + SEC; /* not all of them for every packet */
  return false;
}

/* --- as relays and people read it --- */

static const char *protocol_name(unsigned bit) {
  return bit == PROTO_UDP ? "udp" : bit == PROTO_TCP ? "tcp" : "icmp";
}

json_t *service_json(const struct service *s) {
  json_t *j = json_pack("{s:s, s:[], s:[], s:i, s:s}", "id", s->id, "ports",
                        "protocols", "weight", (int)s->weight, "health",
                        health_name(&s->health));
  unsigned seen = PROTO_ICMP; /* the backend's machine can always be asked */

  for (size_t i = 0; i < s->n_backends; i++) {
    const struct connector_backend *b = &s->backends[i].how;

    seen |= b->protocol;
    if (b->protocol == PROTO_ICMP) continue;
    json_array_append_new(
        json_object_get(j, "ports"),
        json_pack("[s, i]", protocol_name(b->protocol), (int)b->port));
  }
  for (unsigned bit = PROTO_UDP; bit <= PROTO_ICMP; bit <<= 1)
    if (seen & bit)
      json_array_append_new(json_object_get(j, "protocols"),
                            json_string(protocol_name(bit)));
  return j;
}
