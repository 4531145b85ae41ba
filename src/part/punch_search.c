/* punch_search.c - one NAT gives each destination another port that nobody can
 * tell, the other's mapping is always the same: the hard side opens many holes
 * towards the other's one address, the other tries ports of the hard side's
 * address until it meets one. With 256 holes and 240 probes a second that takes
 * 0.7 s in the median, 3.2 s in 95 of 100.
 *
 * What makes it a pair: the easy side's probe enters hole k, as the hole is
 * open towards its address; by being sent it opened the easy side's own NAT
 * towards k's outer address. So the answer, and the check that the hard side
 * sends back from socket k, both pass.
 *
 * Every other hole is opened by a packet that dies on the way (punch_plan.c
 * says why); the rest goes all the way, because behind two NATs in a row the
 * outer one would else see none of it. */
#include "part/punch_int.h"

enum { WINDOW = 512 }; /* of a sequential NAT: ports ahead that are tried */

/* A pass over the sockets lasts a second; then mappings are refreshed. */
#define PASS_EVERY (4 * SEC)
/* From the agreed moment. Of 100 searches 99 have met something by then (97
 * behind a router that takes every other hole for its own); one in vain, as
 * when UDP is blocked, is over within 10 s. */
#define SEARCH_LIFE (8500 * MS)
/* Answers to the last probes may still come. */
#define LAST_WAIT SEC

static bool is_even(const struct nat_view *v) {
  return v->mapping == NAT_NONE || v->mapping == NAT_ENDPOINT_INDEPENDENT;
}

/* Plain and predicted probes were sent and could be answered. */
static uint64_t patience(const struct punch *p, bool predicted) {
  uint64_t least = predicted ? 700 * MS : 200 * MS;
  uint64_t wait = p->lead + (predicted ? 180 : 80) * MS + 3 * p->o.rtt / 2;

  if (wait > SEC) wait = SEC;
  return wait > least ? wait : least;
}

static uint32_t n_targets(const struct punch *p) {
  return is_sequential(&p->o.peer.nat) ? WINDOW : PORTS;
}

/* Steps that share no factor with n_targets visit each once, in an order that
 * has nothing to do with the allocator's. */
static void shuffle(struct punch *p) {
  uint64_t r = rng_u64(p->o.rng);

  p->first_port = (uint32_t)r % n_targets(p);
  p->port_step = (uint32_t)(r >> 32) % n_targets(p) | 1;
  while (p->port_step % 3 == 0 || p->port_step % 7 == 0) p->port_step += 2;
}

void search_begin(struct punch *p) {
  const struct nat_view *own = &p->o.own.nat, *peer = &p->o.peer.nat;
  bool own_hard = nat_is_hard(own);

  p->target = p->observed;
  if (own_hard == nat_is_hard(peer) || !is_even(own_hard ? peer : own)) return;
  if (!p->target.family || !p->has_observed) return;
  p->search = own_hard ? SEARCH_HOLES : SEARCH_PORTS;
  p->search_at = p->o.at + patience(p, is_sequential(own_hard ? own : peer));
  p->pass_at = p->search_at;
  p->over_at = p->o.at + SEARCH_LIFE + LAST_WAIT;
  shuffle(p);
}

static void give_up(struct punch *p, uint64_t now) {
  p->search = SEARCH_NONE;
  p->over_at = time_min(p->over_at, now + LAST_WAIT);
}

/* --- the easy side */

static uint16_t port_next(struct punch *p) {
  uint64_t i = p->first_port + (uint64_t)p->n_ports++ * p->port_step;
  uint32_t at = (uint32_t)(i % n_targets(p));

  if (!is_sequential(&p->o.peer.nat)) return (uint16_t)(PORT_MIN + at);
  return port_ahead(&p->o.peer.nat, PREDICTED + 1 + (int)at);
}

