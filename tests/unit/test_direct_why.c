/* test_direct_why.c - what people read when there is no direct path. */
#include "unit.h"
#include "direct_world.h"

static void nothing_is_sent_when_it_is_switched_off(void **state) {
  struct dw *w = dw_new("off public", "off public", 16);

  dw_run(w, 60 * SEC);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(w->ends[i].n_sent + w->ends[i].n_said, 0);
    direct_network_changed(&w->ends[i].c, dw_now(w));
    assert_true(direct_deadline(&w->ends[i].c) == NEVER);
    assert_string_equal(dw_status(&w->ends[i], "state"), "off");
    dw_check_why(&w->ends[i], "off");
  }
  dw_free(w);
}

static void a_connector_that_is_switched_off_says_so(void **state) {
  struct dw *w = dw_new("public", "off public", 17);
  struct dw_end *a = &w->ends[DW_AGENT];

  dw_run(w, SEC);
  dw_check_why(a, "peer-off");
  assert_int_equal(w->ends[DW_CONNECTOR].n_sent, 0);
  DW_NEAR(dw_next_round(w, 100), 60);
  dw_free(w);
}

static void symmetric_ends_are_told_that_they_are(void **state) {
  struct dw *w = dw_hopeless(18);

  dw_check_why(&w->ends[DW_AGENT], "both-symmetric");
  dw_check_why(&w->ends[DW_CONNECTOR], "both-symmetric");
  assert_non_null(strstr(w->log, "agent: direct round failed peer=peer round=1 "
                                 "why=both-symmetric"));
  dw_free(w);
}

static void silence_is_told_as_such(void **state) {
  struct dw *w = dw_new("public", "public", 19);

  w->ends[0].host->blocked[w->ends[1].host->number] = true;
  dw_run(w, 14 * SEC);
  dw_check_why(&w->ends[DW_AGENT], "no-answer");
  dw_free(w);
}

/* Its relay may be asked at the port of the control connection, and nobody else
 * answers. */
static void blocked_udp_is_told_by_both_ends(void **state) {
  struct dw *w = dw_new("public", "public", 20);
  struct dw_end *a = &w->ends[DW_AGENT], *c = &w->ends[DW_CONNECTOR];

  w->deaf_to = a->host->outer[0];
  a->host->blocked[c->host->number] = true;
  dw_run(w, 14 * SEC);
  dw_check_why(a, "udp-blocked");
  dw_check_why(c, "peer-udp-blocked");
  dw_free(w);
}

/* It had the time to find out how it is mapped, from two relays. */
static void blocked_udp_is_told_though_the_mapping_is_known(void **state) {
  struct dw *w = dw_new("public", "public", 46);
  struct dw_end *a = &w->ends[DW_AGENT];

  w->deaf_to = a->host->outer[0];
  a->host->blocked[w->ends[DW_CONNECTOR].host->number] = true;
  a->wants = false;
  dw_run(w, SEC);
  a->wants = true;
  dw_run(w, 4 * SEC);
  dw_check_why(a, "udp-blocked");
  dw_free(w);
}

/* Whether the connector may try the agent's private address or not. */
static void missing_stun_is_told_by_both_ends(void **state) {
  static const char *const connectors[] = {"public", "port-restricted"};

  for (size_t i = 0; i < N_OF(connectors); i++) {
    struct dw *w = dw_new("port-restricted", connectors[i], 45);

    w->ends[0].host->off = true;
    dw_run(w, 14 * SEC);
    dw_check_why(&w->ends[DW_AGENT], "no-stun");
    dw_check_why(&w->ends[DW_CONNECTOR], "peer-no-stun");
    dw_free(w);
  }
}

