/* enroll.c - `ztna enroll`: a certificate for a key that is made here, by a
 * one-time token. */
#include "enroll.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/clock.h"
#include "host/confine.h"
#include "host/enroll_ask.h"
#include "host/file.h"
#include "transport/tls.h"

extern const struct applet applet_enroll;

static const struct field fields[] = {
    FIELD(enroll_opts, token, .type = F_STR, .min = 1, .meta = "TOKEN|-|@FILE",
          .help = "as ztna token create printed it; - reads it from stdin, "
                  "@FILE from a file; or $ZTNA_TOKEN"),
    FIELD_LIST(enroll_opts, relay, .type = F_HOSTPORTS, .max = 64,
               .help = "host:port of a relay, for the configuration; may be "
                       "repeated"),
    FIELD(enroll_opts, dir, .type = F_STR, .min = 1, .dflt = ".", .meta = "DIR",
          .help = "where key, certificate and CA go"),
    FIELD(enroll_opts, renew, .type = F_STR, .min = 1, .meta = "FILE",
          .help = "no token: renew the certificate that this configuration "
                  "names, at its identity.enroll"),
    FIELD_END,
};

int enroll_say(int code, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  fprintf(stderr, "ztna enroll: ");
  vfprintf(stderr, fmt, ap);
  fputc('\n', stderr);
  va_end(ap);
  return code;
}

/* --- the token */

enum { TOKEN_ROOM = TOKEN_TEXT_MAX + 256 };

static int read_stdin(char *to) {
  size_t n = fread(to, 1, TOKEN_ROOM - 1, stdin);
  to[n] = 0;
  return n ? EXIT_DONE
           : enroll_say(EXIT_USAGE, "--token -: nothing came on stdin");
}

static int read_file(const char *name, char *to) {
  char why[FILE_WHY], *bytes;
  size_t len;
  if (file_read(name, TOKEN_ROOM - 1, &bytes, &len, why) < 0)
    return enroll_say(EXIT_USAGE, "--token @%s: %s", name, why);
  memcpy(to, bytes, len + 1);
  file_wipe(bytes, len);
  free(bytes);
  return EXIT_DONE;
}

static int token_text(const struct enroll_opts *o, char *to) {
  const char *given = o->token ? o->token : getenv("ZTNA_TOKEN");
  if (!given || !*given)
    return enroll_say(EXIT_USAGE,
                      "the token is missing: --token TOKEN, better --token "
                      "@FILE or --token - or $ZTNA_TOKEN; ztna token create "
                      "on the host of the CA makes one");
  if (!strcmp(given, "-")) return read_stdin(to);
  if (*given == '@') return read_file(given + 1, to);
  snprintf(to, TOKEN_ROOM, "%s", given);
  return EXIT_DONE;
}

static int token_get(const struct enroll_opts *o, struct token *t) {
  char text[TOKEN_ROOM], *from = text;
  int code = token_text(o, text);
  size_t n;
  if (code) return code;
  while (isspace((unsigned char)*from)) from++;
  for (n = strlen(from); n > 0 && isspace((unsigned char)from[n - 1]);) n--;
  if (token_parse(t, from, n) < 0)
    code = enroll_say(EXIT_USAGE,
                      "this is no whole token: it begins with zt1_ and ends "
                      "with the host:port of the enrolment service, as ztna "
                      "token create printed it");
  file_wipe(text, sizeof(text));
  return code;
}

/* --- asking */

struct asking {
  struct host *host;
  struct enroll_result result; /* taken over */
  bool told;
};

static void on_result(void *ctx, struct enroll_result *r) {
  struct asking *a = ctx;
  a->result = *r;
  *r = (struct enroll_result){0};
  a->told = true;
  host_stop(a->host, 0);
}

static int exit_for(enum reason why) {
  switch (why) {
  case REASON_NONE:
    return EXIT_DONE;
  case REASON_RELAY_UNREACHABLE:
  case REASON_NETWORK_UNREACHABLE:
  case REASON_IDLE:
  case REASON_DRAINING:
  case REASON_SHUTTING_DOWN:
  case REASON_RATE_LIMITED:
    return EXIT_NOT_READY;
  case REASON_INTERNAL:
    return EXIT_FAILED;
  default:
    return EXIT_REFUSED;
  }
}

