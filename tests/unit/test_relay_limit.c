/* test_relay_limit.c - what one identity may take of a relay, however many
 * connections it has, and that others are served meanwhile. */
#include "relay_world.h"

static bool reasoned(const struct world *w, const char *text) {
  return world_logged(w, text);
}

/* --- connections --- */

static struct client *again(struct world *w, enum role role, const char *name,
                            int port) {
  char addr[40];
  snprintf(addr, sizeof(addr), "198.51.100.1:%d", port);
  struct client *c = client_new(w, role, name, addr, NULL);
  client_dial(c);
  return c;
}

static size_t n_open(struct client *const *v, size_t n) {
  size_t open = 0;
  for (size_t i = 0; i < n; i++) open += v[i]->ready;
  return open;
}

/* The oldest goes; the one that speaks for the identity stays. */
static void check_eight(enum role role, const char *name, bool declare) {
  struct world *w = world_new();
  struct client *v[12];
  for (size_t i = 0; i < N_OF(v); i++) {
    v[i] = again(w, role, name, 3000 + (int)i);
    assert_true(v[i]->ready);
    assert_int_equal(request(v[i], "GET", "/v1/self", NULL), 200);
    if (declare && i == 0) assert_int_equal(grant(v[0], "web"), 404);
  }
  world_run(w, 100 * MS);
  assert_int_equal(n_open(v, N_OF(v)), 8);
  assert_int_equal(v[1]->end.reason, REASON_REPLACED);
  assert_int_equal(v[0]->ready, role == ROLE_AGENT);
  assert_true(v[11]->ready);
  assert_true(again(w, ROLE_AGENT, "another", 4000)->ready);
  world_free(w);
}

static void an_identity_has_eight_connections_at_most(void **state) {
  check_eight(ROLE_AGENT, "laptop", true);
  check_eight(ROLE_ADMIN, "root", false);
}

/* Connecting costs more than being connected. */
static void an_identity_that_connects_without_end_is_turned_away(void **state) {
  struct world *w = world_new();
  struct client *c =
      client_new(w, ROLE_AGENT, "laptop", "198.51.100.1:2000", NULL);
  int n = 0;
  for (; n < 100; n++) {
    client_dial(c);
    if (!c->ready) break;
    client_vanish(c);
    c->s = NULL;
    c->ready = false;
  }
  assert_in_range(n, 50, 75); /* 2 more each second, 100 ms for each */
  assert_int_equal(c->end.reason, REASON_RATE_LIMITED);
  assert_true(reasoned(w, "handshake refused from=198.51.100.1:2000 identity="
                          "spiffe://example.org/agent/laptop "
                          "reason=rate-limited"));
  assert_true(again(w, ROLE_AGENT, "another", 4000)->ready);
  world_run(w, 2 * SEC);
  client_dial(c);
  assert_true(c->ready);
  world_free(w);
}

static void who_asks_for_nothing_is_not_kept(void **state) {
  struct world *w = world_new();
  struct client *mute = again(w, ROLE_AGENT, "mute", 3000);
  struct client *asks = again(w, ROLE_AGENT, "asks", 3001);
  assert_int_equal(request(asks, "GET", "/v1/self", NULL), 200);
  world_run(w, 29 * SEC);
  assert_true(mute->ready);
  world_run(w, 2 * SEC);
  assert_false(mute->ready);
  assert_int_equal(mute->end.reason, REASON_IDLE);
  world_run(w, 60 * SEC);
  assert_true(asks->ready);
  world_free(w);
}

/* --- requests --- */

/* Replies of that status, of so many requests at once over these. */
static int burst(struct world *w, struct client *const *v, size_t n, int each,
                 const char *method, const char *path, const char *body,
                 int status) {
  static struct reply r[400];
  int total = (int)n * each, found = 0;
  for (int i = 0; i < total; i++) {
    reply_done(&r[i]); /* one that came late */
    request_begin(v[(size_t)i % n], method, path, body, &r[i]);
  }
  world_run(w, 200 * MS);
  for (int i = 0; i < total; i++) {
    found += r[i].status == status;
    reply_done(&r[i]);
  }
  return found;
}

