/* connector_direct.c - direct ways to agents: direct.c finds where the two ends
 * reach each other, the agent dials there, and what it dials is a way of the
 * link like any other. */
#include "role/connector_int.h"

#include <string.h>
#include <ztna/err.h>

#include "base/hex.h"

#define HELLO_WITHIN (3 * SEC) /* of a direct path that is live */
#define DIAL_WITHIN (60 * SEC) /* as long as its handle accepts */

/* --- what direct.c asks for --- */

static bool say(void *ud, json_t *m) {
  return ways_say(&((struct link *)ud)->ways, m);
}

static uint64_t rtt(void *ud) {
  return ways_rtt(&((const struct link *)ud)->ways);
}

/* Nobody dials what a former round gave any more. */
static void forget_former(struct link *l) {
  for (size_t i = l->ways.n; i-- > 0;) {
    struct link_way *w = link_way_at(l, i);

    if (w->way.kind != WAY_DIRECT || path_is_live(w->way.path)) continue;
    link_way_end(w, REASON_REPLACED);
    link_way_free(w);
  }
}

static void listen(void *ud, uint8_t handles[DIRECT_FAMILIES][HANDLE_LEN],
                   uint8_t peer[DIRECT_FAMILIES][HANDLE_LEN]) {
  struct link *l = ud;

  forget_former(l);
  for (int i = 0; i < DIRECT_FAMILIES; i++) {
    struct link_way *w =
        link_way_new(l, WAY_DIRECT, handles[i], peer[i], rtt(l));

    if (w)
      w->until = l->owner->now + DIAL_WITHIN;
    else
      connector_drop(l->owner, REASON_TOO_MANY_ROUTES);
  }
}

static const char *name(void *ud) { return ((struct link *)ud)->agent; }

/* By any relay that introduced us. */
static bool is_observed(void *ud, const struct ztna_addr *a) {
  struct link *l = ud;

  for (size_t i = 0; i < l->ways.n; i++)
    if (l->ways.v[i]->kind == WAY_RELAY &&
        ztna_addr_same_ip(a, &link_way_at(l, i)->observed))
      return true;
  return false;
}

/* Only relays keep the rate that a rule of their policy gives. */
static bool may_be_direct(void *ud) { return !grants_limit_rate(ud); }

static const struct direct_ops ops = {.say = say,
                                      .rtt = rtt,
                                      .listen = listen,
                                      .name = name,
                                      .is_observed = is_observed,
                                      .may = may_be_direct};

/* --- what a link tells it --- */

int link_direct_message(struct link *l, json_t *m) {
  struct connector *c = l->owner;

  if (!l->direct) l->direct = direct_new(&c->direct, false, &ops, l);
  return l->direct ? direct_message(l->direct, m, c->now) : 0;
}

void link_direct_end(struct link *l) {
  for (size_t i = l->ways.n; i-- > 0;)
    if (l->ways.v[i]->kind == WAY_DIRECT)
      link_way_end(link_way_at(l, i), REASON_RATE_LIMITED);
}

void link_direct_live(struct link_way *w) {
  w->until = w->link->owner->now + HELLO_WITHIN;
}

/* The socket on which it lives is its own from here on. */
void link_direct_joined(struct link_way *w) {
  const struct quic_conn *conn = path_conn(w->way.path);
  struct link *l = w->link;
  uint16_t sock = quic_sock(conn);

  w->until = NEVER;
  if (w->sock != sock) link_direct_release(w);
  w->sock = sock;
  w->family = quic_remote(conn).family;
  if (l->direct) direct_joined(l->direct, sock, l->owner->now);
}

void link_direct_left(struct link *l) {
  if (l->direct && !ways_have_direct(&l->ways))
    direct_lost(l->direct, l->owner->now);
}

/* What forgot us before this machine may have forgotten the relays, too, over
 * which the agent goes on: they and it hear of us again. */
void link_direct_silent(struct link_way *w, bool quiet, uint64_t now) {
  struct link *l = w->link;

  if (quiet) path_probe(w->way.path, now);
  for (size_t i = 0; i < l->ways.n; i++)
    if (l->ways.v[i]->kind == WAY_RELAY)
      uplink_probe(l->owner->uplinks[link_way_at(l, i)->relay], now);
}

/* One that was asked for beside another lives on the same. */
static bool is_shared(const struct link_way *w) {
  const struct link *l = w->link;

  for (size_t i = 0; i < l->ways.n; i++) {
    const struct link_way *x = link_way_at(l, i);

    if (x != w && x->sock == w->sock && x->family == w->family) return true;
  }
  return false;
}

