/* fake/connector_clients.c - included by the tests of a connector: agents' TCP
 * flows on the world of connector_world.c. */
#include "fake/connector_world.c"

#include "role/tcpflow.h"

enum { CLIENTS = 24 };

/* A flow of an agent, and what became of it. */
struct client {
  struct tcpflow_common common;
  struct tcpflow f;
  struct agent *a;
  bool answered, over;
  int n_lost, n_rooms;
  enum reason why; /* of the answer, or the end */
  uint8_t got[1 << 16];
  size_t n_got;
  bool at_end;
};

void client_answer(struct tcpflow *f, void *ud, enum reason why) {
  struct client *c = ud;

  c->answered = true;
  c->why = why;
  if (why) {
    c->over = true;
    tcpflow_free(f, REASON_NONE);
  }
}

void take(struct client *c) {
  struct bytes_vec v[4];
  int n;

  while ((n = tcpflow_peek(&c->f, c->f.rx_given, 1 << 20, v, 4)) > 0)
    for (int i = 0; i < n; i++) {
      if (c->n_got + v[i].len <= sizeof(c->got))
        memcpy(c->got + c->n_got, v[i].base, v[i].len);
      c->n_got += v[i].len;
      tcpflow_gave(&c->f, v[i].len);
      tcpflow_took(&c->f, v[i].len);
      break;
    }
  if (!tcpflow_at_end(&c->f)) return;
  c->at_end = true;
  tcpflow_took_fin(&c->f);
}

void client_input(struct tcpflow *f, void *ud) { take(ud); }
void client_room(struct tcpflow *f, void *ud) {
  ((struct client *)ud)->n_rooms++;
}

void finish(struct client *c, enum reason why) {
  c->over = true;
  c->why = why;
  tcpflow_free(&c->f, REASON_NONE);
}

void client_reset(struct tcpflow *f, void *ud, enum reason why) {
  finish(ud, why);
}

void client_done(struct tcpflow *f, void *ud) { finish(ud, f->why); }
void client_lost(struct tcpflow *f, void *ud) {
  ((struct client *)ud)->n_lost++;
}

static const struct tcpflow_ops client_ops = {.on_answer = client_answer,
                                              .on_input = client_input,
                                              .on_room = client_room,
                                              .on_reset = client_reset,
                                              .on_lost = client_lost,
                                              .on_done = client_done};

static struct client clients[CLIENTS];
static uint64_t next_id;

void client_init(struct client *c, struct agent *a) {
  uint8_t id[FLOW_ID_LEN];

  next_id++;
  memcpy(id, &next_id, sizeof(id));
  memset(c, 0, sizeof(*c));
  c->a = a;
  c->common.quic = a->q;
  tcpflow_init(&c->f, &c->common, &client_ops, c, id);
}

void start_from(struct client *c, struct agent *a, int context, const char *src,
                const char *dst) {
  struct ztna_addr from = test_addr(src), to = test_addr(dst);

  client_init(c, a);
  assert_int_equal(tcpflow_start(&c->f, a->path, (uint64_t)context, &to, &from),
                   0);
}

void start(struct client *c, struct agent *a, const char *dst) {
  start_from(c, a, 2, T4 ":50000", dst);
}

/* Started and answered so. */
void expect_answer(struct client *c, enum reason why) {
  run(c->a->w, 100 * MS);
  assert_true(c->answered);
  assert_string_equal(reason_name(c->why), reason_name(why));
}

struct client *opened(struct agent *a, int i) {
  start(&clients[i], a, V4 ":80");
  expect_answer(&clients[i], REASON_NONE);
  return &clients[i];
}

void send(struct client *c, const void *data, size_t len) {
  while (len) {
    size_t room;
    uint8_t *to = tcpflow_room(&c->f, &room);

    assert_non_null(to);
    if (room > len) room = len;
    memcpy(to, data, room);
    tcpflow_put(&c->f, room);
    data = (const uint8_t *)data + room;
    len -= room;
  }
  run(c->a->w, 50 * MS);
}

/* The server sends: as much as there is room for. */
size_t serve(struct world *w, uint32_t sock, const void *data, size_t len) {
  size_t sent = 0, room;
  uint8_t *to;

  while (sent < len && (to = connector_sock_room(w->c, sock, &room))) {
    if (room > len - sent) room = len - sent;
    memcpy(to, (const uint8_t *)data + sent, room);
    connector_sock_read(w->c, w->now, sock, room);
    sent += room;
  }
  run(w, 50 * MS);
  return sent;
}

uint64_t refused(const struct world *w, enum reason why) {
  return w->c->counters.tcp_refused[why];
}

struct world *tcp_world(int n_agents) {
  memset(clients, 0, sizeof(clients));
  return live_world(n_agents);
}

void done(struct world *w) {
  for (int i = 0; i < CLIENTS; i++)
    if (clients[i].a && !clients[i].over) finish(&clients[i], REASON_NONE);
  if (w->c) run(w, 50 * MS);
  world_free(w);
  for (int i = 0; i < CLIENTS; i++) bytes_pool_done(&clients[i].common.pool);
}
