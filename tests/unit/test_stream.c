/* test_stream.c - streams of a path at both of its ends, with a wire between
 * them that has a delay, a bandwidth with a queue, loss and an MTU. */
#include "unit/unit.h"

#include "base/time.h"
#include "role/stream.h"
#include "sim/pki.h"
#include "sim/seeded.h"

enum { NOW = 1700000000, WIRE = 8192, POOL = 4096, FLOWS = 1100, BUF = 65536 };
#define ENDLESS (UINT64_C(1) << 40)
#define MBIT UINT64_C(1000000)

struct packet {
  uint64_t at;
  struct ztna_addr from, to;
  size_t len;
  uint8_t data[1500];
};

struct side;

/* One end of a stream. Its bytes follow from their offsets. */
struct flow {
  struct side *side;
  struct stream *s; /* NULL when it is gone */
  uint64_t to_send, sent, acked, got;
  bool end, end_sent, end_got;
  bool sleeps; /* gives no credit */
  uint64_t owed, credited_by_peer;
  int n_reset, n_stop, n_gone;
  uint64_t code;
  bool closed;
  bool reset_in_out, reset_in_sent;
  uint64_t after; /* what had left of all when its last bytes left */
};

struct side {
  struct quic *q;
  struct ztna_addr addr;
  struct pool pool;
  struct path *path;
  struct flow flows[FLOWS];
  size_t n_flows;
  bool refuses;
  int n_live, n_end, n_allowed, n_messages;
  uint64_t n_packets;
  uint64_t n_taken;        /* calls of sent */
  uint64_t until_datagram; /* stream frames sent while one waited */
  uint64_t datagrams_before;
  bool datagram_waits;
};

struct world {
  struct seeded rnd;
  struct side v[2], *a, *b; /* agent, connector */
  struct packet *wire;      /* ring, in order of arrival */
  size_t first, n_wire;
  uint64_t now, delay, rate, free_at[2];
  double loss;
  size_t mtu;
  bool cut;
  uint8_t ha[HANDLE_LEN], hb[HANDLE_LEN];
};

static struct pki *pki;
static struct tls *tls[2];
static uint8_t pattern[2 * BUF];

/* --- a flow --- */

/* Stream frames and inner packets. */
static uint64_t n_left(struct side *s) {
  return s->n_taken + path_stats(s->path)->n_packets_out;
}

static void on_data(struct stream *s, void *ud, const uint8_t *data, size_t len,
                    bool fin) {
  struct flow *f = ud;

  assert_ptr_equal(f->s, s);
  for (size_t i = 0, n; i < len; i += n) {
    n = len - i < BUF ? len - i : BUF;
    assert_memory_equal(data + i, pattern + (f->got + i) % BUF, n);
  }
  f->got += len;
  f->end_got |= fin;
  if (f->sleeps)
    f->owed += len;
  else
    stream_credit(s, len);
}

static void on_acked(struct stream *s, void *ud, uint64_t offset) {
  struct flow *f = ud;

  assert_true(offset >= f->acked && offset <= f->sent);
  f->acked = offset;
}

static void on_reset(struct stream *s, void *ud, uint64_t code) {
  struct flow *f = ud;

  f->n_reset++;
  f->code = code;
}

static void on_stop(struct stream *s, void *ud, uint64_t code) {
  struct flow *f = ud;

  f->n_stop++;
  f->code = code;
}

static void on_gone(struct stream *s, void *ud, bool closed) {
  struct flow *f = ud;

  assert_ptr_equal(f->s, s);
  f->s = NULL;
  f->n_gone++;
  f->closed = closed;
}

static void reset(struct flow *f, enum reason why) {
  stream_reset(f->s, why);
  f->s = NULL;
}

static int out(struct stream *s, void *ud, struct quic_vec *v, int n,
               bool *fin) {
  struct flow *f = ud;
  uint64_t left = f->to_send - f->sent, at = f->sent % BUF;

  assert_false(f->end_sent);
  if (f->reset_in_out) {
    reset(f, REASON_REVOKED);
    return 0;
  }
  *fin = f->end && left <= BUF;
  if (!left) return 0;
  v[0] = (struct quic_vec){pattern + at, left < BUF ? left : BUF};
  return 1;
}

