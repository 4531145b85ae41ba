/* uplink_renew.c - a control connection is made anew beside the present one
 * before a certificate of either end runs out, and when the own one was
 * exchanged. The relay ends the events of the former as those of the next
 * begin (`GET /v1/events?instead=`): between the two nothing is lost, and the
 * role notices nothing. */
#include "base/log.h"
#include "role/uplink_int.h"

#define EARLY_LEAST (5 * SEC)
#define EARLY_MOST (3600 * SEC)
#define LOOK_LEAST SEC   /* a life of seconds is exchanged late in it */
#define BETTER (2 * SEC) /* the clock of certificates has whole seconds */
#define NEXT_FOR (10 * SEC)
#define FORMER_FOR (10 * SEC)
#define HELD_FOR (3 * SEC)
#define AGAIN_FIRST (5 * SEC)

enum { HELD_MAX = 1024, AGAIN_MOST = 6 /* doublings */ };

static uint64_t ends_at(const struct uplink *u) {
  return quic_expires_at(talk_conn(u->talk));
}

/* --- when --- */

static uint64_t between(uint64_t v, uint64_t least, uint64_t most) {
  return v < least ? least : v > most ? most : v;
}

/* Not all in the same second: a relay has many. */
void renew_plan(struct uplink *u) {
  uint64_t now = quic_now(u->o.quic), end = ends_at(u);
  uint64_t left = end > now ? end - now : 0;
  uint64_t margin = between(left / 10, EARLY_LEAST, EARLY_MOST);

  u->early = margin + rng_u64(u->o.rng) % (margin / 2);
  u->renew_at = now;
  u->n_not_renewed = 0;
}

static uint64_t due_at(const struct uplink *u) {
  uint64_t end, at;

  if (u->state != UP || u->next || u->former || !u->talk->name[0]) return NEVER;
  end = ends_at(u);
  if (quic_is_outdated(talk_conn(u->talk)))
    at = 0;
  else if (end == NEVER)
    return NEVER;
  else
    at = end > u->early ? end - u->early : 0;
  return at > u->renew_at ? at : u->renew_at;
}

/* The other end's certificate may still be exchanged. */
static void look_again(struct uplink *u) {
  uint64_t now = quic_now(u->o.quic), end = ends_at(u);
  uint64_t left = end > now ? end - now : 0;

  u->renew_at = now + between(left / 2, LOOK_LEAST, EARLY_MOST);
}

static void try_again(struct uplink *u) {
  uint64_t most = AGAIN_FIRST << u->n_not_renewed;

  if (u->n_not_renewed < AGAIN_MOST) u->n_not_renewed++;
  u->renew_at = quic_now(u->o.quic) + most / 2 + rng_u64(u->o.rng) % (most / 2);
}

/* --- the next one is made --- */

static void begin(struct uplink *u, uint64_t now) {
  u->next_by = now + NEXT_FOR;
  u->next_asked = false;
  u->next = talk_dial(u, now);
  if (!u->next) try_again(u);
}

static bool is_better(const struct uplink *u) {
  return quic_is_outdated(talk_conn(u->talk)) ||
         quic_expires_at(talk_conn(u->next)) > ends_at(u) + BETTER;
}

void renew_self(struct uplink *u, int status, json_t *self) {
  enum reason why = REASON_NONE;

  if (status != 200)
    why = uplink_problem(status, self);
  else if (!u->next->name[0])
    why = REASON_UNSUPPORTED_VERSION;
  else if (!is_better(u))
    why = REASON_REPLACED;
  if (why) {
    talk_close(u->next, why, NULL);
    return;
  }
  u->next_asked = true;
  talk_ask_events(u->next, u->talk);
}

/* The relay has let go of the former. */
void renew_begin_events(struct uplink *u) {
  uint64_t now = quic_now(u->o.quic);

  log_info("uplink: connection made anew relay=%s", u->relay);
  u->former = u->talk;
  u->former->replaced = true;
  u->talk = u->next;
  u->next = NULL;
  uplink_know(u);
  u->held = json_array();
  u->held_bytes = 0;
  u->held_by = now + HELD_FOR;
  u->former_by = now + FORMER_FOR;
  u->probe_since = NEVER;
  renew_plan(u);
}

/* What a certificate does not name any more has to be registered anew. */
void renew_no_events(struct uplink *u, enum reason why) {
  talk_close(u->next, why, "it may not take over");
  if (why != REASON_IDENTITY_MISMATCH) return;
  u->hurry = true;
  talk_close(u->talk, REASON_REPLACED, "the certificate names other services");
}

void renew_failed(struct uplink *u, const struct quic_end *why) {
  u->next = NULL;
  if (why->reason == REASON_REPLACED && !why->remote) {
    look_again(u);
    return;
  }
  try_again(u);
  log_warn("uplink: connection could not be made anew relay=%s reason=%s "
           "text=\"%s\"",
           u->relay, reason_name(why->reason), why->text);
}

/* --- the former one is left --- */

static void release_held(struct uplink *u) {
  json_t *held = u->held, *e;
  size_t i;

  u->held = NULL;
  json_array_foreach(held, i, e) if (u->state == UP) uplink_tell(u, e);
  json_decref(held);
}

/* No relay has more for one reader. */
bool renew_hold(struct uplink *u, json_t *event, size_t len) {
  if (!u->held) return false;
  u->held_bytes += len;
  if (json_array_size(u->held) >= HELD_MAX || u->held_bytes > H3_LINES_MAX) {
    release_held(u);
    return false;
  }
  return json_array_append(u->held, event) == 0;
}

void renew_former_read(struct uplink *u) {
  u->held_by = quic_now(u->o.quic);
  release_held(u);
}

static void leave_former(struct uplink *u, uint64_t now) {
  if (u->held && now >= u->held_by) release_held(u);
  if (!u->former || (now < u->former_by && (u->held || u->former->n_requests)))
    return;
  talk_close(u->former, REASON_REPLACED, NULL);
  u->former = NULL;
}

/* For the role no answer means that the connection is gone, and the next one
 * says it all: so it is. */
void renew_owed(struct uplink *u) {
  if (u->state != UP) return;
  u->hurry = true;
  talk_close(u->talk, REASON_RELAY_UNREACHABLE,
             "the former connection owed an answer");
}

void renew_drop(struct uplink *u) {
  if (u->next) talk_close(u->next, REASON_REPLACED, NULL);
  if (u->former) talk_close(u->former, REASON_REPLACED, NULL);
  u->next = u->former = NULL;
  json_decref(u->held);
  u->held = NULL;
}

/* --- time --- */

void renew_tick(struct uplink *u, uint64_t now) {
  leave_former(u, now);
  if (u->next && now >= u->next_by)
    talk_close(u->next, REASON_RELAY_UNREACHABLE, "no answer for 10 s");
  if (now >= due_at(u)) begin(u, now);
}

uint64_t renew_deadline(const struct uplink *u) {
  uint64_t at = due_at(u);

  if (u->next) at = time_min(at, u->next_by);
  if (u->former) at = time_min(at, u->former_by);
  if (u->former && !u->held && !u->former->n_requests) at = quic_now(u->o.quic);
  return u->held ? time_min(at, u->held_by) : at;
}
