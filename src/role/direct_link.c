/* direct_link.c - one link's way to a direct path: when a round begins, when it
 * has what it needs, and how it ends. */
#include "role/direct_int.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

/* Patience with the peer's answer, with the handshake on a pair, with the
 * newest port of a sequential NAT. */
#define ANSWER_AFTER (2 * SEC)
#define HANDSHAKE_AFTER (3 * SEC)
#define REFRESH_AFTER (300 * MS)
/* A path that lived for so long was a good one. */
#define GOOD_AFTER (60 * SEC)
/* What the observer found out is believed for so long; less where it may be
 * the reason of a failure. */
#define OBSERVED_FOR (60 * SEC)
#define DOUBTED_FOR (500 * MS)
#define NO_PATH_AFTER SEC
/* More failures in a row are no news. */
enum { LOGGED_MAX = 5 };

/* --- schedule --- */

/* After the n-th failure in a row; ±20 %, so that links which failed together
 * do not try together. */
static uint64_t pause(const struct direct *d, unsigned n) {
  static const uint64_t after[] = {1, 5, 10, 20, 40, 60};
  enum { LAST = sizeof(after) / sizeof(*after) - 1 };
  uint64_t t = after[n < LAST ? n : LAST] * SEC;

  return t - t / 5 + rng_u64(d->common->rng) % (2 * t / 5);
}

/* The clock is looked at again. */
static void wake(struct direct *d) {
  d->common->links_at = time_min(d->common->links_at, direct_link_deadline(d));
}

static void enter(struct direct *d, enum direct_state state, uint64_t after) {
  uint64_t now = d->common->now;

  d->state = state;
  d->since = now;
  d->until = after == NEVER ? NEVER : now + after;
  wake(d);
}

static void try_after(struct direct *d, uint64_t after) {
  d->try_at = d->common->now + after;
  enter(d, DIRECT_WAITING, NEVER);
}

static uint64_t gathered_by(const struct direct *d) {
  if (direct_is_observing(d->common)) return direct_observed_by(d->common);
  return d->refreshing ? d->until : 0;
}

uint64_t direct_link_deadline(const struct direct *d) {
  uint64_t at = direct_round_ends_at(d);

  if (d->state == DIRECT_GATHERING)
    at = time_min(at, gathered_by(d));
  else
    at = time_min(at, d->until);
  if (d->state == DIRECT_WAITING && d->wanted && !d->joined)
    at = time_min(at, d->try_at);
  return at;
}

/* --- the end of a round --- */

static bool is_news(const struct direct *d) { return d->n_failed < LOGGED_MAX; }

static void log_failed(const struct direct *d) {
  enum log_level level = is_news(d) ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG;

  if (level > log_get_level()) return;
  log_line(level, "%s: direct round failed peer=%s round=%u why=%s",
           direct_role(d), direct_peer(d), d->number, direct_why_word(d->why));
}

void direct_link_failed(struct direct *d, enum direct_why why) {
  if (d->joined) { /* it was about another path besides */
    enter(d, DIRECT_WAITING, NEVER);
    return;
  }
  d->why = why;
  log_failed(d);
  d->n_failed++;
  if (why == WHY_NO_PATH)
    try_after(d, NO_PATH_AFTER);
  else if (d->agent)
    try_after(d, pause(d, why == WHY_PEER_OFF ? UINT32_MAX : d->n_failed));
  else
    enter(d, DIRECT_WAITING, NEVER);
}

void direct_link_found(struct direct *d) {
  if (!d->joined) enter(d, DIRECT_FOUND, HANDSHAKE_AFTER);
}

void direct_link_check(struct direct *d, uint64_t at) {
  char own[64], peer[64];

  if (is_news(d)) {
    snprintf(own, sizeof(own), "%s/%s", nat_behaviour_name(d->own.nat.mapping),
             nat_allocation_name(d->own.nat.allocation));
    snprintf(peer, sizeof(peer), "%s/%s",
             nat_behaviour_name(d->peer.nat.mapping),
             nat_allocation_name(d->peer.nat.allocation));
    log_info("%s: direct round begins peer=%s round=%u nat=%s peer_nat=%s "
             "candidates=%zu peer_candidates=%zu",
             direct_role(d), direct_peer(d), d->number, own, peer, d->own.n,
             d->peer.n);
  }
  enter(d, DIRECT_CHECKING, NEVER);
  if (direct_round_begin(d, at) < 0) direct_link_failed(d, WHY_NO_MEMORY);
  wake(d);
}

/* --- gathering --- */

static bool has_sequential_nat(const struct direct_common *c) {
  const struct nat_view *v = observer_view(c->observer, 4);

  return nat_is_hard(v) && v->allocation == NAT_SEQUENTIAL;
}

/* The last port of a sequential NAT is of use only when it is of now. The
 * observer may be done within the call. */
static void refresh(struct direct *d) {
  d->refreshed = d->refreshing = true;
  d->until = d->common->now + REFRESH_AFTER;
  direct_refresh(d->common);
}

