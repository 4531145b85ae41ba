/* wire.h - bytes of a link's DATAGRAMs and control stream (PROTOCOL 5).
 *
 *   DATAGRAM        varint context | IP packet                 context > 0
 *                   varint 0 | u8 type | ...                   the link's own
 *   echo            type 1 request, 2 reply | 8-byte cookie | padding
 *   fragment        type 3 | varint context | u16 id | u8 index, 0x80 = last |
 *                   bytes                                      two per packet
 *   control stream  u32 length, big endian | JSON
 */
#ifndef ZTNA_WIRE_H
#define ZTNA_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  WIRE_ECHO_REQUEST = 1,
  WIRE_ECHO_REPLY = 2,
  WIRE_FRAGMENT = 3,
  WIRE_COOKIE_LEN = 8,
  WIRE_FRAGMENT_HEAD = 1 + 1 + 2 + 2 + 1, /* longest */
};

/* A reader latches its first overrun: parse straight on, judge once. */
struct rd {
  const uint8_t *p, *end;
  bool bad;
};

static inline struct rd rd_of(const void *data, size_t len) {
  return (struct rd){data, (const uint8_t *)data + len, false};
}
static inline size_t rd_left(const struct rd *r) {
  return (size_t)(r->end - r->p);
}
uint8_t rd_u8(struct rd *r);
uint16_t rd_u16(struct rd *r);
uint32_t rd_u32(struct rd *r);
uint64_t rd_varint(struct rd *r);                /* RFC 9000, 16 */
const uint8_t *rd_bytes(struct rd *r, size_t n); /* NULL when short */

/* Bytes written: 1, 2, 4 or 8. */
size_t wr_varint(uint8_t *to, uint64_t v);
size_t varint_len(uint64_t v);

/* A DATAGRAM payload taken apart. */
struct wire_dgram {
  uint64_t context; /* 0: the link's own, see type */
  uint8_t type;
  const uint8_t *cookie; /* echo */
  uint64_t frag_context; /* fragment */
  uint16_t frag_id;
  uint8_t frag_index;
  bool frag_last;
  const uint8_t *data; /* IP packet, fragment's bytes, padding */
  size_t len;
};

/* 0 or ZTNA_EMALFORMED; unknown types of context 0 are malformed. */
int wire_parse(struct wire_dgram *d, const uint8_t *data, size_t len);
/* Everything before `data`; returns its length. room: WIRE_FRAGMENT_HEAD + 8.
 */
size_t wire_write_head(uint8_t *to, const struct wire_dgram *d);

#endif
