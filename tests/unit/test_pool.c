/* test_pool.c - the fixed pool of packets, and lists of them. */
#include "unit.h"

#include "base/pool.h"

static struct pool pool;

static int setup(void **state) { return pool_init(&pool, 4); }

static int teardown(void **state) {
  pool_done(&pool);
  return 0;
}

static void a_packet_is_empty_and_has_headroom(void **state) {
  struct pkt *k = pool_get(&pool);
  k->len = 99;
  k->off = 3;
  k->tag = 7;
  k->at = 8;
  k->next = k;
  pool_put(&pool, k);
  k = pool_get(&pool);
  assert_int_equal(k->len, 0);
  assert_int_equal(k->tag, 0);
  assert_int_equal(k->at, 0);
  assert_null(k->next);
  assert_ptr_equal(pkt_data(k), k->buf + PKT_HEADROOM);
  pool_put(&pool, k);
}

static void no_more_than_its_packets_are_out(void **state) {
  struct pkt *v[4];
  for (int i = 0; i < 4; i++) {
    v[i] = pool_get(&pool);
    assert_non_null(v[i]);
    for (int j = 0; j < i; j++) assert_ptr_not_equal(v[i], v[j]);
    memset(v[i]->buf, i, sizeof(v[i]->buf));
  }
  assert_null(pool_get(&pool));
  assert_int_equal(pool.n_used, 4);
  for (int i = 0; i < 4; i++) {
    assert_int_equal(v[i]->buf[0], i);
    assert_int_equal(v[i]->buf[sizeof(v[i]->buf) - 1], i);
    pool_put(&pool, v[i]);
  }
  assert_int_equal(pool.n_used, 0);
}

static void the_last_one_back_goes_out_first(void **state) {
  struct pkt *a = pool_get(&pool), *b = pool_get(&pool);
  pool_put(&pool, a);
  pool_put(&pool, b);
  assert_ptr_equal(pool_get(&pool), b);
  assert_ptr_equal(pool_get(&pool), a);
  assert_int_equal(pool.n_fresh, 2);
}

static void an_empty_pool_has_no_packets(void **state) {
  struct pool none;
  assert_int_equal(pool_init(&none, 0), 0);
  assert_null(pool_get(&none));
  pool_done(&none);
}

static void a_pool_beyond_all_memory_is_refused(void **state) {
  struct pool huge;
  assert_int_equal(pool_init(&huge, SIZE_MAX / 2), ZTNA_ENOMEM);
  assert_int_equal(pool_init(&huge, SIZE_MAX), ZTNA_ENOMEM);
}

static void a_list_gives_first_what_came_first(void **state) {
  struct pktq q = {0};
  struct pkt *v[3];
  for (int i = 0; i < 3; i++) {
    v[i] = pool_get(&pool);
    v[i]->len = (uint16_t)(100 + i);
    pktq_push(&q, v[i]);
  }
  assert_int_equal(q.n, 3);
  assert_int_equal(q.bytes, 303);
  assert_ptr_equal(pktq_pop(&q), v[0]);
  pktq_push(&q, v[0]);
  assert_ptr_equal(pktq_pop(&q), v[1]);
  assert_ptr_equal(pktq_pop(&q), v[2]);
  assert_int_equal(q.bytes, 100);
  assert_ptr_equal(pktq_pop(&q), v[0]);
  assert_null(pktq_pop(&q));
  assert_int_equal(q.n, 0);
  assert_int_equal(q.bytes, 0);
}

static void a_cleared_list_gives_its_packets_back(void **state) {
  struct pktq q = {0};
  for (int i = 0; i < 4; i++) pktq_push(&q, pool_get(&pool));
  pktq_clear(&q, &pool);
  assert_int_equal(pool.n_used, 0);
  assert_null(pktq_pop(&q));
  pktq_push(&q, pool_get(&pool));
  assert_int_equal(q.n, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST_WITH(a_packet_is_empty_and_has_headroom, setup, teardown),
      TEST_WITH(no_more_than_its_packets_are_out, setup, teardown),
      TEST_WITH(the_last_one_back_goes_out_first, setup, teardown),
      TEST(an_empty_pool_has_no_packets),
      TEST(a_pool_beyond_all_memory_is_refused),
      TEST_WITH(a_list_gives_first_what_came_first, setup, teardown),
      TEST_WITH(a_cleared_list_gives_its_packets_back, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
