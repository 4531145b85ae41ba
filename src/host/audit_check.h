/* audit_check.h - is a chain of audit files whole? Reads files of any size and
 * content in bounded memory. */
#ifndef ZTNA_HOST_AUDIT_CHECK_H
#define ZTNA_HOST_AUDIT_CHECK_H

#include "host/audit_line.h"

enum { AUDIT_SAY = 600 };

struct audit_verdict {
  bool ok;
  char first[AUDIT_SAY]; /* what is wrong: "FILE:LINE: altered: ..." */
  uint64_t n_records, first_seq, last_seq;
  uint64_t n_lost;   /* records that could not be written, by "missing" */
  uint64_t n_halves; /* crashes that cut a record, by "resumed" */
  bool has_begin;    /* the log's very first record is there */
  bool has_wanted;   /* the hash that was asked for */
  char last_hash[AUDIT_HEX];
};

/* The files in whatever order. wanted: a hash noted earlier, which must be
 * among the records; NULL: none. 0, or ZTNA_ENOENT, ZTNA_EIO, ZTNA_ENOMEM with
 * a sentence in first: a file cannot be read. */
int audit_check(struct audit_verdict *v, char *const *files, size_t n,
                const char *wanted);

/* Lines of a file, one after the other. */
struct audit_reader {
  void *file; /* FILE */
  char line[AUDIT_LINE_MAX];
  size_t len;    /* without the newline; what is longer is cut off */
  bool closed;   /* it ended in a newline */
  bool too_long; /* it was */
  uint64_t number;
};
int audit_reader_open(struct audit_reader *r, const char *name);
bool audit_reader_next(struct audit_reader *r);
void audit_reader_close(struct audit_reader *r);

/* The same files, by the numbers of their records. sorted: room for n. */
int audit_sort(const char **sorted, char *const *files, size_t n,
               char why[AUDIT_SAY]);

#endif
