/* tcp_net.c - sockets, options and figures, see tcp.h. */
#include "tcp.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "bench/bare.h"

int tcp_listen(unsigned port) {
  struct sockaddr_in6 a = {.sin6_family = AF_INET6,
                           .sin6_port = htons((uint16_t)port)};
  int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1, off = 0;
  if (fd < 0) bare_die("socket: %s", strerror(errno));
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
  if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 1024) < 0)
    bare_die("port %u: %s", port, strerror(errno));
  return fd;
}

int tcp_dial(const char *to) {
  struct sockaddr_storage ss;
  struct ztna_addr a = bare_addr(to);
  socklen_t len = (socklen_t)ztna_addr_to_sockaddr(&a, &ss);
  int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
  if (fd < 0) bare_die("socket: %s", strerror(errno));
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  struct timeval limit = {.tv_sec = 90};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  if (connect(fd, (struct sockaddr *)&ss, len) == 0) return fd;
  int error = errno;
  close(fd);
  return -error;
}

int tcp_write(int fd, const void *bytes, size_t n) {
  const char *p = bytes;
  while (n) {
    ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
    if (k < 0 && errno == EINTR) continue;
    if (k < 0) return -errno;
    p += k;
    n -= (size_t)k;
  }
  return 0;
}

void tcp_abort(int fd) {
  struct linger now = {.l_onoff = 1, .l_linger = 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  close(fd);
}

const char *tcp_word(int error) {
  switch (error) {
  case 0:
    return "ok";
  case ECONNREFUSED:
    return "refused";
  case EHOSTUNREACH:
    return "host-unreachable";
  case ENETUNREACH:
    return "network-unreachable";
  case ECONNRESET:
    return "reset";
  case EPIPE:
    return "pipe";
  case EAGAIN:
  case EINPROGRESS:
  case ETIMEDOUT:
    return "timeout";
  case EACCES:
  case EPERM:
    return "prohibited";
  default:
    return strerror(error);
  }
}

double tcp_option(int argc, char **argv, const char *key, double otherwise) {
  size_t n = strlen(key);
  for (int i = 0; i < argc; i++)
    if (!strncmp(argv[i], key, n) && argv[i][n] == '=')
      return atof(argv[i] + n + 1);
  return otherwise;
}

void tcp_sample(struct tcp_samples *s, double seconds) {
  if (s->n == s->max) {
    s->max = s->max ? s->max * 2 : 1024;
    s->v = realloc(s->v, s->max * sizeof(*s->v));
    if (!s->v) bare_die("no memory");
  }
  s->v[s->n++] = seconds;
}

void tcp_merge(struct tcp_samples *to, struct tcp_samples *from) {
  for (size_t i = 0; i < from->n; i++) tcp_sample(to, from->v[i]);
  free(from->v);
  *from = (struct tcp_samples){0};
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

void tcp_print(struct tcp_samples *s, const char *prefix) {
  if (!s->n) return;
  qsort(s->v, s->n, sizeof(*s->v), compare);
  printf("%sp50_us=%.1f %sp99_us=%.1f %smax_us=%.1f ", prefix,
         s->v[s->n / 2] * 1e6, prefix, s->v[s->n * 99 / 100] * 1e6, prefix,
         s->v[s->n - 1] * 1e6);
}
