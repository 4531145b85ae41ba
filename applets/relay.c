/* relay.c - `ztna relay`: introduces agents to connectors and carries their
 * packets, which it cannot read. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/audit.h"
#include "host/clock.h"
#include "host/confine.h"
#include "host/file.h"
#include "host/state_key.h"
#include "relay_keys.h"
#include "relay_policy.h"
#include "relay_ports.h"
#include "role.h"
#include "role/relay.h"

extern const struct applet applet_relay;

struct program {
  const struct applet_call *call;
  const struct config *config;
  struct identity_file *identity;
  struct relay_policy policy_file;
  struct relay_keys keys;
  struct policy *policy; /* until the relay takes it over */
  struct host *host;
  struct host_role *role;
  struct udp *udp; /* the host's once the role is added */
  struct relay_ports ports;
  struct relay *relay;
  struct http *http;
  struct audit *audit;
  uint8_t state_key[STATE_KEY_LEN];
};

/* --- what it is made of */

static int load_state_key(struct program *p) {
  char why[STATE_KEY_WHY];
  int rc = state_key_load(p->config->state_dir, p->state_key, why);
  if (rc == 0) return EXIT_DONE;
  fprintf(stderr, "%s: %s\n", role_source(p->call), why);
  return applet_exit(rc);
}

static void copy_pools(struct relay_options *o, const struct relay_config *c) {
  for (size_t i = 0; i < c->n_service_pool && i < 2; i++)
    o->service_pool[i] = c->service_pool[i];
  for (size_t i = 0; i < c->n_agent_pool && i < 2; i++)
    o->agent_pool[i] = c->agent_pool[i];
}

static void copy_stun_ips(struct relay_options *o,
                          const struct relay_config *c) {
  size_t n[2] = {0};
  for (size_t i = 0; i < c->n_stun_ips; i++) {
    int v6 = c->stun_ips[i].family == 6;
    o->stun_ips[v6][n[v6]++] = c->stun_ips[i];
  }
}

static enum quic_retry retry_of(enum config_retry r) {
  return r == RETRY_ALWAYS  ? QUIC_RETRY_ALWAYS
         : r == RETRY_NEVER ? QUIC_RETRY_NEVER
                            : QUIC_RETRY_AUTO;
}

static int make_relay(struct program *p) {
  const struct relay_config *c = &p->config->relay;
  struct relay_fixed_service *fixed = calloc(c->n_services + 1, sizeof(*fixed));
  uint64_t wall = clock_wall();
  struct relay_options o = {
      .tls = identity_file_tls(p->identity),
      .rng = &clock_rng,
      .services = fixed,
      .n_services = c->n_services,
      .policy = p->policy,
      .retry = retry_of(c->retry),
      .max_connections = c->max_connections,
      .max_routes = c->max_routes,
      .route_rate = c->route_rate,
      .route_burst = c->route_burst,
      .relays = (const char *const *)c->relays,
      .n_relays = c->n_relays,
      .stun = p->ports.pairs,
      .n_stun = p->ports.n_pairs,
      .unix_at_start = (int64_t)(wall / SEC),
      .ns_at_start = (uint32_t)(wall % SEC),
      .audit = c->audit.file ? AUDIT_QUEUE : 0,
  };
  if (!fixed) return EXIT_FAILED;
  for (size_t i = 0; i < c->n_services; i++)
    fixed[i] =
        (struct relay_fixed_service){.id = c->services[i].id,
                                     .addrs = c->services[i].virtual_ips,
                                     .n_addrs = c->services[i].n_virtual_ips};
  copy_pools(&o, c);
  copy_stun_ips(&o, c);
  memcpy(o.state_key, p->state_key, sizeof(o.state_key));
  p->relay = relay_new(&o, clock_now());
  file_wipe(o.state_key, sizeof(o.state_key));
  file_wipe(p->state_key, sizeof(p->state_key));
  free(fixed);
  if (!p->relay) return EXIT_FAILED;
  p->policy = NULL;
  return EXIT_DONE;
}

/* --- the role in the loop */

static void on_udp(void *ctx, uint64_t now, const struct dgram *d) {
  relay_udp_in(((struct program *)ctx)->relay, now, d);
}

static void on_tick(void *ctx, uint64_t now) {
  relay_tick(((struct program *)ctx)->relay, now);
}

static int next(void *ctx, uint64_t now, struct dgram *v, int max) {
  return relay_next(((struct program *)ctx)->relay, now, v, max);
}

static uint64_t deadline(const void *ctx) {
  return relay_deadline(((const struct program *)ctx)->relay);
}

static void flush(void *ctx, uint64_t now) {
  struct program *p = ctx;
  audit_drain(p->audit, relay_audit(p->relay));
}

static void stop(void *ctx, uint64_t now) {
  relay_stop(((struct program *)ctx)->relay, now);
}

static bool stopped(const void *ctx) {
  return relay_stopped(((const struct program *)ctx)->relay);
}

/* The policy and the Retry keys: the rest needs a new start. */
static void reload(void *ctx, uint64_t now) {
  struct program *p = ctx;
  relay_policy_reload(&p->policy_file);
  relay_keys_reload(&p->keys);
  identity_file_reload(p->identity);
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
};

/* --- local pages */

static int page_ready(void *ctx, struct sbuf *why_json) {
  enum reason why;
  if (relay_ready(((struct program *)ctx)->relay, &why)) return 1;
  role_not_ready(why_json, reason_name(why));
  return 0;
}

