/* test_reass.c - fragments put together: in any order, within every bound, and
 * never when two of them disagree. */
#include "unit.h"

#include "base/time.h"
#include "part/reass.h"
#include "unit/ip_samples.h"

enum { ROOM = 66000 };

static struct reass *r;
static const uint8_t *whole;

static int setup(void **state) {
  r = reass_new(1 << 20);
  return r ? 0 : -1;
}

static int teardown(void **state) {
  reass_free(r);
  return 0;
}

static void use_bound(size_t max_bytes) {
  reass_free(r);
  r = reass_new(max_bytes);
  assert_non_null(r);
}

/* --- fragments of our own making */

struct frag {
  int version;
  uint32_t id;
  uint32_t off, len; /* of the payload of the whole packet; off % 8 == 0 */
  bool more;
  uint8_t ecn;
  uint8_t host; /* last byte of the source */
};

/* The whole packet that they are of: UDP with a right checksum. */
static uint8_t original[ROOM];
static int original_len;

static void make_original(int version, size_t payload_len) {
  static uint8_t payload[ROOM];
  struct ztna_addr src = test_addr(version == 4 ? "10.0.0.1:5" : "[fd00::1]:5"),
                   dst = test_addr(version == 4 ? "10.0.0.2:6" : "[fd00::2]:6");
  for (size_t i = 0; i < payload_len; i++) payload[i] = (uint8_t)(i * 7 / 3);
  original_len =
      ip_build_udp(original, ROOM, &src, &dst, 0, payload, payload_len);
  assert_true(original_len > 0);
  if (version == 4) original[6] = 0; /* not DF */
}

static void mend_header4(uint8_t *b, uint16_t header_len) {
  b[10] = b[11] = 0;
  uint16_t sum = ip_checksum_finish(ip_checksum_add(0, b, header_len));
  b[10] = (uint8_t)(sum >> 8);
  b[11] = (uint8_t)sum;
}

static size_t frag4(uint8_t *b, const struct frag *f) {
  size_t len = 20 + f->len;
  memcpy(b, original, 20);
  b[1] = f->ecn;
  b[2] = (uint8_t)(len >> 8), b[3] = (uint8_t)len;
  b[4] = (uint8_t)(f->id >> 8), b[5] = (uint8_t)f->id;
  b[6] = (uint8_t)(f->off / 8 >> 8 | (f->more ? 0x20 : 0));
  b[7] = (uint8_t)(f->off / 8);
  b[15] = f->host ? f->host : b[15];
  mend_header4(b, 20);
  memcpy(b + 20, original + 20 + f->off, f->len);
  return len;
}

static size_t frag6(uint8_t *b, const struct frag *f) {
  size_t len = 8 + f->len;
  memcpy(b, original, 40);
  b[1] = (uint8_t)(f->ecn << 4);
  b[4] = (uint8_t)(len >> 8), b[5] = (uint8_t)len;
  b[6] = 44;
  b[23] = f->host ? f->host : b[23];
  b[40] = 17, b[41] = 0;
  b[42] = (uint8_t)(f->off >> 8), b[43] = (uint8_t)(f->off | f->more);
  for (int i = 0; i < 4; i++) b[44 + i] = (uint8_t)(f->id >> (24 - 8 * i));
  memcpy(b + 48, original + 40 + f->off, f->len);
  return 40 + len;
}

/* From an allocation of the right size. */
static int put_bytes(const uint8_t *data, size_t len, uint64_t now) {
  struct ip_pkt p;
  uint8_t *copy = malloc(len);
  memcpy(copy, data, len);
  assert_int_equal(ip_parse(&p, copy, len), 0);
  int rc = reass_put(r, &p, copy, now, &whole);
  free(copy);
  return rc;
}

static int put(struct frag f, uint64_t now) {
  static uint8_t b[ROOM];
  size_t len = f.version == 4 ? frag4(b, &f) : frag6(b, &f);
  return put_bytes(b, len, now);
}

static int put4(uint32_t id, uint32_t off, uint32_t len, bool more) {
  return put((struct frag){4, id, off, len, more, 0, 0}, 0);
}

