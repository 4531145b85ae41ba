/* net_sock.h - the sockets of a simulated host: number 0 has the port of the
 * host's address, the others get free ports when they are first sent from
 * (struct dgram: sock). */
#ifndef ZTNA_TESTS_NET_SOCK_H
#define ZTNA_TESTS_NET_SOCK_H

#include "sim/net.h"

/* Its port, after it was opened if it was not; family 4 or 6. */
uint16_t net_sock_use(struct vnet_host *h, uint16_t sock, int family);
void net_sock_close(struct vnet_host *h, uint16_t sock, int family);
/* Whose port is that? -1: nobody's. */
int net_sock_find(const struct vnet_host *h, int family, uint16_t port);
void net_sock_done(struct vnet_host *h);

#endif
