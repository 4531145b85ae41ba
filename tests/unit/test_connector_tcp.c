/* test_connector_tcp.c - TCP flows of agents at a connector: the agents' ends
 * are real flows on real paths, the backends' sockets are played. */
#include "fake/connector_clients.c"

/* --- open --- */

static void bytes_go_both_ways_and_end(void **state) {
  struct world *w = tcp_world(1);
  struct client *c = opened(&w->v[0], 0);
  struct server *s = &w->servers[0];

  assert_int_equal(s->n_to, 2);
  assert_int_equal(s->to[0].family, 6);
  assert_int_equal(s->timeout, 5 * SEC);
  send(c, "hello", 5);
  assert_int_equal(s->n_got, 5);
  assert_memory_equal(s->got, "hello", 5);
  serve(w, 0, "world", 5);
  assert_memory_equal(c->got, "world", 5);
  tcpflow_fin(&c->f);
  run(w, 50 * MS);
  assert_int_equal(s->n_shuts, 1);
  serve(w, 0, "!", 1);
  connector_sock_eof(w->c, w->now, 0);
  run(w, 100 * MS);
  assert_int_equal(c->n_got, 6);
  assert_true(c->at_end);
  assert_true(c->over);
  assert_int_equal(c->why, REASON_NONE);
  assert_int_equal(s->n_closes, 1);
  assert_int_equal(w->c->counters.n_tcp_flows, 0);
  assert_int_equal(w->c->counters.tcp_ended[REASON_NONE], 1);
  assert_int_equal(w->c->tcp.n_in, 5);
  assert_int_equal(w->c->tcp.n_out, 6);
  assert_int_equal(w->c->tcp.pool.used, 0);
  done(w);
}

/* What came behind the head is delivered after the answer. */
static void early_data_and_its_end_are_kept(void **state) {
  struct world *w = tcp_world(1);
  struct client *c = &clients[0];

  w->connect = NO_ANSWER;
  start_from(c, &w->v[0], 2, "[" T6 "]:50000", "[" V6 "]:80");
  send(c, "GET", 3);
  tcpflow_fin(&c->f);
  run(w, 200 * MS);
  assert_false(c->answered);
  w->servers[0].connected = true;
  connector_sock_connected(w->c, w->now, 0);
  run(w, 200 * MS);
  assert_true(c->answered);
  assert_memory_equal(w->servers[0].got, "GET", 3);
  assert_int_equal(w->servers[0].n_shuts, 1);
  done(w);
}

static void what_is_not_allowed_is_refused(void **state) {
  static const struct {
    int context;
    const char *src, *dst;
    enum reason why;
  } asked[] = {
      {4, T4 ":50000", V4 ":80", REASON_NOT_ALLOWED},
      {2, "100.64.0.8:50000", V4 ":80", REASON_WRONG_SOURCE},
      {2, T4 ":50000", "10.100.0.3:80", REASON_WRONG_DESTINATION},
      {2, T4 ":50000", V4 ":95", REASON_PORT_NOT_ALLOWED}, /* not granted */
      {2, T4 ":50000", V4 ":53", REASON_PORT_NOT_ALLOWED},
      {2, T4 ":50000", V4 ":85", REASON_PORT_NOT_ALLOWED}, /* no backend */
      {2, T4 ":50000", V4 ":82", REASON_BACKEND_DOWN},     /* not resolved */
  };
  struct world *w = tcp_world(1);

  for (size_t i = 0; i < N_OF(asked); i++) {
    start_from(&clients[i], &w->v[0], asked[i].context, asked[i].src,
               asked[i].dst);
    expect_answer(&clients[i], asked[i].why);
    assert_int_equal(n_servers(w), 0);
  }
  assert_int_equal(refused(w, REASON_PORT_NOT_ALLOWED), 3);
  assert_int_equal(refused(w, REASON_WRONG_SOURCE), 1);
  assert_int_equal(w->c->counters.n_tcp_flows, 0);
  assert_true(path_is_live(w->v[0].path));
  done(w);
}

