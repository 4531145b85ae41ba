#include "host/value.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ztna/addr.h>
#include <ztna/err.h>

#include "base/time.h"

struct unit {
  const char *name;
  uint64_t factor;
};

/* The largest first, for printing. */
static const struct unit sizes[] = {
    {"TiB", UINT64_C(1) << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20},
    {"KiB", 1 << 10},           {"B", 1},         {NULL, 0},
};
static const struct unit spans[] = {
    {"d", 86400 * SEC}, {"h", 3600 * SEC}, {"m", 60 * SEC}, {"s", SEC},
    {"ms", MS},         {"us", US},        {"ns", 1},       {NULL, 0},
};

/* Digits only; *rest is what follows them. */
static int number(uint64_t *v, const char *text, const char **rest) {
  *v = 0;
  if (!isdigit((unsigned char)*text)) return ZTNA_EMALFORMED;
  for (; isdigit((unsigned char)*text); text++) {
    unsigned digit = (unsigned)(*text - '0');
    if (*v > ((uint64_t)INT64_MAX - digit) / 10) return ZTNA_EMALFORMED;
    *v = *v * 10 + digit;
  }
  *rest = text;
  return 0;
}

static int with_unit(uint64_t *v, const char *text, const struct unit *units) {
  const char *rest;
  if (number(v, text, &rest) < 0) return ZTNA_EMALFORMED;
  for (; units->name; units++) {
    if (strcmp(rest, units->name) != 0) continue;
    if (*v > (uint64_t)INT64_MAX / units->factor) return ZTNA_EMALFORMED;
    *v *= units->factor;
    return 0;
  }
  return ZTNA_EMALFORMED;
}

static char *print_unit(uint64_t v, char *buf, const struct unit *units) {
  while (units[1].name && (v == 0 || v % units->factor)) units++;
  snprintf(buf, VALUE_STRLEN, "%llu%s", (unsigned long long)(v / units->factor),
           units->name);
  return buf;
}

int value_int(int64_t *v, const char *text) {
  uint64_t u;
  const char *rest;
  bool minus = *text == '-';
  if (number(&u, text + minus, &rest) < 0 || *rest) return ZTNA_EMALFORMED;
  *v = minus ? -(int64_t)u : (int64_t)u;
  return 0;
}

int value_size(uint64_t *v, const char *text) {
  const char *rest;
  if (number(v, text, &rest) == 0 && !*rest) return 0;
  return with_unit(v, text, sizes);
}

int value_ns(uint64_t *v, const char *text) {
  return with_unit(v, text, spans);
}

int value_ports(uint16_t *first, uint16_t *last, const char *text) {
  uint64_t a, b;
  const char *rest;
  if (number(&a, text, &rest) < 0) return ZTNA_EMALFORMED;
  b = a;
  if (*rest == '-' && number(&b, rest + 1, &rest) < 0) return ZTNA_EMALFORMED;
  if (*rest || a < 1 || b < a || b > 65535) return ZTNA_EMALFORMED;
  *first = (uint16_t)a;
  *last = (uint16_t)b;
  return 0;
}

/* --- hosts */

static bool name_ok(const char *s, size_t n) {
  bool letters = false;
  if (!n || n > 253 || s[0] == '.' || s[0] == '-') return false;
  for (size_t i = 0; i < n; i++) {
    if (!isalnum((unsigned char)s[i]) && !strchr("-._", s[i])) return false;
    if (s[i] == '.' && i + 1 < n && s[i + 1] == '.') return false;
    if (isalpha((unsigned char)s[i])) letters = true;
  }
  return letters || strspn(s, "0123456789.") < n;
}

static bool addr_ok(const char *s, size_t n, int family) {
  char text[ZTNA_ADDR_STRLEN];
  struct ztna_addr a;
  if (n >= sizeof(text)) return false;
  memcpy(text, s, n);
  text[n] = 0;
  return !value_has_port(text) && ztna_addr_parse(&a, text) == 0 &&
         (!family || a.family == family);
}

bool value_is_host(const char *text) {
  size_t n = strlen(text);
  return name_ok(text, n) || addr_ok(text, n, 0);
}

bool value_is_hostport(const char *text) {
  uint64_t port;
  const char *colon = strrchr(text, ':'), *rest;
  if (!colon || number(&port, colon + 1, &rest) < 0 || *rest) return false;
  if (port < 1 || port > 65535) return false;
  size_t n = (size_t)(colon - text);
  /* A v4-mapped address in brackets is stored as v4. */
  if (*text == '[')
    return n > 2 && text[n - 1] == ']' && addr_ok(text + 1, n - 2, 0) &&
           memchr(text, ':', n);
  return name_ok(text, n) || addr_ok(text, n, 4);
}

bool value_has_port(const char *text) {
  const char *colon = strchr(text, ':');
  if (*text == '[') return strstr(text, "]:") != NULL;
  return colon && colon == strrchr(text, ':');
}

/* --- printing */

char *value_print_size(uint64_t v, char *buf) {
  return print_unit(v, buf, sizes);
}

char *value_print_ns(uint64_t v, char *buf) {
  return print_unit(v, buf, spans);
}

char *value_quote(const char *text, char *buf) {
  /* A key pasted where its file's name belongs must not reach a log. */
  if (strstr(text, "-----BEGIN")) return strcpy(buf, "the text of a PEM file");
  int shown = VALUE_STRLEN - 8;
  bool all = strlen(text) <= (size_t)shown;
  /* Cut between characters, not inside one of UTF-8. */
  while (!all && shown > 0 && ((unsigned char)text[shown] & 0xc0) == 0x80)
    shown--;
  snprintf(buf, VALUE_STRLEN, "\"%.*s%s\"", shown, text, all ? "" : "...");
  return buf;
}

char *value_got(const json_t *v, char *buf) {
  switch (json_typeof(v)) {
  case JSON_STRING:
    return value_quote(json_string_value(v), buf);
  case JSON_INTEGER:
    snprintf(buf, VALUE_STRLEN, "%lld", (long long)json_integer_value(v));
    return buf;
  case JSON_REAL:
    snprintf(buf, VALUE_STRLEN, "%g", json_real_value(v));
    return buf;
  case JSON_OBJECT:
    return strcpy(buf, "an object");
  case JSON_ARRAY:
    return strcpy(buf, "a list");
  case JSON_TRUE:
    return strcpy(buf, "true");
  case JSON_FALSE:
    return strcpy(buf, "false");
  default:
    return strcpy(buf, "null");
  }
}
