/* audit.h - what happened to whom, for the audit log (docs/AUDIT.md): records
 * that a role makes and the skin fetches and writes. The queue is bounded;
 * what does not fit is counted, and packets never wait for it. */
#ifndef ZTNA_AUDIT_H
#define ZTNA_AUDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <ztna/addr.h>

#include "base/reason.h"

enum audit_event {
  AUDIT_GRANT_BEGIN,     /* relay: an agent may use a service from now on */
  AUDIT_GRANT_END,       /* with the bytes of its route meanwhile */
  AUDIT_GRANT_REFUSED,   /* it may not, or nobody serves it */
  AUDIT_CONTROL_REFUSED, /* a control connection, because of who it is */
  AUDIT_FLOW_BEGIN,      /* connector: a TCP flow's backend was dialled */
  AUDIT_FLOW_END,        /* of TCP; a conversation of UDP or ICMP echo */
  AUDIT_FLOW_REFUSED,    /* by what was granted */
  AUDIT_PATH_REFUSED,    /* somebody else than the relay had announced */
  AUDIT_ISSUED,          /* enrolment service: a certificate was made */
  AUDIT_EVENTS
};
const char *audit_event_name(enum audit_event e); /* "flow-end" */

enum audit_path { AUDIT_PATH_NONE, AUDIT_PATH_RELAY, AUDIT_PATH_DIRECT };

/* Pointers NULL, times 0, families 0: not known, or not of this event. */
struct audit_record {
  enum audit_event event;
  uint64_t at, began_at; /* monotonic ns */
  uint64_t ended_at;     /* 0: at */
  const char *agent;     /* SPIFFE ID; of a refused connection, and of a
                            certificate that was made, whoever it is */
  const char *serial;    /* of its certificate, hexadecimal */
  const char *connector, *service, *rule;
  const char *id;               /* of the grant or the flow */
  const char *protocol;         /* "tcp" */
  const char *token, *renews;   /* what a certificate was made for: the token's
                                   id, or the serial of the one before */
  uint16_t port;                /* of the service, 0: it has none */
  struct ztna_addr from;        /* tunnel address, or the outer one */
  struct ztna_addr backend;     /* where the flow went */
  bool has_bytes;               /* the next two are known */
  uint64_t bytes_in, bytes_out; /* from the agent, to the agent */
  bool has_packets;             /* the next two, too */
  uint64_t packets_in, packets_out;
  enum audit_path path; /* at the end */
  enum reason reason;   /* of an end or a refusal */
  uint32_t n_hidden;    /* refusals left out before this one */
};

struct audit_item;

/* Zeroed: one that keeps nothing. */
struct audit_queue {
  struct audit_item *first, *last, *lent;
  size_t n, max;
  uint64_t n_lost; /* that did not fit, ever */
};

/* As much of the text as fits, whole characters of UTF-8; NULL is empty. */
void audit_copy(char *to, size_t room, const char *text);

/* max: records that may wait; 0: none is kept. */
void audit_queue_init(struct audit_queue *q, size_t max);
void audit_queue_done(struct audit_queue *q);
static inline bool audit_is_on(const struct audit_queue *q) {
  return q->max > 0;
}
/* Copies all of it. */
void audit_put(struct audit_queue *q, const struct audit_record *r);
/* The oldest; its text is lent until the next call. False: there is none. */
bool audit_next(struct audit_queue *q, struct audit_record *to);

#endif
