/* cert_make.c - `ztna cert init` and `issue`: a certificate authority in a
 * directory, and certificates that it signs. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cert.h"
#include "host/file.h"

enum {
  CA_DAYS = 3650,
  LEAF_DAYS = 365,
  BACK_DATE = 300, /* the other machine's clock may be behind */
};

/* --- files */

static int write_all(int fd, const char *bytes, size_t len) {
  while (len > 0) {
    ssize_t n = write(fd, bytes, len);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return -1;
    bytes += n;
    len -= (size_t)n;
  }
  return fsync(fd);
}

/* A file that was not there before, whole or not at all. */
static int write_new(const char *verb, const char *name, mode_t mode,
                     const struct sbuf *b) {
  int fd =
      open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
  if (fd < 0 && errno == EEXIST)
    return cert_say(
        EXIT_FAILED, verb,
        "%s exists and is never overwritten; remove it first, or use "
        "another --dir or --name",
        name);
  if (fd < 0)
    return cert_say(EXIT_FAILED, verb, "%s: %s", name, strerror(errno));
  int bad = write_all(fd, b->s, b->len) < 0 ? errno : 0;
  if (close(fd) < 0 && !bad) bad = errno;
  if (!bad) return EXIT_DONE;
  unlink(name);
  return cert_say(EXIT_FAILED, verb, "%s: %s", name, strerror(bad));
}

/* A key and its certificate: both or none. */
struct pair {
  char cert_file[CERT_NAME_MAX], key_file[CERT_NAME_MAX];
  struct sbuf cert, key;
};

static int pair_name(struct pair *p, const char *verb, const char *dir,
                     const char *stem) {
  int n = snprintf(p->cert_file, sizeof(p->cert_file), "%s/%s.pem", dir, stem);
  snprintf(p->key_file, sizeof(p->key_file), "%s/%s.key", dir, stem);
  if (n < 0 || (size_t)n >= sizeof(p->cert_file))
    return cert_say(EXIT_USAGE, verb, "the name of --dir is too long");
  const char *there = access(p->key_file, F_OK) == 0    ? p->key_file
                      : access(p->cert_file, F_OK) == 0 ? p->cert_file
                                                        : NULL;
  if (!there) return EXIT_DONE;
  return cert_say(EXIT_FAILED, verb,
                  "%s exists and is never overwritten; remove it first, or use "
                  "another --dir or --name",
                  there);
}

static int pair_write(const struct pair *p, const char *verb) {
  int code = write_new(verb, p->key_file, 0600, &p->key);
  if (code) return code;
  code = write_new(verb, p->cert_file, 0644, &p->cert);
  if (code) unlink(p->key_file);
  return code;
}

static void pair_done(struct pair *p) {
  sbuf_done(&p->cert);
  cert_forget(&p->key);
}

/* --- init */

static int make_dir(const char *dir) {
  if (mkdir(dir, 0700) == 0 || errno == EEXIST) return EXIT_DONE;
  return cert_say(EXIT_FAILED, "init", "%s: %s", dir, strerror(errno));
}

static int init_tell(const struct cert_opts *o, const struct pair *p) {
  uint8_t der[CERT_DER_MAX];
  struct cert_ca ca;
  int n = cert_pem_to_der(p->cert.s, p->cert.len, der, sizeof(der));
  if (n < 0 || cert_read_ca(&ca, der, (size_t)n) < 0)
    return cert_say(EXIT_FAILED, "init",
                    "the new certificate cannot be read back");
  printf("Made a certificate authority for %s.\n", o->trust_domain);
  printf("  certificate  %s (every relay, connector and agent gets it)\n"
         "  key          %s (keep it here and secret; only `ztna cert issue` "
         "reads it)\n",
         p->cert_file, p->key_file);
  cert_print_ca(&ca);
  printf("Next: ztna cert issue --dir %s --role relay --name relay-1 "
         "--dns relay.%s\n",
         o->dir, o->trust_domain);
  return EXIT_DONE;
}

int cert_init(const struct cert_opts *o, struct applet_call *c) {
  struct pair p = {0};
  char cn[CERT_CN_MAX + 1];
  int64_t now = cert_now(), days = o->days ? o->days : CA_DAYS;
  if (!o->trust_domain)
    return cert_say(EXIT_USAGE, "init",
                    "--trust-domain is missing; it is what all "
                    "identities begin with, like example.org");
  snprintf(cn, sizeof(cn), CERT_CA_PREFIX "%s", o->trust_domain);
  int code = make_dir(o->dir);
  if (!code) code = pair_name(&p, "init", o->dir, "ca");
  if (code) return code;
  int rc =
      cert_make_ca(cn, now - BACK_DATE, now + days * CERT_DAY, &p.cert, &p.key);
  code = rc < 0 ? cert_say(EXIT_FAILED, "init", "%s", ztna_strerror(rc))
                : pair_write(&p, "init");
  if (!code) code = init_tell(o, &p);
  pair_done(&p);
  return code;
}

/* --- issue */

/* By the CA, and by --trust-domain for CAs that do not say. */
static const char *trust_domain(const struct cert_opts *o,
                                const struct cert_authority *a) {
  const char *own = *a->ca.trust_domain ? a->ca.trust_domain : NULL;
  if (!own && !o->trust_domain) {
    cert_say(EXIT_USAGE, "issue",
             "%s does not say its trust domain; give --trust-domain",
             a->cert_file);
    return NULL;
  }
  if (own && o->trust_domain && strcmp(own, o->trust_domain) != 0) {
    cert_say(EXIT_USAGE, "issue", "%s is for the trust domain %s, not %s",
             a->cert_file, own, o->trust_domain);
    return NULL;
  }
  return own ? own : o->trust_domain;
}

