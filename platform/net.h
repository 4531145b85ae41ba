/* net.h - addresses and routes of this machine, without calling commands.
 * What is added here hangs on a TUN device and disappears with it; routes bear
 * our protocol number, so that a person sees whose they are. */
#ifndef ZTNA_PLATFORM_NET_H
#define ZTNA_PLATFORM_NET_H

#include <stdbool.h>
#include <ztna/addr.h>

enum {
  /* Shown by `ip route` as "proto 217". Not used by the kernel, iproute2 or
   * FRR (whose BGP is 186). */
  NET_ROUTE_PROTO = 217,
  NET_NAMELEN = 16,
};

/* An address of an interface of this machine. */
struct net_addr {
  struct ztna_addr addr;      /* port 0 */
  struct ztna_prefix network; /* what is directly connected through it */
  bool tentative;             /* v6: perhaps, or certainly, another's, too */
  int ifindex;
  char ifname[NET_NAMELEN];
};

struct net;

/* NULL: the system refused (logged). */
struct net *net_new(void);
void net_free(struct net *n); /* NULL is fine */

/* Whether the machine speaks the family at all. When IPv6 is disabled, the
 * calls below return ZTNA_ENOENT for it and say so once. */
bool net_has(const struct net *n, int family);

/* Each returns 0, ZTNA_EPERM (CAP_NET_ADMIN is missing), ZTNA_EEXIST (the
 * address or route is there already), ZTNA_ENOENT (nothing to delete, no such
 * device or family), ZTNA_EIO; unexpected ones are logged. */

/* Adds a as a host address (/32 or /128, no DAD). The device must be up;
 * packets to the address are delivered when this returns, for which it may wait
 * a few milliseconds with IPv6 (100 at most). */
int net_addr_add(struct net *n, int ifindex, const struct ztna_addr *a);
int net_addr_del(struct net *n, int ifindex, const struct ztna_addr *a);
/* Sends what goes to p into the device, from src (family 0: kernel's choice).
 * The device must be up. */
int net_route_add(struct net *n, int ifindex, const struct ztna_prefix *p,
                  const struct ztna_addr *src);
int net_route_del(struct net *n, int ifindex, const struct ztna_prefix *p);

/* Addresses of all interfaces that are up, loopback too, except ifindex
 * `except` (0: none). Fills v, returns how many, at most max, or ZTNA_EIO. */
int net_addrs(struct net *n, int except, struct net_addr *v, int max);

/* Removes what a killed run left on a TUN that we hold: routes that bear our
 * number and host addresses. Only a device that someone made persistent has
 * such; ours vanish with their process. Returns how many. */
int net_clean(struct net *n, int ifindex);

/* Index of a device, 0 when there is none. */
int net_ifindex(const char *name);

/* A descriptor that becomes readable when addresses, links or default routes
 * change, or ZTNA_EIO. */
int net_watch_open(void);
/* Empties it. True when something changed on a device other than `except`. */
bool net_watch_read(int fd, int except);

#endif
