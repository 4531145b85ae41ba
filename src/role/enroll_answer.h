/* enroll_answer.h - judging what an enrolment service answered
 * (docs/ENROLL.md): nothing of it is used before it is known to be a
 * certificate for our key, for whom we are, by a CA that we trust. */
#ifndef ZTNA_ROLE_ENROLL_ANSWER_H
#define ZTNA_ROLE_ENROLL_ANSWER_H

#include "base/reason.h"
#include "base/sbuf.h"
#include "transport/identity.h"

enum {
  ENROLL_ANSWER_MAX = 128 << 10, /* bytes of a whole answer */
  ENROLL_PEM_MAX = 64 << 10,     /* of certificate or CA in it */
  ENROLL_TEXT = 512,
};

/* What an answer must fit. All lent. */
struct enroll_expect {
  const char *key; /* ours, PEM */
  size_t key_len;
  const char *ca; /* that we trust, PEM: the certificate must be signed by one
                     of them, and the answer must name one of them */
  size_t ca_len;
  const char *trust_domain;    /* of the service */
  const struct identity *same; /* renewal: as now; NULL: whoever it says */
};

struct enroll_result {
  enum reason why;        /* REASON_NONE: granted */
  bool asked;             /* so a token may be used up */
  char text[ENROLL_TEXT]; /* why not, a sentence or two for people */
  /* PEM without anything else, as it may be written: */
  struct sbuf cert; /* intermediates behind it */
  struct sbuf ca;
  struct identity id; /* of the certificate */
};

/* Adds cert, ca and id to r: 0; or sets why and text: ZTNA_EREFUSED or
 * ZTNA_ENOMEM. body: bytes of a peer, NUL terminated. */
int enroll_answer_judge(const struct enroll_expect *x, const char *body,
                        size_t len, struct enroll_result *r);
/* What a service that says no says (problem+json): why, and text. */
void enroll_answer_problem(int status, const char *body, size_t len,
                           struct enroll_result *r);

/* r: why and text; returns ZTNA_EREFUSED. */
int enroll_refuse(struct enroll_result *r, enum reason why, const char *fmt,
                  ...) __attribute__((format(printf, 3, 4)));
void enroll_result_done(struct enroll_result *r);

#endif
