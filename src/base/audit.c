/* audit.c - records that wait for the skin: one allocation each, text behind
 * the record. */
#include "base/audit.h"

#include <stdlib.h>
#include <string.h>

static const char *const names[AUDIT_EVENTS] = {
    [AUDIT_GRANT_BEGIN] = "grant-begin",
    [AUDIT_GRANT_END] = "grant-end",
    [AUDIT_GRANT_REFUSED] = "grant-refused",
    [AUDIT_CONTROL_REFUSED] = "control-refused",
    [AUDIT_FLOW_BEGIN] = "flow-begin",
    [AUDIT_FLOW_END] = "flow-end",
    [AUDIT_FLOW_REFUSED] = "flow-refused",
    [AUDIT_PATH_REFUSED] = "path-refused",
    [AUDIT_ISSUED] = "issued",
};

const char *audit_event_name(enum audit_event e) {
  return e < AUDIT_EVENTS ? names[e] : "unknown";
}

struct audit_item {
  struct audit_item *next;
  struct audit_record r;
  char text[];
};

enum { TEXTS = 9 };

static void texts_of(struct audit_record *r, const char **v[TEXTS]) {
  v[0] = &r->agent;
  v[1] = &r->serial;
  v[2] = &r->connector;
  v[3] = &r->service;
  v[4] = &r->rule;
  v[5] = &r->id;
  v[6] = &r->protocol;
  v[7] = &r->token;
  v[8] = &r->renews;
}

static struct audit_item *copy(const struct audit_record *r) {
  struct audit_record to = *r;
  const char **v[TEXTS];
  size_t len = 0;
  struct audit_item *i;
  char *at;

  texts_of(&to, v);
  for (int k = 0; k < TEXTS; k++) len += *v[k] ? strlen(*v[k]) + 1 : 0;
  i = malloc(sizeof(*i) + len);
  if (!i) return NULL;
  at = i->text;
  for (int k = 0; k < TEXTS; k++) {
    size_t n = *v[k] ? strlen(*v[k]) + 1 : 0;

    if (!n) continue;
    *v[k] = memcpy(at, *v[k], n);
    at += n;
  }
  i->r = to;
  i->next = NULL;
  return i;
}

void audit_copy(char *to, size_t room, const char *text) {
  size_t n = text ? strnlen(text, room) : 0;

  if (n == room)
    for (n--; n && ((unsigned char)text[n] & 0xc0) == 0x80;) n--;
  memcpy(to, text ? text : "", n);
  to[n] = 0;
}

void audit_queue_init(struct audit_queue *q, size_t max) {
  *q = (struct audit_queue){.max = max};
}

void audit_put(struct audit_queue *q, const struct audit_record *r) {
  struct audit_item *i;

  if (!q->max) return;
  i = q->n < q->max ? copy(r) : NULL;
  if (!i) {
    q->n_lost++;
    return;
  }
  if (q->last)
    q->last->next = i;
  else
    q->first = i;
  q->last = i;
  q->n++;
}

bool audit_next(struct audit_queue *q, struct audit_record *to) {
  free(q->lent);
  q->lent = q->first;
  if (!q->lent) return false;
  q->first = q->lent->next;
  if (!q->first) q->last = NULL;
  q->n--;
  *to = q->lent->r;
  return true;
}

void audit_queue_done(struct audit_queue *q) {
  struct audit_record r;

  while (audit_next(q, &r))
    ;
  q->max = 0;
}
