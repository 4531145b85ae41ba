/* seeded.c - xoshiro256** (Blackman, Vigna), seeded by splitmix64. */
#include "sim/seeded.h"

#include <string.h>

static uint64_t rotl(uint64_t x, int k) { return x << k | x >> (64 - k); }

uint64_t seeded_u64(struct seeded *r) {
  uint64_t *s = r->s, result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;

  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= t;
  s[3] = rotl(s[3], 45);
  return result;
}

double seeded_unit(struct seeded *r) {
  return (double)(seeded_u64(r) >> 11) / 9007199254740992.0;
}

static void fill(void *ctx, void *buf, size_t len) {
  uint8_t *to = buf;

  while (len) {
    uint64_t v = seeded_u64(ctx);
    size_t n = len < 8 ? len : 8;

    memcpy(to, &v, n);
    to += n;
    len -= n;
  }
}

void seeded_init(struct seeded *r, uint64_t seed) {
  for (int i = 0; i < 4; i++) {
    uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    r->s[i] = z ^ z >> 31;
  }
  r->rng = (struct rng){fill, r};
}
