/* inside.h - what only tests may look at in a running agent or connector. */
#ifndef ZTNA_TESTS_INSIDE_H
#define ZTNA_TESTS_INSIDE_H

#include <stdbool.h>
#include <stddef.h>

struct ztna_agent;
struct connector;

/* Packets taken from the pool and not given back. */
size_t inside_agent_packets(const struct ztna_agent *a);
size_t inside_connector_packets(const struct connector *c);
/* Every context that is open is even, there once, and of a grant that its own
 * link has. */
bool inside_contexts_are_granted(const struct connector *c);

#endif
