#include "part/policy_serial.h"

#include <string.h>

static int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = (char)(c | 0x20);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

struct policy_serial policy_serial_of(const uint8_t *bytes, size_t len) {
  struct policy_serial s = {.len = 0};
  while (len && !*bytes) {
    bytes++;
    len--;
  }
  if (len > sizeof(s.bytes)) return s;
  if (len) memcpy(s.bytes, bytes, len);
  s.len = len;
  return s;
}

bool policy_serial_parse(struct policy_serial *s, const char *text) {
  uint8_t half[2 * POLICY_SERIAL_MAX]; /* a digit each */
  uint8_t bytes[POLICY_SERIAL_MAX] = {0};
  size_t n = 0, since_colon = 0;
  s->len = 0;
  for (const char *c = text; *c; c++) {
    if (*c == ':' && since_colon == 2 && c[1]) {
      since_colon = 0;
      continue;
    }
    int d = digit(*c);
    if (d < 0 || n == sizeof(half)) return false;
    half[n++] = (uint8_t)d;
    since_colon++;
  }
  if (strchr(text, ':') && since_colon != 2) return false;
  for (size_t i = 0; i < n; i++) { /* from the last one */
    uint8_t *to = &bytes[sizeof(bytes) - 1 - i / 2];
    *to = (uint8_t)(*to | half[n - 1 - i] << (i % 2 ? 4 : 0));
  }
  *s = policy_serial_of(bytes, sizeof(bytes));
  return s->len > 0;
}

bool policy_serial_equal(const struct policy_serial *a,
                         const struct policy_serial *b) {
  return a->len && a->len == b->len && !memcmp(a->bytes, b->bytes, a->len);
}
