/* test_renewal.c - when a certificate is renewed: once in good time, and often
 * enough after that. */
#include "unit.h"

#include "host/renewal.h"
#include "sim/seeded.h"

enum { DAY = 86400, T = 1700000000 };

static void asked_at_two_thirds_of_its_life(void **state) {
  assert_int_equal(renewal_first_at(T, T + 30 * DAY, T, 0), T + 20 * DAY);
  assert_int_equal(renewal_first_at(T, T + 31, T, 0), T + 20);
  /* years do not overflow */
  assert_int_equal(renewal_first_at(T, T + INT64_C(3650) * DAY * 3, T, 0),
                   T + INT64_C(3650) * DAY * 2);
}

/* Services set the beginning back, since clocks differ: of a life of seconds
 * that would be most. */
static void its_life_begins_when_it_was_got(void **state) {
  assert_int_equal(renewal_first_at(T - 300, T + 30, T, 0), T + 20);
  assert_int_equal(renewal_first_at(T - 300, T + 30, T + 3, 0), T + 21);
}

static void file_from_elsewhere_counts_from_its_certificate(void **state) {
  assert_int_equal(renewal_first_at(T, T + 30, T - 5, 0), T + 20);
  assert_int_equal(renewal_first_at(T, T + 30, T + 31, 0), T + 20);
  assert_int_equal(renewal_first_at(T, T + 30, 0, 0), T + 20);
}

/* Those that were enrolled in one minute ask all over three days of thirty. */
static void machines_of_one_minute_do_not_ask_in_one_minute(void **state) {
  enum { MACHINES = 1000 };
  int64_t first = INT64_MAX, last = 0;
  struct seeded rnd;
  int by_day[3] = {0};

  seeded_init(&rnd, 1);
  for (int i = 0; i < MACHINES; i++) {
    int64_t at = renewal_first_at(T, T + 30 * DAY, T, seeded_u64(&rnd));
    assert_in_range(at, T + 17 * DAY, T + 20 * DAY);
    if (at < first) first = at;
    if (at > last) last = at;
    by_day[at == T + 20 * DAY ? 2 : (at - T) / DAY - 17]++;
  }
  assert_true(last - first > 2 * DAY);
  for (int i = 0; i < 3; i++)
    assert_in_range(by_day[i], MACHINES / 4, MACHINES / 2);
}

static void no_draw_asks_late_or_before_half_a_life(void **state) {
  for (int64_t life = 1; life < 100; life++)
    for (uint64_t draw = 0; draw < 100; draw++)
      assert_in_range(renewal_first_at(T, T + life, T, draw), T + life / 2,
                      T + life * 2 / 3);
  assert_in_range(renewal_first_at(T, T + 30, T, UINT64_MAX), T + 17, T + 20);
  assert_int_equal(renewal_first_at(T, T, T, 5), T);
  assert_int_equal(renewal_first_at(T, T - 30, T, 5), T - 20);
}

static int64_t wait_at(int64_t to, int64_t now) {
  return renewal_next_at(T, to, T, now) - now;
}

static void after_a_failure_every_tenth_of_what_is_left(void **state) {
  const int64_t to = T + 30 * DAY;
  assert_int_equal(wait_at(to, T + 20 * DAY), DAY);
  assert_int_equal(wait_at(to, T + 29 * DAY), DAY / 10);
  assert_int_equal(wait_at(to, to - 650), 65);
  assert_int_equal(wait_at(to, to - 599), 60);
  assert_int_equal(wait_at(to, to - 1), 60);
}

static void short_life_has_many_attempts_too(void **state) {
  int n = 0;
  for (int64_t at = T + 20; at < T + 30; n++)
    at = renewal_next_at(T, T + 30, T, at);
  assert_in_range(n, 5, 10);
}

static void expired_one_is_asked_for_slowly(void **state) {
  assert_int_equal(wait_at(T + 30 * DAY, T + 31 * DAY), 600);
  assert_int_equal(wait_at(T + 30, T + 31), 10);
  assert_int_equal(wait_at(T + 1, T + 31), 1);
}

static void without_a_service_nothing_is_renewed(void **state) {
  const struct identity_config id = {.cert = "a.pem"};
  struct sbuf out = {0};
  json_t *o;
  assert_null(renewal_new(NULL, &id));
  o = renewal_status(NULL);
  assert_true(json_is_null(o));
  renewal_metrics(NULL, &out);
  assert_int_equal(out.len, 0);
  renewal_free(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(asked_at_two_thirds_of_its_life),
      TEST(its_life_begins_when_it_was_got),
      TEST(file_from_elsewhere_counts_from_its_certificate),
      TEST(machines_of_one_minute_do_not_ask_in_one_minute),
      TEST(no_draw_asks_late_or_before_half_a_life),
      TEST(after_a_failure_every_tenth_of_what_is_left),
      TEST(short_life_has_many_attempts_too),
      TEST(expired_one_is_asked_for_slowly),
      TEST(without_a_service_nothing_is_renewed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
