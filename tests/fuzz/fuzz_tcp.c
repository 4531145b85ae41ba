/* fuzz_tcp.c - streams of a hostile agent to a connector, and backends that do
 * whatever they like: heads that are right, nearly right or nonsense, whole or
 * in pieces, of flows that are there, are lost or never were, on two routes.
 *
 * Any bytes are a list of choices, so there are no seeds. One world serves many
 * inputs.
 *
 * What must hold: the tables agree, half-read heads stay few, memory bounded;
 * a backend hears of nothing that was not connected; the path goes on. */
#include "fuzz/fuzz.h"

/* What the world needs of unit.h, without cmocka. */
#define ZTNA_TEST_UNIT_H
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ztna/addr.h>
#include <ztna/err.h>
#define fail_msg(...) assert(!"it may")
#define assert_true(x) assert(x)
#define assert_false(x) assert(!(x))
#define assert_int_equal(a, b) assert((a) == (b))
#define assert_non_null(x) assert(x)
#define assert_in_range(x, a, b) assert((x) >= (a) && (x) <= (b))

static struct ztna_addr test_addr(const char *text) {
  struct ztna_addr a = {0};

  assert(ztna_addr_parse(&a, text) == 0);
  return a;
}

#include "fake/connector_world.c"

#include "sim/garble.h"

enum { INPUTS = 2000, RAWS = 6, OUT = 4096, ACTIONS = 12, IDS = 5 };

#define ROUTES_ACCEPT (50 * SEC) /* connections, after they were made */

/* A stream of the agent, without a flow's manners. */
struct raw {
  struct stream *s; /* NULL: gone */
  uint8_t out[OUT];
  size_t n_out, n_sent;
  bool fin, fin_sent;
};

static struct world *w;
static struct raw raws[RAWS];
static unsigned n_inputs;

/* --- streams --- */

static int raw_out(struct stream *s, void *ud, struct quic_vec *v, int n,
                   bool *fin) {
  struct raw *r = ud;

  v[0] = (struct quic_vec){r->out + r->n_sent, r->n_out - r->n_sent};
  *fin = r->fin && !r->fin_sent;
  return v[0].len ? 1 : 0;
}

static void raw_sent(struct stream *s, void *ud, size_t n, bool fin) {
  struct raw *r = ud;

  r->n_sent += n;
  r->fin_sent |= fin;
}

static void raw_data(struct stream *s, void *ud, const uint8_t *data,
                     size_t len, bool fin) {
  stream_credit(s, len);
}

static void raw_acked(struct stream *s, void *ud, uint64_t offset) {}
static void raw_reset(struct stream *s, void *ud, uint64_t code) {}
static void raw_gone(struct stream *s, void *ud, bool closed) {
  ((struct raw *)ud)->s = NULL;
}

static const struct stream_ops raw_ops = {.on_data = raw_data,
                                          .on_acked = raw_acked,
                                          .on_reset = raw_reset,
                                          .on_stop = raw_reset,
                                          .on_gone = raw_gone,
                                          .out = raw_out,
                                          .sent = raw_sent};

static void raw_open(struct garble *g, struct raw *r) {
  struct agent *a = &w->v[garble_pick(g, 2) ? 2 : 0];

  if (r->s) stream_reset(r->s, garble_pick(g, 64));
  *r = (struct raw){0};
  r->s = stream_open(a->path, &raw_ops, r);
}

static void raw_put(struct raw *r, const void *data, size_t len) {
  if (!r->s || r->fin || len > OUT - r->n_out) return;
  memcpy(r->out + r->n_out, data, len);
  r->n_out += len;
  stream_wake(r->s);
}

static void put_head(struct garble *g, struct raw *r) {
  static const char *const to[] = {V4 ":80", V4 ":81", V4 ":95", V4 ":82",
                                   "10.100.0.3:80"};
  struct flow_head h = {.kind = (enum flow_kind)(1 + garble_pick(g, 3)),
                        .id = {(uint8_t)garble_pick(g, IDS)},
                        .context = garble_pick(g, 8) ? 2 : garble_pick(g, 9),
                        .count = garble_pick(g, 3) * garble_pick(g, 99)};
  bool v6 = !garble_pick(g, 4);
  uint8_t bytes[FLOW_HEAD_MAX];
  size_t n;

  h.dst = test_addr(v6 ? "[" V6 "]:80"
                       : to[garble_pick(g, 2) ? garble_pick(g, 5) : 0]);
  h.src = test_addr(v6 ? "[" T6 "]:50000" : T4 ":50000");
  if (!garble_pick(g, 16)) h.src.ip[3] ^= 1;
  n = flow_head_write(bytes, &h);
  if (!garble_pick(g, 8)) garble_bytes(g, bytes, n);
  if (!garble_pick(g, 8)) n = garble_pick(g, (unsigned)n);
  raw_put(r, bytes, n);
}

static void put_bytes(struct garble *g, struct raw *r) {
  size_t len = garble_pick(g, 40);

  if (len > g->left) len = g->left;
  raw_put(r, g->p, len);
  g->p += len;
  g->left -= len;
}

