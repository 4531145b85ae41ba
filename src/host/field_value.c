#include "host/field_value.h"

#include <stdlib.h>
#include <string.h>

#include <ztna/err.h>

#include "base/utc.h"
#include "host/field_list.h"
#include "host/value.h"
#include "part/policy_config.h"

enum { TEXT_MAX = 4096 }; /* bytes of a text, unless the field says otherwise */

/* --- what is wanted, in words */

static char *names_join(const char *const *names, const char *between,
                        const char *last, const char *quote, char *buf) {
  size_t n = 0;
  *buf = 0;
  for (size_t i = 0; names[i] && n < FIELD_WHY; i++) {
    const char *sep = i == 0 ? "" : names[i + 1] ? between : last;
    n += (size_t)snprintf(buf + n, FIELD_WHY - n, "%s%s%s%s", sep, quote,
                          names[i], quote);
  }
  return buf;
}

static void print_number(enum field_type type, int64_t v, char *buf) {
  if (type == F_NS)
    value_print_ns((uint64_t)v, buf);
  else if (type == F_SIZE)
    value_print_size((uint64_t)v, buf);
  else
    snprintf(buf, VALUE_STRLEN, "%lld", (long long)v);
}

char *field_range(const struct field *f, enum field_type type, char *buf) {
  char min[VALUE_STRLEN], max[VALUE_STRLEN];
  *buf = 0;
  if (f->max == 0 || (type != F_NS && type != F_SIZE && type != F_INT))
    return buf;
  print_number(type, f->min, min);
  print_number(type, f->max, max);
  snprintf(buf, FIELD_WHY, " from %s to %s", min, max);
  return buf;
}

static const char *want_plain(enum field_type type) {
  switch (type) {
  case F_BOOL:
    return "true or false";
  case F_INT:
    return "an integer";
  case F_SIZE:
    return "a size like \"64KiB\"";
  case F_NS:
    return "a duration like \"250ms\", \"10s\" or \"5m\"";
  case F_TIME:
    return "a UTC time like \"2026-12-31T18:00:00Z\", or a date";
  case F_FILE:
    return "a file name";
  case F_ADDR:
    return "ip:port";
  case F_HOSTPORT:
    return "host:port";
  case F_IP:
    return "an IP address without port";
  case F_PREFIX:
    return "a prefix like \"10.100.0.0/24\" (no bits behind its length)";
  case F_PORT:
    return "a port, or a range like \"8000-8100\"";
  default:
    return "text";
  }
}

char *field_want(const struct field *f, enum field_type type, char *buf) {
  char inner[FIELD_WHY - 16];
  if (type == F_ENUM || type == F_BIT)
    return names_join(f->names, ", ", " or ", "\"", buf);
  if (type == F_SET) {
    names_join(f->names, ", ", ", ", "\"", inner);
    snprintf(buf, FIELD_WHY, "a list of %s", inner);
    return buf;
  }
  field_range(f, type, inner);
  snprintf(buf, FIELD_WHY, "%s%s", want_plain(type), inner);
  return buf;
}

char *field_want_list(const struct field *f, char *buf) {
  static const char *const of[] = {
      [F_STRS] = "a list of texts",
      [F_ADDRS] = "a list of ip:port",
      [F_IPS] = "a list of IP addresses",
      [F_HOSTPORTS] = "a list of host:port",
      [F_PREFIXES] = "a list of prefixes",
      [F_PORTS] = "a list of ports and ranges",
      [F_OBJECTS] = "a list of objects",
      [F_MAP] = "an object {\"name\": {...}}",
  };
  int n = snprintf(buf, FIELD_WHY, "%s", of[f->type]);
  if (f->min && f->max)
    snprintf(buf + n, FIELD_WHY - (size_t)n, ", %lld to %lld of them",
             (long long)f->min, (long long)f->max);
  else if (f->min)
    snprintf(buf + n, FIELD_WHY - (size_t)n, ", %lld at least",
             (long long)f->min);
  else
    snprintf(buf + n, FIELD_WHY - (size_t)n, ", %zu at most",
             field_list_most(f));
  return buf;
}

char *field_meta(const struct field *f, char *buf) {
  static const char *const of[] = {
      [F_BOOL] = "",        [F_INT] = "N",
      [F_SIZE] = "SIZE",    [F_NS] = "DURATION",
      [F_STR] = "TEXT",     [F_FILE] = "FILE",
      [F_ADDR] = "IP:PORT", [F_HOSTPORT] = "HOST:PORT",
      [F_IP] = "IP",        [F_PREFIX] = "PREFIX",
      [F_PORT] = "PORT",    [F_TIME] = "TIME",
  };
  enum field_type element = field_element(f->type);
  if (f->meta)
    snprintf(buf, FIELD_WHY, "%s", f->meta);
  else if (f->type == F_ENUM || f->type == F_BIT)
    names_join(f->names, "|", "|", "", buf);
  else if (f->type == F_SET)
    names_join(f->names, ",", ",", "", buf);
  else if (f->fields)
    snprintf(buf, FIELD_WHY, f->type == F_OBJECTS ? "[{...}]" : "{...}");
  else
    snprintf(buf, FIELD_WHY, "%s%s", of[element ? element : f->type],
             element ? ",..." : "");
  return buf;
}

