/* relay_int.h - what the files relay*.c share. Nobody else includes it.
 *
 *   session   one control connection               relay_session.c
 *   party     an identity and what is kept of it   relay_party.c
 *   service   what agents ask for, and the offers  relay_registry.c
 *   meeting   a route with its two parties         relay_meeting.c
 *   grant     a lease on one service               relay_grant.c
 *   ask       a grant that waits for a connector   relay_ask.c
 *   revival   a route that tickets bring back      relay_resume.c
 *   stun      answers to STUN requests             relay_stun.c
 *   audit     records for the audit log            relay_audit.c
 *   limit     what one identity may ask for        relay_limit.c
 *
 * A party owns its meetings, offers and asks; a meeting its grants. */
#ifndef ZTNA_ROLE_RELAY_INT_H
#define ZTNA_ROLE_RELAY_INT_H

#include <string.h>
#include <sys/queue.h>

#include <ztna/err.h>

#include "base/audit.h"
#include "base/bucket.h"
#include "base/heap.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/map.h"
#include "base/time.h"
#include "part/addrpool.h"
#include "part/route.h"
#include "role/relay.h"
#include "transport/h3.h"

enum {
  RELAY_ID_LEN = 16,
  RELAY_HEX_ID = 2 * RELAY_ID_LEN + 1,
  RELAY_HEX_HANDLE = 2 * HANDLE_LEN + 1,
  RELAY_FAMILIES = 2,
  RELAY_GRANTS = 64,     /* of one agent, waiting ones too */
  RELAY_OFFERS = 1024,   /* services of one connector */
  RELAY_PORTS = 64,      /* of one offer */
  RELAY_SERVICES = 4096, /* known to a relay */
  RELAY_TRIES = 3,       /* connectors asked for one grant */
  RELAY_REFUSED = 8,     /* connectors that a request may pass over */
  RELAY_DOUBTS = 2,      /* unanswered probes of a doubted connector */
  RELAY_TICKETS = 1024,  /* in one registration */
  RELAY_REQUESTS = 50,   /* per second and identity */
  RELAY_SESSIONS = 8,    /* control connections of one identity */
  RELAY_JSON_DEPTH = 16,
  RELAY_SERVICE_ID = 63,   /* characters */
  RELAY_TICKET_MAX = 1536, /* hex digits, NUL */
};

#define RELAY_LEASE (300 * SEC)
#define RELAY_KEEP (30 * SEC)    /* a party that went without bye */
#define RELAY_RETIRED (30 * SEC) /* what it was asked may still be answered */
#define RELAY_ANSWER (500 * MS)  /* of a connector that was asked */
#define RELAY_HEARTBEAT (15 * SEC)
#define RELAY_PROBE (5 * SEC)        /* is a connector still there? */
#define RELAY_PROBE_BUSY SEC         /* while a request waits for it */
#define RELAY_DOUBT (200 * MS)       /* between probes of a doubted one */
#define RELAY_RESUME_WAIT (3 * SEC)  /* for the connector's ticket */
#define RELAY_RESUME_KEEP (60 * SEC) /* one end's ticket for the other */
#define RELAY_COALESCE (20 * MS)     /* changes told to agents as one */
#define RELAY_MUTE (30 * SEC)        /* who asks for nothing may stay */

struct relay_timer { /* zero-initialised inside its owner */
  struct heap_node node;
  void (*on)(struct relay *r, struct relay_timer *t);
};
#define TIMER_OWNER(t, type, member) \
  ((struct type *)(void *)((char *)(t)-offsetof(struct type, member)))

STAILQ_HEAD(ask_queue, ask);

struct session { /* idle ones are many: small */
  struct relay *relay;
  struct h3 *h3;
  struct party *party; /* NULL: not ready, or an admin */
  LIST_ENTRY(session) all, of_party, of_ip;
  struct h3_req *events; /* NULL: nobody reads */
  uint64_t n_lines;
  uint64_t began_at, heartbeat_at, probe_at;
  uint64_t over_at;        /* of a retired one; NEVER */
  uint64_t n_recv;         /* packets, at the last probe */
  struct bucket requests;  /* of an admin; others share their party's */
  struct ztna_addr remote; /* last validated */
  uint8_t n_unanswered;    /* probes */
  enum role role;
  bool asked; /* a request came */
  bool admitted, closing;
  bool declared; /* said its instance: speaks for the program */
  bool retired;  /* another connection of its program took over */
  bool refusal_logged;
  bool is_known; /* to the STUN server, by its address */
  struct relay_timer timer;
};

