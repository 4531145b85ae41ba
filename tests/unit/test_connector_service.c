/* test_connector_service.c - other services while the connector runs: who is
 * not concerned notices nothing, who is hears why. */
#include "fake/connector_clients.c"

#define DNS4 "10.100.0.3"

enum { WEB_UDP, WEB_TCP, WEB_OTHER, WEB_BACKENDS };

/* What a test configures. */
struct list {
  struct connector_backend web[WEB_BACKENDS], dns[1], more[1];
  struct connector_service v[8];
  size_t n;
};

static struct list list_of_two(void) {
  return (struct list){
      .web = {{.protocol = PROTO_UDP, .port = 53, .to = "web:53"},
              {.protocol = PROTO_TCP, .port = 80, .to = "web:80"},
              {.protocol = PROTO_TCP, .port = 81, .to = "web:81"}},
      .dns = {{.protocol = PROTO_UDP, .port = 53, .to = "dns:53"}},
      .more = {{.protocol = PROTO_UDP, .port = 53, .to = "more:53"}},
      .v = {{.id = "web", .n_backends = WEB_BACKENDS},
            {.id = "dns", .n_backends = 1}},
      .n = 2};
}

/* Services whose names begin with the same letter have the same backends. */
static void set(struct world *w, struct list *l) {
  for (size_t i = 0; i < l->n; i++)
    l->v[i].backends = l->v[i].id[0] == 'w'   ? l->web
                       : l->v[i].id[0] == 'd' ? l->dns
                                              : l->more;
  assert_int_equal(connector_set_services(w->c, l->v, l->n, w->now), 0);
}

/* The skin looks up all that is wanted: "at" is where it is. */
static int resolve(struct world *w, const char *at) {
  struct ztna_addr to = test_addr(at);
  size_t service, backend;
  int n = 0;

  while (connector_wants_backend(w->c, &service, &backend)) {
    connector_set_backend(w->c, service, backend, &to, 1);
    n++;
  }
  return n;
}

static void reload(struct world *w, struct list *l, const char *at) {
  set(w, l);
  resolve(w, at);
  run(w, 100 * MS);
}

/* A grant for a service, on the route that web came by. */
static void go_more(struct agent *a, const char *service, const char *addr,
                    int context) {
  char text[1024], h[17], ch[17], grant[33];

  snprintf(grant, sizeof(grant), "%032x", 0x1000 * context + a->route[31]);
  snprintf(
      text, sizeof(text),
      "{\"event\":\"route-request\",\"route\":\"%s\",\"agent\":\"%s\","
      "\"handles\":{\"agent\":\"%s\",\"connector\":\"%s\"},"
      "\"addresses\":[\"" T4 "\",\"" T6 "\"],\"rtt\":10,\"grant\":{"
      "\"id\":\"%s\",\"route\":\"%s\",\"service\":\"%s\",\"addresses\":"
      "[\"%s\"],\"protocols\":[\"udp\",\"tcp\"],\"ports\":[[1,65535,\"any\"]],"
      "\"lease\":600000,\"rule\":\"r\"}}",
      a->route, a->spiffe, hex_print(a->handle, HANDLE_LEN, h),
      hex_print(a->connector_handle, HANDLE_LEN, ch), grant, a->route, service,
      addr);
  line(relay_of(a), text);
  run(a->w, 100 * MS);
  say(a, json_pack("{s:s, s:i, s:s, s:s}", "type", "open", "context", context,
                   "service", service, "grant", grant));
  run(a->w, 100 * MS);
}

static void send_udp(struct agent *a, int context, const char *dst) {
  struct ztna_addr from = test_addr(T4 ":4000"), to = test_addr(dst);
  struct pkt *k = pool_get(&a->pool);

  k->len = (uint16_t)ip_build_udp(pkt_data(k), 1280, &from, &to, 0,
                                  (const uint8_t *)"hello", 5);
  path_send_packet(a->path, (uint16_t)context, k, a->w->now);
  run(a->w, 20 * MS);
}

/* Agents with web as context 2, reachable at these addresses. */
static struct world *reload_world(int n_agents) {
  struct list l = list_of_two();
  struct world *w;

