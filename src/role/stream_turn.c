/* stream_turn.c - which stream of a path sends next: the DRR++ of fq.c. A
 * stream that begins to send goes before those that never stop, for one
 * quantum. */
#include "role/path_int.h"

enum { QUANTUM = 1452 }; /* a packet's worth */

static struct stream_list *list_of(struct path *p, const struct stream *s) {
  return s->fresh ? &p->fresh : &p->old;
}

static void append(struct path *p, struct stream *s, bool fresh) {
  struct stream_list *l;

  s->fresh = fresh;
  s->listed = true;
  l = list_of(p, s);
  s->turn_next = NULL;
  s->turn_prev = l->tail;
  if (l->tail)
    l->tail->turn_next = s;
  else
    l->head = s;
  l->tail = s;
}

void turn_del(struct path *p, struct stream *s) {
  struct stream_list *l = list_of(p, s);

  if (!s->listed) return;
  s->listed = false;
  if (s->turn_prev)
    s->turn_prev->turn_next = s->turn_next;
  else
    l->head = s->turn_next;
  if (s->turn_next)
    s->turn_next->turn_prev = s->turn_prev;
  else
    l->tail = s->turn_prev;
}

void turn_add(struct path *p, struct stream *s) {
  if (s->listed) return;
  s->deficit = QUANTUM;
  append(p, s, true);
}

struct stream *turn_head(struct path *p) {
  return p->fresh.head ? p->fresh.head : p->old.head;
}

void turn_took(struct path *p, struct stream *s, size_t n) {
  s->deficit -= (int32_t)n;
  if (s->deficit > 0 || !s->listed) return;
  s->deficit += QUANTUM;
  turn_del(p, s);
  append(p, s, false);
}

/* A new one that ran dry waits its turn among the old ones once, else it could
 * come back as new and starve them. */
void turn_dry(struct path *p, struct stream *s) {
  bool wait = s->fresh && p->old.head;

  turn_del(p, s);
  if (wait) append(p, s, false);
}
