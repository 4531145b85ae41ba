/* fake/connector_world.c - included by the tests of a connector: relays that
 * are played here, agents that are paths, backends that are lists of
 * operations, and a wire of 5 ms on virtual time. */
#include "unit/unit.h"

#include "base/hex.h"
#include "codec/ip_frag.h"
#include "role/connector_int.h"
#include "sim/pki.h"
#include "sim/seeded.h"

enum {
  NOW = 1700000000,
  WIRE = 4096,
  RELAYS = 2,
  IDENTITIES = 2,
  AGENTS = 3, /* the last is another instance of the first */
  FLOWS = 64,
  KEPT = 64,
};

#define V4 "10.100.0.2"
#define V6 "fd5a:10::2"
#define T4 "100.64.0.9"
#define T6 "fd5a:64::9"

struct packet {
  uint64_t at;
  struct ztna_addr from, to;
  size_t len;
  uint8_t data[1500];
};

/* A socket as the skin would hold it. */
struct backend {
  bool open, ping;
  struct ztna_addr to;
  int n_sent, n_opened, n_closed;
  uint16_t seq;
  uint8_t data[65536];
  size_t len;
};

/* A socket to a server, as the skin would hold it. */
struct server {
  bool there, connected;
  bool sleeps; /* reads nothing */
  struct ztna_addr to[ZTNA_SOCK_ADDRS];
  unsigned n_to;
  uint64_t timeout;
  int n_connects, n_reads, n_shuts, n_closes, n_aborts;
  uint8_t got[1 << 16]; /* the first of n_got */
  size_t n_got;
};

struct relay_end {
  struct world *w;
  struct quic *q;
  struct ztna_addr addr;
  struct h3_req *events;
  int n_lines, n_registered, n_deletes;
  char services[2048]; /* last body for /v1/connector */
  char answer[200];    /* the last other request, with its body */
  bool dead;           /* nothing comes or goes */
};

struct agent {
  struct world *w;
  int relay;     /* that gave its route; -1: it is reached directly */
  uint16_t sock; /* of the connector, where its packets arrive */
  struct quic *q;
  struct tls *tls;
  struct ztna_addr addr;
  struct pool pool;
  struct path *path;
  char route[33], grant[33], instance[33], spiffe[80];
  uint8_t handle[HANDLE_LEN], connector_handle[HANDLE_LEN];
  int n_live, n_end, n_hello, n_opened, n_refused, n_closed;
  char reason[40];  /* of refused, close */
  char link[33];    /* of hello */
  char said[2048];  /* the last message of another kind */
  uint64_t context; /* of the last packet */
  int n;            /* packets */
  uint8_t data[KEPT][1500];
  size_t len[KEPT];
  struct ip_pkt p; /* the last, points into data */
};

struct world {
  struct seeded rnd;
  struct connector *c;
  struct ztna_addr c_addr;
  struct relay_end relays[RELAYS];
  struct agent v[AGENTS];
  struct backend backends[FLOWS];
  struct server servers[FLOWS];
  /* What becomes of a connection. */
  enum { ACCEPTED, REFUSED, UNREACHABLE, NO_ANSWER } connect;
  bool fails; /* sockets fail while operations for them wait */
  bool hold;  /* the skin does not look for operations */
  bool cut[AGENTS];
  bool deaf; /* nothing of agents arrives */
  int n_socks_closed;
  struct packet *wire;
  size_t first, n_wire;
  uint64_t now;
};

static int n_relays = 1; /* that the connector has */
static bool is_direct;   /* so it may be reached */
static size_t n_audit;   /* records that it may keep */
static struct pki *pki;
static struct tls *tls_relay, *tls_connector, *tls_agent[IDENTITIES];
/* What relays grant. */
static const char *grant_protocols = "\"udp\",\"icmp\"";
static const char *grant_ports = "[[53,99,\"udp\"]]";

/* --- relays --- */

void line(struct relay_end *e, const char *text) {
  json_t *j = json_loads(text, 0, NULL);
  char *s;

  if (!j) fail_msg("no JSON: %s", text);
  json_object_set_new(j, "n", json_integer(e->n_lines++));
  s = json_dumps(j, JSON_COMPACT);
  assert_non_null(e->events);
  assert_int_equal(h3_line(e->events, s, strlen(s)), 0);
  free(s);
  json_decref(j);
}

