/* map.h - hash table from keys of one fixed length to pointers, with a keyed
 * hash (SipHash-2-4), so that who chooses keys cannot choose collisions.
 * Linear probing, grows by doubling up to its bound, never shrinks. */
#ifndef ZTNA_MAP_H
#define ZTNA_MAP_H

#include "base/rng.h"

struct map {
  uint64_t k[2];  /* hash key */
  size_t key_len; /* bytes; 8 is the fast case */
  size_t n, cap;  /* entries, slots (a power of two or 0) */
  size_t max;     /* most entries */
  uint8_t *keys;  /* cap * key_len */
  void **values;  /* NULL: free slot */
};

/* max: most entries it will ever hold. Allocates nothing yet. */
void map_init(struct map *m, size_t key_len, size_t max, const struct rng *rng);
/* Frees the table, not what the values point to. */
void map_done(struct map *m);
/* NULL when there is none. */
void *map_get(const struct map *m, const void *key);
/* value is not NULL. 0, ZTNA_EEXIST, ZTNA_EFULL or ZTNA_ENOMEM. */
int map_put(struct map *m, const void *key, void *value);
/* Returns the value it had, NULL when there was none. */
void *map_del(struct map *m, const void *key);
/* Walk: start with *pos = 0; returns NULL at the end. The table must not be
 * changed meanwhile. */
void *map_next(const struct map *m, size_t *pos);

uint64_t siphash(const uint64_t key[2], const void *data, size_t len);

#endif
