/* relay_resume.c - routes that survive the relay's restart: each end holds a
 * ticket that only a relay with the same state key can read or make. A route
 * comes back when both ends showed theirs, with a grant computed anew.
 *
 *   version 1 | end | route id 16 | handles 8 + 8 |
 *   length | agent's SPIFFE ID | length | connector's SPIFFE ID
 */
#include "role/relay_int.h"

#include <stdlib.h>

#include "codec/wire.h"
#include "transport/seal.h"

enum {
  TICKET_VERSION = 1,
  PLAIN_MAX = 2 + RELAY_ID_LEN + 2 * HANDLE_LEN + 2 * (1 + IDENTITY_SPIFFE_MAX),
  SEALED_MAX = PLAIN_MAX + SEAL_OVERHEAD,
};
_Static_assert(2 * SEALED_MAX < RELAY_TICKET_MAX, "a ticket fits");

struct ticket {
  uint8_t end, id[RELAY_ID_LEN], handles[2][HANDLE_LEN];
  char spiffe[2][IDENTITY_SPIFFE_MAX + 1];
};

/* --- tickets */

static uint8_t *put(uint8_t *to, const void *bytes, size_t n) {
  memcpy(to, bytes, n);
  return to + n;
}

bool relay_ticket_make(struct relay *r, const struct meeting *m, int end,
                       char hex[RELAY_TICKET_MAX]) {
  uint8_t plain[PLAIN_MAX], sealed[SEALED_MAX];
  uint8_t *p = plain;
  *p++ = TICKET_VERSION;
  *p++ = (uint8_t)end;
  p = put(p, m->r.id, RELAY_ID_LEN);
  for (int e = 0; e < 2; e++) p = put(p, m->r.end[e].handle, HANDLE_LEN);
  for (int e = 0; e < 2; e++) {
    size_t n = strlen(m->end[e]->spiffe);
    *p++ = (uint8_t)n;
    p = put(p, m->end[e]->spiffe, n);
  }
  int len = seal(r->ticket_key, r->o.rng, plain, (size_t)(p - plain), NULL, 0,
                 sealed, sizeof(sealed));
  if (len < 0) return false;
  hex_print(sealed, (size_t)len, hex);
  return true;
}

static void get(struct rd *r, void *to, size_t n) {
  const uint8_t *p = rd_bytes(r, n);
  if (p) memcpy(to, p, n);
}

static bool ticket_read(struct relay *r, struct ticket *t, const char *hex) {
  uint8_t sealed[SEALED_MAX], plain[SEALED_MAX];
  size_t n = strlen(hex) / 2;
  if (n > sizeof(sealed) || !hex_parse(sealed, n, hex)) return false;
  int len = unseal(r->ticket_key, sealed, n, NULL, 0, plain, sizeof(plain));
  if (len < 0) return false;
  struct rd rd = rd_of(plain, (size_t)len);
  *t = (struct ticket){0};
  if (rd_u8(&rd) != TICKET_VERSION) return false;
  t->end = rd_u8(&rd);
  get(&rd, t->id, sizeof(t->id));
  get(&rd, t->handles, sizeof(t->handles));
  for (int e = 0; e < 2; e++) get(&rd, t->spiffe[e], rd_u8(&rd));
  return !rd.bad && !rd_left(&rd);
}

/* --- revivals */

static void on_expire(struct relay *r, struct relay_timer *t);

static void revival_free(struct relay *r, struct revival *v) {
  relay_timer_done(r, &v->expire);
  map_del(&r->revivals, v->id);
  LIST_REMOVE(v, all);
  free(v->spiffe[0]);
  free(v->spiffe[1]);
  free(v);
}

static struct revival *revival_new(struct relay *r, const struct ticket *t) {
  struct revival *v = calloc(1, sizeof(*v));
  if (!v) return NULL;
  memcpy(v->id, t->id, sizeof(v->id));
  memcpy(v->handles, t->handles, sizeof(v->handles));
  for (int e = 0; e < 2; e++) v->spiffe[e] = strdup(t->spiffe[e]);
  if (v->spiffe[0] && v->spiffe[1] &&
      relay_timer_init(r, &v->expire, on_expire) == 0 &&
      map_put(&r->revivals, v->id, v) == 0) {
    LIST_INSERT_HEAD(&r->revivals_list, v, all);
    return v;
  }
  relay_timer_done(r, &v->expire);
  free(v->spiffe[0]);
  free(v->spiffe[1]);
  free(v);
  return NULL;
}

static bool says_the_same(const struct revival *v, const struct ticket *t) {
  return !memcmp(v->handles, t->handles, sizeof(v->handles)) &&
         !strcmp(v->spiffe[0], t->spiffe[0]) &&
         !strcmp(v->spiffe[1], t->spiffe[1]);
}

