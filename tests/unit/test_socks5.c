/* test_socks5.c - SOCKS messages, and the first words of SOCKS connections on
 * loopback. */
#include "unit/unit.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/time.h"
#include "host/clock.h"
#include "host/socks5_serve.h"

#define BYTES(s) (const uint8_t *)(s), sizeof(s) - 1

/* --- messages */

static void greeting_is_answered_by_what_we_know(void **state) {
  uint8_t method;
  size_t need;

  assert_int_equal(socks5_read_greeting(&method, BYTES("\5\2\2\0x"), &need), 4);
  assert_int_equal(method, SOCKS5_NO_AUTH);
  assert_int_equal(socks5_read_greeting(&method, BYTES("\5\1\2"), &need), 3);
  assert_int_equal(method, SOCKS5_NO_METHOD);
  assert_int_equal(socks5_read_greeting(&method, BYTES("\5\0"), &need), 2);
  assert_int_equal(method, SOCKS5_NO_METHOD);
  assert_int_equal(socks5_read_greeting(&method, BYTES("\5\3\0"), &need), 0);
  assert_int_equal(need, 5);
  assert_int_equal(socks5_read_greeting(&method, BYTES("\4\1"), &need),
                   ZTNA_EMALFORMED);
}

static void assert_target(const uint8_t *data, size_t len, const char *host,
                          uint16_t port) {
  char text[ZTNA_ADDR_STRLEN];
  struct socks5_message m;
  size_t need;

  assert_int_equal(socks5_read_request(&m, data, len, &need), len);
  assert_string_equal(socks5_target(&m, text), host);
  assert_int_equal(m.port, port);
}

static void requests_name_services_and_addresses(void **state) {
  assert_target(BYTES("\5\1\0\3\7web-app\0\120"), "web-app", 80);
  assert_target(BYTES("\5\1\0\3\10Web-App.\1\1"), "web-app", 257);
  assert_target(BYTES("\5\1\0\1\12\144\0\2\0\120"), "10.100.0.2", 80);
  assert_target(BYTES("\5\3\0\4\375\132\0\20\0\0\0\0\0\0\0\0\0\0\0\2\0\120"),
                "fd5a:10::2", 80);
}

static int request(const uint8_t *data, size_t len) {
  struct socks5_message m;
  size_t need;
  return socks5_read_request(&m, data, len, &need);
}

static void wrong_requests_are_told_apart(void **state) {
  assert_int_equal(request(BYTES("\4\1\0\1\0\0\0\0\0\0")), ZTNA_EMALFORMED);
  assert_int_equal(request(BYTES("\5\1\1\1\0\0\0\0\0\0")), ZTNA_EMALFORMED);
  assert_int_equal(request(BYTES("\5\1\0\2\0\0\0\0\0\0")), ZTNA_EINVAL);
  assert_int_equal(request(BYTES("\5\1\0\3\0\0\120")), ZTNA_EMALFORMED);
  assert_int_equal(request(BYTES("\5\1\0\3\3a\0b\0\120")), ZTNA_EMALFORMED);
  assert_int_equal(request(BYTES("\5\1\0\3\3a b\0\120")), ZTNA_EMALFORMED);
  assert_int_equal(request(BYTES("\5\1\0\3\100aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                                 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\0\120")),
                   ZTNA_EINVAL);
}

static void fragments_of_datagrams_are_refused(void **state) {
  struct socks5_message m;

  assert_int_equal(socks5_read_datagram(&m, BYTES("\0\0\0\1\12\144\0\2\0\65x")),
                   10);
  assert_int_equal(socks5_read_datagram(&m, BYTES("\0\0\1\1\12\144\0\2\0\65x")),
                   ZTNA_EMALFORMED);
  assert_int_equal(socks5_read_datagram(&m, BYTES("\0\0\0\1\12\144\0\2\0")),
                   ZTNA_EMALFORMED);
}

/* --- connections */

static struct tcp_socks *socks;
static struct socks5_serve *serve;
static uint64_t ahead; /* of the clock */
static struct {
  int fd, n_connects, n_associations, n_ended;
  char target[80];
  uint16_t port;
} got;

