/* test_bucket.c - a rate and a burst. */
#include "unit.h"

#include "base/bucket.h"
#include "base/time.h"

static int taken(struct bucket *b, uint64_t now, int tries) {
  int n = 0;
  while (tries-- > 0) n += bucket_take(b, now, 50, 200, 1, 0);
  return n;
}

static void it_begins_full_and_gives_its_burst_at_once(void **state) {
  struct bucket b = {0};
  assert_int_equal(taken(&b, 7, 1000), 200);
  assert_int_equal(taken(&b, 7, 1000), 0);
}

/* Asked ever so often, in steps that divide no token. */
static void it_gives_its_rate_whenever_it_is_asked(void **state) {
  struct bucket b = {0};
  int n = 0;
  taken(&b, SEC, 200);
  for (uint64_t now = SEC; now <= 11 * SEC; now += 333333)
    n += taken(&b, now, 3);
  assert_in_range(n, 499, 501);
  assert_int_equal(taken(&b, 100 * SEC, 1000), 200);
}

static void a_reserve_is_left_for_others(void **state) {
  struct bucket b = {0};
  int n = 0;
  while (bucket_take(&b, SEC, 50, 200, 1, 100)) n++;
  assert_int_equal(n, 100);
  assert_true(bucket_take(&b, SEC, 50, 200, 100, 0));
  assert_false(bucket_take(&b, SEC, 50, 200, 1, 0));
}

static void who_asks_for_too_many_gets_none(void **state) {
  struct bucket b = {0};
  assert_false(bucket_take(&b, SEC, 50, 200, 201, 0));
  assert_true(bucket_take(&b, SEC, 50, 200, 200, 0));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(it_begins_full_and_gives_its_burst_at_once),
      TEST(it_gives_its_rate_whenever_it_is_asked),
      TEST(a_reserve_is_left_for_others),
      TEST(who_asks_for_too_many_gets_none),
  };
  return cmocka_run_group_tests_name("bucket", tests, NULL, NULL);
}
