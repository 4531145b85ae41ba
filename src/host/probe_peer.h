/* probe_peer.h - a rehearsal: an agent without a TUN opens a service as any
 * agent would, and each step is timed until a packet came back over a direct
 * path, or it is known that none will. It takes the place of an agent that runs
 * with the same certificate (which returns half a minute later). */
#ifndef ZTNA_HOST_PROBE_PEER_H
#define ZTNA_HOST_PROBE_PEER_H

#include <jansson.h>

#include "host/config.h"

/* Adds "peer" to the report (docs/PROBE.md). 0, *direct: there was a direct
 * path; or a ZTNA_E..., said to stderr or logged. */
int probe_peer(const struct config *c, const char *service, json_t *report,
               bool *direct);

#endif
