/* test_udp.c - what leaves through real loopback sockets is what arrives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <ztna/err.h>

#include "host/udp.h"

enum { ROOM = 1 << 18, MAX_PACKETS = 512 };

static struct udp *tx, *rx;
static struct ztna_addr to; /* rx's address */
static uint8_t bytes[ROOM];

/* What rx got, packet by packet. */
static struct {
  uint8_t data[ROOM];
  size_t len;
  uint32_t sizes[MAX_PACKETS];
  int n, n_trains;
  struct dgram last;
} got;

static struct ztna_addr addr(const char *text) {
  struct ztna_addr a;
  assert_int_equal(ztna_addr_parse(&a, text), 0);
  return a;
}

static int setup(void **state) {
  for (size_t i = 0; i < ROOM; i++) bytes[i] = (uint8_t)(i * 7 + i / 251);
  tx = udp_new();
  rx = udp_new();
  memset(&got, 0, sizeof(got));
  return tx && rx ? 0 : -1;
}

static int teardown(void **state) {
  udp_free(tx);
  udp_free(rx);
  return 0;
}

/* tx and rx bound, rx at its address. Skips where the family is missing. */
static void bind_both(const char *tx_at, const char *rx_at) {
  struct ztna_addr a = addr(tx_at), b = addr(rx_at);
  if (udp_bind(tx, &a) < 0) skip();
  assert_int_equal(udp_bind(rx, &b), 0);
  to = udp_local(rx, 0);
}

static void take(const struct dgram *d) {
  assert_true(d->seg > 0);
  for (uint32_t at = 0; at < d->len; at += d->seg) {
    assert_true(got.n < MAX_PACKETS);
    uint32_t left = d->len - at;
    got.sizes[got.n++] = left < d->seg ? left : d->seg;
  }
  assert_true(got.len + d->len <= ROOM);
  memcpy(got.data + got.len, d->data, d->len);
  got.len += d->len;
  got.n_trains++;
  got.last = *d;
}

/* Receives until n packets are there or nothing came for 200 ms. */
static void receive(struct udp *u, int n) {
  struct dgram v[UDP_BATCH];
  struct pollfd p = {.fd = udp_fd(u, 0), .events = POLLIN};
  while (got.n < n && poll(&p, 1, 200) > 0) {
    int k = udp_recv(u, v, UDP_BATCH);
    for (int i = 0; i < k; i++) take(&v[i]);
  }
}

static struct dgram dgram(size_t offset, uint32_t len, uint16_t seg) {
  return (struct dgram){
      .remote = to, .data = bytes + offset, .len = len, .seg = seg};
}

static void send_all(const struct dgram *v, int n) {
  assert_int_equal(udp_send(tx, v, n), n);
}

static void train_of(uint32_t len, uint16_t seg) {
  struct dgram d = dgram(0, len, seg);
  int n = (int)((len + seg - 1) / seg);
  send_all(&d, 1);
  receive(rx, n);
  assert_int_equal(got.n, n);
  assert_int_equal(got.len, len);
  assert_memory_equal(got.data, bytes, len);
  for (int i = 0; i < n - 1; i++) assert_int_equal(got.sizes[i], seg);
  assert_int_equal(udp_counters(tx)->tx_packets, n);
  assert_int_equal(udp_counters(rx)->rx_packets, n);
}

static void train_arrives_whole_and_in_order_v4(void **state) {
  bind_both("127.0.0.1:0", "127.0.0.1:0");
  train_of(50 * 1200 + 700, 1200);
  assert_int_equal(udp_counters(tx)->tx_sends, 1);
}

static void train_arrives_whole_and_in_order_v6(void **state) {
  bind_both("[::1]:0", "[::1]:0");
  train_of(50 * 1200 + 700, 1200);
  assert_int_equal(udp_counters(tx)->tx_sends, 1);
}

static void train_above_the_caps_is_split(void **state) {
  bind_both("127.0.0.1:0", "127.0.0.1:0");
  train_of(150 * 1000 + 1, 1000);
  assert_true(udp_counters(tx)->tx_sends >= 3);
}

static void train_of_tiny_segments_is_split_at_64(void **state) {
  bind_both("127.0.0.1:0", "127.0.0.1:0");
  train_of(200 * 10, 10);
  assert_int_equal(udp_counters(tx)->tx_sends, 4);
}

