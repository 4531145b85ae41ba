/* nat_class.h - the kinds of places where a host may be, by name: as in the
 * laboratory of namespaces (tests/e2e/nat/lab.sh), as far as they matter here.
 */
#ifndef ZTNA_TESTS_NAT_CLASS_H
#define ZTNA_TESTS_NAT_CLASS_H

#include "sim/nat.h"
#include "sim/net.h"

/*  public              no box at all
 *  firewall            no NAT; lets in answers only
 *  full-cone           endpoint-independent mapping and filtering
 *  addr-restricted     the same mapping; address-dependent filtering
 *  port-restricted     the same mapping; address-and-port-dependent filtering
 *  ...-np              the same; ports are not preserved but random
 *  input-accept        port-restricted whose router takes what nobody asked for
 *  sym-seq             address-and-port-dependent mapping, ports count up
 *  sym-random          the same, ports at random
 *  cgn                 port-restricted; behind it a carrier's full-cone-np
 *  cgn-pr              the same, the carrier is port-restricted-np
 *  short-timeouts      port-restricted, forgets after 10 s
 *  udp-blocked         port-restricted, UDP leaves to relays only
 *  same-lan            port-restricted; both hosts are behind this one box
 */
struct nat_class {
  const char *name;
  bool boxed; /* there is a box */
  struct sim_nat_config box;
  bool doubled; /* and a carrier's before it */
  struct sim_nat_config carrier;
  bool shared; /* by all hosts of this class */
};

/* All of them; the end has no name. */
extern const struct nat_class nat_classes[];
/* Never NULL: a wrong name is the test's mistake. */
const struct nat_class *nat_class_find(const char *name);

/* What the machine behind it finds out about its NAT, as a whole. */
struct nat_view nat_class_view(const struct nat_class *c);

/* Puts a host there: the boxes are made, `outer` is the outermost's IPv4
 * address ("198.51.100.1"), delay that of its line (the host keeps its own,
 * which is the LAN's now). Returns the box next to the host; NULL: public. */
struct vnet_nat *nat_class_put(const struct nat_class *c, struct vnet_host *h,
                               const char *outer, uint64_t delay);

#endif
