/* connector_route.c - what relays say of routes: who wants to come in, by which
 * handles, and what became of it. */
#include "role/connector_int.h"

#include <stdlib.h>
#include <string.h>
#include <ztna/err.h>

#include "base/hex.h"
#include "base/log.h"
#include "role/grant_json.h"

/* A relay has one route for two parties, and another while that is renewed; one
 * that it forgot ends with its grants. Whoever makes more of them does not take
 * the others' place. */
enum { RELAY_ROUTES = 2 };

/* --- those that are there --- */

static bool is_of(const struct link_way *w, size_t relay) {
  return w->way.kind == WAY_RELAY && w->relay == relay;
}

static struct link_way *of_link(const struct link *l, size_t relay,
                                const char *route) {
  for (size_t i = 0; i < l->ways.n; i++) {
    struct link_way *w = link_way_at(l, i);

    if (is_of(w, relay) && !strcmp(w->route, route)) return w;
  }
  return NULL;
}

/* Only among those of this relay: another one has no say in them. */
static struct link_way *way_find(const struct connector *c, size_t relay,
                                 const char *route) {
  struct link_way *w = NULL;

  for (size_t i = 0; route && !w && i < c->n_links; i++)
    if (c->links[i]) w = of_link(c->links[i], relay, route);
  return w;
}

/* --- requests --- */

struct request {
  const char *route, *agent, *instance, *ticket;
  size_t relay;
  uint8_t handle[HANDLE_LEN], peer_handle[HANDLE_LEN];
  struct ztna_addr addrs[2];
  uint64_t rtt;
  json_t *grant;
};

static int read_handles(struct request *r, json_t *h) {
  bool ok = hex_parse(r->handle, HANDLE_LEN,
                      json_string_value(json_object_get(h, "connector"))) &&
            hex_parse(r->peer_handle, HANDLE_LEN,
                      json_string_value(json_object_get(h, "agent")));

  return ok ? 0 : ZTNA_EMALFORMED;
}

static int request_read(struct request *r, json_t *e) {
  json_t *instance = json_object_get(e, "instance");
  uint8_t id[ID_LEN];

  memset(r, 0, sizeof(*r));
  r->route = json_string_value(json_object_get(e, "route"));
  r->agent = json_string_value(json_object_get(e, "agent"));
  r->instance = json_string_value(instance);
  r->ticket = json_string_value(json_object_get(e, "ticket"));
  r->grant = json_object_get(e, "grant");
  r->rtt = ms_json_read(json_object_get(e, "rtt"));
  if (!hex_parse(id, ID_LEN, r->route) || !r->agent || !r->grant ||
      strlen(r->agent) > IDENTITY_SPIFFE_MAX ||
      (instance && !hex_parse(id, ID_LEN, r->instance)) ||
      read_handles(r, json_object_get(e, "handles")) < 0)
    return ZTNA_EMALFORMED;
  return addrs_json_read(json_object_get(e, "addresses"), r->addrs);
}

static enum reason judge_agent(const struct request *r) {
  struct identity id;

  if (identity_parse_spiffe(&id, r->agent, strlen(r->agent)) < 0 ||
      id.role != ROLE_AGENT)
    return REASON_IDENTITY_MISMATCH;
  return REASON_NONE;
}

/* What it has goes on, whatever is said of new flows. */
static bool link_serves(const struct link *l, const struct service *s) {
  for (int i = 0; i < LINK_GRANTS; i++)
    if (l->grants[i] && l->grants[i]->service == s) return true;
  return false;
}

/* A route that came back after a relay's restart keeps its path. */
static bool way_is(const struct link_way *w, const struct request *r) {
  const struct link *l = w->link;

  return !w->dying && !l->dying && !strcmp(l->agent, r->agent) &&
         (!r->instance || !strcmp(l->instance, r->instance)) &&
         !memcmp(w->handle, r->handle, HANDLE_LEN) &&
         !memcmp(w->peer_handle, r->peer_handle, HANDLE_LEN);
}

/* --- new ones --- */

/* The oldest of this relay's routes goes rather than another's. */
static void make_room(struct link *l, size_t relay) {
  struct link_way *oldest = NULL;
  int n = 0;

  for (size_t i = l->ways.n; i-- > 0;) {
    if (!is_of(link_way_at(l, i), relay)) continue;
    oldest = link_way_at(l, i);
    n++;
  }
  if (n < RELAY_ROUTES) return;
  link_way_end(oldest, REASON_REPLACED);
  grants_leave(oldest, REASON_REPLACED);
  link_way_free(oldest);
}

static struct link_way *way_make(struct link *l, struct uplink *u,
                                 const struct request *r) {
  struct ztna_addr relay = uplink_remote(u);
  struct link_way *w;

  make_room(l, r->relay);
  w = link_way_new(l, WAY_RELAY, r->handle, r->peer_handle,
                   r->rtt + uplink_rtt(u));
  if (!w) return NULL;
  w->relay = r->relay;
  strcpy(w->route, r->route); /* length judged by request_read */
  path_hear_only(w->way.path, &relay);
  return w;
}

