/* pool.c - see pool.h. */
#include "base/pool.h"

#include <assert.h>
#include <stdlib.h>
#include <ztna/err.h>

/* In off while a packet is in the free list: a packet that is put back twice
 * would later have two owners, so that is caught at once. */
enum { OFF_FREE = UINT16_MAX };

int pool_init(struct pool *p, size_t cap) {
  *p = (struct pool){.cap = cap};
  if (!cap) return 0;
  if (cap > SIZE_MAX / sizeof(*p->all)) return ZTNA_ENOMEM;
  p->all = malloc(cap * sizeof(*p->all)); /* not calloc: that may touch it */
  return p->all ? 0 : ZTNA_ENOMEM;
}

void pool_done(struct pool *p) {
  free(p->all);
  *p = (struct pool){0};
}

struct pkt *pool_get(struct pool *p) {
  struct pkt *k = p->free;
  if (k)
    p->free = k->next;
  else if (p->n_fresh < p->cap)
    k = &p->all[p->n_fresh++];
  else
    return NULL;
  p->n_used++;
  k->next = NULL;
  k->at = 0;
  k->tag = 0;
  k->skip = 0;
  k->off = PKT_HEADROOM;
  k->len = 0;
  return k;
}

void pool_put(struct pool *p, struct pkt *k) {
  assert(k >= p->all && k < p->all + p->n_fresh && k->off != OFF_FREE);
  k->off = OFF_FREE;
  k->next = p->free;
  p->free = k;
  p->n_used--;
}

void pktq_push(struct pktq *q, struct pkt *k) {
  k->next = NULL;
  if (q->tail)
    q->tail->next = k;
  else
    q->head = k;
  q->tail = k;
  q->n++;
  q->bytes += k->len;
}

struct pkt *pktq_pop(struct pktq *q) {
  struct pkt *k = q->head;
  if (!k) return NULL;
  q->head = k->next;
  if (!q->head) q->tail = NULL;
  k->next = NULL;
  q->n--;
  q->bytes -= k->len;
  return k;
}

void pktq_clear(struct pktq *q, struct pool *p) {
  for (struct pkt *k; (k = pktq_pop(q));) pool_put(p, k);
}
