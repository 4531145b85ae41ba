#include "transport/cert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/coding.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/error-crypt.h>
#include <wolfssl/wolfcrypt/memory.h>
#include <wolfssl/wolfcrypt/random.h>
#include <wolfssl/wolfcrypt/sha256.h>

#include <ztna/err.h>

#include "base/log.h"
#include "transport/cert_int.h"
#include "transport/der.h"

enum {
  KEY_DER_MAX = 512,
  PEM_MAX = CERT_DER_MAX * 3 / 2,
};

int cert_failed(const char *what, int rc) {
  if (rc == MEMORY_E) return ZTNA_ENOMEM;
  log_debug("cert: %s failed: %s (wolfSSL %d)", what, wc_GetErrorString(rc),
            rc);
  return ZTNA_ETLS;
}

/* --- PEM --- */

int cert_pem_find(const char *label, const char **pem, size_t *len,
                  uint8_t *der, size_t room) {
  char begin[48], end[48];
  size_t n_begin =
      (size_t)snprintf(begin, sizeof(begin), "-----BEGIN %s-----", label);
  size_t n_end = (size_t)snprintf(end, sizeof(end), "-----END %s-----", label);
  if (*len == 0) return ZTNA_ENOENT;
  const char *a = memmem(*pem, *len, begin, n_begin);
  if (!a) return ZTNA_ENOENT;
  a += n_begin;
  const char *b = memmem(a, *len - (size_t)(a - *pem), end, n_end);
  if (!b) return ZTNA_EMALFORMED;
  word32 n = (word32)room;
  int rc = Base64_Decode((const byte *)a, (word32)(b - a), der, &n);
  *len -= (size_t)(b + n_end - *pem);
  *pem = b + n_end;
  if (rc == BAD_FUNC_ARG || rc == BUFFER_E) return ZTNA_ESIZE;
  return rc == 0 && n > 0 ? (int)n : ZTNA_EMALFORMED;
}

int cert_pem_next(const char **pem, size_t *len, uint8_t *der, size_t room) {
  return cert_pem_find("CERTIFICATE", pem, len, der, room);
}

int cert_pem_to_der(const char *pem, size_t len, uint8_t *der, size_t room) {
  return cert_pem_next(&pem, &len, der, room);
}

int cert_add_pem(struct sbuf *out, const uint8_t *der, size_t len, int type) {
  byte pem[PEM_MAX];
  int n = wc_DerToPem(der, (word32)len, pem, sizeof(pem), type);
  if (n > 0) sbuf_add(out, pem, (size_t)n);
  wc_ForceZero(pem, sizeof(pem));
  if (n <= 0) return cert_failed("PEM", n);
  return out->failed ? ZTNA_ENOMEM : 0;
}

void cert_forget(struct sbuf *key) {
  if (key->s) wc_ForceZero(key->s, key->cap);
  sbuf_done(key);
}

/* --- names --- */

static bool dns_is_fine(const char *name) {
  size_t n = strlen(name);
  if (n == 0 || n > 253) return false;
  for (size_t i = 0; i < n; i++)
    if (name[i] <= ' ' || name[i] > '~') return false;
  return true;
}

static bool spec_is_fine(const struct cert_spec *s) {
  struct identity id;
  if (identity_parse_spiffe(&id, s->spiffe, strlen(s->spiffe)) < 0)
    return false;
  if (s->n_dns > IDENTITY_MAX_DNS || s->n_ips > IDENTITY_MAX_IPS) return false;
  for (size_t i = 0; i < s->n_dns; i++)
    if (!dns_is_fine(s->dns[i])) return false;
  for (size_t i = 0; i < s->n_ips; i++)
    if (s->ips[i].family != 4 && s->ips[i].family != 6) return false;
  return true;
}

/* SEQUENCE { [6] URI, [2] DNS..., [7] IP... }, RFC 5280, 4.2.1.6 */
static int put_names(Cert *c, const struct cert_spec *s) {
  struct der_out o = {.buf = c->altNames, .at = sizeof(c->altNames)};
  for (size_t i = s->n_ips; i-- > 0;)
    der_put_value(&o, DER_CONTEXT | ASN_IP_TYPE, s->ips[i].ip,
                  s->ips[i].family == 4 ? 4 : 16);
  for (size_t i = s->n_dns; i-- > 0;)
    der_put_value(&o, DER_CONTEXT | ASN_DNS_TYPE, s->dns[i], strlen(s->dns[i]));
  der_put_value(&o, DER_CONTEXT | ASN_URI_TYPE, s->spiffe, strlen(s->spiffe));
  der_wrap(&o, DER_SEQUENCE, sizeof(c->altNames));
  if (o.full) return ZTNA_EINVAL;
  c->altNamesSz = (int)(sizeof(c->altNames) - o.at);
  memmove(c->altNames, c->altNames + o.at, (size_t)c->altNamesSz);
  return 0;
}

