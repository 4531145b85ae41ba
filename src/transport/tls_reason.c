/* tls_reason.c - why a handshake failed: wolfSSL's errors and TLS alerts as
 * reasons, and reasons as alerts. */
#include "transport/tls.h"

#include <stdio.h>

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/error-ssl.h>
#include <wolfssl/wolfcrypt/error-crypt.h>

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
  case REASON_REVOKED:
    return certificate_revoked;
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
