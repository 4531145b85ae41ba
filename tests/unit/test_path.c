/* test_path.c - a path at each of two endpoints, a third endpoint that should
 * not be there, and a wire between them with a delay, loss and an MTU. */
#include "unit/unit.h"

#include "base/time.h"
#include "codec/wire.h"
#include "role/path.h"
#include "sim/pki.h"
#include "sim/seeded.h"

enum { NOW = 1700000000, WIRE = 8192, POOL = 4096, SIDES = 3 };

struct packet {
  uint64_t at;
  struct ztna_addr from, to;
  size_t len;
  uint8_t data[1500];
};

/* An endpoint with a path, or with a connection that speaks rubbish. */
struct side {
  struct quic *q;
  struct ztna_addr addr;
  struct pool pool;
  struct path *path;
  int refuse;   /* on_check says so */
  int close_at; /* path_close out of this message's callback */
  int n_live, n_end, n_refused, n_messages;
  struct quic_end end, refused;
  size_t last_size; /* of a message */
  int n_packets, n_by_size[PKT_ROOM + 1];
  uint64_t context;
  struct path_stats before;

  struct quic_conn *raw; /* ready */
  const uint8_t *to_send;
  size_t to_send_len;
  const uint8_t *dgram;
  size_t dgram_len;
};

struct world {
  struct seeded rnd;
  struct side v[SIDES], *a, *b, *c; /* agent, connector, intruder */
  struct packet *wire;              /* ring */
  size_t first, n_wire;
  uint64_t now, delay;
  double loss;
  size_t mtu; /* UDP payload */
  uint64_t n_too_big;
  bool cut;
  uint8_t ha[HANDLE_LEN], hb[HANDLE_LEN];
};

static struct pki *pki;
static struct tls *tls[SIDES];

/* --- what is sent: its bytes follow from its length --- */

static void pattern(uint8_t *to, size_t len) {
  for (size_t i = 0; i < len; i++)
    to[i] = (uint8_t)(len * 31 + i * 7 + i / 256);
  to[0] = 0xf0; /* no IP, so that nobody marks it */
}

static bool send_packet(struct world *w, struct side *s, size_t len) {
  struct pkt *k = pool_get(&s->pool);

  if (!k) return false;
  k->len = (uint16_t)len;
  pattern(pkt_data(k), len);
  path_send_packet(s->path, 2, k, w->now);
  return true;
}

/* A message of exactly so many bytes, 2 or at least 20. */
static json_t *message(int n, size_t size) {
  char *pad = calloc(1, size + 1);
  json_t *j = json_object();

  if (size > 2) {
    char number[16];

    snprintf(number, sizeof(number), "%08d", n);
    json_object_set_new(j, "n", json_string(number));
    memset(pad, 'x', size - strlen("{\"n\":\"00000000\",\"\":\"\"}"));
    json_object_set_new(j, "", json_string(pad));
  }
  free(pad);
  assert_int_equal(json_dumpb(j, NULL, 0, JSON_COMPACT), size);
  return j;
}

static int send_message(struct side *s, int n, size_t size) {
  json_t *j = message(n, size);
  int rc = path_send(s->path, j);

  json_decref(j);
  return rc;
}

/* --- what a path says --- */

static int on_check(struct path *p, void *ud, const struct identity *peer) {
  struct side *s = ud;

  if (s->refuse) return s->refuse;
  return strcmp(peer->name, "laptop") && strcmp(peer->name, "dc")
             ? REASON_IDENTITY_MISMATCH
             : 0;
}

static void on_live(struct path *p, void *ud) {
  assert_true(path_is_live(p));
  ((struct side *)ud)->n_live++;
}

static int on_message(struct path *p, void *ud, json_t *msg) {
  struct side *s = ud;
  const char *n = json_string_value(json_object_get(msg, "n"));

  if (n) assert_int_equal(atoi(n), s->n_messages); /* in order */
  s->n_messages++;
  s->last_size = json_dumpb(msg, NULL, 0, JSON_COMPACT);
  if (s->close_at == s->n_messages) path_close(p, REASON_REVOKED);
  return json_object_get(msg, "bad") ? ZTNA_EMALFORMED : 0;
}

static void on_packet(struct path *p, void *ud, uint64_t context,
                      const uint8_t *ip, size_t len) {
  struct side *s = ud;
  uint8_t want[PKT_ROOM];

  assert_in_range(len, 1, PKT_ROOM);
  pattern(want, len);
  assert_memory_equal(ip, want, len);
  s->context = context;
  s->n_packets++;
  s->n_by_size[len]++;
}

static void on_end(struct path *p, void *ud, const struct quic_end *why) {
  struct side *s = ud;

  assert_false(path_is_live(p));
  s->n_end++;
  s->end = *why;
}

static void on_refused(struct path *p, void *ud, const struct quic_end *why) {
  struct side *s = ud;

  s->n_refused++;
  s->refused = *why;
}

static const struct path_events events = {
    .on_check = on_check,
    .on_live = on_live,
    .on_message = on_message,
    .on_packet = on_packet,
    .on_end = on_end,
    .on_refused = on_refused,
};

/* --- a peer that is not ours --- */

static int raw_ready(struct quic_conn *c, void *ud,
                     const struct identity *peer) {
  struct side *s = ud;
  int64_t id;

  s->raw = c;
  return quic_stream_open(c, true, &id);
}

static void raw_end(struct quic_conn *c, void *ud, const struct quic_end *why) {
  struct side *s = ud;

  s->raw = NULL;
  s->n_end++;
  s->end = *why;
}

