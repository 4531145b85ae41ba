/* test_watch.c - changes of a file, however they are made. */
#include "unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/watch.h"

struct fixture {
  uv_loop_t loop;
  uv_timer_t limit;
  char dir[64], file[96], other[96];
  struct watch *w;
  int n;
};

static void put(const char *file, const char *text) {
  FILE *f = fopen(file, "w");

  assert_non_null(f);
  fputs(text, f);
  fclose(f);
}

static void on_change(void *ctx) {
  struct fixture *f = ctx;

  f->n++;
  uv_stop(&f->loop);
}

static void on_limit(uv_timer_t *t) { uv_stop(t->loop); }

/* Runs until a change is told or ms have passed; returns how many there were.
 */
static int changes(struct fixture *f, unsigned ms) {
  f->n = 0;
  uv_timer_start(&f->limit, on_limit, ms, 0);
  uv_run(&f->loop, UV_RUN_DEFAULT);
  uv_timer_stop(&f->limit);
  return f->n;
}

static int setup(void **state) {
  struct fixture *f = calloc(1, sizeof(*f));

  strcpy(f->dir, "/tmp/ztna-watch-XXXXXX");
  assert_non_null(mkdtemp(f->dir));
  snprintf(f->file, sizeof(f->file), "%s/config.json", f->dir);
  snprintf(f->other, sizeof(f->other), "%s/other", f->dir);
  put(f->file, "one");
  uv_loop_init(&f->loop);
  uv_timer_init(&f->loop, &f->limit);
  f->w = watch_new(&f->loop, f->file, on_change, f);
  assert_non_null(f->w);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  struct fixture *f = *state;

  watch_free(f->w);
  uv_close((uv_handle_t *)&f->limit, NULL);
  uv_run(&f->loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&f->loop), 0);
  unlink(f->file);
  unlink(f->other);
  rmdir(f->dir);
  free(f);
  return 0;
}

static void a_written_file_is_told_once(void **state) {
  struct fixture *f = *state;

  put(f->file, "two");
  put(f->file, "three");
  assert_int_equal(changes(f, 3000), 1);
  assert_int_equal(changes(f, 300), 0);
}

static void a_replaced_file_is_told(void **state) {
  struct fixture *f = *state;

  for (int i = 0; i < 3; i++) {
    put(f->other, "new");
    assert_int_equal(rename(f->other, f->file), 0);
    assert_int_equal(changes(f, 3000), 1);
  }
}

static void a_neighbour_s_change_is_not(void **state) {
  struct fixture *f = *state;

  put(f->other, "something else");
  assert_int_equal(changes(f, 400), 0);
}

static void on_noise(uv_timer_t *t) {
  put(((struct fixture *)t->data)->other, "another line");
}

static void a_busy_neighbour_hides_no_change(void **state) {
  struct fixture *f = *state;
  uv_timer_t noise;

  uv_timer_init(&f->loop, &noise);
  noise.data = f;
  uv_timer_start(&noise, on_noise, 0, WATCH_SETTLE / 5);
  put(f->file, "two");
  assert_int_equal(changes(f, 1000), 1);
  uv_close((uv_handle_t *)&noise, NULL);
  uv_run(&f->loop, UV_RUN_NOWAIT);
}

static void a_vanished_file_is_told_when_it_is_back(void **state) {
  struct fixture *f = *state;

  unlink(f->file);
  assert_int_equal(changes(f, 300), 0);
  put(f->file, "back");
  assert_int_equal(changes(f, 3000), 1);
}

static void a_link_that_points_elsewhere_is_told(void **state) {
  struct fixture *f = *state;
  char link[128];

  snprintf(link, sizeof(link), "%s/link", f->dir);
  put(f->other, "the other one");
  unlink(f->file);
  assert_int_equal(symlink(f->other, link), 0);
  assert_int_equal(rename(link, f->file), 0);
  assert_int_equal(changes(f, 3000), 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST_WITH(a_written_file_is_told_once, setup, teardown),
      TEST_WITH(a_replaced_file_is_told, setup, teardown),
      TEST_WITH(a_neighbour_s_change_is_not, setup, teardown),
      TEST_WITH(a_busy_neighbour_hides_no_change, setup, teardown),
      TEST_WITH(a_vanished_file_is_told_when_it_is_back, setup, teardown),
      TEST_WITH(a_link_that_points_elsewhere_is_told, setup, teardown),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
