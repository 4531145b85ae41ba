/* flow_lab.c - see flow_lab.h. */
#include "sim/flow_lab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "sim/pki.h"

enum { NOW = 1700000000, POOL = 256, PORT = 80, TURNS_MAX = 20000 };

static struct pki *pki;
static struct tls *tls[2];
static struct seeded tls_rnd;

static void need(bool ok, const char *what) {
  if (ok) return;
  fprintf(stderr, "lab: %s\n", what);
  abort();
}

static int64_t unix_now(void) { return NOW; }

void lab_global_init(void) {
  static const char *const any[] = {"*", NULL};

  seeded_init(&tls_rnd, 99);
  need(tls_global_init(&tls_rnd.rng, unix_now) == 0, "no TLS");
  pki = pki_new("example.org", NOW);
  need(pki, "no certificates");
  tls[0] = pki_tls(pki, ROLE_AGENT, "laptop", NULL);
  tls[1] = pki_tls(pki, ROLE_CONNECTOR, "dc", any);
}

void lab_global_done(void) {
  tls_free(tls[0]);
  tls_free(tls[1]);
  pki_free(pki);
  tls_global_done();
}

/* --- the programs --- */

static uint8_t pattern(const struct lab_flow *f, bool from_server,
                       uint64_t at) {
  uint64_t v = (at / 7 + 1) * UINT64_C(0x9e3779b97f4a7c15) +
               (uint64_t)f->number * 77 + (from_server ? 13 : 0);

  return (uint8_t)(v >> 32 ^ at);
}

static void give(struct lab_flow *f) {
  size_t room;
  uint8_t *to;

  if (f->waits && !f->got_fin) return;
  while (f->sent < f->to_send && (to = tcpflow_room(&f->flow, &room))) {
    if (room > f->to_send - f->sent) room = (size_t)(f->to_send - f->sent);
    for (size_t i = 0; i < room; i++)
      to[i] = pattern(f, f->side->server, f->sent + i);
    f->sent += room;
    tcpflow_put(&f->flow, room);
  }
  if (f->sent < f->to_send || f->stays_open || f->fin_said) return;
  f->fin_said = true;
  tcpflow_fin(&f->flow);
}

static void judge(struct lab_flow *f, const struct bytes_vec *v) {
  for (size_t i = 0; i < v->len; i++)
    if (v->base[i] != pattern(f, !f->side->server, f->got + i)) f->n_wrong++;
  f->got += v->len;
}

static void take(struct lab_flow *f) {
  uint64_t now = f->side->lab->now;
  struct bytes_vec v[4];
  int n;

  while ((n = tcpflow_peek(&f->flow, f->flow.rx.begin, 65536, v, 4)) > 0) {
    size_t len = 0;

    for (int i = 0; i < n; i++) {
      judge(f, &v[i]);
      len += v[i].len;
    }
    tcpflow_gave(&f->flow, len);
    tcpflow_took(&f->flow, len);
    if (now - f->last_progress > f->longest_pause && f->last_progress)
      f->longest_pause = now - f->last_progress;
    f->last_progress = now;
  }
  if (!tcpflow_at_end(&f->flow)) return;
  f->got_fin = true;
  tcpflow_took_fin(&f->flow);
}

static void forget(struct lab_flow *f) {
  if (f->used) tcpflow_free(&f->flow, REASON_NONE);
  f->used = false;
}

static void pump(struct lab_flow *f) {
  uint64_t kept = bytes_len(&f->flow.tx) + bytes_len(&f->flow.rx);

  if (!f->used) return;
  if (kept > f->most_kept) f->most_kept = kept;
  if (!f->sleeps && f->answered) take(f);
  if (f->flow.state != TCPFLOW_OVER && f->answered) give(f);
  if (f->done || f->refused || (f->reset && !bytes_len(&f->flow.rx))) forget(f);
}

/* --- a flow's callbacks --- */

static void on_answer(struct tcpflow *t, void *ud, enum reason why) {
  struct lab_flow *f = ud;

  f->n_answers++;
  f->answered = !why;
  f->refused = why;
  f->why = why;
}

static void on_reset(struct tcpflow *t, void *ud, enum reason why) {
  struct lab_flow *f = ud;

  f->reset = true;
  f->n_ends++;
  f->why = why;
}

static void on_done(struct tcpflow *t, void *ud) {
  struct lab_flow *f = ud;

  f->done = true;
  f->n_ends++;
  f->why = t->why;
}

