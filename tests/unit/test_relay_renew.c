/* test_relay_renew.c - routes that are renewed: a second one between the same
 * two, until the agent gives the first one back. */
#include "relay_world.h"

struct route_text {
  char id[40], agent[20], connector[20], grant[40];
};

static struct route_text former; /* the one of granted() */

static int renew(struct client *agent, const char *service, const char *route) {
  char body[300];
  snprintf(body, sizeof(body),
           "{\"service\": \"%s\", \"instance\": \"%s\", \"connector\": "
           "\"spiffe://example.org/connector/dc\", \"renew\": \"%s\"}",
           service, agent->instance, route);
  return request(agent, "POST", "/v1/grants", body);
}

static int give_back(struct client *c, const char *route) {
  char path[96];
  snprintf(path, sizeof(path), "/v1/routes/%s", route);
  return request(c, "DELETE", path, NULL);
}

/* A first route with "web", in former; the noted one is it, too. */
static struct cast cast(void) {
  struct cast c = granted();
  snprintf(former.id, sizeof(former.id), "%s", route_id);
  snprintf(former.agent, sizeof(former.agent), "%s", to_agent);
  snprintf(former.connector, sizeof(former.connector), "%s", to_connector);
  snprintf(former.grant, sizeof(former.grant), "%s", grant_id);
  return c;
}

static bool former_flows(const struct cast *c) {
  return passes(c->w, &c->agent->addr, former.connector) &&
         passes(c->w, &c->connector->addr, former.agent);
}

static uint64_t metric(const struct world *w, const char *name) {
  struct sbuf b;
  char line[96];
  uint64_t n = UINT64_MAX;
  sbuf_init(&b, 0);
  relay_metrics(w->relay, &b);
  snprintf(line, sizeof(line), "\n%s ", name);
  const char *at = strstr(b.s, line);
  if (at) n = strtoull(at + strlen(line), NULL, 10);
  sbuf_done(&b);
  return n;
}

static void a_renewed_route_has_other_handles_beside_the_old_one(void **state) {
  struct cast c = cast();
  forget_events(c.connector);
  assert_int_equal(renew(c.agent, "web", former.id), 201);
  note(c.connector);
  assert_string_not_equal(route_id, former.id);
  assert_string_not_equal(to_agent, former.agent);
  assert_string_not_equal(to_connector, former.connector);
  assert_string_not_equal(grant_id, former.grant);
  assert_string_equal(text_at(c.connector->asked, "route"), route_id);
  assert_true(flows(&c));
  assert_true(former_flows(&c));
  assert_null(event_of(c.connector, "grant-closed"));
  assert_int_equal(metric(c.w, "ztna_relay_routes"), 2);
  assert_int_equal(metric(c.w, "ztna_relay_routes_renewed_total"), 1);
  world_free(c.w);
}

static void services_of_one_renewal_share_its_route(void **state) {
  struct cast c = cast();
  assert_int_equal(grant(c.agent, "db"), 201);
  assert_int_equal(renew(c.agent, "web", former.id), 201);
  note(c.connector);
  assert_int_equal(renew(c.agent, "db", former.id), 201);
  assert_string_equal(text_at(answered(), "route"), route_id);
  /* Once more is no other one. */
  assert_int_equal(renew(c.agent, "web", former.id), 201);
  assert_string_equal(text_at(answered(), "grant.id"), grant_id);
  assert_int_equal(metric(c.w, "ztna_relay_routes"), 2);
  assert_int_equal(metric(c.w, "ztna_relay_grants"), 4);
  assert_int_equal(metric(c.w, "ztna_relay_routes_renewed_total"), 1);
  world_free(c.w);
}

static void services_that_are_new_meanwhile_use_the_new_route(void **state) {
  struct cast c = cast();
  assert_int_equal(renew(c.agent, "web", former.id), 201);
  note(c.connector);
  assert_int_equal(grant(c.agent, "db"), 201);
  assert_string_equal(text_at(answered(), "route"), route_id);
  assert_int_equal(grant(c.agent, "web"), 201);
  assert_string_equal(text_at(answered(), "grant.id"), grant_id);
  world_free(c.w);
}

