/* tcpflow.c - bytes between a local side and a stream, numbered and kept. */
#include "role/tcpflow_int.h"

#include <string.h>
#include <ztna/err.h>

#include "base/time.h"

static uint64_t now_of(const struct tcpflow *f) {
  return quic_now(f->common->quic);
}

/* --- ends --- */

static void drop_stream(struct tcpflow *f, enum reason why) {
  tcpflow_move_drop(f, why);
  if (f->stream) stream_reset(f->stream, why);
  f->stream = NULL;
}

static void over(struct tcpflow *f, enum reason why) {
  f->state = TCPFLOW_OVER;
  f->why = why;
  f->until = NEVER;
}

void tcpflow_reset_by_peer(struct tcpflow *f, enum reason why) {
  drop_stream(f, REASON_NONE);
  over(f, why);
  f->ops->on_reset(f, f->ud, why);
}

/* What came before our reset has arrived: now it is said. */
static void say_reset(struct tcpflow *f) {
  drop_stream(f, f->tx_reset);
  over(f, f->tx_reset);
  f->ops->on_done(f, f->ud);
}

static bool done_with_rx(const struct tcpflow *f) {
  return f->rx_fin && f->rx_fin_taken && !bytes_len(&f->rx);
}

static void maybe_done(struct tcpflow *f) {
  if (f->state == TCPFLOW_OVER || !f->closed || !done_with_rx(f)) return;
  over(f, REASON_NONE);
  f->ops->on_done(f, f->ud);
}

/* --- a stream's callbacks: out --- */

static int out(struct stream *s, void *ud, struct quic_vec *v, int n,
               bool *fin) {
  struct tcpflow *f = ud;
  int k = 0;
  size_t len = 0;

  if (f->head_sent < f->head_len)
    v[k++] = (struct quic_vec){f->head + f->head_sent,
                               (size_t)(f->head_len - f->head_sent)};
  if (f->state != TCPFLOW_LIVE || f->tx_fin_sent || f->move.to) return k;
  k += bytes_peek(&f->tx, f->tx_next, 4096, (struct bytes_vec *)(v + k), n - k);
  for (int i = f->head_sent < f->head_len; i < k; i++) len += v[i].len;
  *fin = f->tx_fin && f->tx_next + len == f->tx.end;
  return k;
}

static void sent(struct stream *s, void *ud, size_t n, bool fin) {
  struct tcpflow *f = ud;
  size_t head = (size_t)(f->head_len - f->head_sent);

  if (head > n) head = n;
  f->head_sent = (uint8_t)(f->head_sent + head);
  f->tx_next += n - head;
  f->common->n_out += n - head;
  if (fin) f->tx_fin_sent = true;
}

size_t tcpflow_enough(const struct tcpflow *f) {
  size_t n = (size_t)(f->tx_next - f->tx.begin) + TCPFLOW_AHEAD;

  return n < TCPFLOW_KEEP ? n : TCPFLOW_KEEP;
}

/* Not for every packet: a reader wakes for a good piece. */
void tcpflow_check_room(struct tcpflow *f) {
  if (!f->tx_full || bytes_len(&f->tx) + TCPFLOW_AHEAD / 4 > tcpflow_enough(f))
    return;
  f->tx_full = false;
  f->ops->on_room(f, f->ud);
}

static void on_acked(struct stream *s, void *ud, uint64_t offset) {
  struct tcpflow *f = ud;

  if (offset <= f->head_len) return;
  bytes_release(&f->tx, &f->common->pool, f->tx_from + offset - f->head_len);
  if (f->tx_reset && !bytes_len(&f->tx)) {
    say_reset(f);
    return;
  }
  tcpflow_move_check(f);
  tcpflow_check_room(f);
}

/* --- in --- */

/* The other end does not know the flow any more. When both had ended it had
 * everything, and only its last acknowledgement was lost with the path. */
static void not_resumed(struct tcpflow *f, enum reason why) {
  if (f->rx_fin && f->tx_fin) {
    drop_stream(f, REASON_NONE);
    f->closed = true;
    f->state = TCPFLOW_LIVE;
    maybe_done(f);
    return;
  }
  tcpflow_reset_by_peer(f, why);
}

