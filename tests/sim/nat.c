/* nat.c - see nat.h. Two things are remembered: mappings (which port stands for
 * which inside address, towards whom) and holes (who may come in to which outer
 * address). Both end by age, when they are looked at. */
#include "sim/nat.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "sim/seeded.h"

enum {
  FIRST_PORT = 1024,
  LAST_PORT = 65535,
  MAPPINGS_MAX = LAST_PORT - FIRST_PORT + 1,
  HOLES_MAX = 1 << 17,
};

struct key { /* no padding: its bytes are hashed */
  struct ztna_addr own, remote;
};

struct mapping {
  struct key by; /* inside address, as much of the remote as counts */
  struct ztna_addr outer;
  uint64_t used_at;
};

/* Never younger than its mapping: none is left over for the next of a port. */
struct hole {
  struct key by; /* outer address, as much of the remote as counts */
  uint64_t used_at;
  bool input; /* the router's own, not an inside host's */
};

struct sim_nat {
  struct sim_nat_config cfg;
  struct ztna_addr outer;
  struct ztna_addr allowed[SIM_NAT_ALLOWED];
  size_t n_allowed;
  struct seeded rnd;
  struct map by_key, by_port; /* mappings */
  struct map holes;
  uint16_t last_port;
  struct sim_nat_stats stats;
};

static void need(bool ok) {
  if (!ok) abort(); /* no memory, or a test's own mistake */
}

static uint16_t some_port(struct sim_nat *n) {
  return (uint16_t)(FIRST_PORT +
                    seeded_u64(&n->rnd) % (LAST_PORT - FIRST_PORT + 1));
}

/* --- life --- */

struct sim_nat *sim_nat_new(const struct sim_nat_config *c,
                            const struct ztna_addr *outer, uint64_t seed) {
  struct sim_nat *n = calloc(1, sizeof(*n));

  need(n);
  n->cfg = *c;
  if (!n->cfg.life) n->cfg.life = SIM_NAT_LIFE;
  if (!n->cfg.step) n->cfg.step = 1;
  if (outer) n->outer = *outer;
  n->outer.port = 0;
  need(n->outer.family || c->mapping == NAT_NONE);
  seeded_init(&n->rnd, seed);
  map_init(&n->by_key, sizeof(struct key), MAPPINGS_MAX, &n->rnd.rng);
  map_init(&n->by_port, sizeof(uint64_t), MAPPINGS_MAX, &n->rnd.rng);
  map_init(&n->holes, sizeof(struct key), HOLES_MAX, &n->rnd.rng);
  n->last_port = some_port(n);
  return n;
}

static void forget(struct map *m) {
  size_t pos = 0;
  void *v;

  while ((v = map_next(m, &pos))) free(v);
  map_done(m);
}

static void empty(struct map *m, const struct rng *rng) {
  size_t key_len = m->key_len, max = m->max;

  forget(m);
  map_init(m, key_len, max, rng);
}

void sim_nat_flush(struct sim_nat *n) {
  map_done(&n->by_port); /* the same mappings as by_key */
  map_init(&n->by_port, sizeof(uint64_t), MAPPINGS_MAX, &n->rnd.rng);
  empty(&n->by_key, &n->rnd.rng);
  empty(&n->holes, &n->rnd.rng);
}

void sim_nat_free(struct sim_nat *n) {
  if (!n) return;
  forget(&n->by_key);
  forget(&n->holes);
  map_done(&n->by_port);
  free(n);
}

void sim_nat_move(struct sim_nat *n, const struct ztna_addr *outer) {
  n->outer = *outer;
  n->outer.port = 0;
  sim_nat_flush(n);
}

void sim_nat_allow(struct sim_nat *n, const struct ztna_addr *a) {
  need(n->n_allowed < SIM_NAT_ALLOWED);
  n->allowed[n->n_allowed++] = *a;
}

bool sim_nat_is_transparent(const struct sim_nat *n, int family) {
  return family == 6 || n->cfg.mapping == NAT_NONE;
}

const struct ztna_addr *sim_nat_outer(const struct sim_nat *n) {
  return &n->outer;
}

const struct sim_nat_config *sim_nat_config(const struct sim_nat *n) {
  return &n->cfg;
}

