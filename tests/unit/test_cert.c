#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <ztna/err.h>

#include "transport/cert.h"
#include "transport/tls.h"

enum { NOW = 1900000000 };

static void test_fill(void *ctx, void *buf, size_t len) {
  static uint64_t x = 88172645463325252u;
  uint8_t *b = buf;
  while (len--) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    *b++ = (uint8_t)(x >> 32);
  }
}
static const struct rng rng = {.fill = test_fill};

static struct sbuf ca, ca_key, other, other_key;

static int set_up(void **state) {
  assert_int_equal(tls_global_init(&rng, NULL), 0);
  assert_int_equal(
      cert_make_ca("ztna CA example.org", NOW, NOW + 1000, &ca, &ca_key), 0);
  return cert_make_ca("ztna CA example.org", NOW, NOW + 1000, &other,
                      &other_key);
}

static int tear_down(void **state) {
  sbuf_done(&ca);
  sbuf_done(&other);
  cert_forget(&ca_key);
  cert_forget(&other_key);
  tls_global_done();
  return 0;
}

static const struct cert_spec plain = {.spiffe = "spiffe://example.org/agent/a",
                                       .not_before = NOW,
                                       .not_after = NOW + 7 * 86400};

static int make(const struct cert_spec *s, struct sbuf *cert,
                struct sbuf *key) {
  return cert_make_leaf(s, ca.s, ca.len, ca_key.s, ca_key.len, cert, key);
}

static int make_and_drop(const struct cert_spec *s) {
  struct sbuf cert = {0}, key = {0};
  int rc = make(s, &cert, &key);
  if (rc < 0) assert_true(cert.len == 0 && key.len == 0);
  sbuf_done(&cert);
  cert_forget(&key);
  return rc;
}

static void ca_remembers_its_trust_domain(void **state) {
  static uint8_t der[CERT_DER_MAX];
  struct cert_ca c;
  int n = cert_pem_to_der(ca.s, ca.len, der, sizeof(der));
  assert_true(n > 0);
  assert_true(cert_is_ca(der, (size_t)n));
  assert_int_equal(cert_read_ca(&c, der, (size_t)n), 0);
  assert_string_equal(c.common_name, "ztna CA example.org");
  assert_string_equal(c.trust_domain, "example.org");
  assert_int_equal(c.not_before, NOW);
  assert_int_equal(c.not_after, NOW + 1000);
  for (int i = 0; i < n; i++)
    assert_int_equal(cert_read_ca(&c, der, (size_t)i), ZTNA_EMALFORMED);
}

static void leaf_is_no_ca(void **state) {
  static uint8_t der[CERT_DER_MAX];
  struct sbuf cert = {0}, key = {0};
  struct cert_ca c;
  assert_int_equal(make(&plain, &cert, &key), 0);
  int n = cert_pem_to_der(cert.s, cert.len, der, sizeof(der));
  assert_false(cert_is_ca(der, (size_t)n));
  assert_int_equal(cert_read_ca(&c, der, (size_t)n), ZTNA_EMALFORMED);
  assert_non_null(strstr(key.s, "-----BEGIN PRIVATE KEY-----"));
  sbuf_done(&cert);
  cert_forget(&key);
}

/* Each as it is written and read again, to the second. */
static void dates_are_exact(void **state) {
  static const int64_t t[] = {0,          951782400 /* 29 February 2000 */,
                              1900000001, 2524607999 /* the last UTCTime */,
                              2524608000, 4102444800 /* 2100 */};
  static uint8_t der[CERT_DER_MAX];
  for (size_t i = 0; i + 1 < sizeof(t) / sizeof(*t); i++) {
    struct cert_spec s = plain;
    struct sbuf cert = {0}, key = {0};
    struct identity id;
    s.not_before = t[i];
    s.not_after = t[i + 1];
    assert_int_equal(make(&s, &cert, &key), 0);
    int n = cert_pem_to_der(cert.s, cert.len, der, sizeof(der));
    assert_int_equal(identity_from_der(&id, der, (size_t)n), 0);
    assert_true(id.not_before == t[i]);
    assert_true(id.not_after == t[i + 1]);
    identity_done(&id);
    sbuf_done(&cert);
    cert_forget(&key);
  }
}

static void nonsense_is_refused(void **state) {
  const char *dns[IDENTITY_MAX_DNS + 1];
  struct ztna_addr ips[IDENTITY_MAX_IPS + 1] = {{0}};
  struct cert_spec s = plain;
  for (size_t i = 0; i <= IDENTITY_MAX_DNS; i++) dns[i] = "a.org";
  for (size_t i = 0; i <= IDENTITY_MAX_IPS; i++) ips[i].family = 4;
  s.spiffe = "spiffe://example.org/nobody/a";
  assert_int_equal(make_and_drop(&s), ZTNA_EINVAL);
  s = plain;
  s.not_after = s.not_before;
  assert_int_equal(make_and_drop(&s), ZTNA_EINVAL);
  s = plain;
  s.dns = dns;
  s.n_dns = IDENTITY_MAX_DNS;
  assert_int_equal(make_and_drop(&s), 0);
  s.n_dns++;
  assert_int_equal(make_and_drop(&s), ZTNA_EINVAL);
  s.n_dns = 1;
  dns[0] = "";
  assert_int_equal(make_and_drop(&s), ZTNA_EINVAL);
  dns[0] = "a b";
  assert_int_equal(make_and_drop(&s), ZTNA_EINVAL);
  s = plain;
  s.ips = ips;
  s.n_ips = IDENTITY_MAX_IPS;
  assert_int_equal(make_and_drop(&s), 0);
  s.n_ips++;
  assert_int_equal(make_and_drop(&s), ZTNA_EINVAL);
  s.n_ips = 1;
  ips[0].family = 0;
  assert_int_equal(make_and_drop(&s), ZTNA_EINVAL);

  struct sbuf c = {0}, k = {0};
  char name[100] = "";
  memset(name, 'n', CERT_CN_MAX + 1);
  assert_int_equal(cert_make_ca(name, 0, 1, &c, &k), ZTNA_EINVAL);
  assert_int_equal(cert_make_ca("", 0, 1, &c, &k), ZTNA_EINVAL);
  assert_int_equal(cert_make_ca("x", 1, 1, &c, &k), ZTNA_EINVAL);
  assert_int_equal(c.len + k.len, 0);
}

