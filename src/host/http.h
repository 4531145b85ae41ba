/* http.h - the local HTTP/1.1 page: /healthz, /readyz, /metrics, /status, and
 * an agent's /ask. Listens only where it is told to; GET and HEAD only; a Host
 * header that is a name other than localhost is refused, so that a web page
 * cannot reach it by DNS rebinding. */
#ifndef ZTNA_HOST_HTTP_H
#define ZTNA_HOST_HTTP_H

#include <uv.h>
#include <ztna/addr.h>

#include "base/sbuf.h"

struct http_pages {
  /* Non-zero when a packet could cross now; else adds a JSON object that says
   * why not. */
  int (*ready)(void *ctx, struct sbuf *why_json);
  void (*metrics)(void *ctx, struct sbuf *out); /* Prometheus text 0.0.4 */
  void (*status)(void *ctx, struct sbuf *out);  /* one JSON object */
  /* GET /ask?service=ID, for `ztna why`: one JSON object. NULL: not there. It
   * changes no more than a packet to the service's address would, which any
   * program here may send. */
  void (*ask)(void *ctx, const char *service, struct sbuf *out);
};

struct http;

/* Returns 0 and *out, or ZTNA_EEXIST (port in use), ZTNA_EPERM, ZTNA_ENOENT
 * (not an address of this machine), ZTNA_ENOMEM, ZTNA_EIO; logged. pages is
 * kept by reference. */
int http_start(struct http **out, uv_loop_t *loop,
               const struct ztna_addr *listen, const struct http_pages *pages,
               void *ctx);
/* The address with its real port. */
struct ztna_addr http_local(const struct http *h);
/* Before the loop closes; the loop has to turn once more for the memory. NULL
 * is fine. */
void http_stop(struct http *h);

#endif
