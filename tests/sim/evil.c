/* evil.c - see evil.h. */
#include "sim/evil.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "role/grant_json.h"

const char *evil_text(const json_t *o, const char *path) {
  char part[32];
  const char *s;

  while (o && *path) {
    size_t n = strcspn(path, ".");

    snprintf(part, sizeof(part), "%.*s", (int)n, path);
    o = json_object_get(o, part);
    path += path[n] ? n + 1 : n;
  }
  s = json_string_value(o);
  return s ? s : "";
}

static void keep(json_t **to, json_t *j) {
  json_decref(*to);
  *to = json_incref(j);
}

/* --- the path --- */

static int on_check(struct path *p, void *ud, const struct identity *peer) {
  return 0;
}

static void on_live(struct path *p, void *ud) {
  ((struct evil *)ud)->live = true;
}

static int on_message(struct path *p, void *ud, json_t *msg) {
  struct evil *e = ud;
  const char *type = evil_text(msg, "type");

  keep(&e->said, msg);
  if (e->role != ROLE_CONNECTOR) return 0;
  if (!strcmp(type, "hello"))
    evil_say(e, json_pack("{s:s, s:s}", "type", "hello", "link", e->instance));
  if (!strcmp(type, "open")) {
    e->context = (uint16_t)json_integer_value(json_object_get(msg, "context"));
    evil_say(e, json_pack("{s:s, s:i}", "type", "opened", "context",
                          (int)e->context));
  }
  return 0;
}

static void on_packet(struct path *p, void *ud, uint64_t context,
                      const uint8_t *ip, size_t len) {
  struct evil *e = ud;

  e->n_packets++;
  e->last_len = len < sizeof(e->last) ? len : 0;
  memcpy(e->last, ip, e->last_len);
}

static void on_end(struct path *p, void *ud, const struct quic_end *why) {
  struct evil *e = ud;

  e->live = false;
  e->n_ends++;
  e->end = *why;
}

static const struct path_events path_events = {
    .on_check = on_check,
    .on_live = on_live,
    .on_message = on_message,
    .on_packet = on_packet,
    .on_end = on_end,
    .on_refused = on_end,
};

/* --- the control connection --- */

static void on_registered(void *ud, int status, json_t *body) {
  struct evil *e = ud;

  e->registered = status == 200;
}

static void on_up(struct uplink *u, void *ud, json_t *self) {
  struct evil *e = ud;
  json_t *body;

  e->up = true;
  addrs_json_read(json_object_get(self, "addresses"), e->addrs);
  if (!e->service) return;
  body = json_pack("{s:s, s:[{s:s, s:[[s, i]], s:[s, s]}]}", "instance",
                   e->instance, "services", "id", e->service, "ports", "udp",
                   SIM_PORT, "protocols", "udp", "icmp");
  uplink_request(u, "PUT", "/v1/connector", body, on_registered, e);
  json_decref(body);
}

static bool handle_at(const json_t *o, const char *path, uint8_t *to) {
  return hex_parse(to, HANDLE_LEN, evil_text(o, path));
}

static void on_event(struct uplink *u, void *ud, const char *name, json_t *j) {
  struct evil *e = ud;
  uint8_t own[HANDLE_LEN], peer[HANDLE_LEN];
  char path[80];
  json_t *ok;

  if (strcmp(name, "route-request") || e->role != ROLE_CONNECTOR) return;
  keep(&e->asked, j);
  handle_at(j, "handles.connector", own);
  handle_at(j, "handles.agent", peer);
  path_listen(e->path, own, peer, 0, e->node.w->now);
  snprintf(path, sizeof(path), "/v1/routes/%s/answer", evil_text(j, "route"));
  ok = json_pack("{s:b}", "ok", 1);
  uplink_request(u, "POST", path, ok, NULL, NULL);
  json_decref(ok);
}

static void on_down(struct uplink *u, void *ud, enum reason why,
                    const char *text) {
  ((struct evil *)ud)->up = false;
}

static const struct uplink_events uplink_events = {on_up, on_event, on_down};

/* --- the node --- */

static void node_in(struct sim_node *n, const struct dgram *d) {
  struct evil *e = n->ud;

  for (uint32_t off = 0; off < d->len; off += d->seg)
    quic_udp_in(e->q, n->w->now, &d->remote, &d->local, d->ecn, d->data + off,
                d->len - off < d->seg ? d->len - off : d->seg);
}

static void node_tick(struct sim_node *n) {
  struct evil *e = n->ud;

  quic_tick(e->q, n->w->now);
  uplink_tick(e->u, n->w->now);
  path_tick(e->path, n->w->now);
}

