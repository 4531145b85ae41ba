/* agent.c - `ztna agent`: a TUN device through which services are reached, or
 * ports of this machine. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ztna/agent.h>

#include "../platform/net.h"
#include "../platform/tun.h"
#include "base/log.h"
#include "host/agent_host.h"
#include "host/clock.h"
#include "host/confine.h"
#include "host/renewal.h"
#include "role.h"

extern const struct applet applet_agent;

enum { ROUTES_MAX = 2048 };

struct program {
  const struct applet_call *call;
  const struct agent_config *config;
  struct agent_host a;
  struct identity_file *identity;
  struct host *host;
  struct udp *udp;         /* the host's */
  struct renewal *renewal; /* NULL: nobody renews the certificate */
  struct http *http;
  struct tun tun;
  bool tun_open;
  struct net *net;
  struct ztna_addr addrs[2];
  int n_addrs;
  struct ztna_addr *routes; /* as installed, sorted */
  int n_routes;
};

/* --- addresses and routes of this machine */

/* Brings what is installed in line with what is wished: both sorted. */
static int sync_list(struct program *p, struct ztna_addr *have, int n_have,
                     const struct ztna_addr *want, int n_want,
                     void (*add)(struct program *, const struct ztna_addr *),
                     void (*del)(struct program *, const struct ztna_addr *)) {
  int i = 0, k = 0;

  while (i < n_have || k < n_want) {
    int cmp = i == n_have   ? 1
              : k == n_want ? -1
                            : ztna_addr_cmp(&have[i], &want[k]);

    if (cmp < 0) del(p, &have[i]);
    if (cmp > 0) add(p, &want[k]);
    if (cmp <= 0) i++;
    if (cmp >= 0) k++;
  }
  memcpy(have, want, (size_t)n_want * sizeof(*want));
  return n_want;
}

static int compare(const void *a, const void *b) { return ztna_addr_cmp(a, b); }

static struct ztna_prefix host_prefix(const struct ztna_addr *a) {
  return (struct ztna_prefix){*a, a->family == 4 ? 32 : 128};
}

static void add_addr(struct program *p, const struct ztna_addr *a) {
  int rc = net_addr_add(p->net, p->tun.ifindex, a);

  if (rc < 0 && rc != ZTNA_EEXIST && rc != ZTNA_ENOENT)
    log_err("agent: address not set: %s", ztna_strerror(rc));
}

static void del_addr(struct program *p, const struct ztna_addr *a) {
  net_addr_del(p->net, p->tun.ifindex, a);
}

/* The address that packets to a service leave from. */
static struct ztna_addr source_for(const struct program *p, int family) {
  struct ztna_addr none = {0};

  for (int i = 0; i < p->n_addrs; i++)
    if (p->addrs[i].family == family) return p->addrs[i];
  return none;
}

/* A service in a network of this machine's own interfaces stays where it is:
 * the tunnel must not divert the local network. */
static bool is_local(struct program *p, const struct ztna_addr *a) {
  struct net_addr v[64];
  int n = net_addrs(p->net, p->tun.ifindex, v, 64);

  for (int i = 0; i < n; i++)
    if (ztna_prefix_has(&v[i].network, a)) return true;
  return false;
}

static void add_route(struct program *p, const struct ztna_addr *a) {
  struct ztna_prefix prefix = host_prefix(a);
  struct ztna_addr src = source_for(p, a->family);
  char text[ZTNA_ADDR_STRLEN];
  int rc;

  if (!src.family) return;
  if (is_local(p, a)) {
    log_err("agent: no route to %s: it lies in a network of this machine",
            ztna_addr_print(a, text));
    return;
  }
  rc = net_route_add(p->net, p->tun.ifindex, &prefix, &src);
  if (rc < 0 && rc != ZTNA_EEXIST)
    log_err("agent: route not set to=%s: %s", ztna_addr_print(a, text),
            ztna_strerror(rc));
}

static void del_route(struct program *p, const struct ztna_addr *a) {
  struct ztna_prefix prefix = host_prefix(a);
  net_route_del(p->net, p->tun.ifindex, &prefix);
}

