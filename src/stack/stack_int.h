/* stack_int.h - what the files of the stack share. */
#ifndef ZTNA_STACK_INT_H
#define ZTNA_STACK_INT_H

#include "stack/stack.h"

#include "base/time.h"
#include "codec/ip_wire.h" /* ahead of lwIP, which has macros of such names */
#include "lwip/priv/tcp_priv.h"
#include "lwip/tcp.h"
#include "stack/lwipopts.h" /* for make: lwIP's headers hide what they include */

#define FAST_EVERY (TCP_FAST_INTERVAL * MS)
#define SLOW_EVERY (TCP_SLOW_INTERVAL * MS)

enum {
  FINISHED = 256,    /* places for connections that ended of late */
  MSS_LEAST = 128,   /* who asks for less does not get it */
  TUPLE_LEN = 37,    /* version, their address and port, ours */
  SEGMENT_HEAD = 60, /* TCP header with options */
  RTT_MOST = 60000 / TCP_SLOW_INTERVAL, /* lwIP's estimate has 16 bits */
};
#define FINISHED_FOR (2 * SEC)

/* A circular list through its members. */
struct node {
  struct node *prev, *next;
};

struct stack_conn {
  struct node all, busy, stalled;
  struct stack *stack;
  struct tcp_pcb *pcb; /* NULL: lwIP is done with it */
  void *ud;
  size_t n_queued;  /* bytes written and not acknowledged */
  uint16_t mss;     /* payload bytes of a packet on the wire */
  uint8_t depth;    /* calls into lwIP under way */
  bool forgotten;   /* by its user: no callback any more */
  bool shut_wanted; /* before it was established */
  bool closed;      /* lwIP ended it well; else it was reset */
};

/* A connection that lwIP would keep in TIME_WAIT: what an ACK of it says. */
struct finished {
  uint64_t tuple; /* keyed hash; 0: free */
  uint64_t until;
  uint32_t seq, ack;
};

struct stack {
  struct stack_config cfg;
  uint64_t key[2]; /* of the initial sequence numbers, and of finished */
  uint64_t now;
  struct node all, busy, stalled;
  uint64_t tick_at;
  uint32_t n_ticks;
  size_t n;
  struct finished finished[FINISHED];
};

/* A TCP segment as it lies in a packet; the header is a copy (lwIP turns its
 * fields around), the payload is not. */
struct segment {
  uint8_t head[SEGMENT_HEAD];
  size_t head_len;
  const uint8_t *payload;
  uint16_t payload_len;
  uint8_t version, flags;
  uint8_t tuple[TUPLE_LEN];
  ip_addr_t src, dst;
};

/* Whose call into lwIP is under way: its pcb is alone in the list, and it sends
 * what comes out. */
struct turn {
  struct stack *stack;
  struct stack_conn *conn; /* NULL: nobody's */
};
struct turn turn_begin(struct stack *s, struct stack_conn *c, uint64_t now);
void turn_end(const struct turn *before);
extern struct turn turn_now;

/* --- stack_ip.c: what lwIP takes for its IP layer --- */

/* False: not a TCP segment that is all there. */
bool segment_read(struct segment *g, const uint8_t *ip, size_t len);
/* Into lwIP, in the current turn. Options are for SYNs only: all we use is said
 * there, and nobody changes a connection's MSS later. */
void segment_feed(struct segment *g, bool options);
uint64_t segment_key(const struct stack *s, const struct segment *g);
/* An empty ACK of nobody's connection, in the current turn. */
void segment_ack(const struct segment *g, uint32_t seq, uint32_t ack);

/* --- stack_timer.c: who has something to time --- */

/* After every call into lwIP. */
void timer_update(struct stack_conn *c);
void timer_forget(struct stack_conn *c);

/* --- stack.c --- */

/* After the last call into lwIP: tells the user and frees what is over. */
void end_settle(struct stack_conn *c);

static inline void node_init(struct node *n) { n->prev = n->next = n; }

static inline bool node_is_alone(const struct node *n) { return n->next == n; }

static inline void node_unlink(struct node *n) {
  n->prev->next = n->next;
  n->next->prev = n->prev;
  node_init(n);
}

/* At the end of list, from wherever it was. */
static inline void node_move(struct node *list, struct node *n) {
  node_unlink(n);
  n->prev = list->prev;
  n->next = list;
  list->prev->next = n;
  list->prev = n;
}

/* All of from, which is then empty. */
static inline void node_take(struct node *to, struct node *from) {
  node_init(to);
  if (node_is_alone(from)) return;
  *to = *from;
  to->prev->next = to->next->prev = to;
  node_init(from);
}

#define CONN_OF(n, member) \
  ((struct stack_conn *)((uint8_t *)(n)-offsetof(struct stack_conn, member)))

#endif
