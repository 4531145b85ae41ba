/* direct.c - see direct.h: what all links of a process share. */
#include "role/direct_int.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>
#include <ztna/err.h>

#include "role/direct_filter.h"

/* The observer is waited for so long after it began: what it has by then is
 * enough for most. */
#define OBSERVE_AFTER (500 * MS)

static int family_of(int i) { return i ? 6 : 4; }

/* --- own view --- */

/* A new server: the observer asks it by itself when the view lacks something;
 * the old view stands until then. */
static void ask_news(struct direct_common *c) {
  if (!c->has_news) return;
  c->has_news = false;
  c->asked_at = c->now;
  for (int i = 0; i < DIRECT_FAMILIES; i++) {
    const struct nat_view *v = observer_view(c->observer, family_of(i));

    c->asks[i] = v->mapping == NAT_UNKNOWN || v->mapping_partial;
  }
  observer_tick(c->observer, c->now);
  c->observer_is_hot = true;
}

void direct_observe(struct direct_common *c, uint64_t not_older_than) {
  const struct outside *o = c->outside;
  struct ztna_addr own[OUTSIDE_LOCALS];

  if (!c->enabled) return;
  if (!c->observe_due && c->now < c->observed_at + not_older_than) {
    ask_news(c);
    return;
  }
  for (size_t i = 0; i < o->n_locals; i++) own[i] = o->locals[i].addr;
  c->observe_due = c->has_news = false;
  c->observed_at = c->asked_at = c->now;
  c->n_unanswered = observer_stats(c->observer)->n_unanswered;
  observer_set_local(c->observer, own, o->n_locals);
  observer_start(c->observer, c->now);
  c->observer_is_hot = true;
}

void direct_refresh(struct direct_common *c) {
  observer_refresh(c->observer, 4, c->now);
  c->observer_is_hot = true;
}

static bool has_server(const struct direct_common *c, int family) {
  for (int i = 0; i < OBSERVER_SERVERS; i++)
    if (c->has_server[family][i]) return true;
  return false;
}

uint64_t direct_observed_by(const struct direct_common *c) {
  return c->asked_at + OBSERVE_AFTER;
}

bool direct_is_observing(const struct direct_common *c) {
  if (c->now >= direct_observed_by(c)) return false;
  for (int i = 0; i < DIRECT_FAMILIES; i++)
    if (has_server(c, i) &&
        (c->asks[i] || !observer_is_done(c->observer, family_of(i))))
      return true;
  return false;
}

static void on_done(void *ud, int family) {
  struct direct_common *c = ud;

  c->asks[family == 6] = false;
  for (struct direct *d = c->all; d; d = d->next)
    direct_link_observed(d, family);
}

void direct_relay(struct direct_common *c, size_t i,
                  const struct ztna_addr *addr) {
  if (i >= OBSERVER_SERVERS) return;
  for (int k = 0; k < DIRECT_FAMILIES; k++) {
    if (addr->family && addr->family != family_of(k)) continue;
    observer_set_server(c->observer, i, family_of(k), addr);
    if (addr->family && !c->has_server[k][i]) c->has_news = true;
    c->has_server[k][i] = addr->family;
  }
  c->observer_is_hot = true;
}

/* --- where packets may go --- */

/* What a NAT would send back to ourselves. */
static bool is_own_outer(const struct direct_common *c,
                         const struct ztna_addr *a) {
  const struct outside *o = c->outside;

  for (int i = 0; i < DIRECT_FAMILIES; i++)
    if (ztna_addr_equal(a, &observer_view(c->observer, family_of(i))->mapped))
      return true;
  for (size_t i = 0; i < o->n_mapped; i++)
    if (ztna_addr_equal(a, &o->mapped[i])) return true;
  return false;
}

bool direct_may_send(const struct direct_common *c,
                     const struct ztna_addr *to) {
  return direct_filter_passes(c->outside, to) && !is_own_outer(c, to) &&
         !(c->is_forbidden && c->is_forbidden(c->ud, to));
}

/* --- extra sockets --- */

void direct_close(struct direct_common *c, uint16_t sock, int family) {
  assert(sock < DGRAM_SOCKS_MAX);
  if (!sock || !c->socks.used[sock]) return;
  if (!c->closing[sock]) c->n_closing++;
  c->closing[sock] |= family == 6 ? 2 : 1;
}

void direct_release(struct direct_common *c, uint16_t sock, int family) {
  if (sock && !direct_rounds_take(c, sock, family))
    direct_close(c, sock, family);
}

static void close_one(struct direct_common *c, uint16_t sock, struct dgram *d) {
  static const uint8_t nothing;
  int family = c->closing[sock] & 1 ? 0 : 1;

  *d = (struct dgram){.data = &nothing, .seg = 1, .sock = sock};
  d->remote.family = (uint16_t)family_of(family);
  c->closing[sock] &= (uint8_t) ~(1 << family);
  if (c->closing[sock]) return;
  c->n_closing--;
  punch_sock_free(&c->socks, sock);
}

