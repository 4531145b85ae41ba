/* net.c - addresses and routes by rtnetlink. */
#include "../net.h"

#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <ztna/err.h>

#include "base/log.h"
#include "netlink.h"

enum {
  CLEAN_BATCH = 64,
  DELIVERY_NAPS = 400, /* of 0.25 ms */
};

struct net {
  int fd;
  bool has_v4, has_v6;
  bool v6_said;
};

/* --- life */

static bool family_works(int family) {
  int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  close(fd);
  return true;
}

/* New devices take their setting from "default". */
static bool v6_enabled(void) {
  char c = '0';
  int fd = open("/proc/sys/net/ipv6/conf/default/disable_ipv6",
                O_RDONLY | O_CLOEXEC);
  if (fd < 0) return family_works(AF_INET6);
  if (read(fd, &c, 1) < 0) c = '0';
  close(fd);
  return c == '0' && family_works(AF_INET6);
}

struct net *net_new(void) {
  struct net *n = calloc(1, sizeof(*n));
  if (!n) return NULL;
  n->fd = nl_open();
  if (n->fd < 0) {
    log_err("net: no rtnetlink: %s", strerror(-n->fd));
    free(n);
    return NULL;
  }
  n->has_v4 = family_works(AF_INET);
  n->has_v6 = v6_enabled();
  return n;
}

void net_free(struct net *n) {
  if (!n) return;
  close(n->fd);
  free(n);
}

bool net_has(const struct net *n, int family) {
  return family == 4 ? n->has_v4 : family == 6 && n->has_v6;
}

int net_ifindex(const char *name) { return (int)if_nametoindex(name); }

/* --- one change */

static int family_check(struct net *n, int family) {
  if (family != 4 && family != 6) return ZTNA_EINVAL;
  if (net_has(n, family)) return 0;
  if (family == 6 && !n->v6_said) {
    n->v6_said = true;
    log_warn("net: IPv6 is disabled on this machine (sysctl"
             " net.ipv6.conf.default.disable_ipv6), going on with IPv4 only");
  }
  return ZTNA_ENOENT;
}

static int change_failed(const char *what, const char *subject, int err) {
  switch (err) {
  case EPERM:
    log_err("net: may not %s %s; run as root or give the program"
            " CAP_NET_ADMIN",
            what, subject);
    return ZTNA_EPERM;
  case EEXIST:
    return ZTNA_EEXIST;
  case ESRCH:
  case ENODEV:
  case EADDRNOTAVAIL:
    return ZTNA_ENOENT;
  default:
    log_err("net: %s %s: %s", what, subject, strerror(err));
    return ZTNA_EIO;
  }
}

static uint8_t af_of(int family) { return family == 4 ? AF_INET : AF_INET6; }
static size_t ip_len(int family) { return family == 4 ? 4 : 16; }

static int addr_change(struct net *n, bool add, int ifindex,
                       const struct ztna_addr *a) {
  struct nl_msg m;
  char text[ZTNA_ADDR_STRLEN];
  int rc = family_check(n, a->family);
  if (rc < 0) return rc;

  size_t len = ip_len(a->family);
  struct ifaddrmsg fixed = {
      .ifa_family = af_of(a->family),
      .ifa_prefixlen = (uint8_t)(8 * len),
      .ifa_index = (uint32_t)ifindex,
  };
  nl_begin(&m, add ? RTM_NEWADDR : RTM_DELADDR,
           add ? NLM_F_CREATE | NLM_F_EXCL : 0, &fixed, sizeof(fixed));
  nl_put(&m, IFA_LOCAL, a->ip, len);
  nl_put(&m, IFA_ADDRESS, a->ip, len);
  /* No other machine can have it: usable at once. */
  if (add && a->family == 6)
    nl_put_u32(&m, IFA_FLAGS, IFA_F_NODAD | IFA_F_NOPREFIXROUTE);
  rc = nl_talk(n->fd, &m);
  if (rc == 0) return 0;
  return change_failed(add ? "add address" : "remove address",
                       ztna_addr_print_ip(a, text), -rc);
}

