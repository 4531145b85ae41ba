/* check.c - see check.h. */
#include "host/check.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 32 };

struct check {
  struct check *next;
  size_t service;
  uint32_t serial; /* of the check, in its events */
  int fd;
  int by;
  bool connected;
  unsigned status_first, status_last;
  size_t n_out, n_expect, n_in;
  uint8_t out[CHECK_BYTES_MAX + 512]; /* what is sent, once */
  uint8_t expect[CHECK_BYTES_MAX];
  uint8_t in[CHECK_READ_MAX];
};

struct checks {
  int epoll;
  check_on_done on_done;
  void *ctx;
  uint32_t n_begun;
  struct check *running; /* one per service at most, so there are few */
};

/* --- life */

struct checks *checks_new(check_on_done on_done, void *ctx) {
  struct checks *c = calloc(1, sizeof(*c));
  if (!c) return NULL;
  c->epoll = epoll_create1(EPOLL_CLOEXEC);
  c->on_done = on_done;
  c->ctx = ctx;
  if (c->epoll >= 0) return c;
  free(c);
  return NULL;
}

/* Takes *at out of the list. */
static void end(struct check **at) {
  struct check *k = *at;
  *at = k->next;
  if (k->fd >= 0) close(k->fd);
  free(k);
}

void checks_cancel(struct checks *c, size_t service) {
  for (struct check **at = &c->running; *at; at = &(*at)->next) {
    if ((*at)->service != service) continue;
    end(at);
    return;
  }
}

void checks_renumber(struct checks *c, const size_t *to, size_t n) {
  struct check **at = &c->running;
  while (*at) {
    struct check *k = *at;
    if (k->service < n) k->service = to[k->service];
    if (k->service == SIZE_MAX)
      end(at);
    else
      at = &k->next;
  }
}

void checks_free(struct checks *c) {
  if (!c) return;
  while (c->running) end(&c->running);
  close(c->epoll);
  free(c);
}

int checks_fd(const struct checks *c) { return c->epoll; }

/* The check is gone before anybody is told: who is may begin another. */
static void finish(struct checks *c, struct check *k, const char *error) {
  size_t service = k->service;
  checks_cancel(c, service);
  c->on_done(c->ctx, service, error);
}

static void finish_errno(struct checks *c, struct check *k, int number) {
  finish(c, k, strerror(number));
}

/* --- bytes as people write them */

