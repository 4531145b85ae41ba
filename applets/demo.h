/* demo.h - the roles of `ztna demo`, in one loop. */
#ifndef ZTNA_APPLETS_DEMO_H
#define ZTNA_APPLETS_DEMO_H

#include "host/agent_host.h"
#include "host/connector_host.h"
#include "role/relay.h"

#define DEMO_RELAY_ID "spiffe://demo.ztna/relay/r1"
#define DEMO_CONNECTOR_ID "spiffe://demo.ztna/connector/c1"
#define DEMO_AGENT_ID "spiffe://demo.ztna/agent/a1"

/* Of the services; their backends have others. */
enum { DEMO_ECHO_PORT = 7, DEMO_WEB_PORT = 80 };

struct demo_roles {
  struct tls *relay_tls, *connector_tls;
  struct relay *relay;
  struct connector_host connector;
  struct connector_config config;
  struct service_config services[2]; /* echo, web */
  struct backend_config backends[2];
  char relay_name[ZTNA_ADDR_STRLEN];
  char echo_name[ZTNA_ADDR_STRLEN], web_name[ZTNA_ADDR_STRLEN];
  char *relay_names[1];
  struct agent_host agent;
  struct agent_config agent_config;
  struct ztna_prefix networks[2];
  struct ztna_addr echo_ip; /* the echo service's virtual address */
  struct ztna_addr web_at;  /* the web service on a port of this machine */
  int echo;                 /* the backend's socket */
  struct MHD_Daemon *web;   /* the other backend */
  const struct agent_host_hooks *hooks;
  void *ctx;
};

/* Makes certificates, sockets and roles; r is zeroed. hooks: the agent's,
 * which may have packets for "this machine". An EXIT_ code; what went wrong was
 * logged. demo_roles_free after host_free. */
int demo_roles_start(struct demo_roles *r, struct host *h,
                     const struct agent_host_hooks *hooks, void *ctx);
void demo_roles_free(struct demo_roles *r);
/* True once the agent has an address, *own, and knows echo_ip. */
bool demo_roles_know_way(const struct demo_roles *r, struct ztna_addr *own);

#endif
