/* probe_verdict.h - from what a network does to packets to what its user may
 * expect with each kind of peer. */
#ifndef ZTNA_HOST_PROBE_VERDICT_H
#define ZTNA_HOST_PROBE_VERDICT_H

#include "part/nat.h"

/* Of a machine's network, in the order of what it costs to get in. */
enum probe_class {
  PROBE_OPEN,            /* public, full cone, or with a port mapping */
  PROBE_RESTRICTED,      /* whose address was written to */
  PROBE_PORT_RESTRICTED, /* and whose port; a stateful firewall, too */
  PROBE_SEQUENTIAL,      /* another port per peer, which can be foretold */
  PROBE_RANDOM,          /* and cannot */
  PROBE_BLOCKED,         /* no UDP */
  PROBE_UNKNOWN,         /* how it maps could not be found out */
};
enum { PROBE_PEERS = PROBE_UNKNOWN }; /* classes that a peer may be of */

enum probe_outcome {
  PROBE_DIRECT,
  PROBE_SEARCH,  /* direct after a search by ports */
  PROBE_RELAYED, /* stays on the relay */
  PROBE_UNSURE,
};

const char *probe_class_name(enum probe_class c); /* "port-restricted" */
const char *probe_outcome_name(enum probe_outcome o);

/* mapped: a router forwards a public port to this machine. */
enum probe_class probe_class_of(const struct nat_view *v, bool udp,
                                bool mapped);
enum probe_outcome probe_outcome_of(enum probe_class own,
                                    enum probe_class peer);
/* Direct with a peer behind the usual home router, be it after a search. */
bool probe_is_direct(enum probe_class own);
/* What to expect, in a sentence. */
const char *probe_sentence(enum probe_class own);

#endif
