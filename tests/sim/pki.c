/* pki.c - a CA and leaves in memory. */
#include "sim/pki.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transport/cert.h"

enum { REVOKED_MAX = 8 };

struct pki {
  char domain[64];
  char revoked[REVOKED_MAX][2 * IDENTITY_SERIAL_MAX + 1];
  size_t n_revoked;
  int64_t now;
  struct sbuf ca, ca_key;
};

struct pki *pki_new(const char *trust_domain, int64_t now) {
  struct pki *p = calloc(1, sizeof(*p));

  snprintf(p->domain, sizeof(p->domain), "%s", trust_domain);
  p->now = now;
  if (cert_make_ca("test CA", now - 3600, now + 86400 * 365, &p->ca,
                   &p->ca_key) == 0)
    return p;
  pki_free(p);
  return NULL;
}

void pki_free(struct pki *p) {
  if (!p) return;
  sbuf_done(&p->ca);
  sbuf_done(&p->ca_key);
  free(p);
}

/* What differs between the certificates made here. */
struct wish {
  const char *domain;
  const struct pki *also; /* whose CA is trusted beside the own one */
  const struct sbuf *crl; /* NULL: none */
  int64_t from, to;
};

static void make_pem(struct pki *p, const struct wish *wish, enum role role,
                     const char *name, const char *const *names,
                     struct pki_pem *to) {
  char spiffe[256], text[4][128];
  const char *dns[4];
  struct ztna_addr ips[4];
  struct cert_spec spec = {.spiffe = spiffe,
                           .dns = dns,
                           .ips = ips,
                           .not_before = wish->from,
                           .not_after = wish->to};

  memset(to, 0, sizeof(*to));
  snprintf(spiffe, sizeof(spiffe), "spiffe://%s/%s/%s", wish->domain,
           role_name(role), name);
  for (; names && *names && spec.n_dns + spec.n_ips < 4; names++) {
    if (role == ROLE_RELAY && ztna_addr_parse(&ips[spec.n_ips], *names) == 0) {
      spec.n_ips++;
      continue;
    }
    if (role == ROLE_RELAY)
      snprintf(text[spec.n_dns], sizeof(text[0]), "%s", *names);
    else
      snprintf(text[spec.n_dns], sizeof(text[0]), "%s.%s.ztna", role_name(role),
               *names);
    dns[spec.n_dns] = text[spec.n_dns];
    spec.n_dns++;
  }
  sbuf_add(&to->ca, p->ca.s, p->ca.len);
  if (wish->also) sbuf_add(&to->ca, wish->also->ca.s, wish->also->ca.len);
  if (cert_make_leaf(&spec, p->ca.s, p->ca.len, p->ca_key.s, p->ca_key.len,
                     &to->cert, &to->key) < 0)
    fprintf(stderr, "pki: no certificate for %s\n", spiffe);
}

void pki_pem_done(struct pki_pem *m) {
  sbuf_done(&m->cert);
  sbuf_done(&m->key);
  sbuf_done(&m->ca);
}

struct ztna_identity pki_identity(const struct pki_pem *m) {
  return (struct ztna_identity){.cert = m->cert.s,
                                .cert_len = m->cert.len,
                                .key = m->key.s,
                                .key_len = m->key.len,
                                .ca = m->ca.s,
                                .ca_len = m->ca.len};
}

static struct tls *make(struct pki *p, const struct wish *wish, enum role role,
                        const char *name, const char *const *names) {
  struct tls *t = NULL;
  struct pki_pem m;
  char why[256];

  make_pem(p, wish, role, name, names, &m);
  struct ztna_identity own = pki_identity(&m);
  own.crl = wish->crl ? wish->crl->s : NULL;
  own.crl_len = wish->crl ? wish->crl->len : 0;
  if (tls_new(&t, &own, why, sizeof(why)) < 0)
    fprintf(stderr, "pki: %s\n", why);
  pki_pem_done(&m);
  return t;
}

void pki_pem(struct pki *p, enum role role, const char *name,
             const char *const *names, struct pki_pem *to) {
  pki_pem_at(p, role, name, names, p->now - 3600, p->now + 86400 * 30, to);
}

void pki_pem_at(struct pki *p, enum role role, const char *name,
                const char *const *names, int64_t from, int64_t to,
                struct pki_pem *into) {
  struct wish w = {.domain = p->domain, .from = from, .to = to};

  make_pem(p, &w, role, name, names, into);
}

struct tls *pki_tls_at(struct pki *p, enum role role, const char *name,
                       const char *const *names, int64_t from, int64_t to) {
  struct wish w = {.domain = p->domain, .from = from, .to = to};

  return make(p, &w, role, name, names);
}

struct tls *pki_tls_of(struct pki *p, const char *trust_domain, enum role role,
                       const char *name) {
  struct wish w = {
      .domain = trust_domain, .from = p->now - 3600, .to = p->now + 86400};

  return make(p, &w, role, name, NULL);
}

struct tls *pki_tls_listing(struct pki *p, const struct pki *also,
                            enum role role, const char *name,
                            const struct sbuf *crl) {
  struct wish w = {.domain = p->domain,
                   .also = also,
                   .crl = crl,
                   .from = p->now - 3600,
                   .to = p->now + 86400};

  return make(p, &w, role, name, NULL);
}

struct tls *pki_tls_trusting(struct pki *p, const struct pki *also,
                             enum role role, const char *name) {
  return pki_tls_listing(p, also, role, name, NULL);
}

static void make_crl(struct pki *p, const struct cert_revoked *v, size_t n,
                     struct sbuf *crl) {
  if (cert_make_crl(v, n, p->now - 3600, p->now + 86400, 1, p->ca.s, p->ca.len,
                    p->ca_key.s, p->ca_key.len, crl) < 0)
    fprintf(stderr, "pki: no list\n");
}

void pki_list(struct pki *p, const struct tls *const *v, size_t n,
              struct sbuf *crl) {
  struct cert_revoked r[REVOKED_MAX];

  if (n > REVOKED_MAX) n = REVOKED_MAX;
  for (size_t i = 0; i < n; i++)
    r[i] = (struct cert_revoked){tls_identity(v[i])->serial, p->now - 60};
  make_crl(p, r, n, crl);
}

void pki_revoke(struct pki *p, const struct pki_pem *m) {
  static uint8_t der[CERT_DER_MAX];
  int n = cert_pem_to_der(m->cert.s, m->cert.len, der, sizeof(der));
  struct identity id;

  if (n < 0 || p->n_revoked == REVOKED_MAX ||
      identity_from_der(&id, der, (size_t)n) < 0) {
    fprintf(stderr, "pki: not revoked\n");
    return;
  }
  strcpy(p->revoked[p->n_revoked++], id.serial);
  identity_done(&id);
}

void pki_crl(struct pki *p, struct sbuf *crl) {
  struct cert_revoked r[REVOKED_MAX];

  for (size_t i = 0; i < p->n_revoked; i++)
    r[i] = (struct cert_revoked){p->revoked[i], p->now - 60};
  make_crl(p, r, p->n_revoked, crl);
}

struct tls *pki_tls(struct pki *p, enum role role, const char *name,
                    const char *const *names) {
  return pki_tls_at(p, role, name, names, p->now - 3600, p->now + 86400 * 30);
}
