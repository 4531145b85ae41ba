/* test_relay.c - introducing and forwarding: what works, and who is told. */
#include "relay_world.h"

/* --- registration --- */

static void an_agent_learns_what_it_may_use(void **state) {
  struct world *w = world_new();
  struct client *agent = agent_up(w, "laptop", "198.51.100.1:2000");
  json_t *e = event_of(agent, "snapshot");
  assert_non_null(e);
  assert_int_equal(json_integer_value(json_object_get(e, "n")), 0);
  assert_string_equal(text_at(e, "observed"), "198.51.100.1:2000");
  assert_int_equal(json_array_size(json_object_get(e, "addresses")), 2);

  connector_up(w, "dc", "192.0.2.1:1000", "web db");
  world_run(w, SEC);
  e = event_of(agent, "services-changed");
  assert_non_null(e);
  assert_int_equal(request(agent, "GET", "/v1/services", NULL), 200);
  json_t *list = json_object_get(answered(), "services");
  assert_true(json_equal(list, json_object_get(e, "services")));
  assert_int_equal(json_array_size(list), 3);
  json_t *web = json_array_get(list, 2), *fixed = json_array_get(list, 1);
  assert_string_equal(text_at(fixed, "state"), "no-connector");
  assert_string_equal(text_at(web, "id"), "web");
  assert_string_equal(text_at(web, "state"), "up");
  assert_int_equal(json_array_size(json_object_get(web, "addresses")), 2);
  assert_int_equal(json_array_size(json_object_get(web, "ports")), 2);
  assert_int_equal(json_array_size(json_object_get(web, "protocols")), 3);
  world_free(w);
}

static void self_tells_who_and_where_the_caller_is(void **state) {
  struct world *w = world_new();
  struct client *agent = agent_up(w, "laptop", "198.51.100.1:2000");
  assert_int_equal(request(agent, "GET", "/v1/self", NULL), 200);
  assert_string_equal(text_at(answered(), "identity"),
                      "spiffe://example.org/agent/laptop");
  assert_string_equal(text_at(answered(), "relay"),
                      "spiffe://example.org/relay/eu1");
  assert_string_equal(text_at(answered(), "observed"), "198.51.100.1:2000");
  assert_int_equal(json_array_size(json_object_get(answered(), "addresses")),
                   2);
  assert_int_equal(json_array_size(json_object_get(answered(), "relays")), 1);
  world_free(w);
}

static void tunnel_addresses_stay_with_the_identity(void **state) {
  struct world *w = world_new();
  struct client *agent = agent_up(w, "laptop", "198.51.100.1:2000");
  struct client *other = agent_up(w, "desktop", "198.51.100.2:2000");
  json_t *had =
      json_incref(json_object_get(event_of(agent, "snapshot"), "addresses"));
  assert_false(json_equal(
      had, json_object_get(event_of(other, "snapshot"), "addresses")));
  client_bye(agent);
  world_run(w, 60 * SEC);
  client_dial(agent);
  assert_int_equal(request(agent, "GET", "/v1/self", NULL), 200);
  assert_true(json_equal(had, json_object_get(answered(), "addresses")));
  json_decref(had);
  world_free(w);
}

/* --- grants --- */

static void a_granted_route_forwards_between_the_two_addresses(void **state) {
  struct cast c = granted();
  json_t *e = event_of(c.connector, "route-request");
  assert_string_equal(text_at(e, "agent"), "spiffe://example.org/agent/laptop");
  assert_string_equal(text_at(e, "instance"), c.agent->instance);
  assert_string_equal(text_at(e, "observed"), "198.51.100.1:2000");
  assert_string_equal(text_at(e, "route"), route_id);
  assert_string_equal(text_at(e, "grant.id"), grant_id);
  assert_string_equal(text_at(e, "handles.agent"), to_agent);
  assert_string_equal(text_at(e, "handles.connector"), to_connector);
  assert_string_equal(text_at(answered(), "connector"),
                      "spiffe://example.org/connector/dc");
  assert_in_range(json_integer_value(json_object_get(answered(), "rtt")), 15,
                  60);
  assert_true(passes(c.w, &c.agent->addr, to_connector));
  assert_true(ztna_addr_equal(&c.w->seen.remote, &c.connector->addr));
  assert_true(ztna_addr_equal(&c.w->seen.local, &c.w->relay_addr));
  assert_int_equal(c.w->seen.ecn, 1);
  assert_true(passes(c.w, &c.connector->addr, to_agent));
  assert_true(ztna_addr_equal(&c.w->seen.remote, &c.agent->addr));
  world_free(c.w);
}