/* What came out is the original, but for the identification. */
static void assert_is_original(int len) {
  struct ip_pkt p;
  assert_int_equal(len, original_len);
  assert_int_equal(ip_parse(&p, whole, (size_t)len), 0);
  assert_int_equal(p.kind, IP_UDP);
  assert_memory_equal(p.payload - 8, original + (p.version == 4 ? 20 : 40),
                      p.payload_len + 8);
}

/* --- */

static void two_fragments_make_the_packet_in_either_order(void **state) {
  static const struct ip_sample v[][2] = {
      {SAMPLE(frag4_first), SAMPLE(frag4_last)},
      {SAMPLE(frag6_first), SAMPLE(frag6_last)},
  };
  for (int i = 0; i < 4; i++) {
    const struct ip_sample *a = &v[i / 2][i % 2], *b = &v[i / 2][1 - i % 2];
    assert_int_equal(put_bytes(a->data, a->len, 0), 0);
    int len = put_bytes(b->data, b->len, 0);
    struct ip_pkt p;
    assert_int_equal(ip_parse(&p, whole, (size_t)len), 0);
    assert_int_equal(p.kind, IP_UDP); /* so its checksum is right: scapy's */
    assert_int_equal(p.src.port, 40000);
    assert_int_equal(p.payload_len, 40);
    for (int j = 0; j < 40; j++) assert_int_equal(p.payload[j], j);
  }
}

static void a_whole_packet_in_a_fragment_header_is_unwrapped(void **state) {
  struct ip_pkt p;
  int len = put_bytes(atomic6, sizeof(atomic6), 0);
  assert_int_equal(len, sizeof(atomic6) - 8);
  assert_int_equal(ip_parse(&p, whole, (size_t)len), 0);
  assert_int_equal(p.kind, IP_UDP);
  assert_int_equal(p.payload_len, 40);
}

static void an_unwrapped_packet_disturbs_no_other_of_its_number(void **state) {
  uint8_t b[sizeof(atomic6)];
  memcpy(b, atomic6, sizeof(b));
  memcpy(b + 44, "\xde\xad\xbe\xef", 4);
  assert_int_equal(put_bytes(frag6_first, sizeof(frag6_first), 0), 0);
  assert_true(put_bytes(b, sizeof(b), 0) > 0);
  assert_true(put_bytes(frag6_last, sizeof(frag6_last), 0) > 0);
}

static void fragments_in_any_order_make_the_packet(void **state) {
  enum { N = 12, PIECE = 1480 };
  uint64_t seed = 7;
  for (int round = 0; round < 50; round++) {
    int version = round % 2 ? 6 : 4, order[N];
    make_original(version, N * PIECE - 8 - (size_t)round);
    int payload = original_len - (version == 4 ? 20 : 40);
    for (int i = 0; i < N; i++) order[i] = i;
    for (int i = N - 1; i > 0; i--) {
      int j = (int)((test_random(&seed) >> 33) % (uint64_t)(i + 1));
      int t = order[i];
      order[i] = order[j];
      order[j] = t;
    }
    for (int i = 0; i < N; i++) {
      uint32_t off = (uint32_t)order[i] * PIECE;
      bool last = order[i] == N - 1;
      int rc = put((struct frag){version, (uint32_t)round, off,
                                 last ? (uint32_t)payload - off : PIECE, !last,
                                 0, 0},
                   0);
      if (i < N - 1)
        assert_int_equal(rc, 0);
      else
        assert_is_original(rc);
    }
  }
}

static void the_mended_header_has_no_trace_of_fragments(void **state) {
  make_original(4, 100);
  put4(9, 0, 56, true);
  int len = put4(9, 56, 52, false);
  assert_is_original(len);
  assert_memory_equal(whole + 6, "\0\0", 2);
  make_original(6, 100);
  put((struct frag){6, 9, 0, 56, true, 0, 0}, 0);
  len = put((struct frag){6, 9, 56, 52, false, 0, 0}, 0);
  assert_memory_equal(whole, original, (size_t)original_len);
}

