/* ip_build.c - builds inner packets, see ip.h. */
#include <assert.h>
#include <string.h>
#include <ztna/err.h>

#include "codec/ip_wire.h"

enum {
  TTL = 64,
  TOS_ERROR = 0xc0,  /* ICMP errors: precedence 6 (RFC 1812, 4.3.2.5) */
  ERROR_MAX_4 = 576, /* RFC 1812, 4.3.2.3 */
  ERROR_MAX_6 = 1280,
};

static size_t header_len(uint8_t family) {
  return family == 4 ? IP4_HEADER : IP6_HEADER;
}

/* --- headers */

/* Don't fragment, so that the identification may be 0 (RFC 6864, 4.1). */
static void put_header4(uint8_t *b, const struct ztna_addr *src,
                        const struct ztna_addr *dst, uint8_t proto, uint8_t tos,
                        size_t total) {
  memset(b, 0, IP4_HEADER);
  b[0] = 0x45;
  b[1] = tos;
  put16(b + 2, (uint32_t)total);
  b[6] = 0x40;
  b[8] = TTL;
  b[9] = proto;
  memcpy(b + 12, src->ip, 4);
  memcpy(b + 16, dst->ip, 4);
  put16(b + 10, ip_checksum_finish(ip_checksum_add(0, b, IP4_HEADER)));
}

static void put_header6(uint8_t *b, const struct ztna_addr *src,
                        const struct ztna_addr *dst, uint8_t proto, uint8_t tos,
                        size_t total) {
  put32(b, 6u << 28 | (uint32_t)tos << 20);
  put16(b + 4, (uint32_t)(total - IP6_HEADER));
  b[6] = proto;
  b[7] = TTL;
  memcpy(b + 8, src->ip, 16);
  memcpy(b + 24, dst->ip, 16);
}

static void put_header(uint8_t *b, const struct ztna_addr *src,
                       const struct ztna_addr *dst, uint8_t proto, uint8_t tos,
                       size_t total) {
  if (src->family == 4)
    put_header4(b, src, dst, proto, tos, total);
  else
    put_header6(b, src, dst, proto, tos, total);
}

/* The packet is complete but for the checksum, at this offset of it. */
static void put_transport_sum(uint8_t *b, size_t total, uint8_t proto,
                              size_t at) {
  size_t header = header_len(b[0] >> 4);
  put16(b + at, 0);
  uint64_t sum =
      proto == IP_PROTO_ICMP ? 0 : ip_pseudo_sum(b, proto, total - header);
  put16(b + at,
        ip_checksum_finish(ip_checksum_add(sum, b + header, total - header)));
}

/* Moves the payload to where it belongs; the packet's length or ZTNA_ESIZE. */
static int take_payload(uint8_t *buf, size_t room, size_t headers,
                        const uint8_t *payload, size_t payload_len) {
  if (payload_len > UINT16_MAX - headers || headers + payload_len > room)
    return ZTNA_ESIZE;
  if (payload_len && payload != buf + headers)
    memmove(buf + headers, payload, payload_len);
  return (int)(headers + payload_len);
}

static bool are_a_pair(const struct ztna_addr *a, const struct ztna_addr *b) {
  return a->family == b->family && (a->family == 4 || a->family == 6);
}

/* --- UDP and echo */

int ip_build_udp(uint8_t *buf, size_t room, const struct ztna_addr *src,
                 const struct ztna_addr *dst, uint8_t tos,
                 const uint8_t *payload, size_t payload_len) {
  assert(are_a_pair(src, dst));
  size_t at = header_len((uint8_t)src->family);
  int total = take_payload(buf, room, at + UDP_HEADER, payload, payload_len);
  if (total < 0) return total;
  uint8_t *udp = buf + at;
  put_header(buf, src, dst, IP_PROTO_UDP, tos, (size_t)total);
  put16(udp, src->port);
  put16(udp + 2, dst->port);
  put16(udp + 4, (uint32_t)((size_t)total - at));
  put_transport_sum(buf, (size_t)total, IP_PROTO_UDP, at + 6);
  if (!get16(udp + 6)) put16(udp + 6, 0xffff); /* 0 means none (RFC 768) */
  return total;
}

int ip_build_echo(uint8_t *buf, size_t room, const struct ztna_addr *src,
                  const struct ztna_addr *dst, bool reply, uint16_t id,
                  uint16_t seq, const uint8_t *payload, size_t payload_len) {
  assert(are_a_pair(src, dst));
  bool v4 = src->family == 4;
  size_t at = header_len((uint8_t)src->family);
  int total = take_payload(buf, room, at + ICMP_HEADER, payload, payload_len);
  if (total < 0) return total;
  uint8_t proto = v4 ? IP_PROTO_ICMP : IP_PROTO_ICMPV6, *icmp = buf + at;
  put_header(buf, src, dst, proto, 0, (size_t)total);
  if (v4)
    icmp[0] = reply ? ICMP_ECHO_REPLY : ICMP_ECHO_REQUEST;
  else
    icmp[0] = reply ? ICMP6_ECHO_REPLY : ICMP6_ECHO_REQUEST;
  icmp[1] = 0;
  put16(icmp + 4, id);
  put16(icmp + 6, seq);
  put_transport_sum(buf, (size_t)total, proto, at + 2);
  return total;
}

/* --- errors */

