/* test_file_write.c - a file is the former or the next one, never half of it,
 * and keeps its mode, its place behind a link, and its neighbours. */
#include "unit.h"

#include <sys/stat.h>
#include <unistd.h>

#include "host/file_write.h"

static char dir[64], why[FILE_WHY];

static const char *at(const char *name) {
  static char path[4][128];
  static int i;
  char *p = path[i++ % 4];
  snprintf(p, sizeof(path[0]), "%s/%s", dir, name);
  return p;
}

static int begin(void **state) {
  snprintf(dir, sizeof(dir), "/tmp/ztna-file-XXXXXX");
  umask(077);
  return mkdtemp(dir) ? 0 : -1;
}

static int end(void **state) {
  static const char *const names[] = {"a",     "a.new",     "link",
                                      "sub/a", "sub/a.new", "sub/link"};
  for (size_t i = 0; i < N_OF(names); i++) unlink(at(names[i]));
  rmdir(at("sub"));
  return rmdir(dir);
}

static bool holds(const char *name, const char *text) {
  char *bytes, say[FILE_WHY];
  size_t len;
  if (file_read(at(name), 1000, &bytes, &len, say) < 0) return false;
  bool same = !strcmp(bytes, text);
  free(bytes);
  return same;
}

static void new_file_has_its_mode_whatever_the_umask(void **state) {
  assert_int_equal(file_create(at("a"), 0644, "one", 3, why), 0);
  assert_true(holds("a", "one"));
  assert_int_equal(file_mode(at("a")), 0644);
}

static void file_that_is_there_is_not_created_again(void **state) {
  file_create(at("a"), 0600, "one", 3, why);
  assert_int_equal(file_create(at("a"), 0600, "two", 3, why), ZTNA_EEXIST);
  assert_true(holds("a", "one"));
  assert_int_equal(symlink("a", at("link")), 0);
  assert_int_equal(file_create(at("link"), 0600, "two", 3, why), ZTNA_EEXIST);
  unlink(at("a"));
  assert_int_equal(file_create(at("link"), 0600, "two", 3, why), ZTNA_EEXIST);
  assert_int_equal(file_mode(at("a")), -1);
}

static void replaced_file_keeps_its_mode(void **state) {
  struct stat st;
  file_create(at("a"), 0640, "one", 3, why);
  if (geteuid() == 0) assert_int_equal(chown(at("a"), 1, 12), 0);
  assert_int_equal(file_replace(at("a"), 0644, "two", 3, why), 0);
  assert_true(holds("a", "two"));
  assert_int_equal(file_mode(at("a")), 0640);
  assert_int_equal(file_mode(at("a.new")), -1);
  if (geteuid() != 0) return;
  assert_int_equal(stat(at("a"), &st), 0);
  assert_int_equal(st.st_uid, 1);
  assert_int_equal(st.st_gid, 12);
}

static void who_has_it_open_goes_on_with_the_former_one(void **state) {
  char text[8] = "";
  file_create(at("a"), 0644, "one", 3, why);
  FILE *f = fopen(at("a"), "r");
  file_replace(at("a"), 0644, "two", 3, why);
  assert_int_equal(fread(text, 1, 7, f), 3);
  assert_string_equal(text, "one");
  fclose(f);
}

static void link_stays_and_what_it_leads_to_is_replaced(void **state) {
  struct stat st;
  mkdir(at("sub"), 0700);
  file_create(at("sub/a"), 0644, "one", 3, why);
  assert_int_equal(symlink("sub/a", at("link")), 0);
  assert_int_equal(file_replace(at("link"), 0600, "two", 3, why), 0);
  assert_int_equal(lstat(at("link"), &st), 0);
  assert_true(S_ISLNK(st.st_mode));
  assert_true(holds("sub/a", "two"));
}

/* As root among files of a service that runs as another user, and that may have
 * been taken over. */
