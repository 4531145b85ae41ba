/* inside_agent.c - see inside.h. */
#include "role/agent_int.h"
#include "sim/inside.h"

size_t inside_agent_packets(const struct ztna_agent *a) {
  return a->pool.n_used;
}
