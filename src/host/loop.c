/* loop.c - roles on libuv.
 *
 * Reading feeds and drains at once, since received bytes are lent to the core
 * until it is drained; all else marks a role dirty, and the prepare hook, which
 * runs before the loop sleeps, ticks those that are due, drains the dirty ones
 * and sets the timer. */
#include "host/loop.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <ztna/err.h>

#include "../../platform/net.h"
#include "../../platform/timer.h"
#include "base/log.h"
#include "host/clock.h"

enum {
  MAX_ROLES = 16,
  MAX_WATCHES = 16, /* of one role */
  MAX_SOURCES = UDP_MAX_SOCKETS + 2 + MAX_WATCHES,
  /* The socket of no source that reads: what udp_room_fd says. */
  EXTRA_ROOM = UDP_EXTRA + 1,
  READ_BATCHES = 8, /* of one socket per wake-up: others want their turn */
  NEXT_BATCH = 64,
  DUE_TURNS = 4, /* of roles that are due again, before reading */
};

/* One descriptor that wakes a role: a socket of its own or a watched one. */
struct source {
  uv_poll_t poll;
  struct host_role *role;
  int socket; /* index in the role's struct udp, UDP_EXTRA, EXTRA_ROOM, -1 for
                 a watched one */
  void (*on_readable)(void *ctx, uint64_t now);
  void *ctx;
};

struct host_role {
  struct host *host;
  const struct loop_role *verbs;
  void *ctx;
  struct udp *udp;
  struct source *sources[MAX_SOURCES];
  int n_sources;
  bool asked_extra, has_extra; /* sources of the extra sockets */
  bool dirty;
  bool network_changed;
  int n_waiting;         /* output that a full buffer did not take: */
  struct dgram *waiting; /* into out[] */
  struct dgram out[NEXT_BATCH];
};

struct host {
  uv_loop_t uv;
  uv_prepare_t prepare;
  uv_poll_t timer;
  uv_poll_t network;
  uv_signal_t signals[4];
  struct resolver *resolver;
  struct host_role *roles[MAX_ROLES];
  int n_roles;
  int timer_fd;
  uint64_t timer_at;
  int network_fd;
  int network_except;
  bool draining;
  bool stopping;
  uint64_t stop_at; /* 0: the roles were not told yet */
  int rc;
};

/* --- waiting for a full buffer */

static void on_source(uv_poll_t *p, int status, int events);

/* While output waits, only the full socket is watched, for writing; of the
 * extra ones by a descriptor that is readable then. */
static int events_of(const struct source *s, bool waits, int blocked) {
  if (s->socket == EXTRA_ROOM)
    return waits && blocked == UDP_EXTRA ? UV_READABLE : 0;
  if (!waits) return UV_READABLE;
  return s->socket >= 0 && s->socket < UDP_EXTRA && s->socket == blocked
             ? UV_WRITABLE
             : 0;
}

static void source_listen(struct source *s, bool waits, int blocked) {
  int events = events_of(s, waits, blocked);
  if (events)
    uv_poll_start(&s->poll, events, on_source);
  else
    uv_poll_stop(&s->poll);
}

static void role_listen(struct host_role *r) {
  bool waits = r->n_waiting > 0;
  int blocked = waits ? udp_blocked(r->udp) : -1;
  for (int i = 0; i < r->n_sources; i++)
    source_listen(r->sources[i], waits, blocked);
}

static int add_source(struct host_role *r, int fd, struct source what);

/* The role has opened its first extra socket. */
static void watch_extra(struct host_role *r) {
  r->asked_extra = true;
  r->has_extra = add_source(r, udp_fd(r->udp, UDP_EXTRA),
                            (struct source){.socket = UDP_EXTRA}) == 0 &&
                 add_source(r, udp_room_fd(r->udp),
                            (struct source){.socket = EXTRA_ROOM}) == 0;
}

/* Offers n of v; keeps what was not taken. */
static void role_send(struct host_role *r, struct dgram *v, int n) {
  bool waited = r->n_waiting > 0;
  int taken = r->udp ? udp_send(r->udp, v, n) : n;
  if (r->udp && !r->asked_extra && udp_fd(r->udp, UDP_EXTRA) >= 0)
    watch_extra(r);
  if (taken < n && udp_blocked(r->udp) == UDP_EXTRA && !r->has_extra) {
    udp_give_up(r->udp, v + taken, n - taken); /* nothing would wake it */
    taken = n;
  }
  r->waiting = v + taken;
  r->n_waiting = n - taken;
  if (waited || r->n_waiting) role_listen(r);
  if (r->udp && udp_network_changed(r->udp)) r->network_changed = true;
}

