/* test_sim_local.c - programs of an agent without a TUN: TCP connections that
 * its skin accepted, and datagrams, to backends that echo. */
#include "unit/unit.h"

#include "role/agent_int.h"
#include "sim/world.h"

enum { SOCKS = 1060, QUEUE = 20000, LEN = 300000 };

static const struct sim_config plain = {
    .seed = 1, .n_agents = 1, .n_connectors = 1};

/* --- backends: what they get they give back */

static struct backend {
  bool used, reading, shut, ended;
  size_t n;
  uint8_t q[QUEUE];
} backends[SOCKS];
static bool refusing;
static int n_closed, n_aborted;
static void (*connector_drain)(struct sim_node *n);

static void backend_takes(struct sim *w, struct connector *c, uint32_t i) {
  struct backend *b = &backends[i];
  struct ztna_sock_vec v;

  while (b->n < QUEUE && connector_sock_peek(c, i, &v, 1) == 1) {
    size_t n = v.len < QUEUE - b->n ? v.len : QUEUE - b->n;

    memcpy(b->q + b->n, v.base, n);
    b->n += n;
    connector_sock_wrote(c, w->now, i, n);
  }
}

static void backend_gives(struct sim *w, struct connector *c, uint32_t i) {
  struct backend *b = &backends[i];
  size_t room;
  uint8_t *to;

  while (b->reading && b->n) {
    if (!(to = connector_sock_room(c, i, &room))) {
      b->reading = false;
      return;
    }
    if (room > b->n) room = b->n;
    memcpy(to, b->q, room);
    memmove(b->q, b->q + room, b->n -= room);
    connector_sock_read(c, w->now, i, room);
    backend_takes(w, c, i);
  }
  if (b->reading && b->shut && !b->n && !b->ended) {
    b->ended = true;
    connector_sock_eof(c, w->now, i);
  }
}

static void backend_op(struct sim *w, struct connector *c,
                       const struct ztna_sock_op *op) {
  struct backend *b = &backends[op->sock];

  assert_true(op->sock < SOCKS);
  switch (op->what) {
  case ZTNA_SOCK_CONNECT:
    if (refusing) {
      connector_sock_failed(c, w->now, op->sock, ZTNA_SOCK_REFUSED);
      return;
    }
    memset(b, 0, sizeof(*b));
    b->used = true;
    connector_sock_connected(c, w->now, op->sock);
    return;
  case ZTNA_SOCK_READ:
    b->reading = true;
    break;
  case ZTNA_SOCK_WRITE:
    backend_takes(w, c, op->sock);
    break;
  case ZTNA_SOCK_SHUT:
    b->shut = true;
    break;
  default:
    b->used = false;
    n_closed += op->what == ZTNA_SOCK_CLOSE;
    n_aborted += op->what == ZTNA_SOCK_ABORT;
    return;
  }
  backend_gives(w, c, op->sock);
}

static void drain_backends(struct sim_node *n) {
  struct connector *c = ((struct sim_connector *)n->ud)->core;
  struct ztna_sock_op op;

  while (connector_sock_next(c, &op)) backend_op(n->w, c, &op);
  connector_drain(n);
}

/* --- the program */

static struct program {
  uint32_t sock;
  size_t to_send, sent, got;
  bool reading, stays, closed, aborted, ended, bad;
  const char *why;
} prog;
static void (*agent_drain)(struct sim_node *n);

static uint8_t byte_at(size_t at) { return (uint8_t)(at * 7 + at / 251); }

static void program_gives(struct sim *w, struct ztna_agent *a) {
  size_t room, n;
  uint8_t *to;

  while (prog.reading && prog.sent < prog.to_send) {
    if (!(to = ztna_agent_sock_room(a, prog.sock, &room))) {
      prog.reading = false;
      return;
    }
    n = prog.to_send - prog.sent;
    if (room > n) room = n;
    for (size_t i = 0; i < room; i++) to[i] = byte_at(prog.sent++);
    ztna_agent_sock_read(a, w->now, prog.sock, room);
  }
  if (!prog.reading || prog.stays || prog.ended || prog.sent < prog.to_send)
    return;
  prog.ended = true;
  ztna_agent_sock_eof(a, w->now, prog.sock);
}

static void program_takes(struct sim *w, struct ztna_agent *a) {
  struct ztna_sock_vec v;

  while (ztna_agent_sock_peek(a, prog.sock, &v, 1) == 1) {
    for (size_t i = 0; i < v.len; i++)
      prog.bad |= v.base[i] != byte_at(prog.got++);
    ztna_agent_sock_wrote(a, w->now, prog.sock, v.len);
  }
}

