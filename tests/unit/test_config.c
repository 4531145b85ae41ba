/* The configuration: what CLI.md shows loads, and each mistake is told with its
 * line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include <ztna/err.h>

#include "host/config.h"
#include "host/policy_file.h"

/* As in CLI.md. */
static const char example[] =
    "{\n"
    "  \"identity\": {\"cert\": \"relay-eu1.pem\", \"key\": \"relay-eu1.key\", "
    "\"ca\": \"ca.pem\"},\n"
    "  \"log\": {\"level\": \"info\", \"format\": \"text\"},\n"
    "  \"http\": {\"listen\": \"127.0.0.1:9090\"},\n"
    "  \"state_dir\": \"state\",\n"
    "\n"
    "  \"relay\": {\n"
    "    \"listen\": [\"0.0.0.0:4433\", \"[::]:4433\"],\n"
    "    \"service_pool\": [\"10.100.0.0/24\", \"fd5a:10::/64\"],\n"
    "    \"agent_pool\": [\"100.64.0.0/16\", \"fd5a:64::/64\"],\n"
    "    \"services\": {\"web-app\": {\"virtual_ips\": [\"10.100.0.2\"]}},\n"
    "    \"policy\": \"policy.json\",\n"
    "    \"retry\": \"auto\"\n"
    "  },\n"
    "\n"
    "  \"connector\": {\n"
    "    \"relays\": [\"relay.example.org:4433\"],\n"
    "    \"services\": [\n"
    "      {\"id\": \"echo-service\", \"backends\": [{\"protocol\": \"udp\", "
    "\"port\": 9999, \"to\": \"127.0.0.1:9999\"}]},\n"
    "      {\"id\": \"web-app\", \"backends\": [{\"protocol\": \"tcp\", "
    "\"port\": 80, \"to\": \"127.0.0.1:8080\"}],\n"
    "       \"check\": {\"type\": \"http\", \"path\": \"/\", \"every\": "
    "\"5s\", \"fail_after\": 3}}\n"
    "    ]\n"
    "  },\n"
    "\n"
    "  \"agent\": {\n"
    "    \"relays\": [\"relay.example.org:4433\"],\n"
    "    \"services\": [\"*\"],\n"
    "    \"networks\": [\"10.100.0.0/16\", \"fd5a:10::/32\", "
    "\"100.64.0.0/10\", \"fd5a:64::/32\"],\n"
    "    \"tun\": \"ztna0\"\n"
    "  }\n"
    "}\n";

static const char example_policy[] =
    "{\"groups\": {\"staff\": [\"spiffe://example.org/agent/*\"]},\n"
    " \"rules\": [{\"name\": \"staff may use the web app\", \"agents\": "
    "[\"@staff\"], \"services\": [\"web-app\"], \"protocols\": [\"tcp\", "
    "\"icmp\"], \"ports\": [80]}],\n"
    " \"tests\": [{\"agent\": \"spiffe://example.org/agent/laptop-7\", "
    "\"service\": \"web-app\", \"protocol\": \"tcp\", \"port\": 22, "
    "\"expect\": \"port-not-allowed\"}]}\n";

static char said[8192];

static int parse(struct config *c, const char *text, unsigned want) {
  struct sbuf out;
  sbuf_init(&out, 0);
  int rc = config_parse(c, "etc/c.json", text, strlen(text), want, NULL, &out);
  snprintf(said, sizeof(said), "%s", out.len ? out.s : "");
  sbuf_done(&out);
  return rc;
}

/* The text's only mistake is this line. */
static void says(const char *text, const char *want) {
  struct config c;
  char line[700];
  int rc = parse(&c, text, CONFIG_PRESENT | CONFIG_NO_FILES);
  snprintf(line, sizeof(line), "etc/c.json%s\n", want);
  assert_string_equal(said, line);
  assert_int_equal(rc, ZTNA_ECONFIG);
  assert_int_equal(c.roles, 0);
}

/* A connector with one service, which begins on line 2. */
static void service_says(const char *service, const char *want) {
  char text[1024];
  snprintf(text, sizeof(text),
           "{\"connector\": {\"relays\": [\"r:1\"], \"services\": [\n%s]}}",
           service);
  says(text, want);
}

static void relay_says(const char *members, const char *want) {
  char text[1024];
  snprintf(text, sizeof(text), "{\"relay\": {\n%s}}", members);
  says(text, want);
}

static void agent_says(const char *members, const char *want) {
  char text[1024];
  snprintf(text, sizeof(text), "{\"agent\": {\"relays\": [\"r:1\"],\n%s}}",
           members);
  says(text, want);
}

/* --- what loads */

static void the_documented_example_loads(void **state) {
  struct config c;
  assert_int_equal(parse(&c, example, CONFIG_PRESENT | CONFIG_NO_FILES), 0);
  assert_string_equal(said, "");
  assert_int_equal(c.roles, CONFIG_RELAY | CONFIG_CONNECTOR | CONFIG_AGENT);
  assert_string_equal(c.identity.key, "etc/relay-eu1.key");
  assert_string_equal(c.state_dir, "etc/state");
  assert_int_equal(c.log.level, LOG_LEVEL_INFO);
  assert_int_equal(c.log.format, LOGGER_TEXT);
  assert_int_equal(c.http.listen.port, 9090);
  assert_int_equal(c.relay.n_listen, 2);
  assert_int_equal(c.relay.listen[1].family, 6);
  assert_int_equal(c.relay.service_pool[0].bits, 24);
  assert_string_equal(c.relay.services[0].id, "web-app");
  assert_int_equal(c.relay.services[0].virtual_ips[0].ip[3], 2);
  assert_string_equal(c.relay.policy, "etc/policy.json");
  assert_int_equal(c.relay.retry, RETRY_AUTO);
  assert_int_equal(c.connector.n_services, 2);
  const struct service_config *s = &c.connector.services[1];
  assert_string_equal(s->id, "web-app");
  assert_int_equal(s->backends[0].protocol, PROTO_TCP);
  assert_int_equal(s->backends[0].port, 80);
  assert_string_equal(s->backends[0].to, "127.0.0.1:8080");
  assert_int_equal(s->check.type, CHECK_HTTP);
  assert_int_equal(s->check.every, 5 * SEC);
  assert_int_equal(s->check.timeout, 2 * SEC);
  assert_int_equal(s->check.fail_after, 3);
  assert_int_equal(c.connector.services[0].check.type, CHECK_NONE);
  assert_int_equal(c.agent.n_networks, 4);
  assert_string_equal(c.agent.tun, "ztna0");
  config_free(&c);
}

