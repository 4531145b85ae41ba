/* agent_flow.c - TCP flows and the services that they want. */
#include "role/agent_flow.h"

#include "role/agent_local.h"

#define TICK (1 * SEC)
#define ELSEWHERE_FOR (5 * SEC)

static void tick_by(struct ztna_agent *a, uint64_t at) {
  a->flows_at = time_min(a->flows_at, at);
}

/* --- one flow --- */

/* The path that it can go over now, or NULL. A flow that runs through the
 * connector its service has left is resumed there. */
static struct path *path_for(const struct agent_flow *f) {
  struct service *s = f->service;
  struct link *l = f->flow->answered && f->link ? f->link : s->link;

  if (!l || (l == s->link && s->use != USE_OPEN)) return NULL;
  return path_is_live(l->path) ? l->path : NULL;
}

/* Starts or resumes it if it waits for that. When the path allows no stream now
 * it says so later. */
static void go(struct ztna_agent *a, struct agent_flow *f) {
  struct path *p = f->flow->state == TCPFLOW_LOST ? path_for(f) : NULL;

  if (!p) return;
  a->sweep_at = time_min(a->sweep_at, a->now + 100 * MS);
  if (f->flow->answered) {
    tcpflow_resume(f->flow, p);
  } else {
    /* A connector may still know what was asked on a path that died. */
    if (f->link) rng_fill(&a->rng, f->flow->id, FLOW_ID_LEN);
    f->link = f->service->link;
    tcpflow_start(f->flow, p, f->service->context, &f->dst, &f->src);
  }
}

enum reason agent_flow_begin(struct ztna_agent *a, struct service *s,
                             struct agent_flow *f) {
  enum reason why = agent_service_obstacle(s);

  s->used_at = a->now;
  if (s->use == USE_REFUSED && a->now < s->retry_at) return s->why;
  if (s->use == USE_OPEN && why) return why;
  f->service = s;
  f->next = NULL;
  f->prev = s->tcp_last;
  if (s->tcp_last)
    s->tcp_last->next = f;
  else
    s->tcp = f;
  s->tcp_last = f;
  a->counters.n_tcp_flows++;
  tick_by(a, a->now + TICK);
  agent_service_want(a, s);
  go(a, f);
  return REASON_NONE;
}

void agent_flow_lost(struct ztna_agent *a, struct agent_flow *f) {
  tick_by(a, a->now + TICK);
}

void agent_flow_end(struct ztna_agent *a, struct agent_flow *f) {
  struct service *s = f->service;

  if (!s) return;
  if (f->prev)
    f->prev->next = f->next;
  else
    s->tcp = f->next;
  if (f->next)
    f->next->prev = f->prev;
  else
    s->tcp_last = f->prev;
  f->next = f->prev = NULL;
  f->service = NULL;
  a->counters.n_tcp_flows--;
}

/* --- those of a service --- */

void agent_flows_go(struct ztna_agent *a, struct service *s) {
  for (struct agent_flow *f = s->tcp, *next; f; f = next) {
    next = f->next;
    go(a, f);
  }
}

void agent_flows_moved(struct service *s) {
  for (struct agent_flow *f = s->tcp; f; f = f->next)
    if (f->link && f->link != s->link) tcpflow_unask(f->flow);
}

void agent_flows_abandon(struct ztna_agent *a, const struct link *l,
                         enum reason why) {
  for (size_t i = 0; i < a->n_services; i++)
    for (struct agent_flow *f = a->services[i]->tcp, *next; f; f = next) {
      next = f->next;
      if (f->link == l && f->flow->answered) f->on_refused(f, why);
    }
}

/* Returns whether it left a stream that may still be heard. */
static bool follow(struct ztna_agent *a, struct agent_flow *f, bool planned) {
  struct link *l = f->link;
  struct stream *s = f->flow->stream;
  bool left = false;

  if (s && stream_path(s) != l->path && path_is_live(l->path)) {
    left = !planned;
    if (planned)
      tcpflow_move(f->flow, l->path); /* or later: retry */
    else
      tcpflow_leave(f->flow);
  }
  go(a, f);
  return left;
}

bool agent_flows_follow(struct ztna_agent *a, struct link *l, bool planned) {
  bool left = false;

  for (size_t i = 0; i < a->n_services; i++)
    for (struct agent_flow *f = a->services[i]->tcp, *next; f; f = next) {
      next = f->next;
      if (f->link == l) left |= follow(a, f, planned);
    }
  return left;
}

void agent_flows_forget_link(struct ztna_agent *a, const struct link *l) {
  for (size_t i = 0; i < a->n_services; i++)
    for (struct agent_flow *f = a->services[i]->tcp; f; f = f->next)
      if (f->link == l) f->link = NULL;
}

/* A flow that is connected outlives a relay, or a connector's absence, for as
 * long as tcpflow.h says; not that its user may not use the service any more.
 */
static bool is_final(enum reason why) {
  switch (why) {
  case REASON_NOT_ALLOWED:
  case REASON_PORT_NOT_ALLOWED:
  case REASON_EXPIRED:
  case REASON_REVOKED:
  case REASON_BAD_CERTIFICATE:
  case REASON_CERTIFICATE_EXPIRED:
  case REASON_IDENTITY_MISMATCH:
    return true;
  default:
    return false;
  }
}

void agent_flows_refused(struct ztna_agent *a, struct service *s,
                         enum reason why) {
  for (struct agent_flow *f = s->tcp, *next; f; f = next) {
    next = f->next;
    if (!f->flow->answered || is_final(why)) f->on_refused(f, why);
  }
  tick_by(a, a->now + TICK);
}

/* --- all --- */

/* Its connector is gone, and the service is already elsewhere: the program
 * should not wait as long as for one that may come back. */
static void hasten(struct ztna_agent *a, struct service *s) {
  for (struct agent_flow *f = s->tcp; f; f = f->next)
    if (f->flow->state == TCPFLOW_LOST && f->flow->answered &&
        s->use == USE_OPEN && f->link != s->link)
      f->flow->until = time_min(f->flow->until, a->now + ELSEWHERE_FOR);
}

static void retry(struct ztna_agent *a, struct service *s, bool early) {
  if (!s->tcp) return;
  if (s->use == USE_REFUSED && a->now < s->retry_at && !early) return;
  if (s->use == USE_NONE || s->use == USE_REFUSED || s->use == USE_ASKING)
    agent_service_want(a, s);
  for (struct agent_flow *f = s->tcp, *next; f; f = next) {
    next = f->next;
    if (f->link)
      follow(a, f, true);
    else
      go(a, f);
  }
  hasten(a, s);
}

void agent_flows_retry(struct ztna_agent *a) {
  for (size_t i = 0; i < a->n_services; i++) retry(a, a->services[i], true);
}

void agent_flows_tick(struct ztna_agent *a, uint64_t now) {
  if (now < a->flows_at) return;
  a->flows_at = a->counters.n_tcp_flows ? now + TICK : NEVER;
  for (size_t i = 0; i < a->n_services; i++) retry(a, a->services[i], false);
  agent_socks_tick(a, now);
}

uint64_t agent_flows_deadline(const struct ztna_agent *a) {
  return a->flows_at;
}
