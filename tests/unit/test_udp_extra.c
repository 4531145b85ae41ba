/* test_udp_extra.c - extra sockets and hop limits, on loopback. */
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
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <ztna/err.h>

#include "host/udp.h"

enum { ROOM = 1 << 17 };

static struct udp *tx, *rx;
static struct ztna_addr to; /* rx's address */
static uint8_t bytes[ROOM];

static struct ztna_addr addr(const char *text) {
  struct ztna_addr a;
  assert_int_equal(ztna_addr_parse(&a, text), 0);
  return a;
}

static int n_open(void) {
  int n = 0;
  for (int fd = 0; fd < 2048; fd++) n += fcntl(fd, F_GETFD) >= 0;
  return n;
}

static int setup(void **state) {
  tx = udp_new();
  rx = udp_new();
  return tx && rx ? 0 : -1;
}

static int teardown(void **state) {
  udp_free(tx);
  udp_free(rx);
  return 0;
}

/* Skips where the family is missing. */
static void bind_both(const char *any, const char *at) {
  struct ztna_addr a = addr(any), b = addr(at);
  if (udp_bind(tx, &a) < 0) skip();
  assert_int_equal(udp_bind(rx, &b), 0);
  to = udp_local(rx, 0);
}

static struct dgram dgram(uint16_t sock, uint32_t len, uint16_t seg) {
  return (struct dgram){
      .remote = to, .data = bytes, .len = len, .seg = seg, .sock = sock};
}

static void send_one(struct dgram d) {
  assert_int_equal(udp_send(tx, &d, 1), 1);
}

static void send_by(uint16_t sock) { send_one(dgram(sock, 10, 10)); }

static void close_sock(uint16_t sock) {
  send_one((struct dgram){.remote = to, .seg = 1, .sock = sock});
}

/* The next one that arrives at u; len 0: none within 100 ms. */
static struct dgram receive(struct udp *u, int socket) {
  struct dgram d = {0};
  struct pollfd p = {.fd = udp_fd(u, socket), .events = POLLIN};
  if (poll(&p, 1, 100) > 0) udp_recv_from(u, socket, &d, 1);
  return d;
}

/* From rx to where d came from. */
static void answer(const struct dgram *d, uint32_t len) {
  struct dgram back = {
      .remote = d->remote, .data = bytes, .len = len, .seg = (uint16_t)len};
  assert_int_equal(udp_send(rx, &back, 1), 1);
}

/* --- what they are for */

static void extra_sockets_have_ports_and_answers_of_their_own(const char *any,
                                                              const char *at) {
  struct dgram d[4];
  bind_both(any, at);
  assert_int_equal(udp_fd(tx, UDP_EXTRA), -1); /* costs nothing until used */
  for (uint16_t i = 0; i < 4; i++) {
    send_by(i);
    d[i] = receive(rx, 0);
    assert_int_equal(d[i].len, 10);
    for (int k = 0; k < i; k++)
      assert_int_not_equal(d[i].remote.port, d[k].remote.port);
  }
  assert_int_equal(d[0].remote.port, udp_local(tx, 0).port);
  assert_int_equal(udp_counters(tx)->extra_opened, 3);
  for (uint16_t i = 4; i-- > 0;) {
    answer(&d[i], 20u + i);
    struct dgram got = receive(tx, i ? UDP_EXTRA : 0);
    assert_int_equal(got.len, 20 + i);
    assert_int_equal(got.sock, i);
    assert_true(ztna_addr_equal(&got.remote, &to));
    assert_int_equal(got.local.port, d[i].remote.port);
  }
  assert_int_equal(udp_recv_from(tx, UDP_EXTRA, d, 1), 0);
}

static void they_have_ports_and_answers_of_their_own_v4(void **state) {
  extra_sockets_have_ports_and_answers_of_their_own("0.0.0.0:0", "127.0.0.1:0");
}

