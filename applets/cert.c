/* cert.c - `ztna cert`: a certificate authority in a directory, certificates
 * for every role, what a certificate says, and which ones are revoked. */
#include "cert.h"

#include <stdio.h>
#include <string.h>

#include "host/cert_name.h"
#include "host/clock.h"
#include "transport/tls.h"

extern const struct applet applet_cert;

enum { DAYS_MAX = 36500 };

/* --- what may be written */

static const char *check_role(const char *text) {
  enum role r = role_find(text);
  if (r != ROLE_NONE && r != ROLE_ENROLL) return NULL;
  return "a role: relay, connector, agent or admin";
}

static const char *check_trust_domain(const char *text) {
  struct identity id;
  char uri[IDENTITY_SPIFFE_MAX + 1];
  int n = snprintf(uri, sizeof(uri), "spiffe://%s/agent/x", text);
  if (n < (int)sizeof(uri) &&
      strlen(text) <= CERT_CN_MAX - strlen(CERT_CA_PREFIX) &&
      identity_parse_spiffe(&id, uri, (size_t)n) == 0)
    return NULL;
  return "a trust domain like example.org (lower-case letters, digits, - _ ., "
         "55 at most)";
}

static const struct field fields[] = {
    FIELD(cert_opts, dir, .type = F_STR, .meta = "DIR",
          .help = "where ca.pem and ca.key are, and new files go"),
    FIELD(cert_opts, trust_domain, .type = F_STR, .meta = "NAME",
          .check = check_trust_domain,
          .help = "init: what all identities begin with, like example.org"),
    FIELD(cert_opts, role, .type = F_STR, .meta = "ROLE", .check = check_role,
          .help = "issue: relay, connector, agent or admin"),
    FIELD(cert_opts, name, .type = F_STR, .meta = "NAME",
          .check = cert_name_check, .help = "issue: of the machine or person"),
    FIELD_LIST(cert_opts, service, .type = F_STRS, .meta = "ID,...",
               .check = cert_name_check_service,
               .help = "issue: what a connector may serve, or what an agent "
                       "is limited to; * for any; may be repeated"),
    FIELD_LIST(cert_opts, dns, .type = F_STRS, .meta = "NAME,...",
               .check = cert_name_check_dns,
               .help = "issue: host names of a relay; may be repeated"),
    FIELD_LIST(cert_opts, ip, .type = F_IPS,
               .help = "issue: addresses of a relay; may be repeated"),
    FIELD(cert_opts, days, .type = F_INT, .meta = "N", .min = 1,
          .max = DAYS_MAX,
          .help = "how long it is valid; by default 3650 for a CA, 30 for a "
                  "list of revoked certificates, else 365"),
    FIELD(cert_opts, json, .type = F_BOOL, .help = "show: print a JSON object"),
    FIELD_END,
};

/* --- which of them */

static const struct verb {
  const char *name;
  const char *flags; /* that it takes */
  const char *usage;
  int n_args;    /* beside its name */
  bool any_more; /* of them */
  bool needs_dir;
  int (*run)(const struct cert_opts *o, struct applet_call *c);
} verbs[] = {
    {"init", " dir trust_domain days ",
     "--dir DIR --trust-domain NAME [--days N]", 0, false, true, cert_init},
    {"issue", " dir trust_domain role name service dns ip days ",
     "--dir DIR --role ROLE --name NAME [--service ID]... [--dns NAME]... "
     "[--ip ADDR]... [--days N]",
     0, false, true, cert_issue},
    {"show", " json ", "FILE [--json]", 1, false, false, cert_show},
    {"revoke", " dir days ", "--dir DIR [--days N] FILE|SERIAL...", 1, true,
     true, cert_revoke},
    {"crl", " dir days ", "--dir DIR [--days N]", 0, false, true, cert_crl},
};
enum { N_VERBS = sizeof(verbs) / sizeof(*verbs) };

