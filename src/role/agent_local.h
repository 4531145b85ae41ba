/* agent_local.h - programs of an agent without a TUN: agent_sock.c (TCP) and
 * agent_udp.c, as the other files agent*.c see them. */
#ifndef ZTNA_ROLE_AGENT_LOCAL_H
#define ZTNA_ROLE_AGENT_LOCAL_H

#include "role/agent_int.h"

/* A relay has listed services: who waits for one goes on. */
void agent_socks_listed(struct ztna_agent *a);
void agent_socks_tick(struct ztna_agent *a, uint64_t now);
/* Resets all. */
void agent_socks_stop(struct ztna_agent *a, enum reason why);
void agent_socks_free(struct ztna_agent *a);

/* An inner packet that may enter this machine: true when it was for a program
 * here, and not for the TUN. */
bool agent_udp_take(struct ztna_agent *a, const struct ip_pkt *p,
                    const uint8_t *ip);
void agent_udp_free(struct ztna_agent *a);

#endif
