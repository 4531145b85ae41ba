/* cert_revoke.c - `ztna cert revoke` and `crl`: whom a directory's CA has
 * revoked, in revoked.json, and the list that says so to everybody, crl.pem. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/hex.h"
#include "base/utc.h"
#include "cert.h"
#include "host/file_write.h"
#include "part/policy_serial.h"

enum {
  CRL_DAYS = 30,
  BACK_DATE = 300, /* the other machine's clock may be behind */
  BOOK_MAX = 64 << 20,
};

/* --- who is revoked so far */

struct revocation {
  char *serial; /* lower-case, without leading zeros */
  int64_t at;
  char *identity; /* NULL: only the serial was known */
};

struct book {
  char file[CERT_NAME_MAX], crl_file[CERT_NAME_MAX];
  int lock; /* the directory: two of us must not lose what the other writes */
  uint64_t number; /* of the last list */
  struct revocation *revoked;
  size_t n_revoked, cap;
};

static const char *check_serial(const char *text) {
  struct policy_serial s;
  return policy_serial_parse(&s, text) ? NULL : "a serial in hexadecimal";
}

static const struct field revocation_fields[] = {
    FIELD(revocation, serial, .type = F_STR, .required = true,
          .check = check_serial, .help = "of the certificate"),
    FIELD(revocation, at, .type = F_TIME, .required = true, .help = "when"),
    FIELD(revocation, identity, .type = F_STR, .help = "whose it was"),
    FIELD_END,
};

static const struct field book_fields[] = {
    FIELD(book, number, .type = F_INT, .help = "of the last list"),
    FIELD_LIST(book, revoked, .type = F_OBJECTS, .fields = revocation_fields,
               .max = CERT_REVOKED_MAX, .help = "who is revoked"),
    FIELD_END,
};

static int parse(struct book *b, const char *text, size_t len,
                 struct sbuf *out) {
  struct field_load l;
  struct json_file f;
  char why[JSON_FILE_WHY];
  field_load_init(&l, b->file, NULL);
  if (json_file_parse(&f, text, len, why) == 0)
    field_from_json(&l, book_fields, b, "", json_at_root(&f));
  else
    mistake_add(&l.mistakes, l.file, f.error_line, NULL, "%s", why);
  json_file_done(&f);
  mistakes_print(&l.mistakes, out);
  int rc = l.no_memory || l.mistakes.n ? -1 : 0;
  field_load_done(&l);
  return rc;
}

static int book_load(struct book *b, const char *verb, const char *dir) {
  char *text, why[FILE_WHY];
  size_t len;
  struct sbuf out = {0};
  int n = snprintf(b->file, sizeof(b->file), "%s/revoked.json", dir);
  snprintf(b->crl_file, sizeof(b->crl_file), "%s/crl.pem", dir);
  if (n >= (int)sizeof(b->file))
    return cert_say(EXIT_USAGE, verb, "the name of --dir is too long");
  b->lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (b->lock < 0 || flock(b->lock, LOCK_EX) < 0)
    return cert_say(EXIT_FAILED, verb, "%s: %s", dir, strerror(errno));
  int rc = file_read(b->file, BOOK_MAX, &text, &len, why);
  if (rc == ZTNA_ENOENT) return EXIT_DONE;
  if (rc < 0) return cert_say(EXIT_FAILED, verb, "%s: %s", b->file, why);
  rc = parse(b, text, len, &out);
  if (out.len) fputs(out.s, stderr);
  sbuf_done(&out);
  free(text);
  b->cap = b->n_revoked;
  return rc < 0 ? EXIT_FAILED : EXIT_DONE;
}

static void book_done(struct book *b) {
  field_done(book_fields, b);
  if (b->lock >= 0) close(b->lock);
}

static char *book_text(const struct book *b) {
  char at[UTC_STRLEN];
  json_t *list = json_array(), *o;
  for (size_t i = 0; i < b->n_revoked; i++) {
    const struct revocation *r = &b->revoked[i];
    o = json_pack("{s:s, s:s}", "serial", r->serial, "at",
                  utc_print(r->at, at));
    if (r->identity)
      json_object_set_new(o, "identity", json_string(r->identity));
    json_array_append_new(list, o);
  }
  o = json_pack("{s:I, s:o}", "number", (json_int_t)b->number, "revoked", list);
  char *text = json_dumps(o, JSON_INDENT(1));
  json_decref(o);
  return text;
}

