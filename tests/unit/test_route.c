/* test_route.c - what a relay forwards, what it drops, and what it counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <ztna/err.h>

#include "base/time.h"
#include "part/route.h"

enum { SIZE = 1200, MAX_OUT = 2048 };

static void count_up(void *ctx, void *buf, size_t len) {
  uint8_t *n = ctx;
  for (size_t i = 0; i < len; i++) ((uint8_t *)buf)[i] = (*n)++;
}

static uint8_t rng_state;
static const struct rng rng = {.fill = count_up, .ctx = &rng_state};
static struct route_table *table;
static uint8_t bytes[1 << 18];
static struct dgram out[MAX_OUT];
static struct dgram others[MAX_OUT];
static int n_others;

static struct ztna_addr addr(const char *text) {
  struct ztna_addr a;
  assert_int_equal(ztna_addr_parse(&a, text), 0);
  return a;
}

/* Routes differ in their number n: handles, addresses. */
static void fill_handle(uint8_t *h, int n, int end) {
  memset(h, 0x70, ROUTE_HANDLE_LEN);
  h[0] = (uint8_t)n;
  h[1] = (uint8_t)(n >> 8);
  h[7] = (uint8_t)end;
}

static struct ztna_addr end_addr(int n, int end) {
  uint8_t ip[4] = {192, 0, (uint8_t)(2 + n / 200), (uint8_t)(1 + n % 200)};
  return ztna_addr_v4(ip, (uint16_t)(40000 + end));
}

static void route_fill(struct route *r, int n) {
  *r = (struct route){.id = {(uint8_t)n}};
  for (int e = 0; e < 2; e++) {
    fill_handle(r->end[e].handle, n, e);
    r->end[e].remote = end_addr(n, e);
    r->end[e].local = addr(e ? "203.0.113.1:4433" : "203.0.113.2:4433");
  }
}

static void add(struct route *r, int n) {
  route_fill(r, n);
  assert_int_equal(route_add(table, r), 0);
}

static int setup(void **state) {
  n_others = 0;
  table = route_table_new(1000, 0, 0, &rng);
  return table ? 0 : -1;
}

static int teardown(void **state) {
  route_table_free(table);
  return 0;
}

static void use_rate(uint64_t rate, uint64_t burst) {
  route_table_free(table);
  table = route_table_new(1000, rate, burst, &rng);
  assert_non_null(table);
}

static void on_other(void *ud, uint64_t now, const struct dgram *seg) {
  assert_int_equal(now, 7);
  assert_int_equal(seg->len, seg->seg);
  others[n_others++] = *seg;
}

/* A short-header packet for one end of route n. */
static void put_packet(uint8_t *p, int n, int end) {
  p[0] = 0x40;
  fill_handle(p + 1, n, end);
}

/* A batch of `bytes` for the agents' peers (end 1) of the routes in `to`, as if
 * all came from the agent of route `from`; the last segment has last bytes. */
static struct dgram batch(int from, const int *to, int n, uint16_t seg,
                          uint16_t last) {
  memset(bytes, 0, sizeof(bytes));
  for (int i = 0; i < n; i++) put_packet(bytes + i * seg, to[i], 1);
  return (struct dgram){.remote = end_addr(from, 0),
                        .local = addr("203.0.113.2:4433"),
                        .data = bytes,
                        .len = (uint32_t)((n - 1) * seg + last),
                        .seg = seg,
                        .ecn = 2};
}

static struct dgram run_of(int n) {
  static const int zeros[256];
  return batch(0, zeros, n, SIZE, SIZE);
}

static int forward(const struct dgram *d) {
  route_in(table, 7, d, on_other, NULL);
  int n = route_next(table, out, MAX_OUT);
  assert_int_equal(route_next(table, out + n, MAX_OUT - n), 0);
  return n;
}

static uint64_t drops(enum reason r) { return route_stats(table)->drops[r]; }

static void a_packet_reaches_the_other_end_from_the_right_local(void **state) {
  struct route r;
  add(&r, 0);
  struct dgram d = run_of(1);
  assert_int_equal(forward(&d), 1);
  assert_true(ztna_addr_equal(&out[0].remote, &r.end[1].remote));
  assert_true(ztna_addr_equal(&out[0].local, &r.end[1].local));
  assert_ptr_equal(out[0].data, bytes); /* not copied */
  assert_int_equal(out[0].len, SIZE);
  assert_int_equal(out[0].seg, SIZE);
  assert_int_equal(out[0].ecn, 2);
  assert_int_equal(r.end[1].n_packets, 1);
  assert_int_equal(r.end[1].n_bytes, SIZE);
  assert_int_equal(r.end[0].n_packets, 0);
  assert_int_equal(r.last_at, 7);
}

