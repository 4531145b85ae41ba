/* test_hex.c - bytes as text and back. */
#include "unit/unit.h"

#include "base/hex.h"

static void every_byte_comes_back(void **state) {
  uint8_t bytes[256], got[256];
  char text[513];

  for (int i = 0; i < 256; i++) bytes[i] = (uint8_t)i;
  assert_ptr_equal(hex_print(bytes, 256, text), text);
  assert_int_equal(strlen(text), 512);
  assert_memory_equal(text, "000102030405060708090a0b0c0d0e0f10", 34);
  assert_memory_equal(text + 504, "fcfdfeff", 9);
  assert_true(hex_parse(got, 256, text));
  assert_memory_equal(got, bytes, 256);
}

static void nothing_is_the_empty_text(void **state) {
  char text[1] = "x";

  assert_string_equal(hex_print("", 0, text), "");
  assert_true(hex_parse(text, 0, ""));
  assert_false(hex_parse(text, 0, "0"));
}

static void other_lengths_are_refused(void **state) {
  uint8_t b[3];

  assert_true(hex_parse(b, 3, "00ff7f"));
  assert_false(hex_parse(b, 3, ""));
  assert_false(hex_parse(b, 3, "0"));
  assert_false(hex_parse(b, 3, "00ff7"));
  assert_false(hex_parse(b, 3, "00ff7f0"));
  assert_false(hex_parse(b, 3, "00ff7f00"));
  assert_false(hex_parse(b, 3, NULL));
}

/* One text per value: ids are compared as text. */
static void other_digits_are_refused_wherever_they_stand(void **state) {
  for (int c = 1; c < 256; c++) {
    bool digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');

    for (int at = 0; at < 4; at++) {
      char text[] = "0000";
      uint8_t b[2];

      text[at] = (char)c;
      assert_int_equal(hex_parse(b, 2, text), digit);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(every_byte_comes_back),
      TEST(nothing_is_the_empty_text),
      TEST(other_lengths_are_refused),
      TEST(other_digits_are_refused_wherever_they_stand),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
