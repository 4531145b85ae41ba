/* agent_relay.c - the relays of an agent: control connections to two of them at
 * a time, of which one is asked for services. */
#include "role/agent_int.h"

#include <stdlib.h>
#include <string.h>
#include <ztna/err.h>

#include "base/log.h"
#include "role/agent_flow.h"
#include "role/grant_json.h"

size_t agent_relay_index(const struct ztna_agent *a, const struct uplink *u) {
  size_t i = 0;

  while (a->uplinks[i] != u) i++;
  return i;
}

struct uplink *agent_relay(const struct ztna_agent *a) {
  return a->n_uplinks ? a->uplinks[a->current] : NULL;
}

/* --- what they say --- */

static void take_addresses(struct ztna_agent *a, json_t *list) {
  struct ztna_addr v[2];
  char text[ZTNA_ADDR_STRLEN];

  if (!list || addrs_json_read(list, v) < 0) return;
  for (int i = 0; i < 2; i++) {
    if (!v[i].family || agent_address_acceptable(a, &v[i])) continue;
    log_err("agent: own address refused address=%s: not inside agent.networks",
            ztna_addr_print(&v[i], text));
    memset(&v[i], 0, sizeof(v[i]));
  }
  if (!memcmp(v, a->addrs, sizeof(v))) return;
  memcpy(a->addrs, v, sizeof(v));
  a->generation++;
  for (int i = 0; i < 2; i++)
    if (v[i].family)
      log_info("agent: address %s", ztna_addr_print(&v[i], text));
}

static json_t *find_entry(json_t *list, const char *id) {
  json_t *e;
  size_t i;

  json_array_foreach(list, i, e) {
    const char *other = json_string_value(json_object_get(e, "id"));

    if (other && !strcmp(other, id)) return e;
  }
  return NULL;
}

/* Of another relay: what the first does not know, or cannot reach. */
static void add_entry(json_t *list, json_t *e) {
  const char *id = json_string_value(json_object_get(e, "id"));
  const char *state = json_string_value(json_object_get(e, "state"));
  json_t *first = id ? find_entry(list, id) : NULL;

  if (id && !first) {
    first = json_copy(e);
    json_object_del(first, "move"); /* that is between us and the other */
    json_array_append_new(list, first);
  } else if (first && state && !strcmp(state, "up")) {
    json_object_set_new(first, "state", json_string("up"));
  }
}

/* What all relays that are up list, the one that is asked first. */
static void take_lists(struct ztna_agent *a) {
  json_t *own = json_object_get(a->lists[a->current], "services");
  json_t *list, *e;
  size_t n;

  if (!own) return;
  list = json_deep_copy(own);
  for (size_t i = 0; list && i < a->n_uplinks; i++) {
    if (i == a->current || !uplink_is_up(a->uplinks[i])) continue;
    json_array_foreach(json_object_get(a->lists[i], "services"), n, e)
        add_entry(list, e);
  }
  agent_services_take(a, list);
  json_decref(list);
}

/* Services are asked for at this one from now on. */
static void turn_to(struct ztna_agent *a, size_t relay) {
  a->current = relay;
  a->up = true;
  if (a->lists[relay])
    take_addresses(a, json_object_get(a->lists[relay], "addresses"));
  take_lists(a);
  agent_services_resume(a);
  a->sweep_at = a->now;
}

static void on_up(struct uplink *u, void *ud, json_t *self) {
  struct ztna_agent *a = ud;
  size_t relay = agent_relay_index(a, u);
  const char *observed = json_string_value(json_object_get(self, "observed"));
  struct ztna_addr at = uplink_remote(u);

  a->now = quic_now(a->quic);
  log_info("agent: relay connected relay=%s identity=%s observed=%s",
           uplink_name(u), uplink_relay_identity(u),
           observed ? observed : "none");
  uplink_confirm(u);
  direct_relay(&a->direct, relay, &at);
  agent_routes_calm(a, relay);
  a->sweep_at = a->now;
  if (a->up && relay != a->current) return;
  take_addresses(a, json_object_get(self, "addresses"));
  turn_to(a, relay);
}

static struct service *by_grant(struct ztna_agent *a, json_t *e) {
  const char *id = json_string_value(json_object_get(e, "grant"));

  for (size_t i = 0; id && i < a->n_services; i++)
    if (!strcmp(a->services[i]->grant, id)) return a->services[i];
  return NULL;
}

static void on_grant_closed(struct ztna_agent *a, json_t *e) {
  const char *reason = json_string_value(json_object_get(e, "reason"));
  enum reason why = reason ? reason_find(reason) : REASON_EXPIRED;
  struct service *s = by_grant(a, e);

  /* Idle: its connector has given it back, as after the end of all paths. */
  if (s &&
      (why == REASON_EXPIRED || (why == REASON_IDLE && s->use == USE_OPEN)))
    agent_service_lost(a, s);
  else if (s)
    agent_service_refuse(a, s, why);
}

