/* connector_link.c - who may come in: route requests of relays, paths of
 * agents, contexts inside them. */
#include "role/connector_int.h"

#include <stdlib.h>
#include <string.h>
#include <ztna/err.h>

#include "base/hex.h"
#include "base/log.h"
#include "role/grant_json.h"

/* --- what agents say on a path --- */

static int on_check(struct path *p, void *ud, const struct identity *peer) {
  struct link *l = ud;

  if (peer->role == ROLE_AGENT && !strcmp(peer->spiffe, l->agent)) return 0;
  log_warn("connector: path refused route=%s expected=%s got=%s reason=%s",
           l->route, l->agent, peer->spiffe,
           reason_name(REASON_IDENTITY_MISMATCH));
  return REASON_IDENTITY_MISMATCH;
}

static void on_live(struct path *p, void *ud) {
  struct link *l = ud;

  memset(l->contexts, 0, sizeof(l->contexts));
  memset(l->addrs, 0, sizeof(l->addrs));
  log_info("connector: path live route=%s agent=%s group=%s", l->route,
           l->agent, quic_group(path_conn(p)));
}

static bool allowed(const struct link *l, const struct ztna_addr *a) {
  for (int i = 0; i < 2; i++)
    if (a->family && ztna_addr_same_ip(a, &l->allowed[i])) return true;
  return false;
}

/* Tunnel addresses are those that the relay gave this agent: an agent cannot
 * take another's. */
static int on_hello(struct link *l, json_t *m) {
  struct ztna_addr addrs[2] = {{0}};
  char id[ID_TEXT];

  if (addrs_json_read(json_object_get(m, "addresses"), addrs) < 0)
    return ZTNA_EMALFORMED;
  for (int i = 0; i < 2; i++) {
    if (!addrs[i].family || allowed(l, &addrs[i])) continue;
    log_warn("connector: hello refused agent=%s reason=wrong-source", l->agent);
    path_close(l->path, REASON_WRONG_SOURCE);
    return 0;
  }
  memcpy(l->addrs, addrs, sizeof(addrs));
  rng_fill(l->owner->o.rng, l->id, ID_LEN);
  path_say(l->path, json_pack("{s:s, s:s}", "type", "hello", "link",
                              hex_print(l->id, ID_LEN, id)));
  return 0;
}

static struct context *context_find(struct link *l, uint64_t number) {
  for (int i = 0; i < LINK_CONTEXTS; i++)
    if (l->contexts[i].number == number) return &l->contexts[i];
  return NULL;
}

const struct context *context_of(const struct link *l, uint64_t n) {
  for (int i = 0; n && i < LINK_CONTEXTS; i++)
    if (l->contexts[i].number == n) return &l->contexts[i];
  return NULL;
}

bool pair_has(const struct ztna_addr v[2], const struct ztna_addr *a) {
  const struct ztna_addr *mine = &v[a->family == 6];

  return mine->family && ztna_addr_same_ip(mine, a);
}

static enum reason open_context(struct link *l, uint64_t number,
                                const char *service, const char *grant) {
  struct context *x;
  struct grant **g = grant_find(l, grant);

  if (!l->addrs[0].family && !l->addrs[1].family) return REASON_MALFORMED;
  if (!g) grant_unknown(l, grant);
  if (!g || strcmp((*g)->service->id, service)) return REASON_NOT_ALLOWED;
  if (!number || number > PATH_CONTEXT_MAX || number % 2 ||
      context_find(l, number))
    return REASON_MALFORMED;
  x = context_find(l, 0);
  if (!x) return REASON_TOO_MANY_ROUTES;
  *x = (struct context){.number = number, .grant = *g};
  l->owner->counters.n_opened++;
  return REASON_NONE;
}

