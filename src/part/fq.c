/* fq.c - see fq.h. The scheduler is DRR++ of RFC 8290: a flow that begins to
 * send is served before those that never stop, for one quantum. Each flow has
 * the CoDel of RFC 8289. */
#include "part/fq.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/time.h"
#include "codec/ip.h"

#define TARGET (5 * MS)
#define INTERVAL (100 * MS)

enum { QUANTUM = 1514, NONE = UINT16_MAX };

/* CoDel's memory, named as in RFC 8289, 5. */
struct codel {
  uint64_t first_above_at; /* 0: the last packet waited less than TARGET */
  uint64_t drop_next_at;
  uint32_t count, last_count;
  bool dropping;
};

struct flow {
  struct pktq q;
  struct codel codel;
  int32_t deficit;
  uint16_t next; /* in its list */
  bool listed;
};

struct list {
  uint16_t head, tail;
};

struct fq {
  struct pool *pool;
  uint64_t key[2];
  size_t max_bytes, bytes, packets;
  struct fq_stats stats;
  struct list fresh, old; /* the new flows and the old flows of RFC 8290 */
  struct flow flows[FQ_FLOWS];
  uint32_t backlog[FQ_FLOWS]; /* bytes of each flow, side by side to be scanned
                                 quickly for the fattest */
};

/* --- lists of flows */

static void list_append(struct fq *q, struct list *l, uint16_t f) {
  q->flows[f].next = NONE;
  if (l->head == NONE)
    l->head = f;
  else
    q->flows[l->tail].next = f;
  l->tail = f;
}

static uint16_t list_shift(struct fq *q, struct list *l) {
  uint16_t f = l->head;
  l->head = q->flows[f].next;
  return f;
}

/* --- packets of a flow */

static void push(struct fq *q, uint16_t f, struct pkt *k) {
  pktq_push(&q->flows[f].q, k);
  q->backlog[f] += k->len;
  q->bytes += k->len;
  q->packets++;
}

static struct pkt *pop(struct fq *q, uint16_t f) {
  struct pkt *k = pktq_pop(&q->flows[f].q);
  if (!k) return NULL;
  q->backlog[f] -= k->len;
  q->bytes -= k->len;
  q->packets--;
  return k;
}

bool fq_shed(struct fq *q) {
  uint16_t fattest = 0;
  for (uint16_t f = 1; f < FQ_FLOWS; f++)
    if (q->backlog[f] > q->backlog[fattest]) fattest = f;
  struct pkt *k = pop(q, fattest);
  if (!k) return false;
  pool_put(q->pool, k);
  q->stats.n_full_drops++;
  return true;
}

/* --- CoDel */

/* Rounded down. Not sqrt(3): the simulator must replay on every machine. */
static uint64_t square_root(uint64_t v) {
  uint64_t root = 0;
  for (uint64_t bit = UINT64_C(1) << 31; bit; bit >>= 1)
    if ((root | bit) * (root | bit) <= v) root |= bit;
  return root;
}

/* The control law: INTERVAL / sqrt(count) later. */
static uint64_t next_drop(uint64_t at, uint32_t count) {
  return at + square_root(INTERVAL * INTERVAL / count);
}

/* The flow's next packet. *bad: it and all before it waited longer than TARGET
 * for INTERVAL, and more than a packet is behind it. */
static struct pkt *codel_pop(struct fq *q, uint16_t f, uint64_t now,
                             bool *bad) {
  struct codel *c = &q->flows[f].codel;
  struct pkt *k = pop(q, f);
  *bad = false;
  if (!k || now - k->at < TARGET || q->backlog[f] <= QUANTUM)
    c->first_above_at = 0;
  else if (!c->first_above_at)
    c->first_above_at = now + INTERVAL;
  else
    *bad = now >= c->first_above_at;
  return k;
}

/* Signals congestion by this packet: true when marking it was enough. */
static bool signal_by(struct fq *q, struct pkt *k) {
  if (k->skip < k->len &&
      ip_mark_ce(pkt_data(k) + k->skip, (size_t)(k->len - k->skip))) {
    q->stats.n_marks++;
    return true;
  }
  pool_put(q->pool, k);
  q->stats.n_codel_drops++;
  return false;
}

