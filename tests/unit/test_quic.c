/* test_quic.c - two QUIC endpoints and an in-memory wire. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/time.h"
#include "sim/pki.h"
#include "sim/seeded.h"
#include "transport/quic.h"

enum { NOW = 1700000000, WIRE = 4096 };

struct packet {
  uint64_t at;
  struct ztna_addr from, to;
  size_t len;
  uint8_t data[1500];
};

struct side {
  struct quic *q;
  struct quic_conn *conn; /* ready */
  struct ztna_addr addr;
  int n_ready, n_end, n_dgrams, refuse;
  struct quic_end end;
  size_t got; /* stream bytes */
  int64_t stream;
  size_t to_send;
  bool blocked;
  int dgrams_to_send;
  size_t dgram_len;
  uint8_t last[1500];
  size_t last_len;
};

struct world {
  struct seeded rnd;
  struct pki *pki;
  struct tls *tls_a, *tls_b;
  struct side a, b; /* client, server */
  struct packet *wire;
  size_t n_wire;
  uint64_t now;
  double loss;
  uint8_t ha[HANDLE_LEN], hb[HANDLE_LEN];
};

static uint8_t payload[65536];

static int on_ready(struct quic_conn *c, void *ud,
                    const struct identity *peer) {
  struct side *s = ud;

  if (s->refuse) return s->refuse;
  s->conn = c;
  s->n_ready++;
  if (!quic_is_server(c))
    assert_int_equal(quic_stream_open(c, true, &s->stream), 0);
  return 0;
}

static void on_end(struct quic_conn *c, void *ud, const struct quic_end *why) {
  struct side *s = ud;

  s->n_end++;
  s->end = *why;
  if (s->conn == c) s->conn = NULL;
}

static int on_stream_data(struct quic_conn *c, void *ud, int64_t id,
                          const uint8_t *data, size_t len, bool fin) {
  ((struct side *)ud)->got += len;
  quic_credit(c, id, len);
  return 0;
}

static int stream_out(struct quic_conn *c, void *ud, int64_t *id, bool *fin,
                      struct quic_vec *v, size_t n) {
  struct side *s = ud;

  if (!s->to_send || s->blocked) return 0;
  *id = s->stream;
  v[0] = (struct quic_vec){payload, s->to_send < 60000 ? s->to_send : 60000};
  return 1;
}

static void stream_sent(struct quic_conn *c, void *ud, int64_t id, size_t n) {
  ((struct side *)ud)->to_send -= n;
}

static void stream_blocked(struct quic_conn *c, void *ud, int64_t id) {
  ((struct side *)ud)->blocked = true;
}

static void on_stream_room(struct quic_conn *c, void *ud, int64_t id) {
  ((struct side *)ud)->blocked = false;
  quic_wake(c);
}

static void on_dgram(struct quic_conn *c, void *ud, const uint8_t *data,
                     size_t len) {
  struct side *s = ud;

  s->n_dgrams++;
  memcpy(s->last, data, len);
  s->last_len = len;
}

static int dgram_out(struct quic_conn *c, void *ud, size_t max,
                     struct quic_vec v[2], uint64_t *id) {
  struct side *s = ud;

  if (!s->dgrams_to_send || s->dgram_len > max) return 0;
  v[0] = (struct quic_vec){payload, s->dgram_len};
  return 1;
}

static void dgram_sent(struct quic_conn *c, void *ud) {
  ((struct side *)ud)->dgrams_to_send--;
}

static const struct quic_ops ops = {
    .alpn = "ztna/1",
    .on_ready = on_ready,
    .on_end = on_end,
    .on_stream_data = on_stream_data,
    .stream_out = stream_out,
    .stream_sent = stream_sent,
    .stream_blocked = stream_blocked,
    .on_stream_room = on_stream_room,
    .on_dgram = on_dgram,
    .dgram_out = dgram_out,
    .dgram_sent = dgram_sent,
};

static const struct quic_params params = {
    .idle_timeout = 30 * SEC,
    .keep_alive = 15 * SEC,
    .handshake_timeout = 3 * SEC,
    .streams_bidi = 4,
    .stream_window = 65536,
    .conn_window = 262144,
    .dgrams = true,
    .pmtud = true,
};

/* --- the wire --- */

