/* relay_registry.c - PUT /v1/connector: what a connector offers from now on, in
 * place of all it offered before. */
#include "role/relay_int.h"

#include <stdlib.h>

/* --- replacing the list */

static void offers_unlink(struct party *p) {
  for (size_t i = 0; i < p->n_offers; i++)
    LIST_REMOVE(&p->offers[i], of_service);
}

static void offers_link(struct relay *r, struct party *p) {
  size_t n = 0;
  for (size_t i = 0; i < p->n_offers; i++) {
    struct offer *o = &p->offers[i];
    o->service = relay_service_need(r, o->id);
    o->connector = p;
    if (!o->service) {
      free(o->ports); /* no memory: without this one */
      continue;
    }
    if (n != i) p->offers[n] = *o;
    o = &p->offers[n++];
    LIST_INSERT_HEAD(&o->service->offers, o, of_service);
    o->service->known = true;
  }
  p->n_offers = n;
}

/* Grants of services that it serves no longer. */
static void grants_settle(struct relay *r, struct party *p) {
  struct meeting *m, *next_m;
  struct grant *g, *next;
  for (m = LIST_FIRST(&p->meetings); m; m = next_m) {
    next_m = LIST_NEXT(m, of_end[1]);
    for (g = LIST_FIRST(&m->grants); g; g = next) {
      next = LIST_NEXT(g, of_meeting);
      if (!relay_service_offer(g->service, p))
        relay_grant_close(r, g, REASON_NO_SUCH_SERVICE, NULL);
    }
    relay_meeting_settle(r, m, REASON_NO_SUCH_SERVICE, NULL);
  }
}

static void offers_replace(struct relay *r, struct party *p, struct offer *v,
                           size_t n) {
  struct offer *old = p->offers;
  size_t n_old = p->n_offers;
  offers_unlink(p);
  p->offers = v;
  p->n_offers = n;
  offers_link(r, p);
  grants_settle(r, p);
  for (size_t i = 0; i < n_old; i++) relay_service_drop(r, old[i].service);
  relay_offers_free(old, n_old);
  relay_service_assign(r);
}

bool relay_registry_fits(const struct party *p, const struct identity *id) {
  for (size_t i = 0; i < p->n_offers; i++)
    if (!identity_serves(id, p->offers[i].service->id)) return false;
  return true;
}

void relay_registry_drop(struct relay *r, struct party *p) {
  offers_unlink(p);
  relay_offers_free(p->offers, p->n_offers);
  p->offers = NULL;
  p->n_offers = 0;
  relay_events_services(r);
}

/* --- routes that it has no more */

static bool lists(const json_t *ids, const struct meeting *m) {
  char hex[RELAY_HEX_ID];
  json_t *id;
  size_t i;
  hex_print(m->r.id, RELAY_ID_LEN, hex);
  json_array_foreach(ids, i, id) {
    const char *s = json_string_value(id);
    if (s && !strcmp(s, hex)) return true;
  }
  return false;
}

/* Only on a connection's first registration: everything was begun before it, so
 * what it does not list it does not have. */
static void routes_compare(struct relay *r, struct party *p,
                           const json_t *ids) {
  struct meeting *m, *next;
  if (!json_is_array(ids)) return;
  for (m = LIST_FIRST(&p->meetings); m; m = next) {
    next = LIST_NEXT(m, of_end[1]);
    if (m->open && !lists(ids, m)) relay_meeting_end(r, m, REASON_IDLE, p);
  }
}

/* --- the answer */

static json_t *grants_of(const struct party *p) {
  json_t *list = json_array();
  const struct meeting *m;
  const struct grant *g;
  LIST_FOREACH(m, &p->meetings, of_end[1])
  LIST_FOREACH(g, &m->grants, of_meeting)
  json_array_append_new(list, relay_json_grant(m, g->id, g->service, &g->may));
  return list;
}

static json_t *answer(const struct party *p) {
  json_t *list = json_array();
  for (size_t i = 0; i < p->n_offers; i++) {
    const struct service *s = p->offers[i].service;
    json_array_append_new(list,
                          json_pack("{s:s, s:o}", "id", s->id, "addresses",
                                    relay_json_ips(s->addrs, RELAY_FAMILIES)));
  }
  return json_pack("{s:o, s:o}", "grants", grants_of(p), "services", list);
}

