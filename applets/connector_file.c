/* connector_file.c - see connector_file.h. */
#include "connector_file.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "host/clock.h"
#include "host/config_diff.h"
#include "role.h"

/* In force at once; all else needs a new start. */
static const char *const in_force[] = {
    "connector.services", "connector.drain_timeout", "log.level", NULL};

/* --- mistakes */

void connector_file_judge(const struct applet_call *call,
                          const struct config *c, const struct tls *tls,
                          struct sbuf *out) {
  const struct connector_config *k = &c->connector;

  for (size_t i = 0; i < k->n_services; i++) {
    const char *id = k->services[i].id;

    if (identity_serves(tls_identity(tls), id)) continue;
    sbuf_printf(out,
                "%s: connector.services[%zu].id: the certificate does not name "
                "\"%s\"; issue one with: ztna cert issue --role connector "
                "--service %s ...\n",
                role_source(call), i, id, id);
  }
}

/* Each on a line of the log, as at the start on stderr. */
static void tell_mistakes(struct connector_file *f, struct sbuf *lines) {
  char *at = lines->s, *end;

  f->n_mistakes = 0;
  snprintf(f->error, sizeof(f->error), "no memory");
  for (; at && (end = strchr(at, '\n')); at = end + 1) {
    *end = 0;
    log_err("connector: %s", at);
    if (!f->n_mistakes++) snprintf(f->error, sizeof(f->error), "%s", at);
  }
}

/* --- loading */

static void take_rest(struct connector_file *f, const struct config *fresh) {
  struct config *c = f->call->config;

  c->log.level = fresh->log.level;
  log_set_level(c->log.level);
  sbuf_done(&f->restart);
  config_diff(c, fresh, CONFIG_CONNECTOR, in_force, &f->restart);
  if (f->restart.len)
    log_warn("connector: changed, but not in force before a restart: %s",
             f->restart.s);
}

/* 0, or an error with its mistakes in out. */
static int load(struct connector_file *f, struct config *fresh,
                struct sbuf *out) {
  int rc = applet_reload_to(f->call, fresh, out);

  if (rc < 0) return rc;
  connector_file_judge(f->call, fresh, identity_file_tls(f->identity), out);
  if (out->len || out->failed) return ZTNA_ECONFIG;
  rc = connector_host_reload(f->host, &fresh->connector);
  if (rc < 0) sbuf_printf(out, "%s\n", ztna_strerror(rc));
  return rc;
}

static void reload(void *ctx) {
  struct connector_file *f = ctx;
  struct config fresh;
  struct sbuf out = {0};

  f->is_bad = load(f, &fresh, &out) < 0;
  if (f->is_bad) {
    tell_mistakes(f, &out);
    f->n_failures++;
    log_err("connector: not reloaded, the former configuration stays in force "
            "file=%s mistakes=%llu",
            role_source(f->call), (unsigned long long)f->n_mistakes);
  } else {
    f->n_reloads++;
    f->loaded_at = clock_now();
    log_info("connector: reloaded file=%s services=%zu", role_source(f->call),
             f->call->config->connector.n_services);
    take_rest(f, &fresh);
  }
  config_free(&fresh);
  sbuf_done(&out);
}

/* --- identity */

/* Relays refuse a registration that the certificate does not name as a whole.
 */
static int judge_services(const struct connector_config *c,
                          const struct identity *id, char *why, size_t room) {
  for (size_t i = 0; i < c->n_services; i++) {
    if (identity_serves(id, c->services[i].id)) continue;
    snprintf(why, room, "cert: does not name the service \"%s\"",
             c->services[i].id);
    return ZTNA_EREFUSED;
  }
  return 0;
}

static int take_identity(void *ctx, struct tls *tls,
                         const struct ztna_identity *own, char *why,
                         size_t room) {
  struct connector_file *f = ctx;
  int rc =
      judge_services(&f->call->config->connector, tls_identity(tls), why, room);

  if (rc < 0) return rc;
  host_enter(f->host->role);
  connector_set_tls(f->host->core, tls, clock_now());
  return 0;
}

static const struct identity_file_ops identity_ops = {.take = take_identity};

/* --- life */

static void on_signal(void *ctx) {
  struct connector_file *f = ctx;

  reload(f);
  identity_file_reload(f->identity);
}

/* Out of the loop, so the core must be told first. */
static void on_change(void *ctx) {
  struct connector_file *f = ctx;

  host_enter(f->host->role);
  reload(f);
}

void connector_file_start(struct connector_file *f,
                          const struct applet_call *call,
                          struct identity_file *identity,
                          struct connector_host *host, uv_loop_t *loop) {
  *f = (struct connector_file){.call = call,
                               .identity = identity,
                               .host = host,
                               .loaded_at = clock_now()};
  identity_file_start(identity, loop, &identity_ops, f);
  host->on_reload = on_signal;
  host->reload_ctx = f;
  if (call->config_file)
    f->watch = watch_new(loop, call->config_file, on_change, f);
}

void connector_file_stop(struct connector_file *f) {
  watch_free(f->watch);
  f->watch = NULL;
  identity_file_stop(f->identity);
  sbuf_done(&f->restart);
}

/* --- asked by people */

json_t *connector_file_status(const struct connector_file *f) {
  json_t *j = json_pack(
      "{s:s, s:b, s:I, s:I, s:I}", "file",
      f->call->config_file ? f->call->config_file : "none", "ok", !f->is_bad,
      "since_ms", (json_int_t)((clock_now() - f->loaded_at) / MS), "reloads",
      (json_int_t)f->n_reloads, "failures", (json_int_t)f->n_failures);

  if (f->is_bad) {
    json_object_set_new(j, "mistakes", json_integer((json_int_t)f->n_mistakes));
    json_object_set_new(j, "error", json_string(f->error));
  }
  if (f->restart.len)
    json_object_set_new(j, "needs_restart", json_string(f->restart.s));
  return j;
}

void connector_file_metrics(const struct connector_file *f, struct sbuf *out) {
  sbuf_printf(
      out,
      "# HELP ztna_connector_config_ok 1 when the configuration file as it is "
      "now is in force\n"
      "# TYPE ztna_connector_config_ok gauge\n"
      "ztna_connector_config_ok %d\n"
      "# HELP ztna_connector_config_reloads_total times it was taken over\n"
      "# TYPE ztna_connector_config_reloads_total counter\n"
      "ztna_connector_config_reloads_total %llu\n"
      "# HELP ztna_connector_config_reload_failures_total times it had "
      "mistakes\n"
      "# TYPE ztna_connector_config_reload_failures_total counter\n"
      "ztna_connector_config_reload_failures_total %llu\n",
      !f->is_bad, (unsigned long long)f->n_reloads,
      (unsigned long long)f->n_failures);
}
