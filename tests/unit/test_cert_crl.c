/* test_cert_crl.c - lists of revoked certificates: made, read, and believed by
 * wolfSSL. tests/e2e/cert.sh shows them to OpenSSL. */
#include "unit.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

#include "host/config.h"
#include "transport/cert.h"
#include "transport/crl.h"
#include "transport/tls.h"

enum { NOW = 1900000000, DAY = 86400, ROOM = 1 << 20 };

static uint64_t state = 1;
static struct rng rng;
static struct sbuf ca, ca_key, other, other_key;
static uint8_t der[ROOM];

static int64_t clock_now(void) { return NOW; }

static int set_up(void **unused) {
  rng = test_rng(&state);
  assert_int_equal(tls_global_init(&rng, clock_now), 0);
  assert_int_equal(cert_make_ca("ztna CA example.org", NOW - DAY,
                                NOW + 99 * DAY, &ca, &ca_key),
                   0);
  return cert_make_ca("ztna CA example.org", NOW - DAY, NOW + 99 * DAY, &other,
                      &other_key);
}

static int tear_down(void **unused) {
  sbuf_done(&ca);
  sbuf_done(&other);
  cert_forget(&ca_key);
  cert_forget(&other_key);
  tls_global_done();
  return 0;
}

static int make(const struct cert_revoked *v, size_t n, struct sbuf *crl) {
  return cert_make_crl(v, n, NOW, NOW + 30 * DAY, 7, ca.s, ca.len, ca_key.s,
                       ca_key.len, crl);
}

static struct cert_crl read_pem(const struct sbuf *pem) {
  const char *at = pem->s;
  size_t len = pem->len;
  struct cert_crl crl;
  int n = cert_crl_take(&at, &len, der, sizeof(der));
  assert_true(n > 0);
  assert_int_equal(cert_read_crl(&crl, der, (size_t)n), 0);
  return crl;
}

static void what_is_made_is_read_again(void **unused) {
  static const struct cert_revoked v[] = {
      {"01", NOW - 5},
      {"80ff", NOW - 4},
      {"0102030405060708090a0b0c0d0e0f1011121314", NOW + INT64_C(800000000)},
  };
  struct sbuf pem = {0};
  char serial[2 * IDENTITY_SERIAL_MAX + 1];
  int64_t at;
  assert_int_equal(make(v, N_OF(v), &pem), 0);
  struct cert_crl crl = read_pem(&pem);
  assert_string_equal(crl.issuer, "ztna CA example.org");
  assert_int_equal(crl.this_update, NOW);
  assert_int_equal(crl.next_update, NOW + 30 * DAY);
  assert_int_equal(crl.number, 7);
  assert_int_equal(crl.n, N_OF(v));
  /* as a number that is not negative (RFC 5280, 4.1.2.2) */
  assert_non_null(memmem(der, pem.len, "\x02\x03\x00\x80\xff", 5));
  for (size_t i = 0; i < N_OF(v); i++) {
    assert_int_equal(cert_crl_next(&crl, serial, &at), 1);
    assert_string_equal(serial, v[i].serial);
    assert_int_equal(at, v[i].at);
  }
  assert_int_equal(cert_crl_next(&crl, serial, &at), 0);
  sbuf_done(&pem);
}

static void a_list_may_name_nobody_or_thousands(void **unused) {
  static struct cert_revoked v[5000];
  static char serials[5000][33];
  struct sbuf pem = {0}, none = {0};
  for (size_t i = 0; i < N_OF(v); i++) {
    snprintf(serials[i], sizeof(serials[i]), "%032zx", i + (1u << 20));
    v[i] = (struct cert_revoked){serials[i], NOW};
  }
  assert_int_equal(make(v, N_OF(v), &pem), 0);
  assert_int_equal(read_pem(&pem).n, N_OF(v));
  assert_int_equal(make(NULL, 0, &none), 0);
  assert_int_equal(read_pem(&none).n, 0);
  sbuf_done(&pem);
  sbuf_done(&none);
}

