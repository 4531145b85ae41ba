/* agent_host.c - sockets, names and forwarded ports of an agent. */
#include "host/agent_host.h"

#include <stdio.h>
#include <stdlib.h>
#include <ztna/err.h>

#include "base/log.h"
#include "host/clock.h"
#include "host/locals.h"
#include "host/resolve.h"

/* --- names of relays */

struct lookup {
  struct agent_host *p;
  size_t relay;
};

static void take_addresses(void *ctx, const struct ztna_addr *v, int n,
                           const char *why) {
  struct lookup l = *(struct lookup *)ctx;

  free(ctx);
  if (n <= 0) {
    log_warn("agent: name not resolved name=%s: %s",
             l.p->config->relays[l.relay], why);
    return;
  }
  if (l.p->role) host_enter(l.p->role);
  ztna_agent_set_relay(l.p->core, l.relay, v, (size_t)n, clock_now());
}

static void look_up_relays(struct agent_host *p) {
  int i;

  while ((i = ztna_agent_wants_relay(p->core)) >= 0) {
    struct lookup *l = malloc(sizeof(*l));

    if (!l) return;
    *l = (struct lookup){p, (size_t)i};
    resolve_name(host_resolver(p->host), p->config->relays[i], 4433,
                 take_addresses, l);
  }
}

/* --- the role in the loop */

static void drop_packets(struct agent_host *p) {
  struct ztna_ip ip;

  while (ztna_agent_ip_next(p->core, &ip)) continue;
}

static void flush(void *ctx, uint64_t now) {
  struct agent_host *p = ctx;
  uint32_t generation;

  if (p->forward) forward_flush(p->forward, now);
  if (p->hooks->packets)
    p->hooks->packets(p->ctx, now);
  else
    drop_packets(p); /* they must leave the core all the same */
  generation = ztna_agent_generation(p->core);
  if (generation == p->generation) return;
  p->generation = generation;
  if (p->hooks->changed) p->hooks->changed(p->ctx);
}

static void on_udp(void *ctx, uint64_t now, const struct dgram *d) {
  ztna_agent_udp_in(((struct agent_host *)ctx)->core, now, d);
}

static void on_tick(void *ctx, uint64_t now) {
  struct agent_host *p = ctx;

  ztna_agent_tick(p->core, now);
  portmap_tick(p->portmap, now);
  if (p->forward) forward_tick(p->forward, now);
  look_up_relays(p);
}

static int next(void *ctx, uint64_t now, struct dgram *v, int max) {
  return ztna_agent_next(((struct agent_host *)ctx)->core, now, v, max);
}

static uint64_t deadline(const void *ctx) {
  const struct agent_host *p = ctx;
  uint64_t at =
      time_min(ztna_agent_deadline(p->core), portmap_deadline(p->portmap));

  return p->forward ? time_min(at, forward_deadline(p->forward)) : at;
}

static void stop(void *ctx, uint64_t now) {
  struct agent_host *p = ctx;

  portmap_stop(p->portmap, now);
  ztna_agent_stop(p->core, now);
}

static bool stopped(const void *ctx) {
  const struct agent_host *p = ctx;

  return ztna_agent_stopped(p->core) && portmap_stopped(p->portmap);
}

static void reload(void *ctx, uint64_t now) {
  struct agent_host *p = ctx;

  if (p->hooks->reload) p->hooks->reload(p->ctx);
}

static void tell_locals(struct agent_host *p, uint64_t now) {
  struct ztna_local v[LOCALS_MAX];

  ztna_agent_set_locals(p->core, v, locals_list(v, p->udp, p->tun_ifindex),
                        now);
}

static void on_mapped(void *ctx, uint64_t now, const struct ztna_addr *v,
                      size_t n) {
  ztna_agent_set_mapped(((struct agent_host *)ctx)->core, v, n, now);
}

static void network_changed(void *ctx, uint64_t now) {
  struct agent_host *p = ctx;

  tell_locals(p, now);
  portmap_network_changed(p->portmap, now);
  ztna_agent_network_changed(p->core, now);
}

static const struct loop_role verbs = {
    .udp_in = on_udp,
    .tick = on_tick,
    .next = next,
    .deadline = deadline,
    .flush = flush,
    .stop = stop,
    .stopped = stopped,
    .reload = reload,
    .network_changed = network_changed,
};

/* --- life */

static void fill(void *ctx, void *buf, size_t len) {
  rng_fill(&clock_rng, buf, len);
}

int agent_host_new(struct agent_host *p, const struct agent_config *config,
                   const struct identity_config *identity, char *why,
                   size_t room) {
  struct ztna_agent_config cfg = {
      .identity = config_identity(identity),
      .relays = (const char *const *)config->relays,
      .n_relays = config->n_relays,
      .services = (const char *const *)config->services,
      .n_services = config->n_services,
      .networks = config->networks,
      .n_networks = config->n_networks,
      .mtu = (uint16_t)config->mtu,
      .cubic = config->congestion == CONGESTION_CUBIC,
      .direct = config->direct,
      .direct_networks = config->direct_networks,
      .n_direct_networks = config->n_direct_networks,
      .offload = p->offload,
      .offload_udp = p->offload_udp,
      .random = fill,
      .unix_now = (int64_t)(clock_wall() / SEC),
  };

  p->config = config;
  if (ztna_agent_global_init(fill, NULL) < 0) {
    snprintf(why, room, "the cryptographic library does not start");
    return ZTNA_EIO;
  }
  return ztna_agent_new(&p->core, &cfg, clock_now(), why, room);
}

static int open_ports(struct agent_host *p, const struct agent_config *c) {
  struct forward *f = forward_new(p->core);
  int rc = f ? forward_start(f, p->role, c) : ZTNA_ENOMEM;

  p->forward = f;
  return rc;
}

int agent_host_start(struct agent_host *p, struct host *h, struct udp *udp,
                     const struct agent_host_hooks *hooks, void *ctx) {
  const struct agent_config *c = p->config;
  int rc;

  p->host = h;
  p->hooks = hooks;
  p->ctx = ctx;
  p->role = host_add(h, &verbs, p, udp);
  if (!p->role) return ZTNA_EIO;
  p->udp = udp;
  tell_locals(p, clock_now());
  if (c->port_mapping) p->portmap = portmap_new(p->role, udp, on_mapped, p);
  if (c->n_forward || c->socks5.family) {
    rc = open_ports(p, c);
    if (rc < 0) return rc;
  }
  look_up_relays(p);
  return 0;
}

int agent_host_forward(struct agent_host *p, const struct forward_rule *rule,
                       struct ztna_addr *bound) {
  static const struct agent_config none;
  int rc = p->forward ? 0 : open_ports(p, &none);

  return rc < 0 ? rc : forward_add(p->forward, rule, bound);
}

void agent_host_free(struct agent_host *p) {
  forward_free(p->forward);
  portmap_free(p->portmap);
  ztna_agent_free(p->core);
}