static void role_drain(struct host_role *r, uint64_t now) {
  int n;
  r->dirty = false;
  if (r->verbs->flush) r->verbs->flush(r->ctx, now);
  while (r->n_waiting == 0 &&
         (n = r->verbs->next(r->ctx, now, r->out, NEXT_BATCH)) > 0)
    role_send(r, r->out, n);
}

void host_enter(struct host_role *r) {
  r->dirty = true;
  if (r->n_waiting == 0) return;
  role_send(r, r->waiting, r->n_waiting);
  if (r->n_waiting == 0) return;
  udp_give_up(r->udp, r->waiting, r->n_waiting);
  r->n_waiting = 0;
  role_listen(r);
}

/* --- inputs */

static void read_socket(struct host_role *r, int socket) {
  struct dgram v[UDP_BATCH];
  for (int i = 0; i < READ_BATCHES && r->n_waiting == 0; i++) {
    int n = udp_recv_from(r->udp, socket, v, UDP_BATCH);
    if (n == 0) return;
    uint64_t now = clock_now();
    for (int k = 0; k < n; k++) r->verbs->udp_in(r->ctx, now, &v[k]);
    role_drain(r, now);
    if (n < UDP_BATCH && socket != UDP_EXTRA) return; /* it is empty */
  }
}

static void on_source(uv_poll_t *p, int status, int events) {
  struct source *s = p->data;
  struct host_role *r = s->role;
  if (r->n_waiting > 0) { /* the full socket has room again */
    if (s->socket < 0) return;
    role_send(r, r->waiting, r->n_waiting);
    r->dirty = true;
  } else if (s->socket >= 0) {
    read_socket(r, s->socket);
  } else {
    s->on_readable(s->ctx, clock_now());
    r->dirty = true;
  }
}

/* The prepare hook finds who is due. */
static void on_timer(uv_poll_t *p, int status, int events) {
  struct host *h = p->data;
  timer_ack(h->timer_fd);
  h->timer_at = NEVER;
}

static void tell_network_changed(struct host_role *r) {
  r->network_changed = false;
  if (!r->verbs->network_changed) return;
  host_enter(r);
  r->verbs->network_changed(r->ctx, clock_now());
}

static void on_network(uv_poll_t *p, int status, int events) {
  struct host *h = p->data;
  if (!net_watch_read(h->network_fd, h->network_except)) return;
  for (int i = 0; i < h->n_roles; i++) h->roles[i]->network_changed = true;
}

/* --- end of a turn */

static bool role_is_stopped(const struct host_role *r) {
  if (r->n_waiting) return false;
  return !r->verbs->stopped || r->verbs->stopped(r->ctx);
}

/* What takes nothing new and has nothing left may go. */
static void stop_when_drained(struct host *h, uint64_t now) {
  if (!h->draining || h->stopping) return;
  for (int i = 0; i < h->n_roles; i++) {
    const struct host_role *r = h->roles[i];
    if (r->verbs->drained && !r->verbs->drained(r->ctx, now)) return;
  }
  host_stop(h, 0);
}

/* Once: the roles say goodbye, which the drain after this sends. */
static void tell_stopping(struct host *h, uint64_t now) {
  if (!h->stopping || h->stop_at) return;
  h->stop_at = now + HOST_STOP_AFTER * MS;
  for (int i = 0; i < h->n_roles; i++) {
    struct host_role *r = h->roles[i];
    if (!r->verbs->stop) continue;
    host_enter(r);
    r->verbs->stop(r->ctx, now);
  }
}

static bool host_is_stopped(const struct host *h, uint64_t now) {
  if (!h->stopping || !h->stop_at) return false; /* they do not know it yet */
  bool all = true;
  for (int i = 0; i < h->n_roles; i++) all &= role_is_stopped(h->roles[i]);
  return all || now >= h->stop_at;
}

