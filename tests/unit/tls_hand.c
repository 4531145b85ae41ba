#include "unit/tls_hand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/random.h>

#include <ztna/err.h>

int64_t hand_now = HAND_NOW;
static int64_t hand_time(void) { return hand_now; }

static void test_fill(void *ctx, void *buf, size_t len) {
  static uint64_t x = 88172645463325252u;
  uint8_t *b = buf;
  while (len--) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    *b++ = (uint8_t)(x >> 32);
  }
}
static const struct rng rng = {.fill = test_fill};

void hand_begin(void) {
  hand_now = HAND_NOW;
  assert_int_equal(tls_global_init(&rng, hand_time), 0);
}

void hand_done(void) { tls_global_done(); }

/* --- certificates --- */

void hand_ca(struct hand_pair *p) {
  memset(p, 0, sizeof(*p));
  assert_int_equal(cert_make_ca("ztna CA example.org", HAND_NOW - HAND_DAY,
                                HAND_NOW + 400 * HAND_DAY, &p->cert, &p->key),
                   0);
}

void hand_leaf(struct hand_pair *p, const struct hand_pair *by,
               const char *spiffe, int64_t not_before, int64_t not_after) {
  const char *dns[] = {"relay.example.org"};
  const struct cert_spec spec = {.spiffe = spiffe,
                                 .dns = dns,
                                 .n_dns = 1,
                                 .not_before = not_before,
                                 .not_after = not_after};
  memset(p, 0, sizeof(*p));
  assert_int_equal(cert_make_leaf(&spec, by->cert.s, by->cert.len, by->key.s,
                                  by->key.len, &p->cert, &p->key),
                   0);
}

void hand_forget(struct hand_pair *p) {
  sbuf_done(&p->cert);
  cert_forget(&p->key);
}

static void add_pem(struct sbuf *to, const byte *der, word32 len, int type) {
  byte pem[4096];
  int n = wc_DerToPem(der, len, pem, sizeof(pem), type);

  assert_true(n > 0);
  sbuf_add(to, pem, (size_t)n);
}

static void load_key(ecc_key *key, const struct hand_pair *p) {
  byte der[512];
  word32 at = 0;
  int n = wc_KeyPemToDer((const byte *)p->key.s, (int)p->key.len, der,
                         sizeof(der), NULL);

  assert_true(n > 0);
  wc_ecc_init(key);
  assert_int_equal(wc_EccPrivateKeyDecode(der, &at, key, (word32)n), 0);
}

void hand_any(struct hand_pair *p, const char *name, bool is_ca,
              const char *usage, const struct hand_pair *by) {
  static Cert c;
  static byte der[4096], ca[4096];
  ecc_key key, signer;
  WC_RNG rnd;
  word32 n = sizeof(der);

  memset(p, 0, sizeof(*p));
  assert_int_equal(cert_make_key(&p->key), 0);
  load_key(&key, p);
  load_key(&signer, by ? by : p);
  wc_InitRng(&rnd);
  wc_InitCert(&c);
  c.isCA = is_ca;
  c.sigType = CTC_SHA256wECDSA;
  c.selfSigned = !by;
  c.daysValid = 300;
  strncpy(c.subject.commonName, name, CTC_NAME_SIZE - 1);
  wc_SetKeyUsage(&c, usage);
  wc_SetSubjectKeyIdFromPublicKey_ex(&c, ECC_TYPE, &key);
  if (by) {
    int len = cert_pem_to_der(by->cert.s, by->cert.len, ca, sizeof(ca));
    wc_SetIssuerBuffer(&c, ca, len);
    wc_SetAuthKeyIdFromCert(&c, ca, len);
  }
  assert_true(wc_MakeCert_ex(&c, der, n, ECC_TYPE, &key, &rnd) > 0);
  int len =
      wc_SignCert_ex(c.bodySz, c.sigType, der, n, ECC_TYPE, &signer, &rnd);
  assert_true(len > 0);
  add_pem(&p->cert, der, (word32)len, CERT_TYPE);
  wc_ecc_free(&key);
  wc_ecc_free(&signer);
  wc_FreeRng(&rnd);
}

/* cert.c's own CAs may sign leaves only. */
void hand_ca_above(struct hand_pair *p, const char *name,
                   const struct hand_pair *by) {
  hand_any(p, name, true, "keyCertSign,cRLSign", by);
}