static void they_have_ports_and_answers_of_their_own_v6(void **state) {
  extra_sockets_have_ports_and_answers_of_their_own("[::]:0", "[::1]:0");
}

static void a_number_stays_with_its_port_until_it_is_closed(void **state) {
  bind_both("0.0.0.0:0", "127.0.0.1:0");
  int before = n_open();
  send_by(7);
  struct dgram first = receive(rx, 0);
  send_by(7);
  struct dgram second = receive(rx, 0);
  assert_int_equal(second.remote.port, first.remote.port);
  int with = n_open();
  close_sock(7);
  assert_int_equal(n_open(), with - 1);
  answer(&first, 5);
  assert_int_equal(receive(tx, UDP_EXTRA).len, 0);
  close_sock(7); /* no harm in it */
  assert_int_equal(udp_counters(tx)->extra_closed, 1);
  send_by(7);
  assert_int_not_equal(receive(rx, 0).remote.port, first.remote.port);
  udp_free(tx);
  tx = udp_new();
  assert_int_equal(n_open(), before - 1); /* less its bound one */
}

static void a_number_has_one_of_each_family(void **state) {
  struct ztna_addr v6 = addr("[::1]:0");
  bind_both("0.0.0.0:0", "127.0.0.1:0");
  if (udp_bind(rx, &v6) < 0) skip();
  send_by(3);
  assert_int_equal(receive(rx, 0).len, 10);
  struct ztna_addr v4 = to;
  to = udp_local(rx, 1);
  send_by(3);
  struct dgram d = receive(rx, 1);
  assert_int_equal(d.len, 10);
  assert_int_equal(udp_counters(tx)->extra_opened, 2);
  to = v4;
  close_sock(3); /* the other one stays */
  struct dgram back = {.remote = d.remote, .data = bytes, .len = 30, .seg = 30};
  assert_int_equal(udp_send(rx, &back, 1), 1);
  assert_int_equal(receive(tx, UDP_EXTRA).len, 30);
}

static void what_leaves_before_a_close_leaves(void **state) {
  bind_both("0.0.0.0:0", "127.0.0.1:0");
  struct dgram v[] = {dgram(1, 10, 10), dgram(1, 11, 11), dgram(1, 0, 1),
                      dgram(1, 12, 12)};
  assert_int_equal(udp_send(tx, v, 4), 4);
  struct dgram a = receive(rx, 0), b = receive(rx, 0), c = receive(rx, 0);
  assert_int_equal(a.len + b.len, 21);
  assert_int_equal(a.remote.port, b.remote.port);
  assert_int_equal(c.len, 12);
  assert_int_not_equal(c.remote.port, a.remote.port);
  assert_int_equal(udp_counters(tx)->tx_packets, 3);
}

static void neighbours_of_one_socket_alone_leave_as_a_train(void **state) {
  struct dgram v[6];
  bind_both("0.0.0.0:0", "127.0.0.1:0");
  static const uint16_t socks[] = {0, 0, 1, 1, 2, 1};
  for (int i = 0; i < 6; i++) v[i] = dgram(socks[i], 100, 100);
  assert_int_equal(udp_send(tx, v, 6), 6);
  assert_int_equal(udp_counters(tx)->tx_packets, 6);
  assert_int_equal(udp_counters(tx)->tx_sends, 4);
}

static void all_of_hundreds_are_heard(void **state) {
  enum { N = 256 };
  bool heard[N + 1] = {0};
  bind_both("0.0.0.0:0", "127.0.0.1:0");
  for (uint16_t i = 1; i <= N; i++) {
    send_by(i);
    struct dgram d = receive(rx, 0);
    answer(&d, 9);
  }
  int n = 0;
  for (struct dgram d; (d = receive(tx, UDP_EXTRA)).len == 9; n++) {
    assert_in_range(d.sock, 1, N);
    assert_false(heard[d.sock]);
    heard[d.sock] = true;
  }
  assert_int_equal(n, N);
}

