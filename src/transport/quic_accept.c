/* quic_accept.c - packets of nobody: first Initials become connections or
 * Retry packets, short headers become stateless resets. Whatever is done here
 * is done for strangers, so all of it is bounded. */
#include "transport/quic_int.h"

#include <assert.h>
#include <string.h>

#include <ztna/err.h>

#include "base/log.h"
#include "transport/seal.h"

enum {
  RETRY_TOKEN_LIFE = 10, /* s */
};

void half_key(uint8_t key[HALF_KEY_LEN], const struct ztna_addr *remote,
              const uint8_t *dcid, size_t len) {
  memset(key, 0, HALF_KEY_LEN);
  key[0] = remote->family;
  key[1] = (uint8_t)(remote->port >> 8);
  key[2] = (uint8_t)remote->port;
  memcpy(key + 3, remote->ip, 16);
  key[19] = (uint8_t)len;
  memcpy(key + 20, dcid, len < 20 ? len : 20);
}

void stray_push(struct quic *q, const struct ztna_addr *remote,
                const struct ztna_addr *local, const uint8_t *data,
                size_t len) {
  struct stray *s;

  if (q->n_strays == STRAY_MAX || len > STRAY_LEN) {
    quic_drop(q, REASON_RATE_LIMITED);
    return;
  }
  s = &q->strays[(q->stray_head + q->n_strays++) % STRAY_MAX];
  s->remote = *remote;
  s->local = *local;
  s->len = (uint16_t)len;
  memcpy(s->data, data, len);
}

/* RFC 9000, 10.3: shorter than what caused it, so that two endpoints cannot
 * reset each other for ever. */
void answer_reset(struct quic *q, const struct ztna_addr *remote,
                  const struct ztna_addr *local, const uint8_t *data,
                  size_t len) {
  uint8_t buf[64], random[32], token[NGTCP2_STATELESS_RESET_TOKENLEN];
  size_t rand_len = len < 42 ? len - 1 - sizeof(token) : 25;
  ngtcp2_ssize n;
  ngtcp2_cid cid;

  if (len < 22 || !limit_reset(q, remote)) return;
  ngtcp2_cid_init(&cid, data + 1, QUIC_CID_LEN);
  if (ngtcp2_crypto_generate_stateless_reset_token(token, q->cfg.secret,
                                                   sizeof(q->cfg.secret), &cid))
    return;
  rng_fill(q->cfg.rng, random, sizeof(random));
  n = ngtcp2_pkt_write_stateless_reset(buf, sizeof(buf), token, random,
                                       rand_len);
  if (n <= 0) return;
  stray_push(q, remote, local, buf, (size_t)n);
  q->stats.n_resets_out++;
}

void quic_set_retry_keys(struct quic *q,
                         const uint8_t (*keys)[QUIC_RETRY_KEY_LEN], size_t n) {
  assert(n <= QUIC_RETRY_KEYS);
  memset(q->retry_keys, 0, sizeof(q->retry_keys));
  if (n)
    memcpy(q->retry_keys, keys, n * QUIC_RETRY_KEY_LEN);
  else
    seal_key_derive(q->retry_keys[0], q->cfg.secret, "ztna retry token");
  q->n_retry_keys = n ? n : 1;
}

static void answer_retry(struct quic *q, const struct ztna_addr *remote,
                         const struct ztna_addr *local,
                         const ngtcp2_pkt_hd *hd) {
  uint8_t token[NGTCP2_CRYPTO_MAX_RETRY_TOKENLEN2], raw[CLIENT_DCID_LEN];
  struct sockaddr_storage ss;
  size_t ss_len = ztna_addr_to_sockaddr(remote, &ss);
  uint8_t buf[STRAY_LEN];
  ngtcp2_ssize token_len, n;
  ngtcp2_cid scid;

  if (!limit_retry(q)) {
    quic_drop(q, REASON_RATE_LIMITED);
    return;
  }
  rng_fill(q->cfg.rng, raw, sizeof(raw));
  ngtcp2_cid_init(&scid, raw, sizeof(raw));
  token_len = ngtcp2_crypto_generate_retry_token2(
      token, q->retry_keys[0], QUIC_RETRY_KEY_LEN, hd->version,
      (struct sockaddr *)&ss, (ngtcp2_socklen)ss_len, &scid, &hd->dcid, q->now);
  if (token_len < 0) return;
  n = ngtcp2_crypto_write_retry(buf, sizeof(buf), hd->version, &hd->scid, &scid,
                                &hd->dcid, token, (size_t)token_len);
  if (n <= 0) return;
  stray_push(q, remote, local, buf, (size_t)n);
  q->stats.n_retries++;
}

/* The client proved its address: 1 yes, 0 has no token, -1 a bad one. */
static int check_token(struct quic *q, const struct ztna_addr *remote,
                       const ngtcp2_pkt_hd *hd, ngtcp2_cid *odcid) {
  struct sockaddr_storage ss;
  size_t ss_len = ztna_addr_to_sockaddr(remote, &ss);

  if (!hd->tokenlen) return 0;
  for (size_t i = 0; i < q->n_retry_keys; i++)
    if (!ngtcp2_crypto_verify_retry_token2(
            odcid, hd->token, hd->tokenlen, q->retry_keys[i],
            QUIC_RETRY_KEY_LEN, hd->version, (struct sockaddr *)&ss,
            (ngtcp2_socklen)ss_len, &hd->dcid, RETRY_TOKEN_LIFE * SEC, q->now))
      return 1;
  return -1;
}

