/* tcp_app.c - see tcp_app.h. */
#include "sim/tcp_app.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/world.h"

#define CONNECT_AFTER (MS / 2)
#define SLOW_AFTER (300 * MS)

enum { ECHO_ROOM = 64 * 1024 };

static void need(bool ok, const char *what) {
  if (ok) return;
  fprintf(stderr, "sim: %s\n", what);
  abort();
}

/* --- the core behind a skin --- */

static struct ztna_agent *agent_of(const struct tcp_skin *k) {
  return k->w->agents[k->number].core;
}

static struct connector *connector_of(const struct tcp_skin *k) {
  return k->w->connectors[k->number].core;
}

static bool core_next(struct tcp_skin *k, struct ztna_sock_op *op) {
  return k->backends ? connector_sock_next(connector_of(k), op)
                     : ztna_agent_sock_next(agent_of(k), op);
}

static uint8_t *core_room(struct tcp_skin *k, uint32_t sock, size_t *room) {
  return k->backends ? connector_sock_room(connector_of(k), sock, room)
                     : ztna_agent_sock_room(agent_of(k), sock, room);
}

static void core_read(struct tcp_skin *k, uint32_t sock, size_t n) {
  if (k->backends)
    connector_sock_read(connector_of(k), k->w->now, sock, n);
  else
    ztna_agent_sock_read(agent_of(k), k->w->now, sock, n);
}

static void core_eof(struct tcp_skin *k, uint32_t sock) {
  if (k->backends)
    connector_sock_eof(connector_of(k), k->w->now, sock);
  else
    ztna_agent_sock_eof(agent_of(k), k->w->now, sock);
}

static void core_failed(struct tcp_skin *k, uint32_t sock,
                        enum ztna_sock_error why) {
  if (k->backends)
    connector_sock_failed(connector_of(k), k->w->now, sock, why);
  else
    ztna_agent_sock_failed(agent_of(k), k->w->now, sock, why);
}

static int core_peek(struct tcp_skin *k, uint32_t sock, struct ztna_sock_vec *v,
                     int n) {
  return k->backends ? connector_sock_peek(connector_of(k), sock, v, n)
                     : ztna_agent_sock_peek(agent_of(k), sock, v, n);
}

static void core_wrote(struct tcp_skin *k, uint32_t sock, size_t n) {
  if (k->backends)
    connector_sock_wrote(connector_of(k), k->w->now, sock, n);
  else
    ztna_agent_sock_wrote(agent_of(k), k->w->now, sock, n);
}

static struct sim_node *node_of(struct tcp_skin *k) {
  return k->backends ? &k->w->connectors[k->number].node
                     : &k->w->agents[k->number].node;
}

/* --- bytes --- */

static void head_write(const struct tcp_end *e, uint8_t to[TCP_HEAD]) {
  memcpy(to, "T1", 2);
  to[2] = e->agent;
  to[3] = (uint8_t)e->what;
  memcpy(to + 4, &e->id, 4);
  memcpy(to + 8, &e->n, 8);
}

static void head_read(struct tcp_end *e) {
  if (memcmp(e->head, "T1", 2)) e->n_wrong++;
  e->agent = e->head[2];
  e->what = (enum tcp_do)e->head[3];
  memcpy(&e->id, e->head + 4, 4);
  memcpy(&e->n, e->head + 8, 8);
}

/* An echo's bytes are those of who asked. */
static uint8_t byte_at(const struct tcp_end *e, bool by_backend, uint64_t at) {
  uint64_t v = ((uint64_t)e->agent << 32 | e->id) * 31;

  if (by_backend && e->what == TCP_ECHO)
    at += TCP_HEAD;
  else if (by_backend)
    v += 7;
  v += (at / 8 + 1) * UINT64_C(0x9e3779b97f4a7c15);
  return (uint8_t)(v >> (at % 8 * 7));
}

void tcp_end_fill(const struct tcp_end *e, uint8_t *to, size_t n) {
  uint8_t head[TCP_HEAD];

  head_write(e, head);
  for (size_t i = 0; i < n; i++)
    to[i] = !e->backend && e->sent + i < TCP_HEAD
                ? head[e->sent + i]
                : byte_at(e, e->backend, e->sent + i);
}

