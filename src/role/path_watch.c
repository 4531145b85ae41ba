/* path_watch.c - the watch over a path: does anything still come through, and
 * does it still carry what it carried (PROTOCOL 5, "Size" and "Paths"). Size is
 * told from loss by a witness: a small echo that arrives where all that is big
 * is lost. ngtcp2 never lowers a path's size, and sends what is lost again as
 * large as before. */
#include "role/path_int.h"

#include "base/log.h"

#define WATCH_MIN (200 * MS)
#define PROBE_AGAIN (50 * MS)

enum {
  BIG_LOST = 3,
  PROBE_OFFERS = 8,
  BUSY = 16,  /* packets */
  STALLS = 2, /* each is a window of packets lost */
};

void path_watch_reset(struct path *p) {
  p->echo_due = p->probe_due = false;
  p->n_outstanding = p->bytes_outstanding = 0;
  p->watch_at = p->probe_at = NEVER;
  p->stall_at = p->in_small = p->n_sent = p->acked_at = 0;
  p->n_big_lost = p->n_stalls = 0;
  p->limit = 0;
  p->packet_size = QUIC_ANY;
}

/* --- what is under way --- */

static uint64_t patience(const struct path *p) {
  struct quic_info i;

  quic_info(p->conn, &i);
  return 3 * i.srtt > WATCH_MIN ? 3 * i.srtt : WATCH_MIN;
}

static bool is_waiting(const struct path *p) {
  return p->n_outstanding || p->bytes_outstanding;
}

static void begin(struct path *p) {
  if (is_waiting(p)) return;
  p->progress_at = quic_now(p->quic);
  if (p->watch_at == NEVER) p->watch_at = p->progress_at + WATCH_MIN;
}

void path_watch_dgram(struct path *p) {
  begin(p);
  p->n_outstanding++;
}

void path_watch_acked(struct path *p) {
  if (p->n_outstanding) p->n_outstanding--;
  p->acked_at = p->progress_at = quic_now(p->quic);
}

void path_bytes_sent(struct path *p, struct stream_bytes *b, size_t n) {
  begin(p);
  if (b->sent == b->acked) b->at = quic_now(p->quic);
  p->bytes_outstanding += n;
  b->sent += n;
}

/* What small packets may have carried does not show that big ones arrive: it is
 * a witness, too. */
void path_bytes_acked(struct path *p, struct stream_bytes *b, uint64_t n) {
  p->acked_at = p->progress_at = quic_now(p->quic);
  p->bytes_outstanding -= n;
  b->acked += n;
  if (p->in_small) {
    p->in_small -= n < p->in_small ? n : p->in_small;
    path_small_acked(p, true);
    return;
  }
  p->n_stalls = 0;
  b->at = p->progress_at;
}

void path_bytes_left(struct path *p, struct stream_bytes *b) {
  p->bytes_outstanding -= b->sent - b->acked;
  b->acked = b->sent;
}

uint64_t path_silent_since(const struct path *p) {
  if (!p->conn || !is_waiting(p)) return NEVER;
  return p->progress_at + patience(p);
}

uint64_t path_acked_at(const struct path *p) { return p->acked_at; }

bool path_is_busy(const struct path *p) {
  return p->n_outstanding + p->bytes_outstanding / PATH_NARROW >= BUSY;
}

bool path_is_silent(const struct path *p, uint64_t now) {
  return now >= path_silent_since(p);
}

static bool is_stalled(const struct stream_bytes *b, uint64_t before) {
  return b->sent > b->acked && b->at <= before;
}

bool path_is_stalled(const struct path *p) {
  uint64_t now = quic_now(p->quic), wait;

  if (!p->bytes_outstanding) return false;
  wait = patience(p);
  if (wait > now) return false;
  if (is_stalled(&p->tx_bytes_out, now - wait)) return true;
  for (const struct stream *s = p->streams; s; s = s->next)
    if (is_stalled(&s->bytes, now - wait)) return true;
  return false;
}

/* When all that we send is too big nothing comes back, and QUIC cannot tell
 * what was lost: something small must go in between. */
static void watch(struct path *p, uint64_t now) {
  if (now < p->watch_at) return;
  p->watch_at = NEVER;
  if (!p->conn || !is_waiting(p)) return;
  p->watch_at = now + patience(p);
  if (path_is_silent(p, now)) p->in_small = 0; /* it is lost, too */
  if (path_is_silent(p, now) || path_is_stalled(p)) path_probe(p, now);
}

