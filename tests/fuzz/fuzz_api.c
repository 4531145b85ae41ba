/* fuzz_api.c - requests of an agent, a connector and an admin with good
 * certificates and bad manners to a relay: method, path and body, made by the
 * input out of true ones. Beside them an honest agent uses the service of an
 * honest connector. Any bytes are a list of choices, so there are no seeds.
 *
 * What must hold: every request is answered; the honest ones are not disturbed;
 * when the others are gone the relay remembers nothing of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz.h"
#include "sim/evil.h"
#include "sim/garble.h"
#include "sim/world.h"
#include "transport/h3.h"

enum {
  INPUTS = 2000, /* per world */
  ROUND = 50,    /* inputs between two looks at the whole */
  ACTIONS = 4,   /* per input */
};

#define SETTLE (60 * MS)
#define ANSWER_IN (10 * SEC)

struct client {
  struct sim_node node;
  enum role role;
  struct tls *tls;
  struct quic *q;
  struct h3 *h3; /* NULL: no connection */
  bool ready, declared;
  int n_waiting;
};

static struct sim *w;
static struct client agent, connector, admin;
static struct client *const clients[] = {&agent, &connector, &admin};
static unsigned n_inputs;
static bool obliging; /* the connector says yes to every request */
static char honest_grant[40], honest_route[40];
static char grant_ends[80], route_ends[80]; /* in the relay's log */
static char last_grant[40], last_route[40], tickets[2][2000];
static char text[GARBLE_ROOM];

/* --- clients --- */

static void keep(char *to, size_t room, const char *s) {
  if (*s) snprintf(to, room, "%s", s);
}

static void on_done(void *ud, struct h3_call *call, int status,
                    const char *body, size_t len) {
  struct client *c = ud;
  json_t *j;

  c->n_waiting--;
  assert(!status || (status >= 200 && status < 600));
  if (!len) return;
  j = json_loadb(body, len, JSON_REJECT_DUPLICATES, NULL);
  assert(j);
  if (status >= 400) assert(*evil_text(j, "reason"));
  keep(last_grant, sizeof(last_grant), evil_text(j, "grant.id"));
  keep(last_route, sizeof(last_route), evil_text(j, "route"));
  keep(tickets[0], sizeof(tickets[0]), evil_text(j, "ticket"));
  json_decref(j);
}

static void call(struct client *c, const char *method, const char *path,
                 const char *body, size_t len);

static void on_line(void *ud, struct h3_call *call_, const char *line,
                    size_t len) {
  struct client *c = ud;
  json_t *e = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
  char path[100];

  assert(json_is_object(e) && *evil_text(e, "event"));
  if (c == &connector && !strcmp(evil_text(e, "event"), "route-request")) {
    keep(last_route, sizeof(last_route), evil_text(e, "route"));
    keep(tickets[1], sizeof(tickets[1]), evil_text(e, "ticket"));
    snprintf(path, sizeof(path), "/v1/routes/%s/answer", last_route);
    if (obliging) call(c, "POST", path, "{\"ok\":true}", 11);
  }
  json_decref(e);
}

static void on_events_done(void *ud, struct h3_call *c, int status,
                           const char *body, size_t len) {}

/* Events have no end that could be waited for. */
static void call(struct client *c, const char *method, const char *path,
                 const char *body, size_t len) {
  if (!c->ready) return;
  if (!strncmp(path, "/v1/events", 10))
    h3_call(c->h3, method, path, body, len, on_events_done, on_line, c);
  else if (h3_call(c->h3, method, path, body, len, on_done, NULL, c))
    c->n_waiting++;
}

static int on_ready(struct h3 *h3, void *ud, const struct identity *peer) {
  struct client *c = ud;

  c->ready = true;
  if (c != &admin)
    h3_call(h3, "GET", "/v1/events", NULL, 0, on_events_done, on_line, c);
  return 0;
}

static void on_end(struct h3 *h3, void *ud, const struct quic_end *why) {
  struct client *c = ud;

  if (c->h3 != h3) return;
  c->h3 = NULL;
  c->ready = c->declared = false;
}

