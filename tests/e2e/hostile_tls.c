/* hostile_tls.c - transport/tls.c with a client that breaks its rules. */
#define tls_session honest_session
#define tls_peer honest_peer
#define tls_identity honest_identity
#include "transport/tls.c"
#undef tls_session
#undef tls_peer
#undef tls_identity

#include "e2e/hostile.h"

struct WOLFSSL *tls_session(struct tls *t, bool server, const char *alpn,
                            const char *server_name);
int tls_peer(struct WOLFSSL *ssl, const char *alpn, struct identity *id,
             enum reason *why);

const struct identity *tls_identity(const struct tls *t);

struct hostile hostile;

/* As a client it has no files of its own. */
const struct identity *tls_identity(const struct tls *t) {
  static const struct identity nobody = {.not_after = INT64_MAX};

  return t ? honest_identity(t) : &nobody;
}

/* --- a session with a ticket, from a handshake with itself in memory --- */

struct pipe {
  uint8_t data[65536];
  size_t n;
};

static int pipe_send(WOLFSSL *ssl, char *buf, int len, void *ctx) {
  struct pipe *p = ctx;

  if (p->n + (size_t)len > sizeof(p->data)) return WOLFSSL_CBIO_ERR_GENERAL;
  memcpy(p->data + p->n, buf, (size_t)len);
  p->n += (size_t)len;
  return len;
}

static int pipe_recv(WOLFSSL *ssl, char *buf, int len, void *ctx) {
  struct pipe *p = ctx;
  size_t n = p->n < (size_t)len ? p->n : (size_t)len;

  if (!n) return WOLFSSL_CBIO_ERR_WANT_READ;
  memcpy(buf, p->data, n);
  memmove(p->data, p->data + n, p->n - n);
  p->n -= n;
  return (int)n;
}

static WOLFSSL *mem_end(WOLFSSL_CTX *ctx, struct pipe *in, struct pipe *out) {
  WOLFSSL *ssl;

  wolfSSL_CTX_SetIORecv(ctx, pipe_recv);
  wolfSSL_CTX_SetIOSend(ctx, pipe_send);
  ssl = wolfSSL_new(ctx);
  wolfSSL_SetIOReadCtx(ssl, in);
  wolfSSL_SetIOWriteCtx(ssl, out);
  return ssl;
}

static WOLFSSL_SESSION *own_ticket(const char *cert, size_t cert_len,
                                   const char *key, size_t key_len) {
  static struct pipe up, down;
  WOLFSSL_CTX *cc = wolfSSL_CTX_new(wolfTLSv1_3_client_method());
  WOLFSSL_CTX *sc = wolfSSL_CTX_new(wolfTLSv1_3_server_method());
  WOLFSSL *c, *s;
  char byte;

  wolfSSL_CTX_set_verify(cc, WOLFSSL_VERIFY_NONE, NULL);
  wolfSSL_CTX_set_verify(sc, WOLFSSL_VERIFY_NONE, NULL);
  wolfSSL_CTX_use_certificate_chain_buffer(sc, (const uint8_t *)cert,
                                           (long)cert_len);
  wolfSSL_CTX_use_PrivateKey_buffer(sc, (const uint8_t *)key, (long)key_len,
                                    WOLFSSL_FILETYPE_PEM);
  c = mem_end(cc, &down, &up);
  s = mem_end(sc, &up, &down);
  for (int i = 0; i < 10; i++) {
    wolfSSL_connect(c);
    wolfSSL_accept(s);
  }
  wolfSSL_write(s, "x", 1);
  wolfSSL_read(c, &byte, 1); /* takes the ticket in */
  return wolfSSL_get1_session(c);
}

/* --- instead of the rules --- */

static WOLFSSL_SESSION *ticket;
static WOLFSSL_CTX *bare;

void hostile_prepare(const char *cert, size_t cert_len, const char *key,
                     size_t key_len);

void hostile_prepare(const char *cert, size_t cert_len, const char *key,
                     size_t key_len) {
  bare = wolfSSL_CTX_new(wolfTLSv1_3_client_method());
  ngtcp2_crypto_wolfssl_configure_client_context(bare);
  wolfSSL_CTX_set1_groups_list(bare, groups);
  wolfSSL_CTX_set_verify(bare, WOLFSSL_VERIFY_NONE, NULL);
  if (!hostile.no_cert) {
    wolfSSL_CTX_use_certificate_chain_buffer(bare, (const uint8_t *)cert,
                                             (long)cert_len);
    wolfSSL_CTX_use_PrivateKey_buffer(bare, (const uint8_t *)key, (long)key_len,
                                      WOLFSSL_FILETYPE_PEM);
  }
  if (hostile.resume) ticket = own_ticket(cert, cert_len, key, key_len);
}

void *hostile_who(void) { return bare; }
void hostile_be(void *who) { bare = who; }

struct WOLFSSL *tls_session(struct tls *t, bool server, const char *alpn,
                            const char *server_name) {
  WOLFSSL *ssl;
  char list[64];

  if (server) return honest_session(t, true, alpn, server_name);
  ssl = wolfSSL_new(bare);
  wolfSSL_set_quic_transport_version(ssl, QUIC_V1_PARAMS);
  snprintf(list, sizeof(list), "%s", hostile.alpn ? hostile.alpn : alpn);
  if (list[0])
    wolfSSL_UseALPN(ssl, list, (unsigned)strlen(list),
                    WOLFSSL_ALPN_CONTINUE_ON_MISMATCH);
  if (ticket)
    hostile.offered = wolfSSL_set_session(ssl, ticket) == WOLFSSL_SUCCESS;
  wolfSSL_set_connect_state(ssl);
  return ssl;
}

int tls_peer(struct WOLFSSL *ssl, const char *alpn, struct identity *id,
             enum reason *why) {
  if (wolfSSL_is_server(ssl)) return honest_peer(ssl, alpn, id, why);
  memset(id, 0, sizeof(*id));
  *why = REASON_BAD_CERTIFICATE;
  return peer_identity(ssl, id) < 0 ? ZTNA_EREFUSED : 0;
}
