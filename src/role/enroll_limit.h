/* enroll_limit.h - how often an enrolment service is asked: strangers by the
 * network they come from and by the larger one around it, known ones by their
 * name, all also in all. A fixed
 * table: whose keys fall together share a bucket, so strangers get no memory,
 * and cannot use up that of others. */
#ifndef ZTNA_ROLE_ENROLL_LIMIT_H
#define ZTNA_ROLE_ENROLL_LIMIT_H

#include <ztna/addr.h>

#include "base/rng.h"
#include "base/time.h"

enum {
  ENROLL_LIMIT_BUCKETS = 1024,
  ENROLL_LIMIT_WIDE = 256,
  ENROLL_STRANGER_BURST = 10, /* of a /24 or /56, then one each 6 s */
  ENROLL_KNOWN_BURST = 10,    /* of an identity, then one each 30 s */
};

struct enroll_bucket {
  uint64_t filled_at;
  uint32_t tokens;
};

struct enroll_limit {
  uint64_t hash_key[2];
  struct enroll_bucket all_strangers, all_known;
  struct enroll_bucket strangers[ENROLL_LIMIT_BUCKETS];
  struct enroll_bucket wide[ENROLL_LIMIT_WIDE];
  struct enroll_bucket known[ENROLL_LIMIT_BUCKETS];
};

void enroll_limit_init(struct enroll_limit *l, const struct rng *rng,
                       uint64_t now);
bool enroll_limit_stranger(struct enroll_limit *l, uint64_t now,
                           const struct ztna_addr *from);
bool enroll_limit_known(struct enroll_limit *l, uint64_t now,
                        const char *spiffe);
/* Which bucket a network has. */
size_t enroll_limit_network(const struct enroll_limit *l,
                            const struct ztna_addr *from);

#endif