static void the_backends_answer_is_the_agents(void **state) {
  struct world *w = tcp_world(1);
  size_t service, backend;

  assert_false(connector_wants_backend(w->c, &service, &backend));
  w->connect = REFUSED;
  start(&clients[0], &w->v[0], V4 ":80");
  expect_answer(&clients[0], REASON_BACKEND_REFUSED);
  assert_true(connector_wants_backend(w->c, &service, &backend));
  assert_int_equal(service, 0);
  assert_int_equal(backend, 2);
  w->connect = UNREACHABLE;
  start(&clients[1], &w->v[0], V4 ":80");
  expect_answer(&clients[1], REASON_BACKEND_UNREACHABLE);
  assert_false(connector_wants_backend(w->c, &service, &backend));
  run(w, 10 * SEC); /* not so soon again */
  assert_true(connector_wants_backend(w->c, &service, &backend));
  assert_false(connector_wants_backend(w->c, &service, &backend));
  assert_int_equal(refused(w, REASON_BACKEND_REFUSED), 1);
  assert_int_equal(w->c->counters.n_tcp_opened, 0);
  assert_int_equal(w->c->counters.n_tcp_flows, 0);
  done(w);
}

static void a_draining_connector_keeps_what_it_has(void **state) {
  struct world *w = tcp_world(1);
  struct client *c = opened(&w->v[0], 0);

  connector_set_draining(w->c, true, w->now);
  run(w, SEC);
  start(&clients[1], &w->v[0], V4 ":80");
  expect_answer(&clients[1], REASON_DRAINING);
  send(c, "on", 2);
  assert_int_equal(w->servers[0].n_got, 2);
  done(w);
}

static void a_reset_of_the_backend_comes_behind_its_bytes(void **state) {
  struct world *w = tcp_world(1);
  struct client *c = opened(&w->v[0], 0);

  memcpy(connector_sock_room(w->c, 0, &(size_t){0}), "last", 4);
  connector_sock_read(w->c, w->now, 0, 4);
  connector_sock_failed(w->c, w->now, 0, ZTNA_SOCK_RESET);
  w->servers[0].there = w->servers[0].connected = false;
  run(w, 200 * MS);
  assert_memory_equal(c->got, "last", 4);
  assert_true(c->over);
  assert_int_equal(c->why, REASON_RESET);
  assert_int_equal(w->c->counters.n_tcp_flows, 0);
  done(w);
}

static void a_proxy_header_comes_first(void **state) {
  static const uint8_t want[] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51,
                                 0x55, 0x49, 0x54, 0x0a, 0x21, 0x11, 0x00, 0x37,
                                 100,  64,   0,    9,    10,   100,  0,    2,
                                 0xc3, 0x50, 0x00, 0x51, 0x05, 0x00, 0x08};
  static const char agent[] = "\xe0\x00\x1d"
                              "spiffe://example.org/agent/a0";
  struct world *w = tcp_world(1);
  struct client *c = &clients[0];
  const uint8_t *got = w->servers[0].got;

  start(c, &w->v[0], V4 ":81");
  expect_answer(c, REASON_NONE);
  send(c, "hello", 5);
  assert_memory_equal(got, want, sizeof(want));
  got += sizeof(want);
  assert_memory_equal(got, c->f.id, FLOW_ID_LEN);
  got += FLOW_ID_LEN;
  assert_memory_equal(got, agent, sizeof(agent) - 1);
  got += sizeof(agent) - 1;
  assert_memory_equal(got, "hello", 5);
  assert_int_equal(w->c->counters.n_proxy_headers, 1);
  assert_int_equal(c->f.common->n_out, 5); /* it is none of the flow's bytes */
  done(w);
}

/* --- heads --- */

/* A stream of an agent without a flow's manners. */
struct raw {
  struct stream *s;
  uint8_t out[FLOW_HEAD_MAX + 8];
  size_t n_out, n_sent;
  int n_got, n_gone;
  uint8_t got;
};

static int raw_out(struct stream *s, void *ud, struct quic_vec *v, int n,
                   bool *fin) {
  struct raw *r = ud;

  v[0] = (struct quic_vec){r->out + r->n_sent, r->n_out - r->n_sent};
  return v[0].len ? 1 : 0;
}

static void raw_sent(struct stream *s, void *ud, size_t n, bool fin) {
  ((struct raw *)ud)->n_sent += n;
}

static void raw_data(struct stream *s, void *ud, const uint8_t *data,
                     size_t len, bool fin) {
  struct raw *r = ud;

  if (len) r->got = data[0];
  r->n_got += (int)len;
  stream_credit(s, len);
}

