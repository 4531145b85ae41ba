/* relay_stun.c - the STUN server beside the control API (PROTOCOL 6): tells who
 * asks which address a packet came from, and answers from another port or
 * address of ours when asked to (RFC 8489, RFC 5780).
 *
 * Requests prove nothing about their source, so an answer is never more than
 * three times as long, answers are limited in all and per source prefix, and
 * from elsewhere (CHANGE-REQUEST, which passes filters that let only the asked
 * address in) or to another port of who asks (RESPONSE-PORT) only those are
 * answered that have a control connection, or that send as much as they get. */
#include "role/relay_int.h"

#include <assert.h>
#include <stdlib.h>

#include "base/bucket.h"
#include "codec/stun.h"

enum {
  AMPLIFICATION = 3,
  ANSWER_MAX = 128, /* four IPv6 addresses and a fingerprint are 124 */
  QUEUE = 256,
  PER_S = 1000,
  BURST = 200,
  RESERVE = 100, /* of the burst, for who has a control connection */
  PREFIX_PER_S = 50,
  PREFIX_BUCKETS = 1024,
  IP_BUCKETS = 4096,
};

struct answer {
  struct ztna_addr remote, local;
  uint16_t len;
  uint8_t data[ANSWER_MAX];
};

struct relay_stun {
  struct relay_stun_pair *pairs;
  size_t n_pairs;
  struct ztna_addr ips[RELAY_FAMILIES][2];
  uint64_t hash_key[2];
  struct bucket all, prefixes[PREFIX_BUCKETS];
  LIST_HEAD(, session) by_ip[IP_BUCKETS];
  struct answer queue[QUEUE];
  unsigned head, n_queued;
};

/* --- life */

int relay_stun_init(struct relay *r, const struct relay_options *o) {
  struct relay_stun *s = r->stun = calloc(1, sizeof(*s));
  if (!s) return ZTNA_ENOMEM;
  s->pairs = calloc(o->n_stun + 1, sizeof(*s->pairs));
  if (!s->pairs) return ZTNA_ENOMEM;
  for (size_t i = 0; i < o->n_stun; i++) s->pairs[s->n_pairs++] = o->stun[i];
  memcpy(s->ips, o->stun_ips, sizeof(s->ips));
  rng_fill(o->rng, s->hash_key, sizeof(s->hash_key));
  return 0;
}

void relay_stun_done(struct relay *r) {
  if (!r->stun) return;
  free(r->stun->pairs);
  free(r->stun);
}

/* --- who has a control connection */

static uint64_t ip_hash(const struct relay_stun *s, const struct ztna_addr *a,
                        size_t n_bytes) {
  return siphash(s->hash_key, a->ip, n_bytes);
}

void relay_stun_forget(struct session *s) {
  if (s->is_known) LIST_REMOVE(s, of_ip);
  s->is_known = false;
}

void relay_stun_know(struct session *s) {
  struct relay_stun *stun = s->relay->stun;
  size_t i = ip_hash(stun, &s->remote, sizeof(s->remote.ip)) % IP_BUCKETS;
  relay_stun_forget(s);
  LIST_INSERT_HEAD(&stun->by_ip[i], s, of_ip);
  s->is_known = true;
}

static bool is_known(const struct relay_stun *s, const struct ztna_addr *a) {
  size_t i = ip_hash(s, a, sizeof(a->ip)) % IP_BUCKETS;
  const struct session *known;
  LIST_FOREACH(known, &s->by_ip[i], of_ip)
  if (!known->closing && ztna_addr_same_ip(&known->remote, a)) return true;
  return false;
}

/* --- limits */

/* Whose prefixes fall into one bucket share it: strangers get no memory. */
static bool may_answer(struct relay *r, const struct ztna_addr *to) {
  struct relay_stun *s = r->stun;
  uint64_t h = ip_hash(s, to, to->family == 4 ? 3 : 7);
  uint32_t reserve = is_known(s, to) ? 0 : RESERVE;
  return bucket_take(&s->prefixes[h % PREFIX_BUCKETS], r->now, PREFIX_PER_S,
                     PREFIX_PER_S, 1, 0) &&
         bucket_take(&s->all, r->now, PER_S, BURST, 1, reserve);
}