static int raw_out(struct quic_conn *c, void *ud, int64_t *id, bool *fin,
                   struct quic_vec *v, size_t n) {
  struct side *s = ud;

  *id = s->to_send_len ? 0 : -1;
  v[0] = (struct quic_vec){(uint8_t *)s->to_send, s->to_send_len};
  return *id < 0 ? 0 : 1;
}

static void raw_sent(struct quic_conn *c, void *ud, int64_t id, size_t n) {
  struct side *s = ud;

  s->to_send += n;
  s->to_send_len -= n;
}

static int raw_dgram(struct quic_conn *c, void *ud, size_t max,
                     struct quic_vec v[2], uint64_t *id) {
  struct side *s = ud;

  v[0] = (struct quic_vec){(uint8_t *)s->dgram, s->dgram_len};
  return s->dgram ? 1 : 0;
}

static void raw_dgram_sent(struct quic_conn *c, void *ud) {
  ((struct side *)ud)->dgram = NULL;
}

static const struct quic_ops raw_ops = {
    .alpn = "ztna/1",
    .on_ready = raw_ready,
    .on_end = raw_end,
    .stream_out = raw_out,
    .stream_sent = raw_sent,
    .dgram_out = raw_dgram,
    .dgram_sent = raw_dgram_sent,
};

/* --- the wire --- */

static void put(struct world *w, const struct ztna_addr *from,
                const struct dgram *d) {
  for (uint32_t off = 0; off < d->len; off += d->seg) {
    size_t len = d->len - off < d->seg ? d->len - off : d->seg;
    struct packet *p = &w->wire[(w->first + w->n_wire) % WIRE];

    w->n_too_big += len > w->mtu;
    if (w->cut || len > w->mtu || seeded_unit(&w->rnd) < w->loss ||
        w->n_wire == WIRE)
      continue;
    w->n_wire++;
    p->at = w->now + w->delay;
    p->from = *from;
    p->to = d->remote;
    p->len = len;
    memcpy(p->data, d->data + off, len);
  }
}

static bool drain(struct world *w, struct side *s) {
  struct dgram v[16];
  int n = quic_next(s->q, w->now, v, 16);

  for (int i = 0; i < n; i++) put(w, &s->addr, &v[i]);
  return n > 0;
}

static void deliver(struct world *w) {
  struct packet *p = &w->wire[w->first];

  w->first = (w->first + 1) % WIRE;
  w->n_wire--;
  if (p->at > w->now) w->now = p->at;
  for (int i = 0; i < SIDES; i++)
    if (ztna_addr_equal(&p->to, &w->v[i].addr))
      quic_udp_in(w->v[i].q, w->now, &p->from, &p->to, 0, p->data, p->len);
}

static void run(struct world *w, uint64_t for_ns) {
  uint64_t until = w->now + for_ns;

  for (;;) {
    uint64_t at = NEVER;

    for (int i = 0; i < SIDES; i++)
      while (drain(w, &w->v[i]))
        ;
    for (int i = 0; i < SIDES; i++) {
      at = time_min(at, quic_deadline(w->v[i].q));
      if (w->v[i].path) at = time_min(at, path_deadline(w->v[i].path));
    }
    if (w->n_wire && w->wire[w->first].at <= at) {
      if (w->wire[w->first].at > until) break;
      deliver(w);
      continue;
    }
    if (at > until) break;
    if (at > w->now) w->now = at;
    for (int i = 0; i < SIDES; i++) {
      quic_tick(w->v[i].q, w->now);
      if (w->v[i].path) path_tick(w->v[i].path, w->now);
    }
  }
  w->now = until;
}

/* --- worlds --- */

/* wolfSSL's, which is the process's one */
static struct world *current;

static int64_t test_time(void) {
  return NOW + (current ? (int64_t)(current->now / SEC) : 0);
}

static struct world *world_new(void) {
  struct world *w = current = calloc(1, sizeof(*w));

  seeded_init(&w->rnd, 7);
  w->now = SEC;
  w->delay = 10 * MS;
  w->mtu = 1500;
  w->wire = malloc(WIRE * sizeof(*w->wire));
  memset(w->ha, 0xaa, HANDLE_LEN);
  memset(w->hb, 0xbb, HANDLE_LEN);
  for (int i = 0; i < SIDES; i++) {
    struct quic_config cfg = {.rng = &w->rnd.rng, .tls = tls[i]};
    char text[32];

    snprintf(text, sizeof(text), "10.0.0.%d:1000", i + 1);
    w->v[i].addr = test_addr(text);
    w->v[i].q = quic_new(&cfg);
    assert_int_equal(pool_init(&w->v[i].pool, POOL), 0);
  }
  w->a = &w->v[0];
  w->b = &w->v[1];
  w->c = &w->v[2];
  for (int i = 0; i < SIDES; i++)
    w->v[i].path =
        path_new(w->v[i].q, &w->v[i].pool, &w->rnd.rng, &events, &w->v[i]);
  return w;
}

static void forget(struct world *w, struct side *s) {
  path_free(s->path, w->now);
  s->path = NULL;
}

static void world_free(struct world *w) {
  for (int i = 0; i < SIDES; i++) {
    struct side *s = &w->v[i];

    forget(w, s);
    quic_free(s->q);
    assert_int_equal(s->pool.n_used, 0);
    pool_done(&s->pool);
  }
  free(w->wire);
  current = NULL;
  free(w);
}

static int dial(struct world *w, struct side *s) {
  return path_dial(s->path, &w->b->addr, w->ha, w->hb, 2 * w->delay, w->now);
}

