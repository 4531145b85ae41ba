/* Enrolment tokens as text. */
#include "unit.h"

#include "part/token.h"

static struct token sample(void) {
  struct token t = {.server = "enroll.example.org:4435"};
  for (size_t i = 0; i < sizeof(t.id); i++) t.id[i] = (uint8_t)(0xf8 + i);
  for (size_t i = 0; i < sizeof(t.secret); i++) t.secret[i] = (uint8_t)(7 * i);
  for (size_t i = 0; i < sizeof(t.ca_sha256); i++)
    t.ca_sha256[i] = (uint8_t)(255 - 3 * i);
  return t;
}

/* Whoever has printed one on paper can type it: letters, digits, - and _. */
static void a_token_reads_as_documented(void **state) {
  struct token t = sample();
  char text[TOKEN_TEXT_MAX];
  assert_int_equal(token_print(&t, text), 0);
  assert_string_equal(text,
                      "zt1_-Pn6-_z9_v8ABw4VHCMqMTg_Rk1UW2Jp__z59vPw7ern5OHe29"
                      "jV0s_MycbDwL26t7SxrquopaI@enroll.example.org:4435");
}

static void what_is_printed_is_read(void **state) {
  static const char *const servers[] = {"a:1", "192.0.2.1:4435",
                                        "[2001:db8::1]:65535", "Ca_1-x.y.:9"};
  for (size_t i = 0; i < N_OF(servers); i++) {
    struct token t = sample(), got;
    char text[TOKEN_TEXT_MAX];
    memset(t.server, 0, sizeof(t.server));
    strcpy(t.server, servers[i]);
    assert_int_equal(token_print(&t, text), 0);
    assert_int_equal(token_parse(&got, text, strlen(text)), 0);
    assert_memory_equal(&got, &t, sizeof(t));
  }
}

static void the_longest_host_fits(void **state) {
  struct token t = sample(), got;
  char text[TOKEN_TEXT_MAX];
  memset(t.server, 'h', 253);
  strcpy(t.server + 253, ":65535");
  assert_int_equal(token_print(&t, text), 0);
  assert_int_equal(token_parse(&got, text, strlen(text)), 0);
  assert_string_equal(got.server, t.server);
  memset(t.server, 'h', 254);
  strcpy(t.server + 254, ":65535");
  assert_int_equal(token_print(&t, text), ZTNA_EINVAL);
}

/* The server of a token goes to a resolver and a terminal. */
static void a_server_that_is_no_host_and_port_is_refused(void **state) {
  static const char *const wrong[] = {"",
                                      "a",
                                      ":1",
                                      "a:",
                                      "a:0",
                                      "a:65536",
                                      "a:01",
                                      "a:+1",
                                      "a b:1",
                                      "a/b:1",
                                      "a@b:1",
                                      "a\n:1",
                                      "-a:1",
                                      ".a:1",
                                      "a..b:1",
                                      "::1:443",
                                      "[::1]",
                                      "[::1:443",
                                      "[192.0.2.1]:1",
                                      "[a]:1",
                                      "[::1]x:1",
                                      "\xc3\xa4:1",
                                      "a:1 ",
                                      "[]:1",
                                      "a:999999"};
  for (size_t i = 0; i < N_OF(wrong); i++) {
    struct token t = sample();
    char text[TOKEN_TEXT_MAX + 16];
    memset(t.server, 0, sizeof(t.server));
    assert_int_equal(token_print(&t, text), ZTNA_EINVAL);
    strcpy(t.server, wrong[i]);
    if (token_print(&t, text) != ZTNA_EINVAL) fail_msg("%s", wrong[i]);
    struct token good = sample();
    assert_int_equal(token_print(&good, text), 0);
    strcpy(strchr(text, '@') + 1, wrong[i]);
    if (token_parse(&t, text, strlen(text)) != ZTNA_EMALFORMED)
      fail_msg("%s", text);
  }
}

static void a_text_cut_or_changed_is_no_token(void **state) {
  struct token t = sample(), got;
  char text[TOKEN_TEXT_MAX];
  assert_int_equal(token_print(&t, text), 0);
  size_t n = (size_t)(strchr(text, '@') - text);
  for (size_t i = 0; i <= n + 1; i++)
    assert_int_equal(token_parse(&got, text, i), ZTNA_EMALFORMED);
  for (size_t i = 0; i <= n; i++) {
    char was = text[i];
    text[i] = '+';
    assert_int_equal(token_parse(&got, text, strlen(text)), ZTNA_EMALFORMED);
    text[i] = 0;
    assert_int_equal(token_parse(&got, text, n + 24), ZTNA_EMALFORMED);
    text[i] = was;
  }
  assert_int_equal(token_parse(&got, text, strlen(text) + 1), ZTNA_EMALFORMED);
}

/* 75 digits hold two bits more than 56 bytes. */
static void a_token_has_one_text(void **state) {
  struct token t = sample(), got;
  char text[TOKEN_TEXT_MAX];
  assert_int_equal(token_print(&t, text), 0);
  char *last = strchr(text, '@') - 1;
  int n_read = 0;
  for (char c = 'A'; c <= 'Z'; c++) {
    *last = c;
    n_read += token_parse(&got, text, strlen(text)) == 0;
  }
  assert_int_equal(n_read, 7); /* A, E, I, M, Q, U, Y */
}

static void a_failed_reading_leaves_what_was(void **state) {
  struct token t = sample(), got = sample();
  assert_int_equal(token_parse(&got, "zt1_", 4), ZTNA_EMALFORMED);
  assert_memory_equal(&t, &got, sizeof(t));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_token_reads_as_documented),
      TEST(what_is_printed_is_read),
      TEST(the_longest_host_fits),
      TEST(a_server_that_is_no_host_and_port_is_refused),
      TEST(a_text_cut_or_changed_is_no_token),
      TEST(a_token_has_one_text),
      TEST(a_failed_reading_leaves_what_was),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
