/* test_policy.c - who may use what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <ztna/err.h>

#include "base/glob.h"
#include "part/policy.h"

#define LAPTOP "spiffe://example.org/agent/laptop-7"
#define ALL (PROTO_TCP | PROTO_UDP | PROTO_ICMP)
#define LIST(...) \
  (char *[]){__VA_ARGS__}, sizeof((char *[]){__VA_ARGS__}) / sizeof(char *)
#define PORTS(...)                                   \
  (struct policy_ports[]){__VA_ARGS__},              \
      sizeof((struct policy_ports[]){__VA_ARGS__}) / \
          sizeof(struct policy_ports)

static char why[300];

static struct policy *make(struct policy_rule *rules, size_t n) {
  struct policy_config cfg = {.rules = rules, .n_rules = n};
  struct policy *p;
  assert_int_equal(policy_new(&p, &cfg, why, sizeof(why)), 0);
  assert_string_equal(why, "");
  return p;
}

static void glob_means_the_whole_text(void **state) {
  static const struct {
    const char *pattern, *text;
    bool match;
  } cases[] = {
      {"", "", true},
      {"", "a", false},
      {"*", "", true},
      {"*", "anything/at all", true},
      {"a", "a", true},
      {"a", "A", false},
      {"a", "ab", false},
      {"a*", "ab", true},
      {"a*", "a", true},
      {"*b", "ab", true},
      {"*b", "ba", false},
      {"a*b", "ab", true},
      {"a*b", "a", false},
      {"a*a", "a", false},
      {"ab*ba", "aba", false},
      {"a*b*c", "axxbyyc", true},
      {"a*b*c", "axxcyyb", false},
      {"**", "x", true},
      {"a**b", "ab", true},
      {"*ab*", "xxabyy", true},
      {"*aab", "aaab", true},
      {"a?c", "abc", false},
      {"[a]", "a", false},
      {"web-*-eu", "web-app-eu", true},
      {"web-*-eu", "web-eu", false},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
    if (glob_matches(cases[i].pattern, cases[i].text) != cases[i].match)
      fail_msg("\"%s\" \"%s\"", cases[i].pattern, cases[i].text);
}

static void a_hostile_glob_takes_no_time(void **state) {
  enum { N = 100000 };
  char *pattern = malloc(N + 1), *text = malloc(N + 1);
  for (int i = 0; i < N; i += 2) memcpy(pattern + i, "*a", 2);
  memcpy(pattern + N - 2, "*b", 2);
  memset(text, 'a', N);
  pattern[N] = text[N] = '\0';
  for (int i = 0; i < 100; i++) assert_false(glob_matches(pattern, text));
  free(pattern);
  free(text);
}

static void without_a_rule_nothing_is_allowed(void **state) {
  struct permission perm;
  assert_int_equal(policy_grant(NULL, LAPTOP, "web", &perm),
                   REASON_NOT_ALLOWED);
  assert_int_equal(perm.protocols, 0);
  struct policy *p = make(NULL, 0);
  assert_int_equal(policy_grant(p, LAPTOP, "web", &perm), REASON_NOT_ALLOWED);
  assert_int_equal(permission_check(&perm, PROTO_TCP, 80),
                   REASON_PORT_NOT_ALLOWED);
  policy_free(p);
}

static void a_rule_allows_what_it_names_and_nothing_else(void **state) {
  struct policy_rule rule = {"staff", LIST("spiffe://example.org/agent/*"),
                             LIST("web", "wiki"), PROTO_TCP | PROTO_ICMP,
                             PORTS({80, 80}, {8000, 8010})};
  struct policy *p = make(&rule, 1);
  struct permission m;
  assert_int_equal(policy_grant(p, LAPTOP, "web", &m), REASON_NONE);
  assert_string_equal(m.rule, "staff");
  assert_int_equal(permission_check(&m, PROTO_TCP, 80), REASON_NONE);
  assert_int_equal(permission_check(&m, PROTO_TCP, 8000), REASON_NONE);
  assert_int_equal(permission_check(&m, PROTO_TCP, 8010), REASON_NONE);
  assert_int_equal(permission_check(&m, PROTO_ICMP, 0), REASON_NONE);
  const uint16_t closed[] = {0, 79, 81, 7999, 8011, 65535};
  for (int i = 0; i < 6; i++)
    assert_int_equal(permission_check(&m, PROTO_TCP, closed[i]),
                     REASON_PORT_NOT_ALLOWED);
  assert_int_equal(permission_check(&m, PROTO_UDP, 80),
                   REASON_PORT_NOT_ALLOWED);
  assert_int_equal(policy_grant(p, LAPTOP, "wiki", &m), REASON_NONE);
  assert_int_equal(policy_grant(p, LAPTOP, "db", &m), REASON_NOT_ALLOWED);
  assert_int_equal(
      policy_grant(p, "spiffe://example.org/connector/x", "web", &m),
      REASON_NOT_ALLOWED);
  assert_int_equal(
      policy_grant(p, "spiffe://example.org.evil/agent/x", "web", &m),
      REASON_NOT_ALLOWED);
  policy_free(p);
}

static void a_rule_without_protocols_or_ports_means_all(void **state) {
  struct policy_rule rule = {.name = "all", LIST("*"), LIST("web-*")};
  struct policy *p = make(&rule, 1);
  struct permission m;
  assert_int_equal(policy_grant(p, LAPTOP, "web-app", &m), REASON_NONE);
  assert_int_equal(m.protocols, ALL);
  assert_int_equal(m.n_ranges, 0);
  assert_int_equal(permission_check(&m, PROTO_UDP, 1), REASON_NONE);
  assert_int_equal(permission_check(&m, PROTO_TCP, 65535), REASON_NONE);
  assert_int_equal(permission_check(&m, PROTO_ICMP, 0), REASON_NONE);
  assert_int_equal(policy_grant(p, LAPTOP, "db", &m), REASON_NOT_ALLOWED);
  policy_free(p);
}

static void rules_add_up_but_do_not_mix_their_protocols(void **state) {
  struct policy_rule rules[] = {
      {"other", LIST("spiffe://example.org/agent/other"), LIST("*"), ALL, NULL,
       0},
      {"tcp", LIST(LAPTOP), LIST("web"), PROTO_TCP, PORTS({80, 80})},
      {"udp", LIST(LAPTOP), LIST("*"), PROTO_UDP, PORTS({53, 53})},
      {"ping", LIST("*"), LIST("*"), PROTO_ICMP, NULL, 0},
  };
  struct policy *p = make(rules, 4);
  struct permission m;
  assert_int_equal(policy_grant(p, LAPTOP, "web", &m), REASON_NONE);
  assert_string_equal(m.rule, "tcp"); /* the first that matched */
  assert_int_equal(m.protocols, ALL);
  assert_int_equal(permission_check(&m, PROTO_TCP, 80), REASON_NONE);
  assert_int_equal(permission_check(&m, PROTO_UDP, 53), REASON_NONE);
  assert_int_equal(permission_check(&m, PROTO_TCP, 53),
                   REASON_PORT_NOT_ALLOWED);
  assert_int_equal(permission_check(&m, PROTO_UDP, 80),
                   REASON_PORT_NOT_ALLOWED);
  policy_free(p);
}

