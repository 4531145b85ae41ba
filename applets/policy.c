/* policy.c - `ztna policy`: is a policy file right, what does it say of one
 * question, and what does another one change. */
#include "policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utc.h"
#include "host/clock.h"
#include "host/config_table.h"
#include "host/policy_file.h"
#include "part/policy_why.h"

extern const struct applet applet_policy;

static const struct field fields[] = {
    FIELD(policy_opts, agent, .type = F_STR, .min = 1, .meta = "NAME",
          .help = "why: an agent's name or SPIFFE ID"),
    FIELD(policy_opts, service, .type = F_STR, .meta = "ID",
          .check = config_check_service, .help = "why: a service"),
    FIELD(policy_opts, protocol, .type = F_BIT, .names = config_protocols,
          .help = "why: how it is used"),
    FIELD(policy_opts, port, .type = F_INT, .meta = "N", .min = 1, .max = 65535,
          .help = "why: of udp and tcp"),
    FIELD(policy_opts, at, .type = F_TIME,
          .help = "why, diff: as it will be then, not now"),
    FIELD(policy_opts, json, .type = F_BOOL, .help = "print a JSON object"),
    FIELD_END,
};

static int say(int code, const char *verb, const char *what) {
  fprintf(stderr, "ztna policy %s: %s\n", verb, what);
  return code;
}

int64_t policy_when(const struct policy_opts *o) {
  return o->at ? o->at : (int64_t)(clock_wall() / SEC);
}

int policy_print_json(json_t *j) {
  char *text = json_dumps(j, JSON_INDENT(2));
  if (text) puts(text);
  free(text);
  json_decref(j);
  return text ? EXIT_DONE : EXIT_FAILED;
}

/* --- reading */

int policy_read(struct policy_read *p, const char *file) {
  struct sbuf out = {0};
  char why[512];
  p->policy = NULL;
  int rc = policy_file_load(&p->cfg, file, &out);
  struct policy_config untested = p->cfg;
  untested.n_tests = 0;
  if (rc == 0) {
    rc = policy_new(&p->policy, &untested, why, sizeof(why));
    if (rc == ZTNA_ECONFIG) sbuf_printf(&out, "%s: %s\n", file, why);
  }
  if (out.len) fputs(out.s, stderr);
  sbuf_done(&out);
  return applet_exit(rc);
}

void policy_read_done(struct policy_read *p) {
  policy_file_free(&p->cfg);
  policy_free(p->policy);
}

/* --- check */

/* Rules that allow nothing any more are no mistake, but somebody may wonder. */
static void tell_ended(const struct policy_config *cfg, const char *file) {
  int64_t now = (int64_t)(clock_wall() / SEC);
  char until[UTC_STRLEN];
  for (size_t i = 0; i < cfg->n_rules; i++) {
    const struct policy_rule *r = &cfg->rules[i];
    if (r->until && now >= r->until)
      printf("%s: rules[%zu]: '%s' ended at %s\n", file, i, r->name,
             utc_print(r->until, until));
  }
}

static json_t *json_lines(const struct sbuf *out) {
  json_t *list = json_array();
  const char *at = out->len ? out->s : "", *end;
  for (; (end = strchr(at, '\n')); at = end + 1)
    json_array_append_new(list, json_stringn(at, (size_t)(end - at)));
  return list;
}

static int check(const struct policy_opts *o, char *const *files) {
  struct policy_config cfg;
  struct policy *policy = NULL;
  struct sbuf out = {0};
  int rc = policy_file_load(&cfg, files[0], &out);
  if (rc == 0) rc = policy_file_make(&policy, &cfg, files[0], &out);
  if (o->json) {
    policy_print_json(json_pack(
        "{s:s, s:s, s:b, s:I, s:I, s:o}", "schema", "ztna.policy/1", "file",
        files[0], "ok", rc == 0, "rules", (json_int_t)cfg.n_rules, "tests",
        (json_int_t)cfg.n_tests, "mistakes", json_lines(&out)));
  } else if (rc == 0) {
    tell_ended(&cfg, files[0]);
    printf("%s: ok: %zu rule%s, %zu test%s\n", files[0], cfg.n_rules,
           cfg.n_rules == 1 ? "" : "s", cfg.n_tests,
           cfg.n_tests == 1 ? "" : "s");
  } else if (out.len) {
    fputs(out.s, stderr);
  }
  sbuf_done(&out);
  policy_file_free(&cfg);
  policy_free(policy);
  return applet_exit(rc);
}

