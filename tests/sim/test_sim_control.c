/* test_sim_control.c - control connections whose certificates are exchanged,
 * run out or are revoked: the next one is there before the former goes, and who
 * is not let in any more is out at once. */
#include <stdlib.h>
#include <string.h>

#include "sim/tcp_world.h"
#include "unit/unit.h"

enum { HOUR_S = 3600 };
#define ANEW "uplink: connection made anew"

static const struct sim_config one = {
    .seed = 61, .n_agents = 1, .n_connectors = 1, .tcp = true};

static struct app *app_of(struct sim *w) { return &w->agents[0].app; }

static struct sim *steady(const struct sim_config *cfg, uint64_t every) {
  struct sim *w = ready(cfg);

  app_steady(app_of(w), "echo", false, every);
  sim_run(w, 2 * SEC);
  return w;
}

static void assert_nothing_lost(struct sim *w) {
  struct app *a = app_of(w);

  app_steady(a, "echo", false, 0);
  sim_run(w, SEC);
  assert_int_equal(a->n_got, a->n_asks);
  assert_int_equal(a->n_errors, 0);
  assert_true(app_is_clean(a));
}

/* How often a text stands in the log. */
static int n_logged(const struct sim *w, const char *text) {
  const char *at = w->log;
  int n = 0;

  for (; (at = strstr(at, text)); at++) n++;
  return n;
}

static void assert_nobody_noticed(struct sim *w) {
  assert_false(sim_logged(w, "relay lost"));
  assert_false(sim_logged(w, "connector: registered"));
  assert_false(sim_logged(w, "services registered anew"));
  assert_false(sim_logged(w, "grant ended"));
  assert_false(sim_logged(w, "replaced by a newer instance"));
}

/* Of the first relay, as an agent's or connector's status has it. */
static char *relay_member(json_t *status, const char *name) {
  json_t *r = json_array_get(json_object_get(status, "relays"), 0);
  const char *s = json_string_value(json_object_get(r, name));
  char *copy = strdup(s ? s : "");

  json_decref(status);
  return copy;
}

static json_t *agent_status(struct sim *w) {
  char *text = ztna_agent_status(w->agents[0].core);
  json_t *j = json_loads(text, 0, NULL);

  free(text);
  return j;
}

static json_t *status_of_connector(struct sim *w) {
  json_t *j = json_object();

  connector_status(w->connectors[0].core, j);
  return j;
}

static void assert_both_say(struct sim *w, const char *reason) {
  char *a = relay_member(agent_status(w), "reason");
  char *c = relay_member(status_of_connector(w), "reason");

  assert_string_equal(a, reason);
  assert_string_equal(c, reason);
  free(a);
  free(c);
}

static uint64_t n_grants(struct sim *w) {
  return sim_relay_counter(w, "ztna_relay_grants", NULL);
}

/* --- exchanged --- */

static void renew_connector(struct sim *w) { sim_connector_renew(w, 0); }
static void renew_relay(struct sim *w) { sim_relay_renew(w); }
static void renew_both(struct sim *w) {
  sim_connector_renew(w, 0);
  sim_agent_renew(w, 0);
}

static void exchange(void (*renew)(struct sim *w), int n_anew) {
  struct sim *w = steady(&one, 10 * MS);
  struct tcp_app *keys = tcp_keys(w, 0, "echo", 20 * MS);

  sim_run(w, SEC);
  sim_log_clear(w);
  renew(w);
  sim_run(w, 3 * SEC);
  assert_int_equal(n_logged(w, ANEW), n_anew);
  assert_nobody_noticed(w);
  sim_run(w, 60 * SEC); /* paths are made anew, too */
  assert_int_equal(
      sim_agent_counter(w, 0, "ztna_agent_routes_renewed_total", NULL),
      renew != renew_relay);
  tcp_keys_end(keys);
  assert_completes(w, keys, 5 * SEC);
  assert_nothing_lost(w);
  assert_int_equal(sim_relay_counter(w, "ztna_relay_agents", NULL), 1);
  assert_int_equal(sim_relay_counter(w, "ztna_relay_connectors", NULL), 1);
  sim_free(w);
}

static void a_connectors_new_certificate_costs_nothing(void **state) {
  exchange(renew_connector, 1);
}