static void what_is_not_written_has_its_default(void **state) {
  struct config c;
  assert_int_equal(parse(&c, "{\"agent\": {\"relays\": [\"r:1\"]}}",
                         CONFIG_AGENT | CONFIG_NO_FILES),
                   0);
  assert_int_equal(c.roles, CONFIG_AGENT);
  assert_int_equal(c.agent.mtu, 1280);
  assert_int_equal(c.agent.n_networks, 4);
  assert_string_equal(c.agent.services[0], "*");
  assert_int_equal(c.http.listen.family, 0);
  config_free(&c);
}

static void a_short_backend_is_the_same_as_a_long_one(void **state) {
  struct config c;
  static const char text[] =
      "{\"connector\": {\"relays\": [\"r:1\"], \"services\": ["
      "{\"id\": \"a\", \"backend\": \"127.0.0.1:9999\", \"protocol\": \"udp\"},"
      "{\"id\": \"b\", \"backend\": \"::1\", \"protocol\": \"icmp\"},"
      "{\"id\": \"c\", \"backends\": [{\"protocol\": \"tcp\", \"to\": "
      "\"h:80\"}]}]}}";
  assert_int_equal(parse(&c, text, CONFIG_CONNECTOR | CONFIG_NO_FILES), 0);
  const struct service_config *s = c.connector.services;
  assert_int_equal(s[0].n_backends, 1);
  assert_int_equal(s[0].backends[0].protocol, PROTO_UDP);
  assert_int_equal(s[0].backends[0].port, 9999);
  assert_string_equal(s[0].backends[0].to, "127.0.0.1:9999");
  assert_int_equal(s[1].backends[0].protocol, PROTO_ICMP);
  assert_int_equal(s[1].backends[0].port, 0);
  assert_int_equal(s[2].backends[0].port, 80);
  config_free(&c);
}

static void a_connector_has_its_limits_for_tcp(void **state) {
  struct config c;
  static const char text[] =
      "{\"connector\": {\"relays\": [\"r:1\"], \"max_tcp_flows\": 100, "
      "\"connect_timeout\": \"2s\", \"services\": ["
      "{\"id\": \"a\", \"backend\": \"h:1\", \"protocol\": \"tcp\", "
      "\"proxy_protocol\": true},"
      "{\"id\": \"b\", \"backends\": ["
      "{\"protocol\": \"tcp\", \"to\": \"h:80\"},"
      "{\"protocol\": \"tcp\", \"to\": \"h:81\", \"proxy_protocol\": "
      "true}]}]}}";
  assert_int_equal(parse(&c, text, CONFIG_CONNECTOR | CONFIG_NO_FILES), 0);
  assert_int_equal(c.connector.max_tcp_flows, 100);
  assert_int_equal(c.connector.max_tcp_flows_per_agent, 1024);
  assert_int_equal(c.connector.max_buffered, 256 << 20);
  assert_int_equal(c.connector.connect_timeout, 2 * SEC);
  assert_true(c.connector.services[0].backends[0].proxy_protocol);
  assert_false(c.connector.services[1].backends[0].proxy_protocol);
  assert_true(c.connector.services[1].backends[1].proxy_protocol);
  config_free(&c);
}

static void a_role_that_is_asked_for_must_be_there(void **state) {
  struct config c;
  assert_int_equal(parse(&c, "{\"agent\": {\"relays\": [\"r:1\"]}}",
                         CONFIG_RELAY | CONFIG_NO_FILES),
                   ZTNA_ECONFIG);
  assert_string_equal(said, "etc/c.json: has no section \"relay\", which `ztna "
                            "relay` needs; it has \"agent\"\n");
  says("{}",
       ": has no section \"relay\", \"connector\", \"agent\" or \"enroll\"");
}