/* What a role needs and what makes no sense for it. */
static int check_wishes(const struct cert_opts *o, enum role role) {
  bool serves = role == ROLE_CONNECTOR || role == ROLE_AGENT;
  if (role == ROLE_RELAY && o->n_dns + o->n_ip == 0)
    return cert_say(
        EXIT_USAGE, "issue",
        "a relay needs --dns or --ip: connectors and agents compare "
        "them with the address they dialled");
  if (role == ROLE_CONNECTOR && o->n_service == 0)
    return cert_say(EXIT_USAGE, "issue",
                    "a connector serves only what its certificate names; add "
                    "--service ID for each service, or --service '*' for any");
  if (o->n_service && !serves)
    return cert_say(EXIT_USAGE, "issue",
                    "--service is for connectors and agents, not for %s %s",
                    role == ROLE_ADMIN ? "an" : "a", role_name(role));
  if (o->n_service + o->n_dns > IDENTITY_MAX_DNS)
    return cert_say(EXIT_USAGE, "issue", "more than %d services and names",
                    IDENTITY_MAX_DNS);
  if (o->n_ip > IDENTITY_MAX_IPS)
    return cert_say(EXIT_USAGE, "issue", "more than %d addresses",
                    IDENTITY_MAX_IPS);
  return EXIT_DONE;
}

/* Never longer than the CA: what outlives its issuer is no use. */
static int set_validity(struct cert_spec *s, const struct cert_opts *o,
                        const struct cert_authority *a) {
  char end[40];
  int64_t now = cert_now(), days = o->days ? o->days : LEAF_DAYS;
  cert_time(a->ca.not_after, false, end, sizeof(end));
  if (a->ca.not_after <= now)
    return cert_say(EXIT_FAILED, "issue",
                    "%s expired on %s; make a new CA in another directory: "
                    "ztna cert init",
                    a->cert_file, end);
  s->not_before = now - BACK_DATE;
  if (s->not_before < a->ca.not_before) s->not_before = a->ca.not_before;
  s->not_after = now + days * CERT_DAY;
  if (s->not_after <= a->ca.not_after) return EXIT_DONE;
  s->not_after = a->ca.not_after;
  return cert_say(EXIT_DONE, "issue",
                  "the CA ends on %s, so this certificate does", end);
}

static int issue_tell(const struct pair *p, const char *stem) {
  uint8_t der[CERT_DER_MAX];
  struct identity id;
  int n = cert_pem_to_der(p->cert.s, p->cert.len, der, sizeof(der));
  if (n < 0 || identity_from_der(&id, der, (size_t)n) < 0)
    return cert_say(EXIT_FAILED, "issue",
                    "the new certificate cannot be read back");
  printf("Made a certificate for %s.\n", id.spiffe);
  printf("  certificate  %s\n  key          %s (secret; mode 0600)\n",
         p->cert_file, p->key_file);
  cert_print_identity(&id);
  if (id.role == ROLE_ADMIN)
    printf("Next: use both with ca.pem when you ask a relay's /v1/admin.\n");
  else
    printf("Next: copy both and ca.pem to the %s's machine and name them in "
           "its configuration:\n"
           "  \"identity\": {\"cert\": \"%s.pem\", \"key\": \"%s.key\", "
           "\"ca\": \"ca.pem\"}\n",
           role_name(id.role), stem, stem);
  identity_done(&id);
  return EXIT_DONE;
}

static int issue_make(const struct cert_opts *o, const struct cert_authority *a,
                      const char *domain, struct pair *p) {
  char uri[CERT_NAME_MAX], names[IDENTITY_MAX_DNS][96];
  const char *dns[IDENTITY_MAX_DNS];
  struct cert_spec s = {.spiffe = uri, .dns = dns, .ips = o->ip};
  s.n_ips = o->n_ip;
  snprintf(uri, sizeof(uri), "spiffe://%s/%s/%s", domain, o->role, o->name);
  for (size_t i = 0; i < o->n_service; i++) {
    snprintf(names[i], sizeof(names[i]), "%s.%.63s.ztna", o->role,
             o->service[i]);
    dns[s.n_dns++] = names[i];
  }
  for (size_t i = 0; i < o->n_dns; i++) dns[s.n_dns++] = o->dns[i];
  int code = set_validity(&s, o, a);
  if (code) return code;
  int rc = cert_make_leaf(&s, a->cert, a->cert_len, a->key, a->key_len,
                          &p->cert, &p->key);
  if (rc == ZTNA_ETLS) return cert_authority_wrong_key(a, "issue");
  if (rc < 0) return cert_say(EXIT_FAILED, "issue", "%s", ztna_strerror(rc));
  return EXIT_DONE;
}

int cert_issue(const struct cert_opts *o, struct applet_call *c) {
  struct cert_authority a = {0};
  struct pair p = {0};
  char stem[CERT_NAME_MAX / 2];
  const char *domain;
  int code;
  if (!o->role || !o->name)
    return cert_say(EXIT_USAGE, "issue", "--%s is missing",
                    o->role ? "name" : "role");
  if ((code = check_wishes(o, role_find(o->role)))) return code;
  snprintf(stem, sizeof(stem), "%s-%s", o->role, o->name);
  code = cert_authority_load(&a, "issue", o->dir);
  if (!code) code = (domain = trust_domain(o, &a)) ? EXIT_DONE : EXIT_USAGE;
  if (!code) code = pair_name(&p, "issue", o->dir, stem);
  if (!code) code = issue_make(o, &a, domain, &p);
  if (!code) code = pair_write(&p, "issue");
  if (!code) code = issue_tell(&p, stem);
  pair_done(&p);
  cert_authority_done(&a);
  return code;
}
