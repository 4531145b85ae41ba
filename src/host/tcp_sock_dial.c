/* tcp_sock_dial.c - connecting to the first of several addresses that answers
 * (RFC 8305): the next attempt begins after 250 ms, or at once when one failed;
 * the first that is connected wins and the others are closed. */
#include "host/tcp_sock_int.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <ztna/err.h>

#define NEXT_AFTER (250 * MS) /* RFC 8305, 5 */

/* --- addresses and errors */

/* In the order given, but the families take turns (RFC 8305, 4). */
static void interleave(struct dial *d, const struct ztna_addr *v, unsigned n) {
  bool taken[ZTNA_SOCK_ADDRS] = {false};
  unsigned family = n ? v[0].family : 0;
  while (d->n < n) {
    unsigned k = 0;
    while (k < n && (taken[k] || v[k].family != family)) k++;
    if (k == n) /* that family has no more */
      for (k = 0; taken[k];) k++;
    taken[k] = true;
    d->addrs[d->n++] = v[k];
    family = v[k].family == 4 ? 6 : 4;
  }
}

static enum ztna_sock_error error_of(int err) {
  switch (err) {
  case ECONNREFUSED:
  case ECONNRESET:
    return ZTNA_SOCK_REFUSED;
  case ETIMEDOUT:
    return ZTNA_SOCK_TIMEOUT;
  case EMFILE:
  case ENFILE:
  case ENOBUFS:
  case ENOMEM:
  case ENOSPC: /* of epoll watches */
  case EAGAIN: /* no local port left */
  case EADDRNOTAVAIL:
    return ZTNA_SOCK_NO_ROOM;
  default: /* no route, no such family here, prohibited */
    return ZTNA_SOCK_UNREACHABLE;
  }
}

/* The one that says most about the service. */
static void note(struct dial *d, enum ztna_sock_error why) {
  static const uint8_t rank[] = {
      [ZTNA_SOCK_REFUSED] = 4,
      [ZTNA_SOCK_TIMEOUT] = 3,
      [ZTNA_SOCK_NO_ROOM] = 2,
      [ZTNA_SOCK_UNREACHABLE] = 1,
  };
  if (rank[why] > rank[d->why]) d->why = why;
}

/* --- attempts */

static void drop_attempt(struct tcp_socks *t, struct dial *d, unsigned k) {
  if (d->fds[k] < 0) return;
  close(d->fds[k]);
  d->fds[k] = -1;
  d->n_open--;
  t->n_attempts--;
}

void tcp_sock_dial_end(struct tcp_socks *t, struct dial *d) {
  for (unsigned k = 0; k < d->n; k++) drop_attempt(t, d, k);
  heap_del(&t->dials, &d->node);
  free(d);
}

/* 0 or an errno. */
static int attempt(struct tcp_socks *t, struct dial *d, unsigned k) {
  const struct ztna_addr *to = &d->addrs[k];
  struct sockaddr_storage ss = {0};
  socklen_t len = (socklen_t)ztna_addr_to_sockaddr(to, &ss);
  struct epoll_event ev = {.events = EPOLLOUT};
  int fd = socket(to->family == 4 ? AF_INET : AF_INET6,
                  SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  ev.data.u64 = tcp_sock_tag(t, TAG_DIAL, d->sock, k);
  if ((connect(fd, (struct sockaddr *)&ss, len) < 0 && errno != EINPROGRESS) ||
      epoll_ctl(t->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
    int err = errno;
    close(fd);
    return err;
  }
  d->fds[k] = fd;
  d->n_open++;
  t->n_attempts++;
  return 0;
}

/* There are too many attempts besides each socket's first. */
static bool must_wait(const struct tcp_socks *t, const struct dial *d) {
  return d->n_open && t->n_attempts - t->counters.dialling >= EXTRA_MAX;
}

/* Begins attempts until one is under way. */
static void go_on(struct tcp_socks *t, uint64_t now, struct dial *d) {
  while (d->next < d->n && !must_wait(t, d)) {
    int err = attempt(t, d, d->next++);
    if (!err) break;
    note(d, error_of(err));
  }
  if (!d->n_open) {
    tcp_sock_fail(t, now, d->sock, d->why); /* frees d */
    return;
  }
  d->next_at = d->next < d->n ? now + NEXT_AFTER : NEVER;
  heap_set(&t->dials, &d->node, time_min(d->next_at, d->end_at));
}

/* --- a socket's life until it is connected */

void tcp_sock_dial(struct tcp_socks *t, uint64_t now,
                   const struct ztna_sock_op *op) {
  struct tsock *s = &t->v[op->sock];
  struct dial *d = calloc(1, sizeof(*d));
  unsigned n = op->n_addrs < ZTNA_SOCK_ADDRS ? op->n_addrs : ZTNA_SOCK_ADDRS;

  assert(s->state == TSOCK_FREE);
  if (!d || heap_reserve(&t->dials, (t->dials.n | 63) + 1) < 0) {
    free(d);
    tcp_sock_fail(t, now, op->sock, ZTNA_SOCK_NO_ROOM);
    return;
  }
  memset(d->fds, -1, sizeof(d->fds));
  d->sock = op->sock;
  d->end_at = now + op->timeout;
  d->why = ZTNA_SOCK_UNREACHABLE;
  interleave(d, op->addrs, n);
  s->state = TSOCK_DIALLING;
  s->life++;
  s->dial = d;
  t->counters.dialling++;
  go_on(t, now, d);
}

static void won(struct tcp_socks *t, uint64_t now, uint32_t i, unsigned k) {
  struct tsock *s = &t->v[i];
  struct dial *d = s->dial;
  int fd = d->fds[k];

  d->fds[k] = -1;
  d->n_open--;
  t->n_attempts--;
  t->counters.dialling--;
  tcp_sock_dial_end(t, d);
  *s = (struct tsock){.life = s->life};
  if (tcp_sock_open(t, i, fd, true) < 0) {
    tcp_sock_fail(t, now, i, ZTNA_SOCK_NO_ROOM);
    return;
  }
  t->counters.connected++;
  t->core->connected(t->ctx, now, i);
}

void tcp_sock_dial_ready(struct tcp_socks *t, uint64_t now, uint32_t i,
                         unsigned k) {
  struct dial *d = t->v[i].dial;
  int err = 0;
  socklen_t len = sizeof(err);

  if (d->fds[k] < 0) return;
  if (getsockopt(d->fds[k], SOL_SOCKET, SO_ERROR, &err, &len) < 0) err = errno;
  if (!err) {
    won(t, now, i, k);
    return;
  }
  note(d, error_of(err));
  drop_attempt(t, d, k);
  go_on(t, now, d);
}

/* heap.h: the node is the first member. */
static struct dial *dial_of(struct heap_node *n) { return (struct dial *)n; }

void tcp_sock_dial_tick(struct tcp_socks *t, uint64_t now) {
  struct heap_node *n;
  while ((n = heap_top(&t->dials)) && n->at <= now) {
    struct dial *d = dial_of(n);
    if (now < d->end_at) {
      go_on(t, now, d);
      continue;
    }
    note(d, ZTNA_SOCK_TIMEOUT);
    tcp_sock_fail(t, now, d->sock, d->why);
  }
}
