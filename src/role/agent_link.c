/* agent_link.c - the links to connectors: the contexts opened inside them, and
 * what happens when they move from one path to another. */
#include "role/agent_int.h"

#include <stdlib.h>
#include <string.h>
#include <ztna/err.h>

#include "base/hex.h"
#include "base/log.h"
#include "role/agent_flow.h"
#include "role/grant_json.h"

/* A connector that its services and their flows have left is let go then. */
#define UNUSED_FOR (60 * SEC)

/* --- services of a link --- */

static struct service *by_context(struct link *l, uint64_t context) {
  struct service *s;

  each_service(l->owner, l,
               s) if (s->context == context && s->use >= USE_OPENING) return s;
  return NULL;
}

/* One that has moved on, but whose conversations go on here. */
static struct service *by_left(struct link *l, uint64_t context) {
  struct ztna_agent *a = l->owner;

  for (size_t i = 0; i < a->n_services; i++)
    if (agent_service_has_left(a->services[i], l, context))
      return a->services[i];
  return NULL;
}

static void forget_left(struct link *l, uint64_t context) {
  struct service *s = by_left(l, context);

  if (s) agent_service_has_left(s, l, context)->link = NULL;
}

static void forget_contexts(struct link *l) {
  struct ztna_agent *a = l->owner;

  for (size_t i = 0; i < a->n_services; i++)
    agent_service_forget_link(a->services[i], l);
}

/* --- opening --- */

static bool is_used(const struct service *s) {
  return s->use == USE_OPENING || s->use == USE_OPEN;
}

static void say_open_as(struct link *l, struct path *p, uint16_t context,
                        const char *service, const char *grant) {
  path_say(p, json_pack("{s:s, s:i, s:s, s:s}", "type", "open", "context",
                        (int)context, "service", service, "grant", grant));
  /* An echo besides, since silence is measured by DATAGRAMs: the other end may
   * have given up a handshake that is done on ours. */
  path_probe(p, l->owner->now);
  l->owner->sweep_at = time_min(l->owner->sweep_at, l->owner->now + 100 * MS);
}

static void say_open(struct link *l, struct path *p, const struct service *s) {
  say_open_as(l, p, s->context, s->id, s->grant);
}

/* A relay cannot pass a service off under a name whose certificate it lacks
 * (DESIGN 1), nor later on a path that is there for another service. */
static bool is_served(struct path *p, struct service *s) {
  struct ztna_agent *a = s->link->owner;

  if (identity_serves(quic_peer(path_conn(p)), s->id)) return true;
  agent_service_refuse(a, s, REASON_IDENTITY_MISMATCH);
  return false;
}

static void number(struct link *l, struct service *s) {
  do {
    l->next_context = (uint16_t)(l->next_context + 2);
    if (l->next_context > PATH_CONTEXT_MAX) l->next_context = 2;
  } while (by_context(l, l->next_context) || by_left(l, l->next_context));
  s->context = l->next_context;
}

void agent_link_open(struct link *l, struct service *s) {
  s->use = USE_OPENING;
  number(l, s);
  /* Else with the hello of the first path. */
  if (path_is_live(l->path) && is_served(l->path, s)) say_open(l, l->path, s);
}

void agent_link_rebind(struct link *l, struct service *s) {
  if (path_is_live(l->path)) say_open(l, l->path, s);
}

void agent_link_rebind_left(struct link *l, const struct service *s,
                            const struct left *x) {
  if (path_is_live(l->path))
    say_open_as(l, l->path, x->context, s->id, x->grant);
}

/* A connector that still has a context takes it as it is (open is idempotent);
 * one that was started again opens it anew. */
static void reopen(struct link *l, struct path *p, bool all) {
  struct service *s;

  each_service(l->owner, l, s) {
    if (!is_used(s) || (!all && s->use == USE_OPEN)) continue;
    s->use = USE_OPENING;
    if (is_served(p, s)) say_open(l, p, s);
  }
}

/* --- what the connector says --- */

/* When another path carries the link this one only joins; else what is in use
 * is opened with the same flight. */