static void put(struct world *w, const struct ztna_addr *from,
                const struct dgram *d) {
  for (uint32_t off = 0; off < d->len; off += d->seg) {
    struct packet *p;

    if (seeded_unit(&w->rnd) < w->loss || w->n_wire == WIRE) continue;
    p = &w->wire[w->n_wire++];
    p->at = w->now + 10 * MS;
    p->from = *from;
    p->to = d->remote;
    p->len = d->len - off < d->seg ? d->len - off : d->seg;
    memcpy(p->data, d->data + off, p->len);
  }
}

static void drain(struct world *w, struct side *s) {
  struct dgram v[16];
  int n;

  while ((n = quic_next(s->q, w->now, v, 16)) > 0)
    for (int i = 0; i < n; i++) put(w, &s->addr, &v[i]);
}

static void run(struct world *w, uint64_t until) {
  for (;;) {
    uint64_t at;
    size_t first = 0;

    drain(w, &w->a);
    drain(w, &w->b);
    at = time_min(quic_deadline(w->a.q), quic_deadline(w->b.q));
    for (size_t i = 0; i < w->n_wire; i++)
      if (w->wire[i].at < w->wire[first].at) first = i;
    if (w->n_wire && w->wire[first].at <= at) {
      struct packet p = w->wire[first];
      struct side *to = ztna_addr_equal(&p.to, &w->a.addr) ? &w->a : &w->b;

      if (p.at > until) break;
      memmove(w->wire + first, w->wire + first + 1,
              (--w->n_wire - first) * sizeof(p));
      if (p.at > w->now) w->now = p.at;
      quic_udp_in(to->q, w->now, &p.from, &to->addr, 0, p.data, p.len);
      continue;
    }
    if (at > until) break;
    if (at > w->now) w->now = at;
    quic_tick(w->a.q, w->now);
    quic_tick(w->b.q, w->now);
  }
  w->now = until;
}

static int64_t test_time(void) { return NOW; }
static struct seeded tls_rnd;

static struct world *world_new(void) {
  struct world *w = calloc(1, sizeof(*w));
  struct quic_config cfg = {.rng = &w->rnd.rng};
  const char *services[] = {"web", NULL};

  seeded_init(&w->rnd, 7);
  w->now = SEC;
  w->wire = calloc(WIRE, sizeof(*w->wire));
  w->pki = pki_new("example.org", NOW);
  assert_non_null(w->pki);
  w->tls_a = pki_tls(w->pki, ROLE_AGENT, "laptop", services);
  w->tls_b = pki_tls(w->pki, ROLE_CONNECTOR, "dc", services);
  assert_non_null(w->tls_a);
  assert_non_null(w->tls_b);
  ztna_addr_parse(&w->a.addr, "10.0.0.1:1000");
  ztna_addr_parse(&w->b.addr, "10.0.0.2:2000");
  cfg.tls = w->tls_a;
  w->a.q = quic_new(&cfg);
  cfg.tls = w->tls_b;
  w->b.q = quic_new(&cfg);
  memset(w->ha, 0xaa, HANDLE_LEN);
  memset(w->hb, 0xbb, HANDLE_LEN);
  return w;
}

static void world_free(struct world *w) {
  quic_free(w->a.q);
  quic_free(w->b.q);
  tls_free(w->tls_a);
  tls_free(w->tls_b);
  pki_free(w->pki);
  free(w->wire);
  free(w);
}

static struct quic_conn *dial(struct world *w) {
  struct quic_dial d = {.remote = w->b.addr,
                        .handle = w->ha,
                        .peer_handle = w->hb,
                        .ops = &ops,
                        .ud = &w->a,
                        .params = params};

  return quic_dial(w->a.q, &d, w->now);
}

static struct quic_slot *listen_b(struct world *w, const uint8_t *peer) {
  return quic_listen(w->b.q, w->hb, peer, &ops, &w->b, &params, w->now,
                     60 * SEC);
}

/* --- tests --- */

static void a_path_opens_with_hybrid_keys_in_one_round_trip(void **state) {
  struct world *w = world_new();

  assert_non_null(listen_b(w, w->ha));
  assert_non_null(dial(w));
  run(w, w->now + 45 * MS);
  assert_int_equal(w->a.n_ready, 1);
  assert_int_equal(w->b.n_ready, 1);
  assert_string_equal(quic_group(w->a.conn), "X25519MLKEM768");
  assert_string_equal(quic_group(w->b.conn), "X25519MLKEM768");
  assert_string_equal(quic_peer(w->a.conn)->spiffe,
                      "spiffe://example.org/connector/dc");
  assert_string_equal(quic_peer(w->b.conn)->spiffe,
                      "spiffe://example.org/agent/laptop");
  world_free(w);
}

