/* connector_tcp.c - what agents ask for at the head of a stream: a new TCP
 * flow, or one of theirs to go on here (PROTOCOL 5, "TCP flows"). */
#include "role/connector_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define HEAD_WITHIN (5 * SEC)

/* --- refusals --- */

static bool is_policy(enum reason why) {
  return why == REASON_NOT_ALLOWED || why == REASON_PORT_NOT_ALLOWED ||
         why == REASON_WRONG_SOURCE || why == REASON_WRONG_DESTINATION;
}

static void log_refusal(struct link *l, const char *service, enum reason why) {
  struct connector *c = l->owner;
  uint32_t hidden = 0;

  if (!is_policy(why)) {
    log_debug("connector: tcp refused agent=%s service=%s reason=%s", l->agent,
              service, reason_name(why));
    return;
  }
  if (log_allow(&c->tcp_refusals, c->now, 10, SEC, &hidden))
    log_info("connector: tcp refused agent=%s service=%s reason=%s hidden=%u",
             l->agent, service, reason_name(why), hidden);
}

static void refuse(struct link *l, struct stream *s, const char *service,
                   enum reason why) {
  l->owner->counters.tcp_refused[why]++;
  log_refusal(l, service, why);
  tcpflow_refuse(s, why);
}

/* --- open --- */

static enum reason judge(const struct link *l, const struct grant *g,
                         const struct flow_head *h) {
  if (!pair_has(l->addrs, &h->src)) return REASON_WRONG_SOURCE;
  if (!pair_has(g->addrs, &h->dst)) return REASON_WRONG_DESTINATION;
  return permission_check(&g->may, PROTO_TCP, h->dst.port);
}

static enum reason open_on(struct link *l, const struct grant *g,
                           struct stream *s, const struct flow_head *h,
                           struct splice **v) {
  struct connector *c = l->owner;
  struct backend_place *b;
  enum reason why = judge(l, g, h);

  if (!why) why = check_obstacle(c, g->service);
  if (why) return why;
  b = service_backend(g->service, PROTO_TCP, h->dst.port);
  if (!b) return REASON_PORT_NOT_ALLOWED;
  if (!b->n_to) {
    service_lost(c, b);
    return REASON_BACKEND_DOWN;
  }
  return splice_new(l, g, b, s, h, v);
}

/* --- resume and move --- */

/* Another agent's flow is as unknown as none. */
static enum reason may_go_on(struct link *l, const struct splice *v) {
  if (!v || v->agent != l->tcp) return REASON_ROUTE_UNKNOWN;
  for (int i = 0; i < LINK_CONTEXTS; i++) {
    const struct grant *g = l->contexts[i].number ? l->contexts[i].grant : NULL;

    if (g && g->service == v->service &&
        !permission_check(&g->may, PROTO_TCP, v->dst.port))
      return REASON_NONE;
  }
  return REASON_NOT_ALLOWED;
}

/* The flow's stream is s from now on, or will be. On resume it may be over at
 * once, and s gone. */
static void follow(struct link *l, struct sock *k, struct stream *s,
                   const struct flow_head *h, const uint8_t *data, size_t len,
                   bool fin) {
  if (k->user && h->kind != FLOW_OPEN) audit_flow_path(k->user, s);
  if (h->kind == FLOW_MOVE) {
    tcpflow_moving(&k->flow, s, h);
    return;
  }
  if (h->kind == FLOW_RESUME) {
    if (!tcpflow_resumed(&k->flow, s, h)) {
      l->owner->counters.tcp_refused[REASON_MALFORMED]++;
      stream_credit(s, len);
      return;
    }
    if (k->user) splice_found(k->user);
  }
  if (k->flow.stream == s && (len || fin))
    tcpflow_more(&k->flow, data, len, fin);
}

/* --- heads --- */

static void head_free(struct tcp_head *h) {
  struct connector *c = h->link->owner;

  *h->prev = h->next;
  if (h->next)
    h->next->prev = h->prev;
  else
    c->heads_end = h->prev;
  h->link->n_heads--;
  free(h);
}

