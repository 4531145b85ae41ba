/* test_connector_nat.c - a connector with a relay that is played by the test,
 * agents that are paths, and backends that are a list of operations. */
#include "fake/connector_world.c"

/* --- packets of agents --- */

static void send_ip(struct agent *a, uint16_t context, const uint8_t *ip,
                    size_t len) {
  struct pkt *k = pool_get(&a->pool);

  memcpy(pkt_data(k), ip, len);
  k->len = (uint16_t)len;
  path_send_packet(a->path, context, k, a->w->now);
}

static void send_udp_from(struct agent *a, const char *src, const char *dst,
                          const char *data) {
  struct ztna_addr from = test_addr(src), to = test_addr(dst);
  uint8_t ip[1500];
  int n = ip_build_udp(ip, sizeof(ip), &from, &to, 0, (const uint8_t *)data,
                       strlen(data));

  assert_true(n > 0);
  send_ip(a, 2, ip, (size_t)n);
  run(a->w, 20 * MS);
}

/* From the tunnel address. */
static void send_udp(struct agent *a, int port, const char *dst,
                     const char *data) {
  char src[64];

  snprintf(src, sizeof(src), dst[0] == '[' ? "[" T6 "]:%d" : T4 ":%d", port);
  send_udp_from(a, src, dst, data);
}

static void answer(struct world *w, uint32_t flow, const void *data,
                   size_t len) {
  connector_backend_in(w->c, w->now, flow, data, len);
  run(w, 20 * MS);
}

static void expect_reply(struct agent *a, int n, const char *from,
                         const char *to, const char *data) {
  struct ztna_addr src = test_addr(from), dst = test_addr(to);

  assert_int_equal(a->n, n);
  assert_int_equal(a->p.kind, IP_UDP);
  assert_true(ztna_addr_equal(&a->p.src, &src));
  assert_true(ztna_addr_equal(&a->p.dst, &dst));
  assert_int_equal(a->p.payload_len, strlen(data));
  assert_memory_equal(a->p.payload, data, strlen(data));
}

/* An ICMP error from `from` about the packet src -> dst. */
static void expect_error(struct agent *a, int n, int type, int code,
                         const char *src, const char *dst) {
  struct ztna_addr in_src = test_addr(src), in_dst = test_addr(dst);
  struct ztna_addr from = in_dst;

  from.port = 0;
  assert_int_equal(a->n, n);
  assert_int_equal(a->p.kind, IP_ICMP_ERROR);
  assert_int_equal(a->p.icmp_type, type);
  assert_int_equal(a->p.icmp_code, code);
  assert_true(ztna_addr_same_ip(&a->p.src, &from));
  assert_true(ztna_addr_equal(&a->p.inner_src, &in_src));
  assert_true(ztna_addr_equal(&a->p.inner_dst, &in_dst));
}

static uint64_t drops(struct world *w, enum reason why) {
  return w->c->counters.drops[why];
}

/* --- tests --- */

static void udp_goes_to_the_backend_and_back(void **state) {
  struct world *w = live_world(1);
  struct agent *a = &w->v[0];
  struct ztna_addr to = test_addr("192.0.2.1:5353");

  send_udp(a, 4000, V4 ":53", "question");
  assert_true(w->backends[0].open);
  assert_false(w->backends[0].ping);
  assert_true(ztna_addr_equal(&w->backends[0].to, &to));
  assert_int_equal(w->backends[0].len, 8);
  assert_memory_equal(w->backends[0].data, "question", 8);
  answer(w, 0, "answer", 6);
  expect_reply(a, 1, V4 ":53", T4 ":4000", "answer");
  assert_int_equal(a->context, 2);

  send_udp(a, 4000, "[" V6 "]:53", "six");
  assert_int_equal(n_open(w), 2);
  answer(w, 1, "6", 1);
  expect_reply(a, 2, "[" V6 "]:53", "[" T6 "]:4000", "6");

  send_udp(a, 4000, V4 ":53", "more"); /* the same socket */
  assert_int_equal(w->backends[0].n_opened, 1);
  assert_int_equal(w->backends[0].n_sent, 2);
  send_udp(a, 4000, V4 ":53", "");
  assert_int_equal(w->backends[0].len, 0);
  answer(w, 0, "", 0);
  expect_reply(a, 3, V4 ":53", T4 ":4000", "");
  world_free(w);
}

