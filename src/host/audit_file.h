/* audit_file.h - the audit log on disk: one chain over all of its files. Used
 * by one thread at a time, and by one process: the file is locked. */
#ifndef ZTNA_HOST_AUDIT_FILE_H
#define ZTNA_HOST_AUDIT_FILE_H

#include <stdio.h>

#include "host/audit_line.h"

enum { AUDIT_WHY = 200 };

struct audit_file {
  int fd, dir;
  char name[256];              /* in that directory */
  const char *role, *identity; /* lent; of the file's first record */
  uint64_t size;               /* of the file, what waits in out not counted */
  uint64_t rotate;             /* a new file when it would be larger */
  uint64_t rotate_at;          /* that, or later when it failed */
  unsigned keep;               /* former files, NAME.1 the youngest */
  uint64_t seq;                /* of the last record */
  char last[AUDIT_HEX];        /* its hash */
  uint64_t n_rotated;
  char *out; /* bytes that are not written yet, in this order */
  size_t out_len, out_cap;
};

/* Makes the file, or goes on behind its last whole record; what a crash left
 * behind that is closed by a record which says so. role and identity: of who
 * writes. 0, or a ZTNA_E... value with a sentence in why: ZTNA_EPERM is also
 * what is no regular file of ours alone, ZTNA_EEXIST one that another process
 * writes, ZTNA_EMALFORMED one that is no audit log. */
int audit_file_open(struct audit_file *f, const char *path, uint64_t rotate,
                    unsigned keep, const char *role, const char *identity,
                    char why[AUDIT_WHY]);
void audit_file_close(struct audit_file *f);

/* The next record into memory; the former ones may have to be written for a
 * new file. 0, or what audit_file_write returns: then nothing was added. */
int audit_file_add(struct audit_file *f, const char *body, size_t len);
/* 0 when all is written, else the negative errno; the rest stays. */
int audit_file_write(struct audit_file *f);
void audit_file_sync(struct audit_file *f);

#endif