struct party {
  uint8_t key[RELAY_ID_LEN];
  char *spiffe;
  enum role role; /* agent or connector */
  bool has_instance;
  uint8_t instance[RELAY_ID_LEN];
  struct session *session; /* speaks for it; NULL: it went away */
  LIST_HEAD(, session) sessions;
  LIST_ENTRY(party) all;
  LIST_HEAD(, meeting) meetings;
  size_t n_meetings;
  struct relay_timer keep;
  uint8_t *chain; /* certificates it was last let in by, while it is away */
  size_t chain_len;
  struct policy_serial serial;  /* of the certificate last used */
  struct log_limit audit_limit; /* of its refusals */
  struct bucket requests, new_grants;
  /* agents */
  struct ztna_addr addrs[RELAY_FAMILIES];
  size_t n_addrs;
  LIST_HEAD(, ask) asks;
  size_t n_grants; /* and asks */
  uint64_t told;   /* hash of the services it knows of */
  bool told_to_move;
  /* connectors */
  struct offer *offers;
  size_t n_offers;
  bool draining; /* takes no new flows */
};

struct offer { /* a service of a connector */
  struct service *service;
  struct party *connector;
  LIST_ENTRY(offer) of_service;
  unsigned protocols;
  uint16_t weight;
  int32_t credit; /* of the weighted choice */
  bool up;
  uint8_t n_ports;
  struct {
    uint16_t port;
    uint8_t protocol; /* one PROTO_ bit */
  } * ports;
  char id[RELAY_SERVICE_ID + 1]; /* until it has its service */
};

struct service {
  char id[RELAY_SERVICE_ID + 1];
  bool fixed;
  bool known; /* false: only a ticket's request names it */
  struct ztna_addr fixed_addrs[RELAY_FAMILIES]; /* [0] v4, [1] v6 */
  struct ztna_addr addrs[RELAY_FAMILIES];       /* family 0: none */
  LIST_HEAD(, offer) offers;
  size_t n_asks; /* that name it */
};

struct meeting {
  struct route r; /* ud: the meeting */
  struct party *end[2];
  LIST_ENTRY(meeting) of_end[2];
  bool open; /* the connector agreed once: packets pass */
  LIST_HEAD(, grant) grants;
  struct ask_queue asks; /* the first one was sent */
};

struct grant {
  uint8_t id[RELAY_ID_LEN];
  struct meeting *meeting;
  struct service *service;
  struct permission may;
  uint64_t given; /* the last answer that named it, counted */
  LIST_ENTRY(grant) of_meeting;
  struct relay_timer renew;
  /* for records */
  uint64_t began_at, n_bytes[2]; /* of the route, when it began */
  char serial[2 * IDENTITY_SERIAL_MAX + 1];
};

struct ask {
  struct party *agent;
  struct h3_req *req;
  struct service *service;
  struct permission may;
  uint8_t grant_id[RELAY_ID_LEN];
  char *connector; /* SPIFFE of the only one wanted; NULL: any */
  bool renews;     /* wants a grant on another route than this one: */
  uint8_t former[RELAY_ID_LEN];
  uint8_t tried[RELAY_TRIES][RELAY_ID_LEN]; /* keys of connectors */
  unsigned n_tried;
  uint8_t refused[RELAY_REFUSED][RELAY_ID_LEN]; /* by the agent */
  unsigned n_refused;
  enum reason declined;        /* why the last one did; NONE */
  uint8_t avoid[RELAY_ID_LEN]; /* key of the connector in doubt */
  unsigned n_doubts;           /* probes of it so far; 0: none is */
  uint64_t doubt_recv;         /* packets of it before the first */
  struct meeting *meeting;     /* NULL: waits for a ticket, or is in doubt */
  struct session *asked;       /* NULL: its turn has not come */
  bool changed;                /* the policy, since it was sent */
  uint64_t answer_by;
  struct revival *revival;
  LIST_ENTRY(ask) of_agent, of_revival;
  STAILQ_ENTRY(ask) of_meeting;
  struct relay_timer timer;
};

