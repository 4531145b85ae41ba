/* relay_json.c - what the control API's bodies are made of. */
#include "role/relay_int.h"

#include <stdlib.h>

#include "base/reason.h"

static const struct {
  unsigned bit;
  const char *name;
} protocols[] = {
    {PROTO_UDP, "udp"},
    {PROTO_TCP, "tcp"},
    {PROTO_ICMP, "icmp"},
};

enum { N_PROTOCOLS = sizeof(protocols) / sizeof(*protocols) };

json_t *relay_json_id(const uint8_t id[RELAY_ID_LEN]) {
  char hex[RELAY_HEX_ID];
  return json_string(hex_print(id, RELAY_ID_LEN, hex));
}

json_t *relay_json_addr(const struct ztna_addr *a) {
  char text[ZTNA_ADDR_STRLEN];
  return json_string(ztna_addr_print(a, text));
}

json_t *relay_json_ips(const struct ztna_addr *v, size_t n) {
  char text[ZTNA_ADDR_STRLEN];
  json_t *list = json_array();
  for (size_t i = 0; i < n; i++)
    if (v[i].family)
      json_array_append_new(list, json_string(ztna_addr_print_ip(&v[i], text)));
  return list;
}

json_t *relay_json_protocols(unsigned bits) {
  json_t *list = json_array();
  for (int i = 0; i < N_PROTOCOLS; i++)
    if (bits & protocols[i].bit)
      json_array_append_new(list, json_string(protocols[i].name));
  return list;
}

const char *relay_protocol_name(unsigned protocol) {
  for (int i = 0; i < N_PROTOCOLS; i++)
    if (protocols[i].bit == protocol) return protocols[i].name;
  return "any";
}

unsigned relay_protocol_find(const char *name) {
  for (int i = 0; name && i < N_PROTOCOLS; i++)
    if (!strcmp(protocols[i].name, name)) return protocols[i].bit;
  return 0;
}

json_t *relay_json_handles(const struct meeting *m) {
  char agent[RELAY_HEX_HANDLE], connector[RELAY_HEX_HANDLE];
  hex_print(m->r.end[0].handle, HANDLE_LEN, agent);
  hex_print(m->r.end[1].handle, HANDLE_LEN, connector);
  return json_pack("{s:s, s:s}", "agent", agent, "connector", connector);
}

static json_t *json_ports(const struct permission *p) {
  json_t *list = json_array();
  for (size_t i = 0; i < p->n_ranges; i++)
    json_array_append_new(
        list, json_pack("[iis]", p->ranges[i].first, p->ranges[i].last,
                        relay_protocol_name(p->range_protocols[i])));
  return list;
}

json_t *relay_json_grant(const struct meeting *m, const uint8_t *id,
                         const struct service *s, const struct permission *p) {
  json_t *o = json_object();
  json_object_set_new(o, "id", relay_json_id(id));
  json_object_set_new(o, "route", relay_json_id(m->r.id));
  json_object_set_new(o, "service", json_string(s->id));
  json_object_set_new(o, "addresses", relay_json_ips(s->addrs, RELAY_FAMILIES));
  json_object_set_new(o, "protocols", relay_json_protocols(p->protocols));
  if (p->n_ranges) json_object_set_new(o, "ports", json_ports(p));
  json_object_set_new(o, "lease", json_integer(RELAY_LEASE / MS));
  json_object_set_new(o, "rule", json_string(p->rule ? p->rule : ""));
  if (p->limits.rate)
    json_object_set_new(o, "rate", json_integer((json_int_t)p->limits.rate));
  return o;
}

/* Counted before jansson recurses into it. */
static bool depth_is_fine(const char *s, size_t len) {
  int depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < len; i++) {
    if (quoted) {
      if (s[i] == '\\')
        i++;
      else if (s[i] == '"')
        quoted = false;
      continue;
    }
    if (s[i] == '"') quoted = true;
    if ((s[i] == '{' || s[i] == '[') && ++depth > RELAY_JSON_DEPTH)
      return false;
    if (s[i] == '}' || s[i] == ']') depth--;
  }
  return true;
}

json_t *relay_json_parse(const char *body, size_t len) {
  if (!depth_is_fine(body, len)) return NULL;
  json_t *o = json_loadb(body, len, JSON_REJECT_DUPLICATES, NULL);
  if (json_is_object(o)) return o;
  json_decref(o);
  return NULL;
}

void relay_json_respond(struct h3_req *req, int status, json_t *o) {
  char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
  if (o && !text)
    h3_problem(req, REASON_INTERNAL, NULL);
  else
    h3_respond(req, status, text, text ? strlen(text) : 0);
  free(text);
  json_decref(o);
}
