/* fuzz_h3.c - a session and a peer that sends any bytes on any stream, resets,
 * stops and waits as it likes, while the user answers, writes lines, cancels
 * and closes. Nothing may crash; every request handed up ends once; fake/quic.c
 * checks credit and the bytes that are kept. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "fake/quic.c"
#include "transport/h3.h"

enum { MAX_REQS = 64, MAX_CALLS = 8 };

struct input {
  const uint8_t *p;
  size_t left;
};

static struct quic_conn conn;
static struct h3 *session;
static struct h3_req *reqs[MAX_REQS];
static bool has_lines[MAX_REQS];
static struct h3_call *calls[MAX_CALLS];
static unsigned close_in; /* so many of the user's callbacks, 0: not */
static uint64_t opened;   /* streams that the peer used, by number */

static uint8_t take(struct input *in) {
  if (!in->left) return 0;
  in->left--;
  return *in->p++;
}

/* --- the user --- */

static void maybe_close(void) {
  if (close_in && !--close_in) quic_close(&conn, REASON_INTERNAL, "");
}

static void on_request(struct h3 *s, void *ud, struct h3_req *r) {
  size_t i, len;

  assert(h3_path(r)[0] == '/');
  assert(h3_body(r, &len)[len] == 0);
  for (i = 0; reqs[i]; i++) assert(i + 1 < MAX_REQS);
  reqs[i] = r;
  has_lines[i] = false;
  maybe_close();
}

static void on_gone(struct h3 *s, void *ud, struct h3_req *r) {
  size_t i;

  for (i = 0; i < MAX_REQS && reqs[i] != r; i++) {
  }
  assert(i < MAX_REQS);
  reqs[i] = NULL;
  maybe_close();
}

static void on_end(struct h3 *s, void *ud, const struct quic_end *why) {
  session = NULL;
}

static void on_done(void *ud, struct h3_call *c, int status, const char *body,
                    size_t len) {
  size_t i;

  assert(body[len] == 0);
  for (i = 0; i < MAX_CALLS && calls[i] != c; i++) {
  }
  assert(i < MAX_CALLS);
  calls[i] = NULL;
}

static void on_line(void *ud, struct h3_call *c, const char *line, size_t len) {
  assert(line[len] == 0);
  maybe_close();
  if (len != 3) return;
  for (size_t i = 0; i < MAX_CALLS; i++)
    if (calls[i] == c) calls[i] = NULL;
  h3_cancel(c);
}

static void user_answers(struct input *in) {
  uint8_t n = take(in);
  size_t i = n % MAX_REQS;
  struct h3_req *r = reqs[i];

  if (!r) return;
  if (has_lines[i] && n & 0x80) {
    h3_line(r, "{\"line\":1}", 10);
    return;
  }
  if (has_lines[i])
    h3_end(r);
  else if (n & 0x80)
    h3_begin_lines(r);
  else if (n & 0x40)
    h3_problem(r, REASON_NOT_ALLOWED, "\"");
  else
    h3_respond(r, 200, "{}", n & 2);
  if (!has_lines[i] && n & 0x80)
    has_lines[i] = true;
  else
    reqs[i] = NULL;
}

static void user_calls(struct input *in) {
  uint8_t n = take(in);
  size_t i = n % MAX_CALLS;
  struct h3_call *c = calls[i];

  calls[i] = NULL;
  if (c)
    h3_cancel(c);
  else
    calls[i] =
        h3_call(session, n & 0x80 ? "POST" : "GET", "/x", "{}",
                n & 0x80 ? 2 : 0, on_done, n & 0x40 ? on_line : NULL, NULL);
}

/* --- the peer --- */

/* A stream that the peer may send on now, or -1. */
static int64_t stream_of(uint8_t n) {
  bool uni = n & 0x80;
  int64_t i = n & 0x1f, id = i << 2 | (uni ? 2 : 0) | (uni && !conn.server);
  uint64_t bit = UINT64_C(1) << (i + (uni ? 32 : 0));

  if (!conn.server && !uni) return fake_find(&conn, id) ? id : -1;
  if (uni && i >= 8) return -1;
  if (opened & bit) return fake_find(&conn, id) ? id : -1;
  opened |= bit;
  return id;
}

static void peer_sends(struct input *in, bool fin) {
  static const uint8_t good[] = {0x01, 0x08, 0x00, 0x00, 0xd1,
                                 0xd7, 0xc1, 0x50, 0x01, 0x61};
  static const uint8_t answer[] = {0x01, 0x03, 0x00, 0x00, 0xd9};
  int64_t id = stream_of(take(in));
  uint8_t len = take(in);

  if (id < 0) return;
  if (len & 1) { /* begins as it should */
    if (conn.server)
      fake_feed(&conn, id, good, sizeof(good), fin && len == 1);
    else
      fake_feed(&conn, id, answer, sizeof(answer), fin && len == 1);
  }
  if (len > in->left) len = (uint8_t)in->left;
  if (fake_find(&conn, id)) fake_feed(&conn, id, in->p, len, fin);
  in->p += len;
  in->left -= len;
}

static void peer_gives_up(struct input *in) {
  uint8_t n = take(in);
  int64_t id = stream_of(n);

  if (id < 0) return;
  if (n & 0x40)
    fake_feed_reset(&conn, id, 0x10c);
  else if (!is_uni(id))
    fake_feed_stop(&conn, id, 0x10c);
}

static void step(struct input *in) {
  switch (take(in) % 12) {
  case 0:
  case 1:
  case 2:
    peer_sends(in, false);
    break;
  case 3:
  case 4:
    peer_sends(in, true);
    break;
  case 5:
    peer_gives_up(in);
    break;
  case 6:
  case 7:
    user_answers(in);
    break;
  case 8:
    if (!conn.server) user_calls(in);
    break;
  case 9:
    conn.hold_acks = take(in) & 1;
    break;
  case 10:
    if (take(in) & 1)
      h3_goaway(session);
    else
      close_in = 1 + take(in) % 4;
    break;
  default:
    fake_run(&conn);
  }
}

static void begin(bool server) {
  static const struct h3_ops ops = {
      .on_request = on_request, .on_gone = on_gone, .on_end = on_end};
  struct quic_params p = h3_params(true), big = p;

  memset(reqs, 0, sizeof(reqs));
  memset(calls, 0, sizeof(calls));
  opened = close_in = 0;
  big.conn_window = 1 << 30;
  session = h3_new(server, "a", &ops, NULL);
  fake_init(&conn, server, server ? h3_server_ops() : h3_client_ops(), session,
            &p, &big);
  fake_ready(&conn);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct input in = {data, size};

  begin(take(&in) & 1);
  while (in.left && session && !conn.closing) step(&in);
  if (session) fake_run(&conn);
  fake_done(&conn);
  for (size_t i = 0; i < MAX_REQS; i++) assert(!reqs[i]);
  for (size_t i = 0; i < MAX_CALLS; i++) assert(!calls[i]);
  return 0;
}
