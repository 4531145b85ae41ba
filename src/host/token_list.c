/* token_list.c - the tokens of an enrolment service as text and in memory. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <ztna/err.h>

#include "base/hex.h"
#include "base/utc.h"
#include "host/cert_name.h"
#include "host/field.h"
#include "host/token_file.h"
#include "transport/hash.h"

/* --- the table */

const char *const token_file_roles[] = {"relay", "connector", "agent", NULL};

enum role token_entry_role(const struct token_entry *e) {
  return role_find(token_file_roles[e->role]);
}

static const char *check_digits(const char *text, size_t len,
                                const char *want) {
  uint8_t bytes[HASH_LEN];
  return hex_parse(bytes, len, text) ? NULL : want;
}

static const char *check_id(const char *text) {
  return check_digits(text, TOKEN_ID_LEN, "16 lower-case hex digits");
}

static const char *check_hash(const char *text) {
  return check_digits(text, HASH_LEN, "64 lower-case hex digits");
}

static const struct field entry_fields[] = {
    FIELD(token_entry, id, .type = F_STR,
          .help = "16 digits, by which it is named", .required = true,
          .check = check_id),
    FIELD(token_entry, hash, .type = F_STR, .help = "SHA-256 of id and secret",
          .required = true, .check = check_hash),
    FIELD(token_entry, role, .type = F_ENUM, .help = "of the certificate",
          .required = true, .names = token_file_roles),
    FIELD(token_entry, name, .type = F_STR, .help = "of the machine",
          .required = true, .check = cert_name_check),
    FIELD_LIST(token_entry, services, .type = F_STRS,
               .help = "what it may serve or use", .max = IDENTITY_MAX_DNS,
               .check = cert_name_check_service),
    FIELD_LIST(token_entry, dns, .type = F_STRS,
               .help = "names in the certificate", .max = IDENTITY_MAX_DNS,
               .check = cert_name_check_dns),
    FIELD_LIST(token_entry, ip, .type = F_IPS,
               .help = "addresses in the certificate", .max = IDENTITY_MAX_IPS),
    FIELD(token_entry, lifetime, .type = F_NS, .help = "of the certificate",
          .required = true, .min = SEC, .max = INT64_C(36500) * 86400 * SEC),
    FIELD(token_entry, made, .type = F_TIME, .help = "when", .required = true),
    FIELD(token_entry, expires, .type = F_TIME,
          .help = "until when it may be used", .required = true),
    FIELD(token_entry, used, .type = F_TIME, .help = "when it was used"),
    FIELD(token_entry, key, .type = F_STR,
          .help = "SHA-256 of the key that used it", .check = check_hash),
    FIELD_END,
};

static const struct field list_fields[] = {
    FIELD_LIST(token_list, tokens, .type = F_OBJECTS, .help = "all of them",
               .required = true, .max = TOKEN_FILE_TOKENS,
               .fields = entry_fields),
    FIELD_END,
};

void token_list_done(struct token_list *l) {
  field_done(list_fields, l);
  *l = (struct token_list){0};
}

/* --- reading */

const char *token_entry_wrong(const struct token_entry *e) {
  enum role role = token_entry_role(e);
  if (role == ROLE_RELAY && e->n_dns + e->n_ip == 0)
    return "a relay needs a dns name or an ip address, by which others dial it";
  if (role == ROLE_RELAY && e->n_services)
    return "services are for connectors and agents, not for a relay";
  if (role == ROLE_CONNECTOR && e->n_services == 0)
    return "a connector serves only what its certificate names: name a "
           "service, or * for any";
  if (e->n_services + e->n_dns > IDENTITY_MAX_DNS)
    return "more services and names than a certificate may have";
  return NULL;
}

static void check_entry(struct field_load *l, struct token_list *t, size_t nr) {
  struct token_entry *e = &t->tokens[nr];
  const char *wrong = token_entry_wrong(e);
  if (wrong) FIELD_WRONG(l, *e, "%s", wrong);
  if (!e->used != !e->key)
    FIELD_WRONG(l, *e, "want both \"used\" and \"key\", or none of them");
  for (size_t i = 0; i < nr && e->id; i++)
    if (t->tokens[i].id && !strcmp(t->tokens[i].id, e->id))
      FIELD_WRONG(l, e->id, "want each id once, got it in tokens[%zu], too", i);
}

