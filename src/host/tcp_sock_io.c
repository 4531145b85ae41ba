/* tcp_sock_io.c - bytes between a connected socket and the core's memory.
 *
 * A reset is told in the order a local program would see it: what came before
 * it first. So a socket that cannot be written to any more is read to its end
 * before the core hears _failed; and while the core does not read, whether it
 * is over is looked up (MSG_PEEK), and if there are bytes yet it leaves the
 * epoll set, where its hang-up would be reported for ever. */
#include "host/tcp_sock_int.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include <ztna/err.h>

enum {
  READ_MAX = 128 * 1024, /* of one socket per wake-up: others want their turn */
  VECS = 16,
};

_Static_assert(sizeof(struct ztna_sock_vec) == sizeof(struct iovec) &&
                   offsetof(struct ztna_sock_vec, base) ==
                       offsetof(struct iovec, iov_base) &&
                   offsetof(struct ztna_sock_vec, len) ==
                       offsetof(struct iovec, iov_len),
               "laid out as struct iovec");

/* --- what to be woken for */

static uint32_t wants(const struct tsock *s) {
  return (s->reading && !s->eof ? EPOLLIN : 0U) |
         (s->blocked && !s->broken ? EPOLLOUT : 0U);
}

/* `hung`: it hung up and nothing is to be done about it now. */
static void watch(struct tcp_socks *t, uint32_t i, bool hung) {
  struct tsock *s = &t->v[i];
  struct epoll_event ev = {.events = wants(s)};
  bool in = ev.events || (!hung && s->in_epoll);
  if (in == s->in_epoll && (!in || ev.events == s->events)) return;
  ev.data.u64 = tcp_sock_tag(t, TAG_SOCK, i, 0);
  epoll_ctl(t->epoll_fd,
            !in           ? EPOLL_CTL_DEL
            : s->in_epoll ? EPOLL_CTL_MOD
                          : EPOLL_CTL_ADD,
            s->fd, &ev);
  s->in_epoll = in;
  s->events = ev.events;
}

int tcp_sock_open(struct tcp_socks *t, uint32_t i, int fd, bool in_epoll) {
  struct tsock *s = &t->v[i];
  struct epoll_event ev = {.events = 0}; /* errors and hang-ups come anyway */
  int on = 1;

  s->life++;
  ev.data.u64 = tcp_sock_tag(t, TAG_SOCK, i, 0);
  if (epoll_ctl(t->epoll_fd, in_epoll ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd,
                &ev) < 0) {
    close(fd);
    return ZTNA_ENOMEM;
  }
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  s->fd = fd;
  s->state = TSOCK_OPEN;
  s->in_epoll = true;
  t->counters.open++;
  return 0;
}

/* --- ends */

static enum ztna_sock_error error_of(int err) {
  switch (err) {
  case ETIMEDOUT:
    return ZTNA_SOCK_TIMEOUT;
  case EHOSTUNREACH:
  case ENETUNREACH:
    return ZTNA_SOCK_UNREACHABLE;
  case ENOBUFS:
  case ENOMEM:
    return ZTNA_SOCK_NO_ROOM;
  default:
    return ZTNA_SOCK_RESET;
  }
}

/* recv returned n <= 0. False: there is nothing now. A write may have taken the
 * error away already, then the end looks like a good one. */
static bool read_end(struct tcp_socks *t, uint64_t now, uint32_t i, ssize_t n,
                     int err) {
  struct tsock *s = &t->v[i];
  if (n < 0 && (err == EAGAIN || err == EINTR)) return false;
  if (n < 0 || s->broken) {
    tcp_sock_fail(t, now, i, n < 0 ? error_of(err) : ZTNA_SOCK_RESET);
    return true;
  }
  s->eof = true;
  t->core->eof(t->ctx, now, i);
  return true;
}

static int error_on(int fd) {
  int err = 0;
  socklen_t len = sizeof(err);
  return getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 ? errno : err;
}

/* The core does not read: is there anything but bytes to tell? Behind an end
 * recv goes on saying "end", even after a reset. False: it is over. */
