#include "host/enroll_ask.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ztna/err.h>

#include "host/clock.h"

enum {
  SOCK = 1, /* dgram.h: opened by the first packet */
  CLOSE_V4 = 1,
  CLOSE_V6 = 2, /* what is still to be closed */
};

struct enroll_ask {
  struct host *host;
  struct host_role *role;
  on_enroll_result on_result;
  void *ctx;
  struct enroll_options o;
  bool busy;
  struct enroll_client *core; /* NULL: no attempt */
  bool failed;                /* without one: what there is to tell */
  struct enroll_result result;
  unsigned to_close;
};

/* --- the end of an attempt */

static void tell(struct enroll_ask *a, struct enroll_result *r) {
  if (!a->busy) return;
  a->busy = false;
  a->on_result(a->ctx, r);
}

static void settle(struct enroll_ask *a) {
  struct enroll_result *r = a->core ? enroll_client_result(a->core) : NULL;
  if (r) tell(a, r);
  if (a->core && enroll_client_is_over(a->core)) {
    enroll_client_free(a->core);
    a->core = NULL;
    a->to_close = CLOSE_V4 | CLOSE_V6;
  }
  if (!a->failed) return;
  a->failed = false;
  tell(a, &a->result);
}

static bool is_due(const struct enroll_ask *a) {
  return a->failed || (a->core && a->busy && enroll_client_result(a->core)) ||
         (a->core && enroll_client_is_over(a->core));
}

/* --- its beginning */

static void fail(struct enroll_ask *a, enum reason why, const char *text) {
  enroll_result_done(&a->result);
  enroll_refuse(&a->result, why, "%s", text);
  a->failed = true;
}

static void on_name(void *ctx, const struct ztna_addr *v, int n,
                    const char *why) {
  struct enroll_ask *a = ctx;
  char text[256];
  host_enter(a->role);
  if (n <= 0) {
    fail(a, REASON_RELAY_UNREACHABLE, why);
    return;
  }
  a->o.addrs = v;
  a->o.n_addrs = (size_t)n;
  if (enroll_client_new(&a->core, &a->o, clock_now(), text, sizeof(text)) < 0)
    fail(a, REASON_BAD_CERTIFICATE, text);
}

void enroll_ask_start(struct enroll_ask *a, const struct enroll_options *o) {
  host_enter(a->role);
  if (a->core) { /* its goodbye was not sent yet */
    enroll_client_free(a->core);
    a->core = NULL;
  }
  a->o = *o;
  a->o.rng = &clock_rng;
  a->o.sock = SOCK;
  a->busy = true;
  resolve_name(host_resolver(a->host), o->server, ENROLL_PORT, on_name, a);
}

bool enroll_ask_is_busy(const struct enroll_ask *a) { return a->busy; }

/* --- verbs */

static void udp_in(void *ctx, uint64_t now, const struct dgram *d) {
  struct enroll_ask *a = ctx;
  if (a->core) enroll_client_udp_in(a->core, now, d);
}

static void tick(void *ctx, uint64_t now) {
  struct enroll_ask *a = ctx;
  if (a->core) enroll_client_tick(a->core, now);
  settle(a);
}

static bool close_one(struct enroll_ask *a, struct dgram *d) {
  uint16_t family = a->to_close & CLOSE_V4 ? 4 : 6;
  if (!a->to_close) return false;
  a->to_close &= ~(unsigned)(family == 4 ? CLOSE_V4 : CLOSE_V6);
  *d = (struct dgram){.remote.family = family, .seg = 1, .sock = SOCK};
  return true;
}

static int next(void *ctx, uint64_t now, struct dgram *v, int max) {
  struct enroll_ask *a = ctx;
  if (a->core) return enroll_client_next(a->core, now, v, max);
  return close_one(a, v);
}

static uint64_t deadline(const void *ctx) {
  const struct enroll_ask *a = ctx;
  if (is_due(a)) return 0;
  return a->core ? enroll_client_deadline(a->core) : NEVER;
}

static const struct loop_role verbs = {
    .udp_in = udp_in, .tick = tick, .next = next, .deadline = deadline};

/* --- life */

struct enroll_ask *enroll_ask_new(struct host *h, on_enroll_result on_result,
                                  void *ctx) {
  struct enroll_ask *a = calloc(1, sizeof(*a));
  struct udp *udp = a ? udp_new() : NULL;
  if (!udp) {
    free(a);
    return NULL;
  }
  *a = (struct enroll_ask){.host = h, .on_result = on_result, .ctx = ctx};
  a->role = host_add(h, &verbs, a, udp);
  if (a->role) return a;
  free(a); /* udp is the host's in any case */
  return NULL;
}

void enroll_ask_free(struct enroll_ask *a) {
  if (!a) return;
  enroll_client_free(a->core);
  enroll_result_done(&a->result);
  free(a);
}