static void raw_acked(struct stream *s, void *ud, uint64_t offset) {}
static void raw_reset(struct stream *s, void *ud, uint64_t code) {}
static void raw_gone(struct stream *s, void *ud, bool closed) {
  ((struct raw *)ud)->n_gone++;
}

static const struct stream_ops raw_ops = {.on_data = raw_data,
                                          .on_acked = raw_acked,
                                          .on_reset = raw_reset,
                                          .on_stop = raw_reset,
                                          .on_gone = raw_gone,
                                          .out = raw_out,
                                          .sent = raw_sent};

static struct raw raws[LINK_HEADS + 2];

static void raw_open(struct raw *r, struct agent *a) {
  *r = (struct raw){0};
  r->s = stream_open(a->path, &raw_ops, r);
  assert_non_null(r->s);
}

static void raw_put(struct raw *r, const void *data, size_t len) {
  memcpy(r->out + r->n_out, data, len);
  r->n_out += len;
  stream_wake(r->s);
}

static size_t head_to(uint8_t *to, const char *dst) {
  struct flow_head h = {.kind = FLOW_OPEN,
                        .id = {1, 2, 3, 4, 5, 6, 7, 8},
                        .context = 2,
                        .dst = test_addr(dst),
                        .src = test_addr(T4 ":50000")};

  return flow_head_write(to, &h);
}

static void a_head_may_come_in_pieces(void **state) {
  struct world *w = tcp_world(1);
  struct raw *r = &raws[0];
  uint8_t head[FLOW_HEAD_MAX];
  size_t n = head_to(head, V4 ":80");

  raw_open(r, &w->v[0]);
  for (size_t i = 0; i < n; i++) {
    assert_int_equal(n_servers(w), 0);
    raw_put(r, head + i, 1);
    run(w, 50 * MS);
  }
  assert_int_equal(n_servers(w), 1);
  assert_int_equal(r->n_got, 1);
  assert_int_equal(r->got, 0);
  raw_put(r, "x", 1);
  run(w, 50 * MS);
  assert_int_equal(w->servers[0].n_got, 1);
  assert_int_equal(w->c->links[0]->n_heads, 0);
  done(w);
}

static void half_read_heads_are_few_and_short_lived(void **state) {
  struct world *w = tcp_world(2);
  struct link *l = w->c->links[0];

  for (size_t i = 0; i < N_OF(raws); i++) {
    raw_open(&raws[i], &w->v[0]);
    raw_put(&raws[i], "\x11", 1);
  }
  run(w, 200 * MS);
  assert_int_equal(l->n_heads, LINK_HEADS);
  assert_int_equal(refused(w, REASON_RATE_LIMITED), 2);
  assert_int_equal(raws[LINK_HEADS].got, REASON_RATE_LIMITED);
  opened(&w->v[1], 0); /* another agent */
  stream_reset(raws[0].s, 0);
  run(w, 100 * MS);
  assert_int_equal(l->n_heads, LINK_HEADS - 1);
  run(w, 6 * SEC);
  assert_int_equal(l->n_heads, 0);
  assert_null(w->c->heads);
  assert_int_equal(refused(w, REASON_IDLE), LINK_HEADS - 1);
  opened(&w->v[0], 1);
  done(w);
}

static void half_read_heads_end_with_their_link(void **state) {
  struct world *w = tcp_world(1);

  raw_open(&raws[0], &w->v[0]);
  raw_put(&raws[0], "\x11", 1);
  run(w, 100 * MS);
  assert_non_null(w->c->heads);
  path_close(w->v[0].path, REASON_IDLE);
  run(w, SEC);
  assert_null(w->c->heads);
  done(w);
}

static void a_malformed_head_is_refused(void **state) {
  struct world *w = tcp_world(1);

  raw_open(&raws[0], &w->v[0]);
  raw_put(&raws[0], "\x27 nonsense", 10);
  run(w, 100 * MS);
  assert_int_equal(raws[0].n_got, 1);
  assert_int_equal(raws[0].got, REASON_MALFORMED);
  assert_int_equal(refused(w, REASON_MALFORMED), 1);
  done(w);
}

