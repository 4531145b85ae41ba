/* test_sim_trust.c - what relays and connectors are not trusted with: packets
 * said again, services that a certificate does not name, words about paths that
 * are another's, and certificates that have run out. */
#include "unit/unit.h"

#include "base/hex.h"
#include "role/agent_int.h"
#include "sim/evil.h"
#include "sim/liar.h"
#include "sim/world.h"

static bool have_routes(struct sim *w, void *ud) {
  struct ztna_addr v[4];

  for (int i = 0; i < w->cfg.n_agents; i++)
    if (!ztna_agent_routes(w->agents[i].core, v, 4)) return false;
  return true;
}

static struct sim *world(int n_connectors, struct liar **l) {
  struct sim_config cfg = {.seed = 31,
                           .n_agents = 1,
                           .n_connectors = n_connectors,
                           .services = {"other"}};
  struct sim *w;

  if (l) cfg.services[0] = "echo";
  w = sim_new(&cfg);
  if (!l) return w;
  sim_relay_stop(w);
  *l = liar_new(w);
  return w;
}

static struct evil *connector_named(struct sim *w, const char *service) {
  const char *const names[] = {service, NULL};

  return evil_new(w, ROLE_CONNECTOR, "evil", names, "198.51.9.2:6000",
                  "[2001:db8:9::2]:6000");
}

/* --- a relay that says packets again --- */

/* Nothing is done twice: not what is asked of a backend, not what an agent's
 * machine is given, and no path begins anew. */
static void a_relay_that_replays_packets_repeats_nothing(void **state) {
  struct liar *l;
  struct sim *w = world(1, &l);
  struct app *a = &w->agents[0].app;

  l->n_repeats = 3;
  assert_true(sim_until(w, have_routes, NULL, 5 * SEC));
  sim_run(w, SEC);
  for (int i = 0; i < 100; i++) {
    assert_true(app_udp(a, "echo", i % 2, 64));
    sim_run(w, 20 * MS);
  }
  sim_run(w, 3 * SEC);
  assert_true(l->n_repeated >= 600);
  assert_int_equal(w->connectors[0].n_asked, 100);
  assert_int_equal(a->n_got, 100);
  assert_true(app_is_clean(a));
  assert_false(sim_logged(w, "path ended"));
  liar_free(l);
  sim_free(w);
}

/* --- services --- */

/* A relay that sends an agent to a connector which it names truthfully, whose
 * certificate is good, but for another service. */
static void check_served(const char *names, bool yes) {
  struct liar *l;
  struct sim *w = world(0, &l);
  struct evil *e = connector_named(w, names);

  evil_serve(e, "echo");
  assert_true(sim_until(w, have_routes, NULL, 5 * SEC));
  sim_run(w, 500 * MS);
  for (int i = 0; i < 5; i++) {
    app_udp(&w->agents[0].app, "echo", i % 2, 64);
    sim_run(w, SEC);
  }
  assert_true(sim_logged(w, "agent: path live connector=spiffe://example.org/"
                            "connector/evil"));
  assert_int_equal(e->n_packets, yes ? 5 : 0);
  assert_int_equal(e->context != 0, yes); /* it was not even asked to open it */
  assert_int_equal(sim_logged(w, "reason=identity-mismatch"), !yes);
  evil_free(e);
  liar_free(l);
  sim_free(w);
}

static void a_service_is_only_who_is_certified_for_it(void **state) {
  check_served("echo", true);
  check_served("other", false);
}

/* The other way round: the relay grants what the agent's own certificate does
 * not allow. */
static void check_allowed(const char *names, const char *said) {
  struct liar *l;
  struct sim *w = world(1, &l);
  const char *const only[] = {names, NULL};
  struct evil *m = evil_new(w, ROLE_AGENT, "mallory", only, "198.51.9.1:6000",
                            "[2001:db8:9::1]:6000");
  struct ztna_addr relay = sim_relay_addr(w);
  char address[ZTNA_ADDR_STRLEN];

  sim_run(w, SEC);
  assert_int_equal(evil_ask(m, "echo"), 201);
  evil_dial(m, &relay, NULL, NULL);
  sim_run(w, SEC);
  assert_true(m->live);
  evil_say(m,
           json_pack("{s:s, s:i, s:[s]}", "type", "hello", "version", 1,
                     "addresses", ztna_addr_print_ip(&m->addrs[0], address)));
  evil_say(m, json_pack("{s:s, s:i, s:s, s:s}", "type", "open", "context", 2,
                        "service", "echo", "grant",
                        evil_text(m->grant, "grant.id")));
  sim_run(w, SEC);
  assert_string_equal(evil_text(m->said, "type"), said);
  evil_free(m);
  liar_free(l);
  sim_free(w);
}

