/* audit.c - between the loop and the disk: two buffers that change places. The
 * lock is held for a copy or for that change, never while anything is written.
 */
#include "host/audit.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <ztna/err.h>

#include "base/log.h"
#include "base/metrics.h"
#include "base/time.h"
#include "host/audit_file.h"
#include "host/clock.h"

enum {
  RETRY_MS = 500,   /* a disk that took nothing */
  SYNC_MS = 1000,   /* at most so old is what a power failure takes */
  GATHER_MS = 10,   /* a write for each record would cost more than the flow */
  CHUNK = 64 << 10, /* bytes of records per write */
};

/* Bodies of records, each behind its length. */
struct waiting {
  char *bytes;
  size_t len;
  uint64_t n_lost; /* behind these */
};

struct audit_counters {
  uint64_t n_written, n_lost, n_rotated, ok;
};

struct audit {
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t more, idle;
  size_t room;
  char *path;
  /* under the lock */
  struct waiting in;
  bool stop, busy; /* busy: the thread has what is not written yet */
  struct audit_counters n;
  int error; /* of the last write, errno; 0: it went well */
  uint64_t seq;
  char last[AUDIT_HEX];
  /* the loop's */
  uint64_t n_queue_lost; /* by the core, as counted so far */
  uint64_t owed;         /* of them, not told by a record yet */
  /* the thread's */
  struct waiting out;
  struct audit_file file;
  bool dirty;
};

static struct timespec in_ms(unsigned ms) {
  struct timespec t;

  clock_gettime(CLOCK_REALTIME, &t);
  t.tv_sec += ms / 1000;
  t.tv_nsec += (long)(ms % 1000) * 1000000;
  if (t.tv_nsec >= 1000000000) {
    t.tv_sec++;
    t.tv_nsec -= 1000000000;
  }
  return t;
}

/* --- the loop's side */

static bool put(struct audit *a, const struct audit_text *t) {
  struct waiting *w = &a->in;
  uint32_t len = (uint32_t)t->len;

  if (w->n_lost || w->len + sizeof(len) + len > a->room) return false;
  memcpy(w->bytes + w->len, &len, sizeof(len));
  memcpy(w->bytes + w->len + sizeof(len), t->s, len);
  w->len += sizeof(len) + len;
  return true;
}

static void lose(struct audit *a, uint64_t n) {
  a->in.n_lost += n;
  a->n.n_lost += n;
}

static void hand_over(struct audit *a, const struct audit_text *t) {
  pthread_mutex_lock(&a->lock);
  if (t->overflow || !put(a, t)) lose(a, 1);
  pthread_mutex_unlock(&a->lock);
}

static void format(struct audit *a, const struct audit_record *r) {
  struct audit_text t;

  audit_text_record(&t, r, clock_now(), clock_wall());
  hand_over(a, &t);
}

void audit_write(struct audit *a, const struct audit_record *r) {
  if (!a) return;
  format(a, r);
  pthread_cond_signal(&a->more);
}

void audit_lose(struct audit *a, uint64_t n) {
  if (!a || !n) return;
  pthread_mutex_lock(&a->lock);
  lose(a, n);
  pthread_cond_signal(&a->more);
  pthread_mutex_unlock(&a->lock);
}

bool audit_flush(struct audit *a, unsigned ms) {
  struct timespec t = in_ms(ms);
  bool done;

  if (!a) return true;
  pthread_mutex_lock(&a->lock);
  while ((a->busy || a->in.len || a->in.n_lost) &&
         pthread_cond_timedwait(&a->idle, &a->lock, &t) == 0)
    ;
  done = !a->busy && !a->in.len && !a->in.n_lost;
  pthread_mutex_unlock(&a->lock);
  return done;
}

static bool has_room(struct audit *a) {
  bool room;

  pthread_mutex_lock(&a->lock);
  room = !a->in.n_lost && a->in.len + AUDIT_BODY_MAX <= a->room;
  pthread_mutex_unlock(&a->lock);
  return room;
}

/* Counted at once, told behind what waits: that was before it. */
static void owe(struct audit *a, struct audit_queue *q) {
  uint64_t n = q->n_lost - a->n_queue_lost;

  a->n_queue_lost = q->n_lost;
  a->owed += n;
  pthread_mutex_lock(&a->lock);
  a->n.n_lost += n;
  if (!q->n) {
    a->in.n_lost += a->owed;
    a->owed = 0;
  }
  pthread_mutex_unlock(&a->lock);
}

void audit_drain(struct audit *a, struct audit_queue *q) {
  struct audit_record r;

  if (!a || !(q->n || a->owed || q->n_lost > a->n_queue_lost)) return;
  while (q->n && has_room(a) && audit_next(q, &r)) format(a, &r);
  if (a->owed || q->n_lost > a->n_queue_lost) owe(a, q);
  pthread_cond_signal(&a->more); /* once for all of them */
}

/* --- the thread's side */

