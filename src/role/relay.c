/* relay.c - the relay's life and its verbs: forwarding first, the control API
 * of whatever is no route's. */
#include "role/relay_int.h"

#include <jansson.h>
#include <stdlib.h>

#include "transport/seal.h"

enum { LOG_BURST = 20, STUN_FIRST_BYTE = 3 /* PROTOCOL 2 */ };
#define LOG_EVERY (10 * SEC)

/* --- timers */

int relay_timer_init(struct relay *r, struct relay_timer *t,
                     void (*on)(struct relay *r, struct relay_timer *t)) {
  if (heap_reserve(&r->timers, r->n_timers + 1) < 0) return ZTNA_ENOMEM;
  r->n_timers++;
  t->on = on;
  return 0;
}

void relay_timer_set(struct relay *r, struct relay_timer *t, uint64_t at) {
  heap_set(&r->timers, &t->node, at); /* room was made */
}

void relay_timer_done(struct relay *r, struct relay_timer *t) {
  if (!t->on) return;
  heap_del(&r->timers, &t->node);
  t->on = NULL;
  r->n_timers--;
}

static void timers_run(struct relay *r) {
  struct heap_node *n;
  while ((n = heap_top(&r->timers)) && n->at <= r->now) {
    struct relay_timer *t = TIMER_OWNER(n, relay_timer, node);
    heap_del(&r->timers, n);
    t->on(r, t);
  }
}

int64_t relay_unix(const struct relay *r) {
  uint64_t ns = r->now - r->born_at + r->o.ns_at_start;
  return r->o.unix_at_start + (int64_t)(ns / SEC);
}

bool relay_may_log(struct relay *r, struct log_limit *l) {
  uint32_t hidden = 0;
  if (!log_allow(l, r->now, LOG_BURST, LOG_EVERY, &hidden)) return false;
  if (hidden) log_warn("relay: lines of this kind left out n=%u", hidden);
  return true;
}

/* --- life */

static int pools_init(struct relay *r, const struct relay_options *o) {
  size_t most = 2 * o->max_connections;
  bool some = false;
  for (int i = 0; i < RELAY_FAMILIES; i++) {
    if (o->service_pool[i].bits) some = true;
    if (!o->agent_pool[i].bits) continue;
    r->agent_pools[i] = addrpool_new(&o->agent_pool[i], most);
    if (r->agent_pools[i]) continue;
    log_err("relay: the agent pool is too small, or there is no memory");
    return ZTNA_ENOMEM;
  }
  if (!r->agent_pools[0] && !r->agent_pools[1]) some = false;
  if (!some) log_err("relay: no usable service or agent pool");
  return some ? 0 : ZTNA_EINVAL;
}

static int relays_copy(struct relay *r, const struct relay_options *o) {
  r->relays = calloc(o->n_relays + 1, sizeof(*r->relays));
  if (!r->relays) return ZTNA_ENOMEM;
  for (size_t i = 0; i < o->n_relays; i++)
    if (!(r->relays[i] = strdup(o->relays[i]))) return ZTNA_ENOMEM;
  return 0;
}

static int quic_init(struct relay *r, const struct relay_options *o) {
  struct quic_config c = {
      .tls = o->tls,
      .rng = o->rng,
      .retry = o->retry,
      .accept_ops = h3_server_ops(),
      .accept_params = h3_params(true),
      .on_accept = relay_session_accept,
      .resets = true,
      .ud = r,
  };
  memcpy(c.secret, o->state_key, sizeof(c.secret));
  r->quic = quic_new(&c);
  return r->quic ? 0 : ZTNA_ENOMEM;
}

static void maps_init(struct relay *r, const struct relay_options *o) {
  size_t parties = 2 * o->max_connections;
  map_init(&r->parties, RELAY_ID_LEN, parties, o->rng);
  map_init(&r->meetings, RELAY_ID_LEN, o->max_routes, o->rng);
  map_init(&r->grants, RELAY_ID_LEN, 4 * o->max_routes, o->rng);
  map_init(&r->revivals, RELAY_ID_LEN, o->max_routes, o->rng);
  rng_fill(o->rng, r->party_keys, sizeof(r->party_keys));
}

/* Keeps nothing of the caller's but what relay.h says is lent. */
static void options_keep(struct relay *r, const struct relay_options *o) {
  r->o = *o;
  r->o.services = NULL;
  r->o.relays = NULL;
  r->o.stun = NULL;
  r->o.policy = NULL;
  memset(r->o.state_key, 0, sizeof(r->o.state_key));
}

/* --- the policy */

static void rule_end_arm(struct relay *r) {
  int64_t end = policy_next_end(r->policy, relay_unix(r));
  relay_timer_set(r, &r->rule_ends,
                  end == POLICY_NEVER ? NEVER : relay_moment(r, end));
}

/* gone: why what it no longer allows ends. */
static void policy_apply(struct relay *r, enum reason gone) {
  struct party *q, *next;
  for (q = LIST_FIRST(&r->parties_list); q; q = next) {
    next = LIST_NEXT(q, all);
    if (q->role != ROLE_AGENT) continue;
    relay_grant_rejudge(r, q, gone);
    relay_ask_rejudge(r, q);
  }
  rule_end_arm(r);
  relay_events_services(r);
}

static void on_rule_end(struct relay *r, struct relay_timer *t) {
  log_info("relay: a rule of the policy has ended");
  policy_apply(r, REASON_NOT_ALLOWED);
}

/* --- made of */

