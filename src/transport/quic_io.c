/* quic_io.c - packets into and out of one connection: the hot path. Packets are
 * written next to each other in the endpoint's arena; neighbours of one size to
 * one destination become a train for GSO. */
#include "transport/quic_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <wolfssl/options.h>

#include <wolfssl/ssl.h>

#include <ztna/err.h>

#include "base/log.h"

enum { ROOM = 1500 }; /* for a packet */
#define SILENCE (500 * MS)

/* --- in --- */

/* The peer's words may hold anything: only printable ASCII is kept. */
static void copy_phrase(char *to, size_t room, const uint8_t *s, size_t len) {
  size_t i;

  for (i = 0; i < len && i + 1 < room; i++)
    to[i] = s[i] >= 0x20 && s[i] < 0x7f ? (char)s[i] : '?';
  to[i] = 0;
}

static enum reason reason_of_close(const ngtcp2_ccerr *e) {
  uint64_t n = e->error_code - QUIC_REASON_CODE;

  if (e->type == NGTCP2_CCERR_TYPE_APPLICATION)
    return e->error_code >= QUIC_REASON_CODE && n > 0 && n < REASON_N
               ? (enum reason)n
               : REASON_SHUTTING_DOWN;
  if ((e->error_code & ~UINT64_C(0xff)) == 0x100)
    return tls_reason(0, (int)(e->error_code & 0xff));
  if (e->error_code == NGTCP2_CONNECTION_REFUSED) return REASON_RATE_LIMITED;
  return e->error_code ? REASON_MALFORMED : REASON_SHUTTING_DOWN;
}

static bool is_about_certificate(enum reason why) {
  return why == REASON_BAD_CERTIFICATE || why == REASON_CERTIFICATE_EXPIRED ||
         why == REASON_REVOKED;
}

static void closed_by_peer(struct quic_conn *c) {
  const ngtcp2_ccerr *e = ngtcp2_conn_get_ccerr(c->conn);
  enum reason why = reason_of_close(e);

  c->end.remote = true;
  c->end.code = e->error_code;
  copy_phrase(c->end.text, sizeof(c->end.text), e->reason, e->reasonlen);
  conn_fail(c, why, false,
            is_about_certificate(why)
                ? "the other side refused the certificate of this side"
                : "closed by the other side");
}

static void tls_failed(struct quic_conn *c) {
  int err = c->ssl ? wolfSSL_get_error((WOLFSSL *)c->ssl, 0) : 0;
  uint8_t alert = ngtcp2_conn_get_tls_alert2(c->conn);
  enum reason refused = c->ssl ? tls_refusal(c->ssl) : REASON_NONE;
  enum reason why = refused ? refused : tls_reason(err, alert);
  char words[96], text[128];

  if (refused) alert = (uint8_t)tls_alert(refused);
  ngtcp2_ccerr_set_tls_alert(&c->ccerr, alert, NULL, 0);
  c->end.code = c->ccerr.error_code;
  snprintf(text, sizeof(text), "%s%s",
           is_about_certificate(why) ? "the other side's certificate: " : "",
           refused == REASON_REVOKED
               ? "a list of revoked certificates names it"
               : tls_error_text(err, words, sizeof(words)));
  conn_fail(c, why, true, text);
}

static void engine_failed(struct quic_conn *c, int rv) {
  if (rv == NGTCP2_ERR_CRYPTO) {
    tls_failed(c);
    return;
  }
  ngtcp2_ccerr_set_liberr(&c->ccerr, rv, NULL, 0);
  c->end.code = c->ccerr.error_code;
  conn_fail(c, rv == NGTCP2_ERR_NOMEM ? REASON_INTERNAL : REASON_MALFORMED,
            true, ngtcp2_strerror(rv));
}

/* A tomb repeats its close frame, ever more rarely (RFC 9000, 10.2.1). */
static void answer_from_tomb(struct quic_conn *c,
                             const struct ztna_addr *remote,
                             const struct ztna_addr *local) {
  c->n_strays++;
  if ((c->n_strays & (c->n_strays - 1)) || c->close_len > STRAY_LEN) return;
  if (!ztna_addr_equal(remote, &c->remote)) return;
  stray_push(c->q, remote, local, c->close_pkt, c->close_len);
}

