/* test_connector_way.c - one run of an agent has one link, however many ways
 * lead to it: what belongs to the link goes on when they come and go. */
#include "fake/connector_clients.c"

/* The same run of the agent: A over the first relay, B over the second. */
enum { A = 0, B = 2 };

static struct link *link_at(struct world *w, size_t i) {
  return w->c->links[i];
}

static int n_links(const struct world *w) {
  return (int)w->c->counters.n_links;
}

static void send_udp(struct agent *a, int context) {
  struct ztna_addr from = test_addr(T4 ":4000"), to = test_addr(V4 ":53");
  struct pkt *k = pool_get(&a->pool);

  k->len = (uint16_t)ip_build_udp(pkt_data(k), 1280, &from, &to, 0,
                                  (const uint8_t *)"hello", 5);
  path_send_packet(a->path, (uint16_t)context, k, a->w->now);
  run(a->w, 20 * MS);
}

static int n_sent(const struct world *w) {
  int n = 0;

  for (int i = 0; i < FLOWS; i++) n += w->backends[i].n_sent;
  return n;
}

/* It reaches the backend over this path. */
static bool passes(struct agent *a) {
  int was = n_sent(a->w);

  send_udp(a, 2);
  return n_sent(a->w) == was + 1;
}

/* What the backend says comes over this path. */
static bool hears(struct agent *a) {
  int was = a->n;

  connector_backend_in(a->w->c, a->w->now, 0, (const uint8_t *)"yes", 3);
  run(a->w, 20 * MS);
  return a->n == was + 1;
}

static void event(struct agent *a, const char *name, const char *what,
                  const char *id, const char *reason) {
  char text[256];

  snprintf(text, sizeof(text),
           "{\"event\":\"%s\",\"%s\":\"%s\",\"reason\":\"%s\"}", name, what, id,
           reason);
  line(relay_of(a), text);
  run(a->w, 50 * MS);
}

static void close_grant(struct agent *a, const char *reason) {
  event(a, "grant-closed", "grant", a->grant, reason);
}

static void close_route(struct agent *a, const char *reason) {
  event(a, "route-closed", "route", a->route, reason);
}

static void hello_to(struct agent *a, const char *link) {
  say(a, json_pack("{s:s, s:[s, s], s:s}", "type", "hello", "addresses", T4, T6,
                   "link", link));
  run(a->w, 50 * MS);
}

static void use(struct agent *a, int n) {
  say(a, json_pack("{s:s, s:i}", "type", "use", "n", n));
  run(a->w, 50 * MS);
}

static struct world *one_way(void) {
  struct world *w = tcp_world(0);

  w->v[B].relay = 1;
  strcpy(w->v[B].instance, w->v[A].instance);
  go_live(&w->v[A]);
  return w;
}

static void add_b(struct world *w) {
  route_request(&w->v[B]);
  assert_non_null(strstr(w->relays[1].answer, "ok"));
  dial(&w->v[B]);
}

static struct world *two_ways(void) {
  struct world *w = one_way();

  add_b(w);
  hello_to(&w->v[B], w->v[A].link);
  assert_int_equal(w->v[B].n_hello, 1);
  return w;
}

/* Another service by this route, which so stays. */
static void also_dns(struct agent *a) {
  char grant[33], h[17], ch[17], text[1024];

  snprintf(grant, sizeof(grant), "%032x", 0x900);
  snprintf(text, sizeof(text),
           "{\"event\":\"route-request\",\"route\":\"%s\",\"agent\":\"%s\","
           "\"instance\":\"%s\",\"handles\":{\"agent\":\"%s\","
           "\"connector\":\"%s\"},\"addresses\":[\"" T4 "\",\"" T6 "\"],"
           "\"rtt\":10,\"grant\":{\"id\":\"%s\",\"route\":\"%s\","
           "\"service\":\"dns\",\"addresses\":[\"10.100.0.3\"],"
           "\"protocols\":[\"udp\"],\"ports\":[[53,53,\"udp\"]],"
           "\"lease\":600000,\"rule\":\"r\"}}",
           a->route, a->spiffe, a->instance,
           hex_print(a->handle, HANDLE_LEN, h),
           hex_print(a->connector_handle, HANDLE_LEN, ch), grant, a->route);
  line(relay_of(a), text);
  run(a->w, 100 * MS);
  assert_non_null(strstr(relay_of(a)->answer, "ok"));
}

