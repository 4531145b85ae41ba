/* demo.h - the roles of `ztna demo`, in one loop. */
#ifndef ZTNA_APPLETS_DEMO_H
#define ZTNA_APPLETS_DEMO_H

#include "host/agent_host.h"
#include "host/connector_host.h"
#include "role/relay.h"

#define DEMO_RELAY_ID "spiffe://demo.ztna/relay/r1"
#define DEMO_CONNECTOR_ID "spiffe://demo.ztna/connector/c1"
#define DEMO_AGENT_ID "spiffe://demo.ztna/agent/a1"

enum { DEMO_PORT = 7 }; /* of the service; its backend has another */

struct demo_roles {
  struct tls *relay_tls, *connector_tls;
  struct relay *relay;
  struct connector_host connector;
  struct connector_config config;
  struct service_config service;
  struct backend_config backend;
  char relay_name[32], backend_name[32];
  char *relay_names[1];
  struct agent_host agent;
  struct agent_config agent_config;
  struct ztna_prefix networks[2];
  int echo; /* the backend's socket */
  const struct agent_host_hooks *hooks;
  void *ctx;
};

/* Makes certificates, sockets and roles; r is zeroed. hooks: the agent's,
 * which may have packets for "this machine". An EXIT_ code; what went wrong was
 * logged. demo_roles_free after host_free. */
int demo_roles_start(struct demo_roles *r, struct host *h,
                     const struct agent_host_hooks *hooks, void *ctx);
void demo_roles_free(struct demo_roles *r);

#endif
