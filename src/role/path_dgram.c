/* path_dgram.c - inner packets in DATAGRAM frames, in two when they do not fit;
 * and echoes. */
#include "role/path_int.h"

#include <string.h>
#include <ztna/err.h>

#define REASS_FOR (200 * MS)
#define QUIET_AFTER (500 * MS)

enum {
  ID_BIG = 1, /* bits of a DATAGRAM's id */
  ID_PROBE = 2,
  ID_STALL = 4,
  FRAME_HEAD = 3,                          /* of a DATAGRAM: type and length */
  HEAD = QUIC_DGRAM_OVERHEAD - FRAME_HEAD, /* of a packet, with its tag */
};

static void frag_clear(struct path *p, struct frag_slot *f) {
  for (int i = 0; i < 2; i++)
    if (f->k[i]) pool_put(p->pool, f->k[i]);
  memset(f, 0, sizeof(*f));
}

void path_dgram_reset(struct path *p) {
  if (p->head) pool_put(p->pool, p->head);
  p->head = NULL;
  p->head_split = p->head_index = 0;
  p->out = OUT_NONE;
  p->packet = p->fill = 0;
  p->n_replies = 0;
  path_watch_reset(p);
  for (int i = 0; i < REASS_SLOTS; i++) frag_clear(p, &p->frags[i]);
}

size_t path_mtu(const struct path *p) {
  size_t max = p->conn ? quic_dgram_max(p->conn) : 0;

  if (max <= WIRE_FRAGMENT_HEAD) return 0;
  max = 2 * (max - WIRE_FRAGMENT_HEAD);
  return max < PKT_ROOM ? max : PKT_ROOM;
}

/* --- what is in the packet that QUIC is filling ---
 *
 * Several DATAGRAMs share a packet, so the size that may be too big for the
 * wire is not theirs but its. */

static void look_at_packet(struct path *p) {
  struct quic_info i;

  quic_info(p->conn, &i);
  if (i.n_sent == p->packet) return;
  p->packet = i.n_sent;
  p->fill = 0;
}

void path_packet_has(struct path *p, size_t n) {
  look_at_packet(p);
  if (n) p->fill += n + FRAME_HEAD;
}

static bool packet_is_big(const struct path *p, size_t n) {
  return HEAD + p->fill + FRAME_HEAD + n > PATH_NARROW;
}

/* --- out --- */

static int offer_own(struct path *p, uint8_t type, const uint8_t *cookie,
                     size_t pad, struct quic_vec v[2]) {
  static uint8_t zeros[1500];
  struct wire_dgram d = {.type = type, .cookie = cookie};
  size_t n = wire_write_head(p->out_head, &d);

  v[0] = (struct quic_vec){p->out_head, n};
  v[1] = (struct quic_vec){zeros, pad > n ? pad - n : 0};
  return v[1].len ? 2 : 1;
}

static int offer_echo(struct path *p, size_t pad, struct quic_vec v[2]) {
  uint8_t cookie[WIRE_COOKIE_LEN];

  rng_fill(p->rng, cookie, sizeof(cookie));
  return offer_own(p, WIRE_ECHO_REQUEST, cookie, pad, v);
}

static void drop_head(struct path *p, enum reason why) {
  p->stats.drops[why]++;
  pool_put(p->pool, p->head);
  p->head = NULL;
}

/* The context number goes into the packet's headroom: nothing is copied. */
static int offer_whole(struct path *p, struct quic_vec v[2]) {
  struct pkt *k = p->head;
  size_t n = varint_len(k->tag);

  wr_varint(pkt_data(k) - n, k->tag);
  v[0] = (struct quic_vec){pkt_data(k) - n, k->len + n};
  p->out = OUT_WHOLE;
  return 1;
}

static int offer_fragment(struct path *p, struct quic_vec v[2]) {
  struct pkt *k = p->head;
  size_t from = p->head_index ? p->head_split : 0;
  size_t to = p->head_index ? k->len : p->head_split;
  struct wire_dgram d = {.type = WIRE_FRAGMENT,
                         .frag_context = k->tag,
                         .frag_id = p->frag_id,
                         .frag_index = p->head_index,
                         .frag_last = p->head_index == 1};

  v[0] = (struct quic_vec){p->out_head, wire_write_head(p->out_head, &d)};
  v[1] = (struct quic_vec){pkt_data(k) + from, to - from};
  p->out = OUT_FRAGMENT;
  return 2;
}

/* The head of the queue, however it fits. */
static int offer_packet(struct path *p, size_t max, struct quic_vec v[2]) {
  size_t part = max - WIRE_FRAGMENT_HEAD, total;

  if (p->on_hold) return 0;
  for (;;) {
    if (!p->head) {
      p->head = fq_get(p->queue, quic_now(p->quic));
      p->head_split = p->head_index = 0;
      if (!p->head) return 0;
    }
    total = p->head->len + varint_len(p->head->tag);
    if (!p->head_index)
      p->head_split = total > max ? (p->head->len + 1) / 2 : 0;
    if (!p->head_split) return offer_whole(p, v);
    if (p->head_split <= part && p->head->len - p->head_split <= part)
      return offer_fragment(p, v);
    drop_head(p, REASON_PACKET_TOO_BIG);
  }
}

/* Padded to the size that QUIC believes in: what proves it. */
static int offer_probe(struct path *p, struct quic_vec v[2]) {
  struct quic_info i;

  quic_info(p->conn, &i);
  return offer_echo(p, i.udp_payload - QUIC_DGRAM_OVERHEAD, v);
}

