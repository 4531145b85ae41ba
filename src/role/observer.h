/* observer.h - how this endpoint looks from outside: a STUN client that asks
 * relays (RFC 8489, RFC 5780) from the endpoint's own sockets, and what follows
 * about the NAT before it (RFC 4787). One per endpoint, both families; used by
 * agent, connector and probe.
 *
 * Mapping: the main socket asks the first two servers (the others when neither
 * answers), the other port of one that answered (OTHER-ADDRESS), and its other
 * address. Allocation, where the mapping depends on the destination or the port
 * is not preserved: two extra sockets ask once more. Filtering only when
 * wanted, by a third one: it costs time-outs (CHANGE-REQUEST).
 *
 * A question is repeated 100, 250 and 500 ms after the first time, an
 * observation costs 20 packets of one family at most. What is known of mapping
 * and allocation is so after two round trips when nothing is lost, and else
 * after 800 ms; filtering after 1.5 s. */
#ifndef ZTNA_ROLE_OBSERVER_H
#define ZTNA_ROLE_OBSERVER_H

#include "base/dgram.h"
#include "base/reason.h"
#include "base/rng.h"
#include "codec/stun.h"
#include "part/nat.h"
#include "part/punch.h"

enum {
  OBSERVER_SERVERS = 4,
  OBSERVER_SENDS = 4,    /* of one question */
  OBSERVER_PACKETS = 20, /* of one observation of one family */
};

struct observer;

/* For each answer, and each question that got none: for people (ztna probe). */
struct observer_result {
  struct ztna_addr server, from; /* asked; where the answer came from */
  struct ztna_addr mapped;       /* family 0: no answer */
  uint16_t sock;
  uint32_t change; /* STUN_CHANGE_ bits that were asked for */
  uint16_t error;  /* of an error response */
  uint64_t rtt;    /* ns */
  int n_sent;      /* with repeats */
};

struct observer_stats {
  uint64_t n_sent, n_answers, n_unanswered; /* packets, answers, questions */
  uint64_t n_late;          /* answers to what was answered or given up */
  uint64_t drops[REASON_N]; /* wrong-source, malformed */
};

struct observer_options {
  const struct rng *rng;
  struct punch_socks *socks; /* lent: numbers of extra sockets */
  bool filtering;            /* find that out, too */
  /* May be NULL. */
  void (*on_result)(void *ud, const struct observer_result *r);
  /* A family's view is complete, or as complete as it will be. From
   * observer_start or observer_refresh when there is nothing to ask. */
  void (*on_done)(void *ud, int family);
  void *ud;
};

struct observer *observer_new(const struct observer_options *o);
void observer_free(struct observer *o);

/* Own addresses and the main socket's port: tells "no NAT" and "preserving". */
void observer_set_local(struct observer *o, const struct ztna_addr *v,
                        size_t n);
/* A server's address of a family (index < OBSERVER_SERVERS); family 0 in addr
 * takes it out. One that is new begins a family's observation anew, by the next
 * tick, when it was started and the view lacks what this one could tell; the
 * view stays as it is until then. */
void observer_set_server(struct observer *o, size_t index, int family,
                         const struct ztna_addr *addr);
/* Observe (again): at first, and when the network changed. What was known is
 * forgotten. */
void observer_start(struct observer *o, uint64_t now);
/* For a NAT with sequential allocation: asks once more from a new socket, so
 * that view->last_port is of now; on_done follows within 300 ms. Does nothing,
 * with on_done at once, for others. */
void observer_refresh(struct observer *o, int family, uint64_t now);

/* family 4 or 6. Complete when observer_is_done; `mapped` is there as soon as
 * the first server has answered. */
const struct nat_view *observer_view(const struct observer *o, int family);
bool observer_is_done(const struct observer *o, int family);

/* One STUN packet. True: it bears the id of a question of ours, and was dealt
 * with. */
bool observer_in(struct observer *o, uint64_t now, const struct dgram *d,
                 const struct stun_msg *m);
int observer_next(struct observer *o, uint64_t now, struct dgram *v, int max);
void observer_tick(struct observer *o, uint64_t now);
uint64_t observer_deadline(const struct observer *o);
const struct observer_stats *observer_stats(const struct observer *o);

#endif
