/* policy_diff.c - `ztna policy diff`: asks two policies about every agent and
 * service that either of them names.
 *
 * A pattern is asked about as if it were a name. A star in it is matched by
 * nothing but a star, so what is found holds for all that the pattern stands
 * for. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "part/policy_why.h"
#include "policy.h"

enum { PAIRS_MAX = 1000000 };

/* --- what they name */

struct names { /* lent by the policies */
  const char **v;
  size_t n, cap;
  bool failed;
};

static void names_add(struct names *to, const char *name) {
  if (to->n == to->cap) {
    size_t cap = to->cap ? 2 * to->cap : 64;
    const char **v = realloc(to->v, cap * sizeof(*v));
    to->failed |= !v;
    if (!v) return;
    to->v = v;
    to->cap = cap;
  }
  to->v[to->n++] = name;
}

static void names_add_all(struct names *to, char *const *v, size_t n) {
  for (size_t i = 0; i < n; i++) names_add(to, v[i]);
}

static int compare(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void names_sort(struct names *s) {
  size_t n = 0;
  if (s->n) qsort(s->v, s->n, sizeof(*s->v), compare);
  for (size_t i = 0; i < s->n; i++)
    if (!n || strcmp(s->v[n - 1], s->v[i]) != 0) s->v[n++] = s->v[i];
  s->n = n;
}

static void collect(const struct policy_config *c, struct names *agents,
                    struct names *services) {
  struct policy_serial number;
  for (size_t i = 0; i < c->n_rules; i++) {
    names_add_all(agents, c->rules[i].agents, c->rules[i].n_agents);
    names_add_all(services, c->rules[i].services, c->rules[i].n_services);
  }
  for (size_t i = 0; i < c->n_groups; i++)
    names_add_all(agents, c->groups[i].agents, c->groups[i].n_agents);
  for (size_t i = 0; i < c->n_tests; i++) {
    names_add(agents, c->tests[i].agent);
    names_add(services, c->tests[i].service);
  }
  for (size_t i = 0; i < c->n_revoked; i++)
    if (!policy_serial_parse(&number, c->revoked[i]))
      names_add(agents, c->revoked[i]);
}

/* --- what they say */

struct verdict {
  enum reason reason;
  struct permission may;
};

static struct verdict ask(const struct policy *p, int64_t now,
                          const char *agent, const char *service) {
  struct verdict v;
  v.reason = policy_grant(p, now, agent, service, &v.may);
  return v;
}

static bool is_same(const struct verdict *a, const struct verdict *b) {
  return a->reason == b->reason && permission_equal(&a->may, &b->may);
}

static void words_of(const struct verdict *v, struct sbuf *out) {
  if (v->reason == REASON_REVOKED)
    sbuf_printf(out, "revoked");
  else
    permission_print(&v->may, out);
}

static json_t *json_of(const struct verdict *v) {
  struct sbuf words = {0};
  words_of(v, &words);
  json_t *j = json_pack("{s:s, s:s, s:s}", "reason", reason_name(v->reason),
                        "rule", v->may.rule ? v->may.rule : "", "allows",
                        words.len ? words.s : "");
  sbuf_done(&words);
  return j;
}

static void print_change(const char *agent, const char *service,
                         const struct verdict *was, const struct verdict *is) {
  struct sbuf line = {0};
  sbuf_printf(&line, "%s %s: ", agent, service);
  words_of(was, &line);
  sbuf_printf(&line, " -> ");
  words_of(is, &line);
  if (line.len) puts(line.s);
  sbuf_done(&line);
}

/* changes: NULL to print lines. */
static void compare_all(const struct policy *old, const struct policy *new,
                        int64_t now, const struct names *agents,
                        const struct names *services, json_t *changes) {
  for (size_t i = 0; i < agents->n; i++)
    for (size_t k = 0; k < services->n; k++) {
      const char *agent = agents->v[i], *service = services->v[k];
      struct verdict was = ask(old, now, agent, service);
      struct verdict is = ask(new, now, agent, service);
      if (is_same(&was, &is)) continue;
      if (changes)
        json_array_append_new(changes,
                              json_pack("{s:s, s:s, s:o, s:o}", "agent", agent,
                                        "service", service, "old",
                                        json_of(&was), "new", json_of(&is)));
      else
        print_change(agent, service, &was, &is);
    }
}

static int diff(const struct policy_opts *o, const struct policy_read *old,
                const struct policy_read *new) {
  struct names agents = {0}, services = {0};
  int code = EXIT_FAILED;
  collect(&old->cfg, &agents, &services);
  collect(&new->cfg, &agents, &services);
  names_sort(&agents);
  names_sort(&services);
  if (agents.failed || services.failed) {
    fprintf(stderr, "ztna policy diff: no memory\n");
  } else if (agents.n && services.n > PAIRS_MAX / agents.n) {
    fprintf(stderr,
            "ztna policy diff: %zu agents and %zu services make more than %d "
            "pairs\n",
            agents.n, services.n, PAIRS_MAX);
  } else {
    json_t *changes = o->json ? json_array() : NULL;
    compare_all(old->policy, new->policy, policy_when(o), &agents, &services,
                changes);
    code = EXIT_DONE;
    if (o->json)
      code = policy_print_json(json_pack("{s:s, s:o}", "schema",
                                         "ztna.policy/1", "changes", changes));
  }
  free(agents.v);
  free(services.v);
  return code;
}

int policy_diff(const struct policy_opts *o, char *const *files) {
  struct policy_read old, new = {0};
  int code = policy_read(&old, files[0]);
  if (!code) code = policy_read(&new, files[1]);
  if (!code) code = diff(o, &old, &new);
  policy_read_done(&old);
  policy_read_done(&new);
  return code;
}
