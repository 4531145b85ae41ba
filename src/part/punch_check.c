/* punch_check.c - binding requests and their answers (RFC 8489), whose they are
 * and what a right one means.
 *
 * A request says its round and its sender's role: USERNAME is the round's id
 * and one byte, 'a' for the controlling side, 'c' for the other. Without the
 * round's key neither is believed. */
#include "part/punch_int.h"

#include <string.h>

enum { USERNAME_LEN = PUNCH_ID_LEN + 1 };

static void drop(struct punch *p, enum reason why) { p->o.stats->drops[why]++; }

static uint8_t role_of(bool controlling) { return controlling ? 'a' : 'c'; }

static bool is_right(const struct punch *p, const uint8_t *data,
                     const struct stun_msg *m) {
  return stun_verify(m, data, STUN_HMAC_SHA256, p->o.key, PUNCH_KEY_LEN,
                     p->o.mac);
}

static void write_msg(struct punch *p, struct dgram *d, struct stun_msg *m,
                      uint8_t *room) {
  m->method = STUN_BINDING;
  m->integrity = STUN_HMAC_SHA256;
  d->data = room;
  d->len = (uint32_t)stun_write(room, m, p->o.key, PUNCH_KEY_LEN, p->o.mac);
  d->seg = (uint16_t)d->len;
}

/* --- requests of ours */

/* Which of them has this id; -1: none. */
static int check_find(const struct punch *p, const uint8_t *txid) {
  unsigned at = (unsigned)(txid[0] << 8 | txid[1]) ^ p->mask;
  const struct check *c = &p->checks[at % CHECKS];

  if (at >= CHECKS || !c->to.family) return -1;
  return memcmp(c->tail, txid + 2, sizeof(c->tail)) ? -1 : (int)at;
}

void check_write(struct punch *p, uint64_t now, struct dgram *d,
                 const struct ztna_addr *to, uint16_t sock, uint8_t *room) {
  struct stun_msg m = {.class = STUN_REQUEST, .has_username = true};
  uint16_t at = (uint16_t)(p->n_checks++ % CHECKS);
  struct check *c = &p->checks[at];

  *c = (struct check){.to = *to, .at = now, .sock = sock};
  rng_fill(p->o.rng, c->tail, sizeof(c->tail));
  m.txid[0] = (uint8_t)((at ^ p->mask) >> 8);
  m.txid[1] = (uint8_t)(at ^ p->mask);
  memcpy(m.txid + 2, c->tail, sizeof(c->tail));
  memcpy(m.username, p->o.id, PUNCH_ID_LEN);
  m.username[PUNCH_ID_LEN] = role_of(p->o.controlling);
  m.username_len = USERNAME_LEN;
  *d = (struct dgram){.remote = *to, .sock = sock};
  write_msg(p, d, &m, room);
  p->o.stats->n_probes++;
}

static void on_answer(struct punch *p, uint64_t now, const struct dgram *d,
                      const uint8_t *data, const struct stun_msg *m,
                      struct check *c) {
  struct remote *r;
  struct hole *h;
  uint64_t at = c->at;

  if (m->class != STUN_SUCCESS || d->sock != c->sock ||
      !ztna_addr_equal(&d->remote, &c->to) || !is_right(p, data, m)) {
    drop(p, REASON_WRONG_SOURCE); /* the right one may still come */
    return;
  }
  c->to.family = 0;
  p->o.stats->n_answers++;
  r = remote_find(p, d->sock, &d->remote);
  if (!r) r = remote_learn(p, now, d->sock, &d->remote);
  h = hole_find(p, d->sock);
  if (h) h->touched = true;
  if (r) pair_found(p, now, r, now > at ? now - at : 0);
}

/* --- requests of the peer */

/* Each transaction id counts once: a copy from another place would else make
 * that place a peer's. */
static bool is_seen(struct punch *p, const uint8_t *txid) {
  uint64_t v;
  size_t i;

  memcpy(&v, txid + STUN_TXID_LEN - sizeof(v), sizeof(v));
  v |= !v;
  for (i = (v ^ v >> 32) % SEEN; p->seen[i]; i = (i + 1) % SEEN)
    if (p->seen[i] == v) return true;
  p->seen[i] = v;
  p->n_seen++;
  return false;
}

