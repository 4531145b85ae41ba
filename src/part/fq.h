/* fq.h - the queue of inner packets in front of each path: fair between flows
 * (deficit round robin) with CoDel on each (RFC 8289, RFC 8290: target 5 ms,
 * interval 100 ms). Marks ECN-capable packets, drops others. When it is full,
 * the oldest packet of the fattest flow goes. Allocates nothing once made. */
#ifndef ZTNA_FQ_H
#define ZTNA_FQ_H

#include "base/pool.h"
#include "base/rng.h"

enum { FQ_FLOWS = 256 }; /* buckets; a power of two */

/* Packets. n_in == n_out + n_codel_drops + n_full_drops + fq_packets(). */
struct fq_stats {
  uint64_t n_in, n_out, n_codel_drops, n_marks, n_full_drops;
};

struct fq;

/* pool: where dropped packets go back to; outlives the queue. max_bytes: of all
 * packets in it. NULL: no memory. */
struct fq *fq_new(struct pool *pool, size_t max_bytes, const struct rng *rng);
void fq_free(struct fq *q); /* its packets go back to the pool */

/* Takes the packet; its bytes are an IP packet (after skip bytes of header of
 * ours, for the flow hash and for ECN marks). One that is larger than max_bytes
 * goes back to the pool. */
void fq_put(struct fq *q, struct pkt *k, size_t skip, uint64_t now);
/* The next packet by turn, NULL when empty; CoDel may drop some first. The
 * packet is the caller's. */
struct pkt *fq_get(struct fq *q, uint64_t now);
size_t fq_bytes(const struct fq *q);
size_t fq_packets(const struct fq *q);
/* Drops the oldest packet of the fattest flow, for who finds the pool empty;
 * counted in n_full_drops. False: the queue is empty too. */
bool fq_shed(struct fq *q);
/* All packets of `from` go behind those of `to` (a path died), in the order of
 * each flow. Their time in the dead queue is forgotten: it says nothing about
 * the new one. They count as out here and as in there. Both have one pool. */
void fq_move(struct fq *to, struct fq *from, uint64_t now);
const struct fq_stats *fq_stats(const struct fq *q);

#endif
