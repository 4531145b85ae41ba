/* ip.c - parses inner packets, see ip.h. Each byte may be an attack, so every
 * length is judged where it is read, and what two programs could read in two
 * ways is malformed. */
#include "codec/ip.h"

#include <string.h>
#include <ztna/err.h>

#include "codec/ip_wire.h"

enum {
  IP4_RESERVED = 0x8000,
  IP4_DF = 0x4000,
  IP4_MF = 0x2000,
  IP4_OFFSET = 0x1fff, /* in units of 8 bytes */
  IP6_MORE = 1,
  TCP_MIN_HEADER = 20,
  QUOTED_TRANSPORT = 8, /* what RFC 792 grants behind the quoted header */
};

/* --- headers */

static bool read_header4(struct ip_pkt *p, const uint8_t *d, size_t len) {
  if (len < IP4_HEADER) return false;
  p->version = 4;
  p->header_len = (uint16_t)((d[0] & 15) * 4);
  p->tos = d[1];
  p->len = get16(d + 2);
  p->ttl = d[8];
  p->proto = d[9];
  p->src = ztna_addr_v4(d + 12, 0);
  p->dst = ztna_addr_v4(d + 16, 0);
  uint16_t frag = get16(d + 6);
  p->df = frag & IP4_DF;
  p->frag_id = get16(d + 4);
  p->frag_more = frag & IP4_MF;
  p->frag_off = (uint16_t)((frag & IP4_OFFSET) * 8);
  if (p->frag_more || p->frag_off) p->kind = IP_FRAGMENT;
  return p->header_len >= IP4_HEADER && p->header_len <= len &&
         p->len >= p->header_len && !(frag & IP4_RESERVED);
}

static bool read_header6(struct ip_pkt *p, const uint8_t *d, size_t len) {
  if (len < IP6_HEADER) return false;
  p->version = 6;
  p->header_len = IP6_HEADER;
  p->tos = (uint8_t)(d[0] << 4 | d[1] >> 4);
  uint32_t total = IP6_HEADER + (uint32_t)get16(d + 4);
  p->len = (uint16_t)total;
  p->proto = d[6];
  p->ttl = d[7];
  p->src = ztna_addr_v6(d + 8, 0, 0);
  p->dst = ztna_addr_v6(d + 24, 0, 0);
  /* A v4-mapped address here would be taken for the v4 address by every check
   * that follows. */
  if (p->src.family != 6 || p->dst.family != 6) return false;
  if (total > UINT16_MAX) return false;
  if (p->proto != IP_PROTO_FRAGMENT) return true;

  p->kind = IP_FRAGMENT;
  p->header_len += IP6_FRAGMENT_HEADER;
  if (len < p->header_len || total < p->header_len) return false;
  uint16_t frag = get16(d + 42);
  p->proto = d[40];
  p->frag_more = frag & IP6_MORE;
  p->frag_off = frag & ~7;
  p->frag_id = get32(d + 44);
  return true;
}

bool ip_read_header(struct ip_pkt *p, const uint8_t *data, size_t len) {
  *p = (struct ip_pkt){0};
  if (!len) return false;
  switch (data[0] >> 4) {
  case 4:
    return read_header4(p, data, len);
  case 6:
    return read_header6(p, data, len);
  }
  return false;
}

static bool is_extension(const struct ip_pkt *p) {
  if (p->version != 6) return false;
  switch (p->proto) {
  case IP_PROTO_HOPOPTS:
  case IP_PROTO_ROUTING:
  case IP_PROTO_FRAGMENT:
  case IP_PROTO_ESP:
  case IP_PROTO_AH:
  case IP_PROTO_DSTOPTS:
  case IP_PROTO_MOBILITY:
  case IP_PROTO_HIP:
  case IP_PROTO_SHIM6:
    return true;
  }
  return false;
}

/* --- what is behind them; each returns whether it is well-formed */

