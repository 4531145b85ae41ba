/* tool_evil.c - peers with good certificates and bad manners against the real
 * programs; the simulator's (sim/evil.h, sim/liar.h) on a real socket.
 *
 *   agent DIR NAME RELAY STEP...
 *   connector DIR NAME RELAY SERVICE STEP...
 *   relay DIR NAME LISTEN LIE [FILE]
 *   handles DEV TO SECONDS    whose packets go there: "N HANDLE", most first
 *
 * Steps, each of which says what came of it in a line:
 *
 *   ask=SERVICE               POST /v1/grants
 *   request=METHOD,PATH,BODY  any request; GRANT and ROUTE stand for own ids
 *   dial[=OWN,PEER[,ADDR]]    a path; handles in hex, "own": as granted
 *   hello=ADDR                "own": as the relay gave it
 *   open=SERVICE[,GRANT]      the next context, from 2 on
 *   asked, opened             waits for a route-request, an open (connector)
 *   KIND=...                  an inner packet, evil_packet.h
 *   say=JSON                  any message on the path
 *   wait=MS
 *
 * Lies: truth, names (the path leads to another than it says), handle, tunnel
 * (addresses), swap (the second agent gets the first one's route), again (every
 * packet four times), refuse (every grant, for the
 * reason that FILE names). */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/hex.h"
#include "e2e/evil_packet.h"
#include "e2e/evil_world.h"
#include "host/clock.h"
#include "role/grant_json.h"
#include "sim/evil.h"
#include "sim/liar.h"

/* It gives nothing back before it ends. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "detect_leaks=0"; }

/* --- agents and connectors --- */

static int next_context;

static void report(struct evil *e, const char *step) {
  printf("%s: live=%d said=%s reason=%s status=%d packets=%d", step, e->live,
         evil_text(e->said, "type"), evil_text(e->said, "reason"), e->status,
         e->n_packets);
  if (e->n_ends)
    printf(" ended=%s by=%s text=\"%s\"", reason_name(e->end.reason),
           e->end.remote ? "peer" : "self", e->end.text);
  printf("\n");
}

static bool is_decided(struct sim *w, void *ud) {
  struct evil *e = ud;

  return e->live || e->n_ends;
}
static bool is_asked(struct sim *w, void *ud) {
  return ((struct evil *)ud)->asked;
}
static bool is_open(struct sim *w, void *ud) {
  return ((struct evil *)ud)->context;
}
static bool is_registered(struct sim *w, void *ud) {
  return ((struct evil *)ud)->registered;
}

static void dial(struct evil *e, char *arg) {
  uint8_t own[HANDLE_LEN], peer[HANDLE_LEN];
  char *a = strtok(arg, ","), *b = strtok(NULL, ","), *at = strtok(NULL, ",");
  struct ztna_addr to = sim_relay_addr(e->node.w);

  if (at) ztna_addr_parse(&to, at);
  e->n_ends = 0;
  evil_dial(e, &to, a && hex_parse(own, HANDLE_LEN, a) ? own : NULL,
            b && hex_parse(peer, HANDLE_LEN, b) ? peer : NULL);
  sim_until(e->node.w, is_decided, e, 1500 * MS);
}

/* GRANT and ROUTE in a text. */
static void fill_in(struct evil *e, const char *text, char to[512]) {
  static const char *const names[][2] = {{"GRANT", "grant.id"},
                                         {"ROUTE", "route"}};
  const char *hit;

  snprintf(to, 512, "%s", text);
  for (int i = 0; i < 2; i++)
    if ((hit = strstr(text, names[i][0])))
      snprintf(to, 512, "%.*s%s%s", (int)(hit - text), text,
               evil_text(e->grant ? e->grant : e->asked, names[i][1]), hit + 5);
}