static void on_lookup(void *ctx, const struct nlmsghdr *h) {
  const struct rtmsg *r = NLMSG_DATA(h);
  if (h->nlmsg_type == RTM_NEWROUTE && r->rtm_type == RTN_LOCAL)
    *(bool *)ctx = true;
}

static bool is_delivered(struct net *n, const struct ztna_addr *a) {
  struct nl_msg m;
  struct rtmsg fixed = {.rtm_family = AF_INET6, .rtm_dst_len = 128};
  bool local = false;
  nl_begin(&m, RTM_GETROUTE, 0, &fixed, sizeof(fixed));
  nl_put(&m, RTA_DST, a->ip, 16);
  nl_ask(n->fd, &m, on_lookup, &local);
  return local;
}

/* Linux acknowledges a new IPv6 address before it delivers packets to it: the
 * local route is made by a work queue, NODAD or not, 2 to 4 ms later (seen on
 * 6.18). What came in meanwhile would be lost. */
static void wait_until_delivered(struct net *n, const struct ztna_addr *a) {
  struct timespec nap = {.tv_nsec = 250000};
  for (int i = 0; i < DELIVERY_NAPS && !is_delivered(n, a); i++)
    nanosleep(&nap, NULL);
}

int net_addr_add(struct net *n, int ifindex, const struct ztna_addr *a) {
  int rc = addr_change(n, true, ifindex, a);
  if (rc == 0 && a->family == 6) wait_until_delivered(n, a);
  return rc;
}

int net_addr_del(struct net *n, int ifindex, const struct ztna_addr *a) {
  return addr_change(n, false, ifindex, a);
}

static void route_begin(struct nl_msg *m, bool add, int ifindex,
                        const struct ztna_prefix *p) {
  int family = p->addr.family;
  struct rtmsg fixed = {
      .rtm_family = af_of(family),
      .rtm_dst_len = p->bits,
      .rtm_table = RT_TABLE_MAIN,
      .rtm_protocol = NET_ROUTE_PROTO,
      .rtm_scope = family == 4 ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE,
      .rtm_type = RTN_UNICAST,
  };
  nl_begin(m, add ? RTM_NEWROUTE : RTM_DELROUTE,
           add ? NLM_F_CREATE | NLM_F_EXCL : 0, &fixed, sizeof(fixed));
  nl_put(m, RTA_DST, p->addr.ip, ip_len(family));
  nl_put_u32(m, RTA_OIF, (uint32_t)ifindex);
}

int net_route_add(struct net *n, int ifindex, const struct ztna_prefix *p,
                  const struct ztna_addr *src) {
  struct nl_msg m;
  char text[ZTNA_ADDR_STRLEN + 8];
  int rc = family_check(n, p->addr.family);
  if (rc < 0) return rc;
  route_begin(&m, true, ifindex, p);
  if (src && src->family == p->addr.family)
    nl_put(&m, RTA_PREFSRC, src->ip, ip_len(src->family));
  rc = nl_talk(n->fd, &m);
  if (rc == 0) return 0;
  return change_failed("add route", ztna_prefix_print(p, text), -rc);
}

int net_route_del(struct net *n, int ifindex, const struct ztna_prefix *p) {
  struct nl_msg m;
  char text[ZTNA_ADDR_STRLEN + 8];
  int rc = family_check(n, p->addr.family);
  if (rc < 0) return rc;
  route_begin(&m, false, ifindex, p);
  rc = nl_talk(n->fd, &m);
  if (rc == 0) return 0;
  return change_failed("remove route", ztna_prefix_print(p, text), -rc);
}

/* --- leftovers */

struct leftovers {
  int ifindex;
  int n;
  struct ztna_prefix v[CLEAN_BATCH];
};

