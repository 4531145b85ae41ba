/* fuzz_link.c - what is said on a path: a hostile agent to a connector that
 * granted it something, a hostile connector to an agent that opened its
 * service. Both have good certificates and routes of an honest relay, and write
 * to the control stream and into DATAGRAMs what the input makes of true
 * messages and packets. One world serves many inputs; who was thrown out comes
 * back.
 *
 * Any bytes are a list of choices, so there are no seeds.
 *
 * What must hold: `opened` only for a grant of one's own; nothing for the
 * agent's machine but answers to what it began; packets go back to the pools;
 * the other side always gets well again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "codec/ip.h"
#include "codec/ip_frag.h"
#include "codec/wire.h"
#include "fuzz/fuzz.h"
#include "role/path_int.h"
#include "sim/evil.h"
#include "sim/garble.h"
#include "sim/inside.h"

enum {
  INPUTS = 4000, /* per world */
  ACTIONS = 6,   /* per input */
  OUT = 1 << 20,
  DGRAMS = 16,
  AT_REST = 300, /* packets of a pool */
  DGRAM_MOST = 1200,
};

#define SETTLE (30 * MS)
#define LISTENS (50 * SEC) /* the connector, after its route was made */

/* An endpoint's end of a path, without a path's manners. */
struct raw {
  struct evil *e;
  struct quic_conn *c;
  struct quic_slot *slot; /* a connector's */
  int64_t stream;
  bool live, blocked, opened;
  uint8_t out[OUT];
  size_t n_out, n_sent, n_acked;
  uint8_t dgrams[DGRAMS][DGRAM_MOST];
  size_t dgram_len[DGRAMS], n_dgrams;
  uint8_t in[2 * PATH_MSG_MAX];
  size_t n_in;
  uint16_t context; /* of the agent's last open */
};

static struct sim *w;
static struct raw agent, connector;
static bool may_open[PATH_CONTEXT_MAX + 1]; /* asked for with the own grant */
static char other_grant[40];                /* of the honest agent */
static uint64_t routed_at;
static unsigned n_inputs, n_hellos;
static char text[GARBLE_ROOM];

/* --- what comes on the control stream --- */

static void say(struct raw *r, const char *s, size_t len) {
  if (r->n_out + len + 4 > OUT) return;
  for (int i = 0; i < 4; i++)
    r->out[r->n_out++] = (uint8_t)(len >> (24 - 8 * i));
  memcpy(r->out + r->n_out, s, len);
  r->n_out += len;
  if (r->c) quic_wake(r->c);
}

static void say_json(struct raw *r, json_t *o) {
  char *s = json_dumps(o, JSON_COMPACT);

  say(r, s, strlen(s));
  free(s);
  json_decref(o);
}

static void heard_by_agent(struct raw *r, const json_t *m) {
  json_int_t n = json_integer_value(json_object_get(m, "context"));

  if (strcmp(evil_text(m, "type"), "opened")) return;
  assert(n > 0 && n <= PATH_CONTEXT_MAX && may_open[n]);
  r->opened = true;
}

static void heard_by_connector(struct raw *r, const json_t *m) {
  const char *type = evil_text(m, "type");
  char link[33];

  /* On each path as if it knew nothing of the others: the agent opens anew. */
  snprintf(link, sizeof(link), "00112233445566778899aabb%08x", n_hellos++);
  if (!strcmp(type, "hello"))
    say_json(r, json_pack("{s:s, s:s}", "type", "hello", "link", link));
  if (strcmp(type, "open")) return;
  r->context = (uint16_t)json_integer_value(json_object_get(m, "context"));
  say_json(
      r, json_pack("{s:s, s:i}", "type", "opened", "context", (int)r->context));
  r->opened = true;
}

static void hear(struct raw *r) {
  size_t used = 0;

  while (r->n_in - used >= 4) {
    struct rd rd = rd_of(r->in + used, r->n_in - used);
    size_t len = rd_u32(&rd);
    json_t *m;

    assert(len <= PATH_MSG_MAX);
    if (rd_left(&rd) < len) break;
    m = json_loadb((const char *)rd.p, len, JSON_REJECT_DUPLICATES, NULL);
    assert(json_is_object(m));
    if (r == &agent)
      heard_by_agent(r, m);
    else
      heard_by_connector(r, m);
    json_decref(m);
    used += len + 4;
  }
  memmove(r->in, r->in + used, r->n_in - used);
  r->n_in -= used;
}