/* --- what is one link --- */

static void routes_of_two_relays_are_one_link(void **state) {
  struct world *w = two_ways();

  assert_int_equal(n_links(w), 1);
  assert_int_equal(link_at(w, 0)->ways.n, 2);
  assert_string_equal(w->v[B].link, w->v[A].link);
  assert_int_equal(w->v[A].n_end, 0);
  done(w);
}

static void what_was_opened_on_one_path_goes_over_both(void **state) {
  struct world *w = two_ways();

  assert_true(passes(&w->v[A]));
  assert_true(passes(&w->v[B]));
  assert_int_equal(n_open(w), 1); /* one conversation */
  assert_true(hears(&w->v[A]));   /* nobody said that B is to be used */
  done(w);
}

static void another_instance_is_another_link(void **state) {
  struct world *w = one_way();

  w->v[B].instance[0] = 'f';
  go_live(&w->v[B]);
  assert_int_equal(n_links(w), 2);
  assert_string_not_equal(w->v[B].link, w->v[A].link);
  assert_true(passes(&w->v[A]));
  assert_true(passes(&w->v[B]));
  assert_int_equal(n_open(w), 1 + 1);
  close_route(&w->v[A], "replaced");
  assert_int_equal(n_links(w), 1);
  done(w);
}

static void another_identity_is_another_link(void **state) {
  struct world *w = one_way();

  strcpy(w->v[1].instance, w->v[A].instance);
  go_live(&w->v[1]);
  assert_int_equal(n_links(w), 2);
  hello_to(&w->v[1], w->v[A].link); /* a stolen id */
  assert_string_not_equal(w->v[1].link, w->v[A].link);
  assert_true(passes(&w->v[A]));
  done(w);
}

static void a_route_belongs_to_its_relay(void **state) {
  struct world *w = one_way();
  struct agent *thief = &w->v[B];

  memcpy(thief->route, w->v[A].route, sizeof(thief->route));
  close_route(thief, "revoked");
  assert_true(passes(&w->v[A]));
  memcpy(thief->grant, w->v[A].grant, sizeof(thief->grant));
  close_grant(thief, "revoked");
  assert_true(passes(&w->v[A]));
  done(w);
}

static void
a_relay_that_makes_many_routes_fills_only_its_own_places(void **state) {
  struct world *w = two_ways();
  struct link *l = link_at(w, 0);

  for (int i = 0; i < 2 * WAYS_MAX; i++) {
    snprintf(w->v[B].route, sizeof(w->v[B].route), "%032x", 0x700 + i);
    snprintf(w->v[B].grant, sizeof(w->v[B].grant), "%032x", 0x800 + i);
    memset(w->v[B].connector_handle, i, HANDLE_LEN);
    route_request(&w->v[B]);
    assert_non_null(strstr(w->relays[1].answer, "ok"));
    assert_in_range(l->ways.n, 2, 3);
    assert_in_range(l->n_grants, 2, 3);
  }
  assert_int_equal(n_links(w), 1);
  assert_true(passes(&w->v[A]));
  done(w);
}

/* --- hello --- */

static void an_id_that_is_not_the_links_begins_anew(void **state) {
  struct world *w = one_way();
  char was[33];

  add_b(w);
  strcpy(was, w->v[A].link);
  hello_to(&w->v[B], "00112233445566778899aabbccddeeff");
  assert_string_not_equal(w->v[B].link, was);
  assert_int_equal(w->v[A].n_end, 1);
  assert_string_equal(w->v[A].reason, "replaced");
  assert_false(passes(&w->v[B])); /* its context is gone */
  open_context(&w->v[B], 2);
  run(w, 50 * MS);
  assert_true(passes(&w->v[B]));
  dial(&w->v[A]); /* the route is still there */
  hello_to(&w->v[A], w->v[B].link);
  assert_true(passes(&w->v[A]));
  done(w);
}

