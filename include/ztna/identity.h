/* identity.h - what a program proves who it is by, and whom it trusts. */
#ifndef ZTNA_IDENTITY_FILES_H
#define ZTNA_IDENTITY_FILES_H

#include <stddef.h>

/* PEM, all lent; crl may be one DER list instead. */
struct ztna_identity {
  const char *cert; /* own, intermediates behind the leaf */
  size_t cert_len;
  const char *key;
  size_t key_len;
  const char *ca; /* one or several, also while one follows another */
  size_t ca_len;
  const char *crl; /* lists of revoked certificates of those CAs (RFC 5280, 5);
                      NULL: none is consulted */
  size_t crl_len;
};

#endif
