/* direct_message.c - see direct_message.h. */
#include "role/direct_message.h"

#include <string.h>
#include <ztna/err.h>

#include "base/hex.h"

static const char *const kinds[] = {
    [CANDIDATE_HOST] = "host",
    [CANDIDATE_REFLEXIVE] = "reflexive",
    [CANDIDATE_MAPPED] = "mapped",
};

enum { N_KINDS = sizeof(kinds) / sizeof(*kinds) };

const char *direct_kind_name(enum candidate_kind k) { return kinds[k]; }

/* --- out */

static json_t *hex_write(const uint8_t *bytes, size_t len) {
  char text[2 * PUNCH_KEY_LEN + 1];

  return json_string(hex_print(bytes, len, text));
}

static json_t *list_write(const struct punch_side *s) {
  json_t *list = json_array();
  char text[ZTNA_ADDR_STRLEN];

  for (size_t i = 0; i < s->n; i++)
    json_array_append_new(list,
                          json_pack("{s:s, s:s}", "addr",
                                    ztna_addr_print(&s->list[i].addr, text),
                                    "kind", direct_kind_name(s->list[i].kind)));
  return list;
}

static json_t *handles_write(const struct direct_message *m) {
  return json_pack("[o, o]", hex_write(m->handles[0], HANDLE_LEN),
                   hex_write(m->handles[1], HANDLE_LEN));
}

static json_t *side_write(const struct direct_message *m) {
  json_t *j =
      json_pack("{s:s, s:I, s:o, s:o, s:o}", "type", "candidates", "round",
                (json_int_t)m->round, "handles", handles_write(m), "nat",
                nat_json_write(&m->side.nat), "list", list_write(&m->side));

  if (m->word == DIRECT_ANSWER) {
    json_object_set_new(j, "at_ms", json_integer(m->at_ms));
    return j;
  }
  json_object_set_new(j, "id", hex_write(m->id, PUNCH_ID_LEN));
  json_object_set_new(j, "key", hex_write(m->key, PUNCH_KEY_LEN));
  return j;
}

json_t *direct_message_write(const struct direct_message *m) {
  switch (m->word) {
  case DIRECT_OFF:
    return json_pack("{s:s, s:I, s:b}", "type", "candidates", "round",
                     (json_int_t)m->round, "off", 1);
  case DIRECT_ANEW:
    return json_pack("{s:s, s:b}", "type", "candidates", "anew", 1);
  default:
    return side_write(m);
  }
}

/* --- in */

static const char *text_of(const json_t *j, const char *key) {
  return json_string_value(json_object_get(j, key));
}

/* False when it is no integer of that range. */
static bool number_read(const json_t *j, const char *key, json_int_t min,
                        json_int_t max, uint32_t *to) {
  const json_t *v = json_object_get(j, key);
  json_int_t n = json_integer_value(v);

  if (!json_is_integer(v) || n < min || n > max) return false;
  *to = (uint32_t)n;
  return true;
}

static bool handles_read(struct direct_message *m, const json_t *list) {
  if (json_array_size(list) != DIRECT_FAMILIES) return false;
  for (size_t i = 0; i < DIRECT_FAMILIES; i++)
    if (!hex_parse(m->handles[i], HANDLE_LEN,
                   json_string_value(json_array_get(list, i))))
      return false;
  return true;
}

static int kind_find(const char *name) {
  for (int i = 0; i < N_KINDS; i++)
    if (!strcmp(name, kinds[i])) return i;
  return -1;
}

static bool candidate_read(struct punch_side *s, const json_t *j) {
  const char *addr = text_of(j, "addr"), *name = text_of(j, "kind");
  struct candidate c;
  int kind;

  if (!addr || !name || ztna_addr_parse(&c.addr, addr) < 0) return false;
  if ((kind = kind_find(name)) < 0) return true;
  c.kind = (enum candidate_kind)kind;
  s->list[s->n++] = c;
  return true;
}

static bool list_read(struct punch_side *s, const json_t *list) {
  size_t n = json_array_size(list);

  if (!json_is_array(list) || n > PUNCH_CANDIDATES) return false;
  for (size_t i = 0; i < n; i++)
    if (!candidate_read(s, json_array_get(list, i))) return false;
  return true;
}

static bool side_read(struct direct_message *m, json_t *j) {
  nat_json_read(&m->side.nat, json_object_get(j, "nat"));
  return handles_read(m, json_object_get(j, "handles")) &&
         list_read(&m->side, json_object_get(j, "list"));
}

static bool offer_read(struct direct_message *m, json_t *j) {
  m->word = DIRECT_OFFER;
  return hex_parse(m->id, PUNCH_ID_LEN, text_of(j, "id")) &&
         hex_parse(m->key, PUNCH_KEY_LEN, text_of(j, "key")) && side_read(m, j);
}

static bool answer_read(struct direct_message *m, json_t *j) {
  m->word = DIRECT_ANSWER;
  return number_read(j, "at_ms", 0, DIRECT_AT_MAX, &m->at_ms) &&
         side_read(m, j);
}

int direct_message_read(struct direct_message *m, json_t *j) {
  bool good;

  memset(m, 0, sizeof(*m));
  if (json_is_true(json_object_get(j, "anew"))) {
    m->word = DIRECT_ANEW;
    return 0;
  }
  good = number_read(j, "round", 1, UINT32_MAX, &m->round);
  if (json_is_true(json_object_get(j, "off")))
    m->word = DIRECT_OFF;
  else if (json_object_get(j, "key"))
    good = good && offer_read(m, j);
  else
    good = good && answer_read(m, j);
  return good ? 0 : ZTNA_EMALFORMED;
}