static uint64_t host_deadline(const struct host *h) {
  uint64_t at = h->stopping ? h->stop_at : NEVER;
  for (int i = 0; i < h->n_roles; i++) {
    const struct host_role *r = h->roles[i];
    if (r->n_waiting == 0) at = time_min(at, r->verbs->deadline(r->ctx));
  }
  return at;
}

static void role_turn(struct host_role *r, uint64_t now) {
  if (r->network_changed) tell_network_changed(r);
  if (r->n_waiting) return;
  if (r->verbs->deadline(r->ctx) <= now) {
    r->verbs->tick(r->ctx, now);
    r->dirty = true;
  }
  if (r->dirty) role_drain(r, now);
}

/* A timer that fires costs a wake-up, one set for soon an exit of a virtual
 * machine (7 us; 20 us when it is over already): so one that is armed for
 * earlier stays, and who is due is ticked without it. */
static void arm(struct host *h, uint64_t at, uint64_t now) {
  if (h->timer_at > now && h->timer_at <= at) return;
  h->timer_at = at;
  timer_set(h->timer_fd, at);
}

static void on_prepare(uv_prepare_t *p) {
  struct host *h = p->data;
  uint64_t now = clock_now(), at = 0;
  stop_when_drained(h, now);
  tell_stopping(h, now);
  for (int turn = 0; turn < DUE_TURNS && at <= now; turn++) {
    for (int i = 0; i < h->n_roles; i++) role_turn(h->roles[i], now);
    at = host_deadline(h);
    now = clock_now();
  }
  if (host_is_stopped(h, now))
    uv_stop(&h->uv);
  else
    arm(h, at, now);
}

/* --- signals */

/* May be called from inside a core, so the roles hear of it later. */
void host_stop(struct host *h, int rc) {
  if (h->stopping) return;
  h->stopping = true;
  h->rc = rc;
}

bool host_is_stopping(const struct host *h) {
  return h->stopping || h->draining;
}

static void host_reload(struct host *h) {
  for (int i = 0; i < h->n_roles; i++) {
    struct host_role *r = h->roles[i];
    if (!r->verbs->reload) continue;
    host_enter(r);
    r->verbs->reload(r->ctx, clock_now());
  }
}

static void host_drain(struct host *h) {
  h->draining = true;
  for (int i = 0; i < h->n_roles; i++) {
    struct host_role *r = h->roles[i];
    if (!r->verbs->drain) continue;
    host_enter(r);
    r->verbs->drain(r->ctx, clock_now());
  }
}

static void host_toggle(struct host *h) {
  for (int i = 0; i < h->n_roles; i++) {
    struct host_role *r = h->roles[i];
    if (!r->verbs->toggle) continue;
    host_enter(r);
    r->verbs->toggle(r->ctx, clock_now());
  }
}

/* The first drains, the second says goodbye, the third ends. */
static void on_stop_signal(struct host *h, int number) {
  if (h->stopping) {
    uv_stop(&h->uv);
    return;
  }
  log_info("host: stopping, signal=%s",
           number == SIGINT ? "SIGINT" : "SIGTERM");
  if (h->draining)
    host_stop(h, 0);
  else
    host_drain(h);
}

static void on_signal(uv_signal_t *s, int number) {
  struct host *h = s->data;
  if (number == SIGHUP)
    host_reload(h);
  else if (number == SIGUSR1)
    host_toggle(h);
  else
    on_stop_signal(h, number);
}

/* --- life */

static int start_signals(struct host *h) {
  static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1};
  for (int i = 0; i < 4; i++) {
    uv_signal_init(&h->uv, &h->signals[i]);
    h->signals[i].data = h;
    int rc = uv_signal_start(&h->signals[i], on_signal, numbers[i]);
    if (rc < 0) return rc;
  }
  signal(SIGPIPE, SIG_IGN);
  return 0;
}

static int start_handles(struct host *h) {
  uv_prepare_init(&h->uv, &h->prepare);
  h->prepare.data = h;
  uv_prepare_start(&h->prepare, on_prepare);
  h->resolver = resolver_new(&h->uv);
  h->timer_fd = timer_open();
  if (!h->resolver || h->timer_fd < 0) return ZTNA_ENOMEM;
  int rc = uv_poll_init(&h->uv, &h->timer, h->timer_fd);
  if (rc < 0) return rc;
  h->timer.data = h;
  rc = uv_poll_start(&h->timer, UV_READABLE, on_timer);
  return rc < 0 ? rc : start_signals(h);
}

