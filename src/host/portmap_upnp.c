/* portmap_upnp.c - UPnP IGD: a description and orders to the router, by HTTP.
 * The only home of libminiupnpc. */
#include <miniupnpc/miniupnpc.h>
#include <miniupnpc/upnpcommands.h>
#include <miniupnpc/upnperrors.h>
#include <stdio.h>
#include <string.h>
#include <ztna/err.h>

#include "host/portmap_int.h"
#include "host/portmap_ssdp.h"

enum {
  PORTS_TRIED = 4,
  /* UPnP IGD, 2.4.16: of AddPortMapping */
  INVALID_ARGS = 402,
  ACTION_FAILED = 501,
  CONFLICT = 718,
  ONLY_PERMANENT = 725,
};

/* --- one connection of a router: they have several, for PPP and for IP */

static bool add_port(struct portmap_question *q, const struct ztna_addr *own,
                     uint16_t port, int *rc) {
  char inner[8], outer[8], client[ZTNA_ADDR_STRLEN], lifetime[16];
  snprintf(inner, sizeof(inner), "%u", own->port);
  snprintf(outer, sizeof(outer), "%u", port);
  snprintf(lifetime, sizeof(lifetime), "%d", PORTMAP_LIFETIME);
  ztna_addr_print_ip(own, client);
  q->lifetime = PORTMAP_LIFETIME;
  *rc = UPNP_AddPortMapping(q->control, q->service, outer, inner, client,
                            "ztna", "UDP", NULL, lifetime);
  if (*rc != ONLY_PERMANENT && *rc != INVALID_ARGS && *rc != ACTION_FAILED)
    return *rc == 0;
  q->lifetime = 0; /* until it is removed: older routers know no other */
  *rc = UPNP_AddPortMapping(q->control, q->service, outer, inner, client,
                            "ztna", "UDP", NULL, "0");
  return *rc == 0;
}

/* Ports of others are not taken away from them. */
static int add_some_port(struct portmap_question *q,
                         const struct ztna_addr *own, uint16_t want,
                         struct ztna_addr *outer) {
  int rc = 0;
  for (unsigned i = 0; i < PORTS_TRIED; i++) {
    outer->port = (uint16_t)(i ? 1024 + (want + i * 7919u) % 64000 : want);
    if (add_port(q, own, outer->port, &rc)) return 0;
    if (rc != CONFLICT) return rc;
  }
  return rc;
}

/* False: try another. */
static bool ask_connection(struct portmap_question *q,
                           const struct ztna_addr *own, uint16_t want) {
  struct ztna_addr outer;
  char text[64] = "";
  int rc = UPNP_GetExternalIPAddress(q->control, q->service, text);
  if (rc != 0 || ztna_addr_parse(&outer, text) < 0) {
    snprintf(q->why, sizeof(q->why), "the router has no outer address");
    return false;
  }
  outer.port = want;
  if (!portmap_judge(q, &outer)) return false;
  q->outer.family = 0;
  if (!portmap_begins(q)) return true;
  rc = add_some_port(q, own, want, &outer);
  if (rc == 0) return portmap_judge(q, &outer);
  const char *what = strupnperror(rc);
  snprintf(q->why, sizeof(q->why), "the router refuses: %s (%d)",
           what ? what : "it does not say why", rc);
  return false;
}

/* --- routers */

static bool is_connection(const struct IGDdatas_service *s) {
  return strstr(s->servicetype, ":WANIPConnection:") ||
         strstr(s->servicetype, ":WANPPPConnection:");
}

static bool ask_urls(struct portmap_question *q, struct UPNPUrls *urls,
                     const struct IGDdatas *data,
                     const struct ztna_addr *router,
                     const struct ztna_addr *own, uint16_t want) {
  if (!is_connection(&data->first) ||
      !ssdp_url_is_at(urls->controlURL, router) ||
      strlen(urls->controlURL) >= sizeof(q->control) ||
      strlen(data->first.servicetype) >= sizeof(q->service))
    return false;
  snprintf(q->control, sizeof(q->control), "%s", urls->controlURL);
  snprintf(q->service, sizeof(q->service), "%s", data->first.servicetype);
  return ask_connection(q, own, want);
}

static bool ask_device(struct portmap_question *q, const char *url,
                       const struct ztna_addr *router,
                       const struct ztna_addr *own, uint16_t want) {
  struct UPNPUrls urls = {0};
  struct IGDdatas data = {0};
  char lan[64];
  if (!ssdp_url_is_at(url, router) ||
      UPNP_GetIGDFromUrl(url, &urls, &data, lan, sizeof(lan)) != 1)
    return false;
  bool done = ask_urls(q, &urls, &data, router, own, want);
  FreeUPNPUrls(&urls);
  if (done || !data.second.servicetype[0]) return done;
  memset(&urls, 0, sizeof(urls));
  data.first = data.second;
  GetUPNPUrls(&urls, &data, url, 0);
  done = ask_urls(q, &urls, &data, router, own, want);
  FreeUPNPUrls(&urls);
  return done;
}

static void ask(struct portmap_question *q) {
  uint16_t want = q->outer.family ? q->outer.port : q->bound.port;
  struct ztna_addr router, own;
  char url[PORTMAP_URL];
  q->outer.family = 0;
  if (portmap_route(q, &router, &own) < 0) return;
  /* Who was found before is asked at once. */
  if (q->control[0] && ssdp_url_is_at(q->control, &router) &&
      ask_connection(q, &own, want))
    return;
  q->control[0] = q->why[0] = 0;
  q->refused = false;
  if (!ssdp_find(&router, &own, url, sizeof(url)))
    snprintf(q->why, sizeof(q->why), "the router does not answer");
  else if (!ask_device(q, url, &router, &own, want) && !q->why[0])
    snprintf(q->why, sizeof(q->why), "the router's description is of no use");
}

static void remove_port(const struct portmap_question *q) {
  char port[8];
  snprintf(port, sizeof(port), "%u", q->outer.port);
  UPNP_DeletePortMapping(q->control, q->service, port, "UDP", NULL);
}

const struct portmap_protocol portmap_upnp = {"upnp", ask, remove_port};
