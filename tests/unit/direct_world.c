/* direct_world.c - see direct_world.h. */
#include "direct_world.h"

#include "base/log.h"
#include "sim/net_sock.h"

#define DELAY (DW_RTT / 2)

static struct dw *logged; /* the sink has no other way to it */

static void to_log(void *ud, enum log_level level, const char *line) {
  size_t n = strlen(logged->log);

  snprintf(logged->log + n, sizeof(logged->log) - n, "%s\n", line);
}

uint64_t dw_now(const struct dw *w) { return w->net->now; }

static struct dw_end *other(struct dw_end *e) {
  return &e->w->ends[e == &e->w->ends[0]];
}

/* --- STUN servers, two ports each --- */

static struct ztna_addr server_addr(const struct dw *w, int i, uint16_t sock,
                                    int family) {
  struct ztna_addr a = w->servers[i]->outer[family == 6];

  a.port = vnet_sock_port(w->servers[i], sock, family);
  return a;
}

static void serve(struct dw *w, int i, const struct dgram *d) {
  struct stun_msg m, r = {.class = STUN_SUCCESS, .method = STUN_BINDING};
  uint8_t room[STUN_MAX];
  struct dgram out = *d;

  if (d->sock && ztna_addr_same_ip(&d->remote, &w->deaf_to)) return;
  if (w->silent || stun_read(&m, d->data, d->len) < 0) return;
  memcpy(r.txid, m.txid, sizeof(r.txid));
  r.mapped = d->remote;
  r.other = server_addr(w, i, !d->sock, d->remote.family);
  out.data = room;
  out.len = (uint32_t)stun_write(room, &r, NULL, 0, NULL);
  out.seg = (uint16_t)out.len;
  vnet_send(w->servers[i], &out);
}

static void to_first(void *ud, const struct dgram *d) { serve(ud, 0, d); }
static void to_second(void *ud, const struct dgram *d) { serve(ud, 1, d); }

/* --- the handshake: a packet there, and one back --- */

static void send_hello(struct dw_end *e, const struct ztna_addr *to,
                       uint16_t sock) {
  static const uint8_t hello[32] = {0x40};
  struct dgram d = {.remote = *to, .data = hello, .sock = sock};

  d.len = d.seg = sizeof(hello);
  if (!e->w->no_way) vnet_send(e->host, &d);
}

static void on_hello(struct dw_end *e, const struct dgram *d) {
  if (e == &e->w->ends[DW_CONNECTOR]) send_hello(e, &d->remote, d->sock);
  e->sock = d->sock;
  direct_joined(e->d, d->sock, dw_now(e->w));
  if (!e->joined) e->joined_at = dw_now(e->w);
  e->joined = true;
}

static void on_dgram(void *ud, const struct dgram *d) {
  struct dw_end *e = ud;

  if (!direct_udp_in(&e->c, dw_now(e->w), d)) on_hello(e, d);
}

/* --- what direct.c asks for --- */

struct letter {
  struct dw_end *to;
  char text[];
};

static void deliver(void *ud, uint64_t arg) {
  struct letter *l = ud;

  if (l->to->d) assert_int_equal(dw_hear(l->to, l->text), 0);
  free(l);
}

static bool say(void *ud, json_t *m) {
  struct dw_end *e = ud;
  char *text = json_dumps(m, JSON_COMPACT);
  struct letter *l = malloc(sizeof(*l) + strlen(text) + 1);

  json_decref(m);
  if (!e->mute) {
    e->n_said++;
    e->said_at = dw_now(e->w);
    assert_true(strlen(text) < sizeof(e->said));
    strcpy(e->said, text);
  }
  l->to = other(e);
  strcpy(l->text, text);
  free(text);
  if (e->mute || e->w->cut)
    free(l);
  else
    vnet_at(e->w->net, dw_now(e->w) + DELAY, deliver, l, 0);
  return !e->mute;
}

static uint64_t rtt(void *ud) { return DW_RTT; }
static const char *name(void *ud) { return "peer"; }

static void listen_on(void *ud, uint8_t handles[DIRECT_FAMILIES][HANDLE_LEN],
                      uint8_t peer[DIRECT_FAMILIES][HANDLE_LEN]) {
  struct dw_end *e = ud;

  e->n_listened++;
  memcpy(e->handles, handles, sizeof(e->handles));
  memcpy(e->peer, peer, sizeof(e->peer));
}

