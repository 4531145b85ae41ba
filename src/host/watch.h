/* watch.h - tells when a file was changed: written in place, replaced by
 * another (editors, configuration management), or reached through a symbolic
 * link that now points elsewhere (mounted configuration). */
#ifndef ZTNA_HOST_WATCH_H
#define ZTNA_HOST_WATCH_H

#include <uv.h>

struct watch;

enum { WATCH_SETTLE = 100 /* ms without a further change before it is told */ };

/* on_change comes out of the loop. A file that vanishes is told of when it is
 * back. NULL: no memory, or its directory cannot be watched (logged; SIGHUP
 * remains). */
struct watch *watch_new(uv_loop_t *loop, const char *file,
                        void (*on_change)(void *ctx), void *ctx);
/* Before the loop is closed; NULL is fine. */
void watch_free(struct watch *w);

#endif