static void listen(struct world *w) {
  assert_int_equal(path_listen(w->b->path, w->hb, w->ha, 2 * w->delay, w->now),
                   0);
}

/* A world in which the path is live. */
static struct world *live_world(void) {
  struct world *w = world_new();

  listen(w);
  assert_int_equal(dial(w, w->a), 0);
  run(w, SEC);
  assert_int_equal(w->a->n_live, 1);
  assert_int_equal(w->b->n_live, 1);
  return w;
}

static void raw_dial(struct world *w, struct side *s) {
  struct quic_dial d = {.remote = w->b->addr,
                        .handle = w->ha,
                        .peer_handle = w->hb,
                        .ops = &raw_ops,
                        .ud = s,
                        .params = {.idle_timeout = 30 * SEC,
                                   .handshake_timeout = 3 * SEC,
                                   .dgrams = true}};

  assert_non_null(quic_dial(s->q, &d, w->now));
}

/* --- messages --- */

static void a_path_opens_and_both_sides_know(void **state) {
  struct world *w = live_world();

  assert_true(path_is_live(w->a->path));
  assert_true(path_is_live(w->b->path));
  assert_string_equal(quic_peer(path_conn(w->b->path))->name, "laptop");
  assert_int_equal(w->a->n_end + w->b->n_end + w->b->n_refused, 0);
  world_free(w);
}

static void exchange(struct world *w, struct side *from, struct side *to) {
  static const size_t sizes[] = {2,     23,    63,    64,   100,   1000,
                                 1199,  1200,  1201,  4096, 16383, 16384,
                                 30000, 65535, 65536, 2,    40,    65536};
  int n = 0;

  for (size_t i = 0; i < N_OF(sizes); i++) {
    int rc;

    while ((rc = send_message(from, n, sizes[i])) == ZTNA_EFULL)
      run(w, 50 * MS);
    assert_int_equal(rc, 0);
    n++;
  }
  run(w, 5 * SEC);
  assert_int_equal(to->n_messages, n);
  assert_int_equal(to->last_size, 65536);
}

static void messages_of_every_size_arrive_in_order(void **state) {
  struct world *w = live_world();

  send_message(w->a, 0, 2); /* the server may answer from here on */
  run(w, SEC);
  w->b->n_messages = 0;
  exchange(w, w->a, w->b);
  exchange(w, w->b, w->a);
  world_free(w);
}

static void loss_costs_no_message(void **state) {
  struct world *w = live_world();

  w->loss = 0.1;
  exchange(w, w->a, w->b);
  w->a->n_messages = 0;
  exchange(w, w->b, w->a);
  world_free(w);
}

static void many_small_messages_arrive_in_order(void **state) {
  struct world *w = live_world();

  w->loss = 0.02;
  for (int n = 0; n < 3000; n++) {
    while (send_message(w->a, n, 23 + (size_t)n % 50) == ZTNA_EFULL)
      run(w, 20 * MS);
    if (n % 100 == 0) run(w, 3 * MS);
  }
  run(w, 5 * SEC);
  assert_int_equal(w->b->n_messages, 3000);
  world_free(w);
}

static void what_waits_to_be_sent_is_bounded(void **state) {
  struct world *w = live_world();
  int n = 0;

  w->cut = true;
  while (n < 100 && send_message(w->a, n, 65536) == 0) n++;
  assert_in_range(n, 2, 8);
  assert_int_equal(send_message(w->a, n, 65536), ZTNA_EFULL);
  w->cut = false;
  run(w, 5 * SEC);
  assert_int_equal(w->b->n_messages, n);
  assert_int_equal(send_message(w->a, n, 65536), 0);
  assert_int_equal(send_message(w->a, n, 65537), ZTNA_ESIZE);
  world_free(w);
}

static void nothing_is_sent_before_it_is_live_or_after(void **state) {
  struct world *w = world_new();

  assert_int_equal(send_message(w->a, 0, 23), ZTNA_ECLOSED);
  assert_int_equal(path_mtu(w->a->path), 0);
  world_free(w);
  w = live_world();
  path_close(w->a->path, REASON_SHUTTING_DOWN);
  run(w, SEC);
  assert_int_equal(send_message(w->a, 0, 23), ZTNA_ECLOSED);
  world_free(w);
}

/* --- messages that are none --- */

static void says_malformed(const uint8_t *bytes, size_t len, int before) {
  struct world *w = world_new();

  listen(w);
  raw_dial(w, w->a);
  w->a->to_send = bytes;
  w->a->to_send_len = len;
  run(w, 2 * SEC);
  assert_int_equal(w->b->n_live, 1);
  assert_int_equal(w->b->n_messages, before);
  assert_int_equal(w->b->n_end, 1);
  assert_int_equal(w->b->end.reason, REASON_MALFORMED);
  assert_false(w->b->end.remote);
  assert_int_equal(w->a->n_end, 1);
  assert_int_equal(w->a->end.reason, REASON_MALFORMED);
  assert_true(w->a->end.remote);
  world_free(w);
}

#define SAYS_MALFORMED(text, before) \
  says_malformed((const uint8_t *)(text), sizeof(text) - 1, before)

static void broken_messages_close_as_malformed(void **state) {
  SAYS_MALFORMED("\0\0\0\x02{]", 0);
  SAYS_MALFORMED("\0\0\0\x02{}\0\0\0\x03{}}", 1);
  SAYS_MALFORMED("\0\0\0\0", 0);
  SAYS_MALFORMED("\0\0\0\x02[]", 0);
  SAYS_MALFORMED("\0\0\0\x04null", 0);
  SAYS_MALFORMED("\0\0\0\x0f{\"a\":1,\"a\":2}  ", 0);
  SAYS_MALFORMED("\0\0\0\x05{\"\xff\":1}", 0);
  SAYS_MALFORMED("\0\0\0\x09{\"bad\":1}", 1);
}

