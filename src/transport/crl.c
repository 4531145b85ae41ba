#include "transport/crl.h"

#include <stdlib.h>
#include <string.h>

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/openssl/evp.h>
#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/ed25519.h>
#include <wolfssl/wolfcrypt/sha256.h>

#include <ztna/err.h>

#include "transport/cert.h"
#include "transport/der.h"

enum { DER_BOOLEAN = 0x01 };

/* What names a certificate. */
struct entry {
  uint8_t issuer; /* of crl.issuers */
  uint8_t len;
  uint8_t serial[IDENTITY_SERIAL_MAX];
};

struct crl {
  size_t n_holders;
  int64_t ends;
  uint8_t issuers[CRL_LISTS_MAX][WC_SHA256_DIGEST_SIZE]; /* of their names */
  size_t n_issuers, n_lists;
  struct entry *entries; /* sorted */
  size_t n, room;
};

/* --- one list as DER --- */

struct list {
  struct der_in signed_part, issuer, entries, signature;
  struct der_in algorithm; /* its object identifier */
  int64_t ends;
};

/* 1.2.840.10045.4.3.{2,3,4}: ecdsa-with-SHA...; 1.2.840.113549.1.1.{11,12,13}:
 * sha...WithRSAEncryption */
static const WOLFSSL_EVP_MD *digest_of(const struct der_in *oid) {
  static const uint8_t ecdsa[] = {0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03};
  static const uint8_t rsa[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01};
  size_t n = der_left(oid);
  int which = 0;
  if (n == sizeof(ecdsa) + 1 && !memcmp(oid->at, ecdsa, sizeof(ecdsa)))
    which = oid->at[n - 1] - 1;
  if (n == sizeof(rsa) + 1 && !memcmp(oid->at, rsa, sizeof(rsa)))
    which = oid->at[n - 1] - 10;
  if (which == 1) return wolfSSL_EVP_sha256();
  if (which == 2) return wolfSSL_EVP_sha384();
  return which == 3 ? wolfSSL_EVP_sha512() : NULL;
}

/* A list of parts, or of differences, says so by a critical extension: who does
 * not know it must not go by the list (RFC 5280, 5.2). */
static bool has_critical(struct der_in extensions) {
  while (der_left(&extensions) && !extensions.bad) {
    struct der_in one = der_want(&extensions, DER_SEQUENCE), value;
    der_want(&one, DER_OID);
    if (der_next(&one, &value, NULL) == DER_BOOLEAN && der_left(&value) &&
        *value.at)
      return true;
  }
  return extensions.bad; /* who knows what it wants to say */
}

static const char *split_body(struct list *l, struct der_in in,
                              const struct der_in *outer_algorithm) {
  struct der_in algorithm;
  if (der_peek(&in) == DER_INTEGER) der_want(&in, DER_INTEGER);
  algorithm = der_want(&in, DER_SEQUENCE);
  if (der_left(&algorithm) != der_left(outer_algorithm) ||
      memcmp(algorithm.at, outer_algorithm->at, der_left(&algorithm)) != 0)
    return "crl: holds a damaged list";
  l->algorithm = der_want(&algorithm, DER_OID);
  l->issuer = der_want(&in, DER_SEQUENCE);
  while (der_peek(&in) && der_peek(&in) != (DER_CONTEXT | DER_CONSTRUCTED))
    der_next(&in, &algorithm, NULL); /* cert_read_crl has read them */
  if (!der_left(&in)) return NULL;
  in = der_want(&in, DER_CONTEXT | DER_CONSTRUCTED);
  return has_critical(der_want(&in, DER_SEQUENCE))
             ? "crl: holds a list with a critical extension, of which only "
               "complete lists of a CA have none"
             : NULL;
}

/* NULL, or what is wrong. */
static const char *split(struct list *l, const uint8_t *der, size_t len) {
  struct cert_crl said;
  if (cert_read_crl(&said, der, len) < 0) return "crl: holds a damaged list";
  struct der_in file = {.at = der, .end = der + len}, body, algorithm;
  struct der_in outer = der_want(&file, DER_SEQUENCE);
  der_next(&outer, &body, &l->signed_part);
  algorithm = der_want(&outer, DER_SEQUENCE);
  l->signature = der_want(&outer, DER_BITS);
  if (der_left(&l->signature) < 2 || *l->signature.at++ != 0)
    return "crl: holds a damaged list";
  l->entries = (struct der_in){.at = said.at, .end = said.end};
  l->ends = said.next_update;
  return split_body(l, body, &algorithm);
}

/* --- whose is it --- */

