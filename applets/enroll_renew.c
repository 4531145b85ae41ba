/* enroll_renew.c - renews a certificate once: for relays, which open no sockets
 * while they run, by whatever timer their machine has. */
#include <stdio.h>

#include "base/utc.h"
#include "enroll.h"
#include "host/renewal_files.h"

static int ask(const struct identity_config *id, const struct renewal_files *f,
               struct enroll_result *r) {
  const struct enroll_options o = {.server = id->enroll,
                                   .key = f->key,
                                   .key_len = f->key_len,
                                   .own = &f->own};
  return enroll_once(&o, r);
}

static int keep(const struct identity_config *id, const struct renewal_files *f,
                const struct enroll_result *r) {
  char why[RENEWAL_TEXT], ends[UTC_STRLEN];
  bool new_ca;
  if (renewal_files_take(f, id, r, &new_ca, why) < 0)
    return enroll_say(EXIT_FAILED, "%s", why);
  printf("Renewed %s until %s%s.\n", r->id.spiffe,
         utc_print(r->id.not_after, ends),
         new_ca ? ", with another list of CAs" : "");
  return EXIT_DONE;
}

static int renew(const struct identity_config *id) {
  struct renewal_files f = {0};
  struct enroll_result r = {0};
  char why[RENEWAL_TEXT];
  int code = EXIT_FAILED;
  if (renewal_files_read(&f, id, why) < 0)
    enroll_say(code, "%s", why);
  else if ((code = ask(id, &f, &r)) == EXIT_DONE)
    code = keep(id, &f, &r);
  enroll_result_done(&r);
  renewal_files_done(&f);
  return code;
}

int enroll_renew(const char *file) {
  struct config c;
  int rc = config_load(&c, file, CONFIG_IDENTITY, NULL);
  if (rc < 0) return applet_exit(rc);
  config_forget_key(&c);
  int code = c.identity.enroll
                 ? renew(&c.identity)
                 : enroll_say(EXIT_CONFIG,
                              "%s: identity.enroll is missing: the host:port "
                              "of the enrolment service",
                              file);
  config_free(&c);
  return code;
}