static void sent(struct stream *s, void *ud, size_t n, bool fin) {
  struct flow *f = ud;
  struct side *side = f->side;

  f->sent += n;
  f->end_sent |= fin;
  f->after = n_left(side);
  side->n_taken++;
  if (side->datagram_waits &&
      path_stats(side->path)->n_packets_out == side->datagrams_before)
    side->until_datagram++;
  else
    side->datagram_waits = false;
  if (f->reset_in_sent) reset(f, REASON_REVOKED);
}

static const struct stream_ops flow_ops = {
    .on_data = on_data,
    .on_acked = on_acked,
    .on_reset = on_reset,
    .on_stop = on_stop,
    .on_gone = on_gone,
    .out = out,
    .sent = sent,
};

static struct flow *flow_new(struct side *s) {
  struct flow *f = &s->flows[s->n_flows++];

  assert_true(s->n_flows <= FLOWS);
  *f = (struct flow){.side = s};
  return f;
}

/* NULL: none is allowed. */
static struct flow *flow_open(struct side *s) {
  struct flow *f = flow_new(s);

  f->s = stream_open(s->path, &flow_ops, f);
  if (f->s) return f;
  s->n_flows--;
  return NULL;
}

static void flow_send(struct flow *f, uint64_t n, bool end) {
  f->to_send += n;
  f->end = end;
  stream_wake(f->s);
}

static struct flow *flow_bulk(struct side *s) {
  struct flow *f = flow_open(s);

  assert_non_null(f);
  flow_send(f, ENDLESS, false);
  return f;
}

static void flow_credit(struct flow *f) {
  f->sleeps = false;
  stream_credit(f->s, f->owed);
  f->owed = 0;
}

/* --- what a path says --- */

static int on_check(struct path *p, void *ud, const struct identity *peer) {
  return 0;
}
static void on_live(struct path *p, void *ud) { ((struct side *)ud)->n_live++; }
static int on_message(struct path *p, void *ud, json_t *msg) {
  ((struct side *)ud)->n_messages++;
  return 0;
}
static void on_packet(struct path *p, void *ud, uint64_t context,
                      const uint8_t *ip, size_t len) {
  ((struct side *)ud)->n_packets++;
}
static void on_end(struct path *p, void *ud, const struct quic_end *why) {
  ((struct side *)ud)->n_end++;
}
static void on_streams_allowed(struct path *p, void *ud) {
  ((struct side *)ud)->n_allowed++;
}
static void on_stream(struct path *p, void *ud, struct stream *s) {
  struct flow *f;

  if (((struct side *)ud)->refuses) return;
  f = flow_new(ud);
  f->s = s;
  stream_bind(s, &flow_ops, f);
}

static const struct path_events events = {
    .on_check = on_check,
    .on_live = on_live,
    .on_message = on_message,
    .on_packet = on_packet,
    .on_end = on_end,
    .on_stream = on_stream,
    .on_streams_allowed = on_streams_allowed,
};

/* --- the wire --- */

/* When the last bit of it has left; a queue of 50 ms stands before. */
static uint64_t leaves_at(struct world *w, int from, size_t len) {
  uint64_t at = w->free_at[from] > w->now ? w->free_at[from] : w->now;

  if (!w->rate) return w->now;
  if (at > w->now + 50 * MS) return NEVER;
  return w->free_at[from] = at + len * 8 * SEC / w->rate;
}

static void put(struct world *w, int from, const struct dgram *d) {
  for (uint32_t off = 0; off < d->len; off += d->seg) {
    size_t len = d->len - off < d->seg ? d->len - off : d->seg, i;
    uint64_t at = leaves_at(w, from, len);
    struct packet *p;

    if (w->cut || len > w->mtu || seeded_unit(&w->rnd) < w->loss ||
        w->n_wire == WIRE || at == NEVER)
      continue;
    at += w->delay;
    for (i = w->n_wire++; i; i--) { /* both directions share the ring */
      struct packet *before = &w->wire[(w->first + i - 1) % WIRE];

      if (before->at <= at) break;
      w->wire[(w->first + i) % WIRE] = *before;
    }
    p = &w->wire[(w->first + i) % WIRE];
    p->at = at;
    p->from = w->v[from].addr;
    p->to = d->remote;
    p->len = len;
    memcpy(p->data, d->data + off, len);
  }
}

