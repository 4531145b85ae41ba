/* addrpool.c - see addrpool.h. Everybody must compute the same addresses, so
 * the hash has no secret key; who may choose keys is known by certificate, and
 * a chosen collision costs one more probe per entry, not somebody's address. */
#include "part/addrpool.h"

#include <stdlib.h>
#include <string.h>

#include <ztna/err.h>

#include "base/map.h"

/* Probing starts behind the network address and the first host. */
enum { FIRST_HOST = 2 };

static const uint64_t fleet_key[2]; /* zero on every relay */

struct entry {
  char *key;             /* NULL: reserved by configuration, or free */
  struct ztna_addr addr; /* family 0: free */
  uint64_t dropped;      /* 0: in use; else the how-manieth drop it was */
  uint32_t next_key, next_addr; /* chains; 1 based, 0 ends */
};

struct addrpool {
  struct ztna_prefix prefix;
  uint64_t n_hosts; /* that may be given */
  uint64_t n_drops;
  uint32_t n, max;  /* entries: in use and dropped; 1 based in chains */
  uint32_t free;    /* chain of free entries by next_key */
  uint32_t n_fresh; /* entries ever used */
  uint32_t mask;    /* of buckets */
  uint32_t *by_key, *by_addr;
  struct entry *entries;
};

/* --- hosts of a prefix */

static uint64_t count_hosts(const struct ztna_prefix *p) {
  int bits = (p->addr.family == 4 ? 32 : 128) - p->bits;
  uint64_t not_given = FIRST_HOST + (p->addr.family == 4); /* broadcast */
  if (bits > 63) bits = 63; /* more than anybody can fill */
  uint64_t all = UINT64_C(1) << bits;
  return all > not_given ? all - not_given : 0;
}

static struct ztna_addr host_at(const struct ztna_prefix *p, uint64_t i) {
  struct ztna_addr a = p->addr;
  int end = a.family == 4 ? 4 : 16;
  i += FIRST_HOST;
  for (int b = end - 1; i; b--, i >>= 8) a.ip[b] |= (uint8_t)i;
  a.port = 0;
  return a;
}

/* --- table of entries, by key and by address */

static uint32_t *key_bucket(struct addrpool *p, const char *key) {
  return &p->by_key[siphash(fleet_key, key, strlen(key)) & p->mask];
}

static uint32_t *addr_bucket(struct addrpool *p, const struct ztna_addr *a) {
  return &p->by_addr[siphash(fleet_key, a->ip, sizeof(a->ip)) & p->mask];
}

static struct entry *find_key(struct addrpool *p, const char *key) {
  uint32_t i = *key_bucket(p, key);
  while (i && strcmp(p->entries[i - 1].key, key) != 0)
    i = p->entries[i - 1].next_key;
  return i ? &p->entries[i - 1] : NULL;
}

static struct entry *find_addr(struct addrpool *p, const struct ztna_addr *a) {
  uint32_t i = *addr_bucket(p, a);
  while (i && !ztna_addr_same_ip(&p->entries[i - 1].addr, a))
    i = p->entries[i - 1].next_addr;
  return i ? &p->entries[i - 1] : NULL;
}

/* key is NULL or a copy that the entry now owns. There is room. */
static struct entry *entry_add(struct addrpool *p, char *key,
                               const struct ztna_addr *a) {
  uint32_t i = p->free ? p->free : ++p->n_fresh;
  struct entry *e = &p->entries[i - 1];
  if (p->free) p->free = e->next_key;
  *e = (struct entry){.key = key, .addr = *a};
  e->addr.port = 0;
  uint32_t *b = addr_bucket(p, a);
  e->next_addr = *b;
  *b = i;
  if (key) {
    b = key_bucket(p, key);
    e->next_key = *b;
    *b = i;
  }
  p->n++;
  return e;
}

static void entry_del(struct addrpool *p, struct entry *e) {
  uint32_t i = (uint32_t)(e - p->entries) + 1;
  uint32_t *b = addr_bucket(p, &e->addr);
  while (*b != i) b = &p->entries[*b - 1].next_addr;
  *b = e->next_addr;
  if (e->key) {
    b = key_bucket(p, e->key);
    while (*b != i) b = &p->entries[*b - 1].next_key;
    *b = e->next_key;
  }
  free(e->key);
  *e = (struct entry){.next_key = p->free};
  p->free = i;
  p->n--;
}