bool tcpflow_begin_at(struct tcpflow *f, uint64_t count) {
  if (count < f->tx.begin || count > f->tx.end) return false;
  bytes_release(&f->tx, &f->common->pool, count);
  f->tx_next = f->tx_from = count;
  f->tx_fin_sent = false;
  return true;
}

static void went_live(struct tcpflow *f, const struct flow_answer *a) {
  if (f->asked == FLOW_RESUME) {
    if (!tcpflow_begin_at(f, a->count)) {
      tcpflow_reset_by_peer(f, REASON_MALFORMED);
      return;
    }
    f->common->n_resumed++;
  }
  f->state = TCPFLOW_LIVE;
  f->answered = true;
  stream_wake(f->stream);
  if (f->asked == FLOW_OPEN)
    f->ops->on_answer(f, f->ud, REASON_NONE);
  else if (f->tx_reset && !bytes_len(&f->tx))
    say_reset(f);
  else
    tcpflow_check_room(f);
}

static void on_answer(struct tcpflow *f, const struct flow_answer *a) {
  enum reason why = a->reason < REASON_N ? a->reason : REASON_INTERNAL;

  if (!why) {
    went_live(f, a);
  } else if (f->asked == FLOW_OPEN) {
    drop_stream(f, REASON_NONE);
    over(f, why);
    f->ops->on_answer(f, f->ud, why);
  } else {
    not_resumed(f, why);
  }
}

/* Agent: what comes first on a stream. Returns how many bytes it took. */
static size_t take_answer(struct tcpflow *f, const uint8_t *data, size_t len) {
  struct flow_answer a;
  size_t n = 0;

  while (n < len && f->got_len < sizeof(f->got)) {
    f->got[f->got_len++] = data[n++];
    if (!flow_answer_read(&a, f->asked, f->got, f->got_len)) continue;
    stream_credit(f->stream, n);
    on_answer(f, &a);
    return n;
  }
  stream_credit(f->stream, n);
  return n;
}

void tcpflow_more(struct tcpflow *f, const uint8_t *data, size_t len,
                  bool fin) {
  if (f->tx_reset) { /* nobody is there to take it */
    if (f->stream) stream_credit(f->stream, len);
    return;
  }
  if (bytes_append(&f->rx, &f->common->pool, data, len) < 0) {
    drop_stream(f, REASON_INTERNAL);
    over(f, REASON_INTERNAL);
    f->ops->on_reset(f, f->ud, REASON_INTERNAL);
    return;
  }
  f->common->n_in += len;
  if (fin) f->rx_fin = true;
  tcpflow_move_check(f);
  if (f->state == TCPFLOW_LIVE && (len || fin)) f->ops->on_input(f, f->ud);
}

static void on_data(struct stream *s, void *ud, const uint8_t *data, size_t len,
                    bool fin) {
  struct tcpflow *f = ud;
  bool waits = !f->server && f->state != TCPFLOW_LIVE;
  size_t n = waits ? take_answer(f, data, len) : 0;

  if (f->stream != s) return; /* refused, or reset by the local side */
  if (waits && f->state != TCPFLOW_LIVE) {
    if (fin) tcpflow_reset_by_peer(f, REASON_MALFORMED);
    return;
  }
  if (n < len || fin) tcpflow_more(f, data + n, len - n, fin);
}

/* The agent leaves a path that seems dead; its next head may come later than
 * this, over another one. The connector leaves a stream when it has moved: the
 * answer may come later, too. */
static void on_left(struct tcpflow *f) {
  stream_reset(f->stream, REASON_NONE);
  f->stream = NULL;
  if (f->server || !f->move.to) tcpflow_lose(f);
}

static void on_reset(struct stream *s, void *ud, uint64_t code) {
  struct tcpflow *f = ud;

  if (f->answered && code == REASON_REPLACED) {
    on_left(f);
    return;
  }
  tcpflow_reset_by_peer(f, code && code < REASON_N ? (enum reason)code
                                                   : REASON_RESET);
}

void tcpflow_lose(struct tcpflow *f) {
  f->stream = NULL;
  tcpflow_move_drop(f, REASON_NONE);
  f->state = TCPFLOW_LOST;
  f->until = now_of(f) + TCPFLOW_LOST_FOR;
  f->common->n_lost++;
  f->ops->on_lost(f, f->ud);
}