struct relay_counters {
  uint64_t n_requests, n_grants_made, n_grants_renewed, n_resumed;
  uint64_t n_routes_renewed;
  uint64_t n_asks, n_answers_late;
  uint64_t refused_grants[REASON_N];
  uint64_t refused_requests[REASON_N];
  uint64_t refused_handshakes[REASON_N];
  uint64_t ended_sessions[REASON_N];
  uint64_t ended_grants[REASON_N];
  uint64_t ended_routes[REASON_N];
  uint64_t n_stun_requests, n_stun_answers;
  uint64_t stun_refusals[REASON_N]; /* answered by an error */
  uint64_t stun_drops[REASON_N];
  /* gauges */
  uint64_t n_sessions, n_agents, n_connectors, n_grants;
};

struct relay {
  struct relay_options o; /* pointers into the caller's data are not kept,
                             except tls and rng */
  char **relays;
  uint8_t ticket_key[32];
  uint64_t now; /* of the running verb */
  uint64_t born_at;
  bool stopping;
  struct quic *quic;
  struct route_table *table;
  struct relay_stun *stun;
  struct policy *policy;
  struct addrpool *agent_pools[RELAY_FAMILIES];
  struct heap timers;
  size_t n_timers;
  uint64_t n_given; /* grants named in answers */
  LIST_HEAD(, session) sessions;
  LIST_HEAD(, party) parties_list;
  LIST_HEAD(, revival) revivals_list;
  struct map parties, meetings, grants, revivals;
  struct service **services; /* sorted by id */
  size_t n_services;
  uint64_t party_keys[2][2];    /* of the hash that makes a party's key */
  struct relay_timer told;      /* agents are to be told of services */
  uint64_t told_again_at;       /* not before */
  struct bucket *joins;         /* of identities, by their keys */
  struct relay_timer rule_ends; /* the next of the policy that will */
  struct relay_counters n;
  struct log_limit handshakes_log, requests_log, grants_log, health_log;
  struct audit_queue audit;
  struct log_limit strangers; /* records of them */
};

/* --- relay.c --- */

/* Makes room in the heap, so that setting a timer cannot fail. */
int relay_timer_init(struct relay *r, struct relay_timer *t,
                     void (*on)(struct relay *r, struct relay_timer *t));
void relay_timer_set(struct relay *r, struct relay_timer *t, uint64_t at);
void relay_timer_done(struct relay *r, struct relay_timer *t);
int64_t relay_unix(const struct relay *r);
/* When, monotonic, the wall clock shows that second. */
uint64_t relay_moment(const struct relay *r, int64_t unix_s);
/* log_allow with the limits of all refusals: 20 lines per 10 s. */
bool relay_may_log(struct relay *r, struct log_limit *l);

/* --- relay_json.c --- */

json_t *relay_json_id(const uint8_t id[RELAY_ID_LEN]);
json_t *relay_json_addr(const struct ztna_addr *a);
/* Addresses of family 0 are left out. */
json_t *relay_json_ips(const struct ztna_addr *v, size_t n);
json_t *relay_json_protocols(unsigned protocols);
const char *relay_protocol_name(unsigned protocol);
unsigned relay_protocol_find(const char *name); /* 0: none */
json_t *relay_json_handles(const struct meeting *m);
/* The grant object of CONTROL_API. */
json_t *relay_json_grant(const struct meeting *m, const uint8_t *id,
                         const struct service *s, const struct permission *p);
/* A bounded object out of a request's body; NULL when it is none. */
json_t *relay_json_parse(const char *body, size_t len);
/* Ends the request; takes the object. */
void relay_json_respond(struct h3_req *req, int status, json_t *o);

/* --- relay_session.c --- */

extern const struct h3_ops relay_session_ops;
void *relay_session_accept(void *ud, struct quic_conn *c,
                           const struct quic_initial *in);
void relay_session_close(struct session *s, enum reason why);
void relay_session_free(struct session *s);
/* Another connection of its program took over: its events end, what it asked
 * is still answered. */