static uint64_t node_deadline(struct sim_node *n) {
  struct evil *e = n->ud;
  uint64_t at = time_min(quic_deadline(e->q), uplink_deadline(e->u));

  return time_min(at, path_deadline(e->path));
}

static void node_drain(struct sim_node *n) {
  struct evil *e = n->ud;
  struct ztna_addr relay = sim_relay_addr(n->w);
  struct dgram v[16];
  int got;

  while ((got = quic_next(e->q, n->w->now, v, 16)) > 0)
    for (int i = 0; i < got; i++) vnet_send(n->host, &v[i]);
  if (uplink_wants_addrs(e->u)) uplink_set_addrs(e->u, &relay, 1, n->w->now);
}

struct evil *evil_new(struct sim *w, enum role role, const char *name,
                      const char *const *names, const char *v4,
                      const char *v6) {
  struct evil *e = calloc(1, sizeof(*e));
  struct quic_config q = {.rng = &w->rnd.rng, .retry = QUIC_RETRY_NEVER};
  struct uplink_options u = {.rng = &w->rnd.rng,
                             .relay = "relay.test:4433",
                             .trust_domain = "example.org",
                             .ev = &uplink_events,
                             .ud = e};

  e->role = role;
  e->name = name;
  e->tls = pki_tls(w->pki, role, name, names);
  snprintf(e->instance, sizeof(e->instance), "%016llx%016llx",
           (unsigned long long)seeded_u64(&w->rnd),
           (unsigned long long)seeded_u64(&w->rnd));
  q.tls = e->tls;
  u.quic = e->q = quic_new(&q);
  e->u = uplink_new(&u);
  pool_init(&e->pool, 4096);
  e->path = path_new(e->q, &e->pool, &w->rnd.rng, &path_events, e);
  e->node = (struct sim_node){.name = name,
                              .on = true,
                              .ud = e,
                              .udp_in = node_in,
                              .tick = node_tick,
                              .drain = node_drain,
                              .deadline = node_deadline};
  e->node.host = vnet_add(w->net, v4, v6, w->cfg.delay);
  sim_add(w, &e->node);
  return e;
}

void evil_free(struct evil *e) {
  sim_remove(&e->node);
  path_free(e->path, e->node.w->now);
  quic_free(e->q);
  uplink_free(e->u);
  pool_done(&e->pool);
  tls_free(e->tls);
  json_decref(e->grant);
  json_decref(e->asked);
  json_decref(e->said);
  free(e);
}

/* --- what it does --- */

void evil_serve(struct evil *e, const char *service) { e->service = service; }

static void on_answer(void *ud, int status, json_t *body) {
  struct evil *e = ud;

  e->status = status;
  if (body && json_object_get(body, "route")) keep(&e->grant, body);
}

static bool is_answered(struct sim *w, void *ud) {
  return ((struct evil *)ud)->status >= 0;
}

static bool is_up(struct sim *w, void *ud) { return ((struct evil *)ud)->up; }

int evil_request(struct evil *e, const char *method, const char *path,
                 json_t *body) {
  struct sim *w = e->node.w;

  e->status = -1;
  if (sim_until(w, is_up, e, 5 * SEC) &&
      uplink_request(e->u, method, path, body, on_answer, e))
    sim_until(w, is_answered, e, 5 * SEC);
  json_decref(body);
  return e->status;
}

int evil_ask(struct evil *e, const char *service) {
  return evil_request(
      e, "POST", "/v1/grants",
      json_pack("{s:s, s:s}", "service", service, "instance", e->instance));
}

void evil_dial(struct evil *e, const struct ztna_addr *to, const uint8_t *own,
               const uint8_t *peer) {
  struct sim *w = e->node.w;
  uint8_t mine[HANDLE_LEN], theirs[HANDLE_LEN];

  if (!own && handle_at(e->grant, "handles.agent", mine)) own = mine;
  if (!peer && handle_at(e->grant, "handles.connector", theirs)) peer = theirs;
  path_dial(e->path, to, own, peer, 0, w->now);
  e->node.drain(&e->node);
}

void evil_say(struct evil *e, json_t *msg) {
  path_send(e->path, msg);
  json_decref(msg);
}

void evil_send(struct evil *e, uint16_t context, const uint8_t *ip,
               size_t len) {
  struct pkt *k = pool_get(&e->pool);

  memcpy(pkt_data(k), ip, len);
  k->len = (uint16_t)len;
  path_send_packet(e->path, context, k, e->node.w->now);
}
