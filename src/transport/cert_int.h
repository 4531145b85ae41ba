/* cert_int.h - what the files of cert share: wolfSSL's errors, PEM, dates, and
 * one thing being signed. */
#ifndef ZTNA_CERT_INT_H
#define ZTNA_CERT_INT_H

#include <stdbool.h>

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/random.h>

#include "transport/cert.h"

enum { CERT_KEY_BYTES = 32 /* P-256 */ };

/* wolfSSL's code to ours, logged here once. */
int cert_failed(const char *what, int rc);
/* type: wolfSSL's, such as CERT_TYPE. 0, ZTNA_ENOMEM or ZTNA_ETLS. */
int cert_add_pem(struct sbuf *out, const uint8_t *der, size_t len, int type);
/* Moves *pem and *len behind the first "-----BEGIN label-----"; as
 * cert_pem_next, which does it for "CERTIFICATE". */
int cert_pem_find(const char *label, const char **pem, size_t *len,
                  uint8_t *der, size_t room);
/* A UTCTime or GeneralizedTime with tag and length. Its length, or ZTNA_EINVAL.
 */
int cert_put_time(byte *to, int64_t unix_time);

/* One thing being signed. */
struct cert_work {
  WC_RNG rng;
  ecc_key key; /* the subject's */
  ecc_key ca;  /* the signer's; unused when it signs itself */
  Cert *c;
  uint8_t *der; /* CERT_DER_MAX */
  bool has_rng, has_key, has_ca;
};

/* The key is an empty one. Whatever is returned, cert_work_done follows. */
int cert_work_init(struct cert_work *w);
/* Zeroises the keys. */
void cert_work_done(struct cert_work *w);
/* A fresh key. */
int cert_work_make_key(struct cert_work *w);
/* PKCS#8 or SEC1, PEM, into a key that was initialised, with its public half.
 * 0, ZTNA_EINVAL or ZTNA_ETLS. */
int cert_load_key(ecc_key *key, const char *pem, size_t len);
int cert_load_ca_key(struct cert_work *w, const char *pem, size_t len);
int cert_add_key(struct sbuf *out, ecc_key *key);
/* A leaf for w->key, as cert_make_leaf has it. */
int cert_sign_leaf(struct cert_work *w, const struct cert_spec *spec,
                   const char *ca_cert, size_t ca_cert_len, const char *ca_key,
                   size_t ca_key_len, struct sbuf *cert);

#endif
