/* tls_chain.c - the peer's certificates: looked at in the handshake, and again
 * when the own files have changed since. wolfSSL keeps the leaf only. */
#include "transport/tls_int.h"

#include <stdlib.h>
#include <string.h>

#include <wolfssl/wolfcrypt/error-crypt.h>

#include <ztna/err.h>

#include "transport/cert.h"
#include "transport/der.h"

/* --- in the handshake --- */

struct tls_seen *tls_seen_new(const struct tls *t, bool server) {
  struct tls_seen *s = calloc(1, sizeof(*s));
  if (!s) return NULL;
  if (t->cm && wolfSSL_CertManager_up_ref(t->cm) != WOLFSSL_SUCCESS) {
    free(s);
    return NULL;
  }
  s->cm = t->cm;
  s->crl = crl_hold(t->crl);
  s->pin = tls_pin_hold(t->pin);
  s->admits_nobody = server && t->admits_nobody;
  return s;
}

void tls_seen_free(struct tls_seen *s) {
  if (!s) return;
  crl_drop(s->crl);
  tls_pin_drop(s->pin);
  if (s->cm) wolfSSL_CertManagerFree(s->cm);
  free(s->chain);
  free(s);
}

static bool keep_chain(struct tls_seen *s,
                       const WOLFSSL_X509_STORE_CTX *store) {
  size_t len = 0, at = 0;
  if (store->totalCerts > CHAIN_MAX + 1) return false;
  for (int i = 0; i < store->totalCerts; i++) len += store->certs[i].length;
  if (len == 0 || len > CHAIN_BYTES_MAX) return false;
  free(s->chain);
  s->chain_len = 0;
  if (!(s->chain = malloc(len))) return false;
  for (int i = 0; i < store->totalCerts; i++) {
    memcpy(s->chain + at, store->certs[i].buffer, store->certs[i].length);
    at += store->certs[i].length;
  }
  s->chain_len = len;
  return true;
}

static enum reason look_up(const struct crl *crl, const uint8_t *der,
                           size_t len) {
  int rc = crl_names(crl, der, len);
  if (rc < 0) return REASON_BAD_CERTIFICATE;
  return rc ? REASON_REVOKED : REASON_NONE;
}

static bool cm_vouches(WOLFSSL_CERT_MANAGER *cm, const WOLFSSL_BUFFER_INFO *b) {
  return wolfSSL_CertManagerVerifyBuffer(cm, b->buffer, (long)b->length,
                                         WOLFSSL_FILETYPE_ASN1) ==
         WOLFSSL_SUCCESS;
}

static bool vouches(const WOLFSSL_BUFFER_INFO *ca,
                    const WOLFSSL_BUFFER_INFO *b) {
  WOLFSSL_CERT_MANAGER *cm;
  if (!cert_is_ca(ca->buffer, ca->length)) return false;
  if (!(cm = wolfSSL_CertManagerNew())) return false;
  bool is = wolfSSL_CertManagerLoadCABuffer(cm, ca->buffer, (long)ca->length,
                                            WOLFSSL_FILETYPE_ASN1) ==
                WOLFSSL_SUCCESS &&
            cm_vouches(cm, b);
  wolfSSL_CertManagerFree(cm);
  return is;
}

/* wolfSSL adds the intermediates of every handshake to the context's CAs. Who
 * leaves out one that somebody else has shown would pass, and neither a list
 * nor a date would ever be asked of it. So each certificate must have been
 * signed by an own CA, or by one that is shown behind it. */
static bool chain_is_whole(WOLFSSL_CERT_MANAGER *cm,
                           const WOLFSSL_X509_STORE_CTX *store) {
  if (store->totalCerts > CHAIN_MAX + 1) return false;
  for (int i = 0; i < store->totalCerts; i++) {
    bool is = cm_vouches(cm, &store->certs[i]);
    for (int k = i + 1; k < store->totalCerts && !is; k++)
      is = vouches(&store->certs[k], &store->certs[i]);
    if (!is) return false;
  }
  return true;
}

/* Nothing is verified here, so nothing passes. */
static int look_for_pin(struct tls_pin *pin,
                        const WOLFSSL_X509_STORE_CTX *store) {
  for (int i = 0; i < store->totalCerts; i++)
    tls_pin_look(pin, store->certs[i].buffer, store->certs[i].length);
  return 0;
}

/* It may refuse what wolfSSL lets pass, never the other way round.
 * Intermediates come first, the leaf (depth 0) last, and that one twice. */