static void parse(struct token_list *to, struct field_load *l, const char *text,
                  size_t len) {
  struct json_file f;
  char why[JSON_FILE_WHY];
  int rc = json_file_parse(&f, text, len, why);
  if (rc == 0) {
    field_from_json(l, list_fields, to, "", json_at_root(&f));
    field_need(l, list_fields, to);
  } else if (rc == ZTNA_ENOMEM) {
    l->no_memory = true;
  } else {
    mistake_add(&l->mistakes, l->file, f.error_line, NULL, "%s", why);
  }
  json_file_done(&f);
  for (size_t i = 0; i < to->n_tokens && !l->mistakes.n; i++)
    check_entry(l, to, i);
}

int token_list_parse(struct token_list *to, const char *name, const char *text,
                     size_t len, struct sbuf *why) {
  struct field_load l;
  *to = (struct token_list){0};
  field_load_init(&l, name, NULL);
  parse(to, &l, text, len);
  mistakes_print(&l.mistakes, why);
  int rc = l.no_memory ? ZTNA_ENOMEM : l.mistakes.n ? ZTNA_ECONFIG : 0;
  field_load_done(&l);
  if (rc < 0) token_list_done(to);
  return rc;
}

/* --- writing */

static json_t *texts(char *const *v, size_t n) {
  json_t *list = json_array();
  for (size_t i = 0; i < n; i++) json_array_append_new(list, json_string(v[i]));
  return list;
}

static json_t *ips(const struct ztna_addr *v, size_t n) {
  char text[ZTNA_ADDR_STRLEN];
  json_t *list = json_array();
  for (size_t i = 0; i < n; i++)
    json_array_append_new(list, json_string(ztna_addr_print_ip(&v[i], text)));
  return list;
}

static json_t *moment(int64_t t) {
  char text[UTC_STRLEN];
  return json_string(utc_print(t, text));
}

static json_t *entry(const struct token_entry *e) {
  char lifetime[32];
  snprintf(lifetime, sizeof(lifetime), "%" PRIu64 "s", e->lifetime / SEC);
  json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s}", "id", e->id, "hash",
                        e->hash, "role", token_file_roles[e->role], "name",
                        e->name, "lifetime", lifetime);
  if (e->n_services)
    json_object_set_new(o, "services", texts(e->services, e->n_services));
  if (e->n_dns) json_object_set_new(o, "dns", texts(e->dns, e->n_dns));
  if (e->n_ip) json_object_set_new(o, "ip", ips(e->ip, e->n_ip));
  json_object_set_new(o, "made", moment(e->made));
  json_object_set_new(o, "expires", moment(e->expires));
  if (e->used) json_object_set_new(o, "used", moment(e->used));
  if (e->key) json_object_set_new(o, "key", json_string(e->key));
  return o;
}

int token_list_print(const struct token_list *l, struct sbuf *out) {
  json_t *list = json_array();
  for (size_t i = 0; i < l->n_tokens; i++)
    json_array_append_new(list, entry(&l->tokens[i]));
  json_t *o = json_pack("{s:o}", "tokens", list);
  char *text = o ? json_dumps(o, JSON_INDENT(2)) : NULL;
  json_decref(o);
  if (!text) return ZTNA_ENOMEM;
  sbuf_printf(out, "%s\n", text);
  free(text);
  return out->failed ? ZTNA_ENOMEM : 0;
}

void token_hash(const uint8_t id[TOKEN_ID_LEN],
                const uint8_t secret[TOKEN_SECRET_LEN], char *text) {
  uint8_t both[TOKEN_ID_LEN + TOKEN_SECRET_LEN], hash[HASH_LEN];
  memcpy(both, id, TOKEN_ID_LEN);
  memcpy(both + TOKEN_ID_LEN, secret, TOKEN_SECRET_LEN);
  hash_sha256(both, sizeof(both), hash);
  explicit_bzero(both, sizeof(both));
  hex_print(hash, HASH_LEN, text);
}