static int on_open(struct link *l, json_t *m) {
  json_int_t number = json_integer_value(json_object_get(m, "context"));
  const char *service = json_string_value(json_object_get(m, "service"));
  const char *grant = json_string_value(json_object_get(m, "grant"));
  enum reason why;

  if (number <= 0 || !service || !grant) return ZTNA_EMALFORMED;
  why = open_context(l, (uint64_t)number, service, grant);
  if (!why) {
    path_say(l->path,
             json_pack("{s:s, s:I}", "type", "opened", "context", number));
    return 0;
  }
  connector_drop(l->owner, why);
  log_warn("connector: open refused agent=%s service=%s reason=%s", l->agent,
           service, reason_name(why));
  path_say(l->path, json_pack("{s:s, s:I, s:s}", "type", "refused", "context",
                              number, "reason", reason_name(why)));
  return 0;
}

static int on_message(struct path *p, void *ud, json_t *m) {
  struct link *l = ud;
  const char *type = json_string_value(json_object_get(m, "type"));
  struct context *x;
  json_int_t n;

  l->owner->now = quic_now(l->owner->quic);
  if (!type) return ZTNA_EMALFORMED;
  if (!strcmp(type, "hello")) return on_hello(l, m);
  if (!strcmp(type, "open")) return on_open(l, m);
  if (!strcmp(type, "close")) {
    n = json_integer_value(json_object_get(m, "context"));
    x = n > 0 ? context_find(l, (uint64_t)n) : NULL;
    if (x) memset(x, 0, sizeof(*x));
  }
  return 0; /* features we do not know are ignored */
}

static void on_packet(struct path *p, void *ud, uint64_t context,
                      const uint8_t *ip, size_t len) {
  struct link *l = ud;

  l->owner->now = quic_now(l->owner->quic);
  nat_packet(l, context, ip, len);
}

static void on_stream(struct path *p, void *ud, struct stream *s) {
  struct link *l = ud;

  l->owner->now = quic_now(l->owner->quic);
  tcp_stream(l, s);
}

static void on_end(struct path *p, void *ud, const struct quic_end *why) {
  struct link *l = ud;

  log_info("connector: path ended route=%s agent=%s reason=%s text=\"%s\"",
           l->route, l->agent, reason_name(why->reason), why->text);
  if (why->remote && why->authenticated && why->reason == REASON_SHUTTING_DOWN)
    splices_abandon(l->tcp);
}

static void on_refused(struct path *p, void *ud, const struct quic_end *why) {
  struct link *l = ud;

  connector_drop(l->owner, why->reason);
  log_warn("connector: path attempt failed route=%s agent=%s reason=%s "
           "text=\"%s\"",
           l->route, l->agent, reason_name(why->reason), why->text);
}

static const struct path_events path_events = {
    .on_check = on_check,
    .on_live = on_live,
    .on_message = on_message,
    .on_packet = on_packet,
    .on_stream = on_stream,
    .on_end = on_end,
    .on_refused = on_refused,
};

/* --- links --- */

static struct link *link_find(struct connector *c, const char *route) {
  for (size_t i = 0; route && i < c->n_links; i++)
    if (c->links[i] && !strcmp(c->links[i]->route, route)) return c->links[i];
  return NULL;
}

void link_free(struct link *l) {
  struct connector *c = l->owner;

  nat_forget(l);
  if (l->path) path_total(l->path, &c->gone);
  path_free(l->path, c->now);
  for (int i = 0; i < LINK_GRANTS; i++) free(l->grants[i]);
  tcp_agent_put(l->tcp);
  reass_free(l->reass);
  free(l->ticket);
  c->links[l->number] = NULL;
  while (c->n_links && !c->links[c->n_links - 1]) c->n_links--;
  c->counters.n_links--;
  free(l);
}

static struct link *link_place(struct connector *c) {
  struct link *l = calloc(1, sizeof(*l));
  uint32_t i;

  for (i = 0; i < LINKS_MAX && c->links[i]; i++)
    ;
  if (!l || i == LINKS_MAX) {
    free(l);
    return NULL;
  }
  l->owner = c;
  l->number = i;
  c->links[i] = l;
  if (i >= c->n_links) c->n_links = i + 1;
  c->counters.n_links++;
  c->sweep_at = c->now;
  return l;
}

struct route_request {
  const char *route, *agent, *ticket;
  uint8_t handle[HANDLE_LEN], peer_handle[HANDLE_LEN];
  struct ztna_addr addrs[2];
  uint64_t rtt;
  json_t *grant;
};

