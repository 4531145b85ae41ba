/* One table of fields: JSON, flags, environment, ranges, help. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <ztna/err.h>

#include "host/flags.h"
#include "host/value.h"
#include "part/policy_config.h"

struct item {
  char *name;
  uint16_t port;
};

struct inner {
  uint64_t after;
};

struct thing {
  bool on;
  uint8_t small;
  uint64_t room;
  uint64_t wait_for;
  char *text;
  char *file;
  int mode;
  unsigned set, bit;
  struct ztna_addr addr;
  char *peer;
  char **names;
  size_t n_names;
  struct ztna_addr *addrs;
  size_t n_addrs;
  struct ztna_addr *ips;
  size_t n_ips;
  char **peers;
  size_t n_peers;
  struct ztna_prefix *nets;
  size_t n_nets;
  struct policy_ports *ports;
  size_t n_ports;
  struct inner inner;
  struct item *items;
  size_t n_items;
  struct item *map;
  size_t n_map;
};

static const char *const modes[] = {"slow", "fast", NULL};

static const struct field inner_fields[] = {
    FIELD(inner, after, .type = F_NS, .dflt = "1s", .help = "x"),
    FIELD_END,
};
static const struct field item_fields[] = {
    FIELD(item, name, .type = F_STR, .min = 1, .max = 5, .required = true,
          .help = "its name"),
    FIELD(item, port, .type = F_INT, .min = 1, .max = 65535, .dflt = "7",
          .help = "x"),
    FIELD_END,
};
static const struct field value_fields[] = {
    FIELD(item, port, .type = F_INT, .help = "x"),
    FIELD_END,
};
static const struct field fields[] = {
    FIELD(thing, on, .type = F_BOOL, .dflt = "true", .help = "not on"),
    FIELD(thing, small, .type = F_INT, .help = "x"),
    FIELD(thing, room, .type = F_SIZE, .min = 1024, .max = 1 << 20,
          .dflt = "64KiB", .help = "how much"),
    FIELD(thing, wait_for, .type = F_NS, .min = SEC, .max = 300 * SEC,
          .dflt = "250s", .help = "how long"),
    FIELD(thing, text, .type = F_STR, .help = "x"),
    FIELD(thing, file, .type = F_FILE, .help = "x"),
    FIELD(thing, mode, .type = F_ENUM, .names = modes, .help = "x"),
    FIELD(thing, set, .type = F_SET, .names = modes, .help = "x"),
    FIELD(thing, bit, .type = F_BIT, .names = modes, .help = "x"),
    FIELD(thing, addr, .type = F_ADDR, .help = "x"),
    FIELD(thing, peer, .type = F_HOSTPORT, .help = "x"),
    FIELD_LIST(thing, names, .type = F_STRS, .max = 3, .dflt = "a,b",
               .help = "x"),
    FIELD_LIST(thing, addrs, .type = F_ADDRS, .help = "x"),
    FIELD_LIST(thing, ips, .type = F_IPS, .help = "x"),
    FIELD_LIST(thing, peers, .type = F_HOSTPORTS, .help = "x"),
    FIELD_LIST(thing, nets, .type = F_PREFIXES, .help = "x"),
    FIELD_LIST(thing, ports, .type = F_PORTS, .help = "x"),
    FIELD(thing, inner, .type = F_OBJECT, .fields = inner_fields, .help = "x"),
    FIELD_LIST(thing, items, .type = F_OBJECTS, .fields = item_fields,
               .help = "x"),
    FIELD_LIST(thing, map, .type = F_MAP, .fields = value_fields, .help = "x"),
    FIELD_END,
};

/* --- a load of one text, in fixed storage */

static struct thing t;
static struct field_load l;
static char said[8192];

static int begin(void **state) {
  t = (struct thing){0};
  field_load_init(&l, "f.json", "dir");
  field_defaults(&l, fields, &t);
  return 0;
}

static int end(void **state) {
  field_load_done(&l);
  field_done(fields, &t);
  return 0;
}

static void load(const char *text) {
  struct json_file f;
  char why[JSON_FILE_WHY];
  assert_int_equal(json_file_parse(&f, text, strlen(text), why), 0);
  field_from_json(&l, fields, &t, "", json_at_root(&f));
  field_need(&l, fields, &t);
  json_file_done(&f);
  assert_false(l.no_memory);
}

