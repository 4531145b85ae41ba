/* agent_route.c - the ways of a link that go over relays: routes that a relay
 * gave with a grant, when they are asked for again, and when their silence
 * means that the connector has lost them. */
#include "role/agent_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "base/log.h"
#include "role/grant_json.h"

/* A path that stays silent for so long, while the relay answers, is made anew:
 * its connector may have lost it. */
#define REDIAL_AFTER (1500 * MS)
/* So long after it fell silent the relay is asked whether its connector is
 * there, and for another one. */
#define DOUBT_AFTER (150 * MS)
#define ASK_AGAIN (5 * SEC)
#define DIAL_AGAIN (5 * SEC)
#define RENEW_AGAIN (5 * SEC)
/* A relay that does not answer from our new address gets packets all the same.
 */
#define HOLD_FOR (1 * SEC)

static struct uplink *uplink_of(const struct agent_way *w) {
  return w->link->owner->uplinks[w->relay];
}

static void forget(struct agent_way *w) {
  if (w->route[0]) memcpy(w->gone, w->route, sizeof(w->gone));
  w->route[0] = 0;
  w->dial_due = w->stale = false;
  free(w->ticket);
  w->ticket = NULL;
}

void agent_route_delete(struct ztna_agent *a, size_t relay, const char *route,
                        enum reason why) {
  uint8_t id[ID_LEN];
  char path[96];

  if (!hex_parse(id, ID_LEN, route)) return;
  snprintf(path, sizeof(path), "/v1/routes/%s%s", route,
           why == REASON_REVOKED ? "?reason=revoked" : "");
  uplink_request(a->uplinks[relay], "DELETE", path, NULL, NULL, NULL);
}

void agent_route_give_back(struct agent_way *w, enum reason why) {
  if (w->route[0]) agent_route_delete(w->link->owner, w->relay, w->route, why);
  forget(w);
}

/* --- given --- */

/* The way over this relay that is there, not one of a renewal that came before
 * or is still to come. */
static struct agent_way *way_there(struct link *l, size_t relay) {
  for (int i = 0; i < LINK_RELAYED; i++) {
    struct agent_way *w = &l->relayed[i];

    if (w->way.path && w->relay == relay && !w->way.leaving && !w->fresh)
      return w;
  }
  return NULL;
}

/* Over a relay that is not held any more, whose place may be given away. */
static bool is_forgotten(const struct link *l, const struct agent_way *w) {
  return !l->owner->held[w->relay] && !w->route[0] && !w->asked && !w->heir &&
         !w->fresh && !agent_renew_is_heir(w) && l->path != w->way.path &&
         !path_is_live(w->way.path);
}

static struct agent_way *way_new(struct link *l, size_t relay) {
  for (int i = 0; i < LINK_RELAYED; i++) {
    struct agent_way *w = &l->relayed[i];

    if (agent_way_is_used(w) && is_forgotten(l, w)) agent_way_free(w);
    if (agent_way_is_used(w)) continue;
    if (agent_way_make(l, w, WAY_RELAY) < 0) return NULL;
    w->relay = relay;
    return w;
  }
  return NULL;
}

static struct agent_way *way_over(struct link *l, size_t relay) {
  struct agent_way *w = way_there(l, relay);

  return w ? w : way_new(l, relay);
}

/* Where a route belongs: to the way that has it, to the heir of the one that is
 * renewed, to the only one. */
static struct agent_way *way_for(struct link *l, size_t relay,
                                 const char *route) {
  struct agent_way *w;

  for (int i = 0; i < LINK_RELAYED; i++) {
    w = &l->relayed[i];
    if (w->way.path && w->relay == relay && !strcmp(w->route, route)) return w;
  }
  w = way_over(l, relay);
  if (!w || !w->renewing) return w;
  if (!w->heir && (w->heir = way_new(l, relay))) w->heir->fresh = true;
  return w->heir;
}

static void take_observed(struct agent_way *w, json_t *j) {
  const char *text = json_string_value(json_object_get(j, "observed"));

  if (text) ztna_addr_parse(&w->observed, text);
}

struct agent_way *agent_route_take(struct link *l, size_t relay, json_t *j) {
  const char *route = json_string_value(json_object_get(j, "route"));
  const char *ticket = json_string_value(json_object_get(j, "ticket"));
  json_t *h = json_object_get(j, "handles");
  uint8_t id[ID_LEN], mine[HANDLE_LEN], peer[HANDLE_LEN];
  struct agent_way *w;

  if (!hex_parse(id, ID_LEN, route) ||
      !hex_parse(mine, HANDLE_LEN,
                 json_string_value(json_object_get(h, "agent"))) ||
      !hex_parse(peer, HANDLE_LEN,
                 json_string_value(json_object_get(h, "connector"))))
    return NULL;
  w = way_for(l, relay, route);
  if (!w) return NULL;
  w->rtt = ms_json_read(json_object_get(j, "rtt"));
  take_observed(w, j);
  w->stale = false;
  if (ticket) {
    free(w->ticket);
    w->ticket = strdup(ticket);
  }
  if (!strcmp(w->route, route)) return w;
  /* Another route than before: the path is made anew, the old one carries on
   * until the new one is live. */
  strcpy(w->route, route); /* length judged by hex_parse */
  memcpy(w->handle, mine, HANDLE_LEN);
  memcpy(w->peer_handle, peer, HANDLE_LEN);
  w->dial_due = true;
  w->dial_at = 0;
  agent_renew_given(w);
  return w;
}

