/* Strict JSON with the place of every value. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <ztna/err.h>

#include "host/json_file.h"

/* Parses text that is wrong and gives back the message. */
static char *wrong(const char *text, uint32_t line, uint32_t column) {
  static char why[JSON_FILE_WHY];
  struct json_file f;
  assert_int_equal(json_file_parse(&f, text, strlen(text), why), ZTNA_ECONFIG);
  assert_int_equal(f.error_line, line);
  if (column) assert_int_equal(f.error_column, column);
  json_file_done(&f);
  return why;
}

static void every_value_knows_its_line_and_column(void **state) {
  static const char text[] = "{\n"
                             "  \"a\": {\"b\": [1,\n"
                             "    \"x ] } \\\" y\", {\"c\": null}]},\n"
                             "\n"
                             "  \"d\": true }\n";
  struct json_file f;
  char why[JSON_FILE_WHY];
  assert_int_equal(json_file_parse(&f, text, strlen(text), why), 0);
  static const struct json_pos want[] = {
      {1, 1, 8}, {2, 8, 7},  {2, 14, 7}, {2, 15, 4},
      {3, 5, 5}, {3, 19, 7}, {3, 25, 7}, {5, 8, 8},
  };
  assert_int_equal(f.n_pos, 8);
  assert_memory_equal(f.pos, want, sizeof(want));
  json_file_done(&f);
}

static void a_walk_goes_in_the_order_of_the_text(void **state) {
  static const char text[] = "{\"z\": [[], {}],\n\"a\": 1,\n\"m\": \"s\"}";
  struct json_file f;
  char why[JSON_FILE_WHY], keys[4] = "";
  assert_int_equal(json_file_parse(&f, text, strlen(text), why), 0);
  struct json_walk w = json_walk(json_at_root(&f));
  while (json_walk_next(&w)) {
    assert_int_equal(json_at_line(w.at), w.index + 1);
    strcat(keys, w.key);
  }
  assert_string_equal(keys, "zam");
  struct json_walk none = json_walk(w.at);
  assert_int_equal(json_walk_next(&none), 0);
  json_file_done(&f);
}

static void syntax_errors_name_line_and_column(void **state) {
  assert_string_equal(wrong("{\n \"a\": 1,\n}", 3, 1),
                      "not valid JSON at column 1: string or '}' expected near "
                      "'}'; remove the comma before it");
  assert_string_equal(wrong("{\"a\": 1\n \"b\": 2}", 2, 0),
                      "not valid JSON at column 4: '}' expected near '\"b\"'; "
                      "is a comma missing before it?");
  assert_non_null(strstr(wrong("{ // x\n}", 1, 0), "JSON has no comments"));
  wrong("", 1, 0);
  wrong("{\"a\": 1} x", 1, 0);
  wrong("{\"a\": \"\\u0000\"}", 1, 0);
  wrong("{\"a\": \"\xff\"}", 1, 0);
}

static void duplicate_keys_are_refused(void **state) {
  assert_string_equal(wrong("{\"a\": 1,\n \"a\": 2}", 2, 4),
                      "at column 4: duplicate object key near '\"a\"'");
}

static void what_is_no_object_is_refused(void **state) {
  assert_string_equal(wrong("[1]", 1, 0), "want an object {...}, got a list");
}

/* depth lists inside the root object. */
static char *nested(int depth) {
  char *text = calloc(1, 2 * (size_t)depth + 16), *at = text;
  at += sprintf(at, "{\"a\":\n");
  memset(at, '[', (size_t)depth);
  memset(at + depth, ']', (size_t)depth);
  at[2 * depth] = '}';
  return text;
}

static void nesting_is_bounded(void **state) {
  struct json_file f;
  char why[JSON_FILE_WHY];
  char *text = nested(JSON_FILE_DEPTH - 1);
  assert_int_equal(json_file_parse(&f, text, strlen(text), why), 0);
  json_file_done(&f);
  free(text);
  text = nested(JSON_FILE_DEPTH);
  assert_string_equal(wrong(text, 2, JSON_FILE_DEPTH), "nested deeper than 16");
  free(text);
  text = nested(100000);
  wrong(text, 2, 0);
  free(text);
}

static void size_is_bounded(void **state) {
  size_t len = JSON_FILE_MAX + 1;
  struct json_file f;
  char why[JSON_FILE_WHY], *text = malloc(len);
  memset(text, ' ', len);
  memcpy(text, "{}", 2);
  assert_int_equal(json_file_parse(&f, text, len - 1, why), 0);
  json_file_done(&f);
  assert_int_equal(json_file_parse(&f, text, len, why), ZTNA_ECONFIG);
  assert_string_equal(why, "larger than 4 MiB");
  json_file_done(&f);
  free(text);
}

int main(void) {
  static const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_value_knows_its_line_and_column),
      cmocka_unit_test(a_walk_goes_in_the_order_of_the_text),
      cmocka_unit_test(syntax_errors_name_line_and_column),
      cmocka_unit_test(duplicate_keys_are_refused),
      cmocka_unit_test(what_is_no_object_is_refused),
      cmocka_unit_test(nesting_is_bounded),
      cmocka_unit_test(size_is_bounded),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
