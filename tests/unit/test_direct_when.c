/* test_direct_when.c - when two ends look for a direct path, again and anew. */
#include "unit.h"
#include "direct_world.h"

/* 2 s of patience with the answer each time, and what the observer takes. */
static void rounds_that_fail_are_repeated_ever_more_rarely(void **state) {
  static const double after[] = {5, 10, 20, 40, 60, 60, 60};
  struct dw *w = dw_new("public", "public", 8);

  w->cut = true;
  assert_true(dw_next_round(w, 1) < 0.1);
  for (size_t i = 0; i < N_OF(after); i++) {
    dw_run(w, 2010 * MS);
    assert_string_equal(dw_status(&w->ends[DW_AGENT], "why"), "no-reply");
    assert_string_equal(dw_status(&w->ends[DW_AGENT], "state"), "waiting");
    DW_NEAR(dw_status_number(&w->ends[DW_AGENT], "next_ms") / 1e3, after[i]);
    DW_NEAR(dw_next_round(w, 100), after[i]);
  }
  assert_int_equal(dw_status_number(&w->ends[DW_AGENT], "rounds"), 8);
  dw_free(w);
}

static void links_that_failed_together_do_not_try_together(void **state) {
  double least = 100, most = 0;

  for (uint64_t seed = 1; seed <= 20; seed++) {
    struct dw *w = dw_new("public", "public", seed);
    double t;

    w->cut = true;
    dw_run(w, 2100 * MS);
    t = dw_next_round(w, 10);
    least = t < least ? t : least;
    most = t > most ? t : most;
    dw_free(w);
  }
  assert_true(most - least > 1);
}

static void a_path_that_lived_is_replaced_at_once(void **state) {
  struct dw *w = dw_new("public", "public", 9);

  assert_true(dw_meets(w, SEC));
  dw_run(w, 61 * SEC);
  dw_lose(w);
  assert_true(dw_meets(w, 200 * MS));
  dw_free(w);
}

/* An interruption is forgiven, a path that breaks again and again is not. */
static void a_path_that_breaks_is_tried_ever_more_rarely(void **state) {
  static const double after[] = {1, 5, 10, 20, 40, 60, 60};
  struct dw *w = dw_new("public", "public", 10);

  assert_true(dw_meets(w, SEC));
  for (size_t i = 0; i < N_OF(after); i++) {
    dw_run(w, 2 * SEC);
    dw_lose(w);
    assert_string_equal(dw_status(&w->ends[DW_AGENT], "why"), "lost");
    DW_NEAR(dw_next_round(w, 100), after[i]);
    assert_true(dw_meets(w, SEC));
  }
  dw_run(w, 61 * SEC);
  dw_lose(w);
  assert_true(dw_meets(w, 200 * MS));
  dw_run(w, 2 * SEC);
  dw_lose(w);
  DW_NEAR(dw_next_round(w, 100), 1);
  dw_free(w);
}

static void what_failed_before_a_path_came_is_forgotten(void **state) {
  struct dw *w = dw_new("public", "public", 36);

  w->cut = true;
  dw_run(w, 60 * SEC);
  assert_true(dw_status_number(&w->ends[DW_AGENT], "rounds") >= 4);
  w->cut = false;
  assert_true(dw_meets(w, 60 * SEC));
  dw_run(w, SEC);
  dw_lose(w);
  w->cut = true;
  DW_NEAR(dw_next_round(w, 100), 1);
  dw_run(w, 2010 * MS);
  DW_NEAR(dw_next_round(w, 100), 5);
  dw_free(w);
}

/* What the machine knew of its outer address is of no use any more. */
static void a_lost_path_is_found_at_another_outer_address(void **state) {
  struct dw *w = dw_new("port-restricted", "port-restricted", 37);
  struct ztna_addr outer = test_addr("198.51.100.33");

  assert_true(dw_meets(w, SEC));
  dw_run(w, 3 * SEC);
  sim_nat_move(w->ends[DW_AGENT].box->model, &outer);
  dw_lose(w);
  DW_NEAR(dw_next_round(w, 100), 1);
  assert_true(dw_meets(w, SEC));
  dw_free(w);
}

