/* test_relay_health.c - several connectors for one service: the healthy ones
 * share it, and who left is replaced. */
#include "relay_world.h"

#define INSTANCE "00112233445566778899aabbccddeeff"

static int health(struct client *c, const char *body) {
  return request(c, "PUT", "/v1/connector/health", body);
}

static int set_down(struct client *c) {
  return health(c, "{\"services\": [{\"id\": \"web\", \"health\": \"down\"}]}");
}

static int set_up(struct client *c) {
  return health(c, "{\"services\": [{\"id\": \"web\", \"health\": \"up\"}]}");
}

/* Of "web", in the last list that the agent heard of. */
static const json_t *web_of(const struct client *agent) {
  json_t *list =
      json_object_get(event_of(agent, "services-changed"), "services");
  json_t *s;
  size_t i;
  json_array_foreach(list, i, s) if (!strcmp(text_at(s, "id"), "web")) return s;
  return NULL;
}

static const char *state_of(const struct client *agent) {
  return text_at(web_of(agent), "state");
}

static const char *connector_given(void) {
  const char *name = text_at(answered(), "connector");
  return strrchr(name, '/') + 1;
}

static int grant_avoiding(struct client *agent, const char *connector) {
  char body[256];
  snprintf(body, sizeof(body),
           "{\"service\": \"web\", \"instance\": \"%s\", \"avoid\": "
           "\"spiffe://example.org/connector/%s\"}",
           agent->instance, connector);
  return request(agent, "POST", "/v1/grants", body);
}

/* Two connectors of "web", and an agent that has a grant of the first. */
static struct client *one, *two, *agent;

static struct world *pair(void) {
  struct world *w = world_new();
  one = connector_up(w, "one", "192.0.2.1:1000", "web");
  agent = agent_up(w, "laptop", "198.51.100.1:2000");
  assert_int_equal(grant(agent, "web"), 201);
  note(one);
  two = connector_up(w, "two", "192.0.2.2:1000", "web");
  return w;
}

/* --- health --- */

static void a_service_that_is_down_is_refused_and_said_at_once(void **state) {
  struct world *w = world_new();
  struct client *dc = connector_up(w, "dc", "192.0.2.1:1000", "web db");
  struct client *a = agent_up(w, "laptop", "198.51.100.1:2000");
  uint64_t began = w->now;

  assert_int_equal(set_down(dc), 204);
  world_run(w, 100 * MS);
  assert_string_equal(state_of(a), "backend-down");
  assert_in_range(w->now - began, 0, 200 * MS);
  check_refused(a, "web", 503, "backend-down");
  assert_int_equal(grant(a, "db"), 201); /* the other one is not concerned */
  assert_int_equal(set_up(dc), 204);
  world_run(w, 100 * MS);
  assert_string_equal(state_of(a), "up");
  assert_int_equal(grant(a, "web"), 201);
  world_free(w);
}

static void what_was_granted_goes_on_while_it_is_down(void **state) {
  struct cast c = granted();

  assert_int_equal(set_down(c.connector), 204);
  world_run(c.w, SEC);
  assert_true(flows(&c));
  assert_null(event_of(c.agent, "grant-closed"));
  assert_null(event_of(c.connector, "grant-closed"));
  world_free(c.w);
}

static void a_report_before_the_registration_is_refused(void **state) {
  static const char *const any[] = {"*", NULL};
  struct world *w = world_new();
  struct client *dc =
      client_new(w, ROLE_CONNECTOR, "dc", "192.0.2.1:1000", any);
  struct client *a = agent_up(w, "laptop", "198.51.100.1:2000");

  client_dial(dc);
  assert_int_equal(set_down(dc), 404);
  assert_int_equal(set_down(a), 403); /* agents have none to report */
  world_free(w);
}

static void a_report_about_what_is_not_offered_changes_nothing(void **state) {
  struct world *w = pair();

  assert_int_equal(health(two, "{\"services\": [{\"id\": \"db\", \"health\": "
                               "\"down\"}, {\"id\": 7}, 8]}"),
                   204);
  assert_int_equal(health(two, "{\"services\": 5, \"draining\": 6}"), 204);
  assert_int_equal(health(two, "no JSON"), 400);
  world_run(w, 100 * MS);
  assert_int_equal(grant(agent_up(w, "b", "198.51.100.2:2000"), "web"), 201);
  world_free(w);
}

static void an_agent_is_told_to_move_from_a_backend_that_is_down(void **state) {
  struct world *w = pair();

  assert_int_equal(set_down(one), 204);
  world_run(w, 100 * MS);
  assert_string_equal(state_of(agent), "up");
  assert_string_equal(text_at(web_of(agent), "move"), "backend-down");
  assert_int_equal(grant(agent, "web"), 201);
  assert_string_equal(connector_given(), "two");
  world_run(w, 100 * MS);
  assert_null(event_of(agent, "grant-closed")); /* the old one stays */
  /* And now it is where it should be. */
  assert_int_equal(set_down(one), 204);
  assert_int_equal(set_up(two), 204);
  assert_int_equal(grant(agent, "web"), 201);
  assert_string_equal(connector_given(), "two");
  world_free(w);
}

