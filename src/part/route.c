/* route.c - see route.h. Segments of one sender come in runs, so a segment is
 * first compared with the one before it: lookup, source check and refill happen
 * once per run, and only tokens and the train's end move per segment. */
#include "part/route.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <ztna/err.h>

#include "base/time.h"
#include "codec/handle.h"

_Static_assert((int)ROUTE_HANDLE_LEN == HANDLE_LEN, "one size of handle");

/* Trains that wait between route_in and route_next. The skin reads some dozen
 * batches of 64 segments at most before it drains. */
enum { QUEUE_LEN = 1024 };

/* Burst is counted in units of 1/SEC byte, which must fit in 64 bits. */
#define BURST_MAX (UINT64_C(1) << 34)
/* Of a route with a limit of its own: at first, and at least later. */
#define LIMIT_START (UINT64_C(16) << 10)
#define LIMIT_BURST (UINT64_C(64) << 10)

struct train {
  struct route_end *to; /* NULL: its route was deleted while it waited */
  const uint8_t *data;
  uint32_t len;
  uint16_t seg;
  uint8_t n; /* segments */
  uint8_t ecn;
};

struct route_table {
  struct map handles; /* to struct route_end */
  size_t max_routes;
  uint64_t rate;  /* bytes/s, 0: no limit */
  uint64_t burst; /* in 1/SEC bytes, as route.tokens */
  struct route_stats stats;
  size_t head, n; /* of the queue, a ring */
  struct train queue[QUEUE_LEN];
};

/* What is known of the segment before, while one batch is taken in. */
struct run {
  const struct dgram *d;
  uint64_t now;
  bool known;           /* the members below hold */
  uint64_t handle;      /* its bytes, in memory order */
  struct route_end *to; /* NULL: no route has the handle */
  bool right_source;
  struct train *open; /* train that ends where this segment begins */
};

static struct route_end *peer_of(const struct route_end *e) {
  return &e->route->end[e == &e->route->end[0]];
}

/* --- life */

struct route_table *route_table_new(size_t max_routes, uint64_t rate,
                                    uint64_t burst, const struct rng *rng) {
  if (max_routes > SIZE_MAX / 4) return NULL;
  struct route_table *t = calloc(1, sizeof(*t));
  if (!t) return NULL;
  map_init(&t->handles, ROUTE_HANDLE_LEN, 2 * max_routes, rng);
  t->max_routes = max_routes;
  t->rate = rate;
  t->burst = (burst < BURST_MAX ? burst : BURST_MAX) * SEC;
  return t;
}

void route_table_free(struct route_table *t) {
  if (!t) return;
  map_done(&t->handles);
  free(t);
}

int route_add(struct route_table *t, struct route *r) {
  if (t->stats.n_routes >= t->max_routes) return ZTNA_EFULL;
  for (int i = 0; i < 2; i++) {
    int rc = map_put(&t->handles, r->end[i].handle, &r->end[i]);
    if (rc < 0) {
      if (i) map_del(&t->handles, r->end[0].handle);
      return rc;
    }
    r->end[i].route = r;
  }
  r->rate = t->rate;
  r->tokens = r->burst = t->burst;
  r->filled_at = 0;
  t->stats.n_routes++;
  return 0;
}

void route_limit(const struct route_table *t, struct route *r, uint64_t rate,
                 uint64_t now) {
  bool had_own = r->rate != t->rate;
  bool own = rate && (!t->rate || rate < t->rate);
  uint64_t burst = rate / 4 > LIMIT_BURST ? rate / 4 : LIMIT_BURST;
  if (burst > BURST_MAX) burst = BURST_MAX;
  burst *= SEC;
  if (!own || (t->rate && burst > t->burst)) burst = t->burst;
  if (own && !had_own) {
    r->tokens = LIMIT_START * SEC;
    r->filled_at = now;
  }
  if (had_own && !own) r->tokens = burst;
  if (r->tokens > burst) r->tokens = burst;
  r->rate = own ? rate : t->rate;
  r->burst = burst;
}

static void queue_forget(struct route_table *t, const struct route *r) {
  for (size_t i = 0; i < t->n; i++) {
    struct train *q = &t->queue[(t->head + i) % QUEUE_LEN];
    if (!q->to || q->to->route != r) continue;
    t->stats.drops[REASON_ROUTE_UNKNOWN] += q->n;
    q->to = NULL;
  }
}

void route_del(struct route_table *t, struct route *r) {
  if (route_find(t, r->end[0].handle) != &r->end[0]) return;
  queue_forget(t, r);
  map_del(&t->handles, r->end[0].handle);
  map_del(&t->handles, r->end[1].handle);
  t->stats.n_routes--;
}

struct route_end *route_find(const struct route_table *t,
                             const uint8_t handle[ROUTE_HANDLE_LEN]) {
  return map_get(&t->handles, handle);
}

const struct route_stats *route_stats(const struct route_table *t) {
  return &t->stats;
}

/* --- feed */

