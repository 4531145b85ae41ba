/* sock.c - what a flow's events mean for its socket, and the other way round.
 */
#include "role/sock.h"

#include <stdlib.h>
#include <string.h>

#include "base/time.h"

enum {
  DUE_CONNECT = 1 << ZTNA_SOCK_CONNECT,
  DUE_READ = 1 << ZTNA_SOCK_READ,
  DUE_WRITE = 1 << ZTNA_SOCK_WRITE,
  DUE_SHUT = 1 << ZTNA_SOCK_SHUT,
  DUE_CLOSE = 1 << ZTNA_SOCK_CLOSE,
  DUE_ABORT = 1 << ZTNA_SOCK_ABORT,
};
#define RESET_WAITS_FOR (10 * SEC)

struct socks {
  struct sock **v;
  uint32_t max, n_used, n_top; /* n_top: no slot in use from here on */
  uint32_t next;               /* where a free one is looked for first */
  const struct sock_events *ev;
  struct tcpflow_common *common;
  struct sock *first, *last; /* in line: something is due */
  struct ztna_addr lent[ZTNA_SOCK_ADDRS];
};

/* --- slots --- */

struct socks *socks_new(uint32_t max, const struct sock_events *ev,
                        struct tcpflow_common *common) {
  struct socks *t = calloc(1, sizeof(*t));

  if (!t) return NULL;
  t->v = calloc(max, sizeof(struct sock *));
  if (!t->v) {
    free(t);
    return NULL;
  }
  t->max = max;
  t->ev = ev;
  t->common = common;
  return t;
}

static void slot_free(struct sock *s) {
  struct socks *t = s->table;

  t->v[s->number] = NULL;
  t->n_used--;
  while (t->n_top && !t->v[t->n_top - 1]) t->n_top--;
  free(s->preface);
  free(s);
}

void socks_free(struct socks *t) {
  if (!t) return;
  for (uint32_t i = t->max; i-- > 0;) {
    if (!t->v[i]) continue;
    tcpflow_free(&t->v[i]->flow, REASON_SHUTTING_DOWN);
    slot_free(t->v[i]);
  }
  free(t->v);
  free(t);
}

struct sock *sock_new(struct socks *t) {
  struct sock *s = t->n_used < t->max ? calloc(1, sizeof(*s)) : NULL;

  if (!s) return NULL;
  while (t->v[t->next]) t->next = (t->next + 1) % t->max;
  s->table = t;
  s->number = t->next;
  s->flow.common = t->common;
  s->flow.state = TCPFLOW_OVER;
  s->ended = true; /* the skin has not heard of it */
  t->v[s->number] = s;
  t->next = (t->next + 1) % t->max;
  t->n_used++;
  if (s->number >= t->n_top) t->n_top = s->number + 1;
  return s;
}

void sock_drop(struct sock *s) {
  tcpflow_free(&s->flow, REASON_NONE);
  slot_free(s);
}

struct sock *sock_at(struct socks *t, uint32_t number) {
  return number < t->max ? t->v[number] : NULL;
}

uint32_t socks_count(const struct socks *t) { return t->n_used; }

void socks_each(struct socks *t, void (*f)(struct sock *s, void *ud),
                void *ud) {
  for (uint32_t i = 0; i < t->n_top; i++)
    if (t->v[i]) f(t->v[i], ud);
}

/* --- operations --- */

static void due(struct sock *s, uint8_t what) {
  struct socks *t = s->table;

  s->due |= what;
  if (s->in_line) return;
  s->in_line = true;
  s->next_in_line = NULL;
  if (t->last)
    t->last->next_in_line = s;
  else
    t->first = s;
  t->last = s;
}

/* The slot itself goes when the line has passed it: nobody up the stack may
 * find it gone. */
static void over(struct sock *s, enum reason why) {
  if (s->told) return;
  s->told = true;
  s->table->ev->on_end(s, why);
  tcpflow_free(&s->flow, why);
  due(s, 0);
}

static void end_socket(struct sock *s, uint8_t how) {
  s->due &= DUE_SHUT;
  if (!s->ended) due(s, how);
  s->ended = true;
}

void sock_kill(struct sock *s, enum reason why) {
  if (s->told) return;
  end_socket(s, DUE_ABORT);
  over(s, why);
}

static void leave_line(struct socks *t, struct sock *s) {
  t->first = s->next_in_line;
  if (!t->first) t->last = NULL;
  s->in_line = false;
}

bool socks_next(struct socks *t, struct ztna_sock_op *op) {
  struct sock *s;

  while ((s = t->first)) {
    uint8_t bit = s->due & (uint8_t)-s->due;

    s->due &= (uint8_t)~bit;
    *op = (struct ztna_sock_op){.what = sock_op_of(bit), .sock = s->number};
    if (bit == DUE_CONNECT) {
      memcpy(t->lent, s->addrs, sizeof(t->lent));
      op->addrs = t->lent;
      op->n_addrs = s->n_addrs;
      op->timeout = s->timeout;
    }
    if (!s->due) {
      leave_line(t, s);
      if (s->told) slot_free(s);
    }
    if (bit) return true;
  }
  return false;
}

/* --- the flow's events --- */

static bool has_input(const struct sock *s) {
  return s->preface_at < s->preface_len || bytes_len(&s->flow.rx);
}

/* Everything was written: what waited for that. */
static void drained(struct sock *s) {
  if (has_input(s)) return;
  if (s->resetting) {
    end_socket(s, DUE_ABORT);
    over(s, s->flow.why);
  } else if (tcpflow_at_end(&s->flow)) {
    if (!s->ended) due(s, DUE_SHUT);
    tcpflow_took_fin(&s->flow);
  }
}

