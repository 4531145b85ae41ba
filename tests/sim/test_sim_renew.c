/* test_sim_renew.c - routes that are renewed: who watches the wire sees other
 * handles after an hour and on another network, and the people's programs
 * notice nothing. */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "base/sbuf.h"
#include "codec/handle.h"
#include "sim/tcp_world.h"
#include "unit/unit.h"

#define HOUR (3600 * SEC)
#define RENEWED "ztna_agent_routes_renewed_total"

static const struct sim_config one = {
    .seed = 21, .n_agents = 1, .n_connectors = 1, .tcp = true};

/* --- what somebody on the wire sees --- */

enum { SEEN_MAX = 256, BUSY = 100 };

struct seen { /* first bytes of destination connection ids */
  struct {
    uint8_t handle[HANDLE_LEN];
    unsigned n;
  } v[SEEN_MAX];
  int n;
};

static struct seen *watched;

/* Short headers: what belongs to a handshake is rare. */
static void on_wire(void *ud, const struct ztna_addr *from,
                    const struct ztna_addr *to, const uint8_t *data,
                    size_t len) {
  struct seen *s = watched;

  if (!s || len < 1 + HANDLE_LEN || data[0] & 0x80) return;
  for (int i = 0; i < s->n; i++)
    if (!memcmp(s->v[i].handle, data + 1, HANDLE_LEN)) {
      s->v[i].n++;
      return;
    }
  assert_in_range(s->n, 0, SEEN_MAX - 1);
  memcpy(s->v[s->n].handle, data + 1, HANDLE_LEN);
  s->v[s->n++].n = 1;
}

static struct seen watch(struct sim *w, uint64_t for_ns) {
  struct seen s = {.n = 0};

  w->net->on_wire = on_wire;
  watched = &s;
  sim_run(w, for_ns);
  watched = NULL;
  return s;
}

/* Control connections have a few packets, a path that is in use many. */
static int n_busy(const struct seen *s) {
  int n = 0;

  for (int i = 0; i < s->n; i++) n += s->v[i].n >= BUSY;
  return n;
}

/* Packets in a now to what was busy in was. */
static unsigned to_old(const struct seen *a, const struct seen *was) {
  unsigned n = 0;

  for (int i = 0; i < a->n; i++)
    for (int k = 0; k < was->n; k++)
      if (was->v[k].n >= BUSY &&
          !memcmp(a->v[i].handle, was->v[k].handle, HANDLE_LEN))
        n += a->v[i].n;
  return n;
}

/* --- what the agent says --- */

static json_t *status_of(struct sim *w) {
  char *text = ztna_agent_status(w->agents[0].core);
  json_t *j = json_loads(text, 0, NULL);

  free(text);
  return j;
}

static json_t *link_of(json_t *status) {
  return json_array_get(json_object_get(status, "links"), 0);
}

static int n_paths(struct sim *w) {
  json_t *j = status_of(w);
  int n = (int)json_array_size(json_object_get(link_of(j), "paths"));

  json_decref(j);
  return n;
}

static int moves(struct sim *w, const char *what) {
  json_t *j = status_of(w);
  int n = (int)json_integer_value(json_object_get(link_of(j), what));

  json_decref(j);
  return n;
}

/* Until the next renewal of any path. */
static int renewed_in(struct sim *w) {
  json_t *j = status_of(w), *p;
  int first = INT32_MAX;
  size_t i;

  json_array_foreach(json_object_get(link_of(j), "paths"), i, p) {
    json_t *in = json_object_get(p, "renewed_in_s");

    if (in && json_integer_value(in) < first)
      first = (int)json_integer_value(in);
  }
  json_decref(j);
  return first;
}

static uint64_t n_renewed(struct sim *w) {
  return sim_agent_counter(w, 0, RENEWED, NULL);
}

struct times {
  uint64_t n;
};

static bool was_renewed(struct sim *w, void *ud) {
  return n_renewed(w) >= ((struct times *)ud)->n;
}

static bool has_one_path(struct sim *w, void *ud) { return n_paths(w) == 1; }
static bool has_two_paths(struct sim *w, void *ud) { return n_paths(w) == 2; }

