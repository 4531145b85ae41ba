/* fake/quic.c - included by the tests of what stands on quic.h. It checks its
 * user: credit only for what came, bytes kept until they are acknowledged. */
#include "fake/quic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ztna/err.h>

#define FAKE_MUST(what)                                                     \
  do {                                                                      \
    if (!(what)) {                                                          \
      fprintf(stderr, "fake quic: %s:%d: %s\n", __FILE__, __LINE__, #what); \
      abort();                                                              \
    }                                                                       \
  } while (0)

static bool is_uni(int64_t id) { return id & 2; }
static bool is_ours(const struct quic_conn *c, int64_t id) {
  return (id & 1) == c->server;
}

static struct fake_stream *fake_find(struct quic_conn *c, int64_t id) {
  for (size_t i = 0; i < FAKE_STREAMS; i++)
    if (c->streams[i].used && c->streams[i].id == id) return &c->streams[i];
  return NULL;
}

static struct fake_stream *fake_open(struct quic_conn *c, int64_t id) {
  struct fake_stream *st = c->streams;

  while (st->used) FAKE_MUST(++st < c->streams + FAKE_STREAMS);
  *st = (struct fake_stream){.used = true, .id = id};
  st->max = c->peer ? c->peer->stream_window : 1 << 30;
  st->rx_done = is_uni(id) && is_ours(c, id);
  st->tx_done = is_uni(id) && !is_ours(c, id);
  return st;
}

static void fake_failed(struct quic_conn *c) {
  if (!c->closing) c->why = REASON_MALFORMED;
  c->closing = true;
}

static void fake_close_if_done(struct quic_conn *c, struct fake_stream *st) {
  int64_t id = st->id;

  if (!st->tx_done || !st->rx_done || c->closing) return;
  st->used = false;
  c->ops->on_stream_close(c, c->ud, id, st->reset, st->reset_code);
}

/* --- called by the user --- */

void quic_close(struct quic_conn *c, enum reason why, const char *text) {
  if (!c->closing) c->why = why;
  c->closing = true;
}

void quic_wake(struct quic_conn *c) { c->awake = true; }
uint64_t quic_time(const struct quic_conn *c) { return c->now; }
bool quic_is_ready(const struct quic_conn *c) {
  return c->ready && !c->closing;
}
uint64_t quic_max_data_left(const struct quic_conn *c) {
  return c->max - c->sent;
}

int quic_stream_open(struct quic_conn *c, bool bidi, int64_t *id) {
  if (!quic_is_ready(c)) return ZTNA_ECLOSED;
  if (c->n_opened[bidi] == c->n_allowed[bidi]) return ZTNA_EAGAIN;
  *id = (int64_t)(c->n_opened[bidi]++ << 2) | (bidi ? 0 : 2) | c->server;
  fake_open(c, *id);
  return 0;
}

void quic_credit(struct quic_conn *c, int64_t id, size_t n) {
  quic_credit_conn(c, n);
  quic_credit_stream(c, id, n);
}

void quic_credit_conn(struct quic_conn *c, size_t n) {
  c->given += n;
  FAKE_MUST(c->given <= c->received);
  if (c->peer) c->peer->max += n;
}

void quic_credit_stream(struct quic_conn *c, int64_t id, size_t n) {
  struct fake_stream *st = fake_find(c, id), *other;

  if (st) {
    st->given += n;
    FAKE_MUST(st->given <= st->received);
  }
  if (!c->peer) return;
  other = fake_find(c->peer, id);
  if (!other) return;
  other->max += n;
  other->tell_room = other->blocked;
}

void quic_stream_set_ud(struct quic_conn *c, int64_t id, void *ud) {
  struct fake_stream *st = fake_find(c, id);

  if (st) st->ud = ud;
}

void *quic_stream_ud(const struct quic_conn *c, int64_t id) {
  struct fake_stream *st = fake_find((struct quic_conn *)c, id);

  return st ? st->ud : NULL;
}

void quic_stream_more(struct quic_conn *c, size_t n) {
  FAKE_MUST(c->server);
  if (!c->peer) return;
  c->peer->n_allowed[true] += n;
  c->peer->tell_streams = true;
}

void quic_stream_reset(struct quic_conn *c, int64_t id, uint64_t code) {
  struct fake_stream *st = fake_find(c, id);

  if (!st || st->tx_done || st->reset) return;
  st->reset = st->tell_reset = true;
  st->reset_code = code;
}

void quic_stream_stop(struct quic_conn *c, int64_t id, uint64_t code) {
  struct fake_stream *st = fake_find(c, id);

  if (!st || st->rx_done || st->stopped) return;
  st->stopped = st->tell_stop = true;
  st->stop_code = code;
}

/* --- delivery --- */

static void fake_take(struct quic_conn *c, int64_t id, const uint8_t *data,
                      size_t len) {
  if (is_uni(id)) return;
  if (c->n_taken + len > c->taken_room) {
    c->taken_room = 2 * (c->n_taken + len);
    c->taken = realloc(c->taken, c->taken_room);
    FAKE_MUST(c->taken);
  }
  memcpy(c->taken + c->n_taken, data, len);
  c->n_taken += len;
}

void fake_feed(struct quic_conn *c, int64_t id, const void *data, size_t len,
               bool fin) {
  struct fake_stream *st = fake_find(c, id);

  if (c->closing) return;
  c->awake = true;
  if (!st) st = fake_open(c, id);
  if (st->rx_done) return;
  c->received += len;
  st->received += len;
  st->rx_done = fin;
  if (st->stopped) { /* thrown away by QUIC, which gives the credit itself */
    c->given += len;
    if (c->peer) c->peer->max += len;
  } else if (c->ops->on_stream_data(c, c->ud, id, data, len, fin) < 0) {
    fake_failed(c);
  }
  if (st->used && st->id == id) fake_close_if_done(c, st);
}

void fake_feed_reset(struct quic_conn *c, int64_t id, uint64_t code) {
  struct fake_stream *st = fake_find(c, id);

  if (c->closing) return;
  c->awake = true;
  if (!st) st = fake_open(c, id);
  if (st->rx_done) return;
  st->rx_done = true;
  c->ops->on_stream_reset(c, c->ud, id, code);
  fake_close_if_done(c, st);
}

void fake_feed_stop(struct quic_conn *c, int64_t id, uint64_t code) {
  struct fake_stream *st = fake_find(c, id);

  if (c->closing) return;
  c->awake = true;
  if (!st) st = fake_open(c, id);
  if (st->tx_done) return;
  c->ops->on_stop_sending(c, c->ud, id, code);
  quic_stream_reset(c, id, code);
}

/* What the user holds must still be what was sent. */
static void fake_ack(struct quic_conn *c) {
  struct fake_piece *p;
  struct fake_stream *st;
  size_t i, n = c->n_pieces;

  for (i = 0; i < n && !c->closing; i++) {
    p = &c->pieces[i];
    st = fake_find(c, p->id);
    if (!st || st->reset) continue;
    FAKE_MUST(!p->len || !memcmp(p->at, p->copy, p->len));
    c->ops->on_stream_acked(c, c->ud, p->id, p->offset, p->len);
    if (!p->fin) continue;
    st->tx_done = true;
    fake_close_if_done(c, st);
  }
  c->n_pieces -= n;
  memmove(c->pieces, c->pieces + n, c->n_pieces * sizeof(*p));
}

static void fake_piece(struct quic_conn *c, struct fake_stream *st,
                       const uint8_t *at, size_t len, bool fin) {
  struct fake_piece *p;

  if (c->n_pieces == c->pieces_room) {
    c->pieces_room = 2 * c->pieces_room + 16;
    c->pieces = realloc(c->pieces, c->pieces_room * sizeof(*p));
    FAKE_MUST(c->pieces);
  }
  p = &c->pieces[c->n_pieces++];
  p->id = st->id;
  p->offset = st->sent;
  p->at = at;
  p->len = len;
  p->fin = fin;
  if (len) memcpy(p->copy, at, len);
  st->sent += len;
  c->sent += len;
}

static size_t fake_room(struct quic_conn *c, struct fake_stream *st) {
  uint64_t room = st->max - st->sent;

  if (room > c->max - c->sent) room = c->max - c->sent;
  return room < FAKE_MTU ? (size_t)room : FAKE_MTU;
}

/* Sends one packet's worth of one stream. False: nothing to send. */
static bool fake_send(struct quic_conn *c) {
  struct quic_vec v[8];
  struct fake_stream *st;
  uint8_t bytes[FAKE_MTU];
  size_t n = 0, all = 0, room, part;
  bool fin = false;
  int64_t id = -1;
  int i, n_vec;

  n_vec = c->ops->stream_out(c, c->ud, &id, &fin, v, 8);
  if (n_vec < 0) fake_failed(c);
  if (n_vec < 0 || id < 0) return false;
  st = fake_find(c, id);
  if (!st || st->reset || st->fin_sent) {
    c->ops->stream_shut(c, c->ud, id);
    return true;
  }
  for (i = 0; i < n_vec; i++) all += v[i].len;
  room = fake_room(c, st);
  if (all && !room) {
    st->blocked = true;
    c->ops->stream_blocked(c, c->ud, id);
    return true;
  }
  for (i = 0; i < n_vec && n < room; i++) {
    part = v[i].len < room - n ? v[i].len : room - n;
    memcpy(bytes + n, v[i].base, part);
    n += part;
    fake_piece(c, st, v[i].base, part, fin && n == all);
  }
  if (!all) fake_piece(c, st, NULL, 0, fin);
  fin = fin && n == all;
  st->fin_sent = fin;
  c->ops->stream_sent(c, c->ud, id, n);
  if (c->peer)
    fake_feed(c->peer, id, bytes, n, fin);
  else
    fake_take(c, id, bytes, n);
  return true;
}

static bool fake_tell(struct quic_conn *c) {
  bool moved = false;
  struct fake_stream *st;

  for (st = c->streams; st < c->streams + FAKE_STREAMS; st++) {
    if (!st->used || c->closing) continue;
    if (st->tell_room) {
      st->tell_room = st->blocked = false;
      moved = c->awake = true;
      c->ops->on_stream_room(c, c->ud, st->id);
    }
    if (st->tell_stop) {
      st->tell_stop = false;
      moved = true;
      if (c->peer) fake_feed_stop(c->peer, st->id, st->stop_code);
    }
    if (st->tell_reset) {
      st->tell_reset = false;
      st->tx_done = moved = true;
      if (c->peer) fake_feed_reset(c->peer, st->id, st->reset_code);
      fake_close_if_done(c, st);
    }
  }
  if (c->tell_streams && !c->closing) {
    c->tell_streams = false;
    moved = c->awake = true;
    if (c->ops->on_streams_allowed)
      c->ops->on_streams_allowed(c, c->ud, c->n_allowed[true]);
  }
  return moved;
}

static bool fake_step(struct quic_conn *c) {
  bool moved = false;

  if (!c->ready || c->closing) return false;
  if (!c->hold_data) {
    moved = fake_tell(c);
    while (!c->closing && c->awake) moved |= c->awake = fake_send(c);
  }
  if (c->hold_acks || !c->n_pieces || c->closing) return moved;
  c->awake = true;
  fake_ack(c);
  return true;
}

void fake_end(struct quic_conn *c, enum reason why, bool remote) {
  struct quic_end end = {
      .reason = why, .remote = remote, .authenticated = c->ready};
  void *ud = c->ud;

  c->closing = true;
  c->ud = NULL;
  if (ud) c->ops->on_end(c, ud, &end);
}

void fake_run(struct quic_conn *c) {
  struct quic_conn *p = c->peer;
  bool moved;

  do {
    moved = fake_step(c);
    if (p) moved |= fake_step(p);
  } while (moved);
  if (c->closing) {
    fake_end(c, c->why, false);
    if (p) fake_end(p, c->why, true);
  } else if (p && p->closing) {
    fake_end(p, p->why, false);
    fake_end(c, p->why, true);
  }
}

/* --- life --- */

void fake_init(struct quic_conn *c, bool server, const struct quic_ops *ops,
               void *ud, const struct quic_params *own,
               const struct quic_params *of_peer) {
  *c = (struct quic_conn){.ops = ops,
                          .ud = ud,
                          .server = server,
                          .max = of_peer->conn_window,
                          .n_allowed = {3, of_peer->streams_bidi},
                          .stream_window = own->stream_window};
}

void fake_pair(struct quic_conn *a, struct quic_conn *b) {
  a->peer = b;
  b->peer = a;
}

void fake_ready(struct quic_conn *c) {
  int rv;

  c->ready = true;
  rv = c->ops->on_ready(c, c->ud, &c->peer_id);
  if (rv > 0) quic_close(c, (enum reason)rv, NULL);
  if (rv < 0) quic_close(c, REASON_INTERNAL, NULL);
}

void fake_done(struct quic_conn *c) {
  if (c->ud) fake_end(c, REASON_SHUTTING_DOWN, false);
  free(c->pieces);
  free(c->taken);
  c->pieces = NULL;
  c->taken = NULL;
}

size_t fake_open_streams(const struct quic_conn *c) {
  size_t i, n = 0;

  for (i = 0; i < FAKE_STREAMS; i++) n += c->streams[i].used;
  return n;
}
