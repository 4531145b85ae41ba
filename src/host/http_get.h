/* http_get.h - a small HTTP/1.1 client for our own pages: blocking, bounded in
 * time and size, no names, no redirects. */
#ifndef ZTNA_HOST_HTTP_GET_H
#define ZTNA_HOST_HTTP_GET_H

#include <ztna/addr.h>

#include "base/sbuf.h"

/* Adds the body of GET path to out. Returns the HTTP status, ZTNA_EREFUSED
 * (nobody listens there), ZTNA_EAGAIN (no answer within timeout_ms),
 * ZTNA_EMALFORMED (what answers does not speak HTTP), ZTNA_ESIZE (longer than
 * out may become) or ZTNA_EIO. Nothing is logged. */
int http_get(const struct ztna_addr *to, const char *path, int timeout_ms,
             struct sbuf *out);

#endif
