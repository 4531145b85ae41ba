/* test_enroll_server.c - who gets which certificate from the enrolment service,
 * and who gets none. */
#include "unit.h"

#include "enroll_world.h"
#include "role/enroll_limit.h"

static struct enroll_world *w;

static int set_up(void **state) {
  w = calloc(1, sizeof(*w));
  enroll_world_begin(w);
  return 0;
}

static int tear_down(void **state) {
  enroll_world_end(w);
  free(w);
  return 0;
}

#define AGENT "spiffe://example.org/agent/laptop-7"

/* The certificate in the last answer; its key is the world's. */
static struct identity got(const struct enroll_peer *p) {
  static uint8_t der[CERT_DER_MAX];
  const char *pem = enroll_text(p, "certificate");
  struct identity id;
  struct ztna_identity own = {.cert = pem,
                              .cert_len = strlen(pem),
                              .key = w->key.s,
                              .key_len = w->key.len,
                              .ca = enroll_text(p, "ca")};
  struct tls *t;
  char why[256];
  own.ca_len = strlen(own.ca);
  assert_string_equal(own.ca, w->ca.s);
  if (tls_new(&t, &own, why, sizeof(why)) < 0) fail_msg("%s", why);
  tls_free(t);
  int n = cert_pem_to_der(pem, strlen(pem), der, sizeof(der));
  assert_int_equal(identity_from_der(&id, der, (size_t)n), 0);
  return id;
}

static void refused(struct enroll_peer *p, int status, int want,
                    const char *reason, const char *detail) {
  assert_int_equal(status, want);
  assert_string_equal(enroll_text(p, "reason"), reason);
  if (detail) assert_string_equal(enroll_text(p, "detail"), detail);
  assert_string_equal(enroll_text(p, "certificate"), "");
  assert_non_null(strstr(w->log, reason));
}

static uint64_t counter(const char *name) {
  struct sbuf out = {0};
  char find[128];
  enroll_server_metrics(w->server, &out);
  snprintf(find, sizeof(find), "\n%s ", name);
  const char *at = strstr(out.s, find);
  if (!at) fail_msg("no metric %s", name);
  uint64_t v = strtoull(at + strlen(find), NULL, 10);
  sbuf_done(&out);
  return v;
}

/* --- enrolment */

static void a_token_gets_the_certificate_it_was_made_for(void **state) {
  struct enroll_peer *p = enroll_stranger(w, "198.51.100.1:1000");
  static const uint8_t id[] = {1, 2, 3, 4, 5, 6, 7, 8};
  uint8_t key[32];
  w->dns = "agent.web.ztna";
  assert_true(enroll_dial(p));
  assert_int_equal(enroll_by_token(p), 200);
  struct identity c = got(p);
  assert_string_equal(c.spiffe, AGENT);
  assert_int_equal(c.n_dns, 1);
  assert_string_equal(c.dns[0], "agent.web.ztna");
  assert_in_range(enroll_world_unix() + 3600 - c.not_after, 0, 2);
  identity_done(&c);
  assert_memory_equal(w->id, id, sizeof(id));
  assert_true(w->secret[0] == 0xa0 && w->secret[15] == 0xaf);
  assert_int_equal(cert_read_csr(w->csr.s, w->csr.len, key), 0);
  assert_memory_equal(w->taken_for, key, sizeof(key));
  assert_true(w->n_issued == 1 && !strcmp(w->issued, AGENT));
  assert_non_null(strstr(w->log, "token=0102030405060708"));
  assert_null(strstr(w->log, "a0a1a2a3")); /* the secret */
  assert_int_equal(counter("ztna_enroll_issued_total"), 1);
}

static void a_token_that_is_no_good_gets_nothing(void **state) {
  static const char *const details[] = {"unknown", "used", "expired"};
  struct enroll_peer *p = enroll_stranger(w, "198.51.100.1:1000");
  w->verdict = REASON_BAD_TOKEN;
  assert_true(enroll_dial(p));
  for (size_t i = 0; i < 3; i++) {
    w->detail = details[i];
    refused(p, enroll_by_token(p), 403, "bad-token", details[i]);
  }
  w->verdict = REASON_INTERNAL;
  refused(p, enroll_by_token(p), 500, "internal", NULL);
  assert_int_equal(w->n_issued, 0);
}