static void flags_come_before_variables_before_the_file(void **state) {
  static const char text[] =
      "{\"log\": {\"level\": \"err\"}, \"http\": {\"listen\": "
      "\"127.0.0.1:1\"}, \"relay\": {\"listen\": [\"1.1.1.1:1\"], "
      "\"max_routes\": 1, \"retry\": \"never\"}}";
  char *argv[] = {"--listen", "3.3.3.3:3", "--http-listen=127.0.0.1:3"};
  struct flags f = {.n_groups = 0};
  struct config c;
  struct sbuf out;
  char why[200];
  sbuf_init(&out, 0);
  f.n_groups = config_groups(f.groups, CONFIG_RELAY);
  assert_int_equal(flags_parse(&f, 3, argv, why, sizeof(why)), 0);
  setenv("ZTNA_RELAY_LISTEN", "2.2.2.2:2,2.2.2.2:3", 1);
  setenv("ZTNA_RELAY_MAX_ROUTES", "2", 1);
  setenv("ZTNA_LOG_LEVEL", "debug", 1);
  setenv("ZTNA_AGENT_MTU", "1", 1); /* of no concern here */
  int rc = config_parse(&c, "c.json", text, strlen(text),
                        CONFIG_RELAY | CONFIG_NO_FILES, &f, &out);
  setenv("ZTNA_RELAY_MAX_ROUTES", "0", 1);
  unsetenv("ZTNA_AGENT_MTU");
  assert_int_equal(rc, 0);
  assert_int_equal(c.relay.n_listen, 1);
  assert_int_equal(c.relay.listen[0].port, 3);
  assert_int_equal(c.http.listen.port, 3);
  assert_int_equal(c.relay.max_routes, 2);
  assert_int_equal(c.log.level, LOG_LEVEL_DEBUG);
  assert_int_equal(c.relay.retry, RETRY_NEVER);
  config_free(&c);
  assert_int_equal(parse(&c, text, CONFIG_RELAY | CONFIG_NO_FILES),
                   ZTNA_ECONFIG);
  assert_string_equal(said, "ZTNA_RELAY_MAX_ROUTES: want an integer from 1 to "
                            "10000000, got \"0\"\n");
  unsetenv("ZTNA_RELAY_LISTEN");
  unsetenv("ZTNA_RELAY_MAX_ROUTES");
  unsetenv("ZTNA_LOG_LEVEL");
  sbuf_done(&out);
}

static void a_role_needs_no_file(void **state) {
  char *argv[] = {"--relays", "r:1", "--tun", "t0", "--state-dir", "here"};
  struct flags f = {.n_groups = 0};
  struct config c;
  struct sbuf out;
  char why[200];
  sbuf_init(&out, 0);
  f.n_groups = config_groups(f.groups, CONFIG_AGENT);
  assert_int_equal(flags_parse(&f, 6, argv, why, sizeof(why)), 0);
  assert_int_equal(
      config_parse(&c, NULL, NULL, 0, CONFIG_AGENT | CONFIG_NO_FILES, &f, &out),
      0);
  assert_string_equal(c.agent.tun, "t0");
  assert_string_equal(c.state_dir, "here");
  config_free(&c);
  f.n = 0;
  assert_int_equal(
      config_parse(&c, NULL, NULL, 0, CONFIG_AGENT | CONFIG_NO_FILES, &f, &out),
      ZTNA_ECONFIG);
  assert_string_equal(out.s,
                      "configuration: needs --relays: host:port to reach "
                      "services by; or --config FILE\n");
  sbuf_done(&out);
  sbuf_init(&out, 0);
  f.n_groups = config_groups(f.groups, CONFIG_ENROLL);
  assert_int_equal(config_parse(&c, NULL, NULL, 0,
                                CONFIG_ENROLL | CONFIG_NO_FILES, &f, &out),
                   ZTNA_ECONFIG);
  assert_non_null(strstr(out.s, "needs --ca-dir: "));
  sbuf_done(&out);
}

/* --- mistakes, one by one */

static void syntax_is_told_alone(void **state) {
  says("{\n\"relay\": {},\n}",
       ":3: not valid JSON at column 1: string or '}' expected near '}'; "
       "remove the comma before it");
}

static void keys_that_nobody_knows_are_told(void **state) {
  says("{\"relay\": {},\n\"conector\": {}}",
       ":2: unknown key \"conector\"; did you mean \"connector\"?");
  relay_says("\"listne\": []",
             ":2: relay: unknown key \"listne\"; did you mean \"listen\"?");
}

static void mistakes_of_a_relays_stun_are_told(void **state) {
  relay_says("\"stun\": [\"0.0.0.0:4434\", \"0.0.0.0:4433\"]",
             ":2: relay.stun[1]: want another port than listen has, got "
             "0.0.0.0:4433");
  relay_says(
      "\"stun_ips\": [\"192.0.2.1\"]",
      ":2: relay.stun_ips: want a list of IP addresses, 2 to 4 of them, got 1");
  relay_says("\"stun_ips\": [\"192.0.2.1\", \"192.0.2.2\", \"2001:db8::1\"]",
             ":2: relay.stun_ips: want two addresses of IPv6, got 1");
  relay_says("\"stun_ips\": [\"192.0.2.1\", \"192.0.2.1\"]",
             ":2: relay.stun_ips[1]: want different addresses, got 192.0.2.1 "
             "twice");
  relay_says("\"stun_ips\": [\"192.0.2.1\", \"0.0.0.0\"]",
             ":2: relay.stun_ips[1]: want an address of this machine, got "
             "0.0.0.0");
}

static void mistakes_of_a_relay_are_told(void **state) {
  relay_says("\"listen\": []", ":2: relay.listen: want a list of ip:port, 1 to "
                               "16 of them, got 0");
  relay_says("\"listen\": [\"localhost:1\"]",
             ":2: relay.listen[0]: want ip:port, got \"localhost:1\"");
  relay_says("\"retry\": \"somtimes\"",
             ":2: relay.retry: want \"auto\", \"always\" or \"never\", got "
             "\"somtimes\"");
  relay_says("\"agent_pool\": [\"10.100.0.0/16\"]",
             ":2: relay.agent_pool[0]: want a network apart from service_pool, "
             "which has 10.100.0.0/24");
  relay_says("\"service_pool\": [\"10.1.0.0/24\",\n\"10.2.0.0/24\"]",
             ":3: relay.service_pool[1]: want one prefix of each family, got "
             "two of IPv4");
  relay_says("\"service_pool\": [\"10.1.0.0/31\"]",
             ":2: relay.service_pool[0]: want room for addresses, /29 at most, "
             "got /31");
  relay_says("\"services\": {\"a\": {\"virtual_ips\": [\"127.0.0.1\"]}}",
             ":2: relay.services.a.virtual_ips[0]: want a unicast address, got "
             "loopback");
  relay_says("\"services\": {\"a\": {\"virtual_ips\": [\"10.1.0.2\"]},\n"
             "\"b\": {\"virtual_ips\": [\"10.1.0.2\"]}}",
             ":3: relay.services.b.virtual_ips[0]: want an address of its own, "
             "got 10.1.0.2 of \"a\"");
  relay_says("\"services\": {\"a\": {\"virtual_ips\": [\"10.1.0.2\", "
             "\"10.1.0.3\"]}}",
             ":2: relay.services.a.virtual_ips[1]: want one address of each "
             "family, got two of IPv4");
  relay_says("\"services\": {\"A\": {\"virtual_ips\": [\"10.1.0.2\"]}}",
             ":2: relay.services.A: want a service id (lower-case letters, "
             "digits, - _ . and a letter or digit first, 63 at most), got "
             "\"A\"");
  relay_says("\"services\": {\"a\": {}}",
             ":2: relay.services.a: needs \"virtual_ips\": its addresses, one "
             "of each family at most");
}

