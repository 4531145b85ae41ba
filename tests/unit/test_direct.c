/* test_direct.c - two ends of a link find a direct path, and say why they did
 * not. */
#include "unit.h"
#include "direct_world.h"

#include "base/hex.h"

/* --- finding --- */

static void check_found(const struct dw *w, int family, const char *remote) {
  const struct dw_end *a = &w->ends[DW_AGENT], *c = &w->ends[DW_CONNECTOR];
  struct ztna_addr want = test_addr(remote);

  assert_true(ztna_addr_equal(&a->found[family], &want));
  assert_int_equal(a->found_sock[family], 0);
  assert_memory_equal(a->handles[family], c->peer[family], HANDLE_LEN);
  assert_memory_equal(a->peer[family], c->handles[family], HANDLE_LEN);
  assert_memory_not_equal(a->peer[family], a->handles[family], HANDLE_LEN);
}

static void two_public_ends_meet_at_once(void **state) {
  struct dw *w = dw_new("public", "public", 1);
  uint64_t began = dw_now(w);

  assert_true(dw_meets(w, SEC));
  assert_true(dw_now(w) - began < 100 * MS);
  check_found(w, 0, "198.51.100.65:4000");
  assert_int_equal(w->ends[DW_AGENT].n_found, 1);
  assert_string_equal(dw_status(&w->ends[DW_AGENT], "state"), "direct");
  assert_string_equal(dw_status(&w->ends[DW_CONNECTOR], "state"), "direct");
  dw_free(w);
}

static void both_families_are_found(void **state) {
  struct dw *w = dw_new("dual public", "dual public", 2);

  dw_run(w, SEC);
  check_found(w, 0, "198.51.100.65:4000");
  check_found(w, 1, "[2001:db8:2::1]:4000");
  assert_int_equal(w->ends[DW_AGENT].n_found, 2);
  assert_memory_not_equal(w->ends[DW_AGENT].handles[0],
                          w->ends[DW_AGENT].handles[1], HANDLE_LEN);
  dw_free(w);
}

static void port_restricted_ends_meet_at_their_outer_addresses(void **state) {
  struct dw *w = dw_new("port-restricted", "port-restricted", 3);

  assert_true(dw_meets(w, SEC));
  check_found(w, 0, "198.51.100.65:4000");
  dw_free(w);
}

/* With the newest port said, or it would not be found at once. */
static void sequential_ports_are_predicted(void **state) {
  for (uint64_t seed = 1; seed <= 10; seed++) {
    struct dw *w = dw_new("sym-seq", "port-restricted", seed);
    json_t *j;

    assert_true(dw_meets(w, 2 * SEC));
    j = json_loads(w->ends[DW_AGENT].said, 0, NULL);
    assert_true(json_integer_value(
                    json_object_get(json_object_get(j, "nat"), "last")) > 0);
    json_decref(j);
    dw_free(w);
  }
}

/* The path lives on a socket of the search, at one of the ends. */
static void a_searched_path_keeps_its_socket(void **state) {
  struct dw *w = dw_new("port-restricted", "sym-random", 5);
  struct dw_end *c = &w->ends[DW_CONNECTOR];

  assert_true(dw_meets(w, 30 * SEC));
  assert_true(c->sock > 0);
  dw_run(w, 20 * SEC);
  assert_true(vnet_sock_port(c->host, c->sock, 4) > 0);
  assert_int_equal(vnet_socks_open(c->host), 1);
  direct_release(&c->c, c->sock, 4);
  dw_run(w, MS);
  assert_int_equal(vnet_socks_open(c->host), 0);
  assert_false(c->c.socks.used[c->sock]);
  dw_free(w);
}

/* The round answers by it as long as it lives: sent on a closed socket, that
 * would open it again. */
static void a_socket_given_back_is_closed_behind_the_round(void **state) {
  struct dw *w = dw_new("sym-random", "port-restricted", 6);
  struct dw_end *a = &w->ends[DW_AGENT];

  assert_true(dw_meets(w, 30 * SEC));
  assert_true(a->sock > 0);
  direct_release(&a->c, a->sock, 4);
  dw_run(w, MS);
  assert_true(a->c.socks.used[a->sock]);
  dw_run(w, 20 * SEC);
  assert_false(a->c.socks.used[a->sock]);
  assert_int_equal(vnet_socks_open(a->host), 0);
  dw_free(w);
}

