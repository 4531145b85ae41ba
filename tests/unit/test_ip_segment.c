/* test_ip_segment.c - the packets that a UDP super-packet stands for. Each is
 * judged by the parser, which knows nothing of how they were made. */
#include "unit.h"

#include "codec/ip.h"
#include "ip_samples.h"

enum { ROOM = 2048, IPS = 65535 };

static uint8_t super[IPS], out[ROOM];

static uint32_t be(const uint8_t *p) { return (uint32_t)(p[0] << 8 | p[1]); }

/* A super-packet as a kernel hands it over: one header, all the payload, the
 * checksum not finished. */
static struct ip_pkt make(const char *from, const char *to, size_t payload) {
  struct ztna_addr src = test_addr(from), dst = test_addr(to);
  static uint8_t data[IPS];
  struct ip_pkt p;
  int n;

  for (size_t i = 0; i < payload; i++) data[i] = (uint8_t)(i * 7 + (i >> 8));
  n = ip_build_udp(super, sizeof(super), &src, &dst, 0xb9, data, payload);
  assert_true(n > 0);
  super[(src.family == 4 ? IP4_HEADER : IP6_HEADER) + 6] ^= 0x55;
  assert_int_equal(ip_parse(&p, super, (size_t)n), ZTNA_EMALFORMED);
  assert_int_equal(ip_parse_partial(&p, super, (size_t)n), 0);
  assert_int_equal(p.kind, IP_UDP);
  return p;
}

/* Its pieces are whole packets of the same flow, and together its payload. */
static size_t is_cut(const struct ip_pkt *p, size_t size) {
  size_t n = 0, i = 0;
  struct ip_pkt q;
  int len;

  for (; (len = ip_build_segment(out, ROOM, p, size, i)) > 0; i++) {
    size_t left = p->payload_len - n;

    assert_int_equal(ip_parse(&q, out, (size_t)len), 0);
    assert_int_equal(q.kind, IP_UDP);
    assert_true(be(out + q.header_len + 6) != 0);
    assert_true(ztna_addr_equal(&q.src, &p->src));
    assert_true(ztna_addr_equal(&q.dst, &p->dst));
    assert_int_equal(q.tos, p->tos);
    assert_int_equal(q.ttl, p->ttl);
    assert_int_equal(q.df, p->df);
    assert_int_equal(q.header_len, p->header_len);
    assert_int_equal(q.payload_len, left < size ? left : size);
    assert_memory_equal(q.payload, p->payload + n, q.payload_len);
    if (q.version == 4) assert_int_equal(q.frag_id, (uint16_t)(p->frag_id + i));
    n += q.payload_len;
  }
  assert_int_equal(len, 0);
  assert_int_equal(n, p->payload_len);
  return i;
}

static void a_super_packet_becomes_whole_packets(void **state) {
  struct ip_pkt p = make("10.100.0.2:40000", "10.100.1.9:53", 60000);

  assert_int_equal(is_cut(&p, 1200), 50);
  p = make("[fd5a:10::2]:40000", "[fd5a:10:1::9]:53", 60000);
  assert_int_equal(is_cut(&p, 1200), 50);
}

static void the_last_one_has_what_is_left(void **state) {
  struct ip_pkt p = make("10.100.0.2:40000", "10.100.1.9:53", 2401);

  assert_int_equal(is_cut(&p, 1200), 3);
  p = make("[fd5a:10::2]:40000", "[fd5a:10:1::9]:53", 2401);
  assert_int_equal(is_cut(&p, 1200), 3);
}

static void any_size_is_cut(void **state) {
  uint64_t seed = 5;

  for (int i = 0; i < 300; i++) {
    size_t size = 1 + test_random(&seed) % 1500;
    size_t payload = 1 + test_random(&seed) % (40 * size);
    struct ip_pkt p = make(i % 2 ? "[fd5a:10::2]:1" : "10.100.0.2:1",
                           i % 2 ? "[fd5a:10:1::9]:2" : "10.100.1.9:2",
                           payload < 60000 ? payload : 60000);

    assert_int_equal(is_cut(&p, size), (p.payload_len + size - 1) / size);
  }
}