static void
without_an_id_it_begins_anew_and_counts_uses_from_one(void **state) {
  struct world *w = two_ways();

  use(&w->v[B], 7);
  hello(&w->v[A]);
  open_context(&w->v[A], 2);
  run(w, 50 * MS);
  assert_int_equal(w->v[B].n_end, 1);
  dial(&w->v[B]);
  hello_to(&w->v[B], w->v[A].link);
  use(&w->v[B], 1);
  assert_true(passes(&w->v[B]));
  assert_true(hears(&w->v[B]));
  done(w);
}

static void nothing_passes_before_hello(void **state) {
  struct world *w = one_way();
  struct agent *b = &w->v[B];

  add_b(w);
  assert_false(passes(b));
  assert_int_equal(w->c->counters.drops[REASON_WRONG_SOURCE], 1);
  open_context(b, 2);
  use(b, 1);
  assert_int_equal(b->n_refused, 1);
  assert_string_equal(b->reason, "malformed");
  start(&clients[0], b, V4 ":80");
  expect_answer(&clients[0], REASON_NOT_ALLOWED);
  assert_int_equal(n_servers(w), 0);
  say(b, json_pack("{s:s, s:i}", "type", "close", "context", 2));
  run(w, 50 * MS);
  assert_true(passes(&w->v[A]));
  assert_true(hears(&w->v[A]));
  done(w);
}

static void a_new_connection_of_the_same_route_has_to_join(void **state) {
  struct world *w = one_way();

  assert_true(passes(&w->v[A]));
  dial(&w->v[A]);
  assert_false(passes(&w->v[A]));
  hello_to(&w->v[A], w->v[A].link);
  assert_true(passes(&w->v[A])); /* contexts are the link's */
  assert_true(hears(&w->v[A]));
  done(w);
}

static void what_is_open_may_be_opened_again(void **state) {
  struct world *w = two_ways();
  struct agent *a = &w->v[A], *b = &w->v[B];

  open_context(b, 2); /* the same under the other relay's grant */
  run(w, 50 * MS);
  assert_int_equal(b->n_opened, 1);
  assert_int_equal(w->c->counters.n_opened, 1);
  assert_string_equal(context_of(link_at(w, 0), 2)->grant->id, b->grant);
  memset(a->grant, 'f', 32); /* unknown: as it was */
  open_context(a, 2);
  run(w, 50 * MS);
  assert_int_equal(a->n_opened, 2);
  assert_string_equal(context_of(link_at(w, 0), 2)->grant->id, b->grant);
  assert_int_equal(w->relays[0].n_deletes + w->relays[1].n_deletes, 2);
  open_context(a, 4);
  say(a, json_pack("{s:s, s:i, s:s, s:s}", "type", "open", "context", 2,
                   "service", "dns", "grant", b->grant));
  run(w, 50 * MS);
  assert_int_equal(a->n_refused, 2);
  assert_true(passes(a));
  done(w);
}

/* --- which path --- */

static void replies_go_where_the_agent_says(void **state) {
  struct world *w = two_ways();
  struct agent *a = &w->v[A], *b = &w->v[B];

  assert_true(passes(a));
  use(b, 2);
  assert_true(hears(b));
  use(a, 2); /* not higher: old */
  use(a, 1);
  assert_true(hears(b));
  assert_true(passes(a)); /* what comes elsewhere changes nothing */
  assert_true(hears(b));
  use(a, 3);
  assert_true(hears(a));
  say(a, json_pack("{s:s, s:i}", "type", "use", "n", -1));
  run(w, 50 * MS);
  assert_int_equal(a->n_end, 1); /* malformed */
  assert_int_equal(w->c->counters.n_moves, 3);
  assert_int_equal(w->c->counters.n_failovers, 1);
  done(w);
}

static void a_silent_path_is_left_and_returned_to(void **state) {
  struct world *w = two_ways();
  struct agent *a = &w->v[A], *b = &w->v[B];
  int n = 0;

  assert_true(passes(b));
  use(b, 1);
  assert_true(hears(b));
  w->cut[B] = true;
  for (int i = 0; i < 100; i++) n += hears(a);
  assert_in_range(n, 60, 100); /* 20 ms each: within 800 ms */
  assert_int_equal(w->c->counters.n_failovers, 1);
  w->cut[B] = false;
  run(w, 3 * SEC);
  assert_true(hears(b)); /* nobody said otherwise */
  done(w);
}

