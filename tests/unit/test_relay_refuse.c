/* test_relay_refuse.c - what a relay refuses, with which reason, and that its
 * log says so. */
#include "relay_world.h"

/* --- handshakes --- */

static void check_turned_away(struct world *w, struct client *c,
                              enum reason why) {
  char line[64];
  w->log[0] = 0;
  client_dial(c);
  world_run(w, SEC);
  assert_int_equal(c->n_end, 1);
  assert_int_equal(c->end.reason, why);
  snprintf(line, sizeof(line), "reason=%s", reason_name(why));
  assert_true(
      world_logged(w, "relay: handshake refused from=198.51.100.1:2000"));
  assert_true(world_logged(w, line));
}

static void a_relay_is_no_agent(void **state) {
  struct world *w = world_new();
  struct client *c =
      client_new(w, ROLE_RELAY, "eu2", "198.51.100.1:2000", NULL);
  check_turned_away(w, c, REASON_IDENTITY_MISMATCH);
  assert_true(world_logged(w, "identity=spiffe://example.org/relay/eu2"));
  world_free(w);
}

/* It can make any other certificate; its own is good for that alone. */
static void an_enrolment_service_is_no_agent(void **state) {
  struct world *w = world_new();
  struct client *c =
      client_new(w, ROLE_ENROLL, "ca", "198.51.100.1:2000", NULL);
  check_turned_away(w, c, REASON_IDENTITY_MISMATCH);
  assert_true(world_logged(w, "identity=spiffe://example.org/enroll/ca"));
  world_free(w);
}

/* Signed by the relay's CA, but of another trust domain. */
static void another_trust_domain_is_refused(void **state) {
  struct world *w = world_new();
  struct tls *tls = pki_tls_of(w->pki, "elsewhere.org", ROLE_AGENT, "laptop");
  struct client *c = client_with(w, tls, "198.51.100.1:2000");
  check_turned_away(w, c, REASON_IDENTITY_MISMATCH);
  assert_true(world_logged(w, "identity=spiffe://elsewhere.org/agent/laptop"));
  world_free(w);
}

/* The client, which trusts the relay's CA, finds out by the relay's alert. */
static void a_certificate_of_another_ca_is_refused(void **state) {
  struct world *w = world_new();
  struct pki *other = pki_new("example.org", WORLD_NOW);
  struct tls *tls = pki_tls_trusting(other, w->pki, ROLE_AGENT, "laptop");
  struct client *c = client_with(w, tls, "198.51.100.1:2000");
  check_turned_away(w, c, REASON_BAD_CERTIFICATE);
  pki_free(other);
  world_free(w);
}

static void an_expired_certificate_is_refused(void **state) {
  struct world *w = world_new();
  struct tls *tls = pki_tls_at(w->pki, ROLE_AGENT, "laptop", NULL,
                               WORLD_NOW - 3600, WORLD_NOW + 100);
  struct client *c = client_with(w, tls, "198.51.100.1:2000");
  world_run(w, 200 * SEC);
  check_turned_away(w, c, REASON_CERTIFICATE_EXPIRED);
  world_free(w);
}

static void a_connection_ends_with_its_certificate(void **state) {
  struct world *w = world_new();
  struct client *dc = connector_up(w, "dc", "192.0.2.1:1000", "web");
  struct tls *tls = pki_tls_at(w->pki, ROLE_AGENT, "laptop", NULL,
                               WORLD_NOW - 3600, WORLD_NOW + 100);
  struct client *agent = client_with(w, tls, "198.51.100.1:2000");
  client_dial(agent);
  assert_int_equal(grant(agent, "web"), 201);
  char handle[20];
  snprintf(handle, sizeof(handle), "%s",
           text_at(answered(), "handles.connector"));
  world_run(w, 90 * SEC);
  assert_int_equal(agent->n_end, 0);
  assert_true(passes(w, &agent->addr, handle));
  world_run(w, 12 * SEC);
  assert_int_equal(agent->n_end, 1);
  assert_int_equal(agent->end.reason, REASON_CERTIFICATE_EXPIRED);
  assert_false(passes(w, &agent->addr, handle));
  assert_string_equal(text_at(event_of(dc, "route-closed"), "reason"),
                      "certificate-expired");
  world_free(w);
}

