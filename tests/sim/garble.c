/* garble.c - see garble.h. */
#include "sim/garble.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 256, LONG_MAX_TEXT = 70000 };

unsigned garble_pick(struct garble *g, unsigned n) {
  unsigned v = 0;

  for (unsigned width = n > 256 ? 2 : 1; width && g->left; width--) {
    v = v << 8 | *g->p++;
    g->left--;
  }
  return v % n;
}

const char *garble_word(struct garble *g) {
  return g->n_words ? g->words[garble_pick(g, (unsigned)g->n_words)] : "";
}

/* --- values --- */

static json_t *number(struct garble *g) {
  static const json_int_t ints[] = {
      0,
      -1,
      1,
      2,
      3,
      63,
      64,
      255,
      1024,
      1025,
      16382,
      16383,
      16384,
      65535,
      65536,
      INT32_MAX,
      INT64_C(1) << 32,
      (INT64_C(1) << 53) + 1,
      INT64_MAX,
      INT64_MIN,
  };
  static const double reals[] = {-0.0, 0.5, 1e-300, 2.0, 1e18, 1e308, -1e308};
  unsigned n = sizeof(ints) / sizeof(*ints), k;

  k = garble_pick(g, n + sizeof(reals) / sizeof(*reals));
  return k < n ? json_integer(ints[k]) : json_real(reals[k - n]);
}

static json_t *nested(struct garble *g) {
  unsigned depth = garble_pick(g, 300);
  bool object = garble_pick(g, 2);
  json_t *j = json_string(garble_word(g));

  while (depth--) j = object ? json_pack("{s:o}", "a", j) : json_pack("[o]", j);
  return j;
}

static json_t *long_text(struct garble *g) {
  size_t len = (size_t)garble_pick(g, 64) * garble_pick(g, 64);
  char *s;
  json_t *j;

  if (!garble_pick(g, 16)) len = LONG_MAX_TEXT;
  s = malloc(len + 1);
  memset(s, garble_pick(g, 2) ? 'f' : '/', len);
  s[len] = 0;
  j = json_string(s);
  free(s);
  return j;
}

static json_t *hex_text(struct garble *g) {
  static const char digits[] = "0123456789abcdefABCDEFgx";
  char s[72];
  unsigned n = garble_pick(g, sizeof(s)), k = garble_pick(g, 4);

  for (unsigned i = 0; i < n; i++)
    s[i] = digits[garble_pick(g, k ? 16 : sizeof(digits) - 1)];
  s[n] = 0;
  return json_string(s);
}

static json_t *many(struct garble *g) {
  unsigned n = garble_pick(g, 2) ? garble_pick(g, 100) : garble_pick(g, 1200);
  json_t *list = json_array(), *one = json_string(garble_word(g));

  while (n--) json_array_append(list, one);
  json_decref(one);
  return list;
}

static json_t *value(struct garble *g) {
  static const char *const odd[] = {"",         " ",    "\n\x1b[2J", "%s%n",
                                    "\xc3\xa9", "\x7f", "*",         "a\"b\\"};

  switch (garble_pick(g, 14)) {
  case 0:
  case 1:
  case 2:
    return json_string(garble_word(g));
  case 3:
  case 4:
    return number(g);
  case 5:
    return json_null();
  case 6:
    return json_boolean(garble_pick(g, 2));
  case 7:
    return json_object();
  case 8:
    return json_array();
  case 9:
    return nested(g);
  case 10:
    return long_text(g);
  case 11:
    return hex_text(g);
  case 12:
    return many(g);
  default:
    return json_string(odd[garble_pick(g, sizeof(odd) / sizeof(*odd))]);
  }
}

/* --- members and elements --- */

struct slot {
  json_t *in;
  const char *key; /* NULL: an element */
  size_t i;
};

struct slots {
  struct slot v[SLOTS];
  size_t n;
};

static void collect(struct slots *s, json_t *in) {
  const char *key;
  json_t *j;
  size_t i;

  json_object_foreach(in, key, j) {
    if (s->n == SLOTS) return;
    s->v[s->n++] = (struct slot){.in = in, .key = key};
    collect(s, j);
  }
  json_array_foreach(in, i, j) {
    if (s->n == SLOTS) return;
    s->v[s->n++] = (struct slot){.in = in, .i = i};
    collect(s, j);
  }
}

static json_t *at(const struct slot *s) {
  return s->key ? json_object_get(s->in, s->key) : json_array_get(s->in, s->i);
}

static void put(const struct slot *s, json_t *j) {
  if (s->key)
    json_object_set_new(s->in, s->key, j);
  else
    json_array_set_new(s->in, s->i, j);
}