static bool signature_fits(const struct list *l, WOLFSSL_EVP_PKEY *key) {
  const WOLFSSL_EVP_MD *md = digest_of(&l->algorithm);
  WOLFSSL_EVP_MD_CTX *ctx = wolfSSL_EVP_MD_CTX_new();
  bool fits = ctx && md && key &&
              wolfSSL_EVP_DigestVerifyInit(ctx, NULL, md, NULL, key) == 1 &&
              wolfSSL_EVP_DigestVerifyUpdate(ctx, l->signed_part.at,
                                             der_left(&l->signed_part)) == 1 &&
              wolfSSL_EVP_DigestVerifyFinal(ctx, l->signature.at,
                                            der_left(&l->signature)) == 1;
  wolfSSL_EVP_MD_CTX_free(ctx);
  return fits;
}

/* wolfSSL's EVP does not know it. */
static bool ed25519_fits(const struct list *l, const DecodedCert *ca) {
  ed25519_key key;
  int fits = 0;
  if (ca->keyOID != ED25519k || wc_ed25519_init(&key) != 0) return false;
  if (wc_ed25519_import_public(ca->publicKey, ca->pubKeySize, &key) == 0)
    wc_ed25519_verify_msg(l->signature.at, (word32)der_left(&l->signature),
                          l->signed_part.at, (word32)der_left(&l->signed_part),
                          &fits, &key);
  wc_ed25519_free(&key);
  return fits == 1;
}

static bool is_ed25519(const struct list *l) {
  static const uint8_t oid[] = {0x2b, 0x65, 0x70}; /* 1.3.101.112 */
  return der_left(&l->algorithm) == sizeof(oid) &&
         !memcmp(l->algorithm.at, oid, sizeof(oid));
}

/* Is that the name of a CA that may sign lists? */
static bool may_sign(const struct list *l, const DecodedCert *ca) {
  return (!ca->extKeyUsageSet || ca->extKeyUsage & KEYUSE_CRL_SIGN) &&
         (size_t)ca->subjectRawLen == der_left(&l->issuer) &&
         !memcmp(ca->subjectRaw, l->issuer.at, der_left(&l->issuer));
}

static bool evp_fits(const struct list *l, const struct der_in *ca) {
  WOLFSSL_X509 *x = wolfSSL_X509_d2i(NULL, ca->at, (int)der_left(ca));
  WOLFSSL_EVP_PKEY *key = x ? wolfSSL_X509_get_pubkey(x) : NULL;
  bool is = signature_fits(l, key);
  wolfSSL_EVP_PKEY_free(key);
  wolfSSL_X509_free(x);
  return is;
}

static bool is_signed_by(const struct list *l, const struct der_in *ca) {
  DecodedCert cert;
  wc_InitDecodedCert(&cert, ca->at, (word32)der_left(ca), NULL);
  bool is = wc_ParseCert(&cert, CERT_TYPE, NO_VERIFY, NULL) == 0 &&
            may_sign(l, &cert) &&
            (is_ed25519(l) ? ed25519_fits(l, &cert) : evp_fits(l, ca));
  wc_FreeDecodedCert(&cert);
  return is;
}

static const char *check_signer(const struct list *l, struct der_in cas) {
  struct der_in value, one;
  if (!digest_of(&l->algorithm) && !is_ed25519(l))
    return "crl: holds a list signed by a method that is not supported: want "
           "ECDSA or RSA with SHA-256, SHA-384 or SHA-512, or Ed25519";
  while (der_next(&cas, &value, &one))
    if (is_signed_by(l, &one)) return NULL;
  return "crl: no certificate in ca has signed it, or it may not sign lists";
}

/* --- keeping --- */

static bool issuer_of(const struct crl *c, const struct der_in *name,
                      uint8_t hash[WC_SHA256_DIGEST_SIZE], size_t *i) {
  *i = c->n_issuers;
  if (wc_Sha256Hash(name->at, (word32)der_left(name), hash) != 0) return false;
  for (*i = 0; *i < c->n_issuers; ++*i)
    if (!memcmp(c->issuers[*i], hash, WC_SHA256_DIGEST_SIZE)) break;
  return true;
}

static bool entry_make(struct entry *e, size_t issuer, struct der_in serial) {
  while (der_left(&serial) > 1 && !*serial.at) serial.at++;
  if (serial.bad || !der_left(&serial) || der_left(&serial) > sizeof(e->serial))
    return false;
  memset(e, 0, sizeof(*e));
  e->issuer = (uint8_t)issuer;
  e->len = (uint8_t)der_left(&serial);
  memcpy(e->serial, serial.at, e->len);
  return true;
}

static int entry_order(const void *a, const void *b) {
  return memcmp(a, b, sizeof(struct entry));
}

static const char *add_entry(struct crl *c, struct der_in one, size_t issuer) {
  struct der_in serial = der_want(&one, DER_INTEGER), date;
  der_next(&one, &date, NULL);
  if (der_left(&one) && has_critical(der_want(&one, DER_SEQUENCE)))
    return "crl: names certificates of another CA";
  if (c->n == c->room) {
    size_t room = c->room ? 2 * c->room : 16;
    struct entry *more = realloc(c->entries, room * sizeof(*more));
    if (!more) return "no memory";
    c->entries = more;
    c->room = room;
  }
  if (!entry_make(&c->entries[c->n], issuer, serial))
    return "crl: holds a damaged list";
  c->n++;
  return NULL;
}

