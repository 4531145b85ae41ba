/* metrics.h - counters and gauges of a role, as data: the role keeps plain
 * uint64_t members, a table names them, and the skin prints the table as
 * Prometheus text (version 0.0.4). Counting is one addition. */
#ifndef ZTNA_METRICS_H
#define ZTNA_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "base/sbuf.h"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_REASONS };

struct metric {
  const char *name; /* "ztna_relay_forwarded_packets_total" */
  const char *help;
  enum metric_type type; /* METRIC_REASONS: uint64_t[REASON_N], a counter per
                            reason with label reason="..." */
  size_t offset;         /* of the member in the role's counters struct */
};

/* table ends with a NULL name. base: the struct the offsets are into. */
void metrics_print(struct sbuf *out, const struct metric *table,
                   const void *base);

#endif
