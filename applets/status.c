/* status.c - `ztna status`: the state of a running relay, connector or agent,
 * as its local HTTP page tells it. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "applet.h"
#include "host/http_get.h"
#include "host/pretty.h"

enum { TIMEOUT_MS = 3000 };

struct status_opts {
  struct ztna_addr http;
  bool json;
};

static const struct field fields[] = {
    FIELD(status_opts, http, .type = F_ADDR,
          .help = "where the running program listens (its http.listen)"),
    FIELD(status_opts, json, .type = F_BOOL, .help = "print the JSON as it is"),
    FIELD_END,
};

/* What listens on all addresses is asked on loopback. */
static struct ztna_addr reachable(struct ztna_addr a) {
  static const uint8_t v4[4] = {127, 0, 0, 1}, v6[16] = {[15] = 1};
  if (!ztna_addr_is_unspecified(&a)) return a;
  return a.family == 4 ? ztna_addr_v4(v4, a.port) : ztna_addr_v6(v6, a.port, 0);
}

/* Where to look, and in *from how that was decided. */
static struct ztna_addr where(const struct applet_call *c, const char **from) {
  const struct status_opts *o = c->opts;
  struct ztna_addr a = {0};
  if (o->http.family) {
    *from = "given by --http";
    return reachable(o->http);
  }
  if (c->config && c->config->http.listen.family) {
    *from = "http.listen of the configuration";
    return reachable(c->config->http.listen);
  }
  *from = "the usual place; --http or --config name another";
  ztna_addr_parse(&a, "127.0.0.1:9090");
  return a;
}

static int unreachable(const struct ztna_addr *a, const char *from, int rc) {
  char text[ZTNA_ADDR_STRLEN];
  ztna_addr_print(a, text);
  const char *what = "gave no answer";
  if (rc == ZTNA_EREFUSED) what = "takes no connections: nothing runs there";
  if (rc == ZTNA_EAGAIN) what = "did not answer within 3 s";
  if (rc == ZTNA_EMALFORMED || rc >= 0) what = "answers, but is not ztna";
  fprintf(stderr, "ztna status: http://%s/status %s (%s)\n", text, what, from);
  return EXIT_NOT_READY;
}

static bool is_status(const json_t *root) {
  const char *schema = json_string_value(json_object_get(root, "schema"));
  return schema && strncmp(schema, "ztna.status/", 12) == 0;
}

static int print(const struct status_opts *o, const struct sbuf *body,
                 const json_t *root) {
  struct sbuf out;
  if (o->json) {
    fwrite(body->s, 1, body->len, stdout);
    if (body->s[body->len - 1] != '\n') putchar('\n');
    return EXIT_DONE;
  }
  sbuf_init(&out, 0);
  pretty_print(&out, root);
  if (out.len) fwrite(out.s, 1, out.len, stdout);
  sbuf_done(&out);
  return EXIT_DONE;
}

static int status_start(struct applet_call *c) {
  const char *from;
  struct ztna_addr a = where(c, &from);
  struct sbuf body;
  sbuf_init(&body, 0);
  int rc = http_get(&a, "/status", TIMEOUT_MS, &body);
  json_t *root =
      rc == 200 && body.len
          ? json_loadb(body.s, body.len, JSON_REJECT_DUPLICATES, NULL)
          : NULL;
  rc =
      is_status(root) ? print(c->opts, &body, root) : unreachable(&a, from, rc);
  json_decref(root);
  sbuf_done(&body);
  return rc;
}

const struct applet applet_status = {
    .name = "status",
    .summary = "the state of a running relay, connector or agent",
    .usage = "[--config FILE] [--http ADDR] [--json]",
    .about =
        "Asks the local HTTP page of a running relay, connector or agent. It\n"
        "listens where http.listen of its configuration says.\n",
    .example = "  ztna status --config /etc/ztna/relay.json\n"
               "  ztna status --http 127.0.0.1:9090 --json\n",
    .exits = "4 nothing reachable there",
    .fields = fields,
    .opts_size = sizeof(struct status_opts),
    .config = APPLET_MAY_CONFIG,
    .want = CONFIG_PRESENT | CONFIG_NO_FILES,
    .max_args = 0,
    .start = status_start,
};
