/* demo_client.c - one request after the other, by blocking calls. */
#include "demo_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include <ztna/err.h>

#include "demo_web.h"
#include "host/clock.h"
#include "host/http_get.h"

enum {
  ANSWER_WITHIN = 10000, /* ms */
  LOOK_UP_EVERY = 100,   /* ms: from reading, for quit and silence */
  ROOM = 128 * 1024,
};

static void set_why(struct demo_client *c, const char *what, int rc) {
  const char *why = rc == ZTNA_EAGAIN       ? "no answer in 10 s"
                    : rc == ZTNA_EIO        ? "the connection broke"
                    : rc == ZTNA_EMALFORMED ? "other bytes came"
                                            : ztna_strerror(rc);

  snprintf(c->why, sizeof(c->why), "%s did not come: %s", what, why);
}

/* --- the page */

static void fetch_page(struct demo_client *c) {
  struct sbuf body = {0};
  int rc = http_get(&c->to, DEMO_PAGE_PATH, ANSWER_WITHIN, &body);

  c->status = rc < 0 ? 0 : rc;
  c->page_bytes = body.len;
  if (rc < 0)
    set_why(c, "the page", rc);
  else if (rc != 200)
    snprintf(c->why, sizeof(c->why), "the page did not come: HTTP %d", rc);
  else if (body.len != strlen(demo_page) || memcmp(body.s, demo_page, body.len))
    snprintf(c->why, sizeof(c->why), "another page came than the service has");
  sbuf_done(&body);
}

/* --- the bulk */

static int dial(const struct ztna_addr *to) {
  static const char ask[] = "GET " DEMO_BULK_PATH " HTTP/1.1\r\n"
                            "Host: localhost\r\nConnection: close\r\n\r\n";
  struct timeval pause = {.tv_usec = LOOK_UP_EVERY * 1000};
  struct sockaddr_storage ss = {0};
  socklen_t len = (socklen_t)ztna_addr_to_sockaddr(to, &ss);
  int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

  if (fd < 0) return ZTNA_EIO;
  /* On loopback the system connects and takes a request at once. */
  if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &pause, sizeof(pause)) == 0 &&
      connect(fd, (struct sockaddr *)&ss, len) == 0 &&
      send(fd, ask, strlen(ask), MSG_NOSIGNAL) == (ssize_t)strlen(ask))
    return fd;
  close(fd);
  return ZTNA_EIO;
}

/* Bytes read, or an error; ZTNA_ECLOSED: asked to quit. */
static int read_some(struct demo_client *c, int fd, uint8_t *to, size_t room) {
  for (int waited = 0; waited < ANSWER_WITHIN; waited += LOOK_UP_EVERY) {
    ssize_t n = recv(fd, to, room, 0);

    if (atomic_load(&c->quit)) return ZTNA_ECLOSED;
    if (n > 0) return (int)n;
    if (n == 0 || (errno != EAGAIN && errno != EINTR)) return ZTNA_EIO;
  }
  return ZTNA_EAGAIN;
}

/* Reads the answer's head. How many bytes of the body came with it, moved to
 * the front; or an error. */
static int read_head(struct demo_client *c, int fd, uint8_t *to) {
  static const char ok[] = "HTTP/1.1 200 ";
  size_t len = 0;

  while (len < ROOM) {
    int n = read_some(c, fd, to + len, ROOM - len);
    uint8_t *end;

    if (n < 0) return n;
    len += (size_t)n;
    end = memmem(to, len, "\r\n\r\n", 4);
    if (!end) continue;
    if (memcmp(to, ok, strlen(ok)) != 0) return ZTNA_EMALFORMED;
    len -= (size_t)(end + 4 - to);
    memmove(to, end + 4, len);
    return (int)len;
  }
  return ZTNA_ESIZE;
}

/* Until it is time; every byte is looked at. 0 or an error. */
static int read_bulk(struct demo_client *c, int fd, uint8_t *room) {
  int n = read_head(c, fd, room);
  uint64_t from = clock_now();

  while (n >= 0) {
    if (!demo_bulk_is(c->bulk_bytes, room, (size_t)n)) return ZTNA_EMALFORMED;
    c->bulk_bytes += (uint64_t)n;
    c->bulk_ns = clock_now() - from;
    if (c->bulk_ns >= c->bulk_for) return 0;
    n = read_some(c, fd, room, ROOM);
  }
  return n;
}

static void fetch_bulk(struct demo_client *c) {
  uint8_t *room = malloc(ROOM);
  int fd = room ? dial(&c->to) : ZTNA_ENOMEM;
  int rc = fd < 0 ? fd : read_bulk(c, fd, room);

  if (rc < 0) set_why(c, "the bulk", rc);
  if (fd >= 0) close(fd);
  free(room);
}

/* --- life */

static void *run(void *ctx) {
  struct demo_client *c = ctx;

  fetch_page(c);
  if (!c->why[0]) {
    atomic_store(&c->state, CLIENT_BULK);
    fetch_bulk(c);
  }
  atomic_store(&c->state, CLIENT_DONE);
  return NULL;
}

int demo_client_start(struct demo_client *c, const struct ztna_addr *to,
                      uint64_t bulk_for) {
  c->to = *to;
  c->bulk_for = bulk_for;
  atomic_store(&c->state, CLIENT_PAGE);
  if (pthread_create(&c->thread, NULL, run, c) == 0) return 0;
  atomic_store(&c->state, CLIENT_IDLE);
  return ZTNA_EFULL;
}

enum demo_client_state demo_client_state(const struct demo_client *c) {
  return (enum demo_client_state)atomic_load(&c->state);
}

void demo_client_quit(struct demo_client *c) { atomic_store(&c->quit, true); }

void demo_client_join(struct demo_client *c) {
  if (demo_client_state(c) != CLIENT_IDLE) pthread_join(c->thread, NULL);
}
