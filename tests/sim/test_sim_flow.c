/* test_sim_flow.c - TCP flows between two ends of a path: what a program sends
 * arrives once, in order and to its end, whatever happens to the path.
 *
 *   ZTNA_SEED=N   only that one of the random transfers
 *   ZTNA_SEEDS=N  so many of them instead of 1000 */
#include "unit/unit.h"

#include "base/time.h"
#include "sim/flow_lab.h"

#define DELAY (10 * MS)
#define MB (1024 * 1024)

static int setup(void **state) {
  lab_global_init();
  return 0;
}

static int teardown(void **state) {
  lab_global_done();
  return 0;
}

/* --- a path that lives --- */

static void bytes_arrive_both_ways(void **state) {
  struct lab *l = lab_new(1, DELAY);

  l->b_to_send = 3 * MB;
  lab_open(l, 5 * MB + 1);
  assert_true(lab_until(l, lab_is_complete, NULL, 20 * SEC));
  assert_int_equal(l->a.common.pool.used, 0);
  assert_int_equal(l->b.common.pool.used, 0);
  lab_free(l);
}

static void empty_flows_end_well(void **state) {
  struct lab *l = lab_new(1, DELAY);

  lab_open(l, 0);
  assert_true(lab_until(l, lab_is_complete, NULL, SEC));
  lab_free(l);
}

/* --- planned moves --- */

/* Every so often the flow asks for another stream; returns how many times it
 * could. */
static int move_often(struct lab *l, struct lab_flow *f, uint64_t every,
                      uint64_t end) {
  int n = 0;

  while (!lab_is_complete(l, NULL) && l->now < end) {
    lab_run(l, every);
    if (f->used && l->a.path && tcpflow_move(&f->flow, l->a.path) == 0) n++;
    lab_drain(l);
  }
  return n;
}

static void moves_send_no_byte_twice(void **state) {
  struct lab *l = lab_new(1, DELAY);
  struct lab_flow *f;

  l->b_to_send = 4 * MB;
  f = lab_open(l, 3 * MB);
  assert_true(move_often(l, f, 50 * MS, l->now + 30 * SEC) > 5);
  assert_true(lab_is_complete(l, NULL));
  assert_int_equal(l->a.common.n_out, 3 * MB);
  assert_int_equal(l->b.common.n_out, 4 * MB);
  assert_int_equal(l->a.common.n_lost + l->b.common.n_lost, 0);
  assert_int_equal(l->a.common.pool.used, 0);
  assert_int_equal(l->b.common.pool.used, 0);
  lab_free(l);
}

static void a_path_may_die_in_a_move(void **state) {
  for (int how = LAB_BOTH; how <= LAB_CONNECTOR; how++)
    for (uint64_t after = 0; after <= 60; after += 3) {
      struct lab *l = lab_new(1, DELAY);
      struct lab_flow *f;

      l->b_to_send = MB;
      f = lab_open(l, MB);
      lab_run(l, 100 * MS);
      assert_int_equal(tcpflow_move(&f->flow, l->a.path), 0);
      lab_drain(l);
      lab_run(l, after * MS);
      lab_kill(l, (enum lab_death)how);
      assert_true(lab_until(l, lab_is_complete, NULL, 60 * SEC));
      lab_free(l);
    }
}

static void a_refusal_says_why(void **state) {
  struct lab *l = lab_new(1, DELAY);
  struct lab_flow *f;

  l->answer = REASON_BACKEND_REFUSED;
  f = lab_open(l, 1000);
  lab_run(l, SEC);
  assert_int_equal(f->why, REASON_BACKEND_REFUSED);
  assert_int_equal(f->n_answers, 1);
  assert_int_equal(f->n_ends, 0);
  lab_free(l);
}

static void connected_means_that_the_backend_is(void **state) {
  struct lab *l = lab_new(1, DELAY);
  struct lab_flow *f;

  l->answer_after = 300 * MS;
  f = lab_open(l, 1000);
  lab_run(l, 300 * MS + 2 * DELAY - MS);
  assert_false(f->answered);
  lab_run(l, 2 * MS);
  assert_true(f->answered);
  lab_free(l);
}

static void the_answer_to_a_request_ended_by_fin_comes_whole(void **state) {
  struct lab *l = lab_new(1, DELAY);

  l->b_to_send = MB;
  l->b_waits = true;
  lab_open(l, 100);
  assert_true(lab_until(l, lab_is_complete, NULL, 10 * SEC));
  lab_free(l);
}

