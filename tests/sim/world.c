/* world.c - see world.h. */
#include "sim/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "sim/nat_class.h"
#include "sim/net_sock.h"

#define BACKEND_DELAY (MS / 2)
#define RELAY_NAME "relay.test"
#define RELAY2_NAME "relay2.test"
#define RELAY_HOST RELAY_NAME ":4433"
#define RELAY2_HOST RELAY2_NAME ":4433"

enum { TURNS_MAX = 20000 }; /* at one instant: then a role spins */

static void need(bool ok, const char *what) {
  if (ok) return;
  fprintf(stderr, "sim: %s\n", what);
  abort();
}

/* --- the process's one clock, randomness and log --- */

static struct sim *current;
static struct seeded tls_rnd;

static int64_t unix_now(void) {
  if (!current) return SIM_EPOCH;
  return SIM_EPOCH + current->clock_off + (int64_t)(current->now / SEC);
}

static void on_line(void *ud, enum log_level level, const char *line) {
  struct sim *w = ud;
  size_t len = strlen(line);

  if (getenv("ZTNA_TEST_LOG"))
    fprintf(stderr, "%9.4f %s\n", (double)w->now / 1e9, line);
  if (w->log_len + len + 2 > sizeof(w->log)) w->log_len = 0;
  memcpy(w->log + w->log_len, line, len);
  w->log_len += len;
  w->log[w->log_len++] = '\n';
  w->log[w->log_len] = 0;
}

bool sim_logged(const struct sim *w, const char *text) {
  return strstr(w->log, text);
}

void sim_log_clear(struct sim *w) { w->log_len = w->log[0] = 0; }

/* --- certificates --- */

static int64_t ends(const struct sim *w) {
  return unix_now() + (w->cfg.life ? w->cfg.life : 86400 * 30);
}

static void make_pem(struct sim *w, enum role role, const char *name,
                     const char *only, struct pki_pem *pem) {
  const char *const names[] = {only, NULL};

  pki_pem_done(pem);
  pki_pem_at(w->pki, role, name, names, unix_now() - 3600, ends(w), pem);
}

static struct tls *make_tls(struct sim *w, const struct pki_pem *pem) {
  struct ztna_identity id = pki_identity(pem);
  struct sbuf crl = {0};
  struct tls *t;
  char why[200];

  pki_crl(w->pki, &crl);
  id.crl = crl.s;
  id.crl_len = crl.len;
  need(tls_new(&t, &id, why, sizeof(why)) == 0, why);
  sbuf_done(&crl);
  return t;
}

/* --- the relay --- */

enum { RELAY_SECOND = 1 }; /* its socket for STUN alone */

static size_t n_relays(const struct sim *w) {
  return w->cfg.n_relays ? (size_t)w->cfg.n_relays : 1;
}

static struct policy *allow_all(void) {
  char all[] = "*", *pattern = all, name[] = "all";
  struct policy_rule rule = {.name = name,
                             .agents = &pattern,
                             .n_agents = 1,
                             .services = &pattern,
                             .n_services = 1,
                             .protocols = PROTO_UDP | PROTO_TCP | PROTO_ICMP};
  struct policy_config cfg = {.rules = &rule, .n_rules = 1};
  struct policy *p;
  char why[200];

  need(policy_new(&p, &cfg, why, sizeof(why)) == 0, why);
  return p;
}

struct ztna_addr sim_service_addr(const char *service, bool v6) {
  bool echo = !strcmp(service, "echo");
  struct ztna_addr a;

  ztna_addr_parse(&a, v6     ? echo ? "fd5a:10::10" : "fd5a:10::11"
                      : echo ? "10.100.0.10"
                             : "10.100.0.11");
  return a;
}

