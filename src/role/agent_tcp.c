/* agent_tcp.c - what a TCP packet of this machine belongs to. A SYN is held
 * until the answer: "connected" means that the backend is connected. */
#include "role/agent_tcp.h"

#include <stdlib.h>
#include <string.h>

enum {
  CONNS_MAX = 16384,
  CONNS_HELD = 1024,
  SYNS_PER_SEC = 5000,
  SYNS_BURST = 10000,
  TCP_FIN = 1,
  TCP_SYN = 2,
  TCP_RST = 4,
  TCP_ACK = 16,
};
/* A little more than a connector's patience with a backend. */
#define HELD_FOR (10 * SEC)

/* --- the table --- */

static int make(struct ztna_agent *a) {
  struct stack_config cfg = {.ops = &tcp_stack_ops,
                             .ud = a,
                             .rng = &a->rng,
                             .mtu = a->mtu,
                             .offload = a->offload};
  struct agent_tcp *x;

  if (a->tcps) return 0;
  x = calloc(1, sizeof(*x));
  if (!x) return -1;
  x->stack = stack_new(&cfg);
  if (!x->stack) {
    free(x);
    return -1;
  }
  map_init(&x->conns, TCP_KEY_LEN, CONNS_MAX, &a->rng);
  x->tokens = SYNS_BURST;
  x->tick_at = NEVER;
  x->tokens_at = a->now;
  a->tcps = x;
  return 0;
}

static void key_of(uint8_t key[TCP_KEY_LEN], const struct ip_pkt *p) {
  memset(key, 0, TCP_KEY_LEN);
  memcpy(key, p->src.ip, 16);
  memcpy(key + 16, p->dst.ip, 16);
  memcpy(key + 32, &p->src.port, 2);
  memcpy(key + 34, &p->dst.port, 2);
  key[36] = p->version;
}

/* Its addresses and ports may be used anew. */
static void unlist(struct tcp_conn *t) {
  if (t->listed) map_del(&t->agent->tcps->conns, t->key);
  t->listed = false;
}

static void release(struct tcp_conn *t) {
  if (!t->held) return;
  t->held = false;
  t->agent->counters.n_tcp_held--;
}

static struct tcp_conn *conn_new(struct ztna_agent *a, const struct ip_pkt *p,
                                 const uint8_t *syn, size_t len) {
  struct agent_tcp *x = a->tcps;
  struct tcp_conn *t = calloc(1, sizeof(*t));
  uint8_t id[FLOW_ID_LEN];

  if (!t) return NULL;
  key_of(t->key, p);
  if (map_put(&x->conns, t->key, t) < 0) {
    free(t);
    return NULL;
  }
  rng_fill(&a->rng, id, sizeof(id));
  tcpflow_init(&t->tcp, &a->tcp, &tcp_flow_ops, t, id);
  t->agent = a;
  t->listed = t->held = true;
  t->until = a->now + HELD_FOR;
  t->flow.flow = &t->tcp;
  t->flow.src = p->src;
  t->flow.dst = p->dst;
  memcpy(t->syn, syn, len);
  t->syn_len = (uint16_t)len;
  t->next = x->first;
  if (t->next) t->next->prev = &t->next;
  t->prev = &x->first;
  x->first = t;
  a->counters.n_tcp_held++;
  x->tick_at = time_min(x->tick_at, a->now + SEC);
  return t;
}

/* Callbacks of the flow may be up the stack: the storage goes later. */
void tcp_settle(struct tcp_conn *t) {
  struct agent_tcp *x = t->agent->tcps;

  if (!t->end && !t->held) unlist(t);
  if (!t->over || t->end || !t->prev) return;
  release(t);
  unlist(t);
  *t->prev = t->next;
  if (t->next) t->next->prev = t->prev;
  t->prev = NULL;
  t->next = x->gone;
  x->gone = t;
}

static void reap(struct agent_tcp *x) {
  struct tcp_conn *t;

  while (!x->due && (t = x->gone)) {
    x->gone = t->next;
    tcpflow_free(&t->tcp, REASON_NONE);
    free(t);
  }
}

/* --- held SYNs --- */

static bool may_take_syn(struct ztna_agent *a) {
  struct agent_tcp *x = a->tcps;
  uint64_t more = (a->now - x->tokens_at) * SYNS_PER_SEC / SEC;

  if (more) {
    x->tokens += more;
    x->tokens_at = a->now;
    if (x->tokens > SYNS_BURST) x->tokens = SYNS_BURST;
  }
  if (!x->tokens || a->counters.n_tcp_held >= CONNS_HELD) return false;
  x->tokens--;
  return true;
}

/* "Connection refused" is a reset; anything else is said by ICMP. */
static void answer_refusal(struct ztna_agent *a, enum reason why,
                           const uint8_t *syn, size_t len) {
  a->counters.tcp_refused[why]++;
  if (why == REASON_BACKEND_REFUSED || why == REASON_RESET)
    stack_refuse(a->tcps->stack, a->now, syn, len);
  else
    agent_packet_error(a, agent_packet_error_of(why), 0, syn, len);
}

