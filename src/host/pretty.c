/* pretty.c - JSON for people. */
#include "host/pretty.h"

#include <stdio.h>
#include <string.h>

enum {
  INDENT = 2,
  TEXT_ROOM = 512,  /* a single value */
  COLUMNS_MAX = 16, /* of a table */
};

/* --- single values */

static bool is_single(const json_t *v) {
  return !json_is_object(v) && !json_is_array(v);
}

static void copy_visible(char *to, size_t room, const char *s) {
  size_t n = 0;
  for (; *s && n + 1 < room; s++) {
    unsigned char c = (unsigned char)*s;
    to[n++] = c < 0x20 || c == 0x7f ? '?' : *s;
  }
  to[n] = 0;
}

static const char *single_text(const json_t *v, char room[TEXT_ROOM]) {
  switch (v ? json_typeof(v) : JSON_NULL) {
  case JSON_STRING:
    copy_visible(room, TEXT_ROOM, json_string_value(v));
    break;
  case JSON_INTEGER:
    snprintf(room, TEXT_ROOM, "%lld", (long long)json_integer_value(v));
    break;
  case JSON_REAL:
    snprintf(room, TEXT_ROOM, "%g", json_real_value(v));
    break;
  case JSON_TRUE:
    return "yes";
  case JSON_FALSE:
    return "no";
  default:
    return "-";
  }
  return room[0] ? room : "-";
}

/* Characters, not bytes: continuation bytes of UTF-8 take no column. */
static int width_of(const char *s) {
  int n = 0;
  for (; *s; s++) n += ((unsigned char)*s & 0xc0) != 0x80;
  return n;
}

static void put_padded(struct sbuf *out, const char *s, int width) {
  int blanks = width - width_of(s);
  sbuf_printf(out, "%s%*s", s, blanks > 0 ? blanks : 0, "");
}

/* --- tables */

static bool is_flat(const json_t *object) {
  const char *key;
  json_t *v;
  if (!json_is_object(object)) return false;
  json_object_foreach((json_t *)object, key, v) if (!is_single(v)) return false;
  return true;
}

struct table {
  const char *keys[COLUMNS_MAX];
  int widths[COLUMNS_MAX];
  size_t n;
};

static void table_note(struct table *t, const char *key, const json_t *v) {
  char room[TEXT_ROOM];
  size_t i = 0;
  while (i < t->n && strcmp(t->keys[i], key) != 0) i++;
  if (i == COLUMNS_MAX) return;
  if (i == t->n) {
    t->keys[t->n] = key;
    t->widths[t->n++] = width_of(key);
  }
  int width = width_of(single_text(v, room));
  if (width > t->widths[i]) t->widths[i] = width;
}

/* A row of row's values, of the keys when row is NULL. */
static void table_row(struct sbuf *out, const struct table *t,
                      const json_t *row, int indent) {
  char room[TEXT_ROOM];
  sbuf_printf(out, "%*s", indent, "");
  for (size_t i = 0; i < t->n; i++) {
    const char *s = t->keys[i];
    if (row) s = single_text(json_object_get(row, s), room);
    put_padded(out, s, i + 1 < t->n ? t->widths[i] + 2 : 0);
  }
  sbuf_printf(out, "\n");
}

static void put_table(struct sbuf *out, const json_t *list, int indent) {
  struct table t = {0};
  size_t i;
  json_t *row, *v;
  const char *key;
  json_array_foreach(list, i, row) json_object_foreach(row, key, v)
      table_note(&t, key, v);
  table_row(out, &t, NULL, indent);
  json_array_foreach(list, i, row) table_row(out, &t, row, indent);
}

/* --- lists and objects */

static void put_object(struct sbuf *out, const json_t *object, int indent);

static bool all_of(const json_t *list, bool (*is)(const json_t *)) {
  size_t i;
  json_t *v;
  json_array_foreach(list, i, v) if (!is(v)) return false;
  return true;
}

static void put_list(struct sbuf *out, const json_t *list, int indent) {
  char room[TEXT_ROOM];
  size_t i;
  json_t *v;
  if (all_of(list, is_flat)) {
    put_table(out, list, indent);
    return;
  }
  json_array_foreach(list, i, v) {
    if (json_is_object(v)) {
      if (i) sbuf_printf(out, "\n");
      put_object(out, v, indent);
    } else if (json_is_array(v)) {
      put_list(out, v, indent + INDENT);
    } else {
      sbuf_printf(out, "%*s%s\n", indent, "", single_text(v, room));
    }
  }
}

/* What stands on the key's own line: single values, short and empty lists. */
static bool is_inline(const json_t *v) {
  if (json_is_array(v)) return all_of(v, is_single);
  return is_single(v) || json_object_size(v) == 0;
}

static void put_inline(struct sbuf *out, const json_t *v) {
  char room[TEXT_ROOM];
  size_t i;
  json_t *one;
  if (!json_is_array(v) || json_array_size(v) == 0) {
    sbuf_printf(out, "%s\n", single_text(is_single(v) ? v : NULL, room));
    return;
  }
  json_array_foreach(v, i, one)
      sbuf_printf(out, "%s%s", i ? ", " : "", single_text(one, room));
  sbuf_printf(out, "\n");
}

static int key_width(const json_t *object) {
  const char *key;
  json_t *v;
  int width = 0;
  json_object_foreach((json_t *)object, key,
                      v) if (is_inline(v) && width_of(key) > width) width =
      width_of(key);
  return width;
}

static void put_object(struct sbuf *out, const json_t *object, int indent) {
  const char *key;
  json_t *v;
  int width = key_width(object);
  json_object_foreach((json_t *)object, key, v) {
    if (!is_inline(v) || strcmp(key, "schema") == 0) continue;
    sbuf_printf(out, "%*s", indent, "");
    put_padded(out, key, width + 2);
    put_inline(out, v);
  }
  json_object_foreach((json_t *)object, key, v) {
    if (is_inline(v)) continue;
    sbuf_printf(out, "%s%*s%s\n", indent ? "" : "\n", indent, "", key);
    if (json_is_array(v))
      put_list(out, v, indent + INDENT);
    else
      put_object(out, v, indent + INDENT);
  }
}

void pretty_print(struct sbuf *out, const json_t *object) {
  put_object(out, object, 0);
}