static void an_agent_stays_where_it_is_while_that_is_healthy(void **state) {
  struct world *w = pair();

  for (int i = 0; i < 5; i++) {
    assert_int_equal(grant(agent, "web"), 201);
    assert_string_equal(connector_given(), "one");
  }
  world_free(w);
}

/* --- weights --- */

static void connectors_share_by_weight_within_a_tenth(void **state) {
  static const struct {
    const char *name, *addr;
    int weight;
  } who[] = {{"a", "192.0.2.1:1000", 5},
             {"b", "192.0.2.2:1000", 3},
             {"c", "192.0.2.3:1000", 2}};
  enum { N = 60 };
  struct world *w = world_new();
  struct client *c[3];
  char text[200];
  size_t most = 0;

  for (int i = 0; i < 3; i++) {
    c[i] = connector_up(w, who[i].name, who[i].addr, "web");
    snprintf(text, sizeof(text),
             "{\"instance\": \"" INSTANCE
             "\", \"services\": [{\"id\": \"web\", \"weight\": %d}]}",
             who[i].weight);
    assert_int_equal(request(c[i], "PUT", "/v1/connector", text), 200);
  }
  for (int i = 0; i < N; i++) {
    char name[8];
    snprintf(name, sizeof(name), "a%d", i);
    snprintf(text, sizeof(text), "198.51.100.%d:2000", i + 1);
    assert_int_equal(grant(agent_up(w, name, text), "web"), 201);
    /* Smoothly: never three in a row for the heaviest. */
    if (i == 3) most = count_events(c[0], "route-request");
  }
  assert_in_range(most, 1, 3);
  for (int i = 0; i < 3; i++)
    assert_in_range(count_events(c[i], "route-request") * 100,
                    (size_t)who[i].weight * N * 9,
                    (size_t)who[i].weight * N * 11);
  world_free(w);
}

/* --- draining --- */

static void a_draining_connector_gets_nothing_new(void **state) {
  struct world *w = pair();
  char name[8], addr[32];

  assert_int_equal(health(one, "{\"draining\": true}"), 204);
  for (int i = 0; i < 4; i++) {
    snprintf(name, sizeof(name), "a%d", i);
    snprintf(addr, sizeof(addr), "198.51.100.%d:2000", i + 10);
    assert_int_equal(grant(agent_up(w, name, addr), "web"), 201);
    assert_string_equal(connector_given(), "two");
  }
  world_run(w, 100 * MS);
  assert_string_equal(text_at(web_of(agent), "move"), "draining");
  assert_int_equal(health(two, "{\"draining\": true}"), 204);
  check_refused(agent_up(w, "z", "198.51.100.40:2000"), "web", 503, "draining");
  world_run(w, 100 * MS);
  assert_string_equal(state_of(agent), "draining");
  assert_int_equal(health(one, "{\"draining\": false}"), 204);
  world_run(w, 100 * MS);
  assert_string_equal(state_of(agent), "up");
  world_free(w);
}

static void a_registration_may_begin_draining(void **state) {
  struct world *w = world_new();
  struct client *dc = connector_up(w, "dc", "192.0.2.1:1000", "web");
  struct client *a = agent_up(w, "laptop", "198.51.100.1:2000");

  assert_int_equal(connector_put(dc, "web", "\"draining\": true,"), 200);
  check_refused(a, "web", 503, "draining");
  assert_int_equal(connector_put(dc, "web", ""), 200);
  assert_int_equal(grant(a, "web"), 201);
  world_free(w);
}

/* --- a connector that an agent does not reach --- */

static void a_dead_connector_is_replaced_within_half_a_second(void **state) {
  struct world *w = pair();
  uint64_t began;

  one->down = true;
  began = w->now;
  assert_int_equal(grant_avoiding(agent, "one"), 201);
  assert_string_equal(connector_given(), "two");
  assert_in_range(w->now - began, 400 * MS, 500 * MS);
  assert_true(world_logged(w, "relay: connector does not answer"));
  /* The next agent need not wait. */
  began = w->now;
  assert_int_equal(grant(agent_up(w, "b", "198.51.100.2:2000"), "web"), 201);
  assert_string_equal(connector_given(), "two");
  assert_in_range(w->now - began, 0, 200 * MS);
  world_free(w);
}

static void a_connector_that_answers_the_relay_is_kept(void **state) {
  struct world *w = pair();

  assert_int_equal(grant_avoiding(agent, "one"), 201);
  assert_string_equal(connector_given(), "one");
  assert_string_equal(text_at(answered(), "route"), route_id);
  world_free(w);
}

