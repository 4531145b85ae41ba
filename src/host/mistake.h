/* mistake.h - every mistake of a load at once, in the order of the file, each
 * with its place: `relay.json:3: relay.listen: want ip:port, got "x"`. */
#ifndef ZTNA_HOST_MISTAKE_H
#define ZTNA_HOST_MISTAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/sbuf.h"

enum { MISTAKES_MAX = 100 }; /* kept; more are only counted */

struct mistake {
  uint32_t line;
  char *text; /* whole line, without newline */
};

struct mistakes {
  struct mistake v[MISTAKES_MAX];
  size_t n;      /* of all */
  bool of_flags; /* one is on the command line */
};

/* source: file, flag or variable; line 0: none; path may be NULL or empty. */
void mistake_add(struct mistakes *m, const char *source, uint32_t line,
                 const char *path, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
/* A line each, flags first, then by line. */
void mistakes_print(const struct mistakes *m, struct sbuf *out);
void mistakes_done(struct mistakes *m);

/* The nearest of names (ends with NULL) by edit distance, NULL when none is
 * near: for "did you mean". */
const char *nearest(const char *word, const char *const *names);
/* The same one by one: start with *best NULL and *distance 0. */
void nearest_try(const char *word, const char *name, const char **best,
                 size_t *distance);

#endif