int enroll_once(const struct enroll_options *o, struct enroll_result *r) {
  struct asking a = {0};
  struct enroll_ask *ask;
  *r = (struct enroll_result){0};
  if (tls_global_init(&clock_rng, NULL) < 0 || !(a.host = host_new()))
    return enroll_say(EXIT_FAILED, "cannot start");
  ask = enroll_ask_new(a.host, on_result, &a);
  if (ask) {
    enroll_ask_start(ask, o);
    host_run(a.host);
  }
  host_free(a.host);
  enroll_ask_free(ask);
  *r = a.result;
  r->asked |= !a.told; /* perhaps */
  if (!a.told) return enroll_say(EXIT_FAILED, "interrupted");
  if (r->why == REASON_NONE) return EXIT_DONE;
  return enroll_say(exit_for(r->why), "%s", r->text);
}

/* --- together */

static int run(const struct enroll_opts *o, const struct token *t,
               struct enroll_files *f) {
  const struct enroll_options ask = {.server = t->server,
                                     .key = f->key_pem.s,
                                     .key_len = f->key_pem.len,
                                     .token = t};
  struct enroll_result r;
  int code = enroll_once(&ask, &r);
  if (r.why == REASON_BAD_TOKEN || (code && !r.asked)) enroll_files_abandon(f);
  if (!code) code = enroll_files_keep(f, o, t, &r);
  if (!code) enroll_tell(f, o, t, &r);
  enroll_result_done(&r);
  return code;
}

static int by_token(const struct enroll_opts *o) {
  struct enroll_files f = {0};
  struct token t;
  int code = token_get(o, &t);
  if (code) return code;
  code = enroll_files_begin(&f, o->dir, &t);
  if (!code) code = run(o, &t, &f);
  enroll_files_done(&f);
  file_wipe(&t, sizeof(t));
  return code;
}

static int enroll_start(struct applet_call *c) {
  const struct enroll_opts *o = c->opts;
  confine_begin(); /* token and key are in memory from here on */
  if (!o->renew) return by_token(o);
  if (o->token || o->n_relay)
    return enroll_say(EXIT_USAGE, "--renew takes no --token and no --relay");
  return enroll_renew(o->renew);
}

const struct applet applet_enroll = {
    .name = "enroll",
    .summary = "get a certificate for this machine, by a one-time token",
    .usage = "--token TOKEN|-|@FILE [--relay HOST:PORT]... [--dir DIR]\n"
             "       ztna enroll --renew FILE",
    .about =
        "Makes a key on this machine, which never leaves it, and asks the\n"
        "enrolment service that the token names for a certificate. An agent\n"
        "gets a configuration, too, when --relay is given. What was there of\n"
        "another identity is left alone.\n"
        "\n"
        "Others on this machine see command lines, so a token is better read\n"
        "from stdin, a file, or $ZTNA_TOKEN; it is of use once. When no "
        "answer\n"
        "came, call it again with the same token within 10 minutes: the key\n"
        "that is there is used again.\n"
        "\n"
        "Agents and connectors renew their certificates by themselves. For a\n"
        "relay let a timer call --renew often enough: the relay takes the\n"
        "files over while it runs.\n",
    .example = "  ztna enroll --token @token --relay relay.example.org:4433 "
               "--dir /etc/ztna\n"
               "  ssh ca ztna token create --config enroll.json --role agent "
               "--name laptop-7 |\n    ztna enroll --token - --relay "
               "relay.example.org:4433\n"
               "  ztna enroll --renew /etc/ztna/relay.json\n",
    .exits = "3 wrong configuration, 4 the service does not answer, 5 refused",
    .fields = fields,
    .opts_size = sizeof(struct enroll_opts),
    .config = APPLET_NO_CONFIG,
    .max_args = 0,
    .start = enroll_start,
};
