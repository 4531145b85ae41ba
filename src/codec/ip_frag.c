/* ip_frag.c - fragments of one packet, one after the other. */
#include "codec/ip_frag.h"

#include <string.h>

#include "codec/ip.h"

enum { IP6_FRAG_HEADER = 8, IP6_FRAG = 44 };

static void put16(uint8_t *p, unsigned v) {
  p[0] = (uint8_t)(v >> 8);
  p[1] = (uint8_t)v;
}

static size_t next4(struct ip_cut *c, uint8_t *to) {
  size_t left = c->len - IP4_HEADER - c->off;
  size_t room = c->mtu - IP4_HEADER;
  size_t n = left <= room ? left : room & ~(size_t)7;
  unsigned more = n < left ? 0x2000 : 0;

  memcpy(to, c->pkt, IP4_HEADER);
  memcpy(to + IP4_HEADER, c->pkt + IP4_HEADER + c->off, n);
  put16(to + 2, (unsigned)(IP4_HEADER + n));
  put16(to + 4, c->id & 0xffff);
  put16(to + 6, more | (unsigned)(c->off / 8));
  put16(to + 10, 0);
  put16(to + 10, ip_checksum_finish(ip_checksum_add(0, to, IP4_HEADER)));
  c->off += n;
  return IP4_HEADER + n;
}

static size_t next6(struct ip_cut *c, uint8_t *to) {
  size_t left = c->len - IP6_HEADER - c->off;
  size_t room = c->mtu - IP6_HEADER - IP6_FRAG_HEADER;
  size_t n = left <= room ? left : room & ~(size_t)7;
  uint8_t *f = to + IP6_HEADER;
  unsigned more = n < left;

  memcpy(to, c->pkt, IP6_HEADER);
  put16(to + 4, (unsigned)(IP6_FRAG_HEADER + n));
  f[0] = to[6];
  f[1] = 0;
  to[6] = IP6_FRAG;
  put16(f + 2, (unsigned)c->off | more);
  put16(f + 4, c->id >> 16);
  put16(f + 6, c->id & 0xffff);
  memcpy(f + IP6_FRAG_HEADER, c->pkt + IP6_HEADER + c->off, n);
  c->off += n;
  return IP6_HEADER + IP6_FRAG_HEADER + n;
}

size_t ip_cut_next(struct ip_cut *c, uint8_t *to) {
  int v4 = c->pkt[0] >> 4 == 4;

  if (c->off >= c->len - (v4 ? IP4_HEADER : IP6_HEADER)) return 0;
  return v4 ? next4(c, to) : next6(c, to);
}
