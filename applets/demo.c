/* demo.c - `ztna demo`: relay, connector, agent, an echo and a web service in
 * one process, over real sockets on loopback. No root: instead of a TUN device
 * the demo itself hands IP packets to the agent, and a port of this machine
 * leads to the web service. No files: certificates are made in memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ztna/agent.h>

#include "base/log.h"
#include "codec/ip.h"
#include "demo.h"
#include "demo_client.h"
#include "host/clock.h"
#include "role.h"

extern const struct applet applet_demo;

#define FIRST_REPLY_WITHIN (10 * SEC)
#define RETRY_EVERY (100 * MS)
#define RTT_FOR (500 * MS)
#define RTT_EVERY MS

enum {
  AGENT_PORT = 40000,
  SAMPLES_MAX = 65536,
  PAYLOAD = 1200, /* of a bulk packet */
  WINDOW = 64,    /* bulk packets on their way */
  LOST_AFTER_MS = 300,
};

struct demo_opts {
  uint32_t seconds;
  bool json;
};

/* What the demo is doing. */
enum phase { CONNECT, RTT, BULK, WEB, DONE };

struct demo {
  const struct demo_opts *opts;
  struct demo_roles roles;
  struct demo_client client;
  struct host *host;
  uv_timer_t timer;
  enum phase phase;
  bool failed;
  uint64_t began_at, phase_at;
  bool told_relay, told_page;
  struct ztna_addr from, to;
  uint64_t tried_at;      /* CONNECT: last request */
  uint64_t first_reply;   /* ns after the start */
  uint64_t seq;           /* of the next request */
  uint64_t n_sent, n_got; /* RTT phase, for loss */
  uint64_t n_bulk_sent, n_bulk_got, bulk_bytes, bulk_ns, bulk_last_at;
  uint64_t n_bulk_lost;
  char group[32], cipher[48];
  double *samples; /* ms */
  size_t n_samples;
};

/* --- telling --- */

