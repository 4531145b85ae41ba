/* test_direct_filter.c - where a peer can make this machine send packets to. */
#include "unit.h"

#include "role/direct_filter.h"

/* A machine with an address of each kind, in networks of its own. */
static void machine(struct outside *o) {
  static const char *const v[][2] = {
      {"192.168.1.10:4000", "192.168.1.0/24"},
      {"198.51.100.9:4000", "198.51.100.8/29"},
      {"10.9.9.9:4000", "10.9.9.9/32"},
      {"10.9.8.2:4000", "10.9.8.2/31"},
      {"[2001:db8:1::10]:4000", "2001:db8:1::/64"},
      {"[fd00:1::10]:4000", "fd00:1::/64"},
  };

  memset(o, 0, sizeof(*o));
  for (size_t i = 0; i < N_OF(v); i++) {
    o->locals[i].addr = test_addr(v[i][0]);
    assert_int_equal(ztna_prefix_parse(&o->locals[i].network, v[i][1]), 0);
  }
  o->n_locals = N_OF(v);
}

static bool passes(const char *text) {
  struct outside o;
  struct ztna_addr a = test_addr(text);

  machine(&o);
  return direct_filter_passes(&o, &a);
}

#define ALL(want, ...)                                            \
  do {                                                            \
    static const char *const v_[] = {__VA_ARGS__};                \
    for (size_t i_ = 0; i_ < N_OF(v_); i_++)                      \
      if (passes(v_[i_]) != (want))                               \
        fail_msg("%s %s", v_[i_], (want) ? "stopped" : "passed"); \
  } while (0)

static void machines_of_the_internet_may_be_sent_to(void **state) {
  ALL(true, "203.0.113.5:4000", "8.8.8.8:1", "1.0.0.0:65535",
      "223.255.255.255:4000", "[2001:db8::1]:4000", "[2a00:1450::1]:4000",
      "172.15.0.1:1", "172.32.0.1:1", "100.63.255.255:1", "100.128.0.0:1",
      "192.167.0.1:1", "192.169.0.1:1", "11.0.0.1:1");
}

static void nothing_goes_to_this_machine_itself(void **state) {
  ALL(false, "127.0.0.1:4000", "127.255.1.2:53", "[::1]:4000",
      "[::ffff:127.0.0.1]:4000", "0.0.0.0:4000", "[::]:4000",
      "192.168.1.10:4000", "192.168.1.10:22", "198.51.100.9:53", "10.9.9.9:53",
      "[2001:db8:1::10]:22", "[fd00:1::10]:22");
}

static void nothing_goes_to_many_machines_at_once(void **state) {
  ALL(false, "224.0.0.1:4000", "239.255.255.250:1900", "255.255.255.255:67",
      "240.0.0.1:4000", "[ff02::1]:4000", "[ff0e::1]:4000",
      "192.168.1.255:4000", "192.168.1.0:4000", "198.51.100.15:4000",
      "198.51.100.8:4000");
}

static void nothing_goes_to_what_is_no_host(void **state) {
  ALL(false, "0.1.2.3:4000", "169.254.169.254:80", "[fe80::1]:4000",
      "[fe80::1%2]:4000", "203.0.113.5", "[2001:db8::1]");
}

static void no_ipv4_address_hides_in_an_ipv6_one(void **state) {
  ALL(false, "[::ffff:169.254.169.254]:80", "[::127.0.0.1]:80",
      "[::10.0.0.1]:80", "[64:ff9b::a9fe:a9fe]:80", "[64:ff9b:1::1]:80",
      "[2002:7f00:1::1]:80", "[2001:0:7f00:1::1]:80");
}

static void private_addresses_are_only_those_of_own_networks(void **state) {
  ALL(true, "192.168.1.20:4000", "[fd00:1::20]:4000", "10.9.8.3:4000");
  ALL(false, "192.168.2.20:4000", "10.0.0.1:4000", "10.9.9.8:4000",
      "172.16.0.1:4000", "172.31.255.255:4000", "100.64.0.1:4000",
      "100.127.255.255:4000", "[fd00:2::20]:4000", "[fc00::1]:4000",
      "[fec0::1]:4000");
}

static void neighbours_in_a_public_network_may_be_sent_to(void **state) {
  ALL(true, "198.51.100.10:4000", "198.51.100.16:4000",
      "[2001:db8:1::20]:4000");
}

/* What the skin does not know the network of is in none. */
static void an_unknown_network_holds_nobody(void **state) {
  struct outside o = {.n_locals = 1};
  struct ztna_addr a = test_addr("10.1.2.3:4000");

  o.locals[0].addr = test_addr("10.9.9.9:4000");
  assert_false(direct_filter_passes(&o, &a));
  o.locals[0].network.addr.family = 4; /* 0.0.0.0/0 */
  assert_false(direct_filter_passes(&o, &a));
}

static void private_networks_of_the_configuration_are_own(void **state) {
  struct outside o = {.n_networks = 1};
  struct ztna_addr in = test_addr("10.20.3.4:4000"),
                   out = test_addr("10.21.3.4:4000"),
                   loop = test_addr("127.0.0.1:4000");

  ztna_prefix_parse(&o.networks[0], "10.20.0.0/16");
  assert_true(direct_filter_passes(&o, &in));
  assert_false(direct_filter_passes(&o, &out));
  ztna_prefix_parse(&o.networks[0], "127.0.0.0/8");
  assert_false(direct_filter_passes(&o, &loop));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(machines_of_the_internet_may_be_sent_to),
      TEST(nothing_goes_to_this_machine_itself),
      TEST(nothing_goes_to_many_machines_at_once),
      TEST(nothing_goes_to_what_is_no_host),
      TEST(no_ipv4_address_hides_in_an_ipv6_one),
      TEST(private_addresses_are_only_those_of_own_networks),
      TEST(neighbours_in_a_public_network_may_be_sent_to),
      TEST(an_unknown_network_holds_nobody),
      TEST(private_networks_of_the_configuration_are_own),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