static void root_follows_no_link_of_another_user(void **state) {
  if (geteuid() != 0) skip();
  mkdir(at("sub"), 0700);
  file_create(at("a"), 0600, "root's", 6, why);
  assert_int_equal(symlink("../a", at("sub/link")), 0);
  assert_int_equal(chown(at("sub"), 1, 1), 0);
  assert_int_equal(lchown(at("sub/link"), 1, 1), 0);
  assert_int_equal(file_try_replace(at("sub/link"), why), ZTNA_EPERM);
  assert_int_equal(file_replace(at("sub/link"), 0600, "x", 1, why), ZTNA_EPERM);
  assert_int_equal(file_replace_for(at("sub/link"), 0600, "x", 1, why),
                   ZTNA_EPERM);
  assert_true(holds("a", "root's"));
  assert_int_equal(symlink("sub/link", at("link")), 0); /* by one of its own */
  assert_int_equal(file_replace(at("link"), 0600, "x", 1, why), ZTNA_EPERM);
  assert_true(holds("a", "root's"));
}

static void links_to_links_are_followed_but_not_for_ever(void **state) {
  mkdir(at("sub"), 0700);
  file_create(at("a"), 0644, "one", 3, why);
  assert_int_equal(symlink("../a", at("sub/link")), 0);
  assert_int_equal(symlink("sub/link", at("link")), 0);
  assert_int_equal(file_replace(at("link"), 0600, "two", 3, why), 0);
  assert_true(holds("a", "two"));
  unlink(at("sub/link"));
  assert_int_equal(symlink("../link", at("sub/link")), 0);
  assert_true(file_replace(at("link"), 0600, "two", 3, why) < 0);
}

static void what_root_writes_for_a_directory_is_its_owners(void **state) {
  struct stat st;
  if (geteuid() != 0) skip();
  mkdir(at("sub"), 0700);
  assert_int_equal(chown(at("sub"), 1, 12), 0);
  for (int i = 0; i < 2; i++) { /* there or not */
    assert_int_equal(file_replace_for(at("sub/a"), 0600, "x", 1, why), 0);
    assert_int_equal(stat(at("sub/a"), &st), 0);
    assert_int_equal(st.st_uid, 1);
    assert_int_equal(st.st_gid, 12);
    assert_int_equal(chown(at("sub/a"), 0, 0), 0);
  }
}

static void what_an_earlier_attempt_left_is_no_hindrance(void **state) {
  file_create(at("a"), 0644, "one", 3, why);
  file_create(at("a.new"), 0644, "ha", 2, why);
  assert_int_equal(file_replace(at("a"), 0644, "two", 3, why), 0);
  assert_true(holds("a", "two"));
  assert_int_equal(file_mode(at("a.new")), -1);
}

static void failure_leaves_the_former_file_and_says_why(void **state) {
  file_create(at("a"), 0644, "one", 3, why);
  mkdir(at("a.new"), 0700); /* no other file can have that name */
  assert_true(file_try_replace(at("a"), why) < 0);
  assert_true(file_replace(at("a"), 0644, "two", 3, why) < 0);
  assert_string_equal(why, "File exists");
  assert_true(holds("a", "one"));
  rmdir(at("a.new"));
  assert_int_equal(file_replace(at("nowhere/a"), 0644, "", 0, why),
                   ZTNA_ENOENT);
}

static void trying_changes_nothing(void **state) {
  file_create(at("a"), 0644, "one", 3, why);
  assert_int_equal(file_try_replace(at("a"), why), 0);
  assert_true(holds("a", "one"));
  assert_int_equal(file_mode(at("a.new")), -1);
}

int main(void) {
#define T(f) TEST_WITH(f, begin, end)
  const struct CMUnitTest tests[] = {
      T(new_file_has_its_mode_whatever_the_umask),
      T(file_that_is_there_is_not_created_again),
      T(replaced_file_keeps_its_mode),
      T(who_has_it_open_goes_on_with_the_former_one),
      T(link_stays_and_what_it_leads_to_is_replaced),
      T(root_follows_no_link_of_another_user),
      T(links_to_links_are_followed_but_not_for_ever),
      T(what_root_writes_for_a_directory_is_its_owners),
      T(what_an_earlier_attempt_left_is_no_hindrance),
      T(failure_leaves_the_former_file_and_says_why),
      T(trying_changes_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
