/* connector_grant.c - what relays allow agents: grants and their leases. */
#include "role/connector_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "role/grant_json.h"

#define LOST_AFTER (10 * SEC) /* not in the relay's complete set of grants */

struct service *service_find(struct connector *c, const char *id) {
  for (size_t i = 0; id && i < c->n_services; i++)
    if (!strcmp(c->services[i].id, id)) return &c->services[i];
  return NULL;
}

/* Our own configuration may only narrow what relays grant. */
bool service_admits(const struct service *s, const char *agent) {
  if (!s->n_agents) return true;
  for (size_t i = 0; i < s->n_agents; i++)
    if (identity_matches(agent, s->agents[i])) return true;
  return false;
}

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

enum reason grant_take(struct link *l, json_t *j) {
  struct grant_json in;
  struct grant **g, *was;
  struct service *s;

  if (grant_json_read(&in, j) < 0) return REASON_MALFORMED;
  s = service_find(l->owner, in.service);
  if (!s) return REASON_NO_SUCH_SERVICE;
  g = grant_find(l, in.id);
  for (int i = 0; !g && i < LINK_GRANTS; i++)
    if (!l->grants[i]) g = &l->grants[i];
  if (!g) return REASON_TOO_MANY_ROUTES;
  was = *g;
  if (!was && !(*g = calloc(1, sizeof(**g)))) return REASON_INTERNAL;
  memcpy((*g)->id, in.id, sizeof((*g)->id));
  (*g)->service = s;
  (*g)->may = in.may;
  memcpy((*g)->addrs, in.addrs, sizeof((*g)->addrs));
  (*g)->lease_at = l->owner->now + in.lease;
  return REASON_NONE;
}

/* --- what relays say later --- */

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
    grant_drop(l, g, reason ? reason_find(reason) : REASON_REVOKED);
  else if (!strcmp(event, "grant-renewed"))
    (*g)->lease_at = c->now + ms_json_read(json_object_get(e, "lease"));
  else if (!strcmp(event, "grant-changed") && grant_take(l, j))
    grant_drop(l, g, REASON_MALFORMED); /* rather nothing than the old rights */
}

/* Others get 10 s, in which a route may still come back. */
void grants_sync(struct connector *c, const struct uplink *u, json_t *answer) {
  json_t *list = json_object_get(answer, "grants"), *j;
  size_t n;

  for (size_t i = 0; i < c->n_links; i++) {
    struct link *l = c->links[i];

    if (!l || c->uplinks[l->relay] != u) continue;
    for (int k = 0; k < LINK_GRANTS; k++)
      if (l->grants[k] && l->grants[k]->lease_at > c->now + LOST_AFTER)
        l->grants[k]->lease_at = c->now + LOST_AFTER;
  }
  json_array_foreach(list, n, j) {
    struct link *l = NULL;
    struct grant **g =
        grant_of_relay(c, u, json_string_value(json_object_get(j, "id")), &l);

    if (g) grant_take(l, j);
  }
}

bool grants_tick(struct link *l, uint64_t now) {
  bool any = false;

  for (int i = 0; i < LINK_GRANTS; i++) {
    if (l->grants[i] && now >= l->grants[i]->lease_at)
      grant_drop(l, &l->grants[i], REASON_EXPIRED);
    any = any || l->grants[i];
  }
  return any;
}
