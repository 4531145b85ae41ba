/* fuzz_events.c - a hostile relay with a good certificate: what it writes into
 * /v1/events and into its answers to an agent and a connector, made by the
 * input out of what a true relay writes. Between inputs it tells the truth, and
 * both must come back to it. Any bytes are a list of choices, so there are no
 * seeds.
 *
 * What must hold: addresses of the agent and of services lie in its networks;
 * no context without a grant; packets go back to the pools. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "fuzz/fuzz.h"
#include "sim/garble.h"
#include "sim/inside.h"
#include "sim/world.h"
#include "transport/h3.h"

enum {
  INPUTS = 2000, /* per world */
  ACTIONS = 6,   /* per input */
  ROUTES = 32,
  AT_REST =
      1400, /* of a pool; 64 KB are held for a service that is asked for */
};

#define SETTLE (40 * MS)

struct session {
  struct h3 *h3; /* NULL: none */
  struct h3_req *events;
  char spiffe[256];
};

struct route { /* the newest are known */
  char id[33], grant[33], agent[17], connector[17];
  uint8_t handles[2][HANDLE_LEN];
};

static struct sim *w;
static struct sim_node relay;
static struct quic *q;
static struct session agent, connector;
static struct route routes[ROUTES];
static unsigned n_routes, n_inputs;
static struct garble *lie; /* NULL: it tells the truth */
static char text[GARBLE_ROOM];

/* --- what it writes --- */

static size_t truth_or_lie(json_t *o) {
  struct garble honest = {0};

  return garble_json(lie ? lie : &honest, o, text);
}

static void line(struct session *s, json_t *o) {
  size_t len = truth_or_lie(o);

  if (s->events) h3_line(s->events, text, len);
}

static void respond(struct h3_req *r, int status, json_t *o) {
  static const int odd[] = {200, 201, 204, 400, 403, 404, 429, 500, 503, 299};
  size_t len;

  if (lie && garble_pick(lie, 8) == 1) status = odd[garble_pick(lie, 10)];
  len = truth_or_lie(o);
  h3_respond(r, status, text, len);
}

/* --- what is true --- */

static json_t *tunnel(void) {
  return json_pack("[s, s]", "100.64.0.7", "fd5a:64::7");
}

static json_t *service_addrs(void) {
  return json_pack("[s, s]", "10.100.0.10", "fd5a:10::10");
}

static struct route *last_route(void) {
  return &routes[n_routes ? (n_routes - 1) % ROUTES : 0];
}

static struct route *route_new(void) {
  struct route *r = &routes[n_routes++ % ROUTES];
  uint8_t raw[16];

  rng_fill(&w->rnd.rng, raw, sizeof(raw));
  hex_print(raw, 16, r->id);
  rng_fill(&w->rnd.rng, raw, sizeof(raw));
  hex_print(raw, 16, r->grant);
  rng_fill(&w->rnd.rng, r->handles[0], sizeof(r->handles));
  hex_print(r->handles[0], HANDLE_LEN, r->agent);
  hex_print(r->handles[1], HANDLE_LEN, r->connector);
  return r;
}

static json_t *grant_json(const struct route *r) {
  return json_pack("{s:s, s:s, s:s, s:o, s:[s, s], s:[[i, i, s], [i, i, s]], "
                   "s:i, s:s}",
                   "id", r->grant, "route", r->id, "service", "echo",
                   "addresses", service_addrs(), "protocols", "udp", "icmp",
                   "ports", 1, 100, "udp", 0, 65535, "any", "lease", 20000,
                   "rule", "lie");
}

static json_t *handles_json(const struct route *r) {
  return json_pack("{s:s, s:s}", "agent", r->agent, "connector", r->connector);
}

static json_t *route_request(const struct route *r) {
  return json_pack("{s:s, s:i, s:s, s:s, s:s, s:o, s:o, s:i, s:s, s:o}",
                   "event", "route-request", "n", 1, "route", r->id, "agent",
                   agent.spiffe, "observed", "192.0.2.1:1", "handles",
                   handles_json(r), "addresses", tunnel(), "rtt", 2, "ticket",
                   "c0ffee", "grant", grant_json(r));
}

static json_t *granted(const struct route *r) {
  return json_pack("{s:o, s:s, s:s, s:o, s:i, s:s}", "grant", grant_json(r),
                   "route", r->id, "connector", connector.spiffe, "handles",
                   handles_json(r), "rtt", 2, "ticket", "c0ffee");
}

