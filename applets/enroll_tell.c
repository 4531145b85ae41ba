/* enroll_tell.c - what was enrolled, and what to do with it. */
#include <jansson.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/utc.h"
#include "enroll.h"

/* --- configuration */

/* Relays do not renew by themselves: they open no sockets once they run. */
static bool renews(enum role r) {
  return r == ROLE_AGENT || r == ROLE_CONNECTOR;
}

static json_t *identity_json(const struct token *t, const struct identity *id) {
  const char *role = role_name(id->role);
  json_t *o = json_pack(
      "{s:o, s:o, s:s}", "cert", json_sprintf("%s-%s.pem", role, id->name),
      "key", json_sprintf("%s-%s.key", role, id->name), "ca", "ca.pem");
  json_object_set_new(o, "enroll", json_string(t->server));
  return o;
}

static json_t *relays_json(const struct enroll_opts *o) {
  json_t *v = json_array();
  for (size_t i = 0; i < o->n_relay; i++)
    json_array_append_new(v, json_string(o->relay[i]));
  if (!o->n_relay)
    json_array_append_new(v, json_string("relay.example.org:4433"));
  return v;
}

static char *print(json_t *o) {
  char *text = o ? json_dumps(o, JSON_INDENT(2)) : NULL, *line = NULL;
  json_decref(o);
  if (text && asprintf(&line, "%s\n", text) < 0) line = NULL;
  free(text);
  return line;
}

char *enroll_agent_json(const struct enroll_opts *o, const struct token *t,
                        const struct identity *id) {
  return print(json_pack("{s:o, s:{s:o}}", "identity", identity_json(t, id),
                         "agent", "relays", relays_json(o)));
}

/* Those that the certificate names, to be completed. */
static json_t *services_json(const struct identity *id) {
  json_t *v = json_array();
  for (size_t i = 0; i < id->n_dns; i++) {
    size_t n;
    const char *s = identity_service(id, i, &n);
    if (!s) continue;
    json_array_append_new(v, json_pack("{s:s%, s:[{s:s, s:i, s:s}]}", "id",
                                       *s == '*' ? "web-app" : s,
                                       *s == '*' ? (size_t)7 : n, "backends",
                                       "protocol", "tcp", "port", 80, "to",
                                       "127.0.0.1:80"));
  }
  return v;
}

static char *section(const struct enroll_opts *o, const struct token *t,
                     const struct identity *id) {
  json_t *j = json_pack("{s:o}", "identity", identity_json(t, id));
  if (id->role == ROLE_AGENT)
    json_object_set_new(j, "agent",
                        json_pack("{s:o}", "relays", relays_json(o)));
  if (id->role == ROLE_CONNECTOR)
    json_object_set_new(j, "connector",
                        json_pack("{s:o, s:o}", "relays", relays_json(o),
                                  "services", services_json(id)));
  if (id->role == ROLE_RELAY)
    json_object_set_new(j, "relay",
                        json_pack("{s:s}", "policy", "policy.json"));
  return print(j);
}

/* --- to people */

static const char *what_to_complete(enum role r) {
  return r == ROLE_CONNECTOR ? ": complete the services' backends"
         : r == ROLE_RELAY   ? ": complete it, and write the policy"
                             : ": name your relays";
}

static void tell_next(const struct enroll_files *f, const struct enroll_opts *o,
                      const struct token *t, const struct identity *id) {
  const char *role = role_name(id->role);
  char *text;
  if (id->role == ROLE_ADMIN) {
    printf("Next: use both with ca.pem when you ask a relay's /v1/admin.\n");
    return;
  }
  if (id->role == ROLE_AGENT && o->n_relay) {
    if (!f->json_is_new)
      printf("%s was there and is left as it is: its identity should name "
             "these files.\n",
             f->json);
    printf("Next: sudo ztna agent --config %s\n", f->json);
    return;
  }
  text = section(o, t, id);
  printf("Next: write %s/%s.json%s:\n%s", o->dir, role,
         what_to_complete(id->role), text ? text : "");
  printf("then: %sztna %s --config %s/%s.json\n",
         id->role == ROLE_AGENT ? "sudo " : "", role, o->dir, role);
  free(text);
}

/* Roles that root starts become that user, when it may read the files. */
static void tell_user(const struct enroll_opts *o) {
  if (geteuid() == 0 && getpwnam("ztna"))
    printf("First, so that the role need not stay root: chown -R ztna: %s\n",
           o->dir);
}

void enroll_tell(const struct enroll_files *f, const struct enroll_opts *o,
                 const struct token *t, const struct enroll_result *r) {
  char ends[UTC_STRLEN];
  printf("Enrolled as %s until %s%s.\n"
         "  certificate  %s\n"
         "  key          %s (secret; mode 0600; it never left this machine)\n"
         "  CA           %s\n",
         r->id.spiffe, utc_print(r->id.not_after, ends),
         renews(r->id.role) ? ", renewed in time while it runs"
                            : "; renew it before: ztna enroll --renew",
         f->cert, f->key, f->ca);
  tell_user(o);
  tell_next(f, o, t, &r->id);
}
