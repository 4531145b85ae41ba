/* agent_way.c - one path of a link, over a relay or direct: its life, and what
 * it says. */
#include "role/agent_int.h"

#include <string.h>
#include <ztna/err.h>

#include "base/log.h"
#include "role/agent_flow.h"

/* Between attempts while another way carries the link. */
#define REDIAL_FIRST SEC
#define REDIAL_MAX (30 * SEC) /* connectors accept for 60 s (path.c) */
/* Between CAs that go, and take along paths that worked. */
#define OUTDONE_APART (10 * SEC)

struct agent_way *agent_way_at(struct link *l, size_t i) {
  if (i < LINK_RELAYED) return &l->relayed[i];
  i -= LINK_RELAYED;
  return i < LINK_DIRECT ? &l->direct[i] : NULL;
}

struct agent_way *agent_way_of(struct link *l, const struct path *p) {
  struct agent_way *w;

  for (size_t i = 0; (w = agent_way_at(l, i)); i++)
    if (w->way.path == p) return w;
  return NULL;
}

bool agent_way_is_used(const struct agent_way *w) { return w->way.path; }

/* For people: which one. */
static const char *name_of(const struct agent_way *w, char *room) {
  if (w->way.kind == WAY_RELAY)
    return uplink_name(w->link->owner->uplinks[w->relay]);
  return ztna_addr_print(&w->remote, room);
}

/* --- what the path says --- */