/* --- the request */

static size_t count_new(const struct relay *r, const struct offer *v,
                        size_t n) {
  size_t fresh = 0;
  for (size_t i = 0; i < n; i++) fresh += !relay_service_find(r, v[i].id);
  return fresh;
}

static void take(struct session *s, struct h3_req *req, const json_t *body,
                 const uint8_t *instance, struct offer *v, size_t n) {
  struct relay *r = s->relay;
  struct party *p = s->party;
  bool first = !s->declared;
  relay_party_declare(s, instance);
  p->draining = json_is_true(json_object_get(body, "draining"));
  offers_replace(r, p, v, n);
  if (first) {
    routes_compare(r, p, json_object_get(body, "routes"));
    log_info("relay: registered connector=%s services=%zu", p->spiffe,
             p->n_offers);
  }
  relay_resume_connector(r, p, json_object_get(body, "resume"));
  relay_json_respond(req, 200, answer(p));
  relay_resume_settle(r, p);
  relay_events_services(r);
}

static void judge(struct session *s, struct h3_req *req, const json_t *body) {
  const char *hex = json_string_value(json_object_get(body, "instance"));
  uint8_t instance[RELAY_ID_LEN];
  struct offer *v = NULL;
  char text[160];
  size_t n = 0;
  enum reason why;

  if (!hex_parse(instance, RELAY_ID_LEN, hex)) {
    relay_api_refuse(s, req, REASON_MALFORMED, "instance: want 32 hex digits");
    return;
  }
  why = relay_offers_parse(json_object_get(body, "services"),
                           relay_session_peer(s), &v, &n, text, sizeof(text));
  if (why != REASON_NONE) {
    relay_api_refuse(s, req, why, text);
    return;
  }
  if (!relay_service_make_room(s->relay, count_new(s->relay, v, n))) {
    relay_offers_free(v, n);
    relay_api_refuse(s, req, REASON_TOO_MANY_ROUTES,
                     "the relay knows 4096 services");
    return;
  }
  take(s, req, body, instance, v, n);
}

void relay_registry_put(struct session *s, struct h3_req *req,
                        const uint8_t *id) {
  size_t len;
  const char *text = h3_body(req, &len);
  json_t *body = relay_json_parse(text, len);
  if (body)
    judge(s, req, body);
  else
    relay_api_refuse(s, req, REASON_MALFORMED,
                     "want a JSON object, each key once");
  json_decref(body);
}

/* --- PUT /v1/connector/health: what changes often, without the whole list */

static void health_take(struct relay *r, struct party *p, const json_t *one) {
  const char *id = json_string_value(json_object_get(one, "id"));
  const struct service *s = id ? relay_service_find(r, id) : NULL;
  struct offer *o = s ? relay_service_offer(s, p) : NULL;
  bool up;
  if (!o || !relay_health_read(json_object_get(one, "health"), &up)) return;
  if (up != o->up && relay_may_log(r, &r->health_log))
    log_info("relay: service %s service=%s connector=%s", up ? "up" : "down",
             s->id, p->spiffe);
  o->up = up;
}

static void drain_take(struct relay *r, struct party *p,
                       const json_t *draining) {
  if (!json_is_boolean(draining)) return;
  if (p->draining != json_is_true(draining) && relay_may_log(r, &r->health_log))
    log_info("relay: connector %s connector=%s",
             p->draining ? "takes new flows again" : "draining", p->spiffe);
  p->draining = json_is_true(draining);
}

void relay_registry_health(struct session *s, struct h3_req *req,
                           const uint8_t *id) {
  size_t len, i;
  const char *text = h3_body(req, &len);
  json_t *body = relay_json_parse(text, len), *one;
  if (!body) {
    relay_api_refuse(s, req, REASON_MALFORMED,
                     "want a JSON object, each key once");
    return;
  }
  if (s->declared && (s->party->session == s || s->retired)) {
    drain_take(s->relay, s->party, json_object_get(body, "draining"));
    json_array_foreach(json_object_get(body, "services"), i, one)
        health_take(s->relay, s->party, one);
    relay_json_respond(req, 204, NULL);
    relay_events_services(s->relay);
  } else {
    relay_api_refuse(s, req, REASON_ROUTE_UNKNOWN, "register first");
  }
  json_decref(body);
}
