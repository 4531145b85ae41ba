/* flow_head.h - what stands in front of a TCP flow's bytes in its QUIC stream
 * (PROTOCOL 5, "TCP flows").
 *
 *   agent      u8 version 1 << 4 | kind | 8 bytes flow id | then
 *     open     varint context | u8 family 4 or 6 | destination address, u16
 *              port | source address, u16 port
 *     resume   varint: bytes received so far
 *     move     varint: bytes sent on the former stream
 *   connector  u8 reason (0: connected, resumed, moved) | when it is 0, to
 *     resume   varint: bytes received so far
 *     move     varint: bytes sent on the former stream
 */
#ifndef ZTNA_FLOW_HEAD_H
#define ZTNA_FLOW_HEAD_H

#include <stddef.h>
#include <stdint.h>
#include <ztna/addr.h>

enum flow_kind { FLOW_OPEN = 1, FLOW_RESUME = 2, FLOW_MOVE = 3 };

enum {
  FLOW_ID_LEN = 8,
  FLOW_HEAD_MAX = 1 + 8 + 8 + 1 + 2 * 18, /* the longest of the agent's */
  FLOW_ANSWER_MAX = 1 + 8,
};

struct flow_head {
  enum flow_kind kind;
  uint8_t id[FLOW_ID_LEN];
  uint64_t context;          /* open */
  struct ztna_addr dst, src; /* open; of one family, with ports */
  uint64_t count;            /* resume: received; move: sent */
};

/* Returns its length, FLOW_HEAD_MAX at most. */
size_t flow_head_write(uint8_t *to, const struct flow_head *h);
/* The bytes it took, 0 when more are needed, ZTNA_EMALFORMED. */
int flow_head_read(struct flow_head *h, const uint8_t *data, size_t len);

struct flow_answer {
  uint8_t reason; /* enum reason */
  uint64_t count; /* unless it answers an open */
};

size_t flow_answer_write(uint8_t *to, const struct flow_answer *a,
                         enum flow_kind to_what);
int flow_answer_read(struct flow_answer *a, enum flow_kind to_what,
                     const uint8_t *data, size_t len);

#endif
