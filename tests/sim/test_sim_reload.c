/* test_sim_reload.c - a connector whose services change while people use them:
 * relay, connector and agents together, on lines that are not kind. */
#include "unit/unit.h"

#include "sim/inside.h"
#include "sim/world.h"

#define STEADY (20 * MS)

static bool has_services(struct sim *w, void *ud) {
  struct ztna_addr v[2];

  for (int i = 0; i < w->cfg.n_agents; i++)
    if (!ztna_agent_routes(w->agents[i].core, v, 2)) return false;
  return true;
}

static bool is_back(struct sim *w, void *ud) {
  for (int i = 0; i < w->cfg.n_agents; i++)
    if (!app_back_since(&w->agents[i].app, *(uint64_t *)ud)) return false;
  return true;
}

static bool all_back(struct sim *w, uint64_t at_most) {
  uint64_t since = w->now;

  return sim_until(w, is_back, &since, at_most);
}

static struct sim *steady(uint64_t seed) {
  struct sim_config cfg = {.seed = seed, .n_agents = 2, .n_connectors = 1};
  struct sim *w = sim_new(&cfg);

  assert_true(sim_until(w, has_services, NULL, 5 * SEC));
  for (int i = 0; i < 2; i++)
    app_steady(&w->agents[i].app, "echo", false, STEADY);
  assert_true(all_back(w, 5 * SEC));
  sim_run(w, SEC);
  return w;
}

static void done(struct sim *w) {
  assert_true(inside_contexts_are_granted(w->connectors[0].core));
  for (int i = 0; i < 2; i++) assert_true(app_is_clean(&w->agents[i].app));
  sim_free(w);
}

/* --- what is configured --- */

static void resolve(struct connector *c) {
  struct ztna_addr to;
  size_t service, backend;

  ztna_addr_parse(&to, "192.168.7.7:7");
  while (connector_wants_backend(c, &service, &backend))
    connector_set_backend(c, service, backend, &to, 1);
}

/* Those of the names whose bit is set, in turned order. where: another number
 * is another place of all but echo. */
static void set(struct sim *w, unsigned bits, const char *where) {
  static const char *const names[] = {"echo", "other", "third", "fourth"};
  const struct connector_backend echo[] = {
      {.protocol = PROTO_UDP, .port = SIM_PORT},
      {.protocol = PROTO_ICMP},
      {.protocol = PROTO_TCP, .port = SIM_PORT}};
  const struct connector_backend rest[] = {
      {.protocol = PROTO_UDP, .port = SIM_PORT, .to = where}};
  struct connector *c = w->connectors[0].core;
  struct connector_service v[4];
  size_t n = 0;

  for (size_t i = 0; i < 4; i++) {
    size_t k = (i + bits) % 4;

    if (!(bits & 1u << k)) continue;
    v[n++] = (struct connector_service){
        .id = names[k], .backends = k ? rest : echo, .n_backends = k ? 1 : 3};
  }
  assert_int_equal(connector_set_services(c, v, n, w->now), 0);
  resolve(c);
}

static uint64_t n_asks(const struct sim *w) {
  return w->agents[0].app.n_asks + w->agents[1].app.n_asks;
}
static uint64_t n_got(const struct sim *w) {
  return w->agents[0].app.n_got + w->agents[1].app.n_got;
}

/* --- tests --- */

static void a_hundred_changes_of_others_lose_no_packet(void **state) {
  static const char *const where[] = {"a:1", "b:2", "c:3"};
  struct sim *w = steady(1);
  uint64_t missing = n_asks(w) - n_got(w);

  for (int i = 0; i < 100; i++) {
    uint64_t random = rng_u64(&w->rnd.rng);

    set(w, 1 | (unsigned)(random % 8) << 1, where[random / 8 % 3]);
    sim_run(w, random / 64 % 200 * MS);
    if (i % 10 == 0) {
      app_udp(&w->agents[0].app, "other", false, 64);
      sim_run(w, 200 * MS);
    }
  }
  app_steady(&w->agents[0].app, "echo", false, 0);
  app_steady(&w->agents[1].app, "echo", false, 0);
  set(w, 3, "a:1");
  sim_run(w, SEC);
  print_message("# %d asked, %d more missing\n", (int)n_asks(w),
                (int)(n_asks(w) - n_got(w) - missing));
  /* Questions to the other one may come when it is not there. */
  assert_in_range(n_asks(w) - n_got(w), 0, 10);
  assert_true(w->agents[1].app.n_asks == w->agents[1].app.n_got);
  assert_false(sim_logged(w, "path ended"));
  assert_false(sim_logged(w, "route closed"));
  assert_int_equal(sim_agent_counter(w, 1, "ztna_agent_grants_total", NULL), 1);
  done(w);
}

static void agents_hear_of_what_comes_and_goes(void **state) {
  struct sim *w = steady(2);
  char *status;

  set(w, 1 | 4, "a:1");
  sim_run(w, 300 * MS);
  status = ztna_agent_status(w->agents[1].core);
  assert_non_null(strstr(status, "\"third\""));
  free(status);
  set(w, 4, "a:1");
  sim_run(w, 300 * MS);
  assert_true(sim_logged(w, "agent: service refused service=echo "
                            "reason=no-such-service"));
  set(w, 1 | 4, "a:1");
  assert_true(all_back(w, SEC));
  done(w);
}

/* Whatever happens meanwhile, the last word counts. */
static void after_random_changes_and_mishaps_all_works(void **state) {
  for (uint64_t seed = 10; seed < 18; seed++) {
    struct sim *w = steady(seed);

    for (int i = 0; i < 40; i++) {
      uint64_t random = rng_u64(&w->rnd.rng);
      double loss = (double)(random % 3) / 10;

      for (int k = 0; k < w->n_nodes; k++) {
        struct vnet_host *h = w->nodes[k]->host;

        h->up.loss = h->down.loss = loss;
      }
      set(w, (unsigned)(random >> 8) % 16, "a:1");
      sim_run(w, (random >> 16) % 500 * MS);
      assert_true(inside_contexts_are_granted(w->connectors[0].core));
      if ((random >> 32) % 20) continue;
      sim_relay_stop(w);
      sim_run(w, 200 * MS);
      sim_relay_start(w);
    }
    for (int k = 0; k < w->n_nodes; k++) {
      struct vnet_host *h = w->nodes[k]->host;

      h->up.loss = h->down.loss = 0;
    }
    set(w, 1, "a:1");
    assert_true(all_back(w, 35 * SEC)); /* an agent's longest pause */
    sim_run(w, 2 * SEC);
    assert_true(all_back(w, 200 * MS));
    done(w);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_hundred_changes_of_others_lose_no_packet),
      TEST(agents_hear_of_what_comes_and_goes),
      TEST(after_random_changes_and_mishaps_all_works),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
