/* test_h3.c - requests, lines and their ends, over a pipe instead of QUIC. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <malloc.h>
#include <cmocka.h>

#include <nghttp3/nghttp3.h>

#include <ztna/err.h>

#include "base/time.h"
#include "fake/quic.c"
#include "transport/h3.h"

/* --- a server and a client that note what happens --- */

static struct quic_conn server, client;
static struct h3 *server_h3, *client_h3;

static struct {
  struct h3_req *req[64]; /* that wait for the test's answer */
  size_t n_reqs, n_asked, n_gone, n_ended;
  bool hold;  /* do not answer by oneself */
  bool close; /* close the connection in on_request */
  char method[8], path[256], body[H3_BODY_MAX + 1];
  size_t body_len;
  struct h3_req *gone;
  enum reason end_reason, refused; /* the last one */
  size_t n_refused, n_deadlines;
} at_server;

static struct {
  size_t n_done, n_lines, n_goaway, n_ended;
  int status;
  char body[70000], line[512];
  size_t body_len, line_len;
  bool close_in_line, cancel_in_line, cancel_in_done, call_in_ready;
  size_t n_done_at_end;
  struct h3_call *early;
} at_client;

static void on_done(void *ud, struct h3_call *c, int status, const char *body,
                    size_t len) {
  at_client.n_done++;
  at_client.status = status;
  assert_non_null(body);
  assert_int_equal(body[len], 0);
  at_client.body_len = len;
  if (len < sizeof(at_client.body)) memcpy(at_client.body, body, len + 1);
  if (at_client.cancel_in_done) h3_cancel(c);
}

static void on_line(void *ud, struct h3_call *c, const char *line, size_t len) {
  at_client.n_lines++;
  at_client.line_len = len;
  assert_int_equal(strlen(line), len);
  if (len < sizeof(at_client.line)) memcpy(at_client.line, line, len + 1);
  if (at_client.close_in_line) quic_close(&client, REASON_SHUTTING_DOWN, "");
  if (at_client.cancel_in_line) h3_cancel(c);
}

static void on_request(struct h3 *s, void *ud, struct h3_req *r) {
  size_t len;
  const char *body = h3_body(r, &len);

  at_server.n_asked++;
  snprintf(at_server.method, sizeof(at_server.method), "%s", h3_method(r));
  snprintf(at_server.path, sizeof(at_server.path), "%s", h3_path(r));
  at_server.body_len = len;
  memcpy(at_server.body, body, len + 1);
  if (at_server.close) quic_close(h3_conn(s), REASON_NOT_ALLOWED, "");
  if (at_server.hold)
    at_server.req[at_server.n_reqs++] = r;
  else
    h3_respond(r, 200, "{}", 2);
}

static void on_gone(struct h3 *s, void *ud, struct h3_req *r) {
  at_server.n_gone++;
  at_server.gone = r;
}

static void on_server_end(struct h3 *s, void *ud, const struct quic_end *why) {
  at_server.n_ended++;
  at_server.end_reason = why->reason;
}

static int on_client_ready(struct h3 *s, void *ud,
                           const struct identity *peer) {
  if (at_client.call_in_ready)
    at_client.early = h3_call(s, "GET", "/early", NULL, 0, on_done, NULL, NULL);
  return 0;
}

static void on_client_end(struct h3 *s, void *ud, const struct quic_end *why) {
  at_client.n_ended++;
  at_client.n_done_at_end = at_client.n_done;
}

static void on_goaway(struct h3 *s, void *ud) { at_client.n_goaway++; }

static void on_refused(struct h3 *s, void *ud, enum reason why) {
  at_server.n_refused++;
  at_server.refused = why;
}

static void on_deadline(struct h3 *s, void *ud) {
  assert_true(h3_deadline(s) != NEVER);
  at_server.n_deadlines++;
}

static const struct h3_ops server_ops = {.on_request = on_request,
                                         .on_gone = on_gone,
                                         .on_refused = on_refused,
                                         .on_deadline = on_deadline,
                                         .on_end = on_server_end};
static const struct h3_ops client_ops = {.on_ready = on_client_ready,
                                         .on_end = on_client_end,
                                         .on_goaway = on_goaway};

static void connect_with(const struct quic_params *sp) {
  struct quic_params cp = h3_params(false);

  memset(&at_server, 0, sizeof(at_server));
  memset(&at_client, 0, sizeof(at_client));
  server_h3 = h3_new(true, NULL, &server_ops, NULL);
  client_h3 = h3_new(false, "relay.example", &client_ops, NULL);
  fake_init(&server, true, h3_server_ops(), server_h3, sp, &cp);
  fake_init(&client, false, h3_client_ops(), client_h3, &cp, sp);
  fake_pair(&server, &client);
}

static int begin(void **state) {
  struct quic_params sp = h3_params(true);

  connect_with(&sp);
  fake_ready(&server);
  fake_ready(&client);
  fake_run(&client);
  return 0;
}

static int begin_unready(void **state) {
  struct quic_params sp = h3_params(true);

  connect_with(&sp);
  return 0;
}

static int end(void **state) {
  fake_done(&client);
  fake_done(&server);
  return 0;
}

