/* punch_world.h - two rounds of checks, face to face through two small NATs and
 * 10 ms of network, on virtual time. Everything that leaves is written down. */
#ifndef ZTNA_TESTS_PUNCH_WORLD_H
#define ZTNA_TESTS_PUNCH_WORLD_H

#include "base/time.h"
#include "part/punch.h"

enum pw_nat {
  PW_PUBLIC,     /* the machine's own address */
  PW_EVEN,       /* endpoint-independent mapping */
  PW_SEQUENTIAL, /* each destination gets the next port */
  PW_RANDOM,     /* ... any port */
};

enum { PW_SENT = 16384, PW_HOLES = 8192, PW_PAIRS = 64, PW_DELAY_MS = 10 };

struct pw_sent {
  uint64_t at;
  struct ztna_addr from, to; /* from: as the outside sees it */
  struct ztna_addr local;    /* what it was to leave from */
  uint16_t sock;
  uint8_t ttl;
  uint32_t len; /* 0: the socket is closed */
  bool is_answer;
  uint8_t txid[STUN_TXID_LEN];
};

struct pw_hole {
  uint16_t sock, outer;
  struct ztna_addr to;
};

struct pw_side {
  struct punch *p;
  struct punch_options o;
  struct punch_budget budget;
  struct punch_peer_budget peer_budget;
  struct punch_socks socks;
  struct punch_stats stats;
  struct ztna_addr addr; /* of the main socket from outside */
  enum pw_nat nat;
  uint16_t mapped;    /* a port that leads to the main socket; 0: none */
  bool open;          /* lets in whatever was not sent to */
  bool deaf;          /* nothing comes in */
  int delta;          /* of PW_SEQUENTIAL */
  uint16_t last_port; /* that it gave */
  struct pw_hole holes[PW_HOLES];
  size_t n_holes;
  struct pw_sent sent[PW_SENT];
  size_t n_sent;
  struct {
    struct ztna_addr remote;
    uint16_t sock;
    uint64_t at, rtt;
  } pairs[PW_PAIRS];
  size_t n_pairs;
  int n_over;
  enum punch_end why;
  uint64_t over_at;
  struct ztna_addr refused; /* by may_send; family 0: none */
  uint16_t refused_from;    /* ports from here on, too; 0: none */
};

/* [0] controls. */
struct pw {
  uint64_t now, random, loss; /* of 100 */
  struct rng rng;
  struct pw_side side[2];
  struct pw_flight *flight; /* what is on its way */
  size_t n_flight;
};

/* Addresses 198.51.100.1 and .2, port 4000; at: 1 s; rounds do not run yet. */
struct pw *pw_new(uint64_t seed, enum pw_nat a, enum pw_nat b);
void pw_free(struct pw *w);
/* Rounds from what the sides' options say. */
void pw_start(struct pw *w);
void pw_run(struct pw *w, uint64_t until);
/* Until both have a pair; false: not by then. */
bool pw_find(struct pw *w, uint64_t until);
/* Only what leaves, written down; nothing arrives. */
void pw_send(struct pw *w, struct pw_side *s);
/* Somebody else behind this NAT takes ports. */
void pw_take_ports(struct pw_side *s, int n);
/* The most packets that left within any second, closing ones apart. */
size_t pw_most_a_second(const struct pw_side *s);
/* How many packets of this kind it sent there. */
size_t pw_sent_to(const struct pw_side *s, const char *to, bool answers);
uint64_t pw_dropped(const struct pw_side *s, enum reason why);
/* Both get private addresses besides, which would be better if there were
 * somebody. Before pw_start. */
void pw_add_neighbours(struct pw *w);
/* Two rounds behind endpoint-independent NATs, half a second before their
 * moment, that hear only what is made by hand. */
struct pw *pw_quiet(void);

/* --- packets by hand, to side 1 */

struct by_hand {
  struct stun_msg m;
  uint8_t key[PUNCH_KEY_LEN];
  uint8_t data[STUN_MAX];
  size_t len;
};

/* As side 0 would say it, with a fresh transaction id. */
struct by_hand hand_request(struct pw *w);
void hand_write(struct by_hand *r);
/* With an attribute in it that nobody knows but must. */
void hand_write_unknown(struct by_hand *r);
/* What was written arrives; d: from where, where, on which socket. Was it for
 * the round? What leaves on it is written down. */
bool hand_arrive(struct pw *w, struct by_hand *r, struct dgram d);
/* Written, too. */
bool hand_arrives(struct pw *w, struct by_hand *r, const char *from);
/* The last request of side 1 to `to` is answered from `from`, on its socket;
 * wrong: changes the key. */
bool hand_answer(struct pw *w, const char *to, const char *from, uint8_t wrong);

#endif