/* --- our addresses */

static bool covers(const struct ztna_addr *bound, const struct ztna_addr *ip) {
  return bound->family == ip->family &&
         (ztna_addr_is_unspecified(bound) || ztna_addr_same_ip(bound, ip));
}

/* The other one of the two ports at this address of ours; 0: it has none. */
static uint16_t other_port(const struct relay_stun *s,
                           const struct ztna_addr *local) {
  for (size_t i = 0; i < s->n_pairs; i++) {
    const struct relay_stun_pair *p = &s->pairs[i];
    if (!covers(&p->main, local) || !covers(&p->second, local)) continue;
    if (local->port == p->main.port) return p->second.port;
    if (local->port == p->second.port) return p->main.port;
  }
  return 0;
}

/* The same port at our other IP; family 0: there is none with both ports. */
static struct ztna_addr other_ip(const struct relay_stun *s,
                                 const struct ztna_addr *local) {
  uint16_t port = other_port(s, local);
  for (int i = 0; port && i < 2; i++) {
    const struct ztna_addr *v = s->ips[local->family == 6];
    struct ztna_addr a = v[1 - i];
    if (!ztna_addr_same_ip(&v[i], local)) continue;
    a.port = local->port;
    if (other_port(s, &a) == port) return a;
  }
  return (struct ztna_addr){0};
}

/* What OTHER-ADDRESS says at this address. Without another IP that is the other
 * port alone: then it tells our clients where that is, and a change of the IP
 * is refused. */
static struct ztna_addr other_address(const struct relay_stun *s,
                                      const struct ztna_addr *local) {
  struct ztna_addr a = other_ip(s, local);
  uint16_t port = other_port(s, local);
  if (!port) return (struct ztna_addr){0};
  if (!a.family) a = *local;
  a.port = port;
  return a;
}

/* Where an answer with this change comes from. False: we cannot. */
static bool change(const struct relay_stun *s, uint32_t bits,
                   struct ztna_addr *local) {
  struct ztna_addr ip = other_ip(s, local);
  uint16_t port = other_port(s, local);
  if ((bits & STUN_CHANGE_IP && !ip.family) ||
      (bits & STUN_CHANGE_PORT && !port))
    return false;
  if (bits & STUN_CHANGE_IP) *local = ip;
  if (bits & STUN_CHANGE_PORT) local->port = port;
  return true;
}

/* --- answers */

static void drop(struct relay *r, enum reason why) { r->n.stun_drops[why]++; }

/* At most `limit` bytes, without what a client can do without; or ZTNA_ESIZE.
 * PADDING is not answered by PADDING: that would be a fragmented packet. */
static int write_short(uint8_t *to, struct stun_msg *m, size_t limit) {
  for (;;) {
    int n = stun_write(to, m, NULL, 0, NULL);
    if (n >= 0 && (size_t)n <= limit) return n;
    if (m->legacy_mapped)
      m->legacy_mapped = false;
    else if (m->origin.family)
      m->origin.family = 0;
    else if (m->other.family)
      m->other.family = 0;
    else
      return ZTNA_ESIZE;
  }
}

static bool send(struct relay *r, const struct ztna_addr *remote,
                 const struct ztna_addr *local, struct stun_msg *m,
                 size_t limit) {
  struct relay_stun *s = r->stun;
  struct answer *a = &s->queue[(s->head + s->n_queued) % QUEUE];
  uint8_t room[STUN_MAX];
  int n = write_short(room, m, limit);
  if (n < 0) return false;
  if (s->n_queued == QUEUE) {
    drop(r, REASON_RATE_LIMITED);
    return true;
  }
  assert(n <= ANSWER_MAX);
  memcpy(a->data, room, (size_t)n);
  a->len = (uint16_t)n;
  a->remote = *remote;
  a->local = *local;
  s->n_queued++;
  if (m->class == STUN_SUCCESS) r->n.n_stun_answers++;
  return true;
}

static struct stun_msg answer_to(const struct stun_msg *q,
                                 enum stun_class class) {
  struct stun_msg m = {
      .class = class, .method = q->method, .fingerprint = q->fingerprint};
  memcpy(m.txid, q->txid, sizeof(m.txid));
  return m;
}

