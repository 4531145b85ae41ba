/* Clients without a certificate: who takes them, and what they verify. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <ztna/err.h>

#include "unit/tls_hand.h"

static struct hand_pair ca, other_ca, server, agent, stranger;
static struct hand_pair server_with_ca; /* sends its CA along */

static int set_up(void **state) {
  const int64_t from = HAND_NOW - 300, to = HAND_NOW + 30 * HAND_DAY;
  hand_begin();
  hand_ca(&ca);
  hand_ca(&other_ca);
  hand_leaf(&server, &ca, "spiffe://example.org/enroll/ca1", from, to);
  hand_leaf(&agent, &ca, "spiffe://example.org/agent/laptop-7", from, to);
  hand_leaf(&stranger, &other_ca, "spiffe://example.org/agent/x", from, to);
  sbuf_add(&server_with_ca.cert, server.cert.s, server.cert.len);
  sbuf_add(&server_with_ca.cert, ca.cert.s, ca.cert.len);
  sbuf_add(&server_with_ca.key, server.key.s, server.key.len);
  return 0;
}

static int tear_down(void **state) {
  hand_forget(&ca);
  hand_forget(&other_ca);
  hand_forget(&server);
  hand_forget(&agent);
  hand_forget(&stranger);
  hand_forget(&server_with_ca);
  hand_done();
  return 0;
}

static struct hand_end c, s;

static struct tls *open_server(const struct hand_pair *own, const char *crl) {
  struct sbuf list = {.s = (char *)crl, .len = crl ? strlen(crl) : 0};
  struct tls *t = hand_tls(own, &ca, crl ? &list : NULL);
  tls_admit_nobody(t);
  return t;
}

static struct tls *nobody(const struct hand_pair *trust) {
  struct tls *t;
  char why[200] = "";
  if (tls_new_nobody(&t, trust->cert.s, trust->cert.len, why, sizeof(why)) < 0)
    fail_msg("%s", why);
  return t;
}

static struct tls *pinned(const struct hand_pair *p) {
  static uint8_t der[CERT_DER_MAX];
  struct cert_ca read;
  struct tls *t;
  char why[200] = "";
  int n = cert_pem_to_der(p->cert.s, p->cert.len, der, sizeof(der));
  assert_int_equal(cert_read_ca(&read, der, (size_t)n), 0);
  assert_int_equal(tls_new_pinned(&t, read.sha256, why, sizeof(why)), 0);
  return t;
}

/* Both are freed here; what remains is in the sessions. */
static int meet(struct tls *client, struct tls *by) {
  hand_end_init(&c, tls_session(client, false, "h3", "ca.example.org"));
  hand_end_init(&s, tls_session(by, true, "h3", NULL));
  tls_free(client);
  tls_free(by);
  return hand_shake(&c, &s);
}

static void a_client_without_certificate_is_nobody(void **state) {
  struct identity id;
  enum reason why;
  size_t len;
  assert_int_equal(meet(nobody(&ca), open_server(&server, NULL)), 0);
  assert_int_equal(tls_peer(s.ssl, "h3", &id, &why), 0);
  assert_int_equal(id.role, ROLE_NONE);
  assert_string_equal(id.spiffe, "");
  assert_int_equal(id.not_after, INT64_MAX);
  identity_done(&id);
  assert_null(tls_take_chain(s.ssl, &len));
  assert_int_equal(tls_peer(c.ssl, "h3", &id, &why), 0);
  assert_int_equal(id.role, ROLE_ENROLL);
  identity_done(&id);
  hand_ends_free(&c, &s);
}

static void only_who_says_so_takes_nobody(void **state) {
  enum reason why;
  assert_int_equal(
      tls_reason(meet(nobody(&ca), hand_tls(&server, &ca, NULL)), 0),
      REASON_BAD_CERTIFICATE);
  assert_int_equal(s.alert, 116);
  hand_ends_free(&c, &s);
  struct tls *t = hand_tls(&server, &ca, NULL);
  assert_int_equal(tls_check_chain(t, NULL, 0, &why), ZTNA_EREFUSED);
  tls_admit_nobody(t);
  assert_int_equal(tls_check_chain(t, NULL, 0, &why), 0);
  tls_free(t);
}

