/* quic_int.h - what the files quic*.c share. Nobody else includes it. */
#ifndef ZTNA_QUIC_INT_H
#define ZTNA_QUIC_INT_H

#include <netinet/in.h>
#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>

#include "base/bucket.h"
#include "base/heap.h"
#include "base/map.h"
#include "base/time.h"
#include "transport/quic.h"

enum {
  CLIENT_DCID_LEN = 16, /* of a first Initial */
  HALF_OPEN_MAX = 256,  /* 97 KB each at the handshake's peak */
  HALF_OPEN_RETRY = 32, /* from here on Retry is asked for */
  HALF_KEY_LEN = 40,    /* family, port, address, DCID */
  ARENA = 256 * 1024,   /* packets of one quic_next */
  STRAY_MAX = 64,       /* Retry and reset packets waiting */
  STRAY_LEN = 256,
  STRAY_DRAIN = 16, /* of them in one quic_next */
  CLOSE_LEN = 1200,
  SMALL = 1200, /* UDP payload that every path carries (RFC 9000, 14) */
  PREFIX_BUCKETS = 1024, /* handshake rate per source prefix */
};

/* Where a connection is in its life. */
enum conn_state {
  CONN_HANDSHAKE,
  CONN_READY,
  CONN_ENDING, /* quic_close or a failure; on_end is still to come */
  CONN_TOMB,   /* ngtcp2 is gone; answers strays with the close frame */
};

struct quic_slot {
  uint8_t handle[HANDLE_LEN];
  uint8_t peer_handle[HANDLE_LEN];
  bool has_peer_handle;
  struct ztna_addr from; /* only this one is heard; family 0: any */
  bool listening;
  bool dead; /* unlistened; goes with its last connection */
  uint64_t accept_until;
  const struct quic_ops *ops;
  void *ud;
  struct quic_params params;
  struct quic_conn *conns; /* few: one live, one half-open, tombs */
};

struct quic_conn {
  struct quic *q;
  struct quic_slot *slot;
  struct quic_conn *slot_next;
  struct quic_conn *wake_prev, *wake_next;
  bool waking;
  struct heap_node timer;

  ngtcp2_conn *conn;
  ngtcp2_crypto_conn_ref ref;
  struct WOLFSSL *ssl; /* NULL once the handshake is confirmed */
  const struct quic_ops *ops;
  void *ud;
  enum conn_state state;
  bool server;
  bool lean;     /* small key contexts (quic_keys.c) */
  bool control;  /* not on a handle that somebody gave */
  bool in_half;  /* its key stands in the half-open table */
  bool ssl_done; /* confirmed: ssl may be freed */
  bool ping;
  bool dgram_turn; /* DATAGRAMs are asked before streams for the next packet */
  bool was_ready;
  bool retried;   /* a client's: the server asked for it */
  bool say_close; /* send a close frame when ending */
  uint8_t tag[2]; /* tells this handle's connections apart */
  uint16_t cid_seq;
  uint8_t odcid[20]; /* the client's first DCID */
  size_t odcid_len;
  uint8_t half_key[HALF_KEY_LEN];
  uint64_t began_at;
  uint64_t keep_alive;
  struct ztna_addr remote; /* validated */
  struct ztna_addr local;
  uint16_t sock;
  size_t limit; /* UDP payload; 0 none */
  uint64_t heard_at;
  struct bucket fed; /* packets of a client that chose to come */
  struct identity peer;
  uint8_t *chain; /* the peer's certificates, as tls_check_chain takes them */
  size_t chain_len;
  uint8_t own[32];      /* SHA-256 of the certificate that it was shown */
  int64_t own_until;    /* seconds since 1970 */
  uint32_t n_exchanged; /* of the endpoint when its handshake began */
  uint64_t expires_at;  /* either, by the clock as it is now */
  char group[24], cipher[40];
  struct quic_end end;
  ngtcp2_ccerr ccerr;
  uint8_t *close_pkt; /* a tomb's answer */
  size_t close_len;
  uint32_t n_strays;
};

struct stray { /* a packet that belongs to no connection */
  struct ztna_addr remote, local;
  uint16_t len;
  uint8_t data[STRAY_LEN];
};

struct prefix { /* of source addresses */
  struct bucket handshakes, resets, wide;
};

struct quic {
  struct quic_config cfg;
  struct quic_stats stats;
  uint32_t n_exchanged; /* how often quic_set_tls was called */
  uint8_t trust_id[32]; /* of the CAs by which who is ready was let in */
  uint64_t n_discarded; /* by connections that are gone */
  struct map handles;   /* handle -> slot */
  struct map half;      /* source + DCID -> connection */
  struct heap timers;
  struct quic_conn *wake_head, *wake_tail;
  struct quic_conn *pings;
  size_t n_conns; /* of all states */
  uint64_t hash_key[2];
  uint64_t now;     /* of the running verb */
  uint16_t in_sock; /* where the packet being read came in */
  uint8_t retry_keys[QUIC_RETRY_KEYS][QUIC_RETRY_KEY_LEN]; /* first: makes */
  size_t n_retry_keys;
  struct bucket resets, retries, handshakes;
  struct prefix *prefixes;
  uint64_t expiry_at; /* certificates are looked at again; NEVER */
  struct stray *strays;
  size_t stray_head, n_strays;
  uint8_t *arena;
};

