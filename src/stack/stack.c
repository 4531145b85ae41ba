/* stack.c - see stack.h. Each connection is alone in lwIP's lists while its
 * call is under way, so no list is ever walked; between calls they are empty.
 *
 * Bytes are handed on out of lwIP's callbacks, so that what the user answers
 * (bytes, window) goes out with the ACK; the end of a connection is told only
 * when lwIP has returned. */
#include "stack/stack_int.h"

#include <assert.h>
#include <stdlib.h>

struct turn turn_now;

/* Whoever may speak to any port: its local_port is written before each SYN. */
static struct tcp_pcb_listen listener;

/* --- turns --- */

struct turn turn_begin(struct stack *s, struct stack_conn *c, uint64_t now) {
  struct turn before = turn_now;

  tcp_active_pcbs = c ? c->pcb : NULL;
  tcp_ticks = (u32_t)(now / SLOW_EVERY);
  s->now = now;
  if (c) c->depth++;
  turn_now = (struct turn){.stack = s, .conn = c};
  return before;
}

/* The one before may have lost its pcb meanwhile. */
void turn_end(const struct turn *before) {
  if (turn_now.conn) turn_now.conn->depth--;
  turn_now = *before;
  tcp_active_pcbs = turn_now.conn ? turn_now.conn->pcb : NULL;
}

/* --- lwIP's callbacks; ERR_ABRT: the pcb is gone --- */

static bool has_user(const struct stack_conn *c) { return c && !c->forgotten; }

static err_t on_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p,
                     err_t err) {
  struct stack_conn *c = arg;
  const struct stack_ops *ops = c->stack->cfg.ops;

  if (!p) {
    if (has_user(c)) ops->on_fin(c, c->ud);
    return c->pcb ? ERR_OK : ERR_ABRT;
  }
  /* Of a super-packet there is no second segment that its sender might wait to
   * see acknowledged (RFC 1122, 4.2.3.2). */
  if (p->tot_len >= 2 * c->mss) tcp_ack_now(pcb);
  for (struct pbuf *q = p; q && has_user(c); q = q->next)
    if (q->len) ops->on_data(c, c->ud, q->payload, q->len);
  pbuf_free(p);
  return c->pcb ? ERR_OK : ERR_ABRT;
}

/* lwIP tells one too few for an ACK of a SYN together with bytes. */
static void tell_sent(struct stack_conn *c) {
  size_t left = TCP_SND_BUF - c->pcb->snd_buf, n = c->n_queued - left;

  c->n_queued = left;
  if (n && has_user(c)) c->stack->cfg.ops->on_sent(c, c->ud, n);
}

static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t len) {
  struct stack_conn *c = arg;

  tell_sent(c);
  return c->pcb ? ERR_OK : ERR_ABRT;
}

/* The pcb is, or is about to be, freed. */
static void on_error(void *arg, err_t err) {
  struct stack_conn *c = arg;

  if (!c) return; /* a SYN whose answer could not be made */
  c->pcb = NULL;
  c->closed = err == ERR_CLSD;
}

static err_t on_accept(void *arg, struct tcp_pcb *pcb, err_t err) {
  return pcb ? ERR_OK : ERR_MEM;
}

/* --- a connection's life --- */

static void conn_free(struct stack_conn *c) {
  timer_forget(c);
  node_unlink(&c->stalled);
  node_unlink(&c->all);
  c->stack->n--;
  free(c);
}

/* For a FIN that comes again since its ACK was lost. A new connection of the
 * same addresses and ports may begin meanwhile. */
static void remember(struct stack_conn *c, const struct segment *g) {
  struct stack *s = c->stack;
  uint64_t tuple = segment_key(s, g);

  s->finished[tuple % FINISHED] = (struct finished){
      .tuple = tuple,
      .until = s->now + FINISHED_FOR,
      .seq = c->pcb->snd_nxt,
      .ack = c->pcb->rcv_nxt,
  };
}

/* lwIP would keep it for two segment lifetimes. */
static void wait_no_longer(struct stack_conn *c, const struct segment *g) {
  struct tcp_pcb *pcb = c->pcb;

  remember(c, g);
  c->pcb = NULL;
  c->closed = true;
  pcb->callback_arg = NULL;
  tcp_abort(pcb); /* in this state it says nothing */
}