static void start_relay(struct sim *w, struct sim_relay *r) {
  struct ztna_addr addrs[SIM_SERVICES][2];
  struct relay_fixed_service fixed[SIM_SERVICES] = {
      {.id = "echo", .addrs = addrs[0], .n_addrs = 2},
      {.id = "other", .addrs = addrs[1], .n_addrs = 2}};
  struct relay_options o = {.tls = r->tls,
                            .rng = &w->rnd.rng,
                            .services = fixed,
                            .n_services = SIM_SERVICES,
                            .policy = allow_all(),
                            .retry = QUIC_RETRY_AUTO,
                            .max_connections = 100,
                            .max_routes = 100,
                            .unix_at_start = unix_now()};
  struct relay_stun_pair stun[2];

  for (int i = 0; i < SIM_SERVICES; i++)
    for (int k = 0; k < 2; k++) addrs[i][k] = sim_service_addr(fixed[i].id, k);
  memcpy(o.state_key, r->state_key, sizeof(o.state_key));
  ztna_prefix_parse(&o.service_pool[0], "10.100.0.0/24");
  ztna_prefix_parse(&o.service_pool[1], "fd5a:10::/64");
  ztna_prefix_parse(&o.agent_pool[0], "100.64.0.0/16");
  ztna_prefix_parse(&o.agent_pool[1], "fd5a:64::/64");
  for (int i = 0; i < 2; i++) {
    stun[i].main = stun[i].second = r->node.host->outer[i];
    stun[i].second.port =
        net_sock_use(r->node.host, RELAY_SECOND, stun[i].main.family);
  }
  o.stun = stun;
  o.n_stun = 2;
  r->core = relay_new(&o, w->now);
  need(r->core, "no relay");
  r->node.on = true;
}

static void stop_relay(struct sim_relay *r) {
  r->node.on = false;
  relay_free(r->core);
  r->core = NULL;
}

void sim_relay_start(struct sim *w) { start_relay(w, &w->relay); }
void sim_relay_stop(struct sim *w) { stop_relay(&w->relay); }
void sim_relay2_start(struct sim *w) { start_relay(w, &w->relay2); }
void sim_relay2_stop(struct sim *w) { stop_relay(&w->relay2); }

static struct relay *relay_of(struct sim_node *n) {
  return ((struct sim_relay *)n->ud)->core;
}

static void relay_node_in(struct sim_node *n, const struct dgram *d) {
  relay_udp_in(relay_of(n), n->w->now, d);
}
static void relay_node_tick(struct sim_node *n) {
  relay_tick(relay_of(n), n->w->now);
}
static uint64_t relay_node_deadline(struct sim_node *n) {
  return relay_deadline(relay_of(n));
}
static void relay_node_drain(struct sim_node *n) {
  struct dgram v[16];
  int got;

  while ((got = relay_next(relay_of(n), n->w->now, v, 16)) > 0)
    for (int i = 0; i < got; i++) {
      struct ztna_addr *from = &v[i].local;

      if (from->port &&
          from->port == vnet_sock_port(n->host, RELAY_SECOND, from->family))
        v[i].sock = RELAY_SECOND;
      vnet_send(n->host, &v[i]);
    }
}

struct ztna_addr sim_outer(const struct sim *w, const struct sim_node *n) {
  return n->host->outer[w->cfg.v6];
}

static struct ztna_addr relay_addr(const struct sim *w, int i) {
  return sim_outer(w, i ? &w->relay2.node : &w->relay.node);
}

struct ztna_addr sim_relay_addr(const struct sim *w) {
  return sim_outer(w, &w->relay.node);
}

/* --- connectors and their backends --- */

enum { TCP_PORTS = TCP_PORT_CLOSES - TCP_PORT + 1 };

static size_t tcp_backends(struct sim *w, struct connector_backend *to) {
  for (int i = 0; w->cfg.tcp && i < TCP_PORTS; i++)
    to[i] = (struct connector_backend){.protocol = PROTO_TCP,
                                       .port = (uint16_t)(TCP_PORT + i)};
  return w->cfg.tcp ? TCP_PORTS : 0;
}

static void set_backends(struct connector *c, size_t service, size_t n) {
  struct ztna_addr to;

  ztna_addr_parse(&to, "192.168.7.7:7");
  for (size_t i = 0; i < n; i++) {
    if (i >= 3) to.port = (uint16_t)(TCP_PORT + i - 3);
    connector_set_backend(c, service, i, &to, 1);
  }
}

/* What the machine of a host knows of itself: addresses in /24 and /64. */
static size_t locals_of(const struct vnet_host *h, struct ztna_local v[2]) {
  size_t n = 0;

  for (int i = 0; i < 2; i++) {
    struct ztna_addr net = h->inner[i];

    if (!net.family) continue;
    net.port = 0;
    memset(net.ip + (i ? 8 : 3), 0, i ? 8 : 1);
    v[n++] = (struct ztna_local){h->inner[i], {net, i ? 64 : 24}};
  }
  return n;
}

