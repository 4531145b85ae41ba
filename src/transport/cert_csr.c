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
#include "transport/hash.h"

enum {
  DER_MAX = CERT_CSR_MAX * 3 / 4,
  POINT_LEN = 65, /* 4, x, y */
  TAG_SEQUENCE = 0x30,
  TAG_INTEGER = 0x02,
  TAG_BITS = 0x03,
  TAG_ATTRIBUTES = 0xa0,
};

/* SubjectPublicKeyInfo of every P-256 key, up to the point (RFC 5480). */
static const uint8_t p256[] = {
    TAG_SEQUENCE, 0x59, TAG_SEQUENCE, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48,
    0xce,         0x3d, 0x02,         0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
    0xce,         0x3d, 0x03,         0x01, 0x07, 0x03, 0x42, 0x00};
static const uint8_t ecdsa_sha256[] = {TAG_SEQUENCE, 0x0a, 0x06, 0x08,
                                       0x2a,         0x86, 0x48, 0xce,
                                       0x3d,         0x04, 0x03, 0x02};

/* Bytes with a length. */
struct span {
  const uint8_t *at;
  size_t len;
};

/* Takes the element with this tag from the beginning of s; whole has its head,
 * too. DER: lengths in their shortest form. */
static bool take(struct span *s, uint8_t tag, struct span *whole,
                 struct span *body) {
  size_t head = 2, n;
  if (s->len < 2 || s->at[0] != tag) return false;
  n = s->at[1];
  if (n >= 0x80) {
    size_t more = n & 0x7f;
    if (more < 1 || more > 2 || s->len < 2 + more) return false;
    n = more == 1 ? s->at[2] : (size_t)(s->at[2] << 8 | s->at[3]);
    if (n < (more == 1 ? 0x80u : 0x100u)) return false;
    head += more;
  }
  if (n > s->len - head) return false;
  *whole = (struct span){s->at, head + n};
  *body = (struct span){s->at + head, n};
  s->at += whole->len;
  s->len -= whole->len;
  return true;
}

/* Where its parts lie. */
struct csr {
  struct span info; /* what is signed */
  struct span key, alg, signature;
};

static bool find_parts(struct csr *r, const uint8_t *der, size_t len) {
  struct span all = {der, len}, body, in, skip, x;
  if (!take(&all, TAG_SEQUENCE, &skip, &body) || all.len) return false;
  if (!take(&body, TAG_SEQUENCE, &r->info, &in)) return false;
  if (!take(&body, TAG_SEQUENCE, &r->alg, &skip)) return false;
  if (!take(&body, TAG_BITS, &skip, &r->signature) || body.len) return false;
  if (!take(&in, TAG_INTEGER, &skip, &x) || x.len != 1 || x.at[0] != 0)
    return false;
  if (!take(&in, TAG_SEQUENCE, &skip, &x)) return false; /* names */
  if (!take(&in, TAG_SEQUENCE, &r->key, &skip)) return false;
  return take(&in, TAG_ATTRIBUTES, &skip, &x) && in.len == 0;
}

static bool begins_with(const struct span *s, const void *bytes, size_t n) {
  return s->len >= n && memcmp(s->at, bytes, n) == 0;
}

/* The key, which is one, by a point on the curve. */
static int take_key(const struct csr *r, ecc_key *key) {
  if (r->key.len != sizeof(p256) + POINT_LEN) return ZTNA_EREFUSED;
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
  if (r->alg.len != sizeof(ecdsa_sha256) ||
      !begins_with(&r->alg, ecdsa_sha256, sizeof(ecdsa_sha256)))
    return ZTNA_EREFUSED;
  if (r->signature.len < 1 || r->signature.at[0] != 0) return ZTNA_EMALFORMED;
  hash_sha256(r->info.at, r->info.len, hash);
  int rc = wc_ecc_verify_hash(r->signature.at + 1, (word32)r->signature.len - 1,
                              hash, sizeof(hash), &right, key);
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
  if (rc == 0) hash_sha256(r.key.at, r.key.len, spki_sha256);
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
