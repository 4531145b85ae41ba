/* quic_conn.c - a connection's life: made, asked about, closed, forgotten. */
#include "transport/quic_int.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <wolfssl/options.h>

#include <wolfssl/ssl.h>

#include <ztna/err.h>

#include "base/log.h"

/* --- memory, counted --- */

static uint64_t n_allocations;

static void *mem_malloc(size_t n, void *ud) {
  n_allocations++;
  return malloc(n);
}
static void mem_free(void *p, void *ud) { free(p); }
static void *mem_calloc(size_t n, size_t size, void *ud) {
  n_allocations++;
  return calloc(n, size);
}
static void *mem_realloc(void *p, size_t n, void *ud) {
  n_allocations++;
  return realloc(p, n);
}

const ngtcp2_mem *quic_mem(void) {
  static const ngtcp2_mem mem = {NULL, mem_malloc, mem_free, mem_calloc,
                                 mem_realloc};
  return &mem;
}

uint64_t quic_allocations(void) { return n_allocations; }

/* --- making --- */

/* ngtcp2 is given one constant local address per family: a change of ours is a
 * rebinding that the other side sees, never a migration (PROTOCOL 1). */
ngtcp2_path *path_of(ngtcp2_path_storage *ps, const struct ztna_addr *remote) {
  struct ztna_addr any = {.family = remote->family, .port = 1};
  struct sockaddr_storage l, r;
  size_t l_len = ztna_addr_to_sockaddr(&any, &l);
  size_t r_len = ztna_addr_to_sockaddr(remote, &r);

  ngtcp2_path_storage_init(ps, (struct sockaddr *)&l, (ngtcp2_socklen)l_len,
                           (struct sockaddr *)&r, (ngtcp2_socklen)r_len, NULL);
  return &ps->path;
}

static ngtcp2_conn *conn_of_ref(ngtcp2_crypto_conn_ref *ref) {
  return ((struct quic_conn *)ref->user_data)->conn;
}

struct quic_conn *conn_make(struct quic *q, struct quic_slot *slot, bool server,
                            const struct ztna_addr *remote,
                            const struct ztna_addr *local) {
  struct quic_conn *c;

  if (heap_reserve(&q->timers, q->n_conns + 1) < 0) return NULL;
  c = calloc(1, sizeof(*c));
  if (!c) return NULL;
  n_allocations++;
  c->q = q;
  c->slot = slot;
  c->server = server;
  c->remote = *remote;
  c->local = *local;
  c->began_at = q->now;
  c->ref.get_conn = conn_of_ref;
  c->ref.user_data = c;
  rng_fill(q->cfg.rng, c->tag, sizeof(c->tag));
  for (struct quic_conn *o = slot->conns; o; o = o->slot_next)
    if (!memcmp(o->tag, c->tag, sizeof(c->tag))) c->tag[0]++, o = slot->conns;
  c->slot_next = slot->conns;
  slot->conns = c;
  q->n_conns++;
  q->stats.n_conns = q->n_conns;
  return c;
}

void conn_make_cid(struct quic_conn *c, ngtcp2_cid *cid) {
  uint8_t raw[QUIC_CID_LEN];

  memcpy(raw, c->slot->handle, HANDLE_LEN);
  memcpy(raw + HANDLE_LEN, c->tag, 2);
  raw[10] = (uint8_t)(c->cid_seq >> 8);
  raw[11] = (uint8_t)c->cid_seq;
  c->cid_seq++;
  ngtcp2_cid_init(cid, raw, sizeof(raw));
}

/* 1318 first: it carries a tunnel MTU of 1280, so that one round trip is enough
 * where 2 s went by otherwise (PROTOCOL 5, "Size"). */
static const uint16_t probes[] = {1318, 1452, 1406, 1372, 1342, 1280, 1232};

