/* demo_roles.c - what `ztna demo` is made of: certificates in memory, a relay,
 * a connector, an agent, an echo socket and a web server, each as in real life.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <ztna/err.h>

#include "base/log.h"
#include "demo.h"
#include "demo_web.h"
#include "host/clock.h"
#include "role.h"
#include "transport/cert.h"

enum { ECHO_BATCH = 32, ECHO_LEN = 2048 };

/* --- certificates --- */

struct pem {
  struct sbuf cert, key;
};

static void pem_forget(struct pem *p) {
  sbuf_done(&p->cert);
  cert_forget(&p->key);
}

/* dns: n names, or none. */
static int make_leaf(const struct pem *ca, const char *spiffe,
                     const char *const *dns, size_t n,
                     const struct ztna_addr *ip, struct pem *out) {
  int64_t now = (int64_t)(clock_wall() / SEC);
  struct cert_spec spec = {.spiffe = spiffe,
                           .dns = dns,
                           .n_dns = n,
                           .ips = ip,
                           .n_ips = ip != NULL,
                           .not_before = now - 300,
                           .not_after = now + 3600};

  return cert_make_leaf(&spec, ca->cert.s, ca->cert.len, ca->key.s, ca->key.len,
                        &out->cert, &out->key);
}

static int make_ca(struct pem *ca) {
  int64_t now = (int64_t)(clock_wall() / SEC);

  return cert_make_ca("ztna CA demo.ztna", now - 300, now + 3600, &ca->cert,
                      &ca->key);
}

static int make_tls(const struct pem *ca, const struct pem *p,
                    struct tls **tls) {
  char why[256];
  const struct ztna_identity own = {.cert = p->cert.s,
                                    .cert_len = p->cert.len,
                                    .key = p->key.s,
                                    .key_len = p->key.len,
                                    .ca = ca->cert.s,
                                    .ca_len = ca->cert.len};
  int rc = tls_new(tls, &own, why, sizeof(why));

  if (rc < 0) log_err("demo: %s", why);
  return rc;
}

/* --- relay --- */

static void relay_on_udp(void *ctx, uint64_t now, const struct dgram *d) {
  relay_udp_in(((struct demo_roles *)ctx)->relay, now, d);
}
static void relay_on_tick(void *ctx, uint64_t now) {
  relay_tick(((struct demo_roles *)ctx)->relay, now);
}
static int relay_on_next(void *ctx, uint64_t now, struct dgram *v, int max) {
  return relay_next(((struct demo_roles *)ctx)->relay, now, v, max);
}
static uint64_t relay_at(const void *ctx) {
  return relay_deadline(((const struct demo_roles *)ctx)->relay);
}
static void relay_on_stop(void *ctx, uint64_t now) {
  relay_stop(((struct demo_roles *)ctx)->relay, now);
}
static bool relay_is_stopped(const void *ctx) {
  return relay_stopped(((const struct demo_roles *)ctx)->relay);
}

static const struct loop_role relay_verbs = {
    .udp_in = relay_on_udp,
    .tick = relay_on_tick,
    .next = relay_on_next,
    .deadline = relay_at,
    .stop = relay_on_stop,
    .stopped = relay_is_stopped,
};

/* One rule: everybody of the demo may use both services. */
static struct policy *make_policy(void) {
  char *agents[] = {"spiffe://demo.ztna/agent/*"},
       *services[] = {"echo", "web"};
  struct policy_rule rule = {.name = "demo",
                             .agents = agents,
                             .n_agents = 1,
                             .services = services,
                             .n_services = 2,
                             .protocols = PROTO_UDP | PROTO_TCP | PROTO_ICMP};
  struct policy_config cfg = {.rules = &rule, .n_rules = 1};
  struct policy *p = NULL;
  char why[128];

  if (policy_new(&p, &cfg, why, sizeof(why)) < 0) log_err("demo: %s", why);
  return p;
}

static struct udp *loopback(struct ztna_addr *bound) {
  struct udp *u = udp_new();
  struct ztna_addr any;

  ztna_addr_parse(&any, "127.0.0.1");
  if (!u || udp_bind(u, &any) < 0) {
    udp_free(u);
    return NULL;
  }
  *bound = udp_local(u, 0);
  return u;
}

