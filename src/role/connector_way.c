/* connector_way.c - the ways to an agent, a relay's route or a direct one: the
 * life of each and of its path. What comes on a path that has not joined its
 * link (connector_link.c) gets nowhere. */
#include "role/connector_int.h"

#include <stdlib.h>
#include <string.h>
#include <ztna/err.h>

#include "base/hex.h"
#include "base/log.h"

/* A relay that does not answer from our new address gets packets all the same.
 */
#define HOLD_FOR SEC

static bool is_relayed(const struct link_way *w) {
  return w->way.kind == WAY_RELAY;
}

/* For the log. */
static const char *route_of(const struct link_way *w) {
  return is_relayed(w) ? w->route : "direct";
}

static struct connector *owner_of(const struct link_way *w) {
  return w->link->owner;
}

/* --- what its path says --- */

static int on_check(struct path *p, void *ud, const struct identity *peer) {
  struct link_way *w = ud;

  if (peer->role == ROLE_AGENT && !strcmp(peer->spiffe, w->link->agent))
    return 0;
  log_warn("connector: path refused route=%s expected=%s got=%s reason=%s",
           route_of(w), w->link->agent, peer->spiffe,
           reason_name(REASON_IDENTITY_MISMATCH));
  audit_path_refused(w, peer);
  return REASON_IDENTITY_MISMATCH;
}

static void now_in(struct link_way *w) {
  owner_of(w)->now = quic_now(owner_of(w)->quic);
}

/* Another connection than the one that had joined, if one had. */
static void left(struct link_way *w) {
  bool was_direct = w->way.joined && !is_relayed(w);

  ways_left(&w->link->ways, &w->way);
  if (was_direct) link_direct_left(w->link);
  owner_of(w)->sweep_at = owner_of(w)->now;
}

static void on_live(struct path *p, void *ud) {
  struct link_way *w = ud;

  now_in(w);
  left(w);
  memcpy(w->link->serial, quic_peer(path_conn(p))->serial,
         sizeof(w->link->serial));
  if (!is_relayed(w)) link_direct_live(w);
  log_info("connector: path live route=%s agent=%s group=%s", route_of(w),
           w->link->agent, quic_group(path_conn(p)));
}

static int on_message(struct path *p, void *ud, json_t *m) {
  struct link_way *w = ud;

  now_in(w);
  return link_message(w, m);
}

static void on_packet(struct path *p, void *ud, uint64_t context,
                      const uint8_t *ip, size_t len) {
  struct link_way *w = ud;

  now_in(w);
  if (w->way.joined)
    nat_packet(w->link, context, ip, len);
  else
    connector_drop(owner_of(w), REASON_WRONG_SOURCE);
}

static void on_stream(struct path *p, void *ud, struct stream *s) {
  struct link_way *w = ud;

  now_in(w);
  tcp_stream(w->link, s, w->way.joined);
}

/* By connector_set_tls. What a way ends by for its relay's sake is dying. */
static bool was_put_out(const struct link_way *w, const struct quic_end *why) {
  return !why->remote && why->authenticated && !w->dying &&
         (why->reason == REASON_REVOKED ||
          why->reason == REASON_BAD_CERTIFICATE);
}

static void on_end(struct path *p, void *ud, const struct quic_end *why) {
  struct link_way *w = ud;
  bool put_out = was_put_out(w, why);

  now_in(w);
  left(w);
  log_info("connector: path ended route=%s agent=%s reason=%s text=\"%s\"",
           route_of(w), w->link->agent, reason_name(why->reason), why->text);
  if (!is_relayed(w)) w->dying = true;
  if (why->remote && why->authenticated && why->reason == REASON_SHUTTING_DOWN)
    splices_abandon(w->link->tcp);
  if (put_out) grants_put_out(w->link, why->reason);
}

static void on_refused(struct path *p, void *ud, const struct quic_end *why) {
  struct link_way *w = ud;

  connector_drop(owner_of(w), why->reason);
  log_warn("connector: path attempt failed route=%s agent=%s reason=%s "
           "text=\"%s\"",
           route_of(w), w->link->agent, reason_name(why->reason), why->text);
}

static const struct path_events path_events = {
    .on_check = on_check,
    .on_live = on_live,
    .on_message = on_message,
    .on_packet = on_packet,
    .on_stream = on_stream,
    .on_end = on_end,
    .on_refused = on_refused,
};

/* --- which of them is used --- */

static void on_chosen(void *ud, struct way *from, struct way *to,
                      bool planned) {
  struct link *l = ud;
  struct connector *c = l->owner;

  l->path = to->path;
  audit_link_path(l, to);
  if (!from) return;
  c->counters.n_moves++;
  log_info("connector: link moved agent=%s from=%s to=%s planned=%s", l->agent,
           route_of(link_way_of(from)), route_of(link_way_of(to)),
           planned ? "yes" : "no");
  if (planned) return;
  c->counters.n_failovers++;
  path_take_queue(to->path, from->path, c->now);
}

/* The agent may still hear us there, so that only we know. */
static void on_suspect(void *ud, struct way *suspect) {
  struct link *l = ud;
  struct link_way *w = link_way_of(suspect);
  char handle[2 * HANDLE_LEN + 1];

  log_info("connector: path suspect agent=%s route=%s", l->agent, route_of(w));
  if (is_relayed(w) || suspect != l->ways.chosen || !ways_work(&l->ways))
    return;
  link_say(l, json_pack("{s:s, s:s}", "type", "silent", "handle",
                        hex_print(w->handle, HANDLE_LEN, handle)));
}

/* A route stays as long as its relay says. */
static void on_dead(void *ud, struct way *dead) {
  struct link_way *w = link_way_of(dead);

  if (!is_relayed(w)) link_way_end(w, REASON_IDLE);
}