struct host *host_new(void) {
  struct host *h = calloc(1, sizeof(*h));
  if (!h) return NULL;
  h->timer_fd = h->network_fd = -1;
  h->timer_at = NEVER;
  int rc = uv_loop_init(&h->uv);
  if (rc < 0) {
    log_err("host: loop: %s", uv_strerror(rc));
    free(h);
    return NULL;
  }
  rc = start_handles(h);
  if (rc == 0) return h;
  log_err("host: loop: cannot start its timer or signals");
  host_free(h);
  return NULL;
}

static void close_handle(uv_handle_t *handle, void *arg) {
  if (!uv_is_closing(handle)) uv_close(handle, NULL);
}

void host_free(struct host *h) {
  if (!h) return;
  resolver_free(h->resolver);
  uv_walk(&h->uv, close_handle, NULL);
  uv_run(&h->uv, UV_RUN_DEFAULT);
  if (uv_loop_close(&h->uv) < 0)
    log_debug("host: loop closed with requests open");
  for (int i = 0; i < h->n_roles; i++) {
    struct host_role *r = h->roles[i];
    for (int k = 0; k < r->n_sources; k++) free(r->sources[k]);
    udp_free(r->udp);
    free(r);
  }
  if (h->timer_fd >= 0) close(h->timer_fd);
  if (h->network_fd >= 0) close(h->network_fd);
  free(h);
}

uv_loop_t *host_uv(struct host *h) { return &h->uv; }
struct resolver *host_resolver(struct host *h) {
  return h->resolver;
}

int host_run(struct host *h) {
  for (int i = 0; i < h->n_roles; i++) h->roles[i]->dirty = true;
  resolver_go(h->resolver);
  uv_run(&h->uv, UV_RUN_DEFAULT);
  return h->rc;
}

/* --- roles and what wakes them */

static int add_source(struct host_role *r, int fd, struct source what) {
  if (r->n_sources == MAX_SOURCES) return ZTNA_EFULL;
  struct source *s = malloc(sizeof(*s));
  if (!s) return ZTNA_ENOMEM;
  *s = what;
  s->role = r;
  int rc = uv_poll_init(&r->host->uv, &s->poll, fd);
  if (rc < 0) {
    log_err("host: watch a descriptor: %s", uv_strerror(rc));
    free(s);
    return ZTNA_EIO;
  }
  s->poll.data = s;
  r->sources[r->n_sources++] = s;
  source_listen(s, r->n_waiting > 0, -1);
  return 0;
}

struct host_role *host_add(struct host *h, const struct loop_role *verbs,
                           void *ctx, struct udp *udp) {
  struct host_role *r = h->n_roles < MAX_ROLES ? calloc(1, sizeof(*r)) : NULL;
  if (!r) {
    log_err("host: no room for another role");
    udp_free(udp);
    return NULL;
  }
  r->host = h;
  r->verbs = verbs;
  r->ctx = ctx;
  r->udp = udp;
  r->dirty = true;
  h->roles[h->n_roles++] = r; /* host_free mends what fails below */
  for (int i = 0; udp && i < udp_count(udp); i++)
    if (add_source(r, udp_fd(udp, i), (struct source){.socket = i}) < 0)
      return NULL;
  return r;
}

int host_watch(struct host_role *r, int fd,
               void (*on_readable)(void *ctx, uint64_t now), void *ctx) {
  return add_source(
      r, fd,
      (struct source){.socket = -1, .on_readable = on_readable, .ctx = ctx});
}

int host_bind(struct host_role *r, const struct ztna_addr *local) {
  if (!r->udp && !(r->udp = udp_new())) return ZTNA_ENOMEM;
  int i = udp_bind(r->udp, local);
  if (i < 0) return i;
  int rc = add_source(r, udp_fd(r->udp, i), (struct source){.socket = i});
  return rc < 0 ? rc : i;
}

int host_watch_network(struct host *h, int except) {
  if (h->network_fd >= 0) return ZTNA_EEXIST;
  h->network_fd = net_watch_open();
  h->network_except = except;
  if (h->network_fd < 0) return ZTNA_EIO;
  h->network.data = h;
  if (uv_poll_init(&h->uv, &h->network, h->network_fd) < 0) return ZTNA_EIO;
  uv_poll_start(&h->network, UV_READABLE, on_network);
  return 0;
}
