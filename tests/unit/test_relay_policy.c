/* test_relay_policy.c - ends, limits and revocations of a policy, as they reach
 * who lives by it. */
#include "relay_world.h"

static char *everybody[] = {"*"};

static struct policy_rule rule_of(const char *name, char **service) {
  return (struct policy_rule){.name = (char *)name,
                              .agents = everybody,
                              .n_agents = 1,
                              .services = service,
                              .n_services = 1,
                              .protocols = PROTO_UDP};
}

static void obey(struct world *w, struct policy_rule *rules, size_t n,
                 char **revoked, size_t n_revoked) {
  struct policy_config cfg = {
      .rules = rules, .n_rules = n, .revoked = revoked, .n_revoked = n_revoked};
  struct policy *p;
  char why[200];
  assert_int_equal(policy_new(&p, &cfg, why, sizeof(why)), 0);
  relay_set_policy(w->relay, p, w->now);
  world_run(w, 50 * MS);
}

/* Everybody may use everything, but for these. */
static void revoke(struct world *w, char *whom) {
  struct policy_rule all = rule_of("all", everybody);
  obey(w, &all, 1, &whom, 1);
}

static char *serial_of(const struct client *c) {
  return (char *)tls_identity(c->tls)->serial;
}

/* --- until */

static void a_grant_ends_with_its_rule(void **state) {
  struct cast c = granted();
  struct policy_rule rule = rule_of("guests", everybody);
  uint64_t end = c.w->now + 10 * SEC;
  end -= end % SEC;
  rule.until = WORLD_NOW + (int64_t)(end / SEC);
  obey(c.w, &rule, 1, NULL, 0);
  world_run(c.w, end - 20 * MS - c.w->now);
  assert_true(flows(&c));
  world_run(c.w, end - c.w->now + MS);
  assert_true(is_dead(&c)); /* before anybody could hear of it */
  world_run(c.w, 50 * MS);
  assert_string_equal(text_at(event_of(c.agent, "grant-closed"), "reason"),
                      "not-allowed");
  assert_string_equal(text_at(event_of(c.connector, "grant-closed"), "reason"),
                      "not-allowed");
  json_t *list =
      json_object_get(event_of(c.agent, "services-changed"), "services");
  assert_non_null(list);
  assert_int_equal(json_array_size(list), 0);
  check_refused(c.agent, "web", 403, "not-allowed");
  world_free(c.w);
}

static void a_policy_that_is_there_at_the_start_ends_too(void **state) {
  struct world *w = world_new();
  struct relay_options o;
  char why[200];
  struct policy_rule rule = rule_of("guests", everybody);
  struct policy_config cfg = {.rules = &rule, .n_rules = 1};
  rule.until = WORLD_NOW + 20;
  relay_free(w->relay);
  world_options(w, &o);
  policy_free(o.policy);
  assert_int_equal(policy_new(&o.policy, &cfg, why, sizeof(why)), 0);
  w->relay = relay_new(&o, w->now);
  connector_up(w, "dc", "192.0.2.1:1000", "web");
  struct client *agent = agent_up(w, "laptop", "198.51.100.1:2000");
  assert_int_equal(grant(agent, "web"), 201);
  world_run(w, 21 * SEC - w->now);
  assert_string_equal(text_at(event_of(agent, "grant-closed"), "reason"),
                      "not-allowed");
  world_free(w);
}

static void what_another_rule_allows_goes_on(void **state) {
  struct cast c = granted();
  struct policy_rule rules[] = {rule_of("guests", everybody),
                                rule_of("ever", everybody)};
  rules[0].protocols = PROTO_TCP;
  rules[0].until = WORLD_NOW + (int64_t)(c.w->now / SEC) + 5;
  obey(c.w, rules, 2, NULL, 0);
  forget_events(c.connector);
  world_run(c.w, 6 * SEC);
  assert_true(flows(&c));
  json_t *e = event_of(c.connector, "grant-changed");
  assert_string_equal(text_at(e, "grant.rule"), "ever");
  assert_int_equal(json_array_size(json_object_get(json_object_get(e, "grant"),
                                                   "protocols")),
                   1);
  assert_null(event_of(c.agent, "grant-closed"));
  world_free(c.w);
}

/* --- revoked */