/* What one of them gets does not keep the others from being heard. */
static void a_flood_at_one_does_not_hide_the_others(void **state) {
  struct dgram flooded, d, v[UDP_BATCH];
  bind_both("0.0.0.0:0", "127.0.0.1:0");
  send_by(1);
  flooded = receive(rx, 0);
  send_by(2);
  d = receive(rx, 0);
  for (int i = 0; i < 30; i++) {
    answer(&flooded, i % 2 ? 5 : 6); /* not one train */
  }
  answer(&d, 7);
  bool seen = false;
  for (int i = 0; i < 2; i++) {
    int n = udp_recv_from(tx, UDP_EXTRA, v, UDP_BATCH);
    for (int k = 0; k < n; k++) seen |= v[k].sock == 2;
  }
  assert_true(seen);
}

/* --- bounds */

static void no_more_than_the_bound_are_opened(void **state) {
  bind_both("0.0.0.0:0", "127.0.0.1:0");
  struct rlimit l;
  getrlimit(RLIMIT_NOFILE, &l);
  if (l.rlim_cur < UDP_MAX_EXTRA + 100) {
    l.rlim_cur = l.rlim_max;
    setrlimit(RLIMIT_NOFILE, &l);
  }
  if (l.rlim_cur < UDP_MAX_EXTRA + 100) skip();
  for (uint16_t i = 1; i <= UDP_MAX_EXTRA; i++) send_by(i);
  assert_int_equal(udp_counters(tx)->extra_opened, UDP_MAX_EXTRA);
  send_one(dgram(UDP_MAX_EXTRA + 1, 30, 10));
  assert_int_equal(udp_counters(tx)->extra_refused, 3);
  close_sock(5);
  send_by(UDP_MAX_EXTRA + 1);
  assert_int_equal(udp_counters(tx)->extra_refused, 3);
  assert_int_equal(udp_counters(tx)->extra_opened, UDP_MAX_EXTRA + 1);
}

static void numbers_and_families_that_do_not_exist_are_refused(void **state) {
  bind_both("0.0.0.0:0", "127.0.0.1:0");
  send_by(DGRAM_SOCKS_MAX - 1);
  send_by(DGRAM_SOCKS_MAX);
  send_by(65535);
  close_sock(65535);
  to.family = 0;
  send_by(1);
  close_sock(1);
  assert_int_equal(udp_counters(tx)->extra_opened, 1);
  assert_int_equal(udp_counters(tx)->extra_refused, 3);
}

static void without_descriptors_only_the_search_suffers(bool any_open) {
  struct rlimit l;
  bind_both("0.0.0.0:0", "127.0.0.1:0");
  if (any_open) send_by(1);
  getrlimit(RLIMIT_NOFILE, &l);
  struct rlimit none = {.rlim_cur = 0, .rlim_max = l.rlim_max};
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
  send_by(2);
  send_by(0);
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &l), 0);
  assert_int_equal(udp_counters(tx)->extra_refused, 1);
  assert_int_equal(udp_counters(tx)->tx_packets, any_open ? 2 : 1);
  send_by(2);
  assert_int_equal(udp_counters(tx)->tx_packets, any_open ? 3 : 2);
}

static void without_descriptors_only_the_first_suffers(void **state) {
  without_descriptors_only_the_search_suffers(false);
}

static void without_descriptors_only_further_ones_suffer(void **state) {
  without_descriptors_only_the_search_suffers(true);
}

static int fd_of_port(uint16_t port) {
  for (int fd = 3; fd < 1024; fd++) {
    struct sockaddr_in a = {0};
    socklen_t len = sizeof(a);
    if (getsockname(fd, (struct sockaddr *)&a, &len) == 0 &&
        a.sin_family == AF_INET && ntohs(a.sin_port) == port)
      return fd;
  }
  return -1;
}