/* A whole head; data: what came behind it, credited by nobody yet. */
static void act(struct link *l, struct stream *s, const struct flow_head *h,
                const uint8_t *data, size_t len, bool fin) {
  struct connector *c = l->owner;
  struct splice *v = splice_find(c, h->id);
  const struct context *x = NULL;
  const char *service = "none";
  enum reason why;

  if (h->kind == FLOW_OPEN) {
    x = context_of(l, h->context);
    if (x) service = x->grant->service->id;
    why = x ? open_on(l, x->grant, s, h, &v) : REASON_NOT_ALLOWED;
  } else {
    why = may_go_on(l, v);
    if (!why) service = v->service->id;
    if (!why && h->kind == FLOW_MOVE && (len || fin)) why = REASON_MALFORMED;
  }
  if (why) {
    stream_credit(s, len);
    refuse(l, s, service, why);
    if (is_policy(why))
      audit_refused(l,
                    &(struct audit_refusal){.service = x ? service : NULL,
                                            .protocol = "tcp",
                                            .src = &h->src,
                                            .dst = &h->dst},
                    why);
    return;
  }
  follow(l, v->sock, s, h, data, len, fin);
}

static void on_data(struct stream *s, void *ud, const uint8_t *data, size_t len,
                    bool fin) {
  struct tcp_head *h = ud;
  struct link *l = h->link;
  size_t had = h->len, n = sizeof(h->data) - had;
  struct flow_head head;
  int rc;

  l->owner->now = quic_now(l->owner->quic);
  if (n > len) n = len;
  if (n) memcpy(h->data + had, data, n); /* the end may come alone */
  h->len += n;
  rc = flow_head_read(&head, h->data, h->len);
  if (!rc && !fin) {
    stream_credit(s, n);
    return;
  }
  head_free(h);
  if (rc <= 0) {
    stream_credit(s, len);
    refuse(l, s, "none", REASON_MALFORMED);
    return;
  }
  n = (size_t)rc - had;
  stream_credit(s, n);
  act(l, s, &head, data + n, len - n, fin);
}

static void on_reset(struct stream *s, void *ud, uint64_t code) {
  head_free(ud);
  stream_reset(s, REASON_NONE);
}

static void on_gone(struct stream *s, void *ud, bool closed) { head_free(ud); }

static const struct stream_ops head_ops = {.on_data = on_data,
                                           .on_reset = on_reset,
                                           .on_stop = on_reset,
                                           .on_gone = on_gone};

/* Nothing is sent before the head is whole. */
void tcp_heads_tick(struct connector *c, uint64_t now) {
  while (c->heads && now >= c->heads->until) {
    struct stream *s = c->heads->stream;

    c->counters.tcp_refused[REASON_IDLE]++;
    log_refusal(c->heads->link, "none", REASON_IDLE);
    head_free(c->heads);
    stream_reset(s, REASON_IDLE);
  }
}

/* --- streams --- */

static bool take_token(struct link *l, uint64_t now) {
  uint64_t n = (now - l->opens_at) / (SEC / OPENS_PER_SEC);

  if (n >= OPENS_BURST - l->opens) {
    l->opens = OPENS_BURST;
    l->opens_at = now;
  } else {
    l->opens += (uint32_t)n;
    l->opens_at += n * (SEC / OPENS_PER_SEC);
  }
  if (!l->opens) return false;
  l->opens--;
  return true;
}

static struct tcp_head *head_new(struct link *l, struct stream *s) {
  struct connector *c = l->owner;
  struct tcp_head *h = l->n_heads < LINK_HEADS ? calloc(1, sizeof(*h)) : NULL;

  if (!h) return NULL;
  h->link = l;
  h->stream = s;
  h->until = c->now + HEAD_WITHIN;
  h->prev = c->heads_end;
  *c->heads_end = h;
  c->heads_end = &h->next;
  l->n_heads++;
  c->tcp_at = time_min(c->tcp_at, c->now + SEC);
  return h;
}

void tcp_stream(struct link *l, struct stream *s, bool joined) {
  struct tcp_head *h = NULL;

  if (!joined) {
    refuse(l, s, "none", REASON_NOT_ALLOWED);
    return;
  }
  if (take_token(l, l->owner->now)) h = head_new(l, s);
  if (h)
    stream_bind(s, &head_ops, h);
  else
    refuse(l, s, "none", REASON_RATE_LIMITED);
}