static void who_is_revoked_loses_everything_at_once(void **state) {
  struct cast c = granted();
  struct client *other = agent_up(c.w, "other", "198.51.100.2:2000");
  forget_events(c.connector);
  revoke(c.w, "spiffe://example.org/agent/laptop");
  assert_true(is_dead(&c));
  assert_string_equal(text_at(event_of(c.connector, "grant-closed"), "reason"),
                      "revoked");
  assert_int_equal(c.agent->n_end, 1);
  assert_int_equal(c.agent->end.reason, REASON_REVOKED);
  client_dial(c.agent);
  world_run(c.w, SEC);
  assert_int_equal(c.agent->n_end, 2);
  assert_int_equal(c.agent->end.reason, REASON_REVOKED);
  assert_true(world_logged(c.w, "relay: handshake refused from="));
  assert_true(world_logged(c.w, "reason=revoked by=relay"));
  assert_int_equal(grant(other, "web"), 201);
  world_free(c.w);
}

static void a_certificate_is_revoked_by_its_number(void **state) {
  struct cast c = granted();
  forget_events(c.connector);
  revoke(c.w, serial_of(c.agent));
  assert_true(is_dead(&c));
  assert_string_equal(text_at(event_of(c.connector, "grant-closed"), "reason"),
                      "revoked");
  assert_int_equal(c.agent->end.reason, REASON_REVOKED);
  /* The name may come back with another one. */
  struct client *again = agent_up(c.w, "laptop", "198.51.100.3:2000");
  assert_int_equal(grant(again, "web"), 201);
  world_free(c.w);
}

static void one_that_is_away_is_revoked_as_well(void **state) {
  struct cast c = granted();
  client_vanish(c.agent);
  world_run(c.w, 40 * SEC);
  assert_true(flows(&c));
  revoke(c.w, serial_of(c.agent));
  assert_true(is_dead(&c));
  assert_string_equal(text_at(event_of(c.connector, "grant-closed"), "reason"),
                      "revoked");
  world_free(c.w);
}

static void a_revoked_connector_serves_nobody(void **state) {
  struct cast c = granted();
  forget_events(c.agent);
  revoke(c.w, "spiffe://example.org/connector/*");
  assert_true(is_dead(&c));
  assert_string_equal(text_at(event_of(c.agent, "grant-closed"), "reason"),
                      "revoked");
  assert_int_equal(c.connector->end.reason, REASON_REVOKED);
  check_refused(c.agent, "web", 503, "no-connector");
  world_free(c.w);
}

/* --- limits */

static struct policy_rule limited(uint32_t routes, uint64_t rate) {
  struct policy_rule rule = rule_of("limited", everybody);
  rule.limits = (struct policy_limits){.routes = routes, .rate = rate};
  return rule;
}

static void a_rule_gives_so_many_routes_and_no_more(void **state) {
  struct world *w = world_new();
  struct policy_rule rule = limited(1, 0);
  obey(w, &rule, 1, NULL, 0);
  connector_up(w, "one", "192.0.2.1:1000", "web db");
  connector_up(w, "two", "192.0.2.2:1000", "git");
  struct client *agent = agent_up(w, "laptop", "198.51.100.1:2000");
  struct client *other = agent_up(w, "other", "198.51.100.2:2000");
  char path[80];
  assert_int_equal(grant(agent, "web"), 201);
  snprintf(path, sizeof(path), "/v1/routes/%s", text_at(answered(), "route"));
  assert_int_equal(grant(agent, "db"), 201); /* by the same route */
  check_refused(agent, "git", 429, "too-many-routes");
  assert_int_equal(grant(other, "git"), 201);
  assert_int_equal(request(agent, "DELETE", path, NULL), 204);
  assert_int_equal(grant(agent, "git"), 201);
  world_free(w);
}

static void a_dead_connector_takes_nobodys_place(void **state) {
  struct world *w = world_new();
  struct policy_rule rule = limited(1, 0);
  obey(w, &rule, 1, NULL, 0);
  struct client *one = connector_up(w, "one", "192.0.2.1:1000", "web");
  struct client *agent = agent_up(w, "laptop", "198.51.100.1:2000");
  assert_int_equal(grant(agent, "web"), 201);
  connector_up(w, "two", "192.0.2.2:1000", "web");
  client_vanish(one);
  char body[200];
  snprintf(body, sizeof(body),
           "{\"service\": \"web\", \"instance\": \"%s\", \"avoid\": "
           "\"spiffe://example.org/connector/one\"}",
           agent->instance);
  assert_int_equal(request(agent, "POST", "/v1/grants", body), 201);
  assert_string_equal(text_at(answered(), "connector"),
                      "spiffe://example.org/connector/two");
  world_free(w);
}

