#include "relay_world.h"

#include "base/hex.h"
#include "base/log.h"
#include "codec/handle.h"
#include "part/policy.h"

/* --- the wire --- */

static struct world *current;

static void look(struct world *w, const struct dgram *d) {
  for (uint32_t off = 0; off < d->len; off += d->seg) {
    size_t len = d->len - off < d->seg ? d->len - off : d->seg;
    const uint8_t *h = packet_handle(d->data + off, len);
    if (!h || memcmp(h, w->watched, HANDLE_LEN)) continue;
    w->n_seen++;
    w->seen = *d;
  }
}

static void put(struct world *w, const struct ztna_addr *from,
                const struct dgram *d) {
  for (uint32_t off = 0; off < d->len; off += d->seg) {
    assert_in_range(w->n_wire, 0, WORLD_WIRE - 1);
    struct world_packet *p = &w->wire[w->n_wire++];
    p->at = w->now + WORLD_DELAY;
    p->from = *from;
    p->to = d->remote;
    p->len = d->len - off < d->seg ? d->len - off : d->seg;
    assert_in_range(p->len, 1, sizeof(p->data));
    memcpy(p->data, d->data + off, p->len);
  }
}

static void drain_relay(struct world *w) {
  struct dgram v[16];
  int n;
  while ((n = relay_next(w->relay, w->now, v, 16)) > 0)
    for (int i = 0; i < n; i++) {
      look(w, &v[i]);
      put(w, v[i].local.family ? &v[i].local : &w->relay_addr, &v[i]);
    }
}

static void drain_client(struct client *c) {
  struct dgram v[16];
  int n;
  while ((n = quic_next(c->q, c->w->now, v, 16)) > 0)
    for (int i = 0; i < n && !c->down; i++) put(c->w, &c->addr, &v[i]);
}

static uint64_t drain(struct world *w) {
  drain_relay(w);
  uint64_t at = relay_deadline(w->relay);
  for (size_t i = 0; i < w->n_clients; i++) {
    drain_client(&w->clients[i]);
    at = time_min(at, quic_deadline(w->clients[i].q));
  }
  return at;
}

static void deliver(struct world *w, const struct world_packet *p) {
  struct dgram d = {.remote = p->from,
                    .local = p->to,
                    .data = p->data,
                    .len = (uint32_t)p->len,
                    .seg = (uint16_t)p->len};
  if (ztna_addr_equal(&p->to, &w->relay_addr)) {
    relay_udp_in(w->relay, w->now, &d);
    drain_relay(w); /* the bytes are lent until then */
    return;
  }
  for (size_t i = 0; i < w->n_clients; i++) {
    struct client *c = &w->clients[i];
    if (ztna_addr_equal(&c->addr, &p->to) && !c->down)
      quic_udp_in(c->q, w->now, &p->from, &p->to, 0, p->data, p->len);
  }
}

static void tick(struct world *w) {
  relay_tick(w->relay, w->now);
  for (size_t i = 0; i < w->n_clients; i++) quic_tick(w->clients[i].q, w->now);
}

static struct world_packet *first_packet(struct world *w) {
  struct world_packet *first = NULL;
  for (size_t i = 0; i < w->n_wire; i++)
    if (!first || w->wire[i].at < first->at) first = &w->wire[i];
  return first;
}

/* One step; false: nothing more until then. */
bool world_step(struct world *w, uint64_t until) {
  static struct world_packet p;
  uint64_t at = drain(w);
  struct world_packet *first = first_packet(w);
  if (first && first->at <= at) {
    if (first->at > until) return false;
    p = *first;
    memmove(first, first + 1,
            (size_t)(w->wire + --w->n_wire - first) * sizeof(p));
    if (p.at > w->now) w->now = p.at;
    deliver(w, &p);
    return true;
  }
  if (at > until) return false;
  if (at > w->now) w->now = at;
  tick(w);
  return true;
}

void world_run(struct world *w, uint64_t for_ns) {
  uint64_t until = w->now + for_ns;
  while (world_step(w, until))
    ;
  w->now = until;
  tick(w);
  drain(w);
}

/* --- life --- */

static int64_t test_time(void) {
  return WORLD_NOW + (current ? (int64_t)(current->now / SEC) : 0);
}

static void on_line(void *ud, enum log_level level, const char *line) {
  struct world *w = ud;
  size_t n = strlen(w->log), len = strlen(line);
  if (getenv("ZTNA_TEST_LOG"))
    fprintf(stderr, "%8.3f %s\n", (double)w->now / 1e9, line);
  if (n + len + 2 > sizeof(w->log)) n = 0; /* old lines go */
  snprintf(w->log + n, sizeof(w->log) - n, "%s\n", line);
}

