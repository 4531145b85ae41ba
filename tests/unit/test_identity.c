#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <ztna/err.h>

#include "transport/cert.h"
#include "transport/identity.h"
#include "transport/tls.h"

static void test_fill(void *ctx, void *buf, size_t len) {
  static uint64_t x = 88172645463325252u;
  uint8_t *b = buf;
  while (len--) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    *b++ = (uint8_t)(x >> 32);
  }
}
static const struct rng rng = {.fill = test_fill};

static struct sbuf ca, ca_key;

static int set_up(void **state) {
  assert_int_equal(tls_global_init(&rng, NULL), 0);
  return cert_make_ca("ztna CA example.org", 0, 4000000000, &ca, &ca_key);
}

static int tear_down(void **state) {
  sbuf_done(&ca);
  cert_forget(&ca_key);
  tls_global_done();
  return 0;
}

/* A certificate with these names; returns its length. */
static size_t make(uint8_t der[CERT_DER_MAX], const char *spiffe,
                   const char *const *dns, size_t n_dns,
                   const struct ztna_addr *ips, size_t n_ips) {
  struct cert_spec s = {spiffe, dns, n_dns, ips, n_ips, 1000, 2600000000};
  struct sbuf cert = {0}, key = {0};
  assert_int_equal(
      cert_make_leaf(&s, ca.s, ca.len, ca_key.s, ca_key.len, &cert, &key), 0);
  int n = cert_pem_to_der(cert.s, cert.len, der, CERT_DER_MAX);
  assert_true(n > 0);
  sbuf_done(&cert);
  cert_forget(&key);
  return (size_t)n;
}

static int parse(struct identity *id, const char *uri) {
  return identity_parse_spiffe(id, uri, strlen(uri));
}

static void spiffe_uri_is_split(void **state) {
  struct identity id;
  assert_int_equal(parse(&id, "spiffe://example.org/agent/Laptop-7.x_y"), 0);
  assert_string_equal(id.spiffe, "spiffe://example.org/agent/Laptop-7.x_y");
  assert_string_equal(id.trust_domain, "example.org");
  assert_string_equal(id.name, "Laptop-7.x_y");
  assert_int_equal(id.role, ROLE_AGENT);
  assert_int_equal(parse(&id, "spiffe://a/relay/b"), 0);
  assert_int_equal(id.role, ROLE_RELAY);
}

static void other_uris_are_malformed(void **state) {
  static const char *const bad[] = {
      "",
      "spiffe://",
      "spiffe://example.org",
      "spiffe://example.org/",
      "spiffe://example.org/agent",
      "spiffe://example.org/agent/",
      "spiffe:///agent/x",
      "spiffe://example.org//x",
      "spiffe://example.org/agent/x/",
      "spiffe://example.org/agent/x/y",
      "spiffe://example.org/agent/x?q",
      "spiffe://example.org/agent/x#f",
      "spiffe://example.org/agent/x%41",
      "spiffe://example.org/agent/..",
      "spiffe://example.org/agent/.",
      "spiffe://example.org/Agent/x",
      "spiffe://example.org/none/x",
      "spiffe://example.org/ag/x",
      "spiffe://Example.org/agent/x",
      "spiffe://user@example.org/agent/x",
      "spiffe://example.org:443/agent/x",
      "SPIFFE://example.org/agent/x",
      "https://example.org/agent/x",
      " spiffe://example.org/agent/x",
      "spiffe://example.org/agent/x ",
  };
  struct identity id;
  for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
    if (parse(&id, bad[i]) != ZTNA_EMALFORMED) fail_msg("took %s", bad[i]);
  static const char nul[] = "spiffe://example.org/agent/x\0y";
  assert_int_equal(identity_parse_spiffe(&id, nul, sizeof(nul) - 1),
                   ZTNA_EMALFORMED);
}

