/* timer.h - the one timer of a process, precise to what the kernel can do
 * (libuv's timers know only milliseconds; pacing needs microseconds). */
#ifndef ZTNA_PLATFORM_TIMER_H
#define ZTNA_PLATFORM_TIMER_H

#include <stdint.h>

/* A descriptor that becomes readable at the time set, or ZTNA_EIO. */
int timer_open(void);
/* at: monotonic ns as clock_now() gives them; the past: at once; NEVER: off. */
void timer_set(int fd, uint64_t at);
/* Call when it was readable. */
void timer_ack(int fd);

#endif