static int on_check(struct path *p, void *ud, const struct identity *peer) {
  struct agent_way *w = ud;
  struct link *l = w->link;
  struct service *s;

  if (peer->role == ROLE_CONNECTOR && !strcmp(peer->spiffe, l->connector)) {
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
  struct agent_way *w = ud;
  struct link *l = w->link;
  char room[ZTNA_ADDR_STRLEN];

  l->owner->now = quic_now(l->owner->quic);
  w->calm_at = w->live_at = l->owner->now;
  w->n_failed = 0;
  ways_left(&l->ways, &w->way);
  log_info("agent: path live connector=%s %s=%s group=%s", l->connector,
           w->way.kind == WAY_DIRECT ? "direct" : "relay", name_of(w, room),
           quic_group(path_conn(p)));
  agent_cert_plan(w, false);
  agent_link_greet(l, w);
}

static int on_message(struct path *p, void *ud, json_t *m) {
  struct agent_way *w = ud;

  w->link->owner->now = quic_now(w->link->owner->quic);
  return agent_link_message(w->link, w, m);
}

static void on_packet(struct path *p, void *ud, uint64_t context,
                      const uint8_t *ip, size_t len) {
  struct agent_way *w = ud;

  w->link->owner->now = quic_now(w->link->owner->quic);
  agent_link_packet(w->link, context, ip, len);
}

static void on_streams_allowed(struct path *p, void *ud) {
  struct link *l = ((struct agent_way *)ud)->link;
  struct service *s;

  l->owner->now = quic_now(l->owner->quic);
  each_service(l->owner, l, s) agent_flows_go(l->owner, s);
}

static void redial_later(struct agent_way *w) {
  unsigned n = w->n_failed < 6 ? w->n_failed : 6;
  uint64_t wait = REDIAL_FIRST << n;

  w->n_failed++;
  w->dial_due = true;
  w->dial_at = w->link->owner->now + (wait < REDIAL_MAX ? wait : REDIAL_MAX);
}

/* The connection is gone. While another way carries the link the route is kept
 * and dialled again: to give it back would end its grants. */
static void ended(struct agent_way *w, enum reason why) {
  struct link *l = w->link;
  bool others;

  ways_left(&l->ways, &w->way);
  ways_tick(&l->ways, l->owner->now);
  others = ways_work(&l->ways);
  if (w->way.kind == WAY_DIRECT)
    agent_direct_ended(l, w);
  else if (w->route[0] && others && !agent_peer_is_final(why))
    redial_later(w);
  else /* a close frame on its way ends with the route, so the relay tells */
    agent_route_give_back(w, others ? REASON_IDLE : why);
  if (others) return;
  for (int i = 0; i < LINK_RELAYED; i++)
    if (l->relayed[i].dial_due) agent_route_give_back(&l->relayed[i], why);
  if (!agent_link_has_route(l)) agent_link_lost(l, why);
}

/* All paths of a link that ended by one event; and events not too often, for
 * the other end could go on like that. */
static bool may_be_asked_at_once(const struct agent_way *w) {
  struct link *l = w->link;

  if (w->live_at <= l->outdone_at) return true;
  if (l->outdone_at && l->owner->now < l->outdone_at + OUTDONE_APART)
    return false;
  l->outdone_at = l->owner->now;
  return true;
}

/* What a path that worked had shown ran out, or its CA went: there may be a new
 * certificate by now, else the next handshake says so. Who is revoked is. */
static enum reason reason_now(const struct agent_way *w, enum reason why) {
  if (!w->way.joined) return why;
  if (why == REASON_CERTIFICATE_EXPIRED) return REASON_EXPIRED;
  if (why == REASON_BAD_CERTIFICATE && may_be_asked_at_once(w))
    return REASON_EXPIRED;
  return why;
}

/* A handshake that was refused proves nothing of the connector: any box on the
 * way of one path may have answered it. So what works elsewhere goes on. */
static bool is_put_out(const struct agent_way *w, const struct quic_end *why,
                       enum reason now) {
  bool proven = why->authenticated && why->reason != REASON_IDENTITY_MISMATCH;

  return !why->remote && agent_peer_is_final(now) &&
         (proven || !ways_work(&w->link->ways));
}

static void on_end(struct path *p, void *ud, const struct quic_end *why) {
  struct agent_way *w = ud;
  struct link *l = w->link;
  struct ztna_agent *a = l->owner;
  char room[ZTNA_ADDR_STRLEN];
  enum reason now;

  a->now = quic_now(a->quic);
  a->sweep_at = a->now;
  log_info("agent: path ended connector=%s %s=%s reason=%s text=\"%s\"",
           l->connector, w->way.kind == WAY_DIRECT ? "direct" : "relay",
           name_of(w, room), reason_name(why->reason), why->text);
  if (a->stopping) return;
  if (why->remote && why->authenticated && why->reason == REASON_SHUTTING_DOWN)
    agent_flows_abandon(a, l, why->reason);
  now = reason_now(w, why->reason);
  if (is_put_out(w, why, now)) agent_peer_put_out(l, now);
  ended(w, now);
}

static const struct path_events path_events = {
    .on_check = on_check,
    .on_live = on_live,
    .on_message = on_message,
    .on_packet = on_packet,
    .on_streams_allowed = on_streams_allowed,
    .on_end = on_end,
};

/* --- life --- */

int agent_way_make(struct link *l, struct agent_way *w, enum way_kind kind) {
  struct ztna_agent *a = l->owner;

  if (w->way.path) return 0;
  w->link = l;
  w->way.kind = kind;
  w->way.path = path_new(a->quic, &a->pool, &a->rng, &path_events, w);
  if (!w->way.path) return ZTNA_ENOMEM;
  return ways_add(&l->ways, &w->way);
}

void agent_way_free(struct agent_way *w) {
  struct ztna_agent *a = w->link ? w->link->owner : NULL;

  if (!w->way.path) return;
  ways_del(&w->link->ways, &w->way);
  path_total(w->way.path, &a->gone);
  path_free(w->way.path, a->now);
  agent_direct_release(w);
  free(w->ticket);
  memset(w, 0, sizeof(*w));
}

void agent_way_dial(struct agent_way *w) {
  struct ztna_agent *a = w->link->owner;
  struct ztna_addr to = w->remote;
  uint64_t rtt = w->rtt;

  if (w->way.kind == WAY_RELAY) {
    to = uplink_remote(a->uplinks[w->relay]);
    rtt += uplink_rtt(a->uplinks[w->relay]);
  }
  w->dial_due = w->over = false;
  w->calm_at = a->now;
  path_set_sock(w->way.path, w->sock);
  if (path_dial(w->way.path, &to, w->handle, w->peer_handle, rtt, a->now) == 0)
    return;
  log_err("agent: dialling failed connector=%s", w->link->connector);
  ended(w, REASON_INTERNAL);
}

static bool may_dial(const struct agent_way *w, uint64_t now) {
  struct ztna_agent *a = w->link->owner;

  if (!w->dial_due || now < w->dial_at) return false;
  return w->way.kind == WAY_DIRECT ||
         (w->route[0] && uplink_is_up(a->uplinks[w->relay]));
}

void agent_way_tick(struct agent_way *w, uint64_t now) {
  struct ztna_agent *a = w->link->owner;
  bool quiet;

  if (may_dial(w, now)) agent_way_dial(w);
  path_tick(w->way.path, now);
  quiet = path_fell_quiet(w->way.path);
  if (w->way.kind == WAY_DIRECT) {
    agent_direct_check_silence(w, quiet, now);
  } else {
    if (quiet) uplink_probe(a->uplinks[w->relay], now);
    agent_route_check_silence(w, now);
  }
  if (w->dial_due && now < w->dial_at)
    a->sweep_at = time_min(a->sweep_at, w->dial_at);
  a->sweep_at = time_min(a->sweep_at, path_deadline(w->way.path));
}
