/* reass.h - reassembly of inner IP fragments (RFC 791, RFC 8200 4.5), bounded:
 * at most 16 packets under way per table, 65535 bytes each as far as they fit
 * a bound in all, 2 s each; overlaps drop the whole packet (RFC 5722). */
#ifndef ZTNA_REASS_H
#define ZTNA_REASS_H

#include "codec/ip.h"

struct reass;

/* max_bytes: of all fragments held, in blocks of 256. NULL: no memory. */
struct reass *reass_new(size_t max_bytes);
void reass_free(struct reass *r);
/* A fragment (kind IP_FRAGMENT) as parsed from its bytes. Returns the length of
 * the whole packet, now in *whole (valid until the next call), 0 when more is
 * needed, or ZTNA_EMALFORMED (dropped with the packet it is of, and so is what
 * still comes of that) / ZTNA_EFULL (the same, or 16 are under way). The whole
 * packet has its header mended (no fragment fields, v4 checksum right) and is
 * not yet judged: parse it. */
int reass_put(struct reass *r, const struct ip_pkt *p, const uint8_t *data,
              uint64_t now, const uint8_t **whole);
/* Forgets what is too old; returns how many packets were given up for their age
 * since the last tick. reass_put forgets too, so that ticking late is safe. */
int reass_tick(struct reass *r, uint64_t now);
uint64_t reass_deadline(const struct reass *r);

#endif
