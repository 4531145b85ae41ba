/* direct_world_ask.c - what tests say to the two ends of direct_world.h, and
 * what they ask of them. */
#include "direct_world.h"

#include "base/hex.h"
#include "transport/mac.h"

/* --- by hand --- */

int dw_hear(struct dw_end *e, const char *json) {
  json_t *j = json_loads(json, JSON_REJECT_DUPLICATES, NULL);
  int rv;

  assert_non_null(j);
  rv = direct_message(e->d, j, dw_now(e->w));
  json_decref(j);
  return rv;
}

bool dw_arrives(struct dw_end *e, const char *from, const void *data,
                size_t len) {
  struct dgram d = {.remote = test_addr(from), .data = data};

  d.len = (uint32_t)len;
  d.seg = (uint16_t)len;
  return direct_udp_in(&e->c, dw_now(e->w), &d);
}

void dw_check_arrives(struct dw_end *e, const char *from) {
  static uint8_t n;
  struct stun_msg m = {.class = STUN_REQUEST,
                       .method = STUN_BINDING,
                       .txid = {++n},
                       .has_username = true,
                       .username_len = PUNCH_ID_LEN + 1,
                       .integrity = STUN_HMAC_SHA256};
  json_t *j = json_loads(e->w->ends[DW_AGENT].said, 0, NULL);
  uint8_t key[PUNCH_KEY_LEN], data[STUN_MAX];
  size_t len;

  assert_true(hex_parse(m.username, PUNCH_ID_LEN,
                        json_string_value(json_object_get(j, "id"))));
  assert_true(hex_parse(key, sizeof(key),
                        json_string_value(json_object_get(j, "key"))));
  m.username[PUNCH_ID_LEN] = e == &e->w->ends[DW_AGENT] ? 'c' : 'a';
  len = (size_t)stun_write(data, &m, key, sizeof(key), mac_stun);
  assert_true(dw_arrives(e, from, data, len));
  json_decref(j);
}

size_t dw_sent_to(const struct dw_end *e, const char *addr) {
  struct ztna_addr a = test_addr(addr);
  size_t n = 0;

  for (size_t i = 0; i < e->n_sent; i++) n += ztna_addr_equal(&a, &e->sent[i]);
  return n;
}

const char *dw_status(struct dw_end *e, const char *key) {
  static char text[256];
  json_t *j = direct_status(e->d);
  const char *s = json_string_value(json_object_get(j, key));

  snprintf(text, sizeof(text), "%s", s ? s : "");
  json_decref(j);
  return text;
}

long dw_status_number(struct dw_end *e, const char *key) {
  json_t *j = direct_status(e->d), *v = json_object_get(j, key);
  long n = json_is_integer(v) ? (long)json_integer_value(v) : -1;

  json_decref(j);
  return n;
}

/* --- what tests ask --- */

double dw_next_round(struct dw *w, double at_most) {
  struct dw_end *a = &w->ends[DW_AGENT];
  uint64_t began = dw_now(w);
  size_t n = a->n_said;

  while (a->n_said == n && dw_now(w) - began < (uint64_t)(at_most * SEC))
    dw_run(w, 10 * MS);
  return (double)(dw_now(w) - began) / SEC;
}

struct dw *dw_hopeless(uint64_t seed) {
  struct dw *w = dw_new("sym-random", "sym-random", seed);

  dw_run(w, 14 * SEC);
  assert_false(w->ends[DW_AGENT].joined);
  return w;
}

void dw_check_why(struct dw_end *e, const char *why) {
  assert_string_equal(dw_status(e, "why"), why);
  assert_true(strlen(dw_status(e, "text")) > 10);
  assert_true(strlen(dw_status(e, "fix")) > 5);
  assert_string_not_equal(dw_status(e, "state"), "direct");
}