static void a_relays_new_certificate_costs_nothing(void **state) {
  exchange(renew_relay, 0);
}

static void both_ends_at_once_cost_nothing(void **state) {
  exchange(renew_both, 2);
}

/* --- asked for in the middle of it --- */

static bool all_answered(struct sim *w, void *ud) {
  for (int i = 0; i < w->cfg.n_agents; i++)
    if (w->agents[i].app.n_got != w->agents[i].app.n_asks) return false;
  return true;
}

/* Each agent's first question goes out so long after the exchange, when the
 * connector is asked on one connection and has another. */
static void what_is_asked_meanwhile_is_answered(void **state) {
  struct sim_config cfg = one;
  struct sim *w;

  cfg.n_agents = 2;
  for (int i = 0; i < 24; i++) {
    cfg.seed = 70 + (uint64_t)i;
    w = ready(&cfg);
    sim_log_clear(w);
    sim_connector_renew(w, 0);
    sim_agent_renew(w, 0);
    sim_run(w, (uint64_t)i * 7 * MS);
    for (int k = 0; k < 2; k++)
      assert_true(app_udp(&w->agents[k].app, "echo", false, 100));
    assert_true(sim_until(w, all_answered, NULL, 450 * MS));
    sim_run(w, SEC);
    assert_int_equal(n_logged(w, ANEW), 2);
    assert_false(sim_logged(w, "relay lost"));
    assert_int_equal(n_grants(w), 2);
    sim_free(w);
  }
}

/* --- certificates of an hour --- */

static void renew_all(struct sim *w, int turn) {
  if (turn % 3 == 0) sim_relay_renew(w);
  if (turn % 3 == 1) sim_connector_renew(w, 0);
  if (turn % 3 == 2) sim_agent_renew(w, 0);
}

/* Each is exchanged every half hour, the three of them one after another. */
static void lives_of_an_hour_are_lived_for_a_day(void **state) {
  struct sim_config cfg = one;
  struct sim *w;
  struct tcp_app *keys;
  int n_anew = 0;

  cfg.life = HOUR_S;
  w = steady(&cfg, 6 * SEC);
  keys = tcp_keys(w, 0, "echo", 5 * SEC);
  sim_run(w, SEC);
  sim_log_clear(w);
  for (int i = 0; i < 24 * 6; i++) {
    sim_run(w, 600 * SEC);
    renew_all(w, i);
    assert_false(sim_logged(w, "relay lost"));
    assert_false(sim_logged(w, "connector: registered"));
    n_anew += n_logged(w, ANEW);
    sim_log_clear(w);
  }
  /* Twice an hour for the own one's sake, less than once for the relay's. */
  assert_in_range(n_anew, 2 * 47, 2 * 72 + 2);
  tcp_keys_end(keys);
  assert_completes(w, keys, 5 * SEC);
  assert_nothing_lost(w);
  sim_free(w);
}

/* Nobody tells them of that one. */
static void a_relays_brief_certificates_are_noticed_in_time(void **state) {
  struct sim *w = steady(&one, 5 * SEC);
  int n_anew = 0;

  w->cfg.life = HOUR_S;
  sim_relay_renew(w);
  w->cfg.life = 0;
  sim_connector_renew(w, 0);
  sim_agent_renew(w, 0);
  sim_run(w, 10 * SEC);
  sim_log_clear(w);
  w->cfg.life = HOUR_S;
  for (int i = 0; i < 36; i++) {
    sim_run(w, 600 * SEC);
    if (i % 4 == 3) sim_relay_renew(w);
    assert_false(sim_logged(w, "relay lost"));
    n_anew += n_logged(w, ANEW);
    sim_log_clear(w);
  }
  assert_in_range(n_anew, 2 * 6, 2 * 10);
  assert_nothing_lost(w);
  sim_free(w);
}

/* --- run out --- */

