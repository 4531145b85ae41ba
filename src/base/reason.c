/* reason.c - see reason.h. */
#include "base/reason.h"

#include <string.h>

static const struct {
  const char *name, *text, *fix;
  int http;
} reasons[] = {
#define REASON_ROW(sym, name, http, text, fix) {name, text, fix, http},
    REASONS(REASON_ROW)
#undef REASON_ROW
};

/* A number off the wire that a newer version may know and we do not. */
static enum reason known(enum reason r) {
  return (unsigned)r < REASON_N ? r : REASON_INTERNAL;
}

const char *reason_name(enum reason r) { return reasons[known(r)].name; }

const char *reason_text(enum reason r) { return reasons[known(r)].text; }

const char *reason_fix(enum reason r) { return reasons[known(r)].fix; }

int reason_http(enum reason r) { return reasons[known(r)].http; }

enum reason reason_find(const char *name) {
  for (int i = 0; i < REASON_N; i++)
    if (strcmp(reasons[i].name, name) == 0) return (enum reason)i;
  return REASON_INTERNAL;
}
