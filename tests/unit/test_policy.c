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
#include "base/hex.h"
#include "part/policy.h"

#define LAPTOP "spiffe://example.org/agent/laptop-7"
#define ALL (PROTO_TCP | PROTO_UDP | PROTO_ICMP)
#define LIST(...) \
  (char *[]){__VA_ARGS__}, sizeof((char *[]){__VA_ARGS__}) / sizeof(char *)
#define PORTS(...)                                   \
  (struct policy_ports[]){__VA_ARGS__},              \
      sizeof((struct policy_ports[]){__VA_ARGS__}) / \
          sizeof(struct policy_ports)

static char why[1000];

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
  assert_int_equal(policy_grant(NULL, 0, LAPTOP, "web", &perm),
                   REASON_NOT_ALLOWED);
  assert_int_equal(perm.protocols, 0);
  struct policy *p = make(NULL, 0);
  assert_int_equal(policy_grant(p, 0, LAPTOP, "web", &perm),
                   REASON_NOT_ALLOWED);
  assert_int_equal(permission_check(&perm, PROTO_TCP, 80),
                   REASON_PORT_NOT_ALLOWED);
  policy_free(p);
}

static void a_rule_allows_what_it_names_and_nothing_else(void **state) {
  struct policy_rule rule = {.name = "staff",
                             LIST("spiffe://example.org/agent/*"),
                             LIST("web", "wiki"),
                             PROTO_TCP | PROTO_ICMP,
                             PORTS({80, 80}, {8000, 8010})};
  struct policy *p = make(&rule, 1);
  struct permission m;
  assert_int_equal(policy_grant(p, 0, LAPTOP, "web", &m), REASON_NONE);
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
  assert_int_equal(policy_grant(p, 0, LAPTOP, "wiki", &m), REASON_NONE);
  assert_int_equal(policy_grant(p, 0, LAPTOP, "db", &m), REASON_NOT_ALLOWED);
  assert_int_equal(
      policy_grant(p, 0, "spiffe://example.org/connector/x", "web", &m),
      REASON_NOT_ALLOWED);
  assert_int_equal(
      policy_grant(p, 0, "spiffe://example.org.evil/agent/x", "web", &m),
      REASON_NOT_ALLOWED);
  policy_free(p);
}

static void a_rule_without_protocols_or_ports_means_all(void **state) {
  struct policy_rule rule = {.name = "all", LIST("*"), LIST("web-*")};
  struct policy *p = make(&rule, 1);
  struct permission m;
  assert_int_equal(policy_grant(p, 0, LAPTOP, "web-app", &m), REASON_NONE);
  assert_int_equal(m.protocols, ALL);
  assert_int_equal(m.n_ranges, 0);
  assert_int_equal(permission_check(&m, PROTO_UDP, 1), REASON_NONE);
  assert_int_equal(permission_check(&m, PROTO_TCP, 65535), REASON_NONE);
  assert_int_equal(permission_check(&m, PROTO_ICMP, 0), REASON_NONE);
  assert_int_equal(policy_grant(p, 0, LAPTOP, "db", &m), REASON_NOT_ALLOWED);
  policy_free(p);
}

static void rules_add_up_but_do_not_mix_their_protocols(void **state) {
  struct policy_rule rules[] = {
      {.name = "other",
       LIST("spiffe://example.org/agent/other"),
       LIST("*"),
       ALL,
       NULL,
       0},
      {.name = "tcp", LIST(LAPTOP), LIST("web"), PROTO_TCP, PORTS({80, 80})},
      {.name = "udp", LIST(LAPTOP), LIST("*"), PROTO_UDP, PORTS({53, 53})},
      {.name = "ping", LIST("*"), LIST("*"), PROTO_ICMP, NULL, 0},
  };
  struct policy *p = make(rules, 4);
  struct permission m;
  assert_int_equal(policy_grant(p, 0, LAPTOP, "web", &m), REASON_NONE);
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
      {.name = "tcp", LIST("*"), LIST("web"), PROTO_TCP, NULL, 0},
      {.name = "udp", LIST("*"), LIST("web"), PROTO_UDP, PORTS({53, 53})},
  };
  struct policy *p = make(rules, 2);
  struct permission m;
  assert_int_equal(policy_grant(p, 0, LAPTOP, "web", &m), REASON_NONE);
  assert_int_equal(permission_check(&m, PROTO_TCP, 22), REASON_NONE);
  assert_int_equal(permission_check(&m, PROTO_TCP, 65535), REASON_NONE);
  assert_int_equal(permission_check(&m, PROTO_UDP, 53), REASON_NONE);
  assert_int_equal(permission_check(&m, PROTO_UDP, 54),
                   REASON_PORT_NOT_ALLOWED);
  policy_free(p);
}

