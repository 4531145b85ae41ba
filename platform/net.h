/* net.h - addresses and routes of this machine, without calling commands.
 * What is added here hangs on a TUN device and disappears with it; routes bear
 * our protocol number, so that a person sees whose they are and leftovers on a
 * device that is not ours can be found. */
#ifndef ZTNA_PLATFORM_NET_H
#define ZTNA_PLATFORM_NET_H

#include <stdbool.h>
#include <ztna/addr.h>

enum {
  NET_ROUTE_PROTO = 186, /* shown by `ip route` as "proto 186" */
  NET_NAMELEN = 16,
};

/* An address of an interface of this machine. */
struct net_addr {
  struct ztna_addr addr;      /* port 0 */
  struct ztna_prefix network; /* what is directly connected through it */
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

/* Adds a as a host address (/32 or /128, usable at once: no DAD). */
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

/* Removes routes that bear our number on device ifindex, or on any device when
 * it is 0 (only for a name that no living process uses). Returns how many. */
int net_clean(struct net *n, int ifindex);

/* Index of a device, 0 when there is none. */
int net_ifindex(const char *name);

/* A descriptor that becomes readable when addresses, links or default routes
 * change, or ZTNA_EIO. */
int net_watch_open(void);
/* Empties it. True when something changed on a device other than `except`. */
bool net_watch_read(int fd, int except);

#endif