static void more_connections_than_allowed_are_refused(void **state) {
  struct world *w = world_new();
  struct relay_options o;
  relay_free(w->relay);
  world_options(w, &o);
  o.max_connections = 2;
  w->relay = relay_new(&o, w->now);
  agent_up(w, "a", "198.51.100.1:1");
  agent_up(w, "b", "198.51.100.2:1");
  struct client *c = client_new(w, ROLE_AGENT, "c", "198.51.100.3:1", NULL);
  client_dial(c);
  world_run(w, SEC);
  assert_false(c->ready);
  assert_true(world_logged(w, "max_connections is reached"));
  world_free(w);
}

/* --- grants --- */

static void each_refusal_names_its_reason(void **state) {
  struct world *w = world_new();
  relay_set_policy(w->relay, world_policy("*e*", "*", 0), w->now);
  connector_up(w, "dc", "192.0.2.1:1000", "web git");
  struct client *agent = agent_up(w, "laptop", "198.51.100.1:2000");
  check_refused(agent, "nope", 404, "no-such-service");
  check_refused(agent, "git", 403, "not-allowed");
  check_refused(agent, "fixed", 503, "no-connector");
  assert_int_equal(grant(agent, "web"), 201);
  struct sbuf out = {0};
  relay_metrics(w->relay, &out);
  assert_non_null(strstr(
      out.s, "ztna_relay_grants_refused_total{reason=\"not-allowed\"} 1"));
  sbuf_done(&out);
  world_free(w);
}

static void a_certificate_limits_its_agent(void **state) {
  static const char *const only[] = {"web", NULL};
  struct world *w = world_new();
  connector_up(w, "dc", "192.0.2.1:1000", "web git");
  struct client *agent =
      client_new(w, ROLE_AGENT, "laptop", "198.51.100.1:2000", only);
  client_dial(agent);
  check_refused(agent, "git", 403, "not-allowed");
  assert_int_equal(grant(agent, "web"), 201);
  assert_int_equal(request(agent, "GET", "/v1/services", NULL), 200);
  assert_int_equal(json_array_size(json_object_get(answered(), "services")), 1);
  world_free(w);
}

static void
a_connector_registers_only_what_its_certificate_names(void **state) {
  static const char *const only[] = {"web", NULL};
  struct world *w = world_new();
  struct client *dc =
      client_new(w, ROLE_CONNECTOR, "dc", "192.0.2.1:1000", only);
  struct client *agent = agent_up(w, "laptop", "198.51.100.1:2000");
  client_dial(dc);
  assert_int_equal(connector_put(dc, "web git", ""), 403);
  assert_string_equal(answered_reason(), "identity-mismatch");
  assert_true(world_logged(w, "relay: request refused identity=spiffe://"
                              "example.org/connector/dc "
                              "reason=identity-mismatch"));
  check_refused(agent, "web", 404, "no-such-service"); /* nothing of it */
  assert_int_equal(connector_put(dc, "web", ""), 200);
  world_free(w);
}

static void an_agent_has_64_grants_at_most(void **state) {
  struct world *w = world_new();
  char list[512] = "", name[8];
  int n = 0;
  for (int i = 0; i < 65; i++)
    n += snprintf(list + n, sizeof(list) - (size_t)n, "s%d ", i);
  struct client *dc = connector_up(w, "dc", "192.0.2.1:1000", "x");
  char body[4096];
  n = snprintf(body, sizeof(body), "{\"instance\": \"%s\", \"services\": [",
               dc->instance);
  for (int i = 0; i < 65; i++)
    n += snprintf(body + n, sizeof(body) - (size_t)n, "%s{\"id\": \"s%d\"}",
                  i ? "," : "", i);
  snprintf(body + n, sizeof(body) - (size_t)n, "]}");
  assert_int_equal(request(dc, "PUT", "/v1/connector", body), 200);
  struct client *agent = agent_up(w, "laptop", "198.51.100.1:2000");
  for (int i = 0; i < 64; i++) {
    snprintf(name, sizeof(name), "s%d", i);
    assert_int_equal(grant(agent, name), 201);
  }
  check_refused(agent, "s64", 429, "too-many-routes");
  world_free(w);
}