static void the_largest_packet_is_65535_bytes(void **state) {
  make_original(4, 65507);
  for (uint32_t off = 0; off < 65515; off += 1480) {
    uint32_t left = 65515 - off;
    int rc = put4(1, off, left > 1480 ? 1480 : left, left > 1480);
    if (left > 1480)
      assert_int_equal(rc, 0);
    else
      assert_is_original(rc);
  }
}

/* Room for 65515 behind 20 bytes of header, but the first has 24. */
static void a_packet_too_long_with_its_options_is_dropped(void **state) {
  uint8_t b[24 + 64];
  make_original(4, 65507);
  for (uint32_t off = 64; off < 65515; off += 1480) {
    uint32_t left = 65515 - off;
    assert_int_equal(put4(1, off, left > 1480 ? 1480 : left, left > 1480), 0);
  }
  frag4(b, &(struct frag){4, 1, 0, 64, true, 0, 0});
  memmove(b + 24, b + 20, 64);
  memset(b + 20, 1, 4);
  b[0] = 0x46;
  b[3] = sizeof(b);
  mend_header4(b, 24);
  assert_int_equal(put_bytes(b, sizeof(b), 0), ZTNA_EMALFORMED);
}

/* --- disagreement */

static void an_overlap_drops_the_packet_and_what_follows(void **state) {
  static const struct {
    uint32_t off, len;
    bool more;
  } bad[] = {
      {0, 64, true},  {0, 8, true},  {56, 16, true}, {56, 8, false},
      {0, 128, true}, {8, 48, true}, {32, 8, true},  {8, 52, false},
  };
  make_original(4, 300);
  for (uint32_t i = 0; i < N_OF(bad); i++) {
    assert_int_equal(put4(i, 0, 64, true), 0);
    assert_int_equal(put4(i, bad[i].off, bad[i].len, bad[i].more),
                     ZTNA_EMALFORMED);
    assert_int_equal(put4(i, 64, 308 - 64, false), ZTNA_EMALFORMED);
    assert_int_equal(put4(i, 0, 64, true), ZTNA_EMALFORMED);
  }
}

static void two_ends_that_differ_drop_the_packet(void **state) {
  make_original(4, 300);
  assert_int_equal(put4(2, 64, 16, false), 0);
  assert_int_equal(put4(2, 80, 16, false), ZTNA_EMALFORMED);
  assert_int_equal(put4(3, 64, 16, false), 0);
  assert_int_equal(put4(3, 80, 16, true), ZTNA_EMALFORMED);
  assert_int_equal(put4(4, 80, 16, true), 0);
  assert_int_equal(put4(4, 64, 16, false), ZTNA_EMALFORMED);
  assert_int_equal(put4(5, 80, 16, true), 0);
  assert_int_equal(put4(5, 64, 12, false), ZTNA_EMALFORMED);
}

static void a_number_may_be_used_again_after_the_packet_is_whole(void **state) {
  make_original(4, 100);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(put4(1, 0, 56, true), 0);
    assert_is_original(put4(1, 56, 52, false));
  }
}

static void packets_are_told_apart_by_number_source_and_family(void **state) {
  make_original(4, 100);
  assert_int_equal(put((struct frag){4, 1, 0, 56, true, 0, 1}, 0), 0);
  assert_int_equal(put((struct frag){4, 2, 56, 52, false, 0, 1}, 0), 0);
  assert_int_equal(put((struct frag){4, 1, 56, 52, false, 0, 9}, 0), 0);
  make_original(6, 100);
  assert_int_equal(put((struct frag){6, 1, 56, 52, false, 0, 1}, 0), 0);
  make_original(4, 100);
  assert_is_original(put((struct frag){4, 1, 56, 52, false, 0, 1}, 0));
}

static void over_ipv4_they_are_told_apart_by_protocol_too(void **state) {
  uint8_t b[20 + 52];
  make_original(4, 100);
  assert_int_equal(put4(1, 0, 56, true), 0);
  frag4(b, &(struct frag){4, 1, 56, 52, false, 0, 0});
  b[9] = 132;
  mend_header4(b, 20);
  assert_int_equal(put_bytes(b, sizeof(b), 0), 0);
  assert_is_original(put4(1, 56, 52, false));
}