static void end_stream(struct garble *g, struct raw *r) {
  if (!r->s) return;
  if (garble_pick(g, 2)) {
    r->fin = true;
    stream_wake(r->s);
  } else {
    stream_reset(r->s, garble_pick(g, 64));
    r->s = NULL;
  }
}

static void act_agent(struct garble *g) {
  struct raw *r = &raws[garble_pick(g, RAWS)];

  switch (garble_pick(g, 6)) {
  case 0:
    end_stream(g, r);
    break;
  case 1:
    put_bytes(g, r);
    break;
  default:
    if (garble_pick(g, 8)) raw_open(g, r);
    put_head(g, r);
  }
}

/* --- backends --- */

static void server_sends(struct garble *g, uint32_t sock) {
  size_t room;
  uint8_t *to = connector_sock_room(w->c, sock, &room);

  if (!to) return;
  if (room > 1 + garble_pick(g, 3000)) room = 1;
  memset(to, 'x', room);
  connector_sock_read(w->c, w->now, sock, room);
}

static void act_server(struct garble *g) {
  uint32_t sock = garble_pick(g, 8);
  struct server *s = &w->servers[sock];

  s->sleeps = garble_pick(g, 2);
  if (!s->there) return;
  if (!s->connected) {
    s->connected = garble_pick(g, 2);
    s->there = s->connected;
    if (s->connected)
      connector_sock_connected(w->c, w->now, sock);
    else
      connector_sock_failed(w->c, w->now, sock,
                            (enum ztna_sock_error)garble_pick(g, 5));
    return;
  }
  switch (garble_pick(g, 4)) {
  case 0:
    connector_sock_eof(w->c, w->now, sock);
    break;
  case 1:
    s->there = s->connected = false;
    connector_sock_failed(w->c, w->now, sock, ZTNA_SOCK_RESET);
    break;
  case 2:
    server_read(w, sock);
    break;
  default:
    server_sends(g, sock);
  }
}

/* --- the world --- */

static void world_end(void) {
  if (!w) return;
  world_free(w);
  w = NULL;
}

static void end_all(void) {
  world_end();
  end();
}

static void world_begin(void) {
  static struct seeded rnd;
  static bool once;

  if (!once) {
    grant_protocols = "\"udp\",\"tcp\",\"icmp\"";
    grant_ports = "[[53,99,\"udp\"],[80,90,\"tcp\"]]";
    begin(&rnd);
    atexit(end_all);
  }
  once = true;
  world_end();
  memset(raws, 0, sizeof(raws));
  w = world_new();
  w->fails = true;
  go_live(&w->v[0]);
  go_live(&w->v[2]);
}

static void count_one(struct sock *s, void *ud) { *(int *)ud += !!s->user; }

static void check(void) {
  struct connector *c = w->c;
  int n = 0, n_heads = 0, n_lost = 0;

  socks_each(c->socks, count_one, &n);
  assert((size_t)n == c->splices.n && (uint64_t)n == c->counters.n_tcp_flows);
  assert(n <= (int)c->o.max_tcp_flows_per_agent);
  for (struct tcp_head *h = c->heads; h; h = h->next) n_heads++;
  for (size_t i = 0; i < c->n_links; i++)
    if (c->links[i]) n_heads -= (int)c->links[i]->n_heads;
  assert(n_heads == 0);
  for (struct splice *v = c->tcp_agents->splices; v; v = v->next) {
    n_lost += v->lost;
    n--;
    assert(v->lost == (v->sock->flow.state == TCPFLOW_LOST));
  }
  assert(n == 0 && n_lost == (int)c->tcp_agents->n_lost);
  assert(c->tcp.pool.used <= RAWS * (2 * TCPFLOW_KEEP));
}

static void act(struct garble *g) {
  switch (garble_pick(g, 8)) {
  case 0:
    run(w, garble_pick(g, 3) * 10 * MS);
    break;
  case 1:
  case 2:
    act_server(g);
    break;
  case 3:
    w->connect = garble_pick(g, 4);
    break;
  default:
    act_agent(g);
  }
}

/* Routes come and go; the flows on them wait. */
static void lose_a_path(struct garble *g) {
  struct agent *a = &w->v[garble_pick(g, 2) ? 2 : 0];

  path_close(a->path, REASON_IDLE);
  run(w, 100 * MS);
  check();
  if (w->now > ROUTES_ACCEPT) {
    world_begin();
    return;
  }
  dial(a);
  hello(a);
  open_context(a, 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct garble g = {.p = data, .left = size};

  if (n_inputs++ % INPUTS == 0) world_begin();
  w->c->links[0]->opens = w->c->links[1]->opens = OPENS_BURST;
  for (int i = 0; i < ACTIONS && g.left; i++) act(&g);
  run(w, 30 * MS);
  check();
  if (garble_pick(&g, 256) == 255) lose_a_path(&g);
  assert(path_is_live(w->v[0].path) && path_is_live(w->v[2].path));
  return 0;
}