static void a_ping_rule_opens_no_port(void **state) {
  struct policy_rule rule = {
      .name = "ping", LIST("*"), LIST("*"), PROTO_ICMP, NULL, 0};
  struct policy *p = make(&rule, 1);
  struct permission m;
  assert_int_equal(policy_grant(p, 0, LAPTOP, "web", &m), REASON_NONE);
  assert_int_equal(permission_check(&m, PROTO_ICMP, 0), REASON_NONE);
  assert_int_equal(permission_check(&m, PROTO_TCP, 80),
                   REASON_PORT_NOT_ALLOWED);
  assert_int_equal(permission_check(&m, 0, 80), REASON_PORT_NOT_ALLOWED);
  policy_free(p);
}

static void grant(struct policy_rule *rules, size_t n, struct permission *m) {
  struct policy *p = make(rules, n);
  assert_int_equal(policy_grant(p, 0, LAPTOP, "web", m), REASON_NONE);
  m->rule = NULL; /* goes with the policy */
  policy_free(p);
}

static void the_same_rights_written_differently_are_equal(void **state) {
  struct policy_rule one[] = {{.name = "a",
                               LIST("*"),
                               LIST("*"),
                               PROTO_TCP | PROTO_UDP,
                               PORTS({90, 99}, {10, 30})}};
  struct policy_rule other[] = {
      {.name = "b", LIST("*"), LIST("*"), PROTO_UDP, PORTS({21, 30}, {90, 99})},
      {.name = "c",
       LIST("*"),
       LIST("*"),
       PROTO_TCP,
       PORTS({10, 12}, {28, 30}, {12, 29}, {90, 98}, {99, 99})},
      {.name = "d", LIST("*"), LIST("*"), PROTO_UDP, PORTS({10, 20}, {15, 16})},
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

  struct policy_rule whole[] = {{.name = "e",
                                 LIST("*"),
                                 LIST("*"),
                                 PROTO_TCP,
                                 PORTS({1, 1000}, {1001, 65535})}};
  struct policy_rule free_[] = {
      {.name = "f", LIST("*"), LIST("*"), PROTO_TCP, NULL, 0}};
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
      rules[i] = (struct policy_rule){
          .name = "r", any, 1, any, 1, protocols, ports[i], 3};
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
      {.name = "tcp", LIST("*"), LIST("*"), PROTO_TCP, ports, 100},
      {.name = "udp", LIST("*"), LIST("*"), PROTO_UDP, ports + 50, 50}};
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
  struct policy_rule rule = {.name = "r",
                             LIST("*"),
                             LIST("*"),
                             PROTO_TCP,
                             ports,
                             GRANT_MAX_RANGES + 2};
  struct permission m;
  grant(&rule, 1, &m);
  assert_int_equal(m.n_ranges, GRANT_MAX_RANGES);
  assert_int_equal(permission_check(&m, PROTO_TCP, 15), REASON_NONE);
  assert_int_equal(permission_check(&m, PROTO_TCP, 5000), REASON_NONE);
}

static void other_ports_or_protocols_are_not_equal(void **state) {
  struct policy_rule rules[] = {
      {.name = "a", LIST("*"), LIST("*"), PROTO_TCP, PORTS({80, 80})},
      {.name = "b", LIST("*"), LIST("*"), PROTO_UDP, PORTS({53, 53})}};
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
  struct policy_rule rule = {
      .name = name, &agent, 1, &service, 1, PROTO_TCP, port, 1};
  struct policy *p = make(&rule, 1);
  free(agent);
  free(service);
  free(name);
  free(port);
  struct permission m;
  assert_int_equal(policy_grant(p, 0, LAPTOP, "web", &m), REASON_NONE);
  assert_string_equal(m.rule, "mine");
  assert_int_equal(permission_check(&m, PROTO_TCP, 80), REASON_NONE);
  policy_free(p);
}