static void drop(const struct slot *s) {
  if (s->key)
    json_object_del(s->in, s->key);
  else
    json_array_remove(s->in, s->i);
}

/* Its text shorter, longer, or with another character in it. */
static json_t *edited(struct garble *g, const json_t *j) {
  char s[600];
  size_t len;

  if (json_is_integer(j))
    return json_integer(json_integer_value(j) ^ garble_pick(g, 4));
  if (!json_is_string(j)) return value(g);
  snprintf(s, sizeof(s) - 2, "%s", json_string_value(j));
  len = strlen(s);
  switch (len ? garble_pick(g, 3) : 1) {
  case 0:
    s[garble_pick(g, (unsigned)len)] = 0;
    break;
  case 1:
    s[len] = (char)(' ' + garble_pick(g, 95));
    s[len + 1] = 0;
    break;
  default:
    s[garble_pick(g, (unsigned)len)] = (char)(' ' + garble_pick(g, 95));
  }
  j = json_string(s);
  return j ? (json_t *)j : json_null();
}

static void again(struct garble *g, const struct slot *s) {
  char key[80];
  unsigned n = 1 + garble_pick(g, 3) * garble_pick(g, 40);

  if (s->key) {
    snprintf(key, sizeof(key), "%s%u", s->key, n);
    json_object_set_new(s->in, key, json_deep_copy(at(s)));
    return;
  }
  while (n--) json_array_append_new(s->in, json_deep_copy(at(s)));
}

static void change(struct garble *g, json_t *o) {
  struct slots all = {.n = 0};
  const struct slot *s;

  collect(&all, o);
  if (!all.n) return;
  s = &all.v[garble_pick(g, (unsigned)all.n)];
  switch (garble_pick(g, 8)) {
  case 0:
  case 1:
    put(s, edited(g, at(s)));
    break;
  case 2:
    drop(s);
    break;
  case 3:
    again(g, s);
    break;
  case 4:
    put(s, json_deep_copy(at(&all.v[garble_pick(g, (unsigned)all.n)])));
    break;
  case 5:
    put(s, json_string(garble_word(g)));
    break;
  case 6:
    put(s, json_pack("[O]", at(s)));
    break;
  default:
    put(s, value(g));
  }
}

/* --- the text --- */

static size_t insert(char *to, size_t len, size_t where, const char *what,
                     size_t n) {
  if (len + n >= GARBLE_ROOM) return len;
  memmove(to + where + n, to + where, len - where);
  memcpy(to + where, what, n);
  return len + n;
}

static size_t damage(struct garble *g, char *to, size_t len) {
  static const struct {
    const char *s;
    size_t n;
  } bits[] = {
      {"\xff", 1},    {"\0", 1},      {"\xc3", 1},       {"\xed\xa0\x80", 3},
      {"\\u0000", 6}, {"\\ud800", 6}, {"\"", 1},         {"}", 1},
      {"1e999", 5},   {",", 1},       {"\"type\":1,", 9}};
  size_t where = len ? garble_pick(g, 65536) % len : 0;
  unsigned k;

  switch (garble_pick(g, 6)) {
  case 0:
    return where;
  case 1:
    if (len) to[where] ^= (char)(1 << garble_pick(g, 8));
    return len;
  case 2:
    k = garble_pick(g, sizeof(bits) / sizeof(*bits));
    return insert(to, len, where, bits[k].s, bits[k].n);
  case 3: /* all of it twice: duplicate keys */
    if (len < 2) return len;
    to[len - 1] = ',';
    len = insert(to, len, len, to + 1, len - 1);
    to[len - 1] = '}';
    return len;
  case 4:
    k = garble_pick(g, 4096);
    memset(to, garble_pick(g, 2) ? '[' : '{', k);
    return k;
  default:
    return (size_t)snprintf(to, GARBLE_ROOM, "%s", garble_word(g));
  }
}

size_t garble_json(struct garble *g, json_t *o, char to[GARBLE_ROOM]) {
  unsigned n = garble_pick(g, 4);
  size_t len;

  if (garble_pick(g, 3) == 0) n = 0; /* as it should be */
  while (n--) change(g, o);
  len = json_dumpb(o, to, GARBLE_ROOM - 1,
                   JSON_COMPACT |
                       (garble_pick(g, 8) == 7 ? JSON_ENSURE_ASCII : 0));
  if (len >= GARBLE_ROOM) len = 0;
  json_decref(o);
  if (garble_pick(g, 12) == 11) len = damage(g, to, len);
  to[len] = 0;
  return len;
}

void garble_bytes(struct garble *g, uint8_t *data, size_t len) {
  for (unsigned n = garble_pick(g, 4); n && len; n--)
    data[garble_pick(g, 65536) % len] = (uint8_t)garble_pick(g, 256);
}