static void every_round_has_ids_keys_and_handles_of_its_own(void **state) {
  static const char *const keys[] = {"id", "key"};
  struct dw *w = dw_new("public", "public", 7);
  struct dw_end *a = &w->ends[DW_AGENT];
  json_t *first, *second;

  w->cut = true;
  dw_run(w, SEC);
  first = json_loads(a->said, 0, NULL);
  dw_run(w, 10 * SEC);
  second = json_loads(a->said, 0, NULL);
  assert_int_equal(json_integer_value(json_object_get(first, "round")) + 1,
                   json_integer_value(json_object_get(second, "round")));
  for (size_t i = 0; i < N_OF(keys); i++)
    assert_string_not_equal(
        json_string_value(json_object_get(first, keys[i])),
        json_string_value(json_object_get(second, keys[i])));
  assert_false(json_equal(json_object_get(first, "handles"),
                          json_object_get(second, "handles")));
  json_decref(first);
  json_decref(second);
  dw_free(w);
}

/* --- when --- */

/* Waits for the next word of the agent; how long that took. */
static double next_round(struct dw *w, double at_most) {
  struct dw_end *a = &w->ends[DW_AGENT];
  uint64_t began = dw_now(w);
  size_t n = a->n_said;

  while (a->n_said == n && dw_now(w) - began < (uint64_t)(at_most * SEC))
    dw_run(w, 10 * MS);
  return (double)(dw_now(w) - began) / SEC;
}

