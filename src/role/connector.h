/* connector.h - the connector: registers its services at relays, accepts paths
 * of agents on handles that it was told of, and forwards their UDP and ICMP
 * echo to backends. TCP flows are streams of the same paths, spliced to sockets
 * (DESIGN 3). */
#ifndef ZTNA_ROLE_CONNECTOR_H
#define ZTNA_ROLE_CONNECTOR_H

#include <jansson.h>
#include <ztna/sock.h>

#include "base/audit.h"
#include "base/dgram.h"
#include "base/sbuf.h"
#include "part/policy.h"
#include "role/connector_health.h"
#include "transport/quic.h"

struct connector;

struct connector_backend {
  unsigned protocol;   /* one PROTO_ bit of policy.h */
  uint16_t port;       /* as agents dial it; 0 for ICMP */
  bool proxy_protocol; /* TCP: begin with a PROXY header, version 2 */
  const char *to;      /* where, as text: another one is another place */
};

struct connector_service {
  const char *id;
  const struct connector_backend *backends;
  size_t n_backends;
  const char *const *agents; /* SPIFFE patterns; none: whomever relays grant */
  size_t n_agents;
  unsigned weight;
  struct health_rule check; /* every 0: none, always healthy */
  size_t check_backend;     /* index of the one that is checked */
  bool check_changed;       /* what is asked, since the last configuration */
};

struct connector_options {
  struct tls *tls;           /* lent; role connector */
  const struct rng *rng;     /* lent */
  const char *const *relays; /* "host:port" */
  size_t n_relays;
  const struct connector_service *services; /* copied */
  size_t n_services;
  uint32_t max_flows, max_flows_per_agent;         /* UDP and ICMP */
  uint32_t max_tcp_flows, max_tcp_flows_per_agent; /* 0: defaults */
  uint64_t max_buffered;    /* bytes kept for TCP flows; 0: 256 MiB */
  uint64_t connect_timeout; /* ns; 0: 5 s */
  uint64_t udp_idle_after;  /* ns */
  bool cubic;               /* congestion control instead of BBR */
  bool direct;              /* paths without a relay, too */
  size_t audit;             /* records that may wait; 0: none is made */
  /* Private networks where agents may be looked for, besides those of this
   * machine's interfaces; copied, the first 16. */
  const struct ztna_prefix *direct_networks;
  size_t n_direct_networks;
};

struct connector *connector_new(const struct connector_options *o,
                                uint64_t now);
void connector_free(struct connector *c);

/* From now on these services, numbered anew; ids are unique. 0, or ZTNA_ENOMEM:
 * nothing changed.
 *
 * Who is in both lists keeps grants, flows, health, and the addresses of
 * backends that are where they were; the others are asked for
 * (connector_wants_backend). TCP flows to a backend that moved or went run to
 * their end; UDP conversations stay with one that moved until it fails or they
 * fall silent, and end with one that went. Of agents that a service does not
 * admit any more all ends with not-allowed, of services that went with
 * no-such-service.
 *
 * The caller's checks that run go on under their services' new numbers; those
 * that changed are cancelled by an operation, those of services that went are
 * not. */
int connector_set_services(struct connector *c,
                           const struct connector_service *v, size_t n,
                           uint64_t now);

/* Another certificate of the same identity, other CAs or lists of revoked ones;
 * lent, the former may be freed. Control connections are made anew beside the
 * old ones, paths stay until agents have made others; those of peers that are
 * not let in any more end at once, flows with them. */
void connector_set_tls(struct connector *c, struct tls *t, uint64_t now);
/* The relay's addresses (host names are resolved outside). */
void connector_set_relay(struct connector *c, size_t relay,
                         const struct ztna_addr *v, size_t n, uint64_t now);
/* The index of a relay whose name should be resolved (again), or -1. */
int connector_wants_relay(struct connector *c);
/* Where a backend is: ZTNA_SOCK_ADDRS addresses at most (UDP uses the first);
 * none: not known, its users get backend-down. */
void connector_set_backend(struct connector *c, size_t service, size_t backend,
                           const struct ztna_addr *v, size_t n);
/* A backend that did not answer where it was: should its name be resolved
 * again? Each at most every 5 s. */
bool connector_wants_backend(struct connector *c, size_t *service,
                             size_t *backend);

/* This machine's own addresses, sorted, 32 at most, each with the port of the
 * UDP socket of its family. Told at the start and after each change. */