static void routes_beyond_a_new_limit_end(void **state) {
  struct world *w = world_new();
  struct client *one = connector_up(w, "one", "192.0.2.1:1000", "web");
  struct client *two = connector_up(w, "two", "192.0.2.2:1000", "git");
  struct client *agent = agent_up(w, "laptop", "198.51.100.1:2000");
  assert_int_equal(grant(agent, "web"), 201);
  assert_int_equal(grant(agent, "git"), 201);
  struct policy_rule rule = limited(1, 0);
  obey(w, &rule, 1, NULL, 0);
  assert_int_equal(count_events(agent, "grant-closed"), 1);
  assert_int_equal(
      count_events(one, "grant-closed") + count_events(two, "grant-closed"), 1);
  assert_string_equal(text_at(event_of(agent, "grant-closed"), "reason"),
                      "revoked");
  world_free(w);
}

static int renew(struct client *agent, const char *service, const char *route) {
  char body[200];
  snprintf(body, sizeof(body),
           "{\"service\": \"%s\", \"instance\": \"%s\", \"renew\": \"%s\"}",
           service, agent->instance, route);
  return request(agent, "POST", "/v1/grants", body);
}

static int n_passing(struct cast *c, int tries) {
  int n = 0;
  for (int i = 0; i < tries; i++)
    n += passes(c->w, &c->agent->addr, to_connector);
  return n;
}

/* 16 KiB at once, then 1000 bytes a second; packets have 100. */
static void a_route_keeps_the_least_rate_of_its_grants(void **state) {
  struct cast c = granted();
  struct policy_rule rules[] = {limited(0, 1000), rule_of("db", everybody)};
  static char *web[] = {"web"}, *db[] = {"db"};
  assert_int_equal(n_passing(&c, 1000), 1000);
  rules[0].services = web;
  rules[1].services = db;
  obey(c.w, rules, 2, NULL, 0);
  assert_int_equal(
      json_integer_value(json_object_get(
          json_object_get(event_of(c.connector, "grant-changed"), "grant"),
          "rate")),
      1000);
  assert_in_range(n_passing(&c, 1000), 163, 164);
  world_run(c.w, SEC);
  assert_in_range(n_passing(&c, 1000), 9, 11);
  assert_int_equal(grant(c.agent, "db"), 201); /* on the same route */
  assert_in_range(n_passing(&c, 1000), 0, 1);
  struct policy_rule free_rule = rule_of("all", everybody);
  obey(c.w, &free_rule, 1, NULL, 0);
  assert_int_equal(n_passing(&c, 1000), 1000);
  world_free(c.w);
}

/* It is one route, and the two of it have together what one had. */
static void a_route_that_is_renewed_counts_once(void **state) {
  struct cast c = granted();
  struct policy_rule rule = limited(1, 2000);
  obey(c.w, &rule, 1, NULL, 0);
  n_passing(&c, 1000);
  assert_int_equal(renew(c.agent, "web", route_id), 201);
  assert_string_not_equal(text_at(answered(), "route"), route_id);
  n_passing(&c, 1000);
  world_run(c.w, 10 * SEC);
  assert_in_range(n_passing(&c, 1000), 98, 102);
  obey(c.w, &rule, 1, NULL, 0); /* again */
  assert_int_equal(count_events(c.agent, "grant-closed"), 0);
  note(c.connector);
  char path[80];
  snprintf(path, sizeof(path), "/v1/routes/%s", route_id);
  assert_int_equal(request(c.agent, "DELETE", path, NULL), 204);
  world_free(c.w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_grant_ends_with_its_rule),
      cmocka_unit_test(a_policy_that_is_there_at_the_start_ends_too),
      cmocka_unit_test(what_another_rule_allows_goes_on),
      cmocka_unit_test(who_is_revoked_loses_everything_at_once),
      cmocka_unit_test(a_certificate_is_revoked_by_its_number),
      cmocka_unit_test(one_that_is_away_is_revoked_as_well),
      cmocka_unit_test(a_revoked_connector_serves_nobody),
      cmocka_unit_test(a_rule_gives_so_many_routes_and_no_more),
      cmocka_unit_test(a_dead_connector_takes_nobodys_place),
      cmocka_unit_test(routes_beyond_a_new_limit_end),
      cmocka_unit_test(a_route_that_is_renewed_counts_once),
      cmocka_unit_test(a_route_keeps_the_least_rate_of_its_grants),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
