/* ipq.h - packets of any size up to 64 KB that wait for the TUN: a ring of
 * bytes, each packet in one piece. Who has an answer writes it where it will
 * lie, so it is copied once. Memory is reserved at once and touched only as far
 * as packets ever waited at the same time. */
#ifndef ZTNA_IPQ_H
#define ZTNA_IPQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { IPQ_MAX = 65535 }; /* bytes of a packet */

struct ipq {
  uint8_t *buf;
  size_t cap;
  size_t head; /* where the next packet goes */
  size_t tail; /* the oldest packet */
  size_t wrap; /* where the bytes end before the seam */
  size_t at;   /* of the last room */
  size_t last; /* the newest packet, when there is one */
  size_t n;    /* packets */
};

/* cap: bytes, the packets' own notes (8 bytes each) included. 0 or ZTNA_ENOMEM;
 * ipq_done is fine after a failure. */
int ipq_init(struct ipq *q, size_t cap);
void ipq_done(struct ipq *q);
/* Where a packet of at most len bytes may be written; NULL: no room. What was
 * written there is no packet before the push, and need not become one. */
uint8_t *ipq_room(struct ipq *q, size_t len);
/* It was written there, into the last room: len bytes, at least 1, in segments
 * of gso_size payload bytes (0: one packet); partial: its checksum is only the
 * pseudo header's. */
void ipq_push(struct ipq *q, size_t len, uint16_t gso_size, bool partial);
struct ipq_pkt {
  uint8_t *data;
  size_t len;
  uint16_t gso_size;
  bool partial;
};
/* The oldest; its bytes stay until the next ipq_room, ipq_grow or ipq_pop, and
 * may be changed. False: empty. */
bool ipq_pop(struct ipq *q, struct ipq_pkt *k);
/* The newest, still waiting; its bytes may be changed. False: empty. */
bool ipq_newest(struct ipq *q, struct ipq_pkt *k);
/* Adds bytes to the newest, which thereby becomes a super-packet. False: there
 * is none, or no room behind it. */
bool ipq_grow(struct ipq *q, const uint8_t *data, size_t len,
              uint16_t gso_size);
/* The largest packet for which there is room now, IPQ_MAX at most. */
size_t ipq_free(const struct ipq *q);

#endif
