/* wipe.h - overwrites what was secret, in a way that compilers keep. */
#ifndef ZTNA_WIPE_H
#define ZTNA_WIPE_H

#include <stddef.h>

static inline void wipe_bytes(void *bytes, size_t len) {
  volatile char *p = bytes;
  while (len--) *p++ = 0;
}

#endif
