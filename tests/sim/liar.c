/* liar.c - see liar.h. */
#include "sim/liar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"

/* --- what it says --- */

static json_t *addrs_json(const struct ztna_addr v[2]) {
  json_t *list = json_array();
  char text[ZTNA_ADDR_STRLEN];

  for (int i = 0; i < 2; i++)
    if (v[i].family)
      json_array_append_new(list, json_string(ztna_addr_print_ip(&v[i], text)));
  return list;
}

static json_t *service_addrs(const char *service) {
  struct ztna_addr v[2] = {sim_service_addr(service, false),
                           sim_service_addr(service, true)};

  return addrs_json(v);
}

static void line(struct liar_session *s, json_t *o) {
  char *text = json_dumps(o, JSON_COMPACT);

  if (s && s->events) h3_line(s->events, text, strlen(text));
  free(text);
  json_decref(o);
}

static void respond(struct h3_req *r, int status, json_t *o) {
  char *text = json_dumps(o, JSON_COMPACT);

  h3_respond(r, status, text, strlen(text));
  free(text);
  json_decref(o);
}

static json_t *handles_json(const struct liar_side *s) {
  char a[2 * HANDLE_LEN + 1], c[2 * HANDLE_LEN + 1];

  return json_pack("{s:s, s:s}", "agent",
                   hex_print(s->agent_handle, HANDLE_LEN, a), "connector",
                   hex_print(s->connector_handle, HANDLE_LEN, c));
}

static json_t *grant_json(const struct lie *w) {
  return json_pack("{s:s, s:s, s:s, s:o, s:[s, s], s:i, s:s}", "id", w->grant,
                   "route", w->route, "service", w->service, "addresses",
                   service_addrs(w->service), "protocols", "udp", "icmp",
                   "lease", 300000, "rule", "lie");
}

static void say_services(struct liar_session *s) {
  json_t *list = json_array();

  for (int i = 0; i < 2; i++) {
    const char *id = i ? "other" : "echo";

    json_array_append_new(list,
                          json_pack("{s:s, s:o, s:[s, s], s:s}", "id", id,
                                    "addresses", service_addrs(id), "protocols",
                                    "udp", "icmp", "state", "up"));
  }
  line(s, json_pack("{s:s, s:i, s:o, s:o}", "event", "snapshot", "n", 0,
                    "services", list, "addresses", addrs_json(s->tunnel)));
}

/* --- routes --- */

static struct liar_session *connector_for(struct liar *l, const char *spiffe) {
  for (size_t i = 0; i < l->n_sessions; i++) {
    struct liar_session *s = l->sessions[i];

    if (s && s->role == ROLE_CONNECTOR && s->events &&
        (!spiffe || !strcmp(s->spiffe, spiffe)))
      return s;
  }
  return NULL;
}

static void random_id(struct liar *l, char text[33]) {
  uint8_t raw[16];

  rng_fill(&l->node.w->rnd.rng, raw, sizeof(raw));
  hex_print(raw, sizeof(raw), text);
}

static void route_add(struct liar *l, const uint8_t *handle,
                      struct liar_session *to) {
  struct liar_route *r = &l->routes[l->n_routes++ % 32];

  memcpy(r->handle, handle, HANDLE_LEN);
  r->to = to;
}

static void truth(struct liar_session *s, struct liar_session *c,
                  const char *service, struct lie *w) {
  const struct rng *rng = &s->l->node.w->rnd.rng;

  memset(w, 0, sizeof(*w));
  w->agent = s->n;
  w->service = service;
  random_id(s->l, w->route);
  random_id(s->l, w->grant);
  rng_fill(rng, w->to_agent.agent_handle, HANDLE_LEN);
  rng_fill(rng, w->to_agent.connector_handle, HANDLE_LEN);
  strcpy(w->to_agent.agent, s->spiffe);
  strcpy(w->to_agent.connector, c->spiffe);
  memcpy(w->to_agent.tunnel, s->tunnel, sizeof(s->tunnel));
  w->to_connector = w->to_agent;
}

static void on_grant(struct liar_session *s, struct h3_req *r) {
  struct liar *l = s->l;
  size_t len;
  const char *body = h3_body(r, &len);
  struct liar_session *c = connector_for(l, NULL);
  struct lie w;

  if (l->refuse || !c) {
    h3_problem(r, l->refuse ? l->refuse : REASON_NO_CONNECTOR, NULL);
    return;
  }
  truth(s, c, strstr(body, "\"other\"") ? "other" : "echo", &w);
  if (l->bend) l->bend(l, &w);
  if (s->n < 4) l->last[s->n] = w;
  route_add(l, w.to_agent.agent_handle, s);
  route_add(l, w.to_connector.agent_handle, s);
  route_add(l, w.to_agent.connector_handle, c);
  line(c, json_pack("{s:s, s:i, s:s, s:s, s:s, s:o, s:o, s:i, s:o}", "event",
                    "route-request", "n", 1, "route", w.route, "agent",
                    w.to_connector.agent, "observed", "192.0.2.1:1", "handles",
                    handles_json(&w.to_connector), "addresses",
                    addrs_json(w.to_connector.tunnel), "rtt", 40, "grant",
                    grant_json(&w)));
  respond(r, 201,
          json_pack("{s:o, s:s, s:s, s:o, s:i}", "grant", grant_json(&w),
                    "route", w.route, "connector", w.to_agent.connector,
                    "handles", handles_json(&w.to_agent), "rtt", 40));
}

/* --- sessions --- */

