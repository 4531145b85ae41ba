/* test_relay_certs.c - a relay whose certificates, CAs or lists are exchanged
 * while everybody is connected, and parties that come by another connection
 * because theirs were. */
#include "relay_world.h"

static const char *const any[] = {"*", NULL};

/* As the relay calls its connection. */
static const char *name_of(struct client *c) {
  static char name[40];
  assert_int_equal(request(c, "GET", "/v1/self", NULL), 200);
  snprintf(name, sizeof(name), "%s", text_at(answered(), "connection"));
  return name;
}

/* The same once more, with another certificate. */
static struct client *beside(struct world *w, enum role role, const char *name,
                             const char *addr, const char *const *names) {
  struct client *c = client_new(w, role, name, addr, names);
  client_dial(c);
  assert_true(c->ready);
  return c;
}

static struct client *another_laptop(struct world *w) {
  return beside(w, ROLE_AGENT, "laptop", "198.51.100.1:2001", NULL);
}

static struct client *another_dc(struct world *w) {
  return beside(w, ROLE_CONNECTOR, "dc", "192.0.2.1:1001", any);
}

static void obey(struct world *w, struct policy *p) {
  relay_set_policy(w->relay, p, w->now);
  world_run(w, 50 * MS);
}

/* --- one connection after another */

static void nothing_is_lost_between_two_connections(void **state) {
  struct cast c = granted();
  struct client *next = another_laptop(c.w);
  forget_events(c.agent);
  assert_int_equal(client_take_over(next, name_of(c.agent)), 200);
  assert_int_equal(c.agent->events_over, 200);
  assert_int_equal(count_events(next, "snapshot"), 1);
  assert_true(passes(c.w, &next->addr, to_connector));
  assert_int_equal(grant(next, "web"), 201);
  assert_string_equal(text_at(answered(), "grant.id"), grant_id);
  obey(c.w, world_policy("nothing", "*", 0));
  assert_int_equal(count_events(next, "grant-closed"), 1);
  assert_int_equal(count_events(c.agent, "grant-closed"), 0);
  assert_int_equal(next->n_end, 0);
  world_free(c.w);
}

/* The last one that the former was sent, and the first of the next. */
static void events_are_in_order_over_two_connections(void **state) {
  struct cast c = granted();
  struct client *next = another_laptop(c.w);
  const char *name = name_of(c.agent);
  forget_events(c.agent);
  relay_set_policy(c.w->relay, world_policy("nothing", "*", 0), c.w->now);
  assert_int_equal(client_take_over(next, name), 200);
  assert_int_equal(count_events(c.agent, "grant-closed") +
                       count_events(next, "grant-closed"),
                   1);
  assert_int_equal(
      json_array_size(json_object_get(event_of(next, "snapshot"), "services")),
      0);
  world_free(c.w);
}

static void a_connector_stays_registered(void **state) {
  struct cast c = granted();
  struct client *next = another_dc(c.w);
  forget_events(c.agent);
  assert_int_equal(client_take_over(next, name_of(c.connector)), 200);
  client_bye(c.connector);
  assert_true(passes(c.w, &next->addr, to_agent));
  assert_int_equal(grant(c.agent, "db"), 201);
  assert_non_null(event_of(next, "route-request"));
  assert_null(event_of(c.agent, "route-closed"));
  assert_null(event_of(c.agent, "services-changed"));
  assert_int_equal(next->n_end, 0);
  world_free(c.w);
}

/* i: on which it answers what it was asked on the former. */
static void what_was_asked_on_one_is_answered_on_either(void **state) {
  for (int i = 0; i < 2; i++) {
    struct cast c = granted();
    struct client *next = another_dc(c.w);
    char name[40], path[96];
    struct reply r;
    snprintf(name, sizeof(name), "%s", name_of(c.connector));
    c.connector->answer = ANSWER_NOT;
    c.connector->asked = NULL;
    request_begin(c.agent, "POST", "/v1/grants",
                  "{\"service\": \"db\", \"instance\": "
                  "\"00112233445566778899aabbccddeeff\"}",
                  &r);
    world_run(c.w, 3 * WORLD_DELAY);
    assert_non_null(c.connector->asked);
    assert_int_equal(client_take_over(next, name), 200);
    snprintf(path, sizeof(path), "/v1/routes/%s/answer",
             text_at(c.connector->asked, "route"));
    assert_int_equal(
        request(i ? next : c.connector, "POST", path, "{\"ok\": true}"), 204);
    assert_true(r.done);
    assert_int_equal(r.status, 201);
    reply_done(&r);
    world_free(c.w);
  }
}

