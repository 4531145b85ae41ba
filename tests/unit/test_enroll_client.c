/* test_enroll_client.c - a certificate is got and renewed; services that lie,
 * keep silent, or are others than they should be get nothing and give nothing.
 */
#include "enroll_liar.h"

#include <jansson.h>

#include "transport/tls.h"

static int begin(void **state) {
  *state = ew_new();
  return 0;
}

static int end(void **state) {
  ew_free(*state);
  return 0;
}

static void check_granted(const struct enroll_result *r, const char *spiffe) {
  if (r->why) fail_msg("%s: %s", reason_name(r->why), r->text);
  assert_string_equal(r->id.spiffe, spiffe);
}

/* Nothing that could be written is left. */
static void check_refused(const struct enroll_result *r, enum reason why,
                          const char *words) {
  if (r->why != why) fail_msg("%s: %s", reason_name(r->why), r->text);
  if (!strstr(r->text, words)) fail_msg("\"%s\" lacks \"%s\"", r->text, words);
  assert_int_equal(r->cert.len, 0);
  assert_int_equal(r->ca.len, 0);
}

static bool fits_key(const struct sbuf *cert, const struct sbuf *key,
                     const struct sbuf *ca) {
  const struct ztna_identity own = {.cert = cert->s,
                                    .cert_len = cert->len,
                                    .key = key->s,
                                    .key_len = key->len,
                                    .ca = ca->s,
                                    .ca_len = ca->len};
  struct tls *t;
  char why[256];
  if (tls_new(&t, &own, why, sizeof(why)) < 0) return false;
  tls_free(t);
  return true;
}

/* --- as it should be */

static void token_gets_a_certificate_for_the_key_of_this_machine(void **state) {
  struct ew *w = *state;
  struct enroll_result *r = ew_enroll(w);
  check_granted(r, "spiffe://example.org/agent/laptop-7");
  assert_int_equal(w->n_requests, 1);
  assert_string_equal(w->method, "POST");
  assert_string_equal(w->path, "/v1/enroll");
  assert_true(fits_key(&r->cert, &w->key, &w->ca.cert));
  assert_int_equal(r->id.not_after, w->sign_to);
  /* as long as that, and no longer */
  assert_true(w->now < 5 * SEC);
}

static void only_a_request_leaves_the_machine_never_the_key(void **state) {
  struct ew *w = *state;
  json_t *o;
  check_granted(ew_enroll(w), w->sign_as);
  o = json_loads(w->body, 0, NULL);
  assert_int_equal(json_object_size(o), 2);
  assert_int_equal(json_string_length(json_object_get(o, "token")), 48);
  assert_null(strstr(w->body, "PRIVATE"));
  assert_non_null(strstr(json_string_value(json_object_get(o, "csr")),
                         "-----BEGIN CERTIFICATE REQUEST-----"));
  json_decref(o);
}

static void renewal_asks_by_the_certificate_that_is_there(void **state) {
  struct ew *w = *state;
  w->sign_to += 86400;
  struct enroll_result *r = ew_renew(w);
  check_granted(r, "spiffe://example.org/agent/laptop-7");
  assert_string_equal(w->path, "/v1/renew");
  assert_null(strstr(w->body, "token"));
  assert_true(fits_key(&r->cert, &w->agent.key, &w->ca.cert));
}

static struct ew_ca second;

static void reply_with_two_cas(struct ew *w, struct h3_req *r) {
  const struct cert_spec spec = {.spiffe = w->sign_as,
                                 .not_before = w->sign_from,
                                 .not_after = w->sign_to};
  struct sbuf csr = {0}, cert = {0}, both = {0};
  ew_csr(w, &csr);
  cert_sign_csr(&spec, csr.s, csr.len, w->ca.cert.s, w->ca.cert.len,
                w->ca.key.s, w->ca.key.len, &cert);
  sbuf_printf(&both, "a word\n%s%s", second.cert.s, w->ca.cert.s);
  ew_reply(r, &cert, &both);
  sbuf_done(&csr);
  sbuf_done(&cert);
  sbuf_done(&both);
}