static bool next(void *ctx, struct ztna_sock_op *op) {
  return socks5_serve_next(serve, op);
}
static void connected(void *ctx, uint64_t now, uint32_t sock) {}
static void failed(void *ctx, uint64_t now, uint32_t sock,
                   enum ztna_sock_error why) {
  socks5_serve_failed(serve, sock);
}
static uint8_t *room(void *ctx, uint32_t sock, size_t *n) {
  return socks5_serve_room(serve, sock, n);
}
static void on_read(void *ctx, uint64_t now, uint32_t sock, size_t n) {
  socks5_serve_read(serve, now, sock, n);
}
static void on_eof(void *ctx, uint64_t now, uint32_t sock) {
  socks5_serve_eof(serve, sock);
}
static int peek(void *ctx, uint32_t sock, struct ztna_sock_vec *v, int n) {
  return socks5_serve_peek(serve, sock, v, n);
}
static void wrote(void *ctx, uint64_t now, uint32_t sock, size_t n) {
  socks5_serve_wrote(serve, sock, n);
}
static const struct tcp_sock_core core = {next,    connected, failed, room,
                                          on_read, on_eof,    peek,   wrote};

static void on_connect(void *ctx, uint64_t now, int fd,
                       const struct ztna_addr *peer,
                       const struct socks5_message *m) {
  char text[ZTNA_ADDR_STRLEN];
  got.fd = fd;
  got.n_connects++;
  snprintf(got.target, sizeof(got.target), "%s", socks5_target(m, text));
  got.port = m->port;
}
static int on_associate(void *ctx, const struct ztna_addr *local,
                        const struct ztna_addr *peer, struct ztna_addr *bound) {
  assert_true(ztna_addr_is_loopback(local) && ztna_addr_is_loopback(peer));
  *bound = test_addr("127.0.0.1:4660");
  got.n_associations++;
  return 7;
}
static void on_dissociate(void *ctx, int number) {
  assert_int_equal(number, 7);
  got.n_ended++;
}
static const struct socks5_events events = {on_connect, on_associate,
                                            on_dissociate};

static struct ztna_addr at;

static void on_accept(void *ctx, uint64_t now, int fd,
                      const struct ztna_addr *peer) {
  socks5_serve_accept(serve, now, fd, peer);
}

static int setup(void **state) {
  struct ztna_addr any = test_addr("127.0.0.1:0");
  memset(&got, 0, sizeof(got));
  got.fd = -1;
  ahead = 0;
  any.port = 0;
  socks = tcp_socks_new(SOCKS5_SERVED_MAX + 10, &core, NULL);
  serve = socks5_serve_new(socks, 10, &events, NULL);
  if (!socks || !serve) return -1;
  return tcp_socks_listen(socks, &any, on_accept, NULL, &at);
}

static int teardown(void **state) {
  if (got.fd >= 0) close(got.fd);
  tcp_socks_free(socks);
  socks5_serve_free(serve);
  return 0;
}

static void turn(void) {
  uint64_t now = clock_now() + ahead;
  struct pollfd p = {.fd = tcp_socks_fd(socks), .events = POLLIN};
  if (socks5_serve_deadline(serve) <= now) socks5_serve_tick(serve, now);
  if (poll(&p, 1, 2) > 0) tcp_socks_run(socks, now);
  socks5_serve_run(serve, now);
  tcp_socks_flush(socks, now);
}

static int client(void) {
  struct sockaddr_storage ss = {0};
  socklen_t len = (socklen_t)ztna_addr_to_sockaddr(&at, &ss);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(connect(fd, (struct sockaddr *)&ss, len), 0);
  for (int i = 0; i < 3; i++) turn();
  return fd;
}

static void say(int fd, const uint8_t *data, size_t len) {
  assert_int_equal(send(fd, data, len, MSG_NOSIGNAL), len);
  for (int i = 0; i < 10; i++) turn();
}

/* What it hears: n bytes, 0 at the end, -1 nothing. */
static ssize_t hear(int fd, uint8_t *to, size_t n) {
  for (int i = 0; i < 100; i++) {
    ssize_t k = recv(fd, to, n, MSG_DONTWAIT);
    if (k >= 0 || errno != EAGAIN) return k < 0 ? -errno : k;
    turn();
  }
  return -1;
}

static void assert_hears(int fd, const uint8_t *data, size_t len) {
  uint8_t in[64];
  assert_int_equal(hear(fd, in, sizeof(in)), len);
  assert_memory_equal(in, data, len);
}