/* What it said before it knew of the next one. */
static void requests_of_the_former_take_nothing_back(void **state) {
  struct cast c = granted();
  struct client *next = another_dc(c.w), *agent = another_laptop(c.w);
  assert_int_equal(client_take_over(next, name_of(c.connector)), 200);
  assert_int_equal(client_take_over(agent, name_of(c.agent)), 200);
  assert_int_equal(connector_put(c.connector, "web db", ""), 200);
  assert_int_equal(
      request(c.connector, "PUT", "/v1/connector/health",
              "{\"services\": [{\"id\": \"db\", \"health\": \"down\"}]}"),
      204);
  assert_int_equal(grant(c.agent, "web"), 201);
  assert_int_equal(next->n_end + agent->n_end, 0);
  forget_events(next);
  check_refused(agent, "db", 503, "backend-down");
  assert_true(passes(c.w, &next->addr, to_agent));
  assert_true(passes(c.w, &agent->addr, to_connector));
  world_free(c.w);
}

/* Its registration was lost on the way, and sent again after the next one had
 * taken over. */
static void who_registers_late_on_the_former_is_registered(void **state) {
  struct world *w = world_new();
  struct client *c = beside(w, ROLE_CONNECTOR, "dc", "192.0.2.1:1000", any);
  struct client *next = another_dc(w), *agent;
  client_read_events(c);
  assert_int_equal(client_take_over(next, name_of(c)), 200);
  c->instance = next->instance;
  assert_int_equal(connector_put(c, "web", ""), 200);
  client_bye(c);
  agent = agent_up(w, "laptop", "198.51.100.1:2000");
  assert_int_equal(grant(agent, "web"), 201);
  assert_int_equal(next->n_end, 0);
  world_free(w);
}

/* Nor does it take over again. */
static void who_was_left_does_not_come_back(void **state) {
  struct cast c = granted();
  struct client *next = another_laptop(c.w);
  assert_int_equal(client_take_over(next, name_of(c.agent)), 200);
  assert_int_equal(client_take_over(c.agent, name_of(next)), 404);
  world_run(c.w, 60 * SEC);
  assert_int_equal(next->n_end, 0);
  world_free(c.w);
}

/* Nobody speaks for its party any more: what it asks for would be answered for
 * nobody. */
static void the_former_ends_with_the_one_that_took_over(void **state) {
  for (int i = 0; i < 2; i++) {
    struct world *w = world_new();
    struct client *c = i ? connector_up(w, "dc", "192.0.2.1:1000", "web")
                         : agent_up(w, "laptop", "198.51.100.1:2000");
    struct client *next = i ? another_dc(w) : another_laptop(w);
    assert_int_equal(client_take_over(next, name_of(c)), 200);
    quic_close(h3_conn(next->s), REASON_INTERNAL, NULL);
    world_run(w, 100 * MS);
    if (!c->n_end) request(c, "GET", "/v1/self", NULL);
    assert_int_equal(c->n_end, 1);
    assert_int_equal(c->end.reason, REASON_REPLACED);
    world_free(w);
  }
}

/* The route is kept for it all the same. */
static void the_former_does_not_speak_again(void **state) {
  struct cast c = granted();
  struct client *next = another_laptop(c.w);
  assert_int_equal(client_take_over(next, name_of(c.agent)), 200);
  quic_close(h3_conn(next->s), REASON_INTERNAL, NULL);
  world_run(c.w, 100 * MS);
  assert_int_equal(c.agent->n_end, 1);
  assert_true(passes(c.w, &next->addr, to_connector));
  world_free(c.w);
}

static void the_former_is_closed_when_nobody_does(void **state) {
  struct cast c = granted();
  struct client *next = another_laptop(c.w);
  assert_int_equal(client_take_over(next, name_of(c.agent)), 200);
  for (int i = 0; i < 29; i++) {
    quic_ping(h3_conn(c.agent->s), c.w->now);
    world_run(c.w, SEC);
  }
  assert_int_equal(c.agent->n_end, 0);
  world_run(c.w, 2 * SEC);
  assert_int_equal(c.agent->n_end, 1);
  assert_int_equal(c.agent->end.reason, REASON_REPLACED);
  assert_int_equal(next->n_end, 0);
  assert_true(passes(c.w, &next->addr, to_connector));
  world_free(c.w);
}

