/* ip_frag.h - cutting a whole inner packet into fragments (RFC 791 3.2, RFC
 * 8200 4.5), for answers larger than the tunnel's MTU. */
#ifndef ZTNA_IP_FRAG_H
#define ZTNA_IP_FRAG_H

#include <stddef.h>
#include <stdint.h>

struct ip_cut {
  const uint8_t *pkt;
  size_t len, mtu;
  uint32_t id; /* of all fragments of this packet */
  size_t off;  /* payload bytes given so far; start with 0 */
};

/* Writes the next fragment, at most mtu bytes (68 for v4, 1280 for v6 at
 * least); returns its length, 0 when all was given. pkt is a well-formed packet
 * with a payload, without IPv4 options and fragment fields, such as ip_build_
 * functions make. */
size_t ip_cut_next(struct ip_cut *c, uint8_t *to);

#endif
