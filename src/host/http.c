/* http.c - libmicrohttpd on the libuv loop: its epoll descriptor is one
 * uv_poll, its time-outs one uv_timer. */
#include "host/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>
#include <ztna/err.h>

#include "base/log.h"

enum {
  MAX_CONNECTIONS = 32,
  IDLE_AFTER = 10, /* seconds */
  MEMORY = 16384,  /* of one connection; bounds a request's headers */
  BACKLOG = 64,
};

struct http {
  struct MHD_Daemon *daemon;
  struct ztna_addr local;
  const struct http_pages *pages;
  void *ctx;
  uv_poll_t poll;
  uv_timer_t timer;
  int n_open; /* libuv handles */
};

/* --- answers */

struct answer {
  const char *service; /* the argument of that name; NULL: none */
  unsigned status;
  const char *type;
  struct sbuf body;
};

static const char *status_title(unsigned status) {
  switch (status) {
  case MHD_HTTP_NOT_FOUND:
    return "Not Found";
  case MHD_HTTP_METHOD_NOT_ALLOWED:
    return "Method Not Allowed";
  case MHD_HTTP_MISDIRECTED_REQUEST:
    return "Misdirected Request";
  default:
    return "Internal Server Error";
  }
}

/* RFC 9457. detail is ours, so it needs no escaping. */
static void answer_problem(struct answer *a, unsigned status,
                           const char *detail) {
  sbuf_done(&a->body);
  sbuf_init(&a->body, 0);
  a->status = status;
  a->type = "application/problem+json";
  sbuf_printf(&a->body,
              "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%u,"
              "\"detail\":\"%s\"}\n",
              status_title(status), status, detail);
}

static void page_health(struct http *h, struct answer *a) {
  a->type = "text/plain; charset=utf-8";
  sbuf_printf(&a->body, "ok\n");
}

static void page_ready(struct http *h, struct answer *a) {
  struct sbuf why;
  sbuf_init(&why, 0);
  if (h->pages->ready(h->ctx, &why)) {
    sbuf_printf(&a->body, "{\"ready\":true}\n");
  } else {
    a->status = MHD_HTTP_SERVICE_UNAVAILABLE;
    if (why.len && !why.failed)
      sbuf_add(&a->body, why.s, why.len);
    else
      sbuf_printf(&a->body, "{\"ready\":false}\n");
  }
  sbuf_done(&why);
}

static void page_metrics(struct http *h, struct answer *a) {
  a->type = "text/plain; version=0.0.4; charset=utf-8";
  h->pages->metrics(h->ctx, &a->body);
}

static void page_status(struct http *h, struct answer *a) {
  h->pages->status(h->ctx, &a->body);
}

static void page_ask(struct http *h, struct answer *a) {
  if (!h->pages->ask || !a->service)
    answer_problem(a, MHD_HTTP_NOT_FOUND, "an agent's /ask?service=ID");
  else
    h->pages->ask(h->ctx, a->service, &a->body);
}

static const struct page {
  const char *path;
  void (*render)(struct http *h, struct answer *a);
} pages[] = {
    {"/healthz", page_health},  {"/readyz", page_ready},
    {"/metrics", page_metrics}, {"/status", page_status},
    {"/ask", page_ask},
};

static const struct page *page_find(const char *path) {
  for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++)
    if (strcmp(path, pages[i].path) == 0) return &pages[i];
  return NULL;
}

/* --- requests */

/* A web page that a browser shows can make its own name resolve to 127.0.0.1;
 * the browser then sends that name here. Addresses and localhost cannot be
 * turned that way; no Host at all is no browser. */
static bool host_is_local(const char *host) {
  struct ztna_addr a;
  if (!host) return true;
  if (ztna_addr_parse(&a, host) == 0) return true;
  if (strncasecmp(host, "localhost", 9) != 0) return false;
  return host[9] == 0 || host[9] == ':';
}

static bool is_get(const char *method) {
  return strcmp(method, MHD_HTTP_METHOD_GET) == 0 ||
         strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
}

static void answer_request(struct http *h, struct answer *a, const char *host,
                           const char *method, const char *path) {
  const struct page *page = page_find(path);
  if (!host_is_local(host)) {
    answer_problem(a, MHD_HTTP_MISDIRECTED_REQUEST,
                   "the Host header must be an IP address or localhost");
  } else if (!page) {
    answer_problem(a, MHD_HTTP_NOT_FOUND,
                   "there are /healthz, /readyz, /metrics and /status");
  } else if (!is_get(method)) {
    answer_problem(a, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD");
  } else {
    page->render(h, a);
  }
  if (a->body.failed)
    answer_problem(a, MHD_HTTP_INTERNAL_SERVER_ERROR,
                   "the answer did not fit into memory");
}

static enum MHD_Result send_answer(struct MHD_Connection *c,
                                   const struct answer *a) {
  struct MHD_Response *r = MHD_create_response_from_buffer(
      a->body.len, a->body.s, MHD_RESPMEM_MUST_COPY);
  if (!r) return MHD_NO;
  MHD_add_response_header(r, "Content-Type", a->type);
  MHD_add_response_header(r, "Cache-Control", "no-store");
  MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
  if (a->status == MHD_HTTP_METHOD_NOT_ALLOWED)
    MHD_add_response_header(r, "Allow", "GET, HEAD");
  enum MHD_Result rc = MHD_queue_response(c, a->status, r);
  MHD_destroy_response(r);
  return rc;
}

/* Called once with the headers, per piece of body, and once more at the end.
 * A request with a body is answered at once: MHD then reads none of it and
 * closes. */
static enum MHD_Result on_request(void *ctx, struct MHD_Connection *c,
                                  const char *path, const char *method,
                                  const char *version, const char *upload,
                                  size_t *upload_len, void **state) {
  static int seen;
  if (!*state && is_get(method)) {
    *state = &seen;
    return MHD_YES;
  }
  if (*upload_len) { /* a GET with a body: nobody wants it */
    *upload_len = 0;
    return MHD_YES;
  }
  struct answer a = {.status = MHD_HTTP_OK, .type = "application/json"};
  a.service = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "service");
  sbuf_init(&a.body, 0);
  answer_request(ctx, &a,
                 MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Host"),
                 method, path);
  enum MHD_Result rc = send_answer(c, &a);
  sbuf_done(&a.body);
  return rc;
}

