/* test_addr.c - addresses and prefixes: text, order, kinds, the system's. */
#include "unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static struct ztna_prefix prefix(const char *text) {
  struct ztna_prefix p;
  if (ztna_prefix_parse(&p, text) < 0) fail_msg("no prefix: %s", text);
  return p;
}

static void text_that_is_canonical_is_printed_as_it_was_parsed(void **state) {
  static const char *const texts[] = {
      "0.0.0.0",
      "192.0.2.1",
      "255.255.255.255",
      "192.0.2.1:53",
      "127.0.0.1:65535",
      "::",
      "::1",
      "2001:db8::1",
      "[2001:db8::1]:53",
      "fe80::1%2",
      "[fe80::1%7]:4433",
      "[::]:1",
      "1:2:3:4:5:6:7:8",
      "[fe80:1111:2222:3333:4444:5555:6666:7777"
      "%4294967295]:65535",
  };
  for (size_t i = 0; i < N_OF(texts); i++) {
    char buf[ZTNA_ADDR_STRLEN];
    struct ztna_addr a = test_addr(texts[i]);
    assert_string_equal(ztna_addr_print(&a, buf), texts[i]);
  }
}

static void text_is_read_into_bytes_port_and_scope(void **state) {
  struct ztna_addr a = test_addr("192.0.2.1:53");
  static const uint8_t v4[16] = {192, 0, 2, 1};
  assert_int_equal(a.family, 4);
  assert_int_equal(a.port, 53);
  assert_memory_equal(a.ip, v4, 16);

  a = test_addr("[fe80::a:b%9]:443");
  static const uint8_t v6[16] = {0xfe, 0x80, [13] = 10, [15] = 11};
  assert_int_equal(a.family, 6);
  assert_int_equal(a.port, 443);
  assert_int_equal(a.scope, 9);
  assert_memory_equal(a.ip, v6, 16);
}

static void without_a_port_it_is_0(void **state) {
  assert_int_equal(test_addr("192.0.2.1").port, 0);
  assert_int_equal(test_addr("192.0.2.1:0").port, 0);
  assert_int_equal(test_addr("2001:db8::1").port, 0);
  assert_int_equal(test_addr("[2001:db8::1]").port, 0);
}

static void what_is_no_address_is_refused_and_changes_nothing(void **state) {
  static const char *const texts[] = {
      "",
      " ",
      "localhost",
      "1.2.3",
      "1.2.3.4.5",
      "1.2.3.256",
      "01.2.3.4",
      "0x1.2.3.4",
      " 1.2.3.4",
      "1.2.3.4 ",
      "1.2.3.4:",
      "1.2.3.4:65536",
      "1.2.3.4:99999999999999999999",
      "1.2.3.4:-1",
      "1.2.3.4:+1",
      "1.2.3.4:053",
      "1.2.3.4:53x",
      "1.2.3.4%1",
      "[1.2.3.4]",
      "[1.2.3.4]:53",
      ":",
      "::1::",
      ":::",
      "1:2:3:4:5:6:7",
      "1:2:3:4:5:6:7:8:9",
      "12345::",
      "[::1",
      "::1]",
      "[]",
      "[]:53",
      "[::1]53",
      "[::1]:",
      "[::1]:65536",
      "[[::1]]:1",
      "::1%1",
      "2001:db8::1%1",
      "fe80::1%",
      "fe80::1%eth0",
      "fe80::1%4294967296",
      "fe80::1%01",
      "::ffff:1.2.3.4%1",
      "1.2.3.4/24",
  };
  for (size_t i = 0; i < N_OF(texts); i++) {
    struct ztna_addr a = test_addr("192.0.2.9:9"), was = a;
    if (ztna_addr_parse(&a, texts[i]) != ZTNA_EMALFORMED)
      fail_msg("taken: '%s'", texts[i]);
    assert_memory_equal(&a, &was, sizeof(a));
  }
}

static void a_v4_mapped_address_is_the_v4_address(void **state) {
  struct ztna_addr v4 = test_addr("192.0.2.1:53");
  struct ztna_addr mapped = test_addr("[::ffff:192.0.2.1]:53");
  assert_true(ztna_addr_equal(&v4, &mapped));
  assert_memory_equal(&v4, &mapped, sizeof(v4));

  struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(53)};
  inet_pton(AF_INET6, "::ffff:192.0.2.1", &in6.sin6_addr);
  assert_int_equal(ztna_addr_from_sockaddr(&mapped, &in6), 0);
  assert_memory_equal(&v4, &mapped, sizeof(v4));
}

static void no_address_prints_as_a_dash(void **state) {
  char buf[ZTNA_ADDR_STRLEN];
  struct ztna_addr a = {.port = 3};
  assert_string_equal(ztna_addr_print(&a, buf), "-");
}