static void page_metrics(void *ctx, struct sbuf *out) {
  struct program *p = ctx;
  relay_metrics(p->relay, out);
  metrics_print(out, udp_metrics, udp_counters(p->udp));
  audit_metrics(p->audit, out);
  relay_policy_metrics(&p->policy_file, out);
  identity_file_metrics(p->identity, out);
  relay_keys_metrics(&p->keys, out);
}

static json_t *listening(const struct program *p, int from, int to) {
  json_t *list = json_array();
  char text[ZTNA_ADDR_STRLEN];
  for (int i = from; i < to; i++) {
    struct ztna_addr a = udp_local(p->udp, i);
    json_array_append_new(list, json_string(ztna_addr_print(&a, text)));
  }
  return list;
}

static void page_status(void *ctx, struct sbuf *out) {
  struct program *p = ctx;
  json_t *o =
      json_pack("{s:s, s:s}", "schema", "ztna.status/1", "role", "relay");
  int n_main = p->ports.n_main;
  json_object_set_new(o, "listen", listening(p, 0, n_main));
  json_object_set_new(o, "stun", listening(p, n_main, udp_count(p->udp)));
  relay_status(p->relay, o);
  json_object_set_new(o, "certificates", identity_file_status(p->identity));
  json_object_set_new(o, "audit", audit_status(p->audit));
  json_object_set_new(o, "sandbox", confine_status());
  json_object_set_new(o, "policy", relay_policy_status(&p->policy_file));
  json_object_set_new(o, "retry_keys", relay_keys_status(&p->keys));
  role_page_json(out, o);
}

static const struct http_pages pages = {
    .ready = page_ready, .metrics = page_metrics, .status = page_status};

/* --- start */

static void tell_start(const struct program *p) {
  char text[ZTNA_ADDR_STRLEN];
  for (int i = 0; i < udp_count(p->udp); i++) {
    struct ztna_addr a = udp_local(p->udp, i);
    if (i < p->ports.n_main)
      log_info("relay: listening on=%s identity=%s", ztna_addr_print(&a, text),
               identity_file_spiffe(p->identity));
    else
      log_info("relay: answering STUN on=%s too", ztna_addr_print(&a, text));
  }
  if (!p->config->relay.policy)
    log_warn("relay: no policy is configured: nothing is allowed");
}

static int take_identity(void *ctx, struct tls *tls,
                         const struct ztna_identity *own, char *why,
                         size_t room) {
  struct program *p = ctx;

  host_enter(p->role);
  relay_set_tls(p->relay, tls, clock_now());
  return 0;
}

static const struct identity_file_ops identity_ops = {.take = take_identity};

static int run(struct program *p) {
  p->host = host_new();
  if (!p->host) return EXIT_FAILED;
  struct udp *udp = p->udp;
  p->role = host_add(p->host, &verbs, p, udp);
  if (!p->role) return EXIT_FAILED;
  identity_file_start(p->identity, host_uv(p->host), &identity_ops, p);
  relay_policy_start(&p->policy_file, p->call, p->relay, p->role,
                     host_uv(p->host));
  relay_keys_start(&p->keys, p->role, host_uv(p->host));
  int code = role_pages(p->call->config, p->host, &pages, p, &p->http);
  if (code) return code;
  tell_start(p);
  confine(p->config, CONFIG_RELAY, p->call->config_file, false);
  int rc = audit_open(&p->audit, &p->config->relay.audit, "relay",
                      identity_file_spiffe(p->identity));
  if (rc == 0) rc = host_run(p->host);
  code = applet_exit(rc);
  http_stop(p->http);
  return code;
}

static int prepare(struct program *p) {
  const struct relay_config *c = &p->config->relay;
  int code = role_identity(p->call, ROLE_RELAY, &p->identity);
  if (code) return code;
  int rc = relay_policy_load(&p->policy_file, c->policy, &p->policy);
  if (rc < 0) return applet_exit(rc);
  if ((code = load_state_key(p))) return code;
  p->udp = role_bind(c->listen, c->n_listen);
  if (!p->udp || !relay_ports_bind(&p->ports, c, p->udp)) return EXIT_FAILED;
  if ((code = make_relay(p))) return code;
  rc = relay_keys_load(&p->keys, c->retry_keys, p->relay);
  return rc < 0 ? applet_exit(rc) : EXIT_DONE;
}

static int relay_start(struct applet_call *c) {
  struct program p = {.call = c, .config = c->config};
  int code = prepare(&p);
  if (code == EXIT_DONE) code = run(&p);
  identity_file_stop(p.identity);
  relay_policy_stop(&p.policy_file);
  relay_keys_stop(&p.keys);
  if (p.host)
    host_free(p.host);
  else
    udp_free(p.udp);
  audit_close(p.audit, p.relay ? relay_audit(p.relay) : NULL);
  relay_free(p.relay);
  policy_free(p.policy);
  identity_file_free(p.identity);
  file_wipe(p.state_key, sizeof(p.state_key));
  return code;
}

const struct applet applet_relay = {
    .name = "relay",
    .summary = "introduce agents to connectors and carry their packets",
    .usage = "--config FILE",
    .about =
        "The public meeting point. Agents and connectors dial it, both with\n"
        "certificates; it decides by its policy who may use what, introduces\n"
        "them to each other and forwards their packets, which it cannot read.\n"
        "The policy is read again when its file changes, or SIGHUP comes; one\n"
        "with mistakes is refused and the former one stays.\n",
    .example = "  ztna relay --config /etc/ztna/relay.json\n",
    .exits = "3 wrong configuration",
    .config = APPLET_CONFIG,
    .want = CONFIG_RELAY,
    .max_args = 0,
    .start = relay_start,
};
