/* stream.c - see stream.h. Also where a path's QUIC streams are told apart: the
 * control stream goes to path_control.c. */
#include "role/path_int.h"

#include <assert.h>
#include <stdlib.h>

enum {
  /* Bytes that users of all streams may hold before the connection's window
   * closes as well. Below that only their own streams wait for them: readers
   * that sleep must not stop the others. */
  HELD_MAX = 16 * 1024 * 1024,
  OUT_VECTORS = 4, /* ngtcp2 allocates for a frame of more */
};

/* --- life --- */

static struct stream *stream_new(struct path *p, int64_t id) {
  struct stream *s = calloc(1, sizeof(*s));

  if (!s) return NULL;
  s->path = p;
  s->id = id;
  s->next = p->streams;
  if (s->next) s->next->prev = s;
  p->streams = s;
  return s;
}

/* What the user held is the connection's again. */
static void give_back(struct path *p, uint64_t n) {
  uint64_t due = n < p->owed ? n : p->owed;

  p->held -= n;
  p->owed -= due;
  if (p->conn) quic_credit_conn(p->conn, due);
}

static void stream_free(struct stream *s) {
  struct path *p = s->path;

  turn_del(p, s);
  if (p->offered == s) p->offered = NULL;
  if (s->prev)
    s->prev->next = s->next;
  else
    p->streams = s->next;
  if (s->next) s->next->prev = s->prev;
  give_back(p, s->held);
  path_bytes_left(p, &s->bytes);
  free(s);
}

struct stream *stream_open(struct path *p, const struct stream_ops *ops,
                           void *ud) {
  struct stream *s;
  int64_t id;

  if (!p->conn || quic_is_server(p->conn)) return NULL;
  s = stream_new(p, -1);
  if (!s) return NULL;
  if (quic_stream_open(p->conn, true, &id) < 0) {
    stream_free(s);
    return NULL;
  }
  s->id = id;
  quic_stream_set_ud(p->conn, id, s);
  stream_bind(s, ops, ud);
  return s;
}

void stream_bind(struct stream *s, const struct stream_ops *ops, void *ud) {
  s->ops = ops;
  s->ud = ud;
}

void stream_wake(struct stream *s) {
  if (s->blocked || s->ended || !s->path->conn) return;
  turn_add(s->path, s);
  quic_wake(s->path->conn);
}

void stream_credit(struct stream *s, size_t n) {
  assert(n <= s->held);
  s->held -= n;
  give_back(s->path, n);
  if (s->path->conn) quic_credit_stream(s->path->conn, s->id, n);
}

static void refuse(struct quic_conn *c, int64_t id, uint64_t code) {
  quic_stream_set_ud(c, id, NULL);
  quic_stream_stop(c, id, code);
  quic_stream_reset(c, id, code);
}

void stream_reset(struct stream *s, uint64_t code) {
  if (s->path->conn) refuse(s->path->conn, s->id, code);
  stream_free(s);
}

/* What the user does not want it takes itself, and it ends what the user did
 * not end. */
void stream_forget(struct stream *s) {
  s->ops = NULL;
  stream_credit(s, s->held);
  stream_wake(s);
}

struct path *stream_path(const struct stream *s) {
  return s->path;
}

static void gone(struct stream *s, bool closed) {
  const struct stream_ops *ops = s->ops;

  s->ops = NULL;
  if (ops && ops->on_gone) ops->on_gone(s, s->ud, closed);
  stream_free(s);
}

void streams_gone(struct path *p) {
  struct stream *s;

  while ((s = p->streams)) gone(s, false);
}

/* --- in --- */

static bool is_control(const struct path *p, int64_t id) {
  return id == PATH_CONTROL_STREAM;
}

/* The stream of this number, or a new one that was taken. NULL: it is nobody's,
 * or was refused just now. */
static struct stream *find_or_take(struct path *p, int64_t id) {
  struct stream *s = quic_stream_ud(p->conn, id);

  if (s) return s;
  if (quic_is_server(p->conn) && !(id & 3) && p->ev->on_stream) {
    s = stream_new(p, id);
    if (!s) return NULL;
    quic_stream_set_ud(p->conn, id, s);
    p->ev->on_stream(p, p->ud, s);
    s = quic_stream_ud(p->conn, id);
    if (s && s->ops) return s;
    if (s) stream_free(s);
  }
  return NULL;
}

static void give(struct stream *s, const uint8_t *data, size_t len, bool fin) {
  struct path *p = s->path;

  s->held += len;
  p->held += len;
  if (p->held > HELD_MAX)
    p->owed += len;
  else
    quic_credit_conn(p->conn, len);
  if (s->ops)
    s->ops->on_data(s, s->ud, data, len, fin);
  else
    stream_credit(s, len);
}

int streams_on_data(struct quic_conn *c, void *ud, int64_t id,
                    const uint8_t *data, size_t len, bool fin) {
  struct path *p = ud;
  struct stream *s;

  if (c != p->conn) {
    quic_credit(c, id, len);
    return 0;
  }
  if (is_control(p, id)) {
    quic_credit(c, id, len);
    return path_control_data(p, data, len, fin);
  }
  s = find_or_take(p, id);
  if (s) {
    give(s, data, len, fin);
    return 0;
  }
  quic_credit_conn(c, len);
  refuse(c, id, REASON_UNSUPPORTED_VERSION);
  return 0;
}

