/* locals.h - the addresses of this machine under which others may reach a
 * role's UDP sockets. */
#ifndef ZTNA_HOST_LOCALS_H
#define ZTNA_HOST_LOCALS_H

#include "../../platform/net.h"
#include "host/udp.h"

enum { LOCALS_MAX = 32 }; /* half of them of each family */

/* Those of all interfaces that are up but of `except` (0: none), with the port
 * of the socket that hears there; sorted. Left out: loopback, unspecified,
 * multicast, link-local v4, tentative ones, and those where no socket of u
 * hears. Returns how many; 0 also when the system does not tell (logged). */
size_t locals_list(struct ztna_local v[LOCALS_MAX], const struct udp *u,
                   int except);

/* The same from what was listed. */
size_t locals_of(struct ztna_local v[LOCALS_MAX], const struct udp *u,
                 const struct net_addr *all, size_t n);

#endif
