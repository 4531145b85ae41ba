/* test_punch_plan.c - what a round sends to whom, when, and how much of it. */
#include "unit.h"
#include "punch_world.h"

/* --- what is sent when */

static void nats_are_opened_by_packets_that_die_before_others_follow(void **s) {
  struct pw *w = pw_new(1, PW_EVEN, PW_EVEN);
  w->side[0].deaf = w->side[1].deaf = true;
  w->side[0].o.rtt = w->side[1].o.rtt = 100 * MS;
  pw_start(w);
  pw_run(w, 4 * SEC);
  struct pw_side *x = &w->side[0];
  static const uint64_t at[] = {0, 50, 80, 130, 230, 430, 830, 1630};
  assert_int_equal(x->n_sent, N_OF(at));
  for (size_t i = 0; i < N_OF(at); i++) {
    assert_int_equal((x->sent[i].at - SEC) / MS, at[i]);
    assert_int_equal(x->sent[i].ttl, i ? 0 : 2);
  }
  assert_int_equal(x->why, PUNCH_NO_ANSWER);
  assert_true(x->over_at <= 4 * SEC);
  pw_free(w);
}

static void neighbours_and_ipv6_need_no_opener(void **s) {
  static const char *const to[] = {"[2001:db8::5]:4000", "192.168.1.5:4000"};
  struct pw *w = pw_new(1, PW_EVEN, PW_EVEN);
  struct punch_side *own = &w->side[0].o.own, *peer = &w->side[1].o.own;
  own->list[own->n++].addr = test_addr("[2001:db8::4]:4000");
  for (int i = 0; i < 2; i++) peer->list[peer->n++].addr = test_addr(to[i]);
  pw_start(w);
  pw_run(w, SEC);
  assert_int_equal(w->side[0].n_sent, 3);
  for (int i = 0; i < 3; i++) {
    struct pw_sent *x = &w->side[0].sent[i];
    bool opens = ztna_addr_same_ip(&x->to, &w->side[1].addr);
    assert_int_equal(x->at, SEC);
    assert_int_equal(x->ttl, opens ? 2 : 0);
  }
  pw_free(w);
}

static void no_address_gets_more_than_ten_probes(void **s) {
  struct pw *w = pw_quiet();
  for (int i = 0; i < 100; i++) {
    struct by_hand r = hand_request(w);
    assert_true(hand_arrives(w, &r, "198.51.100.1:4000"));
    pw_run(w, w->now + 20 * MS);
  }
  assert_int_equal(pw_sent_to(&w->side[1], "198.51.100.1:4000", true), 100);
  assert_int_equal(pw_sent_to(&w->side[1], "198.51.100.1:4000", false), 10);
  pw_free(w);
}

static void a_request_makes_no_check_when_one_is_under_way(void **s) {
  struct pw *w = pw_quiet();
  pw_run(w, SEC + 21 * MS);
  size_t n = pw_sent_to(&w->side[1], "198.51.100.1:4000", false);
  assert_int_equal(n, 2); /* the opener and the first that is to arrive */
  struct by_hand r = hand_request(w);
  assert_true(hand_arrives(w, &r, "198.51.100.1:4000"));
  assert_int_equal(pw_sent_to(&w->side[1], "198.51.100.1:4000", false), n);
  pw_free(w);
}

static void an_address_that_is_named_twice_is_one(void **s) {
  struct pw *w = pw_new(1, PW_EVEN, PW_EVEN);
  struct punch_side *own = &w->side[0].o.own;
  own->list[own->n++] = own->list[0];
  w->side[0].deaf = w->side[1].deaf = true;
  pw_start(w);
  pw_run(w, 4 * SEC);
  assert_int_equal(w->side[1].n_sent, 8);
  pw_free(w);
}

static void who_begins_late_says_each_thing_once(void **s) {
  struct pw *w = pw_new(1, PW_EVEN, PW_EVEN);
  w->side[0].deaf = w->side[1].deaf = true;
  w->now = SEC + 300 * MS;
  pw_start(w);
  pw_run(w, w->now);
  assert_int_equal(w->side[0].n_sent, 2);
  assert_int_equal(w->side[0].sent[0].ttl, 2);
  assert_int_equal(w->side[0].sent[1].ttl, 0);
  pw_free(w);
}

