/* agent_splice.c - one TCP connection of this machine: lwIP's end on one side,
 * the flow to the connector on the other. */
#include "role/agent_tcp.h"

#include <string.h>

#define RESET_WAITS_FOR (10 * SEC)

/* --- the machine's packets --- */

static uint8_t *room(void *ud, size_t len) {
  struct ztna_agent *a = ud;
  uint8_t *to = ipq_room(&a->out, len);

  if (!to) a->tcps->stalled = true;
  return to;
}

static void out(void *ud, const struct stack_out *o) {
  struct ztna_agent *a = ud;

  ipq_push(&a->out, o->len, o->gso_size, a->offload);
}

/* --- from the connector to the program --- */

static void abort_end(struct tcp_conn *t) {
  if (t->end) stack_abort(t->end, t->agent->now);
  t->end = NULL;
}

/* By reference: the bytes stay in the flow until the program's kernel has
 * them. */
static void write_some(struct tcp_conn *t) {
  struct tcpflow *f = &t->tcp;
  struct bytes_vec v[8];
  bool more = true;
  int n;

  while (more && (n = tcpflow_peek(f, f->rx_given, STACK_WINDOW, v, 8)) > 0)
    for (int i = 0; i < n && more; i++) {
      size_t took = stack_write(t->end, v[i].base, v[i].len);

      tcpflow_gave(f, took);
      more = took == v[i].len;
    }
  stack_flush(t->end, t->agent->now);
}

/* The program's kernel has all there was. */
static void take_end(struct tcp_conn *t) {
  if (t->shut && !t->tcp.rx_fin_taken && !bytes_len(&t->tcp.rx))
    tcpflow_took_fin(&t->tcp);
}

void tcp_give(struct tcp_conn *t) {
  if (!t->end || t->shut) return;
  write_some(t);
  if (!t->end || !tcpflow_at_end(&t->tcp)) return;
  t->shut = true;
  stack_shut(t->end, t->agent->now);
  take_end(t);
}

static void on_sent(struct stack_conn *c, void *ud, size_t n) {
  struct tcp_conn *t = ud;

  tcpflow_took(&t->tcp, n);
  if (t->resetting && !bytes_len(&t->tcp.rx)) {
    abort_end(t);
    tcp_settle(t);
    return;
  }
  tcp_give(t);
  take_end(t);
}

/* --- from the program to the connector --- */

/* What it may still send, and what waits, is not more than enough. */
static void credit(struct tcp_conn *t) {
  size_t enough = tcpflow_enough(&t->tcp);
  size_t keep = enough < STACK_WINDOW ? STACK_WINDOW - enough : 0;
  size_t waits = bytes_len(&t->tcp.tx) + keep;
  size_t n = t->owed > waits ? t->owed - waits : 0;

  if (!t->end) return;
  t->owed -= n;
  if (n) stack_took(t->end, t->agent->now, n);
  t->tcp.tx_full = t->owed > 0; /* on_room comes when some of it has left */
}

static void on_data(struct stack_conn *c, void *ud, const uint8_t *data,
                    size_t len) {
  struct tcp_conn *t = ud;

  t->owed += len;
  t->agent->sweep_at = time_min(t->agent->sweep_at, t->agent->now + 100 * MS);
  while (len) {
    size_t n;
    uint8_t *to = tcpflow_room(&t->tcp, &n);

    if (!to) {
      tcp_kill(t, t->over ? REASON_NONE : REASON_INTERNAL);
      return;
    }
    if (n > len) n = len;
    memcpy(to, data, n);
    tcpflow_put(&t->tcp, n);
    data += n;
    len -= n;
  }
  credit(t);
}

static void on_fin(struct stack_conn *c, void *ud) {
  tcpflow_fin(&((struct tcp_conn *)ud)->tcp);
}

static void on_stack_reset(struct stack_conn *c, void *ud) {
  struct tcp_conn *t = ud;

  t->end = NULL;
  if (!t->over) tcpflow_abort(&t->tcp, REASON_RESET);
  tcp_settle(t);
}

static void on_closed(struct stack_conn *c, void *ud) {
  struct tcp_conn *t = ud;

  t->end = NULL;
  tcp_settle(t);
}

const struct stack_ops tcp_stack_ops = {.room = room,
                                        .out = out,
                                        .on_data = on_data,
                                        .on_fin = on_fin,
                                        .on_sent = on_sent,
                                        .on_reset = on_stack_reset,
                                        .on_closed = on_closed};

/* --- what the flow says --- */

static void on_answer(struct tcpflow *f, void *ud, enum reason why) {
  struct tcp_conn *t = ud;

  if (why)
    tcp_refuse(t, why);
  else
    tcp_let_in(t);
}

/* A batch of packets becomes few large segments: they are cut when all of it
 * was read. */
static void on_input(struct tcpflow *f, void *ud) {
  struct tcp_conn *t = ud;
  struct agent_tcp *x = t->agent->tcps;

  if (t->due) return;
  t->due = true;
  t->next_due = x->due;
  x->due = t;
}

static void on_room(struct tcpflow *f, void *ud) { credit(ud); }

static void flow_over(struct tcp_conn *t) {
  t->over = true;
  agent_flow_end(t->agent, &t->flow);
  tcp_settle(t);
}

/* What came before the reset is delivered first, as the machine next to the
 * service would have seen it. */
static void on_reset(struct tcpflow *f, void *ud, enum reason why) {
  struct tcp_conn *t = ud;

  if (t->held) {
    tcp_refuse(t, why);
    return;
  }
  t->resetting = true;
  t->until = t->agent->now + RESET_WAITS_FOR;
  tcp_give(t);
  if (!bytes_len(&f->rx)) abort_end(t);
  flow_over(t);
}

static void on_lost(struct tcpflow *f, void *ud) {
  struct tcp_conn *t = ud;

  agent_flow_lost(t->agent, &t->flow);
}

static void on_done(struct tcpflow *f, void *ud) {
  struct tcp_conn *t = ud;

  if (f->why) abort_end(t);
  flow_over(t);
}

const struct tcpflow_ops tcp_flow_ops = {.on_answer = on_answer,
                                         .on_input = on_input,
                                         .on_room = on_room,
                                         .on_reset = on_reset,
                                         .on_lost = on_lost,
                                         .on_done = on_done};

void tcp_kill(struct tcp_conn *t, enum reason why) {
  abort_end(t);
  tcpflow_free(&t->tcp, why);
  flow_over(t);
}

void tcp_give_up(struct tcp_conn *t) {
  if (t->held)
    tcp_refuse(t, REASON_BACKEND_TIMEOUT);
  else
    tcp_kill(t, t->tcp.why);
}