static void all_ports_of_one_protocol_open_none_of_another(void **state) {
  struct policy_rule rules[] = {
      {"tcp", LIST("*"), LIST("web"), PROTO_TCP, NULL, 0},
      {"udp", LIST("*"), LIST("web"), PROTO_UDP, PORTS({53, 53})},
  };
  struct policy *p = make(rules, 2);
  struct permission m;
  assert_int_equal(policy_grant(p, LAPTOP, "web", &m), REASON_NONE);
  assert_int_equal(permission_check(&m, PROTO_TCP, 22), REASON_NONE);
  assert_int_equal(permission_check(&m, PROTO_TCP, 65535), REASON_NONE);
  assert_int_equal(permission_check(&m, PROTO_UDP, 53), REASON_NONE);
  assert_int_equal(permission_check(&m, PROTO_UDP, 54),
                   REASON_PORT_NOT_ALLOWED);
  policy_free(p);
}

static void a_ping_rule_opens_no_port(void **state) {
  struct policy_rule rule = {"ping", LIST("*"), LIST("*"), PROTO_ICMP, NULL, 0};
  struct policy *p = make(&rule, 1);
  struct permission m;
  assert_int_equal(policy_grant(p, LAPTOP, "web", &m), REASON_NONE);
  assert_int_equal(permission_check(&m, PROTO_ICMP, 0), REASON_NONE);
  assert_int_equal(permission_check(&m, PROTO_TCP, 80),
                   REASON_PORT_NOT_ALLOWED);
  assert_int_equal(permission_check(&m, 0, 80), REASON_PORT_NOT_ALLOWED);
  policy_free(p);
}

static void grant(struct policy_rule *rules, size_t n, struct permission *m) {
  struct policy *p = make(rules, n);
  assert_int_equal(policy_grant(p, LAPTOP, "web", m), REASON_NONE);
  m->rule = NULL; /* goes with the policy */
  policy_free(p);
}