static void until_renewed(struct sim *w, uint64_t times, uint64_t within) {
  struct times t = {times};

  assert_true(sim_until(w, was_renewed, &t, within));
}

static struct app *app_of(struct sim *w) { return &w->agents[0].app; }

/* A link in use, with a question every so often. */
static struct sim *steady(const struct sim_config *cfg, uint64_t every) {
  struct sim *w = ready(cfg);

  app_steady(app_of(w), "echo", false, every);
  sim_run(w, 2 * SEC);
  return w;
}

/* Short of its first renewal. */
static struct sim *aged(const struct sim_config *cfg, uint64_t every) {
  struct sim *w = steady(cfg, 5 * SEC);
  int s = renewed_in(w);

  assert_in_range(s, 3200, 4000);
  sim_run(w, (uint64_t)(s - 10) * SEC);
  assert_int_equal(n_renewed(w), 0);
  app_steady(app_of(w), "echo", false, every);
  return w;
}

static void assert_nothing_lost(struct sim *w) {
  struct app *a = app_of(w);

  app_steady(a, "echo", false, 0);
  sim_run(w, SEC);
  assert_int_equal(a->n_got, a->n_asks);
  assert_int_equal(a->n_errors, 0);
  assert_true(app_is_clean(a));
}

static uint64_t at_relay(struct sim *w, const char *name) {
  return sim_relay_counter(w, name, NULL);
}

/* --- every hour --- */

/* From question to answer, of those asked since. */
static uint64_t slowest(const struct app *a, uint64_t since) {
  uint64_t most = 0;

  for (uint32_t i = 0; i < a->n_asks; i++) {
    uint64_t sent = a->asks[i].sent_at, got = a->asks[i].got_at;

    if (sent > since && got && got - sent > most) most = got - sent;
  }
  return most;
}

/* On lines that nobody fills, 80 ms there and back. */
static void a_planned_move_takes_no_time(void **state) {
  for (uint64_t seed = 1; seed <= 8; seed++) {
    struct sim_config cfg = one;
    struct tcp_app *keys;
    struct sim *w;
    uint64_t since;

    cfg.seed = seed;
    w = aged(&cfg, 10 * MS);
    since = w->now;
    keys = tcp_keys(w, 0, "echo", 50 * MS);
    sim_run(w, SEC);
    keys->end.longest_pause = 0; /* that of its beginning */
    until_renewed(w, 1, 30 * SEC);
    sim_run(w, 70 * SEC);
    assert_int_equal(n_paths(w), 1);
    assert_in_range(slowest(app_of(w), since), 80 * MS, 90 * MS);
    /* A flow that moves keeps quiet for a round trip (tcpflow_move.c). */
    assert_in_range(keys->end.longest_pause, 40 * MS, 180 * MS);
    tcp_keys_end(keys);
    assert_completes(w, keys, 5 * SEC);
    assert_nothing_lost(w);
    sim_free(w);
  }
}

/* On lines that the flows fill: what is lost or late here is so by their queue.
 * Its 4 MB hold what both directions have under way (1.4 MB each), so nothing
 * is lost; with 1 MB it was now and then, and flows paused for a queue's length
 * (up to 610 ms, by the seed) before the move and after it alike.
 * a_planned_move_takes_no_time shows the move alone. */
