/* h3_server.c - requests that come in and their answers. A request is checked
 * before the user sees it; what is wrong with it is answered here. */
#include "transport/h3_int.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <jansson.h>

struct h3_req {
  struct h3_stream st; /* first */
  enum {
    REQ_READING,
    REQ_ASKED, /* the user has it */
    REQ_LINES, /* the user sends lines */
    REQ_ENDED, /* the user knows nothing of it (any more) */
  } state;
  char method[8];
  char *path;
  bool https, authority, json;
  void *tag;
};

static struct h3_req *req_of(void *stream_ud) { return stream_ud; }

/* --- answering --- */

static void abort_answer(struct h3_req *r, int rv) {
  h3_stream_reset(&r->st, NGHTTP3_H3_INTERNAL_ERROR);
  if (rv && nghttp3_err_is_fatal(rv)) h3_failed(r->st.s, "answering", rv);
}

/* type NULL: no body. What r->st.out holds, and later gets, is the body. */
static void submit(struct h3_req *r, int status, const char *type) {
  struct h3 *s = r->st.s;
  char digits[12];
  nghttp3_nv nv[2];
  size_t n = 0;
  int rv;

  if (!h3_is_live(s)) return;
  h3_remind(s);
  snprintf(digits, sizeof(digits), "%03d", status);
  nv[n++] = h3_field(":status", digits);
  if (type) nv[n++] = h3_field("content-type", type);
  rv = nghttp3_conn_submit_response(s->engine, r->st.id, nv, n,
                                    type ? &h3_reader : NULL);
  if (rv) abort_answer(r, rv);
  quic_wake(s->conn);
}

/* Bytes that wait for the client, of all its requests. */
static size_t held(const struct h3 *s) {
  const struct h3_stream *st;
  size_t n = 0;

  TAILQ_FOREACH(st, &s->streams, link) n += st->out.held;
  return n;
}

/* From now on the client has H3_TAKEN to take some of it. */
static void begin_to_hold(struct h3 *s) {
  if (!held(s)) s->progress_at = quic_time(s->conn);
}

static void answer(struct h3_req *r, int status, const char *type,
                   const char *body, size_t len) {
  struct h3 *s = r->st.s;

  r->state = REQ_ENDED;
  h3_in_done(&r->st.in);
  if (len && held(s) + len > H3_HELD_MAX) {
    quic_close(s->conn, REASON_RATE_LIMITED, "answers are not read");
    return;
  }
  begin_to_hold(s);
  if (len && h3_out_add(&r->st.out, body, len, NULL, 0) < 0) {
    abort_answer(r, 0);
    return;
  }
  r->st.out.ended = true;
  submit(r, status, len ? type : NULL);
}

/* A detail may quote what a peer wrote: without valid UTF-8 it is left out. */
static char *problem_text(int status, enum reason why, const char *detail) {
  char type[64];
  json_t *o;
  char *text;

  snprintf(type, sizeof(type), "urn:ztna:%s", reason_name(why));
  o = json_pack("{s:s, s:s, s:i, s:s, s:s}", "type", type, "title",
                reason_text(why), "status", status, "reason", reason_name(why),
                "fix", reason_fix(why));
  if (!o) return NULL;
  if (detail) json_object_set_new(o, "detail", json_string(detail));
  text = json_dumps(o, JSON_COMPACT);
  json_decref(o);
  return text;
}

static void problem(struct h3_req *r, int status, enum reason why,
                    const char *detail) {
  char *text = problem_text(status, why, detail);

  answer(r, status, "application/problem+json", text, text ? strlen(text) : 0);
  free(text);
}

/* The user never sees this request, and no more of it is read. */
static void refuse(struct h3_req *r, int status, enum reason why,
                   const char *detail) {
  struct h3 *s = r->st.s;

  problem(r, status, why, detail);
  h3_stream_stop(&r->st, NGHTTP3_H3_NO_ERROR);
  if (s->ops->on_refused) s->ops->on_refused(s, s->ud, why);
}

/* --- reading --- */

static int req_new(struct h3 *s, int64_t id) {
  struct h3_req *r;

  if (s->n_streams >= H3_STREAMS_MAX) return ZTNA_EFULL;
  r = calloc(1, sizeof(*r));
  if (!r) return ZTNA_ENOMEM;
  h3_stream_init(&r->st, s, id);
  nghttp3_conn_set_stream_user_data(s->engine, id, r);
  return 0;
}

static int on_begin(nghttp3_conn *conn, int64_t id, void *ud, void *stream_ud) {
  if (stream_ud) return 0;
  return req_new(ud, id) < 0 ? NGHTTP3_ERR_CALLBACK_FAILURE : 0;
}

/* So few bytes that no head begins in them: its time runs all the same. One
 * that was just answered and closed is gone already. */
static int begun(struct h3 *s, int64_t id) {
  if (nghttp3_conn_get_stream_user_data(s->engine, id)) return 0;
  if (nghttp3_conn_set_stream_user_data(s->engine, id, NULL)) return 0;
  return req_new(s, id);
}

