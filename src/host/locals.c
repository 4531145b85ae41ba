/* locals.c - from the interfaces' addresses to what others may try. */
#include "host/locals.h"

#include <stdlib.h>

enum { ADDRS_MAX = 256 };

/* Link-local v4 is given out where there is no network. */
static bool is_of_use(const struct net_addr *n) {
  const struct ztna_addr *a = &n->addr;
  if (n->tentative || ztna_addr_is_loopback(a) || ztna_addr_is_unspecified(a) ||
      ztna_addr_is_multicast(a))
    return false;
  return a->family == 6 || !ztna_addr_is_link_local(a);
}

/* The port of the first socket that hears at a; 0: none does. */
static uint16_t port_at(const struct udp *u, const struct ztna_addr *a) {
  for (int i = 0; i < udp_count(u); i++) {
    struct ztna_addr at = udp_local(u, i);
    if (at.family == a->family &&
        (ztna_addr_is_unspecified(&at) || ztna_addr_same_ip(&at, a)))
      return at.port;
  }
  return 0;
}

static int compare(const void *a, const void *b) {
  return ztna_addr_cmp(&((const struct ztna_local *)a)->addr,
                       &((const struct ztna_local *)b)->addr);
}

/* Machines have hundreds of addresses of one family and still need the other:
 * keeps the first of each, which are sorted by family. */
static size_t keep_half_each(struct ztna_local *to, const struct ztna_local *v,
                             size_t n) {
  size_t k = 0, of[2] = {0, 0};
  for (size_t i = 0; i < n; i++)
    if (of[v[i].addr.family == 6]++ < LOCALS_MAX / 2) to[k++] = v[i];
  return k;
}

size_t locals_of(struct ztna_local v[LOCALS_MAX], const struct udp *u,
                 const struct net_addr *all, size_t n) {
  struct ztna_local some[ADDRS_MAX];
  size_t k = 0;
  for (size_t i = 0; i < n && k < ADDRS_MAX; i++) {
    uint16_t port = is_of_use(&all[i]) ? port_at(u, &all[i].addr) : 0;
    if (port == 0) continue;
    some[k] = (struct ztna_local){all[i].addr, all[i].network};
    some[k++].addr.port = port;
  }
  qsort(some, k, sizeof(*some), compare);
  return keep_half_each(v, some, k);
}

size_t locals_list(struct ztna_local v[LOCALS_MAX], const struct udp *u,
                   int except) {
  struct net_addr all[ADDRS_MAX];
  struct net *net = net_new();
  int n = net ? net_addrs(net, except, all, ADDRS_MAX) : 0;
  net_free(net);
  return n > 0 ? locals_of(v, u, all, (size_t)n) : 0;
}
