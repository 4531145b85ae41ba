/* audit_check.c - see audit_check.h. */
#include "host/audit_check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ztna/err.h>

#include "base/hex.h"
#include "transport/hash.h"

enum { HALF_MAX = 1 << 20 };

/* --- lines */

int audit_reader_open(struct audit_reader *r, const char *name) {
  memset(r, 0, sizeof(*r));
  r->file = fopen(name, "rbe");
  if (r->file) return 0;
  return errno == ENOENT ? ZTNA_ENOENT : ZTNA_EIO;
}

bool audit_reader_next(struct audit_reader *r) {
  int c = EOF;

  r->len = 0;
  r->closed = r->too_long = false;
  while ((c = getc_unlocked(r->file)) != EOF && c != '\n') {
    if (r->len < sizeof(r->line))
      r->line[r->len++] = (char)c;
    else
      r->too_long = true;
  }
  r->closed = c == '\n';
  if (!r->closed && !r->len) return false;
  r->number++;
  return true;
}

void audit_reader_close(struct audit_reader *r) {
  if (r->file) fclose(r->file);
  r->file = NULL;
}

/* --- which file comes first */

struct place {
  const char *name;
  uint64_t seq; /* of its first record; none: it comes last */
};

static int first_seq(struct place *p, char why[AUDIT_SAY]) {
  struct audit_reader *r = malloc(sizeof(*r));
  struct audit_line l;
  int rc = r ? audit_reader_open(r, p->name) : ZTNA_ENOMEM;

  p->seq = UINT64_MAX;
  if (rc < 0) {
    snprintf(why, AUDIT_SAY, "%s: %s", p->name, strerror(errno));
    free(r);
    return rc;
  }
  while (p->seq == UINT64_MAX && audit_reader_next(r))
    if (audit_line_read(&l, r->line, r->len)) p->seq = l.seq;
  audit_reader_close(r);
  free(r);
  return 0;
}

static int by_seq(const void *a, const void *b) {
  const struct place *x = a, *y = b;

  return x->seq < y->seq ? -1 : x->seq > y->seq;
}

int audit_sort(const char **sorted, char *const *files, size_t n,
               char why[AUDIT_SAY]) {
  struct place *v = calloc(n + 1, sizeof(*v));
  int rc = v ? 0 : ZTNA_ENOMEM;

  if (rc < 0) snprintf(why, AUDIT_SAY, "no memory");
  for (size_t i = 0; rc == 0 && i < n; i++) {
    v[i].name = files[i];
    rc = first_seq(&v[i], why);
  }
  if (rc == 0) {
    qsort(v, n, sizeof(*v), by_seq);
    for (size_t i = 0; i < n; i++) sorted[i] = v[i].name;
  }
  free(v);
  return rc;
}

/* --- the chain */

/* Where something is. */
struct spot {
  const char *file;
  uint64_t line;
};

struct check {
  struct audit_verdict *v;
  const char **files;
  size_t n, i;
  struct audit_reader reader;
  const char *wanted;
  struct audit_line at;
  struct spot former; /* the record before */
  /* Lines that are none, until a record says what they were. */
  struct spot half;
  char *bytes; /* of them */
  size_t len;
  bool half_open; /* the last of them has no newline */
};

static struct spot here(const struct check *c) {
  return (struct spot){c->files[c->i], c->reader.number};
}

