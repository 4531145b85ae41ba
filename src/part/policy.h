/* policy.h - who may use what: default deny, rules by agent pattern, service,
 * protocol and port, until a time and within limits; and who may nothing
 * whatever rules say. Pure: the rules come parsed (policy_config.h), `now` is
 * seconds since 1970. */
#ifndef ZTNA_POLICY_H
#define ZTNA_POLICY_H

#include <stdbool.h>

#include "base/reason.h"
#include "part/policy_config.h"
#include "part/policy_serial.h"

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
  /* The least of each among all rules that match: a route carries what several
   * of them allow, and nobody on its way could tell their packets apart. */
  struct policy_limits limits;
  const char *routes_rule; /* whose limits.routes it is; as `rule` */
};

/* No rule ends, so `now` of who asks what rules mean, not what they mean now;
 * and the answer of policy_next_end when none will. */
#define POLICY_BEFORE_ALL INT64_MIN
#define POLICY_NEVER INT64_MAX

struct policy;

/* Takes a copy. Runs the policy's own tests; ZTNA_ECONFIG and *why (a sentence
 * that names the test, what was expected and what came out) when one fails, or
 * when `revoked` holds what is neither pattern nor number. ZTNA_ENOMEM. *p is
 * NULL on failure. */
int policy_new(struct policy **p, const struct policy_config *cfg, char *why,
               size_t room);
void policy_free(struct policy *p);
/* One test, as policy_new runs them all: 0 or ZTNA_ECONFIG and *why. */
int policy_test_run(const struct policy *p, const struct policy_test *test,
                    char *why, size_t room);
size_t policy_n_rules(const struct policy *p); /* p NULL: 0 */

/* REASON_NONE and *out, REASON_NOT_ALLOWED, or REASON_REVOKED by the name. p
 * NULL: default deny. */
enum reason policy_grant(const struct policy *p, int64_t now,
                         const char *agent_spiffe, const char *service,
                         struct permission *out);
/* Is whoever has this name (of any role), or this certificate (NULL: it is not
 * known), refused whatever rules say? p NULL: no. */
bool policy_revokes(const struct policy *p, const char *spiffe,
                    const struct policy_serial *serial);
/* The next moment behind `now` when a rule ends, or POLICY_NEVER. */
int64_t policy_next_end(const struct policy *p, int64_t now);

/* For one packet or flow: REASON_NONE or REASON_PORT_NOT_ALLOWED. */
enum reason permission_check(const struct permission *perm, unsigned protocol,
                             uint16_t port);
/* Ports, protocols and limits; not by which rules. */
bool permission_equal(const struct permission *a, const struct permission *b);

#endif
