/* test_check.c - health checks against real sockets on loopback. */
#include "unit.h"

#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/check.h"

static struct checks *checks;
static int server = -1, client = -1;
static struct ztna_addr addr;

static struct {
  int n;
  size_t service;
  bool passed;
  char error[128];
} last;

static void on_done(void *ctx, size_t service, const char *error) {
  last.n++;
  last.service = service;
  last.passed = !error;
  snprintf(last.error, sizeof(last.error), "%s", error ? error : "");
}

static void listen_on(int type) {
  struct sockaddr_in in = {.sin_family = AF_INET,
                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof(in);
  server = socket(AF_INET, type, 0);
  assert_int_equal(bind(server, (struct sockaddr *)&in, sizeof(in)), 0);
  if (type == SOCK_STREAM) assert_int_equal(listen(server, 8), 0);
  assert_int_equal(getsockname(server, (struct sockaddr *)&in, &len), 0);
  addr = test_addr("127.0.0.1:1");
  addr.port = ntohs(in.sin_port);
}

static int begin(void **state) {
  memset(&last, 0, sizeof(last));
  checks = checks_new(on_done, NULL);
  return checks ? 0 : -1;
}

static int end(void **state) {
  checks_free(checks);
  if (server >= 0) close(server);
  if (client >= 0) close(client);
  server = client = -1;
  return 0;
}

/* Runs what is to be done for so long, or until a check has ended. */
static void run(int ms) {
  int n = last.n;
  for (int i = 0; i < ms && last.n == n; i++) {
    struct pollfd p = {.fd = checks_fd(checks), .events = POLLIN};
    if (poll(&p, 1, 1) > 0) checks_run(checks);
  }
}

static void start_tcp(void) {
  struct check_how how = {.by = CHECK_BY_TCP};
  checks_start(checks, 2, &how, &addr);
}

/* Takes an HTTP request and answers; NULL: closes. */
static void http(const char *answer, unsigned first, unsigned last_status) {
  struct check_how how = {.by = CHECK_BY_HTTP,
                          .path = "/health?a=b",
                          .host = "web.test",
                          .status_first = first,
                          .status_last = last_status};
  char request[1024] = "";
  checks_start(checks, 1, &how, &addr);
  run(50); /* connects */
  client = accept(server, NULL, NULL);
  assert_true(client >= 0);
  run(20); /* asks */
  assert_true(recv(client, request, sizeof(request) - 1, 0) > 0);
  assert_true(strstr(request, "GET /health?a=b HTTP/1.1\r\n") == request);
  assert_non_null(strstr(request, "\r\nHost: web.test\r\n"));
  assert_non_null(strstr(request, "\r\nConnection: close\r\n"));
  assert_memory_equal(request + strlen(request) - 4, "\r\n\r\n", 4);
  assert_int_equal(last.n, 0);
  if (answer) assert_true(send(client, answer, strlen(answer), 0) > 0);
  close(client);
  client = -1;
  run(1000);
  assert_int_equal(last.n, 1);
  assert_int_equal(last.service, 1);
}

static void a_port_that_listens_is_well(void **state) {
  listen_on(SOCK_STREAM);
  start_tcp();
  run(1000);
  assert_int_equal(last.n, 1);
  assert_int_equal(last.service, 2);
  assert_true(last.passed);
}

static void a_port_that_refuses_is_not(void **state) {
  listen_on(SOCK_STREAM);
  close(server);
  server = -1;
  start_tcp();
  run(1000);
  assert_int_equal(last.n, 1);
  assert_string_equal(last.error, "Connection refused");
}

static void an_http_status_in_the_range_is_well(void **state) {
  listen_on(SOCK_STREAM);
  http("HTTP/1.1 204 No Content\r\n\r\n", 200, 399);
  assert_true(last.passed);
}

static void an_old_servers_short_line_will_do(void **state) {
  listen_on(SOCK_STREAM);
  http("HTTP/1.0 302\n", 200, 399);
  assert_true(last.passed);
}

static void an_http_status_outside_is_named(void **state) {
  listen_on(SOCK_STREAM);
  http("HTTP/1.1 503 Busy\r\nRetry-After: 1\r\n\r\n", 200, 399);
  assert_string_equal(last.error, "HTTP status 503, want 200 to 399");
}

static void what_is_no_http_fails(void **state) {
  static const char *const bad[] = {"SSH-2.0-OpenSSH_9.2\r\n",
                                    "HTTP/2.0 200 OK\r\n",
                                    "HTTP/1.1 20\r\n",
                                    "HTTP/1.1 2000 OK\r\n",
                                    "\n",
                                    "HTTP/1.1 abc\r\n"};
  listen_on(SOCK_STREAM);
  for (size_t i = 0; i < N_OF(bad); i++) {
    last.n = 0;
    http(bad[i], 200, 399);
    assert_string_equal(last.error, "no HTTP answer");
  }
}

static void a_line_without_end_fails(void **state) {
  static char much[CHECK_READ_MAX + 1];
  memset(much, 'x', CHECK_READ_MAX);
  listen_on(SOCK_STREAM);
  http(much, 200, 399);
  assert_string_equal(last.error, "no HTTP answer");
}

static void a_server_that_closes_fails(void **state) {
  listen_on(SOCK_STREAM);
  http(NULL, 200, 399);
  assert_string_equal(last.error, "closed without an answer");
}

/* Asks by UDP, answers so, and whether it passed. */
static bool udp(const char *expect, const char *answer, size_t len) {
  struct check_how how = {
      .by = CHECK_BY_UDP, .send = "ask\\x00\\r", .expect = expect};
  struct sockaddr_storage from;
  socklen_t from_len = sizeof(from);
  char request[64];
  last.n = 0;
  checks_start(checks, 0, &how, &addr);
  run(50);
  assert_int_equal(recvfrom(server, request, sizeof(request), 0,
                            (struct sockaddr *)&from, &from_len),
                   5);
  assert_memory_equal(request, "ask\0\r", 5);
  sendto(server, answer, len, 0, (struct sockaddr *)&from, from_len);
  run(1000);
  assert_int_equal(last.n, 1);
  return last.passed;
}

static void udp_answers_are_compared(void **state) {
  listen_on(SOCK_DGRAM);
  assert_true(udp("p\\x00ng", "[p\0ng]", 6));
  assert_false(udp("p\\x00ng", "[p\0n]", 5));
  assert_string_equal(last.error, "another answer than expected");
  assert_true(udp(NULL, "anything", 8));
  assert_true(udp("", "", 0));
}

static void a_udp_port_that_is_closed_fails(void **state) {
  struct check_how how = {.by = CHECK_BY_UDP, .send = "x"};
  listen_on(SOCK_DGRAM);
  close(server);
  server = -1;
  checks_start(checks, 0, &how, &addr);
  run(1000);
  assert_int_equal(last.n, 1);
  assert_string_equal(last.error, "Connection refused");
}

static void a_cancelled_check_says_nothing(void **state) {
  struct check_how how = {.by = CHECK_BY_UDP, .send = "x"};
  listen_on(SOCK_DGRAM);
  checks_start(checks, 3, &how, &addr);
  run(20);
  checks_cancel(checks, 3);
  checks_cancel(checks, 3);
  run(20);
  assert_int_equal(last.n, 0);
}

/* Number 3 became 0, 1 is gone, and 7 was never heard of. */
static void a_check_runs_on_under_another_number(void **state) {
  static const size_t to[] = {2, SIZE_MAX, 1, 0};
  struct check_how how = {.by = CHECK_BY_UDP, .send = "x"};
  struct sockaddr_in from;
  socklen_t len = sizeof(from);
  char question[4];
  listen_on(SOCK_DGRAM);
  checks_start(checks, 1, &how, &addr);
  checks_start(checks, 3, &how, &addr);
  checks_start(checks, 7, &how, &addr);
  checks_renumber(checks, to, 4);
  run(20);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(recvfrom(server, question, sizeof(question), MSG_DONTWAIT,
                              (struct sockaddr *)&from, &len),
                     1);
    sendto(server, "y", 1, 0, (struct sockaddr *)&from, len);
    run(100);
    assert_true(last.service == 0 || last.service == 7);
    assert_int_equal(last.n, i + 1);
  }
  assert_true(recv(server, question, sizeof(question), MSG_DONTWAIT) < 0);
}

