/* main.c - one binary, many commands: finds the applet by argv[0]
 * (`ztna-relay`) or argv[1], reads its flags and configuration, starts it. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "applet.h"
#include "host/confine.h"
#include "host/logger.h"

extern const struct applet applet_relay;
extern const struct applet applet_connector;
extern const struct applet applet_agent;
extern const struct applet applet_probe;
extern const struct applet applet_status;
extern const struct applet applet_why;
extern const struct applet applet_audit;
extern const struct applet applet_cert;
extern const struct applet applet_enroll_server;
extern const struct applet applet_token;
extern const struct applet applet_enroll;
extern const struct applet applet_check_config;
extern const struct applet applet_policy;
extern const struct applet applet_demo;
extern const struct applet applet_version;
extern const struct applet applet_help_command;

const struct applet *const applets[] = {
    &applet_relay,        &applet_connector, &applet_agent,
    &applet_probe,        &applet_status,    &applet_why,
    &applet_audit,        &applet_cert,      &applet_enroll_server,
    &applet_token,        &applet_enroll,    &applet_check_config,
    &applet_policy,       &applet_demo,      &applet_version,
    &applet_help_command,
};
const size_t n_applets = sizeof(applets) / sizeof(*applets);

/* --- finding one */

const struct applet *applet_find(const char *name) {
  for (size_t i = 0; i < n_applets; i++)
    if (!strcmp(applets[i]->name, name)) return applets[i];
  return NULL;
}

int applet_unknown(const char *name) {
  const char *best = NULL;
  size_t distance = 0;
  for (size_t i = 0; i < n_applets; i++)
    nearest_try(name, applets[i]->name, &best, &distance);
  if (best)
    fprintf(stderr, "ztna: unknown command \"%s\"; did you mean \"%s\"?\n",
            name, best);
  else
    fprintf(stderr, "ztna: unknown command \"%s\"; see: ztna help\n", name);
  return EXIT_USAGE;
}

/* --- one call */

struct config_opts {
  char *config;
};

static const struct field config_fields[] = {
    FIELD(config_opts, config, .type = F_FILE,
          .help = "configuration; or $ZTNA_CONFIG"),
    FIELD_END,
};

enum { GROUP_CONFIG, GROUP_OWN, GROUP_ROLES };

static void set_groups(struct flags *f, const struct applet *a) {
  bool takes = a->config != APPLET_NO_CONFIG;
  f->groups[GROUP_CONFIG] =
      (struct flag_group){takes ? config_fields : NULL, ""};
  f->groups[GROUP_OWN] = (struct flag_group){a->fields, ""};
  f->n_groups = GROUP_ROLES;
  if (a->config == APPLET_CONFIG)
    f->n_groups += config_groups(f->groups + GROUP_ROLES, a->want);
}

/* "ZTNA_CHECK_CONFIG_" */
static void own_prefix(const struct applet *a, char *buf, size_t room) {
  snprintf(buf, room, "ztna_%s_", a->name);
  for (; *buf; buf++) *buf = *buf == '-' ? '_' : (char)toupper(*buf);
}

static int judge(struct field_load *l) {
  struct sbuf out;
  sbuf_init(&out, 0);
  mistakes_print(&l->mistakes, &out);
  if (out.len) fputs(out.s, stderr);
  sbuf_done(&out);
  if (l->no_memory) return ZTNA_ENOMEM;
  return l->mistakes.n ? ZTNA_EINVAL : 0;
}

static int load_opts(struct applet_call *c, struct config_opts *co) {
  struct field_load l;
  char prefix[64];
  const struct applet *a = c->applet;
  field_load_init(&l, NULL, NULL);
  if (a->config != APPLET_NO_CONFIG) {
    field_from_env(&l, config_fields, co, "", "ZTNA_");
    flags_apply(c->flags, GROUP_CONFIG, &l, co);
  }
  if (a->fields) {
    own_prefix(a, prefix, sizeof(prefix));
    field_defaults(&l, a->fields, c->opts);
    field_from_env(&l, a->fields, c->opts, "", prefix);
    flags_apply(c->flags, GROUP_OWN, &l, c->opts);
  }
  int rc = judge(&l);
  field_load_done(&l);
  c->config_file = co->config;
  return rc;
}

int applet_reload(const struct applet_call *c, struct config *fresh) {
  return config_load(fresh, c->config_file, c->applet->want, c->flags);
}

int applet_reload_to(const struct applet_call *c, struct config *fresh,
                     struct sbuf *out) {
  return config_load_to(fresh, c->config_file, c->applet->want, c->flags, out);
}