static void what_waits_on_a_path_that_ends_goes_by_the_other(void **state) {
  struct world *w = two_ways();
  struct agent *a = &w->v[A], *b = &w->v[B];
  int n = a->n;

  assert_true(passes(b));
  use(b, 1);
  path_hold(link_at(w, 0)->path, true);
  for (int i = 0; i < 3; i++) assert_false(hears(b));
  path_close(b->path, REASON_IDLE);
  run(w, 50 * MS);
  assert_int_equal(a->n, n + 3);
  done(w);
}

/* --- grants --- */

static void another_relays_grant_carries_on(void **state) {
  struct world *w = two_ways();
  struct agent *a = &w->v[A], *b = &w->v[B];
  struct client *c = opened(a, 0);

  close_grant(a, "idle"); /* given back */
  assert_int_equal(a->n_closed + b->n_closed, 0);
  assert_true(passes(b));
  run(w, SEC);
  assert_int_equal(a->n_end, 1); /* nothing more came by that route */
  assert_int_equal(link_at(w, 0)->ways.n, 1);
  assert_true(passes(b));
  assert_false(c->over);
  assert_int_equal(tcpflow_resume(&c->f, b->path), 0);
  run(w, 200 * MS);
  send(c, "on", 2);
  assert_memory_equal(w->servers[0].got, "on", 2);
  done(w);
}

static void a_refusal_by_any_relay_wins(void **state) {
  struct world *w = two_ways();
  struct agent *a = &w->v[A], *b = &w->v[B];
  struct client *c = opened(b, 0);

  close_grant(a, "revoked");
  assert_int_equal(a->n_closed + b->n_closed, 1);
  assert_string_equal(a->reason, "revoked");
  assert_int_equal(link_at(w, 0)->n_grants, 0);
  assert_int_equal(w->relays[0].n_deletes, 0);
  assert_int_equal(w->relays[1].n_deletes, 1); /* it would renew it for ever */
  assert_non_null(strstr(w->relays[1].answer, b->grant));
  assert_false(passes(a));
  assert_false(passes(b));
  assert_true(c->over);
  assert_int_equal(c->why, REASON_REVOKED);
  run(w, 2 * SEC);
  assert_int_equal(n_links(w), 0);
  assert_int_equal(a->n_end, 1);
  assert_int_equal(b->n_end, 1);
  done(w);
}

static void a_refusal_holds_for_other_links_of_the_agent(void **state) {
  struct world *w = one_way();

  w->v[B].instance[0] = 'f';
  go_live(&w->v[B]);
  close_grant(&w->v[A], "not-allowed");
  assert_false(passes(&w->v[B]));
  run(w, 2 * SEC);
  assert_int_equal(n_links(w), 0);
  done(w);
}

static void a_closed_route_ends_nothing_that_has_another(void **state) {
  struct world *w = two_ways();
  struct agent *a = &w->v[A], *b = &w->v[B];
  struct client *c = opened(b, 0);

  close_route(a, "idle");
  assert_int_equal(a->n_end, 1);
  assert_int_equal(b->n_closed, 0);
  assert_true(passes(b));
  assert_true(hears(b));
  run(w, 20 * SEC);
  assert_true(passes(b));
  send(c, "on", 2);
  assert_memory_equal(w->servers[0].got, "on", 2);
  done(w);
}

/* Its only grant came by the route that was closed: the agent has 10 s to get
 * another. */
static void a_path_that_works_outlives_its_grants_route(void **state) {
  struct world *w = two_ways();
  struct agent *a = &w->v[A], *b = &w->v[B];
  struct client *c;

  also_dns(b);
  close_grant(b, "idle");
  c = opened(b, 0);
  close_route(a, "idle");
  run(w, 9 * SEC);
  assert_true(passes(b));
  send(c, "on", 2);
  assert_memory_equal(w->servers[0].got, "on", 2);
  assert_int_equal(b->n_closed, 0);
  run(w, 2 * SEC);
  assert_int_equal(b->n_closed, 1);
  assert_string_equal(b->reason, "expired");
  assert_false(passes(b));
  done(w);
}

