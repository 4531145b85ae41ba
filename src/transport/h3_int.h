/* h3_int.h - what the files h3*.c share. Nobody else includes it. */
#ifndef ZTNA_H3_INT_H
#define ZTNA_H3_INT_H

#include <sys/queue.h>

#include <nghttp3/nghttp3.h>

#include <ztna/err.h>

#include "base/bucket.h"
#include "base/time.h"
#include "transport/h3.h"

enum {
  H3_HEADERS_MAX = 16384, /* names, values and 32 per field (RFC 9114, 4.2.2) */
  H3_STREAMS_MAX = 32,
  H3_WAITING_MAX = 64,
  H3_CLOSED_PER_S = 100, /* streams of a client that ended, and so may be begun
                            again; the control API takes 50 requests */
  H3_CLOSED_BURST = 400,
};
#define H3_COMPLETE (10 * SEC) /* a request, from its first byte */
#define H3_TAKEN (30 * SEC)    /* some of what waits, by the client */

/* --- h3_stream.c: bytes of one stream --- */

/* Bytes on their way out: kept where they are until acknowledged. */
struct h3_chunk {
  struct h3_chunk *next;
  size_t len;
  uint8_t data[];
};

struct h3_out {
  struct h3_chunk *head, *tail;
  struct h3_chunk *unread; /* the first one not yet given to nghttp3 */
  size_t acked;            /* bytes of head */
  size_t held;             /* memory of all chunks */
  bool ended;              /* nothing is added any more */
};

/* Bytes that came in, NUL terminated when there are any. */
struct h3_in {
  char *s;
  size_t len, cap;
};

/* What a request of a client and a call to a server have in common; the user
 * data of an nghttp3 stream. Lives until the stream is closed. */
struct h3_stream {
  struct h3 *s;
  TAILQ_ENTRY(h3_stream) link;
  int64_t id;     /* -1: not open yet */
  size_t headers; /* size of the header list so far */
  struct h3_out out;
  struct h3_in in;
  bool stopped; /* we read no more of it */
  uint64_t began_at;
};
TAILQ_HEAD(h3_streams, h3_stream);

/* Copies a, then b, as one chunk. len_a + len_b > 0. 0 or ZTNA_ENOMEM. */
int h3_out_add(struct h3_out *o, const void *a, size_t len_a, const void *b,
               size_t len_b);
void h3_out_acked(struct h3_out *o, uint64_t n);
void h3_out_done(struct h3_out *o);

/* 0, ZTNA_EFULL past max bytes, or ZTNA_ENOMEM. */
int h3_in_add(struct h3_in *in, const void *data, size_t len, size_t max);
/* Forgets the first n bytes; gives the memory back when nothing is left. */
void h3_in_drop(struct h3_in *in, size_t n);
void h3_in_done(struct h3_in *in);

/* The data reader of every body. */
extern const nghttp3_data_reader h3_reader;

/* A header field; nghttp3 copies both when it is submitted. */
nghttp3_nv h3_field(const char *name, const char *value);

void h3_stream_init(struct h3_stream *st, struct h3 *s, int64_t id);
void h3_stream_done(struct h3_stream *st);
/* Read no more of it; what still comes is thrown away. */
void h3_stream_stop(struct h3_stream *st, uint64_t app_error);
/* Send no more on it. */
void h3_stream_reset(struct h3_stream *st, uint64_t app_error);
/* Counts a header field. False: the list is too large. */
bool h3_stream_count(struct h3_stream *st, const nghttp3_vec *name,
                     const nghttp3_vec *value);

/* --- h3.c: the session --- */

/* What differs between the two ends. */
struct h3_side {
  bool server;
  void (*set_callbacks)(nghttp3_callbacks *cb);
  /* The peer gave up sending, or listening; st is NULL when nothing of the
   * stream had come. */
  void (*on_reset)(struct h3_stream *st);
  void (*on_stopped)(struct h3_stream *st);
  /* The stream is gone: tell the user, free. */
  void (*on_closed)(struct h3_stream *st);
  /* Bytes came of a stream that is not known; NULL: no matter. */
  int (*on_begun)(struct h3 *s, int64_t id);
};
extern const struct h3_side h3_server_side, h3_client_side;

struct h3 {
  const struct h3_side *side;
  const struct h3_ops *ops;
  void *ud;
  struct quic_conn *conn;
  nghttp3_conn *engine; /* NULL before on_ready and after the end */
  char *authority;
  struct h3_streams streams; /* open ones */
  struct h3_streams waiting; /* calls the peer allows no stream for */
  unsigned n_streams, n_waiting;
  uint64_t max_streams; /* server: as nghttp3 was told */
  int64_t control;      /* our control stream */
  uint64_t control_sent;
  uint64_t notice_end; /* where the GOAWAY notice ends in it */
  enum { GOAWAY_NONE, GOAWAY_NOTICE, GOAWAY_FINAL } goaway;
  bool open;    /* client: calls may be made */
  bool broken;  /* nghttp3 failed: it may only be freed */
  bool starved; /* the last reader had nothing to give */
  /* server */
  struct bucket closed; /* streams */
  uint64_t progress_at; /* the client took something, or nothing waited */
  uint64_t told_at;     /* the deadline that the user knows */
};

/* nghttp3 may be called and the user be told things. */
bool h3_is_live(const struct h3 *s);
/* Logs what failed. */
void h3_failed(struct h3 *s, const char *what, int rv);
/* Client: opens streams for waiting calls. */
void h3_calls_open(struct h3 *s);
/* Server: tells the user when the deadline came closer. */
void h3_remind(struct h3 *s);
void h3_calls_fail(struct h3 *s);

#endif
