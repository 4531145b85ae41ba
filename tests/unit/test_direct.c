/* test_direct.c - two ends of a link find a direct path. */
#include "unit.h"
#include "direct_world.h"

/* --- finding --- */

static void check_found(const struct dw *w, int family, const char *remote) {
  const struct dw_end *a = &w->ends[DW_AGENT], *c = &w->ends[DW_CONNECTOR];
  struct ztna_addr want = test_addr(remote);

  assert_true(ztna_addr_equal(&a->found[family], &want));
  assert_int_equal(a->found_sock[family], 0);
  assert_memory_equal(a->handles[family], c->peer[family], HANDLE_LEN);
  assert_memory_equal(a->peer[family], c->handles[family], HANDLE_LEN);
  assert_memory_not_equal(a->peer[family], a->handles[family], HANDLE_LEN);
}

static void two_public_ends_meet_at_once(void **state) {
  struct dw *w = dw_new("public", "public", 1);
  uint64_t began = dw_now(w);

  assert_true(dw_meets(w, SEC));
  assert_true(dw_now(w) - began < 100 * MS);
  check_found(w, 0, "198.51.100.65:4000");
  assert_int_equal(w->ends[DW_AGENT].n_found, 1);
  assert_string_equal(dw_status(&w->ends[DW_AGENT], "state"), "direct");
  assert_string_equal(dw_status(&w->ends[DW_CONNECTOR], "state"), "direct");
  dw_free(w);
}

static void both_ends_begin_at_the_same_moment(void **state) {
  struct dw *w = dw_new("public", "public", 34);
  uint64_t a, c;

  dw_run(w, SEC);
  a = w->ends[DW_AGENT].checked_at;
  c = w->ends[DW_CONNECTOR].checked_at;
  assert_true(a && c && (a > c ? a - c : c - a) <= MS);
  dw_free(w);
}

static void both_families_are_found(void **state) {
  struct dw *w = dw_new("dual public", "dual public", 2);

  dw_run(w, SEC);
  check_found(w, 0, "198.51.100.65:4000");
  check_found(w, 1, "[2001:db8:2::1]:4000");
  assert_int_equal(w->ends[DW_AGENT].n_found, 2);
  assert_memory_not_equal(w->ends[DW_AGENT].handles[0],
                          w->ends[DW_AGENT].handles[1], HANDLE_LEN);
  dw_free(w);
}

static void port_restricted_ends_meet_at_their_outer_addresses(void **state) {
  struct dw *w = dw_new("port-restricted", "port-restricted", 3);

  assert_true(dw_meets(w, SEC));
  check_found(w, 0, "198.51.100.65:4000");
  dw_free(w);
}

/* Somebody else took ports since the machine looked: the newest one is said. */
static void sequential_ports_are_predicted(void **state) {
  for (uint64_t seed = 1; seed <= 10; seed++) {
    struct dw *w = dw_new("sym-seq", "port-restricted", seed);

    w->ends[DW_AGENT].wants = false;
    dw_run(w, SEC);
    for (int i = 0; i < 100; i++)
      sim_nat_take(w->ends[DW_AGENT].box->model, dw_now(w));
    w->ends[DW_AGENT].wants = true;
    assert_true(dw_meets(w, 250 * MS));
    dw_free(w);
  }
}

/* The path lives on a socket of the search, at one of the ends. */
static void a_searched_path_keeps_its_socket(void **state) {
  struct dw *w = dw_new("port-restricted", "sym-random", 5);
  struct dw_end *c = &w->ends[DW_CONNECTOR];

  assert_true(dw_meets(w, 30 * SEC));
  assert_true(c->sock > 0);
  dw_run(w, 20 * SEC);
  assert_true(vnet_sock_port(c->host, c->sock, 4) > 0);
  assert_int_equal(vnet_socks_open(c->host), 1);
  direct_release(&c->c, c->sock, 4);
  dw_run(w, MS);
  assert_int_equal(vnet_socks_open(c->host), 0);
  assert_false(c->c.socks.used[c->sock]);
  dw_free(w);
}

/* The round answers by it as long as it lives: sent on a closed socket, that
 * would open it again. */
static void a_socket_given_back_is_closed_behind_the_round(void **state) {
  struct dw *w = dw_new("sym-random", "port-restricted", 6);
  struct dw_end *a = &w->ends[DW_AGENT];

  assert_true(dw_meets(w, 30 * SEC));
  assert_true(a->sock > 0);
  direct_release(&a->c, a->sock, 4);
  dw_run(w, MS);
  assert_true(a->c.socks.used[a->sock]);
  dw_run(w, 20 * SEC);
  assert_false(a->c.socks.used[a->sock]);
  assert_int_equal(vnet_socks_open(a->host), 0);
  dw_free(w);
}

/* A path that is still being dialled when its round is dropped. */
static void a_dropped_round_leaves_a_path_its_socket(void **state) {
  struct dw *w = dw_new("sym-random", "port-restricted", 35);
  struct dw_end *a = &w->ends[DW_AGENT];
  uint16_t sock;

  w->no_way = true;
  for (int i = 0; i < 1000 && !a->n_found; i++) dw_run(w, 10 * MS);
  sock = a->found_sock[0];
  assert_true(sock > 0);
  a->wants = false;
  direct_network_changed(&a->c, dw_now(w));
  dw_run(w, MS);
  assert_true(vnet_sock_port(a->host, sock, 4) > 0);
  direct_release(&a->c, sock, 4);
  dw_run(w, MS);
  assert_int_equal(vnet_sock_port(a->host, sock, 4), 0);
  a->found_sock[0] = 0;
  dw_free(w);
}

