/* connector_int.h - what the files connector*.c share. */
#ifndef ZTNA_CONNECTOR_INT_H
#define ZTNA_CONNECTOR_INT_H

#include "base/audit.h"
#include "base/log.h"
#include "base/map.h"
#include "base/metrics.h"
#include "base/pool.h"
#include "base/time.h"
#include "codec/ip.h"
#include "part/flows.h"
#include "part/reass.h"
#include "role/connector.h"
#include "role/direct.h"
#include "role/outside.h"
#include "role/path.h"
#include "role/sock.h"
#include "role/uplink.h"
#include "role/ways.h"

enum {
  ID_LEN = 16,
  ID_TEXT = 2 * ID_LEN + 1,
  LINKS_MAX = 1024,
  LINK_GRANTS = 192, /* of all relays, and of a route that is renewed */
  LINK_CONTEXTS = 64,
  POOL_PACKETS = 4096,
  OPS_MAX = 1024,           /* backend operations waiting */
  REASS_BYTES = 256 * 1024, /* per link */
  LINK_HEADS = 64,          /* streams whose head has not come as a whole */
  OPENS_PER_SEC = 5000,     /* streams a link may begin ... */
  OPENS_BURST = 10000,      /* ... and at once */
  AGENT_LOST = 1024,        /* TCP flows of an agent that wait for a path */
  RULE_ROOM = 201,          /* of a rule's name in records */
};

struct backend_place {
  struct connector_backend how;         /* .to is ours */
  struct ztna_addr to[ZTNA_SOCK_ADDRS]; /* UDP uses the first */
  size_t n_to;
  bool stale;        /* it did not answer there: ask where it is */
  uint64_t asked_at; /* last; 0: never */
  bool moved;        /* by the reload under way */
};

struct service {
  char *id;
  struct backend_place *backends;
  size_t n_backends;
  char **agents;
  size_t n_agents;
  unsigned weight;
  struct health health;
  size_t check_backend;
  unsigned check_ops; /* CHECK_ bits that wait for the skin */
  uint64_t changed;   /* in which change its health was said last */
  bool kept;          /* by the reload under way */
};

/* What a relay was told of health and draining. */
struct announce {
  bool registered, busy; /* busy: a request of it is under way */
  bool stale;            /* the list of services: to be told again */
  uint64_t sent, told;   /* changes up to this one */
};

struct grant {
  char id[ID_TEXT];
  size_t relay;         /* index of the uplink: who gave it, and may end it */
  struct link_way *way; /* the route it came by; NULL: that is closed */
  struct service *service;
  struct permission may;
  struct ztna_addr addrs[2];
  uint64_t lease_at;    /* ends then unless renewed */
  bool missing;         /* from what the relay listed when it came back */
  char rule[RULE_ROOM]; /* of the policy, for records */
};

struct context {
  uint64_t number; /* 0: free */
  struct grant *grant;
};

/* What an identity has here beyond its links: TCP flows outlive them. */
struct tcp_agent {
  struct connector *owner;
  struct tcp_agent *next;
  char spiffe[IDENTITY_SPIFFE_MAX + 1];
  uint32_t n_links, n_flows, n_lost;
  uint64_t held; /* bytes its flows kept at the last sweep */
  struct splice *splices;
};

/* What records tell of a flow beside itself. */
struct audit_note {
  char serial[2 * IDENTITY_SERIAL_MAX + 1];
  char rule[RULE_ROOM];
  enum audit_path path;
};

/* The same of a conversation of UDP or ICMP, by its number. */
struct audit_talk {
  struct audit_note note;
  struct ztna_addr backend;
  uint64_t began_at;
  uint64_t packets_in, bytes_in, packets_out, bytes_out;
};

/* What was asked for; NULL: not known. */
struct audit_refusal {
  const char *service, *protocol;
  const struct ztna_addr *src, *dst;
};

/* A TCP flow, spliced to a backend: the user of its struct sock. */
struct splice {
  struct sock *sock;
  struct tcp_agent *agent;
  const struct service *service;
  struct ztna_addr src, dst, backend;
  uint64_t since;
  bool lost;
  struct audit_note audit;
  struct splice *next, **prev; /* of the agent */
};

