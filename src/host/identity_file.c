/* identity_file.c - see identity_file.h. */
#include "host/identity_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ztna/err.h>

#include "base/log.h"
#include "host/clock.h"
#include "host/file.h"
#include "host/identity_ends.h"
#include "host/watch.h"
#include "transport/hash.h"

enum {
  PATIENCE = 1000, /* ms that files may take to fit each other */
  AGAIN = 250,     /* ms */
  N_FILES = 4,
  WHY = 320,
};

struct identity_file {
  char name[16], spiffe[IDENTITY_SPIFFE_MAX + 1];
  const struct identity_config *files;
  struct tls *tls;
  struct identity_ends ends;
  uint8_t digest[HASH_LEN]; /* of the bytes in force */
  const struct identity_file_ops *ops;
  void *ctx;
  struct watch *watches[N_FILES];
  uv_timer_t *patience, *warning; /* NULL: not started */
  uint64_t bad_since;             /* ms of the loop; 0: the files are good */
  int64_t asked_at;               /* for warnings */
  bool is_bad;                    /* and was told so */
  char error[WHY];
  uint64_t n_reloads, n_failures;
};

/* --- reading */

/* The files' bytes. */
struct bytes {
  struct {
    const char *key, *name;
    char *bytes;
    size_t len;
  } v[N_FILES]; /* cert, key, ca, crl */
};

static void bytes_name(struct bytes *b, const struct identity_config *c) {
  *b = (struct bytes){.v = {{.key = "cert", .name = c->cert},
                            {.key = "key", .name = c->key},
                            {.key = "ca", .name = c->ca},
                            {.key = "crl", .name = c->crl}}};
}

static void bytes_free(struct bytes *b) {
  for (int i = 0; i < N_FILES; i++) {
    if (b->v[i].bytes) file_wipe(b->v[i].bytes, b->v[i].len);
    free(b->v[i].bytes);
  }
}

static int bytes_read(struct bytes *b, char why[WHY]) {
  static const size_t max[N_FILES] = {IDENTITY_CERT_MAX, IDENTITY_KEY_MAX,
                                      IDENTITY_CERT_MAX, IDENTITY_CRL_MAX};
  char reason[FILE_WHY];

  for (int i = 0; i < N_FILES; i++) {
    if (!b->v[i].name) continue;
    int mode = i == 1 ? file_mode(b->v[i].name) : 0;

    if (mode > 0 && (mode & 077)) {
      snprintf(why, WHY, "key: others can read %s; run: chmod 600",
               b->v[i].name);
      return ZTNA_EPERM;
    }
    if (file_read(b->v[i].name, max[i], &b->v[i].bytes, &b->v[i].len, reason) <
        0) {
      snprintf(why, WHY, "%s: %s: %s", b->v[i].key, b->v[i].name, reason);
      return ZTNA_EIO;
    }
  }
  return 0;
}

static struct ztna_identity bytes_identity(const struct bytes *b) {
  return (struct ztna_identity){.cert = b->v[0].bytes,
                                .cert_len = b->v[0].len,
                                .key = b->v[1].bytes,
                                .key_len = b->v[1].len,
                                .ca = b->v[2].bytes,
                                .ca_len = b->v[2].len,
                                .crl = b->v[3].bytes,
                                .crl_len = b->v[3].len};
}

/* A key that came before its certificate is something new, too. */
static void digest(const struct ztna_identity *own, uint8_t out[HASH_LEN]) {
  uint8_t all[N_FILES * HASH_LEN];

  hash_sha256(own->cert, own->cert_len, all);
  hash_sha256(own->key, own->key_len, all + HASH_LEN);
  hash_sha256(own->ca, own->ca_len, all + 2 * HASH_LEN);
  hash_sha256(own->crl ? own->crl : "", own->crl_len, all + 3 * HASH_LEN);
  hash_sha256(all, sizeof(all), out);
}

/* --- judging */

/* Peers would refuse such a certificate, too: the former is as good. */
static int judge_dates(const struct identity *id, char why[WHY]) {
  int64_t now = tls_now();

  if (id->not_after >= now && id->not_before <= now) return 0;
  snprintf(why, WHY, "cert: %s",
           id->not_after < now
               ? "has expired"
               : "is not valid yet; is this machine's clock right?");
  return ZTNA_EREFUSED;
}

