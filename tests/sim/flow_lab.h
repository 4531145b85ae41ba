/* flow_lab.h - TCP flows over one path between two endpoints on virtual time:
 * the real quic, path, stream and tcpflow, and at each end a program that sends
 * bytes of a pattern and judges those that come. The path may die at any packet
 * and is made anew; flows are resumed as agent and connector do. */
#ifndef ZTNA_TESTS_FLOW_LAB_H
#define ZTNA_TESTS_FLOW_LAB_H

#include "role/tcpflow.h"
#include "sim/net.h"

enum { LAB_FLOWS = 8 };

struct lab_side;

/* One end of a flow, and the program behind it. */
struct lab_flow {
  struct tcpflow flow;
  struct lab_side *side;
  int number; /* the same at both ends */
  bool used;  /* the flow is initialised and not freed */
  /* What it sends: so many bytes, then its end unless it stays open. */
  uint64_t to_send, sent;
  bool stays_open, fin_said;
  bool waits;  /* for the other's end, before it sends */
  bool sleeps; /* reads nothing */
  /* What it got. */
  uint64_t got, n_wrong;
  bool answered, got_fin, done, reset, refused;
  enum reason why;        /* of a refusal, reset or on_done */
  int n_answers, n_ends;  /* one each at most */
  uint64_t most_kept;     /* bytes kept both ways, at most */
  uint64_t last_progress; /* when something came last */
  uint64_t longest_pause; /* between bytes */
};

struct lab_side {
  struct lab *lab;
  bool server;
  struct vnet_host *host;
  struct quic *q;
  struct pool pool;
  struct path *path;
  struct tcpflow_common common;
  struct lab_flow flows[LAB_FLOWS];
  int n_heads; /* streams whose head is not read yet */
};

struct lab {
  struct vnet *net;
  uint64_t now;
  struct seeded rnd;
  struct lab_side a, b; /* agent, connector */
  uint8_t ha[HANDLE_LEN], hb[HANDLE_LEN];
  /* How the connector's programs behave; set before lab_open. */
  uint64_t answer_after; /* ns */
  enum reason answer;    /* 0: connected */
  uint64_t b_to_send;
  bool b_stays_open, b_waits;
  uint64_t redial_after; /* of a path that died; NEVER: not by itself */
  int n_dials;
  uint64_t pause_until; /* packets are lost until then */
};

void lab_global_init(void);
void lab_global_done(void);

/* delay: one way. The path is live at return. */
struct lab *lab_new(uint64_t seed, uint64_t delay);
void lab_free(struct lab *l);
/* A new flow of the agent that sends so much. */
struct lab_flow *lab_open(struct lab *l, uint64_t to_send);
/* Its other end; NULL: none (any more). */
struct lab_flow *lab_other(struct lab *l, const struct lab_flow *f);

void lab_run(struct lab *l, uint64_t for_ns);
/* Until it is true, at most for_ns; whether it is. */
bool lab_until(struct lab *l, bool (*is)(struct lab *l, void *ud), void *ud,
               uint64_t for_ns);
/* Gives everything that programs and endpoints have to give. */
void lab_drain(struct lab *l);

/* What is under way is lost, and so is what is said at the end. */
enum lab_death {
  LAB_BOTH,      /* both ends notice at once */
  LAB_AGENT,     /* the agent alone: the connector when it is dialled anew */
  LAB_CONNECTOR, /* the connector alone: the agent is told, then */
};
void lab_kill(struct lab *l, enum lab_death how);
void lab_dial(struct lab *l);

/* Both ends of every flow had all that was sent, and a clean end. */
bool lab_is_complete(struct lab *l, void *ud);
uint64_t lab_packets(const struct lab *l); /* sent so far */

#endif