void tcp_end_judge(struct tcp_end *e, const uint8_t *data, size_t len) {
  for (size_t i = 0; i < len; i++) {
    if (e->backend && e->got + i < TCP_HEAD) {
      e->head[e->got + i] = data[i];
      if (e->got + i == TCP_HEAD - 1) head_read(e);
    } else if (data[i] != byte_at(e, !e->backend, e->got + i)) {
      e->n_wrong++;
    }
  }
  e->got += len;
}

/* --- what a program does next --- */

static struct tcp_app *app_of(struct tcp_end *e) {
  return e->backend ? NULL : (struct tcp_app *)(void *)e; /* its first member */
}

static void say_reset(struct tcp_end *e) {
  e->open = false;
  e->skin->by_sock[e->sock] = NULL;
  core_failed(e->skin, e->sock, ZTNA_SOCK_RESET);
}

static bool give(struct tcp_end *e) {
  struct tcp_skin *k = e->skin;
  bool any = false;
  uint8_t *to;
  size_t room;

  while (e->open && e->may_give && e->sent < e->limit) {
    to = core_room(k, e->sock, &room);
    if (!to) {
      e->may_give = false;
      break;
    }
    if (room > e->limit - e->sent) room = (size_t)(e->limit - e->sent);
    tcp_end_fill(e, to, room);
    e->sent += room;
    core_read(k, e->sock, room);
    any = true;
  }
  if (!e->open || !e->may_give || e->sent < e->limit) return any;
  if (e->backend && e->what == TCP_RESET && e->limit) {
    say_reset(e);
    return true;
  }
  if (e->stays_open || e->fin_said) return any;
  e->fin_said = true;
  core_eof(k, e->sock);
  return true;
}

static void on_trickle(void *ud, uint64_t times);

/* What a backend was told, once the head is there and whenever more came. */
static void backend_thinks(struct tcp_end *e) {
  if (e->got < TCP_HEAD) {
    if (e->got_fin) e->stays_open = false;
    return;
  }
  switch (e->what) {
  case TCP_ECHO:
    e->limit = e->got - TCP_HEAD;
    e->stays_open = !e->got_fin;
    break;
  case TCP_SOURCE:
    e->limit = e->n;
    e->stays_open = false;
    break;
  case TCP_SINK:
    e->stays_open = !e->got_fin;
    break;
  case TCP_ANSWER:
    if (e->got_fin) e->limit = e->n;
    e->stays_open = !e->got_fin;
    break;
  case TCP_RESET:
    e->limit = e->n;
    break;
  case TCP_TRICKLE:
    if (!e->limit)
      vnet_at(e->skin->w->net, e->skin->w->now + SEC, on_trickle, e, e->times);
    if (!e->limit) e->limit = 1;
    e->stays_open = e->limit < e->n;
  }
}

static void on_trickle(void *ud, uint64_t times) {
  struct tcp_end *e = ud;
  struct sim *w = e->skin->w;

  if (w->net->now == NEVER || e->times != times || !e->open) return;
  e->limit++;
  e->stays_open = e->limit < e->n;
  if (e->stays_open) vnet_at(w->net, w->now + SEC, on_trickle, e, times);
  give(e);
  node_of(e->skin)->drain(node_of(e->skin));
}

static void app_thinks(struct tcp_app *a, uint64_t before) {
  struct tcp_end *e = &a->end;
  uint64_t now = e->skin->w->now;

  if (!before && e->got) a->first_at = now;
  if (e->got_fin && !a->fin_at) a->fin_at = now;
  for (; a->every && a->n_echoed < a->n_keys && a->n_echoed < e->got;
       a->n_echoed++)
    if (a->n_echoed < TCP_KEYS)
      a->key_rtt[a->n_echoed] = now - a->key_at[a->n_echoed];
  if (e->got_fin && (e->what == TCP_SOURCE || e->what == TCP_TRICKLE))
    e->stays_open = false;
}