/* A stream whose head has not come as a whole. */
struct tcp_head {
  struct link *link;
  struct stream *stream;
  struct tcp_head *next, **prev; /* of all, the oldest first */
  uint64_t until;
  size_t len;
  uint8_t data[FLOW_HEAD_MAX];
};

/* A way to an agent: the route of a relay, or a handle of ours for the direct
 * path. */
struct link_way {
  struct way way; /* the first member: link_way_of */
  struct link *link;
  bool dying; /* freed by the next tick */
  uint8_t handle[HANDLE_LEN], peer_handle[HANDLE_LEN];
  /* relayed */
  size_t relay; /* index of the uplink */
  char route[ID_TEXT];
  char *ticket;                /* hex, as the relay gave it */
  struct ztna_addr allowed[2]; /* tunnel addresses by the relay */
  struct ztna_addr observed;   /* where the relay sees the agent */
  unsigned n_grants;           /* that came by it */
  uint64_t held_until;         /* 0: its packets leave */
  uint64_t heard;              /* of its relay, when that began */
  /* direct */
  uint64_t until; /* it has to be live, or to have joined, by then */
  uint16_t sock;  /* dgram.h: the one it holds */
  int family;     /* of that */
  bool beside;    /* another one, which was there */
};

/* The association with one agent: one run of its program. */
struct link {
  struct connector *owner;
  uint32_t number; /* owner of its flows */
  char agent[IDENTITY_SPIFFE_MAX + 1];
  char instance[ID_TEXT]; /* as the agent told its relays, hex; may be empty */
  struct ways ways;
  struct path *path;         /* the one in use; NULL: there is none */
  struct direct *direct;     /* NULL: the agent did not ask yet */
  struct ztna_addr addrs[2]; /* as the agent said hello */
  struct reass *reass;
  uint8_t id[ID_LEN];
  bool dying;            /* freed by the next tick */
  uint64_t spared_until; /* without a grant: its relay is about to end it */
  struct grant *grants[LINK_GRANTS];
  unsigned n_grants;
  struct context contexts[LINK_CONTEXTS];
  uint32_t n_flows;
  struct tcp_agent *tcp;
  char serial[2 * IDENTITY_SERIAL_MAX + 1]; /* of its last certificate */
  enum audit_path last_path;
  enum reason last_end; /* of a grant */
  struct log_limit audit_limit;
  uint32_t n_heads, opens; /* tokens: streams it may begin now */
  uint64_t opens_at;
};

struct connector_counters {
  uint64_t n_tcp_flows, n_tcp_opened, n_proxy_headers;
  uint64_t tcp_refused[REASON_N], tcp_ended[REASON_N];
  uint64_t n_requests, n_refused, n_links, n_flows, n_opened;
  uint64_t n_to_backend, n_from_backend;
  uint64_t n_moves, n_failovers; /* of links from path to path */
  uint64_t drops[REASON_N];
};

struct op {
  struct backend_op op;
  struct pkt *k; /* its bytes; or: */
  uint8_t *big;  /* more than a pkt holds, malloc'd */
};