static void on_request(struct h3 *h3, void *ud, struct h3_req *r) {
  struct liar_session *s = ud;
  const char *path = h3_path(r);

  if (!strcmp(path, "/v1/self")) {
    respond(r, 200,
            json_pack("{s:s, s:s, s:o}", "identity", s->spiffe, "observed",
                      "192.0.2.1:1", "addresses", addrs_json(s->tunnel)));
  } else if (!strcmp(path, "/v1/events")) {
    s->events = r;
    h3_begin_lines(r);
    say_services(s);
  } else if (!strcmp(path, "/v1/connector")) {
    respond(r, 200, json_pack("{s:[], s:[]}", "grants", "services"));
  } else if (!strcmp(path, "/v1/grants")) {
    on_grant(s, r);
  } else {
    h3_respond(r, 204, NULL, 0);
  }
}

static int on_ready(struct h3 *h3, void *ud, const struct identity *peer) {
  struct liar_session *s = ud;
  int n;

  s->role = peer->role;
  snprintf(s->spiffe, sizeof(s->spiffe), "%s", peer->spiffe);
  if (s->role != ROLE_AGENT) return 0;
  s->n = s->l->n_agents++;
  n = s->l->same_tunnel ? 1 : s->n + 1;
  ztna_addr_parse(&s->tunnel[0], "100.64.0.0");
  ztna_addr_parse(&s->tunnel[1], "fd5a:64::");
  s->tunnel[0].ip[3] = s->tunnel[1].ip[15] = (uint8_t)n;
  return 0;
}

static void on_end(struct h3 *h3, void *ud, const struct quic_end *why) {
  struct liar_session *s = ud;

  for (size_t i = 0; i < s->l->n_sessions; i++)
    if (s->l->sessions[i] == s) s->l->sessions[i] = NULL;
  for (int i = 0; i < 32; i++)
    if (s->l->routes[i].to == s) s->l->routes[i].to = NULL;
  free(s);
}

static void on_gone(struct h3 *h3, void *ud, struct h3_req *r) {
  struct liar_session *s = ud;

  if (s->events == r) s->events = NULL;
}

static const struct h3_ops ops = {.on_ready = on_ready,
                                  .on_end = on_end,
                                  .on_request = on_request,
                                  .on_gone = on_gone};

static void *on_accept(void *ud, struct quic_conn *c,
                       const struct quic_initial *in) {
  struct liar *l = ud;
  struct liar_session *s;

  if (l->n_sessions == 8) return NULL;
  s = calloc(1, sizeof(*s));
  s->l = l;
  s->h3 = h3_new(true, NULL, &ops, s);
  h3_attach(s->h3, c);
  l->sessions[l->n_sessions++] = s;
  return s->h3;
}

/* --- the node --- */

/* From its own address, as what it forwards: nobody else is heard. */
static void repeat(struct liar *l, const struct dgram *d) {
  struct sim *w = l->node.w;
  struct ztna_addr from = sim_relay_addr(w);

  for (int i = 0; i < l->n_repeats; i++, l->n_repeated++)
    vnet_inject(w->net, &from, &d->remote, d->data, d->len,
                (uint64_t)(1 + 40 * i * i) * MS);
}

static bool forward(struct liar *l, const struct dgram *d, const uint8_t *data,
                    size_t len) {
  const uint8_t *h = packet_handle(data, len);

  for (int i = 31; h && i >= 0; i--) { /* the newest of a handle */
    struct liar_route *r = &l->routes[i];
    struct dgram out = {.data = data,
                        .len = (uint32_t)len,
                        .seg = (uint16_t)len,
                        .ecn = d->ecn};

    if (!r->to || memcmp(r->handle, h, HANDLE_LEN)) continue;
    out.remote = quic_remote(h3_conn(r->to->h3));
    vnet_send(l->node.host, &out);
    repeat(l, &out);
    l->n_forwarded++;
    return true;
  }
  return false;
}

static void node_in(struct sim_node *n, const struct dgram *d) {
  struct liar *l = n->ud;

  for (uint32_t off = 0; off < d->len; off += d->seg) {
    size_t len = d->len - off < d->seg ? d->len - off : d->seg;

    if (forward(l, d, d->data + off, len)) continue;
    quic_udp_in(l->q, n->w->now, &d->remote, &d->local, d->ecn, d->data + off,
                len);
  }
}

static void node_tick(struct sim_node *n) {
  quic_tick(((struct liar *)n->ud)->q, n->w->now);
}

static uint64_t node_deadline(struct sim_node *n) {
  return quic_deadline(((struct liar *)n->ud)->q);
}

static void node_drain(struct sim_node *n) {
  struct liar *l = n->ud;
  struct dgram v[16];
  int got;

  while ((got = quic_next(l->q, n->w->now, v, 16)) > 0)
    for (int i = 0; i < got; i++) vnet_send(n->host, &v[i]);
}

struct liar *liar_new(struct sim *w) {
  struct liar *l = calloc(1, sizeof(*l));
  struct quic_config q = {.tls = w->relay.tls,
                          .rng = &w->rnd.rng,
                          .retry = QUIC_RETRY_NEVER,
                          .accept_ops = h3_server_ops(),
                          .accept_params = h3_params(true),
                          .on_accept = on_accept,
                          .ud = l};

  l->q = quic_new(&q);
  l->node = (struct sim_node){.name = "liar",
                              .on = true,
                              .host = w->relay.node.host,
                              .ud = l,
                              .udp_in = node_in,
                              .tick = node_tick,
                              .drain = node_drain,
                              .deadline = node_deadline};
  sim_add(w, &l->node);
  return l;
}

void liar_free(struct liar *l) {
  sim_remove(&l->node);
  quic_free(l->q);
  free(l);
}
