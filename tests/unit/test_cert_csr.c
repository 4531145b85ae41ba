/* Requests for certificates: made, read, signed, and what strangers may send
 * instead. */
#include "unit.h"

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/coding.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/rsa.h>

#include "transport/cert.h"
#include "transport/hash.h"
#include "transport/tls.h"

enum { NOW = 1900000000 };

static uint64_t seed = 88172645463325252u;
static struct sbuf ca, ca_key, key, csr;

static int64_t now(void) { return NOW + 10; }

static int set_up(void **state) {
  static struct rng rng;
  rng = test_rng(&seed);
  assert_int_equal(tls_global_init(&rng, now), 0);
  assert_int_equal(
      cert_make_ca("ztna CA example.org", NOW, NOW + 1000, &ca, &ca_key), 0);
  assert_int_equal(cert_make_key(&key), 0);
  return cert_make_csr(key.s, key.len, &csr);
}

static int tear_down(void **state) {
  sbuf_done(&ca);
  sbuf_done(&csr);
  cert_forget(&ca_key);
  cert_forget(&key);
  tls_global_done();
  return 0;
}

static const struct cert_spec plain = {.spiffe = "spiffe://example.org/agent/a",
                                       .not_before = NOW,
                                       .not_after = NOW + 7 * 86400};

static int sign(const struct cert_spec *s, const char *request, size_t len,
                struct sbuf *cert) {
  return cert_sign_csr(s, request, len, ca.s, ca.len, ca_key.s, ca_key.len,
                       cert);
}

/* --- as it should be */

/* The hash is that of the key alone, whoever makes the request and however
 * often. */
static void a_request_names_its_key(void **state) {
  struct sbuf again = {0}, other_key = {0}, other = {0};
  uint8_t a[32], b[32], c[32];
  assert_int_equal(cert_read_csr(csr.s, csr.len, a), 0);
  assert_int_equal(cert_make_csr(key.s, key.len, &again), 0);
  assert_int_equal(cert_read_csr(again.s, again.len, b), 0);
  assert_memory_equal(a, b, 32);
  assert_int_equal(cert_make_key(&other_key), 0);
  assert_int_equal(cert_make_csr(other_key.s, other_key.len, &other), 0);
  assert_int_equal(cert_read_csr(other.s, other.len, c), 0);
  assert_memory_not_equal(a, c, 32);
  sbuf_done(&again);
  sbuf_done(&other);
  cert_forget(&other_key);
}

static void a_signed_request_fits_the_key_that_made_it(void **state) {
  static uint8_t der[CERT_DER_MAX];
  struct sbuf cert = {0};
  struct identity id;
  struct tls *tls = NULL;
  assert_int_equal(sign(&plain, csr.s, csr.len, &cert), 0);
  int n = cert_pem_to_der(cert.s, cert.len, der, sizeof(der));
  assert_int_equal(identity_from_der(&id, der, (size_t)n), 0);
  assert_int_equal(id.role, ROLE_AGENT);
  assert_string_equal(id.name, "a");
  assert_true(id.not_after == plain.not_after);
  identity_done(&id);
  struct ztna_identity own = {cert.s, cert.len, key.s, key.len,
                              ca.s,   ca.len,   NULL,  0};
  char why[200];
  assert_int_equal(tls_new(&tls, &own, why, sizeof(why)), 0);
  tls_free(tls);
  sbuf_done(&cert);
}

/* --- what strangers send instead */

static int read_der(const uint8_t *der, size_t len) {
  struct sbuf pem = {0};
  char line[8192];
  word32 n = sizeof(line);
  uint8_t hash[32];
  assert_int_equal(Base64_Encode(der, (word32)len, (byte *)line, &n), 0);
  sbuf_printf(&pem,
              "-----BEGIN CERTIFICATE REQUEST-----\n%.*s"
              "-----END CERTIFICATE REQUEST-----\n",
              (int)n, line);
  int rc = cert_read_csr(pem.s, pem.len, hash);
  sbuf_done(&pem);
  return rc;
}

static size_t csr_der(uint8_t *der, size_t room) {
  int n = wc_CertPemToDer((const byte *)csr.s, (int)csr.len, der, (int)room,
                          CERTREQ_TYPE);
  assert_true(n > 0);
  return (size_t)n;
}

/* The one place that may change without anything noticing would be one that is
 * not signed; there is none. */
static void a_changed_bit_anywhere_is_noticed(void **state) {
  uint8_t der[1024];
  size_t n = csr_der(der, sizeof(der));
  assert_int_equal(read_der(der, n), 0);
  for (size_t i = 0; i < 8 * n; i++) {
    der[i / 8] ^= (uint8_t)(1 << i % 8);
    int rc = read_der(der, n);
    if (rc != ZTNA_EMALFORMED && rc != ZTNA_EREFUSED)
      fail_msg("bit %zu: %d", i, rc);
    der[i / 8] ^= (uint8_t)(1 << i % 8);
  }
}

static void a_request_that_ends_early_or_late_is_refused(void **state) {
  uint8_t der[1024] = {0};
  size_t n = csr_der(der, sizeof(der));
  for (size_t i = 1; i < n; i++)
    assert_int_equal(read_der(der, i), ZTNA_EMALFORMED);
  assert_int_equal(read_der(der, n + 1), ZTNA_EMALFORMED);
}

