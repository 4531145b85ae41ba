/* token.c - `ztna token`: makes, lists and takes away the tokens by which
 * machines get their first certificate. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "base/utc.h"
#include "enroll_ca.h"
#include "host/cert_name.h"
#include "host/clock.h"
#include "host/token_file.h"
#include "part/token.h"
#include "role.h"
#include "transport/tls.h"

extern const struct applet applet_token;

struct token_opts {
  char *role, *name;
  char **service;
  size_t n_service;
  char **dns;
  size_t n_dns;
  struct ztna_addr *ip;
  size_t n_ip;
  uint64_t expires; /* ns from now on */
  bool json;
};

/* The number that token_entry has; -1: none. */
static int role_number(const char *text) {
  for (int i = 0; text && token_file_roles[i]; i++)
    if (!strcmp(text, token_file_roles[i])) return i;
  return -1;
}

static const char *check_role(const char *text) {
  return role_number(text) < 0 ? "a role: agent, connector or relay" : NULL;
}

static const struct field fields[] = {
    FIELD(token_opts, role, .type = F_STR, .meta = "ROLE", .check = check_role,
          .help = "create: agent, connector or relay"),
    FIELD(token_opts, name, .type = F_STR, .meta = "NAME",
          .check = cert_name_check, .help = "create: of the machine"),
    FIELD_LIST(token_opts, service, .type = F_STRS, .meta = "ID,...",
               .check = cert_name_check_service,
               .help = "create: what a connector may serve, or what an agent "
                       "is limited to; * for any; may be repeated"),
    FIELD_LIST(token_opts, dns, .type = F_STRS, .meta = "NAME,...",
               .check = cert_name_check_dns,
               .help = "create: host names of a relay; may be repeated"),
    FIELD_LIST(token_opts, ip, .type = F_IPS,
               .help = "create: addresses of a relay; may be repeated"),
    FIELD(token_opts, expires, .type = F_NS, .dflt = "1h", .min = SEC,
          .max = INT64_C(366) * 86400 * SEC,
          .help = "create: the token is good for so long"),
    FIELD(token_opts, json, .type = F_BOOL, .help = "print JSON"),
    FIELD_END,
};

static int say(int code, const char *verb, const char *what, const char *more) {
  fprintf(stderr, "ztna token %s: %s%s\n", verb, what, more);
  return code;
}

/* What token_file said, or the error. */
static int failed(const char *verb, int rc, struct sbuf *why) {
  if (why->len)
    fputs(why->s, stderr);
  else
    say(0, verb, ztna_strerror(rc), "");
  sbuf_done(why);
  return rc == ZTNA_ECONFIG ? EXIT_CONFIG : EXIT_FAILED;
}

static int64_t now(void) { return (int64_t)(clock_wall() / SEC); }

/* --- create */

static void print_token(const struct applet_call *c, const struct token *t,
                        const struct token_entry *e) {
  const struct token_opts *o = c->opts;
  char text[TOKEN_TEXT_MAX], until[UTC_STRLEN];
  token_print(t, text);
  utc_print(e->expires, until);
  if (o->json) {
    json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:s}", "token", text, "id",
                          e->id, "role", token_file_roles[e->role], "name",
                          e->name, "expires", until);
    json_dumpf(j, stdout, JSON_INDENT(2));
    json_decref(j);
    printf("\n");
  } else {
    printf("%s\n", text);
    fflush(stdout);
    fprintf(stderr,
            "Good once, until %s; it is shown only now. On the machine:\n"
            "  ztna enroll --dir /etc/ztna --token -\n"
            "which reads it from its input. To take it back:\n"
            "  ztna token revoke --config %s %s\n",
            until, role_source(c), e->id);
  }
  explicit_bzero(text, sizeof(text));
}

static int save_token(const struct applet_call *c, struct token *t,
                      struct token_entry *e, struct sbuf *why) {
  char id[2 * TOKEN_ID_LEN + 1], hash[2 * CERT_SPKI_HASH_LEN + 1];
  rng_fill(&clock_rng, t->id, sizeof(t->id));
  rng_fill(&clock_rng, t->secret, sizeof(t->secret));
  token_hash(t->id, t->secret, hash);
  e->id = hex_print(t->id, sizeof(t->id), id);
  e->hash = hash;
  int rc = token_file_add(c->config->state_dir, e, e->made, why);
  if (rc == 0) print_token(c, t, e);
  e->id = e->hash = NULL;
  return rc;
}

static int make_token(const struct applet_call *c, const struct enroll_ca *ca,
                      struct token_entry *e) {
  struct token t = {0};
  struct sbuf why = {0};
  memcpy(t.ca_sha256, ca->ca.sha256, sizeof(t.ca_sha256));
  snprintf(t.server, sizeof(t.server), "%s", c->config->enroll.server);
  int rc = save_token(c, &t, e, &why);
  explicit_bzero(&t, sizeof(t));
  if (rc < 0) return failed("create", rc, &why);
  sbuf_done(&why);
  return EXIT_DONE;
}

