/* direct_int.h - between direct.c (what links share), direct_link.c (one link's
 * schedule), direct_talk.c (messages), direct_round.c (one round's checks) and
 * direct_status.c. */
#ifndef ZTNA_ROLE_DIRECT_INT_H
#define ZTNA_ROLE_DIRECT_INT_H

#include "role/direct.h"

#include "base/time.h"

/* Why there is no direct path; words and sentences in direct_status.c. */
enum direct_why {
  WHY_NONE, /* nothing went wrong so far */
  WHY_NO_PATH,
  WHY_NO_REPLY,
  WHY_PEER_OFF,
  WHY_NO_CANDIDATES,
  WHY_NO_ANSWER,
  WHY_UDP_BLOCKED,
  WHY_PEER_UDP_BLOCKED,
  WHY_NO_STUN,
  WHY_PEER_NO_STUN,
  WHY_BOTH_SYMMETRIC,
  WHY_NO_BUDGET,
  WHY_NO_HANDSHAKE,
  WHY_LOST,
  WHY_NO_MEMORY,
};

enum direct_state {
  DIRECT_WAITING,
  DIRECT_GATHERING, /* own addresses */
  DIRECT_ASKED,     /* agent: for the connector's */
  DIRECT_CHECKING,
  DIRECT_FOUND, /* a pair; the handshake is to come */
};

struct direct {
  struct direct *next; /* of common->all */
  struct direct_common *common;
  bool agent;
  const struct direct_ops *ops;
  void *ud;

  enum direct_state state;
  uint64_t since;
  uint64_t until; /* patience with this state */
  enum direct_why why;

  bool joined;
  uint64_t joined_at, began_at, took; /* began_at 0: no wish yet */

  /* schedule */
  bool wanted;
  uint64_t try_at;            /* agent: not before */
  unsigned n_failed, n_short; /* rounds in a row; paths of a short life */
  uint64_t anew_at;           /* agent: the peer's wish is heard from here on */
  uint64_t heard_at;          /* connector: the window of n_heard */
  unsigned n_heard;

  /* the round under way, or the last one */
  uint32_t number;
  uint64_t n_rounds;
  bool refreshed, refreshing; /* the newest port of a sequential NAT */
  uint8_t id[PUNCH_ID_LEN], key[PUNCH_KEY_LEN];
  uint8_t handles[DIRECT_FAMILIES][HANDLE_LEN];
  uint8_t peer_handles[DIRECT_FAMILIES][HANDLE_LEN];
  struct punch_side own, peer; /* peer: as it was said */
  struct punch_peer_budget budget;
  struct direct_round *round;
};

static inline int direct_family(const struct ztna_addr *a) {
  return a->family == 6;
}

/* "agent" or "connector", and the peer's name: for the log. */
const char *direct_role(const struct direct *d);
const char *direct_peer(const struct direct *d);

/* --- direct.c */

/* Observes unless what is known is young enough. */
void direct_observe(struct direct_common *c, uint64_t not_older_than);
/* Learns the newest port of a sequential NAT. */
void direct_refresh(struct direct_common *c);
/* Does the observer still ask, and is worth being waited for? */
bool direct_is_observing(const struct direct_common *c);
uint64_t direct_observed_by(const struct direct_common *c);
/* A datagram will close this socket, and its number is free. */
void direct_close(struct direct_common *c, uint16_t sock, int family);
bool direct_may_send(const struct direct_common *c, const struct ztna_addr *to);

/* --- direct_candidates.c */

/* Own addresses for the peer, and the NAT's class. */
void direct_candidates(const struct direct_common *c, struct punch_side *to);

/* --- direct_link.c */

void direct_link_tick(struct direct *d);
uint64_t direct_link_deadline(const struct direct *d);
/* Tries anew at once: what was learned of failures does not count any more. */
void direct_link_anew(struct direct *d);
/* The observer is done with a family. */
void direct_link_observed(struct direct *d, int family);
void direct_link_begin(struct direct *d, uint32_t number);
/* Both ends have said their addresses. */
void direct_link_check(struct direct *d, uint64_t at);
/* Of the link's round. */
void direct_link_found(struct direct *d);
void direct_link_failed(struct direct *d, enum direct_why why);

/* --- direct_talk.c */

void direct_talk_ask(struct direct *d);
void direct_talk_answer(struct direct *d);
void direct_talk_anew(struct direct *d);

/* --- direct_round.c */

/* Checks begin at the agreed moment. ZTNA_ENOMEM. */
int direct_round_begin(struct direct *d, uint64_t at);
/* The link has no round any more; what it holds is closed. */
void direct_round_retire(struct direct *d);
/* A path lives on this socket: the round does not close it. */
void direct_round_give(struct direct *d, uint16_t sock, int family);
/* A path gives it back: true when a round closes it at its end. */
bool direct_rounds_take(struct direct_common *c, uint16_t sock, int family);
uint64_t direct_round_ends_at(const struct direct *d); /* NEVER: none */
/* True: it was a round's. */
bool direct_rounds_in(struct direct_common *c, const struct dgram *d,
                      const uint8_t *data, size_t len,
                      const struct stun_msg *m);
int direct_rounds_next(struct direct_common *c, struct dgram *v, int max);
void direct_rounds_tick(struct direct_common *c);
void direct_rounds_free(struct direct_common *c);

/* --- direct_status.c */

const char *direct_why_word(enum direct_why why);
/* What a round without a pair tells. */
enum direct_why direct_why_of(const struct direct *d, enum punch_end end);

#endif