static void next_ca_comes_with_the_answer_and_nothing_else(void **state) {
  struct ew *w = *state;
  struct enroll_result *r;
  ew_ca_make(&second, "ztna CA next");
  w->answer = reply_with_two_cas;
  r = ew_renew(w);
  check_granted(r, w->sign_as);
  assert_null(strstr(r->ca.s, "a word"));
  assert_int_equal(strncmp(r->ca.s, "-----BEGIN", 10), 0);
  const char *at = r->ca.s;
  size_t left = r->ca.len;
  uint8_t der[CERT_DER_MAX];
  assert_true(cert_pem_next(&at, &left, der, sizeof(der)) > 0);
  assert_true(cert_pem_next(&at, &left, der, sizeof(der)) > 0);
  assert_int_equal(cert_pem_next(&at, &left, der, sizeof(der)), ZTNA_ENOENT);
  ew_ca_done(&second);
}

static void addresses_are_tried_one_after_another(void **state) {
  struct ew *w = *state;
  const struct ztna_addr addrs[] = {test_addr("203.0.113.9:4435"),
                                    test_addr("[2001:db8::9]:4435"), w->addr};
  const struct enroll_options o = {.key = w->key.s,
                                   .key_len = w->key.len,
                                   .token = &w->token,
                                   .addrs = addrs,
                                   .n_addrs = 3};
  ew_begin(w, &o);
  check_granted(ew_run(w), w->sign_as);
  assert_true(w->n_dialled_wrong >= 2);
  assert_in_range(w->now, 5 * SEC, 8 * SEC);
}

/* --- who is asked */

static void service_of_another_ca_never_sees_the_token(void **state) {
  struct ew *w = *state;
  struct ew_ca other;
  ew_ca_make(&other, "ztna CA example.org");
  ew_serve(w, &other, "spiffe://example.org/enroll/ca", true);
  check_refused(ew_enroll(w), REASON_BAD_CERTIFICATE,
                "does not show the CA that the token names");
  assert_int_equal(w->n_requests, 0);
  ew_ca_done(&other);
}

/* Anybody can show the CA's certificate behind one of his own. */
static void serve_borrowed(struct ew *w, const struct ew_ca *other) {
  struct ew_ca mixed = *other;
  struct sbuf both = {0};
  sbuf_printf(&both, "%s%s", other->cert.s, w->ca.cert.s);
  mixed.cert = both;
  ew_serve(w, &mixed, "spiffe://example.org/enroll/ca", true);
  sbuf_done(&both);
}

static void showing_the_ca_is_not_being_signed_by_it(void **state) {
  struct ew *w = *state;
  struct ew_ca other;
  ew_ca_make(&other, "ztna CA example.org");
  serve_borrowed(w, &other);
  check_refused(ew_enroll(w), REASON_BAD_CERTIFICATE, "is refused");
  assert_int_equal(w->n_requests, 0);
  ew_ca_done(&other);
}

static void agents_certificate_makes_no_enrolment_service(void **state) {
  struct ew *w = *state;
  ew_serve(w, &w->ca, "spiffe://example.org/agent/evil", true);
  check_refused(ew_enroll(w), REASON_IDENTITY_MISMATCH,
                "no enrolment service: nothing was asked");
  check_refused(ew_renew(w), REASON_IDENTITY_MISMATCH,
                "spiffe://example.org/agent/evil");
  ew_serve(w, &w->ca, "spiffe://example.org/relay/eu1", true);
  check_refused(ew_enroll(w), REASON_IDENTITY_MISMATCH, "no enrolment");
  assert_int_equal(w->n_requests, 0);
}

static void renewal_asks_nobody_of_another_trust_domain(void **state) {
  struct ew *w = *state;
  ew_serve(w, &w->ca, "spiffe://other.org/enroll/ca", true);
  check_refused(ew_renew(w), REASON_IDENTITY_MISMATCH,
                "of another trust domain");
  assert_int_equal(w->n_requests, 0);
}

