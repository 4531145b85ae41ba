/* dgram.h - what crosses the line between core and sockets: one UDP datagram,
 * or a train of datagrams of one size that arrived (GRO) or leaves (GSO)
 * together.
 *
 * Who owns the bytes. In: lent to the core until it has been drained, that is
 * until `next` has returned 0 after the input (a relay forwards them from where
 * they are). Out: lent to the skin until the core is called again. */
#ifndef ZTNA_PUBLIC_DGRAM_H
#define ZTNA_PUBLIC_DGRAM_H

#include <ztna/addr.h>

enum {
  DGRAM_MAX_SEGS = 64,     /* kernels before 6.8 refuse more per GSO send */
  DGRAM_MAX_BYTES = 65000, /* below 65507, the most one UDP send takes */
};

struct dgram {
  struct ztna_addr remote; /* where it came from, or goes to */
  struct ztna_addr local;  /* where it arrived, or leaves from; family 0: any
                              address of the socket of remote's family */
  const uint8_t *data;
  uint32_t len; /* of all segments */
  uint16_t seg; /* size of each segment but the last; never 0 */
  uint8_t ecn;  /* the two ECN bits of RFC 3168 */
  uint8_t ttl;  /* out: hop limit of this packet; 0: the system's */
  /* 0: the socket bound to `local`, or that of remote's family. Else an extra
   * socket with a port of its own, for holes of their own in a NAT: it is
   * opened (one per family) by the first packet that leaves by it, and closed
   * by one with len 0, remote's family and seg 1. What arrives on it bears its
   * number. */
  uint16_t sock;
};

enum { DGRAM_SOCKS_MAX = 1024 }; /* numbers are below this */

#endif
