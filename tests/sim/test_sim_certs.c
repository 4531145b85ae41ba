/* test_sim_certs.c - certificates that are exchanged, run out or are revoked
 * while everybody runs: paths are made anew beside the old ones, people notice
 * nothing, and who is not let in any more is out at once. */
#include <stdlib.h>
#include <string.h>

#include "sim/tcp_world.h"
#include "unit/unit.h"

#define RENEWED "ztna_agent_routes_renewed_total"
#define DIRECT_RENEWED "ztna_agent_direct_renewed_total"
#define HOUR (3600 * SEC)

static const struct sim_config relayed = {
    .seed = 41, .n_agents = 1, .n_connectors = 1, .tcp = true};
static const struct sim_config direct = {.seed = 42,
                                         .n_agents = 1,
                                         .n_connectors = 1,
                                         .tcp = true,
                                         .direct = true,
                                         .agent_class = "port-restricted",
                                         .connector_class = "sym-random"};

static struct app *app_of(struct sim *w) { return &w->agents[0].app; }

static uint64_t agent_counts(struct sim *w, const char *name) {
  return sim_agent_counter(w, 0, name, NULL);
}

/* --- what the agent says --- */

static json_t *status_of(struct sim *w) {
  char *text = ztna_agent_status(w->agents[0].core);
  json_t *j = json_loads(text, 0, NULL);

  free(text);
  return j;
}

static int failovers(struct sim *w) {
  json_t *j = status_of(w);
  json_t *link = json_array_get(json_object_get(j, "links"), 0);
  int n = (int)json_integer_value(json_object_get(link, "failovers"));

  json_decref(j);
  return n;
}

/* Live paths of this kind; NULL: of any. */
static int n_paths(struct sim *w, const char *kind) {
  json_t *j = status_of(w), *p;
  json_t *link = json_array_get(json_object_get(j, "links"), 0);
  size_t i;
  int n = 0;

  json_array_foreach(json_object_get(link, "paths"), i, p) {
    const char *k = json_string_value(json_object_get(p, "kind"));

    n +=
        json_is_true(json_object_get(p, "live")) && (!kind || !strcmp(k, kind));
  }
  json_decref(j);
  return n;
}

static bool has_direct(struct sim *w, void *ud) {
  return n_paths(w, "direct") == 1;
}

static bool has_one_of_each(struct sim *w, void *ud) {
  return n_paths(w, "direct") == (w->cfg.direct ? 1 : 0) &&
         n_paths(w, "relay") == 1;
}

/* --- worlds --- */

static struct sim *steady(const struct sim_config *cfg, uint64_t every) {
  struct sim *w = ready(cfg);

  app_steady(app_of(w), "echo", false, every);
  sim_run(w, SEC);
  if (cfg->direct) assert_true(sim_until(w, has_direct, NULL, 10 * SEC));
  sim_run(w, SEC);
  return w;
}

/* But for what a full queue dropped: two paths fill it at once. */
static void assert_nothing_lost(struct sim *w, uint64_t n_full) {
  struct app *a = app_of(w);

  app_steady(a, "echo", false, 0);
  sim_run(w, SEC);
  assert_in_range(a->n_asks - a->n_got, 0, n_full);
  assert_int_equal(a->n_errors, 0);
  assert_true(app_is_clean(a));
}

/* --- exchanged --- */

/* Echoes every 10 ms, both directions of TCP, and somebody who types. */
static void exchange_under_load(const struct sim_config *cfg,
                                void (*renew)(struct sim *w), uint64_t within) {
  struct sim *w = steady(cfg, 10 * MS);
  struct vnet_host *h = w->agents[0].node.host;
  struct tcp_app *down, *up, *keys;
  uint64_t routes = agent_counts(w, RENEWED);
  uint64_t n = agent_counts(w, DIRECT_RENEWED);
  int lost = failovers(w);

  h->up.pipe = vnet_pipe(w->net, 20 * MBIT, 1 << 20);
  h->down.pipe = vnet_pipe(w->net, 20 * MBIT, 1 << 20);
  down = open_to(w, TCP_PORT, TCP_SOURCE, 0, 40 << 20);
  up = open_to(w, TCP_PORT, TCP_SINK, 20 << 20, 0);
  keys = tcp_keys(w, 0, "echo", 50 * MS);
  sim_run(w, SEC);
  renew(w);
  sim_run(w, within);
  assert_false(tcp_is_complete(down) || tcp_is_complete(up));
  assert_int_equal(agent_counts(w, RENEWED), routes + 1);
  assert_int_equal(agent_counts(w, DIRECT_RENEWED), n + cfg->direct);
  assert_completes(w, down, 120 * SEC);
  assert_completes(w, up, 120 * SEC);
  assert_in_range(down->end.longest_pause, 0, 700 * MS); /* in a full queue */
  tcp_keys_end(keys);
  assert_completes(w, keys, 5 * SEC);
  assert_true(sim_until(w, has_one_of_each, NULL, 70 * SEC));
  assert_int_equal(agent_counts(w, "ztna_agent_tcp_lost_total"), 0);
  assert_int_equal(failovers(w), lost);
  assert_nothing_lost(w, h->up.n_full + h->down.n_full);
  sim_free(w);
}

static void renew_agent(struct sim *w) { sim_agent_renew(w, 0); }

static void
an_agent_s_new_certificate_moves_a_relayed_path_without_loss(void **state) {
  exchange_under_load(&relayed, renew_agent, 3 * SEC);
}

static void
an_agent_s_new_certificate_moves_a_direct_path_without_loss(void **state) {
  exchange_under_load(&direct, renew_agent, 3 * SEC);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(an_agent_s_new_certificate_moves_a_relayed_path_without_loss),
      TEST(an_agent_s_new_certificate_moves_a_direct_path_without_loss),
  };

  if (getenv("ZTNA_TEST")) cmocka_set_test_filter(getenv("ZTNA_TEST"));
  return cmocka_run_group_tests(tests, NULL, NULL);
}
