/* policy_int.h - what the files policy*.c share. Nobody else includes it. */
#ifndef ZTNA_PART_POLICY_INT_H
#define ZTNA_PART_POLICY_INT_H

#include "part/policy.h"

struct policy_revoked {
  char *pattern; /* NULL: the serial number */
  struct policy_serial serial;
};

struct policy {
  struct policy_rule *rules;
  size_t n_rules;
  struct policy_revoked *revoked;
  size_t n_revoked;
};

bool rule_is_for(const struct policy_rule *r, const char *agent);
bool rule_has_service(const struct policy_rule *r, const char *service);
bool rule_has_ended(const struct policy_rule *r, int64_t now);
/* The pattern in `revoked` that takes the name back, or NULL. */
const char *policy_revoking(const struct policy *p, const char *spiffe);
const char *policy_protocol_name(unsigned protocol); /* of one bit */

#endif
