/* test_relay_end.c - how routes end, and what survives a lost connection. */
#include "relay_world.h"

/* --- ends --- */

static void the_last_grants_end_ends_the_route_at_once(void **state) {
  struct cast c = granted();
  char path[80], first[40];
  snprintf(first, sizeof(first), "%s", grant_id);
  assert_int_equal(grant(c.agent, "db"), 201);
  note(c.connector);
  snprintf(path, sizeof(path), "/v1/grants/%s", first);
  assert_int_equal(request(c.agent, "DELETE", path, NULL), 204);
  assert_true(flows(&c));
  assert_string_equal(text_at(event_of(c.connector, "grant-closed"), "grant"),
                      first);
  snprintf(path, sizeof(path), "/v1/grants/%s", grant_id);
  struct reply r;
  request_begin(c.agent, "DELETE", path, NULL, &r);
  world_run(c.w, WORLD_DELAY + MS);
  assert_true(is_dead(&c)); /* before anybody could hear of it */
  world_run(c.w, 50 * MS);
  assert_int_equal(r.status, 204);
  assert_string_equal(text_at(event_of(c.connector, "route-closed"), "route"),
                      route_id);
  assert_int_equal(request(c.agent, "DELETE", path, NULL), 404);
  world_free(c.w);
}

static void a_connector_may_end_a_route(void **state) {
  struct cast c = granted();
  char path[80];
  snprintf(path, sizeof(path), "/v1/routes/%s", route_id);
  assert_int_equal(request(c.connector, "DELETE", path, NULL), 204);
  assert_true(is_dead(&c));
  assert_string_equal(text_at(event_of(c.agent, "route-closed"), "route"),
                      route_id);
  assert_null(event_of(c.connector, "route-closed"));
  world_free(c.w);
}

static void a_goodbye_ends_routes_at_once(void **state) {
  struct cast c = granted();
  client_bye(c.agent);
  assert_true(is_dead(&c));
  json_t *e = event_of(c.connector, "route-closed");
  assert_string_equal(text_at(e, "reason"), "shutting-down");
  /* Only a grant-closed would end contexts on other paths, too. */
  assert_null(event_of(c.connector, "grant-closed"));
  world_free(c.w);
}

static void a_lost_agent_keeps_its_routes_for_30_seconds(void **state) {
  struct cast c = granted();
  client_vanish(c.agent);
  world_run(c.w, 55 * SEC); /* idle after 30, kept for 30 */
  assert_true(flows(&c));
  world_run(c.w, 10 * SEC);
  assert_true(is_dead(&c));
  assert_string_equal(text_at(event_of(c.connector, "route-closed"), "reason"),
                      "idle");
  world_free(c.w);
}

static void a_lost_connector_keeps_its_routes_for_30_seconds(void **state) {
  struct cast c = granted();
  client_vanish(c.connector);
  world_run(c.w, 55 * SEC);
  assert_true(flows(&c));
  world_run(c.w, 10 * SEC);
  assert_true(is_dead(&c));
  assert_string_equal(text_at(event_of(c.agent, "route-closed"), "reason"),
                      "no-connector");
  world_free(c.w);
}

static void an_agent_that_comes_back_has_its_routes(void **state) {
  struct cast c = granted();
  client_vanish(c.agent);
  world_run(c.w, 40 * SEC);
  struct ztna_addr old = c.agent->addr;
  c.agent->addr = test_addr("198.51.100.9:9999");
  client_dial(c.agent);
  assert_true(flows(&c)); /* from the new address */
  assert_false(passes(c.w, &old, to_connector));
  assert_int_equal(grant(c.agent, "web"), 201);
  assert_string_equal(text_at(answered(), "grant.id"), grant_id);
  assert_null(event_of(c.connector, "route-closed"));
  world_run(c.w, 60 * SEC);
  assert_true(flows(&c));
  world_free(c.w);
}

static void an_agent_takes_over_from_its_own_dead_connection(void **state) {
  struct cast c = granted();
  client_vanish(c.agent);
  c.agent->addr.port++;
  client_dial(c.agent); /* the relay still believes in the old one */
  assert_int_equal(grant(c.agent, "web"), 201);
  assert_string_equal(text_at(answered(), "grant.id"), grant_id);
  assert_true(flows(&c));
  world_run(c.w, 60 * SEC);
  assert_true(flows(&c));
  world_free(c.w);
}

static void a_visitor_with_the_same_certificate_takes_nothing(void **state) {
  struct cast c = granted();
  struct client *probe =
      client_new(c.w, ROLE_AGENT, "laptop", "198.51.100.7:7000", NULL);
  client_dial(probe);
  assert_int_equal(request(probe, "GET", "/v1/self", NULL), 200);
  assert_true(flows(&c));
  client_bye(probe);
  assert_true(flows(&c));
  assert_true(c.agent->ready);
  world_free(c.w);
}

static void a_visitors_goodbye_is_not_the_agents(void **state) {
  struct cast c = granted();
  struct client *probe =
      client_new(c.w, ROLE_AGENT, "laptop", "198.51.100.1:2001", NULL);
  client_vanish(c.agent);
  world_run(c.w, 35 * SEC); /* gone, and kept */
  client_dial(probe);
  client_bye(probe);
  client_dial(c.agent);
  assert_true(flows(&c));
  world_free(c.w);
}

