#include "base/utc.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <ztna/err.h>

/* The text has the pattern's form: 0 stands for any digit. */
static bool has_form(const char *text, const char *pattern) {
  if (strlen(text) != strlen(pattern)) return false;
  for (; *text; text++, pattern++)
    if (*pattern == '0' ? *text < '0' || *text > '9' : *text != *pattern)
      return false;
  return true;
}

static int number(const char *text, int digits) {
  int v = 0;
  while (digits--) v = v * 10 + *text++ - '0';
  return v;
}

/* Calendar arithmetic moves what does not exist, such as 30 February. */
static bool exists(const struct tm *tm, time_t t) {
  struct tm same;
  return gmtime_r(&t, &same) && same.tm_year == tm->tm_year &&
         same.tm_mon == tm->tm_mon && same.tm_mday == tm->tm_mday &&
         same.tm_hour == tm->tm_hour && same.tm_min == tm->tm_min &&
         same.tm_sec == tm->tm_sec;
}

int utc_parse(int64_t *to, const char *text) {
  bool whole = has_form(text, "0000-00-00T00:00:00Z");
  if (!whole && !has_form(text, "0000-00-00")) return ZTNA_EMALFORMED;
  struct tm tm = {.tm_year = number(text, 4) - 1900,
                  .tm_mon = number(text + 5, 2) - 1,
                  .tm_mday = number(text + 8, 2)};
  if (whole) {
    tm.tm_hour = number(text + 11, 2);
    tm.tm_min = number(text + 14, 2);
    tm.tm_sec = number(text + 17, 2);
  }
  struct tm asked = tm;
  time_t t = timegm(&tm);
  if (asked.tm_year < 70 || !exists(&asked, t)) return ZTNA_EMALFORMED;
  *to = t;
  return 0;
}

char *utc_print(int64_t t, char buf[UTC_STRLEN]) {
  struct tm tm;
  time_t when = (time_t)t;
  if (!gmtime_r(&when, &tm) ||
      !strftime(buf, UTC_STRLEN, "%Y-%m-%dT%H:%M:%SZ", &tm))
    snprintf(buf, UTC_STRLEN, "%lld", (long long)t);
  return buf;
}
