/* test_retry_keys.c - the file of Retry keys: read strictly, told without
 * quoting it. */
#include "unit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/file.h"
#include "host/retry_keys.h"

#define DIGITS(c) c c c c c c c c c c c c c c c c
#define KEY_A DIGITS("aaaa")
#define KEY_B DIGITS("0b0b")
#define KEY_C DIGITS("c0c0")

static char why[RETRY_KEYS_WHY];
static struct retry_keys k;

static int parse(const char *text) {
  char copy[1024];
  snprintf(copy, sizeof(copy), "%s", text);
  why[0] = 0;
  return retry_keys_parse(&k, "keys", copy, why);
}

static void one_to_four_keys_are_read_in_their_order(void **state) {
  assert_int_equal(parse(KEY_A), 0);
  assert_int_equal(k.n, 1);
  assert_int_equal(k.key[0][31], 0xaa);
  assert_int_equal(
      parse("# since Monday\n" KEY_B " # new\n\n  " KEY_A "\r\n#" KEY_C "\n"),
      0);
  assert_int_equal(k.n, 2);
  assert_int_equal(k.key[0][0], 0x0b);
  assert_int_equal(k.key[1][0], 0xaa);
  assert_int_equal(parse(KEY_A "\n" KEY_B "\n" KEY_C "\n" DIGITS("dddd") "\n"),
                   0);
  assert_int_equal(k.n, 4);
}

/* A mistake leaves no key behind, and the message tells none. */
static void check_bad(const char *text, const char *words) {
  static const struct retry_keys none;
  assert_int_equal(parse(text), ZTNA_ECONFIG);
  assert_non_null(strstr(why, words));
  assert_null(strstr(why, "aaaa"));
  assert_memory_equal(&k, &none, sizeof(k));
}

static void mistakes_name_their_line_and_no_key(void **state) {
  check_bad("", "keys: want one to 4 keys, got none");
  check_bad("# nothing\n\n", "got none");
  check_bad(KEY_A "\n" KEY_A "a\n",
            "keys:2: want a key of 64 hex digits, got 65");
  check_bad(KEY_B "\n\n"
                  "aaaa\n",
            "keys:3: want a key of 64 hex digits, got 4");
  check_bad(KEY_A KEY_A, "keys:1: ");
  check_bad(KEY_A " " KEY_B, "keys:1: ");
  check_bad(KEY_A "\n" KEY_B "\n" KEY_A,
            "keys:3: want another key than the 1.");
  check_bad(KEY_A "\n" KEY_B "\n" KEY_C "\n" DIGITS("dddd") "\n" DIGITS("eeee"),
            "keys:5: want 4 keys at most");
}

static char name[64];

static void write_file(const char *text, mode_t mode) {
  int fd = open(name, O_WRONLY | O_TRUNC);
  assert_int_equal(write(fd, text, strlen(text)), strlen(text));
  close(fd);
  assert_int_equal(chmod(name, mode), 0);
}

static void a_file_that_others_may_read_is_refused(void **state) {
  snprintf(name, sizeof(name), "/tmp/ztna-retry-XXXXXX");
  close(mkstemp(name));
  write_file(KEY_A "\n", 0600);
  assert_int_equal(retry_keys_load(&k, name, why), 0);
  assert_int_equal(k.n, 1);
  assert_int_equal(chmod(name, 0640), 0);
  assert_int_equal(retry_keys_load(&k, name, why), ZTNA_ECONFIG);
  assert_non_null(strstr(why, "mode 640"));
  assert_int_equal(chmod(name, 0604), 0);
  assert_int_equal(retry_keys_load(&k, name, why), ZTNA_ECONFIG);
  assert_int_equal(k.n, 0);
  unlink(name);
  assert_int_equal(retry_keys_load(&k, name, why), ZTNA_EIO);
  assert_int_equal(retry_keys_load(&k, "/dev/null", why), ZTNA_ECONFIG);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(one_to_four_keys_are_read_in_their_order),
      TEST(mistakes_name_their_line_and_no_key),
      TEST(a_file_that_others_may_read_is_refused),
  };
  return cmocka_run_group_tests_name("retry keys", tests, NULL, NULL);
}
