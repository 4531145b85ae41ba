/* uso.h - UDP packets of one flow and size that wait for the TUN together leave
 * it as one super-packet: the kernel cuts it, or gives it whole to a program
 * that asked for that (UDP_GRO). */
#ifndef ZTNA_USO_H
#define ZTNA_USO_H

#include "codec/ip.h"
#include "part/ipq.h"

enum { USO_SEGMENTS = 64 }; /* what every kernel takes */

/* Adds the packet, of kind IP_UDP, to the newest that waits, when they differ
 * in payload only and that has its size (the last of them may be smaller).
 * False: it is to be queued on its own. */
bool uso_join(struct ipq *q, const struct ip_pkt *udp);
/* Makes the headers of a UDP packet that grew right: lengths, and the sum of
 * the pseudo header where the checksum will be. Others it leaves alone. */
void uso_finish(struct ipq_pkt *k);

#endif