/* They are pumped after every input. */
static void on_more(struct tcpflow *t, void *ud) {}

static void go_on(struct lab_flow *f) {
  struct ztna_addr dst, src;
  int rc;

  ztna_addr_parse(&dst, "10.100.0.10:80");
  ztna_addr_parse(&src, "100.64.0.1:40000");
  rc = f->flow.answered ? tcpflow_resume(&f->flow, f->side->path)
                        : tcpflow_start(&f->flow, f->side->path, 2, &dst, &src);
  need(rc == 0, "no stream");
}

/* One that was not answered is asked for anew. */
static void on_lost(struct tcpflow *t, void *ud) {
  struct lab_flow *f = ud;

  if (!f->side->server || t->answered) return;
  f->used = false;
  tcpflow_free(t, REASON_NONE);
}

static const struct tcpflow_ops flow_ops = {.on_answer = on_answer,
                                            .on_input = on_more,
                                            .on_room = on_more,
                                            .on_reset = on_reset,
                                            .on_lost = on_lost,
                                            .on_done = on_done};

/* --- the connector: heads, and answers a while later --- */

struct head {
  struct lab_side *side;
  uint8_t bytes[FLOW_HEAD_MAX];
  size_t len;
};

static void answer(void *ud, uint64_t id) {
  struct lab *l = ud;

  for (int i = 0; i < LAB_FLOWS; i++) {
    struct lab_flow *f = &l->b.flows[i];
    uint64_t own;

    memcpy(&own, f->flow.id, sizeof(own));
    if (!f->used || own != id || f->flow.state != TCPFLOW_OPENING) continue;
    f->answered = !l->answer;
    tcpflow_answer(&f->flow, l->answer);
    if (l->answer) forget(f);
  }
  lab_drain(l);
}

/* An agent that lost our answer asks again: the former one is forgotten. */
static struct lab_flow *opened(struct lab_side *b, struct stream *s,
                               const struct flow_head *h) {
  struct lab_flow *f = &b->flows[h->id[0]];
  uint64_t id;

  forget(f);
  *f = (struct lab_flow){.side = b,
                         .number = h->id[0],
                         .used = true,
                         .to_send = b->lab->b_to_send,
                         .stays_open = b->lab->b_stays_open,
                         .waits = b->lab->b_waits};
  tcpflow_accept(&f->flow, &b->common, &flow_ops, f, s, h);
  memcpy(&id, h->id, sizeof(id));
  vnet_at(b->lab->net, b->lab->now + b->lab->answer_after, answer, b->lab, id);
  return f;
}

static struct lab_flow *resumed(struct lab_side *b, struct stream *s,
                                const struct flow_head *h) {
  struct lab_flow *f = &b->flows[h->id[0]];

  if (f->used && h->kind == FLOW_MOVE) {
    tcpflow_moving(&f->flow, s, h);
    return NULL;
  }
  if (f->used) return tcpflow_resumed(&f->flow, s, h) ? f : NULL;
  tcpflow_refuse(s, REASON_ROUTE_UNKNOWN);
  return NULL;
}

static void head_done(struct head *x) {
  x->side->n_heads--;
  free(x);
}

static void on_head(struct stream *s, void *ud, const uint8_t *data, size_t len,
                    bool fin) {
  struct head *x = ud;
  struct lab_side *b = x->side;
  struct flow_head h;
  struct lab_flow *f;
  int rc = 0;
  size_t n = 0;

  while (n < len && x->len < FLOW_HEAD_MAX && !rc) {
    x->bytes[x->len++] = data[n++];
    rc = flow_head_read(&h, x->bytes, x->len);
  }
  stream_credit(s, n);
  need(rc >= 0 && (rc || !fin), "a bad head");
  if (!rc) return;
  head_done(x);
  f = h.kind == FLOW_OPEN ? opened(b, s, &h) : resumed(b, s, &h);
  if (f && (len > n || fin)) tcpflow_more(&f->flow, data + n, len - n, fin);
}

static void on_head_gone(struct stream *s, void *ud, bool closed) {
  head_done(ud);
}

static void on_head_reset(struct stream *s, void *ud, uint64_t code) {
  stream_reset(s, code);
  head_done(ud);
}

static const struct stream_ops head_ops = {.on_data = on_head,
                                           .on_gone = on_head_gone,
                                           .on_reset = on_head_reset,
                                           .on_stop = on_head_reset};

