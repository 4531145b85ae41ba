/* flows.h - conversations without connections (UDP, ICMP echo), found by their
 * 5-tuple and owner, forgotten when idle. Numbers 0 .. n-1 name them, so that
 * arrays and sockets beside the table can be indexed. Bounded, allocates only
 * when made. RFC 4787, REQ-5: UDP mappings live 2 minutes at least. */
#ifndef ZTNA_FLOWS_H
#define ZTNA_FLOWS_H

#include <stdbool.h>
#include <ztna/addr.h>

#include "base/rng.h"

enum { FLOWS_NONE = UINT32_MAX };

struct flow_key {
  uint32_t owner;            /* a link's number */
  uint8_t proto;             /* IP_PROTO_ */
  struct ztna_addr src, dst; /* as in the packet that began it, with ports */
};

struct flow {
  struct flow_key key;
  uint64_t last_at;
  uint32_t context;
  void *ud;            /* the owner's, as the next two */
  const void *service; /* whose conversation it is */
  bool moved;          /* who began now would be sent elsewhere */
  struct flow_place {
    uint32_t newer, older;
  } all, own; /* by last use: among all, among its owner's */
  bool used;
};

struct flows;

/* owners: their numbers are below this. idle_after: ns. NULL: no memory. Memory
 * of unused flows is not touched. */
struct flows *flows_new(uint32_t n, uint32_t owners, uint64_t idle_after,
                        const struct rng *rng);
void flows_free(struct flows *t);

/* FLOWS_NONE when there is none. Marks it as used now. */
uint32_t flows_find(struct flows *t, const struct flow_key *k, uint64_t now);
/* A new one; FLOWS_NONE when the table is full. */
uint32_t flows_add(struct flows *t, const struct flow_key *k, uint64_t now);
void flows_del(struct flows *t, uint32_t i);
struct flow *flows_at(struct flows *t, uint32_t i); /* NULL when unused */
void flows_touch(struct flows *t, uint32_t i, uint64_t now);
/* The longest unused, if it is idle by now; else FLOWS_NONE. Delete it. */
uint32_t flows_idle(const struct flows *t, uint64_t now);
/* The longest unused one of an owner, whatever its age. */
uint32_t flows_oldest(const struct flows *t, uint32_t owner);
uint32_t flows_count(const struct flows *t);
uint64_t flows_deadline(const struct flows *t);

#endif