static struct h3_call *call(const char *method, const char *path,
                            const char *body) {
  return h3_call(client_h3, method, path, body, body ? strlen(body) : 0,
                 on_done, NULL, NULL);
}

static struct h3_call *listen_for_lines(void) {
  struct h3_call *c;

  at_server.hold = true;
  c = h3_call(client_h3, "GET", "/v1/events", NULL, 0, on_done, on_line, NULL);
  fake_run(&client);
  h3_begin_lines(at_server.req[at_server.n_reqs - 1]);
  fake_run(&client);
  return c;
}

static char *filled(size_t len, char with) {
  char *s = malloc(len + 1);
  memset(s, with, len);
  s[len] = 0;
  return s;
}

/* Bytes in use, by whichever allocator runs this. */
size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));
static size_t heap_in_use(void) {
  if (__sanitizer_get_current_allocated_bytes)
    return __sanitizer_get_current_allocated_bytes();
  return mallinfo2().uordblks;
}

static size_t held_by_fakes(void) {
  return (client.pieces_room + server.pieces_room) * sizeof(struct fake_piece);
}

/* --- requests and answers --- */

static void request_arrives_whole_and_its_answer_comes_back(void **state) {
  at_server.hold = true;
  assert_non_null(call("POST", "/v1/grants?a=b", "{\"service\":\"web\"}"));
  fake_run(&client);
  assert_int_equal(at_server.n_asked, 1);
  assert_string_equal(at_server.method, "POST");
  assert_string_equal(at_server.path, "/v1/grants?a=b");
  assert_string_equal(at_server.body, "{\"service\":\"web\"}");
  assert_int_equal(at_client.n_done, 0);
  h3_respond(at_server.req[0], 201, "{\"grant\":1}", 11);
  fake_run(&client);
  assert_int_equal(at_client.n_done, 1);
  assert_int_equal(at_client.status, 201);
  assert_string_equal(at_client.body, "{\"grant\":1}");
  assert_int_equal(at_server.n_gone, 0);
  assert_int_equal(fake_open_streams(&client), 6);
  assert_int_equal(fake_open_streams(&server), 6);
}

static void answer_without_a_body_is_whole_too(void **state) {
  at_server.hold = true;
  call("DELETE", "/v1/grants/1", NULL);
  fake_run(&client);
  h3_respond(at_server.req[0], 204, NULL, 0);
  fake_run(&client);
  assert_int_equal(at_client.status, 204);
  assert_int_equal(at_client.body_len, 0);
}

static void answers_may_come_in_another_order(void **state) {
  at_server.hold = true;
  for (int i = 0; i < 3; i++) call("GET", "/v1/self", NULL);
  fake_run(&client);
  assert_int_equal(at_server.n_reqs, 3);
  h3_respond(at_server.req[2], 202, NULL, 0);
  fake_run(&client);
  assert_int_equal(at_client.status, 202);
  h3_respond(at_server.req[0], 200, NULL, 0);
  fake_run(&client);
  assert_int_equal(at_client.status, 200);
  h3_respond(at_server.req[1], 201, NULL, 0);
  fake_run(&client);
  assert_int_equal(at_client.status, 201);
  assert_int_equal(at_client.n_done, 3);
}

static void large_answer_passes_small_windows(void **state) {
  char *text = filled(H3_ANSWER_MAX, 'x');

  at_server.hold = true;
  call("GET", "/v1/services", NULL);
  fake_run(&client);
  h3_respond(at_server.req[0], 200, text, H3_ANSWER_MAX);
  fake_run(&client);
  assert_int_equal(at_client.status, 200);
  assert_int_equal(at_client.body_len, H3_ANSWER_MAX);
  assert_int_equal(client.given, client.received);
  free(text);
}

static void answer_over_the_limit_ends_the_call(void **state) {
  char *text = filled(H3_ANSWER_MAX + 1, 'x');

  at_server.hold = true;
  call("GET", "/v1/services", NULL);
  fake_run(&client);
  h3_respond(at_server.req[0], 200, text, H3_ANSWER_MAX + 1);
  fake_run(&client);
  assert_int_equal(at_client.n_done, 1);
  assert_int_equal(at_client.status, 0);
  assert_int_equal(fake_open_streams(&client), 6);
  free(text);
}

static void problem_says_what_and_who_can_fix_it(void **state) {
  at_server.hold = true;
  call("POST", "/v1/grants", "{}");
  fake_run(&client);
  h3_problem(at_server.req[0], REASON_NOT_ALLOWED, "say \"please\"\n");
  fake_run(&client);
  assert_int_equal(at_client.status, 403);
  assert_string_equal(
      at_client.body,
      "{\"type\":\"urn:ztna:not-allowed\",\"title\":\"no rule of the policy "
      "allows this identity to use the service\",\"status\":403,\"reason\":"
      "\"not-allowed\",\"fix\":\"the administrator of the policy\",\"detail\":"
      "\"say \\\"please\\\"\\n\"}");
}

