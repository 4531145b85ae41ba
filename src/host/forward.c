/* forward.c - accepted connections become the agent's sockets. A refusal is
 * told as a local program would see it (RST), or as SOCKS says it, and in the
 * log. */
#include "host/forward.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <ztna/err.h>

#include "base/log.h"
#include "base/reason.h"
#include "host/forward_udp.h"
#include "host/socks5_serve.h"
#include "host/tcp_sock.h"

enum { RULES_MAX = 64 };

/* What is known of a socket of the agent's. */
struct conn {
  bool waits; /* for the answer */
  bool socks;
  struct ztna_addr from;
  char service[64];
  uint16_t port;
};

struct listener {
  struct forward *forward;
  struct forward_rule rule;
};

struct forward_counters {
  uint64_t refused[REASON_N];
};

struct forward {
  struct ztna_agent *agent;
  struct tcp_socks *socks;
  struct socks5_serve *socks5;
  struct forward_udp *udp;
  struct conn *conns; /* ZTNA_AGENT_SOCK_MAX */
  struct listener listeners[RULES_MAX];
  size_t n_listeners;
  uint64_t now;
  struct log_limit refusals;
  struct forward_counters counters;
};

static const struct metric metrics[] = {
    {"ztna_forward_refused_total", "connections of programs refused",
     METRIC_REASONS, offsetof(struct forward_counters, refused)},
    {0},
};

/* --- refusals */

static void log_refusal(struct forward *f, const struct conn *c,
                        enum reason why) {
  char from[ZTNA_ADDR_STRLEN];
  uint32_t hidden = 0;

  f->counters.refused[why]++;
  if (why == REASON_SHUTTING_DOWN ||
      !log_allow(&f->refusals, f->now, 10, 10 * SEC, &hidden))
    return;
  log_warn("forward: connection refused from=%s service=%s port=%u reason=%s: "
           "%s; can be fixed by: %s (hidden=%u)",
           ztna_addr_print(&c->from, from), c->service, c->port,
           reason_name(why), reason_text(why), reason_fix(why), hidden);
}

static enum socks5_reply reply_of(enum reason why) {
  switch (why) {
  case REASON_NOT_ALLOWED:
  case REASON_PORT_NOT_ALLOWED:
  case REASON_REVOKED:
  case REASON_IDENTITY_MISMATCH:
    return SOCKS5_NOT_ALLOWED;
  case REASON_NETWORK_UNREACHABLE:
  case REASON_RELAY_UNREACHABLE:
    return SOCKS5_NET_UNREACHABLE;
  case REASON_BACKEND_REFUSED:
    return SOCKS5_REFUSED;
  case REASON_NO_SUCH_SERVICE:
  case REASON_NO_CONNECTOR:
  case REASON_CONNECTOR_REFUSED:
  case REASON_BACKEND_DOWN:
  case REASON_BACKEND_TIMEOUT:
  case REASON_BACKEND_UNREACHABLE:
    return SOCKS5_HOST_UNREACHABLE;
  default:
    return SOCKS5_FAILED;
  }
}

static void refuse(struct forward *f, int fd, const struct conn *c,
                   enum reason why) {
  struct linger now = {.l_onoff = 1, .l_linger = 0};

  log_refusal(f, c, why);
  if (fd < 0) return;
  if (c->socks) {
    socks5_serve_refuse(f->socks5, f->now, fd, reply_of(why));
    return;
  }
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  close(fd);
}

/* --- what the agent wants with its sockets */

static void connected(struct forward *f, uint32_t sock) {
  static const struct ztna_addr none;
  struct conn *c = &f->conns[sock];
  uint8_t reply[SOCKS5_MESSAGE_MAX];

  if (!c->waits) return;
  c->waits = false;
  if (!c->socks) return;
  tcp_socks_say(f->socks, sock, reply,
                socks5_write_reply(reply, SOCKS5_OK, &none));
}

/* False: nothing is left to do. */
static bool aborted(struct forward *f, uint32_t sock) {
  struct conn *c = &f->conns[sock];
  enum reason why = reason_find(ztna_agent_sock_why(f->agent, sock));

  if (!c->waits) {
    if (why && why != REASON_RESET) log_refusal(f, c, why);
    return true;
  }
  c->waits = false;
  refuse(f, tcp_socks_take(f->socks, sock), c, why);
  return false;
}

static bool next(void *ctx, struct ztna_sock_op *op) {
  struct forward *f = ctx;

  if (socks5_serve_next(f->socks5, op)) return true;
  while (ztna_agent_sock_next(f->agent, op)) {
    if (op->what == ZTNA_SOCK_READ || op->what == ZTNA_SOCK_WRITE)
      connected(f, op->sock);
    if (op->what != ZTNA_SOCK_ABORT || aborted(f, op->sock)) return true;
  }
  return false;
}