static void parts_have_bounds(void **state) {
  struct identity id;
  char uri[400] = "spiffe://";
  memset(uri + 9, 'd', 63);
  strcpy(uri + 72, "/agent/");
  memset(uri + 79, 'n', 127);
  assert_int_equal(identity_parse_spiffe(&id, uri, 79 + 127), 0);
  uri[79 + 127] = 'n';
  assert_int_equal(identity_parse_spiffe(&id, uri, 79 + 128), ZTNA_EMALFORMED);
  memset(uri + 9, 'd', 64);
  strcpy(uri + 73, "/agent/x");
  assert_int_equal(parse(&id, uri), ZTNA_EMALFORMED);
  memset(uri, 'x', sizeof(uri));
  assert_int_equal(identity_parse_spiffe(&id, uri, 256), ZTNA_EMALFORMED);
}

static void names_come_out_of_a_certificate_by_type(void **state) {
  static uint8_t der[CERT_DER_MAX];
  const char *dns[] = {"Relay.example.org", "other.example.org"};
  struct ztna_addr ips[2];
  struct identity id;
  ztna_addr_parse(&ips[0], "192.0.2.1");
  ztna_addr_parse(&ips[1], "2001:db8::1");
  size_t n = make(der, "spiffe://example.org/relay/eu1", dns, 2, ips, 2);
  assert_int_equal(identity_from_der(&id, der, n), 0);
  assert_string_equal(id.spiffe, "spiffe://example.org/relay/eu1");
  assert_int_equal(id.n_dns, 2);
  assert_string_equal(id.dns[0], "Relay.example.org");
  assert_string_equal(id.dns[1], "other.example.org");
  assert_int_equal(id.n_ips, 2);
  assert_true(ztna_addr_equal(&id.ips[0], &ips[0]));
  assert_true(ztna_addr_equal(&id.ips[1], &ips[1]));
  assert_int_equal(id.not_before, 1000);
  assert_int_equal(id.not_after, 2600000000);

  assert_true(identity_has_host(&id, "relay.EXAMPLE.org"));
  assert_true(identity_has_host(&id, "192.0.2.1"));
  assert_true(identity_has_host(&id, "2001:DB8:0::1"));
  assert_false(identity_has_host(&id, "192.0.2.2"));
  assert_false(identity_has_host(&id, "192.0.2.1:443"));
  assert_false(identity_has_host(&id, "example.org"));
  assert_false(identity_has_host(&id, "x.relay.example.org"));
  assert_false(identity_has_host(&id, ""));
  identity_done(&id);
}

static void address_is_never_matched_as_a_dns_name(void **state) {
  static uint8_t der[CERT_DER_MAX];
  const char *dns[] = {"192.0.2.1", "*.example.org"};
  struct identity id;
  size_t n = make(der, "spiffe://example.org/relay/eu1", dns, 2, NULL, 0);
  assert_int_equal(identity_from_der(&id, der, n), 0);
  assert_false(identity_has_host(&id, "192.0.2.1"));
  assert_false(identity_has_host(&id, "a.example.org"));
  identity_done(&id);
}

static void copy_stands_alone(void **state) {
  static uint8_t der[CERT_DER_MAX];
  const char *dns[] = {"agent.web.ztna"};
  struct identity id, copy;
  size_t n = make(der, "spiffe://example.org/agent/a", dns, 1, NULL, 0);
  assert_int_equal(identity_from_der(&id, der, n), 0);
  assert_int_equal(identity_copy(&copy, &id), 0);
  identity_done(&id);
  assert_string_equal(copy.dns[0], "agent.web.ztna");
  assert_string_equal(copy.name, "a");
  identity_done(&copy);
  assert_int_equal(copy.n_dns, 0);
}

/* Does a certificate of `spiffe` with this DNS name (or none) allow it? */
static bool serves(const char *spiffe, const char *dns, const char *service) {
  struct identity id = {0};
  char *names[] = {(char *)dns};
  assert_int_equal(parse(&id, spiffe), 0);
  id.dns = names;
  id.n_dns = dns != NULL;
  return identity_serves(&id, service);
}

