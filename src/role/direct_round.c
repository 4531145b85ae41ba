/* direct_round.c - a round of checks: the life of its punch, and of the sockets
 * that its pairs hold. A round that a link has let go stays until the datagrams
 * that close its sockets have left. */
#include "role/direct_int.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <ztna/err.h>

#include "base/log.h"
#include "transport/mac.h"

/* At most per round and turn, so that one does not keep the others waiting. */
enum { AT_ONCE = 8 };

/* A pair's socket. It is open as long as the round is, whoever wants it: the
 * punch answers the peer by it, and what is sent on a closed one would open it
 * again. */
struct held {
  uint16_t sock;
  uint8_t family; /* 4 or 6 */
  bool given;     /* a path lives on it: closed when that gives it back */
};

struct direct_round {
  struct direct_round *next, *prev;
  struct direct_common *common;
  struct direct *link; /* NULL: let go */
  struct punch *punch;
  uint32_t number;
  uint8_t handles[DIRECT_FAMILIES][HANDLE_LEN];
  uint8_t peer_handles[DIRECT_FAMILIES][HANDLE_LEN];
  uint64_t began_at, ends_at, deadline;
  bool is_hot; /* may have packets to send */
  bool found[DIRECT_FAMILIES];
  struct held held[PUNCH_SOCKS];
  size_t n_held;
};

/* --- the turns --- */

static void append(struct direct_round *r) {
  struct direct_common *c = r->common;

  r->prev = c->last;
  r->next = NULL;
  if (c->last)
    c->last->next = r;
  else
    c->first = r;
  c->last = r;
}

static void take_out(struct direct_round *r) {
  struct direct_common *c = r->common;

  if (r->prev)
    r->prev->next = r->next;
  else
    c->first = r->next;
  if (r->next)
    r->next->prev = r->prev;
  else
    c->last = r->prev;
}

static void heat(struct direct_round *r) {
  if (r->is_hot) return;
  r->is_hot = true;
  r->common->n_hot++;
}

static void cool(struct direct_round *r) {
  if (!r->is_hot) return;
  r->is_hot = false;
  r->common->n_hot--;
}

static void look_at_clock(struct direct_round *r) {
  r->deadline = punch_deadline(r->punch);
  r->common->rounds_at = time_min(r->common->rounds_at, r->deadline);
}

/* --- what the punch says --- */

static bool may_send(void *ud, const struct ztna_addr *to) {
  const struct direct_round *r = ud;

  return direct_may_send(r->common, to);
}

static bool is_observed(void *ud, const struct ztna_addr *a) {
  const struct direct *d = ((const struct direct_round *)ud)->link;

  return d->ops->is_observed(d->ud, a);
}

static void log_pair(const struct direct_round *r,
                     const struct ztna_addr *remote, uint16_t sock,
                     uint64_t rtt) {
  const struct direct *d = r->link;
  char text[ZTNA_ADDR_STRLEN];

  log_info("%s: direct pair found peer=%s remote=%s sock=%u rtt_us=%" PRIu64
           " after_ms=%" PRIu64,
           direct_role(d), direct_peer(d), ztna_addr_print(remote, text), sock,
           rtt / US, (r->common->now - r->began_at) / MS);
}

static struct held *held_find(struct direct_round *r, uint16_t sock,
                              int family) {
  for (size_t i = 0; i < r->n_held; i++)
    if (r->held[i].sock == sock && r->held[i].family == family)
      return &r->held[i];
  return NULL;
}

static void hold(struct direct_round *r, uint16_t sock, int family) {
  if (!sock || held_find(r, sock, family)) return;
  if (r->n_held == PUNCH_SOCKS)
    direct_close(r->common, sock, family);
  else
    r->held[r->n_held++] = (struct held){sock, (uint8_t)family, false};
}

/* The next one has begun already; this one only answers until then. */
static bool is_old(const struct direct_round *r) {
  return r->number != r->link->number;
}

/* The agent dials the first of each family. The connector cannot know which one
 * that is. */
static void on_pair(struct punch *p, void *ud, const struct ztna_addr *remote,
                    uint16_t sock, uint64_t rtt) {
  struct direct_round *r = ud;
  struct direct *d = r->link; /* a round that was let go gets no packets */
  int family = direct_family(remote);

  hold(r, sock, remote->family);
  if (r->found[family] || is_old(r)) return;
  r->found[family] = true;
  log_pair(r, remote, sock, rtt);
  direct_link_found(d);
  if (!d->agent) return;
  direct_round_give(d, sock, remote->family);
  d->ops->found(d->ud, family, remote, sock, rtt, r->handles[family],
                r->peer_handles[family]);
}

static void on_over(struct punch *p, void *ud, enum punch_end end) {
  struct direct_round *r = ud;

  if (end != PUNCH_FOUND && !is_old(r))
    direct_link_failed(r->link, direct_why_of(r->link, end));
}

