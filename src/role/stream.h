/* stream.h - the streams of a path that carry TCP flows: who is whose, and
 * whose turn it is. A stream that had nothing to send and now has goes first
 * for one packet's worth (a key stroke does not wait for a download), then they
 * take turns (as fq.h does with packets). The path owns its streams. */
#ifndef ZTNA_ROLE_STREAM_H
#define ZTNA_ROLE_STREAM_H

#include "role/path.h"

struct stream;

/* Every callback comes out of the path's QUIC verbs; it may reset any stream.
 * All but on_data may be NULL. */
struct stream_ops {
  /* Bytes in order; len may be 0 with fin. Credit is given by stream_credit. */
  void (*on_data)(struct stream *s, void *ud, const uint8_t *data, size_t len,
                  bool fin);
  /* Everything we sent below this offset of the stream has arrived. */
  void (*on_acked)(struct stream *s, void *ud, uint64_t offset);
  /* RESET_STREAM: no more bytes come. STOP_SENDING: it takes no more, and what
   * was given to it is not needed any more. Neither ends the stream: the user
   * does (stream_reset), or the peer. */
  void (*on_reset)(struct stream *s, void *ud, uint64_t code);
  void (*on_stop)(struct stream *s, void *ud, uint64_t code);
  /* It is over; s is gone after this. closed: both directions ended and
   * everything we sent, its end too, was acknowledged. Else a direction was
   * reset (on_reset or on_stop came before), or the path's connection is gone.
   */
  void (*on_gone)(struct stream *s, void *ud, bool closed);
  /* The next bytes to send, n vectors at most, and whether they end it; they
   * stay where they are until acknowledged. 0 without fin: nothing now. */
  int (*out)(struct stream *s, void *ud, struct quic_vec *v, int n, bool *fin);
  /* So many of them were taken; with fin when that was among it. */
  void (*sent)(struct stream *s, void *ud, size_t n, bool fin);
};

/* Agent: a new stream. NULL when the connector allows none now (then
 * path_events.on_streams_allowed comes), when the path is not live, or without
 * memory. */
struct stream *stream_open(struct path *p, const struct stream_ops *ops,
                           void *ud);
/* Connector: takes a stream that path_events.on_stream announced, in that
 * callback; one that is not taken is refused. */
void stream_bind(struct stream *s, const struct stream_ops *ops, void *ud);

/* It has something to send (again). Cheap. */
void stream_wake(struct stream *s);
/* The user has done with n bytes: as many more may come. */
void stream_credit(struct stream *s, size_t n);
/* Ends both directions abruptly. No callback any more. */
void stream_reset(struct stream *s, uint64_t code);
/* Forgets the user: what the stream still sends is retransmitted by QUIC, and
 * it is ended if it was not; new data of the peer is thrown away. No callback
 * any more; the bytes given must not be needed any more (all acknowledged). */
void stream_forget(struct stream *s);
struct path *stream_path(const struct stream *s);

#endif