size_t hand_sign_list(const struct hand_pair *by, const uint8_t *body,
                      size_t len, uint8_t *to, size_t room) {
  ecc_key key;
  WC_RNG rnd;

  load_key(&key, by);
  wc_InitRng(&rnd);
  int n = wc_SignCRL_ex(body, (int)len, CTC_SHA256wECDSA, to, (word32)room,
                        NULL, &key, &rnd);
  wc_ecc_free(&key);
  wc_FreeRng(&rnd);
  assert_true(n > 0);
  return (size_t)n;
}

struct tls *hand_tls(const struct hand_pair *own, const struct hand_pair *trust,
                     const struct sbuf *crl) {
  struct tls *t;
  char why[200] = "";
  const struct ztna_identity files = {.cert = own->cert.s,
                                      .cert_len = own->cert.len,
                                      .key = own->key.s,
                                      .key_len = own->key.len,
                                      .ca = trust->cert.s,
                                      .ca_len = trust->cert.len,
                                      .crl = crl ? crl->s : NULL,
                                      .crl_len = crl ? crl->len : 0};
  int rc = tls_new(&t, &files, why, sizeof(why));
  if (rc < 0) fail_msg("%s", why);
  return t;
}

/* --- handshakes --- */

static int on_secrets(WOLFSSL *ssl, WOLFSSL_ENCRYPTION_LEVEL level,
                      const uint8_t *read, const uint8_t *write, size_t len) {
  return 1;
}
static int on_data(WOLFSSL *ssl, WOLFSSL_ENCRYPTION_LEVEL level,
                   const uint8_t *data, size_t len) {
  struct hand_end *e = wolfSSL_get_app_data(ssl);
  if (e->len[level] + len > sizeof(e->out[level])) return 0;
  memcpy(e->out[level] + e->len[level], data, len);
  e->len[level] += len;
  if (level == wolfssl_encryption_application) e->n_app += len;
  return 1;
}
static int on_flush(WOLFSSL *ssl) { return 1; }
static int on_alert(WOLFSSL *ssl, WOLFSSL_ENCRYPTION_LEVEL level,
                    uint8_t alert) {
  struct hand_end *e = wolfSSL_get_app_data(ssl);
  e->alert = alert;
  return 1;
}
const WOLFSSL_QUIC_METHOD hand_method = {on_secrets, on_data, on_flush,
                                         on_alert};

void hand_end_init(struct hand_end *e, WOLFSSL *ssl) {
  memset(e, 0, sizeof(*e));
  e->ssl = ssl;
  assert_non_null(ssl);
  wolfSSL_set_app_data(ssl, e);
  wolfSSL_set_quic_method(ssl, &hand_method);
  wolfSSL_set_quic_transport_params(ssl, (const uint8_t *)"\x01\x01\x00", 3);
}

int hand_carry(struct hand_end *from, struct hand_end *to) {
  int moved = 0;
  for (int level = 0; level < 4; level++) {
    if (!from->len[level]) continue;
    wolfSSL_provide_quic_data(to->ssl, (WOLFSSL_ENCRYPTION_LEVEL)level,
                              from->out[level], from->len[level]);
    from->len[level] = 0;
    moved = 1;
  }
  from->n_flights += moved;
  return moved;
}

int hand_shake(struct hand_end *c, struct hand_end *s) {
  int rc, done = 0;
  do {
    struct hand_end *ends[] = {c, s};
    for (int i = 0; i < 2; i++) {
      struct hand_end *e = ends[i];
      if (wolfSSL_is_init_finished(e->ssl)) {
        done |= 1 << i;
        if ((rc = wolfSSL_process_quic_post_handshake(e->ssl)) != 1) {
          rc = wolfSSL_get_error(e->ssl, rc);
          if (rc != WOLFSSL_ERROR_WANT_READ) return rc;
        }
        continue;
      }
      if ((rc = wolfSSL_quic_do_handshake(e->ssl)) != 1) {
        rc = wolfSSL_get_error(e->ssl, rc);
        if (rc != WOLFSSL_ERROR_WANT_READ && rc != WOLFSSL_ERROR_WANT_WRITE)
          return rc;
      } else
        done |= 1 << i;
    }
  } while (hand_carry(c, s) + hand_carry(s, c));
  return done == 3 ? 0 : -1;
}

void hand_ends_free(struct hand_end *c, struct hand_end *s) {
  tls_session_free(c->ssl);
  tls_session_free(s->ssl);
}
