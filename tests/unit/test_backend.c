/* test_backend.c - flows towards real sockets on loopback. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <ztna/err.h>

#include "host/backend.h"

enum { N_FLOWS = 64 };

static struct backend *b;

/* What came back. */
static struct {
  int packets, echoes, errors;
  uint32_t flow;
  uint16_t seq;
  uint8_t data[65536];
  size_t len;
  enum backend_error kind;
  uint32_t close_flow;     /* closed inside the callback; N_FLOWS: none */
  struct ztna_addr reopen; /* and opened again */
} got;

static void on_packet(void *ctx, uint32_t flow, const uint8_t *data,
                      size_t len) {
  got.packets++;
  got.flow = flow;
  got.len = len;
  memcpy(got.data, data, len);
  if (got.close_flow < N_FLOWS) backend_close(b, got.close_flow);
  if (got.reopen.family)
    assert_int_equal(backend_open(b, got.close_flow, &got.reopen), 0);
}

static void on_echo(void *ctx, uint32_t flow, uint16_t seq, const uint8_t *data,
                    size_t len) {
  got.echoes++;
  got.flow = flow;
  got.seq = seq;
  got.len = len;
  memcpy(got.data, data, len);
}

static void on_error(void *ctx, uint32_t flow, enum backend_error kind,
                     uint32_t mtu) {
  got.errors++;
  got.flow = flow;
  got.kind = kind;
}

static const struct backend_events events = {
    .on_packet = on_packet, .on_echo = on_echo, .on_error = on_error};

static struct ztna_addr addr(const char *text) {
  struct ztna_addr a;
  assert_int_equal(ztna_addr_parse(&a, text), 0);
  return a;
}

/* A service: a plain socket. */
static int service(const char *at, struct ztna_addr *a) {
  struct sockaddr_storage ss = {0};
  *a = addr(at);
  socklen_t len = (socklen_t)ztna_addr_to_sockaddr(a, &ss);
  int fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&ss, len) < 0) skip();
  len = sizeof(ss);
  getsockname(fd, (struct sockaddr *)&ss, &len);
  ztna_addr_from_sockaddr(a, &ss);
  return fd;
}

static int setup(void **state) {
  memset(&got, 0, sizeof(got));
  got.close_flow = N_FLOWS;
  b = backend_new(N_FLOWS, &events, NULL);
  return b ? 0 : -1;
}

static int teardown(void **state) {
  backend_free(b);
  return 0;
}

/* Runs until the descriptor is quiet for 100 ms. */
static void run(void) {
  struct pollfd p = {.fd = backend_fd(b), .events = POLLIN};
  while (poll(&p, 1, 100) > 0) backend_run(b);
}

/* The service takes one packet and answers it n times. */
static void answer(int fd, int n) {
  char room[2048];
  struct sockaddr_storage ss;
  socklen_t len = sizeof(ss);
  ssize_t size =
      recvfrom(fd, room, sizeof(room), 0, (struct sockaddr *)&ss, &len);
  assert_true(size >= 0);
  for (int i = 0; i < n; i++)
    sendto(fd, room, (size_t)size, 0, (struct sockaddr *)&ss, len);
}

static void reply_comes_back_to_its_flow_of(const char *at) {
  struct ztna_addr a;
  int fd = service(at, &a);
  for (uint32_t flow = 3; flow < 6; flow++)
    assert_int_equal(backend_open(b, flow, &a), 0);
  assert_int_equal(backend_send(b, 4, (const uint8_t *)"hello", 5), 0);
  answer(fd, 1);
  run();
  assert_int_equal(got.packets, 1);
  assert_int_equal(got.flow, 4);
  assert_int_equal(got.len, 5);
  assert_memory_equal(got.data, "hello", 5);
  assert_int_equal(backend_counters(b)->open, 3);
  close(fd);
}

static void reply_comes_back_to_its_flow_v4(void **state) {
  reply_comes_back_to_its_flow_of("127.0.0.1:0");
}

static void reply_comes_back_to_its_flow_v6(void **state) {
  reply_comes_back_to_its_flow_of("[::1]:0");
}

