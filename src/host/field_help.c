#include <string.h>

#include "host/field.h"
#include "host/field_value.h"

enum { HELP_COLUMN = 30, HELP_WIDTH = 79 };

/* Words in a column; at: where the cursor stands now. */
static void print_column(struct sbuf *out, int at, const char *text) {
  while (*text) {
    int n = (int)strcspn(text, " ");
    bool fits = at + 1 + n <= HELP_WIDTH;
    if (at < HELP_COLUMN)
      sbuf_printf(out, "%*s", HELP_COLUMN - at, "");
    else if (at > HELP_COLUMN && fits)
      sbuf_printf(out, " ");
    else
      sbuf_printf(out, "\n%*s", HELP_COLUMN, "");
    at = at > HELP_COLUMN && fits ? at + 1 : HELP_COLUMN;
    sbuf_printf(out, "%.*s", n, text);
    at += n;
    text += n + strspn(text + n, " ");
  }
  sbuf_printf(out, "\n");
}

static void describe(struct sbuf *text, const struct field *f) {
  char range[FIELD_WHY];
  field_range(f, f->type, range);
  sbuf_printf(text, "%s%s%s", f->help, *range ? "," : "", range);
  /* A bool's flag says it. */
  if (!f->dflt || !*f->dflt || f->type == F_BOOL) return;
  sbuf_printf(text, " (default ");
  for (const char *c = f->dflt; *c; c++) /* lists may break at commas */
    sbuf_printf(text, "%c%s", *c, *c == ',' ? " " : "");
  sbuf_printf(text, ")");
}

static void print_entry(struct sbuf *out, const struct field *f,
                        const char *entry) {
  struct sbuf text;
  int at = (int)strlen(entry);
  sbuf_init(&text, 0);
  describe(&text, f);
  sbuf_printf(out, "%s", entry);
  print_column(out, at + 2 > HELP_COLUMN ? HELP_WIDTH : at,
               text.len ? text.s : "");
  sbuf_done(&text);
}

static void print_flag(void *ctx, const struct field *f, const char *flag) {
  char entry[2 * FIELD_WHY], meta[FIELD_WHY];
  field_meta(f, meta);
  bool off = f->type == F_BOOL && f->dflt && !strcmp(f->dflt, "true");
  snprintf(entry, sizeof(entry), "  --%s%s%s%s", off ? "no-" : "", flag,
           *meta ? " " : "", meta);
  print_entry(ctx, f, entry);
}

void field_help(struct sbuf *out, const struct field *fields) {
  field_each_flag(fields, print_flag, out);
}

void field_help_keys(struct sbuf *out, const struct field *fields, int indent) {
  char entry[2 * FIELD_WHY], meta[FIELD_WHY];
  for (const struct field *f = fields; f->type; f++) {
    snprintf(entry, sizeof(entry), "%*s%s %s", indent, "", f->name,
             field_meta(f, meta));
    print_entry(out, f, entry);
    if (f->fields) field_help_keys(out, f->fields, indent + 2);
  }
}
