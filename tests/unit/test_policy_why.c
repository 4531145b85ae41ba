/* test_policy_why.c - decisions of a policy in words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "host/policy_file.h"
#include "part/policy_why.h"

#define LAPTOP "spiffe://d.org/agent/laptop"
#define GUEST "spiffe://d.org/agent/guest"

static const char text[] =
    "{\"groups\": {\"staff\": [\"spiffe://d.org/agent/laptop\", "
    "\"spiffe://d.org/agent/desk-*\"], \"none\": []}, \"rules\": ["
    "{\"name\": \"staff may use the web app\", \"agents\": [\"@staff\"], "
    "\"services\": [\"web-app\", \"wiki\"], \"protocols\": [\"tcp\", "
    "\"icmp\"], \"ports\": [80, \"8000-8010\"]},"
    "{\"name\": \"guests may print\", \"agents\": [\"spiffe://d.org/agent/*\"],"
    " \"services\": [\"printer\"], \"protocols\": [\"udp\"], \"until\": "
    "\"2026-12-31\"},"
    "{\"name\": \"and what they print\", \"agents\": "
    "[\"spiffe://d.org/agent/guest\"], \"services\": "
    "[\"printer\"], \"protocols\": [\"udp\"], \"ports\": [161]},"
    "{\"name\": \"nobody\", \"agents\": [\"@none\"], \"services\": [\"db\"]}],"
    "\"revoked\": [\"spiffe://d.org/agent/lost-*\"]}";

static struct policy *policy;

static int load(void **state) {
  struct policy_config cfg;
  struct sbuf out = {0};
  assert_int_equal(policy_file_parse(&cfg, "p", text, strlen(text), &out), 0);
  assert_int_equal(policy_file_make(&policy, &cfg, "p", &out), 0);
  policy_file_free(&cfg);
  return 0;
}

static int unload(void **state) {
  policy_free(policy);
  return 0;
}

static void says(int64_t now, const char *agent, const char *service,
                 unsigned protocol, uint16_t port, enum reason reason,
                 const char *want) {
  struct policy_answer a;
  policy_why(policy, now, agent, service, protocol, port, &a);
  assert_string_equal(a.text, want);
  assert_int_equal(a.reason, reason);
}

static void what_is_allowed_names_its_rule(void **state) {
  says(0, LAPTOP, "web-app", PROTO_TCP, 80, REASON_NONE,
       "rule 'staff may use the web app' allows it");
  says(0, LAPTOP, "web-app", PROTO_ICMP, 0, REASON_NONE,
       "rule 'staff may use the web app' allows it");
  says(0, LAPTOP, "printer", PROTO_UDP, 9, REASON_NONE,
       "rule 'guests may print' allows it, until 2026-12-31T00:00:00Z");
}

static void a_refusal_names_what_the_nearest_rule_lacks(void **state) {
  says(0, LAPTOP, "web-app", PROTO_TCP, 22, REASON_PORT_NOT_ALLOWED,
       "rule 'staff may use the web app' matches agent and service but not tcp "
       "port 22; it allows tcp 80, 8000-8010, and icmp");
  says(0, LAPTOP, "web-app", PROTO_UDP, 80, REASON_PORT_NOT_ALLOWED,
       "rule 'staff may use the web app' matches agent and service but not udp "
       "port 80; it allows tcp 80, 8000-8010, and icmp");
  says(0, LAPTOP, "printer", PROTO_ICMP, 0, REASON_PORT_NOT_ALLOWED,
       "rule 'guests may print' matches agent and service but not icmp; it "
       "allows udp on all ports");
  says(0, GUEST, "web-app", PROTO_TCP, 80, REASON_NOT_ALLOWED,
       "rule 'staff may use the web app' matches service and tcp port 80 but "
       "not agent; it is for spiffe://d.org/agent/laptop and "
       "spiffe://d.org/agent/desk-*");
  says(0, GUEST, "web-app", PROTO_UDP, 53, REASON_NOT_ALLOWED,
       "rule 'staff may use the web app' matches service but not agent and udp "
       "port 53; it is for spiffe://d.org/agent/laptop and "
       "spiffe://d.org/agent/desk-*; it allows tcp 80, 8000-8010, and icmp");
  says(0, LAPTOP, "git", PROTO_TCP, 80, REASON_NOT_ALLOWED,
       "rule 'staff may use the web app' matches agent and tcp port 80 but not "
       "service; it is about web-app and wiki");
  says(0, LAPTOP, "db", PROTO_TCP, 80, REASON_NOT_ALLOWED,
       "rule 'nobody' matches service and tcp port 80 but not agent; it is for "
       "nobody");
}

static void a_rule_that_has_ended_says_when(void **state) {
  says(INT64_C(1800000000), GUEST, "printer", PROTO_UDP, 9,
       REASON_PORT_NOT_ALLOWED, /* nearer than one for another port */
       "rule 'guests may print' matches agent, service and udp port 9 but it "
       "ended at 2026-12-31T00:00:00Z");
  says(INT64_C(1800000000), LAPTOP, "printer", PROTO_TCP, 9, REASON_NOT_ALLOWED,
       "rule 'guests may print' matches agent and service but not tcp port 9; "
       "it allows udp on all ports, and it ended at 2026-12-31T00:00:00Z");
}

