/* agent_renew.c - routes do not stay for ever: who watches a relay's lines
 * would know an agent by its handles wherever it goes. Every hour, and when the
 * network changed, a way over a relay gets an heir: a route with other handles
 * and a connection of its own, by which all services of the old route are
 * granted again. When it has joined, the link moves there as it moves to any
 * better path, flows with it; what is left goes, and the route is given back.
 */
#include "role/agent_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "role/grant_json.h"

#define RENEW_EVERY (3600 * SEC) /* and a tenth more or less */
#define RENEW_APART (30 * SEC)   /* however often the network changes */
/* Relays take 50 requests a second, and others have to be made, too. */
#define ASK_EVERY (40 * MS)
#define GIVE_UP_AFTER (20 * SEC) /* since something went well */
#define AGAIN_AFTER (150 * SEC)
/* What is under way on the old path arrives, and TCP flows leave it; those that
 * could not are lost there and resumed. */
#define LEAVE_AFTER (5 * SEC)
#define LEAVE_WITHIN (60 * SEC)
#define LEAVE_LOOK (200 * MS)

static struct uplink *uplink_of(const struct agent_way *w) {
  return w->link->owner->uplinks[w->relay];
}

static void look_at(const struct agent_way *w, uint64_t at) {
  struct ztna_agent *a = w->link->owner;

  a->sweep_at = time_min(a->sweep_at, at);
}

uint64_t agent_renew_jittered(struct ztna_agent *a, uint64_t span) {
  return span - span / 10 + rng_u64(&a->rng) % (span / 5);
}

bool agent_renew_is_heir(const struct agent_way *w) {
  struct agent_way *x;

  for (size_t i = 0; (x = agent_way_at(w->link, i)); i++)
    if (x->way.path && x->heir == w) return true;
  return false;
}

/* --- when --- */

void agent_renew_given(struct agent_way *w) {
  struct ztna_agent *a = w->link->owner;

  w->given_at = a->now;
  w->renew_at = a->now + agent_renew_jittered(a, RENEW_EVERY);
}

void agent_renew_fail(struct agent_way *w, uint64_t again_after) {
  if (!w->renewing) return;
  w->give_up_at = w->link->owner->now;
  w->again_after = again_after;
  look_at(w, w->give_up_at);
}

static void renew_soon(struct agent_way *w, uint64_t now) {
  uint64_t at = w->given_at + RENEW_APART;

  if (!w->way.path || w->way.leaving || w->fresh) return;
  w->renew_at = time_min(w->renew_at, at > now ? at : now);
  look_at(w, w->renew_at);
}

void agent_renew_soon(struct ztna_agent *a, uint64_t now) {
  for (int i = 0; i < LINKS_MAX; i++)
    for (int k = 0; a->links[i] && k < LINK_RELAYED; k++)
      renew_soon(&a->links[i]->relayed[k], now);
}

int agent_renew_in(const struct agent_way *w) {
  uint64_t now = w->link->owner->now;

  if (!w->route[0] || w->renewing || w->way.leaving || now >= w->renew_at)
    return 0;
  return (int)((w->renew_at - now) / SEC);
}

/* --- which services --- */

static bool is_by(const char *route, const struct agent_way *w) {
  return w->route[0] && !strcmp(route, w->route);
}

/* Its context, or one that it left there, has its grant by this route. */
static bool needs(const struct service *s, const struct agent_way *w) {
  if (s->link == w->link && is_by(s->route, w)) return true;
  for (int i = 0; i < LEFT_MAX; i++)
    if (s->left[i].link == w->link && is_by(s->left[i].route, w)) return true;
  return false;
}

static struct service *next_service(const struct agent_way *w) {
  struct ztna_agent *a = w->link->owner;

  for (size_t i = 0; i < a->n_services; i++)
    if (needs(a->services[i], w)) return a->services[i];
  return NULL;
}

/* A way that only stands by has none: any will do to get a route. */
static struct service *any_service(const struct agent_way *w) {
  struct service *s = next_service(w);

  if (s) return s;
  each_service(w->link->owner, w->link, s) if (s->use == USE_OPEN) return s;
  return NULL;
}

