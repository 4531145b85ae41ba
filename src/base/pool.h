/* pool.h - fixed pool of inner packets. Memory is reserved at once and touched
 * only when first used, so an idle program stays small; the free list is last
 * in, first out, so a busy one stays in cache. */
#ifndef ZTNA_POOL_H
#define ZTNA_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  PKT_HEADROOM = 64, /* for an IP and UDP header, or a context number */
  PKT_ROOM = 1600,   /* an inner packet; the tunnel's MTU is at most 1500 */
};

struct pkt {
  struct pkt *next;
  uint64_t at;  /* when it was queued, ns */
  uint32_t tag; /* owner's use: context, flow */
  uint16_t off; /* where the bytes begin in buf */
  uint16_t len;
  uint16_t skip; /* fq's: bytes of ours in front of the IP packet */
  uint8_t buf[PKT_HEADROOM + PKT_ROOM];
};

struct pool {
  struct pkt *all;
  struct pkt *free;
  size_t cap, n_fresh, n_used;
};

/* 0 or ZTNA_ENOMEM. */
int pool_init(struct pool *p, size_t cap);
void pool_done(struct pool *p);
/* An empty packet with PKT_HEADROOM bytes in front, or NULL when all are out.
 */
struct pkt *pool_get(struct pool *p);
void pool_put(struct pool *p, struct pkt *k);

static inline uint8_t *pkt_data(struct pkt *k) { return k->buf + k->off; }

/* A first in, first out list of packets. */
struct pktq {
  struct pkt *head, *tail;
  size_t n, bytes;
};
void pktq_push(struct pktq *q, struct pkt *k);
struct pkt *pktq_pop(struct pktq *q);
void pktq_clear(struct pktq *q, struct pool *p);

#endif
