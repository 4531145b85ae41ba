#include "host/policy_file.h"

#include <stdlib.h>
#include <string.h>

#include <ztna/err.h>

#include "host/config_table.h"
#include "host/file.h"
#include "part/policy_serial.h"

enum { PATTERNS_MAX = 65536 }; /* of all rules, groups expanded */

/* --- tables */

static const char *check_group(const char *text) {
  return *text && !strpbrk(text, "@*/ ") ? NULL
                                         : "a group's name without @ * / or "
                                           "spaces";
}

static const char *check_agents(const char *text) {
  if (*text == '@') return check_group(text + 1);
  return config_check_agent_pattern(text)
             ? "a group like \"@staff\", or a pattern of SPIFFE IDs like "
               "\"spiffe://example.org/agent/*\""
             : NULL;
}

/* The empty name: the group's value is the list itself. */
static const struct field group_fields[] = {
    {.name = "",
     .type = F_STRS,
     .offset = offsetof(struct policy_group, agents),
     .size = sizeof(char *),
     .check = config_check_agent_pattern,
     .help = "patterns of SPIFFE IDs"},
    FIELD_END,
};

static const char *check_revoked(const char *text) {
  struct policy_serial s;
  if (policy_serial_parse(&s, text)) return NULL;
  return config_check_agent_pattern(text)
             ? "a SPIFFE ID, a pattern like \"spiffe://example.org/agent/*\", "
               "or a certificate's serial number in hexadecimal"
             : NULL;
}

static const struct field limit_fields[] = {
    FIELD(policy_limits, routes, .type = F_INT, .min = 1, .max = 1000,
          .help = "how many routes an agent may have by this rule"),
    FIELD(policy_limits, rate, .type = F_SIZE, .min = 1 << 10,
          .max = INT64_C(1) << 40, .help = "bytes per second of each of them"),
    FIELD_END,
};

static const struct field rule_fields[] = {
    FIELD(policy_rule, name, .type = F_STR, .min = 1, .max = 200,
          .required = true, .help = "a sentence that says what it allows"),
    FIELD_LIST(policy_rule, agents, .type = F_STRS, .min = 1, .max = 1024,
               .required = true, .check = check_agents,
               .help = "list of \"@group\" and patterns of SPIFFE IDs"),
    FIELD_LIST(policy_rule, services, .type = F_STRS, .min = 1, .max = 1024,
               .required = true, .check = config_check_service_pattern,
               .help = "list of service ids and patterns"),
    FIELD(policy_rule, protocols, .type = F_SET, .names = config_protocols,
          .dflt = "udp,tcp,icmp", .help = "allowed protocols"),
    FIELD_LIST(policy_rule, ports, .type = F_PORTS, .min = 1, .max = 32,
               .help = "allowed ports of udp and tcp; without it all"),
    FIELD(policy_rule, until, .type = F_TIME,
          .help = "when the rule ends; a date ends as it begins"),
    FIELD(policy_rule, limits, .type = F_OBJECT, .fields = limit_fields,
          .help = "of what the rule gives"),
    FIELD_END,
};

static const char *const outcomes[] = {"allowed", "not-allowed",
                                       "port-not-allowed", "revoked", NULL};
static const enum reason outcome_reasons[] = {
    REASON_NONE, REASON_NOT_ALLOWED, REASON_PORT_NOT_ALLOWED, REASON_REVOKED};

static const struct field test_fields[] = {
    FIELD(policy_test, agent, .type = F_STR, .min = 1, .required = true,
          .check = config_check_agent, .help = "a whole SPIFFE ID"),
    FIELD(policy_test, service, .type = F_STR, .min = 1, .required = true,
          .check = config_check_service, .help = "a service id"),
    FIELD(policy_test, protocol, .type = F_BIT, .names = config_protocols,
          .required = true, .help = "udp, tcp or icmp"),
    FIELD(policy_test, port, .type = F_INT, .min = 1, .max = 65535,
          .help = "of udp and tcp"),
    FIELD(policy_test, expect, .type = F_ENUM, .names = outcomes,
          .required = true,
          .help = "allowed, not-allowed, port-not-allowed or revoked"),
    FIELD(policy_test, at, .type = F_TIME,
          .help = "when; without it before any rule ends"),
    FIELD_END,
};