struct icmp_code {
  uint8_t type, code;
};

static const struct icmp_code errors4[] = {
    [IP_ERR_PORT] = {ICMP_UNREACHABLE, 3},
    [IP_ERR_HOST] = {ICMP_UNREACHABLE, 1},
    [IP_ERR_NET] = {ICMP_UNREACHABLE, 0},
    [IP_ERR_PROHIBITED] = {ICMP_UNREACHABLE, 13},
    [IP_ERR_TOO_BIG] = {ICMP_UNREACHABLE, ICMP_CODE_FRAGMENTATION_NEEDED},
    [IP_ERR_PROTOCOL] = {ICMP_UNREACHABLE, 2},
    [IP_ERR_REASS_TIME] = {ICMP_TIME_EXCEEDED, 1},
};

static const struct icmp_code errors6[] = {
    [IP_ERR_PORT] = {ICMP6_UNREACHABLE, 4},
    [IP_ERR_HOST] = {ICMP6_UNREACHABLE, 3},
    [IP_ERR_NET] = {ICMP6_UNREACHABLE, 0},
    [IP_ERR_PROHIBITED] = {ICMP6_UNREACHABLE, 1},
    [IP_ERR_TOO_BIG] = {ICMP6_TOO_BIG, 0},
    [IP_ERR_PROTOCOL] = {ICMP6_PARAMETER_PROBLEM, 1},
    [IP_ERR_REASS_TIME] = {ICMP6_TIME_EXCEEDED, 1},
};

static bool is_unicast(const struct ztna_addr *a) {
  if (a->family == 4 && a->ip[0] >= 240) return false; /* class E, broadcast */
  return !ztna_addr_is_unspecified(a) && !ztna_addr_is_multicast(a);
}

static bool is_error_type(uint8_t version, uint8_t type) {
  if (version == 6) return type < ICMP6_ECHO_REQUEST || type == ICMP6_REDIRECT;
  return type == ICMP_UNREACHABLE || type == ICMP_SOURCE_QUENCH ||
         type == ICMP_REDIRECT || type == ICMP_TIME_EXCEEDED ||
         type == ICMP_PARAMETER_PROBLEM;
}

/* Extension headers are walked, lest two programs answer each other's errors
 * about errors behind them for ever. What ends before its type can be seen is
 * taken for an error. */
static bool is_icmp_error(const struct ip_pkt *p, const uint8_t *d) {
  size_t at = p->header_len, len = p->len;
  uint8_t proto = p->proto;
  while (p->version == 6 &&
         (proto == IP_PROTO_HOPOPTS || proto == IP_PROTO_ROUTING ||
          proto == IP_PROTO_DSTOPTS || proto == IP_PROTO_FRAGMENT)) {
    if (len - at < 8) return true;
    size_t n = proto == IP_PROTO_FRAGMENT ? 8 : ((size_t)d[at + 1] + 1) * 8;
    /* Behind a later fragment nobody knows what lies. */
    if (proto == IP_PROTO_FRAGMENT && get16(d + at + 2) & ~7) return true;
    if (len - at < n) return true;
    proto = d[at];
    at += n;
  }
  if (proto != (p->version == 4 ? IP_PROTO_ICMP : IP_PROTO_ICMPV6))
    return false;
  return at == len || is_error_type(p->version, d[at]);
}

static bool may_answer(const struct ip_pkt *p, const uint8_t *about,
                       size_t len) {
  return p->len == len && !p->frag_off && is_unicast(&p->src) &&
         is_unicast(&p->dst) && !is_icmp_error(p, about);
}

/* The four bytes behind the checksum. */
static uint32_t error_detail(enum ip_error err, uint32_t mtu,
                             const struct ip_pkt *about) {
  bool v4 = about->version == 4;
  if (err == IP_ERR_TOO_BIG) return v4 && mtu > UINT16_MAX ? UINT16_MAX : mtu;
  /* Where the next header field lies that nobody knows. */
  if (err == IP_ERR_PROTOCOL && !v4)
    return about->kind == IP_FRAGMENT ? IP6_HEADER : 6;
  return 0;
}

int ip_build_error(uint8_t *buf, size_t room, const struct ztna_addr *from,
                   enum ip_error err, uint32_t mtu, const uint8_t *about,
                   size_t about_len) {
  struct ip_pkt p;
  if (!ip_read_header(&p, about, about_len) ||
      !may_answer(&p, about, about_len))
    return 0;
  assert(are_a_pair(from, &p.src));

  bool v4 = p.version == 4;
  size_t at = header_len(p.version);
  size_t most = (v4 ? ERROR_MAX_4 : ERROR_MAX_6) - at - ICMP_HEADER;
  size_t quoted = about_len < most ? about_len : most;
  int total = take_payload(buf, room, at + ICMP_HEADER, about, quoted);
  if (total < 0) return total;

  struct icmp_code c = v4 ? errors4[err] : errors6[err];
  uint8_t proto = v4 ? IP_PROTO_ICMP : IP_PROTO_ICMPV6, *icmp = buf + at;
  put_header(buf, from, &p.src, proto, v4 ? TOS_ERROR : 0, (size_t)total);
  icmp[0] = c.type;
  icmp[1] = c.code;
  put32(icmp + 4, error_detail(err, mtu, &p));
  put_transport_sum(buf, (size_t)total, proto, at + 2);
  return total;
}
