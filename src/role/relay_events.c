/* relay_events.c - lines of /v1/events: numbered, beginning with a snapshot,
 * with a heartbeat, and never more of them waiting than a reader may hold up.
 */
#include "role/relay_int.h"

#include <stdlib.h>

json_t *relay_event(const char *name) {
  return json_pack("{s:i, s:s}", "n", 0, "event", name);
}

/* Who does not read what it asked for loses its connection, not we memory. */
static void write_line(struct session *s, json_t *event) {
  json_object_set_new(event, "n", json_integer((json_int_t)s->n_lines));
  char *line = json_dumps(event, JSON_COMPACT);
  int rc = line ? h3_line(s->events, line, strlen(line)) : ZTNA_ENOMEM;
  free(line);
  if (rc < 0)
    relay_session_close(s, rc == ZTNA_EFULL ? REASON_RATE_LIMITED
                                            : REASON_INTERNAL);
  else
    s->n_lines++;
}

void relay_event_send(struct session *s, json_t *event) {
  if (event && s->events && !s->closing) write_line(s, event);
  json_decref(event);
}

void relay_event_to(struct party *p, json_t *event) {
  if (p->session)
    relay_event_send(p->session, event);
  else
    json_decref(event);
}

/* --- the stream's beginning */

static uint64_t hash_of(const struct relay *r, const json_t *list) {
  char *text = json_dumps(list, JSON_COMPACT);
  uint64_t h = text ? siphash(r->party_keys[0], text, strlen(text)) : 0;
  free(text);
  return h;
}

static bool says_move(const json_t *list) {
  json_t *s;
  size_t i;
  json_array_foreach(list, i, s) if (json_object_get(s, "move")) return true;
  return false;
}

static json_t *snapshot(struct session *s) {
  struct relay *r = s->relay;
  struct party *p = s->party;
  json_t *e = relay_event("snapshot");
  json_object_set_new(e, "observed", relay_json_addr(&s->remote));
  if (s->role != ROLE_AGENT) return e;
  json_t *list = relay_registry_list(r, p);
  p->told = hash_of(r, list);
  p->told_to_move = says_move(list);
  json_object_set_new(e, "services", list);
  json_object_set_new(e, "addresses", relay_json_ips(p->addrs, p->n_addrs));
  return e;
}

void relay_events_begin(struct session *s, struct h3_req *req) {
  if (s->events) h3_end(s->events);
  h3_begin_lines(req);
  s->events = req;
  s->n_lines = 0;
  relay_event_send(s, snapshot(s));
  s->heartbeat_at = s->relay->now + RELAY_HEARTBEAT;
  relay_session_arm(s);
  if (s->role == ROLE_CONNECTOR) relay_resume_settle(s->relay, s->party);
}

/* --- grants and routes */

void relay_events_grant(struct party *p, const char *name,
                        const struct grant *g) {
  json_t *e = relay_event(name);
  json_object_set_new(e, "grant",
                      relay_json_grant(g->meeting, g->id, g->service, &g->may));
  relay_event_to(p, e);
}

void relay_events_ended(struct party *p, const char *name, const char *member,
                        const uint8_t *id, enum reason why) {
  json_t *e = relay_event(name);
  json_object_set_new(e, member, relay_json_id(id));
  json_object_set_new(e, "reason", json_string(reason_name(why)));
  relay_event_to(p, e);
}

/* --- services */

void relay_events_services(struct relay *r) {
  uint64_t at = r->now + RELAY_COALESCE;
  if (!r->told.node.pos && !r->stopping)
    relay_timer_set(r, &r->told, at > r->told_again_at ? at : r->told_again_at);
}

static void tell_services(struct relay *r, struct party *agent) {
  json_t *list = relay_registry_list(r, agent);
  uint64_t h = hash_of(r, list);
  if (h == agent->told) {
    json_decref(list);
    return;
  }
  agent->told = h;
  agent->told_to_move = says_move(list);
  json_t *e = relay_event("services-changed");
  json_object_set_new(e, "services", list);
  relay_event_to(agent, e);
}

void relay_on_told(struct relay *r, struct relay_timer *t) {
  struct party *p;
  size_t n = 0;
  LIST_FOREACH(p, &r->parties_list, all)
  if (p->role == ROLE_AGENT && p->session && p->session->events) {
    tell_services(r, p);
    n++;
  }
  r->told_again_at = relay_limit_told(r, n);
}
