/* test_tun.c - the TUN device, addresses and routes, in a network namespace of
 * our own. `test_tun hold NAME` keeps one open for tests/e2e/tun.sh. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include <ztna/err.h>

#include "../../platform/net.h"
#include "../../platform/tun.h"
#include "base/log.h"
#include "host/logger.h"

enum { MTU = 1280 };

static struct tun tun;
static struct net *net;

static struct ztna_addr addr(const char *text) {
  struct ztna_addr a = {0};
  ztna_addr_parse(&a, text);
  return a;
}

static struct ztna_prefix prefix(const char *text) {
  struct ztna_prefix p = {0};
  ztna_prefix_parse(&p, text);
  return p;
}

static int setup(void **state) {
  static bool own;
  if (!own && unshare(CLONE_NEWNET) < 0 &&
      unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) {
    tun.fd = -2; /* tests skip */
    return 0;
  }
  own = true;
  tun.fd = -1;
  net = net_new();
  return net ? 0 : -1;
}

static int teardown(void **state) {
  if (tun.fd >= -1) tun_close(&tun);
  net_free(net);
  net = NULL;
  return 0;
}

static void open_with(bool offload) {
  if (tun.fd == -2) skip();
  int rc = tun_open(&tun, "zt%d", MTU, offload);
  if (rc == ZTNA_ENOENT || rc == ZTNA_EPERM) skip();
  assert_int_equal(rc, 0);
  assert_int_equal(tun_up(&tun), 0);
}

static void open_up(void) { open_with(true); }

/* Routes and addresses in, as an agent would have them. */
static void configure(int family) {
  struct ztna_addr a = addr(family == 4 ? "100.64.0.9" : "fd5a:64::9");
  struct ztna_prefix p = prefix(family == 4 ? "10.100.0.0/24" : "fd5a:10::/64");
  if (!net_has(net, family)) skip();
  assert_int_equal(net_addr_add(net, tun.ifindex, &a), 0);
  assert_int_equal(net_route_add(net, tun.ifindex, &p, &a), 0);
}

/* Packets go both ways: from a socket here out of the TUN, and back in. */
static void packets_cross(int family, const char *service, bool offload) {
  struct sockaddr_storage ss = {0};
  struct tun_pkt v[TUN_BATCH];
  uint8_t back[MTU];
  struct ztna_addr to = addr(service);
  open_with(offload);
  configure(family);
  socklen_t len = (socklen_t)ztna_addr_to_sockaddr(&to, &ss);
  int fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  assert_int_equal(connect(fd, (struct sockaddr *)&ss, len), 0);
  for (int i = 0; i < 3; i++) assert_int_equal(send(fd, "ping", 4, 0), 4);

  struct pollfd p = {.fd = tun.fd, .events = POLLIN};
  assert_int_equal(poll(&p, 1, 1000), 1);
  assert_int_equal(tun_read(&tun, v, TUN_BATCH), 3);
  size_t ip = family == 4 ? 20 : 40;
  assert_int_equal(v[2].len, ip + 8 + 4);
  assert_int_equal(v[2].data[0] >> 4, family);
  assert_memory_equal(v[2].data + ip + 8, "ping", 4);
  assert_int_equal(tun_read(&tun, v, TUN_BATCH), 0);

  /* Swap addresses and ports: sums over them stay the same. */
  memcpy(back, v[2].data, v[2].len);
  size_t at = family == 4 ? 12 : 8, n = family == 4 ? 4 : 16;
  memcpy(back + at, v[2].data + at + n, n);
  memcpy(back + at + n, v[2].data + at, n);
  memcpy(back + ip, v[2].data + ip + 2, 2);
  memcpy(back + ip + 2, v[2].data + ip, 2);
  assert_int_equal(v[2].partial, tun.offload != 0);
  struct tun_pkt out[2] = {
      {.data = back, .len = v[2].len, .partial = v[2].partial},
      {.data = (const uint8_t *)"?", .len = 1}};
  tun_write(&tun, out, 2);
  assert_int_equal(tun.counters.tx_packets, 1);
  assert_int_equal(tun.counters.tx_dropped, 1);
  p.fd = fd;
  assert_int_equal(poll(&p, 1, 1000), 1);
  assert_int_equal(recv(fd, back, sizeof(back), 0), 4);
  close(fd);
}

static void packets_cross_v4(void **state) {
  packets_cross(4, "10.100.0.2:9999", true);
}

static void packets_cross_v6(void **state) {
  packets_cross(6, "[fd5a:10::2]:9999", true);
}

static void packets_cross_without_offload_v4(void **state) {
  packets_cross(4, "10.100.0.2:9999", false);
  assert_int_equal(tun.offload, 0);
}

static void packets_cross_without_offload_v6(void **state) {
  packets_cross(6, "[fd5a:10::2]:9999", false);
}

static void nothing_leaves_by_itself(void **state) {
  struct tun_pkt v[TUN_BATCH];
  open_up();
  configure(4);
  if (net_has(net, 6)) configure(6);
  struct pollfd p = {.fd = tun.fd, .events = POLLIN};
  poll(&p, 1, 2500); /* router solicitations and MLD would come within 2 s */
  assert_int_equal(tun_read(&tun, v, TUN_BATCH), 0);
}

