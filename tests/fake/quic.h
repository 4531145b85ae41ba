/* fake/quic.h - a pipe that plays the part of QUIC for the user of one
 * quic_conn: streams, credit, acknowledgements, resets, the end; no packets, no
 * TLS, no time. A test includes fake/quic.c, so that its symbols stand before
 * those of the library, and links nothing that wants the real quic_new. */
#ifndef ZTNA_FAKE_QUIC_H
#define ZTNA_FAKE_QUIC_H

#include "transport/quic.h"

enum { FAKE_STREAMS = 80, FAKE_MTU = 1200 };

struct fake_stream {
  bool used;
  int64_t id;
  void *ud;
  uint64_t sent, max;       /* out: so far, and what the peer allows */
  uint64_t received, given; /* in: so far, and credit given for it */
  bool fin_sent, reset, tx_done;
  bool stopped, rx_done;
  bool blocked;
  bool tell_reset, tell_stop, tell_room;
  uint64_t reset_code, stop_code;
};

struct fake_piece { /* bytes that are not acknowledged */
  int64_t id;
  uint64_t offset;
  const uint8_t *at; /* where the user keeps them */
  size_t len;
  bool fin;
  uint8_t copy[FAKE_MTU];
};

struct quic_conn {
  const struct quic_ops *ops;
  void *ud;
  bool server, ready, closing, tell_streams;
  struct quic_conn *peer; /* NULL: what is sent is only taken */
  struct fake_stream streams[FAKE_STREAMS];
  struct fake_piece *pieces;
  size_t n_pieces, pieces_room;
  uint64_t n_opened[2], n_allowed[2]; /* uni, bidi, by us */
  uint64_t sent, max;
  uint64_t received, given;
  uint64_t stream_window;
  enum reason why;
  struct identity peer_id;
  uint64_t now;   /* test: what quic_time says */
  bool awake;     /* asked for by quic_wake, or something came */
  bool hold_acks; /* test: acknowledge nothing now */
  bool hold_data; /* test: nothing of ours leaves now */
  uint8_t *taken; /* without a peer: what was sent on request streams */
  size_t n_taken, taken_room;
};

/* Attaches ud to a new connection that is not ready yet. */
void fake_init(struct quic_conn *c, bool server, const struct quic_ops *ops,
               void *ud, const struct quic_params *own,
               const struct quic_params *of_peer);
void fake_pair(struct quic_conn *a, struct quic_conn *b);
/* The handshake is done. */
void fake_ready(struct quic_conn *c);
/* Carries everything until nothing moves. */
void fake_run(struct quic_conn *c);
/* As if the peer had sent it. */
void fake_feed(struct quic_conn *c, int64_t id, const void *data, size_t len,
               bool fin);
void fake_feed_reset(struct quic_conn *c, int64_t id, uint64_t code);
void fake_feed_stop(struct quic_conn *c, int64_t id, uint64_t code);
/* Ends it if it has not ended, without a word to the peer. */
void fake_end(struct quic_conn *c, enum reason why, bool remote);
/* Frees what the fake holds. */
void fake_done(struct quic_conn *c);
size_t fake_open_streams(const struct quic_conn *c);

#endif
