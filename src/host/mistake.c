#include "host/mistake.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the list */

/* What comes from a file is shown, so nothing in it may steer a terminal. */
static void make_printable(char *text) {
  for (; *text; text++)
    if ((unsigned char)*text < ' ' || *text == 0x7f) *text = '?';
}

void mistake_add(struct mistakes *m, const char *source, uint32_t line,
                 const char *path, const char *fmt, ...) {
  char text[1024], place[320] = "", at[300] = "";
  if (m->n >= MISTAKES_MAX) {
    m->n++;
    return;
  }
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof(text), fmt, ap);
  va_end(ap);
  if (line) snprintf(place, sizeof(place), ":%u", line);
  if (path && *path) snprintf(at, sizeof(at), " %s:", path);

  size_t room = strlen(source) + strlen(place) + strlen(at) + strlen(text) + 8;
  char *whole = malloc(room);
  if (whole) {
    snprintf(whole, room, "%s%s:%s %s", source, place, at, text);
    make_printable(whole);
  }
  m->v[m->n++] = (struct mistake){.line = line, .text = whole};
}

static size_t n_kept(const struct mistakes *m) {
  return m->n < MISTAKES_MAX ? m->n : MISTAKES_MAX;
}

void mistakes_print(const struct mistakes *m, struct sbuf *out) {
  size_t n = n_kept(m);
  const struct mistake *order[MISTAKES_MAX];
  for (size_t i = 0; i < n; i++) {
    size_t k = i;
    for (; k > 0 && order[k - 1]->line > m->v[i].line; k--)
      order[k] = order[k - 1];
    order[k] = &m->v[i];
  }
  for (size_t i = 0; i < n; i++)
    sbuf_printf(out, "%s\n", order[i]->text ? order[i]->text : "no memory");
  if (m->n > n) sbuf_printf(out, "... and %zu more\n", m->n - n);
}

void mistakes_done(struct mistakes *m) {
  for (size_t i = 0; i < n_kept(m); i++) free(m->v[i].text);
  *m = (struct mistakes){0};
}

/* --- did you mean */

enum { WORD_MAX = 40 };

static bool letter_same(char a, char b) {
  if (a == '_') a = '-';
  if (b == '_') b = '-';
  return tolower((unsigned char)a) == tolower((unsigned char)b);
}

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* Edits (insert, delete, replace, swap two neighbours) from a to b. */
static size_t edit_distance(const char *a, size_t na, const char *b,
                            size_t nb) {
  size_t d[WORD_MAX + 1][WORD_MAX + 1];
  for (size_t i = 0; i <= na; i++) d[i][0] = i;
  for (size_t k = 0; k <= nb; k++) d[0][k] = k;
  for (size_t i = 1; i <= na; i++)
    for (size_t k = 1; k <= nb; k++) {
      size_t change = !letter_same(a[i - 1], b[k - 1]);
      d[i][k] =
          least(d[i - 1][k - 1] + change, least(d[i - 1][k], d[i][k - 1]) + 1);
      if (i > 1 && k > 1 && letter_same(a[i - 1], b[k - 2]) &&
          letter_same(a[i - 2], b[k - 1]))
        d[i][k] = least(d[i][k], d[i - 2][k - 2] + 1);
    }
  return d[na][nb];
}

void nearest_try(const char *word, const char *name, const char **best,
                 size_t *distance) {
  size_t nw = strlen(word), nn = strlen(name);
  if (!nw || nw > WORD_MAX || nn > WORD_MAX) return;
  size_t d = edit_distance(word, nw, name, nn);
  if (nw >= 3 && nw < nn && !strncmp(word, name, nw)) d = 1;
  if (d > 1 + nw / 5 || d >= nn) return;
  if (*best && d >= *distance) return;
  *best = name;
  *distance = d;
}

const char *nearest(const char *word, const char *const *names) {
  const char *best = NULL;
  size_t distance = 0;
  for (; *names; names++) nearest_try(word, *names, &best, &distance);
  return best;
}