static void families_that_only_one_has_are_left_alone(void **s) {
  struct pw *w = pw_new(1, PW_EVEN, PW_EVEN);
  w->side[0].o.own.list[0].addr = test_addr("[2001:db8::4]:4000");
  pw_start(w);
  pw_run(w, 5 * SEC);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(w->side[i].n_sent, 0);
    assert_int_equal(w->side[i].why, PUNCH_NO_CANDIDATES);
    assert_true(w->side[i].over_at <= SEC);
  }
  pw_free(w);
}

static void a_round_is_deaf_after_its_15_seconds(void **s) {
  struct pw *w = pw_quiet();
  pw_run(w, 16 * SEC - MS);
  struct by_hand r = hand_request(w);
  assert_true(hand_arrives(w, &r, "203.0.113.66:666"));
  assert_int_equal(w->side[1].stats.n_checked, 1);
  assert_false(punch_is_dead(w->side[1].p));
  pw_run(w, 16 * SEC);
  size_t n_sent = w->side[1].n_sent;
  r = hand_request(w);
  assert_true(hand_arrives(w, &r, "198.51.100.1:4000"));
  assert_int_equal(pw_dropped(&w->side[1], REASON_EXPIRED), 1);
  assert_int_equal(w->side[1].n_sent, n_sent);
  assert_int_equal(w->side[1].n_over, 1);
  assert_true(punch_is_dead(w->side[1].p));
  assert_int_equal(punch_deadline(w->side[1].p), NEVER);
  pw_free(w);
}

/* --- budgets */

static void many_rounds_share_what_a_process_may_send(void **s) {
  enum { ROUNDS = 40 };
  struct pw *w = pw_new(1, PW_EVEN, PW_RANDOM);
  struct pw_side *easy = &w->side[0];
  struct punch_peer_budget peers[ROUNDS] = {{0}};
  struct punch *p[ROUNDS];
  struct dgram v[8];
  size_t n_sent = 0;

  easy->o.peer = w->side[1].o.own;
  for (int i = 0; i < ROUNDS; i++) {
    easy->o.peer_budget = &peers[i];
    p[i] = punch_new(&easy->o, w->now);
  }
  for (w->now = 2 * SEC; w->now < 3 * SEC; w->now += MS)
    for (int i = 0; i < ROUNDS; i++) {
      int n;
      while ((n = punch_next(p[i], w->now, v, 8)) > 0) n_sent += (size_t)n;
    }
  assert_true(n_sent <= 2000);
  assert_true(n_sent >= 1900);
  for (int i = 0; i < ROUNDS; i++) punch_free(p[i]);
  easy->p = w->side[1].p = NULL;
  pw_free(w);
}

static void a_peer_that_asks_too_often_is_answered_in_measure(void **s) {
  struct pw *w = pw_quiet();
  for (int i = 0; i < 900; i++) {
    struct by_hand r = hand_request(w);
    assert_true(hand_arrives(w, &r, "198.51.100.1:4000"));
    pw_run(w, w->now + MS);
  }
  assert_true(pw_most_a_second(&w->side[1]) <= 300);
  assert_true(pw_dropped(&w->side[1], REASON_RATE_LIMITED) > 0);
  pw_free(w);
}

/* --- NATs by class */

static void sequential_ports_are_predicted(void **s) {
  for (int others = 0; others <= 12; others++) {
    for (int hard = 0; hard < 2; hard++) {
      struct pw *w = pw_new(1, hard ? PW_EVEN : PW_SEQUENTIAL,
                            hard ? PW_SEQUENTIAL : PW_EVEN);
      pw_start(w);
      pw_take_ports(&w->side[hard], others);
      assert_true(pw_find(w, SEC + 200 * MS));
      assert_int_equal(w->side[0].stats.n_search_probes, 0);
      pw_free(w);
    }
  }
}

/* The peer's answers are lost: more depends on ours. */
static void a_guess_that_turns_out_right_is_probed_in_full(void **s) {
  struct pw *w = pw_new(1, PW_SEQUENTIAL, PW_EVEN);
  struct by_hand r;
  char right[ZTNA_ADDR_STRLEN], guess[ZTNA_ADDR_STRLEN];
  struct ztna_addr a = w->side[0].addr;
  const struct nat_view *v = &w->side[1].o.peer.nat;
  w->side[0].deaf = w->side[1].deaf = true;
  pw_start(w);
  pw_run(w, SEC + 30 * MS);
  a.port = (uint16_t)(v->last_port + 3 * v->delta);
  ztna_addr_print(&a, right);
  a.port = (uint16_t)(v->last_port + 4 * v->delta);
  ztna_addr_print(&a, guess);
  r = hand_request(w);
  assert_true(hand_arrives(w, &r, right));
  pw_run(w, 4 * SEC);
  assert_in_range(pw_sent_to(&w->side[1], guess, false), 4, 5);
  assert_in_range(pw_sent_to(&w->side[1], right, false), 8, PUNCH_PROBES);
  pw_free(w);
}