void tcpflow_unask(struct tcpflow *f) {
  if (f->answered || !f->stream) return;
  drop_stream(f, REASON_IDLE);
  tcpflow_lose(f);
}

void tcpflow_leave(struct tcpflow *f) {
  if (!f->stream || f->state == TCPFLOW_OVER) return;
  drop_stream(f, REASON_REPLACED);
  tcpflow_lose(f);
}

static void on_gone(struct stream *s, void *ud, bool closed) {
  struct tcpflow *f = ud;

  f->stream = NULL;
  if (!closed) {
    tcpflow_lose(f);
    return;
  }
  f->closed = true;
  tcpflow_move_drop(f, REASON_NONE);
  maybe_done(f);
}

const struct stream_ops tcpflow_stream_ops = {
    .on_data = on_data,
    .on_acked = on_acked,
    .on_reset = on_reset,
    .on_stop = on_reset,
    .on_gone = on_gone,
    .out = out,
    .sent = sent,
};

/* --- making --- */

static void init(struct tcpflow *f, struct tcpflow_common *common,
                 const struct tcpflow_ops *ops, void *ud,
                 const uint8_t id[FLOW_ID_LEN]) {
  memset(f, 0, sizeof(*f));
  f->common = common;
  f->ops = ops;
  f->ud = ud;
  f->until = NEVER;
  memcpy(f->id, id, FLOW_ID_LEN);
}

void tcpflow_init(struct tcpflow *f, struct tcpflow_common *common,
                  const struct tcpflow_ops *ops, void *ud,
                  const uint8_t id[FLOW_ID_LEN]) {
  init(f, common, ops, ud, id);
  f->state = TCPFLOW_LOST;
  f->until = now_of(f) + TCPFLOW_LOST_FOR;
}

void tcpflow_bind(struct tcpflow *f, struct stream *s, size_t head_len) {
  f->stream = s;
  f->head_len = (uint8_t)head_len;
  f->head_sent = f->got_len = 0;
  f->rx_from = f->rx.end;
  f->until = f->tx_reset ? f->until : NEVER;
  stream_wake(s);
}

static int ask(struct tcpflow *f, struct path *p, const struct flow_head *h,
               enum tcpflow_state state) {
  struct stream *s = stream_open(p, &tcpflow_stream_ops, f);

  if (!s) return ZTNA_EAGAIN;
  f->asked = h->kind;
  f->state = state;
  tcpflow_bind(f, s, flow_head_write(f->head, h));
  return 0;
}

struct flow_head tcpflow_head(const struct tcpflow *f, enum flow_kind kind) {
  struct flow_head h = {.kind = kind, .count = f->rx.end};

  memcpy(h.id, f->id, FLOW_ID_LEN);
  return h;
}

int tcpflow_start(struct tcpflow *f, struct path *p, uint64_t context,
                  const struct ztna_addr *dst, const struct ztna_addr *src) {
  struct flow_head h = tcpflow_head(f, FLOW_OPEN);

  h.context = context;
  h.dst = *dst;
  h.src = *src;
  return ask(f, p, &h, TCPFLOW_OPENING);
}

int tcpflow_resume(struct tcpflow *f, struct path *p) {
  struct flow_head h = tcpflow_head(f, FLOW_RESUME);

  return ask(f, p, &h, TCPFLOW_RESUMING);
}

void tcpflow_accept(struct tcpflow *f, struct tcpflow_common *common,
                    const struct tcpflow_ops *ops, void *ud, struct stream *s,
                    const struct flow_head *h) {
  init(f, common, ops, ud, h->id);
  f->server = true;
  f->asked = FLOW_OPEN;
  f->state = TCPFLOW_OPENING;
  f->stream = s;
  stream_bind(s, &tcpflow_stream_ops, f);
}

void tcpflow_answer(struct tcpflow *f, enum reason why) {
  struct flow_answer a = {.reason = (uint8_t)why};

  if (f->state != TCPFLOW_OPENING) return;
  if (why) {
    tcpflow_refuse(f->stream, why);
    f->stream = NULL;
    over(f, why);
    return;
  }
  f->state = TCPFLOW_LIVE;
  f->answered = true;
  f->head_len = (uint8_t)flow_answer_write(f->head, &a, FLOW_OPEN);
  stream_wake(f->stream);
  if (bytes_len(&f->rx) || f->rx_fin) f->ops->on_input(f, f->ud);
}

