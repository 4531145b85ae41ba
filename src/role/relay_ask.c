/* relay_ask.c - a grant is made when a connector agrees: which one is asked,
 * how long it may take, and what counts as its answer.
 *
 * A route's answer names only the route, so one ask per route is on its way at
 * a time and the others queue behind it. */
#include "role/relay_int.h"

#include <stdlib.h>

static void on_timer(struct relay *r, struct relay_timer *t);
static void turn(struct relay *r, struct meeting *m);

/* --- life */

struct ask *relay_ask_new(struct relay *r, struct party *agent,
                          struct h3_req *req, struct service *s,
                          const struct permission *may) {
  struct ask *a = calloc(1, sizeof(*a));
  if (!a) return NULL;
  if (relay_timer_init(r, &a->timer, on_timer) < 0) {
    free(a);
    return NULL;
  }
  a->agent = agent;
  a->req = req;
  a->service = s;
  a->may = *may;
  h3_set_tag(req, a);
  LIST_INSERT_HEAD(&agent->asks, a, of_agent);
  agent->n_grants++;
  s->n_asks++;
  r->n.n_asks++;
  return a;
}

static void ask_free(struct relay *r, struct ask *a) {
  if (a->req) h3_set_tag(a->req, NULL);
  relay_revival_forget(a);
  relay_timer_done(r, &a->timer);
  LIST_REMOVE(a, of_agent);
  a->agent->n_grants--;
  a->service->n_asks--;
  if (!a->service->known) relay_service_drop(r, a->service);
  free(a->connector);
  free(a);
}

/* --- out of a meeting */

/* The connector was asked and may have agreed: it is not wanted any more. That
 * takes no permission back: flows of other grants go on. */
static void unask(struct relay *r, struct ask *a) {
  struct party *connector = a->meeting->end[1];
  if (!a->asked) return;
  if (connector->session == a->asked)
    relay_events_ended(connector, "grant-closed", "grant", a->grant_id,
                       REASON_IDLE);
  a->asked = NULL;
}

static void leave(struct relay *r, struct ask *a) {
  struct meeting *m = a->meeting;
  if (!m) return;
  unask(r, a);
  STAILQ_REMOVE(&m->asks, a, ask, of_meeting);
  a->meeting = NULL;
  relay_timer_set(r, &a->timer, NEVER);
  if (STAILQ_EMPTY(&m->asks))
    relay_meeting_settle(r, m, REASON_EXPIRED, NULL);
  else
    turn(r, m);
}

static void mark_tried(struct ask *a, const struct party *connector) {
  if (a->n_tried < RELAY_TRIES)
    memcpy(a->tried[a->n_tried++], connector->key, RELAY_ID_LEN);
}

/* Beside those that were asked: they take nobody's turn. */
void relay_ask_pass_over(struct ask *a, const struct party *connector) {
  if (a->n_refused < RELAY_REFUSED)
    memcpy(a->refused[a->n_refused++], connector->key, RELAY_ID_LEN);
}

void relay_asks_take(struct relay *r, struct meeting *m, struct ask_queue *to) {
  struct ask *a;
  STAILQ_FOREACH(a, &m->asks, of_meeting) {
    if (a->asked) mark_tried(a, m->end[1]);
    unask(r, a);
    a->meeting = NULL;
    relay_timer_set(r, &a->timer, NEVER);
  }
  STAILQ_CONCAT(to, &m->asks);
}

void relay_asks_go(struct relay *r, struct ask_queue *asks) {
  struct ask *a;
  while ((a = STAILQ_FIRST(asks))) {
    STAILQ_REMOVE_HEAD(asks, of_meeting);
    relay_ask_go(r, a);
  }
}

void relay_asks_move(struct relay *r, struct meeting *m) {
  struct ask_queue asks = STAILQ_HEAD_INITIALIZER(asks);
  struct ask *a;
  STAILQ_FOREACH(a, &m->asks, of_meeting)
  if (!a->asked) mark_tried(a, m->end[1]); /* those behind it, too */
  relay_asks_take(r, m, &asks);
  relay_meeting_settle(r, m, REASON_CONNECTOR_REFUSED, NULL);
  relay_asks_go(r, &asks);
}

/* --- the end */

void relay_ask_log(struct relay *r, struct party *agent, const char *service,
                   enum reason why, const char *detail) {
  r->n.refused_grants[why]++;
  relay_audit_refused(r, agent, service, why);
  if (relay_may_log(r, &r->grants_log))
    log_warn("relay: grant refused agent=%s service=%s reason=%s detail=%s",
             agent->spiffe, service, reason_name(why),
             detail ? detail : reason_text(why));
}