/* --- why: whose agent is it? */

/* The trust domain in "spiffe://DOMAIN/...", 0 when a pattern leaves it open.
 */
static size_t domain_of(const char *id, const char **domain) {
  static const char scheme[] = "spiffe://";
  if (strncmp(id, scheme, sizeof(scheme) - 1) != 0) return 0;
  *domain = id + sizeof(scheme) - 1;
  size_t n = strcspn(*domain, "/*");
  return (*domain)[n] == '/' ? n : 0;
}

struct domains {
  const char *name; /* the first; not terminated */
  size_t len;
  bool several;
};

static void domains_add(struct domains *d, char *const *ids, size_t n) {
  for (size_t i = 0; i < n; i++) {
    const char *name;
    size_t len = domain_of(ids[i], &name);
    if (!len) continue;
    if (!d->name) {
      d->name = name;
      d->len = len;
    }
    if (len != d->len || memcmp(name, d->name, len) != 0) d->several = true;
  }
}

/* Out of a name: in the trust domain of which the policy speaks. */
static int whole_id(const struct policy_config *cfg, const char *name, char *id,
                    size_t room) {
  struct domains d = {0};
  for (size_t i = 0; i < cfg->n_rules; i++)
    domains_add(&d, cfg->rules[i].agents, cfg->rules[i].n_agents);
  for (size_t i = 0; i < cfg->n_groups; i++)
    domains_add(&d, cfg->groups[i].agents, cfg->groups[i].n_agents);
  for (size_t i = 0; i < cfg->n_tests; i++)
    domains_add(&d, &cfg->tests[i].agent, 1);
  if (!strncmp(name, "spiffe://", 9))
    snprintf(id, room, "%s", name);
  else if (d.several || !d.name)
    return say(EXIT_USAGE, "why",
               d.name ? "--agent: want a whole SPIFFE ID, since the policy "
                        "names several trust domains"
                      : "--agent: want a whole SPIFFE ID, since the policy "
                        "names no trust domain");
  else
    snprintf(id, room, "spiffe://%.*s/agent/%s", (int)d.len, d.name, name);
  if (!config_check_agent(id)) return EXIT_DONE;
  fprintf(stderr, "ztna policy why: --agent: want a name, or %s, got \"%s\"\n",
          config_check_agent(id), name);
  return EXIT_USAGE;
}

static int why_usage(const struct policy_opts *o) {
  bool icmp = o->protocol == PROTO_ICMP;
  if (!o->agent) return say(EXIT_USAGE, "why", "--agent is missing");
  if (!o->service) return say(EXIT_USAGE, "why", "--service is missing");
  if (!o->protocol) return say(EXIT_USAGE, "why", "--protocol is missing");
  if (!icmp && !o->port) return say(EXIT_USAGE, "why", "--port is missing");
  if (icmp && o->port) return say(EXIT_USAGE, "why", "--port is not for icmp");
  return EXIT_DONE;
}

static const char *protocol_name(unsigned bit) {
  int i = 0;
  while (!(bit >> i & 1)) i++;
  return config_protocols[i];
}

static int tell_why(const struct policy_opts *o, const char *agent,
                    const struct policy_answer *a) {
  bool allowed = a->reason == REASON_NONE;
  int code = allowed ? EXIT_DONE : EXIT_REFUSED;
  if (!o->json) {
    if (allowed)
      printf("allowed: %s\n", a->text);
    else
      printf("refused (%s): %s\n", reason_name(a->reason), a->text);
    return code;
  }
  json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:I, s:b, s:s, s:s, s:s}",
                        "schema", "ztna.policy/1", "agent", agent, "service",
                        o->service, "protocol", protocol_name(o->protocol),
                        "port", (json_int_t)o->port, "allowed", allowed,
                        "reason", reason_name(a->reason), "rule",
                        a->rule ? a->rule : "", "why", a->text);
  int printed = policy_print_json(j);
  return printed ? printed : code;
}

