/* relay_grant.c - leases: who gets one, what is in it, and its end. */
#include "role/relay_int.h"

#include <stdio.h>
#include <stdlib.h>

/* --- may it? */

/* A certificate that names services limits its agent to them; without a
 * connection there is none to look at, and it is judged when it comes back. */
static bool certificate_allows(const struct party *agent,
                               const struct service *s) {
  return !agent->session ||
         identity_serves(relay_session_peer(agent->session), s->id);
}

enum reason relay_grant_judge(struct relay *r, const struct party *agent,
                              const struct service *s, struct permission *may) {
  if (relay_party_is_revoked(r, agent)) return REASON_REVOKED;
  if (!certificate_allows(agent, s)) return REASON_NOT_ALLOWED;
  return policy_grant(r->policy, relay_unix(r), agent->spiffe, s->id, may);
}

/* --- limits of rules */

static bool is_by(const struct meeting *m, const char *routes_rule) {
  const struct grant *g;
  const struct ask *a;
  LIST_FOREACH(g, &m->grants, of_meeting)
  if (g->may.routes_rule == routes_rule) return true;
  STAILQ_FOREACH(a, &m->asks, of_meeting)
  if (a->may.routes_rule == routes_rule) return true;
  return false;
}

/* A route that is renewed is one, though there are two of it for a while. */
static bool pair_is_by(const struct meeting *m, const char *routes_rule) {
  const struct meeting *beside = relay_meeting_beside(m);
  return is_by(m, routes_rule) || (beside && is_by(beside, routes_rule));
}

/* A connector that is not there takes nobody's place: who left it for another
 * one must not wait for its end. */
bool relay_grant_has_room(const struct party *agent, const struct meeting *m,
                          const struct permission *may) {
  const char *rule = may->routes_rule;
  const struct meeting *o;
  uint32_t n = 0;
  if (!may->limits.routes || (m && pair_is_by(m, rule))) return true;
  LIST_FOREACH(o, &agent->meetings, of_end[0])
  if (relay_meeting_between(agent, o->end[1]) == o && pair_is_by(o, rule) &&
      relay_session_reaches(o->end[1]->session))
    n++;
  return n < may->limits.routes;
}

/* A route carries all its grants, and its packets do not say which: the least
 * rate of them is the route's. Two of the same pair share it. */
static void limit_route(struct relay *r, struct meeting *m) {
  const struct meeting *beside = relay_meeting_beside(m);
  const struct grant *g;
  uint64_t rate = 0;
  LIST_FOREACH(g, &m->grants, of_meeting)
  if (g->may.limits.rate && (!rate || g->may.limits.rate < rate))
    rate = g->may.limits.rate;
  if (beside && !LIST_EMPTY(&beside->grants)) rate = (rate + 1) / 2;
  route_limit(r->table, &m->r, rate, r->now);
}

static void limit_pair(struct relay *r, struct meeting *m) {
  struct meeting *beside = relay_meeting_beside(m);
  limit_route(r, m);
  if (beside) limit_route(r, beside);
}

/* --- life */

static void on_renew(struct relay *r, struct relay_timer *t) {
  struct grant *g = TIMER_OWNER(t, grant, renew);
  json_t *e = relay_event("grant-renewed");
  json_object_set_new(e, "grant", relay_json_id(g->id));
  json_object_set_new(e, "lease", json_integer(RELAY_LEASE / MS));
  relay_event_to(g->meeting->end[1], e);
  relay_timer_set(r, t, r->now + RELAY_LEASE / 2);
  r->n.n_grants_renewed++;
}

static void log_grant(const char *what, const struct grant *g,
                      const char *rest) {
  char id[RELAY_HEX_ID];
  log_info("relay: grant %s grant=%s agent=%s service=%s connector=%s %s", what,
           hex_print(g->id, RELAY_ID_LEN, id), g->meeting->end[0]->spiffe,
           g->service->id, g->meeting->end[1]->spiffe, rest);
}

struct grant *relay_grant_new(struct relay *r, const struct ask *a) {
  struct grant *g = calloc(1, sizeof(*g));
  if (!g) return NULL;
  memcpy(g->id, a->grant_id, RELAY_ID_LEN);
  g->meeting = a->meeting;
  g->service = a->service;
  g->may = a->may;
  if (relay_timer_init(r, &g->renew, on_renew) < 0 ||
      map_put(&r->grants, g->id, g) < 0) {
    relay_timer_done(r, &g->renew);
    free(g);
    return NULL;
  }
  LIST_INSERT_HEAD(&a->meeting->grants, g, of_meeting);
  limit_pair(r, g->meeting);
  relay_timer_set(r, &g->renew, r->now + RELAY_LEASE / 2);
  a->agent->n_grants++;
  r->n.n_grants++;
  r->n.n_grants_made++;
  char rule[160];
  snprintf(rule, sizeof(rule), "rule=\"%s\"", g->may.rule ? g->may.rule : "");
  log_grant("made", g, rule);
  relay_audit_begin(r, g);
  return g;
}