static int close_some(struct direct_common *c, struct dgram *v, int max) {
  int n = 0;

  for (uint16_t s = 1; c->n_closing && n < max; s++)
    while (c->closing[s] && n < max) close_one(c, s, &v[n++]);
  return n;
}

/* --- packets --- */

static void packet_in(struct direct_common *c, const struct dgram *d,
                      const uint8_t *data, size_t len) {
  struct stun_msg m;

  if (!stun_is(data, len) || stun_read(&m, data, len) < 0)
    c->stats.drops[REASON_MALFORMED]++;
  else if (observer_in(c->observer, c->now, d, &m))
    c->observer_is_hot = true;
  else if (!direct_rounds_in(c, d, data, len, &m))
    c->stats.drops[REASON_WRONG_SOURCE]++;
}

static void links_tick(struct direct_common *c) {
  if (c->now < c->links_at) return;
  c->links_at = NEVER;
  for (struct direct *d = c->all; d; d = d->next) direct_link_tick(d);
}

/* Of a train only the first packet is asked: what a peer sends of both kinds in
 * one train is repeated by QUIC. */
bool direct_udp_in(struct direct_common *c, uint64_t now,
                   const struct dgram *d) {
  size_t first = d->len < d->seg ? d->len : d->seg;

  if (!first || d->data[0] > 3 || !stun_is(d->data, first)) return false;
  c->now = now;
  for (size_t at = 0; at < d->len; at += d->seg)
    packet_in(c, d, d->data + at, d->len - at < d->seg ? d->len - at : d->seg);
  links_tick(c);
  return true;
}

/* Asked for packets and for its deadline only after something happened to it:
 * most of the time nothing does. */
static int observer_some(struct direct_common *c, struct dgram *v, int max) {
  int n = observer_next(c->observer, c->now, v, max);

  if (n) return n;
  c->observer_is_hot = false;
  c->observer_at = observer_deadline(c->observer);
  return 0;
}

int direct_next(struct direct_common *c, uint64_t now, struct dgram *v,
                int max) {
  int n;

  c->now = now;
  n = close_some(c, v, max);
  if (c->observer_is_hot && n < max) n += observer_some(c, v + n, max - n);
  if (n < max) n += direct_rounds_next(c, v + n, max - n);
  return n;
}

/* --- time --- */

/* The first observation waits for a server. */
static bool observes_now(const struct direct_common *c) {
  return c->enabled && c->observe_due && (has_server(c, 0) || has_server(c, 1));
}

void direct_tick(struct direct_common *c, uint64_t now) {
  c->now = now;
  if (observes_now(c)) direct_observe(c, 0);
  if (now >= c->observer_at) {
    observer_tick(c->observer, now);
    c->observer_is_hot = true;
  }
  direct_rounds_tick(c);
  links_tick(c);
}

uint64_t direct_deadline(const struct direct_common *c) {
  uint64_t at = time_min(c->links_at, c->rounds_at);

  if (observes_now(c)) return 0;
  return time_min(at, c->observer_at);
}

void direct_network_changed(struct direct_common *c, uint64_t now) {
  c->now = now;
  if (!c->enabled) return;
  c->observe_due = true;
  direct_observe(c, 0);
  for (struct direct *d = c->all; d; d = d->next) direct_link_anew(d);
}

/* --- life --- */

int direct_common_init(struct direct_common *c, const struct rng *rng,
                       const struct outside *outside, bool enabled) {
  struct observer_options o = {.rng = rng, .on_done = on_done, .ud = c};

  memset(c, 0, sizeof(*c));
  c->rng = rng;
  c->outside = outside;
  c->enabled = enabled;
  c->observe_due = true;
  c->links_at = c->rounds_at = c->observer_at = NEVER;
  o.socks = &c->socks;
  c->observer = observer_new(&o);
  return c->observer ? 0 : ZTNA_ENOMEM;
}

void direct_common_done(struct direct_common *c) {
  if (!c->observer) return;
  assert(!c->all);
  direct_rounds_free(c);
  observer_free(c->observer);
  c->observer = NULL;
}

const struct metric direct_metrics[] = {
    {"ztna_direct_rounds_total", "rounds of checks for a direct path",
     METRIC_COUNTER, offsetof(struct punch_stats, n_rounds)},
    {"ztna_direct_found_total", "rounds that found one", METRIC_COUNTER,
     offsetof(struct punch_stats, n_found)},
    {"ztna_direct_probes_total", "checks sent", METRIC_COUNTER,
     offsetof(struct punch_stats, n_probes)},
    {"ztna_direct_search_probes_total", "of them, those that search for a port",
     METRIC_COUNTER, offsetof(struct punch_stats, n_search_probes)},
    {"ztna_direct_answers_total", "checks that the peer answered",
     METRIC_COUNTER, offsetof(struct punch_stats, n_answers)},
    {"ztna_direct_checked_total", "checks of the peer that were right",
     METRIC_COUNTER, offsetof(struct punch_stats, n_checked)},
    {"ztna_direct_drops_total", "STUN packets and messages dropped",
     METRIC_REASONS, offsetof(struct punch_stats, drops)},
    {0},
};