static int why(const struct policy_opts *o, char *const *files) {
  struct policy_read p;
  struct policy_answer answer;
  char agent[512];
  int code = why_usage(o);
  if (code) return code;
  code = policy_read(&p, files[0]);
  if (!code) code = whole_id(&p.cfg, o->agent, agent, sizeof(agent));
  if (!code) {
    policy_why(p.policy, policy_when(o), agent, o->service, o->protocol,
               o->port, &answer);
    code = tell_why(o, agent, &answer);
  }
  policy_read_done(&p);
  return code;
}

/* --- which of them */

static const struct verb {
  const char *name;
  const char *flags; /* that it takes */
  const char *usage;
  int n_files;
  int (*run)(const struct policy_opts *o, char *const *files);
} verbs[] = {
    {"check", " json ", "FILE [--json]", 1, check},
    {"why", " agent service protocol port at json ",
     "FILE --agent NAME --service ID --protocol P --port N [--at TIME] "
     "[--json]",
     1, why},
    {"diff", " at json ", "OLD NEW [--at TIME] [--json]", 2, policy_diff},
};
enum { N_VERBS = sizeof(verbs) / sizeof(*verbs) };

static const struct verb *verb_find(const char *name) {
  const char *best = NULL;
  size_t distance = 0;
  for (size_t i = 0; i < N_VERBS; i++) {
    if (!strcmp(verbs[i].name, name)) return &verbs[i];
    nearest_try(name, verbs[i].name, &best, &distance);
  }
  fprintf(stderr, "ztna policy: unknown command \"%.40s\"; %s%s\n", name,
          best ? "did you mean " : "there are check, why and diff",
          best ? best : "");
  return NULL;
}

static int wrong_usage(const struct verb *v, const char *what,
                       const char *detail) {
  fprintf(stderr, "ztna policy %s: %s%s\nusage: ztna policy %s %s\n", v->name,
          what, detail, v->name, v->usage);
  return EXIT_USAGE;
}

static int policy_start(struct applet_call *c) {
  const struct verb *v = verb_find(c->args[0]);
  char word[64];
  if (!v) return EXIT_USAGE;
  for (size_t i = 0; i < c->flags->n; i++) {
    snprintf(word, sizeof(word), " %s ", c->flags->v[i].field->name);
    if (!strstr(v->flags, word))
      return wrong_usage(v, "takes no ", c->flags->v[i].name);
  }
  if (c->n_args - 1 < v->n_files)
    return wrong_usage(v, "the name of a policy file is missing", "");
  if (c->n_args - 1 > v->n_files)
    return wrong_usage(v, "unexpected argument ", c->args[v->n_files + 1]);
  return v->run(c->opts, c->args + 1);
}

const struct applet applet_policy = {
    .name = "policy",
    .summary = "is a policy right, why does it decide so, what changes",
    .usage = "check|why|diff FILE... [flags]",
    .about =
        "  ztna policy check FILE [--json]\n"
        "      every mistake in it, and every one of its tests that fails, "
        "with its\n      line\n"
        "  ztna policy why FILE --agent NAME --service ID --protocol P --port "
        "N\n                  [--at TIME] [--json]\n"
        "      which rule allows it, or which one comes nearest and what it "
        "lacks;\n      a name is completed by the trust domain that the policy "
        "is about\n"
        "  ztna policy diff OLD NEW [--at TIME] [--json]\n"
        "      what agents may do with services by the new one and not by the "
        "old\n      one, or the other way round: all that rules, groups and "
        "tests of\n      either name, patterns as all those they stand for\n"
        "\nThe format is in docs/POLICY.md.\n",
    .example =
        "  ztna policy check /etc/ztna/policy.json\n"
        "  ztna policy why policy.json --agent laptop-7 --service web-app \\\n"
        "      --protocol tcp --port 22\n"
        "  ztna policy diff policy.json policy.json.new\n",
    .exits = "3 wrong policy, 5 refused",
    .fields = fields,
    .opts_size = sizeof(struct policy_opts),
    .min_args = 1,
    .max_args = 3,
    .start = policy_start,
};