static void let_go(struct stack_conn *c, int reset) {
  struct turn before = turn_begin(c->stack, c, c->stack->now);
  struct tcp_pcb *pcb = c->pcb;

  c->pcb = NULL;
  pcb->callback_arg = NULL;
  tcp_abandon(pcb, reset);
  turn_end(&before);
}

void end_settle(struct stack_conn *c) {
  const struct stack_ops *ops = c->stack->cfg.ops;

  if (c->depth) return;
  if (c->pcb) {
    timer_update(c);
    return;
  }
  if (!c->forgotten) {
    c->forgotten = true;
    if (c->closed)
      ops->on_closed(c, c->ud);
    else
      ops->on_reset(c, c->ud);
  }
  conn_free(c);
}

/* --- making --- */

struct stack *stack_new(const struct stack_config *cfg) {
  struct stack *s = calloc(1, sizeof(*s));

  if (!s) return NULL;
  s->cfg = *cfg;
  s->tick_at = NEVER;
  rng_fill(cfg->rng, s->key, sizeof(s->key));
  node_init(&s->all);
  node_init(&s->busy);
  node_init(&s->stalled);
  listener.state = LISTEN;
  listener.accept = on_accept;
  listener.local_ip = listener.remote_ip = ip_addr_any_type;
  return s;
}

void stack_free(struct stack *s) {
  if (!s) return;
  while (!node_is_alone(&s->all)) {
    struct stack_conn *c = CONN_OF(s->all.next, all);

    let_go(c, 0);
    conn_free(c);
  }
  free(s);
}

size_t stack_count(const struct stack *s) { return s->n; }

static struct stack_conn *conn_new(struct stack *s, void *ud) {
  struct stack_conn *c = calloc(1, sizeof(*c));

  if (!c) return NULL;
  c->stack = s;
  c->ud = ud;
  node_init(&c->all);
  node_init(&c->busy);
  node_init(&c->stalled);
  node_move(&s->all, &c->all);
  s->n++;
  return c;
}

/* What lwIP takes for a segment; with offload the kernel cuts it up. Not for a
 * peer with a window of 64 KB: it would wait for all of it. */
static uint16_t segment_size(const struct stack_conn *c) {
  if (!c->stack->cfg.offload || !(c->pcb->flags & TF_WND_SCALE)) return c->mss;
  return (uint16_t)(TCP_MSS / c->mss * c->mss);
}

static void conn_begin(struct stack_conn *c) {
  struct tcp_pcb *pcb = c->pcb;

  tcp_arg(pcb, c);
  tcp_recv(pcb, on_recv);
  tcp_sent(pcb, on_sent);
  tcp_err(pcb, on_error);
  tcp_nagle_disable(pcb);
  c->mss = pcb->mss < MSS_LEAST ? MSS_LEAST : pcb->mss;
  pcb->mss = segment_size(c);
  /* A segment is at most half of the largest window seen, or, when that was 0,
   * of any size, and then lwIP asserts that none is larger. */
  if (pcb->snd_wnd_max < 2 * MSS_LEAST) pcb->snd_wnd_max = 2 * MSS_LEAST;
}

struct stack_conn *stack_accept(struct stack *s, uint64_t now,
                                const uint8_t *syn, size_t len, void *conn_ud) {
  struct segment g;
  struct stack_conn *c;
  struct turn before;
  uint64_t tuple;

  assert(!tcp_input_pcb);
  if (!segment_read(&g, syn, len)) return NULL;
  if ((g.flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) != TCP_SYN) {
    stack_refuse(s, now, syn, len);
    return NULL;
  }
  c = conn_new(s, conn_ud);
  if (!c) return NULL;
  tuple = segment_key(s, &g);
  if (s->finished[tuple % FINISHED].tuple == tuple)
    s->finished[tuple % FINISHED].tuple = 0;

  before = turn_begin(s, c, now);
  listener.local_port = (u16_t)(g.head[2] << 8 | g.head[3]);
  tcp_listen_pcbs.listen_pcbs = &listener;
  segment_feed(&g, true);
  tcp_listen_pcbs.listen_pcbs = NULL;
  c->pcb = tcp_active_pcbs;
  turn_end(&before);
  if (!c->pcb) {
    conn_free(c);
    return NULL;
  }
  conn_begin(c);
  timer_update(c);
  return c;
}