/* Its own end's ticket, shown by the identity inside. NULL: worth nothing. */
static struct revival *show(struct relay *r, const struct party *p, int end,
                            const char *hex) {
  struct ticket t;
  if (!ticket_read(r, &t, hex) || t.end != end) return NULL;
  if (strcmp(t.spiffe[end], p->spiffe)) return NULL;
  if (relay_meeting_find(r, t.id)) return NULL; /* it lives */
  struct revival *v = map_get(&r->revivals, t.id);
  if (!v) v = revival_new(r, &t);
  if (!v || !says_the_same(v, &t)) return NULL;
  v->has[end] = true;
  relay_timer_set(r, &v->expire, r->now + RELAY_RESUME_KEEP);
  return v;
}

void relay_revival_forget(struct ask *a) {
  if (!a->revival) return;
  LIST_REMOVE(a, of_revival);
  a->revival = NULL;
}

/* Nobody waits for the tickets any more: a new route. */
static void release(struct relay *r, struct revival *v) {
  struct ask *a;
  while ((a = LIST_FIRST(&v->asks))) {
    relay_revival_forget(a);
    relay_timer_set(r, &a->timer, NEVER);
    relay_ask_go(r, a);
  }
}

static void on_expire(struct relay *r, struct relay_timer *t) {
  struct revival *v = TIMER_OWNER(t, revival, expire);
  release(r, v);
  revival_free(r, v);
}

static bool offers(const struct party *connector, const struct service *s) {
  return relay_service_offer(s, connector) != NULL;
}

/* The next one that this connector can serve. */
static struct ask *find_served(const struct revival *v, const struct party *c) {
  struct ask *a;
  LIST_FOREACH(a, &v->asks, of_revival)
  if (offers(c, a->service)) return a;
  return NULL;
}

/* Both tickets are there, and so are both ends. */
static void revive(struct relay *r, struct revival *v) {
  struct party *agent = relay_party_find(r, ROLE_AGENT, v->spiffe[0]);
  struct party *c = relay_party_find(r, ROLE_CONNECTOR, v->spiffe[1]);
  enum reason why;
  struct meeting *m = NULL;
  struct ask *a;
  if (agent && c && (a = find_served(v, c)) &&
      !relay_meeting_between(agent, c) &&
      relay_grant_has_room(agent, NULL, &a->may))
    m = relay_meeting_new(r, agent, c, v, &why);
  if (m) {
    log_info("relay: route resumed agent=%s connector=%s", agent->spiffe,
             c->spiffe);
    r->n.n_resumed++;
    while ((a = find_served(v, c))) {
      relay_revival_forget(a);
      relay_timer_set(r, &a->timer, NEVER);
      if (relay_grant_has_room(agent, m, &a->may))
        relay_ask_join(r, a, m);
      else
        relay_ask_go(r, a);
    }
  }
  release(r, v);
  revival_free(r, v);
}

/* --- the two ends */

bool relay_ticket_is_of(struct relay *r, const struct party *agent,
                        const char *ticket) {
  struct ticket t;
  return ticket_read(r, &t, ticket) && t.end == 0 &&
         !strcmp(t.spiffe[0], agent->spiffe);
}

bool relay_resume_agent(struct relay *r, struct ask *a, const char *ticket) {
  struct revival *v = show(r, a->agent, 0, ticket);
  if (!v || (a->connector && strcmp(a->connector, v->spiffe[1]))) return false;
  struct party *c = relay_party_find(r, ROLE_CONNECTOR, v->spiffe[1]);
  bool there = c && relay_session_reaches(c->session);
  if (there && (!v->has[1] || !offers(c, a->service))) return false;
  a->revival = v;
  LIST_INSERT_HEAD(&v->asks, a, of_revival);
  if (there)
    revive(r, v);
  else
    relay_timer_set(r, &a->timer, r->now + RELAY_RESUME_WAIT);
  return true;
}

void relay_resume_connector(struct relay *r, struct party *connector,
                            const json_t *tickets) {
  size_t i;
  json_t *ticket;
  json_array_foreach(tickets, i, ticket) {
    const char *hex = json_string_value(ticket);
    if (i >= RELAY_TICKETS) return;
    if (hex) show(r, connector, 1, hex);
  }
}

static struct revival *find_waiting(struct relay *r, const char *connector) {
  struct revival *v;
  LIST_FOREACH(v, &r->revivals_list, all)
  if (!LIST_EMPTY(&v->asks) && !strcmp(v->spiffe[1], connector)) return v;
  return NULL;
}

void relay_resume_settle(struct relay *r, struct party *connector) {
  struct revival *v;
  if (!relay_session_reaches(connector->session)) return;
  while ((v = find_waiting(r, connector->spiffe))) {
    if (v->has[1])
      revive(r, v);
    else
      release(r, v);
  }
}

void relay_resume_done(struct relay *r) {
  struct revival *v;
  while ((v = LIST_FIRST(&r->revivals_list))) revival_free(r, v);
}
