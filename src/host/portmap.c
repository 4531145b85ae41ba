/* portmap.c - two protocols that are asked beside each other, and what came of
 * it. Answers come back through an eventfd, which the role watches. */
#include "host/portmap.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "host/clock.h"
#include "host/portmap_int.h"

enum {
  SETTLE_MS = 2000, /* networks change in bursts: not asked more often */
  RETRY_S = 1800,   /* a router that had nothing may be another one now */
  RENEW_MIN_S = 30, /* whatever lifetime a router tells */
  RENEW_MAX_S = 1800,
  UNANSWERED_S = 60, /* a renewal was: again after */
};

static const struct portmap_protocol *const protocols[PORTMAP_MAX] = {
    &portmap_natpmp, &portmap_upnp};

/* One protocol. A thread works on its copy of the question. */
struct side {
  struct portmap *p;
  const struct portmap_protocol *protocol;
  struct portmap_question q;
  bool known;     /* it was answered once */
  bool running;   /* a thread asks */
  bool moved;     /* the network is another one than when it was last asked */
  bool asks_anew; /* it was, when the thread began */
  uint64_t ask_at, asked_at, until; /* until: when the mapping ends */
  /* the thread's, under the lock */
  struct portmap_question work;
  bool removes; /* it asks no more, it gives back */
  bool adds;    /* the router was told, or is being told */
  bool done;
};

/* Lives until its last thread has ended, which may be after the loop. */
struct portmap {
  pthread_mutex_t lock;
  int n_threads;
  bool ended; /* nothing is to be left in a router any more */
  bool freed;
  int event_fd;
  struct side sides[PORTMAP_MAX];
  /* the loop's */
  on_portmap cb;
  void *ctx;
  struct ztna_addr told[PORTMAP_MAX];
  size_t n_told;
  uint64_t stop_at; /* NEVER: it does not stop */
};

/* --- in a thread */

/* Called with the lock. */
static void unlock_and_drop(struct portmap *p) {
  bool last = p->freed && p->n_threads == 0;
  pthread_mutex_unlock(&p->lock);
  if (!last) return;
  pthread_mutex_destroy(&p->lock);
  close(p->event_fd);
  free(p);
}