static void echo_once(struct agent *a, const char *from, const char *to,
                      uint32_t flow, int n) {
  struct ztna_addr src = test_addr(from), dst = test_addr(to);
  struct world *w = a->w;
  uint8_t ip[1500];
  int len = ip_build_echo(ip, sizeof(ip), &src, &dst, false, 0xbeef, 7,
                          (const uint8_t *)"ping", 4);

  send_ip(a, 2, ip, (size_t)len);
  run(w, 20 * MS);
  assert_true(w->backends[flow].open);
  assert_true(w->backends[flow].ping);
  assert_int_equal(w->backends[flow].seq, 7);
  assert_memory_equal(w->backends[flow].data, "ping", 4);
  connector_echo_in(w->c, w->now, flow, 7, w->backends[flow].data,
                    w->backends[flow].len);
  run(w, 20 * MS);
  assert_int_equal(a->n, n);
  assert_int_equal(a->p.kind, IP_ECHO_REPLY);
  assert_int_equal(a->p.dst.port, 0xbeef);
  assert_int_equal(a->p.icmp_seq, 7);
  assert_true(ztna_addr_same_ip(&a->p.src, &dst));
  assert_int_equal(a->p.payload_len, 4);
}

static void ping(struct agent *a, size_t len) {
  struct ztna_addr src = test_addr(T4), dst = test_addr(V4);
  static uint8_t ip[1500], data[1500];

  send_ip(a, 2, ip,
          (size_t)ip_build_echo(ip, sizeof(ip), &src, &dst, false, 0xbeef, 9,
                                data, len));
  run(a->w, 20 * MS);
}

static void an_echo_reflects_the_service(void **state) {
  struct world *w = live_world(1);
  struct agent *a = &w->v[0];
  struct health *h = &w->c->services[0]->health;

  h->rule = (struct health_rule){.every = 5 * SEC, .timeout = SEC};
  h->next_at = NEVER;
  h->state = HEALTH_UP;
  h->n_passed = 1;
  ping(a, 56);
  assert_int_equal(a->n, 1); /* its check passed: nobody else is asked */
  assert_int_equal(a->p.kind, IP_ECHO_REPLY);
  assert_int_equal(a->p.dst.port, 0xbeef);
  assert_int_equal(a->p.icmp_seq, 9);
  assert_int_equal(a->p.payload_len, 56);
  assert_int_equal(n_open(w), 0);
  snprintf(h->error, sizeof(h->error), "refused"); /* the last one did not */
  ping(a, 56);
  assert_int_equal(n_open(w), 1);
  h->state = HEALTH_DOWN;
  ping(a, 56);
  assert_int_equal(a->n, 2);
  assert_int_equal(a->p.kind, IP_ICMP_ERROR);
  assert_int_equal(a->p.icmp_type, 3);
  assert_int_equal(a->p.icmp_code, 1);
  assert_true(drops(w, REASON_BACKEND_DOWN) > 0);
  world_free(w);
}

static void an_echo_is_asked_of_the_backend(void **state) {
  struct world *w = live_world(1);

  echo_once(&w->v[0], T4, V4, 0, 1);
  echo_once(&w->v[0], T6, V6, 1, 2);
  connector_backend_failed(w->c, w->now, 0, CONNECTOR_UNREACHABLE, 0);
  run(w, 20 * MS);
  assert_int_equal(w->v[0].p.kind, IP_ICMP_ERROR);
  assert_int_equal(w->v[0].p.inner_src.port, 0xbeef);
  world_free(w);
}

static void errors_of_the_backend_come_back_as_icmp(void **state) {
  struct world *w = live_world(1);
  struct agent *a = &w->v[0];

  send_udp(a, 4000, V4 ":53", "x");
  send_udp(a, 4000, "[" V6 "]:53", "x");
  connector_backend_failed(w->c, w->now, 0, CONNECTOR_REFUSED, 0);
  run(w, 20 * MS);
  expect_error(a, 1, 3, 3, T4 ":4000", V4 ":53");
  connector_backend_failed(w->c, w->now, 0, CONNECTOR_UNREACHABLE, 0);
  run(w, 20 * MS);
  expect_error(a, 2, 3, 1, T4 ":4000", V4 ":53");
  connector_backend_failed(w->c, w->now, 0, CONNECTOR_TOO_BIG, 1300);
  run(w, 20 * MS);
  expect_error(a, 3, 3, 4, T4 ":4000", V4 ":53");
  assert_int_equal(a->p.icmp_mtu, 1300);
  connector_backend_failed(w->c, w->now, 1, CONNECTOR_REFUSED, 0);
  run(w, 20 * MS);
  expect_error(a, 4, 1, 4, "[" T6 "]:4000", "[" V6 "]:53");
  connector_backend_failed(w->c, w->now, 1, CONNECTOR_PROHIBITED, 0);
  run(w, 20 * MS);
  expect_error(a, 5, 1, 1, "[" T6 "]:4000", "[" V6 "]:53");
  connector_backend_failed(w->c, w->now, 63, CONNECTOR_REFUSED, 0);
  run(w, 20 * MS);
  assert_int_equal(a->n, 5);
  world_free(w);
}

