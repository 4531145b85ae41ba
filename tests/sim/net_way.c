/* net_way.c - the way of a packet: over lines, through boxes, to a host. */
#include "sim/net_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/time.h"

/* --- where things are --- */

/* What hangs on a LAN or the core: a host or a box. */
struct place {
  struct vnet_host *host;
  struct vnet_nat *box;
};

/* Who of those on this LAN (or the core) leads to something behind `box`?
 * Boxes in between must let its address pass as it is. */
static struct place place_on(struct vnet_nat *lan, struct vnet_nat *box,
                             struct place p, int family) {
  while (box != lan && box && sim_nat_is_transparent(box->model, family)) {
    p = (struct place){.box = box};
    box = box->behind;
  }
  return box == lan ? p : (struct place){0};
}

static struct place place_find(struct vnet *n, struct vnet_nat *lan,
                               const struct ztna_addr *to) {
  struct place p = {0};

  for (int i = 0; i < n->n_hosts && !p.host && !p.box; i++) {
    struct vnet_host *h = &n->hosts[i];

    if (ztna_addr_same_ip(&h->outer[to->family == 6], to))
      p = place_on(lan, h->behind, (struct place){.host = h}, to->family);
  }
  for (int i = 0; i < n->n_nats && !p.host && !p.box; i++) {
    struct vnet_nat *b = &n->nats[i];

    if (ztna_addr_same_ip(sim_nat_outer(b->model), to))
      p = place_on(lan, b->behind, (struct place){.box = b}, to->family);
  }
  return p;
}

/* --- lines --- */

void net_see(struct vnet *n, const struct event *e) {
  if (n->on_wire) n->on_wire(n->wire_ud, &e->from, &e->to, e->data, e->len);
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

/* --- the way --- */

static bool hop(struct vnet *n, struct event *e, int hops) {
  if (e->ttl > hops) {
    e->ttl = (uint8_t)(e->ttl - hops);
    return true;
  }
  n->counters.n_expired++;
  return false;
}

static bool hold(struct vnet *n, struct event *e, uint64_t at) {
  e->between = true;
  net_event_at(n, e, at);
  return true;
}

/* Over the line of who is next; before it, when packets queue there, in order
 * of sending. */
static bool arrive(struct vnet *n, struct event *e, struct place to,
                   uint64_t at) {
  struct vnet_line *l = to.host ? &to.host->down : &to.box->down;

  if (!e->lan && !e->routed && !hop(n, e, n->core_hops)) return false;
  e->routed = true;
  if (l->pipe && at > n->now) return hold(n, e, at);
  at = cross(n, l, at, e->len);
  if (at == NEVER) return false;
  e->between = false;
  e->at_host = to.host;
  e->at_box = to.box;
  net_event_at(n, e, at);
  return true;
}

static struct event *copy(const struct event *e) {
  struct event *c = net_event_new(e->len);

  memcpy(c, e, sizeof(*e) + e->len);
  c->node = (struct heap_node){0};
  return c;
}

/* Sometimes a second one follows. */
uint64_t net_leave(struct vnet *n, struct event *e, struct vnet_line *l) {
  uint64_t at;

  if (!e->lan) net_see(n, e);
  at = cross(n, l, n->now, e->len);
  if (at != NEVER && happens(n, l->dup)) hold(n, copy(e), at + MS);
  return at;
}

static bool filtered(struct vnet *n) {
  n->counters.n_filtered++;
  return false;
}

/* To the outer address of the box whose LAN it is in. */
static bool turn_back(struct vnet *n, struct event *e) {
  struct vnet_nat *b = e->lan;

  if (!hop(n, e, 1)) return false;
  if (!sim_nat_config(b->model)->hairpin ||
      !sim_nat_out(b->model, n->now, &e->from, &e->to) ||
      !sim_nat_in(b->model, n->now, &e->from, &e->to))
    return filtered(n);
  e->inwards = true;
  return true;
}

/* Out of a LAN through its box. */
static bool climb(struct vnet *n, struct event *e, uint64_t *at) {
  struct vnet_nat *b = e->lan;

  if (b->off || !hop(n, e, 1)) return false;
  if (!sim_nat_out(b->model, n->now, &e->from, &e->to)) return filtered(n);
  e->lan = b->behind;
  *at = net_leave(n, e, &b->up);
  return *at != NEVER;
}

static bool is_boxs_own(const struct vnet_nat *b, const struct ztna_addr *to) {
  return !sim_nat_is_transparent(b->model, to->family) &&
         ztna_addr_same_ip(sim_nat_outer(b->model), to);
}

bool net_travel(struct vnet *n, struct event *e, uint64_t at) {
  for (;;) {
    struct place to = place_find(n, e->lan, &e->to);

    if (to.host || to.box) return arrive(n, e, to, at);
    if (!e->lan || e->inwards) break;
    if (at > n->now) return hold(n, e, at); /* boxes look at the clock */
    if (is_boxs_own(e->lan, &e->to) ? !turn_back(n, e) : !climb(n, e, &at))
      return false;
  }
  n->counters.n_nobody++;
  return false;
}

bool net_enter(struct vnet *n, struct event *e) {
  struct vnet_nat *b = e->at_box;

  if (b->off) return false;
  if (!sim_nat_in(b->model, n->now, &e->from, &e->to)) return filtered(n);
  if (!hop(n, e, 1)) return false;
  e->lan = b;
  e->at_box = NULL;
  e->inwards = true;
  return net_travel(n, e, n->now);
}

void net_place(struct vnet *n, struct event *e) {
  struct place p = place_find(n, NULL, &e->to);

  e->at_host = p.host;
  e->at_box = p.box;
}