static const char *mistakes(void) {
  struct sbuf out;
  sbuf_init(&out, 0);
  mistakes_print(&l.mistakes, &out);
  snprintf(said, sizeof(said), "%s", out.len ? out.s : "");
  sbuf_done(&out);
  return said;
}

/* One key's value is wrong: what is said about it. */
static void says(const char *text, const char *want) {
  char line[600];
  end(NULL);
  begin(NULL);
  load(text);
  snprintf(line, sizeof(line), "f.json:1: %s\n", want);
  assert_string_equal(mistakes(), line);
}

/* --- tests */

static void defaults_come_from_the_table(void **state) {
  assert_true(t.on);
  assert_int_equal(t.room, 65536);
  assert_int_equal(t.wait_for, 250 * SEC);
  assert_int_equal(t.n_names, 2);
  assert_string_equal(t.names[1], "b");
  assert_int_equal(t.inner.after, SEC);
  assert_null(t.text);
}

static void json_fills_every_type(void **state) {
  load("{\"on\": false, \"small\": 255, \"room\": \"1MiB\","
       "\"wait_for\": \"5m\", \"text\": \"\", \"file\": \"x\","
       "\"mode\": \"fast\", \"set\": [\"slow\", \"fast\"], \"bit\": \"fast\","
       "\"addr\": \"[::1]:53\", \"peer\": \"relay.example.org:4433\","
       "\"names\": [\"x\"], \"addrs\": [\"1.2.3.4:5\", \"[::]:0\"],"
       "\"ips\": [\"1.2.3.4\", \"fd00::1\"], \"peers\": [\"[::1]:1\", \"a:2\"],"
       "\"nets\": [\"10.0.0.0/8\"], \"ports\": [80, \"8000-8100\"],"
       "\"inner\": {\"after\": \"250ms\"},"
       "\"items\": [{\"name\": \"a\"}, {\"name\": \"b\", \"port\": 9}],"
       "\"map\": {\"k\": {\"port\": 3}, \"_comment\": 1}}");
  assert_string_equal(mistakes(), "");
  assert_false(t.on);
  assert_int_equal(t.small, 255);
  assert_int_equal(t.room, 1 << 20);
  assert_int_equal(t.wait_for, 300 * SEC);
  assert_string_equal(t.text, "");
  assert_string_equal(t.file, "dir/x");
  assert_int_equal(t.mode, 1);
  assert_int_equal(t.set, 3);
  assert_int_equal(t.bit, 2);
  assert_int_equal(t.addr.port, 53);
  assert_string_equal(t.peer, "relay.example.org:4433");
  assert_int_equal(t.n_names, 1);
  assert_int_equal(t.n_addrs, 2);
  assert_int_equal(t.ips[1].family, 6);
  assert_string_equal(t.peers[0], "[::1]:1");
  assert_int_equal(t.nets[0].bits, 8);
  assert_int_equal(t.ports[0].last, 80);
  assert_int_equal(t.ports[1].last, 8100);
  assert_int_equal(t.inner.after, 250 * MS);
  assert_int_equal(t.items[0].port, 7);
  assert_int_equal(t.items[1].port, 9);
  assert_int_equal(t.n_map, 1);
  assert_string_equal(t.map[0].name, "k");
  assert_int_equal(t.map[0].port, 3);
}

