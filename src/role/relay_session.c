/* relay_session.c - one control connection: who may have one, what it hears at
 * which time, and how it ends. */
#include "role/relay_int.h"

#include <stdlib.h>

/* --- life */

static void on_timer(struct relay *r, struct relay_timer *t);

void *relay_session_accept(void *ud, struct quic_conn *c,
                           const struct quic_initial *in) {
  struct relay *r = ud;
  if (r->stopping || r->n.n_sessions >= r->o.max_connections) {
    r->n.refused_handshakes[r->stopping ? REASON_SHUTTING_DOWN
                                        : REASON_TOO_MANY_ROUTES]++;
    if (!r->stopping && relay_may_log(r, &r->handshakes_log))
      log_warn("relay: connection refused: max_connections is reached n=%zu",
               r->o.max_connections);
    return NULL;
  }
  struct session *s = calloc(1, sizeof(*s));
  if (!s) return NULL;
  if (relay_timer_init(r, &s->timer, on_timer) < 0) {
    free(s);
    return NULL;
  }
  s->h3 = h3_new(true, NULL, &relay_session_ops, s);
  if (!s->h3) {
    relay_timer_done(r, &s->timer);
    free(s);
    return NULL;
  }
  h3_attach(s->h3, c);
  s->relay = r;
  s->remote = in->remote;
  s->over_at = s->heartbeat_at = s->probe_at = NEVER;
  LIST_INSERT_HEAD(&r->sessions, s, all);
  r->n.n_sessions++;
  return s->h3;
}

void relay_session_free(struct session *s) {
  struct relay *r = s->relay;
  relay_timer_done(r, &s->timer);
  relay_stun_forget(s);
  LIST_REMOVE(s, all);
  r->n.n_sessions--;
  free(s);
}

void relay_session_close(struct session *s, enum reason why) {
  if (s->closing) return;
  s->closing = true;
  quic_close(h3_conn(s->h3), why, NULL);
}

static bool is_revoked(const struct relay *r, const struct identity *peer) {
  struct policy_serial serial;
  policy_serial_parse(&serial, peer->serial);
  return policy_revokes(r->policy, peer->spiffe, &serial);
}

void relay_session_retire(struct session *s) {
  s->retired = true;
  s->over_at = s->relay->now + RELAY_RETIRED;
  s->heartbeat_at = s->probe_at = NEVER;
  if (s->events) h3_end(s->events);
  s->events = NULL;
  relay_session_arm(s);
}

void relay_session_recheck(struct session *s) {
  if (s->admitted && is_revoked(s->relay, relay_session_peer(s)))
    relay_session_close(s, REASON_REVOKED);
}

const struct identity *relay_session_peer(const struct session *s) {
  return quic_peer(h3_conn(s->h3));
}

uint64_t relay_session_rtt(const struct session *s) {
  struct quic_info i;
  quic_info(h3_conn(s->h3), &i);
  return (i.srtt + MS - 1) / MS;
}

/* --- time */

uint64_t relay_moment(const struct relay *r, int64_t unix_s) {
  int64_t left = unix_s - r->o.unix_at_start;
  if (left <= 0) return r->born_at;
  if (left > INT64_C(100) * 365 * 86400) return NEVER;
  return r->born_at + (uint64_t)left * SEC - r->o.ns_at_start;
}

void relay_session_arm(struct session *s) {
  uint64_t at = time_min(s->over_at, time_min(s->heartbeat_at, s->probe_at));
  at = time_min(at, h3_deadline(s->h3));
  if (s->admitted && !s->asked) at = time_min(at, s->began_at + RELAY_MUTE);
  relay_timer_set(s->relay, &s->timer, s->closing ? NEVER : at);
}

static bool heard_something(struct session *s) {
  struct quic_info i;
  quic_info(h3_conn(s->h3), &i);
  bool heard = i.n_recv != s->n_recv;
  s->n_recv = i.n_recv;
  return heard;
}