static void problem_leaves_out_a_detail_that_is_no_text(void **state) {
  at_server.hold = true;
  call("GET", "/", NULL);
  fake_run(&client);
  h3_problem(at_server.req[0], REASON_INTERNAL, "\xff\xfe");
  fake_run(&client);
  assert_int_equal(at_client.status, 500);
  assert_null(strstr(at_client.body, "detail"));
}

static void calls_of_on_ready_are_made(void **state) {
  at_client.call_in_ready = true;
  fake_ready(&server);
  fake_ready(&client);
  assert_non_null(at_client.early);
  fake_run(&client);
  assert_string_equal(at_server.path, "/early");
  assert_int_equal(at_client.status, 200);
}

/* --- limits --- */

static void body_of_the_limit_passes(void **state) {
  char *text = filled(H3_BODY_MAX, 'b');

  call("PUT", "/v1/connector", text);
  fake_run(&client);
  assert_int_equal(at_server.body_len, H3_BODY_MAX);
  assert_int_equal(at_client.status, 200);
  assert_int_equal(server.given, server.received);
  free(text);
}

static void body_over_the_limit_is_not_read_to_its_end(void **state) {
  char *text = filled(10 * H3_BODY_MAX, 'b');

  call("PUT", "/v1/connector", text);
  fake_run(&client);
  assert_int_equal(at_server.n_asked, 0);
  assert_int_equal(at_client.status, 413);
  assert_non_null(strstr(at_client.body, "\"status\":413"));
  assert_true(server.received < 5 * H3_BODY_MAX);
  assert_int_equal(server.given, server.received);
  assert_int_equal(fake_open_streams(&server), 6);
  free(text);
}

static void header_list_over_the_limit_is_refused(void **state) {
  char *path = filled(17000, '/');

  call("GET", path, NULL);
  fake_run(&client);
  assert_int_equal(at_server.n_asked, 0);
  assert_int_equal(at_client.status, 431);
  path[12000] = 0;
  call("GET", path, NULL);
  fake_run(&client);
  assert_int_equal(at_client.status, 200);
  free(path);
}

static void unknown_method_is_refused(void **state) {
  call("PATCH", "/", NULL);
  fake_run(&client);
  assert_int_equal(at_client.status, 405);
  call("PROPPATCHES", "/", NULL);
  fake_run(&client);
  assert_int_equal(at_client.status, 405);
  assert_int_equal(at_server.n_asked, 0);
}

static void backlog_of_lines_is_bounded(void **state) {
  char line[1000];
  int rc = 0, n = 0;

  listen_for_lines();
  memset(line, 'l', sizeof(line));
  server.hold_data = true;
  while (!rc && n < 1000) {
    rc = h3_line(at_server.req[0], line, sizeof(line));
    n += !rc;
    fake_run(&client);
  }
  assert_int_equal(rc, ZTNA_EFULL);
  assert_in_range(n, 200, H3_LINES_MAX / 1000);
  server.hold_data = false;
  fake_run(&client);
  assert_int_equal(at_client.n_lines, n);
  assert_int_equal(h3_line(at_server.req[0], line, sizeof(line)), 0);
}

static void calls_wait_for_streams_and_are_sent_in_order(void **state) {
  char path[16];
  size_t i, n = 0;

  at_server.hold = true;
  for (i = 0; i < 97; i++) {
    snprintf(path, sizeof(path), "/%zu", i);
    n += call("GET", path, NULL) != NULL;
  }
  assert_int_equal(n, 32 + 64);
  fake_run(&client);
  assert_int_equal(at_server.n_reqs, 32);
  at_server.hold = false;
  for (i = 0; i < 32; i++) h3_respond(at_server.req[i], 200, NULL, 0);
  fake_run(&client);
  assert_int_equal(at_server.n_asked, 96);
  assert_string_equal(at_server.path, "/95");
  assert_int_equal(at_client.n_done, 96);
}

/* --- lines --- */

static void line_arrives_as_soon_as_it_is_written(void **state) {
  listen_for_lines();
  assert_int_equal(at_client.n_lines, 0);
  for (size_t i = 1; i < 20; i++) {
    assert_int_equal(h3_line(at_server.req[0], "{\"n\":1}", 7), 0);
    fake_run(&client);
    assert_int_equal(at_client.n_lines, i);
    assert_string_equal(at_client.line, "{\"n\":1}");
  }
  h3_end(at_server.req[0]);
  fake_run(&client);
  assert_int_equal(at_client.status, 200);
  assert_int_equal(at_client.body_len, 0);
  assert_int_equal(at_server.n_gone, 0);
}

static void line_longer_than_packets_arrives_whole(void **state) {
  size_t len = H3_LINES_MAX - 100;
  char *line = filled(len, 'l');

  listen_for_lines();
  assert_int_equal(h3_line(at_server.req[0], line, len), 0);
  fake_run(&client);
  assert_int_equal(at_client.n_lines, 1);
  assert_int_equal(at_client.line_len, len);
  free(line);
}

static void sleeping_lines_do_not_hold_up_other_answers(void **state) {
  listen_for_lines();
  call("GET", "/v1/self", NULL);
  fake_run(&client);
  assert_int_equal(h3_line(at_server.req[0], "{}", 2), 0);
  h3_respond(at_server.req[1], 200, "{}", 2);
  while (fake_send(&server)) {
  }
  assert_int_equal(at_client.n_lines, 1);
  assert_int_equal(at_client.n_done, 1);
}