static void a_full_route_table_refuses(void **state) {
  struct world *w = world_new();
  struct relay_options o;
  relay_free(w->relay);
  world_options(w, &o);
  o.max_routes = 1;
  w->relay = relay_new(&o, w->now);
  connector_up(w, "dc", "192.0.2.1:1000", "web");
  assert_int_equal(grant(agent_up(w, "a", "198.51.100.1:1"), "web"), 201);
  check_refused(agent_up(w, "b", "198.51.100.2:1"), "web", 429,
                "too-many-routes");
  world_free(w);
}

/* --- ids of others --- */

static void ids_of_others_are_unknown(void **state) {
  struct world *w = world_new();
  struct client *dc = connector_up(w, "dc", "192.0.2.1:1000", "web");
  struct client *agent = agent_up(w, "laptop", "198.51.100.1:2000");
  struct client *other = agent_up(w, "desktop", "198.51.100.2:2000");
  struct client *alien = connector_up(w, "alien", "192.0.2.2:1000", "db");
  char grants[80], routes[80], unknown[80], text[1024];
  assert_int_equal(grant(agent, "web"), 201);
  snprintf(grants, sizeof(grants), "/v1/grants/%s",
           text_at(answered(), "grant.id"));
  snprintf(routes, sizeof(routes), "/v1/routes/%s",
           text_at(answered(), "route"));
  snprintf(unknown, sizeof(unknown), "/v1/grants/%032d", 0);
  assert_int_equal(request(other, "DELETE", unknown, NULL), 404);
  char *as_unknown = json_dumps(answered(), 0);
  snprintf(text, sizeof(text), "%s", as_unknown);
  free(as_unknown);
  assert_int_equal(request(other, "DELETE", grants, NULL), 404);
  as_unknown = json_dumps(answered(), 0); /* the very same answer */
  assert_string_equal(text, as_unknown);
  free(as_unknown);
  assert_int_equal(request(alien, "DELETE", grants, NULL), 404);
  assert_int_equal(request(other, "DELETE", routes, NULL), 404);
  assert_int_equal(request(alien, "DELETE", routes, NULL), 404);
  assert_int_equal(request(other, "DELETE", "/v1/grants/zz", NULL), 404);
  assert_int_equal(request(dc, "DELETE", grants, NULL), 204);
  world_free(w);
}

static void who_is_given_up_as_revoked_hears_so(void **state) {
  static const char *const said[] = {"?reason=revoked", "?reason=x", ""};
  struct world *w = world_new();
  struct client *dc = connector_up(w, "dc", "192.0.2.1:1000", "web");
  struct client *agent = agent_up(w, "laptop", "198.51.100.1:2000");
  for (int i = 0; i < 3; i++) {
    char route[96];
    assert_int_equal(grant(agent, "web"), 201);
    snprintf(route, sizeof(route), "/v1/routes/%s%s",
             text_at(answered(), "route"), said[i]);
    assert_int_equal(request(agent, "DELETE", route, NULL), 204);
    assert_string_equal(text_at(event_of(dc, "route-closed"), "reason"),
                        i ? "idle" : "revoked");
  }
  world_free(w);
}

/* --- requests --- */

