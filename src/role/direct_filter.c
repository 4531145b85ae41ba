/* direct_filter.c - see direct_filter.h. */
#include "role/direct_filter.h"

#include <string.h>

struct range {
  uint8_t family, bits;
  uint8_t ip[6]; /* the first bytes, as many as bits cover */
};

/* Beside what ztna_addr_is_... know. */
static const struct range reserved[] = {
    {4, 8, {0}},                       /* this network (RFC 1122) */
    {4, 4, {240}},                     /* class E, broadcast */
    {6, 96, {0}},                      /* IPv4-compatible */
    {6, 32, {0x00, 0x64, 0xff, 0x9b}}, /* NAT64 (RFC 6052, RFC 8215) */
    {6, 32, {0x20, 0x01}},             /* Teredo */
    {6, 16, {0x20, 0x02}},             /* 6to4 */
};

static const struct range privates[] = {
    {4, 8, {10}},       {4, 12, {172, 16}}, {4, 16, {192, 168}},
    {4, 10, {100, 64}}, {6, 7, {0xfc}},     {6, 10, {0xfe, 0xc0}},
};

static bool is_in(const struct ztna_addr *a, const struct range *v, size_t n) {
  for (size_t i = 0; i < n; i++) {
    struct ztna_prefix p = {.addr.family = v[i].family, .bits = v[i].bits};

    memcpy(p.addr.ip, v[i].ip, sizeof(v[i].ip));
    if (ztna_prefix_has(&p, a)) return true;
  }
  return false;
}

#define IS_IN(a, v) is_in(a, v, sizeof(v) / sizeof(*(v)))

bool direct_filter_is_host(const struct ztna_addr *a) {
  return (a->family == 4 || a->family == 6) && a->port &&
         !ztna_addr_is_unspecified(a) && !ztna_addr_is_loopback(a) &&
         !ztna_addr_is_multicast(a) && !ztna_addr_is_link_local(a) &&
         !IS_IN(a, reserved);
}

bool direct_filter_is_private(const struct ztna_addr *a) {
  return IS_IN(a, privates);
}

/* All host bits set. IPv6 has no broadcast; of /31 and /32 every address is a
 * host's (RFC 3021). */
static bool is_broadcast(const struct ztna_prefix *p,
                         const struct ztna_addr *a) {
  if (a->family != 4 || p->bits > 30 || !ztna_prefix_has(p, a)) return false;
  for (unsigned i = p->bits; i < 32; i++)
    if (!(a->ip[i / 8] & 0x80 >> i % 8)) return false;
  return true;
}

/* All host bits zero: the old broadcast address, still taken as one by some. */
static bool is_network(const struct ztna_prefix *p, const struct ztna_addr *a) {
  return a->family == 4 && p->bits <= 30 && p->addr.family == 4 &&
         !memcmp(p->addr.ip, a->ip, 4);
}

bool direct_filter_passes(const struct outside *o, const struct ztna_addr *a) {
  bool is_near = false;

  if (!direct_filter_is_host(a)) return false;
  for (size_t i = 0; i < o->n_locals; i++) {
    const struct ztna_prefix *net = &o->locals[i].network;

    if (ztna_addr_same_ip(a, &o->locals[i].addr)) return false;
    if (!net->bits) continue; /* none: every address would be inside */
    if (is_broadcast(net, a) || is_network(net, a)) return false;
    if (ztna_prefix_has(net, a)) is_near = true;
  }
  for (size_t i = 0; i < o->n_networks; i++)
    if (ztna_prefix_has(&o->networks[i], a)) is_near = true;
  return is_near || !direct_filter_is_private(a);
}