static void a_check_begun_anew_ends_the_former(void **state) {
  listen_on(SOCK_STREAM);
  start_tcp();
  start_tcp();
  run(200);
  run(50);
  assert_int_equal(last.n, 1);
}

static void bytes_are_read_as_people_write_them(void **state) {
  uint8_t v[8];
  assert_int_equal(check_bytes("a\\x00\\xFf\\\\\\n", v, sizeof(v)), 5);
  assert_memory_equal(v, "a\0\xff\\\n", 5);
  assert_int_equal(check_bytes("", v, sizeof(v)), 0);
  assert_int_equal(check_bytes("12345678", v, sizeof(v)), 8);
  assert_int_equal(check_bytes("123456789", v, sizeof(v)), -1);
  assert_int_equal(check_bytes("\\", v, sizeof(v)), -1);
  assert_int_equal(check_bytes("\\q", v, sizeof(v)), -1);
  assert_int_equal(check_bytes("\\x", v, sizeof(v)), -1);
  assert_int_equal(check_bytes("\\x1", v, sizeof(v)), -1);
  assert_int_equal(check_bytes("\\x1g", v, sizeof(v)), -1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST_WITH(a_port_that_listens_is_well, begin, end),
      TEST_WITH(a_port_that_refuses_is_not, begin, end),
      TEST_WITH(an_http_status_in_the_range_is_well, begin, end),
      TEST_WITH(an_old_servers_short_line_will_do, begin, end),
      TEST_WITH(an_http_status_outside_is_named, begin, end),
      TEST_WITH(what_is_no_http_fails, begin, end),
      TEST_WITH(a_line_without_end_fails, begin, end),
      TEST_WITH(a_server_that_closes_fails, begin, end),
      TEST_WITH(udp_answers_are_compared, begin, end),
      TEST_WITH(a_udp_port_that_is_closed_fails, begin, end),
      TEST_WITH(a_cancelled_check_says_nothing, begin, end),
      TEST_WITH(a_check_runs_on_under_another_number, begin, end),
      TEST_WITH(a_check_begun_anew_ends_the_former, begin, end),
      TEST_WITH(bytes_are_read_as_people_write_them, begin, end),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
