/* addr.h - IP addresses of both families, with port, and prefixes. */
#ifndef ZTNA_ADDR_H
#define ZTNA_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ZTNA_ADDR_STRLEN = 72 }; /* longest text with scope, brackets, port */

/* An address. v4 uses ip[0..3], the rest is zero, so that equal addresses are
 * equal bytes; a v4-mapped v6 address is always stored as v4. */
struct ztna_addr {
  uint16_t family; /* 0 none, 4 or 6; no padding behind it */
  uint16_t port;   /* host order, 0 when the address has none */
  uint8_t ip[16];
  uint32_t scope; /* interface index of a link-local v6 address, else 0 */
};

struct ztna_prefix {
  struct ztna_addr addr; /* host bits are zero */
  uint8_t bits;
};

/* An address of one of this machine's interfaces, and what is directly
 * connected there; the port is that of the UDP socket of its family. */
struct ztna_local {
  struct ztna_addr addr;
  struct ztna_prefix network;
};

/* Same family, address and port. Scope is compared for v6. */
bool ztna_addr_equal(const struct ztna_addr *a, const struct ztna_addr *b);
/* Same family, address and scope; ports may differ. */
bool ztna_addr_same_ip(const struct ztna_addr *a, const struct ztna_addr *b);
/* Total order, for sorting. */
int ztna_addr_cmp(const struct ztna_addr *a, const struct ztna_addr *b);

/* Make one from 4 or 16 bytes in network order. A v4-mapped v6 becomes v4; a
 * scope is kept only where it means something. */
struct ztna_addr ztna_addr_v4(const void *ip, uint16_t port);
struct ztna_addr ztna_addr_v6(const void *ip, uint16_t port, uint32_t scope);

/* "192.0.2.1", "2001:db8::1", "192.0.2.1:53", "[2001:db8::1]:53". The port is
 * optional; without one it is 0. "fe80::1%2": the scope is a number. No names.
 * 0 or ZTNA_EMALFORMED (and *a as it was). */
int ztna_addr_parse(struct ztna_addr *a, const char *text);
/* Writes what ztna_addr_parse reads; the port only when it is not 0; "-" for
 * family 0. Returns buf, which holds at least ZTNA_ADDR_STRLEN bytes. */
char *ztna_addr_print(const struct ztna_addr *a, char *buf);
/* The address without its port. */
char *ztna_addr_print_ip(const struct ztna_addr *a, char *buf);

/* "10.100.0.0/24", "fd5a:10::/64"; host bits must be zero. */
int ztna_prefix_parse(struct ztna_prefix *p, const char *text);
char *ztna_prefix_print(const struct ztna_prefix *p, char *buf);
bool ztna_prefix_has(const struct ztna_prefix *p, const struct ztna_addr *a);
bool ztna_prefix_overlaps(const struct ztna_prefix *a,
                          const struct ztna_prefix *b);

bool ztna_addr_is_loopback(const struct ztna_addr *a);
bool ztna_addr_is_multicast(const struct ztna_addr *a);
bool ztna_addr_is_link_local(const struct ztna_addr *a);
/* All bytes zero, whatever the family. */
bool ztna_addr_is_unspecified(const struct ztna_addr *a);

/* Network form: sockaddr_in or sockaddr_in6 in a sockaddr_storage-sized buffer.
 * Returns the length used, 0 for family 0. */
size_t ztna_addr_to_sockaddr(const struct ztna_addr *a, void *ss);
/* 0 or ZTNA_EINVAL for another family. */
int ztna_addr_from_sockaddr(struct ztna_addr *a, const void *ss);

#endif
