#include "host/config.h"

#include <stdlib.h>
#include <string.h>

#include <ztna/err.h>

#include "host/config_check.h"
#include "host/config_table.h"
#include "host/file.h"

/* A section: where it is, and what belongs to it. */
struct section {
  const char *name, *env, *applet;
  const struct field *fields;
  size_t offset, size;
  unsigned bit;
};

#define SECTION(role, variable, b, command)                                    \
  {                                                                            \
    .name = #role, .env = variable, .applet = command,                         \
    .fields = config_##role##_fields, .offset = offsetof(struct config, role), \
    .size = sizeof(((struct config *)0)->role), .bit = b                       \
  }
static const struct section sections[] = {
    SECTION(relay, "ZTNA_RELAY_", CONFIG_RELAY, "relay"),
    SECTION(connector, "ZTNA_CONNECTOR_", CONFIG_CONNECTOR, "connector"),
    SECTION(agent, "ZTNA_AGENT_", CONFIG_AGENT, "agent"),
    SECTION(enroll, "ZTNA_ENROLL_", CONFIG_ENROLL, "enroll-server"),
};
enum { N_SECTIONS = sizeof(sections) / sizeof(*sections) };

static void *section_base(struct config *c, const struct section *s) {
  return (char *)c + s->offset;
}

size_t config_groups(struct flag_group *groups, unsigned want) {
  size_t n = 0;
  for (size_t i = 0; i < N_SECTIONS; i++)
    if (want & sections[i].bit)
      groups[n++] = (struct flag_group){.fields = sections[i].fields,
                                        .path = sections[i].name};
  groups[n++] = (struct flag_group){.fields = config_common_fields, .path = ""};
  return n;
}

/* --- the sources, weakest first */

static void from_file(struct config *c, struct field_load *l, const char *text,
                      size_t len) {
  struct json_file f;
  char why[JSON_FILE_WHY];
  int rc = json_file_parse(&f, text, len, why);
  if (rc == 0)
    field_from_json(l, config_root_fields, c, "", json_at_root(&f));
  else if (rc == ZTNA_ENOMEM)
    l->no_memory = true;
  else
    mistake_add(&l->mistakes, l->file, f.error_line, NULL, "%s", why);
  json_file_done(&f);
}

static void from_env(struct config *c, struct field_load *l, unsigned want) {
  field_from_env(l, config_common_fields, c, "", "ZTNA_");
  for (size_t i = 0; i < N_SECTIONS; i++) {
    const struct section *s = &sections[i];
    if ((want | c->roles) & s->bit)
      field_from_env(l, s->fields, section_base(c, s), s->name, s->env);
  }
}

static void from_flags(struct config *c, struct field_load *l,
                       const struct flags *flags) {
  for (size_t i = 0; flags && i < flags->n_groups; i++) {
    const struct field *fields = flags->groups[i].fields;
    if (fields == config_common_fields) flags_apply(flags, i, l, c);
    for (size_t k = 0; k < N_SECTIONS; k++)
      if (fields == sections[k].fields)
        flags_apply(flags, i, l, section_base(c, &sections[k]));
  }
}

/* --- judging */

static void note_sections(struct config *c, const struct field_load *l) {
  for (size_t i = 0; i < N_SECTIONS; i++)
    if (field_place_of(l, section_base(c, &sections[i]), sections[i].size))
      c->roles |= sections[i].bit;
}

/* True when a flag or variable gave something of the section. */
static bool is_given_otherwise(struct config *c, const struct field_load *l,
                               const struct section *s) {
  const char *from = section_base(c, s);
  for (size_t i = 0; i < l->n_places; i++) {
    const char *at = l->places[i].at;
    if (at >= from && at < from + s->size) return true;
  }
  return false;
}

static void names_present(const struct config *c, char *buf, size_t room) {
  size_t n = 0;
  *buf = 0;
  for (size_t i = 0; i < N_SECTIONS; i++)
    if (c->roles & sections[i].bit)
      n += (size_t)snprintf(buf + n, room - n, "%s\"%s\"",
                            n ? ", " : "; it has ", sections[i].name);
}

static void need_sections(struct config *c, struct field_load *l,
                          unsigned want) {
  char has[64];
  names_present(c, has, sizeof(has));
  for (size_t i = 0; i < N_SECTIONS; i++) {
    const struct section *s = &sections[i];
    if (!(want & s->bit) || (c->roles & s->bit)) continue;
    if (l->file && !is_given_otherwise(c, l, s))
      mistake_add(&l->mistakes, l->file, 0, NULL,
                  "has no section \"%s\", which `ztna %s` needs%s", s->name,
                  s->applet, has);
    else
      c->roles |= s->bit;
  }
  if ((want & CONFIG_PRESENT) && !c->roles)
    mistake_add(&l->mistakes, l->file ? l->file : "configuration", 0, NULL,
                "has no section \"relay\", \"connector\", \"agent\" or "
                "\"enroll\"");
}

