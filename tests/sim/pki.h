/* pki.h - certificates in memory for tests. */
#ifndef ZTNA_TESTS_PKI_H
#define ZTNA_TESTS_PKI_H

#include "base/sbuf.h"
#include "transport/tls.h"

struct pki;

/* now: seconds since 1970. */
struct pki *pki_new(const char *trust_domain, int64_t now);
void pki_free(struct pki *p);
/* role/name, up to three names: service ids for agents and connectors, hosts
 * (DNS names or addresses) for relays. NULL-terminated. */
struct tls *pki_tls(struct pki *p, enum role role, const char *name,
                    const char *const *names);
/* With other validity. */
struct tls *pki_tls_at(struct pki *p, enum role role, const char *name,
                       const char *const *names, int64_t from, int64_t to);
/* Of another trust domain, by the same CA. */
struct tls *pki_tls_of(struct pki *p, const char *trust_domain, enum role role,
                       const char *name);
/* By p's CA, and trusting another CA as well. */
struct tls *pki_tls_trusting(struct pki *p, const struct pki *also,
                             enum role role, const char *name);

/* p's list of revoked certificates, which names these; added to crl, PEM. */
void pki_list(struct pki *p, const struct tls *const *v, size_t n,
              struct sbuf *crl);
/* As pki_tls_trusting, with lists; also may be NULL. */
struct tls *pki_tls_listing(struct pki *p, const struct pki *also,
                            enum role role, const char *name,
                            const struct sbuf *crl);

struct pki_pem {
  struct sbuf cert, key, ca;
};

/* As pki_tls, before it is read: what a program finds in its files. */
void pki_pem(struct pki *p, enum role role, const char *name,
             const char *const *names, struct pki_pem *to);
void pki_pem_at(struct pki *p, enum role role, const char *name,
                const char *const *names, int64_t from, int64_t to,
                struct pki_pem *into);
void pki_pem_done(struct pki_pem *m);
/* Lent. */
struct ztna_identity pki_identity(const struct pki_pem *m);
/* The next list names its certificate, too; 8 at most. */
void pki_revoke(struct pki *p, const struct pki_pem *m);
/* All that were revoked, PEM; added to crl. */
void pki_crl(struct pki *p, struct sbuf *crl);

#endif
