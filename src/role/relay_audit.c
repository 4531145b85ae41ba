/* relay_audit.c - what the relay records: grants when they begin and end, and
 * who was refused one or a control connection because of who it is. */
#include "role/relay_int.h"

#define REFUSALS_EVERY (10 * SEC)
enum { REFUSALS = 10, STRANGERS = 100 }; /* of one agent, of all handshakes */

struct audit_queue *relay_audit(struct relay *r) {
  return &r->audit;
}

static struct audit_record of_grant(const struct relay *r,
                                    const struct grant *g,
                                    enum audit_event event,
                                    char id[RELAY_HEX_ID]) {
  return (struct audit_record){
      .event = event,
      .at = r->now,
      .agent = g->meeting->end[0]->spiffe,
      .serial = g->serial,
      .connector = g->meeting->end[1]->spiffe,
      .service = g->service->id,
      .rule = g->may.rule,
      .id = hex_print(g->id, RELAY_ID_LEN, id),
  };
}

void relay_audit_begin(struct relay *r, struct grant *g) {
  const struct session *s = g->meeting->end[0]->session;
  char id[RELAY_HEX_ID];

  if (!audit_is_on(&r->audit)) return;
  g->began_at = r->now;
  for (int e = 0; e < 2; e++) g->n_bytes[e] = g->meeting->r.end[e].n_bytes;
  if (s && relay_session_peer(s))
    memcpy(g->serial, relay_session_peer(s)->serial, sizeof(g->serial));
  struct audit_record a = of_grant(r, g, AUDIT_GRANT_BEGIN, id);
  if (s) a.from = s->remote;
  audit_put(&r->audit, &a);
}

/* Of the grants of one route each tells the bytes of all: the relay cannot see
 * which of them a packet belongs to. */
void relay_audit_end(struct relay *r, const struct grant *g, enum reason why) {
  const struct route_end *end = g->meeting->r.end;
  char id[RELAY_HEX_ID];

  if (!audit_is_on(&r->audit)) return;
  struct audit_record a = of_grant(r, g, AUDIT_GRANT_END, id);
  a.began_at = g->began_at;
  a.has_bytes = true;
  a.bytes_in = end[1].n_bytes - g->n_bytes[1];
  a.bytes_out = end[0].n_bytes - g->n_bytes[0];
  a.path = AUDIT_PATH_RELAY;
  a.reason = why;
  audit_put(&r->audit, &a);
}

void relay_audit_refused(struct relay *r, struct party *agent,
                         const char *service, enum reason why) {
  const struct session *s = agent->session;
  uint32_t hidden = 0;

  if (!audit_is_on(&r->audit) || !log_allow(&agent->audit_limit, r->now,
                                            REFUSALS, REFUSALS_EVERY, &hidden))
    return;
  struct audit_record a = {.event = AUDIT_GRANT_REFUSED,
                           .at = r->now,
                           .agent = agent->spiffe,
                           .service = service,
                           .reason = why,
                           .n_hidden = hidden};
  if (s) a.from = s->remote;
  if (s && relay_session_peer(s)) a.serial = relay_session_peer(s)->serial;
  audit_put(&r->audit, &a);
}

static bool is_about_identity(enum reason why) {
  return why == REASON_BAD_CERTIFICATE || why == REASON_CERTIFICATE_EXPIRED ||
         why == REASON_IDENTITY_MISMATCH || why == REASON_REVOKED ||
         why == REASON_NOT_ALLOWED;
}

/* peer NULL: it did not prove who it is. */
void relay_audit_stranger(struct session *s, const struct identity *peer,
                          enum reason why) {
  struct relay *r = s->relay;
  uint32_t hidden = 0;

  if (!audit_is_on(&r->audit) || !is_about_identity(why) ||
      !log_allow(&r->strangers, r->now, STRANGERS, REFUSALS_EVERY, &hidden))
    return;
  struct audit_record a = {.event = AUDIT_CONTROL_REFUSED,
                           .at = r->now,
                           .from = s->remote,
                           .reason = why,
                           .n_hidden = hidden};
  if (peer) {
    a.agent = peer->spiffe;
    a.serial = peer->serial;
  }
  audit_put(&r->audit, &a);
}