static int buffer_of(int fd) {
  int n = 0;
  socklen_t len = sizeof(n);
  assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &n, &len), 0);
  return n;
}

/* Only one that is used like a main one: a search has hundreds. */
static void the_one_that_carries_traffic_gets_a_large_buffer(void **state) {
  bind_both("0.0.0.0:0", "127.0.0.1:0");
  send_by(1);
  int fd = fd_of_port(receive(rx, 0).remote.port), small = buffer_of(fd);
  assert_true(small <= 256 * 1024);
  for (int i = 0; i < 30; i++) send_by(1);
  assert_int_equal(buffer_of(fd), small);
  for (int i = 0; i < 100; i++) send_by(1);
  assert_true(buffer_of(fd) > small);
}

/* --- hop limits */

/* A plain socket that is told the hop limit of what it gets. */
static int plain_socket(int family) {
  int one = 1, fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  struct sockaddr_storage ss = {0};
  struct ztna_addr at = addr(family == AF_INET ? "127.0.0.1" : "[::1]:0");
  socklen_t len = (socklen_t)ztna_addr_to_sockaddr(&at, &ss);
  if (bind(fd, (struct sockaddr *)&ss, len) < 0) skip();
  if (family == AF_INET)
    setsockopt(fd, IPPROTO_IP, IP_RECVTTL, &one, sizeof(one));
  else
    setsockopt(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, &one, sizeof(one));
  getsockname(fd, (struct sockaddr *)&ss, &len);
  assert_int_equal(ztna_addr_from_sockaddr(&to, &ss), 0);
  return fd;
}

static int ttl_of_next(int fd) {
  char data[2000], control[256];
  struct iovec iov = {data, sizeof(data)};
  struct msghdr h = {.msg_iov = &iov,
                     .msg_iovlen = 1,
                     .msg_control = control,
                     .msg_controllen = sizeof(control)};
  struct pollfd p = {.fd = fd, .events = POLLIN};
  int ttl = -1;
  assert_int_equal(poll(&p, 1, 500), 1);
  assert_true(recvmsg(fd, &h, 0) > 0);
  struct cmsghdr *c = CMSG_FIRSTHDR(&h);
  assert_non_null(c);
  memcpy(&ttl, CMSG_DATA(c), sizeof(ttl));
  return ttl;
}

static void hop_limit_is_that_of_one_packet(int family, const char *any) {
  static const uint8_t ttls[] = {0, 2, 2, 7, 0, 255};
  struct dgram v[6];
  struct ztna_addr a = addr(any);
  if (udp_bind(tx, &a) < 0) skip();
  int fd = plain_socket(family);
  for (uint16_t sock = 0; sock < 2; sock++) {
    uint64_t sends = udp_counters(tx)->tx_sends;
    for (int i = 0; i < 6; i++) {
      v[i] = dgram(sock, 100, 100);
      v[i].ttl = ttls[i];
      v[i].ecn = 1;
    }
    assert_int_equal(udp_send(tx, v, 6), 6);
    for (int i = 0; i < 6; i++)
      assert_int_equal(ttl_of_next(fd), ttls[i] ? ttls[i] : 64);
    assert_int_equal(udp_counters(tx)->tx_sends - sends, 5);
  }
  close(fd);
}

static void hop_limit_is_that_of_one_packet_v4(void **state) {
  hop_limit_is_that_of_one_packet(AF_INET, "0.0.0.0:0");
}

static void hop_limit_is_that_of_one_packet_v6(void **state) {
  hop_limit_is_that_of_one_packet(AF_INET6, "[::]:0");
}

static void everything_at_once_leaves(const char *any, const char *at) {
  bind_both(any, at);
  struct dgram d = dgram(1, 2400, 1200);
  d.local = to; /* with source, ECN, hop limit and segment size */
  d.ecn = 2;
  d.ttl = 9;
  send_one(d);
  struct dgram got = receive(rx, 0);
  assert_int_equal(got.len, 2400);
  assert_int_equal(got.ecn, 2);
  assert_true(ztna_addr_same_ip(&got.remote, &to));
  assert_int_equal(udp_counters(tx)->tx_sends, 1);
}

