/* connector_outside.c - what the skin tells of this machine's network. */
#include "role/connector_int.h"

void connector_set_locals(struct connector *c, const struct ztna_local *v,
                          size_t n, uint64_t now) {
  outside_set_locals(&c->outside, v, n);
}

void connector_set_mapped(struct connector *c, const struct ztna_addr *v,
                          size_t n, uint64_t now) {
  uint32_t was = c->outside.changes;

  outside_set_mapped(&c->outside, v, n);
  if (c->outside.changes != was) direct_network_changed(&c->direct, now);
}
