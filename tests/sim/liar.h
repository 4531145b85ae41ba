/* liar.h - a relay with a good certificate that lies. It takes the place of the
 * world's relay; a test bends what it tells each end of a route. */
#ifndef ZTNA_TESTS_LIAR_H
#define ZTNA_TESTS_LIAR_H

#include <jansson.h>

#include "codec/handle.h"
#include "sim/world.h"
#include "transport/h3.h"

struct liar;

struct liar_side { /* of a route, as one of its ends is told */
  uint8_t agent_handle[HANDLE_LEN], connector_handle[HANDLE_LEN];
  char agent[256], connector[256]; /* SPIFFE IDs */
  struct ztna_addr tunnel[2];      /* the agent's addresses */
};

/* One agent's request for a service. What it holds at first is true. */
struct lie {
  int agent; /* number by order of arrival */
  const char *service;
  char route[33], grant[33];
  struct liar_side to_agent, to_connector;
};

struct liar_session {
  struct liar *l;
  struct h3 *h3;
  enum role role;
  char spiffe[256];
  struct h3_req *events;
  struct ztna_addr tunnel[2];
  int n; /* agents only */
};

struct liar_route {
  uint8_t handle[HANDLE_LEN];
  struct liar_session *to;
};

struct liar {
  struct sim_node node;
  struct quic *q;
  struct liar_session *sessions[8]; /* NULL: gone */
  struct liar_route routes[32];
  size_t n_sessions, n_routes;
  int n_agents;
  bool same_tunnel;   /* all agents get one address */
  int n_repeats;      /* so often it carries each packet again, later */
  enum reason refuse; /* every grant for this, unless it is none */
  /* NULL: tells the truth. */
  void (*bend)(struct liar *l, struct lie *what);
  struct lie last[4]; /* by agent, as they were told */
  uint64_t n_forwarded, n_repeated;
};

/* The world's relay must be stopped. */
struct liar *liar_new(struct sim *w);
void liar_free(struct liar *l);

#endif
