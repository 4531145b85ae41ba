/* relay_meeting.c - a route with its two parties: from the first request to the
 * last grant's end. Nothing passes before the connector agreed, and nothing
 * after relay_meeting_end returned. */
#include "role/relay_int.h"

#include <stdlib.h>

enum { MINTS = 4 }; /* handles of 64 random bits hardly ever collide */

struct meeting *relay_meeting_find(struct relay *r, const uint8_t *id) {
  return map_get(&r->meetings, id);
}

struct meeting *relay_meeting_between(const struct party *agent,
                                      const struct party *connector) {
  struct meeting *m;
  LIST_FOREACH(m, &agent->meetings, of_end[0])
  if (m->end[1] == connector) return m;
  return NULL;
}

struct meeting *relay_meeting_beside(const struct meeting *m) {
  struct meeting *o;
  LIST_FOREACH(o, &m->end[0]->meetings, of_end[0])
  if (o != m && o->end[1] == m->end[1]) return o;
  return NULL;
}

struct grant *relay_meeting_grant(const struct meeting *m,
                                  const struct service *s) {
  struct grant *g;
  LIST_FOREACH(g, &m->grants, of_meeting)
  if (g->service == s) return g;
  return NULL;
}

/* --- making */

/* Until it is open its ends have no addresses: the table drops what comes. */
static int enter(struct relay *r, struct meeting *m,
                 const struct revival *from) {
  int rc = ZTNA_EEXIST;
  for (int i = 0; i < (from ? 1 : MINTS) && rc == ZTNA_EEXIST; i++) {
    for (int e = 0; e < 2; e++) {
      if (from)
        memcpy(m->r.end[e].handle, from->handles[e], HANDLE_LEN);
      else
        rng_fill(r->o.rng, m->r.end[e].handle, HANDLE_LEN);
    }
    rc = route_add(r->table, &m->r);
  }
  return rc;
}

struct meeting *relay_meeting_new(struct relay *r, struct party *agent,
                                  struct party *connector,
                                  const struct revival *from,
                                  enum reason *why) {
  struct meeting *m = calloc(1, sizeof(*m));
  *why = REASON_INTERNAL;
  if (!m) return NULL;
  if (from)
    memcpy(m->r.id, from->id, RELAY_ID_LEN);
  else
    rng_fill(r->o.rng, m->r.id, RELAY_ID_LEN);
  m->r.ud = m;
  m->end[0] = agent;
  m->end[1] = connector;
  STAILQ_INIT(&m->asks);
  int rc = map_put(&r->meetings, m->r.id, m);
  if (rc == 0 && (rc = enter(r, m, from)) < 0) map_del(&r->meetings, m->r.id);
  if (rc < 0) {
    if (rc == ZTNA_EFULL) *why = REASON_TOO_MANY_ROUTES;
    free(m);
    return NULL;
  }
  for (int e = 0; e < 2; e++) {
    LIST_INSERT_HEAD(&m->end[e]->meetings, m, of_end[e]);
    m->end[e]->n_meetings++;
  }
  return m;
}

void relay_meeting_open(struct relay *r, struct meeting *m) {
  char id[RELAY_HEX_ID];
  if (m->open) return;
  m->open = true;
  for (int e = 0; e < 2; e++)
    if (m->end[e]->session) relay_party_follow(m->end[e]);
  log_info("relay: route open route=%s agent=%s connector=%s",
           hex_print(m->r.id, RELAY_ID_LEN, id), m->end[0]->spiffe,
           m->end[1]->spiffe);
}

/* --- ending */

static void log_end(struct relay *r, const struct meeting *m, enum reason why) {
  char id[RELAY_HEX_ID];
  r->n.ended_routes[why]++;
  log_info("relay: route closed route=%s agent=%s connector=%s reason=%s "
           "bytes_to_agent=%llu bytes_to_connector=%llu",
           hex_print(m->r.id, RELAY_ID_LEN, id), m->end[0]->spiffe,
           m->end[1]->spiffe, reason_name(why),
           (unsigned long long)m->r.end[0].n_bytes,
           (unsigned long long)m->r.end[1].n_bytes);
}

static void tell_end(const struct meeting *m, enum reason why,
                     const struct party *silent) {
  for (int e = m->open ? 0 : 1; e < 2; e++)
    if (m->end[e] != silent)
      relay_events_ended(m->end[e], "route-closed", "route", m->r.id, why);
}

void relay_meeting_end(struct relay *r, struct meeting *m, enum reason why,
                       const struct party *silent) {
  struct ask_queue asks = STAILQ_HEAD_INITIALIZER(asks);
  struct grant *g;

  route_del(r->table, &m->r);
  map_del(&r->meetings, m->r.id);
  while ((g = LIST_FIRST(&m->grants))) relay_grant_free(r, g, why);
  relay_asks_take(r, m, &asks);
  for (int e = 0; e < 2; e++) {
    LIST_REMOVE(m, of_end[e]);
    m->end[e]->n_meetings--;
  }
  if (m->open) log_end(r, m, why);
  tell_end(m, why, silent);
  free(m);
  relay_asks_go(r, &asks);
}

void relay_meeting_settle(struct relay *r, struct meeting *m, enum reason why,
                          const struct party *silent) {
  if (LIST_EMPTY(&m->grants) && STAILQ_EMPTY(&m->asks))
    relay_meeting_end(r, m, why, silent);
}

/* --- DELETE /v1/routes/{id} */

/* The caller may hold the other end to be revoked, by a list of its own. */
static enum reason said(const struct h3_req *req) {
  const char *query = strchr(h3_path(req), '?');
  return query && !strcmp(query, "?reason=revoked") ? REASON_REVOKED
                                                    : REASON_IDLE;
}

void relay_meeting_delete(struct session *s, struct h3_req *req,
                          const uint8_t *id) {
  struct meeting *m = relay_meeting_find(s->relay, id);
  if (!m || (m->end[0] != s->party && m->end[1] != s->party)) {
    relay_api_refuse(s, req, REASON_ROUTE_UNKNOWN, "no such route");
    return;
  }
  enum reason why = said(req);
  relay_json_respond(req, 204, NULL);
  relay_meeting_end(s->relay, m, why, s->party);
}
