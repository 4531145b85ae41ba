/* time.h - time is an argument: monotonic nanoseconds from any origin. */
#ifndef ZTNA_TIME_H
#define ZTNA_TIME_H

#include <stdint.h>

#define NEVER UINT64_MAX /* sorts after every deadline */
#define US UINT64_C(1000)
#define MS UINT64_C(1000000)
#define SEC UINT64_C(1000000000)

static inline uint64_t time_min(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}

#endif
