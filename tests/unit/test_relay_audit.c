/* test_relay_audit.c - what a relay records of grants and refusals. */
#include "relay_world.h"

static struct audit_record r;

static bool next(struct world *w) {
  return audit_next(relay_audit(w->relay), &r);
}

static void expect(struct world *w, enum audit_event event) {
  if (!next(w)) fail_msg("no record");
  if (r.event != event)
    fail_msg("got %s, want %s", audit_event_name(r.event),
             audit_event_name(event));
}

static void a_grant_is_recorded_at_both_ends(void **state) {
  struct cast c = granted();
  const char *serial = tls_identity(c.agent->tls)->serial;
  char id[40];

  expect(c.w, AUDIT_GRANT_BEGIN);
  assert_string_equal(r.agent, "spiffe://example.org/agent/laptop");
  assert_string_equal(r.connector, "spiffe://example.org/connector/dc");
  assert_string_equal(r.service, "web");
  assert_string_equal(r.serial, serial);
  assert_true(strlen(serial) >= 16);
  assert_string_equal(r.id, grant_id);
  assert_true(ztna_addr_same_ip(&r.from, &c.agent->addr));
  assert_non_null(r.rule);
  strcpy(id, r.id);
  assert_false(next(c.w));
  assert_true(flows(&c)); /* a packet of each end */
  client_bye(c.agent);
  world_run(c.w, SEC);
  expect(c.w, AUDIT_GRANT_END);
  assert_string_equal(r.id, id);
  assert_string_equal(r.serial, serial);
  assert_int_equal(r.reason, REASON_SHUTTING_DOWN);
  assert_int_equal(r.path, AUDIT_PATH_RELAY);
  assert_true(r.bytes_in > 0 && r.bytes_out > 0);
  assert_true(r.began_at < r.at);
  assert_false(next(c.w));
  world_free(c.w);
}

static void a_revoked_grant_is_recorded_under_its_rule(void **state) {
  struct cast c = granted();
  char rule[64];

  expect(c.w, AUDIT_GRANT_BEGIN);
  snprintf(rule, sizeof(rule), "%s", r.rule);
  relay_set_policy(c.w->relay, NULL, c.w->now);
  expect(c.w, AUDIT_GRANT_END);
  assert_int_equal(r.reason, REASON_REVOKED);
  assert_string_equal(r.rule, rule);
  world_free(c.w);
}

static void refused_grants_are_recorded_but_not_all_of_a_flood(void **state) {
  struct cast c = granted();

  expect(c.w, AUDIT_GRANT_BEGIN);
  for (int i = 0; i < 15; i++) grant(c.agent, "secret");
  for (int i = 0; i < 10; i++) {
    expect(c.w, AUDIT_GRANT_REFUSED);
    assert_string_equal(r.agent, "spiffe://example.org/agent/laptop");
    assert_string_equal(r.service, "secret");
    assert_non_null(r.serial);
  }
  assert_false(next(c.w));
  world_run(c.w, 11 * SEC);
  grant(c.agent, "secret");
  expect(c.w, AUDIT_GRANT_REFUSED);
  assert_int_equal(r.n_hidden, 5);
  world_free(c.w);
}

static void a_refused_handshake_is_recorded(void **state) {
  struct world *w = world_new();
  struct client *c =
      client_new(w, ROLE_RELAY, "eu2", "198.51.100.1:2000", NULL);

  client_dial(c);
  world_run(w, SEC);
  expect(w, AUDIT_CONTROL_REFUSED);
  assert_string_equal(r.agent, "spiffe://example.org/relay/eu2");
  assert_string_equal(r.serial, tls_identity(c->tls)->serial);
  assert_int_equal(r.reason, REASON_IDENTITY_MISMATCH);
  assert_true(ztna_addr_same_ip(&r.from, &c->addr));
  assert_false(next(w));
  world_free(w);
}

/* It proved nothing, so no name is recorded. */
static void a_stranger_is_recorded_without_a_name(void **state) {
  struct world *w = world_new();
  struct pki *other = pki_new("example.org", WORLD_NOW);
  struct tls *tls = pki_tls_trusting(other, w->pki, ROLE_AGENT, "laptop");
  struct client *c = client_with(w, tls, "198.51.100.1:2000");

  client_dial(c);
  world_run(w, SEC);
  expect(w, AUDIT_CONTROL_REFUSED);
  assert_null(r.agent);
  assert_int_equal(r.reason, REASON_BAD_CERTIFICATE);
  pki_free(other);
  world_free(w);
}

/* One whose connection is gone is kept for a while: the stop does not wait. */
static void a_stop_ends_all_grants(void **state) {
  struct cast c = granted();

  expect(c.w, AUDIT_GRANT_BEGIN);
  client_vanish(c.agent);
  for (int i = 0; i < 120 && !world_logged(c.w, "disconnected"); i++)
    world_run(c.w, SEC);
  assert_false(next(c.w));
  relay_stop(c.w->relay, c.w->now);
  expect(c.w, AUDIT_GRANT_END);
  assert_int_equal(r.reason, REASON_SHUTTING_DOWN);
  world_free(c.w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_grant_is_recorded_at_both_ends),
      TEST(a_revoked_grant_is_recorded_under_its_rule),
      TEST(refused_grants_are_recorded_but_not_all_of_a_flood),
      TEST(a_refused_handshake_is_recorded),
      TEST(a_stranger_is_recorded_without_a_name),
      TEST(a_stop_ends_all_grants),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
