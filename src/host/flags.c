#include "host/flags.h"

#include <stdlib.h>
#include <string.h>

#include <ztna/err.h>

/* --- finding */

struct hunt {
  const char *word;
  const char *best;
  size_t distance;
  char found[48];
};

static void hunt_try(void *ctx, const struct field *f, const char *flag) {
  struct hunt *h = ctx;
  const char *before = h->best;
  nearest_try(h->word, flag, &h->best, &h->distance);
  if (h->best == before) return;
  snprintf(h->found, sizeof(h->found), "%s", flag);
  h->best = h->found;
}

static int unknown_flag(const struct flags *f, const char *word, char *why,
                        size_t room) {
  struct hunt h = {.word = word};
  for (size_t i = 0; i < f->n_groups; i++)
    if (f->groups[i].fields) field_each_flag(f->groups[i].fields, hunt_try, &h);
  nearest_try(word, "help", &h.best, &h.distance);
  if (h.best)
    snprintf(why, room, "unknown flag --%.60s; did you mean --%s?", word,
             h.best);
  else
    snprintf(why, room, "unknown flag --%.60s", word);
  return ZTNA_EINVAL;
}

static const struct field *find(const struct flags *f, const char *word,
                                struct flag *out) {
  for (size_t i = 0; i < f->n_groups; i++) {
    const struct field *fields = f->groups[i].fields;
    const struct field *found =
        fields ? field_find(fields, word, &out->offset) : NULL;
    if (!found) continue;
    out->group = i;
    return found;
  }
  return NULL;
}

/* The field of a flag; a bool may be written --no-NAME, which sets text. */
static const struct field *find_or_no(const struct flags *f, const char *word,
                                      struct flag *out) {
  const struct field *found = find(f, word, out);
  if (found || strncmp(word, "no-", 3) != 0) return found;
  found = find(f, word + 3, out);
  if (!found || found->type != F_BOOL) return NULL;
  out->text = "false";
  return found;
}

/* --- parsing */

/* One flag; value: behind its =, or NULL; next: the following argument, or
 * NULL. Returns how many arguments it took, or an error. */
static int take_flag(struct flags *f, const char *word, const char *value,
                     const char *next, char *why, size_t room) {
  if (f->n == FLAGS_MAX) {
    snprintf(why, room, "more than %d flags", FLAGS_MAX);
    return ZTNA_EINVAL;
  }
  struct flag *v = &f->v[f->n];
  *v = (struct flag){0};
  v->field = find_or_no(f, word, v);
  if (!v->field) return unknown_flag(f, word, why, room);
  snprintf(v->name, sizeof(v->name), "--%s", word);
  bool no = v->text != NULL;
  if (no && value) {
    snprintf(why, room, "%s takes no value", v->name);
    return ZTNA_EINVAL;
  }
  f->n++;
  if (no) return 1;
  if (value || v->field->type == F_BOOL) {
    v->text = value ? value : "true";
    return 1;
  }
  v->text = next;
  if (next) return 2;
  f->n--;
  snprintf(why, room, "%s needs a value", v->name);
  return ZTNA_EINVAL;
}

static int take(struct flags *f, char *arg, const char *next, char *why,
                size_t room) {
  char word[64];
  if (!strcmp(arg, "-h") || !strcmp(arg, "--help")) {
    f->help = true;
    return 1;
  }
  if (arg[0] != '-' || !arg[1]) {
    f->args[f->n_args++] = arg;
    return 1;
  }
  if (arg[1] != '-') {
    snprintf(why, room, "unknown flag %.60s; flags are written out: --help",
             arg);
    return ZTNA_EINVAL;
  }
  const char *equal = strchr(arg, '=');
  size_t n = equal ? (size_t)(equal - arg) : strlen(arg);
  if (n >= sizeof(word)) n = sizeof(word) - 1;
  snprintf(word, sizeof(word), "%.*s", (int)n - 2, arg + 2);
  return take_flag(f, word, equal ? equal + 1 : NULL, next, why, room);
}

int flags_parse(struct flags *f, int argc, char **argv, char *why,
                size_t room) {
  int i = 0;
  f->args = argv;
  while (i < argc && strcmp(argv[i], "--") != 0) {
    int n = take(f, argv[i], i + 1 < argc ? argv[i + 1] : NULL, why, room);
    if (n < 0) return n;
    i += n;
  }
  for (i++; i < argc; i++) f->args[f->n_args++] = argv[i];
  return 0;
}

/* --- applying */

/* Was the same flag given before? */
static bool is_repeated(const struct flags *f, size_t nr) {
  for (size_t i = 0; i < nr; i++)
    if (f->v[i].field == f->v[nr].field && f->v[i].offset == f->v[nr].offset)
      return true;
  return false;
}

void flags_apply(const struct flags *f, size_t group, struct field_load *l,
                 void *base) {
  char path[128];
  for (size_t i = 0; i < f->n; i++) {
    const struct flag *v = &f->v[i];
    if (v->group != group) continue;
    const char *prefix = f->groups[group].path;
    snprintf(path, sizeof(path), "%s%s%s", prefix, *prefix ? "." : "",
             v->name + 2);
    field_from_text(l, v->field, (char *)base + v->offset, path, v->name,
                    v->text, is_repeated(f, i));
  }
}