static const struct verb *verb_find(const char *name) {
  const char *best = NULL;
  size_t distance = 0;
  for (size_t i = 0; i < N_VERBS; i++) {
    if (!strcmp(verbs[i].name, name)) return &verbs[i];
    nearest_try(name, verbs[i].name, &best, &distance);
  }
  cert_say(0, "", "unknown command \"%.40s\"; %s%s", name,
           best ? "did you mean "
                : "there are init, issue, show, revoke and crl",
           best ? best : "");
  return NULL;
}

static int wrong_usage(const struct verb *v, const char *why,
                       const char *detail) {
  cert_say(0, v->name, "%s%s", why, detail);
  fprintf(stderr, "usage: ztna cert %s %s\n", v->name, v->usage);
  return EXIT_USAGE;
}

static int check_usage(const struct verb *v, const struct applet_call *c) {
  const struct cert_opts *o = c->opts;
  char word[64];
  for (size_t i = 0; i < c->flags->n; i++) {
    snprintf(word, sizeof(word), " %s ", c->flags->v[i].field->name);
    if (!strstr(v->flags, word))
      return wrong_usage(v, "takes no ", c->flags->v[i].name);
  }
  if (c->n_args - 1 < v->n_args)
    return wrong_usage(v, "the name of a file is missing", "");
  if (c->n_args - 1 > v->n_args && !v->any_more)
    return wrong_usage(v, "unexpected argument ", c->args[v->n_args + 1]);
  if (v->needs_dir && !(o->dir && *o->dir))
    return wrong_usage(v, "--dir is missing", "");
  return EXIT_DONE;
}

static int cert_start(struct applet_call *c) {
  const struct verb *v = verb_find(c->args[0]);
  if (!v) return EXIT_USAGE;
  int code = check_usage(v, c);
  if (code) return code;
  if (tls_global_init(&clock_rng, NULL) < 0)
    return cert_say(EXIT_FAILED, v->name, "the TLS library does not start");
  code = v->run(c->opts, c);
  tls_global_done();
  return code;
}

const struct applet applet_cert = {
    .name = "cert",
    .summary = "make and show certificates for every role",
    .usage = "init|issue|show|revoke|crl ...",
    .about =
        "  ztna cert init --dir DIR --trust-domain NAME [--days N]\n"
        "      makes a certificate authority: DIR/ca.pem and DIR/ca.key\n"
        "  ztna cert issue --dir DIR --role ROLE --name NAME [--service "
        "ID]...\n"
        "             [--dns NAME]... [--ip ADDR]... [--days N]\n"
        "      makes DIR/ROLE-NAME.pem and DIR/ROLE-NAME.key\n"
        "  ztna cert show FILE [--json]\n"
        "      identity, services and validity, in words; or whom a list of "
        "revoked\n"
        "      certificates names\n"
        "  ztna cert revoke --dir DIR [--days N] FILE|SERIAL...\n"
        "      remembers them in DIR/revoked.json and makes DIR/crl.pem\n"
        "  ztna cert crl --dir DIR [--days N]\n"
        "      makes DIR/crl.pem anew, before it runs out\n"
        "\nA relay needs --dns or --ip for the address that others dial. A "
        "connector\nserves only the services that its certificate names. An "
        "agent with --service\nis limited to those; without, the relay's "
        "policy decides alone. Keys have mode\n0600; no key and no "
        "certificate is ever overwritten. Relays, connectors and\nagents "
        "whose identity.crl names a copy of crl.pem let nobody in whom it\n"
        "names, and end what they have with them.\n",
    .example =
        "  ztna cert init --dir pki --trust-domain example.org\n"
        "  ztna cert issue --dir pki --role relay --name eu1 --dns "
        "relay.example.org\n"
        "  ztna cert issue --dir pki --role connector --name home --service "
        "web-app\n"
        "  ztna cert issue --dir pki --role agent --name laptop-7\n"
        "  ztna cert revoke --dir pki pki/agent-laptop-7.pem\n",
    .fields = fields,
    .opts_size = sizeof(struct cert_opts),
    .min_args = 1,
    .max_args = -1,
    .start = cert_start,
};
