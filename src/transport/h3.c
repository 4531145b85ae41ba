/* h3.c - a session: nghttp3 as the user of one QUIC connection. What a request
 * or a call is stands in h3_server.c and h3_client.c. */
#include "transport/h3_int.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"

bool h3_is_live(const struct h3 *s) {
  return s->engine && !s->broken && quic_is_ready(s->conn);
}

void h3_failed(struct h3 *s, const char *what, int rv) {
  if (!s->broken) log_warn("h3: %s failed: %s", what, nghttp3_strerror(rv));
  s->broken = true;
}

static struct h3_stream *stream_find(const struct h3 *s, int64_t id) {
  return s->engine ? nghttp3_conn_get_stream_user_data(s->engine, id) : NULL;
}

static bool is_request_stream(int64_t id) { return (id & 3) == 0; }

/* --- called by nghttp3 --- */

static int on_acked(nghttp3_conn *conn, int64_t id, uint64_t n, void *ud,
                    void *stream_ud) {
  ((struct h3 *)ud)->progress_at = quic_time(((struct h3 *)ud)->conn);
  if (stream_ud) h3_out_acked(&((struct h3_stream *)stream_ud)->out, n);
  return 0;
}

static int on_close(nghttp3_conn *conn, int64_t id, uint64_t app_error,
                    void *ud, void *stream_ud) {
  if (stream_ud) ((struct h3 *)ud)->side->on_closed(stream_ud);
  return 0;
}

static int on_consumed(nghttp3_conn *conn, int64_t id, size_t n, void *ud,
                       void *stream_ud) {
  quic_credit(((struct h3 *)ud)->conn, id, n);
  return 0;
}

static int on_want_stop(nghttp3_conn *conn, int64_t id, uint64_t app_error,
                        void *ud, void *stream_ud) {
  quic_stream_stop(((struct h3 *)ud)->conn, id, app_error);
  return 0;
}

static int on_want_reset(nghttp3_conn *conn, int64_t id, uint64_t app_error,
                         void *ud, void *stream_ud) {
  quic_stream_reset(((struct h3 *)ud)->conn, id, app_error);
  return 0;
}

/* --- the engine's making --- */

static int open_streams(struct h3 *s) {
  int64_t id[3];
  size_t i;
  int rc;

  for (i = 0; i < 3; i++)
    if ((rc = quic_stream_open(s->conn, false, &id[i])) < 0) return rc;
  s->control = id[0];
  if (nghttp3_conn_bind_control_stream(s->engine, id[0]) ||
      nghttp3_conn_bind_qpack_streams(s->engine, id[1], id[2]))
    return ZTNA_ENOMEM;
  return 0;
}

static int engine_new(struct h3 *s) {
  nghttp3_callbacks cb = {.acked_stream_data = on_acked,
                          .stream_close = on_close,
                          .deferred_consume = on_consumed,
                          .stop_sending = on_want_stop,
                          .reset_stream = on_want_reset};
  nghttp3_settings set;
  int rv;

  s->side->set_callbacks(&cb);
  nghttp3_settings_default(&set);
  set.max_field_section_size = H3_HEADERS_MAX;
  set.qpack_max_dtable_capacity = 0; /* a table costs 3.6 KB */
  set.qpack_encoder_max_dtable_capacity = 0;
  set.qpack_blocked_streams = 0;
  rv = s->side->server
           ? nghttp3_conn_server_new(&s->engine, &cb, &set, NULL, s)
           : nghttp3_conn_client_new(&s->engine, &cb, &set, NULL, s);
  if (rv) {
    s->engine = NULL;
    return ZTNA_ENOMEM;
  }
  if (s->side->server) {
    s->max_streams = H3_STREAMS_MAX; /* may never go down: nghttp3 asserts */
    nghttp3_conn_set_max_client_streams_bidi(s->engine, s->max_streams);
    nghttp3_conn_set_max_concurrent_streams(s->engine, H3_STREAMS_MAX);
  }
  return open_streams(s);
}

/* --- called by quic: life --- */

static int on_ready(struct quic_conn *c, void *ud,
                    const struct identity *peer) {
  struct h3 *s = ud;
  int rc;

  s->conn = c;
  s->open = !s->side->server;
  rc = s->ops->on_ready ? s->ops->on_ready(s, s->ud, peer) : 0;
  if (!rc && quic_is_ready(c)) {
    rc = engine_new(s);
    if (rc == ZTNA_EAGAIN) rc = REASON_MALFORMED; /* allows no 3 streams */
  }
  if (rc) {
    s->broken = true;
    s->open = false;
    return rc;
  }
  if (s->engine) h3_calls_open(s);
  quic_wake(c);
  return 0;
}

static void session_free(struct h3 *s) {
  nghttp3_conn_del(s->engine);
  free(s->authority);
  free(s);
}