static void streams_and_datagrams_arrive(void **state) {
  struct world *w = world_new();

  listen_b(w, w->ha);
  dial(w);
  run(w, w->now + 3 * SEC);
  assert_non_null(w->a.conn);
  w->a.to_send = 1000000;
  w->a.dgram_len = 1280;
  w->a.dgrams_to_send = 100;
  quic_wake(w->a.conn);
  run(w, w->now + 5 * SEC);
  assert_int_equal(w->b.got, 1000000);
  assert_int_equal(w->b.n_dgrams, 100);
  assert_int_equal(w->b.last_len, 1280);
  world_free(w);
}

static void loss_costs_datagrams_but_no_stream_bytes(void **state) {
  struct world *w = world_new();

  listen_b(w, w->ha);
  dial(w);
  run(w, w->now + SEC);
  w->loss = 0.05;
  w->a.to_send = 300000;
  w->a.dgram_len = 300;
  w->a.dgrams_to_send = 1000;
  quic_wake(w->a.conn);
  run(w, w->now + 20 * SEC);
  assert_int_equal(w->b.got, 300000);
  assert_in_range(w->b.n_dgrams, 850, 999);
  world_free(w);
}

static void a_close_tells_its_reason(void **state) {
  struct world *w = world_new();

  listen_b(w, w->ha);
  dial(w);
  run(w, w->now + SEC);
  quic_close(w->a.conn, REASON_REVOKED, NULL);
  run(w, w->now + SEC);
  assert_int_equal(w->b.n_end, 1);
  assert_int_equal(w->b.end.reason, REASON_REVOKED);
  assert_true(w->b.end.remote);
  assert_true(w->b.end.authenticated);
  assert_int_equal(w->a.n_end, 1);
  assert_false(w->a.end.remote);
  world_free(w);
}

static void a_refusal_after_the_handshake_reaches_the_client(void **state) {
  struct world *w = world_new();

  w->b.refuse = REASON_IDENTITY_MISMATCH;
  listen_b(w, w->ha);
  dial(w);
  run(w, w->now + SEC);
  assert_int_equal(w->b.n_end, 1);
  assert_false(w->b.end.authenticated);
  assert_int_equal(w->a.end.reason, REASON_IDENTITY_MISMATCH);
  world_free(w);
}

static void a_certificate_of_another_ca_is_refused_on_both_sides(void **state) {
  struct world *w = world_new();
  struct pki *other = pki_new("example.org", NOW);
  const char *services[] = {"web", NULL};
  struct tls *t = pki_tls(other, ROLE_AGENT, "laptop", services);

  quic_set_tls(w->a.q, t);
  listen_b(w, w->ha);
  dial(w);
  run(w, w->now + SEC);
  assert_int_equal(w->a.n_ready + w->b.n_ready, 0);
  assert_int_equal(w->a.end.reason, REASON_BAD_CERTIFICATE);
  tls_free(t);
  pki_free(other);
  world_free(w);
}

static void a_client_with_an_expired_certificate_reads_why(void **state) {
  struct world *w = world_new();
  struct tls *t =
      pki_tls_at(w->pki, ROLE_AGENT, "laptop", NULL, NOW - 900, NOW - 10);

  quic_set_tls(w->a.q, t);
  listen_b(w, w->ha);
  dial(w);
  run(w, w->now + SEC);
  assert_int_equal(w->b.n_ready, 0);
  assert_int_equal(w->b.end.reason, REASON_CERTIFICATE_EXPIRED);
  assert_int_equal(w->a.end.reason, REASON_CERTIFICATE_EXPIRED);
  tls_free(t);
  world_free(w);
}

static void a_server_with_an_expired_certificate_is_refused(void **state) {
  struct world *w = world_new();
  const char *services[] = {"web", NULL};
  struct tls *t =
      pki_tls_at(w->pki, ROLE_CONNECTOR, "dc", services, NOW - 900, NOW - 10);

  quic_set_tls(w->b.q, t);
  listen_b(w, w->ha);
  dial(w);
  run(w, w->now + SEC);
  assert_int_equal(w->a.n_ready + w->b.n_ready, 0);
  assert_int_equal(w->a.end.reason, REASON_CERTIFICATE_EXPIRED);
  assert_false(w->a.end.remote);
  tls_free(t);
  world_free(w);
}

