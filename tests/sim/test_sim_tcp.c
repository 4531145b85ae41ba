/* test_sim_tcp.c - TCP through a whole installation: programs whose sockets the
 * agent splices, and backends behind the connector.
 *
 *   ZTNA_SEED=N    only that one of the random worlds
 *   ZTNA_SEEDS=N   so many of them instead of 200 */
#include "sim/tcp_world.h"

/* --- what a client sees is what it would see if the backend were local --- */

static void every_kind_of_backend_is_seen_as_it_is(void **state) {
  struct sim *w = ready(&plain);

  assert_completes(w, open_to(w, TCP_PORT, TCP_ECHO, 300000, 0), 5 * SEC);
  assert_completes(w, open_to(w, TCP_PORT, TCP_SOURCE, 10, 500000), 5 * SEC);
  assert_completes(w, open_to(w, TCP_PORT, TCP_SINK, 500000, 0), 5 * SEC);
  assert_completes(w, open_to(w, TCP_PORT, TCP_ANSWER, 100000, 200000),
                   5 * SEC);
  assert_completes(w, open_to(w, TCP_PORT_SLOW, TCP_ECHO, 100, 0), 5 * SEC);
  sim_free(w);
}

static void refused(struct sim *w, enum tcp_port port, uint64_t from,
                    uint64_t to, const char *why) {
  struct tcp_app *a = open_to(w, port, TCP_ECHO, 1000, 0);

  sim_run(w, from);
  assert_false(a->refused);
  sim_run(w, to - from);
  assert_true(a->refused);
  assert_false(a->connected);
  assert_string_equal(a->why, why);
  assert_int_equal(a->end.got, 0);
}

static void a_backend_that_is_not_there_is_told_apart(void **state) {
  struct sim *w = ready(&plain);

  assert_completes(w, open_to(w, TCP_PORT, TCP_ECHO, 100, 0), 5 * SEC);
  refused(w, TCP_PORT_REFUSES, 80 * MS, 82 * MS, "backend-refused");
  refused(w, TCP_PORT_UNREACHABLE, 80 * MS, 82 * MS, "backend-unreachable");
  refused(w, TCP_PORT_SILENT, 4 * SEC, 6 * SEC, "backend-timeout");
  refused(w, 99, 0, 500 * MS, "port-not-allowed");
  sim_free(w);
}

static void a_backend_that_accepts_and_closes_is_an_end(void **state) {
  struct sim *w = ready(&plain);
  struct tcp_app *a = open_to(w, TCP_PORT_CLOSES, TCP_SINK, 0, 0);

  sim_run(w, SEC);
  assert_true(a->connected);
  assert_true(a->end.got_fin);
  assert_false(a->end.got_reset);
  sim_free(w);
}

static void a_reset_in_mid_stream_comes_behind_its_bytes(void **state) {
  struct sim *w = ready(&plain);
  struct tcp_app *a = open_to(w, TCP_PORT, TCP_RESET, 0, 234567);

  sim_run(w, 5 * SEC);
  assert_true(a->end.got_reset);
  assert_false(a->end.got_fin);
  assert_int_equal(a->end.got, 234567);
  assert_true(tcp_is_clean(w));
  sim_free(w);
}

static void a_client_that_resets_is_seen_by_the_backend(void **state) {
  struct sim *w = ready(&plain);
  struct tcp_app *a = open_to(w, TCP_PORT, TCP_SINK, 100000, 0);

  a->end.stays_open = true;
  sim_run(w, SEC);
  assert_int_equal(w->connectors[0].tcp.n_got, 100000 + TCP_HEAD);
  tcp_reset(a);
  sim_run(w, SEC);
  assert_int_equal(w->connectors[0].tcp.n_resets, 1);
  assert_int_equal(w->connectors[0].tcp.n_fins, 0);
  sim_free(w);
}