static void an_id_is_used_once(void **state) {
  struct world *w = tcp_world(2);
  uint8_t head[FLOW_HEAD_MAX];
  size_t n = head_to(head, V4 ":80");

  for (int i = 0; i < 2; i++) {
    raw_open(&raws[i], &w->v[i]);
    raw_put(&raws[i], head, n);
    run(w, 100 * MS);
    assert_int_equal(raws[i].got, i ? REASON_MALFORMED : REASON_NONE);
  }
  assert_int_equal(n_servers(w), 1);
  done(w);
}

/* --- limits --- */

static void an_agent_at_its_limit_does_not_hurt_another(void **state) {
  struct world *w = tcp_world(2);
  int i;

  for (i = 0; i < 8; i++) opened(&w->v[0], i);
  start(&clients[i], &w->v[0], V4 ":80");
  expect_answer(&clients[i++], REASON_TOO_MANY_ROUTES);
  for (; i < 13; i++) opened(&w->v[1], i);
  start(&clients[i], &w->v[1], V4 ":80"); /* all have 12 */
  expect_answer(&clients[i], REASON_TOO_MANY_ROUTES);
  send(&clients[0], "x", 1);
  assert_int_equal(w->servers[0].n_got, 1);
  finish(&clients[0], REASON_NONE); /* and one less makes room */
  run(w, 100 * MS);
  opened(&w->v[0], 20);
  done(w);
}

static void flows_may_not_be_begun_too_fast(void **state) {
  struct world *w = tcp_world(2);

  w->c->links[0]->opens = 0;
  w->c->links[0]->opens_at = w->now + 5 * MS; /* when it arrives */
  start(&clients[0], &w->v[0], V4 ":80");
  expect_answer(&clients[0], REASON_RATE_LIMITED);
  opened(&w->v[1], 1);
  opened(&w->v[0], 2);
  run(w, 10 * SEC);
  start(&clients[3], &w->v[0], V4 ":80");
  expect_answer(&clients[3], REASON_NONE);
  assert_in_range(w->c->links[0]->opens, OPENS_BURST - 1, OPENS_BURST);
  done(w);
}

static void who_fills_the_buffers_gets_no_more(void **state) {
  static uint8_t data[200000];
  struct world *w = tcp_world(2);
  struct client *c = opened(&w->v[0], 0);

  opened(&w->v[1], 1);
  w->servers[0].sleeps = true;
  send(c, data, sizeof(data));
  run(w, 3 * SEC);
  assert_in_range(w->c->tcp.pool.used, 32 << 10, TCPFLOW_KEEP);
  w->c->o.max_buffered = w->c->tcp.pool.used;
  start(&clients[2], &w->v[0], V4 ":80");
  expect_answer(&clients[2], REASON_RATE_LIMITED);
  opened(&w->v[1], 3); /* which holds nothing */
  assert_int_equal(serve(w, 1, "x", 1), 1);
  assert_false(c->over);
  done(w);
}

static void far_too_much_is_taken_from_the_fattest(void **state) {
  static uint8_t data[200000];
  struct world *w = tcp_world(2);
  struct client *c = opened(&w->v[0], 0), *thin = opened(&w->v[0], 1);
  struct client *other = opened(&w->v[1], 2);

  w->c->o.max_buffered = 100000;
  for (int i = 0; i < 3; i++) w->servers[i].sleeps = true;
  send(thin, data, 1000);
  send(other, data, 30000);
  send(c, data, sizeof(data));
  run(w, 2 * SEC);
  assert_true(c->over);
  assert_int_equal(c->why, REASON_RATE_LIMITED);
  assert_int_equal(w->servers[0].n_aborts, 1);
  assert_false(thin->over);
  assert_false(other->over);
  assert_true(w->c->tcp.pool.used <= 100000);
  done(w);
}

/* An agent that reads nothing more does not fill the connector. */
static void a_reader_that_is_gone_stops_the_backend(void **state) {
  static uint8_t data[3 << 20];
  struct world *w = tcp_world(1);
  struct client *c = opened(&w->v[0], 0);
  size_t n;

  w->cut[0] = true;
  n = serve(w, 0, data, sizeof(data));
  assert_in_range(n, TCPFLOW_AHEAD, TCPFLOW_KEEP);
  w->cut[0] = false;
  run(w, 20 * SEC);
  assert_int_equal(c->n_got, n);
  assert_true(w->servers[0].n_reads > 1);
  w->c->o.max_buffered = 100000;
  w->cut[0] = true;
  assert_in_range(serve(w, 0, data, sizeof(data)), 16 << 10, 64 << 10);
  done(w);
}