static bool probe(struct tcp_socks *t, uint64_t now, uint32_t i) {
  struct tsock *s = &t->v[i];
  uint8_t byte;
  ssize_t n;
  if (s->eof) {
    if (!error_on(s->fd) && !s->broken) return true;
    tcp_sock_fail(t, now, i, ZTNA_SOCK_RESET);
    return false;
  }
  n = recv(s->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  if (n <= 0) read_end(t, now, i, n, errno);
  return s->state == TSOCK_OPEN;
}

/* --- in */

static void read_some(struct tcp_socks *t, uint64_t now, uint32_t i,
                      size_t *budget) {
  struct tsock *s = &t->v[i];
  size_t left = *budget < READ_MAX ? *budget : READ_MAX, room;
  while (left > 0) {
    uint8_t *to = t->core->room(t->ctx, i, &room);
    if (!to) {
      s->reading = false;
      return;
    }
    if (room > left) room = left;
    ssize_t n = recv(s->fd, to, room, MSG_DONTWAIT);
    if (n <= 0) {
      read_end(t, now, i, n, errno);
      return;
    }
    t->counters.rx_bytes += (uint64_t)n;
    *budget -= (size_t)n;
    left -= (size_t)n;
    t->core->read(t->ctx, now, i, (size_t)n);
    if ((size_t)n < room) return; /* that was all */
  }
}

void tcp_sock_read(struct tcp_socks *t, uint64_t now, uint32_t i) {
  struct tsock *s = &t->v[i];
  s->reading = true;
  watch(t, i, false);
}

/* --- out */

static void broke(struct tcp_socks *t, uint64_t now, uint32_t i) {
  struct tsock *s = &t->v[i];
  s->broken = true;
  s->blocked = false;
  if (!s->reading) probe(t, now, i);
}

/* The core has nothing more now. */
static void written(struct tcp_socks *t, uint64_t now, uint32_t i) {
  struct tsock *s = &t->v[i];
  s->blocked = false;
  if (!s->shut_due || s->shut) return;
  s->shut = true;
  shutdown(s->fd, SHUT_WR);
}

static void write_all(struct tcp_socks *t, uint64_t now, uint32_t i) {
  struct tsock *s = &t->v[i];
  struct ztna_sock_vec v[VECS];
  int n;
  while ((n = t->core->peek(t->ctx, i, v, VECS)) > 0) {
    struct msghdr h = {.msg_iov = (struct iovec *)v, .msg_iovlen = (size_t)n};
    size_t len = 0;
    for (int k = 0; k < n; k++) len += v[k].len;
    ssize_t w = sendmsg(s->fd, &h, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (w < 0 && errno == EINTR) continue;
    if (w < 0 && errno != EAGAIN) {
      broke(t, now, i);
      return;
    }
    if (w > 0) {
      t->counters.tx_bytes += (uint64_t)w;
      t->core->wrote(t->ctx, now, i, (size_t)w);
    }
    s->blocked = w < 0 || (size_t)w < len;
    if (s->blocked) return;
  }
  written(t, now, i);
}

void tcp_sock_write(struct tcp_socks *t, uint64_t now, uint32_t i) {
  struct tsock *s = &t->v[i];
  if (s->blocked || s->broken || s->shut) return;
  write_all(t, now, i);
  if (s->state == TSOCK_OPEN) watch(t, i, false);
}

void tcp_sock_shut(struct tcp_socks *t, uint64_t now, uint32_t i) {
  t->v[i].shut_due = true;
  tcp_sock_write(t, now, i);
}

/* --- ready */

void tcp_sock_ready(struct tcp_socks *t, uint64_t now, uint32_t i,
                    uint32_t events, size_t *budget) {
  struct tsock *s = &t->v[i];
  bool hung = events & (EPOLLERR | EPOLLHUP);
  if (*budget && s->reading && !s->eof && (hung || (events & EPOLLIN)))
    read_some(t, now, i, budget);
  if (s->state == TSOCK_OPEN && s->blocked && (hung || (events & EPOLLOUT)))
    write_all(t, now, i);
  if (s->state == TSOCK_OPEN && hung && !wants(s) && !probe(t, now, i)) return;
  if (s->state == TSOCK_OPEN) watch(t, i, hung);
}

/* --- closing */

void tcp_sock_close(struct tcp_socks *t, uint64_t now, uint32_t i) {
  struct tsock *s = &t->v[i];
  struct ztna_sock_vec v;
  if (!s->blocked && !s->broken && !s->shut) write_all(t, now, i);
  if (s->state != TSOCK_OPEN) return;
  /* What is left will never be sent: that must not look like a good end. */
  if (t->core->peek(t->ctx, i, &v, 1) > 0)
    tcp_sock_abort(t, i);
  else
    tcp_sock_end(t, i);
}

void tcp_sock_abort(struct tcp_socks *t, uint32_t i) {
  struct linger now = {.l_onoff = 1, .l_linger = 0};
  setsockopt(t->v[i].fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  tcp_sock_end(t, i);
}
