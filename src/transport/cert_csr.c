/* cert_csr.c - requests for certificates (PKCS#10, RFC 2986). Strangers send
 * them, so only what is needed of the format is read: one kind of key, one kind
 * of signature, names and attributes skipped by their length.
 *
 *   SEQUENCE {
 *     SEQUENCE { INTEGER 0, SEQUENCE names, SEQUENCE key, [0] attributes },
 *     SEQUENCE { ecdsa-with-SHA256 }, BIT STRING signature } */
#include "transport/cert.h"

#include <string.h>

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/error-crypt.h>

#include <ztna/err.h>

#include "transport/cert_int.h"
#include "transport/der.h"
#include "transport/hash.h"

enum {
  DER_MAX = CERT_CSR_MAX * 3 / 4,
  POINT_LEN = 65, /* 4, x, y */
};

/* SubjectPublicKeyInfo of every P-256 key, up to the point (RFC 5480). */
static const uint8_t p256[] = {
    DER_SEQUENCE, 0x59, DER_SEQUENCE, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48,
    0xce,         0x3d, 0x02,         0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
    0xce,         0x3d, 0x03,         0x01, 0x07, 0x03, 0x42, 0x00};
static const uint8_t ecdsa_sha256[] = {DER_SEQUENCE, 0x0a, 0x06, 0x08,
                                       0x2a,         0x86, 0x48, 0xce,
                                       0x3d,         0x04, 0x03, 0x02};

/* The next value, if it has this tag; whole has its head, too. */
static bool take(struct der_in *in, uint8_t tag, struct der_in *whole,
                 struct der_in *body) {
  return der_next(in, body, whole) == tag;
}

/* Where its parts lie. */
struct csr {
  struct der_in info; /* what is signed */
  struct der_in key, alg, signature;
};

static bool find_parts(struct csr *r, const uint8_t *der, size_t len) {
  struct der_in all = {.at = der, .end = der + len}, body, in, skip, x;
  if (!take(&all, DER_SEQUENCE, &skip, &body) || der_left(&all)) return false;
  if (!take(&body, DER_SEQUENCE, &r->info, &in)) return false;
  if (!take(&body, DER_SEQUENCE, &r->alg, &skip)) return false;
  if (!take(&body, DER_BITS, &skip, &r->signature) || der_left(&body))
    return false;
  if (!take(&in, DER_INTEGER, &skip, &x) || der_left(&x) != 1 || x.at[0] != 0)
    return false;
  if (!take(&in, DER_SEQUENCE, &skip, &x)) return false; /* names */
  if (!take(&in, DER_SEQUENCE, &r->key, &skip)) return false;
  return take(&in, DER_CONTEXT | DER_CONSTRUCTED, &skip, &x) && !der_left(&in);
}

static bool begins_with(const struct der_in *s, const void *bytes, size_t n) {
  return der_left(s) >= n && memcmp(s->at, bytes, n) == 0;
}

/* The key, which is one, by a point on the curve. */
static int take_key(const struct csr *r, ecc_key *key) {
  if (der_left(&r->key) != sizeof(p256) + POINT_LEN) return ZTNA_EREFUSED;
  if (!begins_with(&r->key, p256, sizeof(p256))) return ZTNA_EREFUSED;
  const uint8_t *point = r->key.at + sizeof(p256);
  if (point[0] != 4) return ZTNA_EREFUSED; /* uncompressed alone */
  int rc = wc_ecc_import_x963_ex(point, POINT_LEN, key, ECC_SECP256R1);
  if (rc == MEMORY_E) return ZTNA_ENOMEM;
  return rc != 0 || wc_ecc_check_key(key) != 0 ? ZTNA_EREFUSED : 0;
}

