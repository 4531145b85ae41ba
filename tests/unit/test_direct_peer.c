/* test_direct_peer.c - what a peer of a link can make the other end do. */
#include "unit.h"
#include "direct_world.h"

static void forbidden_addresses_get_nothing(void **state) {
  static const char *const offers[] = {
      DW_OFFER(
          1,
          DW_AT("127.0.0.1:53", "reflexive") "," DW_AT("224.0.0.1:9", "host") "," DW_AT("255.255.255.255:9", "host") "," DW_AT("0.0.0.0:9", "host") "," DW_AT("169.254.169.254:80", "host") "," DW_AT(
              "10.1.2.3:80",
              "reflexive") "," DW_AT("192.168.1.20:22",
                                     "host") "," DW_AT("192.168.1.255:"
                                                       "9",
                                                       "host") "," DW_AT("198."
                                                                         "51."
                                                                         "100."
                                                                         "65:"
                                                                         "4000",
                                                                         "mappe"
                                                                         "d") "," DW_AT("203.0.113.99:443",
                                                                                        "host") "," DW_AT("[::1]:53",
                                                                                                          "reflexive") "," DW_AT("[fe80::1]:9",
                                                                                                                                 "host") "," DW_AT("[ff02::1]:9",
                                                                                                                                                   "host") "," DW_AT("100.64.0.1:9",
                                                                                                                                                                     "host")),
      DW_OFFER(2, DW_AT("203.0.113.99:443", "reflexive")),
      DW_OFFER(3, DW_AT("127.0.0.1:53", "reflexive")),
      DW_OFFER(4, DW_AT("192.168.7.7:53", "reflexive")),
  };
  struct dw *w = dw_new("public", "port-restricted", 24);
  struct dw_end *c = &w->ends[DW_CONNECTOR];

  w->ends[DW_AGENT].wants = false;
  c->forbidden = test_addr("203.0.113.99");
  dw_run(w, SEC);
  c->n_sent = 0;
  for (size_t i = 0; i < N_OF(offers); i++) {
    assert_int_equal(dw_hear(c, offers[i]), 0);
    dw_run(w, 14 * SEC);
    dw_check_why(c, "no-candidates");
  }
  assert_int_equal(c->n_listened, 4);
  for (size_t i = 0; i < c->n_sent; i++) /* questions to servers apart */
    assert_true(c->sent[i].port == 3478 || c->sent[i].ip[0] == 203);
  assert_int_equal(dw_sent_to(c, "203.0.113.99:443"), 0);
  dw_free(w);
}

/* Not even to whoever has the round's key. */
static void checks_from_forbidden_addresses_get_nothing(void **state) {
  static const char *const from[] = {"127.0.0.1:53", "192.168.7.7:53",
                                     "198.51.100.65:53", "203.0.113.99:53"};
  struct dw *w = dw_new("public", "public", 41);
  struct dw_end *c = &w->ends[DW_CONNECTOR];

  c->forbidden = test_addr("203.0.113.99");
  assert_true(dw_meets(w, SEC));
  for (size_t i = 0; i < N_OF(from); i++) {
    dw_check_arrives(c, from[i]);
    dw_run(w, SEC);
    assert_int_equal(dw_sent_to(c, from[i]), 0);
  }
  dw_check_arrives(c, "203.0.113.50:53");
  dw_run(w, SEC);
  assert_true(dw_sent_to(c, "203.0.113.50:53") > 0);
  dw_free(w);
}

/* The connector forgets their handles when it hears of the next one. */
static void pairs_of_a_former_round_are_not_dialled(void **state) {
  struct dw *w = dw_new("public", "public", 42);
  struct dw_end *a = &w->ends[DW_AGENT];
  bool *blocked = &a->host->blocked[w->ends[DW_CONNECTOR].host->number];
  char first[sizeof(a->said)];

  *blocked = true;
  dw_run(w, 500 * MS);
  strcpy(first, a->said);
  w->cut = true;
  dw_next_round(w, 12);
  assert_int_equal(a->n_said, 2);
  assert_string_equal(dw_status(a, "state"), "gathering");
  *blocked = false;
  strcpy(a->said, first);
  dw_check_arrives(a, "198.51.100.65:4000");
  dw_run(w, SEC);
  assert_true(a->c.stats.n_answers > 0);
  assert_int_equal(a->n_found, 0);
  dw_free(w);
}