static void a_wrong_type_says_what_is_wanted_and_what_came(void **state) {
  says("{\"on\": 1}", "on: want true or false, got 1");
  says("{\"small\": \"5\"}", "small: want an integer, got \"5\"");
  says("{\"small\": 2.5}", "small: want an integer, got 2.5");
  says("{\"room\": true}",
       "room: want a size like \"64KiB\" from 1KiB to 1MiB, got true");
  says("{\"wait_for\": 10}", "wait_for: want a duration like \"250ms\", "
                             "\"10s\" or \"5m\" from 1s to 5m, got 10");
  says("{\"text\": null}", "text: want text, got null");
  says("{\"addr\": \"1.2.3.4\"}", "addr: want ip:port, got \"1.2.3.4\"");
  says("{\"addr\": \"::1\"}", "addr: want ip:port, got \"::1\"");
  says("{\"peer\": \"9999\"}", "peer: want host:port, got \"9999\"");
  says("{\"names\": \"x\"}",
       "names: want a list of texts, 3 at most, got \"x\"");
  says("{\"names\": [1]}", "names[0]: want text, got 1");
  says("{\"ips\": [\"1.2.3.4:5\"]}",
       "ips[0]: want an IP address without port, got \"1.2.3.4:5\"");
  says("{\"nets\": [\"10.0.0.1/8\"]}",
       "nets[0]: want a prefix like \"10.100.0.0/24\" (no bits behind its "
       "length), got \"10.0.0.1/8\"");
  says("{\"ports\": [\"9-8\"]}", "ports[0]: want a port, or a range like "
                                 "\"8000-8100\", got \"9-8\"");
  says("{\"ports\": [0]}", "ports[0]: want a port, or a range like "
                           "\"8000-8100\", got 0");
  says("{\"inner\": []}", "inner: want an object {...}, got a list");
  says("{\"items\": {}}",
       "items: want a list of objects, 4096 at most, got an object");
  says("{\"items\": [[]]}", "items[0]: want an object {...}, got a list");
  says("{\"set\": []}", "set: want a list of \"slow\", \"fast\", got none");
}

static void a_value_out_of_range_is_refused(void **state) {
  says("{\"small\": 256}", "small: want an integer, got 256");
  says("{\"small\": -1}", "small: want an integer, got -1");
  says("{\"room\": \"2MiB\"}",
       "room: want a size like \"64KiB\" from 1KiB to 1MiB, got \"2MiB\"");
  says("{\"wait_for\": \"999ms\"}",
       "wait_for: want a duration like \"250ms\", \"10s\" or \"5m\" from 1s to "
       "5m, got \"999ms\"");
  says("{\"names\": [\"a\", \"b\", \"c\", \"d\"]}",
       "names: want a list of texts, 3 at most, got 4");
  says("{\"items\": [{\"name\": \"toolong\"}]}",
       "items[0].name: want text of 1 to 5 bytes, got 7");
}

static void an_unknown_key_suggests_its_neighbour(void **state) {
  says("{\"wait_fro\": 1}", "unknown key \"wait_fro\"; did you mean "
                            "\"wait_for\"?");
  says("{\"inner\": {\"zzz\": 1}}",
       "inner: unknown key \"zzz\"; known here: after");
  says("{\"mode\": \"fsat\"}",
       "mode: want \"slow\" or \"fast\", got \"fsat\"; did you mean \"fast\"?");
}

static void comments_are_ignored(void **state) {
  load("{\"_comment\": 1, \"_comment2\": {\"x\": 1}, \"inner\": {\"_comment\":"
       " []}}");
  assert_string_equal(mistakes(), "");
}

static void what_is_required_is_missed_at_its_object(void **state) {
  load("{\"items\": [\n{\"name\": \"a\"},\n{\"port\": 1}]}");
  assert_string_equal(mistakes(),
                      "f.json:3: items[1]: needs \"name\": its name\n");
}

static void all_mistakes_come_at_once_in_order_of_lines(void **state) {
  load("{\"items\": [{}],\n\"small\": [],\n\"x\": 1}");
  assert_string_equal(mistakes(),
                      "f.json:1: items[0]: needs \"name\": its name\n"
                      "f.json:2: small: want an integer, got a list\n"
                      "f.json:3: unknown key \"x\"; known here: on, small, "
                      "room, wait_for, text, file, mode, set, bit, addr, peer, "
                      "names, addrs, ips, peers, nets, ports, inner, items, "
                      "map\n");
}

static void many_mistakes_are_counted(void **state) {
  char text[4000] = "{\"peers\": [\"x\"";
  for (int i = 0; i < 149; i++) strcat(text, ", \"x\"");
  load(strcat(text, "]}"));
  assert_non_null(strstr(mistakes(), "f.json:1: peers[99]: want host:port"));
  assert_null(strstr(said, "peers[100]"));
  assert_non_null(strstr(said, "... and 50 more\n"));
}

static void terminals_are_not_steered_by_a_file(void **state) {
  load("{\"\\u001b[31m\": 1}");
  assert_null(strchr(mistakes(), 0x1b));
}

static void a_key_in_place_of_its_file_is_not_shown(void **state) {
  says("{\"file\": \"-----BEGIN PRIVATE KEY-----\\nMIGH\"}",
       "file: want a file name, got the text of a PEM file");
}