static const struct h3_ops ops = {.on_ready = on_ready, .on_end = on_end};

static void dial(struct client *c) {
  struct quic_dial d = {.remote = sim_relay_addr(w),
                        .server_name = "relay.test",
                        .ops = h3_client_ops(),
                        .params = h3_params(false)};

  c->h3 = h3_new(false, "relay.test:4433", &ops, c);
  d.ud = c->h3;
  h3_attach(c->h3, quic_dial(c->q, &d, w->now));
}

static void node_in(struct sim_node *n, const struct dgram *d) {
  struct client *c = n->ud;

  for (uint32_t off = 0; off < d->len; off += d->seg)
    quic_udp_in(c->q, w->now, &d->remote, &d->local, d->ecn, d->data + off,
                d->len - off < d->seg ? d->len - off : d->seg);
}

static void node_tick(struct sim_node *n) {
  quic_tick(((struct client *)n->ud)->q, w->now);
}

static uint64_t node_deadline(struct sim_node *n) {
  return quic_deadline(((struct client *)n->ud)->q);
}

static void node_drain(struct sim_node *n) {
  struct dgram v[16];
  int got;

  while ((got = quic_next(((struct client *)n->ud)->q, w->now, v, 16)) > 0)
    for (int i = 0; i < got; i++) vnet_send(n->host, &v[i]);
}

static void client_begin(struct client *c, enum role role, const char *name,
                         const char *addr) {
  static const char *const some[] = {"echo", "web", "db", NULL};
  struct quic_config cfg = {.rng = &w->rnd.rng, .retry = QUIC_RETRY_NEVER};

  *c = (struct client){.role = role};
  cfg.tls = c->tls =
      pki_tls(w->pki, role, name, role == ROLE_CONNECTOR ? some : NULL);
  c->q = quic_new(&cfg);
  c->node = (struct sim_node){.name = name,
                              .on = true,
                              .ud = c,
                              .udp_in = node_in,
                              .tick = node_tick,
                              .drain = node_drain,
                              .deadline = node_deadline};
  c->node.host = vnet_add(w->net, addr, NULL, w->cfg.delay);
  sim_add(w, &c->node);
}

static void client_end(struct client *c) {
  sim_remove(&c->node);
  quic_free(c->q);
  tls_free(c->tls);
}

/* --- requests --- */

#define INSTANCE "00112233445566778899aabbccddeeff"
#define CONNECTOR "spiffe://example.org/connector/trudy"

static json_t *wish(struct garble *g) {
  json_t *o =
      json_pack("{s:s, s:s}", "service", garble_pick(g, 2) ? "web" : "echo",
                "instance", INSTANCE);

  if (garble_pick(g, 4) == 1)
    json_object_set_new(o, "resume", json_string(tickets[garble_pick(g, 2)]));
  if (garble_pick(g, 4) == 1)
    json_object_set_new(o, "connector", json_string(garble_word(g)));
  if (garble_pick(g, 4) == 1)
    json_object_set_new(
        o, "avoid",
        json_string(garble_pick(g, 2) ? CONNECTOR : garble_word(g)));
  return o;
}

static json_t *registration(struct garble *g) {
  json_t *o = json_pack(
      "{s:s, s:[{s:s, s:[[s, i], [s, i]], s:[s, s], s:i, s:s}, {s:s}], s:[s]}",
      "instance", INSTANCE, "services", "id", "web", "ports", "udp", 9999,
      "tcp", 80, "protocols", "udp", "icmp", "weight", 1, "health", "up", "id",
      "db", "resume", tickets[1]);

  if (garble_pick(g, 2))
    json_object_set_new(o, "routes", json_pack("[s]", last_route));
  return o;
}

static json_t *health(struct garble *g) {
  return json_pack("{s:b, s:[{s:s, s:s}, {s:s}]}", "draining",
                   (int)garble_pick(g, 2), "services", "id", "web", "health",
                   garble_pick(g, 2) ? "up" : "down", "id", garble_word(g));
}

static json_t *answer(struct garble *g) {
  return garble_pick(g, 2) ? json_pack("{s:b}", "ok", 1)
                           : json_pack("{s:s}", "refuse", garble_word(g));
}

