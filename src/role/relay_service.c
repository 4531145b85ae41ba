/* relay_service.c - the services a relay knows, sorted by id, and their virtual
 * addresses: configured, or out of the pool by the set of ids alone, so that
 * all relays of a fleet agree. */
#include "role/relay_int.h"

#include <stdlib.h>

/* --- finding */

/* Where the id is, or would be. */
static size_t place_of(const struct relay *r, const char *id, bool *found) {
  size_t low = 0, high = r->n_services;
  *found = false;
  while (low < high) {
    size_t mid = (low + high) / 2;
    int order = strcmp(r->services[mid]->id, id);
    if (!order) *found = true;
    if (!order) return mid;
    if (order < 0)
      low = mid + 1;
    else
      high = mid;
  }
  return low;
}

struct service *relay_service_find(const struct relay *r, const char *id) {
  bool found;
  size_t i = place_of(r, id, &found);
  return found ? r->services[i] : NULL;
}

struct offer *relay_service_offer(const struct service *s,
                                  const struct party *connector) {
  struct offer *o;
  LIST_FOREACH(o, &s->offers, of_service)
  if (o->connector == connector) return o;
  return NULL;
}

static bool is_there(const struct party *connector) {
  const struct session *s = connector->session;
  return s && s->declared && !s->closing;
}

bool relay_offer_is_open(const struct offer *o) {
  return is_there(o->connector) && o->up && !o->connector->draining;
}

enum reason relay_service_obstacle(const struct service *s) {
  enum reason why = REASON_NO_CONNECTOR;
  const struct offer *o;
  LIST_FOREACH(o, &s->offers, of_service) {
    if (relay_offer_is_open(o)) return REASON_NONE;
    if (!is_there(o->connector) || why == REASON_BACKEND_DOWN) continue;
    why = o->up ? REASON_DRAINING : REASON_BACKEND_DOWN;
  }
  return why;
}

const char *relay_service_state(const struct service *s) {
  enum reason why = relay_service_obstacle(s);
  return why == REASON_NONE ? "up" : reason_name(why);
}

bool relay_service_has_other(const struct service *s,
                             const struct party * not ) {
  const struct offer *o;
  LIST_FOREACH(o, &s->offers, of_service)
  if (o->connector != not &&relay_offer_is_open(o) &&
      relay_session_reaches(o->connector->session))
    return true;
  return false;
}

/* --- making and forgetting */

struct service *relay_service_need(struct relay *r, const char *id) {
  bool found;
  size_t i = place_of(r, id, &found);
  if (found) return r->services[i];
  if (r->n_services == RELAY_SERVICES) return NULL;
  struct service *s = calloc(1, sizeof(*s));
  if (!s) return NULL;
  memcpy(s->id, id, strlen(id) + 1);
  memmove(&r->services[i + 1], &r->services[i],
          (r->n_services - i) * sizeof(*r->services));
  r->services[i] = s;
  r->n_services++;
  return s;
}

/* Nothing needs it, and it is not in the configuration. */
static bool is_idle(const struct service *s) {
  return !s->fixed && !s->n_asks && LIST_EMPTY(&s->offers);
}

bool relay_service_drop(struct relay *r, struct service *s) {
  bool found;
  size_t i = place_of(r, s->id, &found);
  if (!is_idle(s)) return false;
  r->n_services--;
  memmove(&r->services[i], &r->services[i + 1],
          (r->n_services - i) * sizeof(*r->services));
  free(s);
  return true;
}

/* A service that lost its connectors stays known, so that agents hear
 * `no-connector`, as long as there is room. */
bool relay_service_make_room(struct relay *r, size_t n) {
  for (size_t i = r->n_services; i > 0; i--)
    if (r->n_services + n > RELAY_SERVICES)
      relay_service_drop(r, r->services[i - 1]);
  return r->n_services + n <= RELAY_SERVICES;
}

/* --- addresses */

static const struct ztna_prefix *pool_of(const struct relay *r, int family) {
  for (int i = 0; i < RELAY_FAMILIES; i++)
    if (r->o.service_pool[i].bits && r->o.service_pool[i].addr.family == family)
      return &r->o.service_pool[i];
  return NULL;
}

struct assignment {
  struct service **of; /* those without a fixed address */
  const char **ids;
  struct ztna_addr *taken, *out;
  size_t n, n_taken;
};

static void assignment_done(struct assignment *a) {
  free(a->of);
  free(a->ids);
  free(a->taken);
  free(a->out);
}

static bool assignment_init(struct assignment *a, const struct relay *r,
                            int f) {
  size_t n = r->n_services + 1;
  *a = (struct assignment){.of = calloc(n, sizeof(*a->of)),
                           .ids = calloc(n, sizeof(*a->ids)),
                           .taken = calloc(n, sizeof(*a->taken)),
                           .out = calloc(n, sizeof(*a->out))};
  if (!a->of || !a->ids || !a->taken || !a->out) return false;
  for (size_t i = 0; i < r->n_services; i++) {
    struct service *s = r->services[i];
    if (!s->known) continue;
    if (s->fixed_addrs[f].family) {
      a->taken[a->n_taken++] = s->addrs[f] = s->fixed_addrs[f];
    } else {
      a->of[a->n] = s;
      a->ids[a->n++] = s->id;
    }
  }
  return true;
}

