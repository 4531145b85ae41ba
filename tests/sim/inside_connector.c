/* inside_connector.c - see inside.h. */
#include "role/connector_int.h"
#include "sim/inside.h"

size_t inside_connector_packets(const struct connector *c) {
  return c->pool.n_used;
}

static bool link_has(const struct link *l, const struct grant *g) {
  for (int i = 0; i < LINK_GRANTS; i++)
    if (l->grants[i] == g) return true;
  return false;
}

static bool is_sound(const struct link *l) {
  for (int i = 0; i < LINK_CONTEXTS; i++) {
    const struct context *x = &l->contexts[i];

    if (!x->number) continue;
    if (x->number % 2 || x->number > PATH_CONTEXT_MAX) return false;
    if (!x->grant || !link_has(l, x->grant)) return false;
    for (int k = 0; k < i; k++)
      if (l->contexts[k].number == x->number) return false;
  }
  return true;
}

bool inside_contexts_are_granted(const struct connector *c) {
  for (size_t i = 0; i < c->n_links; i++)
    if (c->links[i] && !is_sound(c->links[i])) return false;
  return true;
}