static void mistakes_of_a_check_are_told(void **state) {
#define WEB "{\"id\": \"a\", \"backend\": \"h:1\", \"protocol\": \"tcp\",\n"
#define DNS "{\"id\": \"a\", \"backend\": \"h:1\", \"protocol\": \"udp\",\n"
  service_says(WEB "\"check\": {\"type\": \"tcp\", \"port\": 2}}",
               ":3: connector.services[0].check.port: want the port of a "
               "backend of protocol tcp, got 2");
  service_says(WEB "\"check\": {\"type\": \"http\", \"status\": 99}}",
               ":3: connector.services[0].check.status: want HTTP statuses "
               "like \"200-399\"");
  service_says(WEB "\"check\": {\"type\": \"http\", \"host\": \"a\\r\\nb\"}}",
               ":3: connector.services[0].check.host: want a host, and a port "
               "if need be, got \"a??b\"");
  service_says(DNS "\"check\": {\"type\": \"udp\"}}",
               ":3: connector.services[0].check.type: needs \"send\": a "
               "datagram that the service answers");
  service_says(DNS "\"check\": {\"type\": \"udp\", \"send\": \"\\\\x4\"}}",
               ":3: connector.services[0].check.send: want text of at most "
               "1024 bytes, with \\r, \\n, \\t, \\\\ and \\xNN for others, got "
               "\"\\x4\"");
}

static void a_check_asks_the_backend_with_its_port(void **state) {
  static const char text[] =
      "{\"connector\": {\"relays\": [\"r:1\"], \"services\": [{\"id\": \"a\", "
      "\"backends\": [{\"protocol\": \"tcp\", \"port\": 80, \"to\": \"h:1\"}, "
      "{\"protocol\": \"tcp\", \"port\": 81, \"to\": \"h:2\"}], \"check\": "
      "{\"type\": \"http\", \"port\": 81, \"status\": \"200-299\"}}]}}";
  struct config c;
  struct sbuf out;
  sbuf_init(&out, 0);
  assert_int_equal(config_parse(&c, "c.json", text, strlen(text),
                                CONFIG_CONNECTOR | CONFIG_NO_FILES, NULL, &out),
                   0);
  const struct service_config *s = c.connector.services;
  assert_ptr_equal(config_checked_backend(s), &s->backends[1]);
  assert_int_equal(s->check.status.last, 299);
  assert_int_equal(c.connector.drain_timeout, 10 * SEC);
  assert_true(c.connector.direct && c.connector.port_mapping);
  config_free(&c);
  sbuf_done(&out);
}

