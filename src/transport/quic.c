/* quic.c - the endpoint: which connection a packet belongs to, whose turn it is
 * to write, which deadline is next. */
#include "transport/quic_int.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

enum { CONNS_MAX = 1 << 20 };

struct quic *quic_new(const struct quic_config *cfg) {
  struct quic *q = calloc(1, sizeof(*q));

  if (!q) return NULL;
  q->cfg = *cfg;
  q->expiry_at = NEVER;
  if (cfg->tls)
    memcpy(q->trust_id, tls_trust_id(cfg->tls), sizeof(q->trust_id));
  map_init(&q->handles, HANDLE_LEN, CONNS_MAX, cfg->rng);
  map_init(&q->half, HALF_KEY_LEN, HALF_OPEN_MAX, cfg->rng);
  rng_fill(cfg->rng, q->hash_key, sizeof(q->hash_key));
  quic_set_retry_keys(q, NULL, 0);
  q->arena = malloc(ARENA);
  q->strays = malloc(STRAY_MAX * sizeof(*q->strays));
  q->prefixes = calloc(PREFIX_BUCKETS, sizeof(*q->prefixes));
  if (!q->arena || !q->strays || !q->prefixes) {
    quic_free(q);
    return NULL;
  }
  return q;
}

void quic_free(struct quic *q) {
  struct quic_slot *s;
  size_t pos;

  if (!q) return;
  while ((pos = 0, s = map_next(&q->handles, &pos))) {
    s->dead = false; /* or its last connection would take it along */
    while (s->conns) conn_abandon(s->conns);
    slot_gc(q, s);
  }
  map_done(&q->handles);
  map_done(&q->half);
  heap_done(&q->timers);
  free(q->arena);
  free(q->strays);
  free(q->prefixes);
  free(q);
}

uint64_t quic_now(const struct quic *q) { return q->now; }

const struct quic_stats *quic_stats(struct quic *q) {
  struct quic_slot *s;
  size_t pos = 0;

  q->stats.n_discarded = q->n_discarded;
  while ((s = map_next(&q->handles, &pos)))
    for (struct quic_conn *c = s->conns; c; c = c->slot_next)
      q->stats.n_discarded += conn_discarded(c);
  return &q->stats;
}

void quic_drop(struct quic *q, enum reason why) { q->stats.drops[why]++; }

/* --- slots --- */

struct quic_slot *slot_new(struct quic *q, const uint8_t *handle) {
  struct quic_slot *s = calloc(1, sizeof(*s));

  if (!s) return NULL;
  if (handle)
    memcpy(s->handle, handle, HANDLE_LEN);
  else
    rng_fill(q->cfg.rng, s->handle, HANDLE_LEN);
  if (map_put(&q->handles, s->handle, s) < 0) {
    free(s);
    return NULL;
  }
  return s;
}

/* Frees a slot that nobody listens on and no connection lives in; a listening
 * one only when the endpoint itself goes (its conns are gone then, too). */
void slot_gc(struct quic *q, struct quic_slot *s) {
  if (s->conns) return;
  map_del(&q->handles, s->handle);
  free(s);
}

struct quic_slot *quic_listen(struct quic *q, const uint8_t handle[HANDLE_LEN],
                              const uint8_t peer_handle[HANDLE_LEN],
                              const struct quic_ops *ops, void *ud,
                              const struct quic_params *p, uint64_t now,
                              uint64_t accept_for) {
  struct quic_slot *s = slot_new(q, handle);

  if (!s) return NULL;
  if (peer_handle) {
    memcpy(s->peer_handle, peer_handle, HANDLE_LEN);
    s->has_peer_handle = true;
  }
  s->listening = true;
  s->accept_until = accept_for == NEVER ? NEVER : now + accept_for;
  s->ops = ops;
  s->ud = ud;
  s->params = *p;
  return s;
}

void quic_slot_from(struct quic_slot *s, const struct ztna_addr *remote) {
  s->from = *remote;
}

void quic_slot_accept(struct quic_slot *s, uint64_t until) {
  s->accept_until = until;
}

void quic_unlisten(struct quic *q, struct quic_slot *s) {
  struct quic_conn *c;

  s->listening = false;
  s->dead = true;
  for (c = s->conns; c; c = c->slot_next) {
    c->ud = NULL;
    if (c->state < CONN_ENDING)
      conn_fail(c, REASON_ROUTE_UNKNOWN, false, "its handle was taken back");
  }
  slot_gc(q, s);
}

/* Dialling again on a handle of ours keeps its slot: the connections in it are
 * told apart by their tags. */
static struct quic_slot *slot_to_dial(struct quic *q,
                                      const struct quic_dial *d) {
  struct quic_slot *s = d->handle ? map_get(&q->handles, d->handle) : NULL;

  if (!s) return slot_new(q, d->handle);
  return s->listening ? NULL : s;
}