static void second_opener_hears_who_has_it(void **state) {
  struct tun other;
  open_up();
  assert_int_equal(tun_open(&other, tun.name, MTU, true), ZTNA_EEXIST);
  tun_close(&other);
  assert_int_equal(tun_open(&other, "lo", MTU, true), ZTNA_EEXIST);
  tun_close(&other);
  assert_int_equal(tun_open(&other, "a/b", MTU, true), ZTNA_EINVAL);
  assert_int_equal(tun_open(&other, "longer-than-linux-takes", MTU, true),
                   ZTNA_EINVAL);
  assert_int_equal(tun_open(&other, "ok", 100, true), ZTNA_EINVAL);
}

static void closing_leaves_nothing(void **state) {
  struct net_addr v[32];
  open_up();
  configure(4);
  assert_true(net_ifindex(tun.name) > 0);
  tun_close(&tun);
  assert_int_equal(net_ifindex(tun.name), 0);
  assert_int_equal(net_addrs(net, 0, v, 32), 0); /* lo is down here */
}

static void addresses_and_routes_can_be_taken_back(void **state) {
  struct net_addr v[32];
  struct ztna_addr a = addr("100.64.0.9");
  struct ztna_prefix p = prefix("10.100.0.0/24"), q = prefix("10.200.0.1/32");
  open_up();
  configure(4);
  assert_int_equal(net_addr_add(net, tun.ifindex, &a), ZTNA_EEXIST);
  assert_int_equal(net_route_add(net, tun.ifindex, &p, &a), ZTNA_EEXIST);
  assert_int_equal(net_route_add(net, tun.ifindex, &q, NULL), 0);
  assert_int_equal(net_addrs(net, 0, v, 32), 1);
  assert_true(ztna_addr_same_ip(&v[0].addr, &a));
  assert_int_equal(v[0].network.bits, 32);
  assert_int_equal(v[0].ifindex, tun.ifindex);
  assert_string_equal(v[0].ifname, tun.name);
  assert_int_equal(net_addrs(net, tun.ifindex, v, 32), 0);

  assert_int_equal(net_route_del(net, tun.ifindex, &p), 0);
  assert_int_equal(net_route_del(net, tun.ifindex, &p), ZTNA_ENOENT);
  assert_int_equal(net_addr_del(net, tun.ifindex, &a), 0);
  assert_int_equal(net_addr_del(net, tun.ifindex, &a), ZTNA_ENOENT);
  assert_int_equal(net_addr_add(net, 9999, &a), ZTNA_ENOENT);
}

static void leftovers_on_a_device_are_cleaned(void **state) {
  struct net_addr v[32];
  open_up();
  configure(4);
  int n = 2;
  if (net_has(net, 6)) {
    configure(6);
    n = 4;
  }
  assert_int_equal(net_clean(net, 9999), 0);
  assert_int_equal(net_clean(net, tun.ifindex), n);
  assert_int_equal(net_clean(net, tun.ifindex), 0);
  assert_int_equal(net_addrs(net, 0, v, 32), 0);
}

static void disabled_ipv6_is_left_out(void **state) {
  struct ztna_addr a = addr("fd5a:64::9");
  int fd = open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY);
  open_up();
  if (fd < 0 || write(fd, "1", 1) != 1) skip();
  close(fd);
  net_free(net);
  net = net_new();
  assert_false(net_has(net, 6));
  assert_true(net_has(net, 4));
  assert_int_equal(net_addr_add(net, tun.ifindex, &a), ZTNA_ENOENT);
}

static void changes_elsewhere_are_seen(void **state) {
  struct tun other;
  struct ztna_addr a = addr("192.0.2.1");
  open_up();
  int fd = net_watch_open();
  assert_true(fd >= 0);
  configure(4);
  assert_false(net_watch_read(fd, tun.ifindex)); /* our own device */
  assert_int_equal(tun_open(&other, "zz%d", MTU, true), 0);
  assert_int_equal(tun_up(&other), 0);
  assert_int_equal(net_addr_add(net, other.ifindex, &a), 0);
  assert_true(net_watch_read(fd, tun.ifindex));
  assert_false(net_watch_read(fd, tun.ifindex));
  tun_close(&other);
  assert_true(net_watch_read(fd, tun.ifindex));
  close(fd);
}

/* For the shell test: a device with addresses and routes, until killed. */
static int hold(const char *name) {
  struct ztna_addr a4 = addr("100.64.0.9"), a6 = addr("fd5a:64::9");
  struct ztna_prefix p4 = prefix("10.100.0.0/24"), p6 = prefix("fd5a:10::/64");
  logger_start(2, LOGGER_TEXT);
  net = net_new();
  int rc = tun_open(&tun, name, MTU, true);
  if (rc < 0) return -rc;
  if (tun_up(&tun) < 0 || net_addr_add(net, tun.ifindex, &a4) < 0 ||
      net_route_add(net, tun.ifindex, &p4, &a4) < 0)
    return 1;
  if (net_has(net, 6) && (net_addr_add(net, tun.ifindex, &a6) < 0 ||
                          net_route_add(net, tun.ifindex, &p6, &a6) < 0))
    return 1;
  puts("up");
  fflush(stdout);
  for (;;) pause();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      TEST(packets_cross_v4),
      TEST(packets_cross_v6),
      TEST(packets_cross_without_offload_v4),
      TEST(packets_cross_without_offload_v6),
      TEST(nothing_leaves_by_itself),
      TEST(second_opener_hears_who_has_it),
      TEST(closing_leaves_nothing),
      TEST(addresses_and_routes_can_be_taken_back),
      TEST(leftovers_on_a_device_are_cleaned),
      TEST(changes_elsewhere_are_seen),
      TEST(disabled_ipv6_is_left_out),
  };
  if (argc == 3 && strcmp(argv[1], "hold") == 0) return hold(argv[2]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