static void a_message_that_is_too_long_closes_before_it_came(void **state) {
  SAYS_MALFORMED("\0\x01\0\x01", 0);
  SAYS_MALFORMED("\xff\xff\xff\xff", 0);
}

static void after_a_close_no_message_is_heard(void **state) {
  static const char two[] = "\0\0\0\x02{}\0\0\0\x02{}\0\0\0\x02{}";
  struct world *w = world_new();

  listen(w);
  raw_dial(w, w->a);
  w->a->to_send = (const uint8_t *)two;
  w->a->to_send_len = sizeof(two) - 1;
  w->b->close_at = 2;
  run(w, SEC);
  assert_int_equal(w->b->n_messages, 2);
  assert_int_equal(w->a->end.reason, REASON_REVOKED);
  world_free(w);
}

/* --- packets --- */

static void every_packet_size(struct world *w, struct side *from,
                              struct side *to) {
  memset(to->n_by_size, 0, sizeof(to->n_by_size));
  for (size_t len = 1; len <= 1280; len++) {
    assert_true(send_packet(w, from, len));
    if (len % 8 == 0) run(w, 25 * MS);
  }
  run(w, SEC);
  for (size_t len = 1; len <= 1280; len++)
    assert_int_equal(to->n_by_size[len], 1);
  assert_int_equal(to->context, 2);
}

static void packets_of_every_size_arrive_whole(void **state) {
  struct world *w = live_world();

  every_packet_size(w, w->a, w->b);
  every_packet_size(w, w->b, w->a);
  assert_int_equal(path_stats(w->a->path)->n_split, 0);
  assert_true(path_mtu(w->a->path) >= 1280);
  world_free(w);
}

static void a_narrow_wire_carries_them_in_two(void **state) {
  struct world *w = world_new();

  w->mtu = 1200;
  listen(w);
  dial(w, w->a);
  run(w, SEC);
  every_packet_size(w, w->a, w->b);
  every_packet_size(w, w->b, w->a);
  assert_in_range(path_stats(w->a->path)->n_split, 100, 130);
  assert_in_range(path_mtu(w->a->path), 1280, PKT_ROOM);
  world_free(w);
}

/* Packets that waited for the handshake go out before PMTUD said anything. */
static void packets_do_not_wait_for_pmtud(void **state) {
  struct world *w = world_new();

  listen(w);
  for (int i = 0; i < 5; i++) send_packet(w, w->a, 1280);
  dial(w, w->a);
  run(w, 3 * w->delay + 5 * MS); /* ready after 2, arrived after 3 */
  assert_true(path_stats(w->a->path)->n_split > 0);
  assert_true(w->b->n_packets > 0);
  run(w, SEC);
  assert_int_equal(w->b->n_by_size[1280], 5);
  world_free(w);
}

static void longer_packets_are_split_or_counted(void **state) {
  struct world *w = live_world();
  size_t most = path_mtu(w->a->path);

  assert_true(most <= PKT_ROOM); /* what the other side can take */
  send_packet(w, w->a, most);
  send_packet(w, w->a, 1500);
  run(w, SEC);
  assert_int_equal(w->b->n_by_size[most], 1);
  assert_int_equal(w->b->n_by_size[1500], 1);
  world_free(w);
}

static void a_lost_half_costs_its_packet_only(void **state) {
  struct world *w = world_new();
  int n = 0;

  w->mtu = 1200;
  listen(w);
  dial(w, w->a);
  run(w, SEC);
  w->loss = 0.1;
  for (int i = 0; i < 3000; i++) {
    n += send_packet(w, w->a, 1200 + (size_t)i % 80);
    run(w, 5 * MS);
  }
  run(w, SEC);
  assert_in_range(w->b->n_packets, n * 7 / 10, n * 9 / 10);
  world_free(w);
}

static void rubbish_in_datagrams_is_counted(void **state) {
  static const struct {
    uint8_t bytes[12];
    size_t len;
  } bad[] = {{{0}, 1},
             {{2}, 1},
             {{0, 9, 9}, 3},
             {{0, 1, 2}, 3},
             {{0, 3, 2, 0, 1, 0x80, 9}, 7}, /* last, index 0 */
             {{0, 3, 2, 0, 1, 0x01, 9}, 7}, /* not last, index 1 */
             {{0, 3, 2, 0, 1, 0x02, 9}, 7}};
  struct world *w = world_new();

  listen(w);
  raw_dial(w, w->a);
  run(w, SEC);
  for (size_t i = 0; i < N_OF(bad); i++) {
    w->a->dgram = bad[i].bytes;
    w->a->dgram_len = bad[i].len;
    quic_wake(w->a->raw);
    run(w, 100 * MS);
    assert_int_equal(path_stats(w->b->path)->drops[REASON_MALFORMED], i + 1);
  }
  assert_int_equal(w->b->n_packets, 0);
  assert_int_equal(w->b->n_end, 0);
  world_free(w);
}

