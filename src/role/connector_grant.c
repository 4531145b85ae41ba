/* connector_grant.c - what relays allow agents: grants and their leases. A
 * service may be granted by several relays: what one of them forgot the other's
 * grant carries on, what one takes back ends. */
#include "role/connector_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "base/log.h"
#include "role/grant_json.h"

/* Not in the relay's complete set of grants, or without a route: what the agent
 * asks for meanwhile takes its place. */
#define LOST_AFTER (10 * SEC)
#define GIVE_BACKS 5 /* a second: agents decide how many there would be */
/* What we ended ourselves reaches the agent before its path is closed. */
#define SPARED_FOR SEC

/* --- which are there --- */

struct grant *grant_find(const struct link *l, const char *id) {
  for (int i = 0; id && i < LINK_GRANTS; i++)
    if (l->grants[i] && !strcmp(l->grants[i]->id, id)) return l->grants[i];
  return NULL;
}

static struct grant **place_of(struct link *l, size_t relay, const char *id) {
  unsigned left = l->n_grants;

  for (int i = 0; id && left && i < LINK_GRANTS; i++) {
    const struct grant *g = l->grants[i];

    if (!g) continue;
    if (g->relay == relay && !strcmp(g->id, id)) return &l->grants[i];
    left--;
  }
  return NULL;
}

/* Only what this relay gave: another one has no say in it. */
static struct grant **grant_of_relay(struct connector *c, size_t relay,
                                     const char *id, struct link **link) {
  for (size_t i = 0; i < c->n_links; i++) {
    struct grant **g = c->links[i] ? place_of(c->links[i], relay, id) : NULL;

    if (!g) continue;
    *link = c->links[i];
    return g;
  }
  return NULL;
}

/* Another grant for the same, the one that stays longest. */
static struct grant *heir_of(const struct link *l, const struct grant *g) {
  struct grant *heir = NULL;

  for (int i = 0; i < LINK_GRANTS; i++) {
    struct grant *o = l->grants[i];

    if (!o || o == g || o->service != g->service) continue;
    if (!heir || o->lease_at > heir->lease_at) heir = o;
  }
  return heir;
}

bool grants_limit_rate(const struct link *l) {
  for (int i = 0; i < LINK_GRANTS; i++)
    if (l->grants[i] && l->grants[i]->may.limits.rate) return true;
  return false;
}

/* --- ending them --- */

/* heir: what was opened under it goes on under that one; NULL: it ends. */
static void grant_drop(struct link *l, struct grant **g, struct grant *heir,
                       enum reason why) {
  for (int i = 0; i < LINK_CONTEXTS; i++) {
    struct context *x = &l->contexts[i];

    if (!x->number || x->grant != *g) continue;
    x->grant = heir;
    if (heir) continue;
    link_say(l, json_pack("{s:s, s:I, s:s}", "type", "close", "context",
                          (json_int_t)x->number, "reason", reason_name(why)));
    memset(x, 0, sizeof(*x));
  }
  log_info("connector: grant closed grant=%s agent=%s service=%s reason=%s",
           (*g)->id, l->agent, (*g)->service->id, reason_name(why));
  l->last_end = why;
  if ((*g)->way) (*g)->way->n_grants--;
  l->n_grants--;
  free(*g);
  *g = NULL;
}

static void give_back(const struct connector *c, size_t relay, const char *id) {
  char path[64];

  snprintf(path, sizeof(path), "/v1/grants/%s", id);
  uplink_request(c->uplinks[relay], "DELETE", path, NULL, NULL, NULL);
}

static void spare(struct link *l) {
  struct connector *c = l->owner;

  l->spared_until = c->now + SPARED_FOR;
  c->sweep_at = time_min(c->sweep_at, l->spared_until);
}

/* knows: the relay that need not be told; n_uplinks: none does. */
static void drop_all(struct link *l, const struct service *s, enum reason why,
                     bool back, size_t knows) {
  for (int i = 0; i < LINK_GRANTS; i++) {
    struct grant **g = &l->grants[i];

    if (!*g || (*g)->service != s) continue;
    if (back && (*g)->relay != knows)
      give_back(l->owner, (*g)->relay, (*g)->id);
    if ((*g)->relay != knows) spare(l);
    grant_drop(l, g, NULL, why);
  }
}

void grants_end(struct link *l, const struct service *s, enum reason why,
                bool back) {
  drop_all(l, s, why, back, l->owner->n_uplinks);
}

/* Its permission was taken back, by whichever relay: that holds for all that
 * the agent has. */
