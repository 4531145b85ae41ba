/* test_punch.c - a round of checks: who is believed, what is sent when, and
 * which NATs are passed. */
#include "unit.h"
#include "punch_world.h"

#include "transport/mac.h"

/* --- packets by hand */

struct by_hand {
  struct stun_msg m;
  uint8_t key[PUNCH_KEY_LEN];
  uint8_t data[STUN_MAX];
  size_t len;
};

/* As the controlling side of world w would say it. */
static struct by_hand request(struct pw *w) {
  struct by_hand r = {.m = {.class = STUN_REQUEST,
                            .method = STUN_BINDING,
                            .has_username = true,
                            .username_len = PUNCH_ID_LEN + 1,
                            .integrity = STUN_HMAC_SHA256}};
  memcpy(r.m.username, w->side[0].o.id, PUNCH_ID_LEN);
  r.m.username[PUNCH_ID_LEN] = 'a';
  memcpy(r.key, w->side[0].o.key, sizeof(r.key));
  rng_fill(&w->rng, r.m.txid, sizeof(r.m.txid));
  return r;
}

/* These bytes arrive at side 1; was it for its round? */
static bool arrive(struct pw *w, struct by_hand *r, struct dgram d) {
  struct stun_msg m;
  bool mine;

  d.data = r->data;
  d.len = (uint32_t)r->len;
  d.seg = (uint16_t)r->len;
  assert_int_equal(stun_read(&m, r->data, r->len), 0);
  mine = punch_in(w->side[1].p, w->now, &d, r->data, r->len, &m);
  pw_send(w, &w->side[1]);
  return mine;
}

static void write_it(struct by_hand *r) {
  r->len = (size_t)stun_write(r->data, &r->m, r->key, sizeof(r->key), mac_stun);
}

static bool arrives(struct pw *w, struct by_hand *r, const char *from) {
  write_it(r);
  return arrive(w, r, (struct dgram){.remote = test_addr(from)});
}

/* With an attribute in it that nobody knows but must. */
static void write_unknown(struct by_hand *r) {
  static const uint8_t tail[] = {0x77, 0x77, 0, 0, 0, 0x1c, 0, 32};
  r->m.integrity = STUN_NO_INTEGRITY;
  write_it(r);
  memcpy(r->data + r->len, tail, sizeof(tail));
  r->data[3] = (uint8_t)(r->len + sizeof(tail) + 32 - STUN_HEADER);
  mac_stun(STUN_HMAC_SHA256, r->key, sizeof(r->key), r->data, r->len + 4,
           r->data + r->len + sizeof(tail));
  r->len += sizeof(tail) + 32;
}

static size_t sent_to(const struct pw_side *s, const char *to, bool answers) {
  struct ztna_addr a = test_addr(to);
  size_t n = 0;
  for (size_t i = 0; i < s->n_sent; i++)
    n += ztna_addr_equal(&s->sent[i].to, &a) && s->sent[i].is_answer == answers;
  return n;
}

static uint64_t dropped(const struct pw_side *s, enum reason why) {
  return s->stats.drops[why];
}

/* Two sides that only hear what is made by hand, before the agreed moment. */
static struct pw *quiet(void) {
  struct pw *w = pw_new(1, PW_EVEN, PW_EVEN);
  w->side[0].deaf = w->side[1].deaf = true;
  pw_start(w);
  return w;
}

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

/* Addresses that would be better if there were somebody. */
static void add_neighbours(struct pw *w) {
  for (int i = 0; i < 2; i++) {
    struct punch_side *own = &w->side[i].o.own;
    own->list[own->n++] = (struct candidate){
        .addr = test_addr(i ? "192.168.1.5:4000" : "192.168.1.4:4000")};
  }
}

static void a_better_pair_has_a_quarter_second_to_come(void **s) {
  struct pw *w = pw_new(1, PW_EVEN, PW_EVEN);
  add_neighbours(w);
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
  struct pw *w = quiet();
  struct by_hand r = request(w);
  assert_true(arrives(w, &r, "198.51.100.1:4000"));
  assert_int_equal(sent_to(&w->side[1], "198.51.100.1:4000", true), 1);
  assert_int_equal(sent_to(&w->side[1], "198.51.100.1:4000", false), 1);
  assert_int_equal(w->side[1].stats.n_checked, 1);
  assert_int_equal(w->side[1].n_pairs, 0); /* not before it answers */
  pw_free(w);
}

