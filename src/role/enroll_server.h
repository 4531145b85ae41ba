/* enroll_server.h - the enrolment service (docs/ENROLL.md): gives certificates
 * to machines that show a token, and anew to those that show their present one.
 * It signs with the CA's key, so it shares no process with a relay. Which
 * tokens there are knows the skin. */
#ifndef ZTNA_ROLE_ENROLL_SERVER_H
#define ZTNA_ROLE_ENROLL_SERVER_H

#include <jansson.h>

#include "base/metrics.h"
#include "part/token.h"
#include "role/token_grant.h"
#include "transport/cert.h"
#include "transport/quic.h"

struct enroll_server;

/* A certificate that was made; all lent. */
struct enroll_issued {
  const struct identity *identity; /* in it */
  const uint8_t *token;            /* its id; NULL: renewed */
  const char *former; /* serial of the certificate that was renewed; or NULL
                       */
  const uint8_t *key; /* SHA-256 of the key (SubjectPublicKeyInfo) */
  struct ztna_addr from;
};

struct enroll_ops {
  /* Uses the token up for this key: on the disk before it returns. REASON_NONE
   * with *out (done is the caller's); REASON_BAD_TOKEN with *detail: "used" and
   * "expired" only to who has the secret, else "unknown"; another reason when
   * tokens cannot be read or written. */
  enum reason (*take)(void *ctx, const uint8_t id[TOKEN_ID_LEN],
                      const uint8_t secret[TOKEN_SECRET_LEN],
                      const uint8_t key_sha256[CERT_SPKI_HASH_LEN],
                      struct token_grant *out, const char **detail);
  /* Is whoever came with this certificate revoked by more than lists? NULL:
   * nobody is. */
  bool (*revoked)(void *ctx, const struct identity *peer);
  /* Before the answer leaves; NULL: nobody wants to know. */
  void (*issued)(void *ctx, const struct enroll_issued *i);
};

struct enroll_server_options {
  struct tls *tls;       /* lent; role enroll; made to admit who has no
                            certificate */
  const struct rng *rng; /* lent */
  const struct enroll_ops *ops;
  void *ctx;
  /* All lent while it lives, PEM. The first certificate is that of the key; the
   * answer's "ca" is all of it. */
  const char *ca_cert, *ca_key;
  size_t ca_cert_len, ca_key_len;
  int64_t max_lifetime; /* of a certificate, seconds */
  size_t max_connections;
};

/* 0; ZTNA_ENOMEM, or ZTNA_EINVAL: the first of ca_cert is no CA's. */
int enroll_server_new(struct enroll_server **e,
                      const struct enroll_server_options *o, uint64_t now);
void enroll_server_free(struct enroll_server *e); /* NULL is fine */

/* The four verbs. Bytes given to udp_in are not kept. */
void enroll_server_udp_in(struct enroll_server *e, uint64_t now,
                          const struct dgram *d);
void enroll_server_tick(struct enroll_server *e, uint64_t now);
int enroll_server_next(struct enroll_server *e, uint64_t now, struct dgram *v,
                       int max);
uint64_t enroll_server_deadline(const struct enroll_server *e);

/* Its own certificate made anew, or another list of revoked ones; lent, the
 * former may be freed. Who is revoked by it is disconnected. */
void enroll_server_set_tls(struct enroll_server *e, struct tls *t,
                           uint64_t now);
void enroll_server_stop(struct enroll_server *e, uint64_t now);
bool enroll_server_stopped(const struct enroll_server *e);

/* True, or false and why: stopping, or the CA's certificate has run out. */
bool enroll_server_ready(const struct enroll_server *e, enum reason *why);
void enroll_server_metrics(const struct enroll_server *e, struct sbuf *out);
/* Members for `ztna status` are added to the object. */
void enroll_server_status(const struct enroll_server *e, json_t *status);

#endif