static bool sum_is_right(const struct ip_pkt *p, const uint8_t *data) {
  bool pseudo = !(p->version == 4 && p->proto == IP_PROTO_ICMP);
  uint64_t sum = pseudo ? ip_pseudo_sum(data, p->proto, p->payload_len) : 0;
  return ip_checksum_finish(ip_checksum_add(sum, p->payload, p->payload_len)) ==
         0;
}

static void skip(struct ip_pkt *p, uint16_t n) {
  p->payload += n;
  p->payload_len = (uint16_t)(p->payload_len - n);
}

static bool parse_fragment(const struct ip_pkt *p) {
  if (!p->payload_len || (p->frag_more && p->payload_len % 8)) return false;
  /* The fragment header is not part of the whole packet. */
  uint32_t header = p->version == 4 ? p->header_len : IP6_HEADER;
  return header + p->frag_off + p->payload_len <= UINT16_MAX;
}

static bool udp_sum_is_right(const struct ip_pkt *p, const uint8_t *data) {
  if (get16(p->payload + 6)) return sum_is_right(p, data);
  return p->version == 4; /* RFC 8200, 8.1 */
}

static bool parse_udp(struct ip_pkt *p, const uint8_t *data, bool partial) {
  const uint8_t *t = p->payload;
  if (p->payload_len < UDP_HEADER || get16(t + 4) != p->payload_len)
    return false;
  if (!partial && !udp_sum_is_right(p, data)) return false;
  p->kind = IP_UDP;
  p->src.port = get16(t);
  p->dst.port = get16(t + 2);
  skip(p, UDP_HEADER);
  return true;
}

static bool parse_tcp(struct ip_pkt *p) {
  const uint8_t *t = p->payload;
  if (p->payload_len < TCP_MIN_HEADER) return false;
  unsigned header = (unsigned)(t[12] >> 4) * 4;
  if (header < TCP_MIN_HEADER || header > p->payload_len) return false;
  p->kind = IP_TCP;
  p->src.port = get16(t);
  p->dst.port = get16(t + 2);
  p->tcp_flags = t[13];
  return true;
}

static uint8_t icmp_of(uint8_t version) {
  return version == 4 ? IP_PROTO_ICMP : IP_PROTO_ICMPV6;
}

/* Ports of a whole or quoted transport header of 8 bytes at least; false when
 * the protocol has them but this packet has not. */
static bool read_ports(uint8_t version, uint8_t proto, const uint8_t *t,
                       struct ztna_addr *src, struct ztna_addr *dst) {
  if (proto == IP_PROTO_UDP || proto == IP_PROTO_TCP) {
    src->port = get16(t);
    dst->port = get16(t + 2);
    return true;
  }
  if (proto != icmp_of(version)) return true;
  if (t[1] != 0) return false;
  if (t[0] == (version == 4 ? ICMP_ECHO_REQUEST : ICMP6_ECHO_REQUEST))
    src->port = get16(t + 4);
  else if (t[0] == (version == 4 ? ICMP_ECHO_REPLY : ICMP6_ECHO_REPLY))
    dst->port = get16(t + 4);
  else
    return false;
  return true;
}

static bool has_8_bytes(const struct ip_pkt *p) {
  return p->proto == IP_PROTO_UDP || p->proto == IP_PROTO_TCP ||
         p->proto == icmp_of(p->version);
}

bool ip_first_ports(struct ip_pkt *p) {
  return p->kind == IP_FRAGMENT && !p->frag_off && has_8_bytes(p) &&
         p->payload_len >= QUOTED_TRANSPORT &&
         read_ports(p->version, p->proto, p->payload, &p->src, &p->dst);
}

/* The packet that an ICMP error quotes: whole, or cut after 8 bytes of its
 * transport at the earliest. Routers change headers before they quote them, so
 * its checksums are not judged. */
