/* policy_config.h - a policy as its file states it, groups expanded: plain
 * data, read by host/policy_file.h, judged by part/policy.h (docs/POLICY.md).
 */
#ifndef ZTNA_POLICY_CONFIG_H
#define ZTNA_POLICY_CONFIG_H

#include <stddef.h>
#include <stdint.h>

#include "base/reason.h"

struct policy_ports {
  uint16_t first, last; /* both included; 1 to 65535 */
};

struct policy_limits { /* 0: none */
  uint32_t routes;     /* of one agent, by this rule */
  uint64_t rate;       /* bytes/s of each of them */
};

struct policy_rule {
  char *name;    /* unique in its file, never empty */
  char **agents; /* patterns: "spiffe://example.org/agent/" and so on, with *;
                    never empty, no "@group" any more */
  size_t n_agents;
  char **services; /* service ids or patterns with *; never empty */
  size_t n_services;
  unsigned protocols; /* PROTO_ bits of policy.h; never 0: none written means
                         all */
  struct policy_ports *ports; /* of UDP and TCP; none means all */
  size_t n_ports;
  int64_t until; /* seconds since 1970: it allows nothing from then on; 0: it
                    does not end */
  struct policy_limits limits;
};

struct policy_test {
  char *agent; /* a whole SPIFFE ID */
  char *service;
  unsigned protocol;  /* one PROTO_ bit */
  uint16_t port;      /* 0 for ICMP */
  enum reason expect; /* REASON_NONE ("allowed" in the file),
                         REASON_NOT_ALLOWED, REASON_PORT_NOT_ALLOWED or
                         REASON_REVOKED */
  int64_t at;         /* seconds since 1970; 0: before any rule ends, so that
                         time alone makes no policy fail */
  uint32_t line;      /* in the file; 0: not known */
};

struct policy_group { /* only for who wants to know what names there are */
  char *name;
  char **agents;
  size_t n_agents;
};

struct policy_config {
  struct policy_rule *rules;
  size_t n_rules;
  struct policy_test *tests;
  size_t n_tests;
  char **revoked; /* patterns of SPIFFE IDs, and serial numbers in hexadecimal
                     (policy_serial.h) */
  size_t n_revoked;
  struct policy_group *groups;
  size_t n_groups;
};

#endif
