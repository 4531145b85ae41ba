/* connector_splice.c - TCP flows, each spliced to a socket of its backend:
 * their life, who may have how many, and what ends them. */
#include "role/connector_int.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <ztna/err.h>

#include "base/log.h"
#include "codec/proxy2.h"

enum {
  PREFACE_ROOM = 16 + 36 + 2 * 3 + FLOW_ID_LEN + IDENTITY_SPIFFE_MAX,
  STATUS_SPLICES = 64, /* shown of a link */
};

static const struct sock_events sock_events;

/* --- agents --- */

struct tcp_agent *tcp_agent_get(struct connector *c, const char *spiffe) {
  struct tcp_agent *a = c->tcp_agents;

  while (a && strcmp(a->spiffe, spiffe)) a = a->next;
  if (!a) {
    a = calloc(1, sizeof(*a));
    if (!a) return NULL;
    a->owner = c;
    strcpy(a->spiffe, spiffe); /* length judged by request_read */
    a->next = c->tcp_agents;
    c->tcp_agents = a;
  }
  a->n_links++;
  return a;
}

static void agent_release(struct tcp_agent *a) {
  struct tcp_agent **p = &a->owner->tcp_agents;

  if (a->n_links || a->n_flows) return;
  while (*p != a) p = &(*p)->next;
  *p = a->next;
  free(a);
}

void tcp_agent_put(struct tcp_agent *a) {
  if (!a) return;
  a->n_links--;
  agent_release(a);
}

/* --- limits --- */

/* Buffers are full for whoever holds an average share of them or more: who
 * holds less pays for nobody. */
static bool buffers_are_full(const struct tcp_agent *a) {
  const struct connector *c = a->owner;
  uint64_t held = 0, n = 0;

  if (c->tcp.pool.used < c->o.max_buffered) return false;
  for (const struct tcp_agent *i = c->tcp_agents; i; i = i->next) {
    held += i->held;
    n += i->n_flows > 0;
  }
  return a->held * n >= held;
}

static enum reason limits(const struct tcp_agent *a) {
  const struct connector *c = a->owner;

  if (socks_count(c->socks) >= c->o.max_tcp_flows ||
      a->n_flows >= c->o.max_tcp_flows_per_agent)
    return REASON_TOO_MANY_ROUTES;
  return buffers_are_full(a) ? REASON_RATE_LIMITED : REASON_NONE;
}

/* --- making --- */

static int put_proxy_header(struct sock *s, const struct flow_head *h,
                            const struct tcp_agent *a) {
  const struct proxy2 p = {.src = h->src,
                           .dst = h->dst,
                           .unique = h->id,
                           .unique_len = FLOW_ID_LEN,
                           .identity = a->spiffe};
  int n;

  s->preface = malloc(PREFACE_ROOM);
  n = s->preface ? proxy2_write(s->preface, PREFACE_ROOM, &p) : ZTNA_ENOMEM;
  if (n < 0) return n;
  s->preface_len = (uint16_t)n;
  a->owner->counters.n_proxy_headers++;
  return 0;
}

static void enter(struct splice *v, struct tcp_agent *a) {
  v->agent = a;
  v->next = a->splices;
  v->prev = &a->splices;
  if (v->next) v->next->prev = &v->next;
  a->splices = v;
  a->n_flows++;
}

static struct splice *make(struct tcp_agent *a, const struct service *service,
                           const struct backend_place *b,
                           const struct flow_head *h) {
  struct connector *c = a->owner;
  struct splice *v = calloc(1, sizeof(*v));
  struct sock *s = v ? sock_new(c->socks) : NULL;

  if (s && (!b->how.proxy_protocol || put_proxy_header(s, h, a) == 0) &&
      map_put(&c->splices, h->id, v) == 0) {
    *v = (struct splice){.sock = s,
                         .service = service,
                         .src = h->src,
                         .dst = h->dst,
                         .backend = b->to[0],
                         .since = c->now};
    return v;
  }
  if (s) sock_drop(s);
  free(v);
  return NULL;
}