struct request {
  const char *method;
  char path[4200];
  json_t *body; /* NULL: none */
};

static void some_request(struct garble *g, struct client *c,
                         struct request *r) {
  static const char *const methods[] = {"GET", "PUT", "POST", "DELETE",
                                        "PATCH"};
  const char *route = garble_pick(g, 4) ? last_route : garble_word(g);
  const char *grant = garble_pick(g, 4) ? last_grant : garble_word(g);
  unsigned kind = garble_pick(g, 8);

  *r = (struct request){.method = "GET", .path = "/v1/self"};
  if (kind < 4 && c == &agent) {
    r->method = "POST";
    strcpy(r->path, "/v1/grants");
    r->body = wish(g);
  } else if (kind < 2 && c == &connector) {
    r->method = "PUT";
    strcpy(r->path, kind ? "/v1/connector" : "/v1/connector/health");
    r->body = kind ? registration(g) : health(g);
  } else if (kind < 4 && c == &connector) {
    r->method = "POST";
    snprintf(r->path, sizeof(r->path), "/v1/routes/%.2000s/answer", route);
    r->body = answer(g);
  } else if (kind < 4 && c == &admin) {
    snprintf(r->path, sizeof(r->path), "/v1/admin/%.2000s", garble_word(g));
  } else if (kind < 6) {
    r->method = "DELETE";
    snprintf(r->path, sizeof(r->path), "/v1/%s/%.2000s",
             kind == 4 ? "grants" : "routes", kind == 4 ? grant : route);
  } else if (kind == 6) {
    strcpy(r->path, garble_pick(g, 2) ? "/v1/services" : "/v1/events");
  }
  if (garble_pick(g, 16) == 1) r->method = methods[garble_pick(g, 5)];
}

/* Characters that HTTP lets through, anywhere. */
static void bend_path(struct garble *g, char *path) {
  size_t len = strlen(path) - 1, n;

  switch (garble_pick(g, 4)) {
  case 0:
    if (len)
      path[1 + garble_pick(g, 65536) % len] = (char)('!' + garble_pick(g, 94));
    break;
  case 1:
    path[1 + garble_pick(g, 65536) % (len + 1)] = 0;
    break;
  case 2:
    n = garble_pick(g, 200);
    memset(path + len + 1, '/' + (int)garble_pick(g, 2), n);
    path[len + 1 + n] = 0;
    break;
  default:
    strcat(path, garble_pick(g, 2) ? "?x=1" : "/answer");
  }
}

static void request(struct garble *g, struct client *c) {
  static struct request r;
  size_t len = 0;

  some_request(g, c, &r);
  if (garble_pick(g, 8) == 1) bend_path(g, r.path);
  if (r.body) {
    len = garble_json(g, r.body, text);
  } else if (garble_pick(g, 16) == 1) {
    len = garble_json(g, wish(g), text);
    r.body = NULL;
    call(c, r.method, r.path, text, len);
    return;
  }
  call(c, r.method, r.path, len ? text : NULL, len);
}

static void act(struct garble *g) {
  for (int i = 0; i < ACTIONS && (g->left || !i); i++) {
    unsigned what = garble_pick(g, 256);
    struct client *c = what < 130 ? &agent : what < 235 ? &connector : &admin;

    obliging = garble_pick(g, 4);
    if (what < 250)
      request(g, c);
    else if (what > 252 && clients[what - 253]->h3)
      quic_close(h3_conn(clients[what - 253]->h3),
                 garble_pick(g, 2) ? REASON_SHUTTING_DOWN : REASON_IDLE, NULL);
  }
}

/* --- the world --- */

static bool are_ready(struct sim *s, void *ud) {
  return agent.ready && connector.ready && admin.ready;
}

static void come_back(void) {
  char body[] = "{\"instance\":\"" INSTANCE "\",\"services\":[{\"id\":\"web\","
                "\"ports\":[[\"udp\",7]]}]}";

  if (are_ready(w, NULL) && connector.declared) return;
  for (int i = 0; i < 3; i++)
    if (!clients[i]->h3) dial(clients[i]);
  assert(sim_until(w, are_ready, NULL, 5 * SEC));
  connector.declared = true;
  call(&connector, "PUT", "/v1/connector", body, strlen(body));
}