static void what_is_no_request_is_malformed(void **state) {
  static char big[CERT_CSR_MAX + 1];
  uint8_t hash[32];
  assert_int_equal(cert_read_csr("", 0, hash), ZTNA_EMALFORMED);
  assert_int_equal(cert_read_csr(ca.s, ca.len, hash), ZTNA_EMALFORMED);
  assert_int_equal(cert_read_csr(key.s, key.len, hash), ZTNA_EMALFORMED);
  assert_int_equal(cert_read_csr(csr.s, csr.len - 30, hash), ZTNA_EMALFORMED);
  memset(big, '\n', sizeof(big));
  memcpy(big, csr.s, csr.len);
  assert_int_equal(cert_read_csr(big, CERT_CSR_MAX, hash), 0);
  assert_int_equal(cert_read_csr(big, CERT_CSR_MAX + 1, hash), ZTNA_EMALFORMED);
}

/* A request by wolfSSL for any kind of key. */
static int read_made(int key_type, void *its_key, int sig_type) {
  static uint8_t der[8192];
  Cert *c = calloc(1, sizeof(*c));
  WC_RNG rng;
  assert_int_equal(wc_InitRng(&rng), 0);
  assert_int_equal(wc_InitCert(c), 0);
  c->version = 0;
  c->sigType = sig_type;
  strcpy(c->subject.commonName, "admin of everything");
  int n = wc_MakeCertReq_ex(c, der, sizeof(der), key_type, its_key);
  assert_true(n > 0);
  n = wc_SignCert_ex(c->bodySz, sig_type, der, sizeof(der), key_type, its_key,
                     &rng);
  assert_true(n > 0);
  wc_FreeRng(&rng);
  free(c);
  return read_der(der, (size_t)n);
}

static int read_made_ecc(int bytes, int curve, int sig_type) {
  ecc_key k;
  WC_RNG rng;
  assert_int_equal(wc_InitRng(&rng), 0);
  assert_int_equal(wc_ecc_init(&k), 0);
  assert_int_equal(wc_ecc_make_key_ex(&rng, bytes, &k, curve), 0);
  int rc = read_made(ECC_TYPE, &k, sig_type);
  wc_ecc_free(&k);
  wc_FreeRng(&rng);
  return rc;
}

static void only_p256_keys_are_taken(void **state) {
  assert_int_equal(read_made_ecc(32, ECC_SECP256R1, CTC_SHA256wECDSA), 0);
  assert_int_equal(read_made_ecc(48, ECC_SECP384R1, CTC_SHA256wECDSA),
                   ZTNA_EREFUSED);
  assert_int_equal(read_made_ecc(32, ECC_SECP256R1, CTC_SHA384wECDSA),
                   ZTNA_EREFUSED);
}

/* Whose key it is must be shown: else anyone could have a certificate made for
 * a stranger's key. */
static void a_request_signed_by_another_key_is_refused(void **state) {
  static uint8_t der[1024];
  struct sbuf other_key = {0}, other = {0};
  uint8_t theirs[1024], hash[32];
  size_t n = csr_der(der, sizeof(der));
  assert_int_equal(cert_make_key(&other_key), 0);
  assert_int_equal(cert_make_csr(other_key.s, other_key.len, &other), 0);
  int m = wc_CertPemToDer((const byte *)other.s, (int)other.len, theirs,
                          sizeof(theirs), CERTREQ_TYPE);
  assert_true(m > 0);
  uint8_t *mine = memmem(der, n, "\x03\x42\x00\x04", 4);
  uint8_t *point = memmem(theirs, (size_t)m, "\x03\x42\x00\x04", 4);
  memcpy(mine + 4, point + 4, 64);
  assert_int_equal(read_der(der, n), ZTNA_EREFUSED);
  assert_int_equal(cert_read_csr(csr.s, csr.len, hash), 0);
  sbuf_done(&other);
  cert_forget(&other_key);
}

/* The point is looked at before it is multiplied with. */
static void a_point_off_the_curve_is_refused(void **state) {
  static uint8_t der[1024];
  size_t n = csr_der(der, sizeof(der));
  uint8_t *point = memmem(der, n, "\x03\x42\x00\x04", 4);
  memset(point + 4, 0, 64);
  assert_int_equal(read_der(der, n), ZTNA_EREFUSED);
  memset(point + 4, 0xff, 64);
  assert_int_equal(read_der(der, n), ZTNA_EREFUSED);
}

static void no_certificate_is_signed_for_a_bad_request(void **state) {
  struct sbuf cert = {0};
  struct cert_spec s = plain;
  char *bad = strdup(csr.s);
  bad[csr.len - 45] ^= 1; /* in the signature */
  int rc = sign(&plain, bad, csr.len, &cert);
  assert_true(rc == ZTNA_EREFUSED || rc == ZTNA_EMALFORMED);
  s.spiffe = "spiffe://example.org/nobody/a";
  assert_int_equal(sign(&s, csr.s, csr.len, &cert), ZTNA_EINVAL);
  assert_int_equal(cert.len, 0);
  free(bad);
  sbuf_done(&cert);
}

static void a_key_of_another_curve_makes_no_request(void **state) {
  struct sbuf made = {0};
  assert_int_equal(cert_make_csr(ca.s, ca.len, &made), ZTNA_ETLS);
  assert_int_equal(cert_make_csr("", 0, &made), ZTNA_ETLS);
  assert_int_equal(made.len, 0);
  sbuf_done(&made);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_request_names_its_key),
      TEST(a_signed_request_fits_the_key_that_made_it),
      TEST(a_changed_bit_anywhere_is_noticed),
      TEST(a_request_that_ends_early_or_late_is_refused),
      TEST(what_is_no_request_is_malformed),
      TEST(only_p256_keys_are_taken),
      TEST(a_request_signed_by_another_key_is_refused),
      TEST(a_point_off_the_curve_is_refused),
      TEST(no_certificate_is_signed_for_a_bad_request),
      TEST(a_key_of_another_curve_makes_no_request),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
