/* role.h - what the applets of the three roles share. */
#ifndef ZTNA_APPLETS_ROLE_H
#define ZTNA_APPLETS_ROLE_H

#include <jansson.h>

#include "applet.h"
#include "host/http.h"
#include "host/identity_file.h"
#include "host/loop.h"

/* The file that messages about the configuration name. */
const char *role_source(const struct applet_call *c);
/* The configured identity, which must be of this role; the key's bytes are
 * wiped. An EXIT_ code; the mistake was printed. */
int role_identity(const struct applet_call *c, enum role role,
                  struct identity_file **out);
/* Sockets for what a role listens on; a wildcard of a family that this machine
 * does not speak is left out when another remains. NULL: logged. */
struct udp *role_bind(const struct ztna_addr *listen, size_t n);
/* The local HTTP pages, when configured. An EXIT_ code. */
int role_pages(const struct config *c, struct host *h,
               const struct http_pages *pages, void *ctx, struct http **out);
/* {"ready": false, "reason": ..., "detail": ...} */
void role_not_ready(struct sbuf *out, const char *reason);
/* Adds the object as text and frees it. */
void role_page_json(struct sbuf *out, json_t *o);
/* Adds text and frees it; NULL is fine. */
void role_page_text(struct sbuf *out, char *text);

#endif
