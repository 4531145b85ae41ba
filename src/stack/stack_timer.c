/* stack_timer.c - lwIP's timers, for those connections only that have something
 * to time: an ACK to be sent or to come, a window that is shut, a handshake, an
 * end. The others cost nothing, however many there are. */
#include "stack/stack_int.h"

/* lwIP passes a pcb over whose last_timer is its own count of timer calls, to
 * do none twice; it counts in 8 bits, so of calls made connection by connection
 * every 256th would meet that by chance. This one counts along. */
static uint8_t n_calls;

static bool has_something(const struct tcp_pcb *pcb) {
  if (pcb->unacked || pcb->unsent || pcb->persist_backoff) return true;
  if (pcb->flags & (TF_ACK_DELAY | TF_ACK_NOW | TF_CLOSEPEND)) return true;
  switch (pcb->state) {
  case ESTABLISHED:
  case CLOSE_WAIT:
  case FIN_WAIT_2: /* for as long as its program likes */
    return false;
  default:
    return true;
  }
}

/* A probe of a shut window carries a byte. When that was the last one and is
 * acknowledged, lwIP probes on, and asserts that there is something to send. */
static void end_probes(struct tcp_pcb *pcb) {
  if (!pcb->unsent) pcb->persist_backoff = 0;
}

void timer_update(struct stack_conn *c) {
  struct stack *s = c->stack;

  end_probes(c->pcb);
  if (!has_something(c->pcb)) {
    timer_forget(c);
    return;
  }
  if (!node_is_alone(&c->busy)) return;
  node_move(&s->busy, &c->busy);
  if (s->tick_at == NEVER) s->tick_at = s->now + FAST_EVERY;
}

void timer_forget(struct stack_conn *c) {
  node_unlink(&c->busy);
  if (node_is_alone(&c->stack->busy)) c->stack->tick_at = NEVER;
}

static void run(struct stack_conn *c, uint64_t now, bool slow) {
  struct turn before = turn_begin(c->stack, c, now);

  c->pcb->last_timer = n_calls++;
  tcp_fasttmr();
  if (slow && c->pcb) {
    c->pcb->last_timer = n_calls++;
    tcp_ticks--; /* it counts them, we know them */
    tcp_slowtmr();
  }
  turn_end(&before);
  end_settle(c);
}

void stack_tick(struct stack *s, uint64_t now) {
  struct node todo;
  bool slow;

  if (now < s->tick_at) return;
  slow = ++s->n_ticks % (TCP_SLOW_INTERVAL / TCP_FAST_INTERVAL) == 0;
  node_take(&todo, &s->busy);
  while (!node_is_alone(&todo)) {
    struct stack_conn *c = CONN_OF(todo.next, busy);

    node_move(&s->busy, &c->busy);
    run(c, now, slow);
  }
  s->tick_at = node_is_alone(&s->busy) ? NEVER : now + FAST_EVERY;
}

uint64_t stack_deadline(const struct stack *s) { return s->tick_at; }
