/* Certificates, contexts and whole handshakes between two sessions, carried by
 * hand instead of by QUIC. */
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

static struct hand_pair ca, other_ca, leaf, relay;

static int set_up(void **state) {
  hand_begin();
  hand_ca(&ca);
  hand_ca(&other_ca);
  hand_leaf(&leaf, &ca, "spiffe://example.org/agent/laptop-7", HAND_NOW - 300,
            HAND_NOW + 30 * HAND_DAY);
  hand_leaf(&relay, &ca, "spiffe://example.org/relay/eu1", HAND_NOW - 300,
            HAND_NOW + 30 * HAND_DAY);
  return 0;
}

static int tear_down(void **state) {
  hand_forget(&ca);
  hand_forget(&other_ca);
  hand_forget(&leaf);
  hand_forget(&relay);
  hand_done();
  return 0;
}

static void assert_refused(const char *cert, const char *key, const char *cas,
                           const char *says) {
  struct tls *t = (struct tls *)-1;
  char why[200] = "";
  const struct ztna_identity files = {.cert = cert,
                                      .cert_len = strlen(cert),
                                      .key = key,
                                      .key_len = strlen(key),
                                      .ca = cas,
                                      .ca_len = strlen(cas)};
  assert_int_equal(tls_new(&t, &files, why, sizeof(why)), ZTNA_ETLS);
  assert_null(t);
  if (!strstr(why, says)) fail_msg("said \"%s\", not \"%s\"", why, says);
}

/* --- handshakes --- */

/* One turn of one end: 0, or the error by which it ends. */
static int one_step(struct hand_end *e) {
  int rc = wolfSSL_quic_do_handshake(e->ssl);
  if (rc == 1) return 0;
  rc = wolfSSL_get_error(e->ssl, rc);
  return rc == WOLFSSL_ERROR_WANT_READ || rc == WOLFSSL_ERROR_WANT_WRITE ? 0
                                                                         : rc;
}

static void both_ends_learn_who_the_other_is(void **state) {
  static struct hand_end c, s;
  struct tls *a = hand_tls(&leaf, &ca, NULL), *b = hand_tls(&relay, &ca, NULL);
  struct identity id;
  enum reason why;
  hand_end_init(&c, tls_session(a, false, "h3", "relay.example.org"));
  hand_end_init(&s, tls_session(b, true, "h3", NULL));
  tls_free(a); /* sessions keep what they need */
  tls_free(b);
  assert_int_equal(hand_shake(&c, &s), 0);
  assert_int_equal(tls_peer(c.ssl, "h3", &id, &why), 0);
  assert_string_equal(id.spiffe, "spiffe://example.org/relay/eu1");
  assert_true(identity_has_host(&id, "relay.example.org"));
  identity_done(&id);
  assert_int_equal(tls_peer(s.ssl, "h3", &id, &why), 0);
  assert_string_equal(id.spiffe, "spiffe://example.org/agent/laptop-7");
  identity_done(&id);
  assert_int_equal(tls_peer(s.ssl, "ztna/1", &id, &why), ZTNA_EREFUSED);
  assert_int_equal(why, REASON_UNSUPPORTED_VERSION);
  assert_string_equal(tls_group(c.ssl), "X25519MLKEM768");
  assert_string_equal(tls_group(s.ssl), "X25519MLKEM768");
  assert_string_equal(tls_cipher(s.ssl), tls_cipher(c.ssl));
  print_message("# %s %s\n", tls_group(s.ssl), tls_cipher(s.ssl));
  /* ClientHello and the client's finish: no HelloRetryRequest in between. */
  assert_int_equal(c.n_flights, 2);
  assert_int_equal(s.n_app, 0);
  hand_ends_free(&c, &s);
}

static void client_without_the_hybrid_group_is_served(void **state) {
  static struct hand_end c, s;
  struct tls *a = hand_tls(&leaf, &ca, NULL), *b = hand_tls(&relay, &ca, NULL);
  hand_end_init(&c, tls_session(a, false, "h3", NULL));
  hand_end_init(&s, tls_session(b, true, "h3", NULL));
  wolfSSL_set1_groups_list(c.ssl, "X25519");
  assert_int_equal(hand_shake(&c, &s), 0);
  assert_string_equal(tls_group(s.ssl), "X25519");
  hand_ends_free(&c, &s);
  tls_free(a);
  tls_free(b);
}

/* Whoever carries the handshake takes a group out of what the client offers:
 * its number becomes one that nobody knows. Returns how often. */