/* --- a socket is the agent's, or still a SOCKS server's */

static bool is_agents(uint32_t sock) { return sock < ZTNA_AGENT_SOCK_MAX; }

static void on_failed(void *ctx, uint64_t now, uint32_t sock,
                      enum ztna_sock_error why) {
  struct forward *f = ctx;

  if (!is_agents(sock)) {
    socks5_serve_failed(f->socks5, sock);
    return;
  }
  f->conns[sock].waits = false;
  ztna_agent_sock_failed(f->agent, now, sock, why);
}

static void on_connected(void *ctx, uint64_t now, uint32_t sock) {}

static uint8_t *room(void *ctx, uint32_t sock, size_t *n) {
  struct forward *f = ctx;

  return is_agents(sock) ? ztna_agent_sock_room(f->agent, sock, n)
                         : socks5_serve_room(f->socks5, sock, n);
}

static void on_read(void *ctx, uint64_t now, uint32_t sock, size_t n) {
  struct forward *f = ctx;

  if (is_agents(sock))
    ztna_agent_sock_read(f->agent, now, sock, n);
  else
    socks5_serve_read(f->socks5, now, sock, n);
}

static void on_eof(void *ctx, uint64_t now, uint32_t sock) {
  struct forward *f = ctx;

  if (is_agents(sock))
    ztna_agent_sock_eof(f->agent, now, sock);
  else
    socks5_serve_eof(f->socks5, sock);
}

static int peek(void *ctx, uint32_t sock, struct ztna_sock_vec *v, int n) {
  struct forward *f = ctx;

  return is_agents(sock) ? ztna_agent_sock_peek(f->agent, sock, v, n)
                         : socks5_serve_peek(f->socks5, sock, v, n);
}

static void on_wrote(void *ctx, uint64_t now, uint32_t sock, size_t n) {
  struct forward *f = ctx;

  if (is_agents(sock))
    ztna_agent_sock_wrote(f->agent, now, sock, n);
  else
    socks5_serve_wrote(f->socks5, sock, n);
}

static const struct tcp_sock_core core = {
    next, on_connected, on_failed, room, on_read, on_eof, peek, on_wrote};

/* --- programs come */

static enum reason reason_of(int rc) {
  return rc == ZTNA_ENOENT ? REASON_NO_SUCH_SERVICE : REASON_TOO_MANY_ROUTES;
}

static void open_conn(struct forward *f, uint64_t now, int fd,
                      const struct conn *c) {
  uint32_t sock;
  int rc =
      ztna_agent_sock_open(f->agent, now, c->service, c->port, &c->from, &sock);

  f->now = now;
  if (rc < 0) {
    refuse(f, fd, c, reason_of(rc));
    return;
  }
  f->conns[sock] = *c;
  tcp_socks_adopt(f->socks, now, sock, fd);
}

static void on_forward(void *ctx, uint64_t now, int fd,
                       const struct ztna_addr *peer) {
  const struct listener *l = ctx;
  struct conn c = {.waits = true, .from = *peer, .port = l->rule.port};

  memcpy(c.service, l->rule.service, sizeof(c.service));
  open_conn(l->forward, now, fd, &c);
}

static void on_socks5(void *ctx, uint64_t now, int fd,
                      const struct ztna_addr *peer) {
  socks5_serve_accept(((struct forward *)ctx)->socks5, now, fd, peer);
}

static void on_connect(void *ctx, uint64_t now, int fd,
                       const struct ztna_addr *peer,
                       const struct socks5_message *m) {
  struct conn c = {
      .waits = true, .socks = true, .from = *peer, .port = m->port};
  char text[ZTNA_ADDR_STRLEN];

  strncpy(c.service, socks5_target(m, text), sizeof(c.service) - 1);
  open_conn(ctx, now, fd, &c);
}

static int on_associate(void *ctx, const struct ztna_addr *local,
                        const struct ztna_addr *peer, struct ztna_addr *bound) {
  return forward_udp_associate(((struct forward *)ctx)->udp, local, peer,
                               bound);
}

static void on_dissociate(void *ctx, int number) {
  forward_udp_dissociate(((struct forward *)ctx)->udp, number);
}

static const struct socks5_events socks5_events = {on_connect, on_associate,
                                                   on_dissociate};

/* --- in the loop */

static void on_tcp_ready(void *ctx, uint64_t now) {
  tcp_socks_run(((struct forward *)ctx)->socks, now);
}

static void on_udp_ready(void *ctx, uint64_t now) {
  forward_udp_run(((struct forward *)ctx)->udp, now);
}

void forward_flush(struct forward *f, uint64_t now) {
  f->now = now;
  socks5_serve_run(f->socks5, now);
  tcp_socks_flush(f->socks, now);
  forward_udp_flush(f->udp, now);
}

