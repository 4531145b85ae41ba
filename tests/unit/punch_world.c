/* punch_world.c - see punch_world.h. */
#include "punch_world.h"
#include "unit.h"

#include "transport/mac.h"

enum { FLIGHTS = 4096 };

struct pw_flight {
  uint64_t at;
  struct ztna_addr from, to;
  size_t len;
  uint8_t data[STUN_MAX];
};

/* --- what the rounds ask and tell */

static bool may_send(void *ud, const struct ztna_addr *to) {
  struct pw_side *s = ud;
  if (s->refused_from && to->port >= s->refused_from) return false;
  return !s->refused.family || !ztna_addr_same_ip(&s->refused, to);
}

static uint64_t *clock_of(struct pw_side *s);

static void on_pair(struct punch *p, void *ud, const struct ztna_addr *remote,
                    uint16_t sock, uint64_t rtt) {
  struct pw_side *s = ud;
  assert_true(s->n_pairs < PW_PAIRS);
  assert_true(!s->p || s->p == p);
  s->pairs[s->n_pairs].remote = *remote;
  s->pairs[s->n_pairs].sock = sock;
  s->pairs[s->n_pairs].rtt = rtt;
  s->pairs[s->n_pairs++].at = *clock_of(s);
}

static void on_over(struct punch *p, void *ud, enum punch_end why) {
  struct pw_side *s = ud;
  s->n_over++;
  s->why = why;
  s->over_at = *clock_of(s);
}

static const struct punch_ops ops = {.on_pair = on_pair, .on_over = on_over};

/* --- life */

static struct pw *world; /* the one that on_pair tells the time of */

static uint64_t *clock_of(struct pw_side *s) { return &world->now; }

static struct nat_view view_of(const struct pw_side *s) {
  struct nat_view v = {.mapping = NAT_NONE, .mapped = s->addr};
  if (s->nat == PW_PUBLIC) return v;
  v.mapping = NAT_ENDPOINT_INDEPENDENT;
  if (s->nat == PW_EVEN) return v;
  v.mapping = NAT_ADDRESS_PORT_DEPENDENT;
  v.allocation = s->nat == PW_RANDOM ? NAT_RANDOM : NAT_SEQUENTIAL;
  v.delta = s->nat == PW_RANDOM ? 0 : s->delta;
  v.last_port = s->nat == PW_RANDOM ? 0 : s->last_port;
  return v;
}

static void side_init(struct pw *w, int i, enum pw_nat nat) {
  struct pw_side *s = &w->side[i];
  s->nat = nat;
  s->delta = 1;
  s->last_port = (uint16_t)(20000 + 1000 * i);
  s->addr = test_addr(i ? "198.51.100.2:4000" : "198.51.100.1:4000");
  s->o.own.nat = view_of(s);
  s->o.own.n = 1;
  s->o.own.list[0].addr = s->addr;
  s->o.own.list[0].kind =
      nat == PW_PUBLIC ? CANDIDATE_HOST : CANDIDATE_REFLEXIVE;
  s->o.controlling = i == 0;
  s->o.at = SEC;
  s->o.rtt = 2 * PW_DELAY_MS * MS;
  memset(s->o.key, 7, sizeof(s->o.key));
  memset(s->o.id, 9, sizeof(s->o.id));
  s->o.rng = &w->rng;
  s->o.mac = mac_stun;
  s->o.budget = &s->budget;
  s->o.peer_budget = &s->peer_budget;
  s->o.socks = &s->socks;
  s->o.stats = &s->stats;
  s->o.may_send = may_send;
  s->o.ops = &ops;
  s->o.ud = s;
}

struct pw *pw_new(uint64_t seed, enum pw_nat a, enum pw_nat b) {
  struct pw *w = calloc(1, sizeof(*w));
  assert_non_null(w);
  w->flight = calloc(FLIGHTS, sizeof(*w->flight));
  assert_non_null(w->flight);
  w->now = SEC / 2;
  w->random = seed;
  w->rng = test_rng(&w->random);
  side_init(w, 0, a);
  side_init(w, 1, b);
  world = w;
  return w;
}

void pw_start(struct pw *w) {
  for (int i = 0; i < 2; i++) {
    struct pw_side *s = &w->side[i];
    s->o.peer = w->side[!i].o.own;
    s->p = punch_new(&s->o, w->now);
    assert_non_null(s->p);
  }
}

void pw_free(struct pw *w) {
  for (int i = 0; i < 2; i++) punch_free(w->side[i].p);
  free(w->flight);
  free(w);
}

/* --- NATs */

void pw_take_ports(struct pw_side *s, int n) {
  int port = s->last_port + n * s->delta;
  if (port < 1024) port += 64512;
  if (port > 65535) port -= 64512;
  s->last_port = (uint16_t)port;
}

static uint16_t new_port(struct pw *w, struct pw_side *s, uint16_t sock) {
  if (s->nat == PW_RANDOM)
    return (uint16_t)(1024 + test_random(&w->random) % 64512);
  if (s->nat != PW_SEQUENTIAL) return (uint16_t)(s->addr.port + sock);
  pw_take_ports(s, 1);
  return s->last_port;
}

