/* probe.c - `ztna probe`: what this network allows, relay by relay. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "applet.h"
#include "host/clock.h"
#include "host/probe.h"
#include "host/probe_peer.h"

extern const struct applet applet_probe;

struct probe_opts {
  char **stun;
  size_t n_stun;
  bool json, lifetime, hairpin, port_mapping;
  char *peer;
  uint64_t timeout;
};

static const struct field fields[] = {
    FIELD_LIST(probe_opts, stun, .type = F_STRS, .max = PROBE_TARGETS,
               .meta = "HOST:PORT,...",
               .help = "plain STUN servers to ask, too"),
    FIELD(probe_opts, lifetime, .type = F_BOOL,
          .help = "how long a mapping lasts without packets: takes up to 5 "
                  "minutes"),
    FIELD(probe_opts, hairpin, .type = F_BOOL,
          .help = "does the NAT send back in what goes to its own addresses"),
    FIELD(probe_opts, port_mapping, .type = F_BOOL, .dflt = "true",
          .help = "leave the router alone, which else is asked for a port for "
                  "a second or two"),
    FIELD(probe_opts, peer, .type = F_STR, .min = 1, .meta = "SERVICE",
          .help = "rehearse reaching this service, step by step, in place of "
                  "an agent that runs with this certificate"),
    FIELD(probe_opts, timeout, .type = F_NS, .min = SEC, .max = 60 * SEC,
          .dflt = "4500ms", .help = "for all but --lifetime and --peer"),
    FIELD(probe_opts, json, .type = F_BOOL, .help = "one JSON object"),
    FIELD_END,
};

/* --- whom to ask */

static int add(struct probe_options *o, const char *name, bool relay) {
  for (size_t i = 0; i < o->n_targets; i++)
    if (!strcmp(o->targets[i].name, name)) return EXIT_DONE;
  if (o->n_targets == PROBE_TARGETS) {
    fprintf(stderr, "ztna probe: more than %d servers\n", PROBE_TARGETS);
    return EXIT_USAGE;
  }
  o->targets[o->n_targets++] = (struct probe_target){name, relay};
  return EXIT_DONE;
}

static int add_all(struct probe_options *o, char **v, size_t n, bool relay) {
  int code = EXIT_DONE;
  for (size_t i = 0; i < n && !code; i++) code = add(o, v[i], relay);
  return code;
}

/* Arguments stand in for the relays of the configuration. */
static int choose(const struct applet_call *c, struct probe_options *o) {
  const struct probe_opts *f = c->opts;
  const struct config *cfg = c->config;
  int code = add_all(o, c->args, (size_t)c->n_args, true);
  if (!code && cfg && !c->n_args && cfg->roles & CONFIG_AGENT)
    code = add_all(o, cfg->agent.relays, cfg->agent.n_relays, true);
  if (!code && cfg && !c->n_args && cfg->roles & CONFIG_CONNECTOR)
    code = add_all(o, cfg->connector.relays, cfg->connector.n_relays, true);
  if (!code) code = add_all(o, f->stun, f->n_stun, false);
  if (code || o->n_targets) return code;
  fprintf(stderr, "ztna probe: nobody to ask: name a relay, --stun or "
                  "--config with relays\n");
  return EXIT_USAGE;
}

static int load_tls(const struct applet_call *c, struct probe_options *o) {
  const struct identity_config *id = c->config ? &c->config->identity : NULL;
  char why[256];
  if (!id || !id->cert_pem) return EXIT_DONE;
  if (tls_global_init(&clock_rng, NULL) < 0) return EXIT_FAILED;
  struct ztna_identity own = config_identity(id);
  if (tls_new(&o->tls, &own, why, sizeof(why)) == 0) return EXIT_DONE;
  fprintf(stderr, "%s: identity: %s\n", c->config_file, why);
  return EXIT_CONFIG;
}

/* --- what came out */

