/* test_sim_hostile.c - what PROTOCOL and DESIGN forbid, each tried by a peer
 * with a good certificate, by a relay that lies, or by somebody on the way.
 * What a test shows: the reason is counted, and nothing leaked. */
#include "unit/unit.h"

#include "base/hex.h"
#include "codec/handle.h"
#include "codec/ip.h"
#include "codec/ip_frag.h"
#include "role/agent_int.h"
#include "sim/evil.h"
#include "sim/liar.h"
#include "sim/world.h"
#include "transport/quic_int.h"

#define DROPS_AGENT "ztna_agent_drops_total"
#define DROPS_CONNECTOR "ztna_connector_drops_total"
#define DROPS_RELAY "ztna_relay_dropped_packets_total"

static const char *const any[] = {"*", NULL};

/* --- a world with a victim --- */

static bool have_routes(struct sim *w, void *ud) {
  struct ztna_addr v[4];

  for (int i = 0; i < w->cfg.n_agents; i++)
    if (!ztna_agent_routes(w->agents[i].core, v, 4)) return false;
  return true;
}

/* Agents 0 .. n-1 have "echo" open at connector 0 and are quiet. */
static struct sim *victims(int n) {
  struct sim_config cfg = {.seed = 11, .n_agents = n, .n_connectors = 1};
  struct sim *w = sim_new(&cfg);

  assert_true(sim_until(w, have_routes, NULL, 5 * SEC));
  sim_run(w, 100 * MS);
  for (int i = 0; i < n; i++)
    assert_true(app_udp(&w->agents[i].app, "echo", 0, 64));
  sim_run(w, 2 * SEC);
  for (int i = 0; i < n; i++) assert_int_equal(w->agents[i].app.n_got, 1);
  return w;
}

static struct agent_way *way_of(struct sim *w, int agent) {
  return &w->agents[agent].core->links[0]->relayed[0];
}

static struct evil *mallory(struct sim *w) {
  return evil_new(w, ROLE_AGENT, "mallory", NULL, "198.51.9.1:6000",
                  "[2001:db8:9::1]:6000");
}

static struct evil *evil_connector(struct sim *w) {
  return evil_new(w, ROLE_CONNECTOR, "evil", any, "198.51.9.2:6000",
                  "[2001:db8:9::2]:6000");
}

/* The victims are served as ever, and got nothing else. */
static void assert_victims_are_well(struct sim *w) {
  for (int i = 0; i < w->cfg.n_agents; i++) {
    struct app *a = &w->agents[i].app;
    uint64_t got = a->n_got;

    for (int k = 0; k < 10; k++) {
      app_udp(a, "echo", k % 2, 64);
      sim_run(w, 20 * MS);
    }
    sim_run(w, SEC);
    assert_int_equal(a->n_got, got + 10);
    assert_true(app_is_clean(a));
  }
}

/* A path of mallory's own, with a tunnel and a context of "echo" open. */
static struct evil *mallory_inside(struct sim *w) {
  struct evil *m = mallory(w);
  struct ztna_addr relay = sim_relay_addr(w);

  assert_int_equal(evil_ask(m, "echo"), 201);
  evil_dial(m, &relay, NULL, NULL);
  sim_run(w, SEC);
  assert_true(m->live);
  return m;
}

static json_t *hello(const struct ztna_addr *a) {
  char text[ZTNA_ADDR_STRLEN];

  return json_pack("{s:s, s:i, s:[s]}", "type", "hello", "version", 1,
                   "addresses", ztna_addr_print_ip(a, text));
}

static json_t *open_context(int context, const char *service,
                            const char *grant) {
  return json_pack("{s:s, s:i, s:s, s:s}", "type", "open", "context", context,
                   "service", service, "grant", grant);
}

/* --- handles --- */

/* Packets that leave a node for a handle. */
struct tap {
  struct sim *w;
  struct ztna_addr from, to; /* family 0: any */
  const uint8_t *handle;     /* NULL: any */
  int n;
  size_t bytes;
};

static void on_tap(void *ud, const struct ztna_addr *from,
                   const struct ztna_addr *to, const uint8_t *data,
                   size_t len) {
  struct tap *t = ud;
  const uint8_t *h = packet_handle(data, len);

  if (t->from.family && !ztna_addr_equal(from, &t->from)) return;
  if (t->to.family && !ztna_addr_equal(to, &t->to)) return;
  if (t->handle && (!h || memcmp(h, t->handle, HANDLE_LEN))) return;
  t->n++;
  t->bytes += len;
}

static void tap(struct sim *w, struct tap *t) {
  t->w = w;
  w->net->on_wire = on_tap;
  w->net->wire_ud = t;
}

/* Mallory dials with ids that begin with the victim's handle, so that the
 * connector's packets for her would carry it. */
static void a_source_id_of_another_route_gets_no_packet(void **state) {
  struct sim *w = victims(1);
  struct evil *m = mallory(w);
  struct ztna_addr relay = sim_relay_addr(w);
  struct tap t = {.from = sim_outer(w, &w->connectors[0].node),
                  .handle = way_of(w, 0)->handle};

  assert_int_equal(evil_ask(m, "echo"), 201);
  tap(w, &t);
  evil_dial(m, &relay, way_of(w, 0)->handle, NULL);
  sim_run(w, 4 * SEC);
  assert_int_equal(t.n, 0);
  assert_false(m->live);
  assert_true(sim_connector_counter(w, 0, "ztna_connector_quic_drops_total",
                                    "malformed") > 0);
  assert_victims_are_well(w);
  evil_free(m);
  sim_free(w);
}

