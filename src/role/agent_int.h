/* agent_int.h - what the files agent*.c share. */
#ifndef ZTNA_AGENT_INT_H
#define ZTNA_AGENT_INT_H

#include <ztna/agent.h>

#include "base/map.h"
#include "base/metrics.h"
#include "base/pool.h"
#include "base/time.h"
#include "codec/ip.h"
#include "part/flows.h"
#include "part/ipq.h"
#include "part/policy.h"
#include "role/path.h"
#include "role/direct.h"
#include "role/tcpflow.h"
#include "role/uplink.h"
#include "role/ways.h"

enum {
  ID_LEN = 16,
  ID_TEXT = 2 * ID_LEN + 1,
  SERVICES_MAX = 1024,
  LINKS_MAX = 64,
  FLOWS_MAX = 8192,
  POOL_PACKETS = 4096,
  OUT_BYTES = 1 << 20,  /* of packets waiting for the TUN */
  SEGMENTS_MAX = 1024,  /* of a UDP super-packet */
  HELD_MAX = 64 * 1024, /* bytes per service until it is open */
  FRAGS_MAX = 16,
  NETWORKS_MAX = 16,
  PATTERNS_MAX = 64,
  LEFT_MAX = 3,
  RELAYS_MAX = 16,
  RELAYS_HELD = 2,                   /* control connections at a time */
  LINK_DIRECT = 2 * DIRECT_FAMILIES, /* each may have an heir */
  LINK_RELAYED = WAYS_MAX - LINK_DIRECT,
};

/* What a service's use is waiting for. */
enum use {
  USE_NONE,    /* nobody asked for it yet */
  USE_ASKING,  /* POST /v1/grants is under way or waits for a relay */
  USE_OPENING, /* granted; waits for the path, or for `opened` */
  USE_OPEN,
  USE_REFUSED, /* until retry_at */
};

/* Where a service was before it moved to another connector. Its context stays
 * open there: for what was begun in it, and to come back to. */
struct left {
  struct link *link; /* NULL: none */
  uint16_t context;
  char grant[ID_TEXT], route[ID_TEXT];
  uint32_t epoch;
  bool serves; /* UDP and ICMP conversations that began there go on there */
};

struct service {
  char id[64];
  struct ztna_addr addrs[2]; /* v4, v6 */
  bool listed;               /* in the relay's last list */
  bool stranger;             /* was not, when a person asked about it */
  char state[16];            /* as the relay says: "up" */
  enum use use;
  bool asked;                          /* a request of ours is under way */
  char grant[ID_TEXT], route[ID_TEXT]; /* and by which route it came */
  struct link *link;
  uint16_t context;
  uint32_t epoch; /* counts connectors; conversations remember theirs */
  struct left left[LEFT_MAX];
  struct permission may; /* of the grant; limits and rule are not told */
  char rule[64];         /* its name, or as much of it */
  enum reason why;
  enum reason peer_why; /* a connector that serves it is not let in, */
  char peer[IDENTITY_SPIFFE_MAX + 1]; /* this one */
  uint64_t retry_at;
  unsigned n_refused; /* in a row */
  struct {            /* the last TCP connection that was refused */
    enum reason why;
    uint16_t port;
    uint64_t at;
  } tcp_refusal;
  uint64_t used_at; /* last packet of this machine */
  struct pktq held;
  struct agent_flow *tcp, *tcp_last; /* agent_flow.h, the oldest first */
};

/* One path of a link, over a relay or direct. */
struct agent_way {
  struct way way; /* the first member; path NULL: never used */
  struct link *link;
  uint8_t handle[HANDLE_LEN], peer_handle[HANDLE_LEN];
  uint64_t rtt;     /* relayed: connector to relay; direct: of the check; ns */
  uint64_t calm_at; /* silence counts from here at the earliest */
  uint64_t live_at; /* since then, when it is */
  bool dial_due;
  uint64_t dial_at; /* not before */
  unsigned n_failed;
  /* relayed */
  size_t relay;
  char route[ID_TEXT]; /* empty: none */
  char gone[ID_TEXT];  /* the one before: given back or closed */
  char *ticket;
  bool asked;      /* a request for a route of its own is under way */
  bool stale;      /* its relay was away: does it still know the route? */
  uint64_t ask_at; /* not before */
  struct ztna_addr observed; /* where the relay sees the connector */
  uint64_t heard;            /* packets of the relay when our address changed */
  uint64_t held_until;       /* 0: its packets leave */
  uint64_t given_at;         /* its route */
  /* its renewal: agent_renew.c, agent_direct_renew.c */
  struct agent_way *heir; /* the way that takes its place; NULL: none yet */
  bool fresh;             /* is an heir, whose time has not come */
  bool renewing;
  uint64_t renew_at;
  uint64_t next_at;            /* the next service is not asked for before */
  uint64_t give_up_at;         /* what is not done by then */
  uint64_t again_after;        /* that */
  uint64_t leave_at, leave_by; /* when the heir is in its place */
  /* direct */
  struct ztna_addr remote;
  uint16_t sock; /* heirs share it */
  int family;
  uint8_t next_handle[HANDLE_LEN]; /* own, of the heir to come */
  bool over;                       /* its connection is gone */
};

