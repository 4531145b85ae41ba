/* ip_segment.c - the packets that a UDP super-packet stands for, see ip.h. A
 * kernel that leaves the cutting to a device leaves it to us. */
#include <assert.h>
#include <string.h>
#include <ztna/err.h>

#include "codec/ip_wire.h"

static void mend_header4(uint8_t *b, size_t header, size_t total, size_t i) {
  put16(b + 2, (uint32_t)total);
  put16(b + 4, get16(b + 4) + (uint32_t)i);
  put16(b + 10, 0);
  put16(b + 10, ip_checksum_finish(ip_checksum_add(0, b, header)));
}

static void mend_udp(uint8_t *b, size_t header, size_t len) {
  uint8_t *udp = b + header;
  put16(udp + 4, (uint32_t)len);
  put16(udp + 6, 0);
  uint64_t sum = ip_pseudo_sum(b, IP_PROTO_UDP, len);
  uint16_t is = ip_checksum_finish(ip_checksum_add(sum, udp, len));
  put16(udp + 6, is ? is : 0xffff); /* 0 means none (RFC 768) */
}

int ip_build_segment(uint8_t *buf, size_t room, const struct ip_pkt *udp,
                     size_t size, size_t i) {
  assert(udp->kind == IP_UDP && (size || !udp->payload_len));
  size_t header = udp->header_len, headers = header + UDP_HEADER;
  size_t from = size * i;
  if (i && from >= udp->payload_len) return 0;
  size_t left = udp->payload_len - from, len = left < size ? left : size;
  if (headers + len > room) return ZTNA_ESIZE;

  memcpy(buf, udp->payload - headers, headers);
  memcpy(buf + headers, udp->payload + from, len);
  if (udp->version == 4)
    mend_header4(buf, header, headers + len, i);
  else
    put16(buf + 4, (uint32_t)(headers + len - IP6_HEADER));
  mend_udp(buf, header, UDP_HEADER + len);
  return (int)(headers + len);
}
