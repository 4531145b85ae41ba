/* path.c - a path's connection and its queue of inner packets. The control
 * stream is in path_control.c, the streams of TCP flows in stream.c, DATAGRAM
 * formats and fragments in path_dgram.c.
 */
#include "role/path_int.h"

#include <stdlib.h>
#include <string.h>
#include <ztna/err.h>

#include "base/log.h"

/* --- connections --- */

/* Without a connection while streams say that they are gone: nobody opens one
 * on what is not there any more. */
static void forget_conn(struct path *p) {
  p->conn = NULL;
  streams_gone(p);
  path_control_reset(p);
  path_dgram_reset(p);
}

/* On the same handle QUIC ends the former by itself, silently: a close frame
 * could overtake the end of our handshake, and the other side would see an end
 * where there is none. */
static void leave_former(struct path *p, struct quic_conn *c,
                         struct quic_conn *former) {
  if (p->former) quic_forget(p->former);
  p->former = former;
  if (!former || !memcmp(quic_handle(c), quic_handle(former), HANDLE_LEN))
    return;
  quic_forget(former);
  p->former = NULL;
}

static int on_ready(struct quic_conn *c, void *ud,
                    const struct identity *peer) {
  struct path *p = ud;
  struct quic_conn *former = p->conn;
  int why = p->ev->on_check(p, p->ud, peer);

  if (why) return why;
  if (p->dialling == c) p->dialling = NULL;
  forget_conn(p);
  p->conn = c;
  if (!quic_is_server(c)) leave_former(p, c, former);
  if (!quic_is_server(c) && path_control_open(p) < 0) return REASON_INTERNAL;
  p->ev->on_live(p, p->ud);
  quic_wake(c);
  return 0;
}

static void on_end(struct quic_conn *c, void *ud, const struct quic_end *why) {
  struct path *p = ud;

  if (c == p->conn) {
    forget_conn(p);
    if (p->slot) /* it may be dialled again */
      quic_slot_accept(p->slot, quic_now(p->quic) + PATH_ACCEPT_FOR);
  } else if (c == p->dialling) {
    p->dialling = NULL;
    if (p->conn) return;
  } else {
    if (c == p->former) p->former = NULL;
    if (p->ev->on_refused && why->reason != REASON_REPLACED)
      p->ev->on_refused(p, p->ud, why);
    return;
  }
  p->ev->on_end(p, p->ud, why);
}

static const struct quic_ops path_ops = {
    .alpn = "ztna/1",
    .on_ready = on_ready,
    .on_end = on_end,
    .on_stream_data = streams_on_data,
    .on_stream_acked = streams_on_acked,
    .on_stream_room = streams_on_room,
    .on_stream_close = streams_on_close,
    .on_stream_reset = streams_on_reset,
    .on_stop_sending = streams_on_stop,
    .on_streams_allowed = streams_on_allowed,
    .stream_out = streams_out,
    .stream_sent = streams_sent,
    .stream_blocked = streams_blocked,
    .stream_shut = streams_shut,
    .packet_size = path_packet_size,
    .on_dgram = path_on_dgram,
    .dgram_out = path_dgram_out,
    .dgram_sent = path_dgram_sent,
    .on_dgram_acked = path_on_dgram_acked,
    .on_dgram_lost = path_on_dgram_lost,
};

/* Only agents open streams. */
static struct quic_params params_of(uint64_t initial_rtt, uint64_t streams) {
  return (struct quic_params){
      .idle_timeout = 30 * SEC,
      .keep_alive = 15 * SEC,
      .handshake_timeout = 3 * SEC,
      .initial_rtt = initial_rtt,
      .streams_bidi = streams,
      .stream_window = 128 * 1024,
      .max_stream_window = PATH_STREAM_WINDOW,
      .conn_window = 1024 * 1024,
      .max_conn_window = 16 * 1024 * 1024,
      .dgrams = true,
      .pmtud = true,
      .lean = true, /* its keys allocate nothing per packet, too */
  };
}

struct path *path_new(struct quic *q, struct pool *pool, const struct rng *rng,
                      const struct path_events *ev, void *ud) {
  struct path *p = calloc(1, sizeof(*p));

  if (!p) return NULL;
  p->quic = q;
  p->pool = pool;
  p->rng = rng;
  p->ev = ev;
  p->ud = ud;
  p->stream = -1;
  p->quiet_at = NEVER;
  path_watch_reset(p);
  p->queue = fq_new(pool, PATH_QUEUE, rng);
  if (p->queue) return p;
  free(p);
  return NULL;
}

void path_free(struct path *p, uint64_t now) {
  if (!p) return;
  if (p->dialling) quic_forget(p->dialling);
  if (p->former) quic_forget(p->former);
  if (p->conn && !p->slot) quic_forget(p->conn);
  if (p->slot) quic_unlisten(p->quic, p->slot);
  forget_conn(p);
  fq_free(p->queue);
  free(p->rx);
  free(p);
}

