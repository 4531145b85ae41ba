/* tool_impostor.c - ztna, but on paths it shows another certificate than on its
 * control connections:
 *
 *   IMPOSTOR=STEM IMPOSTOR_CA=FILE [IMPOSTOR_FROM=N] tool_impostor agent ...
 *
 * STEM.pem and STEM.key, from the Nth path on (1: the relayed one; 2: the
 * direct one after it). Linked with --wrap=tls_session (Makefile). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transport/tls.h"

struct WOLFSSL *__real_tls_session(struct tls *t, bool server, const char *alpn,
                                   const char *server_name);
struct WOLFSSL *__wrap_tls_session(struct tls *t, bool server, const char *alpn,
                                   const char *server_name);

static struct ztna_identity own;
static int n_paths, from = 1;

static const char *text_of(const char *stem, const char *end, size_t *len) {
  char name[512], *text = calloc(1, 65536);
  FILE *in;

  snprintf(name, sizeof(name), "%s%s", stem, end);
  in = fopen(name, "r");
  if (!in || !text) {
    perror(name);
    exit(2);
  }
  *len = fread(text, 1, 65535, in);
  fclose(in);
  return text;
}

/* Before the sandbox closes. */
__attribute__((constructor)) static void prepare(void) {
  const char *stem = getenv("IMPOSTOR"), *ca = getenv("IMPOSTOR_CA");

  if (!stem || !ca) return;
  if (getenv("IMPOSTOR_FROM")) from = atoi(getenv("IMPOSTOR_FROM"));
  own.cert = text_of(stem, ".pem", &own.cert_len);
  own.key = text_of(stem, ".key", &own.key_len);
  own.ca = text_of(ca, "", &own.ca_len);
}

struct WOLFSSL *__wrap_tls_session(struct tls *t, bool server, const char *alpn,
                                   const char *server_name) {
  static struct tls *other;
  char why[256];

  if (own.cert && !other && tls_new(&other, &own, why, sizeof(why)) < 0) {
    fprintf(stderr, "impostor: %s\n", why);
    exit(2);
  }
  if (other && !strcmp(alpn, "ztna/1") && ++n_paths >= from) t = other;
  return __real_tls_session(t, server, alpn, server_name);
}
