/* crl.h - lists of revoked certificates (RFC 5280, 5) as they are consulted.
 *
 * wolfSSL's own engine is not asked, because it cannot give what tls.h
 * promises: a list past its nextUpdate is not looked into at all, and of each
 * issuer's name it keeps one list, so that of two CAs of one name, which is
 * what a change of CAs looks like, one could revoke nobody. It verifies the
 * lists' signatures. */
#ifndef ZTNA_CRL_H
#define ZTNA_CRL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct crl; /* all lists of a file; counted, because handshakes outlive the
               struct tls that they began with */

enum {
  CRL_FILE_MAX = 16 << 20, /* bytes: 300000 certificates in PEM */
  CRL_LISTS_MAX = 64,
};

/* file: as in struct ztna_identity. cas: DER certificates one after another;
 * each list must have been signed by one of them. 0, or a negative value with a
 * sentence in *why, which begins with what is wrong. */
int crl_new(struct crl **c, const char *file, size_t len, const uint8_t *cas,
            size_t cas_len, const char **why);
struct crl *crl_hold(struct crl *c); /* NULL is fine, here and below */
void crl_drop(struct crl *c);

/* By issuer's name and serial number, whatever the key: RFC 5280 knows no other
 * name of a certificate, and a CA may sign its lists with its next key. 1, 0,
 * or ZTNA_EMALFORMED: not a certificate. */
int crl_names(const struct crl *c, const uint8_t *der, size_t len);
int64_t crl_ends(const struct crl *c);
size_t crl_count(const struct crl *c);

#endif
