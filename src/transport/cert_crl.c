/* cert_crl.c - lists of revoked certificates (RFC 5280, 5), made and read.
 * wolfSSL's own maker leaves out whose key signed it, and so cannot tell two
 * CAs of one name apart, which is what a change of CAs looks like. */
#include <stdlib.h>
#include <string.h>

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/error-crypt.h>

#include <ztna/err.h>

#include "base/hex.h"
#include "transport/cert_int.h"
#include "transport/der.h"

enum {
  ENTRY_MAX = 2 + 2 + IDENTITY_SERIAL_MAX + 1 + 2 + 15, /* bytes of one */
  REST_MAX = 2048, /* all but entries: names, dates, extensions, signature */
  POINT_MAX = 2 * 66 + 1, /* an uncompressed point of the largest curve */
  NUMBER_MAX = 20,
};

/* ecdsa-with-SHA256, crlNumber, authorityKeyIdentifier */
static const uint8_t signature_oid[] = {0x2a, 0x86, 0x48, 0xce,
                                        0x3d, 0x04, 0x03, 0x02};
static const uint8_t number_oid[] = {0x55, 0x1d, 0x14};
static const uint8_t issuer_key_oid[] = {0x55, 0x1d, 0x23};
static const uint8_t common_name_oid[] = {0x55, 0x04, 0x03};

/* --- making: TBSCertList, from its end --- */

/* Around what was written since `end`. */
static void wrap_extension(struct der_out *o, const uint8_t oid[3],
                           size_t end) {
  der_wrap(o, DER_OCTETS, end);
  der_put_value(o, DER_OID, oid, 3);
  der_wrap(o, DER_SEQUENCE, end);
}

static void put_issuer_key(struct der_out *o, const DecodedCert *ca) {
  size_t end = o->at;
  if (!ca->extSubjKeyIdSrc || ca->extSubjKeyIdSz == 0) return;
  der_put_value(o, DER_CONTEXT, ca->extSubjKeyIdSrc, ca->extSubjKeyIdSz);
  der_wrap(o, DER_SEQUENCE, end);
  wrap_extension(o, issuer_key_oid, end);
}

static void put_number(struct der_out *o, uint64_t number) {
  uint8_t bytes[8];
  size_t end = o->at;
  for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)(number >> (56 - 8 * i));
  der_put_uint(o, bytes, sizeof(bytes));
  wrap_extension(o, number_oid, end);
}

static void put_extensions(struct der_out *o, const DecodedCert *ca,
                           uint64_t number) {
  size_t end = o->at;
  put_number(o, number);
  put_issuer_key(o, ca);
  der_wrap(o, DER_SEQUENCE, end);
  der_wrap(o, DER_CONTEXT | DER_CONSTRUCTED, end);
}

static int put_time(struct der_out *o, int64_t unix_time) {
  uint8_t time[MAX_DATE_SIZE];
  int n = cert_put_time(time, unix_time);
  if (n < 0) return n;
  der_put(o, time, (size_t)n);
  return 0;
}

static int put_entry(struct der_out *o, const struct cert_revoked *r) {
  uint8_t serial[IDENTITY_SERIAL_MAX];
  size_t end = o->at, n = strlen(r->serial) / 2;
  if (n == 0 || n > sizeof(serial) || !hex_parse(serial, n, r->serial))
    return ZTNA_EINVAL;
  if (put_time(o, r->at) < 0) return ZTNA_EINVAL;
  der_put_uint(o, serial, n);
  der_wrap(o, DER_SEQUENCE, end);
  return 0;
}

/* RFC 5280, 5.1.2.6: no empty sequence. */
static int put_entries(struct der_out *o, const struct cert_revoked *v,
                       size_t n) {
  size_t end = o->at;
  for (size_t i = n; i-- > 0;) {
    int rc = put_entry(o, &v[i]);
    if (rc < 0) return rc;
  }
  if (n) der_wrap(o, DER_SEQUENCE, end);
  return 0;
}

static void put_algorithm(struct der_out *o) {
  size_t end = o->at;
  der_put_value(o, DER_OID, signature_oid, sizeof(signature_oid));
  der_wrap(o, DER_SEQUENCE, end);
}

/* What a list says. */
struct content {
  const struct cert_revoked *v;
  size_t n;
  int64_t this_update, next_update;
  uint64_t number;
};

static int put_list(struct der_out *o, const struct content *c,
                    const DecodedCert *ca) {
  static const uint8_t version_2 = 1;
  size_t end = o->at;
  int rc;
  put_extensions(o, ca, c->number);
  if ((rc = put_entries(o, c->v, c->n)) < 0) return rc;
  if ((rc = put_time(o, c->next_update)) < 0) return rc;
  if ((rc = put_time(o, c->this_update)) < 0) return rc;
  der_put_value(o, DER_SEQUENCE, ca->subjectRaw, (size_t)ca->subjectRawLen);
  put_algorithm(o);
  der_put_value(o, DER_INTEGER, &version_2, 1);
  der_wrap(o, DER_SEQUENCE, end);
  return o->full ? ZTNA_ESIZE : 0;
}

