/* policy_file.h - reads a policy file (CLI.md: groups, rules, tests) with the
 * strictness of the configuration: every mistake at once, with its line. */
#ifndef ZTNA_HOST_POLICY_FILE_H
#define ZTNA_HOST_POLICY_FILE_H

#include "base/sbuf.h"
#include "part/policy_config.h"

/* 0; ZTNA_ECONFIG (the mistakes were printed to stderr) or ZTNA_ENOMEM, both
 * with *p empty. */
int policy_file_load(struct policy_config *p, const char *file);
/* From memory; name stands for the file. Mistakes, a line each, go to out. */
int policy_file_parse(struct policy_config *p, const char *name,
                      const char *text, size_t len, struct sbuf *out);
void policy_file_free(struct policy_config *p); /* empty is fine */

#endif
