/* test_sim_paths.c - a link with several paths: over two relays, and direct
 * ones through whatever stands before agent and connector. What moves between
 * them loses nothing that was not on the way, and TCP nothing at all. */
#include <stdlib.h>
#include <string.h>

#include "sim/tcp_world.h"
#include "unit/unit.h"

static const struct sim_config two = {
    .seed = 5, .n_agents = 1, .n_connectors = 1, .n_relays = 2, .tcp = true};

/* --- what the agent says of its paths --- */

static const char *text_of(json_t *j, const char *key) {
  const char *text = json_string_value(json_object_get(j, key));

  return text ? text : "";
}

/* links[0].paths, of this kind or any: how many are live; and the one in use.
 */
static int paths(struct sim *w, const char *kind, const char **chosen) {
  static char used[64];
  char *text = ztna_agent_status(w->agents[0].core);
  json_t *j = json_loads(text, 0, NULL), *p;
  json_t *list =
      json_object_get(json_array_get(json_object_get(j, "links"), 0), "paths");
  int n = 0;
  size_t i;

  used[0] = 0;
  json_array_foreach(list, i, p) {
    const char *k = json_string_value(json_object_get(p, "kind"));

    if (!json_is_true(json_object_get(p, "live"))) continue;
    if (json_is_true(json_object_get(p, "chosen")))
      snprintf(used, sizeof(used), "%s",
               strcmp(k, "relay") ? k : text_of(p, "relay"));
    if (!kind || !strcmp(k, kind)) n++;
  }
  if (chosen) *chosen = used;
  json_decref(j);
  free(text);
  return n;
}

static bool has_two_relayed(struct sim *w, void *ud) {
  return paths(w, "relay", NULL) == 2;
}

static struct app *app_of(struct sim *w) { return &w->agents[0].app; }

static bool uses_second(struct sim *w) {
  const char *used;

  paths(w, NULL, &used);
  return !strcmp(used, "relay2.test:4433");
}

static void stop_relay(struct sim *w, bool second) {
  if (second)
    sim_relay2_stop(w);
  else
    sim_relay_stop(w);
}

static void start_relay(struct sim *w, bool second) {
  if (second)
    sim_relay2_start(w);
  else
    sim_relay_start(w);
}

/* The longest time from one answered question to the next, in ms: questions
 * leave every 10 ms. */
static unsigned longest_gap(const struct app *a, uint32_t from) {
  uint64_t last = a->asks[from].sent_at, gap = 0;

  for (uint32_t i = from; i < a->n_asks; i++) {
    if (!a->asks[i].got_at) continue;
    if (a->asks[i].sent_at - last > gap) gap = a->asks[i].sent_at - last;
    last = a->asks[i].sent_at;
  }
  return (unsigned)(gap / MS);
}

static unsigned unanswered(const struct app *a, uint32_t from, uint32_t to) {
  unsigned n = 0;

  for (uint32_t i = from; i < to; i++) n += !a->asks[i].got_at;
  return n;
}

/* A link that is in use, with a path over each relay, and questions going. */
static struct sim *steady_two(void) {
  struct sim *w = ready(&two);

  app_steady(app_of(w), "echo", false, 10 * MS);
  assert_true(sim_until(w, has_two_relayed, NULL, 5 * SEC));
  sim_run(w, SEC);
  return w;
}

static void done(struct sim *w) {
  assert_true(app_is_clean(app_of(w)));
  sim_free(w);
}

/* --- two relays --- */

static void a_link_in_use_has_a_path_over_each_relay(void **state) {
  struct sim *w = steady_two();

  assert_int_equal(paths(w, NULL, NULL), 2);
  done(w);
}

static void the_death_of_a_relay_is_only_a_change_of_path(void **state) {
  struct sim *w = steady_two();
  uint32_t from = app_of(w)->n_asks;

  stop_relay(w, uses_second(w));
  sim_run(w, 5 * SEC);
  assert_in_range(longest_gap(app_of(w), from - 10), 0, 700);
  assert_false(sim_logged(w, "service refused"));
  done(w);
}

static void the_death_of_the_other_relay_is_not_noticed(void **state) {
  struct sim *w = steady_two();
  uint32_t from = app_of(w)->n_asks;

  stop_relay(w, !uses_second(w));
  sim_run(w, 5 * SEC);
  app_steady(app_of(w), "echo", false, 0);
  sim_run(w, SEC);
  assert_int_equal(unanswered(app_of(w), from, app_of(w)->n_asks), 0);
  done(w);
}

static void relays_that_die_in_turn_are_survived(void **state) {
  struct sim *w = steady_two();
  uint32_t from = app_of(w)->n_asks;

  for (int i = 0; i < 6; i++) {
    bool second = uses_second(w);

    stop_relay(w, second);
    sim_run(w, 8 * SEC);
    start_relay(w, second);
    assert_true(sim_until(w, has_two_relayed, NULL, 30 * SEC));
    sim_run(w, 2 * SEC);
  }
  assert_in_range(longest_gap(app_of(w), from - 10), 0, 700);
  done(w);
}

static void tcp_goes_on_over_the_other_relay(void **state) {
  struct sim *w = steady_two();
  struct tcp_app *down = open_to(w, TCP_PORT, TCP_SOURCE, 0, 20 << 20);
  struct tcp_app *up = open_to(w, TCP_PORT, TCP_SINK, 20 << 20, 0);

  sim_run(w, 300 * MS);
  stop_relay(w, uses_second(w));
  assert_completes(w, down, 60 * SEC);
  assert_completes(w, up, 60 * SEC);
  assert_in_range(down->end.longest_pause, 0, 1500 * MS);
  done(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_link_in_use_has_a_path_over_each_relay),
      TEST(the_death_of_a_relay_is_only_a_change_of_path),
      TEST(the_death_of_the_other_relay_is_not_noticed),
      TEST(relays_that_die_in_turn_are_survived),
      TEST(tcp_goes_on_over_the_other_relay),
  };

  if (getenv("ZTNA_TEST")) cmocka_set_test_filter(getenv("ZTNA_TEST"));
  return cmocka_run_group_tests(tests, NULL, NULL);
}