static void packets_from_elsewhere_are_dropped(void **state) {
  struct cast c = granted();
  struct client *third = agent_up(c.w, "third", "198.51.100.3:2000");
  struct ztna_addr other_port = c.agent->addr;
  other_port.port++;
  assert_false(passes(c.w, &third->addr, to_connector));
  assert_false(passes(c.w, &other_port, to_connector));
  /* Not even the right ends may use the wrong handle. */
  assert_false(passes(c.w, &c.agent->addr, to_agent));
  assert_false(passes(c.w, &c.connector->addr, to_connector));
  struct sbuf out = {0};
  relay_metrics(c.w->relay, &out);
  assert_non_null(strstr(
      out.s, "ztna_relay_dropped_packets_total{reason=\"wrong-source\"} 4"));
  sbuf_done(&out);
  world_free(c.w);
}

static void nothing_passes_before_the_connector_agreed(void **state) {
  struct world *w = world_new();
  struct client *dc = connector_up(w, "dc", "192.0.2.1:1000", "web");
  struct client *agent = agent_up(w, "laptop", "198.51.100.1:2000");
  struct reply r;
  dc->answer = ANSWER_NOT;
  request_begin(agent, "POST", "/v1/grants",
                "{\"service\": \"web\", \"instance\": "
                "\"00112233445566778899aabbccddeeff\"}",
                &r);
  world_run(w, 50 * MS);
  assert_non_null(dc->asked);
  assert_false(r.done);
  assert_false(
      passes(w, &agent->addr, text_at(dc->asked, "handles.connector")));
  assert_false(passes(w, &dc->addr, text_at(dc->asked, "handles.agent")));
  world_run(w, SEC);
  assert_true(r.done);
  reply_done(&r);
  world_free(w);
}

/* The route exists already, and the agent's new address is validated. */
static void a_move_does_not_open_what_nobody_agreed_to(void **state) {
  struct world *w = world_new();
  struct client *dc = connector_up(w, "dc", "192.0.2.1:1000", "web");
  struct client *agent = agent_up(w, "laptop", "198.51.100.1:2000");
  struct reply r;
  dc->answer = ANSWER_NOT;
  request_begin(agent, "POST", "/v1/grants",
                "{\"service\": \"web\", \"instance\": "
                "\"00112233445566778899aabbccddeeff\"}",
                &r);
  world_run(w, 50 * MS);
  agent->addr = test_addr("198.51.100.9:9999");
  quic_ping(h3_conn(agent->s), w->now);
  dc->addr = test_addr("192.0.2.9:9999");
  quic_ping(h3_conn(dc->s), w->now);
  world_run(w, 200 * MS);
  assert_non_null(event_of(agent, "observed"));
  assert_non_null(event_of(dc, "observed"));
  assert_false(r.done);
  assert_false(
      passes(w, &agent->addr, text_at(dc->asked, "handles.connector")));
  world_run(w, SEC);
  reply_done(&r);
  world_free(w);
}

static void asking_again_answers_the_same_grant(void **state) {
  struct cast c = granted();
  assert_int_equal(grant(c.agent, "web"), 201);
  assert_string_equal(text_at(answered(), "grant.id"), grant_id);
  assert_string_equal(text_at(answered(), "route"), route_id);
  assert_int_equal(count_events(c.connector, "route-request"), 1);
  world_free(c.w);
}

static void several_services_share_one_route(void **state) {
  struct cast c = granted();
  assert_int_equal(grant(c.agent, "db"), 201);
  assert_string_equal(text_at(answered(), "route"), route_id);
  assert_string_not_equal(text_at(answered(), "grant.id"), grant_id);
  assert_string_equal(text_at(answered(), "handles.agent"), to_agent);
  world_free(c.w);
}