static void a_wrong_source_gets_nowhere(void **state) {
  struct world *w = live_world(1);
  struct agent *a = &w->v[0];

  send_udp_from(a, "100.64.0.10:4000", V4 ":53", "x");
  send_udp_from(a, V4 ":4000", V4 ":53", "x");
  send_udp_from(a, "[fd5a:64::a]:4000", "[" V6 "]:53", "x");
  assert_int_equal(drops(w, REASON_WRONG_SOURCE), 3);
  assert_int_equal(n_open(w), 0);
  assert_int_equal(a->n, 0); /* an error would go to whom it was not from */
  world_free(w);
}

static void a_wrong_destination_gets_nowhere(void **state) {
  struct world *w = live_world(1);

  send_udp(&w->v[0], 4000, "10.100.0.3:53", "x");
  send_udp(&w->v[0], 4000, "192.0.2.1:5353", "x");
  send_udp(&w->v[0], 4000, "[fd5a:10::3]:53", "x");
  assert_int_equal(drops(w, REASON_WRONG_DESTINATION), 3);
  assert_int_equal(n_open(w), 0);
  world_free(w);
}

static void a_port_that_is_not_granted_is_prohibited(void **state) {
  struct world *w = live_world(1);
  struct agent *a = &w->v[0];

  send_udp(a, 4000, V4 ":52", "x");
  expect_error(a, 1, 3, 13, T4 ":4000", V4 ":52");
  send_udp(a, 4000, "[" V6 "]:100", "x");
  expect_error(a, 2, 1, 1, "[" T6 "]:4000", "[" V6 "]:100");
  assert_int_equal(drops(w, REASON_PORT_NOT_ALLOWED), 2);
  assert_int_equal(n_open(w), 0);
  world_free(w);
}

static void a_port_without_backend_is_unreachable(void **state) {
  struct world *w = live_world(1);
  struct agent *a = &w->v[0];

  send_udp(a, 4000, V4 ":55", "x"); /* granted, nobody there */
  expect_error(a, 1, 3, 3, T4 ":4000", V4 ":55");
  send_udp(a, 4000, V4 ":54", "x"); /* its address is not known */
  expect_error(a, 2, 3, 1, T4 ":4000", V4 ":54");
  assert_int_equal(drops(w, REASON_BACKEND_DOWN), 1);
  send_udp(a, 4000, V4 ":80", "x"); /* serves TCP */
  expect_error(a, 3, 3, 3, T4 ":4000", V4 ":80");
  assert_int_equal(drops(w, REASON_PORT_NOT_ALLOWED), 2);
  assert_int_equal(n_open(w), 0);
  world_free(w);
}

static void an_unreachable_backend_is_looked_up_again(void **state) {
  struct world *w = live_world(1);
  size_t service, backend;

  send_udp(&w->v[0], 4000, V4 ":53", "x");
  connector_backend_failed(w->c, w->now, 0, CONNECTOR_TOO_BIG, 1200);
  assert_false(connector_wants_backend(w->c, &service, &backend));
  connector_backend_failed(w->c, w->now, 0, CONNECTOR_REFUSED, 0);
  assert_true(connector_wants_backend(w->c, &service, &backend));
  assert_int_equal(service, 0);
  assert_int_equal(backend, 0);
  world_free(w);
}

static void other_protocols_are_refused(void **state) {
  struct ztna_addr src = test_addr(T4 ":4000"), dst = test_addr(V4 ":80");
  struct world *w = live_world(1);
  struct agent *a = &w->v[0];
  uint8_t ip[60] = {0};

  assert_int_equal(ip_build_udp(ip, sizeof(ip), &src, &dst, 0, ip, 12), 40);
  ip[9] = IP_PROTO_TCP; /* a SYN of 20 bytes */
  memset(ip + 24, 0, 16);
  ip[32] = 0x50;
  ip[33] = 2;
  ip[10] = ip[11] = 0;
  uint16_t sum = ip_checksum_finish(ip_checksum_add(0, ip, 20));
  ip[10] = (uint8_t)(sum >> 8);
  ip[11] = (uint8_t)sum;
  send_ip(a, 2, ip, 40);
  run(w, 20 * MS);
  assert_int_equal(a->n, 1);
  assert_int_equal(a->p.kind, IP_ICMP_ERROR);
  assert_int_equal(a->p.icmp_code, 2);
  send_ip(a, 2, ip, 39); /* cut: no packet at all */
  run(w, 20 * MS);
  assert_int_equal(drops(w, REASON_MALFORMED), 1);
  assert_int_equal(a->n, 1);
  assert_int_equal(n_open(w), 0);
  world_free(w);
}