static void tell(const struct demo *d, const char *what, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void tell(const struct demo *d, const char *what, const char *fmt, ...) {
  va_list ap;

  if (d->opts->json) return;
  printf("%8.1f ms  %-14s ", (double)(clock_now() - d->began_at) / (double)MS,
         what);
  va_start(ap, fmt);
  vprintf(fmt, ap);
  va_end(ap);
  putchar('\n');
  fflush(stdout);
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static double percentile(const struct demo *d, double p) {
  if (!d->n_samples) return 0;
  return d->samples[(size_t)(p * (double)(d->n_samples - 1))];
}

static double loss(const struct demo *d) {
  uint64_t sent = d->n_sent + d->n_bulk_sent, got = d->n_got + d->n_bulk_got;
  return sent ? (double)(sent - got) / (double)sent : 0;
}

static double mbps(uint64_t bytes, uint64_t ns) {
  return ns ? (double)bytes * 8e3 / (double)ns : 0;
}

static double udp_mbps(const struct demo *d) {
  return mbps(d->bulk_bytes, d->bulk_ns);
}

/* Once the client is done. */
static double tcp_mbps(const struct demo *d) {
  return mbps(d->client.bulk_bytes, d->client.bulk_ns);
}

/* What the agent says of its path, while it has one. */
static void note_path(struct demo *d) {
  char *text = ztna_agent_status(d->roles.agent.core);
  json_t *status = text ? json_loads(text, 0, NULL) : NULL;
  json_t *path = json_object_get(
      json_array_get(json_object_get(status, "links"), 0), "path");
  const char *group = json_string_value(json_object_get(path, "group"));
  const char *cipher = json_string_value(json_object_get(path, "cipher"));

  snprintf(d->group, sizeof(d->group), "%s", group ? group : "");
  snprintf(d->cipher, sizeof(d->cipher), "%s", cipher ? cipher : "");
  json_decref(status);
  free(text);
}

static void print_json(const struct demo *d) {
  bool page = demo_client_state(&d->client) > CLIENT_PAGE;
  bool bulk = demo_client_state(&d->client) == CLIENT_DONE;
  json_t *o = json_pack(
      "{s:s, s:b, s:f, s:{s:f, s:f, s:f}, s:f, s:f, s:s, s:s, s:I, s:I,"
      " s:i, s:f}",
      "schema", "ztna.demo/1", "ok", !d->failed, "seconds_to_first_reply",
      (double)d->first_reply / (double)SEC, "rtt_ms", "min", percentile(d, 0),
      "p50", percentile(d, 0.5), "p99", percentile(d, 0.99), "loss", loss(d),
      "throughput_mbps", udp_mbps(d), "group", d->group, "cipher", d->cipher,
      "sent", (json_int_t)(d->n_sent + d->n_bulk_sent), "received",
      (json_int_t)(d->n_got + d->n_bulk_got), "http_status",
      page ? d->client.status : 0, "tcp_throughput_mbps",
      bulk ? tcp_mbps(d) : 0.0);

  json_dumpf(o, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
  putchar('\n');
  json_decref(o);
}

/* --- packets --- */

/* The payload begins with its number and when it was sent. */
static void send_echo(struct demo *d, uint64_t now, size_t len) {
  uint8_t payload[PAYLOAD] = {0}, pkt[ZTNA_AGENT_MTU_MIN];
  uint64_t head[2] = {d->seq++, now};
  struct ztna_ip ip;
  int n;

  memcpy(payload, head, sizeof(head));
  n = ip_build_udp(pkt, sizeof(pkt), &d->from, &d->to, 0, payload, len);
  ip = (struct ztna_ip){.data = pkt, .len = (size_t)n};
  if (n > 0) ztna_agent_ip_in(d->roles.agent.core, now, &ip);
}

static void fill_window(struct demo *d, uint64_t now) {
  while (d->phase == BULK &&
         d->n_bulk_sent - d->n_bulk_got - d->n_bulk_lost < WINDOW) {
    send_echo(d, now, PAYLOAD);
    d->n_bulk_sent++;
  }
}

static void enter(struct demo *d, enum phase phase, uint64_t now) {
  d->phase = phase;
  d->phase_at = now;
}

static void on_first_reply(struct demo *d, uint64_t now) {
  note_path(d);
  d->first_reply = now - d->began_at;
  tell(d, "path", "live, end to end: %s, %s", d->group, d->cipher);
  tell(d, "first reply", "an echo came back from the service");
  enter(d, RTT, now);
}

static void on_reply(struct demo *d, uint64_t now, const struct ip_pkt *p) {
  uint64_t head[2];

  if (p->kind != IP_UDP || p->payload_len < sizeof(head)) return;
  memcpy(head, p->payload, sizeof(head));
  if (d->phase == CONNECT) {
    on_first_reply(d, now);
  } else if (d->phase == RTT) {
    d->n_got++;
    if (d->n_samples < SAMPLES_MAX)
      d->samples[d->n_samples++] = (double)(now - head[1]) / (double)MS;
  } else if (d->phase == BULK && p->payload_len == PAYLOAD) {
    d->n_bulk_got++;
    d->bulk_bytes += p->payload_len;
    d->bulk_last_at = now;
  }
}

/* What the agent has for "this machine". */
static void on_packets(void *ctx, uint64_t now) {
  struct demo *d = ctx;
  struct ztna_ip ip;
  struct ip_pkt p;

  while (ztna_agent_ip_next(d->roles.agent.core, &ip))
    if (ip_parse(&p, ip.data, ip.len) == 0) on_reply(d, now, &p);
  fill_window(d, now);
}

static const struct agent_host_hooks hooks = {.packets = on_packets};

/* --- the course of events --- */

static void fail(struct demo *d, const char *what) {
  tell(d, "failed", "%s", what);
  if (d->opts->json) fprintf(stderr, "ztna demo: %s\n", what);
  d->failed = true;
  d->phase = DONE;
  host_stop(d->host, 0);
}

static void fail_connect(struct demo *d) {
  const char *why;
  char what[256];

  ztna_agent_ready(d->roles.agent.core, &why);
  snprintf(what, sizeof(what), "no reply (%s: %s)", why,
           reason_text(reason_find(why)));
  fail(d, what);
}

static void step_connect(struct demo *d, uint64_t now) {
  struct ztna_addr own;
  enum reason reason;
  const char *why;

  if (now - d->began_at > FIRST_REPLY_WITHIN) {
    fail_connect(d);
    return;
  }
  if (!d->told_relay && ztna_agent_ready(d->roles.agent.core, &why) &&
      connector_ready(d->roles.connector.core, &reason)) {
    d->told_relay = true;
    tell(d, "relay", "agent and connector are connected to it");
  }
  if (!demo_roles_know_way(&d->roles, &own) ||
      (d->tried_at && now < d->tried_at + RETRY_EVERY))
    return;
  d->from = own;
  d->to = d->roles.echo_ip;
  d->from.port = AGENT_PORT;
  d->to.port = DEMO_ECHO_PORT;
  if (!d->tried_at) {
    char a[ZTNA_ADDR_STRLEN], b[ZTNA_ADDR_STRLEN];
    tell(d, "route", "asking for a way from %s to the service at %s",
         ztna_addr_print(&d->from, a), ztna_addr_print(&d->to, b));
  }
  d->tried_at = now;
  send_echo(d, now, 64);
}

static void step_rtt(struct demo *d, uint64_t now) {
  if (now < d->phase_at + RTT_FOR) {
    send_echo(d, now, 64);
    d->n_sent++;
    return;
  }
  if (d->n_got < d->n_sent && now < d->phase_at + RTT_FOR + 100 * MS) return;
  qsort(d->samples, d->n_samples, sizeof(*d->samples), compare);
  tell(d, "rtt", "min %.3f ms, p50 %.3f ms, p99 %.3f ms (%zu echoes)",
       percentile(d, 0), percentile(d, 0.5), percentile(d, 0.99), d->n_samples);
  enter(d, BULK, now);
  d->bulk_last_at = now;
  fill_window(d, now);
}

static void step_bulk(struct demo *d, uint64_t now) {
  /* What is this late is lost: the window goes on without it. */
  if (now - d->bulk_last_at > LOST_AFTER_MS * MS) {
    d->n_bulk_lost = d->n_bulk_sent - d->n_bulk_got;
    d->bulk_last_at = now;
    fill_window(d, now);
  }
  if (now < d->phase_at + d->opts->seconds * SEC) return;
  d->bulk_ns = now - d->phase_at;
  /* What is still on its way is neither lost nor received. */
  d->n_bulk_sent = d->n_bulk_got + d->n_bulk_lost;
  tell(d, "throughput", "%.0f Mbit/s each way, packets of %d bytes, echoed",
       udp_mbps(d), PAYLOAD);
  tell(d, "loss", "%.3f %%", 100 * loss(d));
  enter(d, WEB, now);
  if (demo_client_start(&d->client, &d->roles.web_at, d->opts->seconds * SEC))
    fail(d, "no thread for a program that fetches a page");
}

/* The client is elsewhere: this only tells what it has seen. */
static void step_web(struct demo *d, uint64_t now) {
  enum demo_client_state state = demo_client_state(&d->client);

  if (state > CLIENT_PAGE && d->client.status && !d->told_page) {
    d->told_page = true;
    tell(d, "page", "HTTP %d, %zu bytes over TCP", d->client.status,
         d->client.page_bytes);
  }
  if (state != CLIENT_DONE) return;
  if (d->client.why[0]) {
    fail(d, d->client.why);
    return;
  }
  tell(d, "bulk", "%.0f Mbit/s down over TCP (loopback, one stream)",
       tcp_mbps(d));
  enter(d, DONE, now);
  host_stop(d->host, 0);
}

static void on_timer(uv_timer_t *t) {
  struct demo *d = t->data;
  uint64_t now = clock_now();

  if (d->phase == DONE || host_is_stopping(d->host)) return;
  if (d->phase == WEB) {
    step_web(d, now);
    return;
  }
  host_enter(d->roles.agent.role);
  if (d->phase == CONNECT)
    step_connect(d, now);
  else if (d->phase == RTT)
    step_rtt(d, now);
  else
    step_bulk(d, now);
}

/* --- start --- */

static int run(struct demo *d) {
  int code;

  d->host = host_new();
  if (!d->host) return EXIT_FAILED;
  code = demo_roles_start(&d->roles, d->host, &hooks, d);
  if (code) return code;
  tell(d, "identities", "%s, %s, %s: certificates made in memory",
       DEMO_RELAY_ID, DEMO_CONNECTOR_ID, DEMO_AGENT_ID);
  uv_timer_init(host_uv(d->host), &d->timer);
  d->timer.data = d;
  uv_timer_start(&d->timer, on_timer, 1, RTT_EVERY / MS);
  code = applet_exit(host_run(d->host));
  if (!d->failed && d->phase != DONE) d->failed = true; /* interrupted */
  if (d->opts->json) print_json(d);
  uv_timer_stop(&d->timer);
  uv_close((uv_handle_t *)&d->timer, NULL);
  return code ? code : d->failed ? EXIT_FAILED : EXIT_DONE;
}

static int demo_start(struct applet_call *c) {
  struct demo d = {.opts = c->opts, .began_at = clock_now()};
  int code = EXIT_FAILED;

  if (log_get_level() > LOG_LEVEL_ERR) log_set_level(LOG_LEVEL_ERR);
  d.samples = calloc(SAMPLES_MAX, sizeof(*d.samples));
  if (d.samples) code = run(&d);
  demo_client_quit(&d.client);
  if (d.host) host_free(d.host);
  demo_roles_free(&d.roles); /* ends what the client waits for */
  demo_client_join(&d.client);
  free(d.samples);
  return code;
}

static const struct field fields[] = {
    FIELD(demo_opts, seconds, .type = F_INT, .dflt = "2", .min = 1, .max = 60,
          .help = "how long to measure throughput, of UDP and of TCP"),
    FIELD(demo_opts, json, .type = F_BOOL, .help = "one JSON object"),
    FIELD_END,
};

const struct applet applet_demo = {
    .name = "demo",
    .summary = "relay, connector, agent and services in one process",
    .usage = "[--seconds N] [--json]",
    .about =
        "Shows that it works on this machine: makes certificates in memory,\n"
        "starts a relay, a connector with an echo and a web service, and an\n"
        "agent, all over real sockets on loopback, and tells what happens "
        "with\n"
        "times: round-trip time, loss and throughput through the tunnel, a "
        "page\n"
        "and a long download over TCP. Each throughput is measured for "
        "--seconds.\n"
        "Needs no root and leaves no file.\n",
    .example = "  ztna demo\n  ztna demo --seconds 5 --json\n",
    .fields = fields,
    .opts_size = sizeof(struct demo_opts),
    .config = APPLET_NO_CONFIG,
    .max_args = 0,
    .start = demo_start,
};