/* The association with one connector. */
struct link {
  struct ztna_agent *owner;
  char connector[IDENTITY_SPIFFE_MAX + 1];
  char id[ID_TEXT]; /* of the link, from hello; empty: none yet */
  struct ways ways;
  struct agent_way relayed[LINK_RELAYED], direct[LINK_DIRECT];
  struct path *path; /* the one in use, or to be; never NULL */
  struct direct *search;
  uint16_t next_context;
  uint64_t told_at;    /* that the connector's certificate was exchanged */
  uint64_t outdone_at; /* last time that paths ended with a CA, and were made
                          anew at once */
  struct {             /* its certificate is not taken: agent_peer.c */
    enum reason why;
    uint64_t until;
    unsigned n; /* in a row */
  } out;
  uint64_t doubt_at;     /* next time that the relay is asked for another one */
  uint64_t unused_since; /* its services have left; 0: one uses it */
};

struct frag {
  struct ztna_addr src, dst;
  uint32_t id;
  uint64_t until;
};

struct agent_counters {
  uint64_t n_ip_in, n_ip_out, n_held, n_services, n_links, n_flows;
  uint64_t n_grants, n_redials, n_renewed, n_direct_renewed;
  uint64_t n_tcp_flows, n_tcp_held; /* now */
  uint64_t n_tcp_opened, tcp_refused[REASON_N];
  uint64_t drops[REASON_N];
};

struct ztna_agent {
  struct tls *tls;
  struct rng rng;
  struct quic *quic;
  struct pool pool;
  struct flows *flows;
  char trust_domain[IDENTITY_SPIFFE_MAX + 1]; /* the tls may be another */
  struct uplink **uplinks;
  size_t n_uplinks;
  bool held[RELAYS_MAX];     /* connected, or tried */
  json_t *lists[RELAYS_MAX]; /* what each relay said last of services */
  size_t current;            /* the one that is asked for services */
  bool up;                   /* it is connected, addresses are known */
  struct outside outside;
  struct direct_common direct;
  bool listed; /* a relay said which services there are */
  char *patterns[PATTERNS_MAX];
  size_t n_patterns;
  struct ztna_prefix networks[NETWORKS_MAX];
  size_t n_networks;
  uint16_t mtu;
  char instance[ID_TEXT];
  struct ztna_addr addrs[2];
  uint32_t generation;
  struct service *services[SERVICES_MAX];
  size_t n_services;
  struct map by_addr; /* family + address -> service */
  struct link *links[LINKS_MAX];
  struct frag frags[FRAGS_MAX];
  unsigned next_frag;
  struct ipq out;            /* for the TUN */
  bool offload, offload_udp; /* super-packets it takes: TCP's, UDP's */
  struct tcpflow_common tcp;
  struct agent_socks *socks; /* agent_sock.c; NULL: none was opened yet */
  struct agent_tcp *tcps;    /* agent_tcp.c; the same */
  struct agent_udp *udp;     /* agent_udp.c; the same */
  uint64_t sweep_at;
  uint64_t flows_at; /* next agent_flows_tick that does something */
  uint64_t now;
  uint32_t epoch; /* of services, the last one given */
  bool stopping;
  struct agent_counters counters;
  struct path_totals gone; /* counts of paths that are not there any more */
};

/* agent_service.c */
void agent_services_take(struct ztna_agent *a, json_t *list);
struct service *agent_service_by_addr(struct ztna_agent *a,
                                      const struct ztna_addr *addr);
/* By its id, or by one of its addresses as text. */
struct service *agent_service_named(struct ztna_agent *a, const char *name);
void agent_service_want(struct ztna_agent *a, struct service *s);
/* What is open stays as it is, whatever the answer. */
void agent_service_ask_again(struct ztna_agent *a, struct service *s);
/* A relay that cannot help, for this reason, does not end what works without
 * it. */
bool agent_service_goes_on(const struct service *s, enum reason why);
/* What `ztna status` says of it. */
json_t *agent_service_status(const struct ztna_agent *a,
                             const struct service *s);
void agent_service_hold(struct ztna_agent *a, struct service *s,
                        const uint8_t *ip, size_t len);
void agent_service_flush(struct service *s, struct link *l);
void agent_service_refuse(struct ztna_agent *a, struct service *s,
                          enum reason why);
void agent_service_lost(struct ztna_agent *a, struct service *s);
/* Its connector is not reached although the relay answers: asks the relay for
 * another one. */