/* --- dates: given exactly, because wolfSSL's daysValid back-dates by a day and
 * adds one --- */

int cert_put_time(byte *to, int64_t unix_time) {
  struct tm tm;
  time_t t = (time_t)unix_time;
  char text[32];
  if (!gmtime_r(&t, &tm) || tm.tm_year < 50 || tm.tm_year > 9999 - 1900)
    return ZTNA_EINVAL;
  /* RFC 5280, 4.1.2.5: UTCTime through 2049, then GeneralizedTime. */
  bool utc = tm.tm_year < 150;
  size_t n = strftime(text, sizeof(text),
                      utc ? "%y%m%d%H%M%SZ" : "%Y%m%d%H%M%SZ", &tm);
  to[0] = utc ? ASN_UTC_TIME : ASN_GENERALIZED_TIME;
  to[1] = (byte)n;
  memcpy(to + 2, text, n);
  return (int)n + 2;
}

static int put_dates(Cert *c, int64_t not_before, int64_t not_after) {
  if (not_after <= not_before) return ZTNA_EINVAL;
  c->beforeDateSz = cert_put_time(c->beforeDate, not_before);
  c->afterDateSz = cert_put_time(c->afterDate, not_after);
  return c->beforeDateSz < 0 || c->afterDateSz < 0 ? ZTNA_EINVAL : 0;
}

int cert_read_time(int64_t *to, const uint8_t *der, int len) {
  const byte *date;
  byte format;
  struct tm tm;
  if (wc_GetDateInfo(der, len, &date, &format, &len) != 0)
    return ZTNA_EMALFORMED;
  if (wc_GetDateAsCalendarTime(date, len, format, &tm) != 0)
    return ZTNA_EMALFORMED;
  *to = (int64_t)timegm(&tm);
  return 0;
}

/* --- making --- */

void cert_work_done(struct cert_work *w) {
  if (w->has_ca) wc_ecc_free(&w->ca); /* zeroises */
  if (w->has_key) wc_ecc_free(&w->key);
  if (w->has_rng) wc_FreeRng(&w->rng);
  free(w->c);
  free(w->der);
}

int cert_work_init(struct cert_work *w) {
  int rc;
  memset(w, 0, sizeof(*w));
  w->c = calloc(1, sizeof(*w->c)); /* 24 KB */
  w->der = malloc(CERT_DER_MAX);
  if (!w->c || !w->der) return ZTNA_ENOMEM;
  if ((rc = wc_InitRng(&w->rng)) != 0)
    return cert_failed("random generator", rc);
  w->has_rng = true;
  if ((rc = wc_ecc_init(&w->key)) != 0) return cert_failed("key", rc);
  w->has_key = true;
  return 0;
}

int cert_work_make_key(struct cert_work *w) {
  int rc = wc_ecc_make_key_ex(&w->rng, CERT_KEY_BYTES, &w->key, ECC_SECP256R1);
  return rc != 0 ? cert_failed("key generation", rc) : 0;
}

static int work_begin(struct cert_work *w) {
  int rc;
  if ((rc = wc_InitCert(w->c)) != 0) return cert_failed("certificate", rc);
  w->c->sigType = CTC_SHA256wECDSA;
  rc = wc_SetSubjectKeyIdFromPublicKey_ex(w->c, ECC_TYPE, &w->key);
  return rc != 0 ? cert_failed("subject key identifier", rc) : 0;
}

/* Signs; returns the length of w->der. */
static int work_sign(struct cert_work *w, ecc_key *signer) {
  int n =
      wc_MakeCert_ex(w->c, w->der, CERT_DER_MAX, ECC_TYPE, &w->key, &w->rng);
  if (n < 0) return cert_failed("certificate body", n);
  n = wc_SignCert_ex(w->c->bodySz, w->c->sigType, w->der, CERT_DER_MAX,
                     ECC_TYPE, signer, &w->rng);
  return n < 0 ? cert_failed("signature", n) : n;
}

int cert_add_key(struct sbuf *out, ecc_key *key) {
  byte der[KEY_DER_MAX];
  word32 n = sizeof(der);
  int rc = wc_EccKeyToPKCS8(key, der, &n);
  rc = rc < 0 ? cert_failed("key encoding", rc)
              : cert_add_pem(out, der, n, PKCS8_PRIVATEKEY_TYPE);
  wc_ForceZero(der, sizeof(der));
  return rc;
}