const char *agent_route_ticket(struct link *l, size_t relay) {
  struct agent_way *w = way_there(l, relay);

  return w ? w->ticket : NULL;
}

bool agent_route_is_gone(struct ztna_agent *a, json_t *j) {
  const char *route = json_string_value(json_object_get(j, "route"));

  for (int i = 0; route && *route && i < LINKS_MAX; i++)
    for (int k = 0; a->links[i] && k < LINK_RELAYED; k++) {
      struct agent_way *w = &a->links[i]->relayed[k];

      if (strcmp(w->gone, route)) continue;
      w->gone[0] = 0; /* if it comes again the relay did not hear us */
      return true;
    }
  return false;
}

void agent_route_observed(struct ztna_agent *a, size_t relay, json_t *e) {
  const char *route = json_string_value(json_object_get(e, "route"));

  for (int i = 0; route && i < LINKS_MAX; i++)
    for (int k = 0; a->links[i] && k < LINK_RELAYED; k++) {
      struct agent_way *w = &a->links[i]->relayed[k];

      if (w->way.path && w->relay == relay && !strcmp(w->route, route))
        take_observed(w, e);
    }
}

static void way_closed(struct agent_way *w, enum reason why) {
  struct link *l = w->link;
  struct ztna_agent *a = l->owner;

  forget(w); /* nothing to give back */
  path_close(w->way.path, why);
  ways_left(&l->ways, &w->way);
  ways_tick(&l->ways, a->now);
  if (!ways_work(&l->ways) && !agent_link_has_route(l)) agent_link_lost(l, why);
  a->sweep_at = a->now;
}

void agent_route_closed(struct ztna_agent *a, size_t relay, json_t *e) {
  const char *route = json_string_value(json_object_get(e, "route"));
  const char *reason = json_string_value(json_object_get(e, "reason"));

  for (int i = 0; route && i < LINKS_MAX; i++)
    for (int k = 0; a->links[i] && k < LINK_RELAYED; k++) {
      struct link *l = a->links[i];
      struct agent_way *w = &l->relayed[k];

      if (!w->way.path || w->relay != relay || strcmp(w->route, route))
        continue;
      log_info("agent: route closed connector=%s relay=%s reason=%s",
               l->connector, uplink_name(uplink_of(w)),
               reason ? reason : "none");
      way_closed(w, REASON_ROUTE_UNKNOWN);
    }
}

void agent_routes_end(struct ztna_agent *a, size_t relay, enum reason why) {
  for (int i = 0; i < LINKS_MAX; i++)
    for (int k = 0; a->links[i] && k < LINK_RELAYED; k++) {
      struct agent_way *w = &a->links[i]->relayed[k];

      if (w->way.path && w->relay == relay) way_closed(w, why);
    }
}

/* --- asked for, beside the one by which the services are used --- */

struct asking {
  struct ztna_agent *a;
  size_t relay;
  char connector[IDENTITY_SPIFFE_MAX + 1];
};

static struct agent_way *asking_way(const struct asking *q) {
  struct link *l = agent_link_named(q->a, q->connector);

  return l ? way_there(l, q->relay) : NULL;
}

static void on_granted(void *ud, int status, json_t *body) {
  struct asking q = *(struct asking *)ud;
  struct agent_way *w = asking_way(&q);
  const char *connector = json_string_value(json_object_get(body, "connector"));

  free(ud);
  if (!w) return;
  q.a->now = quic_now(q.a->quic);
  w->asked = false;
  w->ask_at = q.a->now + ASK_AGAIN;
  q.a->sweep_at = time_min(q.a->sweep_at, w->ask_at);
  if (status != 200 && status != 201) return;
  if (!connector || strcmp(connector, q.connector)) return; /* no use */
  if (!agent_route_is_gone(q.a, body)) agent_route_take(w->link, q.relay, body);
  q.a->sweep_at = q.a->now;
}

static void ask(struct agent_way *w, const struct service *s) {
  struct ztna_agent *a = w->link->owner;
  struct asking *q = malloc(sizeof(*q));
  json_t *body;

  if (!q) return;
  q->a = a;
  q->relay = w->relay;
  strcpy(q->connector, w->link->connector);
  body = json_pack("{s:s, s:s, s:s}", "service", s->id, "instance", a->instance,
                   "connector", w->link->connector);
  if (w->ticket) json_object_set_new(body, "resume", json_string(w->ticket));
  w->asked =
      uplink_request(uplink_of(w), "POST", "/v1/grants", body, on_granted, q);
  if (!w->asked) free(q);
  json_decref(body);
}

static struct service *open_service(struct link *l) {
  struct service *s;

  each_service(l->owner, l, s) if (s->use == USE_OPEN) return s;
  return NULL;
}

