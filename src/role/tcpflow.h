/* tcpflow.h - one TCP connection carried as bytes (DESIGN, idea 5), either end
 * of it: a local side (lwIP, a backend's socket, a program's socket) and a
 * stream of a path. Bytes are numbered over the flow's life and kept until the
 * other end has them, so a flow outlives its stream: without one it waits, 60 s
 * at most, and is resumed on another (PROTOCOL 5, "TCP flows").
 *
 * Backpressure: what the local side does not take is not credited to the peer,
 * 2 MB at most; what the peer does not acknowledge fills the room for local
 * bytes, 2 MB at most. */
#ifndef ZTNA_ROLE_TCPFLOW_H
#define ZTNA_ROLE_TCPFLOW_H

#include "base/bytes.h"
#include "codec/flow_head.h"
#include "role/stream.h"

enum {
  /* Bytes each way; also the largest stream window: twice what is under way at
   * 200 Mbit/s x 40 ms. With less BBR takes the flow for one that has little to
   * send and never leaves its start: it loses a seventh of its packets to a
   * queue of one BDP, and leaves CUBIC beside it a twentieth. */
  TCPFLOW_KEEP = PATH_STREAM_WINDOW,
  TCPFLOW_AHEAD = 256 * 1024, /* bytes not sent yet, half a millisecond at
                                 4 Gbit/s */
};
#define TCPFLOW_LOST_FOR (60 * SEC)

struct tcpflow;

/* Out of QUIC's verbs, tcpflow_resumed, _answer, _abort, _took_fin and _tick. A
 * callback may call tcpflow_free, but the storage must stay until the outermost
 * call has returned. */
struct tcpflow_ops {
  /* Agent: the connector's answer to open; REASON_NONE: connected. Any other:
   * the flow is over, free it. */
  void (*on_answer)(struct tcpflow *f, void *ud, enum reason why);
  /* There are bytes, or the end, for the local side: tcpflow_peek. */
  void (*on_input)(struct tcpflow *f, void *ud);
  /* There was no room for local bytes; now there is some. */
  void (*on_room)(struct tcpflow *f, void *ud);
  /* The other end reset it, or it cannot go on (REASON_IDLE: too long without a
   * path). Bytes that came before are still there to be taken. */
  void (*on_reset)(struct tcpflow *f, void *ud, enum reason why);
  /* It has no stream any more: resume it when there is a path. */
  void (*on_lost)(struct tcpflow *f, void *ud);
  /* Both directions ended; ours is acknowledged, theirs was taken. */
  void (*on_done)(struct tcpflow *f, void *ud);
};

enum tcpflow_state {
  TCPFLOW_OPENING, /* stream and head are there, the answer is not */
  TCPFLOW_LIVE,
  TCPFLOW_RESUMING, /* the answer to resume is not there yet */
  TCPFLOW_LOST,     /* no stream */
  TCPFLOW_OVER,     /* refused, reset or done */
};

/* Lent by the owner of many flows. */
struct tcpflow_common {
  struct quic *quic; /* for the time */
  struct bytes_pool pool;
  uint64_t n_in, n_out; /* bytes from and to the other end, all flows */
  uint64_t n_lost, n_resumed;
};

struct tcpflow {
  struct tcpflow_common *common;
  const struct tcpflow_ops *ops;
  void *ud;
  struct stream *stream;
  enum tcpflow_state state;
  bool server;
  uint8_t id[FLOW_ID_LEN];
  enum flow_kind asked; /* the head in use */
  bool answered;        /* once: from then on it can be resumed */
  uint64_t until;       /* lost, or waiting to say a reset: given up then */
  enum reason why;      /* of the end */

  /* the head or answer of the current stream, ours and theirs */
  uint8_t head[FLOW_HEAD_MAX];
  uint8_t head_len, head_sent;
  uint8_t got[FLOW_ANSWER_MAX];
  uint8_t got_len;
  bool closed; /* the stream ended well; the local side may still take */

  struct tcpflow_move {
    struct stream *to; /* NULL: it does not move */
    uint64_t at;       /* connector: what the agent sent on the former stream */
    uint8_t head[FLOW_HEAD_MAX], got[FLOW_ANSWER_MAX];
    uint8_t head_len, head_sent, got_len;
  } move;

  /* to the other end */
  struct bytes tx;  /* from what is not acknowledged on */
  uint64_t tx_next; /* next to send */
  uint64_t tx_from; /* where the current stream's bytes begin */
  bool tx_fin;      /* the local side ended it behind tx.end */
  bool tx_fin_sent, tx_full;
  enum reason tx_reset; /* to be said when all is acknowledged */