static void connection_is_given_out_with_nothing_of_its_own_read(void **state) {
  uint8_t in[8];
  int fd = client();
  say(fd, BYTES("\5\1\0"));
  assert_hears(fd, BYTES("\5\0"));
  say(fd, BYTES("\5\1\0\3\3web\0\120GET /"));
  assert_int_equal(got.n_connects, 1);
  assert_string_equal(got.target, "web");
  assert_int_equal(got.port, 80);
  assert_int_equal(recv(got.fd, in, 8, MSG_DONTWAIT), 5);
  assert_memory_equal(in, "GET /", 5);
  assert_int_equal(tcp_socks_counters(socks)->open, 0);
  close(fd);
}

static void message_may_come_byte_by_byte(void **state) {
  static const char all[] = "\5\2\1\0\5\1\0\1\12\144\0\2\0\120";
  int fd = client();
  for (size_t i = 0; i < sizeof(all) - 1; i++)
    say(fd, (const uint8_t *)all + i, 1);
  assert_int_equal(got.n_connects, 1);
  assert_string_equal(got.target, "10.100.0.2");
  close(fd);
}

static void refusal_is_told_and_then_the_end(void **state) {
  int fd = client();
  say(fd, BYTES("\5\1\0\5\1\0\3\3web\0\120"));
  assert_hears(fd, BYTES("\5\0"));
  socks5_serve_refuse(serve, clock_now(), got.fd, SOCKS5_REFUSED);
  got.fd = -1;
  assert_hears(fd, BYTES("\5\5\0\1\0\0\0\0\0\0"));
  assert_int_equal(hear(fd, (uint8_t[1]){0}, 1), 0);
  close(fd);
  for (int i = 0; i < 5; i++) turn();
  assert_int_equal(tcp_socks_counters(socks)->open, 0);
}

static void association_lasts_as_long_as_its_connection(void **state) {
  int fd = client();
  say(fd, BYTES("\5\1\0"));
  assert_hears(fd, BYTES("\5\0"));
  say(fd, BYTES("\5\3\0\1\0\0\0\0\0\0"));
  assert_hears(fd, BYTES("\5\0\0\1\177\0\0\1\22\64"));
  assert_int_equal(got.n_associations, 1);
  ahead = 60 * SEC;
  turn();
  assert_int_equal(got.n_ended, 0);
  close(fd);
  for (int i = 0; i < 5; i++) turn();
  assert_int_equal(got.n_ended, 1);
  assert_int_equal(tcp_socks_counters(socks)->open, 0);
}

static void half_open_handshakes_end_after_ten_seconds(void **state) {
  int fd = client(), silent = client();
  say(fd, BYTES("\5\1\0\5\1"));
  ahead = 9 * SEC;
  turn();
  assert_int_equal(tcp_socks_counters(socks)->open, 2);
  ahead = 11 * SEC;
  for (int i = 0; i < 3; i++) turn();
  assert_int_equal(tcp_socks_counters(socks)->open, 0);
  assert_hears(fd, BYTES("\5\0"));
  assert_int_equal(hear(fd, (uint8_t[1]){0}, 1), -ECONNRESET);
  close(fd);
  close(silent);
}

static void more_than_fit_are_cut(void **state) {
  static int fds[SOCKS5_SERVED_MAX + 20];
  for (size_t i = 0; i < N_OF(fds); i++) fds[i] = client();
  assert_int_equal(tcp_socks_counters(socks)->open, SOCKS5_SERVED_MAX);
  for (size_t i = 0; i < N_OF(fds); i++) close(fds[i]);
  for (int i = 0; i < 200; i++) turn();
  assert_int_equal(tcp_socks_counters(socks)->open, 0);
}

#define CASE(f) TEST_WITH(f, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(greeting_is_answered_by_what_we_know),
      TEST(requests_name_services_and_addresses),
      TEST(wrong_requests_are_told_apart),
      TEST(fragments_of_datagrams_are_refused),
      CASE(connection_is_given_out_with_nothing_of_its_own_read),
      CASE(message_may_come_byte_by_byte),
      CASE(refusal_is_told_and_then_the_end),
      CASE(association_lasts_as_long_as_its_connection),
      CASE(half_open_handshakes_end_after_ten_seconds),
      CASE(more_than_fit_are_cut),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
