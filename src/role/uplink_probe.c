/* uplink_probe.c - is a relay still there? */
#include "role/uplink_int.h"

#define PROBE_EVERY (200 * MS)
#define PROBE_CHANGED (20 * MS)
#define PROBE_FOR (3 * SEC)
#define SILENT_AFTER (600 * MS) /* two probes may be lost */
#define ANSWER_AFTER SEC        /* without one: is the relay still there? */

void uplink_probe(struct uplink *u, uint64_t now) {
  struct quic_info i;

  if (u->state != UP || now < u->probe_at) return;
  u->probe_at = now + PROBE_EVERY;
  quic_info(talk_conn(u->talk), &i);
  if (u->probe_since == NEVER || i.n_recv != u->probe_recv) {
    u->probe_since = now;
    u->probe_recv = i.n_recv;
  }
  quic_ping(talk_conn(u->talk), now);
}

/* One change is told many times, and what left in the middle of it is lost, so
 * the last word asks once more. */
void uplink_network_changed(struct uplink *u, uint64_t now) {
  struct quic_info i;

  if (u->state != UP) return;
  quic_info(talk_conn(u->talk), &i);
  u->probe_since = now;
  u->probe_recv = i.n_recv;
  u->probe_at = time_min(u->probe_at, now + PROBE_CHANGED);
  uplink_probe(u, now);
}

uint64_t uplink_heard(const struct uplink *u) {
  struct quic_info i;

  if (u->state != UP) return 0;
  quic_info(talk_conn(u->talk), &i);
  return i.n_recv;
}

bool uplink_is_silent(const struct uplink *u, uint64_t now) {
  struct quic_info i;

  if (u->state != UP) return true;
  if (u->probe_since == NEVER || now < u->probe_since + SILENT_AFTER)
    return false;
  quic_info(talk_conn(u->talk), &i);
  return i.n_recv == u->probe_recv;
}

static void give_up(struct uplink *u, uint64_t now) {
  struct quic_info i;

  if (u->state != UP || u->probe_since == NEVER) return;
  quic_info(talk_conn(u->talk), &i);
  if (i.n_recv != u->probe_recv)
    u->probe_since = NEVER;
  else if (now >= u->probe_since + PROBE_FOR)
    quic_close(talk_conn(u->talk), REASON_RELAY_UNREACHABLE,
               "no answer for 3 s");
}

/* When to ask whether somebody is there: again, since what left while the
 * network changed is lost, or because an answer is overdue. */
static uint64_t ask_at(const struct uplink *u) {
  uint64_t at;

  if (u->state != UP) return NEVER;
  if (u->probe_since != NEVER) return u->probe_at;
  if (!u->talk->n_requests) return NEVER;
  at = u->talk->waiting_since + ANSWER_AFTER;
  return at > u->probe_at ? at : u->probe_at;
}

void probe_tick(struct uplink *u, uint64_t now) {
  give_up(u, now);
  if (now >= ask_at(u)) uplink_probe(u, now);
}

uint64_t probe_deadline(const struct uplink *u) {
  if (u->state != UP || u->probe_since == NEVER) return ask_at(u);
  return time_min(ask_at(u), u->probe_since + PROBE_FOR);
}