/* An agent that lost our answer asks anew: nothing of the former was delivered
 * to its program. */
static enum reason replace(struct link *l, const uint8_t id[FLOW_ID_LEN]) {
  struct splice *v = splice_find(l->owner, id);

  if (!v) return REASON_NONE;
  if (v->agent != l->tcp) return REASON_MALFORMED;
  sock_kill(v->sock, REASON_REPLACED);
  return REASON_NONE;
}

enum reason splice_new(struct link *l, const struct grant *g,
                       const struct backend_place *b, struct stream *s,
                       const struct flow_head *h, struct splice **made) {
  struct connector *c = l->owner;
  enum reason why = limits(l->tcp);
  struct sock *k;

  if (why) return why;
  why = replace(l, h->id);
  if (why) return why;
  if (!(*made = make(l->tcp, g->service, b, h))) return REASON_INTERNAL;
  enter(*made, l->tcp);
  k = (*made)->sock;
  k->user = *made;
  memcpy(k->addrs, b->to, sizeof(k->addrs));
  k->n_addrs = (unsigned)b->n_to;
  k->timeout = c->o.connect_timeout;
  tcpflow_accept(&k->flow, &c->tcp, sock_flow_ops(), k, s, h);
  audit_flow_begin(*made, l, g);
  sock_connect(k);
  c->counters.n_tcp_flows++;
  c->tcp_at = time_min(c->tcp_at, c->now + SEC);
  return REASON_NONE;
}

struct splice *splice_find(struct connector *c, const uint8_t id[FLOW_ID_LEN]) {
  return map_get(&c->splices, id);
}

void splice_found(struct splice *v) {
  if (v->lost) v->agent->n_lost--;
  v->lost = false;
}

/* --- ending --- */

static void count_end(struct splice *v, enum reason why) {
  struct connector *c = v->agent->owner;

  if (v->sock->flow.answered) {
    c->counters.tcp_ended[why]++;
    return;
  }
  c->counters.tcp_refused[why]++;
  if (why == REASON_BACKEND_REFUSED || why == REASON_BACKEND_TIMEOUT ||
      why == REASON_BACKEND_UNREACHABLE)
    service_lost(c, service_backend(v->service, PROTO_TCP, v->dst.port));
}

static void log_end(const struct splice *v, enum reason why) {
  const struct tcpflow *f = &v->sock->flow;
  char backend[ZTNA_ADDR_STRLEN];

  if (log_get_level() < LOG_LEVEL_DEBUG) return;
  log_debug("connector: tcp closed agent=%s service=%s backend=%s in=%" PRIu64
            " out=%" PRIu64 " after=%" PRIu64 "ms reason=%s",
            v->agent->spiffe, v->service->id,
            ztna_addr_print(&v->backend, backend), f->rx.end, f->tx.end,
            (v->agent->owner->now - v->since) / MS, reason_name(why));
}

/* The slot's storage is the table's until the line has passed it. */
static void on_end(struct sock *s, enum reason why) {
  struct splice *v = s->user;
  struct tcp_agent *a = v->agent;
  struct connector *c = a->owner;

  count_end(v, why);
  log_end(v, why);
  audit_flow_end(v, why);
  splice_found(v);
  s->user = NULL;
  map_del(&c->splices, s->flow.id);
  *v->prev = v->next;
  if (v->next) v->next->prev = v->prev;
  a->n_flows--;
  c->counters.n_tcp_flows--;
  free(v);
  agent_release(a);
}

static void on_lost(struct sock *s) {
  struct splice *v = s->user;
  struct connector *c = v->agent->owner;

  v->lost = true;
  c->tcp_at = time_min(c->tcp_at, c->now + SEC);
  if (++v->agent->n_lost > AGENT_LOST) sock_kill(s, REASON_TOO_MANY_ROUTES);
}

static const struct sock_events sock_events = {.on_lost = on_lost,
                                               .on_end = on_end};

/* --- what grants cover --- */

static bool link_covers(const struct link *l, const struct splice *v) {
  for (int i = 0; i < LINK_GRANTS; i++) {
    const struct grant *g = l->grants[i];

    if (g && g->service == v->service &&
        !permission_check(&g->may, PROTO_TCP, v->dst.port))
      return true;
  }
  return false;
}

