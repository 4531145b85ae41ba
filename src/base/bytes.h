/* bytes.h - a queue of bytes with absolute positions, in chunks: written at the
 * end, read anywhere, released from the front. What a TCP flow keeps until the
 * other end has it. */
#ifndef ZTNA_BYTES_H
#define ZTNA_BYTES_H

#include <stddef.h>
#include <stdint.h>

struct bytes_vec { /* laid out as struct iovec and quic_vec */
  uint8_t *base;
  size_t len;
};

/* Chunks for many queues: a small one first, so that a flow with few bytes
 * under way is cheap, then big ones. Free chunks are kept up to a bound. */
struct bytes_pool {
  struct bytes_chunk *free[2];
  size_t n_free[2];
  size_t used; /* bytes of chunks in queues */
};

void bytes_pool_done(struct bytes_pool *p);

struct bytes {
  struct bytes_chunk *first, *last;
  uint64_t begin, end;    /* kept: [begin, end) */
  struct bytes_chunk *at; /* where the last read was, for the next */
};

/* Empty at position `at`; zeroed memory is an empty queue at 0. */
void bytes_init(struct bytes *b, uint64_t at);
void bytes_clear(struct bytes *b, struct bytes_pool *p);
static inline size_t bytes_len(const struct bytes *b) {
  return (size_t)(b->end - b->begin);
}
/* Room behind the end, at least one byte, in place; NULL: no memory. Valid
 * until the queue is changed. */
uint8_t *bytes_room(struct bytes *b, struct bytes_pool *p, size_t *room);
/* n bytes were put there. */
void bytes_put(struct bytes *b, size_t n);
/* Copies data behind the end. 0 or ZTNA_ENOMEM (then nothing was taken). */
int bytes_append(struct bytes *b, struct bytes_pool *p, const uint8_t *data,
                 size_t len);
/* Up to n vectors of the bytes from position `from` on, `max` bytes at most;
 * returns how many. They stay where they are until released. */
int bytes_peek(struct bytes *b, uint64_t from, size_t max, struct bytes_vec *v,
               int n);
/* Everything before `upto` is not needed any more. */
void bytes_release(struct bytes *b, struct bytes_pool *p, uint64_t upto);

#endif