static int book_write(const struct book *b, const char *verb) {
  char why[FILE_WHY], *text = book_text(b);
  int rc =
      text ? file_replace(b->file, 0644, text, strlen(text), why) : ZTNA_ENOMEM;
  free(text);
  if (rc == 0) return EXIT_DONE;
  return cert_say(EXIT_FAILED, verb, "%s: %s", b->file,
                  rc == ZTNA_ENOMEM ? "no memory" : why);
}

static const struct revocation *book_find(const struct book *b,
                                          const struct policy_serial *serial) {
  struct policy_serial s;
  for (size_t i = 0; i < b->n_revoked; i++)
    if (policy_serial_parse(&s, b->revoked[i].serial) &&
        policy_serial_equal(&s, serial))
      return &b->revoked[i];
  return NULL;
}

static bool book_grow(struct book *b) {
  if (b->n_revoked < b->cap) return true;
  size_t cap = b->cap ? b->cap * 2 : 16;
  struct revocation *v = realloc(b->revoked, cap * sizeof(*v));
  if (!v) return false;
  b->revoked = v;
  b->cap = cap;
  return true;
}

/* identity: NULL when it is not known. */
static int book_add(struct book *b, const struct policy_serial *serial,
                    const char *identity) {
  char text[2 * POLICY_SERIAL_MAX + 1], at[UTC_STRLEN];
  const struct revocation *r = book_find(b, serial);
  hex_print(serial->bytes, serial->len, text);
  if (r) {
    printf("Revoked since %s: %s\n", utc_print(r->at, at),
           r->identity ? r->identity : text);
    return EXIT_DONE;
  }
  if (b->n_revoked == CERT_REVOKED_MAX)
    return cert_say(EXIT_FAILED, "revoke", "more than %d certificates",
                    CERT_REVOKED_MAX);
  struct revocation fresh = {.serial = strdup(text), .at = cert_now()};
  if (identity) fresh.identity = strdup(identity);
  if (!fresh.serial || (identity && !fresh.identity) || !book_grow(b)) {
    free(fresh.serial);
    free(fresh.identity);
    return cert_say(EXIT_FAILED, "revoke", "no memory");
  }
  b->revoked[b->n_revoked++] = fresh;
  printf("Revoked %s%sserial %s.\n", identity ? identity : "",
         identity ? ", " : "", text);
  return EXIT_DONE;
}

/* --- what is to be revoked */

static int add_certificate(struct book *b, const struct cert_authority *a,
                           const char *file, const uint8_t *der, size_t len) {
  struct identity id;
  struct policy_serial serial;
  if (cert_is_ca(der, len))
    return cert_say(EXIT_FAILED, "revoke",
                    "%s: a CA's certificate; to trust a CA no more, take it "
                    "out of every identity.ca",
                    file);
  if (identity_from_der(&id, der, len) < 0)
    return cert_say(EXIT_FAILED, "revoke",
                    "%s: a certificate that names no ztna identity", file);
  int code = EXIT_DONE;
  if (cert_check_signature(der, len, a->der, (size_t)a->der_len) < 0)
    code = cert_say(EXIT_FAILED, "revoke", "%s: %s has not signed it", file,
                    a->cert_file);
  else if (policy_serial_parse(&serial, id.serial))
    code = book_add(b, &serial, id.spiffe);
  identity_done(&id);
  return code;
}

static int add_file(struct book *b, const struct cert_authority *a,
                    const char *file) {
  uint8_t der[CERT_DER_MAX];
  char *bytes, why[FILE_WHY];
  size_t len;
  if (file_read(file, CERT_FILE_MAX, &bytes, &len, why) < 0)
    return cert_say(EXIT_FAILED, "revoke", "%s: %s", file, why);
  int n = cert_pem_to_der(bytes, len, der, sizeof(der));
  file_wipe(bytes, len);
  free(bytes);
  if (n < 0)
    return cert_say(EXIT_FAILED, "revoke",
                    "%s: holds no certificate in PEM form", file);
  return add_certificate(b, a, file, der, (size_t)n);
}