static void both_directions_work(void **state) {
  struct route r;
  add(&r, 0);
  put_packet(bytes, 0, 0);
  struct dgram d = {
      .remote = r.end[1].remote, .data = bytes, .len = 50, .seg = 50};
  assert_int_equal(forward(&d), 1);
  assert_true(ztna_addr_equal(&out[0].remote, &r.end[0].remote));
  assert_int_equal(r.end[0].n_packets, 1);
}

static void a_handshake_packet_finds_its_route_too(void **state) {
  struct route r;
  add(&r, 0);
  struct dgram d = run_of(1);
  bytes[0] = 0xc0;
  memcpy(bytes + 1, (uint8_t[]){0, 0, 0, 1, 16}, 5);
  fill_handle(bytes + 6, 0, 1);
  assert_int_equal(forward(&d), 1);
}

static void a_packet_from_another_source_is_dropped_and_counted(void **state) {
  struct route r;
  add(&r, 0);
  const char *wrong[] = {"192.0.2.1:40001", "192.0.2.2:40000",
                         "[2001:db8::1]:40000"};
  for (int i = 0; i < 3; i++) {
    struct dgram d = run_of(1);
    d.remote = addr(wrong[i]);
    assert_int_equal(forward(&d), 0);
    assert_int_equal(drops(REASON_WRONG_SOURCE), i + 1);
  }
  assert_int_equal(n_others, 0);
  assert_int_equal(r.end[1].n_packets, 0);
}

static void the_receivers_own_address_is_no_right_source(void **state) {
  struct route r;
  add(&r, 0);
  struct dgram d = run_of(1);
  d.remote = r.end[1].remote;
  assert_int_equal(forward(&d), 0);
  assert_int_equal(drops(REASON_WRONG_SOURCE), 1);
}

static void a_mapped_v4_source_is_the_v4_source(void **state) {
  struct route r;
  add(&r, 0);
  struct dgram d = run_of(1);
  uint8_t mapped[16] = {[10] = 0xff, 0xff, 192, 0, 2, 1};
  d.remote = ztna_addr_v6(mapped, 40000, 0);
  assert_int_equal(forward(&d), 1);
  mapped[10] = 0; /* v4-compatible is another address */
  d.remote = ztna_addr_v6(mapped, 40000, 0);
  assert_int_equal(forward(&d), 0);
  assert_int_equal(drops(REASON_WRONG_SOURCE), 1);
}

static void a_v6_route_works(void **state) {
  struct route r;
  route_fill(&r, 0);
  r.end[0].remote = addr("[2001:db8::1]:1");
  r.end[1].remote = addr("[2001:db8::2]:2");
  assert_int_equal(route_add(table, &r), 0);
  struct dgram d = run_of(2);
  d.remote = r.end[0].remote;
  assert_int_equal(forward(&d), 1);
  d.remote = addr("[2001:db9::1]:1");
  assert_int_equal(forward(&d), 0);
}

static void a_receiver_without_address_gets_nothing(void **state) {
  struct route r;
  add(&r, 0);
  r.end[1].remote = (struct ztna_addr){0};
  struct dgram d = run_of(3);
  assert_int_equal(forward(&d), 0);
  assert_int_equal(drops(REASON_ROUTE_UNKNOWN), 3);
}

static void a_sender_without_address_may_not_send(void **state) {
  struct route r;
  add(&r, 0);
  r.end[0].remote = (struct ztna_addr){0};
  struct dgram d = run_of(1);
  assert_int_equal(forward(&d), 0);
  d.remote = (struct ztna_addr){0};
  assert_int_equal(forward(&d), 0);
  assert_int_equal(drops(REASON_WRONG_SOURCE), 2);
}