static void renewal_asks_nobody_of_another_ca(void **state) {
  struct ew *w = *state;
  struct ew_ca other;
  ew_ca_make(&other, "ztna CA example.org");
  ew_serve(w, &other, "spiffe://example.org/enroll/ca", true);
  check_refused(ew_renew(w), REASON_BAD_CERTIFICATE, "identity.enroll right");
  assert_int_equal(w->n_requests, 0);
  ew_ca_done(&other);
}

static void wrong_clock_is_named_as_such(void **state) {
  struct ew *w = *state;
  ew_serve_until(w, &w->ca, "spiffe://example.org/enroll/ca", EW_NOW - 86400,
                 EW_NOW - 3600);
  check_refused(ew_enroll(w), REASON_CERTIFICATE_EXPIRED, "clock right?");
  ew_serve_until(w, &w->ca, "spiffe://example.org/enroll/ca", EW_NOW + 3600,
                 EW_NOW + 86400);
  check_refused(ew_enroll(w), REASON_CERTIFICATE_EXPIRED, "2023-11-14T22:13:");
  assert_int_equal(w->n_requests, 0);
}

/* --- what is taken */

static void reply_other_key(struct ew *w, struct h3_req *r) {
  struct ew_leaf other;
  ew_leaf_make(&other, &w->ca, w->sign_as, w->sign_from, w->sign_to);
  ew_reply(r, &other.cert, &w->ca.cert);
  ew_leaf_done(&other);
}

static void certificate_for_another_key_is_refused(void **state) {
  struct ew *w = *state;
  w->answer = reply_other_key;
  check_refused(ew_enroll(w), REASON_BAD_CERTIFICATE, "does not belong");
  check_refused(ew_renew(w), REASON_BAD_CERTIFICATE, "does not belong");
}

static void renewed_as_somebody_else_is_refused(void **state) {
  static const char *const others[] = {
      "spiffe://example.org/agent/laptop-8",
      "spiffe://example.org/connector/laptop-7",
      "spiffe://example.org/relay/laptop-7",
      "spiffe://other.org/agent/laptop-7",
      "spiffe://example.org/enroll/laptop-7"};
  struct ew *w = *state;
  for (size_t i = 0; i < N_OF(others); i++) {
    w->sign_as = others[i];
    check_refused(ew_renew(w), REASON_IDENTITY_MISMATCH, others[i]);
  }
  assert_int_equal(w->n_requests, N_OF(others));
}

static void enrolment_takes_no_service_and_no_other_domain(void **state) {
  struct ew *w = *state;
  w->sign_as = "spiffe://example.org/enroll/evil";
  check_refused(ew_enroll(w), REASON_IDENTITY_MISMATCH, "enroll/evil");
  w->sign_as = "spiffe://other.org/agent/laptop-7";
  check_refused(ew_enroll(w), REASON_IDENTITY_MISMATCH, "other.org");
}

static void certificate_by_another_ca_is_refused(void **state) {
  struct ew *w = *state;
  struct ew_ca other;
  ew_ca_make(&other, "ztna CA example.org");
  w->sign_by = &other;
  check_refused(ew_enroll(w), REASON_BAD_CERTIFICATE, "no certificate in ca");
  check_refused(ew_renew(w), REASON_BAD_CERTIFICATE, "no certificate in ca");
  ew_ca_done(&other);
}

static struct ew_ca stranger;

static void reply_with_strange_ca(struct ew *w, struct h3_req *r) {
  const struct cert_spec spec = {.spiffe = w->sign_as,
                                 .not_before = w->sign_from,
                                 .not_after = w->sign_to};
  struct sbuf csr = {0}, cert = {0};
  ew_csr(w, &csr);
  cert_sign_csr(&spec, csr.s, csr.len, w->ca.cert.s, w->ca.cert.len,
                w->ca.key.s, w->ca.key.len, &cert);
  ew_reply(r, &cert, &stranger.cert);
  sbuf_done(&csr);
  sbuf_done(&cert);
}

static void list_of_cas_without_any_that_is_known_is_refused(void **state) {
  struct ew *w = *state;
  ew_ca_make(&stranger, "ztna CA example.org");
  w->answer = reply_with_strange_ca;
  check_refused(ew_renew(w), REASON_BAD_CERTIFICATE,
                "CAs of which none is trusted here");
  ew_ca_done(&stranger);
}

