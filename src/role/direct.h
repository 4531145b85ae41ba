/* direct.h - finding direct ways for a link (PROTOCOL 5, "Paths"), at either
 * end: candidates are exchanged over the link's own control streams, then both
 * ends check them at the agreed moment (part/punch.h). The agent dials where a
 * check was answered. Rounds are repeated after 5, 10, 20, 40, 60 s, and at
 * once when the network changed.
 *
 * One struct direct_common per process, one struct direct per link. */
#ifndef ZTNA_ROLE_DIRECT_H
#define ZTNA_ROLE_DIRECT_H

#include <jansson.h>

#include "base/dgram.h"
#include "base/metrics.h"
#include "base/reason.h"
#include "codec/handle.h"
#include "part/punch.h"
#include "role/direct_message.h"
#include "role/observer.h"
#include "role/outside.h"

struct direct;

struct direct_common {
  const struct rng *rng;
  const struct outside *outside; /* own addresses, port mappings */
  struct observer *observer;
  bool enabled; /* false: nothing is ever sent */
  /* Addresses that packets never go to: relays' and backends'. */
  bool (*is_forbidden)(void *ud, const struct ztna_addr *a);
  void *ud;
  struct punch_budget budget;
  struct punch_socks socks;
  struct punch_stats stats;

  /* private */
  struct direct *all;
  struct direct_round *first, *last; /* rounds, turn by turn */
  size_t n_hot;                      /* of them may have packets to send */
  bool has_server[DIRECT_FAMILIES][OBSERVER_SERVERS];
  bool observe_due, has_news;       /* all servers anew; a new server */
  bool asks[DIRECT_FAMILIES];       /* the new one */
  uint64_t observed_at, asked_at;   /* anew; of another server, too */
  uint64_t n_unanswered;            /* the observer's, before that */
  uint8_t closing[DGRAM_SOCKS_MAX]; /* a bit per family */
  size_t n_closing;
  bool observer_is_hot;
  uint64_t observer_at;
  uint64_t links_at, rounds_at; /* when a link, a round has something to do */
  uint64_t now;
};

struct direct_ops {
  /* To the peer, over a relayed path that has joined (or any that works); takes
   * the reference. False: there is none. */
  bool (*say)(void *ud, json_t *msg);
  uint64_t (*rtt)(void *ud); /* of that path, ns; 0: not known */
  /* Connector: connections on these handles are this link's direct paths; those
   * of a former round that are not live are over. peer: the agent's handles. */
  void (*listen)(void *ud, uint8_t handles[DIRECT_FAMILIES][HANDLE_LEN],
                 uint8_t peer[DIRECT_FAMILIES][HANDLE_LEN]);
  /* Agent: dial there; the first pair of each family of a round. sock (dgram.h)
   * belongs to the path from here on: direct_release when it is over. handle is
   * our own, peer the connector's, as path_dial wants them. */
  void (*found)(void *ud, int family, const struct ztna_addr *remote,
                uint16_t sock, uint64_t rtt, const uint8_t handle[HANDLE_LEN],
                const uint8_t peer[HANDLE_LEN]);
  /* The peer's, for the log. May be NULL. */
  const char *(*name)(void *ud);
  /* Did a relay see the peer there (ports apart)? Only such an address is
   * searched by port (punch.h). May be NULL: the peer is believed. */
  bool (*is_observed)(void *ud, const struct ztna_addr *a);
  /* Connector: may this link leave its relays? May be NULL: yes. */
  bool (*may)(void *ud);
};

/* Makes the observer. c stays where it is; is_forbidden and ud are set after
 * it, or stay NULL. 0 or ZTNA_ENOMEM. */
int direct_common_init(struct direct_common *c, const struct rng *rng,
                       const struct outside *outside, bool enabled);
/* After all links: what they still have to close is left to the skin. */
void direct_common_done(struct direct_common *c);
/* Relay number i (of all, the ones in use first) is at addr; family 0: gone. */
void direct_relay(struct direct_common *c, size_t i,
                  const struct ztna_addr *addr);
/* Addresses, routes or port mappings of this machine changed: observe anew, all
 * links begin anew. */
void direct_network_changed(struct direct_common *c, uint64_t now);
/* True: the datagram was STUN (each packet of a train is), whatever became of
 * it. */
bool direct_udp_in(struct direct_common *c, uint64_t now,
                   const struct dgram *d);
int direct_next(struct direct_common *c, uint64_t now, struct dgram *v,
                int max);
void direct_tick(struct direct_common *c, uint64_t now);
uint64_t direct_deadline(const struct direct_common *c);
/* An extra socket that a path held (0: nothing happens): a datagram closes it.
 */
void direct_release(struct direct_common *c, uint16_t sock, int family);
extern const struct metric direct_metrics[]; /* base: struct punch_stats */

/* NULL: no memory. */
struct direct *direct_new(struct direct_common *c, bool agent,
                          const struct direct_ops *ops, void *ud);
void direct_free(struct direct *d);
/* Agent: the link is worth a direct path (it is used, a relayed path works, no
 * direct one is there); begins at once or when its time has come. Cheap. */
void direct_want(struct direct *d, uint64_t now);
/* A direct path has joined the link: rounds are over, the schedule begins anew
 * when it is lost. sock (dgram.h) belongs to the path from here on, at either
 * end. */
void direct_joined(struct direct *d, uint16_t sock, uint64_t now);
/* The last direct path is gone: tried again at once when it had lived for more
 * than a minute; else after 1 s, and after each further loss of that kind 5,
 * 10, 20 .. 60 s. */
void direct_lost(struct direct *d, uint64_t now);
/* A message of the peer of type `candidates`. <0: malformed. */
int direct_message(struct direct *d, json_t *m, uint64_t now);
/* {state: "off" | "waiting" | "gathering" | "checking" | "found" | "direct",
 * since_ms, took_ms, rounds, next_ms, why, text, fix, own, peer}: what people
 * read. since_ms: so long it is in this state. took_ms: from the wish for a
 * direct path to its being there. next_ms: until the next round. why: a stable
 * word (direct_status.c), text and fix sentences. own, peer: {mapping,
 * allocation, candidates: ["203.0.113.5:4000 reflexive", ...]} of the last
 * round. Members that say nothing are left out. */
json_t *direct_status(const struct direct *d);

#endif