void tcp_refuse(struct tcp_conn *t, enum reason why) {
  struct ztna_agent *a = t->agent;
  char text[ZTNA_ADDR_STRLEN];
  uint32_t hidden;

  if (log_allow(&a->tcps->log, a->now, 10, SEC, &hidden))
    log_info("agent: connection refused service=%s to=%s reason=%s: %s",
             t->flow.service ? t->flow.service->id : "none",
             ztna_addr_print(&t->flow.dst, text), reason_name(why),
             reason_text(why));
  if (t->flow.service) {
    t->flow.service->tcp_refusal.why = why;
    t->flow.service->tcp_refusal.port = t->flow.dst.port;
    t->flow.service->tcp_refusal.at = a->now;
  }
  if (t->held) answer_refusal(a, why, t->syn, t->syn_len);
  release(t);
  tcp_kill(t, why);
}

void tcp_let_in(struct tcp_conn *t) {
  struct ztna_agent *a = t->agent;

  if (!t->held) return;
  release(t);
  t->end = stack_accept(a->tcps->stack, a->now, t->syn, t->syn_len, t);
  if (!t->end) {
    tcp_kill(t, REASON_INTERNAL);
    return;
  }
  a->counters.n_tcp_opened++;
}

static void on_refused(struct agent_flow *f, enum reason why) {
  tcp_refuse((struct tcp_conn *)f, why);
}

static void begin(struct ztna_agent *a, struct service *s,
                  const struct ip_pkt *p, const uint8_t *syn, size_t len) {
  struct tcp_conn *t;
  enum reason why;

  if (len > SYN_MAX || !may_take_syn(a) || !(t = conn_new(a, p, syn, len))) {
    agent_drop(a, REASON_RATE_LIMITED); /* the kernel says it again */
    return;
  }
  t->flow.on_refused = on_refused;
  why = agent_flow_begin(a, s, &t->flow);
  if (why) tcp_refuse(t, why);
}

/* --- packets --- */

static bool is_syn(const struct ip_pkt *p) {
  return (p->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) == TCP_SYN;
}

void agent_tcp_in(struct ztna_agent *a, struct service *s,
                  const struct ip_pkt *p, const uint8_t *ip, size_t len) {
  uint8_t key[TCP_KEY_LEN];
  struct tcp_conn *t;

  if (make(a) < 0) {
    agent_drop(a, REASON_INTERNAL);
    return;
  }
  reap(a->tcps);
  s->used_at = a->now;
  key_of(key, p);
  t = map_get(&a->tcps->conns, key);
  if (t && t->end) {
    stack_in(t->end, a->now, ip, len);
  } else if (t && t->held) {
    if (p->tcp_flags & TCP_RST) { /* its program gave up */
      release(t);
      tcp_kill(t, REASON_RESET);
    } /* else it says again what waits here */
  } else if (is_syn(p)) {
    begin(a, s, p, ip, len);
  } else {
    stack_refuse(a->tcps->stack, a->now, ip, len);
  }
}

bool agent_tcp_drained(struct ztna_agent *a) {
  struct agent_tcp *x = a->tcps;
  struct tcp_conn *t;

  if (!x || (!x->due && !x->stalled)) return false;
  while ((t = x->due)) {
    x->due = t->next_due;
    t->due = false;
    tcp_give(t);
  }
  if (x->stalled) {
    x->stalled = false;
    stack_drained(x->stack, a->now);
  }
  return a->out.n > 0;
}

/* --- life --- */

static void tick_conns(struct ztna_agent *a, uint64_t now) {
  struct tcp_conn *t, *next;

  for (t = a->tcps->first; t; t = next) {
    next = t->next;
    if ((t->held || t->resetting) && now >= t->until)
      tcp_give_up(t);
    else if (!t->over)
      tcpflow_tick(&t->tcp, now);
  }
}

void agent_tcp_tick(struct ztna_agent *a, uint64_t now) {
  struct agent_tcp *x = a->tcps;

  if (!x) return;
  reap(x);
  stack_tick(x->stack, now);
  if (now < x->tick_at) return;
  tick_conns(a, now);
  x->tick_at = x->first ? now + SEC : NEVER;
}

uint64_t agent_tcp_deadline(const struct ztna_agent *a) {
  const struct agent_tcp *x = a->tcps;

  if (!x) return NEVER;
  if (x->gone) return a->now;
  return time_min(stack_deadline(x->stack), x->tick_at);
}

void agent_tcp_stop(struct ztna_agent *a, enum reason why) {
  if (!a->tcps) return;
  while (a->tcps->first) {
    release(a->tcps->first);
    tcp_kill(a->tcps->first, why);
  }
}

void agent_tcp_free(struct ztna_agent *a) {
  struct agent_tcp *x = a->tcps;

  if (!x) return;
  agent_tcp_stop(a, REASON_SHUTTING_DOWN);
  x->due = NULL;
  reap(x);
  stack_free(x->stack);
  map_done(&x->conns);
  free(x);
  a->tcps = NULL;
}
