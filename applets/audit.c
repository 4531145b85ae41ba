/* audit.c - `ztna audit`: is an audit log whole, and what does it say. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "applet.h"
#include "base/glob.h"
#include "host/audit_check.h"
#include "host/mistake.h"

extern const struct applet applet_audit;

struct audit_opts {
  char *agent, *service, *contains;
  bool json;
};

static const struct field fields[] = {
    FIELD(audit_opts, contains, .type = F_STR, .min = 64, .max = 64,
          .meta = "HASH", .help = "verify: a record with this hash is there"),
    FIELD(audit_opts, agent, .type = F_STR, .min = 1, .meta = "PATTERN",
          .help = "show: of this agent: a name or SPIFFE ID, * for any text"),
    FIELD(audit_opts, service, .type = F_STR, .min = 1, .meta = "PATTERN",
          .help = "show: of this service"),
    FIELD(audit_opts, json, .type = F_BOOL,
          .help = "show: the lines as they are"),
    FIELD_END,
};

/* --- verify */

static void tell_more(const struct audit_verdict *v) {
  if (!v->has_begin)
    printf("begins with record %" PRIu64
           "; what was before it is not in these files\n",
           v->first_seq);
  if (v->n_halves)
    printf("%" PRIu64 " crash%s cut a record short, and the log says so\n",
           v->n_halves, v->n_halves == 1 ? "" : "es");
  if (v->n_lost)
    printf("%" PRIu64 " record%s could not be written, and the log says so\n",
           v->n_lost, v->n_lost == 1 ? "" : "s");
  printf("last hash %s\n", v->last_hash);
}

static int verify(const struct audit_opts *o, char *const *files, size_t n) {
  struct audit_verdict v;
  int rc = audit_check(&v, files, n, o->contains);

  if (rc < 0) {
    fprintf(stderr, "ztna audit verify: %s\n", v.first);
    return EXIT_FAILED;
  }
  if (!v.ok) {
    printf("%s\n", v.first);
    return EXIT_REFUSED;
  }
  printf("ok: records %" PRIu64 " to %" PRIu64 " in %zu file%s\n", v.first_seq,
         v.last_seq, n, n == 1 ? "" : "s");
  tell_more(&v);
  return EXIT_DONE;
}

/* --- show */

static const char *text(const json_t *o, const char *key) {
  return json_string_value(json_object_get(o, key));
}

/* spiffe://example.org/agent/laptop-7: laptop-7 */
static const char *short_name(const char *spiffe) {
  const char *slash = spiffe ? strrchr(spiffe, '/') : NULL;

  return slash ? slash + 1 : spiffe;
}

static bool is_wanted(const json_t *o, const struct audit_opts *w) {
  const char *agent = text(o, "agent"), *service = text(o, "service");

  if (w->agent && !(agent && (glob_matches(w->agent, agent) ||
                              glob_matches(w->agent, short_name(agent)))))
    return false;
  return !w->service || (service && glob_matches(w->service, service));
}

/* Whoever can write the file must not reach the terminal. */
static void put(const char *before, const char *s) {
  if (!s) return;
  fputs(before, stdout);
  for (; *s; s++) {
    unsigned char c = (unsigned char)*s;
    putchar(c < 0x20 || c == 0x7f ? '?' : c);
  }
}

static void put_number(const json_t *o, const char *key, const char *label) {
  const json_t *n = json_object_get(o, key);

  if (json_is_integer(n))
    printf(" %s=%" JSON_INTEGER_FORMAT, label, json_integer_value(n));
}

static void print_line(const json_t *o) {
  static const char *const more[] = {"from",   "backend", "begin",  "path",
                                     "rule",   "reason",  "serial", "identity",
                                     "former", NULL};
  char label[32];

  put("", text(o, "time"));
  put(" ", text(o, "event"));
  put(" ", short_name(text(o, "agent")));
  put(" -> ", text(o, "service"));
  put(" ", text(o, "protocol"));
  if (json_object_get(o, "port"))
    printf("/%" JSON_INTEGER_FORMAT,
           json_integer_value(json_object_get(o, "port")));
  put(" by ", short_name(text(o, "connector")));
  put_number(o, "bytes_from_agent", "in");
  put_number(o, "bytes_to_agent", "out");
  put_number(o, "packets_from_agent", "packets_in");
  put_number(o, "packets_to_agent", "packets_out");
  put_number(o, "records", "records");
  put_number(o, "hidden", "hidden");
  for (int i = 0; more[i]; i++) {
    snprintf(label, sizeof(label), " %s=", more[i]);
    put(label, text(o, more[i]));
  }
  putchar('\n');
}