static void on_end(struct quic_conn *c, void *ud, const struct quic_end *why) {
  struct h3 *s = ud;
  struct h3_stream *st;

  s->open = false;
  nghttp3_conn_del(s->engine);
  s->engine = NULL;
  while ((st = TAILQ_FIRST(&s->streams))) s->side->on_closed(st);
  h3_calls_fail(s);
  if (s->ops->on_end) s->ops->on_end(s, s->ud, why);
  session_free(s);
}

static void on_address(struct quic_conn *c, void *ud,
                       const struct ztna_addr *remote) {
  struct h3 *s = ud;

  if (s->ops->on_address) s->ops->on_address(s, s->ud, remote);
}

/* --- called by quic: streams in --- */

static int on_stream_data(struct quic_conn *c, void *ud, int64_t id,
                          const uint8_t *data, size_t len, bool fin) {
  struct h3 *s = ud;
  nghttp3_ssize n;

  if (!s->engine || s->broken) return ZTNA_EPROTO;
  n = nghttp3_conn_read_stream2(s->engine, id, data, len, fin, quic_time(c));
  if (n < 0) {
    h3_failed(s, "reading", (int)n);
    return ZTNA_EPROTO;
  }
  quic_credit(c, id, (size_t)n);
  if (s->side->on_begun && is_request_stream(id) && h3_is_live(s) &&
      s->side->on_begun(s, id) < 0)
    return ZTNA_ENOMEM;
  h3_remind(s);
  quic_wake(c);
  return s->broken ? ZTNA_EPROTO : 0;
}

static void on_stream_reset(struct quic_conn *c, void *ud, int64_t id,
                            uint64_t app_error) {
  struct h3 *s = ud;

  if (!h3_is_live(s) || !is_request_stream(id)) return;
  if (nghttp3_conn_shutdown_stream_read(s->engine, id) < 0)
    h3_failed(s, "reset", NGHTTP3_ERR_NOMEM);
  if (stream_find(s, id))
    s->side->on_reset(stream_find(s, id));
  else
    quic_stream_reset(c, id, NGHTTP3_H3_REQUEST_CANCELLED);
}

static void stream_shut(struct quic_conn *c, void *ud, int64_t id) {
  struct h3 *s = ud;

  if (!h3_is_live(s)) return;
  nghttp3_conn_shutdown_stream_write(s->engine, id);
  if (is_request_stream(id) && stream_find(s, id))
    s->side->on_stopped(stream_find(s, id));
}

static void on_stop_sending(struct quic_conn *c, void *ud, int64_t id,
                            uint64_t app_error) {
  stream_shut(c, ud, id);
}

/* The peer may open another stream for each that closed. Who begins and resets
 * them as fast as it can does nothing else. */
static void allow_one_more(struct h3 *s) {
  if (!bucket_take(&s->closed, quic_time(s->conn), H3_CLOSED_PER_S,
                   H3_CLOSED_BURST, 1, 0)) {
    quic_close(s->conn, REASON_RATE_LIMITED, "streams are begun too fast");
    return;
  }
  quic_stream_more(s->conn, 1);
  nghttp3_conn_set_max_client_streams_bidi(s->engine, ++s->max_streams);
}

static void on_stream_close(struct quic_conn *c, void *ud, int64_t id,
                            bool has_error, uint64_t app_error) {
  struct h3 *s = ud;
  int rv;

  if (!h3_is_live(s)) return;
  rv = nghttp3_conn_close_stream(s->engine, id,
                                 has_error ? app_error : NGHTTP3_H3_NO_ERROR);
  if (rv && rv != NGHTTP3_ERR_STREAM_NOT_FOUND) {
    h3_failed(s, "closing a stream", rv);
    quic_close(c, REASON_MALFORMED, "a critical stream was closed");
    return;
  }
  if (s->side->server && is_request_stream(id)) allow_one_more(s);
}

static void on_streams_allowed(struct quic_conn *c, void *ud, uint64_t max) {
  struct h3 *s = ud;

  if (h3_is_live(s)) h3_calls_open(s);
}

/* --- called by quic: streams out --- */

static int stream_out(struct quic_conn *c, void *ud, int64_t *id, bool *fin,
                      struct quic_vec *v, size_t n) {
  struct h3 *s = ud;
  nghttp3_ssize got;
  int end = 0;

  *id = -1;
  *fin = false;
  if (!h3_is_live(s) || !quic_max_data_left(c)) return 0;
  do {
    s->starved = false;
    got = nghttp3_conn_writev_stream(s->engine, id, &end, (nghttp3_vec *)v, n);
  } while (!got && *id < 0 && s->starved);
  if (got < 0) {
    h3_failed(s, "writing", (int)got);
    return ZTNA_EPROTO;
  }
  *fin = end;
  return (int)got;
}
_Static_assert(sizeof(struct quic_vec) == sizeof(nghttp3_vec) &&
                   offsetof(struct quic_vec, len) == offsetof(nghttp3_vec, len),
               "vectors are handed through");