static void an_open_direction_outlives_the_other(void **state) {
  struct lab *l = lab_new(1, DELAY);
  struct lab_flow *a, *b;

  l->b_stays_open = true;
  a = lab_open(l, 100);
  lab_run(l, 300 * SEC);
  b = lab_other(l, a);
  assert_true(b->got_fin);
  assert_false(a->got_fin || a->n_ends || b->n_ends);
  b->to_send = 70000;
  b->stays_open = false;
  assert_true(lab_until(l, lab_is_complete, NULL, 5 * SEC));
  lab_free(l);
}

/* All that was sent before comes, then the reset. */
static void reset_after_data(bool by_agent) {
  struct lab *l = lab_new(1, DELAY);
  struct lab_flow *a, *b, *from, *to;

  l->b_to_send = 200000;
  l->b_stays_open = true;
  a = lab_open(l, 200000);
  a->stays_open = true;
  lab_run(l, 3 * DELAY);
  b = lab_other(l, a);
  assert_non_null(b);
  from = by_agent ? a : b;
  to = by_agent ? b : a;
  assert_int_equal(from->sent, 200000);
  assert_in_range(to->got, 0, 199999);
  tcpflow_abort(&from->flow, REASON_RESET);
  lab_run(l, 5 * SEC);
  assert_int_equal(to->got, 200000);
  assert_true(to->reset);
  assert_int_equal(to->why, REASON_RESET);
  assert_true(from->done);
  assert_int_equal(from->why, REASON_RESET);
  assert_int_equal(from->n_ends + to->n_ends, 2);
  assert_int_equal(l->a.common.pool.used + l->b.common.pool.used, 0);
  lab_free(l);
}

static void a_reset_comes_behind_the_data_either_way(void **state) {
  reset_after_data(true);
  reset_after_data(false);
}

static void reader_sleeps(bool at_agent) {
  struct lab *l = lab_new(1, DELAY);
  struct lab_flow *a, *b, *reader, *writer;

  l->b_to_send = at_agent ? 20 * MB : 1000;
  a = lab_open(l, at_agent ? 1000 : 20 * MB);
  a->sleeps = at_agent;
  lab_run(l, 3 * DELAY);
  b = lab_other(l, a);
  b->sleeps = !at_agent;
  lab_run(l, 30 * SEC);
  reader = at_agent ? a : b;
  writer = at_agent ? b : a;
  assert_in_range(writer->sent - reader->got, MB, 2 * TCPFLOW_KEEP);
  assert_in_range(a->most_kept, 0, 2 * MB);
  assert_in_range(b->most_kept, 0, 2 * MB);
  /* Chunks that are not full are no second memory. */
  assert_in_range(l->a.common.pool.used, 0, 2 * MB + 128 * 1024);
  assert_in_range(l->b.common.pool.used, 0, 2 * MB + 128 * 1024);
  reader->sleeps = false;
  assert_true(lab_until(l, lab_is_complete, NULL, 30 * SEC));
  lab_free(l);
}

static void a_reader_that_sleeps_stops_the_sender(void **state) {
  reader_sleeps(true);
  reader_sleeps(false);
}

static void a_sleeping_reader_does_not_stop_the_other_flows(void **state) {
  struct lab *l = lab_new(1, DELAY);
  struct lab_flow *v[4];

  l->b_to_send = 4 * MB;
  for (int i = 0; i < 4; i++) {
    v[i] = lab_open(l, 1000);
    v[i]->sleeps = i < 3;
  }
  lab_run(l, 20 * SEC);
  assert_true(v[3]->done);
  for (int i = 0; i < 3; i++) v[i]->sleeps = false;
  assert_true(lab_until(l, lab_is_complete, NULL, 20 * SEC));
  lab_free(l);
}

/* --- a path that dies --- */

struct death {
  struct lab *l;
  uint64_t at_packet, later;
  enum lab_death how;
  bool dead;
};

static void on_death(void *ud, uint64_t arg) {
  struct death *d = ud;

  if (d->l->net->now != NEVER) lab_kill(d->l, d->how);
}

static void on_wire(void *ud, const struct ztna_addr *from,
                    const struct ztna_addr *to, const uint8_t *data,
                    size_t len) {
  struct death *d = ud;

  if (d->dead || lab_packets(d->l) < d->at_packet) return;
  d->dead = true;
  vnet_at(d->l->net, d->l->net->now + d->later, on_death, d, 0);
}

