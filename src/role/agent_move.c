/* agent_move.c - a service that goes on at another connector: what began at the
 * former one may stay there, and its context is kept open to come back to. */
#include "role/agent_int.h"

#include <string.h>

#include "base/log.h"

void agent_service_forget_link(struct service *s, const struct link *l) {
  for (int i = 0; i < LEFT_MAX; i++)
    if (s->left[i].link == l) s->left[i].link = NULL;
}

struct left *agent_service_has_left(struct service *s, const struct link *l,
                                    uint64_t context) {
  for (int i = 0; i < LEFT_MAX; i++)
    if (s->left[i].link == l && s->left[i].context == context)
      return &s->left[i];
  return NULL;
}

const struct left *agent_service_left(const struct service *s, uint32_t epoch) {
  for (int i = 0; i < LEFT_MAX; i++) {
    const struct left *x = &s->left[i];

    if (x->link && x->epoch == epoch && x->serves &&
        path_is_live(x->link->path))
      return x;
  }
  return NULL;
}

/* The oldest of such makes room. */
void agent_service_leave(struct service *s, bool serves) {
  struct left *x = &s->left[0];

  if (s->use != USE_OPEN) return;
  s->link->owner->sweep_at = s->link->owner->now;
  for (int i = 1; i < LEFT_MAX && x->link; i++)
    if (!s->left[i].link || s->left[i].epoch < x->epoch) x = &s->left[i];
  *x = (struct left){.link = s->link,
                     .context = s->context,
                     .epoch = s->epoch,
                     .serves = serves};
  memcpy(x->grant, s->grant, sizeof(x->grant));
  memcpy(x->route, s->route, sizeof(x->route));
}

bool agent_service_come_back(struct service *s, const char *grant) {
  for (int i = 0; i < LEFT_MAX; i++) {
    struct left *x = &s->left[i];

    if (!x->link || strcmp(x->grant, grant) || !path_is_live(x->link->path))
      continue;
    s->link = x->link;
    s->context = x->context;
    s->epoch = x->epoch;
    x->link = NULL;
    return true;
  }
  return false;
}

/* Conversations stay with a connector that is draining, and leave a dead
 * backend. */
void agent_service_move(struct ztna_agent *a, struct service *s,
                        enum reason why) {
  if (s->use != USE_OPEN) return;
  log_info("agent: service moves service=%s connector=%s reason=%s", s->id,
           s->link->connector, reason_name(why));
  agent_service_leave(s, why == REASON_DRAINING);
  s->link = NULL;
  s->grant[0] = 0;
  s->use = USE_NONE;
  agent_service_want(a, s);
}

enum reason agent_service_obstacle(const struct service *s) {
  enum reason why = reason_find(s->state);

  return why == REASON_BACKEND_DOWN || why == REASON_DRAINING ? why
                                                              : REASON_NONE;
}
