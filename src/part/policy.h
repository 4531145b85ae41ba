/* policy.h - who may use what: default deny, rules by agent pattern, service,
 * protocol and port. Pure: the rules come parsed (policy_config.h). */
#ifndef ZTNA_POLICY_H
#define ZTNA_POLICY_H

#include <stdbool.h>

#include "base/reason.h"
#include "part/policy_config.h"

enum { PROTO_UDP = 1, PROTO_TCP = 2, PROTO_ICMP = 4 }; /* bits */

struct port_range {
  uint16_t first, last;
};

enum { GRANT_MAX_RANGES = 32 };

/* What an agent may do with a service: the union of all rules that match, in
 * one canonical form. ICMP has no ports. What does not fit is denied. */
struct permission {
  unsigned protocols; /* bits; 0: nothing */
  size_t n_ranges;    /* of UDP and TCP; 0 with a protocol set: all ports */
  struct port_range ranges[GRANT_MAX_RANGES];
  unsigned range_protocols[GRANT_MAX_RANGES]; /* to which each range applies */
  const char *rule; /* name of the first rule that matched; lives as long
                       as the policy */
};

struct policy;

/* Takes a copy. Runs the policy's own tests; ZTNA_ECONFIG and *why (a sentence
 * that names the test, what was expected and what came out) when one fails.
 * ZTNA_ENOMEM. *p is NULL on failure. */
int policy_new(struct policy **p, const struct policy_config *cfg, char *why,
               size_t room);
void policy_free(struct policy *p);

/* REASON_NONE and *out, or REASON_NOT_ALLOWED. p NULL: default deny. */
enum reason policy_grant(const struct policy *p, const char *agent_spiffe,
                         const char *service, struct permission *out);
/* For one packet or flow: REASON_NONE or REASON_PORT_NOT_ALLOWED. */
enum reason permission_check(const struct permission *perm, unsigned protocol,
                             uint16_t port);
bool permission_equal(const struct permission *a, const struct permission *b);

#endif
