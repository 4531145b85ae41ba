/* tls_int.h - what the files tls*.c share. Nobody else includes it. */
#ifndef ZTNA_TLS_INT_H
#define ZTNA_TLS_INT_H

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

#include "transport/crl.h"
#include "transport/tls.h"

enum {
  CHAIN_MAX = 8,           /* intermediates behind a leaf */
  CHAIN_BYTES_MAX = 32768, /* of all of them */
};

/* The certificate that a client looks for (tls_new_pinned). Counted. */
struct tls_pin {
  size_t n_holders;
  uint8_t sha256[32];
  struct sbuf found; /* DER */
};

struct tls {
  struct identity id;
  WOLFSSL_CTX *server, *client; /* without own certificate: no server */
  WOLFSSL_CERT_MANAGER *cm;     /* the CAs: what handshakes bring stays out */
  struct sbuf ca;               /* the same, DER, one after another */
  uint8_t trust_id[32];         /* SHA-256 of that */
  struct crl *crl;              /* NULL: nobody is revoked */
  struct tls_pin *pin;          /* NULL: certificates are verified by CAs */
  bool admits_nobody;           /* servers take clients without a certificate */
};

/* What tls_new is given, while it works. */
struct tls_files {
  const struct ztna_identity *own;
  uint8_t *der; /* CERT_DER_MAX */
  char *why;
  size_t room;
};

/* tls.c */
typedef int tls_fill(struct tls *t, const struct tls_files *f);
int tls_make(struct tls **t, struct tls_files *f, tls_fill *fill);
int tls_make_ctx(WOLFSSL_CTX **out, const struct tls *t,
                 const struct tls_files *f, bool server);

/* tls_files.c */
int tls_wrong(const struct tls_files *f, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
int tls_read_files(struct tls *t, const struct tls_files *f);
int tls_read_cas(struct tls *t, const struct tls_files *f); /* and lists */
int tls_load_own(const struct tls_files *f, WOLFSSL_CTX *ctx);
/* t's CAs into another certificate manager. 0 or ZTNA_ENOMEM. */
int tls_trust(const struct tls *t, WOLFSSL_CERT_MANAGER *cm);

/* What a handshake shows; it lives as long as its session. */
struct tls_seen {
  struct crl *crl;
  WOLFSSL_CERT_MANAGER *cm; /* of struct tls, counted; NULL with a pin */
  struct tls_pin *pin;
  bool admits_nobody;
  bool shown; /* the peer has a certificate */
  uint8_t *chain;
  size_t chain_len;
  enum reason refused; /* by tls_on_verify; or REASON_NONE */
};

/* tls_chain.c */
struct tls_seen *tls_seen_new(const struct tls *t, bool server);
void tls_seen_free(struct tls_seen *s);
/* A session's place for it in wolfSSL's table; the first is the caller's. */
enum { TLS_SEEN_INDEX = 1 };
/* wolfSSL's VerifyCallback: asked about each certificate of the peer that
 * wolfSSL has judged. */
int tls_on_verify(int is_good, WOLFSSL_X509_STORE_CTX *store);
/* After the handshake: a client without certificate, which its server takes. */
bool tls_is_nobody(WOLFSSL *ssl);

/* tls_nobody.c */
struct tls_pin *tls_pin_hold(struct tls_pin *p); /* NULL is fine */
void tls_pin_drop(struct tls_pin *p);
/* One of the peer's certificates. */
void tls_pin_look(struct tls_pin *p, const uint8_t *der, size_t len);

#endif