static void what_came_together_leaves_together(void **state) {
  struct route r;
  add(&r, 0);
  struct dgram d = run_of(50);
  d.len -= 700; /* the last one is shorter */
  assert_int_equal(forward(&d), 1);
  assert_ptr_equal(out[0].data, bytes);
  assert_int_equal(out[0].len, 50 * SIZE - 700);
  assert_int_equal(out[0].seg, SIZE);
  assert_int_equal(r.end[1].n_packets, 50);
  assert_int_equal(r.end[1].n_bytes, 50 * SIZE - 700);
  assert_int_equal(route_stats(table)->n_packets, 50);
  assert_int_equal(route_stats(table)->n_trains, 1);
}

static void a_train_has_at_most_64_segments(void **state) {
  struct route r;
  add(&r, 0);
  int to[200] = {0};
  struct dgram d = batch(0, to, 200, 100, 100);
  assert_int_equal(forward(&d), 4);
  for (int i = 0; i < 4; i++) {
    assert_int_equal(out[i].len, i < 3 ? 6400 : 800);
    assert_ptr_equal(out[i].data, bytes + 6400 * i);
  }
}

static void a_train_has_at_most_65000_bytes(void **state) {
  struct route r;
  add(&r, 0);
  struct dgram d = run_of(64); /* 76800 bytes */
  assert_int_equal(forward(&d), 2);
  assert_int_equal(out[0].len, 54 * SIZE);
  assert_int_equal(out[1].len, 10 * SIZE);
  d.len = d.seg = 65100;
  assert_int_equal(forward(&d), 0);
  assert_int_equal(drops(REASON_PACKET_TOO_BIG), 1);
}

static void mixed_handles_in_one_gro_batch_are_checked_each(void **state) {
  struct route r[3];
  for (int i = 0; i < 3; i++) add(&r[i], i);
  r[2].end[0].remote = r[0].end[0].remote; /* one agent, two connectors */
  struct dgram d = batch(0, (int[]){0, 0, 1, 2, 2, 0, 1, 1, 0}, 9, SIZE, 80);
  assert_int_equal(forward(&d), 4);
  const int first[] = {0, 3, 5, 8}, count[] = {2, 2, 1, 1}, to[] = {0, 2, 0, 0};
  for (int i = 0; i < 4; i++) {
    assert_ptr_equal(out[i].data, bytes + first[i] * SIZE);
    assert_int_equal(out[i].len, i == 3 ? 80 : count[i] * SIZE);
    assert_int_equal(out[i].seg, i == 3 ? 80 : SIZE);
    assert_true(ztna_addr_equal(&out[i].remote, &r[to[i]].end[1].remote));
  }
  assert_int_equal(drops(REASON_WRONG_SOURCE), 3);
}

static void what_is_no_routes_is_passed_on_one_by_one(void **state) {
  struct route r;
  add(&r, 0);
  struct dgram d = batch(0, (int[]){0, 9, 9, 0, 0, 0}, 6, 100, 15);
  bytes[300] = 0x01; /* STUN */
  assert_int_equal(forward(&d), 2);
  assert_ptr_equal(out[0].data, bytes);
  assert_ptr_equal(out[1].data, bytes + 400);
  assert_int_equal(out[1].len, 100);
  assert_int_equal(n_others, 4);
  const int at[] = {100, 200, 300, 500};
  for (int i = 0; i < 4; i++) {
    assert_ptr_equal(others[i].data, bytes + at[i]);
    assert_int_equal(others[i].len, i == 3 ? 15 : 100);
    assert_true(ztna_addr_equal(&others[i].remote, &d.remote));
    assert_true(ztna_addr_equal(&others[i].local, &d.local));
    assert_int_equal(others[i].ecn, 2);
  }
}

static struct route *routes_of_other;
static void on_other_adds(void *ud, uint64_t now, const struct dgram *seg) {
  n_others++;
  add(routes_of_other, 0);
}
static void on_other_deletes(void *ud, uint64_t now, const struct dgram *seg) {
  if (n_others++) return;
  route_del(table, routes_of_other);
  free(routes_of_other);
}

static void a_route_made_within_a_batch_counts_for_the_rest(void **state) {
  struct route r;
  routes_of_other = &r;
  struct dgram d = run_of(4);
  route_in(table, 7, &d, on_other_adds, NULL);
  assert_int_equal(n_others, 1);
  assert_int_equal(route_next(table, out, MAX_OUT), 1);
  assert_int_equal(out[0].len, 3 * SIZE);
}