static void reply_leaf_as_ca(struct ew *w, struct h3_req *r) {
  const struct cert_spec spec = {.spiffe = w->sign_as,
                                 .not_before = w->sign_from,
                                 .not_after = w->sign_to};
  struct sbuf csr = {0}, cert = {0}, both = {0};
  ew_csr(w, &csr);
  cert_sign_csr(&spec, csr.s, csr.len, w->ca.cert.s, w->ca.cert.len,
                w->ca.key.s, w->ca.key.len, &cert);
  sbuf_printf(&both, "%s%s", w->ca.cert.s, w->agent.cert.s);
  ew_reply(r, &cert, &both);
  sbuf_done(&csr);
  sbuf_done(&cert);
  sbuf_done(&both);
}

static void machine_is_no_ca_whatever_the_service_says(void **state) {
  struct ew *w = *state;
  w->answer = reply_leaf_as_ca;
  check_refused(ew_renew(w), REASON_BAD_CERTIFICATE, "not a CA's");
}

static void certificate_that_is_not_valid_now_is_refused(void **state) {
  struct ew *w = *state;
  w->sign_from = EW_NOW - 7200;
  w->sign_to = EW_NOW - 3600;
  check_refused(ew_enroll(w), REASON_CERTIFICATE_EXPIRED, "clock right?");
  w->sign_from = EW_NOW + 3600;
  w->sign_to = EW_NOW + 7200;
  check_refused(ew_renew(w), REASON_CERTIFICATE_EXPIRED, "clock right?");
}

/* --- answers that are none */

static const char *said;

static void reply_said(struct ew *w, struct h3_req *r) {
  h3_respond(r, 200, said, strlen(said));
}

static void bytes_that_are_no_certificate_are_refused(void **state) {
  static const char *const bytes[] = {
      "",
      "{",
      "[]",
      "{}",
      "{\"certificate\": 1, \"ca\": 2}",
      "{\"certificate\": \"\", \"ca\": \"\"}",
      "{\"certificate\": \"-----BEGIN CERTIFICATE-----\", \"ca\": \"\"}",
      "{\"certificate\": \"-----BEGIN CERTIFICATE----------END "
      "CERTIFICATE-----\"}",
      "{\"certificate\": \"-----BEGIN CERTIFICATE-----\\u0000"
      "-----END CERTIFICATE-----\", \"ca\": \"\"}",
      "{\"certificate\": \"-----BEGIN CERTIFICATE-----\\nrm -rf "
      "/\\n-----END CERTIFICATE-----\", \"ca\": \"-----BEGIN "
      "CERTIFICATE-----\\nAAAA\\n-----END CERTIFICATE-----\"}",
  };
  struct ew *w = *state;
  w->answer = reply_said;
  for (size_t i = 0; i < N_OF(bytes); i++) {
    said = bytes[i];
    check_refused(ew_enroll(w), REASON_MALFORMED, "breaks its format");
  }
  said = "{\"certificate\": \"-----BEGIN CERTIFICATE-----\\nAAAA\\n"
         "-----END CERTIFICATE-----\", \"ca\": \"-----BEGIN "
         "CERTIFICATE-----\\nAAAA\\n-----END CERTIFICATE-----\"}";
  check_refused(ew_enroll(w), REASON_BAD_CERTIFICATE, "none for this machine");
}

static size_t how_long;

static void reply_long(struct ew *w, struct h3_req *r) {
  char *text = malloc(how_long);
  memset(text, ' ', how_long);
  h3_respond(r, 200, text, how_long);
  free(text);
}

static void answer_without_end_is_given_up(void **state) {
  struct ew *w = *state;
  w->answer = reply_long;
  how_long = ENROLL_ANSWER_MAX + 1;
  check_refused(ew_renew(w), REASON_MALFORMED, "too long");
  how_long = H3_ANSWER_MAX + 1;
  check_refused(ew_renew(w), REASON_MALFORMED, "too long");
}