void link_direct_release(struct link_way *w) {
  if (w->sock && !is_shared(w))
    direct_release(&w->link->owner->direct, w->sock, w->family);
  w->sock = 0;
}

json_t *link_direct_status(const struct link *l) {
  if (l->direct) return direct_status(l->direct);
  return json_pack("{s:s}", "state",
                   l->owner->direct.enabled ? "waiting" : "off");
}

/* --- another one beside it --- */

/* The agent asked for the next before it dialled this one. */
static void forget_undialled(struct link *l) {
  for (size_t i = l->ways.n; i-- > 0;) {
    struct link_way *w = link_way_at(l, i);

    if (w->beside && !path_is_live(w->way.path))
      link_way_end(w, REASON_REPLACED);
  }
}

static uint64_t rtt_of(const struct link_way *w) {
  struct quic_info i;

  quic_info(path_conn(w->way.path), &i);
  return i.srtt;
}

/* Before a certificate runs out, or when one was exchanged: the agent dials
 * between the same two addresses, and leaves the former when the new one has
 * joined. */
int link_direct_another(struct link_way *w, json_t *m) {
  const char *text = json_string_value(json_object_get(m, "mine"));
  struct connector *c = w->link->owner;
  uint8_t handle[HANDLE_LEN], peer[HANDLE_LEN];
  char hex[2 * HANDLE_LEN + 1];
  struct link_way *n;

  if (!hex_parse(peer, HANDLE_LEN, text)) return ZTNA_EMALFORMED;
  if (w->way.kind != WAY_DIRECT || w->dying || grants_limit_rate(w->link))
    return 0;
  forget_undialled(w->link);
  rng_fill(c->o.rng, handle, HANDLE_LEN);
  n = link_way_new(w->link, WAY_DIRECT, handle, peer, rtt_of(w));
  if (!n) {
    connector_drop(c, REASON_TOO_MANY_ROUTES);
    return 0;
  }
  n->beside = true;
  n->until = c->now + DIAL_WITHIN;
  path_say(w->way.path, json_pack("{s:s, s:s}", "type", "another", "handle",
                                  hex_print(handle, HANDLE_LEN, hex)));
  return 0;
}

/* --- all of them --- */

static bool is_backend(const struct service *s, const struct ztna_addr *a) {
  for (size_t i = 0; i < s->n_backends; i++)
    for (size_t k = 0; k < s->backends[i].n_to; k++)
      if (ztna_addr_same_ip(a, &s->backends[i].to[k])) return true;
  return false;
}

/* An agent could else have us send to what it may not reach. */
static bool is_forbidden(void *ud, const struct ztna_addr *a) {
  const struct connector *c = ud;

  if (uplinks_are_at(c->uplinks, c->n_uplinks, a)) return true;
  for (size_t i = 0; i < c->n_services; i++)
    if (is_backend(c->services[i], a)) return true;
  return false;
}

static void copy_networks(struct outside *o, const struct ztna_prefix *v,
                          size_t n) {
  while (o->n_networks < n && o->n_networks < OUTSIDE_NETWORKS) {
    o->networks[o->n_networks] = v[o->n_networks];
    o->n_networks++;
  }
}

int connector_direct_init(struct connector *c) {
  int rv = direct_common_init(&c->direct, c->o.rng, &c->outside, c->o.direct);

  copy_networks(&c->outside, c->o.direct_networks, c->o.n_direct_networks);
  c->direct.is_forbidden = is_forbidden;
  c->direct.ud = c;
  return rv;
}

void connector_direct_relay(struct connector *c, const struct uplink *u,
                            bool up) {
  struct ztna_addr addr = {0};

  if (up) addr = uplink_remote(u);
  direct_relay(&c->direct, connector_relay_index(c, u), &addr);
}

/* The relays first: until they know where we are now, what leaves over them is
 * lost. */
void connector_network_changed(struct connector *c, uint64_t now) {
  c->now = now;
  for (size_t i = 0; i < c->n_uplinks; i++)
    uplink_network_changed(c->uplinks[i], now);
  for (size_t i = 0; i < c->n_links; i++)
    for (size_t k = 0; c->links[i] && k < c->links[i]->ways.n; k++)
      link_way_network_changed(link_way_at(c->links[i], k), now);
  direct_network_changed(&c->direct, now);
}
