/* version.c - `ztna version`. */
#include <ztna/version.h>

#include "applet.h"

extern const struct applet applet_version;

struct version_opts {
  bool json;
};

static const struct field fields[] = {
    FIELD(version_opts, json, .type = F_BOOL, .help = "print a JSON object"),
    FIELD_END,
};

static int version_start(struct applet_call *c) {
  const struct version_opts *o = c->opts;
  if (o->json)
    puts("{\"schema\":\"ztna.version/1\",\"version\":\"" ZTNA_VERSION "\"}");
  else
    puts("ztna " ZTNA_VERSION);
  return EXIT_DONE;
}

const struct applet applet_version = {
    .name = "version",
    .summary = "which version this is",
    .usage = "[--json]",
    .fields = fields,
    .opts_size = sizeof(struct version_opts),
    .start = version_start,
};
