#include "transport/tls_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <wolfssl/quic.h>
#include <wolfssl/error-ssl.h>
#include <wolfssl/wolfcrypt/cpuid.h>
#include <wolfssl/wolfcrypt/error-crypt.h>
#include <wolfssl/wolfcrypt/random.h>

#include <ngtcp2/ngtcp2_crypto_wolfssl.h>

#include <ztna/err.h>

#include "transport/cert.h"

enum { QUIC_V1_PARAMS = 0x39 /* RFC 9001, 8.2 */ };

static const char groups[] = "X25519MLKEM768:X25519:P-256";
static const char aes_first[] = "TLS13-AES128-GCM-SHA256:"
                                "TLS13-CHACHA20-POLY1305-SHA256:"
                                "TLS13-AES256-GCM-SHA384";
static const char chacha_first[] = "TLS13-CHACHA20-POLY1305-SHA256:"
                                   "TLS13-AES128-GCM-SHA256:"
                                   "TLS13-AES256-GCM-SHA384";

/* --- the process: wolfSSL takes its randomness and its clock from us --- */

static const struct rng *seed_rng;
static int64_t (*clock_now)(void);

static int seed_from_rng(OS_Seed *os, byte *seed, word32 len) {
  rng_fill(seed_rng, seed, len);
  return 0;
}

static time_t clock_time(time_t *t) {
  time_t now = (time_t)clock_now();
  if (t) *t = now;
  return now;
}

int tls_global_init(const struct rng *rng, int64_t (*now_unix)(void)) {
  seed_rng = rng;
  clock_now = now_unix;
  if (wolfSSL_Init() != WOLFSSL_SUCCESS) return ZTNA_ETLS;
  /* wolfSSL_Init sets its own seed source and fills the global generator from
   * it: ours comes after, and the generator is made again. */
  wc_SetSeed_Cb(seed_from_rng);
  wc_SetTimeCb(now_unix ? clock_time : NULL);
  wolfSSL_RAND_Cleanup();
  if (wolfSSL_RAND_seed(NULL, 0) != WOLFSSL_SUCCESS) return ZTNA_ETLS;
  return 0;
}

int64_t tls_now(void) { return wc_Time(NULL); }

void tls_global_done(void) {
  wolfSSL_Cleanup();
  wc_SetTimeCb(NULL);
}

/* --- contexts --- */

/* Whether wolfSSL has AES instructions to use. */
static bool aes_in_hardware(void) {
#if defined(__x86_64__) || defined(__i386__)
  return __builtin_cpu_supports("aes");
#elif defined(HAVE_CPUID_AARCH64)
  return IS_AARCH64_AES(cpuid_get_flags());
#else
  return false;
#endif
}

static int set_rules(WOLFSSL_CTX *ctx, bool server) {
  bool aes = aes_in_hardware();
  if ((server ? ngtcp2_crypto_wolfssl_configure_server_context(ctx)
              : ngtcp2_crypto_wolfssl_configure_client_context(ctx)) != 0)
    return ZTNA_ETLS;
  wolfSSL_CTX_set_verify(
      ctx, WOLFSSL_VERIFY_PEER | WOLFSSL_VERIFY_FAIL_IF_NO_PEER_CERT,
      tls_on_verify);
  wolfSSL_CTX_set_session_cache_mode(ctx, WOLFSSL_SESS_CACHE_OFF);
  if (server && wolfSSL_CTX_no_ticket_TLSv13(ctx) != 0) return ZTNA_ETLS;
  /* AES is chosen only when both ends have it in hardware: a server that has
   * follows the client's order, one that has not insists on its own. */
  if (server && aes) wolfSSL_CTX_UseClientSuites(ctx);
  if (wolfSSL_CTX_set_cipher_list(ctx, aes ? aes_first : chacha_first) !=
      WOLFSSL_SUCCESS)
    return ZTNA_ETLS;
  if (wolfSSL_CTX_set1_groups_list(ctx, groups) != WOLFSSL_SUCCESS)
    return ZTNA_ETLS;
  return 0;
}

int tls_make_ctx(WOLFSSL_CTX **out, const struct tls *t,
                 const struct tls_files *f, bool server) {
  int rc;
  *out = wolfSSL_CTX_new(server ? wolfTLSv1_3_server_method()
                                : wolfTLSv1_3_client_method());
  if (!*out) return tls_wrong(f, "no memory");
  if (set_rules(*out, server) < 0)
    return tls_wrong(f, "this build of wolfSSL lacks a needed feature");
  rc = tls_trust(t, wolfSSL_CTX_GetCertManager(*out));
  if (rc < 0) return tls_wrong(f, "no memory");
  return f->own->cert ? tls_load_own(f, *out) : 0;
}

int tls_make(struct tls **t, struct tls_files *f, tls_fill *fill) {
  struct tls *n = calloc(1, sizeof(*n));
  f->der = malloc(CERT_DER_MAX);
  *t = NULL;
  int rc = n && f->der ? fill(n, f) : tls_wrong(f, "no memory");
  if (rc < 0)
    tls_free(n);
  else
    *t = n;
  free(f->der);
  return rc;
}

/* The server and the client side share nothing: a key is never replaced inside
 * a context that connections use. */
