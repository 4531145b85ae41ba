/* grant_json.c - what relays write about grants. */
#include "role/grant_json.h"

#include <string.h>
#include <ztna/err.h>

#include "base/hex.h"
#include "base/time.h"

uint64_t ms_json_read(json_t *j) {
  double ms = json_number_value(j);

  if (!(ms > 0)) return 0;
  if (ms > 86400e3) ms = 86400e3;
  return (uint64_t)(ms * (double)MS);
}

int addrs_json_read(json_t *list, struct ztna_addr out[2]) {
  struct ztna_addr a;
  json_t *j;
  size_t n;

  memset(out, 0, 2 * sizeof(*out));
  if (list && !json_is_array(list)) return ZTNA_EMALFORMED;
  json_array_foreach(list, n, j) {
    if (!json_is_string(j) || ztna_addr_parse(&a, json_string_value(j)) < 0 ||
        a.port || out[a.family == 6].family)
      return ZTNA_EMALFORMED;
    out[a.family == 6] = a;
  }
  return 0;
}

json_t *addrs_json_write(const struct ztna_addr v[2]) {
  json_t *list = json_array();
  char text[ZTNA_ADDR_STRLEN];

  for (int i = 0; i < 2; i++)
    if (v[i].family)
      json_array_append_new(list, json_string(ztna_addr_print(&v[i], text)));
  return list;
}

static unsigned protocol_bit(const char *name) {
  if (!name) return 0;
  if (!strcmp(name, "udp")) return PROTO_UDP;
  if (!strcmp(name, "tcp")) return PROTO_TCP;
  if (!strcmp(name, "icmp")) return PROTO_ICMP;
  return !strcmp(name, "any") ? PROTO_UDP | PROTO_TCP : 0;
}

/* A number from 0, -1 for anything else. */
static json_int_t port_of(json_t *j) {
  return json_is_integer(j) ? json_integer_value(j) : -1;
}

/* No list means all ports, so whatever is no list of at least one range must
 * not be read as one: it would open more than was said. */
static int read_ports(struct permission *may, json_t *list) {
  json_t *j;
  size_t n;

  if (list && !json_array_size(list)) return ZTNA_EMALFORMED;
  json_array_foreach(list, n, j) {
    json_int_t first = port_of(json_array_get(j, 0));
    json_int_t last = port_of(json_array_get(j, 1));
    unsigned bits = protocol_bit(json_string_value(json_array_get(j, 2)));

    if (first < 0 || last > 65535 || first > last || !bits ||
        may->n_ranges == GRANT_MAX_RANGES)
      return ZTNA_EMALFORMED;
    may->ranges[may->n_ranges] =
        (struct port_range){(uint16_t)first, (uint16_t)last};
    may->range_protocols[may->n_ranges++] = bits;
  }
  return 0;
}

/* Absent: no limit; what cannot be read is none either, so no grant. */
static int read_rate(struct permission *may, json_t *rate) {
  if (!rate) return 0;
  if (!json_is_integer(rate) || json_integer_value(rate) <= 0)
    return ZTNA_EMALFORMED;
  may->limits.rate = (uint64_t)json_integer_value(rate);
  return 0;
}

int grant_json_read(struct grant_json *g, json_t *j) {
  const char *id = json_string_value(json_object_get(j, "id"));
  uint8_t raw[16];
  json_t *p;
  size_t n;

  memset(g, 0, sizeof(*g));
  g->service = json_string_value(json_object_get(j, "service"));
  g->rule = json_string_value(json_object_get(j, "rule"));
  if (!hex_parse(raw, sizeof(raw), id) || !g->service) return ZTNA_EMALFORMED;
  strcpy(g->id, id); /* 32 digits, judged above */
  json_array_foreach(json_object_get(j, "protocols"), n, p) g->may.protocols |=
      protocol_bit(json_string_value(p));
  g->may.rule = NULL;
  g->lease = ms_json_read(json_object_get(j, "lease"));
  if (!g->lease || read_ports(&g->may, json_object_get(j, "ports")) < 0 ||
      read_rate(&g->may, json_object_get(j, "rate")) < 0)
    return ZTNA_EMALFORMED;
  return addrs_json_read(json_object_get(j, "addresses"), g->addrs);
}
