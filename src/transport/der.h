/* der.h - DER (X.690, 10): written backwards, so that lengths are known when
 * they are due, and read forwards. Both latch their first mistake. */
#ifndef ZTNA_DER_H
#define ZTNA_DER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  DER_INTEGER = 0x02,
  DER_BITS = 0x03,
  DER_OCTETS = 0x04,
  DER_OID = 0x06,
  DER_UTC = 0x17,
  DER_GENERALIZED = 0x18,
  DER_SEQUENCE = 0x30,
  DER_SET = 0x31,
  DER_CONTEXT = 0x80,     /* [0] */
  DER_CONSTRUCTED = 0x20, /* added to a tag */
  DER_HEAD_MAX = 5,       /* tag and length, of less than 16 MB */
};

/* The bytes so far are buf + at up to the buffer's end. */
struct der_out {
  uint8_t *buf;
  size_t at; /* the buffer's size before anything is written */
  bool full;
};

void der_put(struct der_out *o, const void *bytes, size_t n);
void der_put_head(struct der_out *o, uint8_t tag, size_t len);
/* Bytes with tag and length. */
void der_put_value(struct der_out *o, uint8_t tag, const void *bytes, size_t n);
/* The head of all that was written since at was `end`. */
void der_wrap(struct der_out *o, uint8_t tag, size_t end);
/* A big-endian number, not negative, in as few bytes as DER wants. */
void der_put_uint(struct der_out *o, const uint8_t *bytes, size_t n);

struct der_in {
  const uint8_t *at, *end;
  bool
      bad; /* lengths that do not fit, or a tag that was wanted and is not there
            */
};

/* The next value and its tag; 0: there is none left, or it is bad. *whole, when
 * not NULL, is the same with its head. */
uint8_t der_next(struct der_in *in, struct der_in *value, struct der_in *whole);
/* The next value's tag without taking it, 0 at the end. */
uint8_t der_peek(const struct der_in *in);
/* As der_next, and in is bad when the tag is another. */
struct der_in der_want(struct der_in *in, uint8_t tag);
static inline size_t der_left(const struct der_in *in) {
  return (size_t)(in->end - in->at);
}

#endif