/* Every conversation has a socket; the usual soft limit of 1024 is there for
 * programs that use select(). */
static void allow_many_sockets(void) {
  struct rlimit l;
  if (getrlimit(RLIMIT_NOFILE, &l) < 0 || l.rlim_cur >= l.rlim_max) return;
  l.rlim_cur = l.rlim_max;
  setrlimit(RLIMIT_NOFILE, &l); /* what fails later says so */
}

static int start(struct applet_call *c) {
  struct config config = {.log.level = LOG_LEVEL_WARN};
  bool load = c->applet->config == APPLET_CONFIG || c->config_file;
  if (load) {
    confine_begin(); /* the key is in memory from here on */
    allow_many_sockets();
    int rc = applet_reload(c, &config);
    if (rc < 0) return applet_exit(rc);
    c->config = &config;
  }
  logger_start(2, config.log.format);
  log_set_level(config.log.level);
  int code = c->applet->start(c);
  if (load) config_free(&config);
  return code;
}

static int wrong_usage(const struct applet *a, const char *why) {
  fprintf(stderr, "ztna %s: %s\n", a->name, why);
  fprintf(stderr, "usage: ztna %s %s\n", a->name, a->usage);
  return EXIT_USAGE;
}

static int check_args(const struct applet_call *c) {
  const struct applet *a = c->applet;
  char why[160];
  if (c->n_args < a->min_args) return wrong_usage(a, "an argument is missing");
  if (a->max_args < 0 || c->n_args <= a->max_args) return EXIT_DONE;
  snprintf(why, sizeof(why), "unexpected argument \"%.80s\"",
           c->args[a->max_args]);
  return wrong_usage(a, why);
}

static int run_parsed(struct applet_call *c) {
  struct config_opts co = {0};
  int code = check_args(c);
  if (code) return code;
  c->opts = calloc(1, c->applet->opts_size + 1);
  int rc = c->opts ? load_opts(c, &co) : ZTNA_ENOMEM;
  code = rc < 0 ? applet_exit(rc) : start(c);
  if (c->opts && c->applet->fields) field_done(c->applet->fields, c->opts);
  free(c->opts);
  field_done(config_fields, &co);
  return code;
}

static int run(const struct applet *a, int argc, char **argv) {
  struct flags flags = {0};
  char why[200];
  set_groups(&flags, a);
  if (flags_parse(&flags, argc, argv, why, sizeof(why)) < 0)
    return wrong_usage(a, why);
  if (flags.help) {
    applet_help(stdout, a);
    return EXIT_DONE;
  }
  struct applet_call c = {
      .applet = a, .flags = &flags, .args = flags.args, .n_args = flags.n_args};
  return run_parsed(&c);
}

int applet_exit(int err) {
  if (err >= 0) return EXIT_DONE;
  if (err == ZTNA_EINVAL) return EXIT_USAGE;
  if (err == ZTNA_ECONFIG) return EXIT_CONFIG;
  if (err == ZTNA_EREFUSED) return EXIT_REFUSED;
  return EXIT_FAILED;
}

/* --- main */

static int list(void) {
  for (size_t i = 0; i < n_applets; i++) puts(applets[i]->name);
  return EXIT_DONE;
}

/* --help as `help`, and the like. */
static const char *as_command(const char *arg) {
  if (!strcmp(arg, "--help") || !strcmp(arg, "-h")) return "help";
  if (!strcmp(arg, "--version") || !strcmp(arg, "-V")) return "version";
  return arg;
}

static int dispatch(int argc, char **argv) {
  const char *slash = argc ? strrchr(argv[0], '/') : NULL;
  const char *called = slash ? slash + 1 : argc ? argv[0] : "ztna";
  const struct applet *a = NULL;
  if (!strncmp(called, "ztna-", 5)) a = applet_find(called + 5);
  if (a) return run(a, argc - 1, argv + 1);
  if (argc < 2) {
    applet_help(stderr, NULL);
    return EXIT_USAGE;
  }
  if (!strcmp(argv[1], "--list")) return list();
  a = applet_find(as_command(argv[1]));
  if (!a) return applet_unknown(argv[1]);
  return run(a, argc - 2, argv + 2);
}

int main(int argc, char **argv) {
  int code = dispatch(argc, argv);
  if (fflush(stdout) == 0 && !ferror(stdout)) return code;
  fprintf(stderr, "ztna: cannot write to stdout: %s\n", strerror(errno));
  return code ? code : EXIT_FAILED;
}
