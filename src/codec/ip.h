/* ip.h - inner packets: IPv4 (RFC 791), IPv6 (RFC 8200), UDP (RFC 768), ICMP
 * (RFC 792), ICMPv6 (RFC 4443). Data plus pure functions; every byte that is
 * parsed may be an attack. */
#ifndef ZTNA_IP_H
#define ZTNA_IP_H

#include <stdbool.h>
#include <ztna/addr.h>

enum {
  IP_PROTO_ICMP = 1,
  IP_PROTO_TCP = 6,
  IP_PROTO_UDP = 17,
  IP_PROTO_ICMPV6 = 58,
  IP4_HEADER = 20,
  IP6_HEADER = 40,
  UDP_HEADER = 8,
  ICMP_HEADER = 8,
};

enum ip_kind {
  IP_OTHER, /* well-formed, nothing we carry */
  IP_UDP,
  IP_TCP,          /* flags are in tcp_flags */
  IP_ECHO_REQUEST, /* src.port is the echo identifier, dst.port 0 */
  IP_ECHO_REPLY,   /* dst.port is the echo identifier, src.port 0 */
  IP_ICMP_ERROR,   /* inner* describe the packet it is about */
  IP_FRAGMENT,     /* not the whole packet: reassemble first. Also an IPv6
                      packet whose fragment header says that it is whole */
};

/* One parsed packet; points into the bytes it was parsed from. */
struct ip_pkt {
  uint8_t version; /* 4 or 6 */
  uint8_t proto;   /* of the payload, after an IPv6 fragment header too */
  uint8_t tos;     /* DSCP and ECN */
  uint8_t ttl;
  enum ip_kind kind;
  struct ztna_addr src, dst; /* with ports for UDP and TCP */
  uint16_t len;              /* of the whole packet by its own header */
  uint16_t header_len;       /* up to the transport header */
  const uint8_t *payload;    /* UDP: its data; any ICMP: what is behind 8 bytes,
                                so an echo's data or the quoted packet as far as
                                it is there; else transport */
  uint16_t payload_len;
  uint16_t icmp_seq;
  uint8_t icmp_type, icmp_code;
  uint32_t icmp_mtu; /* of "fragmentation needed" / "packet too big" */
  uint8_t tcp_flags;
  bool df; /* IPv4 don't fragment */
  /* fragments */
  uint32_t frag_id;
  uint16_t frag_off; /* bytes */
  bool frag_more;
  /* ICMP errors: the quoted packet as far as it is there (8 bytes of transport
   * header at least). An error about extension headers, or about ICMP that is
   * no echo, has no such ports and is of kind IP_OTHER. */
  uint8_t inner_proto;
  struct ztna_addr inner_src, inner_dst; /* ports as for kind UDP/TCP/echo */
};

/* Judges lengths, the IPv4 header checksum, transport checksums (UDP, ICMP,
 * TCP not) of whole packets; len may exceed the packet's own length only by
 * nothing (trailing bytes are malformed). IPv6 extension headers other than
 * fragment are refused, and so are v4-mapped addresses in an IPv6 header and
 * packets past 65535 bytes. 0 or ZTNA_EMALFORMED (*p is then garbage). */
int ip_parse(struct ip_pkt *p, const uint8_t *data, size_t len);
/* The same for what this machine's kernel hands over before it is finished, a
 * super-packet or one whose checksum is only that of the pseudo header: UDP
 * checksums are not judged. */
int ip_parse_partial(struct ip_pkt *p, const uint8_t *data, size_t len);

/* Reads the ports, or an echo's identifier, that the first fragment of a packet
 * shows into src and dst, as ip_parse does for whole ones. False: it is none,
 * or shows none. */
bool ip_first_ports(struct ip_pkt *p);

/* The internet checksum (RFC 1071) of bytes, continued from sum (0 at first);
 * only the last piece may have an odd length. ip_checksum_finish makes it the
 * number to be stored big-endian; over bytes that include their checksum it
 * gives 0 when that is right. Written for speed: inner packets pass here. */
uint64_t ip_checksum_add(uint64_t sum, const void *data, size_t len);
uint16_t ip_checksum_finish(uint64_t sum);

/* Build into buf (room bytes). Each returns the packet's length or ZTNA_ESIZE.
 * Families of src and dst are equal. Payload may already lie in place
 * (payload == buf + header length): then it is not moved; else it may lie
 * anywhere, also across buf. */
int ip_build_udp(uint8_t *buf, size_t room, const struct ztna_addr *src,
                 const struct ztna_addr *dst, uint8_t tos,
                 const uint8_t *payload, size_t payload_len);
int ip_build_echo(uint8_t *buf, size_t room, const struct ztna_addr *src,
                  const struct ztna_addr *dst, bool reply, uint16_t id,
                  uint16_t seq, const uint8_t *payload, size_t payload_len);

/* The i-th (from 0) of the packets that a UDP super-packet stands for: size
 * payload bytes of it, or what is left, behind its headers with lengths, IPv4
 * identification and checksums made right. udp: as parsed, of kind IP_UDP; its
 * bytes are not changed, buf lies elsewhere. Returns the packet's length, 0
 * when there is no i-th, ZTNA_ESIZE. */
int ip_build_segment(uint8_t *buf, size_t room, const struct ip_pkt *udp,
                     size_t size, size_t i);

enum ip_error {
  IP_ERR_PORT,       /* port unreachable */
  IP_ERR_HOST,       /* host / address unreachable */
  IP_ERR_NET,        /* network / no route */
  IP_ERR_PROHIBITED, /* communication administratively prohibited */
  IP_ERR_TOO_BIG,    /* fragmentation needed (DF set) / packet too big; mtu */
  IP_ERR_PROTOCOL,   /* protocol unreachable / unrecognized next header */
  IP_ERR_REASS_TIME, /* fragment reassembly time exceeded */
};
/* An ICMP error about `about` (a whole packet of about_len bytes, as its sender
 * sent it), from `from` to about's source: quotes as much as RFC 1812 4.3.2.3
 * (576 bytes) or RFC 4443 2.4 (1280) allow, or ZTNA_ESIZE when room is less.
 * from's family is about's. Returns 0 when none may be sent: about an ICMP
 * error, a fragment other than the first, to or from an address that is no
 * unicast, or about bytes that are no packet. buf may overlap about. It is for
 * the caller to know that DF was set before it says IP_ERR_TOO_BIG. */
int ip_build_error(uint8_t *buf, size_t room, const struct ztna_addr *from,
                   enum ip_error err, uint32_t mtu, const uint8_t *about,
                   size_t about_len);

/* Sets the two ECN bits to CE (RFC 3168) and mends the checksum. True when the
 * packet was ECN capable (ECT or CE), so that it need not be dropped. */
bool ip_mark_ce(uint8_t *pkt, size_t len);

/* A hash of the packet's 5-tuple for fair queueing; 0 for what has none. Fast,
 * never fails; does not judge the packet. */
uint32_t ip_flow_hash(const uint8_t *pkt, size_t len, const uint64_t key[2]);

#endif
