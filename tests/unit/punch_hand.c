/* punch_hand.c - packets by hand, see punch_world.h. */
#include "punch_world.h"
#include "unit.h"

#include "transport/mac.h"

struct by_hand hand_request(struct pw *w) {
  struct by_hand r = {.m = {.class = STUN_REQUEST,
                            .method = STUN_BINDING,
                            .has_username = true,
                            .username_len = PUNCH_ID_LEN + 1,
                            .integrity = STUN_HMAC_SHA256}};
  memcpy(r.m.username, w->side[0].o.id, PUNCH_ID_LEN);
  r.m.username[PUNCH_ID_LEN] = 'a';
  memcpy(r.key, w->side[0].o.key, sizeof(r.key));
  rng_fill(&w->rng, r.m.txid, sizeof(r.m.txid));
  return r;
}

bool hand_arrive(struct pw *w, struct by_hand *r, struct dgram d) {
  struct stun_msg m;
  bool mine;

  d.data = r->data;
  d.len = (uint32_t)r->len;
  d.seg = (uint16_t)r->len;
  assert_int_equal(stun_read(&m, r->data, r->len), 0);
  mine = punch_in(w->side[1].p, w->now, &d, r->data, r->len, &m);
  pw_send(w, &w->side[1]);
  return mine;
}

void hand_write(struct by_hand *r) {
  r->len = (size_t)stun_write(r->data, &r->m, r->key, sizeof(r->key), mac_stun);
}

bool hand_arrives(struct pw *w, struct by_hand *r, const char *from) {
  hand_write(r);
  return hand_arrive(w, r, (struct dgram){.remote = test_addr(from)});
}

void hand_write_unknown(struct by_hand *r) {
  static const uint8_t tail[] = {0x77, 0x77, 0, 0, 0, 0x1c, 0, 32};
  r->m.integrity = STUN_NO_INTEGRITY;
  hand_write(r);
  memcpy(r->data + r->len, tail, sizeof(tail));
  r->data[3] = (uint8_t)(r->len + sizeof(tail) + 32 - STUN_HEADER);
  mac_stun(STUN_HMAC_SHA256, r->key, sizeof(r->key), r->data, r->len + 4,
           r->data + r->len + sizeof(tail));
  r->len += sizeof(tail) + 32;
}

size_t pw_sent_to(const struct pw_side *s, const char *to, bool answers) {
  struct ztna_addr a = test_addr(to);
  size_t n = 0;
  for (size_t i = 0; i < s->n_sent; i++)
    n += ztna_addr_equal(&s->sent[i].to, &a) && s->sent[i].is_answer == answers;
  return n;
}

uint64_t pw_dropped(const struct pw_side *s, enum reason why) {
  return s->stats.drops[why];
}

struct pw *pw_quiet(void) {
  struct pw *w = pw_new(1, PW_EVEN, PW_EVEN);
  w->side[0].deaf = w->side[1].deaf = true;
  pw_start(w);
  return w;
}

bool hand_answer(struct pw *w, const char *to, const char *from,
                 uint8_t wrong) {
  struct ztna_addr a = test_addr(to);
  struct pw_side *s = &w->side[1];
  struct by_hand r = hand_request(w);
  for (size_t i = s->n_sent; i-- > 0;) {
    if (s->sent[i].is_answer || !ztna_addr_equal(&s->sent[i].to, &a)) continue;
    r.m.class = STUN_SUCCESS;
    r.m.has_username = false;
    r.m.username_len = 0;
    r.m.mapped = s->addr;
    r.key[0] ^= wrong;
    memcpy(r.m.txid, s->sent[i].txid, sizeof(r.m.txid));
    hand_write(&r);
    return hand_arrive(
        w, &r,
        (struct dgram){.remote = test_addr(from), .sock = s->sent[i].sock});
  }
  fail_msg("nothing was sent to %s", to);
  return false;
}

void pw_add_neighbours(struct pw *w) {
  for (int i = 0; i < 2; i++) {
    struct punch_side *own = &w->side[i].o.own;
    own->list[own->n++] = (struct candidate){
        .addr = test_addr(i ? "192.168.1.5:4000" : "192.168.1.4:4000")};
  }
}