static void every_item_of_a_large_list_is_judged(void **state) {
  size_t room = 3 << 20, n = 0;
  char *text = malloc(room);
  n += (size_t)snprintf(text + n, room - n, "{\"items\": [");
  for (int i = 0; i < 4096; i++)
    n += (size_t)snprintf(text + n, room - n, "%s{\"port\": 1}", i ? "," : "");
  snprintf(text + n, room - n, "]}");
  load(text); /* all lack their name: 4096 searches */
  free(text);
  assert_int_equal(l.mistakes.n, 4096);
}

static int parse(struct flags *f, char *why, int n, ...) {
  static char *argv[32];
  va_list ap;
  va_start(ap, n);
  for (int i = 0; i < n; i++) argv[i] = va_arg(ap, char *);
  va_end(ap);
  *f = (struct flags){.groups = {{fields, ""}}, .n_groups = 1};
  int rc = flags_parse(f, n, argv, why, 200);
  if (rc == 0) flags_apply(f, 0, &l, &t);
  return rc;
}

static void flags_come_before_environment_before_file(void **state) {
  struct flags f;
  char why[200];
  setenv("T_ROOM", "2KiB", 1);
  setenv("T_SMALL", "2", 1);
  setenv("T_INNER_AFTER", "2s", 1);
  setenv("T_TEXT", "", 1);
  load("{\"room\": 1024, \"small\": 1, \"text\": \"file\", \"mode\": "
       "\"fast\"}");
  field_from_env(&l, fields, &t, "", "T_");
  assert_int_equal(parse(&f, why, 2, "--room", "3KiB"), 0);
  assert_string_equal(mistakes(), "");
  assert_int_equal(t.room, 3072); /* flag */
  assert_int_equal(t.small, 2);   /* environment */
  assert_int_equal(t.inner.after, 2 * SEC);
  assert_string_equal(t.text, "file");     /* an empty variable is none */
  assert_int_equal(t.mode, 1);             /* file */
  assert_int_equal(t.wait_for, 250 * SEC); /* default */
}

static void flags_take_every_form(void **state) {
  struct flags f;
  char why[200];
  assert_int_equal(parse(&f, why, 10, "first", "--no-on", "--wait-for=2s",
                         "--names", "x,y", "--inner-after", "3s", "--names=z",
                         "--", "--small"),
                   0);
  assert_string_equal(mistakes(), "");
  assert_false(t.on);
  assert_int_equal(t.wait_for, 2 * SEC);
  assert_int_equal(t.inner.after, 3 * SEC);
  assert_int_equal(t.n_names, 3); /* repeated, and not behind the default */
  assert_string_equal(t.names[2], "z");
  assert_int_equal(f.n_args, 2);
  assert_string_equal(f.args[0], "first");
  assert_string_equal(f.args[1], "--small");
}

static void a_struct_may_end_with_a_single_value(void **state) {
  struct inner *small = calloc(1, sizeof(*small)); /* ASan guards its end */
  field_from_text(&l, inner_fields, small, "after", "--after", "4s", false);
  assert_int_equal(small->after, 4 * SEC);
  free(small);
}

static void wrong_flags_are_named(void **state) {
  struct flags f;
  char why[200];
  assert_int_equal(parse(&f, why, 1, "--rom"), ZTNA_EINVAL);
  assert_string_equal(why, "unknown flag --rom; did you mean --room?");
  assert_int_equal(parse(&f, why, 1, "--room"), ZTNA_EINVAL);
  assert_string_equal(why, "--room needs a value");
  assert_int_equal(parse(&f, why, 1, "--no-room"), ZTNA_EINVAL);
  assert_int_equal(parse(&f, why, 1, "--no-on=false"), ZTNA_EINVAL);
  assert_int_equal(parse(&f, why, 1, "-r"), ZTNA_EINVAL);
  assert_int_equal(parse(&f, why, 1, "--items"), ZTNA_EINVAL);
  assert_int_equal(parse(&f, why, 1, "--room=x"), 0);
  assert_true(l.mistakes.of_flags);
  assert_string_equal(mistakes(), "--room: want a size like \"64KiB\" from "
                                  "1KiB to 1MiB, got \"x\"\n");
}