static void a_route_deleted_within_a_batch_is_not_touched_again(void **state) {
  struct route *r = malloc(sizeof(*r));
  add(r, 0);
  routes_of_other = r;
  struct dgram d = batch(0, (int[]){0, 9, 0}, 3, SIZE, SIZE);
  route_in(table, 7, &d, on_other_deletes, NULL);
  assert_int_equal(n_others, 2);
  assert_int_equal(route_next(table, out, MAX_OUT), 0);
  assert_int_equal(drops(REASON_ROUTE_UNKNOWN), 1);
}

static void deleting_a_route_drops_what_waits_of_it_alone(void **state) {
  struct route *a = malloc(sizeof(*a)), b;
  add(a, 0);
  add(&b, 1);
  b.end[0].remote = a->end[0].remote;
  struct dgram d = batch(0, (int[]){0, 0, 1, 0, 1}, 5, SIZE, SIZE);
  route_in(table, 7, &d, on_other, NULL);
  route_del(table, a);
  free(a);
  assert_int_equal(route_next(table, out, MAX_OUT), 2);
  assert_ptr_equal(out[0].data, bytes + 2 * SIZE);
  assert_ptr_equal(out[1].data, bytes + 4 * SIZE);
  assert_int_equal(drops(REASON_ROUTE_UNKNOWN), 3);
  assert_int_equal(route_stats(table)->n_packets, 2);
  assert_int_equal(route_stats(table)->n_routes, 1);
  assert_int_equal(forward(&d), 2);
  assert_int_equal(n_others, 3);
}

static void an_address_lost_while_packets_wait_drops_them(void **state) {
  struct route r;
  add(&r, 0);
  struct dgram d = run_of(2);
  route_in(table, 7, &d, on_other, NULL);
  r.end[1].remote.family = 0;
  assert_int_equal(route_next(table, out, MAX_OUT), 0);
  assert_int_equal(drops(REASON_ROUTE_UNKNOWN), 2);
}

static void a_validated_new_address_counts_at_once(void **state) {
  struct route r;
  add(&r, 0);
  struct dgram d = run_of(1);
  r.end[1].remote = addr("198.51.100.1:5");
  assert_int_equal(forward(&d), 1);
  assert_true(ztna_addr_equal(&out[0].remote, &r.end[1].remote));
  r.end[0].remote = addr("198.51.100.2:5");
  assert_int_equal(forward(&d), 0);
  d.remote = r.end[0].remote;
  assert_int_equal(forward(&d), 1);
}

static void a_full_queue_drops_and_counts_but_trains_still_grow(void **state) {
  struct route a, b;
  add(&a, 0);
  add(&b, 1);
  b.end[0].remote = a.end[0].remote;
  int to[2] = {0, 1};
  struct dgram d = batch(0, to, 2, SIZE, SIZE);
  for (int i = 0; i < 511; i++) route_in(table, 7, &d, on_other, NULL);
  d = batch(0, (int[]){0, 1, 1, 0}, 4, SIZE, SIZE);
  route_in(table, 7, &d, on_other, NULL);
  assert_int_equal(drops(REASON_RATE_LIMITED), 1);
  assert_int_equal(route_stats(table)->n_overflows, 1);
  assert_int_equal(route_next(table, out, 1000), 1000);
  assert_int_equal(route_next(table, out, 1000), 24);
  assert_int_equal(out[23].len, 2 * SIZE);
  assert_int_equal(forward(&d), 3); /* and then it works again */
}

static void a_route_gets_its_burst_and_then_its_rate(void **state) {
  use_rate(100 * SIZE, 10 * SIZE); /* bytes/s: 100 packets, 10 at once */
  struct route r;
  route_fill(&r, 0);
  r.filled_at = UINT64_MAX; /* of an earlier life */
  assert_int_equal(route_add(table, &r), 0);
  struct dgram d = run_of(50);
  uint64_t now = 5 * SEC;
  route_in(table, now, &d, on_other, NULL);
  assert_int_equal(route_next(table, out, MAX_OUT), 1);
  assert_int_equal(out[0].len, 10 * SIZE);
  assert_int_equal(drops(REASON_RATE_LIMITED), 40);
  d = run_of(1);
  int passed = 0;
  for (int i = 0; i < 3000; i++) { /* 3 s */
    route_in(table, now += MS, &d, on_other, NULL);
    passed += route_next(table, out, MAX_OUT);
  }
  assert_int_equal(passed, 300);
  d = run_of(50); /* years later: no more than the burst */
  route_in(table, now + (UINT64_C(1) << 60), &d, on_other, NULL);
  assert_int_equal(route_next(table, out, MAX_OUT), 1);
  assert_int_equal(out[0].len, 10 * SIZE);
}