static void a_context_that_is_not_open_carries_nothing(void **state) {
  struct ztna_addr src = test_addr(T4 ":4000"), dst = test_addr(V4 ":53");
  struct world *w = live_world(1);
  uint8_t ip[100];
  int n = ip_build_udp(ip, sizeof(ip), &src, &dst, 0, ip, 1);

  send_ip(&w->v[0], 4, ip, (size_t)n);
  run(w, 20 * MS);
  assert_int_equal(drops(w, REASON_NOT_ALLOWED), 1);
  say(&w->v[0], json_pack("{s:s, s:i}", "type", "close", "context", 2));
  run(w, 20 * MS);
  send_ip(&w->v[0], 2, ip, (size_t)n);
  run(w, 20 * MS);
  assert_int_equal(drops(w, REASON_NOT_ALLOWED), 2);
  assert_int_equal(n_open(w), 0);
  world_free(w);
}

static void only_what_was_granted_is_opened(void **state) {
  struct world *w = live_world(1);
  struct agent *a = &w->v[0];

  say(a, json_pack("{s:s, s:i, s:s, s:s}", "type", "open", "context", 4,
                   "service", "dns", "grant", a->grant));
  run(w, 50 * MS);
  assert_int_equal(a->n_refused, 1);
  assert_string_equal(a->reason, "not-allowed");
  say(a, json_pack("{s:s, s:i, s:s, s:s}", "type", "open", "context", 4,
                   "service", "web", "grant", w->v[1].grant));
  run(w, 50 * MS);
  assert_int_equal(a->n_refused, 2);
  open_context(a, 5); /* odd */
  open_context(a, 0x4000);
  run(w, 50 * MS);
  assert_int_equal(a->n_refused, 4);
  world_free(w);
}

/* What the connector does not know it gives back; but not what is known and
 * another's, or naming it would end it. */
static void naming_anothers_grant_does_not_end_it(void **state) {
  struct world *w = live_world(2);
  struct agent *a = &w->v[0];

  say(a, json_pack("{s:s, s:i, s:s, s:s}", "type", "open", "context", 4,
                   "service", "web", "grant", w->v[1].grant));
  run(w, 100 * MS);
  assert_int_equal(a->n_refused, 1);
  assert_int_equal(w->relays[0].n_deletes, 0);
  say(a,
      json_pack("{s:s, s:i, s:s, s:s}", "type", "open", "context", 4, "service",
                "web", "grant", "00112233445566778899aabbccddeeff"));
  run(w, 100 * MS);
  assert_int_equal(a->n_refused, 2);
  assert_int_equal(w->relays[0].n_deletes, 1);
  world_free(w);
}

static void another_tunnel_address_ends_the_path(void **state) {
  struct world *w = world_new();
  struct agent *a = &w->v[0];

  route_request(a);
  dial(a);
  say(a,
      json_pack("{s:s, s:[s]}", "type", "hello", "addresses", "100.64.0.10"));
  run(w, 100 * MS);
  assert_int_equal(a->n_end, 1);
  assert_string_equal(a->reason, "wrong-source");
  world_free(w);
}

static void another_agent_does_not_get_in(void **state) {
  struct world *w = world_new();
  struct agent *a = &w->v[0];

  route_request(a);
  quic_set_tls(a->q, tls_agent[1]);
  path_dial(a->path, &w->relays[0].addr, a->handle, a->connector_handle, 0,
            w->now);
  run(w, SEC);
  assert_string_equal(a->reason, "identity-mismatch");
  assert_true(drops(w, REASON_IDENTITY_MISMATCH) > 0);
  world_free(w);
}

/* --- sizes --- */

