/* tls_files.c - own certificate, key and CAs, judged before they are used, so
 * that a mistake is named instead of failing every handshake. */
#include "transport/tls_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <wolfssl/wolfcrypt/error-crypt.h>
#include <wolfssl/wolfcrypt/sha256.h>

#include <ztna/err.h>

#include "transport/cert.h"
#include "transport/der.h"

int tls_wrong(const struct tls_files *f, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  if (f->room > 0) vsnprintf(f->why, f->room, fmt, ap);
  va_end(ap);
  return ZTNA_ETLS;
}

/* --- the CAs --- */

static int no_ca(const struct tls_files *f, int rc) {
  char text[128];
  if (rc == 0) return tls_wrong(f, "ca: holds no certificate in PEM form");
  if (rc == ASN_AFTER_DATE_E) return tls_wrong(f, "ca: has expired");
  if (rc == ASN_BEFORE_DATE_E)
    return tls_wrong(f, "ca: is not valid yet; is this machine's clock right?");
  return tls_wrong(f, "ca: unusable: %s",
                   tls_error_text(rc, text, sizeof(text)));
}

/* Every certificate of the CA file that cm takes. One that is out of date is
 * left out while another is good, so that CAs can be rotated. wolfSSL itself
 * would take a leaf for a CA here. */
static int take_cas(struct tls *t, const struct tls_files *f,
                    WOLFSSL_CERT_MANAGER *cm) {
  const char *at = f->own->ca;
  size_t left = f->own->ca_len;
  int n, rc = 0;
  while ((n = cert_pem_next(&at, &left, f->der, CERT_DER_MAX)) > 0) {
    if (!cert_is_ca(f->der, (size_t)n))
      return tls_wrong(f, "ca: holds a certificate that is not a CA's");
    int r =
        wolfSSL_CertManagerLoadCABuffer(cm, f->der, n, WOLFSSL_FILETYPE_ASN1);
    if (r == WOLFSSL_SUCCESS)
      sbuf_add(&t->ca, f->der, (size_t)n);
    else
      rc = r;
  }
  if (n != ZTNA_ENOENT) return tls_wrong(f, "ca: holds a damaged certificate");
  if (t->ca.failed) return tls_wrong(f, "no memory");
  return t->ca.len > 0 ? 0 : no_ca(f, rc);
}

int tls_trust(const struct tls *t, WOLFSSL_CERT_MANAGER *cm) {
  const uint8_t *ca = (const uint8_t *)t->ca.s;
  struct der_in in = {.at = ca, .end = ca + t->ca.len}, value, one;
  while (der_next(&in, &value, &one)) {
    int rc = wolfSSL_CertManagerLoadCABuffer(cm, one.at, (long)der_left(&one),
                                             WOLFSSL_FILETYPE_ASN1);
    if (rc == MEMORY_E) return ZTNA_ENOMEM;
  }
  return 0;
}

static int read_crl(struct tls *t, const struct tls_files *f) {
  const char *why;
  if (!f->own->crl) return 0;
  if (crl_new(&t->crl, f->own->crl, f->own->crl_len, (const uint8_t *)t->ca.s,
              t->ca.len, &why) < 0)
    return tls_wrong(f, "%s", why);
  return 0;
}

/* A CA that another one has revoked is no CA any more. */
static int drop_revoked(struct tls *t, const struct tls_files *f) {
  const uint8_t *ca = (const uint8_t *)t->ca.s;
  struct der_in in = {.at = ca, .end = ca + t->ca.len}, value, one;
  struct sbuf good = {0};
  while (der_next(&in, &value, &one))
    if (crl_names(t->crl, one.at, der_left(&one)) == 0)
      sbuf_add(&good, one.at, der_left(&one));
  sbuf_done(&t->ca);
  t->ca = good;
  if (good.failed) return tls_wrong(f, "no memory");
  return good.len > 0 ? 0 : tls_wrong(f, "ca: has been revoked by crl");
}

int tls_read_cas(struct tls *t, const struct tls_files *f) {
  WOLFSSL_CERT_MANAGER *scratch = wolfSSL_CertManagerNew();
  int rc = scratch ? take_cas(t, f, scratch) : tls_wrong(f, "no memory");
  wolfSSL_CertManagerFree(scratch);
  if (rc == 0) rc = read_crl(t, f);
  if (rc == 0) rc = drop_revoked(t, f);
  if (rc < 0) return rc;
  t->cm = wolfSSL_CertManagerNew();
  if (!t->cm ||
      wc_Sha256Hash((const byte *)t->ca.s, (word32)t->ca.len, t->trust_id) !=
          0 ||
      tls_trust(t, t->cm) < 0)
    return tls_wrong(f, "no memory");
  return 0;
}