int tls_on_verify(int is_good, WOLFSSL_X509_STORE_CTX *store) {
  WOLFSSL *ssl = wolfSSL_X509_STORE_CTX_get_ex_data(
      store, wolfSSL_get_ex_data_X509_STORE_CTX_idx());
  struct tls_seen *s = ssl ? wolfSSL_get_ex_data(ssl, TLS_SEEN_INDEX) : NULL;
  int i = store->error_depth;
  if (s && store->totalCerts > 0) s->shown = true;
  if (s && s->pin) return look_for_pin(s->pin, store);
  if (is_good && s && store->totalCerts == 0) return s->admits_nobody;
  if (!is_good || !s || i < 0 || i >= store->totalCerts) return 0;
  s->refused = look_up(s->crl, store->certs[i].buffer, store->certs[i].length);
  if (s->refused != REASON_NONE) return 0;
  if (i > 0 || s->chain) return 1;
  return chain_is_whole(s->cm, store) && keep_chain(s, store);
}

bool tls_is_nobody(WOLFSSL *ssl) {
  const struct tls_seen *s = wolfSSL_get_ex_data(ssl, TLS_SEEN_INDEX);
  WOLFSSL_X509 *x = wolfSSL_get_peer_certificate(ssl);
  wolfSSL_X509_free(x);
  return s && s->admits_nobody && !s->shown && !x;
}

enum reason tls_refusal(struct WOLFSSL *ssl) {
  const struct tls_seen *s = wolfSSL_get_ex_data(ssl, TLS_SEEN_INDEX);
  return s ? s->refused : REASON_NONE;
}

uint8_t *tls_take_chain(struct WOLFSSL *ssl, size_t *len) {
  struct tls_seen *s = wolfSSL_get_ex_data(ssl, TLS_SEEN_INDEX);
  uint8_t *chain = s ? s->chain : NULL;
  *len = chain ? s->chain_len : 0;
  if (s) s->chain = NULL;
  return chain;
}

/* --- later --- */

struct chain {
  struct der_in v[CHAIN_MAX + 1]; /* the leaf first */
  size_t n;
};

static bool chain_split(struct chain *c, const uint8_t *der, size_t len) {
  struct der_in in = {.at = der, .end = der + len}, value;
  c->n = 0;
  while (der_left(&in)) {
    if (c->n > CHAIN_MAX) return false;
    if (der_next(&in, &value, &c->v[c->n]) != DER_SEQUENCE) return false;
    c->n++;
  }
  return c->n > 0;
}

/* From the CA's end; what is good signs the next. wolfSSL's error or 0. */
static int chain_verify(const struct chain *c, WOLFSSL_CERT_MANAGER *cm) {
  for (size_t i = c->n; i-- > 0;) {
    const struct der_in *d = &c->v[i];
    long n = (long)der_left(d);
    int rc =
        wolfSSL_CertManagerVerifyBuffer(cm, d->at, n, WOLFSSL_FILETYPE_ASN1);
    if (rc != WOLFSSL_SUCCESS) return rc;
    if (i > 0 && cert_is_ca(d->at, (size_t)n))
      wolfSSL_CertManagerLoadCABuffer(cm, d->at, n, WOLFSSL_FILETYPE_ASN1);
  }
  return 0;
}

/* With intermediates: among CAs of its own, so that they are trusted for this
 * chain only. */
static int chain_verify_apart(const struct chain *c, const struct tls *t) {
  WOLFSSL_CERT_MANAGER *cm = wolfSSL_CertManagerNew();
  if (!cm) return MEMORY_E;
  int rc = tls_trust(t, cm) < 0 ? MEMORY_E : chain_verify(c, cm);
  wolfSSL_CertManagerFree(cm);
  return rc;
}

static int look_up_all(const struct chain *c, const struct tls *t,
                       enum reason *why) {
  *why = REASON_NONE;
  for (size_t i = 0; i < c->n && *why == REASON_NONE; i++)
    *why = look_up(t->crl, c->v[i].at, der_left(&c->v[i]));
  return *why == REASON_NONE ? 0 : ZTNA_EREFUSED;
}

static int check(struct tls *t, const uint8_t *der, size_t len, bool again,
                 enum reason *why) {
  struct chain c;
  int rc = 0;
  *why = REASON_NONE;
  if (len == 0 && t->admits_nobody) return 0;
  *why = REASON_BAD_CERTIFICATE;
  if (!t->cm || !chain_split(&c, der, len)) return ZTNA_EREFUSED;
  if (!again)
    rc = c.n > 1 ? chain_verify_apart(&c, t) : chain_verify(&c, t->cm);
  if (rc == 0) return look_up_all(&c, t, why);
  *why = tls_reason(rc, bad_certificate);
  return ZTNA_EREFUSED;
}

int tls_check_chain(struct tls *t, const uint8_t *der, size_t len,
                    enum reason *why) {
  return check(t, der, len, false, why);
}

int tls_check_lists(struct tls *t, const uint8_t *der, size_t len,
                    enum reason *why) {
  return check(t, der, len, true, why);
}