static int start_relay(struct demo_roles *r, struct host *h) {
  struct relay_fixed_service echo = {"echo", &r->echo_ip, 1};
  struct relay_options o = {.services = &echo,
                            .n_services = 1,
                            .tls = r->relay_tls,
                            .rng = &clock_rng,
                            .policy = make_policy(),
                            .retry = QUIC_RETRY_AUTO,
                            .max_connections = 16,
                            .max_routes = 16,
                            .unix_at_start = (int64_t)(clock_wall() / SEC)};
  struct ztna_addr bound;
  struct udp *udp = loopback(&bound);

  if (!udp || !o.policy) return EXIT_FAILED;
  rng_fill(&clock_rng, o.state_key, sizeof(o.state_key));
  ztna_prefix_parse(&o.service_pool[0], "10.100.0.0/24");
  ztna_prefix_parse(&o.agent_pool[0], "100.64.0.0/16");
  ztna_addr_parse(&r->echo_ip, "10.100.0.2");
  r->relay = relay_new(&o, clock_now());
  ztna_addr_print(&bound, r->relay_name);
  if (!r->relay || !host_add(h, &relay_verbs, r, udp)) return EXIT_FAILED;
  return EXIT_DONE;
}

/* --- echo --- */

static void on_echo(void *ctx, uint64_t now) {
  struct demo_roles *r = ctx;
  static uint8_t buf[ECHO_BATCH][ECHO_LEN];
  struct sockaddr_in from[ECHO_BATCH];
  struct iovec iov[ECHO_BATCH];
  struct mmsghdr m[ECHO_BATCH];
  int n;

  memset(m, 0, sizeof(m));
  for (int i = 0; i < ECHO_BATCH; i++) {
    iov[i] = (struct iovec){buf[i], ECHO_LEN};
    m[i].msg_hdr = (struct msghdr){.msg_name = &from[i],
                                   .msg_namelen = sizeof(from[i]),
                                   .msg_iov = &iov[i],
                                   .msg_iovlen = 1};
  }
  n = recvmmsg(r->echo, m, ECHO_BATCH, MSG_DONTWAIT, NULL);
  for (int i = 0; i < n; i++) iov[i].iov_len = m[i].msg_len;
  if (n > 0 && sendmmsg(r->echo, m, (unsigned)n, MSG_DONTWAIT) < 0)
    log_debug("demo: echo: %s", strerror(errno));
}

