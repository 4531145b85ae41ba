/* ip_wire.h - what the files behind ip.h share: fields in network order, and
 * the header in front of every inner packet. */
#ifndef ZTNA_IP_WIRE_H
#define ZTNA_IP_WIRE_H

#include "codec/ip.h"

enum {
  IP6_FRAGMENT_HEADER = 8,
  IP_PROTO_HOPOPTS = 0, /* IPv6 extension headers */
  IP_PROTO_ROUTING = 43,
  IP_PROTO_FRAGMENT = 44,
  IP_PROTO_ESP = 50,
  IP_PROTO_AH = 51,
  IP_PROTO_DSTOPTS = 60,
  IP_PROTO_MOBILITY = 135,
  IP_PROTO_HIP = 139,
  IP_PROTO_SHIM6 = 140,

  ICMP_ECHO_REPLY = 0,
  ICMP_UNREACHABLE = 3,
  ICMP_SOURCE_QUENCH = 4,
  ICMP_REDIRECT = 5,
  ICMP_ECHO_REQUEST = 8,
  ICMP_TIME_EXCEEDED = 11,
  ICMP_PARAMETER_PROBLEM = 12,
  ICMP_CODE_FRAGMENTATION_NEEDED = 4,

  ICMP6_UNREACHABLE = 1,
  ICMP6_TOO_BIG = 2,
  ICMP6_TIME_EXCEEDED = 3,
  ICMP6_PARAMETER_PROBLEM = 4,
  ICMP6_ECHO_REQUEST = 128,
  ICMP6_ECHO_REPLY = 129,
  ICMP6_REDIRECT = 137,
};

static inline uint16_t get16(const uint8_t *p) {
  return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t get32(const uint8_t *p) {
  return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static inline void put16(uint8_t *p, uint32_t v) {
  p[0] = (uint8_t)(v >> 8);
  p[1] = (uint8_t)v;
}

static inline void put32(uint8_t *p, uint32_t v) {
  put16(p, v >> 16);
  put16(p + 2, v);
}

/* Reads the IPv4 header, or the IPv6 header and a fragment header right behind
 * it: everything of *p up to header_len, ports 0, kind IP_FRAGMENT or IP_OTHER.
 * p->len is what the header says and may be more or less than len; the header
 * checksum is not judged, since quoted headers may have lost theirs. False:
 * these headers are not whole or make no sense. */
bool ip_read_header(struct ip_pkt *p, const uint8_t *data, size_t len);

/* The sum over the pseudo header of a packet with this transport. */
uint64_t ip_pseudo_sum(const uint8_t *pkt, uint8_t proto, size_t transport_len);

#endif
