/* path_int.h - what the files path*.c share. */
#ifndef ZTNA_PATH_INT_H
#define ZTNA_PATH_INT_H

#include "base/time.h"
#include "codec/wire.h"
#include "role/path.h"

#define PATH_ACCEPT_FOR (60 * SEC)

enum {
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
  uint8_t *rx;
  size_t rx_len, rx_cap;

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

  /* DATAGRAMs in */
  struct frag_slot frags[REASS_SLOTS];

  /* is it alive, does it still carry what it carried */
  uint64_t n_outstanding, progress_at;
  uint64_t witness_at; /* no other before */
  unsigned n_big_lost; /* in a row */
  size_t limit;        /* UDP payload; 0 none */
  uint64_t probe_at, probe_every;
  uint64_t quiet_at; /* no inner packet came until then: missed */
  bool missed;
  bool probe_due;

  struct path_stats stats;
};

/* path_stream.c */
void path_stream_reset(struct path *p);
int path_stream_open(struct path *p);
int path_on_stream_data(struct quic_conn *c, void *ud, int64_t id,
                        const uint8_t *data, size_t len, bool fin);
void path_on_stream_acked(struct quic_conn *c, void *ud, int64_t id,
                          uint64_t offset, uint64_t len);
void path_on_stream_room(struct quic_conn *c, void *ud, int64_t id);
void path_on_stream_close(struct quic_conn *c, void *ud, int64_t id,
                          bool has_error, uint64_t app_error);
int path_stream_out(struct quic_conn *c, void *ud, int64_t *id, bool *fin,
                    struct quic_vec *v, size_t n);
void path_stream_sent(struct quic_conn *c, void *ud, int64_t id, size_t n);
void path_stream_blocked(struct quic_conn *c, void *ud, int64_t id);
void path_stream_shut(struct quic_conn *c, void *ud, int64_t id);

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