static bool all_answered(struct sim *s, void *ud) {
  return !agent.n_waiting && !connector.n_waiting && !admin.n_waiting;
}

static bool is_served(struct sim *s, void *ud) {
  return w->agents[0].app.n_got != *(uint64_t *)ud;
}

static void check_round(void) {
  struct app *app = &w->agents[0].app;
  uint64_t before = app->n_got;

  assert(sim_until(w, all_answered, NULL, ANSWER_IN));
  app_udp(app, "echo", false, 64);
  assert(sim_until(w, is_served, &before, SEC));
  assert(app_is_clean(app) && !app->n_errors);
  assert(!sim_logged(w, grant_ends) && !sim_logged(w, route_ends));
  sim_log_clear(w);
}

/* Half a minute after them there is but one route with its grant. */
static void check_forgotten(void) {
  for (int i = 0; i < 3; i++)
    if (clients[i]->h3) quic_close(h3_conn(clients[i]->h3), REASON_IDLE, NULL);
  sim_run(w, 40 * SEC);
  assert(sim_relay_counter(w, "ztna_relay_connections", NULL) == 2);
  assert(sim_relay_counter(w, "ztna_relay_grants", NULL) == 1);
  assert(sim_relay_counter(w, "ztna_relay_routes", NULL) == 1);
  assert(sim_relay_counter(w, "ztna_relay_agents", NULL) == 1);
  assert(sim_relay_counter(w, "ztna_relay_connectors", NULL) == 1);
}

static void world_end(void) {
  if (!w) return;
  for (int i = 0; i < 3; i++) client_end(clients[i]);
  sim_free(w);
  w = NULL;
}

static void after(char *to, const char *mark) {
  const char *at = strstr(w->log, mark);

  assert(at);
  snprintf(to, 33, "%s", at + strlen(mark));
}

static void world_begin(void) {
  static bool once;
  struct sim_config cfg = {.n_agents = 1, .n_connectors = 1, .delay = MS};

  if (!once) atexit(world_end);
  once = true;
  cfg.seed = n_inputs;
  w = sim_new(&cfg);
  sim_run(w, SEC);
  app_udp(&w->agents[0].app, "echo", false, 64);
  sim_run(w, SEC);
  after(honest_grant, "grant made grant=");
  after(honest_route, "route open route=");
  snprintf(grant_ends, sizeof(grant_ends), "grant ended grant=%s",
           honest_grant);
  snprintf(route_ends, sizeof(route_ends), "route closed route=%s",
           honest_route);
  sim_log_clear(w);
  client_begin(&agent, ROLE_AGENT, "mallory", "192.0.2.66:6666");
  client_begin(&connector, ROLE_CONNECTOR, "trudy", "192.0.2.67:6667");
  client_begin(&admin, ROLE_ADMIN, "eve", "192.0.2.68:6668");
  come_back();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const char *const words[] = {
      "echo",
      "web",
      "db",
      "other",
      "udp",
      "tcp",
      "icmp",
      "up",
      "down",
      "not-allowed",
      "no-such-service",
      "services",
      "instance",
      "status",
      "metrics",
      "agents",
      "routes",
      "grants",
      INSTANCE,
      "ffeeddccbbaa99887766554433221100",
      "00000000000000000000000000000000",
      "spiffe://example.org/connector/trudy",
      "spiffe://example.org/connector/connector-0",
      "spiffe://example.org/agent/agent-0",
      honest_grant,
      honest_route,
      last_grant,
      last_route,
      tickets[0],
      tickets[1]};
  struct garble g = {data, size, words, sizeof(words) / sizeof(*words)};

  if (n_inputs++ % INPUTS == 0) {
    if (w) check_forgotten();
    world_end();
    world_begin();
  }
  come_back();
  act(&g);
  sim_run(w, SETTLE);
  if (n_inputs % ROUND == 0) check_round();
  return 0;
}