static void sync_network(void *ctx) {
  struct program *p = ctx;
  static struct ztna_addr want[ROUTES_MAX];
  struct ztna_addr addrs[2];
  int n = ztna_agent_addresses(p->a.core, addrs);

  qsort(addrs, (size_t)n, sizeof(*addrs), compare);
  p->n_addrs = sync_list(p, p->addrs, p->n_addrs, addrs, n, add_addr, del_addr);
  n = ztna_agent_routes(p->a.core, want, ROUTES_MAX);
  qsort(want, (size_t)n, sizeof(*want), compare);
  p->n_routes =
      sync_list(p, p->routes, p->n_routes, want, n, add_route, del_route);
}

/* --- packets from and to the device */

static void on_tun_readable(void *ctx, uint64_t now) {
  struct program *p = ctx;
  struct tun_pkt v[TUN_BATCH];
  int n = tun_read(&p->tun, v, TUN_BATCH);

  if (n == ZTNA_ECLOSED) {
    log_err("agent: the TUN device was taken away");
    host_stop(p->host, ZTNA_EIO);
    return;
  }
  for (int i = 0; i < n; i++) {
    struct ztna_ip ip = {.data = v[i].data,
                         .len = v[i].len,
                         .gso_size = v[i].gso_size,
                         .partial = v[i].partial};

    ztna_agent_ip_in(p->a.core, now, &ip);
  }
}

static void packets_to_tun(void *ctx, uint64_t now) {
  struct program *p = ctx;
  struct ztna_ip ip;

  while (ztna_agent_ip_next(p->a.core, &ip)) {
    struct tun_pkt t = {.data = ip.data,
                        .len = (uint32_t)ip.len,
                        .gso_size = ip.gso_size,
                        .partial = ip.partial};

    tun_write(&p->tun, &t, 1);
  }
}

/* --- files that change */

static int take_identity(void *ctx, struct tls *tls,
                         const struct ztna_identity *own, char *why,
                         size_t room) {
  struct program *p = ctx;

  host_enter(p->a.role);
  return ztna_agent_set_identity(p->a.core, own, clock_now(), why, room);
}

static const struct identity_file_ops identity_ops = {.take = take_identity};

/* Nobody should have to guess why nothing else happened. */
static void reload(void *ctx) {
  struct program *p = ctx;

  log_info("agent: SIGHUP: certificates are read again; changes of the "
           "configuration need a restart");
  identity_file_reload(p->identity);
}

static const struct agent_host_hooks tun_hooks = {
    .packets = packets_to_tun, .changed = sync_network, .reload = reload};
static const struct agent_host_hooks no_hooks = {.reload = reload};

/* --- local pages */

static int page_ready(void *ctx, struct sbuf *why_json) {
  const char *why;

  if (ztna_agent_ready(((struct program *)ctx)->a.core, &why)) return 1;
  role_not_ready(why_json, why);
  return 0;
}

static void page_metrics(void *ctx, struct sbuf *out) {
  struct program *p = ctx;
  role_page_text(out, ztna_agent_metrics(p->a.core));
  metrics_print(out, udp_metrics, udp_counters(p->udp));
  identity_file_metrics(p->identity, out);
  if (p->a.forward) forward_metrics(p->a.forward, out);
  renewal_metrics(p->renewal, out);
}

static void page_status(void *ctx, struct sbuf *out) {
  struct program *p = ctx;
  char *text = ztna_agent_status(p->a.core);
  json_t *o = text ? json_loads(text, 0, NULL) : NULL;

  free(text);
  json_object_set_new(o, "port_mapping", portmap_status(p->a.portmap));
  json_object_set_new(o, "certificates", identity_file_status(p->identity));
  json_object_set_new(o, "renewal", renewal_status(p->renewal));
  json_object_set_new(o, "sandbox", confine_status());
  json_object_set_new(o, "tun",
                      p->tun_open ? json_string(p->tun.name) : json_null());
  role_page_text(out, json_dumps(o, JSON_INDENT(2)));
  json_decref(o);
}

/* For `ztna why`. */
static void page_ask(void *ctx, const char *service, struct sbuf *out) {
  struct program *p = ctx;
  const char *word = "full";
  int rc;

  host_enter(p->a.role);
  rc = ztna_agent_ask(p->a.core, clock_now(), service);
  if (rc == 0) word = "asked";
  if (rc == ZTNA_ENOENT) word = "not-wanted";
  if (rc == ZTNA_EAGAIN) word = "no-relay";
  sbuf_printf(out, "{\"schema\": \"ztna.ask/1\", \"result\": \"%s\"}\n", word);
}

static const struct http_pages pages = {page_ready, page_metrics, page_status,
                                        page_ask};

/* --- start */

