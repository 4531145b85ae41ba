/* test_reason.c - the list of reasons, and the sentences for errors. */
#include "unit.h"

#include "base/reason.h"

static void every_name_finds_its_reason(void **state) {
  for (int r = 0; r < REASON_N; r++)
    assert_int_equal(reason_find(reason_name((enum reason)r)), r);
}

static void the_numbers_of_the_wire_stay(void **state) {
  assert_int_equal(REASON_NONE, 0);
  assert_int_equal(REASON_NO_SUCH_SERVICE, 1);
  assert_int_equal(REASON_WRONG_SOURCE, 14);
  assert_int_equal(REASON_INTERNAL, 29);
  assert_string_equal(reason_name((enum reason)14), "wrong-source");
}

static void every_reason_says_what_happened_and_who_can_mend_it(void **state) {
  for (int r = 0; r < REASON_N; r++) {
    assert_true(strlen(reason_text((enum reason)r)) > 5);
    assert_true(strlen(reason_fix((enum reason)r)) > 5);
    assert_in_range(reason_http((enum reason)r), r ? 400 : 200, r ? 599 : 200);
  }
}

static void a_name_is_fit_for_a_metric_label_and_json(void **state) {
  for (int r = 0; r < REASON_N; r++) {
    const char *name = reason_name((enum reason)r);
    assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz-"), strlen(name));
  }
}

static void unknown_names_and_numbers_are_internal(void **state) {
  assert_int_equal(reason_find("no-such-reason"), REASON_INTERNAL);
  assert_int_equal(reason_find(""), REASON_INTERNAL);
  assert_string_equal(reason_name((enum reason)REASON_N), "internal");
  assert_string_equal(reason_name((enum reason) - 1), "internal");
  assert_int_equal(reason_http((enum reason)1000), 500);
}

static void every_error_has_a_sentence_of_its_own(void **state) {
  for (int a = 0; a >= ZTNA_ECLOSED; a--)
    for (int b = a - 1; b >= ZTNA_ECLOSED - 1; b--)
      assert_string_not_equal(ztna_strerror(a), ztna_strerror(b));
  assert_string_equal(ztna_strerror(-9999), "unknown error");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(every_name_finds_its_reason),
      TEST(the_numbers_of_the_wire_stay),
      TEST(every_reason_says_what_happened_and_who_can_mend_it),
      TEST(a_name_is_fit_for_a_metric_label_and_json),
      TEST(unknown_names_and_numbers_are_internal),
      TEST(every_error_has_a_sentence_of_its_own),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
