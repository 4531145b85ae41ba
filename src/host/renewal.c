#include "host/renewal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ztna/err.h>

#include "base/log.h"
#include "base/metrics.h"
#include "base/utc.h"
#include "host/clock.h"
#include "host/enroll_ask.h"
#include "host/renewal_files.h"

enum {
  WAIT_LEAST = 60,    /* seconds, of certificates that live long enough */
  WAIT_EXPIRED = 600, /* then it takes a person, but clocks are mended, too */
  LOOK_EVERY = 300,   /* a machine that slept has another time now */
  CHANGED_AFTER = 10, /* the network tells of more changes than there are */
};

struct counters {
  uint64_t ok, attempts, failures;
};

struct renewal {
  const struct identity_config *id;
  struct host *host;
  struct host_role *role;
  struct enroll_ask *ask;
  struct renewal_present present;
  struct renewal_files files; /* of the attempt */
  int64_t ask_at;             /* seconds since 1970; 0: not known yet */
  uint64_t look_at;           /* monotonic */
  bool told_unreadable;
  struct counters n;
  int64_t last_at; /* of the last attempt; 0: none */
  char text[RENEWAL_TEXT];
};

static int64_t wall(void) { return (int64_t)(clock_wall() / SEC); }

/* --- when */

static int64_t life_begins(int64_t from, int64_t to, int64_t got) {
  return got > from && got < to ? got : from;
}

int64_t renewal_first_at(int64_t from, int64_t to, int64_t got, uint64_t draw) {
  int64_t begins = life_begins(from, to, got), life = to - begins;
  int64_t early = life > 0 ? (int64_t)(draw % (uint64_t)(life / 10 + 1)) : 0;
  return begins + life / 3 * 2 + life % 3 * 2 / 3 - early;
}

/* A tenth of what is left, so that many attempts fit into it; of a short life a
 * minute would be too much. */
int64_t renewal_next_at(int64_t from, int64_t to, int64_t got, int64_t now) {
  int64_t life = to - life_begins(from, to, got);
  int64_t least = life / 20 < WAIT_LEAST ? life / 20 : WAIT_LEAST;
  int64_t late = life / 3 < WAIT_EXPIRED ? life / 3 : WAIT_EXPIRED;
  int64_t wait = now < to ? (to - now) / 10 : late;
  if (wait < least) wait = least;
  return now + (wait > 0 ? wait : 1);
}

/* --- what came of it */

static void plan(struct renewal *r, int64_t at) {
  int64_t left = at - wall();
  r->ask_at = at;
  if (left < 0) left = 0;
  if (left > LOOK_EVERY) left = LOOK_EVERY;
  r->look_at = clock_now() + (uint64_t)left * SEC;
}

static void plan_first(struct renewal *r) {
  const struct renewal_present *p = &r->present;
  plan(r, renewal_first_at(p->from, p->to, p->got, rng_u64(&clock_rng)));
}

static void failed(struct renewal *r, const char *text) {
  const struct renewal_present *p = &r->present;
  char again[UTC_STRLEN], end[UTC_STRLEN];
  r->n.failures++;
  r->n.ok = 0;
  r->last_at = wall();
  snprintf(r->text, sizeof(r->text), "%s", text);
  plan(r, renewal_next_at(p->from, p->to, p->got, wall()));
  log_line(p->to > wall() ? LOG_LEVEL_WARN : LOG_LEVEL_ERR,
           "renewal: failed server=%s again=%s ends=%s: %s", r->id->enroll,
           utc_print(r->ask_at, again), utc_print(p->to, end), r->text);
}

static void succeeded(struct renewal *r, bool new_ca) {
  char ends[UTC_STRLEN], next[UTC_STRLEN];
  renewal_present_read(&r->present, r->id->cert);
  r->n.ok = 1;
  r->last_at = wall();
  snprintf(r->text, sizeof(r->text), "renewed");
  plan_first(r);
  log_info("renewal: new certificate ends=%s next=%s%s",
           utc_print(r->present.to, ends), utc_print(r->ask_at, next),
           new_ca ? " and a new list of CAs" : "");
}

static void take(struct renewal *r, const struct enroll_result *got) {
  char why[RENEWAL_TEXT];
  bool new_ca;
  int rc = renewal_files_take(&r->files, r->id, got, &new_ca, why);
  if (rc == 0) {
    succeeded(r, new_ca);
    return;
  }
  failed(r, why);
  if (rc == ZTNA_EEXIST) r->look_at = 0;
}

static void on_result(void *ctx, struct enroll_result *result) {
  struct renewal *r = ctx;
  if (result->why == REASON_NONE)
    take(r, result);
  else
    failed(r, result->text);
  renewal_files_done(&r->files);
  host_enter(r->role);
}

