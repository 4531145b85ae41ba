/* world.h - a whole installation in one process on virtual time: a relay,
 * connectors with echo backends, agents and the people's programs behind them,
 * on a network that a seed decides. The roles are the real ones, driven by
 * their verbs; wolfSSL gets its clock and randomness from here, too, so a seed
 * replays to the same bytes.
 *
 * One world at a time: log, clock and wolfSSL's randomness are the process's.
 */
#ifndef ZTNA_TESTS_WORLD_H
#define ZTNA_TESTS_WORLD_H

#include <ztna/agent.h>

#include "base/log.h"
#include "base/time.h"
#include "role/connector.h"
#include "role/relay.h"
#include "sim/app.h"
#include "sim/net.h"
#include "sim/pki.h"
#include "sim/tcp_app.h"

enum {
  SIM_EPOCH = 1700000000, /* unix time at virtual time 0 */
  SIM_AGENTS = 4,
  SIM_CONNECTORS = 3,
  SIM_SERVICES = 2,
  SIM_RELAYS = 2,
  SIM_NODES = 12,
  SIM_FLOWS = 64, /* backend sockets of a connector */
  SIM_PORT = 7,   /* where every service echoes UDP */
};

struct sim;

/* Something that hangs on the network and has the verbs of a role. */
struct sim_node {
  struct sim *w;
  const char *name;
  bool on;
  struct vnet_host *host;
  void *ud;
  void (*udp_in)(struct sim_node *n, const struct dgram *d);
  void (*tick)(struct sim_node *n);
  void (*drain)(struct sim_node *n);
  uint64_t (*deadline)(struct sim_node *n);
};

struct sim_relay {
  struct sim_node node;
  const char *host;
  struct pki_pem pem;
  struct tls *tls;
  struct relay *core; /* NULL: not running */
  uint8_t state_key[32];
};

struct sim_backend { /* of a connector's flow */
  bool open;
  uint32_t times; /* opened so often: a late reply is for a former one */
};

/* How a connector's backend answers users and health checks. */
enum sim_backend_state { SIM_WELL, SIM_REFUSING, SIM_SILENT };

struct sim_connector {
  struct sim_node node;
  char name[24];
  const char *service;
  struct pki_pem pem;
  struct tls *tls;
  struct connector *core;
  struct sim_backend backends[SIM_FLOWS];
  uint64_t n_asked; /* packets that reached the backend */
  struct tcp_skin tcp;
  enum sim_backend_state state;
};

struct sim_agent {
  struct sim_node node;
  char name[24];
  struct pki_pem pem;
  struct ztna_agent *core;
  struct app app;
  struct tcp_skin tcp;
};

struct sim_config {
  uint64_t seed;
  int n_agents, n_connectors;
  const char *services[SIM_CONNECTORS]; /* what each offers; NULL: "echo" */
  bool both;                            /* each offers echo and other */
  uint64_t delay; /* of each line and direction; 0: 10 ms */
  int n_relays;   /* 0: 1; who has two holds both */
  bool v6;        /* IPv6 outside */
  bool nat;       /* agents and connectors are behind NATs */
  bool direct;    /* look for direct paths */
  /* Where agents and connectors are (nat_class.h); NULL: as nat says. */
  const char *agent_class, *connector_class;
  bool tcp;             /* services have TCP ports, too (tcp_app.h) */
  enum role relay_role; /* of its certificate; 0: relay */
  unsigned weights[SIM_CONNECTORS]; /* 0: 1 */
  struct health_rule check;         /* of every service; every 0: none */
  int64_t life; /* of everybody's certificates, s; 0: 30 days */
};

struct sim {
  struct sim_config cfg;
  uint64_t now;
  int64_t clock_off; /* s that the wall clocks are wrong by */
  struct seeded rnd;
  struct vnet *net;
  struct pki *pki;
  struct sim_relay relay, relay2;
  struct sim_connector connectors[SIM_CONNECTORS];
  struct sim_agent agents[SIM_AGENTS];
  struct sim_node *nodes[SIM_NODES];
  int n_nodes;
  char log[1 << 17]; /* lines so far; old ones go */
  size_t log_len;
};

/* Everything made and started at once. */
struct sim *sim_new(const struct sim_config *cfg);
void sim_free(struct sim *w);
/* Hangs another node on the network. */
void sim_add(struct sim *w, struct sim_node *n);
void sim_remove(struct sim_node *n);

void sim_run(struct sim *w, uint64_t for_ns);
/* Until it is true, at most for_ns; whether it is. */
bool sim_until(struct sim *w, bool (*is)(struct sim *w, void *ud), void *ud,
               uint64_t for_ns);

/* kill -9 and a new start with the same files. Stopped roles hear nothing. */
void sim_relay_stop(struct sim *w);
void sim_relay_start(struct sim *w);
void sim_relay2_stop(struct sim *w);
void sim_relay2_start(struct sim *w);
void sim_connector_stop(struct sim *w, int i);
void sim_connector_start(struct sim *w, int i);
void sim_agent_stop(struct sim *w, int i);
void sim_agent_start(struct sim *w, int i);

/* A new certificate for who runs, with cfg.life from now on. */
void sim_agent_renew(struct sim *w, int i);
void sim_connector_renew(struct sim *w, int i);
void sim_relay_renew(struct sim *w); /* each of them */
/* The files are read again: own certificate, CA, and the list of w->pki. */
void sim_agent_read(struct sim *w, int i);
void sim_connector_read(struct sim *w, int i);
void sim_relay_read(struct sim *w);

/* The agent's machine has other addresses than it was told of. */
void sim_agent_network(struct sim *w, int i);

/* The outer address of a host in the family of this world. */
struct ztna_addr sim_outer(const struct sim *w, const struct sim_node *n);
struct ztna_addr sim_relay_addr(const struct sim *w);
/* The virtual address of a service. */
struct ztna_addr sim_service_addr(const char *service, bool v6);

/* A line of the log has this text. */
bool sim_logged(const struct sim *w, const char *text);
void sim_log_clear(struct sim *w);

/* A counter by its name in the metrics, of reason's label when it is given. */
uint64_t sim_relay_counter(const struct sim *w, const char *name,
                           const char *reason);
uint64_t sim_connector_counter(const struct sim *w, int i, const char *name,
                               const char *reason);
uint64_t sim_agent_counter(const struct sim *w, int i, const char *name,
                           const char *reason);
/* The same in any Prometheus text. */
uint64_t sim_counter(const char *text, const char *name, const char *reason);

#endif
