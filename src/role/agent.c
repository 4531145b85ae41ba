/* agent.c - life, verbs and relays of the agent (ztna/agent.h). */
#include "role/agent_int.h"

#include <stdlib.h>
#include <string.h>
#include <ztna/err.h>

#include "base/hex.h"
#include "base/log.h"
#include "base/map.h"
#include "role/agent_flow.h"
#include "role/agent_tcp.h"
#include "role/agent_local.h"
#include "role/grant_json.h"

#define FLOW_IDLE (180 * SEC) /* a little more than a connector's 2 minutes */

/* --- life --- */

int ztna_agent_global_init(void (*random)(void *ctx, void *buf, size_t len),
                           void *random_ctx) {
  static struct rng rng;

  rng = (struct rng){random, random_ctx};
  return tls_global_init(&rng, NULL);
}

/* Nobody else may choose them as a place for packets. */
static bool is_relay(void *ud, const struct ztna_addr *to) {
  const struct ztna_agent *a = ud;

  return uplinks_are_at(a->uplinks, a->n_uplinks, to);
}

static int copy_config(struct ztna_agent *a,
                       const struct ztna_agent_config *cfg) {
  a->mtu = cfg->mtu ? cfg->mtu : ZTNA_AGENT_MTU_MIN;
  a->offload = cfg->offload;
  a->offload_udp = cfg->offload_udp;
  if (cfg->n_networks > NETWORKS_MAX || cfg->n_services > PATTERNS_MAX ||
      cfg->n_direct_networks > OUTSIDE_NETWORKS)
    return ZTNA_EINVAL;
  for (size_t i = 0; i < cfg->n_direct_networks; i++)
    a->outside.networks[a->outside.n_networks++] = cfg->direct_networks[i];
  for (size_t i = 0; i < cfg->n_networks; i++)
    a->networks[a->n_networks++] = cfg->networks[i];
  for (size_t i = 0; i < cfg->n_services; i++)
    if (!(a->patterns[a->n_patterns++] = strdup(cfg->services[i])))
      return ZTNA_ENOMEM;
  return 0;
}

static int make(struct ztna_agent *a, const struct ztna_agent_config *cfg,
                char *why, size_t room) {
  struct quic_config q = {.rng = &a->rng, .retry = QUIC_RETRY_NEVER};
  uint8_t raw[ID_LEN];
  int rc;

  a->rng = (struct rng){cfg->random, cfg->random_ctx};
  if (!cfg->n_relays || (cfg->mtu && (cfg->mtu < ZTNA_AGENT_MTU_MIN ||
                                      cfg->mtu > ZTNA_AGENT_MTU_MAX))) {
    snprintf(why, room, "no relay, or an MTU outside 1280 to 1500");
    return ZTNA_EINVAL;
  }
  if ((rc = tls_new(&a->tls, &cfg->identity, why, room)) < 0) return rc;
  if (tls_identity(a->tls)->role != ROLE_AGENT) {
    snprintf(why, room, "the certificate is for %s, not for an agent",
             tls_identity(a->tls)->spiffe);
    return ZTNA_ETLS;
  }
  rng_fill(&a->rng, raw, sizeof(raw));
  hex_print(raw, sizeof(raw), a->instance);
  rng_fill(&a->rng, q.secret, sizeof(q.secret));
  q.tls = a->tls;
  q.cubic = cfg->cubic;
  map_init(&a->by_addr, 17, 2 * SERVICES_MAX, &a->rng);
  a->quic = quic_new(&q);
  a->tcp.quic = a->quic;
  a->flows = flows_new(FLOWS_MAX, 1, FLOW_IDLE, &a->rng);
  if (!a->quic || !a->flows || pool_init(&a->pool, POOL_PACKETS) < 0 ||
      ipq_init(&a->out, OUT_BYTES) < 0)
    return ZTNA_ENOMEM;
  if ((rc = copy_config(a, cfg)) < 0) return rc;
  if (direct_common_init(&a->direct, &a->rng, &a->outside, cfg->direct) < 0)
    return ZTNA_ENOMEM;
  a->direct.is_forbidden = is_relay;
  a->direct.ud = a;
  return agent_relays_make(a, cfg);
}

int ztna_agent_new(struct ztna_agent **out, const struct ztna_agent_config *cfg,
                   uint64_t now, char *why, size_t room) {
  struct ztna_agent *a = calloc(1, sizeof(*a));
  int rc;

  snprintf(why, room, "no memory");
  if (!a) return ZTNA_ENOMEM;
  a->now = now;
  a->sweep_at = a->flows_at = NEVER;
  rc = make(a, cfg, why, room);
  if (rc < 0) {
    ztna_agent_free(a);
    return rc;
  }
  *out = a;
  return 0;
}

