/* probe_peer.c - see probe_peer.h. What the agent's core does is read out of
 * its status, as people read it. */
#include "host/probe_peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ztna/err.h>

#include "codec/ip.h"
#include "host/agent_host.h"
#include "host/clock.h"
#include "host/probe_fact.h"

#define LOOK_EVERY (5 * MS)
#define ECHO_EVERY (100 * MS)
#define SERVICE_WITHIN (8 * SEC)
#define DIRECT_WITHIN (20 * SEC) /* a round of checks takes 15 s at most */

enum { ECHO_ID = 0x7a74, ECHO_LEN = 32 };

enum step {
  STEP_RESOLVE,
  STEP_CONTROL, /* the relay answered */
  STEP_SERVICE, /* it lists the service */
  STEP_GRANT,
  STEP_RELAYED, /* the service is open */
  STEP_RELAYED_ECHO,
  STEP_CANDIDATES, /* both ends know each other's */
  STEP_CHECKED,    /* one was answered */
  STEP_DIRECT,
  STEP_DIRECT_ECHO,
  N_STEPS,
};

static const char *const step_names[N_STEPS] = {
    "resolve_ms", "control_ms",      "service_ms",    "grant_ms",
    "relayed_ms", "relayed_echo_ms", "candidates_ms", "checked_ms",
    "direct_ms",  "direct_echo_ms",
};

struct rehearsal {
  const char *service;
  struct agent_config config;
  char *services[1];
  struct agent_host agent;
  struct host *host;
  uint64_t begun_at, look_at, echo_at;
  uint64_t at[N_STEPS]; /* 0: not reached */
  uint64_t sent_at;     /* the last echo request */
  uint64_t rtt[2];      /* of the first echo, relayed and direct */
  uint16_t seq;
  struct ztna_addr to; /* the service */
  bool over;
  char why[256];
};

static void reach(struct rehearsal *r, enum step s, uint64_t now) {
  if (!r->at[s]) r->at[s] = now;
}

static void end(struct rehearsal *r, const char *why) {
  if (r->over) return;
  r->over = true;
  snprintf(r->why, sizeof(r->why), "%s", why ? why : "");
  host_stop(r->host, 0);
}

/* --- echoes */

static void send_echo(struct rehearsal *r, uint64_t now) {
  static const uint8_t payload[ECHO_LEN];
  static uint8_t buf[128];
  struct ztna_addr own[2];
  int n = ztna_agent_addresses(r->agent.core, own), len = -1;
  for (int i = 0; i < n && len < 0; i++)
    if (own[i].family == r->to.family)
      len = ip_build_echo(buf, sizeof(buf), &own[i], &r->to, false, ECHO_ID,
                          ++r->seq, payload, sizeof(payload));
  if (len < 0) return;
  struct ztna_ip ip = {.data = buf, .len = (size_t)len};
  r->sent_at = now;
  ztna_agent_ip_in(r->agent.core, now, &ip);
}

static void on_echo(struct rehearsal *r, uint64_t now) {
  bool direct = r->at[STEP_DIRECT] && r->sent_at > r->at[STEP_DIRECT];
  enum step s = direct ? STEP_DIRECT_ECHO : STEP_RELAYED_ECHO;
  /* It may be quicker than a look at the status. */
  for (int i = STEP_CONTROL; i <= STEP_RELAYED; i++)
    reach(r, (enum step)i, now);
  if (!r->at[s]) r->rtt[direct] = now - r->sent_at;
  reach(r, s, now);
}

static void on_packets(void *ctx, uint64_t now) {
  struct rehearsal *r = ctx;
  struct ztna_ip ip;
  struct ip_pkt p;
  while (ztna_agent_ip_next(r->agent.core, &ip))
    if (ip_parse(&p, ip.data, ip.len) == 0 && p.kind == IP_ECHO_REPLY &&
        p.icmp_seq == r->seq)
      on_echo(r, now);
}

/* --- what the status says */

static const char *text_of(const json_t *j, const char *key) {
  const char *s = json_string_value(json_object_get(j, key));
  return s ? s : "";
}

static json_t *find(json_t *list, const char *key, const char *value) {
  size_t i;
  json_t *j;
  json_array_foreach(list, i, j) if (!strcmp(text_of(j, key), value)) return j;
  return NULL;
}

static void see_service(struct rehearsal *r, json_t *s, uint64_t now) {
  const char *use = text_of(s, "use");
  const char *addr =
      json_string_value(json_array_get(json_object_get(s, "addresses"), 0));
  if (!s) return;
  reach(r, STEP_SERVICE, now);
  if (!r->to.family && addr) ztna_addr_parse(&r->to, addr);
  if (!strcmp(use, "refused")) end(r, text_of(s, "why"));
  bool open = !strcmp(use, "open");
  if (open || !strcmp(use, "opening")) reach(r, STEP_GRANT, now);
  if (open) reach(r, STEP_RELAYED, now);
}

static void see_direct(struct rehearsal *r, const json_t *d, uint64_t now) {
  static const struct {
    const char *state;
    enum step step;
  } states[] = {{"checking", STEP_CANDIDATES},
                {"found", STEP_CHECKED},
                {"direct", STEP_DIRECT}};
  const char *state = text_of(d, "state"), *why = text_of(d, "text");
  size_t at = 0, n = sizeof(states) / sizeof(*states);
  while (at < n && strcmp(state, states[at].state)) at++;
  if (at < n && states[at].step == STEP_DIRECT && !r->at[STEP_DIRECT])
    r->echo_at = now;
  for (size_t i = 0; at < n && i <= at; i++) reach(r, states[i].step, now);
  if (!strcmp(state, "off")) end(r, "direct paths are switched off");
  if (!strcmp(state, "waiting") && *why && r->at[STEP_CANDIDATES]) end(r, why);
}