static void on_event(struct uplink *u, void *ud, const char *name, json_t *e) {
  struct ztna_agent *a = ud;
  size_t relay = agent_relay_index(a, u);

  a->now = quic_now(a->quic);
  if (!strcmp(name, "snapshot") || !strcmp(name, "services-changed")) {
    json_decref(a->lists[relay]);
    a->lists[relay] = json_incref(e);
    if (relay == a->current) take_addresses(a, json_object_get(e, "addresses"));
    take_lists(a);
  } else if (!strcmp(name, "route-closed")) {
    agent_route_closed(a, relay, e);
  } else if (!strcmp(name, "peer-observed")) {
    agent_route_observed(a, relay, e);
  } else if (!strcmp(name, "grant-closed")) {
    on_grant_closed(a, e);
  }
}

/* One that does not answer makes room for one that was not tried yet. */
static void hold_another(struct ztna_agent *a, size_t lost) {
  for (size_t i = 1; i < a->n_uplinks; i++) {
    size_t k = (lost + i) % a->n_uplinks;

    if (a->held[k]) continue;
    a->held[lost] = false;
    a->held[k] = true;
    return;
  }
}

static void find_current(struct ztna_agent *a) {
  for (size_t i = 1; i <= a->n_uplinks; i++) {
    size_t k = (a->current + i) % a->n_uplinks;

    if (!uplink_is_up(a->uplinks[k])) continue;
    turn_to(a, k);
    return;
  }
  a->up = false;
  do a->current = (a->current + 1) % a->n_uplinks;
  while (!a->held[a->current]);
}

static bool is_any_up(const struct ztna_agent *a) {
  for (size_t i = 0; i < a->n_uplinks; i++)
    if (uplink_is_up(a->uplinks[i])) return true;
  return false;
}

/* Another relay may see it otherwise; without one nothing of this agent goes
 * over relays, and people should read why at once. */
static void revoked_by(struct ztna_agent *a, size_t relay) {
  bool other = is_any_up(a);

  agent_routes_end(a, relay, other ? REASON_ROUTE_UNKNOWN : REASON_REVOKED);
  for (size_t i = 0; !other && i < a->n_services; i++)
    if (a->services[i]->use == USE_ASKING)
      agent_service_refuse(a, a->services[i], REASON_REVOKED);
}

static void on_down(struct uplink *u, void *ud, enum reason why,
                    const char *text) {
  struct ztna_agent *a = ud;
  size_t relay = agent_relay_index(a, u);
  struct ztna_addr none = {0};

  a->now = quic_now(a->quic);
  log_warn("agent: relay lost relay=%s reason=%s text=\"%s\" (%s; can be fixed "
           "by: %s)",
           uplink_name(u), reason_name(why), text, reason_text(why),
           reason_fix(why));
  direct_relay(&a->direct, relay, &none);
  if (uplink_is_revoked(u))
    agent_routes_end(a, relay, REASON_ROUTE_UNKNOWN);
  else if (uplink_revokes_us(u))
    revoked_by(a, relay);
  else
    agent_routes_doubt(a, relay);
  hold_another(a, relay);
  if (relay == a->current && !a->stopping) find_current(a);
}

static const struct uplink_events uplink_events = {on_up, on_event, on_down};

/* --- life --- */

int agent_relays_make(struct ztna_agent *a,
                      const struct ztna_agent_config *cfg) {
  if (cfg->n_relays > RELAYS_MAX) return ZTNA_EINVAL;
  snprintf(a->trust_domain, sizeof(a->trust_domain), "%s",
           tls_identity(a->tls)->trust_domain);
  a->uplinks = calloc(cfg->n_relays + 1, sizeof(*a->uplinks));
  if (!a->uplinks) return ZTNA_ENOMEM;
  for (; a->n_uplinks < cfg->n_relays; a->n_uplinks++) {
    struct uplink_options u = {.quic = a->quic,
                               .rng = &a->rng,
                               .relay = cfg->relays[a->n_uplinks],
                               .trust_domain = a->trust_domain,
                               .ev = &uplink_events,
                               .ud = a};

    if (!(a->uplinks[a->n_uplinks] = uplink_new(&u))) return ZTNA_ENOMEM;
    a->held[a->n_uplinks] = a->n_uplinks < RELAYS_HELD;
  }
  return 0;
}

int ztna_agent_wants_relay(struct ztna_agent *a) {
  for (size_t i = 0; i < a->n_uplinks; i++)
    if (a->held[i] && uplink_wants_addrs(a->uplinks[i])) return (int)i;
  return -1;
}

void ztna_agent_set_relay(struct ztna_agent *a, size_t relay,
                          const struct ztna_addr *v, size_t n, uint64_t now) {
  a->now = now;
  if (relay < a->n_uplinks) uplink_set_addrs(a->uplinks[relay], v, n, now);
}

void agent_relays_tick(struct ztna_agent *a, uint64_t now) {
  for (size_t i = 0; i < a->n_uplinks; i++)
    if (a->held[i]) uplink_tick(a->uplinks[i], now);
}

uint64_t agent_relays_deadline(const struct ztna_agent *a) {
  uint64_t at = NEVER;

  for (size_t i = 0; i < a->n_uplinks; i++)
    if (a->held[i]) at = time_min(at, uplink_deadline(a->uplinks[i]));
  return at;
}
