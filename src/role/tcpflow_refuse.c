/* tcpflow_refuse.c - a refusal outlives its flow: the byte lies in a table, its
 * stream has no user. */
#include "role/tcpflow.h"

static uint8_t refusals[REASON_N];

static void refused_data(struct stream *s, void *ud, const uint8_t *data,
                         size_t len, bool fin) {
  stream_credit(s, len);
}

static const struct stream_ops refused_ops = {.on_data = refused_data};

static int refusal_out(struct stream *s, void *ud, struct quic_vec *v, int n,
                       bool *fin) {
  v[0] = (struct quic_vec){ud, 1};
  *fin = true;
  return 1;
}

static void refusal_sent(struct stream *s, void *ud, size_t n, bool fin) {
  if (fin) stream_bind(s, &refused_ops, NULL);
}

static const struct stream_ops refusal_ops = {
    .on_data = refused_data, .out = refusal_out, .sent = refusal_sent};

void tcpflow_refuse(struct stream *s, enum reason why) {
  refusals[why] = (uint8_t)why;
  stream_bind(s, &refusal_ops, &refusals[why]);
  stream_wake(s);
}
