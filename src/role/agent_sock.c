/* agent_sock.c - programs' TCP connections that the skin accepted itself: each
 * is a flow (role/sock.h) to a service. */
#include <stdlib.h>
#include <string.h>
#include <ztna/err.h>

#include "role/agent_flow.h"
#include "role/agent_local.h"
#include "role/sock.h"

/* A person may start a program right after this agent. */
#define LIST_WITHIN (10 * SEC)

struct agent_socks {
  struct socks *table;
  uint8_t why[ZTNA_AGENT_SOCK_MAX]; /* the last end of each number */
};

struct prog {
  struct agent_flow flow;
  struct ztna_agent *agent;
  struct sock *sock;
  char service[64]; /* as asked for, until it is known */
  uint16_t port;
  struct ztna_addr from;
  uint64_t wait_until;
};

/* --- what the flow says */

static void on_answer(struct sock *s, enum reason why) {}

static void on_lost(struct sock *s) {
  struct prog *p = s->user;

  agent_flow_lost(p->agent, &p->flow);
}

static void on_end(struct sock *s, enum reason why) {
  struct prog *p = s->user;

  p->agent->socks->why[s->number] = (uint8_t)why;
  agent_flow_end(p->agent, &p->flow);
  s->user = NULL;
  free(p);
}

static const struct sock_events events = {
    .on_answer = on_answer, .on_lost = on_lost, .on_end = on_end};

static void on_refused(struct agent_flow *f, enum reason why) {
  sock_kill(((struct prog *)f)->sock, why);
}

/* --- to the service */

/* The service's virtual address, v4 first, or the one that was asked for. */
static bool set_dst(struct prog *p, const struct service *s) {
  struct ztna_addr asked;
  int k = s->addrs[0].family ? 0 : 1;

  if (ztna_addr_parse(&asked, p->service) == 0) k = asked.family == 6;
  p->flow.dst = s->addrs[k];
  p->flow.dst.port = p->port;
  return p->flow.dst.family;
}

/* As the connector knows this agent: a program's own address (127.0.0.1 mostly)
 * says nothing there. */
static void set_src(struct prog *p) {
  const struct ztna_addr *own = &p->agent->addrs[p->flow.dst.family == 6];

  p->flow.src = own->family ? *own : p->flow.dst;
  p->flow.src.port = p->from.port ? p->from.port : 1;
}

/* The service that was asked for, when it can be dialled. A refused one that
 * the relay does not list has no address, but a reason. */
static void try(struct prog *p) {
  struct service *s = agent_service_named(p->agent, p->service);
  enum reason why = REASON_NONE;

  if (s && set_dst(p, s)) {
    set_src(p);
    why = agent_flow_begin(p->agent, s, &p->flow);
  } else if (s && s->use == USE_REFUSED) {
    why = s->why;
  } else if (!s && p->agent->listed) {
    why = REASON_NO_SUCH_SERVICE;
  }
  if (why) sock_kill(p->sock, why);
}

static void try_waiting(struct sock *s, void *ud) {
  struct prog *p = s->user;

  if (p && !p->flow.service && s->flow.state == TCPFLOW_LOST) try(p);
}

void agent_socks_listed(struct ztna_agent *a) {
  if (a->socks) socks_each(a->socks->table, try_waiting, NULL);
}

/* --- life */

static int make_table(struct ztna_agent *a) {
  struct agent_socks *t;

  if (a->socks) return 0;
  t = calloc(1, sizeof(*t));
  if (!t) return ZTNA_ENOMEM;
  t->table = socks_new(ZTNA_AGENT_SOCK_MAX, &events, &a->tcp);
  if (!t->table) {
    free(t);
    return ZTNA_ENOMEM;
  }
  a->socks = t;
  return 0;
}

/* Its user is freed by on_end, which socks_free does not call. */
static void free_user(struct sock *s, void *ud) {
  struct prog *p = s->user;

  if (!p) return;
  agent_flow_end(p->agent, &p->flow);
  free(p);
  s->user = NULL;
}

void agent_socks_free(struct ztna_agent *a) {
  if (!a->socks) return;
  socks_each(a->socks->table, free_user, NULL);
  socks_free(a->socks->table);
  free(a->socks);
  a->socks = NULL;
}

