/* connector_grant.c - what relays allow agents: grants and their leases. */
#include "role/connector_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "base/log.h"
#include "role/grant_json.h"

#define LOST_AFTER (10 * SEC) /* not in the relay's complete set of grants */
#define GIVE_BACKS 5 /* a second: agents decide how many there would be */
/* What we ended ourselves reaches the agent before its path is closed. */
#define SPARED_FOR SEC

struct grant **grant_find(struct link *l, const char *id) {
  for (int i = 0; id && i < LINK_GRANTS; i++)
    if (l->grants[i] && !strcmp(l->grants[i]->id, id)) return &l->grants[i];
  return NULL;
}

/* Only among the links of this relay: another one has no say in them. */
static struct grant **grant_of_relay(struct connector *c,
                                     const struct uplink *u, const char *id,
                                     struct link **link) {
  for (size_t i = 0; i < c->n_links; i++) {
    bool its = c->links[i] && c->uplinks[c->links[i]->relay] == u;
    struct grant **g = its ? grant_find(c->links[i], id) : NULL;

    if (g) {
      *link = c->links[i];
      return g;
    }
  }
  return NULL;
}

static void tell_closed(struct link *l, uint64_t context, enum reason why) {
  json_t *m = json_pack("{s:s, s:I, s:s}", "type", "close", "context",
                        (json_int_t)context, "reason", reason_name(why));

  path_send(l->path, m);
  json_decref(m);
}

static void grant_drop(struct link *l, struct grant **g, enum reason why) {
  for (int i = 0; i < LINK_CONTEXTS; i++) {
    struct context *x = &l->contexts[i];

    if (!x->number || x->grant != *g) continue;
    tell_closed(l, x->number, why);
    memset(x, 0, sizeof(*x));
  }
  log_info("connector: grant closed grant=%s agent=%s service=%s reason=%s",
           (*g)->id, l->agent, (*g)->service->id, reason_name(why));
  free(*g);
  *g = NULL;
}

/* Its permission was taken back, by whichever relay: that holds for all the
 * agent's links. */
static void grant_revoke(struct link *l, struct grant **g, enum reason why) {
  const struct service *s = (*g)->service;

  grant_drop(l, g, why);
  splices_revoke(l->tcp, s, why);
}

/* This grant is over, another one may cover the same flows; those that wait for
 * a path may still find it. */
static void grant_end(struct link *l, struct grant **g, enum reason why,
                      bool lost_too) {
  const struct service *s = (*g)->service;

  grant_drop(l, g, why);
  splices_recheck(l->tcp, s, why, lost_too);
}

static void give_back(struct link *l, const char *id) {
  char path[64];

  snprintf(path, sizeof(path), "/v1/grants/%s", id);
  uplink_request(l->owner->uplinks[l->relay], "DELETE", path, NULL, NULL, NULL);
}

void grants_end(struct link *l, const struct service *s, enum reason why,
                bool back) {
  struct connector *c = l->owner;

  for (int i = 0; i < LINK_GRANTS; i++) {
    if (!l->grants[i] || l->grants[i]->service != s) continue;
    if (back) give_back(l, l->grants[i]->id);
    grant_drop(l, &l->grants[i], why);
    l->spared_until = c->now + SPARED_FOR;
    c->sweep_at = time_min(c->sweep_at, l->spared_until);
  }
}

void grant_unknown(struct link *l, const char *id) {
  struct connector *c = l->owner;
  uint8_t raw[ID_LEN];
  uint32_t hidden;

  if (hex_parse(raw, ID_LEN, id) &&
      log_allow(&c->give_backs, c->now, GIVE_BACKS, SEC, &hidden))
    give_back(l, id);
}

static bool is_policy(enum reason why) {
  return why == REASON_REVOKED || why == REASON_EXPIRED ||
         why == REASON_NOT_ALLOWED;
}

enum reason grant_take(struct link *l, json_t *j) {
  struct grant_json in;
  const struct service *former = NULL;
  struct grant **g;
  struct service *s;

  if (grant_json_read(&in, j) < 0) return REASON_MALFORMED;
  s = service_find(l->owner, in.service);
  if (!s) return REASON_NO_SUCH_SERVICE;
  g = grant_find(l, in.id);
  for (int i = 0; !g && i < LINK_GRANTS; i++)
    if (!l->grants[i]) g = &l->grants[i];
  if (!g) return REASON_TOO_MANY_ROUTES;
  if (*g) former = (*g)->service;
  if (!*g && !(*g = calloc(1, sizeof(**g)))) return REASON_INTERNAL;
  memcpy((*g)->id, in.id, sizeof((*g)->id));
  (*g)->service = s;
  (*g)->may = in.may;
  memcpy((*g)->addrs, in.addrs, sizeof((*g)->addrs));
  (*g)->lease_at = l->owner->now + in.lease;
  (*g)->missing = false;
  if (former) splices_recheck(l->tcp, former, REASON_PORT_NOT_ALLOWED, true);
  return REASON_NONE;
}

/* --- what relays say later --- */

static void closed(struct link *l, struct grant **g, enum reason why) {
  if (is_policy(why))
    grant_revoke(l, g, why);
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
  struct link *l = NULL;
  struct grant **g = grant_of_relay(c, u, id, &l);

  if (!g) return; /* closing what is unknown is no error */
  if (!strcmp(event, "grant-closed"))
    closed(l, g, reason ? reason_find(reason) : REASON_REVOKED);
  else if (!strcmp(event, "grant-renewed"))
    renewed(c, *g, e);
  else if (!strcmp(event, "grant-changed") && grant_take(l, j))
    grant_revoke(l, g, REASON_MALFORMED); /* rather nothing than the old */
}

static void expect_again(struct link *l, uint64_t until) {
  for (int k = 0; k < LINK_GRANTS; k++) {
    struct grant *g = l->grants[k];

    if (!g || g->lease_at <= until) continue;
    g->lease_at = until;
    g->missing = true;
  }
}

/* Others get 10 s, in which a route may still come back. */
void grants_sync(struct connector *c, const struct uplink *u, json_t *answer) {
  json_t *list = json_object_get(answer, "grants"), *j;
  size_t n;

  for (size_t i = 0; i < c->n_links; i++) {
    struct link *l = c->links[i];

    if (l && c->uplinks[l->relay] == u) expect_again(l, c->now + LOST_AFTER);
  }
  json_array_foreach(list, n, j) {
    struct link *l = NULL;
    struct grant **g =
        grant_of_relay(c, u, json_string_value(json_object_get(j, "id")), &l);

    if (g) grant_take(l, j);
  }
}

static bool has_grant(const struct link *l) {
  for (int i = 0; i < LINK_GRANTS; i++)
    if (l->grants[i]) return true;
  return false;
}

/* What a relay forgot it may give again: while the route is not back, flows
 * wait for it as they do when a path is gone. */
static void lease_ended(struct link *l, struct grant **g) {
  const struct service *s = (*g)->service;
  bool missing = (*g)->missing;

  grant_drop(l, g, REASON_EXPIRED);
  if (!missing || has_grant(l))
    splices_recheck(l->tcp, s, REASON_EXPIRED, !missing);
}

bool grants_tick(struct link *l, uint64_t now) {
  for (int i = 0; i < LINK_GRANTS; i++)
    if (l->grants[i] && now >= l->grants[i]->lease_at)
      lease_ended(l, &l->grants[i]);
  return has_grant(l);
}
