/* audit.h - the audit log of a role (docs/AUDIT.md): the loop hands records
 * over, a thread writes them. The loop never waits: what finds no room, since
 * the disk is full or too slow, is counted and told by the next record that is
 * written. NULL instead of a log is fine everywhere: nothing is recorded. */
#ifndef ZTNA_HOST_AUDIT_H
#define ZTNA_HOST_AUDIT_H

#include <jansson.h>

#include "base/audit.h"
#include "base/sbuf.h"

enum {
  AUDIT_ROOM = 4 << 20,  /* bytes that may wait for the thread */
  AUDIT_QUEUE = 1 << 15, /* records that may wait in a core */
};

struct audit_config {
  char *file;      /* NULL: nothing is recorded */
  uint64_t rotate; /* bytes of one file */
  uint32_t keep;   /* former files */
};

struct audit;

/* *to NULL and 0 when the configuration names no file. An error is logged: who
 * was told to keep a log must not start without. role and identity: for the
 * first record of each file; lent until audit_close. */
int audit_open(struct audit **to, const struct audit_config *c,
               const char *role, const char *identity);
/* The same with so many bytes of room; for tests. */
int audit_open_sized(struct audit **to, const struct audit_config *c,
                     const char *role, const char *identity, size_t room);
/* Writes what waits, here and in q (NULL: nothing does); a disk that takes
 * nothing is not waited for. */
void audit_close(struct audit *a, struct audit_queue *q);

/* Never blocks for the disk. */
void audit_write(struct audit *a, const struct audit_record *r);
/* So many were lost before they came here. */
void audit_lose(struct audit *a, uint64_t n);
/* What a core has, as far as there is room: the rest stays in its queue. */
void audit_drain(struct audit *a, struct audit_queue *q);

/* Waits until all that was handed over is in the file, so long at most; false:
 * it is not. For who does little and must not do what is not recorded. */
bool audit_flush(struct audit *a, unsigned ms);

/* For `ztna status`; null without a log. */
json_t *audit_status(struct audit *a);
void audit_metrics(struct audit *a, struct sbuf *out);

#endif