static void mistakes_of_a_service_are_told(void **state) {
  service_says("{\"backend\": \"h:1\", \"protocol\": \"tcp\"}",
               ":2: connector.services[0]: needs \"id\": its name, a service "
               "id");
  service_says("{\"id\": \"a\"}",
               ":2: connector.services[0]: needs \"backends\": [{\"protocol\": "
               "..., \"port\": ..., \"to\": ...}], or \"backend\" and "
               "\"protocol\"");
  service_says("{\"id\": \"a\", \"backend\": \"h:1\"}",
               ":2: connector.services[0].backend: needs \"protocol\" beside "
               "it: udp, tcp or icmp");
  service_says("{\"id\": \"a\", \"backend\": \"9999\", \"protocol\": \"tcp\"}",
               ":2: connector.services[0].backend: want host:port, got "
               "\"9999\"");
  service_says("{\"id\": \"a\", \"backend\": \"h:1\", \"protocol\": \"icmp\"}",
               ":2: connector.services[0].backend: want a host without port "
               "for icmp, got \"h:1\"");
  service_says("{\"id\": \"a\", \"backend\": \"h:1\", \"protocol\": \"tpc\"}",
               ":2: connector.services[0].protocol: want \"udp\", \"tcp\" or "
               "\"icmp\", got \"tpc\"; did you mean \"tcp\"?");
  service_says("{\"id\": \"a\", \"backends\": [{\"protocol\": \"tcp\", \"to\": "
               "\"h:1\"},\n{\"protocol\": \"tcp\", \"port\": 1, \"to\": "
               "\"h:2\"}]}",
               ":3: connector.services[0].backends[1]: want each protocol and "
               "port once, got the same as backends[0]");
  service_says("{\"id\": \"a\", \"backends\": [{\"protocol\": \"tcp\", "
               "\"port\": 65536, \"to\": \"h:1\"}]}",
               ":2: connector.services[0].backends[0].port: want an integer "
               "from 1 to 65535, got 65536");
  service_says("{\"id\": \"a\", \"backends\": [{\"protocol\": \"icmp\", "
               "\"port\": 1, \"to\": \"h\"}]}",
               ":2: connector.services[0].backends[0].port: want no port for "
               "icmp, got 1");
  service_says("{\"id\": \"a\", \"backend\": \"h:1\", \"protocol\": \"tcp\"},\n"
               "{\"id\": \"a\", \"backend\": \"h:2\", \"protocol\": \"tcp\"}",
               ":3: connector.services[1].id: want an id of its own, got "
               "\"a\" as in line 2");
  service_says("{\"id\": \"a\", \"backend\": \"h:1\", \"protocol\": \"tcp\",\n"
               "\"agents\": [\"laptop-7\"]}",
               ":3: connector.services[0].agents[0]: want a SPIFFE ID, or a "
               "pattern with * like \"spiffe://example.org/agent/*\", got "
               "\"laptop-7\"");
  service_says("{\"id\": \"a\", \"backend\": \"h:1\", \"protocol\": \"tcp\",\n"
               "\"agents\": []}",
               ":3: connector.services[0].agents: want a list of texts, 1 to "
               "256 of them, got 0");
  service_says("{\"id\": \"a\", \"backend\": \"h:1\", \"protocol\": \"tcp\",\n"
               "\"check\": {\"type\": \"udp\"}}",
               ":3: connector.services[0].check.type: want a backend of "
               "protocol udp to check");
  service_says("{\"id\": \"a\", \"backend\": \"h:1\", \"protocol\": \"tcp\",\n"
               "\"check\": {\"every\": \"5s\"}}",
               ":3: connector.services[0].check: needs \"type\": how the "
               "service is asked: http, tcp or udp");
  service_says("{\"id\": \"a\", \"backend\": \"h:1\", \"protocol\": \"udp\",\n"
               "\"proxy_protocol\": true}",
               ":3: connector.services[0].proxy_protocol: want it with "
               "protocol tcp only");
  service_says("{\"id\": \"a\", \"backends\": [{\"protocol\": \"udp\", \"to\": "
               "\"h:1\",\n\"proxy_protocol\": true}]}",
               ":3: connector.services[0].backends[0].proxy_protocol: want it "
               "with protocol tcp only");
  service_says("{\"id\": \"a\", \"backends\": [{\"protocol\": \"tcp\", \"to\": "
               "\"h:1\"}],\n\"proxy_protocol\": true}",
               ":3: connector.services[0].proxy_protocol: belongs into each "
               "of \"backends\"");
}

static void mistakes_of_a_connector_are_told(void **state) {
  says("{\n\"connector\": {\"services\": [{\"id\": \"a\", \"backend\": "
       "\"h:1\", \"protocol\": \"tcp\"}]}}",
       ":2: connector: needs \"relays\": host:port to serve at");
  says("{\"connector\": {\"relays\": [\"relay.example.org\"], \"services\": "
       "[{\"id\": \"a\", \"backend\": \"h:1\", \"protocol\": \"tcp\"}]}}",
       ":1: connector.relays[0]: want host:port, got \"relay.example.org\"");
}

static void mistakes_of_an_agent_are_told(void **state) {
  agent_says("\"mtu\": 1279",
             ":2: agent.mtu: want an integer from 1280 to 1500, got 1279");
  agent_says("\"networks\": [\"0.0.0.0/0\"]",
             ":2: agent.networks[0]: want a network of unicast addresses, got "
             "0.0.0.0/0: a default route");
  agent_says("\"networks\": [\"fe80::/64\"]",
             ":2: agent.networks[0]: want a network of unicast addresses, got "
             "fe80::/64: link-local");
  agent_says("\"tun\": \"a-very-long-name\"",
             ":2: agent.tun: want an interface name of at most 15 characters "
             "like \"ztna0\", got \"a-very-long-name\"");
  agent_says("\"services\": [\"a b\"]",
             ":2: agent.services[0]: want a service id, or a pattern with * "
             "like \"web-*\", got \"a b\"");
}

static void all_mistakes_are_told_at_once(void **state) {
  struct config c;
  static const char text[] = "{\"log\": {\"level\": \"loud\"},\n"
                             "\"relay\": {\"listen\": 1},\n"
                             "\"agent\": {}}";
  assert_int_equal(parse(&c, text, CONFIG_RELAY), ZTNA_ECONFIG);
  assert_string_equal(
      said, "etc/c.json: needs \"identity\": {\"cert\": FILE}, or "
            "--identity-cert FILE; `ztna cert` makes one\n"
            "etc/c.json: needs \"identity\": {\"key\": FILE}, or "
            "--identity-key FILE; `ztna cert` makes one\n"
            "etc/c.json: needs \"identity\": {\"ca\": FILE}, or "
            "--identity-ca FILE; `ztna cert` makes one\n"
            "etc/c.json:1: log.level: want \"err\", \"warn\", \"info\" or "
            "\"debug\", got \"loud\"\n"
            "etc/c.json:2: relay.listen: want a list of ip:port, 1 to 16 of "
            "them, got 1\n"
            "etc/c.json:3: agent: needs \"relays\": host:port to reach "
            "services by\n");
}

static void no_memory_is_kept_after_a_failure(void **state) {
  struct config c, zero;
  memset(&zero, 0, sizeof(zero));
  assert_int_equal(parse(&c, "{\"relay\": {\"policy\": 1}}", CONFIG_PRESENT),
                   ZTNA_ECONFIG);
  assert_memory_equal(&c, &zero, sizeof(c));
}

/* --- files */

static char dir[64];

static void put(const char *name, const char *text, mode_t mode) {
  char path[128];
  snprintf(path, sizeof(path), "%s/%s", dir, name);
  unlink(path);
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
  chmod(path, mode);
}