int path_listen(struct path *p, const uint8_t handle[HANDLE_LEN],
                const uint8_t peer_handle[HANDLE_LEN], uint64_t initial_rtt,
                uint64_t now) {
  struct quic_params params = params_of(initial_rtt, PATH_STREAMS);

  p->slot = quic_listen(p->quic, handle, peer_handle, &path_ops, p, &params,
                        now, PATH_ACCEPT_FOR);
  return p->slot ? 0 : ZTNA_EEXIST;
}

void path_hear_only(struct path *p, const struct ztna_addr *remote) {
  if (p->slot) quic_slot_from(p->slot, remote);
}

void path_set_sock(struct path *p, uint16_t sock) { p->sock = sock; }

int path_dial(struct path *p, const struct ztna_addr *remote,
              const uint8_t handle[HANDLE_LEN],
              const uint8_t peer_handle[HANDLE_LEN], uint64_t initial_rtt,
              uint64_t now) {
  struct quic_dial d = {.remote = *remote,
                        .sock = p->sock,
                        .handle = handle,
                        .peer_handle = peer_handle,
                        .ops = &path_ops,
                        .ud = p,
                        .params = params_of(initial_rtt, 0)};

  if (p->dialling) quic_forget(p->dialling);
  p->dialling = quic_dial(p->quic, &d, now);
  return p->dialling ? 0 : ZTNA_EFULL;
}

/* One end is said, not two: with a live connection an attempt ends unheard. */
void path_close(struct path *p, enum reason why) {
  if (p->dialling && p->conn) {
    quic_forget(p->dialling);
    p->dialling = NULL;
  }
  if (p->dialling) quic_close(p->dialling, why, NULL);
  if (p->conn) quic_close(p->conn, why, NULL);
}

void *path_user(const struct path *p) { return p->ud; }

bool path_is_live(const struct path *p) { return p->conn; }
struct quic_conn *path_conn(const struct path *p) {
  return p->conn;
}

/* --- inner packets --- */

void path_send_packet(struct path *p, uint16_t context, struct pkt *k,
                      uint64_t now) {
  k->tag = context;
  fq_put(p->queue, k, 0, now);
  while (fq_packets(p->queue) > PATH_QUEUE_PACKETS) fq_shed(p->queue);
  if (p->conn) quic_wake(p->conn);
}

void path_take_queue(struct path *to, struct path *from, uint64_t now) {
  if (from->head && !from->head_index) { /* nothing of it left yet */
    fq_put(to->queue, from->head, 0, now);
    from->head = NULL;
  }
  fq_move(to->queue, from->queue, now);
  if (to->conn) quic_wake(to->conn);
}

void path_hold(struct path *p, bool on) {
  p->on_hold = on;
  if (!on && p->conn) quic_wake(p->conn);
}

size_t path_waiting(const struct path *p) { return fq_packets(p->queue); }
bool path_shed(struct path *p) { return fq_shed(p->queue); }
bool path_has_streams(const struct path *p) { return p->streams; }

const struct path_stats *path_stats(const struct path *p) { return &p->stats; }

const struct fq_stats *path_queue_stats(const struct path *p) {
  return fq_stats(p->queue);
}

void path_total(const struct path *p, struct path_totals *sum) {
  const struct path_stats *s = &p->stats;
  const struct fq_stats *q = fq_stats(p->queue);

  sum->paths.n_packets_in += s->n_packets_in;
  sum->paths.n_bytes_in += s->n_bytes_in;
  sum->paths.n_packets_out += s->n_packets_out;
  sum->paths.n_bytes_out += s->n_bytes_out;
  sum->paths.n_split += s->n_split;
  for (int i = 0; i < REASON_N; i++) sum->paths.drops[i] += s->drops[i];
  sum->queue.n_in += q->n_in;
  sum->queue.n_out += q->n_out;
  sum->queue.n_codel_drops += q->n_codel_drops;
  sum->queue.n_marks += q->n_marks;
  sum->queue.n_full_drops += q->n_full_drops;
}

void path_status(const struct path *p, json_t *into) {
  struct quic_info i;

  json_object_set_new(into, "live", json_boolean(p->conn));
  if (!p->conn) return;
  quic_info(p->conn, &i);
  json_object_set_new(into, "rtt_ms", json_real((double)i.srtt / (double)MS));
  json_object_set_new(into, "min_rtt_ms",
                      json_real((double)i.min_rtt / (double)MS));
  json_object_set_new(into, "group", json_string(quic_group(p->conn)));
  json_object_set_new(into, "cipher", json_string(quic_cipher(p->conn)));
  json_object_set_new(into, "cwnd", json_integer((json_int_t)i.cwnd));
  json_object_set_new(into, "in_flight", json_integer((json_int_t)i.in_flight));
  json_object_set_new(into, "udp_payload",
                      json_integer((json_int_t)i.udp_payload));
  json_object_set_new(into, "sent", json_integer((json_int_t)i.n_sent));
  json_object_set_new(into, "received", json_integer((json_int_t)i.n_recv));
  json_object_set_new(into, "lost", json_integer((json_int_t)i.n_lost));
  json_object_set_new(into, "bytes_sent",
                      json_integer((json_int_t)i.bytes_sent));
  json_object_set_new(into, "bytes_received",
                      json_integer((json_int_t)i.bytes_recv));
  json_object_set_new(into, "mtu", json_integer((json_int_t)path_mtu(p)));
}
