#include "transport/der.h"

#include <string.h>

/* --- writing */

void der_put(struct der_out *o, const void *bytes, size_t n) {
  if (n > o->at) {
    o->full = true;
    return;
  }
  o->at -= n;
  if (n) memcpy(o->buf + o->at, bytes, n);
}

void der_put_head(struct der_out *o, uint8_t tag, size_t len) {
  const uint8_t shortest[] = {tag, (uint8_t)len};
  const uint8_t one[] = {tag, 0x81, (uint8_t)len};
  const uint8_t two[] = {tag, 0x82, (uint8_t)(len >> 8), (uint8_t)len};
  const uint8_t three[] = {tag, 0x83, (uint8_t)(len >> 16), (uint8_t)(len >> 8),
                           (uint8_t)len};
  if (len < 0x80)
    der_put(o, shortest, sizeof(shortest));
  else if (len < 0x100)
    der_put(o, one, sizeof(one));
  else if (len < 0x10000)
    der_put(o, two, sizeof(two));
  else if (len < 0x1000000)
    der_put(o, three, sizeof(three));
  else
    o->full = true;
}

void der_put_value(struct der_out *o, uint8_t tag, const void *bytes,
                   size_t n) {
  der_put(o, bytes, n);
  der_put_head(o, tag, n);
}

void der_wrap(struct der_out *o, uint8_t tag, size_t end) {
  der_put_head(o, tag, end - o->at);
}

void der_put_uint(struct der_out *o, const uint8_t *bytes, size_t n) {
  static const uint8_t zero = 0;
  size_t end = o->at;
  while (n > 0 && !*bytes) bytes++, n--;
  der_put(o, bytes, n);
  /* the first bit is the sign */
  if (n == 0 || *bytes & 0x80) der_put(o, &zero, 1);
  der_wrap(o, DER_INTEGER, end);
}

/* --- reading */

static bool read_byte(struct der_in *in, size_t *to) {
  if (in->at == in->end) {
    in->bad = true;
    return false;
  }
  *to = *in->at++;
  return true;
}

/* Definite lengths only, in as few bytes as possible. */
static bool read_length(struct der_in *in, size_t *len) {
  size_t n, byte;
  if (!read_byte(in, len)) return false;
  if (*len < 0x80) return true;
  n = *len & 0x7f;
  *len = 0;
  if (n == 0 || n > 3) in->bad = true;
  while (!in->bad && n-- > 0 && read_byte(in, &byte)) {
    if (*len == 0 && byte == 0) in->bad = true;
    *len = *len << 8 | byte;
  }
  if (*len < 0x80) in->bad = true;
  return !in->bad;
}

uint8_t der_next(struct der_in *in, struct der_in *value,
                 struct der_in *whole) {
  const uint8_t *from = in->at;
  size_t tag, len;
  if (in->bad || in->at == in->end) return 0;
  if (!read_byte(in, &tag) || !read_length(in, &len)) return 0;
  if (len > der_left(in) || (tag & 0x1f) == 0x1f) {
    in->bad = true;
    return 0;
  }
  *value = (struct der_in){.at = in->at, .end = in->at + len};
  in->at += len;
  if (whole) *whole = (struct der_in){.at = from, .end = in->at};
  return (uint8_t)tag;
}

uint8_t der_peek(const struct der_in *in) {
  return in->bad || in->at == in->end ? 0 : *in->at;
}

struct der_in der_want(struct der_in *in, uint8_t tag) {
  struct der_in value = {.at = in->end, .end = in->end, .bad = true};
  if (der_peek(in) != tag || der_next(in, &value, NULL) != tag) {
    in->bad = true;
    value = (struct der_in){.at = in->end, .end = in->end, .bad = true};
  }
  return value;
}
