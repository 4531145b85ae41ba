/* test_relay_ask.c - which connector is asked, and what counts as its answer.
 */
#include "relay_world.h"

/* --- choosing --- */

static void a_connector_without_events_is_not_asked(void **state) {
  static const char *const any[] = {"*", NULL};
  struct world *w = world_new();
  struct client *dc =
      client_new(w, ROLE_CONNECTOR, "dc", "192.0.2.1:1000", any);
  struct client *agent = agent_up(w, "laptop", "198.51.100.1:2000");
  client_dial(dc);
  assert_int_equal(connector_put(dc, "web", ""), 200);
  check_refused(agent, "web", 503, "no-connector");
  world_free(w);
}

static void a_named_connector_is_the_only_one_asked(void **state) {
  struct world *w = world_new();
  struct client *one = connector_up(w, "one", "192.0.2.1:1000", "web");
  struct client *two = connector_up(w, "two", "192.0.2.2:1000", "web");
  struct client *agent = agent_up(w, "laptop", "198.51.100.1:2000");
  const char *form = "{\"service\": \"web\", \"instance\": "
                     "\"00112233445566778899aabbccddeeff\", \"connector\": "
                     "\"spiffe://example.org/connector/%s\"}";
  char body[256];
  snprintf(body, sizeof(body), form, "two");
  assert_int_equal(request(agent, "POST", "/v1/grants", body), 201);
  assert_null(one->asked);
  assert_non_null(two->asked);
  snprintf(body, sizeof(body), form, "three");
  assert_int_equal(request(agent, "POST", "/v1/grants", body), 503);
  assert_string_equal(answered_reason(), "no-connector");
  world_free(w);
}

static void silent_connectors_are_passed_over(void **state) {
  struct world *w = world_new();
  struct client *c[4];
  struct client *agent = agent_up(w, "laptop", "198.51.100.1:2000");
  char name[8], addr[32];
  for (int i = 0; i < 4; i++) {
    snprintf(name, sizeof(name), "dc%d", i);
    snprintf(addr, sizeof(addr), "192.0.2.%d:1000", i + 1);
    c[i] = connector_up(w, name, addr, "web");
    c[i]->answer = ANSWER_NOT;
  }
  uint64_t began = w->now;
  check_refused(agent, "web", 503, "connector-refused");
  assert_in_range((w->now - began) / MS, 1500, 1600);
  int n = 0;
  for (int i = 0; i < 4; i++) {
    n += c[i]->asked != NULL;
    if (c[i]->asked) assert_non_null(event_of(c[i], "route-closed"));
  }
  assert_int_equal(n, 3);
  /* One that answers is enough. */
  for (int i = 0; i < 4; i++) c[i]->asked = NULL;
  c[0]->answer = c[1]->answer = ANSWER_OK;
  assert_int_equal(grant(agent, "web"), 201);
  world_free(w);
}

static void a_refusing_connector_is_followed_by_the_next(void **state) {
  struct world *w = world_new();
  struct client *one = connector_up(w, "one", "192.0.2.1:1000", "web");
  struct client *agent = agent_up(w, "laptop", "198.51.100.1:2000");
  one->answer = ANSWER_REFUSE;
  check_refused(agent, "web", 503, "connector-refused");
  assert_true(world_logged(w, "relay: connector declined"));
  connector_up(w, "two", "192.0.2.2:1000", "web");
  assert_int_equal(grant(agent, "web"), 201);
  assert_string_equal(text_at(answered(), "connector"),
                      "spiffe://example.org/connector/two");
  world_free(w);
}