static void an_initial_for_an_unknown_handle_gets_no_answer(void **state) {
  struct world *w = world_new();
  const struct quic_stats *s = quic_stats(w->b.q);

  dial(w);
  run(w, w->now + 2 * SEC);
  assert_int_equal(s->n_out, 0);
  assert_true(s->drops[REASON_ROUTE_UNKNOWN] > 0);
  run(w, w->now + 2 * SEC);
  assert_int_equal(w->a.n_end, 1);
  world_free(w);
}

static void an_id_with_another_handle_is_never_answered(void **state) {
  struct world *w = world_new();
  uint8_t other[HANDLE_LEN] = {1, 2, 3};

  listen_b(w, other); /* expects a client whose ids begin with `other` */
  dial(w);
  run(w, w->now + 2 * SEC);
  assert_int_equal(quic_stats(w->b.q)->n_out, 0);
  assert_true(quic_stats(w->b.q)->drops[REASON_MALFORMED] > 0);
  world_free(w);
}

static void garbage_and_replays_are_counted_and_change_nothing(void **state) {
  struct world *w = world_new();
  uint8_t junk[1500];

  listen_b(w, w->ha);
  dial(w);
  run(w, w->now + SEC);
  for (int i = 0; i < 2000; i++) {
    size_t len = seeded_u64(&w->rnd) % sizeof(junk);

    rng_fill(&w->rnd.rng, junk, sizeof(junk));
    if (i % 3 == 0 && len > 21) {
      junk[0] = 0x40 | (junk[0] & 0x3f);
      memcpy(junk + 1, w->hb, HANDLE_LEN);
    }
    quic_udp_in(w->b.q, w->now, &w->a.addr, &w->b.addr, 0, junk, len);
  }
  w->a.dgram_len = 100;
  w->a.dgrams_to_send = 10;
  quic_wake(w->a.conn);
  run(w, w->now + SEC);
  assert_int_equal(w->b.n_dgrams, 10);
  assert_int_equal(w->b.n_end, 0);
  world_free(w);
}

static void a_busy_connection_allocates_nothing(void **state) {
  struct world *w = world_new();
  uint64_t before;

  listen_b(w, w->ha);
  dial(w);
  run(w, w->now + 2 * SEC);
  w->a.dgram_len = 1000;
  for (int round = 0; round < 20; round++) { /* warm up */
    w->a.dgrams_to_send = 200;
    quic_wake(w->a.conn);
    run(w, w->now + SEC);
  }
  before = quic_allocations();
  for (int round = 0; round < 20; round++) {
    w->a.dgrams_to_send = 200;
    quic_wake(w->a.conn);
    run(w, w->now + SEC);
  }
  assert_int_equal(w->b.n_dgrams, 8000);
  assert_int_equal(quic_allocations() - before, 0);
  world_free(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_path_opens_with_hybrid_keys_in_one_round_trip),
      cmocka_unit_test(streams_and_datagrams_arrive),
      cmocka_unit_test(loss_costs_datagrams_but_no_stream_bytes),
      cmocka_unit_test(a_close_tells_its_reason),
      cmocka_unit_test(a_refusal_after_the_handshake_reaches_the_client),
      cmocka_unit_test(a_certificate_of_another_ca_is_refused_on_both_sides),
      cmocka_unit_test(a_client_with_an_expired_certificate_reads_why),
      cmocka_unit_test(a_server_with_an_expired_certificate_is_refused),
      cmocka_unit_test(an_initial_for_an_unknown_handle_gets_no_answer),
      cmocka_unit_test(an_id_with_another_handle_is_never_answered),
      cmocka_unit_test(garbage_and_replays_are_counted_and_change_nothing),
      cmocka_unit_test(a_busy_connection_allocates_nothing),
  };
  int rc;

  seeded_init(&tls_rnd, 1);
  tls_global_init(&tls_rnd.rng, test_time);
  rc = cmocka_run_group_tests(tests, NULL, NULL);
  tls_global_done();
  return rc;
}
