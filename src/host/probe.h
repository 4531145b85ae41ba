/* probe.h - what this machine's network allows, found out by asking relays and
 * STUN servers, nobody else. The report is JSON (docs/PROBE.md, schema
 * ztna.probe/1); probe_print shows the same to people. */
#ifndef ZTNA_HOST_PROBE_H
#define ZTNA_HOST_PROBE_H

#include <jansson.h>

#include "base/sbuf.h"
#include "base/time.h"
#include "transport/tls.h"

enum { PROBE_TARGETS = 16 };

struct probe_target {
  const char *name; /* "host:port" */
  bool relay;       /* else a plain STUN server */
};

struct probe_options {
  struct tls *tls; /* lent; NULL: STUN only, also with relays */
  struct probe_target targets[PROBE_TARGETS];
  size_t n_targets;
  uint64_t timeout; /* ns, without lifetime */
  bool lifetime, hairpin;
  bool port_mapping; /* ask the router, too */
  /* Lifetime takes minutes: told what goes on. May be NULL. */
  void (*on_progress)(const char *text);
};

enum probe_result {
  PROBE_GOOD,        /* direct paths are possible, every relay answers */
  PROBE_DEGRADED,    /* relayed paths only, or a relay does not answer */
  PROBE_UNREACHABLE, /* no relay answers */
};

/* Runs it all. *report is the caller's to free. 0 or a ZTNA_E..., logged. */
int probe_run(const struct probe_options *o, json_t **report,
              enum probe_result *result);

/* One fact a line: `name: value (reason)`, aligned. A member x_why is the
 * reason of x; null is unknown, or not applicable. */
void probe_print(struct sbuf *out, const json_t *report);

#endif