static void found(void *ud, int family, const struct ztna_addr *remote,
                  uint16_t sock, uint64_t rtt, const uint8_t handle[HANDLE_LEN],
                  const uint8_t peer[HANDLE_LEN]) {
  struct dw_end *e = ud;

  if (e->found_sock[family] && e->found_sock[family] != sock)
    direct_release(&e->c, e->found_sock[family], remote->family);
  e->n_found++;
  e->found[family] = *remote;
  e->found_sock[family] = sock;
  e->found_at[family] = dw_now(e->w);
  memcpy(e->handles[family], handle, HANDLE_LEN);
  memcpy(e->peer[family], peer, HANDLE_LEN);
  send_hello(e, remote, sock);
}

static bool is_observed(void *ud, const struct ztna_addr *a) {
  const struct dw_end *e = ud;

  return !e->observed.family || ztna_addr_same_ip(a, &e->observed);
}

static const struct direct_ops ops = {.say = say,
                                      .rtt = rtt,
                                      .listen = listen_on,
                                      .found = found,
                                      .name = name,
                                      .is_observed = is_observed};

static bool is_forbidden(void *ud, const struct ztna_addr *a) {
  const struct dw_end *e = ud;

  return ztna_addr_same_ip(a, &e->forbidden);
}

/* --- life --- */

static void add_local(struct dw_end *e, const char *addr, const char *net) {
  struct ztna_local *l = &e->outside.locals[e->outside.n_locals++];

  l->addr = test_addr(addr);
  assert_int_equal(ztna_prefix_parse(&l->network, net), 0);
}

static bool takes(const char **text, const char *word) {
  bool is_there = !strncmp(*text, word, strlen(word));

  if (is_there) *text += strlen(word);
  return is_there;
}

/* Behind a box an address of a private network; both ends' have the same. */
static void end_init(struct dw *w, int i, const char *where) {
  static const char *const in[2] = {"192.168.1.10:4000", "192.168.1.20:4000"};
  static const char *const out[2] = {"198.51.100.1:4000", "198.51.100.65:4000"};
  static const char *const nets[2] = {"198.51.100.0/26", "198.51.100.64/26"};
  static const char *const out6[2] = {"[2001:db8:1::1]:4000",
                                      "[2001:db8:2::1]:4000"};
  static const char *const nets6[2] = {"2001:db8:1::/64", "2001:db8:2::/64"};
  bool off = takes(&where, "off "), dual = takes(&where, "dual ");
  const struct nat_class *k = nat_class_find(where);
  bool translated = k->boxed && k->box.mapping != NAT_NONE;
  const char *addr = translated ? in[i] : out[i];
  struct dw_end *e = &w->ends[i];
  char outer[ZTNA_ADDR_STRLEN];
  struct ztna_addr o = test_addr(out[i]);

  e->w = w;
  e->host = vnet_add(w->net, addr, dual ? out6[i] : NULL, MS);
  e->box = nat_class_put(k, e->host, ztna_addr_print_ip(&o, outer), 5 * MS);
  e->host->on_dgram = on_dgram;
  e->host->ud = e;
  add_local(e, addr, translated ? "192.168.1.0/24" : nets[i]);
  if (dual) add_local(e, out6[i], nets6[i]);
  assert_int_equal(
      direct_common_init(&e->c, &w->net->rnd.rng, &e->outside, !off), 0);
  e->c.is_forbidden = is_forbidden;
  e->c.ud = e;
  e->c.now = w->net->now;
  for (size_t k = 0; k < N_OF(w->servers); k++) {
    struct ztna_addr a = server_addr(w, (int)k, 0, 4);
    direct_relay(&e->c, k, &a);
  }
  e->d = dw_link(e);
}

struct direct *dw_link(struct dw_end *e) {
  struct direct *d = direct_new(&e->c, e == &e->w->ends[DW_AGENT], &ops, e);

  assert_non_null(d);
  return d;
}

struct dw *dw_new(const char *agent, const char *connector, uint64_t seed) {
  struct dw *w = calloc(1, sizeof(*w));

