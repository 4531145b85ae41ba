/* bytes.c - a list of chunks. What is read lies where it was written, so the
 * bytes are copied once: by who puts them there. */
#include "base/bytes.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <ztna/err.h>

enum {
  SMALL = 4096 - 32, /* with its head and malloc's below a page */
  BIG = 32768 - 32,
  KEEP_FREE = 64, /* of each kind: 2.3 MB at most */
};

struct bytes_chunk {
  struct bytes_chunk *next;
  uint64_t at; /* position of data[0] */
  uint32_t n, cap;
  uint8_t data[];
};

static struct bytes_chunk *chunk_new(struct bytes_pool *p, bool big) {
  struct bytes_chunk *k = p->free[big];

  if (k) {
    p->free[big] = k->next;
    p->n_free[big]--;
  } else {
    k = malloc(sizeof(*k) + (big ? BIG : SMALL));
    if (!k) return NULL;
    k->cap = big ? BIG : SMALL;
  }
  k->next = NULL;
  k->n = 0;
  p->used += k->cap;
  return k;
}

static void chunk_free(struct bytes_pool *p, struct bytes_chunk *k) {
  bool big = k->cap == BIG;

  p->used -= k->cap;
  if (p->n_free[big] >= KEEP_FREE) {
    free(k);
    return;
  }
  k->next = p->free[big];
  p->free[big] = k;
  p->n_free[big]++;
}

void bytes_pool_done(struct bytes_pool *p) {
  struct bytes_chunk *k;

  for (int i = 0; i < 2; i++)
    while ((k = p->free[i])) {
      p->free[i] = k->next;
      free(k);
    }
  memset(p->n_free, 0, sizeof(p->n_free));
}

void bytes_init(struct bytes *b, uint64_t at) {
  *b = (struct bytes){.begin = at, .end = at};
}

void bytes_clear(struct bytes *b, struct bytes_pool *p) {
  struct bytes_chunk *k;

  while ((k = b->first)) {
    b->first = k->next;
    chunk_free(p, k);
  }
  bytes_init(b, b->end);
}

uint8_t *bytes_room(struct bytes *b, struct bytes_pool *p, size_t *room) {
  struct bytes_chunk *k = b->last;

  if (!k || k->n == k->cap) {
    k = chunk_new(p, k != NULL);
    if (!k) return NULL;
    k->at = b->end;
    if (b->last)
      b->last->next = k;
    else
      b->first = k;
    b->last = k;
  }
  *room = k->cap - k->n;
  return k->data + k->n;
}

void bytes_put(struct bytes *b, size_t n) {
  assert(n <= b->last->cap - b->last->n);
  b->last->n += (uint32_t)n;
  b->end += n;
}

int bytes_append(struct bytes *b, struct bytes_pool *p, const uint8_t *data,
                 size_t len) {
  while (len) {
    size_t room;
    uint8_t *to = bytes_room(b, p, &room);

    if (!to) return ZTNA_ENOMEM;
    if (room > len) room = len;
    memcpy(to, data, room);
    bytes_put(b, room);
    data += room;
    len -= room;
  }
  return 0;
}

/* Reads go on where the last one was: no walk from the front. */
static struct bytes_chunk *chunk_at(struct bytes *b, uint64_t from) {
  struct bytes_chunk *k = b->at && b->at->at <= from ? b->at : b->first;

  while (k && k->next && k->at + k->n <= from) k = k->next;
  b->at = k;
  return k;
}

int bytes_peek(struct bytes *b, uint64_t from, size_t max, struct bytes_vec *v,
               int n) {
  struct bytes_chunk *k;
  int i = 0;

  if (from < b->begin || from >= b->end) return 0;
  for (k = chunk_at(b, from); k && i < n && max; k = k->next) {
    size_t off = (size_t)(from - k->at), len = k->n - off;

    if (!len) continue;
    if (len > max) len = max;
    v[i++] = (struct bytes_vec){k->data + off, len};
    from += len;
    max -= len;
  }
  return i;
}

/* An empty queue holds no chunk: idle flows cost nothing, and the free list
 * gives the same one back. */
void bytes_release(struct bytes *b, struct bytes_pool *p, uint64_t upto) {
  struct bytes_chunk *k;

  if (upto > b->end) upto = b->end;
  if (upto <= b->begin) return;
  b->begin = upto;
  while ((k = b->first) && k->at + k->n <= upto &&
         (k->next || upto == b->end)) {
    if (b->at == k) b->at = k->next;
    b->first = k->next;
    if (!k->next) b->last = NULL;
    chunk_free(p, k);
  }
}
