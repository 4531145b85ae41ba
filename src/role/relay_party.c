/* relay_party.c - an identity with what the relay keeps of it while it is
 * connected, and 30 s longer when it went without a goodbye.
 *
 * Several connections may name one identity: a program that came back before
 * its old connection was noticed dead, two programs with one certificate, a
 * probe. The one that declared its instance last speaks for the party; one that
 * never declares any takes nothing over while another is alive. */
#include "role/relay_int.h"

#include <stdlib.h>

/* Role and name as one key. Two keyed hashes: nobody can make two identities
 * collide, so the comparison behind it never fails in practice. */
static void party_key(const struct relay *r, enum role role, const char *spiffe,
                      uint8_t key[RELAY_ID_LEN]) {
  for (int i = 0; i < 2; i++) {
    uint64_t h = siphash(r->party_keys[i], spiffe, strlen(spiffe));
    memcpy(key + 8 * i, &h, sizeof(h));
  }
  key[0] ^= (uint8_t)role;
}

struct party *relay_party_find(struct relay *r, enum role role,
                               const char *spiffe) {
  uint8_t key[RELAY_ID_LEN];
  party_key(r, role, spiffe, key);
  struct party *p = map_get(&r->parties, key);
  return p && !strcmp(p->spiffe, spiffe) ? p : NULL;
}

/* --- life */

static void count(struct relay *r, const struct party *p, int by) {
  uint64_t *n = p->role == ROLE_AGENT ? &r->n.n_agents : &r->n.n_connectors;
  *n += (uint64_t)(int64_t)by;
}

static void on_keep(struct relay *r, struct relay_timer *t) {
  struct party *p = TIMER_OWNER(t, party, keep);
  bool agent = p->role == ROLE_AGENT;
  relay_party_free(r, p, agent ? REASON_IDLE : REASON_NO_CONNECTOR);
}

static enum reason take_addrs(struct relay *r, struct party *p) {
  for (int i = 0; i < RELAY_FAMILIES; i++) {
    if (!r->agent_pools[i]) continue;
    if (addrpool_take(r->agent_pools[i], p->spiffe, &p->addrs[p->n_addrs]) < 0)
      return REASON_TOO_MANY_ROUTES;
    p->n_addrs++;
  }
  return REASON_NONE;
}

static void party_done(struct relay *r, struct party *p) {
  for (int i = 0; i < RELAY_FAMILIES; i++)
    if (p->n_addrs && r->agent_pools[i])
      addrpool_drop(r->agent_pools[i], p->spiffe);
  relay_timer_done(r, &p->keep);
  free(p->chain);
  free(p->spiffe);
  free(p);
}

static struct party *party_new(struct relay *r, const struct identity *id,
                               enum reason *why) {
  struct party *p = calloc(1, sizeof(*p));
  *why = REASON_INTERNAL;
  if (!p) return NULL;
  p->role = id->role;
  p->spiffe = strdup(id->spiffe);
  if (!p->spiffe || relay_timer_init(r, &p->keep, on_keep) < 0) goto fail;
  party_key(r, p->role, p->spiffe, p->key);
  if (p->role == ROLE_AGENT && (*why = take_addrs(r, p)) != REASON_NONE)
    goto fail;
  int rc = map_put(&r->parties, p->key, p);
  *why = rc == ZTNA_EFULL ? REASON_TOO_MANY_ROUTES : REASON_INTERNAL;
  if (rc < 0) goto fail;
  LIST_INSERT_HEAD(&r->parties_list, p, all);
  count(r, p, 1);
  return p;
fail:
  party_done(r, p);
  return NULL;
}

static void meetings_end(struct relay *r, struct party *p, enum reason why) {
  struct meeting *m;
  while ((m = LIST_FIRST(&p->meetings))) relay_meeting_end(r, m, why, p);
}

static void asks_end(struct relay *r, struct party *p, enum reason why) {
  struct ask *a;
  while ((a = LIST_FIRST(&p->asks))) {
    if (a->req)
      relay_ask_refuse(r, a, why, NULL);
    else
      relay_ask_cancel(r, a);
  }
}

void relay_party_free(struct relay *r, struct party *p, enum reason why) {
  struct session *s;
  asks_end(r, p, why);
  if (p->role == ROLE_CONNECTOR) relay_registry_drop(r, p);
  meetings_end(r, p, why);
  while ((s = LIST_FIRST(&p->sessions))) {
    LIST_REMOVE(s, of_party);
    s->party = NULL;
  }
  map_del(&r->parties, p->key);
  LIST_REMOVE(p, all);
  count(r, p, -1);
  party_done(r, p);
}