static void stream_sent(struct quic_conn *c, void *ud, int64_t id, size_t n) {
  struct h3 *s = ud;
  int rv;

  if (!s->engine || s->broken) return;
  rv = nghttp3_conn_add_write_offset(s->engine, id, n);
  if (rv) h3_failed(s, "writing", rv);
  if (id != s->control) return;
  s->control_sent += n;
  if (s->goaway == GOAWAY_NOTICE && !s->notice_end &&
      nghttp3_conn_is_stream_flushed(s->engine, id))
    s->notice_end = s->control_sent;
}

static void stream_blocked(struct quic_conn *c, void *ud, int64_t id) {
  struct h3 *s = ud;

  if (h3_is_live(s)) nghttp3_conn_block_stream(s->engine, id);
}

static void on_stream_room(struct quic_conn *c, void *ud, int64_t id) {
  struct h3 *s = ud;

  if (!h3_is_live(s)) return;
  if (nghttp3_conn_unblock_stream(s->engine, id))
    h3_failed(s, "unblocking", NGHTTP3_ERR_NOMEM);
  quic_wake(c);
}

/* The notice was acknowledged, so a round trip has gone by: what the client
 * began before it knew has arrived. */
static void goaway_finish(struct h3 *s) {
  s->goaway = GOAWAY_FINAL;
  if (nghttp3_conn_shutdown(s->engine))
    h3_failed(s, "GOAWAY", NGHTTP3_ERR_NOMEM);
  quic_wake(s->conn);
}

static void on_stream_acked(struct quic_conn *c, void *ud, int64_t id,
                            uint64_t offset, uint64_t len) {
  struct h3 *s = ud;

  if (!h3_is_live(s)) return;
  if (nghttp3_conn_add_ack_offset(s->engine, id, len))
    h3_failed(s, "acknowledging", NGHTTP3_ERR_CALLBACK_FAILURE);
  if (id == s->control && s->goaway == GOAWAY_NOTICE && s->notice_end &&
      offset + len >= s->notice_end)
    goaway_finish(s);
}

#define H3_QUIC_OPS                                                       \
  .alpn = "h3", .on_ready = on_ready, .on_end = on_end,                   \
  .on_address = on_address, .on_stream_data = on_stream_data,             \
  .on_stream_acked = on_stream_acked, .on_stream_close = on_stream_close, \
  .on_stream_reset = on_stream_reset, .on_stop_sending = on_stop_sending, \
  .on_stream_room = on_stream_room, .stream_out = stream_out,             \
  .stream_sent = stream_sent, .stream_blocked = stream_blocked,           \
  .stream_shut = stream_shut

const struct quic_ops *h3_server_ops(void) {
  static const struct quic_ops ops = {H3_QUIC_OPS};
  return &ops;
}

const struct quic_ops *h3_client_ops(void) {
  static const struct quic_ops ops = {H3_QUIC_OPS,
                                      .on_streams_allowed = on_streams_allowed};
  return &ops;
}

/* --- asked by the user --- */

struct quic_params h3_params(bool server) {
  return (struct quic_params){
      .idle_timeout = 30 * SEC,
      .keep_alive = server ? 0 : 15 * SEC,
      .handshake_timeout = server ? 3 * SEC : 5 * SEC,
      .streams_bidi = server ? H3_STREAMS_MAX : 0,
      .stream_window = server ? 65536 : 262144,
      .conn_window = server ? 131072 : 1048576,
      .lean = server,
  };
}

struct h3 *h3_new(bool server, const char *authority, const struct h3_ops *ops,
                  void *ud) {
  struct h3 *s = calloc(1, sizeof(*s));

  if (!s) return NULL;
  s->side = server ? &h3_server_side : &h3_client_side;
  s->ops = ops;
  s->ud = ud;
  s->control = -1;
  s->told_at = NEVER;
  TAILQ_INIT(&s->streams);
  TAILQ_INIT(&s->waiting);
  if (!server) {
    s->authority = strdup(authority ? authority : "");
    if (s->authority) return s;
    free(s);
    return NULL;
  }
  return s;
}

void h3_free(struct h3 *s) {
  if (!s) return;
  assert(TAILQ_EMPTY(&s->streams) && TAILQ_EMPTY(&s->waiting));
  session_free(s);
}

struct quic_conn *h3_conn(const struct h3 *s) {
  return s->conn;
}
void h3_attach(struct h3 *s, struct quic_conn *c) { s->conn = c; }
void *h3_ud(const struct h3 *s) { return s->ud; }

void h3_goaway(struct h3 *s) {
  if (!s->side->server || !h3_is_live(s) || s->goaway != GOAWAY_NONE) return;
  s->goaway = GOAWAY_NOTICE;
  if (nghttp3_conn_submit_shutdown_notice(s->engine))
    h3_failed(s, "GOAWAY", NGHTTP3_ERR_NOMEM);
  quic_wake(s->conn);
}