struct connector {
  struct connector_options o;
  struct quic *quic;
  struct pool pool;
  struct flows *flows;
  struct socks *socks;
  struct tcpflow_common tcp;
  struct map splices; /* by flow id */
  struct tcp_agent *tcp_agents;
  struct tcp_head *heads, **heads_end;
  uint64_t tcp_at; /* next tcp_tick that does something */
  struct log_limit tcp_refusals;
  struct log_limit give_backs; /* of grants that agents name and we lack */
  size_t n_stale;              /* backends */
  uint64_t ask_at;             /* none of them may be asked for before */
  struct service **services;   /* stable: grants, flows and TCP flows point */
  size_t n_services;
  struct uplink **uplinks;
  size_t n_uplinks;
  struct link *links[LINKS_MAX];
  size_t n_links; /* highest index in use + 1 */
  struct op *ops; /* ring */
  size_t op_head, n_ops;
  struct op lent;   /* the operation given last */
  uint8_t *scratch; /* a whole packet before it is fragmented */
  char instance[ID_TEXT];
  bool stopping;
  bool draining;
  uint64_t n_changes;         /* of health and draining */
  uint64_t drain_changed;     /* which of them was draining's last */
  uint64_t refuses_at;        /* draining refuses what is new from then on */
  struct announce *announces; /* one per uplink */
  uint64_t check_at;          /* next check_tick that does something */
  size_t n_check_ops;         /* services with check_ops */
  uint64_t now;
  uint64_t sweep_at; /* next link_tick that does something */
  struct connector_counters counters;
  struct outside outside;
  struct direct_common direct;
  struct path_totals gone; /* of links that ended */
  struct audit_queue audit;
  struct audit_talk *talks; /* by the number of a flow; NULL: not recorded */
};

/* connector_link.c */
/* The one of this run of the agent; NULL: there is none. */
struct link *link_find(struct connector *c, const char *agent,
                       const char *instance);
/* NULL: there is no room. */
struct link *link_new(struct connector *c, const char *agent,
                      const char *instance);
void link_free(struct link *l);
void link_tick(struct connector *c, uint64_t now);
/* The agent said so on this way. <0: malformed. */
int link_message(struct link_way *w, json_t *m);
/* To the agent, takes the reference: on the path in use or, when that does not
 * work, on all others. */
void link_say(struct link *l, json_t *m);
/* Is it the path of one of its ways that stay? */
bool link_has_path(const struct link *l, const struct path *p);
/* NULL: it is not open. */
const struct context *context_of(const struct link *l, uint64_t number);
/* Is it one of a pair of addresses, whatever its port? */
bool pair_has(const struct ztna_addr v[2], const struct ztna_addr *a);
void links_status(const struct connector *c, json_t *into);

/* connector_way.c */
/* What ways.h knows of it is its first member. */
static inline struct link_way *link_way_of(struct way *w) {
  return (struct link_way *)w;
}
static inline struct link_way *link_way_at(const struct link *l, size_t i) {
  return link_way_of(l->ways.v[i]);
}
extern const struct ways_ops link_ways_ops; /* ud: the link */
/* A path is accepted on this handle from now on. NULL: no memory, the handle is
 * in use, or the link has too many. */
struct link_way *link_way_new(struct link *l, enum way_kind kind,
                              const uint8_t handle[HANDLE_LEN],
                              const uint8_t peer_handle[HANDLE_LEN],
                              uint64_t rtt);
/* Says goodbye; freed by the next tick. */
void link_way_end(struct link_way *w, enum reason why);
/* Not out of a callback of its path. */
void link_way_free(struct link_way *w);
void link_ways_free(struct link *l);
void link_way_tick(struct link_way *w, uint64_t now);
void link_way_network_changed(struct link_way *w, uint64_t now);
json_t *link_way_status(const struct link_way *w);
void link_ways_metrics(const struct connector *c, struct sbuf *out);

/* connector_direct.c */
int connector_direct_init(struct connector *c);
void connector_direct_relay(struct connector *c, const struct uplink *u,
                            bool up);
/* <0: malformed. */
int link_direct_message(struct link *l, json_t *m);
/* The agent wants another connection beside this one. <0: malformed. */
int link_direct_another(struct link_way *w, json_t *m);
/* The link goes by relays only, from now on. */
void link_direct_end(struct link *l);
/* What became of the path of a direct way. */
void link_direct_live(struct link_way *w);
void link_direct_joined(struct link_way *w);
void link_direct_left(struct link *l);
/* It does not answer; or, quiet, nothing has come for a while. */
void link_direct_silent(struct link_way *w, bool quiet, uint64_t now);
void link_direct_release(struct link_way *w);
json_t *link_direct_status(const struct link *l);

