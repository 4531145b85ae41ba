/* connector_host.h - a connector in the loop: its core with real sockets,
 * backends and names. Used by `ztna connector` and `ztna demo`. */
#ifndef ZTNA_HOST_CONNECTOR_HOST_H
#define ZTNA_HOST_CONNECTOR_HOST_H

#include "host/backend.h"
#include "host/check.h"
#include "host/config.h"
#include "host/loop.h"
#include "host/tcp_sock.h"
#include "role/connector.h"

struct connector_host {
  const struct connector_config *config;
  struct connector *core;
  struct backend *backend;
  struct tcp_socks *socks;
  struct checks *checks;
  uint64_t drain_until; /* NEVER: no stop waits for its flows */
  struct host *host;
  struct host_role *role;
};

/* p is zeroed. config and tls are lent, udp is taken over. 0 or an error,
 * logged; connector_host_free is right after both, when the host is gone. */
int connector_host_start(struct connector_host *p, struct host *h,
                         const struct connector_config *config, struct tls *tls,
                         struct udp *udp);
void connector_host_free(struct connector_host *p);

/* --- connector_checks.c: health checks, for connector_host.c */

/* The core's view of a service's check. */
void connector_checks_rule(const struct service_config *s,
                           struct connector_service *to);
int connector_checks_start(struct connector_host *p);
/* Does what the core wants done. */
void connector_checks_flush(struct connector_host *p);

#endif
