/* relay_policy.c - see relay_policy.h. */
#include "relay_policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/utc.h"
#include "host/clock.h"
#include "host/policy_file.h"
#include "role.h"

static const char *name_of(const struct relay_policy *f) {
  return f->file ? f->file : "none";
}

static void took(struct relay_policy *f, const struct policy *policy) {
  f->n_rules = policy_n_rules(policy);
  f->loaded_at = (int64_t)(clock_wall() / SEC);
}

static int rename_to(struct relay_policy *f, const char *file) {
  char *copy = file ? strdup(file) : NULL;
  if (file && !copy) return ZTNA_ENOMEM;
  free(f->file);
  f->file = copy;
  return 0;
}

int relay_policy_load(struct relay_policy *f, const char *file,
                      struct policy **policy) {
  struct sbuf out = {0};
  *policy = NULL;
  int rc = rename_to(f, file);
  if (rc == 0 && file) rc = policy_file_policy(policy, file, &out);
  if (out.len) fputs(out.s, stderr);
  sbuf_done(&out);
  if (rc == 0) took(f, *policy);
  return rc;
}

/* --- again */

/* Each on a line of the log, as at the start on stderr. */
static void tell_mistakes(struct relay_policy *f, struct sbuf *lines) {
  char *at = lines->s, *end;
  f->n_mistakes = 0;
  snprintf(f->error, sizeof(f->error), "no memory");
  for (; at && (end = strchr(at, '\n')); at = end + 1) {
    *end = 0;
    log_err("relay: %s", at);
    if (!f->n_mistakes++) snprintf(f->error, sizeof(f->error), "%s", at);
  }
}

static void refused(struct relay_policy *f, struct sbuf *mistakes) {
  tell_mistakes(f, mistakes);
  f->is_bad = true;
  f->n_failures++;
  log_err("relay: not reloaded, the former policy stays in force file=%s "
          "mistakes=%llu",
          name_of(f), (unsigned long long)f->n_mistakes);
}

static void take(struct relay_policy *f, const char *file,
                 struct sbuf *mistakes) {
  struct policy *policy = NULL;
  if (file && policy_file_policy(&policy, file, mistakes) < 0) {
    refused(f, mistakes);
    return;
  }
  took(f, policy);
  f->is_bad = false;
  f->n_reloads++;
  relay_set_policy(f->relay, policy, clock_now());
  log_info("relay: policy reloaded file=%s rules=%zu", file ? file : "none",
           f->n_rules);
}

/* Out of the loop, so the core must be told first. */
static void on_change(void *ctx) {
  struct relay_policy *f = ctx;
  struct sbuf mistakes = {0};
  host_enter(f->role);
  take(f, f->file, &mistakes);
  sbuf_done(&mistakes);
}

static void follow(struct relay_policy *f) {
  watch_free(f->watch);
  f->watch = f->file ? watch_new(f->loop, f->file, on_change, f) : NULL;
}

static bool is_same_file(const struct relay_policy *f, const char *file) {
  return f->file && file ? !strcmp(f->file, file) : f->file == file;
}

void relay_policy_reload(struct relay_policy *f) {
  struct sbuf mistakes = {0};
  struct config fresh;
  if (applet_reload_to(f->call, &fresh, &mistakes) < 0) {
    refused(f, &mistakes);
  } else {
    const char *file = fresh.relay.policy;
    bool moved = !is_same_file(f, file);
    take(f, file, &mistakes);
    if (moved && !f->is_bad && rename_to(f, file) == 0) follow(f);
    config_free(&fresh);
  }
  sbuf_done(&mistakes);
}

/* --- life */

void relay_policy_start(struct relay_policy *f, const struct applet_call *call,
                        struct relay *relay, struct host_role *role,
                        uv_loop_t *loop) {
  f->call = call;
  f->relay = relay;
  f->role = role;
  f->loop = loop;
  follow(f);
}

void relay_policy_stop(struct relay_policy *f) {
  watch_free(f->watch);
  f->watch = NULL;
  free(f->file);
  f->file = NULL;
}

/* --- asked by people */

json_t *relay_policy_status(const struct relay_policy *f) {
  char at[UTC_STRLEN];
  json_t *j = json_pack("{s:s, s:s, s:I, s:b, s:I, s:I}", "file", name_of(f),
                        "loaded_at", utc_print(f->loaded_at, at), "rules",
                        (json_int_t)f->n_rules, "ok", !f->is_bad, "reloads",
                        (json_int_t)f->n_reloads, "failures",
                        (json_int_t)f->n_failures);
  json_object_set_new(j, "last_error",
                      f->is_bad ? json_string(f->error) : json_null());
  if (f->is_bad)
    json_object_set_new(j, "mistakes", json_integer((json_int_t)f->n_mistakes));
  return j;
}

void relay_policy_metrics(const struct relay_policy *f, struct sbuf *out) {
  sbuf_printf(
      out,
      "# HELP ztna_relay_policy_ok 1 when the policy file as it is now is in "
      "force\n"
      "# TYPE ztna_relay_policy_ok gauge\n"
      "ztna_relay_policy_ok %d\n"
      "# HELP ztna_relay_policy_rules rules of the policy in force\n"
      "# TYPE ztna_relay_policy_rules gauge\n"
      "ztna_relay_policy_rules %zu\n"
      "# HELP ztna_relay_policy_loaded_seconds when it was loaded, since "
      "1970\n"
      "# TYPE ztna_relay_policy_loaded_seconds gauge\n"
      "ztna_relay_policy_loaded_seconds %lld\n"
      "# HELP ztna_relay_policy_reloads_total times another was taken over\n"
      "# TYPE ztna_relay_policy_reloads_total counter\n"
      "ztna_relay_policy_reloads_total %llu\n"
      "# HELP ztna_relay_policy_reload_failures_total times it had mistakes\n"
      "# TYPE ztna_relay_policy_reload_failures_total counter\n"
      "ztna_relay_policy_reload_failures_total %llu\n",
      !f->is_bad, f->n_rules, (long long)f->loaded_at,
      (unsigned long long)f->n_reloads, (unsigned long long)f->n_failures);
}