static void only_the_connected_peer_is_heard(void **state) {
  struct ztna_addr a, other;
  int fd = service("127.0.0.1:0", &a),
      stranger = service("127.0.0.1:0", &other);
  char room[16];
  struct sockaddr_storage ss;
  socklen_t len = sizeof(ss);
  assert_int_equal(backend_open(b, 0, &a), 0);
  assert_int_equal(backend_send(b, 0, (const uint8_t *)"x", 1), 0);
  assert_int_equal(
      recvfrom(fd, room, sizeof(room), 0, (struct sockaddr *)&ss, &len), 1);
  sendto(stranger, "evil", 4, 0, (struct sockaddr *)&ss, len);
  run();
  assert_int_equal(got.packets, 0);
  sendto(fd, "good", 4, 0, (struct sockaddr *)&ss, len);
  run();
  assert_int_equal(got.packets, 1);
  assert_memory_equal(got.data, "good", 4);
  close(fd);
  close(stranger);
}

static void refused_port_is_reported_of(const char *at) {
  struct ztna_addr a;
  close(service(at, &a)); /* nobody there any more */
  assert_int_equal(backend_open(b, 7, &a), 0);
  assert_int_equal(backend_send(b, 7, (const uint8_t *)"x", 1), 0);
  run();
  assert_int_equal(got.errors, 1);
  assert_int_equal(got.flow, 7);
  assert_int_equal(got.kind, BACKEND_REFUSED);
  /* Without running in between, a pending error takes no packet away. */
  for (int i = 0; i < 3; i++)
    assert_int_equal(backend_send(b, 7, (const uint8_t *)"x", 1), 0);
  assert_int_equal(backend_counters(b)->tx_packets, 4);
  run();
  assert_int_equal(got.errors, 4);
}

static void refused_port_is_reported_v4(void **state) {
  refused_port_is_reported_of("127.0.0.1:0");
}

static void refused_port_is_reported_v6(void **state) {
  refused_port_is_reported_of("[::1]:0");
}

static void burst_arrives_packet_by_packet(void **state) {
  struct ztna_addr a;
  int fd = service("127.0.0.1:0", &a);
  assert_int_equal(backend_open(b, 1, &a), 0);
  assert_int_equal(backend_send(b, 1, (const uint8_t *)"ab", 2), 0);
  answer(fd, 100);
  run();
  assert_int_equal(got.packets, 100);
  assert_int_equal(got.len, 2);
  close(fd);
}

/* The next datagram is `len` bytes of value `fill`. */
static void assert_arrives(int fd, uint8_t fill, size_t len) {
  uint8_t in[2000], want[2000];
  struct timeval wait = {.tv_sec = 2};
  memset(want, fill, sizeof(want));
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
  assert_int_equal(recv(fd, in, sizeof(in), 0), len);
  assert_memory_equal(in, want, len);
}

/* Sizes that join, end and break trains, and flows that break them. */
static void queued_datagrams_arrive_one_by_one(void **state) {
  static const struct {
    uint32_t flow;
    size_t len;
  } sent[] = {{1, 100},  {1, 100}, {1, 50}, {1, 100}, {1, 1200}, {1, 1200},
              {2, 1200}, {1, 0},   {1, 7},  {1, 7},   {2, 7},    {2, 8}};
  enum { N = sizeof(sent) / sizeof(*sent), MANY = 140 };
  struct ztna_addr at[2];
  int fd[2] = {service("127.0.0.1:0", &at[0]), service("127.0.0.1:0", &at[1])};
  uint8_t bytes[2000];
  assert_int_equal(backend_open(b, 1, &at[0]), 0);
  assert_int_equal(backend_open(b, 2, &at[1]), 0);
  for (unsigned i = 0; i < N; i++) {
    memset(bytes, (int)i, sizeof(bytes));
    backend_queue(b, sent[i].flow, bytes, sent[i].len);
  }
  for (unsigned i = 0; i < MANY; i++) { /* more than one train takes */
    memset(bytes, (int)i, sizeof(bytes));
    backend_queue(b, 1, bytes, 10);
  }
  backend_queue(b, 9, bytes, 5); /* not open */
  backend_flush(b);
  backend_flush(b); /* nothing is left */
  for (unsigned i = 0; i < N; i++)
    assert_arrives(fd[sent[i].flow - 1], (uint8_t)i, sent[i].len);
  for (unsigned i = 0; i < MANY; i++) assert_arrives(fd[0], (uint8_t)i, 10);
  assert_int_equal(recv(fd[0], bytes, 1, MSG_DONTWAIT), -1);
  assert_int_equal(backend_counters(b)->tx_packets, N + MANY);
  assert_int_equal(backend_counters(b)->tx_dropped, 0);
  close(fd[0]);
  close(fd[1]);
}

