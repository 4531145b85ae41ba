/* sock.h - TCP flows whose local side is a socket of the skin (ztna/sock.h): a
 * connector's backends, an agent's forwarded ports. A bounded table from socket
 * number to flow, and the operations that wait. */
#ifndef ZTNA_ROLE_SOCK_H
#define ZTNA_ROLE_SOCK_H

#include <ztna/sock.h>

#include "role/tcpflow.h"

/* Operations that wait are bits, 1 << operation; the one of this bit. */
static inline enum ztna_sock_do sock_op_of(unsigned bit) {
  return bit ? (enum ztna_sock_do)__builtin_ctz(bit) : ZTNA_SOCK_ABORT;
}

struct socks;

struct sock {
  struct tcpflow flow;
  struct socks *table;
  uint32_t number;
  void *user;                              /* the owner's */
  struct ztna_addr addrs[ZTNA_SOCK_ADDRS]; /* to connect to */
  unsigned n_addrs;
  uint64_t timeout; /* ns */
  bool connecting, connected;
  bool resetting; /* by the other end: when it has all that came before */
  bool ended;     /* the skin has no socket (any more), or was told so */
  bool told;      /* on_end was called */
  uint8_t due;    /* operations that wait, bits */
  bool in_line;
  struct sock *next_in_line;
  /* Bytes put in front of what the flow carries to the socket (PROXY);
   * malloc'd, the slot's. */
  uint8_t *preface;
  uint16_t preface_len, preface_at;
};

struct sock_events {
  /* As tcpflow_ops; the table has already done what its socket needs. */
  void (*on_answer)(struct sock *s, enum reason why); /* agent */
  void (*on_lost)(struct sock *s);
  /* The flow and its socket are over; the slot is not the owner's any more
   * after this. */
  void (*on_end)(struct sock *s, enum reason why);
};

struct socks *socks_new(uint32_t max, const struct sock_events *ev,
                        struct tcpflow_common *common);
void socks_free(struct socks *t);
/* A free slot with a flow that is neither initialised nor started; NULL: all
 * are in use or no memory. */
struct sock *sock_new(struct socks *t);
/* Gives back a slot whose socket the skin has not heard of. */
void sock_drop(struct sock *s);
struct sock *sock_at(struct socks *t, uint32_t number); /* NULL: not in use */
uint32_t socks_count(const struct socks *t);
const struct tcpflow_ops *sock_flow_ops(void); /* for tcpflow_init, _accept */

/* Connector: connect it to s->addrs; on success the flow is answered and
 * spliced, else answered with the reason. */
void sock_connect(struct sock *s);
/* Agent: the skin's accepted socket; spliced when the answer is there. */
void sock_accepted(struct sock *s);
/* The owner ends it: the socket is reset, the stream says why; on_end comes. */
void sock_kill(struct sock *s, enum reason why);
/* For what waits: call it once a second or so for every slot (socks_each). */
void sock_tick(struct sock *s, uint64_t now);
/* Walks over all slots in use; f may end them. */
void socks_each(struct socks *t, void (*f)(struct sock *s, void *ud), void *ud);

/* --- the skin's side; numbers that are not in use are ignored --- */

bool socks_next(struct socks *t, struct ztna_sock_op *op);
void socks_connected(struct socks *t, uint32_t number);
void socks_failed(struct socks *t, uint32_t number, enum ztna_sock_error why);
uint8_t *socks_room(struct socks *t, uint32_t number, size_t *room);
void socks_read(struct socks *t, uint32_t number, size_t n);
void socks_eof(struct socks *t, uint32_t number);
int socks_peek(struct socks *t, uint32_t number, struct ztna_sock_vec *v,
               int n);
void socks_wrote(struct socks *t, uint32_t number, size_t n);

#endif