static void see(struct rehearsal *r, json_t *status, uint64_t now) {
  const json_t *relay = json_object_get(status, "relay");
  json_t *link = json_array_get(json_object_get(status, "links"), 0);
  if (json_is_true(json_object_get(relay, "connected")))
    reach(r, STEP_CONTROL, now);
  else if (now > r->begun_at + SERVICE_WITHIN)
    end(r, text_of(relay, "text"));
  see_service(r, find(json_object_get(status, "services"), "id", r->service),
              now);
  if (link) see_direct(r, json_object_get(link, "direct"), now);
}

static void judge_time(struct rehearsal *r, uint64_t now) {
  bool open = r->at[STEP_RELAYED];
  if (r->at[STEP_DIRECT_ECHO]) end(r, NULL);
  if (!r->at[STEP_SERVICE] && now > r->begun_at + SERVICE_WITHIN)
    end(r, r->at[STEP_CONTROL] ? "the relay lists no such service for us"
                               : "no relay was reached");
  if (!open && now > r->begun_at + SERVICE_WITHIN)
    end(r, "it was not opened in time");
  if (r->at[STEP_DIRECT] && now > r->at[STEP_DIRECT] + 2 * SEC)
    end(r, "no echo came back: its policy may not allow ICMP");
  if (open && now > r->at[STEP_RELAYED] + DIRECT_WITHIN)
    end(r, "no direct path in the time there was");
}

/* --- a role beside the agent's */

static void tick(void *ctx, uint64_t now) {
  struct rehearsal *r = ctx;
  if (r->over || now < r->look_at) return;
  r->look_at = now + LOOK_EVERY;
  host_enter(r->agent.role);
  char *text = ztna_agent_status(r->agent.core);
  json_t *status = text ? json_loads(text, 0, NULL) : NULL;
  if (status) see(r, status, now);
  json_decref(status);
  free(text);
  judge_time(r, now);
  /* The first one opens the service. */
  if (!r->over && r->to.family && now >= r->echo_at) {
    r->echo_at = now + ECHO_EVERY;
    send_echo(r, now);
  }
}

static uint64_t deadline(const void *ctx) {
  const struct rehearsal *r = ctx;
  return r->over ? NEVER : r->look_at;
}

static int next(void *ctx, uint64_t now, struct dgram *v, int max) { return 0; }
static void udp_in(void *ctx, uint64_t now, const struct dgram *d) {}

static const struct loop_role verbs = {
    .udp_in = udp_in, .tick = tick, .next = next, .deadline = deadline};

/* --- report */

static void report(const struct rehearsal *r, json_t *into) {
  json_t *o = json_object();
  bool direct = r->at[STEP_DIRECT], open = r->at[STEP_RELAYED];
  fact(o, "service", json_string(r->service), NULL);
  for (int i = 0; i < N_STEPS; i++)
    fact(o, step_names[i], r->at[i] ? fact_ms(r->at[i] - r->begun_at) : NULL,
         NULL);
  fact(o, "relayed_rtt_ms", r->rtt[0] ? fact_ms(r->rtt[0]) : NULL, NULL);
  fact(o, "direct_rtt_ms", r->rtt[1] ? fact_ms(r->rtt[1]) : NULL, NULL);
  fact(o, "result",
       json_string(direct ? "direct"
                   : open ? "relayed"
                          : "not reached"),
       r->why);
  /* The verdict stays the last word. */
  json_t *verdict = json_incref(json_object_get(into, "verdict"));
  json_object_del(into, "verdict");
  json_object_set_new(into, "peer", o);
  json_object_set_new(into, "verdict", verdict);
}

/* --- life */

static void on_name(void *ctx, const struct ztna_addr *v, int n,
                    const char *why) {
  struct rehearsal *r = ctx;
  if (n > 0) reach(r, STEP_RESOLVE, clock_now());
}

static struct udp *bind_udp(const struct agent_config *c) {
  struct udp *u = udp_new();
  for (size_t i = 0; u && i < c->n_listen; i++) udp_bind(u, &c->listen[i]);
  if (u && udp_count(u)) return u;
  udp_free(u);
  return NULL;
}

static int run(struct rehearsal *r) {
  static const struct agent_host_hooks hooks = {.packets = on_packets};
  struct udp *udp;
  r->host = host_new();
  udp = r->host ? bind_udp(&r->config) : NULL;
  if (!udp) return ZTNA_EIO;
  r->begun_at = clock_now();
  resolve_name(host_resolver(r->host), r->config.relays[0], 4433, on_name, r);
  int rc = agent_host_start(&r->agent, r->host, udp, &hooks, r);
  if (rc < 0) return rc;
  return host_add(r->host, &verbs, r, NULL) ? host_run(r->host) : ZTNA_EIO;
}

int probe_peer(const struct config *c, const char *service, json_t *into,
               bool *direct) {
  struct rehearsal *r = calloc(1, sizeof(*r));
  char why[256] = "";
  if (!r) return ZTNA_ENOMEM;
  r->service = r->services[0] = (char *)service;
  r->config = c->agent;
  r->config.services = r->services;
  r->config.n_services = 1;
  r->config.tun = NULL;
  r->config.n_forward = 0;
  r->config.socks5.family = 0;
  int rc =
      agent_host_new(&r->agent, &r->config, &c->identity, why, sizeof(why));
  if (rc == 0) rc = run(r);
  if (*why) fprintf(stderr, "ztna probe: identity: %s\n", why);
  if (rc == 0) report(r, into);
  *direct = r->at[STEP_DIRECT];
  if (r->host) host_free(r->host);
  agent_host_free(&r->agent);
  free(r);
  return rc;
}