static void refuse(struct relay *r, const struct dgram *d,
                   const struct stun_msg *q, uint16_t error, enum reason why) {
  struct stun_msg m = answer_to(q, STUN_ERROR);
  m.error = error;
  if (error == STUN_UNKNOWN_ATTRIBUTE) {
    memcpy(m.listed, q->listed, sizeof(m.listed));
    m.n_listed = q->n_listed;
  }
  r->n.stun_refusals[why]++;
  if (!send(r, &d->remote, &d->local, &m, AMPLIFICATION * d->len))
    drop(r, REASON_PACKET_TOO_BIG);
}

static void refuse_change(struct relay *r, const struct dgram *d,
                          struct stun_msg *q) {
  q->listed[0] = STUN_ATTR_CHANGE_REQUEST;
  q->n_listed = 1;
  refuse(r, d, q, STUN_UNKNOWN_ATTRIBUTE, REASON_NO_SUCH_SERVICE);
}

/* A stranger whose request is shorter than the answer hears of it (400: not
 * without modification); silence would look like a filter on its way. */
static void answer(struct relay *r, const struct dgram *d, struct stun_msg *q) {
  struct stun_msg m = answer_to(q, STUN_SUCCESS);
  struct ztna_addr from = d->local, to = d->remote;
  size_t limit = AMPLIFICATION * d->len;
  if (q->unknown) {
    refuse(r, d, q, STUN_UNKNOWN_ATTRIBUTE, REASON_MALFORMED);
    return;
  }
  if (q->change) {
    if (!change(r->stun, q->change, &from)) {
      refuse_change(r, d, q);
      return;
    }
  }
  if (q->response_port) to.port = q->response_port;
  if ((q->change || q->response_port) && !is_known(r->stun, &d->remote))
    limit = d->len;
  m.mapped = d->remote;
  m.origin = from;
  m.other = other_address(r->stun, &d->local);
  m.legacy_mapped = true; /* RFC 5780, 6.1 */
  if (!send(r, &to, &from, &m, limit))
    refuse(r, d, q, STUN_BAD_REQUEST, REASON_NOT_ALLOWED);
}

/* --- verbs */

bool relay_stun_owns(const struct relay *r, const struct ztna_addr *local) {
  const struct relay_stun *s = r->stun;
  for (size_t i = 0; i < s->n_pairs; i++)
    if (local->port == s->pairs[i].second.port &&
        covers(&s->pairs[i].second, local))
      return true;
  return false;
}

void relay_stun_in(struct relay *r, const struct dgram *seg) {
  struct stun_msg q;
  /* An answer, or a method that we do not know: nothing is said (RFC 8489,
   * 6.3). Nobody is told to talk to port 0. */
  if (stun_read(&q, seg->data, seg->len) < 0 || q.method != STUN_BINDING ||
      q.class > STUN_INDICATION || !seg->remote.port) {
    drop(r, REASON_MALFORMED);
    return;
  }
  if (q.class == STUN_INDICATION) return; /* keeps a mapping alive, no more */
  r->n.n_stun_requests++;
  if (may_answer(r, &seg->remote))
    answer(r, seg, &q);
  else
    drop(r, REASON_RATE_LIMITED);
}

void relay_stun_train(struct relay *r, const struct dgram *d) {
  for (uint32_t off = 0; off < d->len; off += d->seg) {
    struct dgram one = *d;
    one.data = d->data + off;
    one.len = d->len - off < d->seg ? d->len - off : d->seg;
    relay_stun_in(r, &one);
  }
}

int relay_stun_next(struct relay *r, struct dgram *v, int max) {
  struct relay_stun *s = r->stun;
  int n = 0;
  for (; n < max && s->n_queued; n++, s->n_queued--) {
    const struct answer *a = &s->queue[s->head];
    s->head = (s->head + 1) % QUEUE;
    v[n] = (struct dgram){.remote = a->remote,
                          .local = a->local,
                          .data = a->data,
                          .len = a->len,
                          .seg = a->len};
  }
  return n;
}