/* --- a connection --- */

static void reset(struct raw *r) {
  r->n_out = r->n_sent = r->n_acked = r->n_dgrams = r->n_in = 0;
  r->live = r->blocked = r->opened = false;
  r->stream = 0;
  if (r == &agent) memset(may_open, 0, sizeof(may_open));
}

static int on_ready(struct quic_conn *c, void *ud,
                    const struct identity *peer) {
  struct raw *r = ud;

  reset(r);
  r->c = c;
  r->live = true;
  return quic_is_server(c) ? 0 : quic_stream_open(c, true, &r->stream);
}

static void on_end(struct quic_conn *c, void *ud, const struct quic_end *why) {
  struct raw *r = ud;

  if (c != r->c) return;
  r->c = NULL;
  r->live = false;
}

static int on_stream_data(struct quic_conn *c, void *ud, int64_t id,
                          const uint8_t *data, size_t len, bool fin) {
  struct raw *r = ud;

  quic_credit(c, id, len);
  if (c != r->c || id != r->stream) return 0;
  assert(r->n_in + len <= sizeof(r->in));
  memcpy(r->in + r->n_in, data, len);
  r->n_in += len;
  hear(r);
  return 0;
}

static int stream_out(struct quic_conn *c, void *ud, int64_t *id, bool *fin,
                      struct quic_vec *v, size_t n) {
  struct raw *r = ud;

  *id = -1;
  if (c != r->c || r->blocked || r->n_sent == r->n_out) return 0;
  *id = r->stream;
  v[0] = (struct quic_vec){r->out + r->n_sent, r->n_out - r->n_sent};
  return 1;
}

static void stream_sent(struct quic_conn *c, void *ud, int64_t id, size_t n) {
  ((struct raw *)ud)->n_sent += n;
}

static void on_stream_acked(struct quic_conn *c, void *ud, int64_t id,
                            uint64_t offset, uint64_t len) {
  struct raw *r = ud;

  if (c != r->c) return;
  r->n_acked += len;
  if (r->n_acked == r->n_out) r->n_acked = r->n_sent = r->n_out = 0;
}

static void stream_blocked(struct quic_conn *c, void *ud, int64_t id) {
  ((struct raw *)ud)->blocked = true;
}

static void on_stream_room(struct quic_conn *c, void *ud, int64_t id) {
  ((struct raw *)ud)->blocked = false;
  quic_wake(c);
}

static int dgram_out(struct quic_conn *c, void *ud, size_t max,
                     struct quic_vec v[2], uint64_t *id) {
  struct raw *r = ud;

  while (c == r->c && r->n_dgrams && r->dgram_len[r->n_dgrams - 1] > max)
    r->n_dgrams--;
  if (c != r->c || !r->n_dgrams) return 0;
  v[0] = (struct quic_vec){r->dgrams[r->n_dgrams - 1],
                           r->dgram_len[r->n_dgrams - 1]};
  return 1;
}

static void dgram_sent(struct quic_conn *c, void *ud) {
  ((struct raw *)ud)->n_dgrams--;
}

static const struct quic_ops ops = {
    .alpn = "ztna/1",
    .on_ready = on_ready,
    .on_end = on_end,
    .on_stream_data = on_stream_data,
    .on_stream_acked = on_stream_acked,
    .on_stream_room = on_stream_room,
    .stream_out = stream_out,
    .stream_sent = stream_sent,
    .stream_blocked = stream_blocked,
    .dgram_out = dgram_out,
    .dgram_sent = dgram_sent,
};

static const struct quic_params params = {.idle_timeout = 30 * SEC,
                                          .keep_alive = 15 * SEC,
                                          .handshake_timeout = 3 * SEC,
                                          .streams_bidi = 4,
                                          .stream_window = 256 * 1024,
                                          .conn_window = 1024 * 1024,
                                          .dgrams = true};

/* --- the honest agent's machine --- */

static void check_ports(const struct ztna_addr *mine,
                        const struct ztna_addr *theirs, uint8_t proto) {
  bool udp = proto == IP_PROTO_UDP;

  assert(mine->port == (udp ? APP_PORT : APP_ECHO_ID));
  assert(theirs->port == (udp ? SIM_PORT : 0));
}