static void refill(struct route *r, uint64_t now) {
  if (now <= r->filled_at) return;
  uint64_t elapsed = now - r->filled_at;
  r->filled_at = now;
  /* In less than an empty bucket takes the product stays below burst, so
   * nothing overflows. */
  uint64_t more = elapsed < r->burst / r->rate ? elapsed * r->rate : r->burst;
  r->tokens = more < r->burst - r->tokens ? r->tokens + more : r->burst;
}

static bool take_tokens(struct route *r, uint32_t len) {
  if (!r->rate) return true;
  if (r->tokens < len * SEC) return false;
  r->tokens -= len * SEC;
  return true;
}

/* One GRO batch has one source, so the answer holds for a whole run. */
static bool source_is_right(const struct route_end *to, const struct dgram *d) {
  const struct ztna_addr *source = &peer_of(to)->remote;
  return source->family && ztna_addr_equal(source, &d->remote);
}

static void run_begin(const struct route_table *t, struct run *u,
                      const uint8_t *handle) {
  u->known = true;
  memcpy(&u->handle, handle, sizeof(u->handle));
  u->open = NULL;
  u->to = route_find(t, handle);
  if (!u->to) return;
  u->right_source = source_is_right(u->to, u->d);
  if (u->right_source && u->to->route->rate) refill(u->to->route, u->now);
}

static bool run_has(const struct run *u, const uint8_t *handle) {
  uint64_t h;
  memcpy(&h, handle, sizeof(h));
  return u->known && h == u->handle;
}

/* An open train is of this batch, where only the last segment may be shorter:
 * sizes always fit. */
static bool train_takes(const struct train *q, uint32_t len) {
  return q && q->n < DGRAM_MAX_SEGS && q->len + len <= DGRAM_MAX_BYTES;
}

static enum reason segment_queue(struct route_table *t, struct run *u,
                                 const uint8_t *p, uint32_t len) {
  bool joins = train_takes(u->open, len);
  if (len > DGRAM_MAX_BYTES) return REASON_PACKET_TOO_BIG;
  if (!joins && t->n == QUEUE_LEN) {
    t->stats.n_overflows++;
    return REASON_RATE_LIMITED;
  }
  if (!take_tokens(u->to->route, len)) return REASON_RATE_LIMITED;
  if (joins) {
    u->open->len += len;
    u->open->n++;
    return REASON_NONE;
  }
  u->to->route->last_at = u->now;
  u->open = &t->queue[(t->head + t->n++) % QUEUE_LEN];
  *u->open = (struct train){.to = u->to,
                            .data = p,
                            .len = len,
                            .seg = (uint16_t)len,
                            .n = 1,
                            .ecn = u->d->ecn};
  return REASON_NONE;
}

/* False: not a route's. */
static bool segment_in(struct route_table *t, struct run *u, const uint8_t *p,
                       uint32_t len) {
  const uint8_t *handle = packet_handle(p, len);
  if (!handle) return false;
  if (!run_has(u, handle)) run_begin(t, u, handle);
  if (!u->to) return false;
  enum reason why =
      u->right_source ? segment_queue(t, u, p, len) : REASON_WRONG_SOURCE;
  if (why != REASON_NONE) {
    t->stats.drops[why]++;
    u->open = NULL;
  }
  return true;
}

void route_in(struct route_table *t, uint64_t now, const struct dgram *d,
              void (*other)(void *ud, uint64_t now, const struct dgram *seg),
              void *ud) {
  struct run u = {.d = d, .now = now};
  assert(d->seg || !d->len);
  for (uint32_t off = 0; off < d->len; off += d->seg) {
    uint32_t len = d->len - off < d->seg ? d->len - off : d->seg;
    if (segment_in(t, &u, d->data + off, len)) continue;
    /* It may add and delete routes or move addresses: nothing known holds. */
    u.known = false;
    struct dgram one = *d;
    one.data = d->data + off;
    one.len = len;
    one.seg = (uint16_t)len;
    other(ud, now, &one);
  }
}

/* --- drain */

static bool train_next(struct route_table *t, struct dgram *d) {
  struct train *q = &t->queue[t->head];
  t->head = (t->head + 1) % QUEUE_LEN;
  t->n--;
  if (!q->to) return false;    /* counted by route_del */
  if (!q->to->remote.family) { /* nobody knows where it is */
    t->stats.drops[REASON_ROUTE_UNKNOWN] += q->n;
    return false;
  }
  *d = (struct dgram){.remote = q->to->remote,
                      .local = q->to->local,
                      .data = q->data,
                      .len = q->len,
                      .seg = q->seg,
                      .ecn = q->ecn};
  q->to->n_packets += q->n;
  q->to->n_bytes += q->len;
  t->stats.n_packets += q->n;
  t->stats.n_bytes += q->len;
  t->stats.n_trains++;
  return true;
}

int route_next(struct route_table *t, struct dgram *v, int max) {
  int n = 0;
  while (n < max && t->n)
    if (train_next(t, &v[n])) n++;
  return n;
}
