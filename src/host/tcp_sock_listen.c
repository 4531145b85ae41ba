/* tcp_sock_listen.c - listening sockets. */
#include "host/tcp_sock_int.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <ztna/err.h>

#include "base/log.h"

#define PAUSE (100 * MS)

enum {
  BACKLOG = 1024,   /* the system bounds it by somaxconn */
  ACCEPT_BATCH = 32 /* of one listener per wake-up */
};

static int watch(struct tcp_socks *t, uint32_t i, int how) {
  struct epoll_event ev = {.events = EPOLLIN};
  ev.data.u64 = tcp_sock_tag(t, TAG_LISTENER, i, 0);
  return epoll_ctl(t->epoll_fd, how, t->listeners[i].fd, &ev);
}

/* The connection stays in the queue and would wake us for ever. */
static void pause_listener(struct tcp_socks *t, uint64_t now, uint32_t i) {
  struct tlistener *l = &t->listeners[i];
  if (t->counters.accept_pauses++ == 0)
    log_err("tcp: connections wait, no descriptor is left for them: raise the"
            " limit of open files (ulimit -n, LimitNOFILE=)");
  watch(t, i, EPOLL_CTL_DEL);
  heap_set(&t->pauses, &l->node, now + PAUSE); /* reserved */
}

void tcp_sock_listen_tick(struct tcp_socks *t, uint64_t now) {
  struct heap_node *n;
  while ((n = heap_top(&t->pauses)) && n->at <= now) {
    heap_del(&t->pauses, n);
    watch(t, (uint32_t)((struct tlistener *)n - t->listeners), EPOLL_CTL_ADD);
  }
}

void tcp_sock_accept(struct tcp_socks *t, uint64_t now, uint32_t i) {
  struct tlistener *l = &t->listeners[i];
  for (int k = 0; k < ACCEPT_BATCH; k++) {
    struct sockaddr_storage ss = {0};
    socklen_t len = sizeof(ss);
    struct ztna_addr peer = {0};
    int fd = accept4(l->fd, (struct sockaddr *)&ss, &len,
                     SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
                   errno == ENOMEM)) {
      pause_listener(t, now, i);
      return;
    }
    if (fd < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (fd < 0) continue; /* that one is gone already: accept(2) */
    ztna_addr_from_sockaddr(&peer, &ss);
    l->on_accept(l->ctx, now, fd, &peer);
  }
}

static int listen_failed(int fd, int err) {
  if (fd >= 0) close(fd);
  switch (err) {
  case EADDRINUSE:
    return ZTNA_EEXIST;
  case EACCES:
  case EPERM:
    return ZTNA_EPERM;
  case EADDRNOTAVAIL:
  case EAFNOSUPPORT:
    return ZTNA_ENOENT;
  case EMFILE:
  case ENFILE:
    return ZTNA_EFULL;
  default:
    log_debug("tcp: listen: %s", strerror(err));
    return ZTNA_EIO;
  }
}

static int open_listener(const struct ztna_addr *at, struct ztna_addr *bound) {
  struct sockaddr_storage ss = {0};
  socklen_t len = (socklen_t)ztna_addr_to_sockaddr(at, &ss);
  int on = 1;
  int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return listen_failed(fd, errno);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (at->family == 6)
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
  if (bind(fd, (struct sockaddr *)&ss, len) < 0 || listen(fd, BACKLOG) < 0)
    return listen_failed(fd, errno);
  len = sizeof(ss);
  if (bound && getsockname(fd, (struct sockaddr *)&ss, &len) == 0)
    ztna_addr_from_sockaddr(bound, &ss);
  return fd;
}

int tcp_socks_listen(struct tcp_socks *t, const struct ztna_addr *at,
                     void (*on_accept)(void *ctx, uint64_t now, int fd,
                                       const struct ztna_addr *peer),
                     void *ctx, struct ztna_addr *bound) {
  uint32_t i = t->n_listeners;
  if (i == LISTENERS_MAX) return ZTNA_EFULL;
  if (heap_reserve(&t->pauses, LISTENERS_MAX) < 0) return ZTNA_ENOMEM;
  int fd = open_listener(at, bound);
  if (fd < 0) return fd;
  t->listeners[i] =
      (struct tlistener){.fd = fd, .on_accept = on_accept, .ctx = ctx};
  if (watch(t, i, EPOLL_CTL_ADD) < 0) return listen_failed(fd, errno);
  t->n_listeners++;
  return 0;
}

void tcp_sock_listen_free(struct tcp_socks *t) {
  for (unsigned i = 0; i < t->n_listeners; i++) close(t->listeners[i].fd);
  t->n_listeners = 0;
}
