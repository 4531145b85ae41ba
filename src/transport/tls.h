/* tls.h - certificates and TLS contexts: the home of wolfSSL's TLS side.
 *
 * TLS 1.3 only; groups X25519MLKEM768, X25519, P-256; AES-128-GCM first
 * (ChaCha20 first where AES has no hardware); certificates on both sides,
 * always; tickets and 0-RTT off. Nothing turns verification off. */
#ifndef ZTNA_TLS_H
#define ZTNA_TLS_H

#include <ztna/identity.h>

#include "base/reason.h"
#include "base/rng.h"
#include "base/sbuf.h"
#include "transport/identity.h"

struct tls; /* own certificate, key and CA, with a server and a client context
             */

/* Once per process, before anything else of wolfSSL. rng feeds wolfSSL's DRBG
 * (wc_SetSeed_Cb) and must outlive the process's use of TLS. now_unix, when not
 * NULL, gives wolfSSL its clock (wc_SetTimeCb); the simulator uses it. */
int tls_global_init(const struct rng *rng, int64_t (*now_unix)(void));
void tls_global_done(void);

/* The key must fit the certificate, a CA of ca must have signed it, and it must
 * name an identity. The own certificate's dates are not judged here (peers do;
 * see tls_identity); a CA out of date is left out, and an error when none is
 * left. On failure *why (room bytes) holds a sentence for people that names
 * what is wrong (which of cert, key, ca, crl), and the return is ZTNA_ETLS. The
 * buffers may go afterwards; zeroise the key's. */
int tls_new(struct tls **t, const struct ztna_identity *own, char *why,
            size_t room);
void tls_free(
    struct tls *t); /* connections still using it keep what they need */

/* A client that has no certificate yet (enrolment); servers are verified by ca
 * as always. A server that is to take such clients says so before its first
 * session; tls_peer then gives them an identity of ROLE_NONE that does not run
 * out, and tls_check_chain lets an empty chain pass. Whoever shows a
 * certificate is judged by it as ever. */
int tls_new_nobody(struct tls **t, const char *ca, size_t len, char *why,
                   size_t room);
void tls_admit_nobody(struct tls *t);
/* A client that knows nothing but the SHA-256 of its CA's certificate. Every
 * handshake of it fails; when the server's chain held that certificate, and it
 * is a CA's, tls_found adds it to pem and returns true: with that a client can
 * be made. */
int tls_new_pinned(struct tls **t, const uint8_t ca_sha256[32], char *why,
                   size_t room);
bool tls_found(const struct tls *t, struct sbuf *pem);

/* Lists of revoked certificates: the end of the first one that runs out
 * (nextUpdate, seconds since 1970; INT64_MAX without), and how many
 * certificates they name. A list that ran out still refuses whom it names, and
 * a CA without a list refuses nobody: to lock everybody out because a file was
 * not renewed would be worse; status, log and metrics say so (SECURITY.md). */
int64_t tls_crl_ends(const struct tls *t);
size_t tls_crl_count(const struct tls *t);
/* Would a peer with this chain (DER certificates one after another, the leaf
 * first) be let in by t now? 0, or ZTNA_EREFUSED with *why: revoked,
 * bad-certificate, certificate-expired. */
int tls_check_chain(struct tls *t, const uint8_t *der, size_t len,
                    enum reason *why);
/* The half of it that costs no signature, for a chain that passed with the same
 * CAs: does a list name one of them? */
int tls_check_lists(struct tls *t, const uint8_t *der, size_t len,
                    enum reason *why);
const uint8_t *tls_trust_id(const struct tls *t); /* SHA-256 of the CAs */
const struct identity *tls_identity(const struct tls *t);
/* Seconds since 1970, by the clock that judges certificates. */
int64_t tls_now(void);

/* A WOLFSSL object set up for QUIC v1 (ngtcp2's crypto helper, transport
 * version 0x39), server or client, offering/accepting just this ALPN, with
 * verification on and app data set by the caller. server_name: for SNI, may be
 * NULL. NULL: no memory. */
struct WOLFSSL;
struct WOLFSSL *tls_session(struct tls *t, bool server, const char *alpn,
                            const char *server_name);
void tls_session_free(struct WOLFSSL *ssl); /* NULL is fine */
/* After the handshake: the peer's certificates as tls_check_chain takes them,
 * once, the caller's to free; NULL and 0 when it had none. */
uint8_t *tls_take_chain(struct WOLFSSL *ssl, size_t *len);

/* After the handshake: the peer's identity out of its verified certificate.
 * 0; ZTNA_EREFUSED with *why (no certificate, resumed session, other or no
 * ALPN, unreadable identity). */
int tls_peer(struct WOLFSSL *ssl, const char *alpn, struct identity *id,
             enum reason *why);
/* "X25519MLKEM768" and "TLS13-AES128-GCM-SHA256", for reports; "none" before
 * the handshake. */
const char *tls_group(struct WOLFSSL *ssl);
const char *tls_cipher(struct WOLFSSL *ssl);

/* What this side's own look at the peer's certificates refused (a list names
 * one), which wolfSSL takes for a bad certificate; REASON_NONE: nothing. The
 * alert is then tls_alert's. */
enum reason tls_refusal(struct WOLFSSL *ssl);
/* Why a handshake failed. By wolfSSL's error on the side that refused, or when
 * that is 0 or says nothing, by the TLS alert sent or received. */
enum reason tls_reason(int wolfssl_error, int alert);

/* The alert that says so: of what tls_refusal tells, and of a client that
 * refuses the server's identity after the handshake (in the handshake QUIC
 * hides application errors: RFC 9000, 10.2.3). */
int tls_alert(enum reason why);

/* A wolfSSL error in words, for logs; about certificates the sentence begins
 * with the peer's certificate left out: "no trusted CA has signed it". Returns
 * buf. */
const char *tls_error_text(int wolfssl_error, char *buf, size_t room);

#endif