/* --- storing */

static int wrong(const struct field *f, enum field_type type, const char *got,
                 char *why) {
  char want[FIELD_WHY];
  field_want(f, type, want);
  snprintf(why, FIELD_WHY, "want %.380s, got %s", want, got);
  return ZTNA_EMALFORMED;
}

static bool number_fits(const struct field *f, enum field_type type,
                        int64_t v) {
  if (f->max) return v >= f->min && v <= f->max;
  if (type != F_INT) return v >= 0;
  if (f->size < sizeof(v)) return v >= 0 && v < INT64_C(1) << (8 * f->size);
  return true;
}

static void number_store(const struct field *f, void *to, int64_t v) {
  uint8_t v1 = (uint8_t)v;
  uint16_t v2 = (uint16_t)v;
  uint32_t v4 = (uint32_t)v;
  switch (f->size) {
  case 1:
    memcpy(to, &v1, 1);
    break;
  case 2:
    memcpy(to, &v2, 2);
    break;
  case 4:
    memcpy(to, &v4, 4);
    break;
  default:
    memcpy(to, &v, 8);
  }
}

/* Gives the member a copy of the text. */
static int text_store(void *to, const char *dir, const char *text) {
  char *copy;
  if (dir && *dir && *text != '/') {
    size_t room = strlen(dir) + strlen(text) + 2;
    copy = malloc(room);
    if (copy) snprintf(copy, room, "%s/%s", dir, text);
  } else {
    copy = strdup(text);
  }
  if (!copy) return ZTNA_ENOMEM;
  memcpy(to, &copy, sizeof(copy));
  return 0;
}

/* --- from text */

static int name_index(const struct field *f, const char *text) {
  for (int i = 0; f->names[i]; i++)
    if (!strcmp(f->names[i], text)) return i;
  return ZTNA_ENOENT;
}

static int wrong_name(const struct field *f, enum field_type type,
                      const char *text, char *why) {
  char quoted[VALUE_STRLEN];
  const char *best = nearest(text, f->names);
  int rc = wrong(f, type, value_quote(text, quoted), why);
  size_t n = strlen(why);
  if (best) snprintf(why + n, FIELD_WHY - n, "; did you mean \"%s\"?", best);
  return rc;
}

static int bit_text(const struct field *f, void *to, const char *text,
                    char *why) {
  int i = name_index(f, text);
  if (i < 0) return wrong_name(f, F_BIT, text, why);
  number_store(f, to, INT64_C(1) << i);
  return 0;
}

static int enum_text(const struct field *f, void *to, const char *text,
                     char *why) {
  int i = name_index(f, text);
  if (i < 0) return wrong_name(f, F_ENUM, text, why);
  number_store(f, to, i);
  return 0;
}

/* Adds one name to the set. */
static int set_add(const struct field *f, void *to, const char *text,
                   char *why) {
  unsigned bits;
  int i = name_index(f, text);
  if (i < 0) return wrong_name(f, F_SET, text, why);
  memcpy(&bits, to, sizeof(bits));
  bits |= 1u << i;
  memcpy(to, &bits, sizeof(bits));
  return 0;
}

static int set_text(const struct field *f, void *to, const char *text,
                    char *why) {
  memset(to, 0, f->size);
  while (*text) {
    size_t n = strcspn(text, ",");
    char *one = strndup(text, n);
    int rc = one ? set_add(f, to, one, why) : ZTNA_ENOMEM;
    free(one);
    if (rc < 0) return rc;
    text += n + (text[n] == ',');
  }
  return 0;
}

static int bool_text(void *to, const char *text) {
  bool yes = !strcmp(text, "true");
  if (!yes && strcmp(text, "false") != 0) return ZTNA_EMALFORMED;
  memcpy(to, &yes, sizeof(yes));
  return 0;
}

static int number_text(const struct field *f, enum field_type type, void *to,
                       const char *text) {
  int64_t v = 0;
  uint64_t u = 0;
  int rc = type == F_INT    ? value_int(&v, text)
           : type == F_SIZE ? value_size(&u, text)
                            : value_ns(&u, text);
  if (type != F_INT) v = (int64_t)u;
  if (rc < 0 || !number_fits(f, type, v)) return ZTNA_EMALFORMED;
  number_store(f, to, v);
  return 0;
}

static int addr_text(enum field_type type, void *to, const char *text) {
  struct ztna_addr a;
  if (value_has_port(text) != (type == F_ADDR) || ztna_addr_parse(&a, text) < 0)
    return ZTNA_EMALFORMED;
  memcpy(to, &a, sizeof(a));
  return 0;
}

