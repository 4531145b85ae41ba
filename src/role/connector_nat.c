/* connector_nat.c - inner packets to backends and back. One backend socket per
 * (link, source, service port), so that a reply can only go where its request
 * came from, even if two agents' tunnel addresses were equal. */
#include "role/connector_int.h"

#include <stdlib.h>
#include <string.h>
#include <ztna/err.h>

#include "base/log.h"
#include "codec/ip_frag.h"

enum {
  TUNNEL_MTU = 1280,
  SCRATCH = 65535,
  ECHO_MAX = TUNNEL_MTU - IP6_HEADER - ICMP_HEADER,
};

/* --- flows --- */

static bool flow_may_answer(const struct flow *f);

/* Of one whose permission went before it, that is the reason. */
static void flow_ended(struct connector *c, uint32_t i, enum reason why) {
  const struct flow *f = flows_at(c->flows, i);
  const struct link *l = f->ud;

  if (why == REASON_IDLE && l->last_end && !flow_may_answer(f))
    why = l->last_end;
  audit_talk_end(c, i, why);
}

/* False: there is no room for the close, and without it the number must not be
 * given out again; later. */
static bool flow_drop(struct connector *c, uint32_t i, enum reason why) {
  struct link *l = flows_at(c->flows, i)->ud;
  struct op *o = op_push(c);

  if (!o) return false;
  *o = (struct op){.op = {.kind = BACKEND_OP_CLOSE, .flow = i}};
  flow_ended(c, i, why);
  l->n_flows--;
  flows_del(c->flows, i);
  c->counters.n_flows = flows_count(c->flows);
  return true;
}

/* Whom it points to goes. The operations of one turn are bounded by the ring,
 * so what does not fit is only orphaned; the skin's socket is closed when the
 * number is used again. */
static void flow_forget(struct connector *c, uint32_t i, enum reason why) {
  struct link *l = flows_at(c->flows, i)->ud;
  struct op *o = op_push(c);

  if (o) *o = (struct op){.op = {.kind = BACKEND_OP_CLOSE, .flow = i}};
  flow_ended(c, i, why);
  l->n_flows--;
  flows_del(c->flows, i);
  c->counters.n_flows = flows_count(c->flows);
}

void nat_forget(struct link *l, enum reason why) {
  struct connector *c = l->owner;
  uint32_t i;

  while ((i = flows_oldest(c->flows, l->number)) != FLOWS_NONE)
    flow_forget(c, i, why);
}

void nat_end(struct connector *c, const struct link *l, const struct service *s,
             enum reason why) {
  for (uint32_t i = 0; i < c->o.max_flows; i++) {
    const struct flow *f = flows_at(c->flows, i);

    if (f && f->service == s && (!l || f->ud == l)) flow_forget(c, i, why);
  }
}

/* Another ping is soon begun, and whom it reaches is all that it is for. */
void nat_recheck(struct connector *c, const struct service *s) {
  for (uint32_t i = 0; i < c->o.max_flows; i++) {
    struct flow *f = flows_at(c->flows, i);
    const struct backend_place *b = NULL;

    if (!f || f->service != s) continue;
    if (f->key.proto == IP_PROTO_UDP)
      b = service_backend(s, PROTO_UDP, f->key.dst.port);
    if (!b)
      flow_forget(c, i, REASON_REPLACED);
    else if (b->moved)
      f->moved = true;
  }
}

void nat_tick(struct connector *c, uint64_t now) {
  uint32_t i;

  while ((i = flows_idle(c->flows, now)) != FLOWS_NONE)
    if (!flow_drop(c, i, REASON_IDLE)) return;
}

/* --- errors back to the agent --- */

static void to_agent(struct link *l, uint32_t context, struct pkt *k) {
  struct connector *c = l->owner;

  if (!l->path) {
    pool_put(&c->pool, k);
    connector_drop(c, REASON_ROUTE_UNKNOWN);
    return;
  }
  c->counters.n_from_backend++;
  c->sweep_at = time_min(c->sweep_at, c->now + 100 * MS);
  path_send_packet(l->path, (uint16_t)context, k, l->owner->now);
}

static void send_error(struct link *l, uint32_t context,
                       const struct ztna_addr *from, enum ip_error err,
                       uint32_t mtu, const uint8_t *about, size_t len) {
  struct pkt *k = connector_pkt(l->owner);
  int n;

  if (!k) return;
  n = ip_build_error(pkt_data(k), TUNNEL_MTU, from, err, mtu, about, len);
  if (n <= 0) {
    pool_put(&l->owner->pool, k);
    return;
  }
  k->len = (uint16_t)n;
  to_agent(l, context, k);
}

