/* tls_nobody.c - clients on their way to a first certificate: they verify the
 * server as all do, by a CA that they were given or first look for by its
 * fingerprint, in a handshake that never succeeds. */
#include "transport/tls_int.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <wolfssl/wolfcrypt/sha256.h>

#include <ztna/err.h>

#include "transport/cert_int.h"

/* --- by a CA --- */

static int fill_nobody(struct tls *t, const struct tls_files *f) {
  int rc = tls_read_cas(t, f);
  t->id.not_after = INT64_MAX;
  return rc < 0 ? rc : tls_make_ctx(&t->client, t, f, false);
}

int tls_new_nobody(struct tls **t, const char *ca, size_t len, char *why,
                   size_t room) {
  const struct ztna_identity own = {.ca = ca, .ca_len = len};
  struct tls_files f = {.own = &own, .why = why, .room = room};
  return tls_make(t, &f, fill_nobody);
}

/* wolfSSL asks for a certificate all the same, and verifies the one that it
 * gets. */
void tls_admit_nobody(struct tls *t) {
  assert(t->server);
  t->admits_nobody = true;
  wolfSSL_CTX_set_verify(t->server, WOLFSSL_VERIFY_PEER, tls_on_verify);
}

/* --- by a fingerprint --- */

struct tls_pin *tls_pin_hold(struct tls_pin *p) {
  if (p) p->n_holders++;
  return p;
}

void tls_pin_drop(struct tls_pin *p) {
  if (!p || --p->n_holders > 0) return;
  sbuf_done(&p->found);
  free(p);
}

void tls_pin_look(struct tls_pin *p, const uint8_t *der, size_t len) {
  uint8_t sha256[32];
  if (p->found.len > 0 || len > CERT_DER_MAX) return;
  if (wc_Sha256Hash(der, (word32)len, sha256) != 0) return;
  if (memcmp(sha256, p->sha256, sizeof(sha256)) != 0) return;
  if (cert_is_ca(der, len)) sbuf_add(&p->found, der, len);
}

static int fill_pinned(struct tls *t, const struct tls_files *f) {
  t->pin = tls_pin_hold(calloc(1, sizeof(*t->pin)));
  t->id.not_after = INT64_MAX;
  return t->pin ? tls_make_ctx(&t->client, t, f, false)
                : tls_wrong(f, "no memory");
}

int tls_new_pinned(struct tls **t, const uint8_t ca_sha256[32], char *why,
                   size_t room) {
  const struct ztna_identity own = {0}; /* trusts nobody */
  struct tls_files f = {.own = &own, .why = why, .room = room};
  int rc = tls_make(t, &f, fill_pinned);
  if (rc == 0) memcpy((*t)->pin->sha256, ca_sha256, 32);
  return rc;
}

bool tls_found(const struct tls *t, struct sbuf *pem) {
  const struct sbuf *der = t->pin ? &t->pin->found : NULL;
  if (!der || der->len == 0) return false;
  return cert_add_pem(pem, (const uint8_t *)der->s, der->len, CERT_TYPE) == 0;
}