static bool is_waited_for(const struct session *s) {
  const struct meeting *m;
  LIST_FOREACH(m, &s->party->meetings, of_end[1])
  if (!STAILQ_EMPTY(&m->asks)) return true;
  return false;
}

/* A probe is a PING; whatever came since the last one answers it. */
static void probe(struct session *s) {
  uint64_t now = s->relay->now;
  bool was_there = s->n_unanswered < 2;
  if (heard_something(s))
    s->n_unanswered = 0;
  else if (s->n_unanswered < UINT8_MAX)
    s->n_unanswered++;
  if (was_there != (s->n_unanswered < 2)) relay_events_services(s->relay);
  quic_ping(h3_conn(s->h3), now);
  bool busy = s->n_unanswered || is_waited_for(s);
  s->probe_at = now + (busy ? RELAY_PROBE_BUSY : RELAY_PROBE);
}

void relay_session_hurry(struct session *s) {
  uint64_t at = s->relay->now + RELAY_PROBE_BUSY;
  if (s->probe_at <= at) return;
  s->probe_at = at;
  quic_ping(h3_conn(s->h3), s->relay->now);
  relay_session_arm(s);
}

void relay_session_ping(struct session *s) {
  quic_ping(h3_conn(s->h3), s->relay->now);
}

uint64_t relay_session_heard(const struct session *s) {
  struct quic_info i;
  quic_info(h3_conn(s->h3), &i);
  return i.n_recv;
}

void relay_session_give_up(struct session *s) {
  if (s->n_unanswered >= 2) return;
  log_info("relay: connector does not answer connector=%s",
           relay_session_peer(s)->spiffe);
  s->n_unanswered = 2;
  s->n_recv = relay_session_heard(s);
  s->probe_at = s->relay->now + RELAY_PROBE_BUSY;
  relay_session_arm(s);
  relay_events_services(s->relay);
}

static void on_timer(struct relay *r, struct relay_timer *t) {
  struct session *s = TIMER_OWNER(t, session, timer);
  if (s->closing) return;
  if (r->now >= s->over_at) {
    relay_session_close(s, REASON_REPLACED);
    return;
  }
  if (!s->asked && r->now >= s->began_at + RELAY_MUTE) {
    relay_session_close(s, REASON_IDLE);
    return;
  }
  if (r->now >= h3_deadline(s->h3)) h3_tick(s->h3, r->now);
  if (r->now >= s->probe_at) probe(s);
  if (r->now >= s->heartbeat_at) {
    s->heartbeat_at = r->now + RELAY_HEARTBEAT;
    relay_event_send(s, relay_event("heartbeat"));
  }
  relay_session_arm(s);
}

/* --- questions */

bool relay_session_reaches(const struct session *s) {
  return s && !s->closing && s->declared && s->events && s->n_unanswered < 2;
}

/* --- from HTTP/3 */

static void log_refusal(struct session *s, enum reason why, const char *who,
                        const char *by, const char *detail) {
  struct relay *r = s->relay;
  char from[ZTNA_ADDR_STRLEN];
  r->n.refused_handshakes[why]++;
  s->refusal_logged = true;
  if (relay_may_log(r, &r->handshakes_log))
    log_warn("relay: handshake refused from=%s identity=%s reason=%s by=%s "
             "detail=%s",
             ztna_addr_print(&s->remote, from), who, reason_name(why), by,
             detail && *detail ? detail : reason_text(why));
}

static enum reason admit(struct session *s, const struct identity *peer) {
  struct relay *r = s->relay;
  const struct identity *own = tls_identity(r->o.tls);

  if (r->stopping) return REASON_SHUTTING_DOWN;
  if (strcmp(peer->trust_domain, own->trust_domain))
    return REASON_IDENTITY_MISMATCH;
  if (peer->role != ROLE_AGENT && peer->role != ROLE_CONNECTOR &&
      peer->role != ROLE_ADMIN)
    return REASON_IDENTITY_MISMATCH;
  if (r->now >= quic_expires_at(h3_conn(s->h3)))
    return REASON_CERTIFICATE_EXPIRED;
  if (is_revoked(r, peer)) return REASON_REVOKED;
  if (!relay_limit_join(r, peer)) return REASON_RATE_LIMITED;
  s->role = peer->role;
  s->began_at = r->now;
  s->remote = quic_remote(h3_conn(s->h3));
  return s->role == ROLE_ADMIN ? REASON_NONE : relay_party_join(s, peer);
}