void sim_connector_start(struct sim *w, int i) {
  static const char *const relays[] = {RELAY_HOST, RELAY2_HOST};
  struct sim_connector *c = &w->connectors[i];
  struct connector_backend backends[3 + TCP_PORTS] = {
      {.protocol = PROTO_UDP, .port = SIM_PORT},
      {.protocol = PROTO_ICMP},
      {.protocol = PROTO_TCP, .port = SIM_PORT}};
  struct connector_service service = {.id = c->service,
                                      .backends = backends,
                                      .n_backends =
                                          3 + tcp_backends(w, backends + 3),
                                      .weight = w->cfg.weights[i],
                                      .check = w->cfg.check};
  struct connector_service services[SIM_SERVICES] = {service, service};
  struct connector_options o = {.tls = c->tls,
                                .rng = &w->rnd.rng,
                                .relays = relays,
                                .n_relays = n_relays(w),
                                .services = services,
                                .n_services = w->cfg.both ? 2 : 1,
                                .max_flows = SIM_FLOWS,
                                .max_flows_per_agent = SIM_FLOWS / 2,
                                .max_tcp_flows = TCP_SOCKS,
                                .udp_idle_after = 120 * SEC,
                                .direct = w->cfg.direct};
  struct ztna_local locals[2];

  services[1].id = "other";
  c->core = connector_new(&o, w->now);
  need(c->core, "no connector");
  connector_set_locals(c->core, locals, locals_of(c->node.host, locals),
                       w->now);
  for (size_t s = 0; s < o.n_services; s++)
    set_backends(c->core, s, service.n_backends);
  memset(c->backends, 0, sizeof(c->backends));
  c->node.on = true;
}

void sim_connector_stop(struct sim *w, int i) {
  struct sim_connector *c = &w->connectors[i];

  c->node.on = false;
  connector_free(c->core);
  c->core = NULL;
  tcp_skin_killed(&c->tcp);
  for (int k = 0; k < SIM_FLOWS; k++) c->backends[k].times++;
  vnet_rebind(c->node.host); /* the next one has another socket */
}

struct echo { /* a reply under way */
  struct sim_connector *c;
  struct connector *core;
  uint32_t flow, times;
  bool ping;
  uint16_t seq;
  size_t len;
  uint8_t data[];
};

static void on_echo(void *ud, uint64_t arg) {
  struct echo *e = ud;
  struct sim_connector *c = e->c;

  if (c->core == e->core && c->backends[e->flow].open &&
      c->backends[e->flow].times == e->times) {
    if (e->ping)
      connector_echo_in(c->core, c->node.w->now, e->flow, e->seq, e->data,
                        e->len);
    else
      connector_backend_in(c->core, c->node.w->now, e->flow, e->data, e->len);
    c->node.drain(&c->node);
  }
  free(e);
}

static void check_op(struct sim_connector *c,
                     const struct connector_check_op *op) {
  if (op->kind != CONNECTOR_CHECK_START || c->state == SIM_SILENT) return;
  connector_check_done(c->core, c->node.w->now, op->service,
                       c->state == SIM_WELL ? NULL : "connection refused");
}

static void echo_later(struct sim_connector *c, const struct backend_op *op) {
  struct sim_backend *b = &c->backends[op->flow];
  struct echo *e;

  need(b->open, "a packet for a backend that is not open");
  c->n_asked++;
  if (c->state == SIM_REFUSING)
    connector_backend_failed(c->core, c->node.w->now, op->flow,
                             CONNECTOR_REFUSED, 0);
  if (c->state != SIM_WELL) return;
  e = malloc(sizeof(*e) + op->len);
  *e = (struct echo){
      c,       c->core, op->flow, b->times, op->kind == BACKEND_OP_SEND_ECHO,
      op->seq, op->len};
  memcpy(e->data, op->data, op->len);
  vnet_at(c->node.w->net, c->node.w->now + BACKEND_DELAY, on_echo, e, 0);
}

static void backend_op(struct sim_connector *c, const struct backend_op *op) {
  struct sim_backend *b = &c->backends[op->flow];

  switch (op->kind) {
  case BACKEND_OP_OPEN:
  case BACKEND_OP_OPEN_PING:
    b->open = true;
    b->times++;
    break;
  case BACKEND_OP_SEND:
  case BACKEND_OP_SEND_ECHO:
    echo_later(c, op);
    break;
  case BACKEND_OP_CLOSE:
    b->open = false;
  }
}