static void check_sections(struct config *c, struct field_load *l) {
  for (size_t i = 0; i < N_SECTIONS; i++)
    if (c->roles & sections[i].bit)
      field_need(l, sections[i].fields, section_base(c, &sections[i]));
  if (c->roles & CONFIG_RELAY) config_check_relay(l, &c->relay);
  if (c->roles & CONFIG_CONNECTOR) config_check_connector(l, &c->connector);
  if (c->roles & CONFIG_AGENT) config_check_agent_role(l, &c->agent);
  if (c->roles & CONFIG_ENROLL) config_check_enroll(l, &c->enroll);
}

static void check_files(struct config *c, struct field_load *l, unsigned want) {
  unsigned roles = want & CONFIG_PRESENT ? c->roles : c->roles & want;
  if (want & CONFIG_NO_FILES) return;
  if ((roles & ~(unsigned)CONFIG_ENROLL) || (want & CONFIG_IDENTITY))
    config_read_identity(l, &c->identity);
  else if (roles)
    config_read_crl(l, &c->identity);
  if (roles & CONFIG_RELAY) config_need_policy(l, &c->relay);
}

/* --- together */

static char *dir_of(const char *file) {
  const char *slash = strrchr(file, '/');
  if (!slash) return strdup("");
  return strndup(file, slash == file ? 1 : (size_t)(slash - file));
}

static int load_all(struct config *c, struct field_load *l, const char *text,
                    size_t len, unsigned want, const struct flags *flags) {
  field_defaults(l, config_root_fields, c);
  if (text) from_file(c, l, text, len);
  bool broken = l->mistakes.n > 0 && !l->n_places; /* not even JSON */
  note_sections(c, l);
  from_env(c, l, want);
  from_flags(c, l, flags);
  if (broken) return ZTNA_ECONFIG;
  need_sections(c, l, want);
  check_sections(c, l);
  check_files(c, l, want);
  if (l->no_memory) return ZTNA_ENOMEM;
  if (l->mistakes.of_flags) return ZTNA_EINVAL;
  return l->mistakes.n ? ZTNA_ECONFIG : 0;
}

int config_parse(struct config *c, const char *name, const char *text,
                 size_t len, unsigned want, const struct flags *flags,
                 struct sbuf *out) {
  struct field_load l;
  *c = (struct config){0};
  char *dir = name ? dir_of(name) : NULL;
  if (name && !dir) return ZTNA_ENOMEM;
  field_load_init(&l, name, dir);
  int rc = load_all(c, &l, text, len, want, flags);
  mistakes_print(&l.mistakes, out);
  if (rc == ZTNA_ENOMEM) sbuf_printf(out, "ztna: no memory\n");
  field_load_done(&l);
  free(dir);
  if (rc < 0) config_free(c);
  return rc;
}

int config_load_to(struct config *c, const char *file, unsigned want,
                   const struct flags *flags, struct sbuf *out) {
  char *text = NULL, why[FILE_WHY];
  size_t len = 0;
  *c = (struct config){0};
  if (file && file_read(file, JSON_FILE_MAX, &text, &len, why) < 0) {
    sbuf_printf(out, "%s: cannot be read: %s\n", file, why);
    return ZTNA_ECONFIG;
  }
  int rc = config_parse(c, file, text, len, want, flags, out);
  free(text);
  return rc;
}

int config_load(struct config *c, const char *file, unsigned want,
                const struct flags *flags) {
  struct sbuf out;
  sbuf_init(&out, 0);
  int rc = config_load_to(c, file, want, flags, &out);
  if (out.len) fputs(out.s, stderr);
  sbuf_done(&out);
  return rc;
}

void config_forget_key(struct config *c) {
  struct identity_config *id = &c->identity;
  if (id->key_pem) file_wipe(id->key_pem, id->key_len);
}

void config_free(struct config *c) {
  struct identity_config *id = &c->identity;
  config_forget_key(c);
  free(id->cert_pem);
  free(id->key_pem);
  free(id->ca_pem);
  free(id->crl_bytes);
  field_done(config_root_fields, c);
  *c = (struct config){0};
}