bool world_logged(const struct world *w, const char *text) {
  return strstr(w->log, text) != NULL;
}

struct policy *world_policy(const char *service, const char *agents,
                            uint16_t port) {
  char *who = (char *)agents, *what = (char *)service;
  struct policy_ports ports = {port, port};
  struct policy_rule rule = {.name = "the rule",
                             .agents = &who,
                             .n_agents = 1,
                             .services = &what,
                             .n_services = 1,
                             .protocols = PROTO_UDP | PROTO_TCP | PROTO_ICMP,
                             .ports = &ports,
                             .n_ports = port ? 1 : 0};
  struct policy_config cfg = {.rules = &rule, .n_rules = 1};
  struct policy *p;
  char why[200];
  assert_int_equal(policy_new(&p, &cfg, why, sizeof(why)), 0);
  return p;
}

void world_options(struct world *w, struct relay_options *o) {
  static const struct relay_fixed_service fixed[] = {{.id = "fixed"}};
  static const char *const relays[] = {"relay-b.example.org:4433"};
  *o = (struct relay_options){.tls = w->relay_tls,
                              .rng = &w->rnd.rng,
                              .services = fixed,
                              .n_services = 1,
                              .retry = QUIC_RETRY_AUTO,
                              .max_connections = 100,
                              .max_routes = 100,
                              .relays = relays,
                              .n_relays = 1,
                              .audit = 64,
                              .unix_at_start =
                                  WORLD_NOW + (int64_t)(w->now / SEC)};
  memset(o->state_key, 0x5a, sizeof(o->state_key));
  ztna_prefix_parse(&o->service_pool[0], "10.100.0.0/24");
  ztna_prefix_parse(&o->service_pool[1], "fd5a:10::/64");
  ztna_prefix_parse(&o->agent_pool[0], "100.64.0.0/16");
  ztna_prefix_parse(&o->agent_pool[1], "fd5a:64::/64");
  o->policy = world_policy("*", "*", 0);
}

struct world *world_new(void) {
  static const char *const hosts[] = {"203.0.113.1", NULL};
  static struct seeded tls_rnd;
  static bool begun;
  struct world *w = calloc(1, sizeof(*w));
  struct relay_options o;

  if (!begun) {
    seeded_init(&tls_rnd, 11);
    assert_int_equal(tls_global_init(&tls_rnd.rng, test_time), 0);
    begun = true;
  }
  current = w;
  log_to(on_line, w);
  seeded_init(&w->rnd, 7);
  w->now = SEC;
  w->wire = calloc(WORLD_WIRE, sizeof(*w->wire));
  w->relay_addr = test_addr("203.0.113.1:4433");
  w->pki = pki_new("example.org", WORLD_NOW);
  w->relay_tls = pki_tls(w->pki, ROLE_RELAY, "eu1", hosts);
  assert_non_null(w->relay_tls);
  world_options(w, &o);
  w->relay = relay_new(&o, w->now);
  assert_non_null(w->relay);
  return w;
}

void world_restart(struct world *w) {
  struct relay_options o;
  relay_free(w->relay);
  world_options(w, &o);
  w->relay = relay_new(&o, w->now);
  assert_non_null(w->relay);
}

void world_free(struct world *w) {
  relay_free(w->relay);
  for (size_t i = 0; i < w->n_clients; i++) {
    quic_free(w->clients[i].q);
    tls_free(w->clients[i].tls);
    json_decref(w->clients[i].events);
  }
  tls_free(w->relay_tls);
  pki_free(w->pki);
  free(w->wire);
  log_to(NULL, NULL);
  current = NULL;
  free(w);
}

/* --- forwarding --- */

bool passes(struct world *w, const struct ztna_addr *from, const char *handle) {
  uint8_t packet[100] = {0x40};
  struct dgram d = {.remote = *from,
                    .local = w->relay_addr,
                    .data = packet,
                    .len = sizeof(packet),
                    .seg = sizeof(packet),
                    .ecn = 1};
  assert_true(hex_parse(w->watched, HANDLE_LEN, handle));
  memcpy(packet + 1, w->watched, HANDLE_LEN);
  drain(w);
  w->n_seen = 0;
  relay_udp_in(w->relay, w->now, &d);
  drain_relay(w);
  return w->n_seen == 1;
}