static int hex_of(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* What stands behind a backslash; *text moves on. */
static int escaped(const char **text) {
  char c = *(*text)++;
  if (c == 'r') return '\r';
  if (c == 'n') return '\n';
  if (c == 't') return '\t';
  if (c == '\\') return '\\';
  if (c != 'x' || hex_of((*text)[0]) < 0 || hex_of((*text)[1]) < 0) return -1;
  *text += 2;
  return hex_of((*text)[-2]) << 4 | hex_of((*text)[-1]);
}

int check_bytes(const char *text, uint8_t *to, size_t room) {
  size_t n = 0;
  while (*text) {
    int c = (uint8_t)*text++;
    if (c == '\\') c = escaped(&text);
    if (c < 0 || n == room) return -1;
    to[n++] = (uint8_t)c;
  }
  return (int)n;
}

/* --- what comes back */

/* "HTTP/1.1 200 OK": the three digits, 0 when it is no status line. */
static unsigned status_of(const uint8_t *line, size_t len) {
  unsigned major, minor, status;
  char text[32];
  int used = 0;
  snprintf(text, sizeof(text), "%.*s", (int)len, (const char *)line);
  if (sscanf(text, "HTTP/%1u.%1u %3u%n", &major, &minor, &status, &used) != 3)
    return 0;
  if (text[used] && !strchr(" \r\n", text[used])) return 0;
  return major == 1 && status >= 100 ? status : 0;
}

static void judge_http(struct checks *c, struct check *k) {
  unsigned status = status_of(k->in, k->n_in);
  char text[80];
  if (!status) {
    finish(c, k, "no HTTP answer");
  } else if (status < k->status_first || status > k->status_last) {
    snprintf(text, sizeof(text), "HTTP status %u, want %u to %u", status,
             k->status_first, k->status_last);
    finish(c, k, text);
  } else {
    finish(c, k, NULL);
  }
}

static void read_http(struct checks *c, struct check *k) {
  ssize_t n = recv(k->fd, k->in + k->n_in, sizeof(k->in) - k->n_in, 0);
  if (n < 0) {
    if (errno != EAGAIN && errno != EINTR) finish_errno(c, k, errno);
  } else if (n == 0) {
    finish(c, k, "closed without an answer");
  } else {
    k->n_in += (size_t)n;
    if (memchr(k->in, '\n', k->n_in) || k->n_in == sizeof(k->in))
      judge_http(c, k);
  }
}

static void read_udp(struct checks *c, struct check *k) {
  ssize_t n = recv(k->fd, k->in, sizeof(k->in), 0);
  if (n < 0) {
    if (errno != EAGAIN && errno != EINTR) finish_errno(c, k, errno);
  } else if (k->n_expect && !memmem(k->in, (size_t)n, k->expect, k->n_expect)) {
    finish(c, k, "another answer than expected");
  } else {
    finish(c, k, NULL);
  }
}

/* --- what goes out */

static bool watch(struct checks *c, struct check *k, int op, uint32_t events) {
  struct epoll_event e = {.events = events, .data.u32 = k->serial};
  return epoll_ctl(c->epoll, op, k->fd, &e) == 0;
}

/* A request is far smaller than an empty send buffer. */
static void ask(struct checks *c, struct check *k) {
  if (send(k->fd, k->out, k->n_out, MSG_NOSIGNAL) != (ssize_t)k->n_out ||
      !watch(c, k, EPOLL_CTL_MOD, EPOLLIN))
    finish_errno(c, k, errno);
}

static void on_connected(struct checks *c, struct check *k) {
  int error = 0;
  socklen_t len = sizeof(error);
  getsockopt(k->fd, SOL_SOCKET, SO_ERROR, &error, &len);
  k->connected = true;
  if (error)
    finish_errno(c, k, error);
  else if (k->by == CHECK_BY_TCP)
    finish(c, k, NULL);
  else
    ask(c, k);
}

static void step(struct checks *c, struct check *k) {
  if (!k->connected)
    on_connected(c, k);
  else if (k->by == CHECK_BY_HTTP)
    read_http(c, k);
  else
    read_udp(c, k);
}

/* By number, since one callback may end another's check, or begin it anew. */
void checks_run(struct checks *c) {
  struct epoll_event v[EVENTS];
  int n = epoll_wait(c->epoll, v, EVENTS, 0);
  for (int i = 0; i < n; i++) {
    struct check *k = c->running;
    while (k && k->serial != v[i].data.u32) k = k->next;
    if (k) step(c, k);
  }
}

/* --- beginning */

static void fill_request(struct check *k, const struct check_how *how) {
  int n = 0, room = (int)sizeof(k->out);
  if (how->by == CHECK_BY_HTTP)
    n = snprintf((char *)k->out, sizeof(k->out),
                 "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: ztna-check\r\n"
                 "Accept: */*\r\nConnection: close\r\n\r\n",
                 how->path, how->host);
  else if (how->by == CHECK_BY_UDP && how->send)
    n = check_bytes(how->send, k->out, sizeof(k->out));
  k->n_out = n > 0 && n < room ? (size_t)n : 0;
  n = how->by == CHECK_BY_UDP && how->expect
          ? check_bytes(how->expect, k->expect, sizeof(k->expect))
          : 0;
  k->n_expect = n > 0 ? (size_t)n : 0;
}

static bool dial(struct checks *c, struct check *k,
                 const struct ztna_addr *to) {
  struct sockaddr_storage ss;
  socklen_t len = (socklen_t)ztna_addr_to_sockaddr(to, &ss);
  int type = k->by == CHECK_BY_UDP ? SOCK_DGRAM : SOCK_STREAM;
  k->fd = socket(ss.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (k->fd < 0) return false;
  if (connect(k->fd, (struct sockaddr *)&ss, len) < 0 && errno != EINPROGRESS)
    return false;
  return watch(c, k, EPOLL_CTL_ADD, EPOLLOUT);
}

void checks_start(struct checks *c, size_t service, const struct check_how *how,
                  const struct ztna_addr *to) {
  struct check *k;
  checks_cancel(c, service);
  k = calloc(1, sizeof(*k));
  if (!k) {
    c->on_done(c->ctx, service, "no memory");
    return;
  }
  k->next = c->running;
  c->running = k;
  k->service = service;
  k->serial = ++c->n_begun;
  k->by = how->by;
  k->status_first = how->status_first;
  k->status_last = how->status_last;
  fill_request(k, how);
  if (!dial(c, k, to)) finish_errno(c, k, errno);
}