void agent_service_doubt(struct ztna_agent *a, struct service *s);
/* Its grant may be gone, though it is open: asks for one. */
void agent_service_ask(struct ztna_agent *a, struct service *s);
void agent_services_resume(struct ztna_agent *a);
void agent_services_tick(struct ztna_agent *a, uint64_t now);
void agent_services_free(struct ztna_agent *a);
bool agent_address_acceptable(const struct ztna_agent *a,
                              const struct ztna_addr *v);

/* agent_move.c */
/* Leaves its connector, whose context stays open; serves: UDP and ICMP
 * conversations go on there. */
void agent_service_leave(struct service *s, bool serves);
/* Back to where it had this grant, if that context is still open. */
bool agent_service_come_back(struct service *s, const char *grant);
/* The relay says that its connector takes nothing new, while another one does.
 */
void agent_service_move(struct ztna_agent *a, struct service *s,
                        enum reason why);
/* Why it takes no new flows although it is open, or NONE. */
enum reason agent_service_obstacle(const struct service *s);
/* Where conversations of this epoch go on; NULL: where the service is now. */
const struct left *agent_service_left(const struct service *s, uint32_t epoch);
/* It was there in this context; NULL: it was not. */
struct left *agent_service_has_left(struct service *s, const struct link *l,
                                    uint64_t context);
/* The link's contexts are gone. */
void agent_service_forget_link(struct service *s, const struct link *l);

/* agent_relay.c */
int agent_relays_make(struct ztna_agent *a,
                      const struct ztna_agent_config *cfg);
void agent_relays_tick(struct ztna_agent *a, uint64_t now);
uint64_t agent_relays_deadline(const struct ztna_agent *a);
/* The one that is asked for services; it need not be up. */
struct uplink *agent_relay(const struct ztna_agent *a);
size_t agent_relay_index(const struct ztna_agent *a, const struct uplink *u);

/* agent_link.c */
/* NULL: there is none. */
struct link *agent_link_named(const struct ztna_agent *a,
                              const char *connector);
/* An answer to POST /v1/grants of this relay. */
struct link *agent_link_take(struct ztna_agent *a, size_t relay,
                             json_t *granted);
/* Nothing is known of the other side any more: what is in use is asked for. */
void agent_link_lost(struct link *l, enum reason why);
/* Services that have moved on do not come back there. */
void agent_link_forget_contexts(struct link *l);
bool agent_link_is_in_use(const struct link *l);
/* `opened` of a service is still to come. */
bool agent_link_is_waiting(struct link *l);
bool agent_link_has_route(const struct link *l);
extern const struct ways_ops agent_ways_ops;
void agent_links_tick(struct ztna_agent *a, uint64_t now);
void agent_links_free(struct ztna_agent *a);
void agent_links_close(struct ztna_agent *a, enum reason why);
void agent_links_status(const struct ztna_agent *a, json_t *into);

/* agent_talk.c */
/* Opens the service's context as soon as a path is there. */
void agent_link_open(struct link *l, struct service *s);
/* It is open, and another relay or route grants it now, too. */
void agent_link_rebind(struct link *l, struct service *s);
/* The same for the context that it left there. */
void agent_link_rebind_left(struct link *l, const struct service *s,
                            const struct left *x);
/* On another path what is in use is opened anew: all, or what is not open yet.
 */
void agent_link_reopen(struct link *l, struct path *p, bool all);
/* A path is live that may be the only one: hello, and contexts anew. */
void agent_link_greet(struct link *l, struct agent_way *w);
int agent_link_message(struct link *l, struct agent_way *w, json_t *m);
void agent_link_packet(struct link *l, uint64_t context, const uint8_t *ip,
                       size_t len);

#define each_service(a, l, s)                     \
  for (size_t i_ = 0; i_ < (a)->n_services; i_++) \
    if ((s = (a)->services[i_])->link == (l))

/* agent_way.c */
/* Its path exists from here on. ZTNA_ENOMEM. */
int agent_way_make(struct link *l, struct agent_way *w, enum way_kind kind);
struct agent_way *agent_way_of(struct link *l, const struct path *p);
bool agent_way_is_used(const struct agent_way *w);
/* In the order of their use: link's ways one by one; NULL behind the last. */
struct agent_way *agent_way_at(struct link *l, size_t i);
void agent_way_tick(struct agent_way *w, uint64_t now);
void agent_way_free(struct agent_way *w);
void agent_way_dial(struct agent_way *w);

