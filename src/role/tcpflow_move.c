/* tcpflow_move.c - a flow changes its stream while both work. From the question
 * on nothing new is sent on the former stream; the connector answers when it
 * has all that the agent sent there and the agent has all that it sent. That
 * costs a round trip of silence, and no byte twice. */
#include <string.h>
#include <ztna/err.h>

#include "role/tcpflow_int.h"

void tcpflow_move_drop(struct tcpflow *f, enum reason why) {
  if (f->move.to) stream_reset(f->move.to, why);
  f->move.to = NULL;
}

/* The former stream goes on, unless the connector has left it already. */
static void stay(struct tcpflow *f) {
  f->move.to = NULL;
  if (f->stream)
    stream_wake(f->stream);
  else
    tcpflow_lose(f);
}

static void on_reset(struct stream *s, void *ud, uint64_t code) {
  tcpflow_move_drop(ud, REASON_NONE);
  stay(ud);
}

static void on_gone(struct stream *s, void *ud, bool closed) { stay(ud); }

/* --- agent --- */

static int out(struct stream *s, void *ud, struct quic_vec *v, int n,
               bool *fin) {
  struct tcpflow_move *m = &((struct tcpflow *)ud)->move;

  v[0] = (struct quic_vec){m->head + m->head_sent,
                           (size_t)(m->head_len - m->head_sent)};
  return v[0].len ? 1 : 0;
}

static void sent(struct stream *s, void *ud, size_t n, bool fin) {
  struct tcpflow *f = ud;

  f->move.head_sent = (uint8_t)(f->move.head_sent + n);
}

static void moved(struct tcpflow *f) {
  struct stream *former = f->stream, *s = f->move.to;

  memcpy(f->head, f->move.head, f->move.head_len);
  f->move.to = NULL;
  f->stream = NULL;
  if (former) stream_reset(former, REASON_NONE);
  tcpflow_begin_at(f, f->tx_next);
  stream_bind(s, &tcpflow_stream_ops, f);
  tcpflow_bind(f, s, f->move.head_len);
  f->head_sent = f->head_len;
  f->asked = FLOW_MOVE;
  tcpflow_check_room(f);
}

static void on_answer(struct tcpflow *f, const struct flow_answer *a) {
  if (a->reason) {
    on_reset(f->move.to, f, 0);
  } else if (a->count != f->rx.end) {
    tcpflow_reset_by_peer(f, REASON_MALFORMED);
  } else {
    moved(f);
  }
}

static void on_data(struct stream *s, void *ud, const uint8_t *data, size_t len,
                    bool fin) {
  struct tcpflow *f = ud;
  struct tcpflow_move *m = &f->move;
  struct flow_answer a;
  size_t n = 0;
  int got = 0;

  while (n < len && m->got_len < sizeof(m->got) && !got) {
    m->got[m->got_len++] = data[n++];
    got = flow_answer_read(&a, FLOW_MOVE, m->got, m->got_len);
  }
  stream_credit(s, n);
  if (got) on_answer(f, &a);
  if (f->stream == s && (n < len || fin))
    tcpflow_more(f, data + n, len - n, fin);
}

static void on_acked(struct stream *s, void *ud, uint64_t offset) {}

static const struct stream_ops agent_ops = {.on_data = on_data,
                                            .on_acked = on_acked,
                                            .on_reset = on_reset,
                                            .on_stop = on_reset,
                                            .on_gone = on_gone,
                                            .out = out,
                                            .sent = sent};

int tcpflow_move(struct tcpflow *f, struct path *p) {
  struct flow_head h = tcpflow_head(f, FLOW_MOVE);

  if (f->state != TCPFLOW_LIVE || !f->stream || f->move.to || f->tx_reset)
    return ZTNA_EAGAIN;
  h.count = f->tx_next;
  f->move = (struct tcpflow_move){.to = stream_open(p, &agent_ops, f)};
  if (!f->move.to) return ZTNA_EAGAIN;
  f->move.head_len = (uint8_t)flow_head_write(f->move.head, &h);
  stream_wake(f->move.to);
  return 0;
}

/* --- connector --- */

/* Early data waits in QUIC's window: none comes before the answer. */
static void early(struct stream *s, void *ud, const uint8_t *data, size_t len,
                  bool fin) {
  if (len || fin) on_reset(s, ud, 0);
}

static int nothing_yet(struct stream *s, void *ud, struct quic_vec *v, int n,
                       bool *fin) {
  return 0;
}

static const struct stream_ops connector_ops = {.on_data = early,
                                                .out = nothing_yet,
                                                .on_reset = on_reset,
                                                .on_stop = on_reset,
                                                .on_gone = on_gone};

void tcpflow_move_check(struct tcpflow *f) {
  struct stream *s = f->move.to;
  struct flow_answer a = {.count = f->tx_next};

  if (!s || !f->server || f->rx.end != f->move.at || f->tx.begin != f->tx_next)
    return;
  f->move.to = NULL;
  /* An end there could be taken for the flow's, should our answer be lost. */
  if (f->stream) stream_reset(f->stream, REASON_REPLACED);
  tcpflow_begin_at(f, f->tx_next);
  stream_bind(s, &tcpflow_stream_ops, f);
  tcpflow_bind(f, s, flow_answer_write(f->head, &a, FLOW_MOVE));
  f->asked = FLOW_MOVE;
}

void tcpflow_moving(struct tcpflow *f, struct stream *s,
                    const struct flow_head *h) {
  if (f->state != TCPFLOW_LIVE || !f->stream || f->tx_reset ||
      h->count < f->rx.end) {
    tcpflow_refuse(s, REASON_ROUTE_UNKNOWN);
    return;
  }
  tcpflow_move_drop(f, REASON_REPLACED);
  f->move = (struct tcpflow_move){.to = s, .at = h->count};
  stream_bind(s, &connector_ops, f);
  tcpflow_move_check(f);
}