/* Mallory's slot, by the handle of her grant. */
static struct quic_slot *own_slot(struct evil *m, uint8_t own[HANDLE_LEN]) {
  struct quic_slot *s;

  assert_true(hex_parse(own, HANDLE_LEN, evil_text(m->grant, "handles.agent")));
  s = map_get(&m->q->handles, own);
  assert_non_null(s);
  return s;
}

/* A client that moves: RFC 9000, 9.5 wants new ids on both sides then. */
static void move(ngtcp2_conn *c, const struct ztna_addr *relay, uint64_t now) {
  struct ztna_addr local = test_addr("198.51.9.7:7");
  struct sockaddr_storage from, to;
  ngtcp2_path path = {
      .local = {(void *)&from,
                (ngtcp2_socklen)ztna_addr_to_sockaddr(&local, &from)},
      .remote = {(void *)&to,
                 (ngtcp2_socklen)ztna_addr_to_sockaddr(relay, &to)}};

  assert_int_equal(ngtcp2_conn_initiate_immediate_migration(c, &path, now), 0);
}

/* The first id is right; those of NEW_CONNECTION_ID, of which the other end
 * needs one when mallory's address changes, are the victim's. That end is made
 * of the same parts as a connector, but hears mallory without a relay. */
static void new_ids_of_another_route_get_no_packet(void **state) {
  struct sim *w = victims(1);
  struct evil *m = mallory(w), *e = evil_connector(w);
  struct ztna_addr relay = sim_relay_addr(w);
  struct tap t = {.from = sim_outer(w, &e->node),
                  .handle = way_of(w, 0)->handle};
  uint8_t own[HANDLE_LEN];
  struct quic_slot *s;

  evil_serve(e, "other");
  sim_run(w, SEC);
  assert_int_equal(evil_ask(m, "other"), 201);
  evil_dial(m, &relay, NULL, NULL); /* its first packet has left */
  s = own_slot(m, own);
  memcpy(s->handle, way_of(w, 0)->handle, HANDLE_LEN);
  tap(w, &t);
  sim_run(w, SEC);
  assert_true(m->live && e->live);
  move(s->conns->conn, &relay, w->now);
  for (int i = 0; i < 10; i++) {
    struct ztna_addr from = test_addr("198.51.9.7:7"), to = t.from;
    struct dgram v[16];
    int n;

    quic_ping(s->conns, w->now);
    while ((n = quic_next(m->q, w->now, v, 16)) > 0)
      for (int k = 0; k < n; k++)
        if (v[k].len == v[k].seg)
          vnet_inject(w->net, &from, &to, v[k].data, v[k].len, 20 * MS);
    sim_run(w, 200 * MS);
  }
  assert_int_equal(t.n, 0);
  assert_false(e->live);
  assert_int_equal(e->end.reason, REASON_MALFORMED);
  memcpy(s->handle, own, HANDLE_LEN);
  assert_victims_are_well(w);
  evil_free(m);
  evil_free(e);
  sim_free(w);
}

/* Through the relay only the victim may send there; and straight to the
 * connector the certificate is another's. */
static void an_initial_for_anothers_handle_opens_nothing(void **state) {
  struct sim *w = victims(1);
  struct evil *m = mallory(w);
  struct ztna_addr relay = sim_relay_addr(w);
  struct ztna_addr connector = sim_outer(w, &w->connectors[0].node);
  uint64_t before;

  assert_int_equal(evil_ask(m, "echo"), 201);
  before = sim_relay_counter(w, DROPS_RELAY, "wrong-source");
  evil_dial(m, &relay, NULL, way_of(w, 0)->peer_handle);
  sim_run(w, 4 * SEC);
  assert_true(sim_relay_counter(w, DROPS_RELAY, "wrong-source") > before);
  assert_false(m->live);
  assert_victims_are_well(w);
  evil_dial(m, &connector, way_of(w, 0)->handle, way_of(w, 0)->peer_handle);
  sim_run(w, 4 * SEC);
  assert_false(m->live && m->n_packets);
  assert_false(sim_logged(w, "connector: path ended"));
  assert_victims_are_well(w);
  evil_free(m);
  sim_free(w);
}

/* One train: own route, the victim's, nobody's, own. */
static void a_train_of_many_handles_is_judged_packet_by_packet(void **state) {
  struct sim *w = victims(1);
  struct evil *m = mallory_inside(w);
  uint8_t train[4][100], own[HANDLE_LEN];
  struct dgram d = {.remote = sim_outer(w, &m->node),
                    .local = sim_relay_addr(w),
                    .data = train[0],
                    .len = sizeof(train),
                    .seg = sizeof(train[0])};
  struct tap t = {.from = sim_relay_addr(w),
                  .to = sim_outer(w, &w->connectors[0].node)};
  uint64_t foreign = sim_relay_counter(w, DROPS_RELAY, "wrong-source");
  uint64_t stray =
      sim_relay_counter(w, "ztna_relay_stray_packets_total", "route-unknown");

  assert_true(
      hex_parse(own, HANDLE_LEN, evil_text(m->grant, "handles.connector")));
  memset(train, 0x40, sizeof(train));
  memcpy(train[0] + 1, own, HANDLE_LEN);
  memcpy(train[1] + 1, way_of(w, 0)->peer_handle, HANDLE_LEN);
  memset(train[2] + 1, 0xee, HANDLE_LEN);
  memcpy(train[3] + 1, own, HANDLE_LEN);
  tap(w, &t);
  w->relay.node.udp_in(&w->relay.node, &d);
  w->relay.node.drain(&w->relay.node);
  assert_int_equal(t.n, 2);
  assert_int_equal(sim_relay_counter(w, DROPS_RELAY, "wrong-source"),
                   foreign + 1);
  assert_int_equal(
      sim_relay_counter(w, "ztna_relay_stray_packets_total", "route-unknown"),
      stray + 1);
  assert_victims_are_well(w);
  evil_free(m);
  sim_free(w);
}

