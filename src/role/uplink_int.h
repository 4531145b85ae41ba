/* uplink_int.h - what the files uplink*.c share. Nobody else includes it.
 *
 *   uplink         which relay, when to dial, how it looks   uplink.c
 *   talk           one connection to it                      uplink_talk.c
 *   renewal        the next connection beside the present    uplink_renew.c
 *   probe          is it still there?                        uplink_probe.c
 */
#ifndef ZTNA_ROLE_UPLINK_INT_H
#define ZTNA_ROLE_UPLINK_INT_H

#include "base/time.h"
#include "codec/handle.h"
#include "role/uplink.h"

enum {
  UPLINK_ADDRS = 8,
  UPLINK_HOST = 256,
  UPLINK_TEXT = 320,
  UPLINK_HANDLE = 2 * HANDLE_LEN + 1,
};

#define UPLINK_ANSWER (3 * SEC) /* what is asked first is answered by then */

struct talk { /* lives until its connection has ended */
  struct uplink *u;
  struct h3 *session;
  unsigned n_requests;        /* unanswered */
  uint64_t waiting_since;     /* for the next answer */
  uint64_t self_by;           /* the answer to /v1/self; NEVER */
  bool replaced;              /* another took over: nobody else asks here */
  char name[UPLINK_HANDLE];   /* as the relay calls it; or "" */
  char mismatch[UPLINK_TEXT]; /* what is wrong with its identity, or "" */
};

struct uplink {
  struct uplink_options o;
  char relay[UPLINK_HOST], host[UPLINK_HOST], trust_domain[64];
  char identity[IDENTITY_SPIFFE_MAX + 1];
  struct ztna_addr addrs[UPLINK_ADDRS];
  size_t n_addrs, next_addr;
  struct ztna_addr remote;
  enum { WAITING, DIALLING, UP, CLOSED } state;
  struct talk *talk; /* requests go by it; NULL: none */
  size_t n_talks;    /* of which connections have not ended */
  unsigned n_failed; /* attempts since the last success */
  bool wants_addrs;
  uint64_t retry_at;
  uint64_t probe_at, probe_since; /* unanswered since; NEVER */
  uint64_t probe_recv;            /* packets received at that time */
  enum reason why;
  char text[UPLINK_TEXT];
  bool is_revoked, revokes_us;
  /* renewal */
  struct talk *next;   /* being made; NULL: none is */
  bool next_asked;     /* to take over */
  struct talk *former; /* what it was asked is still answered; NULL */
  json_t *held;        /* events, until the former's are all here; NULL */
  size_t held_bytes;   /* of their lines */
  uint64_t next_by, former_by, held_by; /* their patience */
  uint64_t early;                       /* before its end it is made anew */
  uint64_t renew_at;                    /* not before */
  unsigned n_not_renewed;
  bool hurry; /* the end is our own: dial again at once */
};

/* uplink.c */
/* The talk's connection has ended, all its requests are answered. */
void uplink_talk_ended(struct talk *t, const struct quic_end *why);
void uplink_came_up(struct uplink *u, json_t *self);
void uplink_tell(struct uplink *u, json_t *event);
/* Who the relay of its talk is. */
void uplink_know(struct uplink *u);

/* uplink_talk.c */
/* Dials; NULL: no memory. */
struct talk *talk_dial(struct uplink *u, uint64_t now);
struct quic_conn *talk_conn(const struct talk *t);
void talk_close(struct talk *t, enum reason why, const char *text);
bool talk_request(struct talk *t, const char *method, const char *path,
                  json_t *body, uplink_answer_fn fn, void *ud);
/* instead: of another talk whose place it takes; NULL: of none. */
void talk_ask_events(struct talk *t, const struct talk *instead);

/* uplink_renew.c */
/* A connection has come up: when is the next one made? */
void renew_plan(struct uplink *u);
void renew_tick(struct uplink *u, uint64_t now);
uint64_t renew_deadline(const struct uplink *u);
/* The next one answered; the relay lets it take over, as its first event or the
 * end of the former's says; it may not. */
void renew_self(struct uplink *u, int status, json_t *self);
void renew_begin_events(struct uplink *u);
void renew_no_events(struct uplink *u, enum reason why);
/* The former one's events have all come. */
void renew_former_read(struct uplink *u);
void renew_failed(struct uplink *u, const struct quic_end *why);
/* A former one ended without an answer that it owed. */
void renew_owed(struct uplink *u);
/* The present connection is gone: neither of the others counts. */
void renew_drop(struct uplink *u);
/* An event of the present connection, a line of so many bytes: it waits for the
 * former's. */
bool renew_hold(struct uplink *u, json_t *event, size_t len);

/* uplink_probe.c */
void probe_tick(struct uplink *u, uint64_t now);
uint64_t probe_deadline(const struct uplink *u);

#endif