/* `half` 0 or 1 of a packet of 600 bytes. */
static void send_half(struct world *w, int half, uint16_t id) {
  uint8_t bytes[WIRE_FRAGMENT_HEAD + 8 + 300], whole[600];
  struct wire_dgram d = {.type = WIRE_FRAGMENT,
                         .frag_context = 2,
                         .frag_id = id,
                         .frag_index = (uint8_t)half,
                         .frag_last = half};
  size_t n = wire_write_head(bytes, &d);

  pattern(whole, sizeof(whole));
  memcpy(bytes + n, whole + 300 * half, 300);
  w->a->dgram = bytes;
  w->a->dgram_len = n + 300;
  quic_wake(w->a->raw);
  run(w, 50 * MS);
}

static void halves_meet_in_any_order_within_200_ms(void **state) {
  struct world *w = world_new();

  listen(w);
  raw_dial(w, w->a);
  run(w, SEC);
  send_half(w, 0, 1);
  send_half(w, 1, 1);
  assert_int_equal(w->b->n_by_size[600], 1);
  send_half(w, 1, 2);
  send_half(w, 0, 3);
  send_half(w, 0, 2);
  assert_int_equal(w->b->n_by_size[600], 2);
  run(w, 250 * MS); /* the id may be of another packet now */
  send_half(w, 1, 3);
  assert_int_equal(w->b->n_by_size[600], 2);
  send_half(w, 0, 3);
  assert_int_equal(w->b->n_by_size[600], 3);
  send_half(w, 0, 4);
  send_half(w, 0, 4);
  assert_int_equal(path_stats(w->b->path)->drops[REASON_MALFORMED], 1);
  assert_int_equal(w->b->n_packets, 3);
  world_free(w);
}

/* Halves that never meet hold 16 packets of the pool, not more. */
static void halves_without_their_other_are_bounded(void **state) {
  struct world *w = world_new();
  uint8_t half[600];

  listen(w);
  raw_dial(w, w->a);
  run(w, SEC);
  for (int i = 0; i < 100; i++) {
    struct wire_dgram d = {.type = WIRE_FRAGMENT,
                           .frag_context = 2,
                           .frag_id = (uint16_t)i,
                           .frag_index = i & 1,
                           .frag_last = i & 1};

    memset(half, 0, sizeof(half));
    wire_write_head(half, &d);
    w->a->dgram = half;
    w->a->dgram_len = sizeof(half);
    quic_wake(w->a->raw);
    run(w, 20 * MS);
  }
  assert_int_equal(w->b->n_packets, 0);
  assert_in_range(w->b->pool.n_used, 1, 16);
  world_free(w);
}

/* --- a path that becomes narrower --- */

/* Every 10 ms a burst of n packets; how many of 100 arrive? */
static int percent(struct world *w, struct side *from, struct side *to, int n,
                   size_t len, uint64_t for_ns) {
  uint64_t end = w->now + for_ns;
  int sent = 0, before = to->n_packets;

  while (w->now < end) {
    for (int i = 0; i < n; i++) sent += send_packet(w, from, len);
    run(w, 10 * MS);
  }
  run(w, 30 * MS);
  return (to->n_packets - before) * 100 / sent;
}

static void shrink_and_grow(struct side *from, struct side *to, struct world *w,
                            int n, size_t len) {
  uint64_t n_split;

  assert_int_equal(percent(w, from, to, n, len, 3 * SEC), 100);
  assert_int_equal(path_stats(from->path)->n_split, 0);
  w->mtu = 1200;
  percent(w, from, to, n, len, SEC);
  assert_in_range(percent(w, from, to, n, len, 2 * SEC), 97, 100);
  w->mtu = 1500;
  assert_in_range(percent(w, from, to, n, len, 10 * SEC), 97, 100);
  n_split = path_stats(from->path)->n_split;
  assert_in_range(percent(w, from, to, n, len, 2 * SEC), 97, 100);
  assert_int_equal(path_stats(from->path)->n_split, n_split);
  assert_int_equal(w->a->n_live + w->b->n_live, 2);
  assert_int_equal(w->a->n_end + w->b->n_end, 0);
  world_free(w);
}

static void a_flow_goes_on_when_the_wire_becomes_narrow(void **state) {
  struct world *w = live_world();

  shrink_and_grow(w->a, w->b, w, 1, 1280);
}

static void and_so_does_one_from_the_connector(void **state) {
  struct world *w = live_world();

  shrink_and_grow(w->b, w->a, w, 1, 1280);
}

static void and_a_fast_one(void **state) {
  struct world *w = live_world();

  shrink_and_grow(w->a, w->b, w, 8, 1280);
}

/* None is over 1200 bytes, but several share one packet that is. */
static void and_one_of_packets_that_travel_together(void **state) {
  struct world *w = live_world();

  shrink_and_grow(w->a, w->b, w, 6, 400);
}

static void and_one_on_a_path_that_was_never_wide(void **state) {
  struct world *w = world_new();

  w->mtu = 1300;
  listen(w);
  dial(w, w->a);
  run(w, 20 * SEC); /* PMTUD found 1280 */
  assert_int_equal(percent(w, w->a, w->b, 2, 1230, SEC), 100);
  assert_int_equal(path_stats(w->a->path)->n_split, 0);
  w->mtu = 1200;
  percent(w, w->a, w->b, 2, 1230, SEC);
  assert_in_range(percent(w, w->a, w->b, 2, 1230, 3 * SEC), 97, 100);
  w->mtu = 1300;
  percent(w, w->a, w->b, 2, 1230, 8 * SEC);
  memcpy(&w->a->before, path_stats(w->a->path), sizeof(w->a->before));
  assert_int_equal(percent(w, w->a, w->b, 2, 1230, SEC), 100);
  assert_int_equal(path_stats(w->a->path)->n_split, w->a->before.n_split);
  assert_int_equal(w->a->n_end + w->b->n_end, 0);
  world_free(w);
}

