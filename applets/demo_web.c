/* demo_web.c - libmicrohttpd in its own thread, on loopback. */
#include "demo_web.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

enum {
  PERIOD =
      65521, /* of the bulk; a prime, so that no buffer's size divides it */
  BLOCK = 128 * 1024, /* made at once */
  MAX_CONNECTIONS = 8,
  IDLE_AFTER = 10, /* seconds */
};

/* What nobody reads to its end. */
#define BULK_LEN (UINT64_C(1) << 40)

const char demo_page[] =
    "<!doctype html>\n"
    "<title>ztna demo</title>\n"
    "<p>This page listens on 127.0.0.1 of the connector's machine alone. It\n"
    "came over TCP through a tunnel that the relay cannot read.</p>\n";

/* --- the bulk: so many bytes, again and again */

static uint8_t bulk[PERIOD];

static void make_bulk(void) {
  uint64_t x = 0x9e3779b97f4a7c15;

  for (size_t i = 0; i < PERIOD; i++) {
    x ^= x << 13; /* Marsaglia's xorshift */
    x ^= x >> 7;
    x ^= x << 17;
    bulk[i] = (uint8_t)(x >> 32);
  }
}

/* How many of n bytes from `at` on lie in one piece, at *data. */
static size_t bulk_piece(uint64_t at, size_t n, const uint8_t **data) {
  size_t from = (size_t)(at % PERIOD);

  *data = bulk + from;
  return n < PERIOD - from ? n : PERIOD - from;
}

bool demo_bulk_is(uint64_t at, const uint8_t *data, size_t n) {
  while (n) {
    const uint8_t *want;
    size_t k = bulk_piece(at, n, &want);

    if (memcmp(data, want, k) != 0) return false;
    at += k;
    data += k;
    n -= k;
  }
  return true;
}

static ssize_t fill_block(void *ctx, uint64_t at, char *to, size_t max) {
  size_t done = 0;

  while (done < max) {
    const uint8_t *data;
    size_t k = bulk_piece(at + done, max - done, &data);

    memcpy(to + done, data, k);
    done += k;
  }
  return (ssize_t)max;
}

/* --- requests */

static struct MHD_Response *text(const char *body, const char *type) {
  struct MHD_Response *r = MHD_create_response_from_buffer(
      strlen(body), (void *)body, MHD_RESPMEM_PERSISTENT);

  if (r) MHD_add_response_header(r, "Content-Type", type);
  return r;
}

static struct MHD_Response *answer(const char *path, unsigned *status) {
  *status = MHD_HTTP_OK;
  if (strcmp(path, DEMO_BULK_PATH) == 0)
    return MHD_create_response_from_callback(BULK_LEN, BLOCK, fill_block, NULL,
                                             NULL);
  if (strcmp(path, DEMO_PAGE_PATH) == 0)
    return text(demo_page, "text/html; charset=utf-8");
  *status = MHD_HTTP_NOT_FOUND;
  return text("There are / and /bulk.\n", "text/plain");
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *c,
                                  const char *path, const char *method,
                                  const char *version, const char *upload,
                                  size_t *upload_len, void **state) {
  unsigned status;
  struct MHD_Response *r;
  enum MHD_Result rc;

  if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 || *upload_len) return MHD_NO;
  r = answer(path, &status);
  if (!r) return MHD_NO;
  rc = MHD_queue_response(c, status, r);
  MHD_destroy_response(r);
  return rc;
}

/* --- life */

struct MHD_Daemon *demo_web_start(struct ztna_addr *at) {
  static const uint8_t loopback[4] = {127, 0, 0, 1};
  struct sockaddr_in a = {.sin_family = AF_INET,
                          .sin_addr = {htonl(INADDR_LOOPBACK)}};
  struct MHD_Daemon *web;
  const union MHD_DaemonInfo *info;

  make_bulk();
  web = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL, 0,
                         NULL, NULL, on_request, NULL, MHD_OPTION_SOCK_ADDR,
                         (struct sockaddr *)&a, MHD_OPTION_CONNECTION_LIMIT,
                         MAX_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT,
                         IDLE_AFTER, MHD_OPTION_END);
  info = web ? MHD_get_daemon_info(web, MHD_DAEMON_INFO_BIND_PORT) : NULL;
  if (info) {
    *at = ztna_addr_v4(loopback, info->port);
    return web;
  }
  log_err("demo: the web service does not start");
  demo_web_stop(web);
  return NULL;
}

void demo_web_stop(struct MHD_Daemon *web) {
  if (web) MHD_stop_daemon(web);
}