static void request(struct evil *e, char *arg) {
  char path[512];
  char *method = strtok(arg, ","), *to = strtok(NULL, ","),
       *body = strtok(NULL, "");

  fill_in(e, to, path);
  evil_request(e, method, path, body ? json_loads(body, 0, NULL) : NULL);
}

static void hello(struct evil *e, const char *arg) {
  char text[ZTNA_ADDR_STRLEN];

  if (!strcmp(arg, "own")) arg = ztna_addr_print_ip(&e->addrs[0], text);
  evil_say(e, json_pack("{s:s, s:i, s:[s]}", "type", "hello", "version", 1,
                        "addresses", arg));
}

static void open_context(struct evil *e, char *arg) {
  char *service = strtok(arg, ","), *grant = strtok(NULL, ",");

  next_context += 2;
  evil_say(e, json_pack("{s:s, s:i, s:s, s:s}", "type", "open", "context",
                        next_context, "service", service, "grant",
                        grant ? grant : evil_text(e->grant, "grant.id")));
}

/* An agent's own addresses, or those of the agent that a connector serves. */
static void packet(struct evil *e, const char *step) {
  struct ztna_addr own[2] = {{0}};
  uint8_t p[2048];
  size_t n;

  memcpy(own, e->addrs, sizeof(own));
  if (e->asked) addrs_json_read(json_object_get(e->asked, "addresses"), own);
  n = evil_packet(p, step, own);
  evil_send(e, e->role == ROLE_AGENT ? (uint16_t)next_context : e->context, p,
            n);
}

static void do_step(struct evil *e, const char *step) {
  char text[4096], *arg;
  struct sim *w = e->node.w;

  snprintf(text, sizeof(text), "%s", step);
  arg = strchr(text, '=');
  if (arg) *arg++ = 0;
  if (!strcmp(text, "ask"))
    evil_ask(e, arg);
  else if (!strcmp(text, "request"))
    request(e, arg);
  else if (!strcmp(text, "dial"))
    dial(e, arg ? arg : "");
  else if (!strcmp(text, "hello"))
    hello(e, arg);
  else if (!strcmp(text, "open"))
    open_context(e, arg);
  else if (!strcmp(text, "asked"))
    sim_until(w, is_asked, e, 10 * SEC);
  else if (!strcmp(text, "opened"))
    sim_until(w, is_open, e, 10 * SEC);
  else if (!strcmp(text, "say"))
    evil_say(e, json_loads(arg, 0, NULL));
  else if (!strcmp(text, "wait"))
    sim_run(w, (uint64_t)atoi(arg) * MS);
  else
    packet(e, step);
  sim_run(w, 150 * MS);
  report(e, step);
}

static int end_of_route(enum role role, char **v) {
  struct sim *w = evil_world(v[0], "0.0.0.0:0", v[2]);
  struct evil *e = evil_new(w, role, v[1], NULL, NULL, NULL);

  v += 3;
  if (role == ROLE_CONNECTOR) {
    evil_serve(e, *v++);
    sim_until(w, is_registered, e, 5 * SEC);
    printf("registered=%d\n", e->registered);
  }
  for (; *v; v++) do_step(e, *v);
  return 0;
}

/* --- relays --- */

static void wrong_name(struct liar *l, struct lie *what) {
  strcpy(what->to_agent.connector, "spiffe://example.org/connector/c7");
}
static void wrong_handle(struct liar *l, struct lie *what) {
  what->to_connector.agent_handle[0] ^= 1;
}
static void wrong_tunnel(struct liar *l, struct lie *what) {
  what->to_connector.tunnel[0].ip[3] ^= 0x55;
  what->to_connector.tunnel[1].ip[15] ^= 0x55;
}
static void swap(struct liar *l, struct lie *what) {
  if (what->agent == 0) return;
  what->to_agent = l->last[0].to_agent;
  strcpy(what->to_agent.agent, what->to_connector.agent);
}

/* The name in a file, which may change. */
static enum reason reason_in(const char *file) {
  char name[64] = "internal";
  FILE *in = fopen(file, "r");

