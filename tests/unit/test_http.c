/* test_http.c - the local pages over a real connection, and our own client. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include <ztna/err.h>

#include "host/http.h"
#include "host/http_get.h"
#include "host/pretty.h"

static uv_loop_t loop;
static struct http *http;
static struct ztna_addr at;
static bool ready;

static int page_ready(void *ctx, struct sbuf *why) {
  if (!ready) sbuf_printf(why, "{\"ready\":false,\"why\":\"no relay\"}\n");
  return ready;
}

static void page_metrics(void *ctx, struct sbuf *out) {
  sbuf_printf(out, "# HELP ztna_x x\nztna_x 1\n");
}

static void page_status(void *ctx, struct sbuf *out) {
  sbuf_printf(out, "{\"schema\":\"ztna.status/1\",\"pad\":\"");
  for (int i = 0; i < 20000; i++) sbuf_add(out, "0123456789", 10);
  sbuf_printf(out, "\"}\n");
}

static void page_ask(void *ctx, const char *service, struct sbuf *out) {
  sbuf_printf(out, "{\"service\":\"%s\"}\n", service);
}

static struct http_pages pages = {
    .ready = page_ready, .metrics = page_metrics, .status = page_status};

/* --- a client in a thread, while the loop runs here */

struct call {
  const char *request; /* NULL: http_get of path */
  const char *path;
  int rc;
  char answer[65536];
  struct sbuf body;
  uv_async_t done;
};

static void talk(struct call *c) {
  struct sockaddr_storage ss = {0};
  socklen_t len = (socklen_t)ztna_addr_to_sockaddr(&at, &ss);
  int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  size_t n = 0;
  ssize_t k;
  if (connect(fd, (struct sockaddr *)&ss, len) == 0 &&
      send(fd, c->request, strlen(c->request), MSG_NOSIGNAL) > 0)
    while (n < sizeof(c->answer) - 1 &&
           (k = recv(fd, c->answer + n, sizeof(c->answer) - 1 - n, 0)) > 0)
      n += (size_t)k;
  c->answer[n] = 0;
  c->rc = n > 12 ? atoi(c->answer + 9) : -1;
  close(fd);
}

static void *client(void *arg) {
  struct call *c = arg;
  if (c->request)
    talk(c);
  else
    c->rc = http_get(&at, c->path, 2000, &c->body);
  uv_async_send(&c->done);
  return NULL;
}

static void on_done(uv_async_t *a) {
  uv_close((uv_handle_t *)a, NULL);
  uv_stop(a->loop);
}

static void run_call(struct call *c) {
  pthread_t t;
  uv_async_init(&loop, &c->done, on_done);
  assert_int_equal(pthread_create(&t, NULL, client, c), 0);
  uv_run(&loop, UV_RUN_DEFAULT);
  pthread_join(t, NULL);
  uv_run(&loop, UV_RUN_NOWAIT); /* closes the async handle */
}

static struct call call; /* of the running test */

static const char *request(const char *text) {
  call.request = text;
  run_call(&call);
  return call.answer;
}

static int get(const char *path) {
  call.request = NULL;
  call.path = path;
  sbuf_done(&call.body);
  run_call(&call);
  return call.rc;
}

static int setup(void **state) {
  memset(&call, 0, sizeof(call));
  ready = true;
  ztna_addr_parse(&at, "127.0.0.1:0");
  if (uv_loop_init(&loop) < 0) return -1;
  int rc = http_start(&http, &loop, &at, &pages, NULL);
  if (rc == 0) at = http_local(http);
  return rc;
}

static int teardown(void **state) {
  sbuf_done(&call.body);
  http_stop(http);
  uv_run(&loop, UV_RUN_DEFAULT);
  return uv_loop_close(&loop);
}

/* --- tests */

static void pages_are_served(void **state) {
  assert_true(at.port != 0);
  assert_int_equal(get("/healthz"), 200);
  assert_int_equal(get("/readyz"), 200);
  assert_int_equal(get("/metrics"), 200);
  assert_string_equal(call.body.s, "# HELP ztna_x x\nztna_x 1\n");
}

static void long_status_arrives_whole(void **state) {
  assert_int_equal(get("/status"), 200);
  assert_true(call.body.len > 200000);
  assert_memory_equal(call.body.s + call.body.len - 3, "\"}\n", 3);
}

static void not_ready_says_why(void **state) {
  ready = false;
  assert_int_equal(get("/readyz"), 503);
  assert_non_null(strstr(call.body.s, "no relay"));
  assert_int_equal(get("/healthz"), 200);
}

static void unknown_path_is_a_problem(void **state) {
  assert_int_equal(get("/admin"), 404);
  assert_non_null(strstr(call.body.s, "\"status\":404"));
  const char *a = request("GET /x HTTP/1.1\r\nHost: localhost\r\n"
                          "Connection: close\r\n\r\n");
  assert_non_null(strstr(a, "Content-Type: application/problem+json"));
}