/* Or a revocation would be believed made, and change nothing anywhere. */
static void the_longest_list_that_is_made_is_taken(void **unused) {
  struct cert_revoked *v = calloc(CERT_REVOKED_MAX, sizeof(*v));
  char(*serials)[41] = calloc(CERT_REVOKED_MAX, sizeof(*serials));
  static uint8_t ca_der[CERT_DER_MAX];
  int n = cert_pem_to_der(ca.s, ca.len, ca_der, sizeof(ca_der));
  struct sbuf pem = {0};
  struct crl *crl;
  const char *why;
  for (int i = 0; i < CERT_REVOKED_MAX; i++) {
    snprintf(serials[i], sizeof(*serials), "%040x", i);
    serials[i][0] = '7';
    v[i] = (struct cert_revoked){serials[i], NOW};
  }
  assert_int_equal(make(v, CERT_REVOKED_MAX, &pem), 0);
  assert_in_range(pem.len, 1, IDENTITY_CRL_MAX);
  assert_int_equal(crl_new(&crl, pem.s, pem.len, ca_der, (size_t)n, &why), 0);
  assert_int_equal(crl_count(crl), CERT_REVOKED_MAX);
  crl_drop(crl);
  sbuf_done(&pem);
  free(serials);
  free(v);
}

static void lists_follow_each_other_in_one_file(void **unused) {
  static const struct cert_revoked one = {"aa", NOW};
  struct sbuf file = {0};
  sbuf_printf(&file, "words\n");
  assert_int_equal(make(&one, 1, &file), 0);
  assert_int_equal(make(NULL, 0, &file), 0);
  const char *at = file.s;
  size_t len = file.len;
  struct cert_crl crl;
  int n = cert_crl_take(&at, &len, der, sizeof(der));
  assert_int_equal(cert_read_crl(&crl, der, (size_t)n), 0);
  assert_int_equal(crl.n, 1);
  /* the same as DER is one */
  const char *alone = (const char *)der;
  size_t alone_len = (size_t)n;
  static uint8_t again[ROOM];
  assert_int_equal(cert_crl_take(&alone, &alone_len, again, sizeof(again)), n);
  assert_memory_equal(der, again, n);
  assert_int_equal(cert_crl_take(&alone, &alone_len, again, sizeof(again)),
                   ZTNA_ENOENT);
  n = cert_crl_take(&at, &len, der, sizeof(der));
  assert_int_equal(cert_read_crl(&crl, der, (size_t)n), 0);
  assert_int_equal(crl.n, 0);
  assert_int_equal(cert_crl_take(&at, &len, der, sizeof(der)), ZTNA_ENOENT);
  sbuf_done(&file);
}

static void what_is_cut_or_changed_is_refused_or_read(void **unused) {
  static const struct cert_revoked one = {"aa", NOW};
  struct sbuf pem = {0};
  struct cert_crl crl;
  assert_int_equal(make(&one, 1, &pem), 0);
  const char *at = pem.s;
  size_t len = pem.len;
  int n = cert_crl_take(&at, &len, der, sizeof(der));
  for (int i = 0; i < n; i++)
    assert_int_equal(cert_read_crl(&crl, der, (size_t)i), ZTNA_EMALFORMED);
  for (int i = 0; i < n * 8; i++) {
    der[i / 8] ^= (uint8_t)(1 << i % 8);
    cert_read_crl(&crl, der, (size_t)n); /* sanitizers judge */
    der[i / 8] ^= (uint8_t)(1 << i % 8);
  }
  assert_int_equal(cert_read_crl(&crl, der, (size_t)n), 0);
  sbuf_done(&pem);
}

static void wrong_wishes_are_refused(void **unused) {
  static const struct cert_revoked odd = {"abc", NOW}, none = {"", NOW},
                                   text = {"zz", NOW};
  struct sbuf pem = {0};
  assert_int_equal(make(&odd, 1, &pem), ZTNA_EINVAL);
  assert_int_equal(make(&none, 1, &pem), ZTNA_EINVAL);
  assert_int_equal(make(&text, 1, &pem), ZTNA_EINVAL);
  assert_int_equal(cert_make_crl(NULL, 0, NOW, NOW, 1, ca.s, ca.len, ca_key.s,
                                 ca_key.len, &pem),
                   ZTNA_EINVAL);
  assert_int_equal(cert_make_crl(NULL, 0, NOW, NOW + 1, 1, ca.s, ca.len,
                                 other_key.s, other_key.len, &pem),
                   ZTNA_ETLS);
  assert_int_equal(pem.len, 0);
  sbuf_done(&pem);
}

/* --- wolfSSL */