/* wolfSSL would not mind, when asked for no more than it is here. */
static void a_session_from_before_takes_nobody(void **state) {
  struct identity id;
  enum reason why;
  struct tls *t = hand_tls(&server, &ca, NULL), *a = nobody(&ca);
  hand_end_init(&s, tls_session(t, true, "h3", NULL));
  wolfSSL_set_verify(s.ssl, WOLFSSL_VERIFY_PEER, NULL);
  hand_end_init(&c, tls_session(a, false, "h3", NULL));
  tls_admit_nobody(t);
  if (hand_shake(&c, &s) == 0) {
    assert_int_equal(tls_peer(s.ssl, "h3", &id, &why), ZTNA_EREFUSED);
    assert_int_equal(why, REASON_BAD_CERTIFICATE);
  }
  hand_ends_free(&c, &s);
  tls_free(t);
  tls_free(a);
}

static void who_has_a_certificate_is_judged_by_it(void **state) {
  struct identity id;
  enum reason why;
  struct hand_pair old, both = {0};
  assert_int_equal(
      meet(hand_tls(&agent, &ca, NULL), open_server(&server, NULL)), 0);
  assert_int_equal(tls_peer(s.ssl, "h3", &id, &why), 0);
  assert_int_equal(id.role, ROLE_AGENT);
  identity_done(&id);
  hand_ends_free(&c, &s);

  hand_leaf(&old, &ca, "spiffe://example.org/agent/old", HAND_NOW - 900,
            HAND_NOW - 1);
  assert_true(meet(hand_tls(&old, &ca, NULL), open_server(&server, NULL)) < 0);
  assert_int_equal(s.alert, 45);
  hand_ends_free(&c, &s);
  hand_forget(&old);

  sbuf_add(&both.cert, ca.cert.s, ca.cert.len);
  sbuf_add(&both.cert, other_ca.cert.s, other_ca.cert.len);
  assert_true(
      meet(hand_tls(&stranger, &both, NULL), open_server(&server, NULL)) < 0);
  assert_int_equal(s.alert, 48);
  hand_ends_free(&c, &s);
  hand_forget(&both);
}

static void a_listed_client_is_refused_where_nobody_is_taken(void **state) {
  struct identity id;
  struct sbuf crl = {0};
  static uint8_t der[CERT_DER_MAX];
  int n = cert_pem_to_der(agent.cert.s, agent.cert.len, der, sizeof(der));
  assert_int_equal(identity_from_der(&id, der, (size_t)n), 0);
  const struct cert_revoked r = {id.serial, HAND_NOW - 5};
  assert_int_equal(cert_make_crl(&r, 1, HAND_NOW - 5, HAND_NOW + 500, 1,
                                 ca.cert.s, ca.cert.len, ca.key.s, ca.key.len,
                                 &crl),
                   0);
  assert_true(meet(hand_tls(&agent, &ca, NULL), open_server(&server, crl.s)) <
              0);
  assert_int_equal(tls_refusal(s.ssl), REASON_REVOKED);
  hand_ends_free(&c, &s);
  identity_done(&id);
  sbuf_done(&crl);
}

static void nobody_verifies_its_server(void **state) {
  assert_true(meet(nobody(&other_ca), open_server(&server, NULL)) < 0);
  assert_int_equal(c.alert, 48);
  assert_false(wolfSSL_is_init_finished(c.ssl));
  hand_ends_free(&c, &s);
  struct hand_pair old;
  hand_leaf(&old, &ca, "spiffe://example.org/enroll/ca1", HAND_NOW - 900,
            HAND_NOW - 1);
  assert_true(meet(nobody(&ca), open_server(&old, NULL)) < 0);
  assert_int_equal(c.alert, 45);
  hand_ends_free(&c, &s);
  hand_forget(&old);
}

