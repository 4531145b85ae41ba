/* test_ip.c - inner packets: parsed against what scapy made, built and parsed
 * again, and refused when a byte is missing. */
#include "unit.h"

#include "codec/ip.h"
#include "codec/ip_frag.h"
#include "unit/ip_samples.h"

static struct ip_pkt parsed(const uint8_t *data, size_t len) {
  struct ip_pkt p;
  assert_int_equal(ip_parse(&p, data, len), 0);
  return p;
}
#define PARSED(sample) parsed(sample, sizeof(sample))

static void assert_addr(const struct ztna_addr *a, const char *text) {
  char buf[ZTNA_ADDR_STRLEN];
  assert_string_equal(ztna_addr_print(a, buf), text);
}

static void assert_payload(const struct ip_pkt *p, const char *text) {
  assert_int_equal(p->payload_len, strlen(text));
  assert_memory_equal(p->payload, text, strlen(text));
}

/* RFC 1071 as slowly as it is written there, in big endian. */
static uint16_t slow_checksum(const uint8_t *p, size_t len) {
  uint32_t sum = 0;
  for (size_t i = 0; i < len; i++) sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return (uint16_t)~sum;
}

static void mend_header4(uint8_t *pkt) {
  pkt[10] = pkt[11] = 0;
  uint16_t sum = slow_checksum(pkt, (size_t)(pkt[0] & 15) * 4);
  pkt[10] = (uint8_t)(sum >> 8);
  pkt[11] = (uint8_t)sum;
}

/* A copy of the size it has, so that the sanitizer sees a byte too far. */
static int parse_copy(struct ip_pkt *p, const uint8_t *data, size_t len) {
  uint8_t *copy = malloc(len);
  memcpy(copy, data, len);
  int rc = ip_parse(p, copy, len);
  free(copy);
  return rc;
}

/* --- checksum */

