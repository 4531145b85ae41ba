/* enroll_limit.c - see enroll_limit.h. */
#include "role/enroll_limit.h"

#include <string.h>

#include "base/map.h"

/* So many at once, and one more every so often. */
struct rate {
  uint32_t burst;
  uint64_t every;
};

static const struct rate stranger = {ENROLL_STRANGER_BURST, 6 * SEC};
/* Of a /16, or a /32: a customer may have all of a /48, which is 256 networks
 * and would use up what there is for all. */
static const struct rate neighbours = {40, SEC / 4};
static const struct rate strangers = {100, SEC / 20};
static const struct rate one_known = {ENROLL_KNOWN_BURST, 30 * SEC};
static const struct rate all_known = {500, SEC / 100};

static void fill(struct enroll_bucket *b, size_t n, const struct rate *r,
                 uint64_t now) {
  for (size_t i = 0; i < n; i++)
    b[i] = (struct enroll_bucket){.filled_at = now, .tokens = r->burst};
}

void enroll_limit_init(struct enroll_limit *l, const struct rng *rng,
                       uint64_t now) {
  rng_fill(rng, l->hash_key, sizeof(l->hash_key));
  fill(&l->all_strangers, 1, &strangers, now);
  fill(&l->all_known, 1, &all_known, now);
  fill(l->strangers, ENROLL_LIMIT_BUCKETS, &stranger, now);
  fill(l->wide, ENROLL_LIMIT_WIDE, &neighbours, now);
  fill(l->known, ENROLL_LIMIT_BUCKETS, &one_known, now);
}

static bool take(struct enroll_bucket *b, uint64_t now, const struct rate *r) {
  uint64_t fresh = (now - b->filled_at) / r->every;
  uint32_t room = r->burst - b->tokens;
  b->tokens += fresh > room ? room : (uint32_t)fresh;
  b->filled_at += fresh * r->every;
  if (!b->tokens) return false;
  b->tokens--;
  return true;
}

size_t enroll_limit_network(const struct enroll_limit *l,
                            const struct ztna_addr *from) {
  return siphash(l->hash_key, from->ip, from->family == 4 ? 3 : 7) %
         ENROLL_LIMIT_BUCKETS;
}

static size_t wide_of(const struct enroll_limit *l,
                      const struct ztna_addr *from) {
  return siphash(l->hash_key, from->ip, from->family == 4 ? 2 : 4) %
         ENROLL_LIMIT_WIDE;
}

bool enroll_limit_stranger(struct enroll_limit *l, uint64_t now,
                           const struct ztna_addr *from) {
  return take(&l->strangers[enroll_limit_network(l, from)], now, &stranger) &&
         take(&l->wide[wide_of(l, from)], now, &neighbours) &&
         take(&l->all_strangers, now, &strangers);
}

bool enroll_limit_known(struct enroll_limit *l, uint64_t now,
                        const char *spiffe) {
  size_t i =
      siphash(l->hash_key, spiffe, strlen(spiffe)) % ENROLL_LIMIT_BUCKETS;
  return take(&l->known[i], now, &one_known) &&
         take(&l->all_known, now, &all_known);
}