  memset(clients, 0, sizeof(clients));
  w = world_new();
  reload(w, &l, "192.0.2.1:1");
  for (int i = 0; i < n_agents; i++) go_live(&w->v[i]);
  return w;
}

static bool goes_on(struct client *c) {
  size_t was = c->n_got;

  if (c->over) return false;
  serve(c->a->w, (uint32_t)(c - clients), "!", 1);
  return c->n_got == was + 1;
}

static void expect_at(const struct ztna_addr *is, const char *want) {
  struct ztna_addr to = test_addr(want);

  assert_true(ztna_addr_equal(is, &to));
}

/* --- who is not concerned --- */

static void the_same_services_again_change_nothing(void **state) {
  struct world *w = reload_world(1);
  struct list l = list_of_two();
  struct client *c = opened(&w->v[0], 0);
  int n = w->relays[0].n_registered;

  set(w, &l);
  assert_int_equal(resolve(w, "192.0.2.9:9"), 0);
  run(w, SEC);
  assert_int_equal(w->relays[0].n_registered, n);
  assert_true(goes_on(c));
  done(w);
}

static void flows_outlive_a_hundred_changes_of_others(void **state) {
  struct world *w = reload_world(2);
  struct client *c[] = {opened(&w->v[0], 0), opened(&w->v[1], 1)};
  uint64_t random = 42;
  int n_opened;

  send_udp(&w->v[0], 2, V4 ":53");
  n_opened = w->backends[0].n_opened;
  for (int round = 0; round < 100; round++) {
    static const char *const ids[] = {"a1", "a2", "a3", "d1", "d2", "dns"};
    struct list l = list_of_two();
    char to[16];

    snprintf(to, sizeof(to), "to:%d", 1 + (int)(test_random(&random) % 3));
    l.dns[0].to = l.more[0].to = to;
    l.n = 0;
    for (size_t i = 0; i < N_OF(ids); i++)
      if (test_random(&random) % 2)
        l.v[l.n++] = (struct connector_service){.id = ids[i], .n_backends = 1};
    l.v[l.n] = l.v[0];
    l.v[l.n == 0 ? 0 : test_random(&random) % l.n] =
        (struct connector_service){.id = "web", .n_backends = WEB_BACKENDS};
    l.n += l.n == 0;
    reload(w, &l, "192.0.2.7:7");
    send_udp(&w->v[0], 2, V4 ":53");
    assert_true(goes_on(c[0]) && goes_on(c[1]));
    assert_int_equal(w->backends[0].n_sent, 2 + round);
    assert_int_equal(w->backends[0].n_opened, n_opened);
    assert_int_equal(w->v[0].n_closed, 0);
  }
  assert_true(w->relays[0].n_registered > 50);
  done(w);
}

/* The relay's answer to a registration says nothing of them here. */
static void grants_need_no_confirmation_after_a_reload(void **state) {
  struct world *w = reload_world(1);
  struct list l = list_of_two();
  struct client *c = opened(&w->v[0], 0);

  l.n = 1;
  reload(w, &l, "192.0.2.1:1");
  run(w, 15 * SEC);
  assert_true(goes_on(c));
  done(w);
}

/* --- added --- */

static void an_added_service_is_told_and_served(void **state) {
  struct world *w = reload_world(1);
  struct list l = list_of_two();
  int n = w->relays[0].n_registered;

  l.v[l.n++] = (struct connector_service){.id = "more", .n_backends = 1};
  set(w, &l);
  assert_int_equal(resolve(w, "192.0.2.5:5"), 1);
  run(w, 100 * MS);
  assert_int_equal(w->relays[0].n_registered, n + 1);
  assert_non_null(strstr(w->relays[0].services, "\"id\":\"more\""));
  go_more(&w->v[0], "more", "10.100.0.9", 4);
  assert_int_equal(w->v[0].n_opened, 2);
  send_udp(&w->v[0], 4, "10.100.0.9:53");
  expect_at(&w->backends[0].to, "192.0.2.5:5");
  done(w);
}

/* --- removed --- */

