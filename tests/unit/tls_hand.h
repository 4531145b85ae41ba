/* tls_hand.h - handshakes between two sessions, carried by hand instead of by
 * QUIC, and the certificates for them. */
#ifndef ZTNA_TESTS_TLS_HAND_H
#define ZTNA_TESTS_TLS_HAND_H

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/quic.h>

#include "transport/cert.h"
#include "transport/tls.h"

enum { HAND_NOW = 1900000000, HAND_DAY = 86400 };

extern int64_t hand_now; /* the clock of hand_begin */
void hand_begin(void);
void hand_done(void);

struct hand_pair { /* PEM; the own chain may have intermediates behind */
  struct sbuf cert, key;
};

void hand_ca(struct hand_pair *p);
void hand_leaf(struct hand_pair *p, const struct hand_pair *by,
               const char *spiffe, int64_t not_before, int64_t not_after);
/* Whatever one signs, may it or not; by NULL: itself. */
void hand_any(struct hand_pair *p, const char *name, bool is_ca,
              const char *usage, const struct hand_pair *by);
/* A CA that may have others below it: itself, or signed by another. */
void hand_ca_above(struct hand_pair *p, const char *name,
                   const struct hand_pair *by);
/* A list's body with its signature; its length. */
size_t hand_sign_list(const struct hand_pair *by, const uint8_t *body,
                      size_t len, uint8_t *to, size_t room);
void hand_forget(struct hand_pair *p);
/* crl may be NULL. */
struct tls *hand_tls(const struct hand_pair *own, const struct hand_pair *trust,
                     const struct sbuf *crl);

struct hand_end {
  WOLFSSL *ssl;
  uint8_t out[4][16384]; /* by encryption level */
  size_t len[4];
  int alert, n_flights;
  size_t n_app; /* bytes after the handshake: tickets */
};

extern const WOLFSSL_QUIC_METHOD hand_method;
void hand_end_init(struct hand_end *e, WOLFSSL *ssl);
/* Gives the bytes that wait at one end to the other. */
int hand_carry(struct hand_end *from, struct hand_end *to);
/* 0, or the error of the end that failed, whose alert is then set. */
int hand_shake(struct hand_end *c, struct hand_end *s);
void hand_ends_free(struct hand_end *c, struct hand_end *s);

#endif