/* What the other side is to be told shares the packet with what nearly fills
 * it. */
static void and_one_in_each_direction(void **state) {
  struct world *w = live_world();
  uint64_t lost = 0;
  int n[2] = {0};

  w->mtu = 1200;
  for (int i = 0; i < 400; i++) {
    if (i == 200) n[0] = w->a->n_packets, n[1] = w->b->n_packets;
    if (i == 200) lost = w->n_too_big;
    for (int k = 0; k < 3; k++) {
      send_packet(w, w->a, 1130 + (size_t)i % 40);
      send_packet(w, w->b, 1130 + (size_t)i % 40);
    }
    run(w, 7 * MS);
  }
  run(w, SEC);
  assert_in_range(w->a->n_packets - n[0], 590, 640);
  assert_in_range(w->b->n_packets - n[1], 590, 640);
  assert_in_range(w->n_too_big - lost, 0, 8); /* probes only */
  world_free(w);
}

/* Loss that strikes small and big alike: the size is tried again at once. */
static void loss_alone_does_not_make_a_path_narrow_for_long(void **state) {
  struct world *w = live_world();

  w->loss = 0.2;
  percent(w, w->a, w->b, 2, 1280, 10 * SEC);
  w->loss = 0;
  percent(w, w->a, w->b, 2, 1280, 5 * SEC);
  memcpy(&w->a->before, path_stats(w->a->path), sizeof(w->a->before));
  assert_int_equal(percent(w, w->a, w->b, 2, 1280, SEC), 100);
  assert_int_equal(path_stats(w->a->path)->n_split, w->a->before.n_split);
  world_free(w);
}

/* --- silence --- */

static void a_path_that_falls_silent_says_so(void **state) {
  struct world *w = live_world();

  percent(w, w->a, w->b, 1, 100, SEC);
  run(w, SEC);
  assert_false(path_is_silent(w->a->path, w->now));
  w->cut = true;
  send_packet(w, w->a, 100);
  run(w, 150 * MS);
  assert_false(path_is_silent(w->a->path, w->now));
  run(w, 150 * MS);
  assert_true(path_is_silent(w->a->path, w->now));
  run(w, 5 * SEC);
  assert_true(path_is_silent(w->a->path, w->now));
  w->cut = false;
  path_probe(w->a->path, w->now);
  run(w, 20 * SEC); /* QUIC has backed off */
  assert_false(path_is_silent(w->a->path, w->now));
  assert_int_equal(w->a->n_end, 0);
  world_free(w);
}

static void an_idle_path_is_not_silent(void **state) {
  struct world *w = live_world();

  for (int i = 0; i < 100; i++) {
    run(w, SEC);
    assert_false(path_is_silent(w->a->path, w->now));
    assert_false(path_is_silent(w->b->path, w->now));
    assert_true(path_silent_since(w->a->path) == NEVER);
  }
  assert_int_equal(w->a->n_end + w->b->n_end, 0);
  world_free(w);
}

static void a_probe_finds_out_on_an_idle_path(void **state) {
  struct world *w = live_world();

  run(w, 5 * SEC);
  path_probe(w->a->path, w->now);
  run(w, SEC);
  assert_false(path_is_silent(w->a->path, w->now));
  w->cut = true;
  path_probe(w->a->path, w->now);
  run(w, 300 * MS);
  assert_true(path_is_silent(w->a->path, w->now));
  world_free(w);
}

static void missed(struct world *w) {
  run(w, 400 * MS);
  assert_false(path_fell_quiet(w->b->path));
  assert_true(path_deadline(w->b->path) <= w->now + 100 * MS);
  run(w, 200 * MS);
  assert_true(path_fell_quiet(w->b->path));
  assert_false(path_fell_quiet(w->b->path));
  assert_true(path_deadline(w->b->path) >=
              quic_expires_at(path_conn(w->b->path)));
}

static void packets_that_stop_coming_are_missed_once(void **state) {
  struct world *w = live_world();

  run(w, SEC);
  assert_false(path_fell_quiet(w->b->path));
  for (int i = 0; i < 100; i++) {
    send_packet(w, w->a, 300);
    run(w, 20 * MS);
    assert_false(path_fell_quiet(w->b->path));
  }
  missed(w);
  run(w, 60 * SEC); /* keep-alives are no packets */
  assert_false(path_fell_quiet(w->b->path));
  send_packet(w, w->a, 300);
  run(w, 20 * MS);
  assert_false(path_fell_quiet(w->b->path));
  missed(w);
  world_free(w);
}

/* Loss is no silence: others arrive. */
static void a_lossy_path_is_not_silent(void **state) {
  struct world *w = live_world();

  w->loss = 0.2;
  for (int i = 0; i < 1000; i++) {
    send_packet(w, w->a, 300);
    run(w, 10 * MS);
    assert_false(path_is_silent(w->a->path, w->now));
  }
  world_free(w);
}

/* --- who may come --- */

static void
a_new_dial_replaces_the_live_connection_without_an_end(void **state) {
  struct world *w = live_world();
  struct quic_conn *was = path_conn(w->a->path);

  assert_int_equal(dial(w, w->a), 0);
  assert_true(path_is_live(w->a->path));
  run(w, 2 * SEC);
  assert_int_equal(w->a->n_live, 2);
  assert_int_equal(w->b->n_live, 2);
  assert_int_equal(w->a->n_end + w->b->n_end + w->b->n_refused, 0);
  assert_ptr_not_equal(path_conn(w->a->path), was);
  send_message(w->a, 0, 50);
  every_packet_size(w, w->a, w->b);
  assert_int_equal(w->b->n_messages, 1);
  world_free(w);
}

