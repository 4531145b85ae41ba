/* agent_cert.c - certificates that are exchanged, or run out, while the agent
 * runs. A path goes on with what its handshake showed, and ends with the first
 * certificate of both ends (PROTOCOL 4); so another one is made beside it
 * before, or as soon as there is something newer to show. */
#include "role/agent_int.h"

#include <string.h>
#include <ztna/err.h>

#include "base/log.h"

/* Before the end: a tenth of what was left at the handshake. */
#define MARGIN_MIN (10 * SEC)
#define MARGIN_MAX (3600 * SEC)
/* No attempt so short of it. */
#define TOO_LATE (2 * SEC)
/* The own certificate was exchanged, and the last attempt failed. */
#define AGAIN_AFTER (30 * SEC)
/* However often a connector says that its own was: a life of seconds has more
 * than one of these. */
#define TOLD_APART (5 * SEC)
/* What is under way on a path arrives, though its heir is in a hurry. */
#define ARRIVES_AFTER SEC
/* An heir's own heir is made in less. */
#define HURRY (3 * SEC)

/* --- when --- */

/* The other end may have a new certificate by then: one knows only by trying.
 * What comes of an attempt is planned in the same way, so a connection that
 * ends no later has its own at a tenth of what is left, and a life has few. */
static uint64_t before_end(const struct agent_way *w) {
  struct ztna_agent *a = w->link->owner;
  uint64_t end = quic_expires_at(path_conn(w->way.path)), left, margin;

  if (end == NEVER || end < a->now + TOO_LATE) return NEVER;
  left = end - a->now;
  margin = left / 10;
  if (margin < MARGIN_MIN) margin = MARGIN_MIN;
  if (margin > MARGIN_MAX) margin = MARGIN_MAX;
  if (margin > left / 2) margin = left / 2;
  return end - agent_renew_jittered(a, margin);
}

static uint64_t renew_at(const struct agent_way *w, bool failed) {
  struct ztna_agent *a = w->link->owner;
  uint64_t at;

  if (!path_is_live(w->way.path)) return NEVER;
  at = before_end(w);
  if (!quic_is_outdated(path_conn(w->way.path))) return at;
  if (!failed) return a->now;
  return time_min(at, a->now + agent_renew_jittered(a, AGAIN_AFTER));
}

/* A route has a time of its own, too. */
static void renew_by(struct agent_way *w, uint64_t at) {
  if (w->way.kind == WAY_RELAY) at = time_min(at, w->renew_at);
  w->renew_at = at;
  w->link->owner->sweep_at = time_min(w->link->owner->sweep_at, at);
}

void agent_cert_plan(struct agent_way *w, bool failed) {
  renew_by(w, renew_at(w, failed));
}

void agent_cert_told(struct link *l) {
  uint64_t now = l->owner->now, at = l->told_at;
  struct agent_way *w;

  if (at <= now) at = !at || at + TOLD_APART < now ? now : at + TOLD_APART;
  l->told_at = at; /* when it is acted upon, which may be still to come */
  for (size_t i = 0; (w = agent_way_at(l, i)); i++)
    if (w->way.path && path_is_live(w->way.path))
      renew_by(w, time_min(w->renew_at, at));
}

/* An heir is not renewed while its predecessor is there, but may be as good as
 * over itself: it was made shortly before the certificates were exchanged. */
bool agent_cert_hurries(const struct agent_way *w, uint64_t since, bool empty) {
  uint64_t now = w->link->owner->now;

  if (now < w->renew_at || now < since + ARRIVES_AFTER) return false;
  return empty || (path_is_live(w->way.path) &&
                   quic_expires_at(path_conn(w->way.path)) < now + HURRY);
}

/* --- the own ones are others --- */

static void exchanged(struct ztna_agent *a) {
  struct agent_way *w;

  for (int i = 0; i < LINKS_MAX; i++)
    for (size_t k = 0; a->links[i] && (w = agent_way_at(a->links[i], k)); k++)
      if (w->way.path && path_is_live(w->way.path)) agent_cert_plan(w, false);
  a->sweep_at = a->now;
}

static bool is_same(const struct tls *t, const struct tls *former, char *why,
                    size_t room) {
  const char *now = tls_identity(t)->spiffe,
             *was = tls_identity(former)->spiffe;

  if (!strcmp(now, was)) return true;
  snprintf(why, room, "the certificate is for %s, this agent is %s", now, was);
  return false;
}

int ztna_agent_set_identity(struct ztna_agent *a,
                            const struct ztna_identity *id, uint64_t now,
                            char *why, size_t room) {
  struct tls *t, *former = a->tls;
  int rc = tls_new(&t, id, why, room);

  if (rc < 0) return rc;
  if (!is_same(t, former, why, room)) {
    tls_free(t);
    return ZTNA_EINVAL;
  }
  a->now = now;
  a->tls = t;
  quic_set_tls(a->quic, t);
  tls_free(former);
  log_info("agent: certificate and CAs exchanged not_after=%lld",
           (long long)tls_identity(t)->not_after);
  agent_peers_forget(a);
  exchanged(a);
  return 0;
}
