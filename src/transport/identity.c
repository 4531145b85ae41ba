#include "transport/identity.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/error-crypt.h>
#include <wolfssl/wolfcrypt/sha256.h>

#include <ztna/err.h>

#include "base/glob.h"
#include "base/hex.h"
#include "transport/cert.h"

static const char *const role_names[] = {
    [ROLE_NONE] = "none",   [ROLE_RELAY] = "relay",
    [ROLE_AGENT] = "agent", [ROLE_CONNECTOR] = "connector",
    [ROLE_ADMIN] = "admin", [ROLE_ENROLL] = "enroll",
};

const char *role_name(enum role r) {
  if (r < ROLE_NONE || r > ROLE_ENROLL) r = ROLE_NONE;
  return role_names[r];
}

enum role role_find(const char *name) {
  for (int r = ROLE_RELAY; r <= ROLE_ENROLL; r++)
    if (strcmp(role_names[r], name) == 0) return (enum role)r;
  return ROLE_NONE;
}

/* --- SPIFFE URIs --- */

static const char domain_chars[] = "abcdefghijklmnopqrstuvwxyz0123456789.-_";
static const char name_chars[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "abcdefghijklmnopqrstuvwxyz0123456789.-_";

/* Copies the part of *text up to `end` (or the end of the text) when it is not
 * empty, fits, and has only chars in it. */
static bool take_part(char *to, size_t room, const char **text, char end,
                      const char *chars) {
  size_t n = strspn(*text, chars);
  if (n == 0 || n >= room || (*text)[n] != end) return false;
  memcpy(to, *text, n);
  to[n] = 0;
  *text += n + (end != 0);
  return true;
}

int identity_parse_spiffe(struct identity *id, const char *uri, size_t len) {
  static const char scheme[] = "spiffe://";
  char role[16];
  if (len > IDENTITY_SPIFFE_MAX || memchr(uri, 0, len)) return ZTNA_EMALFORMED;
  memcpy(id->spiffe, uri, len);
  id->spiffe[len] = 0;
  const char *s = id->spiffe;
  if (strncmp(s, scheme, sizeof(scheme) - 1) != 0) return ZTNA_EMALFORMED;
  s += sizeof(scheme) - 1;
  if (!take_part(id->trust_domain, sizeof(id->trust_domain), &s, '/',
                 domain_chars) ||
      !take_part(role, sizeof(role), &s, '/', domain_chars) ||
      !take_part(id->name, sizeof(id->name), &s, 0, name_chars))
    return ZTNA_EMALFORMED;
  /* SPIFFE allows no relative path segments. */
  if (strcmp(id->name, ".") == 0 || strcmp(id->name, "..") == 0)
    return ZTNA_EMALFORMED;
  id->role = role_find(role);
  return id->role == ROLE_NONE ? ZTNA_EMALFORMED : 0;
}

/* --- certificates --- */

static int add_dns(struct identity *id, const char *name, size_t len) {
  if (len == 0 || id->n_dns == IDENTITY_MAX_DNS) return ZTNA_EMALFORMED;
  /* Names go to logs and reports: nothing that a terminal would act on. */
  for (size_t i = 0; i < len; i++)
    if (name[i] <= ' ' || name[i] > '~') return ZTNA_EMALFORMED;
  if (!id->dns && !(id->dns = calloc(IDENTITY_MAX_DNS, sizeof(*id->dns))))
    return ZTNA_ENOMEM;
  char *copy = strndup(name, len);
  if (!copy) return ZTNA_ENOMEM;
  id->dns[id->n_dns++] = copy;
  return 0;
}

static int add_ip(struct identity *id, const void *ip, size_t len) {
  if (id->n_ips == IDENTITY_MAX_IPS) return ZTNA_EMALFORMED;
  if (len != 4 && len != 16) return ZTNA_EMALFORMED;
  id->ips[id->n_ips++] =
      len == 4 ? ztna_addr_v4(ip, 0) : ztna_addr_v6(ip, 0, 0);
  return 0;
}

/* One subject alternative name. A second URI is refused whatever it says
 * (SPIFFE X509-SVID, 2): which one is meant must not depend on who reads. */
static int add_name(struct identity *id, const DNS_entry *e) {
  size_t len = (size_t)e->len;
  if (e->len < 0) return ZTNA_EMALFORMED;
  switch (e->type) {
  case ASN_URI_TYPE:
    if (id->spiffe[0]) return ZTNA_EMALFORMED;
    return identity_parse_spiffe(id, e->name, len);
  case ASN_DNS_TYPE:
    return add_dns(id, e->name, len);
  case ASN_IP_TYPE:
    return add_ip(id, e->name, len);
  default:
    return 0;
  }
}

static int read_cert(struct identity *id, const DecodedCert *cert) {
  int rc;
  /* SPIFFE X509-SVID, 4.1: who signs others is nobody itself. */
  if (cert->isCA) return ZTNA_EMALFORMED;
  for (const DNS_entry *e = cert->altNames; e; e = e->next)
    if ((rc = add_name(id, e)) < 0) return rc;
  if (id->role == ROLE_NONE) return ZTNA_EMALFORMED;
  if (cert->serialSz < 0 || cert->serialSz > IDENTITY_SERIAL_MAX)
    return ZTNA_EMALFORMED;
  hex_print(cert->serial, (size_t)cert->serialSz, id->serial);
  rc = cert_read_time(&id->not_before, cert->beforeDate, cert->beforeDateLen);
  if (rc < 0) return rc;
  return cert_read_time(&id->not_after, cert->afterDate, cert->afterDateLen);
}

int identity_from_der(struct identity *id, const uint8_t *der, size_t len) {
  DecodedCert cert;
  int rc;
  memset(id, 0, sizeof(*id));
  if (len == 0 || len > INT32_MAX) return ZTNA_EMALFORMED;
  wc_InitDecodedCert(&cert, der, (word32)len, NULL);
  rc = wc_ParseCert(&cert, CERT_TYPE, NO_VERIFY, NULL);
  if (rc == 0 && cert.srcIdx != len) rc = ASN_PARSE_E;
  if (rc == 0)
    rc = read_cert(id, &cert);
  else
    rc = rc == MEMORY_E ? ZTNA_ENOMEM : ZTNA_EMALFORMED;
  wc_FreeDecodedCert(&cert);
  if (rc == 0 && wc_Sha256Hash(der, (word32)len, id->sha256) != 0)
    rc = ZTNA_ENOMEM;
  if (rc < 0) identity_done(id);
  return rc;
}

void identity_done(struct identity *id) {
  for (size_t i = 0; i < id->n_dns; i++) free(id->dns[i]);
  free(id->dns);
  memset(id, 0, sizeof(*id));
}

int identity_copy(struct identity *to, const struct identity *from) {
  int rc;
  *to = *from;
  to->dns = NULL;
  to->n_dns = 0;
  for (size_t i = 0; i < from->n_dns; i++) {
    if ((rc = add_dns(to, from->dns[i], strlen(from->dns[i]))) < 0) {
      identity_done(to);
      return rc;
    }
  }
  return 0;
}

/* --- questions --- */

static bool has_ip(const struct identity *id, const struct ztna_addr *ip) {
  for (size_t i = 0; i < id->n_ips; i++)
    if (ztna_addr_same_ip(&id->ips[i], ip)) return true;
  return false;
}

bool identity_has_host(const struct identity *id, const char *host) {
  struct ztna_addr ip;
  /* An address is never looked for among DNS names. */
  if (ztna_addr_parse(&ip, host) == 0) return ip.port == 0 && has_ip(id, &ip);
  for (size_t i = 0; i < id->n_dns; i++)
    if (strcasecmp(id->dns[i], host) == 0) return true;
  return false;
}

const char *identity_service(const struct identity *id, size_t i, size_t *len) {
  static const char tail[] = ".ztna";
  const char *role = role_name(id->role), *dns = id->dns[i];
  size_t head = strlen(role), n = strlen(dns);
  if (n < head + 1 + sizeof(tail)) return NULL;
  if (strncasecmp(dns, role, head) != 0 || dns[head] != '.') return NULL;
  if (strcasecmp(dns + n - (sizeof(tail) - 1), tail) != 0) return NULL;
  *len = n - head - 1 - (sizeof(tail) - 1);
  return dns + head + 1;
}

bool identity_serves(const struct identity *id, const char *service) {
  bool named = false;
  size_t len = 0, want = strlen(service);
  if (id->role != ROLE_CONNECTOR && id->role != ROLE_AGENT) return false;
  for (size_t i = 0; i < id->n_dns; i++) {
    const char *s = identity_service(id, i, &len);
    if (!s) continue;
    named = true;
    if (len == 1 && *s == '*') return true;
    if (len == want && strncasecmp(s, service, len) == 0) return true;
  }
  return id->role == ROLE_AGENT && !named;
}

bool identity_matches(const char *spiffe, const char *pattern) {
  return glob_matches(pattern, spiffe);
}