static void fill_settings(struct quic_conn *c, const struct quic_params *p,
                          ngtcp2_settings *s) {
  ngtcp2_settings_default(s);
  s->cc_algo = c->q->cfg.cubic ? NGTCP2_CC_ALGO_CUBIC : NGTCP2_CC_ALGO_BBR;
  s->initial_ts = c->q->now;
  if (p->initial_rtt) s->initial_rtt = p->initial_rtt;
  s->handshake_timeout = p->handshake_timeout;
  s->ack_thresh = 4; /* BBR's smallest window: it must not wait for a timer.
                         Batches make it far fewer than 250 in 1000 */
  s->no_pmtud = !p->pmtud;
  s->max_tx_udp_payload_size = p->pmtud ? 1452 : NGTCP2_MAX_UDP_PAYLOAD_SIZE;
  s->pmtud_probes = probes;
  s->pmtud_probeslen = sizeof(probes) / sizeof(*probes);
  s->rand_ctx.native_handle = (void *)c->q->cfg.rng;
  s->initial_pkt_num = 0;
  s->max_stream_window = p->max_stream_window;
  s->max_window = p->max_conn_window;
}

static void fill_params(struct quic_conn *c, const struct quic_params *p,
                        ngtcp2_transport_params *t) {
  ngtcp2_transport_params_default(t);
  t->initial_max_streams_bidi = p->streams_bidi;
  t->initial_max_streams_uni = 3; /* HTTP/3's control and QPACK streams */
  t->initial_max_stream_data_bidi_local = p->stream_window;
  t->initial_max_stream_data_bidi_remote = p->stream_window;
  t->initial_max_stream_data_uni = p->stream_window;
  t->initial_max_data = p->conn_window;
  t->max_idle_timeout = p->idle_timeout;
  t->max_datagram_frame_size = p->dgrams ? 65535 : 0;
  t->active_connection_id_limit = 2;
  t->max_ack_delay =
      p->initial_rtt && p->initial_rtt < 5 * MS ? 5 * MS : 25 * MS;
}

static int attach_tls(struct quic_conn *c, const char *server_name) {
  c->ssl = tls_session(c->q->cfg.tls, c->server, c->ops->alpn, server_name);
  if (!c->ssl) return ZTNA_ETLS;
  conn_present(c);
  wolfSSL_set_app_data((WOLFSSL *)c->ssl, &c->ref);
  ngtcp2_conn_set_tls_native_handle(c->conn, c->ssl);
  return 0;
}

int conn_make_client(struct quic_conn *c, const struct quic_dial *d) {
  ngtcp2_transport_params params;
  ngtcp2_path_storage ps;
  ngtcp2_settings settings;
  uint8_t raw[CLIENT_DCID_LEN];
  ngtcp2_cid dcid, scid;

  rng_fill(c->q->cfg.rng, raw, sizeof(raw));
  if (d->peer_handle) memcpy(raw, d->peer_handle, HANDLE_LEN);
  ngtcp2_cid_init(&dcid, raw, sizeof(raw));
  conn_make_cid(c, &scid);
  c->keep_alive = d->params.keep_alive;
  c->lean = d->params.lean;
  fill_settings(c, &d->params, &settings);
  fill_params(c, &d->params, &params);
  if (ngtcp2_conn_client_new(
          &c->conn, &dcid, &scid, path_of(&ps, &d->remote), NGTCP2_PROTO_VER_V1,
          conn_callbacks(false, c->lean), &settings, &params, quic_mem(), c))
    return ZTNA_ENOMEM;
  return attach_tls(c, d->server_name);
}

