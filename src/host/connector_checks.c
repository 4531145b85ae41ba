/* connector_checks.c - a connector's health checks: the core says when, check.h
 * asks. */
#include "host/connector_host.h"

#include <string.h>
#include <ztna/err.h>

#include "host/clock.h"

void connector_checks_rule(const struct service_config *s,
                           struct connector_service *to) {
  const struct check_config *c = &s->check;
  const struct backend_config *b = config_checked_backend(s);

  if (!b) return;
  to->check = (struct health_rule){.every = c->every,
                                   .timeout = c->timeout,
                                   .fail_after = c->fail_after,
                                   .pass_after = c->pass_after};
  to->check_backend = (size_t)(b - s->backends);
}

static struct check_how how_of(const struct service_config *s) {
  const struct check_config *c = &s->check;

  return (struct check_how){
      .by = c->type == CHECK_HTTP  ? CHECK_BY_HTTP
            : c->type == CHECK_UDP ? CHECK_BY_UDP
                                   : CHECK_BY_TCP,
      .path = c->path,
      .host = c->host ? c->host : config_checked_backend(s)->to,
      .status_first = c->status.first,
      .status_last = c->status.last,
      .send = c->send,
      .expect = c->expect,
  };
}

void connector_checks_flush(struct connector_host *p) {
  struct connector_check_op op;

  while (connector_check_next(p->core, &op)) {
    if (op.kind == CONNECTOR_CHECK_CANCEL) {
      checks_cancel(p->checks, op.service);
    } else {
      struct check_how how = how_of(&p->config->services[op.service]);

      checks_start(p->checks, op.service, &how, &op.addr);
    }
  }
}

static void on_done(void *ctx, size_t service, const char *error) {
  struct connector_host *p = ctx;

  connector_check_done(p->core, clock_now(), service, error);
}

static void on_ready(void *ctx, uint64_t now) {
  checks_run(((struct connector_host *)ctx)->checks);
}

static bool text_equal(const char *a, const char *b) {
  return a == b || (a && b && !strcmp(a, b));
}

bool connector_checks_differ(const struct service_config *was,
                             const struct service_config *is) {
  const struct check_config *a = &was->check, *b = &is->check;

  return a->type != b->type || !text_equal(a->path, b->path) ||
         !text_equal(a->host, b->host) || a->status.first != b->status.first ||
         a->status.last != b->status.last || !text_equal(a->send, b->send) ||
         !text_equal(a->expect, b->expect);
}

int connector_checks_start(struct connector_host *p) {
  p->checks = checks_new(on_done, p);
  if (!p->checks) return ZTNA_ENOMEM;
  return host_watch(p->role, checks_fd(p->checks), on_ready, p);
}