/* It only ever asks "other" at its port, and pings it. */
static void check_machine_gets(const uint8_t *ip, size_t len) {
  struct ztna_addr own[2], from;
  struct ip_pkt p;
  bool v6;

  assert(ip_parse(&p, ip, len) == 0);
  v6 = p.version == 6;
  assert(ztna_agent_addresses(w->agents[0].core, own) == 2);
  assert(ztna_addr_same_ip(&p.dst, &own[v6]));
  from = sim_service_addr("other", v6);
  assert(ztna_addr_same_ip(&p.src, &from));
  switch (p.kind) {
  case IP_UDP:
  case IP_ECHO_REPLY:
    check_ports(&p.dst, &p.src, p.proto);
    break;
  case IP_ICMP_ERROR:
    assert(ztna_addr_same_ip(&p.inner_src, &own[v6]));
    assert(ztna_addr_same_ip(&p.inner_dst, &from));
    check_ports(&p.inner_src, &p.inner_dst, p.inner_proto);
    break;
  default:
    assert(p.kind == IP_FRAGMENT && p.proto != IP_PROTO_TCP);
    if (!ip_first_ports(&p)) break;
    check_ports(&p.dst, &p.src, p.proto);
  }
}

static bool checked; /* not yet while the world is made */

static void agent_drain(struct sim_node *n) {
  struct sim_agent *g = n->ud;
  struct ztna_addr relay = sim_relay_addr(w);
  struct ztna_ip ip;
  struct dgram v[16];
  int got;

  while ((got = ztna_agent_next(g->core, w->now, v, 16)) > 0)
    for (int i = 0; i < got; i++) vnet_send(n->host, &v[i]);
  while (ztna_agent_ip_next(g->core, &ip))
    if (checked) check_machine_gets(ip.data, ip.len);
  while ((got = ztna_agent_wants_relay(g->core)) >= 0)
    ztna_agent_set_relay(g->core, (size_t)got, &relay, 1, w->now);
}

/* --- coming back --- */

static bool handle_of(const json_t *o, const char *path, uint8_t *to) {
  return hex_parse(to, HANDLE_LEN, evil_text(o, path));
}

static bool is_live(struct sim *s, void *ud) {
  return ((struct raw *)ud)->live;
}
static bool is_open(struct sim *s, void *ud) {
  return ((struct raw *)ud)->opened;
}

static bool dial(void) {
  struct quic_dial d = {
      .remote = sim_relay_addr(w), .ops = &ops, .ud = &agent, .params = params};
  uint8_t own[HANDLE_LEN], peer[HANDLE_LEN];

  assert(handle_of(agent.e->grant, "handles.agent", own));
  assert(handle_of(agent.e->grant, "handles.connector", peer));
  d.handle = own;
  d.peer_handle = peer;
  assert((agent.c = quic_dial(agent.e->q, &d, w->now)));
  return sim_until(w, is_live, &agent, 4 * SEC);
}

static void ask(void) {
  char path[80];

  if (agent.e->grant) {
    snprintf(path, sizeof(path), "/v1/routes/%s",
             evil_text(agent.e->grant, "route"));
    evil_request(agent.e, "DELETE", path, NULL);
  }
  assert(evil_ask(agent.e, "echo") == 201);
  routed_at = w->now;
}

static json_t *hello(void) {
  char v4[ZTNA_ADDR_STRLEN], v6[ZTNA_ADDR_STRLEN];

  return json_pack("{s:s, s:i, s:[s, s]}", "type", "hello", "version", 1,
                   "addresses", ztna_addr_print_ip(&agent.e->addrs[0], v4),
                   ztna_addr_print_ip(&agent.e->addrs[1], v6));
}

static json_t *open_at(int context) {
  return json_pack("{s:s, s:i, s:s, s:s}", "type", "open", "context", context,
                   "service", "echo", "grant",
                   evil_text(agent.e->grant, "grant.id"));
}

static void agent_comes(void) {
  if (agent.live) return;
  if (!agent.e->grant || w->now - routed_at > LISTENS) ask();
  if (!dial()) {
    ask();
    assert(dial());
  }
  may_open[2] = true;
  say_json(&agent, hello());
  say_json(&agent, open_at(2));
  assert(sim_until(w, is_open, &agent, 2 * SEC));
}

