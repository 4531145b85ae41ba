/* ip_checksum.c - the internet checksum, see ip.h. One's complement addition
 * does not care in which byte order it is done (RFC 1071, 2), so words are
 * summed as they lie in memory and swapped once, at the end. */
#include <arpa/inet.h>
#include <string.h>

#include "codec/ip_wire.h"

static uint64_t word(const uint8_t *p) {
  uint64_t v;
  memcpy(&v, p, sizeof(v));
  return v;
}

/* 32-bit halves in 64-bit sums: no carry is lost within 2^32 additions, and no
 * addition waits for another's carry. */
uint64_t ip_checksum_add(uint64_t sum, const void *data, size_t len) {
  const uint8_t *p = data;
  uint64_t lo = sum & UINT32_MAX, hi = sum >> 32;
  for (; len >= 32; p += 32, len -= 32) {
    uint64_t a = word(p), b = word(p + 8), c = word(p + 16), d = word(p + 24);
    lo += (a & UINT32_MAX) + (b & UINT32_MAX) + (c & UINT32_MAX) +
          (d & UINT32_MAX);
    hi += (a >> 32) + (b >> 32) + (c >> 32) + (d >> 32);
  }
  for (; len >= 8; p += 8, len -= 8) {
    lo += word(p) & UINT32_MAX;
    hi += word(p) >> 32;
  }
  if (len) {
    uint64_t tail = 0; /* zero bytes behind an odd end, in either byte order */
    memcpy(&tail, p, len);
    lo += tail & UINT32_MAX;
    hi += tail >> 32;
  }
  return lo + hi;
}

uint16_t ip_checksum_finish(uint64_t sum) {
  sum = (sum & UINT32_MAX) + (sum >> 32);
  sum = (sum & UINT16_MAX) + (sum >> 16 & UINT16_MAX) + (sum >> 32);
  sum = (sum & UINT16_MAX) + (sum >> 16);
  sum = (sum & UINT16_MAX) + (sum >> 16);
  return ntohs((uint16_t)~sum);
}

uint64_t ip_pseudo_sum(const uint8_t *pkt, uint8_t proto,
                       size_t transport_len) {
  uint64_t sum = pkt[0] >> 4 == 4 ? ip_checksum_add(0, pkt + 12, 8)
                                  : ip_checksum_add(0, pkt + 8, 32);
  return sum + htons(proto) + htons((uint16_t)transport_len);
}