static void only_the_own_connection_is_taken_over(void **state) {
  struct cast c = granted();
  struct client *other = agent_up(c.w, "other", "198.51.100.2:2000");
  struct client *third = another_laptop(c.w), *next = another_laptop(c.w);
  char name[40];
  snprintf(name, sizeof(name), "%s", name_of(c.agent));
  assert_int_equal(client_take_over(other, name), 404);
  assert_int_equal(client_take_over(next, "0011223344556677"), 404);
  next->events_over = 0;
  assert_int_equal(client_take_over(next, "x"), 400);
  next->events_over = 0;
  assert_int_equal(client_take_over(next, name_of(third)), 404);
  next->events_over = 0;
  assert_int_equal(client_take_over(next, name), 200);
  assert_int_equal(client_take_over(third, name), 404); /* it is over */
  assert_true(passes(c.w, &next->addr, to_connector));
  world_free(c.w);
}

static void a_narrower_certificate_has_to_register_anew(void **state) {
  static const char *const web[] = {"web", NULL};
  struct cast c = granted();
  struct client *next =
      beside(c.w, ROLE_CONNECTOR, "dc", "192.0.2.1:1001", web);
  assert_int_equal(client_take_over(next, name_of(c.connector)), 403);
  assert_int_equal(c.connector->events_over, 0);
  assert_true(flows(&c));
  world_free(c.w);
}

/* --- put out by their certificates */

/* The same relay, with a list that names this certificate. */
static void list(struct world *w, const struct client *whom) {
  static const char *const hosts[] = {"203.0.113.1", NULL};
  const struct tls *v[] = {whom->tls};
  struct sbuf crl = {0};
  struct pki_pem m;
  struct tls *t;
  char why[200];
  pki_list(w->pki, v, 1, &crl);
  pki_pem(w->pki, ROLE_RELAY, "eu1", hosts, &m);
  struct ztna_identity id = pki_identity(&m);
  id.crl = crl.s;
  id.crl_len = crl.len;
  assert_int_equal(tls_new(&t, &id, why, sizeof(why)), 0);
  relay_set_tls(w->relay, t, w->now);
  tls_free(w->relay_tls);
  w->relay_tls = t;
  pki_pem_done(&m);
  sbuf_done(&crl);
  world_run(w, 50 * MS);
}

static const char *closed_for(const struct client *c) {
  return text_at(event_of(c, "grant-closed"), "reason");
}

static void a_listed_agent_loses_everything_at_once(void **state) {
  struct cast c = granted();
  struct client *other = agent_up(c.w, "other", "198.51.100.2:2000");
  forget_events(c.connector);
  list(c.w, c.agent);
  assert_true(is_dead(&c));
  assert_string_equal(closed_for(c.connector), "revoked");
  assert_int_equal(c.agent->n_end, 1);
  assert_int_equal(c.agent->end.reason, REASON_REVOKED);
  client_dial(c.agent);
  world_run(c.w, SEC);
  assert_int_equal(c.agent->n_end, 2);
  assert_int_equal(c.agent->end.reason, REASON_REVOKED);
  assert_int_equal(other->n_end + c.connector->n_end, 0);
  assert_int_equal(grant(other, "web"), 201);
  /* The name may come back with another certificate. */
  assert_int_equal(grant(another_laptop(c.w), "web"), 201);
  world_free(c.w);
}

static void a_listed_agent_that_is_away_loses_its_routes(void **state) {
  struct cast c = granted();
  client_vanish(c.agent);
  world_run(c.w, 40 * SEC);
  assert_true(flows(&c));
  list(c.w, c.agent);
  assert_true(is_dead(&c));
  assert_string_equal(closed_for(c.connector), "revoked");
  world_free(c.w);
}

static void who_is_away_and_not_listed_keeps_them(void **state) {
  struct cast c = granted();
  struct client *other = agent_up(c.w, "other", "198.51.100.2:2000");
  client_vanish(c.agent);
  world_run(c.w, 40 * SEC);
  list(c.w, other);
  assert_true(flows(&c));
  world_free(c.w);
}