static void the_only_connector_is_kept(void **state) {
  struct cast c = granted();
  uint64_t began = c.w->now;

  c.connector->down = true;
  assert_int_equal(grant_avoiding(c.agent, "dc"), 201);
  assert_string_equal(text_at(answered(), "route"), route_id);
  assert_in_range(c.w->now - began, 0, 50 * MS);
  world_free(c.w);
}

static void a_connector_that_is_heard_again_is_asked_again(void **state) {
  struct world *w = pair();

  one->down = true;
  assert_int_equal(grant_avoiding(agent, "one"), 201);
  assert_string_equal(connector_given(), "two");
  one->down = false;
  world_run(w, 5 * SEC);
  two->down = true;
  assert_int_equal(grant_avoiding(agent, "two"), 201);
  assert_string_equal(connector_given(), "one");
  world_free(w);
}

static void an_agent_that_leaves_in_doubt_leaves_nothing(void **state) {
  struct world *w = pair();
  static struct reply r;
  char body[256];

  one->down = true;
  snprintf(body, sizeof(body),
           "{\"service\": \"web\", \"instance\": \"%s\", \"avoid\": "
           "\"spiffe://example.org/connector/one\"}",
           agent->instance);
  request_begin(agent, "POST", "/v1/grants", body, &r);
  world_run(w, 100 * MS);
  client_bye(agent);
  world_run(w, 2 * SEC);
  reply_done(&r);
  assert_int_equal(grant(agent_up(w, "b", "198.51.100.2:2000"), "web"), 201);
  world_free(w);
}

/* --- a connector whose certificate an agent does not take --- */

static int grant_refusing(struct client *agent, const char *connectors) {
  char body[512];
  snprintf(body, sizeof(body),
           "{\"service\": \"web\", \"instance\": \"%s\", \"refused\": [%s]}",
           agent->instance, connectors);
  return request(agent, "POST", "/v1/grants", body);
}

#define ONE "\"spiffe://example.org/connector/one\""
#define TWO "\"spiffe://example.org/connector/two\""

static void a_connector_that_an_agent_refuses_is_passed_over(void **state) {
  struct world *w = pair();

  assert_int_equal(grant_refusing(agent, ONE), 201);
  assert_string_equal(connector_given(), "two");
  assert_int_equal(grant_refusing(agent, TWO), 201);
  assert_string_equal(connector_given(), "one");
  world_free(w);
}

static void an_agent_that_refuses_all_connectors_gets_none(void **state) {
  struct world *w = pair();

  assert_int_equal(grant_refusing(agent, ONE ", " TWO), 503);
  assert_string_equal(text_at(answered(), "reason"), "connector-refused");
  assert_int_equal(grant(agent, "web"), 201);
  world_free(w);
}

/* Nor do those that it refuses for another service's sake. */
static void a_good_connector_is_found_behind_many_refused_ones(void **state) {
  struct world *w = pair();

  connector_up(w, "three", "192.0.2.3:1000", "web");
  connector_up(w, "four", "192.0.2.4:1000", "db");
  connector_up(w, "five", "192.0.2.5:1000", "web");
  assert_int_equal(grant_refusing(agent, ONE
                                  ", " TWO
                                  ", \"spiffe://example.org/connector/three\""
                                  ", \"spiffe://example.org/connector/four\""),
                   201);
  assert_string_equal(connector_given(), "five");
  world_free(w);
}

static void names_of_nobody_refuse_nobody(void **state) {
  struct world *w = pair();

  assert_int_equal(grant_refusing(agent, "7, {}, \"who\""), 201);
  assert_string_equal(connector_given(), "one");
  world_free(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_service_that_is_down_is_refused_and_said_at_once),
      TEST(what_was_granted_goes_on_while_it_is_down),
      TEST(a_report_before_the_registration_is_refused),
      TEST(a_report_about_what_is_not_offered_changes_nothing),
      TEST(an_agent_is_told_to_move_from_a_backend_that_is_down),
      TEST(an_agent_stays_where_it_is_while_that_is_healthy),
      TEST(connectors_share_by_weight_within_a_tenth),
      TEST(a_draining_connector_gets_nothing_new),
      TEST(a_registration_may_begin_draining),
      TEST(a_dead_connector_is_replaced_within_half_a_second),
      TEST(a_connector_that_answers_the_relay_is_kept),
      TEST(the_only_connector_is_kept),
      TEST(a_connector_that_is_heard_again_is_asked_again),
      TEST(an_agent_that_leaves_in_doubt_leaves_nothing),
      TEST(a_connector_that_an_agent_refuses_is_passed_over),
      TEST(an_agent_that_refuses_all_connectors_gets_none),
      TEST(a_good_connector_is_found_behind_many_refused_ones),
      TEST(names_of_nobody_refuse_nobody),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
