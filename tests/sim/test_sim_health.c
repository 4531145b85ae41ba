/* test_sim_health.c - several connectors for one service, and backends that
 * fail: what a person behind an agent notices, and for how long. */
#include "unit/unit.h"

#include "sim/world.h"

#define STEADY (20 * MS)

static const struct health_rule rule = {
    .every = SEC, .timeout = 300 * MS, .fail_after = 3, .pass_after = 2};

static bool has_services(struct sim *w, void *ud) {
  struct ztna_addr v[SIM_SERVICES * 2];

  for (int i = 0; i < w->cfg.n_agents; i++)
    if (!ztna_agent_routes(w->agents[i].core, v, SIM_SERVICES * 2))
      return false;
  return true;
}

static struct sim *ready(const struct sim_config *cfg) {
  struct sim *w = sim_new(cfg);

  assert_true(sim_until(w, has_services, NULL, 5 * SEC));
  sim_run(w, 500 * MS);
  return w;
}

static bool is_back(struct sim *w, void *ud) {
  return app_back_since(&w->agents[0].app, *(uint64_t *)ud);
}

/* How long until agent 0 has an answer to what it asks from now on. */
static uint64_t back_after(struct sim *w, uint64_t at_most) {
  uint64_t since = w->now;

  return sim_until(w, is_back, &since, at_most) ? w->now - since : NEVER;
}

static struct sim *steady(const struct sim_config *cfg) {
  struct sim *w = ready(cfg);

  app_steady(&w->agents[0].app, "echo", false, STEADY);
  assert_in_range(back_after(w, 5 * SEC), 1, 5 * SEC);
  sim_run(w, SEC);
  return w;
}

static void done(struct sim *w) {
  for (int i = 0; i < w->cfg.n_agents; i++)
    assert_true(app_is_clean(&w->agents[i].app));
  sim_free(w);
}

/* The connector that agent 0 uses. */
static int used(struct sim *w) {
  uint64_t before[SIM_CONNECTORS];

  for (int i = 0; i < w->cfg.n_connectors; i++)
    before[i] = w->connectors[i].n_asked;
  sim_run(w, 500 * MS);
  for (int i = 0; i < w->cfg.n_connectors; i++)
    if (w->connectors[i].n_asked > before[i]) return i;
  return -1;
}

static bool agent_has(struct sim *w, const char *text) {
  char *s = ztna_agent_status(w->agents[0].core);
  bool has = strstr(s, text);

  free(s);
  return has;
}

static bool is_down(struct sim *w, void *ud) {
  return agent_has(w, "\"state\": \"backend-down\"");
}

static bool is_up(struct sim *w, void *ud) {
  return agent_has(w, "\"state\": \"up\"");
}

/* --- health --- */

/* From the backend's end to the agent's knowledge. */
static void withdrawal(enum sim_backend_state state) {
  struct sim_config cfg = {
      .seed = 1, .n_agents = 1, .n_connectors = 1, .check = rule};
  struct sim *w = ready(&cfg);
  struct app *a = &w->agents[0].app;
  uint64_t since;

  assert_true(app_udp(a, "echo", false, 64));
  sim_run(w, SEC);
  assert_int_equal(a->n_got, 1);
  w->connectors[0].state = state;
  since = w->now;
  assert_true(sim_until(w, is_down, NULL, 5 * SEC));
  print_message("# withdrawn after %d ms\n", (int)((w->now - since) / MS));
  assert_in_range(w->now - since, SEC, 3 * SEC + 100 * MS);

  /* A new conversation is refused by the agent itself: nothing travels. */
  a->n_errors = 0;
  assert_true(app_ping(a, "echo", false, 64));
  sim_run(w, MS);
  assert_int_equal(a->n_errors, 1);
  assert_int_equal(a->error_type, 3); /* host unreachable */
  assert_int_equal(a->error_code, 1);

  w->connectors[0].state = SIM_WELL;
  since = w->now;
  assert_true(sim_until(w, is_up, NULL, 5 * SEC));
  assert_in_range(w->now - since, SEC, 2 * SEC + 100 * MS);
  since = w->now;
  assert_true(app_ping(a, "echo", false, 64));
  assert_in_range(back_after(w, SEC), 0, 200 * MS);
  done(w);
}

static void a_backend_that_refuses_is_withdrawn_and_returns(void **state) {
  withdrawal(SIM_REFUSING);
}

