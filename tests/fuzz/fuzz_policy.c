/* fuzz_policy.c - any text as a policy: it is refused with a reason, or it
 * makes a policy that allows only what one of its rules says, and explains
 * every decision as it is. */
#include <string.h>

#include "base/glob.h"
#include "fuzz/fuzz.h"
#include "host/policy_file.h"
#include "part/policy_why.h"

#define SEED(text) \
  { text, sizeof(text) - 1 }
const struct fuzz_seed fuzz_seeds[] = {
    SEED("{\"groups\":{\"staff\":[\"spiffe://e.org/agent/*\"]},\"rules\":[{"
         "\"name\":\"r\",\"agents\":[\"@staff\"],\"services\":[\"web-app\"],"
         "\"protocols\":[\"tcp\",\"icmp\"],\"ports\":[80,\"8000-8100\"],"
         "\"until\":\"2026-12-31T18:00:00Z\",\"limits\":{\"routes\":2,\"rate\":"
         "\"10MiB\"}}],\"tests\":[{\"agent\":\"spiffe://e.org/agent/a\","
         "\"service\":\"web-app\",\"protocol\":\"tcp\",\"port\":22,\"at\":"
         "\"2026-01-01\",\"expect\":\"port-not-allowed\"}]}"),
    SEED("{\"rules\":[{\"name\":\"a\",\"agents\":[\"*\"],\"services\":[\"*\"],"
         "\"until\":\"2026-01-01\"},{\"name\":\"b\",\"agents\":[\"spiffe://e."
         "org/agent/b\"],\"services\":[\"w*\"],\"protocols\":[\"udp\"],"
         "\"ports\":[1,3,5,7,9,11,13,\"15-17\"]}],\"revoked\":[\"5f:0a\","
         "\"spiffe://e.org/agent/l-*\"],\"tests\":[{\"agent\":"
         "\"spiffe://e.org/agent/l-1\",\"service\":\"w\",\"protocol\":\"icmp\","
         "\"expect\":\"revoked\"}]}"),
};
const size_t n_fuzz_seeds = sizeof(fuzz_seeds) / sizeof(*fuzz_seeds);

enum { MOST = 8 }; /* agents and services that are asked about */

static bool any(char *const *v, size_t n, const char *text) {
  for (size_t i = 0; i < n; i++)
    if (glob_matches(v[i], text)) return true;
  return false;
}

static bool port_is_in(const struct policy_rule *r, uint16_t port) {
  for (size_t i = 0; i < r->n_ports; i++)
    if (r->ports[i].first <= port && port <= r->ports[i].last) return true;
  return !r->n_ports;
}

/* Straight from the file. */
static bool may(const struct policy_config *c, int64_t now, const char *agent,
                const char *service, unsigned protocol, uint16_t port) {
  for (size_t i = 0; i < c->n_revoked; i++)
    if (glob_matches(c->revoked[i], agent)) return false;
  for (size_t i = 0; i < c->n_rules; i++) {
    const struct policy_rule *r = &c->rules[i];
    if ((!r->until || now < r->until) && any(r->agents, r->n_agents, agent) &&
        any(r->services, r->n_services, service) && r->protocols & protocol &&
        (protocol == PROTO_ICMP || port_is_in(r, port)))
      return true;
  }
  return false;
}

static void ask(const struct policy *p, const struct policy_config *c,
                int64_t now, const char *agent, const char *service) {
  static const uint16_t ports[] = {1, 16, 80, 8050, 65535};
  struct permission perm;
  struct policy_answer a;
  enum reason rc = policy_grant(p, now, agent, service, &perm);
  assert((rc == REASON_NONE) == (perm.protocols != 0));
  for (unsigned bit = PROTO_UDP; bit <= PROTO_ICMP; bit *= 2)
    for (size_t i = 0; i < sizeof(ports) / sizeof(*ports); i++) {
      uint16_t port = bit == PROTO_ICMP ? 0 : ports[i];
      enum reason got = rc ? rc : permission_check(&perm, bit, port);
      bool wide = perm.n_ranges == GRANT_MAX_RANGES; /* some may be left out */
      bool want = may(c, now, agent, service, bit, port);
      assert(got != REASON_NONE || want);
      assert(got == REASON_NONE || !want || wide);
      policy_why(p, now, agent, service, bit, port, &a);
      assert(a.reason == got);
      assert(*a.text && strlen(a.text) < sizeof(a.text));
      assert(got != REASON_NONE || a.rule);
    }
}

static void ask_all(const struct policy *p, const struct policy_config *c) {
  static const int64_t times[] = {POLICY_BEFORE_ALL, 1767225600, POLICY_NEVER};
  for (size_t i = 0; i < c->n_rules && i < MOST; i++)
    for (size_t k = 0; k < c->n_tests && k < MOST; k++)
      for (int t = 0; t < 3; t++) {
        const struct policy_rule *r = &c->rules[i];
        ask(p, c, times[t], c->tests[k].agent, c->tests[k].service);
        ask(p, c, times[t], c->tests[k].agent, r->services[0]);
        if (r->n_agents) ask(p, c, times[t], r->agents[0], r->services[0]);
      }
}

static void ends_are_in_order(const struct policy *p) {
  int64_t now = POLICY_BEFORE_ALL, next;
  size_t n = 0;
  while ((next = policy_next_end(p, now)) != POLICY_NEVER) {
    assert(next > now && n++ < policy_n_rules(p));
    now = next;
  }
}

/* As policy_file_make does, but for the tests. */
static struct policy *make(const struct policy_config *c) {
  struct policy_config untested = *c;
  struct policy *p;
  char why[64];
  untested.n_tests = 0;
  assert(policy_new(&p, &untested, why, sizeof(why)) == 0);
  return p;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  struct policy_config c;
  struct policy *p;
  struct sbuf out = {0};
  int rc = policy_file_parse(&c, "f", (const char *)data, len, &out);
  assert((rc < 0) == (out.len > 0));
  if (rc == 0) {
    p = make(&c);
    ask_all(p, &c);
    ends_are_in_order(p);
    policy_free(p);
    rc = policy_file_make(&p, &c, "f", &out);
    assert((rc < 0) == (out.len > 0) && (rc < 0) == !p);
    policy_free(p);
  }
  policy_file_free(&c);
  sbuf_done(&out);
  return 0;
}
