/* punch_watch.h - looks at what one side of a round sends, for what it must
 * never do: more packets than its budget, or to somebody who is not its peer.
 */
#ifndef ZTNA_TESTS_PUNCH_WATCH_H
#define ZTNA_TESTS_PUNCH_WATCH_H

#include "base/map.h"
#include "part/punch.h"

enum { WATCH_PER_SECOND = 300, WATCH_TARGETS = 8192 };

struct punch_watch_target { /* an address, from one of the own sockets */
  int n_checks;             /* that it has not answered */
  bool heard;
};

struct punch_watch {
  const struct punch_side *peer;
  struct ztna_addr observed; /* of the peer: its ports may be searched */
  uint64_t sent_at[WATCH_PER_SECOND]; /* the last ones */
  struct map targets;
  struct punch_watch_target target[WATCH_TARGETS];
  size_t n_targets;
  uint64_t n_sent, n_search; /* packets; of these to guessed ports, or from
                                sockets of a search */
  const char *over_budget;   /* what was too much; NULL: nothing */
  const char *astray;        /* what went where it must not */
};

/* Zeroed before; peer is lent. */
void punch_watch_init(struct punch_watch *w, const struct punch_side *peer,
                      const struct ztna_addr *observed, const struct rng *rng);
void punch_watch_done(struct punch_watch *w);

/* A packet leaves. */
void punch_watch_out(struct punch_watch *w, uint64_t now,
                     const struct dgram *d);
/* One arrives; is_answer: to one of its checks. */
void punch_watch_in(struct punch_watch *w, const struct dgram *d,
                    bool is_answer);

#endif
