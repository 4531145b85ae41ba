/* logger.h - the sink for log lines: stderr, with RFC 3339 time. */
#ifndef ZTNA_HOST_LOGGER_H
#define ZTNA_HOST_LOGGER_H

#include "base/log.h"

enum logger_format {
  LOGGER_TEXT, /* 2025-01-31T12:00:00.123Z info relay: route open ... */
  LOGGER_JSON, /* {"time":"...","level":"info","message":"..."} */
};

/* Sends the process's log lines to fd (2 for stderr). Each line is one write,
 * so lines of several processes do not mix. */
void logger_start(int fd, enum logger_format format);
/* "text" or "json"; ZTNA_EINVAL for others. */
int logger_format_parse(const char *text);
/* "err", "warn", "info", "debug"; ZTNA_EINVAL for others. */
int logger_level_parse(const char *text);

#endif