static bool agent_is_done(struct lab *l, void *ud) {
  return l->a.flows[0].n_ends > 0;
}

static void explain(const struct lab_flow *f, const char *name) {
  print_error("  %s: sent %d, got %d, wrong %d, fin %d, done %d, reset %d, "
              "why %d, ends %d, answers %d, state %d\n",
              name, (int)f->sent, (int)f->got, (int)f->n_wrong, f->got_fin,
              f->done, f->reset, f->why, f->n_ends, f->n_answers,
              f->flow.state);
}

/* Whether the exchange was over before the death. */
static bool dies_at(struct death *d, bool waits, uint64_t k) {
  struct lab *l = d->l = lab_new(3, DELAY);
  struct lab_flow *a;
  uint64_t from, took;
  bool ok;

  l->answer_after = 5 * MS;
  l->b_to_send = 5000;
  l->b_waits = waits;
  d->dead = false;
  d->at_packet = lab_packets(l) + k;
  l->net->on_wire = on_wire;
  l->net->wire_ud = d;
  from = l->now;
  a = lab_open(l, 3000);
  ok = lab_until(l, agent_is_done, NULL, 100 * SEC);
  took = l->now - from;
  ok = lab_until(l, lab_is_complete, NULL, 100 * SEC) && ok;
  if (!ok || took > SEC) {
    print_error("death %d, %d ns behind packet %d, %s:\n", d->how,
                (int)d->later, (int)k, waits ? "request" : "both at once");
    explain(a, "agent");
    explain(&l->b.flows[0], "connector");
  }
  assert_true(ok);
  assert_in_range(took, 1, SEC);
  assert_int_equal(l->a.common.pool.used + l->b.common.pool.used, 0);
  ok = d->dead;
  lab_free(l);
  return !ok;
}

/* Head on its way, answer on its way, bytes half acknowledged, FIN sent, FIN
 * acknowledged: each is one of these. */
static void dies_everywhere(enum lab_death how) {
  int n = 0;

  for (int waits = 0; waits < 2; waits++)
    for (int arrived = 0; arrived < 2; arrived++)
      for (uint64_t k = 1;; k++, n++) {
        struct death d = {.how = how, .later = arrived ? DELAY + 10 : 0};

        if (dies_at(&d, waits, k)) break;
        assert_in_range(k, 1, 100);
      }
  print_message("# %d deaths\n", n);
  assert_in_range(n, 20, 400);
}

static void a_flow_goes_on_wherever_its_path_died(void **state) {
  dies_everywhere(LAB_BOTH);
}

static void and_when_the_connector_does_not_notice(void **state) {
  dies_everywhere(LAB_AGENT);
}

static void and_when_the_agent_does_not_notice(void **state) {
  dies_everywhere(LAB_CONNECTOR);
}

static void a_flow_that_nobody_knows_is_reset(void **state) {
  struct lab *l = lab_new(1, DELAY);
  struct lab_flow *a, *b;

  l->b_stays_open = true;
  a = lab_open(l, 1000);
  lab_run(l, SEC);
  b = lab_other(l, a);
  tcpflow_free(&b->flow, REASON_NONE);
  b->used = false;
  lab_kill(l, LAB_BOTH);
  lab_run(l, SEC);
  assert_int_equal(l->n_dials, 2);
  assert_true(a->reset);
  assert_int_equal(a->why, REASON_ROUTE_UNKNOWN);
  assert_int_equal(a->n_ends, 1);
  lab_free(l);
}

static void a_minute_without_a_path_ends_both_ends(void **state) {
  struct lab *l = lab_new(1, DELAY);
  struct lab_flow *a, *b;

  l->b_stays_open = true;
  a = lab_open(l, 1000);
  lab_run(l, SEC);
  b = lab_other(l, a);
  l->redial_after = NEVER;
  lab_kill(l, LAB_BOTH);
  lab_run(l, 59 * SEC);
  assert_false(a->n_ends || b->n_ends);
  lab_run(l, 2 * SEC);
  assert_true(a->reset && b->reset);
  assert_int_equal(a->why, REASON_IDLE);
  assert_int_equal(b->why, REASON_IDLE);
  assert_int_equal(l->a.common.pool.used + l->b.common.pool.used, 0);
  lab_free(l);
}