static void connector_node_in(struct sim_node *n, const struct dgram *d) {
  connector_udp_in(((struct sim_connector *)n->ud)->core, n->w->now, d);
}
static void connector_node_tick(struct sim_node *n) {
  connector_tick(((struct sim_connector *)n->ud)->core, n->w->now);
}
static uint64_t connector_node_deadline(struct sim_node *n) {
  return connector_deadline(((struct sim_connector *)n->ud)->core);
}
static void connector_node_drain(struct sim_node *n) {
  struct sim_connector *c = n->ud;
  struct ztna_addr relay;
  struct connector_check_op check;
  struct backend_op op;
  struct dgram v[16];
  int got;

  while (connector_check_next(c->core, &check)) check_op(c, &check);
  do
    while ((got = connector_next(c->core, n->w->now, v, 16)) > 0)
      for (int i = 0; i < got; i++) vnet_send(n->host, &v[i]);
  while (tcp_skin_drain(&c->tcp));
  while (connector_backend_next(c->core, &op)) backend_op(c, &op);
  while ((got = connector_wants_relay(c->core)) >= 0) {
    relay = relay_addr(n->w, got);
    connector_set_relay(c->core, (size_t)got, &relay, 1, n->w->now);
  }
}

/* --- agents --- */

static void agent_random(void *ctx, void *buf, size_t len) {
  rng_fill(&((struct sim *)ctx)->rnd.rng, buf, len);
}

void sim_agent_start(struct sim *w, int i) {
  static const char *const relays[] = {RELAY_HOST, RELAY2_HOST};
  struct sim_agent *g = &w->agents[i];
  struct ztna_prefix networks[4];
  struct ztna_agent_config cfg = {.identity = pki_identity(&g->pem),
                                  .relays = relays,
                                  .n_relays = n_relays(w),
                                  .networks = networks,
                                  .n_networks = 4,
                                  .random = agent_random,
                                  .random_ctx = w,
                                  .unix_now = unix_now(),
                                  .direct = w->cfg.direct};
  struct ztna_local locals[2];
  char why[200];

  ztna_prefix_parse(&networks[0], "10.100.0.0/24");
  ztna_prefix_parse(&networks[1], "fd5a:10::/64");
  ztna_prefix_parse(&networks[2], "100.64.0.0/16");
  ztna_prefix_parse(&networks[3], "fd5a:64::/64");
  need(ztna_agent_new(&g->core, &cfg, w->now, why, sizeof(why)) == 0, why);
  ztna_agent_set_locals(g->core, locals, locals_of(g->node.host, locals),
                        w->now);
  g->node.on = true;
}

void sim_agent_network(struct sim *w, int i) {
  struct sim_agent *g = &w->agents[i];
  struct ztna_local locals[2];

  ztna_agent_set_locals(g->core, locals, locals_of(g->node.host, locals),
                        w->now);
  ztna_agent_network_changed(g->core, w->now);
  g->node.drain(&g->node);
}

void sim_agent_stop(struct sim *w, int i) {
  struct sim_agent *g = &w->agents[i];

  g->node.on = false;
  ztna_agent_free(g->core);
  g->core = NULL;
  tcp_skin_killed(&g->tcp);
  vnet_rebind(g->node.host);
}

static void agent_node_in(struct sim_node *n, const struct dgram *d) {
  ztna_agent_udp_in(((struct sim_agent *)n->ud)->core, n->w->now, d);
}
static void agent_node_tick(struct sim_node *n) {
  ztna_agent_tick(((struct sim_agent *)n->ud)->core, n->w->now);
}
static uint64_t agent_node_deadline(struct sim_node *n) {
  return ztna_agent_deadline(((struct sim_agent *)n->ud)->core);
}
static void agent_node_drain(struct sim_node *n) {
  struct sim_agent *g = n->ud;
  struct ztna_addr relay;
  struct ztna_ip ip;
  struct dgram v[16];
  int got;

  do
    while ((got = ztna_agent_next(g->core, n->w->now, v, 16)) > 0)
      for (int i = 0; i < got; i++) vnet_send(n->host, &v[i]);
  while (tcp_skin_drain(&g->tcp));
  while (ztna_agent_ip_next(g->core, &ip)) app_in(&g->app, ip.data, ip.len);
  while ((got = ztna_agent_wants_relay(g->core)) >= 0) {
    relay = relay_addr(n->w, got);
    ztna_agent_set_relay(g->core, (size_t)got, &relay, 1, n->w->now);
  }
}