#define NEAR(value, want)                                      \
  do {                                                         \
    double v_ = (value), w_ = (want);                          \
    if (v_ < w_ * 0.8 - 0.06 || v_ > w_ * 1.2 + 0.06)          \
      fail_msg("%s is %.3f, want about %.3f", #value, v_, w_); \
  } while (0)

/* 2 s of patience with the answer each time, and what the observer takes. */
static void rounds_that_fail_are_repeated_ever_more_rarely(void **state) {
  static const double after[] = {5, 10, 20, 40, 60, 60, 60};
  struct dw *w = dw_new("public", "public", 8);

  w->cut = true;
  assert_true(next_round(w, 1) < 0.1);
  for (size_t i = 0; i < N_OF(after); i++) {
    dw_run(w, 2010 * MS);
    assert_string_equal(dw_status(&w->ends[DW_AGENT], "why"), "no-reply");
    assert_string_equal(dw_status(&w->ends[DW_AGENT], "state"), "waiting");
    NEAR(dw_status_number(&w->ends[DW_AGENT], "next_ms") / 1e3, after[i]);
    NEAR(next_round(w, 100), after[i]);
  }
  assert_int_equal(dw_status_number(&w->ends[DW_AGENT], "rounds"), 8);
  dw_free(w);
}

static void links_that_failed_together_do_not_try_together(void **state) {
  double least = 100, most = 0;

  for (uint64_t seed = 1; seed <= 20; seed++) {
    struct dw *w = dw_new("public", "public", seed);
    double t;

    w->cut = true;
    dw_run(w, 2100 * MS);
    t = next_round(w, 10);
    least = t < least ? t : least;
    most = t > most ? t : most;
    dw_free(w);
  }
  assert_true(most - least > 1);
}

static void a_path_that_lived_is_replaced_at_once(void **state) {
  struct dw *w = dw_new("public", "public", 9);

  assert_true(dw_meets(w, SEC));
  dw_run(w, 61 * SEC);
  dw_lose(w);
  assert_true(dw_meets(w, 200 * MS));
  dw_free(w);
}

/* An interruption is forgiven, a path that breaks again and again is not. */
static void a_path_that_breaks_is_tried_ever_more_rarely(void **state) {
  static const double after[] = {1, 5, 10, 20, 40, 60, 60};
  struct dw *w = dw_new("public", "public", 10);

  assert_true(dw_meets(w, SEC));
  for (size_t i = 0; i < N_OF(after); i++) {
    dw_run(w, 2 * SEC);
    dw_lose(w);
    assert_string_equal(dw_status(&w->ends[DW_AGENT], "why"), "lost");
    NEAR(next_round(w, 100), after[i]);
    assert_true(dw_meets(w, SEC));
  }
  dw_run(w, 61 * SEC);
  dw_lose(w);
  assert_true(dw_meets(w, 200 * MS));
  dw_run(w, 2 * SEC);
  dw_lose(w);
  NEAR(next_round(w, 100), 1);
  dw_free(w);
}

/* Neither sees the other through these. */
static struct dw *hopeless(uint64_t seed) {
  struct dw *w = dw_new("sym-random", "sym-random", seed);

  dw_run(w, 14 * SEC);
  assert_false(w->ends[DW_AGENT].joined);
  return w;
}

static void a_changed_network_begins_all_anew(void **state) {
  struct dw *w = hopeless(11);
  struct dw_end *a = &w->ends[DW_AGENT];
  size_t n = a->n_said;

  direct_network_changed(&a->c, dw_now(w));
  dw_run(w, 600 * MS);
  assert_int_equal(a->n_said, n + 1);
  dw_free(w);
}

static void a_network_that_changes_within_a_round_begins_it_anew(void **state) {
  struct dw *w = dw_new("port-restricted", "public", 12);
  struct dw_end *a = &w->ends[DW_AGENT];

  dw_run(w, 45 * MS);
  assert_int_equal(a->n_said, 1);
  assert_int_equal(a->n_found, 0);
  a->wants = false; /* it was wanted, and still is */
  direct_network_changed(&a->c, dw_now(w));
  assert_true(dw_meets(w, 600 * MS));
  assert_int_equal(a->n_said, 2);
  dw_free(w);
}

static void a_connector_whose_network_changed_tells_the_agent(void **state) {
  struct dw *w = hopeless(13);
  struct dw_end *a = &w->ends[DW_AGENT], *c = &w->ends[DW_CONNECTOR];
  size_t n = a->n_said;

  vnet_behind(c->host, NULL);
  vnet_readdress(c->host, "198.51.100.70:4000", NULL);
  c->outside.locals[0].addr = test_addr("198.51.100.70:4000");
  direct_network_changed(&c->c, dw_now(w));
  assert_true(dw_meets(w, 2 * SEC));
  assert_true(a->n_said > n);
  dw_free(w);
}

static void a_peer_cannot_drive_rounds_by_wishes(void **state) {
  struct dw *w = hopeless(14);
  struct dw_end *a = &w->ends[DW_AGENT];
  size_t n = a->n_said;

  for (int i = 0; i < 400; i++) {
    dw_hear(a, "{\"type\":\"candidates\",\"anew\":true}");
    dw_run(w, 10 * MS);
  }
  assert_true(a->n_said == n + 1);
  assert_int_equal(a->c.stats.drops[REASON_RATE_LIMITED], 399);
  dw_free(w);
}

static void without_a_path_to_talk_over_it_waits(void **state) {
  struct dw *w = dw_new("public", "public", 15);
  struct dw_end *a = &w->ends[DW_AGENT];

  a->mute = true;
  dw_run(w, 500 * MS);
  assert_string_equal(dw_status(a, "why"), "no-path");
  a->mute = false;
  assert_true(dw_meets(w, 700 * MS));
  dw_free(w);
}

/* --- why not --- */

static void check_why(struct dw_end *e, const char *why) {
  assert_string_equal(dw_status(e, "why"), why);
  assert_true(strlen(dw_status(e, "text")) > 10);
  assert_true(strlen(dw_status(e, "fix")) > 5);
  assert_string_not_equal(dw_status(e, "state"), "direct");
}

static void nothing_is_sent_when_it_is_switched_off(void **state) {
  struct dw *w = dw_new("off public", "off public", 16);

  dw_run(w, 60 * SEC);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(w->ends[i].n_sent + w->ends[i].n_said, 0);
    direct_network_changed(&w->ends[i].c, dw_now(w));
    assert_true(direct_deadline(&w->ends[i].c) == NEVER);
    assert_string_equal(dw_status(&w->ends[i], "state"), "off");
    check_why(&w->ends[i], "off");
  }
  dw_free(w);
}