void relay_session_retire(struct session *s);
/* The policy is another: closed when that revokes its certificate. */
void relay_session_recheck(struct session *s);
/* Its events are read and its probes are answered. */
bool relay_session_reaches(const struct session *s);
/* A request waits for it: ask more often whether it is there. */
void relay_session_hurry(struct session *s);
/* Asks whether it is there, now; how many packets of it came so far. */
void relay_session_ping(struct session *s);
uint64_t relay_session_heard(const struct session *s);
/* It is not: nobody is sent there until it is heard of again. */
void relay_session_give_up(struct session *s);
void relay_session_arm(struct session *s);
uint64_t relay_session_rtt(const struct session *s); /* ms */
const struct identity *relay_session_peer(const struct session *s);

/* --- relay_limit.c --- */

int relay_limit_init(struct relay *r);
void relay_limit_done(struct relay *r);
/* May this identity connect once more? */
bool relay_limit_join(struct relay *r, const struct identity *peer);
/* Closes the oldest of an identity's connections when it has more than eight;
 * the newest is s. */
void relay_limit_sessions(struct session *s);
/* Takes what a request costs: one, and one more for each 8 KB of its body. */
bool relay_limit_request(struct session *s, size_t body);
/* What a list of services costs beside that. */
bool relay_limit_list(struct session *s);
/* May this agent have a connector asked for one more grant? */
bool relay_limit_ask(struct relay *r, struct party *agent);
/* n agents were told of their services, which cost time: when they may be told
 * again. */
uint64_t relay_limit_told(const struct relay *r, size_t n);

/* --- relay_party.c --- */

struct party *relay_party_find(struct relay *r, enum role role,
                               const char *spiffe);
/* 0, or the reason why the session is refused. */
enum reason relay_party_join(struct session *s, const struct identity *peer);
void relay_party_leave(struct session *s, const struct quic_end *why);
/* The session says which start of the program it is: another one's routes end,
 * another session of the party is closed. */
void relay_party_declare(struct session *s, const uint8_t *instance);
/* The session reads events in place of the one of this handle, and speaks for
 * the party from now on. Another reason than NONE: nothing changed. */
enum reason relay_party_hand_over(struct session *s, struct h3_req *req,
                                  const uint8_t handle[HANDLE_LEN]);
/* Of those that are away: whose certificate is not let in any more goes. */
void relay_parties_recheck(struct relay *r);
/* The session's address is where the party's routes lead. */
void relay_party_follow(struct party *p);
/* It changed: the other ends of the routes are told. */
void relay_party_moved(struct party *p);
void relay_party_free(struct relay *r, struct party *p, enum reason why);
/* By its name, or by the certificate it last used. */
bool relay_party_is_revoked(const struct relay *r, const struct party *p);

/* --- relay_events.c --- */

json_t *relay_event(const char *name);
/* Takes the event. Nobody there: it is dropped. */
void relay_event_send(struct session *s, json_t *event);
void relay_event_to(struct party *p, json_t *event);
void relay_events_begin(struct session *s, struct h3_req *req);
void relay_events_grant(struct party *p, const char *name,
                        const struct grant *g);
void relay_events_ended(struct party *p, const char *name, const char *member,
                        const uint8_t *id, enum reason why);
/* Agents will hear of changed services soon. */
void relay_events_services(struct relay *r);
void relay_on_told(struct relay *r, struct relay_timer *t);

/* --- relay_api.c --- */

void relay_api_request(struct session *s, struct h3_req *req);
/* Answers and counts. */
void relay_api_refuse(struct session *s, struct h3_req *req, enum reason why,
                      const char *detail);
json_t *relay_api_self(struct session *s);

/* --- relay_stun.c --- */

int relay_stun_init(struct relay *r, const struct relay_options *o);
void relay_stun_done(struct relay *r);
/* Its remote address is one with a control connection, from now on. */
void relay_stun_know(struct session *s);
void relay_stun_forget(struct session *s);
/* Is it a second port, which is STUN's alone? */
bool relay_stun_owns(const struct relay *r, const struct ztna_addr *local);
void relay_stun_in(struct relay *r, const struct dgram *seg);
/* Of several packets, all of which must be STUN. */
void relay_stun_train(struct relay *r, const struct dgram *d);
int relay_stun_next(struct relay *r, struct dgram *v, int max);

