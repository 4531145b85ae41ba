/* confine.c - see confine.h. */
#include "host/confine.h"

#include <stdlib.h>
#include <string.h>

#include "../../platform/sandbox.h"
#include "base/log.h"
#include "host/config_table.h"
#include "host/field_list.h"

enum { PATHS_MAX = 64 };

static struct sandbox_report report;

static const struct {
  const char *name;
  size_t offset;
} layers[] = {
#define LAYER(l) \
  { #l, offsetof(struct sandbox_report, l) }
    LAYER(user),    LAYER(capabilities), LAYER(no_new_privileges),
    LAYER(seccomp), LAYER(landlock),     LAYER(core_dumps),
};
enum { N_LAYERS = sizeof(layers) / sizeof(*layers) };

static const struct sandbox_layer *layer(size_t i) {
  return (const void *)((const char *)&report + layers[i].offset);
}

void confine_begin(void) { sandbox_begin(); }

/* --- files that the configuration names */

struct paths {
  struct sandbox_path v[PATHS_MAX];
  size_t n;
  bool renews; /* the role rewrites its certificate */
};

static void add_path(struct paths *p, const char *name, bool write) {
  if (!name || !*name) return;
  if (p->n == PATHS_MAX)
    log_warn("sandbox: too many files, left out: %s", name);
  else
    p->v[p->n++] = (struct sandbox_path){name, write};
}

static void add_fields(struct paths *p, const struct config *c,
                       const struct field *f, const void *base) {
  bool may_write = base != &c->identity || p->renews;

  for (; f->type != F_END; f++) {
    const char *at = (const char *)base + f->offset;
    char *name;

    if (f->type == F_OBJECT) add_fields(p, c, f->fields, at);
    if (f->type != F_FILE) continue;
    memcpy(&name, at, sizeof(name));
    add_path(p, name, f->written && may_write);
  }
}

static void add_role(struct paths *p, const struct config *c, unsigned role) {
  add_fields(p, c, config_common_fields, c);
  if (role == CONFIG_RELAY) add_fields(p, c, config_relay_fields, &c->relay);
  if (role == CONFIG_CONNECTOR)
    add_fields(p, c, config_connector_fields, &c->connector);
  if (role == CONFIG_AGENT) add_fields(p, c, config_agent_fields, &c->agent);
  if (role == CONFIG_ENROLL) add_fields(p, c, config_enroll_fields, &c->enroll);
}

/* --- entering */

static enum sandbox_role role_of(unsigned role) {
  return role == CONFIG_RELAY       ? SANDBOX_RELAY
         : role == CONFIG_CONNECTOR ? SANDBOX_CONNECTOR
         : role == CONFIG_ENROLL    ? SANDBOX_ENROLL
                                    : SANDBOX_AGENT;
}

static void tell(void) {
  for (size_t i = 0; i < N_LAYERS; i++)
    if (layer(i)->in_force)
      log_info("sandbox: %s: %s", layers[i].name, layer(i)->why);
    else
      log_warn("sandbox: %s is not in force: %s", layers[i].name,
               layer(i)->why);
}

void confine(const struct config *c, unsigned role, const char *file,
             bool has_tun) {
  const struct sandbox_config *s = &c->sandbox;
  /* of relays others do it, from outside */
  struct paths paths = {.renews = c->identity.enroll && role != CONFIG_RELAY};
  struct sandbox_plan plan = {
      .role = role_of(role),
      .keep_net_admin = has_tun,
      .user = s->user,
      .capabilities = s->capabilities,
      .seccomp = s->seccomp,
      .landlock = s->landlock,
      .paths = paths.v,
  };

  add_path(&paths, file, false);
  add_role(&paths, c, role);
  plan.n_paths = paths.n;
  sandbox_enter(&plan, &report);
  tell();
}

/* --- told to people */

json_t *confine_status(void) {
  json_t *o = json_object();

  for (size_t i = 0; i < N_LAYERS; i++)
    json_object_set_new(o, layers[i].name,
                        json_pack("{s:b, s:s}", "in_force", layer(i)->in_force,
                                  "detail", layer(i)->why));
  return o;
}
