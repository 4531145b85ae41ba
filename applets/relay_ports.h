/* relay_ports.h - a relay's second ports: sockets that only answer STUN. */
#ifndef ZTNA_APPLETS_RELAY_PORTS_H
#define ZTNA_APPLETS_RELAY_PORTS_H

#include "host/config.h"
#include "host/udp.h"
#include "role/relay.h"

struct relay_ports {
  int n_main; /* sockets of `listen`; those behind are second ones */
  struct relay_stun_pair pairs[UDP_MAX_SOCKETS * UDP_MAX_SOCKETS / 4];
  size_t n_pairs;
};

/* Binds them beside u's sockets, which are those of c->listen. False: one that
 * is configured cannot be had, or c->stun_ips cannot be used; logged. */
bool relay_ports_bind(struct relay_ports *p, const struct relay_config *c,
                      struct udp *u);

#endif