static void fifty_seconds_without_a_path_are_survived(void **state) {
  struct lab *l = lab_new(1, DELAY);

  l->b_to_send = 3 * MB;
  lab_open(l, 2 * MB);
  lab_run(l, 100 * MS);
  l->redial_after = 50 * SEC;
  lab_kill(l, LAB_BOTH);
  lab_run(l, 49 * SEC);
  assert_false(lab_is_complete(l, NULL));
  assert_true(lab_until(l, lab_is_complete, NULL, 20 * SEC));
  lab_free(l);
}

/* --- seeds --- */

static void random_lines(struct lab *l) {
  struct vnet_line *v[] = {&l->a.host->up, &l->b.host->up};

  for (int i = 0; i < 2; i++) {
    v[i]->loss = seeded_unit(&l->rnd) * 0.05;
    v[i]->dup = seeded_unit(&l->rnd) * 0.05;
    v[i]->reorder = seeded_unit(&l->rnd) * 0.05;
    v[i]->reorder_by = 5 * MS;
  }
}

static uint64_t some(struct lab *l, uint64_t most) {
  return seeded_u64(&l->rnd) % (seeded_u64(&l->rnd) % most + 1);
}

static bool random_transfer(uint64_t seed) {
  struct lab *l = lab_new(seed, (1 + seed % 30) * MS);
  int n = 1 + (int)(seeded_u64(&l->rnd) % 4);
  bool ok;

  random_lines(l);
  l->answer_after = seeded_u64(&l->rnd) % (50 * MS);
  l->b_waits = seeded_u64(&l->rnd) % 2;
  for (int i = 0; i < n; i++) {
    l->b_to_send = some(l, 400000);
    lab_open(l, some(l, 400000));
    lab_run(l, some(l, 100 * MS));
  }
  for (int k = (int)(seeded_u64(&l->rnd) % 4); k > 0; k--) {
    lab_run(l, some(l, 300 * MS));
    l->redial_after = seeded_u64(&l->rnd) % (2 * SEC);
    lab_kill(l, (enum lab_death)(seeded_u64(&l->rnd) % 3));
  }
  ok = lab_until(l, lab_is_complete, NULL, 120 * SEC);
  if (!ok) {
    print_error("seed %d:\n", (int)seed);
    for (int i = 0; i < n; i++) {
      explain(&l->a.flows[i], "agent");
      explain(&l->b.flows[i], "connector");
    }
  }
  ok = ok && l->a.common.pool.used + l->b.common.pool.used == 0;
  lab_free(l);
  return ok;
}

static void random_transfers_arrive_whatever_dies(void **state) {
  const char *one = getenv("ZTNA_SEED"), *many = getenv("ZTNA_SEEDS");
  uint64_t n = many ? strtoull(many, NULL, 10) : 1000;
  int n_bad = 0;

  if (one) {
    assert_true(random_transfer(strtoull(one, NULL, 10)));
    return;
  }
  for (uint64_t seed = 1; seed <= n; seed++)
    if (!random_transfer(seed)) n_bad++;
  assert_int_equal(n_bad, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(bytes_arrive_both_ways),
      TEST(empty_flows_end_well),
      TEST(moves_send_no_byte_twice),
      TEST(a_path_may_die_in_a_move),
      TEST(a_refusal_says_why),
      TEST(connected_means_that_the_backend_is),
      TEST(the_answer_to_a_request_ended_by_fin_comes_whole),
      TEST(an_open_direction_outlives_the_other),
      TEST(a_reset_comes_behind_the_data_either_way),
      TEST(a_reader_that_sleeps_stops_the_sender),
      TEST(a_sleeping_reader_does_not_stop_the_other_flows),
      TEST(a_flow_goes_on_wherever_its_path_died),
      TEST(and_when_the_connector_does_not_notice),
      TEST(and_when_the_agent_does_not_notice),
      TEST(a_flow_that_nobody_knows_is_reset),
      TEST(a_minute_without_a_path_ends_both_ends),
      TEST(fifty_seconds_without_a_path_are_survived),
      TEST(random_transfers_arrive_whatever_dies),
  };

  if (getenv("ZTNA_SEED"))
    cmocka_set_test_filter("random*");
  else if (getenv("ZTNA_TEST"))
    cmocka_set_test_filter(getenv("ZTNA_TEST"));
  return cmocka_run_group_tests(tests, setup, teardown);
}