static const struct punch_ops punch_ops = {on_pair, on_over};

/* --- life --- */

static struct punch *make_punch(struct direct_round *r, uint64_t at) {
  struct direct *d = r->link;
  struct direct_common *c = r->common;
  struct punch_options o = {
      .controlling = d->agent,
      .own = d->own,
      .peer = d->peer,
      .at = at,
      .rtt = d->ops->rtt(d->ud),
      .rng = c->rng,
      .mac = mac_stun,
      .budget = &c->budget,
      .peer_budget = &d->budget,
      .socks = &c->socks,
      .stats = &c->stats,
      .may_send = may_send,
      .is_observed = d->ops->is_observed ? is_observed : NULL,
      .ops = &punch_ops,
      .ud = r,
  };

  memcpy(o.key, d->key, sizeof(o.key));
  memcpy(o.id, d->id, sizeof(o.id));
  return punch_new(&o, c->now);
}

int direct_round_begin(struct direct *d, uint64_t at) {
  struct direct_round *r = calloc(1, sizeof(*r));

  direct_round_retire(d);
  if (!r) return ZTNA_ENOMEM;
  r->common = d->common;
  r->link = d;
  r->number = d->number;
  memcpy(r->handles, d->handles, sizeof(r->handles));
  memcpy(r->peer_handles, d->peer_handles, sizeof(r->peer_handles));
  r->began_at = d->common->now;
  r->ends_at = at + PUNCH_LIFE;
  r->punch = make_punch(r, at);
  if (!r->punch) {
    free(r);
    return ZTNA_ENOMEM;
  }
  d->round = r;
  append(r);
  heat(r);
  return 0;
}

void direct_round_retire(struct direct *d) {
  struct direct_round *r = d->round;

  if (!r) return;
  d->round = NULL;
  r->link = NULL;
  r->deadline = NEVER;
  for (size_t i = 0; i < r->n_held; i++)
    if (!r->held[i].given)
      direct_close(r->common, r->held[i].sock, r->held[i].family);
  r->n_held = 0;
  heat(r); /* to be drained */
}

void direct_round_give(struct direct *d, uint16_t sock, int family) {
  struct held *h = d->round ? held_find(d->round, sock, family) : NULL;

  if (h) h->given = true;
}

bool direct_rounds_take(struct direct_common *c, uint16_t sock, int family) {
  for (struct direct_round *r = c->first; r; r = r->next) {
    struct held *h = held_find(r, sock, family);

    if (!h) continue;
    h->given = false;
    return true;
  }
  return false;
}

uint64_t direct_round_ends_at(const struct direct *d) {
  return d->round ? d->round->ends_at : NEVER;
}

static void round_free(struct direct_round *r) {
  cool(r);
  take_out(r);
  punch_free(r->punch);
  free(r);
}

void direct_rounds_free(struct direct_common *c) {
  while (c->first) round_free(c->first);
}

/* --- packets and time --- */

bool direct_rounds_in(struct direct_common *c, const struct dgram *d,
                      const uint8_t *data, size_t len,
                      const struct stun_msg *m) {
  for (struct direct_round *r = c->first; r; r = r->next) {
    if (!r->link || !punch_has_id(r->punch, m)) continue;
    if (!punch_in(r->punch, c->now, d, data, len, m)) continue;
    heat(r);
    return true;
  }
  return false;
}

static int round_next(struct direct_round *r, struct dgram *v, int max) {
  int n;

  if (max > AT_ONCE) max = AT_ONCE;
  n = r->link ? punch_next(r->punch, r->common->now, v, max)
              : punch_drain(r->punch, v, max);
  if (n) return n;
  if (!r->link) {
    round_free(r);
    return 0;
  }
  cool(r);
  look_at_clock(r);
  return 0;
}

/* Each hot round at most once per call: what it gives is lent until the next.
 * Whoever had a turn goes to the end. */
int direct_rounds_next(struct direct_common *c, struct dgram *v, int max) {
  struct direct_round *r = c->first, *next, *end = c->last;
  int n = 0;

  for (bool more = r && c->n_hot; more && n < max; r = next) {
    int got;

    next = r->next;
    more = r != end;
    if (!r->is_hot) continue;
    got = round_next(r, v + n, max - n);
    if (!got) continue;
    n += got;
    take_out(r);
    append(r);
  }
  return n;
}

/* The clock of a hot one is looked at when it has been drained. */
void direct_rounds_tick(struct direct_common *c) {
  if (c->now < c->rounds_at) return;
  c->rounds_at = NEVER;
  for (struct direct_round *r = c->first; r; r = r->next) {
    if (!r->link) continue;
    if (c->now >= r->deadline) {
      punch_tick(r->punch, c->now);
      heat(r);
    }
    if (!r->is_hot) look_at_clock(r);
  }
}
