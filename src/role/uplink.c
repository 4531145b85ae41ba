/* uplink.c - the control connection to one relay, for ever. */
#include "role/uplink.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "role/uplink_int.h"

#define BACKOFF_FIRST (500 * MS)
#define BACKOFF_MAX (30 * SEC)

enum { BACKOFF_SOON = 10 };

/* "[2001:db8::1]:4433" and "relay.example.org:4433" without port and brackets,
 * as the certificate must name it. */
static void host_of(char *host, const char *relay) {
  const char *end = strrchr(relay, ':');
  size_t n = end ? (size_t)(end - relay) : strlen(relay);

  if (n && relay[0] == '[') relay++, n = n > 1 ? n - 2 : 0;
  snprintf(host, UPLINK_HOST, "%.*s", (int)n, relay);
}

struct uplink *uplink_new(const struct uplink_options *o) {
  struct uplink *u = calloc(1, sizeof(*u));

  if (!u) return NULL;
  u->o = *o;
  snprintf(u->relay, sizeof(u->relay), "%s", o->relay);
  snprintf(u->trust_domain, sizeof(u->trust_domain), "%s", o->trust_domain);
  host_of(u->host, u->relay);
  u->wants_addrs = true;
  u->retry_at = NEVER;
  u->probe_since = NEVER;
  u->why = REASON_RELAY_UNREACHABLE;
  snprintf(u->text, sizeof(u->text), "not tried yet");
  return u;
}

void uplink_free(struct uplink *u) {
  if (!u) return;
  json_decref(u->held);
  free(u);
}

const char *uplink_name(const struct uplink *u) { return u->relay; }
bool uplink_is_up(const struct uplink *u) { return u->state == UP; }
void uplink_confirm(struct uplink *u) { u->n_failed = 0; }
struct ztna_addr uplink_remote(const struct uplink *u) {
  return u->remote;
}
bool uplinks_are_at(struct uplink *const *v, size_t n,
                    const struct ztna_addr *a) {
  for (size_t i = 0; i < n; i++)
    if (ztna_addr_same_ip(&v[i]->remote, a)) return true;
  return false;
}
const char *uplink_relay_identity(const struct uplink *u) {
  return u->identity;
}

uint64_t uplink_rtt(const struct uplink *u) {
  struct quic_info i;

  if (!u->talk) return 0;
  quic_info(talk_conn(u->talk), &i);
  return i.srtt;
}

enum reason uplink_why(const struct uplink *u, const char **text) {
  if (text) *text = u->state == UP ? "" : u->text;
  return u->state == UP ? REASON_NONE : u->why;
}

bool uplink_is_revoked(const struct uplink *u) { return u->is_revoked; }
bool uplink_revokes_us(const struct uplink *u) { return u->revokes_us; }

json_t *uplink_status(const struct uplink *u) {
  const char *text;
  enum reason why = uplink_why(u, &text);

  return json_pack("{s:s, s:b, s:s, s:s, s:s, s:s, s:f}", "relay", u->relay,
                   "connected", u->state == UP, "reason", reason_name(why),
                   "why", why ? reason_text(why) : "", "fix",
                   why ? reason_fix(why) : "", "text", text, "rtt_ms",
                   (double)uplink_rtt(u) / (double)MS);
}

void uplink_set_addrs(struct uplink *u, const struct ztna_addr *v, size_t n,
                      uint64_t now) {
  bool first = !u->n_addrs;

  u->n_addrs = n < UPLINK_ADDRS ? n : UPLINK_ADDRS;
  memcpy(u->addrs, v, u->n_addrs * sizeof(*v));
  if (first && u->n_addrs && u->state == WAITING) u->retry_at = now;
}

bool uplink_wants_addrs(struct uplink *u) {
  bool wants = u->wants_addrs;

  u->wants_addrs = false;
  return wants;
}

/* --- down --- */

/* Doubling to 2 s, for about a minute, in which people wait for their
 * connections to go on; then to 30 s. */
static uint64_t longest_wait(unsigned n_failed) {
  if (n_failed < 2) return BACKOFF_FIRST << n_failed;
  if (n_failed < BACKOFF_SOON) return 2 * SEC;
  n_failed -= BACKOFF_SOON;
  return n_failed < 3 ? 4 * SEC << n_failed : BACKOFF_MAX;
}

