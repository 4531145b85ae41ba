/* token.h - enrolment tokens: what lets a machine without a certificate ask for
 * one, once.
 *
 *   zt1_<base64url of id (8), secret (16), SHA-256 of the CA's certificate
 *   (32)>@<host:port of the enrolment service>
 *
 * The service keeps the SHA-256 of id and secret alone (docs/ENROLL.md). */
#ifndef ZTNA_TOKEN_H
#define ZTNA_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  TOKEN_ID_LEN = 8,
  TOKEN_SECRET_LEN = 16,
  TOKEN_SERVER_MAX = 261, /* host 253, brackets, colon, port */
  TOKEN_TEXT_MAX = 4 + 75 + 1 + TOKEN_SERVER_MAX + 1,
};

struct token {
  uint8_t id[TOKEN_ID_LEN];
  uint8_t secret[TOKEN_SECRET_LEN];
  uint8_t ca_sha256[32];
  char server[TOKEN_SERVER_MAX + 1]; /* host:port, [v6]:port */
};

/* text holds TOKEN_TEXT_MAX bytes. 0, or ZTNA_EINVAL: server is no host:port.
 */
int token_print(const struct token *t, char *text);
/* What token_print writes and nothing else: no blanks, no line's end. 0 or
 * ZTNA_EMALFORMED (and *t as it was). */
int token_parse(struct token *t, const char *text, size_t len);
/* host:port or [v6]:port, in printable ASCII; the port is not 0. */
bool token_server_is_fine(const char *server);

#endif