static void on_route(void *ctx, const struct nlmsghdr *h) {
  struct leftovers *l = ctx;
  const struct rtmsg *r = NLMSG_DATA(h);
  int family = r->rtm_family == AF_INET ? 4 : 6, oif = 0;
  uint8_t dst[16] = {0};
  if (h->nlmsg_type != RTM_NEWROUTE || r->rtm_protocol != NET_ROUTE_PROTO ||
      r->rtm_table != RT_TABLE_MAIN || l->n == CLEAN_BATCH)
    return;
  int left = (int)RTM_PAYLOAD(h);
  for (struct rtattr *a = RTM_RTA(r); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
    if (a->rta_type == RTA_OIF) memcpy(&oif, RTA_DATA(a), sizeof(oif));
    if (a->rta_type == RTA_DST) memcpy(dst, RTA_DATA(a), ip_len(family));
  }
  if (oif != l->ifindex) return;
  l->v[l->n].bits = r->rtm_dst_len;
  l->v[l->n++].addr =
      family == 4 ? ztna_addr_v4(dst, 0) : ztna_addr_v6(dst, 0, 0);
}

static int clean_routes(struct net *n, int family, int ifindex) {
  struct nl_msg m;
  struct leftovers l = {.ifindex = ifindex};
  struct rtmsg fixed = {.rtm_family = af_of(family)};
  int removed = 0;
  nl_begin(&m, RTM_GETROUTE, 0, &fixed, sizeof(fixed));
  if (nl_dump(n->fd, &m, on_route, &l) < 0) return 0;
  for (int i = 0; i < l.n; i++)
    if (net_route_del(n, ifindex, &l.v[i]) == 0) removed++;
  return removed;
}

static int clean_addrs(struct net *n, int ifindex) {
  struct ifaddrs *all;
  struct ztna_addr a;
  int removed = 0;
  if (getifaddrs(&all) < 0) return 0;
  for (struct ifaddrs *i = all; i; i = i->ifa_next)
    if (i->ifa_addr && net_ifindex(i->ifa_name) == ifindex &&
        ztna_addr_from_sockaddr(&a, i->ifa_addr) == 0 &&
        net_addr_del(n, ifindex, &a) == 0) /* as /32 or /128 */
      removed++;
  freeifaddrs(all);
  return removed;
}

int net_clean(struct net *n, int ifindex) {
  int removed = 0;
  for (int family = 4; family <= 6; family += 2) {
    int some = net_has(n, family) ? 1 : 0;
    while (some > 0) removed += some = clean_routes(n, family, ifindex);
  }
  return removed + clean_addrs(n, ifindex);
}

/* --- what the machine has */

static uint8_t mask_bits(const struct sockaddr *mask, int family) {
  const uint8_t *p =
      family == 4
          ? (const void *)&((const struct sockaddr_in *)mask)->sin_addr
          : (const void *)&((const struct sockaddr_in6 *)mask)->sin6_addr;
  uint8_t bits = 0;
  for (size_t i = 0; i < ip_len(family); i++)
    bits += (uint8_t)__builtin_popcount(p[i]);
  return bits;
}

static void clear_host_bits(struct ztna_prefix *p) {
  for (unsigned bit = p->bits; bit < 8 * ip_len(p->addr.family); bit++)
    p->addr.ip[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
}

/* False: not an IP address, or of a device that is down. */
static bool net_addr_from(struct net_addr *out, const struct ifaddrs *i) {
  if (!i->ifa_addr || !(i->ifa_flags & IFF_UP)) return false;
  if (ztna_addr_from_sockaddr(&out->addr, i->ifa_addr) < 0) return false;
  strncpy(out->ifname, i->ifa_name, NET_NAMELEN - 1);
  out->ifname[NET_NAMELEN - 1] = 0;
  out->ifindex = net_ifindex(out->ifname);
  out->tentative = false;
  out->network.addr = out->addr;
  /* A point-to-point link connects to the network of the other end. */
  if ((i->ifa_flags & IFF_POINTOPOINT) && i->ifa_dstaddr)
    ztna_addr_from_sockaddr(&out->network.addr, i->ifa_dstaddr);
  out->network.addr.scope = 0;
  out->network.bits = (uint8_t)(8 * ip_len(out->addr.family));
  if (i->ifa_netmask)
    out->network.bits = mask_bits(i->ifa_netmask, out->addr.family);
  clear_host_bits(&out->network);
  return true;
}

struct listed {
  struct net_addr *v;
  int n;
};

/* RFC 4862, 5.4: no packet leaves from it until nobody else claimed it. */
static void on_addr(void *ctx, const struct nlmsghdr *h) {
  const struct listed *l = ctx;
  const struct ifaddrmsg *m = NLMSG_DATA(h);
  bool optimistic = m->ifa_flags & IFA_F_OPTIMISTIC;
  if (h->nlmsg_type != RTM_NEWADDR || optimistic) return;
  if (!(m->ifa_flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED))) return;
  int left = (int)IFA_PAYLOAD(h);
  for (struct rtattr *a = IFA_RTA(m); RTA_OK(a, left); a = RTA_NEXT(a, left))
    for (int i = 0; a->rta_type == IFA_ADDRESS && i < l->n; i++)
      if (l->v[i].ifindex == (int)m->ifa_index && l->v[i].addr.family == 6 &&
          memcmp(l->v[i].addr.ip, RTA_DATA(a), 16) == 0)
        l->v[i].tentative = true;
}

