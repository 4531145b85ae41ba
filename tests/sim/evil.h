/* evil.h - peers with good certificates and bad manners, made of the same parts
 * as the roles: a control connection and a path of which the test decides what
 * they say. */
#ifndef ZTNA_TESTS_EVIL_H
#define ZTNA_TESTS_EVIL_H

#include "role/path.h"
#include "role/uplink.h"
#include "sim/world.h"
#include "transport/h3.h"

struct evil {
  struct sim_node node;
  enum role role; /* agent or connector */
  const char *name;
  const char *service; /* a connector's */
  struct tls *tls;
  struct quic *q;
  struct uplink *u;
  struct pool pool;
  struct path *path;
  bool up, registered;
  char instance[33];
  struct ztna_addr addrs[2]; /* an agent's own, as the relay says */
  json_t *grant;             /* the last answer to POST /v1/grants, or NULL */
  json_t *asked;             /* the last route-request, or NULL */
  int status;                /* of the last request */
  bool live;
  json_t *said;     /* the last message on the path, or NULL */
  uint16_t context; /* of the last open that came */
  struct quic_end end;
  int n_ends, n_packets; /* path ends, inner packets received */
  uint8_t last[2048];    /* of these */
  size_t last_len;
};

/* names: in its certificate. host: NULL makes one. */
struct evil *evil_new(struct sim *w, enum role role, const char *name,
                      const char *const *names, const char *v4, const char *v6);
/* Before sim_free. */
void evil_free(struct evil *e);
/* A connector: registers and accepts whatever the relay asks for. */
void evil_serve(struct evil *e, const char *service);
/* POST /v1/grants; runs the world until the answer is there. */
int evil_ask(struct evil *e, const char *service);
/* Any request. */
int evil_request(struct evil *e, const char *method, const char *path,
                 json_t *body);
/* Dials a path by these handles; NULL: those of the grant. */
void evil_dial(struct evil *e, const struct ztna_addr *to, const uint8_t *own,
               const uint8_t *peer);
/* Takes the object. */
void evil_say(struct evil *e, json_t *msg);
/* An inner packet. */
void evil_send(struct evil *e, uint16_t context, const uint8_t *ip, size_t len);
/* A text inside the last grant, request or message: "grant.id". */
const char *evil_text(const json_t *o, const char *path);

#endif