/* --- copies --- */

/* Somebody on the agent's line sends copies that arrive before the originals,
 * from an address of his own. */
struct copier {
  struct sim *w;
  struct ztna_addr agent, own; /* whose packets are copied; the copies' */
  struct ztna_addr target;     /* where the copies go */
  const uint8_t *path_handle;  /* of packets to the agent by its path */
  const uint8_t *to_path;      /* of packets of the path to the connector */
  bool of_path;                /* copies these, else those of control */
  int n_copied, n_stolen, n_to_own;
};

static void on_copy(void *ud, const struct ztna_addr *from,
                    const struct ztna_addr *to, const uint8_t *data,
                    size_t len) {
  struct copier *c = ud;
  const uint8_t *h = packet_handle(data, len);

  if (ztna_addr_equal(to, &c->own)) {
    c->n_to_own++;
    if (h && !memcmp(h, c->path_handle, HANDLE_LEN)) c->n_stolen++;
  }
  if (!h || !ztna_addr_equal(from, &c->agent) || data[0] & 0x80) return;
  if (c->of_path == !!memcmp(h, c->to_path, HANDLE_LEN)) return;
  c->n_copied++;
  vnet_inject(c->w->net, &c->own, &c->target, data, len, MS);
}

static struct copier copier(struct sim *w, bool of_path) {
  struct vnet_host *h = vnet_add(w->net, "198.51.9.9:9999", NULL, 10 * MS);

  return (struct copier){.w = w,
                         .agent = sim_outer(w, &w->agents[0].node),
                         .own = h->outer[0],
                         .target = sim_relay_addr(w),
                         .path_handle = way_of(w, 0)->handle,
                         .to_path = way_of(w, 0)->peer_handle,
                         .of_path = of_path};
}

static void copy_for(struct sim *w, struct copier *c, uint64_t span) {
  struct app *a = &w->agents[0].app;
  uint64_t asked, got;

  w->net->on_wire = on_copy;
  w->net->wire_ud = c;
  asked = a->n_asks;
  got = a->n_got;
  app_steady(a, "echo", false, 50 * MS);
  sim_run(w, span);
  app_steady(a, "echo", false, 0);
  sim_run(w, SEC);
  assert_int_equal(a->n_got - got, a->n_asks - asked);
  assert_true(c->n_copied > 0);
  assert_true(app_is_clean(a));
  assert_false(sim_logged(w, "relay lost"));
  assert_false(sim_logged(w, "path ended"));
}

static void copied_control_packets_move_no_traffic(void **state) {
  struct sim *w = victims(1);
  struct copier c = copier(w, false);

  copy_for(w, &c, 60 * SEC);
  assert_int_equal(c.n_stolen, 0);
  assert_victims_are_well(w);
  sim_free(w);
}

static void copied_packets_of_a_path_stop_at_the_relay(void **state) {
  struct sim *w = victims(1);
  struct copier c = copier(w, true);

  copy_for(w, &c, 10 * SEC);
  assert_int_equal(c.n_stolen, 0);
  assert_true(sim_relay_counter(w, DROPS_RELAY, "wrong-source") >=
              (uint64_t)c.n_copied);
  sim_free(w);
}

/* Straight to the connector, past the relay. */
static void copied_packets_of_a_path_do_not_lead_it_away(void **state) {
  struct sim *w = victims(1);
  struct copier c = copier(w, true);

  c.target = sim_outer(w, &w->connectors[0].node);
  copy_for(w, &c, 10 * SEC);
  assert_int_equal(c.n_to_own, 0);
  assert_true(sim_connector_counter(w, 0, "ztna_connector_quic_drops_total",
                                    "wrong-source") >= (uint64_t)c.n_copied);
  sim_free(w);
}

/* The same towards the agent. */
static void copied_packets_to_an_agent_do_not_lead_it_away(void **state) {
  struct sim *w = victims(1);
  struct copier c = copier(w, true);

  c.agent = sim_outer(w, &w->connectors[0].node);
  c.to_path = way_of(w, 0)->handle;
  c.path_handle = way_of(w, 0)->peer_handle;
  c.target = sim_outer(w, &w->agents[0].node);
  copy_for(w, &c, 10 * SEC);
  assert_int_equal(c.n_to_own, 0);
  sim_free(w);
}

/* --- a hostile agent inside --- */

static void a_hello_with_anothers_address_ends_the_path(void **state) {
  struct sim *w = victims(1);
  struct evil *m = mallory_inside(w);

  evil_say(m, hello(&w->agents[0].core->addrs[0]));
  sim_run(w, SEC);
  assert_false(m->live);
  assert_int_equal(m->end.reason, REASON_WRONG_SOURCE);
  assert_true(sim_logged(w, "connector: hello refused"));
  assert_victims_are_well(w);
  evil_free(m);
  sim_free(w);
}

