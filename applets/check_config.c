/* check_config.c - `ztna check-config`: every mistake in a configuration, in
 * the files it names, and between them. */
#include <stdlib.h>

#include "applet.h"
#include "enroll_ca.h"
#include "host/clock.h"
#include "host/file.h"
#include "host/identity_ends.h"
#include "host/policy_file.h"
#include "transport/tls.h"

extern const struct applet applet_check_config;

/* --- certificates */

static enum role only_role(unsigned roles) {
  return roles == CONFIG_RELAY       ? ROLE_RELAY
         : roles == CONFIG_CONNECTOR ? ROLE_CONNECTOR
         : roles == CONFIG_AGENT     ? ROLE_AGENT
                                     : ROLE_NONE;
}

/* A file that holds several roles has no certificate that fits them all. */
static int check_role(const char *file, const struct config *c,
                      const struct identity *id) {
  enum role role = only_role(c->roles);
  if (role == ROLE_NONE || role == id->role) return 0;
  fprintf(stderr, "%s: identity.cert: want a certificate of role %s, got %s\n",
          file, role_name(role), id->spiffe);
  return 1;
}

static int check_services(const char *file, const struct config *c,
                          const struct identity *id) {
  int n = 0;
  if (id->role != ROLE_CONNECTOR) return 0;
  for (size_t i = 0; i < c->connector.n_services; i++) {
    const char *service = c->connector.services[i].id;
    if (identity_serves(id, service)) continue;
    fprintf(stderr,
            "%s: connector.services[%zu].id: want a service that the "
            "certificate names, got \"%s\"; issue one with --service %s\n",
            file, i, service, service);
    n++;
  }
  return n;
}

static void on_warning(void *file, bool is_over, const char *words) {
  fprintf(stderr, "%s: identity: warning: %s\n", (const char *)file, words);
}

/* No mistake of the configuration, and yet what its author should know. */
static void warn_of_ends(const char *file, const struct ztna_identity *own,
                         bool renewed) {
  struct identity_ends ends;

  if (identity_ends_read(&ends, own, renewed) == 0)
    identity_ends_tell(&ends, tls_now(), on_warning, (void *)file);
}

static int check_identity(const char *file, const struct config *c) {
  const struct identity_config *id = &c->identity;
  struct tls *tls;
  char why[256];
  int n = 0;
  struct ztna_identity own = config_identity(id);
  if (tls_new(&tls, &own, why, sizeof(why)) < 0) {
    fprintf(stderr, "%s: identity: %s\n", file, why);
    return 1;
  }
  n = check_role(file, c, tls_identity(tls)) +
      check_services(file, c, tls_identity(tls));
  warn_of_ends(file, &own, id->enroll != NULL);
  tls_free(tls);
  return n;
}

/* --- policy */

static int check_policy(const char *file) {
  struct policy *policy;
  struct sbuf out = {0};
  int rc = policy_file_policy(&policy, file, &out);
  if (out.len) fputs(out.s, stderr);
  sbuf_done(&out);
  policy_free(policy);
  return rc < 0;
}

/* People try it on the other kind of file, too. */
static bool is_policy(const char *file) {
  char *text, why[JSON_FILE_WHY];
  size_t len;
  struct json_file f;
  if (file_read(file, JSON_FILE_MAX, &text, &len, why) < 0) return false;
  bool yes = json_file_parse(&f, text, len, why) == 0 &&
             json_object_get(f.root, "rules");
  json_file_done(&f);
  free(text);
  return yes;
}

/* --- enrolment service */

/* Its files fit each other when it can make its own certificate of them. */
static int check_enroll(const char *file, const struct enroll_config *c) {
  struct enroll_ca ca;
  struct sbuf cert = {0}, key = {0};
  int rc = 0, code = enroll_ca_load(&ca, c, file, true);
  if (!code) rc = enroll_ca_own(&ca, c, tls_now(), &cert, &key);
  if (rc < 0)
    fprintf(stderr, "%s: enroll.ca_dir: %s\n", file,
            rc == ZTNA_ETLS       ? "ca.key is not the private key of ca.pem"
            : rc == ZTNA_EREFUSED ? "the CA's certificate has expired"
                                  : ztna_strerror(rc));
  cert_forget(&key);
  sbuf_done(&cert);
  enroll_ca_done(&ca);
  return code || rc < 0;
}

/* --- together */

static void tell_roles(const char *file, unsigned roles) {
  printf("%s: ok:%s%s%s%s\n", file, roles & CONFIG_RELAY ? " relay" : "",
         roles & CONFIG_CONNECTOR ? " connector" : "",
         roles & CONFIG_AGENT ? " agent" : "",
         roles & CONFIG_ENROLL ? " enroll" : "");
}

static int check_config(const char *file) {
  struct config c;
  int rc = config_load(&c, file, CONFIG_PRESENT, NULL);
  if (rc < 0) return applet_exit(rc);
  int n = c.roles == CONFIG_ENROLL ? 0 : check_identity(file, &c);
  if (c.roles & CONFIG_ENROLL) n += check_enroll(file, &c.enroll);
  if (c.relay.policy && (c.roles & CONFIG_RELAY))
    n += check_policy(c.relay.policy);
  if (c.enroll.policy && (c.roles & CONFIG_ENROLL))
    n += check_policy(c.enroll.policy);
  if (n == 0) tell_roles(file, c.roles);
  config_free(&c);
  return n ? EXIT_CONFIG : EXIT_DONE;
}

static int check_start(struct applet_call *c) {
  const char *file = c->args[0];
  if (tls_global_init(&clock_rng, NULL) < 0) return EXIT_FAILED;
  if (!is_policy(file)) return check_config(file);
  if (check_policy(file)) return EXIT_CONFIG;
  printf("%s: ok: policy\n", file);
  return EXIT_DONE;
}

const struct applet applet_check_config = {
    .name = "check-config",
    .summary = "every mistake in a configuration file, with file and line",
    .usage = "FILE",
    .about =
        "Checks a configuration with the files it names: certificate, key, "
        "CA and\nlists of revoked certificates must fit each other, the "
        "policy must pass its\nown tests. A policy file can be checked by "
        "itself, too. Prints each mistake\nwith its place and what would do, "
        "and a warning of what ends soon.\n",
    .example = "  ztna check-config /etc/ztna/relay.json\n",
    .exits = "3 wrong configuration",
    .min_args = 1,
    .max_args = 1,
    .start = check_start,
};