static void what_is_not_rightly_keyed_gets_no_answer(void **s) {
  struct pw *w = quiet();
  struct by_hand r = request(w);
  r.key[5] ^= 1;
  assert_true(arrives(w, &r, "198.51.100.1:4000"));
  r = request(w);
  r.m.integrity = STUN_NO_INTEGRITY;
  assert_true(arrives(w, &r, "198.51.100.1:4000"));
  r = request(w);
  r.m.integrity = STUN_HMAC_SHA1;
  assert_true(arrives(w, &r, "198.51.100.1:4000"));
  assert_int_equal(dropped(&w->side[1], REASON_WRONG_SOURCE), 3);
  assert_int_equal(w->side[1].n_sent, 0);
  pw_free(w);
}

static void another_round_is_not_ours(void **s) {
  struct pw *w = quiet();
  struct by_hand r = request(w);
  r.m.username[0] ^= 1;
  assert_false(arrives(w, &r, "198.51.100.1:4000"));
  r = request(w);
  r.m.username_len--;
  assert_false(arrives(w, &r, "198.51.100.1:4000"));
  r = request(w);
  r.m.class = STUN_SUCCESS; /* of a check that nobody sent */
  assert_false(arrives(w, &r, "198.51.100.1:4000"));
  assert_int_equal(w->side[1].n_sent, 0);
  pw_free(w);
}

static void own_requests_that_come_back_are_dropped(void **s) {
  struct pw *w = quiet();
  struct by_hand r = request(w);
  r.m.username[PUNCH_ID_LEN] = 'c';
  assert_true(arrives(w, &r, "198.51.100.1:4000"));
  assert_int_equal(dropped(&w->side[1], REASON_WRONG_SOURCE), 1);
  assert_int_equal(w->side[1].n_sent, 0);
  pw_free(w);
}

static void a_copied_request_makes_nobody_a_peer(void **s) {
  struct pw *w = quiet();
  struct by_hand r = request(w);
  assert_true(arrives(w, &r, "198.51.100.1:4000"));
  assert_true(arrives(w, &r, "203.0.113.66:666"));
  assert_true(arrives(w, &r, "198.51.100.1:4000"));
  assert_int_equal(dropped(&w->side[1], REASON_WRONG_SOURCE), 2);
  assert_int_equal(w->side[1].stats.n_checked, 1);
  assert_int_equal(sent_to(&w->side[1], "203.0.113.66:666", true), 0);
  assert_int_equal(sent_to(&w->side[1], "203.0.113.66:666", false), 0);
  pw_free(w);
}

static void a_stranger_gets_one_answer_and_one_check(void **s) {
  struct pw *w = quiet();
  for (int i = 0; i < 20; i++) {
    struct by_hand r = request(w);
    assert_true(arrives(w, &r, "203.0.113.66:666"));
    pw_run(w, w->now + 50 * MS);
  }
  assert_int_equal(sent_to(&w->side[1], "203.0.113.66:666", true), 1);
  assert_int_equal(sent_to(&w->side[1], "203.0.113.66:666", false), 1);
  assert_int_equal(dropped(&w->side[1], REASON_RATE_LIMITED), 19);
  pw_free(w);
}

static void other_ports_of_the_observed_address_are_no_strangers(void **s) {
  struct pw *w = quiet();
  for (int i = 0; i < 3; i++) {
    struct by_hand r = request(w);
    assert_true(arrives(w, &r, "198.51.100.1:555"));
    pw_run(w, w->now + 50 * MS);
  }
  assert_int_equal(sent_to(&w->side[1], "198.51.100.1:555", true), 3);
  assert_true(sent_to(&w->side[1], "198.51.100.1:555", false) > 2);
  pw_run(w, 3 * SEC);
  assert_true(sent_to(&w->side[1], "198.51.100.1:555", false) <= 10);
  pw_free(w);
}

static void strangers_are_few(void **s) {
  struct pw *w = quiet();
  char from[32];
  for (int i = 0; i < 100; i++) {
    struct by_hand r = request(w);
    snprintf(from, sizeof(from), "203.0.113.%d:666", i + 1);
    assert_true(arrives(w, &r, from));
    pw_run(w, w->now + 50 * MS);
  }
  assert_int_equal(w->side[1].stats.n_checked, 16);
  pw_free(w);
}

