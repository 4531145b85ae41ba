/* test_ipq.c - packets that wait for the TUN, in a ring of bytes. */
#include "unit.h"

#include <unistd.h>

#include "part/ipq.h"

enum { NOTE = 8 };

static struct ipq q;

static void make(size_t cap) { assert_int_equal(ipq_init(&q, cap), 0); }

static int teardown(void **state) {
  ipq_done(&q);
  return 0;
}

/* Every byte of a packet tells which packet it is. */
static uint8_t byte_of(unsigned id, size_t i) {
  return (uint8_t)(id * 31 + i * 7 + (i >> 8));
}

static bool put(unsigned id, size_t len) {
  uint8_t *p = ipq_room(&q, len);

  if (!p) return false;
  for (size_t i = 0; i < len; i++) p[i] = byte_of(id, i);
  ipq_push(&q, len, (uint16_t)id, id & 1);
  return true;
}

static void expect(unsigned id, size_t len) {
  struct ipq_pkt k;

  assert_true(ipq_pop(&q, &k));
  assert_int_equal(k.len, len);
  assert_int_equal(k.gso_size, (uint16_t)id);
  assert_int_equal(k.partial, id & 1);
  for (size_t i = 0; i < len; i++)
    if (k.data[i] != byte_of(id, i)) fail_msg("packet %u byte %zu", id, i);
}

static void empty(void) {
  struct ipq_pkt k;

  assert_false(ipq_pop(&q, &k));
  assert_int_equal(q.n, 0);
}

static void packets_come_out_in_order_and_whole(void **state) {
  make(1 << 20);
  assert_true(put(1, 40));
  assert_true(put(2, IPQ_MAX));
  assert_true(put(3, 1));
  expect(1, 40);
  expect(2, IPQ_MAX);
  expect(3, 1);
  empty();
}

static void a_packet_may_be_shorter_than_its_room(void **state) {
  uint8_t *p;

  make(1024);
  p = ipq_room(&q, 900);
  assert_non_null(p);
  for (size_t i = 0; i < 10; i++) p[i] = byte_of(4, i);
  ipq_push(&q, 10, 4, false);
  assert_true(put(5, 900));
  expect(4, 10);
  expect(5, 900);
}

static void room_that_is_not_pushed_is_no_packet(void **state) {
  make(256);
  assert_true(put(1, 100));
  assert_true(put(2, 100));
  expect(1, 100);
  assert_non_null(ipq_room(&q, 90)); /* in front of the oldest */
  expect(2, 100);
  empty();
  assert_true(put(3, 248));
  expect(3, 248);
}

static void a_full_ring_takes_nothing_and_loses_nothing(void **state) {
  make(10 * (NOTE + 24));
  for (unsigned i = 0; i < 10; i++) assert_true(put(i, 24));
  assert_int_equal(ipq_free(&q), 0);
  assert_false(put(99, 1));
  expect(0, 24);
  assert_int_equal(ipq_free(&q), 24);
  assert_false(put(99, 25));
  assert_true(put(10, 24)); /* full again, begun anew at the ring's start */
  assert_false(put(99, 1));
  for (unsigned i = 1; i <= 10; i++) expect(i, 24);
  empty();
}

static void a_packet_past_an_ip_packets_size_has_no_room(void **state) {
  make(1 << 20);
  assert_int_equal(ipq_free(&q), IPQ_MAX);
  assert_non_null(ipq_room(&q, IPQ_MAX));
  assert_null(ipq_room(&q, IPQ_MAX + 1));
  assert_null(ipq_room(&q, SIZE_MAX));
}

static void free_says_what_room_gives(void) {
  size_t n = ipq_free(&q);

  if (n) assert_non_null(ipq_room(&q, n));
  if (n < IPQ_MAX) assert_null(ipq_room(&q, n + 1));
}

static bool grow(unsigned id, size_t from, size_t len) {
  uint8_t more[1024];

  for (size_t i = 0; i < len; i++) more[i] = byte_of(id, from + i);
  return ipq_grow(&q, more, len, (uint16_t)id);
}