static void a_listed_connector_serves_nobody(void **state) {
  struct cast c = granted();
  forget_events(c.agent);
  list(c.w, c.connector);
  assert_true(is_dead(&c));
  assert_string_equal(closed_for(c.agent), "revoked");
  assert_int_equal(c.connector->end.reason, REASON_REVOKED);
  check_refused(c.agent, "web", 503, "no-connector");
  world_free(c.w);
}

/* Who has the next certificate already does not lose by the former's end. */
static void a_listed_former_connection_takes_nothing_along(void **state) {
  struct cast c = granted();
  struct client *next = another_laptop(c.w);
  assert_int_equal(client_take_over(next, name_of(c.agent)), 200);
  forget_events(c.connector);
  list(c.w, c.agent);
  assert_int_equal(c.agent->end.reason, REASON_REVOKED);
  assert_int_equal(next->n_end, 0);
  assert_null(event_of(c.connector, "grant-closed"));
  assert_true(passes(c.w, &next->addr, to_connector));
  world_free(c.w);
}

static void whose_ca_goes_is_put_out(void **state) {
  static const char *const hosts[] = {"203.0.113.1", NULL};
  struct cast c = granted();
  struct pki *other = pki_new("example.org", WORLD_NOW);
  struct tls *t = pki_tls(other, ROLE_RELAY, "eu1", hosts);
  forget_events(c.connector);
  relay_set_tls(c.w->relay, t, c.w->now);
  tls_free(c.w->relay_tls);
  c.w->relay_tls = t;
  world_run(c.w, 50 * MS);
  assert_true(is_dead(&c));
  assert_int_equal(c.agent->end.reason, REASON_BAD_CERTIFICATE);
  assert_int_equal(c.connector->end.reason, REASON_BAD_CERTIFICATE);
  pki_free(other);
  world_free(c.w);
}

/* --- run out */

static void the_relay_s_own_end_costs_no_route(void **state) {
  static const char *const hosts[] = {"203.0.113.1", NULL};
  struct cast c = {.w = world_new()};
  int64_t from = WORLD_NOW - 900;
  struct tls *brief =
      pki_tls_at(c.w->pki, ROLE_RELAY, "eu1", hosts, from, WORLD_NOW + 20);
  struct tls *former = c.w->relay_tls;
  relay_set_tls(c.w->relay, brief, c.w->now);
  c.connector = connector_up(c.w, "dc", "192.0.2.1:1000", "web db");
  c.agent = agent_up(c.w, "laptop", "198.51.100.1:2000");
  assert_int_equal(grant(c.agent, "web"), 201);
  note(c.connector);
  relay_set_tls(c.w->relay, former, c.w->now);
  tls_free(brief);
  world_run(c.w, 22 * SEC - c.w->now);
  assert_int_equal(c.agent->end.reason, REASON_CERTIFICATE_EXPIRED);
  assert_int_equal(c.connector->end.reason, REASON_CERTIFICATE_EXPIRED);
  assert_true(flows(&c));
  client_dial(c.agent);
  assert_int_equal(grant(c.agent, "web"), 201);
  assert_string_equal(text_at(answered(), "grant.id"), grant_id);
  world_free(c.w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(nothing_is_lost_between_two_connections),
      cmocka_unit_test(events_are_in_order_over_two_connections),
      cmocka_unit_test(a_connector_stays_registered),
      cmocka_unit_test(what_was_asked_on_one_is_answered_on_either),
      cmocka_unit_test(requests_of_the_former_take_nothing_back),
      cmocka_unit_test(who_registers_late_on_the_former_is_registered),
      cmocka_unit_test(who_was_left_does_not_come_back),
      cmocka_unit_test(the_former_ends_with_the_one_that_took_over),
      cmocka_unit_test(the_former_does_not_speak_again),
      cmocka_unit_test(the_former_is_closed_when_nobody_does),
      cmocka_unit_test(only_the_own_connection_is_taken_over),
      cmocka_unit_test(a_narrower_certificate_has_to_register_anew),
      cmocka_unit_test(a_listed_agent_loses_everything_at_once),
      cmocka_unit_test(a_listed_agent_that_is_away_loses_its_routes),
      cmocka_unit_test(who_is_away_and_not_listed_keeps_them),
      cmocka_unit_test(a_listed_connector_serves_nobody),
      cmocka_unit_test(a_listed_former_connection_takes_nothing_along),
      cmocka_unit_test(whose_ca_goes_is_put_out),
      cmocka_unit_test(the_relay_s_own_end_costs_no_route),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