/* A link in use has a way over each relay that is held, so that the end of one
 * is only a change of path. */
void agent_routes_tick(struct link *l, uint64_t now) {
  struct ztna_agent *a = l->owner;
  struct service *s = open_service(l);
  bool works = ways_work(&l->ways);

  for (size_t i = 0; s && i < a->n_uplinks; i++) {
    struct agent_way *w;

    if (!a->held[i] || !uplink_is_up(a->uplinks[i])) continue;
    w = way_over(l, i);
    if (!w || w->asked || (w->route[0] && !w->stale)) continue;
    if (!works && !w->stale && i == a->current) continue; /* asked anyway */
    if (now >= w->ask_at) ask(w, s);
    if (!w->asked) w->ask_at = time_min(now + ASK_AGAIN, w->ask_at);
    if (w->ask_at > now) a->sweep_at = time_min(a->sweep_at, w->ask_at);
  }
}

/* --- silence --- */

void agent_routes_calm(struct ztna_agent *a, size_t relay) {
  for (int i = 0; i < LINKS_MAX; i++)
    for (int k = 0; a->links[i] && k < LINK_RELAYED; k++) {
      struct agent_way *w = &a->links[i]->relayed[k];

      if (!w->way.path || w->relay != relay) continue;
      w->calm_at = a->now;
      w->stale = w->route[0];
      w->ask_at = 0;
      agent_renew_fail(w, RENEW_AGAIN);
      path_probe(w->way.path, a->now);
    }
}

void agent_routes_doubt(struct ztna_agent *a, size_t relay) {
  for (int i = 0; i < LINKS_MAX; i++)
    for (int k = 0; a->links[i] && k < LINK_RELAYED; k++) {
      struct agent_way *w = &a->links[i]->relayed[k];

      if (w->way.path && w->relay == relay)
        ways_suspect(&a->links[i]->ways, &w->way, a->now);
    }
  a->sweep_at = a->now;
}

void agent_routes_hold(struct ztna_agent *a, uint64_t now) {
  for (int i = 0; i < LINKS_MAX; i++)
    for (int k = 0; a->links[i] && k < LINK_RELAYED; k++) {
      struct agent_way *w = &a->links[i]->relayed[k];

      if (!w->way.path || !uplink_is_up(uplink_of(w))) continue;
      w->heard = uplink_heard(uplink_of(w));
      w->held_until = now + HOLD_FOR;
      path_hold(w->way.path, true);
    }
  a->sweep_at = now;
}

/* The relay's answer comes to the new address, so packets may follow it. */
static void release(struct agent_way *w, uint64_t now) {
  struct ztna_agent *a = w->link->owner;

  if (!w->held_until) return;
  if (uplink_heard(uplink_of(w)) == w->heard && now < w->held_until) {
    a->sweep_at = time_min(a->sweep_at, now + 5 * MS);
    return;
  }
  w->held_until = 0;
  path_hold(w->way.path, false);
  path_probe(w->way.path, now);
}

/* Somebody else may serve what this connector served. The relay asks it first,
 * so lost packets alone move nobody. */
static void doubt(struct link *l, uint64_t now) {
  struct service *s;

  if (now < l->doubt_at) return;
  l->doubt_at = now + REDIAL_AFTER;
  each_service(l->owner, l, s) agent_service_doubt(l->owner, s);
}

/* Its connection is dialled anew on the same route while another way carries
 * the link; else nothing is known of the other side, and the relay is asked. */
static void make_anew(struct agent_way *w, uint64_t now) {
  struct ztna_agent *a = w->link->owner;

  if (ways_work(&w->link->ways)) {
    agent_way_dial(w);
    w->calm_at = now + DIAL_AGAIN;
    return;
  }
  log_info("agent: path silent, made anew connector=%s relay=%s",
           w->link->connector, uplink_name(uplink_of(w)));
  a->counters.n_redials++;
  w->calm_at = now;
  path_close(w->way.path, REASON_IDLE);
}

/* A path is given up only while the relay answers: else its silence says
 * nothing about the path, which goes on when the line is back. */
void agent_route_check_silence(struct agent_way *w, uint64_t now) {
  struct link *l = w->link;
  struct ztna_agent *a = l->owner;
  uint64_t since = path_silent_since(w->way.path);

  release(w, now);
  if (w->way.leaving) return;
  if (since == NEVER) {
    if (l->path != w->way.path || !path_is_live(l->path) ||
        !agent_link_is_waiting(l))
      return;
    path_probe(w->way.path, now); /* the last one was lost, or answered */
    a->sweep_at = time_min(a->sweep_at, now + 200 * MS);
    return;
  }
  a->sweep_at = time_min(a->sweep_at, now + 50 * MS);
  if (now < since) return;
  uplink_probe(uplink_of(w), now);
  path_probe(w->way.path, now);
  if (uplink_is_silent(uplink_of(w), now)) {
    w->calm_at = now;
    return;
  }
  if (since < w->calm_at) since = w->calm_at;
  if (now >= since + DOUBT_AFTER && !ways_work(&l->ways)) doubt(l, now);
  if (now >= since + REDIAL_AFTER) make_anew(w, now);
}