static void who_is_not_renewed_ends_with_its_certificate(void **state) {
  struct sim_config cfg = one;
  struct sim *w;
  uint64_t got;

  cfg.life = 120;
  w = steady(&cfg, 50 * MS);
  sim_run(w, 116 * SEC);
  assert_false(sim_logged(w, "relay lost"));
  sim_run(w, 3 * SEC);
  assert_true(sim_logged(w, "agent: relay lost relay=relay.test:4433 "
                            "reason=certificate-expired"));
  assert_true(sim_logged(w, "connector: relay lost relay=relay.test:4433 "
                            "reason=certificate-expired"));
  assert_both_say(w, "certificate-expired");
  got = app_of(w)->n_got;
  sim_run(w, 5 * SEC);
  assert_int_equal(app_of(w)->n_got, got);
  assert_int_equal(n_grants(w), 0);
  sim_free(w);
}

/* A clock that is set, or a machine that slept: the other end's is judged by
 * it, too. */
static void a_clock_that_was_set_ends_what_has_run_out(void **state) {
  struct sim *w = steady(&one, 50 * MS);
  uint64_t got;

  w->clock_off = 31 * 86400;
  sim_run(w, 61 * SEC);
  assert_true(sim_logged(w, "agent: relay lost relay=relay.test:4433 "
                            "reason=certificate-expired"));
  assert_both_say(w, "certificate-expired");
  got = app_of(w)->n_got;
  sim_run(w, 5 * SEC);
  assert_int_equal(app_of(w)->n_got, got);
  sim_free(w);
}

static void a_clock_that_is_set_right_again_ends_nothing(void **state) {
  struct sim_config cfg = one;
  struct sim *w;

  cfg.life = HOUR_S;
  w = steady(&cfg, 500 * MS);
  w->clock_off = -HOUR_S;
  sim_run(w, 61 * SEC);
  w->clock_off = 0;
  sim_run(w, 61 * SEC);
  assert_false(sim_logged(w, "relay lost"));
  assert_nothing_lost(w);
  sim_free(w);
}

/* --- revoked by a list --- */

static void a_listed_agent_is_out_within_a_second(void **state) {
  struct sim *w = steady(&one, 10 * MS);
  uint64_t got;

  pki_revoke(w->pki, &w->agents[0].pem);
  sim_relay_read(w);
  sim_run(w, SEC);
  got = app_of(w)->n_got;
  assert_true(
      sim_logged(w, "agent: relay lost relay=relay.test:4433 reason=revoked"));
  assert_int_equal(n_grants(w), 0);
  sim_run(w, 5 * SEC);
  assert_int_equal(app_of(w)->n_got, got);
  sim_free(w);
}

static const struct sim_config direct = {
    .seed = 62, .n_agents = 1, .n_connectors = 1, .tcp = true, .direct = true};

static bool goes_direct(struct sim *w, void *ud) {
  return sim_connector_counter(w, 0, "ztna_connector_moves_total", NULL) > 0;
}

/* Only the relay has the list. */
static void
a_listed_agent_on_a_direct_path_is_out_within_a_second(void **state) {
  struct sim *w = steady(&direct, 10 * MS);
  uint64_t got;

  assert_true(sim_until(w, goes_direct, NULL, 10 * SEC));
  pki_revoke(w->pki, &w->agents[0].pem);
  sim_relay_read(w);
  sim_run(w, SEC);
  got = app_of(w)->n_got;
  sim_run(w, 5 * SEC);
  assert_int_equal(app_of(w)->n_got, got);
  assert_true(sim_logged(w, "connector: grant closed"));
  sim_free(w);
}

/* Only the connector has it. */
static void an_agent_that_a_connector_lists_is_out_there(void **state) {
  struct sim *w = steady(&direct, 10 * MS);
  struct tcp_app *keys = tcp_keys(w, 0, "echo", 20 * MS);
  uint64_t got;

  assert_true(sim_until(w, goes_direct, NULL, 10 * SEC));
  pki_revoke(w->pki, &w->agents[0].pem);
  sim_connector_read(w, 0);
  sim_run(w, SEC);
  got = app_of(w)->n_got;
  assert_true(sim_logged(w, "connector: path ended route=direct"));
  assert_true(keys->end.got_reset);
  assert_int_equal(
      sim_connector_counter(w, 0, "ztna_connector_tcp_flows", NULL), 0);
  assert_int_equal(sim_connector_counter(w, 0, "ztna_connector_flows", NULL),
                   0);
  sim_run(w, 5 * SEC);
  assert_int_equal(app_of(w)->n_got, got);
  assert_false(sim_logged(w, "connector: relay lost"));
  sim_free(w);
}