/* Who this is was told to peers, and policies know it by that. */
static int judge_identity(const struct identity *is, const struct identity *was,
                          char why[WHY]) {
  if (!strcmp(is->spiffe, was->spiffe)) return judge_dates(is, why);
  snprintf(why, WHY, "cert: is of %.100s, and this runs as %.100s: restart it",
           is->spiffe, was->spiffe);
  return ZTNA_EREFUSED;
}

/* --- taking over */

static void on_warning(uv_timer_t *t);

static void took(struct identity_file *f, struct tls *tls,
                 const struct identity_ends *ends,
                 const struct ztna_identity *own) {
  struct tls *former = f->tls;
  const struct identity *id = tls_identity(tls);

  f->tls = tls;
  tls_free(former);
  f->ends = *ends;
  digest(own, f->digest);
  f->n_reloads++;
  if (f->warning) uv_timer_start(f->warning, on_warning, 0, 0);
  log_info("%s: identity taken over serial=%s ca=%zu crl=%zu", f->name,
           id->serial, ends->n_ca, ends->n_crl);
}

static int take(struct identity_file *f, const struct ztna_identity *own,
                char why[WHY]) {
  struct identity_ends ends;
  struct tls *tls;
  int rc = tls_new(&tls, own, why, WHY);

  if (rc < 0) return rc;
  rc = judge_identity(tls_identity(tls), tls_identity(f->tls), why);
  if (rc == 0) {
    rc = identity_ends_read(&ends, own, f->files->enroll != NULL);
    if (rc < 0)
      snprintf(why, WHY, "%s",
               rc == ZTNA_ENOMEM ? "no memory" : "crl: holds a damaged list");
  }
  if (rc == 0) {
    identity_ends_keep(&ends, &f->ends);
    rc = f->ops->take(f->ctx, tls, own, why, WHY);
  }
  if (rc == 0)
    took(f, tls, &ends, own);
  else
    tls_free(tls);
  return rc;
}

/* 0: in force now, whether or not anything is new. */
static int load(struct identity_file *f, bool anew, char why[WHY]) {
  struct bytes b;
  uint8_t is[HASH_LEN];

  bytes_name(&b, f->files);
  int rc = bytes_read(&b, why);

  if (rc == 0) {
    struct ztna_identity own = bytes_identity(&b);

    digest(&own, is);
    if (anew || memcmp(is, f->digest, sizeof(is)) != 0) rc = take(f, &own, why);
  }
  bytes_free(&b);
  return rc;
}

/* --- when */

static void told_bad(struct identity_file *f, const char *why) {
  bool known = f->is_bad && !strcmp(f->error, why);

  f->is_bad = true;
  snprintf(f->error, sizeof(f->error), "%s", why);
  if (known) return;
  f->n_failures++;
  log_err("%s: identity not taken over, the former stays in force: %s", f->name,
          why);
}

static void good(struct identity_file *f) {
  if (f->is_bad) log_info("%s: the files of identity are right again", f->name);
  f->is_bad = false;
  f->bad_since = 0;
}

static void on_patience(uv_timer_t *t);

/* Who replaces a certificate replaces its key a moment before or after: for a
 * second that is no mistake. */
static void bad(struct identity_file *f, const char *why, bool patient) {
  uint64_t now = f->patience ? uv_now(f->patience->loop) : 0;

  if (!f->bad_since) f->bad_since = now ? now : 1;
  if (patient && now < f->bad_since + PATIENCE) {
    log_debug("%s: identity does not fit yet: %s", f->name, why);
    uv_timer_start(f->patience, on_patience, AGAIN, 0);
    return;
  }
  told_bad(f, why);
}

static void look(struct identity_file *f, bool anew, bool patient) {
  char why[WHY] = "";

  if (load(f, anew, why) < 0)
    bad(f, why, patient);
  else
    good(f);
}

static void on_patience(uv_timer_t *t) { look(t->data, false, true); }

static void on_change(void *ctx) {
  struct identity_file *f = ctx;

  if (!uv_is_active((uv_handle_t *)f->patience)) f->bad_since = 0;
  uv_update_time(f->patience->loop);
  look(f, false, true);
}

void identity_file_reload(struct identity_file *f) {
  if (f->patience) uv_timer_stop(f->patience);
  look(f, false, false);
}

/* --- what runs out */

static void tell(void *ctx, bool is_over, const char *words) {
  const struct identity_file *f = ctx;

  if (is_over)
    log_err("%s: %s", f->name, words);
  else
    log_warn("%s: %s", f->name, words);
}

