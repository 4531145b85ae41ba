/* test_grant_json.c - grants as relays write them; what is doubtful is refused
 * and never read as more than was said. */
#include "unit/unit.h"

#include "base/time.h"
#include "role/grant_json.h"

#define ID "00112233445566778899aabbccddeeff"
#define HEAD "{\"id\":\"" ID "\",\"service\":\"web\",\"lease\":60000,"

static json_t *parse(const char *text) {
  json_t *j = json_loads(text, JSON_DECODE_ANY, NULL);

  if (!j) fail_msg("no JSON: %s", text);
  return j;
}

static int read_grant(struct grant_json *g, const char *text) {
  json_t *j = parse(text);
  int rc = grant_json_read(g, j);

  g->service = g->rule = NULL; /* they were lent */
  json_decref(j);
  return rc;
}

static void all_of_a_grant_is_read(void **state) {
  json_t *j = parse(
      HEAD "\"route\":\"x\",\"rule\":\"staff\",\"addresses\":"
           "[\"fd5a:10::2\",\"10.100.0.2\"],\"protocols\":[\"udp\",\"icmp\"],"
           "\"ports\":[[53,53,\"udp\"],[8000,8100,\"any\"],[22,22,\"tcp\"]]}");
  struct grant_json g;

  assert_int_equal(grant_json_read(&g, j), 0);
  assert_string_equal(g.id, ID);
  assert_string_equal(g.service, "web");
  assert_string_equal(g.rule, "staff");
  assert_int_equal(g.lease, 60 * SEC);
  assert_int_equal(g.may.protocols, PROTO_UDP | PROTO_ICMP);
  assert_int_equal(g.may.n_ranges, 3);
  assert_int_equal(g.may.ranges[1].first, 8000);
  assert_int_equal(g.may.ranges[1].last, 8100);
  assert_int_equal(g.may.range_protocols[1], PROTO_UDP | PROTO_TCP);
  assert_int_equal(g.may.range_protocols[2], PROTO_TCP);
  assert_int_equal(g.addrs[0].family, 4);
  assert_int_equal(g.addrs[1].family, 6);
  json_decref(j);
}

static void a_grant_without_ports_is_for_all_of_them(void **state) {
  struct grant_json g;

  assert_int_equal(read_grant(&g, HEAD "\"protocols\":[\"udp\"]}"), 0);
  assert_int_equal(permission_check(&g.may, PROTO_UDP, 65535), 0);
  assert_int_equal(permission_check(&g.may, PROTO_TCP, 80),
                   REASON_PORT_NOT_ALLOWED);
  assert_int_equal(g.addrs[0].family, 0);
  assert_int_equal(g.addrs[1].family, 0);
}

static void a_grant_without_protocols_is_for_nothing(void **state) {
  struct grant_json g;

  assert_int_equal(read_grant(&g, HEAD "\"protocols\":[\"sctp\",1,null]}"), 0);
  assert_int_equal(g.may.protocols, 0);
  assert_int_equal(read_grant(&g, HEAD "\"protocols\":\"udp\"}"), 0);
  assert_int_equal(g.may.protocols, 0);
}

static void ports_that_are_not_as_agreed_open_nothing(void **state) {
  static const char *const bad[] = {
      "\"udp\"",
      "80",
      "{}",
      "null",
      "[]",
      "[80]",
      "[[]]",
      "[[80]]",
      "[[80,80]]",
      "[[80,80,\"sctp\"]]",
      "[[80,80,17]]",
      "[[80,80,null]]",
      "[[-1,80,\"udp\"]]",
      "[[81,80,\"udp\"]]",
      "[[80,65536,\"udp\"]]",
      "[[\"80\",90,\"udp\"]]",
      "[[80,\"90\",\"udp\"]]",
      "[[null,90,\"udp\"]]",
      "[[0.5,90,\"udp\"]]",
      "[[\"80\",\"90\",\"udp\"]]",
      "[[80,80,\"udp\"],[81,\"82\",\"udp\"]]",
      "[[4294967376,4294967376,\"udp\"]]",
      "{\"0\":[80,80,\"udp\"]}",
  };
  struct grant_json g;
  char text[512];

  for (size_t i = 0; i < N_OF(bad); i++) {
    snprintf(text, sizeof(text), HEAD "\"protocols\":[\"udp\"],\"ports\":%s}",
             bad[i]);
    if (read_grant(&g, text) == 0) fail_msg("taken: %s", bad[i]);
  }
}

static void a_rate_that_is_not_as_agreed_is_no_grant(void **state) {
  static const char *const bad[] = {"0",    "-1",  "\"5\"", "null",
                                    "true", "1.5", "[]",    "{}"};
  struct grant_json g;
  char text[512];

  assert_int_equal(read_grant(&g, HEAD "\"rate\":1048576}"), 0);
  assert_int_equal(g.may.limits.rate, 1 << 20);
  assert_int_equal(read_grant(&g, HEAD "\"x\":0}"), 0);
  assert_int_equal(g.may.limits.rate, 0);
  for (size_t i = 0; i < N_OF(bad); i++) {
    snprintf(text, sizeof(text), HEAD "\"rate\":%s}", bad[i]);
    if (read_grant(&g, text) == 0) fail_msg("taken: %s", bad[i]);
  }
}