static void a_policy_that_fails_its_own_test_is_refused(void **state) {
  struct policy_rule rule = {
      .name = "web", LIST(LAPTOP), LIST("web"), PROTO_TCP, PORTS({80, 80})};
  struct policy_test tests[] = {
      {.agent = LAPTOP, "web", PROTO_TCP, 80, REASON_NONE},
      {.agent = LAPTOP, "web", PROTO_TCP, 22, REASON_PORT_NOT_ALLOWED},
      {.agent = LAPTOP, "db", PROTO_TCP, 80, REASON_NOT_ALLOWED},
      {.agent = LAPTOP, "web", PROTO_ICMP, 0, REASON_NONE},
      {.agent = LAPTOP, "web", PROTO_TCP, 80, REASON_NOT_ALLOWED},
  };
  struct policy_config cfg = {
      .rules = &rule, .n_rules = 1, .tests = tests, .n_tests = 3};
  struct policy *p;
  assert_int_equal(policy_new(&p, &cfg, why, sizeof(why)), 0);
  policy_free(p);

  cfg.n_tests = 4;
  assert_int_equal(policy_new(&p, &cfg, why, sizeof(why)), ZTNA_ECONFIG);
  assert_null(p);
  assert_string_equal(why,
                      "test 4 failed: agent " LAPTOP ", service web, icmp port "
                      "0: expected allowed, got port-not-allowed: rule 'web' "
                      "matches agent and service but not icmp; it allows tcp "
                      "80");
  cfg.tests = tests + 4;
  cfg.n_tests = 1;
  assert_int_equal(policy_new(&p, &cfg, why, sizeof(why)), ZTNA_ECONFIG);
  assert_non_null(strstr(why, "expected not-allowed, got allowed"));
  assert_int_equal(policy_new(&p, &cfg, why, 10), ZTNA_ECONFIG);
  assert_string_equal(why, "test 1 fa");
}

/* --- until */

static void a_rule_allows_until_its_end(void **state) {
  struct policy_rule rules[] = {
      {.name = "guests", LIST("*"), LIST("web"), PROTO_TCP, .until = 2000},
      {.name = "ping", LIST("*"), LIST("*"), PROTO_ICMP, .until = 3000},
      {.name = "ever", LIST("*"), LIST("wiki"), PROTO_TCP}};
  struct policy *p = make(rules, 3);
  struct permission m;
  assert_int_equal(policy_grant(p, 1999, LAPTOP, "web", &m), REASON_NONE);
  assert_int_equal(m.protocols, PROTO_TCP | PROTO_ICMP);
  assert_string_equal(m.rule, "guests");
  assert_int_equal(policy_grant(p, 2000, LAPTOP, "web", &m), REASON_NONE);
  assert_int_equal(m.protocols, PROTO_ICMP);
  assert_string_equal(m.rule, "ping");
  assert_int_equal(policy_grant(p, 3000, LAPTOP, "web", &m),
                   REASON_NOT_ALLOWED);
  assert_int_equal(policy_grant(p, 3000, LAPTOP, "wiki", &m), REASON_NONE);
  policy_free(p);
}

static void the_next_end_of_a_rule_is_known(void **state) {
  struct policy_rule rules[] = {
      {.name = "a", LIST("*"), LIST("*"), PROTO_TCP, .until = 3000},
      {.name = "b", LIST("*"), LIST("*"), PROTO_TCP},
      {.name = "c", LIST("*"), LIST("*"), PROTO_TCP, .until = 2000}};
  struct policy *p = make(rules, 3);
  assert_int_equal(policy_next_end(p, 0), 2000);
  assert_int_equal(policy_next_end(p, 1999), 2000);
  assert_int_equal(policy_next_end(p, 2000), 3000);
  assert_true(policy_next_end(p, 3000) == POLICY_NEVER);
  assert_true(policy_next_end(NULL, 0) == POLICY_NEVER);
  policy_free(p);
}

/* Else a relay would not start any more on the day after. */
static void time_alone_makes_no_test_fail(void **state) {
  struct policy_rule rule = {
      .name = "old", LIST("*"), LIST("web"), PROTO_TCP, .until = 1};
  struct policy_test tests[] = {
      {.agent = LAPTOP, "web", PROTO_TCP, 80, REASON_NONE},
      {.agent = LAPTOP, "web", PROTO_TCP, 80, REASON_NOT_ALLOWED, .at = 1}};
  struct policy_config cfg = {
      .rules = &rule, .n_rules = 1, .tests = tests, .n_tests = 2};
  struct policy *p;
  assert_int_equal(policy_new(&p, &cfg, why, sizeof(why)), 0);
  policy_free(p);
}

/* --- limits */