/* Takes over the handle on which the evil just began to listen. */
static void take_over(void) {
  struct path *p = connector.e->path;
  uint8_t own[HANDLE_LEN], peer[HANDLE_LEN];

  if (!p->slot) return;
  quic_unlisten(connector.e->q, p->slot);
  p->slot = NULL;
  if (connector.slot) quic_unlisten(connector.e->q, connector.slot);
  connector.c = NULL;
  connector.live = connector.opened = false;
  assert(handle_of(connector.e->asked, "handles.connector", own));
  assert(handle_of(connector.e->asked, "handles.agent", peer));
  connector.slot = quic_listen(connector.e->q, own, peer, &ops, &connector,
                               &params, w->now, 60 * SEC);
  assert(connector.slot);
}

static void (*evil_drain)(struct sim_node *n);

static void connector_drain(struct sim_node *n) {
  take_over();
  evil_drain(n);
}

static bool is_visited(struct sim *s, void *ud) {
  return connector.live && connector.opened;
}

static void connector_is_used(void) {
  struct app *app = &w->agents[0].app;

  /* It may have said that it refuses: the agent believes that for a while. */
  for (int i = 0; i < 150 && !is_visited(w, NULL); i++) {
    app_udp(app, "other", false, 64);
    sim_until(w, is_visited, NULL, SEC / 2);
  }
  assert(connector.live && connector.opened);
}

/* --- what the hostile ones send --- */

static void note_open(const char *s, size_t len) {
  json_t *m = json_loadb(s, len, JSON_REJECT_DUPLICATES, NULL);
  json_int_t n = json_integer_value(json_object_get(m, "context"));

  if (!strcmp(evil_text(m, "grant"), evil_text(agent.e->grant, "grant.id")) &&
      !strcmp(evil_text(m, "service"), "echo") && n > 0 &&
      n <= PATH_CONTEXT_MAX)
    may_open[n] = true;
  json_decref(m);
}

static json_t *agent_message(struct garble *g) {
  static const char mine[] = "a1b2c3d4e5f60718", theirs[] = "1122334455667788";

  switch (garble_pick(g, 7)) {
  case 0:
    return hello();
  case 1:
  case 2:
    return open_at(2 * (int)garble_pick(g, 200));
  case 3:
    return json_pack("{s:s, s:i}", "type", "close", "context",
                     2 * (int)garble_pick(g, 8));
  case 4:
    return json_pack("{s:s, s:s, s:s}", "type", "another", "handle", theirs,
                     "mine", mine);
  case 5:
    return json_pack("{s:s, s:s}", "type", "renew", "handle", mine);
  default:
    return json_pack("{s:s, s:[i]}", "type", "news", "context", 2);
  }
}

static json_t *connector_message(struct garble *g) {
  int context = connector.context - 2 * (int)garble_pick(g, 2);

  switch (garble_pick(g, 9)) {
  case 0:
    return json_pack("{s:s, s:s}", "type", "hello", "link",
                     "ffeeddccbbaa99887766554433221100");
  case 1:
  case 2:
    return json_pack("{s:s, s:i}", "type", "opened", "context", context);
  case 3:
    return json_pack("{s:s, s:i, s:s}", "type", "refused", "context", context,
                     "reason", garble_word(g));
  case 4:
    return json_pack("{s:s, s:i, s:s}", "type", "close", "context", context,
                     "reason", garble_word(g));
  case 5:
    return json_pack("{s:s}", "type", "renew");
  case 6:
    return json_pack("{s:s, s:s}", "type", "another", "handle",
                     "1122334455667788");
  case 7:
    return json_pack("{s:s, s:s}", "type", "silent", "handle",
                     evil_text(connector.e->asked, "handles.connector"));
  default:
    return json_pack("{s:s, s:i}", "type", "news", "context", context);
  }
}

static void say_something(struct raw *r, struct garble *g) {
  bool is_agent = r == &agent;
  json_t *o = is_agent ? agent_message(g) : connector_message(g);
  size_t len = garble_json(g, o, text);

  if (is_agent) note_open(text, len);
  say(r, text, len);
}

/* Bytes that begin as a message or as nothing; the stream is of no use after
 * that, so nothing follows on it. */
static void say_bytes(struct raw *r, struct garble *g) {
  size_t len = g->left < 300 ? g->left : 300;

  if (garble_pick(g, 2)) say_something(r, g);
  if (len > g->left) len = g->left;
  memcpy(r->out + r->n_out, g->p, len);
  r->n_out += len;
  g->p += len;
  g->left -= len;
  quic_wake(r->c);
}

static struct ztna_addr some_port(struct garble *g, struct ztna_addr a,
                                  uint16_t usual) {
  a.port = garble_pick(g, 8) ? usual : (uint16_t)garble_pick(g, 65536);
  if (!garble_pick(g, 16)) a.ip[a.family == 6 ? 15 : 3] ^= 1;
  return a;
}