static int load_files(struct config *c, unsigned want) {
  char name[128];
  struct sbuf out;
  static const char text[] =
      "{\"identity\": {\"cert\": \"c.pem\",\n\"key\": \"c.key\",\n\"ca\": "
      "\"ca.pem\"},\n\"relay\": {\"policy\": \"p.json\"}}";
  snprintf(name, sizeof(name), "%s/c.json", dir);
  sbuf_init(&out, 0);
  int rc = config_parse(c, name, text, strlen(text), want, NULL, &out);
  snprintf(said, sizeof(said), "%s", out.len ? out.s : "");
  sbuf_done(&out);
  return rc;
}

static int make_dir(void **state) {
  strcpy(dir, "/tmp/ztna-test-XXXXXX");
  if (!mkdtemp(dir)) return -1;
  put("c.pem", "-----BEGIN CERTIFICATE-----\n", 0644);
  put("c.key", "-----BEGIN PRIVATE KEY-----\n", 0600);
  put("ca.pem", "-----BEGIN CERTIFICATE-----\n", 0644);
  put("p.json", "{}", 0644);
  return 0;
}

static int remove_dir(void **state) {
  static const char *const names[] = {"c.pem",  "c.key", "ca.pem",
                                      "p.json", "crl",   "crl.json"};
  char path[128];
  for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
    snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
    unlink(path);
  }
  return rmdir(dir);
}

static void files_are_read_beside_the_configuration(void **state) {
  struct config c;
  assert_int_equal(load_files(&c, CONFIG_RELAY), 0);
  assert_string_equal(said, "");
  assert_int_equal(c.identity.key_len, strlen("-----BEGIN PRIVATE KEY-----\n"));
  assert_string_equal(c.identity.ca_pem, "-----BEGIN CERTIFICATE-----\n");
  config_free(&c);
  assert_null(c.identity.key_pem);
}

static void put_bytes(const char *name, const void *bytes, size_t len) {
  char path[128];
  snprintf(path, sizeof(path), "%s/%s", dir, name);
  FILE *f = fopen(path, "w");
  assert_int_equal(fwrite(bytes, 1, len, f), len);
  fclose(f);
}

static void load_crl(struct config *c, int want) {
  char file[128];
  put("crl.json",
      "{\"identity\": {\"cert\": \"c.pem\", \"key\": \"c.key\",\n"
      "\"ca\": \"ca.pem\", \"crl\": \"crl\", \"enroll\": \"ca.test:4435\"},\n"
      "\"relay\": {\"listen\": [\"127.0.0.1:0\"], \"service_pool\": "
      "[\"10.0.0.0/24\"],\n\"agent_pool\": [\"100.64.0.0/16\"]}}",
      0644);
  snprintf(file, sizeof(file), "%s/crl.json", dir);
  struct sbuf out = {0};
  int rc = config_load_to(c, file, CONFIG_RELAY, NULL, &out);
  snprintf(said, sizeof(said), "%s", out.len ? out.s : "");
  sbuf_done(&out);
  assert_int_equal(rc, want);
}

static void a_list_of_revoked_certificates_may_be_pem_or_der(void **state) {
  static const char der[] = "0\x03\x00\x01\x02";
  struct config c;
  put_bytes("crl", der, sizeof(der) - 1);
  load_crl(&c, 0);
  assert_string_equal(c.identity.enroll, "ca.test:4435");
  struct ztna_identity own = config_identity(&c.identity);
  assert_int_equal(own.crl_len, sizeof(der) - 1);
  assert_memory_equal(own.crl, der, sizeof(der) - 1);
  config_free(&c);
  put("crl", "-----BEGIN X509 CRL-----\n", 0644);
  load_crl(&c, 0);
  config_free(&c);
}

static void a_list_that_is_none_or_missing_is_told(void **state) {
  char want[300];
  struct config c;
  put("crl", "serials", 0644);
  load_crl(&c, ZTNA_ECONFIG);
  snprintf(want, sizeof(want),
           "%s/crl.json:2: identity.crl: want a list of revoked certificates "
           "(PEM or DER), got \"%s/crl\" without any\n",
           dir, dir);
  assert_string_equal(said, want);
  snprintf(want, sizeof(want), "%s/crl", dir);
  unlink(want);
  load_crl(&c, ZTNA_ECONFIG);
  snprintf(want, sizeof(want),
           "%s/crl.json:2: identity.crl: want a readable file, got \"%s/crl\": "
           "No such file or directory\n",
           dir, dir);
  assert_string_equal(said, want);
}

static void status_needs_no_key(void **state) {
  struct config c;
  put("c.key", "x", 0644);
  assert_int_equal(load_files(&c, 0), 0);
  assert_null(c.identity.key_pem);
  config_free(&c);
}

static void a_key_that_others_can_read_is_refused(void **state) {
  struct config c;
  char want[400];
  put("c.key", "-----BEGIN PRIVATE KEY-----\n", 0640);
  assert_int_equal(load_files(&c, CONFIG_RELAY), ZTNA_ECONFIG);
  snprintf(want, sizeof(want),
           "%s/c.json:2: identity.key: want a key that only its owner can "
           "read, got \"%s/c.key\" with mode 0640; run: chmod 600 %s/c.key\n",
           dir, dir, dir);
  assert_string_equal(said, want);
}