static void a_healthy_connector_comes_first(void **state) {
  struct world *w = world_new();
  struct client *sick = connector_up(w, "sick", "192.0.2.1:1000", "web");
  struct client *agent = agent_up(w, "laptop", "198.51.100.1:2000");
  const char *body =
      "{\"instance\": \"00112233445566778899aabbccddeeff\", \"services\": "
      "[{\"id\": \"web\", \"health\": \"down\", \"weight\": 100}]}";
  assert_int_equal(request(sick, "PUT", "/v1/connector", body), 200);
  check_refused(agent, "web", 503, "backend-down");
  connector_up(w, "well", "192.0.2.2:1000", "web");
  struct client *other = agent_up(w, "desktop", "198.51.100.2:2000");
  assert_int_equal(grant(other, "web"), 201);
  assert_string_equal(text_at(answered(), "connector"),
                      "spiffe://example.org/connector/well");
  world_free(w);
}

static void connectors_share_agents_by_weight(void **state) {
  struct world *w = world_new();
  struct client *heavy = connector_up(w, "heavy", "192.0.2.1:1000", "web");
  struct client *light = connector_up(w, "light", "192.0.2.2:1000", "web");
  char name[8], addr[32];
  const char *body =
      "{\"instance\": \"00112233445566778899aabbccddeeff\", \"services\": "
      "[{\"id\": \"web\", \"weight\": 3}]}";
  assert_int_equal(request(heavy, "PUT", "/v1/connector", body), 200);
  for (int i = 0; i < 8; i++) {
    snprintf(name, sizeof(name), "a%d", i);
    snprintf(addr, sizeof(addr), "198.51.100.%d:2000", i + 1);
    assert_int_equal(grant(agent_up(w, name, addr), "web"), 201);
  }
  assert_int_equal(count_events(heavy, "route-request"), 6);
  assert_int_equal(count_events(light, "route-request"), 2);
  world_free(w);
}

static void a_connector_that_fell_silent_gets_no_new_agents(void **state) {
  struct world *w = world_new();
  struct client *dc = connector_up(w, "dc", "192.0.2.1:1000", "web");
  struct client *agent = agent_up(w, "laptop", "198.51.100.1:2000");
  dc->down = true;
  world_run(w, 16 * SEC); /* two probes, 5 s apart, went unanswered */
  uint64_t began = w->now;
  check_refused(agent, "web", 503, "no-connector");
  assert_in_range((w->now - began) / MS, 0, 100);
  dc->down = false;
  world_run(w, 8 * SEC);
  assert_int_equal(grant(agent, "web"), 201);
  world_free(w);
}

/* --- answers --- */

static struct reply pending;

static void begin_grant(struct client *agent) {
  char body[160];
  snprintf(body, sizeof(body), "{\"service\": \"web\", \"instance\": \"%s\"}",
           agent->instance);
  request_begin(agent, "POST", "/v1/grants", body, &pending);
  world_run(agent->w, 50 * MS);
}

static int answer(struct client *c, const char *route, const char *body) {
  char path[96];
  snprintf(path, sizeof(path), "/v1/routes/%s/answer", route);
  return request(c, "POST", path, body);
}

static void an_answer_counts_once_and_in_time(void **state) {
  struct world *w = world_new();
  struct client *dc = connector_up(w, "dc", "192.0.2.1:1000", "web");
  struct client *agent = agent_up(w, "laptop", "198.51.100.1:2000");
  char route[40];
  dc->answer = ANSWER_NOT;
  begin_grant(agent);
  snprintf(route, sizeof(route), "%s", text_at(dc->asked, "route"));
  assert_int_equal(answer(dc, route, "{\"maybe\": true}"), 400);
  assert_int_equal(answer(dc, route, "{\"ok\": true}"), 204);
  assert_int_equal(pending.status, 201);
  assert_int_equal(answer(dc, route, "{\"refuse\": \"internal\"}"), 404);
  reply_done(&pending);

  struct client *late = agent_up(w, "late", "198.51.100.2:2000");
  begin_grant(late);
  snprintf(route, sizeof(route), "%s", text_at(dc->asked, "route"));
  world_run(w, 470 * MS);
  assert_int_equal(answer(dc, route, "{\"ok\": true}"), 404);
  assert_int_equal(pending.status, 503);
  reply_done(&pending);
  world_free(w);
}

