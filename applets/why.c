/* why.c - `ztna why`: can this machine reach a service, and if not, what is the
 * first thing on the way that fails, and who can fix it. */
#include "why.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "applet.h"
#include "local_page.h"
#include "part/policy.h"

extern const struct applet applet_why;

enum protocol { ANY, UDP, TCP, ICMP };

struct why_opts {
  struct ztna_addr http;
  enum protocol protocol;
  bool json;
};

static const char *const protocol_names[] = {"any", "udp", "tcp", "icmp", NULL};

static const struct field fields[] = {
    FIELD(why_opts, http, .type = F_ADDR,
          .help = "where the agent listens (its http.listen)"),
    FIELD(why_opts, protocol, .type = F_ENUM, .names = protocol_names,
          .dflt = "any",
          .help = "of the try; any: what the port is allowed for, ICMP without "
                  "a port"),
    FIELD(why_opts, json, .type = F_BOOL, .help = "one JSON object"),
    FIELD_END,
};

/* --- what is asked */

static int wrong(const char *arg, const char *what) {
  fprintf(stderr, "ztna why: \"%.80s\": %s\n", arg, what);
  fprintf(stderr, "usage: ztna why %s\n", applet_why.usage);
  return EXIT_USAGE;
}

static bool read_port(uint16_t *port, const char *text) {
  char *end;
  unsigned long n = strtoul(text, &end, 10);

  *port = (uint16_t)n;
  return *text >= '0' && *text <= '9' && !*end && n > 0 && n < 65536;
}

