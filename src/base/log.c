/* log.c - see log.h. Facts in a line come from peers: whatever is not
 * printable ASCII is escaped here, once, so that no peer can forge a line or
 * drive somebody's terminal. */
#include "base/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { LINE_MAX_LEN = 1023 };

static log_sink_fn sink_fn;
static void *sink_ud;
static enum log_level max_level = LOG_LEVEL_INFO;

void log_to(log_sink_fn sink, void *ud) {
  sink_fn = sink;
  sink_ud = ud;
}

void log_set_level(enum log_level level) { max_level = level; }

enum log_level log_get_level(void) { return max_level; }

const char *log_level_name(enum log_level level) {
  static const char *const names[] = {"err", "warn", "info", "debug"};
  return (unsigned)level < 4 ? names[level] : "?";
}

/* A line that does not fit ends in "...", never in half an escape. */
static void escape(char line[LINE_MAX_LEN + 1], const char *raw, bool cut) {
  static const char ellipsis[] = "...";
  size_t n = 0, fits = 0; /* fits: what stays when the ellipsis must follow */
  for (; *raw; raw++) {
    unsigned char c = (unsigned char)*raw;
    size_t need = c >= 0x20 && c < 0x7f ? 1 : 4;
    if (n + need > LINE_MAX_LEN) {
      cut = true;
      break;
    }
    if (need == 1)
      line[n] = (char)c;
    else
      snprintf(line + n, 5, "\\x%02x", c);
    n += need;
    if (n <= LINE_MAX_LEN - strlen(ellipsis)) fits = n;
  }
  line[n] = 0;
  if (cut) strcpy(line + fits, ellipsis);
}

void log_line(enum log_level level, const char *fmt, ...) {
  if (!sink_fn || level > max_level) return;

  char raw[LINE_MAX_LEN + 1], line[LINE_MAX_LEN + 1];
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(raw, sizeof(raw), fmt, ap);
  va_end(ap);
  if (n < 0) return;
  escape(line, raw, n > LINE_MAX_LEN);
  sink_fn(sink_ud, level, line);
}

int log_allow(struct log_limit *l, uint64_t now, uint32_t burst, uint64_t every,
              uint32_t *hidden) {
  if (now - l->window_at >= every) {
    l->window_at = now;
    l->n = 0;
  }
  if (l->n >= burst) {
    if (l->n_hidden < UINT32_MAX) l->n_hidden++;
    return 0;
  }
  l->n++;
  *hidden = l->n_hidden;
  l->n_hidden = 0;
  return 1;
}