/* Forgets the entry that was dropped first. False: all are in use. */
static bool evict(struct addrpool *p) {
  struct entry *oldest = NULL;
  for (uint32_t i = 0; i < p->n_fresh; i++) {
    struct entry *e = &p->entries[i];
    if (e->dropped && (!oldest || e->dropped < oldest->dropped)) oldest = e;
  }
  if (oldest) entry_del(p, oldest);
  return oldest;
}

/* --- life */

struct addrpool *addrpool_new(const struct ztna_prefix *prefix,
                              size_t max_entries) {
  uint64_t n_hosts = count_hosts(prefix);
  if (!n_hosts || !max_entries || max_entries > UINT32_MAX / 4) return NULL;
  struct addrpool *p = calloc(1, sizeof(*p));
  if (!p) return NULL;
  uint32_t n_buckets = 16;
  while (n_buckets < max_entries) n_buckets *= 2;
  p->prefix = *prefix;
  p->n_hosts = n_hosts;
  p->max = (uint32_t)max_entries;
  p->mask = n_buckets - 1;
  p->by_key = calloc(n_buckets, sizeof(*p->by_key));
  p->by_addr = calloc(n_buckets, sizeof(*p->by_addr));
  p->entries = calloc(max_entries, sizeof(*p->entries));
  if (p->by_key && p->by_addr && p->entries) return p;
  addrpool_free(p);
  return NULL;
}

void addrpool_free(struct addrpool *p) {
  if (!p) return;
  for (uint32_t i = 0; i < p->n_fresh; i++) free(p->entries[i].key);
  free(p->by_key);
  free(p->by_addr);
  free(p->entries);
  free(p);
}

/* --- use */

/* The first address from the key's own on that no entry has. Among n + 1
 * candidates one is free, unless there are no more than n hosts. */
static bool probe(struct addrpool *p, const char *key, struct ztna_addr *out) {
  uint64_t at = siphash(fleet_key, key, strlen(key)) % p->n_hosts;
  for (uint64_t i = 0; i <= p->n && i < p->n_hosts; i++) {
    *out = host_at(&p->prefix, at);
    if (!find_addr(p, out)) return true;
    if (++at == p->n_hosts) at = 0;
  }
  return false;
}

int addrpool_take(struct addrpool *p, const char *key, struct ztna_addr *out) {
  struct entry *e = find_key(p, key);
  if (e) {
    e->dropped = 0;
    *out = e->addr;
    return 0;
  }
  if (p->n == p->max && !evict(p)) return ZTNA_EFULL;
  while (!probe(p, key, out))
    if (!evict(p)) return ZTNA_EFULL;
  char *copy = strdup(key);
  if (!copy) return ZTNA_ENOMEM;
  entry_add(p, copy, out);
  return 0;
}

int addrpool_reserve(struct addrpool *p, const struct ztna_addr *a) {
  if (!ztna_prefix_has(&p->prefix, a)) return ZTNA_EINVAL;
  struct entry *e = find_addr(p, a);
  if (e && !e->dropped) return ZTNA_EEXIST;
  if (e) entry_del(p, e);
  if (p->n == p->max && !evict(p)) return ZTNA_EFULL;
  entry_add(p, NULL, a);
  return 0;
}

void addrpool_drop(struct addrpool *p, const char *key) {
  struct entry *e = find_key(p, key);
  if (e && !e->dropped) e->dropped = ++p->n_drops;
}

/* --- the addresses of a set */

static int by_id(const void *a, const void *b) {
  const char *const *x = *(const char *const *const *)a;
  const char *const *y = *(const char *const *const *)b;
  return strcmp(*x, *y);
}

void addrpool_assign(const struct ztna_prefix *prefix, const char *const *ids,
                     size_t n, const struct ztna_addr *taken, size_t n_taken,
                     struct ztna_addr *out) {
  for (size_t i = 0; i < n; i++) out[i] = (struct ztna_addr){0};
  struct addrpool *p = addrpool_new(prefix, n + n_taken);
  const char *const **sorted = calloc(n, sizeof(*sorted));
  if (p && sorted) {
    for (size_t i = 0; i < n_taken; i++) addrpool_reserve(p, &taken[i]);
    for (size_t i = 0; i < n; i++) sorted[i] = &ids[i];
    qsort(sorted, n, sizeof(*sorted), by_id);
    for (size_t i = 0; i < n; i++) {
      struct ztna_addr *a = &out[sorted[i] - ids];
      if (addrpool_take(p, *sorted[i], a) < 0) *a = (struct ztna_addr){0};
    }
  }
  free(sorted);
  addrpool_free(p);
}
