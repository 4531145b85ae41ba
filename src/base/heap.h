/* heap.h - deadlines of many objects: an intrusive binary heap. */
#ifndef ZTNA_HEAP_H
#define ZTNA_HEAP_H

#include <stddef.h>
#include <stdint.h>

/* Zero-initialised inside its owner; pos 0 means not in the heap. */
struct heap_node {
  uint64_t at;
  size_t pos; /* 1 based */
};

struct heap {
  struct heap_node **v; /* v[0] unused */
  size_t n, cap;
};

void heap_done(struct heap *h);
/* Inserts or moves. at == NEVER removes. 0 or ZTNA_ENOMEM (only when the heap
 * has to grow; reserve beforehand with heap_reserve). */
int heap_set(struct heap *h, struct heap_node *n, uint64_t at);
void heap_del(struct heap *h, struct heap_node *n);
/* Room for n nodes, so that heap_set cannot fail for them. */
int heap_reserve(struct heap *h, size_t n);
/* The earliest, NULL when empty. */
static inline struct heap_node *heap_top(const struct heap *h) {
  return h->n ? h->v[1] : NULL;
}

#endif