static bool answer_push(struct punch *p, const struct dgram *d,
                        const struct stun_msg *m) {
  struct answer *a = &p->answers[(p->first_answer + p->n_answers) % ANSWERS];

  if (p->n_answers == ANSWERS) return false;
  p->n_answers++;
  *a = (struct answer){.to = d->remote, .local = d->local, .sock = d->sock};
  memcpy(a->txid, m->txid, sizeof(a->txid));
  return true;
}

bool answer_next(struct punch *p, uint64_t now, struct dgram *d,
                 uint8_t *room) {
  struct answer *a = &p->answers[p->first_answer];
  struct stun_msg m = {.class = STUN_SUCCESS};

  if (!p->n_answers || !budget_take(p, now, 0)) return false;
  p->first_answer = (p->first_answer + 1) % ANSWERS;
  p->n_answers--;
  memcpy(m.txid, a->txid, sizeof(m.txid));
  m.mapped = a->to;
  *d = (struct dgram){.remote = a->to, .local = a->local, .sock = a->sock};
  write_msg(p, d, &m, room);
  return true;
}

/* NONE: it is to be answered. */
static enum reason judge(struct punch *p, uint64_t now, const struct dgram *d,
                         const uint8_t *data, const struct stun_msg *m) {
  if (p->dead || now >= p->dies_at) return REASON_EXPIRED;
  if (m->username[PUNCH_ID_LEN] != role_of(!p->o.controlling))
    return REASON_WRONG_SOURCE;
  if (!is_right(p, data, m)) return REASON_WRONG_SOURCE;
  if (m->unknown) return REASON_MALFORMED;
  if (!d->remote.port || !p->o.may_send(p->o.ud, &d->remote))
    return REASON_NOT_ALLOWED;
  if (d->sock && !hole_find(p, d->sock)) return REASON_WRONG_DESTINATION;
  if (p->n_seen >= SEEN / 2) return REASON_RATE_LIMITED;
  return is_seen(p, m->txid) ? REASON_WRONG_SOURCE : REASON_NONE;
}

static enum reason on_request(struct punch *p, uint64_t now,
                              const struct dgram *d, const uint8_t *data,
                              const struct stun_msg *m) {
  enum reason why = judge(p, now, d, data, m);
  struct remote *r;
  struct hole *h;

  if (why) return why;
  r = remote_find(p, d->sock, &d->remote);
  if (!r) r = remote_learn(p, now, d->sock, &d->remote);
  if (!r || (!r->known && !r->answered && r->asked)) return REASON_RATE_LIMITED;
  if (!answer_push(p, d, m)) return REASON_RATE_LIMITED;
  p->o.stats->n_checked++;
  r->asked = true;
  r->local = d->local;
  h = hole_find(p, d->sock);
  if (h) h->touched = true;
  if (!p->over || !p->found) remote_asked(r, now);
  return REASON_NONE;
}

/* --- whose is it? */

static bool is_request(const struct punch *p, const struct stun_msg *m) {
  return m->class == STUN_REQUEST && m->method == STUN_BINDING &&
         m->has_username && m->username_len == USERNAME_LEN &&
         memcmp(m->username, p->o.id, PUNCH_ID_LEN) == 0;
}

/* Which check it answers; -1: none. */
static int answered(const struct punch *p, const struct stun_msg *m) {
  if (m->class != STUN_SUCCESS && m->class != STUN_ERROR) return -1;
  return m->method == STUN_BINDING ? check_find(p, m->txid) : -1;
}

bool punch_has_id(const struct punch *p, const struct stun_msg *m) {
  return is_request(p, m) || answered(p, m) >= 0;
}

bool punch_in(struct punch *p, uint64_t now, const struct dgram *d,
              const uint8_t *data, size_t len, const struct stun_msg *m) {
  int c = answered(p, m);
  enum reason why;

  if (c >= 0) {
    on_answer(p, now, d, data, m, &p->checks[c]);
    return true;
  }
  if (!is_request(p, m)) return false;
  why = on_request(p, now, d, data, m);
  if (why) drop(p, why);
  return true;
}
