/* relay_client.c - agents and connectors by hand: requests, events, answers. */
#include "relay_world.h"

/* --- clients --- */

static int on_ready(struct h3 *s, void *ud, const struct identity *peer) {
  struct client *c = ud;
  assert_int_equal(peer->role, ROLE_RELAY);
  c->ready = true;
  return 0;
}

static void on_end(struct h3 *s, void *ud, const struct quic_end *why) {
  struct client *c = ud;
  c->n_end++;
  c->end = *why;
  if (c->s == s) c->s = NULL;
  if (!c->s) c->ready = false;
}

static const struct h3_ops ops = {.on_ready = on_ready, .on_end = on_end};

struct client *client_with(struct world *w, struct tls *tls, const char *addr) {
  assert_in_range(w->n_clients, 0, WORLD_CLIENTS - 1);
  struct client *c = &w->clients[w->n_clients++];
  struct quic_config cfg = {.tls = tls, .rng = &w->rnd.rng};
  assert_non_null(tls);
  *c = (struct client){.w = w,
                       .tls = tls,
                       .addr = test_addr(addr),
                       .events = json_array(),
                       .instance = "00112233445566778899aabbccddeeff"};
  c->q = quic_new(&cfg);
  return c;
}

struct client *client_new(struct world *w, enum role role, const char *name,
                          const char *addr, const char *const *names) {
  return client_with(w, pki_tls(w->pki, role, name, names), addr);
}

void client_dial(struct client *c) {
  struct quic_dial d = {.remote = c->w->relay_addr,
                        .ops = h3_client_ops(),
                        .params = h3_params(false)};
  c->s = h3_new(false, "203.0.113.1:4433", &ops, c);
  d.server_name = "203.0.113.1";
  d.ud = c->s;
  h3_attach(c->s, quic_dial(c->q, &d, c->w->now));
  world_run(c->w, 100 * MS);
}

void client_bye(struct client *c) {
  quic_close(h3_conn(c->s), REASON_SHUTTING_DOWN, NULL);
  world_run(c->w, 100 * MS);
}

void client_vanish(struct client *c) {
  struct quic_config cfg = {.tls = c->tls, .rng = &c->w->rnd.rng};
  quic_free(c->q);
  c->q = quic_new(&cfg);
}

/* --- requests --- */

static void on_done(void *ud, struct h3_call *call, int status,
                    const char *body, size_t len) {
  struct reply *r = ud;
  r->done = true;
  r->status = status;
  r->body = len ? json_loadb(body, len, JSON_REJECT_DUPLICATES, NULL) : NULL;
}

void request_begin(struct client *c, const char *method, const char *path,
                   const char *body, struct reply *r) {
  *r = (struct reply){0};
  assert_non_null(c->s);
  assert_non_null(h3_call(c->s, method, path, body, body ? strlen(body) : 0,
                          on_done, NULL, r));
}

static struct reply last;

int request(struct client *c, const char *method, const char *path,
            const char *body) {
  struct world *w = c->w;
  uint64_t until = w->now + 6 * SEC;
  json_decref(last.body);
  request_begin(c, method, path, body, &last);
  while (!last.done && world_step(w, until))
    ;
  assert_true(last.done);
  world_run(w, 2 * WORLD_DELAY);
  return last.status;
}

json_t *answered(void) { return last.body; }

void reply_done(struct reply *r) {
  json_decref(r->body);
  r->body = NULL;
}

const char *answered_reason(void) {
  const char *s = json_string_value(json_object_get(last.body, "reason"));
  return s ? s : "";
}

/* --- events --- */

static void on_ignored(void *ud, struct h3_call *call, int status,
                       const char *body, size_t len) {}

static void answer_request(struct client *c, json_t *e) {
  char path[96];
  c->asked = e;
  if (c->answer == ANSWER_NOT) return;
  snprintf(path, sizeof(path), "/v1/routes/%s/answer", text_at(e, "route"));
  const char *body = c->answer == ANSWER_OK ? "{\"ok\": true}"
                                            : "{\"refuse\": \"not-allowed\"}";
  assert_non_null(
      h3_call(c->s, "POST", path, body, strlen(body), on_ignored, NULL, c));
}

static void on_event(void *ud, struct h3_call *call, const char *line,
                     size_t len) {
  struct client *c = ud;
  json_t *e = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
  assert_non_null(e);
  json_array_append_new(c->events, e);
  if (!strcmp(text_at(e, "event"), "route-request")) answer_request(c, e);
}

static void on_events_over(void *ud, struct h3_call *call, int status,
                           const char *body, size_t len) {
  struct client *c = ud;
  if (status) c->events_over = status;
}

static void read_events(struct client *c, const char *path) {
  assert_non_null(
      h3_call(c->s, "GET", path, NULL, 0, on_events_over, on_event, c));
  world_run(c->w, 3 * WORLD_DELAY);
}

void client_read_events(struct client *c) { read_events(c, "/v1/events"); }

