/* config_diff.c - see config_diff.h. */
#include "host/config_diff.h"

#include <string.h>

#include "host/config_table.h"

/* --- equal? */

static bool fields_equal(const struct field *f, const void *a, const void *b);

static bool text_equal(const char *a, const char *b) {
  return a == b || (a && b && !strcmp(a, b));
}

/* One value, or one element of a list. */
static bool value_equal(const struct field *f, const char *a, const char *b) {
  switch (f->type) {
  case F_STR:
  case F_FILE:
  case F_HOSTPORT:
  case F_STRS:
  case F_HOSTPORTS:
    return text_equal(*(char *const *)a, *(char *const *)b);
  case F_PREFIX:
  case F_PREFIXES:
    return ((const struct ztna_prefix *)a)->bits ==
               ((const struct ztna_prefix *)b)->bits &&
           ztna_addr_equal((const void *)a, (const void *)b);
  case F_OBJECT:
  case F_OBJECTS:
    return fields_equal(f->fields, a, b);
  case F_MAP: /* its name is the first member */
    return text_equal(*(char *const *)a, *(char *const *)b) &&
           fields_equal(f->fields, a, b);
  default: /* numbers, addresses, ports: without padding */
    return !memcmp(a, b, f->size);
  }
}

static bool is_list(const struct field *f) {
  return f->type >= F_STRS && f->type != F_OBJECT;
}

static bool member_equal(const struct field *f, const char *a, const char *b) {
  struct list {
    const char *v;
    size_t n;
  } x, y;
  if (!is_list(f)) return value_equal(f, a + f->offset, b + f->offset);
  memcpy(&x, a + f->offset, sizeof(x));
  memcpy(&y, b + f->offset, sizeof(y));
  if (x.n != y.n) return false;
  for (size_t i = 0; i < x.n; i++)
    if (!value_equal(f, x.v + i * f->size, y.v + i * f->size)) return false;
  return true;
}

static bool fields_equal(const struct field *f, const void *a, const void *b) {
  for (; f->type != F_END; f++)
    if (!member_equal(f, a, b)) return false;
  return true;
}

/* --- names */

static bool is_one_of(const char *name, const char *const *list) {
  for (; *list; list++)
    if (!strcmp(*list, name)) return true;
  return false;
}

static void add(struct sbuf *out, const char *name) {
  sbuf_printf(out, "%s%s", out->len ? ", " : "", name);
}

static void diff(const struct field *f, const char *a, const char *b,
                 const char *path, const char *const *but, struct sbuf *out) {
  char name[128];
  for (; f->type != F_END; f++) {
    if (member_equal(f, a, b)) continue;
    snprintf(name, sizeof(name), "%s%s%s", path, *path ? "." : "", f->name);
    if (is_one_of(name, but)) continue;
    if (f->type == F_OBJECT)
      diff(f->fields, a + f->offset, b + f->offset, name, but, out);
    else
      add(out, name);
  }
}

void config_diff(const struct config *a, const struct config *b, unsigned role,
                 const char *const *but, struct sbuf *out) {
  diff(config_common_fields, (const char *)a, (const char *)b, "", but, out);
  if (role == CONFIG_RELAY)
    diff(config_relay_fields, (const char *)&a->relay, (const char *)&b->relay,
         "relay", but, out);
  if (role == CONFIG_CONNECTOR)
    diff(config_connector_fields, (const char *)&a->connector,
         (const char *)&b->connector, "connector", but, out);
  if (role == CONFIG_AGENT)
    diff(config_agent_fields, (const char *)&a->agent, (const char *)&b->agent,
         "agent", but, out);
  if (role == CONFIG_ENROLL)
    diff(config_enroll_fields, (const char *)&a->enroll,
         (const char *)&b->enroll, "enroll", but, out);
}
