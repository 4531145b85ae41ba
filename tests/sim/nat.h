/* nat.h - a NAT or firewall as a model: addresses of packets in, addresses out,
 * or the packet is dropped. In the words of RFC 4787; virtual time, randomness
 * from a seed, no network around it (net.h has that).
 *
 * IPv4 is translated unless `mapping` is NAT_NONE, IPv6 never: there it is a
 * firewall with the same filtering. */
#ifndef ZTNA_TESTS_NAT_H
#define ZTNA_TESTS_NAT_H

#include "base/time.h"
#include "part/nat.h"

#define SIM_NAT_LIFE (120 * SEC) /* RFC 4787, REQ-5: at least two minutes */

enum { SIM_NAT_ALLOWED = 8 };

struct sim_nat_config {
  enum nat_behaviour mapping; /* NAT_NONE: a firewall, or nothing at all */
  /* Who is let in, besides those that were sent to: NAT_NONE everyone;
   * endpoint-independent everyone once anything was sent from that address. */
  enum nat_behaviour filtering;
  enum nat_allocation allocation;
  int step; /* of NAT_SEQUENTIAL; 0: 1 */
  /* The router takes packets to its own address that nobody asked for, as
   * Linux does with an INPUT chain that accepts. Such a packet occupies its
   * 5-tuple in conntrack: an own packet that would have the same one leaves
   * from another port, and answers to the former find the router. */
  bool input_accept;
  bool hairpin;  /* inside hosts reach each other by outer addresses */
  bool blocked;  /* UDP goes nowhere but to what sim_nat_allow names */
  uint64_t life; /* of mappings and holes, from the last packet out; 0:
                    SIM_NAT_LIFE */
};

struct sim_nat_stats {
  uint64_t n_out, n_in; /* passed */
  uint64_t n_mappings;  /* ever made */
  uint64_t n_diverted;  /* of these: because the 5-tuple was occupied */
  uint64_t n_input;     /* taken by the router itself */
  uint64_t n_filtered;  /* nobody asked for them */
  uint64_t n_blocked, n_full;
};

struct sim_nat;

/* outer: the router's IPv4 address; its port does not matter. NULL for
 * firewalls. Never NULL. */
struct sim_nat *sim_nat_new(const struct sim_nat_config *c,
                            const struct ztna_addr *outer, uint64_t seed);
void sim_nat_free(struct sim_nat *n);

/* A packet to `to` leaves: *from becomes what the outside sees. False: it does
 * not leave. */
bool sim_nat_out(struct sim_nat *n, uint64_t now, struct ztna_addr *from,
                 const struct ztna_addr *to);
/* A packet from `from` arrives: *to becomes the inside's address. False: it
 * goes no further. */
bool sim_nat_in(struct sim_nat *n, uint64_t now, const struct ztna_addr *from,
                struct ztna_addr *to);

/* Forgets all mappings and holes. */
void sim_nat_flush(struct sim_nat *n);
/* Another outer address; forgets, too. */
void sim_nat_move(struct sim_nat *n, const struct ztna_addr *outer);
/* Packets to this IP pass a box that blocks UDP. */
void sim_nat_allow(struct sim_nat *n, const struct ztna_addr *a);
/* Somebody else inside begins a conversation: a port is taken. */
void sim_nat_take(struct sim_nat *n, uint64_t now);

/* Do addresses of this family pass as they are? */
bool sim_nat_is_transparent(const struct sim_nat *n, int family);
/* family 0 when there is none. */
const struct ztna_addr *sim_nat_outer(const struct sim_nat *n);
const struct sim_nat_config *sim_nat_config(const struct sim_nat *n);
const struct sim_nat_stats *sim_nat_stats(const struct sim_nat *n);

#endif
