/* direct_filter.h - where packets of the search for a direct path may go. A
 * peer names addresses, and whoever answers at one of them is believed to be
 * the peer only later: so nothing may go to where a stranger must not make this
 * machine send. */
#ifndef ZTNA_ROLE_DIRECT_FILTER_H
#define ZTNA_ROLE_DIRECT_FILTER_H

#include "role/outside.h"

/* One machine of the internet or of a network this machine is in: a port, and
 * neither loopback, unspecified, multicast, broadcast, link-local, reserved nor
 * an IPv4 address in an IPv6 one's clothes. */
bool direct_filter_is_host(const struct ztna_addr *a);
/* RFC 1918, shared (RFC 6598), unique local or site-local: means another
 * machine in every network. */
bool direct_filter_is_private(const struct ztna_addr *a);
/* A peer's: is_host, not this machine's own, and when private inside a network
 * that an interface of this machine is in, nor that network's broadcast, or
 * inside one that the configuration names. */
bool direct_filter_passes(const struct outside *o, const struct ztna_addr *a);

#endif
