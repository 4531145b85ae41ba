/* agent_service.c - the services this agent may use, as relays list them, and
 * their addresses. What the use of each is waiting for: agent_use.c. */
#include "role/agent_int.h"

#include <stdlib.h>
#include <string.h>
#include <ztna/err.h>

#include "base/glob.h"
#include "base/log.h"
#include "base/map.h"
#include "role/agent_flow.h"
#include "role/agent_local.h"
#include "role/grant_json.h"

enum { ADDR_KEY = 17 };

static void addr_key(uint8_t key[ADDR_KEY], const struct ztna_addr *a) {
  key[0] = a->family;
  memcpy(key + 1, a->ip, 16);
}

struct service *agent_service_by_addr(struct ztna_agent *a,
                                      const struct ztna_addr *addr) {
  uint8_t key[ADDR_KEY];

  addr_key(key, addr);
  return map_get(&a->by_addr, key);
}

/* --- the list --- */

/* Only inside the configured networks, and never what would hurt this machine:
 * a relay must not divert other traffic into the tunnel. */
bool agent_address_acceptable(const struct ztna_agent *a,
                              const struct ztna_addr *v) {
  if (ztna_addr_is_loopback(v) || ztna_addr_is_multicast(v) ||
      ztna_addr_is_link_local(v) || ztna_addr_is_unspecified(v))
    return false;
  for (size_t i = 0; i < a->n_networks; i++)
    if (ztna_prefix_has(&a->networks[i], v)) return true;
  return false;
}

static bool wanted(const struct ztna_agent *a, const char *id) {
  if (!a->n_patterns) return true;
  for (size_t i = 0; i < a->n_patterns; i++)
    if (glob_matches(a->patterns[i], id)) return true;
  return false;
}

static struct service *find(struct ztna_agent *a, const char *id) {
  for (size_t i = 0; i < a->n_services; i++)
    if (!strcmp(a->services[i]->id, id)) return a->services[i];
  return NULL;
}

struct service *agent_service_named(struct ztna_agent *a, const char *name) {
  struct ztna_addr addr;
  struct service *s = find(a, name);

  if (s || ztna_addr_parse(&addr, name) < 0) return s;
  return agent_service_by_addr(a, &addr);
}

static struct service *add(struct ztna_agent *a, const char *id) {
  struct service *s;

  if (a->n_services == SERVICES_MAX || strlen(id) >= sizeof(s->id)) return NULL;
  s = calloc(1, sizeof(*s));
  if (!s) return NULL;
  strcpy(s->id, id); /* length judged above */
  a->services[a->n_services++] = s;
  a->counters.n_services = a->n_services;
  return s;
}

static void forget_addrs(struct ztna_agent *a, struct service *s) {
  uint8_t key[ADDR_KEY];

  for (int i = 0; i < 2; i++) {
    addr_key(key, &s->addrs[i]);
    if (s->addrs[i].family && map_get(&a->by_addr, key) == s)
      map_del(&a->by_addr, key);
  }
  memset(s->addrs, 0, sizeof(s->addrs));
  a->generation++;
}

static void set_addr(struct ztna_agent *a, struct service *s,
                     const struct ztna_addr *v) {
  uint8_t key[ADDR_KEY];
  char text[ZTNA_ADDR_STRLEN];

  addr_key(key, v);
  if (!agent_address_acceptable(a, v) || map_put(&a->by_addr, key, s) < 0) {
    log_err("agent: address refused service=%s address=%s: not inside "
            "agent.networks, or taken by another service",
            s->id, ztna_addr_print(v, text));
    return;
  }
  s->addrs[v->family == 6] = *v;
  a->generation++;
}

static bool has_addrs(const struct service *s) {
  return s->addrs[0].family || s->addrs[1].family;
}

/* A changed address is followed only when nobody uses the service: a relay must
 * not move running conversations elsewhere. */
static void give_up_addrs(struct ztna_agent *a, struct service *s,
                          const struct ztna_addr v[2]) {
  if (!has_addrs(s) || !memcmp(s->addrs, v, sizeof(s->addrs))) return;
  if (s->use != USE_NONE && s->use != USE_REFUSED) {
    log_warn("agent: address of a service in use changed, not followed "
             "service=%s",
             s->id);
    return;
  }
  log_warn("agent: address of a service changed service=%s", s->id);
  forget_addrs(a, s);
}

static void set_addrs(struct ztna_agent *a, struct service *s,
                      const struct ztna_addr v[2]) {
  if (has_addrs(s)) return; /* these, or not followed */
  for (int i = 0; i < 2; i++)
    if (v[i].family) set_addr(a, s, &v[i]);
}

static void release(struct ztna_agent *a, struct service *s) {
  s->use = USE_NONE;
  s->link = NULL;
  s->grant[0] = 0;
  pktq_clear(&s->held, &a->pool);
}

/* A relay lists only what may be used, so it says nothing of a service that is
 * configured by its name but unknown or forbidden. Asking for it brings the
 * reason to log and status. */
static void ask_unlisted(struct ztna_agent *a) {
  for (size_t i = 0; i < a->n_patterns; i++) {
    const char *id = a->patterns[i];
    struct service *s = find(a, id);

    if (strchr(id, '*') || (s && s->listed)) continue;
    if (!s && !(s = add(a, id))) continue;
    if (s->use == USE_REFUSED && a->now < s->retry_at) continue;
    agent_service_want(a, s);
  }
}