static void an_hour_brings_other_handles_and_loses_nothing(void **state) {
  struct sim *w = aged(&one, 10 * MS);
  struct vnet_host *h = w->agents[0].node.host;
  struct tcp_app *down, *up, *keys;
  struct seen before, after;

  h->up.pipe = vnet_pipe(w->net, 20 * MBIT, 4 << 20);
  h->down.pipe = vnet_pipe(w->net, 20 * MBIT, 4 << 20);
  down = open_to(w, TCP_PORT, TCP_SOURCE, 0, 60 << 20);
  up = open_to(w, TCP_PORT, TCP_SINK, 30 << 20, 0);
  keys = tcp_keys(w, 0, "echo", 50 * MS);
  before = watch(w, 5 * SEC);
  assert_int_equal(n_busy(&before), 2); /* of either end */
  until_renewed(w, 1, 20 * SEC);
  assert_false(tcp_is_complete(down) || tcp_is_complete(up));
  sim_run(w, 10 * SEC);
  assert_int_equal(n_paths(w), 1);
  after = watch(w, 5 * SEC);
  assert_int_equal(n_busy(&after), 2);
  assert_int_equal(to_old(&after, &before), 0);
  assert_completes(w, down, 120 * SEC);
  assert_completes(w, up, 120 * SEC);
  assert_in_range(down->end.longest_pause, 0, 1100 * MS); /* 2.8 MB of queue */
  tcp_keys_end(keys);
  assert_completes(w, keys, 5 * SEC);
  assert_int_equal(sim_agent_counter(w, 0, "ztna_agent_tcp_lost_total", NULL),
                   0);
  assert_int_equal(moves(w, "failovers"), 0);
  assert_int_equal(at_relay(w, "ztna_relay_routes"), 1);
  assert_int_equal(at_relay(w, "ztna_relay_grants"), 1);
  assert_int_equal(
      sim_relay_counter(w, "ztna_relay_routes_ended_total", "idle"), 1);
  assert_nothing_lost(w);
  sim_free(w);
}

static void all_services_of_a_link_are_on_the_new_route(void **state) {
  struct sim_config cfg = one;
  struct sim *w;

  cfg.both = true;
  w = aged(&cfg, 100 * MS);
  assert_true(app_udp(app_of(w), "other", false, 64));
  sim_run(w, SEC);
  assert_int_equal(at_relay(w, "ztna_relay_grants"), 2);
  until_renewed(w, 1, 30 * SEC);
  sim_run(w, 10 * SEC);
  assert_int_equal(at_relay(w, "ztna_relay_routes"), 1);
  assert_int_equal(at_relay(w, "ztna_relay_grants"), 2);
  /* Nobody had to open anything again, then or when leases run out. */
  sim_log_clear(w);
  for (int i = 0; i < 40; i++) {
    assert_true(app_udp(app_of(w), "other", false, 64));
    sim_run(w, 10 * SEC);
  }
  assert_false(sim_logged(w, "service open"));
  assert_nothing_lost(w);
  sim_free(w);
}

static void a_service_that_is_new_meanwhile_stays(void **state) {
  struct sim_config cfg = one;
  struct sim *w;

  cfg.both = true;
  w = aged(&cfg, 100 * MS);
  until_renewed(w, 1, 30 * SEC);
  sim_run(w, 100 * MS);
  assert_int_equal(n_paths(w), 2);
  assert_true(app_udp(app_of(w), "other", false, 64));
  assert_true(sim_until(w, has_one_path, NULL, 20 * SEC));
  for (int i = 0; i < 10; i++) {
    assert_true(app_udp(app_of(w), "other", false, 64));
    sim_run(w, 5 * SEC);
  }
  assert_int_equal(at_relay(w, "ztna_relay_grants"), 2);
  assert_nothing_lost(w);
  sim_free(w);
}

/* The service is elsewhere, what began here goes on here. */
static void conversations_stay_with_a_draining_connector(void **state) {
  struct sim_config cfg = one;
  struct sim *w;
  uint64_t asked;
  int first;

  cfg.n_connectors = 2;
  w = aged(&cfg, 100 * MS);
  first = w->connectors[0].n_asked ? 0 : 1;
  connector_set_draining(w->connectors[first].core, true, w->now);
  sim_run(w, SEC);
  assert_int_equal(n_renewed(w), 0);
  until_renewed(w, 1, 30 * SEC);
  sim_run(w, 400 * SEC);
  asked = w->connectors[first].n_asked;
  sim_run(w, SEC);
  assert_in_range(w->connectors[first].n_asked, asked + 9, asked + 11);
  assert_int_equal(w->connectors[!first].n_asked, 0);
  assert_nothing_lost(w);
  sim_free(w);
}

