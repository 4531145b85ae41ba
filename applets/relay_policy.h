/* relay_policy.h - the policy file of a running relay: read again when it
 * changes or SIGHUP comes. A file with mistakes changes nothing. */
#ifndef ZTNA_APPLETS_RELAY_POLICY_H
#define ZTNA_APPLETS_RELAY_POLICY_H

#include <jansson.h>

#include "applet.h"
#include "host/loop.h"
#include "host/watch.h"
#include "role/relay.h"

struct relay_policy {
  const struct applet_call *call;
  struct relay *relay;
  struct host_role *role;
  uv_loop_t *loop;
  char *file; /* NULL: none is configured, nothing is allowed */
  struct watch *watch;
  size_t n_rules;    /* of what is in force */
  int64_t loaded_at; /* likewise; seconds since 1970 */
  bool is_bad;       /* the file as it is now; error says why */
  char error[512];   /* the first mistake */
  uint64_t n_mistakes, n_reloads, n_failures;
};

/* The policy to begin with; *policy NULL: there is no file. Mistakes go to
 * stderr. 0, ZTNA_ECONFIG or ZTNA_ENOMEM. */
int relay_policy_load(struct relay_policy *f, const char *file,
                      struct policy **policy);
/* Watches the file from now on. All is lent. */
void relay_policy_start(struct relay_policy *f, const struct applet_call *call,
                        struct relay *relay, struct host_role *role,
                        uv_loop_t *loop);
/* Before the loop ends. Zeroed is fine. */
void relay_policy_stop(struct relay_policy *f);
/* SIGHUP: the configuration may name another file. */
void relay_policy_reload(struct relay_policy *f);

json_t *relay_policy_status(const struct relay_policy *f);
void relay_policy_metrics(const struct relay_policy *f, struct sbuf *out);

#endif
