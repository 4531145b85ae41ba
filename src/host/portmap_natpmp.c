/* portmap_natpmp.c - NAT-PMP (RFC 6886), which routers with PCP (RFC 6887)
 * mostly speak, too. The only home of libnatpmp. */
#include <errno.h>
#include <natpmp.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <ztna/err.h>

#include "host/clock.h"
#include "host/portmap_int.h"

enum {
  /* RFC 6886, 3.1 asks nine times, from 250 ms on, doubling: two minutes. Who
   * has not answered after four will not. */
  ANSWER_MS = 4000,
  REMOVE_MS = 250,
};

/* --- the way to the router */

int portmap_route(struct portmap_question *q, struct ztna_addr *router,
                  struct ztna_addr *own) {
  struct sockaddr_storage ss;
  socklen_t len = sizeof(ss);
  natpmp_t n;
  int rc = initnatpmp(&n, 0, 0);
  if (rc == 0) rc = getsockname(n.s, (struct sockaddr *)&ss, &len);
  if (rc == 0) {
    *router = ztna_addr_v4(&n.gateway, 0);
    rc = ztna_addr_from_sockaddr(own, &ss);
  }
  closenatpmp(&n);
  if (rc < 0) {
    snprintf(q->why, sizeof(q->why), "there is no IPv4 router");
    return ZTNA_ENOENT;
  }
  own->port = q->bound.port;
  if (!ztna_addr_is_unspecified(&q->bound) &&
      !ztna_addr_same_ip(&q->bound, own))
    snprintf(q->why, sizeof(q->why),
             "the router is not reached from where this listens");
  else if (portmap_is_public(own))
    snprintf(q->why, sizeof(q->why), "this machine's own address is public");
  else
    return 0;
  return ZTNA_ENOENT;
}

/* --- one exchange */

static const char *words(int rc) {
  switch (rc) {
  case NATPMP_TRYAGAIN:
    return "the router does not answer";
  case NATPMP_ERR_NOGATEWAYSUPPORT: /* ICMP port unreachable */
    return "the router does not have it";
  case NATPMP_ERR_NOTAUTHORIZED:
    return "switched off in the router, or not for us";
  case NATPMP_ERR_NETWORKFAILURE:
    return "the router has no outer address";
  case NATPMP_ERR_OUTOFRESOURCES:
    return "the router has no room for another mapping";
  case NATPMP_ERR_UNSUPPORTEDVERSION:
  case NATPMP_ERR_UNSUPPORTEDOPCODE:
    return "the router speaks another version";
  default:
    return "the exchange with the router failed";
  }
}

/* The answer to what was sent last. 0 or what the library says. */
static int await(natpmp_t *n, natpmpresp_t *r, uint64_t until) {
  for (;;) {
    struct timeval wait;
    uint64_t now = clock_now();
    if (now >= until) return NATPMP_TRYAGAIN;
    getnatpmprequesttimeout(n, &wait);
    int64_t ms = wait.tv_sec * 1000 + wait.tv_usec / 1000 + 1;
    int64_t left = (int64_t)((until - now) / MS + 1);
    struct pollfd p = {.fd = n->s, .events = POLLIN};
    poll(&p, 1, (int)(ms < 0 ? 0 : ms < left ? ms : left));
    int rc = readnatpmpresponseorretry(n, r);
    if (rc != NATPMP_TRYAGAIN) return rc;
  }
}

static int ask_address(natpmp_t *n, uint64_t until, struct ztna_addr *outer) {
  natpmpresp_t r = {0};
  int rc = sendpublicaddressrequest(n);
  if (rc >= 0) rc = await(n, &r, until);
  if (rc < 0) return rc;
  if (r.type != NATPMP_RESPTYPE_PUBLICADDRESS)
    return NATPMP_ERR_UNSUPPORTEDOPCODE;
  *outer = ztna_addr_v4(&r.pnu.publicaddress.addr, 1);
  return 0;
}

static int ask_port(natpmp_t *n, uint64_t until, uint16_t inner, uint16_t want,
                    uint32_t lifetime, struct portmap_question *q,
                    struct ztna_addr *outer) {
  natpmpresp_t r = {0};
  int rc =
      sendnewportmappingrequest(n, NATPMP_PROTOCOL_UDP, inner, want, lifetime);
  if (rc >= 0) rc = await(n, &r, until);
  if (rc < 0) return rc;
  if (r.type != NATPMP_RESPTYPE_UDPPORTMAPPING ||
      r.pnu.newportmapping.privateport != inner)
    return NATPMP_ERR_UNSUPPORTEDOPCODE;
  outer->port = r.pnu.newportmapping.mappedpublicport;
  q->lifetime = r.pnu.newportmapping.lifetime;
  return lifetime && !q->lifetime ? NATPMP_ERR_UNDEFINEDERROR : 0;
}

static void ask(struct portmap_question *q) {
  uint16_t want = q->outer.family ? q->outer.port : q->bound.port;
  uint64_t until = clock_now() + ANSWER_MS * MS;
  struct ztna_addr router, own, outer;
  natpmp_t n;
  q->outer.family = 0;
  if (portmap_route(q, &router, &own) < 0) return;
  int rc = initnatpmp(&n, 0, 0);
  if (rc == 0) rc = ask_address(&n, until, &outer);
  /* First, so that nothing is opened in a router where it is of no use. */
  if (rc == 0 && portmap_judge(q, &outer) && portmap_begins(q)) {
    q->outer.family = 0;
    rc = ask_port(&n, until, q->bound.port, want, PORTMAP_LIFETIME, q, &outer);
    if (rc == 0) portmap_judge(q, &outer);
  }
  if (rc < 0) snprintf(q->why, sizeof(q->why), "%s", words(rc));
  closenatpmp(&n);
}

static void remove_port(const struct portmap_question *q) {
  struct portmap_question dummy;
  struct ztna_addr none;
  natpmp_t n;
  if (initnatpmp(&n, 0, 0) == 0)
    ask_port(&n, clock_now() + REMOVE_MS * MS, q->bound.port, 0, 0, &dummy,
             &none);
  closenatpmp(&n);
}

const struct portmap_protocol portmap_natpmp = {"nat-pmp", ask, remove_port};
