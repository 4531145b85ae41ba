/* quic_limit.c - what strangers, and clients that chose to come, may have of an
 * endpoint that faces the internet. Handshakes cost a quarter of a millisecond
 * before anybody showed a certificate, so they are counted before; what a
 * client with a certificate may send is bounded by packets, whatever is in
 * them: that bounds frames of every kind. */
#include "transport/quic_int.h"

enum {
  RESETS_PER_S = 1000,
  PREFIX_RESETS_PER_S = 100,
  RETRIES_PER_S = 10000,
  RETRIES_BURST = 2000,
  /* In all: a quarter of a processor. The rest is for who is there. */
  HANDSHAKES_PER_S = 500,
  HANDSHAKES_BURST = 500,
  /* Of a /24 or /56: a house of a thousand is back within 16 s. */
  PREFIX_PER_S = 50,
  PREFIX_BURST = 200,
  /* Of a /16 or /32: a customer may have all of a /48, which is 256 prefixes.
   */
  WIDE_PER_S = 250,
  WIDE_BURST = 250,
  /* Of one connection. Control connections carry a few a second; a body of 64
   * KB is 55. */
  FEED_PER_S = 1000,
  FEED_BURST = 2000,
};

#define YOUNG (500 * MS) /* more than a round trip and a half */

/* Prefixes that fall into one bucket share it: strangers get no memory. */
static struct prefix *prefix_of(struct quic *q,
                                const struct ztna_addr *remote) {
  size_t n = remote->family == 4 ? 3 : 7;

  return &q->prefixes[siphash(q->hash_key, remote->ip, n) % PREFIX_BUCKETS];
}

static struct bucket *wide_of(struct quic *q, const struct ztna_addr *remote) {
  size_t n = remote->family == 4 ? 2 : 4;

  return &q->prefixes[siphash(q->hash_key, remote->ip, n) % PREFIX_BUCKETS]
              .wide;
}

/* After a restart everybody needs one: who makes noise leaves some to others.
 */
bool limit_reset(struct quic *q, const struct ztna_addr *remote) {
  return bucket_take(&prefix_of(q, remote)->resets, q->now, PREFIX_RESETS_PER_S,
                     PREFIX_RESETS_PER_S, 1, 0) &&
         bucket_take(&q->resets, q->now, RESETS_PER_S, RESETS_PER_S, 1, 0);
}

bool limit_retry(struct quic *q) {
  return bucket_take(&q->retries, q->now, RETRIES_PER_S, RETRIES_BURST, 1, 0);
}

bool limit_handshake(struct quic *q, const struct ztna_addr *remote) {
  return bucket_take(&prefix_of(q, remote)->handshakes, q->now, PREFIX_PER_S,
                     PREFIX_BURST, 1, 0) &&
         bucket_take(wide_of(q, remote), q->now, WIDE_PER_S, WIDE_BURST, 1,
                     0) &&
         bucket_take(&q->handshakes, q->now, HANDSHAKES_PER_S, HANDSHAKES_BURST,
                     1, 0);
}

/* Who is honest is done after a round trip and a half. At the rate of all
 * handshakes those younger than that never fill the table. */
bool limit_half_open(struct quic *q) {
  struct quic_conn *c, *oldest = NULL;
  size_t pos = 0;

  if (q->half.n < HALF_OPEN_MAX) return true;
  while ((c = map_next(&q->half, &pos)))
    if (!oldest || c->began_at < oldest->began_at) oldest = c;
  if (q->now - oldest->began_at < YOUNG) return false;
  conn_fail(oldest, REASON_RATE_LIMITED, false, "others need its place");
  conn_leave_half(oldest);
  return true;
}

bool limit_applies(const struct quic_conn *c) {
  return c->control && c->server;
}

/* Dropped before anything is decrypted. For an honest peer it is loss. */
bool limit_is_overfed(struct quic_conn *c) {
  return !bucket_take(&c->fed, c->q->now, FEED_PER_S, FEED_BURST, 0, 1);
}

/* Only what was rightly sealed is counted, or whoever knows the handle could
 * use up what is another's. */
void limit_feed(struct quic_conn *c) {
  bucket_take(&c->fed, c->q->now, FEED_PER_S, FEED_BURST, 1, 0);
}