static int hide_group(struct hand_end *c, uint16_t group) {
  uint8_t *p = c->out[wolfssl_encryption_initial];
  int n = 0;
  for (size_t i = 0; i + 1 < c->len[wolfssl_encryption_initial]; i++) {
    if (p[i] << 8 != (group & 0xff00) || p[i + 1] != (group & 0xff)) continue;
    p[i] = p[i + 1] = 0x7a; /* RFC 8701: to be passed over */
    n++;
  }
  return n;
}

/* The server is led to the weaker group, and neither end believes it: both sign
 * and hash what they said and heard. */
static void a_group_taken_out_on_the_way_ends_the_handshake(void **state) {
  static struct hand_end c, s;
  struct tls *a = hand_tls(&leaf, &ca, NULL), *b = hand_tls(&relay, &ca, NULL);
  hand_end_init(&c, tls_session(a, false, "h3", NULL));
  hand_end_init(&s, tls_session(b, true, "h3", NULL));
  int hidden = 0, rc = 0;
  for (int i = 0; i < 6; i++) {
    if ((rc = one_step(&c)) < 0) break;
    hidden += hide_group(&c, 0x11ec); /* X25519MLKEM768 */
    hand_carry(&c, &s);
    if ((rc = one_step(&s)) < 0) break;
    hand_carry(&s, &c);
  }
  assert_true(hidden >= 2); /* in the list, and its key share */
  assert_string_equal(tls_group(s.ssl), "X25519");
  assert_true(rc < 0);
  assert_false(wolfSSL_is_init_finished(c.ssl));
  assert_false(wolfSSL_is_init_finished(s.ssl));
  hand_ends_free(&c, &s);
  tls_free(a);
  tls_free(b);
}

static void server_follows_a_client_that_prefers_chacha(void **state) {
  static struct hand_end c, s;
  struct tls *a = hand_tls(&leaf, &ca, NULL), *b = hand_tls(&relay, &ca, NULL);
  hand_end_init(&c, tls_session(a, false, "h3", NULL));
  hand_end_init(&s, tls_session(b, true, "h3", NULL));
  wolfSSL_set_cipher_list(
      c.ssl, "TLS13-CHACHA20-POLY1305-SHA256:TLS13-AES128-GCM-SHA256");
  assert_int_equal(hand_shake(&c, &s), 0);
  assert_string_equal(tls_cipher(s.ssl), "TLS13-CHACHA20-POLY1305-SHA256");
  hand_ends_free(&c, &s);
  tls_free(a);
  tls_free(b);
}

static void other_alpn_is_refused_in_the_handshake(void **state) {
  static struct hand_end c, s;
  struct tls *a = hand_tls(&leaf, &ca, NULL), *b = hand_tls(&relay, &ca, NULL);
  hand_end_init(&c, tls_session(a, false, "ztna/1", NULL));
  hand_end_init(&s, tls_session(b, true, "h3", NULL));
  int rc = hand_shake(&c, &s);
  assert_int_equal(s.alert, 120);
  assert_int_equal(tls_reason(rc, 0), REASON_UNSUPPORTED_VERSION);
  assert_int_equal(tls_reason(0, s.alert), REASON_UNSUPPORTED_VERSION);
  hand_ends_free(&c, &s);
  tls_free(a);
  tls_free(b);
}

static void client_without_alpn_is_refused_by_tls_peer(void **state) {
  static struct hand_end c, s;
  struct tls *b = hand_tls(&relay, &ca, NULL);
  struct identity id;
  enum reason why;
  WOLFSSL_CTX *ctx = wolfSSL_CTX_new(wolfTLSv1_3_client_method());
  wolfSSL_CTX_use_certificate_buffer(ctx, (const uint8_t *)leaf.cert.s,
                                     (long)leaf.cert.len, 1);
  wolfSSL_CTX_use_PrivateKey_buffer(ctx, (const uint8_t *)leaf.key.s,
                                    (long)leaf.key.len, 1);
  wolfSSL_CTX_load_verify_buffer(ctx, (const uint8_t *)ca.cert.s,
                                 (long)ca.cert.len, 1);
  wolfSSL_CTX_set_quic_method(ctx, &hand_method);
  hand_end_init(&c, wolfSSL_new(ctx));
  wolfSSL_set_quic_transport_version(c.ssl, 0x39);
  wolfSSL_set_connect_state(c.ssl);
  hand_end_init(&s, tls_session(b, true, "h3", NULL));
  assert_int_equal(hand_shake(&c, &s), 0);
  assert_int_equal(tls_peer(s.ssl, "h3", &id, &why), ZTNA_EREFUSED);
  assert_int_equal(why, REASON_UNSUPPORTED_VERSION);
  hand_ends_free(&c, &s);
  wolfSSL_CTX_free(ctx);
  tls_free(b);
}

