/* test_fq.c - what the queue promises of fairness, delay, bound and marks, in
 * simulated time. */
#include "unit.h"

#include "base/time.h"
#include "codec/ip.h"
#include "part/fq.h"

enum { POOL = 4000, SKIP = 3, UDP4 = IP4_HEADER + UDP_HEADER };

static struct pool pool;
static struct fq *q;
static uint64_t seed;

static int setup(void **state) {
  seed = 11;
  struct rng rng = test_rng(&seed);
  if (pool_init(&pool, POOL) < 0) return -1;
  q = fq_new(&pool, 1 << 22, &rng);
  return q ? 0 : -1;
}

/* Whatever the test did, every packet is accounted for. */
static int teardown(void **state) {
  const struct fq_stats *s = fq_stats(q);
  bool adds_up =
      s->n_in == s->n_out + s->n_codel_drops + s->n_full_drops + fq_packets(q);
  fq_free(q);
  bool leaks = pool.n_used != 0;
  pool_done(&pool);
  return adds_up && !leaks ? 0 : -1;
}

static void use_bound(size_t max_bytes) {
  struct rng rng = test_rng(&seed);
  fq_free(q);
  q = fq_new(&pool, max_bytes, &rng);
}

/* A UDP packet of this many bytes with SKIP bytes in front; the number is in
 * its tag. */
static struct pkt *packet(uint16_t flow, uint16_t bytes, uint8_t tos,
                          uint32_t tag) {
  static const uint8_t data[PKT_ROOM];
  struct pkt *k = pool_get(&pool);
  struct ztna_addr src = test_addr("10.0.0.1"), dst = test_addr("10.0.0.2:443");
  assert_non_null(k);
  src.port = flow;
  memset(pkt_data(k), 0x60, SKIP);
  int n = ip_build_udp(pkt_data(k) + SKIP, PKT_ROOM - SKIP, &src, &dst, tos,
                       data, (size_t)(bytes - SKIP - UDP4));
  assert_int_equal(n + SKIP, bytes);
  k->len = bytes;
  k->tag = tag;
  return k;
}

static struct ip_pkt parsed(struct pkt *k) {
  struct ip_pkt p;
  assert_int_equal(ip_parse(&p, pkt_data(k) + SKIP, (size_t)(k->len - SKIP)),
                   0);
  return p;
}

static uint16_t flow_of(struct pkt *k) { return parsed(k).src.port; }

static void put(uint16_t flow, uint16_t bytes, uint32_t tag, uint64_t now) {
  fq_put(q, packet(flow, bytes, 0, tag), SKIP, now);
}

/* --- order and fairness */

static void an_empty_queue_gives_nothing(void **state) {
  assert_null(fq_get(q, 0));
  put(1, 100, 7, 0);
  pool_put(&pool, fq_get(q, 0));
  assert_null(fq_get(q, 0));
  assert_int_equal(fq_packets(q), 0);
  assert_int_equal(fq_bytes(q), 0);
}

static void packets_come_out_as_they_went_in(void **state) {
  struct pkt *in = packet(1, 500, 0xb8, 7);
  uint8_t bytes[500];
  memcpy(bytes, pkt_data(in), 500);
  fq_put(q, in, SKIP, 5);
  assert_int_equal(fq_bytes(q), 500);
  assert_int_equal(fq_packets(q), 1);
  struct pkt *out = fq_get(q, 6);
  assert_ptr_equal(out, in);
  assert_int_equal(out->len, 500);
  assert_int_equal(out->tag, 7);
  assert_int_equal(out->at, 5);
  assert_memory_equal(pkt_data(out), bytes, 500);
  pool_put(&pool, out);
}

static void a_flow_keeps_its_order(void **state) {
  uint32_t next[8] = {0};
  for (uint32_t i = 0; i < 100; i++)
    for (uint16_t f = 0; f < 8; f++) put(f, (uint16_t)(60 + 140 * f), i, 0);
  for (struct pkt *k; (k = fq_get(q, MS));) {
    assert_int_equal(k->tag, next[flow_of(k)]++);
    pool_put(&pool, k);
  }
  for (int f = 0; f < 8; f++) assert_int_equal(next[f], 100);
}