static int check_signature(const struct csr *r, ecc_key *key) {
  uint8_t hash[HASH_LEN];
  int right = 0;
  if (der_left(&r->alg) != sizeof(ecdsa_sha256) ||
      !begins_with(&r->alg, ecdsa_sha256, sizeof(ecdsa_sha256)))
    return ZTNA_EREFUSED;
  if (der_left(&r->signature) < 1 || r->signature.at[0] != 0)
    return ZTNA_EMALFORMED;
  hash_sha256(r->info.at, der_left(&r->info), hash);
  int rc = wc_ecc_verify_hash(r->signature.at + 1,
                              (word32)der_left(&r->signature) - 1, hash,
                              sizeof(hash), &right, key);
  if (rc == MEMORY_E) return ZTNA_ENOMEM;
  return rc == 0 && right == 1 ? 0 : ZTNA_EREFUSED;
}

/* key was initialised. */
static int read_csr(const char *pem, size_t len, ecc_key *key,
                    uint8_t spki_sha256[HASH_LEN]) {
  uint8_t der[DER_MAX];
  struct csr r;
  if (len > CERT_CSR_MAX) return ZTNA_EMALFORMED;
  int n = cert_pem_find("CERTIFICATE REQUEST", &pem, &len, der, sizeof(der));
  if (n < 0 || !find_parts(&r, der, (size_t)n)) return ZTNA_EMALFORMED;
  int rc = take_key(&r, key);
  if (rc == 0) rc = check_signature(&r, key);
  if (rc == 0) hash_sha256(r.key.at, der_left(&r.key), spki_sha256);
  return rc;
}

int cert_read_csr(const char *csr, size_t len,
                  uint8_t spki_sha256[CERT_SPKI_HASH_LEN]) {
  ecc_key key;
  int rc = wc_ecc_init(&key);
  if (rc != 0) return cert_failed("key", rc);
  rc = read_csr(csr, len, &key, spki_sha256);
  wc_ecc_free(&key);
  return rc;
}

int cert_sign_csr(const struct cert_spec *spec, const char *csr, size_t csr_len,
                  const char *ca_cert, size_t ca_cert_len, const char *ca_key,
                  size_t ca_key_len, struct sbuf *cert) {
  uint8_t spki_sha256[HASH_LEN];
  struct cert_work w;
  int rc = cert_work_init(&w);
  if (rc == 0) rc = read_csr(csr, csr_len, &w.key, spki_sha256);
  if (rc == 0)
    rc = cert_sign_leaf(&w, spec, ca_cert, ca_cert_len, ca_key, ca_key_len,
                        cert);
  cert_work_done(&w);
  return rc;
}

/* --- making --- */

static int sign_request(struct cert_work *w) {
  int n = wc_InitCert(w->c);
  if (n != 0) return cert_failed("request", n);
  w->c->version = 0; /* "v1", RFC 2986; wolfSSL would say 2 */
  w->c->sigType = CTC_SHA256wECDSA;
  n = wc_MakeCertReq_ex(w->c, w->der, CERT_DER_MAX, ECC_TYPE, &w->key);
  if (n < 0) return cert_failed("request", n);
  n = wc_SignCert_ex(w->c->bodySz, w->c->sigType, w->der, CERT_DER_MAX,
                     ECC_TYPE, &w->key, &w->rng);
  return n < 0 ? cert_failed("request's signature", n) : n;
}

int cert_make_csr(const char *key, size_t key_len, struct sbuf *csr) {
  struct cert_work w;
  int rc = cert_work_init(&w);
  if (rc == 0) rc = cert_load_key(&w.key, key, key_len);
  if (rc == 0 && wc_ecc_get_curve_id(w.key.idx) != ECC_SECP256R1)
    rc = cert_failed("the request's key", ECC_CURVE_OID_E);
  if (rc == 0) rc = sign_request(&w);
  if (rc > 0) rc = cert_add_pem(csr, w.der, (size_t)rc, CERTREQ_TYPE);
  cert_work_done(&w);
  return rc;
}

int cert_make_key(struct sbuf *key) {
  struct cert_work w;
  int rc = cert_work_init(&w);
  if (rc == 0) rc = cert_work_make_key(&w);
  if (rc == 0) rc = cert_add_key(key, &w.key);
  cert_work_done(&w);
  return rc;
}
