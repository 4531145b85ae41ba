/* punch.h - one round of finding a direct way to a peer (PROTOCOL 5): both ends
 * send connectivity checks (STUN binding requests, RFC 8489, with
 * MESSAGE-INTEGRITY-SHA256 by the round's key) to each other's candidates at
 * the agreed moment. By the NATs' classes further steps follow: predicted
 * ports, a search with many sockets on the hard side and random ports from the
 * other.
 *
 * No I/O, no QUIC: packets and time go in, packets and a deadline come out. */
#ifndef ZTNA_PUNCH_H
#define ZTNA_PUNCH_H

#include "base/dgram.h"
#include "base/reason.h"
#include "base/rng.h"
#include "base/time.h"
#include "codec/stun.h"
#include "part/nat.h"

enum {
  PUNCH_CANDIDATES = 16, /* per side and round */
  PUNCH_KEY_LEN = 32,
  PUNCH_ID_LEN = 8,
  PUNCH_SOCKS = 256, /* of the hard side's search */
  PUNCH_PROBES = 10, /* per address, until it has answered */
};
#define PUNCH_LIFE (15 * SEC)

enum candidate_kind {
  CANDIDATE_HOST,      /* an address of the machine itself */
  CANDIDATE_REFLEXIVE, /* as a relay saw it; the IP of a peer's first one of
                          IPv4 may be searched by port, so the caller should
                          have the relay's word for it */
  CANDIDATE_MAPPED,    /* a port mapping of the router */
};

struct candidate {
  struct ztna_addr addr;
  enum candidate_kind kind;
};

/* What each side tells the other. */
struct punch_side {
  struct candidate list[PUNCH_CANDIDATES];
  size_t n;
  /* Of IPv4; IPv6 is taken as without NAT. Both ends must work from the same
   * two views. last_port: 0 unless it is of the last seconds. */
  struct nat_view nat;
};

/* Probes and answers that may leave, by all rounds of a process (PROTOCOL 5);
 * zero-initialised. */
struct punch_budget {
  uint64_t filled_at;
  uint32_t tokens; /* milli-probes; 2000 a second */
};

/* And towards one peer, over its rounds; zero-initialised. */
struct punch_peer_budget {
  uint64_t filled_at;
  uint32_t tokens;      /* milli-probes; 300 a second */
  uint64_t searched_at; /* when the search budget was counted anew */
  uint32_t n_searched;  /* search probes since; 3000 per 10 minutes */
};

/* Numbers of extra sockets of a process (dgram.h). */
struct punch_socks {
  bool used[DGRAM_SOCKS_MAX];
};
/* A free number from 1 on, marked as used; 0: none. */
uint16_t punch_sock_take(struct punch_socks *s);
void punch_sock_free(struct punch_socks *s, uint16_t sock);

struct punch_stats {
  /* answers: right ones that came */
  uint64_t n_rounds, n_found, n_probes, n_answers, n_search_probes;
  uint64_t n_checked; /* requests of the peer that were right */
  /* wrong-source: wrong key, own echo, an id that was used before, an answer
   * from elsewhere; wrong-destination: not a socket of this round; not-allowed:
   * by may_send; rate-limited: an unannounced source that asks again, or too
   * many; malformed; expired: the round's 15 s are over */
  uint64_t drops[REASON_N];
};

enum punch_end {
  PUNCH_FOUND,         /* at least one pair */
  PUNCH_NO_ANSWER,     /* nothing came back: firewalls, or UDP is blocked */
  PUNCH_BOTH_HARD,     /* both NATs are symmetric and not both sequential */
  PUNCH_NO_CANDIDATES, /* no address of a family that both have */
  PUNCH_NO_BUDGET, /* no search probes or sockets left, or nothing may leave */
};

struct punch;

struct punch_ops {
  /* A way there and back was shown to work: our check from this socket was
   * answered. At most once per remote address and socket, and once per extra
   * socket; the first is the quickest. May come after on_over, too, as long as
   * the round lives: the peer's check may have been late. `sock` is held for
   * the caller from here on if not 0: punch_sock_free when it is not needed any
   * more, with a closing datagram. The round must not be freed in here. */
  void (*on_pair)(struct punch *p, void *ud, const struct ztna_addr *remote,
                  uint16_t sock, uint64_t rtt);
  /* Once, out of punch_tick, and the last that happens there: nothing more is
   * tried. It still answers the peer's checks, and checks back, until its 15 s
   * are over. */
  void (*on_over)(struct punch *p, void *ud, enum punch_end why);
};

struct punch_options {
  uint8_t key[PUNCH_KEY_LEN], id[PUNCH_ID_LEN]; /* id: the USERNAME */
  bool controlling; /* the agent's side; only tells requests from own echoes */
  struct punch_side own, peer;
  uint64_t at;  /* the agreed moment */
  uint64_t rtt; /* of the relayed path, ns: how exact `at` is, for patience */
  const struct rng *rng;
  stun_mac_fn mac;
  struct punch_budget *budget;
  struct punch_peer_budget *peer_budget;
  struct punch_socks *socks;
  struct punch_stats *stats;
  /* May packets go there? False for addresses that are not a peer's to choose
   * (loopback, own, relays'). Asked of everything before it is sent. */
  bool (*may_send)(void *ud, const struct ztna_addr *to);
  /* Did a relay see the peer there (compared without port)? Only such an
   * address is searched by port, or gets more ports than the peer named. NULL:
   * what the peer says is taken for it. */
  bool (*is_observed)(void *ud, const struct ztna_addr *a);
  const struct punch_ops *ops;
  void *ud;
};

/* NULL: no memory. */
struct punch *punch_new(const struct punch_options *o, uint64_t now);
/* Sockets of the search that no pair holds are closed by the datagrams of
 * punch_drain: call it until it returns 0 before punch_free, or let the skin
 * close them by itself when the process ends. */
void punch_free(struct punch *p);
int punch_drain(struct punch *p, struct dgram *v, int max);

/* Is it a request of this round, or an answer to one of its checks? */
bool punch_has_id(const struct punch *p, const struct stun_msg *m);
/* A request with this round's id, or an answer to one of its checks (true: it
 * was this round's; rightly keyed or not, it is dealt with). m: stun_read of
 * the bytes. */
bool punch_in(struct punch *p, uint64_t now, const struct dgram *d,
              const uint8_t *data, size_t len, const struct stun_msg *m);
/* At most max datagrams, lent until the next call. */
int punch_next(struct punch *p, uint64_t now, struct dgram *v, int max);
void punch_tick(struct punch *p, uint64_t now);
uint64_t punch_deadline(const struct punch *p);
/* on_over was called. */
bool punch_is_over(const struct punch *p);
/* Its 15 s have passed, too: it does nothing more and may be freed. */
bool punch_is_dead(const struct punch *p);

#endif
