/* observer_int.h - between observer.c (life, feed, drain), observer_ask.c (one
 * question) and observer_look.c (what to ask next, and what follows). */
#ifndef ZTNA_ROLE_OBSERVER_INT_H
#define ZTNA_ROLE_OBSERVER_INT_H

#include "role/observer.h"

#include "base/time.h"

enum {
  /* So long a question that the answer with all attributes, of IPv6 too, stays
   * within its length (PROTOCOL 6). */
  OBSERVER_PADDING = 100,
  OBSERVER_ASKS = 12, /* 4 servers, 2 of mapping, 2 of allocation, 3 filters */
  OBSERVER_LOCALS = 32,
  OBSERVER_OUT = 8, /* packets per drain */
};
#define OBSERVER_PATIENCE (800 * MS)

enum ask_kind {
  ASK_SERVER,         /* from the main socket, a server */
  ASK_PORT,           /* the same, that server's other port */
  ASK_ADDRESS,        /* and its other address */
  ASK_EXTRA,          /* from a socket of its own */
  ASK_FILTER,         /* opens a hole, and shows that it is one */
  ASK_FILTER_PORT,    /* through it: an answer from the other port */
  ASK_FILTER_ADDRESS, /* and from the other address */
};

enum ask_state {
  ASK_OPEN,
  ASK_ANSWERED,
  ASK_REFUSED, /* an error, or an answer from where it was not wanted */
  ASK_SILENT,
};

/* A question and its answer. */
struct ask {
  enum ask_kind kind;
  enum ask_state state;
  struct ztna_addr to;
  uint16_t sock;
  uint32_t change;
  /* Its last byte is the number of the sending: an answer tells which one it
   * answers, so repeats cost no certainty about the round trip. */
  uint8_t txid[STUN_TXID_LEN];
  bool bare;       /* without PADDING: this server does not understand it */
  bool bare_first; /* with and without by turns, first without */
  int n_sent;
  uint64_t sent_at[OBSERVER_SENDS];
  uint64_t begun_at, next_at, give_up_at;
  uint64_t lag; /* known round trip: repeats wait so much longer */

  struct ztna_addr from, mapped, other, local;
  uint64_t answers_at; /* when the answered sending left */
  uint64_t rtt;
  uint16_t error;
};

/* One family. */
struct look {
  struct ztna_addr servers[OBSERVER_SERVERS];
  struct nat_view view; /* as published */
  struct ask asks[OBSERVER_ASKS];
  size_t n_asks;
  int lead;          /* of asks: the first server that answered; -1 */
  uint64_t begun_at; /* this observation */
  int n_packets;     /* it has cost */
  bool started, running, done;
  bool wanted;     /* again if it lacks anything: a new server */
  bool refreshing; /* only one question */
  bool asked_rest; /* the servers behind the first two, too */
};

struct observer {
  struct observer_options o;
  struct look looks[2]; /* IPv4, IPv6 */
  struct ztna_addr locals[OBSERVER_LOCALS];
  size_t n_locals;
  /* Extra sockets to be closed; a number is free when the skin was told. */
  struct {
    uint16_t sock;
    int family;
  } closes[2 * OBSERVER_ASKS];
  size_t n_closes;
  struct observer_stats stats;
  uint8_t out[OBSERVER_OUT][STUN_MAX];
};

/* --- observer.c */

/* A free extra socket, 0: none. */
uint16_t observer_take_sock(struct observer *ob);
/* Does an address belong to this machine, with the port of the socket that was
 * asked from? local: where the answer arrived. */
bool observer_is_own(const struct observer *ob, const struct ztna_addr *local,
                     const struct ztna_addr *a);
/* Closes the extra sockets that no open question needs. */
void observer_close_socks(struct observer *ob, struct look *k);

/* --- observer_ask.c */

/* NULL: no more fit. */
struct ask *ask_new(struct observer *ob, struct look *k, enum ask_kind kind,
                    const struct ztna_addr *to, uint16_t sock, uint32_t change,
                    uint64_t now);
bool ask_is_due(const struct look *k, const struct ask *a, uint64_t now);
/* NEVER when it is over. */
uint64_t ask_deadline(const struct look *k, const struct ask *a);
/* The packet, into STUN_MAX bytes. */
void ask_write(struct observer *ob, struct look *k, struct ask *a, uint64_t now,
               uint8_t *room, struct dgram *d);
/* Whose question does a message answer? NULL: nobody's. */
struct ask *ask_find(struct look *k, const struct stun_msg *m);
/* Takes an answer to it. True: the question is over by it. */
bool ask_answer(struct observer *ob, struct ask *a, uint64_t now,
                const struct dgram *d, const struct stun_msg *m);
void ask_give_up(struct observer *ob, struct ask *a);

/* --- observer_look.c */

void look_start(struct observer *ob, struct look *k, uint64_t now);
void look_refresh(struct observer *ob, struct look *k, uint64_t now);
/* A question was answered: what it makes worth asking. */
void look_go_on(struct observer *ob, struct look *k, struct ask *a,
                uint64_t now);
/* Time has passed, or a question is over: is everything? */
void look_tick(struct observer *ob, struct look *k, uint64_t now);
uint64_t look_deadline(const struct look *k);

#endif
