/* probe_hole.c - tests on request with sockets of their own, of IPv4: does the
 * NAT send back in what goes to its own outer addresses (RFC 4787, 6), and how
 * long does a mapping last without packets (4.3)?
 *
 * Lifetime: many mappings are made at one time, used as a connection would use
 * them (many NATs, Linux among them, forget sooner what was used for less than
 * 2 seconds), and each is left alone for another span. Then the main socket
 * asks the server to answer to the outer port of that one (RESPONSE-PORT, RFC
 * 5780, 7.5): an answer that arrives there shows that it lives, and asking has
 * not renewed it. */
#include "host/probe_int.h"

#include <string.h>

#include "host/clock.h"

enum { TRIES = 4, HAIRPIN_TRIES = 6, USES = 2 };
#define TRY_EVERY (150 * MS)
#define USE_EVERY (2500 * MS)

/* The first is hardly any: does this server answer to another port at all? */
static const uint16_t rests_s[] = {0,  5,  10,  15,  20,  30,  45,
                                   60, 90, 120, 150, 180, 240, 300};
enum { N_RESTS = sizeof(rests_s) / sizeof(*rests_s) };

/* A server that answers. */
static const struct ztna_addr *server_of(const struct probe *p) {
  for (size_t i = 0; i < 2 * p->o->n_targets; i += 2)
    if (p->paths[i].ping.n_answered) return &p->paths[i].addr;
  return NULL;
}

static bool same_id(const uint8_t *a, const struct stun_msg *m) {
  return !memcmp(a, m->txid, STUN_TXID_LEN);
}

/* One request. The bytes last until the next one. */
static bool ask(struct dgram *d, const struct ztna_addr *to, uint16_t sock,
                const uint8_t *txid, uint16_t response_port) {
  static uint8_t room[STUN_MAX];
  struct stun_msg m = {.class = STUN_REQUEST,
                       .method = STUN_BINDING,
                       .response_port = response_port,
                       .padding = response_port ? 64 : 0,
                       .fingerprint = true};
  memcpy(m.txid, txid, sizeof(m.txid));
  int len = stun_write(room, &m, NULL, 0, NULL);
  *d = (struct dgram){.remote = *to,
                      .data = room,
                      .len = (uint32_t)len,
                      .seg = (uint16_t)len,
                      .sock = sock};
  return true;
}

/* --- hairpinning */

void probe_hairpin_start(struct probe *p, uint64_t now) {
  struct probe_hairpin *h = &p->hairpin;
  const struct nat_view *v = observer_view(p->observer, 4);
  h->done = true;
  /* It is a server that names the address. */
  if (v->mapping <= NAT_NONE || !server_of(p) ||
      ztna_addr_is_loopback(&v->mapped) || ztna_addr_is_link_local(&v->mapped))
    return;
  h->sock = punch_sock_take(&p->socks);
  if (!h->sock) return;
  h->done = false;
  h->running = true;
  h->next_at = now;
  rng_fill(&clock_rng, h->txid, sizeof(h->txid));
  rng_fill(&clock_rng, h->open_txid, sizeof(h->open_txid));
}

static void hairpin_end(struct probe_hairpin *h) {
  h->running = false;
  h->done = true;
}

static bool hairpin_in(struct probe *p, uint64_t now, const struct dgram *d,
                       const struct stun_msg *m) {
  struct probe_hairpin *h = &p->hairpin;
  if (!h->running) return false;
  if (same_id(h->txid, m)) {
    h->passes = true;
    hairpin_end(h);
    return true;
  }
  if (!same_id(h->open_txid, m)) return false;
  if (m->class != STUN_SUCCESS || h->mapped.family) return true;
  h->mapped = m->mapped;
  h->n_sent = 0;
  h->next_at = now;
  return true;
}

/* By turns from the one socket to the other: what filters hears of both. */
static bool hairpin_next(struct probe *p, uint64_t now, struct dgram *d) {
  struct probe_hairpin *h = &p->hairpin;
  const struct nat_view *v = observer_view(p->observer, 4);
  if (!h->running || now < h->next_at) return false;
  int tries = h->mapped.family ? HAIRPIN_TRIES : TRIES;
  if (h->n_sent == tries) return false;
  bool odd = h->n_sent++ % 2;
  /* Two leave together. */
  if (odd || !h->mapped.family || h->n_sent == tries)
    h->next_at = now + TRY_EVERY;
  if (!h->mapped.family) return ask(d, server_of(p), h->sock, h->open_txid, 0);
  return ask(d, odd ? &v->mapped : &h->mapped, odd ? h->sock : 0, h->txid, 0);
}

static void hairpin_tick(struct probe *p, uint64_t now) {
  struct probe_hairpin *h = &p->hairpin;
  int tries = h->mapped.family ? HAIRPIN_TRIES : TRIES;
  if (!h->running || h->n_sent < tries || now < h->next_at) return;
  if (!h->mapped.family) h->sock = 0; /* not even the server answered */
  hairpin_end(h);
}

/* --- lifetime */