static bool wants_retry(const struct quic *q) {
  if (q->cfg.retry == QUIC_RETRY_NEVER) return false;
  return q->cfg.retry == QUIC_RETRY_ALWAYS || q->half.n >= HALF_OPEN_RETRY;
}

/* A handle's former half-open connection gives way to a new Initial after 1 s
 * (PROTOCOL 2). True when there is a place. */
static bool slot_make_room(struct quic_slot *s, uint64_t now) {
  struct quic_conn *c;

  for (c = s->conns; c; c = c->slot_next) {
    if (c->state != CONN_HANDSHAKE) continue;
    if (now < c->began_at + SEC) return false;
    conn_fail(c, REASON_REPLACED, false, "another attempt took its place");
  }
  return true;
}

static bool slot_has_live(const struct quic_slot *s) {
  struct quic_conn *c;

  for (c = s->conns; c; c = c->slot_next)
    if (c->state == CONN_READY) return true;
  return false;
}

/* A connection on a handle that somebody gave out. */
static struct quic_conn *accept_on_slot(struct quic *q, struct quic_slot *s,
                                        const struct ztna_addr *remote,
                                        const struct ztna_addr *local,
                                        const struct first_initial *in) {
  struct quic_conn *c;

  if (q->now > s->accept_until && !slot_has_live(s)) {
    quic_drop(q, REASON_EXPIRED);
    return NULL;
  }
  if (!slot_make_room(s, q->now)) {
    quic_drop(q, REASON_RATE_LIMITED);
    return NULL;
  }
  c = conn_make(q, s, true, remote, local);
  if (!c) return NULL;
  c->ops = s->ops;
  c->ud = s->ud;
  c->sock = q->in_sock;
  if (conn_make_server(c, &s->params, in) == 0) return c;
  conn_free(c);
  return NULL;
}

/* A connection of a client that chose its own first DCID. */
static struct quic_conn *accept_control(struct quic *q,
                                        const struct ztna_addr *remote,
                                        const struct ztna_addr *local,
                                        const struct first_initial *in) {
  struct quic_initial first = {.remote = *remote,
                               .local = *local,
                               .dcid = in->hd->dcid.data,
                               .dcid_len = in->hd->dcid.datalen,
                               .validated = in->retried};
  struct quic_slot *s;
  struct quic_conn *c;

  if (!limit_half_open(q)) {
    quic_drop(q, REASON_TOO_MANY_ROUTES);
    return NULL;
  }
  s = slot_new(q, NULL);
  if (!s) return NULL;
  s->dead = true;
  c = conn_make(q, s, true, remote, local);
  if (!c) {
    slot_gc(q, s);
    return NULL;
  }
  c->control = true;
  c->ops = q->cfg.accept_ops;
  half_key(c->half_key, remote, in->hd->dcid.data, in->hd->dcid.datalen);
  if (conn_make_server(c, &q->cfg.accept_params, in) == 0 &&
      map_put(&q->half, c->half_key, c) == 0) {
    c->in_half = true;
    q->stats.n_half_open = q->half.n;
    c->ud = q->cfg.on_accept(q->cfg.ud, c, &first);
    if (c->ud) return c;
  }
  conn_free(c);
  return NULL;
}

/* Whether somebody who chose their own first DCID is let in now; if not, they
 * may have been asked for Retry. What Retry holds off takes nothing from its
 * prefix: it may be spoofed. */
static bool may_begin(struct quic *q, const struct ztna_addr *remote,
                      const struct ztna_addr *local, const ngtcp2_pkt_hd *hd,
                      ngtcp2_cid *odcid, bool *retried) {
  int token = check_token(q, remote, hd, odcid);

  *retried = token > 0;
  if (token < 0) {
    quic_drop(q, REASON_MALFORMED);
    return false;
  }
  if (!*retried && wants_retry(q)) {
    answer_retry(q, remote, local, hd);
    return false;
  }
  if (q->cfg.retry == QUIC_RETRY_NEVER || limit_handshake(q, remote))
    return true;
  if (*retried)
    quic_drop(q, REASON_RATE_LIMITED);
  else
    answer_retry(q, remote, local, hd);
  return false;
}

void accept_initial(struct quic *q, struct quic_slot *slot,
                    const struct ztna_addr *remote,
                    const struct ztna_addr *local, uint8_t ecn,
                    const uint8_t *data, size_t len) {
  ngtcp2_pkt_hd hd;
  ngtcp2_cid odcid;
  struct first_initial in = {.hd = &hd, .odcid = &odcid};
  struct quic_conn *c;

  /* RFC 9000, 14.1: what comes in less than 1200 bytes is no first Initial. */
  if (len < 1200 || ngtcp2_accept(&hd, data, len) != 0) {
    quic_drop(q, REASON_ROUTE_UNKNOWN);
    return;
  }
  if (!slot && !may_begin(q, remote, local, &hd, &odcid, &in.retried)) return;
  c = slot ? accept_on_slot(q, slot, remote, local, &in)
           : accept_control(q, remote, local, &in);
  if (c) conn_read(c, remote, local, ecn, data, len);
}