int conn_make_server(struct quic_conn *c, const struct quic_params *p,
                     const struct first_initial *in) {
  ngtcp2_transport_params params;
  ngtcp2_path_storage ps;
  ngtcp2_settings settings;
  ngtcp2_cid scid;

  conn_make_cid(c, &scid);
  c->keep_alive = p->keep_alive;
  c->lean = p->lean;
  c->odcid_len = in->hd->dcid.datalen;
  memcpy(c->odcid, in->hd->dcid.data, c->odcid_len);
  fill_settings(c, p, &settings);
  fill_params(c, p, &params);
  params.original_dcid_present = 1;
  params.original_dcid = in->retried ? *in->odcid : in->hd->dcid;
  if (in->retried) {
    params.retry_scid_present = 1;
    params.retry_scid = in->hd->dcid;
    settings.token = in->hd->token;
    settings.tokenlen = in->hd->tokenlen;
    settings.token_type = NGTCP2_TOKEN_TYPE_RETRY;
  }
  params.stateless_reset_token_present = 1;
  if (ngtcp2_crypto_generate_stateless_reset_token(
          params.stateless_reset_token, c->q->cfg.secret,
          sizeof(c->q->cfg.secret), &scid))
    return ZTNA_ETLS;
  if (ngtcp2_conn_server_new(&c->conn, &in->hd->scid, &scid,
                             path_of(&ps, &c->remote), NGTCP2_PROTO_VER_V1,
                             conn_callbacks(true, c->lean), &settings, &params,
                             quic_mem(), c))
    return ZTNA_ENOMEM;
  return attach_tls(c, NULL);
}

/* --- ending --- */

void conn_leave_half(struct quic_conn *c) {
  if (!c->in_half) return;
  map_del(&c->q->half, c->half_key);
  c->in_half = false;
  c->q->stats.n_half_open = c->q->half.n;
}

static void free_tls(struct quic_conn *c) {
  if (!c->ssl) return;
  if (c->conn) ngtcp2_conn_set_tls_native_handle(c->conn, NULL);
  wolfSSL_set_app_data((WOLFSSL *)c->ssl, NULL);
  tls_session_free(c->ssl);
  c->ssl = NULL;
}

uint64_t conn_discarded(const struct quic_conn *c) {
  ngtcp2_conn_info i;

  if (!c->conn) return 0;
  ngtcp2_conn_get_conn_info2(c->conn, &i);
  return i.pkt_discarded;
}

static void free_engine(struct quic_conn *c) {
  c->q->n_discarded += conn_discarded(c);
  free_tls(c);
  if (c->conn) ngtcp2_conn_del(c->conn); /* its callbacks know its keys */
  c->conn = NULL;
  identity_done(&c->peer);
  free(c->chain);
  c->chain = NULL;
}

void conn_free(struct quic_conn *c) {
  struct quic_slot *s = c->slot;
  struct quic *q = c->q;
  struct quic_conn **p;

  quic_unwake(c);
  heap_del(&q->timers, &c->timer);
  conn_leave_half(c);
  free_engine(c);
  free(c->close_pkt);
  for (p = &s->conns; *p != c; p = &(*p)->slot_next)
    ;
  *p = c->slot_next;
  free(c);
  q->n_conns--;
  q->stats.n_conns = q->n_conns;
  if (s->dead) slot_gc(q, s);
}

/* From here on the user hears nothing but on_end. say: tell the peer. */
void conn_fail(struct quic_conn *c, enum reason why, bool say,
               const char *text) {
  if (c->state >= CONN_ENDING) return;
  c->was_ready = c->state == CONN_READY;
  c->state = CONN_ENDING;
  c->say_close = say;
  if (c->end.reason == REASON_NONE) c->end.reason = why;
  if (text && !c->end.text[0])
    snprintf(c->end.text, sizeof(c->end.text), "%s", text);
  c->end.authenticated = c->was_ready;
  quic_wake_conn(c);
}

void quic_close(struct quic_conn *c, enum reason why, const char *text) {
  const char *words = text ? text : reason_name(why);

  if (c->state >= CONN_ENDING) return;
  conn_fail(c, why, true, words);
  ngtcp2_ccerr_set_application_error(&c->ccerr, QUIC_REASON_CODE + why,
                                     (const uint8_t *)c->end.text,
                                     strlen(c->end.text));
  c->end.code = QUIC_REASON_CODE + why;
}

void quic_forget(struct quic_conn *c) {
  c->ud = NULL;
  if (c->state < CONN_ENDING) quic_close(c, REASON_REPLACED, NULL);
}

/* The close frame was written, or there is none to write: tell the user, give
 * the memory back, and stay for a while as a tomb that repeats the frame. */
