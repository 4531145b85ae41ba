/* outside.h - what the skin tells a role about its machine's network. */
#ifndef ZTNA_ROLE_OUTSIDE_H
#define ZTNA_ROLE_OUTSIDE_H

#include <ztna/addr.h>

enum { OUTSIDE_LOCALS = 32, OUTSIDE_MAPPED = 4, OUTSIDE_NETWORKS = 16 };

struct outside {
  struct ztna_local locals[OUTSIDE_LOCALS];
  size_t n_locals;
  struct ztna_addr mapped[OUTSIDE_MAPPED]; /* outer addresses that a router
                                              forwards to our v4 socket */
  size_t n_mapped;
  uint32_t changes; /* grows when one of these became another */
  /* By configuration: private networks, besides those of own interfaces, where
   * a peer may be looked for directly. */
  struct ztna_prefix networks[OUTSIDE_NETWORKS];
  size_t n_networks;
};

/* Copies at most as many as there is room for. */
void outside_set_locals(struct outside *o, const struct ztna_local *v,
                        size_t n);
void outside_set_mapped(struct outside *o, const struct ztna_addr *v, size_t n);

#endif
