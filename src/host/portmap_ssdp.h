/* portmap_ssdp.h - finds the router's UPnP description. The search of
 * libminiupnpc waits a second after the last answer, this one takes the first
 * that will do. */
#ifndef ZTNA_HOST_PORTMAP_SSDP_H
#define ZTNA_HOST_PORTMAP_SSDP_H

#include <stdbool.h>
#include <stddef.h>
#include <ztna/addr.h>

/* Is it http://ROUTER/... or http://ROUTER:PORT/...? */
bool ssdp_url_is_at(const char *url, const struct ztna_addr *router);

/* The URL that an answer (len bytes) names, when it is one of the router's and
 * fits. */
bool ssdp_location(const void *data, size_t len, const struct ztna_addr *router,
                   char *url, size_t room);

/* Waits for it. False: the router did not answer within 3 s. */
bool ssdp_find(const struct ztna_addr *router, const struct ztna_addr *own,
               char *url, size_t room);

#endif
