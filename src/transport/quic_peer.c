/* quic_peer.c - who is at the other end: judged when the handshake is done, and
 * again whenever the own files were exchanged. */
#include "transport/quic_int.h"

#include <stdio.h>
#include <string.h>

/* A completed handshake replaces the live connection of its handle. */
static void replace_live(struct quic_conn *c) {
  struct quic_conn *o;

  for (o = c->slot->conns; o; o = o->slot_next)
    if (o != c && o->state == CONN_READY)
      conn_fail(o, REASON_REPLACED, false, "a newer connection took over");
}

/* A client is not done with the handshake here, and in that state QUIC hides
 * application errors: an alert tells the server why instead. */
static void close_by_certificate(struct quic_conn *c, enum reason why) {
  quic_close(c, why, reason_text(why));
  if (!c->server && c->ssl && !c->ssl_done)
    ngtcp2_ccerr_set_tls_alert(&c->ccerr, (uint8_t)tls_alert(why),
                               (const uint8_t *)c->end.text,
                               strlen(c->end.text));
}

static void refuse(struct quic_conn *c, enum reason why) {
  close_by_certificate(c, why);
  c->was_ready = false;
  c->end.authenticated = false;
}

/* Would it be let in by the present files? With the CAs of before there is no
 * signature to verify: that takes 60 us, and a relay has thousands. */
static bool passes(const struct quic_conn *c, bool same_cas, enum reason *why) {
  struct tls *t = c->q->cfg.tls;

  if (!same_cas) return tls_check_chain(t, c->chain, c->chain_len, why) == 0;
  *why = REASON_CERTIFICATE_EXPIRED;
  return c->peer.not_after >= tls_now() &&
         tls_check_lists(t, c->chain, c->chain_len, why) == 0;
}

void conn_present(struct quic_conn *c) {
  const struct identity *own = tls_identity(c->q->cfg.tls);

  memcpy(c->own, own->sha256, sizeof(c->own));
  c->own_until = own->not_after;
  c->n_exchanged = c->q->n_exchanged;
}

void conn_check_peer(struct quic_conn *c) {
  enum reason why = REASON_BAD_CERTIFICATE;
  int rv;

  if (tls_peer(c->ssl, c->ops->alpn, &c->peer, &why) < 0) {
    refuse(c, why);
    return;
  }
  c->chain = tls_take_chain(c->ssl, &c->chain_len);
  if (c->n_exchanged != c->q->n_exchanged && !passes(c, false, &why)) {
    refuse(c, why);
    return;
  }
  snprintf(c->group, sizeof(c->group), "%s", tls_group(c->ssl));
  snprintf(c->cipher, sizeof(c->cipher), "%s", tls_cipher(c->ssl));
  c->state = CONN_READY;
  expiry_begin(c);
  conn_leave_half(c);
  rv = c->ops->on_ready ? c->ops->on_ready(c, c->ud, &c->peer) : 0;
  if (rv > 0) refuse(c, (enum reason)rv);
  if (rv < 0) quic_close(c, REASON_INTERNAL, "no memory");
  if (c->state >= CONN_ENDING) return;
  c->q->stats.n_handshakes++;
  ngtcp2_conn_set_keep_alive_timeout(c->conn,
                                     c->keep_alive ? c->keep_alive : NEVER);
  replace_live(c);
}

void quic_set_tls(struct quic *q, struct tls *t) {
  bool same_cas = !memcmp(q->trust_id, tls_trust_id(t), sizeof(q->trust_id));
  struct quic_slot *s;
  struct quic_conn *c;
  enum reason why;
  size_t pos = 0;

  q->cfg.tls = t;
  q->n_exchanged++; /* handshakes on their way are looked at when done */
  memcpy(q->trust_id, tls_trust_id(t), sizeof(q->trust_id));
  while ((s = map_next(&q->handles, &pos)))
    for (c = s->conns; c; c = c->slot_next)
      if (c->state == CONN_READY && !passes(c, same_cas, &why))
        close_by_certificate(c, why);
}

bool quic_is_outdated(const struct quic_conn *c) {
  const struct identity *own = tls_identity(c->q->cfg.tls);

  return memcmp(c->own, own->sha256, sizeof(c->own)) != 0;
}

const uint8_t *quic_chain(const struct quic_conn *c, size_t *len) {
  *len = c->chain_len;
  return c->chain;
}
