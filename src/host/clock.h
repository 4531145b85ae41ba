/* clock.h - what the core takes as arguments, from the real machine. */
#ifndef ZTNA_HOST_CLOCK_H
#define ZTNA_HOST_CLOCK_H

#include "base/rng.h"
#include "base/time.h"

/* Monotonic nanoseconds. */
uint64_t clock_now(void);
/* Unix time in nanoseconds. */
uint64_t clock_wall(void);
/* getrandom(2). Aborts when the kernel has none to give. */
extern const struct rng clock_rng;

#endif