static void connector_serves_what_it_is_named_for(void **state) {
  static const char c[] = "spiffe://example.org/connector/c";
  assert_true(serves(c, "connector.web-app.ztna", "web-app"));
  assert_true(serves(c, "Connector.WEB-app.ZTNA", "web-app"));
  assert_true(serves(c, "connector.*.ztna", "web-app"));
  assert_true(serves(c, "connector.a.b.ztna", "a.b"));
  assert_false(serves(c, NULL, "web-app"));
  assert_false(serves(c, "connector.web-app.ztna", "web"));
  assert_false(serves(c, "connector.web-app.ztna", "web-apq"));
  assert_false(serves(c, "connector.web.ztna", "web-app"));
  assert_false(serves(c, "connector.web-*.ztna", "web-app"));
  assert_false(serves(c, "agent.web-app.ztna", "web-app"));
  assert_false(serves(c, "agent.*.ztna", "web-app"));
  assert_false(serves(c, "connector..ztna", ""));
  assert_false(serves(c, "connector.ztna", "connector"));
  assert_false(serves(c, "connectorxweb-app.ztna", "web-app"));
  assert_false(serves(c, "connector.web-app.ztna.org", "web-app"));
}

static void agent_is_limited_only_when_named(void **state) {
  static const char a[] = "spiffe://example.org/agent/a";
  assert_true(serves(a, NULL, "web-app"));
  assert_true(serves(a, "laptop.example.org", "web-app"));
  assert_true(serves(a, "connector.x.ztna", "web-app"));
  assert_true(serves(a, "agent.web-app.ztna", "web-app"));
  assert_true(serves(a, "agent.*.ztna", "web-app"));
  assert_false(serves(a, "agent.other.ztna", "web-app"));
}

static void relay_and_admin_serve_nothing(void **state) {
  assert_false(serves("spiffe://e.org/relay/r", "relay.*.ztna", "web-app"));
  assert_false(serves("spiffe://e.org/admin/a", NULL, "web-app"));
}

static void patterns_match_whole_identities(void **state) {
  static const char a[] = "spiffe://example.org/agent/laptop-7";
  assert_true(identity_matches(a, "spiffe://example.org/agent/*"));
  assert_true(identity_matches(a, "spiffe://example.org/agent/laptop-*"));
  assert_true(identity_matches(a, a));
  assert_false(identity_matches(a, "spiffe://example.org/agent/laptop"));
  assert_false(identity_matches(a, "spiffe://example.org/connector/*"));
  assert_false(identity_matches(a, "spiffe://example.com/agent/*"));
}

/* Finds text in a certificate and puts another of the same length there: with
 * NO_VERIFY only what is read matters. */
static void replace(uint8_t *der, size_t len, const char *from, const char *to,
                    size_t n) {
  uint8_t *at = memmem(der, len, from, n);
  assert_non_null(at);
  memcpy(at, to, n);
}

static int read_with(const char *from, const char *to, size_t n) {
  static uint8_t der[CERT_DER_MAX];
  const char *dns[] = {"relay.example.org", "\"piffe:_",
                       "30-bytes-of-a-name.example.org"};
  struct identity id;
  size_t len = make(der, "spiffe://example.org/relay/eu1", dns, 3, NULL, 0);
  replace(der, len, from, to, n);
  int rc = identity_from_der(&id, der, len);
  if (rc == 0) identity_done(&id);
  return rc;
}

static void ambiguous_names_are_malformed(void **state) {
  static const char dns[] = "\x82\x08\"piffe:_";
  assert_int_equal(read_with(dns, dns, 10), 0);
  /* a second URI, SPIFFE or not */
  assert_int_equal(read_with(dns, "\x86\x08https://", 10), ZTNA_EMALFORMED);
  assert_int_equal(read_with("\x82\x1e"
                             "30-bytes-of-a-name.example.org",
                             "\x86\x1espiffe://example.org/agent/eu1", 32),
                   ZTNA_EMALFORMED);
  /* none at all */
  assert_int_equal(read_with("\x86\x1espiffe://ex", "\x82\x1espiffe://ex", 13),
                   ZTNA_EMALFORMED);
  assert_int_equal(read_with("spiffe://ex", "spiffy://ex", 11),
                   ZTNA_EMALFORMED);
  /* bytes that terminals or C strings would take for something else */
  assert_int_equal(read_with("relay.example.org", "relay.example\0org", 17),
                   ZTNA_EMALFORMED);
  assert_int_equal(read_with("relay.example.org", "relay.example\norg", 17),
                   ZTNA_EMALFORMED);
  assert_int_equal(read_with("relay.example.org",
                             "relay.example\xff"
                             "org",
                             17),
                   ZTNA_EMALFORMED);
  assert_int_equal(read_with("/relay/eu1", "/relay/e\0x", 10), ZTNA_EMALFORMED);
  /* e-mail and other kinds are nobody's name */
  assert_int_equal(read_with(dns,
                             "\x81\x08"
                             "a@b.cdef",
                             10),
                   0);
}

