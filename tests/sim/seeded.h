/* seeded.h - randomness from a seed (xoshiro256**), for tests that replay. */
#ifndef ZTNA_TESTS_SEEDED_H
#define ZTNA_TESTS_SEEDED_H

#include "base/rng.h"

struct seeded {
  uint64_t s[4];
  struct rng rng;
};

void seeded_init(struct seeded *r, uint64_t seed);
uint64_t seeded_u64(struct seeded *r);
double seeded_unit(struct seeded *r); /* [0, 1) */

#endif