static json_t *services_json(void) {
  return json_pack("[{s:s, s:o, s:[s, s], s:s}, {s:s, s:[s], s:[[s, i]], s:s}]",
                   "id", "echo", "addresses", service_addrs(), "protocols",
                   "udp", "icmp", "state", "up", "id", "other", "addresses",
                   "10.100.0.11", "ports", "udp", 7, "state", "no-connector");
}

static json_t *services_event(const char *name) {
  json_t *list = services_json();

  if (!strcmp(name, "services-changed")) {
    json_object_set_new(json_array_get(list, 0), "move",
                        json_string("draining"));
    json_object_set_new(json_array_get(list, 1), "state",
                        json_string("backend-down"));
  }
  return json_pack("{s:s, s:i, s:s, s:o, s:o}", "event", name, "n", 0,
                   "observed", "192.0.2.1:1", "services", list, "addresses",
                   tunnel());
}

static json_t *self_json(const struct session *s) {
  return json_pack("{s:s, s:s, s:o, s:{s:i}, s:i}", "identity", s->spiffe,
                   "observed", "192.0.2.1:1", "addresses", tunnel(), "limits",
                   "grants", 64, "time", SIM_EPOCH);
}

static json_t *problem(struct garble *g) {
  return json_pack("{s:s, s:s, s:i, s:s, s:s, s:s}", "type", "urn:ztna:x",
                   "title", "no", "status", 403, "reason", garble_word(g),
                   "detail", "because", "fix", "nobody");
}

/* --- requests --- */

static void on_grants(struct h3_req *r) {
  const struct route *v;

  if (lie && garble_pick(lie, 4) == 1) {
    respond(r, 403, problem(lie));
    return;
  }
  v = route_new();
  line(&connector, route_request(v));
  respond(r, 201, granted(v));
}

static void on_route_closed(struct h3_req *r, const char *id) {
  line(&connector, json_pack("{s:s, s:s, s:s}", "event", "route-closed",
                             "route", id, "reason", "idle"));
  h3_respond(r, 204, NULL, 0);
}

static void on_events(struct session *s, struct h3_req *r) {
  if (lie && garble_pick(lie, 8) == 1) {
    respond(r, 200, services_event("snapshot"));
    return;
  }
  s->events = r;
  h3_begin_lines(r);
  line(s, services_event("snapshot"));
}

static void on_request(struct h3 *h3, void *ud, struct h3_req *r) {
  static const char route_path[] = "/v1/routes/";
  struct session *s = ud;
  const char *path = h3_path(r);

  if (!strcmp(path, "/v1/self"))
    respond(r, 200, self_json(s));
  else if (!strcmp(path, "/v1/events"))
    on_events(s, r);
  else if (!strcmp(path, "/v1/connector"))
    respond(r, 200,
            json_pack("{s:[o], s:[{s:s, s:o}]}", "grants",
                      grant_json(last_route()), "services", "id", "echo",
                      "addresses", service_addrs()));
  else if (!strcmp(path, "/v1/grants"))
    on_grants(r);
  else if (!strncmp(path, route_path, strlen(route_path)) &&
           !strcmp(h3_method(r), "DELETE"))
    on_route_closed(r, path + strlen(route_path));
  else
    h3_respond(r, 204, NULL, 0);
}

/* --- sessions: the newest of each role counts --- */

struct door { /* user of a connection until its peer is known, and after */
  struct session *s;
  struct h3 *h3;
};

static int on_ready(struct h3 *h3, void *ud, const struct identity *peer) {
  struct door *d = ud;

  d->s = peer->role == ROLE_AGENT ? &agent : &connector;
  d->s->h3 = h3;
  d->s->events = NULL;
  snprintf(d->s->spiffe, sizeof(d->s->spiffe), "%s", peer->spiffe);
  return 0;
}

static void on_end(struct h3 *h3, void *ud, const struct quic_end *why) {
  struct door *d = ud;

  if (d->s && d->s->h3 == h3) d->s->h3 = NULL, d->s->events = NULL;
  free(d);
}

static void on_door_request(struct h3 *h3, void *ud, struct h3_req *r) {
  struct door *d = ud;

  if (d->s && d->s->h3 == h3)
    on_request(h3, d->s, r);
  else
    h3_respond(r, 503, NULL, 0);
}

static void on_gone(struct h3 *h3, void *ud, struct h3_req *r) {
  struct door *d = ud;

  if (d->s && d->s->events == r) d->s->events = NULL;
}

static const struct h3_ops ops = {.on_ready = on_ready,
                                  .on_end = on_end,
                                  .on_request = on_door_request,
                                  .on_gone = on_gone};

static void *on_accept(void *ud, struct quic_conn *c,
                       const struct quic_initial *in) {
  struct door *d = calloc(1, sizeof(*d));

  d->h3 = h3_new(true, NULL, &ops, d);
  h3_attach(d->h3, c);
  return d->h3;
}

