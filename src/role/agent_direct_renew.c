/* agent_direct_renew.c - a direct path gets an heir for its certificates' sake
 * (agent_cert.c): another connection between the same two addresses, between
 * which every box lets packets pass already, so nothing is searched and no
 * relay asked. The connector gives a handle for it (`another`). When it has
 * joined, the link moves there as to any better path; what is left goes. */
#include "role/agent_int.h"

#include <string.h>
#include <ztna/err.h>

#include "base/hex.h"
#include "base/log.h"

#define GIVE_UP_AFTER (10 * SEC) /* a handshake has 3 s */
/* What is under way on the old path arrives, and TCP flows leave it; those that
 * could not are lost there and resumed. */
#define LEAVE_AFTER (5 * SEC)
#define LEAVE_WITHIN (60 * SEC)
#define LEAVE_LOOK (200 * MS)

static void look_at(const struct link *l, uint64_t at) {
  l->owner->sweep_at = time_min(l->owner->sweep_at, at);
}

/* An heir, too, may be what the link is at: it was greeted while nothing else
 * worked. */
static void drop(struct agent_way *w, const struct agent_way *other) {
  struct link *l = w->link;

  if (path_is_live(w->way.path)) path_close(w->way.path, REASON_IDLE);
  if (l->path == w->way.path) l->path = other->way.path;
  agent_way_free(w);
}

/* --- asked for --- */

static void begin(struct agent_way *w, uint64_t now) {
  char theirs[2 * HANDLE_LEN + 1], mine[2 * HANDLE_LEN + 1];

  rng_fill(&w->link->owner->rng, w->next_handle, HANDLE_LEN);
  w->renewing = true;
  w->give_up_at = now + GIVE_UP_AFTER;
  path_say(w->way.path,
           json_pack("{s:s, s:s, s:s}", "type", "another", "handle",
                     hex_print(w->peer_handle, HANDLE_LEN, theirs), "mine",
                     hex_print(w->next_handle, HANDLE_LEN, mine)));
  look_at(w->link, w->give_up_at);
}

static bool make_heir(struct agent_way *w, const uint8_t peer[HANDLE_LEN]) {
  struct agent_way *n = agent_direct_place(w->link);

  if (!n || agent_way_make(w->link, n, WAY_DIRECT) < 0) return false;
  n->family = w->family;
  n->remote = w->remote;
  n->sock = w->sock;
  n->rtt = w->rtt;
  memcpy(n->handle, w->next_handle, HANDLE_LEN);
  memcpy(n->peer_handle, peer, HANDLE_LEN);
  n->fresh = n->dial_due = true;
  w->heir = n;
  return true;
}

int agent_direct_another(struct link *l, struct agent_way *w, json_t *m) {
  const char *text = json_string_value(json_object_get(m, "handle"));
  uint8_t peer[HANDLE_LEN];

  if (!hex_parse(peer, HANDLE_LEN, text)) return ZTNA_EMALFORMED;
  if (w->way.kind != WAY_DIRECT || !w->renewing || w->heir) return 0;
  if (!make_heir(w, peer)) w->give_up_at = l->owner->now;
  look_at(l, l->owner->now);
  return 0;
}

/* --- step by step --- */

static void give_up(struct agent_way *w) {
  log_info("agent: direct path not renewed connector=%s", w->link->connector);
  w->renewing = w->way.leaving = false;
  if (w->heir) drop(w->heir, w);
  w->heir = NULL;
  agent_cert_plan(w, true);
}

/* From here on the old way is only there for what still is on it. */
static void adopt(struct agent_way *w, uint64_t now) {
  struct link *l = w->link;

  log_info("agent: direct path renewed connector=%s", l->connector);
  l->owner->counters.n_direct_renewed++;
  w->renewing = w->heir->fresh = false;
  w->way.leaving = true;
  w->leave_at = now + LEAVE_AFTER;
  w->leave_by = now + LEAVE_WITHIN;
  ways_tick(&l->ways, now);
  look_at(l, now + LEAVE_LOOK);
}

/* The old one is gone: its heir, if there is one, is what there is. */
static void succeed(struct agent_way *w) {
  if (w->heir) w->heir->fresh = false;
  w->heir = NULL;
  w->renewing = w->way.leaving = false;
}

static void go_on(struct agent_way *w, uint64_t now) {
  const struct agent_way *n = w->heir;

  if (!way_is_there(&w->way)) {
    succeed(w);
  } else if (n && way_works(&n->way)) {
    adopt(w, now);
  } else if (now >= w->give_up_at || (n && n->over)) {
    give_up(w);
  } else {
    look_at(w->link, w->give_up_at);
  }
}

static bool is_empty(const struct agent_way *w) {
  return !path_has_streams(w->way.path) && !path_waiting(w->way.path);
}

static void leave(struct agent_way *w, uint64_t now) {
  struct link *l = w->link;

  if (!way_is_there(&w->way)) {
    succeed(w);
  } else if (w->heir->over) {
    give_up(w);
  } else if (now >= w->leave_by || (now >= w->leave_at && is_empty(w)) ||
             agent_cert_hurries(w->heir, w->leave_at - LEAVE_AFTER,
                                is_empty(w))) {
    drop(w, w->heir);
  } else {
    look_at(l, now + LEAVE_LOOK);
  }
}

static bool is_due(const struct agent_way *w, uint64_t now) {
  return now >= w->renew_at && way_works(&w->way) && !w->fresh &&
         !agent_renew_is_heir(w);
}

/* Nothing points there any more. */
static bool is_spent(const struct agent_way *w) {
  return w->over && !w->dial_due && w->link->path != w->way.path &&
         !agent_renew_is_heir(w);
}

static void tick(struct agent_way *w, uint64_t now) {
  if (w->way.leaving)
    leave(w, now);
  else if (w->renewing)
    go_on(w, now);
  else if (is_due(w, now))
    begin(w, now);
  else if (is_spent(w))
    agent_way_free(w);
  else if (way_is_there(&w->way))
    look_at(w->link, w->renew_at > now ? w->renew_at : now + SEC);
}

void agent_direct_renew_tick(struct link *l, uint64_t now) {
  for (int i = 0; i < LINK_DIRECT; i++)
    if (l->direct[i].way.path) tick(&l->direct[i], now);
}
