/* quic.h - QUIC v1 (RFC 9000, DATAGRAM: RFC 9221) without I/O: one endpoint
 * dials and accepts many connections on one UDP socket per family. The home of
 * ngtcp2.
 *
 * Every connection ID this endpoint issues is 12 bytes: an 8-byte handle, which
 * is how a received packet finds its owner, and 4 bytes that tell the
 * connections of a handle and their ids apart. Who uses this header owns
 * handles; the endpoint only keeps the table from handle to connections.
 *
 * Life: a struct quic_slot (one per handle) is made by quic_listen (accepts) or
 * quic_dial; connections live in it and die before it. Callbacks come out of
 * quic_udp_in, quic_tick and quic_next only, never out of quic_close or
 * quic_dial. A callback may close any connection and delete any slot. */
#ifndef ZTNA_QUIC_H
#define ZTNA_QUIC_H

#include "base/dgram.h"
#include "base/reason.h"
#include "base/rng.h"
#include "codec/handle.h"
#include "transport/identity.h"
#include "transport/tls.h"

enum {
  QUIC_CID_LEN = 12,        /* of every id we issue */
  QUIC_DGRAM_OVERHEAD = 36, /* short header 1 + CID 12 + packet number 4 +
                               DATAGRAM type and length 3 + tag 16 */
};

struct quic;      /* an endpoint */
struct quic_conn; /* a connection */

struct quic_vec { /* laid out as struct iovec, ngtcp2_vec and nghttp3_vec */
  uint8_t *base;
  size_t len;
};

/* Why a connection ended. */
struct quic_end {
  enum reason reason;
  bool remote;        /* the peer said it */
  bool authenticated; /* after a completed handshake */
  uint64_t code;      /* QUIC error code as on the wire */
  char text[128];     /* the detail, printable */
};

/* The size of a packet. Where both have something to send, streams and
 * DATAGRAMs are asked first by turns; in a small or full packet DATAGRAMs are.
 */
enum quic_size {
  QUIC_ANY,   /* whatever fits, within quic_limit_size */
  QUIC_SMALL, /* 1200 bytes at most, which every path carries */
  QUIC_FULL,  /* as large as the path is believed to be, whatever the limit; new
                 stream data stays out of it */
};

/* What a connection's user does. Unset members may be NULL. Every function gets
 * the user pointer of the connection. Those that return int: 0, or a negative
 * value to close the connection with REASON_MALFORMED (or whatever quic_close
 * was called with before). */
struct quic_ops {
  const char *alpn;
  /* Chain verified, ALPN right, peer's identity readable, session not resumed.
   * The user compares the identity with what it expects and returns 0 or a
   * positive enum reason, with which the connection is refused. Streams may be
   * opened from here on. */
  int (*on_ready)(struct quic_conn *c, void *ud, const struct identity *peer);
  /* The connection is gone after this; ud is not used any more. */
  void (*on_end)(struct quic_conn *c, void *ud, const struct quic_end *why);
  /* The peer's address was validated anew (RFC 9000, 9.3): only now may
   * anything but this connection's own packets follow it. */
  void (*on_address)(struct quic_conn *c, void *ud,
                     const struct ztna_addr *remote);

  /* Streams in. Credit is given by the user: quic_credit. */
  int (*on_stream_data)(struct quic_conn *c, void *ud, int64_t id,
                        const uint8_t *data, size_t len, bool fin);
  void (*on_stream_acked)(struct quic_conn *c, void *ud, int64_t id,
                          uint64_t offset, uint64_t len);
  /* app_error is 0 when there was none. */
  void (*on_stream_close)(struct quic_conn *c, void *ud, int64_t id,
                          bool has_error, uint64_t app_error);
  void (*on_stream_reset)(struct quic_conn *c, void *ud, int64_t id,
                          uint64_t app_error);
  void (*on_stop_sending)(struct quic_conn *c, void *ud, int64_t id,
                          uint64_t app_error);
  void (*on_stream_room)(struct quic_conn *c, void *ud, int64_t id);
  void (*on_streams_allowed)(struct quic_conn *c, void *ud, uint64_t max_bidi);