static void a_grant_of_another_opens_no_context(void **state) {
  struct sim *w = victims(1);
  struct evil *m = mallory_inside(w);
  const char *grant = w->agents[0].core->services[0]->grant;

  assert_int_equal(strlen(grant), 32);
  evil_say(m, hello(&m->addrs[0]));
  evil_say(m, open_context(2, "echo", grant));
  sim_run(w, SEC);
  assert_string_equal(evil_text(m->said, "type"), "refused");
  assert_string_equal(evil_text(m->said, "reason"), "not-allowed");
  /* Nor a grant of hers for another service, nor an odd context. */
  evil_say(m, open_context(2, "other", evil_text(m->grant, "grant.id")));
  sim_run(w, SEC);
  assert_string_equal(evil_text(m->said, "reason"), "not-allowed");
  evil_say(m, open_context(3, "echo", evil_text(m->grant, "grant.id")));
  sim_run(w, SEC);
  assert_string_equal(evil_text(m->said, "reason"), "malformed");
  assert_true(m->live);
  assert_victims_are_well(w);
  evil_free(m);
  sim_free(w);
}

static size_t udp(uint8_t *to, const struct ztna_addr *src, uint16_t sport,
                  const struct ztna_addr *dst, uint16_t dport) {
  struct ztna_addr a = *src, b = *dst;
  uint8_t data[64] = "leak";

  a.port = sport;
  b.port = dport;
  return (size_t)ip_build_udp(to, 2048, &a, &b, 0, data, sizeof(data));
}

static void packets_beyond_the_grant_reach_no_backend(void **state) {
  struct sim *w = victims(1);
  struct evil *m = mallory_inside(w);
  struct ztna_addr victim = w->agents[0].core->addrs[0];
  struct ztna_addr echo = sim_service_addr("echo", false);
  struct ztna_addr other = sim_service_addr("other", false);
  struct ztna_addr echo6 = sim_service_addr("echo", true);
  uint64_t asked;
  uint8_t p[2048];

  evil_say(m, hello(&m->addrs[0])); /* only IPv4 */
  evil_say(m, open_context(2, "echo", evil_text(m->grant, "grant.id")));
  sim_run(w, SEC);
  assert_string_equal(evil_text(m->said, "type"), "opened");
  asked = w->connectors[0].n_asked;

  evil_send(m, 2, p, udp(p, &victim, APP_PORT, &echo, SIM_PORT));
  evil_send(m, 2, p, udp(p, &m->addrs[1], APP_PORT, &echo6, SIM_PORT));
  sim_run(w, 200 * MS);
  assert_int_equal(sim_connector_counter(w, 0, DROPS_CONNECTOR, "wrong-source"),
                   2);
  evil_send(m, 2, p, udp(p, &m->addrs[0], APP_PORT, &other, SIM_PORT));
  evil_send(m, 2, p, udp(p, &m->addrs[0], APP_PORT, &victim, SIM_PORT));
  sim_run(w, 200 * MS);
  assert_int_equal(
      sim_connector_counter(w, 0, DROPS_CONNECTOR, "wrong-destination"), 2);
  evil_send(m, 4, p, udp(p, &m->addrs[0], APP_PORT, &echo, SIM_PORT));
  sim_run(w, 200 * MS);
  assert_true(sim_connector_counter(w, 0, DROPS_CONNECTOR, "not-allowed") > 0);
  memset(p, 0, sizeof(p));
  evil_send(m, 2, p, 60);
  sim_run(w, 200 * MS);
  assert_int_equal(sim_connector_counter(w, 0, DROPS_CONNECTOR, "malformed"),
                   1);
  assert_int_equal(w->connectors[0].n_asked, asked);

  /* And what is allowed does pass. */
  evil_send(m, 2, p, udp(p, &m->addrs[0], APP_PORT, &echo, SIM_PORT));
  sim_run(w, 500 * MS);
  assert_int_equal(w->connectors[0].n_asked, asked + 1);
  assert_memory_equal(m->last + 28, "leak", 4);
  assert_victims_are_well(w);
  evil_free(m);
  sim_free(w);
}

/* --- a hostile connector --- */

/* Agent 0 has "echo" open at a connector that answers nothing by itself. */
static struct sim *at_its_mercy(struct evil **e) {
  struct sim_config cfg = {.seed = 12, .n_agents = 1};
  struct sim *w = sim_new(&cfg);

  *e = evil_connector(w);
  evil_serve(*e, "echo");
  assert_true(sim_until(w, have_routes, NULL, 5 * SEC));
  sim_run(w, 200 * MS);
  assert_true(app_udp(&w->agents[0].app, "echo", false, 64));
  sim_run(w, 2 * SEC);
  assert_true((*e)->live);
  assert_int_equal((*e)->n_packets, 1);
  return w;
}

static size_t fragment(uint8_t *to, const uint8_t *pkt, size_t len, int n) {
  struct ip_cut cut = {.pkt = pkt, .len = len, .mtu = 600, .id = 7};
  size_t got = 0;

  while (n-- >= 0) got = ip_cut_next(&cut, to);
  return got;
}