static void an_answer_of_another_connector_is_an_unknown_route(void **state) {
  struct world *w = world_new();
  struct client *dc = connector_up(w, "dc", "192.0.2.1:1000", "web");
  struct client *other = connector_up(w, "other", "192.0.2.2:1000", "db");
  struct client *agent = agent_up(w, "laptop", "198.51.100.1:2000");
  dc->answer = ANSWER_NOT;
  begin_grant(agent);
  const char *route = text_at(dc->asked, "route");
  assert_int_equal(answer(other, route, "{\"ok\": true}"), 404);
  assert_string_equal(answered_reason(), "route-unknown");
  assert_false(pending.done);
  assert_false(
      passes(w, &agent->addr, text_at(dc->asked, "handles.connector")));
  assert_int_equal(answer(dc, route, "{\"ok\": true}"), 204);
  assert_int_equal(pending.status, 201);
  reply_done(&pending);
  world_free(w);
}

/* The same identity, but not the connection that was asked. */
static void an_answer_on_another_connection_does_not_count(void **state) {
  static const char *const any[] = {"*", NULL};
  struct world *w = world_new();
  struct client *dc = connector_up(w, "dc", "192.0.2.1:1000", "web");
  struct client *twin =
      client_new(w, ROLE_CONNECTOR, "dc", "192.0.2.2:1000", any);
  struct client *agent = agent_up(w, "laptop", "198.51.100.1:2000");
  client_dial(twin);
  dc->answer = ANSWER_NOT;
  begin_grant(agent);
  assert_int_equal(answer(twin, text_at(dc->asked, "route"), "{\"ok\": true}"),
                   404);
  assert_false(pending.done);
  world_run(w, SEC);
  assert_int_equal(pending.status, 503);
  reply_done(&pending);
  world_free(w);
}

static void
a_connector_that_leaves_while_asked_is_followed_by_the_next(void **state) {
  struct world *w = world_new();
  struct client *one = connector_up(w, "one", "192.0.2.1:1000", "web");
  struct client *agent = agent_up(w, "laptop", "198.51.100.1:2000");
  one->answer = ANSWER_NOT;
  begin_grant(agent);
  connector_up(w, "two", "192.0.2.2:1000", "web");
  client_bye(one);
  assert_int_equal(pending.status, 201);
  assert_string_equal(text_at(pending.body, "connector"),
                      "spiffe://example.org/connector/two");
  reply_done(&pending);
  world_free(w);
}

static void an_agent_that_leaves_while_waiting_leaves_nothing(void **state) {
  struct world *w = world_new();
  struct client *dc = connector_up(w, "dc", "192.0.2.1:1000", "web");
  struct client *agent = agent_up(w, "laptop", "198.51.100.1:2000");
  dc->answer = ANSWER_NOT;
  begin_grant(agent);
  client_bye(agent);
  assert_non_null(event_of(dc, "route-closed"));
  assert_int_equal(answer(dc, text_at(dc->asked, "route"), "{\"ok\": true}"),
                   404);
  world_free(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_connector_without_events_is_not_asked),
      TEST(a_named_connector_is_the_only_one_asked),
      TEST(silent_connectors_are_passed_over),
      TEST(a_refusing_connector_is_followed_by_the_next),
      TEST(a_healthy_connector_comes_first),
      TEST(connectors_share_agents_by_weight),
      TEST(a_connector_that_fell_silent_gets_no_new_agents),
      TEST(an_answer_counts_once_and_in_time),
      TEST(an_answer_of_another_connector_is_an_unknown_route),
      TEST(an_answer_on_another_connection_does_not_count),
      TEST(a_connector_that_leaves_while_asked_is_followed_by_the_next),
      TEST(an_agent_that_leaves_while_waiting_leaves_nothing),
  };
  return cmocka_run_group_tests_name("relay asks", tests, NULL, NULL);
}