static void a_certificate_limits_its_agent_at_the_connector_too(void **state) {
  check_allowed("echo", "opened");
  check_allowed("other", "refused");
}

/* --- a relay that does not care whom the agent refuses --- */

static unsigned count(const char *log, const char *text) {
  unsigned n = 0;

  for (; (log = strstr(log, text)); log++) n++;
  return n;
}

/* The agent's list names the connector; the relay grants it all the same. */
static void
a_relay_that_grants_a_refused_connector_gains_nothing(void **state) {
  struct liar *l;
  struct sim *w = world(1, &l);
  struct app *a = &w->agents[0].app;
  uint64_t asked;

  assert_true(sim_until(w, have_routes, NULL, 5 * SEC));
  sim_run(w, SEC);
  app_steady(a, "echo", false, 20 * MS);
  sim_run(w, SEC);
  asked = w->connectors[0].n_asked;
  assert_in_range(asked, 30, 50);
  pki_revoke(w->pki, &w->connectors[0].pem);
  sim_agent_read(w, 0);
  sim_run(w, 100 * MS);
  asked = w->connectors[0].n_asked;
  sim_log_clear(w);
  sim_run(w, 120 * SEC);
  assert_int_equal(w->connectors[0].n_asked, asked);
  assert_in_range(count(w->log, "connector: route request"), 3, 30);
  assert_in_range(count(w->log, "agent: path ended"), 1, 10);
  assert_false(sim_logged(w, "agent: path live"));
  assert_true(sim_logged(w, "service refused service=echo reason=revoked"));
  assert_true(app_is_clean(a));
  liar_free(l);
  sim_free(w);
}

/* --- words about paths --- */

static struct agent_way *way_to(struct sim *w, const char *connector) {
  struct ztna_agent *a = w->agents[0].core;

  for (size_t i = 0; i < LINKS_MAX; i++)
    if (a->links[i] && strstr(a->links[i]->connector, connector))
      return &a->links[i]->relayed[0];
  fail_msg("no link to %s", connector);
  return NULL;
}

static void say_silent(struct evil *e, const uint8_t *handle) {
  char text[2 * HANDLE_LEN + 1];

  evil_say(e, json_pack("{s:s, s:s}", "type", "silent", "handle",
                        handle ? hex_print(handle, HANDLE_LEN, text) : "?"));
  sim_run(e->node.w, 200 * MS);
}

/* A connector may call its own path silent; another's goes on as it was. */
static void a_connector_calls_only_its_own_paths_silent(void **state) {
  struct sim *w = world(1, NULL); /* "other" at connector 0 */
  struct evil *e = connector_named(w, "echo");
  uint8_t random[HANDLE_LEN] = {1, 2, 3, 4};

  evil_serve(e, "echo");
  assert_true(sim_until(w, have_routes, NULL, 5 * SEC));
  sim_run(w, 500 * MS);
  app_udp(&w->agents[0].app, "other", false, 64);
  app_udp(&w->agents[0].app, "echo", false, 64);
  sim_run(w, 2 * SEC);
  assert_int_equal(e->n_packets, 1);
  say_silent(e, way_to(w, "connector-0")->peer_handle);
  say_silent(e, way_to(w, "connector-0")->handle);
  say_silent(e, way_to(w, "evil")->handle);
  say_silent(e, random);
  say_silent(e, NULL);
  assert_false(sim_logged(w, "path suspect"));
  say_silent(e, way_to(w, "evil")->peer_handle);
  assert_true(sim_logged(
      w, "path suspect connector=spiffe://example.org/connector/evil"));
  assert_false(way_to(w, "connector-0")->way.suspect);
  app_udp(&w->agents[0].app, "other", false, 64);
  sim_run(w, SEC);
  assert_int_equal(w->agents[0].app.n_got, 2);
  evil_free(e);
  sim_free(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_relay_that_replays_packets_repeats_nothing),
      TEST(a_service_is_only_who_is_certified_for_it),
      TEST(a_certificate_limits_its_agent_at_the_connector_too),
      TEST(a_relay_that_grants_a_refused_connector_gains_nothing),
      TEST(a_connector_calls_only_its_own_paths_silent),
  };

  if (getenv("ZTNA_TEST")) cmocka_set_test_filter(getenv("ZTNA_TEST"));
  return cmocka_run_group_tests(tests, NULL, NULL);
}