static void trust(WOLFSSL_CERT_MANAGER *cm, const struct sbuf *pem) {
  assert_int_equal(wolfSSL_CertManagerLoadCABuffer(cm, (const uint8_t *)pem->s,
                                                   (long)pem->len,
                                                   WOLFSSL_FILETYPE_PEM),
                   WOLFSSL_SUCCESS);
}

static int load(WOLFSSL_CERT_MANAGER *cm, const struct sbuf *pem) {
  return wolfSSL_CertManagerLoadCRLBuffer(cm, (const uint8_t *)pem->s,
                                          (long)pem->len, WOLFSSL_FILETYPE_PEM);
}

static WOLFSSL_CERT_MANAGER *manager(const struct sbuf *one,
                                     const struct sbuf *two) {
  WOLFSSL_CERT_MANAGER *cm = wolfSSL_CertManagerNew();
  trust(cm, one);
  trust(cm, two);
  assert_int_equal(wolfSSL_CertManagerEnableCRL(cm, WOLFSSL_CRL_CHECKALL),
                   WOLFSSL_SUCCESS);
  return cm;
}

/* Two CAs of one name, as while one follows the other. */
static void wolfssl_knows_whose_it_is(void **unused) {
  static const struct cert_revoked one = {"aa", NOW};
  struct sbuf pem = {0}, theirs = {0};
  assert_int_equal(make(&one, 1, &pem), 0);
  assert_int_equal(cert_make_crl(&one, 1, NOW, NOW + DAY, 7, other.s, other.len,
                                 other_key.s, other_key.len, &theirs),
                   0);
  WOLFSSL_CERT_MANAGER *cm = manager(&ca, &other);
  assert_int_equal(load(cm, &pem), WOLFSSL_SUCCESS);
  wolfSSL_CertManagerFree(cm);
  cm = manager(&ca, &other);
  assert_int_equal(load(cm, &theirs), WOLFSSL_SUCCESS);
  wolfSSL_CertManagerFree(cm);
  cm = manager(&ca, &ca);
  assert_int_not_equal(load(cm, &theirs), WOLFSSL_SUCCESS);
  wolfSSL_CertManagerFree(cm);
  sbuf_done(&pem);
  sbuf_done(&theirs);
}

static void wolfssl_refuses_whom_it_names(void **unused) {
  const struct cert_spec spec = {.spiffe = "spiffe://example.org/agent/a",
                                 .not_before = NOW - DAY,
                                 .not_after = NOW + DAY};
  struct sbuf cert = {0}, key = {0}, pem = {0}, none = {0};
  struct identity id;
  assert_int_equal(
      cert_make_leaf(&spec, ca.s, ca.len, ca_key.s, ca_key.len, &cert, &key),
      0);
  int n = cert_pem_to_der(cert.s, cert.len, der, sizeof(der));
  assert_int_equal(identity_from_der(&id, der, (size_t)n), 0);
  const struct cert_revoked v[] = {{"01", NOW}, {id.serial, NOW}};
  assert_int_equal(make(v, 2, &pem), 0);
  assert_int_equal(make(v, 1, &none), 0);
  n = cert_pem_to_der(cert.s, cert.len, der, sizeof(der));

  WOLFSSL_CERT_MANAGER *cm = manager(&ca, &ca);
  assert_int_equal(load(cm, &none), WOLFSSL_SUCCESS);
  assert_int_equal(wolfSSL_CertManagerCheckCRL(cm, der, n), WOLFSSL_SUCCESS);
  wolfSSL_CertManagerFree(cm);
  cm = manager(&ca, &ca);
  assert_int_equal(load(cm, &pem), WOLFSSL_SUCCESS);
  assert_int_equal(wolfSSL_CertManagerCheckCRL(cm, der, n), CRL_CERT_REVOKED);
  wolfSSL_CertManagerFree(cm);
  identity_done(&id);
  sbuf_done(&cert);
  cert_forget(&key);
  sbuf_done(&pem);
  sbuf_done(&none);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(what_is_made_is_read_again),
      TEST(a_list_may_name_nobody_or_thousands),
      TEST(the_longest_list_that_is_made_is_taken),
      TEST(lists_follow_each_other_in_one_file),
      TEST(what_is_cut_or_changed_is_refused_or_read),
      TEST(wrong_wishes_are_refused),
      TEST(wolfssl_knows_whose_it_is),
      TEST(wolfssl_refuses_whom_it_names),
  };

  return cmocka_run_group_tests(tests, set_up, tear_down);
}
