/* forward_udp.h - UDP sockets of this machine whose datagrams go to services:
 * forwarded ports, and the associations of SOCKS clients. A bounded table from
 * (socket, program, service, port) to the agent's number, forgotten when idle.
 * All sockets hang in one epoll descriptor, as in backend.h. */
#ifndef ZTNA_HOST_FORWARD_UDP_H
#define ZTNA_HOST_FORWARD_UDP_H

#include <ztna/agent.h>

#include "base/metrics.h"
#include "host/forward_rule.h"

struct forward_udp_counters {
  uint64_t peers, associations; /* now */
  uint64_t out, in;             /* datagrams to services, and answers */
  uint64_t malformed, foreign, unknown, full;
};
extern const struct metric forward_udp_metrics[];

struct forward_udp;

struct forward_udp *forward_udp_new(struct ztna_agent *agent);
void forward_udp_free(struct forward_udp *u); /* NULL is fine */

/* A port that stands for a service. 0 or as tcp_socks_listen. */
int forward_udp_bind(struct forward_udp *u, const struct forward_rule *rule);
/* Datagrams with a SOCKS header, from this program's address only, to an
 * address like `local`. The association's number, or <0. */
int forward_udp_associate(struct forward_udp *u, const struct ztna_addr *local,
                          const struct ztna_addr *peer,
                          struct ztna_addr *bound);
void forward_udp_dissociate(struct forward_udp *u, int number);

/* For host_watch: readable when forward_udp_run has something to do. */
int forward_udp_fd(const struct forward_udp *u);
void forward_udp_run(struct forward_udp *u, uint64_t now);
/* Gives the agent's answers to the programs. */
void forward_udp_flush(struct forward_udp *u, uint64_t now);
void forward_udp_tick(struct forward_udp *u, uint64_t now);
uint64_t forward_udp_deadline(const struct forward_udp *u);

const struct forward_udp_counters *
forward_udp_counters(const struct forward_udp *u);

#endif
