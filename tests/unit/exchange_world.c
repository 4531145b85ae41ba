#include "unit/exchange_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint8_t payload[200];

/* --- what an end does --- */

static int on_ready(struct quic_conn *c, void *ud,
                    const struct identity *peer) {
  struct xw_end *e = ud;

  e->conn = c;
  e->n_ready++;
  return 0;
}

static void on_end(struct quic_conn *c, void *ud, const struct quic_end *why) {
  struct xw_end *e = ud;

  e->n_end++;
  e->end = *why;
  if (e->conn == c) e->conn = NULL;
}

static void on_dgram(struct quic_conn *c, void *ud, const uint8_t *data,
                     size_t len) {
  ((struct xw_end *)ud)->n_got++;
}

static int dgram_out(struct quic_conn *c, void *ud, size_t max,
                     struct quic_vec v[2], uint64_t *id) {
  struct xw_end *e = ud;

  if (!e->n_due) return 0;
  v[0] = (struct quic_vec){payload, sizeof(payload)};
  return 1;
}

static void dgram_sent(struct quic_conn *c, void *ud) {
  struct xw_end *e = ud;

  e->n_due--;
  e->n_sent++;
}

static const struct quic_ops ops = {.alpn = "ztna/1",
                                    .on_ready = on_ready,
                                    .on_end = on_end,
                                    .on_dgram = on_dgram,
                                    .dgram_out = dgram_out,
                                    .dgram_sent = dgram_sent};

static const struct quic_params params = {.idle_timeout = 30 * SEC,
                                          .keep_alive = 15 * SEC,
                                          .handshake_timeout = 3 * SEC,
                                          .streams_bidi = 4,
                                          .stream_window = 65536,
                                          .conn_window = 262144,
                                          .dgrams = true};

/* --- the wire --- */

static void put(struct xw *w, const struct ztna_addr *from,
                const struct dgram *d) {
  for (uint32_t off = 0; off < d->len; off += d->seg) {
    struct xw_packet *p = &w->wire[w->n_wire++];

    assert_true(w->n_wire < XW_WIRE);
    p->at = w->now + 10 * MS;
    p->from = *from;
    p->to = d->remote;
    p->len = d->len - off < d->seg ? d->len - off : d->seg;
    memcpy(p->data, d->data + off, p->len);
  }
}

static void drain(struct xw *w, struct quic *q, const struct ztna_addr *from) {
  struct dgram v[16];
  int n;

  while ((n = quic_next(q, w->now, v, 16)) > 0)
    for (int i = 0; i < n; i++) put(w, from, &v[i]);
}

static void drain_all(struct xw *w) {
  drain(w, w->server, &w->server_addr);
  for (int i = 0; i < XW_CLIENTS; i++)
    drain(w, w->clients[i], &w->client_addrs[i]);
}

static void deliver(struct xw *w, const struct xw_packet *p) {
  if (ztna_addr_equal(&p->to, &w->server_addr))
    quic_udp_in(w->server, w->now, &p->from, &p->to, 0, p->data, p->len);
  for (int i = 0; i < XW_CLIENTS; i++)
    if (ztna_addr_equal(&p->to, &w->client_addrs[i]))
      quic_udp_in(w->clients[i], w->now, &p->from, &p->to, 0, p->data, p->len);
}

/* In order: every packet takes as long. */
static void deliver_due(struct xw *w) {
  size_t n = 0;

  while (n < w->n_wire && w->wire[n].at <= w->now) {
    struct xw_packet p = w->wire[n++];

    deliver(w, &p);
  }
  memmove(w->wire, w->wire + n, (w->n_wire - n) * sizeof(*w->wire));
  w->n_wire -= n;
}

static void step(struct xw *w) {
  w->now += MS;
  deliver_due(w);
  quic_tick(w->server, w->now);
  for (int i = 0; i < XW_CLIENTS; i++) quic_tick(w->clients[i], w->now);
  drain_all(w);
}

static void speak(struct xw_end *e) {
  if (!e->conn) return;
  e->n_due = 1;
  quic_wake(e->conn);
}

void xw_run(struct xw *w, uint64_t ns) {
  for (uint64_t until = w->now + ns; w->now < until;) {
    for (int i = 0; i < XW_CLIENTS; i++) {
      speak(&w->at_server[i]);
      speak(&w->at_client[i]);
    }
    step(w);
  }
}

void xw_assert_no_loss(struct xw *w, int i) {
  for (int n = 0; n < 30; n++) step(w);
  assert_true(w->at_client[i].n_sent > 0);
  assert_true(w->at_server[i].n_sent > 0);
  assert_int_equal(w->at_client[i].n_sent, w->at_server[i].n_got);
  assert_int_equal(w->at_server[i].n_sent, w->at_client[i].n_got);
}

/* --- life --- */

struct xw *xw_new(struct tls *server, struct tls *client0,
                  struct tls *client1) {
  struct xw *w = calloc(1, sizeof(*w));
  struct quic_config cfg = {.rng = &w->rnd.rng};

  seeded_init(&w->rnd, 7);
  w->now = SEC;
  w->wire = calloc(XW_WIRE, sizeof(*w->wire));
  ztna_addr_parse(&w->server_addr, "10.0.0.9:4433");
  ztna_addr_parse(&w->client_addrs[0], "10.0.0.1:1000");
  ztna_addr_parse(&w->client_addrs[1], "10.0.0.2:1000");
  cfg.tls = server;
  w->server = quic_new(&cfg);
  cfg.tls = client0;
  w->clients[0] = quic_new(&cfg);
  cfg.tls = client1;
  w->clients[1] = quic_new(&cfg);
  return w;
}

void xw_free(struct xw *w) {
  quic_free(w->server);
  for (int i = 0; i < XW_CLIENTS; i++) quic_free(w->clients[i]);
  free(w->wire);
  free(w);
}

void xw_dial(struct xw *w, int i) {
  uint8_t at_server[HANDLE_LEN], at_client[HANDLE_LEN];
  struct quic_dial d = {.remote = w->server_addr,
                        .handle = at_client,
                        .peer_handle = at_server,
                        .ops = &ops,
                        .ud = &w->at_client[i],
                        .params = params};

  memset(at_server, 0xb0 + i, HANDLE_LEN);
  memset(at_client, 0xa0 + i, HANDLE_LEN);
  quic_listen(w->server, at_server, at_client, &ops, &w->at_server[i], &params,
              w->now, 60 * SEC); /* NULL: it is there from before */
  assert_non_null(quic_dial(w->clients[i], &d, w->now));
}

void xw_connect(struct xw *w) {
  for (int i = 0; i < XW_CLIENTS; i++) xw_dial(w, i);
  xw_run(w, 200 * MS);
  for (int i = 0; i < XW_CLIENTS; i++) {
    assert_non_null(w->at_server[i].conn);
    assert_non_null(w->at_client[i].conn);
  }
}