static void tell_loop(struct portmap *p) {
  uint64_t one = 1;
  if (write(p->event_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
    log_err("portmap: eventfd: %s", strerror(errno));
}

static void give_back(struct side *s) {
  if (!s->work.outer.family) return;
  s->protocol->remove(&s->work);
  s->work.outer.family = 0;
}

bool portmap_begins(struct portmap_question *q) {
  struct side *s = q->side;
  pthread_mutex_lock(&s->p->lock);
  s->adds = !s->p->ended;
  pthread_mutex_unlock(&s->p->lock);
  return s->adds;
}

static bool has_ended(struct portmap *p) {
  pthread_mutex_lock(&p->lock);
  bool ended = p->ended;
  pthread_mutex_unlock(&p->lock);
  return ended;
}

static void *side_thread(void *arg) {
  struct side *s = arg;
  struct portmap *p = s->p;
  if (!s->removes) s->protocol->ask(&s->work);
  /* A mapping that came too late must not stay behind. */
  if (s->removes || has_ended(p)) give_back(s);
  pthread_mutex_lock(&p->lock);
  s->done = true;
  p->n_threads--;
  if (!p->freed) tell_loop(p);
  unlock_and_drop(p);
  return NULL;
}

static bool start_thread(struct side *s) {
  struct portmap *p = s->p;
  pthread_t thread;
  pthread_attr_t attr;
  s->work = s->q;
  s->work.side = s;
  s->done = s->adds = false;
  pthread_mutex_lock(&p->lock);
  p->n_threads++;
  pthread_mutex_unlock(&p->lock);
  pthread_attr_init(&attr);
  pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
  int rc = pthread_create(&thread, &attr, side_thread, s);
  pthread_attr_destroy(&attr);
  if (rc == 0) return s->running = true;
  pthread_mutex_lock(&p->lock);
  p->n_threads--;
  pthread_mutex_unlock(&p->lock);
  snprintf(s->q.why, sizeof(s->q.why), "no thread: %s", strerror(rc));
  return false;
}

/* --- asking */

static uint64_t span(uint32_t seconds) {
  if (seconds < RENEW_MIN_S) seconds = RENEW_MIN_S;
  if (seconds > RENEW_MAX_S) seconds = RENEW_MAX_S;
  return seconds * SEC;
}

static void side_ask(struct side *s, uint64_t now) {
  s->asks_anew = s->moved;
  s->moved = false;
  s->asked_at = now;
  s->ask_at = now + span(RETRY_S);
  start_thread(s);
}

void portmap_tick(struct portmap *p, uint64_t now) {
  if (!p) return;
  if (p->stop_at != NEVER) {
    if (now >= p->stop_at) p->stop_at = 0; /* whatever is missing */
    return;
  }
  for (int i = 0; i < PORTMAP_MAX; i++)
    if (!p->sides[i].running && p->sides[i].ask_at <= now)
      side_ask(&p->sides[i], now);
}

uint64_t portmap_deadline(const struct portmap *p) {
  uint64_t at = NEVER;
  if (!p) return NEVER;
  if (p->stop_at != NEVER) return p->stop_at ? p->stop_at : NEVER;
  for (int i = 0; i < PORTMAP_MAX; i++)
    if (!p->sides[i].running) at = time_min(at, p->sides[i].ask_at);
  return at;
}

void portmap_network_changed(struct portmap *p, uint64_t now) {
  for (int i = 0; p && i < PORTMAP_MAX; i++) {
    struct side *s = &p->sides[i];
    uint64_t at = s->asked_at + SETTLE_MS * MS;
    s->moved = true;
    s->ask_at = time_min(s->ask_at, at > now ? at : now);
  }
}

/* --- answers */

static void log_answer(const struct side *s, const struct ztna_addr *was) {
  char text[ZTNA_ADDR_STRLEN];
  const char *name = s->protocol->name;
  if (s->q.outer.family) {
    if (!ztna_addr_equal(&s->q.outer, was))
      log_info("portmap: mapped protocol=%s outer=%s lifetime=%us", name,
               ztna_addr_print(&s->q.outer, text), s->q.lifetime);
  } else if (s->removes) {
    log_info("portmap: given back protocol=%s", name);
  } else if (was->family || !s->known) {
    log_info("portmap: none protocol=%s: %s", name, s->q.why);
  }
}

/* The router has it for half of its life yet, and one answer may be lost. */
static bool still_has(const struct side *s, uint64_t now) {
  return s->q.outer.family && !s->work.outer.family && !s->work.refused &&
         !s->removes && !s->asks_anew && now < s->until;
}

static void take_answer(struct side *s, uint64_t now) {
  struct ztna_addr was = s->q.outer;
  uint64_t again_at = now + span(RETRY_S);
  s->running = false;
  if (still_has(s, now)) {
    again_at = now + UNANSWERED_S * SEC;
  } else {
    s->q = s->work;
    log_answer(s, &was);
    s->known = true;
    if (s->q.outer.family && s->q.lifetime) {
      again_at = now + span(s->q.lifetime / 2);
      s->until = now + s->q.lifetime * SEC;
    }
  }
  if (!s->moved) s->ask_at = again_at;
}

/* Both protocols mostly lead to one router, and one mapping. */
static void tell(struct portmap *p, uint64_t now) {
  struct ztna_addr v[PORTMAP_MAX];
  size_t n = 0;
  for (int i = 0; i < PORTMAP_MAX; i++) {
    const struct ztna_addr *a = &p->sides[i].q.outer;
    if (a->family && (n == 0 || !ztna_addr_equal(&v[0], a))) v[n++] = *a;
  }
  bool same = n == p->n_told;
  for (size_t i = 0; same && i < n; i++)
    same = ztna_addr_equal(&v[i], &p->told[i]);
  if (same) return;
  memcpy(p->told, v, n * sizeof(*v));
  p->n_told = n;
  p->cb(p->ctx, now, v, n);
}

static void on_event(void *ctx, uint64_t now) {
  struct portmap *p = ctx;
  uint64_t n;
  if (read(p->event_fd, &n, sizeof(n)) < 0) return;
  for (int i = 0; i < PORTMAP_MAX; i++) {
    struct side *s = &p->sides[i];
    pthread_mutex_lock(&p->lock);
    bool done = s->running && s->done;
    pthread_mutex_unlock(&p->lock);
    if (done) take_answer(s, now);
  }
  tell(p, now);
}

/* --- life */

/* Of the first socket that not only this machine reaches. */
static bool find_socket(const struct udp *u, struct ztna_addr *at) {
  for (int i = 0; i < udp_count(u); i++) {
    *at = udp_local(u, i);
    if (at->family == 4 && !ztna_addr_is_loopback(at)) return true;
  }
  return false;
}

static struct portmap *make(const struct ztna_addr *bound) {
  struct portmap *p = calloc(1, sizeof(*p));
  if (!p) return NULL;
  p->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (p->event_fd < 0) {
    log_err("portmap: eventfd: %s", strerror(errno));
    free(p);
    return NULL;
  }
  pthread_mutex_init(&p->lock, NULL);
  p->stop_at = NEVER;
  for (int i = 0; i < PORTMAP_MAX; i++)
    p->sides[i] =
        (struct side){.p = p, .protocol = protocols[i], .q = {.bound = *bound}};
  return p;
}

struct portmap *portmap_new(struct host_role *r, const struct udp *u,
                            on_portmap cb, void *ctx) {
  struct ztna_addr bound;
  struct portmap *p = find_socket(u, &bound) ? make(&bound) : NULL;
  if (!p) return NULL;
  p->cb = cb;
  p->ctx = ctx;
  if (host_watch(r, p->event_fd, on_event, p) < 0) {
    portmap_free(p);
    return NULL;
  }
  return p;
}

void portmap_free(struct portmap *p) {
  if (!p) return;
  pthread_mutex_lock(&p->lock);
  p->freed = p->ended = true;
  unlock_and_drop(p);
}

void portmap_stop(struct portmap *p, uint64_t now) {
  if (!p || p->stop_at != NEVER) return;
  p->stop_at = now + PORTMAP_STOP_AFTER * MS;
  pthread_mutex_lock(&p->lock);
  p->ended = true;
  pthread_mutex_unlock(&p->lock);
  for (int i = 0; i < PORTMAP_MAX; i++) {
    struct side *s = &p->sides[i];
    if (s->running || !s->q.outer.family) continue;
    s->removes = true;
    start_thread(s);
  }
}

/* Who still looks for a router is not waited for. */
static bool may_leave_something(struct portmap *p) {
  bool may = false;
  pthread_mutex_lock(&p->lock);
  for (int i = 0; i < PORTMAP_MAX; i++)
    may |= p->sides[i].running && (p->sides[i].adds || p->sides[i].removes);
  pthread_mutex_unlock(&p->lock);
  return may;
}

bool portmap_stopped(struct portmap *p) {
  if (!p || clock_now() >= p->stop_at) return true;
  return p->stop_at != NEVER && !may_leave_something(p);
}

/* --- told to people */

static json_t *mapped_status(const struct side *s) {
  char text[ZTNA_ADDR_STRLEN];
  return json_pack("{s:s, s:s, s:s}", "state", "mapped", "protocol",
                   s->protocol->name, "outer",
                   ztna_addr_print(&s->q.outer, text));
}

static json_t *none_status(const struct portmap *p) {
  char why[PORTMAP_MAX * (sizeof(p->sides[0].q.why) + 16)] = "";
  size_t n = 0;
  for (int i = 0; i < PORTMAP_MAX; i++)
    n += (size_t)snprintf(why + n, sizeof(why) - n, "%s%s: %s", n ? "; " : "",
                          p->sides[i].protocol->name, p->sides[i].q.why);
  return json_pack("{s:s, s:s}", "state", "none", "why", why);
}

json_t *portmap_status(const struct portmap *p) {
  bool asking = false;
  if (!p)
    return json_pack("{s:s, s:s}", "state", "none", "why",
                     "it is not asked for: switched off, or no IPv4 socket");
  for (int i = 0; i < PORTMAP_MAX; i++) {
    if (p->sides[i].q.outer.family) return mapped_status(&p->sides[i]);
    asking |=
        !p->sides[i].known && (p->sides[i].running || !p->sides[i].asked_at);
  }
  return asking ? json_pack("{s:s}", "state", "asking") : none_status(p);
}