/* After a silence something came: whatever waits for a timer that has backed
 * off meanwhile goes on. Garbage does not count. */
static void heard(struct quic_conn *c, bool silent, bool limited,
                  uint64_t n_discarded) {
  if ((silent || limited) && conn_discarded(c) != n_discarded) return;
  if (limited) limit_feed(c);
  c->heard_at = c->q->now;
  if (silent) quic_probe(c, c->q->now);
}

void conn_read(struct quic_conn *c, const struct ztna_addr *remote,
               const struct ztna_addr *local, uint8_t ecn, const uint8_t *data,
               size_t len) {
  ngtcp2_pkt_info pi = {.ecn = ecn};
  bool silent = c->q->now - c->heard_at > SILENCE;
  bool limited = limit_applies(c);
  uint64_t n_discarded = silent || limited ? conn_discarded(c) : 0;
  ngtcp2_path_storage ps;
  int rv;

  if (c->state == CONN_TOMB) answer_from_tomb(c, remote, local);
  if (c->state >= CONN_ENDING) return;
  if (limited && limit_is_overfed(c)) {
    quic_drop(c->q, REASON_RATE_LIMITED);
    return;
  }
  if (c->server) c->local = *local;
  quic_keys_lean(c->lean);
  rv = ngtcp2_conn_read_pkt(c->conn, path_of(&ps, remote), &pi, data, len,
                            c->q->now);
  quic_keys_lean(false);
  quic_wake_conn(c);
  if (c->state >= CONN_ENDING) return; /* said why already */
  switch (rv) {
  case 0:
    heard(c, silent, limited, n_discarded);
    conn_settle(c);
    return;
  case NGTCP2_ERR_DRAINING:
    closed_by_peer(c);
    return;
  case NGTCP2_ERR_DROP_CONN:
  case NGTCP2_ERR_RETRY:
    conn_fail(c, REASON_MALFORMED, false, "not a valid first packet");
    return;
  default:
    engine_failed(c, rv);
  }
}

void conn_expire(struct quic_conn *c) {
  int rv = ngtcp2_conn_handle_expiry(c->conn, c->q->now);

  quic_wake_conn(c);
  if (rv == NGTCP2_ERR_IDLE_CLOSE) {
    conn_fail(c, REASON_IDLE, false, "nothing was heard for too long");
  } else if (rv == NGTCP2_ERR_HANDSHAKE_TIMEOUT) {
    bool relay = c->control && !c->server;
    conn_fail(c, relay ? REASON_RELAY_UNREACHABLE : REASON_IDLE, false,
              "no answer to the handshake");
  } else if (rv) {
    engine_failed(c, rv);
  }
  /* Until it was written the deadline is gone: conn_write sets the next. */
  heap_del(&c->q->timers, &c->timer);
}

/* --- out --- */

struct packet {
  ngtcp2_path_storage ps;
  ngtcp2_pkt_info pi;
  uint8_t *data;
  size_t room;
  enum quic_size size;
  bool blocked; /* the user's data may not go now */
  bool has_stream, has_dgram;
};

enum { DONE = 1, AGAIN = 0 }; /* of a step: *n holds the result, or go on */

/* Offers stream data. DONE: the packet is finished, or failed. */
static int step_stream(struct quic_conn *c, struct packet *p, ngtcp2_ssize *n,
                       bool *none) {
  struct quic_vec v[8];
  ngtcp2_ssize taken = -1;
  uint32_t flags = NGTCP2_WRITE_STREAM_FLAG_MORE;
  bool fin = false;
  int64_t id = -1;
  int n_vec;

  n_vec = c->ops->stream_out(c, c->ud, &id, &fin, v, 8);
  if (n_vec < 0 || id < 0) {
    if (n_vec < 0) quic_close(c, REASON_INTERNAL, "stream failed");
    *none = true;
    return AGAIN;
  }
  if (fin) flags |= NGTCP2_WRITE_STREAM_FLAG_FIN;
  *n = ngtcp2_conn_writev_stream(c->conn, &p->ps.path, &p->pi, p->data, p->room,
                                 &taken, flags, id, (ngtcp2_vec *)v,
                                 (size_t)n_vec, c->q->now);
  switch (*n) {
  case NGTCP2_ERR_STREAM_DATA_BLOCKED:
    c->ops->stream_blocked(c, c->ud, id);
    return AGAIN;
  case NGTCP2_ERR_STREAM_SHUT_WR:
  case NGTCP2_ERR_STREAM_NOT_FOUND:
    c->ops->stream_shut(c, c->ud, id);
    return AGAIN;
  }
  if (taken >= 0) c->ops->stream_sent(c, c->ud, id, (size_t)taken);
  p->has_stream |= taken >= 0;
  p->blocked = *n == 0;
  return *n == NGTCP2_ERR_WRITE_MORE ? AGAIN : DONE;
}