static void flows_share_bytes_alike_whatever_their_packet_sizes(void **state) {
  enum { N_FLOWS = 4 };
  static const uint16_t size[N_FLOWS] = {1500, 700, 200, 64};
  size_t got[N_FLOWS] = {0};
  for (uint16_t f = 0; f < N_FLOWS; f++)
    for (int i = 0; i < 100000 / size[f]; i++) put(f, size[f], 0, 0);
  for (int sum = 0; sum < 200000;) {
    struct pkt *k = fq_get(q, MS);
    got[flow_of(k)] += k->len;
    sum += k->len;
    pool_put(&pool, k);
  }
  /* Two hash buckets may coincide, but not with this seed. */
  for (int f = 0; f < N_FLOWS; f++) assert_in_range(got[f], 47000, 53000);
}

static void a_sparse_packet_waits_at_most_a_quantum(void **state) {
  for (int i = 0; i < 1000; i++) put(1, 1400, 0, 0);
  for (int round = 0; round < 100; round++) {
    size_t bytes_before = 0;
    put(2, 100, 0, MS);
    for (;;) {
      struct pkt *k = fq_get(q, MS);
      bool sparse = flow_of(k) == 2;
      if (!sparse) bytes_before += k->len;
      pool_put(&pool, k);
      if (sparse) break;
    }
    assert_in_range(bytes_before, 0, 2800); /* a quantum, begun packet whole */
    for (int i = 0; i < 5; i++) pool_put(&pool, fq_get(q, MS));
  }
}

static void a_flow_that_keeps_coming_back_as_new_gets_its_share_only(void **s) {
  size_t got[3] = {0}, n_waiting = 1;
  for (int i = 0; i < 1000; i++) put(1, 100, 0, 0);
  put(2, 1400, 0, 0);
  for (int i = 0; i < 500; i++) {
    struct pkt *k = fq_get(q, MS);
    uint16_t f = flow_of(k);
    if (f == 2) n_waiting--;
    /* The next comes once the queue had time to forget the flow. */
    if (f == 1 && !n_waiting) put(2, 1400, 0, MS), n_waiting++;
    got[f] += k->len;
    pool_put(&pool, k);
  }
  assert_true(got[2] <= got[1] + 2 * 1514);
}

/* --- delay: a link that sends a packet per `every`, and a sender that puts
 * them in at `ratio` percent of its speed */

struct run {
  uint64_t now, credit;
  uint64_t worst_wait, n_got, n_marked;
};

static void run_for(struct run *r, uint64_t span, uint64_t every,
                    unsigned percent, uint8_t tos) {
  r->worst_wait = r->n_got = r->n_marked = 0;
  for (uint64_t end = r->now + span; r->now < end; r->now += every) {
    for (r->credit += percent; r->credit >= 100; r->credit -= 100)
      if (pool.n_used < POOL) fq_put(q, packet(1, 1400, tos, 0), SKIP, r->now);
    struct pkt *k = fq_get(q, r->now);
    if (!k) continue;
    if (r->now - k->at > r->worst_wait) r->worst_wait = r->now - k->at;
    r->n_marked += (parsed(k).tos & 3) == 3;
    r->n_got++;
    pool_put(&pool, k);
  }
}

static void a_standing_queue_is_brought_to_the_target(void **state) {
  struct run r = {0};
  for (int i = 0; i < 100; i++) put(1, 1400, 0, 0); /* 100 ms of the link */
  run_for(&r, 100 * MS, MS, 100, 0);
  assert_true(r.worst_wait > 95 * MS);
  run_for(&r, 5 * SEC, MS, 100, 0);
  run_for(&r, 2 * SEC, MS, 100, 0);
  assert_true(r.worst_wait < 8 * MS);
  assert_in_range(r.n_got, 1980, 2000); /* and the link is not left idle */
  assert_in_range(fq_stats(q)->n_codel_drops, 80, 120);
}

static void a_burst_shorter_than_the_interval_is_not_touched(void **state) {
  struct run r = {0};
  for (int i = 0; i < 80; i++) put(1, 1400, 0, 0);
  run_for(&r, 200 * MS, MS, 0, 0);
  assert_int_equal(r.n_got, 80);
  assert_int_equal(fq_stats(q)->n_codel_drops, 0);
}

static void a_short_queue_is_not_touched_ever(void **state) {
  struct run r = {0};
  for (int i = 0; i < 3; i++) put(1, 1400, 0, 0);
  run_for(&r, 10 * SEC, MS, 100, 0);
  assert_int_equal(fq_stats(q)->n_codel_drops, 0);
}