static void a_connector_that_is_switched_off_says_so(void **state) {
  struct dw *w = dw_new("public", "off public", 17);
  struct dw_end *a = &w->ends[DW_AGENT];

  dw_run(w, SEC);
  check_why(a, "peer-off");
  assert_int_equal(w->ends[DW_CONNECTOR].n_sent, 0);
  NEAR(next_round(w, 100), 60);
  dw_free(w);
}

static void symmetric_ends_are_told_that_they_are(void **state) {
  struct dw *w = hopeless(18);

  check_why(&w->ends[DW_AGENT], "both-symmetric");
  check_why(&w->ends[DW_CONNECTOR], "both-symmetric");
  assert_non_null(strstr(w->log, "agent: direct round failed peer=peer round=1 "
                                 "why=both-symmetric"));
  dw_free(w);
}

static void silence_is_told_as_such(void **state) {
  struct dw *w = dw_new("public", "public", 19);

  w->ends[0].host->blocked[w->ends[1].host->number] = true;
  dw_run(w, 14 * SEC);
  check_why(&w->ends[DW_AGENT], "no-answer");
  dw_free(w);
}

/* Its relay may be asked, and nobody else answers. */
static void blocked_udp_is_told_by_both_ends(void **state) {
  struct dw *w = dw_new("public", "public", 20);

  w->ends[0].host->off = true;
  dw_run(w, 14 * SEC);
  check_why(&w->ends[DW_AGENT], "udp-blocked");
  check_why(&w->ends[DW_CONNECTOR], "peer-udp-blocked");
  dw_free(w);
}

static void ends_without_a_common_family_are_told(void **state) {
  struct dw *w = dw_new("public", "dual public", 21);
  struct dw_end *c = &w->ends[DW_CONNECTOR];

  w->silent = true;
  c->outside.locals[0] = c->outside.locals[1];
  c->outside.n_locals = 1;
  dw_run(w, 14 * SEC);
  check_why(&w->ends[DW_AGENT], "no-candidates");
  dw_free(w);
}