  /* to the local side */
  struct bytes rx;
  uint64_t rx_from;  /* where the current stream's bytes begin */
  uint64_t rx_given; /* so far taken over by the local side */
  bool rx_fin, rx_fin_taken;
};

/* --- making; the storage is the owner's --- */

/* Agent: a flow that asks for dst; nothing is sent before tcpflow_start. */
void tcpflow_init(struct tcpflow *f, struct tcpflow_common *common,
                  const struct tcpflow_ops *ops, void *ud,
                  const uint8_t id[FLOW_ID_LEN]);
/* Agent: opens a stream and asks; also again, for a flow that was lost before
 * it was answered. 0, or ZTNA_EAGAIN when the path allows none now. */
int tcpflow_start(struct tcpflow *f, struct path *p, uint64_t context,
                  const struct ztna_addr *dst, const struct ztna_addr *src);
/* Agent: what was asked and is not answered is taken back; it counts as lost
 * and may be started elsewhere. */
void tcpflow_unask(struct tcpflow *f);
/* Agent: its path seems dead: it counts as lost, and may be started or resumed
 * on another. */
void tcpflow_leave(struct tcpflow *f);
/* Connector: the stream s began with head h (an open); it is not answered
 * yet. */
void tcpflow_accept(struct tcpflow *f, struct tcpflow_common *common,
                    const struct tcpflow_ops *ops, void *ud, struct stream *s,
                    const struct flow_head *h);
/* Connector: the backend is connected, or why not; then the flow is over. */
void tcpflow_answer(struct tcpflow *f, enum reason why);
/* Connector: the same for a stream that never became a flow's. */
void tcpflow_refuse(struct stream *s, enum reason why);

/* Agent: goes on over p, for one that was answered. 0 or ZTNA_EAGAIN.
 * Connector: the agent asked for it with h on stream s; false (s was refused as
 * malformed) when the counts do not fit. */
int tcpflow_resume(struct tcpflow *f, struct path *p);
bool tcpflow_resumed(struct tcpflow *f, struct stream *s,
                     const struct flow_head *h);
/* A planned move to another path, while the present one still works: each end
 * finishes what it began on the former stream and goes on on the new one,
 * nothing is sent twice. When either path fails meanwhile the flow stays, or is
 * lost and resumed. Agent: 0 or ZTNA_EAGAIN. Connector: the agent asked for it.
 */
int tcpflow_move(struct tcpflow *f, struct path *p);
void tcpflow_moving(struct tcpflow *f, struct stream *s,
                    const struct flow_head *h);
/* Bytes that came on the stream behind the head, for a connector that read
 * it. */
void tcpflow_more(struct tcpflow *f, const uint8_t *data, size_t len, bool fin);

/* Releases all; resets the stream with why when the flow is not over. */
void tcpflow_free(struct tcpflow *f, enum reason why);

/* --- the local side --- */

/* Where its bytes may be put; NULL: no room now (on_room follows). */
uint8_t *tcpflow_room(struct tcpflow *f, size_t *room);
void tcpflow_put(struct tcpflow *f, size_t n);
/* More bytes than this need not wait for the other end: what is under way and a
 * reserve. What is read ahead beyond that only costs memory. */
size_t tcpflow_enough(const struct tcpflow *f);
/* It sends no more. */
void tcpflow_fin(struct tcpflow *f);
/* It was reset: the other end is told when it has everything that came before.
 * The flow is over; on_done follows unless the owner frees it. */
void tcpflow_abort(struct tcpflow *f, enum reason why);

/* The bytes for it from `from` on (a position; f->rx_given: those not yet
 * given). */
int tcpflow_peek(struct tcpflow *f, uint64_t from, size_t max,
                 struct bytes_vec *v, int n);
/* It has taken n more over (they stay where they are) ... */
void tcpflow_gave(struct tcpflow *f, size_t n);
/* ... and n of the oldest are not needed any more. */
void tcpflow_took(struct tcpflow *f, size_t n);
/* Everything was given and the other end sends no more: end the local side's
 * output; say so once by tcpflow_took_fin. */
bool tcpflow_at_end(const struct tcpflow *f);
void tcpflow_took_fin(struct tcpflow *f);

/* --- life --- */

/* When a flow without a stream is given up; NEVER when it has one. */
uint64_t tcpflow_deadline(const struct tcpflow *f);
void tcpflow_tick(struct tcpflow *f, uint64_t now);

#endif