/* How many packets went to other ports of an address than 4000. */
static size_t searched(const struct dw_end *e, const char *ip) {
  struct ztna_addr a = test_addr(ip);
  size_t n = 0;

  for (size_t i = 0; i < e->n_sent; i++)
    n += ztna_addr_same_ip(&a, &e->sent[i]) && e->sent[i].port != 4000;
  return n;
}

/* Else it could have a victim's ports searched. */
static void only_an_observed_address_is_searched(void **state) {
  static const char offer[] =
      DW_OFFER(1, DW_AT("203.0.113.50:4000", "reflexive") "," DW_AT(
                      "203.0.113.51:4000", "reflexive"));
  static const char *const observed[] = {"203.0.113.50", "203.0.113.60"};

  for (size_t i = 0; i < N_OF(observed); i++) {
    struct dw *w = dw_new("public", "port-restricted", 25);
    struct dw_end *c = &w->ends[DW_CONNECTOR];

    w->ends[DW_AGENT].wants = false;
    c->observed = test_addr(observed[i]);
    dw_run(w, SEC);
    assert_int_equal(dw_hear(c, offer), 0);
    dw_run(w, 14 * SEC);
    if (i == 0)
      assert_true(searched(c, "203.0.113.50") > 100);
    else
      assert_int_equal(searched(c, "203.0.113.50"), 0);
    assert_int_equal(searched(c, "203.0.113.51"), 0);
    assert_in_range(dw_sent_to(c, "203.0.113.51:4000"), 1, 3 * PUNCH_PROBES);
    dw_free(w);
  }
}

static void messages_that_break_the_format_are_refused(void **state) {
  static const char one[] = DW_AT("203.0.113.50:4000", "host");
  static const char *const bad[] = {
      "{}",
      "{\"round\":1}",
      "{\"round\":0,\"off\":true}",
      "{\"round\":-1,\"off\":true}",
      "{\"round\":4294967296,\"off\":true}",
      "{\"round\":1.5,\"off\":true}",
      "{\"round\":1," DW_KEY ",\"list\":[]}",
      "{\"round\":1," DW_KEY "," DW_HANDLES "}",
      "{\"round\":1," DW_KEY "," DW_HANDLES ",\"list\":{}}",
      "{\"round\":1," DW_KEY ",\"handles\":[\"0102030405060708\"],\"list\":[]}",
      "{\"round\":1,\"id\":\"01\",\"key\":\"" DW_K8 "\"," DW_HANDLES
      ",\"list\":[]}",
      "{\"round\":1,\"key\":\"" DW_K8 DW_K8 DW_K8 DW_K8 "\"," DW_HANDLES
      ",\"list\":[]}",
      "{\"round\":1," DW_HANDLES ",\"list\":[]}",
      "{\"round\":1," DW_HANDLES ",\"at_ms\":-1,\"list\":[]}",
      "{\"round\":1," DW_HANDLES ",\"at_ms\":2001,\"list\":[]}",
      DW_OFFER(1, "1"),
      DW_OFFER(1, DW_AT("203.0.113.50:70000", "host")),
      DW_OFFER(1, DW_AT("example.org:4000", "host")),
      DW_OFFER(1, "{\"addr\":\"203.0.113.50:4000\"}"),
  };
  struct dw *w = dw_new("public", "public", 26);
  struct dw_end *c = &w->ends[DW_CONNECTOR];
  char many[4096] = "";

  for (size_t i = 0; i < N_OF(bad); i++)
    if (dw_hear(c, bad[i]) != ZTNA_EMALFORMED) fail_msg("taken: %s", bad[i]);
  for (int i = 0; i < PUNCH_CANDIDATES; i++) {
    strcat(many, one);
    strcat(many, ",");
  }
  strcat(many, one);
  for (int more = 1; more >= 0; more--) { /* 17 and 16 */
    char text[8192];

    snprintf(text, sizeof(text), DW_OFFER(1, "%s"), many);
    assert_int_equal(dw_hear(c, text), more ? ZTNA_EMALFORMED : 0);
    many[strlen(many) - strlen(one) - 1] = 0;
  }
  assert_int_equal(c->c.stats.drops[REASON_MALFORMED], N_OF(bad) + 1);
  dw_free(w);
}