/* --- resume --- */

static void event(struct agent *a, const char *name, const char *rest) {
  char text[1024];

  snprintf(text, sizeof(text), "{\"event\":\"%s\",%s}", name, rest);
  line(relay_of(a), text);
  run(a->w, 50 * MS);
}

static void close_route(struct agent *a) {
  char text[128];

  snprintf(text, sizeof(text), "\"reason\":\"idle\",\"route\":\"%s\"",
           a->route);
  event(a, "route-closed", text);
  run(a->w, 1100 * MS);
}

static void close_grant(struct agent *a, const char *reason) {
  char text[128];

  snprintf(text, sizeof(text), "\"reason\":\"%s\",\"grant\":\"%s\"", reason,
           a->grant);
  event(a, "grant-closed", text);
  run(a->w, 100 * MS);
}

static void bytes_go_on_by_another_route(void **state) {
  static uint8_t up[20000], down[20000];
  struct world *w = tcp_world(1);
  struct client *c = opened(&w->v[0], 0);
  struct server *s = &w->servers[0];

  for (size_t i = 0; i < sizeof(up); i++) {
    up[i] = (uint8_t)(i * 7 + i / 256);
    down[i] = (uint8_t)(i * 5 + i / 256);
  }
  send(c, up, 5000);
  serve(w, 0, down, 5000);
  w->cut[0] = true;
  send(c, up + 5000, 15000);
  serve(w, 0, down + 5000, 15000);
  close_route(&w->v[0]);
  assert_int_equal(w->c->counters.n_tcp_flows, 1);
  assert_int_equal(w->c->tcp_agents->n_lost, 1);
  path_close(w->v[0].path, REASON_IDLE);
  run(w, SEC);
  assert_int_equal(c->n_lost, 1);
  go_live(&w->v[2]);
  assert_int_equal(tcpflow_resume(&c->f, w->v[2].path), 0);
  run(w, SEC);
  assert_int_equal(s->n_got, sizeof(up));
  assert_memory_equal(s->got, up, sizeof(up));
  assert_int_equal(c->n_got, sizeof(down));
  assert_memory_equal(c->got, down, sizeof(down));
  assert_int_equal(w->c->tcp_agents->n_lost, 0);
  assert_int_equal(w->c->tcp.n_resumed, 1);
  done(w);
}

/* All of what filled the room had arrived, only nobody knew. */
static void a_full_flow_goes_on_reading_when_it_is_resumed(void **state) {
  static uint8_t data[40000];
  struct world *w = tcp_world(1);
  struct client *c = opened(&w->v[0], 0);
  struct server *s = &w->servers[0];
  size_t n, room;
  int reads;

  for (int i = 0; i < 10; i++) /* opens the window for what follows */
    serve(w, 0, data, sizeof(data));
  run(w, SEC);
  w->c->o.max_buffered = 100000;
  w->deaf = true;
  n = serve(w, 0, data, 17000);
  assert_null(connector_sock_room(w->c, 0, &room));
  assert_int_equal(c->n_got, 10 * sizeof(data) + n);
  reads = s->n_reads;
  w->deaf = false;
  w->cut[0] = true;
  close_route(&w->v[0]);
  path_close(w->v[0].path, REASON_IDLE);
  run(w, SEC);
  go_live(&w->v[2]);
  assert_int_equal(tcpflow_resume(&c->f, w->v[2].path), 0);
  run(w, SEC);
  assert_true(s->n_reads > reads);
  done(w);
}

static void a_flow_is_its_agents_alone(void **state) {
  struct world *w = tcp_world(2);
  struct client *c = opened(&w->v[0], 0), thief = {0};
  uint8_t id[FLOW_ID_LEN];

  memcpy(id, c->f.id, sizeof(id));
  close_route(&w->v[0]);
  client_init(&thief, &w->v[1]);
  memcpy(thief.f.id, id, sizeof(id));
  assert_int_equal(tcpflow_resume(&thief.f, w->v[1].path), 0);
  run(w, 100 * MS);
  assert_true(thief.over);
  assert_int_equal(thief.why, REASON_ROUTE_UNKNOWN);
  assert_int_equal(refused(w, REASON_ROUTE_UNKNOWN), 1);
  assert_int_equal(w->c->tcp_agents->next ? 1 : 0, 1);
  go_live(&w->v[2]);
  assert_int_equal(tcpflow_resume(&c->f, w->v[2].path), 0);
  run(w, 100 * MS);
  send(c, "mine", 4);
  assert_memory_equal(w->servers[0].got, "mine", 4);
  done(w);
}

