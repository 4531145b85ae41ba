/* path.h - one path of a link (PROTOCOL 5): a QUIC connection with a control
 * stream of JSON messages and inner packets in DATAGRAM frames. Both ends use
 * it; who may do what is for agent and connector to decide. */
#ifndef ZTNA_ROLE_PATH_H
#define ZTNA_ROLE_PATH_H

#include <jansson.h>

#include "base/metrics.h"
#include "base/pool.h"
#include "part/fq.h"
#include "transport/quic.h"

enum {
  PATH_MSG_MAX = 65536,             /* a control message */
  PATH_CONTEXT_MAX = 0x3fff,        /* two bytes of varint */
  PATH_QUEUE = 512 * 1024,          /* bytes of inner packets that may wait */
  PATH_STREAM_WINDOW = 1920 * 1024, /* 2 MB with the rims of chunks */
  PATH_STREAMS = 1024,              /* at once, the control stream among them */
  PATH_QUEUE_PACKETS = 1024, /* so that small ones leave some of the pool */
};

struct path;
struct stream; /* of a TCP flow: stream.h */

struct path_events {
  /* Is this the right peer? 0 or a reason, with which it is refused. Changes
   * nothing: a live connection goes on when another is refused. */
  int (*on_check)(struct path *p, void *ud, const struct identity *peer);
  /* A connection is live; what was on a former one is gone. */
  void (*on_live)(struct path *p, void *ud);
  /* A control message, an object; lent. <0: close as malformed. */
  int (*on_message)(struct path *p, void *ud, json_t *msg);
  /* An inner packet of a context other than 0; lent. */
  void (*on_packet)(struct path *p, void *ud, uint64_t context,
                    const uint8_t *ip, size_t len);
  /* Connector: the agent opened a stream: take it by stream_bind, now. */
  void (*on_stream)(struct path *p, void *ud, struct stream *s);
  /* Agent: stream_open may succeed again. */
  void (*on_streams_allowed)(struct path *p, void *ud);
  /* The live connection is gone, or dialling failed and none is live. */
  void (*on_end)(struct path *p, void *ud, const struct quic_end *why);
  /* An attempt to connect to us failed or was refused; for the log. */
  void (*on_refused)(struct path *p, void *ud, const struct quic_end *why);
};

struct path_stats {
  uint64_t n_packets_in, n_bytes_in, n_packets_out, n_bytes_out;
  uint64_t n_split; /* sent in two DATAGRAMs */
  uint64_t drops[REASON_N];
};

struct path_totals {
  struct path_stats paths;
  struct fq_stats queue;
};

/* The metrics of a role's paths; base: a struct path_totals. */
#define PATH_METRICS(role)                                                    \
  {"ztna_" role "_path_packets_in_total", "inner packets received on paths",  \
   METRIC_COUNTER, offsetof(struct path_totals, paths.n_packets_in)},         \
      {"ztna_" role "_path_packets_out_total", "inner packets sent on paths", \
       METRIC_COUNTER, offsetof(struct path_totals, paths.n_packets_out)},    \
      {"ztna_" role "_path_split_total",                                      \
       "inner packets sent in two DATAGRAMs", METRIC_COUNTER,                 \
       offsetof(struct path_totals, paths.n_split)},                          \
      {"ztna_" role "_path_drops_total", "inner packets dropped on paths",    \
       METRIC_REASONS, offsetof(struct path_totals, paths.drops)},            \
      {"ztna_" role "_queue_marks_total", "ECN marks set by CoDel",           \
       METRIC_COUNTER, offsetof(struct path_totals, queue.n_marks)},          \
      {"ztna_" role "_queue_codel_drops_total",                               \
       "packets dropped because they waited too long", METRIC_COUNTER,        \
       offsetof(struct path_totals, queue.n_codel_drops)},                    \
      {"ztna_" role "_queue_full_drops_total",                                \
       "packets dropped because a queue was full", METRIC_COUNTER,            \
       offsetof(struct path_totals, queue.n_full_drops)},                     \
  {                                                                           \
    0                                                                         \
  }

