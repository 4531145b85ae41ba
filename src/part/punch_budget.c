/* punch_budget.c - how many packets a round may send, and from how many
 * sockets.
 *
 * Whoever gives us candidates makes us send packets where he likes, so the
 * amounts are bounded per peer and in all, whatever the rounds want. */
#include "part/punch_int.h"

enum { MILLI = 1000 };

/* --- buckets of milli-probes */

static void fill(uint64_t *filled_at, uint32_t *tokens, uint64_t now,
                 uint32_t rate, uint32_t burst) {
  uint64_t add, since = now > *filled_at ? now - *filled_at : 0;

  if (!*filled_at || since >= SEC) { /* a second fills any of them */
    *tokens = burst * MILLI;
    *filled_at = now ? now : 1;
    return;
  }
  /* Only whole tokens' time is spent, so that frequent calls lose none. */
  add = since * rate / (SEC / MILLI);
  *filled_at += add * (SEC / MILLI) / rate;
  *tokens = (uint32_t)(*tokens + add);
  if (*tokens > burst * MILLI) *tokens = burst * MILLI;
}

static uint64_t ready_at(uint64_t filled_at, uint32_t tokens, uint32_t rate,
                         uint32_t n) {
  if (!filled_at || tokens >= n * MILLI) return 0;
  return filled_at + (n * MILLI - tokens) * (SEC / MILLI) / rate + 1;
}

bool budget_take(struct punch *p, uint64_t now, uint32_t reserve) {
  struct punch_budget *all = p->o.budget;
  struct punch_peer_budget *peer = p->o.peer_budget;
  uint32_t need = (1 + reserve) * MILLI;

  fill(&all->filled_at, &all->tokens, now, PROCESS_RATE, PROCESS_BURST);
  fill(&peer->filled_at, &peer->tokens, now, PEER_RATE, PEER_BURST);
  if (all->tokens < need || peer->tokens < need) return false;
  all->tokens -= MILLI;
  peer->tokens -= MILLI;
  return true;
}

uint64_t budget_ready_at(const struct punch *p, uint32_t reserve) {
  const struct punch_budget *all = p->o.budget;
  const struct punch_peer_budget *peer = p->o.peer_budget;
  uint64_t a, b;

  a = ready_at(all->filled_at, all->tokens, PROCESS_RATE, 1 + reserve);
  b = ready_at(peer->filled_at, peer->tokens, PEER_RATE, 1 + reserve);
  return a > b ? a : b;
}

bool budget_take_search(struct punch *p, uint64_t now) {
  struct punch_peer_budget *b = p->o.peer_budget;

  if (!b->searched_at || now >= b->searched_at + SEARCH_EVERY) {
    b->searched_at = now ? now : 1;
    b->n_searched = 0;
  }
  if (b->n_searched >= SEARCH_PROBES) return false;
  b->n_searched++;
  return true;
}

/* --- numbers of sockets */

uint16_t punch_sock_take(struct punch_socks *s) {
  for (uint16_t i = 1; i < DGRAM_SOCKS_MAX; i++) {
    if (s->used[i]) continue;
    s->used[i] = true;
    return i;
  }
  return 0;
}

void punch_sock_free(struct punch_socks *s, uint16_t sock) {
  if (sock && sock < DGRAM_SOCKS_MAX) s->used[sock] = false;
}