static void the_machine_behind_an_agent_gets_only_answers(void **state) {
  struct evil *e;
  struct sim *w = at_its_mercy(&e);
  struct ztna_agent *core = w->agents[0].core;
  struct ztna_addr own = core->addrs[0], echo = sim_service_addr("echo", false);
  struct ztna_addr other = sim_service_addr("other", false);
  struct ztna_addr far = test_addr("192.0.2.77"), a, b;
  uint64_t out =
      sim_agent_counter(w, 0, "ztna_agent_ip_out_packets_total", NULL);
  uint8_t p[2048], big[2048], data[1400] = {0};
  uint8_t syn[40] = {0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6};
  uint64_t sum;
  size_t n;

#define SEND(context, len) evil_send(e, context, p, len), sim_run(w, 100 * MS)
#define DROPS(reason) sim_agent_counter(w, 0, DROPS_AGENT, reason)
  /* UDP that nobody asked for: another port here, another port there. */
  SEND(e->context, udp(p, &echo, SIM_PORT, &own, APP_PORT + 1));
  SEND(e->context, udp(p, &echo, SIM_PORT + 1, &own, APP_PORT));
  assert_int_equal(DROPS("not-begun-here"), 2);
  /* A TCP SYN. */
  memcpy(syn + 12, echo.ip, 4);
  memcpy(syn + 16, own.ip, 4);
  syn[32] = 0x50;
  syn[33] = 0x02;
  sum = ip_checksum_finish(ip_checksum_add(0, syn, 20));
  syn[10] = (uint8_t)(sum >> 8);
  syn[11] = (uint8_t)sum;
  memcpy(p, syn, sizeof(syn));
  SEND(e->context, sizeof(syn));
  assert_int_equal(DROPS("not-begun-here") + DROPS("malformed"), 3);
  /* Sources: another service, a stranger, the agent itself. */
  SEND(e->context, udp(p, &other, SIM_PORT, &own, APP_PORT));
  SEND(e->context, udp(p, &far, SIM_PORT, &own, APP_PORT));
  SEND(e->context, udp(p, &own, SIM_PORT, &own, APP_PORT));
  assert_int_equal(DROPS("wrong-source"), 3);
  /* Destinations: not the agent. */
  SEND(e->context, udp(p, &echo, SIM_PORT, &far, APP_PORT));
  SEND(e->context, udp(p, &echo, SIM_PORT, &other, APP_PORT));
  assert_int_equal(DROPS("wrong-destination"), 2);
  /* Echo: a reply to no request, and a request. */
  a = echo, b = own;
  n = (size_t)ip_build_echo(p, sizeof(p), &a, &b, true, APP_ECHO_ID, 1, data,
                            64);
  SEND(e->context, n);
  n = (size_t)ip_build_echo(p, sizeof(p), &a, &b, false, APP_ECHO_ID, 1, data,
                            64);
  SEND(e->context, n);
  /* An error about a packet that was never sent. */
  n = udp(big, &own, APP_PORT + 9, &echo, SIM_PORT);
  n = (size_t)ip_build_error(p, sizeof(p), &echo, IP_ERR_PORT, 0, big, n);
  SEND(e->context, n);
  assert_int_equal(DROPS("not-begun-here") + DROPS("malformed"), 6);
  /* Fragments: a first one of no conversation, and one without a first. */
  a.port = SIM_PORT, b.port = APP_PORT + 2;
  n = (size_t)ip_build_udp(big, sizeof(big), &a, &b, 0, data, sizeof(data));
  SEND(e->context, fragment(p, big, n, 0));
  SEND(e->context, fragment(p, big, n, 1));
  assert_int_equal(DROPS("not-begun-here") + DROPS("malformed"), 8);
  /* A context that is not open. */
  SEND(e->context + 2, udp(p, &echo, SIM_PORT, &own, APP_PORT));
  SEND(e->context + 1, udp(p, &echo, SIM_PORT, &own, APP_PORT));
  assert_int_equal(DROPS("not-begun-here") + DROPS("malformed"), 10);
  assert_int_equal(
      sim_agent_counter(w, 0, "ztna_agent_ip_out_packets_total", NULL), out);
  assert_int_equal(w->agents[0].app.n_foreign + w->agents[0].app.n_strange, 0);

  /* The way back of the question does pass, and so does an error about it. */
  SEND(e->context, udp(p, &echo, SIM_PORT, &own, APP_PORT));
  assert_int_equal(w->agents[0].app.n_foreign, 1);
  n = (size_t)ip_build_error(p, sizeof(p), &echo, IP_ERR_PORT, 0, e->last,
                             e->last_len);
  SEND(e->context, n);
  assert_int_equal(w->agents[0].app.n_errors, 1);
  evil_free(e);
  sim_free(w);
}

/* Conversations end: two minutes later the connector may not come back. */
static void a_late_answer_is_nobodys(void **state) {
  struct evil *e;
  struct sim *w = at_its_mercy(&e);
  struct ztna_addr echo = sim_service_addr("echo", false);
  uint8_t p[2048];
  size_t n = udp(p, &echo, SIM_PORT, &w->agents[0].core->addrs[0], APP_PORT);

  sim_run(w, 200 * SEC);
  assert_true(e->live);
  evil_send(e, e->context, p, n);
  sim_run(w, SEC);
  assert_int_equal(w->agents[0].app.n_foreign, 0);
  assert_int_equal(sim_agent_counter(w, 0, DROPS_AGENT, "not-begun-here"), 1);
  evil_free(e);
  sim_free(w);
}

static void an_answer_to_anothers_route_request_is_unknown(void **state) {
  struct sim *w = victims(1);
  struct evil *e = evil_connector(w);
  char path[80];

  evil_serve(e, "other");
  sim_run(w, SEC);
  assert_true(e->registered);
  snprintf(path, sizeof(path), "/v1/routes/%s/answer", way_of(w, 0)->route);
  assert_int_equal(evil_request(e, "POST", path,
                                json_pack("{s:s}", "refuse", "not-allowed")),
                   404);
  snprintf(path, sizeof(path), "/v1/routes/%s", way_of(w, 0)->route);
  assert_int_equal(evil_request(e, "DELETE", path, NULL), 404);
  snprintf(path, sizeof(path), "/v1/grants/%s",
           w->agents[0].core->services[0]->grant);
  assert_int_equal(evil_request(e, "DELETE", path, NULL), 404);
  assert_victims_are_well(w);
  evil_free(e);
  sim_free(w);
}