static void each_role_has_its_own_requests(void **state) {
  struct world *w = world_new();
  struct client *dc = connector_up(w, "dc", "192.0.2.1:1000", "web");
  struct client *agent = agent_up(w, "laptop", "198.51.100.1:2000");
  struct client *admin =
      client_new(w, ROLE_ADMIN, "root", "198.51.100.3:3000", NULL);
  client_dial(admin);
  assert_int_equal(connector_put(agent, "web", ""), 403);
  assert_string_equal(answered_reason(), "identity-mismatch");
  assert_true(world_logged(w, "request refused identity=spiffe://example.org/"
                              "agent/laptop reason=identity-mismatch"));
  assert_int_equal(grant(dc, "web"), 403);
  assert_int_equal(grant(admin, "web"), 403);
  assert_int_equal(request(admin, "GET", "/v1/events", NULL), 403);
  assert_int_equal(request(agent, "GET", "/v1/admin/routes", NULL), 403);
  assert_int_equal(grant(agent, "web"), 201);
  assert_int_equal(request(admin, "GET", "/v1/self", NULL), 200);
  assert_int_equal(request(admin, "GET", "/v1/admin/connections", NULL), 200);
  assert_int_equal(json_array_size(json_object_get(answered(), "connections")),
                   3);
  assert_int_equal(request(admin, "GET", "/v1/admin/routes", NULL), 200);
  assert_int_equal(json_array_size(json_object_get(answered(), "routes")), 1);
  assert_int_equal(request(admin, "GET", "/v1/admin/services", NULL), 200);
  assert_int_equal(request(admin, "GET", "/v1/admin/status", NULL), 200);
  assert_int_equal(request(admin, "GET", "/v1/admin/status?x=1", NULL), 400);
  assert_int_equal(request(admin, "GET", "/v1/admin/nothing", NULL), 404);
  assert_int_equal(request(agent, "GET", "/v1/nothing", NULL), 404);
  assert_int_equal(request(agent, "PUT", "/v1/grants", "{}"), 400);
  world_free(w);
}

static void bodies_are_read_strictly(void **state) {
  static const char *const wrong[] = {
      "",
      "[]",
      "{\"service\": \"web\"}",
      "{\"service\": 7, \"instance\": \"00112233445566778899aabbccddeeff\"}",
      "{\"service\": \"web\", \"instance\": \"0011\"}",
      "{\"service\": \"web\", \"instance\": "
      "\"00112233445566778899AABBCCDDEEFF\"}",
      "{\"service\": \"web\", \"service\": \"web\", \"instance\": "
      "\"00112233445566778899aabbccddeeff\"}",
      "{\"service\": \"web\", \"instance\": "
      "\"00112233445566778899aabbccddeeff\"} x",
      "{\"service\": \"web\", \"instance\": "
      "\"00112233445566778899aabbccddeeff\", \"connector\": 1}",
      "{\"x\": [[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]], \"service\": \"web\", "
      "\"instance\": \"00112233445566778899aabbccddeeff\"}",
  };
  struct world *w = world_new();
  connector_up(w, "dc", "192.0.2.1:1000", "web");
  struct client *agent = agent_up(w, "laptop", "198.51.100.1:2000");
  for (size_t i = 0; i < N_OF(wrong); i++) {
    assert_int_equal(request(agent, "POST", "/v1/grants", wrong[i]), 400);
    assert_string_equal(answered_reason(), "malformed");
  }
  assert_int_equal(
      request(agent, "POST", "/v1/grants",
              "{\"x\": [[[[[[[[[[[[[[[\"[[[[[\\\"[[[[\"]]]]]]]]]]]]]]], "
              "\"service\": \"web\", \"resume\": \"00\", \"instance\": "
              "\"00112233445566778899aabbccddeeff\"}"),
      201); /* unknown members are ignored, so is a bad ticket */
  assert_int_equal(grant(agent, "web\\nx"), 404);
  world_free(w);
}