static int fill_own(struct tls *t, const struct tls_files *f) {
  int rc = tls_read_files(t, f);
  if (rc == 0) rc = tls_make_ctx(&t->server, t, f, true);
  if (rc == 0) rc = tls_make_ctx(&t->client, t, f, false);
  return rc;
}

int tls_new(struct tls **t, const struct ztna_identity *own, char *why,
            size_t room) {
  struct tls_files f = {.own = own, .why = why, .room = room};
  return tls_make(t, &f, fill_own);
}

void tls_free(struct tls *t) {
  if (!t) return;
  if (t->server) wolfSSL_CTX_free(t->server);
  if (t->client) wolfSSL_CTX_free(t->client);
  if (t->cm) wolfSSL_CertManagerFree(t->cm);
  sbuf_done(&t->ca);
  crl_drop(t->crl);
  tls_pin_drop(t->pin);
  identity_done(&t->id);
  free(t);
}

const struct identity *tls_identity(const struct tls *t) { return &t->id; }
const uint8_t *tls_trust_id(const struct tls *t) { return t->trust_id; }
int64_t tls_crl_ends(const struct tls *t) { return crl_ends(t->crl); }
size_t tls_crl_count(const struct tls *t) { return crl_count(t->crl); }

/* --- one connection --- */

static bool set_name(WOLFSSL *ssl, const char *name) {
  struct ztna_addr ip;
  /* RFC 6066, 3: addresses are not sent as names. */
  if (!name || ztna_addr_parse(&ip, name) == 0) return true;
  return wolfSSL_UseSNI(ssl, WOLFSSL_SNI_HOST_NAME, name,
                        (unsigned short)strlen(name)) == WOLFSSL_SUCCESS;
}

static bool set_up(WOLFSSL *ssl, const struct tls *t, bool server,
                   const char *alpn, const char *server_name) {
  char list[64]; /* wolfSSL splits it in place */
  struct tls_seen *seen = tls_seen_new(t, server);
  if (!seen) return false;
  if (wolfSSL_set_ex_data(ssl, TLS_SEEN_INDEX, seen) != WOLFSSL_SUCCESS) {
    tls_seen_free(seen);
    return false;
  }
  snprintf(list, sizeof(list), "%s", alpn);
  wolfSSL_set_quic_transport_version(ssl, QUIC_V1_PARAMS);
  return wolfSSL_UseALPN(ssl, list, (unsigned)strlen(list),
                         WOLFSSL_ALPN_FAILED_ON_MISMATCH) == WOLFSSL_SUCCESS &&
         (server || set_name(ssl, server_name));
}

struct WOLFSSL *tls_session(struct tls *t, bool server, const char *alpn,
                            const char *server_name) {
  WOLFSSL_CTX *ctx = server ? t->server : t->client;
  WOLFSSL *ssl = ctx ? wolfSSL_new(ctx) : NULL;
  if (!ssl) return NULL;
  if (!set_up(ssl, t, server, alpn, server_name)) {
    tls_session_free(ssl);
    return NULL;
  }
  if (server)
    wolfSSL_set_accept_state(ssl);
  else /* the key share of the first group, the hybrid, goes out at once */
    wolfSSL_set_connect_state(ssl);
  return ssl;
}

void tls_session_free(struct WOLFSSL *ssl) {
  if (!ssl) return;
  tls_seen_free(wolfSSL_get_ex_data(ssl, TLS_SEEN_INDEX));
  wolfSSL_free(ssl);
}

/* A client that offers no ALPN at all gets past wolfSSL. */
static bool alpn_is(WOLFSSL *ssl, const char *alpn) {
  char *name = NULL;
  word16 len = 0;
  return wolfSSL_ALPN_GetProtocol(ssl, &name, &len) == WOLFSSL_SUCCESS &&
         name && len == strlen(alpn) && memcmp(name, alpn, len) == 0;
}

static int peer_identity(WOLFSSL *ssl, struct identity *id) {
  int len = 0, rc = ZTNA_EREFUSED;
  WOLFSSL_X509 *x = wolfSSL_get_peer_certificate(ssl);
  if (!x) return rc;
  const unsigned char *der = wolfSSL_X509_get_der(x, &len);
  if (der && len > 0) rc = identity_from_der(id, der, (size_t)len);
  wolfSSL_X509_free(x);
  return rc;
}

int tls_peer(struct WOLFSSL *ssl, const char *alpn, struct identity *id,
             enum reason *why) {
  memset(id, 0, sizeof(*id));
  *why = REASON_UNSUPPORTED_VERSION;
  if (!alpn_is(ssl, alpn)) return ZTNA_EREFUSED;
  /* A resumed session was let in by its ticket: no certificate was checked. */
  *why = REASON_BAD_CERTIFICATE;
  if (wolfSSL_session_reused(ssl)) return ZTNA_EREFUSED;
  if (wolfSSL_get_verify_result(ssl) != 0) return ZTNA_EREFUSED;
  if (tls_is_nobody(ssl))
    id->not_after = INT64_MAX;
  else if (peer_identity(ssl, id) < 0)
    return ZTNA_EREFUSED;
  *why = REASON_NONE;
  return 0;
}

const char *tls_group(struct WOLFSSL *ssl) {
  const char *name = wolfSSL_get_curve_name(ssl);
  return name ? name : "none";
}

const char *tls_cipher(struct WOLFSSL *ssl) {
  const char *name = wolfSSL_get_cipher_name(ssl);
  return name ? name : "none";
}