static void a_route_that_is_asked_for_anew_takes_over(void **state) {
  struct world *w = two_ways();
  struct agent *a = &w->v[A], *b = &w->v[B];
  struct client *c;

  also_dns(b);
  close_grant(b, "idle");
  c = opened(b, 0);
  close_route(a, "idle");
  run(w, 5 * SEC);
  a->route[0] = 'e';
  a->grant[0] = 'e';
  a->connector_handle[0] = 0xe;
  route_request(a);
  run(w, 20 * SEC);
  assert_int_equal(b->n_closed, 0);
  assert_true(passes(b));
  send(c, "on", 2);
  assert_memory_equal(w->servers[0].got, "on", 2);
  done(w);
}

static void a_refused_route_ends_what_came_by_it(void **state) {
  struct world *w = two_ways();
  struct agent *a = &w->v[A], *b = &w->v[B];

  assert_true(passes(a));
  close_route(a, "replaced");
  assert_int_equal(link_at(w, 0)->n_grants, 1);
  assert_true(passes(b)); /* under B's */
  close_route(b, "replaced");
  assert_int_equal(n_links(w), 0);
  assert_int_equal(n_open(w), 0);
  done(w);
}

/* --- asked by people --- */

static void status_tells_of_every_path(void **state) {
  struct world *w = two_ways();
  json_t *s = json_object(), *l, *paths;

  connector_status(w->c, s);
  l = json_array_get(json_object_get(s, "links"), 0);
  paths = json_object_get(l, "paths");
  assert_int_equal(json_array_size(paths), 2);
  assert_string_equal(json_string_value(json_object_get(l, "link")),
                      w->v[A].link);
  assert_string_equal(json_string_value(json_object_get(l, "relay")),
                      "relay.test:4433");
  assert_true(
      json_is_true(json_object_get(json_object_get(l, "path"), "live")));
  for (int i = 0; i < 2; i++) {
    json_t *p = json_array_get(paths, (size_t)i);

    assert_string_equal(json_string_value(json_object_get(p, "kind")), "relay");
    assert_string_equal(json_string_value(json_object_get(p, "route")),
                        w->v[i ? B : A].route);
    assert_int_equal(json_is_true(json_object_get(p, "chosen")), i == 0);
  }
  json_decref(s);
  done(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(routes_of_two_relays_are_one_link),
      TEST(what_was_opened_on_one_path_goes_over_both),
      TEST(another_instance_is_another_link),
      TEST(another_identity_is_another_link),
      TEST(a_route_belongs_to_its_relay),
      TEST(a_relay_that_makes_many_routes_fills_only_its_own_places),
      TEST(an_id_that_is_not_the_links_begins_anew),
      TEST(without_an_id_it_begins_anew_and_counts_uses_from_one),
      TEST(nothing_passes_before_hello),
      TEST(a_new_connection_of_the_same_route_has_to_join),
      TEST(what_is_open_may_be_opened_again),
      TEST(replies_go_where_the_agent_says),
      TEST(a_silent_path_is_left_and_returned_to),
      TEST(what_waits_on_a_path_that_ends_goes_by_the_other),
      TEST(another_relays_grant_carries_on),
      TEST(a_refusal_by_any_relay_wins),
      TEST(a_refusal_holds_for_other_links_of_the_agent),
      TEST(a_closed_route_ends_nothing_that_has_another),
      TEST(a_path_that_works_outlives_its_grants_route),
      TEST(a_route_that_is_asked_for_anew_takes_over),
      TEST(a_refused_route_ends_what_came_by_it),
      TEST(status_tells_of_every_path),
  };
  struct seeded rnd;
  int failed;

  n_relays = 2;
  grant_protocols = "\"udp\",\"tcp\",\"icmp\"";
  grant_ports = "[[53,99,\"udp\"],[80,90,\"tcp\"]]";
  begin(&rnd);
  failed = cmocka_run_group_tests(tests, NULL, NULL);
  end();
  return failed;
}