static void drain_program(struct sim_node *n) {
  struct ztna_agent *a = ((struct sim_agent *)n->ud)->core;
  struct ztna_sock_op op;

  while (ztna_agent_sock_next(a, &op)) {
    assert_int_equal(op.sock, prog.sock);
    if (op.what == ZTNA_SOCK_READ) prog.reading = true;
    if (op.what == ZTNA_SOCK_WRITE) program_takes(n->w, a);
    if (op.what == ZTNA_SOCK_CLOSE) prog.closed = true;
    if (op.what != ZTNA_SOCK_ABORT) continue;
    prog.aborted = true;
    prog.reading = false;
    prog.why = ztna_agent_sock_why(a, op.sock);
  }
  program_gives(n->w, a);
  agent_drain(n);
}

/* --- the world */

static struct sim *world(void) {
  struct sim *w = sim_new(&plain);

  memset(&prog, 0, sizeof(prog));
  memset(backends, 0, sizeof(backends));
  refusing = false;
  n_closed = n_aborted = 0;
  connector_drain = w->connectors[0].node.drain;
  w->connectors[0].node.drain = drain_backends;
  agent_drain = w->agents[0].node.drain;
  w->agents[0].node.drain = drain_program;
  return w;
}

static bool is_listed(struct sim *w, void *ud) {
  struct ztna_addr v[SIM_SERVICES * 2];

  return ztna_agent_routes(w->agents[0].core, v, SIM_SERVICES * 2) > 0;
}

static struct sim *ready(void) {
  struct sim *w = world();

  assert_true(sim_until(w, is_listed, NULL, 5 * SEC));
  sim_run(w, 100 * MS);
  return w;
}

static int open_to(struct sim *w, const char *service) {
  struct ztna_addr from = test_addr("127.0.0.1:50000");
  int rc = ztna_agent_sock_open(w->agents[0].core, w->now, service, SIM_PORT,
                                &from, &prog.sock);

  if (rc == 0) w->agents[0].node.drain(&w->agents[0].node);
  return rc;
}

static bool is_over(struct sim *w, void *ud) {
  return prog.closed || prog.aborted;
}

static void assert_echoed(struct sim *w) {
  assert_true(sim_until(w, is_over, NULL, 30 * SEC));
  assert_false(prog.bad || prog.aborted);
  assert_int_equal(prog.got, prog.to_send);
}

/* --- TCP */

static void program_reaches_a_service_and_ends_well(void **state) {
  struct sim *w = ready();

  prog.to_send = LEN;
  assert_int_equal(open_to(w, "echo"), 0);
  assert_echoed(w);
  sim_run(w, SEC);
  assert_int_equal(n_closed, 1);
  assert_int_equal(n_aborted, 0);
  assert_int_equal(sim_agent_counter(w, 0, "ztna_agent_tcp_flows", NULL), 0);
  sim_free(w);
}

/* Grant, path and context are made for it: a few round trips of 40 ms. */
static void first_program_waits_no_longer_than_it_must(void **state) {
  struct sim *w = ready();

  prog.stays = true;
  assert_int_equal(open_to(w, "echo"), 0);
  sim_run(w, 400 * MS);
  assert_true(prog.reading);
  sim_free(w);
}

static void service_is_known_by_its_address_too(void **state) {
  struct sim *w = ready();

  prog.to_send = 1000;
  assert_int_equal(open_to(w, "10.100.0.10"), 0);
  assert_echoed(w);
  memset(&prog, 0, sizeof(prog));
  prog.to_send = 1000;
  assert_int_equal(open_to(w, "fd5a:10::10"), 0);
  assert_echoed(w);
  assert_int_equal(open_to(w, "10.100.0.77"), ZTNA_ENOENT);
  sim_free(w);
}

static void refused_backend_resets_the_program_and_says_why(void **state) {
  struct sim *w = ready();

  refusing = true;
  assert_int_equal(open_to(w, "echo"), 0);
  assert_true(sim_until(w, is_over, NULL, 5 * SEC));
  assert_true(prog.aborted);
  assert_string_equal(prog.why, "backend-refused");
  sim_free(w);
}