/* --- the own certificate --- */

/* The i-th certificate of the own chain; 0 is the leaf. */
static int chain_der(const struct tls_files *f, size_t i) {
  const char *at = f->own->cert;
  size_t left = f->own->cert_len;
  int n;
  do {
    n = cert_pem_next(&at, &left, f->der, CERT_DER_MAX);
  } while (n > 0 && i-- > 0);
  return n;
}

/* Intermediates from the CA's end, each signed by what is trusted so far; the
 * leaf last. The leaf's dates are the peers' to judge: a clock that is wrong
 * at boot must not keep a program from starting. */
static int check_chain(const struct tls_files *f, WOLFSSL_CERT_MANAGER *cm) {
  char text[128];
  size_t n_certs = 0;
  int n;
  while (n_certs < CHAIN_MAX + 1 && chain_der(f, n_certs) > 0) n_certs++;
  for (size_t i = n_certs; i-- > 0;) {
    n = chain_der(f, i);
    int rc =
        wolfSSL_CertManagerVerifyBuffer(cm, f->der, n, WOLFSSL_FILETYPE_ASN1);
    bool late = rc == ASN_AFTER_DATE_E || rc == ASN_BEFORE_DATE_E;
    if (rc == ASN_NO_SIGNER_E || rc == ASN_SELF_SIGNED_E)
      return tls_wrong(f, "cert: no certificate in ca has signed it");
    if (rc != WOLFSSL_SUCCESS && !(late && i == 0))
      return tls_wrong(f, "cert: certificate %zu: %s", i + 1,
                       tls_error_text(rc, text, sizeof(text)));
    if (i > 0 && cert_is_ca(f->der, (size_t)n))
      wolfSSL_CertManagerLoadCABuffer(cm, f->der, n, WOLFSSL_FILETYPE_ASN1);
  }
  return 0;
}

static int read_leaf(struct tls *t, const struct tls_files *f) {
  int n = chain_der(f, 0);
  if (n == ZTNA_ENOENT)
    return tls_wrong(f, "cert: holds no certificate in PEM form");
  if (n < 0) return tls_wrong(f, "cert: holds a damaged certificate");
  if (identity_from_der(&t->id, f->der, (size_t)n) < 0)
    return tls_wrong(f, "cert: does not name one ztna identity "
                        "(spiffe://<trust-domain>/<role>/<name>)");
  return 0;
}

static int check_own(const struct tls *t, const struct tls_files *f) {
  WOLFSSL_CERT_MANAGER *cm = wolfSSL_CertManagerNew();
  if (!cm || tls_trust(t, cm) < 0) {
    wolfSSL_CertManagerFree(cm);
    return tls_wrong(f, "no memory");
  }
  int rc = check_chain(f, cm);
  wolfSSL_CertManagerFree(cm);
  return rc;
}

int tls_read_files(struct tls *t, const struct tls_files *f) {
  int rc = read_leaf(t, f);
  if (rc == 0) rc = tls_read_cas(t, f);
  if (rc == 0) rc = check_own(t, f);
  return rc;
}

int tls_load_own(const struct tls_files *f, WOLFSSL_CTX *ctx) {
  char text[128];
  int rc = wolfSSL_CTX_use_certificate_chain_buffer(
      ctx, (const unsigned char *)f->own->cert, (long)f->own->cert_len);
  if (rc != WOLFSSL_SUCCESS)
    return tls_wrong(f, "cert: %s", tls_error_text(rc, text, sizeof(text)));
  rc = wolfSSL_CTX_use_PrivateKey_buffer(
      ctx, (const unsigned char *)f->own->key, (long)f->own->key_len,
      WOLFSSL_FILETYPE_PEM);
  if (rc != WOLFSSL_SUCCESS)
    return tls_wrong(f, "key: holds no readable private key in PEM form (%s)",
                     tls_error_text(rc, text, sizeof(text)));
  if (wolfSSL_CTX_check_private_key(ctx) != WOLFSSL_SUCCESS)
    return tls_wrong(f, "key: does not belong to cert");
  return 0;
}