static void all_of_a_removed_service_ends(void **state) {
  struct world *w = reload_world(1);
  struct agent *a = &w->v[0];
  struct list l = list_of_two();
  struct client *c = opened(a, 0);

  go_more(a, "dns", DNS4, 4);
  send_udp(a, 2, V4 ":53");
  send_udp(a, 4, DNS4 ":53");
  l.v[0] = l.v[1];
  l.n = 1;
  reload(w, &l, "192.0.2.1:1");
  assert_null(strstr(w->relays[0].services, "\"id\":\"web\""));
  assert_true(c->over);
  assert_string_equal(reason_name(c->why), "no-such-service");
  assert_int_equal(a->n_closed, 1);
  assert_string_equal(a->reason, "no-such-service");
  assert_int_equal(n_servers(w), 0);
  assert_false(w->backends[0].open);
  assert_int_equal(w->c->counters.n_tcp_flows, 0);

  run(w, 3 * SEC);
  assert_int_equal(a->n_end, 0); /* the path is of others, too */
  send_udp(a, 4, DNS4 ":53");
  assert_int_equal(w->backends[1].n_sent, 2);
  start(&clients[1], a, V4 ":80");
  expect_answer(&clients[1], REASON_NOT_ALLOWED);
  done(w);
}

static void flows_without_a_path_end_with_their_service(void **state) {
  struct world *w = reload_world(1);
  struct list l = list_of_two();

  opened(&w->v[0], 0);
  w->cut[0] = true;
  path_close(w->c->links[0]->path, REASON_IDLE);
  run(w, 100 * MS);
  assert_int_equal(w->c->counters.n_tcp_flows, 1);
  l.v[0] = l.v[1];
  l.n = 1;
  reload(w, &l, "192.0.2.1:1");
  assert_int_equal(w->c->counters.n_tcp_flows, 0);
  assert_int_equal(n_servers(w), 0);
  done(w);
}

static void a_service_that_returns_begins_anew(void **state) {
  struct world *w = reload_world(1);
  struct agent *a = &w->v[0];
  struct list l = list_of_two(), without = list_of_two();

  send_udp(a, 2, V4 ":53");
  without.v[0] = without.v[1];
  without.n = 1;
  reload(w, &without, "192.0.2.1:1");
  reload(w, &l, "192.0.2.44:44");
  assert_int_equal(w->v[0].n_end, 0);
  send_udp(a, 2, V4 ":53"); /* the context is closed */
  assert_int_equal(w->backends[0].n_sent, 1);
  go_more(a, "web", V4, 6);
  send_udp(a, 6, V4 ":53");
  assert_int_equal(w->backends[0].n_opened, 2);
  expect_at(&w->backends[0].to, "192.0.2.44:44");
  done(w);
}

static void without_any_grant_the_path_ends_later(void **state) {
  struct world *w = reload_world(1);
  struct list l = list_of_two();

  l.v[0] = l.v[1];
  l.n = 1;
  set(w, &l);
  w->c->sweep_at = w->now; /* whenever that is */
  run(w, 500 * MS);
  assert_int_equal(w->v[0].n_closed, 1);
  assert_int_equal(w->v[0].n_end, 0);
  run(w, 3 * SEC);
  assert_int_equal(w->v[0].n_end, 1);
  assert_int_equal(w->c->counters.n_links, 0);
  done(w);
}

/* --- changed backends --- */

static void a_backend_that_moved_is_for_new_flows(void **state) {
  struct world *w = reload_world(1);
  struct list l = list_of_two();
  struct client *c = opened(&w->v[0], 0);

  l.web[WEB_TCP].to = "elsewhere:80";
  set(w, &l);
  start(&clients[1], &w->v[0], V4 ":80"); /* where it was is nobody's guess */
  expect_answer(&clients[1], REASON_BACKEND_DOWN);
  assert_int_equal(resolve(w, "192.0.2.8:8"), 1);
  start(&clients[2], &w->v[0], V4 ":80");
  expect_answer(&clients[2], REASON_NONE);
  expect_at(&w->servers[1].to[0], "192.0.2.8:8");
  assert_true(goes_on(c));
  done(w);
}

