/* sbuf.h - growing text buffer with a bound, for answers and reports; never on
 * the packet path. The first failure latches, so it is judged once. */
#ifndef ZTNA_SBUF_H
#define ZTNA_SBUF_H

#include <stdbool.h>
#include <stddef.h>

struct sbuf {
  char *s; /* NUL terminated when len > 0 */
  size_t len, cap, max;
  bool failed; /* no memory or past max */
};

/* max 0: 16 MiB. Zeroed storage is a valid empty buffer too. */
void sbuf_init(struct sbuf *b, size_t max);
void sbuf_done(struct sbuf *b);
void sbuf_add(struct sbuf *b, const void *bytes, size_t len);
void sbuf_printf(struct sbuf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