const struct sim_nat_stats *sim_nat_stats(const struct sim_nat *n) {
  return &n->stats;
}

/* --- keys --- */

/* The part of a remote address that this behaviour tells apart. */
static struct key key_of(const struct ztna_addr *own,
                         const struct ztna_addr *remote, enum nat_behaviour b) {
  struct key k = {.own = *own};

  if (b == NAT_ADDRESS_DEPENDENT || b == NAT_ADDRESS_PORT_DEPENDENT)
    k.remote = *remote;
  if (b == NAT_ADDRESS_DEPENDENT) k.remote.port = 0;
  return k;
}

static bool is_old(const struct sim_nat *n, uint64_t now, uint64_t used_at) {
  return now >= used_at + n->cfg.life;
}

/* --- holes --- */

static struct hole *hole_find(struct sim_nat *n, uint64_t now,
                              const struct key *k) {
  struct hole *h = map_get(&n->holes, k);

  if (!h || !is_old(n, now, h->used_at)) return h;
  free(map_del(&n->holes, k));
  return NULL;
}

/* Makes it, or refreshes it for its new owner. */
static void hole_put(struct sim_nat *n, uint64_t now, const struct key *k,
                     bool input) {
  struct hole *h = hole_find(n, now, k);

  if (!h) {
    h = calloc(1, sizeof(*h));
    need(h);
    h->by = *k;
    if (map_put(&n->holes, k, h) < 0) {
      n->stats.n_full++;
      free(h);
      return;
    }
  }
  h->used_at = now;
  h->input = input;
}

/* Does the router itself have this 5-tuple? */
static bool is_occupied(struct sim_nat *n, uint64_t now,
                        const struct ztna_addr *outer,
                        const struct ztna_addr *remote) {
  struct key k = {*outer, *remote};
  struct hole *h = n->cfg.input_accept ? hole_find(n, now, &k) : NULL;

  return h && h->input;
}

/* --- mappings --- */

static void mapping_del(struct sim_nat *n, struct mapping *m) {
  uint64_t port = m->outer.port;

  map_del(&n->by_port, &port);
  map_del(&n->by_key, &m->by);
  free(m);
}

static struct mapping *fresh(struct sim_nat *n, uint64_t now,
                             struct mapping *m) {
  if (!m || !is_old(n, now, m->used_at)) return m;
  mapping_del(n, m);
  return NULL;
}

static struct mapping *mapping_of_port(struct sim_nat *n, uint64_t now,
                                       uint16_t port) {
  uint64_t key = port;

  return fresh(n, now, map_get(&n->by_port, &key));
}

static struct ztna_addr outer_at(const struct sim_nat *n, uint16_t port) {
  struct ztna_addr a = n->outer;

  a.port = port;
  return a;
}

static bool port_is_free(struct sim_nat *n, uint64_t now, uint16_t port,
                         const struct ztna_addr *to) {
  struct ztna_addr outer = outer_at(n, port);

  return port >= FIRST_PORT && !mapping_of_port(n, now, port) &&
         !is_occupied(n, now, &outer, to);
}

/* At the end of the range it goes on at the other one. */
static uint16_t port_after(const struct sim_nat *n, uint16_t port) {
  int i = (port - FIRST_PORT + n->cfg.step) % MAPPINGS_MAX;

  return (uint16_t)(FIRST_PORT + (i < 0 ? i + MAPPINGS_MAX : i));
}

static uint16_t port_choose(struct sim_nat *n, uint64_t now,
                            const struct ztna_addr *from,
                            const struct ztna_addr *to) {
  uint16_t port = from->port;

  if (n->cfg.allocation == NAT_PRESERVING && port_is_free(n, now, port, to))
    return port;
  do
    port = n->cfg.allocation == NAT_SEQUENTIAL
               ? n->last_port = port_after(n, n->last_port)
               : some_port(n);
  while (!port_is_free(n, now, port, to));
  return port;
}