static void big_datagrams_arrive_in_fragments(void **state) {
  static const size_t sizes[] = {1300, 1572, 1573, 1600,
                                 1601, 3000, 9000, 60000};
  static uint8_t data[65536], ip[65536];
  struct ztna_addr src = test_addr(T4 ":4000"), dst = test_addr(V4 ":53");
  struct world *w = live_world(1);

  for (size_t i = 0; i < sizeof(data); i++)
    data[i] = (uint8_t)(i * 7 + i / 256);
  for (size_t i = 0; i < N_OF(sizes); i++) {
    int n = ip_build_udp(ip, sizeof(ip), &src, &dst, 0, data, sizes[i]);
    struct ip_cut cut = {
        .pkt = ip, .len = (size_t)n, .mtu = 1280, .id = (uint32_t)i};
    uint8_t f[1280];
    size_t len;

    for (int k = 1; (len = ip_cut_next(&cut, f)); k++) {
      send_ip(&w->v[0], 2, f, len);
      if (k % 8 == 0) run(w, 20 * MS);
    }
    run(w, 50 * MS);
    assert_int_equal(w->backends[0].n_sent, i + 1);
    assert_int_equal(w->backends[0].len, sizes[i]);
    assert_memory_equal(w->backends[0].data, data, sizes[i]);
  }
  world_free(w);
}

static void fragments_are_judged_like_others(void **state) {
  static uint8_t ip[4000], f[1280];
  struct ztna_addr src = test_addr(T4 ":4000"), dst = test_addr(V4 ":22");
  struct world *w = live_world(1);
  int n = ip_build_udp(ip, sizeof(ip), &src, &dst, 0, ip, 3000);
  struct ip_cut cut = {.pkt = ip, .len = (size_t)n, .mtu = 1280, .id = 1};
  size_t len;

  while ((len = ip_cut_next(&cut, f))) send_ip(&w->v[0], 2, f, len);
  run(w, 50 * MS);
  expect_error(&w->v[0], 1, 3, 13, T4 ":4000", V4 ":22");
  src = test_addr("100.64.0.10:4000");
  n = ip_build_udp(ip, sizeof(ip), &src, &dst, 0, ip, 3000);
  cut = (struct ip_cut){.pkt = ip, .len = (size_t)n, .mtu = 1280, .id = 1};
  while ((len = ip_cut_next(&cut, f))) send_ip(&w->v[0], 2, f, len);
  run(w, 50 * MS);
  assert_int_equal(drops(w, REASON_WRONG_SOURCE), 3);
  assert_int_equal(n_open(w), 0);
  world_free(w);
}

static void mended(struct agent *a, const uint8_t *data, size_t len) {
  struct reass *r = reass_new(1 << 20);
  const uint8_t *whole = NULL;
  struct ip_pkt p;
  int n = 0;

  for (int i = 0; i < a->n; i++) {
    assert_int_equal(ip_parse(&p, a->data[i], a->len[i]), 0);
    assert_int_equal(n, 0);
    if (p.kind == IP_FRAGMENT)
      n = reass_put(r, &p, a->data[i], 1, &whole);
    else
      n = (int)a->len[i], whole = a->data[i];
  }
  assert_true(n > 0);
  assert_int_equal(ip_parse(&p, whole, (size_t)n), 0);
  assert_int_equal(p.kind, IP_UDP);
  assert_int_equal(p.payload_len, len);
  assert_memory_equal(p.payload, data, len);
  reass_free(r);
}

static void long_replies_are_cut(void **state) {
  static const size_t sizes[] = {1231, 1232, 1233, 1251, 1252, 1253,
                                 1472, 1600, 4000, 9000, 30000};
  static uint8_t data[65536];
  struct world *w = live_world(1);
  struct agent *a = &w->v[0];

  for (size_t i = 0; i < sizeof(data); i++)
    data[i] = (uint8_t)(i * 7 + i / 256);
  send_udp(a, 4000, V4 ":53", "x");
  send_udp(a, 4000, "[" V6 "]:53", "x");
  for (uint32_t flow = 0; flow < 2; flow++)
    for (size_t i = 0; i < N_OF(sizes); i++) {
      a->n = 0;
      answer(w, flow, data, sizes[i]);
      run(w, 200 * MS);
      mended(a, data, sizes[i]);
      if (sizes[i] <= 1232) assert_int_equal(a->n, 1);
    }
  a->n = 0;
  answer(w, 0, data, 65535);
  assert_int_equal(a->n, 0);
  assert_int_equal(drops(w, REASON_PACKET_TOO_BIG), 1);
  world_free(w);
}

/* --- flows --- */

