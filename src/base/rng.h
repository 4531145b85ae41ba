/* rng.h - randomness as an argument: the host gives getrandom(2), the
 * simulator a seeded stream, so that a seed replays to the same bytes. */
#ifndef ZTNA_RNG_H
#define ZTNA_RNG_H

#include <stddef.h>
#include <stdint.h>

struct rng {
  void (*fill)(void *ctx, void *buf, size_t len);
  void *ctx;
};

static inline void rng_fill(const struct rng *r, void *buf, size_t len) {
  r->fill(r->ctx, buf, len);
}

static inline uint64_t rng_u64(const struct rng *r) {
  uint64_t v;
  rng_fill(r, &v, sizeof(v));
  return v;
}

#endif
