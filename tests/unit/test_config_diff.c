/* test_config_diff.c - what two configurations have different. */
#include "unit/unit.h"

#include <string.h>

#include "host/config_diff.h"

static const char *const nothing[] = {NULL};

static const char file[] =
    "{\"http\": {\"listen\": \"127.0.0.1:9090\"}, \"log\": {\"level\": "
    "\"info\"},\n"
    " \"connector\": {\"relays\": [\"r1:4433\", \"r2:4433\"], \"services\": "
    "[\n"
    "  {\"id\": \"web\", \"backends\": [{\"protocol\": \"tcp\", \"port\": 80, "
    "\"to\": \"w:80\"}], \"check\": {\"type\": \"http\", \"path\": \"/a\"}}],\n"
    "  \"max_flows\": 100}, \"relay\": {\"service_pool\": [\"10.1.0.0/24\"],\n"
    "  \"services\": {\"web\": {\"virtual_ips\": [\"10.1.0.9\"]}}}}";

static struct config load(const char *text) {
  struct config c;
  struct sbuf out = {0};

  if (config_parse(&c, "x.json", text, strlen(text),
                   CONFIG_PRESENT | CONFIG_NO_FILES, NULL, &out) < 0)
    fail_msg("%s", out.s);
  sbuf_done(&out);
  return c;
}

/* With this text in place of the other. */
static void expect(unsigned role, const char *was, const char *is,
                   const char *want, const char *const *but) {
  char text[sizeof(file) + 100];
  const char *at = strstr(file, was);
  struct config a = load(file), b;
  struct sbuf out = {0};

  assert_non_null(at);
  snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - file), file, is,
           at + strlen(was));
  b = load(text);
  config_diff(&a, &b, role, but, &out);
  assert_string_equal(out.len ? out.s : "", want);
  sbuf_done(&out);
  config_free(&a);
  config_free(&b);
}

static void the_same_has_no_difference(void **state) {
  expect(CONFIG_CONNECTOR, "web", "web", "", nothing);
  expect(CONFIG_RELAY, "web", "web", "", nothing);
}

static void differences_are_named_as_in_the_file(void **state) {
  expect(CONFIG_CONNECTOR, "9090", "9091", "http.listen", nothing);
  expect(CONFIG_CONNECTOR, "\"info\"", "\"debug\"", "log.level", nothing);
  expect(CONFIG_CONNECTOR, ", \"r2:4433\"", "", "connector.relays", nothing);
  expect(CONFIG_CONNECTOR, "r2:", "r3:", "connector.relays", nothing);
  expect(CONFIG_CONNECTOR, "100}", "101}", "connector.max_flows", nothing);
  expect(CONFIG_CONNECTOR, "w:80", "v:80", "connector.services", nothing);
  expect(CONFIG_CONNECTOR, "/a", "/b", "connector.services", nothing);
  expect(CONFIG_RELAY, "/24", "/25", "relay.service_pool", nothing);
  expect(CONFIG_RELAY, "1.0.9", "1.0.8", "relay.services", nothing);
}

static void several_are_a_list(void **state) {
  expect(CONFIG_CONNECTOR, "9090\"}, \"log\": {\"level\": \"info\"",
         "9091\"}, \"log\": {\"level\": \"err\"", "log.level, http.listen",
         nothing);
}

static void other_roles_and_names_do_not_count(void **state) {
  static const char *const but[] = {"connector.services", "log.level", NULL};

  expect(CONFIG_RELAY, "r2:", "r3:", "", nothing);
  expect(CONFIG_CONNECTOR, "/24", "/25", "", nothing);
  expect(CONFIG_CONNECTOR, "w:80", "v:80", "", but);
  expect(CONFIG_CONNECTOR, "\"info\"", "\"debug\"", "", but);
}

static void contents_of_files_do_not_count(void **state) {
  struct config a = load(file), b = load(file);
  struct sbuf out = {0};

  a.identity.cert_pem = strdup("one");
  b.identity.cert_pem = strdup("two");
  a.identity.cert_len = b.identity.cert_len = 3;
  config_diff(&a, &b, CONFIG_CONNECTOR, nothing, &out);
  assert_int_equal(out.len, 0);
  b.identity.crl = strdup("crl.pem");
  config_diff(&a, &b, CONFIG_CONNECTOR, nothing, &out);
  assert_string_equal(out.s, "identity.crl");
  sbuf_done(&out);
  config_free(&a);
  config_free(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(the_same_has_no_difference),
      TEST(differences_are_named_as_in_the_file),
      TEST(several_are_a_list),
      TEST(other_roles_and_names_do_not_count),
      TEST(contents_of_files_do_not_count),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