struct quic_conn *quic_dial(struct quic *q, const struct quic_dial *d,
                            uint64_t now) {
  struct quic_slot *s = slot_to_dial(q, d);
  struct ztna_addr any = {0};
  struct quic_conn *c;

  if (!s) return NULL;
  q->now = now;
  s->dead = true; /* goes with the connection */
  if (d->peer_handle) {
    memcpy(s->peer_handle, d->peer_handle, HANDLE_LEN);
    s->has_peer_handle = true;
  }
  c = conn_make(q, s, false, &d->remote, &any);
  if (!c) {
    slot_gc(q, s);
    return NULL;
  }
  c->ops = d->ops;
  c->ud = d->ud;
  c->sock = d->sock;
  c->control = !d->peer_handle;
  if (conn_make_client(c, d) < 0) {
    conn_free(c); /* takes the slot along */
    return NULL;
  }
  quic_wake_conn(c);
  return c;
}

/* --- whose packet is it --- */

static struct quic_conn *slot_find(const struct quic_slot *s,
                                   const uint8_t *dcid, size_t len) {
  struct quic_conn *c;

  for (c = s->conns; c; c = c->slot_next) {
    if (len == QUIC_CID_LEN && !memcmp(dcid + HANDLE_LEN, c->tag, 2)) return c;
    if (c->server && c->odcid_len == len && !memcmp(c->odcid, dcid, len))
      return c;
  }
  return NULL;
}

/* A stateless reset looks like a short header with an unknown handle. Only the
 * control connections of the address it came from may look at it. */
static bool offer_reset(struct quic *q, const struct ztna_addr *remote,
                        const struct ztna_addr *local, uint8_t ecn,
                        const uint8_t *data, size_t len) {
  struct quic_slot *s;
  struct quic_conn *c;
  size_t pos = 0;

  while ((s = map_next(&q->handles, &pos))) {
    if (s->listening) continue;
    for (c = s->conns; c; c = c->slot_next)
      if (!c->server && c->control && c->state == CONN_READY &&
          ztna_addr_equal(&c->remote, remote)) {
        conn_read(c, remote, local, ecn, data, len);
        return true;
      }
  }
  return false;
}

static bool is_heard(struct quic *q, const struct quic_slot *s,
                     const struct ztna_addr *remote) {
  if (!s->from.family || ztna_addr_equal(&s->from, remote)) return true;
  quic_drop(q, REASON_WRONG_SOURCE);
  return false;
}

static void in_short(struct quic *q, const struct ztna_addr *remote,
                     const struct ztna_addr *local, uint8_t ecn,
                     const uint8_t *data, size_t len) {
  struct quic_slot *s = map_get(&q->handles, data + 1);
  struct quic_conn *c = s ? slot_find(s, data + 1, QUIC_CID_LEN) : NULL;

  if (c) {
    if (is_heard(q, s, remote)) conn_read(c, remote, local, ecn, data, len);
    return;
  }
  if (!s && !q->cfg.accept_ops && offer_reset(q, remote, local, ecn, data, len))
    return;
  quic_drop(q, REASON_ROUTE_UNKNOWN);
  if (!s && q->cfg.resets) answer_reset(q, remote, local, data, len);
}

static void in_long(struct quic *q, const struct ztna_addr *remote,
                    const struct ztna_addr *local, uint8_t ecn,
                    const uint8_t *data, size_t len) {
  uint8_t key[HALF_KEY_LEN];
  ngtcp2_version_cid vc;
  struct quic_slot *s;
  struct quic_conn *c;

  if (ngtcp2_pkt_decode_version_cid(&vc, data, len, QUIC_CID_LEN) ||
      vc.version != NGTCP2_PROTO_VER_V1) {
    quic_drop(q, REASON_UNSUPPORTED_VERSION);
    return;
  }
  if (vc.dcidlen < HANDLE_LEN) {
    quic_drop(q, REASON_MALFORMED);
    return;
  }
  s = map_get(&q->handles, vc.dcid);
  if (s) {
    if (!is_heard(q, s, remote)) return;
    /* Every id of the peer must begin with its handle (PROTOCOL 2): judged
     * before ngtcp2 could send a packet to another. */
    if (s->has_peer_handle && (vc.scidlen != QUIC_CID_LEN ||
                               memcmp(vc.scid, s->peer_handle, HANDLE_LEN))) {
      quic_drop(q, REASON_MALFORMED);
      return;
    }
    c = slot_find(s, vc.dcid, vc.dcidlen);
    if (c)
      conn_read(c, remote, local, ecn, data, len);
    else if (s->listening)
      accept_initial(q, s, remote, local, ecn, data, len);
    else
      quic_drop(q, REASON_ROUTE_UNKNOWN);
    return;
  }
  half_key(key, remote, vc.dcid, vc.dcidlen);
  c = map_get(&q->half, key);
  if (c)
    conn_read(c, remote, local, ecn, data, len);
  else if (q->cfg.accept_ops)
    accept_initial(q, NULL, remote, local, ecn, data, len);
  else
    quic_drop(q, REASON_ROUTE_UNKNOWN);
}