static void the_last_packet_of_a_slow_link_is_not_dropped(void **state) {
  /* It waits for 500 ms each time, but nothing is behind it. */
  for (uint64_t now = 0; now < 20 * SEC; now += 500 * MS) {
    put(1, 1400, 0, now);
    struct pkt *k = fq_get(q, now + 499 * MS);
    assert_non_null(k);
    pool_put(&pool, k);
  }
}

static void drops_come_faster_while_the_queue_stands(void **state) {
  struct run r = {0};
  uint64_t drops[4];
  for (int i = 0; i < 4; i++) {
    run_for(&r, SEC, MS, 120, 0);
    drops[i] = fq_stats(q)->n_codel_drops;
  }
  assert_true(drops[3] - drops[2] > drops[1] - drops[0]);
}

static void ecn_capable_packets_are_marked_and_not_dropped(void **state) {
  struct run r = {0};
  for (int i = 0; i < 100; i++) fq_put(q, packet(1, 1400, 2, 0), SKIP, 0);
  run_for(&r, 3 * SEC, MS, 100, 2);
  assert_int_equal(fq_stats(q)->n_codel_drops, 0);
  assert_int_equal(fq_packets(q), 100);
  assert_int_equal(fq_stats(q)->n_marks, r.n_marked);
  /* 100 / sqrt(n) ms between them: (2.9 s / 200 ms)^2 */
  assert_in_range(r.n_marked, 150, 270);
}

static void one_flows_standing_queue_costs_another_nothing(void **state) {
  uint64_t worst = 0;
  int n = 0;
  for (uint64_t now = 0; now < 3 * SEC; now += MS) {
    put(1, 1400, 0, now);
    put(1, 1400, 0, now);
    if (now % (20 * MS) == 0) put(2, 100, 0, now);
    struct pkt *k = fq_get(q, now);
    if (flow_of(k) == 2) {
      if (now - k->at > worst) worst = now - k->at;
      n++;
    }
    pool_put(&pool, k);
  }
  assert_int_equal(n, 150);
  assert_true(worst <= 3 * MS);
}

/* --- bound */

static void the_bound_holds_and_the_fattest_flow_pays(void **state) {
  use_bound(20000);
  for (uint32_t i = 0; i < 5; i++) put(2, 1000, i, 0);
  for (uint32_t i = 0; i < 100; i++) {
    put(1, 1000, i, 0);
    assert_true(fq_bytes(q) <= 20000);
  }
  assert_int_equal(fq_packets(q), 20);
  assert_int_equal(fq_stats(q)->n_full_drops, 85);
  int n[3] = {0};
  uint32_t first[3] = {UINT32_MAX, UINT32_MAX, UINT32_MAX};
  for (struct pkt *k; (k = fq_get(q, 0)); pool_put(&pool, k)) {
    uint16_t f = flow_of(k);
    n[f]++;
    if (k->tag < first[f]) first[f] = k->tag;
  }
  assert_int_equal(n[2], 5);
  assert_int_equal(n[1], 15);
  assert_int_equal(first[1], 85); /* the oldest went */
}

static void a_packet_beyond_the_bound_costs_no_other(void **state) {
  use_bound(1000);
  put(1, 900, 1, 0);
  put(2, 1001, 2, 0);
  assert_int_equal(fq_packets(q), 1);
  assert_int_equal(pool.n_used, 1);
  put(2, 1000, 3, 0); /* just fits, alone */
  assert_int_equal(fq_packets(q), 1);
}

static void an_empty_pool_is_served_by_shedding(void **state) {
  for (int i = 0; i < POOL; i++) put(i < 9 ? 2 : 1, 100, (uint32_t)i, 0);
  assert_null(pool_get(&pool));
  assert_true(fq_shed(q));
  struct pkt *k = pool_get(&pool);
  assert_non_null(k);
  pool_put(&pool, k);
  for (int i = 0; i < POOL - 20; i++) assert_true(fq_shed(q));
  int sparse = 0; /* of 19 left, the fat flow paid down to its neighbour */
  for (; (k = fq_get(q, 0)); pool_put(&pool, k)) sparse += flow_of(k) == 2;
  assert_int_equal(sparse, 9);
  assert_false(fq_shed(q));
}

static void a_freed_queue_gives_its_packets_back(void **state) {
  struct rng rng = test_rng(&seed);
  struct fq *other = fq_new(&pool, 1 << 20, &rng);
  for (uint16_t f = 0; f < 50; f++)
    fq_put(other, packet(f, 100, 0, 0), SKIP, 0);
  assert_int_equal(pool.n_used, 50);
  fq_free(other);
  assert_int_equal(pool.n_used, 0);
  fq_free(NULL);
}