void on_request(struct h3 *s, void *ud, struct h3_req *r) {
  struct relay_end *e = ud;
  const char *path = h3_path(r);
  size_t len;

  if (!strcmp(path, "/v1/self")) {
    h3_respond(r, 200, "{}", 2);
  } else if (!strcmp(path, "/v1/events")) {
    e->events = r;
    h3_begin_lines(r);
    line(e, "{\"event\":\"snapshot\"}");
  } else if (!strcmp(path, "/v1/connector")) {
    e->n_registered++;
    snprintf(e->services, sizeof(e->services), "%s", h3_body(r, &len));
    h3_respond(r, 200, "{\"grants\":[]}", 13);
  } else {
    e->n_deletes += !strcmp(h3_method(r), "DELETE");
    snprintf(e->answer, sizeof(e->answer), "%s %s", path, h3_body(r, &len));
    h3_respond(r, 204, NULL, 0);
  }
}

void on_gone(struct h3 *s, void *ud, struct h3_req *r) {
  struct relay_end *e = ud;

  if (r == e->events) e->events = NULL;
}

static const struct h3_ops relay_ops = {.on_request = on_request,
                                        .on_gone = on_gone};

void *on_accept(void *ud, struct quic_conn *c, const struct quic_initial *in) {
  struct h3 *s = h3_new(true, NULL, &relay_ops, ud);

  h3_attach(s, c);
  return s;
}

/* --- agents --- */

int on_check(struct path *p, void *ud, const struct identity *peer) {
  return 0;
}

void on_live(struct path *p, void *ud) { ((struct agent *)ud)->n_live++; }

int on_message(struct path *p, void *ud, json_t *m) {
  struct agent *a = ud;
  const char *type = json_string_value(json_object_get(m, "type"));
  const char *why = json_string_value(json_object_get(m, "reason"));

  snprintf(a->reason, sizeof(a->reason), "%s", why ? why : "");
  if (!strcmp(type, "hello")) {
    a->n_hello++;
    snprintf(a->link, sizeof(a->link), "%s",
             json_string_value(json_object_get(m, "link")));
  } else if (!json_object_get(m, "context")) {
    char *text = json_dumps(m, JSON_COMPACT);

    snprintf(a->said, sizeof(a->said), "%s", text);
    free(text);
  }
  a->n_opened += !strcmp(type, "opened");
  a->n_refused += !strcmp(type, "refused");
  a->n_closed += !strcmp(type, "close");
  return 0;
}

void on_packet(struct path *p, void *ud, uint64_t context, const uint8_t *ip,
               size_t len) {
  struct agent *a = ud;
  uint8_t *to = a->data[a->n % KEPT];

  assert_true(len <= 1280);
  memcpy(to, ip, len);
  a->len[a->n++ % KEPT] = len;
  a->context = context;
  assert_int_equal(ip_parse(&a->p, to, len), 0);
}

void on_end(struct path *p, void *ud, const struct quic_end *why) {
  struct agent *a = ud;

  a->n_end++;
  snprintf(a->reason, sizeof(a->reason), "%s", reason_name(why->reason));
}

static const struct path_events path_ev = {
    .on_check = on_check,
    .on_live = on_live,
    .on_message = on_message,
    .on_packet = on_packet,
    .on_end = on_end,
};

/* --- the skin --- */

/* Every operation must make sense to a socket. */
void take_op(struct world *w, const struct backend_op *op) {
  struct backend *b = &w->backends[op->flow];

  assert_true(op->flow < FLOWS);
  switch (op->kind) {
  case BACKEND_OP_OPEN:
  case BACKEND_OP_OPEN_PING:
    b->open = true;
    b->ping = op->kind == BACKEND_OP_OPEN_PING;
    b->to = op->addr;
    b->n_opened++;
    break;
  case BACKEND_OP_SEND:
  case BACKEND_OP_SEND_ECHO:
    assert_true(b->open);
    assert_int_equal(b->ping, op->kind == BACKEND_OP_SEND_ECHO);
    b->n_sent++;
    b->seq = op->seq;
    b->len = op->len;
    memcpy(b->data, op->data, op->len);
    break;
  case BACKEND_OP_CLOSE:
    assert_true(b->open);
    b->open = false;
    b->n_closed++;
    break;
  }
}