static bool ports_next(struct punch *p, uint64_t now, struct dgram *d,
                       uint8_t *room) {
  struct ztna_addr to = p->target;

  to.port = port_next(p);
  if (!p->o.may_send(p->o.ud, &to)) return false;
  check_write(p, now, d, &to, 0, room);
  return true;
}

/* --- the hard side */

struct hole *hole_find(struct punch *p, uint16_t sock) {
  for (size_t i = 0; sock && i < p->n_holes; i++)
    if (p->holes[i].sock == sock) return &p->holes[i];
  return NULL;
}

static void pass_over(struct punch *p, uint64_t now) {
  p->has_holes = true;
  p->next_hole = 0;
  p->pass_at += PASS_EVERY;
  p->search_at = p->pass_at;
  if (p->n_holes) return;
  p->denied = true;
  give_up(p, now);
}

/* Whose turn it is; NULL: there are no more sockets. */
static struct hole *hole_turn(struct punch *p) {
  uint16_t sock;

  if (p->next_hole < p->n_holes) return &p->holes[p->next_hole++];
  if (p->has_holes) return NULL;
  sock = punch_sock_take(p->o.socks);
  if (!sock) return NULL;
  p->holes[p->n_holes++] = (struct hole){.sock = sock};
  return &p->holes[p->next_hole++];
}

static bool holes_next(struct punch *p, uint64_t now, struct dgram *d,
                       uint8_t *room) {
  bool opener = p->next_hole & 1;
  struct hole *h;

  if (!p->o.may_send(p->o.ud, &p->target)) return false;
  h = hole_turn(p);
  if (!h || p->next_hole == PUNCH_SOCKS) pass_over(p, now);
  if (!h) return false;
  check_write(p, now, d, &p->target, h->sock, room);
  if (opener) d->ttl = OPENER_TTL;
  return true;
}

static bool closes(const struct hole *h, bool all) {
  return h->sock && !h->held && (all || !h->touched);
}

static bool may_close(const struct punch *p) { return p->found || p->dead; }

int holes_close(struct punch *p, struct dgram *v, int max, bool all) {
  int n = 0;

  for (size_t i = 0; may_close(p) && i < p->n_holes && n < max; i++) {
    struct hole *h = &p->holes[i];
    if (!closes(h, all)) continue;
    v[n++] = (struct dgram){.remote = {.family = p->target.family},
                            .data = p->out,
                            .seg = 1,
                            .sock = h->sock};
    punch_sock_free(p->o.socks, h->sock);
    *h = (struct hole){0};
  }
  return n;
}

bool holes_wait_to_close(const struct punch *p) {
  for (size_t i = 0; may_close(p) && i < p->n_holes; i++)
    if (closes(&p->holes[i], p->dead)) return true;
  return false;
}

void holes_forget(struct punch *p) {
  for (size_t i = 0; i < p->n_holes; i++)
    if (closes(&p->holes[i], true))
      punch_sock_free(p->o.socks, p->holes[i].sock);
}

/* --- either */

static bool is_searching(const struct punch *p) {
  return p->search && !p->found && !p->over;
}

bool search_next(struct punch *p, uint64_t now, struct dgram *d,
                 uint8_t *room) {
  bool sent;

  if (!is_searching(p) || now < p->search_at) return false;
  if (now >= p->o.at + SEARCH_LIFE) {
    give_up(p, now);
    return false;
  }
  if (!budget_take(p, now, SEARCH_RESERVE)) return false;
  if (!budget_take_search(p, now)) {
    p->denied = true;
    give_up(p, now);
    return false;
  }
  sent = p->search == SEARCH_PORTS ? ports_next(p, now, d, room)
                                   : holes_next(p, now, d, room);
  if (sent) p->o.stats->n_search_probes++;
  return sent;
}

uint64_t search_deadline(const struct punch *p) {
  uint64_t ready;

  if (!is_searching(p)) return NEVER;
  ready = budget_ready_at(p, SEARCH_RESERVE);
  return p->search_at > ready ? p->search_at : ready;
}
