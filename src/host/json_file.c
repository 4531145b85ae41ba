#include "host/json_file.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <ztna/err.h>

/* --- positions: a walk over text that jansson found well-formed */

struct scan {
  const char *at, *end;
  const char *line_start;
  uint32_t line;
  unsigned depth;
  size_t cap;
  struct json_file *file;
};

static void scan_space(struct scan *s) {
  while (s->at < s->end && strchr(" \t\r\n,:", *s->at)) {
    if (*s->at++ != '\n') continue;
    s->line++;
    s->line_start = s->at;
  }
}

/* Raw newlines cannot be in a string. */
static void scan_string(struct scan *s) {
  for (s->at++; s->at < s->end && *s->at != '"'; s->at++)
    if (*s->at == '\\') s->at++;
  s->at++;
}

static void scan_word(struct scan *s) {
  while (s->at < s->end && !strchr(" \t\r\n,:]}", *s->at)) s->at++;
}

static int scan_value(struct scan *s);

static int scan_parts(struct scan *s) {
  char open = *s->at++;
  int rc;
  for (;;) {
    scan_space(s);
    if (s->at >= s->end || *s->at == ']' || *s->at == '}') break;
    if (open == '{') {
      scan_string(s);
      scan_space(s);
    }
    if ((rc = scan_value(s)) < 0) return rc;
  }
  s->at++;
  return 0;
}

/* The number of a new value that begins here, or an error. */
static int64_t scan_begin(struct scan *s) {
  struct json_file *f = s->file;
  if (f->n_pos == s->cap) {
    size_t cap = s->cap ? s->cap * 2 : 64;
    struct json_pos *pos = realloc(f->pos, cap * sizeof(*pos));
    if (!pos) return ZTNA_ENOMEM;
    f->pos = pos;
    s->cap = cap;
  }
  f->pos[f->n_pos] = (struct json_pos){
      .line = s->line, .column = (uint32_t)(s->at - s->line_start) + 1};
  return (int64_t)f->n_pos++;
}

static int scan_value(struct scan *s) {
  int rc = 0;
  int64_t nr = scan_begin(s);
  if (nr < 0) return (int)nr;
  if (s->at >= s->end) return ZTNA_EINVAL;
  if (*s->at == '"') {
    scan_string(s);
  } else if (*s->at != '{' && *s->at != '[') {
    scan_word(s);
  } else if (s->depth == JSON_FILE_DEPTH) {
    s->file->error_line = s->file->pos[nr].line;
    s->file->error_column = s->file->pos[nr].column;
    return ZTNA_ECONFIG;
  } else {
    s->depth++;
    rc = scan_parts(s);
    s->depth--;
  }
  s->file->pos[nr].end = (uint32_t)s->file->n_pos;
  return rc;
}

static int find_positions(struct json_file *f, const char *text, size_t len,
                          char *why) {
  struct scan s = {
      .at = text, .end = text + len, .line_start = text, .line = 1, .file = f};
  scan_space(&s);
  int rc = scan_value(&s);
  if (rc == ZTNA_ECONFIG)
    snprintf(why, JSON_FILE_WHY, "nested deeper than %d", JSON_FILE_DEPTH);
  return rc;
}

/* --- syntax */

/* What people do wrong most, seen from the token that jansson stumbled over. */
static const char *remedy(const json_error_t *e, const char *text, size_t len) {
  const char *near = strstr(e->text, " near '");
  if (!near) return "";
  near += strlen(" near '");
  size_t n = strlen(near); /* with the closing quote */
  size_t end = (size_t)e->position;
  if (e->position < 0 || end > len || n < 2 || end < n - 1) return "";

  size_t start = end - (n - 1);
  while (start > 0 && strchr(" \t\r\n", text[start - 1])) start--;
  char before = start > 0 ? text[start - 1] : 0;
  if (strchr("/#", *near))
    return "; JSON has no comments, but \"_comment\": \"...\" is ignored";
  if (strchr("]}", *near) && before == ',')
    return "; remove the comma before it";
  if (strchr("\"{[", *near) && before && !strchr("{[,:", before))
    return "; is a comma missing before it?";
  return "";
}

static int tell_syntax(struct json_file *f, const json_error_t *e,
                       const char *text, size_t len, char *why) {
  if (json_error_code(e) == json_error_out_of_memory) return ZTNA_ENOMEM;
  f->error_line = e->line > 0 ? (uint32_t)e->line : 1;
  f->error_column = e->column > 0 ? (uint32_t)e->column : 1;
  bool twice = json_error_code(e) == json_error_duplicate_key;
  snprintf(why, JSON_FILE_WHY, "%sat column %u: %s%s",
           twice ? "" : "not valid JSON ", f->error_column, e->text,
           remedy(e, text, len));
  return ZTNA_ECONFIG;
}

static int tell(struct json_file *f, uint32_t line, char *why,
                const char *what) {
  f->error_line = line;
  snprintf(why, JSON_FILE_WHY, "%s", what);
  return ZTNA_ECONFIG;
}

int json_file_parse(struct json_file *f, const char *text, size_t len,
                    char *why) {
  json_error_t e;
  *f = (struct json_file){0};
  *why = 0;
  if (len > JSON_FILE_MAX) return tell(f, 0, why, "larger than 4 MiB");
  f->root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &e);
  if (!f->root) return tell_syntax(f, &e, text, len, why);
  if (!json_is_object(f->root))
    return tell(f, 1, why, "want an object {...}, got a list");
  return find_positions(f, text, len, why);
}

void json_file_done(struct json_file *f) {
  json_decref(f->root);
  free(f->pos);
  *f = (struct json_file){0};
}

/* --- walking */

struct json_at json_at_root(const struct json_file *f) {
  return (struct json_at){.file = f, .value = f->root};
}

uint32_t json_at_line(struct json_at at) { return at.file->pos[at.nr].line; }

struct json_walk json_walk(struct json_at whole) {
  return (struct json_walk){
      .at = {.file = whole.file},
      .whole = whole.value,
      .next_nr = whole.nr + 1,
      .iter =
          json_is_object(whole.value) ? json_object_iter(whole.value) : NULL,
  };
}

int json_walk_next(struct json_walk *w) {
  if (w->iter) {
    w->key = json_object_iter_key(w->iter);
    w->at.value = json_object_iter_value(w->iter);
    w->iter = json_object_iter_next(w->whole, w->iter);
  } else if (json_is_array(w->whole) && w->n < json_array_size(w->whole)) {
    w->at.value = json_array_get(w->whole, w->n);
  } else {
    return 0;
  }
  w->index = w->n++;
  w->at.nr = w->next_nr;
  w->next_nr = w->at.file->pos[w->at.nr].end;
  return 1;
}