static void tell(struct audit *a, int rc, size_t n) {
  int was;

  pthread_mutex_lock(&a->lock);
  was = a->error;
  a->error = -rc;
  a->n.ok = rc == 0;
  a->n.n_written += n;
  a->n.n_rotated = a->file.n_rotated;
  if (rc == 0) {
    a->seq = a->file.seq;
    strcpy(a->last, a->file.last);
  }
  pthread_mutex_unlock(&a->lock);
  if (rc < 0 && was != -rc)
    log_err("audit: cannot write file=%s: %s; packets go on, records are lost "
            "when no more can wait",
            a->path, strerror(-rc));
  else if (rc == 0 && was)
    log_warn("audit: writing again file=%s", a->path);
}

/* False: the program ends. */
static bool nap(struct audit *a, unsigned ms) {
  struct timespec t = in_ms(ms);
  bool stop;

  pthread_mutex_lock(&a->lock);
  while (!a->stop && pthread_cond_timedwait(&a->more, &a->lock, &t) == 0)
    ;
  stop = a->stop;
  pthread_mutex_unlock(&a->lock);
  return !stop;
}

/* Until it is on the disk. False: it is not, and the program ends. */
static bool insist(struct audit *a, int (*how)(struct audit *, const void *),
                   const void *what, size_t n) {
  int rc = how(a, what);

  while (rc < 0) {
    tell(a, rc, 0);
    if (!nap(a, RETRY_MS)) return how(a, what) == 0;
    rc = how(a, what);
  }
  a->dirty = true;
  if (n) tell(a, 0, n);
  return true;
}

struct body {
  const char *s;
  size_t len;
};

static int do_add(struct audit *a, const void *what) {
  const struct body *b = what;

  return audit_file_add(&a->file, b->s, b->len);
}

static int do_write(struct audit *a, const void *what) {
  return audit_file_write(&a->file);
}

static bool add(struct audit *a, const char *s, size_t len) {
  struct body b = {s, len};

  return insist(a, do_add, &b, 0);
}

static bool add_missing(struct audit *a, uint64_t n) {
  struct audit_text t;

  audit_text_init(&t, clock_wall(), "missing");
  audit_text_number(&t, "records", n);
  return add(a, t.s, t.len) && insist(a, do_write, NULL, 1);
}

/* Of the program: a start without a stop before it followed a crash. */
static bool add_event(struct audit *a, const char *event) {
  struct audit_text t;

  audit_text_init(&t, clock_wall(), event);
  audit_text_string(&t, "role", a->file.role);
  audit_text_string(&t, "identity", a->file.identity);
  return add(a, t.s, t.len) && insist(a, do_write, NULL, 1);
}

/* What was not written, counted. */
static uint64_t drop(const struct waiting *w, size_t at) {
  uint64_t n = 0;
  uint32_t len;

  for (; at < w->len; at += sizeof(len) + len, n++)
    memcpy(&len, w->bytes + at, sizeof(len));
  return n;
}

static bool write_all(struct audit *a, struct waiting *w) {
  size_t at = 0, n = 0;
  uint32_t len;

  while (at < w->len) {
    memcpy(&len, w->bytes + at, sizeof(len));
    if (!add(a, w->bytes + at + sizeof(len), len)) break;
    at += sizeof(len) + len;
    n++;
    if (a->file.out_len < CHUNK && at < w->len) continue;
    if (!insist(a, do_write, NULL, n)) break;
    n = 0;
  }
  if (at < w->len || n) {
    pthread_mutex_lock(&a->lock);
    a->n.n_lost += drop(w, at) + n;
    pthread_mutex_unlock(&a->lock);
    return false;
  }
  return !w->n_lost || add_missing(a, w->n_lost);
}

/* What is written but not synced is waited with for so long only. */
static void wait_more(struct audit *a) {
  struct timespec t = in_ms(SYNC_MS);
  int rc = 0;

  while (!a->stop && !a->in.len && !a->in.n_lost && rc != ETIMEDOUT)
    rc = a->dirty ? pthread_cond_timedwait(&a->more, &a->lock, &t)
                  : pthread_cond_wait(&a->more, &a->lock);
}

static void gather(struct audit *a) {
  pthread_mutex_unlock(&a->lock);
  nanosleep(&(struct timespec){.tv_nsec = GATHER_MS * MS}, NULL);
  pthread_mutex_lock(&a->lock);
}

/* The other buffer; false: nothing more comes. */
static bool exchange(struct audit *a) {
  struct waiting was = a->out;
  bool more;

  was.len = was.n_lost = 0;
  pthread_mutex_lock(&a->lock);
  a->busy = false;
  pthread_cond_signal(&a->idle);
  wait_more(a);
  if (!a->stop) gather(a);
  a->out = a->in;
  a->in = was;
  a->busy = true;
  more = !a->stop || a->out.len || a->out.n_lost;
  pthread_mutex_unlock(&a->lock);
  return more;
}

/* Records of a second are synced together. */
static void *run(void *ctx) {
  struct audit *a = ctx;
  uint64_t synced = clock_now();
  bool ok = add_event(a, "start");

  while (ok && exchange(a)) {
    ok = write_all(a, &a->out);
    if (!a->dirty || clock_now() < synced + SYNC_MS * MS) continue;
    audit_file_sync(&a->file);
    synced = clock_now();
    a->dirty = false;
  }
  if (ok) add_event(a, "stop");
  if (a->dirty) audit_file_sync(&a->file);
  return NULL;
}