void streams_on_acked(struct quic_conn *c, void *ud, int64_t id,
                      uint64_t offset, uint64_t len) {
  struct path *p = ud;
  struct stream *s;

  if (c != p->conn) return;
  if (is_control(p, id)) {
    path_bytes_acked(p, &p->tx_bytes_out, len);
    path_control_acked(p, offset + len);
    return;
  }
  s = quic_stream_ud(c, id);
  if (!s || s->stopped) return;
  path_bytes_acked(p, &s->bytes, len);
  if (s->ops && s->ops->on_acked) s->ops->on_acked(s, s->ud, s->bytes.acked);
}

void streams_on_room(struct quic_conn *c, void *ud, int64_t id) {
  struct path *p = ud;
  struct stream *s;

  if (c != p->conn) return;
  quic_wake(c);
  if (is_control(p, id)) {
    path_control_room(p);
    return;
  }
  s = quic_stream_ud(c, id);
  if (!s || !s->blocked) return;
  s->blocked = false;
  stream_wake(s);
}

void streams_on_reset(struct quic_conn *c, void *ud, int64_t id,
                      uint64_t code) {
  struct path *p = ud;
  struct stream *s = c == p->conn ? quic_stream_ud(c, id) : NULL;

  if (c == p->conn && is_control(p, id)) {
    path_control_shut(p);
  } else if (!s) {
    quic_stream_reset(c, id, code); /* nobody's, ours ends, too */
  } else {
    s->failed = true;
    if (s->ops && s->ops->on_reset) s->ops->on_reset(s, s->ud, code);
  }
}

/* QUIC resets our direction by itself. */
void streams_on_stop(struct quic_conn *c, void *ud, int64_t id, uint64_t code) {
  struct path *p = ud;
  struct stream *s = c == p->conn ? quic_stream_ud(c, id) : NULL;

  if (c == p->conn && is_control(p, id)) path_control_shut(p);
  if (!s) return;
  s->failed = s->ended = s->stopped = true;
  turn_del(p, s);
  path_bytes_left(p, &s->bytes);
  if (s->ops && s->ops->on_stop) s->ops->on_stop(s, s->ud, code);
}

void streams_on_close(struct quic_conn *c, void *ud, int64_t id, bool has_error,
                      uint64_t app_error) {
  struct path *p = ud;
  struct stream *s = c == p->conn ? quic_stream_ud(c, id) : NULL;

  if (c == p->conn && is_control(p, id)) {
    path_control_shut(p);
    return;
  }
  if (quic_is_server(c) && !(id & 3)) quic_stream_more(c, 1);
  if (!s) return;
  quic_stream_set_ud(c, id, NULL);
  gone(s, !has_error && !s->failed);
}

void streams_on_allowed(struct quic_conn *c, void *ud, uint64_t max) {
  struct path *p = ud;

  if (c == p->conn && p->ev->on_streams_allowed)
    p->ev->on_streams_allowed(p, p->ud);
}

/* --- out --- */

/* What s has for QUIC: vectors, or the end alone. 0 and no end: nothing. */
static int offer(struct stream *s, bool *fin, struct quic_vec *v, int n) {
  *fin = false;
  if (s->ops) return s->ops->out ? s->ops->out(s, s->ud, v, n, fin) : 0;
  *fin = true; /* forgotten */
  return 0;
}

static size_t vec_len(const struct quic_vec *v, int n) {
  size_t len = 0;

  for (int i = 0; i < n; i++) len += v[i].len;
  return len;
}

/* While the connection's window is used up nothing is offered: ngtcp2 tells
 * when a stream may go on, not when all may, and would take a stream that is
 * refused for that as a packet that may not go. */
int streams_out(struct quic_conn *c, void *ud, int64_t *id, bool *fin,
                struct quic_vec *v, size_t n) {
  struct path *p = ud;
  struct stream *s;
  int n_vec;

  *id = -1;
  if (c != p->conn || p->on_hold || !quic_max_data_left(c)) return 0;
  n_vec = path_control_out(p, id, v, n);
  if (n_vec) return n_vec;
  while ((s = turn_head(p))) {
    p->offered = s;
    n_vec = offer(s, fin, v, n < OUT_VECTORS ? (int)n : OUT_VECTORS);
    if (p->offered != s) continue; /* it was reset */
    if (n_vec || *fin) {
      s->offered = vec_len(v, n_vec);
      s->fin_offered = *fin;
      *id = s->id;
      return n_vec;
    }
    turn_dry(p, s);
  }
  return 0;
}

void streams_sent(struct quic_conn *c, void *ud, int64_t id, size_t n) {
  struct path *p = ud;
  struct stream *s = p->offered;
  bool fin;

  path_packet_has(p, n);
  if (is_control(p, id)) {
    path_bytes_sent(p, &p->tx_bytes_out, n);
    path_control_sent(p, n);
    return;
  }
  path_bytes_sent(p, &s->bytes, n);
  fin = s->fin_offered && n == s->offered;
  if (fin) {
    s->ended = true;
    turn_del(p, s);
  }
  turn_took(p, s, n);
  if (s->ops && s->ops->sent) s->ops->sent(s, s->ud, n, fin);
}

void streams_blocked(struct quic_conn *c, void *ud, int64_t id) {
  struct path *p = ud;
  struct stream *s = p->offered;

  if (is_control(p, id)) {
    path_control_blocked(p);
    return;
  }
  s->blocked = true;
  turn_del(p, s);
}

void streams_shut(struct quic_conn *c, void *ud, int64_t id) {
  struct path *p = ud;

  if (is_control(p, id))
    path_control_shut(p);
  else
    turn_del(p, p->offered); /* a stop came, or will be said */
}