/* The last request of side 1 to this address, answered with this key. */
static bool answer(struct pw *w, const char *to, const char *from,
                   uint8_t wrong) {
  struct ztna_addr a = test_addr(to);
  struct pw_side *s = &w->side[1];
  struct by_hand r = request(w);
  for (size_t i = s->n_sent; i-- > 0;) {
    if (s->sent[i].is_answer || !ztna_addr_equal(&s->sent[i].to, &a)) continue;
    r.m.class = STUN_SUCCESS;
    r.m.has_username = false;
    r.m.username_len = 0;
    r.m.mapped = s->addr;
    r.key[0] ^= wrong;
    memcpy(r.m.txid, s->sent[i].txid, sizeof(r.m.txid));
    write_it(&r);
    return arrive(
        w, &r,
        (struct dgram){.remote = test_addr(from), .sock = s->sent[i].sock});
  }
  fail_msg("nothing was sent to %s", to);
  return false;
}

static void a_stranger_that_answers_is_one_of_the_peers(void **s) {
  struct pw *w = quiet();
  struct by_hand r = request(w);
  assert_true(arrives(w, &r, "203.0.113.66:666"));
  assert_true(answer(w, "203.0.113.66:666", "203.0.113.66:666", 0));
  assert_int_equal(w->side[1].n_pairs, 1);
  for (int i = 0; i < 3; i++) {
    r = request(w);
    assert_true(arrives(w, &r, "203.0.113.66:666"));
  }
  assert_int_equal(sent_to(&w->side[1], "203.0.113.66:666", true), 4);
  assert_int_equal(w->side[1].n_pairs, 1);
  pw_free(w);
}

static void who_asked_is_checked_until_he_answers(void **s) {
  const char *peer = "198.51.100.1:4000", *late = "198.51.100.1:555";
  struct pw *w = quiet();
  struct by_hand r = request(w);
  assert_true(arrives(w, &r, late));
  r = request(w);
  assert_true(arrives(w, &r, peer));
  assert_true(answer(w, peer, peer, 0));
  pw_run(w, w->now);
  assert_int_equal(w->side[1].n_over, 1);
  size_t n = sent_to(&w->side[1], late, false);
  pw_run(w, w->now + 200 * MS);
  assert_true(sent_to(&w->side[1], late, false) > n);
  assert_true(answer(w, late, late, 0));
  assert_int_equal(w->side[1].n_pairs, 2);
  assert_int_equal(w->side[1].stats.n_found, 1);
  assert_int_equal(w->side[1].n_over, 1);
  pw_free(w);
}

static void an_answer_counts_from_the_address_that_was_asked_only(void **s) {
  struct pw *w = quiet();
  struct by_hand r = request(w);
  const char *peer = "198.51.100.1:4000";
  assert_true(arrives(w, &r, peer));
  assert_true(answer(w, peer, "198.51.100.1:4001", 0));
  assert_true(answer(w, peer, peer, 1));
  assert_int_equal(w->side[1].n_pairs, 0);
  assert_int_equal(dropped(&w->side[1], REASON_WRONG_SOURCE), 2);
  assert_true(answer(w, peer, peer, 0));
  assert_int_equal(w->side[1].n_pairs, 1);
  assert_false(answer(w, peer, peer, 0)); /* honoured once */
  pw_free(w);
}

static void an_answer_on_another_socket_counts_for_nothing(void **s) {
  struct pw *w = quiet();
  struct by_hand r = request(w);
  struct dgram d = {.remote = test_addr("198.51.100.1:4000"), .sock = 3};
  assert_true(arrives(w, &r, "198.51.100.1:4000"));
  r.m.class = STUN_SUCCESS;
  r.m.has_username = false;
  memcpy(r.m.txid, w->side[1].sent[1].txid, sizeof(r.m.txid));
  write_it(&r);
  assert_true(arrive(w, &r, d));
  assert_int_equal(w->side[1].n_pairs, 0);
  pw_free(w);
}