void connector_set_locals(struct connector *c, const struct ztna_local *v,
                          size_t n, uint64_t now);
/* Outer addresses that a router forwards to our v4 UDP socket because we asked
 * it to; n 0: none (any more). */
void connector_set_mapped(struct connector *c, const struct ztna_addr *v,
                          size_t n, uint64_t now);

/* Its addresses or routes changed: relays are asked, and direct paths looked
 * for anew. Behind connector_set_locals. */
void connector_network_changed(struct connector *c, uint64_t now);

void connector_udp_in(struct connector *c, uint64_t now, const struct dgram *d);
void connector_tick(struct connector *c, uint64_t now);
int connector_next(struct connector *c, uint64_t now, struct dgram *v, int max);
uint64_t connector_deadline(const struct connector *c);

/* --- backends: flows are numbers below max_flows --- */

struct backend_op {
  enum {
    BACKEND_OP_OPEN,      /* UDP socket connected to addr */
    BACKEND_OP_OPEN_PING, /* ping socket for addr */
    BACKEND_OP_SEND,
    BACKEND_OP_SEND_ECHO,
    BACKEND_OP_CLOSE,
  } kind;
  uint32_t flow;
  struct ztna_addr addr;
  uint16_t seq;
  const uint8_t *data;
  size_t len;
};

enum connector_backend_error { /* of a flow, as ICMP or the system said */
                               CONNECTOR_REFUSED,
                               CONNECTOR_UNREACHABLE,
                               CONNECTOR_PROHIBITED,
                               CONNECTOR_TOO_BIG,
};

/* The next operation; its bytes are lent until the next call. False: none. */
bool connector_backend_next(struct connector *c, struct backend_op *op);
void connector_backend_in(struct connector *c, uint64_t now, uint32_t flow,
                          const uint8_t *data, size_t len);
void connector_echo_in(struct connector *c, uint64_t now, uint32_t flow,
                       uint16_t seq, const uint8_t *data, size_t len);
void connector_backend_failed(struct connector *c, uint64_t now, uint32_t flow,
                              enum connector_backend_error kind, uint32_t mtu);

/* --- TCP: sockets are numbers below max_tcp_flows (ztna/sock.h) --- */

uint32_t connector_max_socks(const struct connector *c);
bool connector_sock_next(struct connector *c, struct ztna_sock_op *op);
void connector_sock_connected(struct connector *c, uint64_t now, uint32_t sock);
void connector_sock_failed(struct connector *c, uint64_t now, uint32_t sock,
                           enum ztna_sock_error why);
uint8_t *connector_sock_room(struct connector *c, uint32_t sock, size_t *room);
void connector_sock_read(struct connector *c, uint64_t now, uint32_t sock,
                         size_t n);
void connector_sock_eof(struct connector *c, uint64_t now, uint32_t sock);
int connector_sock_peek(struct connector *c, uint32_t sock,
                        struct ztna_sock_vec *v, int n);
void connector_sock_wrote(struct connector *c, uint64_t now, uint32_t sock,
                          size_t n);

/* --- health checks: one per service at a time --- */

struct connector_check_op {
  enum { CONNECTOR_CHECK_START, CONNECTOR_CHECK_CANCEL } kind;
  size_t service;
  struct ztna_addr addr; /* START: of its backend */
};

/* The next operation; time-outs are the core's. False: none. */
bool connector_check_next(struct connector *c, struct connector_check_op *op);
/* The result; error: in words, NULL: it passed. One that comes after CANCEL
 * counts for nothing. */
void connector_check_done(struct connector *c, uint64_t now, size_t service,
                          const char *error);

/* What happened to whom, for the skin to fetch; empty without options.audit. */
struct audit_queue *connector_audit(struct connector *c);

/* Takes no new flows (or again); those that are there go on. */
void connector_set_draining(struct connector *c, bool on, uint64_t now);
bool connector_is_draining(const struct connector *c);
/* No TCP flow is left; UDP has no ends to wait for. */
bool connector_is_drained(const struct connector *c);

void connector_stop(struct connector *c, uint64_t now);
bool connector_stopped(const struct connector *c);
bool connector_ready(const struct connector *c, enum reason *why);
void connector_metrics(const struct connector *c, struct sbuf *out);
void connector_status(const struct connector *c, json_t *status);

#endif