static void on_progress(const char *text) { fprintf(stderr, "# %s\n", text); }

static void print(const struct probe_opts *f, const json_t *report) {
  if (f->json) {
    char *text = json_dumps(report, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    if (text) puts(text);
    free(text);
    return;
  }
  struct sbuf out;
  sbuf_init(&out, 0);
  probe_print(&out, report);
  if (out.len) fwrite(out.s, 1, out.len, stdout);
  sbuf_done(&out);
}

/* The worse of what the network allows and what came of it. */
static int rehearse(const struct applet_call *c, json_t *report, int code) {
  const struct probe_opts *f = c->opts;
  bool direct;
  int rc = probe_peer(c->config, f->peer, report, &direct);
  return rc < 0 || !direct ? EXIT_FAILED : code;
}

/* Only an agent may reach a service. */
static int may_rehearse(const struct applet_call *c) {
  const struct probe_opts *f = c->opts;
  if (!f->peer || (c->config && c->config->roles & CONFIG_AGENT))
    return EXIT_DONE;
  fprintf(stderr, "ztna probe: --peer needs an agent's configuration: "
                  "--config FILE\n");
  return EXIT_USAGE;
}

static int probe(const struct applet_call *c, struct probe_options *o) {
  const struct probe_opts *f = c->opts;
  static const int codes[] = {[PROBE_GOOD] = EXIT_DONE,
                              [PROBE_DEGRADED] = EXIT_FAILED,
                              [PROBE_UNREACHABLE] = EXIT_NOT_READY};
  enum probe_result result;
  json_t *report = NULL;
  int rc = probe_run(o, &report, &result);
  if (rc < 0) {
    fprintf(stderr, "ztna probe: %s\n", ztna_strerror(rc));
    return EXIT_FAILED;
  }
  int code = codes[result];
  if (f->peer && result != PROBE_UNREACHABLE) code = rehearse(c, report, code);
  print(f, report);
  json_decref(report);
  return code;
}

static int probe_start(struct applet_call *c) {
  const struct probe_opts *f = c->opts;
  struct probe_options o = {.timeout = f->timeout,
                            .lifetime = f->lifetime,
                            .hairpin = f->hairpin,
                            .port_mapping = f->port_mapping,
                            .on_progress = on_progress};
  int code = may_rehearse(c);
  /* What a role would log is in the report. */
  if (log_get_level() == LOG_LEVEL_INFO) log_set_level(LOG_LEVEL_WARN);
  if (!code) code = choose(c, &o);
  if (!code) code = load_tls(c, &o);
  if (!code) code = probe(c, &o);
  tls_free(o.tls);
  return code;
}

const struct applet applet_probe = {
    .name = "probe",
    .summary = "what this network allows, relay by relay",
    .usage = "[RELAY...] [--config FILE] [--json] [--stun HOST:PORT]... "
             "[--peer SERVICE]",
    .about =
        "Asks relays and STUN servers how this machine's network treats UDP:\n"
        "which relays answer, how fast and with what, how the NAT maps and\n"
        "filters (RFC 4787), and with which peers a direct path may be "
        "expected.\n"
        "With --config it makes real control connections, beside an agent "
        "that\n"
        "runs; without a certificate it asks by STUN alone. Needs no root and\n"
        "sends to nobody but the servers given, and asks the router whether it "
        "maps\nports.\n",
    .example = "  ztna probe --config /etc/ztna/agent.json\n"
               "  ztna probe relay.example.org:4433\n"
               "  ztna probe --stun stun.example.org:3478 --json\n",
    .exits = "also 1 when paths are relayed only or degraded; 3 wrong "
             "configuration, 4 no relay reachable",
    .fields = fields,
    .opts_size = sizeof(struct probe_opts),
    .config = APPLET_MAY_CONFIG,
    .want = CONFIG_IDENTITY,
    .max_args = -1,
    .start = probe_start,
};