/* --- the loop */

static void on_timeout(uv_timer_t *t);

static void run(struct http *h) {
  MHD_UNSIGNED_LONG_LONG ms;
  MHD_run(h->daemon);
  if (MHD_get_timeout(h->daemon, &ms) == MHD_YES)
    uv_timer_start(&h->timer, on_timeout, ms, 0);
  else
    uv_timer_stop(&h->timer);
}

static void on_timeout(uv_timer_t *t) { run(t->data); }
static void on_readable(uv_poll_t *p, int status, int events) { run(p->data); }

/* --- life */

static int listen_failed(const struct ztna_addr *a, int err) {
  char text[ZTNA_ADDR_STRLEN];
  ztna_addr_print(a, text);
  switch (err) {
  case EADDRINUSE:
    log_err("http: %s is in use by another program; choose another address"
            " for http.listen",
            text);
    return ZTNA_EEXIST;
  case EADDRNOTAVAIL:
  case EAFNOSUPPORT:
    log_err("http: %s is not an address of this machine", text);
    return ZTNA_ENOENT;
  case EACCES:
  case EPERM:
    log_err("http: not allowed to listen on %s; ports below 1024 want root",
            text);
    return ZTNA_EPERM;
  default:
    log_err("http: listen on %s: %s", text, strerror(err));
    return ZTNA_EIO;
  }
}

/* A descriptor, or an error that was logged; *a gets the real port. */
static int listen_on(struct ztna_addr *a) {
  struct sockaddr_storage ss = {0};
  socklen_t len = (socklen_t)ztna_addr_to_sockaddr(a, &ss);
  int on = 1;
  if (len == 0) return ZTNA_EINVAL;
  int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return listen_failed(a, errno);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(fd, (struct sockaddr *)&ss, len) < 0 || listen(fd, BACKLOG) < 0) {
    int err = errno;
    close(fd);
    return listen_failed(a, err);
  }
  len = sizeof(ss);
  getsockname(fd, (struct sockaddr *)&ss, &len);
  ztna_addr_from_sockaddr(a, &ss);
  return fd;
}

static void on_mhd_log(void *ctx, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));
static void on_mhd_log(void *ctx, const char *fmt, va_list ap) {
  char line[256];
  vsnprintf(line, sizeof(line), fmt, ap);
  log_debug("http: %s", line);
}

static int start_daemon(struct http *h, int fd) {
  h->daemon = MHD_start_daemon(
      MHD_USE_EPOLL | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, h,
      MHD_OPTION_EXTERNAL_LOGGER, on_mhd_log, NULL, /* first: see its manual */
      MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
      MAX_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, IDLE_AFTER,
      MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY,
      MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
  return h->daemon ? 0 : ZTNA_EIO;
}

static int start_poll(struct http *h, uv_loop_t *loop) {
  const union MHD_DaemonInfo *info =
      MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD);
  if (!info || uv_poll_init(loop, &h->poll, info->epoll_fd) < 0)
    return ZTNA_EIO;
  uv_timer_init(loop, &h->timer);
  h->poll.data = h->timer.data = h;
  h->n_open = 2;
  uv_poll_start(&h->poll, UV_READABLE, on_readable);
  return 0;
}

int http_start(struct http **out, uv_loop_t *loop,
               const struct ztna_addr *listen, const struct http_pages *pages,
               void *ctx) {
  struct http *h = calloc(1, sizeof(*h));
  *out = NULL;
  if (!h) return ZTNA_ENOMEM;
  h->pages = pages;
  h->ctx = ctx;
  h->local = *listen;
  int fd = listen_on(&h->local);
  int rc = fd < 0 ? fd : start_daemon(h, fd);
  if (fd >= 0 && rc < 0) close(fd);
  if (rc == 0) rc = start_poll(h, loop);
  if (rc == 0) {
    *out = h;
    return 0;
  }
  if (rc == ZTNA_EIO && fd >= 0) log_err("http: the server does not start");
  http_stop(h);
  return rc;
}

struct ztna_addr http_local(const struct http *h) {
  return h->local;
}

static void on_closed(uv_handle_t *handle) {
  struct http *h = handle->data;
  if (--h->n_open == 0) free(h);
}

/* The poll first: stopping the daemon closes its epoll descriptor. */
void http_stop(struct http *h) {
  if (!h) return;
  bool started = h->n_open > 0;
  if (started) {
    uv_close((uv_handle_t *)&h->poll, on_closed);
    uv_close((uv_handle_t *)&h->timer, on_closed);
  }
  if (h->daemon) MHD_stop_daemon(h->daemon);
  if (!started) free(h);
}
