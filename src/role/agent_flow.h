/* agent_flow.h - the TCP flows of an agent, whatever their local side is (lwIP,
 * a program's socket): each belongs to a service, keeps it wanted, is started
 * when the service's context is open on a live path, and resumed when it lost
 * that path. */
#ifndef ZTNA_ROLE_AGENT_FLOW_H
#define ZTNA_ROLE_AGENT_FLOW_H

#include "role/agent_int.h"
#include "role/tcpflow.h"

/* Embedded in what its owner keeps of a flow; zero-initialised. */
struct agent_flow {
  struct tcpflow *flow;
  struct ztna_addr dst, src; /* one family, with ports */
  /* The service was refused before the flow was answered, or the permission was
   * taken back: tell the program and end the flow (agent_flow_end). May end no
   * other flow. */
  void (*on_refused)(struct agent_flow *f, enum reason why);
  struct service *service; /* NULL: in no list */
  /* Of the connector that it runs through, which its service may have left
   * meanwhile; NULL: not started, or that link is gone. */
  struct link *link;
  struct agent_flow *next, *prev;
};

/* The flow is to reach the service, at once or when it is open; tcpflow_init
 * was called (common: &a->tcp). REASON_NONE, or why it may not right now; then
 * it is in no list. */
enum reason agent_flow_begin(struct ztna_agent *a, struct service *s,
                             struct agent_flow *f);
/* Out of tcpflow_ops.on_lost: it is started again, or resumed, in time. */
void agent_flow_lost(struct ztna_agent *a, struct agent_flow *f);
/* It is over; in no list is fine. */
void agent_flow_end(struct ztna_agent *a, struct agent_flow *f);

/* --- what happens to services --- */

/* The service is open; or its path allows more streams. */
void agent_flows_go(struct ztna_agent *a, struct service *s);
/* The service is at another connector now: what the former one has not answered
 * is asked there. */
void agent_flows_moved(struct service *s);
/* The link's connector was stopped: its connections to backends are gone. */
void agent_flows_abandon(struct ztna_agent *a, const struct link *l,
                         enum reason why);
/* The link is on another path now; planned: the former one works. Returns
 * whether a stream of the former one was left that may still be heard. */
bool agent_flows_follow(struct ztna_agent *a, struct link *l, bool planned);
/* The link is freed. */
void agent_flows_forget_link(struct ztna_agent *a, const struct link *l);
void agent_flows_refused(struct ztna_agent *a, struct service *s,
                         enum reason why);
/* A relay is reached, or some time has passed: services with flows are asked
 * for again. */
void agent_flows_retry(struct ztna_agent *a);
void agent_flows_tick(struct ztna_agent *a, uint64_t now);
uint64_t agent_flows_deadline(const struct ztna_agent *a);

#endif
