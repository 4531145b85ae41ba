/* tcpflow_refuse.c - a refusal outlives its flow: the byte lies in a table, and
 * its stream has no user once it is sent. */
#include "role/tcpflow.h"

static uint8_t refusals[REASON_N];

static void on_data(struct stream *s, void *ud, const uint8_t *data, size_t len,
                    bool fin) {
  stream_credit(s, len);
}

static void on_acked(struct stream *s, void *ud, uint64_t offset) {}
static void on_reset(struct stream *s, void *ud, uint64_t code) {}
static void on_gone(struct stream *s, void *ud, bool closed) {}

static int out(struct stream *s, void *ud, struct quic_vec *v, int n,
               bool *fin) {
  v[0] = (struct quic_vec){ud, 1};
  *fin = true;
  return 1;
}

static void sent(struct stream *s, void *ud, size_t n, bool fin) {
  if (fin) stream_forget(s);
}

static const struct stream_ops ops = {.on_data = on_data,
                                      .on_acked = on_acked,
                                      .on_reset = on_reset,
                                      .on_stop = on_reset,
                                      .on_gone = on_gone,
                                      .out = out,
                                      .sent = sent};

void tcpflow_refuse(struct stream *s, enum reason why) {
  refusals[why] = (uint8_t)why;
  stream_bind(s, &ops, &refusals[why]);
  stream_wake(s);
}