static void a_single_packet_gets_its_checksum(void **state) {
  struct ip_pkt p = make("10.100.0.2:40000", "10.100.1.9:53", 100);

  assert_int_equal(is_cut(&p, 100), 1);
  p = make("10.100.0.2:40000", "10.100.1.9:53", 0);
  assert_int_equal(ip_build_segment(out, ROOM, &p, 0, 0), IP4_HEADER + 8);
  assert_int_equal(ip_parse(&p, out, IP4_HEADER + 8), 0);
  assert_int_equal(ip_build_segment(super, ROOM, &p, 0, 1), 0);
}

/* scapy's checksums come out again. */
static void it_is_the_checksum_that_others_compute(void **state) {
  struct ip_pkt p;

  assert_int_equal(ip_parse_partial(&p, udp4, sizeof(udp4)), 0);
  assert_int_equal(ip_build_segment(out, ROOM, &p, 5, 0), sizeof(udp4));
  assert_memory_equal(out, udp4, sizeof(udp4));
  assert_int_equal(ip_parse_partial(&p, udp6, sizeof(udp6)), 0);
  assert_int_equal(ip_build_segment(out, ROOM, &p, 8, 0), sizeof(udp6));
  assert_memory_equal(out, udp6, sizeof(udp6));
  assert_int_equal(ip_parse_partial(&p, udp4_ffff, sizeof(udp4_ffff)), 0);
  assert_int_equal(ip_build_segment(out, ROOM, &p, 2, 0), sizeof(udp4_ffff));
  assert_memory_equal(out, udp4_ffff, sizeof(udp4_ffff));
}

static void options_go_with_every_packet(void **state) {
  struct ip_pkt p, q;

  assert_int_equal(ip_parse_partial(&p, udp4_options, sizeof(udp4_options)), 0);
  assert_int_equal(is_cut(&p, 1), 2);
  assert_int_equal(ip_build_segment(out, ROOM, &p, 1, 1), 24 + 8 + 1);
  assert_int_equal(ip_parse(&q, out, 24 + 8 + 1), 0);
  assert_memory_equal(out + 20, udp4_options + 20, 4);
}

static void what_does_not_fit_is_not_built(void **state) {
  struct ip_pkt p = make("10.100.0.2:40000", "10.100.1.9:53", 3000);

  assert_int_equal(ip_build_segment(out, 20 + 8 + 999, &p, 1000, 0),
                   ZTNA_ESIZE);
  assert_int_equal(ip_build_segment(out, 20 + 8 + 1000, &p, 1000, 2), 1028);
  assert_int_equal(ip_build_segment(out, ROOM, &p, 1000, 3), 0);
  assert_int_equal(ip_build_segment(out, ROOM, &p, 1000, 1000000), 0);
}

/* Only the UDP checksum is left out: the rest is judged as ever. */
static void nothing_else_is_forgiven(void **state) {
  struct ip_pkt p;
  uint8_t bad[sizeof(udp4)];

  memcpy(bad, udp4, sizeof(bad));
  bad[10] ^= 1; /* of the IPv4 header's sum */
  assert_int_equal(ip_parse_partial(&p, bad, sizeof(bad)), ZTNA_EMALFORMED);
  memcpy(bad, udp4, sizeof(bad));
  bad[25]++; /* UDP length */
  assert_int_equal(ip_parse_partial(&p, bad, sizeof(bad)), ZTNA_EMALFORMED);
  assert_int_equal(ip_parse_partial(&p, udp4, sizeof(udp4) - 1),
                   ZTNA_EMALFORMED);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_super_packet_becomes_whole_packets),
      TEST(the_last_one_has_what_is_left),
      TEST(any_size_is_cut),
      TEST(a_single_packet_gets_its_checksum),
      TEST(it_is_the_checksum_that_others_compute),
      TEST(options_go_with_every_packet),
      TEST(what_does_not_fit_is_not_built),
      TEST(nothing_else_is_forgiven),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
