/* agent_use.c - what the use of a service is waiting for: packets held, grants
 * asked for at one relay after the other, and their answers. Used means that a
 * packet for it was seen: until then nothing is asked for. */
#include "role/agent_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "role/agent_flow.h"
#include "role/grant_json.h"

#define RETRY_FIRST (500 * MS)
#define RETRY_MAX (30 * SEC)
#define USED_FOR (60 * SEC) /* worth restoring after a loss */

void agent_service_hold(struct ztna_agent *a, struct service *s,
                        const uint8_t *ip, size_t len) {
  struct pkt *k;

  while (s->held.n && s->held.bytes + len > HELD_MAX)
    pool_put(&a->pool, pktq_pop(&s->held));
  k = pool_get(&a->pool);
  if (!k) {
    agent_drop(a, REASON_RATE_LIMITED);
    return;
  }
  memcpy(pkt_data(k), ip, len);
  k->len = (uint16_t)len;
  pktq_push(&s->held, k);
  a->counters.n_held++;
}

void agent_service_flush(struct service *s, struct link *l) {
  struct ztna_agent *a = l->owner;
  struct pkt *k;

  a->sweep_at = time_min(a->sweep_at, a->now + 100 * MS);
  while ((k = pktq_pop(&s->held)))
    path_send_packet(l->path, s->context, k, a->now);
}

/* The person's program hears at once, and reads why in log and status. */
void agent_service_refuse(struct ztna_agent *a, struct service *s,
                          enum reason why) {
  unsigned n = s->n_refused < 6 ? s->n_refused : 6;
  uint64_t wait = RETRY_FIRST << n;
  struct pkt *k;

  s->use = USE_REFUSED;
  s->why = why;
  if (why == REASON_NO_CONNECTOR || why == REASON_CONNECTOR_REFUSED)
    strcpy(s->state, "no-connector"); /* until the relay says otherwise */
  if (why == REASON_BACKEND_DOWN || why == REASON_DRAINING)
    strcpy(s->state, reason_name(why));
  s->n_refused++;
  s->retry_at = a->now + (wait < RETRY_MAX ? wait : RETRY_MAX);
  s->link = NULL;
  s->grant[0] = 0;
  log_warn("agent: service refused service=%s reason=%s: %s; can be fixed by: "
           "%s",
           s->id, reason_name(why), reason_text(why), reason_fix(why));
  while ((k = pktq_pop(&s->held))) {
    agent_drop(a, why);
    agent_packet_error(a, agent_packet_error_of(why), 0, pkt_data(k), k->len);
    pool_put(&a->pool, k);
  }
  agent_flows_refused(a, s, why);
}

static void on_granted(void *ud, int status, json_t *body);

struct asking {
  struct ztna_agent *a;
  size_t relay;
  struct service *s;
  bool doubt;      /* only for something better than what there is */
  bool again;      /* only for what relays say of it now */
  uint32_t tried;  /* relays, a bit each */
  enum reason why; /* the first of them refused */
};

static void ask_at(const struct asking *from) {
  struct ztna_agent *a = from->a;
  struct service *s = from->s;
  struct asking *q = malloc(sizeof(*q));
  json_t *body;

  if (!q) return;
  *q = *from;
  q->tried |= 1U << q->relay;
  body = json_pack("{s:s, s:s, s:o*}", "service", s->id, "instance",
                   a->instance, "refused", agent_peers_out(a));
  if (q->doubt && s->link) {
    json_object_set_new(body, "avoid", json_string(s->link->connector));
  } else if (s->link) {
    const char *ticket = agent_route_ticket(s->link, q->relay);

    if (ticket) json_object_set_new(body, "resume", json_string(ticket));
    if (ticket || ways_work(&s->link->ways))
      json_object_set_new(body, "connector", json_string(s->link->connector));
  }
  s->asked = uplink_request(a->uplinks[q->relay], "POST", "/v1/grants", body,
                            on_granted, q);
  if (!s->asked) free(q);
  json_decref(body);
}

static void ask_for(struct ztna_agent *a, struct service *s, bool doubt) {
  struct asking q = {.a = a, .relay = a->current, .s = s, .doubt = doubt};

  if (!s->asked && a->up && uplink_is_up(agent_relay(a))) ask_at(&q);
}

/* Its connectors may be connected to another relay. False: to none that was not
 * asked yet. */
static bool ask_another(struct asking *q, enum reason why) {
  struct ztna_agent *a = q->a;

  if (why != REASON_NO_CONNECTOR && why != REASON_NO_SUCH_SERVICE &&
      why != REASON_CONNECTOR_REFUSED && why != REASON_BACKEND_DOWN &&
      why != REASON_DRAINING)
    return false;
  for (q->relay = 0; q->relay < a->n_uplinks; q->relay++) {
    if (q->tried & 1U << q->relay || !uplink_is_up(a->uplinks[q->relay]))
      continue;
    ask_at(q);
    return q->s->asked;
  }
  return false;
}

static void ask(struct ztna_agent *a, struct service *s) {
  ask_for(a, s, false);
}

