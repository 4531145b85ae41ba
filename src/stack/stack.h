/* stack.h - TCP as this machine's kernel speaks it through a TUN: the home of
 * lwIP (2.2.1, unpatched). It only faces the machine's own kernel: no loss, no
 * distance. Any address and port; who owns this decides by 4-tuple which
 * connection a packet belongs to, so lwIP's own list walk never sees more than
 * one. Time is an argument.
 *
 * lwIP is one instance per process, but every connection here carries its own
 * list heads, so several stacks (the simulator's agents) may be used in turn by
 * one thread.
 *
 * Out of a callback everything below may be called, also for other connections,
 * except what takes a packet (accept, refuse, in), tick and free. */
#ifndef ZTNA_STACK_H
#define ZTNA_STACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"

struct stack;
struct stack_conn;

/* A packet for the machine: head (IP and TCP headers) and payload are copied by
 * the callback at once. More than one segment's payload only with offload. */
struct stack_out {
  size_t len;        /* of the whole packet, 65535 at most */
  uint16_t gso_size; /* payload bytes per segment; 0: one segment */
};

struct stack_ops {
  /* Where a packet of len bytes is to be written, or NULL: no room (it waits
   * for stack_drained, or a timer; only a RST is lost). */
  uint8_t *(*room)(void *ud, size_t len);
  /* It was written. With offload its checksum is only that of the pseudo header
   * (the kernel finishes it), else it is whole. */
  void (*out)(void *ud, const struct stack_out *o);
  /* Bytes from the machine's program, in order; credit by stack_took. */
  void (*on_data)(struct stack_conn *c, void *conn_ud, const uint8_t *data,
                  size_t len);
  /* It sends no more. */
  void (*on_fin)(struct stack_conn *c, void *conn_ud);
  /* The n oldest bytes given to stack_write are acknowledged: not needed any
   * more; there may be room for more. */
  void (*on_sent)(struct stack_conn *c, void *conn_ud, size_t n);
  /* Reset by the machine, or given up after too many retransmissions: c is gone
   * after this. */
  void (*on_reset)(struct stack_conn *c, void *conn_ud);
  /* Closed both ways, all acknowledged: c is gone after this. */
  void (*on_closed)(struct stack_conn *c, void *conn_ud);
};

struct stack_config {
  const struct stack_ops *ops;
  void *ud;              /* of room and out */
  const struct rng *rng; /* keyed initial sequence numbers (RFC 6528) */
  uint16_t mtu;          /* of the TUN */
  bool offload;          /* super-packets and partial checksums may go out */
};

struct stack *stack_new(const struct stack_config *cfg); /* NULL: no memory */
void stack_free(struct stack *s); /* aborts all silently */

/* The held SYN (a whole IP packet) is let in: answers SYN-ACK. NULL: no memory,
 * or it is no acceptable SYN (then RST was answered). */
struct stack_conn *stack_accept(struct stack *s, uint64_t now,
                                const uint8_t *syn, size_t len, void *conn_ud);
/* Answers RST to any segment (a refused SYN, a connection nobody knows). A FIN
 * that comes again after on_closed is acknowledged once more instead: a
 * connection in TIME_WAIT is no connection of the user's any more, and a new
 * one of its addresses and ports may begin at once. */
void stack_refuse(struct stack *s, uint64_t now, const uint8_t *ip, size_t len);
/* A packet of c, maybe a super-packet (65535 bytes at most). lent for the
 * call. c may be gone afterwards (on_reset, on_closed were called). */
void stack_in(struct stack_conn *c, uint64_t now, const uint8_t *ip,
              size_t len);

/* Takes up to len bytes, by reference: they stay where they are until on_sent.
 * Returns how many. stack_flush sends what may go. */
size_t stack_write(struct stack_conn *c, const uint8_t *data, size_t len);
void stack_flush(struct stack_conn *c, uint64_t now);
/* The program may send n bytes more. The window is STACK_WINDOW at most. */
void stack_took(struct stack_conn *c, uint64_t now, size_t n);
/* FIN behind what was written; nothing may be written any more. */
void stack_shut(struct stack_conn *c, uint64_t now);
/* RST; c is gone, no callback, and the bytes written are not needed any more.
 */
void stack_abort(struct stack_conn *c, uint64_t now);
bool stack_established(const struct stack_conn *c);
/* There is room again: whoever found none goes on. */
void stack_drained(struct stack *s, uint64_t now);

void stack_tick(struct stack *s, uint64_t now);
uint64_t stack_deadline(const struct stack *s); /* NEVER while all are idle */
size_t stack_count(const struct stack *s);

enum { STACK_WINDOW = 1024 * 1024 };

#endif