void agent_link_greet(struct link *l, struct agent_way *w) {
  json_t *m = json_pack("{s:s, s:i, s:o}", "type", "hello", "version", 1,
                        "addresses", addrs_json_write(l->owner->addrs));

  if (l->id[0]) json_object_set_new(m, "link", json_string(l->id));
  path_say(w->way.path, m);
  path_probe(w->way.path, l->owner->now);
  if (ways_work(&l->ways)) return;
  l->path = w->way.path;
  reopen(l, w->way.path, true);
}

/* A connector that knows nothing of this link has given it another id: its
 * contexts are gone, and paths that joined before lead to nothing. */
static void begin_anew(struct link *l, struct agent_way *w, bool greeted) {
  struct agent_way *x;

  forget_contexts(l);
  for (size_t i = 0; (x = agent_way_at(l, i)); i++) {
    if (x == w || !x->way.path || !x->way.joined) continue;
    ways_left(&l->ways, &x->way);
    path_close(x->way.path, REASON_REPLACED);
  }
  l->path = w->way.path;
  if (!greeted) reopen(l, w->way.path, true);
}

static int on_hello(struct link *l, struct agent_way *w, json_t *m) {
  const char *id = json_string_value(json_object_get(m, "link"));
  bool greeted = l->path == w->way.path && !ways_work(&l->ways);
  uint8_t raw[ID_LEN];

  if (!hex_parse(raw, ID_LEN, id)) return ZTNA_EMALFORMED;
  if (l->id[0] && strcmp(l->id, id)) begin_anew(l, w, greeted);
  strcpy(l->id, id); /* length judged by hex_parse */
  ways_joined(&l->ways, &w->way, l->owner->now);
  agent_peer_in(l);
  l->owner->sweep_at = l->owner->now;
  if (w->way.kind == WAY_DIRECT) agent_direct_joined(l, w);
  return 0;
}

static void on_opened(struct link *l, struct service *s) {
  if (s->use != USE_OPENING) return;
  s->use = USE_OPEN;
  s->n_refused = 0;
  s->why = s->peer_why = REASON_NONE;
  l->owner->sweep_at = l->owner->now;
  log_info("agent: service open service=%s connector=%s", s->id, l->connector);
  agent_service_flush(s, l);
  agent_flows_go(l->owner, s);
}

static void on_context_closed(struct link *l, struct service *s,
                              const char *reason) {
  enum reason why = reason ? reason_find(reason) : REASON_EXPIRED;

  if (why == REASON_EXPIRED || why == REASON_IDLE)
    agent_service_lost(l->owner, s);
  else
    agent_service_refuse(l->owner, s, why);
}

/* The connector hears nothing of what it is told to use. */
static void on_silent(struct link *l, json_t *m) {
  uint8_t handle[HANDLE_LEN];
  struct agent_way *w;

  if (!hex_parse(handle, HANDLE_LEN,
                 json_string_value(json_object_get(m, "handle"))))
    return;
  for (size_t i = 0; (w = agent_way_at(l, i)); i++)
    if (w->way.path && !memcmp(w->peer_handle, handle, HANDLE_LEN))
      ways_suspect(&l->ways, &w->way, l->owner->now);
}

int agent_link_message(struct link *l, struct agent_way *w, json_t *m) {
  const char *type = json_string_value(json_object_get(m, "type"));
  const char *reason = json_string_value(json_object_get(m, "reason"));
  json_int_t n = json_integer_value(json_object_get(m, "context"));
  struct service *s;

  if (!type) return ZTNA_EMALFORMED;
  if (!strcmp(type, "hello")) return on_hello(l, w, m);
  if (!strcmp(type, "candidates")) return agent_direct_message(l, m);
  if (!strcmp(type, "another")) return agent_direct_another(l, w, m);
  if (!strcmp(type, "silent")) on_silent(l, m);
  if (!strcmp(type, "renew")) agent_cert_told(l);
  s = n > 0 ? by_context(l, (uint64_t)n) : NULL;
  if (!s && n > 0 && !strcmp(type, "close")) forget_left(l, (uint64_t)n);
  if (!s) return 0;
  if (!strcmp(type, "opened"))
    on_opened(l, s);
  else if (!strcmp(type, "refused") || !strcmp(type, "close"))
    on_context_closed(l, s, reason);
  return 0;
}

