/* agent_peer.c - connectors whose certificate this agent does not take: revoked
 * by its own list, of a CA that went, run out, of another name. Services are
 * asked for elsewhere; the relay is told whom not to choose. */
#include "role/agent_int.h"

#include <string.h>

#include "base/log.h"
#include "role/agent_flow.h"

/* It is not dialled again before: it may get another certificate, or this agent
 * another list. Doubled each time. */
#define OUT_FIRST SEC
#define OUT_MAX (30 * SEC)
enum { TOLD_MAX = 8 }; /* connectors per request */

bool agent_peer_is_final(enum reason why) {
  return why == REASON_IDENTITY_MISMATCH || why == REASON_BAD_CERTIFICATE ||
         why == REASON_CERTIFICATE_EXPIRED || why == REASON_REVOKED;
}

/* Not one with which something works: there it has proven who it is. */
bool agent_peer_is_out(const struct link *l) {
  return l->out.why && l->owner->now < l->out.until && !ways_work(&l->ways);
}

void agent_peer_in(struct link *l) { memset(&l->out, 0, sizeof(l->out)); }

static void remember(struct link *l, enum reason why) {
  unsigned n = l->out.n < 5 ? l->out.n : 5;
  uint64_t wait = OUT_FIRST << n;
  struct service *s;

  l->out.n++;
  l->out.why = why;
  l->out.until = l->owner->now + (wait < OUT_MAX ? wait : OUT_MAX);
  each_service(l->owner, l, s) {
    s->peer_why = why;
    strcpy(s->peer, l->connector);
  }
}

/* What its connections carried may not go on: a certificate that was revoked,
 * or whose CA went, is somebody else's word now. */
void agent_peer_put_out(struct link *l, enum reason why) {
  log_warn("agent: connector not let in connector=%s reason=%s: %s; can be "
           "fixed by: %s",
           l->connector, reason_name(why), reason_text(why), reason_fix(why));
  remember(l, why);
  if (why == REASON_REVOKED || why == REASON_BAD_CERTIFICATE)
    agent_flows_abandon(l->owner, l, why);
}

void agent_peers_forget(struct ztna_agent *a) {
  for (int i = 0; i < LINKS_MAX; i++)
    if (a->links[i]) agent_peer_in(a->links[i]);
  for (size_t i = 0; i < a->n_services; i++) {
    struct service *s = a->services[i];

    if (s->use == USE_REFUSED && s->peer_why) s->retry_at = a->now;
    s->peer_why = REASON_NONE;
  }
}

/* The relay has no other, or does not care. */
enum reason agent_peer_judge(struct ztna_agent *a, size_t relay,
                             json_t *granted) {
  const char *name = json_string_value(json_object_get(granted, "connector"));
  const struct link *l = name ? agent_link_named(a, name) : NULL;

  if (!l || !agent_peer_is_out(l)) return REASON_NONE;
  agent_route_delete(a, relay,
                     json_string_value(json_object_get(granted, "route")),
                     REASON_IDLE);
  return l->out.why;
}

json_t *agent_peers_out(const struct ztna_agent *a) {
  json_t *list = NULL;

  for (int i = 0; i < LINKS_MAX; i++) {
    const struct link *l = a->links[i];

    if (!l || !agent_peer_is_out(l)) continue;
    if (!list) list = json_array();
    if (json_array_size(list) < TOLD_MAX)
      json_array_append_new(list, json_string(l->connector));
  }
  return list;
}
