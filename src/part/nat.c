/* nat.c - see nat.h. */
#include "part/nat.h"

#include <stdlib.h>
#include <string.h>

/* --- words */

static const char *const behaviours[] = {
    [NAT_UNKNOWN] = "unknown",
    [NAT_NONE] = "none",
    [NAT_ENDPOINT_INDEPENDENT] = "endpoint-independent",
    [NAT_ADDRESS_DEPENDENT] = "address-dependent",
    [NAT_ADDRESS_PORT_DEPENDENT] = "address-and-port-dependent",
};

static const char *const allocations[] = {
    [NAT_ALLOC_UNKNOWN] = "unknown",
    [NAT_PRESERVING] = "preserving",
    [NAT_SEQUENTIAL] = "sequential",
    [NAT_RANDOM] = "random",
};

enum {
  N_BEHAVIOURS = sizeof(behaviours) / sizeof(*behaviours),
  N_ALLOCATIONS = sizeof(allocations) / sizeof(*allocations),
};

const char *nat_behaviour_name(enum nat_behaviour b) {
  return (unsigned)b < N_BEHAVIOURS ? behaviours[b] : behaviours[0];
}

const char *nat_allocation_name(enum nat_allocation a) {
  return (unsigned)a < N_ALLOCATIONS ? allocations[a] : allocations[0];
}

/* 0, which is unknown, for what is no word of the table. */
static int word_find(const char *const *words, int n, const char *word) {
  for (int i = 0; word && i < n; i++)
    if (!strcmp(words[i], word)) return i;
  return 0;
}

/* --- allocation */

/* More than half kept their own port: the others met somebody else's. */
static bool ports_kept(const uint16_t *mapped, const uint16_t *local,
                       size_t n) {
  size_t n_kept = 0;
  for (size_t i = 0; local && i < n; i++)
    if (local[i] && mapped[i] == local[i]) n_kept++;
  return n_kept * 2 > n;
}

/* What one step adds to the judgement of a sequence. */
struct steps {
  int n, n_up, n_down; /* all; small ones of each sign */
  int least;           /* the smallest of those: nobody came in between */
};

static void step_add(struct steps *s, int step) {
  if (step == 0) return;
  s->n++;
  if (abs(step) > NAT_DELTA_MAX) return;
  if (step > 0) s->n_up++;
  if (step < 0) s->n_down++;
  if (!s->least || abs(step) < abs(s->least)) s->least = step;
}

/* 0: no sequence. Two random ports of 64,000 are that near once in 2000. */
static int steps_delta(const struct steps *s) {
  int n_small = s->n_up + s->n_down;
  if (!n_small || (s->n_up && s->n_down)) return 0;
  return n_small == s->n || (s->n >= 3 && n_small == s->n - 1) ? s->least : 0;
}

enum nat_allocation nat_allocation_of(const uint16_t *mapped,
                                      const uint16_t *local, size_t n,
                                      int *delta) {
  struct steps s = {0};
  *delta = 0;
  if (ports_kept(mapped, local, n)) return NAT_PRESERVING;
  for (size_t i = 1; i < n; i++)
    step_add(&s, (int16_t)(uint16_t)(mapped[i] - mapped[i - 1]));
  if (!s.n) return NAT_ALLOC_UNKNOWN;
  *delta = steps_delta(&s);
  return *delta ? NAT_SEQUENTIAL : NAT_RANDOM;
}

/* --- messages */

json_t *nat_json_write(const struct nat_view *v) {
  return json_pack("{s:s, s:s, s:s, s:i, s:i}", "mapping",
                   nat_behaviour_name(v->mapping), "filtering",
                   nat_behaviour_name(v->filtering), "allocation",
                   nat_allocation_name(v->allocation), "delta", v->delta,
                   "last", v->last_port);
}

static const char *word_of(const json_t *j, const char *key) {
  return json_string_value(json_object_get(j, key));
}

/* dflt when it is no integer of that range. */
static int number_of(const json_t *j, const char *key, int min, int max,
                     int dflt) {
  const json_t *v = json_object_get(j, key);
  json_int_t n = json_integer_value(v);
  return json_is_integer(v) && n >= min && n <= max ? (int)n : dflt;
}

void nat_json_read(struct nat_view *v, const json_t *j) {
  *v = (struct nat_view){
      .mapping = (enum nat_behaviour)word_find(behaviours, N_BEHAVIOURS,
                                               word_of(j, "mapping")),
      .filtering = (enum nat_behaviour)word_find(behaviours, N_BEHAVIOURS,
                                                 word_of(j, "filtering")),
      .allocation = (enum nat_allocation)word_find(allocations, N_ALLOCATIONS,
                                                   word_of(j, "allocation")),
      .last_port = (uint16_t)number_of(j, "last", 0, UINT16_MAX, 0),
  };
  if (v->allocation != NAT_SEQUENTIAL) return;
  v->delta = number_of(j, "delta", -NAT_DELTA_MAX, NAT_DELTA_MAX, 0);
  /* A sequence without a step predicts nothing. */
  if (!v->delta) v->allocation = NAT_RANDOM;
}