const struct ways_ops link_ways_ops = {
    .on_chosen = on_chosen, .on_suspect = on_suspect, .on_dead = on_dead};

/* --- life --- */

struct link_way *link_way_new(struct link *l, enum way_kind kind,
                              const uint8_t handle[HANDLE_LEN],
                              const uint8_t peer_handle[HANDLE_LEN],
                              uint64_t rtt) {
  struct connector *c = l->owner;
  struct link_way *w = calloc(1, sizeof(*w));

  if (!w) return NULL;
  w->link = l;
  w->way.kind = kind;
  memcpy(w->handle, handle, HANDLE_LEN);
  memcpy(w->peer_handle, peer_handle, HANDLE_LEN);
  w->way.path = path_new(c->quic, &c->pool, c->o.rng, &path_events, w);
  if (w->way.path &&
      path_listen(w->way.path, handle, peer_handle, rtt, c->now) == 0 &&
      ways_add(&l->ways, &w->way) == 0) {
    c->sweep_at = c->now;
    return w;
  }
  path_free(w->way.path, c->now);
  free(w);
  return NULL;
}

void link_way_end(struct link_way *w, enum reason why) {
  if (w->dying) return;
  w->dying = true;
  path_close(w->way.path, why);
  left(w);
}

/* No grant points here any more. */
static void take_out(struct link_way *w) {
  struct link *l = w->link;

  ways_del(&l->ways, &w->way);
  for (int i = 0; i < LINK_GRANTS; i++)
    if (l->grants[i] && l->grants[i]->way == w) l->grants[i]->way = NULL;
}

static void release(struct link_way *w) {
  struct connector *c = owner_of(w);

  path_total(w->way.path, &c->gone);
  path_free(w->way.path, c->now);
  link_direct_release(w);
  free(w->ticket);
  free(w);
}

/* What waits to leave by it leaves by another. */
void link_way_free(struct link_way *w) {
  struct link *l = w->link;
  bool in_use = l->path == w->way.path;

  take_out(w);
  if (in_use) l->path = NULL;
  ways_tick(&l->ways, l->owner->now);
  if (in_use && l->path) path_take_queue(l->path, w->way.path, l->owner->now);
  release(w);
}

void link_ways_free(struct link *l) {
  l->path = NULL;
  while (l->ways.n) {
    struct link_way *w = link_way_at(l, l->ways.n - 1);

    take_out(w);
    release(w);
  }
}

static void ask_relay(struct link_way *w, uint64_t now) {
  struct path *p = w->way.path;
  bool quiet = path_fell_quiet(p);

  if (!quiet && !path_is_silent(p, now)) return;
  if (is_relayed(w))
    uplink_probe(owner_of(w)->uplinks[w->relay], now);
  else
    link_direct_silent(w, quiet, now);
}

/* Until its relay has answered from where we are now. */
static void hold(struct link_way *w, uint64_t now) {
  const struct uplink *u = owner_of(w)->uplinks[w->relay];

  if (!uplink_is_up(u)) return;
  w->heard = uplink_heard(u);
  w->held_until = now + HOLD_FOR;
  path_hold(w->way.path, true);
}

static void release_held(struct link_way *w, uint64_t now) {
  struct connector *c = owner_of(w);

  if (!w->held_until) return;
  if (now < w->held_until && uplink_heard(c->uplinks[w->relay]) == w->heard) {
    c->sweep_at = now;
    return;
  }
  w->held_until = 0;
  path_hold(w->way.path, false);
  path_probe(w->way.path, now);
}

void link_way_network_changed(struct link_way *w, uint64_t now) {
  if (is_relayed(w))
    hold(w, now);
  else
    path_probe(w->way.path, now);
  owner_of(w)->sweep_at = now;
}

/* No grant came by it, nobody dialled, nobody said hello. */
static bool is_over(const struct link_way *w, uint64_t now) {
  if (!is_relayed(w)) return now >= w->until;
  return !w->n_grants && now >= w->link->spared_until;
}

void link_way_tick(struct link_way *w, uint64_t now) {
  struct connector *c = owner_of(w);
  struct path *p = w->way.path;

  path_tick(p, now);
  ask_relay(w, now);
  release_held(w, now);
  c->sweep_at = time_min(c->sweep_at, path_deadline(p));
  if (path_silent_since(p) != NEVER)
    c->sweep_at = time_min(c->sweep_at, now + 100 * MS);
  if (!is_relayed(w)) c->sweep_at = time_min(c->sweep_at, w->until);
  if (is_over(w, now))
    link_way_end(w, is_relayed(w) ? REASON_EXPIRED : REASON_IDLE);
}

/* --- asked by people --- */

json_t *link_way_status(const struct link_way *w) {
  json_t *j = way_status(&w->link->ways, &w->way);

  if (!is_relayed(w)) return j;
  json_object_set_new(j, "relay",
                      json_string(uplink_name(owner_of(w)->uplinks[w->relay])));
  json_object_set_new(j, "route", json_string(w->route));
  return j;
}

void link_ways_metrics(const struct connector *c, struct sbuf *out) {
  unsigned n[2] = {0};

  for (size_t i = 0; i < c->n_links; i++)
    for (size_t k = 0; c->links[i] && k < c->links[i]->ways.n; k++) {
      const struct way *w = c->links[i]->ways.v[k];

      n[w->kind] += way_is_there(w);
    }
  sbuf_printf(out,
              "# HELP ztna_connector_paths paths of links, by kind\n"
              "# TYPE ztna_connector_paths gauge\n"
              "ztna_connector_paths{kind=\"relay\"} %u\n"
              "ztna_connector_paths{kind=\"direct\"} %u\n",
              n[WAY_RELAY], n[WAY_DIRECT]);
}