static void a_backend_that_is_silent_is_withdrawn_and_returns(void **state) {
  withdrawal(SIM_SILENT);
}

static void an_agent_that_comes_while_it_is_down_is_told_why(void **state) {
  struct sim_config cfg = {
      .seed = 2, .n_agents = 1, .n_connectors = 1, .check = rule};
  struct sim *w = sim_new(&cfg);
  struct app *a = &w->agents[0].app;

  w->connectors[0].state = SIM_REFUSING;
  assert_true(sim_until(w, has_services, NULL, 5 * SEC));
  sim_run(w, 500 * MS);
  assert_true(app_udp(a, "echo", false, 64));
  sim_run(w, 200 * MS);
  assert_int_equal(a->n_errors, 1);
  assert_true(sim_logged(w, "agent: service refused service=echo "
                            "reason=backend-down"));
  assert_true(agent_has(w, "\"reason\": \"backend-down\""));
  w->connectors[0].state = SIM_WELL;
  assert_true(sim_until(w, is_up, NULL, 3 * SEC));
  assert_true(app_udp(a, "echo", false, 64));
  sim_run(w, 500 * MS);
  assert_int_equal(a->n_got, 1);
  done(w);
}

/* A ping that runs on while the backend ends, as people do it. */
static void a_running_ping_ends_and_returns_with_the_backend(void **state) {
  struct sim_config cfg = {
      .seed = 3, .n_agents = 1, .n_connectors = 1, .check = rule};
  struct sim *w = ready(&cfg);
  struct app *a = &w->agents[0].app;
  uint64_t got;

  assert_true(app_ping(a, "echo", false, 64));
  sim_run(w, SEC);
  assert_int_equal(a->n_got, 1);
  w->connectors[0].state = SIM_SILENT;
  assert_true(sim_until(w, is_down, NULL, 5 * SEC));
  assert_true(app_ping(a, "echo", false, 64));
  sim_run(w, 200 * MS);
  assert_int_equal(a->n_errors, 1);
  assert_int_equal(a->error_code, 1);
  got = a->n_got;
  w->connectors[0].state = SIM_WELL;
  assert_true(sim_until(w, is_up, NULL, 5 * SEC));
  assert_true(app_ping(a, "echo", false, 64));
  sim_run(w, 200 * MS);
  assert_int_equal(a->n_got, got + 1);
  done(w);
}

static void users_of_a_dead_backend_move_to_a_healthy_one(void **state) {
  struct sim_config cfg = {
      .seed = 4, .n_agents = 1, .n_connectors = 2, .check = rule};
  struct sim *w = steady(&cfg);
  int first = used(w), turn;

  for (int i = 0; i < 6; i++) { /* there and back, in the contexts they have */
    turn = used(w);
    w->connectors[turn].state = SIM_REFUSING;
    sim_run(w, 3500 * MS);
    assert_int_equal(used(w), !turn);
    w->connectors[turn].state = SIM_WELL;
    sim_run(w, 2500 * MS);
    assert_int_equal(used(w), !turn); /* no need to go back */
  }
  assert_int_equal(used(w), first);
  assert_int_equal(sim_connector_counter(w, 0, "ztna_connector_links", NULL),
                   1);
  assert_false(sim_logged(w, "path ended"));
  assert_false(sim_logged(w, "grant ended"));
  done(w);
}

/* What was left stays for a minute, for who comes back. */
static void a_connector_that_was_left_is_let_go(void **state) {
  struct sim_config cfg = {
      .seed = 12, .n_agents = 1, .n_connectors = 2, .check = rule};
  struct sim *w = steady(&cfg);
  int first = used(w);

  w->connectors[first].state = SIM_REFUSING;
  sim_run(w, 30 * SEC);
  assert_int_equal(used(w), !first);
  assert_int_equal(sim_relay_counter(w, "ztna_relay_routes", NULL), 2);
  sim_run(w, 40 * SEC);
  assert_int_equal(sim_relay_counter(w, "ztna_relay_routes", NULL), 1);
  assert_int_equal(sim_relay_counter(w, "ztna_relay_grants", NULL), 1);
  assert_int_equal(
      sim_connector_counter(w, first, "ztna_connector_links", NULL), 0);
  w->connectors[first].state = SIM_WELL;
  w->connectors[!first].state = SIM_REFUSING;
  sim_run(w, 5 * SEC);
  assert_int_equal(used(w), first);
  done(w);
}