static void refused_lines_give_their_problem_as_body(void **state) {
  at_server.hold = true;
  h3_call(client_h3, "GET", "/v1/events", NULL, 0, on_done, on_line, NULL);
  fake_run(&client);
  h3_problem(at_server.req[0], REASON_RATE_LIMITED, NULL);
  fake_run(&client);
  assert_int_equal(at_client.n_lines, 0);
  assert_int_equal(at_client.status, 429);
  assert_non_null(strstr(at_client.body, "rate-limited"));
}

static void idle_lines_hold_no_memory(void **state) {
  char *line = filled(100000, 'l');
  size_t before, first;

  listen_for_lines();
  first = heap_in_use();
  h3_line(at_server.req[0], line, 100000);
  fake_run(&client);
  before = heap_in_use() - held_by_fakes();
  assert_true(before < first + 8192);
  before = heap_in_use();
  for (int i = 0; i < 3000; i++) {
    h3_line(at_server.req[0], "{\"heartbeat\":true}", 18);
    fake_run(&client);
  }
  assert_int_equal(at_client.n_lines, 3001);
  assert_int_equal(heap_in_use(), before);
  free(line);
}

/* --- giving up --- */

static void cancelled_call_is_gone_at_the_server(void **state) {
  struct h3_call *c;

  at_server.hold = true;
  c = call("GET", "/slow", NULL);
  fake_run(&client);
  h3_cancel(c);
  fake_run(&client);
  assert_int_equal(at_server.n_gone, 1);
  assert_ptr_equal(at_server.gone, at_server.req[0]);
  assert_int_equal(at_client.n_done, 0);
  assert_int_equal(fake_open_streams(&client), 6);
  assert_int_equal(fake_open_streams(&server), 6);
}

static void cancelled_lines_are_gone_at_the_server(void **state) {
  struct h3_call *c = listen_for_lines();

  h3_line(at_server.req[0], "{}", 2);
  h3_cancel(c);
  fake_run(&client);
  assert_int_equal(at_server.n_gone, 1);
  assert_int_equal(at_client.n_lines + at_client.n_done, 0);
  assert_int_equal(fake_open_streams(&server), 6);
}

static void half_a_request_that_is_reset_is_never_seen(void **state) {
  char *text = filled(60000, 'b');
  struct h3_call *c;

  c = call("PUT", "/v1/connector", text);
  for (int i = 0; i < 20; i++) fake_send(&client);
  assert_true(server.received > 10000);
  h3_cancel(c);
  fake_run(&client);
  assert_int_equal(at_server.n_asked + at_server.n_gone, 0);
  assert_int_equal(fake_open_streams(&server), 6);
  assert_int_equal(fake_open_streams(&client), 6);
  free(text);
}

static void answer_that_is_reset_ends_the_call(void **state) {
  at_server.hold = true;
  call("GET", "/", NULL);
  fake_run(&client);
  quic_stream_reset(&server, 0, 0x102);
  fake_run(&client);
  assert_int_equal(at_client.n_done, 1);
  assert_int_equal(at_client.status, 0);
  assert_int_equal(at_server.n_gone, 1);
}

static void end_of_the_connection_ends_everything_before_on_end(void **state) {
  at_server.hold = true;
  listen_for_lines();
  for (int i = 0; i < 40; i++) call("GET", "/", NULL);
  fake_run(&client);
  quic_close(&client, REASON_SHUTTING_DOWN, "bye");
  fake_run(&client);
  assert_int_equal(at_client.n_done, 41);
  assert_int_equal(at_client.n_done_at_end, 41);
  assert_int_equal(at_client.status, 0);
  assert_int_equal(at_client.n_ended, 1);
  assert_int_equal(at_server.n_ended, 1);
  assert_int_equal(at_server.n_gone, 32);
}

static void session_whose_handshake_failed_frees_itself(void **state) {
  fake_end(&client, REASON_RELAY_UNREACHABLE, false);
  fake_end(&server, REASON_IDLE, false);
  assert_int_equal(at_client.n_ended, 1);
  assert_int_equal(at_server.n_ended, 1);
}

static void connection_may_be_closed_in_on_request(void **state) {
  at_server.close = true;
  call("GET", "/", NULL);
  call("GET", "/", NULL);
  fake_run(&client);
  assert_int_equal(at_server.n_asked, 1);
  assert_int_equal(at_server.end_reason, REASON_NOT_ALLOWED);
  assert_int_equal(at_client.n_done, 2);
  assert_int_equal(at_client.status, 0);
}

static void three_lines_at_once(void) {
  listen_for_lines();
  h3_line(at_server.req[0], "1", 1);
  h3_line(at_server.req[0], "2", 1);
  h3_line(at_server.req[0], "3", 1);
  fake_run(&client);
}

static void connection_closed_in_a_line_hears_no_other(void **state) {
  at_client.close_in_line = true;
  three_lines_at_once();
  assert_int_equal(at_client.n_lines, 1);
  assert_int_equal(at_client.n_done, 1);
  assert_int_equal(at_client.n_ended, 1);
}