static void service_nobody_serves_is_refused(void **state) {
  struct sim *w = ready();

  assert_int_equal(open_to(w, "nobody"), ZTNA_ENOENT);
  assert_int_equal(open_to(w, "other"), 0);
  assert_true(sim_until(w, is_over, NULL, 5 * SEC));
  assert_string_equal(prog.why, "no-connector");
  sim_free(w);
}

static void program_may_be_earlier_than_the_relay(void **state) {
  struct sim *w = world();

  prog.to_send = 1000;
  assert_int_equal(open_to(w, "echo"), 0);
  assert_echoed(w);
  sim_free(w);
}

static void program_waits_ten_seconds_for_a_relay(void **state) {
  struct sim *w = world();

  sim_relay_stop(w);
  assert_int_equal(open_to(w, "echo"), 0);
  sim_run(w, 9 * SEC);
  assert_false(is_over(w, NULL));
  sim_run(w, 3 * SEC);
  assert_true(prog.aborted);
  assert_string_equal(prog.why, "relay-unreachable");
  sim_free(w);
}

static bool is_under_way(struct sim *w, void *ud) { return prog.got > 0; }

static void connection_outlives_a_relay_restarted_in_its_middle(void **state) {
  struct sim *w = ready();

  prog.to_send = 3 * LEN;
  prog.stays = true;
  assert_int_equal(open_to(w, "echo"), 0);
  assert_true(sim_until(w, is_under_way, NULL, 5 * SEC));
  sim_relay_stop(w);
  sim_run(w, 5 * SEC);
  assert_false(is_over(w, NULL));
  sim_relay_start(w);
  prog.stays = false;
  assert_echoed(w);
  sim_free(w);
}

/* The connection is new, so it is lost; the flow is not. */
static void connection_outlives_its_path(void **state) {
  struct sim *w = ready();

  prog.to_send = 3 * LEN;
  prog.stays = true;
  assert_int_equal(open_to(w, "echo"), 0);
  assert_true(sim_until(w, is_under_way, NULL, 5 * SEC));
  sim_relay_stop(w);
  sim_run(w, 35 * SEC); /* longer than a path's idle time-out */
  assert_false(is_over(w, NULL));
  sim_relay_start(w);
  prog.stays = false;
  assert_echoed(w);
  sim_free(w);
}

static void stopped_agent_resets_its_programs(void **state) {
  struct sim *w = ready();

  prog.to_send = 1000;
  prog.stays = true;
  assert_int_equal(open_to(w, "echo"), 0);
  assert_true(sim_until(w, is_under_way, NULL, 5 * SEC));
  ztna_agent_stop(w->agents[0].core, w->now);
  w->agents[0].node.drain(&w->agents[0].node);
  assert_true(prog.aborted);
  assert_string_equal(prog.why, "shutting-down");
  sim_run(w, 62 * SEC); /* it might come back */
  assert_int_equal(n_aborted, 1);
  sim_free(w);
}

/* A relay or a connector may be away for a while; a permission that was taken
 * back is not there. */
static void refusals_end_connections_only_when_they_are_final(void **state) {
  struct sim *w = ready();
  struct ztna_agent *a = w->agents[0].core;

  prog.to_send = 1000;
  prog.stays = true;
  assert_int_equal(open_to(w, "echo"), 0);
  assert_true(sim_until(w, is_under_way, NULL, 5 * SEC));
  agent_service_refuse(a, agent_service_named(a, "echo"), REASON_NO_CONNECTOR);
  sim_run(w, 5 * SEC);
  assert_false(prog.aborted);
  agent_service_refuse(a, agent_service_named(a, "echo"), REASON_REVOKED);
  sim_run(w, SEC);
  assert_true(prog.aborted);
  assert_string_equal(prog.why, "revoked");
  assert_int_equal(n_aborted, 1);
  sim_free(w);
}

static int n_reading, n_refused;

static void count_reading(struct sim_node *n) {
  struct ztna_agent *a = ((struct sim_agent *)n->ud)->core;
  struct ztna_sock_op op;

  while (ztna_agent_sock_next(a, &op)) {
    n_reading += op.what == ZTNA_SOCK_READ;
    n_refused += op.what == ZTNA_SOCK_ABORT;
  }
  agent_drain(n);
}

