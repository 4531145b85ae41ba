/* flows.c - open addressing over numbers, and a list by last use. */
#include "part/flows.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/time.h"

enum { KEY_LEN = 4 + 2 + 2 + 2 + 16 + 16 };

struct ends {
  uint32_t newest, oldest;
};

struct flows {
  struct flow *v;
  uint32_t n, n_used, n_fresh, free; /* free: list through all.newer */
  struct ends all, *own;             /* own: one of each owner */
  uint32_t *slots;                   /* number + 1, 0 free */
  uint32_t mask;
  uint64_t idle_after;
  uint64_t hash_key[2];
};

struct flows *flows_new(uint32_t n, uint32_t owners, uint64_t idle_after,
                        const struct rng *rng) {
  struct flows *t = calloc(1, sizeof(*t));
  uint32_t slots = 16;

  if (!t) return NULL;
  while (slots < 2 * n) slots *= 2;
  t->n = n;
  t->mask = slots - 1;
  t->idle_after = idle_after;
  t->free = FLOWS_NONE;
  t->all = (struct ends){FLOWS_NONE, FLOWS_NONE};
  rng_fill(rng, t->hash_key, sizeof(t->hash_key));
  t->v = calloc(n, sizeof(*t->v));
  t->slots = calloc(slots, sizeof(*t->slots));
  t->own = malloc(owners * sizeof(*t->own));
  for (uint32_t i = 0; t->own && i < owners; i++) t->own[i] = t->all;
  if (t->v && t->slots && t->own) return t;
  flows_free(t);
  return NULL;
}

void flows_free(struct flows *t) {
  if (!t) return;
  free(t->v);
  free(t->own);
  free(t->slots);
  free(t);
}

static uint32_t hash(const struct flows *t, const struct flow_key *k) {
  uint8_t raw[KEY_LEN] = {0};

  memcpy(raw, &k->owner, 4);
  raw[4] = k->proto;
  raw[5] = k->src.family;
  memcpy(raw + 6, &k->src.port, 2);
  memcpy(raw + 8, &k->dst.port, 2);
  memcpy(raw + 10, k->src.ip, 16);
  memcpy(raw + 26, k->dst.ip, 16);
  return (uint32_t)siphash(t->hash_key, raw, sizeof(raw));
}

static bool same(const struct flow_key *a, const struct flow_key *b) {
  return a->owner == b->owner && a->proto == b->proto &&
         a->src.port == b->src.port && a->dst.port == b->dst.port &&
         ztna_addr_same_ip(&a->src, &b->src) &&
         ztna_addr_same_ip(&a->dst, &b->dst);
}

/* --- by last use --- */

static struct flow_place *place_in(struct flows *t, uint32_t i,
                                   const struct ends *e) {
  return e == &t->all ? &t->v[i].all : &t->v[i].own;
}

static void list_take(struct flows *t, struct ends *e, uint32_t i) {
  struct flow_place p = *place_in(t, i, e);

  *(p.newer == FLOWS_NONE ? &e->newest : &place_in(t, p.newer, e)->older) =
      p.older;
  *(p.older == FLOWS_NONE ? &e->oldest : &place_in(t, p.older, e)->newer) =
      p.newer;
}

static void list_put(struct flows *t, struct ends *e, uint32_t i) {
  *place_in(t, i, e) = (struct flow_place){FLOWS_NONE, e->newest};
  *(e->newest == FLOWS_NONE ? &e->oldest : &place_in(t, e->newest, e)->newer) =
      i;
  e->newest = i;
}

static void list_touch(struct flows *t, struct ends *e, uint32_t i) {
  if (e->newest == i) return;
  list_take(t, e, i);
  list_put(t, e, i);
}

void flows_touch(struct flows *t, uint32_t i, uint64_t now) {
  t->v[i].last_at = now;
  list_touch(t, &t->all, i);
  list_touch(t, &t->own[t->v[i].key.owner], i);
}

/* --- by key --- */

uint32_t flows_find(struct flows *t, const struct flow_key *k, uint64_t now) {
  uint32_t s, i;

  for (s = hash(t, k) & t->mask; (i = t->slots[s]); s = (s + 1) & t->mask) {
    if (!same(&t->v[i - 1].key, k)) continue;
    flows_touch(t, i - 1, now);
    return i - 1;
  }
  return FLOWS_NONE;
}

uint32_t flows_add(struct flows *t, const struct flow_key *k, uint64_t now) {
  uint32_t i, s;

  if (t->free != FLOWS_NONE) {
    i = t->free;
    t->free = t->v[i].all.newer;
  } else if (t->n_fresh < t->n) {
    i = t->n_fresh++;
  } else {
    return FLOWS_NONE;
  }
  t->v[i] = (struct flow){.key = *k, .last_at = now, .used = true};
  for (s = hash(t, k) & t->mask; t->slots[s]; s = (s + 1) & t->mask)
    ;
  t->slots[s] = i + 1;
  list_put(t, &t->all, i);
  list_put(t, &t->own[k->owner], i);
  t->n_used++;
  return i;
}

/* Moves later entries of the probe run back over the hole. */
static void close_gap(struct flows *t, uint32_t hole) {
  uint32_t s = hole;

  for (;;) {
    uint32_t i, home;

    s = (s + 1) & t->mask;
    if (!(i = t->slots[s])) break;
    home = hash(t, &t->v[i - 1].key) & t->mask;
    if (((s - home) & t->mask) < ((s - hole) & t->mask)) continue;
    t->slots[hole] = i;
    hole = s;
  }
  t->slots[hole] = 0;
}

void flows_del(struct flows *t, uint32_t i) {
  struct flow *f = &t->v[i];
  uint32_t s = hash(t, &f->key) & t->mask;

  while (t->slots[s] != i + 1) s = (s + 1) & t->mask;
  close_gap(t, s);
  list_take(t, &t->all, i);
  list_take(t, &t->own[f->key.owner], i);
  f->used = false;
  f->all.newer = t->free;
  t->free = i;
  t->n_used--;
}

struct flow *flows_at(struct flows *t, uint32_t i) {
  return i < t->n_fresh && t->v[i].used ? &t->v[i] : NULL;
}

uint32_t flows_idle(const struct flows *t, uint64_t now) {
  return now >= flows_deadline(t) ? t->all.oldest : FLOWS_NONE;
}

uint32_t flows_oldest(const struct flows *t, uint32_t owner) {
  return t->own[owner].oldest;
}

uint32_t flows_count(const struct flows *t) { return t->n_used; }

uint64_t flows_deadline(const struct flows *t) {
  return t->all.oldest == FLOWS_NONE
             ? NEVER
             : t->v[t->all.oldest].last_at + t->idle_after;
}