static void drain(struct world *w) {
  struct dgram v[16];

  for (int i = 0, n; i < 2; i++)
    while ((n = quic_next(w->v[i].q, w->now, v, 16)) > 0)
      for (int k = 0; k < n; k++) put(w, i, &v[k]);
}

static void deliver(struct world *w) {
  struct packet *p = &w->wire[w->first];
  struct side *to = ztna_addr_equal(&p->to, &w->a->addr) ? w->a : w->b;

  w->first = (w->first + 1) % WIRE;
  w->n_wire--;
  if (p->at > w->now) w->now = p->at;
  quic_udp_in(to->q, w->now, &p->from, &p->to, 0, p->data, p->len);
}

static void run(struct world *w, uint64_t for_ns) {
  uint64_t until = w->now + for_ns;

  for (;;) {
    uint64_t at = NEVER;

    drain(w);
    for (int i = 0; i < 2; i++)
      at = time_min(
          at, time_min(quic_deadline(w->v[i].q), path_deadline(w->v[i].path)));
    if (w->n_wire && w->wire[w->first].at <= at) {
      if (w->wire[w->first].at > until) break;
      deliver(w);
      continue;
    }
    if (at > until) break;
    if (at > w->now) w->now = at;
    for (int i = 0; i < 2; i++) {
      quic_tick(w->v[i].q, w->now);
      path_tick(w->v[i].path, w->now);
    }
  }
  w->now = until;
}

/* --- worlds --- */

static void dial(struct world *w) {
  assert_int_equal(
      path_dial(w->a->path, &w->b->addr, w->ha, w->hb, 2 * w->delay, w->now),
      0);
}

static struct world *world_new(void) {
  struct world *w = calloc(1, sizeof(*w));

  seeded_init(&w->rnd, 7);
  w->now = SEC;
  w->delay = 10 * MS;
  w->mtu = 1500;
  w->rate = 50 * MBIT;
  w->wire = malloc(WIRE * sizeof(*w->wire));
  memset(w->ha, 0xaa, HANDLE_LEN);
  memset(w->hb, 0xbb, HANDLE_LEN);
  for (int i = 0; i < 2; i++) {
    struct quic_config cfg = {.rng = &w->rnd.rng, .tls = tls[i]};
    struct side *s = &w->v[i];

    s->addr = test_addr(i ? "10.0.0.2:1000" : "10.0.0.1:1000");
    s->q = quic_new(&cfg);
    assert_int_equal(pool_init(&s->pool, POOL), 0);
    s->path = path_new(s->q, &s->pool, &w->rnd.rng, &events, s);
  }
  w->a = &w->v[0];
  w->b = &w->v[1];
  assert_int_equal(path_listen(w->b->path, w->hb, w->ha, 2 * w->delay, w->now),
                   0);
  dial(w);
  run(w, SEC);
  assert_int_equal(w->a->n_live + w->b->n_live, 2);
  return w;
}

static void world_free(struct world *w) {
  for (int i = 0; i < 2; i++) {
    struct side *s = &w->v[i];

    path_free(s->path, w->now);
    for (size_t k = 0; k < s->n_flows; k++) assert_null(s->flows[k].s);
    quic_free(s->q);
    pool_done(&s->pool);
  }
  free(w->wire);
  free(w);
}

static void send_packets(struct world *w, struct side *s, int n, size_t len) {
  struct pkt *k;

  while (n-- && (k = pool_get(&s->pool))) {
    memset(pkt_data(k), 0xf0, len);
    k->len = (uint16_t)len;
    path_send_packet(s->path, 2, k, w->now);
  }
}

static uint64_t mbit(uint64_t bytes, uint64_t ns) {
  return bytes * 8 * 1000 / ns;
}

/* --- bytes --- */

static void bytes_go_both_ways_and_the_stream_closes(void **state) {
  struct world *w = world_new();
  struct flow *f = flow_open(w->a), *g = &w->b->flows[0];

  flow_send(f, 1000000, true);
  run(w, 50 * MS);
  assert_int_equal(w->b->n_flows, 1);
  flow_send(g, 700000, true);
  run(w, 2 * SEC);
  assert_int_equal(g->got, 1000000);
  assert_int_equal(f->got, 700000);
  assert_true(f->end_got && g->end_got);
  assert_int_equal(f->acked, 1000000);
  assert_int_equal(g->acked, 700000);
  assert_true(f->closed && g->closed);
  assert_int_equal(f->n_gone + g->n_gone, 2);
  world_free(w);
}