static void client_without_certificate_is_refused(void **state) {
  static struct hand_end c, s;
  struct tls *b = hand_tls(&relay, &ca, NULL);
  WOLFSSL_CTX *ctx = wolfSSL_CTX_new(wolfTLSv1_3_client_method());
  wolfSSL_CTX_load_verify_buffer(ctx, (const uint8_t *)ca.cert.s,
                                 (long)ca.cert.len, 1);
  wolfSSL_CTX_set_quic_method(ctx, &hand_method);
  hand_end_init(&c, wolfSSL_new(ctx));
  wolfSSL_set_quic_transport_version(c.ssl, 0x39);
  wolfSSL_set_connect_state(c.ssl);
  hand_end_init(&s, tls_session(b, true, "h3", NULL));
  int rc = hand_shake(&c, &s);
  assert_int_equal(s.alert, 116);
  assert_int_equal(tls_reason(rc, 0), REASON_BAD_CERTIFICATE);
  assert_int_equal(tls_reason(0, s.alert), REASON_BAD_CERTIFICATE);
  hand_ends_free(&c, &s);
  wolfSSL_CTX_free(ctx);
  tls_free(b);
}

/* An agent with `own`, trusting `trust`, calls the relay. */
static void assert_handshake_fails(const struct hand_pair *own,
                                   const struct hand_pair *trust, int alert,
                                   enum reason reason) {
  static struct hand_end c, s;
  struct tls *a = hand_tls(own, trust, NULL), *b = hand_tls(&relay, &ca, NULL);
  hand_end_init(&c, tls_session(a, false, "h3", NULL));
  hand_end_init(&s, tls_session(b, true, "h3", NULL));
  int rc = hand_shake(&c, &s);
  assert_int_equal(c.alert ? c.alert : s.alert, alert);
  assert_int_equal(tls_reason(rc, 0), reason);
  assert_int_equal(tls_reason(0, alert), reason);
  hand_ends_free(&c, &s);
  tls_free(a);
  tls_free(b);
}

static void another_ca_is_refused(void **state) {
  struct hand_pair p;
  hand_leaf(&p, &other_ca, "spiffe://example.org/agent/x", HAND_NOW - 1,
            HAND_NOW + HAND_DAY);
  /* Neither end knows the other's CA; the client sees it first. */
  assert_handshake_fails(&p, &other_ca, 48, REASON_BAD_CERTIFICATE);
  /* With both CAs trusted by the client, the server is the one to refuse. */
  struct hand_pair both = {0};
  sbuf_add(&both.cert, ca.cert.s, ca.cert.len);
  sbuf_add(&both.cert, other_ca.cert.s, other_ca.cert.len);
  assert_handshake_fails(&p, &both, 48, REASON_BAD_CERTIFICATE);
  hand_forget(&both);
  hand_forget(&p);
}

static void expired_and_future_certificates_are_refused(void **state) {
  struct hand_pair p;
  hand_leaf(&p, &ca, "spiffe://example.org/agent/x", HAND_NOW - 100,
            HAND_NOW - 1);
  assert_handshake_fails(&p, &ca, 45, REASON_CERTIFICATE_EXPIRED);
  hand_forget(&p);
  hand_leaf(&p, &ca, "spiffe://example.org/agent/x", HAND_NOW + 100,
            HAND_NOW + 200);
  assert_handshake_fails(&p, &ca, 45, REASON_CERTIFICATE_EXPIRED);
  hand_forget(&p);
}

/* --- tls_new --- */

static void own_identity_is_read(void **state) {
  struct tls *t = hand_tls(&leaf, &ca, NULL);
  assert_string_equal(tls_identity(t)->name, "laptop-7");
  assert_int_equal(tls_identity(t)->not_after, HAND_NOW + 30 * HAND_DAY);
  tls_free(t);
}

