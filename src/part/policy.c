/* policy.c - see policy.h. A permission is canonical: ranges sorted, disjoint
 * and not touching, so that two rules' union compares equal to one rule that
 * says the same. Whatever does not fit is left out: fewer rights, never more.
 */
#include "part/policy_int.h"
#include "part/policy_why.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ztna/err.h>

#include "base/glob.h"
#include "base/log.h"

enum { PROTO_ALL = PROTO_UDP | PROTO_TCP | PROTO_ICMP };

/* Ports of one protocol: sorted, no two touch. */
struct ranges {
  struct port_range v[GRANT_MAX_RANGES];
  size_t n;
  bool overflow;
};

/* --- ports */

static void ranges_add(struct ranges *s, uint16_t first, uint16_t last) {
  size_t from = 0, to;
  while (from < s->n && s->v[from].last + 1 < first) from++;
  for (to = from; to < s->n && s->v[to].first <= last + 1; to++) {
    if (s->v[to].first < first) first = s->v[to].first;
    if (s->v[to].last > last) last = s->v[to].last;
  }
  if (from == to && s->n == GRANT_MAX_RANGES) {
    s->overflow = true;
    return;
  }
  /* [from, to) became one. */
  memmove(&s->v[from + 1], &s->v[to], (s->n - to) * sizeof(s->v[0]));
  s->v[from] = (struct port_range){first, last};
  s->n = s->n + 1 - (to - from);
}

static void ranges_add_rule(struct ranges *s, const struct policy_rule *r) {
  if (!r->n_ports) ranges_add(s, 1, UINT16_MAX);
  for (size_t i = 0; i < r->n_ports; i++)
    ranges_add(s, r->ports[i].first, r->ports[i].last);
}

static bool ranges_are_all(const struct ranges *s) {
  return s->n == 1 && s->v[0].first <= 1 && s->v[0].last == UINT16_MAX;
}

static int range_cmp(const struct port_range *a, const struct port_range *b) {
  return a->first != b->first ? a->first - b->first : a->last - b->last;
}

/* Both protocols' ranges in one sorted list, equal ones as one. False: some
 * did not fit. */
static bool ranges_merge(struct permission *out, const struct ranges *tcp,
                         const struct ranges *udp) {
  bool tcp_free = !(out->protocols & PROTO_TCP) || ranges_are_all(tcp);
  bool udp_free = !(out->protocols & PROTO_UDP) || ranges_are_all(udp);
  if (tcp_free && udp_free) return true;
  size_t t = 0, u = 0;
  while (t < tcp->n || u < udp->n) {
    if (out->n_ranges == GRANT_MAX_RANGES) return false;
    int order = t == tcp->n   ? 1
                : u == udp->n ? -1
                              : range_cmp(&tcp->v[t], &udp->v[u]);
    size_t i = out->n_ranges++;
    out->ranges[i] = order <= 0 ? tcp->v[t] : udp->v[u];
    out->range_protocols[i] =
        (order <= 0 ? PROTO_TCP : 0u) | (order >= 0 ? PROTO_UDP : 0u);
    t += order <= 0;
    u += order >= 0;
  }
  return !tcp->overflow && !udp->overflow;
}

/* --- rules */

static bool any_matches(char *const *patterns, size_t n, const char *text) {
  for (size_t i = 0; i < n; i++)
    if (glob_matches(patterns[i], text)) return true;
  return false;
}

bool rule_is_for(const struct policy_rule *r, const char *agent) {
  return any_matches(r->agents, r->n_agents, agent);
}

bool rule_has_service(const struct policy_rule *r, const char *service) {
  return any_matches(r->services, r->n_services, service);
}

bool rule_has_ended(const struct policy_rule *r, int64_t now) {
  return r->until && now >= r->until;
}

static void add_limits(struct permission *out, const struct policy_rule *r) {
  const struct policy_limits *l = &r->limits;
  if (l->rate && (!out->limits.rate || l->rate < out->limits.rate))
    out->limits.rate = l->rate;
  if (!l->routes || (out->limits.routes && out->limits.routes <= l->routes))
    return;
  out->limits.routes = l->routes;
  out->routes_rule = r->name;
}