static void packets_of_1_and_1472_bytes_arrive(void **state) {
  static const uint16_t sizes[] = {1, 1472, 1, 1200, 65507};
  bind_both("0.0.0.0:0", "127.0.0.1:0");
  for (int i = 0; i < 5; i++) {
    struct dgram d = dgram(0, sizes[i], sizes[i]);
    send_all(&d, 1);
    receive(rx, i + 1);
    assert_int_equal(got.n, i + 1);
    assert_int_equal(got.sizes[i], sizes[i]);
    assert_memory_equal(got.last.data, bytes, sizes[i]);
  }
}

static void neighbours_leave_as_one_train(void **state) {
  struct dgram v[17];
  bind_both("127.0.0.1:0", "127.0.0.1:0");
  for (int i = 0; i < 16; i++) v[i] = dgram((size_t)i * 1200, 1200, 1200);
  v[16] = dgram(16 * 1200, 300, 300);
  send_all(v, 17);
  receive(rx, 17);
  assert_int_equal(got.n, 17);
  assert_int_equal(got.sizes[16], 300);
  assert_memory_equal(got.data, bytes, 16 * 1200 + 300);
  assert_int_equal(udp_counters(tx)->tx_sends, 1);
}

static void other_segment_sizes_are_never_merged(void **state) {
  bind_both("127.0.0.1:0", "127.0.0.1:0");
  struct dgram v[] = {dgram(0, 1200, 1200),    dgram(1200, 200, 100),
                      dgram(1400, 1300, 1300), dgram(2700, 2000, 1000),
                      dgram(4700, 900, 900),   dgram(5600, 900, 900)};
  static const uint32_t want[] = {1200, 100, 100, 1300, 1000, 1000, 900, 900};
  send_all(v, 6);
  receive(rx, 8);
  assert_int_equal(got.n, 8);
  assert_memory_equal(got.sizes, want, sizeof(want));
  assert_memory_equal(got.data, bytes, 6500);
}

static void empty_datagrams_are_passed_over(void **state) {
  bind_both("127.0.0.1:0", "127.0.0.1:0");
  struct dgram v[] = {dgram(0, 0, 100), dgram(0, 5, 5), dgram(5, 0, 0)};
  send_all(v, 3);
  receive(rx, 1);
  assert_int_equal(got.n, 1);
  assert_int_equal(got.sizes[0], 5);
}

static void many_destinations_in_one_call(void **state) {
  struct dgram v[100];
  struct udp *other = udp_new();
  bind_both("127.0.0.1:0", "127.0.0.1:0");
  struct ztna_addr a = addr("127.0.0.1:0");
  assert_int_equal(udp_bind(other, &a), 0);
  for (int i = 0; i < 100; i++) {
    v[i] = dgram((size_t)i * 100, 100, 100);
    if (i % 2) v[i].remote = udp_local(other, 0);
  }
  send_all(v, 100);
  receive(rx, 50);
  receive(other, 100);
  assert_int_equal(got.n, 100);
  assert_int_equal(udp_counters(tx)->tx_sends, 100);
  udp_free(other);
}

static void local_address_is_kept(const char *any, const char *dst) {
  struct ztna_addr a = addr(any);
  if (udp_bind(rx, &a) < 0) skip();
  a = addr(dst);
  a.port = 0;
  assert_int_equal(udp_bind(tx, &a), 0);
  to = addr(dst);
  to.port = udp_local(rx, 0).port;
  struct dgram d = dgram(0, 10, 10);
  send_all(&d, 1);
  receive(rx, 1);
  assert_int_equal(got.n, 1);
  assert_true(ztna_addr_equal(&got.last.local, &to));
  struct ztna_addr from = udp_local(tx, 0);
  assert_true(ztna_addr_equal(&got.last.remote, &from));
  d.remote = got.last.remote;
  d.local = got.last.local;
  assert_int_equal(udp_send(rx, &d, 1), 1);
  receive(tx, 2);
  assert_int_equal(got.n, 2);
  assert_true(ztna_addr_equal(&got.last.remote, &to));
}

static void local_address_is_kept_v4(void **state) {
  local_address_is_kept("0.0.0.0:0", "127.0.0.77");
}