static void the_checksum_is_that_of_rfc_1071(void **state) {
  static const uint8_t rfc[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
  assert_int_equal(ip_checksum_finish(ip_checksum_add(0, rfc, 8)), 0x220d);
}

static void the_fast_checksum_is_the_slow_one_at_any_length(void **state) {
  static uint8_t bytes[1600];
  uint64_t seed = 9;
  for (size_t i = 0; i < sizeof(bytes); i++)
    bytes[i] = (uint8_t)(test_random(&seed) >> 40);
  for (size_t len = 0; len < 1500; len++) {
    const uint8_t *at = bytes + len % 9;
    assert_int_equal(ip_checksum_finish(ip_checksum_add(0, at, len)),
                     slow_checksum(at, len));
  }
  memset(bytes, 0xff, sizeof(bytes));
  assert_int_equal(ip_checksum_finish(ip_checksum_add(0, bytes, 1600)), 0);
}

static void a_checksum_continues_over_pieces(void **state) {
  uint64_t sum = ip_checksum_add(0, udp6, 38);
  sum = ip_checksum_add(sum, udp6 + 38, sizeof(udp6) - 38);
  assert_int_equal(ip_checksum_finish(sum), slow_checksum(udp6, sizeof(udp6)));
}

/* --- parse */

static void udp_over_ipv4_is_read(void **state) {
  struct ip_pkt p = PARSED(udp4);
  assert_int_equal(p.version, 4);
  assert_int_equal(p.kind, IP_UDP);
  assert_int_equal(p.proto, IP_PROTO_UDP);
  assert_int_equal(p.tos, 2);
  assert_int_equal(p.ttl, 61);
  assert_true(p.df);
  assert_int_equal(p.len, sizeof(udp4));
  assert_int_equal(p.header_len, 20);
  assert_addr(&p.src, "10.100.0.2:40000");
  assert_addr(&p.dst, "10.100.1.9:53");
  assert_payload(&p, "query");
}

static void udp_over_ipv6_is_read(void **state) {
  struct ip_pkt p = PARSED(udp6);
  assert_int_equal(p.version, 6);
  assert_int_equal(p.kind, IP_UDP);
  assert_int_equal(p.tos, 0xb9);
  assert_int_equal(p.ttl, 60);
  assert_int_equal(p.header_len, 40);
  assert_addr(&p.src, "[fd5a:10::2]:40000");
  assert_addr(&p.dst, "[fd5a:10:1::9]:53");
  assert_payload(&p, "question");
}

static void ipv4_options_are_stepped_over(void **state) {
  struct ip_pkt p = PARSED(udp4_options);
  assert_int_equal(p.header_len, 24);
  assert_addr(&p.dst, "10.100.1.9:2");
  assert_payload(&p, "xy");
}

static void a_zero_udp_checksum_is_none_over_ipv4_only(void **state) {
  uint8_t v6[sizeof(udp6)];
  struct ip_pkt p = PARSED(udp4_nosum);
  assert_payload(&p, "query");
  memcpy(v6, udp6, sizeof(v6));
  v6[46] = v6[47] = 0;
  assert_int_equal(ip_parse(&p, v6, sizeof(v6)), ZTNA_EMALFORMED);
}

static void tcp_shows_its_flags_and_whole_transport(void **state) {
  struct ip_pkt p = PARSED(tcp4);
  assert_int_equal(p.kind, IP_TCP);
  assert_int_equal(p.tcp_flags, 0x02);
  assert_addr(&p.src, "10.100.0.2:50000");
  assert_addr(&p.dst, "10.100.1.9:443");
  assert_ptr_equal(p.payload, tcp4 + 20);
  assert_int_equal(p.payload_len, 24);
  p = PARSED(tcp6);
  assert_int_equal(p.tcp_flags, 0x12);
}

static void an_echo_has_its_identifier_at_the_asking_end(void **state) {
  struct ip_pkt p = PARSED(echo4);
  assert_int_equal(p.kind, IP_ECHO_REQUEST);
  assert_int_equal(p.src.port, 0xbeef);
  assert_int_equal(p.dst.port, 0);
  assert_int_equal(p.icmp_seq, 3);
  assert_payload(&p, "ping!");
  p = PARSED(reply4);
  assert_int_equal(p.kind, IP_ECHO_REPLY);
  assert_int_equal(p.src.port, 0);
  assert_int_equal(p.dst.port, 0xbeef);
  p = PARSED(echo6);
  assert_int_equal(p.kind, IP_ECHO_REQUEST);
  assert_int_equal(p.src.port, 0xbeef);
  p = PARSED(reply6);
  assert_int_equal(p.kind, IP_ECHO_REPLY);
  assert_int_equal(p.dst.port, 0xbeef);
  assert_payload(&p, "ping!");
}

static void an_error_tells_about_whom_it_is(void **state) {
  struct ip_pkt p = PARSED(unreach4);
  assert_int_equal(p.kind, IP_ICMP_ERROR);
  assert_int_equal(p.icmp_type, 3);
  assert_int_equal(p.icmp_code, 3);
  assert_int_equal(p.inner_proto, IP_PROTO_UDP);
  assert_addr(&p.src, "10.100.1.1");
  assert_addr(&p.inner_src, "10.100.0.2:40000");
  assert_addr(&p.inner_dst, "10.100.1.9:53");
  assert_int_equal(p.payload_len, 28);
  assert_memory_equal(p.payload, udp4, 28);

  p = PARSED(unreach6_echo);
  assert_int_equal(p.kind, IP_ICMP_ERROR);
  assert_int_equal(p.inner_proto, IP_PROTO_ICMPV6);
  assert_addr(&p.inner_src, "[fd5a:10::2]:48879");
  assert_addr(&p.inner_dst, "fd5a:10:1::9");
}

static void too_big_tells_the_mtu(void **state) {
  assert_int_equal(PARSED(fragneeded4).icmp_mtu, 1300);
  assert_int_equal(PARSED(toobig6).icmp_mtu, 1280);
  assert_int_equal(PARSED(unreach4).icmp_mtu, 0);
}

static void fragments_are_told_apart_from_whole_packets(void **state) {
  struct ip_pkt p = PARSED(frag4_first);
  assert_int_equal(p.kind, IP_FRAGMENT);
  assert_int_equal(p.frag_id, 0x4242);
  assert_int_equal(p.frag_off, 0);
  assert_true(p.frag_more);
  assert_int_equal(p.payload_len, 24);
  p = PARSED(frag4_last);
  assert_int_equal(p.frag_off, 24);
  assert_false(p.frag_more);

  p = PARSED(frag6_first);
  assert_int_equal(p.kind, IP_FRAGMENT);
  assert_int_equal(p.frag_id, 0xdeadbeef);
  assert_int_equal(p.proto, IP_PROTO_UDP);
  assert_int_equal(p.header_len, 48);
  assert_true(p.frag_more);
  assert_int_equal(p.src.port, 0);
  p = PARSED(frag6_last);
  assert_int_equal(p.frag_off, 24);
  assert_int_equal(PARSED(atomic6).kind, IP_FRAGMENT);
}

/* The first of a ping that was cut, and the second. */
static void cut_echo(bool reply, const char *from, const char *to,
                     struct ip_pkt p[2]) {
  static uint8_t whole[2048], part[2][1280], data[1900];
  struct ztna_addr a = test_addr(from), b = test_addr(to);
  int len = ip_build_echo(whole, sizeof(whole), &a, &b, reply, 0xbeef, 1, data,
                          sizeof(data));
  struct ip_cut cut = {.pkt = whole, .len = (size_t)len, .mtu = 1280, .id = 7};

  assert_true(len > 0);
  for (int i = 0; i < 2; i++) {
    size_t n = ip_cut_next(&cut, part[i]);
    assert_int_equal(ip_parse(&p[i], part[i], n), 0);
  }
}

static void first_fragments_show_their_ports(void **state) {
  struct ip_pkt p = PARSED(frag6_first), later = PARSED(frag6_last),
                whole = PARSED(udp4), v[2];
  assert_true(ip_first_ports(&p));
  assert_int_not_equal(p.src.port, 0);
  assert_int_not_equal(p.dst.port, 0);
  assert_false(ip_first_ports(&later));
  assert_false(ip_first_ports(&whole));

  cut_echo(false, "10.100.0.2", "10.100.1.9", v);
  assert_true(ip_first_ports(&v[0]));
  assert_int_equal(v[0].src.port, 0xbeef);
  assert_int_equal(v[0].dst.port, 0);
  assert_false(ip_first_ports(&v[1]));
  cut_echo(true, "fd5a:10::2", "fd5a:10:1::9", v);
  assert_true(ip_first_ports(&v[0]));
  assert_int_equal(v[0].src.port, 0);
  assert_int_equal(v[0].dst.port, 0xbeef);
  assert_false(ip_first_ports(&v[1]));
}

static void a_protocol_that_we_do_not_carry_is_other(void **state) {
  struct ip_pkt p = PARSED(sctp4);
  assert_int_equal(p.kind, IP_OTHER);
  assert_int_equal(p.proto, 132);
  assert_int_equal(p.payload_len, 3);
}

static void an_echo_with_a_code_is_no_echo(void **state) {
  uint8_t b[sizeof(echo4)];
  memcpy(b, echo4, sizeof(b));
  b[21] = 1;
  b[23] -= 1; /* of the checksum */
  assert_int_equal(PARSED(b).kind, IP_OTHER);
}

static void extension_headers_are_refused(void **state) {
  static const uint8_t refused[] = {0, 43, 44, 50, 51, 60, 135, 139, 140};
  struct ip_pkt p;
  assert_int_equal(ip_parse(&p, hopopts6, sizeof(hopopts6)), ZTNA_EMALFORMED);
  for (size_t i = 0; i < sizeof(refused); i++) {
    uint8_t b[sizeof(frag6_first)];
    memcpy(b, frag6_first, sizeof(b));
    b[40] = refused[i];
    assert_int_equal(ip_parse(&p, b, sizeof(b)), ZTNA_EMALFORMED);
  }
}

static void a_mapped_address_in_an_ipv6_header_is_refused(void **state) {
  static const uint8_t mapped[16] = {[10] = 0xff, 0xff, 10, 0, 0, 1};
  for (size_t at = 8; at <= 24; at += 16) {
    uint8_t b[sizeof(tcp6)];
    struct ip_pkt p;
    memcpy(b, tcp6, sizeof(b));
    memcpy(b + at, mapped, 16);
    assert_int_equal(ip_parse(&p, b, sizeof(b)), ZTNA_EMALFORMED);
    b[at] = 1; /* not mapped any more; a TCP checksum is not judged */
    assert_int_equal(ip_parse(&p, b, sizeof(b)), 0);
  }
}

static void a_packet_with_a_byte_missing_or_to_spare_is_refused(void **state) {
  for (size_t i = 0; i < N_IP_SAMPLES; i++) {
    const struct ip_sample *s = &ip_samples[i];
    uint8_t longer[200] = {0};
    struct ip_pkt p;
    assert_int_equal(parse_copy(&p, s->data, s->len), 0);
    for (size_t len = 0; len < s->len; len++)
      assert_int_equal(parse_copy(&p, s->data, len), ZTNA_EMALFORMED);
    memcpy(longer, s->data, s->len);
    assert_int_equal(parse_copy(&p, longer, s->len + 1), ZTNA_EMALFORMED);
  }
}

/* As above, but the header says so too: what is behind it must notice. */
static void set_len(uint8_t *b, size_t len) {
  if (b[0] >> 4 == 4) {
    b[2] = (uint8_t)(len >> 8);
    b[3] = (uint8_t)len;
    mend_header4(b);
  } else {
    b[4] = (uint8_t)((len - 40) >> 8);
    b[5] = (uint8_t)(len - 40);
  }
}

static void a_transport_with_a_byte_missing_is_refused(void **state) {
  static const struct ip_sample v[] = {
      SAMPLE(udp4),   SAMPLE(udp4_nosum), SAMPLE(udp4_options), SAMPLE(udp6),
      SAMPLE(echo4),  SAMPLE(echo6),      SAMPLE(unreach4),     SAMPLE(toobig6),
      SAMPLE(reply6), SAMPLE(fragneeded4)};
  for (size_t i = 0; i < N_OF(v); i++) {
    uint8_t b[200];
    struct ip_pkt p;
    memcpy(b, v[i].data, v[i].len);
    size_t header = b[0] >> 4 == 4 ? (size_t)(b[0] & 15) * 4 : 40;
    for (size_t len = header; len < v[i].len; len++) {
      set_len(b, len);
      assert_int_equal(parse_copy(&p, b, len), ZTNA_EMALFORMED);
    }
  }
}

static void tcp_with_a_header_cut_short_is_refused(void **state) {
  uint8_t b[sizeof(tcp4)];
  struct ip_pkt p;
  memcpy(b, tcp4, sizeof(b));
  for (size_t len = 20; len < sizeof(b); len++) {
    set_len(b, len);
    assert_int_equal(parse_copy(&p, b, len), ZTNA_EMALFORMED);
  }
  memcpy(b, tcp4, sizeof(b));
  b[32] = 0x40; /* 16 bytes of header */
  assert_int_equal(ip_parse(&p, b, sizeof(b)), ZTNA_EMALFORMED);
  b[32] = 0x70; /* more than there is */
  assert_int_equal(ip_parse(&p, b, sizeof(b)), ZTNA_EMALFORMED);
}

/* The quoted packet of an error, cut to fewer bytes and summed anew. */
static int parse_with_quote(const uint8_t *sample, size_t quoted) {
  uint8_t b[200];
  struct ip_pkt p;
  memcpy(b, sample, 28 + quoted);
  b[22] = b[23] = 0;
  uint16_t sum = slow_checksum(b + 20, 8 + quoted);
  b[22] = (uint8_t)(sum >> 8);
  b[23] = (uint8_t)sum;
  set_len(b, 28 + quoted);
  return parse_copy(&p, b, 28 + quoted);
}

static void a_quote_has_8_bytes_of_transport_at_least(void **state) {
  assert_int_equal(parse_with_quote(unreach4, 28), 0);
  for (size_t n = 0; n < 28; n++)
    assert_int_equal(parse_with_quote(unreach4, n), ZTNA_EMALFORMED);
}

/* unreach4, but about these bytes. */
static int parse_about(struct ip_pkt *p, const void *about, size_t len) {
  static uint8_t b[300];
  memcpy(b, unreach4, 28);
  memcpy(b + 28, about, len);
  b[22] = b[23] = 0;
  uint16_t sum = slow_checksum(b + 20, 8 + len);
  b[22] = (uint8_t)(sum >> 8);
  b[23] = (uint8_t)sum;
  set_len(b, 28 + len);
  return ip_parse(p, b, 28 + len);
}

static void a_quote_that_nobody_may_send_is_refused(void **state) {
  uint8_t b[sizeof(udp4)];
  struct ip_pkt p;
  memcpy(b, udp4, sizeof(b));
  assert_int_equal(parse_about(&p, b, sizeof(b)), 0);
  b[3] = 10; /* shorter than its header */
  assert_int_equal(parse_about(&p, b, sizeof(b)), ZTNA_EMALFORMED);
  assert_int_equal(parse_about(&p, frag4_first, sizeof(frag4_first)), 0);
  assert_int_equal(p.kind, IP_ICMP_ERROR);
  assert_int_equal(parse_about(&p, frag4_last, sizeof(frag4_last)),
                   ZTNA_EMALFORMED);
  assert_int_equal(parse_about(&p, udp6, sizeof(udp6)), ZTNA_EMALFORMED);
}

static void a_quote_longer_than_any_packet_is_refused(void **state) {
  uint8_t b[sizeof(toobig6)];
  struct ip_pkt p;
  memcpy(b, toobig6, sizeof(b));
  b[52] = b[53] = 0xff; /* 0xffff adds as 0, and 0x0010 is gone: */
  b[43] += 0x10;
  assert_int_equal(ip_parse(&p, b, sizeof(b)), ZTNA_EMALFORMED);
  b[52] = 0x10, b[53] = 0, b[42] -= 0x10; /* 4136 bytes, and a right sum */
  assert_int_equal(ip_parse(&p, b, sizeof(b)), 0);
}

static void what_lies_behind_a_quote_is_no_part_of_it(void **state) {
  uint8_t b[128 + 12] = {0}; /* RFC 4884: padded to 128 bytes, extensions */
  struct ip_pkt p;
  memcpy(b, udp4, sizeof(udp4));
  assert_int_equal(parse_about(&p, b, sizeof(b)), 0);
  assert_int_equal(p.kind, IP_ICMP_ERROR);
  assert_int_equal(p.payload_len, sizeof(udp4));
}

static void an_error_about_other_icmp_is_other(void **state) {
  uint8_t b[sizeof(echo4)];
  struct ip_pkt p;
  memcpy(b, echo4, sizeof(b));
  b[20] = 13; /* timestamp request: its identifier is not an echo's */
  assert_int_equal(parse_about(&p, b, sizeof(b)), 0);
  assert_int_equal(p.kind, IP_OTHER);
}

static void an_error_about_another_protocol_names_it(void **state) {
  uint8_t b[sizeof(tcp4)];
  struct ip_pkt p;
  memcpy(b, tcp4, sizeof(b));
  b[9] = 132;
  assert_int_equal(parse_about(&p, b, sizeof(b)), 0);
  assert_int_equal(p.kind, IP_ICMP_ERROR);
  assert_int_equal(p.inner_proto, 132);
  assert_int_equal(p.inner_src.port, 0);
}

static void the_reserved_flag_is_refused(void **state) {
  uint8_t b[sizeof(udp4)];
  struct ip_pkt p;
  memcpy(b, udp4, sizeof(b));
  b[6] |= 0x80;
  mend_header4(b);
  assert_int_equal(ip_parse(&p, b, sizeof(b)), ZTNA_EMALFORMED);
}

static void an_ipv6_packet_beyond_65535_bytes_is_refused(void **state) {
  static uint8_t b[40 + 65535] = {0x60, [6] = 132, [8] = 0xfd, [24] = 0xfd};
  struct ip_pkt p;
  b[4] = 0xff, b[5] = 0xff - 40;
  assert_int_equal(ip_parse(&p, b, 65535), 0);
  b[5]++;
  assert_int_equal(ip_parse(&p, b, 65536), ZTNA_EMALFORMED);
  assert_int_equal(ip_parse(&p, b, 0), ZTNA_EMALFORMED);
}

static void every_changed_bit_of_what_is_summed_is_noticed(void **state) {
  static const struct ip_sample v[] = {SAMPLE(udp4), SAMPLE(echo4),
                                       SAMPLE(unreach4)};
  for (size_t i = 0; i < N_OF(v); i++)
    for (size_t bit = 0; bit < v[i].len * 8; bit++) {
      uint8_t b[200];
      struct ip_pkt p;
      memcpy(b, v[i].data, v[i].len);
      b[bit / 8] ^= (uint8_t)(1 << bit % 8);
      assert_int_equal(ip_parse(&p, b, v[i].len), ZTNA_EMALFORMED);
    }
}

static void a_fragment_beyond_65535_bytes_is_refused(void **state) {
  uint8_t b[sizeof(frag4_last)];
  struct ip_pkt p;
  memcpy(b, frag4_last, sizeof(b));
  b[6] = 0x1f;
  b[7] = 0xfa; /* 65488 + 24 + 20 = 65532 */
  mend_header4(b);
  assert_int_equal(ip_parse(&p, b, sizeof(b)), 0);
  b[7] = 0xfb;
  mend_header4(b);
  assert_int_equal(ip_parse(&p, b, sizeof(b)), ZTNA_EMALFORMED);
}

static void a_first_fragment_of_odd_length_is_refused(void **state) {
  uint8_t b[sizeof(frag4_first)];
  struct ip_pkt p;
  memcpy(b, frag4_first, sizeof(b));
  set_len(b, sizeof(b) - 1);
  assert_int_equal(parse_copy(&p, b, sizeof(b) - 1), ZTNA_EMALFORMED);
  set_len(b, sizeof(b) - 8);
  assert_int_equal(parse_copy(&p, b, sizeof(b) - 8), 0);
  set_len(b, 20);
  assert_int_equal(parse_copy(&p, b, 20), ZTNA_EMALFORMED);
}

/* --- build */

static void udp_is_built_as_scapy_builds_it(void **state) {
  uint8_t b[200];
  struct ztna_addr src = test_addr("10.100.0.2:7"),
                   dst = test_addr("10.100.1.9:9");
  /* Its sum is 0, which must be sent as 0xffff. */
  int len = ip_build_udp(b, sizeof(b), &src, &dst, 0, udp4_ffff + 28, 2);
  assert_int_equal(len, sizeof(udp4_ffff));
  assert_memory_equal(b, udp4_ffff, sizeof(udp4_ffff));

  src = test_addr("[fd5a:10::2]:40000");
  dst = test_addr("[fd5a:10:1::9]:53");
  len = ip_build_udp(b, sizeof(b), &src, &dst, 0xb9,
                     (const uint8_t *)"question", 8);
  assert_int_equal(len, sizeof(udp6));
  b[1] |= 1, b[2] = 0x23, b[3] = 0x45; /* scapy's flow label */
  b[7] = 60;
  assert_memory_equal(b, udp6, sizeof(udp6));
}

static void echoes_are_built_as_scapy_builds_them(void **state) {
  uint8_t b[200];
  const uint8_t *data = (const uint8_t *)"ping!";
  struct ztna_addr a4 = test_addr("10.100.0.2"), b4 = test_addr("10.100.1.9"),
                   a6 = test_addr("fd5a:10::2"), b6 = test_addr("fd5a:10:1::9");
  assert_int_equal(
      ip_build_echo(b, sizeof(b), &a4, &b4, false, 0xbeef, 3, data, 5),
      sizeof(echo4));
  assert_memory_equal(b + 20, echo4 + 20, sizeof(echo4) - 20);
  assert_int_equal(
      ip_build_echo(b, sizeof(b), &b4, &a4, true, 0xbeef, 3, data, 5),
      sizeof(reply4));
  assert_memory_equal(b + 20, reply4 + 20, sizeof(reply4) - 20);
  assert_int_equal(
      ip_build_echo(b, sizeof(b), &a6, &b6, false, 0xbeef, 3, data, 5),
      sizeof(echo6));
  assert_memory_equal(b, echo6, sizeof(echo6));
  assert_int_equal(
      ip_build_echo(b, sizeof(b), &b6, &a6, true, 0xbeef, 3, data, 5),
      sizeof(reply6));
  assert_memory_equal(b, reply6, sizeof(reply6));
}

static void what_is_built_parses_to_what_it_was_built_from(void **state) {
  static uint8_t b[2000], payload[1400];
  static const char *const ends[][2] = {
      {"192.0.2.1:65535", "203.0.113.255:1"},
      {"[2001:db8::1]:1", "[fd00::ffff]:65535"},
  };
  uint64_t seed = 4;
  for (size_t len = 0; len < sizeof(payload); len += 7) {
    struct ztna_addr src = test_addr(ends[len % 2][0]),
                     dst = test_addr(ends[len % 2][1]);
    for (size_t i = 0; i < len; i++)
      payload[i] = (uint8_t)(test_random(&seed) >> 50);
    int n = ip_build_udp(b, sizeof(b), &src, &dst, (uint8_t)len, payload, len);
    assert_true(n > 0);
    struct ip_pkt p = parsed(b, (size_t)n);
    assert_int_equal(p.kind, IP_UDP);
    assert_int_equal(p.tos, (uint8_t)len);
    assert_true(ztna_addr_equal(&p.src, &src));
    assert_true(ztna_addr_equal(&p.dst, &dst));
    assert_int_equal(p.payload_len, len);
    assert_memory_equal(p.payload, payload, len);
  }
}

static void a_payload_in_place_or_across_the_buffer_stays_itself(void **state) {
  uint8_t b[200];
  struct ztna_addr src = test_addr("192.0.2.1:1"),
                   dst = test_addr("203.0.113.2:2");
  for (size_t at = 0; at < 60; at++) {
    memcpy(b + at, "payload", 7);
    int n = ip_build_udp(b, sizeof(b), &src, &dst, 0, b + at, 7);
    struct ip_pkt p = parsed(b, (size_t)n);
    assert_payload(&p, "payload");
  }
}

static void what_does_not_fit_is_not_built(void **state) {
  static uint8_t b[70000], payload[70000];
  uint8_t *small = malloc(32);
  struct ztna_addr src = test_addr("192.0.2.1:1"),
                   dst = test_addr("203.0.113.2:2");
  assert_int_equal(ip_build_udp(small, 32, &src, &dst, 0, payload, 4), 32);
  assert_int_equal(ip_build_udp(small, 32, &src, &dst, 0, payload, 5),
                   ZTNA_ESIZE);
  assert_int_equal(ip_build_udp(small, 0, &src, &dst, 0, NULL, 0), ZTNA_ESIZE);
  assert_int_equal(ip_build_echo(small, 32, &src, &dst, true, 1, 1, payload, 5),
                   ZTNA_ESIZE);
  assert_int_equal(ip_build_udp(b, sizeof(b), &src, &dst, 0, payload, 65508),
                   ZTNA_ESIZE);
  assert_int_equal(ip_build_udp(b, sizeof(b), &src, &dst, 0, payload, 65507),
                   65535);
  assert_int_equal(ip_build_udp(b, sizeof(b), &src, &dst, 0, payload, SIZE_MAX),
                   ZTNA_ESIZE);
  struct ztna_addr from = test_addr("10.0.0.1");
  assert_int_equal(
      ip_build_error(small, 32, &from, IP_ERR_PORT, 0, udp4, sizeof(udp4)),
      ZTNA_ESIZE);
  free(small);
}

/* --- errors */

static void errors_have_the_types_and_codes_of_their_rfcs(void **state) {
  static const struct {
    enum ip_error err;
    uint8_t type4, code4, type6, code6;
  } v[] = {
      {IP_ERR_PORT, 3, 3, 1, 4},        {IP_ERR_HOST, 3, 1, 1, 3},
      {IP_ERR_NET, 3, 0, 1, 0},         {IP_ERR_PROHIBITED, 3, 13, 1, 1},
      {IP_ERR_TOO_BIG, 3, 4, 2, 0},     {IP_ERR_PROTOCOL, 3, 2, 4, 1},
      {IP_ERR_REASS_TIME, 11, 1, 3, 1},
  };
  struct ztna_addr from4 = test_addr("10.100.1.1"),
                   from6 = test_addr("fd5a:10:1::1");
  for (size_t i = 0; i < N_OF(v); i++) {
    uint8_t b[200];
    int n = ip_build_error(b, sizeof(b), &from4, v[i].err, 1280, udp4,
                           sizeof(udp4));
    struct ip_pkt p = parsed(b, (size_t)n);
    assert_int_equal(p.kind, IP_ICMP_ERROR);
    assert_int_equal(p.icmp_type, v[i].type4);
    assert_int_equal(p.icmp_code, v[i].code4);
    assert_int_equal(p.icmp_mtu, v[i].err == IP_ERR_TOO_BIG ? 1280 : 0);
    assert_addr(&p.src, "10.100.1.1");
    assert_addr(&p.dst, "10.100.0.2");
    assert_addr(&p.inner_src, "10.100.0.2:40000");
    assert_addr(&p.inner_dst, "10.100.1.9:53");
    assert_int_equal(p.payload_len, sizeof(udp4));
    assert_memory_equal(p.payload, udp4, sizeof(udp4));

    n = ip_build_error(b, sizeof(b), &from6, v[i].err, 1280, udp6,
                       sizeof(udp6));
    p = parsed(b, (size_t)n);
    assert_int_equal(p.icmp_type, v[i].type6);
    assert_int_equal(p.icmp_code, v[i].code6);
    assert_addr(&p.inner_src, "[fd5a:10::2]:40000");
    assert_memory_equal(p.payload, udp6, sizeof(udp6));
  }
}

static void an_error_is_built_as_scapy_builds_it(void **state) {
  uint8_t b[200];
  struct ztna_addr from = test_addr("10.100.1.1"),
                   from6 = test_addr("fd5a:10:1::1");
  int n = ip_build_error(b, sizeof(b), &from, IP_ERR_TOO_BIG, 1300, udp4,
                         sizeof(udp4));
  assert_int_equal(n, sizeof(fragneeded4));
  assert_memory_equal(b + 20, fragneeded4 + 20, sizeof(fragneeded4) - 20);
  n = ip_build_error(b, sizeof(b), &from6, IP_ERR_HOST, 0, echo6,
                     sizeof(echo6));
  assert_int_equal(n, sizeof(unreach6_echo));
  assert_memory_equal(b, unreach6_echo, sizeof(unreach6_echo));
}

static void an_mtu_that_ipv4_cannot_say_is_the_most_it_can(void **state) {
  uint8_t b[200];
  struct ztna_addr from = test_addr("10.100.1.1");
  int n = ip_build_error(b, sizeof(b), &from, IP_ERR_TOO_BIG, 70000, udp4,
                         sizeof(udp4));
  assert_int_equal(parsed(b, (size_t)n).icmp_mtu, 65535);
  assert_memory_equal(b + 24, "\0\0", 2);
}

static void an_error_about_extension_headers_parses_as_other(void **state) {
  uint8_t b[200];
  struct ztna_addr from = test_addr("fd5a:10:1::1");
  int n = ip_build_error(b, sizeof(b), &from, IP_ERR_PROTOCOL, 0, hopopts6,
                         sizeof(hopopts6));
  assert_int_equal(parsed(b, (size_t)n).kind, IP_OTHER);
}

static void an_error_about_a_tiny_fragment_parses(void **state) {
  uint8_t about[48 + 1], b[200];
  struct ztna_addr from = test_addr("fd5a:10:1::1");
  memcpy(about, atomic6, sizeof(about));
  about[5] = sizeof(about) - 40;
  int n =
      ip_build_error(b, sizeof(b), &from, IP_ERR_HOST, 0, about, sizeof(about));
  assert_int_equal(parsed(b, (size_t)n).kind, IP_OTHER);
}

static void the_unknown_next_header_is_pointed_at(void **state) {
  uint8_t b[200];
  struct ztna_addr from = test_addr("fd5a:10:1::1");
  int n = ip_build_error(b, sizeof(b), &from, IP_ERR_PROTOCOL, 0, hopopts6,
                         sizeof(hopopts6));
  assert_true(n > 0);
  assert_memory_equal(b + 44, "\0\0\0\6", 4);
  n = ip_build_error(b, sizeof(b), &from, IP_ERR_PROTOCOL, 0, frag6_first,
                     sizeof(frag6_first));
  assert_true(n > 0);
  assert_memory_equal(b + 44, "\0\0\0\50", 4);
}

static void an_error_quotes_as_much_as_it_may(void **state) {
  static uint8_t about[1500], b[1600], payload[1400];
  static const char *const ends[][3] = {
      {"192.0.2.1:1", "203.0.113.2:2", "203.0.113.1"},
      {"[2001:db8::1]:1", "[2001:db8::2]:2", "2001:db8::3"}};
  for (int i = 0; i < 2; i++) {
    struct ztna_addr src = test_addr(ends[i][0]), dst = test_addr(ends[i][1]),
                     from = test_addr(ends[i][2]);
    int len = ip_build_udp(about, sizeof(about), &src, &dst, 0, payload, 1400);
    int n = ip_build_error(b, sizeof(b), &from, IP_ERR_TOO_BIG, 1280, about,
                           (size_t)len);
    assert_int_equal(n, i ? 1280 : 576);
    struct ip_pkt p = parsed(b, (size_t)n);
    assert_int_equal(p.kind, IP_ICMP_ERROR);
    assert_memory_equal(p.payload, about, p.payload_len);
    assert_int_equal(p.payload_len, n - (i ? 48 : 28));
  }
}

static void an_error_may_be_built_over_what_it_is_about(void **state) {
  uint8_t b[200];
  struct ztna_addr from = test_addr("10.100.1.1");
  memcpy(b, udp4, sizeof(udp4));
  int n = ip_build_error(b, sizeof(b), &from, IP_ERR_PORT, 0, b, sizeof(udp4));
  struct ip_pkt p = parsed(b, (size_t)n);
  assert_memory_equal(p.payload, udp4, sizeof(udp4));
}

static int error_about(const uint8_t *about, size_t len) {
  uint8_t b[300];
  struct ztna_addr from =
      test_addr(about[0] >> 4 == 4 ? "10.100.1.1" : "fd5a:10:1::1");
  return ip_build_error(b, sizeof(b), &from, IP_ERR_HOST, 0, about, len);
}

static void nothing_is_said_about_errors(void **state) {
  static const uint8_t types4[] = {3, 4, 5, 11, 12};
  for (size_t i = 0; i < sizeof(types4); i++) {
    uint8_t b[sizeof(unreach4)];
    memcpy(b, unreach4, sizeof(b));
    b[20] = types4[i];
    assert_int_equal(error_about(b, sizeof(b)), 0);
    b[20] = 13; /* timestamp request */
    assert_true(error_about(b, sizeof(b)) > 0);
  }
  for (int type = 0; type < 256; type++) {
    uint8_t b[sizeof(toobig6)];
    memcpy(b, toobig6, sizeof(b));
    b[40] = (uint8_t)type;
    bool silent = type < 128 || type == 137;
    assert_int_equal(error_about(b, sizeof(b)) == 0, silent);
  }
  assert_true(error_about(echo4, sizeof(echo4)) > 0);
  assert_true(error_about(reply6, sizeof(reply6)) > 0);
}

static void nothing_is_said_about_errors_behind_extension_headers(void **s) {
  uint8_t b[sizeof(hopopts6)];
  memcpy(b, hopopts6, sizeof(b));
  assert_true(error_about(b, sizeof(b)) > 0);
  b[40] = 58; /* what was a UDP port is now type 0: an error */
  assert_int_equal(error_about(b, sizeof(b)), 0);
  b[48] = 128;
  assert_true(error_about(b, sizeof(b)) > 0);
  b[40] = 17;
  b[41] = 9; /* 80 bytes of options, which are not there */
  assert_int_equal(error_about(b, sizeof(b)), 0);
}

static void nothing_is_said_about_later_fragments(void **state) {
  assert_true(error_about(frag4_first, sizeof(frag4_first)) > 0);
  assert_true(error_about(frag6_first, sizeof(frag6_first)) > 0);
  assert_int_equal(error_about(frag4_last, sizeof(frag4_last)), 0);
  assert_int_equal(error_about(frag6_last, sizeof(frag6_last)), 0);
}

static void nothing_is_said_to_or_about_what_is_no_unicast(void **state) {
  static const char *const not [] = {"224.0.0.5", "255.255.255.255", "0.0.0.0",
                                     "240.0.0.1", "ff02::1",         "::"};
  for (size_t i = 0; i < N_OF(not ); i++)
    for (int end = 0; end < 2; end++) {
      uint8_t b[200];
      struct ztna_addr a = test_addr(not [i]),
                       peer = test_addr(a.family == 4 ? "10.0.0.1" : "fd00::1");
      int n = ip_build_udp(b, sizeof(b), end ? &a : &peer, end ? &peer : &a, 0,
                           NULL, 0);
      assert_int_equal(error_about(b, (size_t)n), 0);
    }
}

static void nothing_is_said_about_what_is_no_whole_packet(void **state) {
  for (size_t len = 0; len < sizeof(udp4); len++)
    assert_int_equal(error_about(udp4, len), 0);
  for (size_t len = 1; len < sizeof(udp6); len++)
    assert_int_equal(error_about(udp6, len), 0);
}

/* --- ECN and flows */

static void a_capable_packet_is_marked_and_stays_valid(void **state) {
  for (int ecn = 0; ecn < 4; ecn++) {
    uint8_t v4[sizeof(udp4)], v6[sizeof(udp6)];
    memcpy(v4, udp4, sizeof(v4));
    memcpy(v6, udp6, sizeof(v6));
    v4[1] = (uint8_t)(0xb8 | ecn);
    mend_header4(v4);
    v6[1] = (uint8_t)((v6[1] & ~0x30) | ecn << 4);
    assert_int_equal(ip_mark_ce(v4, sizeof(v4)), ecn != 0);
    assert_int_equal(ip_mark_ce(v6, sizeof(v6)), ecn != 0);
    assert_int_equal(PARSED(v4).tos, 0xb8 | (ecn ? 3 : 0));
    assert_int_equal(PARSED(v6).tos, 0xb8 | (ecn ? 3 : 0));
  }
}

static void the_mended_sum_is_the_right_one_for_any_header(void **state) {
  for (unsigned id = 0; id < 65536; id++) {
    uint8_t b[20];
    memcpy(b, udp4, 20);
    b[4] = (uint8_t)(id >> 8);
    b[5] = (uint8_t)id;
    mend_header4(b);
    ip_mark_ce(b, 20);
    assert_int_equal(slow_checksum(b, 20), 0);
  }
}

static void what_is_no_packet_is_not_marked(void **state) {
  uint8_t b[sizeof(udp6)];
  memcpy(b, udp6, sizeof(b));
  assert_false(ip_mark_ce(b, 39));
  b[0] = 0x50;
  assert_false(ip_mark_ce(b, sizeof(b)));
  assert_false(ip_mark_ce(b, 0));
  memcpy(b, udp4, 19);
  assert_false(ip_mark_ce(b, 19));
}

static const uint64_t key[2] = {1, 2};

static uint32_t hash_with(const uint8_t *pkt, size_t len, size_t at) {
  uint8_t b[200];
  memcpy(b, pkt, len);
  b[at] ^= 1;
  return ip_flow_hash(b, len, key);
}

static void a_flow_is_its_5_tuple_and_nothing_else(void **state) {
  static const uint8_t in4[] = {9, 12, 15, 16, 19, 20, 21, 22, 23};
  static const uint8_t out4[] = {1, 2, 4, 8, 10, 24, 26, 28, 32};
  static const uint8_t in6[] = {6, 8, 23, 24, 39, 40, 43};
  static const uint8_t out6[] = {1, 2, 3, 4, 7, 44, 46, 48};
  uint32_t h4 = ip_flow_hash(udp4, sizeof(udp4), key);
  uint32_t h6 = ip_flow_hash(udp6, sizeof(udp6), key);
  for (size_t i = 0; i < sizeof(in4); i++)
    assert_int_not_equal(hash_with(udp4, sizeof(udp4), in4[i]), h4);
  for (size_t i = 0; i < sizeof(out4); i++)
    assert_int_equal(hash_with(udp4, sizeof(udp4), out4[i]), h4);
  for (size_t i = 0; i < sizeof(in6); i++)
    assert_int_not_equal(hash_with(udp6, sizeof(udp6), in6[i]), h6);
  for (size_t i = 0; i < sizeof(out6); i++)
    assert_int_equal(hash_with(udp6, sizeof(udp6), out6[i]), h6);
}

static void an_echo_is_a_flow_by_its_identifier(void **state) {
  uint32_t h = ip_flow_hash(echo4, sizeof(echo4), key);
  assert_int_not_equal(hash_with(echo4, sizeof(echo4), 24), h);
  assert_int_equal(hash_with(echo4, sizeof(echo4), 27), h);
  h = ip_flow_hash(echo6, sizeof(echo6), key);
  assert_int_not_equal(hash_with(echo6, sizeof(echo6), 44), h);
  assert_int_equal(hash_with(echo6, sizeof(echo6), 47), h);
}

static void all_fragments_of_a_packet_are_one_flow(void **state) {
  assert_int_equal(ip_flow_hash(frag4_first, sizeof(frag4_first), key),
                   ip_flow_hash(frag4_last, sizeof(frag4_last), key));
  assert_int_equal(ip_flow_hash(frag6_first, sizeof(frag6_first), key),
                   ip_flow_hash(frag6_last, sizeof(frag6_last), key));
}

static void what_is_no_packet_has_no_flow(void **state) {
  assert_int_equal(ip_flow_hash(udp4, 0, key), 0);
  assert_int_equal(ip_flow_hash(udp4, 19, key), 0);
  assert_int_equal(ip_flow_hash(udp6, 39, key), 0);
  assert_int_equal(
      ip_flow_hash((const uint8_t *)"PPPPPPPPPPPPPPPPPPPPPP", 22, key), 0);
}

static void a_flow_hash_reads_no_byte_too_far(void **state) {
  for (size_t i = 0; i < N_IP_SAMPLES; i++)
    for (size_t len = 1; len <= ip_samples[i].len; len++) {
      uint8_t *copy = malloc(len);
      memcpy(copy, ip_samples[i].data, len);
      size_t header = copy[0] >> 4 == 4 ? 20 : 40;
      assert_int_equal(ip_flow_hash(copy, len, key) != 0, len >= header);
      free(copy);
    }
}

static void the_key_changes_every_flow(void **state) {
  static const uint64_t other[2] = {1, 3};
  assert_int_not_equal(ip_flow_hash(udp4, sizeof(udp4), key),
                       ip_flow_hash(udp4, sizeof(udp4), other));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(the_checksum_is_that_of_rfc_1071),
      TEST(the_fast_checksum_is_the_slow_one_at_any_length),
      TEST(a_checksum_continues_over_pieces),
      TEST(udp_over_ipv4_is_read),
      TEST(udp_over_ipv6_is_read),
      TEST(ipv4_options_are_stepped_over),
      TEST(a_zero_udp_checksum_is_none_over_ipv4_only),
      TEST(tcp_shows_its_flags_and_whole_transport),
      TEST(an_echo_has_its_identifier_at_the_asking_end),
      TEST(an_error_tells_about_whom_it_is),
      TEST(too_big_tells_the_mtu),
      TEST(fragments_are_told_apart_from_whole_packets),
      TEST(first_fragments_show_their_ports),
      TEST(a_protocol_that_we_do_not_carry_is_other),
      TEST(an_echo_with_a_code_is_no_echo),
      TEST(extension_headers_are_refused),
      TEST(a_mapped_address_in_an_ipv6_header_is_refused),
      TEST(a_packet_with_a_byte_missing_or_to_spare_is_refused),
      TEST(a_transport_with_a_byte_missing_is_refused),
      TEST(tcp_with_a_header_cut_short_is_refused),
      TEST(a_quote_has_8_bytes_of_transport_at_least),
      TEST(a_quote_that_nobody_may_send_is_refused),
      TEST(a_quote_longer_than_any_packet_is_refused),
      TEST(what_lies_behind_a_quote_is_no_part_of_it),
      TEST(an_error_about_other_icmp_is_other),
      TEST(an_error_about_another_protocol_names_it),
      TEST(the_reserved_flag_is_refused),
      TEST(an_ipv6_packet_beyond_65535_bytes_is_refused),
      TEST(every_changed_bit_of_what_is_summed_is_noticed),
      TEST(a_fragment_beyond_65535_bytes_is_refused),
      TEST(a_first_fragment_of_odd_length_is_refused),
      TEST(udp_is_built_as_scapy_builds_it),
      TEST(echoes_are_built_as_scapy_builds_them),
      TEST(what_is_built_parses_to_what_it_was_built_from),
      TEST(a_payload_in_place_or_across_the_buffer_stays_itself),
      TEST(what_does_not_fit_is_not_built),
      TEST(errors_have_the_types_and_codes_of_their_rfcs),
      TEST(an_error_is_built_as_scapy_builds_it),
      TEST(an_mtu_that_ipv4_cannot_say_is_the_most_it_can),
      TEST(an_error_about_extension_headers_parses_as_other),
      TEST(an_error_about_a_tiny_fragment_parses),
      TEST(the_unknown_next_header_is_pointed_at),
      TEST(an_error_quotes_as_much_as_it_may),
      TEST(an_error_may_be_built_over_what_it_is_about),
      TEST(nothing_is_said_about_errors),
      TEST(nothing_is_said_about_errors_behind_extension_headers),
      TEST(nothing_is_said_about_later_fragments),
      TEST(nothing_is_said_to_or_about_what_is_no_unicast),
      TEST(nothing_is_said_about_what_is_no_whole_packet),
      TEST(a_capable_packet_is_marked_and_stays_valid),
      TEST(the_mended_sum_is_the_right_one_for_any_header),
      TEST(what_is_no_packet_is_not_marked),
      TEST(a_flow_is_its_5_tuple_and_nothing_else),
      TEST(an_echo_is_a_flow_by_its_identifier),
      TEST(all_fragments_of_a_packet_are_one_flow),
      TEST(what_is_no_packet_has_no_flow),
      TEST(a_flow_hash_reads_no_byte_too_far),
      TEST(the_key_changes_every_flow),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