enum reason policy_grant(const struct policy *p, int64_t now,
                         const char *agent_spiffe, const char *service,
                         struct permission *out) {
  *out = (struct permission){0};
  struct ranges tcp = {.n = 0}, udp = {.n = 0};
  if (p && policy_revoking(p, agent_spiffe)) return REASON_REVOKED;
  for (size_t i = 0; p && i < p->n_rules; i++) {
    const struct policy_rule *r = &p->rules[i];
    if (rule_has_ended(r, now) || !rule_has_service(r, service) ||
        !rule_is_for(r, agent_spiffe))
      continue;
    if (!out->rule) out->rule = r->name;
    out->protocols |= r->protocols;
    if (r->protocols & PROTO_TCP) ranges_add_rule(&tcp, r);
    if (r->protocols & PROTO_UDP) ranges_add_rule(&udp, r);
    add_limits(out, r);
  }
  if (!out->protocols) return REASON_NOT_ALLOWED;
  if (!ranges_merge(out, &tcp, &udp))
    log_warn("policy: rules give more than %d port ranges, the rest is denied "
             "agent=%s service=%s",
             GRANT_MAX_RANGES, agent_spiffe, service);
  return REASON_NONE;
}

int64_t policy_next_end(const struct policy *p, int64_t now) {
  int64_t next = POLICY_NEVER;
  for (size_t i = 0; p && i < p->n_rules; i++) {
    int64_t until = p->rules[i].until;
    if (until > now && until && until < next) next = until;
  }
  return next;
}

size_t policy_n_rules(const struct policy *p) { return p ? p->n_rules : 0; }

/* --- revoked */

const char *policy_revoking(const struct policy *p, const char *spiffe) {
  for (size_t i = 0; i < p->n_revoked; i++) {
    const char *pattern = p->revoked[i].pattern;
    if (pattern && glob_matches(pattern, spiffe)) return pattern;
  }
  return NULL;
}

bool policy_revokes(const struct policy *p, const char *spiffe,
                    const struct policy_serial *serial) {
  if (!p) return false;
  if (policy_revoking(p, spiffe)) return true;
  for (size_t i = 0; serial && i < p->n_revoked; i++)
    if (policy_serial_equal(&p->revoked[i].serial, serial)) return true;
  return false;
}

/* --- permissions */

enum reason permission_check(const struct permission *perm, unsigned protocol,
                             uint16_t port) {
  if (!(perm->protocols & protocol)) return REASON_PORT_NOT_ALLOWED;
  if (protocol == PROTO_ICMP || !perm->n_ranges) return REASON_NONE;
  for (size_t i = 0; i < perm->n_ranges; i++)
    if (perm->range_protocols[i] & protocol && perm->ranges[i].first <= port &&
        port <= perm->ranges[i].last)
      return REASON_NONE;
  return REASON_PORT_NOT_ALLOWED;
}

bool permission_equal(const struct permission *a, const struct permission *b) {
  if (a->protocols != b->protocols || a->n_ranges != b->n_ranges ||
      a->limits.rate != b->limits.rate || a->limits.routes != b->limits.routes)
    return false;
  for (size_t i = 0; i < a->n_ranges; i++)
    if (a->range_protocols[i] != b->range_protocols[i] ||
        range_cmp(&a->ranges[i], &b->ranges[i]) != 0)
      return false;
  return true;
}

/* --- life */

static void strings_free(char **v, size_t n) {
  for (size_t i = 0; v && i < n; i++) free(v[i]);
  free(v);
}

static char **strings_copy(char *const *v, size_t n) {
  char **copy = calloc(n ? n : 1, sizeof(*copy));
  for (size_t i = 0; copy && i < n; i++)
    if (!(copy[i] = strdup(v[i]))) {
      strings_free(copy, i);
      return NULL;
    }
  return copy;
}

static void rule_free(struct policy_rule *r) {
  free(r->name);
  strings_free(r->agents, r->n_agents);
  strings_free(r->services, r->n_services);
  free(r->ports);
}