static void traffic_goes_on_while_dialling_anew(void **state) {
  struct world *w = live_world();

  for (int i = 0; i < 200; i++) {
    if (i == 50) assert_int_equal(dial(w, w->a), 0);
    send_packet(w, w->a, 500);
    send_packet(w, w->b, 400);
    run(w, 10 * MS);
  }
  run(w, SEC);
  assert_int_equal(w->a->n_live, 2);
  assert_in_range(w->b->n_packets, 195, 200); /* some were under way */
  assert_in_range(w->a->n_packets, 195, 200);
  world_free(w);
}

static void a_dial_after_the_end_works_at_once(void **state) {
  struct world *w = live_world();

  path_close(w->b->path, REASON_DRAINING);
  run(w, 50 * MS);
  assert_int_equal(w->a->n_end, 1);
  assert_int_equal(w->a->end.reason, REASON_DRAINING);
  assert_int_equal(dial(w, w->a), 0);
  run(w, 2 * SEC);
  assert_int_equal(w->a->n_live, 2);
  path_close(w->a->path, REASON_SHUTTING_DOWN);
  run(w, 5 * MS); /* its own tomb is in the way */
  assert_int_equal(w->a->n_end, 2);
  assert_int_equal(dial(w, w->a), 0);
  run(w, 2 * SEC);
  assert_int_equal(w->a->n_live, 3);
  world_free(w);
}

static void dialling_again_while_dialling_works(void **state) {
  struct world *w = world_new();

  w->cut = true;
  listen(w);
  assert_int_equal(dial(w, w->a), 0);
  run(w, 1200 * MS);
  w->cut = false;
  assert_int_equal(dial(w, w->a), 0);
  run(w, 2 * SEC);
  assert_int_equal(w->a->n_live, 1);
  assert_int_equal(w->b->n_live, 1);
  assert_int_equal(w->a->n_end, 0);
  world_free(w);
}

static void a_dial_that_nobody_answers_ends(void **state) {
  struct world *w = world_new();

  assert_int_equal(dial(w, w->a), 0);
  run(w, 5 * SEC);
  assert_int_equal(w->a->n_end, 1);
  assert_false(w->a->end.authenticated);
  world_free(w);
}

static void another_identity_cannot_disturb_a_live_path(void **state) {
  struct world *w = live_world();

  for (int i = 0; i < 3; i++) {
    raw_dial(w, w->c);
    for (int k = 0; k < 200; k++) {
      send_packet(w, w->a, 900);
      send_packet(w, w->b, 900);
      run(w, 10 * MS);
    }
  }
  run(w, SEC);
  assert_int_equal(w->c->n_end, 3);
  assert_int_equal(w->c->end.reason, REASON_IDENTITY_MISMATCH);
  assert_int_equal(w->b->n_refused, 3);
  assert_int_equal(w->b->refused.reason, REASON_IDENTITY_MISMATCH);
  assert_int_equal(w->b->n_packets, 600);
  assert_int_equal(w->a->n_packets, 600);
  assert_int_equal(w->a->n_end + w->b->n_end, 0);
  assert_int_equal(w->a->n_live + w->b->n_live, 2);
  world_free(w);
}

/* Either end's certificate runs out in 100 s; the endpoint of the other says so
 * or hears it, whatever is under way. */
static void a_path_ends_with_the_certificate_of_either_end(void **state) {
  static const char *const services[] = {"web", NULL};

  for (int i = 0; i < 2; i++) {
    struct tls *t =
        pki_tls_at(pki, i ? ROLE_CONNECTOR : ROLE_AGENT, i ? "dc" : "laptop",
                   services, NOW - 900, NOW + 100);
    struct tls *was = tls[i];
    struct world *w;

    tls[i] = t;
    w = live_world();
    for (int k = 0; k < 99; k++) {
      send_packet(w, w->a, 900);
      run(w, SEC);
    }
    assert_int_equal(w->a->n_end + w->b->n_end, 0);
    assert_int_equal(w->b->n_packets, 99);
    run(w, 2 * SEC);
    assert_int_equal(w->a->n_end, 1);
    assert_int_equal(w->b->n_end, 1);
    assert_int_equal(w->a->end.reason, REASON_CERTIFICATE_EXPIRED);
    assert_int_equal(w->b->end.reason, REASON_CERTIFICATE_EXPIRED);
    assert_false(path_is_live(w->a->path));
    assert_false(path_is_live(w->b->path));
    world_free(w);
    tls[i] = was;
    tls_free(t);
  }
}

/* The agent's view: who answers is not the connector it was told of. */
static void a_wrong_peer_is_told_and_forgotten(void **state) {
  struct world *w = world_new();

  w->a->refuse = REASON_IDENTITY_MISMATCH;
  listen(w);
  dial(w, w->a);
  run(w, 2 * SEC);
  assert_int_equal(w->a->n_live, 0);
  assert_int_equal(w->a->n_end, 1);
  assert_int_equal(w->a->end.reason, REASON_IDENTITY_MISMATCH);
  assert_false(path_is_live(w->b->path));
  world_free(w);
}

static void a_goodbye_tells_its_reason_once(void **state) {
  struct world *w = live_world();

  dial(w, w->a); /* is given up, too */
  path_close(w->a->path, REASON_REVOKED);
  run(w, 2 * SEC);
  assert_int_equal(w->a->n_end, 1);
  assert_int_equal(w->b->n_end, 1);
  assert_int_equal(w->b->end.reason, REASON_REVOKED);
  assert_false(path_is_live(w->a->path));
  world_free(w);
}