static void ends_without_a_common_family_are_told(void **state) {
  struct dw *w = dw_new("public", "dual public", 21);
  struct dw_end *c = &w->ends[DW_CONNECTOR];

  w->silent = true;
  c->outside.locals[0] = c->outside.locals[1];
  c->outside.n_locals = 1;
  dw_run(w, 14 * SEC);
  dw_check_why(&w->ends[DW_AGENT], "no-candidates");
  dw_free(w);
}

static void a_pair_without_a_handshake_failed(void **state) {
  struct dw *w = dw_new("public", "public", 22);
  struct dw_end *a = &w->ends[DW_AGENT];

  w->no_way = true;
  dw_run(w, SEC);
  assert_string_equal(dw_status(a, "state"), "found");
  dw_run(w, 3 * SEC);
  dw_check_why(a, "no-handshake");
  DW_NEAR(dw_next_round(w, 20), 5 - 0.9);
  w->no_way = false;
  assert_true(dw_meets(w, 20 * SEC));
  dw_free(w);
}

static void status_shows_what_each_end_said(void **state) {
  struct dw *w = dw_new("port-restricted", "public", 23);
  json_t *j, *own, *peer;

  assert_true(dw_meets(w, SEC));
  assert_true(dw_status_number(&w->ends[DW_AGENT], "took_ms") > 10);
  assert_true(dw_status_number(&w->ends[DW_AGENT], "took_ms") < 300);
  j = direct_status(w->ends[DW_AGENT].d);
  own = json_object_get(j, "own");
  peer = json_object_get(j, "peer");
  assert_string_equal(json_string_value(json_object_get(own, "mapping")),
                      "endpoint-independent");
  assert_string_equal(json_string_value(json_object_get(peer, "mapping")),
                      "none");
  assert_string_equal(
      json_string_value(json_array_get(json_object_get(own, "candidates"), 1)),
      "198.51.100.1:4000 reflexive");
  assert_null(json_object_get(j, "why"));
  json_decref(j);
  dw_free(w);
}

static void status_of_ends_without_nat_is_short(void **state) {
  struct dw *w = dw_new("public", "public", 39);
  json_t *j;

  assert_true(dw_meets(w, SEC));
  j = direct_status(w->ends[DW_AGENT].d);
  assert_int_equal(
      json_array_size(json_object_get(json_object_get(j, "own"), "candidates")),
      1);
  json_decref(j);
  dw_free(w);
}

/* However many addresses a machine has. */
static void outer_addresses_are_always_said(void **state) {
  struct dw *w = dw_new("port-restricted", "public", 40);
  struct dw_end *a = &w->ends[DW_AGENT];

  for (int i = 0; i < 20; i++) {
    struct ztna_local *l = &a->outside.locals[a->outside.n_locals++];

    *l = a->outside.locals[0];
    l->addr.ip[3] = (uint8_t)(100 + i);
  }
  a->outside.mapped[0] = test_addr("198.51.100.1:5000");
  a->outside.n_mapped = 1;
  dw_run(w, SEC);
  assert_non_null(strstr(
      a->said, "{\"addr\":\"198.51.100.1:4000\",\"kind\":\"reflexive\"}"));
  assert_non_null(
      strstr(a->said, "{\"addr\":\"198.51.100.1:5000\",\"kind\":\"mapped\"}"));
  assert_non_null(strstr(a->said, "192.168.1.10:4000"));
  dw_free(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(nothing_is_sent_when_it_is_switched_off),
      TEST(a_connector_that_is_switched_off_says_so),
      TEST(symmetric_ends_are_told_that_they_are),
      TEST(silence_is_told_as_such),
      TEST(blocked_udp_is_told_by_both_ends),
      TEST(blocked_udp_is_told_though_the_mapping_is_known),
      TEST(missing_stun_is_told_by_both_ends),
      TEST(ends_without_a_common_family_are_told),
      TEST(a_pair_without_a_handshake_failed),
      TEST(status_shows_what_each_end_said),
      TEST(status_of_ends_without_nat_is_short),
      TEST(outer_addresses_are_always_said),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