static void udp_follows_a_backend_that_moved_when_it_fails(void **state) {
  struct world *w = reload_world(1);
  struct list l = list_of_two();

  send_udp(&w->v[0], 2, V4 ":53");
  l.web[WEB_UDP].to = "elsewhere:53";
  reload(w, &l, "192.0.2.8:8");
  send_udp(&w->v[0], 2, V4 ":53");
  assert_int_equal(w->backends[0].n_sent, 2);
  assert_int_equal(w->backends[0].n_opened, 1);
  connector_backend_failed(w->c, w->now, 0, CONNECTOR_REFUSED, 0);
  assert_int_equal(resolve(w, "192.0.2.99:9"), 0); /* that is not its place */
  send_udp(&w->v[0], 2, V4 ":53");
  assert_int_equal(w->backends[0].n_opened, 2);
  expect_at(&w->backends[0].to, "192.0.2.8:8");
  done(w);
}

static void a_removed_port_ends_udp_and_keeps_tcp(void **state) {
  struct world *w = reload_world(1);
  struct list l = list_of_two();
  struct client *c = opened(&w->v[0], 0);

  send_udp(&w->v[0], 2, V4 ":53");
  memmove(l.web, &l.web[WEB_OTHER], sizeof(*l.web));
  l.v[0].n_backends = 1;
  reload(w, &l, "192.0.2.8:8");
  assert_false(w->backends[0].open);
  send_udp(&w->v[0], 2, V4 ":53");
  assert_int_equal(w->backends[0].n_sent, 1);
  assert_int_equal(w->c->counters.drops[REASON_PORT_NOT_ALLOWED], 1);
  assert_true(goes_on(c));
  start(&clients[1], &w->v[0], V4 ":80");
  expect_answer(&clients[1], REASON_PORT_NOT_ALLOWED);
  start(&clients[2], &w->v[0], V4 ":81"); /* and this one is where it was */
  expect_answer(&clients[2], REASON_NONE);
  expect_at(&w->servers[1].to[0], "192.0.2.1:1");
  done(w);
}

static void an_address_may_pass_to_another_service(void **state) {
  struct world *w = reload_world(1);
  struct agent *a = &w->v[0];
  struct list l = list_of_two();

  l.dns[0].to = "other:53";
  reload(w, &l, "192.0.2.6:6");
  send_udp(a, 2, V4 ":53");
  go_more(a, "dns", V4, 4);
  send_udp(a, 4, V4 ":53");
  assert_int_equal(w->backends[0].n_opened, 2);
  expect_at(&w->backends[0].to, "192.0.2.6:6");
  done(w);
}

/* --- who may --- */

static void narrower_agents_end_the_others_flows(void **state) {
  static const char *const only[] = {"spiffe://example.org/agent/a1"};
  struct world *w = reload_world(2);
  struct list l = list_of_two(), open = list_of_two();
  struct client *c[] = {opened(&w->v[0], 0), opened(&w->v[1], 1)};

  send_udp(&w->v[0], 2, V4 ":53");
  send_udp(&w->v[1], 2, V4 ":53");
  l.v[0].agents = only;
  l.v[0].n_agents = 1;
  reload(w, &l, "192.0.2.8:8");
  assert_true(c[0]->over);
  assert_string_equal(reason_name(c[0]->why), "not-allowed");
  assert_string_equal(w->v[0].reason, "not-allowed");
  assert_false(w->backends[0].open);
  assert_non_null(strstr(w->relays[0].answer, "/v1/grants/"));
  assert_non_null(strstr(w->relays[0].answer, w->v[0].grant));
  assert_true(goes_on(c[1]));
  send_udp(&w->v[1], 2, V4 ":53");
  assert_int_equal(w->backends[1].n_sent, 2);

  route_request(&w->v[0]);
  assert_non_null(strstr(w->relays[0].answer, "not-allowed"));
  reload(w, &open, "192.0.2.8:8");
  route_request(&w->v[0]);
  assert_non_null(strstr(w->relays[0].answer, "ok"));
  done(w);
}