/* --- life --- */

static void on_dgram(void *ud, const struct dgram *d) {
  struct sim_node *n = ud;

  if (!n->on) return;
  n->udp_in(n, d);
  n->drain(n);
}

void sim_add(struct sim *w, struct sim_node *n) {
  need(w->n_nodes < SIM_NODES, "too many nodes");
  n->w = w;
  n->host->on_dgram = on_dgram;
  n->host->ud = n;
  w->nodes[w->n_nodes++] = n;
}

void sim_remove(struct sim_node *n) {
  struct sim *w = n->w;
  int i = 0;

  n->host->on_dgram = NULL;
  while (w->nodes[i] != n) i++;
  w->nodes[i] = w->nodes[--w->n_nodes];
}

/* One LAN's addresses, whatever box it hangs on. */
static struct vnet_host *place_behind(struct sim *w, int net, int i,
                                      const struct nat_class *class) {
  bool private = class->boxed && class->box.mapping != NAT_NONE;
  char v4[48], v6[64], outer[48];
  struct vnet_host *h;

  if (private)
    snprintf(v4, sizeof(v4), "192.168.9.%d:%d", net * 50 + i, 5000 + i);
  else
    snprintf(v4, sizeof(v4), "198.51.%d.%d:%d", net, i + 1, 5000 + i);
  snprintf(v6, sizeof(v6), "[2001:db8:%d::%d]:%d", net, i + 1, 5000 + i);
  snprintf(outer, sizeof(outer), "198.51.%d.%d", net, 100 + i);
  h = vnet_add(w->net, v4, w->cfg.v6 ? v6 : NULL,
               class->boxed ? 20 * US : w->cfg.delay);
  nat_class_put(class, h, outer, w->cfg.delay);
  return h;
}

/* A host at its own address, or at one behind a NAT's. */
static struct vnet_host *place(struct sim *w, int net, int i,
                               const char *class) {
  char v4[48], v6[64];
  struct vnet_host *h;

  if (class) return place_behind(w, net, i, nat_class_find(class));
  snprintf(v4, sizeof(v4), "198.51.%d.%d:%d", net, i + 1, 5000 + i);
  snprintf(v6, sizeof(v6), "[2001:db8:%d::%d]:%d", net, i + 1, 5000 + i);
  h = vnet_add(w->net, v4, v6, w->cfg.delay);
  if (!w->cfg.nat) return h;
  ztna_addr_parse(&h->inner[0], "192.168.1.10:5000");
  ztna_addr_parse(&h->inner[1], "[fd00::10]:5000");
  h->nat = true;
  return h;
}

static enum role relay_role(const struct sim *w) {
  return w->cfg.relay_role ? w->cfg.relay_role : ROLE_RELAY;
}

static void make_relay(struct sim *w, struct sim_relay *r, const char *name,
                       const char *host, const char *v4, const char *v6) {
  struct sim_node *n = &r->node;

  r->host = host;
  make_pem(w, relay_role(w), name, host, &r->pem);
  r->tls = make_tls(w, &r->pem);
  rng_fill(&w->rnd.rng, r->state_key, sizeof(r->state_key));
  *n = (struct sim_node){.name = name,
                         .ud = r,
                         .host = vnet_add(w->net, v4, v6, w->cfg.delay),
                         .udp_in = relay_node_in,
                         .tick = relay_node_tick,
                         .drain = relay_node_drain,
                         .deadline = relay_node_deadline};
  sim_add(w, n);
  start_relay(w, r);
}

static void make_connector(struct sim *w, int i) {
  struct sim_connector *c = &w->connectors[i];

  snprintf(c->name, sizeof(c->name), "connector-%d", i);
  c->service = w->cfg.services[i] ? w->cfg.services[i] : "echo";
  make_pem(w, ROLE_CONNECTOR, c->name, "*", &c->pem);
  c->tls = make_tls(w, &c->pem);
  tcp_skin_init(&c->tcp, w, true, i);
  c->node = (struct sim_node){.name = c->name,
                              .host = place(w, 2, i, w->cfg.connector_class),
                              .ud = c,
                              .udp_in = connector_node_in,
                              .tick = connector_node_tick,
                              .drain = connector_node_drain,
                              .deadline = connector_node_deadline};
  sim_add(w, &c->node);
  sim_connector_start(w, i);
}

