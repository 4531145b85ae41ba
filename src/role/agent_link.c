/* agent_link.c - the links to connectors: routes from the relay, the path over
 * it, and the contexts opened on it. */
#include "role/agent_int.h"

#include <stdlib.h>
#include <string.h>
#include <ztna/err.h>

#include "base/hex.h"
#include "base/log.h"
#include "base/map.h"
#include "role/agent_flow.h"
#include "role/grant_json.h"

/* A path that stays silent for so long, while the relay answers, is made anew:
 * its connector may have lost it. */
#define REDIAL_AFTER (1500 * MS)
/* So long after it fell silent the relay is asked whether its connector is
 * there, and for another one. */
#define DOUBT_AFTER (150 * MS)
/* A connector that its services and their flows have left is let go then. */
#define UNUSED_FOR (60 * SEC)

/* --- services of a link --- */

#define each_service(a, l, s)                     \
  for (size_t i_ = 0; i_ < (a)->n_services; i_++) \
    if ((s = (a)->services[i_])->link == (l))

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

static void say_open(struct link *l, struct service *s) {
  do {
    l->next_context = (uint16_t)(l->next_context + 2);
    if (l->next_context > PATH_CONTEXT_MAX) l->next_context = 2;
  } while (by_context(l, l->next_context) || by_left(l, l->next_context));
  s->context = l->next_context;
  s->use = USE_OPENING;
  path_say(l->path,
           json_pack("{s:s, s:i, s:s, s:s}", "type", "open", "context",
                     (int)s->context, "service", s->id, "grant", s->grant));
  /* An echo besides, since silence is measured by DATAGRAMs: the other end may
   * have given up a handshake that is done on ours. */
  path_probe(l->path, l->owner->now);
  l->owner->sweep_at = time_min(l->owner->sweep_at, l->owner->now + 100 * MS);
}

void agent_link_open(struct link *l, struct service *s) {
  if (path_is_live(l->path) && !l->dial_due)
    say_open(l, s);
  else
    l->dial_due = true;
}

/* --- what the path says --- */

static int on_check(struct path *p, void *ud, const struct identity *peer) {
  struct link *l = ud;

  if (peer->role == ROLE_CONNECTOR && !strcmp(peer->spiffe, l->connector)) {
    struct service *s;

    /* A relay cannot pass a service off under a name whose certificate it
     * lacks (DESIGN 1). */
    each_service(l->owner, l, s) if (!identity_serves(peer, s->id))
        agent_service_refuse(l->owner, s, REASON_IDENTITY_MISMATCH);
    return 0;
  }
  log_err("agent: connector refused expected=%s got=%s reason=%s", l->connector,
          peer->spiffe, reason_name(REASON_IDENTITY_MISMATCH));
  return REASON_IDENTITY_MISMATCH;
}

static void on_live(struct path *p, void *ud) {
  struct link *l = ud;
  struct service *s;

  l->owner->now = quic_now(l->owner->quic);
  l->calm_at = l->owner->now;
  forget_contexts(l);
  log_info("agent: path live connector=%s group=%s", l->connector,
           quic_group(path_conn(p)));
  path_say(p, json_pack("{s:s, s:i, s:o}", "type", "hello", "version", 1,
                        "addresses", addrs_json_write(l->owner->addrs)));
  each_service(l->owner, l, s) if (s->use >= USE_OPENING && s->use <= USE_OPEN)
      say_open(l, s);
}

