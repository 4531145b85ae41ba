/* test_uso.c - UDP packets that wait together become one super-packet, and cut
 * again they are what they were. */
#include "unit.h"

#include "codec/ip.h"
#include "part/uso.h"

enum { CAP = 1 << 20, ROOM = 2048 };

static struct ipq q;

static int setup(void **state) { return ipq_init(&q, CAP); }

static int teardown(void **state) {
  ipq_done(&q);
  return 0;
}

struct flow {
  const char *from, *to;
  uint8_t tos;
};

static const struct flow a4 = {"10.100.0.2:53", "100.64.0.9:4000", 0};
static const struct flow a6 = {"[fd5a:10::2]:53", "[fd5a:64::9]:4000", 0};

/* The n-th packet of this flow, as it came from the link. */
static size_t make(uint8_t *b, const struct flow *f, unsigned n, size_t len) {
  struct ztna_addr src = test_addr(f->from), dst = test_addr(f->to);
  uint8_t data[ROOM];
  int rc;

  for (size_t i = 0; i < len; i++) data[i] = (uint8_t)(n * 31 + i);
  rc = ip_build_udp(b, ROOM, &src, &dst, f->tos, data, len);
  assert_true(rc > 0);
  return (size_t)rc;
}

static bool join(const uint8_t *b, size_t len) {
  struct ip_pkt p;

  assert_int_equal(ip_parse(&p, b, len), 0);
  return uso_join(&q, &p);
}

/* Whether it joined those before. */
static bool put(const struct flow *f, unsigned n, size_t len) {
  uint8_t b[ROOM], *room;
  size_t total = make(b, f, n, len);

  if (join(b, total)) return true;
  room = ipq_room(&q, total);
  assert_non_null(room);
  memcpy(room, b, total);
  ipq_push(&q, total, 0, false);
  return false;
}

/* The oldest stands for these packets of the flow. */
static void holds(const struct flow *f, unsigned from, unsigned n, size_t size,
                  size_t last) {
  uint8_t want[ROOM], got[ROOM];
  struct ipq_pkt k;
  struct ip_pkt p;

  assert_true(ipq_pop(&q, &k));
  if (n == 1) {
    assert_int_equal(k.gso_size, 0);
    assert_int_equal(k.len, make(want, f, from, last));
    assert_memory_equal(k.data, want, k.len);
    return;
  }
  assert_int_equal(k.gso_size, size);
  assert_true(k.partial);
  uso_finish(&k);
  assert_int_equal(ip_parse_partial(&p, k.data, k.len), 0);
  assert_int_equal(p.payload_len, (n - 1) * size + last);
  for (unsigned i = 0; i < n; i++) {
    size_t len = make(want, f, from + i, i < n - 1 ? size : last);

    assert_int_equal(ip_build_segment(got, ROOM, &p, size, i), len);
    if (p.version == 4) { /* counted up by who cuts, with it the header's sum */
      memcpy(got + 4, want + 4, 2);
      memcpy(got + 10, want + 10, 2);
    }
    assert_memory_equal(got, want, len);
  }
}

static void packets_of_one_flow_and_size_are_one(void **state) {
  for (unsigned i = 0; i < 20; i++) assert_int_equal(put(&a4, i, 1200), i > 0);
  holds(&a4, 0, 20, 1200, 1200);
  for (unsigned i = 0; i < 20; i++) assert_int_equal(put(&a6, i, 1200), i > 0);
  holds(&a6, 0, 20, 1200, 1200);
  assert_int_equal(q.n, 0);
}

/* What its kernel wants to find where the checksum will be (RFC 1624): added
 * to the sum of the rest it gives the checksum. */
static void the_kernel_finds_the_sum_of_the_pseudo_header(void **state) {
  struct ipq_pkt k;
  struct ip_pkt p;
  uint16_t sum;

  put(&a6, 0, 100);
  put(&a6, 1, 100);
  assert_true(ipq_pop(&q, &k));
  uso_finish(&k);
  sum = ip_checksum_finish(ip_checksum_add(0, k.data + 40, k.len - 40));
  k.data[46] = (uint8_t)(sum >> 8);
  k.data[47] = (uint8_t)sum;
  assert_int_equal(ip_parse(&p, k.data, k.len), 0);
}

static void a_smaller_one_is_the_last(void **state) {
  put(&a4, 0, 1000);
  assert_true(put(&a4, 1, 1000));
  assert_true(put(&a4, 2, 7));
  assert_false(put(&a4, 3, 7));
  assert_true(put(&a4, 4, 7));
  assert_false(put(&a4, 5, 8));
  holds(&a4, 0, 3, 1000, 7);
  holds(&a4, 3, 2, 7, 7);
  holds(&a4, 5, 1, 8, 8);
}