static void predicted_ports_go_round(void **s) {
  static const struct {
    uint16_t last;
    int delta;
  } at[] = {{1027, -1}, {65534, 2}};
  for (size_t i = 0; i < N_OF(at); i++) {
    struct pw *w = pw_new(1, PW_SEQUENTIAL, PW_EVEN);
    struct pw_side *hard = &w->side[0];
    hard->last_port = hard->o.own.nat.last_port = at[i].last;
    hard->delta = hard->o.own.nat.delta = at[i].delta;
    pw_start(w);
    pw_take_ports(hard, 6);
    assert_true(pw_find(w, SEC + 200 * MS));
    pw_free(w);
  }
}

static void two_sequential_nats_meet(void **s) {
  for (int a = 0; a <= 4; a++) {
    for (int b = 0; b <= 3; b++) {
      struct pw *w = pw_new(1, PW_SEQUENTIAL, PW_SEQUENTIAL);
      w->side[0].delta = w->side[0].o.own.nat.delta = 2;
      w->side[1].delta = w->side[1].o.own.nat.delta = -3;
      pw_start(w);
      pw_take_ports(&w->side[0], a);
      pw_take_ports(&w->side[1], b);
      assert_true(pw_find(w, SEC + 500 * MS));
      pw_free(w);
    }
  }
}

static void a_sequential_nat_that_ran_ahead_is_searched(void **s) {
  for (uint64_t seed = 1; seed <= 20; seed++) {
    struct pw *w = pw_new(seed, PW_SEQUENTIAL, PW_EVEN);
    pw_start(w);
    pw_take_ports(&w->side[0], 100);
    assert_true(pw_find(w, SEC + 3 * SEC));
    pw_free(w);
  }
}

static void two_hard_nats_give_up_quietly(void **s) {
  static const enum pw_nat other[] = {PW_RANDOM, PW_SEQUENTIAL};
  for (size_t k = 0; k < N_OF(other); k++) {
    struct pw *w = pw_new(1, PW_RANDOM, other[k]);
    pw_start(w);
    pw_run(w, 20 * SEC);
    for (int i = 0; i < 2; i++) {
      assert_int_equal(w->side[i].n_over, 1);
      assert_int_equal(w->side[i].why, PUNCH_BOTH_HARD);
      assert_true(w->side[i].over_at <= SEC + 3 * SEC);
      assert_true(w->side[i].n_sent <= 10);
    }
    pw_free(w);
  }
}

static void a_port_mapping_lets_two_hard_nats_meet(void **s) {
  struct pw *w = pw_new(1, PW_RANDOM, PW_RANDOM);
  struct pw_side *mapped = &w->side[1];
  struct punch_side *own = &mapped->o.own;
  mapped->mapped = 7000;
  own->list[own->n] =
      (struct candidate){.addr = mapped->addr, .kind = CANDIDATE_MAPPED};
  own->list[own->n++].addr.port = 7000;
  pw_start(w);
  pw_run(w, 3 * SEC);
  assert_int_equal(w->side[0].why, PUNCH_FOUND);
  assert_int_equal(w->side[0].pairs[0].remote.port, 7000);
  pw_free(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(nats_are_opened_by_packets_that_die_before_others_follow),
      TEST(neighbours_and_ipv6_need_no_opener),
      TEST(no_address_gets_more_than_ten_probes),
      TEST(a_request_makes_no_check_when_one_is_under_way),
      TEST(an_address_that_is_named_twice_is_one),
      TEST(who_begins_late_says_each_thing_once),
      TEST(families_that_only_one_has_are_left_alone),
      TEST(a_round_is_deaf_after_its_15_seconds),
      TEST(many_rounds_share_what_a_process_may_send),
      TEST(a_peer_that_asks_too_often_is_answered_in_measure),
      TEST(sequential_ports_are_predicted),
      TEST(a_guess_that_turns_out_right_is_probed_in_full),
      TEST(predicted_ports_go_round),
      TEST(two_sequential_nats_meet),
      TEST(a_sequential_nat_that_ran_ahead_is_searched),
      TEST(two_hard_nats_give_up_quietly),
      TEST(a_port_mapping_lets_two_hard_nats_meet),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
