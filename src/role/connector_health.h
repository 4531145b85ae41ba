/* connector_health.h - is a service healthy? When it is asked, what its answers
 * make of it, and what is said about it. Pure: the asking is the skin's
 * (host/check.h).
 *
 * A service without a check is always up. One with a check is down until its
 * first check passed: by then, or `timeout` later, it is decided; from then on
 * `fail_after` failures in a row take it down, and `pass_after` passes in a row
 * bring it back. After a failure of a service that is up the next checks come
 * twice as often, so that it is down within fail_after * every, a backend that
 * does not answer at all included (when timeout is at most every / 2 and
 * fail_after more than one). */
#ifndef ZTNA_ROLE_CONNECTOR_HEALTH_H
#define ZTNA_ROLE_CONNECTOR_HEALTH_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct health_rule {
  uint64_t every;   /* ns, start to start; 0: there is no check */
  uint64_t timeout; /* ns */
  uint32_t fail_after, pass_after; /* in a row; 0 counts as 1 */
};

struct health {
  struct health_rule rule;
  enum { HEALTH_UP, HEALTH_DOWN, HEALTH_STARTING } state;
  bool running;      /* a check is under way */
  uint64_t begun_at; /* the check that runs, or ran last */
  uint64_t next_at;  /* when the next one is due; NEVER: no check */
  uint64_t since;    /* of the state */
  uint64_t took;     /* the last one's duration, ns */
  uint32_t n_row;    /* results in a row that speak against the state */
  uint64_t n_passed, n_failed;
  char error[96]; /* of the last one, in words; empty: it passed */
};

void health_init(struct health *h, const struct health_rule *rule,
                 uint64_t now);
/* Asked by another rule, or something else: what is known of it stands until
 * this is; counts anew, at once. One that is not checked is up. */
void health_change(struct health *h, const struct health_rule *rule,
                   uint64_t now);
bool health_rule_is(const struct health *h, const struct health_rule *rule);
/* Checked anew at once, whatever was planned: its backend is somewhere else. */
void health_hurry(struct health *h, uint64_t now);
/* True: a check begins now. */
bool health_begin(struct health *h, uint64_t now);
/* Its result; error: in words, NULL: it passed. Without a running check it is
 * too late and counts for nothing. True: up and down changed. */
bool health_end(struct health *h, uint64_t now, const char *error);
/* True: the running check has had its time and counts as failed; *changed as
 * health_end returns it. */
bool health_tick(struct health *h, uint64_t now, bool *changed);
uint64_t health_deadline(const struct health *h);

bool health_is_up(const struct health *h);
/* "up", "down". */
const char *health_name(const struct health *h);
/* For status: adds health, since_ms, error, check_ms, passed, failed. */
void health_status(const struct health *h, uint64_t now, json_t *into);

#endif