static void an_empty_one_is_alone(void **state) {
  put(&a4, 0, 0);
  assert_false(put(&a4, 1, 0));
  assert_false(put(&a4, 2, 10));
  assert_false(put(&a4, 3, 0));
  holds(&a4, 0, 1, 0, 0);
}

static void flows_do_not_mix(void **state) {
  static const struct flow others[] = {
      {"10.100.0.2:54", "100.64.0.9:4000", 0},
      {"10.100.0.2:53", "100.64.0.9:4001", 0},
      {"10.100.0.3:53", "100.64.0.9:4000", 0},
      {"10.100.0.2:53", "100.64.0.8:4000", 0},
      {"10.100.0.2:53", "100.64.0.9:4000", 3}, /* congestion experienced */
      {"[fd5a:10::2]:53", "[fd5a:64::9]:4000", 0},
      {"[fd5a:10::3]:53", "[fd5a:64::9]:4000", 0},
      {"[fd5a:10::3]:53", "[fd5a:64::9]:4000", 4},
      {"[fd5a:10::3]:53", "[fd5a:64::9]:4001", 4},
  };

  put(&a4, 0, 100);
  for (unsigned i = 0; i < N_OF(others); i++)
    assert_false(put(&others[i], i, 100));
  holds(&a4, 0, 1, 0, 100);
  for (unsigned i = 0; i < N_OF(others); i++) holds(&others[i], i, 1, 0, 100);
}

/* Order is kept: it joins the newest or none. */
static void one_of_another_flow_comes_between(void **state) {
  put(&a4, 0, 100);
  put(&a6, 1, 100);
  assert_false(put(&a4, 2, 100));
  holds(&a4, 0, 1, 0, 100);
  holds(&a6, 1, 1, 0, 100);
  holds(&a4, 2, 1, 0, 100);
}

static void no_more_are_joined_than_kernels_take(void **state) {
  for (unsigned i = 0; i < 65; i++)
    assert_int_equal(put(&a4, i, 10), i > 0 && i < 64);
  holds(&a4, 0, 64, 10, 10);
  holds(&a4, 64, 1, 0, 10);
  for (unsigned i = 0; i < 60; i++) put(&a4, i, 1400);
  holds(&a4, 0, 46, 1400, 1400); /* 65535 bytes */
  holds(&a4, 46, 14, 1400, 1400);
}

/* Its fields say that it may be a piece, or has something between headers. */
static void what_may_be_fragmented_or_has_options_is_alone(void **state) {
  static uint8_t frag[] = {0x45, 0, 0,    0x1e, 0, 0,    0,    0,    0x40, 0x11,
                           0,    0, 0x0a, 0x64, 0, 0x02, 0x64, 0x40, 0,    9,
                           0,    7, 0,    9,    0, 10,   0,    0,    'h',  'i'};
  uint16_t sum = ip_checksum_finish(ip_checksum_add(0, frag, 20));
  uint8_t *room;

  frag[10] = (uint8_t)(sum >> 8);
  frag[11] = (uint8_t)sum;
  for (int i = 0; i < 2; i++) {
    assert_false(join(frag, sizeof(frag)));
    room = ipq_room(&q, sizeof(frag));
    memcpy(room, frag, sizeof(frag));
    ipq_push(&q, sizeof(frag), 0, false);
  }
  assert_int_equal(q.n, 2);
}

/* What waits may be anything, of any length: nothing beyond it is read. */
static void a_short_newest_is_no_partner(void **state) {
  uint8_t b[ROOM];
  size_t total = make(b, &a6, 1, 5);

  for (size_t len = 1; len < 48; len++) {
    uint8_t *room = ipq_room(&q, len);

    memcpy(room, b, len);
    ipq_push(&q, len, 0, false);
    assert_false(join(b, total));
  }
}

#define WITH(f) TEST_WITH(f, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      WITH(packets_of_one_flow_and_size_are_one),
      WITH(the_kernel_finds_the_sum_of_the_pseudo_header),
      WITH(a_smaller_one_is_the_last),
      WITH(an_empty_one_is_alone),
      WITH(flows_do_not_mix),
      WITH(one_of_another_flow_comes_between),
      WITH(no_more_are_joined_than_kernels_take),
      WITH(what_may_be_fragmented_or_has_options_is_alone),
      WITH(a_short_newest_is_no_partner),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