void quic_udp_in(struct quic *q, uint64_t now, const struct ztna_addr *remote,
                 const struct ztna_addr *local, uint8_t ecn,
                 const uint8_t *data, size_t len) {
  q->now = now;
  q->stats.n_in++;
  if (!packet_handle(data, len)) {
    bool versioned =
        len >= 7 && (data[0] & 0xc0) == 0xc0 &&
        !(data[1] == 0 && data[2] == 0 && data[3] == 0 && data[4] == 1);
    quic_drop(q, versioned ? REASON_UNSUPPORTED_VERSION : REASON_MALFORMED);
    return;
  }
  if (data[0] & 0x80)
    in_long(q, remote, local, ecn, data, len);
  else
    in_short(q, remote, local, ecn, data, len);
}

void quic_dgram_in(struct quic *q, uint64_t now, const struct dgram *d) {
  q->in_sock = d->sock;
  for (uint32_t off = 0; off < d->len; off += d->seg) {
    uint32_t n = d->len - off < d->seg ? d->len - off : d->seg;

    quic_udp_in(q, now, &d->remote, &d->local, d->ecn, d->data + off, n);
  }
  q->in_sock = 0;
}

/* --- turns --- */

void quic_wake_conn(struct quic_conn *c) {
  struct quic *q = c->q;

  if (c->waking) return;
  c->waking = true;
  c->wake_next = NULL;
  c->wake_prev = q->wake_tail;
  if (q->wake_tail)
    q->wake_tail->wake_next = c;
  else
    q->wake_head = c;
  q->wake_tail = c;
}

void quic_unwake(struct quic_conn *c) {
  struct quic *q = c->q;

  if (!c->waking) return;
  c->waking = false;
  if (c->wake_prev)
    c->wake_prev->wake_next = c->wake_next;
  else
    q->wake_head = c->wake_next;
  if (c->wake_next)
    c->wake_next->wake_prev = c->wake_prev;
  else
    q->wake_tail = c->wake_prev;
}

void quic_wake(struct quic_conn *c) {
  if (c->state < CONN_TOMB) quic_wake_conn(c);
}

#define conn_of(node) \
  ((struct quic_conn *)((char *)(node)-offsetof(struct quic_conn, timer)))

void quic_tick(struct quic *q, uint64_t now) {
  struct heap_node *n;

  q->now = now;
  if (now >= q->expiry_at) expiry_tick(q);
  while ((n = heap_top(&q->timers)) && n->at <= now) {
    struct quic_conn *c = conn_of(n);

    if (c->state == CONN_TOMB)
      conn_free(c);
    else
      conn_expire(c);
  }
}

static int next_strays(struct quic *q, struct dgram *v, int max, size_t *used) {
  int n = 0;

  while (q->n_strays && n < max && n < STRAY_DRAIN) {
    struct stray *s = &q->strays[q->stray_head];

    memcpy(q->arena + *used, s->data, s->len);
    v[n++] = (struct dgram){.remote = s->remote,
                            .local = s->local,
                            .data = q->arena + *used,
                            .len = s->len,
                            .seg = s->len};
    *used += s->len;
    q->stray_head = (q->stray_head + 1) % STRAY_MAX;
    q->n_strays--;
    q->stats.n_out++;
  }
  return n;
}

int quic_next(struct quic *q, uint64_t now, struct dgram *v, int max) {
  const struct quic_conn *last = q->wake_tail;
  struct quic_conn *c;
  size_t used = 0;
  int n = 0;

  q->now = now;
  n += next_strays(q, v, max, &used);
  /* One turn for each that was waiting: what wakes meanwhile comes next. */
  while ((c = q->wake_head) && n < max &&
         used + DGRAM_MAX_BYTES + 2048 <= ARENA) {
    bool more = false, was_last = c == last;

    quic_unwake(c);
    if (c->state == CONN_ENDING) {
      n += conn_write_close(c, v + n, &used);
      conn_finish(c);
    } else if (c->state < CONN_ENDING) {
      n += conn_write(c, v + n, max - n, &used, &more);
      if (c->state == CONN_ENDING || more) quic_wake_conn(c);
    }
    if (was_last) break;
  }
  q->stats.n_trains_out += (uint64_t)n;
  return n;
}

uint64_t quic_deadline(const struct quic *q) {
  const struct heap_node *n = heap_top(&q->timers);

  if (q->wake_head || q->n_strays) return q->now;
  return time_min(q->expiry_at, n ? n->at : NEVER);
}