static void think(struct tcp_end *e, uint64_t before) {
  uint64_t now = e->skin->w->now;

  if (e->got != before && e->last_at && now - e->last_at > e->longest_pause)
    e->longest_pause = now - e->last_at;
  if (e->got != before) e->last_at = now;
  if (e->backend)
    backend_thinks(e);
  else
    app_thinks(app_of(e), before);
}

/* An echo that cannot get rid of its bytes reads no more. */
static size_t appetite(const struct tcp_end *e) {
  uint64_t waiting = e->got > TCP_HEAD ? e->got - TCP_HEAD - e->sent : 0;

  if (e->sleeps || (e->backend && e->skin->sleep)) return 0;
  if (!e->backend || e->what != TCP_ECHO || e->got < TCP_HEAD) return SIZE_MAX;
  return waiting < ECHO_ROOM ? ECHO_ROOM - (size_t)waiting : 0;
}

static bool take_some(struct tcp_end *e, size_t most) {
  struct ztna_sock_vec v[8];
  int n = core_peek(e->skin, e->sock, v, 8);
  size_t len = 0;

  for (int i = 0; i < n && len < most; i++) {
    size_t part = v[i].len < most - len ? v[i].len : most - len;

    tcp_end_judge(e, v[i].base, part);
    len += part;
  }
  if (e->backend) e->skin->n_got += len;
  if (len) core_wrote(e->skin, e->sock, len);
  return len;
}

static bool take(struct tcp_end *e) {
  uint64_t before = e->got;
  bool any = false;
  size_t most;

  while (e->open && e->to_take && (most = appetite(e)) > 0) {
    /* A head that is not whole decides how much more is wanted. */
    if (e->backend && e->got < TCP_HEAD) most = TCP_HEAD - (size_t)e->got;
    if (!take_some(e, most)) {
      e->to_take = false;
      break;
    }
    any = true;
    think(e, before);
    before = e->got;
    give(e);
  }
  return any;
}

/* One that echoes can take more when it has given. */
static void pump(struct tcp_end *e) {
  while (take(e) | give(e))
    ;
}

static void pump_and_drain(struct tcp_end *e) {
  struct sim_node *n = node_of(e->skin);

  pump(e);
  n->drain(n);
}

/* --- operations --- */

static struct tcp_end *backend_new(struct tcp_skin *k, uint32_t sock) {
  struct tcp_end *e = &k->ends[sock];

  *e = (struct tcp_end){.skin = k,
                        .sock = sock,
                        .backend = true,
                        .open = true,
                        .stays_open = true,
                        .times = e->times + 1};
  k->by_sock[sock] = e;
  k->n_connects++;
  return e;
}

struct connecting {
  struct tcp_skin *k;
  struct connector *core;
  uint32_t sock, times;
  uint16_t port;
};

static void on_connected(void *ud, uint64_t arg) {
  struct connecting x = *(struct connecting *)ud;
  struct tcp_end *e = x.k->by_sock[x.sock];

  free(ud);
  if (x.k->w->net->now == NEVER || !e || e->times != x.times ||
      connector_of(x.k) != x.core)
    return;
  switch (x.port) {
  case TCP_PORT_REFUSES:
  case TCP_PORT_UNREACHABLE:
  case TCP_PORT_SILENT:
    e->open = false;
    x.k->by_sock[x.sock] = NULL;
    core_failed(x.k, x.sock,
                x.port == TCP_PORT_REFUSES       ? ZTNA_SOCK_REFUSED
                : x.port == TCP_PORT_UNREACHABLE ? ZTNA_SOCK_UNREACHABLE
                                                 : ZTNA_SOCK_TIMEOUT);
    break;
  case TCP_PORT_CLOSES:
    e->stays_open = false;
    /* fall through */
  default:
    connector_sock_connected(x.core, x.k->w->now, x.sock);
  }
  node_of(x.k)->drain(node_of(x.k));
}

