/* test_connector_audit.c - what a connector records of flows and refusals. */
#include "fake/connector_clients.c"

static struct audit_record r;

static const char *agent_serial(void) {
  return tls_identity(tls_agent[0])->serial;
}

/* The next record, which is of this kind. */
static void expect(struct world *w, enum audit_event event) {
  if (!audit_next(connector_audit(w->c), &r)) fail_msg("no record");
  if (r.event != event)
    fail_msg("got %s, want %s", audit_event_name(r.event),
             audit_event_name(event));
}

static void expect_none(struct world *w) {
  if (audit_next(connector_audit(w->c), &r))
    fail_msg("got %s", audit_event_name(r.event));
}

static void close_grant(struct agent *a, const char *reason) {
  char text[200];
  snprintf(text, sizeof(text),
           "{\"event\":\"grant-closed\",\"grant\":\"%s\",\"reason\":\"%s\"}",
           a->grant, reason);
  line(relay_of(a), text);
  run(a->w, 50 * MS);
}

static void send_udp(struct agent *a, const char *src, const char *dst,
                     const char *data) {
  struct ztna_addr from = test_addr(src), to = test_addr(dst);
  struct pkt *k = pool_get(&a->pool);
  int n = ip_build_udp(pkt_data(k), 1500, &from, &to, 0, (const uint8_t *)data,
                       strlen(data));
  assert_true(n > 0);
  k->len = (uint16_t)n;
  path_send_packet(a->path, 2, k, a->w->now);
  run(a->w, 20 * MS);
}

static void a_tcp_flow_is_recorded_at_both_ends(void **state) {
  struct world *w = tcp_world(1);
  struct client *c = opened(&w->v[0], 0);
  struct ztna_addr backend = test_addr("[2001:db8::1]:8080");
  char id[2 * FLOW_ID_LEN + 1];

  expect(w, AUDIT_FLOW_BEGIN);
  assert_string_equal(r.agent, w->v[0].spiffe);
  assert_string_equal(r.serial, agent_serial());
  assert_string_equal(r.rule, "r");
  assert_string_equal(r.service, "web");
  assert_string_equal(r.protocol, "tcp");
  assert_int_equal(r.port, 80);
  assert_true(ztna_addr_equal(&r.backend, &backend));
  assert_int_equal(r.path, AUDIT_PATH_RELAY);
  strcpy(id, r.id);
  expect_none(w);
  send(c, "hello", 5);
  serve(w, 0, "good bye", 8);
  tcpflow_fin(&c->f);
  run(w, 50 * MS);
  connector_sock_eof(w->c, w->now, 0);
  run(w, 100 * MS);
  expect(w, AUDIT_FLOW_END);
  assert_string_equal(r.id, id);
  assert_string_equal(r.rule, "r");
  assert_string_equal(r.serial, agent_serial());
  assert_int_equal(r.bytes_in, 5);
  assert_int_equal(r.bytes_out, 8);
  assert_int_equal(r.reason, REASON_NONE);
  assert_true(r.began_at && r.began_at < r.at);
  expect_none(w);
  done(w);
}

static void a_revoked_flow_is_recorded_so(void **state) {
  struct world *w = tcp_world(1);

  opened(&w->v[0], 0);
  expect(w, AUDIT_FLOW_BEGIN);
  close_grant(&w->v[0], "revoked");
  expect(w, AUDIT_FLOW_END);
  assert_int_equal(r.reason, REASON_REVOKED);
  assert_string_equal(r.rule, "r");
  done(w);
}

static void a_flow_whose_backend_refuses_is_recorded(void **state) {
  struct world *w = tcp_world(1);

  w->connect = REFUSED;
  start(&clients[0], &w->v[0], V4 ":80");
  expect_answer(&clients[0], REASON_BACKEND_REFUSED);
  expect(w, AUDIT_FLOW_BEGIN);
  expect(w, AUDIT_FLOW_END);
  assert_int_equal(r.reason, REASON_BACKEND_REFUSED);
  done(w);
}

