/* agent_host.h - an agent in the loop: its core with real sockets, names of
 * relays, and services on ports of this machine. Where its IP packets come from
 * and go to is the caller's: a TUN in `ztna agent`, the demonstration in `ztna
 * demo`. */
#ifndef ZTNA_HOST_AGENT_HOST_H
#define ZTNA_HOST_AGENT_HOST_H

#include <ztna/agent.h>

#include "host/config.h"
#include "host/forward.h"
#include "host/loop.h"
#include "host/portmap.h"

/* May be NULL, each. */
struct agent_host_hooks {
  /* There may be packets for this machine: takes all of them
   * (ztna_agent_ip_next). NULL: they are dropped. */
  void (*packets)(void *ctx, uint64_t now);
  /* The lists of addresses or routes changed. */
  void (*changed)(void *ctx);
  void (*reload)(void *ctx); /* SIGHUP */
};

struct agent_host {
  bool offload, offload_udp; /* as in ztna_agent_config */
  int tun_ifindex; /* whose addresses are not this machine's own; 0: none */
  const struct agent_config *config;
  struct ztna_agent *core;
  struct forward *forward; /* NULL: no ports of this machine */
  const struct agent_host_hooks *hooks;
  void *ctx;
  uint32_t generation;
  struct host *host;
  struct host_role *role;
  struct udp *udp;         /* the host's */
  struct portmap *portmap; /* NULL: routers are not asked */
};

/* p is zeroed but for the first three. config is lent. 0; ZTNA_ETLS or
 * ZTNA_EINVAL with a sentence in why (room bytes) about the identity or the
 * configuration; else ZTNA_ENOMEM or ZTNA_EIO, with a sentence, too. */
int agent_host_new(struct agent_host *p, const struct agent_config *config,
                   const struct identity_config *identity, char *why,
                   size_t room);
/* Into the loop, with the configured ports of this machine. udp is taken over,
 * hooks and ctx are lent. 0 or an error, logged. */
int agent_host_start(struct agent_host *p, struct host *h, struct udp *udp,
                     const struct agent_host_hooks *hooks, void *ctx);
/* One port more once it was started, as forward_add. */
int agent_host_forward(struct agent_host *p, const struct forward_rule *rule,
                       struct ztna_addr *bound);
/* Right after each of the above, failed or not, when the host is gone. */
void agent_host_free(struct agent_host *p);

#endif