/* Begins to drop; sooner than from scratch when it stopped only just now. */
static void codel_begin(struct codel *c, uint64_t now) {
  uint32_t delta = c->count - c->last_count;
  bool recent = now < c->drop_next_at + 16 * INTERVAL;
  c->count = delta > 1 && recent ? delta : 1;
  c->last_count = c->count;
  c->drop_next_at = next_drop(now, c->count);
  c->dropping = true;
}

static struct pkt *codel_get(struct fq *q, uint16_t f, uint64_t now) {
  struct codel *c = &q->flows[f].codel;
  bool bad, marked = false;
  struct pkt *k = codel_pop(q, f, now, &bad);
  if (!c->dropping) {
    if (!bad) return k;
    if (!signal_by(q, k)) k = codel_pop(q, f, now, &bad);
    codel_begin(c, now);
    return k;
  }
  while (bad && !marked && now >= c->drop_next_at) {
    c->count++;
    marked = signal_by(q, k);
    if (!marked) k = codel_pop(q, f, now, &bad);
    if (bad) c->drop_next_at = next_drop(c->drop_next_at, c->count);
  }
  if (!bad) c->dropping = false;
  return k;
}

/* --- make and free */

struct fq *fq_new(struct pool *pool, size_t max_bytes, const struct rng *rng) {
  struct fq *q = calloc(1, sizeof(*q));
  if (!q) return NULL;
  q->pool = pool;
  q->max_bytes = max_bytes < INT32_MAX ? max_bytes : INT32_MAX;
  q->fresh.head = q->old.head = NONE;
  rng_fill(rng, q->key, sizeof(q->key));
  return q;
}

void fq_free(struct fq *q) {
  if (!q) return;
  for (int f = 0; f < FQ_FLOWS; f++) pktq_clear(&q->flows[f].q, q->pool);
  free(q);
}

/* --- put and get */

static uint16_t flow_of(const struct fq *q, struct pkt *k) {
  if (k->skip >= k->len) return 0;
  return ip_flow_hash(pkt_data(k) + k->skip, (size_t)(k->len - k->skip),
                      q->key) %
         FQ_FLOWS;
}

void fq_put(struct fq *q, struct pkt *k, size_t skip, uint64_t now) {
  assert(k->len && skip <= UINT16_MAX);
  q->stats.n_in++;
  if (k->len > q->max_bytes) { /* else all others would go for nothing */
    pool_put(q->pool, k);
    q->stats.n_full_drops++;
    return;
  }
  k->at = now;
  k->skip = (uint16_t)skip;
  uint16_t f = flow_of(q, k);
  push(q, f, k);
  if (!q->flows[f].listed) {
    q->flows[f].listed = true;
    q->flows[f].deficit = QUANTUM;
    list_append(q, &q->fresh, f);
  }
  while (q->bytes > q->max_bytes) fq_shed(q);
}

struct pkt *fq_get(struct fq *q, uint64_t now) {
  for (;;) {
    bool is_fresh = q->fresh.head != NONE;
    struct list *l = is_fresh ? &q->fresh : &q->old;
    if (l->head == NONE) return NULL;

    uint16_t f = l->head;
    if (q->flows[f].deficit <= 0) {
      q->flows[f].deficit += QUANTUM;
      list_append(q, &q->old, list_shift(q, l));
      continue;
    }
    struct pkt *k = codel_get(q, f, now);
    if (k) {
      q->flows[f].deficit -= k->len;
      q->stats.n_out++;
      return k;
    }
    /* A new flow that ran dry waits its turn among the old ones once, else it
     * could come back as new and starve them. */
    list_shift(q, l);
    if (is_fresh && q->old.head != NONE)
      list_append(q, &q->old, f);
    else
      q->flows[f].listed = false;
  }
}

size_t fq_bytes(const struct fq *q) { return q->bytes; }

size_t fq_packets(const struct fq *q) { return q->packets; }

void fq_move(struct fq *to, struct fq *from, uint64_t now) {
  assert(to != from && to->pool == from->pool);
  for (uint16_t f = 0; f < FQ_FLOWS; f++)
    for (struct pkt *k; (k = pop(from, f));) {
      from->stats.n_out++;
      fq_put(to, k, k->skip, now);
    }
}

const struct fq_stats *fq_stats(const struct fq *q) { return &q->stats; }
