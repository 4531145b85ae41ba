/* test_log.c - what reaches the sink, and how. */
#include "unit.h"

#include "base/log.h"
#include "base/time.h"

static char last[4096];
static enum log_level last_level;
static int n_lines;

static void keep(void *ud, enum log_level level, const char *line) {
  assert_ptr_equal(ud, &n_lines);
  snprintf(last, sizeof(last), "%s", line);
  last_level = level;
  n_lines++;
}

static int setup(void **state) {
  log_to(keep, &n_lines);
  log_set_level(LOG_LEVEL_INFO);
  n_lines = 0;
  last[0] = 0;
  return 0;
}

static void info_passes_and_debug_does_not_by_default(void **state) {
  log_to(keep, &n_lines); /* the group's first: nobody set a level yet */
  assert_int_equal(log_get_level(), LOG_LEVEL_INFO);
  log_info("a: b=%d", 7);
  assert_string_equal(last, "a: b=7");
  assert_int_equal(last_level, LOG_LEVEL_INFO);
  log_debug("hidden");
  log_line(LOG_LEVEL_DEBUG, "hidden");
  assert_int_equal(n_lines, 1);
}

static void the_level_decides_what_passes(void **state) {
  log_set_level(LOG_LEVEL_ERR);
  log_warn("no");
  assert_int_equal(n_lines, 0);
  log_err("yes");
  assert_int_equal(n_lines, 1);
  log_set_level(LOG_LEVEL_DEBUG);
  log_debug("yes");
  assert_int_equal(last_level, LOG_LEVEL_DEBUG);
}

static void arguments_of_a_hidden_debug_line_are_not_evaluated(void **state) {
  int n = 0;
  log_debug("%d", ++n);
  assert_int_equal(n, 0);
}

static void nobody_listening_is_fine(void **state) {
  log_to(NULL, NULL);
  log_err("into the void");
  assert_int_equal(n_lines, 0);
}

static void bytes_that_are_not_printable_ascii_are_escaped(void **state) {
  log_info("name=%s", "a\nb\x1b[31m\x7f\xc3\xa4\t~");
  assert_string_equal(last, "name=a\\x0ab\\x1b[31m\\x7f\\xc3\\xa4\\x09~");
}

static void a_line_is_at_most_1023_characters(void **state) {
  char text[3000];
  memset(text, 'x', sizeof(text));
  text[1023] = 0;
  log_info("%s", text);
  assert_string_equal(last, text);

  text[1023] = 'x';
  text[1024] = 0;
  log_info("%s", text);
  assert_int_equal(strlen(last), 1023);
  assert_string_equal(last + 1019, "x...");
}

static void a_cut_line_does_not_end_in_half_an_escape(void **state) {
  for (int shift = 0; shift < 4; shift++) {
    char text[600];
    memset(text, 1, sizeof(text));
    memset(text, 'x', (size_t)shift);
    text[sizeof(text) - 1] = 0;
    log_info("%s", text);
    size_t len = strlen(last);
    assert_in_range(len, 1023 - 3, 1023);
    assert_string_equal(last + len - 7, "\\x01...");
  }
}

static void levels_have_names(void **state) {
  assert_string_equal(log_level_name(LOG_LEVEL_ERR), "err");
  assert_string_equal(log_level_name(LOG_LEVEL_DEBUG), "debug");
}

static void a_burst_passes_and_the_rest_is_counted(void **state) {
  struct log_limit l = {0};
  uint32_t hidden = 99;
  uint64_t now = 5 * SEC;
  for (int i = 0; i < 3; i++) {
    assert_true(log_allow(&l, now, 3, SEC, &hidden));
    assert_int_equal(hidden, 0);
  }
  for (int i = 0; i < 10; i++)
    assert_false(log_allow(&l, now + SEC - 1, 3, SEC, &hidden));
  assert_true(log_allow(&l, now + SEC, 3, SEC, &hidden));
  assert_int_equal(hidden, 10);
  assert_true(log_allow(&l, now + SEC, 3, SEC, &hidden));
  assert_int_equal(hidden, 0);
}

static void a_limit_works_when_time_begins_at_0(void **state) {
  struct log_limit l = {0};
  uint32_t hidden;
  assert_true(log_allow(&l, 0, 1, SEC, &hidden));
  assert_false(log_allow(&l, 0, 1, SEC, &hidden));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(info_passes_and_debug_does_not_by_default),
      TEST_WITH(the_level_decides_what_passes, setup, NULL),
      TEST_WITH(arguments_of_a_hidden_debug_line_are_not_evaluated, setup,
                NULL),
      TEST_WITH(nobody_listening_is_fine, setup, NULL),
      TEST_WITH(bytes_that_are_not_printable_ascii_are_escaped, setup, NULL),
      TEST_WITH(a_line_is_at_most_1023_characters, setup, NULL),
      TEST_WITH(a_cut_line_does_not_end_in_half_an_escape, setup, NULL),
      TEST(levels_have_names),
      TEST(a_burst_passes_and_the_rest_is_counted),
      TEST(a_limit_works_when_time_begins_at_0),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