static void requests_at_the_same_time_share_one_route(void **state) {
  struct world *w = world_new();
  struct client *dc = connector_up(w, "dc", "192.0.2.1:1000", "a b c d");
  struct client *agent = agent_up(w, "laptop", "198.51.100.1:2000");
  struct reply r[4];
  char body[160];
  for (int i = 0; i < 4; i++) {
    snprintf(body, sizeof(body), "{\"service\": \"%c\", \"instance\": \"%s\"}",
             'a' + (i == 3 ? 0 : i), agent->instance);
    request_begin(agent, "POST", "/v1/grants", body, &r[i]);
  }
  world_run(w, SEC);
  for (int i = 0; i < 4; i++) {
    assert_true(r[i].done);
    assert_int_equal(r[i].status, 201);
    assert_string_equal(text_at(r[i].body, "route"),
                        text_at(r[0].body, "route"));
  }
  /* Twice the same service is one grant. */
  assert_string_equal(text_at(r[3].body, "grant.id"),
                      text_at(r[0].body, "grant.id"));
  assert_int_equal(count_events(dc, "route-request"), 3);
  for (int i = 0; i < 4; i++) reply_done(&r[i]);
  world_free(w);
}

static void two_agents_never_share_a_route(void **state) {
  struct cast c = granted();
  struct client *other = agent_up(c.w, "desktop", "198.51.100.2:2000");
  assert_int_equal(grant(other, "web"), 201);
  assert_string_not_equal(text_at(answered(), "route"), route_id);
  assert_string_not_equal(text_at(answered(), "handles.agent"), to_agent);
  assert_string_not_equal(text_at(answered(), "handles.connector"),
                          to_connector);
  assert_false(passes(c.w, &other->addr, to_connector));
  world_free(c.w);
}

static void leases_are_renewed_while_the_agent_is_there(void **state) {
  struct cast c = granted();
  world_run(c.w, 320 * SEC);
  assert_int_equal(count_events(c.connector, "grant-renewed"), 2);
  assert_string_equal(text_at(event_of(c.connector, "grant-renewed"), "grant"),
                      grant_id);
  assert_true(flows(&c));
  /* And both heard heartbeats all the time. */
  assert_in_range(count_events(c.agent, "heartbeat"), 20, 22);
  world_free(c.w);
}

/* --- addresses --- */

static void a_moved_agent_is_followed_once_validated(void **state) {
  struct cast c = granted();
  struct ztna_addr old = c.agent->addr;
  c.agent->addr = test_addr("198.51.100.9:9999");
  assert_false(passes(c.w, &c.agent->addr, to_connector));
  quic_ping(h3_conn(c.agent->s), c.w->now);
  world_run(c.w, SEC);
  assert_true(flows(&c));
  assert_false(passes(c.w, &old, to_connector));
  assert_string_equal(text_at(event_of(c.agent, "observed"), "address"),
                      "198.51.100.9:9999");
  world_free(c.w);
}

static void a_copied_packet_moves_nothing(void **state) {
  struct cast c = granted();
  struct ztna_addr real = c.agent->addr;
  /* One packet of the agent arrives from an address that answers nothing. */
  c.agent->addr = test_addr("198.51.100.66:666");
  quic_ping(h3_conn(c.agent->s), c.w->now);
  world_run(c.w, MS);
  c.agent->addr = real;
  world_run(c.w, 5 * SEC);
  struct ztna_addr thief = test_addr("198.51.100.66:666");
  assert_false(passes(c.w, &thief, to_connector));
  assert_true(flows(&c));
  assert_null(event_of(c.agent, "observed"));
  world_free(c.w);
}

/* --- policy --- */

static void a_new_policy_revokes_at_once(void **state) {
  struct cast c = granted();
  relay_set_policy(c.w->relay, world_policy("db", "*", 0), c.w->now);
  assert_true(is_dead(&c));
  world_run(c.w, SEC);
  json_t *e = event_of(c.connector, "grant-closed");
  assert_string_equal(text_at(e, "reason"), "revoked");
  assert_string_equal(text_at(event_of(c.agent, "grant-closed"), "reason"),
                      "revoked");
  e = event_of(c.agent, "services-changed");
  assert_int_equal(json_array_size(json_object_get(e, "services")), 1);
  assert_int_equal(grant(c.agent, "web"), 403);
  assert_string_equal(answered_reason(), "not-allowed");
  world_free(c.w);
}

