/* log.h - one line per event: subject first, facts after.
 *
 *   log_info("relay: route open route=%s agent=%s", id, name);
 *
 * err: an operator must act; warn: a peer misbehaved (use log_limited);
 * info: lifecycle; debug: decisions. Per-packet facts are counters, not lines.
 * Keys and payloads are never logged. */
#ifndef ZTNA_LOG_H
#define ZTNA_LOG_H

#include <stdint.h>

enum log_level {
  LOG_LEVEL_ERR,
  LOG_LEVEL_WARN,
  LOG_LEVEL_INFO,
  LOG_LEVEL_DEBUG
};

/* Gets one line without newline, bytes outside printable ASCII escaped. */
typedef void (*log_sink_fn)(void *ud, enum log_level level, const char *line);

/* Process wide, set before the first role is made. NULL: lines are dropped. */
void log_to(log_sink_fn sink, void *ud);
void log_set_level(enum log_level level);
enum log_level log_get_level(void);
const char *log_level_name(enum log_level level);

void log_line(enum log_level level, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#define log_err(...) log_line(LOG_LEVEL_ERR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)                        \
  do {                                        \
    if (log_get_level() >= LOG_LEVEL_DEBUG)   \
      log_line(LOG_LEVEL_DEBUG, __VA_ARGS__); \
  } while (0)

/* Lets `burst` lines through per `every` ns; the next one that passes tells how
 * many were left out. Zero-initialised storage of the caller. */
struct log_limit {
  uint64_t window_at;
  uint32_t n, n_hidden;
};
/* True when the caller may log now. *hidden: lines left out before this one. */
int log_allow(struct log_limit *l, uint64_t now, uint32_t burst, uint64_t every,
              uint32_t *hidden);

#endif