static void files_that_are_missing_or_wrong_are_told(void **state) {
  struct config c;
  char want[800];
  put("c.pem", "0\x82", 0644);
  put("p.json", "x", 0644);
  snprintf(want, sizeof(want), "%s/ca.pem", dir);
  unlink(want);
  snprintf(want, sizeof(want), "%s/p.json", dir);
  unlink(want);
  assert_int_equal(load_files(&c, CONFIG_RELAY), ZTNA_ECONFIG);
  snprintf(want, sizeof(want),
           "%s/c.json:1: identity.cert: want a PEM file (-----BEGIN ...), got "
           "\"%s/c.pem\" without any\n"
           "%s/c.json:3: identity.ca: want a readable file, got "
           "\"%s/ca.pem\": No such file or directory\n"
           "%s/c.json:4: relay.policy: want a readable file, got "
           "\"%s/p.json\": No such file or directory\n",
           dir, dir, dir, dir, dir, dir);
  assert_string_equal(said, want);
}

/* --- policies */

static int parse_policy(struct policy_config *p, const char *text) {
  struct sbuf out;
  sbuf_init(&out, 0);
  int rc = policy_file_parse(p, "p.json", text, strlen(text), &out);
  snprintf(said, sizeof(said), "%s", out.len ? out.s : "");
  sbuf_done(&out);
  return rc;
}

static void policy_says(const char *text, const char *want) {
  struct policy_config p;
  char line[600];
  assert_int_equal(parse_policy(&p, text), ZTNA_ECONFIG);
  snprintf(line, sizeof(line), "p.json%s\n", want);
  assert_string_equal(said, line);
  assert_null(p.rules);
}

static void the_documented_policy_loads(void **state) {
  struct policy_config p;
  assert_int_equal(parse_policy(&p, example_policy), 0);
  assert_string_equal(said, "");
  assert_int_equal(p.n_rules, 1);
  assert_string_equal(p.rules[0].name, "staff may use the web app");
  assert_int_equal(p.rules[0].n_agents, 1);
  assert_string_equal(p.rules[0].agents[0], "spiffe://example.org/agent/*");
  assert_int_equal(p.rules[0].protocols, PROTO_TCP | PROTO_ICMP);
  assert_int_equal(p.rules[0].ports[0].first, 80);
  assert_int_equal(p.tests[0].protocol, PROTO_TCP);
  assert_int_equal(p.tests[0].port, 22);
  assert_int_equal(p.tests[0].expect, REASON_PORT_NOT_ALLOWED);
  policy_file_free(&p);
  assert_null(p.rules);
}

static void groups_stand_for_their_members(void **state) {
  struct policy_config p;
  assert_int_equal(
      parse_policy(&p, "{\"groups\": {\"g\": [\"spiffe://d/agent/a\", "
                       "\"spiffe://d/agent/b\"]}, \"rules\": [{\"name\": "
                       "\"r\", \"agents\": [\"spiffe://d/agent/x\", \"@g\"], "
                       "\"services\": [\"*\"]}]}"),
      0);
  assert_int_equal(p.rules[0].n_agents, 3);
  assert_string_equal(p.rules[0].agents[2], "spiffe://d/agent/b");
  assert_int_equal(p.rules[0].protocols, PROTO_UDP | PROTO_TCP | PROTO_ICMP);
  assert_int_equal(p.rules[0].n_ports, 0);
  policy_file_free(&p);
}

#define RULE(more)                                       \
  "{\"rules\": [{\"name\": \"r\", \"agents\": [\"*\"], " \
  "\"services\": [\"*\"], " more "}]}"

static void rules_have_ends_and_limits(void **state) {
  struct policy_config p;
  assert_int_equal(
      parse_policy(&p, RULE("\"until\": \"2026-12-31T18:00:00Z\", "
                            "\"limits\": {\"routes\": 2, \"rate\": "
                            "\"10MiB\"}")),
      0);
  assert_int_equal(p.rules[0].until, 1798740000);
  assert_int_equal(p.rules[0].limits.routes, 2);
  assert_int_equal(p.rules[0].limits.rate, 10 << 20);
  policy_file_free(&p);
  assert_int_equal(parse_policy(&p, RULE("\"until\": \"2026-12-31\"")), 0);
  assert_int_equal(p.rules[0].until, 1798675200);
  assert_int_equal(p.rules[0].limits.rate, 0);
  policy_file_free(&p);
}

static void who_is_revoked_is_a_pattern_or_a_number(void **state) {
  struct policy_config p;
  assert_int_equal(
      parse_policy(&p, "{\"rules\": [], \"revoked\": ["
                       "\"spiffe://d/agent/a*\", \"5F:0A\"], \"tests\": "
                       "[\n{\"agent\": \"spiffe://d/agent/a1\", "
                       "\"service\": \"s\", \"protocol\": \"icmp\", "
                       "\"expect\": \"revoked\", \"at\": \"2026-01-01\"}]}"),
      0);
  assert_int_equal(p.n_revoked, 2);
  assert_string_equal(p.revoked[1], "5F:0A");
  assert_int_equal(p.tests[0].expect, REASON_REVOKED);
  assert_int_equal(p.tests[0].at, 1767225600);
  assert_int_equal(p.tests[0].line, 2);
  policy_file_free(&p);
}

/* All at once, each with its place. */
static void tests_that_fail_are_told(void **state) {
  static const char text[] =
      "{\"rules\": [], \"tests\": [\n"
      "{\"agent\": \"spiffe://d/agent/a\", \"service\": \"s\", "
      "\"protocol\": \"icmp\", \"expect\": \"allowed\"},\n"
      "{\"agent\": \"spiffe://d/agent/a\", \"service\": \"s\", "
      "\"protocol\": \"icmp\", \"expect\": \"not-allowed\"},\n"
      "{\"agent\": \"spiffe://d/agent/b\", \"service\": \"s\", "
      "\"protocol\": \"tcp\", \"port\": 1, \"expect\": \"revoked\"}]}";
  struct policy_config cfg;
  struct policy *p;
  struct sbuf out = {0};
  assert_int_equal(parse_policy(&cfg, text), 0);
  assert_int_equal(policy_file_make(&p, &cfg, "p.json", &out), ZTNA_ECONFIG);
  assert_null(p);
  assert_string_equal(
      out.s, "p.json:2: tests[0]: failed: agent spiffe://d/agent/a, service s, "
             "icmp port 0: expected allowed, got not-allowed: no rule is for "
             "this agent or about this service\n"
             "p.json:4: tests[2]: failed: agent spiffe://d/agent/b, service s, "
             "tcp port 1: expected revoked, got not-allowed: no rule is for "
             "this agent or about this service\n");
  sbuf_done(&out);
  policy_file_free(&cfg);
}