static int fill_ca(Cert *c, ecc_key *key, const char *common_name) {
  int rc;
  snprintf(c->subject.commonName, sizeof(c->subject.commonName), "%s",
           common_name);
  c->isCA = 1;
  c->basicConstSet = 1;
  c->basicConstCrit = 1;
  c->pathLenSet = 1; /* 0: signs leaves only */
  c->selfSigned = 1;
  if ((rc = wc_SetAuthKeyIdFromPublicKey_ex(c, ECC_TYPE, key)) != 0)
    return cert_failed("authority key identifier", rc);
  if ((rc = wc_SetKeyUsage(c, "keyCertSign,cRLSign")) != 0)
    return cert_failed("key usage", rc);
  return 0;
}

int cert_make_ca(const char *common_name, int64_t not_before, int64_t not_after,
                 struct sbuf *cert, struct sbuf *key) {
  struct cert_work w;
  size_t n = strlen(common_name);
  if (n == 0 || n > CERT_CN_MAX) return ZTNA_EINVAL;
  int rc = cert_work_init(&w);
  if (rc == 0) rc = cert_work_make_key(&w);
  if (rc == 0) rc = work_begin(&w);
  if (rc == 0) rc = put_dates(w.c, not_before, not_after);
  if (rc == 0) rc = fill_ca(w.c, &w.key, common_name);
  if (rc == 0) rc = work_sign(&w, &w.key);
  if (rc > 0) rc = cert_add_pem(cert, w.der, (size_t)rc, CERT_TYPE);
  if (rc == 0) rc = cert_add_key(key, &w.key);
  cert_work_done(&w);
  return rc;
}

int cert_load_key(ecc_key *key, const char *pem, size_t len) {
  byte der[4096];
  word32 at = 0;
  if (len > INT32_MAX) return ZTNA_EINVAL;
  int n = wc_KeyPemToDer((const byte *)pem, (int)len, der, sizeof(der), NULL);
  int rc = n < 0 ? n : wc_EccPrivateKeyDecode(der, &at, key, (word32)n);
  wc_ForceZero(der, sizeof(der));
  if (rc == 0 && key->type == ECC_PRIVATEKEY_ONLY)
    rc = wc_ecc_make_pub(key, NULL);
  return rc < 0 ? cert_failed("reading a key", rc) : 0;
}

int cert_load_ca_key(struct cert_work *w, const char *pem, size_t len) {
  int rc = wc_ecc_init(&w->ca);
  if (rc != 0) return cert_failed("CA key", rc);
  w->has_ca = true;
  return cert_load_key(&w->ca, pem, len);
}

static int fill_leaf(Cert *c, const struct cert_spec *spec, const uint8_t *ca,
                     int ca_len) {
  struct identity id;
  int rc;
  identity_parse_spiffe(&id, spec->spiffe, strlen(spec->spiffe));
  /* For people only: who it is says the URI. */
  snprintf(c->subject.org, sizeof(c->subject.org), "%s", id.trust_domain);
  snprintf(c->subject.commonName, sizeof(c->subject.commonName), "%s %.50s",
           role_name(id.role), id.name);
  if ((rc = wc_SetIssuerBuffer(c, ca, ca_len)) < 0)
    return cert_failed("issuer", rc);
  if ((rc = wc_SetAuthKeyIdFromCert(c, ca, ca_len)) < 0)
    return cert_failed("authority key identifier", rc);
  if ((rc = wc_SetKeyUsage(c, "digitalSignature")) != 0 ||
      (rc = wc_SetExtKeyUsage(c, "clientAuth,serverAuth")) != 0)
    return cert_failed("key usage", rc);
  return put_names(c, spec);
}

int cert_check_signature(const uint8_t *der, size_t len, const uint8_t *ca,
                         size_t ca_len) {
  WOLFSSL_CERT_MANAGER *cm = wolfSSL_CertManagerNew();
  if (!cm) return ZTNA_ENOMEM;
  int rc = wolfSSL_CertManagerLoadCABuffer_ex(cm, ca, (long)ca_len,
                                              WOLFSSL_FILETYPE_ASN1, 0,
                                              WOLFSSL_LOAD_FLAG_DATE_ERR_OKAY);
  if (rc == WOLFSSL_SUCCESS)
    rc = wolfSSL_CertManagerVerifyBuffer(cm, der, (long)len,
                                         WOLFSSL_FILETYPE_ASN1);
  wolfSSL_CertManagerFree(cm);
  if (rc == WOLFSSL_SUCCESS || rc == ASN_AFTER_DATE_E ||
      rc == ASN_BEFORE_DATE_E)
    return 0;
  return cert_failed("a signature by the CA", rc);
}

