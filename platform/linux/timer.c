/* timer.c - timerfd. */
#include "../timer.h"

#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <ztna/err.h>

#include "base/log.h"
#include "base/time.h"

int timer_open(void) {
  int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  if (fd >= 0) return fd;
  log_err("timer: timerfd: %s", strerror(errno));
  return ZTNA_EIO;
}

void timer_set(int fd, uint64_t at) {
  struct itimerspec t = {0};
  if (at != NEVER) {
    t.it_value.tv_sec = (time_t)(at / SEC);
    t.it_value.tv_nsec = (long)(at % SEC);
    /* Zero would mean off. */
    if (at == 0) t.it_value.tv_nsec = 1;
  }
  timerfd_settime(fd, TFD_TIMER_ABSTIME, &t, NULL);
}

void timer_ack(int fd) {
  uint64_t n;
  if (read(fd, &n, sizeof(n)) < 0) return; /* set anew meanwhile */
}