/* Offers a DATAGRAM; several small ones share a packet. */
static int step_dgram(struct quic_conn *c, struct packet *p, size_t max,
                      ngtcp2_ssize *n, bool *none) {
  struct quic_vec v[2];
  uint64_t id = 0;
  int n_vec, accepted = 0;

  n_vec = c->ops->dgram_out(c, c->ud, max, v, &id);
  if (n_vec <= 0) {
    *none = true;
    return AGAIN;
  }
  *n = ngtcp2_conn_writev_datagram(c->conn, &p->ps.path, &p->pi, p->data,
                                   p->room, &accepted,
                                   NGTCP2_WRITE_DATAGRAM_FLAG_MORE, id,
                                   (ngtcp2_vec *)v, (size_t)n_vec, c->q->now);
  if (accepted) c->ops->dgram_sent(c, c->ud);
  p->has_dgram |= accepted;
  p->blocked = *n == 0;
  return *n == NGTCP2_ERR_WRITE_MORE ? AGAIN : DONE;
}

/* One packet into p. Its length, 0 when nothing may go now, or an error. */
static ngtcp2_ssize write_packet(struct quic_conn *c, struct packet *p) {
  bool user = c->state == CONN_READY;
  bool no_stream = !user || !c->ops->stream_out || p->size == QUIC_FULL;
  size_t max = user && c->ops->dgram_out ? quic_dgram_max(c) : 0;
  bool no_dgram = !max, dgram_turn = c->dgram_turn || p->size != QUIC_ANY;
  ngtcp2_ssize n = 0;

  while (!(no_stream && no_dgram) && c->state < CONN_ENDING) {
    bool dgram = no_stream || (dgram_turn && !no_dgram);
    int is = dgram ? step_dgram(c, p, max, &n, &no_dgram)
                   : step_stream(c, p, &n, &no_stream);

    if (is == DONE) return n;
  }
  return ngtcp2_conn_writev_stream(c->conn, &p->ps.path, &p->pi, p->data,
                                   p->room, NULL, 0, -1, NULL, 0, c->q->now);
}

/* Whatever the peer asked for: no packet of this path carries another handle
 * (PROTOCOL 2). */
static bool leaves_rightly(struct quic_conn *c, const uint8_t *p, size_t len) {
  const uint8_t *handle;

  if (!c->slot->has_peer_handle) return true;
  handle = packet_handle(p, len);
  if (handle && !memcmp(handle, c->slot->peer_handle, HANDLE_LEN)) return true;
  conn_fail(c, REASON_MALFORMED, false,
            "the peer issued a connection id of another handle");
  return false;
}

/* Appends a packet to the last train or begins a new one; returns how many
 * trains there are now. A probe of the path's size leaves alone: who does not
 * let it pass would drop the whole train. */
static int add_packet(struct quic_conn *c, struct dgram *v, int n,
                      const struct packet *p, size_t len) {
  struct dgram *t = n ? &v[n - 1] : NULL;
  struct ztna_addr remote;

  ztna_addr_from_sockaddr(&remote, p->ps.path.remote.addr);
  if (t && t->len % t->seg == 0 && len <= t->seg &&
      t->seg <= ngtcp2_conn_get_path_max_tx_udp_payload_size2(c->conn) &&
      t->ecn == p->pi.ecn && t->len / t->seg < DGRAM_MAX_SEGS &&
      t->len + len <= DGRAM_MAX_BYTES && ztna_addr_equal(&t->remote, &remote)) {
    t->len += (uint32_t)len;
    return n;
  }
  v[n] = (struct dgram){.remote = remote,
                        .local = c->local,
                        .data = p->data,
                        .len = (uint32_t)len,
                        .seg = (uint16_t)len,
                        .ecn = (uint8_t)p->pi.ecn,
                        .sock = c->sock};
  return n + 1;
}