static void an_agent_has_its_share_of_flows(void **state) {
  struct world *w = live_world(1);
  struct agent *a = &w->v[0];

  for (int i = 0; i < 4; i++) send_udp(a, 4000 + i, V4 ":53", "x");
  assert_int_equal(n_open(w), 4);
  send_udp(a, 4000, V4 ":53", "x"); /* the first is young again */
  send_udp(a, 4004, V4 ":53", "x");
  assert_int_equal(n_open(w), 4);
  assert_int_equal(w->backends[0].n_closed, 0);
  assert_int_equal(w->backends[1].n_closed, 1); /* the longest unused */
  assert_int_equal(w->backends[1].n_opened, 2);
  answer(w, 1, "y", 1);
  expect_reply(a, 1, V4 ":53", T4 ":4004", "y");
  world_free(w);
}

static void a_full_table_takes_from_none_but_its_own(void **state) {
  struct world *w = live_world(2);

  for (int i = 0; i < 4; i++) send_udp(&w->v[0], 4000 + i, V4 ":53", "x");
  for (int i = 0; i < 4; i++) send_udp(&w->v[1], 4000 + i, V4 ":53", "x");
  assert_int_equal(n_open(w), 6);
  for (int i = 0; i < 4; i++) assert_int_equal(w->backends[i].n_closed, 0);
  answer(w, 0, "y", 1);
  expect_reply(&w->v[0], 1, V4 ":53", T4 ":4000", "y");
  world_free(w);
}

static void who_has_no_flow_to_give_reads_why(void **state) {
  struct world *w = live_world(2);

  for (int i = 0; i < 4; i++) send_udp(&w->v[0], 4000 + i, V4 ":53", "x");
  w->c->o.max_flows = 4; /* as if others had the rest */
  send_udp(&w->v[1], 4000, V4 ":53", "x");
  expect_error(&w->v[1], 1, 3, 13, T4 ":4000", V4 ":53");
  assert_int_equal(drops(w, REASON_TOO_MANY_ROUTES), 1);
  world_free(w);
}

static void flows_end_when_they_are_idle(void **state) {
  struct world *w = live_world(1);
  struct agent *a = &w->v[0];

  send_udp(a, 4000, V4 ":53", "x");
  send_udp(a, 4001, V4 ":53", "x");
  run(w, 100 * SEC);
  answer(w, 1, "y", 1); /* counts as use */
  run(w, 30 * SEC);
  assert_false(w->backends[0].open);
  assert_true(w->backends[1].open);
  run(w, 100 * SEC);
  assert_int_equal(n_open(w), 0);
  assert_int_equal(a->n, 1);
  answer(w, 0, "late", 4);
  assert_int_equal(a->n, 1);
  for (int i = 0; i < 4; i++) send_udp(a, 5000 + i, V4 ":53", "x");
  assert_int_equal(n_open(w), 4); /* the whole share is there again */
  world_free(w);
}

static void equal_addresses_of_two_agents_are_told_apart(void **state) {
  struct world *w = live_world(2);

  send_udp(&w->v[0], 4000, V4 ":53", "zero");
  send_udp(&w->v[1], 4000, V4 ":53", "one");
  assert_memory_equal(w->backends[0].data, "zero", 4);
  assert_memory_equal(w->backends[1].data, "one", 3);
  answer(w, 1, "ONE", 3);
  assert_int_equal(w->v[0].n, 0);
  expect_reply(&w->v[1], 1, V4 ":53", T4 ":4000", "ONE");
  answer(w, 0, "ZERO", 4);
  expect_reply(&w->v[0], 1, V4 ":53", T4 ":4000", "ZERO");
  assert_int_equal(w->v[1].n, 1);
  world_free(w);
}

/* --- what ends them --- */

static void event(struct agent *a, const char *name, const char *rest) {
  char text[1024];

  snprintf(text, sizeof(text), "{\"event\":\"%s\",\"reason\":\"revoked\",%s}",
           name, rest);
  line(relay_of(a), text);
  run(a->w, 50 * MS);
}

static void nothing_comes_back_under_a_revoked_grant(void **state) {
  struct world *w = live_world(2);
  struct agent *a = &w->v[0];
  char text[128];

  send_udp(a, 4000, V4 ":53", "x");
  send_udp(&w->v[1], 4000, V4 ":53", "x");
  snprintf(text, sizeof(text), "\"grant\":\"%s\"", a->grant);
  event(a, "grant-closed", text);
  assert_int_equal(a->n_closed, 1);
  assert_string_equal(a->reason, "revoked");
  answer(w, 0, "secret", 6);
  assert_int_equal(a->n, 0);
  connector_backend_failed(w->c, w->now, 0, CONNECTOR_REFUSED, 0);
  run(w, 20 * MS);
  assert_int_equal(a->n, 0);
  send_udp(a, 4000, V4 ":53", "x");
  assert_int_equal(w->backends[0].n_sent, 1);
  answer(w, 1, "y", 1);
  assert_int_equal(w->v[1].n, 1);
  run(w, 5 * SEC); /* without any grant the link goes, too */
  assert_int_equal(a->n_end, 1);
  assert_int_equal(n_open(w), 1);
  world_free(w);
}