static void on_stream(struct path *p, void *ud, struct stream *s) {
  struct head *x = calloc(1, sizeof(*x));

  need(x, "no memory");
  x->side = ud;
  x->side->n_heads++;
  stream_bind(s, &head_ops, x);
}

/* --- the path --- */

static int on_check(struct path *p, void *ud, const struct identity *peer) {
  return 0;
}

static void on_live(struct path *p, void *ud) {
  struct lab_side *s = ud;

  for (int i = 0; i < LAB_FLOWS && !s->server; i++)
    if (s->flows[i].used && s->flows[i].flow.state == TCPFLOW_LOST)
      go_on(&s->flows[i]);
}

static int on_message(struct path *p, void *ud, json_t *msg) { return 0; }

static void on_packet(struct path *p, void *ud, uint64_t context,
                      const uint8_t *ip, size_t len) {}

static void on_redial(void *ud, uint64_t arg) {
  struct lab *l = ud;

  if (l->net->now != NEVER && !path_is_live(l->a.path)) lab_dial(l);
}

static void on_end(struct path *p, void *ud, const struct quic_end *why) {
  struct lab_side *s = ud;
  struct lab *l = s->lab;

  if (!s->server && l->redial_after != NEVER)
    vnet_at(l->net, l->now + l->redial_after, on_redial, l, 0);
}

static const struct path_events events = {.on_check = on_check,
                                          .on_live = on_live,
                                          .on_message = on_message,
                                          .on_packet = on_packet,
                                          .on_stream = on_stream,
                                          .on_end = on_end,
                                          .on_refused = on_end};

void lab_dial(struct lab *l) {
  uint64_t rtt = 2 * (l->a.host->up.delay + l->b.host->down.delay);

  l->n_dials++;
  need(path_dial(l->a.path, &l->b.host->outer[0], l->ha, l->hb, rtt, l->now) ==
           0,
       "no dialling");
  lab_drain(l);
}

static void on_mended(void *ud, uint64_t arg) {
  struct lab *l = ud;

  if (l->now >= l->pause_until) l->a.host->off = l->b.host->off = false;
}

void lab_kill(struct lab *l, enum lab_death how) {
  uint64_t mended = 2 * l->a.host->up.delay + MS;

  l->a.host->off = l->b.host->off = true;
  l->pause_until = l->now + mended;
  vnet_at(l->net, l->pause_until, on_mended, l, 0);
  if (how != LAB_CONNECTOR) path_close(l->a.path, REASON_IDLE);
  if (how != LAB_AGENT) path_close(l->b.path, REASON_IDLE);
  lab_drain(l);
}

/* --- time --- */

static void side_drain(struct lab_side *s) {
  struct dgram v[16];
  int n;

  for (int i = 0; i < LAB_FLOWS; i++) pump(&s->flows[i]);
  while ((n = quic_next(s->q, s->lab->now, v, 16)) > 0)
    for (int i = 0; i < n; i++) vnet_send(s->host, &v[i]);
}

void lab_drain(struct lab *l) {
  side_drain(&l->a);
  side_drain(&l->b);
}

static void on_dgram(void *ud, const struct dgram *d) {
  struct lab_side *s = ud;

  if (s->lab->net->now == NEVER) return;
  quic_dgram_in(s->q, s->lab->now, d);
  side_drain(s);
}

static uint64_t side_deadline(const struct lab_side *s) {
  uint64_t at = time_min(quic_deadline(s->q), path_deadline(s->path));

  for (int i = 0; i < LAB_FLOWS; i++)
    if (s->flows[i].used)
      at = time_min(at, tcpflow_deadline(&s->flows[i].flow));
  return at;
}

static void side_tick(struct lab_side *s) {
  uint64_t now = s->lab->now;

  if (side_deadline(s) > now) return;
  quic_tick(s->q, now);
  path_tick(s->path, now);
  for (int i = 0; i < LAB_FLOWS; i++)
    if (s->flows[i].used) tcpflow_tick(&s->flows[i].flow, now);
  side_drain(s);
}

static uint64_t next_at(const struct lab *l) {
  uint64_t at = time_min(side_deadline(&l->a), side_deadline(&l->b));

  return time_min(at, vnet_deadline(l->net));
}