static void a_flow_is_resumed_only_under_a_grant(void **state) {
  struct world *w = tcp_world(1);
  struct client *c = opened(&w->v[0], 0);

  close_route(&w->v[0]);
  grant_ports = "[[53,99,\"udp\"],[81,90,\"tcp\"]]";
  go_live(&w->v[2]);
  grant_ports = "[[53,99,\"udp\"],[80,90,\"tcp\"]]";
  assert_int_equal(tcpflow_resume(&c->f, w->v[2].path), 0);
  run(w, 100 * MS);
  assert_true(c->over);
  assert_int_equal(c->why, REASON_NOT_ALLOWED);
  assert_int_equal(n_servers(w), 1); /* another route may still allow it */
  done(w);
}

static void a_count_that_cannot_be_is_refused(void **state) {
  struct world *w = tcp_world(1);
  struct client *c = opened(&w->v[0], 0);
  struct flow_head h = {.kind = FLOW_RESUME, .count = 1000};
  uint8_t head[FLOW_HEAD_MAX];

  memcpy(h.id, c->f.id, FLOW_ID_LEN);
  raw_open(&raws[0], &w->v[0]);
  raw_put(&raws[0], head, flow_head_write(head, &h));
  run(w, 100 * MS);
  assert_int_equal(raws[0].got, REASON_MALFORMED);
  assert_int_equal(refused(w, REASON_MALFORMED), 1);
  send(c, "on", 2); /* it is where it was */
  assert_memory_equal(w->servers[0].got, "on", 2);
  done(w);
}

static void a_flow_waits_a_minute_for_a_path(void **state) {
  struct world *w = tcp_world(1);

  opened(&w->v[0], 0);
  close_route(&w->v[0]);
  run(w, 55 * SEC);
  assert_int_equal(n_servers(w), 1);
  run(w, 10 * SEC);
  assert_int_equal(w->servers[0].n_aborts, 1);
  assert_int_equal(w->c->counters.tcp_ended[REASON_IDLE], 1);
  assert_int_equal(w->c->counters.n_tcp_flows, 0);
  assert_null(w->c->tcp_agents);
  done(w);
}

static void a_flow_moves_while_both_paths_work(void **state) {
  struct world *w = tcp_world(1);
  struct client *c = opened(&w->v[0], 0);

  go_live(&w->v[2]);
  send(c, "one ", 4);
  assert_int_equal(tcpflow_move(&c->f, w->v[2].path), 0);
  run(w, 200 * MS);
  assert_ptr_equal(stream_path(c->f.stream), w->v[2].path);
  close_route(&w->v[0]);
  send(c, "two", 3);
  assert_memory_equal(w->servers[0].got, "one two", 7);
  serve(w, 0, "three", 5);
  assert_memory_equal(c->got, "three", 5);
  assert_int_equal(w->c->tcp.n_lost, 0);
  done(w);
}

/* --- what ends them --- */

static void a_revoked_grant_resets_its_flows(void **state) {
  struct world *w = tcp_world(2);
  struct client *c = opened(&w->v[0], 0), *other = opened(&w->v[1], 1);

  close_grant(&w->v[0], "revoked");
  assert_true(c->over);
  assert_int_equal(c->why, REASON_REVOKED);
  assert_int_equal(w->servers[0].n_aborts, 1);
  assert_int_equal(w->c->counters.tcp_ended[REASON_REVOKED], 1);
  send(other, "x", 1);
  assert_int_equal(w->servers[1].n_got, 1);
  done(w);
}

/* A refusal by any relay wins, whatever path a flow is on. */
static void a_revoked_grant_resets_flows_on_all_links(void **state) {
  struct world *w = tcp_world(1);
  struct client *c;

  go_live(&w->v[2]);
  c = opened(&w->v[2], 0);
  close_grant(&w->v[0], "not-allowed");
  assert_true(c->over);
  assert_int_equal(c->why, REASON_NOT_ALLOWED);
  done(w);
}