static void half_a_stream_may_end_first(void **state) {
  struct world *w = world_new();
  struct flow *f = flow_open(w->a), *g = &w->b->flows[0];

  flow_send(f, 0, true); /* no byte, only the end */
  run(w, 5 * SEC);
  assert_true(g->end_got);
  assert_int_equal(f->n_gone + g->n_gone, 0);
  flow_send(g, 100000, true);
  run(w, SEC);
  assert_int_equal(f->got, 100000);
  assert_true(f->closed && g->closed);
  world_free(w);
}

static void loss_costs_no_byte(void **state) {
  struct world *w = world_new();
  struct flow *f = flow_open(w->a);

  w->loss = 0.05;
  flow_send(f, 3000000, true);
  run(w, 10 * SEC);
  assert_int_equal(w->b->flows[0].got, 3000000);
  assert_int_equal(f->acked, 3000000);
  world_free(w);
}

/* --- turns --- */

static void sixteen_streams_get_equal_shares(void **state) {
  struct world *w = world_new();
  uint64_t least = UINT64_MAX, most = 0;

  for (int i = 0; i < 16; i++) flow_bulk(w->a);
  run(w, 3 * SEC);
  for (int i = 0; i < 16; i++) {
    uint64_t n = w->a->flows[i].sent;

    if (n < least) least = n;
    if (n > most) most = n;
  }
  assert_in_range(mbit(least * 16, 3 * SEC), 30, 50);
  assert_true(most - least < 10000 + least / 50);
  world_free(w);
}

/* No more of anything else leaves before it. */
static void strokes(struct world *w, struct flow *key, uint64_t more) {
  for (int i = 0; i < 50; i++) {
    uint64_t before = n_left(w->a);

    flow_send(key, 1, false);
    for (int k = 0; k < 10 && key->sent < key->to_send; k++) run(w, 20 * MS);
    assert_int_equal(key->sent, key->to_send);
    assert_in_range(key->after, before, before + more);
    run(w, 10 * MS);
  }
}

static void a_key_stroke_does_not_wait_for_downloads(void **state) {
  struct world *w = world_new();
  struct flow *key = flow_open(w->a);

  for (int i = 0; i < 5; i++) flow_bulk(w->a);
  run(w, 500 * MS);
  strokes(w, key, 0);
  world_free(w);
}

static void nor_for_datagrams(void **state) {
  struct world *w = world_new();
  struct flow *key = flow_open(w->a);

  w->rate = 2 * MBIT;
  send_packets(w, w->a, 400, 1200);
  run(w, 100 * MS);
  strokes(w, key, 1); /* in the same packet */
  world_free(w);
}

static void a_datagram_does_not_wait_for_streams(void **state) {
  struct world *w = world_new();

  for (int i = 0; i < 5; i++) flow_bulk(w->a);
  run(w, 500 * MS);
  for (int i = 0; i < 50; i++) {
    w->a->datagrams_before = path_stats(w->a->path)->n_packets_out;
    w->a->until_datagram = 0;
    w->a->datagram_waits = true;
    send_packets(w, w->a, 1, 100);
    run(w, 30 * MS);
    assert_false(w->a->datagram_waits);
    assert_in_range(w->a->until_datagram, 0, 1);
  }
  assert_int_equal(w->b->n_packets, 50);
  world_free(w);
}

static void bulk_of_both_kinds_shares_the_path(void **state) {
  struct world *w = world_new();
  struct flow *f = flow_bulk(w->a);
  uint64_t stream, dgrams;

  for (int i = 0; i < 300; i++) {
    send_packets(w, w->a, 60, 1280);
    run(w, 10 * MS);
  }
  stream = f->sent;
  dgrams = path_stats(w->a->path)->n_bytes_out;
  assert_in_range(mbit(stream + dgrams, 3 * SEC), 35, 50);
  assert_in_range(stream * 100 / (stream + dgrams), 35, 65);
  world_free(w);
}

/* --- windows --- */

