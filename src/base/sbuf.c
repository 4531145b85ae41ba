/* sbuf.c - see sbuf.h. */
#include "base/sbuf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_CAP = 256, DEFAULT_MAX = 16 << 20 };

void sbuf_init(struct sbuf *b, size_t max) { *b = (struct sbuf){.max = max}; }

void sbuf_done(struct sbuf *b) {
  free(b->s);
  *b = (struct sbuf){.max = b->max};
}

/* Room for n more bytes and the NUL; false latches the failure. */
static bool reserve(struct sbuf *b, size_t n) {
  size_t max = b->max ? b->max : DEFAULT_MAX;
  if (b->failed || n > max - b->len) {
    b->failed = true;
    return false;
  }
  size_t need = b->len + n + 1, cap = b->cap ? b->cap : FIRST_CAP;
  if (need <= b->cap) return true;
  while (cap < need) cap = cap > SIZE_MAX / 2 ? need : 2 * cap;
  char *s = realloc(b->s, cap);
  if (!s) {
    b->failed = true;
    return false;
  }
  b->s = s;
  b->cap = cap;
  return true;
}

void sbuf_add(struct sbuf *b, const void *bytes, size_t len) {
  if (!len || !reserve(b, len)) return;
  memcpy(b->s + b->len, bytes, len);
  b->len += len;
  b->s[b->len] = 0;
}

void sbuf_printf(struct sbuf *b, const char *fmt, ...) {
  va_list ap, again;
  va_start(ap, fmt);
  va_copy(again, ap);
  int n = vsnprintf(NULL, 0, fmt, ap);
  va_end(ap);
  assert(n >= 0);
  if (n > 0 && reserve(b, (size_t)n)) {
    vsnprintf(b->s + b->len, (size_t)n + 1, fmt, again);
    b->len += (size_t)n;
  }
  va_end(again);
}
