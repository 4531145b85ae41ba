/* probe_report_path.c - what was found out about one server's address. */
#include "host/probe_report.h"

#include "host/clock.h"
#include "host/probe_fact.h"

int probe_days_left(int64_t not_after) {
  return (int)((not_after - (int64_t)(clock_wall() / SEC)) / 86400);
}

/* --- one server's address */

static bool has_address(const struct probe *p, int family) {
  for (int i = 0; i < p->n_addrs; i++) {
    const struct ztna_addr *a = &p->addrs[i].addr;
    if (a->family == family && !ztna_addr_is_loopback(a) &&
        !ztna_addr_is_link_local(a))
      return true;
  }
  return false;
}

/* Whether packets to it could be sent at all; else why not. */
bool probe_was_tried(const struct probe_path *q, const char **why) {
  const struct probe *p = q->probe;
  bool loopback = ztna_addr_is_loopback(&q->addr);
  *why = NULL;
  if (!q->addr.family)
    *why = p->paths[2 * q->index].addr.family ||
                   p->paths[2 * q->index + 1].addr.family
               ? "its name has no address of this family"
               : p->why[q->index];
  else if (!p->has[q->family == 6] || (!loopback && !has_address(p, q->family)))
    *why = "this machine has no address of this family";
  return !*why;
}

bool probe_is_heard(const struct probe_path *q) {
  return q->ping.n_answered || q->control.reached || q->control.ready;
}

static void report_rtt(json_t *o, const struct probe_path *q) {
  const struct probe_control *c = &q->control;
  struct ping_stats s;
  ping_stats(&q->ping, &s);
  if (s.n_answered) {
    fact(o, "rtt_min_ms", fact_ms(s.min), NULL);
    fact(o, "rtt_avg_ms", fact_ms(s.avg), NULL);
    fact(o, "rtt_p95_ms", fact_ms(s.p95), NULL);
    factf(o, "loss_percent",
          json_real(100.0 * (s.n_sent - s.n_answered) / s.n_sent),
          "%d of %d STUN requests answered", s.n_answered, s.n_sent);
    return;
  }
  const char *why = "it answers no STUN";
  fact(o, "rtt_min_ms", c->ready ? fact_ms(c->info.min_rtt) : NULL,
       c->ready ? "of the control connection, for it answers no STUN" : why);
  fact(o, "rtt_avg_ms", c->ready ? fact_ms(c->info.srtt) : NULL,
       c->ready ? NULL : why);
  fact(o, "rtt_p95_ms", NULL, why);
  fact(o, "loss_percent", NULL, why);
}

/* Our clock against the relay's, which it tells in whole seconds. */
static void report_clock(json_t *o, const struct probe_control *c) {
  json_t *at = json_object_get(c->self, "time");
  if (!json_is_integer(at)) {
    fact(o, "clock_offset_s", NULL, "the relay tells no time");
    return;
  }
  int64_t there_ms = json_integer_value(at) * 1000 + 500;
  int64_t here_ms = c->wall_ms - (int64_t)(c->self_rtt / 2 / MS);
  int64_t off = here_ms - there_ms;
  /* Half a second either way is the relay's rounding. */
  int64_t s = off > 500    ? (off + 500) / 1000
              : off < -500 ? (off - 500) / 1000
                           : 0;
  fact(o, "clock_offset_s", json_integer(s), "to about 1 s");
}

static void report_size(json_t *o, const struct probe_path *q) {
  const struct probe_control *c = &q->control;
  int head = q->family == 4 ? 28 : 48;
  int payload = (int)c->info.udp_payload;
  const char *why = payload >= PROBE_SIZE_MAX ? "the largest that is tried"
                                              : "larger ones were lost";
  fact(o, "udp_payload", json_integer(payload), why);
  fact(o, "path_mtu", json_integer(payload + head), "at least");
  fact(o, "datagram_max", json_integer(payload - QUIC_DGRAM_OVERHEAD), NULL);
}

static void report_control(json_t *o, const struct probe_path *q) {
  const struct probe_control *c = &q->control;
  if (!c->dialled) {
    fact(o, "control", NULL,
         q->probe->o->tls ? "a plain STUN server"
                          : "takes a certificate: --config");
    return;
  }
  if (!c->ready) {
    fact(o, "control", json_false(),
         c->text[0] ? c->text : "no handshake in the time there was");
    return;
  }
  fact(o, "control", json_true(), NULL);
  fact(o, "handshake_ms", fact_ms(c->ready_at - c->dialled_at), NULL);
  fact(o, "quic_version", json_integer(c->info.version), NULL);
  fact(o, "alpn", json_string(c->alpn), NULL);
  fact(o, "retry", json_boolean(c->info.retried), NULL);
  fact(o, "tls_group", json_string(c->group), NULL);
  fact(o, "tls_cipher", json_string(c->cipher), NULL);
  fact(o, "relay_identity", json_string(c->relay), NULL);
  fact(o, "relay_certificate_days",
       json_integer(probe_days_left(c->relay_not_after)), NULL);
  json_t *observed = json_object_get(c->self, "observed");
  fact(o, "observed", observed ? json_incref(observed) : NULL,
       observed ? NULL : "no answer to /v1/self");
  report_clock(o, c);
  report_size(o, q);
}

json_t *probe_report_path(const struct probe_path *q) {
  json_t *o = json_object();
  const char *why;
  fact(o, "address", fact_addr(&q->addr), NULL);
  if (!probe_was_tried(q, &why)) {
    fact(o, "udp", NULL, why);
    return o;
  }
  if (probe_is_heard(q))
    fact(o, "udp", json_true(), NULL);
  else
    factf(o, "udp", json_false(), "no answer to %d questions",
          q->ping.n_sent + q->control.dialled);
  if (!probe_is_heard(q)) return o;
  fact(o, "stun", json_boolean(q->ping.n_answered > 0), NULL);
  report_rtt(o, q);
  report_control(o, q);
  return o;
}