static bool parse_quote(struct ip_pkt *p) {
  struct ip_pkt in;
  if (!ip_read_header(&in, p->payload, p->payload_len)) return false;
  if (in.version != p->version || in.frag_off) return false;
  if (p->payload_len > in.len) p->payload_len = in.len; /* RFC 4884 behind it */

  size_t transport = (size_t)(p->payload_len - in.header_len);
  bool cut = p->payload_len < in.len;
  p->inner_proto = in.proto;
  p->inner_src = in.src;
  p->inner_dst = in.dst;
  if (is_extension(&in)) return true;
  if (transport < QUOTED_TRANSPORT) /* all of a short packet or fragment */
    return !cut && (in.kind == IP_FRAGMENT || !has_8_bytes(&in));
  if (read_ports(in.version, in.proto, p->payload + in.header_len,
                 &p->inner_src, &p->inner_dst))
    p->kind = IP_ICMP_ERROR;
  return true;
}

static bool parse_icmp4(struct ip_pkt *p, const uint8_t *t) {
  switch (p->icmp_type) {
  case ICMP_UNREACHABLE:
    if (p->icmp_code == ICMP_CODE_FRAGMENTATION_NEEDED)
      p->icmp_mtu = get16(t + 6);
    return parse_quote(p);
  case ICMP_TIME_EXCEEDED:
  case ICMP_PARAMETER_PROBLEM:
    return parse_quote(p);
  case ICMP_ECHO_REQUEST:
    p->kind = IP_ECHO_REQUEST;
    return true;
  case ICMP_ECHO_REPLY:
    p->kind = IP_ECHO_REPLY;
    return true;
  }
  return true;
}

static bool parse_icmp6(struct ip_pkt *p, const uint8_t *t) {
  switch (p->icmp_type) {
  case ICMP6_TOO_BIG:
    p->icmp_mtu = get32(t + 4);
    return parse_quote(p);
  case ICMP6_UNREACHABLE:
  case ICMP6_TIME_EXCEEDED:
  case ICMP6_PARAMETER_PROBLEM:
    return parse_quote(p);
  case ICMP6_ECHO_REQUEST:
    p->kind = IP_ECHO_REQUEST;
    return true;
  case ICMP6_ECHO_REPLY:
    p->kind = IP_ECHO_REPLY;
    return true;
  }
  return true;
}

static bool parse_icmp(struct ip_pkt *p, const uint8_t *data) {
  const uint8_t *t = p->payload;
  if (p->payload_len < ICMP_HEADER || !sum_is_right(p, data)) return false;
  p->icmp_type = t[0];
  p->icmp_code = t[1];
  skip(p, ICMP_HEADER);
  if (!(p->version == 4 ? parse_icmp4(p, t) : parse_icmp6(p, t))) return false;

  if (p->kind != IP_ECHO_REQUEST && p->kind != IP_ECHO_REPLY) return true;
  if (!read_ports(p->version, p->proto, t, &p->src, &p->dst))
    p->kind = IP_OTHER; /* its code is not 0 */
  p->icmp_seq = get16(t + 6);
  return true;
}

static bool parse_payload(struct ip_pkt *p, const uint8_t *data, bool partial) {
  if (is_extension(p)) return false;
  if (p->kind == IP_FRAGMENT) return parse_fragment(p);
  switch (p->proto) {
  case IP_PROTO_UDP:
    return parse_udp(p, data, partial);
  case IP_PROTO_TCP:
    return parse_tcp(p);
  case IP_PROTO_ICMP:
    return p->version == 6 || parse_icmp(p, data);
  case IP_PROTO_ICMPV6:
    return p->version == 4 || parse_icmp(p, data);
  }
  return true;
}

static int parse(struct ip_pkt *p, const uint8_t *data, size_t len,
                 bool partial) {
  if (!ip_read_header(p, data, len) || p->len != len) return ZTNA_EMALFORMED;
  if (p->version == 4 &&
      ip_checksum_finish(ip_checksum_add(0, data, p->header_len)) != 0)
    return ZTNA_EMALFORMED;
  p->payload = data + p->header_len;
  p->payload_len = (uint16_t)(p->len - p->header_len);
  return parse_payload(p, data, partial) ? 0 : ZTNA_EMALFORMED;
}

int ip_parse(struct ip_pkt *p, const uint8_t *data, size_t len) {
  return parse(p, data, len, false);
}

int ip_parse_partial(struct ip_pkt *p, const uint8_t *data, size_t len) {
  return parse(p, data, len, true);
}
