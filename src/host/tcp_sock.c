/* tcp_sock.c - TCP sockets behind one epoll descriptor: their life and whose
 * turn it is. Connecting is in tcp_sock_dial.c, reading and writing in
 * tcp_sock_io.c, accepting in tcp_sock_listen.c. */
#include "host/tcp_sock_int.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../platform/timer.h"

enum {
  /* The ready list of the kernel turns: few are taken at a time and whoever was
   * served goes to its end. So the bound below starves nobody. */
  RUN_EVENTS = 8,
  RUN_SOCKETS = 256,
  RUN_BYTES = 512 * 1024, /* read in one run: the core wants to send them */
};

#define METRIC(member, metric, kind, text)                  \
  {                                                         \
    .name = "ztna_tcp_" metric, .help = text, .type = kind, \
    .offset = offsetof(struct tcp_sock_counters, member)    \
  }

const struct metric tcp_sock_metrics[] = {
    METRIC(open, "sockets", METRIC_GAUGE, "TCP sockets connected now"),
    METRIC(dialling, "dialling", METRIC_GAUGE, "TCP sockets that connect now"),
    METRIC(connected, "connected_total", METRIC_COUNTER,
           "TCP connections made"),
    METRIC(adopted, "accepted_total", METRIC_COUNTER,
           "TCP connections of programs taken"),
    METRIC(refused, "refused_total", METRIC_COUNTER,
           "TCP connections that were refused"),
    METRIC(unreachable, "unreachable_total", METRIC_COUNTER,
           "TCP connections to where no way leads"),
    METRIC(timeout, "timeout_total", METRIC_COUNTER,
           "TCP connections that were not answered in time"),
    METRIC(reset, "reset_total", METRIC_COUNTER,
           "TCP connections that the other end reset"),
    METRIC(no_room, "no_room_total", METRIC_COUNTER,
           "TCP connections that this machine had no descriptor or memory for"),
    METRIC(rx_bytes, "rx_bytes_total", METRIC_COUNTER,
           "Bytes read from TCP sockets"),
    METRIC(tx_bytes, "tx_bytes_total", METRIC_COUNTER,
           "Bytes written to TCP sockets"),
    METRIC(accept_pauses, "accept_pauses_total", METRIC_COUNTER,
           "Times that no connection could be taken for want of descriptors"),
    {0},
};

const struct tcp_sock_counters *tcp_socks_counters(const struct tcp_socks *t) {
  return &t->counters;
}

/* --- life */

/* What was under way is cut short: its other end must not take that for a good
 * end. */
static void reset_all(struct tcp_socks *t) {
  for (uint32_t i = 0; i < t->max; i++) {
    if (t->v[i].state == TSOCK_OPEN)
      tcp_sock_abort(t, i);
    else
      tcp_sock_end(t, i);
  }
}

static int watch_timer(struct tcp_socks *t) {
  struct epoll_event ev = {.events = EPOLLIN};
  ev.data.u64 = tcp_sock_tag(t, TAG_TIMER, 0, 0);
  return epoll_ctl(t->epoll_fd, EPOLL_CTL_ADD, t->timer_fd, &ev);
}

struct tcp_socks *tcp_socks_new(uint32_t max, const struct tcp_sock_core *core,
                                void *ctx) {
  struct tcp_socks *t = calloc(1, sizeof(*t));
  if (!t) return NULL;
  t->max = max;
  t->core = core;
  t->ctx = ctx;
  t->timer_at = NEVER;
  t->v = calloc(max ? max : 1, sizeof(*t->v));
  t->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  t->timer_fd = timer_open();
  if (!t->v || t->epoll_fd < 0 || t->timer_fd < 0 || watch_timer(t) < 0) {
    tcp_socks_free(t);
    return NULL;
  }
  return t;
}

void tcp_socks_free(struct tcp_socks *t) {
  if (!t) return;
  if (t->v) reset_all(t);
  tcp_sock_listen_free(t);
  if (t->epoll_fd >= 0) close(t->epoll_fd);
  if (t->timer_fd >= 0) close(t->timer_fd);
  heap_done(&t->dials);
  heap_done(&t->pauses);
  free(t->v);
  free(t);
}

int tcp_socks_fd(const struct tcp_socks *t) { return t->epoll_fd; }

uint64_t tcp_sock_tag(const struct tcp_socks *t, enum tag tag, uint32_t number,
                      unsigned attempt) {
  union tag_data d = {.u64 = 0};
  d.number = number;
  d.tag = tag;
  d.attempt = attempt & 15;
  if (tag <= TAG_DIAL) d.life = t->v[number].life & 0xffffff;
  return d.u64;
}

void tcp_sock_end(struct tcp_socks *t, uint32_t i) {
  struct tsock *s = &t->v[i];
  uint32_t life = s->life;
  if (s->state == TSOCK_FREE) return;
  if (s->state == TSOCK_OPEN) {
    t->counters.open--;
    close(s->fd); /* leaves the epoll set by itself */
  } else {
    t->counters.dialling--;
    tcp_sock_dial_end(t, s->dial);
  }
  *s = (struct tsock){.life = life + 1};
}