/* pool: of inner packets, lent. NULL: no memory. */
struct path *path_new(struct quic *q, struct pool *pool, const struct rng *rng,
                      const struct path_events *ev, void *ud);
/* Takes its handle back and forgets it; no callback any more but on_gone of its
 * streams. A connection that
 * was closed before still says so. Not out of a callback of this path. */
void path_free(struct path *p, uint64_t now);

/* Connector: accept on this handle for 60 s, or while one is live. */
int path_listen(struct path *p, const uint8_t handle[HANDLE_LEN],
                const uint8_t peer_handle[HANDLE_LEN], uint64_t initial_rtt,
                uint64_t now);
/* Connector: hear only this address, the relay's of a relayed path. */
void path_hear_only(struct path *p, const struct ztna_addr *remote);
/* Agent: dial through `remote` (a relay). Closes a former connection only when
 * the new one is ready. */
int path_dial(struct path *p, const struct ztna_addr *remote,
              const uint8_t handle[HANDLE_LEN],
              const uint8_t peer_handle[HANDLE_LEN], uint64_t initial_rtt,
              uint64_t now);
/* Agent: the next dial leaves by this socket (dgram.h); 0: the main one. */
void path_set_sock(struct path *p, uint16_t sock);
/* Says goodbye. on_end follows. */
void path_close(struct path *p, enum reason why);

/* As given to path_new. */
void *path_user(const struct path *p);
bool path_is_live(const struct path *p);
struct quic_conn *path_conn(const struct path *p); /* NULL when not live */

/* Sends a message; takes no reference. ZTNA_ECLOSED, ZTNA_EFULL. */
int path_send(struct path *p, json_t *msg);
/* The same, takes the reference; a message that cannot be sent closes the path
 * (rate-limited). */
void path_say(struct path *p, json_t *msg);
/* Queues an inner packet, takes it. The oldest of the fattest flow goes when
 * the queue is full. */
void path_send_packet(struct path *p, uint16_t context, struct pkt *k,
                      uint64_t now);
/* What waits in from's queue waits in to's from now on. */
void path_take_queue(struct path *to, struct path *from, uint64_t now);
/* Nothing of the link's leaves while it is on hold (probes and acknowledgements
 * do): the relay does not know our new address yet. */
void path_hold(struct path *p, bool on);
/* So much is under way that silence can hardly be chance. */
bool path_is_busy(const struct path *p);
/* Packets in the queue, and the oldest of its fattest flow dropped: for who
 * finds the pool empty. False: nothing waits. */
size_t path_waiting(const struct path *p);
bool path_shed(struct path *p);
/* TCP flows have streams there, or what they sent last still has to arrive. */
bool path_has_streams(const struct path *p);
/* The largest inner packet that can be carried, split over two if need be; 0
 * when it is not live. */
size_t path_mtu(const struct path *p);

/* Nothing was acknowledged for max(3 RTT, 200 ms) although something is
 * outstanding: the path is suspect. */
bool path_is_silent(const struct path *p, uint64_t now);
uint64_t path_acked_at(const struct path *p); /* something of ours; 0: never */
uint64_t path_silent_since(const struct path *p); /* NEVER when it is not */
/* True once after the tick by which, behind inner packets, none came for half a
 * second: whoever only answers has nothing under way that would tell it that a
 * relay was restarted. */
bool path_fell_quiet(struct path *p);
/* Asks for an answer now, even on an idle path. */
void path_probe(struct path *p, uint64_t now);

void path_tick(struct path *p, uint64_t now);
uint64_t path_deadline(const struct path *p);
const struct path_stats *path_stats(const struct path *p);
const struct fq_stats *path_queue_stats(const struct path *p);
/* Adds this path's counts. */
void path_total(const struct path *p, struct path_totals *sum);
void path_status(const struct path *p, json_t *into);

#endif