static void mistakes_of_a_policy_are_told(void **state) {
  policy_says("{}", ": needs \"rules\": list of who may use what");
  policy_says("{\"groups\": {\"staff\": [\"*\"]}, \"rules\": [\n{\"name\": "
              "\"r\", \"agents\": [\"@stuff\"], \"services\": [\"*\"]}]}",
              ":2: rules[0].agents[0]: no group \"stuff\" in \"groups\"; did "
              "you mean \"@staff\"?");
  policy_says("{\"groups\": {\"a\": [\"@b\"]}, \"rules\": []}",
              ":1: groups.a[0]: want a SPIFFE ID, or a pattern with * like "
              "\"spiffe://example.org/agent/*\", got \"@b\"");
  policy_says("{\"rules\": [{\"name\": \"r\", \"agents\": [\"*\"], "
              "\"services\": [\"*\"], \"ports\": [\"90-80\"]}]}",
              ":1: rules[0].ports[0]: want a port, or a range like "
              "\"8000-8100\", got \"90-80\"");
  policy_says("{\"rules\": [{\"name\": \"r\", \"agents\": [\"*\"], "
              "\"services\": [\"*\"]},\n{\"name\": \"r\", \"agents\": [\"*\"], "
              "\"services\": [\"*\"]}]}",
              ":2: rules[1].name: want a name of its own, got that of "
              "rules[0]");
  policy_says("{\"rules\": [], \"tests\": [\n{\"agent\": "
              "\"spiffe://d/agent/a\", \"service\": \"s\", \"protocol\": "
              "\"tcp\", \"expect\": \"allowed\"}]}",
              ":2: tests[0]: needs \"port\": of udp and tcp");
  policy_says("{\"rules\": [], \"tests\": [\n{\"agent\": "
              "\"spiffe://d/agent/a\", \"service\": \"s\", \"protocol\": "
              "\"icmp\", \"expect\": \"forbidden\"}]}",
              ":2: tests[0].expect: want \"allowed\", \"not-allowed\", "
              "\"port-not-allowed\" or \"revoked\", got \"forbidden\"");
  policy_says(RULE("\"until\": \"tomorrow\""),
              ":1: rules[0].until: want a UTC time like "
              "\"2026-12-31T18:00:00Z\", or a date, got \"tomorrow\"");
  policy_says(RULE("\"until\": 5"),
              ":1: rules[0].until: want a UTC time like "
              "\"2026-12-31T18:00:00Z\", or a date, got 5");
  policy_says(RULE("\"limits\": {\"rates\": 5}"),
              ":1: rules[0].limits: unknown key \"rates\"; did you mean "
              "\"rate\"?");
  policy_says(RULE("\"limits\": {\"routes\": 0}"),
              ":1: rules[0].limits.routes: want an integer from 1 to 1000, "
              "got 0");
  policy_says("{\"revoked\": [\n\"5f\", \"laptop-7\"], \"rules\": []}",
              ":2: revoked[1]: want a SPIFFE ID, a pattern like "
              "\"spiffe://example.org/agent/*\", or a certificate's serial "
              "number in hexadecimal, got \"laptop-7\"");
}

#define FILES(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)

int main(void) {
  static const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_documented_example_loads),
      cmocka_unit_test(what_is_not_written_has_its_default),
      cmocka_unit_test(a_short_backend_is_the_same_as_a_long_one),
      cmocka_unit_test(a_connector_has_its_limits_for_tcp),
      cmocka_unit_test(a_role_that_is_asked_for_must_be_there),
      cmocka_unit_test(flags_come_before_variables_before_the_file),
      cmocka_unit_test(a_role_needs_no_file),
      cmocka_unit_test(syntax_is_told_alone),
      cmocka_unit_test(keys_that_nobody_knows_are_told),
      cmocka_unit_test(mistakes_of_a_relays_stun_are_told),
      cmocka_unit_test(mistakes_of_a_relay_are_told),
      cmocka_unit_test(mistakes_of_a_service_are_told),
      cmocka_unit_test(mistakes_of_a_check_are_told),
      cmocka_unit_test(a_check_asks_the_backend_with_its_port),
      cmocka_unit_test(mistakes_of_a_connector_are_told),
      cmocka_unit_test(mistakes_of_an_agent_are_told),
      cmocka_unit_test(all_mistakes_are_told_at_once),
      cmocka_unit_test(no_memory_is_kept_after_a_failure),
      FILES(files_are_read_beside_the_configuration),
      FILES(status_needs_no_key),
      FILES(a_key_that_others_can_read_is_refused),
      FILES(files_that_are_missing_or_wrong_are_told),
      FILES(a_list_of_revoked_certificates_may_be_pem_or_der),
      FILES(a_list_that_is_none_or_missing_is_told),
      cmocka_unit_test(the_documented_policy_loads),
      cmocka_unit_test(groups_stand_for_their_members),
      cmocka_unit_test(rules_have_ends_and_limits),
      cmocka_unit_test(who_is_revoked_is_a_pattern_or_a_number),
      cmocka_unit_test(tests_that_fail_are_told),
      cmocka_unit_test(mistakes_of_a_policy_are_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