/* Names in the request are the applicant's wish, and nobody asks for it. */
static void the_request_gives_its_key_and_nothing_else(void **state) {
  struct enroll_peer *p = enroll_stranger(w, "198.51.100.1:1000");
  static const char more[] =
      "{\"token\": \"0102030405060708a0a1a2a3a4a5a6a7a8a9aaabacadaeaf\", "
      "\"name\": \"root\", \"role\": \"enroll\", \"identity\": "
      "\"spiffe://example.org/relay/eu1\", \"csr\": ";
  char body[4096];
  json_t *csr = json_string(w->csr.s);
  char *text = json_dumps(csr, JSON_ENCODE_ANY);
  int n = snprintf(body, sizeof(body), "%s%s}", more, text);
  free(text);
  json_decref(csr);
  assert_true(enroll_dial(p));
  assert_int_equal(enroll_ask(p, "POST", "/v1/enroll", body, (size_t)n), 200);
  struct identity c = got(p);
  assert_string_equal(c.spiffe, AGENT);
  assert_int_equal(c.n_dns + c.n_ips, 0);
  identity_done(&c);
}

/* A request that is no good does not use the token up. */
static void a_broken_request_takes_no_token(void **state) {
  static const char *const wrong[] = {
      "",
      "{",
      "[]",
      "{\"csr\": 7}",
      "{\"token\": \"0102030405060708a0a1a2a3a4a5a6a7a8a9aaabacadaeaf\"}",
      "{\"token\": \"0102030405060708a0a1a2a3a4a5a6a7a8a9aaabacadaeaf\", "
      "\"csr\": \"-----BEGIN CERTIFICATE REQUEST-----\\nAAAA\\n"
      "-----END CERTIFICATE REQUEST-----\"}",
  };
  struct enroll_peer *p = enroll_stranger(w, "198.51.100.1:1000");
  assert_true(enroll_dial(p));
  for (size_t i = 0; i < N_OF(wrong); i++)
    refused(p, enroll_ask(p, "POST", "/v1/enroll", wrong[i], strlen(wrong[i])),
            400, "malformed", NULL);
  assert_int_equal(w->n_taken, 0);
}

static void a_token_of_the_wrong_length_is_malformed(void **state) {
  static const char *const tokens[] = {"", "01", "0102030405060708",
                                       "0102030405060708A0A1A2A3A4A5A6A7A8A9AA"
                                       "ABACADAEAF"};
  struct enroll_peer *p = enroll_stranger(w, "198.51.100.1:1000");
  assert_true(enroll_dial(p));
  for (size_t i = 0; i < N_OF(tokens); i++) {
    json_t *o = json_pack("{s:s, s:s}", "token", tokens[i], "csr", w->csr.s);
    char *text = json_dumps(o, 0);
    refused(p, enroll_ask(p, "POST", "/v1/enroll", text, strlen(text)), 400,
            "malformed", "want \"token\": 48 digits");
    free(text);
    json_decref(o);
  }
  assert_int_equal(w->n_taken, 0);
}

static void a_body_too_long_is_refused_unread(void **state) {
  struct enroll_peer *p = enroll_stranger(w, "198.51.100.1:1000");
  char *big = malloc(8193);
  memset(big, '[', 8193);
  assert_true(enroll_dial(p));
  refused(p, enroll_ask(p, "POST", "/v1/enroll", big, 8193), 400, "malformed",
          "the body is too long");
  refused(p, enroll_ask(p, "POST", "/v1/enroll", big, 8192), 400, "malformed",
          NULL);
  free(big);
}

static void other_paths_and_methods_are_refused(void **state) {
  struct enroll_peer *p = enroll_stranger(w, "198.51.100.1:1000");
  assert_true(enroll_dial(p));
  refused(p, enroll_ask(p, "GET", "/v1/enroll", NULL, 0), 400, "malformed",
          NULL);
  refused(p, enroll_ask(p, "POST", "/v1/grants", "{}", 2), 404, "route-unknown",
          NULL);
}

