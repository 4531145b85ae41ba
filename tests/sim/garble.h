/* garble.h - JSON that a hostile peer would write, out of the bytes of a fuzz
 * input: a true message of which a few members are of another type, absent,
 * there twice, too long, too deep or too big, or whose text is cut or damaged.
 * Without bytes left every choice is 0 and nothing is changed. */
#ifndef ZTNA_TESTS_GARBLE_H
#define ZTNA_TESTS_GARBLE_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

enum { GARBLE_ROOM = 1 << 18 };

struct garble {
  const uint8_t *p;
  size_t left;
  const char *const *words; /* that mean something to the reader */
  size_t n_words;
};

/* A number below n (65536 at most). */
unsigned garble_pick(struct garble *g, unsigned n);
/* One of the words. */
const char *garble_word(struct garble *g);
/* The object's text, changed; consumes the object. Returns the length; the text
 * is NUL terminated and may have NULs in it. */
size_t garble_json(struct garble *g, json_t *o, char to[GARBLE_ROOM]);
/* Changes a few bytes where they are. */
void garble_bytes(struct garble *g, uint8_t *data, size_t len);

#endif
