/* field_value.h - one value of a field: from text or JSON into its member, and
 * what is wanted of it in words. */
#ifndef ZTNA_HOST_FIELD_VALUE_H
#define ZTNA_HOST_FIELD_VALUE_H

#include "host/field.h"

enum { FIELD_WHY = 512 };

/* type is f's, or that of its elements; to: zeroed, or freed before. dir: where
 * relative file names begin, NULL: here. 0; ZTNA_EMALFORMED with `want ..., got
 * ...` in why (FIELD_WHY bytes); ZTNA_ENOMEM. */
int field_value_text(const struct field *f, enum field_type type, void *to,
                     const char *text, const char *dir, char *why);
int field_value_json(const struct field *f, enum field_type type, void *to,
                     const json_t *v, const char *dir, char *why);
/* Frees what it owns and zeroes pointers; other values stay. */
void field_value_free(enum field_type type, void *at);

/* "a duration like \"10s\", from 1s to 10m", "a list of host:port". Into
 * FIELD_WHY bytes, which they return. */
char *field_want(const struct field *f, enum field_type type, char *buf);
char *field_want_list(const struct field *f, char *buf);
/* For help: "DURATION", "HOST:PORT,...", "text|json". */
char *field_meta(const struct field *f, char *buf);
/* " from 1s to 10m", "" without bounds. */
char *field_range(const struct field *f, enum field_type type, char *buf);

#endif