static void bytes_that_are_no_packet_are_queued_too(void **state) {
  struct pkt *k = pool_get(&pool);
  k->len = 2;
  fq_put(q, k, 5, 0); /* skip beyond the end */
  k = pool_get(&pool);
  k->len = 10;
  memset(pkt_data(k), 0xff, 10);
  fq_put(q, k, 0, 0);
  for (int i = 0; i < 2; i++) {
    assert_non_null(k = fq_get(q, 0));
    pool_put(&pool, k);
  }
}

/* --- move */

static void a_moved_queue_keeps_each_flows_order(void **state) {
  struct rng rng = test_rng(&seed);
  struct fq *from = fq_new(&pool, 1 << 20, &rng);
  for (uint32_t i = 0; i < 20; i++)
    for (uint16_t f = 0; f < 10; f++)
      fq_put(i < 10 ? q : from, packet(f, 200, 0, i), SKIP, 0);
  fq_move(q, from, 9 * SEC);
  assert_int_equal(fq_packets(from), 0);
  assert_int_equal(fq_bytes(from), 0);
  assert_null(fq_get(from, 9 * SEC));
  assert_int_equal(fq_stats(from)->n_out, 100);
  assert_int_equal(fq_packets(q), 200);

  uint32_t next[10] = {0};
  for (struct pkt *k; (k = fq_get(q, 9 * SEC)); pool_put(&pool, k))
    assert_int_equal(k->tag, next[flow_of(k)]++);
  for (int f = 0; f < 10; f++) assert_int_equal(next[f], 20);
  fq_free(from);
}

static void a_moved_queue_is_not_punished_for_its_dead_path(void **state) {
  struct rng rng = test_rng(&seed);
  struct fq *from = fq_new(&pool, 1 << 20, &rng);
  for (int i = 0; i < 50; i++) fq_put(from, packet(1, 1400, 0, 0), SKIP, SEC);
  struct pkt *first = fq_get(from, SEC);
  assert_int_equal(first->at, SEC);
  pool_put(&pool, first);
  fq_move(q, from, 9 * SEC);
  struct run r = {.now = 9 * SEC};
  run_for(&r, 100 * MS, MS, 0, 0);
  assert_int_equal(r.n_got, 49);
  assert_int_equal(r.worst_wait, 48 * MS);
  fq_free(from);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST_WITH(an_empty_queue_gives_nothing, setup, teardown),
      TEST_WITH(packets_come_out_as_they_went_in, setup, teardown),
      TEST_WITH(a_flow_keeps_its_order, setup, teardown),
      TEST_WITH(flows_share_bytes_alike_whatever_their_packet_sizes, setup,
                teardown),
      TEST_WITH(a_sparse_packet_waits_at_most_a_quantum, setup, teardown),
      TEST_WITH(a_flow_that_keeps_coming_back_as_new_gets_its_share_only, setup,
                teardown),
      TEST_WITH(a_standing_queue_is_brought_to_the_target, setup, teardown),
      TEST_WITH(a_burst_shorter_than_the_interval_is_not_touched, setup,
                teardown),
      TEST_WITH(a_short_queue_is_not_touched_ever, setup, teardown),
      TEST_WITH(the_last_packet_of_a_slow_link_is_not_dropped, setup, teardown),
      TEST_WITH(drops_come_faster_while_the_queue_stands, setup, teardown),
      TEST_WITH(ecn_capable_packets_are_marked_and_not_dropped, setup,
                teardown),
      TEST_WITH(one_flows_standing_queue_costs_another_nothing, setup,
                teardown),
      TEST_WITH(the_bound_holds_and_the_fattest_flow_pays, setup, teardown),
      TEST_WITH(a_packet_beyond_the_bound_costs_no_other, setup, teardown),
      TEST_WITH(an_empty_pool_is_served_by_shedding, setup, teardown),
      TEST_WITH(a_freed_queue_gives_its_packets_back, setup, teardown),
      TEST_WITH(bytes_that_are_no_packet_are_queued_too, setup, teardown),
      TEST_WITH(a_moved_queue_keeps_each_flows_order, setup, teardown),
      TEST_WITH(a_moved_queue_is_not_punished_for_its_dead_path, setup,
                teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
