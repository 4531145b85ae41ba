/* test_utc.c - moments as people write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <ztna/err.h>

#include "base/utc.h"

static void times_and_dates_are_read(void **state) {
  static const struct {
    const char *text;
    int64_t t; /* -1: refused */
  } cases[] = {
      {"1970-01-01T00:00:00Z", 0},
      {"1970-01-01", 0},
      {"1970-01-02", 86400},
      {"2026-12-31T18:00:00Z", 1798740000},
      {"2024-02-29T23:59:59Z", 1709251199},
      {"2023-02-29", -1},
      {"2100-02-29", -1},
      {"2000-02-29", 951782400},
      {"9999-12-31T23:59:59Z", 253402300799},
      {"1969-12-31T23:59:59Z", -1},
      {"2026-13-01", -1},
      {"2026-00-01", -1},
      {"2026-01-00", -1},
      {"2026-04-31", -1},
      {"2026-01-01T24:00:00Z", -1},
      {"2026-01-01T00:60:00Z", -1},
      {"2026-01-01T00:00:60Z", -1},
      {"2026-01-01T00:00:00", -1},
      {"2026-01-01T00:00:00z", -1},
      {"2026-01-01T00:00:00+00:00", -1},
      {"2026-01-01T00:00:00.5Z", -1},
      {"2026-01-01 00:00:00Z", -1},
      {"2026-1-1", -1},
      {" 2026-01-01", -1},
      {"2026-01-01 ", -1},
      {"", -1},
      {"tomorrow", -1},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    int64_t t = -1;
    int rc = utc_parse(&t, cases[i].text);
    if (rc != (cases[i].t < 0 ? ZTNA_EMALFORMED : 0) || t != cases[i].t)
      fail_msg("%s: %d, %lld", cases[i].text, rc, (long long)t);
  }
}

static void what_is_printed_is_read_again(void **state) {
  char text[UTC_STRLEN];
  int64_t t;
  assert_string_equal(utc_print(1798740000, text), "2026-12-31T18:00:00Z");
  for (int64_t v = 0; v < INT64_C(8000000000); v += 987654321) {
    assert_int_equal(utc_parse(&t, utc_print(v, text)), 0);
    assert_true(t == v);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(times_and_dates_are_read),
      cmocka_unit_test(what_is_printed_is_read_again),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
