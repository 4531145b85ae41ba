/* relay.h - the relay: introduces agents to connectors by the control API
 * (docs/CONTROL_API.md) and forwards their packets without reading them. It
 * holds no key of a link: paths are QUIC connections between their ends. */
#ifndef ZTNA_ROLE_RELAY_H
#define ZTNA_ROLE_RELAY_H

#include <jansson.h>

#include "base/audit.h"
#include "base/metrics.h"
#include "part/policy.h"
#include "transport/quic.h"

struct relay;

struct relay_fixed_service { /* addresses by configuration */
  const char *id;
  const struct ztna_addr *addrs; /* at most one of each family, port 0 */
  size_t n_addrs;
};

/* Two sockets as they are bound, real ports, perhaps wildcard addresses: the
 * main one, and one that is STUN's alone and answers beside it (RFC 5780). */
struct relay_stun_pair {
  struct ztna_addr main, second;
};

struct relay_options {
  struct tls *tls;       /* lent; role relay */
  const struct rng *rng; /* lent */
  uint8_t state_key[32]; /* resets, Retry and tickets derive from it */
  struct ztna_prefix service_pool[2], agent_pool[2]; /* bits 0: none */
  const struct relay_fixed_service *services;        /* copied */
  size_t n_services;
  struct policy *policy; /* taken over; NULL: default deny */
  enum quic_retry retry;
  size_t max_connections, max_routes;
  uint64_t route_rate, route_burst; /* bytes/s and bytes; 0: no limit */
  const char *const *relays;        /* the fleet's others, copied */
  size_t n_relays;
  const struct relay_stun_pair *stun; /* copied; without any, there is neither
                                         OTHER-ADDRESS nor CHANGE-REQUEST */
  size_t n_stun;
  /* Of IPv4 and IPv6: two addresses of this machine that packets of all of
   * `stun` may come from and leave by; family 0: none. */
  struct ztna_addr stun_ips[2][2];
  int64_t unix_at_start; /* seconds since 1970 at `now` of relay_new */
  uint32_t ns_at_start;  /* what had gone by of that second */
  size_t audit;          /* records that may wait; 0: none is made */
};

/* NULL: no memory or no usable pool; logged. */
struct relay *relay_new(const struct relay_options *o, uint64_t now);
void relay_free(struct relay *r);

/* The four verbs (DESIGN 6). Bytes given to udp_in stay until next returned 0.
 */
void relay_udp_in(struct relay *r, uint64_t now, const struct dgram *d);
void relay_tick(struct relay *r, uint64_t now);
int relay_next(struct relay *r, uint64_t now, struct dgram *v, int max);
uint64_t relay_deadline(const struct relay *r);

/* Takes over a new policy; what it no longer allows ends at once (revoked),
 * control connections of who is revoked as well; what changed is told to
 * connectors (grant-changed). When a rule ends later, so does what it alone
 * allowed (not-allowed). */
void relay_set_policy(struct relay *r, struct policy *p, uint64_t now);
/* Another certificate of the same identity, other CAs or lists of revoked ones;
 * lent, the former may be freed. Connections, routes and grants stay, except
 * those of peers that are not let in any more: those end as if the policy had
 * revoked them, with the reason of the certificate. */
void relay_set_tls(struct relay *r, struct tls *t, uint64_t now);
/* See quic_set_retry_keys. */
void relay_set_retry_keys(struct relay *r,
                          const uint8_t (*keys)[QUIC_RETRY_KEY_LEN], size_t n);
/* Closes all control connections with shutting-down; done when stopped. */
void relay_stop(struct relay *r, uint64_t now);
bool relay_stopped(const struct relay *r);

/* What happened to whom, for the skin to fetch; empty without options.audit. */
struct audit_queue *relay_audit(struct relay *r);

/* True, or false and why as a reason: bound and not stopping. */
bool relay_ready(const struct relay *r, enum reason *why);
void relay_metrics(const struct relay *r, struct sbuf *out);
/* Members for `ztna status` are added to the object. */
void relay_status(const struct relay *r, json_t *status);

#endif
