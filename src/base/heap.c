/* heap.c - see heap.h. */
#include "base/heap.h"

#include <assert.h>
#include <stdlib.h>
#include <ztna/err.h>

#include "base/time.h"

void heap_done(struct heap *h) {
  for (size_t i = 1; i <= h->n; i++) h->v[i]->pos = 0;
  free(h->v);
  *h = (struct heap){0};
}

int heap_reserve(struct heap *h, size_t n) {
  if (n <= h->cap) return 0;
  if (n >= SIZE_MAX / sizeof(*h->v)) return ZTNA_ENOMEM;
  struct heap_node **v = realloc(h->v, (n + 1) * sizeof(*v));
  if (!v) return ZTNA_ENOMEM;
  h->v = v;
  h->cap = n;
  return 0;
}

static void place(struct heap *h, size_t pos, struct heap_node *n) {
  h->v[pos] = n;
  n->pos = pos;
}

/* The node belongs at pos or above. */
static void sift_up(struct heap *h, size_t pos, struct heap_node *n) {
  for (; pos > 1 && h->v[pos / 2]->at > n->at; pos /= 2)
    place(h, pos, h->v[pos / 2]);
  place(h, pos, n);
}

/* The node belongs at pos or below. */
static void sift_down(struct heap *h, size_t pos, struct heap_node *n) {
  for (size_t child; (child = 2 * pos) <= h->n; pos = child) {
    if (child < h->n && h->v[child + 1]->at < h->v[child]->at) child++;
    if (h->v[child]->at >= n->at) break;
    place(h, pos, h->v[child]);
  }
  place(h, pos, n);
}

static void sift(struct heap *h, size_t pos, struct heap_node *n) {
  if (pos > 1 && h->v[pos / 2]->at > n->at)
    sift_up(h, pos, n);
  else
    sift_down(h, pos, n);
}

int heap_set(struct heap *h, struct heap_node *n, uint64_t at) {
  if (at == NEVER) {
    heap_del(h, n);
    n->at = NEVER;
    return 0;
  }
  if (!n->pos) {
    if (h->n == h->cap) {
      int rc = heap_reserve(h, h->cap ? 2 * h->cap : 16);
      if (rc < 0) return rc;
    }
    n->at = at;
    sift_up(h, ++h->n, n);
    return 0;
  }
  assert(h->v[n->pos] == n);
  n->at = at;
  sift(h, n->pos, n);
  return 0;
}

void heap_del(struct heap *h, struct heap_node *n) {
  if (!n->pos) return;
  assert(h->v[n->pos] == n);
  size_t pos = n->pos;
  struct heap_node *last = h->v[h->n--];
  n->pos = 0;
  if (last != n) sift(h, pos, last);
}