static void registrations_are_read_strictly(void **state) {
  static const char *const wrong[] = {
      "{\"id\": \"Web\"}",
      "{\"id\": \"\"}",
      "{\"id\": \"web\"}, {\"id\": \"web\"}",
      "{\"id\": \"web\", \"ports\": [[\"udp\", 0]]}",
      "{\"id\": \"web\", \"ports\": [[\"udp\", 65536]]}",
      "{\"id\": \"web\", \"ports\": [[\"icmp\", 1]]}",
      "{\"id\": \"web\", \"ports\": [9999]}",
      "{\"id\": \"web\", \"ports\": {}}",
      "{\"id\": \"web\", \"protocols\": [\"sctp\"]}",
      "{\"id\": \"web\", \"weight\": 0}",
      "{\"id\": \"web\", \"weight\": 101}",
      "{\"id\": \"web\", \"health\": \"so-so\"}",
      "7",
  };
  struct world *w = world_new();
  struct client *dc = connector_up(w, "dc", "192.0.2.1:1000", "web");
  char body[300];
  for (size_t i = 0; i < N_OF(wrong); i++) {
    snprintf(body, sizeof(body), "{\"instance\": \"%s\", \"services\": [%s]}",
             dc->instance, wrong[i]);
    assert_int_equal(request(dc, "PUT", "/v1/connector", body), 400);
  }
  /* And what was there before still is. */
  assert_int_equal(grant(agent_up(w, "laptop", "198.51.100.1:1"), "web"), 201);
  world_free(w);
}

static void fifty_requests_a_second_are_enough(void **state) {
  struct world *w = world_new();
  struct client *agent = agent_up(w, "laptop", "198.51.100.1:2000");
  static struct reply r[80];
  int n_ok = 0, n_limited = 0;
  world_run(w, 2 * SEC);
  for (int i = 0; i < 80; i++)
    request_begin(agent, "GET", "/v1/services", NULL, &r[i]);
  world_run(w, 150 * MS);
  for (int i = 0; i < 80; i++) {
    n_ok += r[i].status == 200;
    n_limited += r[i].status == 429;
    reply_done(&r[i]);
  }
  assert_in_range(n_ok, 50, 58);
  assert_int_equal(n_ok + n_limited, 80);
  world_run(w, SEC);
  assert_int_equal(request(agent, "GET", "/v1/services", NULL), 200);
  world_free(w);
}

/* --- readers --- */

static void a_reader_that_does_not_read_is_closed(void **state) {
  struct world *w = world_new();
  struct client *dc = connector_up(w, "dc", "192.0.2.1:1000", "a");
  struct client *agent = agent_up(w, "laptop", "198.51.100.1:2000");
  char list[400] = "";
  for (int i = 0, n = 0; i < 25; i++)
    n += snprintf(list + n, sizeof(list) - (size_t)n, "service-%d ", i);
  agent->down = true;
  for (int i = 0; i < 300 && !world_logged(w, "reason=rate-limited"); i++) {
    assert_int_equal(connector_put(dc, i % 2 ? list : "a", ""), 200);
    world_run(w, 50 * MS);
  }
  assert_true(world_logged(w, "disconnected identity=spiffe://example.org/"
                              "agent/laptop from=198.51.100.1:2000 "
                              "reason=rate-limited by=relay"));
  assert_true(dc->ready);
  world_free(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_relay_is_no_agent),
      TEST(an_enrolment_service_is_no_agent),
      TEST(another_trust_domain_is_refused),
      TEST(a_certificate_of_another_ca_is_refused),
      TEST(an_expired_certificate_is_refused),
      TEST(a_connection_ends_with_its_certificate),
      TEST(more_connections_than_allowed_are_refused),
      TEST(each_refusal_names_its_reason),
      TEST(a_certificate_limits_its_agent),
      TEST(a_connector_registers_only_what_its_certificate_names),
      TEST(an_agent_has_64_grants_at_most),
      TEST(a_full_route_table_refuses),
      TEST(ids_of_others_are_unknown),
      TEST(who_is_given_up_as_revoked_hears_so),
      TEST(each_role_has_its_own_requests),
      TEST(bodies_are_read_strictly),
      TEST(registrations_are_read_strictly),
      TEST(fifty_requests_a_second_are_enough),
      TEST(a_reader_that_does_not_read_is_closed),
  };
  return cmocka_run_group_tests_name("relay refuses", tests, NULL, NULL);
}
