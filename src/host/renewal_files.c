#include "host/renewal_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <ztna/err.h>

#include "host/clock.h"
#include "host/file_write.h"
#include "transport/cert.h"

enum { FILE_MAX = 1 << 20 };

/* --- the certificate that is there */

/* How long it has been there: when it was got, unless somebody copied it. */
static int64_t written_at(const char *name) {
  struct stat st;
  int64_t now = (int64_t)(clock_wall() / SEC);
  if (stat(name, &st) < 0) return 0;
  return st.st_mtime < now ? (int64_t)st.st_mtime : now;
}

int renewal_present_read(struct renewal_present *p, const char *name) {
  uint8_t *der = malloc(CERT_DER_MAX);
  char *pem = NULL, why[FILE_WHY];
  struct identity id;
  size_t len;
  int n = der ? file_read(name, FILE_MAX, &pem, &len, why) : ZTNA_ENOMEM;
  if (n == 0) n = cert_pem_to_der(pem, len, der, CERT_DER_MAX);
  if (n > 0 && (n = identity_from_der(&id, der, (size_t)n)) == 0) {
    *p = (struct renewal_present){
        .from = id.not_before, .to = id.not_after, .got = written_at(name)};
    memcpy(p->sha256, id.sha256, sizeof(p->sha256));
    identity_done(&id);
  }
  free(pem);
  free(der);
  return n;
}

bool renewal_present_same(const struct renewal_present *a,
                          const struct renewal_present *b) {
  return !memcmp(a->sha256, b->sha256, sizeof(a->sha256));
}

/* --- reading */

static int read_one(const char *name, size_t max, char **to, size_t *len,
                    char *why) {
  char say[FILE_WHY];
  int rc = file_read(name, max, to, len, say);
  if (rc < 0) snprintf(why, RENEWAL_TEXT, "%s cannot be read: %s", name, say);
  return rc;
}

static int cannot_write(const char *name, const char *say, int rc, char *why) {
  snprintf(why, RENEWAL_TEXT,
           "%s cannot be replaced: %s; let the user that this runs as write "
           "its directory (chown), or renew it by hand: ztna enroll",
           name, say);
  return rc;
}

int renewal_files_read(struct renewal_files *f,
                       const struct identity_config *id, char *why) {
  char say[FILE_WHY];
  int rc = file_try_replace(id->cert, say);
  if (rc < 0) return cannot_write(id->cert, say, rc, why);
  rc = read_one(id->cert, FILE_MAX, &f->cert, &f->cert_len, why);
  if (rc == 0) rc = read_one(id->key, FILE_MAX, &f->key, &f->key_len, why);
  if (rc == 0) rc = read_one(id->ca, FILE_MAX, &f->ca, &f->ca_len, why);
  if (rc == 0 && id->crl)
    rc = read_one(id->crl, IDENTITY_CRL_MAX, &f->crl, &f->crl_len, why);
  if (rc < 0) return rc;
  f->own = (struct ztna_identity){.cert = f->cert,
                                  .cert_len = f->cert_len,
                                  .key = f->key,
                                  .key_len = f->key_len,
                                  .ca = f->ca,
                                  .ca_len = f->ca_len,
                                  .crl = f->crl,
                                  .crl_len = f->crl_len};
  rc = renewal_present_read(&f->present, id->cert);
  if (rc < 0)
    snprintf(why, RENEWAL_TEXT, "%s holds no readable certificate", id->cert);
  return rc;
}

void renewal_files_done(struct renewal_files *f) {
  if (f->key) file_wipe(f->key, f->key_len);
  free(f->cert);
  free(f->key);
  free(f->ca);
  free(f->crl);
  *f = (struct renewal_files){0};
}

/* --- writing */

/* Is each certificate of a in b? */
static bool all_in(const char *a, size_t a_len, const char *b, size_t b_len,
                   uint8_t *der, uint8_t *other) {
  int n, k;
  while ((n = cert_pem_next(&a, &a_len, der, CERT_DER_MAX)) > 0) {
    const char *at = b;
    size_t left = b_len;
    do {
      k = cert_pem_next(&at, &left, other, CERT_DER_MAX);
    } while (k > 0 && (k != n || memcmp(der, other, (size_t)n) != 0));
    if (k <= 0) return false;
  }
  return true;
}

/* The service's CAs are in force here, too. */
static bool ca_changed(const struct renewal_files *f, const struct sbuf *ca) {
  uint8_t *room = malloc(2 * CERT_DER_MAX), *other;
  if (!room) return false;
  other = room + CERT_DER_MAX;
  bool same = all_in(f->ca, f->ca_len, ca->s, ca->len, room, other) &&
              all_in(ca->s, ca->len, f->ca, f->ca_len, room, other);
  free(room);
  return !same;
}

static int replace(const char *name, const struct sbuf *b, char *why) {
  char say[FILE_WHY];
  int rc = file_replace(name, 0644, b->s, b->len, say);
  return rc < 0 ? cannot_write(name, say, rc, why) : 0;
}

/* CAs first: whoever reads in between finds a certificate that they signed. */
int renewal_files_take(const struct renewal_files *f,
                       const struct identity_config *id,
                       const struct enroll_result *got, bool *new_ca,
                       char *why) {
  struct renewal_present now;
  int rc = 0;
  *new_ca = ca_changed(f, &got->ca);
  if (renewal_present_read(&now, id->cert) == 0 &&
      !renewal_present_same(&now, &f->present)) {
    snprintf(why, RENEWAL_TEXT,
             "the certificate was replaced meanwhile: its successor is not "
             "used");
    return ZTNA_EEXIST;
  }
  if (*new_ca) rc = replace(id->ca, &got->ca, why);
  return rc < 0 ? rc : replace(id->cert, &got->cert, why);
}