static void connect_to(struct tcp_skin *k, const struct ztna_sock_op *op) {
  struct connecting *x = calloc(1, sizeof(*x));
  uint64_t after = CONNECT_AFTER;

  need(x && k->backends && op->sock < TCP_SOCKS, "a socket out of range");
  need(!k->by_sock[op->sock], "a socket number that is in use");
  need(op->n_addrs > 0, "no address to connect to");
  *x = (struct connecting){.k = k,
                           .core = connector_of(k),
                           .sock = op->sock,
                           .port = op->addrs[0].port};
  x->times = backend_new(k, op->sock)->times;
  if (x->port == TCP_PORT_SLOW) after = SLOW_AFTER;
  if (x->port == TCP_PORT_SILENT) after = op->timeout;
  vnet_at(k->w->net, k->w->now + after, on_connected, x, 0);
}

static void note_fin(struct tcp_end *e) {
  if (e->got_fin) return;
  e->got_fin = true;
  if (e->backend) e->skin->n_fins++;
  think(e, e->got);
}

static void close_end(struct tcp_end *e) {
  e->open = false;
  e->skin->by_sock[e->sock] = NULL;
  if (e->backend) e->skin->n_wrong += e->n_wrong;
}

static void abort_end(struct tcp_end *e) {
  struct tcp_app *a = app_of(e);

  e->got_reset = true;
  if (e->backend) e->skin->n_resets++;
  if (a)
    snprintf(a->why, sizeof(a->why), "%s",
             ztna_agent_sock_why(agent_of(e->skin), e->sock));
  if (a && !a->connected) a->refused = true;
  close_end(e);
}

static void note_connected(struct tcp_end *e) {
  struct tcp_app *a = app_of(e);

  if (!a || a->connected) return;
  a->connected = true;
  a->connected_at = e->skin->w->now;
}

static void operate(struct tcp_skin *k, const struct ztna_sock_op *op) {
  struct tcp_end *e;

  need(op->sock < TCP_SOCKS, "a socket out of range");
  if (op->what == ZTNA_SOCK_CONNECT) {
    connect_to(k, op);
    return;
  }
  e = k->by_sock[op->sock];
  if (!e) return; /* it failed meanwhile */
  switch (op->what) {
  case ZTNA_SOCK_READ:
    note_connected(e);
    e->may_give = true;
    break;
  case ZTNA_SOCK_WRITE:
    e->to_take = true;
    break;
  case ZTNA_SOCK_SHUT:
    note_fin(e);
    break;
  case ZTNA_SOCK_CLOSE:
    note_fin(e);
    close_end(e);
    return;
  default:
    abort_end(e);
    return;
  }
  pump(e);
}

bool tcp_skin_drain(struct tcp_skin *k) {
  struct ztna_sock_op op;
  bool any = false;

  while (core_next(k, &op)) {
    operate(k, &op);
    any = true;
  }
  return any;
}

/* --- life --- */

void tcp_skin_init(struct tcp_skin *k, struct sim *w, bool backends,
                   int number) {
  k->w = w;
  k->backends = backends;
  k->number = number;
}

void tcp_skin_killed(struct tcp_skin *k) {
  for (int i = 0; i < TCP_SOCKS; i++)
    if (k->by_sock[i]) close_end(k->by_sock[i]);
}

void tcp_skin_done(struct tcp_skin *k) {
  tcp_skin_killed(k);
  for (int i = 0; i < k->n_apps; i++) free(k->apps[i]);
  k->n_apps = 0;
}

/* --- the person's programs --- */