/* An inner packet as it should be, or nearly. */
static int packet(struct raw *r, struct garble *g, uint8_t *to, size_t room) {
  static uint8_t data[1300];
  bool is_agent = r == &agent, v6 = garble_pick(g, 2);
  struct ztna_addr own[2], mine, theirs;
  size_t len = garble_pick(g, 4) ? garble_pick(g, 64) : garble_pick(g, 1152);
  uint8_t about[128];
  int n;

  ztna_agent_addresses(w->agents[0].core, own);
  mine = is_agent ? agent.e->addrs[v6] : own[v6];
  theirs = sim_service_addr(is_agent ? "echo" : "other", v6);
  switch (garble_pick(g, 4)) {
  case 0:
    mine = some_port(g, mine, APP_ECHO_ID);
    theirs = some_port(g, theirs, 0);
    if (is_agent)
      return ip_build_echo(to, room, &mine, &theirs, !garble_pick(g, 8),
                           mine.port, (uint16_t)garble_pick(g, 9), data, len);
    return ip_build_echo(to, room, &theirs, &mine, garble_pick(g, 8), mine.port,
                         (uint16_t)garble_pick(g, 9), data, len);
  case 1:
    mine = some_port(g, mine, APP_PORT);
    theirs = some_port(g, theirs, SIM_PORT);
    n = is_agent
            ? ip_build_udp(about, sizeof(about), &theirs, &mine, 0, data, 9)
            : ip_build_udp(about, sizeof(about), &mine, &theirs, 0, data, 9);
    return ip_build_error(to, room, is_agent ? &mine : &theirs,
                          (enum ip_error)garble_pick(g, 7),
                          garble_pick(g, 65536), about, (size_t)n);
  default:
    mine = some_port(g, mine, APP_PORT);
    theirs = some_port(g, theirs, SIM_PORT);
    return is_agent ? ip_build_udp(to, room, &mine, &theirs, 0, data, len)
                    : ip_build_udp(to, room, &theirs, &mine, 0, data, len);
  }
}

static void dgram_add(struct raw *r, const uint8_t *head, size_t n,
                      const uint8_t *data, size_t len) {
  uint8_t *to = r->dgrams[r->n_dgrams];

  if (r->n_dgrams == DGRAMS || n + len > DGRAM_MOST) return;
  memcpy(to, head, n);
  memcpy(to + n, data, len);
  r->dgram_len[r->n_dgrams++] = n + len;
  quic_wake(r->c);
}

static uint64_t some_context(struct raw *r, struct garble *g) {
  uint64_t usual = r == &agent ? 2 : r->context;

  return garble_pick(g, 8) ? usual : UINT64_C(1) << garble_pick(g, 62) >> 1;
}

/* In IP fragments, in the link's own halves, or whole. */
static void send_packet(struct raw *r, struct garble *g) {
  uint8_t ip[1300], piece[1300], head[32];
  int n = packet(r, g, ip, sizeof(ip));
  struct ip_cut cut = {.pkt = ip, .len = n > 0 ? (size_t)n : 0};
  uint64_t context = some_context(r, g);
  size_t len;

  if (n <= 0) return;
  cut.id = garble_pick(g, 4);
  cut.mtu = 68 + garble_pick(g, 1200);
  if (garble_pick(g, 8) == 7 && (ip[0] >> 4 == 4 || (cut.mtu = 1280))) {
    while ((len = ip_cut_next(&cut, piece)) && r->n_dgrams < DGRAMS) {
      garble_bytes(g, piece, garble_pick(g, 4) ? 0 : len);
      dgram_add(r, head, wr_varint(head, context), piece, len);
    }
    return;
  }
  if (garble_pick(g, 2)) garble_bytes(g, ip, (size_t)n);
  if (garble_pick(g, 4) < 3) {
    dgram_add(r, head, wr_varint(head, context), ip, (size_t)n);
    return;
  }
  cut.id = (uint16_t)garble_pick(g, 3);
  for (int i = 0; i < 2; i++) {
    struct wire_dgram d = {.type = WIRE_FRAGMENT,
                           .frag_context = context,
                           .frag_id = (uint16_t)cut.id,
                           .frag_index = (uint8_t)i,
                           .frag_last = i};
    size_t half = (size_t)n / 2, at = i ? half : 0;

    if (!garble_pick(g, 8)) d.frag_index = (uint8_t)garble_pick(g, 128);
    if (!garble_pick(g, 8)) d.frag_last = garble_pick(g, 2);
    dgram_add(r, head, wire_write_head(head, &d), ip + at,
              i ? (size_t)n - half : half);
  }
}

