#include "base/bucket.h"

#include "base/time.h"

enum { MILLI = 1000 };

/* What is left of a thousandth stays for the next time. */
static void fill(struct bucket *b, uint64_t now, uint32_t per_s,
                 uint32_t most) {
  uint64_t unit = SEC / ((uint64_t)per_s * MILLI);
  uint64_t fresh = (now - b->filled_at) / unit;
  if (!b->filled_at || fresh >= most - b->tokens) {
    b->tokens = most;
    b->filled_at = now ? now : 1;
    return;
  }
  b->tokens += (uint32_t)fresh;
  b->filled_at += fresh * unit;
}

bool bucket_take(struct bucket *b, uint64_t now, uint32_t per_s, uint32_t burst,
                 uint32_t n, uint32_t reserve) {
  fill(b, now, per_s, burst * MILLI);
  if (b->tokens < (reserve + n) * MILLI) return false;
  b->tokens -= n * MILLI;
  return true;
}