static void the_least_limit_of_all_rules_holds(void **state) {
  struct policy_rule rules[] = {
      {.name = "a", LIST("*"), LIST("*"), PROTO_TCP, .limits = {5, 900}},
      {.name = "b", LIST("*"), LIST("web"), PROTO_UDP, .limits = {3, 0}},
      {.name = "c", LIST("*"), LIST("web"), PROTO_ICMP, .limits = {4, 700}},
      {.name = "d", LIST("*"), LIST("*"), PROTO_ICMP}};
  struct policy *p = make(rules, 4);
  struct permission m;
  assert_int_equal(policy_grant(p, 0, LAPTOP, "web", &m), REASON_NONE);
  assert_int_equal(m.limits.rate, 700);
  assert_int_equal(m.limits.routes, 3);
  assert_string_equal(m.routes_rule, "b");
  assert_int_equal(policy_grant(p, 0, LAPTOP, "wiki", &m), REASON_NONE);
  assert_int_equal(m.limits.rate, 900);
  assert_string_equal(m.routes_rule, "a");
  policy_free(p);
}

static void another_rate_is_another_permission(void **state) {
  struct policy_rule rule = {
      .name = "a", LIST("*"), LIST("*"), PROTO_TCP, .limits = {.rate = 1}};
  struct permission a, b;
  grant(&rule, 1, &a);
  grant(&rule, 1, &b);
  assert_true(permission_equal(&a, &b));
  rule.limits.rate = 2;
  grant(&rule, 1, &b);
  assert_false(permission_equal(&a, &b));
}

/* --- revoked */

static void who_is_revoked_is_refused_whatever_rules_say(void **state) {
  struct policy_rule rule = {.name = "all", LIST("*"), LIST("*"), ALL};
  char *revoked[] = {"spiffe://example.org/agent/lost-*", "5F:0a:91"};
  struct policy_config cfg = {
      .rules = &rule, .n_rules = 1, .revoked = revoked, .n_revoked = 2};
  const uint8_t number[] = {0, 0x5f, 0x0a, 0x91};
  struct policy_serial serial = policy_serial_of(number, 4), none = {.len = 0};
  struct permission m;
  struct policy *p;
  assert_int_equal(policy_new(&p, &cfg, why, sizeof(why)), 0);
  assert_int_equal(policy_grant(p, 0, LAPTOP, "web", &m), REASON_NONE);
  assert_int_equal(
      policy_grant(p, 0, "spiffe://example.org/agent/lost-1", "web", &m),
      REASON_REVOKED);
  assert_int_equal(m.protocols, 0);
  assert_true(policy_revokes(p, "spiffe://example.org/agent/lost-2", NULL));
  assert_true(policy_revokes(p, LAPTOP, &serial));
  serial.bytes[0] ^= 1;
  assert_false(policy_revokes(p, LAPTOP, &serial));
  assert_false(policy_revokes(p, LAPTOP, &none));
  assert_false(policy_revokes(p, LAPTOP, NULL));
  assert_false(policy_revokes(NULL, LAPTOP, &serial));
  policy_free(p);

  revoked[1] = "laptop-7";
  assert_int_equal(policy_new(&p, &cfg, why, sizeof(why)), ZTNA_ECONFIG);
  assert_non_null(strstr(why, "laptop-7"));
  assert_null(p);
}

static void a_serial_number_is_read_as_people_write_it(void **state) {
  static const struct {
    const char *text;
    const char *hex; /* NULL: refused */
  } cases[] = {
      {"5f0a91", "5f0a91"},
      {"5F:0A:91", "5f0a91"},
      {"005f0a91", "5f0a91"},
      {"00:5f:0a:91", "5f0a91"},
      {"a91", "0a91"},
      {"0123456789012345678901234567890123456789",
       "0123456789012345678901234567890123456789"},
      {"01234567890123456789012345678901234567890123456789012345678901234",
       NULL},
      {"", NULL},
      {"0", NULL},
      {"00", NULL},
      {"5f:0", NULL},
      {"5f:", NULL},
      {":5f", NULL},
      {"5:f0", NULL},
      {"5f::0a", NULL},
      {"5f0a:91", NULL},
      {"5g", NULL},
      {"0x5f", NULL},
      {"spiffe://x", NULL},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    struct policy_serial s;
    char hex[2 * POLICY_SERIAL_MAX + 1];
    bool ok = policy_serial_parse(&s, cases[i].text);
    if (ok != (cases[i].hex != NULL)) fail_msg("%s", cases[i].text);
    if (ok) assert_string_equal(hex_print(s.bytes, s.len, hex), cases[i].hex);
  }
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
      cmocka_unit_test(a_rule_allows_until_its_end),
      cmocka_unit_test(the_next_end_of_a_rule_is_known),
      cmocka_unit_test(time_alone_makes_no_test_fail),
      cmocka_unit_test(the_least_limit_of_all_rules_holds),
      cmocka_unit_test(another_rate_is_another_permission),
      cmocka_unit_test(who_is_revoked_is_refused_whatever_rules_say),
      cmocka_unit_test(a_serial_number_is_read_as_people_write_it),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