static void call_cancelled_in_a_line_hears_no_other(void **state) {
  at_client.cancel_in_line = true;
  three_lines_at_once();
  assert_int_equal(at_client.n_lines, 1);
  assert_int_equal(at_client.n_done, 0);
  assert_int_equal(at_server.n_gone, 1);
}

static void cancel_of_a_done_call_does_nothing(void **state) {
  at_client.cancel_in_done = true;
  call("GET", "/", NULL);
  fake_run(&client);
  assert_int_equal(at_client.n_done, 1);
  assert_int_equal(at_client.status, 200);
}

static void waiting_call_can_be_cancelled(void **state) {
  struct h3_call *c = NULL;

  at_server.hold = true;
  for (int i = 0; i < 33; i++) c = call("GET", "/", NULL);
  h3_cancel(c);
  fake_run(&client);
  assert_int_equal(at_server.n_reqs, 32);
  for (int i = 0; i < 32; i++) h3_respond(at_server.req[i], 200, NULL, 0);
  fake_run(&client);
  assert_int_equal(at_server.n_asked, 32);
  assert_int_equal(at_client.n_done, 32);
}

/* --- GOAWAY --- */

static void goaway_stops_new_calls_and_finishes_old_ones(void **state) {
  at_server.hold = true;
  call("GET", "/old", NULL);
  fake_run(&client);
  client.hold_acks = true;
  h3_goaway(server_h3);
  /* The client began this one before it heard. */
  client.hold_data = true;
  call("GET", "/crossing", NULL);
  while (fake_send(&server)) {
  }
  assert_int_equal(at_client.n_goaway, 1);
  assert_null(call("GET", "/late", NULL));
  client.hold_data = client.hold_acks = false;
  fake_run(&client);
  assert_int_equal(at_server.n_reqs, 2);
  assert_string_equal(at_server.path, "/crossing");
  h3_respond(at_server.req[0], 200, NULL, 0);
  h3_respond(at_server.req[1], 200, NULL, 0);
  fake_run(&client);
  assert_int_equal(at_client.n_done, 2);
  assert_int_equal(at_client.status, 200);
  assert_int_equal(at_client.n_goaway, 1);
}

/* Also when SETTINGS are acknowledged only after the notice was asked for. */
static void goaway_waits_for_its_own_acknowledgement(void **state) {
  server.hold_acks = true;
  fake_ready(&server);
  fake_ready(&client);
  fake_run(&client);
  h3_goaway(server_h3);
  server.hold_acks = false;
  server.hold_data = true;
  call("GET", "/", NULL);
  fake_step(&server);
  server.hold_data = false;
  fake_run(&client);
  assert_int_equal(at_server.n_asked, 1);
  assert_int_equal(at_client.status, 200);
  assert_int_equal(at_client.n_goaway, 1);
}

/* The second GOAWAY names the first stream that is not served: a request that
 * comes nevertheless is rejected without the user. */
static void goaway_ends_with_the_rejection_of_what_comes(void **state) {
  h3_goaway(server_h3);
  fake_run(&client);
  fake_feed(&server, 0, "\x01\x00", 2, false);
  assert_false(server.closing);
  fake_run(&client);
  assert_int_equal(at_server.n_asked, 0);
  assert_true(server.streams[6].reset);
}

static void goaway_fails_calls_that_wait(void **state) {
  at_server.hold = true;
  for (int i = 0; i < 40; i++) call("GET", "/", NULL);
  fake_run(&client);
  h3_goaway(server_h3);
  fake_run(&client);
  assert_int_equal(at_client.n_goaway, 1);
  assert_int_equal(at_client.n_done, 8);
  assert_int_equal(at_client.status, 0);
}

/* --- peers that are not ours --- */

/* A HEADERS frame with these fields, and a DATA frame with body. */
static void feed_request(int64_t id, const char *fields[][2], size_t n,
                         const char *body, bool fin) {
  nghttp3_qpack_encoder *enc;
  nghttp3_buf prefix, fields_buf, stream_buf;
  const nghttp3_mem *mem = nghttp3_mem_default();
  nghttp3_nv nv[16];
  uint8_t frame[512], *p = frame;
  size_t i, a, b;

  for (i = 0; i < n; i++)
    nv[i] = (nghttp3_nv){.name = (const uint8_t *)fields[i][0],
                         .value = (const uint8_t *)fields[i][1],
                         .namelen = strlen(fields[i][0]),
                         .valuelen = strlen(fields[i][1])};
  nghttp3_buf_init(&prefix);
  nghttp3_buf_init(&fields_buf);
  nghttp3_buf_init(&stream_buf);
  assert_int_equal(nghttp3_qpack_encoder_new(&enc, 0, mem), 0);
  prefix.begin = prefix.pos = prefix.last = malloc(16);
  prefix.end = prefix.begin + 16;
  nghttp3_qpack_encoder_encode(enc, &prefix, &fields_buf, &stream_buf, id, nv,
                               n);
  a = nghttp3_buf_len(&prefix);
  b = nghttp3_buf_len(&fields_buf);
  assert_true(a + b < 256);
  *p++ = 0x01;
  *p++ = (uint8_t)(0x40 | (a + b) >> 8);
  *p++ = (uint8_t)(a + b);
  memcpy(p, prefix.pos, a);
  memcpy(p + a, fields_buf.pos, b);
  p += a + b;
  if (body) {
    *p++ = 0x00;
    *p++ = (uint8_t)strlen(body);
    memcpy(p, body, strlen(body));
    p += strlen(body);
  }
  nghttp3_buf_free(&prefix, mem);
  nghttp3_buf_free(&fields_buf, mem);
  nghttp3_buf_free(&stream_buf, mem);
  nghttp3_qpack_encoder_del(enc);
  fake_feed(&server, id, frame, (size_t)(p - frame), fin);
}