static void a_reader_that_sleeps_stops_its_sender_only(void **state) {
  struct world *w = world_new();
  json_t *msg = json_object();
  struct flow *f;

  for (int i = 0; i < 30; i++) {
    f = flow_open(w->a);
    flow_send(f, 1, false);
    run(w, 50 * MS);
    w->b->flows[i].sleeps = true;
    flow_send(f, 10000000, true);
  }
  run(w, 5 * SEC);
  for (int i = 0; i < 30; i++)
    assert_in_range(w->a->flows[i].sent, 100000, 128 * 1024 + 1);
  f = flow_open(w->a);
  flow_send(f, 5000000, true);
  run(w, 3 * SEC);
  assert_int_equal(w->b->flows[30].got, 5000000);
  assert_int_equal(path_send(w->a->path, msg), 0);
  run(w, SEC);
  assert_int_equal(w->b->n_messages, 1);
  for (int i = 0; i < 30; i++) flow_credit(&w->b->flows[i]);
  w->rate = 500 * MBIT;
  run(w, 20 * SEC);
  for (int i = 0; i < 30; i++) assert_int_equal(w->b->flows[i].got, 10000001);
  json_decref(msg);
  world_free(w);
}

/* 200 Mbit/s and 40 ms want 1 MB on the way; 128 KB were 26 Mbit/s. */
static void a_window_grows_with_what_the_path_carries(void **state) {
  struct world *w = world_new();
  uint64_t before;

  w->delay = 20 * MS;
  w->rate = 200 * MBIT;
  flow_bulk(w->a);
  run(w, 3 * SEC);
  before = w->b->flows[0].got;
  run(w, 3 * SEC);
  assert_in_range(mbit(w->b->flows[0].got - before, 3 * SEC), 140, 200);
  /* and not further: */
  w->b->flows[0].sleeps = true;
  run(w, 3 * SEC);
  assert_in_range(w->b->flows[0].owed, 500000, 2048 * 1024);
  world_free(w);
}

/* --- ends --- */

static void who_resets_hears_no_more_and_the_other_is_told(void **state) {
  for (int which = 0; which < 2; which++) {
    struct world *w = world_new();
    struct flow *f = flow_bulk(w->a), *g = &w->b->flows[0], *by, *other;

    run(w, 300 * MS);
    flow_send(g, ENDLESS, false);
    run(w, 300 * MS);
    by = which ? g : f;
    other = which ? f : g;
    reset(by, REASON_BACKEND_REFUSED);
    run(w, SEC);
    assert_int_equal(by->n_reset + by->n_stop + by->n_gone, 0);
    assert_int_equal(other->n_reset, 1);
    assert_int_equal(other->n_stop, 1);
    assert_int_equal(other->code, REASON_BACKEND_REFUSED);
    assert_int_equal(other->n_gone, 1);
    assert_false(other->closed);
    assert_int_equal(w->a->n_end + w->b->n_end, 0);
    world_free(w);
  }
}

static void a_stream_that_nobody_takes_is_refused(void **state) {
  struct world *w = world_new();
  struct flow *f = flow_bulk(w->a);

  w->b->refuses = true;
  run(w, SEC);
  assert_int_equal(f->n_stop, 1);
  assert_int_equal(f->n_reset, 1);
  assert_int_equal(f->code, REASON_UNSUPPORTED_VERSION);
  assert_int_equal(f->n_gone, 1);
  assert_false(f->closed);
  assert_int_equal(w->b->n_flows, 0);
  world_free(w);
}

static void only_agents_open_streams(void **state) {
  struct world *w = world_new();

  assert_null(flow_open(w->b));
  world_free(w);
}

static void a_stream_may_be_reset_out_of_its_callbacks(void **state) {
  for (int in_sent = 0; in_sent < 2; in_sent++) {
    struct world *w = world_new();
    struct flow *f = flow_open(w->a), *g = flow_bulk(w->a);

    f->reset_in_out = !in_sent;
    f->reset_in_sent = in_sent;
    flow_send(f, 100000, false);
    run(w, SEC);
    assert_null(f->s);
    assert_true(g->sent > 1000000);
    world_free(w);
  }
}