static void grant_revoke(struct link *l, const struct grant *g,
                         enum reason why) {
  struct connector *c = l->owner;
  struct tcp_agent *agent = l->tcp;
  const struct service *s = g->service;
  size_t knows = g->relay;

  for (size_t i = 0; i < c->n_links; i++)
    if (c->links[i] && c->links[i]->tcp == agent)
      drop_all(c->links[i], s, why, true, knows);
  splices_revoke(agent, s, why);
}

/* This grant is over, another one may cover the same flows; those that wait for
 * a path may still find it. */
static void grant_end(struct link *l, struct grant **g, enum reason why,
                      bool lost_too) {
  const struct service *s = (*g)->service;

  grant_drop(l, g, heir_of(l, *g), why);
  splices_recheck(l->tcp, s, why, lost_too);
}

static bool link_is_there(const struct link *l) {
  for (size_t i = 0; i < l->ways.n; i++) {
    const struct quic_conn *c = path_conn(l->ways.v[i]->path);

    if (c && quic_is_ready(c)) return true;
  }
  return false;
}

static bool agent_is_there(const struct connector *c,
                           const struct tcp_agent *agent) {
  for (size_t i = 0; i < c->n_links; i++)
    if (c->links[i] && c->links[i]->tcp == agent && link_is_there(c->links[i]))
      return true;
  return false;
}

void grants_put_out(struct link *l, enum reason why) {
  struct connector *c = l->owner;

  if (link_is_there(l)) return;
  for (int i = 0; i < LINK_GRANTS; i++)
    if (l->grants[i]) grants_end(l, l->grants[i]->service, why, true);
  l->spared_until = c->sweep_at = c->now;
  nat_forget(l, why);
  if (agent_is_there(c, l->tcp)) return;
  for (size_t i = 0; i < c->n_services; i++)
    splices_revoke(l->tcp, c->services[i], why);
}

static bool is_anybodys(const struct connector *c, const char *id) {
  for (size_t i = 0; i < c->n_links; i++)
    if (c->links[i] && grant_find(c->links[i], id)) return true;
  return false;
}

/* Not another link's: who names it would end another's use. */
void grant_unknown(struct link *l, const char *id) {
  struct connector *c = l->owner;
  uint8_t raw[ID_LEN];
  uint32_t hidden;

  if (!hex_parse(raw, ID_LEN, id) ||
      !log_allow(&c->give_backs, c->now, GIVE_BACKS, SEC, &hidden) ||
      is_anybodys(c, id)) /* last: it looks through all */
    return;
  for (size_t i = 0; i < l->ways.n; i++)
    if (link_way_at(l, i)->way.kind == WAY_RELAY)
      give_back(c, link_way_at(l, i)->relay, id);
}

static bool is_policy(enum reason why) {
  return why == REASON_REVOKED || why == REASON_EXPIRED ||
         why == REASON_NOT_ALLOWED || why == REASON_BAD_CERTIFICATE;
}

/* --- taking them --- */

static struct grant **place_for(struct link *l, size_t relay, const char *id) {
  struct grant **g = place_of(l, relay, id);

  if (g) return g;
  for (int i = 0; i < LINK_GRANTS; i++) {
    if (l->grants[i]) continue;
    if (!(l->grants[i] = calloc(1, sizeof(struct grant)))) return NULL;
    strcpy(l->grants[i]->id, id); /* length judged by grant_json_read */
    l->grants[i]->relay = relay;
    l->n_grants++;
    return &l->grants[i];
  }
  return NULL;
}

static void by_way(struct grant *g, struct link_way *w) {
  if (!w || g->way == w) return;
  if (g->way) g->way->n_grants--;
  w->n_grants++;
  g->way = w;
}

enum reason grant_take(struct link *l, size_t relay, struct link_way *w,
                       json_t *j) {
  struct grant_json in;
  const struct service *former;
  struct grant **g;
  struct service *s;

  if (grant_json_read(&in, j) < 0) return REASON_MALFORMED;
  s = service_find(l->owner, in.service);
  if (!s) return REASON_NO_SUCH_SERVICE;
  g = place_for(l, relay, in.id);
  if (!g) return REASON_TOO_MANY_ROUTES;
  former = (*g)->service;
  by_way(*g, w);
  (*g)->service = s;
  (*g)->may = in.may;
  audit_copy((*g)->rule, sizeof((*g)->rule), in.rule);
  memcpy((*g)->addrs, in.addrs, sizeof((*g)->addrs));
  (*g)->lease_at = l->owner->now + in.lease;
  (*g)->missing = false;
  if (in.may.limits.rate) link_direct_end(l);
  if (former) splices_recheck(l->tcp, former, REASON_PORT_NOT_ALLOWED, true);
  return REASON_NONE;
}

