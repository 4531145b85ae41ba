/* connector_op.c - operations on backend sockets that wait for the skin: a
 * ring, so bounded. */
#include "role/connector_int.h"

#include <stdlib.h>
#include <string.h>

/* A path that stands must not keep the others from being served. */
struct pkt *connector_pkt(struct connector *c) {
  struct pkt *k = pool_get(&c->pool);
  struct path *longest = NULL;

  if (k) return k;
  for (size_t i = 0; i < c->n_links; i++)
    for (size_t k = 0; c->links[i] && k < c->links[i]->ways.n; k++) {
      struct path *p = c->links[i]->ways.v[k]->path;

      if (!longest || path_waiting(p) > path_waiting(longest)) longest = p;
    }
  return longest && path_shed(longest) ? pool_get(&c->pool) : NULL;
}

struct op *op_push(struct connector *c) {
  if (c->n_ops == OPS_MAX) return NULL;
  return &c->ops[(c->op_head + c->n_ops++) % OPS_MAX];
}

/* Bytes for an operation: of the pool, or of the heap for what was put together
 * from fragments. */
static uint8_t *op_room(struct connector *c, struct op *o, size_t len) {
  if (len > PKT_ROOM) return o->big = malloc(len);
  o->k = connector_pkt(c);
  return o->k ? pkt_data(o->k) : NULL;
}

static void op_free(struct connector *c, struct op *o) {
  if (o->k) pool_put(&c->pool, o->k);
  free(o->big);
  memset(o, 0, sizeof(*o));
}

void op_data(struct connector *c, int kind, uint32_t flow, uint16_t seq,
             const uint8_t *data, size_t len) {
  struct op new = {.op = {.kind = kind, .flow = flow, .seq = seq, .len = len}};
  uint8_t *room = op_room(c, &new, len);
  struct op *o = room ? op_push(c) : NULL;

  if (!o) {
    op_free(c, &new);
    connector_drop(c, REASON_RATE_LIMITED);
    return;
  }
  memcpy(room, data, len);
  new.op.data = room;
  *o = new;
  c->counters.n_to_backend++;
}

bool connector_backend_next(struct connector *c, struct backend_op *op) {
  op_free(c, &c->lent);
  if (!c->n_ops) return false;
  c->lent = c->ops[c->op_head];
  c->op_head = (c->op_head + 1) % OPS_MAX;
  c->n_ops--;
  *op = c->lent.op;
  return true;
}

void ops_free(struct connector *c) {
  struct backend_op op;

  if (!c->ops) return;
  while (connector_backend_next(c, &op))
    ;
}
