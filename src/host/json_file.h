/* json_file.h - strict JSON out of a file, with the line of every value.
 *
 * jansson parses and judges the syntax; it keeps no positions, so a second walk
 * over the same, now well-formed text notes where each value begins. Values are
 * numbered in the order of the text, which is also jansson's order of members,
 * so a walk over both needs no lookup. */
#ifndef ZTNA_HOST_JSON_FILE_H
#define ZTNA_HOST_JSON_FILE_H

#include <jansson.h>
#include <stdint.h>

enum {
  JSON_FILE_MAX = 4 << 20, /* bytes */
  JSON_FILE_DEPTH = 16,    /* nested objects and lists */
  JSON_FILE_WHY = 320,     /* room for a message */
};

/* Where a value begins, and the number of the value behind it and all that is
 * inside it. Lines and columns (bytes) count from 1. */
struct json_pos {
  uint32_t line, column, end;
};

struct json_file {
  json_t *root;         /* an object */
  struct json_pos *pos; /* of value 0 (root), 1, 2, ... */
  size_t n_pos;
  uint32_t error_line, error_column; /* of a mistake; 0: the whole file */
};

/* A value with its number. */
struct json_at {
  const struct json_file *file;
  json_t *value;
  uint32_t nr;
};

/* From memory. 0; ZTNA_ECONFIG with error_line, error_column and a sentence in
 * why (JSON_FILE_WHY bytes): syntax, duplicate keys, nested too deep, not an
 * object; ZTNA_ENOMEM. json_file_done is fine after a failure. */
int json_file_parse(struct json_file *f, const char *text, size_t len,
                    char *why);
void json_file_done(struct json_file *f);

struct json_at json_at_root(const struct json_file *f);
uint32_t json_at_line(struct json_at at);

/* Walks members or elements in the order of the text:
 *
 *   struct json_walk w = json_walk(at);
 *   while (json_walk_next(&w)) ... w.at, w.key or w.index ...
 *
 * A value without parts has no first one. */
struct json_walk {
  struct json_at at; /* the part */
  const char *key;   /* of an object's member, else NULL */
  size_t index;      /* 0, 1, ... */
  /* the walk's own */
  json_t *whole;
  uint32_t next_nr;
  size_t n;
  void *iter;
};
struct json_walk json_walk(struct json_at whole);
int json_walk_next(struct json_walk *w); /* 0 at the end */

#endif