static void the_old_route_that_is_given_back_is_dead(void **state) {
  struct cast c = cast();
  assert_int_equal(renew(c.agent, "web", former.id), 201);
  note(c.connector);
  assert_int_equal(give_back(c.agent, former.id), 204);
  assert_string_equal(text_at(event_of(c.connector, "route-closed"), "route"),
                      former.id);
  assert_false(passes(c.w, &c.agent->addr, former.connector));
  assert_false(passes(c.w, &c.connector->addr, former.agent));
  assert_true(flows(&c));
  assert_int_equal(metric(c.w, "ztna_relay_routes"), 1);
  assert_int_equal(metric(c.w, "ztna_relay_grants"), 1);
  world_free(c.w);
}

static void a_new_route_that_is_given_back_leaves_the_old_one(void **state) {
  struct cast c = cast();
  assert_int_equal(renew(c.agent, "web", former.id), 201);
  note(c.connector);
  assert_int_equal(give_back(c.agent, route_id), 204);
  assert_true(former_flows(&c));
  assert_int_equal(grant(c.agent, "web"), 201);
  assert_string_equal(text_at(answered(), "grant.id"), former.grant);
  world_free(c.w);
}

static void what_is_not_ones_own_route_is_not_renewed(void **state) {
  struct cast c = cast();
  struct client *other = agent_up(c.w, "other", "198.51.100.2:2000");
  assert_int_equal(grant(other, "web"), 201);
  note(c.connector);
  assert_int_equal(renew(other, "web", former.id), 201);
  assert_string_equal(text_at(answered(), "route"), route_id);
  assert_int_equal(renew(other, "web", "00000000000000000000000000000001"),
                   201);
  assert_string_equal(text_at(answered(), "route"), route_id);
  assert_int_equal(metric(c.w, "ztna_relay_routes"), 2);
  assert_int_equal(renew(other, "web", "1234"), 400);
  world_free(c.w);
}

static void a_connector_that_declines_leaves_the_old_route(void **state) {
  struct cast c = cast();
  c.connector->answer = ANSWER_REFUSE;
  assert_int_equal(renew(c.agent, "web", former.id), 503);
  assert_string_equal(answered_reason(), "connector-refused");
  c.connector->answer = ANSWER_NOT;
  assert_int_equal(renew(c.agent, "web", former.id), 503);
  assert_true(former_flows(&c));
  assert_int_equal(metric(c.w, "ztna_relay_routes"), 1);
  assert_int_equal(metric(c.w, "ztna_relay_grants"), 1);
  assert_int_equal(metric(c.w, "ztna_relay_routes_renewed_total"), 0);
  world_free(c.w);
}

/* What runs there is to go on, so neither is a reason. */
static void a_draining_connector_renews_what_it_has(void **state) {
  struct cast c = cast();
  assert_int_equal(request(c.connector, "PUT", "/v1/connector/health",
                           "{\"draining\": true}"),
                   204);
  connector_up(c.w, "second", "192.0.2.2:1000", "web");
  assert_int_equal(renew(c.agent, "web", former.id), 201);
  note(c.connector);
  assert_string_not_equal(route_id, former.id);
  assert_string_equal(text_at(answered(), "connector"),
                      "spiffe://example.org/connector/dc");
  world_free(c.w);
}

/* --- limits --- */

enum { MANY = 66 };

static int offer_many(struct client *c) {
  char body[4096];
  int n = snprintf(body, sizeof(body), "{\"instance\": \"%s\", \"services\": [",
                   c->instance);
  for (int i = 0; i < MANY; i++)
    n += snprintf(body + n, sizeof(body) - (size_t)n, "%s{\"id\": \"s%d\"}",
                  i ? "," : "", i);
  snprintf(body + n, sizeof(body) - (size_t)n, "]}");
  return request(c, "PUT", "/v1/connector", body);
}