static void all_control_data_fits_v4(void **state) {
  everything_at_once_leaves("0.0.0.0:0", "127.0.0.77:0");
}

static void all_control_data_fits_v6(void **state) {
  everything_at_once_leaves("[::]:0", "[::1]:0");
}

/* --- in a network of our own */

/* A device where nobody answers ARP keeps what is sent in the send buffer. */
static int deaf_device(void) {
  struct ifreq r = {.ifr_name = "deaf", .ifr_flags = IFF_TAP | IFF_NO_PI};
  struct sockaddr_in ip = {.sin_family = AF_INET};
  if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
    skip();
  int tap = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
  if (tap < 0 || ioctl(tap, TUNSETIFF, &r) < 0) skip();
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  inet_pton(AF_INET, "10.9.9.1", &ip.sin_addr);
  memcpy(&r.ifr_addr, &ip, sizeof(ip));
  assert_int_equal(ioctl(fd, SIOCSIFADDR, &r), 0);
  r.ifr_flags = IFF_UP;
  assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &r), 0);
  close(fd);
  return tap;
}

static void a_full_one_says_when_it_has_room(void **state) {
  struct dgram v[60];
  int tap = deaf_device(), small = 8192, before = n_open();
  to = addr("10.9.9.2:9");
  send_by(1);
  int fd = -1;
  for (uint32_t port = 1024; fd < 0 && port < 65536; port++)
    fd = fd_of_port((uint16_t)port);
  assert_true(fd >= 0);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));

  for (int i = 0; i < 60; i++) {
    v[i] = dgram(1, 1200, 1200);
    v[i].remote.port = (uint16_t)(1000 + i); /* not one train */
  }
  int taken = udp_send(tx, v, 60);
  assert_in_range(taken, 1, 59);
  assert_int_equal(udp_blocked(tx), UDP_EXTRA);
  struct pollfd p = {.fd = udp_room_fd(tx), .events = POLLIN};
  assert_int_equal(poll(&p, 1, 50), 0);
  assert_int_equal(poll(&p, 1, 5000), 1); /* ARP gives up after 3 s */
  assert_int_equal(udp_send(tx, v, 1), 1);
  assert_int_equal(udp_blocked(tx), -1);
  assert_int_equal(poll(&p, 1, 0), 0); /* nobody waits any more */
  v[1] = dgram(1, 0, 1);
  udp_give_up(tx, v, 2); /* a close that is given up is one all the same */
  assert_int_equal(udp_counters(tx)->extra_closed, 1);
  assert_int_equal(n_open(), before + 2);
  close(tap);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(they_have_ports_and_answers_of_their_own_v4),
      TEST(they_have_ports_and_answers_of_their_own_v6),
      TEST(a_number_stays_with_its_port_until_it_is_closed),
      TEST(a_number_has_one_of_each_family),
      TEST(what_leaves_before_a_close_leaves),
      TEST(neighbours_of_one_socket_alone_leave_as_a_train),
      TEST(all_of_hundreds_are_heard),
      TEST(a_flood_at_one_does_not_hide_the_others),
      TEST(no_more_than_the_bound_are_opened),
      TEST(numbers_and_families_that_do_not_exist_are_refused),
      TEST(without_descriptors_only_the_first_suffers),
      TEST(without_descriptors_only_further_ones_suffer),
      TEST(the_one_that_carries_traffic_gets_a_large_buffer),
      TEST(hop_limit_is_that_of_one_packet_v4),
      TEST(hop_limit_is_that_of_one_packet_v6),
      TEST(all_control_data_fits_v4),
      TEST(all_control_data_fits_v6),
      /* Moves the process to another network: last. */
      TEST(a_full_one_says_when_it_has_room),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
