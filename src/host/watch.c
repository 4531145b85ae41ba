/* watch.c - the directory is watched, not the file: what replaces a file is
 * another file. Whether anything changed is read from the file itself. */
#include "host/watch.h"

#include <libgen.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"

struct watch {
  uv_fs_event_t event;
  uv_timer_t settle;
  int n_handles; /* open; freed with the last */
  char *file;
  struct stat was;  /* as told */
  struct stat seen; /* at the last event */
  void (*on_change)(void *ctx);
  void *ctx;
};

/* Is the file another than *was? *was is what it is now. */
static bool look(const struct watch *w, struct stat *was) {
  struct stat is, old = *was;

  if (stat(w->file, &is) < 0) return false;
  *was = is;
  return is.st_dev != old.st_dev || is.st_ino != old.st_ino ||
         is.st_size != old.st_size || is.st_mtim.tv_sec != old.st_mtim.tv_sec ||
         is.st_mtim.tv_nsec != old.st_mtim.tv_nsec;
}

static void on_settled(uv_timer_t *t) {
  struct watch *w = t->data;

  if (look(w, &w->was)) w->on_change(w->ctx);
}

/* Who writes a file does it in pieces: wait until it is quiet. A neighbour that
 * never is, such as a log, is not waited for. */
static void on_event(uv_fs_event_t *e, const char *name, int events,
                     int status) {
  struct watch *w = e->data;

  if (look(w, &w->seen))
    uv_timer_start(&w->settle, on_settled, WATCH_SETTLE, 0);
}

static void on_closed(uv_handle_t *h) {
  struct watch *w = h->data;

  if (--w->n_handles) return;
  free(w->file);
  free(w);
}

void watch_free(struct watch *w) {
  if (!w) return;
  uv_close((uv_handle_t *)&w->event, on_closed);
  uv_close((uv_handle_t *)&w->settle, on_closed);
}

static int start(struct watch *w) {
  char *copy = strdup(w->file);
  int rc = copy ? uv_fs_event_start(&w->event, on_event, dirname(copy), 0)
                : UV_ENOMEM;

  free(copy);
  return rc;
}

struct watch *watch_new(uv_loop_t *loop, const char *file,
                        void (*on_change)(void *ctx), void *ctx) {
  struct watch *w = calloc(1, sizeof(*w));
  int rc;

  if (!w || !(w->file = strdup(file))) {
    free(w);
    return NULL;
  }
  w->on_change = on_change;
  w->ctx = ctx;
  uv_fs_event_init(loop, &w->event);
  uv_timer_init(loop, &w->settle);
  w->n_handles = 2;
  w->event.data = w->settle.data = w;
  /* It keeps nobody alive. */
  uv_unref((uv_handle_t *)&w->event);
  uv_unref((uv_handle_t *)&w->settle);
  look(w, &w->was);
  w->seen = w->was;
  rc = start(w);
  if (!rc) return w;
  log_warn("watch: changes of %s are not noticed (%s): send SIGHUP after them",
           file, uv_strerror(rc));
  watch_free(w);
  return NULL;
}
