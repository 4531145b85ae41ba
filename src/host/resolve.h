/* resolve.h - names to addresses, off the loop. A thread per question instead
 * of uv_getaddrinfo: libuv joins its pool when the process ends, and a name
 * server that does not answer would hold the exit for many seconds. */
#ifndef ZTNA_HOST_RESOLVE_H
#define ZTNA_HOST_RESOLVE_H

#include <uv.h>
#include <ztna/addr.h>

enum {
  RESOLVE_MAX = 16,     /* addresses of one answer */
  RESOLVE_PENDING = 32, /* questions at one time */
};

/* n addresses, or n < 0 and why in words (NULL when n > 0). */
typedef void (*on_resolved)(void *ctx, const struct ztna_addr *v, int n,
                            const char *why);

struct resolver;

struct resolver *resolver_new(uv_loop_t *loop); /* NULL: no memory */
/* Questions wait for this: before it there are no threads, since a sandbox that
 * is entered does not hold for those that run already. */
void resolver_go(struct resolver *r);
/* Forgets open questions; their callbacks are not called. The loop has to turn
 * once more. NULL is fine. */
void resolver_free(struct resolver *r);

/* "name:port", "address:port", "[v6]:port"; without a port default_port, when
 * that is 0 it is required. Calls back once; errors are ZTNA_ENOENT (no such
 * name), ZTNA_EINVAL (not a host:port), ZTNA_EFULL, ZTNA_EIO (name service
 * trouble). For a written-out address, and for ZTNA_EINVAL and ZTNA_EFULL, the
 * callback runs before resolve_name returns. */
void resolve_name(struct resolver *r, const char *host_port,
                  uint16_t default_port, on_resolved cb, void *ctx);

#endif
