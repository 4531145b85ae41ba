#include "host/field.h"

#include <assert.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <ztna/err.h>

#include "host/field_list.h"
#include "host/field_place.h"
#include "host/field_value.h"
#include "host/value.h"

enum { PATH_ROOM = 256 };

static void *member(void *base, const struct field *f) {
  return (char *)base + f->offset;
}

static bool is_object(const struct field *f) { return f->type >= F_OBJECT; }

/* What the member itself takes: of a list, its pointer. */
static size_t member_size(const struct field *f) {
  return field_is_list(f) ? sizeof(void *) : f->size;
}

void field_load_init(struct field_load *l, const char *file, const char *dir) {
  *l = (struct field_load){.file = file, .dir = dir};
}

void field_load_done(struct field_load *l) {
  places_done(l);
  mistakes_done(&l->mistakes);
  *l = (struct field_load){0};
}

/* A path too long for its buffer is cut: it is only for messages. */
static void path_join(char *buf, const char *path, const char *key) {
  int n = snprintf(buf, PATH_ROOM, "%s%s%s", path, *path ? "." : "", key);
  (void)n;
}

/* --- places */

static void place_json(struct field_load *l, const void *at, size_t size,
                       const char *path, struct json_at where) {
  place_add(l, at, size, l->file, json_at_line(where), path);
}

/* --- mistakes */

static void wrong_json(struct field_load *l, struct json_at at,
                       const char *path, const char *text) {
  mistake_add(&l->mistakes, l->file, json_at_line(at), path, "%s", text);
}

void field_wrong(struct field_load *l, const void *at, size_t size,
                 const char *fmt, ...) {
  char text[1024];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof(text), fmt, ap);
  va_end(ap);
  const struct field_place *p = field_place_of(l, at, size);
  if (!p) p = place_around(l, at);
  if (!p || !p->source || !p->path)
    mistake_add(&l->mistakes, l->file ? l->file : "configuration", 0, NULL,
                "%s", text);
  else
    mistake_add(&l->mistakes, p->source, p->line, p->line ? p->path : NULL,
                "%s", text);
}

/* --- freeing */

static void list_done(const struct field *f, void *base) {
  struct field_list list = field_list_get(base, f);
  char *item = list.v;
  for (size_t i = 0; i < list.n; i++, item += f->size) {
    if (f->fields) field_done(f->fields, item);
    if (f->type == F_MAP) field_value_free(F_STR, item);
    if (!f->fields) field_value_free(field_element(f->type), item);
  }
  free(list.v);
  field_list_set(base, f, (struct field_list){0});
}

void field_done(const struct field *fields, void *base) {
  for (const struct field *f = fields; f->type; f++) {
    if (f->type == F_OBJECT)
      field_done(f->fields, member(base, f));
    else if (field_is_list(f))
      list_done(f, base);
    else
      field_value_free(f->type, member(base, f));
  }
}

/* --- from text: defaults, environment, flags */

/* Appends text's values, separated by commas, to a list. */
static int list_from_text(struct field_load *l, const struct field *f,
                          void *base, const char *dir, const char *text,
                          char *why) {
  enum field_type element = field_element(f->type);
  while (*text) {
    size_t n = strcspn(text, ",");
    char *one = strndup(text, n);
    void *item = one ? field_list_grow(base, f) : NULL;
    if (!item) l->no_memory = true;
    int rc = item ? field_value_text(f, element, item, one, dir, why) : 0;
    free(one);
    if (rc < 0) return rc;
    text += n + (text[n] == ',');
  }
  return 0;
}

static int value_from_text(struct field_load *l, const struct field *f,
                           void *base, const char *dir, const char *text,
                           char *why) {
  if (field_is_list(f)) return list_from_text(l, f, base, dir, text, why);
  void *to = member(base, f);
  field_value_free(f->type, to);
  int rc = field_value_text(f, f->type, to, text, dir, why);
  if (rc == ZTNA_ENOMEM) l->no_memory = true;
  return rc;
}