static void one_byte_a_second_comes_one_byte_a_second(void **state) {
  struct sim *w = ready(&plain);
  struct tcp_app *a = open_to(w, TCP_PORT, TCP_TRICKLE, 0, 20);

  sim_run(w, 5 * SEC + SEC / 2);
  assert_in_range(a->end.got, 5, 6);
  assert_completes(w, a, 20 * SEC);
  assert_in_range(a->end.longest_pause, SEC - 2 * MS, SEC + 2 * MS);
  sim_free(w);
}

/* --- memory --- */

static uint64_t connector_keeps(const struct sim *w) {
  return sim_connector_counter(w, 0, "ztna_connector_tcp_buffered_bytes", NULL);
}

static void a_client_that_sleeps_stops_the_backend(void **state) {
  struct sim *w = ready(&plain);
  struct tcp_app *a = open_to(w, TCP_PORT, TCP_SOURCE, 0, 20000000);

  a->end.sleeps = true;
  sim_run(w, 30 * SEC);
  assert_in_range(w->connectors[0].tcp.ends[0].sent, 256 * 1024,
                  5 * 1024 * 1024);
  assert_in_range(connector_keeps(w), 1, 2 * 1024 * 1024 + 128 * 1024);
  tcp_wake(a);
  assert_completes(w, a, 30 * SEC);
  sim_free(w);
}

static void a_backend_that_sleeps_stops_the_client(void **state) {
  struct sim *w = ready(&plain);
  struct tcp_app *a;

  w->connectors[0].tcp.sleep = true;
  a = open_to(w, TCP_PORT, TCP_SINK, 20000000, 0);
  sim_run(w, 30 * SEC);
  assert_in_range(a->end.sent, 256 * 1024, 5 * 1024 * 1024);
  assert_in_range(connector_keeps(w), 1, 2 * 1024 * 1024 + 128 * 1024);
  w->connectors[0].tcp.sleep = false;
  tcp_end_wake(&w->connectors[0].tcp.ends[0]);
  assert_completes(w, a, 30 * SEC);
  sim_free(w);
}

/* --- outages --- */

enum { MIX = 6 };

struct mix {
  struct tcp_app *v[MIX];
};

/* Up, down, echo, key strokes, one byte a second, a reader that sleeps. */
static struct mix mix_new(struct sim *w, uint64_t bytes) {
  struct mix m = {{
      open_to(w, TCP_PORT, TCP_SINK, bytes, 0),
      open_to(w, TCP_PORT, TCP_SOURCE, 0, bytes),
      open_to(w, TCP_PORT, TCP_ECHO, bytes, 0),
      tcp_keys(w, 0, "echo", 20 * MS),
      open_to(w, TCP_PORT, TCP_TRICKLE, 0, 60),
      open_to(w, TCP_PORT, TCP_SOURCE, 0, bytes),
  }};

  m.v[5]->end.sleeps = true;
  return m;
}

static bool mix_is_complete(struct sim *w, void *ud) {
  struct mix *m = ud;

  for (int i = 0; i < MIX; i++)
    if (!tcp_is_complete(m->v[i])) return false;
  return true;
}

static void mix_completes(struct sim *w, struct mix *m) {
  bool ok;

  tcp_keys_end(m->v[3]);
  tcp_wake(m->v[5]);
  ok = sim_until(w, mix_is_complete, m, 120 * SEC);
  for (int i = 0; i < MIX && !ok; i++) explain(m->v[i]);
  assert_true(ok);
  assert_true(tcp_is_clean(w));
}

struct again {
  struct tcp_app *a;
  uint64_t since;
};

static bool moves(struct sim *w, void *ud) {
  struct again *x = ud;

  return x->a->end.last_at > x->since;
}

/* How long after now the flow gets its next byte. */
static uint64_t again_after(struct sim *w, struct tcp_app *a) {
  struct again x = {a, w->now};

  assert_true(sim_until(w, moves, &x, 60 * SEC));
  return w->now - x.since;
}