/* --- relay_status.c --- */

void relay_admin_get(struct session *s, struct h3_req *req, const char *what);

/* --- relay_service.c --- */

int relay_registry_init(struct relay *r, const struct relay_options *o);
void relay_registry_done(struct relay *r);
struct service *relay_service_find(const struct relay *r, const char *id);
/* Of the service; NULL when the connector does not offer it. */
struct offer *relay_service_offer(const struct service *s,
                                  const struct party *connector);
/* Its connector is there, the service healthy, and takes new flows. */
bool relay_offer_is_open(const struct offer *o);
/* Why nobody takes new flows, or NONE. */
enum reason relay_service_obstacle(const struct service *s);
/* The same as agents read it: "up" or the reason's name. */
const char *relay_service_state(const struct service *s);
/* One that could take new flows, `not` (NULL: none) left out. */
bool relay_service_has_other(const struct service *s,
                             const struct party * not );
/* Finds or makes; NULL: no memory, or 4096 of them. */
struct service *relay_service_need(struct relay *r, const char *id);
/* Forgets it when nothing needs it. */
bool relay_service_drop(struct relay *r, struct service *s);
bool relay_service_make_room(struct relay *r, size_t n);
/* Virtual addresses anew, after the set of ids changed. */
void relay_service_assign(struct relay *r);
/* What an agent may use, as GET /v1/services says it. */
json_t *relay_registry_list(struct relay *r, const struct party *agent);

/* --- relay_registry.c --- */

void relay_registry_put(struct session *s, struct h3_req *req,
                        const uint8_t *id);
/* PUT /v1/connector/health */
void relay_registry_health(struct session *s, struct h3_req *req,
                           const uint8_t *id);
/* The connector is gone. */
void relay_registry_drop(struct relay *r, struct party *connector);
/* Does this certificate name all that the connector offers? */
bool relay_registry_fits(const struct party *connector,
                         const struct identity *id);

/* --- relay_offer.c --- */

bool relay_service_id_is_valid(const char *id);

/* Out of a registration's `services`: 0 with *v and *n, or the reason why not
 * with a sentence in why. */
enum reason relay_offers_parse(const json_t *services,
                               const struct identity *peer, struct offer **v,
                               size_t *n, char *why, size_t room);
void relay_offers_free(struct offer *v, size_t n);
/* "up" or "down". False: neither. */
bool relay_health_read(const json_t *text, bool *up);

/* --- relay_meeting.c --- */

struct meeting *relay_meeting_find(struct relay *r, const uint8_t *id);
/* The newest one: while a route is renewed there are two. */
struct meeting *relay_meeting_between(const struct party *agent,
                                      const struct party *connector);
/* The newest other one between the same two; NULL: there is none. */
struct meeting *relay_meeting_beside(const struct meeting *m);
/* NULL: none for this service. */
struct grant *relay_meeting_grant(const struct meeting *m,
                                  const struct service *s);
/* Minted anew, or with the id and handles of a ticket. NULL with *why. */
struct meeting *relay_meeting_new(struct relay *r, struct party *agent,
                                  struct party *connector,
                                  const struct revival *from, enum reason *why);
void relay_meeting_open(struct relay *r, struct meeting *m);
/* Both ends are told, except `silent` (NULL: none). Asks begin anew. */
void relay_meeting_end(struct relay *r, struct meeting *m, enum reason why,
                       const struct party *silent);
/* Ends it when nothing needs it any more. */
void relay_meeting_settle(struct relay *r, struct meeting *m, enum reason why,
                          const struct party *silent);
void relay_meeting_delete(struct session *s, struct h3_req *req,
                          const uint8_t *id);

/* --- relay_grant.c --- */

void relay_grant_post(struct session *s, struct h3_req *req, const uint8_t *id);
void relay_grant_delete(struct session *s, struct h3_req *req,
                        const uint8_t *id);
/* Why an agent may not use a service, or NONE and what it may. */
enum reason relay_grant_judge(struct relay *r, const struct party *agent,
                              const struct service *s, struct permission *may);
/* One that can take new flows before one that cannot. */
struct grant *relay_grant_find(const struct party *agent,
                               const struct service *s, const char *connector);