void forward_tick(struct forward *f, uint64_t now) {
  f->now = now;
  socks5_serve_tick(f->socks5, now);
  forward_udp_tick(f->udp, now);
}

uint64_t forward_deadline(const struct forward *f) {
  return time_min(socks5_serve_deadline(f->socks5),
                  forward_udp_deadline(f->udp));
}

void forward_metrics(const struct forward *f, struct sbuf *out) {
  metrics_print(out, metrics, &f->counters);
  metrics_print(out, tcp_sock_metrics, tcp_socks_counters(f->socks));
  metrics_print(out, forward_udp_metrics, forward_udp_counters(f->udp));
}

/* --- life */

struct forward *forward_new(struct ztna_agent *agent) {
  struct forward *f = calloc(1, sizeof(*f));

  if (!f) return NULL;
  f->agent = agent;
  f->conns = calloc(ZTNA_AGENT_SOCK_MAX, sizeof(*f->conns));
  f->socks = tcp_socks_new(ZTNA_AGENT_SOCK_MAX + SOCKS5_SERVED_MAX, &core, f);
  f->udp = forward_udp_new(agent);
  if (f->socks)
    f->socks5 =
        socks5_serve_new(f->socks, ZTNA_AGENT_SOCK_MAX, &socks5_events, f);
  if (f->conns && f->udp && f->socks5) return f;
  log_err("forward: no memory or descriptors");
  forward_free(f);
  return NULL;
}

void forward_free(struct forward *f) {
  if (!f) return;
  tcp_socks_free(f->socks);
  socks5_serve_free(f->socks5);
  forward_udp_free(f->udp);
  free(f->conns);
  free(f);
}

static int start_failed(const char *flag, const char *text, int rc) {
  const char *what = "cannot be listened at";

  if (rc == ZTNA_EEXIST)
    what = "is in use by another program; want a free port";
  else if (rc == ZTNA_EPERM)
    what = "needs privileges; want a port from 1024 on";
  else if (rc == ZTNA_ENOENT)
    what = "is no address of this machine; want one like 127.0.0.1";
  else if (rc == ZTNA_EFULL)
    what = "is one too many; want 64 at most";
  log_err("forward: %s %s: its address %s", flag, text, what);
  return rc;
}

static void warn_of_strangers(const char *flag, const struct ztna_addr *at) {
  char text[ZTNA_ADDR_STRLEN];

  if (ztna_addr_is_loopback(at)) return;
  log_warn("forward: %s %s: whoever reaches this address uses services in your "
           "name; want 127.0.0.1 unless that is meant",
           flag, ztna_addr_print(at, text));
}

int forward_add(struct forward *f, const struct forward_rule *rule,
                struct ztna_addr *bound) {
  struct listener *l = &f->listeners[f->n_listeners];
  int rc;

  if (f->n_listeners == RULES_MAX) return ZTNA_EFULL;
  *l = (struct listener){f, *rule};
  rc = tcp_socks_listen(f->socks, &rule->at, on_forward, l, bound);
  if (rc == 0) f->n_listeners++;
  return rc;
}

static int start_rule(struct forward *f, const char *text) {
  struct forward_rule r;
  int rc;

  if (forward_rule_parse(&r, text) < 0) return ZTNA_EINVAL; /* was checked */
  rc = r.udp ? forward_udp_bind(f->udp, &r) : forward_add(f, &r, NULL);
  if (rc < 0) return start_failed("--forward", text, rc);
  warn_of_strangers("--forward", &r.at);
  log_info("forward: listening %s", text);
  return 0;
}

static int start_socks5(struct forward *f, const struct ztna_addr *at) {
  char text[ZTNA_ADDR_STRLEN];
  int rc;

  if (!at->family) return 0;
  ztna_addr_print(at, text);
  rc = tcp_socks_listen(f->socks, at, on_socks5, f, NULL);
  if (rc < 0) return start_failed("--socks5", text, rc);
  warn_of_strangers("--socks5", at);
  log_info("forward: socks5 %s", text);
  return 0;
}

int forward_start(struct forward *f, struct host_role *role,
                  const struct agent_config *c) {
  int rc = 0;

  for (size_t i = 0; i < c->n_forward && rc == 0; i++)
    rc = i < RULES_MAX ? start_rule(f, c->forward[i])
                       : start_failed("--forward", c->forward[i], ZTNA_EFULL);
  if (rc == 0) rc = start_socks5(f, &c->socks5);
  if (rc < 0) return rc;
  rc = host_watch(role, tcp_socks_fd(f->socks), on_tcp_ready, f);
  return rc < 0 ? rc
                : host_watch(role, forward_udp_fd(f->udp), on_udp_ready, f);
}
