/* connector_host.h - a connector in the loop: its core with real sockets,
 * backends and names. Used by `ztna connector` and `ztna demo`. */
#ifndef ZTNA_HOST_CONNECTOR_HOST_H
#define ZTNA_HOST_CONNECTOR_HOST_H

#include "host/audit.h"
#include "host/backend.h"
#include "host/check.h"
#include "host/config.h"
#include "host/loop.h"
#include "host/portmap.h"
#include "host/tcp_sock.h"
#include "role/connector.h"

struct connector_host {
  struct connector_config *config;
  struct connector *core;
  struct backend *backend;
  struct tcp_socks *socks;
  struct checks *checks;
  uint64_t drain_until; /* NEVER: no stop waits for its flows */
  struct host *host;
  struct host_role *role;
  struct udp *udp;         /* the host's */
  struct portmap *portmap; /* NULL: routers are not asked */
  struct audit *audit;     /* whoever starts it may open one; NULL: none */
  /* SIGHUP; NULL: nothing is read again. May be set at any time. */
  void (*on_reload)(void *ctx);
  void *reload_ctx;
};

/* p is zeroed. config and tls are lent, udp is taken over. 0 or an error,
 * logged; connector_host_free is right after both, when the host is gone. */
int connector_host_start(struct connector_host *p, struct host *h,
                         struct connector_config *config, struct tls *tls,
                         struct udp *udp);
/* The services and drain_timeout of `fresh` are in force from now on; it gets
 * the former ones in exchange. 0, or ZTNA_ENOMEM: nothing changed. */
int connector_host_reload(struct connector_host *p,
                          struct connector_config *fresh);
void connector_host_free(struct connector_host *p);

/* --- connector_checks.c: health checks, for connector_host.c */

/* The core's view of a service's check. */
void connector_checks_rule(const struct service_config *s,
                           struct connector_service *to);
/* Is something else asked? */
bool connector_checks_differ(const struct service_config *was,
                             const struct service_config *is);
int connector_checks_start(struct connector_host *p);
/* Does what the core wants done. */
void connector_checks_flush(struct connector_host *p);

#endif