void agent_link_packet(struct link *l, uint64_t context, const uint8_t *ip,
                       size_t len) {
  struct service *s = by_context(l, context);

  if (!s || s->use != USE_OPEN) s = by_left(l, context);
  l->owner->sweep_at = time_min(l->owner->sweep_at, l->owner->now + 100 * MS);
  if (s)
    agent_packet_to_tun(l->owner, s, ip, len);
  else
    agent_drop(l->owner, REASON_NOT_BEGUN_HERE);
}

/* The other end would say so again: at once asked anew, the two would make one
 * path after the other. */
static bool is_refusal(enum reason why) {
  switch (why) {
  case REASON_IDENTITY_MISMATCH:
  case REASON_BAD_CERTIFICATE:
  case REASON_CERTIFICATE_EXPIRED:
  case REASON_REVOKED:
  case REASON_WRONG_SOURCE:
  case REASON_MALFORMED:
  case REASON_UNSUPPORTED_VERSION:
  case REASON_TOO_MANY_ROUTES:
  case REASON_RATE_LIMITED:
  case REASON_INTERNAL:
    return true;
  default:
    return false;
  }
}

void agent_link_lost(struct link *l, enum reason why) {
  struct ztna_agent *a = l->owner;
  struct service *s;

  each_service(a, l, s) {
    if (is_refusal(why) && !agent_peer_is_out(l)) /* else there is another */
      agent_service_refuse(a, s, why);
    else
      agent_service_lost(a, s);
  }
}

/* --- from one path to another --- */

static void say_use(struct link *l, struct way *to) {
  path_say(to->path, json_pack("{s:s, s:I}", "type", "use", "n",
                               (json_int_t)++l->ways.use));
}

static void on_chosen(void *ud, struct way *from, struct way *to,
                      bool planned) {
  struct link *l = ud;
  struct ztna_agent *a = l->owner;
  bool asked_there = l->path == to->path;

  if (from)
    log_info("agent: path changed connector=%s to=%s %s", l->connector,
             to->kind == WAY_DIRECT ? "direct" : "relay",
             planned ? "planned" : "the former one is silent or gone");
  l->path = to->path;
  say_use(l, to);
  if (from && !planned && from->path != to->path)
    path_take_queue(to->path, from->path, a->now);
  if (!planned && !asked_there) reopen(l, to->path, false);
  /* What comes there after all would be acknowledged and kept by nobody: the
   * connector could not send it again when it is asked for on the other path.
   */
  if (agent_flows_follow(a, l, planned) && from)
    path_close(from->path, REASON_REPLACED);
  if (to->kind == WAY_DIRECT && way_works(to))
    agent_direct_joined(l, (struct agent_way *)to);
  a->sweep_at = a->now;
}

static void on_suspect(void *ud, struct way *w) {
  struct link *l = ud;

  log_info("agent: path suspect connector=%s kind=%s", l->connector,
           w->kind == WAY_DIRECT ? "direct" : "relay");
  if (w->kind == WAY_DIRECT) agent_direct_suspect(l);
}

static void on_dead(void *ud, struct way *w) {
  if (w->kind == WAY_DIRECT) path_close(w->path, REASON_IDLE);
}

const struct ways_ops agent_ways_ops = {on_chosen, on_suspect, on_dead};

/* --- links --- */

static void link_free(struct link *l) {
  struct agent_way *w;

  forget_contexts(l);
  agent_flows_forget_link(l->owner, l);
  agent_direct_free(l);
  for (size_t i = 0; (w = agent_way_at(l, i)); i++) agent_way_free(w);
  free(l);
}

bool agent_link_has_route(const struct link *l) {
  for (int i = 0; i < LINK_RELAYED; i++)
    if (l->relayed[i].route[0]) return true;
  return false;
}

static bool is_live(const struct link *l) {
  for (size_t i = 0; i < l->ways.n; i++)
    if (path_is_live(l->ways.v[i]->path)) return true;
  return false;
}

static bool is_unused(struct link *l) {
  struct service *s;

  each_service(l->owner, l, s) return false;
  return !agent_link_has_route(l) && !is_live(l);
}

/* A free place, or that of a connector that is not in use any more. */
static struct link **place_for_link(struct ztna_agent *a) {
  for (int i = 0; i < LINKS_MAX; i++)
    if (!a->links[i]) return &a->links[i];
  for (int i = 0; i < LINKS_MAX; i++) {
    if (!is_unused(a->links[i])) continue;
    link_free(a->links[i]);
    a->links[i] = NULL;
    a->counters.n_links--;
    return &a->links[i];
  }
  return NULL;
}