static void nobody_serves_nobody(void **state) {
  struct tls *t = nobody(&ca);
  assert_null(tls_session(t, true, "h3", NULL));
  assert_int_equal(tls_identity(t)->role, ROLE_NONE);
  tls_free(t);
  char why[200];
  assert_int_equal(tls_new_nobody(&t, "", 0, why, sizeof(why)), ZTNA_ETLS);
  assert_non_null(strstr(why, "ca: "));
  assert_null(t);
}

/* --- by a fingerprint --- */

static void a_pinned_ca_is_found_in_a_handshake_that_fails(void **state) {
  struct sbuf found = {0};
  struct tls *t = pinned(&ca);
  assert_false(tls_found(t, &found));
  hand_end_init(&c, tls_session(t, false, "h3", NULL));
  struct tls *by = open_server(&server_with_ca, NULL);
  hand_end_init(&s, tls_session(by, true, "h3", NULL));
  assert_true(hand_shake(&c, &s) < 0);
  assert_false(wolfSSL_is_init_finished(c.ssl));
  assert_false(wolfSSL_is_init_finished(s.ssl));
  hand_ends_free(&c, &s);
  assert_true(tls_found(t, &found));
  tls_free(t);
  tls_free(by);

  const struct hand_pair trust = {.cert = found};
  assert_int_equal(meet(nobody(&trust), open_server(&server_with_ca, NULL)), 0);
  hand_ends_free(&c, &s);
  sbuf_done(&found);
}

/* Not even the right one: it was not verified that it signed the leaf. */
static void no_pinned_handshake_succeeds(void **state) {
  static uint8_t der[CERT_DER_MAX];
  struct hand_pair leaf_only = {0};
  struct sbuf found = {0};
  struct tls *t = pinned(&ca), *by = open_server(&server, NULL);
  hand_end_init(&c, tls_session(t, false, "h3", NULL)); /* no CA in chain */
  hand_end_init(&s, tls_session(by, true, "h3", NULL));
  assert_true(hand_shake(&c, &s) < 0);
  hand_ends_free(&c, &s);
  assert_false(tls_found(t, &found));
  tls_free(t);

  t = pinned(&other_ca); /* another one */
  hand_end_init(&c, tls_session(t, false, "h3", NULL));
  tls_free(by);
  by = open_server(&server_with_ca, NULL);
  hand_end_init(&s, tls_session(by, true, "h3", NULL));
  assert_true(hand_shake(&c, &s) < 0);
  hand_ends_free(&c, &s);
  assert_false(tls_found(t, &found));
  tls_free(t);

  /* The fingerprint of what is no CA. */
  struct identity id;
  char why[200];
  int n = cert_pem_to_der(server.cert.s, server.cert.len, der, sizeof(der));
  assert_int_equal(identity_from_der(&id, der, (size_t)n), 0);
  assert_int_equal(tls_new_pinned(&t, id.sha256, why, sizeof(why)), 0);
  hand_end_init(&c, tls_session(t, false, "h3", NULL));
  hand_end_init(&s, tls_session(by, true, "h3", NULL));
  assert_true(hand_shake(&c, &s) < 0);
  hand_ends_free(&c, &s);
  assert_false(tls_found(t, &found));
  tls_free(t);
  tls_free(by);
  identity_done(&id);
  hand_forget(&leaf_only);
  assert_int_equal(found.len, 0);
}

static void a_pinned_client_may_be_gone_before_its_session(void **state) {
  assert_true(meet(pinned(&ca), open_server(&server_with_ca, NULL)) < 0);
  hand_ends_free(&c, &s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_client_without_certificate_is_nobody),
      cmocka_unit_test(only_who_says_so_takes_nobody),
      cmocka_unit_test(a_session_from_before_takes_nobody),
      cmocka_unit_test(who_has_a_certificate_is_judged_by_it),
      cmocka_unit_test(a_listed_client_is_refused_where_nobody_is_taken),
      cmocka_unit_test(nobody_verifies_its_server),
      cmocka_unit_test(nobody_serves_nobody),
      cmocka_unit_test(a_pinned_ca_is_found_in_a_handshake_that_fails),
      cmocka_unit_test(no_pinned_handshake_succeeds),
      cmocka_unit_test(a_pinned_client_may_be_gone_before_its_session),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