/* getifaddrs does not tell. */
static void mark_tentative(struct net *n, struct net_addr *v, int k) {
  struct nl_msg m;
  struct listed l = {v, k};
  struct ifaddrmsg fixed = {.ifa_family = AF_INET6};
  nl_begin(&m, RTM_GETADDR, 0, &fixed, sizeof(fixed));
  nl_dump(n->fd, &m, on_addr, &l);
}

int net_addrs(struct net *n, int except, struct net_addr *v, int max) {
  struct ifaddrs *all;
  int k = 0;
  if (getifaddrs(&all) < 0) {
    log_err("net: list addresses: %s", strerror(errno));
    return ZTNA_EIO;
  }
  for (struct ifaddrs *i = all; i && k < max; i = i->ifa_next)
    if (net_addr_from(&v[k], i) && v[k].ifindex != except) k++;
  freeifaddrs(all);
  if (n->has_v6) mark_tentative(n, v, k);
  return k;
}

/* --- changes */

int net_watch_open(void) {
  struct sockaddr_nl self = {
      .nl_family = AF_NETLINK,
      .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR |
                   RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE,
  };
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
                  NETLINK_ROUTE);
  if (fd >= 0 && bind(fd, (struct sockaddr *)&self, sizeof(self)) == 0)
    return fd;
  log_warn("net: cannot watch for changes: %s", strerror(errno));
  if (fd >= 0) close(fd);
  return ZTNA_EIO;
}

/* Only default routes: others come and go, ours among them. */
static bool is_change(const struct nlmsghdr *h, int except) {
  const struct ifinfomsg *link = NLMSG_DATA(h);
  const struct ifaddrmsg *addr = NLMSG_DATA(h);
  const struct rtmsg *route = NLMSG_DATA(h);
  switch (h->nlmsg_type) {
  case RTM_NEWLINK: /* 0: statistics, wireless events and the like */
    return link->ifi_index != except && link->ifi_change != 0;
  case RTM_DELLINK:
    return link->ifi_index != except;
  case RTM_NEWADDR:
  case RTM_DELADDR:
    return (int)addr->ifa_index != except;
  case RTM_NEWROUTE:
  case RTM_DELROUTE:
    return route->rtm_dst_len == 0 && route->rtm_table == RT_TABLE_MAIN &&
           route->rtm_type == RTN_UNICAST;
  default:
    return false;
  }
}

bool net_watch_read(int fd, int except) {
  union {
    struct nlmsghdr align;
    uint8_t room[16384];
  } b;
  bool changed = false;
  for (;;) {
    ssize_t n = recv(fd, &b, sizeof(b), MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == ENOBUFS) changed = true; /* some were lost */
    if (n < 0 && errno == ENOBUFS) continue;
    if (n <= 0) return changed;
    int left = (int)n;
    for (const struct nlmsghdr *h = &b.align; NLMSG_OK(h, left);
         h = NLMSG_NEXT(h, left))
      changed |= is_change(h, except);
  }
}
