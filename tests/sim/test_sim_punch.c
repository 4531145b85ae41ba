/* test_sim_punch.c - which places find a direct way to each other, and how
 * fast: rounds of checks between all pairs of NAT classes, each with its own
 * network (punch_duel.h).
 *
 *   ZTNA_RUNS=N  so many rounds over all pairs
 *   ZTNA_SEED=N  only that one of them, with its facts */
#include "unit/unit.h"

#include <time.h>

#include "sim/punch_duel.h"

enum { RUNS = 10000, WORST_SHOWN = 5 };

/* --- pairs and what is to be expected of them --- */

enum kind {
  OPEN,   /* lets in an address that it sent to, from any port */
  CLOSED, /* from that port only */
  COUNTING,
  RANDOM,
  BLOCKED,
};

static const struct place {
  const char *name;
  enum kind kind;
} places[] = {
    {"public", OPEN},
    {"firewall", CLOSED},
    {"full-cone", OPEN},
    {"addr-restricted", OPEN},
    {"port-restricted", CLOSED},
    {"port-restricted-np", CLOSED},
    {"input-accept", CLOSED},
    {"cgn", CLOSED},
    {"cgn-pr", CLOSED},
    {"sym-seq", COUNTING},
    {"sym-random", RANDOM},
    {"udp-blocked", BLOCKED},
};

enum expectation {
  ALWAYS,
  MOSTLY, /* by a search: 95 of 100 */
  NEVER_DIRECT,
};

struct row {
  const char *name[2];
  bool v6, one_carrier;
  enum expectation want;
  bool hopeless; /* both are hard, and it is told so */
  int n, n_direct;
  uint64_t *after; /* of the direct ones */
  uint64_t latest_over;
  uint64_t n_sent, most_sent;
  double cpu;
};

enum { ROWS = 12 * 13 / 2 + 4 };

static struct sweep {
  struct row row[ROWS];
  int n_rows, n;
  /* Rounds that did something they must not; by what. */
  int n_budget, n_target, n_socket, n_lame, n_odd;
  bool alone; /* one round only */
} sweep;

static enum expectation expected(enum kind a, enum kind b) {
  if (a == BLOCKED || b == BLOCKED) return NEVER_DIRECT;
  if (a == RANDOM && b == RANDOM) return NEVER_DIRECT;
  if ((a == RANDOM && b == COUNTING) || (a == COUNTING && b == RANDOM))
    return NEVER_DIRECT;
  if ((a == RANDOM && b == CLOSED) || (a == CLOSED && b == RANDOM))
    return MOSTLY;
  return ALWAYS;
}

static bool is_hard(enum kind k) { return k == COUNTING || k == RANDOM; }

static struct row *row_add(const char *a, const char *b,
                           enum expectation want) {
  struct row *r = &sweep.row[sweep.n_rows++];

  *r = (struct row){.name = {a, b}, .want = want};
  return r;
}

static void rows_make(void) {
  for (size_t a = 0; a < N_OF(places); a++)
    for (size_t b = a; b < N_OF(places); b++) {
      enum kind x = places[a].kind, y = places[b].kind;

      row_add(places[a].name, places[b].name, expected(x, y))->hopeless =
          is_hard(x) && is_hard(y) && expected(x, y) == NEVER_DIRECT;
    }
  row_add("same-lan", "same-lan", ALWAYS);
  row_add("firewall", "firewall", ALWAYS)->v6 = true;
  row_add("cgn", "cgn", ALWAYS)->one_carrier = true;
  row_add("cgn-pr", "cgn-pr", ALWAYS)->one_carrier = true;
  assert_int_equal(sweep.n_rows, ROWS);
}

/* --- one round --- */

