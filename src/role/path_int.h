/* path_int.h - what the files path*.c share. */
#ifndef ZTNA_PATH_INT_H
#define ZTNA_PATH_INT_H

#include "base/time.h"
#include "codec/wire.h"
#include "role/path.h"
#include "role/stream.h"

#define PATH_ACCEPT_FOR (60 * SEC)

enum {
  PATH_CONTROL_STREAM = 0,
  PATH_NARROW = 1200, /* UDP payload that every path carries */
  REASS_SLOTS = 16,
  ECHO_REPLIES = 8,
};

struct chunk; /* of the control stream, kept until acknowledged */

struct frag_slot {
  uint64_t at;
  uint64_t context;
  uint16_t id;
  uint8_t have; /* bits of indices */
  uint16_t first_len;
  struct pkt *k[2];
};

struct stream_bytes {
  uint64_t sent, acked;
  uint64_t at; /* when the last were acknowledged, or the first sent */
};

struct stream {
  struct path *path;
  const struct stream_ops *ops; /* NULL: forgotten */
  void *ud;
  int64_t id;
  struct stream *prev, *next; /* of all */
  struct stream *turn_prev, *turn_next;
  int32_t deficit;
  bool listed, fresh;      /* in a list of turns; in which one */
  bool blocked;            /* by the peer's window */
  bool fin_offered, ended; /* our direction */
  bool failed;             /* a reset or stop came */
  bool stopped;            /* the peer takes no more */
  struct stream_bytes bytes;
  size_t offered; /* so many bytes, by the last call of out */
  uint64_t held;  /* came, and no credit was given for it */
};

struct stream_list {
  struct stream *head, *tail;
};

struct path {
  struct quic *quic;
  struct pool *pool;
  const struct rng *rng;
  const struct path_events *ev;
  void *ud;
  struct quic_slot *slot; /* listening */
  struct quic_conn *conn; /* live */
  struct quic_conn *dialling;
  struct quic_conn *former; /* dialled, replaced, its end still to come */

  /* control stream */
  int64_t stream;
  struct chunk *tx_first, *tx_last, *tx_next;
  size_t tx_off;    /* sent bytes of tx_next */
  uint64_t tx_base; /* stream offset where tx_first begins */
  size_t tx_bytes;
  bool tx_blocked;
  struct stream_bytes tx_bytes_out;
  uint8_t *rx;
  size_t rx_len, rx_cap;

  /* streams of TCP flows */
  struct stream *streams;
  struct stream_list fresh, old; /* turns, as in fq.c */
  struct stream *offered;        /* whose bytes QUIC looks at */
  uint64_t held;                 /* bytes that users have not credited, all */
  uint64_t owed;                 /* of them not credited to the connection */

  /* DATAGRAMs out */
  struct fq *queue;
  struct pkt *head;   /* taken from the queue, not yet sent */
  size_t head_split;  /* bytes in its first fragment; 0: whole */
  uint8_t head_index; /* next fragment */
  uint16_t frag_id;
  enum {
    OUT_NONE,
    OUT_REPLY,
    OUT_ECHO,
    OUT_PROBE,
    OUT_WHOLE,
    OUT_FRAGMENT
  } out;
  size_t out_len;
  uint8_t out_head[WIRE_FRAGMENT_HEAD + WIRE_COOKIE_LEN + 8];
  uint8_t replies[ECHO_REPLIES][WIRE_COOKIE_LEN];
  size_t n_replies;
  bool echo_due;
  uint64_t packet; /* packets sent before the one being filled */
  size_t fill;     /* bytes of our frames in it */
  enum quic_size packet_size;

  /* DATAGRAMs in */
  struct frag_slot frags[REASS_SLOTS];

