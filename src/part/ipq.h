/* ipq.h - packets of any size up to 64 KB that wait for the TUN: a ring of
 * bytes, each packet in one piece. */
#ifndef ZTNA_IPQ_H
#define ZTNA_IPQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ipq {
  uint8_t *buf;
  size_t cap, head, tail, wrap; /* wrap: where the bytes end before the seam */
  size_t n;
};

int ipq_init(struct ipq *q, size_t cap); /* 0 or ZTNA_ENOMEM */
void ipq_done(struct ipq *q);
/* Where a packet of at most len bytes may be written; NULL: no room. */
uint8_t *ipq_room(struct ipq *q, size_t len);
/* It was written there: len bytes, in segments of gso_size payload bytes (0:
 * one packet); partial: its checksum is only the pseudo header's. */
void ipq_push(struct ipq *q, size_t len, uint16_t gso_size, bool partial);
/* The oldest; its bytes stay until the next pop or, when that comes first, the
 * next push. False: empty. */
struct ipq_pkt {
  const uint8_t *data;
  size_t len;
  uint16_t gso_size;
  bool partial;
};
bool ipq_pop(struct ipq *q, struct ipq_pkt *k);
/* The largest packet for which there is room now. */
size_t ipq_free(const struct ipq *q);

#endif