/* --- ECN (RFC 3168, 5.3) */

static int ecn_of(int version, uint8_t first, uint8_t last) {
  struct ip_pkt p;
  make_original(version, 100);
  assert_int_equal(put((struct frag){version, 1, 0, 56, true, first, 0}, 0), 0);
  int rc = put((struct frag){version, 1, 56, 52, false, last, 0}, 0);
  if (rc < 0) {
    reass_tick(r, 3 * SEC); /* forget it */
    return rc;
  }
  assert_int_equal(ip_parse(&p, whole, (size_t)rc), 0);
  return p.tos & 3;
}

static void congestion_seen_by_one_fragment_was_seen_by_all(void **state) {
  for (int version = 4; version <= 6; version += 2) {
    assert_int_equal(ecn_of(version, 0, 0), 0);
    assert_int_equal(ecn_of(version, 2, 2), 2);
    assert_int_equal(ecn_of(version, 2, 3), 3);
    assert_int_equal(ecn_of(version, 3, 2), 3);
    assert_int_equal(ecn_of(version, 3, 3), 3);
    assert_int_equal(ecn_of(version, 0, 3), ZTNA_EMALFORMED);
    assert_int_equal(ecn_of(version, 3, 0), ZTNA_EMALFORMED);
  }
}

/* --- bounds and time */

static void sixteen_are_under_way_and_no_more(void **state) {
  make_original(4, 100);
  for (uint32_t id = 0; id < 16; id++)
    assert_int_equal(put4(id, 0, 56, true), 0);
  assert_int_equal(put4(16, 0, 56, true), ZTNA_EFULL);
  assert_is_original(put4(7, 56, 52, false));
  assert_int_equal(put4(16, 0, 56, true), 0);
  assert_is_original(put4(16, 56, 52, false));
}

static void a_dropped_packet_keeps_its_place_from_none_alive(void **state) {
  make_original(4, 100);
  for (uint32_t id = 0; id < 16; id++) {
    assert_int_equal(put4(id, 0, 56, true), 0);
    assert_int_equal(put4(id, 0, 56, true), ZTNA_EMALFORMED);
  }
  for (uint32_t id = 16; id < 32; id++)
    assert_int_equal(put4(id, 0, 56, true), 0);
  for (uint32_t id = 16; id < 32; id++)
    assert_is_original(put4(id, 56, 52, false));
}

static void the_bytes_held_are_bounded(void **state) {
  use_bound(4096);
  make_original(4, 8000);
  assert_int_equal(put4(1, 0, 2048, true), 0);
  assert_int_equal(put4(2, 0, 2048, true), 0);
  assert_int_equal(put4(1, 2048, 8, true), ZTNA_EFULL);
  /* Which made room for another, and is not begun again. */
  assert_int_equal(put4(1, 4096, 8, true), ZTNA_EMALFORMED);
  assert_int_equal(put4(3, 0, 2048, true), 0);
  assert_int_equal(put4(4, 0, 8, true), ZTNA_EFULL);
}

static void small_fragments_far_apart_are_bounded_too(void **state) {
  use_bound(16 * 256);
  make_original(4, 60000);
  int n = 0;
  while (n < 100 && put4(1, (uint32_t)n * 512, 8, true) == 0) n++;
  assert_int_equal(n, 16);
}

static void blocks_are_used_again_and_none_is_lost(void **state) {
  use_bound(16 * 1024);
  make_original(4, 15000);
  for (uint32_t id = 0; id < 500; id++) {
    assert_int_equal(put4(id, 0, 8000, true), 0);
    if (id % 3 == 0)
      assert_int_equal(put4(id, 0, 8000, true), ZTNA_EMALFORMED);
    else if (id % 3 == 1)
      reass_tick(r, 2 * SEC);
    else
      assert_is_original(put4(id, 8000, 15008 - 8000, false));
  }
}

static void a_table_without_memory_takes_nothing(void **state) {
  use_bound(0);
  make_original(4, 100);
  assert_int_equal(put4(1, 0, 56, true), ZTNA_EFULL);
}

