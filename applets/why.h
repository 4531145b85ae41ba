/* why.h - one `ztna why`: its steps, and what they found. */
#ifndef ZTNA_WHY_H
#define ZTNA_WHY_H

#include <jansson.h>

#include "base/reason.h"
#include "host/config.h"

enum { WHY_STEPS = 16, WHY_TEXT = 600 };

enum why_result {
  WHY_OK,
  WHY_FAILED,
  WHY_NOTE,     /* worth knowing, no failure */
  WHY_LEFT_OUT, /* cannot be judged here */
};

struct why_step {
  const char *name;
  enum why_result result;
  char text[WHY_TEXT];
};

struct why {
  /* asked */
  struct ztna_addr http;
  const char *from;      /* how that was found */
  char id[64];           /* as given; then the service's */
  struct ztna_addr addr; /* given in place of the id; family 0: not */
  uint16_t port;         /* 0: none */
  unsigned protocol;     /* PROTO_; 0: not chosen */

  /* found */
  json_t *status, *service; /* the agent's, and in it; NULL: not known */
  struct ztna_addr at;      /* where it is tried, with the port */
  struct why_step steps[WHY_STEPS];
  size_t n_steps;
  int code;        /* EXIT_ */
  bool relay_down; /* but a direct path works without it */
  bool tried;
  char reason[64], why[WHY_TEXT], fix[WHY_TEXT]; /* empty: it is well */
};

/* To the end, or to the first step that fails. */
void why_walk(struct why *w);
void why_done(struct why *w);

/* --- what the steps tell (why_say.c); texts may hold what peers said */

void why_say(struct why *w, const char *name, enum why_result result,
             const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* The step fails for a reason of the table; its sentence and remedy are said.
 * Always false. */
bool why_fail(struct why *w, const char *name, enum reason why, const char *fmt,
              ...) __attribute__((format(printf, 4, 5)));
/* For what is in no table. Always false. */
bool why_fail_here(struct why *w, const char *name, int code, const char *why,
                   const char *fix);
const char *why_protocol(unsigned protocol); /* "udp" */
/* False: the agent does not answer (any more); *rc is http_get's. */
bool why_look(struct why *w, int *rc);
/* This member of an object as text; "" when it is none. */
const char *why_text(const json_t *object, const char *key);
double why_number(const json_t *object, const char *key); /* 0 when none */
bool why_is(const json_t *object, const char *key);       /* true */
/* Among the addresses of a service, or of the agent. */
bool why_has_address(const json_t *object, const struct ztna_addr *addr);
/* Texts of a list, with commas. */
void why_join(const json_t *list, char *text, size_t room);

/* --- steps with files of their own: false ends the walk */

bool why_service(struct why *w);
bool why_address(struct why *w);
bool why_use(struct why *w);
bool why_grant(struct why *w);
bool why_try(struct why *w);

#endif
