/* kernel.h - the TCP of a person's machine, as its kernel speaks it to the
 * agent's TUN: no loss and no distance between them. Programs are those of
 * tcp_app.h, so their backends know what to do and each end judges what it
 * gets. */
#ifndef ZTNA_TESTS_KERNEL_H
#define ZTNA_TESTS_KERNEL_H

#include "sim/tcp_app.h"
#include "unit/tcp_peer.h"

struct sim;

enum { KERNEL_CONNS = 4096, KERNEL_BUFFER = 256 * 1024 };

enum kconn_state {
  KCONN_SYN_SENT,
  KCONN_OPEN,
  KCONN_REFUSED,     /* RST to its SYN */
  KCONN_UNREACHABLE, /* ICMP, as error_code says */
  KCONN_RESET,
  KCONN_CLOSED, /* both ways */
};

struct kconn {
  struct kernel *kernel;
  struct tcp_end end; /* what it sends and gets */
  enum kconn_state state;
  struct tcp_peer peer;
  uint64_t asked_at, told_at; /* connected, or why not */
  uint8_t icmp_type, icmp_code;
  uint64_t down;  /* bytes that are to come */
  uint32_t acked; /* of ours, by the agent */
  size_t window;  /* the agent's */
  uint16_t mss;   /* the agent's */
  bool fin_sent, fin_acked, ack_due;
  size_t unread; /* got and not read: it sleeps */
  uint32_t n_syns;
};

struct kernel {
  struct sim *w;
  int agent;
  bool offload; /* sends super-packets, and takes them */
  struct kconn *conns[KERNEL_CONNS];
  int n_conns;
  size_t largest;     /* packet that came */
  uint64_t n_strange; /* packets that belong to nothing */
};

/* In front of an agent; k is zeroed. */
void kernel_init(struct kernel *k, struct sim *w, int agent, bool offload);
void kernel_done(struct kernel *k);

/* A program connects, as tcp_open has it. */
struct kconn *kernel_open(struct kernel *k, const char *service, bool v6,
                          uint16_t port, enum tcp_do what, uint64_t up,
                          uint64_t n);
/* It reads no more; it reads (again). */
void kconn_sleep(struct kconn *c);
void kconn_wake(struct kconn *c);
/* Sends what it has to, the end too unless it stays open. */
void kconn_go(struct kconn *c);
void kconn_reset(struct kconn *c);
/* It got exactly what it was to get, and its ends. */
bool kconn_is_complete(const struct kconn *c);

#endif