void direct_link_observed(struct direct *d, int family) {
  if (d->state != DIRECT_GATHERING) return;
  if (family == 4) d->refreshing = false;
  d->common->links_at = 0;
}

static bool is_gathered(struct direct *d) {
  uint64_t now = d->common->now;

  if (now < gathered_by(d)) return false;
  if (!d->refreshed && has_sequential_nat(d->common)) refresh(d);
  return now >= gathered_by(d);
}

static void gather(struct direct *d) {
  if (!is_gathered(d)) {
    wake(d);
    return;
  }
  if (!d->agent) {
    direct_talk_answer(d);
    return;
  }
  enter(d, DIRECT_ASKED, ANSWER_AFTER);
  direct_talk_ask(d);
}

void direct_link_begin(struct direct *d, uint32_t number) {
  struct direct_common *c = d->common;
  bool doubted = d->n_failed || d->why == WHY_LOST;

  if (!d->began_at) d->began_at = c->now;
  d->number = number;
  d->n_rounds++;
  d->refreshed = d->refreshing = false;
  direct_observe(c, doubted ? DOUBTED_FOR : OBSERVED_FOR);
  d->state = DIRECT_GATHERING;
  d->since = c->now;
  gather(d);
}

static void try(struct direct *d) {
  d->wanted = false;
  direct_link_begin(d, d->number + 1);
}

/* --- what the link's owner says --- */

void direct_want(struct direct *d, uint64_t now) {
  d->common->now = now;
  if (!d->common->enabled || !d->agent || d->joined) return;
  if (!d->began_at) d->began_at = now;
  d->wanted = true;
  if (d->state != DIRECT_WAITING) return;
  if (now >= d->try_at)
    try(d);
  else
    wake(d);
}

void direct_joined(struct direct *d, uint16_t sock, uint64_t now) {
  d->common->now = now;
  if (sock) {
    direct_round_give(d, sock, 4);
    direct_round_give(d, sock, 6);
  }
  if (d->joined) return;
  d->joined = true;
  d->joined_at = now;
  d->took = d->began_at ? now - d->began_at : 0;
  d->n_failed = 0;
  d->why = WHY_NONE;
  d->wanted = false;
  enter(d, DIRECT_WAITING, NEVER);
  log_info("%s: direct path joined peer=%s took_ms=%" PRIu64, direct_role(d),
           direct_peer(d), d->took / MS);
}

/* A line that was interrupted usually comes back, so the first pause is short;
 * a path that breaks again and again is one to keep away from. */
void direct_lost(struct direct *d, uint64_t now) {
  d->common->now = now;
  if (!d->joined) return;
  d->joined = false;
  d->why = WHY_LOST;
  d->began_at = now;
  log_info("%s: direct path lost peer=%s after_ms=%" PRIu64, direct_role(d),
           direct_peer(d), (now - d->joined_at) / MS);
  if (now - d->joined_at >= GOOD_AFTER) d->n_short = 0;
  try_after(d, now - d->joined_at >= GOOD_AFTER ? 0 : pause(d, d->n_short++));
}

void direct_link_anew(struct direct *d) {
  struct direct_common *c = d->common;

  d->n_failed = d->n_short = 0;
  d->try_at = c->now;
  if (!d->agent && !d->joined) direct_talk_anew(d);
  if (d->state != DIRECT_WAITING) d->wanted = d->agent;
  direct_round_retire(d);
  enter(d, DIRECT_WAITING, NEVER);
}

/* --- time --- */

static void out_of_patience(struct direct *d) {
  if (d->state == DIRECT_ASKED)
    direct_link_failed(d, WHY_NO_REPLY);
  else if (d->state == DIRECT_FOUND)
    direct_link_failed(d, WHY_NO_HANDSHAKE);
}

/* The punch says how a round ends well before that. */
static void end_round(struct direct *d) {
  direct_round_retire(d);
  if (d->state == DIRECT_CHECKING) direct_link_failed(d, WHY_NO_ANSWER);
}

void direct_link_tick(struct direct *d) {
  uint64_t now = d->common->now;

  if (now >= direct_round_ends_at(d)) end_round(d);
  if (d->state == DIRECT_GATHERING)
    gather(d);
  else if (now >= d->until)
    out_of_patience(d);
  if (d->state == DIRECT_WAITING && d->wanted && !d->joined && now >= d->try_at)
    try(d);
  wake(d);
}

/* --- life --- */

struct direct *direct_new(struct direct_common *c, bool agent,
                          const struct direct_ops *ops, void *ud) {
  struct direct *d = calloc(1, sizeof(*d));

  if (!d) return NULL;
  d->common = c;
  d->agent = agent;
  d->ops = ops;
  d->ud = ud;
  d->since = c->now;
  d->until = NEVER;
  d->next = c->all;
  c->all = d;
  return d;
}

void direct_free(struct direct *d) {
  struct direct **at;

  if (!d) return;
  direct_round_retire(d);
  for (at = &d->common->all; *at != d; at = &(*at)->next) continue;
  *at = d->next;
  free(d);
}
