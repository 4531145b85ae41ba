/* enroll_files.c - key, certificate, CA and configuration of a machine that
 * enrols: the key before anybody is asked, the rest when it was granted. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hex.h"
#include "enroll.h"
#include "host/file_write.h"
#include "transport/cert.h"

enum { FILE_MAX = 1 << 20, KEY_MAX = 64 << 10 };

static const char again[] = "move it away and call this again within 10 "
                            "minutes: the same token still holds";

static int name_it(char to[ENROLL_NAME], const char *dir, const char *name,
                   const char *end) {
  int n = snprintf(to, ENROLL_NAME, "%s/%s%s", dir, name, end);
  return n < ENROLL_NAME
             ? EXIT_DONE
             : enroll_say(EXIT_USAGE, "the name of --dir is too long");
}

/* --- before */

static int make_dir(const char *dir) {
  if (mkdir(dir, 0700) == 0 || errno == EEXIST) return EXIT_DONE;
  return enroll_say(EXIT_FAILED, "--dir %s: %s", dir, strerror(errno));
}

/* Does the file hold this certificate? -1: there is no file. */
static int holds(const char *name, const uint8_t *der, size_t len,
                 const uint8_t *sha256) {
  char *pem, why[FILE_WHY];
  size_t left;
  uint8_t *mine = malloc(CERT_DER_MAX);
  int found = 0, n, rc = file_read(name, FILE_MAX, &pem, &left, why);
  const char *at = pem;
  struct cert_ca ca;
  while (mine && rc == 0 && !found &&
         (n = cert_pem_next(&at, &left, mine, CERT_DER_MAX)) > 0)
    found = sha256 ? cert_read_ca(&ca, mine, (size_t)n) == 0 &&
                         !memcmp(ca.sha256, sha256, sizeof(ca.sha256))
                   : (size_t)n == len && !memcmp(mine, der, len);
  if (rc == 0) free(pem);
  free(mine);
  return rc == ZTNA_ENOENT ? -1 : found;
}

/* Before the token is used up for nothing. */
static int check_ca(const struct enroll_files *f, const struct token *t) {
  if (holds(f->ca, NULL, 0, t->ca_sha256)) return EXIT_DONE;
  return enroll_say(EXIT_FAILED,
                    "%s is another CA's than the token's and is not "
                    "overwritten: use another --dir, or move it away",
                    f->ca);
}

static int key_read(struct enroll_files *f) {
  char *pem, why[FILE_WHY];
  size_t len;
  int mode = file_mode(f->key_now);
  if (mode < 0) return EXIT_NOT_READY;
  if (mode & 077)
    return enroll_say(EXIT_FAILED, "%s: others can read it; remove it",
                      f->key_now);
  if (file_read(f->key_now, KEY_MAX, &pem, &len, why) < 0)
    return enroll_say(EXIT_FAILED, "%s: %s", f->key_now, why);
  sbuf_add(&f->key_pem, pem, len);
  file_wipe(pem, len);
  free(pem);
  return EXIT_DONE;
}

static int key_make(struct enroll_files *f) {
  char why[FILE_WHY];
  if (cert_make_key(&f->key_pem) < 0)
    return enroll_say(EXIT_FAILED, "cannot make a key");
  if (file_create(f->key_now, 0600, f->key_pem.s, f->key_pem.len, why) < 0)
    return enroll_say(EXIT_FAILED, "%s: %s", f->key_now, why);
  f->key_is_new = true;
  return EXIT_DONE;
}

int enroll_files_begin(struct enroll_files *f, const char *dir,
                       const struct token *t) {
  char id[2 * TOKEN_ID_LEN + 1], stem[sizeof(id) + 8];
  snprintf(stem, sizeof(stem), "enroll-%s",
           hex_print(t->id, sizeof(t->id), id));
  int code = name_it(f->key_now, dir, stem, ".key");
  if (!code) code = name_it(f->ca, dir, "ca", ".pem");
  if (!code) code = name_it(f->json, dir, "agent", ".json");
  if (!code) code = make_dir(dir);
  if (!code) code = check_ca(f, t);
  if (code) return code;
  code = key_read(f);
  return code == EXIT_NOT_READY ? key_make(f) : code;
}