static void the_same_rights_written_differently_are_equal(void **state) {
  struct policy_rule one[] = {{"a", LIST("*"), LIST("*"), PROTO_TCP | PROTO_UDP,
                               PORTS({90, 99}, {10, 30})}};
  struct policy_rule other[] = {
      {"b", LIST("*"), LIST("*"), PROTO_UDP, PORTS({21, 30}, {90, 99})},
      {"c", LIST("*"), LIST("*"), PROTO_TCP,
       PORTS({10, 12}, {28, 30}, {12, 29}, {90, 98}, {99, 99})},
      {"d", LIST("*"), LIST("*"), PROTO_UDP, PORTS({10, 20}, {15, 16})},
  };
  struct permission a, b;
  grant(one, 1, &a);
  grant(other, 3, &b);
  assert_int_equal(a.n_ranges, 2);
  assert_true(permission_equal(&a, &b));
  grant(other, 2, &b);
  assert_false(permission_equal(&a, &b));
  one[0].protocols |= PROTO_ICMP;
  grant(one, 1, &b);
  assert_false(permission_equal(&a, &b));

  struct policy_rule whole[] = {
      {"e", LIST("*"), LIST("*"), PROTO_TCP, PORTS({1, 1000}, {1001, 65535})}};
  struct policy_rule free_[] = {
      {"f", LIST("*"), LIST("*"), PROTO_TCP, NULL, 0}};
  grant(whole, 1, &a);
  grant(free_, 1, &b);
  assert_true(permission_equal(&a, &b));
}

/* Against one bit per port, from random rules. */
static void a_union_of_ranges_is_what_the_rules_say(void **state) {
  enum { RULES = 6, SPACE = 200 };
  char *any[] = {"*"};
  srandom(1);
  for (int round = 0; round < 500; round++) {
    struct policy_rule rules[RULES];
    struct policy_ports ports[RULES][3];
    unsigned open[SPACE] = {0};
    for (int i = 0; i < RULES; i++) {
      unsigned protocols = 1u + (unsigned)random() % 7;
      rules[i] =
          (struct policy_rule){"r", any, 1, any, 1, protocols, ports[i], 3};
      for (int j = 0; j < 3; j++) {
        uint16_t first = (uint16_t)(1 + random() % (SPACE - 20));
        uint16_t last = (uint16_t)(first + random() % 12);
        ports[i][j] = (struct policy_ports){first, last};
        for (int port = first; port <= last; port++) open[port] |= protocols;
      }
    }
    struct permission m;
    grant(rules, RULES, &m);
    for (uint16_t port = 0; port < SPACE; port++)
      for (unsigned bit = PROTO_UDP; bit <= PROTO_TCP; bit *= 2)
        assert_int_equal(permission_check(&m, bit, port) == REASON_NONE,
                         (open[port] & bit) != 0);
  }
}

static void more_ranges_than_fit_are_denied(void **state) {
  struct policy_ports ports[100];
  for (uint16_t i = 0; i < 100; i++)
    ports[i] =
        (struct policy_ports){(uint16_t)(10 * i + 10), (uint16_t)(10 * i + 11)};
  struct policy_rule rules[] = {
      {"tcp", LIST("*"), LIST("*"), PROTO_TCP, ports, 100},
      {"udp", LIST("*"), LIST("*"), PROTO_UDP, ports + 50, 50}};
  struct permission m;
  grant(rules, 2, &m);
  assert_int_equal(m.n_ranges, GRANT_MAX_RANGES);
  int open = 0;
  for (unsigned port = 0; port <= UINT16_MAX; port++) {
    bool tcp = permission_check(&m, PROTO_TCP, (uint16_t)port) == REASON_NONE;
    bool in = port >= 10 && port < 1010 && port % 10 < 2;
    open += tcp;
    assert_true(in || !tcp);
  }
  assert_in_range(open, 2, 2 * GRANT_MAX_RANGES);
}

static void a_full_list_still_takes_what_joins_its_ranges(void **state) {
  struct policy_ports ports[GRANT_MAX_RANGES + 2];
  for (uint16_t i = 0; i < GRANT_MAX_RANGES; i++)
    ports[i] =
        (struct policy_ports){(uint16_t)(10 * i + 10), (uint16_t)(10 * i + 11)};
  ports[GRANT_MAX_RANGES] = (struct policy_ports){12, 19};
  ports[GRANT_MAX_RANGES + 1] = (struct policy_ports){5000, 5000};
  struct policy_rule rule = {"r",       LIST("*"), LIST("*"),
                             PROTO_TCP, ports,     GRANT_MAX_RANGES + 2};
  struct permission m;
  grant(&rule, 1, &m);
  assert_int_equal(m.n_ranges, GRANT_MAX_RANGES);
  assert_int_equal(permission_check(&m, PROTO_TCP, 15), REASON_NONE);
  assert_int_equal(permission_check(&m, PROTO_TCP, 5000), REASON_NONE);
}