static void a_changed_grant_binds_both_directions(void **state) {
  struct world *w = live_world(1);
  struct agent *a = &w->v[0];
  char grant[512], text[600];

  send_udp(a, 4000, V4 ":53", "x");
  grant_text(a, grant, sizeof(grant), "[[54,54,\"udp\"]]");
  snprintf(text, sizeof(text), "\"grant\":%s", grant);
  event(a, "grant-changed", text);
  answer(w, 0, "secret", 6);
  assert_int_equal(a->n, 0);
  send_udp(a, 4000, V4 ":53", "x");
  expect_error(a, 1, 3, 13, T4 ":4000", V4 ":53");
  assert_int_equal(w->backends[0].n_sent, 1);
  world_free(w);
}

/* The backend sees the same socket, the agent the number it knows. */
static void a_flow_follows_its_service_to_another_context(void **state) {
  struct ztna_addr src = test_addr(T4 ":4000"), dst = test_addr(V4 ":53");
  struct world *w = live_world(1);
  struct agent *a = &w->v[0];
  uint8_t ip[100];
  int n = ip_build_udp(ip, sizeof(ip), &src, &dst, 0, ip, 1);

  send_udp(a, 4000, V4 ":53", "x");
  say(a, json_pack("{s:s, s:i}", "type", "close", "context", 2));
  open_context(a, 4);
  run(w, 50 * MS);
  answer(w, 0, "y", 1); /* nobody asked in the new one yet */
  assert_int_equal(a->n, 0);
  send_ip(a, 4, ip, (size_t)n);
  run(w, 20 * MS);
  assert_int_equal(w->backends[0].n_opened, 1);
  answer(w, 0, "y", 1);
  assert_int_equal(a->n, 1);
  assert_int_equal(a->context, 4);
  world_free(w);
}

static void a_closed_route_closes_its_sockets(void **state) {
  struct world *w = live_world(2);
  char text[128];

  for (int i = 0; i < 3; i++) send_udp(&w->v[0], 4000 + i, V4 ":53", "x");
  send_udp(&w->v[1], 4000, V4 ":53", "x");
  snprintf(text, sizeof(text), "\"route\":\"%s\"", w->v[0].route);
  event(&w->v[0], "route-closed", text);
  run(w, SEC);
  assert_int_equal(w->v[0].n_end, 1);
  assert_string_equal(w->v[0].reason, "revoked");
  assert_int_equal(n_open(w), 1);
  assert_int_equal(w->c->counters.n_links, 1);
  assert_int_equal(w->c->counters.n_flows, 1);
  for (uint32_t i = 0; i < 6; i++) answer(w, i, "y", 1);
  assert_int_equal(w->v[0].n, 0);
  assert_int_equal(w->v[1].n, 1);
  world_free(w);
}

static void a_lease_that_is_not_renewed_ends(void **state) {
  struct world *w = live_world(1);
  char text[128];

  run(w, 500 * SEC);
  snprintf(text, sizeof(text), "\"grant\":\"%s\",\"lease\":200000",
           w->v[0].grant);
  event(&w->v[0], "grant-renewed", text);
  run(w, 150 * SEC);
  assert_int_equal(w->v[0].n_end, 0);
  run(w, 60 * SEC);
  assert_int_equal(w->v[0].n_end, 1);
  assert_int_equal(w->c->counters.n_links, 0);
  world_free(w);
}

/* --- scarcity --- */

static void a_path_that_stands_leaves_room_for_others(void **state) {
  struct world *w = live_world(2);

  send_udp(&w->v[0], 4000, V4 ":53", "x");
  send_udp(&w->v[1], 4000, V4 ":53", "x");
  w->cut[0] = true;
  for (int i = 0; i < 10000; i++)
    connector_backend_in(w->c, w->now, 0, (const uint8_t *)"y", 1);
  run(w, 100 * MS);
  assert_in_range(w->c->pool.n_used, 256, POOL_PACKETS / 2);
  while (pool_get(&w->c->pool)) /* and now there is no more */
    ;
  answer(w, 1, "z", 1);
  expect_reply(&w->v[1], 1, V4 ":53", T4 ":4000", "z");
  world_free(w);
}

