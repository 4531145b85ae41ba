/* handle.h - the eight bytes by which a packet finds its receiver (PROTOCOL 2):
 * the first bytes of a QUIC destination connection ID. */
#ifndef ZTNA_HANDLE_H
#define ZTNA_HANDLE_H

#include <stddef.h>
#include <stdint.h>

enum { HANDLE_LEN = 8 };

/* Bytes 1-8 of a short header (21 bytes at least), 6-13 of a version 1 long
 * header with a DCID of 8 to 20 bytes (RFC 9000, 17.2 and 17.3). NULL: the
 * packet names none: too short, another version, or not QUIC. */
static inline const uint8_t *packet_handle(const uint8_t *p, size_t len) {
  if (len < 21 || !(p[0] & 0x40)) return NULL;
  if (!(p[0] & 0x80)) return p + 1;
  if (p[1] || p[2] || p[3] || p[4] != 1) return NULL;
  if (p[5] < HANDLE_LEN || p[5] > 20 || (size_t)p[5] + 6 > len) return NULL;
  return p + 6;
}

#endif
