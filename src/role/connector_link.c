/* connector_link.c - associations with agents: what an agent says inside one,
 * contexts, and their life as long as a relay grants anything. A link has one
 * or more ways (connector_way.c): the agent says hello on each, and by the
 * link's id the next one joins what the first one began. */
#include "role/connector_int.h"

#include <stdlib.h>
#include <string.h>
#include <ztna/err.h>

#include "base/hex.h"
#include "base/log.h"
#include "role/grant_json.h"

#define SWEEP_EVERY (10 * MS) /* over all links, at most */

/* --- what is said --- */

void link_say(struct link *l, json_t *m) {
  struct way *chosen = l->ways.chosen;

  if (chosen && way_works(chosen)) {
    path_send(chosen->path, m);
  } else {
    for (size_t i = 0; i < l->ways.n; i++)
      if (l->ways.v[i]->joined) path_send(l->ways.v[i]->path, m);
  }
  json_decref(m);
}

static bool allowed(const struct link *l, const struct ztna_addr *a) {
  for (size_t i = 0; i < l->ways.n; i++) {
    const struct link_way *w = link_way_at(l, i);

    if (w->dying) continue;
    for (int k = 0; k < 2; k++)
      if (a->family && ztna_addr_same_ip(a, &w->allowed[k])) return true;
  }
  return false;
}

/* What was before is another link, of which nothing is left. */
static void begin_anew(struct link *l, const struct link_way *by) {
  for (size_t i = 0; i < l->ways.n; i++) {
    struct link_way *w = link_way_at(l, i);

    if (w == by || !w->way.joined) continue;
    if (w->way.kind == WAY_DIRECT) {
      link_way_end(w, REASON_REPLACED);
      continue;
    }
    path_close(w->way.path, REASON_REPLACED);
    ways_left(&l->ways, &w->way);
  }
  memset(l->contexts, 0, sizeof(l->contexts));
  l->ways.use = 0;
  l->ways.wanted = NULL;
  rng_fill(l->owner->o.rng, l->id, ID_LEN);
}

/* Tunnel addresses are those that relays gave this agent: an agent cannot take
 * another's. */