static void no_certificate_outlives_the_limit_or_the_ca(void **state) {
  struct enroll_peer *p = enroll_stranger(w, "198.51.100.1:1000");
  w->lifetime = INT64_C(100) * 365 * 86400;
  assert_true(enroll_dial(p));
  assert_int_equal(enroll_by_token(p), 200);
  struct identity c = got(p);
  assert_in_range(enroll_world_unix() + 86400 - c.not_after, 0, 2);
  identity_done(&c);
  enroll_bye(p);
  enroll_world_run(w, (uint64_t)29 * 86400 * SEC + 43200 * SEC);
  struct tls *t = enroll_world_tls(w, NULL);
  enroll_server_set_tls(w->server, t, w->now);
  tls_free(w->tls);
  w->tls = t;
  assert_true(enroll_dial(p));
  assert_int_equal(enroll_by_token(p), 200);
  c = got(p);
  assert_true(c.not_after == ENROLL_NOW + 30 * 86400);
  identity_done(&c);
}

/* --- renewal */

static void a_certificate_is_renewed_as_it_was(void **state) {
  int64_t now = enroll_world_unix();
  struct enroll_peer *p =
      enroll_known(w, "198.51.100.1:1000", AGENT, now - 1300, now + 2000);
  assert_true(enroll_dial(p));
  assert_int_equal(enroll_renew(p), 200);
  struct identity c = got(p);
  assert_string_equal(c.spiffe, AGENT);
  assert_int_equal(c.n_dns, 1);
  assert_string_equal(c.dns[0], "agent.web.ztna");
  assert_int_equal(c.not_after - c.not_before, 3300);
  assert_in_range(enroll_world_unix() - c.not_before, 300, 302);
  assert_string_not_equal(c.serial, tls_identity(p->tls)->serial);
  assert_string_equal(w->former, tls_identity(p->tls)->serial);
  identity_done(&c);
  assert_int_equal(w->n_taken, 0);
  assert_int_equal(counter("ztna_enroll_renewed_total"), 1);
}

static void who_has_no_certificate_cannot_renew_one(void **state) {
  struct enroll_peer *p = enroll_stranger(w, "198.51.100.1:1000");
  assert_true(enroll_dial(p));
  refused(p, enroll_renew(p), 403, "bad-certificate", NULL);
  assert_int_equal(w->n_issued, 0);
}

static void ends_with(struct enroll_peer *p, enum reason why) {
  assert_false(enroll_dial(p));
  enroll_world_run(w, SEC);
  assert_true(p->ended && p->end.remote);
  assert_int_equal(p->end.reason, why);
  assert_int_equal(w->n_issued, 0);
}

static void an_expired_certificate_is_not_renewed(void **state) {
  int64_t now = enroll_world_unix();
  ends_with(enroll_known(w, "198.51.100.1:1000", AGENT, now - 3600, now - 60),
            REASON_CERTIFICATE_EXPIRED);
}

/* Nobody talks the service into a second one of itself, or an admin. */
static void other_roles_and_domains_are_refused(void **state) {
  static const char *const who[] = {"spiffe://example.org/enroll/other",
                                    "spiffe://example.org/admin/root",
                                    "spiffe://example.net/agent/laptop-7"};
  int64_t now = enroll_world_unix();
  for (size_t i = 0; i < N_OF(who); i++) {
    struct enroll_peer *p =
        enroll_known(w, "198.51.100.1:1000", who[i], now - 60, now + 3600);
    ends_with(p, REASON_IDENTITY_MISMATCH);
    quic_free(p->q);
    tls_free(p->tls);
    w->n_peers--;
  }
}

static struct sbuf list_with(const struct enroll_peer *p) {
  const struct cert_revoked r = {.serial = tls_identity(p->tls)->serial,
                                 .at = ENROLL_NOW};
  struct sbuf crl = {0};
  assert_int_equal(cert_make_crl(&r, 1, ENROLL_NOW - 10, ENROLL_NOW + 86400, 1,
                                 w->ca.s, w->ca.len, w->ca_key.s, w->ca_key.len,
                                 &crl),
                   0);
  return crl;
}