static void unknown_members_and_kinds_are_passed_over(void **state) {
  struct dw *w = dw_new("public", "public", 27);
  struct dw_end *c = &w->ends[DW_CONNECTOR];
  json_t *j;

  w->ends[DW_AGENT].wants = false;
  assert_int_equal(
      dw_hear(c, "{\"later\":[{}],\"round\":1," DW_KEY "," DW_HANDLES
                 ",\"list\":[" DW_AT("203.0.113.50:1", "relayed") "," DW_AT(
                     "203.0.113.51:1", "host") "]}"),
      0);
  dw_run(w, SEC);
  j = direct_status(c->d);
  assert_int_equal(json_array_size(json_object_get(json_object_get(j, "peer"),
                                                   "candidates")),
                   1);
  json_decref(j);
  dw_free(w);
}

static void old_and_repeated_rounds_are_passed_over(void **state) {
  struct dw *w = dw_new("public", "public", 28);
  struct dw_end *c = &w->ends[DW_CONNECTOR];

  w->ends[DW_AGENT].wants = false;
  dw_hear(c, DW_OFFER(5, DW_AT("203.0.113.50:4000", "host")));
  dw_run(w, SEC);
  dw_hear(c, DW_OFFER(5, DW_AT("203.0.113.51:4000", "host")));
  dw_hear(c, DW_OFFER(4, DW_AT("203.0.113.51:4000", "host")));
  dw_run(w, SEC);
  assert_int_equal(c->n_listened, 1);
  assert_int_equal(dw_sent_to(c, "203.0.113.51:4000"), 0);
  assert_true(dw_sent_to(c, "203.0.113.50:4000") > 0);
  dw_free(w);
}

static void answers_that_nobody_asked_for_are_passed_over(void **state) {
  struct dw *w = dw_new("public", "public", 29);
  struct dw_end *a = &w->ends[DW_AGENT];
  static const char answer[] =
      "{\"round\":1," DW_HANDLES
      ",\"at_ms\":5,\"list\":[" DW_AT("203.0.113.50:4000", "host") "]}";

  a->wants = false;
  assert_int_equal(dw_hear(a, answer), 0);
  assert_int_equal(dw_hear(a, DW_OFFER(1, DW_AT("203.0.113.50:4000", "host"))),
                   0);
  dw_run(w, SEC);
  assert_int_equal(dw_sent_to(a, "203.0.113.50:4000"), 0);
  a->wants = true;
  dw_run(w, SEC);
  assert_true(a->joined);
  assert_int_equal(dw_hear(a, answer), 0);
  dw_run(w, SEC);
  assert_int_equal(dw_sent_to(a, "203.0.113.50:4000"), 0);
  dw_free(w);
}

static void a_peer_that_begins_round_after_round_is_held_back(void **state) {
  struct dw *w = dw_new("public", "public", 30);
  struct dw_end *c = &w->ends[DW_CONNECTOR];

  w->ends[DW_AGENT].wants = false;
  dw_run(w, SEC); /* what the observer knows is there */
  for (int i = 1; i <= 100; i++) {
    char text[2048];

    snprintf(text, sizeof(text),
             "{\"round\":%d," DW_KEY "," DW_HANDLES ",\"list\":[]}", i);
    assert_int_equal(dw_hear(c, text), 0);
    dw_run(w, 10 * MS);
  }
  assert_int_equal(c->n_listened, 8);
  assert_int_equal(c->c.stats.drops[REASON_RATE_LIMITED], 92);
  dw_free(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(forbidden_addresses_get_nothing),
      TEST(checks_from_forbidden_addresses_get_nothing),
      TEST(pairs_of_a_former_round_are_not_dialled),
      TEST(only_an_observed_address_is_searched),
      TEST(messages_that_break_the_format_are_refused),
      TEST(unknown_members_and_kinds_are_passed_over),
      TEST(old_and_repeated_rounds_are_passed_over),
      TEST(answers_that_nobody_asked_for_are_passed_over),
      TEST(a_peer_that_begins_round_after_round_is_held_back),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