static void later_checks_find_the_place_of_a_member(void **state) {
  struct flags f;
  char why[200];
  load("{\n\"small\": 1,\n\"items\": [\n{\"name\": \"a\"}]}");
  assert_int_equal(parse(&f, why, 2, "--room", "3KiB"), 0);
  FIELD_WRONG(&l, t.small, "one");
  FIELD_WRONG(&l, t.items[0].name, "two");
  FIELD_WRONG(&l, t.items[0].port, "three");
  FIELD_WRONG(&l, t.room, "four");
  FIELD_WRONG(&l, t.wait_for, "five");
  assert_string_equal(mistakes(), "--room: four\n"
                                  "f.json: five\n"
                                  "f.json:2: small: one\n"
                                  "f.json:4: items[0].name: two\n"
                                  "f.json:4: items[0]: three\n");
}

static void help_tells_type_range_and_default(void **state) {
  struct sbuf out;
  sbuf_init(&out, 0);
  field_help(&out, fields);
  assert_non_null(strstr(out.s, "  --no-on                     not on\n"));
  assert_non_null(strstr(out.s, "  --room SIZE                 how much, from "
                                "1KiB to 1MiB (default 64KiB)\n"));
  assert_non_null(strstr(out.s, "  --mode slow|fast "));
  assert_non_null(strstr(out.s, "  --inner-after DURATION "));
  assert_null(strstr(out.s, "--items"));
  sbuf_done(&out);
}

static void durations_and_sizes_read_as_printed(void **state) {
  static const char *const spans[] = {"1ns", "250ms", "10s", "90s", "5m", "1d"};
  static const char *const bad[] = {"",    "5",   "s",  "1.5s",
                                    "5 s", "-1s", "5S", "99999999999d"};
  char buf[VALUE_STRLEN];
  uint64_t v;
  for (size_t i = 0; i < sizeof(spans) / sizeof(*spans); i++) {
    assert_int_equal(value_ns(&v, spans[i]), 0);
    assert_string_equal(value_print_ns(v, buf), spans[i]);
  }
  for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
    assert_int_equal(value_ns(&v, bad[i]), ZTNA_EMALFORMED);
  assert_int_equal(value_size(&v, "64KiB"), 0);
  assert_int_equal(v, 65536);
  assert_string_equal(value_print_size(v, buf), "64KiB");
  assert_int_equal(value_size(&v, "1500"), 0);
  assert_string_equal(value_print_size(v, buf), "1500B");
  assert_int_equal(value_size(&v, "64kb"), ZTNA_EMALFORMED);
}

static void host_and_port_are_judged(void **state) {
  static const char *const good[] = {"a:1", "a-b.c_d.example:65535",
                                     "127.0.0.1:80", "[::1]:443",
                                     "xn--bcher-kva.example:1"};
  static const char *const bad[] = {
      "a",     "a:",    "a:0",         "a:65536", ":1",
      "::1:5", "[::1]", "[a]:1",       "a b:1",   "1.2.3:80",
      "a:1x",  "-a:1",  "[1.2.3.4]:1", "a..b:1",  "999.1.1.1:1"};
  for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
    if (!value_is_hostport(good[i])) fail_msg("refused: %s", good[i]);
  for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
    if (value_is_hostport(bad[i])) fail_msg("taken: %s", bad[i]);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void) {
  static const struct CMUnitTest tests[] = {
      TEST(defaults_come_from_the_table),
      TEST(json_fills_every_type),
      TEST(a_wrong_type_says_what_is_wanted_and_what_came),
      TEST(a_value_out_of_range_is_refused),
      TEST(an_unknown_key_suggests_its_neighbour),
      TEST(comments_are_ignored),
      TEST(what_is_required_is_missed_at_its_object),
      TEST(all_mistakes_come_at_once_in_order_of_lines),
      TEST(many_mistakes_are_counted),
      TEST(terminals_are_not_steered_by_a_file),
      TEST(a_key_in_place_of_its_file_is_not_shown),
      TEST(every_item_of_a_large_list_is_judged),
      TEST(flags_come_before_environment_before_file),
      TEST(flags_take_every_form),
      TEST(a_struct_may_end_with_a_single_value),
      TEST(wrong_flags_are_named),
      TEST(later_checks_find_the_place_of_a_member),
      TEST(help_tells_type_range_and_default),
      cmocka_unit_test(durations_and_sizes_read_as_printed),
      cmocka_unit_test(host_and_port_are_judged),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