static int make_agent(struct program *p) {
  char why[256];
  int rc;

  p->a.offload = p->tun.offload & TUN_TSO;
  p->a.offload_udp = p->tun.offload & TUN_USO;
  p->a.tun_ifindex = p->tun_open ? p->tun.ifindex : 0;
  rc = agent_host_new(&p->a, p->config, &p->call->config->identity, why,
                      sizeof(why));
  if (rc == 0) return role_identity(p->call, ROLE_AGENT, &p->identity);
  config_forget_key(p->call->config);
  fprintf(stderr, "%s: identity: %s\n", role_source(p->call), why);
  return rc == ZTNA_EINVAL || rc == ZTNA_ETLS ? EXIT_CONFIG : EXIT_FAILED;
}

static int open_tun(struct program *p) {
  const struct agent_config *c = p->config;

  if (tun_open(&p->tun, c->tun, c->mtu, c->offload) < 0) return EXIT_FAILED;
  p->tun_open = true;
  p->net = net_new();
  p->routes = calloc(ROUTES_MAX, sizeof(*p->routes));
  if (!p->net || !p->routes) return EXIT_FAILED;
  net_clean(p->net, p->tun.ifindex);
  return tun_up(&p->tun) < 0 ? EXIT_FAILED : EXIT_DONE;
}

static int watch(struct program *p) {
  if (p->tun_open && host_watch(p->a.role, p->tun.fd, on_tun_readable, p) < 0)
    return EXIT_FAILED;
  return host_watch_network(p->host, p->a.tun_ifindex) < 0 ? EXIT_FAILED
                                                           : EXIT_DONE;
}

static int run(struct program *p) {
  int code;

  p->host = host_new();
  p->udp = p->host ? role_bind(p->config->listen, p->config->n_listen) : NULL;
  if (!p->udp || agent_host_start(&p->a, p->host, p->udp,
                                  p->tun_open ? &tun_hooks : &no_hooks, p) < 0)
    return EXIT_FAILED;
  if ((code = watch(p))) return code;
  p->renewal = renewal_new(p->host, &p->call->config->identity);
  identity_file_start(p->identity, host_uv(p->host), &identity_ops, p);
  code = role_pages(p->call->config, p->host, &pages, p, &p->http);
  if (code) return code;
  log_info("agent: started tun=%s", p->tun_open ? p->tun.name : "none");
  confine(p->call->config, CONFIG_AGENT, p->call->config_file, p->tun_open);
  code = applet_exit(host_run(p->host));
  http_stop(p->http);
  return code;
}

static int prepare(struct program *p) {
  int code = EXIT_DONE;

  if (p->config->tun) code = open_tun(p); /* make_agent asks what it can */
  return code ? code : make_agent(p);
}

static int agent_start(struct applet_call *c) {
  struct program p = {.call = c, .config = &c->config->agent};
  int code = prepare(&p);

  if (code == EXIT_DONE) code = run(&p);
  identity_file_stop(p.identity);
  if (p.host) host_free(p.host);
  renewal_free(p.renewal);
  if (p.tun_open) tun_close(&p.tun); /* takes its addresses and routes along */
  net_free(p.net);
  agent_host_free(&p.a);
  identity_file_free(p.identity);
  free(p.routes);
  return code;
}

const struct applet applet_agent = {
    .name = "agent",
    .summary = "reach services from this machine",
    .usage = "--config FILE [--tun NAME] [--forward [ADDR:]PORT=SERVICE:PORT]"
             " [--socks5 ADDR:PORT]",
    .about = "Runs on a person's machine. It dials its relays, learns which "
             "services\n"
             "it may use, and makes their addresses reachable through a TUN "
             "device;\n"
             "all other traffic stays as it is. Needs root or CAP_NET_ADMIN. "
             "Device,\n"
             "addresses and routes vanish with the process.\n"
             "With --forward or --socks5 services are ports of this machine "
             "instead,\n"
             "which needs no privileges; give --tun, too, to have both.\n",
    .example = "  sudo ztna agent --config /etc/ztna/agent.json --tun ztna0\n"
               "  ztna agent --config agent.json --forward "
               "127.0.0.1:8080=web-app:80\n"
               "  ztna agent --config agent.json --socks5 127.0.0.1:1080\n",
    .exits = "3 wrong configuration",
    .config = APPLET_CONFIG,
    .want = CONFIG_AGENT,
    .max_args = 0,
    .start = agent_start,
};