static int open_echo(struct demo_roles *r) {
  struct sockaddr_in a = {.sin_family = AF_INET,
                          .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t len = sizeof(a);

  r->echo = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (r->echo < 0 || bind(r->echo, (struct sockaddr *)&a, len) < 0 ||
      getsockname(r->echo, (struct sockaddr *)&a, &len) < 0) {
    log_err("demo: no socket for the echo service: %s", strerror(errno));
    return EXIT_FAILED;
  }
  snprintf(r->echo_name, sizeof(r->echo_name), "127.0.0.1:%d",
           ntohs(a.sin_port));
  return EXIT_DONE;
}

/* --- connector --- */

static int open_backends(struct demo_roles *r) {
  struct ztna_addr at;

  if (open_echo(r)) return EXIT_FAILED;
  r->web = demo_web_start(&at);
  if (!r->web) return EXIT_FAILED;
  ztna_addr_print(&at, r->web_name);
  return EXIT_DONE;
}

static void configure_connector(struct demo_roles *r) {
  r->backends[0] = (struct backend_config){
      .protocol = PROTO_UDP, .port = DEMO_ECHO_PORT, .to = r->echo_name};
  r->backends[1] = (struct backend_config){
      .protocol = PROTO_TCP, .port = DEMO_WEB_PORT, .to = r->web_name};
  r->services[0] = (struct service_config){
      .id = "echo", .backends = &r->backends[0], .n_backends = 1, .weight = 1};
  r->services[1] = (struct service_config){
      .id = "web", .backends = &r->backends[1], .n_backends = 1, .weight = 1};
  r->config = (struct connector_config){.relays = r->relay_names,
                                        .n_relays = 1,
                                        .services = r->services,
                                        .n_services = 2,
                                        .max_flows = 64,
                                        .max_flows_per_agent = 64,
                                        .udp_idle_after = 60 * SEC,
                                        .max_tcp_flows = 16,
                                        .max_tcp_flows_per_agent = 16,
                                        .max_buffered = 64 << 20,
                                        .connect_timeout = 5 * SEC};
}

static int start_connector(struct demo_roles *r, struct host *h) {
  struct ztna_addr bound;
  struct udp *udp;

  if (open_backends(r) || !(udp = loopback(&bound))) return EXIT_FAILED;
  configure_connector(r);
  if (connector_host_start(&r->connector, h, &r->config, r->connector_tls,
                           udp) < 0 ||
      host_watch(r->connector.role, r->echo, on_echo, r) < 0)
    return EXIT_FAILED;
  return EXIT_DONE;
}

/* --- agent --- */

static int start_agent(struct demo_roles *r, struct host *h,
                       const struct pem *ca, const struct pem *own) {
  struct identity_config id = {.cert_pem = own->cert.s,
                               .cert_len = own->cert.len,
                               .key_pem = own->key.s,
                               .key_len = own->key.len,
                               .ca_pem = ca->cert.s,
                               .ca_len = ca->cert.len};
  struct ztna_addr bound;
  struct udp *udp;
  char why[256];

  ztna_prefix_parse(&r->networks[0], "10.100.0.0/16");
  ztna_prefix_parse(&r->networks[1], "100.64.0.0/10");
  r->agent_config = (struct agent_config){.relays = r->relay_names,
                                          .n_relays = 1,
                                          .networks = r->networks,
                                          .n_networks = 2};
  if (agent_host_new(&r->agent, &r->agent_config, &id, why, sizeof(why)) < 0) {
    log_err("demo: %s", why);
    return EXIT_FAILED;
  }
  udp = loopback(&bound);
  if (!udp || agent_host_start(&r->agent, h, udp, r->hooks, r->ctx) < 0)
    return EXIT_FAILED;
  return EXIT_DONE;
}

/* As --forward 127.0.0.1:PORT=web:80, with a port that is free. */
static int forward_web(struct demo_roles *r) {
  struct forward_rule rule = {.service = "web", .port = DEMO_WEB_PORT};
  int rc;

  ztna_addr_parse(&rule.at, "127.0.0.1");
  rc = agent_host_forward(&r->agent, &rule, &r->web_at);
  if (rc == 0) return EXIT_DONE;
  log_err("demo: no port for the web service: %s", ztna_strerror(rc));
  return EXIT_FAILED;
}

/* --- all together --- */

static int make_certificates(struct demo_roles *r, struct pem *pem) {
  static const char *const names[] = {"connector.echo.ztna",
                                      "connector.web.ztna"};
  struct pem *ca = &pem[0], *agent = &pem[1], *relay = &pem[2], *conn = &pem[3];
  struct ztna_addr loop;

  ztna_addr_parse(&loop, "127.0.0.1");
  if (tls_global_init(&clock_rng, NULL) < 0 || make_ca(ca) < 0 ||
      make_leaf(ca, DEMO_RELAY_ID, NULL, 0, &loop, relay) < 0 ||
      make_leaf(ca, DEMO_CONNECTOR_ID, names, 2, NULL, conn) < 0 ||
      make_leaf(ca, DEMO_AGENT_ID, NULL, 0, NULL, agent) < 0 ||
      make_tls(ca, relay, &r->relay_tls) < 0 ||
      make_tls(ca, conn, &r->connector_tls) < 0)
    return EXIT_FAILED;
  return EXIT_DONE;
}

static int start_all(struct demo_roles *r, struct host *h, struct pem *pem) {
  int code = make_certificates(r, pem);

  if (code || (code = start_relay(r, h))) return code;
  r->relay_names[0] = r->relay_name;
  if ((code = start_connector(r, h)) ||
      (code = start_agent(r, h, &pem[0], &pem[1])))
    return code;
  return forward_web(r);
}

int demo_roles_start(struct demo_roles *r, struct host *h,
                     const struct agent_host_hooks *hooks, void *ctx) {
  struct pem pem[4] = {0};
  int code;

  r->hooks = hooks;
  r->ctx = ctx;
  r->echo = -1;
  code = start_all(r, h, pem);
  for (int i = 0; i < 4; i++) pem_forget(&pem[i]);
  return code;
}

void demo_roles_free(struct demo_roles *r) {
  if (r->echo > 0) close(r->echo);
  connector_host_free(&r->connector);
  agent_host_free(&r->agent);
  demo_web_stop(r->web);
  relay_free(r->relay);
  tls_free(r->connector_tls);
  tls_free(r->relay_tls);
}

bool demo_roles_know_way(const struct demo_roles *r, struct ztna_addr *own) {
  struct ztna_addr addrs[2], routes[4];
  int n = ztna_agent_routes(r->agent.core, routes, 4);

  if (!ztna_agent_addresses(r->agent.core, addrs)) return false;
  *own = addrs[0];
  for (int i = 0; i < n; i++)
    if (ztna_addr_cmp(&routes[i], &r->echo_ip) == 0) return true;
  return false;
}