/* From one route to another; contexts stay as they are. */
static void pass_on(struct service *s, const struct agent_way *w,
                    const char *grant, const char *route) {
  struct link *l = w->link;

  for (int i = 0; i < LEFT_MAX; i++) {
    struct left *x = &s->left[i];

    if (x->link != l || !is_by(x->route, w)) continue;
    strcpy(x->grant, grant);
    strcpy(x->route, route);
    agent_link_rebind_left(l, s, x);
  }
  if (s->link != l || !is_by(s->route, w)) return;
  strcpy(s->grant, grant);
  strcpy(s->route, route);
  agent_link_rebind(l, s);
}

/* --- asked for --- */

struct asking {
  struct ztna_agent *a;
  size_t relay;
  char connector[IDENTITY_SPIFFE_MAX + 1];
  char route[ID_TEXT]; /* the one to be renewed */
  char service[64];
};

static struct agent_way *way_by_route(const struct asking *q,
                                      const char *route) {
  struct link *l = agent_link_named(q->a, q->connector);

  for (int i = 0; l && i < LINK_RELAYED; i++) {
    struct agent_way *w = &l->relayed[i];

    if (w->way.path && w->relay == q->relay && is_by(route, w)) return w;
  }
  return NULL;
}

/* The relay's answer to that may name the same route. */
static bool is_any_asked_for(const struct ztna_agent *a) {
  for (size_t i = 0; i < a->n_services; i++)
    if (a->services[i]->asked) return true;
  return false;
}

/* It came too late. */
static void give_back_unwanted(const struct asking *q, const char *route) {
  if (!route || way_by_route(q, route)) return;
  if (is_any_asked_for(q->a)) return; /* else the relay lets it go when idle */
  agent_route_delete(q->a, q->relay, route, REASON_IDLE);
}

static bool take(struct agent_way *w, const struct asking *q, json_t *body) {
  struct ztna_agent *a = q->a;
  const char *connector = json_string_value(json_object_get(body, "connector"));
  struct grant_json g;
  struct agent_way *n;
  struct service *s;

  if (!connector || strcmp(connector, q->connector) ||
      grant_json_read(&g, json_object_get(body, "grant")) < 0 ||
      strcmp(g.service, q->service) || agent_route_is_gone(a, body) ||
      !(n = agent_route_take(w->link, w->relay, body)) || n == w)
    return false;
  a->counters.n_grants++;
  s = agent_service_named(a, q->service);
  if (s) pass_on(s, w, g.id, n->route);
  w->give_up_at = a->now + GIVE_UP_AFTER;
  return true;
}

static void on_renewed(void *ud, int status, json_t *body) {
  struct asking q = *(struct asking *)ud;
  const char *route = json_string_value(json_object_get(body, "route"));
  bool ok = status == 200 || status == 201;
  struct agent_way *w = way_by_route(&q, q.route);

  free(ud);
  q.a->now = quic_now(q.a->quic);
  if (w) {
    w->asked = false;
    w->next_at = q.a->now + ASK_EVERY;
    look_at(w, q.a->now);
  }
  if (!w || (!w->renewing && !w->way.leaving)) {
    if (ok) give_back_unwanted(&q, route);
  } else if (ok && route && is_by(route, w)) {
    agent_renew_fail(w, RENEW_EVERY); /* it renews nothing */
  } else if (!ok || !take(w, &q, body)) {
    agent_renew_fail(w, AGAIN_AFTER);
  }
}

static void ask(struct agent_way *w, const struct service *s) {
  struct ztna_agent *a = w->link->owner;
  struct asking *q = malloc(sizeof(*q));
  json_t *body;

  if (!q) return;
  q->a = a;
  q->relay = w->relay;
  strcpy(q->connector, w->link->connector);
  strcpy(q->route, w->route);
  strcpy(q->service, s->id);
  body = json_pack("{s:s, s:s, s:s, s:s}", "service", s->id, "instance",
                   a->instance, "connector", q->connector, "renew", w->route);
  w->asked =
      uplink_request(uplink_of(w), "POST", "/v1/grants", body, on_renewed, q);
  if (!w->asked) free(q);
  json_decref(body);
}

/* One after another, as the connector is asked anyway. */
static void ask_next(struct agent_way *w, const struct service *s,
                     uint64_t now) {
  if (!s || w->asked) return;
  if (now >= w->next_at) {
    w->next_at = now + ASK_EVERY;
    ask(w, s);
  }
  look_at(w, w->next_at);
}

/* --- the end of a way --- */