static void nothing_near_is_said_as_well(void **state) {
  says(0, "spiffe://x.org/agent/a", "git", PROTO_TCP, 80, REASON_NOT_ALLOWED,
       "no rule is for this agent or about this service");
  struct policy_answer a;
  policy_why(NULL, 0, LAPTOP, "web-app", PROTO_TCP, 80, &a);
  assert_int_equal(a.reason, REASON_NOT_ALLOWED);
  assert_null(a.rule);
}

static void a_revocation_comes_before_all_rules(void **state) {
  says(0, "spiffe://d.org/agent/lost-3", "printer", PROTO_UDP, 9,
       REASON_REVOKED,
       "the agent is revoked, whatever rules say: 'spiffe://d.org/agent/lost-*'"
       " in \"revoked\"");
}

/* Whatever the file holds, the sentence fits. */
static void long_names_are_cut(void **state) {
  enum { LONG = 4000, MANY = 20 };
  char *name = calloc(1, LONG + 1), *v[MANY];
  struct policy_ports ports[40];
  struct policy *p;
  struct policy_answer a;
  char why[100];
  memset(name, 'x', LONG);
  for (int i = 0; i < MANY; i++) v[i] = name;
  for (uint16_t i = 0; i < 40; i++)
    ports[i] = (struct policy_ports){(uint16_t)(65000 + 2 * i),
                                     (uint16_t)(65000 + 2 * i)};
  struct policy_rule rule = {.name = name,
                             .agents = v,
                             .n_agents = MANY,
                             .services = (char *[]){"*"},
                             .n_services = 1,
                             .protocols = PROTO_TCP,
                             .ports = ports,
                             .n_ports = 40,
                             .until = 1};
  struct policy_config cfg = {.rules = &rule, .n_rules = 1};
  assert_int_equal(policy_new(&p, &cfg, why, sizeof(why)), 0);
  policy_why(p, 5, LAPTOP, "s", PROTO_TCP, 1, &a);
  assert_int_equal(a.reason, REASON_NOT_ALLOWED);
  assert_in_range(strlen(a.text), 500, POLICY_WHY_MAX - 1);
  assert_string_equal(a.rule, name);
  /* More ranges than a grant may have: the rest is denied, and it says so. */
  v[0] = "*";
  rule.until = 0;
  policy_free(p);
  assert_int_equal(policy_new(&p, &cfg, why, sizeof(why)), 0);
  policy_why(p, 5, LAPTOP, "s", PROTO_TCP, 65078, &a);
  assert_int_equal(a.reason, REASON_PORT_NOT_ALLOWED);
  assert_non_null(strstr(a.text, "more than 32 ranges"));
  policy_free(p);
  free(name);
}

static void permission_says(const char *agent, const char *service,
                            const char *want) {
  struct permission m;
  struct sbuf out = {0};
  policy_grant(policy, 0, agent, service, &m);
  permission_print(&m, &out);
  assert_string_equal(out.s, want);
  sbuf_done(&out);
}

static void permissions_are_printed(void **state) {
  permission_says(LAPTOP, "wiki", "tcp 80, 8000-8010; icmp");
  permission_says(LAPTOP, "printer", "udp");
  permission_says(LAPTOP, "db", "nothing");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_allowed_names_its_rule),
      cmocka_unit_test(a_refusal_names_what_the_nearest_rule_lacks),
      cmocka_unit_test(a_rule_that_has_ended_says_when),
      cmocka_unit_test(nothing_near_is_said_as_well),
      cmocka_unit_test(a_revocation_comes_before_all_rules),
      cmocka_unit_test(long_names_are_cut),
      cmocka_unit_test(permissions_are_printed),
  };
  return cmocka_run_group_tests(tests, load, unload);
}