/* Who was connected when the list came, and who comes later. */
static void a_revoked_certificate_is_not_renewed(void **state) {
  int64_t now = enroll_world_unix();
  struct enroll_peer *p =
      enroll_known(w, "198.51.100.1:1000", AGENT, now - 600, now + 3600);
  struct sbuf crl = list_with(p);
  assert_true(enroll_dial(p));
  struct tls *t = enroll_world_tls(w, &crl);
  enroll_server_set_tls(w->server, t, w->now);
  tls_free(w->tls);
  w->tls = t;
  enroll_world_run(w, SEC);
  assert_true(p->ended && p->end.reason == REASON_REVOKED);
  ends_with(p, REASON_REVOKED);
  struct enroll_peer *other =
      enroll_known(w, "198.51.100.2:1000", AGENT, now - 600, now + 3600);
  assert_true(enroll_dial(other));
  assert_int_equal(enroll_renew(other), 200);
  sbuf_done(&crl);
}

/* Here, too, also who is connected already. */
static void whom_the_policy_revokes_renews_nothing(void **state) {
  int64_t now = enroll_world_unix();
  struct enroll_peer *p =
      enroll_known(w, "198.51.100.1:1000", AGENT, now - 600, now + 3600);
  assert_true(enroll_dial(p));
  w->revoked = AGENT;
  refused(p, enroll_renew(p), 403, "revoked", NULL);
  enroll_bye(p);
  ends_with(p, REASON_REVOKED);
  w->revoked = NULL;
  assert_true(enroll_dial(p));
  assert_int_equal(enroll_renew(p), 200);
}

/* --- limits */

static int n_answers(struct enroll_peer *p, int n, int want) {
  int right = 0;
  for (int i = 0; i < n; i++) right += enroll_by_token(p) == want;
  return right;
}

static void guessing_is_slow_by_network(void **state) {
  struct enroll_peer *a = enroll_stranger(w, "198.51.100.1:1000");
  struct enroll_peer *near = enroll_stranger(w, "198.51.100.200:1000");
  struct enroll_peer *far = enroll_stranger(w, "198.51.101.1:1000");
  w->verdict = REASON_BAD_TOKEN;
  assert_true(enroll_dial(a) && enroll_dial(near) && enroll_dial(far));
  assert_int_equal(n_answers(a, 10, 403), 10);
  assert_int_equal(n_answers(a, 3, 429), 3);
  assert_int_equal(enroll_by_token(near), 429);
  assert_int_equal(enroll_by_token(far), 403);
  assert_int_equal(w->n_taken, 11);
  enroll_world_run(w, 6 * SEC);
  assert_int_equal(enroll_by_token(near), 403);
  assert_int_equal(enroll_by_token(a), 429);
}

/* A /48 has 256 networks of a /56. */
static void one_with_many_networks_leaves_some_to_others(void **state) {
  static struct enroll_limit l;
  struct ztna_addr near = test_addr("[2001:db8::1]:1"),
                   far = test_addr("[2001:db9::1]:1");
  size_t n_near = 0, n_far = 0;
  enroll_limit_init(&l, &w->rnd.rng, w->now);
  for (int i = 0; i < 60 * 50; i++) {
    w->now += SEC / 50;
    near.ip[6] = (uint8_t)i;
    n_near += enroll_limit_stranger(&l, w->now, &near);
    if (i % 500 == 499) n_far += enroll_limit_stranger(&l, w->now, &far);
  }
  assert_in_range(n_near, 240, 300);
  assert_int_equal(n_far, 6);
}

static void who_has_a_certificate_is_limited_by_its_name(void **state) {
  int64_t now = enroll_world_unix();
  struct enroll_peer *p =
      enroll_known(w, "198.51.100.1:1000", AGENT, now - 600, now + 3600);
  struct enroll_peer *other =
      enroll_known(w, "198.51.100.1:1001", "spiffe://example.org/agent/b",
                   now - 600, now + 3600);
  struct enroll_peer *stranger = enroll_stranger(w, "198.51.100.1:1002");
  assert_true(enroll_dial(p) && enroll_dial(other) && enroll_dial(stranger));
  for (int i = 0; i < 10; i++) assert_int_equal(enroll_renew(p), 200);
  refused(p, enroll_renew(p), 429, "rate-limited", NULL);
  assert_int_equal(enroll_renew(other), 200);
  assert_int_equal(n_answers(stranger, 11, 429), 1);
  assert_int_equal(enroll_renew(other), 200);
}