static struct mapping *mapping_new(struct sim_nat *n, uint64_t now,
                                   const struct key *k,
                                   const struct ztna_addr *to) {
  struct mapping *m;
  uint64_t port;

  if (n->by_port.n == MAPPINGS_MAX / 2) { /* a port is soon found */
    n->stats.n_full++;
    return NULL;
  }
  m = calloc(1, sizeof(*m));
  need(m);
  port = port_choose(n, now, &k->own, to);
  *m = (struct mapping){
      .by = *k, .outer = outer_at(n, (uint16_t)port), .used_at = now};
  need(map_put(&n->by_key, k, m) == 0 && map_put(&n->by_port, &port, m) == 0);
  n->stats.n_mappings++;
  return m;
}

/* Where this socket's packets come from as a rule; family 0: not decided. */
static struct ztna_addr usual_outer(struct sim_nat *n, const struct mapping *m,
                                    const struct ztna_addr *from) {
  if (m) return m->outer;
  if (n->cfg.allocation == NAT_PRESERVING) return outer_at(n, from->port);
  return (struct ztna_addr){0};
}

static struct mapping *mapping_for(struct sim_nat *n, uint64_t now,
                                   const struct ztna_addr *from,
                                   const struct ztna_addr *to) {
  struct key k = key_of(from, to, n->cfg.mapping),
             exact = key_of(from, to, NAT_ADDRESS_PORT_DEPENDENT);
  struct mapping *m = fresh(n, now, map_get(&n->by_key, &exact));
  struct ztna_addr usual;

  if (m) return m; /* diverted before, or the only kind there is */
  m = fresh(n, now, map_get(&n->by_key, &k));
  usual = usual_outer(n, m, from);
  if (!is_occupied(n, now, &usual, to))
    return m ? m : mapping_new(n, now, &k, to);
  n->stats.n_diverted++;
  return mapping_new(n, now, &exact, to);
}

/* --- packets --- */

static bool may_leave(const struct sim_nat *n, const struct ztna_addr *to) {
  for (size_t i = 0; i < n->n_allowed; i++)
    if (ztna_addr_same_ip(&n->allowed[i], to)) return true;
  return !n->cfg.blocked;
}

bool sim_nat_out(struct sim_nat *n, uint64_t now, struct ztna_addr *from,
                 const struct ztna_addr *to) {
  struct mapping *m;
  struct key k;

  if (!may_leave(n, to)) {
    n->stats.n_blocked++;
    return false;
  }
  if (!sim_nat_is_transparent(n, from->family)) {
    if (!(m = mapping_for(n, now, from, to))) return false;
    m->used_at = now;
    *from = m->outer;
  }
  k = key_of(from, to, n->cfg.filtering);
  if (n->cfg.filtering != NAT_NONE) hole_put(n, now, &k, false);
  n->stats.n_out++;
  return true;
}

static bool may_enter(struct sim_nat *n, uint64_t now, const struct mapping *m,
                      const struct ztna_addr *from,
                      const struct ztna_addr *to) {
  struct key k = key_of(to, from, n->cfg.filtering);
  struct hole *h;

  if (!m && !sim_nat_is_transparent(n, to->family)) return false;
  if (is_occupied(n, now, to, from)) return false;
  if (n->cfg.filtering == NAT_NONE) return true;
  h = hole_find(n, now, &k);
  return h && !h->input;
}

bool sim_nat_in(struct sim_nat *n, uint64_t now, const struct ztna_addr *from,
                struct ztna_addr *to) {
  struct mapping *m = NULL;
  struct key k = {*to, *from};

  if (!sim_nat_is_transparent(n, to->family))
    m = mapping_of_port(n, now, to->port);
  if (may_enter(n, now, m, from, to)) {
    if (m) *to = m->by.own;
    n->stats.n_in++;
    return true;
  }
  if (n->cfg.input_accept && !sim_nat_is_transparent(n, to->family)) {
    hole_put(n, now, &k, true);
    n->stats.n_input++;
  } else
    n->stats.n_filtered++;
  return false;
}

void sim_nat_take(struct sim_nat *n, uint64_t now) {
  /* Each time another address of 0/8, which no inside host has. */
  uint64_t i = n->stats.n_mappings;
  uint8_t who[4] = {0, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i},
          whom[4] = {192, 0, 2, 77};
  struct ztna_addr from = ztna_addr_v4(who, some_port(n)),
                   to = ztna_addr_v4(whom, 443);

  if (n->cfg.mapping != NAT_NONE) mapping_for(n, now, &from, &to);
}
