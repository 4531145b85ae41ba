/* demo_web.h - the web service of `ztna demo`: a real HTTP/1.1 server, in a
 * thread, since it would be a program of its own. */
#ifndef ZTNA_APPLETS_DEMO_WEB_H
#define ZTNA_APPLETS_DEMO_WEB_H

#include <ztna/addr.h>

#define DEMO_PAGE_PATH "/"
#define DEMO_BULK_PATH "/bulk" /* pseudo-random bytes, as long as one reads */

/* On a free port of 127.0.0.1, which *at gets. NULL: logged. */
struct MHD_Daemon *demo_web_start(struct ztna_addr *at);
void demo_web_stop(struct MHD_Daemon *web); /* NULL is fine */

extern const char demo_page[];
/* Are these the n bytes of DEMO_BULK_PATH from number `at` on? */
bool demo_bulk_is(uint64_t at, const uint8_t *data, size_t n);

#endif
