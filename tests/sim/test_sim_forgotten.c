/* test_sim_forgotten.c - routers that forget do not forget a direct path alone:
 * relays do not reach this machine any more either, and packets go on over them
 * all the same. */
#include <stdlib.h>
#include <string.h>

#include "sim/tcp_world.h"
#include "unit/unit.h"

static struct app *app_of(struct sim *w) { return &w->agents[0].app; }

/* The agent's link uses a direct path. */
static bool uses_direct(struct sim *w, void *ud) {
  char *text = ztna_agent_status(w->agents[0].core);
  json_t *j = json_loads(text, 0, NULL), *p;
  json_t *link = json_array_get(json_object_get(j, "links"), 0);
  bool direct = false;
  size_t i;

  json_array_foreach(json_object_get(link, "paths"), i, p) {
    const char *kind = json_string_value(json_object_get(p, "kind"));

    direct |=
        json_is_true(json_object_get(p, "chosen")) && !strcmp(kind, "direct");
  }
  json_decref(j);
  free(text);
  return direct;
}

static bool asks_again(struct sim *w, void *ud) {
  return app_of(w)->n_asks > *(uint32_t *)ud;
}

/* Two relays, a question every 100 ms for some seconds, the last one answered.
 */
static struct sim *direct(const char *agent, const char *connector) {
  struct sim_config cfg = {.seed = 12,
                           .n_agents = 1,
                           .n_connectors = 1,
                           .n_relays = 2,
                           .direct = true,
                           .agent_class = agent,
                           .connector_class = connector,
                           .delay = MS};
  struct sim *w = ready(&cfg);
  uint32_t asked;

  app_steady(app_of(w), "echo", false, 100 * MS);
  assert_true(sim_until(w, uses_direct, NULL, 10 * SEC));
  sim_run(w, 3 * SEC);
  asked = app_of(w)->n_asks;
  assert_true(sim_until(w, asks_again, &asked, SEC));
  sim_run(w, 60 * MS);
  return w;
}

/* ms from one answered question to the next, at most, since that one. */
static unsigned longest_gap(const struct app *a, uint32_t from) {
  uint64_t last = a->asks[from].sent_at, gap = 0;

  for (uint32_t i = from; i < a->n_asks; i++) {
    if (!a->asks[i].got_at) continue;
    if (a->asks[i].sent_at - last > gap) gap = a->asks[i].sent_at - last;
    last = a->asks[i].sent_at;
  }
  return (unsigned)(gap / MS);
}

static void done(struct sim *w) {
  assert_true(app_is_clean(app_of(w)));
  sim_free(w);
}

/* Nothing is on its way when it happens. */
static void forget(struct sim *w, bool agent, bool connector) {
  if (agent) sim_nat_flush(w->agents[0].node.host->behind->model);
  if (connector) sim_nat_flush(w->connectors[0].node.host->behind->model);
}

/* The connector, which has nothing to say unless it is asked, hears nothing. */
static void a_connectors_firewall_forgets(void **state) {
  struct sim *w = direct("port-restricted-np", "firewall");
  uint32_t from = app_of(w)->n_asks;

  forget(w, false, true);
  sim_run(w, 5 * SEC);
  assert_in_range(longest_gap(app_of(w), from - 1), 0, 800);
  done(w);
}

static void both_ends_are_forgotten_at_once(void **state) {
  struct sim *w = direct("port-restricted-np", "firewall");
  uint32_t from = app_of(w)->n_asks;

  forget(w, true, true);
  sim_run(w, 5 * SEC);
  assert_in_range(longest_gap(app_of(w), from - 1), 0, 900);
  assert_true(sim_until(w, uses_direct, NULL, 15 * SEC));
  done(w);
}

static void
relays_know_where_the_agent_is_before_they_are_needed(void **state) {
  struct sim *w = direct("port-restricted-np", "port-restricted");
  uint32_t from = app_of(w)->n_asks;

  forget(w, true, false);
  sim_run(w, 3 * SEC);
  assert_in_range(longest_gap(app_of(w), from - 1), 0, 800);
  done(w);
}

/* One change is told in many words: the first ones before there is a way out.
 */
static void a_cable_that_is_plugged_in_again_is_used_at_once(void **state) {
  struct sim *w = direct("port-restricted", "port-restricted");
  struct vnet_host *h = w->agents[0].node.host;
  uint64_t back;

  h->up.loss = h->down.loss = 1;
  app_steady(app_of(w), "echo", false, 10 * MS);
  sim_run(w, SEC);
  sim_agent_network(w, 0);
  sim_run(w, 5 * MS);
  h->up.loss = h->down.loss = 0;
  sim_agent_network(w, 0);
  back = w->now;
  sim_run(w, 60 * MS);
  assert_true(app_back_since(app_of(w), back - 100 * MS));
  done(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_connectors_firewall_forgets),
      TEST(both_ends_are_forgotten_at_once),
      TEST(a_cable_that_is_plugged_in_again_is_used_at_once),
      TEST(relays_know_where_the_agent_is_before_they_are_needed),
  };

  if (getenv("ZTNA_TEST")) cmocka_set_test_filter(getenv("ZTNA_TEST"));
  return cmocka_run_group_tests(tests, NULL, NULL);
}