static void on_opened(struct link *l, struct service *s) {
  if (s->use != USE_OPENING) return;
  s->use = USE_OPEN;
  s->n_refused = 0;
  s->why = REASON_NONE;
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

static int on_message(struct path *p, void *ud, json_t *m) {
  struct link *l = ud;
  const char *type = json_string_value(json_object_get(m, "type"));
  const char *reason = json_string_value(json_object_get(m, "reason"));
  json_int_t n = json_integer_value(json_object_get(m, "context"));
  struct service *s;

  l->owner->now = quic_now(l->owner->quic);
  if (!type) return ZTNA_EMALFORMED;
  if (!strcmp(type, "hello")) {
    const char *id = json_string_value(json_object_get(m, "link"));
    uint8_t raw[ID_LEN];

    if (!hex_parse(raw, ID_LEN, id)) return ZTNA_EMALFORMED;
    strcpy(l->id, id); /* length judged by hex_parse */
    return 0;
  }
  s = n > 0 ? by_context(l, (uint64_t)n) : NULL;
  if (!s && !strcmp(type, "close")) forget_left(l, (uint64_t)n);
  if (!s) return 0;
  if (!strcmp(type, "opened"))
    on_opened(l, s);
  else if (!strcmp(type, "refused") || !strcmp(type, "close"))
    on_context_closed(l, s, reason);
  return 0;
}

static void on_packet(struct path *p, void *ud, uint64_t context,
                      const uint8_t *ip, size_t len) {
  struct link *l = ud;
  struct service *s = by_context(l, context);

  if (!s || s->use != USE_OPEN) s = by_left(l, context);
  l->owner->now = quic_now(l->owner->quic);
  l->owner->sweep_at = time_min(l->owner->sweep_at, l->owner->now + 100 * MS);
  if (s)
    agent_packet_to_tun(l->owner, s, ip, len);
  else
    agent_drop(l->owner, REASON_NOT_BEGUN_HERE);
}

static void forget_route(struct link *l) {
  if (l->route[0]) memcpy(l->gone, l->route, sizeof(l->gone));
  l->route[0] = 0;
}

/* Nothing is known of the other side any more: give the route back and ask for
 * what is in use. */
static void link_lost(struct link *l, enum reason why) {
  struct ztna_agent *a = l->owner;
  struct uplink *u = a->uplinks[a->current];
  struct service *s;
  char path[64];

  if (l->route[0]) {
    snprintf(path, sizeof(path), "/v1/routes/%s", l->route);
    uplink_request(u, "DELETE", path, NULL, NULL, NULL);
  }
  forget_route(l);
  free(l->ticket);
  l->ticket = NULL;
  l->dial_due = false;
  each_service(a, l, s) {
    if (why == REASON_IDENTITY_MISMATCH || why == REASON_BAD_CERTIFICATE ||
        why == REASON_CERTIFICATE_EXPIRED)
      agent_service_refuse(a, s, why);
    else
      agent_service_lost(a, s);
  }
}

static void on_end(struct path *p, void *ud, const struct quic_end *why) {
  struct link *l = ud;

  l->owner->now = quic_now(l->owner->quic);
  log_info("agent: path ended connector=%s reason=%s text=\"%s\"", l->connector,
           reason_name(why->reason), why->text);
  if (l->owner->stopping) return;
  if (why->remote && why->authenticated && why->reason == REASON_SHUTTING_DOWN)
    agent_flows_abandon(l->owner, l, why->reason);
  link_lost(l, why->reason);
}

static void on_streams_allowed(struct path *p, void *ud) {
  struct link *l = ud;
  struct service *s;

  l->owner->now = quic_now(l->owner->quic);
  each_service(l->owner, l, s) agent_flows_go(l->owner, s);
}

static const struct path_events path_events = {
    .on_check = on_check,
    .on_live = on_live,
    .on_message = on_message,
    .on_packet = on_packet,
    .on_streams_allowed = on_streams_allowed,
    .on_end = on_end,
};

/* --- links --- */

static void link_free(struct link *l) {
  forget_contexts(l);
  agent_flows_forget_link(l->owner, l);
  path_free(l->path, l->owner->now);
  free(l->ticket);
  free(l);
}

static bool is_unused(struct link *l) {
  struct service *s;

  each_service(l->owner, l, s) return false;
  return !l->route[0] && !path_is_live(l->path);
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

static struct link *link_for(struct ztna_agent *a, const char *connector) {
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
  l->path = path_new(a->quic, &a->pool, &a->rng, &path_events, l);
  if (!l->path) {
    free(l);
    return NULL;
  }
  a->counters.n_links++;
  return *place = l;
}

/* Another route than before: the path is made anew, the old one carries on
 * until the new one is live. */
static void new_route(struct link *l, const char *route,
                      const uint8_t handle[HANDLE_LEN],
                      const uint8_t peer[HANDLE_LEN]) {
  strcpy(l->route, route); /* length judged by the caller */
  memcpy(l->handle, handle, HANDLE_LEN);
  memcpy(l->peer_handle, peer, HANDLE_LEN);
  l->dial_due = true;
}

struct link *agent_link_take(struct ztna_agent *a, json_t *j) {
  const char *connector = json_string_value(json_object_get(j, "connector"));
  const char *route = json_string_value(json_object_get(j, "route"));
  const char *ticket = json_string_value(json_object_get(j, "ticket"));
  json_t *h = json_object_get(j, "handles");
  uint8_t id[ID_LEN], mine[HANDLE_LEN], peer[HANDLE_LEN];
  struct link *l;

  if (!connector || !hex_parse(id, ID_LEN, route) ||
      !hex_parse(mine, HANDLE_LEN,
                 json_string_value(json_object_get(h, "agent"))) ||
      !hex_parse(peer, HANDLE_LEN,
                 json_string_value(json_object_get(h, "connector"))))
    return NULL;
  l = link_for(a, connector);
  if (!l) return NULL;
  l->rtt = ms_json_read(json_object_get(j, "rtt"));
  if (ticket) {
    free(l->ticket);
    l->ticket = strdup(ticket);
  }
  if (strcmp(l->route, route)) new_route(l, route, mine, peer);
  a->sweep_at = a->now;
  return l;
}

bool agent_link_is_gone(struct ztna_agent *a, json_t *j) {
  const char *route = json_string_value(json_object_get(j, "route"));

  for (int i = 0; route && *route && i < LINKS_MAX; i++) {
    struct link *l = a->links[i];

    if (!l || strcmp(l->gone, route)) continue;
    l->gone[0] = 0; /* if it comes again the relay did not hear us */
    return true;
  }
  return false;
}

static void dial(struct link *l) {
  struct ztna_agent *a = l->owner;
  struct uplink *u = a->uplinks[a->current];
  struct ztna_addr relay = uplink_remote(u);

  l->dial_due = false;
  l->calm_at = a->now;
  if (path_dial(l->path, &relay, l->handle, l->peer_handle,
                l->rtt + uplink_rtt(u), a->now) == 0)
    return;
  log_err("agent: dialling failed connector=%s", l->connector);
  link_lost(l, REASON_INTERNAL);
}

void agent_link_route_closed(struct ztna_agent *a, json_t *e) {
  const char *route = json_string_value(json_object_get(e, "route"));
  const char *reason = json_string_value(json_object_get(e, "reason"));

  for (int i = 0; route && i < LINKS_MAX; i++) {
    struct link *l = a->links[i];

    if (!l || strcmp(l->route, route)) continue;
    log_info("agent: route closed connector=%s reason=%s", l->connector,
             reason ? reason : "none");
    forget_route(l); /* nothing to give back */
    path_close(l->path, REASON_ROUTE_UNKNOWN);
    link_lost(l, REASON_ROUTE_UNKNOWN);
  }
}

/* The relay came back: silence so far was its, not the path's. */
void agent_links_calm(struct ztna_agent *a) {
  for (int i = 0; i < LINKS_MAX; i++) {
    if (!a->links[i]) continue;
    a->links[i]->calm_at = a->now;
    path_probe(a->links[i]->path, a->now);
  }
}

/* `opened` is still to come: the stream's own retries become ever rarer. */
static bool is_waiting(struct link *l) {
  struct service *s;

  each_service(l->owner, l, s) if (s->use == USE_OPENING) return true;
  return false;
}

/* Somebody else may serve what this connector served. The relay asks it first,
 * so lost packets alone move nobody. */
static void doubt(struct link *l, uint64_t now) {
  struct service *s;

  if (now < l->doubt_at) return;
  l->doubt_at = now + REDIAL_AFTER;
  each_service(l->owner, l, s) agent_service_doubt(l->owner, s);
}

/* A path is given up only while the relay answers: else its silence says
 * nothing about the path, which goes on when the line is back. */
static void check_silence(struct link *l, uint64_t now) {
  struct ztna_agent *a = l->owner;
  struct uplink *u = a->uplinks[a->current];
  uint64_t since = path_silent_since(l->path);

  if (since == NEVER) {
    if (!path_is_live(l->path) || !is_waiting(l)) return;
    path_probe(l->path, now); /* the last one was lost, or answered */
    a->sweep_at = time_min(a->sweep_at, now + 200 * MS);
    return;
  }
  a->sweep_at = time_min(a->sweep_at, now + 50 * MS);
  if (now < since) return;
  uplink_probe(u, now);
  path_probe(l->path, now);
  if (uplink_is_silent(u, now)) {
    l->calm_at = now;
    return;
  }
  if (since < l->calm_at) since = l->calm_at;
  if (now >= since + DOUBT_AFTER) doubt(l, now);
  if (now < since + REDIAL_AFTER) return;
  log_info("agent: path silent, made anew connector=%s", l->connector);
  a->counters.n_redials++;
  l->calm_at = now;
  path_close(l->path, REASON_IDLE);
}

/* By a service, or by what it left behind there. */
static bool is_in_use(const struct link *l) {
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

/* Somebody was elsewhere for a while and may have come back, so not at once. */
static void let_go(struct link *l, uint64_t now) {
  struct ztna_agent *a = l->owner;

  if (!l->route[0] || !path_is_live(l->path) || is_in_use(l)) {
    l->unused_since = 0;
    return;
  }
  if (!l->unused_since) l->unused_since = now;
  a->sweep_at = time_min(a->sweep_at, l->unused_since + UNUSED_FOR);
  if (now < l->unused_since + UNUSED_FOR) return;
  log_info("agent: connector not used any more connector=%s", l->connector);
  l->unused_since = 0;
  path_close(l->path, REASON_IDLE);
}

void agent_links_tick(struct ztna_agent *a, uint64_t now) {
  if (now < a->sweep_at) return;
  a->sweep_at = NEVER;
  for (int i = 0; i < LINKS_MAX; i++) {
    struct link *l = a->links[i];

    if (!l) continue;
    if (l->dial_due && l->route[0] && a->up) dial(l);
    path_tick(l->path, now);
    if (path_fell_quiet(l->path)) uplink_probe(a->uplinks[a->current], now);
    a->sweep_at = time_min(a->sweep_at, path_deadline(l->path));
    check_silence(l, now);
    let_go(l, now);
  }
}

void agent_links_close(struct ztna_agent *a, enum reason why) {
  for (int i = 0; i < LINKS_MAX; i++)
    if (a->links[i]) path_close(a->links[i]->path, why);
}

void agent_links_free(struct ztna_agent *a) {
  for (int i = 0; i < LINKS_MAX; i++) {
    struct link *l = a->links[i];

    if (l) link_free(l);
    a->links[i] = NULL;
  }
}

void agent_links_status(const struct ztna_agent *a, json_t *into) {
  for (int i = 0; i < LINKS_MAX; i++) {
    const struct link *l = a->links[i];
    json_t *p = json_object();

    if (!l) {
      json_decref(p);
      continue;
    }
    path_status(l->path, p);
    json_array_append_new(into, json_pack("{s:s, s:s, s:s, s:o}", "connector",
                                          l->connector, "link", l->id, "route",
                                          l->route, "path", p));
  }
}
