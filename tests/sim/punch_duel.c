/* punch_duel.c - see punch_duel.h. */
#include "sim/punch_duel.h"

#include <stdlib.h>
#include <string.h>

#include "sim/punch_watch.h"
#include "transport/mac.h"

enum {
  PAIRS = 512,
  TURNS_MAX = 20000, /* at one instant: then a round spins */
};

struct pair {
  struct ztna_addr remote;
  uint16_t sock;
};

struct side {
  struct duel *d;
  int number;
  struct vnet_host *host;
  struct vnet_nat *box;
  struct vnet_line *up, *down; /* of whatever hangs on the core */
  struct ztna_addr seen;       /* by the server */
  struct punch_options o;
  struct punch *p;
  struct punch_budget budget;
  struct punch_peer_budget peer_budget;
  struct punch_socks socks;
  struct punch_stats stats;
  struct punch_watch watch;
  struct pair pairs[PAIRS];
  struct dgram echo; /* what arrived when no round runs any more */
  int n_over;
};

struct duel {
  const struct duel_config *c;
  struct nat_class class[2];
  struct duel_result r;
  struct seeded rnd;
  struct vnet *net;
  struct vnet_host *server;
  struct ztna_addr server_saw;
  struct side side[2];
  uint64_t at, relayed_rtt;
  bool at_worst;   /* lines are as bad as they get here */
  bool to_the_end; /* of its 15 s */
  bool ended;      /* the rounds; packets are only looked at */
};

static void need(bool ok) {
  if (!ok) abort(); /* no memory, or a test's own mistake */
}

static double between(struct duel *d, double least, double most) {
  return least + seeded_unit(&d->rnd) * (most - least);
}

static void wrong(struct duel *d, bool *kept, const char *what) {
  *kept = false;
  if (!d->r.wrong) d->r.wrong = what;
}

/* --- what must hold of each packet --- */

static void look_at(struct side *s, const struct dgram *out) {
  struct duel *d = s->d;
  struct punch_watch *w = &s->watch;

  punch_watch_out(w, d->net->now, out);
  if (w->over_budget) wrong(d, &d->r.budgets_kept, w->over_budget);
  if (w->astray) wrong(d, &d->r.targets_kept, w->astray);
}

/* --- the rounds' verbs --- */

static void drain(struct side *s) {
  struct dgram v[16];
  int got;

  while (s->p && (got = punch_next(s->p, s->d->net->now, v, 16)) > 0)
    for (int i = 0; i < got; i++) {
      if (v[i].len) look_at(s, &v[i]);
      vnet_send(s->host, &v[i]);
    }
}

static void hear(struct side *s, const struct dgram *in) {
  struct stun_msg m;

  if (!stun_is(in->data, in->len) || stun_read(&m, in->data, in->len) < 0)
    return;
  punch_watch_in(&s->watch, in, m.class == STUN_SUCCESS);
  punch_in(s->p, s->d->net->now, in, in->data, in->len, &m);
  drain(s);
}

static void on_side_dgram(void *ud, const struct dgram *d) {
  struct side *s = ud;

  if (s->d->ended || !s->p) s->echo = *d;
  for (uint32_t off = 0; s->p && !s->d->ended && off < d->len; off += d->seg) {
    struct dgram one = *d;

    one.data += off;
    one.len = d->len - off < d->seg ? d->len - off : d->seg;
    hear(s, &one);
  }
}

/* Who is early by the error of the moment has taken no time. */
static uint64_t after(const struct duel *d) {
  return d->net->now > d->at ? d->net->now - d->at : 0;
}

static void on_pair(struct punch *p, void *ud, const struct ztna_addr *remote,
                    uint16_t sock, uint64_t rtt) {
  struct side *s = ud;
  struct duel *d = s->d;
  struct duel_side_result *r = &d->r.side[s->number];

  for (uint64_t i = 0; i < r->n_pairs; i++)
    if (s->pairs[i].sock == sock &&
        (sock || ztna_addr_equal(&s->pairs[i].remote, remote)))
      wrong(d, &d->r.sockets_closed, "the same pair twice");
  if (sock && (!s->socks.used[sock] || !vnet_sock_port(s->host, sock, 4)))
    wrong(d, &d->r.sockets_closed, "a pair's socket is closed");
  need(r->n_pairs < PAIRS);
  s->pairs[r->n_pairs++] = (struct pair){*remote, sock};
  if (r->pair_after == NEVER) r->pair_after = after(d);
}

static void on_over(struct punch *p, void *ud, enum punch_end why) {
  struct side *s = ud;
  struct duel_side_result *r = &s->d->r.side[s->number];

  if (s->n_over++) wrong(s->d, &s->d->r.sockets_closed, "over twice");
  r->over_after = after(s->d);
  r->why = why;
}