int cert_sign_leaf(struct cert_work *w, const struct cert_spec *spec,
                   const char *ca_cert, size_t ca_cert_len, const char *ca_key,
                   size_t ca_key_len, struct sbuf *cert) {
  if (!spec_is_fine(spec)) return ZTNA_EINVAL;
  uint8_t *ca = malloc(CERT_DER_MAX);
  if (!ca) return ZTNA_ENOMEM;
  int n = 0, ca_len = cert_pem_to_der(ca_cert, ca_cert_len, ca, CERT_DER_MAX);
  bool fine = ca_len > 0 && cert_is_ca(ca, (size_t)ca_len);
  int rc = fine ? work_begin(w) : ZTNA_EINVAL;
  if (rc == 0) rc = put_dates(w->c, spec->not_before, spec->not_after);
  if (rc == 0) rc = cert_load_ca_key(w, ca_key, ca_key_len);
  if (rc == 0) rc = fill_leaf(w->c, spec, ca, ca_len);
  if (rc == 0) rc = n = work_sign(w, &w->ca);
  /* else the key given is not the CA's */
  if (rc > 0) rc = cert_check_signature(w->der, (size_t)n, ca, (size_t)ca_len);
  if (rc == 0) rc = cert_add_pem(cert, w->der, (size_t)n, CERT_TYPE);
  free(ca);
  return rc;
}

int cert_make_leaf(const struct cert_spec *spec, const char *ca_cert,
                   size_t ca_cert_len, const char *ca_key, size_t ca_key_len,
                   struct sbuf *cert, struct sbuf *key) {
  struct cert_work w;
  int rc = cert_work_init(&w);
  if (rc == 0) rc = cert_work_make_key(&w);
  if (rc == 0)
    rc = cert_sign_leaf(&w, spec, ca_cert, ca_cert_len, ca_key, ca_key_len,
                        cert);
  if (rc == 0) rc = cert_add_key(key, &w.key);
  cert_work_done(&w);
  return rc;
}

/* --- reading a CA --- */

bool cert_is_ca(const uint8_t *der, size_t len) {
  DecodedCert cert;
  wc_InitDecodedCert(&cert, der, (word32)len, NULL);
  bool yes = wc_ParseCert(&cert, CERT_TYPE, NO_VERIFY, NULL) == 0 && cert.isCA;
  wc_FreeDecodedCert(&cert);
  return yes;
}

/* "spiffe://example.org" among the names, as other SPIFFE authorities have it;
 * or our own common name. */
static void read_trust_domain(struct cert_ca *ca, const DecodedCert *cert) {
  static const char scheme[] = "spiffe://", prefix[] = CERT_CA_PREFIX;
  const char *from = NULL;
  size_t n = 0;
  for (const DNS_entry *e = cert->altNames; e; e = e->next) {
    if (e->type != ASN_URI_TYPE || (size_t)e->len < sizeof(scheme)) continue;
    if (memcmp(e->name, scheme, sizeof(scheme) - 1) != 0) continue;
    from = e->name + sizeof(scheme) - 1;
    n = (size_t)e->len - (sizeof(scheme) - 1);
  }
  if (!from && strncmp(ca->common_name, prefix, sizeof(prefix) - 1) == 0) {
    from = ca->common_name + sizeof(prefix) - 1;
    n = strlen(from);
  }
  if (from && n < sizeof(ca->trust_domain)) memcpy(ca->trust_domain, from, n);
}

static int read_ca(struct cert_ca *ca, const DecodedCert *cert) {
  int rc;
  if (!cert->isCA) return ZTNA_EMALFORMED;
  size_t n = cert->subjectCN ? (size_t)cert->subjectCNLen : 0;
  if (n <= CERT_CN_MAX && n > 0) memcpy(ca->common_name, cert->subjectCN, n);
  for (size_t i = 0; i < n && i < CERT_CN_MAX; i++) /* it goes to terminals */
    if (ca->common_name[i] < ' ' || ca->common_name[i] > '~')
      ca->common_name[i] = '?';
  read_trust_domain(ca, cert);
  rc = cert_read_time(&ca->not_before, cert->beforeDate, cert->beforeDateLen);
  if (rc < 0) return rc;
  return cert_read_time(&ca->not_after, cert->afterDate, cert->afterDateLen);
}

int cert_read_ca(struct cert_ca *ca, const uint8_t *der, size_t len) {
  DecodedCert cert;
  memset(ca, 0, sizeof(*ca));
  if (len == 0 || len > INT32_MAX) return ZTNA_EMALFORMED;
  wc_InitDecodedCert(&cert, der, (word32)len, NULL);
  int rc = wc_ParseCert(&cert, CERT_TYPE, NO_VERIFY, NULL) == 0
               ? read_ca(ca, &cert)
               : ZTNA_EMALFORMED;
  wc_FreeDecodedCert(&cert);
  if (rc == 0 && wc_Sha256Hash(der, (word32)len, ca->sha256) != 0)
    rc = ZTNA_ENOMEM;
  return rc;
}