void relay_ask_refuse(struct relay *r, struct ask *a, enum reason why,
                      const char *detail) {
  relay_ask_log(r, a->agent, a->service->id, why, detail);
  /* It waits for a connector now: the next list is sent whatever it says. */
  if (why == REASON_NO_CONNECTOR || why == REASON_CONNECTOR_REFUSED)
    a->agent->told = 0;
  leave(r, a);
  if (a->req) h3_problem(a->req, why, detail);
  ask_free(r, a);
}

void relay_ask_cancel(struct relay *r, struct ask *a) {
  leave(r, a);
  ask_free(r, a);
}

static void succeed(struct relay *r, struct ask *a, struct grant *g) {
  if (a->req) relay_grant_respond(r, a->req, g);
  ask_free(r, a);
}

/* --- choosing */

static bool was_tried(const struct ask *a, const struct party *connector) {
  for (unsigned i = 0; i < a->n_tried; i++)
    if (!memcmp(a->tried[i], connector->key, RELAY_ID_LEN)) return true;
  for (unsigned i = 0; i < a->n_refused; i++)
    if (!memcmp(a->refused[i], connector->key, RELAY_ID_LEN)) return true;
  return false;
}

/* It could be asked, if it takes new flows. */
static bool is_candidate(const struct ask *a, const struct offer *o) {
  const struct party *c = o->connector;
  return relay_session_reaches(c->session) && !was_tried(a, c) &&
         (!a->connector || !strcmp(a->connector, c->spiffe));
}

/* Turns by weight, smoothly: everybody earns its weight, the richest is chosen
 * and pays what all have earned. Of equals the one with fewer routes. */
static struct offer *choose_by_weight(const struct ask *a) {
  struct offer *o, *best = NULL;
  int32_t sum = 0;
  LIST_FOREACH(o, &a->service->offers, of_service) {
    if (!is_candidate(a, o) || !relay_offer_is_open(o)) continue;
    o->credit += o->weight;
    sum += o->weight;
    if (!best || o->credit > best->credit ||
        (o->credit == best->credit &&
         o->connector->n_meetings < best->connector->n_meetings))
      best = o;
  }
  if (best) best->credit -= sum;
  return best;
}

/* Only what is healthy; there the one that the agent has a route to. */
static struct party *choose(const struct ask *a) {
  const struct offer *o;
  LIST_FOREACH(o, &a->service->offers, of_service)
  if (is_candidate(a, o) && relay_offer_is_open(o) &&
      relay_meeting_between(a->agent, o->connector))
    return o->connector;
  o = choose_by_weight(a);
  return o ? o->connector : NULL;
}

/* Nobody is left to be asked. */
static enum reason obstacle(const struct ask *a) {
  enum reason why = a->n_tried || a->n_refused ? REASON_CONNECTOR_REFUSED
                                               : REASON_NO_CONNECTOR;
  const struct offer *o;
  if (!a->service->known) return REASON_NO_SUCH_SERVICE;
  if (a->declined == REASON_BACKEND_DOWN || a->declined == REASON_DRAINING)
    return a->declined;
  LIST_FOREACH(o, &a->service->offers, of_service) {
    if (!is_candidate(a, o)) continue;
    if (!o->up) return REASON_BACKEND_DOWN;
    if (o->connector->draining) why = REASON_DRAINING;
  }
  return why;
}

/* --- asking */

static json_t *route_request(struct relay *r, struct ask *a) {
  struct meeting *m = a->meeting;
  struct party *agent = a->agent;
  char ticket[RELAY_TICKET_MAX];
  json_t *e = relay_event("route-request");
  json_object_set_new(e, "route", relay_json_id(m->r.id));
  json_object_set_new(e, "agent", json_string(agent->spiffe));
  if (agent->has_instance)
    json_object_set_new(e, "instance", relay_json_id(agent->instance));
  json_object_set_new(e, "observed", relay_json_addr(&agent->session->remote));
  json_object_set_new(e, "handles", relay_json_handles(m));
  json_object_set_new(e, "addresses",
                      relay_json_ips(agent->addrs, agent->n_addrs));
  json_object_set_new(
      e, "rtt", json_integer((json_int_t)relay_session_rtt(agent->session)));
  if (relay_ticket_make(r, m, 1, ticket))
    json_object_set_new(e, "ticket", json_string(ticket));
  json_object_set_new(e, "grant",
                      relay_json_grant(m, a->grant_id, a->service, &a->may));
  return e;
}

static void send(struct relay *r, struct ask *a) {
  struct session *s = a->meeting->end[1]->session;
  rng_fill(r->o.rng, a->grant_id, RELAY_ID_LEN);
  a->asked = s;
  a->changed = false;
  a->answer_by = r->now + RELAY_ANSWER;
  relay_timer_set(r, &a->timer, a->answer_by);
  relay_event_send(s, route_request(r, a));
  relay_session_hurry(s);
}