void field_defaults(struct field_load *l, const struct field *fields,
                    void *base) {
  char why[FIELD_WHY];
  for (const struct field *f = fields; f->type; f++) {
    if (f->type == F_OBJECT) field_defaults(l, f->fields, member(base, f));
    if (!f->dflt || is_object(f)) continue;
    int rc = value_from_text(l, f, base, l->dir, f->dflt, why);
    assert(rc == 0 || rc == ZTNA_ENOMEM);
    (void)rc;
  }
}

static void check_count(struct field_load *l, const struct field *f,
                        void *base) {
  struct field_list list = field_list_get(base, f);
  char want[FIELD_WHY];
  if (field_list_count_ok(f, list.n)) return;
  field_wrong(l, member(base, f), member_size(f), "want %s, got %zu",
              field_want_list(f, want), list.n);
}

static void drop_list(struct field_load *l, const struct field *f, void *base,
                      bool more) {
  struct field_list list = field_list_get(base, f);
  if (list.v) place_drop(l, list.v, list.n * f->size);
  if (!more) list_done(f, base);
}

static void place_list(struct field_load *l, const struct field *f, void *base,
                       const char *path, const char *source) {
  struct field_list list = field_list_get(base, f);
  if (list.v) place_add(l, list.v, list.n * f->size, source, 0, path);
}

void field_from_text(struct field_load *l, const struct field *f, void *base,
                     const char *path, const char *source, const char *text,
                     bool more) {
  char why[FIELD_WHY];
  bool list = field_is_list(f);
  if (list) drop_list(l, f, base, more);
  place_add(l, member(base, f), member_size(f), source, 0, path);
  if (value_from_text(l, f, base, NULL, text, why) < 0) {
    mistake_add(&l->mistakes, source, 0, NULL, "%s", why);
    if (*source == '-') l->mistakes.of_flags = true;
  }
  if (!list) return;
  place_list(l, f, base, path, source);
  check_count(l, f, base);
}

static void env_name(char *buf, size_t room, const char *prefix,
                     const char *name) {
  snprintf(buf, room, "%s%s", prefix, name);
  for (; *buf; buf++) *buf = (char)toupper((unsigned char)*buf);
}

void field_from_env(struct field_load *l, const struct field *fields,
                    void *base, const char *path, const char *prefix) {
  char name[PATH_ROOM], inner[PATH_ROOM];
  for (const struct field *f = fields; f->type; f++) {
    if (f->file_only) continue;
    env_name(name, sizeof(name) - 1, prefix, f->name);
    path_join(inner, path, f->name);
    if (f->type == F_OBJECT) {
      strcat(name, "_");
      field_from_env(l, f->fields, member(base, f), inner, name);
      continue;
    }
    const char *text = is_object(f) ? NULL : getenv(name);
    if (text && *text) field_from_text(l, f, base, inner, name, text, false);
  }
}

/* --- from JSON */

static void load_value(struct field_load *l, const struct field *f,
                       enum field_type type, void *to, const char *path,
                       struct json_at at) {
  char why[FIELD_WHY];
  int rc = field_value_json(f, type, to, at.value, l->dir, why);
  if (rc == ZTNA_ENOMEM) l->no_memory = true;
  if (rc < 0 && rc != ZTNA_ENOMEM) wrong_json(l, at, path, why);
}

static void item_path(char *buf, const char *path, const struct json_walk *w) {
  if (w->key)
    path_join(buf, path, w->key);
  else if (snprintf(buf, PATH_ROOM, "%s[%zu]", path, w->index) >= PATH_ROOM)
    buf[PATH_ROOM - 2] = ']';
}

static void load_member(struct field_load *l, const struct field *f, void *base,
                        const char *path, struct json_at at);