static void every_round_has_ids_keys_and_handles_of_its_own(void **state) {
  static const char *const keys[] = {"id", "key"};
  struct dw *w = dw_new("public", "public", 7);
  struct dw_end *a = &w->ends[DW_AGENT];
  json_t *first, *second;

  w->cut = true;
  dw_run(w, SEC);
  first = json_loads(a->said, 0, NULL);
  dw_run(w, 10 * SEC);
  second = json_loads(a->said, 0, NULL);
  assert_int_equal(json_integer_value(json_object_get(first, "round")) + 1,
                   json_integer_value(json_object_get(second, "round")));
  for (size_t i = 0; i < N_OF(keys); i++)
    assert_string_not_equal(
        json_string_value(json_object_get(first, keys[i])),
        json_string_value(json_object_get(second, keys[i])));
  assert_false(json_equal(json_object_get(first, "handles"),
                          json_object_get(second, "handles")));
  json_decref(first);
  json_decref(second);
  dw_free(w);
}

/* --- packets --- */

static void stun_that_is_nobodys_is_dropped_and_counted(void **state) {
  struct stun_msg m = {.class = STUN_REQUEST, .method = STUN_BINDING};
  uint8_t data[STUN_MAX];
  size_t len = (size_t)stun_write(data, &m, NULL, 0, NULL);
  struct dw *w = dw_new("public", "public", 31);
  struct dw_end *c = &w->ends[DW_CONNECTOR];
  struct dgram train = {.remote = test_addr("203.0.113.50:4000")};
  uint8_t two[2 * STUN_HEADER];

  assert_true(dw_arrives(c, "203.0.113.50:4000", data, len));
  assert_int_equal(c->c.stats.drops[REASON_WRONG_SOURCE], 1);
  memcpy(two, data, STUN_HEADER);
  memcpy(two + STUN_HEADER, data, STUN_HEADER);
  two[STUN_HEADER + 3] = 4; /* a length that is not there */
  train.data = two;
  train.len = sizeof(two);
  train.seg = STUN_HEADER;
  assert_true(direct_udp_in(&c->c, dw_now(w), &train));
  assert_int_equal(c->c.stats.drops[REASON_WRONG_SOURCE], 2);
  assert_int_equal(c->c.stats.drops[REASON_MALFORMED], 1);
  dw_run(w, SEC);
  assert_int_equal(dw_sent_to(c, "203.0.113.50:4000"), 0);
  dw_free(w);
}

static void what_is_not_stun_is_left_to_quic(void **state) {
  static const uint8_t quic[64] = {0x40}, zero[64];
  struct dw *w = dw_new("public", "public", 32);
  struct dw_end *c = &w->ends[DW_CONNECTOR];

  assert_false(dw_arrives(c, "203.0.113.50:4000", quic, sizeof(quic)));
  assert_false(dw_arrives(c, "203.0.113.50:4000", zero, sizeof(zero)));
  assert_false(dw_arrives(c, "203.0.113.50:4000", zero, 0));
  dw_free(w);
}

static void idle_links_cost_nothing(void **state) {
  struct dw *w = dw_new("public", "public", 33);

  assert_true(dw_meets(w, SEC));
  dw_run(w, 20 * SEC);
  for (int i = 0; i < 2; i++) {
    struct dgram v[4];

    assert_true(direct_deadline(&w->ends[i].c) == NEVER);
    assert_null(w->ends[i].c.first);
    assert_int_equal(direct_next(&w->ends[i].c, dw_now(w), v, 4), 0);
  }
  dw_free(w);
}

/* Since the first packet there, of the n-th. */
static uint64_t nth_after(const struct dw_end *e, const char *addr, size_t n) {
  struct ztna_addr a = test_addr(addr);
  uint64_t first = 0;

  for (size_t i = 0; i < e->n_sent; i++) {
    if (!ztna_addr_equal(&e->sent[i], &a)) continue;
    if (!first) first = e->sent_at[i];
    if (!n--) return e->sent_at[i] - first;
  }
  fail_msg("so many were not sent to %s", addr);
  return 0;
}

/* Each gets all of its probes in time, whatever the other's clock says. */
static void rounds_of_two_links_do_not_disturb_each_other(void **state) {
  struct dw *w = dw_new("public", "public", 44);
  struct dw_end *c = &w->ends[DW_CONNECTOR];
  struct direct *second = dw_link(c), *first = c->d;

  w->ends[DW_AGENT].wants = false;
  dw_run(w, SEC);
  dw_hear(c, DW_OFFER(1, DW_AT("203.0.113.50:4000", "host")));
  dw_run(w, 30 * MS);
  c->d = second;
  dw_hear(c, DW_OFFER(1, DW_AT("203.0.113.51:4000", "host")));
  dw_run(w, 14 * SEC);
  for (size_t i = 1; i < 6; i++) {
    uint64_t one = nth_after(c, "203.0.113.50:4000", i),
             two = nth_after(c, "203.0.113.51:4000", i);

    assert_true(one && (one > two ? one - two : two - one) <= MS);
  }
  direct_free(first);
  dw_free(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(two_public_ends_meet_at_once),
      TEST(both_ends_begin_at_the_same_moment),
      TEST(both_families_are_found),
      TEST(port_restricted_ends_meet_at_their_outer_addresses),
      TEST(sequential_ports_are_predicted),
      TEST(a_searched_path_keeps_its_socket),
      TEST(a_socket_given_back_is_closed_behind_the_round),
      TEST(a_dropped_round_leaves_a_path_its_socket),
      TEST(every_round_has_ids_keys_and_handles_of_its_own),
      TEST(stun_that_is_nobodys_is_dropped_and_counted),
      TEST(what_is_not_stun_is_left_to_quic),
      TEST(idle_links_cost_nothing),
      TEST(rounds_of_two_links_do_not_disturb_each_other),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
