/* loop.h - roles in real time: one libuv loop, one timer, any number of roles,
 * each with its UDP sockets. Per turn: read a bounded batch, feed the core,
 * drain it, set the timer to the earliest deadline.
 *
 *   struct host *h = host_new();
 *   struct host_role *r = host_add(h, &relay_verbs, relay, udp);
 *   rc = host_run(h);           until SIGINT or SIGTERM
 *   host_free(h);
 *
 * The lending rule of dgram.h is kept here: while a send buffer is full, the
 * role's remaining output waits and no verb of its core is called. Other code
 * that calls into a core says so first: host_enter. */
#ifndef ZTNA_HOST_LOOP_H
#define ZTNA_HOST_LOOP_H

#include <uv.h>

#include "base/dgram.h"
#include "base/time.h"
#include "host/resolve.h"
#include "host/udp.h"

/* A role's verbs; ctx is its core. */
struct loop_role {
  void (*udp_in)(void *ctx, uint64_t now, const struct dgram *d);
  void (*tick)(void *ctx, uint64_t now);
  /* Up to max datagrams or trains, valid until the core is called again;
   * returns how many, 0 when nothing is left for now. */
  int (*next)(void *ctx, uint64_t now, struct dgram *v, int max);
  uint64_t (*deadline)(const void *ctx);

  /* The rest may be NULL. */
  /* Before a drain: move other output (to a TUN, to backends) of the core. */
  void (*flush)(void *ctx, uint64_t now);
  /* The first SIGINT or SIGTERM: take nothing new. The stop follows when
   * `drained` is true of all roles (asked in every turn; it bounds itself), or
   * at the second. */
  void (*drain)(void *ctx, uint64_t now);
  bool (*drained)(const void *ctx, uint64_t now);
  /* SIGUSR1: take nothing new, or do so again. */
  void (*toggle)(void *ctx, uint64_t now);
  /* Say goodbye. The loop drains and goes on until `stopped` is true, 1 s at
   * most; another signal ends it at once. */
  void (*stop)(void *ctx, uint64_t now);
  bool (*stopped)(const void *ctx);
  /* SIGHUP. */
  void (*reload)(void *ctx, uint64_t now);
  /* A local address is gone, or the platform reported a change. */
  void (*network_changed)(void *ctx, uint64_t now);
};

enum { HOST_STOP_AFTER = 1000 /* ms */ };

struct host;
struct host_role;

struct host *host_new(void); /* NULL: logged */
/* Frees the loop and the roles' sockets handed over; not the cores. */
void host_free(struct host *h);
uv_loop_t *host_uv(struct host *h);

/* udp may be NULL for a role without sockets of its own; the host takes it
 * over and frees it. NULL: logged. */
struct host_role *host_add(struct host *h, const struct loop_role *verbs,
                           void *ctx, struct udp *udp);

/* Watches fd for reading on behalf of a role: a TUN, backends. on_readable may
 * call the core; the role is drained afterwards. Not called while the role's
 * output waits. 0 or ZTNA_EIO. The fd stays the caller's. */
int host_watch(struct host_role *r, int fd,
               void (*on_readable)(void *ctx, uint64_t now), void *ctx);

/* Call before any call into the role's core from elsewhere (a name resolved, a
 * file reloaded): output that waits for a full buffer is tried once more and
 * else dropped, and the role is drained at the end of this turn. */
void host_enter(struct host_role *r);

/* Adds a socket while running. As udp_bind. */
int host_bind(struct host_role *r, const struct ztna_addr *local);

/* Runs until stopped. 0, or what host_stop was given. Ignores SIGPIPE. */
int host_run(struct host *h);
/* Stops gracefully, as SIGTERM does; host_run returns rc. Fine from inside a
 * core's callback and before host_run. */
void host_stop(struct host *h, int rc);
/* Since the first of those, or the first signal. */
bool host_is_stopping(const struct host *h);

/* Watches the machine's addresses, links and default routes, except those of
 * device `except` (0: none), and calls network_changed of every role. 0 or
 * ZTNA_EIO. */
int host_watch_network(struct host *h, int except);

/* For names; see resolve.h. */
struct resolver *host_resolver(struct host *h);

#endif