static void refuse(struct link *l, uint32_t context, const struct ip_pkt *p,
                   enum reason why, enum ip_error err, const uint8_t *about) {
  struct ztna_addr from = p->dst;

  from.port = 0;
  connector_drop(l->owner, why);
  send_error(l, context, &from, err, 0, about, p->len);
}

/* --- to the backend --- */

/* Room for a new flow of this link: the table's, and the link's own share,
 * of which the longest unused gives way. */
static bool make_room(struct connector *c, struct link *l) {
  uint32_t i;

  if (l->n_flows < c->o.max_flows_per_agent &&
      flows_count(c->flows) < c->o.max_flows)
    return true;
  i = flows_oldest(c->flows, l->number);
  return i != FLOWS_NONE && flow_drop(c, i, REASON_TOO_MANY_ROUTES);
}

static uint32_t flow_open(struct link *l, const struct flow_key *key,
                          const struct grant *g,
                          const struct backend_place *b) {
  struct connector *c = l->owner;
  uint32_t i;
  struct op *o;

  if (!make_room(c, l)) return FLOWS_NONE;
  i = flows_add(c->flows, key, c->now);
  if (i == FLOWS_NONE) return i;
  o = op_push(c);
  if (!o) {
    flows_del(c->flows, i);
    return FLOWS_NONE;
  }
  *o = (struct op){.op = {.kind = key->proto == IP_PROTO_UDP
                                      ? BACKEND_OP_OPEN
                                      : BACKEND_OP_OPEN_PING,
                          .flow = i,
                          .addr = b->to[0]}};
  flows_at(c->flows, i)->ud = l;
  flows_at(c->flows, i)->service = g->service;
  audit_talk_begin(c, i, g, &b->to[0]);
  l->n_flows++;
  c->counters.n_flows = flows_count(c->flows);
  return i;
}

/* Why its backend takes nothing new. */
static enum reason obstacle(struct connector *c, const struct service *s,
                            unsigned protocol, uint16_t port,
                            struct backend_place **b) {
  *b = service_backend(s, protocol, port);
  if (!*b) return REASON_PORT_NOT_ALLOWED;
  if (!health_is_up(&s->health)) return REASON_BACKEND_DOWN;
  if ((*b)->n_to) return REASON_NONE;
  service_lost(c, *b);
  return REASON_BACKEND_DOWN;
}

/* The service's last check passed: nobody else need be asked. */
static bool check_passed(const struct health *h) {
  return h->rule.every && health_is_up(h) && h->n_passed && !h->error[0];
}

static void echo(struct link *l, const struct context *x,
                 const struct ip_pkt *p) {
  struct connector *c = l->owner;
  struct ztna_addr from = p->dst;
  struct pkt *k = connector_pkt(c);
  int n =
      k ? ip_build_echo(pkt_data(k), TUNNEL_MTU, &from, &p->src, true,
                        p->src.port, p->icmp_seq, p->payload, p->payload_len)
        : 0;

  if (n > 0) {
    k->len = (uint16_t)n;
    to_agent(l, (uint32_t)x->number, k);
    return;
  }
  if (k) pool_put(&c->pool, k);
  connector_drop(c, k ? REASON_PACKET_TOO_BIG : REASON_RATE_LIMITED);
}

static void packet_refused(struct link *l, const struct context *x,
                           const struct ip_pkt *p, enum reason why) {
  audit_refused(
      l,
      &(struct audit_refusal){.service = x->grant->service->id,
                              .protocol = p->proto == IP_PROTO_UDP   ? "udp"
                                          : p->proto == IP_PROTO_TCP ? "tcp"
                                                                     : "icmp",
                              .src = &p->src,
                              .dst = &p->dst},
      why);
}