void ztna_agent_free(struct ztna_agent *a) {
  if (!a) return;
  a->stopping = true;
  agent_socks_free(a);
  agent_tcp_free(a);
  agent_udp_free(a);
  agent_links_free(a);
  if (a->quic) quic_free(a->quic);
  direct_common_done(&a->direct);
  for (size_t i = 0; i < a->n_uplinks; i++) {
    uplink_free(a->uplinks[i]);
    json_decref(a->lists[i]);
  }
  agent_services_free(a);
  flows_free(a->flows);
  map_done(&a->by_addr);
  ipq_done(&a->out);
  pool_done(&a->pool);
  bytes_pool_done(&a->tcp.pool);
  tls_free(a->tls);
  for (size_t i = 0; i < a->n_patterns; i++) free(a->patterns[i]);
  free(a->uplinks);
  free(a);
}

/* --- verbs --- */

void ztna_agent_udp_in(struct ztna_agent *a, uint64_t now,
                       const struct dgram *d) {
  a->now = now;
  if (!direct_udp_in(&a->direct, now, d)) quic_dgram_in(a->quic, now, d);
}

void ztna_agent_tick(struct ztna_agent *a, uint64_t now) {
  a->now = now;
  quic_tick(a->quic, now);
  if (!a->stopping) agent_relays_tick(a, now);
  direct_tick(&a->direct, now);
  agent_services_tick(a, now);
  agent_links_tick(a, now);
  agent_flows_tick(a, now);
  agent_tcp_tick(a, now);
}

void ztna_agent_network_changed(struct ztna_agent *a, uint64_t now) {
  a->now = now;
  for (size_t i = 0; i < a->n_uplinks; i++)
    uplink_network_changed(a->uplinks[i], now);
  agent_routes_hold(a, now);
  agent_renew_soon(a, now);
  direct_network_changed(&a->direct, now);
}

int ztna_agent_next(struct ztna_agent *a, uint64_t now, struct dgram *v,
                    int max) {
  int n;

  a->now = now;
  n = quic_next(a->quic, now, v, max);
  return n ? n : direct_next(&a->direct, now, v, max);
}

uint64_t ztna_agent_deadline(const struct ztna_agent *a) {
  uint64_t at = quic_deadline(a->quic);

  at = time_min(at, agent_relays_deadline(a));
  at = time_min(at, direct_deadline(&a->direct));
  at = time_min(at, flows_deadline(a->flows));
  at = time_min(at, agent_flows_deadline(a));
  at = time_min(at, agent_tcp_deadline(a));
  return time_min(at, a->sweep_at);
}

void ztna_agent_stop(struct ztna_agent *a, uint64_t now) {
  a->now = now;
  a->stopping = true;
  agent_socks_stop(a, REASON_SHUTTING_DOWN);
  agent_tcp_stop(a, REASON_SHUTTING_DOWN);
  agent_links_close(a, REASON_SHUTTING_DOWN);
  for (size_t i = 0; i < a->n_uplinks; i++) uplink_close(a->uplinks[i]);
}

bool ztna_agent_stopped(const struct ztna_agent *a) {
  for (size_t i = 0; i < a->n_uplinks; i++)
    if (!uplink_is_closed(a->uplinks[i])) return false;
  return a->stopping;
}

/* --- asked --- */

uint32_t ztna_agent_generation(const struct ztna_agent *a) {
  return a->generation;
}

int ztna_agent_addresses(const struct ztna_agent *a, struct ztna_addr v[2]) {
  int n = 0;

  for (int i = 0; i < 2; i++)
    if (a->addrs[i].family) v[n++] = a->addrs[i];
  return n;
}

bool ztna_agent_ready(const struct ztna_agent *a, const char **why) {
  enum reason r = uplink_why(agent_relay(a), NULL);

  if (a->stopping) r = REASON_SHUTTING_DOWN;
  *why = reason_name(r);
  return !r && a->up;
}

static const struct metric metrics[] = {
    {"ztna_agent_services", "services this agent may use", METRIC_GAUGE,
     offsetof(struct agent_counters, n_services)},
    {"ztna_agent_links", "connectors linked", METRIC_GAUGE,
     offsetof(struct agent_counters, n_links)},
    {"ztna_agent_flows", "UDP and ICMP conversations", METRIC_GAUGE,
     offsetof(struct agent_counters, n_flows)},
    {"ztna_agent_tcp_flows", "TCP connections", METRIC_GAUGE,
     offsetof(struct agent_counters, n_tcp_flows)},
    {"ztna_agent_tcp_held", "SYNs that wait for their backend", METRIC_GAUGE,
     offsetof(struct agent_counters, n_tcp_held)},
    {"ztna_agent_tcp_opened_total", "TCP connections of this machine begun",
     METRIC_COUNTER, offsetof(struct agent_counters, n_tcp_opened)},
    {"ztna_agent_tcp_refused_total", "TCP connections of this machine refused",
     METRIC_REASONS, offsetof(struct agent_counters, tcp_refused)},
    {"ztna_agent_ip_in_packets_total", "packets of this machine",
     METRIC_COUNTER, offsetof(struct agent_counters, n_ip_in)},
    {"ztna_agent_ip_out_packets_total", "packets given to this machine",
     METRIC_COUNTER, offsetof(struct agent_counters, n_ip_out)},
    {"ztna_agent_grants_total", "grants received", METRIC_COUNTER,
     offsetof(struct agent_counters, n_grants)},
    {"ztna_agent_redials_total", "silent paths made anew", METRIC_COUNTER,
     offsetof(struct agent_counters, n_redials)},
    {"ztna_agent_routes_renewed_total", "routes replaced by others in time",
     METRIC_COUNTER, offsetof(struct agent_counters, n_renewed)},
    {"ztna_agent_direct_renewed_total",
     "direct paths replaced by others in time", METRIC_COUNTER,
     offsetof(struct agent_counters, n_direct_renewed)},
    {"ztna_agent_drops_total", "inner packets dropped", METRIC_REASONS,
     offsetof(struct agent_counters, drops)},
    {0},
};