static void a_grant_given_back_leaves_flows_under_another(void **state) {
  struct world *w = tcp_world(1);
  struct client *here, *there;

  go_live(&w->v[2]);
  here = opened(&w->v[0], 0);
  there = opened(&w->v[2], 1);
  close_grant(&w->v[0], "idle");
  assert_true(here->over);
  assert_false(there->over);
  done(w);
}

static void a_grant_given_back_leaves_flows_that_wait(void **state) {
  struct world *w = tcp_world(1);
  struct client *c = opened(&w->v[0], 0);

  path_close(w->v[0].path, REASON_IDLE);
  run(w, SEC);
  assert_int_equal(w->c->tcp_agents->n_lost, 1);
  close_grant(&w->v[0], "idle");
  go_live(&w->v[2]);
  assert_int_equal(tcpflow_resume(&c->f, w->v[2].path), 0);
  run(w, 100 * MS);
  send(c, "on", 2);
  assert_memory_equal(w->servers[0].got, "on", 2);
  done(w);
}

static void too_many_do_not_wait_for_a_path(void **state) {
  struct world *w = tcp_world(1);

  opened(&w->v[0], 0);
  opened(&w->v[0], 1);
  w->c->tcp_agents->n_lost = AGENT_LOST - 1; /* as if it had so many */
  path_close(w->v[0].path, REASON_IDLE);
  run(w, SEC);
  assert_int_equal(n_servers(w), 1);
  assert_int_equal(w->c->counters.tcp_ended[REASON_TOO_MANY_ROUTES], 1);
  assert_int_equal(w->c->tcp_agents->n_lost, AGENT_LOST);
  done(w);
}

static void a_narrowed_grant_resets_what_it_excludes(void **state) {
  struct world *w = tcp_world(1);
  struct client *c = opened(&w->v[0], 0), *kept = &clients[1];
  char grant[512], text[600];

  start(kept, &w->v[0], V4 ":81");
  expect_answer(kept, REASON_NONE);
  grant_text(&w->v[0], grant, sizeof(grant), "[[81,81,\"tcp\"]]");
  snprintf(text, sizeof(text), "\"grant\":%s", grant);
  event(&w->v[0], "grant-changed", text);
  run(w, 100 * MS);
  assert_true(c->over);
  assert_int_equal(c->why, REASON_PORT_NOT_ALLOWED);
  assert_false(kept->over);
  done(w);
}

static void a_lease_that_ends_resets_its_flows(void **state) {
  struct world *w = tcp_world(1);

  opened(&w->v[0], 0);
  run(w, 605 * SEC);
  assert_int_equal(w->servers[0].n_aborts, 1);
  assert_int_equal(w->c->counters.tcp_ended[REASON_EXPIRED], 1);
  done(w);
}

/* It was started again and forgot; the agent may come by a new route. */
static void flows_outlive_what_a_relay_forgot(void **state) {
  struct world *w = tcp_world(1);
  struct client *c = opened(&w->v[0], 0);
  json_t *none = json_pack("{s:[]}", "grants");

  grants_sync(w->c, w->c->uplinks[0], none);
  json_decref(none);
  w->c->sweep_at = w->now;
  run(w, 15 * SEC);
  assert_int_equal(w->c->counters.n_links, 0);
  assert_int_equal(n_servers(w), 1);
  go_live(&w->v[2]);
  assert_int_equal(tcpflow_resume(&c->f, w->v[2].path), 0);
  run(w, 100 * MS);
  send(c, "on", 2);
  assert_memory_equal(w->servers[0].got, "on", 2);
  done(w);
}

static void a_stop_resets_what_is_open(void **state) {
  struct world *w = tcp_world(1);

  opened(&w->v[0], 0);
  w->connect = NO_ANSWER;
  start(&clients[1], &w->v[0], V4 ":80");
  run(w, 100 * MS);
  connector_stop(w->c, w->now);
  run(w, SEC);
  assert_int_equal(w->servers[0].n_aborts, 1);
  assert_int_equal(w->servers[1].n_aborts, 1);
  assert_int_equal(w->c->counters.n_tcp_flows, 0);
  done(w);
}