static void addresses_differ_by_port_scope_and_family(void **state) {
  struct ztna_addr a = test_addr("[fe80::1%1]:5"),
                   b = test_addr("[fe80::1%2]:5"),
                   c = test_addr("[fe80::1%1]:6"), d = test_addr("0.0.0.0"),
                   e = test_addr("::");
  assert_false(ztna_addr_equal(&a, &b));
  assert_false(ztna_addr_same_ip(&a, &b));
  assert_false(ztna_addr_equal(&a, &c));
  assert_true(ztna_addr_same_ip(&a, &c));
  assert_false(ztna_addr_same_ip(&d, &e));
}

static void the_order_is_total(void **state) {
  static const char *const sorted[] = {
      "0.0.0.0",     "10.0.0.1:9", "10.0.0.2:1",    "10.0.0.2:256",
      "192.0.2.1",   "::",         "::1",           "2001:db8::1",
      "[fe80::1]:1", "fe80::1%1",  "[fe80::1%1]:7", "fe80::1%300",
  };
  for (size_t i = 0; i < N_OF(sorted); i++)
    for (size_t j = 0; j < N_OF(sorted); j++) {
      struct ztna_addr a = test_addr(sorted[i]), b = test_addr(sorted[j]);
      int c = ztna_addr_cmp(&a, &b);
      assert_int_equal((c > 0) - (c < 0), (i > j) - (i < j));
    }
}

static void kinds_of_addresses_are_told_apart(void **state) {
  static const struct {
    const char *text;
    bool loopback, multicast, link_local, unspecified;
  } v[] = {
      {"127.0.0.1", .loopback = true},
      {"127.255.0.3", .loopback = true},
      {.text = "128.0.0.1"},
      {"::1", .loopback = true},
      {.text = "::2"},
      {"224.0.0.1", .multicast = true},
      {"239.255.255.255", .multicast = true},
      {.text = "240.0.0.1"},
      {.text = "223.255.255.255"},
      {"ff02::1", .multicast = true},
      {.text = "fe00::1"},
      {"169.254.3.4", .link_local = true},
      {.text = "169.253.3.4"},
      {"fe80::1", .link_local = true},
      {"febf::1", .link_local = true},
      {.text = "fec0::1"},
      {"0.0.0.0", .unspecified = true},
      {"::", .unspecified = true},
      {.text = "0.0.0.1"},
  };
  for (size_t i = 0; i < N_OF(v); i++) {
    struct ztna_addr a = test_addr(v[i].text);
    assert_int_equal(ztna_addr_is_loopback(&a), v[i].loopback);
    assert_int_equal(ztna_addr_is_multicast(&a), v[i].multicast);
    assert_int_equal(ztna_addr_is_link_local(&a), v[i].link_local);
    assert_int_equal(ztna_addr_is_unspecified(&a), v[i].unspecified);
  }
}

static void a_prefix_is_printed_as_it_was_parsed(void **state) {
  static const char *const texts[] = {
      "0.0.0.0/0",    "10.0.0.0/8",      "10.100.0.0/23",
      "192.0.2.1/32", "128.0.0.0/1",     "::/0",
      "fd5a:10::/64", "2001:db8::1/128", "fd5a:8000::/17",
  };
  for (size_t i = 0; i < N_OF(texts); i++) {
    char buf[ZTNA_ADDR_STRLEN];
    struct ztna_prefix p = prefix(texts[i]);
    assert_string_equal(ztna_prefix_print(&p, buf), texts[i]);
  }
}

static void what_is_no_prefix_is_refused(void **state) {
  static const char *const texts[] = {
      "10.0.0.0",
      "10.0.0.0/",
      "10.0.0.0/33",
      "10.0.0.0/-1",
      "10.0.0.0/08",
      "10.0.0.0/8 ",
      "10.0.0.1/31",
      "10.0.1.0/23",
      "128.0.0.0/0",
      "10.0.0.0:53/8",
      "[fd5a::]/64",
      "fd5a::/129",
      "fd5a::1/127",
      "fd5a:4000::/17",
      "fe80::%1/64",
      "/8",
      "::ffff:10.0.0.0/104",
      "::ffff:10.0.0.0/8",
      "10.0.0.0/4294967304",
      "10.0.0.0/8/8",
  };
  for (size_t i = 0; i < N_OF(texts); i++) {
    struct ztna_prefix p;
    if (ztna_prefix_parse(&p, texts[i]) != ZTNA_EMALFORMED)
      fail_msg("taken: '%s'", texts[i]);
  }
}