/* --- signing --- */

/* Is it the key that the certificate has? */
static int check_key(ecc_key *key, const DecodedCert *ca) {
  byte a[POINT_MAX], b[POINT_MAX];
  word32 n_a = sizeof(a), n_b = sizeof(b), at = 0;
  ecc_key of_cert;
  if (wc_ecc_init(&of_cert) != 0) return ZTNA_ENOMEM;
  int rc = wc_EccPublicKeyDecode(ca->publicKey, &at, &of_cert, ca->pubKeySize);
  if (rc == 0) rc = wc_ecc_export_x963(&of_cert, a, &n_a);
  if (rc == 0) rc = wc_ecc_export_x963(key, b, &n_b);
  wc_ecc_free(&of_cert);
  if (rc != 0) return cert_failed("CA key", rc);
  return n_a == n_b && memcmp(a, b, n_a) == 0 ? 0 : ZTNA_ETLS;
}

static int add_pem(struct sbuf *out, const uint8_t *der, size_t len) {
  size_t room = len / 2 * 3 + 256;
  byte *pem = malloc(room);
  if (!pem) return ZTNA_ENOMEM;
  int n = wc_DerToPem(der, (word32)len, pem, (word32)room, CRL_TYPE);
  if (n > 0) sbuf_add(out, pem, (size_t)n);
  free(pem);
  if (n <= 0) return cert_failed("PEM", n);
  return out->failed ? ZTNA_ENOMEM : 0;
}

/* buf has room bytes. */
static int sign(struct cert_work *w, const struct content *c,
                const DecodedCert *ca, uint8_t *buf, size_t room,
                struct sbuf *out) {
  struct der_out o = {.buf = buf, .at = room - REST_MAX / 2};
  size_t end = o.at;
  int rc = put_list(&o, c, ca);
  if (rc < 0) return rc;
  memmove(buf, buf + o.at, end - o.at); /* wolfSSL would memcpy */
  int n = wc_SignCRL_ex(buf, (int)(end - o.at), CTC_SHA256wECDSA, buf,
                        (word32)room, NULL, &w->ca, &w->rng);
  return n < 0 ? cert_failed("signature", n) : add_pem(out, buf, (size_t)n);
}

static int make(struct cert_work *w, const struct content *c,
                const uint8_t *der, size_t len, struct sbuf *out) {
  size_t room = c->n * ENTRY_MAX + REST_MAX;
  DecodedCert ca;
  uint8_t *buf = malloc(room);
  if (!buf) return ZTNA_ENOMEM;
  wc_InitDecodedCert(&ca, der, (word32)len, NULL);
  int rc = wc_ParseCert(&ca, CERT_TYPE, NO_VERIFY, NULL);
  rc = rc != 0 || !ca.isCA ? ZTNA_EINVAL : check_key(&w->ca, &ca);
  if (rc == 0) rc = sign(w, c, &ca, buf, room, out);
  wc_FreeDecodedCert(&ca);
  free(buf);
  return rc;
}

int cert_make_crl(const struct cert_revoked *v, size_t n, int64_t this_update,
                  int64_t next_update, uint64_t number, const char *ca_cert,
                  size_t ca_cert_len, const char *ca_key, size_t ca_key_len,
                  struct sbuf *crl) {
  const struct content c = {v, n, this_update, next_update, number};
  struct cert_work w;
  if (n > CERT_REVOKED_MAX || next_update <= this_update) return ZTNA_EINVAL;
  uint8_t *der = malloc(CERT_DER_MAX);
  if (!der) return ZTNA_ENOMEM;
  int len = cert_pem_to_der(ca_cert, ca_cert_len, der, CERT_DER_MAX);
  int rc = cert_work_init(&w);
  if (rc == 0 && len < 0) rc = ZTNA_EINVAL;
  if (rc == 0) rc = cert_load_ca_key(&w, ca_key, ca_key_len);
  if (rc == 0) rc = make(&w, &c, der, (size_t)len, crl);
  cert_work_done(&w);
  free(der);
  return rc;
}

/* --- reading --- */

int cert_crl_take(const char **file, size_t *len, uint8_t *der, size_t room) {
  size_t n = *len;
  if (n == 0) return ZTNA_ENOENT;
  if ((uint8_t) * *file != DER_SEQUENCE)
    return cert_pem_find("X509 CRL", file, len, der, room);
  if (n > room) return ZTNA_ESIZE;
  memcpy(der, *file, n);
  *file += n;
  *len = 0;
  return (int)n;
}