/* Over whose path it goes; NULL: over none that stays. */
static const struct link *link_of(const struct splice *v) {
  const struct connector *c = v->agent->owner;
  const struct stream *s = v->sock->flow.stream;

  for (size_t i = 0; s && i < c->n_links; i++)
    if (c->links[i] && link_has_path(c->links[i], stream_path(s)))
      return c->links[i];
  return NULL;
}

/* One that has a stream: by its own link, l; else by any of the agent's. */
static bool is_covered(const struct splice *v, const struct link *l) {
  const struct connector *c = v->agent->owner;

  if (l) return link_covers(l, v);
  for (size_t i = 0; i < c->n_links; i++)
    if (c->links[i] && c->links[i]->tcp == v->agent &&
        link_covers(c->links[i], v))
      return true;
  return false;
}

void splices_revoke(struct tcp_agent *a, const struct service *s,
                    enum reason why) {
  struct splice *v, *next;

  for (v = a->splices; v; v = next) {
    next = v->next;
    if (v->service == s) sock_kill(v->sock, why);
  }
}

void splices_abandon(struct tcp_agent *a) {
  struct splice *v, *next;

  for (v = a->splices; v; v = next) {
    next = v->next;
    if (v->lost) sock_kill(v->sock, REASON_SHUTTING_DOWN);
  }
}

void splices_recheck(struct tcp_agent *a, const struct service *s,
                     enum reason why, bool lost_too) {
  struct splice *v, *next;

  for (v = a->splices; v; v = next) {
    const struct link *l;
    bool waits;

    next = v->next;
    if (v->service != s) continue;
    l = link_of(v);
    waits = v->lost || (v->sock->flow.stream && !l);
    if ((lost_too || !waits) && !is_covered(v, l)) sock_kill(v->sock, why);
  }
}

/* --- the sweep --- */

static uint64_t held_by(const struct splice *v) {
  return bytes_len(&v->sock->flow.tx) + bytes_len(&v->sock->flow.rx);
}

static void sweep(struct sock *s, void *ud) {
  const struct connector *c = ud;
  struct splice *v = s->user;

  if (v) v->agent->held += held_by(v);
  sock_tick(s, c->now);
}

static struct splice *fattest(struct connector *c) {
  struct tcp_agent *most = c->tcp_agents;
  struct splice *v = NULL;

  for (struct tcp_agent *a = most; a; a = a->next)
    if (a->held > most->held) most = a;
  if (!most || !most->held) return NULL;
  for (struct splice *i = most->splices; i; i = i->next)
    if (!v || held_by(i) > held_by(v)) v = i;
  if (v) most->held -= held_by(v);
  return v;
}

/* What came for backends that do not read is bounded by QUIC for each flow
 * alone. When all of it is far too much, the fattest of the fattest agent go.
 */
bool splices_are_too_fat(const struct connector *c) {
  return c->tcp.pool.used > c->o.max_buffered + c->o.max_buffered / 4;
}

static void shed(struct connector *c) {
  struct splice *v;
  size_t n = 0;

  if (!splices_are_too_fat(c)) return;
  while (c->tcp.pool.used > c->o.max_buffered && (v = fattest(c))) {
    sock_kill(v->sock, REASON_RATE_LIMITED);
    n++;
  }
  if (n)
    log_warn("connector: tcp flows reset, buffers are full flows=%zu "
             "reason=rate-limited",
             n);
}

void splices_tick(struct connector *c, uint64_t now) {
  if (now < c->tcp_at && !splices_are_too_fat(c)) return;
  for (struct tcp_agent *a = c->tcp_agents; a; a = a->next) a->held = 0;
  socks_each(c->socks, sweep, c);
  shed(c);
  tcp_heads_tick(c, now);
  c->tcp_at = socks_count(c->socks) || c->heads ? now + SEC : NEVER;
}

/* --- life --- */

