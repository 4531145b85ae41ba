/* enroll_policy.c - see enroll_policy.h. */
#include "enroll_policy.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <ztna/err.h>

#include "base/log.h"
#include "base/metrics.h"
#include "host/policy_file.h"
#include "part/policy_serial.h"

static int read_file(struct enroll_policy *p, struct sbuf *mistakes) {
  struct policy *fresh;
  int rc = policy_file_policy(&fresh, p->file, mistakes);
  if (rc < 0) return rc;
  policy_free(p->policy);
  p->policy = fresh;
  return 0;
}

int enroll_policy_load(struct enroll_policy *p, const char *file) {
  struct sbuf mistakes = {0};
  p->file = file;
  int rc = file ? read_file(p, &mistakes) : 0;
  if (mistakes.len) fputs(mistakes.s, stderr);
  sbuf_done(&mistakes);
  return rc;
}

void enroll_policy_reload(struct enroll_policy *p) {
  struct sbuf mistakes = {0};
  if (!p->file) return;
  p->is_bad = read_file(p, &mistakes) < 0;
  if (p->is_bad) {
    p->n_failures++;
    log_err("enroll: not reloaded, the former policy stays in force: %.400s",
            mistakes.len ? mistakes.s : "no memory");
  } else {
    p->n_reloads++;
    log_info("enroll: policy reloaded file=%s", p->file);
  }
  sbuf_done(&mistakes);
}

static void on_change(void *ctx) { enroll_policy_reload(ctx); }

void enroll_policy_start(struct enroll_policy *p, uv_loop_t *loop) {
  if (p->file) p->watch = watch_new(loop, p->file, on_change, p);
}

void enroll_policy_stop(struct enroll_policy *p) {
  watch_free(p->watch);
  policy_free(p->policy);
  *p = (struct enroll_policy){0};
}

bool enroll_policy_revokes(const struct enroll_policy *p,
                           const struct identity *id) {
  struct policy_serial serial;
  policy_serial_parse(&serial, id->serial);
  return policy_revokes(p->policy, id->spiffe, &serial);
}

json_t *enroll_policy_status(const struct enroll_policy *p) {
  if (!p->file) return json_null();
  return json_pack("{s:s, s:b, s:I}", "file", p->file, "ok", !p->is_bad,
                   "reloads", (json_int_t)p->n_reloads);
}

static const struct metric metrics[] = {
    {"ztna_enroll_policy_reloads_total", "policies taken over", METRIC_COUNTER,
     offsetof(struct enroll_policy, n_reloads)},
    {"ztna_enroll_policy_failures_total", "policies with mistakes",
     METRIC_COUNTER, offsetof(struct enroll_policy, n_failures)},
    {0},
};

void enroll_policy_metrics(const struct enroll_policy *p, struct sbuf *out) {
  if (p->file) metrics_print(out, metrics, p);
}