/* That of a relay that could not be told when it was ended here. */
static void a_grant_that_only_the_relay_has_is_given_back(void **state) {
  struct world *w = reload_world(1);
  struct agent *a = &w->v[0];
  char path[80];

  snprintf(path, sizeof(path), "/v1/grants/%032x ", 0xabc);
  for (int i = 0; i < 20; i++) {
    snprintf(a->grant, sizeof(a->grant), "%032x", i ? 0xdef : 0xabc);
    open_context(a, 4);
    run(w, 20 * MS);
    if (i == 0)
      assert_ptr_equal(strstr(w->relays[0].answer, path), w->relays[0].answer);
  }
  assert_int_equal(a->n_refused, 20);
  assert_string_equal(a->reason, "not-allowed");
  assert_int_equal(w->relays[0].n_deletes,
                   5); /* an agent cannot make us busy with it */
  strcpy(a->grant, "../connector");
  run(w, 2 * SEC);
  open_context(a, 4);
  run(w, 100 * MS);
  assert_int_equal(w->relays[0].n_deletes, 5);
  done(w);
}

/* --- checks --- */

static const struct health_rule rule = {
    .every = SEC, .timeout = 300 * MS, .fail_after = 2, .pass_after = 1};

static struct health *health(struct world *w) {
  return &service_find(w->c, "web")->health;
}

/* Operations that wait, as letters; their results are NULL. */
static const char *checks(struct world *w, bool answer) {
  static char text[32];
  struct connector_check_op op;
  size_t n = 0;

  while (connector_check_next(w->c, &op)) {
    bool begins = op.kind == CONNECTOR_CHECK_START;

    assert_string_equal(w->c->services[op.service]->id, "web");
    text[n++] = begins ? 'S' : 'C';
    if (begins && answer) connector_check_done(w->c, w->now, op.service, NULL);
  }
  text[n] = 0;
  return text;
}

static struct world *checked_world(struct list *l) {
  struct world *w = reload_world(0);

  *l = list_of_two();
  l->v[0].check = rule;
  l->v[0].check_backend = WEB_TCP;
  reload(w, l, "192.0.2.1:1");
  assert_string_equal(checks(w, true), "S");
  run(w, 100 * MS);
  assert_true(health_is_up(health(w)));
  return w;
}

static void a_check_that_stays_goes_on(void **state) {
  struct list l;
  struct world *w = checked_world(&l);

  run(w, SEC);
  assert_string_equal(checks(w, false), "S");
  l.v[2] = l.v[0]; /* under another number, with another first backend */
  l.v[0] = (struct connector_service){.id = "more", .n_backends = 1};
  l.n = 3;
  set(w, &l);
  assert_string_equal(checks(w, false), "");
  assert_true(health(w)->running);
  connector_check_done(w->c, w->now, 2, NULL);
  assert_int_equal(health(w)->n_passed, 2);
  done(w);
}

static void another_check_begins_at_once_and_withdraws_nothing(void **state) {
  struct list l;
  struct world *w = checked_world(&l);

  run(w, SEC);
  assert_string_equal(checks(w, false), "S");
  l.v[0].check.every = 10 * SEC;
  set(w, &l);
  assert_true(health_is_up(health(w)));
  assert_string_equal(checks(w, false), "C");
  run(w, MS);
  assert_string_equal(checks(w, true), "S");
  l.v[0].check_changed = true;
  set(w, &l);
  run(w, MS);
  assert_string_equal(checks(w, true), "S");
  l.v[0].check = (struct health_rule){0};
  set(w, &l);
  run(w, 30 * SEC);
  assert_string_equal(checks(w, true), "");
  assert_true(health_is_up(health(w)));
  done(w);
}

static void a_moved_backend_is_down_until_it_was_asked(void **state) {
  struct list l;
  struct world *w = checked_world(&l);

  l.web[WEB_TCP].to = "elsewhere:80";
  reload(w, &l, "192.0.2.8:8");
  assert_non_null(strstr(w->relays[0].services, "\"health\":\"down\""));
  assert_false(health_is_up(health(w)));
  assert_string_equal(checks(w, true), "S");
  assert_true(health_is_up(health(w)));
  run(w, 100 * MS);
  assert_non_null(strstr(w->relays[0].answer, "\"health\":\"up\""));
  done(w);
}