void connect_to(struct world *w, const struct ztna_sock_op *op) {
  struct server *s = &w->servers[op->sock];

  assert_false(s->there);
  assert_in_range(op->n_addrs, 1, ZTNA_SOCK_ADDRS);
  s->there = true;
  s->n_connects++;
  memcpy(s->to, op->addrs, op->n_addrs * sizeof(*s->to));
  s->n_to = op->n_addrs;
  s->timeout = op->timeout;
  if (w->connect == ACCEPTED) {
    s->connected = true;
    connector_sock_connected(w->c, w->now, op->sock);
  } else if (w->connect != NO_ANSWER) {
    s->there = false;
    connector_sock_failed(w->c, w->now, op->sock,
                          w->connect == REFUSED ? ZTNA_SOCK_REFUSED
                                                : ZTNA_SOCK_UNREACHABLE);
  }
}

/* The server reads all that is there. */
void server_read(struct world *w, uint32_t sock) {
  struct server *s = &w->servers[sock];
  struct ztna_sock_vec v[4];
  int n;

  while (s->connected && (n = connector_sock_peek(w->c, sock, v, 4)) > 0) {
    size_t all = 0;

    for (int i = 0; i < n; i++) {
      if (s->n_got + v[i].len <= sizeof(s->got))
        memcpy(s->got + s->n_got, v[i].base, v[i].len);
      s->n_got += v[i].len;
      all += v[i].len;
    }
    connector_sock_wrote(w->c, w->now, sock, all);
  }
}

/* What waits is written before a socket is closed, not before it is reset. */
void take_sock_op(struct world *w, const struct ztna_sock_op *op) {
  struct server *s = &w->servers[op->sock];

  assert_true(op->sock < FLOWS);
  if (!s->there && w->fails && op->what != ZTNA_SOCK_CONNECT) return;
  if (op->what != ZTNA_SOCK_CONNECT) assert_true(s->there);
  switch (op->what) {
  case ZTNA_SOCK_CONNECT:
    connect_to(w, op);
    break;
  case ZTNA_SOCK_READ:
    s->n_reads++;
    break;
  case ZTNA_SOCK_WRITE:
    if (!s->sleeps) server_read(w, op->sock);
    break;
  case ZTNA_SOCK_SHUT:
    assert_true(s->connected);
    s->n_shuts++;
    break;
  case ZTNA_SOCK_CLOSE:
  case ZTNA_SOCK_ABORT:
    s->n_closes += op->what == ZTNA_SOCK_CLOSE;
    s->n_aborts += op->what == ZTNA_SOCK_ABORT;
    s->there = s->connected = false;
    break;
  }
}

void take_ops(struct world *w) {
  struct backend_op op;
  struct ztna_sock_op sock;

  while (!w->hold && connector_backend_next(w->c, &op)) take_op(w, &op);
  while (!w->hold && connector_sock_next(w->c, &sock)) take_sock_op(w, &sock);
}

int n_servers(const struct world *w) {
  int n = 0;

  for (int i = 0; i < FLOWS; i++) n += w->servers[i].there;
  return n;
}

int n_open(const struct world *w) {
  int n = 0;

  for (int i = 0; i < FLOWS; i++) n += w->backends[i].open;
  return n;
}

/* --- the wire --- */

/* The relay's forwarding: a packet with a handle of a route goes on to its
 * other end, from the relay's address. False: it is lost. */
bool forward(struct world *w, struct packet *p) {
  const uint8_t *handle = packet_handle(p->data, p->len);

  for (int i = 0; i < RELAYS; i++)
    if (w->relays[i].dead && (ztna_addr_equal(&p->from, &w->relays[i].addr) ||
                              ztna_addr_equal(&p->to, &w->relays[i].addr)))
      return false;
  for (int i = 0; handle && i < AGENTS; i++) {
    bool up = !memcmp(handle, w->v[i].connector_handle, HANDLE_LEN);

    if (!up && memcmp(handle, w->v[i].handle, HANDLE_LEN)) continue;
    if (w->v[i].relay < 0) return !w->cut[i];
    p->from = w->relays[w->v[i].relay].addr;
    p->to = up ? w->c_addr : w->v[i].addr;
    return !w->cut[i] && !(up && w->deaf);
  }
  return true;
}

