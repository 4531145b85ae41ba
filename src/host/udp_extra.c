/* udp_extra.c - extra sockets: each is a port of its own, so a hole of its own
 * in a NAT. A search opens hundreds of them for one packet each, and the one
 * that was heard becomes a path: it gets the buffers of a main socket when it
 * is used like one. All of them hang in one epoll descriptor. */
#include "host/udp_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/log.h"

enum {
  NO_SLOT = -1,
  /* More than the probes of a search send from one socket. */
  LARGE_AFTER = 64,
  LARGE_MAX =
      64, /* with such buffers at once: the kernel's memory is bounded */
};

struct extras {
  int in_fd;   /* epoll: sockets that have something */
  int room_fd; /* epoll: at most the one that was full */
  int n, n_large;
  struct sock *full;
  bool warned; /* that no more can be had; until one could */
  int16_t slots[DGRAM_SOCKS_MAX][2]; /* of a number: v4, v6 */
  struct sock v[UDP_MAX_EXTRA];      /* fd -1: free */
};

/* --- the set */

static struct extras *extras_new(void) {
  struct extras *x = calloc(1, sizeof(*x));
  if (!x) return NULL;
  for (int i = 0; i < UDP_MAX_EXTRA; i++) x->v[i].fd = -1;
  for (int i = 0; i < DGRAM_SOCKS_MAX; i++)
    x->slots[i][0] = x->slots[i][1] = NO_SLOT;
  x->in_fd = epoll_create1(EPOLL_CLOEXEC);
  x->room_fd = epoll_create1(EPOLL_CLOEXEC);
  if (x->in_fd >= 0 && x->room_fd >= 0) return x;
  int err = errno;
  if (x->in_fd >= 0) close(x->in_fd);
  free(x);
  errno = err;
  return NULL;
}

void udp_extra_free(struct udp *u) {
  struct extras *x = u->extras;
  if (!x) return;
  for (int i = 0; i < UDP_MAX_EXTRA; i++)
    if (x->v[i].fd >= 0) close(x->v[i].fd);
  close(x->in_fd);
  close(x->room_fd);
  free(x);
  u->extras = NULL;
}

int udp_extra_fd(const struct udp *u) {
  return u->extras ? u->extras->in_fd : -1;
}
int udp_room_fd(const struct udp *u) {
  return u->extras ? u->extras->room_fd : -1;
}

/* NULL: there is no such number. */
static int16_t *slot_of(struct extras *x, const struct dgram *d) {
  if (d->sock == 0 || d->sock >= DGRAM_SOCKS_MAX) return NULL;
  if (d->remote.family != 4 && d->remote.family != 6) return NULL;
  return &x->slots[d->sock][d->remote.family == 6];
}

struct sock *udp_extra_find(const struct udp *u, const struct dgram *d) {
  const int16_t *slot = u->extras ? slot_of(u->extras, d) : NULL;
  return slot && *slot != NO_SLOT ? &u->extras->v[*slot] : NULL;
}

/* --- one of them */

/* 0 or errno. */
static int extra_make(struct extras *x, struct sock *s, uint16_t number,
                      uint16_t family) {
  struct ztna_addr any = {.family = family};
  struct epoll_event ev = {.events = EPOLLIN};
  int small = RX_EXTRA_BUFFER;
  int err = udp_sock_open(s, &any);
  if (err != 0) {
    s->fd = -1;
    return err;
  }
  s->number = number;
  setsockopt(s->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
  ev.data.u32 = (uint32_t)(s - x->v);
  if (epoll_ctl(x->in_fd, EPOLL_CTL_ADD, s->fd, &ev) == 0) return 0;
  err = errno;
  close(s->fd);
  s->fd = -1;
  return err;
}

static struct sock *refuse(struct udp *u, const struct dgram *d, int err) {
  if (d->seg) u->counters.extra_refused += (d->len + d->seg - 1u) / d->seg;
  if (u->extras && u->extras->warned) return NULL;
  if (u->extras) u->extras->warned = true;
  log_warn("udp: no further socket for a search of ports, open=%d: %s",
           u->extras ? u->extras->n : 0, strerror(err));
  return NULL;
}

static struct sock *free_slot(struct extras *x) {
  for (int i = 0; x->n < UDP_MAX_EXTRA && i < UDP_MAX_EXTRA; i++)
    if (x->v[i].fd < 0) return &x->v[i];
  return NULL;
}

struct sock *udp_extra_open(struct udp *u, const struct dgram *d) {
  if (!u->extras && !(u->extras = extras_new())) return refuse(u, d, errno);
  struct extras *x = u->extras;
  int16_t *slot = slot_of(x, d);
  if (!slot) return refuse(u, d, EINVAL);
  if (*slot != NO_SLOT) return &x->v[*slot];
  struct sock *s = free_slot(x);
  int err = s ? extra_make(x, s, d->sock, d->remote.family) : EMFILE;
  if (err != 0) return refuse(u, d, err);
  *slot = (int16_t)(s - x->v);
  x->n++;
  x->warned = false;
  u->counters.extra_opened++;
  return s;
}

void udp_extra_close(struct udp *u, const struct dgram *d) {
  struct sock *s = udp_extra_find(u, d);
  if (!s) return;
  struct extras *x = u->extras;
  if (x->full == s) udp_extra_unblock(u);
  if (s->large) x->n_large--;
  close(s->fd); /* leaves the epoll set by itself */
  s->fd = -1;
  *slot_of(x, d) = NO_SLOT;
  x->n--;
  u->counters.extra_closed++;
}

void udp_extra_sent(struct udp *u, struct sock *s, int n) {
  s->n_sent += (uint32_t)n;
  if (s->large || s->n_sent < LARGE_AFTER) return;
  if (u->extras->n_large == LARGE_MAX) return;
  s->large = true;
  u->extras->n_large++;
  udp_sock_enlarge(s);
}

/* --- which of them */

bool udp_extra_block(struct udp *u, struct sock *s) {
  struct extras *x = u->extras;
  struct epoll_event ev = {.events = EPOLLOUT};
  udp_extra_unblock(u);
  if (epoll_ctl(x->room_fd, EPOLL_CTL_ADD, s->fd, &ev) < 0) return false;
  x->full = s;
  return true;
}

void udp_extra_unblock(struct udp *u) {
  struct extras *x = u->extras;
  if (x->full) epoll_ctl(x->room_fd, EPOLL_CTL_DEL, x->full->fd, NULL);
  x->full = NULL;
}

/* The kernel's list of those that are ready turns: who was served goes to its
 * end. */
struct sock *udp_extra_ready(struct udp *u) {
  struct epoll_event ev;
  int n;
  if (!u->extras) return NULL;
  do {
    n = epoll_wait(u->extras->in_fd, &ev, 1, 0);
  } while (n < 0 && errno == EINTR);
  return n > 0 ? &u->extras->v[ev.data.u32] : NULL;
}