static int token_create(struct applet_call *c) {
  const struct token_opts *o = c->opts;
  struct token_entry e = {.role = role_number(o->role),
                          .name = o->name,
                          .services = o->service,
                          .n_services = o->n_service,
                          .dns = o->dns,
                          .n_dns = o->n_dns,
                          .ip = o->ip,
                          .n_ip = o->n_ip,
                          .lifetime = c->config->enroll.lifetime,
                          .made = now(),
                          .expires = now() + (int64_t)(o->expires / SEC)};
  struct enroll_ca ca;
  if (!o->role || !o->name)
    return say(EXIT_USAGE, "create", o->name ? "--role" : "--name",
               " is missing");
  const char *wrong = token_entry_wrong(&e);
  if (wrong) return say(EXIT_USAGE, "create", wrong, "");
  int code = enroll_ca_load(&ca, &c->config->enroll, role_source(c), false);
  if (!code && ca.ca.not_after <= now())
    code = say(EXIT_FAILED, "create", "the CA's certificate has expired", "");
  if (!code) code = make_token(c, &ca, &e);
  enroll_ca_done(&ca);
  return code;
}

/* --- list */

static const char *state_of(const struct token_entry *e) {
  return e->used ? "used" : e->expires <= now() ? "expired" : "waiting";
}

static json_t *as_json(const struct token_entry *e) {
  char made[UTC_STRLEN], expires[UTC_STRLEN], used[UTC_STRLEN];
  json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "id", e->id, "role",
                        token_file_roles[e->role], "name", e->name, "state",
                        state_of(e), "made", utc_print(e->made, made),
                        "expires", utc_print(e->expires, expires));
  if (e->used)
    json_object_set_new(j, "used", json_string(utc_print(e->used, used)));
  if (e->key) json_object_set_new(j, "key", json_string(e->key));
  return j;
}

static void print_list(const struct token_list *l, bool as) {
  json_t *list = json_array();
  char at[UTC_STRLEN];
  if (!as && l->n_tokens)
    printf("%-17s %-10s %-8s %-21s %s\n", "ID", "ROLE", "STATE",
           "USED OR UNTIL", "NAME");
  for (size_t i = 0; i < l->n_tokens; i++) {
    const struct token_entry *e = &l->tokens[i];
    if (as)
      json_array_append_new(list, as_json(e));
    else
      printf("%-17s %-10s %-8s %-21s %s\n", e->id, token_file_roles[e->role],
             state_of(e), utc_print(e->used ? e->used : e->expires, at),
             e->name);
  }
  if (as) {
    json_dumpf(list, stdout, JSON_INDENT(2));
    printf("\n");
  }
  json_decref(list);
}

static int token_list_all(struct applet_call *c) {
  struct token_list l;
  struct sbuf why = {0};
  int rc = token_file_read(c->config->state_dir, &l, &why);
  if (rc < 0) return failed("list", rc, &why);
  print_list(&l, ((const struct token_opts *)c->opts)->json);
  token_list_done(&l);
  sbuf_done(&why);
  return EXIT_DONE;
}

/* --- revoke */

static int token_revoke(struct applet_call *c) {
  struct sbuf why = {0};
  int rc = token_file_remove(c->config->state_dir, c->args[1], now(), &why);
  if (rc == ZTNA_ENOENT)
    return say(EXIT_FAILED, "revoke", "there is no token ", c->args[1]);
  if (rc < 0) return failed("revoke", rc, &why);
  sbuf_done(&why);
  return EXIT_DONE;
}

/* --- which of them */

static int token_start(struct applet_call *c) {
  static const struct {
    const char *name;
    int n_args;
    int (*run)(struct applet_call *c);
  } verbs[] = {{"create", 1, token_create},
               {"list", 1, token_list_all},
               {"revoke", 2, token_revoke}};
  for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++) {
    if (strcmp(verbs[i].name, c->args[0]) != 0) continue;
    if (c->n_args != verbs[i].n_args)
      return say(EXIT_USAGE, c->args[0],
                 c->n_args < verbs[i].n_args ? "the token's id is missing"
                                             : "unexpected argument ",
                 c->n_args < verbs[i].n_args ? "" : c->args[verbs[i].n_args]);
    if (tls_global_init(&clock_rng, NULL) < 0) return EXIT_FAILED;
    return verbs[i].run(c);
  }
  return say(EXIT_USAGE, c->args[0],
             "unknown command; there are create, list and revoke", "");
}

const struct applet applet_token = {
    .name = "token",
    .summary = "make tokens by which machines get their certificate",
    .usage = "create|list|revoke --config FILE ...",
    .about =
        "  ztna token create --config FILE --role ROLE --name NAME [--expires "
        "1h]\n             [--service ID]... [--dns NAME]... [--ip ADDR]... "
        "[--lifetime 720h]\n      prints a token, once: it is good for one "
        "certificate for this name\n  ztna token list --config FILE [--json]\n"
        "  ztna token revoke --config FILE ID\n"
        "      the token is gone; a certificate that was made by it stays\n"
        "\nFILE is the configuration of `ztna enroll-server`, which need not "
        "run, nor be\nstarted anew. It keeps hashes of tokens alone, in "
        "state_dir.\n",
    .example = "  ztna token create --config enroll.json --role agent --name "
               "laptop-7\n"
               "  ztna token create --config enroll.json --role connector "
               "--name home \\\n    --service web-app --expires 24h\n",
    .exits = "3 wrong configuration",
    .fields = fields,
    .opts_size = sizeof(struct token_opts),
    .config = APPLET_CONFIG,
    .want = CONFIG_ENROLL | CONFIG_NO_FILES,
    .min_args = 1,
    .max_args = 2,
    .start = token_start,
};