/* Each destination has an entry, which is the filter's hole, too. */
static struct pw_hole *hole_of(struct pw *w, struct pw_side *s, uint16_t sock,
                               const struct ztna_addr *to) {
  struct pw_hole *h;
  for (size_t i = 0; i < s->n_holes; i++) {
    h = &s->holes[i];
    if (h->sock == sock && ztna_addr_equal(&h->to, to)) return h;
  }
  assert_true(s->n_holes < PW_HOLES);
  h = &s->holes[s->n_holes++];
  *h = (struct pw_hole){.sock = sock, .outer = new_port(w, s, sock), .to = *to};
  return h;
}

static const struct pw_hole *hole_in(struct pw_side *s, uint16_t outer,
                                     const struct ztna_addr *from) {
  for (size_t i = 0; i < s->n_holes; i++) {
    const struct pw_hole *h = &s->holes[i];
    if (h->outer == outer && (s->open || ztna_addr_equal(&h->to, from)))
      return h;
  }
  if (!s->mapped || outer != s->mapped) return NULL;
  assert_true(s->n_holes < PW_HOLES); /* answers leave by it, too */
  s->holes[s->n_holes] = (struct pw_hole){.outer = outer, .to = *from};
  return &s->holes[s->n_holes++];
}

/* --- the network */

static void fly(struct pw *w, const struct pw_sent *x, const uint8_t *data) {
  struct pw_flight *f = &w->flight[w->n_flight];
  if (x->ttl || !x->len) return;
  if (test_random(&w->random) % 100 < w->loss) return;
  assert_true(w->n_flight < FLIGHTS && x->len <= STUN_MAX);
  w->n_flight++;
  *f = (struct pw_flight){.at = w->now + PW_DELAY_MS * MS,
                          .from = x->from,
                          .to = x->to,
                          .len = x->len};
  memcpy(f->data, data, x->len);
}

static void out(struct pw *w, struct pw_side *s, const struct dgram *d) {
  struct pw_sent *x = &s->sent[s->n_sent];
  assert_true(s->n_sent < PW_SENT);
  s->n_sent++;
  *x = (struct pw_sent){.at = w->now,
                        .from = s->addr,
                        .to = d->remote,
                        .local = d->local,
                        .sock = d->sock,
                        .ttl = d->ttl,
                        .len = d->len,
                        .is_answer = d->len && d->data[0] == 1};
  if (d->len) memcpy(x->txid, d->data + 8, sizeof(x->txid));
  assert_int_equal(d->seg, d->len ? d->len : 1);
  if (d->len && d->remote.family == 4)
    x->from.port = hole_of(w, s, d->sock, &d->remote)->outer;
  fly(w, x, d->data);
}

void pw_send(struct pw *w, struct pw_side *s) {
  struct dgram v[5];
  int n;
  while ((n = punch_next(s->p, w->now, v, 5)) > 0)
    for (int i = 0; i < n; i++) out(w, s, &v[i]);
}

static void arrive(struct pw *w, const struct pw_flight *f) {
  for (int i = 0; i < 2; i++) {
    struct pw_side *s = &w->side[i];
    const struct pw_hole *h;
    struct dgram d = {.remote = f->from, .data = f->data};
    struct stun_msg m;

    if (s->deaf || !ztna_addr_same_ip(&s->addr, &f->to)) continue;
    h = hole_in(s, f->to.port, &f->from);
    if (!h && s->nat != PW_PUBLIC) return;
    d.sock = h ? h->sock : 0;
    d.len = (uint32_t)f->len;
    d.seg = (uint16_t)f->len;
    assert_int_equal(stun_read(&m, f->data, f->len), 0);
    assert_true(punch_has_id(s->p, &m) || m.class != STUN_REQUEST);
    punch_in(s->p, w->now, &d, f->data, f->len, &m);
    pw_send(w, s);
  }
}

static uint64_t next_at(const struct pw *w) {
  uint64_t at = w->n_flight ? w->flight[0].at : NEVER;
  for (int i = 0; i < 2; i++) at = time_min(at, punch_deadline(w->side[i].p));
  return at;
}

static void step(struct pw *w) {
  struct pw_flight f;
  for (int i = 0; i < 2; i++) {
    punch_tick(w->side[i].p, w->now);
    pw_send(w, &w->side[i]);
  }
  while (w->n_flight && w->flight[0].at <= w->now) {
    f = w->flight[0];
    memmove(w->flight, w->flight + 1, --w->n_flight * sizeof(f));
    arrive(w, &f);
  }
}

static bool both_have(const struct pw *w) {
  return w->side[0].n_pairs && w->side[1].n_pairs;
}

static bool run(struct pw *w, uint64_t until, bool found) {
  for (int same = 0; next_at(w) <= until;) {
    uint64_t at = next_at(w);
    same = at > w->now ? 0 : same + 1;
    assert_true(same < 100); /* a deadline that is past for ever */
    if (at > w->now) w->now = at;
    step(w);
    if (found && both_have(w)) return true;
  }
  w->now = until;
  return both_have(w);
}

void pw_run(struct pw *w, uint64_t until) { run(w, until, false); }

bool pw_find(struct pw *w, uint64_t until) { return run(w, until, true); }

size_t pw_most_a_second(const struct pw_side *s) {
  size_t most = 0, n = 0;
  for (size_t i = 0, from = 0; i < s->n_sent; i++) {
    n += s->sent[i].len > 0;
    for (; s->sent[i].at - s->sent[from].at >= SEC; from++)
      n -= s->sent[from].len > 0;
    if (n > most) most = n;
  }
  return most;
}
