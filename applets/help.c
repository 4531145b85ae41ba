/* help.c - `ztna help`: the list of commands, or all about one, out of its
 * tables. */
#include <string.h>

#include "applet.h"

extern const struct applet applet_help_command;

static void help_list(struct sbuf *out) {
  sbuf_printf(out, "ztna - reach private services without opening a port to "
                   "the world\n\nUsage: ztna COMMAND [FLAG...]\n\n");
  for (size_t i = 0; i < n_applets; i++)
    sbuf_printf(out, "  %-14s%s\n", applets[i]->name, applets[i]->summary);
  sbuf_printf(out,
              "\n  ztna help COMMAND   all about one\n"
              "  ztna --list         names only\n\n"
              "A link named ztna-COMMAND to this program is the same as ztna "
              "COMMAND.\nTo see it work: ztna demo\n");
}

/* What the role's section may hold that no flag can say. */
static void help_keys(struct sbuf *out, const struct flag_group *g) {
  bool first = true;
  for (const struct field *f = g->fields; f->type; f++) {
    if (f->type != F_OBJECTS && f->type != F_MAP) continue;
    const struct field one[] = {*f, FIELD_END};
    if (first)
      sbuf_printf(out, "\nOnly in the file, in its section \"%s\":\n", g->path);
    field_help_keys(out, one, 2);
    first = false;
  }
}

static void help_config(struct sbuf *out, const struct applet *a) {
  struct flag_group groups[FLAGS_GROUPS];
  size_t n = config_groups(groups, a->want);
  for (size_t i = 0; i < n; i++) {
    if (!*groups[i].path)
      sbuf_printf(out, "\nFlags of every role:\n");
    else if (i > 0 || a->fields)
      sbuf_printf(out, "\n");
    field_help(out, groups[i].fields);
  }
  for (size_t i = 0; i < n; i++)
    if (*groups[i].path) help_keys(out, &groups[i]);
  sbuf_printf(out,
              "\nA flag comes before a variable, a variable before the file. "
              "The file has the\nsame names with _ for -, nested where a flag "
              "begins with identity, log or http.\n");
  for (size_t i = 0; i < n; i++)
    if (*groups[i].path)
      sbuf_printf(out,
                  "Variables are named like $ZTNA_%s and $ZTNA_LOG_LEVEL.\n",
                  !strcmp(groups[i].path, "relay")       ? "RELAY_LISTEN"
                  : !strcmp(groups[i].path, "connector") ? "CONNECTOR_RELAYS"
                  : !strcmp(groups[i].path, "enroll")    ? "ENROLL_SERVER"
                                                         : "AGENT_RELAYS");
}

static void help_flags(struct sbuf *out, const struct applet *a) {
  sbuf_printf(out, "\nFlags:\n");
  if (a->config != APPLET_NO_CONFIG)
    sbuf_printf(out, "  --config FILE               configuration; or "
                     "$ZTNA_CONFIG\n");
  if (a->fields) field_help(out, a->fields);
  if (a->config == APPLET_CONFIG) help_config(out, a);
}

static void help_one(struct sbuf *out, const struct applet *a) {
  bool flags = a->fields || a->config != APPLET_NO_CONFIG;
  sbuf_printf(out, "ztna %s - %s\n\nUsage: ztna %s%s%s\n", a->name, a->summary,
              a->name, *a->usage ? " " : "", a->usage);
  if (a->about) sbuf_printf(out, "\n%s", a->about);
  if (flags) help_flags(out, a);
  if (a->example) sbuf_printf(out, "\nExample:\n%s", a->example);
  sbuf_printf(out,
              "\nExit codes: 0 done, 1 failed at run time, 2 wrong "
              "usage%s%s.\n",
              a->exits ? ", " : "", a->exits ? a->exits : "");
}

void applet_help(FILE *f, const struct applet *a) {
  struct sbuf out;
  sbuf_init(&out, 0);
  if (a)
    help_one(&out, a);
  else
    help_list(&out);
  if (out.len) fputs(out.s, f);
  sbuf_done(&out);
}

static int help_start(struct applet_call *c) {
  const struct applet *a = c->n_args ? applet_find(c->args[0]) : NULL;
  if (c->n_args && !a) return applet_unknown(c->args[0]);
  applet_help(stdout, a);
  return EXIT_DONE;
}

const struct applet applet_help_command = {
    .name = "help",
    .summary = "this list, or all about one command",
    .usage = "[COMMAND]",
    .max_args = 1,
    .start = help_start,
};