static int request_read(struct route_request *r, json_t *e) {
  json_t *h = json_object_get(e, "handles");
  uint8_t id[ID_LEN];

  memset(r, 0, sizeof(*r));
  r->route = json_string_value(json_object_get(e, "route"));
  r->agent = json_string_value(json_object_get(e, "agent"));
  r->ticket = json_string_value(json_object_get(e, "ticket"));
  r->grant = json_object_get(e, "grant");
  r->rtt = ms_json_read(json_object_get(e, "rtt"));
  if (!hex_parse(id, ID_LEN, r->route) || !r->agent || !r->grant ||
      strlen(r->agent) > IDENTITY_SPIFFE_MAX ||
      !hex_parse(r->handle, HANDLE_LEN,
                 json_string_value(json_object_get(h, "connector"))) ||
      !hex_parse(r->peer_handle, HANDLE_LEN,
                 json_string_value(json_object_get(h, "agent"))))
    return ZTNA_EMALFORMED;
  return addrs_json_read(json_object_get(e, "addresses"), r->addrs);
}

static struct link *link_make(struct connector *c, struct uplink *u,
                              const struct route_request *r) {
  struct link *l = link_place(c);
  struct ztna_addr relay;

  if (!l) return NULL;
  memcpy(l->route, r->route, sizeof(l->route));
  strcpy(l->agent, r->agent); /* length judged by request_read */
  memcpy(l->handle, r->handle, HANDLE_LEN);
  memcpy(l->peer_handle, r->peer_handle, HANDLE_LEN);
  while (c->uplinks[l->relay] != u) l->relay++;
  l->path = path_new(c->quic, &c->pool, c->o.rng, &path_events, l);
  l->reass = reass_new(REASS_BYTES);
  l->tcp = tcp_agent_get(c, r->agent);
  l->opens = OPENS_BURST;
  l->opens_at = c->now;
  if (l->path && l->reass && l->tcp &&
      path_listen(l->path, l->handle, l->peer_handle, r->rtt + uplink_rtt(u),
                  c->now) == 0) {
    relay = uplink_remote(u);
    path_hear_only(l->path, &relay);
    return l;
  }
  link_free(l);
  return NULL;
}

/* A route that came back after a relay's restart keeps its path. */
static bool link_is(const struct link *l, const struct route_request *r) {
  return !strcmp(l->agent, r->agent) && !l->dying &&
         !memcmp(l->handle, r->handle, HANDLE_LEN) &&
         !memcmp(l->peer_handle, r->peer_handle, HANDLE_LEN);
}

/* What it has goes on, whatever is said of new flows. */
static bool link_serves(const struct link *l, const struct service *s) {
  for (int i = 0; i < LINK_GRANTS; i++)
    if (l->grants[i] && l->grants[i]->service == s) return true;
  return false;
}

static enum reason admit(struct connector *c, struct uplink *u, json_t *e) {
  struct route_request r;
  struct service *s;
  struct identity id;
  struct link *l;
  enum reason why;

  if (c->stopping) return REASON_SHUTTING_DOWN;
  if (request_read(&r, e) < 0) return REASON_MALFORMED;
  if (identity_parse_spiffe(&id, r.agent, strlen(r.agent)) < 0 ||
      id.role != ROLE_AGENT)
    return REASON_IDENTITY_MISMATCH;
  s = service_find(c, json_string_value(json_object_get(r.grant, "service")));
  if (!s) return REASON_NO_SUCH_SERVICE;
  if (!service_admits(s, r.agent)) return REASON_NOT_ALLOWED;
  l = link_find(c, r.route);
  if (!(l && link_serves(l, s)) && (why = check_obstacle(c, s))) return why;
  if (l && !link_is(l, &r)) return REASON_MALFORMED;
  if (!l && !(l = link_make(c, u, &r))) return REASON_TOO_MANY_ROUTES;
  memcpy(l->allowed, r.addrs, sizeof(l->allowed));
  if (r.ticket) {
    free(l->ticket);
    l->ticket = strdup(r.ticket);
  }
  why = grant_take(l, r.grant);
  return why;
}

