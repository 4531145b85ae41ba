/* punch_int.h - what the files of punch share: punch.c life and who sends next,
 * punch_plan.c whom to probe when, punch_check.c requests and answers,
 * punch_search.c many sockets and random ports, punch_budget.c how much of it.
 */
#ifndef ZTNA_PUNCH_INT_H
#define ZTNA_PUNCH_INT_H

#include "part/punch.h"

enum {
  PREDICTED = 20, /* ports of a sequential NAT that are probed */
  STRAIGHT = 30,  /* of those by one that is sequential itself (punch_plan.c) */
  STRANGERS = 16, /* peer-reflexive addresses that are not of the peer's IP */
  REMOTES = PUNCH_CANDIDATES + STRAIGHT + 64,
  CHECKS = 1024, /* requests that may be answered: 3 s of the peer's budget */
  ANSWERS = 32,  /* that wait for their turn */
  SEEN = 2048,   /* slots for transaction ids of the peer, half of them used */
  BATCH = 32,
  PACKET_ROOM = 96, /* the longest message here has 80 bytes */
  /* What 300 and 2000 a second are made of, so that no second has more: a
   * steady rate and a burst. */
  PEER_RATE = 240,
  PEER_BURST = 60,
  PROCESS_RATE = 1800,
  PROCESS_BURST = 200,
  SEARCH_PROBES = 3000, /* per peer in SEARCH_EVERY */
  SEARCH_PASSES = 3,    /* probes of one hole or port at most */
  SEARCH_RESERVE = 8,   /* tokens that a search leaves to answers and checks */
  OPENER_TTL = 2,       /* beyond the own router, not as far as the peer's */
  PORT_MIN = 1024,
  PORTS = 65536 - PORT_MIN,
};
#define SEARCH_EVERY (600 * SEC)

/* How good a pair is; less is better. */
enum rank { RANK_LAN, RANK_V6, RANK_V4, RANK_NONE };

/* An address of the peer and the socket that it is probed from. */
struct remote {
  struct ztna_addr addr;
  struct ztna_addr local; /* where its request arrived; family 0: none did */
  uint64_t base, lead;    /* of its schedule: step 0, and from there step 1 */
  uint64_t due;
  uint64_t full_at; /* when the last probe left that was to arrive; 0: none */
  uint16_t sock;
  uint8_t step, n_sent, rank;
  bool known;    /* announced, or of the address that the relay observed */
  bool opener;   /* step 0 dies on the way */
  bool few;      /* one of many guesses: probed less often */
  bool asked;    /* a right request came from it */
  bool answered; /* a pair */
};

/* A request of ours. The first two bytes of its transaction id say where it is
 * kept. */
struct check {
  struct ztna_addr to; /* family 0: free */
  uint64_t at;
  uint8_t tail[STUN_TXID_LEN - 2];
  uint16_t sock;
};

struct answer {
  struct ztna_addr to, local;
  uint8_t txid[STUN_TXID_LEN];
  uint16_t sock;
};

/* An extra socket; a packet left by it. */
struct hole {
  uint16_t sock;
  bool touched; /* a right packet came to it */
  bool held;    /* by the caller, as a pair */
};

enum search { SEARCH_NONE, SEARCH_HOLES, SEARCH_PORTS };

struct punch {
  struct punch_options o;
  uint64_t lead; /* from the agreed moment to packets that are to arrive */
  uint64_t over_at, dies_at;
  bool found, over, dead;
  bool denied; /* no budget or no sockets (left) for a search */
  bool both_hard;
  enum rank best;            /* of the pairs */
  struct ztna_addr observed; /* of the peer, by the relay; family 0: unknown */
  bool has_observed;         /* and of this side, so the peer knows ours */

  struct remote remotes[REMOTES];
  size_t n_remotes, n_announced, n_strangers;
  struct check checks[CHECKS];
  uint32_t n_checks;
  uint16_t mask; /* over the places in transaction ids */
  struct answer answers[ANSWERS];
  size_t first_answer, n_answers;
  uint64_t seen[SEEN]; /* 0: free */
  size_t n_seen;

  enum search search;
  struct ztna_addr target;     /* of the search; SEARCH_PORTS puts ports in */
  uint64_t search_at, pass_at; /* of the next probe; of this pass over holes */
  uint32_t first_port, port_step, n_ports;
  struct hole holes[PUNCH_SOCKS];
  size_t n_holes, next_hole;
  bool has_holes; /* all that there will be */

  uint8_t out[BATCH * PACKET_ROOM + STUN_MAX];
};

/* --- punch_budget.c */

/* One probe or answer, if afterwards so many could still leave. */
bool budget_take(struct punch *p, uint64_t now, uint32_t reserve);
/* When it could; 0: at once. */
uint64_t budget_ready_at(const struct punch *p, uint32_t reserve);
bool budget_take_search(struct punch *p, uint64_t now);

/* --- punch_plan.c */

void plan_begin(struct punch *p);
/* NULL: none, or no room. */
struct remote *remote_find(struct punch *p, uint16_t sock,
                           const struct ztna_addr *a);
/* One that nobody announced: its check is due now. */
struct remote *remote_learn(struct punch *p, uint64_t now, uint16_t sock,
                            const struct ztna_addr *a);
void remote_sent(struct remote *r, uint64_t now, bool full);
/* Its request came: does it get a check out of turn? */
void remote_asked(struct remote *r, uint64_t now);
bool plan_has_better(const struct punch *p);
bool is_sequential(const struct nat_view *v);
/* The port of the i-th new mapping from now on. */
uint16_t port_ahead(const struct nat_view *v, int i);

/* --- punch_check.c */

/* Writes a request to `to` into `room` and remembers it. */
void check_write(struct punch *p, uint64_t now, struct dgram *d,
                 const struct ztna_addr *to, uint16_t sock, uint8_t *room);
bool answer_next(struct punch *p, uint64_t now, struct dgram *d, uint8_t *room);

/* --- punch.c */

void pair_found(struct punch *p, uint64_t now, struct remote *r, uint64_t rtt);

/* --- punch_search.c */

void search_begin(struct punch *p);
bool search_next(struct punch *p, uint64_t now, struct dgram *d, uint8_t *room);
uint64_t search_deadline(const struct punch *p);
struct hole *hole_find(struct punch *p, uint16_t sock);
/* Closes sockets that nobody needs; all: those that were touched, too. */
int holes_close(struct punch *p, struct dgram *v, int max, bool all);
bool holes_wait_to_close(const struct punch *p);
/* Gives the numbers back without a datagram. */
void holes_forget(struct punch *p);

#endif
