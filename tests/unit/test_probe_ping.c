/* test_probe_ping.c - round trips and loss are what they were. */
#include "unit.h"

#include "host/probe_ping.h"

static struct ping p;
static uint64_t now;

static void begin(void) {
  uint64_t seed = 99;
  struct rng rng = test_rng(&seed);
  struct ztna_addr to = test_addr("192.0.2.1:3478");
  now = SEC;
  ping_start(&p, &to, &rng, now);
}

static struct stun_msg answer_to(const struct dgram *d) {
  struct stun_msg m;
  assert_int_equal(stun_read(&m, d->data, d->len), 0);
  assert_int_equal(m.class, STUN_REQUEST);
  m.class = STUN_SUCCESS;
  m.mapped = test_addr("198.51.100.1:7");
  return m;
}

/* Answers all but each `lost`-th after rtt(i). */
static void run(int lost, uint64_t (*rtt)(int i)) {
  struct dgram d;
  for (int i = 0; !ping_is_over(&p, now); i++) {
    now = ping_deadline(&p);
    if (!ping_next(&p, now, &d)) continue;
    struct stun_msg m = answer_to(&d);
    if (lost && i % lost == 0) continue;
    assert_true(ping_in(&p, now + rtt(i), &d, &m));
  }
}

static uint64_t growing(int i) { return (uint64_t)(i + 1) * MS; }

static void twenty_are_sent_and_counted(void **state) {
  struct ping_stats s;
  begin();
  run(0, growing);
  ping_stats(&p, &s);
  assert_int_equal(s.n_sent, 20);
  assert_int_equal(s.n_answered, 20);
  assert_int_equal(s.min, MS);
  assert_int_equal(s.avg, 10 * MS + MS / 2);
  assert_int_equal(s.p95, 19 * MS);
  assert_int_equal(now, SEC + 19 * PING_EVERY);
}

static void what_is_lost_is_waited_for_in_vain(void **state) {
  struct ping_stats s;
  begin();
  run(5, growing);
  ping_stats(&p, &s);
  assert_int_equal(s.n_sent, 20);
  assert_int_equal(s.n_answered, 16);
  assert_int_equal(now, SEC + 19 * PING_EVERY + PING_PATIENCE);
  assert_int_equal(ping_deadline(&p), now); /* it was the last one */
}

static void silence_has_no_round_trip(void **state) {
  struct ping_stats s;
  begin();
  run(1, growing);
  ping_stats(&p, &s);
  assert_int_equal(s.n_sent, 20);
  assert_int_equal(s.n_answered + (int)(s.min + s.avg + s.p95), 0);
  assert_int_equal(p.mapped.family, 0);
}

static void only_its_own_answers_count_and_only_once(void **state) {
  struct dgram d, other;
  begin();
  assert_true(ping_next(&p, now, &d));
  struct stun_msg m = answer_to(&d), wrong = m;
  wrong.txid[0] ^= 1;
  assert_false(ping_in(&p, now + MS, &d, &wrong));
  wrong = m;
  wrong.txid[STUN_TXID_LEN - 1] = 1; /* not sent yet */
  assert_false(ping_in(&p, now + MS, &d, &wrong));
  other = d;
  other.remote.port++;
  assert_true(ping_in(&p, now + MS, &other, &m)); /* ours, but not from there */
  assert_int_equal(p.n_answered, 0);
  assert_true(ping_in(&p, now + MS, &d, &m));
  assert_true(ping_in(&p, now + 2 * MS, &d, &m));
  assert_int_equal(p.n_answered, 1);
  assert_int_equal(p.rtt[0], MS);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(twenty_are_sent_and_counted),
      TEST(what_is_lost_is_waited_for_in_vain),
      TEST(silence_has_no_round_trip),
      TEST(only_its_own_answers_count_and_only_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