/* --- the node --- */

static bool forward(const struct dgram *d, const uint8_t *data, size_t len) {
  const uint8_t *h = packet_handle(data, len);
  struct dgram out = {.data = data, .len = (uint32_t)len, .seg = (uint16_t)len};

  for (int i = 0; h && i < 2 * ROUTES; i++) {
    struct session *to = i % 2 ? &connector : &agent;

    if (memcmp(routes[i / 2].handles[i % 2], h, HANDLE_LEN) || !to->h3)
      continue;
    out.remote = quic_remote(h3_conn(to->h3));
    vnet_send(relay.host, &out);
    return true;
  }
  return false;
}

static void node_in(struct sim_node *n, const struct dgram *d) {
  for (uint32_t off = 0; off < d->len; off += d->seg) {
    size_t len = d->len - off < d->seg ? d->len - off : d->seg;

    if (!forward(d, d->data + off, len))
      quic_udp_in(q, w->now, &d->remote, &d->local, d->ecn, d->data + off, len);
  }
}

static void node_tick(struct sim_node *n) { quic_tick(q, w->now); }
static uint64_t node_deadline(struct sim_node *n) { return quic_deadline(q); }

static void node_drain(struct sim_node *n) {
  struct dgram v[16];
  int got;

  while ((got = quic_next(q, w->now, v, 16)) > 0)
    for (int i = 0; i < got; i++) vnet_send(n->host, &v[i]);
}

/* --- what the input does --- */

static json_t *connector_event(struct garble *g) {
  const struct route *r = last_route();

  switch (garble_pick(g, 7)) {
  case 0:
    return route_request(route_new());
  case 1: /* again, as after a restart */
    return route_request(r);
  case 2:
    return json_pack("{s:s, s:o}", "event", "grant-changed", "grant",
                     grant_json(r));
  case 3:
    return json_pack("{s:s, s:s, s:i}", "event", "grant-renewed", "grant",
                     r->grant, "lease", 300000);
  case 4:
    return json_pack("{s:s, s:s, s:s}", "event", "grant-closed", "grant",
                     r->grant, "reason", garble_word(g));
  case 5:
    return json_pack("{s:s, s:s, s:s}", "event", "route-closed", "route", r->id,
                     "reason", garble_word(g));
  default:
    return json_pack("{s:s, s:i}", "event", "heartbeat", "n", 7);
  }
}

static json_t *agent_event(struct garble *g) {
  const struct route *r = last_route();

  switch (garble_pick(g, 6)) {
  case 0:
    return services_event("snapshot");
  case 1:
  case 2:
    return services_event("services-changed");
  case 3:
    return json_pack("{s:s, s:s, s:s}", "event", "grant-closed", "grant",
                     r->grant, "reason", garble_word(g));
  case 4:
    return json_pack("{s:s, s:s, s:s}", "event", "route-closed", "route", r->id,
                     "reason", garble_word(g));
  default:
    return json_pack("{s:s, s:i, s:[s]}", "event", "drain", "after", 10,
                     "relays", "relay.test:4433");
  }
}

static void close_session(struct session *s, struct garble *g) {
  if (s->h3) quic_close(h3_conn(s->h3), 1 + garble_pick(g, REASON_N - 1), NULL);
}

static void act(struct garble *g) {
  for (int i = 0; i < ACTIONS && (g->left || !i); i++) {
    unsigned what = garble_pick(g, 256);

    if (what < 110)
      line(&connector, connector_event(g));
    else if (what < 200)
      line(&agent, agent_event(g));
    else if (what < 250)
      app_udp(&w->agents[0].app, what % 2 ? "echo" : "other", what & 4, 64);
    else if (what < 252)
      close_session(&connector, g);
    else if (what == 252)
      close_session(&agent, g);
  }
  relay.drain(&relay);
}

/* --- the world --- */

static bool are_there(struct sim *s, void *ud) {
  return agent.events && connector.events;
}

static void world_end(void) {
  if (!w) return;
  lie = NULL;
  sim_remove(&relay);
  quic_free(q);
  sim_free(w);
  w = NULL;
}

static void relay_begin(void) {
  struct quic_config cfg = {.tls = w->relay.tls,
                            .rng = &w->rnd.rng,
                            .retry = QUIC_RETRY_NEVER,
                            .accept_ops = h3_server_ops(),
                            .accept_params = h3_params(true),
                            .on_accept = on_accept,
                            .ud = w};

  q = quic_new(&cfg);
  relay = (struct sim_node){.name = "liar",
                            .on = true,
                            .host = w->relay.node.host,
                            .udp_in = node_in,
                            .tick = node_tick,
                            .drain = node_drain,
                            .deadline = node_deadline};
  sim_add(w, &relay);
}