static void local_address_is_kept_v6(void **state) {
  local_address_is_kept("[::]:0", "[::1]");
}

static void ecn_is_carried(const char *at) {
  bind_both(at, at);
  for (uint8_t ecn = 0; ecn < 4; ecn++) {
    struct dgram d = dgram(0, 2400, 1200);
    d.ecn = ecn;
    send_all(&d, 1);
    receive(rx, 2 * (ecn + 1));
    assert_int_equal(got.n, 2 * (ecn + 1));
    assert_int_equal(got.last.ecn, ecn);
  }
}

static void ecn_is_carried_v4(void **state) { ecn_is_carried("127.0.0.1:0"); }
static void ecn_is_carried_v6(void **state) { ecn_is_carried("[::1]:0"); }

static void ecn_keeps_neighbours_apart(void **state) {
  bind_both("127.0.0.1:0", "127.0.0.1:0");
  struct dgram v[] = {dgram(0, 100, 100), dgram(100, 100, 100)};
  v[1].ecn = 1;
  send_all(v, 2);
  receive(rx, 2);
  assert_int_equal(udp_counters(tx)->tx_sends, 2);
  assert_int_equal(got.last.ecn, 1);
}

static void socket_is_chosen_by_family_and_address(void **state) {
  struct ztna_addr v6 = addr("[::1]:0"), v4 = addr("127.0.0.2:0");
  if (udp_bind(tx, &v6) < 0) skip();
  assert_int_equal(udp_bind(tx, &v4), 1);
  bind_both("127.0.0.3:0", "127.0.0.1:0");
  struct dgram d = dgram(0, 1, 1);
  for (int i = 1; i <= 2; i++) {
    d.local = udp_local(tx, i);
    send_all(&d, 1);
    receive(rx, i);
    assert_int_equal(got.n, i);
    assert_true(ztna_addr_equal(&got.last.remote, &d.local));
  }
  d.remote = addr("[::1]:9");
  d.local = (struct ztna_addr){0};
  send_all(&d, 1); /* to nobody: must not fail */
  d.remote.family = 0;
  send_all(&d, 1);
  assert_int_equal(udp_counters(tx)->tx_failed, 1);
}

static void lost_source_address_is_reported_and_survived(void **state) {
  bind_both("0.0.0.0:0", "127.0.0.1:0");
  struct dgram d = dgram(0, 3600, 1200);
  assert_false(udp_network_changed(tx));
  d.local = addr("192.0.2.77");
  send_all(&d, 1);
  receive(rx, 3);
  assert_int_equal(got.n, 3);
  assert_true(udp_network_changed(tx));
  assert_false(udp_network_changed(tx));
  send_all(&d, 1);
  assert_false(udp_network_changed(tx));
  assert_int_equal(udp_counters(tx)->source_gone, 2);
  d.local = addr("192.0.2.78");
  send_all(&d, 1);
  assert_true(udp_network_changed(tx));
  d.local = addr("192.0.2.77");
  send_all(&d, 1);
  assert_false(udp_network_changed(tx));
}

static void bind_names_what_is_wrong(void **state) {
  struct ztna_addr a = addr("127.0.0.1:0"), far = addr("192.0.2.1:0");
  assert_int_equal(udp_bind(tx, &a), 0);
  a = udp_local(tx, 0);
  assert_true(a.port != 0);
  assert_int_equal(udp_bind(rx, &a), ZTNA_EEXIST);
  assert_int_equal(udp_bind(rx, &far), ZTNA_ENOENT);
  a.family = 0;
  assert_int_equal(udp_bind(rx, &a), ZTNA_EINVAL);
  assert_int_equal(udp_count(rx), 0);
}

/* --- in a network of our own */

static void ioctl_on(const char *dev, unsigned long what, int value,
                     const char *ip) {
  struct ifreq r = {0};
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  strcpy(r.ifr_name, dev);
  if (ip) {
    struct sockaddr_in a = {.sin_family = AF_INET};
    inet_pton(AF_INET, ip, &a.sin_addr);
    memcpy(&r.ifr_addr, &a, sizeof(a));
  } else if (what == SIOCSIFMTU) {
    r.ifr_mtu = value;
  } else {
    r.ifr_flags = (short)value;
  }
  assert_int_equal(ioctl(fd, what, &r), 0);
  close(fd);
}