/* connector_route.c */
void link_request(struct connector *c, struct uplink *u, json_t *e);
void link_observed(struct connector *c, const struct uplink *u, json_t *e);
void link_route_closed(struct connector *c, const struct uplink *u, json_t *e);
/* That relay is revoked: its routes and grants end. */
void links_by_relay_end(struct connector *c, const struct uplink *u,
                        enum reason why);
/* The relay is at this address now: its paths come from there. */
void link_follow(struct connector *c, const struct uplink *u);
/* Of this relay, for when it was restarted. */
json_t *link_tickets(const struct connector *c, const struct uplink *u);

/* connector_service.c */
int services_copy(struct connector *c, const struct connector_options *o);
void services_free(struct connector *c);
struct service *service_new(const struct connector_service *from);
void service_free(struct service *s); /* NULL is fine */
struct service *service_find(struct connector *c, const char *id);
bool service_admits(const struct service *s, const char *agent);
/* NULL: there is none. */
struct backend_place *service_backend(const struct service *s,
                                      unsigned protocol, uint16_t port);
/* Nothing answers there: its name should be looked up again. */
void service_lost(struct connector *c, struct backend_place *b);
json_t *service_json(const struct service *s);

/* connector_grant.c */
/* By whichever relay; NULL: the link has none of this id. */
struct grant *grant_find(const struct link *l, const char *id);
/* Does a rule of a policy limit the rate of what it grants? */
bool grants_limit_rate(const struct link *l);
/* Takes what the relay of this number says into a new or known grant of the
 * link. w: the route that it came by, NULL: as before. */
enum reason grant_take(struct link *l, size_t relay, struct link_way *w,
                       json_t *j);
/* We do not serve it to this agent any more; back: its relay does not know that
 * and is told. */
void grants_end(struct link *l, const struct service *s, enum reason why,
                bool back);
/* Their route was closed, and ends. */
void grants_leave(struct link_way *w, enum reason why);
/* All that this relay gave. */
void grants_by_relay_end(struct connector *c, size_t relay, enum reason why);
/* The certificate that a path of it came by is not let in any more. Unless
 * another one, or another path of the link, is, all that the agent has here
 * ends. */
void grants_put_out(struct link *l, enum reason why);
/* The agent names a grant that we do not have (any more). When its relay still
 * has it, the agent would be told of it for ever. */
void grant_unknown(struct link *l, const char *id);
/* grant-closed, grant-renewed, grant-changed. */
void grant_event(struct connector *c, const struct uplink *u, const char *event,
                 json_t *e);
/* After a (re)connection the relay names all its grants for us. */
void grants_sync(struct connector *c, const struct uplink *u, json_t *answer);
/* Ends those whose lease ran out. */
void grants_tick(struct link *l, uint64_t now);

/* connector_op.c */
/* A packet of the pool; when none is free, of the longest queue. NULL: none. */
struct pkt *connector_pkt(struct connector *c);
/* The place of a new operation; NULL: there is none. */
struct op *op_push(struct connector *c);
/* One with bytes, which are copied; dropped when there is no room. */
void op_data(struct connector *c, int kind, uint32_t flow, uint16_t seq,
             const uint8_t *data, size_t len);
void ops_free(struct connector *c);

/* connector_nat.c */
void nat_packet(struct link *l, uint64_t context, const uint8_t *ip,
                size_t len);
void nat_forget(struct link *l, enum reason why);
/* Ends what the service has, of this link or, NULL, of all. */
void nat_end(struct connector *c, const struct link *l, const struct service *s,
             enum reason why);
/* Its backends are others (moved) or gone. */
void nat_recheck(struct connector *c, const struct service *s);
void nat_tick(struct connector *c, uint64_t now);

/* connector_tcp.c */
/* The agent began a stream: takes it. joined: on a way that belongs to the
 * link. */
void tcp_stream(struct link *l, struct stream *s, bool joined);
void tcp_heads_tick(struct connector *c, uint64_t now);

