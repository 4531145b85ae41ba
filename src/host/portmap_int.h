/* portmap_int.h - what the files portmap*.c share. A question is one exchange
 * with a router; these functions wait, and run in threads of their own. */
#ifndef ZTNA_HOST_PORTMAP_INT_H
#define ZTNA_HOST_PORTMAP_INT_H

#include <stdbool.h>
#include <stddef.h>
#include <ztna/addr.h>

enum {
  PORTMAP_LIFETIME = 3600, /* s, as asked for */
  PORTMAP_URL = 256,
};

struct portmap_question {
  struct ztna_addr bound; /* our socket; its address may be the wildcard */
  /* In: what is there, family 0: nothing. Out: what is there now. */
  struct ztna_addr outer;
  uint32_t lifetime; /* out: s that it is there; 0: until it is removed */
  bool refused;      /* out: the router has no outer address of use */
  char why[160];     /* out, when nothing is there */
  void *side;        /* whose question it is, for portmap_begins */
  /* UPnP: whom to ask to remove it */
  char control[PORTMAP_URL], service[128];
};

struct portmap_protocol {
  const char *name;
  void (*ask)(struct portmap_question *q);
  void (*remove)(const struct portmap_question *q);
};
extern const struct portmap_protocol portmap_natpmp, portmap_upnp;

/* Before the router is told to map: false when that is not wanted any more.
 * From then on the end of the program waits for it, so that nothing stays
 * behind. */
bool portmap_begins(struct portmap_question *q);
/* The router, and our address towards it. 0, or ZTNA_ENOENT and q->why: a
 * mapping is not possible or would change nothing. */
int portmap_route(struct portmap_question *q, struct ztna_addr *router,
                  struct ztna_addr *own);
/* Is it an address that the Internet reaches? Routers behind other NATs tell
 * theirs, and some tell nonsense. */
bool portmap_is_public(const struct ztna_addr *a);
/* Takes what a router told, outer.ip and outer.port, when it is of use; else
 * sets q->why and q->refused. */
bool portmap_judge(struct portmap_question *q, const struct ztna_addr *outer);

#endif
