/* test_sim_offload.c - what a kernel leaves unfinished arrives finished: UDP
 * super-packets and packets without checksum, as a TUN device with offload
 * hands them to the agent. The connector checks every checksum. */
#include "unit/unit.h"

#include "codec/ip.h"
#include "role/agent_int.h"
#include "sim/world.h"

enum { PORT = 41000 };

static struct sim *world(void) {
  struct sim_config cfg = {.seed = 3, .n_agents = 1, .n_connectors = 1};

  return sim_new(&cfg);
}

static bool is_answered(struct sim *w, void *ud) {
  return w->agents[0].app.n_got > 0;
}

/* One question, so that the service is open. */
static void open_service(struct sim *w, bool v6) {
  sim_run(w, SEC);
  assert_true(app_udp(&w->agents[0].app, "echo", v6, 64));
  assert_true(sim_until(w, is_answered, NULL, 5 * SEC));
}

static struct ztna_addr own(struct sim *w, bool v6) {
  struct ztna_addr v[2];
  int n = ztna_agent_addresses(w->agents[0].core, v);

  for (int i = 0; i < n; i++)
    if (v[i].family == (v6 ? 6 : 4)) return v[i];
  fail_msg("no address");
  return v[0];
}

/* UDP to the service whose checksum is not finished. */
static void send_partial(struct sim *w, bool v6, size_t payload,
                         uint16_t gso_size) {
  static uint8_t pkt[65535], data[65535];
  struct ztna_addr from = own(w, v6), to = sim_service_addr("echo", v6);
  struct ztna_ip ip = {.data = pkt, .gso_size = gso_size, .partial = true};
  int n;

  from.port = PORT;
  to.port = SIM_PORT;
  for (size_t i = 0; i < payload; i++) data[i] = (uint8_t)(i % 251);
  n = ip_build_udp(pkt, sizeof(pkt), &from, &to, 0, data, payload);
  assert_true(n > 0);
  pkt[(v6 ? IP6_HEADER : IP4_HEADER) + 7] ^= 0xff;
  ip.len = (size_t)n;
  ztna_agent_ip_in(w->agents[0].core, w->now, &ip);
  w->agents[0].node.drain(&w->agents[0].node);
}

static uint64_t drops(struct sim *w, const char *reason) {
  return sim_agent_counter(w, 0, "ztna_agent_drops_total", reason);
}

/* The app takes what comes for foreign, as it did not ask: it counts. */
static void arrive(bool v6, size_t payload, uint16_t gso_size, uint64_t want) {
  struct sim *w = world();
  uint64_t asked;

  open_service(w, v6);
  asked = w->connectors[0].n_asked;
  send_partial(w, v6, payload, gso_size);
  sim_run(w, 2 * SEC);
  assert_int_equal(w->connectors[0].n_asked - asked, want);
  assert_int_equal(w->agents[0].app.n_foreign, want);
  assert_int_equal(w->agents[0].app.n_strange, 0);
  assert_int_equal(w->agents[0].app.n_errors, 0);
  sim_free(w);
}

static void a_super_packet_reaches_the_service_as_packets(void **state) {
  arrive(false, 10 * 1200 + 7, 1200, 11);
  arrive(true, 10 * 1200 + 7, 1200, 11);
}

static void a_packet_without_checksum_gets_one(void **state) {
  arrive(false, 333, 0, 1);
  arrive(true, 333, 0, 1);
  arrive(false, 0, 0, 1);
  arrive(false, 100, 1200, 1); /* a super-packet of less than one packet */
  arrive(false, 0, 1200, 1);
}

static void the_first_super_packet_waits_for_the_grant(void **state) {
  struct sim *w = world();

  sim_run(w, SEC);
  send_partial(w, false, 5000, 1000);
  sim_run(w, 5 * SEC);
  assert_int_equal(w->connectors[0].n_asked, 5);
  sim_free(w);
}

static void segments_above_the_mtu_are_told_so_once(void **state) {
  struct sim *w = world();

  open_service(w, false);
  send_partial(w, false, 20000, 1400);
  assert_int_equal(w->agents[0].app.n_errors, 1);
  assert_int_equal(w->agents[0].app.error_type, 3);
  assert_int_equal(w->agents[0].app.error_code, 4);
  assert_int_equal(drops(w, "packet-too-big"), 1);
  sim_free(w);
}

static void more_segments_than_any_kernel_makes_are_dropped(void **state) {
  struct sim *w = world();
  uint64_t asked;

  open_service(w, false);
  asked = w->connectors[0].n_asked;
  send_partial(w, false, 60000, 1);
  assert_int_equal(drops(w, "rate-limited"), 60000 - 1024);
  sim_run(w, 10 * SEC);
  assert_true(w->connectors[0].n_asked - asked <= 1024);
  sim_free(w);
}