/* Who was asked first and had something is asked second next time; who had
 * nothing keeps its turn, so that what comes rarely goes at once. */
static void take_turns(struct quic_conn *c, const struct packet *p) {
  if (p->size != QUIC_ANY) return;
  if (c->dgram_turn ? p->has_dgram : p->has_stream)
    c->dgram_turn = !c->dgram_turn;
}

static void packet_begin(struct quic_conn *c, struct packet *p, size_t used) {
  p->data = c->q->arena + used;
  p->room = ROOM;
  p->pi.ecn = 0;
  p->size = QUIC_ANY;
  p->blocked = p->has_stream = p->has_dgram = false;
  if (c->state == CONN_READY && c->ops->packet_size)
    p->size = c->ops->packet_size(c, c->ud);
  if (c->limit && p->size != QUIC_FULL) p->room = c->limit;
  if (p->size == QUIC_SMALL && p->room > SMALL) p->room = SMALL;
}

static void apply_ping(struct quic_conn *c, bool on) {
  if (!c->ping) return;
  ngtcp2_conn_set_keep_alive_timeout(c->conn, on              ? 1
                                              : c->keep_alive ? c->keep_alive
                                                              : NEVER);
  if (!on) c->ping = false;
}

int conn_write(struct quic_conn *c, struct dgram *v, int max, size_t *used,
               bool *more) {
  size_t quantum = ngtcp2_conn_get_send_quantum2(c->conn), sent = 0;
  struct packet p;
  ngtcp2_ssize len = 0;
  int n = 0;

  if (quantum > DGRAM_MAX_BYTES - 2048) quantum = DGRAM_MAX_BYTES - 2048;
  ngtcp2_path_storage_zero(&p.ps);
  apply_ping(c, true);
  quic_keys_lean(c->lean);
  do {
    packet_begin(c, &p, *used);
    len = write_packet(c, &p);
    if (len <= 0 || c->state >= CONN_ENDING) break;
    if (!leaves_rightly(c, p.data, (size_t)len)) break;
    take_turns(c, &p);
    n = add_packet(c, v, n, &p, (size_t)len);
    *used += (size_t)len;
    sent += (size_t)len;
    c->q->stats.n_out++;
  } while (sent < quantum && n < max);
  quic_keys_lean(false);
  if (len < 0 && c->state < CONN_ENDING) engine_failed(c, (int)len);
  if (c->state >= CONN_ENDING) return n;
  *more = len > 0;
  apply_ping(c, false);
  /* Before the pacer's deadline begins: nobody waits for it unless there is
   * more to write, and then the next call finds it. It would cost a wake-up
   * after each lone packet. */
  conn_rearm(c, p.blocked);
  if (sent) ngtcp2_conn_update_pkt_tx_time(c->conn, c->q->now);
  return n;
}

int conn_write_close(struct quic_conn *c, struct dgram *v, size_t *used) {
  struct packet p = {.data = c->q->arena + *used, .room = CLOSE_LEN};
  ngtcp2_ssize len;

  if (!c->say_close || !c->conn) return 0;
  ngtcp2_path_storage_zero(&p.ps);
  len = ngtcp2_conn_write_connection_close(c->conn, &p.ps.path, &p.pi, p.data,
                                           p.room, &c->ccerr, c->q->now);
  if (len <= 0 || !leaves_rightly(c, p.data, (size_t)len)) return 0;
  c->close_pkt = malloc((size_t)len);
  if (c->close_pkt) memcpy(c->close_pkt, p.data, (size_t)len);
  c->close_len = c->close_pkt ? (size_t)len : 0;
  *used += (size_t)len;
  c->q->stats.n_out++;
  return add_packet(c, v, 0, &p, (size_t)len);
}
