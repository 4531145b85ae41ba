/* connector.c - `ztna connector`: exposes services next to it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "host/connector_host.h"
#include "role.h"

extern const struct applet applet_connector;

struct program {
  const struct applet_call *call;
  const struct connector_config *config;
  struct tls *tls;
  struct host *host;
  struct udp *udp; /* the host's */
  struct connector_host c;
  struct http *http;
};

/* --- local pages */

static int page_ready(void *ctx, struct sbuf *why_json) {
  enum reason why;

  if (connector_ready(((struct program *)ctx)->c.core, &why)) return 1;
  role_not_ready(why_json, reason_name(why));
  return 0;
}

static void page_metrics(void *ctx, struct sbuf *out) {
  struct program *p = ctx;
  connector_metrics(p->c.core, out);
  metrics_print(out, udp_metrics, udp_counters(p->udp));
  metrics_print(out, backend_metrics, backend_counters(p->c.backend));
  metrics_print(out, tcp_sock_metrics, tcp_socks_counters(p->c.socks));
}

static void page_status(void *ctx, struct sbuf *out) {
  json_t *o = json_pack("{s:s}", "schema", "ztna.status/1");
  connector_status(((struct program *)ctx)->c.core, o);
  role_page_json(out, o);
}

static const struct http_pages pages = {page_ready, page_metrics, page_status};

/* --- start */

static int run(struct program *p) {
  int code;

  p->host = host_new();
  p->udp = p->host ? role_bind(p->config->listen, p->config->n_listen) : NULL;
  if (!p->udp ||
      connector_host_start(&p->c, p->host, p->config, p->tls, p->udp) < 0)
    return EXIT_FAILED;
  code = role_pages(p->call->config, p->host, &pages, p, &p->http);
  if (code) return code;
  log_info("connector: started identity=%s services=%zu",
           tls_identity(p->tls)->spiffe, p->config->n_services);
  code = applet_exit(host_run(p->host));
  http_stop(p->http);
  return code;
}

static int prepare(struct program *p) {
  const struct connector_config *c = p->config;
  int code = role_tls(p->call, ROLE_CONNECTOR, &p->tls);

  if (code) return code;
  for (size_t i = 0; i < c->n_services; i++)
    if (!identity_serves(tls_identity(p->tls), c->services[i].id)) {
      fprintf(stderr,
              "%s: connector.services[%zu].id: the certificate does not name "
              "\"%s\"; issue one with: ztna cert issue --role connector "
              "--service %s ...\n",
              role_source(p->call), i, c->services[i].id, c->services[i].id);
      return EXIT_CONFIG;
    }
  return EXIT_DONE;
}

static int connector_start(struct applet_call *c) {
  struct program p = {.call = c, .config = &c->config->connector};
  int code = prepare(&p);

  if (code == EXIT_DONE) code = run(&p);
  if (p.host) host_free(p.host);
  connector_host_free(&p.c);
  tls_free(p.tls);
  return code;
}

const struct applet applet_connector = {
    .name = "connector",
    .summary = "expose services that run next to it",
    .usage = "--config FILE",
    .about =
        "Runs where the services are. It dials its relays, tells them what it\n"
        "serves, and carries the packets of agents that were let in to the\n"
        "services' machines. It opens no port to the world: a scan of it gets\n"
        "no answer.\n"
        "\n"
        "SIGTERM or SIGINT: takes no new flows, waits up to drain_timeout for\n"
        "the end of TCP connections, and ends; a second one does not wait.\n"
        "SIGUSR1 takes no new flows without ending, or takes them again.\n",
    .example = "  ztna connector --config /etc/ztna/connector.json\n",
    .exits = "3 wrong configuration",
    .config = APPLET_CONFIG,
    .want = CONFIG_CONNECTOR,
    .max_args = 0,
    .start = connector_start,
};