/* --- life */

static void audit_free(struct audit *a) {
  audit_file_close(&a->file);
  free(a->in.bytes);
  free(a->out.bytes);
  free(a->path);
  pthread_mutex_destroy(&a->lock);
  pthread_cond_destroy(&a->more);
  pthread_cond_destroy(&a->idle);
  free(a);
}

static int start_thread(struct audit *a) {
  sigset_t all, was;
  int rc;

  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &was); /* signals are the loop's */
  rc = pthread_create(&a->thread, NULL, run, a);
  pthread_sigmask(SIG_SETMASK, &was, NULL);
  return rc ? ZTNA_ENOMEM : 0;
}

static struct audit *make(const struct audit_config *c, size_t room) {
  struct audit *a = calloc(1, sizeof(*a));

  if (!a) return NULL;
  a->file.fd = a->file.dir = -1;
  pthread_mutex_init(&a->lock, NULL);
  pthread_cond_init(&a->more, NULL);
  pthread_cond_init(&a->idle, NULL);
  a->busy = true; /* until the thread has written that it began */
  a->room = room;
  a->n.ok = 1;
  a->path = strdup(c->file);
  a->in.bytes = malloc(room);
  a->out.bytes = malloc(room);
  if (a->path && a->in.bytes && a->out.bytes) return a;
  audit_free(a);
  return NULL;
}

int audit_open_sized(struct audit **to, const struct audit_config *c,
                     const char *role, const char *identity, size_t room) {
  char why[AUDIT_WHY];
  struct audit *a;
  int rc;

  *to = NULL;
  if (!c->file) return 0;
  if (!(a = make(c, room))) return ZTNA_ENOMEM;
  rc = audit_file_open(&a->file, c->file, c->rotate, c->keep, role, identity,
                       why);
  if (rc < 0) {
    log_err("audit: %s: %s", c->file, why);
    audit_free(a);
    return rc;
  }
  a->seq = a->file.seq;
  strcpy(a->last, a->file.last);
  if ((rc = start_thread(a)) < 0) {
    audit_free(a);
    return rc;
  }
  *to = a;
  return 0;
}

int audit_open(struct audit **to, const struct audit_config *c,
               const char *role, const char *identity) {
  return audit_open_sized(to, c, role, identity, AUDIT_ROOM);
}

/* A thread that is only slow gets a second for what is left. */
static void last_drain(struct audit *a, struct audit_queue *q) {
  bool ok = true;

  audit_drain(a, q);
  for (int i = 0; q->n && ok && i < 100; i++) {
    nanosleep(&(struct timespec){.tv_nsec = 10 * MS}, NULL);
    audit_drain(a, q);
    pthread_mutex_lock(&a->lock);
    ok = a->error == 0;
    pthread_mutex_unlock(&a->lock);
  }
  audit_lose(a, q->n + a->owed);
}

void audit_close(struct audit *a, struct audit_queue *q) {
  if (!a) return;
  if (q) last_drain(a, q);
  pthread_mutex_lock(&a->lock);
  a->stop = true;
  pthread_cond_signal(&a->more);
  pthread_mutex_unlock(&a->lock);
  pthread_join(a->thread, NULL);
  a->n.n_lost += drop(&a->in, 0);
  log_info("audit: closed file=%s records=%llu lost=%llu last=%s", a->path,
           (unsigned long long)a->n.n_written, (unsigned long long)a->n.n_lost,
           a->file.last);
  audit_free(a);
}

/* --- asked by people */

json_t *audit_status(struct audit *a) {
  json_t *j;

  if (!a) return json_null();
  pthread_mutex_lock(&a->lock);
  j = json_pack("{s:s, s:b, s:I, s:I, s:I, s:s}", "file", a->path, "ok",
                a->error == 0, "written", (json_int_t)a->n.n_written, "lost",
                (json_int_t)a->n.n_lost, "last_seq", (json_int_t)a->seq,
                "last_hash", a->last);
  if (a->error)
    json_object_set_new(j, "error", json_string(strerror(a->error)));
  pthread_mutex_unlock(&a->lock);
  return j;
}

static const struct metric metrics[] = {
    {"ztna_audit_ok", "1 when the last audit record could be written",
     METRIC_GAUGE, offsetof(struct audit_counters, ok)},
    {"ztna_audit_written_total", "audit records written", METRIC_COUNTER,
     offsetof(struct audit_counters, n_written)},
    {"ztna_audit_lost_total", "audit records that could not be written",
     METRIC_COUNTER, offsetof(struct audit_counters, n_lost)},
    {"ztna_audit_files_total", "audit files begun since the start",
     METRIC_COUNTER, offsetof(struct audit_counters, n_rotated)},
    {0},
};

void audit_metrics(struct audit *a, struct sbuf *out) {
  struct audit_counters n;

  if (!a) return;
  pthread_mutex_lock(&a->lock);
  n = a->n;
  pthread_mutex_unlock(&a->lock);
  metrics_print(out, metrics, &n);
}
