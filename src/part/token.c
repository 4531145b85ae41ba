/* token.c - see token.h. */
#include "part/token.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <ztna/addr.h>
#include <ztna/err.h>

#include "base/wipe.h"

static const char prefix[] = "zt1_";
enum {
  PREFIX_LEN = sizeof(prefix) - 1,
  BYTES_LEN = TOKEN_ID_LEN + TOKEN_SECRET_LEN + 32,
  DIGITS_LEN = (BYTES_LEN * 8 + 5) / 6,
  HOST_MAX = 253,
};

_Static_assert(PREFIX_LEN + DIGITS_LEN + 1 + TOKEN_SERVER_MAX + 1 ==
                   TOKEN_TEXT_MAX,
               "token.h");

/* --- base64url without padding (RFC 4648, 5) */

static const char digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void print_bytes(const uint8_t *bytes, char *text) {
  uint32_t bits = 0;
  int n_bits = 0;
  for (size_t i = 0; i < BYTES_LEN; i++) {
    bits = bits << 8 | bytes[i];
    for (n_bits += 8; n_bits >= 6; n_bits -= 6)
      *text++ = digits[bits >> (n_bits - 6) & 63];
  }
  if (n_bits) *text = digits[bits << (6 - n_bits) & 63];
}

static int digit(char c) {
  const char *d = c ? strchr(digits, c) : NULL;
  return d ? (int)(d - digits) : -1;
}

/* DIGITS_LEN digits. What is behind the last byte must be 0, so that a token
 * has one text. */
static bool parse_bytes(uint8_t *bytes, const char *text) {
  uint32_t bits = 0;
  int n_bits = 0;
  for (size_t i = 0; i < DIGITS_LEN; i++) {
    int d = digit(text[i]);
    if (d < 0) return false;
    bits = bits << 6 | (uint32_t)d;
    if ((n_bits += 6) < 8) continue;
    n_bits -= 8;
    *bytes++ = (uint8_t)(bits >> n_bits);
  }
  return (bits & ((1u << n_bits) - 1)) == 0;
}

/* --- host:port */

static bool host_is_fine(const char *host, size_t len) {
  if (len == 0 || len > HOST_MAX || host[0] == '-' || host[0] == '.')
    return false;
  for (size_t i = 0; i < len; i++) {
    char c = host[i];
    bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
    if (!letter && !(c >= '0' && c <= '9') && c != '-' && c != '.' && c != '_')
      return false;
    if (c == '.' && host[i - 1] == '.') return false;
  }
  return true;
}

static bool v6_is_fine(const char *host, size_t len) {
  char text[ZTNA_ADDR_STRLEN];
  struct ztna_addr a;
  if (len >= sizeof(text) || len < 2) return false;
  memcpy(text, host, len);
  text[len] = 0;
  return text[0] == '[' && text[len - 1] == ']' &&
         ztna_addr_parse(&a, text) == 0;
}

static bool port_is_fine(const char *text) {
  unsigned v = 0;
  size_t n = strlen(text);
  if (n == 0 || n > 5 || text[0] == '0') return false;
  for (; *text; text++) {
    if (*text < '0' || *text > '9') return false;
    v = v * 10 + (unsigned)(*text - '0');
  }
  return v <= 65535;
}

bool token_server_is_fine(const char *server) {
  const char *colon = strrchr(server, ':');
  if (!colon || !port_is_fine(colon + 1)) return false;
  size_t len = (size_t)(colon - server);
  return server[0] == '[' ? v6_is_fine(server, len) : host_is_fine(server, len);
}

/* --- whole tokens */

int token_print(const struct token *t, char *text) {
  uint8_t bytes[BYTES_LEN];
  size_t n = strnlen(t->server, sizeof(t->server));
  if (n > TOKEN_SERVER_MAX || !token_server_is_fine(t->server))
    return ZTNA_EINVAL;
  memcpy(bytes, t->id, TOKEN_ID_LEN);
  memcpy(bytes + TOKEN_ID_LEN, t->secret, TOKEN_SECRET_LEN);
  memcpy(bytes + TOKEN_ID_LEN + TOKEN_SECRET_LEN, t->ca_sha256, 32);
  memcpy(text, prefix, PREFIX_LEN);
  print_bytes(bytes, text + PREFIX_LEN);
  text[PREFIX_LEN + DIGITS_LEN] = '@';
  memcpy(text + PREFIX_LEN + DIGITS_LEN + 1, t->server, n + 1);
  wipe_bytes(bytes, sizeof(bytes));
  return 0;
}

static bool parse(struct token *t, const char *text, size_t len) {
  uint8_t bytes[BYTES_LEN];
  size_t head = PREFIX_LEN + DIGITS_LEN + 1;
  if (len <= head || len >= TOKEN_TEXT_MAX || memchr(text, 0, len))
    return false;
  if (memcmp(text, prefix, PREFIX_LEN) != 0 || text[head - 1] != '@')
    return false;
  bool fine = parse_bytes(bytes, text + PREFIX_LEN);
  memcpy(t->id, bytes, TOKEN_ID_LEN);
  memcpy(t->secret, bytes + TOKEN_ID_LEN, TOKEN_SECRET_LEN);
  memcpy(t->ca_sha256, bytes + TOKEN_ID_LEN + TOKEN_SECRET_LEN, 32);
  wipe_bytes(bytes, sizeof(bytes));
  memcpy(t->server, text + head, len - head);
  t->server[len - head] = 0;
  return fine && token_server_is_fine(t->server);
}

int token_parse(struct token *t, const char *text, size_t len) {
  struct token got = {0};
  bool fine = parse(&got, text, len);
  if (fine) *t = got;
  wipe_bytes(&got, sizeof(got));
  return fine ? 0 : ZTNA_EMALFORMED;
}