/* The ring of operations is bounded; what did not fit makes no sense later. */
static void a_skin_that_is_slow_finds_all_in_order(void **state) {
  struct world *w = live_world(2);

  w->hold = true;
  for (int i = 0; i < 3000; i++) {
    struct agent *a = &w->v[i % 2];
    struct ztna_addr src = test_addr(T4 ":1"), dst = test_addr(V4 ":53");
    uint8_t ip[100];
    int n;

    src.port = (uint16_t)(4000 + i % 100);
    n = ip_build_udp(ip, sizeof(ip), &src, &dst, 0, ip, 20);
    send_ip(a, 2, ip, (size_t)n);
    if (i % 20 == 0) run(w, 10 * MS);
    if (i % 1000 == 0) {
      w->hold = false;
      take_ops(w);
      w->hold = true;
    }
  }
  w->hold = false;
  run(w, 200 * MS);
  assert_true(drops(w, REASON_RATE_LIMITED) > 0);
  assert_int_equal(n_open(w), w->c->counters.n_flows);
  run(w, 130 * SEC);
  assert_int_equal(n_open(w), 0);
  assert_int_equal(w->c->counters.n_flows, 0);
  world_free(w);
}

static void it_may_be_freed_with_everything_under_way(void **state) {
  struct world *w = live_world(2);
  static uint8_t ip[4000], f[1280];
  struct ztna_addr src = test_addr(T4 ":4000"), dst = test_addr(V4 ":53");
  int n = ip_build_udp(ip, sizeof(ip), &src, &dst, 0, ip, 3000);
  struct ip_cut cut = {.pkt = ip, .len = (size_t)n, .mtu = 1280, .id = 1};
  struct backend_op op;
  size_t len;

  w->hold = true;
  for (int i = 0; i < 3; i++) {
    cut.off = 0;
    cut.id++;
    while ((len = ip_cut_next(&cut, f))) send_ip(&w->v[0], 2, f, len);
    run(w, 20 * MS);
  }
  send_udp(&w->v[1], 4000, V4 ":53", "x");
  assert_true(connector_backend_next(w->c, &op));
  assert_true(connector_backend_next(w->c, &op));
  assert_int_equal(op.len, 3000);
  connector_stop(w->c, w->now);
  world_free(w);
}

static void a_stop_says_goodbye(void **state) {
  struct world *w = live_world(1);

  connector_stop(w->c, w->now);
  run(w, SEC);
  assert_true(connector_stopped(w->c));
  assert_int_equal(w->v[0].n_end, 1);
  assert_string_equal(w->v[0].reason, "shutting-down");
  world_free(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(udp_goes_to_the_backend_and_back),
      TEST(an_echo_is_asked_of_the_backend),
      TEST(an_echo_reflects_the_service),
      TEST(an_unreachable_backend_is_looked_up_again),
      TEST(errors_of_the_backend_come_back_as_icmp),
      TEST(a_wrong_source_gets_nowhere),
      TEST(a_wrong_destination_gets_nowhere),
      TEST(a_port_that_is_not_granted_is_prohibited),
      TEST(a_port_without_backend_is_unreachable),
      TEST(other_protocols_are_refused),
      TEST(a_context_that_is_not_open_carries_nothing),
      TEST(only_what_was_granted_is_opened),
      TEST(naming_anothers_grant_does_not_end_it),
      TEST(another_tunnel_address_ends_the_path),
      TEST(another_agent_does_not_get_in),
      TEST(big_datagrams_arrive_in_fragments),
      TEST(fragments_are_judged_like_others),
      TEST(long_replies_are_cut),
      TEST(an_agent_has_its_share_of_flows),
      TEST(a_full_table_takes_from_none_but_its_own),
      TEST(who_has_no_flow_to_give_reads_why),
      TEST(flows_end_when_they_are_idle),
      TEST(equal_addresses_of_two_agents_are_told_apart),
      TEST(nothing_comes_back_under_a_revoked_grant),
      TEST(a_changed_grant_binds_both_directions),
      TEST(a_flow_follows_its_service_to_another_context),
      TEST(a_closed_route_closes_its_sockets),
      TEST(a_lease_that_is_not_renewed_ends),
      TEST(a_path_that_stands_leaves_room_for_others),
      TEST(a_skin_that_is_slow_finds_all_in_order),
      TEST(it_may_be_freed_with_everything_under_way),
      TEST(a_stop_says_goodbye),
  };
  struct seeded rnd;
  int rc;

  begin(&rnd);
  rc = cmocka_run_group_tests(tests, NULL, NULL);
  end();
  return rc;
}
