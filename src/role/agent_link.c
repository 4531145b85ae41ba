/* agent_link.c - the links to connectors: their life, and what happens when
 * they move from one path to another. What is said inside: agent_talk.c. */
#include "role/agent_int.h"

#include <stdlib.h>
#include <string.h>
#include <ztna/err.h>

#include "base/log.h"
#include "role/agent_flow.h"
#include "role/grant_json.h"

/* A connector that its services and their flows have left is let go then. */
#define UNUSED_FOR (60 * SEC)

/* --- lost --- */

void agent_link_forget_contexts(struct link *l) {
  struct ztna_agent *a = l->owner;

  for (size_t i = 0; i < a->n_services; i++)
    agent_service_forget_link(a->services[i], l);
}

/* The other end would say so again: at once asked anew, the two would make one
 * path after the other. */
static bool is_refusal(enum reason why) {
  switch (why) {
  case REASON_IDENTITY_MISMATCH:
  case REASON_BAD_CERTIFICATE:
  case REASON_CERTIFICATE_EXPIRED:
  case REASON_REVOKED:
  case REASON_WRONG_SOURCE:
  case REASON_MALFORMED:
  case REASON_UNSUPPORTED_VERSION:
  case REASON_TOO_MANY_ROUTES:
  case REASON_RATE_LIMITED:
  case REASON_INTERNAL:
    return true;
  default:
    return false;
  }
}

void agent_link_lost(struct link *l, enum reason why) {
  struct ztna_agent *a = l->owner;
  struct service *s;

  each_service(a, l, s) {
    if (is_refusal(why) && !agent_peer_is_out(l)) /* else there is another */
      agent_service_refuse(a, s, why);
    else
      agent_service_lost(a, s);
  }
}

/* --- from one path to another --- */

static void say_use(struct link *l, struct way *to) {
  path_say(to->path, json_pack("{s:s, s:I}", "type", "use", "n",
                               (json_int_t)++l->ways.use));
}

static void on_chosen(void *ud, struct way *from, struct way *to,
                      bool planned) {
  struct link *l = ud;
  struct ztna_agent *a = l->owner;
  bool asked_there = l->path == to->path;

  if (from)
    log_info("agent: path changed connector=%s to=%s %s", l->connector,
             to->kind == WAY_DIRECT ? "direct" : "relay",
             planned ? "planned" : "the former one is silent or gone");
  l->path = to->path;
  say_use(l, to);
  if (from && !planned && from->path != to->path)
    path_take_queue(to->path, from->path, a->now);
  if (!planned && !asked_there) agent_link_reopen(l, to->path, false);
  /* What comes there after all would be acknowledged and kept by nobody: the
   * connector could not send it again when it is asked for on the other path.
   */
  if (agent_flows_follow(a, l, planned) && from)
    path_close(from->path, REASON_REPLACED);
  if (to->kind == WAY_DIRECT && way_works(to))
    agent_direct_joined(l, (struct agent_way *)to);
  a->sweep_at = a->now;
}

static void on_suspect(void *ud, struct way *w) {
  struct link *l = ud;

  log_info("agent: path suspect connector=%s kind=%s", l->connector,
           w->kind == WAY_DIRECT ? "direct" : "relay");
  if (w->kind == WAY_DIRECT) agent_direct_suspect(l);
}

static void on_dead(void *ud, struct way *w) {
  if (w->kind == WAY_DIRECT) path_close(w->path, REASON_IDLE);
}

const struct ways_ops agent_ways_ops = {on_chosen, on_suspect, on_dead};

/* --- links --- */

static void link_free(struct link *l) {
  struct agent_way *w;

  agent_link_forget_contexts(l);
  agent_flows_forget_link(l->owner, l);
  agent_direct_free(l);
  for (size_t i = 0; (w = agent_way_at(l, i)); i++) agent_way_free(w);
  free(l);
}

bool agent_link_has_route(const struct link *l) {
  for (int i = 0; i < LINK_RELAYED; i++)
    if (l->relayed[i].route[0]) return true;
  return false;
}

static bool is_live(const struct link *l) {
  for (size_t i = 0; i < l->ways.n; i++)
    if (path_is_live(l->ways.v[i]->path)) return true;
  return false;
}

static bool is_unused(struct link *l) {
  struct service *s;

  each_service(l->owner, l, s) return false;
  return !agent_link_has_route(l) && !is_live(l);
}

/* A free place, or that of a connector that is not in use any more. */
static struct link **place_for_link(struct ztna_agent *a) {
  for (int i = 0; i < LINKS_MAX; i++)
    if (!a->links[i]) return &a->links[i];
  for (int i = 0; i < LINKS_MAX; i++) {
    if (!is_unused(a->links[i])) continue;
    link_free(a->links[i]);
    a->links[i] = NULL;
    a->counters.n_links--;
    return &a->links[i];
  }
  return NULL;
}