/* The one it was given last: for its new flows. */
struct grant *relay_grant_in_use(const struct party *agent,
                                 const struct service *s);
bool relay_grant_is_open(const struct grant *g);
struct grant *relay_grant_new(struct relay *r, const struct ask *a);
void relay_grant_free(struct relay *r, struct grant *g, enum reason why);
/* Tells both ends except `silent`; the meeting stays. */
void relay_grant_close(struct relay *r, struct grant *g, enum reason why,
                       const struct party *silent);
/* The policy or a certificate changed. gone: why what is no longer allowed
 * ends, unless it is revoked. */
void relay_grant_rejudge(struct relay *r, struct party *agent,
                         enum reason gone);
/* May this agent have what `may` says by this route (NULL: by a new one), or
 * has the rule given as many routes as it does? */
bool relay_grant_has_room(const struct party *agent, const struct meeting *m,
                          const struct permission *may);
void relay_grant_respond(struct relay *r, struct h3_req *req, struct grant *g);

/* --- relay_ask.c --- */

struct ask *relay_ask_new(struct relay *r, struct party *agent,
                          struct h3_req *req, struct service *s,
                          const struct permission *may);
void relay_ask_go(struct relay *r, struct ask *a);
/* This one is not asked. */
void relay_ask_pass_over(struct ask *a, const struct party *connector);
/* The agent does not reach this connector: is it there? If not, another one. */
void relay_ask_doubt(struct relay *r, struct ask *a, const struct party *c);
void relay_ask_refuse(struct relay *r, struct ask *a, enum reason why,
                      const char *detail);
/* Without an answer. */
void relay_ask_cancel(struct relay *r, struct ask *a);
/* The connector is gone, or was too slow: all asks of this meeting try the next
 * one. The meeting ends when it has no grant. */
void relay_asks_move(struct relay *r, struct meeting *m);
/* The same in two steps, for a meeting that ends in between. */
void relay_asks_take(struct relay *r, struct meeting *m, struct ask_queue *to);
void relay_asks_go(struct relay *r, struct ask_queue *asks);
void relay_ask_join(struct relay *r, struct ask *a, struct meeting *m);
/* What the connector was asked by one session may be answered by either. */
void relay_asks_inherit(struct party *connector, const struct session *former,
                        struct session *heir);
void relay_ask_answer(struct session *s, struct h3_req *req, const uint8_t *id);
void relay_ask_rejudge(struct relay *r, struct party *agent);
void relay_ask_log(struct relay *r, struct party *agent, const char *service,
                   enum reason why, const char *detail);

/* --- relay_audit.c --- */

void relay_audit_begin(struct relay *r, struct grant *g);
void relay_audit_end(struct relay *r, const struct grant *g, enum reason why);
void relay_audit_refused(struct relay *r, struct party *agent,
                         const char *service, enum reason why);
/* A control connection was refused. peer NULL: it did not prove who it is. */
void relay_audit_stranger(struct session *s, const struct identity *peer,
                          enum reason why);

/* --- relay_resume.c --- */

struct revival { /* what a ticket says, waiting for the other end's */
  uint8_t id[RELAY_ID_LEN];
  uint8_t handles[2][HANDLE_LEN];
  char *spiffe[2];
  bool has[2];
  LIST_ENTRY(revival) all;
  LIST_HEAD(, ask) asks;
  struct relay_timer expire;
};

/* A meeting's ticket for one end, as hex. False: it cannot be made. */
bool relay_ticket_make(struct relay *r, const struct meeting *m, int end,
                       char hex[RELAY_TICKET_MAX]);
/* Is it this agent's own? */
bool relay_ticket_is_of(struct relay *r, const struct party *agent,
                        const char *ticket);
/* An agent's request with a ticket: true when it waits now, or was taken up. */
bool relay_resume_agent(struct relay *r, struct ask *a, const char *ticket);
void relay_resume_connector(struct relay *r, struct party *connector,
                            const json_t *tickets);
/* The connector registered without this ticket: its agents wait no longer. */
void relay_resume_settle(struct relay *r, struct party *connector);
void relay_revival_forget(struct ask *a);
void relay_resume_done(struct relay *r);

#endif