  if (in && fscanf(in, "%63s", name) != 1) name[0] = 0;
  if (in) fclose(in);
  return reason_find(name);
}

static int relay(char **v) {
  static const struct {
    const char *name;
    void (*bend)(struct liar *l, struct lie *what);
  } lies[] = {{"truth", NULL},
              {"names", wrong_name},
              {"handle", wrong_handle},
              {"tunnel", wrong_tunnel},
              {"swap", swap}};
  struct sim *w = evil_world(v[0], v[2], v[2]);
  struct liar *l;

  w->relay.tls = evil_tls(ROLE_RELAY, v[1]);
  l = liar_new(w);
  for (size_t i = 0; i < sizeof(lies) / sizeof(*lies); i++)
    if (!strcmp(v[3], lies[i].name)) l->bend = lies[i].bend;
  if (!strcmp(v[3], "again")) l->n_repeats = 3;
  for (uint64_t said = 0; l; said = l->n_forwarded) {
    if (!strcmp(v[3], "refuse") && v[4]) l->refuse = reason_in(v[4]);
    sim_run(w, 20 * MS);
    if (l->n_forwarded != said)
      printf("forwarded=%llu repeated=%llu\n",
             (unsigned long long)l->n_forwarded,
             (unsigned long long)l->n_repeated);
  }
  return 1;
}

/* --- handles --- */

enum { SEEN = 64 };

static int by_count(const void *a, const void *b) {
  return ((const int *)b)[0] - ((const int *)a)[0];
}

static int handles(char **v) {
  struct seen {
    int n;
    uint8_t handle[HANDLE_LEN];
  } seen[SEEN] = {{0}};
  struct sockaddr_ll ll = {.sll_family = AF_PACKET,
                           .sll_protocol = htons(ETH_P_ALL),
                           .sll_ifindex = (int)if_nametoindex(v[0])};
  int fd = socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_ALL));
  uint64_t end = clock_now() + (uint64_t)atoi(v[2]) * SEC;
  struct ztna_addr to;
  uint8_t b[65536];
  char hex[2 * HANDLE_LEN + 1];

  if (ztna_addr_parse(&to, v[1]) < 0) return 2;
  if (fd < 0 || bind(fd, (struct sockaddr *)&ll, sizeof(ll)) < 0) return 2;
  while (clock_now() < end) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    ssize_t n = poll(&p, 1, 50) > 0 ? recv(fd, b, sizeof(b), 0) : 0;
    int i;

    if (n < 28 + 21 || b[9] != 17 || memcmp(b + 16, to.ip, 4)) continue;
    if (b[22] << 8 != (to.port & 0xff00) || b[23] != (to.port & 0xff)) continue;
    if (b[28] & 0x80) continue;
    for (i = 0; i < SEEN - 1 && seen[i].n; i++)
      if (!memcmp(seen[i].handle, b + 29, HANDLE_LEN)) break;
    seen[i].n++;
    memcpy(seen[i].handle, b + 29, HANDLE_LEN);
  }
  qsort(seen, SEEN, sizeof(*seen), by_count);
  for (int i = 0; i < SEEN && seen[i].n; i++)
    printf("%d %s\n", seen[i].n, hex_print(seen[i].handle, HANDLE_LEN, hex));
  return !seen[0].n;
}

int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "";

  argc -= 2, argv += 2;
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (tls_global_init(&clock_rng, NULL) < 0) return 1;
  if (!strcmp(what, "agent") && argc >= 3)
    return end_of_route(ROLE_AGENT, argv);
  if (!strcmp(what, "connector") && argc >= 4)
    return end_of_route(ROLE_CONNECTOR, argv);
  if (!strcmp(what, "relay") && argc >= 4) return relay(argv);
  if (!strcmp(what, "handles") && argc == 3) return handles(argv);
  fprintf(stderr, "see tool_evil.c\n");
  return 2;
}