static int rule_copy(struct policy_rule *to, const struct policy_rule *from) {
  *to = *from;
  to->name = strdup(from->name);
  to->agents = strings_copy(from->agents, from->n_agents);
  to->services = strings_copy(from->services, from->n_services);
  to->ports = calloc(from->n_ports + 1, sizeof(*to->ports));
  if (!to->protocols) to->protocols = PROTO_ALL;
  if (!to->name || !to->agents || !to->services || !to->ports) {
    rule_free(to);
    return ZTNA_ENOMEM;
  }
  for (size_t i = 0; i < from->n_ports; i++) to->ports[i] = from->ports[i];
  return 0;
}

static int rules_copy(struct policy *p, const struct policy_config *cfg) {
  p->rules = calloc(cfg->n_rules + 1, sizeof(*p->rules));
  if (!p->rules) return ZTNA_ENOMEM;
  for (; p->n_rules < cfg->n_rules; p->n_rules++)
    if (rule_copy(&p->rules[p->n_rules], &cfg->rules[p->n_rules]) < 0)
      return ZTNA_ENOMEM;
  return 0;
}

static bool is_pattern(const char *text) {
  return *text == '*' || !strncmp(text, "spiffe://", 9);
}

static int revoked_copy(struct policy *p, const struct policy_config *cfg,
                        char *why, size_t room) {
  p->revoked = calloc(cfg->n_revoked + 1, sizeof(*p->revoked));
  if (!p->revoked) return ZTNA_ENOMEM;
  for (; p->n_revoked < cfg->n_revoked; p->n_revoked++) {
    struct policy_revoked *v = &p->revoked[p->n_revoked];
    const char *text = cfg->revoked[p->n_revoked];
    if (is_pattern(text)) {
      if (!(v->pattern = strdup(text))) return ZTNA_ENOMEM;
    } else if (!policy_serial_parse(&v->serial, text)) {
      snprintf(why, room, "revoked: neither SPIFFE ID nor serial number: %s",
               text);
      return ZTNA_ECONFIG;
    }
  }
  return 0;
}

void policy_free(struct policy *p) {
  if (!p) return;
  for (size_t i = 0; i < p->n_rules; i++) rule_free(&p->rules[i]);
  for (size_t i = 0; i < p->n_revoked; i++) free(p->revoked[i].pattern);
  free(p->rules);
  free(p->revoked);
  free(p);
}

static const char *verdict_name(enum reason r) {
  return r == REASON_NONE ? "allowed" : reason_name(r);
}

const char *policy_protocol_name(unsigned protocol) {
  return protocol == PROTO_TCP ? "tcp" : protocol == PROTO_UDP ? "udp" : "icmp";
}

int policy_test_run(const struct policy *p, const struct policy_test *test,
                    char *why, size_t room) {
  struct policy_answer got;
  policy_why(p, test->at ? test->at : POLICY_BEFORE_ALL, test->agent,
             test->service, test->protocol, test->port, &got);
  if (got.reason == test->expect) return 0;
  snprintf(why, room,
           "agent %s, service %s, %s port %u: expected %s, got %s: %s",
           test->agent, test->service, policy_protocol_name(test->protocol),
           test->port, verdict_name(test->expect), verdict_name(got.reason),
           got.text);
  return ZTNA_ECONFIG;
}

static int tests_run(const struct policy *p, const struct policy_config *cfg,
                     char *why, size_t room) {
  for (size_t i = 0; i < cfg->n_tests; i++) {
    int n = snprintf(why, room, "test %zu failed: ", i + 1);
    size_t used = (size_t)n < room ? (size_t)n : room;
    if (policy_test_run(p, &cfg->tests[i], why + used, room - used) < 0)
      return ZTNA_ECONFIG;
  }
  if (room) *why = '\0';
  return 0;
}

int policy_new(struct policy **out, const struct policy_config *cfg, char *why,
               size_t room) {
  *out = NULL;
  if (room) *why = '\0';
  struct policy *p = calloc(1, sizeof(*p));
  if (!p) return ZTNA_ENOMEM;
  int rc = rules_copy(p, cfg);
  if (rc == 0) rc = revoked_copy(p, cfg, why, room);
  if (rc == 0) rc = tests_run(p, cfg, why, room);
  if (rc < 0) {
    policy_free(p);
    return rc;
  }
  *out = p;
  return 0;
}