static void wrong_files_are_named(void **state) {
  assert_refused("", leaf.key.s, ca.cert.s, "cert: holds no certificate");
  assert_refused("garbage", leaf.key.s, ca.cert.s, "cert: holds no");
  assert_refused(leaf.key.s, leaf.key.s, ca.cert.s, "cert: holds no");
  assert_refused("-----BEGIN CERTIFICATE-----\nMIIB\n", leaf.key.s, ca.cert.s,
                 "cert: holds a damaged");
  assert_refused(ca.cert.s, ca.key.s, ca.cert.s, "cert: does not name one");
  assert_refused(leaf.cert.s, relay.key.s, ca.cert.s,
                 "key: does not belong to cert");
  assert_refused(leaf.cert.s, "garbage", ca.cert.s, "key: holds no readable");
  assert_refused(leaf.cert.s, leaf.cert.s, ca.cert.s, "key: holds no readable");
  assert_refused(leaf.cert.s, leaf.key.s, "", "ca: holds no certificate");
  assert_refused(leaf.cert.s, leaf.key.s, leaf.cert.s, "ca: holds a");
  assert_refused(leaf.cert.s, leaf.key.s, other_ca.cert.s,
                 "cert: no certificate in ca has signed it");
}

static void damaged_signature_is_named(void **state) {
  char *bad = strdup(leaf.cert.s);
  char *end = strstr(bad, "-----END");
  end[-8] = end[-8] == 'A' ? 'B' : 'A';
  assert_refused(bad, leaf.key.s, ca.cert.s, "cert: ");
  free(bad);
}

static void expired_ca_is_named_unless_a_good_one_is_beside_it(void **state) {
  struct hand_pair old = {0}, both = {0};
  assert_int_equal(cert_make_ca("ztna CA example.org", HAND_NOW - 10 * HAND_DAY,
                                HAND_NOW - HAND_DAY, &old.cert, &old.key),
                   0);
  assert_refused(leaf.cert.s, leaf.key.s, old.cert.s, "ca: has expired");
  sbuf_add(&both.cert, old.cert.s, old.cert.len);
  sbuf_add(&both.cert, ca.cert.s, ca.cert.len);
  tls_free(hand_tls(&leaf, &both, NULL));
  hand_now = HAND_NOW - 20 * HAND_DAY;
  assert_refused(leaf.cert.s, leaf.key.s, ca.cert.s, "ca: is not valid yet");
  hand_now = HAND_NOW;
  hand_forget(&old);
  hand_forget(&both);
}

static void reasons_tell_what_is_wrong(void **state) {
  static const struct {
    int alert;
    enum reason r;
  } t[] = {
      {42, REASON_BAD_CERTIFICATE},
      {43, REASON_BAD_CERTIFICATE},
      {44, REASON_REVOKED},
      {45, REASON_CERTIFICATE_EXPIRED},
      {46, REASON_BAD_CERTIFICATE},
      {48, REASON_BAD_CERTIFICATE},
      {49, REASON_IDENTITY_MISMATCH},
      {116, REASON_BAD_CERTIFICATE},
      {120, REASON_UNSUPPORTED_VERSION},
      {70, REASON_UNSUPPORTED_VERSION},
      {50, REASON_MALFORMED},
  };
  for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
    assert_int_equal(tls_reason(0, t[i].alert), t[i].r);
  for (int r = REASON_BAD_CERTIFICATE; r <= REASON_UNSUPPORTED_VERSION; r++)
    assert_int_equal(tls_reason(0, tls_alert((enum reason)r)), r);
  assert_int_equal(tls_reason(-188, 0), REASON_BAD_CERTIFICATE);
  assert_int_equal(tls_reason(-151, 0), REASON_CERTIFICATE_EXPIRED);
  assert_int_equal(tls_reason(-150, 0), REASON_CERTIFICATE_EXPIRED);
  assert_int_equal(tls_reason(-361, 42), REASON_REVOKED);
  /* An error that says nothing leaves the word to the alert. */
  assert_int_equal(tls_reason(-313, 45), REASON_CERTIFICATE_EXPIRED);
  char text[100];
  assert_non_null(strstr(tls_error_text(-188, text, sizeof(text)), "-188"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(own_identity_is_read),
      cmocka_unit_test(wrong_files_are_named),
      cmocka_unit_test(damaged_signature_is_named),
      cmocka_unit_test(expired_ca_is_named_unless_a_good_one_is_beside_it),
      cmocka_unit_test(both_ends_learn_who_the_other_is),
      cmocka_unit_test(client_without_the_hybrid_group_is_served),
      cmocka_unit_test(a_group_taken_out_on_the_way_ends_the_handshake),
      cmocka_unit_test(server_follows_a_client_that_prefers_chacha),
      cmocka_unit_test(other_alpn_is_refused_in_the_handshake),
      cmocka_unit_test(client_without_alpn_is_refused_by_tls_peer),
      cmocka_unit_test(client_without_certificate_is_refused),
      cmocka_unit_test(another_ca_is_refused),
      cmocka_unit_test(expired_and_future_certificates_are_refused),
      cmocka_unit_test(reasons_tell_what_is_wrong),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