/* Echoes and probes go in packets of their own size only. */
static int offer(struct path *p, size_t max, struct quic_vec v[2]) {
  if (p->packet_size == QUIC_FULL) {
    if (!p->probe_due) return 0;
    p->out = OUT_PROBE;
    return offer_probe(p, v);
  }
  if (p->packet_size == QUIC_SMALL && p->echo_due) {
    p->out = OUT_ECHO;
    return offer_echo(p, 0, v);
  }
  if (p->n_replies) {
    p->out = OUT_REPLY;
    return offer_own(p, WIRE_ECHO_REPLY, p->replies[p->n_replies - 1], 0, v);
  }
  return offer_packet(p, max, v);
}

int path_dgram_out(struct quic_conn *c, void *ud, size_t max,
                   struct quic_vec v[2], uint64_t *id) {
  struct path *p = ud;
  int n;

  p->out = OUT_NONE;
  if (c != p->conn || max <= WIRE_FRAGMENT_HEAD * 2) return 0;
  look_at_packet(p);
  n = offer(p, max, v);
  if (!n) return 0;
  p->out_len = v[0].len + (n > 1 ? v[1].len : 0);
  if (packet_is_big(p, p->out_len)) *id |= ID_BIG;
  if (p->out == OUT_ECHO && path_is_stalled(p)) *id |= ID_STALL;
  if (p->out == OUT_PROBE) *id |= ID_PROBE;
  return n;
}

static void sent_packet(struct path *p) {
  p->stats.n_packets_out++;
  p->stats.n_bytes_out += p->head->len;
  pool_put(p->pool, p->head);
  p->head = NULL;
}

void path_dgram_sent(struct quic_conn *c, void *ud) {
  struct path *p = ud;

  path_watch_dgram(p);
  path_packet_has(p, p->out_len);
  switch (p->out) {
  case OUT_REPLY:
    p->n_replies--;
    break;
  case OUT_ECHO:
    p->echo_due = false;
    break;
  case OUT_PROBE:
    p->probe_due = false;
    break;
  case OUT_WHOLE:
    sent_packet(p);
    break;
  case OUT_FRAGMENT:
    if (p->head_index++ == 0) break;
    p->frag_id++;
    p->stats.n_split++;
    sent_packet(p);
    break;
  default:
    break;
  }
  p->out = OUT_NONE;
}

/* --- what became of it --- */

void path_on_dgram_acked(struct quic_conn *c, void *ud, uint64_t id) {
  struct path *p = ud;

  if (c != p->conn) return;
  path_watch_acked(p);
  if (id & ID_PROBE)
    path_grow(p);
  else if (id & ID_BIG)
    p->n_big_lost = 0;
  else
    path_small_acked(p, id & ID_STALL);
}

void path_on_dgram_lost(struct quic_conn *c, void *ud, uint64_t id) {
  struct path *p = ud;

  if (c != p->conn) return;
  if (p->n_outstanding) p->n_outstanding--;
  if (id & ID_PROBE)
    path_probe_lost(p);
  else if (id & ID_BIG)
    path_big_lost(p);
}

/* --- in --- */

static void give(struct path *p, uint64_t context, const uint8_t *ip,
                 size_t len) {
  p->quiet_at = quic_now(p->quic) + QUIET_AFTER;
  p->stats.n_packets_in++;
  p->stats.n_bytes_in += len;
  p->ev->on_packet(p, p->ud, context, ip, len);
}

/* The slot of this packet, a free one, or the oldest. */
static struct frag_slot *frag_find(struct path *p, const struct wire_dgram *d,
                                   uint64_t now) {
  struct frag_slot *best = &p->frags[0];

  for (int i = 0; i < REASS_SLOTS; i++) {
    struct frag_slot *f = &p->frags[i];

    if (f->have && now - f->at > REASS_FOR) frag_clear(p, f);
    if (f->have && f->context == d->frag_context && f->id == d->frag_id)
      return f;
    if (!f->have || (best->have && f->at < best->at)) best = f;
  }
  frag_clear(p, best);
  return best;
}

static void on_fragment(struct path *p, const struct wire_dgram *d) {
  uint64_t now = quic_now(p->quic);
  struct frag_slot *f = frag_find(p, d, now);
  struct pkt *k;

  if (f->k[d->frag_index] || d->frag_last != (d->frag_index == 1) ||
      d->len > PKT_ROOM / 2 || !(k = pool_get(p->pool))) {
    p->stats.drops[REASON_MALFORMED]++;
    return;
  }
  memcpy(pkt_data(k), d->data, d->len);
  k->len = (uint16_t)d->len;
  *f = (struct frag_slot){.at = now,
                          .context = d->frag_context,
                          .id = d->frag_id,
                          .have = (uint8_t)(f->have | 1 << d->frag_index),
                          .k = {f->k[0], f->k[1]}};
  f->k[d->frag_index] = k;
  if (f->have != 3) return;
  memcpy(pkt_data(f->k[0]) + f->k[0]->len, pkt_data(f->k[1]), f->k[1]->len);
  give(p, f->context, pkt_data(f->k[0]), (size_t)f->k[0]->len + f->k[1]->len);
  frag_clear(p, f);
}

void path_on_dgram(struct quic_conn *c, void *ud, const uint8_t *data,
                   size_t len) {
  struct path *p = ud;
  struct wire_dgram d;

  if (c != p->conn) return;
  if (wire_parse(&d, data, len) < 0) {
    p->stats.drops[REASON_MALFORMED]++;
  } else if (d.context) {
    give(p, d.context, d.data, d.len);
  } else if (d.type == WIRE_FRAGMENT) {
    on_fragment(p, &d);
  } else if (d.type == WIRE_ECHO_REQUEST && p->n_replies < ECHO_REPLIES) {
    memcpy(p->replies[p->n_replies++], d.cookie, WIRE_COOKIE_LEN);
    quic_wake(c);
  }
}