bool lab_until(struct lab *l, bool (*is)(struct lab *l, void *ud), void *ud,
               uint64_t for_ns) {
  uint64_t until = l->now + for_ns, at;
  int turns = 0;

  lab_drain(l);
  while ((at = next_at(l)) <= until) {
    if (at > l->now) {
      l->now = l->net->now = at;
      turns = 0;
    }
    need(turns++ < TURNS_MAX, "an end spins");
    if (!vnet_step(l->net)) {
      side_tick(&l->a);
      side_tick(&l->b);
    }
    if (is && is(l, ud)) return true;
  }
  l->now = l->net->now = until;
  return is && is(l, ud);
}

void lab_run(struct lab *l, uint64_t for_ns) {
  lab_until(l, NULL, NULL, for_ns);
}

/* --- life --- */

static void side_init(struct lab *l, struct lab_side *s, bool server,
                      const char *addr, uint64_t delay) {
  struct quic_config cfg = {
      .tls = tls[server], .rng = &l->rnd.rng, .retry = QUIC_RETRY_NEVER};

  s->lab = l;
  s->server = server;
  s->host = vnet_add(l->net, addr, NULL, delay / 2);
  s->host->on_dgram = on_dgram;
  s->host->ud = s;
  s->q = quic_new(&cfg);
  pool_init(&s->pool, POOL);
  s->path = path_new(s->q, &s->pool, &l->rnd.rng, &events, s);
  need(s->q && s->path, "no memory");
  s->common.quic = s->q;
}

static bool is_live(struct lab *l, void *ud) {
  return path_is_live(l->a.path) && path_is_live(l->b.path);
}

struct lab *lab_new(uint64_t seed, uint64_t delay) {
  struct lab *l = calloc(1, sizeof(*l));

  need(l, "no memory");
  l->now = SEC;
  l->redial_after = 10 * MS;
  seeded_init(&l->rnd, seed);
  l->net = vnet_new(seed + 1, l->now);
  side_init(l, &l->a, false, "192.0.2.1:5000", delay);
  side_init(l, &l->b, true, "192.0.2.2:5000", delay);
  rng_fill(&l->rnd.rng, l->ha, HANDLE_LEN);
  rng_fill(&l->rnd.rng, l->hb, HANDLE_LEN);
  need(path_listen(l->b.path, l->hb, l->ha, 0, l->now) == 0, "no listening");
  lab_dial(l);
  need(lab_until(l, is_live, NULL, 5 * SEC), "no path");
  return l;
}

static void side_done(struct lab_side *s) {
  for (int i = 0; i < LAB_FLOWS; i++) forget(&s->flows[i]);
  path_free(s->path, s->lab->now);
  quic_free(s->q);
  need(s->n_heads == 0, "a head was left");
  bytes_pool_done(&s->common.pool);
  pool_done(&s->pool);
}

void lab_free(struct lab *l) {
  side_done(&l->a);
  side_done(&l->b);
  l->net->now = NEVER;
  l->a.host->on_dgram = l->b.host->on_dgram = NULL;
  vnet_free(l->net);
  free(l);
}

/* --- flows --- */

struct lab_flow *lab_open(struct lab *l, uint64_t to_send) {
  struct lab_flow *f = l->a.flows;
  uint8_t id[FLOW_ID_LEN];

  while (f->side) f++;
  need(f < l->a.flows + LAB_FLOWS, "too many flows");
  *f = (struct lab_flow){.side = &l->a,
                         .number = (int)(f - l->a.flows),
                         .used = true,
                         .to_send = to_send};
  rng_fill(&l->rnd.rng, id, sizeof(id));
  id[0] = (uint8_t)f->number;
  tcpflow_init(&f->flow, &l->a.common, &flow_ops, f, id);
  if (path_is_live(l->a.path)) go_on(f);
  lab_drain(l);
  return f;
}

struct lab_flow *lab_other(struct lab *l, const struct lab_flow *f) {
  struct lab_flow *o = &l->b.flows[f->number];

  return o->side ? o : NULL;
}

static bool is_complete(const struct lab_flow *f,
                        const struct lab_flow *other) {
  return f->done && !f->reset && !f->why && f->got_fin && !f->n_wrong &&
         f->n_ends == 1 && f->got == other->to_send;
}

bool lab_is_complete(struct lab *l, void *ud) {
  for (int i = 0; i < LAB_FLOWS; i++)
    if (l->a.flows[i].side && (!is_complete(&l->a.flows[i], &l->b.flows[i]) ||
                               !is_complete(&l->b.flows[i], &l->a.flows[i])))
      return false;
  return true;
}

uint64_t lab_packets(const struct lab *l) { return l->net->counters.n_sent; }