void agent_service_ask(struct ztna_agent *a, struct service *s) { ask(a, s); }

void agent_service_doubt(struct ztna_agent *a, struct service *s) {
  if (s->use == USE_OPENING || s->use == USE_OPEN) ask_for(a, s, true);
}

void agent_service_want(struct ztna_agent *a, struct service *s) {
  if (s->use == USE_OPENING || s->use == USE_OPEN) return;
  s->use = USE_ASKING;
  ask(a, s);
}

/* agent_route_take has judged the route. */
static void set_grant(struct service *s, const struct grant_json *g,
                      json_t *body) {
  memcpy(s->grant, g->id, sizeof(s->grant));
  snprintf(s->route, sizeof(s->route), "%s",
           json_string_value(json_object_get(body, "route")));
}

void agent_service_ask_again(struct ztna_agent *a, struct service *s) {
  struct asking q = {.a = a, .relay = a->current, .s = s, .again = true};

  if (!s->asked && uplink_is_up(agent_relay(a))) ask_at(&q);
}

/* --- answers --- */

static bool is_policy(enum reason why) {
  return why == REASON_NOT_ALLOWED || why == REASON_REVOKED ||
         why == REASON_EXPIRED || why == REASON_IDENTITY_MISMATCH;
}

/* A relay that cannot help does not end what works without it. */
bool agent_service_goes_on(const struct service *s, enum reason why) {
  return s->use == USE_OPEN && s->link && ways_work(&s->link->ways) &&
         !is_policy(why);
}

static void take_grant(struct ztna_agent *a, size_t relay, struct service *s,
                       json_t *body) {
  enum reason why = agent_peer_judge(a, relay, body);
  struct grant_json g;
  struct link *l;

  if (why) {
    agent_service_refuse(a, s, why);
    return;
  }
  if (grant_json_read(&g, json_object_get(body, "grant")) < 0 ||
      strcmp(g.service, s->id) || !(l = agent_link_take(a, relay, body))) {
    agent_service_refuse(a, s, REASON_MALFORMED);
    return;
  }
  a->counters.n_grants++;
  s->may = g.may;
  snprintf(s->rule, sizeof(s->rule), "%s", g.rule ? g.rule : "");
  /* A resumed grant of a context that is still open changes nothing here. */
  if (s->use == USE_OPEN && s->link == l && l->ways.chosen &&
      way_is_there(l->ways.chosen)) {
    bool same = !strcmp(s->grant, g.id);

    set_grant(s, &g, body);
    if (!same) agent_link_rebind(l, s);
    return;
  }
  if (s->link != l) agent_service_leave(s, false);
  set_grant(s, &g, body);
  if (agent_service_come_back(s, g.id)) {
    s->use = USE_OPEN;
    agent_service_flush(s, l);
    agent_flows_moved(s);
    agent_flows_go(a, s);
    return;
  }
  s->link = l;
  s->epoch = ++a->epoch;
  agent_flows_moved(s);
  agent_link_open(l, s);
}

/* That no connector is left, since one is not let in, is the lesser news. */
static enum reason obstacle(const struct asking *q) {
  bool none_left =
      q->why == REASON_NO_CONNECTOR || q->why == REASON_CONNECTOR_REFUSED;

  return none_left && q->s->peer_why ? q->s->peer_why : q->why;
}

static void on_granted(void *ud, int status, json_t *body) {
  struct asking q = *(struct asking *)ud;
  bool open = q.s->use == USE_OPEN || q.s->use == USE_OPENING;
  enum reason why;

  free(ud);
  q.a->now = quic_now(q.a->quic);
  q.s->asked = false;
  if (!status) return; /* asked again when a relay is up */
  if (status == 201 || status == 200) {
    if (agent_route_is_gone(q.a, body))
      agent_service_lost(q.a, q.s);
    else
      take_grant(q.a, q.relay, q.s, body);
    return;
  }
  why = uplink_problem(status, body);
  if (!q.why) q.why = why;
  if (ask_another(&q, why)) return;
  if ((q.doubt || q.again) && open) return; /* there is nothing better */
  if (agent_service_goes_on(q.s, why)) return;
  if (q.s->use == USE_ASKING || open)
    agent_service_refuse(q.a, q.s, is_policy(why) ? why : obstacle(&q));
}

/* Its path or route is gone: ask again at once if it was in use. */
void agent_service_lost(struct ztna_agent *a, struct service *s) {
  s->link = NULL;
  s->grant[0] = 0;
  s->use = USE_NONE;
  if (s->held.n || s->tcp || (s->used_at && a->now - s->used_at < USED_FOR))
    agent_service_want(a, s);
}

/* A relay is up (again): what is in use is asked for once more. */
void agent_services_resume(struct ztna_agent *a) {
  for (size_t i = 0; i < a->n_services; i++) {
    struct service *s = a->services[i];

    if (s->use == USE_NONE || s->use == USE_REFUSED) continue;
    ask(a, s);
  }
  agent_flows_retry(a);
}
