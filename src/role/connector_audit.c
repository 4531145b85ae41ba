/* connector_audit.c - what the connector records: TCP flows when they begin and
 * end, conversations of UDP and ICMP when they end, and what grants did not
 * cover. Nothing is done per packet but to count it. */
#include "role/connector_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/hex.h"

#define REFUSALS_EVERY (10 * SEC)
enum { REFUSALS = 10 }; /* of a link in that time; the next one counts others */

/* --- life --- */

int connector_audit_init(struct connector *c) {
  audit_queue_init(&c->audit, c->o.audit);
  if (!c->o.audit) return 0;
  c->talks = calloc(c->o.max_flows, sizeof(*c->talks));
  return c->talks ? 0 : -1;
}

void connector_audit_done(struct connector *c) {
  audit_queue_done(&c->audit);
  free(c->talks);
}

struct audit_queue *connector_audit(struct connector *c) {
  return &c->audit;
}

/* --- TCP --- */

static enum audit_path kind_of(const struct way *w) {
  if (!w) return AUDIT_PATH_NONE;
  return w->kind == WAY_DIRECT ? AUDIT_PATH_DIRECT : AUDIT_PATH_RELAY;
}

void audit_flow_path(struct splice *v, const struct stream *s) {
  const struct link_way *w = path_user(stream_path(s));

  v->audit.path = kind_of(&w->way);
}

/* Grants and links may end before what they began. */
static void note_take(struct audit_note *n, const struct link *l,
                      const struct grant *g) {
  memcpy(n->serial, l->serial, sizeof(n->serial));
  audit_copy(n->rule, sizeof(n->rule), g->rule);
}

static struct audit_record of_splice(const struct splice *v,
                                     enum audit_event event,
                                     char id[2 * FLOW_ID_LEN + 1]) {
  return (struct audit_record){
      .event = event,
      .at = v->agent->owner->now,
      .agent = v->agent->spiffe,
      .serial = v->audit.serial,
      .service = v->service->id,
      .rule = v->audit.rule,
      .id = hex_print(v->sock->flow.id, FLOW_ID_LEN, id),
      .protocol = "tcp",
      .port = v->dst.port,
      .from = v->src,
      .backend = v->backend,
      .path = v->audit.path,
  };
}

void audit_flow_begin(struct splice *v, const struct link *l,
                      const struct grant *g) {
  struct connector *c = l->owner;
  char id[2 * FLOW_ID_LEN + 1];
  struct audit_record r;

  if (!audit_is_on(&c->audit)) return;
  note_take(&v->audit, l, g);
  audit_flow_path(v, v->sock->flow.stream);
  r = of_splice(v, AUDIT_FLOW_BEGIN, id);
  audit_put(&c->audit, &r);
}

void audit_flow_end(const struct splice *v, enum reason why) {
  struct connector *c = v->agent->owner;
  const struct tcpflow *f = &v->sock->flow;
  char id[2 * FLOW_ID_LEN + 1];
  struct audit_record r;

  if (!audit_is_on(&c->audit)) return;
  r = of_splice(v, AUDIT_FLOW_END, id);
  r.began_at = v->since;
  r.has_bytes = true;
  r.bytes_in = f->rx.end;
  r.bytes_out = f->tx.end;
  r.reason = why;
  audit_put(&c->audit, &r);
}

/* --- UDP and ICMP --- */

void audit_talk_begin(struct connector *c, uint32_t i, const struct grant *g,
                      const struct ztna_addr *backend) {
  const struct flow *f = flows_at(c->flows, i);
  struct audit_talk *t;

  if (!c->talks) return;
  t = &c->talks[i];
  memset(t, 0, sizeof(*t));
  t->began_at = c->now;
  t->backend = *backend;
  note_take(&t->note, f->ud, g);
}

/* It ended with its last packet, which may be long ago. */
void audit_talk_end(struct connector *c, uint32_t i, enum reason why) {
  const struct flow *f = flows_at(c->flows, i);
  const struct link *l = f->ud;
  const struct service *s = f->service;
  bool udp = f->key.proto == IP_PROTO_UDP;
  const struct audit_talk *t;
  struct audit_record r;

  if (!c->talks) return;
  t = &c->talks[i];
  r = (struct audit_record){.event = AUDIT_FLOW_END,
                            .at = c->now,
                            .began_at = t->began_at,
                            .ended_at = f->last_at,
                            .agent = l->agent,
                            .serial = t->note.serial,
                            .service = s->id,
                            .rule = t->note.rule,
                            .protocol = udp ? "udp" : "icmp",
                            .port = udp ? f->key.dst.port : 0,
                            .from = f->key.src,
                            .backend = t->backend,
                            .has_bytes = true,
                            .bytes_in = t->bytes_in,
                            .bytes_out = t->bytes_out,
                            .has_packets = true,
                            .packets_in = t->packets_in,
                            .packets_out = t->packets_out,
                            .path = l->last_path,
                            .reason = why};
  audit_put(&c->audit, &r);
}

void audit_link_path(struct link *l, const struct way *w) {
  l->last_path = kind_of(w);
}

/* --- refusals --- */

void audit_refused(struct link *l, const struct audit_refusal *what,
                   enum reason why) {
  struct connector *c = l->owner;
  struct audit_record r;
  uint32_t hidden = 0;

  if (!audit_is_on(&c->audit) ||
      !log_allow(&l->audit_limit, c->now, REFUSALS, REFUSALS_EVERY, &hidden))
    return;
  r = (struct audit_record){.event = AUDIT_FLOW_REFUSED,
                            .at = c->now,
                            .agent = l->agent,
                            .serial = l->serial,
                            .service = what->service,
                            .protocol = what->protocol,
                            .path = l->last_path,
                            .reason = why,
                            .n_hidden = hidden};
  if (what->src) r.from = *what->src;
  if (what->dst) r.port = what->dst->port;
  audit_put(&c->audit, &r);
}

void audit_path_refused(struct link_way *w, const struct identity *peer) {
  struct connector *c = w->link->owner;
  struct audit_record r = {.event = AUDIT_PATH_REFUSED,
                           .at = c->now,
                           .agent = peer->spiffe,
                           .serial = peer->serial,
                           .id = w->route,
                           .path = kind_of(&w->way),
                           .reason = REASON_IDENTITY_MISMATCH};
  uint32_t hidden = 0;

  if (!log_allow(&w->link->audit_limit, c->now, REFUSALS, REFUSALS_EVERY,
                 &hidden))
    return;
  r.n_hidden = hidden;
  audit_put(&c->audit, &r);
}