/* --- its certificate, while it is away */

static void chain_forget(struct party *p) {
  free(p->chain);
  p->chain = NULL;
  p->chain_len = 0;
}

static void chain_keep(struct party *p, const struct session *s) {
  size_t len;
  const uint8_t *der = quic_chain(h3_conn(s->h3), &len);
  chain_forget(p);
  if (!len || !(p->chain = malloc(len))) return;
  memcpy(p->chain, der, len);
  p->chain_len = len;
}

/* What it may not do any more ends on all paths, also on those that no relay
 * sees: connectors end by a grant's end what they end by no route's. */
static void grants_close(struct relay *r, struct party *p, enum reason why) {
  struct meeting *m;
  struct grant *g;
  int end = p->role == ROLE_CONNECTOR;
  LIST_FOREACH(m, &p->meetings, of_end[end])
  while ((g = LIST_FIRST(&m->grants))) relay_grant_close(r, g, why, p);
}

void relay_parties_recheck(struct relay *r) {
  struct party *p, *next;
  enum reason why;
  for (p = LIST_FIRST(&r->parties_list); p; p = next) {
    next = LIST_NEXT(p, all);
    if (!p->chain) continue;
    if (tls_check_chain(r->o.tls, p->chain, p->chain_len, &why) == 0) continue;
    log_info("relay: put out while it is away identity=%s reason=%s", p->spiffe,
             reason_name(why));
    if (why != REASON_CERTIFICATE_EXPIRED) grants_close(r, p, why);
    relay_party_free(r, p, why);
  }
}

bool relay_party_is_revoked(const struct relay *r, const struct party *p) {
  return policy_revokes(r->policy, p->spiffe, &p->serial);
}

/* --- which session speaks for it */

void relay_party_follow(struct party *p) {
  struct quic_conn *c = h3_conn(p->session->h3);
  int end = p->role == ROLE_CONNECTOR;
  struct meeting *m;
  LIST_FOREACH(m, &p->meetings, of_end[end]) {
    if (!m->open) continue;
    m->r.end[end].remote = quic_remote(c);
    m->r.end[end].local = quic_local(c);
  }
}

/* Who looks for a direct path to it may search only this address. */
void relay_party_moved(struct party *p) {
  int end = p->role == ROLE_CONNECTOR;
  struct meeting *m;
  LIST_FOREACH(m, &p->meetings, of_end[end]) {
    struct session *peer = m->end[!end]->session;
    if (!m->open || !peer) continue;
    json_t *e = relay_event("peer-observed");
    json_object_set_new(e, "route", relay_json_id(m->r.id));
    json_object_set_new(e, "observed", relay_json_addr(&p->session->remote));
    relay_event_send(peer, e);
  }
}

static void speak(struct relay *r, struct party *p, struct session *s) {
  const struct identity *id = relay_session_peer(s);
  bool was_gone = !p->session;
  p->session = s;
  policy_serial_parse(&p->serial, id->serial);
  relay_timer_set(r, &p->keep, NEVER);
  chain_forget(p);
  relay_party_follow(p);
  if (p->role == ROLE_AGENT) relay_grant_rejudge(r, p, REASON_REVOKED);
  if (p->role == ROLE_CONNECTOR && was_gone) relay_events_services(r);
}

enum reason relay_party_join(struct session *s, const struct identity *peer) {
  struct relay *r = s->relay;
  enum reason why = REASON_NONE;
  struct party *p = relay_party_find(r, peer->role, peer->spiffe);
  if (!p) p = party_new(r, peer, &why);
  if (!p) return why;
  s->party = p;
  LIST_INSERT_HEAD(&p->sessions, s, of_party);
  if (!p->session) speak(r, p, s);
  return REASON_NONE;
}

void relay_party_declare(struct session *s, const uint8_t *instance) {
  struct relay *r = s->relay;
  struct party *p = s->party;
  struct session *former = p->session;
  bool other = p->has_instance && memcmp(p->instance, instance, RELAY_ID_LEN);

  if (s->retired) { /* said before its program left it */
    if (other || former->declared) return;
    s = former;
  }
  s->declared = true;
  p->has_instance = true;
  memcpy(p->instance, instance, RELAY_ID_LEN);
  if (other) asks_end(r, p, REASON_REPLACED);
  if (former != s) speak(r, p, s);
  if (former && former != s && former->declared)
    relay_session_close(former, REASON_REPLACED);
  if (!other) return;
  log_info("relay: replaced by a newer instance identity=%s", p->spiffe);
  meetings_end(r, p, REASON_REPLACED);
}

