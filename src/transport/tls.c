#include "transport/tls.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/quic.h>
#include <wolfssl/error-ssl.h>
#include <wolfssl/wolfcrypt/cpuid.h>
#include <wolfssl/wolfcrypt/error-crypt.h>
#include <wolfssl/wolfcrypt/random.h>

#include <ngtcp2/ngtcp2_crypto_wolfssl.h>

#include <ztna/err.h>

#include "transport/cert.h"

enum {
  CHAIN_MAX = 8,        /* intermediates behind a leaf */
  QUIC_V1_PARAMS = 0x39 /* RFC 9001, 8.2 */
};

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

/* --- own certificate, key and CA --- */

struct tls {
  struct identity id;
  WOLFSSL_CTX *server, *client;
};

/* What tls_new is given, while it works. */
struct pems {
  const struct ztna_identity *own;
  char *why;
  size_t room;
};

static int wrong(const struct pems *p, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static int wrong(const struct pems *p, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  if (p->room > 0) vsnprintf(p->why, p->room, fmt, ap);
  va_end(ap);
  return ZTNA_ETLS;
}

/* Trusts every certificate of the CA file. One that is out of date is left out
 * while another is good, so that CAs can be rotated. wolfSSL itself would take
 * a leaf for a CA here. */
static int trust_ca(const struct pems *p, WOLFSSL_CERT_MANAGER *cm,
                    uint8_t *der) {
  const char *at = p->own->ca;
  size_t left = p->own->ca_len;
  int n, n_good = 0, rc = 0;
  char text[128];
  while ((n = cert_pem_next(&at, &left, der, CERT_DER_MAX)) > 0) {
    if (!cert_is_ca(der, (size_t)n))
      return wrong(p, "ca: holds a certificate that is not a CA's");
    int r = wolfSSL_CertManagerLoadCABuffer(cm, der, n, WOLFSSL_FILETYPE_ASN1);
    if (r == WOLFSSL_SUCCESS)
      n_good++;
    else
      rc = r;
  }
  if (n != ZTNA_ENOENT) return wrong(p, "ca: holds a damaged certificate");
  if (n_good > 0) return 0;
  if (rc == 0) return wrong(p, "ca: holds no certificate in PEM form");
  if (rc == ASN_AFTER_DATE_E) return wrong(p, "ca: has expired");
  if (rc == ASN_BEFORE_DATE_E)
    return wrong(p, "ca: is not valid yet; is this machine's clock right?");
  return wrong(p, "ca: unusable: %s", tls_error_text(rc, text, sizeof(text)));
}

/* The i-th certificate of the own chain; 0 is the leaf. */
static int chain_der(const struct pems *p, size_t i, uint8_t *der) {
  const char *at = p->own->cert;
  size_t left = p->own->cert_len;
  int n;
  do {
    n = cert_pem_next(&at, &left, der, CERT_DER_MAX);
  } while (n > 0 && i-- > 0);
  return n;
}

/* Intermediates from the CA's end, each signed by what is trusted so far; the
 * leaf last. The leaf's dates are the peers' to judge: a clock that is wrong
 * at boot must not keep a program from starting. */
static int check_chain(const struct pems *p, WOLFSSL_CERT_MANAGER *cm,
                       uint8_t *der) {
  char text[128];
  size_t n_certs = 0;
  int n;
  while (n_certs < CHAIN_MAX + 1 && chain_der(p, n_certs, der) > 0) n_certs++;
  for (size_t i = n_certs; i-- > 0;) {
    n = chain_der(p, i, der);
    int rc = wolfSSL_CertManagerVerifyBuffer(cm, der, n, WOLFSSL_FILETYPE_ASN1);
    bool late = rc == ASN_AFTER_DATE_E || rc == ASN_BEFORE_DATE_E;
    if (rc == ASN_NO_SIGNER_E || rc == ASN_SELF_SIGNED_E)
      return wrong(p, "cert: no certificate in ca has signed it");
    if (rc != WOLFSSL_SUCCESS && !(late && i == 0))
      return wrong(p, "cert: certificate %zu: %s", i + 1,
                   tls_error_text(rc, text, sizeof(text)));
    if (i > 0 && cert_is_ca(der, (size_t)n))
      wolfSSL_CertManagerLoadCABuffer(cm, der, n, WOLFSSL_FILETYPE_ASN1);
  }
  return 0;
}

static int read_own(struct tls *t, const struct pems *p, uint8_t *der) {
  int n = chain_der(p, 0, der);
  if (n == ZTNA_ENOENT)
    return wrong(p, "cert: holds no certificate in PEM form");
  if (n < 0) return wrong(p, "cert: holds a damaged certificate");
  if (identity_from_der(&t->id, der, (size_t)n) < 0)
    return wrong(p, "cert: does not name one ztna identity "
                    "(spiffe://<trust-domain>/<role>/<name>)");
  WOLFSSL_CERT_MANAGER *cm = wolfSSL_CertManagerNew();
  if (!cm) return wrong(p, "no memory");
  int rc = trust_ca(p, cm, der);
  if (rc == 0) rc = check_chain(p, cm, der);
  wolfSSL_CertManagerFree(cm);
  return rc;
}

static int load_own(const struct pems *p, WOLFSSL_CTX *ctx) {
  char text[128];
  int rc = wolfSSL_CTX_use_certificate_chain_buffer(
      ctx, (const unsigned char *)p->own->cert, (long)p->own->cert_len);
  if (rc != WOLFSSL_SUCCESS)
    return wrong(p, "cert: %s", tls_error_text(rc, text, sizeof(text)));
  rc = wolfSSL_CTX_use_PrivateKey_buffer(
      ctx, (const unsigned char *)p->own->key, (long)p->own->key_len,
      WOLFSSL_FILETYPE_PEM);
  if (rc != WOLFSSL_SUCCESS)
    return wrong(p, "key: holds no readable private key in PEM form (%s)",
                 tls_error_text(rc, text, sizeof(text)));
  if (wolfSSL_CTX_check_private_key(ctx) != WOLFSSL_SUCCESS)
    return wrong(p, "key: does not belong to cert");
  return 0;
}

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
      ctx, WOLFSSL_VERIFY_PEER | WOLFSSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
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

/* The server and the client side share nothing: a key is never replaced inside
 * a context that connections use. */
static int make_ctx(WOLFSSL_CTX **out, const struct pems *p, bool server,
                    uint8_t *der) {
  int rc;
  *out = wolfSSL_CTX_new(server ? wolfTLSv1_3_server_method()
                                : wolfTLSv1_3_client_method());
  if (!*out) return wrong(p, "no memory");
  if (set_rules(*out, server) < 0)
    return wrong(p, "this build of wolfSSL lacks a needed feature");
  if ((rc = trust_ca(p, wolfSSL_CTX_GetCertManager(*out), der)) < 0) return rc;
  return load_own(p, *out);
}

int tls_new(struct tls **t, const struct ztna_identity *own, char *why,
            size_t room) {
  const struct pems p = {.own = own, .why = why, .room = room};
  int rc;
  struct tls *n = calloc(1, sizeof(*n));
  uint8_t *der = malloc(CERT_DER_MAX);
  *t = NULL;
  if (!n || !der)
    rc = wrong(&p, "no memory");
  else if ((rc = read_own(n, &p, der)) == 0 &&
           (rc = make_ctx(&n->server, &p, true, der)) == 0 &&
           (rc = make_ctx(&n->client, &p, false, der)) == 0)
    *t = n;
  if (rc < 0) tls_free(n);
  free(der);
  return rc;
}

void tls_free(struct tls *t) {
  if (!t) return;
  if (t->server) wolfSSL_CTX_free(t->server);
  if (t->client) wolfSSL_CTX_free(t->client);
  identity_done(&t->id);
  free(t);
}

const struct identity *tls_identity(const struct tls *t) { return &t->id; }

/* --- one connection --- */

static bool set_name(WOLFSSL *ssl, const char *name) {
  struct ztna_addr ip;
  /* RFC 6066, 3: addresses are not sent as names. */
  if (!name || ztna_addr_parse(&ip, name) == 0) return true;
  return wolfSSL_UseSNI(ssl, WOLFSSL_SNI_HOST_NAME, name,
                        (unsigned short)strlen(name)) == WOLFSSL_SUCCESS;
}

struct WOLFSSL *tls_session(struct tls *t, bool server, const char *alpn,
                            const char *server_name) {
  WOLFSSL *ssl = wolfSSL_new(server ? t->server : t->client);
  char list[64]; /* wolfSSL splits it in place */
  if (!ssl) return NULL;
  snprintf(list, sizeof(list), "%s", alpn);
  wolfSSL_set_quic_transport_version(ssl, QUIC_V1_PARAMS);
  if (wolfSSL_UseALPN(ssl, list, (unsigned)strlen(list),
                      WOLFSSL_ALPN_FAILED_ON_MISMATCH) != WOLFSSL_SUCCESS ||
      (!server && !set_name(ssl, server_name))) {
    wolfSSL_free(ssl);
    return NULL;
  }
  if (server)
    wolfSSL_set_accept_state(ssl);
  else /* the key share of the first group, the hybrid, goes out at once */
    wolfSSL_set_connect_state(ssl);
  return ssl;
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
  if (peer_identity(ssl, id) < 0) return ZTNA_EREFUSED;
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

/* --- why it failed --- */

static enum reason reason_of_error(int err) {
  switch (err) {
  case ASN_BEFORE_DATE_E:
  case ASN_AFTER_DATE_E:
    return REASON_CERTIFICATE_EXPIRED;
  case CRL_CERT_REVOKED:
  case OCSP_CERT_REVOKED:
    return REASON_REVOKED;
  case ASN_NO_SIGNER_E:
  case ASN_SELF_SIGNED_E:
  case ASN_SIG_CONFIRM_E:
  case ASN_SIG_HASH_E:
  case ASN_SIG_OID_E:
  case ASN_PARSE_E:
  case ASN_CRIT_EXT_E:
  case ASN_ALT_NAME_E:
  case ASN_NAME_INVALID_E:
  case ASN_PATHLEN_INV_E:
  case ASN_PATHLEN_SIZE_E:
  case CRL_MISSING:
  case CRL_CERT_DATE_ERR:
  case KEYUSAGE_E:
  case EXTKEYUSAGE_E:
  case NO_PEER_CERT:
  case NO_PEER_VERIFY:
  case VERIFY_CERT_ERROR:
  case VERIFY_SIGN_ERROR:
  case SIG_VERIFY_E:
  case ECC_KEY_SIZE_E:
  case RSA_KEY_SIZE_E:
  case ECC_PEERKEY_ERROR:
  case PEER_KEY_ERROR:
  case MAX_CHAIN_ERROR:
  case BAD_CERTIFICATE_STATUS_ERROR:
    return REASON_BAD_CERTIFICATE;
  case UNKNOWN_ALPN_PROTOCOL_NAME_E:
  case VERSION_ERROR:
  case MATCH_SUITE_ERROR:
  case UNSUPPORTED_SUITE:
    return REASON_UNSUPPORTED_VERSION;
  case MEMORY_E:
  case MEMORY_ERROR:
  case RNG_FAILURE_E:
    return REASON_INTERNAL;
  default:
    return REASON_NONE;
  }
}

/* RFC 8446, 6.2 */
static enum reason reason_of_alert(int alert) {
  switch (alert) {
  case bad_certificate:
  case unsupported_certificate:
  case certificate_unknown:
  case unknown_ca:
  case decrypt_error: /* the key is not the certificate's */
  case bad_certificate_status_response:
  case certificate_required:
    return REASON_BAD_CERTIFICATE;
  case access_denied: /* a valid certificate of somebody else */
    return REASON_IDENTITY_MISMATCH;
  case certificate_revoked:
    return REASON_REVOKED;
  case certificate_expired:
    return REASON_CERTIFICATE_EXPIRED;
  case handshake_failure:
  case wolfssl_alert_protocol_version:
  case no_application_protocol:
    return REASON_UNSUPPORTED_VERSION;
  case internal_error:
    return REASON_INTERNAL;
  default:
    return REASON_MALFORMED;
  }
}

enum reason tls_reason(int wolfssl_error, int alert) {
  enum reason r = reason_of_error(wolfssl_error);
  return r != REASON_NONE ? r : reason_of_alert(alert);
}

int tls_alert(enum reason why) {
  switch (why) {
  case REASON_IDENTITY_MISMATCH:
    return access_denied;
  case REASON_CERTIFICATE_EXPIRED:
    return certificate_expired;
  case REASON_UNSUPPORTED_VERSION:
    return no_application_protocol;
  case REASON_BAD_CERTIFICATE:
    return bad_certificate;
  default:
    return internal_error;
  }
}

static const char *words_of(int err) {
  switch (err) {
  case ASN_NO_SIGNER_E:
  case ASN_SELF_SIGNED_E:
    return "no trusted CA has signed it";
  case ASN_AFTER_DATE_E:
    return "it has expired";
  case ASN_BEFORE_DATE_E:
    return "it is not valid yet";
  case NO_PEER_CERT:
    return "there is none";
  case UNKNOWN_ALPN_PROTOCOL_NAME_E:
    return "no common application protocol";
  default:
    return wolfSSL_ERR_reason_error_string((unsigned long)(long)err);
  }
}

const char *tls_error_text(int wolfssl_error, char *buf, size_t room) {
  const char *text = words_of(wolfssl_error);
  snprintf(buf, room, "%s (wolfSSL %d)", text ? text : "TLS error",
           wolfssl_error);
  return buf;
}