void probe_lifetime_start(struct probe *p, uint64_t now) {
  struct probe_lifetime *l = &p->lifetime;
  const struct nat_view *v = observer_view(p->observer, 4);
  l->done = true;
  if (v->mapping == NAT_UNKNOWN || !server_of(p)) return;
  for (size_t i = 0; i < N_RESTS; i++) {
    struct probe_hole *h = &l->holes[l->n_holes];
    uint16_t sock = punch_sock_take(&p->socks);
    if (!sock) break;
    l->n_holes++;
    *h = (struct probe_hole){
        .sock = sock, .rest = rests_s[i] * SEC, .next_at = now};
    rng_fill(&clock_rng, h->txid, sizeof(h->txid));
  }
  l->done = false;
  l->running = true;
  if (p->o->on_progress)
    p->o->on_progress("lifetime: takes 5 minutes at most, and ends as soon as "
                      "two mappings are gone");
}

static void lifetime_end(struct probe_lifetime *l) {
  l->running = false;
  l->done = true;
}

/* Judges what has ended; neighbours that are gone end it all. */
static void lifetime_judge(struct probe_lifetime *l) {
  size_t i = 0;
  l->works = l->holes[0].state == HOLE_ALIVE;
  while (i < l->n_holes && l->holes[i].state == HOLE_ALIVE) i++;
  if (i) l->alive = l->holes[i - 1].rest;
  if (i == l->n_holes) {
    lifetime_end(l);
  } else if (l->holes[i].state == HOLE_GONE) {
    l->gone = l->holes[i].rest;
    /* One may have been lost on the way: another must be gone as well. */
    if (!i || i + 1 == l->n_holes || l->holes[i + 1].state == HOLE_GONE)
      lifetime_end(l);
    if (i + 1 < l->n_holes && l->holes[i + 1].state == HOLE_ALIVE)
      l->holes[i].state = HOLE_ALIVE;
  }
}

static void hole_used(struct probe_hole *h, uint64_t now, uint16_t port) {
  bool often = ++h->n_used == USES;
  h->port = port;
  h->state = often ? HOLE_RESTS : HOLE_NEW;
  h->next_at = now + (often ? h->rest : USE_EVERY);
  h->n_sent = 0;
  rng_fill(&clock_rng, h->txid, sizeof(h->txid));
}

static bool lifetime_in(struct probe *p, uint64_t now, const struct dgram *d,
                        const struct stun_msg *m) {
  struct probe_lifetime *l = &p->lifetime;
  for (size_t i = 0; l->running && i < l->n_holes; i++) {
    struct probe_hole *h = &l->holes[i];
    if (!same_id(h->txid, m)) continue;
    if (h->state == HOLE_NEW && m->class == STUN_SUCCESS) {
      hole_used(h, now, m->mapped.port);
    } else if (h->state == HOLE_ASKED && d->sock == h->sock &&
               m->class == STUN_SUCCESS) {
      h->state = HOLE_ALIVE;
      lifetime_judge(l);
    }
    return true;
  }
  return false;
}

static bool lifetime_next(struct probe *p, uint64_t now, struct dgram *d) {
  struct probe_lifetime *l = &p->lifetime;
  for (size_t i = 0; l->running && i < l->n_holes; i++) {
    struct probe_hole *h = &l->holes[i];
    bool asks = h->state == HOLE_ASKED;
    if (now < h->next_at || h->n_sent == TRIES ||
        (h->state != HOLE_NEW && !asks))
      continue;
    h->n_sent++;
    h->next_at = now + TRY_EVERY;
    return ask(d, server_of(p), asks ? 0 : h->sock, h->txid,
               asks ? h->port : 0);
  }
  return false;
}

static void lifetime_tick(struct probe *p, uint64_t now) {
  struct probe_lifetime *l = &p->lifetime;
  for (size_t i = 0; l->running && i < l->n_holes; i++) {
    struct probe_hole *h = &l->holes[i];
    if (now < h->next_at || h->state >= HOLE_ALIVE) continue;
    if (h->state == HOLE_RESTS) {
      h->state = HOLE_ASKED;
      h->n_sent = 0;
      rng_fill(&clock_rng, h->txid, sizeof(h->txid));
    } else if (h->n_sent == TRIES) {
      h->state = HOLE_GONE;
      lifetime_judge(l);
    }
  }
}

/* --- both */

bool probe_hole_in(struct probe *p, uint64_t now, const struct dgram *d,
                   const struct stun_msg *m) {
  return hairpin_in(p, now, d, m) || lifetime_in(p, now, d, m);
}

bool probe_hole_next(struct probe *p, uint64_t now, struct dgram *d) {
  return hairpin_next(p, now, d) || lifetime_next(p, now, d);
}

void probe_hole_tick(struct probe *p, uint64_t now) {
  hairpin_tick(p, now);
  lifetime_tick(p, now);
}

uint64_t probe_hole_deadline(const struct probe *p) {
  const struct probe_lifetime *l = &p->lifetime;
  uint64_t at = p->hairpin.running ? p->hairpin.next_at : NEVER;
  for (size_t i = 0; l->running && i < l->n_holes; i++)
    if (l->holes[i].state < HOLE_ALIVE) at = time_min(at, l->holes[i].next_at);
  return at;
}