static const struct field fields[] = {
    FIELD_LIST(policy_config, groups, .type = F_MAP, .fields = group_fields,
               .check = check_group, .help = "named lists of agents"),
    FIELD_LIST(policy_config, rules, .type = F_OBJECTS, .fields = rule_fields,
               .required = true, .help = "list of who may use what"),
    FIELD_LIST(policy_config, revoked, .type = F_STRS, .max = 4096,
               .check = check_revoked,
               .help = "who is refused whatever the rules say"),
    FIELD_LIST(policy_config, tests, .type = F_OBJECTS, .fields = test_fields,
               .help = "what the rules should come to"),
    FIELD_END,
};

/* --- what tables cannot say */

static void check_rule(struct field_load *l, struct policy_config *p,
                       size_t nr) {
  struct policy_rule *r = &p->rules[nr];
  for (size_t i = 0; i < nr; i++)
    if (r->name && p->rules[i].name && !strcmp(r->name, p->rules[i].name)) {
      FIELD_WRONG(l, r->name, "want a name of its own, got that of rules[%zu]",
                  i);
      break;
    }
  if (r->n_ports && r->protocols == 1u << 2)
    FIELD_WRONG(l, r->ports, "want no ports for icmp alone");
}

static void check_test(struct field_load *l, struct policy_test *t) {
  const struct field_place *place = field_place_of(l, t, sizeof(*t));
  bool has_port = field_place_of(l, &t->port, sizeof(t->port));
  bool icmp = t->protocol == 1u << 2;
  t->expect = outcome_reasons[t->expect];
  t->line = place ? place->line : 0;
  if (!t->protocol) return;
  if (icmp && has_port)
    FIELD_WRONG(l, t->port, "want no port for icmp");
  else if (!icmp && !has_port)
    FIELD_WRONG(l, *t, "needs \"port\": of udp and tcp");
}

/* --- groups */

static const struct policy_group *
group_find(struct field_load *l, const struct policy_config *p, char **place) {
  const char *name = *place + 1, *best = NULL;
  size_t distance = 0;
  for (size_t i = 0; i < p->n_groups; i++) {
    if (!p->groups[i].name) continue;
    if (!strcmp(p->groups[i].name, name)) return &p->groups[i];
    nearest_try(name, p->groups[i].name, &best, &distance);
  }
  if (best)
    FIELD_WRONG(l, *place,
                "no group \"%s\" in \"groups\"; did you mean "
                "\"@%s\"?",
                name, best);
  else
    FIELD_WRONG(l, *place, "no group \"%s\" in \"groups\"", name);
  return NULL;
}

struct names {
  char **v;
  size_t n, cap;
};

static void names_add(struct field_load *l, struct names *to, const char *s) {
  if (to->n == to->cap) {
    size_t cap = to->cap ? to->cap * 2 : 8;
    char **v = realloc(to->v, cap * sizeof(*v));
    if (v) to->v = v;
    if (v) to->cap = cap;
  }
  char *copy = to->n < to->cap ? strdup(s) : NULL;
  if (copy)
    to->v[to->n++] = copy;
  else
    l->no_memory = true;
}

static void names_free(char **v, size_t n) {
  for (size_t i = 0; i < n; i++) free(v[i]);
  free(v);
}

static void expand_rule(struct field_load *l, struct policy_config *p,
                        struct policy_rule *r, size_t *n_patterns) {
  struct names all = {0};
  for (size_t i = 0; i < r->n_agents; i++) {
    if (!r->agents[i]) continue; /* wrong, and reported */
    const struct policy_group *g = NULL;
    if (*r->agents[i] != '@')
      names_add(l, &all, r->agents[i]);
    else
      g = group_find(l, p, &r->agents[i]);
    for (size_t k = 0; g && k < g->n_agents; k++)
      if (g->agents[k]) names_add(l, &all, g->agents[k]);
  }
  *n_patterns += all.n;
  if (*n_patterns > PATTERNS_MAX)
    FIELD_WRONG(l, r->agents, "want %d agent patterns at most in all rules",
                PATTERNS_MAX);
  names_free(r->agents, r->n_agents);
  r->agents = all.v;
  r->n_agents = all.n;
}