/* connector_splice.c */
int splices_init(struct connector *c);
void splices_free(struct connector *c);
void splices_tick(struct connector *c, uint64_t now);
bool splices_are_too_fat(const struct connector *c);
void splices_stop(struct connector *c);
/* What an identity has here; a link holds it, and gives it back. */
struct tcp_agent *tcp_agent_get(struct connector *c, const char *spiffe);
void tcp_agent_put(struct tcp_agent *a);
/* The agent stopped: nobody comes back for its flows without a path. */
void splices_abandon(struct tcp_agent *a);
/* A flow that the head asks for, connecting to b. On failure the stream is as
 * it was. */
enum reason splice_new(struct link *l, const struct grant *g,
                       const struct backend_place *b, struct stream *s,
                       const struct flow_head *h, struct splice **made);
struct splice *splice_find(struct connector *c, const uint8_t id[FLOW_ID_LEN]);
/* It was lost and has a stream again. */
void splice_found(struct splice *v);
/* A relay took the permission back: the agent's flows to the service end. */
void splices_revoke(struct tcp_agent *a, const struct service *s,
                    enum reason why);
/* A grant for the service is gone or changed: flows that no grant covers any
 * more end; of those without a path only when lost_too. */
void splices_recheck(struct tcp_agent *a, const struct service *s,
                     enum reason why, bool lost_too);
void splices_metrics(const struct connector *c, struct sbuf *out);
json_t *splices_status(const struct link *l);

/* connector.c */
/* The whole list of services to a relay; first: on this connection. */
bool connector_register(struct connector *c, struct uplink *u, bool first);
/* Its number; n_uplinks: none of ours. */
size_t connector_relay_index(const struct connector *c, const struct uplink *u);

/* connector_check.c */
void check_start(struct connector *c, struct service *s,
                 const struct connector_service *how);
/* Another check, or the same at another place (elsewhere): begins anew. One
 * that is the same goes on. */
void check_change(struct connector *c, struct service *s,
                  const struct connector_service *how, bool elsewhere);
/* The service goes. */
void check_end(struct connector *c, struct service *s);
/* The list of services changed: told to every relay that is up. */
void check_services_changed(struct connector *c);
int check_init(struct connector *c, const struct connector_options *o);
void check_free(struct connector *c);
void check_tick(struct connector *c, uint64_t now);
/* A backend's address was set. */
void check_place(struct connector *c, struct service *s, size_t backend);
/* Why it takes no new flows, or NONE. */
enum reason check_obstacle(const struct connector *c, const struct service *s);
/* The relay is being told all at once (PUT /v1/connector), was, or is gone. */
void check_registering(struct connector *c, const struct uplink *u);
void check_registered(struct connector *c, struct uplink *u, bool ok);
void check_unregistered(struct connector *c, const struct uplink *u);
void check_metrics(const struct connector *c, struct sbuf *out);

/* connector_audit.c */
int connector_audit_init(struct connector *c);
void connector_audit_done(struct connector *c);
void audit_flow_begin(struct splice *v, const struct link *l,
                      const struct grant *g);
/* It goes on by this stream. */
void audit_flow_path(struct splice *v, const struct stream *s);
void audit_flow_end(const struct splice *v, enum reason why);
void audit_talk_begin(struct connector *c, uint32_t i, const struct grant *g,
                      const struct ztna_addr *backend);
void audit_talk_end(struct connector *c, uint32_t i, enum reason why);
static inline void audit_talk_in(struct connector *c, uint32_t i, size_t len) {
  if (!c->talks) return;
  c->talks[i].packets_in++;
  c->talks[i].bytes_in += len;
}
static inline void audit_talk_out(struct connector *c, uint32_t i, size_t len) {
  if (!c->talks) return;
  c->talks[i].packets_out++;
  c->talks[i].bytes_out += len;
}
/* The link's packets go by this way. */
void audit_link_path(struct link *l, const struct way *w);
/* By what was granted; rate-limited for each link. */
void audit_refused(struct link *l, const struct audit_refusal *what,
                   enum reason why);
void audit_path_refused(struct link_way *w, const struct identity *peer);

/* connector.c */
void connector_drop(struct connector *c, enum reason why);

#endif
