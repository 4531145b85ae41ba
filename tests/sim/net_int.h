/* net_int.h - what net.c and net_way.c share: packets under way. */
#ifndef ZTNA_TESTS_NET_INT_H
#define ZTNA_TESTS_NET_INT_H

#include "sim/net.h"

struct event {
  struct heap_node node;
  void (*fn)(void *ud, uint64_t arg); /* NULL: a packet */
  void *ud;
  uint64_t arg;
  /* A packet is in a LAN or the core (lan; NULL: the core), or at the end of a
   * line: at a host or a box. */
  struct vnet_host *at_host, *from_host;
  struct vnet_nat *at_box, *lan;
  bool between; /* in the LAN or the core; the next line is still to come */
  bool inwards; /* it came in through a box: it does not go out again */
  bool routed;  /* the core has taken its hop */
  struct ztna_addr from, to;
  uint8_t ecn, ttl;
  size_t len;
  uint8_t data[]; /* its own allocation: a read past it is seen */
};

/* A packet of so many bytes, nowhere yet. */
struct event *net_event_new(size_t len);
void net_event_at(struct vnet *n, struct event *e, uint64_t at);

/* Out over a line, from now; returns when it is at its end, NEVER when it is
 * lost. */
uint64_t net_leave(struct vnet *n, struct event *e, struct vnet_line *l);
/* A packet is in its LAN, or in the core, at this time; from there to where
 * somebody gets it or it has to wait. False: it goes no further. */
bool net_travel(struct vnet *n, struct event *e, uint64_t at);
/* The same from the outside of the box where it is. */
bool net_enter(struct vnet *n, struct event *e);
/* Into the hands of who has this address in the core. */
void net_place(struct vnet *n, struct event *e);
/* Its sender's last look at it. */
void net_see(struct vnet *n, const struct event *e);

#endif