struct tcp_app *tcp_open(struct sim *w, int agent, const char *service,
                         enum tcp_port port, enum tcp_do what, uint64_t up,
                         uint64_t n) {
  struct tcp_skin *k = &w->agents[agent].tcp;
  struct tcp_app *a = calloc(1, sizeof(*a));
  struct ztna_addr from;
  uint32_t sock;

  need(a && k->n_apps < TCP_APPS, "too many connections");
  ztna_addr_parse(&from, "127.0.0.1:40000");
  if (ztna_agent_sock_open(agent_of(k), w->now, service, (uint16_t)port, &from,
                           &sock) < 0) {
    free(a);
    return NULL;
  }
  need(sock < TCP_SOCKS && !k->by_sock[sock], "a socket number in use");
  a->end =
      (struct tcp_end){.skin = k,
                       .sock = sock,
                       .open = true,
                       .agent = (uint8_t)agent,
                       .id = (uint32_t)k->n_apps,
                       .what = what,
                       .n = n,
                       .limit = TCP_HEAD + up,
                       .stays_open = what == TCP_SOURCE || what == TCP_RESET ||
                                     what == TCP_TRICKLE};
  a->down = what == TCP_ECHO ? up : what == TCP_SINK ? 0 : n;
  a->asked_at = w->now;
  k->by_sock[sock] = &a->end;
  k->apps[k->n_apps++] = a;
  k->n_connects++;
  node_of(k)->drain(node_of(k));
  return a;
}

static void on_key(void *ud, uint64_t arg) {
  struct tcp_app *a = ud;
  struct tcp_end *e = &a->end;
  struct sim *w = e->skin->w;

  if (w->net->now == NEVER || !a->every || !e->open) return;
  if (a->connected && a->n_keys < TCP_KEYS) {
    a->key_at[a->n_keys++] = w->now;
    e->limit++;
    a->down++;
    pump_and_drain(e);
  }
  vnet_at(w->net, w->now + a->every, on_key, a, 0);
}

struct tcp_app *tcp_keys(struct sim *w, int agent, const char *service,
                         uint64_t every) {
  struct tcp_app *a = tcp_open(w, agent, service, TCP_PORT, TCP_ECHO, 0, 0);

  if (!a) return NULL;
  a->end.stays_open = true;
  a->every = every;
  vnet_at(w->net, w->now + every, on_key, a, 0);
  return a;
}

void tcp_keys_end(struct tcp_app *a) {
  a->every = 0;
  tcp_shut(a);
}

void tcp_end_wake(struct tcp_end *e) {
  e->sleeps = false;
  pump_and_drain(e);
}

void tcp_wake(struct tcp_app *a) { tcp_end_wake(&a->end); }

void tcp_shut(struct tcp_app *a) {
  a->end.stays_open = false;
  pump_and_drain(&a->end);
}

void tcp_reset(struct tcp_app *a) {
  struct sim_node *n = node_of(a->end.skin);

  if (!a->end.open) return;
  say_reset(&a->end);
  n->drain(n);
}

/* --- judging --- */

bool tcp_is_complete(const struct tcp_app *a) {
  const struct tcp_end *e = &a->end;

  return a->connected && e->got_fin && !e->got_reset && !e->n_wrong &&
         e->got == a->down && e->sent == e->limit;
}

static bool is_clean(const struct tcp_skin *k) {
  if (k->n_wrong) return false;
  for (int i = 0; i < TCP_SOCKS; i++)
    if (k->by_sock[i] && k->by_sock[i]->n_wrong) return false;
  for (int i = 0; i < k->n_apps; i++)
    if (k->apps[i]->end.n_wrong) return false;
  return true;
}

bool tcp_is_clean(const struct sim *w) {
  for (int i = 0; i < w->cfg.n_agents; i++)
    if (!is_clean(&w->agents[i].tcp)) return false;
  for (int i = 0; i < w->cfg.n_connectors; i++)
    if (!is_clean(&w->connectors[i].tcp)) return false;
  return true;
}

static int by_time(const void *a, const void *b) {
  const uint64_t *x = a, *y = b;

  return *x < *y ? -1 : *x > *y;
}

uint64_t tcp_keys_quantile(struct tcp_app *a, unsigned per_mille) {
  uint64_t v[TCP_KEYS];
  uint32_t n = a->n_echoed < TCP_KEYS ? a->n_echoed : TCP_KEYS;

  if (!n) return NEVER;
  memcpy(v, a->key_rtt, n * sizeof(*v));
  qsort(v, n, sizeof(*v), by_time);
  return v[(uint64_t)n * per_mille / 1000 < n ? n * per_mille / 1000 : n - 1];
}