static void forward(struct link *l, const struct context *x,
                    const struct ip_pkt *p, unsigned protocol,
                    const uint8_t *about) {
  struct connector *c = l->owner;
  uint16_t port = protocol == PROTO_UDP ? p->dst.port : 0;
  struct flow_key key = {
      .owner = l->number, .proto = p->proto, .src = p->src, .dst = p->dst};
  const struct service *s = x->grant->service;
  struct backend_place *b = NULL;
  enum reason why;
  uint32_t i;

  if (permission_check(&x->grant->may, protocol, port)) {
    refuse(l, (uint32_t)x->number, p, REASON_PORT_NOT_ALLOWED,
           IP_ERR_PROHIBITED, about);
    packet_refused(l, x, p, REASON_PORT_NOT_ALLOWED);
    return;
  }
  if (protocol == PROTO_ICMP && p->payload_len <= ECHO_MAX &&
      check_passed(&s->health)) {
    echo(l, x, p);
    return;
  }
  i = flows_find(c->flows, &key, c->now);
  /* Addresses pass from one service to another. */
  if (i != FLOWS_NONE && flows_at(c->flows, i)->service != s) {
    flow_forget(c, i, REASON_REPLACED);
    i = FLOWS_NONE;
  }
  /* Echo reflects the service: its running pings end, too. */
  if (i == FLOWS_NONE || protocol == PROTO_ICMP) {
    why = obstacle(c, s, protocol, port, &b);
    if (why) {
      refuse(l, (uint32_t)x->number, p, why,
             why == REASON_BACKEND_DOWN ? IP_ERR_HOST : IP_ERR_PORT, about);
      return;
    }
  }
  if (i == FLOWS_NONE) i = flow_open(l, &key, x->grant, b);
  if (i == FLOWS_NONE) {
    refuse(l, (uint32_t)x->number, p, REASON_TOO_MANY_ROUTES, IP_ERR_PROHIBITED,
           about);
    return;
  }
  flows_at(c->flows, i)->context = (uint32_t)x->number; /* may be a new one */
  audit_talk_in(c, i, p->payload_len);
  op_data(c, protocol == PROTO_UDP ? BACKEND_OP_SEND : BACKEND_OP_SEND_ECHO, i,
          p->icmp_seq, p->payload, p->payload_len);
}

/* The checks of PROTOCOL 5: source the agent's own address, destination an
 * address of the opened service. */
static enum reason judge(const struct link *l, const struct context *x,
                         const struct ip_pkt *p) {
  if (!pair_has(l->addrs, &p->src)) return REASON_WRONG_SOURCE;
  if (!pair_has(x->grant->addrs, &p->dst)) return REASON_WRONG_DESTINATION;
  return REASON_NONE;
}

void nat_packet(struct link *l, uint64_t context, const uint8_t *ip,
                size_t len) {
  const struct context *x = context_of(l, context);
  struct connector *c = l->owner;
  struct ip_pkt p;
  enum reason why;
  int n;

  if (!x) {
    connector_drop(c, REASON_NOT_ALLOWED);
    return;
  }
  if (ip_parse(&p, ip, len) < 0) {
    connector_drop(c, REASON_MALFORMED);
    return;
  }
  if ((why = judge(l, x, &p))) {
    connector_drop(c, why);
    packet_refused(l, x, &p, why);
    return;
  }
  if (p.kind == IP_FRAGMENT) {
    n = reass_put(l->reass, &p, ip, c->now, &ip);
    if (n < 0) connector_drop(c, REASON_MALFORMED);
    if (n <= 0 || ip_parse(&p, ip, (size_t)n) < 0) return;
    if (judge(l, x, &p)) return;
  }
  switch (p.kind) {
  case IP_UDP:
    forward(l, x, &p, PROTO_UDP, ip);
    break;
  case IP_ECHO_REQUEST:
    forward(l, x, &p, PROTO_ICMP, ip);
    break;
  case IP_TCP: /* comes as stream bytes (DESIGN, idea 5), never as packets */
  default:
    refuse(l, (uint32_t)context, &p, REASON_PORT_NOT_ALLOWED, IP_ERR_PROTOCOL,
           ip);
  }
}

/* --- from the backend --- */

/* Replies mirror requests (PROTOCOL 5): what may not go there any longer may
 * not come back either. */
static bool flow_may_answer(const struct flow *f) {
  const struct context *x = context_of(f->ud, f->context);
  unsigned protocol = f->key.proto == IP_PROTO_UDP ? PROTO_UDP : PROTO_ICMP;

  return x && pair_has(x->grant->addrs, &f->key.dst) &&
         !permission_check(&x->grant->may, protocol, f->key.dst.port);
}

/* The flow, if what comes from its backend may pass. */
static struct flow *flow_answering(struct connector *c, uint32_t flow) {
  struct flow *f = flows_at(c->flows, flow);

  if (!f || flow_may_answer(f)) return f;
  connector_drop(c, REASON_NOT_ALLOWED);
  return NULL;
}

