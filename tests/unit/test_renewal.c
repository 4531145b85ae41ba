/* test_renewal.c - when a certificate is renewed: once in good time, and often
 * enough after that. */
#include "unit.h"

#include "host/renewal.h"

enum { DAY = 86400, T = 1700000000 };

static void asked_at_two_thirds_of_its_life(void **state) {
  assert_int_equal(renewal_first_at(T, T + 30 * DAY, T), T + 20 * DAY);
  assert_int_equal(renewal_first_at(T, T + 31, T), T + 20);
  /* years do not overflow */
  assert_int_equal(renewal_first_at(T, T + INT64_C(3650) * DAY * 3, T),
                   T + INT64_C(3650) * DAY * 2);
}

/* Services set the beginning back, since clocks differ: of a life of seconds
 * that would be most. */
static void its_life_begins_when_it_was_got(void **state) {
  assert_int_equal(renewal_first_at(T - 300, T + 30, T), T + 20);
  assert_int_equal(renewal_first_at(T - 300, T + 30, T + 3), T + 21);
}

static void file_from_elsewhere_counts_from_its_certificate(void **state) {
  assert_int_equal(renewal_first_at(T, T + 30, T - 5), T + 20);
  assert_int_equal(renewal_first_at(T, T + 30, T + 31), T + 20);
  assert_int_equal(renewal_first_at(T, T + 30, 0), T + 20);
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
      TEST(after_a_failure_every_tenth_of_what_is_left),
      TEST(short_life_has_many_attempts_too),
      TEST(expired_one_is_asked_for_slowly),
      TEST(without_a_service_nothing_is_renewed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
