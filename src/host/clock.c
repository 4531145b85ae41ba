/* clock.c - clocks and randomness of this machine. */
#include "host/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

static uint64_t clock_read(clockid_t id) {
  struct timespec t;
  clock_gettime(id, &t);
  return (uint64_t)t.tv_sec * SEC + (uint64_t)t.tv_nsec;
}

uint64_t clock_now(void) { return clock_read(CLOCK_MONOTONIC); }
uint64_t clock_wall(void) { return clock_read(CLOCK_REALTIME); }

/* getrandom gives at most 256 bytes in one piece for certain. */
static void fill(void *ctx, void *buf, size_t len) {
  uint8_t *p = buf;
  while (len > 0) {
    ssize_t n = getrandom(p, len < 256 ? len : 256, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) abort(); /* without randomness there is no security */
    p += n;
    len -= (size_t)n;
  }
}

const struct rng clock_rng = {.fill = fill};