bool tcpflow_resumed(struct tcpflow *f, struct stream *s,
                     const struct flow_head *h) {
  struct flow_answer a = {.count = f->rx.end};

  if (!f->answered || f->state == TCPFLOW_OVER ||
      !tcpflow_begin_at(f, h->count)) {
    tcpflow_refuse(s, REASON_MALFORMED);
    return false;
  }
  drop_stream(f, REASON_NONE); /* the agent lost it, we did not notice */
  f->closed = false;
  f->asked = FLOW_RESUME;
  f->state = TCPFLOW_LIVE;
  f->common->n_resumed++;
  stream_bind(s, &tcpflow_stream_ops, f);
  tcpflow_bind(f, s, flow_answer_write(f->head, &a, FLOW_RESUME));
  if (f->tx_reset && !bytes_len(&f->tx))
    say_reset(f);
  else
    tcpflow_check_room(f);
  return true;
}

void tcpflow_free(struct tcpflow *f, enum reason why) {
  if (f->state == TCPFLOW_OPENING && f->server)
    tcpflow_answer(f, why ? why : REASON_SHUTTING_DOWN);
  drop_stream(f, why);
  f->state = TCPFLOW_OVER;
  bytes_clear(&f->tx, &f->common->pool);
  bytes_clear(&f->rx, &f->common->pool);
}

/* --- the local side --- */

uint8_t *tcpflow_room(struct tcpflow *f, size_t *room) {
  size_t have = bytes_len(&f->tx);
  uint8_t *to;

  if (have >= TCPFLOW_KEEP || f->tx_fin || f->tx_reset) {
    f->tx_full = true;
    return NULL;
  }
  to = bytes_room(&f->tx, &f->common->pool, room);
  f->tx_full = !to; /* no memory: asked again when some was given back */
  if (to && *room > TCPFLOW_KEEP - have) *room = TCPFLOW_KEEP - have;
  return to;
}

void tcpflow_put(struct tcpflow *f, size_t n) {
  bytes_put(&f->tx, n);
  if (f->stream) stream_wake(f->stream);
}

void tcpflow_fin(struct tcpflow *f) {
  f->tx_fin = true;
  if (f->stream) stream_wake(f->stream);
}

/* A flow that is lost says it when it is resumed. */
void tcpflow_abort(struct tcpflow *f, enum reason why) {
  if (f->state == TCPFLOW_OVER || f->tx_reset) return;
  f->tx_reset = why ? why : REASON_RESET;
  f->tx_fin = false;
  f->until = time_min(f->until, now_of(f) + TCPFLOW_LOST_FOR);
  if (!f->stream ? !f->answered || f->closed : !bytes_len(&f->tx)) say_reset(f);
}

int tcpflow_peek(struct tcpflow *f, uint64_t from, size_t max,
                 struct bytes_vec *v, int n) {
  return bytes_peek(&f->rx, from, max, v, n);
}

void tcpflow_gave(struct tcpflow *f, size_t n) { f->rx_given += n; }

/* Credit is the current stream's: what came on a former one is not its. */
void tcpflow_took(struct tcpflow *f, size_t n) {
  uint64_t upto = f->rx.begin + n, from = f->rx.begin;

  bytes_release(&f->rx, &f->common->pool, upto);
  if (from < f->rx_from) from = f->rx_from;
  if (f->stream && upto > from) stream_credit(f->stream, upto - from);
}

bool tcpflow_at_end(const struct tcpflow *f) {
  return f->rx_fin && !f->rx_fin_taken && f->rx_given == f->rx.end;
}

void tcpflow_took_fin(struct tcpflow *f) {
  f->rx_fin_taken = true;
  maybe_done(f);
}

/* --- life --- */

uint64_t tcpflow_deadline(const struct tcpflow *f) { return f->until; }

void tcpflow_tick(struct tcpflow *f, uint64_t now) {
  if (now < f->until || f->state == TCPFLOW_OVER) return;
  if (f->tx_reset)
    say_reset(f);
  else
    not_resumed(f, REASON_IDLE);
}