/* quic.c */
void quic_wake_conn(struct quic_conn *c);
void quic_unwake(struct quic_conn *c);
void quic_drop(struct quic *q, enum reason why);
struct quic_slot *slot_new(struct quic *q, const uint8_t *handle);
void slot_gc(struct quic *q, struct quic_slot *s);

/* quic_accept.c */
void half_key(uint8_t key[HALF_KEY_LEN], const struct ztna_addr *remote,
              const uint8_t *dcid, size_t len);
void accept_initial(struct quic *q, struct quic_slot *slot,
                    const struct ztna_addr *remote,
                    const struct ztna_addr *local, uint8_t ecn,
                    const uint8_t *data, size_t len);
void answer_reset(struct quic *q, const struct ztna_addr *remote,
                  const struct ztna_addr *local, const uint8_t *data,
                  size_t len);
void stray_push(struct quic *q, const struct ztna_addr *remote,
                const struct ztna_addr *local, const uint8_t *data, size_t len);

/* quic_limit.c */
bool limit_reset(struct quic *q, const struct ztna_addr *remote);
bool limit_retry(struct quic *q);
/* Does a handshake with this address fit into what its prefix and all together
 * may begin? */
bool limit_handshake(struct quic *q, const struct ztna_addr *remote);
/* Makes a place in the table of half-open connections; false: all are young. */
bool limit_half_open(struct quic *q);
/* Are this connection's packets counted? Then: the one about to be read is one
 * too many; one was read. */
bool limit_applies(const struct quic_conn *c);
bool limit_is_overfed(struct quic_conn *c);
void limit_feed(struct quic_conn *c);

/* quic_conn.c */
struct quic_conn *conn_make(struct quic *q, struct quic_slot *slot, bool server,
                            const struct ztna_addr *remote,
                            const struct ztna_addr *local);
int conn_make_client(struct quic_conn *c, const struct quic_dial *d);
struct first_initial {
  const ngtcp2_pkt_hd *hd;
  const ngtcp2_cid *odcid; /* before a Retry */
  bool retried;
};
int conn_make_server(struct quic_conn *c, const struct quic_params *p,
                     const struct first_initial *in);
void conn_free(struct quic_conn *c);
uint64_t conn_discarded(const struct quic_conn *c);
void conn_abandon(struct quic_conn *c);
void conn_fail(struct quic_conn *c, enum reason why, bool say,
               const char *text);
void conn_finish(struct quic_conn *c);
void conn_leave_half(struct quic_conn *c);
void conn_settle(struct quic_conn *c);
/* paced: data waits for the very moment. */
void conn_rearm(struct quic_conn *c, bool paced);
void conn_make_cid(struct quic_conn *c, ngtcp2_cid *cid);
const ngtcp2_mem *quic_mem(void);
ngtcp2_path *path_of(ngtcp2_path_storage *ps, const struct ztna_addr *remote);

/* quic_keys.c */
void quic_keys_lean(bool on);
int quic_lean_encrypt(uint8_t *dest, const ngtcp2_crypto_aead *aead,
                      const ngtcp2_crypto_aead_ctx *ctx, const uint8_t *plain,
                      size_t len, const uint8_t *nonce, size_t nonce_len,
                      const uint8_t *aad, size_t aad_len);
int quic_lean_decrypt(uint8_t *dest, const ngtcp2_crypto_aead *aead,
                      const ngtcp2_crypto_aead_ctx *ctx, const uint8_t *sealed,
                      size_t len, const uint8_t *nonce, size_t nonce_len,
                      const uint8_t *aad, size_t aad_len);
int quic_lean_mask(uint8_t *dest, const ngtcp2_crypto_cipher *hp,
                   const ngtcp2_crypto_cipher_ctx *ctx, const uint8_t *sample);
void quic_lean_delete_aead(ngtcp2_conn *conn, ngtcp2_crypto_aead_ctx *ctx,
                           void *ud);
void quic_lean_delete_cipher(ngtcp2_conn *conn, ngtcp2_crypto_cipher_ctx *ctx,
                             void *ud);

/* quic_expiry.c */
void expiry_begin(struct quic_conn *c);
void expiry_tick(struct quic *q);

/* quic_cb.c */
const ngtcp2_callbacks *conn_callbacks(bool server, bool lean);

/* quic_peer.c */
/* Notes what its handshake shows of this end. */
void conn_present(struct quic_conn *c);
void conn_check_peer(struct quic_conn *c);

/* quic_io.c */
void conn_read(struct quic_conn *c, const struct ztna_addr *remote,
               const struct ztna_addr *local, uint8_t ecn, const uint8_t *data,
               size_t len);
int conn_write(struct quic_conn *c, struct dgram *v, int max, size_t *used,
               bool *more);
int conn_write_close(struct quic_conn *c, struct dgram *v, size_t *used);
void conn_expire(struct quic_conn *c);

#endif