void put(struct world *w, const struct ztna_addr *from, const struct dgram *d) {
  w->n_socks_closed += !d->len;
  for (uint32_t off = 0; off < d->len; off += d->seg) {
    struct packet *p = &w->wire[(w->first + w->n_wire) % WIRE];

    if (w->n_wire == WIRE) continue;
    *p = (struct packet){.at = w->now + 5 * MS, .from = *from, .to = d->remote};
    p->len = d->len - off < d->seg ? d->len - off : d->seg;
    memcpy(p->data, d->data + off, p->len);
    if (forward(w, p)) w->n_wire++;
  }
}

void drain(struct world *w) {
  struct dgram v[16];
  int n;

  while ((n = connector_next(w->c, w->now, v, 16)) > 0)
    for (int i = 0; i < n; i++) put(w, &w->c_addr, &v[i]);
  for (int k = 0; k < RELAYS; k++)
    while ((n = quic_next(w->relays[k].q, w->now, v, 16)) > 0)
      for (int i = 0; i < n; i++) put(w, &w->relays[k].addr, &v[i]);
  for (int k = 0; k < AGENTS; k++)
    while ((n = quic_next(w->v[k].q, w->now, v, 16)) > 0)
      for (int i = 0; i < n; i++) put(w, &w->v[k].addr, &v[i]);
  take_ops(w);
}

void deliver(struct world *w) {
  struct packet *p = &w->wire[w->first];
  struct dgram d = {.remote = p->from,
                    .local = p->to,
                    .data = p->data,
                    .len = (uint32_t)p->len,
                    .seg = (uint16_t)p->len};

  w->first = (w->first + 1) % WIRE;
  w->n_wire--;
  if (p->at > w->now) w->now = p->at;
  for (int i = 0; i < AGENTS; i++)
    if (ztna_addr_equal(&p->from, &w->v[i].addr)) d.sock = w->v[i].sock;
  if (ztna_addr_equal(&p->to, &w->c_addr)) connector_udp_in(w->c, w->now, &d);
  for (int i = 0; i < RELAYS; i++)
    if (ztna_addr_equal(&p->to, &w->relays[i].addr))
      quic_udp_in(w->relays[i].q, w->now, &p->from, &p->to, 0, p->data, p->len);
  for (int i = 0; i < AGENTS; i++)
    if (ztna_addr_equal(&p->to, &w->v[i].addr))
      quic_udp_in(w->v[i].q, w->now, &p->from, &p->to, 0, p->data, p->len);
}

void tick(struct world *w) {
  connector_tick(w->c, w->now);
  for (int i = 0; i < RELAYS; i++) quic_tick(w->relays[i].q, w->now);
  for (int i = 0; i < AGENTS; i++) {
    quic_tick(w->v[i].q, w->now);
    path_tick(w->v[i].path, w->now);
  }
}

void run(struct world *w, uint64_t for_ns) {
  uint64_t until = w->now + for_ns;

  for (int turns = 0;; turns++) {
    uint64_t at;

    assert_true(turns < 1000000);
    drain(w);
    at = connector_deadline(w->c);
    for (int i = 0; i < RELAYS; i++)
      at = time_min(at, quic_deadline(w->relays[i].q));
    for (int i = 0; i < AGENTS; i++)
      at = time_min(
          at, time_min(quic_deadline(w->v[i].q), path_deadline(w->v[i].path)));
    if (w->hold && at < w->now) at = w->now + MS;
    if (w->n_wire && w->wire[w->first].at <= at) {
      if (w->wire[w->first].at > until) break;
      deliver(w);
      continue;
    }
    if (at > until) break;
    if (at > w->now) w->now = at;
    tick(w);
  }
  w->now = until;
}

/* --- worlds --- */