static void load_item(struct field_load *l, const struct field *f, void *item,
                      const char *path, const struct json_walk *w) {
  char inner[PATH_ROOM], text[FIELD_WHY], got[VALUE_STRLEN];
  item_path(inner, path, w);
  place_json(l, item, f->size, inner, w->at);
  if (!f->fields) {
    load_value(l, f, field_element(f->type), item, inner, w->at);
    return;
  }
  field_defaults(l, f->fields, item);
  if (f->type == F_MAP) {
    place_json(l, item, sizeof(char *), inner, w->at);
    if (field_value_text(f, F_STR, item, w->key, NULL, text) < 0)
      wrong_json(l, w->at, inner, text);
  }
  if (!*f->fields->name) {
    load_member(l, f->fields, item, inner, w->at);
    return;
  }
  if (json_is_object(w->at.value)) {
    field_from_json(l, f->fields, item, inner, w->at);
    return;
  }
  snprintf(text, sizeof(text), "want an object {...}, got %s",
           value_got(w->at.value, got));
  wrong_json(l, w->at, inner, text);
  place_drop(l, item, f->size); /* so that field_need asks it for nothing */
}

static bool is_comment(const char *key) {
  return key && !strncmp(key, "_comment", strlen("_comment"));
}

static size_t count_parts(struct json_at at) {
  size_t n = 0;
  struct json_walk w = json_walk(at);
  while (json_walk_next(&w)) n += !is_comment(w.key);
  return n;
}

/* The list is made in its final size: places remember its items' addresses. */
static void load_list(struct field_load *l, const struct field *f, void *base,
                      const char *path, struct json_at at) {
  char want[FIELD_WHY], got[VALUE_STRLEN], text[2 * FIELD_WHY];
  bool right =
      f->type == F_MAP ? json_is_object(at.value) : json_is_array(at.value);
  size_t n = right ? count_parts(at) : 0;
  list_done(f, base);
  if (!right || !field_list_count_ok(f, n)) {
    if (right) snprintf(got, sizeof(got), "%zu", n);
    snprintf(text, sizeof(text), "want %s, got %s", field_want_list(f, want),
             right ? got : value_got(at.value, got));
    wrong_json(l, at, path, text);
    return;
  }
  char *item = field_list_make(base, f, n);
  if (!item && n) l->no_memory = true;
  struct json_walk w = json_walk(at);
  while (item && json_walk_next(&w)) {
    if (is_comment(w.key)) continue;
    load_item(l, f, item, path, &w);
    item += f->size;
  }
}

static void load_member(struct field_load *l, const struct field *f, void *base,
                        const char *path, struct json_at at) {
  char text[FIELD_WHY], got[VALUE_STRLEN];
  place_json(l, member(base, f), member_size(f), path, at);
  if (field_is_list(f)) {
    load_list(l, f, base, path, at);
  } else if (f->type != F_OBJECT) {
    field_value_free(f->type, member(base, f));
    load_value(l, f, f->type, member(base, f), path, at);
  } else if (json_is_object(at.value)) {
    field_from_json(l, f->fields, member(base, f), path, at);
  } else {
    snprintf(text, sizeof(text), "want an object {...}, got %s",
             value_got(at.value, got));
    wrong_json(l, at, path, text);
  }
}

static void unknown_key(struct field_load *l, const struct field *fields,
                        const char *path, const struct json_walk *w) {
  char text[FIELD_WHY], quoted[VALUE_STRLEN];
  const char *best = NULL;
  size_t distance = 0;
  int n = snprintf(text, sizeof(text), "unknown key %s",
                   value_quote(w->key, quoted));
  for (const struct field *f = fields; f->type; f++)
    nearest_try(w->key, f->name, &best, &distance);
  if (best)
    snprintf(text + n, sizeof(text) - (size_t)n, "; did you mean \"%s\"?",
             best);
  for (const struct field *f = fields; !best && f->type; f++) {
    n += snprintf(text + n, sizeof(text) - (size_t)n, "%s%s",
                  f == fields ? "; known here: " : ", ", f->name);
    if ((size_t)n >= sizeof(text)) break;
  }
  wrong_json(l, w->at, path, text);
}