void relay_grant_free(struct relay *r, struct grant *g, enum reason why) {
  char text[64];
  snprintf(text, sizeof(text), "reason=%s", reason_name(why));
  log_grant("ended", g, text);
  relay_audit_end(r, g, why);
  relay_timer_done(r, &g->renew);
  map_del(&r->grants, g->id);
  LIST_REMOVE(g, of_meeting);
  limit_pair(r, g->meeting);
  g->meeting->end[0]->n_grants--;
  r->n.n_grants--;
  r->n.ended_grants[why]++;
  free(g);
}

void relay_grant_close(struct relay *r, struct grant *g, enum reason why,
                       const struct party *silent) {
  for (int e = 0; e < 2; e++)
    if (g->meeting->end[e] != silent)
      relay_events_ended(g->meeting->end[e], "grant-closed", "grant", g->id,
                         why);
  relay_grant_free(r, g, why);
}

bool relay_grant_is_open(const struct grant *g) {
  const struct party *connector = g->meeting->end[1];
  const struct offer *o = relay_service_offer(g->service, connector);
  return o && relay_offer_is_open(o) &&
         relay_session_reaches(connector->session);
}

static struct grant *newest(const struct party *agent, const struct service *s,
                            const char *connector, bool open) {
  struct grant *g, *found = NULL;
  struct meeting *m;
  LIST_FOREACH(m, &agent->meetings, of_end[0]) {
    if (connector && strcmp(connector, m->end[1]->spiffe)) continue;
    LIST_FOREACH(g, &m->grants, of_meeting)
    if (g->service == s && (!found || g->given > found->given) &&
        (!open || relay_grant_is_open(g)))
      found = g;
  }
  return found;
}

struct grant *relay_grant_find(const struct party *agent,
                               const struct service *s, const char *connector) {
  struct grant *g = newest(agent, s, connector, true);
  return g ? g : newest(agent, s, connector, false);
}

struct grant *relay_grant_in_use(const struct party *agent,
                                 const struct service *s) {
  return newest(agent, s, NULL, false);
}

/* --- judged again */

static void rejudge(struct relay *r, struct grant *g, enum reason gone) {
  struct party *agent = g->meeting->end[0];
  struct permission may;
  enum reason why = relay_grant_judge(r, agent, g->service, &may);
  if (why != REASON_NONE && why != REASON_REVOKED) why = gone;
  if (relay_party_is_revoked(r, g->meeting->end[1])) why = REASON_REVOKED;
  if (why == REASON_NONE && !relay_grant_has_room(agent, g->meeting, &may))
    why = REASON_REVOKED;
  if (why != REASON_NONE) {
    relay_grant_close(r, g, why, NULL);
    return;
  }
  bool same = permission_equal(&may, &g->may);
  g->may = may; /* the rule's name belongs to the new policy */
  limit_pair(r, g->meeting);
  if (!same) relay_events_grant(g->meeting->end[1], "grant-changed", g);
}

void relay_grant_rejudge(struct relay *r, struct party *agent,
                         enum reason gone) {
  struct meeting *m, *next_m;
  struct grant *g, *next;
  for (m = LIST_FIRST(&agent->meetings); m; m = next_m) {
    next_m = LIST_NEXT(m, of_end[0]);
    for (g = LIST_FIRST(&m->grants); g; g = next) {
      next = LIST_NEXT(g, of_meeting);
      rejudge(r, g, gone);
    }
    relay_meeting_settle(r, m, gone, NULL);
  }
}

/* --- POST /v1/grants */

void relay_grant_respond(struct relay *r, struct h3_req *req, struct grant *g) {
  const struct meeting *m = g->meeting;
  const struct session *c = m->end[1]->session;
  char ticket[RELAY_TICKET_MAX];
  json_t *o = json_object();
  g->given = ++r->n_given;
  /* It may be told the very same again, which then is news. */
  if (m->end[0]->told_to_move) m->end[0]->told = 0;
  json_object_set_new(o, "grant",
                      relay_json_grant(m, g->id, g->service, &g->may));
  json_object_set_new(o, "route", relay_json_id(m->r.id));
  json_object_set_new(o, "connector", json_string(m->end[1]->spiffe));
  json_object_set_new(o, "handles", relay_json_handles(m));
  json_object_set_new(o, "rtt",
                      json_integer(c ? (json_int_t)relay_session_rtt(c) : 0));
  if (c) json_object_set_new(o, "observed", relay_json_addr(&c->remote));
  if (relay_ticket_make(r, m, 0, ticket))
    json_object_set_new(o, "ticket", json_string(ticket));
  relay_json_respond(req, 201, o);
}

