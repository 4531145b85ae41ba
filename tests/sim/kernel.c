/* kernel.c - see kernel.h. What it wants to say it says in an event of its own:
 * what the agent gives out is lent until the agent is called again. */
#include "sim/kernel.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "codec/ip.h"
#include "role/agent_int.h"
#include "sim/world.h"

enum { FIRST_PORT = 20000, SCALE = 7, SUPER = 60000 };

/* --- to the agent --- */

static struct sim_agent *agent_of(const struct kernel *k) {
  return &k->w->agents[k->agent];
}

static uint16_t window_of(const struct kconn *c) {
  return (uint16_t)((KERNEL_BUFFER - c->unread) >> SCALE);
}

static void say(struct kconn *c, uint8_t flags, const uint8_t *data,
                size_t len) {
  static uint8_t b[MOST];
  const struct tcp_options o = {.mss = 1240, .scale = SCALE};
  struct sim_agent *g = agent_of(c->kernel);
  bool syn = flags & SYN;

  if (!g->core) return;
  c->peer.window = syn ? UINT16_MAX : window_of(c);
  struct ztna_ip ip = {
      .data = b,
      .len = tcp_peer_build(&c->peer, b, flags, syn ? &o : NULL, data, len),
      .gso_size = len > c->mss ? c->mss : 0,
      .partial = c->kernel->offload,
  };
  c->peer.seq += (uint32_t)len + !!(flags & (SYN | FIN));
  ztna_agent_ip_in(g->core, c->kernel->w->now, &ip);
}

/* What may be under way, and the end behind it. */
static void send_on(struct kconn *c) {
  struct tcp_end *e = &c->end;
  static uint8_t data[SUPER];

  while (c->state == KCONN_OPEN && e->sent < e->limit) {
    size_t n = c->kernel->offload ? SUPER : c->mss;
    size_t under_way = c->peer.seq - c->acked;

    if (n > e->limit - e->sent) n = (size_t)(e->limit - e->sent);
    if (under_way + n > c->window) n = c->window - under_way;
    if (under_way >= c->window || n == 0) return;
    tcp_end_fill(e, data, n);
    e->sent += n;
    say(c, ACK, data, n);
  }
  if (c->state != KCONN_OPEN || e->sent < e->limit || e->stays_open ||
      c->fin_sent)
    return;
  c->fin_sent = true;
  say(c, ACK | FIN, NULL, 0);
}

static void drain(struct kernel *k) {
  struct sim_agent *g = agent_of(k);

  if (g->core) g->node.drain(&g->node);
}

void kconn_go(struct kconn *c) {
  send_on(c);
  drain(c->kernel);
}

/* --- events: an ACK is due, bytes may leave, a SYN is said again --- */

static void on_due(void *ud, uint64_t arg) {
  struct kconn *c = ud;

  if (c->kernel->w->net->now == NEVER) return;
  if (c->ack_due && c->state != KCONN_RESET) say(c, ACK, NULL, 0);
  c->ack_due = false;
  kconn_go(c);
}

static void due(struct kconn *c, bool ack) {
  c->ack_due |= ack;
  vnet_at(c->kernel->w->net, c->kernel->w->now, on_due, c, 0);
}

static void on_syn(void *ud, uint64_t times) {
  struct kconn *c = ud;
  struct sim *w = c->kernel->w;

  if (w->net->now == NEVER || c->state != KCONN_SYN_SENT) return;
  c->peer.seq -= times > 0;
  c->n_syns++;
  say(c, SYN, NULL, 0);
  vnet_at(w->net, w->now + (SEC << times), on_syn, c, times + 1);
  drain(c->kernel);
}

/* --- from the agent --- */

static void over(struct kconn *c, enum kconn_state state) {
  if (c->state == KCONN_SYN_SENT) c->told_at = c->kernel->w->now;
  if (state == KCONN_RESET) c->end.got_reset = true;
  c->state = state;
}

/* What is new of it; none: a probe of a shut window, or bytes that came. */
static void trim(const struct kconn *c, struct tcp_seen *s) {
  size_t old = c->peer.ack - s->seq, room = (size_t)window_of(c) << SCALE;

  if (old > s->len) {
    s->flags &= (uint8_t)~FIN;
    old = s->len;
  }
  s->data += old;
  s->len -= old;
  if (s->len <= room) return;
  s->len = room;
  s->flags &= (uint8_t)~FIN;
}

static void take(struct kconn *c, struct tcp_seen *s) {
  trim(c, s);
  tcp_end_judge(&c->end, s->data, s->len);
  if (c->end.sleeps) c->unread += s->len;
  c->peer.ack += (uint32_t)s->len;
  if (s->flags & FIN) {
    c->peer.ack++;
    c->end.got_fin = true;
    if (c->end.what == TCP_SOURCE || c->end.what == TCP_TRICKLE)
      c->end.stays_open = false;
  }
  due(c, true);
}