static void silence_after_the_question_ends_in_ten_seconds(void **state) {
  struct ew *w = *state;
  uint64_t at = w->now;
  w->answer = NULL;
  check_refused(ew_enroll(w), REASON_RELAY_UNREACHABLE,
                "has not answered within 10 s");
  assert_in_range(w->now - at, 10 * SEC, 12 * SEC);
  assert_int_equal(w->n_requests, 1);
}

static void nobody_there_is_told_in_seconds(void **state) {
  struct ew *w = *state;
  uint64_t at = w->now;
  w->silent = true;
  check_refused(ew_enroll(w), REASON_RELAY_UNREACHABLE,
                "does a firewall block UDP?");
  assert_in_range(w->now - at, 2 * SEC, 4 * SEC);
  check_refused(ew_renew(w), REASON_RELAY_UNREACHABLE, "203.0.113.1:4435");
}

/* --- no */

static enum reason no;
static const char *detail;

static void reply_no(struct ew *w, struct h3_req *r) {
  h3_problem(r, no, detail);
}

static void refusal_is_told_in_the_services_words(void **state) {
  struct ew *w = *state;
  w->answer = reply_no;
  no = REASON_BAD_TOKEN;
  detail = "used at 2023-11-14T22:00:00Z";
  check_refused(ew_enroll(w), REASON_BAD_TOKEN, detail);
  check_refused(ew_enroll(w), REASON_BAD_TOKEN, "ztna token create");
  no = REASON_RATE_LIMITED;
  detail = NULL;
  check_refused(ew_renew(w), REASON_RATE_LIMITED, "asks to wait");
  no = REASON_MALFORMED;
  detail = "\x1b[31mred";
  check_refused(ew_renew(w), REASON_MALFORMED, "?[31mred");
}

static void reply_teapot(struct ew *w, struct h3_req *r) {
  h3_respond(r, 418, "tea", 3);
}

static void other_servers_are_no_enrolment_service(void **state) {
  struct ew *w = *state;
  w->answer = reply_teapot;
  check_refused(ew_enroll(w), REASON_INTERNAL, "HTTP status 418");
}

/* The service says so after the client's handshake is done. */
static void expired_certificate_is_not_renewed_and_told(void **state) {
  struct ew *w = *state;
  ew_leaf_done(&w->agent);
  ew_leaf_make(&w->agent, &w->ca, "spiffe://example.org/agent/laptop-7",
               EW_NOW - 7200, EW_NOW - 3600);
  check_refused(ew_renew(w), REASON_CERTIFICATE_EXPIRED,
                "enrol this machine again");
  assert_int_equal(w->n_requests, 0);
}

int main(void) {
#define T(f) TEST_WITH(f, begin, end)
  const struct CMUnitTest tests[] = {
      T(token_gets_a_certificate_for_the_key_of_this_machine),
      T(only_a_request_leaves_the_machine_never_the_key),
      T(renewal_asks_by_the_certificate_that_is_there),
      T(next_ca_comes_with_the_answer_and_nothing_else),
      T(addresses_are_tried_one_after_another),
      T(service_of_another_ca_never_sees_the_token),
      T(showing_the_ca_is_not_being_signed_by_it),
      T(agents_certificate_makes_no_enrolment_service),
      T(renewal_asks_nobody_of_another_trust_domain),
      T(renewal_asks_nobody_of_another_ca),
      T(wrong_clock_is_named_as_such),
      T(certificate_for_another_key_is_refused),
      T(renewed_as_somebody_else_is_refused),
      T(enrolment_takes_no_service_and_no_other_domain),
      T(certificate_by_another_ca_is_refused),
      T(list_of_cas_without_any_that_is_known_is_refused),
      T(machine_is_no_ca_whatever_the_service_says),
      T(certificate_that_is_not_valid_now_is_refused),
      T(bytes_that_are_no_certificate_are_refused),
      T(answer_without_end_is_given_up),
      T(silence_after_the_question_ends_in_ten_seconds),
      T(nobody_there_is_told_in_seconds),
      T(refusal_is_told_in_the_services_words),
      T(other_servers_are_no_enrolment_service),
      T(expired_certificate_is_not_renewed_and_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