static void a_request_on_another_rounds_socket_is_dropped(void **s) {
  struct pw *w = quiet();
  struct by_hand r = request(w);
  write_it(&r);
  assert_true(arrive(
      w, &r,
      (struct dgram){.remote = test_addr("198.51.100.1:4000"), .sock = 3}));
  assert_int_equal(dropped(&w->side[1], REASON_WRONG_DESTINATION), 1);
  assert_int_equal(w->side[1].n_sent, 0);
  pw_free(w);
}

static void what_a_request_demands_and_nobody_knows_is_refused(void **s) {
  struct pw *w = quiet();
  struct by_hand r = request(w);
  write_unknown(&r);
  assert_true(
      arrive(w, &r, (struct dgram){.remote = test_addr("198.51.100.1:4000")}));
  assert_int_equal(dropped(&w->side[1], REASON_MALFORMED), 1);
  assert_int_equal(w->side[1].n_sent, 0);
  pw_free(w);
}

static void answers_and_checks_leave_from_where_the_request_arrived(void **s) {
  struct pw *w = quiet();
  struct by_hand r = request(w);
  struct dgram d = {.remote = test_addr("198.51.100.1:4000"),
                    .local = test_addr("10.0.0.7:4000")};
  write_it(&r);
  assert_true(arrive(w, &r, d));
  assert_int_equal(w->side[1].n_sent, 2);
  for (int i = 0; i < 2; i++)
    assert_true(ztna_addr_equal(&w->side[1].sent[i].local, &d.local));
  pw_free(w);
}

static void a_round_answers_a_thousand_requests_and_no_more(void **s) {
  struct pw *w = quiet();
  for (int i = 0; i < 1100; i++) {
    struct by_hand r = request(w);
    assert_true(arrives(w, &r, "198.51.100.1:4000"));
    pw_run(w, w->now + 10 * MS);
  }
  assert_int_equal(w->side[1].stats.n_checked, 1024);
  assert_int_equal(dropped(&w->side[1], REASON_RATE_LIMITED), 1100 - 1024);
  pw_free(w);
}

static void what_may_not_be_sent_to_gets_nothing(void **s) {
  struct pw *w = pw_new(1, PW_EVEN, PW_RANDOM);
  w->side[1].refused = w->side[0].addr;
  pw_start(w);
  struct by_hand r = request(w);
  assert_true(arrives(w, &r, "198.51.100.1:4000"));
  assert_int_equal(dropped(&w->side[1], REASON_NOT_ALLOWED), 1);
  pw_run(w, 20 * SEC);
  assert_int_equal(w->side[1].n_sent, 0);
  assert_int_equal(w->side[1].why, PUNCH_NO_CANDIDATES);
  pw_free(w);
}

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
  struct pw *w = quiet();
  for (int i = 0; i < 100; i++) {
    struct by_hand r = request(w);
    assert_true(arrives(w, &r, "198.51.100.1:4000"));
    pw_run(w, w->now + 20 * MS);
  }
  assert_int_equal(sent_to(&w->side[1], "198.51.100.1:4000", true), 100);
  assert_int_equal(sent_to(&w->side[1], "198.51.100.1:4000", false), 10);
  pw_free(w);
}