static bool is(const nghttp3_vec *v, const char *text) {
  return v->len == strlen(text) && !memcmp(v->base, text, v->len);
}

/* "application/json", with or without parameters. */
static bool is_json(const nghttp3_vec *v) {
  static const char json[] = "application/json";
  size_t n = sizeof(json) - 1;

  return v->len >= n && !strncasecmp((const char *)v->base, json, n) &&
         (v->len == n || v->base[n] == ';' || v->base[n] == ' ');
}

static void take_field(struct h3_req *r, int32_t token, const nghttp3_vec *v) {
  switch (token) {
  case NGHTTP3_QPACK_TOKEN__METHOD:
    if (v->len < sizeof(r->method)) memcpy(r->method, v->base, v->len);
    break;
  case NGHTTP3_QPACK_TOKEN__PATH:
    free(r->path);
    r->path = strndup((const char *)v->base, v->len);
    break;
  case NGHTTP3_QPACK_TOKEN__SCHEME:
    r->https = is(v, "https");
    break;
  case NGHTTP3_QPACK_TOKEN__AUTHORITY:
    r->authority = v->len > 0;
    break;
  case NGHTTP3_QPACK_TOKEN_CONTENT_TYPE:
    r->json = is_json(v);
    break;
  }
}

static int on_field(nghttp3_conn *conn, int64_t id, int32_t token,
                    nghttp3_rcbuf *name, nghttp3_rcbuf *value, uint8_t flags,
                    void *ud, void *stream_ud) {
  struct h3_req *r = req_of(stream_ud);
  nghttp3_vec n = nghttp3_rcbuf_get_buf(name);
  nghttp3_vec v = nghttp3_rcbuf_get_buf(value);

  if (!r || r->state != REQ_READING) return 0;
  if (h3_stream_count(&r->st, &n, &v))
    take_field(r, token, &v);
  else
    refuse(r, 431, REASON_MALFORMED, "the header list is over 16 KB");
  return 0;
}

static bool method_is_known(const char *m) {
  return !strcmp(m, "GET") || !strcmp(m, "POST") || !strcmp(m, "PUT") ||
         !strcmp(m, "DELETE");
}

static int on_fields_end(nghttp3_conn *conn, int64_t id, int fin, void *ud,
                         void *stream_ud) {
  struct h3_req *r = req_of(stream_ud);

  if (!r || r->state != REQ_READING) return 0;
  if (!method_is_known(r->method))
    refuse(r, 405, REASON_MALFORMED, "method: want GET, POST, PUT or DELETE");
  else if (!r->path || r->path[0] != '/')
    refuse(r, 400, REASON_MALFORMED, ":path: want a path that begins with /");
  else if (!r->https || !r->authority)
    refuse(r, 400, REASON_MALFORMED, "want :scheme https and an :authority");
  return 0;
}

/* Bytes of requests that are not answered. */
static size_t bodies(const struct h3 *s) {
  const struct h3_stream *st;
  size_t n = 0;

  TAILQ_FOREACH(st, &s->streams, link) n += st->in.len;
  return n;
}

static int on_body(nghttp3_conn *conn, int64_t id, const uint8_t *data,
                   size_t len, void *ud, void *stream_ud) {
  struct h3_req *r = req_of(stream_ud);
  int rc;

  quic_credit(((struct h3 *)ud)->conn, id, len);
  if (!r || r->state != REQ_READING) return 0;
  if (!r->json) {
    refuse(r, 415, REASON_MALFORMED, "content-type: want application/json");
    return 0;
  }
  if (bodies(ud) + len > H3_BODIES_MAX) {
    refuse(r, 429, REASON_RATE_LIMITED, "too many bodies at once");
    return 0;
  }
  rc = h3_in_add(&r->st.in, data, len, H3_BODY_MAX);
  if (rc == ZTNA_EFULL)
    refuse(r, 413, REASON_MALFORMED, "the body is over 64 KB");
  else if (rc < 0)
    refuse(r, 500, REASON_INTERNAL, NULL);
  return 0;
}

static int on_end_stream(nghttp3_conn *conn, int64_t id, void *ud,
                         void *stream_ud) {
  struct h3_req *r = req_of(stream_ud);
  struct h3 *s = ud;

  if (!r || r->state != REQ_READING || !h3_is_live(s)) return 0;
  if (!s->ops->on_request) {
    problem(r, 404, REASON_MALFORMED, NULL);
    return 0;
  }
  r->state = REQ_ASKED;
  s->ops->on_request(s, s->ud, r);
  return 0;
}

/* --- giving up --- */

static void req_gone(struct h3_req *r) {
  struct h3 *s = r->st.s;
  bool tell = r->state == REQ_ASKED || r->state == REQ_LINES;

  r->state = REQ_ENDED;
  if (tell && s->ops->on_gone) s->ops->on_gone(s, s->ud, r);
}

