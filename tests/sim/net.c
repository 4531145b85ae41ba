/* net.c - see net.h. */
#include "sim/net.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/time.h"

/* Packets this close to each other arrive as one train (GRO). */
#define TOGETHER (2 * US)

struct event {
  struct heap_node node;
  void (*fn)(void *ud, uint64_t arg); /* NULL: a packet */
  void *ud;
  uint64_t arg;
  struct vnet_host *to_host;
  bool between; /* the lines: the receiver's is still to be crossed */
  struct ztna_addr from, to;
  uint8_t ecn;
  size_t len;
  uint8_t data[]; /* its own allocation: a read past it is seen */
};

static void need(bool ok) {
  if (!ok) abort(); /* no memory, or a test's own mistake */
}

struct vnet *vnet_new(uint64_t seed, uint64_t now) {
  struct vnet *n = calloc(1, sizeof(*n));

  need(n);
  seeded_init(&n->rnd, seed);
  n->now = now;
  return n;
}

void vnet_free(struct vnet *n) {
  struct heap_node *t;

  if (!n) return;
  while ((t = heap_top(&n->events))) {
    heap_del(&n->events, t);
    free(t); /* node is its first member */
  }
  heap_done(&n->events);
  free(n);
}

static void address(struct vnet_host *h, int family, const char *text) {
  if (!text) return;
  need(ztna_addr_parse(&h->inner[family], text) == 0);
  h->outer[family] = h->inner[family];
}

struct vnet_host *vnet_add(struct vnet *n, const char *v4, const char *v6,
                           uint64_t delay) {
  struct vnet_host *h = &n->hosts[n->n_hosts];

  need(n->n_hosts < VNET_HOSTS);
  h->net = n;
  h->number = n->n_hosts++;
  address(h, 0, v4);
  address(h, 1, v6);
  h->up.delay = h->down.delay = delay;
  return h;
}

struct vnet_pipe *vnet_pipe(struct vnet *n, uint64_t rate, size_t queue) {
  struct vnet_pipe *p = &n->pipes[n->n_pipes++];

  need(n->n_pipes <= VNET_PIPES && rate && queue);
  p->rate = rate;
  p->queue = queue;
  return p;
}

void vnet_rebind(struct vnet_host *h) {
  for (int i = 0; i < 2; i++) {
    uint16_t was = h->outer[i].port;

    if (!h->outer[i].family) continue;
    while (h->outer[i].port == was)
      h->outer[i].port = (uint16_t)(1024 + seeded_u64(&h->net->rnd) % 60000);
  }
  h->n_peers = 0;
}

/* --- events --- */

static struct event *event_new(size_t len) {
  struct event *e = malloc(sizeof(*e) + len);

  need(e);
  *e = (struct event){.len = len};
  return e;
}

static void event_at(struct vnet *n, struct event *e, uint64_t at) {
  need(heap_set(&n->events, &e->node, at) == 0);
}

static struct event *event_top(const struct vnet *n) {
  return (struct event *)(void *)heap_top(&n->events);
}

void vnet_at(struct vnet *n, uint64_t at, void (*fn)(void *ud, uint64_t arg),
             void *ud, uint64_t arg) {
  struct event *e = event_new(0);

  e->fn = fn;
  e->ud = ud;
  e->arg = arg;
  event_at(n, e, at);
}

uint64_t vnet_deadline(const struct vnet *n) {
  struct heap_node *t = heap_top(&n->events);

  return t ? t->at : NEVER;
}

/* --- sending --- */

static struct vnet_host *host_of(struct vnet *n, const struct ztna_addr *a) {
  for (int i = 0; i < n->n_hosts; i++)
    if (ztna_addr_same_ip(&n->hosts[i].outer[a->family == 6], a))
      return &n->hosts[i];
  return NULL;
}

