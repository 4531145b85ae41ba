/* h3_client.c - calls to a server: one request each, its answer as a whole or
 * line by line. */
#include "transport/h3_int.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* A line that the server may send, and whatever came with its end. */
enum { LINE_ROOM = 2 * H3_LINES_MAX };

struct h3_call {
  struct h3_stream st; /* first */
  h3_done_fn on_done;
  h3_line_fn on_line;
  void *ud;
  int status;
  bool done; /* the user knows nothing of it any more */
  bool has_body;
  const char *path;
  char method[]; /* then the path */
};

static struct h3_call *call_of(void *stream_ud) { return stream_ud; }

/* --- ending --- */

static void call_free(struct h3_call *c) {
  h3_stream_done(&c->st);
  free(c);
}

static void call_finish(struct h3_call *c, int status) {
  const struct h3_in *in = &c->st.in;
  bool body = status && in->s;

  if (c->done) return;
  c->done = true;
  c->on_done(c->ud, c, status, body ? in->s : "", body ? in->len : 0);
}

/* The server's answer is of no use. */
static void call_fail(struct h3_call *c) {
  h3_stream_stop(&c->st, NGHTTP3_H3_REQUEST_CANCELLED);
  h3_stream_reset(&c->st, NGHTTP3_H3_REQUEST_CANCELLED);
  call_finish(c, 0);
}

static void waiting_remove(struct h3_call *c) {
  TAILQ_REMOVE(&c->st.s->waiting, &c->st, link);
  c->st.s->n_waiting--;
}

void h3_calls_fail(struct h3 *s) {
  struct h3_call *c;

  while ((c = (struct h3_call *)TAILQ_FIRST(&s->waiting))) {
    waiting_remove(c);
    call_finish(c, 0);
    call_free(c);
  }
}

/* --- beginning --- */

static int submit(struct h3_call *c, int64_t id) {
  struct h3 *s = c->st.s;
  nghttp3_nv nv[5];
  size_t n = 0;

  nv[n++] = h3_field(":method", c->method);
  nv[n++] = h3_field(":scheme", "https");
  nv[n++] = h3_field(":authority", s->authority);
  nv[n++] = h3_field(":path", c->path);
  if (c->has_body) nv[n++] = h3_field("content-type", "application/json");
  return nghttp3_conn_submit_request(s->engine, id, nv, n,
                                     c->has_body ? &h3_reader : NULL, c);
}

/* 0, ZTNA_EAGAIN when the peer allows no stream now, or what failed. */
static int call_open(struct h3_call *c) {
  struct h3 *s = c->st.s;
  int64_t id;
  int rc;

  if (!s->engine) return ZTNA_EAGAIN; /* inside the user's on_ready */
  if (!h3_is_live(s)) return ZTNA_ECLOSED;
  rc = quic_stream_open(s->conn, true, &id);
  if (rc < 0) return rc;
  if (submit(c, id)) {
    quic_stream_reset(s->conn, id, NGHTTP3_H3_INTERNAL_ERROR);
    quic_stream_stop(s->conn, id, NGHTTP3_H3_INTERNAL_ERROR);
    return ZTNA_ENOMEM;
  }
  h3_stream_init(&c->st, s, id);
  quic_wake(s->conn);
  return 0;
}

void h3_calls_open(struct h3 *s) {
  struct h3_call *c;
  int rc;

  while ((c = (struct h3_call *)TAILQ_FIRST(&s->waiting))) {
    waiting_remove(c);
    rc = call_open(c);
    if (rc == ZTNA_EAGAIN) {
      TAILQ_INSERT_HEAD(&s->waiting, &c->st, link);
      s->n_waiting++;
      return;
    }
    if (rc == 0) continue;
    call_finish(c, 0);
    call_free(c);
  }
}

/* --- reading --- */

static int on_field(nghttp3_conn *conn, int64_t id, int32_t token,
                    nghttp3_rcbuf *name, nghttp3_rcbuf *value, uint8_t flags,
                    void *ud, void *stream_ud) {
  struct h3_call *c = call_of(stream_ud);
  nghttp3_vec n = nghttp3_rcbuf_get_buf(name);
  nghttp3_vec v = nghttp3_rcbuf_get_buf(value);

  if (!c || c->done) return 0;
  if (!h3_stream_count(&c->st, &n, &v))
    call_fail(c);
  else if (token == NGHTTP3_QPACK_TOKEN__STATUS && v.len == 3)
    c->status =
        (v.base[0] - '0') * 100 + (v.base[1] - '0') * 10 + (v.base[2] - '0');
  return 0;
}

