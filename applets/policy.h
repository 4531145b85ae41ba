/* policy.h - what the files of `ztna policy` share. */
#ifndef ZTNA_APPLETS_POLICY_H
#define ZTNA_APPLETS_POLICY_H

#include <jansson.h>

#include "applet.h"
#include "part/policy.h"

struct policy_opts {
  char *agent, *service;
  unsigned protocol; /* PROTO_ bit; 0: not given */
  uint16_t port;
  int64_t at; /* seconds since 1970; 0: now */
  bool json;
};

/* A file as it is written, and the policy it states, tests not run. */
struct policy_read {
  struct policy_config cfg;
  struct policy *policy;
};
/* An EXIT_ code; mistakes were printed. */
int policy_read(struct policy_read *p, const char *file);
void policy_read_done(struct policy_read *p);

int64_t policy_when(const struct policy_opts *o);
/* Prints and frees. An EXIT_ code. */
int policy_print_json(json_t *j);

int policy_diff(const struct policy_opts *o, char *const *files);

#endif