static int make_by(const struct sbuf *by, const struct sbuf *by_key) {
  struct sbuf cert = {0}, key = {0};
  int rc = cert_make_leaf(&plain, by->s, by->len, by_key->s, by_key->len, &cert,
                          &key);
  if (rc < 0) assert_true(cert.len == 0 && key.len == 0);
  sbuf_done(&cert);
  cert_forget(&key);
  return rc;
}

static void another_cas_key_signs_nothing(void **state) {
  assert_int_equal(make_by(&ca, &ca_key), 0);
  assert_int_equal(make_by(&ca, &other_key), ZTNA_ETLS);
  assert_int_equal(make_by(&other, &ca_key), ZTNA_ETLS);
  assert_int_equal(make_by(&ca, &ca), ZTNA_ETLS);
  assert_int_equal(make_by(&ca_key, &ca_key), ZTNA_EINVAL);
}

static void leaf_signs_nothing(void **state) {
  struct sbuf cert = {0}, key = {0};
  assert_int_equal(make(&plain, &cert, &key), 0);
  assert_int_equal(make_by(&cert, &key), ZTNA_EINVAL);
  sbuf_done(&cert);
  cert_forget(&key);
}

static void certificates_are_taken_out_of_pem_one_by_one(void **state) {
  static uint8_t der[CERT_DER_MAX], first[CERT_DER_MAX];
  struct sbuf b = {0};
  sbuf_printf(&b, "a note\n");
  sbuf_add(&b, ca_key.s, ca_key.len);
  sbuf_add(&b, ca.s, ca.len);
  sbuf_printf(&b, "another\r\n");
  sbuf_add(&b, other.s, other.len);
  const char *at = b.s;
  size_t left = b.len;
  int n = cert_pem_to_der(b.s, b.len, first, sizeof(first));
  assert_int_equal(cert_pem_next(&at, &left, der, sizeof(der)), n);
  assert_memory_equal(der, first, (size_t)n);
  n = cert_pem_next(&at, &left, der, sizeof(der));
  assert_true(n > 0 && cert_is_ca(der, (size_t)n));
  assert_memory_not_equal(der, first, (size_t)n);
  assert_int_equal(cert_pem_next(&at, &left, der, sizeof(der)), ZTNA_ENOENT);
  sbuf_done(&b);
}

static int pem_of(const char *text, size_t room) {
  uint8_t der[100];
  return cert_pem_to_der(text, strlen(text), der, room);
}

static void broken_pem_is_told_apart(void **state) {
  assert_int_equal(pem_of("", 100), ZTNA_ENOENT);
  assert_int_equal(pem_of("-----BEGIN PRIVATE KEY-----\n", 100), ZTNA_ENOENT);
  assert_int_equal(pem_of("-----BEGIN CERTIFICATE-----\nMIIB\n", 100),
                   ZTNA_EMALFORMED);
  assert_int_equal(pem_of("-----BEGIN CERTIFICATE-----\n!!!!\n"
                          "-----END CERTIFICATE-----\n",
                          100),
                   ZTNA_EMALFORMED);
  assert_int_equal(
      pem_of("-----BEGIN CERTIFICATE----------END CERTIFICATE-----", 100),
      ZTNA_EMALFORMED);
  assert_int_equal(pem_of("-----BEGIN CERTIFICATE-----\nMIIB\n"
                          "-----END CERTIFICATE-----",
                          100),
                   3);
  assert_int_equal(pem_of("-----BEGIN CERTIFICATE-----\nMIIB\n"
                          "-----END CERTIFICATE-----",
                          2),
                   ZTNA_ESIZE);
}

static void forgotten_key_is_gone(void **state) {
  struct sbuf key = {0};
  sbuf_add(&key, "secret", 6);
  cert_forget(&key);
  assert_null(key.s);
  assert_int_equal(key.len, 0);
  cert_forget(&key);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(ca_remembers_its_trust_domain),
      cmocka_unit_test(leaf_is_no_ca),
      cmocka_unit_test(dates_are_exact),
      cmocka_unit_test(nonsense_is_refused),
      cmocka_unit_test(another_cas_key_signs_nothing),
      cmocka_unit_test(leaf_signs_nothing),
      cmocka_unit_test(certificates_are_taken_out_of_pem_one_by_one),
      cmocka_unit_test(broken_pem_is_told_apart),
      cmocka_unit_test(forgotten_key_is_gone),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