static void note(struct vnet *n, const struct ztna_addr *from,
                 const struct ztna_addr *to, const uint8_t *data, size_t len) {
  uint64_t key[2] = {n->digest, n->now};

  key[0] = siphash(key, from, sizeof(*from));
  key[0] = siphash(key, to, sizeof(*to));
  n->digest = siphash(key, data, len);
  n->counters.n_sent++;
  if (n->on_wire) n->on_wire(n->wire_ud, from, to, data, len);
}

static bool happens(struct vnet *n, double probability) {
  return probability > 0 && seeded_unit(&n->rnd) < probability;
}

/* When it has left the pipe; NEVER: there was no room. */
static uint64_t pass(struct vnet_pipe *p, uint64_t at, size_t bytes) {
  uint64_t start = p->free_at > at ? p->free_at : at;
  uint64_t waiting = (start - at) * p->rate / 8 / SEC;

  if (waiting + bytes > p->queue) return NEVER;
  if (start - at > p->longest) p->longest = start - at;
  p->free_at = start + bytes * 8 * SEC / p->rate;
  return p->free_at;
}

/* When a packet that enters a line at `at` leaves it; NEVER: it does not. */
static uint64_t cross(struct vnet *n, struct vnet_line *l, uint64_t at,
                      size_t len) {
  if (l->mtu && len > l->mtu) {
    n->counters.n_too_big++;
    return NEVER;
  }
  if (happens(n, l->loss)) {
    n->counters.n_lost++;
    l->n_lost++;
    return NEVER;
  }
  if (l->pipe) at = pass(l->pipe, at, len + VNET_HEADERS);
  if (at == NEVER) {
    n->counters.n_full++;
    l->n_full++;
    return NEVER;
  }
  l->n_packets++;
  l->n_bytes += len + VNET_HEADERS;
  at += l->delay;
  if (l->jitter) at += seeded_u64(&n->rnd) % l->jitter;
  if (happens(n, l->reorder))
    return at + (l->reorder_by ? seeded_u64(&n->rnd) % l->reorder_by : 0);
  if (at <= l->last) at = l->last + 1;
  l->last = at;
  return at;
}

static struct event *packet_new(struct vnet *n, const struct ztna_addr *from,
                                const struct ztna_addr *to, uint8_t ecn,
                                const uint8_t *data, size_t len) {
  struct event *e = event_new(len);

  e->from = *from;
  e->to = *to;
  e->to_host = host_of(n, to);
  e->ecn = ecn;
  memcpy(e->data, data, len);
  return e;
}

static bool knows(const struct vnet_host *h, const struct ztna_addr *peer) {
  for (size_t i = 0; i < h->n_peers; i++)
    if (ztna_addr_equal(&h->peers[i], peer)) return true;
  return false;
}

/* Into the receiver's line; at once when nothing has to queue there, in order
 * of sending. False: it goes no further. */
static bool enter(struct vnet *n, struct event *e, uint64_t at) {
  struct vnet_line *l = &e->to_host->down;

  e->between = l->pipe && at > n->now;
  if (!e->between) at = cross(n, l, at, e->len);
  if (at == NEVER) return false;
  event_at(n, e, at);
  return true;
}

static void send_one(struct vnet_host *h, const struct dgram *d,
                     const uint8_t *data, size_t len) {
  const struct ztna_addr *from = &h->outer[d->remote.family == 6];
  struct vnet_host *to = host_of(h->net, &d->remote);
  struct vnet *n = h->net;
  struct event *e;
  uint64_t at;

  if (!from->family || h->off) return; /* network unreachable */
  if (!knows(h, &d->remote)) h->peers[h->n_peers++ % VNET_PEERS] = d->remote;
  if (h->n_peers > VNET_PEERS) h->n_peers = VNET_PEERS;
  note(n, from, &d->remote, data, len);
  at = cross(n, &h->up, n->now, len);
  if (at == NEVER) return;
  if (!to || h->blocked[to->number]) {
    n->counters.n_nobody++;
    return;
  }
  e = packet_new(n, from, &d->remote, d->ecn, data, len);
  if (!enter(n, e, at)) free(e);
  if (!happens(n, h->up.dup)) return;
  e = packet_new(n, from, &d->remote, d->ecn, data, len);
  if (!enter(n, e, at + MS)) free(e);
}