/* A file's name, or a serial number as `ztna cert show` prints it. */
static int add(struct book *b, const struct cert_authority *a,
               const char *what) {
  struct policy_serial serial;
  if (access(what, F_OK) == 0) return add_file(b, a, what);
  if (policy_serial_parse(&serial, what)) return book_add(b, &serial, NULL);
  return cert_say(EXIT_FAILED, "revoke",
                  "%s: no such file, and no serial number in hexadecimal",
                  what);
}

/* --- the list */

static int crl_make(const struct book *b, const struct cert_authority *a,
                    int64_t until, struct sbuf *crl) {
  struct cert_revoked *v = calloc(b->n_revoked + 1, sizeof(*v));
  struct sbuf even = {0};
  if (!v) return ZTNA_ENOMEM;
  /* what a person wrote into the file may have an odd number of digits */
  for (size_t i = 0; i < b->n_revoked; i++) {
    struct policy_serial s;
    char text[2 * POLICY_SERIAL_MAX + 1];
    policy_serial_parse(&s, b->revoked[i].serial);
    sbuf_add(&even, hex_print(s.bytes, s.len, text), 2 * s.len + 1);
  }
  const char *at = even.s;
  for (size_t i = 0; i < b->n_revoked && !even.failed; i++) {
    v[i] = (struct cert_revoked){at, b->revoked[i].at};
    at += strlen(at) + 1;
  }
  int rc = even.failed ? ZTNA_ENOMEM
                       : cert_make_crl(v, b->n_revoked, cert_now() - BACK_DATE,
                                       until, b->number, a->cert, a->cert_len,
                                       a->key, a->key_len, crl);
  sbuf_done(&even);
  free(v);
  return rc;
}

static void tell(const struct book *b, int64_t until) {
  char end[40];
  printf("Wrote %s: %zu certificate%s, valid until %s.\n", b->crl_file,
         b->n_revoked, b->n_revoked == 1 ? "" : "s",
         cert_time(until, false, end, sizeof(end)));
  printf(
      "Next: copy it to every relay, connector and agent, where identity.crl "
      "names\nit; they take it over at once. Make it anew in time: ztna "
      "cert crl\n");
}

/* The book first: a list that is lost is made again from it. */
static int publish(struct book *b, const struct cert_authority *a,
                   const struct cert_opts *o, const char *verb) {
  int64_t until = cert_now() + (o->days ? o->days : CRL_DAYS) * CERT_DAY;
  char why[FILE_WHY];
  struct sbuf crl = {0};
  b->number++;
  int rc = crl_make(b, a, until, &crl), code = EXIT_DONE;
  if (rc == ZTNA_ETLS)
    code = cert_authority_wrong_key(a, verb);
  else if (rc < 0)
    code = cert_say(EXIT_FAILED, verb, "%s", ztna_strerror(rc));
  if (!code) code = book_write(b, verb);
  if (!code && file_replace(b->crl_file, 0644, crl.s, crl.len, why) < 0)
    code = cert_say(EXIT_FAILED, verb, "%s: %s", b->crl_file, why);
  if (!code) tell(b, until);
  sbuf_done(&crl);
  return code;
}

/* --- commands */

/* All of them or none. */
static int run(const struct cert_opts *o, const char *verb, char **what,
               int n) {
  struct cert_authority *a = calloc(1, sizeof(*a));
  struct book b = {.lock = -1};
  int code = a ? cert_authority_load(a, verb, o->dir) : EXIT_FAILED;
  if (!code) code = book_load(&b, verb, o->dir);
  for (int i = 0; i < n && !code; i++) code = add(&b, a, what[i]);
  if (!code) code = publish(&b, a, o, verb);
  book_done(&b);
  if (a) cert_authority_done(a);
  free(a);
  return code;
}

int cert_revoke(const struct cert_opts *o, struct applet_call *c) {
  return run(o, "revoke", c->args + 1, c->n_args - 1);
}

int cert_crl(const struct cert_opts *o, struct applet_call *c) {
  return run(o, "crl", NULL, 0);
}