int splices_init(struct connector *c) {
  map_init(&c->splices, FLOW_ID_LEN, c->o.max_tcp_flows, c->o.rng);
  c->tcp.quic = c->quic;
  c->tcp_at = NEVER;
  c->heads_end = &c->heads;
  c->socks = socks_new(c->o.max_tcp_flows, &sock_events, &c->tcp);
  return c->socks ? 0 : ZTNA_ENOMEM;
}

static void kill_one(struct sock *s, void *ud) {
  sock_kill(s, REASON_SHUTTING_DOWN);
}

void splices_stop(struct connector *c) { socks_each(c->socks, kill_one, NULL); }

void splices_free(struct connector *c) {
  if (c->socks) splices_stop(c);
  socks_free(c->socks);
  map_done(&c->splices);
  bytes_pool_done(&c->tcp.pool);
}

/* --- asked by people --- */

static const struct metric counters[] = {
    {"ztna_connector_tcp_flows", "TCP flows", METRIC_GAUGE,
     offsetof(struct connector_counters, n_tcp_flows)},
    {"ztna_connector_tcp_opened_total", "TCP flows whose backend was connected",
     METRIC_COUNTER, offsetof(struct connector_counters, n_tcp_opened)},
    {"ztna_connector_tcp_refused_total", "TCP flows refused", METRIC_REASONS,
     offsetof(struct connector_counters, tcp_refused)},
    {"ztna_connector_tcp_ended_total", "TCP flows ended", METRIC_REASONS,
     offsetof(struct connector_counters, tcp_ended)},
    {"ztna_connector_tcp_proxy_headers_total",
     "TCP flows begun with a PROXY header", METRIC_COUNTER,
     offsetof(struct connector_counters, n_proxy_headers)},
    {0},
};

static const struct metric totals[] = {
    {"ztna_connector_tcp_bytes_in_total", "bytes of TCP flows from agents",
     METRIC_COUNTER, offsetof(struct tcpflow_common, n_in)},
    {"ztna_connector_tcp_bytes_out_total", "bytes of TCP flows to agents",
     METRIC_COUNTER, offsetof(struct tcpflow_common, n_out)},
    {"ztna_connector_tcp_lost_total", "times a TCP flow lost its path",
     METRIC_COUNTER, offsetof(struct tcpflow_common, n_lost)},
    {"ztna_connector_tcp_resumed_total", "times one was resumed",
     METRIC_COUNTER, offsetof(struct tcpflow_common, n_resumed)},
    {"ztna_connector_tcp_buffered_bytes", "kept for TCP flows", METRIC_GAUGE,
     offsetof(struct tcpflow_common, pool.used)},
    {0},
};

void splices_metrics(const struct connector *c, struct sbuf *out) {
  metrics_print(out, counters, &c->counters);
  metrics_print(out, totals, &c->tcp);
}

static json_t *splice_status(const struct splice *v) {
  const struct sock *s = v->sock;
  char src[ZTNA_ADDR_STRLEN], backend[ZTNA_ADDR_STRLEN];

  return json_pack(
      "{s:s, s:i, s:s, s:s, s:s, s:I, s:I, s:I}", "service", v->service->id,
      "port", (int)v->dst.port, "source", ztna_addr_print(&v->src, src),
      "backend", ztna_addr_print(&v->backend, backend), "state",
      v->lost        ? "lost"
      : s->connected ? "open"
                     : "connecting",
      "since_ms", (json_int_t)((v->agent->owner->now - v->since) / MS), "in",
      (json_int_t)s->flow.rx.end, "out", (json_int_t)s->flow.tx.end);
}

json_t *splices_status(const struct link *l) {
  json_t *list = json_array();
  json_int_t n = 0;

  for (const struct splice *v = l->tcp->splices; v; v = v->next) {
    const struct stream *s = v->sock->flow.stream;

    if (s && !link_has_path(l, stream_path(s))) continue;
    if (n++ < STATUS_SPLICES) json_array_append_new(list, splice_status(v));
  }
  return json_pack("{s:I, s:i, s:o}", "open", n, "lost", (int)l->tcp->n_lost,
                   "flows", list);
}
