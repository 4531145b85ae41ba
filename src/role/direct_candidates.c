/* direct_candidates.c - the addresses that a peer may try to reach this machine
 * at. */
#include "role/direct_filter.h"
#include "role/direct_int.h"

static bool has(const struct punch_side *s, const struct ztna_addr *a) {
  for (size_t i = 0; i < s->n; i++)
    if (ztna_addr_equal(&s->list[i].addr, a)) return true;
  return false;
}

static void add(struct punch_side *s, const struct ztna_addr *a,
                enum candidate_kind kind) {
  if (s->n == PUNCH_CANDIDATES || !direct_filter_is_host(a) || has(s, a))
    return;
  s->list[s->n++] = (struct candidate){*a, kind};
}

static void add_locals(struct punch_side *s, const struct outside *o,
                       bool is_private, size_t room) {
  for (size_t i = 0; i < o->n_locals && s->n < room; i++)
    if (direct_filter_is_private(&o->locals[i].addr) == is_private)
      add(s, &o->locals[i].addr, CANDIDATE_HOST);
}

/* Global addresses first: many private ones are those of containers. All leave
 * room for what works from afar. */
void direct_candidates(const struct direct_common *c, struct punch_side *to) {
  const struct outside *o = c->outside;
  size_t room = PUNCH_CANDIDATES - DIRECT_FAMILIES - OUTSIDE_MAPPED;

  to->n = 0;
  add_locals(to, o, false, room);
  add_locals(to, o, true, room);
  for (int i = 0; i < DIRECT_FAMILIES; i++)
    add(to, &observer_view(c->observer, i ? 6 : 4)->mapped,
        CANDIDATE_REFLEXIVE);
  for (size_t i = 0; i < o->n_mapped; i++)
    add(to, &o->mapped[i], CANDIDATE_MAPPED);
  to->nat = *observer_view(c->observer, 4);
}