  /* Streams out, pulled when the connection may send: fills at most n vectors
   * of one stream and says which (*id = -1: nothing to send) and whether they
   * end it. Returns the number of vectors or a negative value. */
  int (*stream_out)(struct quic_conn *c, void *ud, int64_t *id, bool *fin,
                    struct quic_vec *v, size_t n);
  /* So many of the bytes just given were taken (0 with fin counts too). They
   * must stay where they are until on_stream_acked. */
  void (*stream_sent)(struct quic_conn *c, void *ud, int64_t id, size_t n);
  /* That stream cannot send now: do not offer it until on_stream_room. */
  void (*stream_blocked)(struct quic_conn *c, void *ud, int64_t id);
  /* That stream takes no more, ever. */
  void (*stream_shut)(struct quic_conn *c, void *ud, int64_t id);

  /* DATAGRAMs in and out. dgram_out: the next payload in at most 2 vectors,
   * not longer than max (a longer one is the user's to split or drop); 0: none
   * now. *id is given back by on_dgram_acked or on_dgram_lost. The bytes are
   * only lent until dgram_sent or the next dgram_out. */
  void (*on_dgram)(struct quic_conn *c, void *ud, const uint8_t *data,
                   size_t len);
  int (*dgram_out)(struct quic_conn *c, void *ud, size_t max,
                   struct quic_vec v[2], uint64_t *id);
  void (*dgram_sent)(struct quic_conn *c, void *ud);
  void (*on_dgram_acked)(struct quic_conn *c, void *ud, uint64_t id);
  void (*on_dgram_lost)(struct quic_conn *c, void *ud, uint64_t id);

  /* Asked before each packet: must it be of a certain size? */
  enum quic_size (*packet_size)(struct quic_conn *c, void *ud);
};

struct quic_params {          /* per connection */
  uint64_t idle_timeout;      /* ns */
  uint64_t keep_alive;        /* ns; 0: none */
  uint64_t handshake_timeout; /* ns */
  uint64_t initial_rtt;       /* ns; 0: ngtcp2's default */
  uint64_t streams_bidi;      /* that the peer may open */
  uint64_t stream_window;     /* bytes per stream */
  uint64_t conn_window;       /* bytes per connection */
  /* They double, up to these, when one is used up within 2 RTT; 0: never. */
  uint64_t max_stream_window, max_conn_window;
  bool dgrams; /* DATAGRAM frames are welcome */
  bool pmtud;  /* look for bigger packets */
  bool lean;   /* small keys, no allocation per packet */
};

/* What an endpoint decides about the first Initial of an unknown connection. */
struct quic_initial {
  struct ztna_addr remote, local;
  const uint8_t *dcid;
  size_t dcid_len;
  bool validated; /* by a Retry token */
};

struct quic_config {
  struct tls *tls;       /* lent; may be changed by quic_set_tls */
  const struct rng *rng; /* lent */
  uint8_t secret[32];    /* stateless reset and Retry keys derive from it */
  enum quic_retry {
    QUIC_RETRY_AUTO,
    QUIC_RETRY_ALWAYS,
    QUIC_RETRY_NEVER
  } retry;
  /* Accept connections of clients that chose a DCID of their own (a relay's
   * control connections): their handle is minted here. NULL: none. */
  const struct quic_ops *accept_ops;
  struct quic_params accept_params;
  /* User data of a new connection made that way; NULL refuses. */
  void *(*on_accept)(void *ud, struct quic_conn *c,
                     const struct quic_initial *in);
  /* Answer short headers with unknown handles by stateless resets. */
  bool resets;
  bool cubic; /* congestion control: CUBIC instead of BBR */
  void *ud;
};

struct quic_stats {
  uint64_t n_in, n_out;  /* QUIC packets */
  uint64_t n_trains_out; /* dgrams given to the skin */
  uint64_t n_handshakes, n_refused, n_retries, n_resets_out, n_resets_in;
  uint64_t n_half_open, n_conns; /* gauges */
  uint64_t n_discarded; /* of n_in: damaged, replayed, or of no use to their
                           connection */
  uint64_t drops[REASON_N];
};