static int forward_at(const struct dgram *d, uint64_t now) {
  route_in(table, now, d, on_other, NULL);
  return route_next(table, out, MAX_OUT);
}

/* How many packets of SIZE pass in three seconds, after what passes at once. */
static int passed_by_rate(int *at_once, uint64_t *now) {
  struct dgram d = run_of(1);
  int passed = 0;
  for (*at_once = 0; forward_at(&d, *now) == 1 && *at_once < 10000;) ++*at_once;
  for (int i = 0; i < 3000; i++) passed += forward_at(&d, *now += MS);
  return passed;
}

static void a_route_may_have_a_lower_rate_of_its_own(void **state) {
  int at_once;
  uint64_t now = 5 * SEC;
  struct route r;
  use_rate(100 * SIZE, 1 << 20);
  add(&r, 0);
  route_limit(table, &r, 50 * SIZE, now);
  assert_int_equal(passed_by_rate(&at_once, &now), 150);
  assert_int_equal(at_once, (16 << 10) / SIZE);
  route_limit(table, &r, 50 * SIZE, now); /* fills nothing */
  assert_int_equal(passed_by_rate(&at_once, &now), 150);
  assert_int_equal(at_once, 0);
  route_limit(table, &r, 200 * SIZE, now); /* the table's is less */
  assert_int_equal(passed_by_rate(&at_once, &now), 300);
  route_limit(table, &r, 50 * SIZE, now);
  route_limit(table, &r, 0, now);
  assert_int_equal(passed_by_rate(&at_once, &now), 300);
}

static void a_route_may_have_a_rate_where_others_have_none(void **state) {
  int at_once;
  uint64_t now = 5 * SEC;
  struct route r;
  use_rate(0, 0);
  add(&r, 0);
  passed_by_rate(&at_once, &now);
  assert_int_equal(at_once, 10000);
  route_limit(table, &r, UINT64_C(1) << 20, now);
  assert_in_range(passed_by_rate(&at_once, &now), 2620, 2622); /* of 3 MiB */
  assert_int_equal(at_once, (16 << 10) / SIZE);
  now += 60 * SEC;
  passed_by_rate(&at_once, &now);
  assert_int_equal(at_once, (256 << 10) / SIZE);
  route_limit(table, &r, 0, now);
  passed_by_rate(&at_once, &now);
  assert_int_equal(at_once, 10000);
}

static void slow_rates_lose_nothing_to_rounding(void **state) {
  use_rate(1000, 100);
  struct route r;
  add(&r, 0);
  struct dgram d = run_of(1);
  d.len = d.seg = 100;
  int passed = 0;
  for (uint64_t now = 1; now < 10 * SEC; now += 7777) {
    route_in(table, now, &d, on_other, NULL);
    passed += route_next(table, out, MAX_OUT);
  }
  assert_in_range(passed, 99, 101);
}

static void routes_do_not_share_tokens_but_directions_do(void **state) {
  use_rate(1, 3 * SIZE);
  struct route a, b;
  add(&a, 0);
  add(&b, 1);
  b.end[0].remote = a.end[0].remote;
  struct dgram d = batch(0, (int[]){0, 1, 0, 1}, 4, SIZE, SIZE);
  assert_int_equal(forward(&d), 4);
  put_packet(bytes, 0, 0);
  put_packet(bytes + SIZE, 0, 0);
  struct dgram back = {
      .remote = a.end[1].remote, .data = bytes, .len = 2 * SIZE, .seg = SIZE};
  assert_int_equal(forward(&back), 1);
  assert_int_equal(out[0].len, SIZE);
}

static void a_smaller_packet_may_pass_where_a_larger_did_not(void **state) {
  use_rate(1, SIZE + 100);
  struct route r;
  add(&r, 0);
  struct dgram d = run_of(3);
  d.len -= SIZE - 100;
  assert_int_equal(forward(&d), 2);
  assert_int_equal(out[1].len, 100);
  assert_ptr_equal(out[1].data, bytes + 2 * SIZE);
}