/* --- one connection after another */

static struct session *session_of(const struct party *p,
                                  const uint8_t handle[HANDLE_LEN]) {
  struct session *s;
  LIST_FOREACH(s, &p->sessions, of_party)
  if (!s->closing && !memcmp(quic_handle(h3_conn(s->h3)), handle, HANDLE_LEN))
    return s;
  return NULL;
}

/* Whatever was said to the former one stands before its end, and the first that
 * the next one reads is a snapshot: nothing is lost in between. */
enum reason relay_party_hand_over(struct session *s, struct h3_req *req,
                                  const uint8_t handle[HANDLE_LEN]) {
  struct relay *r = s->relay;
  struct party *p = s->party;
  struct session *former = session_of(p, handle);

  if (!former || former == s || former != p->session || s->retired)
    return REASON_ROUTE_UNKNOWN;
  if (p->role == ROLE_CONNECTOR &&
      !relay_registry_fits(p, relay_session_peer(s)))
    return REASON_IDENTITY_MISMATCH;
  s->declared = former->declared;
  relay_session_retire(former);
  p->session = s;
  if (p->role == ROLE_CONNECTOR) relay_asks_inherit(p, former, s);
  relay_events_begin(s, req);
  speak(r, p, s);
  relay_events_services(r);
  log_info("relay: connection made anew identity=%s", p->spiffe);
  return REASON_NONE;
}

/* --- going */

/* When it was our own certificate the party comes back to what it had. */
static bool has_run_out(const struct session *s, const struct quic_end *why) {
  return why->reason == REASON_CERTIFICATE_EXPIRED &&
         relay_session_peer(s)->not_after < tls_now();
}

/* Its certificate is not let in any more, or its name. */
static bool takes_back(const struct quic_end *why) {
  return !why->remote && (why->reason == REASON_REVOKED ||
                          why->reason == REASON_BAD_CERTIFICATE);
}

/* The program said that it ends, or may not go on: nothing is kept. */
static bool ends_at_once(const struct session *s, const struct quic_end *why) {
  if (takes_back(why) || has_run_out(s, why)) return true;
  return s->declared && why->remote &&
         why->code == (uint64_t)QUIC_REASON_CODE + REASON_SHUTTING_DOWN;
}

static struct session *another(const struct party *p) {
  struct session *s;
  LIST_FOREACH(s, &p->sessions, of_party)
  if (s->admitted && !s->closing && !s->retired) return s;
  return NULL;
}

/* Those that were left for the one that is gone: with it nobody is who they
 * could be answered as. */
static void retired_end(struct party *p) {
  struct session *s;
  LIST_FOREACH(s, &p->sessions, of_party)
  if (s->retired) relay_session_close(s, REASON_REPLACED);
}

/* Who waits for this connector's answer asks the next one. */
static void asks_move(struct relay *r, struct party *connector) {
  struct meeting *m, *next;
  for (m = LIST_FIRST(&connector->meetings); m; m = next) {
    next = LIST_NEXT(m, of_end[1]);
    relay_asks_move(r, m);
  }
}

static void keep(struct relay *r, struct party *p, const struct session *s) {
  relay_timer_set(r, &p->keep, r->now + RELAY_KEEP);
  chain_keep(p, s);
}

void relay_party_leave(struct session *s, const struct quic_end *why) {
  struct relay *r = s->relay;
  struct party *p = s->party;
  LIST_REMOVE(s, of_party);
  s->party = NULL;
  if (p->session != s) return;
  p->session = NULL;
  asks_end(r, p, why->reason);
  if (p->role == ROLE_CONNECTOR) asks_move(r, p);
  if (ends_at_once(s, why)) {
    if (p->role == ROLE_CONNECTOR) relay_registry_drop(r, p);
    if (takes_back(why)) grants_close(r, p, why->reason);
    meetings_end(r, p, why->reason);
  }
  retired_end(p);
  struct session *next = another(p);
  if (next)
    speak(r, p, next);
  else if (LIST_EMPTY(&p->meetings) || r->stopping)
    relay_party_free(r, p, why->reason);
  else
    keep(r, p, s);
  relay_events_services(r);
}