/* Else the first round would do without what it tells. */
static void a_new_relay_is_asked_before_the_round(void **state) {
  struct dw *w = dw_new("port-restricted", "public", 38);
  struct dw_end *a = &w->ends[DW_AGENT];
  struct ztna_addr none = {0}, second = test_addr("203.0.113.2:3478");

  a->wants = false;
  w->servers[0]->off = true;
  direct_relay(&a->c, 1, &none);
  dw_run(w, 3 * SEC);
  direct_relay(&a->c, 0, &none);
  direct_relay(&a->c, 1, &second);
  a->wants = true;
  dw_run(w, 100 * MS);
  assert_int_equal(a->n_said, 1);
  assert_non_null(strstr(a->said, "198.51.100.1:4000"));
  dw_free(w);
}

/* Looks for one of the other family, say. */
static void a_round_beside_a_path_may_fail(void **state) {
  struct dw *w = dw_new("public", "public", 43);
  struct dw_end *c = &w->ends[DW_CONNECTOR];

  assert_true(dw_meets(w, SEC));
  assert_int_equal(dw_hear(c, DW_OFFER(2, "")), 0);
  dw_run(w, 20 * SEC);
  assert_int_equal(c->n_listened, 2);
  assert_string_equal(dw_status(c, "state"), "direct");
  assert_string_equal(dw_status(c, "why"), "");
  dw_free(w);
}

static void a_changed_network_begins_all_anew(void **state) {
  struct dw *w = dw_hopeless(11);
  struct dw_end *a = &w->ends[DW_AGENT];
  size_t n = a->n_said;

  direct_network_changed(&a->c, dw_now(w));
  dw_run(w, 600 * MS);
  assert_int_equal(a->n_said, n + 1);
  dw_free(w);
}

static void a_network_that_changes_within_a_round_begins_it_anew(void **state) {
  struct dw *w = dw_new("port-restricted", "public", 12);
  struct dw_end *a = &w->ends[DW_AGENT];

  a->wants = false;
  dw_run(w, SEC);
  direct_want(a->d, dw_now(w)); /* once: it still is */
  dw_run(w, 15 * MS);
  assert_int_equal(a->n_said, 1);
  assert_int_equal(a->n_found, 0);
  direct_network_changed(&a->c, dw_now(w));
  assert_true(dw_meets(w, 600 * MS));
  assert_int_equal(a->n_said, 2);
  dw_free(w);
}

static void a_connector_whose_network_changed_tells_the_agent(void **state) {
  struct dw *w = dw_hopeless(13);
  struct dw_end *a = &w->ends[DW_AGENT], *c = &w->ends[DW_CONNECTOR];
  size_t n = a->n_said;

  vnet_behind(c->host, NULL);
  vnet_readdress(c->host, "198.51.100.70:4000", NULL);
  c->outside.locals[0].addr = test_addr("198.51.100.70:4000");
  direct_network_changed(&c->c, dw_now(w));
  assert_true(dw_meets(w, 2 * SEC));
  assert_true(a->n_said > n);
  dw_free(w);
}

static void a_peer_cannot_drive_rounds_by_wishes(void **state) {
  struct dw *w = dw_hopeless(14);
  struct dw_end *a = &w->ends[DW_AGENT];
  size_t n = a->n_said;

  for (int i = 0; i < 400; i++) {
    dw_hear(a, "{\"type\":\"candidates\",\"anew\":true}");
    dw_run(w, 10 * MS);
  }
  assert_true(a->n_said == n + 1);
  assert_int_equal(a->c.stats.drops[REASON_RATE_LIMITED], 399);
  dw_free(w);
}

static void without_a_path_to_talk_over_it_waits(void **state) {
  struct dw *w = dw_new("public", "public", 15);
  struct dw_end *a = &w->ends[DW_AGENT];

  a->mute = true;
  dw_run(w, 500 * MS);
  assert_string_equal(dw_status(a, "why"), "no-path");
  a->mute = false;
  assert_true(dw_meets(w, 700 * MS));
  dw_free(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(rounds_that_fail_are_repeated_ever_more_rarely),
      TEST(links_that_failed_together_do_not_try_together),
      TEST(a_path_that_lived_is_replaced_at_once),
      TEST(a_path_that_breaks_is_tried_ever_more_rarely),
      TEST(what_failed_before_a_path_came_is_forgotten),
      TEST(a_lost_path_is_found_at_another_outer_address),
      TEST(a_new_relay_is_asked_before_the_round),
      TEST(a_round_beside_a_path_may_fail),
      TEST(a_changed_network_begins_all_anew),
      TEST(a_network_that_changes_within_a_round_begins_it_anew),
      TEST(a_connector_whose_network_changed_tells_the_agent),
      TEST(a_peer_cannot_drive_rounds_by_wishes),
      TEST(without_a_path_to_talk_over_it_waits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
