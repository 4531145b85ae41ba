/* test_punch_search.c - many sockets on one side, many ports on the other. */
#include "unit.h"
#include "punch_world.h"

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
  pw_add_neighbours(w); /* the round lasts longer than that */
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
    struct by_hand r = hand_request(w);
    hand_write(&r);
    assert_true(hand_arrive(
        w, &r, (struct dgram){.remote = test_addr(from[i]), .sock = sock}));
  }
  for (size_t i = 0; i < N_OF(from); i++)
    assert_true(hand_answer(w, from[i], from[i], 0));
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
      TEST(numbers_of_sockets_are_given_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