static int on_hello(struct link_way *w, json_t *m) {
  struct link *l = w->link;
  const char *id = json_string_value(json_object_get(m, "link"));
  struct ztna_addr addrs[2] = {{0}};
  char mine[ID_TEXT];

  if (addrs_json_read(json_object_get(m, "addresses"), addrs) < 0)
    return ZTNA_EMALFORMED;
  for (int i = 0; i < 2; i++) {
    if (!addrs[i].family || allowed(l, &addrs[i])) continue;
    log_warn("connector: hello refused agent=%s reason=wrong-source", l->agent);
    path_close(w->way.path, REASON_WRONG_SOURCE);
    return 0;
  }
  if (!id || strcmp(id, hex_print(l->id, ID_LEN, mine))) begin_anew(l, w);
  memcpy(l->addrs, addrs, sizeof(addrs));
  path_say(w->way.path, json_pack("{s:s, s:s}", "type", "hello", "link",
                                  hex_print(l->id, ID_LEN, mine)));
  if (w->way.kind == WAY_DIRECT) link_direct_joined(w);
  ways_joined(&l->ways, &w->way, l->owner->now);
  l->owner->sweep_at = l->owner->now;
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

static bool is_for(const struct grant *g, const char *service) {
  return !strcmp(g->service->id, service);
}

/* Again, after a change of path: it goes on, under this grant if we have it. */
static bool is_open(struct link *l, uint64_t number, const char *service,
                    struct grant *g) {
  struct context *x = number ? context_find(l, number) : NULL;

  if (!x || !is_for(x->grant, service)) return false;
  if (g && is_for(g, service)) x->grant = g;
  return true;
}

/* A certificate that limits its agent does so whatever a relay grants. */
static bool may_use(const struct link_way *w, const char *service) {
  return identity_serves(quic_peer(path_conn(w->way.path)), service);
}

static enum reason open_context(struct link_way *w, uint64_t number,
                                const char *service, const char *grant) {
  struct link *l = w->link;
  struct context *x;
  struct grant *g = grant_find(l, grant);

  if (!w->way.joined || (!l->addrs[0].family && !l->addrs[1].family))
    return REASON_MALFORMED;
  if (!g) grant_unknown(l, grant);
  if (is_open(l, number, service, g)) return REASON_NONE;
  if (!g || !is_for(g, service) || !may_use(w, service))
    return REASON_NOT_ALLOWED;
  if (!number || number > PATH_CONTEXT_MAX || number % 2 ||
      context_find(l, number))
    return REASON_MALFORMED;
  x = context_find(l, 0);
  if (!x) return REASON_TOO_MANY_ROUTES;
  *x = (struct context){.number = number, .grant = g};
  l->owner->counters.n_opened++;
  return REASON_NONE;
}

static int on_open(struct link_way *w, json_t *m) {
  struct link *l = w->link;
  json_int_t number = json_integer_value(json_object_get(m, "context"));
  const char *service = json_string_value(json_object_get(m, "service"));
  const char *grant = json_string_value(json_object_get(m, "grant"));
  enum reason why;

  if (number <= 0 || !service || !grant) return ZTNA_EMALFORMED;
  why = open_context(w, (uint64_t)number, service, grant);
  if (!why) {
    path_say(w->way.path,
             json_pack("{s:s, s:I}", "type", "opened", "context", number));
    return 0;
  }
  connector_drop(l->owner, why);
  log_warn("connector: open refused agent=%s service=%s reason=%s", l->agent,
           service, reason_name(why));
  if (why == REASON_NOT_ALLOWED)
    audit_refused(l, &(struct audit_refusal){.service = service}, why);
  path_say(w->way.path,
           json_pack("{s:s, s:I, s:s}", "type", "refused", "context", number,
                     "reason", reason_name(why)));
  return 0;
}

static void on_close(struct link *l, json_t *m) {
  json_int_t n = json_integer_value(json_object_get(m, "context"));
  struct context *x = n > 0 ? context_find(l, (uint64_t)n) : NULL;

  if (x) memset(x, 0, sizeof(*x));
}

static int on_use(struct link_way *w, json_t *m) {
  json_int_t n = json_integer_value(json_object_get(m, "n"));

  if (n <= 0 || n > UINT32_MAX) return ZTNA_EMALFORMED;
  ways_use(&w->link->ways, &w->way, (uint32_t)n, w->link->owner->now);
  return 0;
}

/* Features that we do not know are ignored. */
int link_message(struct link_way *w, json_t *m) {
  const char *type = json_string_value(json_object_get(m, "type"));

  if (!type) return ZTNA_EMALFORMED;
  if (!strcmp(type, "hello")) return on_hello(w, m);
  if (!strcmp(type, "open")) return on_open(w, m);
  if (!w->way.joined) return 0;
  if (!strcmp(type, "use")) return on_use(w, m);
  if (!strcmp(type, "candidates")) return link_direct_message(w->link, m);
  if (!strcmp(type, "another")) return link_direct_another(w, m);
  if (!strcmp(type, "close")) on_close(w->link, m);
  return 0;
}

/* --- life --- */

struct link *link_find(struct connector *c, const char *agent,
                       const char *instance) {
  for (size_t i = 0; i < c->n_links; i++) {
    struct link *l = c->links[i];

    if (l && !l->dying && !strcmp(l->agent, agent) &&
        !strcmp(l->instance, instance))
      return l;
  }
  return NULL;
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

struct link *link_new(struct connector *c, const char *agent,
                      const char *instance) {
  struct link *l = link_place(c);

  if (!l) return NULL;
  strcpy(l->agent, agent); /* lengths judged by request_read */
  strcpy(l->instance, instance);
  ways_init(&l->ways, false, &link_ways_ops, l);
  rng_fill(c->o.rng, l->id, ID_LEN);
  l->reass = reass_new(REASS_BYTES);
  l->tcp = tcp_agent_get(c, agent);
  l->opens = OPENS_BURST;
  l->opens_at = c->now;
  if (l->reass && l->tcp) return l;
  link_free(l);
  return NULL;
}

void link_free(struct link *l) {
  struct connector *c = l->owner;

  nat_forget(l, c->stopping   ? REASON_SHUTTING_DOWN
                : l->last_end ? l->last_end
                              : REASON_EXPIRED);
  link_ways_free(l);
  direct_free(l->direct);
  for (int i = 0; i < LINK_GRANTS; i++) free(l->grants[i]);
  tcp_agent_put(l->tcp);
  reass_free(l->reass);
  c->links[l->number] = NULL;
  while (c->n_links && !c->links[c->n_links - 1]) c->n_links--;
  c->counters.n_links--;
  free(l);
}

bool link_has_path(const struct link *l, const struct path *p) {
  for (size_t i = 0; i < l->ways.n; i++)
    if (l->ways.v[i]->path == p) return !link_way_at(l, i)->dying;
  return false;
}

/* Those that ended go; the others' silence is watched, and the best is used. */
static void tick_ways(struct link *l, uint64_t now) {
  for (size_t i = l->ways.n; i-- > 0;) link_way_tick(link_way_at(l, i), now);
  ways_tick(&l->ways, now);
  for (size_t i = l->ways.n; i-- > 0;)
    if (link_way_at(l, i)->dying) link_way_free(link_way_at(l, i));
}

/* Without any grant nothing may go on: a relay that is gone does not hold it,
 * leases run out. */
static void tick(struct link *l, uint64_t now) {
  struct connector *c = l->owner;

  grants_tick(l, now);
  reass_tick(l->reass, now);
  if (!l->n_grants && now >= l->spared_until) {
    l->dying = true;
    for (size_t i = 0; i < l->ways.n; i++)
      link_way_end(link_way_at(l, i), REASON_EXPIRED);
    link_free(l);
    return;
  }
  tick_ways(l, now);
  c->sweep_at = time_min(c->sweep_at, ways_deadline(&l->ways, now));
}

/* A sweep over all links: ten times a second while something is on its way,
 * else once. Its deadlines (leases, silence, size probes) need no more. */
void link_tick(struct connector *c, uint64_t now) {
  if (now < c->sweep_at) return;
  c->sweep_at = c->n_links ? now + SEC : NEVER;
  for (size_t i = 0; i < c->n_links; i++)
    if (c->links[i]) tick(c->links[i], now);
  if (c->sweep_at < now + SWEEP_EVERY) c->sweep_at = now + SWEEP_EVERY;
}

/* --- asked by people --- */

static const struct link_way *first_route(const struct link *l) {
  for (size_t i = 0; i < l->ways.n; i++)
    if (l->ways.v[i]->kind == WAY_RELAY) return link_way_at(l, i);
  return NULL;
}

static json_t *path_in_use(const struct link *l) {
  const struct path *p = l->path;
  json_t *j = json_object();

  if (!p && l->ways.n) p = l->ways.v[0]->path;
  if (p) path_status(p, j);
  return j;
}

static json_t *link_status(const struct link *l) {
  const struct link_way *w = first_route(l);
  const char *relay = w ? uplink_name(l->owner->uplinks[w->relay]) : "";
  json_t *paths = json_array();
  char id[ID_TEXT];

  for (size_t i = 0; i < l->ways.n; i++)
    json_array_append_new(paths, link_way_status(link_way_at(l, i)));
  return json_pack("{s:s, s:s, s:s, s:s, s:i, s:o, s:o, s:o, s:o}", "agent",
                   l->agent, "link", hex_print(l->id, ID_LEN, id), "route",
                   w ? w->route : "", "relay", relay, "flows", (int)l->n_flows,
                   "tcp", splices_status(l), "path", path_in_use(l), "paths",
                   paths, "direct", link_direct_status(l));
}

void links_status(const struct connector *c, json_t *into) {
  for (size_t i = 0; i < c->n_links; i++)
    if (c->links[i]) json_array_append_new(into, link_status(c->links[i]));
}