/* The user may cancel the call or close the connection in any line. */
static void take_lines(struct h3_call *c) {
  struct h3_in *in = &c->st.in;
  char *p = in->s, *nl;

  while (!c->done && h3_is_live(c->st.s) &&
         (nl = memchr(p, '\n', (size_t)(in->s + in->len - p)))) {
    *nl = 0;
    c->on_line(c->ud, c, p, (size_t)(nl - p));
    p = nl + 1;
  }
  h3_in_drop(in, (size_t)(p - in->s));
}

static int on_body(nghttp3_conn *conn, int64_t id, const uint8_t *data,
                   size_t len, void *ud, void *stream_ud) {
  struct h3_call *c = call_of(stream_ud);
  bool lines = c && c->on_line && c->status == 200;

  quic_credit(((struct h3 *)ud)->conn, id, len);
  if (!c || c->done) return 0;
  if (h3_in_add(&c->st.in, data, len, lines ? LINE_ROOM : H3_ANSWER_MAX) < 0)
    call_fail(c);
  else if (lines)
    take_lines(c);
  return 0;
}

static int on_end_stream(nghttp3_conn *conn, int64_t id, void *ud,
                         void *stream_ud) {
  struct h3_call *c = call_of(stream_ud);

  if (!c || c->done || !h3_is_live(ud)) return 0;
  if (c->on_line && c->status == 200) h3_in_done(&c->st.in);
  call_finish(c, c->status);
  h3_in_done(&c->st.in);
  return 0;
}

/* Comes once or twice: GOAWAY has two steps. */
static int on_shutdown(nghttp3_conn *conn, int64_t id, void *ud) {
  struct h3 *s = ud;

  if (!s->open) return 0;
  s->open = false;
  if (s->ops->on_goaway) s->ops->on_goaway(s, s->ud);
  h3_calls_fail(s);
  return 0;
}

/* --- giving up --- */

static void call_reset(struct h3_stream *st) {
  h3_stream_reset(st, NGHTTP3_H3_REQUEST_CANCELLED);
  call_finish((struct h3_call *)st, 0);
}

/* The server wants no more of the request; its answer may well come. */
static void call_stopped(struct h3_stream *st) { (void)st; }

static void call_closed(struct h3_stream *st) {
  TAILQ_REMOVE(&st->s->streams, st, link);
  st->s->n_streams--;
  call_finish((struct h3_call *)st, 0);
  call_free((struct h3_call *)st);
}

static void set_callbacks(nghttp3_callbacks *cb) {
  cb->recv_header = on_field;
  cb->recv_data = on_body;
  cb->end_stream = on_end_stream;
  cb->shutdown = on_shutdown;
}

const struct h3_side h3_client_side = {.set_callbacks = set_callbacks,
                                       .on_reset = call_reset,
                                       .on_stopped = call_stopped,
                                       .on_closed = call_closed};

/* --- asked by the user --- */

static struct h3_call *call_new(struct h3 *s, const char *method,
                                const char *path, const char *body,
                                size_t len) {
  size_t n_method = strlen(method) + 1, n_path = strlen(path) + 1;
  struct h3_call *c = calloc(1, sizeof(*c) + n_method + n_path);

  if (!c) return NULL;
  memcpy(c->method, method, n_method);
  c->path = memcpy(c->method + n_method, path, n_path);
  c->st.s = s;
  c->st.id = -1;
  c->st.out.ended = true;
  c->has_body = body && len;
  if (c->has_body && h3_out_add(&c->st.out, body, len, NULL, 0) < 0) {
    free(c);
    return NULL;
  }
  return c;
}

static int call_start(struct h3_call *c) {
  struct h3 *s = c->st.s;
  int rc = s->n_waiting ? ZTNA_EAGAIN : call_open(c);

  if (rc != ZTNA_EAGAIN) return rc;
  if (s->n_waiting == H3_WAITING_MAX) return ZTNA_EFULL;
  TAILQ_INSERT_TAIL(&s->waiting, &c->st, link);
  s->n_waiting++;
  return 0;
}

struct h3_call *h3_call(struct h3 *s, const char *method, const char *path,
                        const char *body, size_t len, h3_done_fn on_done,
                        h3_line_fn on_line, void *ud) {
  struct h3_call *c;

  assert(path[0] == '/');
  if (!s->open) return NULL;
  c = call_new(s, method, path, body, len);
  if (!c) return NULL;
  c->on_done = on_done;
  c->on_line = on_line;
  c->ud = ud;
  if (call_start(c) < 0) {
    call_free(c);
    return NULL;
  }
  return c;
}

void h3_cancel(struct h3_call *c) {
  if (c->done) return; /* inside its on_done */
  c->done = true;
  if (c->st.id < 0) {
    waiting_remove(c);
    call_free(c);
    return;
  }
  h3_stream_stop(&c->st, NGHTTP3_H3_REQUEST_CANCELLED);
  h3_stream_reset(&c->st, NGHTTP3_H3_REQUEST_CANCELLED);
}