  /* is it alive, does it still carry what it carried */
  uint64_t n_outstanding, progress_at;
  uint64_t bytes_outstanding; /* of streams */
  uint64_t acked_at;          /* something was */
  uint64_t watch_at;          /* look whether something came through */
  uint64_t in_small;   /* bytes at most that streams sent in small packets */
  uint64_t stall_at;   /* no stall is counted before */
  uint64_t n_sent;     /* packets, when a small one was asked for */
  unsigned n_stalls;   /* in a row */
  unsigned n_big_lost; /* in a row */
  size_t limit;        /* UDP payload; 0 none */
  uint64_t probe_at, probe_every;
  uint64_t offers_from; /* packets sent before the first full one; 0: none */
  bool probe_woken;
  uint64_t probe_offer_at; /* tried by then, it found no room */
  uint64_t quiet_at;       /* no inner packet came until then: missed */
  bool missed;
  bool probe_due;
  bool on_hold;
  uint16_t sock; /* of the next dial */

  struct path_stats stats;
};

/* path_control.c */
void path_control_reset(struct path *p);
int path_control_open(struct path *p);
int path_control_data(struct path *p, const uint8_t *data, size_t len,
                      bool fin);
int path_control_out(struct path *p, int64_t *id, struct quic_vec *v, size_t n);
void path_control_sent(struct path *p, size_t n);
void path_control_acked(struct path *p, uint64_t offset);
void path_control_blocked(struct path *p);
void path_control_room(struct path *p);
void path_control_shut(struct path *p);

/* path_watch.c */
void path_watch_reset(struct path *p);
enum quic_size path_packet_size(struct quic_conn *c, void *ud);
/* A DATAGRAM left, was acknowledged. */
void path_watch_dgram(struct path *p);
void path_watch_acked(struct path *p);
/* So many bytes of a stream left, were acknowledged, are not needed any more.
 */
void path_bytes_sent(struct path *p, struct stream_bytes *b, size_t n);
void path_bytes_acked(struct path *p, struct stream_bytes *b, uint64_t n);
void path_bytes_left(struct path *p, struct stream_bytes *b);
bool path_is_stalled(const struct path *p);
void path_small_acked(struct path *p, bool stalled);
void path_big_lost(struct path *p);
void path_probe_lost(struct path *p);
void path_grow(struct path *p);

/* stream.c */
void streams_gone(struct path *p); /* with their connection */
int streams_on_data(struct quic_conn *c, void *ud, int64_t id,
                    const uint8_t *data, size_t len, bool fin);
void streams_on_acked(struct quic_conn *c, void *ud, int64_t id,
                      uint64_t offset, uint64_t len);
void streams_on_room(struct quic_conn *c, void *ud, int64_t id);
void streams_on_close(struct quic_conn *c, void *ud, int64_t id, bool has_error,
                      uint64_t app_error);
void streams_on_reset(struct quic_conn *c, void *ud, int64_t id, uint64_t code);
void streams_on_stop(struct quic_conn *c, void *ud, int64_t id, uint64_t code);
void streams_on_allowed(struct quic_conn *c, void *ud, uint64_t max);
int streams_out(struct quic_conn *c, void *ud, int64_t *id, bool *fin,
                struct quic_vec *v, size_t n);
void streams_sent(struct quic_conn *c, void *ud, int64_t id, size_t n);
void streams_blocked(struct quic_conn *c, void *ud, int64_t id);
void streams_shut(struct quic_conn *c, void *ud, int64_t id);

/* stream_turn.c */
void turn_add(struct path *p, struct stream *s); /* it has something to send */
void turn_del(struct path *p, struct stream *s);
struct stream *turn_head(struct path *p); /* NULL: nobody has anything */
void turn_took(struct path *p, struct stream *s, size_t n);
void turn_dry(struct path *p, struct stream *s); /* it had nothing */

/* path_dgram.c */
void path_packet_has(struct path *p, size_t n); /* so many bytes more */
void path_dgram_reset(struct path *p);
void path_on_dgram(struct quic_conn *c, void *ud, const uint8_t *data,
                   size_t len);
int path_dgram_out(struct quic_conn *c, void *ud, size_t max,
                   struct quic_vec v[2], uint64_t *id);
void path_dgram_sent(struct quic_conn *c, void *ud);
void path_on_dgram_acked(struct quic_conn *c, void *ud, uint64_t id);
void path_on_dgram_lost(struct quic_conn *c, void *ud, uint64_t id);

#endif