static void make_agent(struct sim *w, int i) {
  struct sim_agent *g = &w->agents[i];

  snprintf(g->name, sizeof(g->name), "agent-%d", i);
  make_pem(w, ROLE_AGENT, g->name, NULL, &g->pem);
  g->app.w = w;
  g->app.agent = i;
  tcp_skin_init(&g->tcp, w, false, i);
  g->node = (struct sim_node){.name = g->name,
                              .host = place(w, 1, i, w->cfg.agent_class),
                              .ud = g,
                              .udp_in = agent_node_in,
                              .tick = agent_node_tick,
                              .drain = agent_node_drain,
                              .deadline = agent_node_deadline};
  sim_add(w, &g->node);
  sim_agent_start(w, i);
}

/* --- files are read again --- */

void sim_agent_read(struct sim *w, int i) {
  struct sim_agent *g = &w->agents[i];
  struct ztna_identity id = pki_identity(&g->pem);
  struct sbuf crl = {0};
  char why[200];

  if (!g->core) return;
  pki_crl(w->pki, &crl);
  id.crl = crl.s;
  id.crl_len = crl.len;
  need(ztna_agent_set_identity(g->core, &id, w->now, why, sizeof(why)) == 0,
       why);
  sbuf_done(&crl);
}

void sim_agent_renew(struct sim *w, int i) {
  struct sim_agent *g = &w->agents[i];

  make_pem(w, ROLE_AGENT, g->name, NULL, &g->pem);
  sim_agent_read(w, i);
}

void sim_connector_read(struct sim *w, int i) {
  struct sim_connector *c = &w->connectors[i];
  struct tls *former = c->tls;

  c->tls = make_tls(w, &c->pem);
  if (c->core) connector_set_tls(c->core, c->tls, w->now);
  tls_free(former);
}

void sim_connector_renew(struct sim *w, int i) {
  struct sim_connector *c = &w->connectors[i];

  make_pem(w, ROLE_CONNECTOR, c->name, "*", &c->pem);
  sim_connector_read(w, i);
}

static void read_relay(struct sim *w, struct sim_relay *r) {
  struct tls *former = r->tls;

  r->tls = make_tls(w, &r->pem);
  if (r->core) relay_set_tls(r->core, r->tls, w->now);
  tls_free(former);
}

void sim_relay_read(struct sim *w) {
  read_relay(w, &w->relay);
  if (w->relay2.host) read_relay(w, &w->relay2);
}

void sim_relay_renew(struct sim *w) {
  struct sim_relay *const v[] = {&w->relay, &w->relay2};

  for (int i = 0; i < 2; i++)
    if (v[i]->host)
      make_pem(w, relay_role(w), v[i]->node.name, v[i]->host, &v[i]->pem);
  sim_relay_read(w);
}

/* --- life --- */

struct sim *sim_new(const struct sim_config *cfg) {
  struct sim *w = calloc(1, sizeof(*w));

  need(w, "no memory");
  sim_free(current); /* a failed test left it */
  current = w;
  w->cfg = *cfg;
  if (!w->cfg.delay) w->cfg.delay = 10 * MS;
  w->now = SEC;
  seeded_init(&w->rnd, cfg->seed);
  seeded_init(&tls_rnd, ~cfg->seed);
  need(tls_global_init(&tls_rnd.rng, unix_now) == 0, "no TLS");
  log_to(on_line, w);
  w->net = vnet_new(cfg->seed + 1, w->now);
  w->pki = pki_new("example.org", SIM_EPOCH);
  need(w->pki, "no certificates");
  make_relay(w, &w->relay, "r1", RELAY_NAME, "203.0.113.1:4433",
             "[2001:db8::1]:4433");
  if (w->cfg.n_relays > 1)
    make_relay(w, &w->relay2, "r2", RELAY2_NAME, "203.0.113.2:4433",
               "[2001:db8::2]:4433");
  for (int i = 0; i < cfg->n_connectors; i++) make_connector(w, i);
  for (int i = 0; i < cfg->n_agents; i++) make_agent(w, i);
  return w;
}

