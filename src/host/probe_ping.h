/* probe_ping.h - round trips and loss by a row of STUN binding requests; no
 * I/O. */
#ifndef ZTNA_HOST_PROBE_PING_H
#define ZTNA_HOST_PROBE_PING_H

#include "base/dgram.h"
#include "base/rng.h"
#include "base/time.h"
#include "codec/stun.h"

enum { PING_COUNT = 20 };
#define PING_EVERY (50 * MS)
#define PING_PATIENCE (500 * MS) /* after the last one */

struct ping {
  struct ztna_addr to;
  uint8_t txid[STUN_TXID_LEN]; /* the last byte numbers them */
  int n_sent, n_answered;
  uint64_t next_at; /* NEVER: all are sent, or none shall be */
  uint64_t end_at;
  uint64_t sent_at[PING_COUNT];
  uint64_t rtt[PING_COUNT]; /* 0: no answer */
  struct ztna_addr mapped;  /* as the first answer says */
  uint8_t out[STUN_MAX];
};

struct ping_stats {
  int n_sent, n_answered;
  uint64_t min, avg, p95; /* ns; 0 without any answer */
};

void ping_start(struct ping *p, const struct ztna_addr *to,
                const struct rng *rng, uint64_t now);
/* One datagram when it is time, lent until the next call. */
bool ping_next(struct ping *p, uint64_t now, struct dgram *d);
/* True: an answer to one of these. */
bool ping_in(struct ping *p, uint64_t now, const struct dgram *d,
             const struct stun_msg *m);
uint64_t ping_deadline(const struct ping *p); /* NEVER when it is over */
bool ping_is_over(const struct ping *p, uint64_t now);
void ping_stats(const struct ping *p, struct ping_stats *s);

#endif
