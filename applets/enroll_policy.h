/* enroll_policy.h - the relays' policy beside the enrolment service: whom it
 * revokes, by name or by certificate, renews nothing. Read again when the file
 * changes or SIGHUP comes; one with mistakes changes nothing. */
#ifndef ZTNA_APPLETS_ENROLL_POLICY_H
#define ZTNA_APPLETS_ENROLL_POLICY_H

#include <jansson.h>

#include "base/sbuf.h"
#include "host/watch.h"
#include "part/policy.h"
#include "transport/identity.h"

struct enroll_policy {
  const char *file; /* NULL: none, nobody is revoked by it */
  struct policy *policy;
  struct watch *watch;
  bool is_bad; /* the file as it is now */
  uint64_t n_reloads, n_failures;
};

/* To begin with; mistakes go to stderr. 0, ZTNA_ECONFIG or ZTNA_ENOMEM. */
int enroll_policy_load(struct enroll_policy *p, const char *file);
/* Watches the file from now on. */
void enroll_policy_start(struct enroll_policy *p, uv_loop_t *loop);
/* Zeroed is fine. */
void enroll_policy_stop(struct enroll_policy *p);
void enroll_policy_reload(struct enroll_policy *p);
bool enroll_policy_revokes(const struct enroll_policy *p,
                           const struct identity *id);
json_t *enroll_policy_status(const struct enroll_policy *p);
void enroll_policy_metrics(const struct enroll_policy *p, struct sbuf *out);

#endif
