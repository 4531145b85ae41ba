/* test_punch.c - a round of checks: who is believed, and what makes a pair. */
#include "unit.h"
#include "punch_world.h"

/* --- pairs */

static void two_that_are_public_find_each_other_in_one_round_trip(void **s) {
  struct pw *w = pw_new(1, PW_PUBLIC, PW_PUBLIC);
  pw_start(w);
  assert_true(pw_find(w, 2 * SEC));
  assert_true(w->now <= SEC + 20 * MS);
  pw_run(w, 3 * SEC);
  for (int i = 0; i < 2; i++) {
    struct pw_side *s = &w->side[i];
    assert_int_equal(s->n_pairs, 1);
    assert_int_equal(s->pairs[0].sock, 0);
    assert_int_equal(s->pairs[0].rtt, 2 * PW_DELAY_MS * MS);
    assert_true(ztna_addr_equal(&s->pairs[0].remote, &w->side[!i].addr));
    assert_int_equal(s->n_over, 1);
    assert_int_equal(s->why, PUNCH_FOUND);
    assert_true(s->over_at <= SEC + 20 * MS); /* nothing better to wait for */
    assert_true(punch_is_over(s->p) && !punch_is_dead(s->p));
  }
  pw_free(w);
}

static void port_restricted_nats_open_for_each_other(void **s) {
  struct pw *w = pw_new(1, PW_EVEN, PW_EVEN);
  pw_start(w);
  assert_true(pw_find(w, SEC + 60 * MS));
  pw_free(w);
}

static void a_better_pair_has_a_quarter_second_to_come(void **s) {
  struct pw *w = pw_new(1, PW_EVEN, PW_EVEN);
  pw_add_neighbours(w);
  pw_start(w);
  pw_run(w, 2 * SEC);
  assert_int_equal(w->side[0].why, PUNCH_FOUND);
  uint64_t waited = w->side[0].over_at - w->side[0].pairs[0].at;
  assert_true(waited >= 240 * MS && waited <= 260 * MS);
  pw_free(w);
}

static void lost_packets_are_made_good(void **s) {
  for (uint64_t seed = 1; seed <= 50; seed++) {
    struct pw *w = pw_new(seed, PW_EVEN, PW_EVEN);
    w->loss = 20;
    pw_start(w);
    assert_true(pw_find(w, 3 * SEC));
    pw_free(w);
  }
}

/* --- whom to believe */

static void
a_request_is_answered_where_it_came_from_and_checked_back(void **s) {
  struct pw *w = pw_quiet();
  struct by_hand r = hand_request(w);
  assert_true(hand_arrives(w, &r, "198.51.100.1:4000"));
  assert_int_equal(pw_sent_to(&w->side[1], "198.51.100.1:4000", true), 1);
  assert_int_equal(pw_sent_to(&w->side[1], "198.51.100.1:4000", false), 1);
  assert_int_equal(w->side[1].stats.n_checked, 1);
  assert_int_equal(w->side[1].n_pairs, 0); /* not before it answers */
  pw_free(w);
}

static void what_is_not_rightly_keyed_gets_no_answer(void **s) {
  struct pw *w = pw_quiet();
  struct by_hand r = hand_request(w);
  r.key[5] ^= 1;
  assert_true(hand_arrives(w, &r, "198.51.100.1:4000"));
  r = hand_request(w);
  r.m.integrity = STUN_NO_INTEGRITY;
  assert_true(hand_arrives(w, &r, "198.51.100.1:4000"));
  r = hand_request(w);
  r.m.integrity = STUN_HMAC_SHA1;
  assert_true(hand_arrives(w, &r, "198.51.100.1:4000"));
  assert_int_equal(pw_dropped(&w->side[1], REASON_WRONG_SOURCE), 3);
  assert_int_equal(w->side[1].n_sent, 0);
  pw_free(w);
}

static void another_round_is_not_ours(void **s) {
  struct pw *w = pw_quiet();
  struct by_hand r = hand_request(w);
  r.m.username[0] ^= 1;
  assert_false(hand_arrives(w, &r, "198.51.100.1:4000"));
  r = hand_request(w);
  r.m.username_len--;
  assert_false(hand_arrives(w, &r, "198.51.100.1:4000"));
  r = hand_request(w);
  r.m.class = STUN_SUCCESS; /* of a check that nobody sent */
  assert_false(hand_arrives(w, &r, "198.51.100.1:4000"));
  assert_int_equal(w->side[1].n_sent, 0);
  pw_free(w);
}

static void own_requests_that_come_back_are_dropped(void **s) {
  struct pw *w = pw_quiet();
  struct by_hand r = hand_request(w);
  r.m.username[PUNCH_ID_LEN] = 'c';
  assert_true(hand_arrives(w, &r, "198.51.100.1:4000"));
  assert_int_equal(pw_dropped(&w->side[1], REASON_WRONG_SOURCE), 1);
  assert_int_equal(w->side[1].n_sent, 0);
  pw_free(w);
}