static void five_hours_leave_nothing_behind(void **state) {
  struct sim *w = aged(&one, 5 * SEC);
  struct tcp_app *keys = tcp_keys(w, 0, "echo", 10 * SEC);
  size_t before, after;

  until_renewed(w, 1, 30 * SEC);
  sim_run(w, 600 * SEC);
  before = mallinfo2().uordblks;
  for (uint64_t i = 2; i < 6; i++) {
    until_renewed(w, i, 4000 * SEC);
    assert_true(sim_until(w, has_one_path, NULL, 70 * SEC));
  }
  sim_run(w, 600 * SEC);
  after = mallinfo2().uordblks;
  assert_in_range(after, 0, before + 16 * 1024);
  assert_int_equal(n_paths(w), 1);
  assert_int_equal(at_relay(w, "ztna_relay_routes"), 1);
  assert_int_equal(at_relay(w, "ztna_relay_grants"), 1);
  tcp_keys_end(keys);
  assert_completes(w, keys, 5 * SEC);
  assert_nothing_lost(w);
  sim_free(w);
}

static void what_stands_by_is_renewed_too(void **state) {
  struct sim_config cfg = one;
  struct sim *w;

  cfg.n_relays = 2;
  w = aged(&cfg, 200 * MS);
  assert_int_equal(n_paths(w), 2);
  until_renewed(w, 2, 4000 * SEC);
  sim_run(w, 61 * SEC);
  assert_int_equal(n_paths(w), 2);
  assert_int_equal(at_relay(w, "ztna_relay_routes"), 1);
  assert_int_equal(at_relay(w, "ztna_relay_routes_renewed_total"), 1);
  assert_nothing_lost(w);
  sim_free(w);
}

static bool uses_direct(struct sim *w, void *ud) {
  json_t *j = status_of(w), *p;
  bool is = false;
  size_t i;

  json_array_foreach(json_object_get(link_of(j), "paths"), i, p) is |=
      json_is_true(json_object_get(p, "chosen")) &&
      !strcmp(json_string_value(json_object_get(p, "kind")), "direct");
  json_decref(j);
  return is;
}

static void a_direct_path_is_not_left_for_it(void **state) {
  struct sim_config cfg = one;
  struct sim *w;
  int n;

  cfg.direct = true;
  cfg.agent_class = cfg.connector_class = "port-restricted";
  w = aged(&cfg, 50 * MS);
  assert_true(uses_direct(w, NULL));
  n = moves(w, "moves");
  until_renewed(w, 1, 30 * SEC);
  sim_run(w, 20 * SEC);
  assert_true(uses_direct(w, NULL));
  assert_int_equal(moves(w, "moves"), n);
  assert_int_equal(at_relay(w, "ztna_relay_routes"), 1);
  assert_nothing_lost(w);
  sim_free(w);
}

/* --- when something is in the way --- */

/* Handshakes need large packets, questions do not. */
static void a_path_that_does_not_come_up_leaves_the_old_one(void **state) {
  struct sim *w = aged(&one, 50 * MS);
  struct tcp_app *keys = tcp_keys(w, 0, "echo", 100 * MS);

  w->agents[0].node.host->up.mtu = 1000;
  assert_true(sim_until(w, has_two_paths, NULL, 30 * SEC));
  sim_run(w, 30 * SEC);
  assert_true(sim_logged(w, "agent: route not renewed"));
  assert_int_equal(n_renewed(w), 0);
  assert_int_equal(n_paths(w), 1);
  assert_int_equal(at_relay(w, "ztna_relay_routes"), 1);
  assert_int_equal(at_relay(w, "ztna_relay_grants"), 1);
  w->agents[0].node.host->up.mtu = 0;
  until_renewed(w, 1, 240 * SEC);
  sim_run(w, 10 * SEC);
  assert_int_equal(n_paths(w), 1);
  tcp_keys_end(keys);
  assert_completes(w, keys, 5 * SEC);
  assert_int_equal(sim_agent_counter(w, 0, "ztna_agent_tcp_lost_total", NULL),
                   0);
  assert_nothing_lost(w);
  sim_free(w);
}