static bool wrong(struct check *c, struct spot s, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The first one counts. */
static bool wrong(struct check *c, struct spot s, const char *fmt, ...) {
  char *to = c->v->first;
  va_list ap;
  int n = snprintf(to, AUDIT_SAY, "%s:%" PRIu64 ": ", s.file, s.line);

  c->v->ok = false;
  if (n < 0 || n >= AUDIT_SAY) return false;
  va_start(ap, fmt);
  vsnprintf(to + n, AUDIT_SAY - (size_t)n, fmt, ap);
  va_end(ap);
  return false;
}

/* Is the record with this number further down? */
static bool comes_later(struct check *c, uint64_t seq, struct spot *s) {
  struct audit_line l;

  do {
    while (audit_reader_next(&c->reader)) {
      if (!audit_line_read(&l, c->reader.line, c->reader.len) || l.seq != seq ||
          !l.is_true)
        continue;
      *s = here(c);
      return true;
    }
    audit_reader_close(&c->reader);
  } while (++c->i < c->n && audit_reader_open(&c->reader, c->files[c->i]) == 0);
  return false;
}

static bool gap(struct check *c) {
  uint64_t first = c->v->last_seq + 1, seq = c->at.seq;
  struct spot s = here(c), later;

  if (comes_later(c, first, &later))
    return wrong(c, s,
                 "reordered: record %" PRIu64 " is at %s:%" PRIu64
                 ", behind record %" PRIu64,
                 first, later.file, later.line, seq);
  if (seq == first + 1)
    return wrong(c, s, "missing: record %" PRIu64 " before this one", first);
  return wrong(c, s,
               "missing: records %" PRIu64 " to %" PRIu64 " before this one",
               first, seq - 1);
}

static bool begins(struct check *c) {
  bool first = c->at.seq == 1;

  if (first && strcmp(c->at.prev, audit_no_hash))
    return wrong(c, here(c), "altered: the log's first record follows none");
  if (!first && strcmp(c->at.event, "file"))
    return wrong(c, here(c),
                 "missing: the records before %" PRIu64
                 " (a file begins with a record that says so)",
                 c->at.seq);
  c->v->has_begin = first;
  c->v->first_seq = c->at.seq;
  return true;
}

static bool follows(struct check *c) {
  if (!c->v->n_records) return begins(c);
  if (c->at.seq <= c->v->last_seq)
    return wrong(c, here(c),
                 "reordered: record %" PRIu64 " is behind record %" PRIu64,
                 c->at.seq, c->v->last_seq);
  if (c->at.seq > c->v->last_seq + 1) return gap(c);
  if (strcmp(c->at.prev, c->v->last_hash))
    return wrong(c, c->former,
                 "altered: it is not the record that the next one follows");
  return true;
}

/* --- halves */

static bool half_add(struct check *c) {
  const struct audit_reader *r = &c->reader;
  size_t more = r->len + 1;
  char *p;

  if (!c->len && !c->half.file) c->half = here(c);
  if (r->too_long || c->len + more > HALF_MAX ||
      audit_line_is_finished(r->line, r->len))
    return wrong(c, c->half, "altered: it is no whole record");
  p = realloc(c->bytes, c->len + more);
  if (!p) return wrong(c, here(c), "no memory");
  c->bytes = p;
  memcpy(p + c->len, r->line, r->len);
  c->len += r->len;
  p[c->len++] = '\n';
  c->half_open = !r->closed;
  return true;
}

/* Is this the record that closes it? */
static bool half_ends(struct check *c) {
  uint64_t len = audit_line_number(c->reader.line, c->reader.len, "half_bytes");
  uint8_t raw[HASH_LEN];
  char hex[AUDIT_HEX], wanted[120];
  bool same;

  if (!c->half.file) return true;
  hash_sha256(c->bytes, c->len - 1, raw);
  snprintf(wanted, sizeof(wanted), ",\"half_sha256\":\"%s\"",
           hex_print(raw, sizeof(raw), hex));
  same = !strcmp(c->at.event, "resumed") && len == c->len - 1 &&
         memmem(c->reader.line, c->reader.len, wanted, strlen(wanted));
  if (!same) return wrong(c, c->half, "altered: it is no whole record");
  c->half = (struct spot){0};
  c->len = 0;
  c->v->n_halves++;
  return true;
}

/* --- all of it */

static void count(struct check *c) {
  struct audit_verdict *v = c->v;

  v->n_records++;
  v->last_seq = c->at.seq;
  strcpy(v->last_hash, c->at.hash);
  if (c->wanted && !strcmp(c->wanted, c->at.hash)) v->has_wanted = true;
  if (!strcmp(c->at.event, "missing"))
    v->n_lost += audit_line_number(c->reader.line, c->reader.len, "records");
  c->former = here(c);
}

static bool check_line(struct check *c) {
  const struct audit_reader *r = &c->reader;

  if (!audit_line_read(&c->at, r->line, r->len)) return half_add(c);
  if (!c->at.is_true)
    return wrong(c, c->half.file ? c->half : here(c),
                 "altered: its hash is not that of its bytes");
  if (!half_ends(c) || !follows(c)) return false;
  count(c);
  return true;
}

static bool check_end(struct check *c) {
  struct spot end = {c->files[c->n - 1], 0};

  if (c->half.file && c->half_open)
    return wrong(c, c->half,
                 "cut: half a record at the end (a crash; the next start "
                 "closes it)");
  if (c->half.file) return wrong(c, c->half, "altered: it is no whole record");
  if (!c->v->n_records) return wrong(c, end, "missing: there is no record");
  return true;
}

static int check_files(struct check *c) {
  bool ok = true;

  for (c->i = 0; ok && c->i < c->n; c->i++) {
    int rc = audit_reader_open(&c->reader, c->files[c->i]);

    if (rc < 0) {
      snprintf(c->v->first, AUDIT_SAY, "%s: %s", c->files[c->i],
               strerror(errno));
      return rc;
    }
    while (ok && audit_reader_next(&c->reader)) ok = check_line(c);
    audit_reader_close(&c->reader);
  }
  if (ok) ok = check_end(c);
  if (ok && c->wanted && !c->v->has_wanted) {
    c->v->ok = false;
    snprintf(c->v->first, AUDIT_SAY,
             "missing: no record has the hash %.64s: the log was rewritten, or "
             "its end was cut off",
             c->wanted);
  }
  return 0;
}

int audit_check(struct audit_verdict *v, char *const *files, size_t n,
                const char *wanted) {
  struct check *c = calloc(1, sizeof(*c));
  const char **sorted = calloc(n + 1, sizeof(*sorted));
  int rc = ZTNA_ENOMEM;

  memset(v, 0, sizeof(*v));
  snprintf(v->first, AUDIT_SAY, "no memory");
  if (c && sorted) {
    v->ok = true;
    v->first[0] = 0;
    *c = (struct check){.v = v, .files = sorted, .n = n, .wanted = wanted};
    rc = audit_sort(sorted, files, n, v->first);
    if (rc == 0) rc = check_files(c);
    if (rc < 0) v->ok = false;
    free(c->bytes);
  }
  free(c);
  free(sorted);
  return rc;
}