static void the_newest_packet_grows(void **state) {
  struct ipq_pkt k;

  make(1024);
  assert_false(ipq_newest(&q, &k));
  assert_false(grow(1, 0, 1));
  assert_true(put(1, 101));
  assert_true(put(3, 100));
  assert_true(grow(3, 100, 3)); /* no more than the rounding left */
  assert_true(grow(3, 103, 99));
  assert_true(ipq_newest(&q, &k));
  assert_int_equal(k.len, 202);
  assert_true(put(5, 7));
  expect(1, 101);
  expect(3, 202);
  assert_true(grow(5, 7, 681));
  assert_false(grow(5, 688, 1));
  expect(5, 688);
  assert_false(grow(5, 0, 1));
  empty();
}

static void a_packet_grows_up_to_the_oldest_and_to_its_largest_size(void **s) {
  static const uint8_t more[IPQ_MAX];

  make(256);
  assert_true(put(1, 88)); /* 96 */
  assert_true(put(2, 88)); /* 192 */
  expect(1, 88);
  assert_true(put(3, 60)); /* at the start, in 72 of 96 */
  assert_false(grow(3, 60, 29));
  assert_true(grow(3, 60, 28));
  assert_int_equal(ipq_free(&q), 0);
  expect(2, 88);
  expect(3, 88);
  ipq_done(&q);
  make(1 << 20);
  assert_true(put(1, 60000));
  assert_false(ipq_grow(&q, more, IPQ_MAX - 60000 + 1, 1));
  assert_true(ipq_grow(&q, more, IPQ_MAX - 60000, 1));
}

/* From this offset on: packets of random sizes in and out, so that the seam
 * falls into every place of a packet. */
static void run_from(size_t offset, uint64_t seed) {
  static size_t lens[64];
  unsigned in = 0, out = 0;

  make(1024);
  assert_true(put(in, offset + 1));
  lens[in++ % 64] = offset + 1;
  for (int i = 0; i < 400; i++) {
    size_t len = 1 + test_random(&seed) % (test_random(&seed) % 4 ? 90 : 700);

    free_says_what_room_gives();
    if (in != out && (in - 1) & 1 && test_random(&seed) % 3 == 0) {
      if (grow(in - 1, lens[(in - 1) % 64], len % 200))
        lens[(in - 1) % 64] += len % 200;
    } else if (test_random(&seed) % 2 && in - out < 64 && put(in, len))
      lens[in++ % 64] = len;
    else if (in != out)
      expect(out, lens[out % 64]), out++;
    assert_int_equal(q.n, in - out);
  }
  for (; in != out; out++) expect(out, lens[out % 64]);
  empty();
  ipq_done(&q);
}

static void any_sizes_pass_the_seam_at_every_offset(void **state) {
  for (size_t offset = 0; offset < 1000; offset++)
    for (uint64_t seed = 1; seed <= 8; seed++)
      run_from(offset, seed * 1000 + offset);
}

/* Who waits for room gets it when all was fetched, whatever was there. */
static void an_emptied_ring_has_all_its_room(void **state) {
  make(70000);
  for (unsigned i = 0; i < 50; i++) {
    assert_true(put(2 * i, 100 + i));
    assert_true(put(2 * i + 1, 60000));
    expect(2 * i, 100 + i);
    expect(2 * i + 1, 60000);
    assert_int_equal(ipq_free(&q), IPQ_MAX);
  }
}

static long resident(void) {
  long pages = 0;
  FILE *f = fopen("/proc/self/statm", "r");

  if (!f || fscanf(f, "%*s %ld", &pages) != 1) pages = -1;
  if (f) fclose(f);
  return pages * sysconf(_SC_PAGESIZE);
}

static void memory_is_touched_only_when_packets_wait(void **state) {
  long before = resident();

  if (before < 0) skip();
  make(64 << 20);
  for (unsigned i = 0; i < 2000; i++) {
    assert_true(put(i, 60000));
    expect(i, 60000);
  }
  assert_true(resident() - before < 8 << 20);
}

#define RING(f) TEST_WITH(f, NULL, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      RING(packets_come_out_in_order_and_whole),
      RING(a_packet_may_be_shorter_than_its_room),
      RING(room_that_is_not_pushed_is_no_packet),
      RING(a_full_ring_takes_nothing_and_loses_nothing),
      RING(a_packet_past_an_ip_packets_size_has_no_room),
      RING(the_newest_packet_grows),
      RING(a_packet_grows_up_to_the_oldest_and_to_its_largest_size),
      RING(any_sizes_pass_the_seam_at_every_offset),
      RING(an_emptied_ring_has_all_its_room),
      RING(memory_is_touched_only_when_packets_wait),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
