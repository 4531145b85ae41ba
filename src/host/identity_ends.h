/* identity_ends.h - when what a program proves itself by runs out: its
 * certificate, the CAs it trusts, the lists of revoked certificates. What is
 * warned of and when; time is an argument (seconds since 1970). */
#ifndef ZTNA_HOST_IDENTITY_ENDS_H
#define ZTNA_HOST_IDENTITY_ENDS_H

#include <jansson.h>
#include <ztna/identity.h>

#include "base/sbuf.h"
#include "transport/cert.h"

enum {
  ENDS_MAX = 16,    /* CAs, and lists: more are not watched */
  ENDS_WORDS = 512, /* bytes of a warning */
};

/* One of them. */
struct identity_end {
  const char *kind;                   /* "certificate", "ca", "crl" */
  char name[IDENTITY_SPIFFE_MAX + 1]; /* SPIFFE ID, CA's common name */
  int64_t from, until;                /* until: INT64_MAX without end */
  bool renewed;     /* automatically: warned of when that is overdue */
  size_t n_revoked; /* of a list */
  int64_t told_at;  /* 0: not yet */
};

struct identity_ends {
  struct identity_end v[1 + 2 * ENDS_MAX]; /* the own certificate first */
  size_t n, n_ca, n_crl;                   /* CAs, then lists */
};

/* What files say that TLS has accepted. renewed: identity.enroll is set. 0,
 * ZTNA_EMALFORMED or ZTNA_ENOMEM. */
int identity_ends_read(struct identity_ends *e, const struct ztna_identity *own,
                       bool renewed);
/* What was told of an end that is the same in `was` need not be told again. */
void identity_ends_keep(struct identity_ends *e,
                        const struct identity_ends *was);

/* From when on there is a warning: 14 days before the end; the last third of a
 * life of less than 6 weeks; a sixth of the own certificate's when it is
 * renewed automatically. */
int64_t identity_end_warns_at(const struct identity_end *e);
/* "the CA's certificate \"ztna CA example.org\" ends in 6 days, on 2026-..." */
const char *identity_end_words(const struct identity_end *e, int64_t now,
                               char buf[ENDS_WORDS]);
/* Calls back for each warning that is due in the log: the first time, then
 * once a day, in the last day (and behind it) each hour. */
void identity_ends_tell(struct identity_ends *e, int64_t now,
                        void (*tell)(void *ctx, bool is_over,
                                     const char *words),
                        void *ctx);
/* When it should be asked again, an hour from now at most. */
int64_t identity_ends_next(const struct identity_ends *e, int64_t now);
/* A CA that was in force has run out between the two. */
bool identity_ends_lost_ca(const struct identity_ends *e, int64_t then,
                           int64_t now);

/* "not_after", "expires_in_s", "warning", "ca": [...], "crl": [...] are added.
 */
void identity_ends_status(const struct identity_ends *e, int64_t now,
                          json_t *to);
void identity_ends_metrics(const struct identity_ends *e, int64_t now,
                           struct sbuf *out);

#endif