static void a_narrower_policy_is_told_to_the_connector(void **state) {
  struct cast c = granted();
  relay_set_policy(c.w->relay, world_policy("web", "*", 443), c.w->now);
  world_run(c.w, SEC);
  json_t *e = event_of(c.connector, "grant-changed");
  json_t *ports = json_object_get(json_object_get(e, "grant"), "ports");
  assert_int_equal(json_array_size(ports), 1);
  assert_int_equal(
      json_integer_value(json_array_get(json_array_get(ports, 0), 0)), 443);
  assert_true(flows(&c));
  relay_set_policy(c.w->relay, NULL, c.w->now); /* default deny */
  assert_true(is_dead(&c));
  world_free(c.w);
}

static void
a_policy_that_comes_between_question_and_answer_counts(void **state) {
  struct world *w = world_new();
  struct client *dc = connector_up(w, "dc", "192.0.2.1:1000", "web");
  struct client *agent = agent_up(w, "laptop", "198.51.100.1:2000");
  struct reply r;
  request_begin(agent, "POST", "/v1/grants",
                "{\"service\": \"web\", \"instance\": "
                "\"00112233445566778899aabbccddeeff\"}",
                &r);
  world_run(w, WORLD_DELAY + MS); /* the connector does not know yet */
  relay_set_policy(w->relay, NULL, w->now);
  world_run(w, SEC);
  assert_int_equal(r.status, 403);
  assert_string_equal(text_at(r.body, "reason"), "not-allowed");
  assert_non_null(dc->asked);
  assert_false(
      passes(w, &agent->addr, text_at(dc->asked, "handles.connector")));
  assert_non_null(event_of(dc, "route-closed"));
  reply_done(&r);
  world_free(w);
}

static void
a_narrower_policy_between_question_and_answer_is_told(void **state) {
  struct world *w = world_new();
  struct client *dc = connector_up(w, "dc", "192.0.2.1:1000", "web");
  struct client *agent = agent_up(w, "laptop", "198.51.100.1:2000");
  struct reply r;
  request_begin(agent, "POST", "/v1/grants",
                "{\"service\": \"web\", \"instance\": "
                "\"00112233445566778899aabbccddeeff\"}",
                &r);
  world_run(w, WORLD_DELAY + MS);
  relay_set_policy(w->relay, world_policy("*", "*", 443), w->now);
  world_run(w, SEC);
  assert_int_equal(r.status, 201);
  json_t *g = json_object_get(event_of(dc, "grant-changed"), "grant");
  assert_non_null(g);
  assert_true(json_equal(g, json_object_get(r.body, "grant")));
  reply_done(&r);
  world_free(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(an_agent_learns_what_it_may_use),
      TEST(self_tells_who_and_where_the_caller_is),
      TEST(tunnel_addresses_stay_with_the_identity),
      TEST(a_granted_route_forwards_between_the_two_addresses),
      TEST(packets_from_elsewhere_are_dropped),
      TEST(nothing_passes_before_the_connector_agreed),
      TEST(a_move_does_not_open_what_nobody_agreed_to),
      TEST(asking_again_answers_the_same_grant),
      TEST(several_services_share_one_route),
      TEST(requests_at_the_same_time_share_one_route),
      TEST(two_agents_never_share_a_route),
      TEST(leases_are_renewed_while_the_agent_is_there),
      TEST(a_moved_agent_is_followed_once_validated),
      TEST(a_copied_packet_moves_nothing),
      TEST(a_new_policy_revokes_at_once),
      TEST(a_narrower_policy_is_told_to_the_connector),
      TEST(a_policy_that_comes_between_question_and_answer_counts),
      TEST(a_narrower_policy_between_question_and_answer_is_told),
  };
  return cmocka_run_group_tests_name("relay", tests, NULL, NULL);
}
