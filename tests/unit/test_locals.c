/* test_locals.c - which of a machine's addresses others are told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <sched.h>
#include <unistd.h>

#include "host/locals.h"
#include "role/outside.h"

static struct udp *u;
static struct ztna_local v[LOCALS_MAX];

static struct ztna_addr addr(const char *text) {
  struct ztna_addr a;
  assert_int_equal(ztna_addr_parse(&a, text), 0);
  return a;
}

static uint16_t bind_at(const char *text) {
  struct ztna_addr a = addr(text);
  int i = udp_bind(u, &a);
  if (i < 0) skip();
  return udp_local(u, i).port;
}

static int setup(void **state) {
  u = udp_new();
  return u ? 0 : -1;
}

static int teardown(void **state) {
  udp_free(u);
  return 0;
}

static struct net_addr iface(const char *text) {
  struct net_addr n = {.addr = addr(text)};
  n.network = (struct ztna_prefix){n.addr, 24};
  return n;
}

static void is(size_t i, const char *ip, uint16_t port) {
  char text[ZTNA_ADDR_STRLEN];
  assert_string_equal(ztna_addr_print_ip(&v[i].addr, text), ip);
  assert_int_equal(v[i].addr.port, port);
}

static void own_addresses_bear_the_port_of_their_family(void **state) {
  uint16_t v4 = bind_at("0.0.0.0:0"), v6 = bind_at("[::]:0");
  struct net_addr all[] = {iface("2001:db8::5"), iface("192.168.1.9"),
                           iface("10.1.2.3")};
  assert_int_equal(locals_of(v, u, all, 3), 3);
  is(0, "10.1.2.3", v4);
  is(1, "192.168.1.9", v4);
  is(2, "2001:db8::5", v6);
  assert_int_equal(v[1].network.bits, 24);
}

static void what_nobody_else_can_use_is_left_out(void **state) {
  bind_at("0.0.0.0:0");
  bind_at("[::]:0");
  struct net_addr all[] = {iface("127.0.0.1"),   iface("::1"),
                           iface("169.254.3.4"), iface("0.0.0.0"),
                           iface("224.0.0.1"),   iface("2001:db8::6"),
                           iface("fe80::1%3")};
  all[5].tentative = true;
  assert_int_equal(locals_of(v, u, all, 7), 1);
  is(0, "fe80::1%3", udp_local(u, 1).port);
}

static void addresses_where_no_socket_hears_are_left_out(void **state) {
  uint16_t port = bind_at("127.0.0.77:0");
  struct net_addr all[] = {iface("192.168.1.9"), iface("2001:db8::5")};
  assert_int_equal(locals_of(v, u, all, 2), 0);
  assert_true(port > 0);
}

static void one_family_leaves_room_for_the_other(void **state) {
  struct net_addr all[101];
  bind_at("0.0.0.0:0");
  bind_at("[::]:0");
  for (int i = 0; i < 100; i++) {
    char text[32];
    snprintf(text, sizeof(text), "10.0.0.%d", 100 - i);
    all[i] = iface(text);
  }
  all[100] = iface("2001:db8::5");
  assert_int_equal(locals_of(v, u, all, 101), LOCALS_MAX / 2 + 1);
  is(0, "10.0.0.1", udp_local(u, 0).port);
  is(LOCALS_MAX / 2, "2001:db8::5", udp_local(u, 1).port);
}

/* In a network of our own: two ends of a cable, one of whose addresses is being
 * checked for duplicates. */
static void the_system_tells_what_it_has(void **state) {
  uint16_t v4 = bind_at("0.0.0.0:0");
  if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
    skip();
  if (system("ip link add va type veth peer name vb && "
             "ip link add tun9 type veth peer name other && "
             "ip link set tun9 addrgenmode none && ip link set tun9 up && "
             "ip link set va addrgenmode none && ip link set va up && "
             "ip addr add 100.64.0.3/32 dev tun9 && "
             "ip addr add 203.0.113.1/24 dev vb && "
             "ip addr add 192.0.2.7/25 dev va") != 0)
    skip();
  bind_at("[::]:0");
  assert_int_equal(locals_list(v, u, net_ifindex("tun9")), 1);
  is(0, "192.0.2.7", v4);
  assert_int_equal(v[0].network.bits, 25);
  assert_int_equal(locals_list(v, u, 0), 2);
  is(0, "100.64.0.3", v4);
  assert_int_equal(system("ip link set vb addrgenmode none && "
                          "ip link set vb up && "
                          "ip addr add 2001:db8::8/64 dev va nodad && "
                          "ip addr add 2001:db8::7/64 dev va"),
                   0);
  assert_int_equal(locals_list(v, u, net_ifindex("tun9")), 3);
  is(0, "192.0.2.7", v4);
  is(1, "203.0.113.1", v4);
  is(2, "2001:db8::8", udp_local(u, 1).port);
  for (int i = 0; i < 50 && locals_list(v, u, 0) < 5; i++) usleep(100000);
  is(3, "2001:db8::7", udp_local(u, 1).port); /* nobody else had it */
}

/* --- what a core keeps of it */

static void a_core_sees_when_something_is_news(void **state) {
  struct outside o = {0};
  struct ztna_local l[40];
  for (int i = 0; i < 40; i++)
    l[i] = (struct ztna_local){addr("10.0.0.1:5"), {addr("10.0.0.0"), 24}};
  outside_set_locals(&o, l, 2);
  assert_int_equal(o.changes, 1);
  outside_set_locals(&o, l, 2);
  assert_int_equal(o.changes, 1);
  l[1].network.bits = 25;
  outside_set_locals(&o, l, 2);
  assert_int_equal(o.changes, 2);
  l[0].addr.port = 6;
  outside_set_locals(&o, l, 2);
  assert_int_equal(o.changes, 3);
  assert_int_equal(o.locals[0].addr.port, 6);
  outside_set_locals(&o, l, 40);
  assert_int_equal(o.n_locals, OUTSIDE_LOCALS);
  outside_set_mapped(&o, &l[0].addr, 1);
  outside_set_mapped(&o, &l[0].addr, 1);
  assert_int_equal(o.changes, 5);
  outside_set_mapped(&o, NULL, 0);
  assert_int_equal(o.changes, 6);
  assert_int_equal(o.n_mapped, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(own_addresses_bear_the_port_of_their_family),
      TEST(what_nobody_else_can_use_is_left_out),
      TEST(addresses_where_no_socket_hears_are_left_out),
      TEST(one_family_leaves_room_for_the_other),
      cmocka_unit_test(a_core_sees_when_something_is_news),
      /* Moves the process to another network: last. */
      TEST(the_system_tells_what_it_has),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
