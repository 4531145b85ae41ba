/* test_probe_print.c - people read a report of facts, a line each. */
#include "unit.h"

#include "host/probe.h"

static const char *print(const char *json) {
  static struct sbuf out;
  json_t *j = json_loads(json, 0, NULL);
  assert_non_null(j);
  sbuf_done(&out);
  sbuf_init(&out, 0);
  probe_print(&out, j);
  json_decref(j);
  return out.len ? out.s : "";
}

static void facts_have_values_and_reasons_side_by_side(void **state) {
  assert_string_equal(print("{\"a\": true, \"bcd\": false, \"bcd_why\": \"no"
                            " answer\", \"e\": null, \"e_why\": \"x\"}"),
                      "a:   yes\n"
                      "bcd: no (no answer)\n"
                      "e:   unknown (x)\n");
}

static void what_is_nested_bears_the_names_of_both(void **state) {
  assert_string_equal(
      print("{\"schema\": \"ztna.probe/1\", \"ipv4\": {\"rtt_ms\": 1.25,"
            " \"n\": 3}, \"servers\": [{\"name\": \"a\"}, {\"name\": \"b\"}]}"),
      "ipv4.rtt_ms:    1.2\n"
      "ipv4.n:         3\n"
      "servers-1.name: a\n"
      "servers-2.name: b\n");
}

static void lists_stand_in_one_line(void **state) {
  assert_string_equal(print("{\"v\": [\"a\", \"b\"], \"w\": []}"),
                      "v: a, b\nw: none\n");
}

/* A server must not write on a person's terminal. */
static void control_characters_of_servers_are_not_printed(void **state) {
  assert_string_equal(
      print("{\"a\": \"x\\u001b[2Jy\\n\", \"a_why\": \"\\u0007z\\u007f\"}"),
      "a: x?[2Jy? (?z?)\n");
}

static void long_texts_and_names_are_cut(void **state) {
  char json[2048], text[1000], name[200];
  memset(text, 'x', sizeof(text));
  text[sizeof(text) - 1] = 0;
  memset(name, 'n', sizeof(name));
  name[sizeof(name) - 1] = 0;
  snprintf(json, sizeof(json), "{\"%s\": {\"%s\": [\"%s\", \"b\"]}}", name,
           name, text);
  const char *s = print(json);
  assert_true(strlen(s) < 600);
  assert_int_equal(s[strlen(s) - 1], '\n');
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(facts_have_values_and_reasons_side_by_side),
      TEST(what_is_nested_bears_the_names_of_both),
      TEST(lists_stand_in_one_line),
      TEST(control_characters_of_servers_are_not_printed),
      TEST(long_texts_and_names_are_cut),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