static int parts_init(struct relay *r, const struct relay_options *o) {
  int rc;
  r->table =
      route_table_new(o->max_routes, o->route_rate, o->route_burst, o->rng);
  if (!r->table) return ZTNA_ENOMEM;
  if ((rc = pools_init(r, o)) < 0) return rc;
  if ((rc = relays_copy(r, o)) < 0) return rc;
  if ((rc = relay_stun_init(r, o)) < 0) return rc;
  if ((rc = relay_limit_init(r)) < 0) return rc;
  if ((rc = relay_registry_init(r, o)) < 0) return rc;
  if ((rc = relay_timer_init(r, &r->told, relay_on_told)) < 0) return rc;
  if ((rc = relay_timer_init(r, &r->rule_ends, on_rule_end)) < 0) return rc;
  return quic_init(r, o);
}

struct relay *relay_new(const struct relay_options *o, uint64_t now) {
  struct relay *r = calloc(1, sizeof(*r));
  if (!r) {
    log_err("relay: no memory");
    return NULL;
  }
  /* jansson would ask the system for its hash seed; the first call counts. */
  json_object_seed((size_t)rng_u64(o->rng) | 1);
  options_keep(r, o);
  r->now = r->born_at = now;
  maps_init(r, o);
  seal_key_derive(r->ticket_key, o->state_key, "ztna relay ticket");
  int rc = parts_init(r, o);
  if (rc == 0) {
    audit_queue_init(&r->audit, o->audit);
    r->policy = o->policy;
    rule_end_arm(r);
    return r;
  }
  if (rc == ZTNA_ENOMEM) log_err("relay: no memory");
  relay_free(r);
  return NULL;
}

static void parties_free(struct relay *r) {
  struct party *p;
  while ((p = LIST_FIRST(&r->parties_list)))
    relay_party_free(r, p, REASON_SHUTTING_DOWN);
}

void relay_free(struct relay *r) {
  if (!r) return;
  r->stopping = true;
  quic_free(r->quic); /* the sessions end */
  if (r->table) parties_free(r);
  relay_resume_done(r);
  relay_registry_done(r);
  relay_stun_done(r);
  relay_limit_done(r);
  for (int i = 0; i < RELAY_FAMILIES; i++) addrpool_free(r->agent_pools[i]);
  for (char **s = r->relays; s && *s; s++) free(*s);
  free(r->relays);
  route_table_free(r->table);
  policy_free(r->policy);
  relay_timer_done(r, &r->told);
  relay_timer_done(r, &r->rule_ends);
  map_done(&r->parties);
  map_done(&r->meetings);
  map_done(&r->grants);
  map_done(&r->revivals);
  heap_done(&r->timers);
  audit_queue_done(&r->audit);
  memset(r->ticket_key, 0, sizeof(r->ticket_key));
  free(r);
}

/* --- verbs */

static void on_other(void *ud, uint64_t now, const struct dgram *seg) {
  struct relay *r = ud;
  if (seg->data[0] <= STUN_FIRST_BYTE)
    relay_stun_in(r, seg);
  else
    quic_udp_in(r->quic, now, &seg->remote, &seg->local, seg->ecn, seg->data,
                seg->len);
}

void relay_udp_in(struct relay *r, uint64_t now, const struct dgram *d) {
  r->now = now;
  if (relay_stun_owns(r, &d->local))
    relay_stun_train(r, d);
  else
    route_in(r->table, now, d, on_other, r);
}

void relay_tick(struct relay *r, uint64_t now) {
  r->now = now;
  timers_run(r);
  quic_tick(r->quic, now);
}

/* Own packets first: what they end must not be forwarded any more. */
int relay_next(struct relay *r, uint64_t now, struct dgram *v, int max) {
  r->now = now;
  int n = quic_next(r->quic, now, v, max);
  n += route_next(r->table, v + n, max - n);
  return n + relay_stun_next(r, v + n, max - n);
}

uint64_t relay_deadline(const struct relay *r) {
  const struct heap_node *n = heap_top(&r->timers);
  return time_min(quic_deadline(r->quic), n ? n->at : NEVER);
}

/* --- asked from outside */

void relay_set_policy(struct relay *r, struct policy *p, uint64_t now) {
  struct policy *old = r->policy;
  struct session *s;
  r->now = now;
  r->policy = p;
  policy_apply(r, REASON_REVOKED);
  policy_free(old); /* grants named its rules until now */
  LIST_FOREACH(s, &r->sessions, all) relay_session_recheck(s);
}

void relay_set_retry_keys(struct relay *r,
                          const uint8_t (*keys)[QUIC_RETRY_KEY_LEN], size_t n) {
  quic_set_retry_keys(r->quic, keys, n);
}

void relay_set_tls(struct relay *r, struct tls *t, uint64_t now) {
  r->now = now;
  r->o.tls = t;
  quic_set_tls(r->quic, t); /* puts out sessions: relay_party_leave */
  relay_parties_recheck(r);
}

void relay_stop(struct relay *r, uint64_t now) {
  struct session *s;
  struct party *p, *next;
  r->now = now;
  r->stopping = true;
  LIST_FOREACH(s, &r->sessions, all) {
    s->closing = true;
    if (h3_conn(s->h3)) quic_close(h3_conn(s->h3), REASON_SHUTTING_DOWN, NULL);
  }
  /* Those whose connection is gone: what they were granted ends now, too. */
  for (p = LIST_FIRST(&r->parties_list); p; p = next) {
    next = LIST_NEXT(p, all);
    if (LIST_EMPTY(&p->sessions)) relay_party_free(r, p, REASON_SHUTTING_DOWN);
  }
}

bool relay_stopped(const struct relay *r) {
  return r->stopping && LIST_EMPTY(&r->sessions);
}

bool relay_ready(const struct relay *r, enum reason *why) {
  *why = r->stopping ? REASON_SHUTTING_DOWN : REASON_NONE;
  return !r->stopping;
}