static void a_copied_request_makes_nobody_a_peer(void **s) {
  struct pw *w = pw_quiet();
  struct by_hand r = hand_request(w);
  assert_true(hand_arrives(w, &r, "198.51.100.1:4000"));
  assert_true(hand_arrives(w, &r, "203.0.113.66:666"));
  assert_true(hand_arrives(w, &r, "198.51.100.1:4000"));
  assert_int_equal(pw_dropped(&w->side[1], REASON_WRONG_SOURCE), 2);
  assert_int_equal(w->side[1].stats.n_checked, 1);
  assert_int_equal(pw_sent_to(&w->side[1], "203.0.113.66:666", true), 0);
  assert_int_equal(pw_sent_to(&w->side[1], "203.0.113.66:666", false), 0);
  pw_free(w);
}

static void a_stranger_gets_one_answer_and_one_check(void **s) {
  struct pw *w = pw_quiet();
  for (int i = 0; i < 20; i++) {
    struct by_hand r = hand_request(w);
    assert_true(hand_arrives(w, &r, "203.0.113.66:666"));
    pw_run(w, w->now + 50 * MS);
  }
  assert_int_equal(pw_sent_to(&w->side[1], "203.0.113.66:666", true), 1);
  assert_int_equal(pw_sent_to(&w->side[1], "203.0.113.66:666", false), 1);
  assert_int_equal(pw_dropped(&w->side[1], REASON_RATE_LIMITED), 19);
  pw_free(w);
}

static void other_ports_of_the_observed_address_are_no_strangers(void **s) {
  struct pw *w = pw_quiet();
  for (int i = 0; i < 3; i++) {
    struct by_hand r = hand_request(w);
    assert_true(hand_arrives(w, &r, "198.51.100.1:555"));
    pw_run(w, w->now + 50 * MS);
  }
  assert_int_equal(pw_sent_to(&w->side[1], "198.51.100.1:555", true), 3);
  assert_true(pw_sent_to(&w->side[1], "198.51.100.1:555", false) > 2);
  pw_run(w, 3 * SEC);
  assert_true(pw_sent_to(&w->side[1], "198.51.100.1:555", false) <= 10);
  pw_free(w);
}

static void strangers_are_few(void **s) {
  struct pw *w = pw_quiet();
  char from[32];
  for (int i = 0; i < 100; i++) {
    struct by_hand r = hand_request(w);
    snprintf(from, sizeof(from), "203.0.113.%d:666", i + 1);
    assert_true(hand_arrives(w, &r, from));
    pw_run(w, w->now + 50 * MS);
  }
  assert_int_equal(w->side[1].stats.n_checked, 16);
  pw_free(w);
}

static void a_stranger_that_answers_is_one_of_the_peers(void **s) {
  struct pw *w = pw_quiet();
  struct by_hand r = hand_request(w);
  assert_true(hand_arrives(w, &r, "203.0.113.66:666"));
  assert_true(hand_answer(w, "203.0.113.66:666", "203.0.113.66:666", 0));
  assert_int_equal(w->side[1].n_pairs, 1);
  for (int i = 0; i < 3; i++) {
    r = hand_request(w);
    assert_true(hand_arrives(w, &r, "203.0.113.66:666"));
  }
  assert_int_equal(pw_sent_to(&w->side[1], "203.0.113.66:666", true), 4);
  assert_int_equal(w->side[1].n_pairs, 1);
  pw_free(w);
}

static void who_asked_is_checked_until_he_answers(void **s) {
  const char *peer = "198.51.100.1:4000", *late = "198.51.100.1:555";
  struct pw *w = pw_quiet();
  struct by_hand r = hand_request(w);
  assert_true(hand_arrives(w, &r, late));
  r = hand_request(w);
  assert_true(hand_arrives(w, &r, peer));
  assert_true(hand_answer(w, peer, peer, 0));
  pw_run(w, w->now);
  assert_int_equal(w->side[1].n_over, 1);
  size_t n = pw_sent_to(&w->side[1], late, false);
  pw_run(w, w->now + 200 * MS);
  assert_true(pw_sent_to(&w->side[1], late, false) > n);
  assert_true(hand_answer(w, late, late, 0));
  assert_int_equal(w->side[1].n_pairs, 2);
  assert_int_equal(w->side[1].stats.n_found, 1);
  assert_int_equal(w->side[1].n_over, 1);
  pw_free(w);
}

static void an_answer_counts_from_the_address_that_was_asked_only(void **s) {
  struct pw *w = pw_quiet();
  struct by_hand r = hand_request(w);
  const char *peer = "198.51.100.1:4000";
  assert_true(hand_arrives(w, &r, peer));
  assert_true(hand_answer(w, peer, "198.51.100.1:4001", 0));
  assert_true(hand_answer(w, peer, peer, 1));
  assert_int_equal(w->side[1].n_pairs, 0);
  assert_int_equal(pw_dropped(&w->side[1], REASON_WRONG_SOURCE), 2);
  assert_true(hand_answer(w, peer, peer, 0));
  assert_int_equal(w->side[1].n_pairs, 1);
  assert_false(hand_answer(w, peer, peer, 0)); /* honoured once */
  pw_free(w);
}

