/* relay_limit.c - what one identity may ask of a relay, so that nobody with a
 * certificate takes what others need: connections, requests, lists, and the
 * time of connectors and of other agents that each of them costs. */
#include "role/relay_int.h"

#include <stdlib.h>

enum {
  JOIN_BUCKETS = 4096, /* identities that fall into one share it */
  JOINS_PER_S = 2,
  JOINS_BURST = 50,
  BODY_UNIT = 8192, /* bytes that cost as much as a request */
  LIST_UNIT = 64,   /* services, likewise */
  ASKS_PER_S = 10,
  ASKS_BURST = RELAY_GRANTS,
  TELL_COST = 2 * 1000, /* ns, about: one service in one agent's list */
  TELL_SHARE = 10,      /* a tenth of the time at most is spent on telling */
};

int relay_limit_init(struct relay *r) {
  r->joins = calloc(JOIN_BUCKETS, sizeof(*r->joins));
  return r->joins ? 0 : ZTNA_ENOMEM;
}

void relay_limit_done(struct relay *r) { free(r->joins); }

/* --- connections */

/* By a hash that outlives the party: coming back forgets nothing. */
bool relay_limit_join(struct relay *r, const struct identity *peer) {
  uint64_t h = siphash(r->party_keys[0], peer->spiffe, strlen(peer->spiffe));
  return bucket_take(&r->joins[h % JOIN_BUCKETS], r->now, JOINS_PER_S,
                     JOINS_BURST, 1, 0);
}

static bool is_of(const struct session *s, const struct session *other) {
  return other->admitted && !other->closing && other->role == s->role &&
         !strcmp(relay_session_peer(other)->spiffe,
                 relay_session_peer(s)->spiffe);
}

/* The oldest one that does not speak for its party. A party's list has its few;
 * admins have none and are looked for among all. */
static struct session *oldest_of(const struct session *s, size_t *n) {
  struct session *one, *oldest = NULL;
  *n = 0;
  if (s->party) {
    LIST_FOREACH(one, &s->party->sessions, of_party) {
      if (!is_of(s, one)) continue;
      ++*n;
      if (one != s->party->session) oldest = one;
    }
  } else {
    LIST_FOREACH(one, &s->relay->sessions, all)
    if (is_of(s, one)) oldest = one, ++*n;
  }
  return oldest;
}

void relay_limit_sessions(struct session *s) {
  size_t n;
  struct session *oldest = oldest_of(s, &n);
  if (n > RELAY_SESSIONS && oldest && oldest != s)
    relay_session_close(oldest, REASON_REPLACED);
}

/* --- requests */

static bool take(struct session *s, size_t n) {
  struct bucket *b = s->party ? &s->party->requests : &s->requests;
  return bucket_take(b, s->relay->now, RELAY_REQUESTS, RELAY_REQUESTS,
                     (uint32_t)n, 0);
}

bool relay_limit_request(struct session *s, size_t body) {
  return take(s, 1 + body / BODY_UNIT);
}

bool relay_limit_list(struct session *s) {
  size_t n = s->relay->n_services / LIST_UNIT;
  return take(s, n < RELAY_REQUESTS ? n : RELAY_REQUESTS);
}

bool relay_limit_ask(struct relay *r, struct party *agent) {
  return bucket_take(&agent->new_grants, r->now, ASKS_PER_S, ASKS_BURST, 1, 0);
}

/* --- telling */

uint64_t relay_limit_told(const struct relay *r, size_t n) {
  return r->now + n * (r->n_services + 1) * TELL_COST * TELL_SHARE;
}