/* Of an answered request the answer still goes out. */
static void req_reset(struct h3_stream *st) {
  struct h3_req *r = (struct h3_req *)st;

  if (r->state == REQ_ENDED) return;
  h3_stream_reset(st, NGHTTP3_H3_REQUEST_CANCELLED);
  req_gone(r);
}

static void req_stopped(struct h3_stream *st) {
  struct h3_req *r = (struct h3_req *)st;

  if (r->state == REQ_READING) h3_stream_stop(st, NGHTTP3_H3_REQUEST_CANCELLED);
  req_gone(r);
}

static void req_closed(struct h3_stream *st) {
  struct h3_req *r = (struct h3_req *)st;

  req_gone(r);
  TAILQ_REMOVE(&st->s->streams, st, link);
  st->s->n_streams--;
  h3_stream_done(st);
  free(r->path);
  free(r);
}

static void set_callbacks(nghttp3_callbacks *cb) {
  cb->begin_headers = on_begin;
  cb->recv_header = on_field;
  cb->end_headers = on_fields_end;
  cb->recv_data = on_body;
  cb->end_stream = on_end_stream;
}

const struct h3_side h3_server_side = {.server = true,
                                       .set_callbacks = set_callbacks,
                                       .on_reset = req_reset,
                                       .on_stopped = req_stopped,
                                       .on_closed = req_closed,
                                       .on_begun = begun};

/* --- time --- */

static bool is_reading(const struct h3_stream *st) {
  return ((const struct h3_req *)st)->state == REQ_READING && !st->stopped;
}

uint64_t h3_deadline(const struct h3 *s) {
  const struct h3_stream *st;
  uint64_t at = NEVER;

  if (!s->side->server || !h3_is_live(s)) return NEVER;
  if (held(s)) at = s->progress_at + H3_TAKEN;
  TAILQ_FOREACH(st, &s->streams, link) /* the oldest first */
  if (is_reading(st)) return time_min(at, st->began_at + H3_COMPLETE);
  return at;
}

void h3_remind(struct h3 *s) {
  uint64_t at;

  if (!s->side->server || !s->ops->on_deadline) return;
  at = h3_deadline(s);
  if (at >= s->told_at) return;
  s->told_at = at;
  s->ops->on_deadline(s, s->ud);
}

void h3_tick(struct h3 *s, uint64_t now) {
  struct h3_stream *st, *next;

  if (!h3_is_live(s)) return;
  if (held(s) && now >= s->progress_at + H3_TAKEN) {
    quic_close(s->conn, REASON_RATE_LIMITED, "answers are not read");
    return;
  }
  for (st = TAILQ_FIRST(&s->streams); st && h3_is_live(s); st = next) {
    next = TAILQ_NEXT(st, link);
    if (is_reading(st) && now >= st->began_at + H3_COMPLETE)
      refuse((struct h3_req *)st, 408, REASON_RATE_LIMITED,
             "the request was not complete after 10 s");
  }
  s->told_at = h3_deadline(s);
}

/* --- asked by the user --- */

const char *h3_method(const struct h3_req *r) { return r->method; }
const char *h3_path(const struct h3_req *r) { return r->path; }

const char *h3_body(const struct h3_req *r, size_t *len) {
  if (len) *len = r->st.in.len;
  return r->st.in.s ? r->st.in.s : "";
}

void h3_set_tag(struct h3_req *r, void *tag) { r->tag = tag; }
void *h3_tag(const struct h3_req *r) { return r->tag; }

void h3_respond(struct h3_req *r, int status, const char *json, size_t len) {
  assert(r->state == REQ_ASKED);
  answer(r, status, "application/json", json, json ? len : 0);
}

void h3_problem(struct h3_req *r, enum reason why, const char *detail) {
  assert(r->state == REQ_ASKED);
  problem(r, reason_http(why), why, detail);
}

void h3_begin_lines(struct h3_req *r) {
  assert(r->state == REQ_ASKED);
  r->state = REQ_LINES;
  h3_in_done(&r->st.in);
  submit(r, 200, "application/x-ndjson");
}

static void resume(struct h3_req *r) {
  struct h3 *s = r->st.s;

  if (!h3_is_live(s)) return;
  h3_remind(s);
  if (nghttp3_conn_resume_stream(s->engine, r->st.id))
    h3_failed(s, "resuming", NGHTTP3_ERR_NOMEM);
  quic_wake(s->conn);
}

int h3_line(struct h3_req *r, const char *line, size_t len) {
  struct h3_out *o = &r->st.out;
  int rc;

  assert(r->state == REQ_LINES);
  if (len >= H3_LINES_MAX || o->held > H3_LINES_MAX - len - 1)
    return ZTNA_EFULL;
  begin_to_hold(r->st.s);
  rc = h3_out_add(o, line, len, "\n", 1);
  if (rc < 0) return rc;
  resume(r);
  return 0;
}

void h3_end(struct h3_req *r) {
  assert(r->state == REQ_LINES);
  r->state = REQ_ENDED;
  r->st.out.ended = true;
  resume(r);
}
