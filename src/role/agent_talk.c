/* agent_talk.c - what agent and connector say to each other inside a link:
 * hello, contexts opened and closed, and what is to be passed on. */
#include "role/agent_int.h"

#include <string.h>
#include <ztna/err.h>

#include "base/hex.h"
#include "base/log.h"
#include "role/agent_flow.h"
#include "role/grant_json.h"

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
void agent_link_reopen(struct link *l, struct path *p, bool all) {
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
  agent_link_reopen(l, w->way.path, true);
}

/* A connector that knows nothing of this link has given it another id: its
 * contexts are gone, and paths that joined before lead to nothing. */
static void begin_anew(struct link *l, struct agent_way *w, bool greeted) {
  struct agent_way *x;

  agent_link_forget_contexts(l);
  for (size_t i = 0; (x = agent_way_at(l, i)); i++) {
    if (x == w || !x->way.path || !x->way.joined) continue;
    ways_left(&l->ways, &x->way);
    path_close(x->way.path, REASON_REPLACED);
  }
  l->path = w->way.path;
  if (!greeted) agent_link_reopen(l, w->way.path, true);
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
