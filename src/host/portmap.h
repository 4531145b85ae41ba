/* portmap.h - asks the router for a port that leads to a role's IPv4 UDP
 * socket: by NAT-PMP (RFC 6886) and by UPnP IGD, both at once, each in a thread
 * of its own, since their libraries wait for routers. A router that is slow, or
 * has neither, delays nothing. Asked at the start, when the network changed,
 * and at half of a mapping's life; given back at the end.
 *
 * All of it takes NULL, which is a role that does not ask. */
#ifndef ZTNA_HOST_PORTMAP_H
#define ZTNA_HOST_PORTMAP_H

#include <jansson.h>

#include "host/loop.h"

enum {
  PORTMAP_MAX = 2,         /* mappings, one by each protocol */
  PORTMAP_STOP_AFTER = 300 /* ms to give them back */
};

struct portmap;

/* Told whenever the list became another one; n 0: none. In the role's turn. */
typedef void (*on_portmap)(void *ctx, uint64_t now, const struct ztna_addr *v,
                           size_t n);

/* For the first v4 socket of u that others can reach; both are lent. Begins to
 * ask. NULL: there is no such socket, or the system refused (logged). */
struct portmap *portmap_new(struct host_role *r, const struct udp *u,
                            on_portmap cb, void *ctx);
/* When the host is gone; threads that still wait end by themselves. */
void portmap_free(struct portmap *p);

void portmap_network_changed(struct portmap *p, uint64_t now);
void portmap_tick(struct portmap *p, uint64_t now);
uint64_t portmap_deadline(const struct portmap *p);

/* Gives back what there is. */
void portmap_stop(struct portmap *p, uint64_t now);
/* It is given back, or PORTMAP_STOP_AFTER is over. */
bool portmap_stopped(struct portmap *p);

/* {"state": "none" | "asking" | "mapped", "protocol", "outer", "why"}; members
 * that say nothing are not there. NULL: no memory. */
json_t *portmap_status(const struct portmap *p);

#endif