/* --- a relay that lies --- */

static void a_relay_with_an_agents_certificate_is_refused(void **state) {
  struct sim_config cfg = {
      .seed = 13, .n_agents = 1, .n_connectors = 1, .relay_role = ROLE_AGENT};
  struct sim *w = sim_new(&cfg);
  const char *why;

  sim_run(w, 5 * SEC);
  assert_false(ztna_agent_ready(w->agents[0].core, &why));
  assert_string_equal(why, "identity-mismatch");
  assert_true(sim_logged(w, "connector: relay lost"));
  assert_false(sim_logged(w, "relay connected"));
  assert_false(sim_logged(w, "relay: registered"));
  sim_free(w);
}

static struct sim *lied_to(struct liar **l, int n_agents,
                           void (*bend)(struct liar *l, struct lie *what)) {
  struct sim_config cfg = {.seed = 14,
                           .n_agents = n_agents,
                           .n_connectors = 2,
                           .services = {"echo", "other"}};
  struct sim *w = sim_new(&cfg);

  sim_relay_stop(w);
  *l = liar_new(w);
  (*l)->bend = bend;
  return w;
}

static void ask_all(struct sim *w, int n) {
  assert_true(sim_until(w, have_routes, NULL, 5 * SEC));
  sim_run(w, SEC);
  for (int k = 0; k < n; k++)
    for (int i = 0; i < w->cfg.n_agents; i++) {
      app_udp(&w->agents[i].app, "echo", k % 2, 64);
      app_ping(&w->agents[i].app, "echo", k % 2, 64);
      sim_run(w, 5 * MS);
    }
  sim_run(w, 3 * SEC);
}

static void lie_end(struct sim *w, struct liar *l) {
  liar_free(l);
  sim_free(w);
}

static void a_liar_who_tells_the_truth_is_a_relay(void **state) {
  struct liar *l;
  struct sim *w = lied_to(&l, 2, NULL);

  ask_all(w, 20);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(w->agents[i].app.n_got, 40);
    assert_true(app_is_clean(&w->agents[i].app));
  }
  lie_end(w, l);
}

/* The same tunnel address, the same inner ports, the same service. */
static void agents_with_one_address_get_each_their_own(void **state) {
  struct liar *l;
  struct sim *w = lied_to(&l, 2, NULL);

  l->same_tunnel = true;
  ask_all(w, 100);
  assert_memory_equal(w->agents[0].core->addrs, w->agents[1].core->addrs,
                      sizeof(w->agents[0].core->addrs));
  for (int i = 0; i < 2; i++) {
    assert_int_equal(w->agents[i].app.n_got, 200);
    assert_true(app_is_clean(&w->agents[i].app));
  }
  lie_end(w, l);
}

static void wrong_agent_handle(struct liar *l, struct lie *what) {
  what->to_connector.agent_handle[0] ^= 1;
}

static void a_connector_told_of_a_wrong_handle_sends_nothing(void **state) {
  struct liar *l;
  struct sim *w = lied_to(&l, 1, wrong_agent_handle);

  ask_all(w, 3);
  assert_int_equal(w->connectors[0].n_asked, 0);
  assert_true(sim_connector_counter(w, 0, "ztna_connector_quic_drops_total",
                                    "malformed") > 0);
  assert_int_equal(w->agents[0].app.n_got, 0);
  lie_end(w, l);
}

/* The second agent is sent to the first one's route. */
static void swap_routes(struct liar *l, struct lie *what) {
  if (what->agent == 1) {
    what->to_agent = l->last[0].to_agent;
    strcpy(what->to_agent.agent, what->to_connector.agent);
  }
}

static void an_agent_sent_into_anothers_route_is_refused(void **state) {
  struct liar *l;
  struct sim *w = lied_to(&l, 2, NULL);
  struct app *a = &w->agents[0].app, *b = &w->agents[1].app;

  l->bend = swap_routes;
  assert_true(sim_until(w, have_routes, NULL, 5 * SEC));
  sim_run(w, SEC);
  app_udp(a, "echo", false, 64);
  sim_run(w, SEC);
  assert_int_equal(a->n_got, 1);
  app_udp(b, "echo", false, 64);
  sim_run(w, 2 * SEC);
  assert_int_equal(b->n_got, 0);
  assert_true(sim_logged(w, "connector: path refused"));
  l->n_routes = 3; /* no longer to the second one */
  memset(l->routes + 3, 0, sizeof(l->routes) - 3 * sizeof(l->routes[0]));
  app_udp(a, "echo", false, 64);
  sim_run(w, SEC);
  assert_int_equal(a->n_got, 2);
  assert_true(app_is_clean(a) && app_is_clean(b));
  lie_end(w, l);
}

/* "echo" by a connector that is certified, but not the one that is named. */
static void other_connector(struct liar *l, struct lie *what) {
  strcpy(what->to_agent.connector,
         "spiffe://example.org/connector/connector-7");
}

static void a_connector_of_another_name_is_refused(void **state) {
  struct liar *l;
  struct sim *w = lied_to(&l, 1, other_connector);

  ask_all(w, 3);
  assert_int_equal(w->agents[0].app.n_got, 0);
  assert_int_equal(w->connectors[0].n_asked, 0);
  assert_true(sim_logged(w, "agent: connector refused"));
  assert_true(sim_logged(w, "identity-mismatch"));
  lie_end(w, l);
}

