/* agent_outside.c - what the skin tells of this machine's network. */
#include "role/agent_int.h"

void ztna_agent_set_locals(struct ztna_agent *a, const struct ztna_local *v,
                           size_t n, uint64_t now) {
  outside_set_locals(&a->outside, v, n);
}

void ztna_agent_set_mapped(struct ztna_agent *a, const struct ztna_addr *v,
                           size_t n, uint64_t now) {
  uint32_t changes = a->outside.changes;

  a->now = now;
  outside_set_mapped(&a->outside, v, n);
  /* It may be what a direct path was missing. */
  if (a->outside.changes != changes) direct_network_changed(&a->direct, now);
}