void agent_init(struct world *w, int i) {
  struct agent *a = &w->v[i];
  struct quic_config cfg = {.rng = &w->rnd.rng,
                            .tls = tls_agent[i % IDENTITIES]};
  char text[32];

  a->w = w;
  snprintf(text, sizeof(text), "10.0.1.%d:1000", i + 1);
  a->addr = test_addr(text);
  snprintf(a->spiffe, sizeof(a->spiffe), "spiffe://example.org/agent/a%d",
           i % IDENTITIES);
  snprintf(a->route, sizeof(a->route), "%032x", 0x100 + i);
  snprintf(a->grant, sizeof(a->grant), "%032x", 0x200 + i);
  snprintf(a->instance, sizeof(a->instance), "%032x", 0x300 + i);
  memset(a->handle, 0xa0 + i, HANDLE_LEN);
  memset(a->connector_handle, 0xc0 + i, HANDLE_LEN);
  a->q = quic_new(&cfg);
  assert_int_equal(pool_init(&a->pool, 4096), 0);
  a->path = path_new(a->q, &a->pool, &w->rnd.rng, &path_ev, a);
}

struct connector *make_connector(struct world *w) {
  static const struct connector_backend web[] = {
      {.protocol = PROTO_UDP, .port = 53},
      {.protocol = PROTO_UDP, .port = 54},
      {.protocol = PROTO_TCP, .port = 80},
      {.protocol = PROTO_TCP, .port = 81, .proxy_protocol = true},
      {.protocol = PROTO_TCP, .port = 82},
      {.protocol = PROTO_TCP, .port = 95}};
  static const char *const relays[RELAYS] = {"relay.test:4433",
                                             "relay.test:4434"};
  const struct connector_service services[] = {
      {.id = "web", .backends = web, .n_backends = 6},
      {.id = "dns", .backends = web, .n_backends = 1}};
  struct connector_options o = {.tls = tls_connector,
                                .rng = &w->rnd.rng,
                                .relays = relays,
                                .n_relays = (size_t)n_relays,
                                .services = services,
                                .n_services = 2,
                                .max_flows = 6,
                                .max_flows_per_agent = 4,
                                .max_tcp_flows = 12,
                                .max_tcp_flows_per_agent = 8,
                                .udp_idle_after = 120 * SEC,
                                .direct = is_direct,
                                .audit = n_audit};
  struct connector *c = connector_new(&o, w->now);
  struct ztna_addr to = test_addr("192.0.2.1:5353");
  const struct ztna_addr tcp[] = {test_addr("[2001:db8::1]:8080"),
                                  test_addr("192.0.2.2:8080")};

  assert_non_null(c);
  connector_set_backend(c, 0, 0, &to, 1);
  connector_set_backend(c, 1, 0, &to, 1);
  connector_set_backend(c, 0, 2, tcp, 2);
  connector_set_backend(c, 0, 3, tcp, 1);
  connector_set_backend(c, 0, 5, tcp, 1);
  for (int i = 0; i < n_relays; i++)
    connector_set_relay(c, (size_t)i, &w->relays[i].addr, 1, w->now);
  return c;
}

void relay_init(struct world *w, int i) {
  struct relay_end *r = &w->relays[i];
  struct quic_config cfg = {.rng = &w->rnd.rng,
                            .tls = tls_relay,
                            .accept_ops = h3_server_ops(),
                            .accept_params = h3_params(true),
                            .on_accept = on_accept,
                            .ud = r};
  char text[32];

  r->w = w;
  snprintf(text, sizeof(text), "10.0.0.1:%d", 4433 + i);
  r->addr = test_addr(text);
  r->q = quic_new(&cfg);
}

struct world *world_new(void) {
  struct world *w = calloc(1, sizeof(*w));

  seeded_init(&w->rnd, 7);
  w->now = SEC;
  w->wire = malloc(WIRE * sizeof(*w->wire));
  w->c_addr = test_addr("10.0.0.2:2000");
  for (int i = 0; i < RELAYS; i++) relay_init(w, i);
  w->c = make_connector(w);
  for (int i = 0; i < AGENTS; i++) agent_init(w, i);
  run(w, SEC);
  for (int i = 0; i < n_relays; i++) {
    assert_int_equal(w->relays[i].n_registered, 1);
    assert_non_null(w->relays[i].events);
  }
  return w;
}