static const struct punch_ops ops = {.on_pair = on_pair, .on_over = on_over};

/* As an endpoint judges: not itself, not the relay; private ones only of its
 * own LAN. */
static bool may_send(void *ud, const struct ztna_addr *to) {
  struct side *s = ud;
  const struct ztna_addr *own = &s->host->inner[to->family == 6],
                         *relay = &s->d->server->inner[to->family == 6];
  bool is_private = to->family == 4 && to->ip[0] == 192 && to->ip[1] == 168;

  if (ztna_addr_same_ip(to, own) || ztna_addr_same_ip(to, relay)) return false;
  return !is_private || !memcmp(to->ip, own->ip, 3);
}

/* --- a network --- */

static void on_server_dgram(void *ud, const struct dgram *d) {
  ((struct duel *)ud)->server_saw = d->remote;
}

static void bad_line(struct side *s) {
  s->up = s->box ? &s->box->up : &s->host->up;
  s->down = s->box ? &s->box->down : &s->host->down;
  if (s->box && s->box->behind && !s->d->c->one_carrier) {
    s->up = &s->box->behind->up;
    s->down = &s->box->behind->down;
  }
  s->up->delay = s->down->delay =
      (uint64_t)(between(s->d, s->d->at_worst ? 100 : 1, 100) * (double)MS);
  s->up->jitter = (uint64_t)(between(s->d, 0, 3) * (double)MS);
}

/* On the same LAN as the other side, or as the box before it. */
static void share_box(struct side *s, struct vnet_nat *box) {
  const struct nat_class *c = &s->d->class[s->number];

  if (s->d->c->one_carrier)
    box = vnet_nat(s->d->net, &c->box, "100.64.0.99", box->behind, 0);
  s->box = box;
  vnet_behind(s->host, box);
}

/* LANs have the same addresses now and then. */
static void place(struct duel *d, int i) {
  struct side *s = &d->side[i];
  const struct nat_class *c = &d->class[i];
  bool translated = c->boxed && c->box.mapping != NAT_NONE;
  char *inner[] = {"192.168.1.10:5000", "192.168.1.11:5001",
                   "192.168.2.11:5001"};
  char *outer[] = {"198.51.100.1", "198.51.100.2"};
  char *public[] = {"198.51.100.1:5000", "198.51.100.2:5001"};
  char *v6[] = {"[2001:db8:1::1]:5000", "[2001:db8:2::1]:5001"};
  bool same = c->shared || seeded_unit(&d->rnd) < 0.5;
  const char *v4 = translated ? inner[i && !same ? 2 : i] : public[i];

  s->d = d;
  s->number = i;
  s->host =
      vnet_add(d->net, d->c->v6 ? NULL : v4, d->c->v6 ? v6[i] : NULL, 200 * US);
  s->host->on_dgram = on_side_dgram;
  s->host->ud = s;
  if (i && (c->shared || d->c->one_carrier))
    share_box(s, d->side[0].box);
  else
    s->box = nat_class_put(c, s->host, outer[i], 0);
  if (s->box && c->box.blocked)
    sim_nat_allow(s->box->model, &d->server->outer[0]);
  bad_line(s);
}

/* Sequences have other steps than 1 in some places. */
static void classes(struct duel *d) {
  static const int steps[] = {1, 1, 1, 2, -1, 4, 10, -16};

  for (int i = 0; i < 2; i++) {
    d->class[i] = *d->c->class[i];
    if (d->class[i].box.allocation == NAT_SEQUENTIAL)
      d->class[i].box.step = steps[seeded_u64(&d->rnd) % 8];
  }
}

static void network(struct duel *d) {
  d->net = vnet_new(seeded_u64(&d->rnd), 100 * SEC);
  d->server = vnet_add(d->net, "203.0.113.1:3478", "[2001:db8:9::1]:3478",
                       (uint64_t)(between(d, 0.5, 20) * (double)MS));
  d->server->on_dgram = on_server_dgram;
  d->server->ud = d;
  for (int i = 0; i < 2; i++) place(d, i);
  d->relayed_rtt = 2 * (d->side[0].up->delay + d->side[1].up->delay +
                        2 * d->server->up.delay);
  d->r.rtt = 2 * (d->side[0].up->delay + d->side[1].up->delay);
}

/* --- what each side finds out about itself --- */

static struct ztna_addr seen_from(struct side *s, uint16_t sock) {
  struct duel *d = s->d;
  struct dgram out = {.remote = d->server->outer[d->c->v6],
                      .data = (const uint8_t *)"?",
                      .len = 1,
                      .seg = 1,
                      .sock = sock};