static void it_may_be_freed_with_flows_under_way(void **state) {
  struct world *w = tcp_world(2);

  opened(&w->v[0], 0);
  w->servers[0].sleeps = true;
  send(&clients[0], "unread", 6);
  w->connect = NO_ANSWER;
  start(&clients[1], &w->v[0], V4 ":80");
  raw_open(&raws[0], &w->v[1]);
  raw_put(&raws[0], "\x11", 1);
  run(w, 100 * MS);
  connector_free(w->c);
  w->c = NULL;
  for (int i = 0; i < 2; i++) finish(&clients[i], REASON_NONE);
  done(w);
}

/* --- what people see --- */

static void status_and_metrics_tell_of_flows(void **state) {
  struct world *w = tcp_world(1);
  json_t *status = json_object(), *tcp, *f;
  struct sbuf out = {0};

  opened(&w->v[0], 0);
  send(&clients[0], "hello", 5);
  connector_status(w->c, status);
  assert_int_equal(json_integer_value(json_object_get(status, "tcp_flows")), 1);
  tcp = json_object_get(json_array_get(json_object_get(status, "links"), 0),
                        "tcp");
  assert_int_equal(json_integer_value(json_object_get(tcp, "open")), 1);
  f = json_array_get(json_object_get(tcp, "flows"), 0);
  assert_string_equal(json_string_value(json_object_get(f, "service")), "web");
  assert_string_equal(json_string_value(json_object_get(f, "source")),
                      T4 ":50000");
  assert_string_equal(json_string_value(json_object_get(f, "backend")),
                      "[2001:db8::1]:8080");
  assert_string_equal(json_string_value(json_object_get(f, "state")), "open");
  assert_int_equal(json_integer_value(json_object_get(f, "port")), 80);
  assert_int_equal(json_integer_value(json_object_get(f, "in")), 5);
  json_decref(status);
  connector_metrics(w->c, &out);
  assert_non_null(strstr(out.s, "\nztna_connector_tcp_flows 1\n"));
  assert_non_null(strstr(out.s, "\nztna_connector_tcp_bytes_in_total 5\n"));
  sbuf_done(&out);
  done(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(bytes_go_both_ways_and_end),
      TEST(early_data_and_its_end_are_kept),
      TEST(what_is_not_allowed_is_refused),
      TEST(the_backends_answer_is_the_agents),
      TEST(a_draining_connector_keeps_what_it_has),
      TEST(a_reset_of_the_backend_comes_behind_its_bytes),
      TEST(a_proxy_header_comes_first),
      TEST(a_head_may_come_in_pieces),
      TEST(half_read_heads_are_few_and_short_lived),
      TEST(half_read_heads_end_with_their_link),
      TEST(a_malformed_head_is_refused),
      TEST(an_id_is_used_once),
      TEST(an_agent_at_its_limit_does_not_hurt_another),
      TEST(flows_may_not_be_begun_too_fast),
      TEST(who_fills_the_buffers_gets_no_more),
      TEST(far_too_much_is_taken_from_the_fattest),
      TEST(a_reader_that_is_gone_stops_the_backend),
      TEST(bytes_go_on_by_another_route),
      TEST(a_full_flow_goes_on_reading_when_it_is_resumed),
      TEST(a_flow_is_its_agents_alone),
      TEST(a_flow_is_resumed_only_under_a_grant),
      TEST(a_count_that_cannot_be_is_refused),
      TEST(a_flow_waits_a_minute_for_a_path),
      TEST(a_flow_moves_while_both_paths_work),
      TEST(a_revoked_grant_resets_its_flows),
      TEST(a_revoked_grant_resets_flows_on_all_links),
      TEST(a_grant_given_back_leaves_flows_under_another),
      TEST(a_grant_given_back_leaves_flows_that_wait),
      TEST(too_many_do_not_wait_for_a_path),
      TEST(a_narrowed_grant_resets_what_it_excludes),
      TEST(a_lease_that_ends_resets_its_flows),
      TEST(flows_outlive_what_a_relay_forgot),
      TEST(a_stop_resets_what_is_open),
      TEST(it_may_be_freed_with_flows_under_way),
      TEST(status_and_metrics_tell_of_flows),
  };
  struct seeded rnd;
  int rc;

  grant_protocols = "\"udp\",\"tcp\",\"icmp\"";
  grant_ports = "[[53,99,\"udp\"],[80,90,\"tcp\"]]";
  begin(&rnd);
  rc = cmocka_run_group_tests(tests, NULL, NULL);
  end();
  return rc;
}
