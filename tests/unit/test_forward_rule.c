/* test_forward_rule.c - "127.0.0.1:8080=web-app:80" as people write it, and
 * when a configuration has a TUN beside it. */
#include "unit/unit.h"

#include "host/config.h"
#include "host/forward_rule.h"

static void assert_rule(const char *text, const char *at, bool udp,
                        const char *service, uint16_t port) {
  struct forward_rule r;
  struct ztna_addr a = test_addr(at);

  assert_int_equal(forward_rule_parse(&r, text), 0);
  assert_true(ztna_addr_equal(&r.at, &a));
  assert_int_equal(r.udp, udp);
  assert_string_equal(r.service, service);
  assert_int_equal(r.port, port);
  assert_null(forward_rule_check(text));
}

static void rules_are_read(void **state) {
  assert_rule("127.0.0.1:8080=web-app:80", "127.0.0.1:8080", false, "web-app",
              80);
  assert_rule("8080=web-app:80", "127.0.0.1:8080", false, "web-app", 80);
  assert_rule("5353/udp=dns:53", "127.0.0.1:5353", true, "dns", 53);
  assert_rule("[::1]:53/udp=dns.v2:53", "[::1]:53", true, "dns.v2", 53);
  assert_rule("22/tcp=a_b-1:22", "127.0.0.1:22", false, "a_b-1", 22);
  assert_rule("1=10.100.0.2:65535", "127.0.0.1:1", false, "10.100.0.2", 65535);
  assert_rule("1=[fd5a:10::2]:80", "127.0.0.1:1", false, "fd5a:10::2", 80);
}

static void mistakes_are_told(void **state) {
  static const char *const wrong[] = {
      "",
      "8080",
      "=web:80",
      "8080=",
      "8080=web",
      "8080=:80",
      "8080=web:",
      "8080=web:0",
      "8080=web:65536",
      "8080=web:80x",
      "0=web:80",
      "65536=web:80",
      "-1=web:80",
      "127.0.0.1=web:80",
      "localhost:80=web:80",
      "::1:80=web:80",
      "8080/sctp=web:80",
      "/udp=web:80",
      "8080=Web:80",
      "8080=we b:80",
      "8080=-web:80",
      "8080=[web]:80",
      "8080=[fd5a::1%3]:80",
      "8080=[]:80",
      "8080=fd5a:10::2:80",
      "8080=a=b:80",
  };
  struct forward_rule r;
  char longer[100];

  for (size_t i = 0; i < N_OF(wrong); i++) {
    if (forward_rule_parse(&r, wrong[i]) == 0) fail_msg("\"%s\"", wrong[i]);
    assert_non_null(forward_rule_check(wrong[i]));
  }
  snprintf(longer, sizeof(longer), "1=%064d:80", 1);
  assert_true(forward_rule_parse(&r, longer) < 0);
  snprintf(longer, sizeof(longer), "1=%063d:80", 1);
  assert_int_equal(forward_rule_parse(&r, longer), 0);
}

/* --- the configuration */

static const char *tun_of(const char *agent, struct flags *flags) {
  static char tun[20];
  struct config c = {0};
  struct sbuf out;
  char text[300];

  sbuf_init(&out, 0);
  snprintf(text, sizeof(text),
           "{\"identity\": {\"cert\": \"c\", \"key\": \"k\", \"ca\": \"a\"},"
           " \"agent\": {\"relays\": [\"relay:4433\"]%s}}",
           agent);
  if (config_parse(&c, "agent.json", text, strlen(text),
                   CONFIG_AGENT | CONFIG_NO_FILES, flags, &out) < 0)
    fail_msg("%s", out.s);
  snprintf(tun, sizeof(tun), "%s", c.agent.tun ? c.agent.tun : "none");
  config_free(&c);
  sbuf_done(&out);
  return tun;
}

static void ports_take_the_place_of_a_device_nobody_asked_for(void **state) {
  assert_string_equal(tun_of("", NULL), "ztna0");
  assert_string_equal(tun_of(", \"forward\": [\"80=web:80\"]", NULL), "none");
  assert_string_equal(tun_of(", \"socks5\": \"127.0.0.1:1080\"", NULL), "none");
  assert_string_equal(
      tun_of(", \"tun\": \"t1\", \"forward\": [\"80=web:80\"]", NULL), "t1");
  assert_string_equal(tun_of(", \"forward\": []", NULL), "ztna0");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(rules_are_read),
      TEST(mistakes_are_told),
      TEST(ports_take_the_place_of_a_device_nobody_asked_for),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
