/* applet.h - one command of the multi-call binary: its flags, its help, its
 * start. main.c parses flags, loads the configuration, starts logging, and
 * exits with what start returns. */
#ifndef ZTNA_APPLET_H
#define ZTNA_APPLET_H

#include <ztna/err.h>

#include "host/config.h"

/* CLI.md */
enum {
  EXIT_DONE = 0,
  EXIT_FAILED = 1,    /* at run time */
  EXIT_USAGE = 2,     /* wrong command line */
  EXIT_CONFIG = 3,    /* wrong configuration */
  EXIT_NOT_READY = 4, /* nothing reachable, or not ready */
  EXIT_REFUSED = 5,   /* refused by a peer or by policy */
};

enum applet_config {
  APPLET_NO_CONFIG,  /* no --config flag; call->config is NULL */
  APPLET_MAY_CONFIG, /* config is NULL without --config (and ZTNA_CONFIG) */
  APPLET_CONFIG,     /* always loaded; without --config from flags and
                        environment alone */
};

struct applet;

/* One call of a command. */
struct applet_call {
  const struct applet *applet;
  struct config *config;   /* freed by main afterwards */
  const char *config_file; /* NULL without */
  void *opts;              /* the applet's own struct, filled by its fields */
  char **args;             /* what is not a flag */
  int n_args;
  const struct flags *flags;
};

struct applet {
  const char *name;
  const char *summary; /* half a line, for the list of commands */
  const char *usage;   /* what follows `ztna NAME`: "[RELAY...] [--json]" */
  const char *about;   /* what it does, whole lines of 76 at most */
  const char *example; /* whole lines, or NULL */
  const char *exits;   /* exit codes beside 0, 1 and 2: "3 wrong
                          configuration"; NULL when it has none */
  const struct field *fields; /* own flags; NULL: none */
  size_t opts_size;           /* of the struct they fill */
  enum applet_config config;
  unsigned want;          /* CONFIG_ bits for config_load */
  int min_args, max_args; /* arguments that are no flags; max -1: any */
  int (*start)(struct applet_call *c); /* an EXIT_ code */
};

/* In the order in which help lists them. */
extern const struct applet *const applets[];
extern const size_t n_applets;
/* NULL when there is none. */
const struct applet *applet_find(const char *name);
/* Prints `ztna: unknown command ...` with the nearest one. EXIT_USAGE. */
int applet_unknown(const char *name);
/* Prints an applet's help, or with NULL the list of commands, to f. */
void applet_help(FILE *f, const struct applet *a);
/* The same configuration again (SIGHUP): 0 or config_load's error, printed. */
int applet_reload(const struct applet_call *c, struct config *fresh);
/* The same, mistakes to out, a line each. */
int applet_reload_to(const struct applet_call *c, struct config *fresh,
                     struct sbuf *out);
/* The exit code for a ZTNA_E... value. */
int applet_exit(int err);

#endif