static void a_udp_conversation_is_one_record_at_its_end(void **state) {
  struct world *w = tcp_world(1);
  uint64_t last;

  send_udp(&w->v[0], T4 ":4000", V4 ":53", "question");
  connector_backend_in(w->c, w->now, 0, (const uint8_t *)"answer", 6);
  run(w, 20 * MS);
  send_udp(&w->v[0], T4 ":4000", V4 ":53", "again");
  last = w->now;
  expect_none(w);
  run(w, 130 * SEC);
  expect(w, AUDIT_FLOW_END);
  assert_string_equal(r.protocol, "udp");
  assert_int_equal(r.port, 53);
  assert_int_equal(r.bytes_in, 13);
  assert_int_equal(r.packets_in, 2);
  assert_int_equal(r.bytes_out, 6);
  assert_int_equal(r.packets_out, 1);
  assert_string_equal(r.rule, "r");
  assert_string_equal(r.serial, agent_serial());
  assert_int_equal(r.path, AUDIT_PATH_RELAY);
  assert_int_equal(r.reason, REASON_IDLE);
  assert_true(r.ended_at <= last && r.began_at < r.ended_at);
  expect_none(w);
  done(w);
}

static void a_stop_ends_conversations_too(void **state) {
  struct world *w = tcp_world(1);

  send_udp(&w->v[0], T4 ":4000", V4 ":53", "question");
  opened(&w->v[0], 0);
  expect(w, AUDIT_FLOW_BEGIN);
  connector_stop(w->c, w->now);
  for (int i = 0; i < 2; i++) {
    expect(w, AUDIT_FLOW_END);
    assert_int_equal(r.reason, REASON_SHUTTING_DOWN);
  }
  done(w);
}

static void refusals_are_recorded_but_not_all_of_a_flood(void **state) {
  struct world *w = tcp_world(1);

  start(&clients[0], &w->v[0], V4 ":95");
  expect_answer(&clients[0], REASON_PORT_NOT_ALLOWED);
  expect(w, AUDIT_FLOW_REFUSED);
  assert_int_equal(r.port, 95);
  assert_string_equal(r.protocol, "tcp");
  assert_int_equal(r.reason, REASON_PORT_NOT_ALLOWED);
  for (int i = 0; i < 30; i++)
    send_udp(&w->v[0], "100.64.0.8:4000", V4 ":53", "spoofed");
  for (int i = 0; i < 9; i++) {
    expect(w, AUDIT_FLOW_REFUSED);
    assert_int_equal(r.reason, REASON_WRONG_SOURCE);
    assert_string_equal(r.serial, agent_serial());
  }
  expect_none(w);
  run(w, 10 * SEC);
  send_udp(&w->v[0], "100.64.0.8:4000", V4 ":53", "spoofed");
  expect(w, AUDIT_FLOW_REFUSED);
  assert_int_equal(r.n_hidden, 21);
  done(w);
}

static void nothing_is_kept_when_nobody_asked(void **state) {
  struct world *w;

  n_audit = 0;
  w = tcp_world(1);
  opened(&w->v[0], 0);
  send_udp(&w->v[0], T4 ":4000", V4 ":53", "question");
  close_grant(&w->v[0], "revoked");
  expect_none(w);
  assert_null(w->c->talks);
  done(w);
  n_audit = 64;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_tcp_flow_is_recorded_at_both_ends),
      TEST(a_revoked_flow_is_recorded_so),
      TEST(a_flow_whose_backend_refuses_is_recorded),
      TEST(a_udp_conversation_is_one_record_at_its_end),
      TEST(a_stop_ends_conversations_too),
      TEST(refusals_are_recorded_but_not_all_of_a_flood),
      TEST(nothing_is_kept_when_nobody_asked),
  };
  struct seeded rnd;
  int rc;

  n_audit = 64;
  grant_protocols = "\"udp\",\"tcp\",\"icmp\"";
  grant_ports = "[[53,99,\"udp\"],[80,90,\"tcp\"]]";
  begin(&rnd);
  rc = cmocka_run_group_tests(tests, NULL, NULL);
  end();
  return rc;
}