/* One that renews a route has its grant there, and wants another here. */
static struct grant *made_for_others(const struct ask *a,
                                     const struct meeting *m) {
  if (a->renews) return relay_meeting_grant(m, a->service);
  return relay_grant_find(a->agent, a->service, m->end[1]->spiffe);
}

/* The first of the queue, unless another one's grant is what it wants. */
static void turn(struct relay *r, struct meeting *m) {
  struct ask *a;
  while ((a = STAILQ_FIRST(&m->asks)) && !a->asked) {
    struct grant *g = made_for_others(a, m);
    if (!g) {
      send(r, a);
      return;
    }
    STAILQ_REMOVE_HEAD(&m->asks, of_meeting);
    a->meeting = NULL;
    succeed(r, a, g);
  }
}

void relay_ask_join(struct relay *r, struct ask *a, struct meeting *m) {
  a->meeting = m;
  STAILQ_INSERT_TAIL(&m->asks, a, of_meeting);
  if (STAILQ_FIRST(&m->asks) == a) turn(r, m);
}

/* The route that it renews, as long as that is there. */
static struct meeting *former_of(struct relay *r, const struct ask *a) {
  struct meeting *m = a->renews ? relay_meeting_find(r, a->former) : NULL;
  return m && m->end[0] == a->agent ? m : NULL;
}

/* The same two on another route: nothing new begins, so health and draining are
 * not asked for. */
static void renew(struct relay *r, struct ask *a,
                  const struct meeting *former) {
  struct party *c = former->end[1];
  struct meeting *m = relay_meeting_beside(former);
  enum reason why = REASON_NO_CONNECTOR;
  if (was_tried(a, c)) {
    relay_ask_refuse(r, a, REASON_CONNECTOR_REFUSED, NULL);
    return;
  }
  if (!a->agent->session || !relay_session_reaches(c->session) ||
      !relay_service_offer(a->service, c))
    m = NULL;
  else if (!m)
    m = relay_meeting_new(r, a->agent, c, NULL, &why);
  if (m)
    relay_ask_join(r, a, m);
  else
    relay_ask_refuse(r, a, why, NULL);
}

void relay_ask_go(struct relay *r, struct ask *a) {
  enum reason why = REASON_NONE;
  const struct meeting *former = former_of(r, a);
  if (former) {
    renew(r, a, former);
    return;
  }
  struct grant *g = relay_grant_find(a->agent, a->service, a->connector);
  if (g && !was_tried(a, g->meeting->end[1]) && relay_grant_is_open(g)) {
    succeed(r, a, g);
    return;
  }
  struct party *c = a->n_tried < RELAY_TRIES ? choose(a) : NULL;
  if (!c || !a->agent->session) {
    relay_ask_refuse(r, a, obstacle(a), NULL);
    return;
  }
  struct meeting *m = relay_meeting_between(a->agent, c);
  if (!relay_grant_has_room(a->agent, m, &a->may)) {
    relay_ask_refuse(r, a, REASON_TOO_MANY_ROUTES,
                     "the rule gives an agent no more routes than it has");
    return;
  }
  if (!m) m = relay_meeting_new(r, a->agent, c, NULL, &why);
  if (m)
    relay_ask_join(r, a, m);
  else
    relay_ask_refuse(r, a, why, NULL);
}

/* --- in doubt */

/* Two round trips at least: a far connector is not a dead one. */
static void doubt_again(struct relay *r, struct ask *a, struct session *s) {
  uint64_t wait = 2 * MS * relay_session_rtt(s);
  relay_session_ping(s);
  a->n_doubts++;
  relay_timer_set(r, &a->timer,
                  r->now + (wait > RELAY_DOUBT ? wait : RELAY_DOUBT));
}

static void doubt_end(struct relay *r, struct ask *a) {
  a->n_doubts = 0;
  relay_timer_set(r, &a->timer, NEVER);
  relay_ask_go(r, a);
}

void relay_ask_doubt(struct relay *r, struct ask *a, const struct party *c) {
  memcpy(a->avoid, c->key, RELAY_ID_LEN);
  if (!relay_session_reaches(c->session)) {
    relay_ask_go(r, a);
    return;
  }
  a->doubt_recv = relay_session_heard(c->session);
  doubt_again(r, a, c->session);
}

static void doubt_judge(struct relay *r, struct ask *a) {
  const struct party *c = map_get(&r->parties, a->avoid);
  struct session *s = c ? c->session : NULL;
  struct grant *g;
  if (!relay_session_reaches(s)) {
    doubt_end(r, a);
  } else if (relay_session_heard(s) != a->doubt_recv) {
    g = relay_grant_find(a->agent, a->service, c->spiffe);
    if (g)
      succeed(r, a, g);
    else
      doubt_end(r, a);
  } else if (a->n_doubts < RELAY_DOUBTS) {
    doubt_again(r, a, s);
  } else {
    relay_session_give_up(s);
    doubt_end(r, a);
  }
}

