/* quic_expiry.c - connections end with the certificates of their ends. A timer
 * from the handshake on says when; once a minute the wall clock is asked, too,
 * which may have been set since, or gone on while the machine slept. */
#include "transport/quic_int.h"

#define LOOK_EVERY (60 * SEC)
#define REFUSED_BY (3 * SEC) /* who shows one that has run out is told so */
#define FAR_AWAY \
  (100LL * 365 * 86400) /* s: nanoseconds have room for 584 years */

/* By a clock of whole seconds. */
static uint64_t expiry(const struct quic_conn *c) {
  int64_t end =
      c->own_until < c->peer.not_after ? c->own_until : c->peer.not_after;
  int64_t left;

  if (end == INT64_MAX) return NEVER;
  left = end + 1 - tls_now();
  if (left > FAR_AWAY) return NEVER;
  return c->q->now + (left > 0 ? (uint64_t)left : 0) * SEC;
}

static uint64_t look_at(const struct quic_conn *c) {
  uint64_t at = time_min(c->expires_at, c->q->now + LOOK_EVERY);
  uint64_t first = c->began_at + REFUSED_BY;

  return at > first ? at : first;
}

void expiry_begin(struct quic_conn *c) {
  c->expires_at = expiry(c);
  c->q->expiry_at = time_min(c->q->expiry_at, look_at(c));
}

/* What lies within a second is the clock's grain. */
static void look(struct quic_conn *c) {
  bool clients = (c->own_until < c->peer.not_after) != c->server;
  uint64_t at = expiry(c);

  if (at + SEC < c->expires_at || at > c->expires_at + SEC) c->expires_at = at;
  if (c->q->now < look_at(c)) return;
  quic_close(c, REASON_CERTIFICATE_EXPIRED,
             clients ? "the client's certificate has run out"
                     : "the server's certificate has run out");
}

void expiry_tick(struct quic *q) {
  uint64_t at = NEVER;
  struct quic_slot *s;
  size_t pos = 0;

  while ((s = map_next(&q->handles, &pos)))
    for (struct quic_conn *c = s->conns; c; c = c->slot_next) {
      if (c->state != CONN_READY) continue;
      look(c);
      if (c->state == CONN_READY) at = time_min(at, look_at(c));
    }
  q->expiry_at = at;
}