static void warn(struct identity_file *f) {
  int64_t now = tls_now(), next;

  identity_ends_tell(&f->ends, now, tell, f);
  /* A CA that ran out, or files that were too early, are another matter now. */
  if (identity_ends_lost_ca(&f->ends, f->asked_at, now)) look(f, true, false);
  if (f->is_bad) look(f, false, false);
  f->asked_at = now;
  next = identity_ends_next(&f->ends, now);
  uv_timer_start(f->warning, on_warning, (uint64_t)(next - now) * 1000, 0);
}

static void on_warning(uv_timer_t *t) { warn(t->data); }

/* --- life */

struct identity_file *identity_file_new(const char *name,
                                        const struct identity_config *files,
                                        struct tls *tls) {
  struct identity_file *f = calloc(1, sizeof(*f));
  struct ztna_identity own = config_identity(files);

  if (!f || identity_ends_read(&f->ends, &own, files->enroll != NULL) < 0) {
    free(f);
    return NULL;
  }
  snprintf(f->name, sizeof(f->name), "%s", name);
  snprintf(f->spiffe, sizeof(f->spiffe), "%s", tls_identity(tls)->spiffe);
  f->files = files;
  f->tls = tls;
  digest(&own, f->digest);
  return f;
}

static uv_timer_t *timer(struct identity_file *f, uv_loop_t *loop) {
  uv_timer_t *t = malloc(sizeof(*t));

  if (!t) return NULL;
  uv_timer_init(loop, t);
  uv_unref((uv_handle_t *)t); /* it keeps nobody alive */
  t->data = f;
  return t;
}

void identity_file_start(struct identity_file *f, uv_loop_t *loop,
                         const struct identity_file_ops *ops, void *ctx) {
  struct bytes b;

  f->ops = ops;
  f->ctx = ctx;
  f->patience = timer(f, loop);
  f->warning = timer(f, loop);
  if (!f->patience || !f->warning) {
    log_err("%s: no memory to watch the files of identity", f->name);
    return;
  }
  bytes_name(&b, f->files);
  for (int i = 0; i < N_FILES; i++)
    if (b.v[i].name) f->watches[i] = watch_new(loop, b.v[i].name, on_change, f);
  f->asked_at = tls_now();
  warn(f);
}

static void on_closed(uv_handle_t *h) { free(h); }

static void timer_free(uv_timer_t **t) {
  if (*t) uv_close((uv_handle_t *)*t, on_closed);
  *t = NULL;
}

void identity_file_stop(struct identity_file *f) {
  if (!f) return;
  for (int i = 0; i < N_FILES; i++) {
    watch_free(f->watches[i]);
    f->watches[i] = NULL;
  }
  timer_free(&f->patience);
  timer_free(&f->warning);
}

void identity_file_free(struct identity_file *f) {
  if (!f) return;
  tls_free(f->tls);
  free(f);
}

struct tls *identity_file_tls(const struct identity_file *f) {
  return f->tls;
}

const char *identity_file_spiffe(const struct identity_file *f) {
  return f->spiffe;
}

/* --- told to people */

json_t *identity_file_status(const struct identity_file *f) {
  json_t *o = json_pack("{s:b, s:s, s:s}", "ok", !f->is_bad, "cert",
                        f->files->cert, "serial", tls_identity(f->tls)->serial);

  identity_ends_status(&f->ends, tls_now(), o);
  json_object_set_new(o, "reloads", json_integer((json_int_t)f->n_reloads));
  json_object_set_new(o, "failures", json_integer((json_int_t)f->n_failures));
  if (f->is_bad) json_object_set_new(o, "error", json_string(f->error));
  return o;
}

void identity_file_metrics(const struct identity_file *f, struct sbuf *out) {
  identity_ends_metrics(&f->ends, tls_now(), out);
  sbuf_printf(
      out,
      "# HELP ztna_identity_ok 1 when the files of identity as they are "
      "now are in force\n"
      "# TYPE ztna_identity_ok gauge\n"
      "ztna_identity_ok %d\n"
      "# HELP ztna_identity_reloads_total times others were taken over\n"
      "# TYPE ztna_identity_reloads_total counter\n"
      "ztna_identity_reloads_total %llu\n"
      "# HELP ztna_identity_reload_failures_total times they were not\n"
      "# TYPE ztna_identity_reload_failures_total counter\n"
      "ztna_identity_reload_failures_total %llu\n",
      !f->is_bad, (unsigned long long)f->n_reloads,
      (unsigned long long)f->n_failures);
}