static void stop_one(struct sock *s, void *ud) {
  sock_kill(s, *(enum reason *)ud);
}

void agent_socks_stop(struct ztna_agent *a, enum reason why) {
  if (a->socks) socks_each(a->socks->table, stop_one, &why);
}

static void tick_one(struct sock *s, void *ud) {
  struct prog *p = s->user;
  uint64_t now = *(uint64_t *)ud;

  if (p && !p->flow.service && now >= p->wait_until &&
      s->flow.state == TCPFLOW_LOST)
    sock_kill(s,
              p->agent->up ? REASON_NO_SUCH_SERVICE : REASON_RELAY_UNREACHABLE);
  else
    sock_tick(s, now);
}

void agent_socks_tick(struct ztna_agent *a, uint64_t now) {
  if (!a->socks || !socks_count(a->socks->table)) return;
  socks_each(a->socks->table, tick_one, &now);
  a->flows_at = time_min(a->flows_at, now + SEC);
}

static struct prog *prog_new(struct ztna_agent *a) {
  uint8_t id[FLOW_ID_LEN];
  struct sock *s = sock_new(a->socks->table);
  struct prog *p = s ? calloc(1, sizeof(*p)) : NULL;

  if (!p) {
    if (s) sock_drop(s);
    return NULL;
  }
  rng_fill(&a->rng, id, sizeof(id));
  tcpflow_init(&s->flow, &a->tcp, sock_flow_ops(), s, id);
  s->user = p;
  p->agent = a;
  p->sock = s;
  p->flow.flow = &s->flow;
  p->flow.on_refused = on_refused;
  p->wait_until = a->now + LIST_WITHIN;
  return p;
}

/* --- the skin's side (ztna/agent.h) */

int ztna_agent_sock_open(struct ztna_agent *a, uint64_t now,
                         const char *service, uint16_t port,
                         const struct ztna_addr *from, uint32_t *sock) {
  struct prog *p;

  a->now = now;
  if (!port || strlen(service) >= sizeof(p->service) || a->stopping ||
      (a->listed && !agent_service_named(a, service)))
    return ZTNA_ENOENT;
  if (make_table(a) < 0 || !(p = prog_new(a))) return ZTNA_EFULL;
  strcpy(p->service, service); /* length judged above */
  p->port = port;
  p->from = *from;
  *sock = p->sock->number;
  sock_accepted(p->sock);
  a->flows_at = time_min(a->flows_at, now + SEC);
  try(p);
  return 0;
}

bool ztna_agent_sock_next(struct ztna_agent *a, struct ztna_sock_op *op) {
  return a->socks && socks_next(a->socks->table, op);
}

const char *ztna_agent_sock_why(const struct ztna_agent *a, uint32_t sock) {
  if (!a->socks || sock >= ZTNA_AGENT_SOCK_MAX) return reason_name(0);
  return reason_name((enum reason)a->socks->why[sock]);
}

uint8_t *ztna_agent_sock_room(struct ztna_agent *a, uint32_t sock,
                              size_t *room) {
  return socks_room(a->socks->table, sock, room);
}

void ztna_agent_sock_read(struct ztna_agent *a, uint64_t now, uint32_t sock,
                          size_t n) {
  a->now = now;
  socks_read(a->socks->table, sock, n);
}

void ztna_agent_sock_eof(struct ztna_agent *a, uint64_t now, uint32_t sock) {
  a->now = now;
  socks_eof(a->socks->table, sock);
}

void ztna_agent_sock_failed(struct ztna_agent *a, uint64_t now, uint32_t sock,
                            enum ztna_sock_error why) {
  a->now = now;
  socks_failed(a->socks->table, sock, why);
}

int ztna_agent_sock_peek(struct ztna_agent *a, uint32_t sock,
                         struct ztna_sock_vec *v, int n) {
  return socks_peek(a->socks->table, sock, v, n);
}

void ztna_agent_sock_wrote(struct ztna_agent *a, uint64_t now, uint32_t sock,
                           size_t n) {
  a->now = now;
  socks_wrote(a->socks->table, sock, n);
}