/* Grants name addresses: their connectors must know. */
static void address_changed(struct relay *r, const struct service *s) {
  const struct offer *o;
  const struct meeting *m;
  const struct grant *g;
  LIST_FOREACH(o, &s->offers, of_service)
  LIST_FOREACH(m, &o->connector->meetings, of_end[1])
  LIST_FOREACH(g, &m->grants, of_meeting)
  if (g->service == s) relay_events_grant(o->connector, "grant-changed", g);
}

static void assign_family(struct relay *r, int f) {
  const struct ztna_prefix *pool = pool_of(r, f ? 6 : 4);
  struct assignment a;
  if (assignment_init(&a, r, f) && pool) {
    addrpool_assign(pool, a.ids, a.n, a.taken, a.n_taken, a.out);
    for (size_t i = 0; i < a.n; i++) {
      struct ztna_addr *now = &a.of[i]->addrs[f];
      if (ztna_addr_equal(now, &a.out[i])) continue;
      bool had = now->family;
      *now = a.out[i];
      if (had) address_changed(r, a.of[i]);
    }
  }
  assignment_done(&a);
}

void relay_service_assign(struct relay *r) {
  for (int f = 0; f < RELAY_FAMILIES; f++) assign_family(r, f);
}

/* --- life */

static int add_fixed(struct relay *r, const struct relay_fixed_service *f) {
  struct service *s = relay_service_need(r, f->id);
  if (!s) return ZTNA_ENOMEM;
  s->fixed = s->known = true;
  for (size_t i = 0; i < f->n_addrs; i++)
    if (f->addrs[i].family)
      s->fixed_addrs[f->addrs[i].family == 6] = f->addrs[i];
  return 0;
}

int relay_registry_init(struct relay *r, const struct relay_options *o) {
  int rc;
  r->services = calloc(RELAY_SERVICES, sizeof(*r->services));
  if (!r->services) return ZTNA_ENOMEM;
  for (size_t i = 0; i < o->n_services; i++) {
    if (!relay_service_id_is_valid(o->services[i].id)) return ZTNA_EINVAL;
    if ((rc = add_fixed(r, &o->services[i])) < 0) return rc;
  }
  relay_service_assign(r);
  return 0;
}

void relay_registry_done(struct relay *r) {
  for (size_t i = 0; i < r->n_services; i++) free(r->services[i]);
  free(r->services);
}

/* --- told to agents */

struct ports { /* that connectors offer and the agent may use */
  json_t *list;
  uint32_t seen[256];
  size_t n;
};

static void port_add(struct ports *p, unsigned protocol, uint16_t port) {
  uint32_t key = (uint32_t)protocol << 16 | port;
  for (size_t i = 0; i < p->n; i++)
    if (p->seen[i] == key) return;
  if (p->n == sizeof(p->seen) / sizeof(*p->seen)) return;
  p->seen[p->n++] = key;
  json_array_append_new(
      p->list, json_pack("[si]", relay_protocol_name(protocol), (int)port));
}

/* Why the agent should ask again: what it has of the service is at a connector
 * that takes nothing new, while another one does. NONE: it should not. */
static enum reason why_move(const struct party *agent,
                            const struct service *s) {
  const struct grant *g = relay_grant_in_use(agent, s);
  if (!g || relay_grant_is_open(g)) return REASON_NONE;
  const struct party *c = g->meeting->end[1];
  const struct offer *o = relay_service_offer(s, c);
  if (!relay_service_has_other(s, c)) return REASON_NONE;
  if (!o || !relay_session_reaches(c->session)) return REASON_NO_CONNECTOR;
  return o->up ? REASON_DRAINING : REASON_BACKEND_DOWN;
}

static json_t *describe(const struct service *s, const struct permission *may) {
  struct ports p = {.list = json_array()};
  unsigned offered = 0;
  const struct offer *o;
  LIST_FOREACH(o, &s->offers, of_service) {
    offered |= o->protocols;
    for (size_t i = 0; i < o->n_ports; i++)
      if (permission_check(may, o->ports[i].protocol, o->ports[i].port) ==
          REASON_NONE)
        port_add(&p, o->ports[i].protocol, o->ports[i].port);
  }
  if (LIST_EMPTY(&s->offers)) offered = may->protocols;
  return json_pack("{s:s, s:o, s:o, s:o, s:s}", "id", s->id, "addresses",
                   relay_json_ips(s->addrs, RELAY_FAMILIES), "protocols",
                   relay_json_protocols(offered & may->protocols), "ports",
                   p.list, "state", relay_service_state(s));
}

json_t *relay_registry_list(struct relay *r, const struct party *agent) {
  json_t *list = json_array();
  struct permission may;
  for (size_t i = 0; i < r->n_services; i++) {
    const struct service *s = r->services[i];
    if (!s->known || relay_grant_judge(r, agent, s, &may) != REASON_NONE)
      continue;
    json_t *o = describe(s, &may);
    enum reason move = why_move(agent, s);
    if (move) json_object_set_new(o, "move", json_string(reason_name(move)));
    json_array_append_new(list, o);
  }
  return list;
}