/* --- size --- */

static void shrink(struct path *p) {
  p->limit = PATH_NARROW;
  quic_limit_size(p->conn, p->limit);
  p->probe_every = SEC;
  p->probe_due = true; /* was it chance? */
  p->probe_offer_at = p->offers_from = 0;
  p->probe_woken = false;
  log_debug("path: carries no more than %zu bytes now", p->limit);
}

void path_grow(struct path *p) {
  p->limit = 0;
  p->n_big_lost = p->n_stalls = 0;
  p->probe_at = NEVER;
  p->probe_due = false;
  quic_limit_size(p->conn, 0);
}

/* A small one arrived. stalled: when it left, what streams had sent in big ones
 * did not arrive; when it still does not, it is lost. Small ones come many at a
 * time: one counts, then big ones are tried again. */
void path_small_acked(struct path *p, bool stalled) {
  uint64_t now = quic_now(p->quic);

  if (p->limit) return;
  if (stalled && now >= p->stall_at && path_is_stalled(p)) {
    p->stall_at = now + patience(p);
    p->n_stalls++;
  }
  if (p->n_big_lost >= BIG_LOST || p->n_stalls >= STALLS) shrink(p);
}

/* A small one is the witness: without traffic of that size, send it. */
void path_big_lost(struct path *p) {
  if (++p->n_big_lost >= BIG_LOST && !p->limit)
    path_probe(p, quic_now(p->quic));
}

void path_probe_lost(struct path *p) {
  p->probe_at = quic_now(p->quic) + p->probe_every;
  if (p->probe_every < 60 * SEC) p->probe_every *= 2;
}

/* Streams' share of the small packets that left is not known, only its bound.
 */
static void count_small(struct path *p) {
  struct quic_info i;

  if (p->packet_size != QUIC_SMALL && !p->echo_due) return;
  quic_info(p->conn, &i);
  if (p->packet_size == QUIC_SMALL && i.n_sent > p->n_sent)
    p->in_small += PATH_NARROW;
  p->n_sent = i.n_sent;
}

/* The padded probe needs a packet of its own: an ACK may stand in front, so the
 * next is tried; lost stream data may fill many up, which then are lost again,
 * so not too often. */
static bool may_offer_probe(struct path *p, uint64_t now) {
  struct quic_info i;

  if (!p->probe_due || now < p->probe_offer_at) return false;
  quic_info(p->conn, &i);
  if (!p->offers_from) p->offers_from = i.n_sent;
  if (i.n_sent - p->offers_from < PROBE_OFFERS) return true;
  p->offers_from = 0;
  p->probe_offer_at = now + PROBE_AGAIN;
  p->probe_woken = false;
  return false;
}

enum quic_size path_packet_size(struct quic_conn *c, void *ud) {
  struct path *p = ud;
  uint64_t now = quic_now(p->quic);

  if (c != p->conn) return QUIC_ANY;
  watch(p, now);
  count_small(p);
  p->packet_size = QUIC_ANY;
  if (may_offer_probe(p, now)) {
    p->packet_size = QUIC_FULL;
  } else if (p->echo_due) {
    p->packet_size = QUIC_SMALL;
  }
  return p->packet_size;
}

/* --- life --- */

bool path_fell_quiet(struct path *p) {
  bool missed = p->missed && p->conn;

  p->missed = false;
  return missed;
}

void path_probe(struct path *p, uint64_t now) {
  if (!p->conn) return;
  p->echo_due = true;
  quic_probe(p->conn, now);
  quic_wake(p->conn);
}

void path_tick(struct path *p, uint64_t now) {
  if (now >= p->quiet_at) {
    p->quiet_at = NEVER;
    p->missed = true;
  }
  watch(p, now);
  if (p->probe_due && now >= p->probe_offer_at && p->conn && !p->probe_woken) {
    p->probe_woken = true; /* from here on QUIC wakes itself */
    quic_wake(p->conn);
  }
  if (now < p->probe_at) return;
  p->probe_at = NEVER;
  p->probe_due = p->limit;
  p->probe_offer_at = p->offers_from = 0;
  p->probe_woken = false;
  if (p->conn) quic_wake(p->conn);
}

uint64_t path_deadline(const struct path *p) {
  uint64_t at = time_min(p->probe_at, p->quiet_at);

  if (p->probe_due && !p->probe_woken) at = time_min(at, p->probe_offer_at);
  return time_min(at, p->watch_at);
}