#define FEED_PART(id, body, fin, ...)                       \
  do {                                                      \
    const char *f[][2] = {__VA_ARGS__};                     \
    feed_request(id, f, sizeof(f) / sizeof(*f), body, fin); \
  } while (0)
#define FEED(id, body, ...) FEED_PART(id, body, true, __VA_ARGS__)

static int begin_alone(void **state) {
  struct quic_params sp = h3_params(true), big = sp;

  memset(&at_server, 0, sizeof(at_server));
  server_h3 = h3_new(true, NULL, &server_ops, NULL);
  big.conn_window = 1 << 30;
  fake_init(&server, true, h3_server_ops(), server_h3, &sp, &big);
  fake_ready(&server);
  return 0;
}

static int end_alone(void **state) {
  fake_done(&server);
  return 0;
}

static bool was_sent(const char *text) {
  return memmem(server.taken, server.n_taken, text, strlen(text)) != NULL;
}

static void body_that_is_not_json_is_refused(void **state) {
  FEED(0, "<xml/>", {":method", "POST"}, {":scheme", "https"},
       {":authority", "a"}, {":path", "/"}, {"content-type", "text/xml"});
  fake_run(&server);
  assert_true(was_sent("\"status\":415"));
  FEED(4, "{}", {":method", "POST"}, {":scheme", "https"}, {":authority", "a"},
       {":path", "/"});
  fake_run(&server);
  assert_int_equal(at_server.n_asked, 0);
  FEED(8, "{}", {":method", "POST"}, {":scheme", "https"}, {":authority", "a"},
       {":path", "/"}, {"content-type", "Application/JSON; charset=utf-8"});
  fake_run(&server);
  assert_int_equal(at_server.n_asked, 1);
}

static void refusal_is_sent_though_the_request_is_reset(void **state) {
  FEED_PART(0, "<xml/>", false, {":method", "PUT"}, {":scheme", "https"},
            {":authority", "a"}, {":path", "/"});
  fake_feed_reset(&server, 0, 0x10c);
  fake_run(&server);
  assert_true(was_sent("\"status\":415"));
  assert_int_equal(fake_open_streams(&server), 3);
}

static void request_of_another_scheme_is_refused(void **state) {
  FEED(0, NULL, {":method", "GET"}, {":scheme", "http"}, {":authority", "a"},
       {":path", "/"});
  fake_run(&server);
  assert_true(was_sent("\"status\":400"));
  assert_int_equal(at_server.n_asked, 0);
}

static void request_for_no_path_is_refused(void **state) {
  FEED(0, NULL, {":method", "CONNECT"}, {":authority", "a:1"});
  FEED(4, NULL, {":method", "OPTIONS"}, {":scheme", "https"},
       {":authority", "a"}, {":path", "*"});
  fake_run(&server);
  assert_false(server.closing);
  assert_true(was_sent("\"status\":405"));
  assert_int_equal(at_server.n_asked, 0);
}

static void more_than_32_requests_close_the_connection(void **state) {
  at_server.hold = true;
  for (int64_t i = 0; i < 32; i++)
    FEED(4 * i, NULL, {":method", "GET"}, {":scheme", "https"},
         {":authority", "a"}, {":path", "/"});
  assert_false(server.closing);
  FEED(4 * 32, NULL, {":method", "GET"}, {":scheme", "https"},
       {":authority", "a"}, {":path", "/"});
  assert_true(server.closing);
  assert_int_equal(at_server.n_reqs, 32);
}

static void broken_frames_close_the_connection(void **state) {
  fake_feed(&server, 0, "\x04\x00", 2, false); /* SETTINGS on a request */
  assert_true(server.closing);
  fake_run(&server);
  assert_int_equal(at_server.end_reason, REASON_MALFORMED);
}

static void closed_control_stream_closes_the_connection(void **state) {
  fake_feed(&server, 2, "\x00\x04\x00", 3, false);
  assert_false(server.closing);
  fake_feed_reset(&server, 2, 0x100);
  assert_true(server.closing);
}

static void peer_without_room_for_control_streams_is_refused(void **state) {
  server.n_allowed[false] = 2;
  fake_ready(&server);
  assert_true(server.closing);
  assert_int_equal(server.why, REASON_MALFORMED);
}

/* --- for long --- */