  d->server_saw = (struct ztna_addr){0};
  vnet_send(s->host, &out);
  vnet_run(d->net, 150 * MS);
  need(d->server_saw.family);
  return d->server_saw;
}

static void refresh(struct side *s) {
  struct nat_view *v = &s->o.own.nat;
  uint16_t sock;
  struct dgram close;

  if (!nat_is_hard(v) || v->allocation != NAT_SEQUENTIAL) return;
  sock = punch_sock_take(&s->socks);
  v->last_port = seen_from(s, sock).port;
  v->last_at = s->d->net->now;
  close = (struct dgram){.remote = s->seen, .seg = 1, .sock = sock};
  vnet_send(s->host, &close);
  punch_sock_free(&s->socks, sock);
}

static void observe(struct side *s) {
  struct punch_side *own = &s->o.own;
  struct ztna_addr host = s->host->inner[s->d->c->v6];

  s->seen = seen_from(s, 0);
  own->list[own->n++] = (struct candidate){host, CANDIDATE_HOST};
  if (!ztna_addr_equal(&host, &s->seen))
    own->list[own->n++] = (struct candidate){s->seen, CANDIDATE_REFLEXIVE};
  own->nat = nat_class_view(&s->d->class[s->number]);
  own->nat.mapped = s->seen;
}

/* --- others behind the same NATs --- */

static void on_bystander(void *ud, uint64_t every) {
  struct side *s = ud;
  struct duel *d = s->d;

  if (d->ended) return;
  sim_nat_take(s->box->model, d->net->now);
  vnet_at(d->net, d->net->now + (uint64_t)(between(d, 0, 2) * (double)every),
          on_bystander, s, every);
}

/* In every other run one port in a third of a second, or less often. */
static void bystanders(struct side *s) {
  const struct nat_class *c = &s->d->class[s->number];
  uint64_t every = (uint64_t)(between(s->d, 0.3, 3) * (double)SEC);

  if (!nat_is_hard(&s->o.own.nat) || c->doubled ||
      seeded_unit(&s->d->rnd) < 0.5)
    return;
  vnet_at(s->d->net,
          s->d->net->now + (uint64_t)(between(s->d, 0, 1) * (double)every),
          on_bystander, s, every);
}

/* --- the round --- */

static void begin(struct duel *d) {
  double error = (double)d->relayed_rtt / 2;
  uint64_t early = d->relayed_rtt / 2 + MS, at;
  struct duel_side_result none = {.pair_after = NEVER, .over_after = NEVER};
  uint8_t key[PUNCH_KEY_LEN];

  at = d->at = d->net->now +
               (uint64_t)(between(d, 1, 1.5) * (double)d->relayed_rtt) +
               10 * MS;
  rng_fill(&d->rnd.rng, key, sizeof(key));
  vnet_run(d->net, at - early - d->net->now);
  for (int i = 0; i < 2; i++) {
    struct side *s = &d->side[i];

    d->r.side[i] = none;
    s->up->loss = between(d, d->at_worst ? 0.1 : 0, 0.1);
    memcpy(s->o.key, key, sizeof(key));
    memcpy(s->o.id, "a round.", PUNCH_ID_LEN);
    s->o.controlling = i == 0;
    s->o.peer = d->side[!i].o.own;
    s->o.at = i ? at : at + (uint64_t)(int64_t)between(d, -error, error);
    s->o.rtt = d->relayed_rtt;
    s->o.rng = &d->rnd.rng;
    s->o.mac = mac_stun;
    s->o.budget = &s->budget;
    s->o.peer_budget = &s->peer_budget;
    s->o.socks = &s->socks;
    s->o.stats = &s->stats;
    s->o.may_send = may_send;
    s->o.ops = &ops;
    s->o.ud = s;
    s->p = punch_new(&s->o, d->net->now);
    need(s->p);
    punch_watch_init(&s->watch, &s->o.peer, &d->side[!i].seen, &d->rnd.rng);
  }
}

static void tick_due(struct side *s) {
  if (punch_deadline(s->p) > s->d->net->now) return;
  punch_tick(s->p, s->d->net->now);
  drain(s);
}

static bool is_decided(const struct duel *d) {
  const struct side *a = &d->side[0], *b = &d->side[1];

  if (d->to_the_end) return punch_is_dead(a->p) && punch_is_dead(b->p);
  return punch_is_over(a->p) && punch_is_over(b->p);
}

