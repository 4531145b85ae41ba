/* test_connector_direct.c - an agent reaches the connector without a relay: how
 * that path joins the link, and what happens when it goes. That it is found is
 * test_direct.c's. */
#include "fake/connector_clients.c"

#include "codec/stun.h"
#include "role/direct_message.h"

/* The same run of the agent: A over the relay, B directly. */
enum { A = 0, B = 2 };

static struct link *link_of(struct world *w) { return w->c->links[0]; }

static bool passes(struct agent *a) {
  struct ztna_addr from = test_addr(T4 ":4000"), to = test_addr(V4 ":53");
  struct pkt *k = pool_get(&a->pool);
  int was = a->w->backends[0].n_sent;

  k->len = (uint16_t)ip_build_udp(pkt_data(k), 1280, &from, &to, 0,
                                  (const uint8_t *)"hello", 5);
  path_send_packet(a->path, 2, k, a->w->now);
  run(a->w, 20 * MS);
  return a->w->backends[0].n_sent == was + 1;
}

static bool hears(struct agent *a) {
  int was = a->n;

  connector_backend_in(a->w->c, a->w->now, 0, (const uint8_t *)"yes", 3);
  run(a->w, 20 * MS);
  return a->n == was + 1;
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

/* The agent asks for a round; what it is given is what B dials. */
static void offer(struct world *w, uint32_t round) {
  struct direct_message m = {.word = DIRECT_OFFER, .round = round};
  struct agent *a = &w->v[A], *b = &w->v[B];
  json_t *j, *list;

  m.side.n = 1;
  m.side.list[0] = (struct candidate){.addr = test_addr("192.0.2.99:9")};
  memset(b->handle, (int)(0x70 + round), HANDLE_LEN);
  memcpy(m.handles[0], b->handle, HANDLE_LEN);
  memset(m.handles[1], (int)(0x90 + round), HANDLE_LEN);
  a->said[0] = 0;
  say(a, direct_message_write(&m));
  run(w, SEC);
  j = json_loads(a->said, 0, NULL);
  assert_non_null(j);
  assert_string_equal(json_string_value(json_object_get(j, "type")),
                      "candidates");
  list = json_object_get(j, "handles");
  if (list)
    assert_true(hex_parse(b->connector_handle, HANDLE_LEN,
                          json_string_value(json_array_get(list, 0))));
  json_decref(j);
}

static void dial_directly(struct agent *a) {
  assert_int_equal(path_dial(a->path, &a->w->c_addr, a->handle,
                             a->connector_handle, 10 * MS, a->w->now),
                   0);
  run(a->w, 500 * MS);
}

static struct world *relayed(void) {
  struct world *w = tcp_world(0);

  w->v[B].relay = -1;
  go_live(&w->v[A]);
  return w;
}

/* Offered, dialled, joined and used. */
static struct world *direct(void) {
  struct world *w = relayed();

  offer(w, 1);
  dial_directly(&w->v[B]);
  hello_to(&w->v[B], w->v[A].link);
  assert_true(passes(&w->v[B]));
  use(&w->v[B], 1);
  assert_true(hears(&w->v[B]));
  return w;
}

static json_t *status_of(struct world *w) {
  json_t *s = json_object(), *l;

  connector_status(w->c, s);
  l = json_incref(json_array_get(json_object_get(s, "links"), 0));
  json_decref(s);
  return l;
}

static const char *direct_state(struct world *w) {
  static char state[20];
  json_t *s = status_of(w), *d = json_object_get(s, "direct");

  snprintf(state, sizeof(state), "%s",
           json_string_value(json_object_get(d, "state")));
  json_decref(s);
  return state;
}

static void a_direct_path_is_a_path_of_the_link(void **state) {
  struct world *w = direct();
  struct agent *a = &w->v[A], *b = &w->v[B];
  json_t *s = status_of(w), *paths = json_object_get(s, "paths");
  int n_direct = 0;
  struct sbuf out = {0};

  assert_string_equal(b->link, a->link);
  assert_true(passes(a)); /* the other one is still there */
  for (size_t i = 0; i < json_array_size(paths); i++) {
    json_t *p = json_array_get(paths, i);

    if (!json_is_true(json_object_get(p, "chosen"))) continue;
    n_direct++;
    assert_string_equal(json_string_value(json_object_get(p, "kind")),
                        "direct");
  }
  assert_int_equal(n_direct, 1);
  json_decref(s);
  assert_string_equal(direct_state(w), "direct");
  connector_metrics(w->c, &out);
  assert_non_null(strstr(out.s, "ztna_connector_paths{kind=\"direct\"} 1\n"));
  assert_non_null(strstr(out.s, "ztna_connector_paths{kind=\"relay\"} 1\n"));
  assert_non_null(strstr(out.s, "ztna_connector_moves_total 1\n"));
  sbuf_done(&out);
  done(w);
}

static void a_direct_path_is_the_same_agents(void **state) {
  struct world *w = relayed();
  struct agent *thief = &w->v[1];

  offer(w, 1);
  thief->relay = -1;
  memcpy(thief->handle, w->v[B].handle, HANDLE_LEN);
  memcpy(thief->connector_handle, w->v[B].connector_handle, HANDLE_LEN);
  dial_directly(thief);
  assert_false(path_is_live(thief->path));
  assert_string_equal(thief->reason, "identity-mismatch");
  dial_directly(&w->v[B]); /* who it was for */
  hello_to(&w->v[B], w->v[A].link);
  assert_true(passes(&w->v[B]));
  done(w);
}

static void who_does_not_say_hello_is_closed(void **state) {
  struct world *w = relayed();
  struct agent *b = &w->v[B];

  offer(w, 1);
  dial_directly(b);
  run(w, 2 * SEC);
  assert_int_equal(b->n_end, 0);
  assert_false(passes(b));
  run(w, SEC);
  assert_int_equal(b->n_end, 1);
  assert_string_equal(b->reason, "idle");
  assert_true(passes(&w->v[A]));
  done(w);
}

static void handles_are_of_the_last_round(void **state) {
  struct world *w = relayed();
  struct agent *b = &w->v[B];
  uint8_t first[HANDLE_LEN];

  offer(w, 1);
  memcpy(first, b->connector_handle, HANDLE_LEN);
  offer(w, 2);
  assert_int_equal(link_of(w)->ways.n, 3);
  assert_memory_not_equal(first, b->connector_handle, HANDLE_LEN);
  dial_directly(b);
  hello_to(b, w->v[A].link);
  assert_true(passes(b));
  offer(w, 3);
  assert_true(passes(b)); /* one that is live stays */
  assert_int_equal(link_of(w)->ways.n, 4);
  run(w, 61 * SEC);
  assert_int_equal(link_of(w)->ways.n, 2); /* nobody came */
  memcpy(b->connector_handle, first, HANDLE_LEN);
  dial_directly(b);
  run(w, 5 * SEC);
  assert_int_equal(b->n_live, 1); /* the former one ended with its handle */
  done(w);
}

static void too_many_rounds_take_no_relays_place(void **state) {
  struct world *w = relayed();

  for (uint32_t i = 1; i < 20; i++) {
    offer(w, i);
    assert_int_equal(link_of(w)->ways.n, 3);
    run(w, SEC);
  }
  assert_true(passes(&w->v[A]));
  done(w);
}

static void switched_off_it_says_so(void **state) {
  struct world *w;

  is_direct = false;
  w = relayed();
  offer(w, 1);
  assert_non_null(strstr(w->v[A].said, "\"off\":true"));
  assert_int_equal(link_of(w)->ways.n, 1);
  done(w);
  is_direct = true;
}

/* --- its end --- */

static void a_direct_path_that_falls_silent_is_told_and_left(void **state) {
  struct world *w = direct();
  struct agent *a = &w->v[A], *b = &w->v[B];
  char handle[17];
  int n = 0;

  a->said[0] = 0;
  w->cut[B] = true;
  for (int i = 0; i < 50; i++) n += hears(a);
  assert_in_range(n, 25, 50);
  assert_non_null(strstr(a->said, "\"silent\""));
  assert_non_null(
      strstr(a->said, hex_print(b->connector_handle, HANDLE_LEN, handle)));
  run(w, 4 * SEC); /* dead after three */
  assert_string_equal(direct_state(w), "waiting");
  assert_int_equal(link_of(w)->ways.n, 2); /* what nobody dialled stays */
  assert_true(hears(a));
  assert_int_equal(a->n_end, 0);
  done(w);
}

static void tcp_goes_on_over_the_relay(void **state) {
  struct world *w = direct();
  struct client *c = opened(&w->v[B], 0);

  send(c, "one ", 4);
  path_close(w->v[B].path, REASON_IDLE);
  run(w, 100 * MS);
  assert_int_equal(c->n_lost, 1);
  assert_int_equal(tcpflow_resume(&c->f, w->v[A].path), 0);
  run(w, 100 * MS);
  send(c, "two", 3);
  assert_memory_equal(w->servers[0].got, "one two", 7);
  done(w);
}

static void the_socket_that_it_held_is_closed(void **state) {
  struct world *w = relayed();
  struct agent *b = &w->v[B];

  offer(w, 1);
  b->sock = punch_sock_take(&w->c->direct.socks);
  assert_int_not_equal(b->sock, 0);
  dial_directly(b);
  hello_to(b, w->v[A].link);
  assert_true(passes(b));
  assert_int_equal(w->n_socks_closed, 0);
  path_close(b->path, REASON_IDLE);
  run(w, 100 * MS);
  assert_int_equal(w->n_socks_closed, 1);
  assert_false(w->c->direct.socks.used[b->sock]);
  done(w);
}

/* Leases run out: nobody renews them. */
static void without_its_relay_it_works_until_the_lease_ends(void **state) {
  struct world *w = direct();
  struct agent *a = &w->v[A], *b = &w->v[B];

  w->relays[0].dead = w->cut[A] = true;
  run(w, 9 * 60 * SEC);
  assert_int_equal(a->n_end, 1);
  assert_true(passes(b));
  assert_true(hears(b));
  run(w, 2 * 60 * SEC);
  assert_false(passes(b));
  assert_int_equal(b->n_end, 1);
  assert_string_equal(b->reason, "expired");
  assert_int_equal(w->c->counters.n_links, 0);
  done(w);
}

static const char *without_rate(char *event) {
  char *rate = strstr(event, ",\"rate\":1000");

  assert_non_null(rate);
  memmove(rate, rate + strlen(",\"rate\":1000"),
          strlen(rate + strlen(",\"rate\":1000")) + 1);
  return event;
}

static void revocation_ends_a_direct_path_at_once(void **state) {
  struct world *w = direct();
  struct agent *b = &w->v[B];
  char text[128];

  snprintf(text, sizeof(text),
           "{\"event\":\"grant-closed\",\"grant\":\"%s\",\"reason\":"
           "\"revoked\"}",
           w->v[A].grant);
  line(&w->relays[0], text);
  run(w, 50 * MS);
  assert_false(passes(b));
  assert_false(path_is_live(b->path));
  assert_int_equal(w->c->counters.n_links, 0);
  done(w);
}

/* The relay keeps the rate of a rule, so the packets have to go there. */
static void a_rate_of_a_rule_ends_a_direct_path(void **state) {
  struct world *w = direct();
  struct agent *a = &w->v[A], *b = &w->v[B];
  char grant[512], text[640], *end;

  grant_text(a, grant, sizeof(grant), grant_ports);
  end = strrchr(grant, '}');
  assert_non_null(end);
  snprintf(text, sizeof(text),
           "{\"event\":\"grant-changed\",\"grant\":%.*s,\"rate\":1000}}",
           (int)(end - grant), grant);
  line(&w->relays[0], text);
  run(w, 50 * MS);
  assert_false(path_is_live(b->path));
  assert_true(passes(a)); /* by the relay */
  offer(w, 2);
  assert_non_null(strstr(a->said, "off"));
  assert_null(strstr(a->said, "handles"));
  line(&w->relays[0], without_rate(text));
  run(w, 50 * MS);
  offer(w, 3);
  assert_non_null(strstr(a->said, "handles"));
  done(w);
}

/* --- the network --- */

static void stun_is_no_packet_of_quic(void **state) {
  struct world *w = relayed();
  static const uint8_t stun[20] = {0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42};
  struct dgram d = {.remote = test_addr("192.0.2.9:9"),
                    .local = w->c_addr,
                    .data = stun,
                    .len = sizeof(stun),
                    .seg = sizeof(stun)};
  uint64_t was = quic_stats(w->c->quic)->n_in;

  connector_udp_in(w->c, w->now, &d);
  assert_int_equal(w->c->direct.stats.drops[REASON_WRONG_SOURCE], 1);
  assert_int_equal(quic_stats(w->c->quic)->n_in, was);
  done(w);
}

static void relays_and_backends_are_not_searched(void **state) {
  struct world *w = relayed();
  struct direct_common *d = &w->c->direct;
  struct ztna_addr relay = test_addr("10.0.0.1:9"),
                   backend = test_addr("192.0.2.1:9"),
                   second = test_addr("192.0.2.2:9"),
                   other = test_addr("192.0.2.3:9");

  assert_true(d->is_forbidden(d->ud, &relay));
  assert_true(d->is_forbidden(d->ud, &backend));
  assert_true(d->is_forbidden(d->ud, &second));
  assert_false(d->is_forbidden(d->ud, &other));
  done(w);
}

static void another_network_is_told_to_relays_and_agents(void **state) {
  struct world *w = relayed();
  struct agent *a = &w->v[A];

  offer(w, 1);
  assert_true(passes(a));
  a->said[0] = 0;
  w->relays[0].dead = true; /* it does not know where we are now */
  connector_network_changed(w->c, w->now);
  assert_false(hears(a)); /* it would be lost */
  run(w, 300 * MS);
  assert_int_equal(a->n, 0);
  w->relays[0].dead = false;
  run(w, 600 * MS);
  assert_int_equal(a->n, 1); /* the relay has answered */
  assert_non_null(strstr(a->said, "\"anew\":true"));
  done(w);
}

static void a_relay_that_does_not_answer_is_not_waited_for(void **state) {
  struct world *w = relayed();
  struct agent *a = &w->v[A];

  assert_true(passes(a));
  w->relays[0].dead = true;
  connector_network_changed(w->c, w->now);
  assert_false(hears(a));
  assert_false(hears(a));
  run(w, 1100 * MS);
  assert_int_equal(link_way_at(link_of(w), 0)->held_until, 0);
  w->relays[0].dead = false;
  run(w, SEC);
  assert_true(hears(a));
  done(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_direct_path_is_a_path_of_the_link),
      TEST(a_direct_path_is_the_same_agents),
      TEST(who_does_not_say_hello_is_closed),
      TEST(handles_are_of_the_last_round),
      TEST(too_many_rounds_take_no_relays_place),
      TEST(switched_off_it_says_so),
      TEST(a_direct_path_that_falls_silent_is_told_and_left),
      TEST(tcp_goes_on_over_the_relay),
      TEST(the_socket_that_it_held_is_closed),
      TEST(without_its_relay_it_works_until_the_lease_ends),
      TEST(revocation_ends_a_direct_path_at_once),
      TEST(a_rate_of_a_rule_ends_a_direct_path),
      TEST(stun_is_no_packet_of_quic),
      TEST(relays_and_backends_are_not_searched),
      TEST(another_network_is_told_to_relays_and_agents),
      TEST(a_relay_that_does_not_answer_is_not_waited_for),
  };
  struct seeded rnd;
  int failed;

  is_direct = true;
  grant_protocols = "\"udp\",\"tcp\",\"icmp\"";
  grant_ports = "[[53,99,\"udp\"],[80,90,\"tcp\"]]";
  begin(&rnd);
  failed = cmocka_run_group_tests(tests, NULL, NULL);
  end();
  return failed;
}