static const char *add_list(struct crl *c, const struct list *l) {
  uint8_t hash[WC_SHA256_DIGEST_SIZE];
  struct der_in in = l->entries;
  const char *why = NULL;
  size_t i;
  if (++c->n_lists > CRL_LISTS_MAX) return "crl: holds more than 64 lists";
  if (!issuer_of(c, &l->issuer, hash, &i)) return "no memory";
  if (i == c->n_issuers) memcpy(c->issuers[c->n_issuers++], hash, sizeof(hash));
  if (l->ends < c->ends) c->ends = l->ends;
  while (der_left(&in) && !in.bad && !why)
    why = add_entry(c, der_want(&in, DER_SEQUENCE), i);
  return why;
}

/* What two lists name counts once. */
static void sort(struct crl *c) {
  size_t n = 0;
  if (c->n) qsort(c->entries, c->n, sizeof(*c->entries), entry_order);
  for (size_t i = 0; i < c->n; i++)
    if (!n || entry_order(&c->entries[n - 1], &c->entries[i]) != 0)
      c->entries[n++] = c->entries[i];
  c->n = n;
}

static const char *read_all(struct crl *c, const char *file, size_t len,
                            uint8_t *der, struct der_in cas) {
  const char *why = NULL;
  size_t room = len;
  struct list l;
  int n;
  while ((n = cert_crl_take(&file, &len, der, room)) > 0 && !why) {
    why = split(&l, der, (size_t)n);
    if (!why) why = check_signer(&l, cas);
    if (!why) why = add_list(c, &l);
  }
  if (why) return why;
  if (n != ZTNA_ENOENT) return "crl: holds a damaged list";
  if (c->n_lists == 0) return "crl: holds no list, neither as PEM nor as DER";
  sort(c);
  return NULL;
}

int crl_new(struct crl **c, const char *file, size_t len, const uint8_t *cas,
            size_t cas_len, const char **why) {
  struct crl *n = calloc(1, sizeof(*n));
  uint8_t *der = len <= CRL_FILE_MAX ? malloc(len + 1) : NULL;
  *c = NULL;
  *why = len <= CRL_FILE_MAX ? "no memory" : "crl: is larger than 16 MiB";
  if (n && der) {
    n->ends = INT64_MAX;
    *why = read_all(n, file, len, der,
                    (struct der_in){.at = cas, .end = cas + cas_len});
  }
  free(der);
  if (*why) {
    crl_drop(n);
    return ZTNA_ETLS;
  }
  *c = crl_hold(n);
  return 0;
}

struct crl *crl_hold(struct crl *c) {
  if (c) c->n_holders++;
  return c;
}

void crl_drop(struct crl *c) {
  if (!c || (c->n_holders > 0 && --c->n_holders > 0)) return;
  free(c->entries);
  free(c);
}

/* --- asking --- */

static bool has_entry(const struct crl *c, const struct entry *e) {
  size_t from = 0, to = c->n;
  while (from < to) {
    size_t mid = from + (to - from) / 2;
    int order = entry_order(&c->entries[mid], e);
    if (order == 0) return true;
    if (order < 0)
      from = mid + 1;
    else
      to = mid;
  }
  return false;
}

/* RFC 5280, 4.1: [0] version, serial number, algorithm, issuer */
int crl_names(const struct crl *c, const uint8_t *der, size_t len) {
  struct der_in file = {.at = der, .end = der + len};
  struct der_in outer = der_want(&file, DER_SEQUENCE);
  struct der_in in = der_want(&outer, DER_SEQUENCE), serial, issuer;
  uint8_t hash[WC_SHA256_DIGEST_SIZE];
  struct entry e;
  size_t i;
  if (!c || !c->n) return 0;
  if (der_peek(&in) == (DER_CONTEXT | DER_CONSTRUCTED))
    der_want(&in, DER_CONTEXT | DER_CONSTRUCTED);
  serial = der_want(&in, DER_INTEGER);
  der_want(&in, DER_SEQUENCE);
  issuer = der_want(&in, DER_SEQUENCE);
  if (in.bad || !issuer_of(c, &issuer, hash, &i)) return ZTNA_EMALFORMED;
  if (i == c->n_issuers) return 0;
  if (!entry_make(&e, i, serial)) return ZTNA_EMALFORMED;
  return has_entry(c, &e);
}

int64_t crl_ends(const struct crl *c) { return c ? c->ends : INT64_MAX; }
size_t crl_count(const struct crl *c) { return c ? c->n : 0; }