/* It does nothing for its own end. */
static void what_a_listed_agent_left_ends_at_the_connector(void **state) {
  struct sim *w = steady(&one, 10 * MS);

  tcp_keys(w, 0, "echo", 20 * MS);
  sim_run(w, SEC);
  app_steady(app_of(w), "echo", false, 0);
  sim_agent_stop(w, 0);
  sim_run(w, SEC);
  assert_int_equal(
      sim_connector_counter(w, 0, "ztna_connector_tcp_flows", NULL), 1);
  pki_revoke(w->pki, &w->agents[0].pem);
  sim_connector_read(w, 0);
  sim_run(w, SEC);
  assert_int_equal(
      sim_connector_counter(w, 0, "ztna_connector_tcp_flows", NULL), 0);
  assert_int_equal(sim_connector_counter(w, 0, "ztna_connector_flows", NULL),
                   0);
  assert_int_equal(n_grants(w), 0);
  sim_free(w);
}

static void a_listed_connector_is_out_within_a_second(void **state) {
  struct sim *w = steady(&one, 10 * MS);
  uint64_t got;

  pki_revoke(w->pki, &w->connectors[0].pem);
  sim_relay_read(w);
  sim_run(w, SEC);
  got = app_of(w)->n_got;
  assert_true(sim_logged(
      w, "connector: relay lost relay=relay.test:4433 reason=revoked"));
  sim_run(w, 5 * SEC);
  assert_int_equal(app_of(w)->n_got, got);
  sim_free(w);
}

/* The certificate that was left may be listed. */
static void who_has_another_certificate_stays(void **state) {
  struct sim *w = steady(&direct, 10 * MS);

  assert_true(sim_until(w, goes_direct, NULL, 10 * SEC));
  pki_revoke(w->pki, &w->agents[0].pem);
  pki_revoke(w->pki, &w->connectors[0].pem);
  sim_agent_renew(w, 0);
  sim_connector_renew(w, 0);
  sim_run(w, 30 * SEC);
  sim_log_clear(w);
  sim_relay_read(w);
  sim_run(w, 30 * SEC);
  assert_false(sim_logged(w, "revoked"));
  sim_free(w);
}

static void a_listed_relay_is_left_at_once(void **state) {
  struct sim_config cfg = one;
  struct sim *w;
  char *text;

  cfg.n_relays = 2;
  w = steady(&cfg, 10 * MS);
  pki_revoke(w->pki, &w->relay.pem);
  sim_agent_read(w, 0);
  sim_connector_read(w, 0);
  sim_run(w, SEC);
  assert_both_say(w, "revoked");
  text = relay_member(agent_status(w), "text");
  assert_string_not_equal(text, "");
  free(text);
  sim_run(w, 5 * SEC);
  assert_both_say(w, "revoked");
  sim_run(w, 5 * SEC);
  assert_true(app_back_since(app_of(w), w->now - 100 * MS));
  sim_free(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_connectors_new_certificate_costs_nothing),
      TEST(a_relays_new_certificate_costs_nothing),
      TEST(both_ends_at_once_cost_nothing),
      TEST(what_is_asked_meanwhile_is_answered),
      TEST(lives_of_an_hour_are_lived_for_a_day),
      TEST(a_relays_brief_certificates_are_noticed_in_time),
      TEST(who_is_not_renewed_ends_with_its_certificate),
      TEST(a_clock_that_was_set_ends_what_has_run_out),
      TEST(a_clock_that_is_set_right_again_ends_nothing),
      TEST(a_listed_agent_is_out_within_a_second),
      TEST(a_listed_agent_on_a_direct_path_is_out_within_a_second),
      TEST(an_agent_that_a_connector_lists_is_out_there),
      TEST(what_a_listed_agent_left_ends_at_the_connector),
      TEST(a_listed_connector_is_out_within_a_second),
      TEST(who_has_another_certificate_stays),
      TEST(a_listed_relay_is_left_at_once),
  };

  if (getenv("ZTNA_TEST")) cmocka_set_test_filter(getenv("ZTNA_TEST"));
  return cmocka_run_group_tests(tests, NULL, NULL);
}