static const struct metric tcp_metrics[] = {
    {"ztna_agent_tcp_bytes_in_total", "bytes of TCP flows from connectors",
     METRIC_COUNTER, offsetof(struct tcpflow_common, n_in)},
    {"ztna_agent_tcp_bytes_out_total", "bytes of TCP flows to connectors",
     METRIC_COUNTER, offsetof(struct tcpflow_common, n_out)},
    {"ztna_agent_tcp_lost_total", "TCP flows whose path ended", METRIC_COUNTER,
     offsetof(struct tcpflow_common, n_lost)},
    {"ztna_agent_tcp_resumed_total", "TCP flows that went on on another path",
     METRIC_COUNTER, offsetof(struct tcpflow_common, n_resumed)},
    {"ztna_agent_tcp_buffered_bytes", "kept for TCP flows", METRIC_GAUGE,
     offsetof(struct tcpflow_common, pool.used)},
    {0},
};

static const struct metric quic_metrics[] = {
    {"ztna_agent_quic_packets_in_total", "QUIC packets received",
     METRIC_COUNTER, offsetof(struct quic_stats, n_in)},
    {"ztna_agent_quic_packets_out_total", "QUIC packets sent", METRIC_COUNTER,
     offsetof(struct quic_stats, n_out)},
    {"ztna_agent_quic_drops_total", "outer packets dropped", METRIC_REASONS,
     offsetof(struct quic_stats, drops)},
    {"ztna_agent_quic_discarded_packets_total",
     "packets of a connection that were damaged, replayed or of no use",
     METRIC_COUNTER, offsetof(struct quic_stats, n_discarded)},
    {0},
};

static const struct metric path_metrics[] = {PATH_METRICS("agent")};

char *ztna_agent_metrics(const struct ztna_agent *a) {
  struct path_totals sum = a->gone;
  struct sbuf b;

  sbuf_init(&b, 0);
  for (int i = 0; i < LINKS_MAX; i++)
    for (size_t k = 0; a->links[i] && k < a->links[i]->ways.n; k++)
      path_total(a->links[i]->ways.v[k]->path, &sum);
  metrics_print(&b, metrics, &a->counters);
  metrics_print(&b, tcp_metrics, &a->tcp);
  metrics_print(&b, path_metrics, &sum);
  metrics_print(&b, quic_metrics, quic_stats(a->quic));
  metrics_print(&b, direct_metrics, &a->direct.stats);
  if (!b.failed) return b.s;
  sbuf_done(&b);
  return NULL;
}

static json_t *relays_status(const struct ztna_agent *a) {
  json_t *list = json_array();

  for (size_t i = 0; i < a->n_uplinks; i++)
    if (a->held[i]) json_array_append_new(list, uplink_status(a->uplinks[i]));
  return list;
}

/* Inner packets that came to nothing, by reason. */
static json_t *drops_status(const struct ztna_agent *a) {
  json_t *o = json_object();

  for (int r = 0; r < REASON_N; r++)
    if (a->counters.drops[r])
      json_object_set_new(o, reason_name((enum reason)r),
                          json_integer((json_int_t)a->counters.drops[r]));
  return o;
}

char *ztna_agent_status(const struct ztna_agent *a) {
  json_t *j = json_object(), *list = json_array(), *links = json_array();
  char *s;

  for (size_t i = 0; i < a->n_services; i++)
    json_array_append_new(list, agent_service_status(a, a->services[i]));
  agent_links_status(a, links);
  json_object_set_new(j, "schema", json_string("ztna.status/1"));
  json_object_set_new(j, "role", json_string("agent"));
  json_object_set_new(j, "identity", json_string(tls_identity(a->tls)->spiffe));
  json_object_set_new(
      j, "not_after",
      json_integer((json_int_t)tls_identity(a->tls)->not_after));
  json_object_set_new(j, "addresses", addrs_json_write(a->addrs));
  json_object_set_new(j, "relay", uplink_status(agent_relay(a)));
  json_object_set_new(j, "relays", relays_status(a));
  json_object_set_new(j, "services", list);
  json_object_set_new(j, "links", links);
  json_object_set_new(j, "dropped", drops_status(a));
  json_object_set_new(j, "tcp_flows",
                      json_integer((json_int_t)a->counters.n_tcp_flows));
  s = json_dumps(j, JSON_INDENT(2));
  json_decref(j);
  return s;
}