static struct link *link_for(struct ztna_agent *a, const char *connector,
                             size_t relay) {
  struct link **place, *l;

  for (int i = 0; i < LINKS_MAX; i++)
    if (a->links[i] && !strcmp(a->links[i]->connector, connector))
      return a->links[i];
  if (strlen(connector) > IDENTITY_SPIFFE_MAX) return NULL;
  place = place_for_link(a);
  if (!place) return NULL;
  l = calloc(1, sizeof(*l));
  if (!l) return NULL;
  l->owner = a;
  strcpy(l->connector, connector); /* length judged above */
  ways_init(&l->ways, true, &agent_ways_ops, l);
  if (agent_way_make(l, &l->relayed[0], WAY_RELAY) < 0) {
    free(l);
    return NULL;
  }
  l->relayed[0].relay = relay;
  l->path = l->relayed[0].way.path;
  a->counters.n_links++;
  return *place = l;
}

struct link *agent_link_take(struct ztna_agent *a, size_t relay, json_t *j) {
  const char *connector = json_string_value(json_object_get(j, "connector"));
  struct link *l = connector ? link_for(a, connector, relay) : NULL;

  if (!l || !agent_route_take(l, relay, j)) return NULL;
  a->sweep_at = a->now;
  return l;
}

bool agent_link_is_waiting(struct link *l) {
  struct service *s;

  each_service(l->owner, l, s) if (s->use == USE_OPENING) return true;
  return false;
}

/* By a service, or by what it left behind there. */
bool agent_link_is_in_use(const struct link *l) {
  struct ztna_agent *a = l->owner;

  for (size_t i = 0; i < a->n_services; i++) {
    struct service *s = a->services[i];

    if (s->link == l) return true;
    for (int k = 0; k < LEFT_MAX; k++)
      if (s->left[k].link == l && s->left[k].serves) return true;
    for (struct agent_flow *f = s->tcp; f; f = f->next)
      if (f->link == l) return true;
  }
  return false;
}

static void close_all(struct link *l, enum reason why) {
  struct agent_way *w;

  for (size_t i = 0; (w = agent_way_at(l, i)); i++)
    if (w->way.path) path_close(w->way.path, why);
}

/* Somebody was elsewhere for a while and may have come back, so not at once. */
static void let_go(struct link *l, uint64_t now) {
  struct ztna_agent *a = l->owner;

  if (!agent_link_has_route(l) || !is_live(l) || agent_link_is_in_use(l)) {
    l->unused_since = 0;
    return;
  }
  if (!l->unused_since) l->unused_since = now;
  a->sweep_at = time_min(a->sweep_at, l->unused_since + UNUSED_FOR);
  if (now < l->unused_since + UNUSED_FOR) return;
  log_info("agent: connector not used any more connector=%s", l->connector);
  l->unused_since = 0;
  for (int i = 0; i < LINK_RELAYED; i++) agent_route_give_back(&l->relayed[i]);
  close_all(l, REASON_IDLE);
}

static void link_tick(struct link *l, uint64_t now) {
  struct ztna_agent *a = l->owner;
  struct agent_way *w;

  for (size_t i = 0; (w = agent_way_at(l, i)); i++)
    if (w->way.path) agent_way_tick(w, now);
  ways_tick(&l->ways, now);
  agent_routes_tick(l, now);
  agent_renew_tick(l, now);
  agent_direct_renew_tick(l, now);
  agent_direct_want(l, now);
  let_go(l, now);
  a->sweep_at = time_min(a->sweep_at, ways_deadline(&l->ways, now));
}

void agent_links_tick(struct ztna_agent *a, uint64_t now) {
  if (now < a->sweep_at) return;
  a->sweep_at = NEVER;
  for (int i = 0; i < LINKS_MAX; i++)
    if (a->links[i]) link_tick(a->links[i], now);
}

void agent_links_close(struct ztna_agent *a, enum reason why) {
  for (int i = 0; i < LINKS_MAX; i++)
    if (a->links[i]) close_all(a->links[i], why);
}

void agent_links_free(struct ztna_agent *a) {
  for (int i = 0; i < LINKS_MAX; i++) {
    struct link *l = a->links[i];

    if (l) link_free(l);
    a->links[i] = NULL;
  }
}
