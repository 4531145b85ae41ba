/* route.h - a relay's forwarding: from handle to receiver, checked by source
 * address, limited by a token bucket, counted, sent on unchanged. Blind: it
 * looks at the handle and nothing behind it. No QUIC, no policy here. */
#ifndef ZTNA_ROUTE_H
#define ZTNA_ROUTE_H

#include "base/dgram.h"
#include "base/map.h"
#include "base/reason.h"

enum { ROUTE_HANDLE_LEN = 8, ROUTE_ID_LEN = 16 };

/* One end of a route, as the relay sees it. */
struct route_end {
  uint8_t handle[ROUTE_HANDLE_LEN]; /* names this end: packets to it carry it */
  struct ztna_addr remote;     /* its validated address; family 0: not known */
  struct ztna_addr local;      /* ours on which its control connection lives */
  uint64_t n_packets, n_bytes; /* sent to it */
  struct route *route;
};

struct route {
  uint8_t id[ROUTE_ID_LEN];
  struct route_end end[2];    /* 0 the agent, 1 the connector */
  uint64_t tokens, filled_at; /* 1/SEC bytes (so filling never rounds); ns */
  uint64_t rate, burst;       /* bytes/s, 0: no limit; as tokens */
  uint64_t last_at;           /* last packet forwarded */
  void *ud;                   /* the owner's */
};

struct route_stats {
  uint64_t n_packets, n_bytes, n_trains;
  uint64_t drops[REASON_N]; /* wrong-source, rate-limited, route-unknown (the
                               receiver's address, or a route deleted while
                               packets waited), packet-too-big */
  uint64_t n_overflows;     /* those of rate-limited that met a full queue */
  uint64_t n_routes;        /* gauge */
};

struct route_table;

/* rate: bytes/s per route in both directions together, 0 none; burst: bytes, at
 * least the largest packet, at most 16 GiB. NULL: no memory. */
struct route_table *route_table_new(size_t max_routes, uint64_t rate,
                                    uint64_t burst, const struct rng *rng);
void route_table_free(struct route_table *t);

/* Enters both ends' handles and fills the bucket. The route stays the caller's,
 * where it is, until route_del or route_table_free. 0, ZTNA_EEXIST (a
 * handle in use: mint another), ZTNA_EFULL, ZTNA_ENOMEM. */
int route_add(struct route_table *t, struct route *r);
/* For a route in the table: bytes/s in both directions together, when that is
 * less than the table's rate; 0: the table's again. What it may send at once
 * is a quarter of a second's worth, 64 KiB at least, but only 16 KiB at first,
 * enough for a handshake: who gets a route anew gains little. */
void route_limit(const struct route_table *t, struct route *r, uint64_t rate,
                 uint64_t now);
/* At once: nothing is forwarded afterwards. Trains of it that still wait in the
 * table are dropped and counted. A route that is not in the table is left. */
void route_del(struct route_table *t, struct route *r);
struct route_end *route_find(const struct route_table *t,
                             const uint8_t handle[ROUTE_HANDLE_LEN]);

/* One received dgram (a GRO batch of one source). Each segment is parsed and
 * checked on its own. Segments that belong to routes are queued where they lie
 * (neighbours with the same receiver and size become one train, order within a
 * route kept) or dropped with their reason counted; for every other segment
 * other() is called, which may add and delete routes and change addresses. The
 * bytes must stay until route_next has returned 0. */
void route_in(struct route_table *t, uint64_t now, const struct dgram *d,
              void (*other)(void *ud, uint64_t now, const struct dgram *seg),
              void *ud);
/* At most max trains, ECN bits copied. 0: drained. */
int route_next(struct route_table *t, struct dgram *v, int max);
const struct route_stats *route_stats(const struct route_table *t);

#endif
