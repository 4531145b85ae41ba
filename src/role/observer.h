/* observer.h - how this endpoint looks from outside: a STUN client that asks
 * relays (RFC 8489, RFC 5780) from the endpoint's own sockets, and what follows
 * about the NAT before it (RFC 4787). One per endpoint, both families; used by
 * agent, connector and probe.
 *
 * Mapping: the main socket asks the first server, its other port, and the
 * second server (another address). Allocation, where the mapping depends on the
 * destination or the port is not preserved: two extra sockets ask the first
 * server. Filtering only when wanted: it costs time-outs (CHANGE-REQUEST). */
#ifndef ZTNA_ROLE_OBSERVER_H
#define ZTNA_ROLE_OBSERVER_H

#include "base/dgram.h"
#include "base/rng.h"
#include "codec/stun.h"
#include "part/nat.h"
#include "part/punch.h"

enum { OBSERVER_SERVERS = 4 };

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

struct observer_options {
  const struct rng *rng;
  struct punch_socks *socks; /* lent: numbers of extra sockets */
  bool filtering;            /* find that out, too */
  /* May be NULL. */
  void (*on_result)(void *ud, const struct observer_result *r);
  /* A family's view is complete, or as complete as it will be. */
  void (*on_done)(void *ud, int family);
  void *ud;
};

struct observer *observer_new(const struct observer_options *o);
void observer_free(struct observer *o);

/* Own addresses and the main socket's port: tells "no NAT" and "preserving". */
void observer_set_local(struct observer *o, const struct ztna_addr *v,
                        size_t n);
/* A server's address of a family (index < OBSERVER_SERVERS); family 0 in addr
 * takes it out. One that is new begins a family's observation anew when it is
 * started and the view lacks what it could tell. */
void observer_set_server(struct observer *o, size_t index, int family,
                         const struct ztna_addr *addr);
/* Observe (again): at first, and when the network changed. */
void observer_start(struct observer *o, uint64_t now);
/* For a NAT with sequential allocation: asks once more from a new socket, so
 * that view->last_port is of now; on_done follows within 300 ms. Does nothing,
 * with on_done at once, for others. */
void observer_refresh(struct observer *o, int family, uint64_t now);

/* family 4 or 6. Complete when observer_is_done. */
const struct nat_view *observer_view(const struct observer *o, int family);
bool observer_is_done(const struct observer *o, int family);

/* One STUN packet. True: it was an answer to a question of ours. */
bool observer_in(struct observer *o, uint64_t now, const struct dgram *d,
                 const struct stun_msg *m);
int observer_next(struct observer *o, uint64_t now, struct dgram *v, int max);
void observer_tick(struct observer *o, uint64_t now);
uint64_t observer_deadline(const struct observer *o);

#endif