/* Addresses that would divert other traffic of the agent's machine. */
static void foreign_tunnel(struct liar *l, struct lie *what) {
  what->to_connector.tunnel[0].ip[3] ^= 0x55;
  what->to_connector.tunnel[1].ip[15] ^= 0x55;
}

static void
a_tunnel_address_that_differs_on_both_sides_opens_nothing(void **state) {
  struct liar *l;
  struct sim *w = lied_to(&l, 1, foreign_tunnel);

  ask_all(w, 3);
  assert_int_equal(w->agents[0].app.n_got, 0);
  assert_int_equal(w->connectors[0].n_asked, 0);
  assert_true(sim_logged(w, "hello refused"));
  assert_in_range(
      sim_connector_counter(w, 0, "ztna_connector_route_requests_total", NULL),
      1, 10); /* it is not asked over and over */
  lie_end(w, l);
}

/* --- noise --- */

enum { KEPT = 256 };

struct noise {
  struct sim *w;
  struct kept {
    struct ztna_addr from, to;
    size_t len;
    uint8_t data[1500];
  } kept[KEPT];
  int n;
  bool injecting;
};

static void on_keep(void *ud, const struct ztna_addr *from,
                    const struct ztna_addr *to, const uint8_t *data,
                    size_t len) {
  struct noise *z = ud;
  struct kept *k = &z->kept[z->n % KEPT];

  if (z->injecting) return;
  k->from = *from;
  k->to = *to;
  k->len = len;
  memcpy(k->data, data, len);
  z->n++;
}

/* A packet of the past again: whole, cut short, or with a bit turned over; or
 * with its head only and rubbish behind. */
static void disturb(struct noise *z, struct seeded *r) {
  struct kept k = z->kept[seeded_u64(r) % (z->n < KEPT ? z->n : KEPT)];

  switch (seeded_u64(r) % 4) {
  case 0:
    break;
  case 1:
    k.len = 1 + seeded_u64(r) % k.len;
    break;
  case 2:
    k.data[seeded_u64(r) % k.len] ^= (uint8_t)(1 << seeded_u64(r) % 8);
    break;
  default:
    if (k.len > 21) rng_fill(&r->rng, k.data + 21, k.len - 21);
  }
  if (seeded_u64(r) % 4 == 0) k.from.port ^= 1;
  z->injecting = true;
  vnet_inject(z->w->net, &k.from, &k.to, k.data, k.len,
              seeded_u64(r) % (100 * MS));
  z->injecting = false;
}

static void rubbish(struct sim *w, struct seeded *r,
                    const struct ztna_addr *to) {
  struct ztna_addr from = test_addr("198.51.9.3:1");
  uint8_t junk[1500];
  size_t len = 1 + seeded_u64(r) % sizeof(junk);

  rng_fill(&r->rng, junk, len);
  from.port = (uint16_t)seeded_u64(r) | 1;
  vnet_inject(w->net, &from, to, junk, len, 0);
}

static void noise_on_all_ports_is_counted_and_changes_nothing(void **state) {
  struct sim *w = victims(2);
  struct noise *z = calloc(1, sizeof(*z));
  struct sim_node *nodes[] = {&w->relay.node, &w->connectors[0].node,
                              &w->agents[0].node};
  uint64_t asked, got = 0;
  struct seeded r;

  seeded_init(&r, 5);
  z->w = w;
  w->net->on_wire = on_keep;
  w->net->wire_ud = z;
  asked = w->agents[0].app.n_asks + w->agents[1].app.n_asks;
  for (int i = 0; i < 2; i++) app_steady(&w->agents[i].app, "echo", i, 20 * MS);
  for (int i = 0; i < 3000; i++) {
    sim_run(w, 5 * MS);
    disturb(z, &r);
    for (int k = 0; k < 3; k++) {
      struct ztna_addr to = sim_outer(w, nodes[k]);

      rubbish(w, &r, &to);
    }
  }
  for (int i = 0; i < 2; i++) app_steady(&w->agents[i].app, "echo", i, 0);
  sim_run(w, SEC);
  asked = w->agents[0].app.n_asks + w->agents[1].app.n_asks - asked;
  for (int i = 0; i < 2; i++) {
    got += w->agents[i].app.n_got - 1;
    assert_true(app_is_clean(&w->agents[i].app));
  }
  assert_int_equal(got, asked);
  assert_false(sim_logged(w, "relay lost"));
  assert_false(sim_logged(w, "path ended"));
  assert_true(
      sim_relay_counter(w, "ztna_relay_stray_packets_total", "malformed") > 0);
  assert_true(sim_connector_counter(w, 0, "ztna_connector_quic_drops_total",
                                    "malformed") > 0);
  assert_true(
      sim_agent_counter(w, 0, "ztna_agent_quic_drops_total", "malformed") > 0);
  w->net->on_wire = NULL;
  free(z);
  sim_free(w);
}

