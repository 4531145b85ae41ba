/* tcp_peer.c - see tcp_peer.h. */
#include "unit/tcp_peer.h"

#include <string.h>

#include "codec/ip_wire.h"

enum { PORTS = 60000, FIRST_PORT = 1024, HEAD = 20 };

struct tcp_peer tcp_peer_of(int family, uint32_t n, uint16_t port) {
  struct tcp_peer p = {.window = UINT16_MAX};
  uint32_t host = 1 + n / PORTS;

  p.from.family = p.to.family = (uint8_t)family;
  p.from.ip[0] = p.to.ip[0] = family == 4 ? 10 : 0xfd;
  p.from.ip[1] = 9;
  p.to.ip[1] = 1;
  put16(p.from.ip + (family == 4 ? 2 : 14), host);
  p.to.ip[family == 4 ? 3 : 15] = 1;
  p.from.port = (uint16_t)(n % PORTS + FIRST_PORT);
  p.to.port = port;
  return p;
}

static size_t put_addresses(const struct tcp_peer *p, uint8_t *b, size_t len) {
  if (p->from.family == 6) {
    memset(b, 0, IP6_HEADER);
    b[0] = 0x60;
    put16(b + 4, (uint32_t)len);
    b[6] = IP_PROTO_TCP;
    b[7] = 64;
    memcpy(b + 8, p->from.ip, 16);
    memcpy(b + 24, p->to.ip, 16);
    return IP6_HEADER;
  }
  memset(b, 0, IP4_HEADER);
  b[0] = 0x45;
  put16(b + 2, (uint32_t)(IP4_HEADER + len));
  b[8] = 64;
  b[9] = IP_PROTO_TCP;
  memcpy(b + 12, p->from.ip, 4);
  memcpy(b + 16, p->to.ip, 4);
  put16(b + 10, ip_checksum_finish(ip_checksum_add(0, b, IP4_HEADER)));
  return IP4_HEADER;
}

static size_t put_options(uint8_t *b, const struct tcp_options *o) {
  uint8_t *at = b;

  if (o && o->mss) {
    memcpy(at, "\2\4", 2);
    put16(at + 2, o->mss);
    at += 4;
  }
  if (o && o->scale >= 0) {
    memcpy(at, "\1\3\3", 3);
    at[3] = (uint8_t)o->scale;
    at += 4;
  }
  return (size_t)(at - b);
}

size_t tcp_peer_build(const struct tcp_peer *p, uint8_t *b, uint8_t flags,
                      const struct tcp_options *o, const void *data,
                      size_t len) {
  uint8_t options[8];
  size_t n = put_options(options, o), all = HEAD + n + len,
         at = put_addresses(p, b, all);
  uint8_t *tcp = b + at;

  memset(tcp, 0, HEAD);
  put16(tcp, p->from.port);
  put16(tcp + 2, p->to.port);
  put32(tcp + 4, p->seq);
  if (flags & ACK) put32(tcp + 8, p->ack);
  tcp[12] = (uint8_t)((HEAD + n) / 4 << 4);
  tcp[13] = flags;
  put16(tcp + 14, p->window);
  memcpy(tcp + HEAD, options, n);
  if (len) memcpy(tcp + HEAD + n, data, len);
  put16(tcp + 16, ip_checksum_finish(ip_checksum_add(
                      ip_pseudo_sum(b, IP_PROTO_TCP, all), tcp, all)));
  return at + all;
}

static bool read_options(struct tcp_options *o, const uint8_t *p, size_t len) {
  *o = (struct tcp_options){.scale = -1};
  while (len) {
    size_t n = *p <= 1 ? 1 : len > 1 ? p[1] : 0;
    if (n == 0 || n > len) return false;
    if (*p == 2 && n == 4) o->mss = get16(p + 2);
    if (*p == 3 && n == 3) o->scale = p[2];
    p += n;
    len -= n;
  }
  return true;
}

static bool checksum_is_right(const uint8_t *pkt, const uint8_t *tcp,
                              size_t len, bool partial) {
  uint64_t sum = ip_pseudo_sum(pkt, IP_PROTO_TCP, len);

  if (partial) return (get16(tcp + 16) ^ ip_checksum_finish(sum)) == UINT16_MAX;
  return ip_checksum_finish(ip_checksum_add(sum, tcp, len)) == 0;
}

bool tcp_peer_read(struct tcp_seen *seen, const uint8_t *pkt, size_t len,
                   bool partial) {
  struct ip_pkt p;

  if (!ip_read_header(&p, pkt, len) || p.len != len || p.proto != IP_PROTO_TCP)
    return false;
  if (p.version == 4 && ip_checksum_finish(ip_checksum_add(0, pkt, 20)))
    return false;
  const uint8_t *tcp = pkt + p.header_len;
  size_t all = len - p.header_len, head = (size_t)(tcp[12] >> 4) * 4;
  if (all < HEAD || head < HEAD || head > all ||
      !checksum_is_right(pkt, tcp, all, partial))
    return false;
  *seen = (struct tcp_seen){
      .from = p.src,
      .to = p.dst,
      .seq = get32(tcp + 4),
      .ack = get32(tcp + 8),
      .flags = tcp[13],
      .window = get16(tcp + 14),
      .data = tcp + head,
      .len = all - head,
  };
  seen->from.port = get16(tcp);
  seen->to.port = get16(tcp + 2);
  return read_options(&seen->options, tcp + HEAD, head - HEAD);
}