static void many_requests_leave_no_memory_behind(void **state) {
  char *text = filled(5000, 'b');
  size_t before = 0;

  for (int i = 0; i < 2100; i++) {
    if (i == 100) before = heap_in_use();
    call("POST", "/v1/grants", text);
    fake_run(&client);
  }
  assert_int_equal(at_client.n_done, 2100);
  assert_int_equal(at_client.status, 200);
  assert_int_equal(heap_in_use(), before);
  free(text);
}

static void idle_session_is_small(void **state) {
  struct quic_params sp = h3_params(true), cp = h3_params(false);
  size_t before = heap_in_use();

  server_h3 = h3_new(true, NULL, &server_ops, NULL);
  fake_init(&server, true, h3_server_ops(), server_h3, &sp, &cp);
  fake_ready(&server);
  assert_true(heap_in_use() - before < 14000);
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, begin, end)
#define BEFORE(test) cmocka_unit_test_setup_teardown(test, begin_unready, end)
#define ALONE(test) \
  cmocka_unit_test_setup_teardown(test, begin_alone, end_alone)

/* --- peers that are slow --- */

static void tick_at(uint64_t now) {
  server.now = now;
  if (now >= h3_deadline(server_h3)) h3_tick(server_h3, now);
  fake_run(&server);
}

/* Whatever is missing: nearly all, the rest of the head, the body's end. */
static void request_that_is_not_whole_after_ten_seconds_is_refused(void **s) {
  server.now = SEC;
  fake_feed(&server, 0, "\x01", 1, false);
  fake_feed(&server, 4, "\x01\x20\0\0\xd1", 5, false);
  FEED_PART(8, "{", false, {":method", "PUT"}, {":scheme", "https"},
            {":authority", "a"}, {":path", "/"},
            {"content-type", "application/json"});
  assert_int_equal(h3_deadline(server_h3), 11 * SEC);
  assert_int_equal(at_server.n_deadlines, 1);
  for (int i = 2; i < 11; i++) { /* it is no help that more comes */
    fake_feed(&server, 4, "\xdd", 1, false);
    tick_at(i * SEC);
  }
  assert_int_equal(at_server.n_refused, 0);
  tick_at(11 * SEC);
  assert_int_equal(at_server.n_refused, 3);
  assert_int_equal(at_server.refused, REASON_RATE_LIMITED);
  assert_true(was_sent("\"status\":408"));
  assert_false(server.closing);
  for (int i = 0; i < 3; i++) fake_feed_reset(&server, 4 * i, 0x10c);
  fake_run(&server);
  assert_int_equal(fake_open_streams(&server), 3);
  assert_int_equal(at_server.n_asked, 0);
}

static void request_that_comes_slowly_but_in_time_is_served(void **state) {
  server.now = SEC;
  FEED_PART(0, "{", false, {":method", "PUT"}, {":scheme", "https"},
            {":authority", "a"}, {":path", "/"},
            {"content-type", "application/json"});
  tick_at(10 * SEC);
  fake_feed(&server, 0, "\0\x01}", 3, true);
  tick_at(12 * SEC);
  assert_int_equal(at_server.n_asked, 1);
  assert_int_equal(at_server.n_refused, 0);
  assert_true(was_sent("{}"));
}

/* --- peers that do not read --- */

static void answers_that_nobody_reads_are_bounded(void **state) {
  char *text = filled(H3_ANSWER_MAX / 2, 'x');

  at_server.hold = true;
  for (int i = 0; i < 8; i++) call("GET", "/v1/services", NULL);
  fake_run(&client);
  server.hold_data = true;
  for (int i = 0; i < 8; i++) {
    size_t was = heap_in_use();

    if (server.closing) break;
    h3_respond(at_server.req[i], 200, text, H3_ANSWER_MAX / 2);
    fake_step(&server);
    assert_true(heap_in_use() < was + H3_ANSWER_MAX);
    assert_in_range(i, 0, 3);
  }
  assert_true(server.closing);
  assert_int_equal(server.why, REASON_RATE_LIMITED);
  free(text);
}

static void lines_that_nobody_takes_for_half_a_minute_end_it(void **state) {
  server.now = SEC;
  listen_for_lines();
  fake_run(&client);
  assert_int_equal(h3_deadline(server_h3), NEVER);
  server.now = 5 * SEC;
  server.hold_data = true;
  h3_line(at_server.req[0], "1", 1);
  assert_int_equal(h3_deadline(server_h3), 35 * SEC);
  assert_int_equal(at_server.n_deadlines, 1);
  server.hold_data = false; /* it takes them after all, and no more */
  server.now = 20 * SEC;
  fake_run(&client);
  assert_int_equal(h3_deadline(server_h3), NEVER);
  server.hold_data = true;
  server.now = 21 * SEC;
  h3_line(at_server.req[0], "2", 1);
  h3_tick(server_h3, 50 * SEC);
  assert_false(server.closing);
  h3_tick(server_h3, 51 * SEC);
  assert_true(server.closing);
  assert_int_equal(server.why, REASON_RATE_LIMITED);
}