/* The agent judges it once more; here it must not break a request. */
static bool is_id(const char *id) {
  return *id && !id[strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789-_")];
}

static int read_target(struct why *w, const char *arg) {
  const char *colon = strrchr(arg, ':');
  size_t len = colon ? (size_t)(colon - arg) : strlen(arg);

  if (ztna_addr_parse(&w->addr, arg) == 0) {
    w->port = w->addr.port;
    w->addr.port = 0;
    return EXIT_DONE;
  }
  if (colon && !read_port(&w->port, colon + 1))
    return wrong(arg, "want SERVICE:PORT, the port from 1 to 65535");
  if (len >= sizeof(w->id)) return wrong(arg, "a service id is shorter");
  memcpy(w->id, arg, len);
  if (!is_id(w->id))
    return wrong(arg, "want a service id (a-z, 0-9, -, _) or its address");
  return EXIT_DONE;
}

static int read_protocol(struct why *w, const char *arg, enum protocol p) {
  static const unsigned bits[] = {0, PROTO_UDP, PROTO_TCP, PROTO_ICMP};

  w->protocol = bits[p];
  if ((p == UDP || p == TCP) && !w->port)
    return wrong(arg, "UDP and TCP want a port: SERVICE:PORT");
  if (p == ICMP && w->port) return wrong(arg, "ICMP has no ports");
  return EXIT_DONE;
}

/* --- what comes out */

static const char *const results[] = {[WHY_OK] = "ok",
                                      [WHY_FAILED] = "failed",
                                      [WHY_NOTE] = "note",
                                      [WHY_LEFT_OUT] = "left-out"};

static void target_print(const struct why *w, struct sbuf *out) {
  char addr[ZTNA_ADDR_STRLEN];

  sbuf_printf(out, "%s", w->id[0] ? w->id : ztna_addr_print_ip(&w->addr, addr));
  if (w->port) sbuf_printf(out, " port %u", w->port);
  if (w->protocol) sbuf_printf(out, " (%s)", why_protocol(w->protocol));
}

static void sentence_print(const struct why *w, struct sbuf *out) {
  target_print(w, out);
  if (w->code)
    sbuf_printf(out, " cannot be reached: %s. Who can fix it: %s.", w->why,
                w->fix);
  else if (w->tried)
    sbuf_printf(out, " can be reached.");
  else
    sbuf_printf(out, " can be reached as far as the agent knows; it was not "
                     "tried.");
}

static void steps_print(const struct why *w) {
  for (size_t i = 0; i < w->n_steps; i++) {
    const struct why_step *s = &w->steps[i];
    bool last = w->code && i + 1 == w->n_steps;
    printf("%-12s%-9s %s%s%s%s\n", s->name, results[s->result], s->text,
           last && w->reason[0] ? " [" : "", last ? w->reason : "",
           last && w->reason[0] ? "]" : "");
  }
}

static void set(json_t *o, const char *key, const char *text) {
  json_t *j = json_string(text);

  json_object_set_new(o, key, j ? j : json_string("?")); /* no UTF-8 */
}

static json_t *steps_json(const struct why *w) {
  json_t *list = json_array();

  for (size_t i = 0; i < w->n_steps; i++) {
    json_t *j = json_object();
    set(j, "step", w->steps[i].name);
    set(j, "result", results[w->steps[i].result]);
    set(j, "text", w->steps[i].text);
    json_array_append_new(list, j);
  }
  return list;
}

static void report_json(const struct why *w, const char *sentence) {
  json_t *o = json_object();

  set(o, "schema", "ztna.why/1");
  set(o, "service", w->id);
  if (w->port) json_object_set_new(o, "port", json_integer(w->port));
  if (w->protocol) set(o, "protocol", why_protocol(w->protocol));
  json_object_set_new(o, "reachable", json_boolean(!w->code));
  json_object_set_new(o, "tried", json_boolean(w->tried));
  json_object_set_new(o, "steps", steps_json(w));
  if (w->code) {
    set(o, "failed", w->steps[w->n_steps - 1].name);
    if (w->reason[0]) set(o, "reason", w->reason);
    set(o, "why", w->why);
    set(o, "fix", w->fix);
  }
  set(o, "sentence", sentence);
  json_dumpf(o, stdout, JSON_INDENT(2));
  putchar('\n');
  json_decref(o);
}

static void report(const struct why *w, bool json) {
  struct sbuf sentence;

  sbuf_init(&sentence, 0);
  sentence_print(w, &sentence);
  if (json) {
    report_json(w, sentence.len ? sentence.s : "");
  } else {
    steps_print(w);
    printf("\n%s\n", sentence.len ? sentence.s : "");
  }
  sbuf_done(&sentence);
}

static int why_start(struct applet_call *c) {
  const struct why_opts *o = c->opts;
  struct why w = {.code = EXIT_DONE};
  int code = read_target(&w, c->args[0]);

  if (!code) code = read_protocol(&w, c->args[0], o->protocol);
  if (code) return code;
  w.http = local_page_where(&o->http, c->config, &w.from);
  why_walk(&w);
  report(&w, o->json);
  why_done(&w);
  return w.code;
}

const struct applet applet_why = {
    .name = "why",
    .summary = "why a service can be reached from this machine, or not",
    .usage = "SERVICE[:PORT] [--config FILE] [--http ADDR] "
             "[--protocol udp|tcp|icmp] [--json]",
    .about =
        "Walks the way to a service on the machine of a running agent: agent,\n"
        "certificate, relay, service, address, use, path, grant; then tries "
        "it: a\n"
        "TCP connection, a ping, or an empty UDP datagram and a ping. It stops "
        "at\n"
        "the first thing that fails, and says why and who can fix it. What is "
        "not\n"
        "in use yet is asked for, which takes up to 3 s.\n",
    .example = "  ztna why web-app:443\n"
               "  ztna why dns:53 --protocol udp --json\n"
               "  ztna why 10.100.0.2\n",
    .exits = "4 nothing reachable, or no agent runs; 5 refused",
    .fields = fields,
    .opts_size = sizeof(struct why_opts),
    .config = APPLET_MAY_CONFIG,
    .want = CONFIG_PRESENT | CONFIG_NO_FILES,
    .min_args = 1,
    .max_args = 1,
    .start = why_start,
};
