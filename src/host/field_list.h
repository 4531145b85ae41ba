/* field_list.h - the lists of a struct, `T *x; size_t n_x;`, whatever T is. */
#ifndef ZTNA_HOST_FIELD_LIST_H
#define ZTNA_HOST_FIELD_LIST_H

#include "host/field.h"

enum { FIELD_LIST_MAX = 4096 }; /* elements, unless the field says otherwise */

struct field_list {
  void *v;
  size_t n;
};

/* The type of a list's elements; F_END for what is no list of single values. */
enum field_type field_element(enum field_type list);
bool field_is_list(const struct field *f);

struct field_list field_list_get(const void *base, const struct field *f);
void field_list_set(void *base, const struct field *f, struct field_list list);
/* n zeroed elements in place of an empty list; NULL when n is 0 or there is no
 * memory. */
void *field_list_make(void *base, const struct field *f, size_t n);
/* One more zeroed element; NULL: no memory. The others move. */
void *field_list_grow(void *base, const struct field *f);

size_t field_list_most(const struct field *f);
bool field_list_count_ok(const struct field *f, size_t n);

#endif