void world_free(struct world *w) {
  connector_free(w->c);
  for (int i = 0; i < RELAYS; i++) quic_free(w->relays[i].q);
  for (int i = 0; i < AGENTS; i++) {
    path_free(w->v[i].path, w->now);
    quic_free(w->v[i].q);
    assert_int_equal(w->v[i].pool.n_used, 0);
    pool_done(&w->v[i].pool);
  }
  free(w->wire);
  free(w);
}

struct relay_end *relay_of(struct agent *a) {
  return &a->w->relays[a->relay];
}

void grant_text(const struct agent *a, char *to, size_t room,
                const char *ports) {
  snprintf(to, room,
           "{\"id\":\"%s\",\"route\":\"%s\",\"service\":\"web\",\"addresses\":"
           "[\"" V4 "\",\"" V6 "\"],\"protocols\":[%s],"
           "\"ports\":%s,\"lease\":600000,\"rule\":\"r\"}",
           a->grant, a->route, grant_protocols, ports);
}

void route_request(struct agent *a) {
  char grant[512], h[17], ch[17], text[1024];

  grant_text(a, grant, sizeof(grant), grant_ports);
  snprintf(text, sizeof(text),
           "{\"event\":\"route-request\",\"route\":\"%s\",\"agent\":\"%s\","
           "\"instance\":\"%s\","
           "\"observed\":\"10.0.1.1:1000\",\"handles\":{\"agent\":\"%s\","
           "\"connector\":\"%s\"},\"addresses\":[\"" T4 "\",\"" T6 "\"],"
           "\"rtt\":10,\"ticket\":\"aabb\",\"grant\":%s}",
           a->route, a->spiffe, a->instance,
           hex_print(a->handle, HANDLE_LEN, h),
           hex_print(a->connector_handle, HANDLE_LEN, ch), grant);
  line(relay_of(a), text);
  run(a->w, 100 * MS);
}

void say(struct agent *a, json_t *m) {
  assert_int_equal(path_send(a->path, m), 0);
  json_decref(m);
}

void open_context(struct agent *a, int number) {
  say(a, json_pack("{s:s, s:i, s:s, s:s}", "type", "open", "context", number,
                   "service", "web", "grant", a->grant));
}

void dial(struct agent *a) {
  assert_int_equal(path_dial(a->path, &relay_of(a)->addr, a->handle,
                             a->connector_handle, 10 * MS, a->w->now),
                   0);
  run(a->w, 500 * MS);
  assert_true(path_is_live(a->path));
}

void hello(struct agent *a) {
  say(a, json_pack("{s:s, s:[s, s]}", "type", "hello", "addresses", T4, T6));
}

void go_live(struct agent *a) {
  route_request(a);
  assert_non_null(strstr(relay_of(a)->answer, "ok"));
  dial(a);
  hello(a);
  open_context(a, 2);
  run(a->w, 100 * MS);
  assert_int_equal(a->n_opened, 1);
}

struct world *live_world(int n_agents) {
  struct world *w = world_new();

  for (int i = 0; i < n_agents; i++) go_live(&w->v[i]);
  return w;
}

static int64_t test_time(void) { return NOW; }

/* Certificates, once for all tests. */
void begin(struct seeded *rnd) {
  static const char *const hosts[] = {"relay.test", NULL};
  static const char *const services[] = {"web", NULL};

  seeded_init(rnd, 1);
  tls_global_init(&rnd->rng, test_time);
  pki = pki_new("example.org", NOW);
  tls_relay = pki_tls(pki, ROLE_RELAY, "r1", hosts);
  tls_connector = pki_tls(pki, ROLE_CONNECTOR, "dc", services);
  tls_agent[0] = pki_tls(pki, ROLE_AGENT, "a0", NULL);
  tls_agent[1] = pki_tls(pki, ROLE_AGENT, "a1", NULL);
}

void end(void) {
  for (int i = 0; i < IDENTITIES; i++) tls_free(tls_agent[i]);
  tls_free(tls_relay);
  tls_free(tls_connector);
  pki_free(pki);
  tls_global_done();
}