/* At whatever moment of a renewal it happens. */
static void a_relay_that_restarts_meanwhile_costs_no_flow(void **state) {
  for (int i = 0; i < 8; i++) {
    struct sim *w = aged(&one, 20 * MS);
    struct tcp_app *keys = tcp_keys(w, 0, "echo", 50 * MS);

    assert_true(sim_until(w, has_two_paths, NULL, 30 * SEC));
    sim_run(w, (uint64_t)i * 25 * MS);
    sim_relay_stop(w);
    sim_run(w, 200 * MS);
    sim_relay_start(w);
    sim_run(w, 90 * SEC);
    assert_true(app_back_since(app_of(w), w->now - SEC));
    assert_true(sim_until(w, has_one_path, NULL, 70 * SEC));
    assert_int_equal(at_relay(w, "ztna_relay_routes"), 1);
    tcp_keys_end(keys);
    assert_completes(w, keys, 30 * SEC);
    sim_free(w);
  }
}

static void a_connector_that_restarts_meanwhile_is_found_again(void **state) {
  for (int i = 0; i < 8; i++) {
    struct sim *w = aged(&one, 20 * MS);

    assert_true(sim_until(w, has_two_paths, NULL, 30 * SEC));
    sim_run(w, (uint64_t)i * 25 * MS);
    sim_connector_stop(w, 0);
    sim_run(w, 200 * MS);
    sim_connector_start(w, 0);
    sim_run(w, 90 * SEC);
    assert_true(app_back_since(app_of(w), w->now - SEC));
    assert_true(sim_until(w, has_one_path, NULL, 70 * SEC));
    assert_int_equal(at_relay(w, "ztna_relay_routes"), 1);
    sim_free(w);
  }
}

/* --- another network --- */

static void another_network_sees_other_handles(void **state) {
  struct sim *w = steady(&one, 10 * MS);
  struct tcp_app *keys = tcp_keys(w, 0, "echo", 50 * MS);
  struct seen before, after;

  sim_run(w, 60 * SEC);
  before = watch(w, 5 * SEC);
  vnet_readdress(w->agents[0].node.host, "198.51.7.7:5000", NULL);
  sim_agent_network(w, 0);
  until_renewed(w, 1, 2 * SEC);
  sim_run(w, 500 * MS);
  after = watch(w, 5 * SEC);
  assert_int_equal(n_busy(&after), 2);
  assert_in_range(to_old(&after, &before), 0, 50); /* the last of a path */
  sim_run(w, 5 * SEC);
  after = watch(w, 5 * SEC);
  assert_int_equal(to_old(&after, &before), 0);
  assert_int_equal(n_paths(w), 1);
  tcp_keys_end(keys);
  assert_completes(w, keys, 5 * SEC);
  sim_free(w);
}

static void
a_network_that_comes_and_goes_is_not_followed_each_time(void **state) {
  struct sim *w = steady(&one, 100 * MS);

  sim_run(w, 60 * SEC);
  for (int i = 0; i < 60; i++) {
    ztna_agent_network_changed(w->agents[0].core, w->now);
    sim_run(w, SEC);
  }
  assert_in_range(n_renewed(w), 1, 3);
  sim_run(w, 70 * SEC);
  assert_int_equal(n_paths(w), 1);
  assert_int_equal(at_relay(w, "ztna_relay_routes"), 1);
  assert_nothing_lost(w);
  sim_free(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(an_hour_brings_other_handles_and_loses_nothing),
      TEST(a_planned_move_takes_no_time),
      TEST(all_services_of_a_link_are_on_the_new_route),
      TEST(a_service_that_is_new_meanwhile_stays),
      TEST(conversations_stay_with_a_draining_connector),
      TEST(five_hours_leave_nothing_behind),
      TEST(what_stands_by_is_renewed_too),
      TEST(a_direct_path_is_not_left_for_it),
      TEST(a_path_that_does_not_come_up_leaves_the_old_one),
      TEST(a_relay_that_restarts_meanwhile_costs_no_flow),
      TEST(a_connector_that_restarts_meanwhile_is_found_again),
      TEST(another_network_sees_other_handles),
      TEST(a_network_that_comes_and_goes_is_not_followed_each_time),
  };

  if (getenv("ZTNA_TEST")) cmocka_set_test_filter(getenv("ZTNA_TEST"));
  return cmocka_run_group_tests(tests, NULL, NULL);
}