/* Users are refused before they could find out, so nobody else would ask. */
static void who_fails_its_check_is_looked_up_again(void **state) {
  struct list l;
  struct world *w = checked_world(&l);
  size_t service, backend;

  l.web[WEB_TCP].to = "elsewhere:80";
  set(w, &l);
  assert_true(connector_wants_backend(w->c, &service, &backend));
  run(w, 4 * SEC); /* no such name */
  assert_false(connector_wants_backend(w->c, &service, &backend));
  run(w, 3 * SEC);
  assert_int_equal(resolve(w, "192.0.2.8:8"), 1);
  run(w, MS);
  assert_string_equal(checks(w, true), "S"); /* at once */
  assert_true(health_is_up(health(w)));

  for (int i = 0; i < 8; i++) {
    struct connector_check_op op;

    run(w, SEC);
    while (connector_check_next(w->c, &op))
      connector_check_done(w->c, w->now, op.service, "refused");
  }
  assert_false(health_is_up(health(w)));
  assert_int_equal(resolve(w, "192.0.2.8:8"), 1);
  run(w, MS);
  assert_string_equal(checks(w, false), ""); /* it is where it was */
  done(w);
}

static void a_check_goes_with_its_service(void **state) {
  struct list l;
  struct world *w = checked_world(&l);

  run(w, SEC); /* the skin has not taken what waits */
  l.v[0] = l.v[1];
  l.n = 1;
  set(w, &l);
  assert_string_equal(checks(w, false), "");
  assert_int_equal(w->c->n_check_ops, 0);
  connector_check_done(w->c, w->now, 0, "late");
  run(w, 3 * SEC);
  done(w);
}

/* One request at a time, or an older one could overtake. */
static void what_changes_while_registering_is_told_after_it(void **state) {
  struct list l;
  struct world *w = checked_world(&l);
  int n = w->relays[0].n_registered;

  l.v[l.n++] = (struct connector_service){.id = "more", .n_backends = 1};
  set(w, &l);
  l.v[l.n - 1].id = "most";
  set(w, &l);
  l.v[l.n - 1].id = "much";
  set(w, &l);
  resolve(w, "192.0.2.8:8");
  run(w, SEC);
  assert_int_equal(w->relays[0].n_registered, n + 2);
  assert_non_null(strstr(w->relays[0].services, "\"id\":\"much\""));
  assert_null(strstr(w->relays[0].services, "\"id\":\"mo"));
  done(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(the_same_services_again_change_nothing),
      TEST(flows_outlive_a_hundred_changes_of_others),
      TEST(grants_need_no_confirmation_after_a_reload),
      TEST(an_added_service_is_told_and_served),
      TEST(all_of_a_removed_service_ends),
      TEST(flows_without_a_path_end_with_their_service),
      TEST(a_service_that_returns_begins_anew),
      TEST(without_any_grant_the_path_ends_later),
      TEST(a_backend_that_moved_is_for_new_flows),
      TEST(udp_follows_a_backend_that_moved_when_it_fails),
      TEST(a_removed_port_ends_udp_and_keeps_tcp),
      TEST(an_address_may_pass_to_another_service),
      TEST(narrower_agents_end_the_others_flows),
      TEST(a_grant_that_only_the_relay_has_is_given_back),
      TEST(a_check_that_stays_goes_on),
      TEST(another_check_begins_at_once_and_withdraws_nothing),
      TEST(a_moved_backend_is_down_until_it_was_asked),
      TEST(who_fails_its_check_is_looked_up_again),
      TEST(a_check_goes_with_its_service),
      TEST(what_changes_while_registering_is_told_after_it),
  };
  struct seeded rnd;
  int failed;

  grant_protocols = "\"udp\",\"icmp\",\"tcp\"";
  grant_ports = "[[1,65535,\"any\"]]";
  begin(&rnd);
  failed = cmocka_run_group_tests(tests, NULL, NULL);
  end();
  return failed;
}
