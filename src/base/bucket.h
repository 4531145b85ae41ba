/* bucket.h - a token bucket: so many a second, so many at once. All zero is a
 * full one. */
#ifndef ZTNA_BASE_BUCKET_H
#define ZTNA_BASE_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

struct bucket {
  uint64_t filled_at; /* ns; 0: never asked */
  uint32_t tokens;    /* thousandths */
};

/* Takes n tokens, unless that leaves less than `reserve` of them: then none.
 * per_s at most 1000000, burst and reserve + n at most 1000000. */
bool bucket_take(struct bucket *b, uint64_t now, uint32_t per_s, uint32_t burst,
                 uint32_t n, uint32_t reserve);

#endif
