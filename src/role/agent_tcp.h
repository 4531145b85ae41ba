/* agent_tcp.h - TCP of this machine's kernel: agent_tcp.c decides what a packet
 * belongs to and holds SYNs until the connector says that the backend is there;
 * agent_splice.c joins lwIP's end of a connection with its flow. */
#ifndef ZTNA_ROLE_AGENT_TCP_H
#define ZTNA_ROLE_AGENT_TCP_H

#include "base/log.h"
#include "role/agent_flow.h"
#include "stack/stack.h"

enum {
  TCP_KEY_LEN = 40, /* addresses, ports, family */
  SYN_MAX = 160,    /* headers with all options; a SYN carries no data */
};

struct tcp_conn {
  struct agent_flow flow; /* first */
  struct tcpflow tcp;
  struct ztna_agent *agent;
  struct stack_conn *end; /* lwIP's; NULL: held, or gone already */
  bool held;              /* its SYN waits for the answer */
  bool resetting;         /* by the other end, once all is delivered */
  bool shut;              /* our FIN was given to lwIP */
  bool over;              /* the flow is; with end gone it goes, too */
  bool listed;            /* in the map */
  uint64_t until;         /* held or resetting: not longer */
  size_t owed;            /* bytes of the program not credited to it yet */
  uint8_t key[TCP_KEY_LEN];
  struct tcp_conn *next, **prev; /* of all */
  bool due;                      /* in the line of those with input */
  struct tcp_conn *next_due;
  uint16_t syn_len;
  uint8_t syn[SYN_MAX];
};

struct agent_tcp {
  struct stack *stack;
  struct map conns; /* by key */
  struct tcp_conn *first;
  struct tcp_conn *due;       /* have something for their programs */
  struct tcp_conn *gone;      /* freed when nobody is up the stack */
  uint64_t tokens, tokens_at; /* SYNs that may be taken now */
  bool stalled;               /* no room for the TUN was found */
  uint64_t tick_at;           /* next tick_conns */
  struct log_limit log;
};

/* A TCP packet of this machine to an address of s. */
void agent_tcp_in(struct ztna_agent *a, struct service *s,
                  const struct ip_pkt *p, const uint8_t *ip, size_t len);
/* The TUN took all there was: what waited for that, or for the end of a batch
 * of input, is written. True: now there is more. */
bool agent_tcp_drained(struct ztna_agent *a);
void agent_tcp_tick(struct ztna_agent *a, uint64_t now);
uint64_t agent_tcp_deadline(const struct ztna_agent *a);
/* Resets all. */
void agent_tcp_stop(struct ztna_agent *a, enum reason why);
void agent_tcp_free(struct ztna_agent *a);

/* --- between agent_tcp.c and agent_splice.c --- */

extern const struct stack_ops tcp_stack_ops;
extern const struct tcpflow_ops tcp_flow_ops;
/* Its program hears why it was refused; it is over. */
void tcp_refuse(struct tcp_conn *t, enum reason why);
/* Its program gets what is there. */
void tcp_give(struct tcp_conn *t);
/* The SYN is let in. */
void tcp_let_in(struct tcp_conn *t);
/* Resets both ends. */
void tcp_kill(struct tcp_conn *t, enum reason why);
/* Frees it, in time, when both ends are gone. */
void tcp_settle(struct tcp_conn *t);
/* Its time is over: what it waited for did not come. */
void tcp_give_up(struct tcp_conn *t);

#endif
