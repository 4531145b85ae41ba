/* identity.h - who a certificate says someone is: exactly one SPIFFE URI SAN
 * `spiffe://<trust-domain>/<role>/<name>`, DNS and IP SANs, validity. Read by
 * type out of the DER (wc_ParseCert's list of DNS_entry), because untyped
 * iterators mix e-mail, DNS and URI names. */
#ifndef ZTNA_IDENTITY_H
#define ZTNA_IDENTITY_H

#include <ztna/addr.h>

enum role {
  ROLE_NONE,
  ROLE_RELAY,
  ROLE_CONNECTOR,
  ROLE_AGENT,
  ROLE_ADMIN,
  ROLE_ENROLL, /* the service that holds the CA's key (docs/ENROLL.md) */
};

enum {
  IDENTITY_SPIFFE_MAX = 255,
  IDENTITY_MAX_DNS = 64,
  IDENTITY_MAX_IPS = 16,
  IDENTITY_SERIAL_MAX = 32, /* bytes; RFC 5280, 4.1.2.2 allows 20 */
};

struct identity {
  char spiffe[IDENTITY_SPIFFE_MAX + 1]; /* the whole URI */
  char trust_domain[64];
  char name[128];
  enum role role;
  char **dns; /* as written, NUL terminated, no NUL inside */
  size_t n_dns;
  struct ztna_addr ips[IDENTITY_MAX_IPS]; /* port 0 */
  size_t n_ips;
  int64_t not_before, not_after;            /* seconds since 1970 */
  uint8_t sha256[32];                       /* of the DER */
  char serial[2 * IDENTITY_SERIAL_MAX + 1]; /* hexadecimal, lower case */
};

const char *role_name(enum role r);    /* "relay"; "none" */
enum role role_find(const char *name); /* ROLE_NONE when unknown */

/* Splits a SPIFFE URI into id's spiffe, trust_domain, role, name. Lower-case
 * scheme and trust domain [a-z0-9.-_], name [A-Za-z0-9.-_]+, no query, no
 * empty parts. 0 or ZTNA_EMALFORMED. */
int identity_parse_spiffe(struct identity *id, const char *uri, size_t len);

/* Out of a certificate. 0, ZTNA_EMALFORMED (also: no or several SPIFFE URIs,
 * NUL in a name, too many names) or ZTNA_ENOMEM. *id is done on failure. */
int identity_from_der(struct identity *id, const uint8_t *der, size_t len);
void identity_done(struct identity *id);
int identity_copy(struct identity *to, const struct identity *from);

/* Does a DNS SAN equal host, or an IP SAN the address host is the text of?
 * Case-insensitive, no wildcards. */
bool identity_has_host(const struct identity *id, const char *host);
/* "connector.<service>.ztna" or "agent.<service>.ztna", or "<role>.*.ztna" for
 * any, case-insensitively, by id's own role. A connector must be named. An
 * agent without any such name may ask for every service (policy decides). */
bool identity_serves(const struct identity *id, const char *service);
/* The <service> (or `*`) in the i-th DNS SAN, not terminated; NULL when it is
 * another kind of name. */
const char *identity_service(const struct identity *id, size_t i, size_t *len);
/* "spiffe://example.org/agent/" followed by a glob with `*` (any run of
 * characters): does it match id's SPIFFE URI? */
bool identity_matches(const char *spiffe, const char *pattern);

#endif
