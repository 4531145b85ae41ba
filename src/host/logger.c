/* logger.c - log lines to a descriptor. */
#include "host/logger.h"

#include <string.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include <ztna/err.h>

#include "host/clock.h"

enum { LINE_ROOM = 4096, TIME_ROOM = 40 };

static struct {
  int fd;
  enum logger_format format;
} logger = {.fd = 2};

/* RFC 3339, UTC, milliseconds. */
static void print_time(char room[TIME_ROOM]) {
  uint64_t wall = clock_wall();
  time_t seconds = (time_t)(wall / SEC);
  struct tm tm;
  gmtime_r(&seconds, &tm);
  size_t n = strftime(room, TIME_ROOM, "%Y-%m-%dT%H:%M:%S", &tm);
  snprintf(room + n, TIME_ROOM - n, ".%03uZ", (unsigned)(wall % SEC / MS));
}

/* The line is printable ASCII already: only two characters need care. */
static size_t put_json(char *out, size_t room, const char *s) {
  size_t n = 0;
  for (; *s && n + 2 < room; s++) {
    if (*s == '"' || *s == '\\') out[n++] = '\\';
    out[n++] = *s;
  }
  return n;
}

static size_t format_json(char *out, size_t room, const char *when,
                          const char *level, const char *line) {
  size_t n = (size_t)snprintf(
      out, room, "{\"time\":\"%s\",\"level\":\"%s\",\"message\":\"", when,
      level);
  n += put_json(out + n, room - n - 3, line);
  memcpy(out + n, "\"}\n", 3);
  return n + 3;
}

static size_t format_text(char *out, size_t room, const char *when,
                          const char *level, const char *line) {
  size_t n = (size_t)snprintf(out, room - 1, "%s %-5s %s", when, level, line);
  if (n > room - 2) n = room - 2;
  out[n++] = '\n';
  return n;
}

static void sink(void *ud, enum log_level level, const char *line) {
  char out[LINE_ROOM], when[TIME_ROOM];
  const char *name = log_level_name(level);
  print_time(when);
  size_t n = logger.format == LOGGER_JSON
                 ? format_json(out, sizeof(out), when, name, line)
                 : format_text(out, sizeof(out), when, name, line);
  /* A full pipe must not stop the data plane; the line is lost then. */
  if (write(logger.fd, out, n) < 0) return;
}

void logger_start(int fd, enum logger_format format) {
  logger.fd = fd;
  logger.format = format;
  log_to(sink, NULL);
}

int logger_format_parse(const char *text) {
  if (strcmp(text, "text") == 0) return LOGGER_TEXT;
  if (strcmp(text, "json") == 0) return LOGGER_JSON;
  return ZTNA_EINVAL;
}

int logger_level_parse(const char *text) {
  for (int i = LOG_LEVEL_ERR; i <= LOG_LEVEL_DEBUG; i++)
    if (strcmp(text, log_level_name((enum log_level)i)) == 0) return i;
  return ZTNA_EINVAL;
}