/* --- together */

static void parse(struct policy_config *p, struct field_load *l,
                  const char *text, size_t len) {
  struct json_file f;
  char why[JSON_FILE_WHY];
  size_t n_patterns = 0;
  int rc = json_file_parse(&f, text, len, why);
  if (rc == 0) {
    field_from_json(l, fields, p, "", json_at_root(&f));
    field_need(l, fields, p);
  } else if (rc == ZTNA_ENOMEM) {
    l->no_memory = true;
  } else {
    mistake_add(&l->mistakes, l->file, f.error_line, NULL, "%s", why);
  }
  json_file_done(&f);
  for (size_t i = 0; i < p->n_rules; i++) check_rule(l, p, i);
  for (size_t i = 0; i < p->n_tests; i++) check_test(l, &p->tests[i]);
  for (size_t i = 0; i < p->n_rules && n_patterns <= PATTERNS_MAX; i++)
    expand_rule(l, p, &p->rules[i], &n_patterns);
}

int policy_file_parse(struct policy_config *p, const char *name,
                      const char *text, size_t len, struct sbuf *out) {
  struct field_load l;
  *p = (struct policy_config){0};
  field_load_init(&l, name, NULL);
  parse(p, &l, text, len);
  mistakes_print(&l.mistakes, out);
  int rc = l.no_memory ? ZTNA_ENOMEM : l.mistakes.n ? ZTNA_ECONFIG : 0;
  if (rc < 0) policy_file_free(p);
  field_load_done(&l);
  return rc;
}

int policy_file_load(struct policy_config *p, const char *file,
                     struct sbuf *out) {
  char *text, why[FILE_WHY];
  size_t len;
  *p = (struct policy_config){0};
  int rc = file_read(file, JSON_FILE_MAX, &text, &len, why);
  if (rc < 0) {
    sbuf_printf(out, "%s: cannot be read: %s\n", file, why);
    return rc == ZTNA_ENOMEM ? rc : ZTNA_ECONFIG;
  }
  rc = policy_file_parse(p, file, text, len, out);
  free(text);
  return rc;
}

void policy_file_free(struct policy_config *p) {
  field_done(fields, p);
  *p = (struct policy_config){0};
}

/* --- a policy out of it */

/* All tests that fail, each with its place. */
static int run_tests(const struct policy *p, const struct policy_config *cfg,
                     const char *file, struct sbuf *out) {
  char why[2048];
  int n = 0;
  for (size_t i = 0; i < cfg->n_tests; i++) {
    if (policy_test_run(p, &cfg->tests[i], why, sizeof(why)) == 0) continue;
    sbuf_printf(out, "%s:%u: tests[%zu]: failed: %s\n", file,
                cfg->tests[i].line, i, why);
    n++;
  }
  return n ? ZTNA_ECONFIG : 0;
}

int policy_file_make(struct policy **p, const struct policy_config *cfg,
                     const char *file, struct sbuf *out) {
  struct policy_config untested = *cfg;
  char why[512];
  untested.n_tests = 0;
  int rc = policy_new(p, &untested, why, sizeof(why));
  if (rc == ZTNA_ECONFIG) sbuf_printf(out, "%s: %s\n", file, why);
  if (rc < 0) return rc;
  rc = run_tests(*p, cfg, file, out);
  if (rc == 0) return 0;
  policy_free(*p);
  *p = NULL;
  return rc;
}

int policy_file_policy(struct policy **p, const char *file, struct sbuf *out) {
  struct policy_config cfg;
  *p = NULL;
  int rc = policy_file_load(&cfg, file, out);
  if (rc == 0) rc = policy_file_make(p, &cfg, file, out);
  policy_file_free(&cfg);
  return rc;
}
