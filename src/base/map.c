/* map.c - see map.h. Deletion shifts the entries behind the hole back instead
 * of leaving tombstones, so lookups stay short however long a table lives. */
#include "base/map.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <ztna/err.h>

enum { FIRST_CAP = 16 };

/* --- SipHash-2-4 (Aumasson and Bernstein, 2012); little endian everywhere, so
 * that it gives the same on every machine */

static inline uint64_t le64(const uint8_t *p) {
  return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 |
         (uint64_t)p[3] << 24 | (uint64_t)p[4] << 32 | (uint64_t)p[5] << 40 |
         (uint64_t)p[6] << 48 | (uint64_t)p[7] << 56;
}

static inline uint64_t rotl(uint64_t x, int n) {
  return x << n | x >> (64 - n);
}

static inline void sip_round(uint64_t v[4]) {
  v[0] += v[1];
  v[1] = rotl(v[1], 13) ^ v[0];
  v[0] = rotl(v[0], 32);
  v[2] += v[3];
  v[3] = rotl(v[3], 16) ^ v[2];
  v[0] += v[3];
  v[3] = rotl(v[3], 21) ^ v[0];
  v[2] += v[1];
  v[1] = rotl(v[1], 17) ^ v[2];
  v[2] = rotl(v[2], 32);
}

static inline void sip_word(uint64_t v[4], uint64_t word) {
  v[3] ^= word;
  sip_round(v);
  sip_round(v);
  v[0] ^= word;
}

static inline uint64_t sip(const uint64_t key[2], const uint8_t *p,
                           size_t len) {
  uint64_t v[4] = {
      key[0] ^ UINT64_C(0x736f6d6570736575),
      key[1] ^ UINT64_C(0x646f72616e646f6d),
      key[0] ^ UINT64_C(0x6c7967656e657261),
      key[1] ^ UINT64_C(0x7465646279746573),
  };
  uint64_t last = (uint64_t)len << 56;
  size_t left = len;
  for (; left >= 8; p += 8, left -= 8) sip_word(v, le64(p));
  for (size_t i = 0; i < left; i++) last |= (uint64_t)p[i] << (8 * i);
  sip_word(v, last);
  v[2] ^= 0xff;
  for (int i = 0; i < 4; i++) sip_round(v);
  return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t siphash(const uint64_t key[2], const void *data, size_t len) {
  return len == 8 ? sip(key, data, 8) : sip(key, data, len);
}

/* --- slots */

static uint8_t *key_at(const struct map *m, size_t i) {
  return m->keys + i * m->key_len;
}

static size_t home(const struct map *m, const void *key) {
  return siphash(m->k, key, m->key_len) & (m->cap - 1);
}

static bool key_is(const struct map *m, size_t i, const void *key) {
  if (m->key_len == 8) return memcmp(key_at(m, i), key, 8) == 0;
  return memcmp(key_at(m, i), key, m->key_len) == 0;
}

/* Where the key is, or the free slot where it would go; cap is not 0 and there
 * is a free slot always. */
static size_t slot_of(const struct map *m, const void *key) {
  size_t i = home(m, key);
  while (m->values[i] && !key_is(m, i, key)) i = (i + 1) & (m->cap - 1);
  return i;
}

static void fill(struct map *m, size_t i, const void *key, void *value) {
  memcpy(key_at(m, i), key, m->key_len);
  m->values[i] = value;
}

static int grow(struct map *m) {
  struct map to = *m;
  to.cap = m->cap ? 2 * m->cap : FIRST_CAP;
  if (to.cap > SIZE_MAX / 2 / m->key_len) return ZTNA_ENOMEM;
  to.keys = malloc(to.cap * to.key_len);
  to.values = calloc(to.cap, sizeof(*to.values));
  if (!to.keys || !to.values) {
    free(to.keys);
    free(to.values);
    return ZTNA_ENOMEM;
  }
  for (size_t i = 0; i < m->cap; i++)
    if (m->values[i])
      fill(&to, slot_of(&to, key_at(m, i)), key_at(m, i), m->values[i]);
  map_done(m);
  *m = to;
  return 0;
}

/* --- public */

void map_init(struct map *m, size_t key_len, size_t max,
              const struct rng *rng) {
  assert(key_len > 0);
  *m = (struct map){.key_len = key_len, .max = max};
  rng_fill(rng, m->k, sizeof(m->k));
}

void map_done(struct map *m) {
  free(m->keys);
  free(m->values);
  m->keys = NULL;
  m->values = NULL;
  m->n = m->cap = 0;
}

void *map_get(const struct map *m, const void *key) {
  return m->n ? m->values[slot_of(m, key)] : NULL;
}

int map_put(struct map *m, const void *key, void *value) {
  assert(value);
  if (map_get(m, key)) return ZTNA_EEXIST;
  if (m->n >= m->max) return ZTNA_EFULL;
  if (m->n >= m->cap / 4 * 3) { /* linear probing gets long beyond that */
    int rc = grow(m);
    if (rc < 0) return rc;
  }
  fill(m, slot_of(m, key), key, value);
  m->n++;
  return 0;
}

void *map_del(struct map *m, const void *key) {
  if (!m->n) return NULL;
  size_t mask = m->cap - 1, hole = slot_of(m, key);
  void *value = m->values[hole];
  if (!value) return NULL;

  for (size_t i = (hole + 1) & mask; m->values[i]; i = (i + 1) & mask) {
    /* It may move when its home is not between the hole and itself. */
    size_t from_home = (i - home(m, key_at(m, i))) & mask;
    if (from_home < ((i - hole) & mask)) continue;
    fill(m, hole, key_at(m, i), m->values[i]);
    hole = i;
  }
  m->values[hole] = NULL;
  m->n--;
  return value;
}

void *map_next(const struct map *m, size_t *pos) {
  while (*pos < m->cap) {
    void *value = m->values[(*pos)++];
    if (value) return value;
  }
  return NULL;
}