static void other_ports_or_protocols_are_not_equal(void **state) {
  struct policy_rule rules[] = {
      {"a", LIST("*"), LIST("*"), PROTO_TCP, PORTS({80, 80})},
      {"b", LIST("*"), LIST("*"), PROTO_UDP, PORTS({53, 53})}};
  struct permission a, b;
  grant(rules, 2, &a);
  rules[1].ports[0] = (struct policy_ports){54, 54};
  grant(rules, 2, &b);
  assert_false(permission_equal(&a, &b));
  rules[0].protocols = PROTO_UDP;
  rules[1].protocols = PROTO_TCP;
  rules[1].ports[0] = (struct policy_ports){53, 53};
  grant(rules, 2, &b);
  assert_false(permission_equal(&a, &b));
}

static void the_policy_outlives_what_it_was_made_from(void **state) {
  char *agent = strdup("*"), *service = strdup("web"), *name = strdup("mine");
  struct policy_ports *port = malloc(sizeof(*port));
  *port = (struct policy_ports){80, 80};
  struct policy_rule rule = {name, &agent, 1, &service, 1, PROTO_TCP, port, 1};
  struct policy *p = make(&rule, 1);
  free(agent);
  free(service);
  free(name);
  free(port);
  struct permission m;
  assert_int_equal(policy_grant(p, LAPTOP, "web", &m), REASON_NONE);
  assert_string_equal(m.rule, "mine");
  assert_int_equal(permission_check(&m, PROTO_TCP, 80), REASON_NONE);
  policy_free(p);
}

static void a_policy_that_fails_its_own_test_is_refused(void **state) {
  struct policy_rule rule = {"web", LIST(LAPTOP), LIST("web"), PROTO_TCP,
                             PORTS({80, 80})};
  struct policy_test tests[] = {
      {LAPTOP, "web", PROTO_TCP, 80, REASON_NONE},
      {LAPTOP, "web", PROTO_TCP, 22, REASON_PORT_NOT_ALLOWED},
      {LAPTOP, "db", PROTO_TCP, 80, REASON_NOT_ALLOWED},
      {LAPTOP, "web", PROTO_ICMP, 0, REASON_NONE},
      {LAPTOP, "web", PROTO_TCP, 80, REASON_NOT_ALLOWED},
  };
  struct policy_config cfg = {&rule, 1, tests, 3};
  struct policy *p;
  assert_int_equal(policy_new(&p, &cfg, why, sizeof(why)), 0);
  policy_free(p);

  cfg.n_tests = 4;
  assert_int_equal(policy_new(&p, &cfg, why, sizeof(why)), ZTNA_ECONFIG);
  assert_null(p);
  assert_string_equal(why,
                      "test 4 failed: agent " LAPTOP ", service web, icmp port "
                      "0: expected allowed, got port-not-allowed (rule "
                      "\"web\")");
  cfg.tests = tests + 4;
  cfg.n_tests = 1;
  assert_int_equal(policy_new(&p, &cfg, why, sizeof(why)), ZTNA_ECONFIG);
  assert_non_null(strstr(why, "expected not-allowed, got allowed"));
  assert_int_equal(policy_new(&p, &cfg, why, 10), ZTNA_ECONFIG);
  assert_string_equal(why, "test 1 fa");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(glob_means_the_whole_text),
      cmocka_unit_test(a_hostile_glob_takes_no_time),
      cmocka_unit_test(without_a_rule_nothing_is_allowed),
      cmocka_unit_test(a_rule_allows_what_it_names_and_nothing_else),
      cmocka_unit_test(a_rule_without_protocols_or_ports_means_all),
      cmocka_unit_test(rules_add_up_but_do_not_mix_their_protocols),
      cmocka_unit_test(all_ports_of_one_protocol_open_none_of_another),
      cmocka_unit_test(a_ping_rule_opens_no_port),
      cmocka_unit_test(the_same_rights_written_differently_are_equal),
      cmocka_unit_test(a_union_of_ranges_is_what_the_rules_say),
      cmocka_unit_test(more_ranges_than_fit_are_denied),
      cmocka_unit_test(a_full_list_still_takes_what_joins_its_ranges),
      cmocka_unit_test(other_ports_or_protocols_are_not_equal),
      cmocka_unit_test(the_policy_outlives_what_it_was_made_from),
      cmocka_unit_test(a_policy_that_fails_its_own_test_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
