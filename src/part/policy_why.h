/* policy_why.h - decisions of a policy in words: which rule allows something,
 * or which one comes nearest and what it lacks. */
#ifndef ZTNA_POLICY_WHY_H
#define ZTNA_POLICY_WHY_H

#include "base/sbuf.h"
#include "part/policy.h"

enum { POLICY_WHY_MAX = 1024 };

struct policy_answer {
  enum reason reason; /* as policy_grant and permission_check have it */
  const char *rule;   /* that allows it, or the nearest; NULL: none is near.
                         Lives as long as the policy */
  char text[POLICY_WHY_MAX]; /* a sentence without a full stop */
};

/* protocol: one PROTO_ bit; port: 0 for ICMP. p NULL: default deny. */
void policy_why(const struct policy *p, int64_t now, const char *agent,
                const char *service, unsigned protocol, uint16_t port,
                struct policy_answer *out);

/* "tcp 80, 8000-8010; udp; icmp; 1048576 bytes/s; 2 routes", or
 * "nothing". */
void permission_print(const struct permission *p, struct sbuf *out);

#endif