static void on_answer(struct tcpflow *f, void *ud, enum reason why) {
  struct sock *s = ud;

  s->table->ev->on_answer(s, why);
  if (why) {
    sock_kill(s, why);
    return;
  }
  s->connected = true;
  due(s, DUE_READ);
}

static void on_input(struct tcpflow *f, void *ud) {
  struct sock *s = ud;

  if (!s->connected || s->ended) return;
  if (has_input(s)) due(s, DUE_WRITE);
  drained(s);
}

static void on_room(struct tcpflow *f, void *ud) {
  struct sock *s = ud;

  if (!s->ended) due(s, DUE_READ);
}

static void on_reset(struct tcpflow *f, void *ud, enum reason why) {
  struct sock *s = ud;

  s->resetting = true;
  if (!s->connected || s->ended) {
    sock_kill(s, why);
    return;
  }
  f->until = quic_now(f->common->quic) + RESET_WAITS_FOR;
  drained(s);
}

/* One that was not answered yet cannot be resumed: the agent asks anew. */
static void on_lost(struct tcpflow *f, void *ud) {
  struct sock *s = ud;

  if (f->server && !f->answered)
    sock_kill(s, REASON_ROUTE_UNKNOWN);
  else if (s->table->ev->on_lost)
    s->table->ev->on_lost(s);
}

static void on_done(struct tcpflow *f, void *ud) {
  struct sock *s = ud;

  end_socket(s, f->why ? DUE_ABORT : DUE_CLOSE);
  over(s, f->why);
}

const struct tcpflow_ops *sock_flow_ops(void) {
  static const struct tcpflow_ops ops = {.on_answer = on_answer,
                                         .on_input = on_input,
                                         .on_room = on_room,
                                         .on_reset = on_reset,
                                         .on_lost = on_lost,
                                         .on_done = on_done};

  return &ops;
}

void sock_tick(struct sock *s, uint64_t now) {
  if (s->told) return;
  if (s->resetting && now >= s->flow.until)
    sock_kill(s, s->flow.why); /* it does not read what came before */
  else
    tcpflow_tick(&s->flow, now);
}

/* --- what the owner wants --- */

void sock_connect(struct sock *s) {
  s->connecting = true;
  s->ended = false;
  due(s, DUE_CONNECT);
}

void sock_accepted(struct sock *s) { s->ended = false; }

/* --- the skin's side --- */

static struct sock *in_use(struct socks *t, uint32_t number) {
  struct sock *s = sock_at(t, number);

  return s && !s->ended ? s : NULL;
}

void socks_connected(struct socks *t, uint32_t number) {
  struct sock *s = in_use(t, number);

  if (!s || !s->connecting) return;
  s->connecting = false;
  s->connected = true;
  due(s, DUE_READ);
  if (has_input(s)) due(s, DUE_WRITE);
  tcpflow_answer(&s->flow, REASON_NONE);
}

static enum reason reason_of(enum ztna_sock_error why) {
  switch (why) {
  case ZTNA_SOCK_REFUSED:
    return REASON_BACKEND_REFUSED;
  case ZTNA_SOCK_UNREACHABLE:
    return REASON_BACKEND_UNREACHABLE;
  case ZTNA_SOCK_TIMEOUT:
    return REASON_BACKEND_TIMEOUT;
  case ZTNA_SOCK_RESET:
    return REASON_RESET;
  default:
    return REASON_RATE_LIMITED;
  }
}

void socks_failed(struct socks *t, uint32_t number, enum ztna_sock_error why) {
  struct sock *s = in_use(t, number);

  if (!s) return;
  s->ended = true;
  s->due = 0;
  if (s->connecting) {
    tcpflow_answer(&s->flow, reason_of(why));
    over(s, reason_of(why));
  } else if (s->resetting) {
    over(s, s->flow.why);
  } else {
    tcpflow_abort(&s->flow, REASON_RESET);
  }
}

uint8_t *socks_room(struct socks *t, uint32_t number, size_t *room) {
  struct sock *s = in_use(t, number);
  struct tcpflow *f;
  size_t have, enough;
  uint8_t *to;

  if (!s || !s->connected) return NULL;
  f = &s->flow;
  have = bytes_len(&f->tx);
  enough = tcpflow_enough(f);
  if (have >= enough) {
    f->tx_full = true;
    return NULL;
  }
  to = tcpflow_room(f, room);
  if (to && *room > enough - have) *room = enough - have;
  return to;
}

void socks_read(struct socks *t, uint32_t number, size_t n) {
  struct sock *s = in_use(t, number);

  if (s) tcpflow_put(&s->flow, n);
}

void socks_eof(struct socks *t, uint32_t number) {
  struct sock *s = in_use(t, number);

  if (s) tcpflow_fin(&s->flow);
}

int socks_peek(struct socks *t, uint32_t number, struct ztna_sock_vec *v,
               int n) {
  struct sock *s = in_use(t, number);
  int k = 0;

  if (!s || !s->connected) return 0;
  if (s->preface_at < s->preface_len)
    v[k++] = (struct ztna_sock_vec){s->preface + s->preface_at,
                                    (size_t)(s->preface_len - s->preface_at)};
  return k + tcpflow_peek(&s->flow, s->flow.rx.begin, TCPFLOW_KEEP,
                          (struct bytes_vec *)(v + k), n - k);
}

void socks_wrote(struct socks *t, uint32_t number, size_t n) {
  struct sock *s = in_use(t, number);
  size_t before;

  if (!s) return;
  before = (size_t)(s->preface_len - s->preface_at);
  if (before > n) before = n;
  s->preface_at = (uint16_t)(s->preface_at + before);
  tcpflow_gave(&s->flow, n - before);
  tcpflow_took(&s->flow, n - before);
  drained(s);
}