void vnet_send(struct vnet_host *h, const struct dgram *d) {
  need(d->seg && d->len);
  for (uint32_t off = 0; off < d->len; off += d->seg)
    send_one(h, d, d->data + off,
             d->len - off < d->seg ? d->len - off : d->seg);
}

void vnet_inject(struct vnet *n, const struct ztna_addr *from,
                 const struct ztna_addr *to, const uint8_t *data, size_t len,
                 uint64_t delay) {
  note(n, from, to, data, len);
  event_at(n, packet_new(n, from, to, 0, data, len), n->now + delay);
}

/* --- arriving --- */

static bool accepted(struct vnet *n, const struct event *e) {
  const struct vnet_host *h = e->to_host;

  if (h && !h->off && h->on_dgram &&
      ztna_addr_equal(&h->outer[e->to.family == 6], &e->to) &&
      (!h->nat || knows(h, &e->from)))
    return true;
  n->counters.n_nobody++;
  return false;
}

/* May b follow a in one train? */
static bool follows(const struct event *a, const struct event *b, size_t seg,
                    size_t total) {
  return b && !b->fn && !b->between && b->node.at <= a->node.at + TOGETHER &&
         b->len <= seg && total % seg == 0 &&
         total + b->len < DGRAM_MAX_BYTES && total / seg < DGRAM_MAX_SEGS &&
         a->ecn == b->ecn && ztna_addr_equal(&a->from, &b->from) &&
         ztna_addr_equal(&a->to, &b->to);
}

/* Takes those that follow; returns the bytes of all, one allocation:
 * a read past it is seen. */
static uint8_t *gather(struct vnet *n, const struct event *first,
                       struct dgram *d) {
  uint8_t *bytes = malloc(first->len);
  struct event *e;

  need(bytes);
  memcpy(bytes, first->data, first->len);
  while (follows(first, e = event_top(n), d->seg, d->len)) {
    bytes = realloc(bytes, d->len + e->len);
    need(bytes);
    memcpy(bytes + d->len, e->data, e->len);
    d->len += (uint32_t)e->len;
    n->counters.n_delivered++;
    heap_del(&n->events, &e->node);
    free(e);
  }
  return bytes;
}

static void deliver(struct vnet *n, struct event *first) {
  struct vnet_host *h = first->to_host;
  struct dgram d = {.remote = first->from,
                    .local = h->inner[first->to.family == 6],
                    .seg = (uint16_t)first->len,
                    .len = (uint32_t)first->len,
                    .ecn = first->ecn};
  uint8_t *bytes = NULL;

  if (follows(first, event_top(n), d.seg, d.len)) bytes = gather(n, first, &d);
  d.data = bytes ? bytes : first->data;
  n->counters.n_delivered++;
  h->on_dgram(h->ud, &d);
  free(bytes);
}

bool vnet_step(struct vnet *n) {
  struct event *e = event_top(n);
  bool goes_on = false;

  if (!e || e->node.at > n->now) return false;
  heap_del(&n->events, &e->node);
  if (e->fn)
    e->fn(e->ud, e->arg);
  else if (e->between)
    goes_on = enter(n, e, e->node.at);
  else if (accepted(n, e))
    deliver(n, e);
  if (!goes_on) free(e);
  return true;
}

void vnet_run(struct vnet *n, uint64_t for_ns) {
  uint64_t until = n->now + for_ns, at;

  while ((at = vnet_deadline(n)) <= until) {
    n->now = at;
    vnet_step(n);
  }
  n->now = until;
}