static void a_request_makes_no_check_when_one_is_under_way(void **s) {
  struct pw *w = quiet();
  pw_run(w, SEC + 21 * MS);
  size_t n = sent_to(&w->side[1], "198.51.100.1:4000", false);
  assert_int_equal(n, 2); /* the opener and the first that is to arrive */
  struct by_hand r = request(w);
  assert_true(arrives(w, &r, "198.51.100.1:4000"));
  assert_int_equal(sent_to(&w->side[1], "198.51.100.1:4000", false), n);
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
  struct pw *w = quiet();
  pw_run(w, 16 * SEC - MS);
  struct by_hand r = request(w);
  assert_true(arrives(w, &r, "203.0.113.66:666"));
  assert_int_equal(w->side[1].stats.n_checked, 1);
  assert_false(punch_is_dead(w->side[1].p));
  pw_run(w, 16 * SEC);
  size_t n_sent = w->side[1].n_sent;
  r = request(w);
  assert_true(arrives(w, &r, "198.51.100.1:4000"));
  assert_int_equal(dropped(&w->side[1], REASON_EXPIRED), 1);
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
  struct pw *w = quiet();
  for (int i = 0; i < 900; i++) {
    struct by_hand r = request(w);
    assert_true(arrives(w, &r, "198.51.100.1:4000"));
    pw_run(w, w->now + MS);
  }
  assert_true(pw_most_a_second(&w->side[1]) <= 300);
  assert_true(dropped(&w->side[1], REASON_RATE_LIMITED) > 0);
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

static int by_size(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

static void a_random_nat_is_searched_and_found(void **s) {
  enum { SEEDS = 100 };
  uint64_t took[SEEDS];
  size_t n = 0;
  for (uint64_t seed = 1; seed <= SEEDS; seed++) {
    bool hard = seed & 1;
    struct pw *w = pw_new(seed * 77, hard ? PW_EVEN : PW_RANDOM,
                          hard ? PW_RANDOM : PW_EVEN);
    pw_start(w);
    if (pw_find(w, 16 * SEC)) took[n++] = w->now - SEC;
    assert_true(pw_most_a_second(&w->side[0]) <= 300);
    assert_true(pw_most_a_second(&w->side[1]) <= 300);
    pw_free(w);
  }
  qsort(took, n, sizeof(*took), by_size);
  if (n) {
    print_message("random: %zu of %d, p50 %.2f s, p95 %.2f s, max %.2f s\n", n,
                  SEEDS, (double)took[n / 2] / 1e9,
                  (double)took[n * 95 / 100] / 1e9, (double)took[n - 1] / 1e9);
  }
  assert_true(n >= SEEDS * 95 / 100);
  assert_true(took[n / 2] <= 2 * SEC);
  assert_true(took[n * 95 / 100] <= 8 * SEC);
}

static void an_open_nat_needs_no_search(void **s) {
  struct pw *w = pw_new(1, PW_RANDOM, PW_EVEN);
  w->side[1].open = true;
  add_neighbours(w); /* the round lasts longer than that */
  pw_start(w);
  assert_true(pw_find(w, SEC + 100 * MS));
  pw_run(w, 3 * SEC);
  assert_int_equal(w->side[0].stats.n_search_probes, 0);
  assert_int_equal(w->side[1].stats.n_search_probes, 0);
  pw_free(w);
}

static size_t n_used(const struct pw_side *s) {
  size_t n = 0;
  for (int i = 0; i < DGRAM_SOCKS_MAX; i++) n += s->socks.used[i];
  return n;
}

/* Sockets that packets left by and no closing one did. */
static size_t n_open(const struct pw_side *s) {
  static bool is_open[DGRAM_SOCKS_MAX];
  size_t n = 0;
  memset(is_open, 0, sizeof(is_open));
  for (size_t i = 0; i < s->n_sent; i++)
    is_open[s->sent[i].sock] = s->sent[i].len > 0;
  for (int i = 1; i < DGRAM_SOCKS_MAX; i++) n += is_open[i];
  return n;
}

static void sockets_that_no_pair_holds_are_closed_on_success(void **s) {
  struct pw *w = pw_new(5, PW_RANDOM, PW_EVEN);
  struct pw_side *hard = &w->side[0];
  pw_start(w);
  assert_true(pw_find(w, 16 * SEC));
  pw_run(w, w->now + 10 * MS);
  assert_true(hard->pairs[0].sock > 0);
  assert_true(hard->socks.used[hard->pairs[0].sock]);
  assert_true(n_used(hard) <= 2 && n_used(hard) == n_open(hard));
  pw_run(w, 17 * SEC);
  punch_free(hard->p);
  hard->p = NULL;
  assert_int_equal(n_used(hard), hard->n_pairs);
  assert_int_equal(n_open(hard), hard->n_pairs);
  pw_free(w);
}

static void an_extra_socket_is_handed_over_once(void **s) {
  static const char *const from[] = {"198.51.100.1:4000", "198.51.100.1:555"};
  struct pw *w = pw_new(5, PW_EVEN, PW_RANDOM);
  struct pw_side *hard = &w->side[1];
  w->side[0].deaf = hard->deaf = true;
  pw_start(w);
  pw_run(w, 2 * SEC);
  uint16_t sock = hard->sent[hard->n_sent - 1].sock;
  assert_true(sock > 0);
  for (size_t i = 0; i < N_OF(from); i++) {
    struct by_hand r = request(w);
    write_it(&r);
    assert_true(arrive(
        w, &r, (struct dgram){.remote = test_addr(from[i]), .sock = sock}));
  }
  for (size_t i = 0; i < N_OF(from); i++)
    assert_true(answer(w, from[i], from[i], 0));
  assert_int_equal(hard->stats.n_answers, 2);
  assert_int_equal(hard->n_pairs, 1);
  assert_int_equal(hard->pairs[0].sock, sock);
  pw_free(w);
}

static void sockets_are_closed_when_a_round_is_given_up(void **s) {
  struct pw *w = pw_new(5, PW_RANDOM, PW_EVEN);
  struct pw_side *hard = &w->side[0];
  struct dgram v[7];
  size_t n_closed = 0;
  int n;
  hard->deaf = w->side[1].deaf = true;
  pw_start(w);
  pw_run(w, 5 * SEC);
  assert_int_equal(n_open(hard), PUNCH_SOCKS);
  while ((n = punch_drain(hard->p, v, 7)) > 0)
    for (int i = 0; i < n; i++, n_closed++) {
      assert_int_equal(v[i].len, 0);
      assert_int_equal(v[i].seg, 1);
      assert_int_equal(v[i].remote.family, 4);
    }
  assert_int_equal(n_closed, PUNCH_SOCKS);
  assert_int_equal(n_used(hard), 0);
  pw_free(w);
}

static void a_search_that_finds_nothing_ends_within_ten_seconds(void **s) {
  struct pw *w = pw_new(5, PW_RANDOM, PW_EVEN);
  w->side[0].deaf = w->side[1].deaf = true;
  pw_start(w);
  pw_run(w, 20 * SEC);
  assert_int_equal(n_open(&w->side[0]), 0);
  assert_int_equal(n_used(&w->side[0]), 0);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(w->side[i].why, PUNCH_NO_ANSWER);
    assert_int_equal(w->side[i].n_over, 1);
    assert_true(w->side[i].over_at <= SEC + 10 * SEC);
    assert_true(w->side[i].stats.n_search_probes <= 3000);
    assert_int_equal(w->side[i].stats.n_search_probes,
                     w->side[i].peer_budget.n_searched);
  }
  assert_true(w->side[1].stats.n_search_probes >= 1900);
  pw_free(w);
}

/* Of which neither side hears anything. */
static struct pw *search_in_vain(uint64_t seed, uint16_t refused_from) {
  struct pw *w = pw_new(seed, PW_RANDOM, PW_EVEN);
  w->side[0].deaf = w->side[1].deaf = true;
  w->side[1].refused_from = refused_from;
  pw_start(w);
  pw_run(w, 16 * SEC);
  return w;
}

static void a_search_tries_no_port_twice(void **s) {
  static uint8_t tried[65536];
  for (uint64_t seed = 1; seed <= 150; seed++) {
    struct pw *w = search_in_vain(seed * 31, 0);
    struct pw_side *easy = &w->side[1];
    memset(tried, 0, sizeof(tried));
    for (size_t i = 0; i < easy->n_sent; i++) {
      const struct ztna_addr *to = &easy->sent[i].to;
      assert_true(ztna_addr_same_ip(to, &w->side[0].addr));
      if (to->port == w->side[0].addr.port) continue;
      assert_true(to->port >= 1024);
      assert_int_equal(tried[to->port]++, 0);
    }
    assert_true(easy->n_sent > 1900);
    pw_free(w);
  }
}

static void a_search_leaves_out_what_may_not_be_sent_to(void **s) {
  struct pw *w = search_in_vain(5, 60000);
  assert_true(w->side[1].n_sent > 1700);
  for (size_t i = 0; i < w->side[1].n_sent; i++)
    assert_true(w->side[1].sent[i].to.port < 60000);
  pw_free(w);
}

static void holes_are_kept_open_half_of_them_by_packets_that_die(void **s) {
  struct pw *w = search_in_vain(5, 0);
  struct pw_side *hard = &w->side[0];
  size_t n[DGRAM_SOCKS_MAX] = {0}, n_dying = 0, n_holes = 0;
  for (size_t i = 0; i < hard->n_sent; i++) {
    const struct pw_sent *x = &hard->sent[i];
    if (!x->sock || !x->len) continue;
    assert_true(ztna_addr_equal(&x->to, &w->side[1].addr));
    if (!n[x->sock]++) n_dying += x->ttl == 2;
  }
  for (int i = 0; i < DGRAM_SOCKS_MAX; i++) {
    n_holes += n[i] > 0;
    assert_true(!n[i] || (n[i] >= 2 && n[i] <= 3));
  }
  assert_int_equal(n_holes, PUNCH_SOCKS);
  assert_int_equal(n_dying, PUNCH_SOCKS / 2);
  pw_free(w);
}

static void without_sockets_there_is_no_search(void **s) {
  struct pw *w = pw_new(5, PW_RANDOM, PW_EVEN);
  w->side[0].deaf = w->side[1].deaf = true;
  memset(w->side[0].socks.used, 1, sizeof(w->side[0].socks.used));
  pw_start(w);
  pw_run(w, 5 * SEC);
  assert_int_equal(w->side[0].why, PUNCH_NO_BUDGET);
  assert_int_equal(w->side[0].n_over, 1);
  assert_int_equal(w->side[0].stats.n_search_probes, 0);
  pw_free(w);
}

static void who_is_not_known_to_be_easy_is_not_searched_with(void **s) {
  struct pw *w = pw_new(5, PW_RANDOM, PW_EVEN);
  w->side[0].deaf = w->side[1].deaf = true;
  w->side[1].o.own.nat.mapping = NAT_UNKNOWN;
  pw_start(w);
  pw_run(w, 5 * SEC);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(w->side[i].stats.n_search_probes, 0);
    assert_int_equal(w->side[i].why, PUNCH_NO_ANSWER);
  }
  pw_free(w);
}