void link_request(struct connector *c, struct uplink *u, json_t *e) {
  const char *route = json_string_value(json_object_get(e, "route"));
  const char *agent = json_string_value(json_object_get(e, "agent"));
  const char *service = json_string_value(
      json_object_get(json_object_get(e, "grant"), "service"));
  enum reason why = admit(c, u, e);
  uint8_t id[ID_LEN];
  char path[64];
  json_t *body;

  c->counters.n_requests++;
  if (!hex_parse(id, ID_LEN, route)) return;
  if (why) {
    c->counters.n_refused++;
    connector_drop(c, why);
  }
  log_info("connector: route request agent=%s service=%s %s%s",
           agent ? agent : "none", service ? service : "none",
           why ? "refused reason=" : "accepted", why ? reason_name(why) : "");
  body = why ? json_pack("{s:s}", "refuse", reason_name(why))
             : json_pack("{s:b}", "ok", 1);
  snprintf(path, sizeof(path), "/v1/routes/%s/answer", route);
  uplink_request(u, "POST", path, body, NULL, NULL);
  json_decref(body);
}

void link_route_closed(struct connector *c, const struct uplink *u, json_t *e) {
  const char *reason = json_string_value(json_object_get(e, "reason"));
  struct link *l = link_find(c, json_string_value(json_object_get(e, "route")));

  if (!l || c->uplinks[l->relay] != u) return;
  log_info("connector: route closed route=%s agent=%s reason=%s", l->route,
           l->agent, reason ? reason : "none");
  path_close(l->path, reason ? reason_find(reason) : REASON_ROUTE_UNKNOWN);
  l->dying = true;
  c->sweep_at = c->now;
}

void link_follow(struct connector *c, const struct uplink *u) {
  struct ztna_addr relay = uplink_remote(u);

  for (size_t i = 0; i < c->n_links; i++)
    if (c->links[i] && c->uplinks[c->links[i]->relay] == u)
      path_hear_only(c->links[i]->path, &relay);
}

json_t *link_tickets(const struct connector *c, const struct uplink *u) {
  json_t *list = json_array();

  for (size_t i = 0; i < c->n_links; i++) {
    const struct link *l = c->links[i];

    if (l && l->ticket && !l->dying && c->uplinks[l->relay] == u)
      json_array_append_new(list, json_string(l->ticket));
  }
  return list;
}

/* A sweep over all links: ten times a second while something is on its way,
 * else once. Its deadlines (leases, silence, size probes) need no more. */
void link_tick(struct connector *c, uint64_t now) {
  if (now < c->sweep_at) return;
  c->sweep_at = c->n_links ? now + SEC : NEVER;
  for (size_t i = 0; i < c->n_links; i++) {
    struct link *l = c->links[i];
    bool granted;

    if (!l) continue;
    granted = grants_tick(l, now);
    path_tick(l->path, now);
    reass_tick(l->reass, now);
    if (path_fell_quiet(l->path) || path_is_silent(l->path, now))
      uplink_probe(c->uplinks[l->relay], now);
    c->sweep_at = time_min(c->sweep_at, path_deadline(l->path));
    if (!granted && !l->dying && now >= l->spared_until) {
      path_close(l->path, REASON_EXPIRED);
      l->dying = true;
    }
    if (path_silent_since(l->path) != NEVER)
      c->sweep_at = time_min(c->sweep_at, now + 100 * MS);
    if (l->dying) link_free(l);
  }
}

void links_status(const struct connector *c, json_t *into) {
  for (size_t i = 0; i < c->n_links; i++) {
    const struct link *l = c->links[i];
    json_t *j, *p;

    if (!l) continue;
    j = json_pack("{s:s, s:s, s:s, s:i}", "agent", l->agent, "route", l->route,
                  "relay", uplink_name(c->uplinks[l->relay]), "flows",
                  (int)l->n_flows);
    json_object_set_new(j, "tcp", splices_status(l));
    p = json_object();
    path_status(l->path, p);
    json_object_set_new(j, "path", p);
    json_array_append_new(into, j);
  }
}