/* agent_route.c: ways over relays */
struct agent_way *agent_route_take(struct link *l, size_t relay, json_t *j);
/* The answer is about a route that ended while it was on its way; true once. */
bool agent_route_is_gone(struct ztna_agent *a, json_t *granted);
/* The relay sees the connector at another address. */
void agent_route_observed(struct ztna_agent *a, size_t relay, json_t *e);
void agent_route_closed(struct ztna_agent *a, size_t relay, json_t *e);
/* What resumes it at this relay; NULL: nothing. */
const char *agent_route_ticket(struct link *l, size_t relay);
/* Has the relay end a route; what is no id is left alone. The other end is told
 * `revoked` when that is why, else `idle`. */
void agent_route_delete(struct ztna_agent *a, size_t relay, const char *route,
                        enum reason why);
/* The way's route, likewise. */
void agent_route_give_back(struct agent_way *w, enum reason why);
void agent_routes_tick(struct link *l, uint64_t now);
/* This relay is gone: paths over it are left before a packet is lost there. */
void agent_routes_doubt(struct ztna_agent *a, size_t relay);
/* That relay is revoked: its routes carry nothing more. */
void agent_routes_end(struct ztna_agent *a, size_t relay, enum reason why);
/* This relay came back: silence so far was its, not the paths'. */
void agent_routes_calm(struct ztna_agent *a, size_t relay);
/* Our address may be another one: nothing over relays before they know it. */
void agent_routes_hold(struct ztna_agent *a, uint64_t now);
void agent_route_check_silence(struct agent_way *w, uint64_t now);

/* agent_renew.c: routes get others in their places, with other handles */
/* This way has another route than before. */
void agent_renew_given(struct agent_way *w);
/* The renewal under way is given up; another is tried after that. */
void agent_renew_fail(struct agent_way *w, uint64_t again_after);
/* Who sees our packets has not seen them before: let them be no known ones. */
void agent_renew_soon(struct ztna_agent *a, uint64_t now);
void agent_renew_tick(struct link *l, uint64_t now);
/* Seconds until then; 0: it is on its way, or there is no route. */
int agent_renew_in(const struct agent_way *w);
/* A tenth more or less. */
uint64_t agent_renew_jittered(struct ztna_agent *a, uint64_t span);
/* It is in another's place since a moment ago, and that one is still there. */
bool agent_renew_is_heir(const struct agent_way *w);

/* agent_cert.c: certificates that are exchanged, or run out */
/* Decides when this way gets an heir for its certificates' sake: when it is
 * live, when the own certificate was exchanged, and when an attempt failed. */
void agent_cert_plan(struct agent_way *w, bool failed);
/* The connector says that its certificate was exchanged. */
void agent_cert_told(struct link *l);
/* w, which has taken another's place at `since`, is due itself: the other one,
 * on which nothing is left if it is empty, should go now. */
bool agent_cert_hurries(const struct agent_way *w, uint64_t since, bool empty);

/* agent_peer.c: connectors whose certificate is not taken */
/* A certificate is the matter: to ask again changes nothing soon. */
bool agent_peer_is_final(enum reason why);
void agent_peer_put_out(struct link *l, enum reason why);
bool agent_peer_is_out(const struct link *l);
void agent_peer_in(struct link *l); /* it is let in */
/* Other lists, other CAs: all may be tried at once. */
void agent_peers_forget(struct ztna_agent *a);
/* An answer to POST /v1/grants: NONE, or why it is of no use. */
enum reason agent_peer_judge(struct ztna_agent *a, size_t relay,
                             json_t *granted);
/* Whom a relay should not choose; NULL: nobody is left out. */
json_t *agent_peers_out(const struct ztna_agent *a);

/* agent_direct.c */
void agent_direct_want(struct link *l, uint64_t now);
int agent_direct_message(struct link *l, json_t *m);
void agent_direct_joined(struct link *l, struct agent_way *w);
void agent_direct_suspect(struct link *l);
void agent_direct_ended(struct link *l, struct agent_way *w);
/* quiet: nothing has come for a while, though it had before. */
void agent_direct_check_silence(struct agent_way *w, bool quiet, uint64_t now);
void agent_direct_free(struct link *l);
/* Its socket is given back unless another way lives on it. */
void agent_direct_release(struct agent_way *w);
/* Where one is put that has no place yet; NULL: all are taken. */
struct agent_way *agent_direct_place(struct link *l);

/* agent_direct_renew.c: direct paths get others in their places */
void agent_direct_renew_tick(struct link *l, uint64_t now);
/* The connector's answer. <0: malformed. */
int agent_direct_another(struct link *l, struct agent_way *w, json_t *m);

/* agent_packet.c */
void agent_packet_to_tun(struct ztna_agent *a, struct service *s,
                         const uint8_t *ip, size_t len);
void agent_packet_error(struct ztna_agent *a, enum ip_error err, uint32_t mtu,
                        const uint8_t *about, size_t len);
enum ip_error agent_packet_error_of(enum reason why);
void agent_drop(struct ztna_agent *a, enum reason why);

#endif
