/* addrpool.h - addresses out of prefixes: a service's virtual addresses by a
 * hash of its id with linear probing over the sorted ids, so that relays of one
 * fleet agree (PROTOCOL 4), and agents' tunnel addresses, kept per identity. */
#ifndef ZTNA_ADDRPOOL_H
#define ZTNA_ADDRPOOL_H

#include <ztna/addr.h>

struct addrpool; /* of one prefix */

/* Never gives the network address, the first host (.1), or v4 broadcast. At
 * most max_entries at a time, reserved ones included; not 0. NULL: no memory
 * or prefix too small. */
struct addrpool *addrpool_new(const struct ztna_prefix *prefix,
                              size_t max_entries);
void addrpool_free(struct addrpool *p);

/* An address for a key (an agent's SPIFFE ID): the same one for as long as it
 * is kept, by hash of the key with linear probing. 0, ZTNA_EFULL or
 * ZTNA_ENOMEM. Calling it again with the same key returns the same address. */
int addrpool_take(struct addrpool *p, const char *key, struct ztna_addr *out);
/* Marks an address as taken by configuration. 0, ZTNA_EEXIST, ZTNA_EINVAL (not
 * in the prefix) or ZTNA_EFULL. */
int addrpool_reserve(struct addrpool *p, const struct ztna_addr *a);
/* Forgets the key; its address stays with it until there is nothing else left
 * for another key, oldest dropped first. */
void addrpool_drop(struct addrpool *p, const char *key);

/* Pure: the addresses of n ids in a prefix, avoiding n_taken addresses. out[i]
 * belongs to ids[i]; family 0 when the pool is full (or there is no memory).
 * The result depends on the set only, not on the order of ids. */
void addrpool_assign(const struct ztna_prefix *prefix, const char *const *ids,
                     size_t n, const struct ztna_addr *taken, size_t n_taken,
                     struct ztna_addr *out);

#endif
