/* quic_cb.c - what ngtcp2 calls: ids with our handle, and the user's callbacks.
 * A callback that comes after the user closed says nothing any more. */
#include "transport/quic_int.h"

#include <stdio.h>
#include <string.h>

#include <wolfssl/options.h>

#include <wolfssl/ssl.h>

#include "base/log.h"

#define OVER(c) ((c)->state >= CONN_ENDING)

static int result(struct quic_conn *c, int rv) {
  if (rv < 0) quic_close(c, REASON_MALFORMED, "the peer broke the protocol");
  return rv < 0 || OVER(c) ? NGTCP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_handshake_completed(ngtcp2_conn *conn, void *ud) {
  struct quic_conn *c = ud;

  if (OVER(c)) return NGTCP2_ERR_CALLBACK_FAILURE;
  conn_check_peer(c);
  if (c->server) c->ssl_done = true;
  return OVER(c) ? NGTCP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_handshake_confirmed(ngtcp2_conn *conn, void *ud) {
  ((struct quic_conn *)ud)->ssl_done = true;
  return 0;
}

/* After the TLS object is gone nothing may arrive for it: tickets are off. */
static int on_crypto(ngtcp2_conn *conn, ngtcp2_encryption_level level,
                     uint64_t offset, const uint8_t *data, size_t len,
                     void *ud) {
  struct quic_conn *c = ud;

  if (!c->ssl) return NGTCP2_ERR_CRYPTO;
  return ngtcp2_crypto_recv_crypto_data_cb(conn, level, offset, data, len, ud);
}

static void on_rand(uint8_t *dest, size_t len, const ngtcp2_rand_ctx *ctx) {
  rng_fill((const struct rng *)ctx->native_handle, dest, len);
}

static int on_new_cid(ngtcp2_conn *conn, ngtcp2_cid *cid,
                      ngtcp2_stateless_reset_token *token, size_t len,
                      void *ud) {
  struct quic_conn *c = ud;

  if (len != QUIC_CID_LEN) return NGTCP2_ERR_CALLBACK_FAILURE;
  conn_make_cid(c, cid);
  if (ngtcp2_crypto_generate_stateless_reset_token(
          token->data, c->q->cfg.secret, sizeof(c->q->cfg.secret), cid))
    return NGTCP2_ERR_CALLBACK_FAILURE;
  return 0;
}

static int on_challenge_data(ngtcp2_conn *conn, ngtcp2_path_challenge_data *d,
                             void *ud) {
  rng_fill(((struct quic_conn *)ud)->q->cfg.rng, d->data, sizeof(d->data));
  return 0;
}

/* Only a validated address may be followed (PROTOCOL 3): one copied packet
 * moves ngtcp2's current path at once. */
static int on_path_validation(ngtcp2_conn *conn, uint32_t flags,
                              const ngtcp2_path *path,
                              const ngtcp2_path *fallback,
                              ngtcp2_path_validation_result res, void *ud) {
  struct quic_conn *c = ud;
  struct ztna_addr a;

  if (OVER(c) || !c->server) return 0;
  if (res != NGTCP2_PATH_VALIDATION_RESULT_SUCCESS) return 0;
  if (ztna_addr_from_sockaddr(&a, path->remote.addr) < 0) return 0;
  if (ztna_addr_equal(&a, &c->remote)) return 0;
  c->remote = a;
  if (c->ops->on_address) c->ops->on_address(c, c->ud, &a);
  return 0;
}

static int on_reset(ngtcp2_conn *conn, const ngtcp2_pkt_stateless_reset2 *sr,
                    void *ud) {
  struct quic_conn *c = ud;

  c->q->stats.n_resets_in++;
  c->end.remote = true;
  conn_fail(c, REASON_ROUTE_UNKNOWN, false,
            "the other side lost the connection (stateless reset)");
  return 0;
}

static int on_stream_data(ngtcp2_conn *conn, uint32_t flags, int64_t id,
                          uint64_t offset, const uint8_t *data, size_t len,
                          void *ud, void *stream_ud) {
  struct quic_conn *c = ud;

  if (OVER(c)) return 0;
  if (!c->ops->on_stream_data) return result(c, -1);
  return result(c, c->ops->on_stream_data(c, c->ud, id, data, len,
                                          flags & NGTCP2_STREAM_DATA_FLAG_FIN));
}

static int on_stream_acked(ngtcp2_conn *conn, int64_t id, uint64_t offset,
                           uint64_t len, void *ud, void *stream_ud) {
  struct quic_conn *c = ud;

  if (!OVER(c) && c->ops->on_stream_acked)
    c->ops->on_stream_acked(c, c->ud, id, offset, len);
  return result(c, 0);
}

static int on_stream_close(ngtcp2_conn *conn, uint32_t flags, int64_t id,
                           uint64_t app_error, void *ud, void *stream_ud) {
  struct quic_conn *c = ud;

  if (!OVER(c) && c->ops->on_stream_close)
    c->ops->on_stream_close(c, c->ud, id,
                            flags & NGTCP2_STREAM_CLOSE_FLAG_APP_ERROR_CODE_SET,
                            app_error);
  return result(c, 0);
}

static int on_stream_reset(ngtcp2_conn *conn, int64_t id, uint64_t final_size,
                           uint64_t app_error, void *ud, void *stream_ud) {
  struct quic_conn *c = ud;

  if (!OVER(c) && c->ops->on_stream_reset)
    c->ops->on_stream_reset(c, c->ud, id, app_error);
  return result(c, 0);
}

static int on_stop_sending(ngtcp2_conn *conn, int64_t id, uint64_t app_error,
                           void *ud, void *stream_ud) {
  struct quic_conn *c = ud;

  if (!OVER(c) && c->ops->on_stop_sending)
    c->ops->on_stop_sending(c, c->ud, id, app_error);
  return result(c, 0);
}

static int on_stream_room(ngtcp2_conn *conn, int64_t id, uint64_t max, void *ud,
                          void *stream_ud) {
  struct quic_conn *c = ud;

  if (!OVER(c) && c->ops->on_stream_room) c->ops->on_stream_room(c, c->ud, id);
  return result(c, 0);
}

static int on_local_streams(ngtcp2_conn *conn, uint64_t max, void *ud) {
  struct quic_conn *c = ud;

  if (c->state == CONN_READY && c->ops->on_streams_allowed)
    c->ops->on_streams_allowed(c, c->ud, max);
  return result(c, 0);
}

static int on_dgram(ngtcp2_conn *conn, uint32_t flags, const uint8_t *data,
                    size_t len, void *ud) {
  struct quic_conn *c = ud;

  if (c->state == CONN_READY && c->ops->on_dgram)
    c->ops->on_dgram(c, c->ud, data, len);
  return result(c, 0);
}

static int on_dgram_acked(ngtcp2_conn *conn, uint64_t id, void *ud) {
  struct quic_conn *c = ud;

  if (!OVER(c) && c->ops->on_dgram_acked) c->ops->on_dgram_acked(c, c->ud, id);
  return result(c, 0);
}

static int on_dgram_lost(ngtcp2_conn *conn, uint64_t id, void *ud) {
  struct quic_conn *c = ud;

  if (!OVER(c) && c->ops->on_dgram_lost) c->ops->on_dgram_lost(c, c->ud, id);
  return result(c, 0);
}

#define COMMON_CALLBACKS                                                    \
  .recv_crypto_data = on_crypto,                                            \
  .handshake_completed = on_handshake_completed,                            \
  .handshake_confirmed = on_handshake_confirmed,                            \
  .recv_stream_data = on_stream_data,                                       \
  .acked_stream_data_offset = on_stream_acked,                              \
  .stream_close = on_stream_close, .stream_reset = on_stream_reset,         \
  .recv_stop_sending = on_stop_sending,                                     \
  .extend_max_stream_data = on_stream_room,                                 \
  .extend_max_local_streams_bidi = on_local_streams, .rand = on_rand,       \
  .get_new_connection_id2 = on_new_cid,                                     \
  .update_key = ngtcp2_crypto_update_key_cb,                                \
  .get_path_challenge_data2 = on_challenge_data,                            \
  .path_validation = on_path_validation, .recv_stateless_reset2 = on_reset, \
  .recv_datagram = on_dgram, .ack_datagram = on_dgram_acked,                \
  .lost_datagram = on_dgram_lost,                                           \
  .version_negotiation = ngtcp2_crypto_version_negotiation_cb

#define STOCK_KEYS                                                          \
  .encrypt = ngtcp2_crypto_encrypt_cb, .decrypt = ngtcp2_crypto_decrypt_cb, \
  .hp_mask = ngtcp2_crypto_hp_mask_cb,                                      \
  .delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb,        \
  .delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb

#define LEAN_KEYS                                                             \
  .encrypt = quic_lean_encrypt, .decrypt = quic_lean_decrypt,                 \
  .hp_mask = quic_lean_mask, .delete_crypto_aead_ctx = quic_lean_delete_aead, \
  .delete_crypto_cipher_ctx = quic_lean_delete_cipher

static int on_retry(ngtcp2_conn *conn, const ngtcp2_pkt_hd *hd, void *ud) {
  struct quic_conn *c = ud;

  c->retried = true;
  return ngtcp2_crypto_recv_retry_cb(conn, hd, ud);
}

#define SERVER .recv_client_initial = ngtcp2_crypto_recv_client_initial_cb
#define CLIENT \
  .client_initial = ngtcp2_crypto_client_initial_cb, .recv_retry = on_retry

const ngtcp2_callbacks *conn_callbacks(bool server, bool lean) {
  static const ngtcp2_callbacks table[2][2] = {
      {{CLIENT, STOCK_KEYS, COMMON_CALLBACKS},
       {CLIENT, LEAN_KEYS, COMMON_CALLBACKS}},
      {{SERVER, STOCK_KEYS, COMMON_CALLBACKS},
       {SERVER, LEAN_KEYS, COMMON_CALLBACKS}},
  };

  return &table[server][lean];
}