void enroll_files_abandon(const struct enroll_files *f) {
  if (f->key_is_new) unlink(f->key_now);
}

/* --- after */

/* A certificate of this identity may be followed by a newer one. */
static int check_cert(const struct enroll_files *f, const char *spiffe) {
  uint8_t *der = malloc(CERT_DER_MAX);
  char *pem, why[FILE_WHY];
  size_t len;
  struct identity id = {0};
  int rc = file_read(f->cert, FILE_MAX, &pem, &len, why);
  int n = rc == 0 && der ? cert_pem_to_der(pem, len, der, CERT_DER_MAX) : -1;
  bool ours = n > 0 && identity_from_der(&id, der, (size_t)n) == 0 &&
              !strcmp(id.spiffe, spiffe);
  if (rc == 0) free(pem);
  free(der);
  identity_done(&id);
  if (ours || rc == ZTNA_ENOENT) return EXIT_DONE;
  return enroll_say(EXIT_FAILED,
                    "%s is no certificate of %s and is not overwritten: %s",
                    f->cert, spiffe, again);
}

/* A key without its certificate is somebody's. */
static int check_key(const struct enroll_files *f) {
  if (access(f->cert, F_OK) == 0 || access(f->key, F_OK) < 0) return EXIT_DONE;
  return enroll_say(EXIT_FAILED, "%s exists and is not overwritten: %s", f->key,
                    again);
}

static int keep(const char *name, mode_t mode, const struct sbuf *b) {
  char why[FILE_WHY];
  if (file_replace(name, mode, b->s, b->len, why) == 0) return EXIT_DONE;
  return enroll_say(EXIT_FAILED,
                    "%s: %s; call this again within 10 minutes: the same token "
                    "still holds",
                    name, why);
}

/* What is there stays, unless the service names a CA that it lacks. */
static int keep_ca(const struct enroll_files *f, const struct sbuf *ca) {
  uint8_t *der = malloc(CERT_DER_MAX);
  const char *at = ca->s;
  size_t left = ca->len;
  bool all = der != NULL;
  int n;
  while (all && (n = cert_pem_next(&at, &left, der, CERT_DER_MAX)) > 0)
    all = holds(f->ca, der, (size_t)n, NULL) == 1;
  free(der);
  return all ? EXIT_DONE : keep(f->ca, 0644, ca);
}

/* Last, so that whatever fails before is mended by another call. */
static int keep_key(const struct enroll_files *f) {
  if (rename(f->key_now, f->key) == 0) return EXIT_DONE;
  return enroll_say(EXIT_FAILED, "%s: %s; the key is in %s", f->key,
                    strerror(errno), f->key_now);
}

static int keep_json(struct enroll_files *f, const struct enroll_opts *o,
                     const struct token *t, const struct identity *id) {
  char why[FILE_WHY], *text;
  int rc;
  if (id->role != ROLE_AGENT || !o->n_relay) return EXIT_DONE;
  text = enroll_agent_json(o, t, id);
  if (!text) return enroll_say(EXIT_FAILED, "no memory");
  rc = file_create(f->json, 0644, text, strlen(text), why);
  free(text);
  f->json_is_new = rc == 0;
  if (rc == 0 || rc == ZTNA_EEXIST) return EXIT_DONE;
  return enroll_say(EXIT_FAILED, "%s: %s", f->json, why);
}

int enroll_files_keep(struct enroll_files *f, const struct enroll_opts *o,
                      const struct token *t, const struct enroll_result *r) {
  char stem[sizeof(r->id.name) + 16];
  snprintf(stem, sizeof(stem), "%s-%s", role_name(r->id.role), r->id.name);
  int code = name_it(f->key, o->dir, stem, ".key");
  if (!code) code = name_it(f->cert, o->dir, stem, ".pem");
  if (!code) code = check_cert(f, r->id.spiffe);
  if (!code) code = check_key(f);
  if (!code) code = keep_ca(f, &r->ca);
  if (!code) code = keep(f->cert, 0644, &r->cert);
  if (!code) code = keep_key(f);
  return code ? code : keep_json(f, o, t, &r->id);
}

void enroll_files_done(struct enroll_files *f) { cert_forget(&f->key_pem); }
