/* connector.c - `ztna connector`: exposes services next to it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "connector_file.h"
#include "host/confine.h"
#include "host/renewal.h"
#include "role.h"

extern const struct applet applet_connector;

struct program {
  const struct applet_call *call;
  struct connector_config *config;
  struct identity_file *identity;
  struct host *host;
  struct udp *udp; /* the host's */
  struct connector_host c;
  struct connector_file file;
  struct renewal *renewal; /* NULL: nobody renews the certificate */
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
  connector_file_metrics(&p->file, out);
  identity_file_metrics(p->identity, out);
  audit_metrics(p->c.audit, out);
  renewal_metrics(p->renewal, out);
}

static void page_status(void *ctx, struct sbuf *out) {
  struct program *p = ctx;
  json_t *o = json_pack("{s:s}", "schema", "ztna.status/1");
  connector_status(p->c.core, o);
  json_object_set_new(o, "config", connector_file_status(&p->file));
  json_object_set_new(o, "certificates", identity_file_status(p->identity));
  json_object_set_new(o, "audit", audit_status(p->c.audit));
  json_object_set_new(o, "port_mapping", portmap_status(p->c.portmap));
  json_object_set_new(o, "renewal", renewal_status(p->renewal));
  json_object_set_new(o, "sandbox", confine_status());
  role_page_json(out, o);
}

static const struct http_pages pages = {
    .ready = page_ready, .metrics = page_metrics, .status = page_status};

/* --- start */

static int run(struct program *p) {
  int code, rc;

  p->host = host_new();
  p->udp = p->host ? role_bind(p->config->listen, p->config->n_listen) : NULL;
  if (!p->udp ||
      connector_host_start(&p->c, p->host, p->config,
                           identity_file_tls(p->identity), p->udp) < 0 ||
      host_watch_network(p->host, 0) < 0)
    return EXIT_FAILED;
  p->renewal = renewal_new(p->host, &p->call->config->identity);
  connector_file_start(&p->file, p->call, p->identity, &p->c, host_uv(p->host));
  code = role_pages(p->call->config, p->host, &pages, p, &p->http);
  if (code) {
    connector_file_stop(&p->file);
    return code;
  }
  log_info("connector: started identity=%s services=%zu",
           identity_file_spiffe(p->identity), p->config->n_services);
  confine(p->call->config, CONFIG_CONNECTOR, p->call->config_file, false);
  rc = audit_open(&p->c.audit, &p->config->audit, "connector",
                  identity_file_spiffe(p->identity));
  if (rc == 0) rc = host_run(p->host);
  code = applet_exit(rc);
  http_stop(p->http);
  connector_file_stop(&p->file);
  return code;
}

static int prepare(struct program *p) {
  int code = role_identity(p->call, ROLE_CONNECTOR, &p->identity);
  struct sbuf out = {0};

  if (code) return code;
  connector_file_judge(p->call, p->call->config, identity_file_tls(p->identity),
                       &out);
  if (out.len) {
    fputs(out.s, stderr);
    code = EXIT_CONFIG;
  }
  sbuf_done(&out);
  return code;
}

static int connector_start(struct applet_call *c) {
  struct program p = {.call = c, .config = &c->config->connector};
  int code = prepare(&p);

  if (code == EXIT_DONE) code = run(&p);
  if (p.host) host_free(p.host);
  renewal_free(p.renewal);
  connector_host_free(&p.c);
  identity_file_free(p.identity);
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
        "SIGUSR1 takes no new flows without ending, or takes them again.\n"
        "\n"
        "The configuration file is read again when it changes, and on SIGHUP:\n"
        "services and backends come, change and go, what is not concerned "
        "goes on.\n"
        "A file with mistakes changes nothing; log, status and the metric\n"
        "ztna_connector_config_ok say so.\n",
    .example = "  ztna connector --config /etc/ztna/connector.json\n",
    .exits = "3 wrong configuration",
    .config = APPLET_CONFIG,
    .want = CONFIG_CONNECTOR,
    .max_args = 0,
    .start = connector_start,
};