static void a_new_instance_of_an_agent_replaces_the_old_one(void **state) {
  struct cast c = granted();
  struct client *second =
      client_new(c.w, ROLE_AGENT, "laptop", "198.51.100.7:7000", NULL);
  second->instance = "ffffffffffffffffffffffffffffffff";
  client_dial(second);
  assert_int_equal(grant(second, "web"), 201);
  assert_string_not_equal(text_at(answered(), "route"), route_id);
  assert_true(is_dead(&c));
  assert_int_equal(c.agent->n_end, 1);
  assert_int_equal(c.agent->end.reason, REASON_REPLACED);
  assert_string_equal(text_at(event_of(c.connector, "route-closed"), "reason"),
                      "replaced");
  world_free(c.w);
}

static void a_new_instance_of_a_connector_replaces_the_old_one(void **state) {
  struct cast c = granted();
  static const char *const any[] = {"*", NULL};
  struct client *second =
      client_new(c.w, ROLE_CONNECTOR, "dc", "192.0.2.7:7000", any);
  second->instance = "ffffffffffffffffffffffffffffffff";
  client_dial(second);
  assert_int_equal(connector_put(second, "web", ""), 200);
  assert_true(is_dead(&c));
  assert_int_equal(c.connector->end.reason, REASON_REPLACED);
  assert_string_equal(text_at(event_of(c.agent, "route-closed"), "reason"),
                      "replaced");
  world_free(c.w);
}

static void a_connector_that_comes_back_hears_of_its_grants(void **state) {
  struct cast c = granted();
  client_vanish(c.connector);
  client_dial(c.connector);
  assert_int_equal(connector_put(c.connector, "web db", ""), 200);
  json_t *grants = json_object_get(answered(), "grants");
  assert_int_equal(json_array_size(grants), 1);
  assert_string_equal(text_at(json_array_get(grants, 0), "id"), grant_id);
  assert_true(flows(&c));
  /* Another time it does not have the route any more, and says so. */
  client_vanish(c.connector);
  client_dial(c.connector);
  assert_int_equal(connector_put(c.connector, "web db", "\"routes\": [],"),
                   200);
  assert_true(is_dead(&c));
  assert_non_null(event_of(c.agent, "route-closed"));
  world_free(c.w);
}

static void a_service_taken_off_the_list_ends_its_grants(void **state) {
  struct cast c = granted();
  assert_int_equal(connector_put(c.connector, "db", ""), 200);
  assert_true(is_dead(&c));
  assert_string_equal(text_at(event_of(c.agent, "grant-closed"), "grant"),
                      grant_id);
  assert_int_equal(grant(c.agent, "web"), 404);
  assert_string_equal(answered_reason(), "no-such-service");
  world_free(c.w);
}

static void another_list_leaves_other_grants_and_routes(void **state) {
  static const char *const lists[] = {"web db new", "web", "new web", "db web"};
  struct cast c = granted();
  char of_db[40];
  assert_int_equal(grant(c.agent, "db"), 201);
  snprintf(of_db, sizeof(of_db), "%s", text_at(answered(), "grant.id"));
  for (int i = 0; i < 40; i++) {
    assert_int_equal(connector_put(c.connector, lists[i % 4], ""), 200);
    assert_true(flows(&c));
    assert_null(event_of(c.agent, "route-closed"));
    assert_null(event_of(c.connector, "route-closed"));
    assert_int_equal(grant(c.agent, "new"), i % 4 % 2 ? 404 : 201);
    if (i % 4 == 1) assert_int_equal(grant(c.agent, "db"), 404);
  }
  json_t *e = event_of(c.agent, "grant-closed");
  assert_string_not_equal(text_at(e, "grant"), grant_id);
  assert_int_equal(grant(c.agent, "web"), 201);
  assert_string_equal(text_at(answered(), "grant.id"), grant_id);
  assert_int_equal(grant(c.agent, "db"), 201);
  assert_string_not_equal(text_at(answered(), "grant.id"), of_db);
  world_free(c.w);
}

/* --- stopping --- */

static void a_stop_says_goodbye_to_all(void **state) {
  struct cast c = granted();
  enum reason why;
  assert_true(relay_ready(c.w->relay, &why));
  relay_stop(c.w->relay, c.w->now);
  assert_false(relay_ready(c.w->relay, &why));
  assert_int_equal(why, REASON_SHUTTING_DOWN);
  world_run(c.w, 100 * MS);
  assert_true(relay_stopped(c.w->relay));
  assert_int_equal(c.agent->end.reason, REASON_SHUTTING_DOWN);
  assert_int_equal(c.connector->end.reason, REASON_SHUTTING_DOWN);
  world_free(c.w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(the_last_grants_end_ends_the_route_at_once),
      TEST(a_connector_may_end_a_route),
      TEST(a_goodbye_ends_routes_at_once),
      TEST(a_lost_agent_keeps_its_routes_for_30_seconds),
      TEST(a_lost_connector_keeps_its_routes_for_30_seconds),
      TEST(an_agent_that_comes_back_has_its_routes),
      TEST(an_agent_takes_over_from_its_own_dead_connection),
      TEST(a_visitor_with_the_same_certificate_takes_nothing),
      TEST(a_visitors_goodbye_is_not_the_agents),
      TEST(a_new_instance_of_an_agent_replaces_the_old_one),
      TEST(a_new_instance_of_a_connector_replaces_the_old_one),
      TEST(a_connector_that_comes_back_hears_of_its_grants),
      TEST(a_service_taken_off_the_list_ends_its_grants),
      TEST(another_list_leaves_other_grants_and_routes),
      TEST(a_stop_says_goodbye_to_all),
  };
  return cmocka_run_group_tests_name("relay ends", tests, NULL, NULL);
}