static int prefix_text(void *to, const char *text) {
  struct ztna_prefix p;
  if (ztna_prefix_parse(&p, text) < 0) return ZTNA_EMALFORMED;
  memcpy(to, &p, sizeof(p));
  return 0;
}

static int ports_text(void *to, const char *text) {
  struct policy_ports p;
  if (value_ports(&p.first, &p.last, text) < 0) return ZTNA_EMALFORMED;
  memcpy(to, &p, sizeof(p));
  return 0;
}

static int time_text(void *to, const char *text) {
  int64_t t;
  if (utc_parse(&t, text) < 0 || !t) return ZTNA_EMALFORMED;
  memcpy(to, &t, sizeof(t));
  return 0;
}

static int string_text(const struct field *f, enum field_type type, void *to,
                       const char *text, const char *dir, char *why) {
  char quoted[VALUE_STRLEN];
  size_t n = strlen(text);
  bool alone = f->type == type; /* else min and max count elements */
  size_t min = alone && type == F_STR ? (size_t)f->min : 1;
  size_t max = alone && f->max ? (size_t)f->max : TEXT_MAX;
  if (type == F_HOSTPORT && !value_is_hostport(text)) return ZTNA_EMALFORMED;
  if (type == F_FILE && strstr(text, "-----BEGIN")) return ZTNA_EMALFORMED;
  if (n < min || n > max) {
    snprintf(why, FIELD_WHY, "want %s of %zu to %zu bytes, got %zu",
             want_plain(type), min, max, n);
    return ZTNA_EMALFORMED;
  }
  const char *want = f->check ? f->check(text) : NULL;
  if (!want) return text_store(to, type == F_FILE ? dir : NULL, text);
  snprintf(why, FIELD_WHY, "want %s, got %s", want, value_quote(text, quoted));
  return ZTNA_EMALFORMED;
}

static int store_text(const struct field *f, enum field_type type, void *to,
                      const char *text, const char *dir, char *why) {
  switch (type) {
  case F_BOOL:
    return bool_text(to, text);
  case F_INT:
  case F_SIZE:
  case F_NS:
    return number_text(f, type, to, text);
  case F_TIME:
    return time_text(to, text);
  case F_ENUM:
    return enum_text(f, to, text, why);
  case F_BIT:
    return bit_text(f, to, text, why);
  case F_SET:
    return set_text(f, to, text, why);
  case F_ADDR:
  case F_IP:
    return addr_text(type, to, text);
  case F_PREFIX:
    return prefix_text(to, text);
  case F_PORT:
    return ports_text(to, text);
  default:
    return string_text(f, type, to, text, dir, why);
  }
}

int field_value_text(const struct field *f, enum field_type type, void *to,
                     const char *text, const char *dir, char *why) {
  char quoted[VALUE_STRLEN];
  *why = 0;
  int rc = store_text(f, type, to, text, dir, why);
  if (rc == ZTNA_EMALFORMED && !*why)
    wrong(f, type, value_quote(text, quoted), why);
  return rc;
}

/* --- from JSON */

static int set_json(const struct field *f, void *to, const json_t *v,
                    char *why) {
  char got[VALUE_STRLEN];
  size_t i;
  json_t *one;
  memset(to, 0, f->size);
  json_array_foreach((json_t *)v, i, one) {
    if (!json_is_string(one)) return wrong(f, F_SET, value_got(one, got), why);
    int rc = set_add(f, to, json_string_value(one), why);
    if (rc < 0) return rc;
  }
  if (i > 0) return 0;
  return wrong(f, F_SET, "none", why);
}

/* Durations, enums, addresses are texts; numbers and booleans are not. */
static bool is_text(enum field_type type) {
  return type != F_BOOL && type != F_INT && type != F_SET;
}

int field_value_json(const struct field *f, enum field_type type, void *to,
                     const json_t *v, const char *dir, char *why) {
  char got[VALUE_STRLEN], digits[VALUE_STRLEN];
  bool counts = type == F_INT || type == F_SIZE || type == F_PORT;
  if (json_is_string(v) && is_text(type))
    return field_value_text(f, type, to, json_string_value(v), dir, why);
  if (json_is_boolean(v) && type == F_BOOL) {
    bool yes = json_is_true(v);
    memcpy(to, &yes, sizeof(yes));
    return 0;
  }
  if (json_is_array(v) && type == F_SET) return set_json(f, to, v, why);
  value_got(v, got);
  if (!json_is_integer(v) || !counts) return wrong(f, type, got, why);
  snprintf(digits, sizeof(digits), "%lld", (long long)json_integer_value(v));
  if (store_text(f, type, to, digits, dir, why) == 0) return 0;
  return wrong(f, type, got, why);
}

void field_value_free(enum field_type type, void *at) {
  char *text;
  if (type != F_STR && type != F_FILE && type != F_HOSTPORT) return;
  memcpy(&text, at, sizeof(text));
  free(text);
  memset(at, 0, sizeof(text));
}