static void an_answer_on_another_socket_counts_for_nothing(void **s) {
  struct pw *w = pw_quiet();
  struct by_hand r = hand_request(w);
  struct dgram d = {.remote = test_addr("198.51.100.1:4000"), .sock = 3};
  assert_true(hand_arrives(w, &r, "198.51.100.1:4000"));
  r.m.class = STUN_SUCCESS;
  r.m.has_username = false;
  memcpy(r.m.txid, w->side[1].sent[1].txid, sizeof(r.m.txid));
  hand_write(&r);
  assert_true(hand_arrive(w, &r, d));
  assert_int_equal(w->side[1].n_pairs, 0);
  pw_free(w);
}

static void a_request_on_another_rounds_socket_is_dropped(void **s) {
  struct pw *w = pw_quiet();
  struct by_hand r = hand_request(w);
  hand_write(&r);
  assert_true(hand_arrive(
      w, &r,
      (struct dgram){.remote = test_addr("198.51.100.1:4000"), .sock = 3}));
  assert_int_equal(pw_dropped(&w->side[1], REASON_WRONG_DESTINATION), 1);
  assert_int_equal(w->side[1].n_sent, 0);
  pw_free(w);
}

static void what_a_request_demands_and_nobody_knows_is_refused(void **s) {
  struct pw *w = pw_quiet();
  struct by_hand r = hand_request(w);
  hand_write_unknown(&r);
  assert_true(hand_arrive(
      w, &r, (struct dgram){.remote = test_addr("198.51.100.1:4000")}));
  assert_int_equal(pw_dropped(&w->side[1], REASON_MALFORMED), 1);
  assert_int_equal(w->side[1].n_sent, 0);
  pw_free(w);
}

static void answers_and_checks_leave_from_where_the_request_arrived(void **s) {
  struct pw *w = pw_quiet();
  struct by_hand r = hand_request(w);
  struct dgram d = {.remote = test_addr("198.51.100.1:4000"),
                    .local = test_addr("10.0.0.7:4000")};
  hand_write(&r);
  assert_true(hand_arrive(w, &r, d));
  assert_int_equal(w->side[1].n_sent, 2);
  for (int i = 0; i < 2; i++)
    assert_true(ztna_addr_equal(&w->side[1].sent[i].local, &d.local));
  pw_free(w);
}

static void a_round_answers_a_thousand_requests_and_no_more(void **s) {
  struct pw *w = pw_quiet();
  for (int i = 0; i < 1100; i++) {
    struct by_hand r = hand_request(w);
    assert_true(hand_arrives(w, &r, "198.51.100.1:4000"));
    pw_run(w, w->now + 10 * MS);
  }
  assert_int_equal(w->side[1].stats.n_checked, 1024);
  assert_int_equal(pw_dropped(&w->side[1], REASON_RATE_LIMITED), 1100 - 1024);
  pw_free(w);
}

static void what_may_not_be_sent_to_gets_nothing(void **s) {
  struct pw *w = pw_new(1, PW_EVEN, PW_RANDOM);
  w->side[1].refused = w->side[0].addr;
  pw_start(w);
  struct by_hand r = hand_request(w);
  assert_true(hand_arrives(w, &r, "198.51.100.1:4000"));
  assert_int_equal(pw_dropped(&w->side[1], REASON_NOT_ALLOWED), 1);
  pw_run(w, 20 * SEC);
  assert_int_equal(w->side[1].n_sent, 0);
  assert_int_equal(w->side[1].why, PUNCH_NO_CANDIDATES);
  pw_free(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(two_that_are_public_find_each_other_in_one_round_trip),
      TEST(port_restricted_nats_open_for_each_other),
      TEST(a_better_pair_has_a_quarter_second_to_come),
      TEST(lost_packets_are_made_good),
      TEST(a_request_is_answered_where_it_came_from_and_checked_back),
      TEST(what_is_not_rightly_keyed_gets_no_answer),
      TEST(another_round_is_not_ours),
      TEST(own_requests_that_come_back_are_dropped),
      TEST(a_copied_request_makes_nobody_a_peer),
      TEST(a_stranger_gets_one_answer_and_one_check),
      TEST(other_ports_of_the_observed_address_are_no_strangers),
      TEST(strangers_are_few),
      TEST(a_stranger_that_answers_is_one_of_the_peers),
      TEST(who_asked_is_checked_until_he_answers),
      TEST(an_answer_counts_from_the_address_that_was_asked_only),
      TEST(an_answer_on_another_socket_counts_for_nothing),
      TEST(a_request_on_another_rounds_socket_is_dropped),
      TEST(what_a_request_demands_and_nobody_knows_is_refused),
      TEST(answers_and_checks_leave_from_where_the_request_arrived),
      TEST(a_round_answers_a_thousand_requests_and_no_more),
      TEST(what_may_not_be_sent_to_gets_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