void stack_refuse(struct stack *s, uint64_t now, const uint8_t *ip,
                  size_t len) {
  struct segment g;
  struct finished *f;
  struct turn before;
  uint64_t tuple;

  assert(!tcp_input_pcb);
  if (!segment_read(&g, ip, len)) return;
  tuple = segment_key(s, &g);
  f = &s->finished[tuple % FINISHED];
  before = turn_begin(s, NULL, now);
  if (f->tuple != tuple || now >= f->until || g.flags & TCP_SYN)
    segment_feed(&g, false);
  else if (!(g.flags & TCP_RST) && (g.payload_len || g.flags & TCP_FIN))
    segment_ack(&g, f->seq, f->ack);
  turn_end(&before);
}

/* --- packets --- */

/* There is no network between us to be congested, and the kernel says how much
 * it takes. */
static void on_established(struct stack_conn *c) {
  c->pcb->cwnd = TCP_SND_BUF;
  tell_sent(c);
  if (!c->pcb) return;
  if (c->shut_wanted)
    tcp_shutdown(c->pcb, 0, 1);
  else
    tcp_output(c->pcb);
}

/* After a time in which no timer ran, this machine's sleep say. */
static void forget_old_measurement(struct tcp_pcb *pcb) {
  if (tcp_ticks - pcb->rttest > RTT_MOST) pcb->rttest = 0;
}

void stack_in(struct stack_conn *c, uint64_t now, const uint8_t *ip,
              size_t len) {
  struct segment g;
  struct turn before;
  bool was_established;

  assert(!tcp_input_pcb && c->pcb);
  if (!segment_read(&g, ip, len)) return;
  was_established = stack_established(c);
  before = turn_begin(c->stack, c, now);
  forget_old_measurement(c->pcb);
  segment_feed(&g, false);
  if (c->pcb && c->pcb->state == TIME_WAIT)
    wait_no_longer(c, &g);
  else if (c->pcb && !was_established && stack_established(c))
    on_established(c);
  turn_end(&before);
  end_settle(c);
}

/* --- what its user does --- */

size_t stack_write(struct stack_conn *c, const uint8_t *data, size_t len) {
  struct tcp_pcb *pcb = c->pcb;
  size_t done = 0;

  if (!pcb || c->forgotten || c->shut_wanted) return 0;
  while (done < len) {
    size_t most = UINT16_MAX / pcb->mss * pcb->mss, n = len - done;

    if (n > most) n = most;
    if (n > pcb->snd_buf) n = pcb->snd_buf;
    if (n == 0 || tcp_write(pcb, data + done, (u16_t)n, 0) != ERR_OK) break;
    done += n;
  }
  c->n_queued += done;
  return done;
}

void stack_flush(struct stack_conn *c, uint64_t now) {
  struct turn before;

  if (!c->pcb || c->forgotten) return;
  before = turn_begin(c->stack, c, now);
  tcp_output(c->pcb);
  turn_end(&before);
  end_settle(c);
}

void stack_took(struct stack_conn *c, uint64_t now, size_t n) {
  struct turn before;

  if (!c->pcb || c->forgotten) return;
  before = turn_begin(c->stack, c, now);
  for (size_t part; n; n -= part) {
    part = n < UINT16_MAX ? n : UINT16_MAX;
    tcp_recved(c->pcb, (u16_t)part);
  }
  turn_end(&before);
  end_settle(c);
}

void stack_shut(struct stack_conn *c, uint64_t now) {
  struct turn before;

  if (!c->pcb || c->forgotten || c->shut_wanted) return;
  c->shut_wanted = true;
  if (!stack_established(c)) return;
  before = turn_begin(c->stack, c, now);
  tcp_shutdown(c->pcb, 0, 1); /* tcp_close would reset what is not read yet */
  turn_end(&before);
  end_settle(c);
}

void stack_abort(struct stack_conn *c, uint64_t now) {
  if (c->forgotten) return;
  c->forgotten = true;
  c->stack->now = now;
  if (c->pcb) let_go(c, 1); /* also out of a callback: its bytes may go now */
  end_settle(c);
}

bool stack_established(const struct stack_conn *c) {
  return c->pcb && c->pcb->state >= ESTABLISHED;
}

void stack_drained(struct stack *s, uint64_t now) {
  struct node todo;

  node_take(&todo, &s->stalled);
  while (!node_is_alone(&todo)) {
    struct stack_conn *c = CONN_OF(todo.next, stalled);

    node_unlink(&c->stalled);
    tcp_ack_now(c->pcb); /* a timer may have tried, and forgotten it */
    stack_flush(c, now);
  }
}
