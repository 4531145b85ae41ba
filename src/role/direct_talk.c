/* direct_talk.c - what the two ends of a link say to each other for a round. */
#include "role/direct_int.h"

#include <string.h>

/* For the answer to arrive in time, beside half a round trip. */
#define LEAD (5 * MS)
/* A connector hears so many rounds of a link per window, an agent one wish for
 * a new beginning. */
#define HEARD_EVERY (10 * SEC)
#define ANEW_EVERY (5 * SEC)
enum { HEARD_MAX = 8 };

/* --- said --- */

static bool say(struct direct *d, const struct direct_message *m) {
  json_t *j = direct_message_write(m);

  return j && d->ops->say(d->ud, j);
}

static void fill_own(struct direct *d, struct direct_message *m) {
  struct direct_common *c = d->common;

  direct_candidates(c, &d->own);
  rng_fill(c->rng, d->handles, sizeof(d->handles));
  m->round = d->number;
  m->side = d->own;
  memcpy(m->handles, d->handles, sizeof(m->handles));
}

void direct_talk_ask(struct direct *d) {
  struct direct_message m = {.word = DIRECT_OFFER};

  fill_own(d, &m);
  rng_fill(d->common->rng, d->id, sizeof(d->id));
  rng_fill(d->common->rng, d->key, sizeof(d->key));
  memcpy(m.id, d->id, sizeof(m.id));
  memcpy(m.key, d->key, sizeof(m.key));
  if (!say(d, &m)) direct_link_failed(d, WHY_NO_PATH);
}

/* So that the answer is there when its moment comes. */
static uint32_t lead_ms(const struct direct *d) {
  uint64_t lead = d->ops->rtt(d->ud) / 2 + LEAD;
  uint64_t ms = (lead + MS - 1) / MS;

  return ms > DIRECT_AT_MAX ? DIRECT_AT_MAX : (uint32_t)ms;
}

void direct_talk_answer(struct direct *d) {
  struct direct_message m = {.word = DIRECT_ANSWER, .at_ms = lead_ms(d)};

  fill_own(d, &m);
  d->ops->listen(d->ud, d->handles, d->peer_handles);
  if (say(d, &m))
    direct_link_check(d, d->common->now + m.at_ms * MS);
  else
    direct_link_failed(d, WHY_NO_PATH);
}

void direct_talk_anew(struct direct *d) {
  say(d, &(struct direct_message){.word = DIRECT_ANEW});
}

/* --- heard --- */

/* Rounds cost sockets and packets: a peer that wants one after the other waits
 * for the next window. */
static bool hears(struct direct *d) {
  struct direct_common *c = d->common;

  if (c->now >= d->heard_at + HEARD_EVERY) {
    d->heard_at = c->now;
    d->n_heard = 0;
  }
  if (d->n_heard++ < HEARD_MAX) return true;
  c->stats.drops[REASON_RATE_LIMITED]++;
  return false;
}

static void hear_offer(struct direct *d, const struct direct_message *m) {
  if (m->round <= d->number || !hears(d)) return;
  if (!d->common->enabled || (d->ops->may && !d->ops->may(d->ud))) {
    d->number = m->round;
    say(d, &(struct direct_message){.word = DIRECT_OFF, .round = m->round});
    return;
  }
  memcpy(d->id, m->id, sizeof(d->id));
  memcpy(d->key, m->key, sizeof(d->key));
  memcpy(d->peer_handles, m->handles, sizeof(d->peer_handles));
  d->peer = m->side;
  direct_link_begin(d, m->round);
}

static void hear_answer(struct direct *d, const struct direct_message *m) {
  uint64_t now = d->common->now, half = d->ops->rtt(d->ud) / 2;
  uint64_t at = now + m->at_ms * MS;

  if (d->state != DIRECT_ASKED || m->round != d->number) return;
  if (m->word == DIRECT_OFF) {
    direct_link_failed(d, WHY_PEER_OFF);
    return;
  }
  memcpy(d->peer_handles, m->handles, sizeof(d->peer_handles));
  d->peer = m->side;
  direct_link_check(d, at > now + half ? at - half : now);
}

static void hear_anew(struct direct *d) {
  uint64_t now = d->common->now;

  if (now < d->anew_at) {
    d->common->stats.drops[REASON_RATE_LIMITED]++;
    return;
  }
  d->anew_at = now + ANEW_EVERY;
  direct_link_anew(d);
}

int direct_message(struct direct *d, json_t *j, uint64_t now) {
  struct direct_message m;
  int rv = direct_message_read(&m, j);

  d->common->now = now;
  if (rv < 0) {
    d->common->stats.drops[REASON_MALFORMED]++;
    return rv;
  }
  if (!d->agent) {
    if (m.word == DIRECT_OFFER) hear_offer(d, &m);
  } else if (m.word == DIRECT_ANEW) {
    hear_anew(d);
  } else if (m.word != DIRECT_OFFER) {
    hear_answer(d, &m);
  }
  return 0;
}