static void too_many_port_ranges_are_refused(void **state) {
  json_t *j = parse(HEAD "\"protocols\":[\"udp\"],\"ports\":[]}");
  json_t *list = json_object_get(j, "ports");
  struct grant_json g;

  for (int i = 0; i < GRANT_MAX_RANGES; i++)
    json_array_append_new(list, json_pack("[i,i,s]", i, i, "udp"));
  assert_int_equal(grant_json_read(&g, j), 0);
  json_array_append_new(list, json_pack("[i,i,s]", 99, 99, "udp"));
  assert_int_equal(grant_json_read(&g, j), ZTNA_EMALFORMED);
  json_decref(j);
}

static void id_service_and_lease_must_be_there(void **state) {
  static const char *const bad[] = {
      "{}",
      "[]",
      "1",
      "\"x\"",
      "null",
      "{\"service\":\"web\",\"lease\":1}",
      "{\"id\":\"" ID "\",\"lease\":1}",
      "{\"id\":\"" ID "\",\"service\":\"web\"}",
      "{\"id\":\"" ID "\",\"service\":\"web\",\"lease\":0}",
      "{\"id\":\"" ID "\",\"service\":\"web\",\"lease\":-5}",
      "{\"id\":\"" ID "\",\"service\":\"web\",\"lease\":\"5\"}",
      "{\"id\":\"" ID "\",\"service\":5,\"lease\":1}",
      "{\"id\":\"" ID "00\",\"service\":\"web\",\"lease\":1}",
      "{\"id\":\"0011\",\"service\":\"web\",\"lease\":1}",
      "{\"id\":\"00112233445566778899AABBCCDDEEFF\",\"service\":\"w\","
      "\"lease\":1}",
  };
  struct grant_json g;

  for (size_t i = 0; i < N_OF(bad); i++)
    if (read_grant(&g, bad[i]) == 0) fail_msg("taken: %s", bad[i]);
  assert_int_equal(grant_json_read(&g, NULL), ZTNA_EMALFORMED);
}

static int read_addrs(struct ztna_addr out[2], const char *text) {
  json_t *j = parse(text);
  int rc = addrs_json_read(j, out);

  json_decref(j);
  return rc;
}

static void addresses_are_one_per_family_and_without_port(void **state) {
  struct ztna_addr a[2];

  assert_int_equal(addrs_json_read(NULL, a), 0);
  assert_int_equal(a[0].family + a[1].family, 0);
  assert_int_equal(read_addrs(a, "[]"), 0);
  assert_int_equal(read_addrs(a, "[\"10.0.0.1\"]"), 0);
  assert_int_equal(a[0].family, 4);
  assert_int_equal(a[1].family, 0);
  assert_int_equal(read_addrs(a, "[\"fd00::1\"]"), 0);
  assert_int_equal(a[0].family, 0);
  assert_int_equal(a[1].family, 6);
  assert_true(read_addrs(a, "[\"10.0.0.1\",\"10.0.0.1\"]") < 0);
  assert_true(read_addrs(a, "[\"fd00::1\",\"fd00::2\"]") < 0);
  assert_true(read_addrs(a, "[\"10.0.0.1:53\"]") < 0);
  assert_true(read_addrs(a, "[\"[fd00::1]:53\"]") < 0);
  assert_true(read_addrs(a, "[\"\"]") < 0);
  assert_true(read_addrs(a, "[\"-\"]") < 0);
  assert_true(read_addrs(a, "[null]") < 0);
  assert_true(read_addrs(a, "[10]") < 0);
  assert_true(read_addrs(a, "\"10.0.0.1\"") < 0);
  assert_true(read_addrs(a, "{\"a\":\"10.0.0.1\"}") < 0);
}

static uint64_t ms(const char *text) {
  json_t *j = parse(text);
  uint64_t v = ms_json_read(j);

  json_decref(j);
  return v;
}

static void times_are_milliseconds_up_to_a_day(void **state) {
  assert_int_equal(ms("1"), MS);
  assert_int_equal(ms("0.5"), MS / 2);
  assert_int_equal(ms("12.25"), 12 * MS + MS / 4);
  assert_int_equal(ms("86400000"), 86400 * SEC);
  assert_int_equal(ms("86400001"), 86400 * SEC);
  assert_int_equal(ms("1e300"), 86400 * SEC);
  assert_int_equal(ms("9223372036854775807"), 86400 * SEC);
  assert_int_equal(ms("0"), 0);
  assert_int_equal(ms("-1"), 0);
  assert_int_equal(ms("\"1\""), 0);
  assert_int_equal(ms("true"), 0);
  assert_int_equal(ms("[1]"), 0);
  assert_int_equal(ms_json_read(NULL), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(all_of_a_grant_is_read),
      TEST(a_grant_without_ports_is_for_all_of_them),
      TEST(a_grant_without_protocols_is_for_nothing),
      TEST(ports_that_are_not_as_agreed_open_nothing),
      TEST(a_rate_that_is_not_as_agreed_is_no_grant),
      TEST(too_many_port_ranges_are_refused),
      TEST(id_service_and_lease_must_be_there),
      TEST(addresses_are_one_per_family_and_without_port),
      TEST(times_are_milliseconds_up_to_a_day),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