static void a_pair_without_a_handshake_failed(void **state) {
  struct dw *w = dw_new("public", "public", 22);
  struct dw_end *a = &w->ends[DW_AGENT];

  w->no_way = true;
  dw_run(w, SEC);
  assert_string_equal(dw_status(a, "state"), "found");
  dw_run(w, 3 * SEC);
  check_why(a, "no-handshake");
  NEAR(next_round(w, 20), 5 - 0.9);
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

/* --- whom a peer can harm --- */

#define KEY "\"id\":\"0102030405060708\",\"key\":\"" K8 K8 K8 K8 "\""
#define K8 "0102030405060708"
#define HANDLES "\"handles\":[\"0102030405060708\",\"1112131415161718\"]"
#define OFFER(round, list)                                               \
  "{\"type\":\"candidates\",\"round\":" #round "," KEY "," HANDLES       \
  ",\"nat\":{\"mapping\":\"address-and-port-dependent\",\"allocation\":" \
  "\"random\"},\"list\":[" list "]}"
#define AT(addr, kind) "{\"addr\":\"" addr "\",\"kind\":\"" kind "\"}"

static void forbidden_addresses_get_nothing(void **state) {
  static const char *const offers[] = {
      OFFER(
          1,
          AT("127.0.0.1:53", "reflexive") "," AT("224.0.0.1:9", "host") "," AT("255.255.255.255:9", "host") "," AT("0.0.0.0:9", "host") "," AT(
              "169.254.169.254:80",
              "host") "," AT("10.1.2.3:80",
                             "reflexive") "," AT("192.168.1.20:22",
                                                 "host") "," AT("192.168.1.255:"
                                                                "9",
                                                                "host") "," AT("198.51.100.65:4000",
                                                                               "mapped") "," AT("203.0.113.99:443",
                                                                                                "host") "," AT("[::1]:53",
                                                                                                               "reflexive") "," AT("[fe80::1]:9",
                                                                                                                                   "host") "," AT("[ff02::1]:9",
                                                                                                                                                  "host") "," AT("100.64.0.1:9",
                                                                                                                                                                 "host")),
      OFFER(2, AT("203.0.113.99:443", "reflexive")),
      OFFER(3, AT("127.0.0.1:53", "reflexive")),
      OFFER(4, AT("192.168.7.7:53", "reflexive")),
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
  }
  assert_int_equal(c->n_listened, 4);
  for (size_t i = 0; i < c->n_sent; i++) /* questions to servers apart */
    assert_true(c->sent[i].port == 3478 || c->sent[i].ip[0] == 203);
  assert_int_equal(dw_sent_to(c, "203.0.113.99:443"), 0);
  dw_free(w);
}

/* Else it could have a victim's ports searched beside its own. */
static void only_one_reflexive_address_is_searched(void **state) {
  struct dw *w = dw_new("public", "port-restricted", 25);
  struct dw_end *c = &w->ends[DW_CONNECTOR];
  size_t n = 0;

  w->ends[DW_AGENT].wants = false;
  dw_run(w, SEC);
  dw_hear(c, OFFER(1, AT("203.0.113.50:4000", "reflexive") "," AT(
                          "203.0.113.51:4000", "reflexive")));
  dw_run(w, 14 * SEC);
  for (size_t i = 0; i < c->n_sent; i++) n += c->sent[i].ip[3] == 51;
  assert_in_range(n, 1, 3 * PUNCH_PROBES);
  dw_free(w);
}

static void messages_that_break_the_format_are_refused(void **state) {
  static const char one[] = AT("203.0.113.50:4000", "host");
  static const char *const bad[] = {
      "{}",
      "{\"round\":1}",
      "{\"round\":0,\"off\":true}",
      "{\"round\":-1,\"off\":true}",
      "{\"round\":4294967296,\"off\":true}",
      "{\"round\":1.5,\"off\":true}",
      "{\"round\":1," KEY ",\"list\":[]}",
      "{\"round\":1," KEY "," HANDLES "}",
      "{\"round\":1," KEY "," HANDLES ",\"list\":{}}",
      "{\"round\":1," KEY ",\"handles\":[\"0102030405060708\"],\"list\":[]}",
      "{\"round\":1,\"id\":\"01\",\"key\":\"" K8 "\"," HANDLES ",\"list\":[]}",
      "{\"round\":1,\"key\":\"" K8 K8 K8 K8 "\"," HANDLES ",\"list\":[]}",
      "{\"round\":1," HANDLES ",\"list\":[]}",
      "{\"round\":1," HANDLES ",\"at_ms\":-1,\"list\":[]}",
      "{\"round\":1," HANDLES ",\"at_ms\":2001,\"list\":[]}",
      OFFER(1, "1"),
      OFFER(1, AT("203.0.113.50:70000", "host")),
      OFFER(1, AT("example.org:4000", "host")),
      OFFER(1, "{\"addr\":\"203.0.113.50:4000\"}"),
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

    snprintf(text, sizeof(text), OFFER(1, "%s"), many);
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
  assert_int_equal(dw_hear(c,
                           "{\"later\":[{}],\"round\":1," KEY "," HANDLES
                           ",\"list\":[" AT("203.0.113.50:1", "relayed") "," AT(
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
  dw_hear(c, OFFER(5, AT("203.0.113.50:4000", "host")));
  dw_run(w, SEC);
  dw_hear(c, OFFER(5, AT("203.0.113.51:4000", "host")));
  dw_hear(c, OFFER(4, AT("203.0.113.51:4000", "host")));
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
      "{\"round\":1," HANDLES
      ",\"at_ms\":5,\"list\":[" AT("203.0.113.50:4000", "host") "]}";

  a->wants = false;
  assert_int_equal(dw_hear(a, answer), 0);
  assert_int_equal(dw_hear(a, OFFER(1, AT("203.0.113.50:4000", "host"))), 0);
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
             "{\"round\":%d," KEY "," HANDLES ",\"list\":[]}", i);
    assert_int_equal(dw_hear(c, text), 0);
    dw_run(w, 10 * MS);
  }
  assert_int_equal(c->n_listened, 8);
  assert_int_equal(c->c.stats.drops[REASON_RATE_LIMITED], 92);
  dw_free(w);
}

/* --- packets --- */

static void stun_that_is_nobodys_is_dropped_and_counted(void **state) {
  struct stun_msg m = {.class = STUN_REQUEST, .method = STUN_BINDING};
  uint8_t data[STUN_MAX];
  size_t len = (size_t)stun_write(data, &m, NULL, 0, NULL);
  struct dw *w = dw_new("public", "public", 31);
  struct dw_end *c = &w->ends[DW_CONNECTOR];
  struct dgram train = {.remote = test_addr("203.0.113.50:4000")};
  uint8_t two[2 * STUN_HEADER];

  assert_true(dw_arrives(c, "203.0.113.50:4000", data, len));
  assert_int_equal(c->c.stats.drops[REASON_WRONG_SOURCE], 1);
  memcpy(two, data, STUN_HEADER);
  memcpy(two + STUN_HEADER, data, STUN_HEADER);
  two[STUN_HEADER + 3] = 4; /* a length that is not there */
  train.data = two;
  train.len = sizeof(two);
  train.seg = STUN_HEADER;
  assert_true(direct_udp_in(&c->c, dw_now(w), &train));
  assert_int_equal(c->c.stats.drops[REASON_WRONG_SOURCE], 2);
  assert_int_equal(c->c.stats.drops[REASON_MALFORMED], 1);
  dw_run(w, SEC);
  assert_int_equal(dw_sent_to(c, "203.0.113.50:4000"), 0);
  dw_free(w);
}

static void what_is_not_stun_is_left_to_quic(void **state) {
  static const uint8_t quic[64] = {0x40}, zero[64];
  struct dw *w = dw_new("public", "public", 32);
  struct dw_end *c = &w->ends[DW_CONNECTOR];

  assert_false(dw_arrives(c, "203.0.113.50:4000", quic, sizeof(quic)));
  assert_false(dw_arrives(c, "203.0.113.50:4000", zero, sizeof(zero)));
  assert_false(dw_arrives(c, "203.0.113.50:4000", zero, 0));
  dw_free(w);
}

static void idle_links_cost_nothing(void **state) {
  struct dw *w = dw_new("public", "public", 33);

  assert_true(dw_meets(w, SEC));
  dw_run(w, 20 * SEC);
  for (int i = 0; i < 2; i++) {
    struct dgram v[4];

    assert_true(direct_deadline(&w->ends[i].c) == NEVER);
    assert_null(w->ends[i].c.first);
    assert_int_equal(direct_next(&w->ends[i].c, dw_now(w), v, 4), 0);
  }
  dw_free(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(two_public_ends_meet_at_once),
      TEST(both_families_are_found),
      TEST(port_restricted_ends_meet_at_their_outer_addresses),
      TEST(sequential_ports_are_predicted),
      TEST(a_searched_path_keeps_its_socket),
      TEST(a_socket_given_back_is_closed_behind_the_round),
      TEST(every_round_has_ids_keys_and_handles_of_its_own),
      TEST(rounds_that_fail_are_repeated_ever_more_rarely),
      TEST(links_that_failed_together_do_not_try_together),
      TEST(a_path_that_lived_is_replaced_at_once),
      TEST(a_path_that_breaks_is_tried_ever_more_rarely),
      TEST(a_changed_network_begins_all_anew),
      TEST(a_network_that_changes_within_a_round_begins_it_anew),
      TEST(a_connector_whose_network_changed_tells_the_agent),
      TEST(a_peer_cannot_drive_rounds_by_wishes),
      TEST(without_a_path_to_talk_over_it_waits),
      TEST(nothing_is_sent_when_it_is_switched_off),
      TEST(a_connector_that_is_switched_off_says_so),
      TEST(symmetric_ends_are_told_that_they_are),
      TEST(silence_is_told_as_such),
      TEST(blocked_udp_is_told_by_both_ends),
      TEST(ends_without_a_common_family_are_told),
      TEST(a_pair_without_a_handshake_failed),
      TEST(status_shows_what_each_end_said),
      TEST(forbidden_addresses_get_nothing),
      TEST(only_one_reflexive_address_is_searched),
      TEST(messages_that_break_the_format_are_refused),
      TEST(unknown_members_and_kinds_are_passed_over),
      TEST(old_and_repeated_rounds_are_passed_over),
      TEST(answers_that_nobody_asked_for_are_passed_over),
      TEST(a_peer_that_begins_round_after_round_is_held_back),
      TEST(stun_that_is_nobodys_is_dropped_and_counted),
      TEST(what_is_not_stun_is_left_to_quic),
      TEST(idle_links_cost_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