static int on_ready(struct h3 *h, void *ud, const struct identity *peer) {
  struct session *s = ud;
  struct relay *r = s->relay;
  char from[ZTNA_ADDR_STRLEN];
  enum reason why = admit(s, peer);

  if (why != REASON_NONE) {
    log_refusal(s, why, peer->spiffe, "relay", NULL);
    relay_audit_stranger(s, peer, why);
    return why;
  }
  s->admitted = true;
  relay_limit_sessions(s);
  relay_stun_know(s);
  if (s->role == ROLE_CONNECTOR) {
    s->probe_at = r->now + RELAY_PROBE;
    heard_something(s);
  }
  relay_session_arm(s);
  log_info("relay: connected identity=%s from=%s group=%s", peer->spiffe,
           ztna_addr_print(&s->remote, from), quic_group(h3_conn(h)));
  return 0;
}

static void on_address(struct h3 *h, void *ud, const struct ztna_addr *remote) {
  struct session *s = ud;
  s->remote = *remote;
  if (!s->admitted || s->closing) return;
  relay_stun_know(s);
  if (s->party && s->party->session == s) {
    relay_party_follow(s->party);
    relay_party_moved(s->party);
  }
  json_t *e = relay_event("observed");
  json_object_set_new(e, "address", relay_json_addr(remote));
  relay_event_send(s, e);
}

static void log_end(struct session *s, const struct quic_end *why) {
  struct relay *r = s->relay;
  char from[ZTNA_ADDR_STRLEN];
  const struct identity *peer = relay_session_peer(s);

  r->n.ended_sessions[why->reason]++;
  log_info("relay: disconnected identity=%s from=%s reason=%s by=%s",
           peer->spiffe, ztna_addr_print(&s->remote, from),
           reason_name(why->reason), why->remote ? "peer" : "relay");
}

static void on_end(struct h3 *h, void *ud, const struct quic_end *why) {
  struct session *s = ud;
  s->closing = true;
  if (s->admitted)
    log_end(s, why);
  else if (!s->refusal_logged) {
    log_refusal(s, why->reason, "unknown", why->remote ? "peer" : "relay",
                why->text);
    relay_audit_stranger(s, NULL, why->reason);
  }
  if (s->party) relay_party_leave(s, why);
  relay_session_free(s);
}

static void on_request(struct h3 *h, void *ud, struct h3_req *req) {
  ((struct session *)ud)->asked = true;
  relay_api_request(ud, req);
}

static void on_refused(struct h3 *h, void *ud, enum reason why) {
  struct relay *r = ((struct session *)ud)->relay;
  r->n.refused_requests[why]++;
  if (relay_may_log(r, &r->requests_log))
    log_warn("relay: request refused identity=%s reason=%s detail=not a whole "
             "request",
             relay_session_peer(ud)->spiffe, reason_name(why));
}

static void on_deadline(struct h3 *h, void *ud) { relay_session_arm(ud); }

static void on_gone(struct h3 *h, void *ud, struct h3_req *req) {
  struct session *s = ud;
  struct ask *a = h3_tag(req);
  if (req == s->events) {
    s->events = NULL;
    s->heartbeat_at = NEVER;
    relay_session_arm(s);
  } else if (a) {
    a->req = NULL;
    relay_ask_cancel(s->relay, a);
  }
}

const struct h3_ops relay_session_ops = {
    .on_ready = on_ready,
    .on_end = on_end,
    .on_address = on_address,
    .on_request = on_request,
    .on_refused = on_refused,
    .on_deadline = on_deadline,
    .on_gone = on_gone,
};
