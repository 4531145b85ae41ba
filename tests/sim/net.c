/* net.c - see net.h. */
#include "sim/net_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/time.h"
#include "sim/net_sock.h"

/* Packets this close to each other arrive as one train (GRO). */
#define TOGETHER (2 * US)

static void need(bool ok) {
  if (!ok) abort(); /* no memory, or a test's own mistake */
}

struct vnet *vnet_new(uint64_t seed, uint64_t now) {
  struct vnet *n = calloc(1, sizeof(*n));

  need(n);
  seeded_init(&n->rnd, seed);
  n->now = now;
  n->core_hops = 1;
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
  for (int i = 0; i < n->n_nats; i++) sim_nat_free(n->nats[i].model);
  for (int i = 0; i < n->n_hosts; i++) net_sock_done(&n->hosts[i]);
  free(n);
}

static void address(struct vnet_host *h, int family, const char *text) {
  h->inner[family] = h->outer[family] = (struct ztna_addr){0};
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

void vnet_readdress(struct vnet_host *h, const char *v4, const char *v6) {
  address(h, 0, v4);
  address(h, 1, v6);
  h->n_peers = 0;
}

struct vnet_nat *vnet_nat(struct vnet *n, const struct sim_nat_config *c,
                          const char *outer, struct vnet_nat *behind,
                          uint64_t delay) {
  struct vnet_nat *b = &n->nats[n->n_nats++];
  struct ztna_addr a = {0};

  need(n->n_nats <= VNET_NATS);
  need(!outer || ztna_addr_parse(&a, outer) == 0);
  b->net = n;
  b->model = sim_nat_new(c, &a, seeded_u64(&n->rnd));
  b->behind = behind;
  b->up.delay = b->down.delay = delay;
  return b;
}

void vnet_behind(struct vnet_host *h, struct vnet_nat *box) { h->behind = box; }

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

struct event *net_event_new(size_t len) {
  struct event *e = malloc(sizeof(*e) + len);

  need(e);
  *e = (struct event){.len = len};
  return e;
}

void net_event_at(struct vnet *n, struct event *e, uint64_t at) {
  need(heap_set(&n->events, &e->node, at) == 0);
}

static struct event *event_top(const struct vnet *n) {
  return (struct event *)(void *)heap_top(&n->events);
}

void vnet_at(struct vnet *n, uint64_t at, void (*fn)(void *ud, uint64_t arg),
             void *ud, uint64_t arg) {
  struct event *e = net_event_new(0);

  e->fn = fn;
  e->ud = ud;
  e->arg = arg;
  net_event_at(n, e, at);
}

uint64_t vnet_deadline(const struct vnet *n) {
  struct heap_node *t = heap_top(&n->events);

  return t ? t->at : NEVER;
}

/* --- sending --- */

static void note(struct vnet *n, const struct event *e) {
  uint64_t key[2] = {n->digest, n->now};

  key[0] = siphash(key, &e->from, sizeof(e->from));
  key[0] = siphash(key, &e->to, sizeof(e->to));
  n->digest = siphash(key, e->data, e->len);
  n->counters.n_sent++;
}

static struct event *packet_new(const struct ztna_addr *from,
                                const struct ztna_addr *to, const uint8_t *data,
                                size_t len) {
  struct event *e = net_event_new(len);

  e->from = *from;
  e->to = *to;
  e->ttl = VNET_TTL;
  memcpy(e->data, data, len);
  return e;
}

static bool knows(const struct vnet_host *h, const struct ztna_addr *peer) {
  for (size_t i = 0; i < h->n_peers; i++)
    if (ztna_addr_equal(&h->peers[i], peer)) return true;
  return false;
}

static void send_one(struct vnet_host *h, const struct dgram *d,
                     const uint8_t *data, size_t len) {
  struct ztna_addr from = h->outer[d->remote.family == 6];
  struct event *e;
  uint64_t at;

  if (!from.family || h->off) return; /* network unreachable */
  from.port = net_sock_use(h, d->sock, d->remote.family);
  if (!knows(h, &d->remote)) h->peers[h->n_peers++ % VNET_PEERS] = d->remote;
  if (h->n_peers > VNET_PEERS) h->n_peers = VNET_PEERS;
  e = packet_new(&from, &d->remote, data, len);
  e->from_host = h;
  e->lan = h->behind;
  e->ecn = d->ecn;
  if (d->ttl) e->ttl = d->ttl;
  note(h->net, e);
  at = net_leave(h->net, e, &h->up);
  if (at == NEVER || !net_travel(h->net, e, at)) free(e);
}

void vnet_send(struct vnet_host *h, const struct dgram *d) {
  if (d->sock && !d->len) {
    net_sock_close(h, d->sock, d->remote.family);
    return;
  }
  need(d->seg && d->len);
  for (uint32_t off = 0; off < d->len; off += d->seg)
    send_one(h, d, d->data + off,
             d->len - off < d->seg ? d->len - off : d->seg);
}

void vnet_inject(struct vnet *n, const struct ztna_addr *from,
                 const struct ztna_addr *to, const uint8_t *data, size_t len,
                 uint64_t delay) {
  struct event *e = packet_new(from, to, data, len);

  note(n, e);
  net_see(n, e);
  net_place(n, e);
  net_event_at(n, e, n->now + delay);
}

/* --- arriving --- */

static bool accepted(struct vnet *n, const struct event *e) {
  const struct vnet_host *h = e->at_host;
  int family = e->to.family;

  if (h && !h->off && h->on_dgram &&
      ztna_addr_same_ip(&h->outer[family == 6], &e->to) &&
      net_sock_find(h, family, e->to.port) >= 0 &&
      (!h->nat || knows(h, &e->from)) &&
      !(e->from_host && e->from_host->blocked[h->number]))
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
         a->ecn == b->ecn && a->at_host == b->at_host &&
         ztna_addr_equal(&a->from, &b->from) && ztna_addr_equal(&a->to, &b->to);
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
  struct vnet_host *h = first->at_host;
  int sock = net_sock_find(h, first->to.family, first->to.port);
  struct dgram d = {.remote = first->from,
                    .local = h->inner[first->to.family == 6],
                    .sock = (uint16_t)sock,
                    .seg = (uint16_t)first->len,
                    .len = (uint32_t)first->len,
                    .ecn = first->ecn};
  uint8_t *bytes = NULL;

  if (follows(first, event_top(n), d.seg, d.len)) bytes = gather(n, first, &d);
  d.data = bytes ? bytes : first->data;
  if (sock) d.local.port = first->to.port;
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
    goes_on = net_travel(n, e, n->now);
  else if (e->at_box)
    goes_on = net_enter(n, e);
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
