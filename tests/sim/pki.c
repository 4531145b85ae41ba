/* pki.c - a CA and leaves in memory. */
#include "sim/pki.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transport/cert.h"

struct pki {
  char domain[64];
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

struct tls *pki_tls_at(struct pki *p, enum role role, const char *name,
                       const char *const *names, int64_t from, int64_t to) {
  char spiffe[256], text[4][128], why[256];
  const char *dns[4];
  struct ztna_addr ips[4];
  struct cert_spec spec = {.spiffe = spiffe, .dns = dns, .ips = ips,
                           .not_before = from, .not_after = to};
  struct sbuf cert = {0}, key = {0};
  struct tls *t = NULL;

  snprintf(spiffe, sizeof(spiffe), "spiffe://%s/%s/%s", p->domain,
           role_name(role), name);
  for (; names && *names && spec.n_dns + spec.n_ips < 4; names++) {
    if (role == ROLE_RELAY && ztna_addr_parse(&ips[spec.n_ips], *names) == 0) {
      spec.n_ips++;
      continue;
    }
    if (role == ROLE_RELAY)
      snprintf(text[spec.n_dns], sizeof(text[0]), "%s", *names);
    else
      snprintf(text[spec.n_dns], sizeof(text[0]), "%s.%s.ztna",
               role_name(role), *names);
    dns[spec.n_dns] = text[spec.n_dns];
    spec.n_dns++;
  }
  if (cert_make_leaf(&spec, p->ca.s, p->ca.len, p->ca_key.s, p->ca_key.len,
                     &cert, &key) == 0 &&
      tls_new(&t, cert.s, cert.len, key.s, key.len, p->ca.s, p->ca.len, why,
              sizeof(why)) < 0)
    fprintf(stderr, "pki: %s\n", why);
  sbuf_done(&cert);
  sbuf_done(&key);
  return t;
}

struct tls *pki_tls(struct pki *p, enum role role, const char *name,
                    const char *const *names) {
  return pki_tls_at(p, role, name, names, p->now - 3600, p->now + 86400 * 30);
}
