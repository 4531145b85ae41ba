/* status.c - `ztna status`: the state of a running relay, connector or agent,
 * as its local HTTP page tells it. */
#include <ctype.h>
#include <stdio.h>

#include "applet.h"
#include "host/pretty.h"
#include "local_page.h"

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

static int unreachable(const struct ztna_addr *a, const char *from, int rc) {
  char text[ZTNA_ADDR_STRLEN];

  fprintf(stderr, "ztna status: http://%s/status %s (%s)\n",
          ztna_addr_print(a, text), local_page_wrong(rc), from);
  return EXIT_NOT_READY;
}

/* Names in it may be of others' making. */
static void add_line(struct sbuf *out, const char *label, const json_t *text) {
  const char *at = json_string_value(text);

  if (!at) return;
  sbuf_printf(out, "%s", label);
  for (; *at; at++)
    sbuf_printf(out, "%c", iscntrl((unsigned char)*at) ? '?' : *at);
  sbuf_printf(out, "\n");
}

static void add_warnings(struct sbuf *out, const json_t *list) {
  const json_t *member;
  size_t i;

  json_array_foreach(list, i, member)
      add_line(out, "WARNING: ", json_object_get(member, "warning"));
}

/* What a person should not have to look for. */
static void add_certificates(struct sbuf *out, const json_t *c) {
  add_line(out, "ERROR: identity: ", json_object_get(c, "error"));
  add_line(out, "WARNING: ", json_object_get(c, "warning"));
  add_warnings(out, json_object_get(c, "ca"));
  add_warnings(out, json_object_get(c, "crl"));
}

static void add_renewal(struct sbuf *out, const json_t *r) {
  const json_t *last = json_object_get(r, "last");

  if (json_is_false(json_object_get(last, "ok")))
    add_line(out, "WARNING: the certificate is not renewed: ",
             json_object_get(last, "text"));
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
  add_certificates(&out, json_object_get(root, "certificates"));
  add_renewal(&out, json_object_get(root, "renewal"));
  pretty_print(&out, root);
  if (out.len) fwrite(out.s, 1, out.len, stdout);
  sbuf_done(&out);
  return EXIT_DONE;
}

static int status_start(struct applet_call *c) {
  const struct status_opts *o = c->opts;
  const char *from;
  struct ztna_addr a = local_page_where(&o->http, c->config, &from);
  struct sbuf body;
  json_t *root;
  sbuf_init(&body, 0);
  int rc = local_page_status(&a, TIMEOUT_MS, &body, &root);
  rc = root ? print(o, &body, root) : unreachable(&a, from, rc);
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