static void a_forgotten_stream_ends_by_itself(void **state) {
  struct world *w = world_new();
  struct flow *f = flow_open(w->a), *g = &w->b->flows[0];

  flow_send(f, 1000, false);
  run(w, SEC);
  assert_int_equal(f->acked, 1000);
  stream_forget(f->s);
  f->s = NULL;
  run(w, SEC);
  assert_true(g->end_got);
  flow_send(g, 3000000, true); /* thrown away */
  run(w, 3 * SEC);
  assert_int_equal(f->got, 0);
  assert_true(g->closed);
  world_free(w);
}

static void no_more_than_are_allowed_and_closed_ones_come_back(void **state) {
  struct world *w = world_new();
  int n = 0;

  w->a->n_allowed = 0; /* said with the handshake */
  while (flow_open(w->a)) {
    flow_send(&w->a->flows[n], 1, false);
    n++;
  }
  assert_int_equal(n, PATH_STREAMS - 1); /* and the control stream */
  run(w, SEC);
  assert_int_equal(w->b->n_flows, n);
  assert_null(flow_open(w->a));
  assert_int_equal(w->a->n_allowed, 0);
  for (int i = 0; i < 20; i++) reset(&w->a->flows[i], REASON_IDLE);
  run(w, SEC);
  assert_true(w->a->n_allowed > 0);
  for (int i = 0; i < 20; i++) assert_non_null(flow_open(w->a));
  assert_null(flow_open(w->a));
  world_free(w);
}

static void with_the_connection_every_stream_is_gone(void **state) {
  for (int how = 0; how < 3; how++) {
    struct world *w = world_new();

    for (int i = 0; i < 10; i++) flow_bulk(w->a);
    run(w, 300 * MS);
    assert_int_equal(w->b->n_flows, 10);
    if (how == 0) path_close(w->a->path, REASON_DRAINING);
    if (how == 1) path_close(w->b->path, REASON_DRAINING);
    if (how == 2) dial(w); /* replaced */
    run(w, SEC);
    for (int i = 0; i < 2; i++)
      for (int k = 0; k < 10; k++) {
        assert_int_equal(w->v[i].flows[k].n_gone, 1);
        assert_false(w->v[i].flows[k].closed);
      }
    if (how == 2) flow_bulk(w->a);
    if (how != 2) assert_null(flow_open(w->a));
    run(w, SEC);
    assert_int_equal(w->b->n_flows, how == 2 ? 11 : 10);
    assert_true(how != 2 || w->b->flows[10].got > 1000000);
    world_free(w);
  }
}

static void a_busy_stream_allocates_nothing(void **state) {
  struct world *w = world_new();
  uint64_t before, got;

  flow_bulk(w->a);
  run(w, 20 * SEC); /* warm up: ngtcp2 keeps the most it ever needed */
  before = quic_allocations();
  got = w->b->flows[0].got;
  run(w, 5 * SEC);
  assert_true(w->b->flows[0].got - got > 20000000);
  assert_in_range(quic_allocations() - before, 0, 10);
  world_free(w);
}

/* --- paths that become narrow, silent, dead --- */

static void carried_on(struct world *w, struct flow *from, struct flow *to) {
  uint64_t got;

  run(w, 3 * SEC);
  w->mtu = 1250;
  run(w, 2 * SEC);
  got = to->got;
  run(w, 2 * SEC);
  assert_in_range(mbit(to->got - got, 2 * SEC), 30, 50);
  w->mtu = 1500;
  run(w, 20 * SEC);
  got = to->got;
  run(w, 2 * SEC);
  assert_in_range(mbit(to->got - got, 2 * SEC), 40, 50);
  assert_true(quic_dgram_max(path_conn(from->side->path)) > 1250);
  assert_int_equal(w->a->n_end + w->b->n_end, 0);
  world_free(w);
}

static void a_bulk_goes_on_when_the_path_becomes_narrow(void **state) {
  struct world *w = world_new();
  struct flow *f = flow_bulk(w->a);

  carried_on(w, f, &w->b->flows[0]);
}

static void and_so_does_a_download(void **state) {
  struct world *w = world_new();
  struct flow *f = flow_open(w->a), *g = &w->b->flows[0];

  flow_send(f, 1, false);
  run(w, SEC);
  flow_send(g, ENDLESS, false);
  carried_on(w, g, f);
}