static struct link_way *way_take(struct connector *c, struct uplink *u,
                                 const struct request *r) {
  const char *instance = r->instance ? r->instance : "";
  struct link *l = link_find(c, r->agent, instance);
  bool is_new = !l;
  struct link_way *w;

  if (!l) l = link_new(c, r->agent, instance);
  w = l ? way_make(l, u, r) : NULL;
  if (l && is_new && !w) link_free(l);
  return w;
}

static void take_observed(struct link_way *w, json_t *e) {
  const char *text = json_string_value(json_object_get(e, "observed"));

  if (text) ztna_addr_parse(&w->observed, text);
}

static enum reason admit(struct connector *c, struct uplink *u, json_t *e) {
  struct request r;
  struct link_way *w;
  struct service *s;
  struct link *l;
  enum reason why;

  if (c->stopping) return REASON_SHUTTING_DOWN;
  if (request_read(&r, e) < 0) return REASON_MALFORMED;
  if ((why = judge_agent(&r))) return why;
  s = service_find(c, json_string_value(json_object_get(r.grant, "service")));
  if (!s) return REASON_NO_SUCH_SERVICE;
  if (!service_admits(s, r.agent)) return REASON_NOT_ALLOWED;
  r.relay = connector_relay_index(c, u);
  w = way_find(c, r.relay, r.route);
  l = w ? w->link : link_find(c, r.agent, r.instance ? r.instance : "");
  if (!(l && link_serves(l, s)) && (why = check_obstacle(c, s))) return why;
  if (w && !way_is(w, &r)) return REASON_MALFORMED;
  if (!w && !(w = way_take(c, u, &r))) return REASON_TOO_MANY_ROUTES;
  memcpy(w->allowed, r.addrs, sizeof(w->allowed));
  take_observed(w, e);
  if (r.ticket) {
    free(w->ticket);
    w->ticket = strdup(r.ticket);
  }
  return grant_take(w->link, w->relay, w, r.grant);
}

void link_request(struct connector *c, struct uplink *u, json_t *e) {
  const char *route = json_string_value(json_object_get(e, "route"));
  const char *agent = json_string_value(json_object_get(e, "agent"));
  const char *service = json_string_value(
      json_object_get(json_object_get(e, "grant"), "service"));
  enum reason why = admit(c, u, e);
  uint8_t id[ID_LEN];
  char path[64];
  json_t *body;

  c->counters.n_requests++;
  if (!hex_parse(id, ID_LEN, route)) return;
  if (why) {
    c->counters.n_refused++;
    connector_drop(c, why);
  }
  log_info("connector: route request agent=%s service=%s %s%s",
           agent ? agent : "none", service ? service : "none",
           why ? "refused reason=" : "accepted", why ? reason_name(why) : "");
  body = why ? json_pack("{s:s}", "refuse", reason_name(why))
             : json_pack("{s:b}", "ok", 1);
  snprintf(path, sizeof(path), "/v1/routes/%s/answer", route);
  uplink_request(u, "POST", path, body, NULL, NULL);
  json_decref(body);
}

/* --- what becomes of them --- */

void link_observed(struct connector *c, const struct uplink *u, json_t *e) {
  struct link_way *w = way_find(c, connector_relay_index(c, u),
                                json_string_value(json_object_get(e, "route")));

  if (w) take_observed(w, e);
}

void link_route_closed(struct connector *c, const struct uplink *u, json_t *e) {
  const char *reason = json_string_value(json_object_get(e, "reason"));
  enum reason why = reason ? reason_find(reason) : REASON_ROUTE_UNKNOWN;
  struct link_way *w = way_find(c, connector_relay_index(c, u),
                                json_string_value(json_object_get(e, "route")));

  if (!w || w->dying) return;
  log_info("connector: route closed route=%s agent=%s reason=%s", w->route,
           w->link->agent, reason_name(why));
  link_way_end(w, why);
  grants_leave(w, why);
}

void links_by_relay_end(struct connector *c, const struct uplink *u,
                        enum reason why) {
  size_t relay = connector_relay_index(c, u);

  for (size_t i = 0; i < c->n_links; i++)
    for (size_t k = 0; c->links[i] && k < c->links[i]->ways.n; k++)
      if (is_of(link_way_at(c->links[i], k), relay))
        link_way_end(link_way_at(c->links[i], k), why);
  grants_by_relay_end(c, relay, why);
}

void link_follow(struct connector *c, const struct uplink *u) {
  struct ztna_addr remote = uplink_remote(u);
  size_t relay = connector_relay_index(c, u);

  for (size_t i = 0; i < c->n_links; i++)
    for (size_t k = 0; c->links[i] && k < c->links[i]->ways.n; k++)
      if (is_of(link_way_at(c->links[i], k), relay))
        path_hear_only(c->links[i]->ways.v[k]->path, &remote);
}

json_t *link_tickets(const struct connector *c, const struct uplink *u) {
  size_t relay = connector_relay_index(c, u);
  json_t *list = json_array();

  for (size_t i = 0; i < c->n_links; i++)
    for (size_t k = 0; c->links[i] && k < c->links[i]->ways.n; k++) {
      const struct link_way *w = link_way_at(c->links[i], k);

      if (w->ticket && !w->dying && is_of(w, relay))
        json_array_append_new(list, json_string(w->ticket));
    }
  return list;
}