static void assert_has(const char *p, const char *a, bool has) {
  struct ztna_prefix prefix_ = prefix(p);
  struct ztna_addr addr = test_addr(a);
  if (ztna_prefix_has(&prefix_, &addr) != has) fail_msg("%s in %s", a, p);
}

static void a_prefix_has_the_addresses_between_its_ends(void **state) {
  assert_has("10.100.0.0/23", "10.100.0.0", true);
  assert_has("10.100.0.0/23", "10.100.1.255:99", true);
  assert_has("10.100.0.0/23", "10.100.2.0", false);
  assert_has("10.100.0.0/23", "10.99.255.255", false);
  assert_has("192.0.2.1/32", "192.0.2.1", true);
  assert_has("192.0.2.1/32", "192.0.2.0", false);
  assert_has("0.0.0.0/0", "255.0.0.1", true);
  assert_has("0.0.0.0/0", "::1", false);
  assert_has("::/0", "0.0.0.0", false);
  assert_has("fd5a:8000::/17", "fd5a:ffff::1", true);
  assert_has("fd5a:8000::/17", "fd5a:7fff::1", false);
  assert_has("2001:db8::1/128", "2001:db8::1", true);
  assert_has("2001:db8::1/128", "2001:db8::2", false);
}

static void nothing_is_in_no_prefix(void **state) {
  struct ztna_prefix none = {0};
  struct ztna_addr no_addr = {0};
  assert_false(ztna_prefix_has(&none, &no_addr));
}

static void prefixes_overlap_when_one_holds_the_other(void **state) {
  struct ztna_prefix wide = prefix("10.0.0.0/8"), in = prefix("10.9.0.0/16"),
                     other = prefix("11.0.0.0/16"), all6 = prefix("::/0");
  assert_true(ztna_prefix_overlaps(&wide, &in));
  assert_true(ztna_prefix_overlaps(&in, &wide));
  assert_true(ztna_prefix_overlaps(&in, &in));
  assert_false(ztna_prefix_overlaps(&wide, &other));
  assert_false(ztna_prefix_overlaps(&other, &wide));
  assert_false(ztna_prefix_overlaps(&all6, &in));
}

static void the_systems_form_and_back_is_the_same(void **state) {
  static const char *const texts[] = {"192.0.2.1:53", "[2001:db8::1]:53",
                                      "[fe80::1%3]:65535", "0.0.0.0"};
  for (size_t i = 0; i < N_OF(texts); i++) {
    struct sockaddr_storage ss;
    struct ztna_addr a = test_addr(texts[i]), b;
    memset(&b, 0xff, sizeof(b));
    assert_int_equal(ztna_addr_to_sockaddr(&a, &ss),
                     a.family == 4 ? sizeof(struct sockaddr_in)
                                   : sizeof(struct sockaddr_in6));
    assert_int_equal(ztna_addr_from_sockaddr(&b, &ss), 0);
    assert_memory_equal(&a, &b, sizeof(a));
  }
}

static void the_systems_form_has_network_order_and_scope(void **state) {
  struct sockaddr_in6 in6;
  struct ztna_addr a = test_addr("[fe80::1%3]:258");
  ztna_addr_to_sockaddr(&a, &in6);
  assert_int_equal(in6.sin6_family, AF_INET6);
  assert_memory_equal(&in6.sin6_port, "\1\2", 2);
  assert_int_equal(in6.sin6_scope_id, 3);
}

static void other_families_have_no_systems_form(void **state) {
  struct sockaddr_storage ss = {.ss_family = AF_UNIX};
  struct ztna_addr a = {0};
  assert_int_equal(ztna_addr_from_sockaddr(&a, &ss), ZTNA_EINVAL);
  assert_int_equal(ztna_addr_to_sockaddr(&a, &ss), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(text_that_is_canonical_is_printed_as_it_was_parsed),
      TEST(text_is_read_into_bytes_port_and_scope),
      TEST(without_a_port_it_is_0),
      TEST(what_is_no_address_is_refused_and_changes_nothing),
      TEST(a_v4_mapped_address_is_the_v4_address),
      TEST(no_address_prints_as_a_dash),
      TEST(addresses_differ_by_port_scope_and_family),
      TEST(the_order_is_total),
      TEST(kinds_of_addresses_are_told_apart),
      TEST(a_prefix_is_printed_as_it_was_parsed),
      TEST(what_is_no_prefix_is_refused),
      TEST(a_prefix_has_the_addresses_between_its_ends),
      TEST(nothing_is_in_no_prefix),
      TEST(prefixes_overlap_when_one_holds_the_other),
      TEST(the_systems_form_and_back_is_the_same),
      TEST(the_systems_form_has_network_order_and_scope),
      TEST(other_families_have_no_systems_form),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