static void turn(struct duel *d, uint64_t until) {
  struct vnet *n = d->net;
  uint64_t at;
  int turns = 0;

  for (;;) {
    at = time_min(punch_deadline(d->side[0].p), punch_deadline(d->side[1].p));
    at = time_min(at, vnet_deadline(n));
    if (at > until) break;
    if (at > n->now) {
      n->now = at;
      turns = 0;
    }
    if (turns++ > TURNS_MAX) abort(); /* a round spins */
    if (vnet_step(n)) continue;
    for (int i = 0; i < 2; i++) tick_due(&d->side[i]);
  }
  n->now = until;
}

static void play(struct duel *d) {
  for (int i = 0; i < 2; i++) drain(&d->side[i]);
  while (!is_decided(d) && d->net->now < d->at + 20 * SEC)
    turn(d, d->net->now + 20 * MS);
  turn(d, d->net->now + 2 * d->r.rtt); /* what is under way */
  d->r.direct = d->r.side[0].n_pairs && d->r.side[1].n_pairs;
  d->r.after = d->r.side[0].pair_after > d->r.side[1].pair_after
                   ? d->r.side[0].pair_after
                   : d->r.side[1].pair_after;
}

/* --- afterwards --- */

static int n_used(const struct side *s) {
  int n = 0;

  for (int i = 0; i < DGRAM_SOCKS_MAX; i++) n += s->socks.used[i];
  return n;
}

static void end_round(struct side *s) {
  struct duel *d = s->d;
  struct dgram v[16];
  int got, n_held = 0;

  while ((got = punch_drain(s->p, v, 16)) > 0)
    for (int i = 0; i < got; i++) vnet_send(s->host, &v[i]);
  punch_free(s->p);
  s->p = NULL;
  for (uint64_t i = 0; i < d->r.side[s->number].n_pairs; i++)
    n_held += s->pairs[i].sock != 0;
  if (vnet_socks_open(s->host) != n_held)
    wrong(d, &d->r.sockets_closed, "sockets stay open");
  if (n_used(s) != n_held)
    wrong(d, &d->r.sockets_closed, "numbers of sockets stay taken");
}

/* A packet by this socket; what arrives at the other end is in its echo. */
static bool crosses(struct side *from, const struct ztna_addr *to,
                    uint16_t sock) {
  struct side *at = &from->d->side[!from->number];
  struct dgram out = {.remote = *to,
                      .data = (const uint8_t *)"!",
                      .len = 1,
                      .seg = 1,
                      .sock = sock};

  at->echo = (struct dgram){0};
  vnet_send(from->host, &out);
  vnet_run(from->d->net, 250 * MS);
  return at->echo.remote.family;
}

/* What a path would do: from the agent's first pair, and back. */
static bool carries(struct duel *d) {
  struct side *a = &d->side[0], *c = &d->side[1];
  struct pair *p = &a->pairs[0];

  return crosses(a, &p->remote, p->sock) &&
         crosses(c, &c->echo.remote, c->echo.sock) &&
         ztna_addr_equal(&a->echo.remote, &p->remote) &&
         a->echo.sock == p->sock;
}

static void finish(struct duel *d) {
  d->ended = true;
  for (int i = 0; i < 2; i++) {
    d->side[i].up->loss = 0;
    end_round(&d->side[i]);
  }
  vnet_run(d->net, SEC);
  if (d->r.direct && !carries(d))
    wrong(d, &d->r.carries, "the pair carries nothing");
}

struct duel_result duel_run(const struct duel_config *c) {
  static struct duel *d; /* large: made once */
  struct duel_result r;

  if (!d) d = calloc(1, sizeof(*d));
  need(d);
  d->c = c;
  d->r = (struct duel_result){.budgets_kept = true,
                              .targets_kept = true,
                              .sockets_closed = true,
                              .carries = true};
  seeded_init(&d->rnd, c->seed);
  memset(d->side, 0, sizeof(d->side));
  d->ended = false;
  d->to_the_end = seeded_unit(&d->rnd) < 0.1;
  d->at_worst = seeded_unit(&d->rnd) < 0.1;
  classes(d);
  network(d);
  for (int i = 0; i < 2; i++) observe(&d->side[i]);
  for (int i = 0; i < 2; i++) bystanders(&d->side[i]);
  for (int i = 0; i < 2; i++) refresh(&d->side[i]);
  begin(d);
  play(d);
  finish(d);
  for (int i = 0; i < 2; i++) {
    d->r.side[i].n_sent = d->side[i].watch.n_sent;
    d->r.side[i].n_search = d->side[i].watch.n_search;
    punch_watch_done(&d->side[i].watch);
  }
  vnet_free(d->net);
  r = d->r;
  return r;
}