struct quic *quic_new(const struct quic_config *cfg);
/* Every connection ends (on_end, nothing is sent). Slots are gone, too. */
void quic_free(struct quic *q);
/* New handshakes use t from now on; the former one may be freed. Connections
 * that are there go on as they are, but those whose peer t would not let in
 * (tls_check_chain) end with that reason. */
void quic_set_tls(struct quic *q, struct tls *t);
/* Retry tokens are made by the first of these keys and taken when any of them
 * made them; n at most QUIC_RETRY_KEYS, copied. n 0, as at first: a key derived
 * from the secret. Relays behind one name share them, so that a token of one is
 * good at the other; several, so that they can be exchanged one by one. */
enum { QUIC_RETRY_KEYS = 4, QUIC_RETRY_KEY_LEN = 32 };
void quic_set_retry_keys(struct quic *q,
                         const uint8_t (*keys)[QUIC_RETRY_KEY_LEN], size_t n);
/* Adds up over all connections: not for every packet. */
const struct quic_stats *quic_stats(struct quic *q);
/* The time of the verb that runs or ran last. */
uint64_t quic_now(const struct quic *q);
/* Allocations made by ngtcp2 and the endpoint so far, for the test that shows
 * that a busy connection makes none. */
uint64_t quic_allocations(void);

/* --- slots --- */

struct quic_slot;

/* Accept path connections on this handle: ALPN and behaviour by ops, the
 * peer's connection IDs must begin with peer_handle (PROTOCOL 2), else it is
 * closed as malformed before a packet is sent to it. Accepts for accept_for ns
 * after the call unless one is live. ops->on_ready decides about the identity;
 * ud is the user data of each connection. NULL: no memory or handle in use. */
struct quic_slot *quic_listen(struct quic *q, const uint8_t handle[HANDLE_LEN],
                              const uint8_t peer_handle[HANDLE_LEN],
                              const struct quic_ops *ops, void *ud,
                              const struct quic_params *p, uint64_t now,
                              uint64_t accept_for);
/* Only what comes from this address is the slot's; the rest is dropped as
 * wrong-source. A copied packet from elsewhere would lead ngtcp2's answers
 * there before it is validated. Family 0, as at first: any address. */
void quic_slot_from(struct quic_slot *s, const struct ztna_addr *remote);
/* Accept connections until then. */
void quic_slot_accept(struct quic_slot *s, uint64_t until);
/* Ends its connections silently (after quic_close: with the close frame) and
 * forgets the handle; no callback of them any more. */
void quic_unlisten(struct quic *q, struct quic_slot *s);

struct quic_dial {
  struct ztna_addr remote;
  uint16_t sock;              /* leaves by it (dgram.h); 0: the main one */
  const char *server_name;    /* SNI, may be NULL */
  const uint8_t *handle;      /* own; NULL: a random one */
  const uint8_t *peer_handle; /* NULL: control, DCID of 16 random bytes */
  const struct quic_ops *ops;
  void *ud;
  struct quic_params params;
};
/* Dialling again on a handle is fine: the new connection replaces the former
 * when it is ready. NULL: no memory, or somebody listens on the handle. */
struct quic_conn *quic_dial(struct quic *q, const struct quic_dial *d,
                            uint64_t now);

/* --- connections --- */

/* Sends a close frame that carries the reason (application error code
 * QUIC_REASON_CODE + reason) and ends; on_end follows from the next tick or
 * next, with remote == false. */
void quic_close(struct quic_conn *c, enum reason why, const char *text);
/* No callback of this connection any more; it is closed if it is not yet. */
void quic_forget(struct quic_conn *c);
enum { QUIC_REASON_CODE = 0x7a746e00 };

/* Mark that dgram_out or stream_out has something. Cheap. */
void quic_wake(struct quic_conn *c);
/* 0 with the new stream's id, or ZTNA_EAGAIN when the peer allows none now. */
int quic_stream_open(struct quic_conn *c, bool bidi, int64_t *id);
/* The user has taken n bytes of a stream: the peer may send as many more. */
void quic_credit(struct quic_conn *c, int64_t id, size_t n);
/* The same for the stream alone, and for the connection alone: whoever bounds
 * what it keeps in another way need not let one reader stop all. */