/* Nobody makes super-packets of these; what is none must not be cut. */
static void what_is_neither_udp_nor_tcp_is_no_super_packet(void **state) {
  struct sim *w = world();
  struct ztna_addr from, to = sim_service_addr("echo", false);
  uint8_t pkt[2048], data[600] = {0};
  struct ztna_ip ip = {.data = pkt, .gso_size = 100, .partial = true};

  open_service(w, false);
  from = own(w, false);
  ip.len = (size_t)ip_build_echo(pkt, sizeof(pkt), &from, &to, false, 1, 1,
                                 data, sizeof(data));
  ztna_agent_ip_in(w->agents[0].core, w->now, &ip);
  assert_int_equal(drops(w, "malformed"), 1);
  sim_free(w);
}

/* The checksum is forgiven only to who said that it is not there yet. */
static void a_wrong_checksum_is_dropped(void **state) {
  struct sim *w = world();
  struct ztna_addr from, to = sim_service_addr("echo", false);
  uint8_t pkt[128];
  struct ztna_ip ip = {.data = pkt};

  open_service(w, false);
  from = own(w, false);
  from.port = PORT;
  to.port = SIM_PORT;
  ip.len = (size_t)ip_build_udp(pkt, sizeof(pkt), &from, &to, 0,
                                (const uint8_t *)"hello", 5);
  pkt[IP4_HEADER + 7] ^= 0xff;
  ztna_agent_ip_in(w->agents[0].core, w->now, &ip);
  assert_int_equal(drops(w, "malformed"), 1);
  sim_free(w);
}

static bool is_refused(struct sim *w, void *ud) {
  return w->agents[0].app.n_errors > 0;
}

/* Told once, not for each of its packets. */
static void a_refused_super_packet_is_told_so_once(void **state) {
  struct sim *w = world();
  uint64_t before;

  sim_connector_stop(w, 0);
  sim_run(w, 60 * SEC); /* until the relay knows */
  assert_true(app_udp(&w->agents[0].app, "echo", false, 64));
  assert_true(sim_until(w, is_refused, NULL, 60 * SEC));
  w->agents[0].app.n_errors = 0;
  before = drops(w, "no-connector");
  send_partial(w, false, 10000, 1000);
  assert_int_equal(w->agents[0].app.n_errors, 1);
  assert_int_equal(drops(w, "no-connector") - before, 10);
  sim_free(w);
}

/* --- answers, to a TUN that takes super-packets of UDP --- */

static unsigned n_trains, n_in_trains;

static void take_train(struct app *app, const struct ztna_ip *ip) {
  uint8_t pkt[2048];
  struct ip_pkt p;
  int len;

  n_trains++;
  assert_true(ip->partial);
  assert_int_equal(ip_parse_partial(&p, ip->data, ip->len), 0);
  for (size_t i = 0;
       (len = ip_build_segment(pkt, sizeof(pkt), &p, ip->gso_size, i)) > 0;
       i++) {
    n_in_trains++;
    app_in(app, pkt, (size_t)len);
  }
}

static void drain(struct sim_node *n) {
  struct sim_agent *g = n->ud;
  struct ztna_ip ip;
  struct dgram v[16];
  int got;

  while ((got = ztna_agent_next(g->core, n->w->now, v, 16)) > 0)
    for (int i = 0; i < got; i++) vnet_send(n->host, &v[i]);
  while (ztna_agent_ip_next(g->core, &ip))
    if (ip.gso_size)
      take_train(&g->app, &ip);
    else
      app_in(&g->app, ip.data, ip.len);
}

static void answers(bool offload_udp, bool v6) {
  struct sim *w = world();
  struct app *app = &w->agents[0].app;

  n_trains = n_in_trains = 0;
  open_service(w, v6);
  w->agents[0].core->offload_udp = offload_udp;
  w->agents[0].node.drain = drain;
  send_partial(w, v6, 100 * 64, 64);
  for (int i = 0; i < 20; i++) assert_true(app_udp(app, "echo", v6, 64));
  sim_run(w, 2 * SEC);
  assert_int_equal(app->n_got, 1 + 20);
  assert_int_equal(app->n_foreign, 100);
  assert_int_equal(app->n_strange, 0);
  sim_free(w);
}

static void answers_that_come_together_leave_as_one(void **state) {
  answers(true, false);
  assert_true(n_trains > 0 && n_in_trains > 60);
  answers(true, true);
  assert_true(n_trains > 0 && n_in_trains > 60);
}

static void a_tun_that_takes_none_gets_none(void **state) {
  answers(false, false);
  assert_int_equal(n_trains, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_super_packet_reaches_the_service_as_packets),
      TEST(a_packet_without_checksum_gets_one),
      TEST(the_first_super_packet_waits_for_the_grant),
      TEST(segments_above_the_mtu_are_told_so_once),
      TEST(more_segments_than_any_kernel_makes_are_dropped),
      TEST(what_is_neither_udp_nor_tcp_is_no_super_packet),
      TEST(a_wrong_checksum_is_dropped),
      TEST(a_refused_super_packet_is_told_so_once),
      TEST(answers_that_come_together_leave_as_one),
      TEST(a_tun_that_takes_none_gets_none),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
