/* audit_line.c - see audit_line.h. */
#include "host/audit_line.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hex.h"
#include "base/time.h"
#include "transport/hash.h"

#define HEAD "{\"seq\":"
#define PREV ",\"prev\":\""
#define HASH "\",\"hash\":\""
#define END "\"}"

enum {
  HEX = AUDIT_HEX - 1,
  HASH_AT =
      sizeof(",\"hash\":\"") - 1 + HEX + sizeof(END) - 1, /* from behind */
  TAIL = sizeof(PREV) - 1 + HEX + sizeof(HASH) - 1 + HEX + sizeof(END) - 1,
};

const char audit_no_hash[AUDIT_HEX] =
    "0000000000000000000000000000000000000000000000000000000000000000";

/* --- text */

static void put(struct audit_text *t, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void put(struct audit_text *t, const char *fmt, ...) {
  va_list ap;
  int n;

  va_start(ap, fmt);
  n = vsnprintf(t->s + t->len, sizeof(t->s) - t->len, fmt, ap);
  va_end(ap);
  if (n < 0 || (size_t)n >= sizeof(t->s) - t->len)
    t->overflow = true;
  else
    t->len += (size_t)n;
}

static void put_bytes(struct audit_text *t, const char *s, size_t n) {
  if (n >= sizeof(t->s) - t->len) {
    t->overflow = true;
    return;
  }
  memcpy(t->s + t->len, s, n);
  t->len += n;
}

/* Rules are written by people: what JSON does not take as it is, and what a
 * terminal would act on, is escaped. */
static bool is_plain(char c) {
  return (unsigned char)c >= 0x20 && c != 0x7f && c != '"' && c != '\\';
}

static void put_string(struct audit_text *t, const char *s) {
  put_bytes(t, "\"", 1);
  while (*s && !t->overflow) {
    size_t n = 0;

    while (s[n] && is_plain(s[n])) n++;
    put_bytes(t, s, n);
    s += n;
    if (!*s) break;
    put(t, *s == '"' || *s == '\\' ? "\\%c" : "\\u%04x", (unsigned char)*s);
    s++;
  }
  put_bytes(t, "\"", 1);
}

static void print_time(char to[AUDIT_TIME], uint64_t wall) {
  time_t seconds = (time_t)(wall / SEC);
  struct tm tm;
  size_t n;

  gmtime_r(&seconds, &tm);
  n = strftime(to, AUDIT_TIME, "%Y-%m-%dT%H:%M:%S", &tm);
  snprintf(to + n, AUDIT_TIME - n, ".%03uZ", (unsigned)(wall % SEC / MS));
}

static void put_key(struct audit_text *t, const char *key) {
  put_bytes(t, ",\"", 2);
  put_bytes(t, key, strlen(key));
  put_bytes(t, "\":", 2);
}

void audit_text_string(struct audit_text *t, const char *key, const char *s) {
  if (!s || !*s) return;
  put_key(t, key);
  put_string(t, s);
}

void audit_text_number(struct audit_text *t, const char *key, uint64_t n) {
  put(t, ",\"%s\":%" PRIu64, key, n);
}

static void put_addr(struct audit_text *t, const char *key,
                     const struct ztna_addr *a) {
  char text[ZTNA_ADDR_STRLEN];

  if (a->family) audit_text_string(t, key, ztna_addr_print(a, text));
}

void audit_text_init(struct audit_text *t, uint64_t wall, const char *event) {
  char when[AUDIT_TIME];

  t->len = 0;
  t->overflow = false;
  print_time(when, wall);
  put(t, "\"time\":\"%s\",\"event\":\"%s\"", when, event);
}

/* --- records */

static bool has_reason(enum audit_event e) {
  return e != AUDIT_GRANT_BEGIN && e != AUDIT_FLOW_BEGIN && e != AUDIT_ISSUED;
}

static const char *path_name(enum audit_path p) {
  return p == AUDIT_PATH_RELAY    ? "relay"
         : p == AUDIT_PATH_DIRECT ? "direct"
                                  : NULL;
}

static void put_who(struct audit_text *t, const struct audit_record *r) {
  audit_text_string(t, "id", r->id);
  audit_text_string(t, "agent", r->agent);
  audit_text_string(t, "serial", r->serial);
  audit_text_string(t, "token", r->token);
  audit_text_string(t, "renews", r->renews);
  audit_text_string(t, "connector", r->connector);
  audit_text_string(t, "service", r->service);
  audit_text_string(t, "protocol", r->protocol);
  if (r->port) audit_text_number(t, "port", r->port);
  put_addr(t, "from", &r->from);
  put_addr(t, "backend", &r->backend);
  audit_text_string(t, "rule", r->rule);
}

static void put_counts(struct audit_text *t, const struct audit_record *r) {
  if (r->has_bytes) {
    audit_text_number(t, "bytes_from_agent", r->bytes_in);
    audit_text_number(t, "bytes_to_agent", r->bytes_out);
  }
  if (r->has_packets) {
    audit_text_number(t, "packets_from_agent", r->packets_in);
    audit_text_number(t, "packets_to_agent", r->packets_out);
  }
}

bool audit_text_record(struct audit_text *t, const struct audit_record *r,
                       uint64_t now, uint64_t wall) {
  uint64_t ago = now > r->at ? now - r->at : 0;
  char when[AUDIT_TIME];

  audit_text_init(t, wall - ago, audit_event_name(r->event));
  put_who(t, r);
  if (r->began_at) {
    print_time(when, wall - (now > r->began_at ? now - r->began_at : 0));
    audit_text_string(t, "begin", when);
    if (r->ended_at) ago = now > r->ended_at ? now - r->ended_at : 0;
    print_time(when, wall - ago);
    audit_text_string(t, "end", when);
  }
  put_counts(t, r);
  audit_text_string(t, "path", path_name(r->path));
  if (has_reason(r->event))
    audit_text_string(t, "reason", reason_name(r->reason));
  if (r->n_hidden) audit_text_number(t, "hidden", r->n_hidden);
  return !t->overflow;
}

/* --- lines */

static void hash_of(const char *s, size_t len, char to[AUDIT_HEX]) {
  uint8_t raw[HASH_LEN];

  hash_sha256(s, len, raw);
  hex_print(raw, sizeof(raw), to);
}

size_t audit_line_make(char *to, uint64_t seq, const char *body, size_t len,
                       char hash[AUDIT_HEX]) {
  size_t n = (size_t)snprintf(to, AUDIT_LINE_MAX, HEAD "%" PRIu64 ",", seq);

  memcpy(to + n, body, len);
  n += len;
  n += (size_t)snprintf(to + n, AUDIT_LINE_MAX - n, PREV "%s\"", hash);
  hash_of(to, n, hash);
  return n + (size_t)snprintf(to + n, AUDIT_LINE_MAX - n,
                              ",\"hash\":\"%s" END "\n", hash);
}

static bool is_hex(const char *s) {
  return strspn(s, "0123456789abcdef") >= HEX;
}

bool audit_line_is_finished(const char *s, size_t len) {
  return len > HASH_AT && !memcmp(s + len - HASH_AT, ",\"hash\":\"", 9) &&
         !memcmp(s + len - 2, END, 2);
}

static bool read_tail(struct audit_line *l, const char *s, size_t len) {
  const char *at = s + len - TAIL;

  if (len < TAIL || memcmp(at, PREV, sizeof(PREV) - 1)) return false;
  at += sizeof(PREV) - 1;
  memcpy(l->prev, at, HEX);
  at += HEX;
  if (memcmp(at, HASH, sizeof(HASH) - 1)) return false;
  at += sizeof(HASH) - 1;
  memcpy(l->hash, at, HEX);
  l->prev[HEX] = l->hash[HEX] = 0;
  return is_hex(l->prev) && is_hex(l->hash) && !memcmp(at + HEX, END, 2);
}

static bool read_head(struct audit_line *l, const char *s, size_t len) {
  char head[160];
  size_t n = len < sizeof(head) - 1 ? len : sizeof(head) - 1;

  memcpy(head, s, n);
  head[n] = 0;
  return sscanf(head,
                HEAD "%" SCNu64 ",\"time\":\"%*24[0-9TZ:.-]\",\"event\":"
                     "\"%23[a-z-]\"",
                &l->seq, l->event) == 2;
}

bool audit_line_read(struct audit_line *l, const char *s, size_t len) {
  char hash[AUDIT_HEX];

  if (len >= AUDIT_LINE_MAX || !read_tail(l, s, len) || !read_head(l, s, len))
    return false;
  hash_of(s, len - HASH_AT, hash);
  l->is_true = !strcmp(hash, l->hash);
  return true;
}

uint64_t audit_line_number(const char *s, size_t len, const char *key) {
  char copy[AUDIT_LINE_MAX], wanted[64];
  const char *at;

  if (len >= sizeof(copy)) return 0;
  memcpy(copy, s, len);
  copy[len] = 0;
  snprintf(wanted, sizeof(wanted), ",\"%s\":", key);
  at = strstr(copy, wanted);
  return at ? strtoull(at + strlen(wanted), NULL, 10) : 0;
}