/* No answer in time, or no ticket. */
static void on_timer(struct relay *r, struct relay_timer *t) {
  struct ask *a = TIMER_OWNER(t, ask, timer);
  if (a->n_doubts) {
    doubt_judge(r, a);
    return;
  }
  if (!a->meeting) {
    relay_revival_forget(a);
    relay_ask_go(r, a);
    return;
  }
  log_info("relay: no answer connector=%s agent=%s service=%s",
           a->meeting->end[1]->spiffe, a->agent->spiffe, a->service->id);
  relay_asks_move(r, a->meeting);
}

/* --- POST /v1/routes/{id}/answer */

static void agreed(struct relay *r, struct ask *a) {
  struct meeting *m = a->meeting;
  struct grant *g = relay_grant_new(r, a);
  if (!g) {
    relay_ask_refuse(r, a, REASON_TOO_MANY_ROUTES, NULL);
    return;
  }
  if (former_of(r, a) && !m->open) r->n.n_routes_renewed++;
  relay_meeting_open(r, m);
  if (a->changed) relay_events_grant(m->end[1], "grant-changed", g);
  STAILQ_REMOVE_HEAD(&m->asks, of_meeting);
  a->meeting = NULL;
  succeed(r, a, g);
  turn(r, m);
}

static void declined(struct relay *r, struct ask *a, const char *reason) {
  struct meeting *m = a->meeting;
  log_info("relay: connector declined connector=%s agent=%s service=%s "
           "reason=%s",
           m->end[1]->spiffe, a->agent->spiffe, a->service->id,
           reason_name(reason_find(reason)));
  mark_tried(a, m->end[1]);
  a->declined = reason_find(reason);
  a->asked = NULL; /* it knows */
  leave(r, a);
  relay_ask_go(r, a);
}

void relay_asks_inherit(struct party *connector, const struct session *former,
                        struct session *heir) {
  struct meeting *m;
  struct ask *a;
  LIST_FOREACH(m, &connector->meetings, of_end[1])
  STAILQ_FOREACH(a, &m->asks, of_meeting)
  if (a->asked == former) a->asked = heir;
}

/* The one that the connection was asked for, or the one after it. */
static bool is_asked(const struct session *s, const struct ask *a) {
  return a->asked &&
         (a->asked == s || (s->retired && a->asked == s->party->session));
}

/* The ask that this session may answer now; NULL: none. */
static struct ask *ask_of(const struct session *s, const struct meeting *m) {
  if (!m || m->end[1] != s->party) return NULL;
  struct ask *a = STAILQ_FIRST(&m->asks);
  return a && is_asked(s, a) && s->relay->now < a->answer_by ? a : NULL;
}

static void judge(struct session *s, struct h3_req *req, struct ask *a,
                  const json_t *body) {
  const char *no = json_string_value(json_object_get(body, "refuse"));
  bool ok = json_is_true(json_object_get(body, "ok"));
  if (ok == (no != NULL)) {
    relay_api_refuse(s, req, REASON_MALFORMED, "want ok: true or refuse");
    return;
  }
  relay_json_respond(req, 204, NULL);
  if (ok)
    agreed(s->relay, a);
  else
    declined(s->relay, a, no);
}

void relay_ask_answer(struct session *s, struct h3_req *req,
                      const uint8_t *id) {
  struct ask *a = ask_of(s, relay_meeting_find(s->relay, id));
  size_t len;
  const char *text = h3_body(req, &len);
  json_t *body;

  if (!a) {
    s->relay->n.n_answers_late++;
    if (relay_limit_request(s, len))
      relay_api_refuse(s, req, REASON_ROUTE_UNKNOWN, "no answer is waited for");
    else
      relay_api_refuse(s, req, REASON_RATE_LIMITED, "50 requests per second");
    return;
  }
  body = relay_json_parse(text, len);
  judge(s, req, a, body);
  json_decref(body);
}

/* --- a new policy */

/* One that may not be any more, and why. */
static struct ask *find_denied(struct relay *r, struct party *agent,
                               enum reason *why) {
  struct permission may;
  struct ask *a;
  LIST_FOREACH(a, &agent->asks, of_agent) {
    *why = relay_grant_judge(r, agent, a->service, &may);
    if (*why != REASON_NONE) return a;
    if (a->asked && !permission_equal(&may, &a->may)) a->changed = true;
    a->may = may;
  }
  return NULL;
}

void relay_ask_rejudge(struct relay *r, struct party *agent) {
  enum reason why;
  struct ask *a;
  /* From the start each time: refusing one may answer others. */
  while ((a = find_denied(r, agent, &why))) relay_ask_refuse(r, a, why, NULL);
}