void quic_credit_stream(struct quic_conn *c, int64_t id, size_t n);
void quic_credit_conn(struct quic_conn *c, size_t n);
/* A stream's user pointer, NULL at first; NULL for a stream that is gone. */
void quic_stream_set_ud(struct quic_conn *c, int64_t id, void *ud);
void *quic_stream_ud(const struct quic_conn *c, int64_t id);
/* On a server: the peer may open n more bidirectional streams. */
void quic_stream_more(struct quic_conn *c, size_t n);
void quic_stream_reset(struct quic_conn *c, int64_t id, uint64_t app_error);
void quic_stream_stop(struct quic_conn *c, int64_t id, uint64_t app_error);
uint64_t quic_max_data_left(const struct quic_conn *c);
/* A PING, now. */
void quic_ping(struct quic_conn *c, uint64_t now);
/* The way may be open again: forgets how often the probe timer (RFC 9002, 6.2)
 * has doubled. When it would have run out without that, two packets may leave
 * now, even though the congestion window is full of what was lost. Safe to call
 * at any time and often. */
void quic_probe(struct quic_conn *c, uint64_t now);

/* The largest DATAGRAM payload that passes now; 0 before the handshake. */
size_t quic_dgram_max(const struct quic_conn *c);
/* Lower the size of all packets (shrink detection, PROTOCOL 5 "Size"); 0 lifts
 * the limit. */
void quic_limit_size(struct quic_conn *c, size_t udp_payload);

/* The time of the verb that runs or ran last on its endpoint. */
uint64_t quic_time(const struct quic_conn *c);
bool quic_is_ready(const struct quic_conn *c);
bool quic_is_server(const struct quic_conn *c);
const struct identity *quic_peer(const struct quic_conn *c); /* after ready */
struct ztna_addr quic_remote(const struct quic_conn *c); /* last validated */
struct ztna_addr quic_local(const struct quic_conn *c);
uint16_t quic_sock(const struct quic_conn *c); /* dgram.h; a server's: where the
                                                  first packet came in */
/* When the first of both ends' certificates runs out; after ready. */
uint64_t quic_expires_at(const struct quic_conn *c);
/* What it proved itself by: certificates, DER, one after another, the leaf
 * first. For tls_check_chain after the connection is gone. */
const uint8_t *quic_chain(const struct quic_conn *c, size_t *len);
/* Its handshake showed another own certificate than the present one. */
bool quic_is_outdated(const struct quic_conn *c);
const uint8_t *quic_handle(const struct quic_conn *c); /* own, 8 bytes */
const char *quic_group(const struct quic_conn *c);     /* "X25519MLKEM768" */
const char *quic_cipher(const struct quic_conn *c);

struct quic_info {
  uint64_t srtt, min_rtt, latest_rtt; /* ns */
  uint64_t cwnd, in_flight;
  uint64_t n_sent, n_lost, n_recv; /* packets */
  uint64_t bytes_sent, bytes_recv;
  size_t udp_payload; /* current largest */
  uint32_t version;
  bool retried; /* a client's: the server asked for Retry */
};
void quic_info(const struct quic_conn *c, struct quic_info *i);

/* --- verbs --- */

/* One packet (one segment). True when it was QUIC's, also when dropped. */
void quic_udp_in(struct quic *q, uint64_t now, const struct ztna_addr *remote,
                 const struct ztna_addr *local, uint8_t ecn,
                 const uint8_t *data, size_t len);
/* The same for every segment of a train. */
void quic_dgram_in(struct quic *q, uint64_t now, const struct dgram *d);
void quic_tick(struct quic *q, uint64_t now);
/* Fills at most max trains; lent until the endpoint is called again. */
int quic_next(struct quic *q, uint64_t now, struct dgram *v, int max);
uint64_t quic_deadline(const struct quic *q);

#endif