static void a_new_relay_hears_of_health_at_once(void **state) {
  struct sim_config cfg = {
      .seed = 5, .n_agents = 1, .n_connectors = 1, .check = rule};
  struct sim *w = ready(&cfg);

  w->connectors[0].state = SIM_REFUSING;
  assert_true(sim_until(w, is_down, NULL, 5 * SEC));
  sim_relay_stop(w);
  sim_run(w, 500 * MS);
  sim_relay_start(w);
  sim_run(w, 8 * SEC);
  assert_true(is_down(w, NULL));
  w->connectors[0].state = SIM_WELL;
  assert_true(sim_until(w, is_up, NULL, 3 * SEC));
  done(w);
}

/* The backend changes its mind faster than the line carries it. */
static void what_relays_are_told_last_is_true(void **state) {
  struct sim_config cfg = {.seed = 6,
                           .n_agents = 1,
                           .n_connectors = 1,
                           .delay = 150 * MS,
                           .check = {.every = 100 * MS,
                                     .timeout = 50 * MS,
                                     .fail_after = 1,
                                     .pass_after = 1}};
  struct sim *w = ready(&cfg);
  struct vnet_host *h = w->connectors[0].node.host;

  for (int round = 0; round < 60; round++) {
    h->up.loss = h->down.loss = 0.3;
    for (int i = round % 2; i < 5; i++) {
      w->connectors[0].state = i % 2 ? SIM_WELL : SIM_REFUSING;
      sim_run(w, 130 * MS);
    }
    w->connectors[0].state = round % 2 ? SIM_WELL : SIM_REFUSING;
    sim_run(w, 130 * MS);
    h->up.loss = h->down.loss = 0;
    sim_run(w, 4 * SEC);
    assert_true(round % 2 ? is_up(w, NULL) : is_down(w, NULL));
  }
  done(w);
}

/* --- the end of a connector --- */

static void a_dead_connector(bool is_busy, uint64_t delay) {
  struct sim_config cfg = {
      .seed = 7, .n_agents = 1, .n_connectors = 2, .delay = delay};
  struct sim *w = steady(&cfg);
  int first = used(w);
  uint64_t took;

  if (!is_busy) {
    app_steady(&w->agents[0].app, "echo", false, 0);
    sim_run(w, SEC);
  }
  sim_connector_stop(w, first);
  if (!is_busy) { /* somebody begins anew a while later */
    sim_run(w, 2 * SEC);
    app_steady(&w->agents[0].app, "echo", false, STEADY);
  }
  took = back_after(w, 10 * SEC);
  print_message("# %s, RTT %d ms: on another connector after %d ms\n",
                is_busy ? "in use" : "idle", (int)(4 * cfg.delay / MS),
                (int)(took / MS));
  assert_in_range(took, 1, 1500 * MS);
  assert_int_equal(used(w), !first);
  done(w);
}

static void a_dead_connector_is_left_within_a_second_and_a_half(void **state) {
  a_dead_connector(true, 10 * MS);
  a_dead_connector(false, 10 * MS);
  a_dead_connector(true, MS);
  a_dead_connector(false, MS);
}

/* 5 % each way on every line. */
static void loss_moves_nobody(void **state) {
  for (uint64_t seed = 1; seed <= 5; seed++) {
    struct sim_config cfg = {.seed = seed, .n_agents = 1, .n_connectors = 2};
    struct sim *w = steady(&cfg);
    int first = used(w);

    for (int i = 0; i < w->n_nodes; i++) {
      struct vnet_host *h = w->nodes[i]->host;

      h->up.loss = h->down.loss = 0.05;
    }
    app_steady(&w->agents[0].app, "echo", false, 200 * MS);
    sim_run(w, 120 * SEC);
    assert_int_equal(used(w), first);
    assert_int_equal(w->connectors[!first].n_asked, 0);
    assert_false(sim_logged(w, "does not answer"));
    done(w);
  }
}

/* The relay hears the connector, the agent does not: a path that one end lost
 * is no reason to leave. */
