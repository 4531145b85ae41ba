/* forward.h - an agent's services on ports of this machine, without a TUN and
 * without root: forwarded ports (TCP and UDP) and a SOCKS5 proxy, in the loop
 * of the agent's role. */
#ifndef ZTNA_HOST_FORWARD_H
#define ZTNA_HOST_FORWARD_H

#include <ztna/agent.h>

#include "base/sbuf.h"
#include "host/config.h"
#include "host/forward_rule.h"
#include "host/loop.h"

struct forward;

/* NULL: no memory, logged. */
struct forward *forward_new(struct ztna_agent *agent);
/* Before the agent is freed; NULL is fine. */
void forward_free(struct forward *f);
/* Opens what is configured. 0 or an error, logged with the flag and what would
 * do. */
int forward_start(struct forward *f, struct host_role *role,
                  const struct agent_config *c);
/* Another TCP port, afterwards: of any number when the rule's is 0; bound gets
 * its address. 0 or tcp_socks_listen's error, not logged. */
int forward_add(struct forward *f, const struct forward_rule *rule,
                struct ztna_addr *bound);

/* For the role's verbs: after its core was called, by time. */
void forward_flush(struct forward *f, uint64_t now);
void forward_tick(struct forward *f, uint64_t now);
uint64_t forward_deadline(const struct forward *f);
void forward_metrics(const struct forward *f, struct sbuf *out);

#endif
