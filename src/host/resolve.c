/* resolve.c - getaddrinfo in threads; answers come back through uv_async. */
#include "host/resolve.h"

#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <ztna/err.h>

enum { NAME_ROOM = 256 };

struct question {
  struct question *next; /* of those that are answered, or wait */
  struct resolver *r;
  on_resolved cb;
  void *ctx;
  char name[NAME_ROOM];
  uint16_t port;
  int n;
  char why[NAME_ROOM + 128];
  struct ztna_addr v[RESOLVE_MAX];
};

/* Lives until its last thread has answered, which may be after the loop. */
struct resolver {
  pthread_mutex_t lock;
  uv_async_t *async; /* NULL once freed */
  struct question *answered;
  int n_open;
  bool goes;
  struct question *waiting, **waiting_end; /* for that */
};

/* --- asking: in a thread */

static bool has_addr(const struct question *q, const struct ztna_addr *a) {
  for (int i = 0; i < q->n; i++)
    if (ztna_addr_equal(&q->v[i], a)) return true;
  return false;
}

static void take_answers(struct question *q, const struct addrinfo *all) {
  for (const struct addrinfo *i = all; i && q->n < RESOLVE_MAX;
       i = i->ai_next) {
    struct ztna_addr a;
    if (ztna_addr_from_sockaddr(&a, i->ai_addr) < 0) continue;
    a.port = q->port;
    if (!has_addr(q, &a)) q->v[q->n++] = a;
  }
}

static void ask(struct question *q) {
  struct addrinfo hints = {.ai_socktype = SOCK_DGRAM}, *all = NULL;
  int rc = getaddrinfo(q->name, NULL, &hints, &all);
  if (rc == 0) {
    take_answers(q, all);
    freeaddrinfo(all);
  }
  if (q->n > 0) return;
  bool none = rc == 0 || rc == EAI_NONAME || rc == EAI_NODATA;
  q->n = none ? ZTNA_ENOENT : ZTNA_EIO;
  snprintf(q->why, sizeof(q->why), "%s: %s", q->name,
           none ? "no such name" : gai_strerror(rc));
}

/* Lets go of the resolver; the last one frees it. Called with the lock. */
static void unlock_and_drop(struct resolver *r) {
  bool last = !r->async && r->n_open == 0;
  pthread_mutex_unlock(&r->lock);
  if (!last) return;
  pthread_mutex_destroy(&r->lock);
  free(r);
}

static void *ask_thread(void *arg) {
  struct question *q = arg;
  struct resolver *r = q->r;
  ask(q);
  pthread_mutex_lock(&r->lock);
  if (r->async) {
    q->next = r->answered;
    r->answered = q;
    uv_async_send(r->async);
  } else {
    r->n_open--;
    free(q);
  }
  unlock_and_drop(r);
  return NULL;
}

/* --- the loop's side */

static void on_answers(uv_async_t *async) {
  struct resolver *r = async->data;
  pthread_mutex_lock(&r->lock);
  struct question *q = r->answered;
  r->answered = NULL;
  for (struct question *i = q; i; i = i->next) r->n_open--;
  pthread_mutex_unlock(&r->lock);
  while (q) {
    struct question *next = q->next;
    q->cb(q->ctx, q->v, q->n, q->n < 0 ? q->why : NULL);
    free(q);
    q = next;
  }
}

struct resolver *resolver_new(uv_loop_t *loop) {
  struct resolver *r = calloc(1, sizeof(*r));
  if (!r) return NULL;
  r->async = calloc(1, sizeof(*r->async));
  if (!r->async || uv_async_init(loop, r->async, on_answers) < 0) {
    free(r->async);
    free(r);
    return NULL;
  }
  r->async->data = r;
  r->waiting_end = &r->waiting;
  uv_unref((uv_handle_t *)r->async);
  pthread_mutex_init(&r->lock, NULL);
  return r;
}

static void on_closed(uv_handle_t *h) { free(h); }

static void forget(struct resolver *r, struct question **list) {
  while (*list) {
    struct question *q = *list;
    *list = q->next;
    r->n_open--;
    free(q);
  }
}

void resolver_free(struct resolver *r) {
  if (!r) return;
  pthread_mutex_lock(&r->lock);
  uv_close((uv_handle_t *)r->async, on_closed);
  r->async = NULL;
  forget(r, &r->answered);
  forget(r, &r->waiting);
  unlock_and_drop(r);
}

/* Splits "host:port". A name has at most one colon, else it is an address. */
static int parse_host_port(struct question *q, const char *text,
                           uint16_t default_port) {
  const char *colon = strchr(text, ':');
  size_t len = colon ? (size_t)(colon - text) : strlen(text);
  unsigned long port = default_port;
  if (len == 0 || len >= NAME_ROOM || strpbrk(text, " /[]")) return ZTNA_EINVAL;
  if (colon) {
    char *end;
    if (colon[1] < '0' || colon[1] > '9') return ZTNA_EINVAL;
    port = strtoul(colon + 1, &end, 10);
    if (*end) return ZTNA_EINVAL;
  }
  if (port == 0 || port > 65535) return ZTNA_EINVAL;
  memcpy(q->name, text, len);
  q->port = (uint16_t)port;
  return 0;
}

static int start_thread(struct question *q) {
  pthread_t thread;
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
  int rc = pthread_create(&thread, &attr, ask_thread, q);
  pthread_attr_destroy(&attr);
  if (rc == 0) return 0;
  pthread_mutex_lock(&q->r->lock);
  q->r->n_open--;
  pthread_mutex_unlock(&q->r->lock);
  return ZTNA_EFULL;
}

static int start(struct question *q) {
  struct resolver *r = q->r;
  pthread_mutex_lock(&r->lock);
  bool full = r->n_open >= RESOLVE_PENDING;
  if (!full) r->n_open++;
  pthread_mutex_unlock(&r->lock);
  if (full) return ZTNA_EFULL;
  if (r->goes) return start_thread(q);
  *r->waiting_end = q;
  r->waiting_end = &q->next;
  return 0;
}

static void refuse(struct question *q, int rc) {
  q->cb(q->ctx, NULL, rc,
        rc == ZTNA_EINVAL ? "want host:port"
                          : "too many names to resolve at once");
  free(q);
}

void resolver_go(struct resolver *r) {
  r->goes = true;
  while (r->waiting) {
    struct question *q = r->waiting;
    r->waiting = q->next;
    int rc = start_thread(q);
    if (rc < 0) refuse(q, rc);
  }
}

void resolve_name(struct resolver *r, const char *host_port,
                  uint16_t default_port, on_resolved cb, void *ctx) {
  struct ztna_addr a;
  if (ztna_addr_parse(&a, host_port) == 0 && (a.port || default_port)) {
    if (!a.port) a.port = default_port;
    cb(ctx, &a, 1, NULL);
    return;
  }
  struct question *q = calloc(1, sizeof(*q));
  if (!q) {
    cb(ctx, NULL, ZTNA_ENOMEM, "no memory");
    return;
  }
  q->r = r;
  q->cb = cb;
  q->ctx = ctx;
  int rc = parse_host_port(q, host_port, default_port);
  if (rc == 0) rc = start(q); /* q is the thread's then */
  if (rc < 0) refuse(q, rc);
}
