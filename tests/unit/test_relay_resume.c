/* test_relay_resume.c - routes that survive the relay's restart. */
#include "relay_world.h"

/* --- resume --- */

static int resume_connector(const struct cast *c) {
  char more[1700];
  snprintf(more, sizeof(more), "\"resume\": [\"%s\"],", ticket_connector);
  return connector_put(c->connector, "web db", more);
}

static void resume_agent(struct client *agent, struct reply *r) {
  char body[2000];
  snprintf(body, sizeof(body),
           "{\"service\": \"web\", \"instance\": \"%s\", \"resume\": \"%s\"}",
           agent->instance, ticket_agent);
  request_begin(agent, "POST", "/v1/grants", body, r);
}

static void restart(struct cast *c) {
  world_restart(c->w);
  client_vanish(c->agent);
  client_vanish(c->connector);
  forget_events(c->connector);
}

static void a_route_survives_a_restart_with_both_tickets(void **state) {
  struct cast c = granted();
  char id[40], agent_handle[20];
  struct reply r;
  snprintf(id, sizeof(id), "%s", route_id);
  snprintf(agent_handle, sizeof(agent_handle), "%s", to_agent);
  restart(&c);
  client_dial(c.agent);
  resume_agent(c.agent, &r); /* waits for the connector */
  world_run(c.w, SEC);
  assert_false(r.done);
  client_dial(c.connector);
  client_read_events(c.connector);
  assert_int_equal(resume_connector(&c), 200);
  world_run(c.w, 500 * MS);
  assert_int_equal(r.status, 201);
  assert_string_equal(text_at(r.body, "route"), id);
  assert_string_equal(text_at(r.body, "handles.agent"), agent_handle);
  assert_string_equal(text_at(event_of(c.connector, "route-request"), "route"),
                      id);
  assert_true(flows(&c));
  reply_done(&r);
  world_free(c.w);
}

static void the_connector_may_come_back_first(void **state) {
  struct cast c = granted();
  struct reply r;
  restart(&c);
  client_dial(c.connector);
  assert_int_equal(resume_connector(&c), 200);
  client_read_events(c.connector);
  client_dial(c.agent);
  resume_agent(c.agent, &r);
  world_run(c.w, 500 * MS);
  assert_int_equal(r.status, 201);
  assert_string_equal(text_at(r.body, "route"), route_id);
  assert_true(flows(&c));
  reply_done(&r);
  world_free(c.w);
}

static void one_ticket_alone_brings_nothing_back(void **state) {
  struct cast c = granted();
  struct reply r;
  restart(&c);
  client_dial(c.agent);
  resume_agent(c.agent, &r);
  world_run(c.w, SEC);
  client_dial(c.connector);
  client_read_events(c.connector);
  assert_int_equal(connector_put(c.connector, "web db", ""), 200);
  world_run(c.w, 500 * MS);
  assert_true(is_dead(&c));
  assert_int_equal(r.status, 201); /* a new route instead */
  assert_string_not_equal(text_at(r.body, "route"), route_id);
  assert_string_not_equal(text_at(r.body, "handles.agent"), to_agent);
  reply_done(&r);
  world_free(c.w);
}

static void one_ticket_brings_nothing_back_when_all_are_there(void **state) {
  struct cast c = granted();
  struct reply r;
  restart(&c);
  client_dial(c.connector);
  client_read_events(c.connector);
  assert_int_equal(connector_put(c.connector, "web db", ""), 200);
  client_dial(c.agent);
  resume_agent(c.agent, &r);
  world_run(c.w, 500 * MS);
  assert_int_equal(r.status, 201);
  assert_string_not_equal(text_at(r.body, "route"), route_id);
  assert_true(is_dead(&c));
  reply_done(&r);
  world_free(c.w);
}

static void a_ticket_is_worth_nothing_to_others(void **state) {
  struct cast c = granted();
  struct reply r;
  restart(&c);
  client_dial(c.connector);
  client_read_events(c.connector);
  assert_int_equal(resume_connector(&c), 200);
  client_dial(c.agent); /* there, but has not asked yet */
  struct client *thief = agent_up(c.w, "thief", "198.51.100.66:666");
  resume_agent(thief, &r);
  world_run(c.w, SEC);
  assert_int_equal(r.status, 201);
  assert_string_not_equal(text_at(r.body, "route"), route_id);
  assert_false(passes(c.w, &thief->addr, to_connector));
  reply_done(&r);
  /* Nor is the connector's to its agent. */
  snprintf(ticket_agent, sizeof(ticket_agent), "%s", ticket_connector);
  resume_agent(c.agent, &r);
  world_run(c.w, SEC);
  assert_string_not_equal(text_at(r.body, "route"), route_id);
  reply_done(&r);
  world_free(c.w);
}

static void a_resumed_route_obeys_the_current_policy(void **state) {
  struct cast c = granted();
  struct reply r;
  restart(&c);
  relay_set_policy(c.w->relay, NULL, c.w->now);
  client_dial(c.connector);
  client_read_events(c.connector);
  assert_int_equal(resume_connector(&c), 200);
  client_dial(c.agent);
  resume_agent(c.agent, &r);
  world_run(c.w, SEC);
  assert_int_equal(r.status, 403);
  assert_true(is_dead(&c));
  reply_done(&r);
  world_free(c.w);
}

static void an_agent_waits_three_seconds_for_its_connector(void **state) {
  struct cast c = granted();
  struct reply r;
  restart(&c);
  client_dial(c.agent);
  resume_agent(c.agent, &r);
  world_run(c.w, 2700 * MS);
  assert_false(r.done);
  /* What only a ticket names is no service for others yet. */
  struct client *other = agent_up(c.w, "other", "198.51.100.2:2000");
  json_t *e = event_of(other, "snapshot");
  assert_int_equal(json_array_size(json_object_get(e, "services")), 1);
  world_run(c.w, 300 * MS);
  assert_true(r.done);
  assert_int_equal(r.status, 404); /* nobody registered it yet */
  reply_done(&r);
  world_free(c.w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_route_survives_a_restart_with_both_tickets),
      TEST(the_connector_may_come_back_first),
      TEST(one_ticket_alone_brings_nothing_back),
      TEST(one_ticket_brings_nothing_back_when_all_are_there),
      TEST(a_ticket_is_worth_nothing_to_others),
      TEST(a_resumed_route_obeys_the_current_policy),
      TEST(an_agent_waits_three_seconds_for_its_connector),
  };
  return cmocka_run_group_tests_name("relay resumes", tests, NULL, NULL);
}