/* Small bytes that arrive do not hide that the big ones do not. */
static void and_one_beside_key_strokes(void **state) {
  struct world *w = world_new();
  struct flow *key = flow_open(w->a), *bulk = flow_bulk(w->a);
  uint64_t sent;

  run(w, SEC);
  w->mtu = 1250;
  for (int i = 0; i < 200; i++) {
    flow_send(key, 1, false);
    run(w, 10 * MS);
  }
  sent = bulk->acked;
  for (int i = 0; i < 200; i++) {
    flow_send(key, 1, false);
    run(w, 10 * MS);
  }
  assert_in_range(mbit(bulk->acked - sent, 2 * SEC), 30, 50);
  world_free(w);
}

static void silence_is_seen_when_only_streams_use_the_path(void **state) {
  struct world *w = world_new();

  flow_bulk(w->a);
  for (int i = 0; i < 30; i++) {
    run(w, 100 * MS);
    assert_false(path_is_silent(w->a->path, w->now));
  }
  w->cut = true;
  run(w, 500 * MS);
  assert_true(path_is_silent(w->a->path, w->now));
  world_free(w);
}

static void a_bulk_goes_on_within_a_second_after_20_s_of_nothing(void **state) {
  for (int down = 0; down < 2; down++) {
    struct world *w = world_new();
    struct flow *f = flow_open(w->a), *from = f, *to;
    uint64_t got;

    flow_send(f, 1, false);
    run(w, SEC);
    to = &w->b->flows[0];
    if (down) from = to, to = f;
    flow_send(from, ENDLESS, false);
    run(w, 3 * SEC);
    w->cut = true;
    for (int i = 0; i < 100; i++) {
      run(w, 200 * MS);
      path_probe(w->a->path, w->now);
    }
    w->cut = false;
    got = to->got;
    for (int i = 0; i < 5; i++) {
      run(w, 200 * MS);
      path_probe(w->a->path, w->now);
    }
    assert_true(to->got - got > 100000);
    got = to->got;
    run(w, SEC);
    assert_in_range(mbit(to->got - got, SEC), 25, 50);
    world_free(w);
  }
}

static int64_t test_time(void) { return NOW; }

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(bytes_go_both_ways_and_the_stream_closes),
      TEST(half_a_stream_may_end_first),
      TEST(loss_costs_no_byte),
      TEST(sixteen_streams_get_equal_shares),
      TEST(a_key_stroke_does_not_wait_for_downloads),
      TEST(nor_for_datagrams),
      TEST(a_datagram_does_not_wait_for_streams),
      TEST(bulk_of_both_kinds_shares_the_path),
      TEST(a_reader_that_sleeps_stops_its_sender_only),
      TEST(a_window_grows_with_what_the_path_carries),
      TEST(who_resets_hears_no_more_and_the_other_is_told),
      TEST(a_stream_that_nobody_takes_is_refused),
      TEST(only_agents_open_streams),
      TEST(a_stream_may_be_reset_out_of_its_callbacks),
      TEST(a_forgotten_stream_ends_by_itself),
      TEST(no_more_than_are_allowed_and_closed_ones_come_back),
      TEST(with_the_connection_every_stream_is_gone),
      TEST(a_busy_stream_allocates_nothing),
      TEST(a_bulk_goes_on_when_the_path_becomes_narrow),
      TEST(and_so_does_a_download),
      TEST(and_one_beside_key_strokes),
      TEST(silence_is_seen_when_only_streams_use_the_path),
      TEST(a_bulk_goes_on_within_a_second_after_20_s_of_nothing),
  };
  static const char *const services[] = {"web", NULL};
  struct seeded rnd;
  int rc;

  seeded_init(&rnd, 1);
  for (size_t i = 0; i < BUF; i++)
    pattern[i] = pattern[BUF + i] = (uint8_t)(i * 7 + i / 256 * 31);
  tls_global_init(&rnd.rng, test_time);
  pki = pki_new("example.org", NOW);
  tls[0] = pki_tls(pki, ROLE_AGENT, "laptop", services);
  tls[1] = pki_tls(pki, ROLE_CONNECTOR, "dc", services);
  rc = cmocka_run_group_tests(tests, NULL, NULL);
  for (int i = 0; i < 2; i++) tls_free(tls[i]);
  pki_free(pki);
  tls_global_done();
  return rc;
}