struct wish { /* a request's members */
  const char *service, *connector, *resume;
  const char *avoid;     /* a connector that the agent does not reach */
  const json_t *refused; /* those whose certificate it does not take */
  bool renews;           /* wants another route than this one: */
  uint8_t former[RELAY_ID_LEN];
  uint8_t instance[RELAY_ID_LEN];
};

/* NULL, or what is wrong with it. */
static const char *wish_read(struct wish *w, const json_t *body) {
  const json_t *connector = json_object_get(body, "connector");
  const json_t *resume = json_object_get(body, "resume");
  const json_t *renew = json_object_get(body, "renew");
  const char *hex = json_string_value(json_object_get(body, "instance"));
  w->service = json_string_value(json_object_get(body, "service"));
  w->connector = json_string_value(connector);
  w->resume = json_string_value(resume);
  w->avoid = json_string_value(json_object_get(body, "avoid"));
  w->refused = json_object_get(body, "refused");
  if (json_array_size(w->refused) > RELAY_REFUSED) w->refused = NULL;
  if (!w->service) return "service: want a service id";
  if (!hex_parse(w->instance, RELAY_ID_LEN, hex))
    return "instance: want 32 hex digits";
  if (connector && !json_is_null(connector) && !w->connector)
    return "connector: want a SPIFFE ID";
  if (resume && !json_is_null(resume) && !w->resume)
    return "resume: want a ticket";
  w->renews = renew && !json_is_null(renew);
  if (w->renews &&
      !hex_parse(w->former, RELAY_ID_LEN, json_string_value(renew)))
    return "renew: want 32 hex digits";
  return NULL;
}

static void refuse(struct session *s, struct h3_req *req, const char *service,
                   enum reason why, const char *detail) {
  relay_ask_log(s->relay, s->party, service, why, detail);
  h3_problem(req, why, detail);
}

/* The agent's route to the connector it names; NULL: none is to be renewed. */
static struct meeting *former_of(const struct session *s,
                                 const struct wish *w) {
  struct meeting *m =
      w->renews ? relay_meeting_find(s->relay, w->former) : NULL;
  if (!m || m->end[0] != s->party) return NULL;
  if (w->connector && strcmp(w->connector, m->end[1]->spiffe)) return NULL;
  return m;
}

static void renew(struct session *s, struct h3_req *req, struct service *v,
                  const struct permission *may, const struct meeting *former) {
  struct relay *r = s->relay;
  struct ask *a = relay_ask_new(r, s->party, req, v, may);
  if (!a) {
    refuse(s, req, v->id, REASON_INTERNAL, NULL);
    return;
  }
  a->renews = true;
  memcpy(a->former, former->r.id, RELAY_ID_LEN);
  if ((a->connector = strdup(former->end[1]->spiffe)))
    relay_ask_go(r, a);
  else
    relay_ask_refuse(r, a, REASON_INTERNAL, NULL);
}

static bool is_refused(const struct wish *w, const struct party *connector) {
  const json_t *j;
  size_t i;
  json_array_foreach(w->refused, i, j) {
    const char *spiffe = json_string_value(j);
    if (spiffe && !strcmp(spiffe, connector->spiffe)) return true;
  }
  return false;
}

/* An agent that does not take a connector's certificate will not take it a
 * moment later. */
static void pass_over_refused(struct relay *r, struct ask *a,
                              const json_t *refused) {
  const json_t *j;
  size_t i;
  json_array_foreach(refused, i, j) {
    const char *spiffe = json_string_value(j);
    const struct party *c =
        spiffe ? relay_party_find(r, ROLE_CONNECTOR, spiffe) : NULL;
    if (c && relay_service_offer(a->service, c)) relay_ask_pass_over(a, c);
  }
}

static void start(struct session *s, struct h3_req *req, struct service *v,
                  const struct permission *may, const struct wish *w) {
  struct relay *r = s->relay;
  struct ask *a = relay_ask_new(r, s->party, req, v, may);
  if (a) pass_over_refused(r, a, w->refused);
  if (a && w->connector && !(a->connector = strdup(w->connector))) {
    relay_ask_refuse(r, a, REASON_INTERNAL, NULL);
    return;
  }
  const struct party *avoid =
      w->avoid ? relay_party_find(r, ROLE_CONNECTOR, w->avoid) : NULL;
  if (!a)
    refuse(s, req, v->id, REASON_INTERNAL, NULL);
  else if (avoid)
    relay_ask_doubt(r, a, avoid);
  else if (!w->resume || !relay_resume_agent(r, a, w->resume))
    relay_ask_go(r, a);
}

/* After a restart agents may come back before the connectors that make their
 * services known: a ticket lets them wait. */
