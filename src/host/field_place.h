/* field_place.h - where each loaded value was written, found by its address
 * and size: a member, or an element of a list. For field.c. */
#ifndef ZTNA_HOST_FIELD_PLACE_H
#define ZTNA_HOST_FIELD_PLACE_H

#include "host/field.h"

/* The newest place of a value is the one that counts. */
void place_add(struct field_load *l, const void *at, size_t size,
               const char *source, uint32_t line, const char *path);
/* Forgets what lay in memory that is about to be freed. */
void place_drop(struct field_load *l, const void *at, size_t size);
/* The smallest one around an address; NULL when there is none. */
const struct field_place *place_around(const struct field_load *l,
                                       const void *at);
void places_done(struct field_load *l);

#endif