static double cpu_now(void) {
  struct timespec t;

  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double ms_of(uint64_t ns) {
  return ns == NEVER ? -1 : (double)ns / (double)MS;
}

static void say(const struct row *row, const struct duel_config *c,
                const struct duel_result *r, const char *what) {
  print_message("# ZTNA_SEED=%d %s x %s: %s; rtt %.0f ms\n", (int)c->seed,
                c->class[0] -> name, c -> class[1] -> name, what,
                ms_of(r->rtt));
  for (int i = 0; i < 2; i++) {
    const struct duel_side_result *s = &r->side[i];

    print_message("#   %s: pair after %.0f ms, over after %.0f ms (%d), %d "
                  "packets, %d searching, %d pairs\n",
                  i ? "connector" : "agent", ms_of(s->pair_after),
                  ms_of(s->over_after), (int)s->why, (int)s->n_sent,
                  (int)s->n_search, (int)s->n_pairs);
  }
}

/* The first few of a kind are shown. */
static void count(int *n, bool bad, const struct row *row,
                  const struct duel_config *c, const struct duel_result *r,
                  const char *what) {
  if (bad && (*n)++ < WORST_SHOWN) say(row, c, r, what);
}

static bool is_told(const struct duel_result *r) {
  return r->side[0].why == PUNCH_BOTH_HARD && r->side[1].why == PUNCH_BOTH_HARD;
}

static void judge(struct row *row, const struct duel_config *c,
                  const struct duel_result *r) {
  static int n_missed;
  bool both_over =
      r->side[0].over_after != NEVER && r->side[1].over_after != NEVER;

  count(&sweep.n_budget, !r->budgets_kept, row, c, r, r->wrong);
  count(&sweep.n_target, !r->targets_kept, row, c, r, r->wrong);
  count(&sweep.n_socket, !r->sockets_closed, row, c, r, r->wrong);
  count(&sweep.n_lame, !r->carries, row, c, r, r->wrong);
  count(&sweep.n_odd, !both_over, row, c, r, "a round has no end");
  count(&sweep.n_odd, r->direct && row->want == NEVER_DIRECT, row, c, r,
        "should not be possible");
  count(&sweep.n_odd, row->hopeless && !is_told(r), row, c, r,
        "both are hard, and it does not say so");
  count(&n_missed, !r->direct && row->want == ALWAYS, row, c, r, "no pair");
}

static void note(struct row *row, const struct duel_result *r) {
  row->n++;
  if (r->direct) {
    row->after =
        realloc(row->after, (size_t)(row->n_direct + 1) * sizeof(*row->after));
    row->after[row->n_direct++] = r->after;
  }
  for (int i = 0; i < 2; i++) {
    if (r->side[i].over_after > row->latest_over)
      row->latest_over = r->side[i].over_after;
    row->n_sent += r->side[i].n_sent;
    if (r->side[i].n_sent > row->most_sent) row->most_sent = r->side[i].n_sent;
  }
}

static void run(uint64_t seed) {
  struct row *row = &sweep.row[seed % ROWS];
  int turned = seed / ROWS % 2; /* either may be the agent */
  struct duel_config c = {.seed = seed,
                          .class = {nat_class_find(row->name[turned]),
                                    nat_class_find(row->name[!turned])},
                          .v6 = row->v6,
                          .one_carrier = row->one_carrier};
  double began = cpu_now();
  struct duel_result r = duel_run(&c);

  row->cpu += cpu_now() - began;
  sweep.n++;
  note(row, &r);
  judge(row, &c, &r);
  if (sweep.alone) say(row, &c, &r, r.direct ? "direct" : "not direct");
}

/* --- all of them --- */

static int by_size(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

  return (x > y) - (x < y);
}

static double share_ms(const struct row *row, int percent) {
  if (!row->n_direct) return -1;
  return ms_of(row->after[(row->n_direct - 1) * percent / 100]);
}

static const char *partner(const struct row *r) {
  if (r->one_carrier) return "behind the same";
  return r->v6 ? "the same, IPv6" : r->name[1];
}

static void table(void) {
  double cpu = 0;

  print_message("# %-18s   %-18s  direct     p50   p95   max ms   over by "
                "packets (most)  CPU ms\n",
                "", "");
  for (int i = 0; i < sweep.n_rows; i++) {
    struct row *r = &sweep.row[i];

    cpu += r->cpu;
    if (!r->n) continue;
    if (r->n_direct)
      qsort(r->after, (size_t)r->n_direct, sizeof(*r->after), by_size);
    print_message("# %-18s x %-18s %4d/%-4d %6.0f %5.0f %5.0f  %7.0f   %5.0f "
                  "%5.0f  %6.2f\n",
                  r->name[0], partner(r), r->n_direct, r->n, share_ms(r, 50),
                  share_ms(r, 95), share_ms(r, 100), ms_of(r->latest_over),
                  (double)r->n_sent / r->n / 2, (double)r->most_sent,
                  r->cpu / r->n * 1e3);
  }
  print_message("# %d rounds, %.1f s of CPU\n", sweep.n, cpu);
}

static int setup(void **state) {
  const char *one = getenv("ZTNA_SEED"), *many = getenv("ZTNA_RUNS");
  int n = many ? atoi(many) : RUNS;

  rows_make();
  sweep.alone = one;
  if (one)
    run(strtoull(one, NULL, 10));
  else
    for (int i = 1; i <= n; i++) run((uint64_t)i);
  table();
  return 0;
}

static int teardown(void **state) {
  for (int i = 0; i < sweep.n_rows; i++) free(sweep.row[i].after);
  return 0;
}

/* --- what must hold --- */

/* In one of thousands each answer is lost that would have counted; the next
 * round finds it then. */
static void places_that_can_be_reached_are(void **state) {
  int n = 0, n_missed = 0;

  for (int i = 0; i < sweep.n_rows; i++) {
    struct row *r = &sweep.row[i];

    if (r->want != ALWAYS) continue;
    n += r->n;
    n_missed += r->n - r->n_direct;
    assert_in_range(r->n_direct * 50, r->n * 49, r->n * 50);
  }
  assert_in_range(n_missed * 2000, 0, n);
}

/* Of all rounds of pairs with this expectation; those that found nothing took
 * for ever. */
static uint64_t time_to_pair(enum expectation want, int percent) {
  uint64_t *v = malloc((size_t)sweep.n * sizeof(*v)), at;
  size_t n = 0;

  assert_non_null(v);
  for (int i = 0; i < sweep.n_rows; i++) {
    struct row *r = &sweep.row[i];

    if (r->want != want) continue;
    for (int k = 0; k < r->n; k++)
      v[n++] = k < r->n_direct ? r->after[k] : NEVER;
  }
  qsort(v, n, sizeof(*v), by_size);
  at = n ? v[(n - 1) * (size_t)percent / 100] : 0;
  free(v);
  return at;
}

static void places_that_can_be_reached_are_within_a_second(void **state) {
  if (sweep.alone) return;
  assert_in_range(time_to_pair(ALWAYS, 50), 0, 500 * MS);
  assert_in_range(time_to_pair(ALWAYS, 95), 0, SEC);
}

/* A search finds something in 19 of 20. */
static void random_ports_are_found_within_eight_seconds(void **state) {
  if (sweep.alone) return;
  assert_in_range(time_to_pair(MOSTLY, 50), 0, 2 * SEC);
  assert_in_range(time_to_pair(MOSTLY, 95), 0, 8 * SEC);
  for (int i = 0; i < sweep.n_rows; i++)
    if (sweep.row[i].want == MOSTLY && sweep.row[i].n >= 50)
      assert_true(sweep.row[i].n_direct * 100 >= sweep.row[i].n * 90);
}

static void what_cannot_be_is_given_up_within_ten_seconds(void **state) {
  for (int i = 0; i < sweep.n_rows; i++) {
    if (sweep.row[i].want != NEVER_DIRECT) continue;
    assert_int_equal(sweep.row[i].n_direct, 0);
    assert_in_range(sweep.row[i].latest_over, 0, 10 * SEC);
    if (sweep.row[i].hopeless) assert_in_range(sweep.row[i].most_sent, 0, 20);
  }
}

static void every_round_comes_to_the_end_that_it_should(void **state) {
  assert_int_equal(sweep.n_odd, 0);
}

static void no_round_sends_more_than_its_budget(void **state) {
  assert_int_equal(sweep.n_budget, 0);
}

static void packets_leave_only_for_addresses_of_the_peer(void **state) {
  assert_int_equal(sweep.n_target, 0);
}

static void sockets_of_a_search_are_closed(void **state) {
  assert_int_equal(sweep.n_socket, 0);
}

static void pairs_carry_packets_both_ways(void **state) {
  assert_int_equal(sweep.n_lame, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(places_that_can_be_reached_are),
      TEST(places_that_can_be_reached_are_within_a_second),
      TEST(random_ports_are_found_within_eight_seconds),
      TEST(what_cannot_be_is_given_up_within_ten_seconds),
      TEST(every_round_comes_to_the_end_that_it_should),
      TEST(no_round_sends_more_than_its_budget),
      TEST(packets_leave_only_for_addresses_of_the_peer),
      TEST(sockets_of_a_search_are_closed),
      TEST(pairs_carry_packets_both_ways),
  };

  return cmocka_run_group_tests(tests, setup, teardown);
}
