/* punch_watch.c - see punch_watch.h. */
#include "sim/punch_watch.h"

#include <stdlib.h>

enum {
  SEARCH_MAX = 3000,   /* probes of guessed ports, or from many sockets */
  PREDICTED_MAX = 150, /* besides, of the next 30 ports of a sequential NAT */
};

struct key { /* no padding: its bytes are hashed */
  struct ztna_addr addr;
  uint64_t sock;
};

static void need(bool ok) {
  if (!ok) abort(); /* no memory, or a test's own mistake */
}

void punch_watch_init(struct punch_watch *w, const struct punch_side *peer,
                      const struct ztna_addr *observed, const struct rng *rng) {
  w->peer = peer;
  w->observed = *observed;
  map_init(&w->targets, sizeof(struct key), WATCH_TARGETS, rng);
}

void punch_watch_done(struct punch_watch *w) { map_done(&w->targets); }

static struct punch_watch_target *target_of(struct punch_watch *w,
                                            const struct dgram *d) {
  struct key key = {d->remote, d->sock};
  struct punch_watch_target *t = map_get(&w->targets, &key);

  if (t) return t;
  need(w->n_targets < WATCH_TARGETS);
  t = &w->target[w->n_targets++];
  need(map_put(&w->targets, &key, t) == 0);
  return t;
}

static bool is_candidate(const struct punch_watch *w,
                         const struct ztna_addr *a) {
  for (size_t i = 0; i < w->peer->n; i++)
    if (ztna_addr_equal(&w->peer->list[i].addr, a)) return true;
  return false;
}

static bool is_check(const struct dgram *d) {
  return d->data[0] == 0 && d->data[1] == 1;
}

static void count_check(struct punch_watch *w, const struct dgram *d) {
  struct punch_watch_target *t = target_of(w, d);

  if (++t->n_checks > PUNCH_PROBES)
    w->over_budget = "more than 10 probes to one address";
  if (t->heard || (!d->sock && is_candidate(w, &d->remote))) return;
  if (++w->n_search > SEARCH_MAX + PREDICTED_MAX)
    w->over_budget = "more than 3000 probes of a search";
}

void punch_watch_out(struct punch_watch *w, uint64_t now,
                     const struct dgram *d) {
  uint64_t *last = &w->sent_at[w->n_sent % WATCH_PER_SECOND];

  if (w->n_sent++ >= WATCH_PER_SECOND && *last + SEC > now)
    w->over_budget = "more than 300 packets in a second";
  *last = now;
  if (!is_candidate(w, &d->remote) &&
      !ztna_addr_same_ip(&w->observed, &d->remote))
    w->astray = "a packet for somebody else";
  if (is_check(d)) count_check(w, d);
}

void punch_watch_in(struct punch_watch *w, const struct dgram *d,
                    bool is_answer) {
  struct punch_watch_target *t = target_of(w, d);

  t->heard = true;
  if (is_answer) t->n_checks = 0;
}