void conn_finish(struct quic_conn *c) {
  uint64_t stay = 0;

  if (c->close_pkt && c->conn) stay = 3 * ngtcp2_conn_get_pto2(c->conn);
  if (stay > SEC) stay = SEC;
  if (!c->was_ready) c->q->stats.n_refused++;
  c->state = CONN_TOMB;
  conn_leave_half(c);
  if (c->ud && c->ops->on_end) c->ops->on_end(c, c->ud, &c->end);
  c->ud = NULL;
  free_engine(c);
  if (!stay) {
    conn_free(c);
    return;
  }
  heap_set(&c->q->timers, &c->timer, c->q->now + stay);
}

/* The endpoint goes: its users are told, so that they can free their own. */
void conn_abandon(struct quic_conn *c) {
  void *ud = c->ud;

  conn_fail(c, REASON_SHUTTING_DOWN, false, "this program ends");
  c->ud = NULL;
  if (ud && c->ops->on_end) c->ops->on_end(c, ud, &c->end);
  conn_free(c);
}

/* What may not be done inside ngtcp2's callbacks is done here, after each call
 * into it. */
void conn_settle(struct quic_conn *c) {
  if (c->state == CONN_READY && c->ssl_done) free_tls(c);
}

/* Whatever is not the pacer's has time until the next millisecond, QUIC's own
 * granularity (RFC 9002, 6.1.2): ngtcp2 wants to acknowledge after an eighth of
 * the RTT, which near by is a timer and a packet for each packet. */
void conn_rearm(struct quic_conn *c, bool paced) {
  uint64_t at;

  if (c->state >= CONN_ENDING) {
    heap_del(&c->q->timers, &c->timer);
    return;
  }
  at = ngtcp2_conn_get_expiry2(c->conn);
  if (!paced && at < NEVER - MS) at = (at + MS - 1) / MS * MS;
  heap_set(&c->q->timers, &c->timer, at);
}

/* --- asked by the user --- */

int quic_stream_open(struct quic_conn *c, bool bidi, int64_t *id) {
  int rv;

  if (c->state != CONN_READY) return ZTNA_ECLOSED;
  rv = bidi ? ngtcp2_conn_open_bidi_stream(c->conn, id, NULL)
            : ngtcp2_conn_open_uni_stream(c->conn, id, NULL);
  if (rv == NGTCP2_ERR_STREAM_ID_BLOCKED) return ZTNA_EAGAIN;
  return rv ? ZTNA_ENOMEM : 0;
}

void quic_credit_stream(struct quic_conn *c, int64_t id, size_t n) {
  if (c->state >= CONN_ENDING || !n) return;
  ngtcp2_conn_extend_max_stream_offset(c->conn, id, n);
  quic_wake_conn(c);
}

void quic_credit_conn(struct quic_conn *c, size_t n) {
  if (c->state >= CONN_ENDING || !n) return;
  ngtcp2_conn_extend_max_offset(c->conn, n);
  quic_wake_conn(c);
}

void quic_credit(struct quic_conn *c, int64_t id, size_t n) {
  quic_credit_stream(c, id, n);
  quic_credit_conn(c, n);
}

void quic_stream_set_ud(struct quic_conn *c, int64_t id, void *ud) {
  if (c->conn) ngtcp2_conn_set_stream_user_data(c->conn, id, ud);
}

void *quic_stream_ud(const struct quic_conn *c, int64_t id) {
  return c->conn ? ngtcp2_conn_get_stream_user_data2(c->conn, id) : NULL;
}

void quic_stream_more(struct quic_conn *c, size_t n) {
  if (c->state >= CONN_ENDING) return;
  ngtcp2_conn_extend_max_streams_bidi(c->conn, n);
  quic_wake_conn(c);
}

void quic_stream_reset(struct quic_conn *c, int64_t id, uint64_t app_error) {
  if (c->state >= CONN_ENDING) return;
  ngtcp2_conn_shutdown_stream_write(c->conn, 0, id, app_error);
  quic_wake_conn(c);
}