/* Not a byte comes back from a connector to whoever knocks. */
static void a_scan_of_connector_and_agent_gets_no_answer(void **state) {
  struct sim *w = victims(1);
  struct vnet_host *h = vnet_add(w->net, "198.51.9.4:4444", NULL, 10 * MS);
  struct tap t = {.to = h->outer[0]};
  struct ztna_addr at[2] = {sim_outer(w, &w->connectors[0].node),
                            sim_outer(w, &w->agents[0].node)};
  uint8_t p[1200] = {0xc0, 0, 0, 0, 1, 16};

  tap(w, &t);
  for (int i = 0; i < 256; i++) {
    p[0] = (uint8_t)i;
    for (int k = 0; k < 2; k++) {
      vnet_inject(w->net, &h->outer[0], &at[k], p, sizeof(p), 0);
      vnet_inject(w->net, &h->outer[0], &at[k], p, 1 + (size_t)i, 0);
    }
    sim_run(w, MS);
  }
  p[4] = 0x77; /* an unknown version */
  p[0] = 0xc0;
  for (int k = 0; k < 2; k++)
    vnet_inject(w->net, &h->outer[0], &at[k], p, sizeof(p), 0);
  sim_run(w, SEC);
  assert_int_equal(t.n, 0);
  assert_victims_are_well(w);
  sim_free(w);
}

/* Somebody else answered a handshake while the paths were silent for a moment;
 * now they work again. */
static void who_works_is_not_out(void **state) {
  struct sim_config cfg = {
      .seed = 11, .n_agents = 1, .n_connectors = 1, .both = true};
  struct sim *w = sim_new(&cfg);
  struct app *a = &w->agents[0].app;

  assert_true(sim_until(w, have_routes, NULL, 5 * SEC));
  sim_run(w, 100 * MS);
  assert_true(app_udp(a, "echo", 0, 64));
  sim_run(w, 2 * SEC);
  assert_int_equal(a->n_got, 1);
  for (int i = 0; i < 5; i++) /* each time for longer */
    agent_peer_put_out(w->agents[0].core->links[0], REASON_IDENTITY_MISMATCH);
  assert_true(app_udp(a, "other", 0, 64));
  sim_run(w, 500 * MS);
  assert_int_equal(a->n_got, 2);
  sim_free(w);
}

/* --- a direct path's heir --- */

static struct agent_way *heir_in(struct link *l) {
  for (int i = 0; i < LINK_DIRECT; i++)
    if (l->direct[i].heir) return l->direct[i].heir;
  return NULL;
}

static bool is_direct(struct sim *w, void *ud) {
  return ways_work_direct(&w->agents[0].core->links[0]->ways);
}

/* A connector that falls silent on all paths while the next one is made, and
 * leaves it without a word of what it was made for. */
static void an_heir_that_fails_while_all_is_silent_is_forgotten(void **state) {
  struct sim_config cfg = {.seed = 42,
                           .n_agents = 1,
                           .n_connectors = 1,
                           .direct = true,
                           .agent_class = "port-restricted",
                           .connector_class = "port-restricted"};
  struct sim *w = sim_new(&cfg);
  struct app *a = &w->agents[0].app;
  struct agent_way *heir = NULL;
  struct link *l;

  assert_true(sim_until(w, have_routes, NULL, 5 * SEC));
  sim_run(w, 100 * MS);
  app_steady(a, "echo", false, 50 * MS);
  sim_run(w, SEC);
  assert_true(sim_until(w, is_direct, NULL, 10 * SEC));
  sim_run(w, SEC);
  l = w->agents[0].core->links[0];
  sim_agent_renew(w, 0);
  for (int i = 0; i < 2000 && !(heir && path_is_live(heir->way.path)); i++) {
    sim_run(w, MS);
    heir = heir_in(l);
    for (size_t k = 0; heir && k < l->ways.n; k++)
      ways_suspect(&l->ways, l->ways.v[k], w->now);
  }
  assert_non_null(heir);
  assert_ptr_equal(l->path, heir->way.path);
  quic_close(path_conn(heir->way.path), REASON_IDLE, NULL);
  sim_run(w, 5 * SEC);
  assert_non_null(agent_way_of(l, l->path));
  assert_true(app_is_clean(a));
  sim_free(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_source_id_of_another_route_gets_no_packet),
      TEST(new_ids_of_another_route_get_no_packet),
      TEST(an_initial_for_anothers_handle_opens_nothing),
      TEST(a_train_of_many_handles_is_judged_packet_by_packet),
      TEST(copied_control_packets_move_no_traffic),
      TEST(copied_packets_of_a_path_stop_at_the_relay),
      TEST(copied_packets_of_a_path_do_not_lead_it_away),
      TEST(copied_packets_to_an_agent_do_not_lead_it_away),
      TEST(a_hello_with_anothers_address_ends_the_path),
      TEST(a_grant_of_another_opens_no_context),
      TEST(packets_beyond_the_grant_reach_no_backend),
      TEST(the_machine_behind_an_agent_gets_only_answers),
      TEST(a_late_answer_is_nobodys),
      TEST(an_answer_to_anothers_route_request_is_unknown),
      TEST(a_relay_with_an_agents_certificate_is_refused),
      TEST(a_liar_who_tells_the_truth_is_a_relay),
      TEST(agents_with_one_address_get_each_their_own),
      TEST(a_connector_told_of_a_wrong_handle_sends_nothing),
      TEST(an_agent_sent_into_anothers_route_is_refused),
      TEST(a_connector_of_another_name_is_refused),
      TEST(a_tunnel_address_that_differs_on_both_sides_opens_nothing),
      TEST(who_works_is_not_out),
      TEST(an_heir_that_fails_while_all_is_silent_is_forgotten),
      TEST(noise_on_all_ports_is_counted_and_changes_nothing),
      TEST(a_scan_of_connector_and_agent_gets_no_answer),
  };

  if (getenv("ZTNA_TEST")) cmocka_set_test_filter(getenv("ZTNA_TEST"));
  return cmocka_run_group_tests(tests, NULL, NULL);
}