/* --- bounds --- */

static void the_queue_keeps_its_bound(void **state) {
  struct world *w = live_world();
  const struct fq_stats *s;

  w->cut = true;
  for (int i = 0; i < 2000; i++) assert_true(send_packet(w, w->a, 1280));
  assert_in_range(w->a->pool.n_used * 1280, PATH_QUEUE - 1280, PATH_QUEUE);
  s = path_queue_stats(w->a->path);
  assert_int_equal(s->n_in, 2000);
  assert_true(s->n_full_drops > 1500);
  w->cut = false;
  run(w, 5 * SEC);
  assert_int_equal(w->a->pool.n_used, 0);
  assert_true(w->b->n_packets > 0);
  world_free(w);
}

/* The pool is everybody's: one path that stands may not take it all. */
static void small_packets_do_not_take_the_whole_pool(void **state) {
  struct world *w = world_new();

  for (int i = 0; i < 2 * POOL; i++) assert_true(send_packet(w, w->a, 1));
  assert_in_range(w->a->pool.n_used, 256, POOL / 2);
  world_free(w);
}

/* --- every end --- */

static void a_path_may_be_freed_at_any_time(void **state) {
  for (int which = 0; which < 2; which++)
    for (uint64_t t = 0; t <= 120; t += 5) {
      struct world *w = world_new();

      listen(w);
      dial(w, w->a);
      for (int i = 0; i < 3; i++) send_packet(w, w->a, 1280);
      run(w, t * MS);
      for (int i = 0; i < 3; i++) {
        send_message(w->a, i, 5000);
        send_packet(w, w->b, 1280);
        send_packet(w, w->a, 1280);
      }
      if (t % 2) path_close(w->v[which].path, REASON_DRAINING);
      if (t % 3 == 0) dial(w, w->a);
      if (t % 4 == 0) run(w, MS);
      forget(w, &w->v[which]);
      run(w, 2 * SEC);
      assert_false(w->v[!which].path && path_is_live(w->v[!which].path) &&
                   !which);
      world_free(w);
    }
}

static void the_endpoint_may_go_first(void **state) {
  struct world *w = live_world();

  quic_free(w->a->q);
  assert_int_equal(w->a->n_end, 1);
  assert_false(path_is_live(w->a->path));
  w->a->q = NULL;
  forget(w, w->a);
  world_free(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_path_opens_and_both_sides_know),
      TEST(messages_of_every_size_arrive_in_order),
      TEST(loss_costs_no_message),
      TEST(many_small_messages_arrive_in_order),
      TEST(what_waits_to_be_sent_is_bounded),
      TEST(nothing_is_sent_before_it_is_live_or_after),
      TEST(broken_messages_close_as_malformed),
      TEST(a_message_that_is_too_long_closes_before_it_came),
      TEST(after_a_close_no_message_is_heard),
      TEST(packets_of_every_size_arrive_whole),
      TEST(a_narrow_wire_carries_them_in_two),
      TEST(packets_do_not_wait_for_pmtud),
      TEST(longer_packets_are_split_or_counted),
      TEST(a_lost_half_costs_its_packet_only),
      TEST(rubbish_in_datagrams_is_counted),
      TEST(halves_meet_in_any_order_within_200_ms),
      TEST(halves_without_their_other_are_bounded),
      TEST(a_flow_goes_on_when_the_wire_becomes_narrow),
      TEST(and_so_does_one_from_the_connector),
      TEST(and_a_fast_one),
      TEST(and_one_of_packets_that_travel_together),
      TEST(and_one_on_a_path_that_was_never_wide),
      TEST(and_one_in_each_direction),
      TEST(loss_alone_does_not_make_a_path_narrow_for_long),
      TEST(a_path_that_falls_silent_says_so),
      TEST(an_idle_path_is_not_silent),
      TEST(a_probe_finds_out_on_an_idle_path),
      TEST(packets_that_stop_coming_are_missed_once),
      TEST(a_lossy_path_is_not_silent),
      TEST(a_new_dial_replaces_the_live_connection_without_an_end),
      TEST(traffic_goes_on_while_dialling_anew),
      TEST(a_dial_after_the_end_works_at_once),
      TEST(dialling_again_while_dialling_works),
      TEST(a_dial_that_nobody_answers_ends),
      TEST(another_identity_cannot_disturb_a_live_path),
      TEST(a_path_ends_with_the_certificate_of_either_end),
      TEST(a_wrong_peer_is_told_and_forgotten),
      TEST(a_goodbye_tells_its_reason_once),
      TEST(the_queue_keeps_its_bound),
      TEST(small_packets_do_not_take_the_whole_pool),
      TEST(a_path_may_be_freed_at_any_time),
      TEST(the_endpoint_may_go_first),
  };
  static const char *const services[] = {"web", NULL};
  struct seeded rnd;
  int rc;

  seeded_init(&rnd, 1);
  tls_global_init(&rnd.rng, test_time);
  pki = pki_new("example.org", NOW);
  tls[0] = pki_tls(pki, ROLE_AGENT, "laptop", services);
  tls[1] = pki_tls(pki, ROLE_CONNECTOR, "dc", services);
  tls[2] = pki_tls(pki, ROLE_AGENT, "intruder", services);
  rc = cmocka_run_group_tests(tests, NULL, NULL);
  for (int i = 0; i < SIDES; i++) tls_free(tls[i]);
  pki_free(pki);
  tls_global_done();
  return rc;
}