static void a_short_pause_of_the_agents_line_moves_nobody(void **state) {
  struct sim_config cfg = {.seed = 8, .n_agents = 1, .n_connectors = 2};
  struct sim *w = steady(&cfg);
  int first = used(w);

  for (int i = 0; i < 10; i++) {
    w->agents[0].node.host->off = true;
    sim_run(w, 700 * MS);
    w->agents[0].node.host->off = false;
    sim_run(w, 3 * SEC);
  }
  assert_int_equal(used(w), first);
  assert_int_equal(w->connectors[!first].n_asked, 0);
  done(w);
}

static void a_connector_that_comes_back_serves_again(void **state) {
  struct sim_config cfg = {.seed = 9, .n_agents = 1, .n_connectors = 2};
  struct sim *w = steady(&cfg);
  int turn = used(w);

  for (int i = 0; i < 4; i++) {
    sim_connector_stop(w, turn);
    assert_in_range(back_after(w, 10 * SEC), 1, 1500 * MS);
    sim_connector_start(w, turn);
    sim_run(w, 5 * SEC);
    turn = !turn;
    assert_int_equal(used(w), turn);
  }
  done(w);
}

/* --- draining --- */

static void drain(struct sim *w, int i, bool on) {
  connector_set_draining(w->connectors[i].core, on, w->now);
}

static void a_draining_connector_keeps_what_it_has(void **state) {
  struct sim_config cfg = {.seed = 10, .n_agents = 2, .n_connectors = 2};
  struct sim *w = steady(&cfg);
  struct app *a = &w->agents[0].app;
  int first = used(w);
  uint64_t asked, asks, got;

  drain(w, first, true);
  sim_run(w, SEC);
  asked = w->connectors[!first].n_asked;
  assert_int_equal(used(w), first); /* the conversations that there are */
  assert_int_equal(w->connectors[!first].n_asked, asked);
  /* One over IPv6 is a new one, and so is another agent's. */
  assert_true(app_udp(a, "echo", true, 64));
  assert_true(app_udp(&w->agents[1].app, "echo", false, 64));
  sim_run(w, SEC);
  assert_int_equal(w->connectors[!first].n_asked, asked + 2);
  assert_int_equal(w->agents[1].app.n_got, 1);

  /* Its end loses nothing but what was under way. */
  asks = a->n_asks, got = a->n_got;
  connector_stop(w->connectors[first].core, w->now);
  sim_run(w, 2 * SEC);
  assert_in_range(a->n_asks - asks - (a->n_got - got), 0, 12);
  assert_int_equal(used(w), !first);
  done(w);
}

static void
the_only_connector_refuses_what_is_new_while_draining(void **state) {
  struct sim_config cfg = {.seed = 11, .n_agents = 1, .n_connectors = 1};
  struct sim *w = steady(&cfg);
  struct app *a = &w->agents[0].app;

  drain(w, 0, true);
  sim_run(w, 200 * MS);
  assert_true(agent_has(w, "\"state\": \"draining\""));
  assert_true(app_udp(a, "echo", true, 64));
  sim_run(w, 200 * MS);
  assert_int_equal(a->n_errors, 1);
  assert_in_range(back_after(w, SEC), 1, 200 * MS);
  drain(w, 0, false);
  sim_run(w, 200 * MS);
  assert_true(app_udp(a, "echo", true, 64));
  sim_run(w, 200 * MS);
  assert_int_equal(a->n_errors, 1);
  done(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_backend_that_refuses_is_withdrawn_and_returns),
      TEST(a_backend_that_is_silent_is_withdrawn_and_returns),
      TEST(an_agent_that_comes_while_it_is_down_is_told_why),
      TEST(a_running_ping_ends_and_returns_with_the_backend),
      TEST(users_of_a_dead_backend_move_to_a_healthy_one),
      TEST(a_connector_that_was_left_is_let_go),
      TEST(a_new_relay_hears_of_health_at_once),
      TEST(what_relays_are_told_last_is_true),
      TEST(a_dead_connector_is_left_within_a_second_and_a_half),
      TEST(loss_moves_nobody),
      TEST(a_short_pause_of_the_agents_line_moves_nobody),
      TEST(a_connector_that_comes_back_serves_again),
      TEST(a_draining_connector_keeps_what_it_has),
      TEST(the_only_connector_refuses_what_is_new_while_draining),
  };

  if (getenv("ZTNA_TEST")) cmocka_set_test_filter(getenv("ZTNA_TEST"));
  return cmocka_run_group_tests(tests, NULL, NULL);
}
