#include "host/field_place.h"

#include <stdlib.h>
#include <string.h>

/* A hash index of twice as many slots as places: large files have hundreds of
 * thousands of values, and each is asked for. Slots hold a number + 1, 0 is
 * free. A dropped place keeps its slot and equals nothing. */
static size_t *slot_of(const struct field_load *l, const void *at,
                       size_t size) {
  size_t mask = 2 * l->cap_places - 1;
  uint64_t hash = ((uint64_t)(uintptr_t)at ^ (uint64_t)size << 48) *
                  UINT64_C(0x9e3779b97f4a7c15);
  for (size_t i = (size_t)(hash >> 32) & mask;; i = (i + 1) & mask) {
    size_t nr = l->place_index[i];
    if (!nr) return &l->place_index[i];
    const struct field_place *p = &l->places[nr - 1];
    if (p->at == at && p->size == size) return &l->place_index[i];
  }
}

static void index_all(struct field_load *l) {
  for (size_t i = 0; i < l->n_places; i++)
    if (l->places[i].at)
      *slot_of(l, l->places[i].at, l->places[i].size) = i + 1;
}

static bool grow(struct field_load *l) {
  size_t cap = l->cap_places ? l->cap_places * 2 : 64;
  struct field_place *v = realloc(l->places, cap * sizeof(*v));
  if (v) l->places = v;
  size_t *index = v ? calloc(2 * cap, sizeof(*index)) : NULL;
  if (!index) return false;
  free(l->place_index);
  l->place_index = index;
  l->cap_places = cap;
  index_all(l);
  return true;
}

void place_add(struct field_load *l, const void *at, size_t size,
               const char *source, uint32_t line, const char *path) {
  if (l->n_places == l->cap_places && !grow(l)) {
    l->no_memory = true;
    return;
  }
  struct field_place p = {.at = at,
                          .size = size,
                          .line = line,
                          .source = strdup(source),
                          .path = strdup(path)};
  if (!p.source || !p.path) l->no_memory = true;
  size_t *slot = slot_of(l, at, size);
  l->places[l->n_places++] = p;
  *slot = l->n_places;
}

void place_drop(struct field_load *l, const void *at, size_t size) {
  const char *from = at;
  for (size_t i = 0; i < l->n_places; i++) {
    const char *p = l->places[i].at;
    if (p >= from && p < from + size) l->places[i].at = NULL;
  }
}

const struct field_place *field_place_of(const struct field_load *l,
                                         const void *at, size_t size) {
  if (!l->n_places) return NULL;
  size_t nr = *slot_of(l, at, size);
  return nr ? &l->places[nr - 1] : NULL;
}

const struct field_place *place_around(const struct field_load *l,
                                       const void *at) {
  const struct field_place *best = NULL;
  for (size_t i = 0; i < l->n_places; i++) {
    const struct field_place *p = &l->places[i];
    const char *from = p->at;
    if ((const char *)at < from || (const char *)at >= from + p->size) continue;
    if (!best || p->size < best->size) best = p;
  }
  return best;
}

void places_done(struct field_load *l) {
  for (size_t i = 0; i < l->n_places; i++) {
    free(l->places[i].path);
    free(l->places[i].source);
  }
  free(l->places);
  free(l->place_index);
}
