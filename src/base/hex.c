/* hex.c - bytes as text. */
#include "base/hex.h"

char *hex_print(const void *bytes, size_t len, char *text) {
  static const char digits[] = "0123456789abcdef";
  const uint8_t *b = bytes;

  for (size_t i = 0; i < len; i++) {
    text[2 * i] = digits[b[i] >> 4];
    text[2 * i + 1] = digits[b[i] & 15];
  }
  text[2 * len] = 0;
  return text;
}

static int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool hex_parse(void *bytes, size_t len, const char *text) {
  uint8_t *b = bytes;

  if (!text) return false;
  for (size_t i = 0; i < len; i++) {
    int high = digit(text[2 * i]), low = high < 0 ? -1 : digit(text[2 * i + 1]);

    if (low < 0) return false;
    b[i] = (uint8_t)(high << 4 | low);
  }
  return !text[2 * len];
}