void field_from_json(struct field_load *l, const struct field *fields,
                     void *base, const char *path, struct json_at at) {
  char inner[PATH_ROOM];
  struct json_walk w = json_walk(at);
  while (json_walk_next(&w)) {
    const struct field *f = fields;
    if (is_comment(w.key)) continue;
    while (f->type && strcmp(f->name, w.key) != 0) f++;
    path_join(inner, path, w.key);
    if (f->type)
      load_member(l, f, base, inner, w.at);
    else
      unknown_key(l, fields, path, &w);
  }
}

/* --- what is missing */

static void need_flag(struct field_load *l, const struct field *f,
                      const void *m) {
  char flag[PATH_ROOM];
  snprintf(flag, sizeof(flag), "%s", f->name);
  for (char *c = flag; *c; c++)
    if (*c == '_') *c = '-';
  field_wrong(l, m, 0, "needs --%s: %s; or --config FILE", flag, f->help);
}

static void tell_need(struct field_load *l, const struct field *f,
                      const void *m) {
  if (l->file)
    field_wrong(l, m, 0, "needs \"%s\": %s", f->name, f->help);
  else if (f->fields)
    field_wrong(l, m, 0, "needs a file with \"%s\": %s; --config FILE", f->name,
                f->help);
  else
    need_flag(l, f, m);
}

static void need_items(struct field_load *l, const struct field *f,
                       void *base) {
  struct field_list list = field_list_get(base, f);
  char *item = list.v;
  for (size_t i = 0; i < list.n; i++, item += f->size)
    if (field_place_of(l, item, f->size)) field_need(l, f->fields, item);
}

void field_need(struct field_load *l, const struct field *fields, void *base) {
  for (const struct field *f = fields; f->type; f++) {
    void *m = member(base, f);
    if (f->type == F_OBJECT && field_place_of(l, m, f->size))
      field_need(l, f->fields, m);
    else if (f->type == F_OBJECTS || f->type == F_MAP)
      need_items(l, f, base);
    if (f->required && !field_place_of(l, m, member_size(f)))
      tell_need(l, f, m);
  }
}

/* --- flags */

/* Does flag begin with name, - the same as _? Returns what follows. */
static const char *skip_name(const char *flag, const char *name) {
  for (; *name; name++, flag++) {
    char c = *flag == '-' ? '_' : *flag;
    if (c != *name) return NULL;
  }
  return flag;
}

const struct field *field_find(const struct field *fields, const char *flag,
                               size_t *offset) {
  for (const struct field *f = fields; f->type; f++) {
    const char *rest = skip_name(flag, f->name);
    if (!rest || f->file_only) continue;
    if (f->type == F_OBJECT && *rest == '-') {
      size_t inner;
      const struct field *found = field_find(f->fields, rest + 1, &inner);
      if (!found) continue;
      *offset = f->offset + inner;
      return found;
    }
    if (*rest || is_object(f)) continue;
    *offset = 0;
    return f;
  }
  return NULL;
}

static void each_flag(const struct field *fields, const char *prefix,
                      field_on_flag on, void *ctx) {
  char flag[PATH_ROOM];
  for (const struct field *f = fields; f->type; f++) {
    if (f->file_only || (is_object(f) && f->type != F_OBJECT)) continue;
    snprintf(flag, sizeof(flag) - 1, "%s%s", prefix, f->name);
    for (char *c = flag; *c; c++)
      if (*c == '_') *c = '-';
    if (f->type != F_OBJECT) {
      on(ctx, f, flag);
      continue;
    }
    strcat(flag, "-");
    each_flag(f->fields, flag, on, ctx);
  }
}

void field_each_flag(const struct field *fields, field_on_flag on, void *ctx) {
  each_flag(fields, "", on, ctx);
}