static void connections_of_one_identity_share_its_requests(void **state) {
  struct world *w = world_new();
  struct client *v[4], *other = again(w, ROLE_AGENT, "other", 4000);
  for (int i = 0; i < 4; i++) v[i] = again(w, ROLE_AGENT, "laptop", 3000 + i);
  world_run(w, SEC);
  assert_in_range(burst(w, v, 4, 40, "GET", "/v1/services", NULL, 200), 50, 62);
  assert_int_equal(burst(w, &other, 1, 40, "GET", "/v1/services", NULL, 200),
                   40);
  world_free(w);
}

static void large_bodies_cost_more(void **state) {
  struct world *w = world_new();
  struct client *dc = connector_up(w, "dc", "192.0.2.1:1000", "web");
  char *body = malloc(60001);
  int n = 0;
  memset(body, ' ', 60000);
  memcpy(body, "{}", 2);
  body[60000] = 0;
  world_run(w, 2 * SEC);
  /* Refused for what is in it, until it is for how much there is: 8 each. */
  for (int i = 0; i < 4; i++)
    n += burst(w, &dc, 1, 4, "PUT", "/v1/connector", body, 400);
  assert_in_range(n, 6, 12);
  world_run(w, SEC);
  assert_int_equal(request(dc, "GET", "/v1/self", NULL), 200);
  free(body);
  world_free(w);
}

static char *many_services(int n) {
  static char body[40000];
  int at = snprintf(body, sizeof(body),
                    "{\"instance\": \"00112233445566778899aabbccddeeff\", "
                    "\"services\": [");
  for (int i = 0; i < n; i++)
    at += snprintf(body + at, sizeof(body) - (size_t)at, "%s{\"id\": \"s%d\"}",
                   i ? ", " : "", i);
  snprintf(body + at, sizeof(body) - (size_t)at, "]}");
  return body;
}

static void long_lists_cost_more(void **state) {
  struct world *w = world_new();
  struct client *dc = connector_up(w, "dc", "192.0.2.1:1000", "web");
  struct client *agent = agent_up(w, "laptop", "198.51.100.1:2000");
  world_run(w, SEC);
  assert_int_equal(request(dc, "PUT", "/v1/connector", many_services(240)),
                   200);
  world_run(w, SEC);
  /* 241 services, 3 and one for asking */
  assert_in_range(burst(w, &agent, 1, 40, "GET", "/v1/services", NULL, 200), 12,
                  15);
  world_free(w);
}

/* --- what agents cost connectors --- */

/* Of a connector that says no each time, so that none is left. */
static void an_agent_has_a_connector_asked_ten_times_a_second(void **state) {
  struct world *w = world_new();
  struct client *dc = connector_up(w, "dc", "192.0.2.1:1000", "web db");
  struct client *agent = agent_up(w, "laptop", "198.51.100.1:2000");
  struct client *other = agent_up(w, "other", "198.51.100.2:2000");
  char body[128];
  int n_limited = 0;
  dc->answer = ANSWER_REFUSE;
  snprintf(body, sizeof(body), "{\"service\": \"web\", \"instance\": \"%s\"}",
           agent->instance);
  for (int i = 0; i < 5; i++) {
    n_limited += burst(w, &agent, 1, 40, "POST", "/v1/grants", body, 429);
    world_run(w, SEC);
  }
  assert_in_range(count_events(dc, "route-request"), 64 + 40, 64 + 62);
  assert_in_range(n_limited, 200 - 64 - 62, 200 - 64 - 40);
  dc->answer = ANSWER_OK;
  assert_int_equal(grant(other, "web"), 201);
  world_run(w, SEC);
  assert_int_equal(grant(agent, "web"), 201);
  world_free(w);
}

/* More agents at once than the requests that a connector has in a second. */
static void answers_of_a_connector_are_not_its_requests(void **state) {
  struct world *w = world_new();
  struct client *dc = connector_up(w, "dc", "192.0.2.1:1000", "web");
  struct client *v[60];
  static struct reply r[60];
  char name[16], addr[32], body[128];
  int n = 0;
  for (int i = 0; i < 60; i++) {
    snprintf(name, sizeof(name), "a%d", i);
    snprintf(addr, sizeof(addr), "198.51.100.%d:2000", i);
    v[i] = agent_up(w, name, addr);
  }
  /* It has just used up what it may ask. */
  burst(w, &dc, 1, 60, "GET", "/v1/self", NULL, 200);
  snprintf(body, sizeof(body), "{\"service\": \"web\", \"instance\": \"%s\"}",
           dc->instance);
  for (int i = 0; i < 60; i++)
    request_begin(v[i], "POST", "/v1/grants", body, &r[i]);
  world_run(w, 300 * MS);
  for (int i = 0; i < 60; i++) {
    n += r[i].status == 201;
    reply_done(&r[i]);
  }
  assert_int_equal(n, 60);
  world_free(w);
}

