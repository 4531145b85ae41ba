/* enroll_ca.c - see enroll_ca.h. */
#include "enroll_ca.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "applet.h"
#include "host/file.h"
#include "part/token.h"

enum {
  FILE_MAX = 1 << 20,
  NAME_ROOM = 4096,
  BACK_DATE = 300, /* the other machine's clock may be behind */
  WEEK = 7 * 86400,
};

void enroll_ca_done(struct enroll_ca *a) {
  free(a->cert);
  if (a->key) file_wipe(a->key, a->key_len);
  free(a->key);
  *a = (struct enroll_ca){0};
}

static int wrong(const char *source, const char *file, const char *what,
                 const char *more) {
  fprintf(stderr, "%s: enroll.ca_dir: %s: %s%s\n", source, file, what, more);
  return EXIT_CONFIG;
}

static int load_key(struct enroll_ca *a, const char *dir, const char *source) {
  char name[NAME_ROOM], why[FILE_WHY];
  snprintf(name, sizeof(name), "%s/ca.key", dir);
  int mode = file_mode(name);
  if (mode > 0 && (mode & 077))
    return wrong(source, name, "others can read it; run: chmod 600 ", name);
  if (file_read(name, FILE_MAX, &a->key, &a->key_len, why) == 0)
    return EXIT_DONE;
  return wrong(source, name, why, "");
}

static int judge(struct enroll_ca *a, const struct enroll_config *c,
                 const char *source, const char *file) {
  static const char end[] = "-----END CERTIFICATE-----";
  uint8_t der[CERT_DER_MAX];
  const char *own = c->trust_domain;
  int n = cert_pem_to_der(a->cert, a->cert_len, der, sizeof(der));
  if (n < 0 || cert_read_ca(&a->ca, der, (size_t)n) < 0)
    return wrong(source, file, "holds no CA's certificate in PEM form", "");
  a->first_len = (size_t)(strstr(a->cert, end) - a->cert) + strlen(end);
  if (*a->ca.trust_domain && own && strcmp(a->ca.trust_domain, own) != 0)
    return wrong(source, file, "is for another trust domain than ", own);
  if (!own) own = a->ca.trust_domain;
  if (!*own)
    return wrong(source, file, "does not say its trust domain; ",
                 "set enroll.trust_domain");
  snprintf(a->trust_domain, sizeof(a->trust_domain), "%s", own);
  return EXIT_DONE;
}

int enroll_ca_load(struct enroll_ca *a, const struct enroll_config *c,
                   const char *source, bool with_key) {
  char name[NAME_ROOM], why[FILE_WHY];
  *a = (struct enroll_ca){0};
  snprintf(name, sizeof(name), "%s/ca.pem", c->ca_dir);
  if (file_read(name, FILE_MAX, &a->cert, &a->cert_len, why) < 0)
    return wrong(source, name, why, "; `ztna cert init` makes one");
  int code = judge(a, c, source, name);
  return code || !with_key ? code : load_key(a, c->ca_dir, source);
}

/* --- the service's own certificate */

/* Of the server's name, whatever a name may not have left out. */
static void host_of(const char *server, char *host, size_t room) {
  const char *end = strrchr(server, ':');
  size_t n = 0;
  for (; server < end && n + 1 < room; server++)
    if (*server != '[' && *server != ']')
      host[n++] = *server == ':' ? '-' : *server;
  host[n] = 0;
}

static int64_t earlier(int64_t a, int64_t b) { return a < b ? a : b; }

int enroll_ca_own(const struct enroll_ca *a, const struct enroll_config *c,
                  int64_t now, struct sbuf *cert, struct sbuf *key) {
  char host[128], uri[IDENTITY_SPIFFE_MAX + 1];
  const char *dns = host;
  struct ztna_addr ip;
  bool is_ip = ztna_addr_parse(&ip, c->server) == 0;
  struct cert_spec s = {.spiffe = uri,
                        .dns = &dns,
                        .n_dns = !is_ip,
                        .ips = &ip,
                        .n_ips = is_ip,
                        .not_before = now - BACK_DATE,
                        .not_after = earlier(now + WEEK, a->ca.not_after)};
  if (a->ca.not_after <= now) return ZTNA_EREFUSED;
  if (s.not_before < a->ca.not_before) s.not_before = a->ca.not_before;
  ip.port = 0;
  host_of(c->server, host, sizeof(host));
  snprintf(uri, sizeof(uri), "spiffe://%s/enroll/%s", a->trust_domain, host);
  int rc =
      cert_make_leaf(&s, a->cert, a->cert_len, a->key, a->key_len, cert, key);
  if (rc < 0) return rc;
  sbuf_add(cert, a->cert, a->first_len);
  sbuf_add(cert, "\n", 1);
  return cert->failed ? ZTNA_ENOMEM : 0;
}