  assert_non_null(w);
  logged = w;
  log_to(to_log, NULL);
  log_set_level(LOG_LEVEL_INFO);
  w->net = vnet_new(seed, SEC);
  for (int i = 0; i < 2; i++) {
    w->servers[i] = vnet_add(
        w->net, i ? "203.0.113.2:3478" : "203.0.113.1:3478", NULL, 2 * MS);
    w->servers[i]->on_dgram = i ? to_second : to_first;
    w->servers[i]->ud = w;
    net_sock_use(w->servers[i], 1, 4);
  }
  end_init(w, 0, agent);
  end_init(w, 1, connector);
  w->ends[DW_AGENT].wants = true;
  return w;
}

static void drain(struct dw_end *e) {
  struct dgram v[4];
  int n;

  while ((n = direct_next(&e->c, dw_now(e->w), v, N_OF(v))) > 0)
    for (int i = 0; i < n; i++) {
      assert_true(v[i].seg > 0 && v[i].len <= v[i].seg);
      if (v[i].len) {
        assert_true(e->n_sent < DW_SENT_MAX);
        e->sent_at[e->n_sent] = dw_now(e->w);
        e->sent[e->n_sent++] = v[i].remote;
        if (!e->checked_at && v[i].remote.port != 3478 &&
            v[i].remote.ip[0] != 203)
          e->checked_at = dw_now(e->w);
      }
      vnet_send(e->host, &v[i]);
    }
}

/* All sockets are given back. */
static void end_done(struct dw_end *e) {
  direct_release(&e->c, e->sock, 4);
  for (int i = 0; i < DIRECT_FAMILIES; i++)
    if (e->found_sock[i] != e->sock) direct_release(&e->c, e->found_sock[i], 4);
  direct_free(e->d);
  e->d = NULL;
  drain(e);
  assert_null(e->c.first);
  for (int i = 0; i < DGRAM_SOCKS_MAX; i++)
    if (e->c.socks.used[i]) assert_int_equal(vnet_sock_port(e->host, i, 4), 0);
  direct_common_done(&e->c);
}

void dw_free(struct dw *w) {
  end_done(&w->ends[0]);
  end_done(&w->ends[1]);
  while (vnet_deadline(w->net) != NEVER) { /* letters on their way */
    w->net->now = vnet_deadline(w->net);
    w->ends[0].host->on_dgram = w->ends[1].host->on_dgram = NULL;
    vnet_step(w->net);
  }
  vnet_free(w->net);
  log_to(NULL, NULL);
  free(w);
}

/* --- time --- */

static void end_step(struct dw_end *e) {
  uint64_t now = dw_now(e->w);

  if (e->wants && !e->joined) direct_want(e->d, now);
  if (now >= direct_deadline(&e->c)) direct_tick(&e->c, now);
  drain(e);
}

/* True: something happened now. */
static bool step(struct dw *w) {
  bool any = vnet_step(w->net);

  end_step(&w->ends[0]);
  end_step(&w->ends[1]);
  return any;
}

static uint64_t deadline(const struct dw *w) {
  uint64_t at =
      time_min(direct_deadline(&w->ends[0].c), direct_deadline(&w->ends[1].c));

  return time_min(at, vnet_deadline(w->net));
}

static bool run(struct dw *w, uint64_t for_ns, bool until_met) {
  uint64_t end = dw_now(w) + for_ns, last = 0;
  int n = 0;

  for (;;) {
    uint64_t at;

    while (step(w)) continue;
    if (until_met && w->ends[0].joined && w->ends[1].joined) return true;
    at = deadline(w);
    if (at > end) break;
    if (at > dw_now(w)) w->net->now = at;
    if (dw_now(w) != last) n = 0;
    last = dw_now(w);
    if (++n > 100) fail_msg("time stands still");
  }
  w->net->now = end;
  return false;
}

void dw_run(struct dw *w, uint64_t for_ns) { run(w, for_ns, false); }
bool dw_meets(struct dw *w, uint64_t for_ns) { return run(w, for_ns, true); }

void dw_lose(struct dw *w) {
  for (int i = 0; i < 2; i++) {
    struct dw_end *e = &w->ends[i];

    direct_release(&e->c, e->sock, 4);
    e->joined = false;
    e->sock = 0;
    direct_lost(e->d, dw_now(w));
  }
}