static void answers_that_nobody_waits_for_are(void **state) {
  struct world *w = world_new();
  struct client *dc = connector_up(w, "dc", "192.0.2.1:1000", "web");
  world_run(w, SEC);
  assert_in_range(burst(w, &dc, 1, 80, "POST",
                        "/v1/routes/00112233445566778899aabbccddeeff/answer",
                        "{\"ok\": true}", 404),
                  50, 60);
  world_free(w);
}

/* --- what connectors cost agents --- */

static void health(struct client *dc, bool up) {
  char body[128];
  snprintf(body, sizeof(body),
           "{\"services\": [{\"id\": \"s0\", \"health\": \"%s\"}]}",
           up ? "up" : "down");
  request(dc, "PUT", "/v1/connector/health", body);
}

/* Each change is another list for each agent: 241 services, so 5 ms pause for
 * each of ten agents; one more change is in the next list. */
static void a_service_that_flaps_is_not_told_each_time(void **state) {
  struct world *w = world_new();
  struct client *dc = connector_up(w, "dc", "192.0.2.1:1000", "web");
  struct client *agents[10];
  char name[16], addr[32];
  for (int i = 0; i < 10; i++) {
    snprintf(name, sizeof(name), "a%d", i);
    snprintf(addr, sizeof(addr), "198.51.100.%d:2000", i + 1);
    agents[i] = agent_up(w, name, addr);
  }
  assert_int_equal(request(dc, "PUT", "/v1/connector", many_services(240)),
                   200);
  world_run(w, 2 * SEC);
  forget_events(agents[0]);
  uint64_t began = w->now;
  w->log[0] = 0;
  for (int i = 0; i < 60; i++) health(dc, i % 2);
  size_t told = count_events(agents[0], "services-changed");
  assert_in_range(told, 5, (w->now - began) / (45 * MS) + 1);
  world_run(w, SEC);
  told = count_events(agents[0], "services-changed");
  health(dc, false); /* the first after a pause is told at once */
  world_run(w, 60 * MS);
  assert_int_equal(count_events(agents[0], "services-changed"), told + 1);
  int lines = 0;
  for (const char *at = w->log; (at = strstr(at, "relay: service ")); at++)
    lines++;
  assert_in_range(lines, 1, 21);
  world_free(w);
}

/* --- slow ones --- */

static void a_request_that_is_not_complete_is_counted(void **state) {
  struct world *w = world_new();
  struct client *c = again(w, ROLE_AGENT, "laptop", 3000);
  char *body = malloc(60001);
  struct reply r;
  memset(body, ' ', 60000);
  body[60000] = 0;
  assert_int_equal(request(c, "GET", "/v1/self", NULL), 200);
  request_begin(c, "POST", "/v1/grants", body, &r);
  world_step(w, w->now + 11 * MS); /* its beginning arrives */
  world_run(w, 5 * MS);
  c->down = true;
  world_run(w, 12 * SEC);
  c->down = false;
  world_run(w, 12 * SEC);
  assert_true(world_logged(w, "identity=spiffe://example.org/agent/laptop "
                              "reason=rate-limited detail=not a whole"));
  assert_true(r.done);
  assert_int_equal(r.status, 408);
  free(body);
  reply_done(&r);
  world_free(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(an_identity_has_eight_connections_at_most),
      TEST(an_identity_that_connects_without_end_is_turned_away),
      TEST(who_asks_for_nothing_is_not_kept),
      TEST(connections_of_one_identity_share_its_requests),
      TEST(large_bodies_cost_more),
      TEST(long_lists_cost_more),
      TEST(an_agent_has_a_connector_asked_ten_times_a_second),
      TEST(answers_of_a_connector_are_not_its_requests),
      TEST(answers_that_nobody_waits_for_are),
      TEST(a_service_that_flaps_is_not_told_each_time),
      TEST(a_request_that_is_not_complete_is_counted),
  };
  return cmocka_run_group_tests_name("relay limits", tests, NULL, NULL);
}