void tcp_sock_fail(struct tcp_socks *t, uint64_t now, uint32_t i,
                   enum ztna_sock_error why) {
  uint64_t *const counts[] = {
      [ZTNA_SOCK_REFUSED] = &t->counters.refused,
      [ZTNA_SOCK_UNREACHABLE] = &t->counters.unreachable,
      [ZTNA_SOCK_TIMEOUT] = &t->counters.timeout,
      [ZTNA_SOCK_RESET] = &t->counters.reset,
      [ZTNA_SOCK_NO_ROOM] = &t->counters.no_room,
  };
  ++*counts[why];
  tcp_sock_end(t, i);
  t->core->failed(t->ctx, now, i, why);
}

void tcp_socks_adopt(struct tcp_socks *t, uint64_t now, uint32_t sock, int fd) {
  assert(sock < t->max && t->v[sock].state == TSOCK_FREE);
  if (tcp_sock_open(t, sock, fd, false) == 0)
    t->counters.adopted++;
  else
    tcp_sock_fail(t, now, sock, ZTNA_SOCK_NO_ROOM);
}

int tcp_socks_take(struct tcp_socks *t, uint32_t sock) {
  struct tsock *s = sock < t->max ? &t->v[sock] : NULL;
  if (!s || s->state != TSOCK_OPEN) return -1;
  int fd = s->fd;
  if (s->in_epoll) epoll_ctl(t->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
  *s = (struct tsock){.life = s->life + 1};
  t->counters.open--;
  return fd;
}

int tcp_socks_look(const struct tcp_socks *t, uint32_t sock) {
  if (sock >= t->max || t->v[sock].state != TSOCK_OPEN) return -1;
  return t->v[sock].fd;
}

void tcp_socks_say(struct tcp_socks *t, uint32_t sock, const void *data,
                   size_t len) {
  if (sock >= t->max || t->v[sock].state != TSOCK_OPEN) return;
  ssize_t n = send(t->v[sock].fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (n > 0) t->counters.tx_bytes += (uint64_t)n;
}

/* --- what the core wants */

static void do_op(struct tcp_socks *t, uint64_t now,
                  const struct ztna_sock_op *op) {
  assert(op->sock < t->max);
  if (op->what == ZTNA_SOCK_CONNECT) {
    tcp_sock_dial(t, now, op);
    return;
  }
  if (t->v[op->sock].state == TSOCK_DIALLING) {
    if (op->what >= ZTNA_SOCK_CLOSE) tcp_sock_end(t, op->sock);
    return;
  }
  if (t->v[op->sock].state != TSOCK_OPEN) return; /* it has failed meanwhile */
  switch (op->what) {
  case ZTNA_SOCK_READ:
    tcp_sock_read(t, now, op->sock);
    break;
  case ZTNA_SOCK_WRITE:
    tcp_sock_write(t, now, op->sock);
    break;
  case ZTNA_SOCK_SHUT:
    tcp_sock_shut(t, now, op->sock);
    break;
  case ZTNA_SOCK_CLOSE:
    tcp_sock_close(t, now, op->sock);
    break;
  default:
    tcp_sock_abort(t, op->sock);
    break;
  }
}

void tcp_socks_flush(struct tcp_socks *t, uint64_t now) {
  struct ztna_sock_op op;
  while (t->core->next(t->ctx, &op)) do_op(t, now, &op);
  tcp_sock_arm(t);
}

/* --- what is ready */

/* One that is armed for earlier stays: most attempts are over before it fires,
 * and then it costs one wake-up. */
void tcp_sock_arm(struct tcp_socks *t) {
  const struct heap_node *d = heap_top(&t->dials), *p = heap_top(&t->pauses);
  uint64_t at = time_min(d ? d->at : NEVER, p ? p->at : NEVER);
  if (at >= t->timer_at) return;
  t->timer_at = at;
  timer_set(t->timer_fd, at);
}

static void tick(struct tcp_socks *t, uint64_t now) {
  timer_ack(t->timer_fd);
  t->timer_at = NEVER;
  tcp_sock_dial_tick(t, now);
  tcp_sock_listen_tick(t, now);
}

static void serve(struct tcp_socks *t, uint64_t now,
                  const struct epoll_event *ev, size_t *budget) {
  union tag_data d = {.u64 = ev->data.u64};
  switch (d.tag) {
  case TAG_TIMER:
    tick(t, now);
    return;
  case TAG_LISTENER:
    tcp_sock_accept(t, now, d.number);
    return;
  default: /* an earlier one of this run may have ended it */
    if ((t->v[d.number].life & 0xffffff) != d.life) return;
    if (d.tag == TAG_DIAL)
      tcp_sock_dial_ready(t, now, d.number, d.attempt);
    else
      tcp_sock_ready(t, now, d.number, ev->events, budget);
  }
}

int tcp_socks_run(struct tcp_socks *t, uint64_t now) {
  struct epoll_event v[RUN_EVENTS];
  size_t budget = RUN_BYTES;
  int served = 0, n;
  do {
    n = epoll_wait(t->epoll_fd, v, RUN_EVENTS, 0);
    if (n < 0 && errno == EINTR) continue;
    for (int i = 0; i < n; i++) serve(t, now, &v[i], &budget);
    if (n > 0) served += n;
  } while ((n == RUN_EVENTS || (n < 0 && errno == EINTR)) && budget > 0 &&
           served < RUN_SOCKETS);
  tcp_sock_arm(t);
  return served;
}
