/* test_bytes.c - the queue of bytes of a TCP flow. */
#include "unit/unit.h"

#include <stdlib.h>

#include "base/bytes.h"

static uint8_t at(uint64_t pos) { return (uint8_t)(pos * 131 + (pos >> 8)); }

static void write_some(struct bytes *b, struct bytes_pool *p, size_t n) {
  uint8_t buf[5000];

  assert_true(n <= sizeof(buf));
  for (size_t i = 0; i < n; i++) buf[i] = at(b->end + i);
  assert_int_equal(bytes_append(b, p, buf, n), 0);
}

static size_t check_from(struct bytes *b, uint64_t from, size_t max, int n) {
  struct bytes_vec v[8];
  uint64_t pos = from;
  int k = bytes_peek(b, from, max, v, n);

  assert_true(k <= n);
  for (int i = 0; i < k; i++)
    for (size_t j = 0; j < v[i].len; j++)
      assert_int_equal(v[i].base[j], at(pos++));
  assert_true(pos - from <= max);
  return (size_t)(pos - from);
}

static void bytes_are_read_where_they_were_written(void **state) {
  struct bytes_pool p = {0};
  struct bytes b;

  bytes_init(&b, 1000);
  for (int i = 0; i < 100; i++) write_some(&b, &p, 1 + (size_t)i * 37);
  assert_int_equal(bytes_len(&b), 100 + 37 * 99 * 50);
  for (uint64_t from = 1000; from < b.end; from += 997)
    assert_true(check_from(&b, from, 1400, 8) >=
                (b.end - from < 1400 ? b.end - from : 1400));
  /* and backwards, behind the place of the last read */
  assert_int_equal(check_from(&b, 1000, 10, 8), 10);
  assert_int_equal(check_from(&b, b.end, 10, 8), 0);
  assert_int_equal(check_from(&b, 999, 10, 8), 0);
  bytes_clear(&b, &p);
  assert_int_equal(p.used, 0);
  bytes_pool_done(&p);
}

static void random_use_loses_and_invents_nothing(void **state) {
  struct bytes_pool p = {0};
  struct bytes b;
  uint64_t next = 0;

  srandom(7);
  bytes_init(&b, 0);
  for (int i = 0; i < 20000; i++) {
    if (bytes_len(&b) < 200000) write_some(&b, &p, (size_t)random() % 4000);
    next += check_from(&b, next, (size_t)random() % 6000, 1 + random() % 8);
    if (random() % 3 == 0) {
      uint64_t upto = b.begin + (uint64_t)random() % (next - b.begin + 1);

      bytes_release(&b, &p, upto);
      assert_true(b.begin == upto);
      check_from(&b, b.begin, 500, 8);
    }
  }
  assert_true(next > 10000000);
  /* what is kept is what is in chunks, but for their rims */
  assert_true(p.used < bytes_len(&b) + 2 * 32768 + 4096);
  bytes_clear(&b, &p);
  bytes_pool_done(&p);
}

static void an_empty_queue_holds_no_memory(void **state) {
  struct bytes_pool p = {0};
  struct bytes b = {0};

  write_some(&b, &p, 100);
  assert_true(p.used < 4096);
  bytes_release(&b, &p, 100);
  assert_int_equal(p.used, 0);
  write_some(&b, &p, 5000);
  assert_int_equal(check_from(&b, 100, 9999, 8), 5000);
  bytes_clear(&b, &p);
  assert_int_equal(p.used, 0);
  bytes_pool_done(&p);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(bytes_are_read_where_they_were_written),
      cmocka_unit_test(random_use_loses_and_invents_nothing),
      cmocka_unit_test(an_empty_queue_holds_no_memory),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