void sim_free(struct sim *w) {
  if (!w) return;
  w->net->on_wire = NULL;
  for (int i = 0; i < w->cfg.n_agents; i++) {
    ztna_agent_free(w->agents[i].core);
    pki_pem_done(&w->agents[i].pem);
  }
  for (int i = 0; i < w->cfg.n_connectors; i++) {
    struct sim_connector *c = &w->connectors[i];

    connector_free(c->core);
    c->core = NULL;
    for (int k = 0; k < SIM_FLOWS; k++) c->backends[k].open = false;
    tls_free(c->tls);
    pki_pem_done(&c->pem);
  }
  relay_free(w->relay.core);
  tls_free(w->relay.tls);
  relay_free(w->relay2.core);
  tls_free(w->relay2.tls);
  pki_pem_done(&w->relay.pem);
  pki_pem_done(&w->relay2.pem);
  /* Calls that are still to come free what they hold. */
  for (int i = 0; i < SIM_AGENTS; i++) w->agents[i].app.every = 0;
  w->net->now = NEVER;
  for (int i = 0; i < w->n_nodes; i++) w->nodes[i]->on = false;
  while (vnet_step(w->net))
    ;
  for (int i = 0; i < SIM_AGENTS; i++) tcp_skin_done(&w->agents[i].tcp);
  vnet_free(w->net);
  pki_free(w->pki);
  log_to(NULL, NULL);
  tls_global_done();
  current = NULL;
  free(w);
}

/* --- time --- */

static uint64_t next_at(struct sim *w) {
  uint64_t at = vnet_deadline(w->net);

  for (int i = 0; i < w->n_nodes; i++)
    if (w->nodes[i]->on) at = time_min(at, w->nodes[i]->deadline(w->nodes[i]));
  return at;
}

static void tick_due(struct sim *w) {
  for (int i = 0; i < w->n_nodes; i++) {
    struct sim_node *n = w->nodes[i];

    if (!n->on || n->deadline(n) > w->now) continue;
    n->tick(n);
    n->drain(n);
  }
}

static void drain_all(struct sim *w) {
  for (int i = 0; i < w->n_nodes; i++)
    if (w->nodes[i]->on) w->nodes[i]->drain(w->nodes[i]);
}

static void spins(struct sim *w) {
  fprintf(stderr, "sim: a role spins at %.6f:", (double)w->now / 1e9);
  for (int i = 0; i < w->n_nodes; i++)
    if (w->nodes[i]->on && w->nodes[i]->deadline(w->nodes[i]) <= w->now)
      fprintf(stderr, " %s", w->nodes[i]->name);
  fprintf(stderr, "\n");
  abort();
}

bool sim_until(struct sim *w, bool (*is)(struct sim *w, void *ud), void *ud,
               uint64_t for_ns) {
  uint64_t until = w->now + for_ns, at;
  int turns = 0;

  drain_all(w);
  while ((at = next_at(w)) <= until) {
    if (at > w->now) {
      w->now = w->net->now = at;
      turns = 0;
    }
    if (turns++ > TURNS_MAX) spins(w);
    if (!vnet_step(w->net)) tick_due(w);
    if (is && is(w, ud)) return true;
  }
  w->now = w->net->now = until;
  return is && is(w, ud);
}

void sim_run(struct sim *w, uint64_t for_ns) {
  sim_until(w, NULL, NULL, for_ns);
}

/* --- counters --- */

uint64_t sim_counter(const char *text, const char *name, const char *reason) {
  char line[200];
  const char *at;

  if (reason)
    snprintf(line, sizeof(line), "\n%s{reason=\"%s\"} ", name, reason);
  else
    snprintf(line, sizeof(line), "\n%s ", name);
  at = strstr(text, line);
  if (!at && !strstr(text, name)) need(false, name);
  return at ? strtoull(at + strlen(line), NULL, 10) : 0;
}

static uint64_t counter_free(struct sbuf *b, const char *name,
                             const char *reason) {
  uint64_t n = sim_counter(b->s, name, reason);

  sbuf_done(b);
  return n;
}

uint64_t sim_relay_counter(const struct sim *w, const char *name,
                           const char *reason) {
  struct sbuf b = {0};

  relay_metrics(w->relay.core, &b);
  return counter_free(&b, name, reason);
}

uint64_t sim_connector_counter(const struct sim *w, int i, const char *name,
                               const char *reason) {
  struct sbuf b = {0};

  connector_metrics(w->connectors[i].core, &b);
  return counter_free(&b, name, reason);
}

uint64_t sim_agent_counter(const struct sim *w, int i, const char *name,
                           const char *reason) {
  char *text = ztna_agent_metrics(w->agents[i].core);
  uint64_t n = sim_counter(text, name, reason);

  free(text);
  return n;
}
