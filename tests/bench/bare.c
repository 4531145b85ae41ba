/* bare.c - see bare.h. Linux alone has recvmmsg, GRO and GSO; elsewhere this
 * file is empty, so that the other tests still link. */
#ifdef __linux__
#include "bench/bare.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

volatile sig_atomic_t bare_stop;

static void on_signal(int sig) { bare_stop = 1; }

void bare_die(const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  vfprintf(stderr, fmt, ap);
  va_end(ap);
  fputc('\n', stderr);
  exit(1);
}

void bare_start(double seconds) {
  struct sigaction sa = {.sa_handler = on_signal};
  sigaction(SIGTERM, &sa, NULL);
  sigaction(SIGINT, &sa, NULL);
  sigaction(SIGALRM, &sa, NULL);
  if (seconds <= 0 || seconds > 3600) bare_die("--seconds: 0 to 3600");
  struct itimerval t = {.it_value = {.tv_sec = (time_t)seconds}};
  t.it_value.tv_usec =
      (suseconds_t)((seconds - (double)t.it_value.tv_sec) * 1e6);
  t.it_interval.tv_usec = 100000; /* should the first come too early */
  setitimer(ITIMER_REAL, &t, NULL);
}

int bare_socket(const struct ztna_addr *at, bool gro) {
  struct sockaddr_storage ss;
  size_t len = ztna_addr_to_sockaddr(at, &ss);
  int fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  int on = 1, room = 8 << 20;
  if (fd < 0) bare_die("socket: %s", strerror(errno));
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)) < 0)
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
  if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) < 0)
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
  struct timeval wait = {.tv_usec = 100000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
  if (gro && setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof(on)) < 0)
    bare_die("UDP_GRO: %s", strerror(errno));
  if (bind(fd, (struct sockaddr *)&ss, (socklen_t)len) < 0)
    bare_die("bind: %s", strerror(errno));
  return fd;
}

struct bare_batch *bare_batch_new(int max, size_t room) {
  struct bare_batch *b = calloc(1, sizeof(*b));
  if (!b || !(b->bytes = malloc((size_t)max * room))) bare_die("no memory");
  b->max = max;
  b->room = room;
  return b;
}

int bare_recv(int fd, struct bare_batch *b) {
  for (int i = 0; i < b->max; i++) {
    b->iov[i] = (struct iovec){b->bytes + (size_t)i * b->room, b->room};
    b->v[i].msg_hdr = (struct msghdr){.msg_name = &b->from[i],
                                      .msg_namelen = sizeof(b->from[i]),
                                      .msg_iov = &b->iov[i],
                                      .msg_iovlen = 1,
                                      .msg_control = b->control[i],
                                      .msg_controllen = sizeof(b->control[i])};
  }
  b->n = recvmmsg(fd, b->v, (unsigned)b->max, MSG_WAITFORONE, NULL);
  if (b->n >= 0) return b->n;
  if (errno != EAGAIN && errno != EINTR) bare_die("recv: %s", strerror(errno));
  return b->n = 0;
}

unsigned bare_seg(struct bare_batch *b, int i) {
  struct msghdr *m = &b->v[i].msg_hdr;
  for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
    int seg;
    if (c->cmsg_level != IPPROTO_UDP || c->cmsg_type != UDP_GRO) continue;
    memcpy(&seg, CMSG_DATA(c), sizeof(seg));
    return (unsigned)seg;
  }
  return b->v[i].msg_len;
}

void bare_set_gso(struct msghdr *m, void *control, unsigned seg) {
  uint16_t size = (uint16_t)seg;
  m->msg_control = control;
  m->msg_controllen = CMSG_SPACE(sizeof(size));
  struct cmsghdr *c = CMSG_FIRSTHDR(m);
  c->cmsg_level = IPPROTO_UDP;
  c->cmsg_type = UDP_SEGMENT;
  c->cmsg_len = CMSG_LEN(sizeof(size));
  memcpy(CMSG_DATA(c), &size, sizeof(size));
}

int bare_send(int fd, struct mmsghdr *v, int n) {
  int lost = 0;
  for (int sent = 0; sent < n;) {
    int k = sendmmsg(fd, v + sent, (unsigned)(n - sent), 0);
    if (k < 0 && errno == EINTR && !bare_stop) continue;
    if (k < 0 && errno != EINTR && errno != ENOBUFS && errno != EAGAIN &&
        errno != ECONNREFUSED)
      bare_die("send: %s", strerror(errno));
    if (k < 0) lost++;
    sent += k < 0 ? 1 : k;
  }
  return lost;
}

double bare_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

double bare_cpu(void) {
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
         (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

struct ztna_addr bare_addr(const char *text) {
  struct ztna_addr a;
  if (ztna_addr_parse(&a, text) < 0 || !a.port)
    bare_die("want ADDRESS:PORT, got \"%s\"", text);
  return a;
}

#endif