static void ack_in(struct kconn *c, const struct tcp_seen *s) {
  c->acked = s->ack;
  c->window = (size_t)s->window << 5;
  if (c->fin_sent && c->acked == c->peer.seq) c->fin_acked = true;
  if (c->fin_acked && c->end.got_fin) over(c, KCONN_CLOSED);
}

static void segment_in(struct kconn *c, struct tcp_seen *s) {
  if (c->state == KCONN_CLOSED) {
    if (s->flags & FIN) due(c, true);
  } else if (s->flags & RST) {
    over(c, c->state == KCONN_SYN_SENT ? KCONN_REFUSED : KCONN_RESET);
  } else if (c->state == KCONN_SYN_SENT && s->flags & SYN) {
    c->peer.ack = s->seq + 1;
    c->mss = s->options.mss;
    c->acked = s->ack;
    c->window = s->window;
    over(c, KCONN_OPEN);
    due(c, true);
  } else if (c->state == KCONN_OPEN) {
    if (s->len || s->flags & FIN) take(c, s);
    ack_in(c, s);
    if (c->window > c->peer.seq - c->acked) due(c, false);
  }
}

static struct kconn *find(struct kernel *k, const struct ztna_addr *own) {
  int i = own->port - FIRST_PORT;

  if (i < 0 || i >= k->n_conns) return NULL;
  return ztna_addr_equal(own, &k->conns[i]->peer.from) ? k->conns[i] : NULL;
}

static bool icmp_in(struct kernel *k, const struct ip_pkt *p) {
  struct kconn *c = p->inner_proto == 6 ? find(k, &p->inner_src) : NULL;

  if (!c) return false;
  c->icmp_type = p->icmp_type;
  c->icmp_code = p->icmp_code;
  if (c->state == KCONN_SYN_SENT) over(c, KCONN_UNREACHABLE);
  return true;
}

/* app.h's: true when it was TCP's. */
static bool packet_in(void *ud, const uint8_t *ip, size_t len) {
  struct kernel *k = ud;
  struct tcp_seen s;
  struct ip_pkt p;
  struct kconn *c;

  if (ip_parse_partial(&p, ip, len) < 0) return false;
  if (p.kind == IP_ICMP_ERROR) return icmp_in(k, &p);
  if (p.kind != IP_TCP) return false;
  if (len > k->largest) k->largest = len;
  if (!tcp_peer_read(&s, ip, len, k->offload) || !(c = find(k, &s.to)))
    k->n_strange++;
  else
    segment_in(c, &s);
  return true;
}

/* --- life --- */

void kernel_init(struct kernel *k, struct sim *w, int agent, bool offload) {
  k->w = w;
  k->agent = agent;
  k->offload = offload;
  agent_of(k)->core->offload = offload;
  agent_of(k)->app.hook = packet_in;
  agent_of(k)->app.hook_ud = k;
}

void kernel_done(struct kernel *k) {
  for (int i = 0; i < k->n_conns; i++) free(k->conns[i]);
}

static struct ztna_addr own(const struct kernel *k, bool v6) {
  struct ztna_addr v[2] = {0};

  for (int i = ztna_agent_addresses(agent_of(k)->core, v); i-- > 0;)
    if (v[i].family == (v6 ? 6 : 4)) return v[i];
  abort();
}

struct kconn *kernel_open(struct kernel *k, const char *service, bool v6,
                          uint16_t port, enum tcp_do what, uint64_t up,
                          uint64_t n) {
  struct kconn *c = calloc(1, sizeof(*c));

  if (!c || k->n_conns == KERNEL_CONNS) abort();
  c->kernel = k;
  c->mss = MOST - 60;
  c->asked_at = k->w->now;
  c->peer.from = own(k, v6);
  c->peer.from.port = (uint16_t)(FIRST_PORT + k->n_conns);
  c->peer.to = sim_service_addr(service, v6);
  c->peer.to.port = port;
  c->peer.seq = (uint32_t)k->n_conns * 0x10000001u;
  c->end = (struct tcp_end){.open = true,
                            .agent = (uint8_t)(100 + k->agent),
                            .id = (uint32_t)k->n_conns,
                            .what = what,
                            .n = n,
                            .limit = TCP_HEAD + up};
  c->end.stays_open =
      what == TCP_SOURCE || what == TCP_RESET || what == TCP_TRICKLE;
  c->down = what == TCP_ECHO ? up : what == TCP_SINK ? 0 : n;
  k->conns[k->n_conns++] = c;
  on_syn(c, 0);
  return c;
}

void kconn_sleep(struct kconn *c) { c->end.sleeps = true; }

void kconn_wake(struct kconn *c) {
  c->end.sleeps = false;
  c->unread = 0;
  say(c, ACK, NULL, 0);
  drain(c->kernel);
}

void kconn_reset(struct kconn *c) {
  say(c, RST | ACK, NULL, 0);
  c->state = KCONN_CLOSED;
  drain(c->kernel);
}

bool kconn_is_complete(const struct kconn *c) {
  const struct tcp_end *e = &c->end;

  return c->state == KCONN_CLOSED && !e->n_wrong && e->got == c->down &&
         e->sent == e->limit;
}