static void only_who_can_ask_has_the_page_for_it(void **state) {
  assert_int_equal(get("/ask?service=echo"), 404);
  pages.ask = page_ask;
  assert_int_equal(get("/ask"), 404);
  assert_int_equal(get("/ask?other=echo"), 404);
  sbuf_done(&call.body);
  assert_int_equal(get("/ask?x=1&service=echo"), 200);
  assert_string_equal(call.body.s, "{\"service\":\"echo\"}\n");
  pages.ask = NULL;
}

static void only_get_and_head_are_allowed(void **state) {
  const char *a =
      request("POST /status HTTP/1.1\r\nHost: localhost\r\n"
              "Content-Length: 5\r\nConnection: close\r\n\r\nhello");
  assert_int_equal(call.rc, 405);
  assert_non_null(strstr(a, "Allow: GET, HEAD"));
  request("DELETE /status HTTP/1.1\r\nHost: localhost\r\n"
          "Connection: close\r\n\r\n");
  assert_int_equal(call.rc, 405);
  a = request("HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n"
              "Connection: close\r\n\r\n");
  assert_int_equal(call.rc, 200);
  assert_null(strstr(a, "ztna_x"));
}

static int status_for_host(const char *host) {
  char text[256];
  snprintf(text, sizeof(text),
           "GET /status HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n",
           host);
  request(text);
  return call.rc;
}

static void names_in_the_host_header_are_refused(void **state) {
  assert_int_equal(status_for_host("evil.example"), 421);
  assert_int_equal(status_for_host("127.0.0.1.evil.example:9090"), 421);
  assert_int_equal(status_for_host("localhost.evil.example"), 421);
  assert_int_equal(status_for_host("localhost:9090"), 200);
  assert_int_equal(status_for_host("LOCALHOST"), 200);
  assert_int_equal(status_for_host("127.0.0.1:9090"), 200);
  assert_int_equal(status_for_host("[::1]:9090"), 200);
}

static void huge_headers_are_refused(void **state) {
  static char text[60000];
  int n = snprintf(text, sizeof(text), "GET /status HTTP/1.1\r\nX: ");
  memset(text + n, 'x', 50000);
  strcpy(text + n + 50000, "\r\nHost: localhost\r\n\r\n");
  request(text);
  assert_true(call.rc != 200);
  assert_int_equal(get("/healthz"), 200);
}

static void used_port_is_a_clear_error(void **state) {
  struct http *other;
  struct ztna_addr far;
  assert_int_equal(http_start(&other, &loop, &at, &pages, NULL), ZTNA_EEXIST);
  assert_null(other);
  ztna_addr_parse(&far, "192.0.2.1:9090");
  assert_int_equal(http_start(&other, &loop, &far, &pages, NULL), ZTNA_ENOENT);
  http_stop(other);
}

static void client_tells_refused_from_silent(void **state) {
  struct sbuf out;
  struct ztna_addr quiet;
  struct sockaddr_storage ss = {0};
  sbuf_init(&out, 0);
  ztna_addr_parse(&quiet, "127.0.0.1:0");
  socklen_t len = (socklen_t)ztna_addr_to_sockaddr(&quiet, &ss);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(fd, (struct sockaddr *)&ss, len), 0);
  getsockname(fd, (struct sockaddr *)&ss, &len);
  ztna_addr_from_sockaddr(&quiet, &ss);
  assert_int_equal(http_get(&quiet, "/status", 300, &out), ZTNA_EREFUSED);
  listen(fd, 1);
  assert_int_equal(http_get(&quiet, "/status", 300, &out), ZTNA_EAGAIN);
  close(fd);
  sbuf_done(&out);
}

static void status_is_printed_with_aligned_keys(void **state) {
  struct sbuf out;
  json_t *root = json_loads(
      "{\"schema\":\"ztna.status/1\",\"role\":\"relay\",\"connections\":12,"
      "\"udp\":{\"rx\":5,\"dropped\":0},\"tags\":[\"a\",\"b\"],"
      "\"routes\":[{\"id\":\"7f\",\"agent\":\"laptop\\u001b[2J\"},"
      "{\"id\":\"80aa\",\"bytes\":7}],\"none\":[]}",
      0, NULL);
  assert_non_null(root);
  sbuf_init(&out, 0);
  pretty_print(&out, root);
  assert_string_equal(out.s, "role         relay\n"
                             "connections  12\n"
                             "tags         a, b\n"
                             "none         -\n"
                             "\nudp\n"
                             "  rx       5\n"
                             "  dropped  0\n"
                             "\nroutes\n"
                             "  id    agent       bytes\n"
                             "  7f    laptop?[2J  -\n"
                             "  80aa  -           7\n");
  sbuf_done(&out);
  json_decref(root);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(pages_are_served),
      TEST(long_status_arrives_whole),
      TEST(not_ready_says_why),
      TEST(unknown_path_is_a_problem),
      TEST(only_who_can_ask_has_the_page_for_it),
      TEST(only_get_and_head_are_allowed),
      TEST(names_in_the_host_header_are_refused),
      TEST(huge_headers_are_refused),
      TEST(used_port_is_a_clear_error),
      TEST(client_tells_refused_from_silent),
      cmocka_unit_test(status_is_printed_with_aligned_keys),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
