/* test_ip_frag.c - what is cut is put together again by part/reass. */
#include "unit/unit.h"

#include "codec/ip.h"
#include "codec/ip_frag.h"
#include "part/reass.h"

static uint8_t data[65536], whole[65536];

static int build(const char *src, const char *dst, size_t len) {
  struct ztna_addr from = test_addr(src), to = test_addr(dst);

  from.port = 9999;
  to.port = 40000;
  return ip_build_udp(whole, sizeof(whole), &from, &to, 2, data, len);
}

/* As RFC 791 reckons: all but the last are multiples of 8. */
static size_t fewest(size_t payload, size_t room) {
  size_t n = 1;

  for (; payload > room; n++) payload -= room & ~(size_t)7;
  return n;
}

/* Cuts `whole`; the fragments, in order or the last first, become the same. */
static void cut_and_mend(struct reass *r, size_t len, size_t mtu, bool last) {
  static uint8_t frags[1400][1500];
  static size_t lens[1400];
  struct ip_cut c = {
      .pkt = whole, .len = len, .mtu = mtu, .id = 0x12340000u + (uint32_t)len};
  size_t head = whole[0] >> 4 == 4 ? IP4_HEADER : IP6_HEADER;
  size_t room = mtu - head - (head == IP6_HEADER ? 8 : 0), n = 0;
  const uint8_t *got = NULL;
  struct ip_pkt p;
  int rc = 0;

  while ((lens[n] = ip_cut_next(&c, frags[n]))) {
    assert_true(lens[n] <= mtu);
    assert_true(++n < N_OF(frags));
  }
  assert_int_equal(n, fewest(len - head, room));
  assert_int_equal(ip_cut_next(&c, frags[n]), 0);
  for (size_t i = 0; i < n; i++) {
    size_t at = last ? n - 1 - i : i;

    assert_int_equal(ip_parse(&p, frags[at], lens[at]), 0);
    assert_int_equal(rc, 0);
    if (n == 1 && head == IP4_HEADER) { /* it fitted: no fragment at all */
      assert_int_equal(p.kind, IP_UDP);
      assert_memory_equal(p.payload, data, p.payload_len);
      return;
    }
    assert_int_equal(p.kind, IP_FRAGMENT);
    rc = reass_put(r, &p, frags[at], 1, &got);
  }
  assert_int_equal(rc, len);
  if (head == IP4_HEADER) { /* id and DF are the fragments' */
    memcpy(whole + 4, got + 4, 4);
    memcpy(whole + 10, got + 10, 2);
  }
  assert_memory_equal(got, whole, len);
  assert_int_equal(ip_parse(&p, got, len), 0);
  assert_int_equal(p.kind, IP_UDP);
}

static void every_size(const char *src, const char *dst, size_t mtu) {
  struct reass *r = reass_new(1 << 20);

  for (size_t len = 0; len < 4000; len++) {
    int n = build(src, dst, len);

    assert_true(n > 0);
    cut_and_mend(r, (size_t)n, mtu, len & 1);
  }
  for (size_t len = 4000; len < 65000; len += 997)
    cut_and_mend(r, (size_t)build(src, dst, len), mtu, len & 1);
  reass_free(r);
}

static void v4_packets_of_every_size_come_back(void **state) {
  every_size("10.100.0.2", "100.64.0.9", 1280);
}

static void v6_packets_of_every_size_come_back(void **state) {
  every_size("fd5a:10::2", "fd5a:64::9", 1280);
}

static void the_smallest_and_odd_mtus_do_too(void **state) {
  static const size_t mtus[] = {68, 69, 75, 76, 576, 1279, 1281, 1500};
  struct reass *r = reass_new(1 << 20);

  for (size_t i = 0; i < N_OF(mtus); i++)
    for (size_t len = 0; len < 3000; len += 61)
      cut_and_mend(r, (size_t)build("10.100.0.2", "100.64.0.9", len), mtus[i],
                   len & 1);
  for (size_t mtu = 1280; mtu <= 1500; mtu += 11)
    for (size_t len = 0; len < 5000; len += 61)
      cut_and_mend(r, (size_t)build("fd5a:10::2", "fd5a:64::9", len), mtu,
                   len & 1);
  reass_free(r);
}

static void the_longest_packets_are_cut_to_the_end(void **state) {
  struct reass *r = reass_new(1 << 20);

  cut_and_mend(r, (size_t)build("10.100.0.2", "100.64.0.9", 65535 - 28), 1280,
               false);
  cut_and_mend(r, (size_t)build("fd5a:10::2", "fd5a:64::9", 65535 - 48), 1280,
               true);
  reass_free(r);
}

/* RFC 791: what may not be fragmented further says so, what was may not. */
static void fragments_do_not_forbid_fragmenting(void **state) {
  struct ip_cut c = {.pkt = whole, .mtu = 1280, .id = 7};
  uint8_t f[1280];
  struct ip_pkt p;
  size_t n;

  c.len = (size_t)build("10.100.0.2", "100.64.0.9", 3000);
  while ((n = ip_cut_next(&c, f))) {
    assert_int_equal(ip_parse(&p, f, n), 0);
    assert_false(p.df);
    assert_int_equal(p.frag_id, 7);
    assert_int_equal(p.tos, 2);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(v4_packets_of_every_size_come_back),
      TEST(v6_packets_of_every_size_come_back),
      TEST(the_smallest_and_odd_mtus_do_too),
      TEST(the_longest_packets_are_cut_to_the_end),
      TEST(fragments_do_not_forbid_fragmenting),
  };

  for (size_t i = 0; i < sizeof(data); i++)
    data[i] = (uint8_t)(i * 31 + i / 256);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