static void a_packet_not_whole_after_2_seconds_is_given_up(void **state) {
  make_original(4, 100);
  struct frag first = {4, 1, 0, 56, true, 0, 0},
              last = {4, 1, 56, 52, false, 0, 0};
  put(first, SEC);
  assert_int_equal(reass_tick(r, 3 * SEC - 1), 0);
  assert_is_original(put(last, 3 * SEC - 1));

  put(first, 10 * SEC);
  assert_int_equal(reass_tick(r, 12 * SEC), 1);
  assert_int_equal(reass_tick(r, 12 * SEC), 0);
  assert_int_equal(put(last, 12 * SEC), 0); /* begins anew */
}

static void what_is_given_up_between_ticks_is_told_by_the_next(void **state) {
  make_original(4, 100);
  for (uint32_t id = 0; id < 16; id++) put4(id, 0, 56, true);
  struct frag f = {4, 99, 0, 56, true, 0, 0};
  assert_int_equal(put(f, 2 * SEC), 0);
  assert_int_equal(reass_tick(r, 2 * SEC), 16);
}

static void a_dropped_packet_is_not_given_up_again(void **state) {
  make_original(4, 100);
  put4(1, 0, 56, true);
  put4(1, 0, 56, true);
  assert_int_equal(reass_tick(r, 5 * SEC), 0);
}

static void the_deadline_is_that_of_the_oldest(void **state) {
  make_original(4, 100);
  assert_int_equal(reass_deadline(r), NEVER);
  put((struct frag){4, 1, 0, 56, true, 0, 0}, SEC);
  put((struct frag){4, 2, 0, 56, true, 0, 0}, SEC + MS);
  assert_int_equal(reass_deadline(r), 3 * SEC);
  put((struct frag){4, 1, 56, 52, false, 0, 0}, SEC + 2 * MS);
  assert_int_equal(reass_deadline(r), 3 * SEC + MS);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST_WITH(two_fragments_make_the_packet_in_either_order, setup, teardown),
      TEST_WITH(a_whole_packet_in_a_fragment_header_is_unwrapped, setup,
                teardown),
      TEST_WITH(an_unwrapped_packet_disturbs_no_other_of_its_number, setup,
                teardown),
      TEST_WITH(fragments_in_any_order_make_the_packet, setup, teardown),
      TEST_WITH(the_mended_header_has_no_trace_of_fragments, setup, teardown),
      TEST_WITH(the_largest_packet_is_65535_bytes, setup, teardown),
      TEST_WITH(a_packet_too_long_with_its_options_is_dropped, setup, teardown),
      TEST_WITH(an_overlap_drops_the_packet_and_what_follows, setup, teardown),
      TEST_WITH(two_ends_that_differ_drop_the_packet, setup, teardown),
      TEST_WITH(a_number_may_be_used_again_after_the_packet_is_whole, setup,
                teardown),
      TEST_WITH(packets_are_told_apart_by_number_source_and_family, setup,
                teardown),
      TEST_WITH(over_ipv4_they_are_told_apart_by_protocol_too, setup, teardown),
      TEST_WITH(congestion_seen_by_one_fragment_was_seen_by_all, setup,
                teardown),
      TEST_WITH(sixteen_are_under_way_and_no_more, setup, teardown),
      TEST_WITH(a_dropped_packet_keeps_its_place_from_none_alive, setup,
                teardown),
      TEST_WITH(the_bytes_held_are_bounded, setup, teardown),
      TEST_WITH(small_fragments_far_apart_are_bounded_too, setup, teardown),
      TEST_WITH(blocks_are_used_again_and_none_is_lost, setup, teardown),
      TEST_WITH(a_table_without_memory_takes_nothing, setup, teardown),
      TEST_WITH(a_packet_not_whole_after_2_seconds_is_given_up, setup,
                teardown),
      TEST_WITH(what_is_given_up_between_ticks_is_told_by_the_next, setup,
                teardown),
      TEST_WITH(a_dropped_packet_is_not_given_up_again, setup, teardown),
      TEST_WITH(the_deadline_is_that_of_the_oldest, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