static void world_begin(void) {
  static bool once;
  struct sim_config cfg = {.n_agents = 1, .n_connectors = 1, .delay = MS};

  if (!once) atexit(world_end);
  once = true;
  cfg.seed = n_inputs;
  memset(routes, 0, sizeof(routes));
  n_routes = 0;
  memset(&agent, 0, sizeof(agent));
  memset(&connector, 0, sizeof(connector));
  w = sim_new(&cfg);
  sim_relay_stop(w);
  relay_begin();
  assert(sim_until(w, are_there, NULL, 5 * SEC));
  sim_run(w, SEC);
  app_udp(&w->agents[0].app, "echo", false, 64);
  sim_run(w, SEC);
  assert(w->agents[0].app.n_got == 1);
}

static bool is_answered(struct sim *s, void *ud) {
  return w->agents[0].app.n_got != *(uint64_t *)ud;
}

/* With an honest relay all is well again. */
static void check_recovery(void) {
  struct app *app = &w->agents[0].app;
  uint64_t before = app->n_got;
  bool answered = false;

  if (agent.h3) quic_close(h3_conn(agent.h3), REASON_SHUTTING_DOWN, NULL);
  if (connector.h3)
    quic_close(h3_conn(connector.h3), REASON_SHUTTING_DOWN, NULL);
  relay.drain(&relay);
  sim_run(w, SEC);
  assert(sim_until(w, are_there, NULL, 70 * SEC));
  for (int i = 0; i < 100 && !answered; i++) {
    app_udp(app, "echo", false, 64);
    answered = sim_until(w, is_answered, &before, SEC);
  }
  if (!answered) puts(ztna_agent_status(w->agents[0].core));
  assert(answered);
}

static bool is_ours(const struct ztna_addr *a) {
  static const char *const networks[] = {"10.100.0.0/24", "fd5a:10::/64",
                                         "100.64.0.0/16", "fd5a:64::/64"};
  struct ztna_prefix p;

  for (int i = 0; i < 4; i++)
    if (ztna_prefix_parse(&p, networks[i]) == 0 && ztna_prefix_has(&p, a))
      return true;
  return false;
}

static void check(void) {
  static struct ztna_addr v[2048];
  struct ztna_agent *a = w->agents[0].core;
  int n = ztna_agent_addresses(a, v);

  for (int i = 0; i < n; i++) assert(is_ours(&v[i]));
  n = ztna_agent_routes(a, v, 2048);
  for (int i = 0; i < n; i++) assert(is_ours(&v[i]));
  assert(inside_contexts_are_granted(w->connectors[0].core));
  assert(inside_connector_packets(w->connectors[0].core) <= AT_REST);
  assert(inside_agent_packets(a) <= AT_REST);
  if (n_inputs % 64) return;
  free(ztna_agent_status(a));
  free(ztna_agent_metrics(a));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const char *words[] = {"event",
                                "route-request",
                                "grant-changed",
                                "grant-closed",
                                "route-closed",
                                "snapshot",
                                "services-changed",
                                "echo",
                                "other",
                                "udp",
                                "icmp",
                                "tcp",
                                "any",
                                "up",
                                "no-connector",
                                "10.100.0.10",
                                "10.100.0.77",
                                "fd5a:10::77",
                                "100.64.0.7",
                                "127.0.0.1",
                                "::ffff:10.100.0.1",
                                "fe80::1%3",
                                "224.0.0.1",
                                "10.100.0.10:53",
                                "expired",
                                "idle",
                                "revoked",
                                "replaced",
                                "not-allowed",
                                "shutting-down",
                                "spiffe://example.org/agent/agent-0",
                                "spiffe://example.org/connector/connector-0",
                                "spiffe://example.org/connector/x",
                                "spiffe://other.org/agent/a",
                                "00112233445566778899aabbccddeeff",
                                "0123456789abcdef",
                                NULL,
                                NULL,
                                NULL};
  struct garble g = {data, size, words, sizeof(words) / sizeof(*words)};

  if (n_inputs++ % INPUTS == 0) {
    if (w) check_recovery();
    world_end();
    world_begin();
  }
  if (!are_there(w, NULL)) assert(sim_until(w, are_there, NULL, 70 * SEC));
  words[g.n_words - 3] = last_route()->id;
  words[g.n_words - 2] = last_route()->grant;
  words[g.n_words - 1] = last_route()->agent;
  lie = &g;
  act(&g);
  sim_run(w, SETTLE);
  lie = NULL;
  check();
  return 0;
}