static void a_relay_killed_and_started_again_costs_a_pause(void **state) {
  struct line l = narrow(11, 1, 0);
  struct mix m = mix_new(l.w, 30000000);
  uint64_t took;

  sim_run(l.w, 500 * MS);
  sim_relay_stop(l.w);
  sim_run(l.w, 2 * SEC);
  sim_relay_start(l.w);
  took = again_after(l.w, m.v[1]);
  print_message("# the relay was away for 2 s: bytes %.2f s later\n",
                (double)took / 1e9);
  assert_in_range(took, 1, 3 * SEC);
  mix_completes(l.w, &m);
  sim_free(l.w);
}

static void twenty_seconds_without_a_line_are_survived(void **state) {
  struct line l = narrow(12, 1, 0);
  struct mix m = mix_new(l.w, 30000000);
  uint64_t took;

  sim_run(l.w, 500 * MS);
  l.w->agents[0].node.host->off = true;
  sim_run(l.w, 20 * SEC);
  l.w->agents[0].node.host->off = false;
  took = again_after(l.w, m.v[1]);
  print_message("# the line was dead for 20 s: bytes %.2f s later\n",
                (double)took / 1e9);
  assert_in_range(took, 1, 10 * SEC);
  mix_completes(l.w, &m);
  sim_free(l.w);
}

static void and_of_the_connector(void **state) {
  struct line l = narrow(12, 1, 0);
  struct mix m = mix_new(l.w, 30000000);
  uint64_t took;

  sim_run(l.w, 500 * MS);
  l.w->connectors[0].node.host->off = true;
  sim_run(l.w, 20 * SEC);
  l.w->connectors[0].node.host->off = false;
  took = again_after(l.w, m.v[1]);
  print_message(
      "# the connector's line was dead for 20 s: bytes %.2f s later\n",
      (double)took / 1e9);
  assert_in_range(took, 1, 10 * SEC);
  mix_completes(l.w, &m);
  sim_free(l.w);
}

static void a_bad_line_changes_no_byte(void **state) {
  struct line l = narrow(13, 1, 0.05);
  struct vnet_host *h = l.w->agents[0].node.host;
  struct mix m;

  h->up.dup = 0.05;
  h->up.reorder = h->down.reorder = 0.05;
  h->up.reorder_by = h->down.reorder_by = 20 * MS;
  m = mix_new(l.w, 5000000);
  sim_run(l.w, 5 * SEC);
  mix_completes(l.w, &m);
  sim_free(l.w);
}

static void a_connector_that_is_killed_leaves_no_flow_hanging(void **state) {
  struct line l = narrow(14, 1, 0);
  struct mix m = mix_new(l.w, UINT64_C(1) << 40);

  sim_run(l.w, SEC);
  sim_connector_stop(l.w, 0);
  sim_run(l.w, 500 * MS);
  sim_connector_start(l.w, 0);
  sim_run(l.w, 10 * SEC);
  for (int i = 0; i < MIX; i++) {
    if (i == 5) tcp_wake(m.v[i]); /* it has bytes to read first */
    sim_run(l.w, 100 * MS);
    if (!m.v[i]->end.got_reset) explain(m.v[i]);
    assert_true(m.v[i]->end.got_reset);
  }
  assert_completes(l.w, open_to(l.w, TCP_PORT, TCP_ECHO, 1000, 0), 5 * SEC);
  sim_free(l.w);
}

static void a_connector_gone_for_good_ends_flows_within_a_minute(void **state) {
  struct line l = narrow(14, 1, 0);
  struct mix m = mix_new(l.w, UINT64_C(1) << 40);

  sim_run(l.w, SEC);
  sim_connector_stop(l.w, 0);
  sim_run(l.w, 70 * SEC);
  for (int i = 0; i < 5; i++) {
    if (!m.v[i]->end.got_reset) explain(m.v[i]);
    assert_true(m.v[i]->end.got_reset);
  }
  sim_free(l.w);
}

/* --- seeds --- */

