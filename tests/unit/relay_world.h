/* relay_world.h - a real relay and real HTTP/3 clients in one process: an
 * in-memory wire of 10 ms and virtual time. */
#ifndef ZTNA_TEST_RELAY_WORLD_H
#define ZTNA_TEST_RELAY_WORLD_H

#include <jansson.h>

#include "unit.h"

#include "base/time.h"
#include "role/relay.h"
#include "sim/pki.h"
#include "sim/seeded.h"
#include "transport/h3.h"

enum { WORLD_NOW = 1700000000, WORLD_CLIENTS = 80, WORLD_WIRE = 8192 };
#define WORLD_DELAY (10 * MS)

struct client {
  struct world *w;
  struct quic *q;
  struct tls *tls;
  struct h3 *s; /* NULL: no connection */
  struct ztna_addr addr;
  bool ready, down; /* down: nothing reaches it or comes from it */
  int n_end;
  struct quic_end end;
  json_t *events;  /* all lines so far */
  int events_over; /* the status at their end; 0: they go on */
  const char *instance;
  /* What it does with route-requests. */
  enum { ANSWER_OK, ANSWER_REFUSE, ANSWER_NOT } answer;
  uint64_t answer_after;
  json_t *asked; /* the last route-request; lent by events */
};

struct world_packet {
  uint64_t at;
  struct ztna_addr from, to;
  size_t len;
  uint8_t data[1500];
};

struct world {
  struct seeded rnd;
  struct pki *pki;
  struct tls *relay_tls;
  struct relay *relay;
  struct ztna_addr relay_addr;
  struct client clients[WORLD_CLIENTS];
  size_t n_clients;
  struct world_packet *wire;
  size_t n_wire;
  uint64_t now;
  /* Packets to this handle that left the relay. */
  uint8_t watched[HANDLE_LEN];
  int n_seen;
  struct dgram seen;
  char log[1 << 16]; /* lines so far */
};

struct reply {
  bool done;
  int status;
  json_t *body;
};

struct world *world_new(void);
void world_free(struct world *w);
/* Another relay with the same state key: all connections are forgotten. */
void world_restart(struct world *w);
void world_options(struct world *w, struct relay_options *o);
/* Everybody may use everything but "secret"; "narrow" only on TCP 80. */
struct policy *world_policy(const char *services, const char *agents,
                            uint16_t port);
void world_run(struct world *w, uint64_t for_ns);
/* One step; false: nothing more happens until then. */
bool world_step(struct world *w, uint64_t until);
bool world_logged(const struct world *w, const char *text);

/* names: services in the certificate. Not dialled yet. */
struct client *client_new(struct world *w, enum role role, const char *name,
                          const char *addr, const char *const *names);
/* Takes over tls. */
struct client *client_with(struct world *w, struct tls *tls, const char *addr);
void client_dial(struct client *c);
/* The connection is closed (bye), or it just is not there any more. */
void client_bye(struct client *c);
void client_vanish(struct client *c);

/* Runs the world until the answer is there, 6 s at most. The body is kept until
 * the next request of anybody. */
int request(struct client *c, const char *method, const char *path,
            const char *body);
json_t *answered(void);
/* Does not wait. */
void request_begin(struct client *c, const char *method, const char *path,
                   const char *body, struct reply *r);
void reply_done(struct reply *r);
const char *answered_reason(void);

/* Connects, reads events, registers these services ("web db"). */
struct client *connector_up(struct world *w, const char *name, const char *addr,
                            const char *services);
int connector_put(struct client *c, const char *services, const char *more);
struct client *agent_up(struct world *w, const char *name, const char *addr);
int grant(struct client *agent, const char *service);
void client_read_events(struct client *c);
/* Reads them in place of another connection, named by its /v1/self. The status:
 * 200 when they began. */
int client_take_over(struct client *c, const char *connection);
/* The last event of that name, NULL: none came. */
json_t *event_of(const struct client *c, const char *name);
size_t count_events(const struct client *c, const char *name);
void forget_events(struct client *c);

/* A text inside the last answer or an event: "grant.id". */
const char *text_at(const json_t *o, const char *path);

/* Does a packet from there to the handle leave the relay? Where to: seen. */
bool passes(struct world *w, const struct ztna_addr *from, const char *handle);

/* The grant is refused so, and the relay's log says it. */
void check_refused(struct client *agent, const char *service, int status,
                   const char *reason);

/* A connector with "web" and "db", an agent that was granted "web", and what
 * they were told. */
struct cast {
  struct world *w;
  struct client *connector, *agent;
};
struct cast granted(void);
extern char route_id[40], grant_id[40], to_agent[20], to_connector[20];
extern char ticket_agent[1600], ticket_connector[1600];
/* Takes route_id and so on from the last 201. */
void note(const struct client *connector);
/* Packets of both ends pass; of none. */
bool flows(const struct cast *c);
bool is_dead(const struct cast *c);

#endif
