/* http_get.c - one request per connection; the answer ends with it. */
#include "host/http_get.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <ztna/err.h>

#include "host/clock.h"

enum { HEAD_MAX = 16384 };

struct get {
  int fd;
  uint64_t end_at;
  struct sbuf all; /* head and body */
};

/* 0 once events are there, or ZTNA_EAGAIN. */
static int wait_for(const struct get *g, short events) {
  struct pollfd p = {.fd = g->fd, .events = events};
  for (;;) {
    uint64_t now = clock_now();
    if (now >= g->end_at) return ZTNA_EAGAIN;
    int rc = poll(&p, 1, (int)((g->end_at - now + MS - 1) / MS));
    if (rc > 0) return 0;
    if (rc < 0 && errno != EINTR) return ZTNA_EIO;
  }
}

static int from_errno(int err) {
  if (err == ECONNREFUSED) return ZTNA_EREFUSED;
  return err == ETIMEDOUT ? ZTNA_EAGAIN : ZTNA_EIO;
}

static int dial(struct get *g, const struct ztna_addr *to) {
  struct sockaddr_storage ss = {0};
  socklen_t len = (socklen_t)ztna_addr_to_sockaddr(to, &ss);
  g->fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (g->fd < 0) return ZTNA_EIO;
  if (connect(g->fd, (struct sockaddr *)&ss, len) == 0) return 0;
  if (errno != EINPROGRESS) return from_errno(errno);
  int rc = wait_for(g, POLLOUT);
  if (rc < 0) return rc;
  int err = 0;
  len = sizeof(err);
  getsockopt(g->fd, SOL_SOCKET, SO_ERROR, &err, &len);
  return err ? from_errno(err) : 0;
}

static int ask(struct get *g, const struct ztna_addr *to, const char *path) {
  char text[512], host[ZTNA_ADDR_STRLEN];
  ztna_addr_print(to, host);
  int n = snprintf(text, sizeof(text),
                   "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n",
                   path, host);
  if (n >= (int)sizeof(text)) return ZTNA_EINVAL;
  /* A fresh connection takes this much at once. */
  return send(g->fd, text, (size_t)n, MSG_NOSIGNAL) == n ? 0 : ZTNA_EIO;
}

static int read_all(struct get *g) {
  char room[16384];
  for (;;) {
    ssize_t n = recv(g->fd, room, sizeof(room), 0);
    if (n == 0) return 0;
    if (n > 0) {
      sbuf_add(&g->all, room, (size_t)n);
      if (g->all.failed) return ZTNA_ESIZE;
    } else if (errno == EAGAIN) {
      int rc = wait_for(g, POLLIN);
      if (rc < 0) return rc;
    } else if (errno != EINTR) {
      return from_errno(errno);
    }
  }
}

/* A whole answer by Content-Length? Without one its end is the connection's. */
static bool is_whole(const char *head, const char *body, size_t len) {
  for (const char *p = head; p < body; p = strstr(p, "\r\n") + 2) {
    if (strncasecmp(p, "Content-Length:", 15) != 0) continue;
    return strtoul(p + 15, NULL, 10) == len;
  }
  return true;
}

static int split(struct get *g, struct sbuf *out) {
  if (g->all.len < 12 || strncmp(g->all.s, "HTTP/1.", 7) != 0)
    return ZTNA_EMALFORMED;
  const char *end = strstr(g->all.s, "\r\n\r\n");
  if (!end || end - g->all.s > HEAD_MAX) return ZTNA_EMALFORMED;
  const char *body = end + 4;
  size_t len = g->all.len - (size_t)(body - g->all.s);
  int status = atoi(g->all.s + 9);
  if (status < 100 || status > 599 || !is_whole(g->all.s, body, len))
    return ZTNA_EMALFORMED;
  sbuf_add(out, body, len);
  return out->failed ? ZTNA_ESIZE : status;
}

int http_get(const struct ztna_addr *to, const char *path, int timeout_ms,
             struct sbuf *out) {
  struct get g = {.fd = -1};
  g.end_at = clock_now() + (uint64_t)timeout_ms * MS;
  sbuf_init(&g.all, out->max ? out->max + HEAD_MAX : 0);
  int rc = dial(&g, to);
  if (rc == 0) rc = ask(&g, to, path);
  if (rc == 0) rc = read_all(&g);
  if (rc == 0) rc = split(&g, out);
  if (g.fd >= 0) close(g.fd);
  sbuf_done(&g.all);
  return rc;
}
