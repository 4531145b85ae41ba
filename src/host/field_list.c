#include "host/field_list.h"

#include <stdlib.h>
#include <string.h>

enum field_type field_element(enum field_type list) {
  switch (list) {
  case F_STRS:
    return F_STR;
  case F_ADDRS:
    return F_ADDR;
  case F_IPS:
    return F_IP;
  case F_HOSTPORTS:
    return F_HOSTPORT;
  case F_PREFIXES:
    return F_PREFIX;
  case F_PORTS:
    return F_PORT;
  default:
    return F_END;
  }
}

bool field_is_list(const struct field *f) {
  return field_element(f->type) || f->type == F_OBJECTS || f->type == F_MAP;
}

/* Copied as bytes: the members have types of their own. */
struct field_list field_list_get(const void *base, const struct field *f) {
  struct field_list list;
  const char *at = (const char *)base + f->offset;
  memcpy(&list.v, at, sizeof(list.v));
  memcpy(&list.n, at + sizeof(list.v), sizeof(list.n));
  return list;
}

void field_list_set(void *base, const struct field *f, struct field_list list) {
  char *at = (char *)base + f->offset;
  memcpy(at, &list.v, sizeof(list.v));
  memcpy(at + sizeof(list.v), &list.n, sizeof(list.n));
}

void *field_list_make(void *base, const struct field *f, size_t n) {
  void *v = n ? calloc(n, f->size) : NULL;
  field_list_set(base, f, (struct field_list){v, v ? n : 0});
  return v;
}

void *field_list_grow(void *base, const struct field *f) {
  struct field_list list = field_list_get(base, f);
  char *v = realloc(list.v, (list.n + 1) * f->size);
  if (!v) return NULL;
  void *item = v + list.n * f->size;
  memset(item, 0, f->size);
  field_list_set(base, f, (struct field_list){v, list.n + 1});
  return item;
}

size_t field_list_most(const struct field *f) {
  return f->max ? (size_t)f->max : FIELD_LIST_MAX;
}

bool field_list_count_ok(const struct field *f, size_t n) {
  return n >= (size_t)f->min && n <= field_list_most(f);
}