static void read_time(struct der_in *in, int64_t *to) {
  struct der_in value, whole;
  if (!der_next(in, &value, &whole) ||
      cert_read_time(to, whole.at, (int)der_left(&whole)) < 0)
    in->bad = true;
}

/* The last common name, as cert_read_ca has it; it goes to terminals. */
static void read_issuer(struct der_in names, char cn[CERT_CN_MAX + 1]) {
  while (der_left(&names) && !names.bad) {
    struct der_in set = der_want(&names, DER_SET),
                  pair = der_want(&set, DER_SEQUENCE),
                  oid = der_want(&pair, DER_OID), text;
    if (!der_next(&pair, &text, NULL) ||
        der_left(&oid) != sizeof(common_name_oid) ||
        memcmp(oid.at, common_name_oid, sizeof(common_name_oid)) != 0 ||
        der_left(&text) > CERT_CN_MAX)
      continue;
    for (size_t i = 0; i < der_left(&text); i++)
      cn[i] = text.at[i] < ' ' || text.at[i] > '~' ? '?' : (char)text.at[i];
    cn[der_left(&text)] = 0;
  }
}

static uint64_t read_number(struct der_in octets) {
  struct der_in n = der_want(&octets, DER_INTEGER);
  uint64_t number = 0;
  if (n.bad || der_left(&n) > NUMBER_MAX) return 0;
  for (; n.at < n.end; n.at++) number = number << 8 | *n.at;
  return number;
}

/* Each value is an octet string behind its name and, sometimes, "critical". */
static void read_extensions(struct cert_crl *crl, struct der_in context) {
  struct der_in list = der_want(&context, DER_SEQUENCE);
  while (der_left(&list) && !list.bad) {
    struct der_in one = der_want(&list, DER_SEQUENCE),
                  oid = der_want(&one, DER_OID), value;
    bool is_number = der_left(&oid) == sizeof(number_oid) &&
                     !memcmp(oid.at, number_oid, sizeof(number_oid));
    while (der_next(&one, &value, NULL))
      if (is_number) crl->number = read_number(value);
  }
}

static int count(struct cert_crl *crl) {
  struct cert_crl copy = *crl;
  char serial[2 * IDENTITY_SERIAL_MAX + 1];
  int64_t at;
  int rc;
  while ((rc = cert_crl_next(&copy, serial, &at)) > 0) crl->n++;
  return rc;
}

int cert_read_crl(struct cert_crl *crl, const uint8_t *der, size_t len) {
  struct der_in file = {.at = der, .end = der + len},
                outer = der_want(&file, DER_SEQUENCE),
                in = der_want(&outer, DER_SEQUENCE);
  *crl = (struct cert_crl){.next_update = INT64_MAX};
  if (der_peek(&in) == DER_INTEGER) der_want(&in, DER_INTEGER);
  der_want(&in, DER_SEQUENCE);
  read_issuer(der_want(&in, DER_SEQUENCE), crl->issuer);
  read_time(&in, &crl->this_update);
  if (der_peek(&in) == DER_UTC || der_peek(&in) == DER_GENERALIZED)
    read_time(&in, &crl->next_update);
  if (der_peek(&in) == DER_SEQUENCE) {
    struct der_in list = der_want(&in, DER_SEQUENCE);
    crl->at = list.at;
    crl->end = list.end;
  }
  if (der_peek(&in) == (DER_CONTEXT | DER_CONSTRUCTED))
    read_extensions(crl, der_want(&in, DER_CONTEXT | DER_CONSTRUCTED));
  der_want(&outer, DER_SEQUENCE);
  der_want(&outer, DER_BITS);
  if (file.bad || outer.bad || in.bad || der_left(&file) || der_left(&outer) ||
      der_left(&in) || count(crl) < 0)
    return ZTNA_EMALFORMED;
  return 0;
}

int cert_crl_next(struct cert_crl *crl,
                  char serial[2 * IDENTITY_SERIAL_MAX + 1], int64_t *at) {
  struct der_in list = {.at = crl->at, .end = crl->end};
  if (!der_left(&list)) return 0;
  struct der_in one = der_want(&list, DER_SEQUENCE),
                number = der_want(&one, DER_INTEGER);
  read_time(&one, at);
  if (list.bad || one.bad) return ZTNA_EMALFORMED;
  while (der_left(&number) > 1 && !*number.at) number.at++;
  if (der_left(&number) == 0 || der_left(&number) > IDENTITY_SERIAL_MAX)
    return ZTNA_EMALFORMED;
  hex_print(number.at, der_left(&number), serial);
  crl->at = list.at;
  return 1;
}
