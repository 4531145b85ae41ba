/* cubic.h - a bulk TCP flow as kernels send it today, for a bottleneck to be
 * shared with: CUBIC (RFC 9438, no HyStart), recovery by SACK with loss told by
 * the time of sending as RACK does (RFC 8985), an initial window of 10, a
 * 200 ms floor of the retransmission timer, an acknowledgement for every second
 * segment. No tail loss probe and no pacing. Its segments are 1500 bytes as IP
 * packets. */
#ifndef ZTNA_TESTS_CUBIC_H
#define ZTNA_TESTS_CUBIC_H

#include "sim/net.h"

struct cubic;

/* From one host to another, both its alone. Begins now and never ends. */
struct cubic *cubic_new(struct vnet_host *from, struct vnet_host *to);
/* After the network: timers that are under way know it. */
void cubic_free(struct cubic *c);
/* Sends no new segments any more. */
void cubic_stop(struct cubic *c);

struct cubic_stats {
  uint64_t bytes; /* payload received in order */
  uint64_t n_segments, n_again, n_recoveries, n_timeouts;
  double cwnd; /* segments */
  uint64_t srtt;
};

void cubic_stats(const struct cubic *c, struct cubic_stats *to);

#endif