static void send_bytes(struct raw *r, struct garble *g) {
  size_t len = garble_pick(g, 40), n = 0;
  uint8_t head[16];

  if (garble_pick(g, 2)) n = wr_varint(head, garble_pick(g, 4));
  if (len > g->left) len = g->left;
  dgram_add(r, head, n, g->p, len);
  g->p += len;
  g->left -= len;
}

static void act(struct raw *r, struct garble *g) {
  for (int i = 0; i < ACTIONS && (g->left || !i); i++) {
    unsigned what = garble_pick(g, 256);

    if (what < 100) {
      say_something(r, g);
    } else if (what < 220) {
      send_packet(r, g);
    } else if (what < 254) {
      send_bytes(r, g);
    } else {
      say_bytes(r, g);
      quic_wake(r->c);
      sim_run(w, SETTLE);
      if (r->live) quic_close(r->c, REASON_IDLE, NULL);
      return;
    }
  }
}

/* --- the world --- */

static void world_end(void) {
  if (!w) return;
  evil_free(agent.e);
  evil_free(connector.e);
  connector.slot = NULL;
  sim_free(w);
  w = NULL;
}

static bool is_registered(struct sim *s, void *ud) {
  return connector.e->registered;
}

static void world_begin(void) {
  static const char *const any[] = {"*", NULL};
  static bool once;
  struct sim_config cfg = {.n_agents = 1, .n_connectors = 1, .delay = MS};
  struct app *app;
  const char *at;

  if (!once) atexit(world_end);
  once = true;
  cfg.seed = n_inputs;
  w = sim_new(&cfg);
  checked = false;
  w->agents[0].node.drain = agent_drain;
  agent.e = evil_new(w, ROLE_AGENT, "mallory", NULL, "192.0.2.66:6666", NULL);
  connector.e =
      evil_new(w, ROLE_CONNECTOR, "trudy", any, "192.0.2.67:6667", NULL);
  evil_serve(connector.e, "other");
  evil_drain = connector.e->node.drain;
  connector.e->node.drain = connector_drain;
  agent.c = connector.c = NULL;
  reset(&agent);
  reset(&connector);
  assert(sim_until(w, is_registered, NULL, 5 * SEC));
  sim_run(w, SEC);
  app = &w->agents[0].app;
  app_udp(app, "echo", false, 64);
  sim_run(w, SEC);
  at = strstr(w->log, "grant made grant=");
  assert(at);
  snprintf(other_grant, sizeof(other_grant), "%.32s", at + 17);
  checked = true;
  agent_comes();
  connector_is_used();
}

static void check(void) {
  struct connector *c = w->connectors[0].core;

  assert(inside_contexts_are_granted(c));
  assert(inside_connector_packets(c) <= AT_REST);
  assert(inside_agent_packets(w->agents[0].core) <= AT_REST);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const char *words[] = {"hello",
                                "open",
                                "opened",
                                "refused",
                                "close",
                                "another",
                                "renew",
                                "silent",
                                "type",
                                "echo",
                                "other",
                                "100.64.0.1",
                                "fd5a:64::1",
                                "100.64.0.2",
                                "10.100.0.10",
                                "::1",
                                "0.0.0.0",
                                "not-allowed",
                                "expired",
                                "idle",
                                "revoked",
                                "identity-mismatch",
                                "no-connector",
                                "2",
                                "00112233445566778899aabbccddeeff",
                                "spiffe://example.org/agent/agent-0",
                                other_grant,
                                NULL};
  struct garble g = {data, size, words, sizeof(words) / sizeof(*words)};
  struct raw *r;

  if (n_inputs++ % INPUTS == 0) {
    world_end();
    world_begin();
  }
  words[g.n_words - 1] = evil_text(agent.e->grant, "grant.id");
  r = garble_pick(&g, 2) ? &connector : &agent;
  if (r == &agent)
    agent_comes();
  else
    connector_is_used();
  words[g.n_words - 1] = evil_text(agent.e->grant, "grant.id");
  act(r, &g);
  sim_run(w, SETTLE);
  check();
  return 0;
}