static void ten_minutes_later_there_may_be_searched_again(void **s) {
  struct pw *w = pw_new(5, PW_RANDOM, PW_EVEN);
  w->now = 601 * SEC;
  for (int i = 0; i < 2; i++) {
    w->side[i].peer_budget.searched_at = SEC;
    w->side[i].peer_budget.n_searched = 3000;
    w->side[i].o.at = w->now;
  }
  pw_start(w);
  assert_true(pw_find(w, w->now + 15 * SEC));
  pw_free(w);
}

static void searching_has_a_budget_over_rounds(void **s) {
  struct pw *w = pw_new(5, PW_RANDOM, PW_EVEN);
  for (int i = 0; i < 2; i++) {
    w->side[i].peer_budget.searched_at = w->now;
    w->side[i].peer_budget.n_searched = 2990;
  }
  w->side[0].deaf = w->side[1].deaf = true;
  pw_start(w);
  pw_run(w, 10 * SEC);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(w->side[i].stats.n_search_probes, 10);
    assert_int_equal(w->side[i].why, PUNCH_NO_BUDGET);
    assert_true(w->side[i].over_at <= 5 * SEC);
  }
  pw_free(w);
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

static void numbers_of_sockets_are_given_once(void **s) {
  static struct punch_socks socks;
  for (int i = 1; i < DGRAM_SOCKS_MAX; i++)
    assert_int_equal(punch_sock_take(&socks), i);
  assert_int_equal(punch_sock_take(&socks), 0);
  punch_sock_free(&socks, 0);
  punch_sock_free(&socks, 77);
  assert_int_equal(punch_sock_take(&socks), 77);
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
      TEST(predicted_ports_go_round),
      TEST(two_sequential_nats_meet),
      TEST(a_sequential_nat_that_ran_ahead_is_searched),
      TEST(a_random_nat_is_searched_and_found),
      TEST(an_open_nat_needs_no_search),
      TEST(sockets_that_no_pair_holds_are_closed_on_success),
      TEST(an_extra_socket_is_handed_over_once),
      TEST(sockets_are_closed_when_a_round_is_given_up),
      TEST(a_search_that_finds_nothing_ends_within_ten_seconds),
      TEST(a_search_tries_no_port_twice),
      TEST(a_search_leaves_out_what_may_not_be_sent_to),
      TEST(holes_are_kept_open_half_of_them_by_packets_that_die),
      TEST(without_sockets_there_is_no_search),
      TEST(who_is_not_known_to_be_easy_is_not_searched_with),
      TEST(ten_minutes_later_there_may_be_searched_again),
      TEST(searching_has_a_budget_over_rounds),
      TEST(two_hard_nats_give_up_quietly),
      TEST(a_port_mapping_lets_two_hard_nats_meet),
      TEST(numbers_of_sockets_are_given_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