static void send_cut(struct link *l, const struct flow *f, size_t len) {
  struct connector *c = l->owner;
  struct ip_cut cut = {.pkt = c->scratch,
                       .len = len,
                       .mtu = TUNNEL_MTU,
                       .id = (uint32_t)rng_u64(c->o.rng)};
  struct pkt *k;

  while ((k = connector_pkt(c))) {
    k->len = (uint16_t)ip_cut_next(&cut, pkt_data(k));
    if (!k->len) break;
    to_agent(l, f->context, k);
  }
  if (k)
    pool_put(&c->pool, k);
  else
    connector_drop(c, REASON_RATE_LIMITED);
}

static int build_reply(uint8_t *to, size_t room, const struct flow *f,
                       uint16_t seq, const uint8_t *data, size_t len) {
  if (f->key.proto == IP_PROTO_UDP)
    return ip_build_udp(to, room, &f->key.dst, &f->key.src, 0, data, len);
  return ip_build_echo(to, room, &f->key.dst, &f->key.src, true,
                       f->key.src.port, seq, data, len);
}

static void reply(struct connector *c, uint64_t now, uint32_t flow,
                  uint16_t seq, const uint8_t *data, size_t len) {
  struct flow *f = flow_answering(c, flow);
  struct link *l;
  struct pkt *k;
  int n;

  c->now = now;
  if (!f) return;
  l = f->ud;
  flows_touch(c->flows, flow, now);
  audit_talk_out(c, flow, len);
  if (len + IP6_HEADER + UDP_HEADER > TUNNEL_MTU) {
    n = build_reply(c->scratch, SCRATCH, f, seq, data, len);
    if (n > TUNNEL_MTU) {
      send_cut(l, f, (size_t)n);
      return;
    }
  }
  k = connector_pkt(c);
  n = k ? build_reply(pkt_data(k), TUNNEL_MTU, f, seq, data, len) : 0;
  if (n > 0) {
    k->len = (uint16_t)n;
    to_agent(l, f->context, k);
    return;
  }
  if (k) pool_put(&c->pool, k);
  connector_drop(c, k ? REASON_PACKET_TOO_BIG : REASON_RATE_LIMITED);
}

void connector_backend_in(struct connector *c, uint64_t now, uint32_t flow,
                          const uint8_t *data, size_t len) {
  reply(c, now, flow, 0, data, len);
}

void connector_echo_in(struct connector *c, uint64_t now, uint32_t flow,
                       uint16_t seq, const uint8_t *data, size_t len) {
  reply(c, now, flow, seq, data, len);
}

/* The packet that caused an error is gone; what is quoted is its header as the
 * agent sent it, which is what its kernel looks at. */
static int about_flow(uint8_t *to, size_t room, const struct flow *f) {
  if (f->key.proto == IP_PROTO_UDP)
    return ip_build_udp(to, room, &f->key.src, &f->key.dst, 0, NULL, 0);
  return ip_build_echo(to, room, &f->key.src, &f->key.dst, false,
                       f->key.src.port, 0, NULL, 0);
}

/* It may be elsewhere by now. */
static void ask_where(struct connector *c, const struct flow *f) {
  if (f->key.proto == IP_PROTO_UDP)
    service_lost(c, service_backend(f->service, PROTO_UDP, f->key.dst.port));
}

void connector_backend_failed(struct connector *c, uint64_t now, uint32_t flow,
                              enum connector_backend_error kind, uint32_t mtu) {
  static const struct {
    enum reason why;
    enum ip_error err;
  } what[] = {
      [CONNECTOR_REFUSED] = {REASON_BACKEND_REFUSED, IP_ERR_PORT},
      [CONNECTOR_UNREACHABLE] = {REASON_BACKEND_TIMEOUT, IP_ERR_HOST},
      [CONNECTOR_PROHIBITED] = {REASON_BACKEND_REFUSED, IP_ERR_PROHIBITED},
      [CONNECTOR_TOO_BIG] = {REASON_PACKET_TOO_BIG, IP_ERR_TOO_BIG},
  };
  struct flow *f = flow_answering(c, flow);
  struct ztna_addr from;
  uint8_t about[64];
  int n;

  c->now = now;
  if (!f) return;
  if (kind != CONNECTOR_TOO_BIG && !f->moved) ask_where(c, f);
  connector_drop(c, what[kind].why);
  from = f->key.dst;
  from.port = 0;
  n = about_flow(about, sizeof(about), f);
  if (n > 0)
    send_error(f->ud, f->context, &from, what[kind].err, mtu, about, (size_t)n);
  /* What the agent sends next goes where the backend is now. */
  if (kind != CONNECTOR_TOO_BIG && f->moved)
    flow_forget(c, flow, REASON_REPLACED);
}