/* Each between half and whole, so that not all come at once. */
static uint64_t backoff(struct uplink *u) {
  uint64_t most = longest_wait(u->n_failed);

  return most / 2 + rng_u64(u->o.rng) % (most / 2);
}

static void went_down(struct uplink *u, uint64_t now, enum reason why,
                      const char *text) {
  if (u->state == CLOSED) return;
  /* Whoever took over would be thrown out in turn: leave it alone. */
  if (why == REASON_REPLACED && !u->hurry) u->n_failed = BACKOFF_SOON + 4;
  u->state = WAITING;
  u->retry_at = u->hurry ? now : now + backoff(u);
  u->hurry = false;
  u->n_failed++;
  u->wants_addrs = true;
  u->probe_since = NEVER;
  u->why = why;
  snprintf(u->text, sizeof(u->text), "%s", text);
  u->o.ev->on_down(u, u->o.ud, why, u->text);
}

void uplink_talk_ended(struct talk *t, const struct quic_end *why) {
  struct uplink *u = t->u;

  if (t == u->next) {
    renew_failed(u, why);
  } else if (t == u->former) {
    u->former = NULL;
    if (u->held) renew_former_read(u);
  } else if (t == u->talk) {
    renew_drop(u);
    u->talk = NULL;
    /* A handshake that was refused proves nothing of the relay. */
    u->is_revoked = u->revokes_us = false;
    if (why->authenticated && why->reason == REASON_REVOKED)
      *(why->remote ? &u->revokes_us : &u->is_revoked) = true;
    went_down(u, quic_now(u->o.quic), why->reason,
              t->mismatch[0] ? t->mismatch : why->text);
  }
}

/* --- up --- */

void uplink_know(struct uplink *u) {
  snprintf(u->identity, sizeof(u->identity), "%s",
           quic_peer(talk_conn(u->talk))->spiffe);
}

void uplink_tell(struct uplink *u, json_t *event) {
  const char *name = json_string_value(json_object_get(event, "event"));

  if (name) u->o.ev->on_event(u, u->o.ud, name, event);
}

/* Events wait for /v1/self, so that nothing arrives before the role is up. */
void uplink_came_up(struct uplink *u, json_t *self) {
  u->state = UP;
  uplink_know(u);
  renew_plan(u);
  u->o.ev->on_up(u, u->o.ud, self);
  talk_ask_events(u->talk, NULL);
}

static void dial(struct uplink *u, uint64_t now) {
  u->remote = u->addrs[u->next_addr++ % u->n_addrs];
  u->talk = talk_dial(u, now);
  if (!u->talk) {
    went_down(u, now, REASON_INTERNAL, "no memory");
    return;
  }
  u->state = DIALLING;
  u->retry_at = NEVER;
  u->is_revoked = u->revokes_us = false;
}

bool uplink_request(struct uplink *u, const char *method, const char *path,
                    json_t *body, uplink_answer_fn fn, void *ud) {
  return u->state == UP && talk_request(u->talk, method, path, body, fn, ud);
}

enum reason uplink_problem(int status, json_t *body) {
  const char *name = json_string_value(json_object_get(body, "reason"));

  if (!status) return REASON_RELAY_UNREACHABLE;
  return name ? reason_find(name) : REASON_INTERNAL;
}

/* --- time --- */

/* The handshake is done on our side only when the relay died in the middle of
 * it; no packet of ours makes the next one send a reset. */
static void check_self(struct uplink *u, uint64_t now) {
  if (u->state != DIALLING || now < u->talk->self_by) return;
  u->talk->self_by = NEVER;
  talk_close(u->talk, REASON_RELAY_UNREACHABLE,
             "no answer after the handshake");
}

void uplink_close(struct uplink *u) {
  if (u->talk) talk_close(u->talk, REASON_SHUTTING_DOWN, NULL);
  renew_drop(u);
  u->state = CLOSED;
}

bool uplink_is_closed(const struct uplink *u) {
  return u->state == CLOSED && !u->n_talks;
}

void uplink_tick(struct uplink *u, uint64_t now) {
  probe_tick(u, now);
  check_self(u, now);
  renew_tick(u, now);
  if (u->state == WAITING && now >= u->retry_at && u->n_addrs) dial(u, now);
}

uint64_t uplink_deadline(const struct uplink *u) {
  if (u->state == WAITING && u->n_addrs) return u->retry_at;
  if (u->state == DIALLING) return u->talk->self_by;
  return time_min(probe_deadline(u), renew_deadline(u));
}