static void show_line(const struct audit_opts *w, const struct audit_reader *r,
                      const char *file) {
  json_t *o = json_loadb(r->line, r->len, 0, NULL);

  if (!json_is_object(o))
    fprintf(stderr, "ztna audit show: %s:%" PRIu64 ": no record\n", file,
            r->number);
  else if (is_wanted(o, w)) {
    if (w->json)
      printf("%.*s\n", (int)r->len, r->line);
    else
      print_line(o);
  }
  json_decref(o);
}

static int show_file(const struct audit_opts *w, const char *file) {
  struct audit_reader *r = malloc(sizeof(*r));
  int rc = r ? audit_reader_open(r, file) : ZTNA_ENOMEM;

  while (rc == 0 && audit_reader_next(r)) show_line(w, r, file);
  if (rc == 0) audit_reader_close(r);
  free(r);
  return rc == 0 ? EXIT_DONE : EXIT_FAILED;
}

static int show(const struct audit_opts *o, char *const *files, size_t n) {
  const char **sorted = calloc(n + 1, sizeof(*sorted));
  char why[AUDIT_SAY] = "no memory";
  int rc = sorted ? audit_sort(sorted, files, n, why) : ZTNA_ENOMEM;
  int code = EXIT_DONE;

  if (rc < 0) fprintf(stderr, "ztna audit show: %s\n", why);
  for (size_t i = 0; rc == 0 && i < n && code == EXIT_DONE; i++)
    code = show_file(o, sorted[i]);
  free(sorted);
  return rc < 0 ? EXIT_FAILED : code;
}

/* --- which of them */

static const struct verb {
  const char *name;
  const char *flags; /* that it takes */
  int (*run)(const struct audit_opts *o, char *const *files, size_t n);
} verbs[] = {
    {"verify", " contains ", verify},
    {"show", " agent service json ", show},
};
enum { N_VERBS = sizeof(verbs) / sizeof(*verbs) };

static const struct verb *verb_find(const char *name) {
  const char *best = NULL;
  size_t distance = 0;

  for (size_t i = 0; i < N_VERBS; i++) {
    if (!strcmp(verbs[i].name, name)) return &verbs[i];
    nearest_try(name, verbs[i].name, &best, &distance);
  }
  fprintf(stderr, "ztna audit: unknown command \"%.40s\"; %s%s\n", name,
          best ? "did you mean " : "there are verify and show",
          best ? best : "");
  return NULL;
}

static int audit_start(struct applet_call *c) {
  const struct verb *v = verb_find(c->args[0]);
  char word[64];

  if (!v) return EXIT_USAGE;
  for (size_t i = 0; i < c->flags->n; i++) {
    snprintf(word, sizeof(word), " %s ", c->flags->v[i].field->name);
    if (strstr(v->flags, word)) continue;
    fprintf(stderr, "ztna audit %s: takes no %s\n", v->name,
            c->flags->v[i].name);
    return EXIT_USAGE;
  }
  return v->run(c->opts, c->args + 1, (size_t)c->n_args - 1);
}

const struct applet applet_audit = {
    .name = "audit",
    .summary = "is the log of who used what whole, and what does it say",
    .usage = "verify|show FILE... [flags]",
    .about =
        "  ztna audit verify FILE... [--contains HASH]\n"
        "      Each record of an audit log holds the hash of the one before\n"
        "      it. Prints the first record that was altered, is missing or in\n"
        "      the wrong place, with file and line. Files may be named in any\n"
        "      order, but none in between may be left out. Whoever rewrites\n"
        "      all of a log, or cuts off its end, is found by a hash that was\n"
        "      noted earlier: --contains.\n"
        "  ztna audit show FILE... [--agent NAME] [--service ID] [--json]\n"
        "      the records, a line each\n"
        "\nRelay and connector keep such a log when audit.file is set; see\n"
        "docs/AUDIT.md.\n",
    .example = "  ztna audit verify /var/log/ztna/audit.jsonl*\n"
               "  ztna audit show /var/log/ztna/audit.jsonl --agent laptop-7\n",
    .exits = "5 the chain is broken",
    .fields = fields,
    .opts_size = sizeof(struct audit_opts),
    .min_args = 2,
    .max_args = -1,
    .start = audit_start,
};