/* --- what relays say later --- */

static void closed(struct link *l, struct grant **g, enum reason why) {
  if (is_policy(why))
    grant_revoke(l, *g, why);
  else
    grant_end(l, g, why, false);
}

static void renewed(struct connector *c, struct grant *g, json_t *e) {
  g->lease_at = c->now + ms_json_read(json_object_get(e, "lease"));
  g->missing = false;
}

void grant_event(struct connector *c, const struct uplink *u, const char *event,
                 json_t *e) {
  json_t *j = json_object_get(e, "grant");
  const char *id = json_is_object(j)
                       ? json_string_value(json_object_get(j, "id"))
                       : json_string_value(j);
  const char *reason = json_string_value(json_object_get(e, "reason"));
  size_t relay = connector_relay_index(c, u);
  struct link *l = NULL;
  struct grant **g = grant_of_relay(c, relay, id, &l);

  if (!g) return; /* closing what is unknown is no error */
  if (!strcmp(event, "grant-closed"))
    closed(l, g, reason ? reason_find(reason) : REASON_REVOKED);
  else if (!strcmp(event, "grant-renewed"))
    renewed(c, *g, e);
  else if (!strcmp(event, "grant-changed") && grant_take(l, relay, NULL, j))
    grant_revoke(l, *g, REASON_MALFORMED); /* rather nothing than the old */
}

static void expect_again(struct connector *c, struct grant *g) {
  uint64_t until = c->now + LOST_AFTER;

  if (g->lease_at <= until) return;
  g->lease_at = until;
  g->missing = true;
}

/* Others get 10 s, in which a route may still come back. */
void grants_sync(struct connector *c, const struct uplink *u, json_t *answer) {
  json_t *list = json_object_get(answer, "grants"), *j;
  size_t relay = connector_relay_index(c, u), n;

  for (size_t i = 0; i < c->n_links; i++)
    for (int k = 0; c->links[i] && k < LINK_GRANTS; k++) {
      struct grant *g = c->links[i]->grants[k];

      if (g && g->relay == relay) expect_again(c, g);
    }
  json_array_foreach(list, n, j) {
    struct link *l = NULL;
    const char *id = json_string_value(json_object_get(j, "id"));

    if (grant_of_relay(c, relay, id, &l)) grant_take(l, relay, NULL, j);
  }
}

/* The relay does not want the two to meet any more. */
static bool is_refusal(enum reason why) {
  return is_policy(why) || why == REASON_REPLACED ||
         why == REASON_SHUTTING_DOWN || why == REASON_CERTIFICATE_EXPIRED ||
         why == REASON_IDENTITY_MISMATCH;
}

/* When the link has another way that works, its packets go on while the agent
 * asks for another route: nobody took back what it may do. */
void grants_leave(struct link_way *w, enum reason why) {
  struct link *l = w->link;
  bool stays = !is_refusal(why) && ways_work(&l->ways);

  for (int i = 0; i < LINK_GRANTS; i++) {
    struct grant *g = l->grants[i];

    if (!g || g->way != w) continue;
    if (!stays) {
      grant_end(l, &l->grants[i], why, false);
      continue;
    }
    g->way = NULL;
    w->n_grants--;
    expect_again(l->owner, g);
  }
}

void grants_by_relay_end(struct connector *c, size_t relay, enum reason why) {
  for (size_t i = 0; i < c->n_links; i++)
    for (int k = 0; c->links[i] && k < LINK_GRANTS; k++) {
      struct grant **g = &c->links[i]->grants[k];

      if (*g && (*g)->relay == relay) grant_end(c->links[i], g, why, true);
    }
}

/* What a relay forgot it may give again: while the route is not back, flows
 * wait for it as they do when a path is gone. */
static void lease_ended(struct link *l, struct grant **g) {
  const struct service *s = (*g)->service;
  bool missing = (*g)->missing;

  grant_drop(l, g, heir_of(l, *g), REASON_EXPIRED);
  if (!missing || l->n_grants)
    splices_recheck(l->tcp, s, REASON_EXPIRED, !missing);
}

void grants_tick(struct link *l, uint64_t now) {
  unsigned left = l->n_grants;

  for (int i = 0; left && i < LINK_GRANTS; i++) {
    if (!l->grants[i]) continue;
    left--;
    if (now >= l->grants[i]->lease_at) lease_ended(l, &l->grants[i]);
  }
}
