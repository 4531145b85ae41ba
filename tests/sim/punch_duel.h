/* punch_duel.h - one round of checks between two places of given NAT classes:
 * both ends find out how they look from outside by a server, exchange that,
 * and punch (part/punch.h). No QUIC, no relay in between: what they tell each
 * other arrives. Delays, loss, the error of the agreed moment, and other hosts
 * that take ports of the NATs follow from the seed.
 *
 * Everything that a round must never do is looked at on the way; the first
 * such thing ends up in `wrong`. */
#ifndef ZTNA_TESTS_PUNCH_DUEL_H
#define ZTNA_TESTS_PUNCH_DUEL_H

#include "part/punch.h"
#include "sim/nat_class.h"

struct duel_config {
  uint64_t seed;
  const struct nat_class *class[2]; /* of the agent, of the connector */
  bool v6;                          /* hosts have IPv6 addresses only */
  bool one_carrier; /* both homes of class cgn... are behind the same */
};

struct duel_side_result {
  uint64_t pair_after, over_after; /* the agreed moment; NEVER: did not */
  enum punch_end why;
  uint64_t n_sent, n_search; /* packets; of these to guessed ports */
  uint64_t n_pairs;
};

struct duel_result {
  bool direct;         /* both ends have a pair */
  uint64_t after;      /* until both had, from the agreed moment */
  uint64_t rtt;        /* on the direct way */
  const char *wrong;   /* NULL: nothing was */
  bool budgets_kept;   /* or `wrong` says which was not */
  bool targets_kept;   /* nothing left for an address not to be probed */
  bool sockets_closed; /* all that no pair holds, and its numbers */
  bool carries;        /* the agent's pair did, both ways; if direct */
  struct duel_side_result side[2];
};

struct duel_result duel_run(const struct duel_config *c);

#endif
