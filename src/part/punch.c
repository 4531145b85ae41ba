/* punch.c - the life of a round, and whose turn it is to send. */
#include "part/punch_int.h"

#include <assert.h>
#include <stdlib.h>

/* After the first pair: a better one may be under way. */
#define GRACE (250 * MS)

/* --- life */

struct punch *punch_new(const struct punch_options *o, uint64_t now) {
  struct punch *p = calloc(1, sizeof(*p));

  if (!p) return NULL;
  assert(o->own.n <= PUNCH_CANDIDATES && o->peer.n <= PUNCH_CANDIDATES);
  p->o = *o;
  p->best = RANK_NONE;
  p->dies_at = o->at + PUNCH_LIFE;
  rng_fill(o->rng, &p->mask, sizeof(p->mask));
  o->stats->n_rounds++;
  plan_begin(p);
  search_begin(p);
  return p;
}

void punch_free(struct punch *p) {
  if (!p) return;
  holes_forget(p);
  free(p);
}

int punch_drain(struct punch *p, struct dgram *v, int max) {
  p->dead = p->over = true;
  return holes_close(p, v, max, true);
}

static enum punch_end end_of(const struct punch *p) {
  if (p->found) return PUNCH_FOUND;
  if (!p->n_announced) return PUNCH_NO_CANDIDATES;
  if (p->denied || !p->n_checks) return PUNCH_NO_BUDGET;
  return p->both_hard ? PUNCH_BOTH_HARD : PUNCH_NO_ANSWER;
}

/* Checks of addresses that asked go on: the peer has a pair there, or soon
 * will, and counts on it. */
static void end(struct punch *p) {
  p->over = true;
  for (size_t i = 0; i < p->n_remotes; i++)
    if (!p->remotes[i].asked) p->remotes[i].due = NEVER;
  p->o.ops->on_over(p, p->o.ud, end_of(p));
}

void pair_found(struct punch *p, uint64_t now, struct remote *r, uint64_t rtt) {
  struct hole *h = hole_find(p, r->sock);

  if (r->answered) return;
  r->answered = true;
  r->due = NEVER;
  if (h && h->held) return;
  if (h) h->held = true;
  if (!p->found) p->o.stats->n_found++;
  p->found = true;
  if (r->rank < p->best) p->best = (enum rank)r->rank;
  p->over_at = time_min(p->over_at, now + (plan_has_better(p) ? GRACE : 0));
  p->o.ops->on_pair(p, p->o.ud, &r->addr, r->sock, rtt);
}

void punch_tick(struct punch *p, uint64_t now) {
  if (now >= p->dies_at) p->dead = true;
  if (!p->over && (p->dead || now >= p->over_at)) end(p);
}

bool punch_is_over(const struct punch *p) { return p->over; }

bool punch_is_dead(const struct punch *p) { return p->dead && p->over; }

/* --- what leaves */

static bool remote_next(struct punch *p, uint64_t now, struct dgram *d,
                        uint8_t *room) {
  for (size_t i = 0; i < p->n_remotes; i++) {
    struct remote *r = &p->remotes[i];
    bool opener = r->opener && r->step == 0 && !r->asked;

    if (r->due > now) continue;
    if (!p->o.may_send(p->o.ud, &r->addr)) {
      r->due = NEVER;
      continue;
    }
    if (!budget_take(p, now, 0)) return false;
    check_write(p, now, d, &r->addr, r->sock, room);
    d->local = r->local;
    if (opener) d->ttl = OPENER_TTL;
    remote_sent(r, now, !opener);
    return true;
  }
  return false;
}

/* Answers before checks before searching: each is worth more than the next. */
static bool one_next(struct punch *p, uint64_t now, struct dgram *d,
                     uint8_t *room) {
  return answer_next(p, now, d, room) || remote_next(p, now, d, room) ||
         search_next(p, now, d, room);
}

int punch_next(struct punch *p, uint64_t now, struct dgram *v, int max) {
  int n = holes_close(p, v, max < BATCH ? max : BATCH, p->dead);

  if (p->dead || now >= p->dies_at) return n;
  if (max > BATCH) max = BATCH;
  while (n < max && one_next(p, now, &v[n], p->out + n * PACKET_ROOM)) n++;
  return n;
}

uint64_t punch_deadline(const struct punch *p) {
  uint64_t at = p->over ? NEVER : p->over_at, due = NEVER;

  if (holes_wait_to_close(p)) return 0;
  if (p->dead) return at;
  for (size_t i = 0; i < p->n_remotes; i++)
    due = time_min(due, p->remotes[i].due);
  if (p->n_answers) due = 0;
  if (due != NEVER) {
    uint64_t ready = budget_ready_at(p, 0);
    due = due > ready ? due : ready;
  }
  return time_min(time_min(at, p->dies_at), time_min(due, search_deadline(p)));
}