static void empty_datagram_arrives(void **state) {
  struct ztna_addr a;
  int fd = service("127.0.0.1:0", &a);
  assert_int_equal(backend_open(b, 1, &a), 0);
  assert_int_equal(backend_send(b, 1, NULL, 0), 0);
  answer(fd, 1);
  run();
  assert_int_equal(got.packets, 1);
  assert_int_equal(got.len, 0);
  close(fd);
}

static void flow_may_be_closed_inside_its_callback(void **state) {
  struct ztna_addr a;
  int fd = service("127.0.0.1:0", &a);
  assert_int_equal(backend_open(b, 1, &a), 0);
  assert_int_equal(backend_send(b, 1, (const uint8_t *)"x", 1), 0);
  got.close_flow = 1;
  answer(fd, 5);
  run();
  assert_int_equal(got.packets, 1);
  assert_int_equal(backend_send(b, 1, (const uint8_t *)"x", 1), ZTNA_ENOENT);
  assert_int_equal(backend_open(b, 1, &a), 0);
  close(fd);
}

static void reopened_flow_hears_nothing_of_its_former_life(void **state) {
  struct ztna_addr a;
  int fd = service("127.0.0.1:0", &a);
  for (uint32_t flow = 1; flow <= 2; flow++) {
    assert_int_equal(backend_open(b, flow, &a), 0);
    assert_int_equal(backend_send(b, flow, (const uint8_t *)"x", 1), 0);
  }
  got.close_flow = 1;
  got.reopen = a;
  answer(fd, 5);
  answer(fd, 1);
  run();
  assert_int_equal(got.packets, 2); /* one of each flow's first lives */
  close(fd);
}

static void wrong_numbers_are_refused(void **state) {
  struct ztna_addr a = addr("127.0.0.1:9"), none = {0};
  assert_int_equal(backend_open(b, N_FLOWS, &a), ZTNA_EINVAL);
  assert_int_equal(backend_open(b, 0, &none), ZTNA_EINVAL);
  assert_int_equal(backend_open(b, 0, &a), 0);
  assert_int_equal(backend_open(b, 0, &a), ZTNA_EEXIST);
  assert_int_equal(backend_send_echo(b, 0, 1, NULL, 0), ZTNA_ENOENT);
  backend_close(b, 0);
  backend_close(b, 0);
  backend_close(b, N_FLOWS);
  assert_int_equal(backend_counters(b)->open, 0);
}

static void ping_is_answered_by(const char *at) {
  struct ztna_addr a = addr(at);
  for (uint32_t flow = 8; flow < 11; flow++) {
    int rc = backend_open_ping(b, flow, &a);
    if (rc == ZTNA_EPERM || rc == ZTNA_ENOENT) skip();
    assert_int_equal(rc, 0);
  }
  /* An odd length: the checksum's last byte stands alone. */
  for (uint16_t seq = 500; seq < 503; seq++)
    assert_int_equal(
        backend_send_echo(b, 9, seq, (const uint8_t *)"payload", 7), 0);
  run();
  assert_int_equal(got.echoes, 3);
  assert_int_equal(got.flow, 9);
  assert_int_equal(got.seq, 502);
  assert_int_equal(got.len, 7);
  assert_memory_equal(got.data, "payload", 7);
}

static void ping_is_answered_v4(void **state) {
  ping_is_answered_by("127.0.0.1");
}

static void ping_is_answered_v6(void **state) { ping_is_answered_by("::1"); }

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(reply_comes_back_to_its_flow_v4),
      TEST(reply_comes_back_to_its_flow_v6),
      TEST(only_the_connected_peer_is_heard),
      TEST(refused_port_is_reported_v4),
      TEST(refused_port_is_reported_v6),
      TEST(burst_arrives_packet_by_packet),
      TEST(queued_datagrams_arrive_one_by_one),
      TEST(empty_datagram_arrives),
      TEST(flow_may_be_closed_inside_its_callback),
      TEST(reopened_flow_hears_nothing_of_its_former_life),
      TEST(wrong_numbers_are_refused),
      TEST(ping_is_answered_v4),
      TEST(ping_is_answered_v6),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