struct chaos {
  struct sim *w;
  struct seeded r;
  bool kills;  /* connectors and agents are started again, too */
  bool resets; /* flows may end so: their connector was killed, or left */
};

static int pick(struct chaos *x, int n) {
  return (int)(seeded_u64(&x->r) % (uint64_t)n);
}

static void lines_are_bad(struct chaos *x, struct vnet_host *h, double most) {
  struct vnet_line *v[] = {&h->up, &h->down};

  for (int i = 0; i < 2; i++) {
    v[i]->loss = seeded_unit(&x->r) * most;
    v[i]->dup = seeded_unit(&x->r) * most;
    v[i]->reorder = seeded_unit(&x->r) * most;
    v[i]->reorder_by = 20 * MS;
  }
}

static void dead_line(struct chaos *x, struct vnet_host *h, uint64_t pause) {
  h->off = true;
  sim_run(x->w, 3 * pause);
  h->off = false;
}

static void mishap(struct chaos *x) {
  struct sim *w = x->w;
  struct sim_agent *g = &w->agents[pick(x, w->cfg.n_agents)];
  int c = pick(x, w->cfg.n_connectors);
  uint64_t pause = seeded_u64(&x->r) % (2 * SEC);

  switch (pick(x, x->kills ? 9 : 7)) {
  case 0:
    sim_relay_stop(w);
    sim_run(w, pause);
    sim_relay_start(w);
    break;
  case 1:
    vnet_rebind(g->node.host);
    break;
  case 2:
    vnet_rebind(w->connectors[c].node.host);
    break;
  case 3:
    dead_line(x, g->node.host, pause);
    break;
  case 4:
    dead_line(x, w->connectors[c].node.host, pause);
    break;
  case 5:
    lines_are_bad(x, g->node.host, 0.1);
    break;
  case 6:
    g->node.host->up.mtu = 1252 + seeded_u64(&x->r) % 200;
    break;
  case 7:
    sim_connector_stop(w, c);
    sim_run(w, pause);
    sim_connector_start(w, c);
    break;
  default:
    sim_agent_stop(w, (int)(g - w->agents));
    sim_run(w, pause);
    sim_agent_start(w, (int)(g - w->agents));
  }
}

static void some_program(struct chaos *x) {
  static const enum tcp_do what[] = {TCP_ECHO,   TCP_SOURCE, TCP_SINK,
                                     TCP_ANSWER, TCP_RESET,  TCP_TRICKLE};
  static const enum tcp_port ports[] = {TCP_PORT, TCP_PORT, TCP_PORT,
                                        TCP_PORT_SLOW, TCP_PORT_REFUSES};
  enum tcp_do does = what[pick(x, N_OF(what))];
  uint64_t n = does == TCP_TRICKLE ? 3 : seeded_u64(&x->r) % 1000000;

  tcp_open(x->w, pick(x, x->w->cfg.n_agents), "echo", ports[pick(x, 5)], does,
           does == TCP_TRICKLE ? 0 : seeded_u64(&x->r) % 1000000, n);
}

/* It came to the end that it was to come to; when its connector dies or the
 * service moves to another, or before the backend was connected, a reset will
 * do, but no silence. */
static bool ended_well(const struct chaos *x, const struct tcp_app *a) {
  const struct tcp_end *e = &a->end;

  if (e->n_wrong) return false;
  if (e->got_fin && e->got_reset && !x->resets) return false;
  if (a->refused || (x->resets && (e->got_reset || !e->open))) return true;
  if (e->what == TCP_RESET) return e->got_reset && e->got <= e->n;
  return tcp_is_complete(a);
}

static bool all_ended(struct sim *w, void *ud) {
  for (int i = 0; i < w->cfg.n_agents; i++)
    for (int k = 0; k < w->agents[i].tcp.n_apps; k++)
      if (!ended_well(ud, w->agents[i].tcp.apps[k])) return false;
  return true;
}