static char *numbered(int i) {
  static char name[16];
  snprintf(name, sizeof(name), "s%d", i);
  return name;
}

static void an_agent_at_its_limit_can_renew(void **state) {
  struct world *w = world_new();
  struct client *dc = connector_up(w, "dc", "192.0.2.1:1000", "x");
  struct client *agent = agent_up(w, "laptop", "198.51.100.1:2000");
  assert_int_equal(offer_many(dc), 200);
  for (int i = 0; i < 64; i++) assert_int_equal(grant(agent, numbered(i)), 201);
  note(dc);
  snprintf(former.id, sizeof(former.id), "%s", route_id);
  for (int i = 0; i < 64; i++)
    assert_int_equal(renew(agent, numbered(i), former.id), 201);
  note(dc);
  /* Neither way is there room for more. */
  check_refused(agent, numbered(64), 429, "too-many-routes");
  assert_int_equal(renew(agent, numbered(64), former.id), 429);
  assert_int_equal(metric(w, "ztna_relay_grants"), 128);
  assert_int_equal(give_back(agent, former.id), 204);
  assert_int_equal(metric(w, "ztna_relay_grants"), 64);
  check_refused(agent, numbered(64), 429, "too-many-routes");
  world_free(w);
}

static void a_renewal_takes_no_room_from_new_services(void **state) {
  struct world *w = world_new();
  struct client *dc = connector_up(w, "dc", "192.0.2.1:1000", "x");
  struct client *agent = agent_up(w, "laptop", "198.51.100.1:2000");
  assert_int_equal(offer_many(dc), 200);
  for (int i = 0; i < 40; i++) assert_int_equal(grant(agent, numbered(i)), 201);
  note(dc);
  for (int i = 0; i < 40; i++)
    assert_int_equal(renew(agent, numbered(i), route_id), 201);
  for (int i = 40; i < 64; i++)
    assert_int_equal(grant(agent, numbered(i)), 201);
  check_refused(agent, numbered(64), 429, "too-many-routes");
  world_free(w);
}

/* --- restarts --- */

static void the_new_routes_tickets_bring_it_back(void **state) {
  struct cast c = cast();
  char body[2000];
  struct reply r;
  assert_int_equal(renew(c.agent, "web", former.id), 201);
  note(c.connector);
  assert_int_equal(give_back(c.agent, former.id), 204);
  world_restart(c.w);
  client_vanish(c.agent);
  client_vanish(c.connector);
  forget_events(c.connector);
  client_dial(c.connector);
  client_read_events(c.connector);
  snprintf(body, sizeof(body), "\"resume\": [\"%s\"],", ticket_connector);
  assert_int_equal(connector_put(c.connector, "web db", body), 200);
  client_dial(c.agent);
  snprintf(body, sizeof(body),
           "{\"service\": \"web\", \"instance\": \"%s\", \"resume\": \"%s\"}",
           c.agent->instance, ticket_agent);
  request_begin(c.agent, "POST", "/v1/grants", body, &r);
  world_run(c.w, 500 * MS);
  assert_int_equal(r.status, 201);
  assert_string_equal(text_at(r.body, "route"), route_id);
  assert_true(flows(&c));
  reply_done(&r);
  world_free(c.w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_renewed_route_has_other_handles_beside_the_old_one),
      TEST(services_of_one_renewal_share_its_route),
      TEST(services_that_are_new_meanwhile_use_the_new_route),
      TEST(the_old_route_that_is_given_back_is_dead),
      TEST(a_new_route_that_is_given_back_leaves_the_old_one),
      TEST(what_is_not_ones_own_route_is_not_renewed),
      TEST(a_connector_that_declines_leaves_the_old_route),
      TEST(a_draining_connector_renews_what_it_has),
      TEST(an_agent_at_its_limit_can_renew),
      TEST(a_renewal_takes_no_room_from_new_services),
      TEST(the_new_routes_tickets_bring_it_back),
  };
  return cmocka_run_group_tests_name("relay renews", tests, NULL, NULL);
}