struct link *agent_link_named(const struct ztna_agent *a,
                              const char *connector) {
  for (int i = 0; i < LINKS_MAX; i++)
    if (a->links[i] && !strcmp(a->links[i]->connector, connector))
      return a->links[i];
  return NULL;
}

static struct link *link_for(struct ztna_agent *a, const char *connector,
                             size_t relay) {
  struct link **place, *l = agent_link_named(a, connector);

  if (l) return l;
  if (strlen(connector) > IDENTITY_SPIFFE_MAX) return NULL;
  place = place_for_link(a);
  if (!place) return NULL;
  l = calloc(1, sizeof(*l));
  if (!l) return NULL;
  l->owner = a;
  strcpy(l->connector, connector); /* length judged above */
  ways_init(&l->ways, true, &agent_ways_ops, l);
  if (agent_way_make(l, &l->relayed[0], WAY_RELAY) < 0) {
    free(l);
    return NULL;
  }
  l->relayed[0].relay = relay;
  l->path = l->relayed[0].way.path;
  a->counters.n_links++;
  return *place = l;
}

struct link *agent_link_take(struct ztna_agent *a, size_t relay, json_t *j) {
  const char *connector = json_string_value(json_object_get(j, "connector"));
  struct link *l = connector ? link_for(a, connector, relay) : NULL;

  if (!l || !agent_route_take(l, relay, j)) return NULL;
  a->sweep_at = a->now;
  return l;
}

bool agent_link_is_waiting(struct link *l) {
  struct service *s;

  each_service(l->owner, l, s) if (s->use == USE_OPENING) return true;
  return false;
}

/* By a service, or by what it left behind there. */
bool agent_link_is_in_use(const struct link *l) {
  struct ztna_agent *a = l->owner;

  for (size_t i = 0; i < a->n_services; i++) {
    struct service *s = a->services[i];

    if (s->link == l) return true;
    for (int k = 0; k < LEFT_MAX; k++)
      if (s->left[k].link == l && s->left[k].serves) return true;
    for (struct agent_flow *f = s->tcp; f; f = f->next)
      if (f->link == l) return true;
  }
  return false;
}

static void close_all(struct link *l, enum reason why) {
  struct agent_way *w;

  for (size_t i = 0; (w = agent_way_at(l, i)); i++)
    if (w->way.path) path_close(w->way.path, why);
}

/* Somebody was elsewhere for a while and may have come back, so not at once. */
static void let_go(struct link *l, uint64_t now) {
  struct ztna_agent *a = l->owner;

  if (!agent_link_has_route(l) || !is_live(l) || agent_link_is_in_use(l)) {
    l->unused_since = 0;
    return;
  }
  if (!l->unused_since) l->unused_since = now;
  a->sweep_at = time_min(a->sweep_at, l->unused_since + UNUSED_FOR);
  if (now < l->unused_since + UNUSED_FOR) return;
  log_info("agent: connector not used any more connector=%s", l->connector);
  l->unused_since = 0;
  for (int i = 0; i < LINK_RELAYED; i++)
    agent_route_give_back(&l->relayed[i], REASON_IDLE);
  close_all(l, REASON_IDLE);
}

static void link_tick(struct link *l, uint64_t now) {
  struct ztna_agent *a = l->owner;
  struct agent_way *w;

  for (size_t i = 0; (w = agent_way_at(l, i)); i++)
    if (w->way.path) agent_way_tick(w, now);
  ways_tick(&l->ways, now);
  agent_routes_tick(l, now);
  agent_renew_tick(l, now);
  agent_direct_renew_tick(l, now);
  agent_direct_want(l, now);
  let_go(l, now);
  a->sweep_at = time_min(a->sweep_at, ways_deadline(&l->ways, now));
}

void agent_links_tick(struct ztna_agent *a, uint64_t now) {
  if (now < a->sweep_at) return;
  a->sweep_at = NEVER;
  for (int i = 0; i < LINKS_MAX; i++)
    if (a->links[i]) link_tick(a->links[i], now);
}

void agent_links_close(struct ztna_agent *a, enum reason why) {
  for (int i = 0; i < LINKS_MAX; i++)
    if (a->links[i]) close_all(a->links[i], why);
}

void agent_links_free(struct ztna_agent *a) {
  for (int i = 0; i < LINKS_MAX; i++) {
    struct link *l = a->links[i];

    if (l) link_free(l);
    a->links[i] = NULL;
  }
}
