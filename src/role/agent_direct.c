/* agent_direct.c - direct ways of a link: what direct.c finds is dialled. */
#include "role/agent_int.h"

#include <string.h>

#include "base/log.h"

/* --- what direct.c asks for --- */

static bool say(void *ud, json_t *m) {
  return ways_say(&((struct link *)ud)->ways, m);
}

static uint64_t rtt(void *ud) {
  return ways_rtt(&((const struct link *)ud)->ways);
}

struct agent_way *agent_direct_place(struct link *l) {
  for (int i = 0; i < LINK_DIRECT; i++)
    if (!agent_way_is_used(&l->direct[i])) return &l->direct[i];
  return NULL;
}

/* The way of this family that is there, not one of a renewal. */
static struct agent_way *way_of_family(struct link *l, int family) {
  for (int i = 0; i < LINK_DIRECT; i++) {
    struct agent_way *w = &l->direct[i];

    if (w->way.path && w->family == family && !w->way.leaving && !w->fresh)
      return w;
  }
  return agent_direct_place(l);
}

static bool is_shared(const struct agent_way *w) {
  for (int i = 0; i < LINK_DIRECT; i++) {
    const struct agent_way *x = &w->link->direct[i];

    if (x != w && x->way.path && x->sock == w->sock &&
        x->remote.family == w->remote.family)
      return true;
  }
  return false;
}

void agent_direct_release(struct agent_way *w) {
  if (w->sock && !is_shared(w))
    direct_release(&w->link->owner->direct, w->sock, w->remote.family);
  w->sock = 0;
}

static void found(void *ud, int family, const struct ztna_addr *remote,
                  uint16_t sock, uint64_t rtt, const uint8_t handle[HANDLE_LEN],
                  const uint8_t peer[HANDLE_LEN]) {
  struct link *l = ud;
  struct ztna_agent *a = l->owner;
  struct agent_way *w = way_of_family(l, family);

  if (!w || agent_way_make(l, w, WAY_DIRECT) < 0) {
    direct_release(&a->direct, sock, remote->family);
    return;
  }
  if (w->sock != sock) agent_direct_release(w);
  w->family = family;
  w->remote = *remote;
  w->sock = sock;
  w->rtt = rtt;
  memcpy(w->handle, handle, HANDLE_LEN);
  memcpy(w->peer_handle, peer, HANDLE_LEN);
  agent_way_dial(w);
}

static const char *name(void *ud) { return ((struct link *)ud)->connector; }

/* By any relay that introduced us. */
static bool is_observed(void *ud, const struct ztna_addr *a) {
  const struct link *l = ud;

  for (int i = 0; i < LINK_RELAYED; i++)
    if (l->relayed[i].way.path && ztna_addr_same_ip(a, &l->relayed[i].observed))
      return true;
  return false;
}

static const struct direct_ops ops = {.say = say,
                                      .rtt = rtt,
                                      .found = found,
                                      .name = name,
                                      .is_observed = is_observed};

/* --- what the link tells it --- */

void agent_direct_want(struct link *l, uint64_t now) {
  struct ztna_agent *a = l->owner;

  if (!a->direct.enabled || !ways_work(&l->ways) ||
      ways_work_direct(&l->ways) || !agent_link_is_in_use(l))
    return;
  if (!l->search) l->search = direct_new(&a->direct, true, &ops, l);
  if (l->search) direct_want(l->search, now);
}

int agent_direct_message(struct link *l, json_t *m) {
  return l->search ? direct_message(l->search, m, l->owner->now) : 0;
}

void agent_direct_joined(struct link *l, struct agent_way *w) {
  if (l->search) direct_joined(l->search, w->sock, l->owner->now);
}

void agent_direct_ended(struct link *l, struct agent_way *w) {
  agent_direct_release(w);
  w->over = true;
  if (l->search && !ways_have_direct(&l->ways))
    direct_lost(l->search, l->owner->now);
}

/* Another may be found before this one is given up. */
void agent_direct_suspect(struct link *l) {
  if (l->search && !ways_work_direct(&l->ways))
    direct_lost(l->search, l->owner->now);
  l->owner->sweep_at = l->owner->now;
}

/* A NAT that forgot this path may have forgotten the relays, too, over which
 * packets go next: they hear of us first. */
void agent_direct_check_silence(struct agent_way *w, bool quiet, uint64_t now) {
  struct link *l = w->link;

  if (!quiet && !path_is_silent(w->way.path, now)) return;
  if (quiet) path_probe(w->way.path, now);
  for (int i = 0; i < LINK_RELAYED; i++)
    if (l->relayed[i].way.path)
      uplink_probe(l->owner->uplinks[l->relayed[i].relay], now);
}

void agent_direct_free(struct link *l) {
  if (l->search) direct_free(l->search);
  l->search = NULL;
}
