/* uplink.h - the control connection of an agent or connector to one relay:
 * dials, checks that it is the relay it dialled, asks for /v1/self, listens to
 * /v1/events, and comes back after every end with 0.25 s to 30 s of backoff.
 *
 * Free order: the endpoint first (its connections end), then the uplinks. */
#ifndef ZTNA_ROLE_UPLINK_H
#define ZTNA_ROLE_UPLINK_H

#include <jansson.h>

#include "transport/h3.h"

struct uplink;

struct uplink_events {
  /* /v1/self was answered. Success of what the role does next resets the
   * backoff: uplink_confirm. */
  void (*on_up)(struct uplink *u, void *ud, json_t *self);
  void (*on_event)(struct uplink *u, void *ud, const char *name, json_t *e);
  /* An attempt failed or the connection ended; another follows. text: detail
   * for people. */
  void (*on_down)(struct uplink *u, void *ud, enum reason why,
                  const char *text);
};

struct uplink_options {
  struct quic *quic;
  const struct rng *rng;
  const char *relay;        /* "host:port" as configured, copied */
  const char *trust_domain; /* ours, lent */
  const struct uplink_events *ev;
  void *ud;
  uint64_t keep_alive; /* ns; 0: 15 s */
};

struct uplink *uplink_new(const struct uplink_options *o);
void uplink_free(struct uplink *u);

const char *uplink_name(const struct uplink *u); /* "host:port" */
/* The addresses of the relay's name; copied, at most 8. The first call starts
 * dialling. */
void uplink_set_addrs(struct uplink *u, const struct ztna_addr *v, size_t n,
                      uint64_t now);
/* True when the name should be resolved (again): at first, and after attempts
 * that failed; clears the wish. */
bool uplink_wants_addrs(struct uplink *u);

bool uplink_is_up(const struct uplink *u);
void uplink_confirm(struct uplink *u); /* it worked: next backoff is short */
struct ztna_addr uplink_remote(const struct uplink *u);
/* Is one of these relays at that address, whatever the port? */
bool uplinks_are_at(struct uplink *const *v, size_t n,
                    const struct ztna_addr *a);
uint64_t uplink_rtt(const struct uplink *u);               /* ns; 0 unknown */
const char *uplink_relay_identity(const struct uplink *u); /* SPIFFE or "" */
/* Why it is down. */
enum reason uplink_why(const struct uplink *u, const char **text);
/* In on_down: this side ended a connection that was there, since a list names
 * the relay's certificate. What such a relay gave holds no longer. */
bool uplink_is_revoked(const struct uplink *u);
/* In on_down: the relay ended one, saying that this side is revoked. */
bool uplink_revokes_us(const struct uplink *u);
/* For status pages: relay, connected, reason, why, fix, text, rtt_ms. */
json_t *uplink_status(const struct uplink *u);

typedef void (*uplink_answer_fn)(void *ud, int status, json_t *body);
/* body is not consumed and may be NULL; answer body is NULL when there is none
 * or it is no JSON. status 0: no answer. False: not up. */
bool uplink_request(struct uplink *u, const char *method, const char *path,
                    json_t *body, uplink_answer_fn fn, void *ud);
/* The reason in a problem+json answer. */
enum reason uplink_problem(int status, json_t *body);

/* Is it still there? Asks every 200 ms until something comes; silence for 3 s
 * ends it. */
void uplink_probe(struct uplink *u, uint64_t now);
/* Asks at once, from where this machine is now; silence counts from here. */
void uplink_network_changed(struct uplink *u, uint64_t now);
/* Packets received from it so far on this connection. */
uint64_t uplink_heard(const struct uplink *u);
/* It is not up, or has not answered probes for a while: what else is silent may
 * be so because of this machine's line. */
bool uplink_is_silent(const struct uplink *u, uint64_t now);
/* Goodbye (shutting-down); no further attempts. */
void uplink_close(struct uplink *u);
bool uplink_is_closed(const struct uplink *u);

void uplink_tick(struct uplink *u, uint64_t now);
uint64_t uplink_deadline(const struct uplink *u);

#endif