/* --- asking */

static void ask(struct renewal *r) {
  char why[RENEWAL_TEXT];
  r->n.attempts++;
  if (renewal_files_read(&r->files, r->id, why) < 0) {
    failed(r, why);
    renewal_files_done(&r->files);
    return;
  }
  const struct enroll_options o = {.server = r->id->enroll,
                                   .key = r->files.key,
                                   .key_len = r->files.key_len,
                                   .own = &r->files.own};
  log_info("renewal: asking server=%s", r->id->enroll);
  enroll_ask_start(r->ask, &o);
}

/* Another certificate, by whomever, has times of its own. */
static void look(struct renewal *r) {
  struct renewal_present now;
  bool known = r->ask_at != 0;
  if (renewal_present_read(&now, r->id->cert) < 0) {
    if (!r->told_unreadable)
      log_warn("renewal: %s holds no readable certificate", r->id->cert);
    r->told_unreadable = true;
    r->look_at = clock_now() + LOOK_EVERY * SEC;
    return;
  }
  r->told_unreadable = false;
  if (!known || !renewal_present_same(&now, &r->present)) {
    r->present = now;
    plan_first(r);
  } else {
    plan(r, r->ask_at);
  }
  if (wall() >= r->ask_at) ask(r);
}

/* --- verbs */

static void tick(void *ctx, uint64_t now) {
  struct renewal *r = ctx;
  if (enroll_ask_is_busy(r->ask) || host_is_stopping(r->host)) return;
  if (now >= r->look_at) look(r);
}

static int next(void *ctx, uint64_t now, struct dgram *v, int max) { return 0; }

static uint64_t deadline(const void *ctx) {
  const struct renewal *r = ctx;
  if (enroll_ask_is_busy(r->ask) || host_is_stopping(r->host)) return NEVER;
  return r->look_at;
}

static void reload(void *ctx, uint64_t now) {
  ((struct renewal *)ctx)->look_at = now;
}

/* What failed may have been the network's fault. */
static void network_changed(void *ctx, uint64_t now) {
  struct renewal *r = ctx;
  if (r->n.ok || enroll_ask_is_busy(r->ask)) return;
  if (wall() >= r->last_at + CHANGED_AFTER) plan(r, wall() + 1);
}

static const struct loop_role verbs = {.tick = tick,
                                       .next = next,
                                       .deadline = deadline,
                                       .reload = reload,
                                       .network_changed = network_changed};

/* --- life */

struct renewal *renewal_new(struct host *h, const struct identity_config *id) {
  struct renewal *r;
  if (!id->enroll) return NULL;
  r = calloc(1, sizeof(*r));
  if (r) {
    *r = (struct renewal){.id = id, .host = h, .n.ok = 1};
    r->ask = enroll_ask_new(h, on_result, r);
    r->role = r->ask ? host_add(h, &verbs, r, NULL) : NULL;
    if (r->role) return r;
  }
  log_err("renewal: no memory, the certificate will not be renewed");
  renewal_free(r);
  return NULL;
}

void renewal_free(struct renewal *r) {
  if (!r) return;
  enroll_ask_free(r->ask);
  renewal_files_done(&r->files);
  free(r);
}

/* --- asked by people */

static json_t *time_json(int64_t at) {
  char text[UTC_STRLEN];
  return at ? json_string(utc_print(at, text)) : json_null();
}

json_t *renewal_status(const struct renewal *r) {
  json_t *last = json_null();
  if (!r) return last;
  if (r->last_at)
    last = json_pack("{s:b, s:o, s:s}", "ok", r->n.ok != 0, "at",
                     time_json(r->last_at), "text", r->text);
  return json_pack(
      "{s:s, s:s, s:o, s:o, s:I, s:I, s:o}", "server", r->id->enroll, "state",
      enroll_ask_is_busy(r->ask) ? "asking" : "waiting", "asks_at",
      time_json(r->ask_at), "certificate_ends", time_json(r->present.to),
      "attempts", (json_int_t)r->n.attempts, "failures",
      (json_int_t)r->n.failures, "last", last);
}

static const struct metric metrics[] = {
    {"ztna_renewal_ok",
     "1 unless the last attempt to renew the certificate failed", METRIC_GAUGE,
     offsetof(struct counters, ok)},
    {"ztna_renewal_attempts_total", "Attempts to renew the certificate",
     METRIC_COUNTER, offsetof(struct counters, attempts)},
    {"ztna_renewal_failures_total", "Of them, those that failed",
     METRIC_COUNTER, offsetof(struct counters, failures)},
    {0},
};

void renewal_metrics(const struct renewal *r, struct sbuf *out) {
  if (r) metrics_print(out, metrics, &r->n);
}