/* They take turns for the streams of a path. */
static void more_programs_than_streams_wait_for_each_other(void **state) {
  enum { OPEN = PATH_STREAMS - 1, ENDED = 20 };
  struct ztna_addr from = test_addr("127.0.0.1:50000");
  struct sim *w = ready();
  struct ztna_agent *a = w->agents[0].core;
  uint32_t sock[SOCKS];

  n_reading = n_refused = 0;
  w->agents[0].node.drain = count_reading;
  for (int i = 0; i < SOCKS; i++)
    assert_int_equal(
        ztna_agent_sock_open(a, w->now, "echo", SIM_PORT, &from, &sock[i]), 0);
  count_reading(&w->agents[0].node);
  sim_run(w, 3 * SEC);
  assert_int_equal(n_refused, 0);
  assert_int_equal(n_reading, OPEN);
  for (int i = 0; i < ENDED; i++) /* the oldest are the ones that are open */
    ztna_agent_sock_eof(a, w->now, sock[i]);
  count_reading(&w->agents[0].node);
  sim_run(w, 500 * MS);
  assert_int_equal(n_refused, 0);
  assert_int_equal(n_reading, OPEN + ENDED);
  sim_free(w);
}

/* --- UDP */

static int ask(struct sim *w, uint32_t local, const char *service, size_t len) {
  static uint8_t data[65536];
  int rc;

  for (size_t i = 0; i < len; i++) data[i] = byte_at(i + local);
  rc = ztna_agent_udp_send(w->agents[0].core, w->now, local, service, SIM_PORT,
                           data, len);
  agent_drain(&w->agents[0].node);
  return rc;
}

static void assert_answer(struct sim *w, uint32_t want, size_t want_len) {
  const uint8_t *data;
  uint32_t local;
  size_t len;

  sim_run(w, SEC);
  assert_true(ztna_agent_udp_next(w->agents[0].core, &local, &data, &len));
  assert_int_equal(local, want);
  assert_int_equal(len, want_len);
  for (size_t i = 0; i < len; i++)
    assert_int_equal(data[i], byte_at(i + local));
}

static void assert_no_answer(struct sim *w) {
  const uint8_t *data;
  uint32_t local;
  size_t len;

  sim_run(w, SEC);
  assert_false(ztna_agent_udp_next(w->agents[0].core, &local, &data, &len));
}

static void datagrams_are_answered_by_number(void **state) {
  struct sim *w = ready();

  assert_int_equal(ask(w, 5, "echo", 100), 0);
  assert_answer(w, 5, 100);
  assert_int_equal(ask(w, ZTNA_AGENT_UDP_MAX - 1, "fd5a:10::10", 1), 0);
  assert_answer(w, ZTNA_AGENT_UDP_MAX - 1, 1);
  assert_int_equal(ask(w, 0, "echo", 0), 0);
  assert_answer(w, 0, 0);
  assert_no_answer(w);
  sim_free(w);
}

static void large_datagrams_arrive_whole(void **state) {
  struct sim *w = ready();

  assert_int_equal(ask(w, 1, "echo", 9000), 0);
  assert_answer(w, 1, 9000);
  assert_int_equal(ask(w, 1, "fd5a:10::10", 5000), 0);
  assert_answer(w, 1, 5000);
  assert_int_equal(ask(w, 1, "echo", 65508), ZTNA_ESIZE);
  sim_free(w);
}

static void forgotten_numbers_hear_nothing(void **state) {
  struct sim *w = ready();

  assert_int_equal(ask(w, 3, "echo", 100), 0);
  ztna_agent_udp_forget(w->agents[0].core, 3);
  assert_no_answer(w);
  assert_int_equal(ask(w, 3, "nobody", 100), ZTNA_ENOENT);
  assert_int_equal(ask(w, ZTNA_AGENT_UDP_MAX, "echo", 100), ZTNA_EFULL);
  sim_free(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(program_reaches_a_service_and_ends_well),
      TEST(first_program_waits_no_longer_than_it_must),
      TEST(service_is_known_by_its_address_too),
      TEST(refused_backend_resets_the_program_and_says_why),
      TEST(service_nobody_serves_is_refused),
      TEST(program_may_be_earlier_than_the_relay),
      TEST(program_waits_ten_seconds_for_a_relay),
      TEST(connection_outlives_a_relay_restarted_in_its_middle),
      TEST(connection_outlives_its_path),
      TEST(stopped_agent_resets_its_programs),
      TEST(refusals_end_connections_only_when_they_are_final),
      TEST(more_programs_than_streams_wait_for_each_other),
      TEST(datagrams_are_answered_by_number),
      TEST(large_datagrams_arrive_whole),
      TEST(forgotten_numbers_hear_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
