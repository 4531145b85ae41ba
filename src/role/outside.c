/* outside.c - kept as told; whoever looks sees by `changes` that it is news. */
#include "role/outside.h"

static bool prefix_equal(const struct ztna_prefix *a,
                         const struct ztna_prefix *b) {
  return a->bits == b->bits && ztna_addr_equal(&a->addr, &b->addr);
}

static bool locals_equal(const struct outside *o, const struct ztna_local *v,
                         size_t n) {
  if (o->n_locals != n) return false;
  for (size_t i = 0; i < n; i++)
    if (!ztna_addr_equal(&o->locals[i].addr, &v[i].addr) ||
        !prefix_equal(&o->locals[i].network, &v[i].network))
      return false;
  return true;
}

void outside_set_locals(struct outside *o, const struct ztna_local *v,
                        size_t n) {
  if (n > OUTSIDE_LOCALS) n = OUTSIDE_LOCALS;
  if (locals_equal(o, v, n)) return;
  for (size_t i = 0; i < n; i++) o->locals[i] = v[i];
  o->n_locals = n;
  o->changes++;
}

static bool mapped_equal(const struct outside *o, const struct ztna_addr *v,
                         size_t n) {
  if (o->n_mapped != n) return false;
  for (size_t i = 0; i < n; i++)
    if (!ztna_addr_equal(&o->mapped[i], &v[i])) return false;
  return true;
}

void outside_set_mapped(struct outside *o, const struct ztna_addr *v,
                        size_t n) {
  if (n > OUTSIDE_MAPPED) n = OUTSIDE_MAPPED;
  if (mapped_equal(o, v, n)) return;
  for (size_t i = 0; i < n; i++) o->mapped[i] = v[i];
  o->n_mapped = n;
  o->changes++;
}
