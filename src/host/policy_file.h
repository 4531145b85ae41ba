/* policy_file.h - reads a policy file (docs/POLICY.md) with the strictness of
 * the configuration: every mistake at once, with its line. */
#ifndef ZTNA_HOST_POLICY_FILE_H
#define ZTNA_HOST_POLICY_FILE_H

#include "base/sbuf.h"
#include "part/policy.h"

/* Mistakes, a line each, go to out. */

/* 0; ZTNA_ECONFIG (mistakes) or ZTNA_ENOMEM, both with *p empty. */
int policy_file_load(struct policy_config *p, const char *file,
                     struct sbuf *out);
/* From memory; file is its name in mistakes. */
int policy_file_parse(struct policy_config *p, const char *file,
                      const char *text, size_t len, struct sbuf *out);
void policy_file_free(struct policy_config *p); /* empty is fine */

/* The policy that it states, when all its tests pass. 0; ZTNA_ECONFIG or
 * ZTNA_ENOMEM, both with *p NULL. */
int policy_file_make(struct policy **p, const struct policy_config *cfg,
                     const char *file, struct sbuf *out);
/* Load and make. */
int policy_file_policy(struct policy **p, const char *file, struct sbuf *out);

#endif
