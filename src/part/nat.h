/* nat.h - what a NAT does to this machine's packets, in the words of RFC 4787,
 * and how that is concluded from the addresses that STUN servers saw. */
#ifndef ZTNA_NAT_H
#define ZTNA_NAT_H

#include <jansson.h>
#include <stdbool.h>
#include <ztna/addr.h>

/* Of mapping (RFC 4787, 4.1) and filtering (5). */
enum nat_behaviour {
  NAT_UNKNOWN,
  NAT_NONE, /* mapping: no NAT; filtering: no NAT and no firewall */
  NAT_ENDPOINT_INDEPENDENT,
  NAT_ADDRESS_DEPENDENT,
  NAT_ADDRESS_PORT_DEPENDENT,
};

/* How a new mapping gets its port. */
enum nat_allocation {
  NAT_ALLOC_UNKNOWN,
  NAT_PRESERVING, /* the port of the socket */
  NAT_SEQUENTIAL, /* the last one plus delta */
  NAT_RANDOM,
};

/* Of one family. */
struct nat_view {
  enum nat_behaviour mapping, filtering;
  /* Not everything could be asked, so it is at least this strict (mapping) or
   * at most (filtering): one server address only, say. */
  bool mapping_partial, filtering_partial;
  enum nat_allocation allocation;
  int delta;               /* of sequential allocation, never 0 there */
  struct ztna_addr mapped; /* of the main socket, as the first server saw it */
  uint16_t last_port;      /* of the newest mapping made on purpose; 0: none */
  uint64_t last_at;        /* when, ns */
};

const char *
nat_behaviour_name(enum nat_behaviour b); /* "endpoint-independent" */
const char *nat_allocation_name(enum nat_allocation a); /* "sequential" */

/* Ports of new mappings in the order in which they were made: how are they
 * allocated? local: the sockets' own ports, 0 where unknown; may be NULL.
 * *delta is set, to 0 unless NAT_SEQUENTIAL: nearly equal steps of at most
 * NAT_DELTA_MAX, of either sign; others may take ports in between, and of three
 * or more steps one may begin the range anew. Equal neighbours are one mapping.
 */
enum { NAT_DELTA_MAX = 16 };
enum nat_allocation nat_allocation_of(const uint16_t *mapped,
                                      const uint16_t *local, size_t n,
                                      int *delta);

/* Every new destination gets another outer port. */
static inline bool nat_is_hard(const struct nat_view *v) {
  return v->mapping == NAT_ADDRESS_DEPENDENT ||
         v->mapping == NAT_ADDRESS_PORT_DEPENDENT;
}

/* For messages between peers: {mapping, filtering, allocation, delta, last}.
 * The reader takes what it does not understand as unknown; mapped and last_at
 * are left empty. */
json_t *nat_json_write(const struct nat_view *v);
void nat_json_read(struct nat_view *v, const json_t *j);

#endif