/* What an entry of the list is about; NULL when it cannot be read or is not
 * wanted. */
static struct service *entry_read(struct ztna_agent *a, json_t *j,
                                  struct ztna_addr addrs[2]) {
  const char *id = json_string_value(json_object_get(j, "id"));
  struct service *s;

  if (!id || !wanted(a, id) ||
      addrs_json_read(json_object_get(j, "addresses"), addrs) < 0)
    return NULL;
  s = find(a, id);
  return s ? s : add(a, id);
}

static void entry_take(struct ztna_agent *a, struct service *s, json_t *j,
                       const struct ztna_addr addrs[2]) {
  const char *state = json_string_value(json_object_get(j, "state"));
  bool came_up = state && !strcmp(state, "up") && strcmp(s->state, "up");
  const char *moves = json_string_value(json_object_get(j, "move"));

  s->listed = true;
  if (state && s->use == USE_OPEN && strcmp(state, s->state))
    log_info("agent: service state service=%s state=%s", s->id, state);
  if (s->use == USE_REFUSED && !has_addrs(s))
    s->use = USE_NONE; /* what was said of it is over */
  snprintf(s->state, sizeof(s->state), "%s", state ? state : "");
  give_up_addrs(a, s, addrs);
  /* No need to wait any longer. */
  if (came_up && s->use == USE_REFUSED) agent_service_lost(a, s);
  if (moves) agent_service_move(a, s, reason_find(moves));
}

static void forget_unlisted(struct ztna_agent *a) {
  for (size_t i = 0; i < a->n_services; i++) {
    struct service *s = a->services[i];

    if (s->listed || agent_service_goes_on(s, REASON_NONE)) continue;
    strcpy(s->state, "not-listed");
    if (!has_addrs(s)) continue;
    log_info("agent: service gone service=%s", s->id);
    forget_addrs(a, s);
    if (s->use != USE_REFUSED) release(a, s); /* else status says why */
  }
}

/* Ids come and go over the months: what nobody uses makes room. */
static void make_room(struct ztna_agent *a) {
  size_t n = 0;

  if (a->n_services <= SERVICES_MAX / 2) return;
  for (size_t i = 0; i < a->n_services; i++) {
    struct service *s = a->services[i];

    if (s->listed || s->use != USE_NONE || s->asked || s->held.n || s->tcp)
      a->services[n++] = s;
    else
      free(s);
  }
  a->counters.n_services = a->n_services = n;
}

/* All that is given up goes before anything is taken: an address may move from
 * one service to another. */
void agent_services_take(struct ztna_agent *a, json_t *list) {
  struct ztna_addr addrs[2];
  struct service *s;
  json_t *j;
  size_t n;

  for (size_t i = 0; i < a->n_services; i++) a->services[i]->listed = false;
  json_array_foreach(list, n, j) {
    if ((s = entry_read(a, j, addrs))) entry_take(a, s, j, addrs);
  }
  forget_unlisted(a);
  make_room(a);
  json_array_foreach(list, n, j) {
    if ((s = entry_read(a, j, addrs))) set_addrs(a, s, addrs);
  }
  ask_unlisted(a);
  a->listed = true;
  agent_socks_listed(a);
}

/* --- ztna why --- */

static bool is_idle(const struct service *s) {
  return (s->use == USE_NONE || s->use == USE_REFUSED) && !s->asked &&
         !s->held.n && !s->tcp;
}

/* What a person asked about by a name that no relay lists: one at a time, or
 * such names would fill the table. */
static void forget_strangers(struct ztna_agent *a) {
  size_t n = 0;

  for (size_t i = 0; i < a->n_services; i++) {
    struct service *s = a->services[i];

    if (s->stranger && !s->listed && is_idle(s))
      free(s);
    else
      a->services[n++] = s;
  }
  a->counters.n_services = a->n_services = n;
}

/* It stands in log and request as it is. */
static bool is_id(const char *text) {
  size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-_");

  return n && !text[n];
}

int ztna_agent_ask(struct ztna_agent *a, uint64_t now, const char *service) {
  struct service *s = find(a, service);

  a->now = now;
  if (!is_id(service) || !wanted(a, service)) return ZTNA_ENOENT;
  if (!a->up || a->stopping) return ZTNA_EAGAIN;
  if (!s) {
    forget_strangers(a);
    if (!(s = add(a, service))) return ZTNA_EFULL;
    s->stranger = true;
    strcpy(s->state, "not-listed");
  }
  if (s->use == USE_OPEN)
    agent_service_ask_again(a, s);
  else
    agent_service_want(a, s);
  return 0;
}

/* --- life --- */

void agent_services_tick(struct ztna_agent *a, uint64_t now) {
  uint32_t i;

  while ((i = flows_idle(a->flows, now)) != FLOWS_NONE) flows_del(a->flows, i);
  a->counters.n_flows = flows_count(a->flows);
}

void agent_services_free(struct ztna_agent *a) {
  for (size_t i = 0; i < a->n_services; i++) {
    pktq_clear(&a->services[i]->held, &a->pool);
    free(a->services[i]);
  }
  a->n_services = 0;
}

int ztna_agent_routes(const struct ztna_agent *a, struct ztna_addr *v,
                      int max) {
  int n = 0;

  for (size_t i = 0; i < a->n_services; i++)
    for (int k = 0; k < 2; k++)
      if (a->services[i]->addrs[k].family && n < max)
        v[n++] = a->services[i]->addrs[k];
  return n;
}
