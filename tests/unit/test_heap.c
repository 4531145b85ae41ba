/* test_heap.c - deadlines come out in order, whatever was done to them. */
#include "unit.h"

#include "base/heap.h"
#include "base/time.h"

static void deadlines_come_out_in_order(void **state) {
  struct heap h = {0};
  struct heap_node v[200] = {0}, *top;
  uint64_t seed = 3, last = 0;
  for (int i = 0; i < 200; i++)
    assert_int_equal(heap_set(&h, &v[i], test_random(&seed) % 50), 0);
  for (int i = 0; i < 200; i++) {
    top = heap_top(&h);
    assert_true(top->at >= last);
    last = top->at;
    heap_del(&h, top);
    assert_int_equal(top->pos, 0);
  }
  assert_null(heap_top(&h));
  heap_done(&h);
}

static uint64_t earliest(const struct heap_node *v, int n) {
  uint64_t at = NEVER;
  for (int i = 0; i < n; i++)
    if (v[i].pos) at = time_min(at, v[i].at);
  return at;
}

static void the_top_is_the_earliest_after_any_change(void **state) {
  enum { N = 60 };
  struct heap h = {0};
  struct heap_node v[N] = {0};
  uint64_t seed = 5;
  for (int step = 0; step < 20000; step++) {
    struct heap_node *n = &v[(test_random(&seed) >> 20) % N];
    uint64_t kind = (test_random(&seed) >> 20) % 4;
    if (kind == 0)
      heap_del(&h, n);
    else
      assert_int_equal(heap_set(&h, n, (test_random(&seed) >> 20) % 1000), 0);
    uint64_t want = earliest(v, N);
    assert_int_equal(heap_top(&h) ? heap_top(&h)->at : NEVER, want);
    for (size_t i = 1; i <= h.n; i++) {
      assert_int_equal(h.v[i]->pos, i);
      assert_true(i == 1 || h.v[i / 2]->at <= h.v[i]->at);
    }
  }
  heap_done(&h);
}

static void never_takes_a_deadline_out(void **state) {
  struct heap h = {0};
  struct heap_node a = {0}, b = {0};
  heap_set(&h, &a, 10);
  heap_set(&h, &b, 20);
  assert_int_equal(heap_set(&h, &a, NEVER), 0);
  assert_int_equal(a.pos, 0);
  assert_ptr_equal(heap_top(&h), &b);
  assert_int_equal(heap_set(&h, &a, NEVER), 0);
  assert_int_equal(h.n, 1);
  heap_done(&h);
}

static void deleting_what_is_not_in_it_does_nothing(void **state) {
  struct heap h = {0};
  struct heap_node a = {0};
  heap_del(&h, &a);
  heap_set(&h, &a, 1);
  heap_del(&h, &a);
  heap_del(&h, &a);
  assert_int_equal(h.n, 0);
  heap_done(&h);
}

static void what_was_reserved_does_not_move(void **state) {
  struct heap h = {0};
  static struct heap_node v[100];
  assert_int_equal(heap_reserve(&h, 100), 0);
  struct heap_node **was = h.v;
  for (int i = 0; i < 100; i++) assert_int_equal(heap_set(&h, &v[i], 9), 0);
  assert_ptr_equal(h.v, was);
  assert_int_equal(heap_reserve(&h, 5), 0);
  assert_int_equal(h.n, 100);
  heap_done(&h);
}

static void too_much_to_reserve_is_no_memory(void **state) {
  struct heap h = {0};
  assert_int_equal(heap_reserve(&h, SIZE_MAX), ZTNA_ENOMEM);
  assert_int_equal(heap_reserve(&h, SIZE_MAX / sizeof(void *)), ZTNA_ENOMEM);
  heap_done(&h);
}

static void nodes_are_out_of_a_heap_that_is_done(void **state) {
  struct heap h = {0};
  struct heap_node a = {0};
  heap_set(&h, &a, 1);
  heap_done(&h);
  assert_int_equal(a.pos, 0);
  assert_null(heap_top(&h));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(deadlines_come_out_in_order),
      TEST(the_top_is_the_earliest_after_any_change),
      TEST(never_takes_a_deadline_out),
      TEST(deleting_what_is_not_in_it_does_nothing),
      TEST(what_was_reserved_does_not_move),
      TEST(too_much_to_reserve_is_no_memory),
      TEST(nodes_are_out_of_a_heap_that_is_done),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
