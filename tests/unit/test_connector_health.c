/* test_connector_health.c - when a service is checked, and what the results
 * make of it. */
#include "unit/unit.h"

#include "base/time.h"
#include "role/connector_health.h"

static const struct health_rule rule = {
    .every = SEC, .timeout = 200 * MS, .fail_after = 3, .pass_after = 2};

static struct health h;
static uint64_t now;

static int begin(void **state) {
  now = 10 * SEC;
  health_init(&h, &rule, now);
  return 0;
}

/* Runs until the next check begins; it must not be later than for_ns. */
static void next_check(uint64_t for_ns) {
  uint64_t until = now + for_ns;

  now = health_deadline(&h);
  assert_in_range(now, 0, until);
  assert_true(health_begin(&h, now));
}

static bool check(const char *error) {
  next_check(SEC);
  now += MS;
  return health_end(&h, now, error);
}

static void without_a_check_a_service_is_up_and_never_asked(void **state) {
  struct health_rule none = {0};

  health_init(&h, &none, now);
  assert_true(health_is_up(&h));
  assert_true(health_deadline(&h) == NEVER);
  assert_false(health_begin(&h, 100 * SEC));
}

static void a_service_is_down_until_its_first_check_passed(void **state) {
  assert_false(health_is_up(&h));
  assert_int_equal(health_deadline(&h), now);
  assert_true(check(NULL)); /* one is enough, whatever pass_after says */
  assert_true(health_is_up(&h));
}

static void the_first_check_decides_within_its_timeout(void **state) {
  uint64_t began = now;
  bool changed;

  next_check(0);
  assert_false(health_tick(&h, began + 199 * MS, &changed));
  assert_true(health_tick(&h, began + 200 * MS, &changed));
  assert_false(changed); /* it was not up before */
  assert_int_equal(h.state, HEALTH_DOWN);
  assert_string_equal(h.error, "no answer within 200 ms");
}

static void only_failures_in_a_row_take_it_down(void **state) {
  check(NULL);
  for (int i = 0; i < 5; i++) {
    assert_false(check("no"));
    assert_false(check("no"));
    assert_false(check(NULL));
    assert_true(health_is_up(&h));
  }
  assert_false(check("no"));
  assert_false(check("no"));
  assert_true(check("no"));
  assert_false(health_is_up(&h));
  assert_false(check("no")); /* said once */
}

static void only_passes_in_a_row_bring_it_back(void **state) {
  check("no");
  assert_int_equal(h.state, HEALTH_DOWN);
  assert_false(check(NULL));
  assert_false(check("no"));
  assert_false(check(NULL));
  assert_true(check(NULL));
  assert_true(health_is_up(&h));
}

static void checks_come_every_so_often(void **state) {
  uint64_t began = now;

  for (int i = 0; i < 10; i++) {
    next_check(SEC);
    assert_int_equal(now, began + (uint64_t)i * SEC);
    health_end(&h, now + 150 * MS, NULL);
  }
}

/* The backend goes silent right behind a check that passed. */
static void a_silent_backend_is_down_within_interval_x_threshold(void **state) {
  bool changed = false;
  uint64_t dead_at;

  check(NULL);
  dead_at = now;
  while (!changed) {
    now = health_deadline(&h);
    if (!health_tick(&h, now, &changed)) health_begin(&h, now);
    assert_in_range(now, dead_at, dead_at + 3 * SEC);
  }
  assert_false(health_is_up(&h));
}

static void a_late_result_counts_for_nothing(void **state) {
  bool changed;

  check(NULL);
  next_check(SEC);
  now += 200 * MS;
  assert_true(health_tick(&h, now, &changed));
  assert_int_equal(h.n_row, 1);
  assert_false(health_end(&h, now, "late"));
  assert_int_equal(h.n_row, 1);
  assert_int_equal(h.n_failed, 1);
}

static void one_check_runs_at_a_time(void **state) {
  next_check(0);
  health_hurry(&h, now);
  assert_false(health_begin(&h, now + 5 * SEC));
  health_end(&h, now + MS, NULL);
  assert_true(health_begin(&h, now + MS)); /* the hurried one */
}

static void status_says_what_went_wrong_and_since_when(void **state) {
  json_t *j = json_object();

  check(NULL);
  for (int i = 0; i < 3; i++) check("connection refused");
  health_status(&h, h.since + 1500 * MS, j);
  assert_string_equal(json_string_value(json_object_get(j, "health")), "down");
  assert_string_equal(json_string_value(json_object_get(j, "error")),
                      "connection refused");
  assert_int_equal(json_integer_value(json_object_get(j, "health_since_ms")),
                   1500);
  assert_int_equal(json_integer_value(json_object_get(j, "checks_failed")), 3);
  assert_true(json_real_value(json_object_get(j, "check_ms")) == 1.0);
  json_decref(j);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST_WITH(without_a_check_a_service_is_up_and_never_asked, begin, NULL),
      TEST_WITH(a_service_is_down_until_its_first_check_passed, begin, NULL),
      TEST_WITH(the_first_check_decides_within_its_timeout, begin, NULL),
      TEST_WITH(only_failures_in_a_row_take_it_down, begin, NULL),
      TEST_WITH(only_passes_in_a_row_bring_it_back, begin, NULL),
      TEST_WITH(checks_come_every_so_often, begin, NULL),
      TEST_WITH(a_silent_backend_is_down_within_interval_x_threshold, begin,
                NULL),
      TEST_WITH(a_late_result_counts_for_nothing, begin, NULL),
      TEST_WITH(one_check_runs_at_a_time, begin, NULL),
      TEST_WITH(status_says_what_went_wrong_and_since_when, begin, NULL),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