static void own_network(void) {
  static bool done;
  if (!done && unshare(CLONE_NEWNET) < 0 &&
      unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
    skip();
  done = true;
  ioctl_on("lo", SIOCSIFFLAGS, IFF_UP, NULL);
}

static void segments_above_the_mtu_are_repeated_singly(void **state) {
  own_network();
  ioctl_on("lo", SIOCSIFMTU, 1300, NULL);
  bind_both("127.0.0.1:0", "127.0.0.1:0");
  struct dgram d = dgram(0, 3 * 1400 + 100, 1400);
  send_all(&d, 1);
  receive(rx, 1);
  assert_int_equal(got.n, 1); /* only the last one fits */
  assert_int_equal(got.sizes[0], 100);
  assert_memory_equal(got.data, bytes + 3 * 1400, 100);
  assert_int_equal(udp_counters(tx)->gso_repeats, 1);
  assert_int_equal(udp_counters(tx)->tx_too_big, 3);
  d = dgram(0, 2000, 1000);
  send_all(&d, 1); /* trains that fit go on being trains */
  receive(rx, 3);
  assert_int_equal(got.n, 3);
  assert_int_equal(udp_counters(tx)->gso_repeats, 1);
}

/* A device where nobody answers ARP keeps what is sent in the send buffer. */
static void full_buffer_says_how_many_were_taken(void **state) {
  own_network();
  struct ifreq r = {.ifr_name = "full", .ifr_flags = IFF_TAP | IFF_NO_PI};
  int tap = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
  if (tap < 0 || ioctl(tap, TUNSETIFF, &r) < 0) skip();
  ioctl_on("full", SIOCSIFADDR, 0, "10.9.9.1");
  ioctl_on("full", SIOCSIFNETMASK, 0, "255.255.255.0");
  ioctl_on("full", SIOCSIFFLAGS, IFF_UP, NULL);
  struct ztna_addr a = addr("0.0.0.0:0");
  assert_int_equal(udp_bind(tx, &a), 0);
  int small = 8192;
  setsockopt(udp_fd(tx, 0), SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));

  struct dgram v[200];
  for (int i = 0; i < 200; i++) {
    v[i] = dgram(0, 1200, 1200);
    v[i].remote = addr("10.9.9.2:9");
    v[i].remote.port = (uint16_t)(1000 + i);
  }
  int taken = udp_send(tx, v, 200);
  assert_in_range(taken, 1, 199);
  assert_int_equal(udp_blocked(tx), 0);
  assert_int_equal(udp_counters(tx)->tx_packets, taken);
  assert_int_equal(udp_send(tx, v + taken, 200 - taken), 0);
  udp_give_up(tx, v + taken, 200 - taken);
  assert_int_equal(udp_counters(tx)->tx_no_buffer, 200 - taken);
  /* ARP gives up after 3 s and frees the buffer. */
  struct pollfd p = {.fd = udp_fd(tx, 0), .events = POLLOUT};
  assert_int_equal(poll(&p, 1, 5000), 1);
  assert_true(udp_send(tx, v, 1) == 1);
  assert_int_equal(udp_blocked(tx), -1);
  close(tap);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(train_arrives_whole_and_in_order_v4),
      TEST(train_arrives_whole_and_in_order_v6),
      TEST(train_above_the_caps_is_split),
      TEST(train_of_tiny_segments_is_split_at_64),
      TEST(packets_of_1_and_1472_bytes_arrive),
      TEST(neighbours_leave_as_one_train),
      TEST(other_segment_sizes_are_never_merged),
      TEST(empty_datagrams_are_passed_over),
      TEST(many_destinations_in_one_call),
      TEST(local_address_is_kept_v4),
      TEST(local_address_is_kept_v6),
      TEST(ecn_is_carried_v4),
      TEST(ecn_is_carried_v6),
      TEST(ecn_keeps_neighbours_apart),
      TEST(socket_is_chosen_by_family_and_address),
      TEST(lost_source_address_is_reported_and_survived),
      TEST(bind_names_what_is_wrong),
      /* These move the process to another network: last. */
      TEST(segments_above_the_mtu_are_repeated_singly),
      TEST(full_buffer_says_how_many_were_taken),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