/* What it had is the other's. */
static void drop(struct agent_way *w, struct agent_way *other) {
  struct link *l = w->link;

  if (path_is_live(w->way.path)) path_close(w->way.path, REASON_IDLE);
  agent_route_give_back(w, REASON_IDLE);
  memcpy(other->gone, w->gone, sizeof(other->gone));
  if (l->path == w->way.path) l->path = other->way.path;
  agent_way_free(w);
}

/* The connector has put their contexts back under the grants by the old route
 * when it hears that the new one is gone; the relay names these again. */
static void give_up(struct agent_way *w) {
  struct link *l = w->link;
  struct ztna_agent *a = l->owner;
  struct agent_way *n = w->heir;
  char route[ID_TEXT] = "";
  struct service *s;

  log_info("agent: route not renewed connector=%s relay=%s", l->connector,
           uplink_name(uplink_of(w)));
  w->heir = NULL;
  w->renewing = w->way.leaving = false;
  w->renew_at = a->now + agent_renew_jittered(a, w->again_after);
  agent_cert_plan(w, true);
  if (!n) return;
  memcpy(route, n->route, sizeof(route));
  drop(n, w);
  each_service(a, l, s) if (route[0] && !strcmp(s->route, route))
      agent_service_ask(a, s);
}

/* --- step by step --- */

static bool is_due(const struct agent_way *w, uint64_t now) {
  const struct uplink *u = uplink_of(w);

  return now >= w->renew_at && way_works(&w->way) && !w->asked && !w->stale &&
         !w->dial_due && !w->held_until && uplink_is_up(u) &&
         !uplink_is_silent(u, now) && agent_link_is_in_use(w->link) &&
         !agent_renew_is_heir(w) && any_service(w);
}

static void begin(struct agent_way *w, uint64_t now) {
  w->renewing = true;
  w->again_after = AGAIN_AFTER;
  w->give_up_at = now + GIVE_UP_AFTER;
  ask_next(w, any_service(w), now);
}

/* From here on the old way is only there for what still is on it. */
static void adopt(struct agent_way *w, uint64_t now) {
  struct link *l = w->link;

  log_info("agent: route renewed connector=%s relay=%s", l->connector,
           uplink_name(uplink_of(w)));
  l->owner->counters.n_renewed++;
  w->renewing = w->heir->fresh = false;
  w->way.leaving = true;
  w->leave_at = now + LEAVE_AFTER;
  w->leave_by = now + LEAVE_WITHIN;
  ways_tick(&l->ways, now);
  look_at(w, now + LEAVE_LOOK);
}

static void go_on(struct agent_way *w, uint64_t now) {
  const struct agent_way *n = w->heir;
  struct service *s = n ? next_service(w) : any_service(w);

  if (n && !w->route[0]) {
    adopt(w, now); /* it is all there is */
  } else if (!w->route[0] || (n && !n->route[0]) || now >= w->give_up_at) {
    give_up(w);
  } else if (n && !s && !w->asked && way_works(&n->way)) {
    adopt(w, now);
  } else {
    ask_next(w, s, now);
    look_at(w, w->give_up_at);
  }
}

static bool is_empty(const struct agent_way *w) {
  return !w->asked && !next_service(w) && !path_has_streams(w->way.path) &&
         !path_waiting(w->way.path) && uplink_is_up(uplink_of(w));
}

static void leave(struct agent_way *w, uint64_t now) {
  struct agent_way *n = w->heir;
  bool over = !w->route[0] || !path_is_live(w->way.path);

  if (!over && (!n->route[0] || (now >= w->leave_by && !way_works(&n->way)))) {
    n->fresh = true;
    give_up(w);
  } else if (over || now >= w->leave_by ||
             (now >= w->leave_at && is_empty(w)) ||
             agent_cert_hurries(n, w->leave_at - LEAVE_AFTER, is_empty(w))) {
    drop(w, n);
  } else {
    ask_next(w, next_service(w), now);
    look_at(w, now + LEAVE_LOOK);
  }
}

void agent_renew_tick(struct link *l, uint64_t now) {
  for (int i = 0; i < LINK_RELAYED; i++) {
    struct agent_way *w = &l->relayed[i];

    if (!w->way.path || w->fresh)
      continue;
    else if (w->way.leaving)
      leave(w, now);
    else if (w->renewing)
      go_on(w, now);
    else if (w->route[0] && is_due(w, now))
      begin(w, now);
    else if (w->route[0])
      look_at(w, w->renew_at > now ? w->renew_at : now + SEC);
  }
}