/* Connections without a question end, and make room. */
static void a_network_has_only_so_many_connections(void **state) {
  struct enroll_peer *p[34];
  char addr[40];
  for (int i = 0; i < 34; i++) {
    snprintf(addr, sizeof(addr), "198.51.100.%d:1000", i + 1);
    p[i] = enroll_stranger(w, addr);
    if (i < 32) assert_true(enroll_dial(p[i]));
  }
  assert_false(enroll_dial(p[32]));
  assert_non_null(strstr(w->log, "too many from this network"));
  struct enroll_peer *far = enroll_stranger(w, "198.51.101.1:1000");
  assert_true(enroll_dial(far));
  enroll_world_run(w, 25 * SEC);
  assert_true(p[0]->ended && p[0]->end.reason == REASON_IDLE);
  assert_int_equal(counter("ztna_enroll_connections"), 0);
  assert_true(enroll_dial(p[33]));
}

/* Or whoever can lie about its address would lock out any network. */
static void a_network_is_not_locked_out_in_its_name(void **state) {
  char addr[40];
  for (int i = 0; i < 40; i++) {
    snprintf(addr, sizeof(addr), "198.51.100.%d:1000", i + 1);
    enroll_spoof(enroll_stranger(w, addr));
  }
  assert_int_equal(counter("ztna_enroll_connections"), 0);
  for (int i = 0; i < 3; i++) {
    snprintf(addr, sizeof(addr), "198.51.100.%d:1000", i + 101);
    assert_true(enroll_dial(enroll_stranger(w, addr)));
  }
}

static void there_are_only_so_many_connections_in_all(void **state) {
  char addr[40];
  for (int i = 0; i < ENROLL_MAX_CONNS; i++) {
    snprintf(addr, sizeof(addr), "198.51.%d.1:1000", i);
    assert_true(enroll_dial(enroll_stranger(w, addr)));
  }
  assert_false(enroll_dial(enroll_stranger(w, "203.0.114.1:1000")));
  assert_non_null(strstr(w->log, "max_connections is reached"));
  assert_int_equal(counter("ztna_enroll_connections"), ENROLL_MAX_CONNS);
}

/* --- its end */

static void a_stop_says_goodbye(void **state) {
  struct enroll_peer *p = enroll_stranger(w, "198.51.100.1:1000");
  enum reason why;
  assert_true(enroll_server_ready(w->server, &why));
  assert_true(enroll_dial(p));
  assert_false(enroll_server_stopped(w->server));
  enroll_server_stop(w->server, w->now);
  assert_false(enroll_server_ready(w->server, &why));
  enroll_world_run(w, SEC);
  assert_true(p->ended && p->end.reason == REASON_SHUTTING_DOWN);
  assert_true(enroll_server_stopped(w->server));
}

int main(void) {
#define T(f) TEST_WITH(f, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      T(a_token_gets_the_certificate_it_was_made_for),
      T(a_token_that_is_no_good_gets_nothing),
      T(the_request_gives_its_key_and_nothing_else),
      T(a_broken_request_takes_no_token),
      T(a_token_of_the_wrong_length_is_malformed),
      T(a_body_too_long_is_refused_unread),
      T(other_paths_and_methods_are_refused),
      T(no_certificate_outlives_the_limit_or_the_ca),
      T(a_certificate_is_renewed_as_it_was),
      T(who_has_no_certificate_cannot_renew_one),
      T(an_expired_certificate_is_not_renewed),
      T(other_roles_and_domains_are_refused),
      T(a_revoked_certificate_is_not_renewed),
      T(whom_the_policy_revokes_renews_nothing),
      T(guessing_is_slow_by_network),
      T(one_with_many_networks_leaves_some_to_others),
      T(who_has_a_certificate_is_limited_by_its_name),
      T(a_network_has_only_so_many_connections),
      T(a_network_is_not_locked_out_in_its_name),
      T(there_are_only_so_many_connections_in_all),
      T(a_stop_says_goodbye),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