void quic_stream_stop(struct quic_conn *c, int64_t id, uint64_t app_error) {
  if (c->state >= CONN_ENDING) return;
  ngtcp2_conn_shutdown_stream_read(c->conn, 0, id, app_error);
  quic_wake_conn(c);
}

uint64_t quic_max_data_left(const struct quic_conn *c) {
  return c->conn ? ngtcp2_conn_get_max_data_left2(c->conn) : 0;
}

/* ngtcp2 sends a PING when a keep-alive is due: conn_write makes one due. */
void quic_ping(struct quic_conn *c, uint64_t now) {
  if (c->state != CONN_READY) return;
  c->ping = true;
  quic_wake_conn(c);
}

/* Of ngtcp2's inside, which is linked statically: no call of its own ends the
 * back-off, and the window full of lost packets would hold a PING, too. The
 * timer is set anew as if it had never run out; in silence that is in the past,
 * and then it gives the two probes that need no window. */
void ngtcp2_conn_cancel_loss_detection_timer(ngtcp2_conn *conn);
void ngtcp2_conn_set_loss_detection_timer(ngtcp2_conn *conn, ngtcp2_tstamp ts);

void quic_probe(struct quic_conn *c, uint64_t now) {
  if (c->state != CONN_READY) return;
  ngtcp2_conn_cancel_loss_detection_timer(c->conn);
  ngtcp2_conn_set_loss_detection_timer(c->conn, now);
  conn_rearm(c, false);
  quic_wake_conn(c);
}

size_t quic_dgram_max(const struct quic_conn *c) {
  const ngtcp2_transport_params *p;
  size_t n;

  if (c->state != CONN_READY) return 0;
  p = ngtcp2_conn_get_remote_transport_params2(c->conn);
  if (!p || p->max_datagram_frame_size < 2048) return 0;
  n = ngtcp2_conn_get_path_max_tx_udp_payload_size2(c->conn);
  if (c->limit && n > c->limit) n = c->limit;
  return n - QUIC_DGRAM_OVERHEAD;
}

void quic_limit_size(struct quic_conn *c, size_t udp_payload) {
  c->limit = udp_payload;
}

uint64_t quic_time(const struct quic_conn *c) { return c->q->now; }
bool quic_is_ready(const struct quic_conn *c) { return c->state == CONN_READY; }
bool quic_is_server(const struct quic_conn *c) { return c->server; }
uint64_t quic_expires_at(const struct quic_conn *c) { return c->expires_at; }

const struct identity *quic_peer(const struct quic_conn *c) { return &c->peer; }
struct ztna_addr quic_remote(const struct quic_conn *c) {
  return c->remote;
}
uint16_t quic_sock(const struct quic_conn *c) { return c->sock; }
struct ztna_addr quic_local(const struct quic_conn *c) {
  return c->local;
}
const uint8_t *quic_handle(const struct quic_conn *c) {
  return c->slot->handle;
}
const char *quic_group(const struct quic_conn *c) { return c->group; }
const char *quic_cipher(const struct quic_conn *c) { return c->cipher; }

void quic_info(const struct quic_conn *c, struct quic_info *i) {
  ngtcp2_conn_info ci;

  memset(i, 0, sizeof(*i));
  if (!c->conn) return;
  ngtcp2_conn_get_conn_info2(c->conn, &ci);
  *i = (struct quic_info){
      .srtt = ci.smoothed_rtt,
      .min_rtt = ci.min_rtt,
      .latest_rtt = ci.latest_rtt,
      .cwnd = ci.cwnd,
      .in_flight = ci.bytes_in_flight,
      .n_sent = ci.pkt_sent,
      .n_lost = ci.pkt_lost,
      .n_recv = ci.pkt_recv,
      .bytes_sent = ci.bytes_sent,
      .bytes_recv = ci.bytes_recv,
      .udp_payload = ngtcp2_conn_get_path_max_tx_udp_payload_size2(c->conn),
      .version = ngtcp2_conn_get_negotiated_version2(c->conn),
      .retried = c->retried,
  };
}