static void ca_and_garbage_are_malformed(void **state) {
  static uint8_t der[CERT_DER_MAX + 1];
  struct identity id;
  int n = cert_pem_to_der(ca.s, ca.len, der, CERT_DER_MAX);
  assert_int_equal(identity_from_der(&id, der, (size_t)n), ZTNA_EMALFORMED);
  assert_int_equal(identity_from_der(&id, der, 0), ZTNA_EMALFORMED);
  size_t len = make(der, "spiffe://example.org/relay/eu1", NULL, 0, NULL, 0);
  for (size_t i = 0; i < len; i++)
    assert_int_equal(identity_from_der(&id, der, i), ZTNA_EMALFORMED);
  der[len] = 0;
  assert_int_equal(identity_from_der(&id, der, len + 1), ZTNA_EMALFORMED);
  assert_int_equal(identity_from_der(&id, der, len), 0);
  identity_done(&id);
}

static void names_have_a_bound(void **state) {
  static uint8_t der[CERT_DER_MAX];
  const char *dns[IDENTITY_MAX_DNS];
  struct ztna_addr ips[IDENTITY_MAX_IPS];
  struct identity id;
  for (size_t i = 0; i < IDENTITY_MAX_DNS; i++) dns[i] = "a.example.org";
  for (size_t i = 0; i < IDENTITY_MAX_IPS; i++)
    ztna_addr_parse(&ips[i], "2001:db8::1");
  size_t n = make(der, "spiffe://example.org/relay/eu1", dns, IDENTITY_MAX_DNS,
                  ips, IDENTITY_MAX_IPS);
  assert_int_equal(identity_from_der(&id, der, n), 0);
  assert_int_equal(id.n_dns, IDENTITY_MAX_DNS);
  assert_int_equal(id.n_ips, IDENTITY_MAX_IPS);
  identity_done(&id);
}

static void roles_have_names(void **state) {
  assert_int_equal(role_find("relay"), ROLE_RELAY);
  assert_int_equal(role_find("connector"), ROLE_CONNECTOR);
  assert_int_equal(role_find("agent"), ROLE_AGENT);
  assert_int_equal(role_find("admin"), ROLE_ADMIN);
  assert_int_equal(role_find("none"), ROLE_NONE);
  assert_int_equal(role_find("Relay"), ROLE_NONE);
  assert_string_equal(role_name(ROLE_NONE), "none");
  assert_string_equal(role_name((enum role)77), "none");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(spiffe_uri_is_split),
      cmocka_unit_test(other_uris_are_malformed),
      cmocka_unit_test(parts_have_bounds),
      cmocka_unit_test(names_come_out_of_a_certificate_by_type),
      cmocka_unit_test(address_is_never_matched_as_a_dns_name),
      cmocka_unit_test(copy_stands_alone),
      cmocka_unit_test(connector_serves_what_it_is_named_for),
      cmocka_unit_test(agent_is_limited_only_when_named),
      cmocka_unit_test(relay_and_admin_serve_nothing),
      cmocka_unit_test(patterns_match_whole_identities),
      cmocka_unit_test(ambiguous_names_are_malformed),
      cmocka_unit_test(ca_and_garbage_are_malformed),
      cmocka_unit_test(names_have_a_bound),
      cmocka_unit_test(roles_have_names),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