/* Bodies that end nowhere, on as many streams as there may be. */
static void bodies_of_one_connection_are_bounded(void **state) {
  char *half = filled(8000, ' ');
  char frame[8004] = {0};
  size_t before = heap_in_use(), most = 0;

  frame[1] = 0x5f, frame[2] = 0x40; /* DATA, 8000 bytes */
  memcpy(frame + 3, half, 8000);
  for (int64_t id = 0; id < 4 * 30; id += 4) {
    FEED_PART(id, NULL, false, {":method", "PUT"}, {":scheme", "https"},
              {":authority", "a"}, {":path", "/"},
              {"content-type", "application/json"});
    for (int i = 0; i < 7; i++) fake_feed(&server, id, frame, 8003, false);
    if (heap_in_use() - before > most) most = heap_in_use() - before;
    fake_run(&server);
  }
  assert_in_range(at_server.n_refused, 25, 26);
  assert_int_equal(at_server.refused, REASON_RATE_LIMITED);
  assert_true(was_sent("\"status\":429"));
  assert_in_range(most, H3_BODIES_MAX - 8000, 3 * H3_BODIES_MAX);
  free(half);
}

/* --- peers in a hurry --- */

/* Begun and reset at once, with and without a request in it. */
static void streams_that_come_and_go_too_fast_end_it(void **state) {
  int n = 0;

  server.now = SEC;
  while (!server.closing && n < 2000) {
    if (n % 2) fake_feed(&server, 4 * n, "\x01", 1, false);
    fake_feed_reset(&server, 4 * n, 0x10c);
    fake_run(&server);
    n++;
  }
  assert_in_range(n, 400, 402);
  assert_int_equal(server.why, REASON_RATE_LIMITED);
}

static void fifty_requests_a_second_go_on_for_ever(void **state) {
  for (int i = 0; i < 1500; i++) {
    client.now = server.now = SEC + (uint64_t)i * 20 * MS;
    call("GET", "/v1/self", NULL);
    fake_run(&client);
  }
  assert_int_equal(at_client.n_done, 1500);
  assert_false(server.closing);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      WITH(request_arrives_whole_and_its_answer_comes_back),
      WITH(answer_without_a_body_is_whole_too),
      WITH(answers_may_come_in_another_order),
      WITH(large_answer_passes_small_windows),
      WITH(answer_over_the_limit_ends_the_call),
      WITH(problem_says_what_and_who_can_fix_it),
      WITH(problem_leaves_out_a_detail_that_is_no_text),
      BEFORE(calls_of_on_ready_are_made),
      WITH(body_of_the_limit_passes),
      WITH(body_over_the_limit_is_not_read_to_its_end),
      WITH(header_list_over_the_limit_is_refused),
      WITH(unknown_method_is_refused),
      WITH(backlog_of_lines_is_bounded),
      WITH(calls_wait_for_streams_and_are_sent_in_order),
      WITH(line_arrives_as_soon_as_it_is_written),
      WITH(line_longer_than_packets_arrives_whole),
      WITH(sleeping_lines_do_not_hold_up_other_answers),
      WITH(refused_lines_give_their_problem_as_body),
      WITH(idle_lines_hold_no_memory),
      WITH(cancelled_call_is_gone_at_the_server),
      WITH(cancelled_lines_are_gone_at_the_server),
      WITH(half_a_request_that_is_reset_is_never_seen),
      WITH(answer_that_is_reset_ends_the_call),
      WITH(end_of_the_connection_ends_everything_before_on_end),
      BEFORE(session_whose_handshake_failed_frees_itself),
      WITH(connection_may_be_closed_in_on_request),
      WITH(connection_closed_in_a_line_hears_no_other),
      WITH(call_cancelled_in_a_line_hears_no_other),
      WITH(cancel_of_a_done_call_does_nothing),
      WITH(waiting_call_can_be_cancelled),
      WITH(goaway_stops_new_calls_and_finishes_old_ones),
      BEFORE(goaway_waits_for_its_own_acknowledgement),
      WITH(goaway_ends_with_the_rejection_of_what_comes),
      WITH(goaway_fails_calls_that_wait),
      ALONE(body_that_is_not_json_is_refused),
      ALONE(refusal_is_sent_though_the_request_is_reset),
      ALONE(request_of_another_scheme_is_refused),
      ALONE(request_for_no_path_is_refused),
      ALONE(more_than_32_requests_close_the_connection),
      ALONE(broken_frames_close_the_connection),
      ALONE(closed_control_stream_closes_the_connection),
      BEFORE(peer_without_room_for_control_streams_is_refused),
      ALONE(request_that_is_not_whole_after_ten_seconds_is_refused),
      ALONE(request_that_comes_slowly_but_in_time_is_served),
      WITH(answers_that_nobody_reads_are_bounded),
      ALONE(bodies_of_one_connection_are_bounded),
      WITH(lines_that_nobody_takes_for_half_a_minute_end_it),
      ALONE(streams_that_come_and_go_too_fast_end_it),
      WITH(fifty_requests_a_second_go_on_for_ever),
      WITH(many_requests_leave_no_memory_behind),
      cmocka_unit_test_teardown(idle_session_is_small, end_alone),
  };
  return cmocka_run_group_tests_name("h3", tests, NULL, NULL);
}