static struct service *service_of(struct session *s, const struct wish *w) {
  struct relay *r = s->relay;
  struct service *v = relay_service_find(r, w->service);
  if (v && v->known) return v;
  if (w->resume && relay_ticket_is_of(r, s->party, w->resume))
    return relay_service_need(r, w->service);
  return NULL;
}

/* A grant that it has will do: the one it asks for by name, one that takes new
 * flows, or, of a connector that it cannot reach, the only one there is. */
static bool will_do(const struct grant *g, const struct wish *w) {
  const struct party *connector = g->meeting->end[1];
  if (is_refused(w, connector)) return false;
  if (w->avoid) return !relay_service_has_other(g->service, connector);
  return w->connector || relay_grant_is_open(g) ||
         !relay_session_reaches(connector->session);
}

/* The grant that answers at once; NULL: a connector is asked. */
static struct grant *at_hand(const struct session *s, const struct service *v,
                             const struct wish *w,
                             const struct meeting *former) {
  struct meeting *m = former ? relay_meeting_beside(former) : NULL;
  struct grant *g;
  if (former) return m ? relay_meeting_grant(m, v) : NULL;
  g = relay_grant_find(s->party, v, w->avoid ? w->avoid : w->connector);
  return g && will_do(g, w) ? g : NULL;
}

/* A renewal doubles grants until the old route is given back. Those still there
 * are not counted against new ones; all together they have a limit, too. */
static bool has_room(const struct party *agent, bool renews) {
  size_t n = agent->n_grants;
  struct meeting *m;
  struct grant *g;
  if (n >= 2 * RELAY_GRANTS) return false;
  LIST_FOREACH(m, &agent->meetings, of_end[0]) {
    if (relay_meeting_between(agent, m->end[1]) == m) continue;
    LIST_FOREACH(g, &m->grants, of_meeting) n--;
  }
  return renews || n < RELAY_GRANTS;
}

static void judge_service(struct session *s, struct h3_req *req,
                          struct service *v, const struct wish *w) {
  struct relay *r = s->relay;
  struct permission may;
  struct meeting *former = former_of(s, w);
  struct grant *g;
  enum reason why;

  if ((why = relay_grant_judge(r, s->party, v, &may)) != REASON_NONE) {
    bool named = why != REASON_NOT_ALLOWED || certificate_allows(s->party, v);
    refuse(s, req, v->id, why,
           named ? NULL
                 : "the certificate limits this agent to other services");
  } else if ((g = at_hand(s, v, w, former))) {
    relay_grant_respond(r, req, g);
  } else if (!has_room(s->party, former)) {
    refuse(s, req, v->id, REASON_TOO_MANY_ROUTES, "64 grants per agent");
  } else if (!relay_limit_ask(r, s->party)) {
    refuse(s, req, v->id, REASON_RATE_LIMITED, "10 new grants per second");
  } else if (former) {
    renew(s, req, v, &may, former);
  } else {
    start(s, req, v, &may, w);
  }
}

static void judge(struct session *s, struct h3_req *req, const struct wish *w) {
  struct service *v;
  if (!relay_service_id_is_valid(w->service)) {
    refuse(s, req, "?", REASON_NO_SUCH_SERVICE, NULL);
    return;
  }
  v = service_of(s, w);
  if (v)
    judge_service(s, req, v, w);
  else
    refuse(s, req, w->service, REASON_NO_SUCH_SERVICE, NULL);
  v = relay_service_find(s->relay, w->service);
  if (v && !v->known) relay_service_drop(s->relay, v);
}

void relay_grant_post(struct session *s, struct h3_req *req,
                      const uint8_t *id) {
  struct wish w;
  size_t len;
  const char *text = h3_body(req, &len);
  json_t *body = relay_json_parse(text, len);
  const char *wrong =
      body ? wish_read(&w, body) : "want a JSON object, each key once";
  if (wrong) {
    relay_api_refuse(s, req, REASON_MALFORMED, wrong);
  } else {
    relay_party_declare(s, w.instance);
    judge(s, req, &w);
  }
  json_decref(body);
}

/* --- DELETE /v1/grants/{id} */

void relay_grant_delete(struct session *s, struct h3_req *req,
                        const uint8_t *id) {
  struct relay *r = s->relay;
  struct grant *g = map_get(&r->grants, id);
  struct meeting *m = g ? g->meeting : NULL;
  if (!m || (m->end[0] != s->party && m->end[1] != s->party)) {
    relay_api_refuse(s, req, REASON_ROUTE_UNKNOWN, "no such grant");
    return;
  }
  relay_json_respond(req, 204, NULL);
  relay_grant_close(r, g, REASON_IDLE, s->party);
  relay_meeting_settle(r, m, REASON_IDLE, NULL);
}