static void explain_all(const struct chaos *x) {
  const struct sim *w = x->w;

  for (int i = 0; i < w->cfg.n_agents; i++)
    for (int k = 0; k < w->agents[i].tcp.n_apps; k++)
      if (!ended_well(x, w->agents[i].tcp.apps[k]))
        explain(w->agents[i].tcp.apps[k]);
}

static struct sim *random_world(struct chaos *x, uint64_t seed) {
  struct sim_config cfg = {.seed = seed, .tcp = true};

  seeded_init(&x->r, seed * 31 + 11);
  x->kills = seed % 3 == 0;
  cfg.n_agents = 1 + pick(x, 3);
  cfg.n_connectors = 1 + pick(x, 2);
  x->resets = x->kills || cfg.n_connectors > 1;
  cfg.delay = (uint64_t)(1 + pick(x, 20)) * MS;
  cfg.v6 = pick(x, 2);
  cfg.nat = pick(x, 2);
  x->w = ready(&cfg);
  for (int i = 0; i < cfg.n_agents; i++)
    app_steady(&x->w->agents[i].app, "echo", i % 2, 100 * MS);
  return x->w;
}

static bool tcp_works_in_the_end(uint64_t seed, uint64_t *digest) {
  struct chaos x;
  struct sim *w = random_world(&x, seed);
  bool ok;

  for (int n = 1 + pick(&x, 4); n > 0; n--) {
    for (int k = 1 + pick(&x, 4); k > 0; k--) some_program(&x);
    sim_run(w, seeded_u64(&x.r) % SEC);
    mishap(&x);
  }
  for (int i = 0; i < w->cfg.n_agents; i++)
    lines_are_bad(&x, w->agents[i].node.host, 0);
  ok = sim_until(w, all_ended, &x, 120 * SEC) && tcp_is_clean(w);
  if (!ok) {
    print_error("seed %d, at %.3f:\n", (int)seed, (double)w->now / 1e9);
    explain_all(&x);
  }
  *digest = w->net->digest;
  sim_free(w);
  return ok;
}

static void random_mishaps_lose_no_byte_and_hang_no_flow(void **state) {
  const char *one = getenv("ZTNA_SEED"), *many = getenv("ZTNA_SEEDS");
  uint64_t n = many ? strtoull(many, NULL, 10) : 200, digest, again;
  int n_bad = 0;

  if (one) {
    assert_true(tcp_works_in_the_end(strtoull(one, NULL, 10), &digest));
    return;
  }
  for (uint64_t seed = 1; seed <= n; seed++) {
    if (!tcp_works_in_the_end(seed, &digest)) n_bad++;
    if (seed % 50) continue;
    tcp_works_in_the_end(seed, &again);
    assert_int_equal(again, digest);
  }
  assert_int_equal(n_bad, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(every_kind_of_backend_is_seen_as_it_is),
      TEST(a_backend_that_is_not_there_is_told_apart),
      TEST(a_backend_that_accepts_and_closes_is_an_end),
      TEST(a_reset_in_mid_stream_comes_behind_its_bytes),
      TEST(a_client_that_resets_is_seen_by_the_backend),
      TEST(one_byte_a_second_comes_one_byte_a_second),
      TEST(a_client_that_sleeps_stops_the_backend),
      TEST(a_backend_that_sleeps_stops_the_client),
      TEST(a_relay_killed_and_started_again_costs_a_pause),
      TEST(twenty_seconds_without_a_line_are_survived),
      TEST(and_of_the_connector),
      TEST(a_bad_line_changes_no_byte),
      TEST(a_connector_that_is_killed_leaves_no_flow_hanging),
      TEST(a_connector_gone_for_good_ends_flows_within_a_minute),
      TEST(random_mishaps_lose_no_byte_and_hang_no_flow),
  };

  if (getenv("ZTNA_SEED"))
    cmocka_set_test_filter("random*");
  else if (getenv("ZTNA_TEST"))
    cmocka_set_test_filter(getenv("ZTNA_TEST"));
  return cmocka_run_group_tests(tests, NULL, NULL);
}