int client_take_over(struct client *c, const char *connection) {
  char path[64];
  snprintf(path, sizeof(path), "/v1/events?instead=%s", connection);
  read_events(c, path);
  return c->events_over ? c->events_over : 200;
}

json_t *event_of(const struct client *c, const char *name) {
  for (size_t i = json_array_size(c->events); i > 0; i--) {
    json_t *e = json_array_get(c->events, i - 1);
    if (!strcmp(text_at(e, "event"), name)) return e;
  }
  return NULL;
}

size_t count_events(const struct client *c, const char *name) {
  size_t i, n = 0;
  json_t *e;
  json_array_foreach(c->events, i, e) n += !strcmp(text_at(e, "event"), name);
  return n;
}

void forget_events(struct client *c) {
  json_array_clear(c->events);
  c->asked = NULL;
}

const char *text_at(const json_t *o, const char *path) {
  char part[32];
  while (o && *path) {
    size_t n = strcspn(path, ".");
    snprintf(part, sizeof(part), "%.*s", (int)n, path);
    o = json_object_get(o, part);
    path += path[n] ? n + 1 : n;
  }
  const char *s = json_string_value(o);
  return s ? s : "";
}

/* --- the usual cast --- */

int connector_put(struct client *c, const char *services, const char *more) {
  char body[4096], *name, *rest, list[512];
  int n =
      snprintf(body, sizeof(body), "{\"instance\": \"%s\", %s \"services\": [",
               c->instance, more);
  snprintf(list, sizeof(list), "%s", services);
  const char *comma = "";
  for (name = strtok_r(list, " ", &rest); name;
       name = strtok_r(NULL, " ", &rest)) {
    n +=
        snprintf(body + n, sizeof(body) - (size_t)n,
                 "%s{\"id\": \"%s\", \"ports\": [[\"tcp\", 80], [\"udp\", 53]],"
                 "\"protocols\": [\"icmp\"]}",
                 comma, name);
    comma = ", ";
  }
  snprintf(body + n, sizeof(body) - (size_t)n, "]}");
  return request(c, "PUT", "/v1/connector", body);
}

struct client *connector_up(struct world *w, const char *name, const char *addr,
                            const char *services) {
  static const char *const any[] = {"*", NULL};
  struct client *c = client_new(w, ROLE_CONNECTOR, name, addr, any);
  client_dial(c);
  assert_true(c->ready);
  client_read_events(c);
  assert_int_equal(connector_put(c, services, ""), 200);
  return c;
}

struct client *agent_up(struct world *w, const char *name, const char *addr) {
  struct client *c = client_new(w, ROLE_AGENT, name, addr, NULL);
  client_dial(c);
  assert_true(c->ready);
  client_read_events(c);
  return c;
}

int grant(struct client *agent, const char *service) {
  char body[256];
  snprintf(body, sizeof(body), "{\"service\": \"%s\", \"instance\": \"%s\"}",
           service, agent->instance);
  return request(agent, "POST", "/v1/grants", body);
}

/* --- a route --- */

char route_id[40], grant_id[40], to_agent[20], to_connector[20];
char ticket_agent[1600], ticket_connector[1600];

/* What the last 201 and the connector's last request say. */
void note(const struct client *connector) {
  json_t *o = answered();
  snprintf(route_id, sizeof(route_id), "%s", text_at(o, "route"));
  snprintf(grant_id, sizeof(grant_id), "%s", text_at(o, "grant.id"));
  snprintf(to_agent, sizeof(to_agent), "%s", text_at(o, "handles.agent"));
  snprintf(to_connector, sizeof(to_connector), "%s",
           text_at(o, "handles.connector"));
  snprintf(ticket_agent, sizeof(ticket_agent), "%s", text_at(o, "ticket"));
  snprintf(ticket_connector, sizeof(ticket_connector), "%s",
           text_at(event_of(connector, "route-request"), "ticket"));
}

struct cast granted(void) {
  struct cast c = {.w = world_new()};
  c.connector = connector_up(c.w, "dc", "192.0.2.1:1000", "web db");
  c.agent = agent_up(c.w, "laptop", "198.51.100.1:2000");
  assert_int_equal(grant(c.agent, "web"), 201);
  note(c.connector);
  return c;
}

bool flows(const struct cast *c) {
  return passes(c->w, &c->agent->addr, to_connector) &&
         passes(c->w, &c->connector->addr, to_agent);
}

bool is_dead(const struct cast *c) {
  return !passes(c->w, &c->agent->addr, to_connector) &&
         !passes(c->w, &c->connector->addr, to_agent);
}

void check_refused(struct client *agent, const char *service, int status,
                   const char *reason) {
  char line[200];
  agent->w->log[0] = 0;
  assert_int_equal(grant(agent, service), status);
  assert_string_equal(answered_reason(), reason);
  snprintf(line, sizeof(line), "service=%s reason=%s", service, reason);
  assert_true(world_logged(agent->w, line));
}