static void a_handle_in_use_is_refused_and_nothing_stays(void **state) {
  struct route a, b;
  add(&a, 0);
  route_fill(&b, 1);
  memcpy(b.end[1].handle, a.end[0].handle, ROUTE_HANDLE_LEN);
  assert_int_equal(route_add(table, &b), ZTNA_EEXIST);
  assert_null(route_find(table, b.end[0].handle));
  assert_ptr_equal(route_find(table, a.end[0].handle), &a.end[0]);
  route_del(table, &b); /* not in the table: nobody else's handle goes */
  assert_ptr_equal(route_find(table, a.end[0].handle), &a.end[0]);
  route_fill(&b, 1);
  memcpy(b.end[1].handle, b.end[0].handle, ROUTE_HANDLE_LEN);
  assert_int_equal(route_add(table, &b), ZTNA_EEXIST);
  assert_int_equal(route_stats(table)->n_routes, 1);
}

static void the_table_is_bounded(void **state) {
  static struct route r[1001];
  for (int i = 0; i < 1000; i++) add(&r[i], i);
  route_fill(&r[1000], 1000);
  assert_int_equal(route_add(table, &r[1000]), ZTNA_EFULL);
  route_del(table, &r[500]);
  route_del(table, &r[500]);
  assert_int_equal(route_stats(table)->n_routes, 999);
  assert_int_equal(route_add(table, &r[1000]), 0);
  for (int i = 0; i <= 1000; i++)
    for (int e = 0; e < 2; e++)
      assert_ptr_equal(route_find(table, r[i].end[e].handle),
                       i == 500 ? NULL : &r[i].end[e]);
}

static void a_deleted_handle_can_be_given_again(void **state) {
  struct route a, b;
  add(&a, 0);
  route_del(table, &a);
  add(&b, 0);
  struct dgram d = run_of(1);
  assert_int_equal(forward(&d), 1);
  assert_int_equal(b.end[1].n_packets, 1);
}

static void draining_in_small_steps_keeps_the_order(void **state) {
  struct route a, b;
  add(&a, 0);
  add(&b, 1);
  b.end[0].remote = a.end[0].remote;
  struct dgram d = batch(0, (int[]){0, 1, 0, 1, 0}, 5, SIZE, SIZE);
  for (int round = 0; round < 1000; round++) { /* around the ring */
    route_in(table, 7, &d, on_other, NULL);
    for (int i = 0; i < 5; i++) {
      assert_int_equal(route_next(table, out, 1), 1);
      assert_ptr_equal(out[0].data, bytes + i * SIZE);
    }
    assert_int_equal(route_next(table, out, 1), 0);
  }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_packet_reaches_the_other_end_from_the_right_local),
      TEST(both_directions_work),
      TEST(a_handshake_packet_finds_its_route_too),
      TEST(a_packet_from_another_source_is_dropped_and_counted),
      TEST(the_receivers_own_address_is_no_right_source),
      TEST(a_mapped_v4_source_is_the_v4_source),
      TEST(a_v6_route_works),
      TEST(a_receiver_without_address_gets_nothing),
      TEST(a_sender_without_address_may_not_send),
      TEST(what_came_together_leaves_together),
      TEST(a_train_has_at_most_64_segments),
      TEST(a_train_has_at_most_65000_bytes),
      TEST(mixed_handles_in_one_gro_batch_are_checked_each),
      TEST(what_is_no_routes_is_passed_on_one_by_one),
      TEST(a_route_made_within_a_batch_counts_for_the_rest),
      TEST(a_route_deleted_within_a_batch_is_not_touched_again),
      TEST(deleting_a_route_drops_what_waits_of_it_alone),
      TEST(an_address_lost_while_packets_wait_drops_them),
      TEST(a_validated_new_address_counts_at_once),
      TEST(a_full_queue_drops_and_counts_but_trains_still_grow),
      TEST(a_route_gets_its_burst_and_then_its_rate),
      TEST(a_route_may_have_a_lower_rate_of_its_own),
      TEST(a_route_may_have_a_rate_where_others_have_none),
      TEST(slow_rates_lose_nothing_to_rounding),
      TEST(routes_do_not_share_tokens_but_directions_do),
      TEST(a_smaller_packet_may_pass_where_a_larger_did_not),
      TEST(a_handle_in_use_is_refused_and_nothing_stays),
      TEST(the_table_is_bounded),
      TEST(a_deleted_handle_can_be_given_again),
      TEST(draining_in_small_steps_keeps_the_order),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
