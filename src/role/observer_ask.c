/* observer_ask.c - one question to a STUN server: sent, repeated, answered or
 * given up. */
#include "role/observer_int.h"

#include <string.h>

static const uint64_t repeats[OBSERVER_SENDS] = {0, 100 * MS, 250 * MS,
                                                 500 * MS};

/* --- out */

struct ask *ask_new(struct observer *ob, struct look *k, enum ask_kind kind,
                    const struct ztna_addr *to, uint16_t sock, uint32_t change,
                    uint64_t now) {
  if (k->n_asks == OBSERVER_ASKS) return NULL;
  struct ask *a = &k->asks[k->n_asks++];
  const struct ask *lead = k->lead >= 0 ? &k->asks[k->lead] : NULL;
  *a = (struct ask){
      .kind = kind,
      .to = *to,
      .sock = sock,
      .change = change,
      .bare = lead && lead->bare,
      .bare_first = lead && lead->bare_first,
      .begun_at = now,
      .next_at = now,
      .lag = lead ? lead->rtt : 0,
      .give_up_at = k->begun_at + OBSERVER_PATIENCE,
  };
  rng_fill(ob->o.rng, a->txid, sizeof(a->txid) - 1);
  /* One whose way is long, or who was heard late, gets its round trip. */
  if (now + a->lag + 50 * MS > a->give_up_at)
    a->give_up_at = now + a->lag + 50 * MS;
  return a;
}

static bool may_send(const struct look *k, const struct ask *a) {
  return a->state == ASK_OPEN && a->n_sent < OBSERVER_SENDS &&
         k->n_packets < OBSERVER_PACKETS;
}

bool ask_is_due(const struct look *k, const struct ask *a, uint64_t now) {
  return may_send(k, a) && now >= a->next_at;
}

uint64_t ask_deadline(const struct look *k, const struct ask *a) {
  if (a->state != ASK_OPEN) return NEVER;
  return may_send(k, a) ? time_min(a->next_at, a->give_up_at) : a->give_up_at;
}

/* Servers of RFC 8489 alone refuse PADDING, some of RFC 5780 answer it by a
 * packet that must be fragmented: every other sending is without. */
static bool is_padded(const struct ask *a, int sending) {
  return !a->bare && sending % 2 == a->bare_first;
}

void ask_write(struct observer *ob, struct look *k, struct ask *a, uint64_t now,
               uint8_t *room, struct dgram *d) {
  bool padded = is_padded(a, a->n_sent);
  struct stun_msg m = {
      .class = STUN_REQUEST,
      .method = STUN_BINDING,
      .has_change = a->change != 0,
      .change = a->change,
      .padding = padded ? OBSERVER_PADDING : 0,
      .fingerprint = true,
  };
  a->txid[STUN_TXID_LEN - 1] = (uint8_t)a->n_sent;
  memcpy(m.txid, a->txid, sizeof(m.txid));
  int len = stun_write(room, &m, NULL, 0, NULL);
  a->sent_at[a->n_sent++] = now;
  a->next_at = a->n_sent < OBSERVER_SENDS
                   ? a->begun_at + repeats[a->n_sent] + a->lag
                   : NEVER;
  k->n_packets++;
  ob->stats.n_sent++;
  *d = (struct dgram){
      .remote = a->to,
      .data = room,
      .len = (uint32_t)len,
      .seg = (uint16_t)len,
      .sock = a->sock,
  };
}

/* --- in */

struct ask *ask_find(struct look *k, const struct stun_msg *m) {
  if (m->class != STUN_SUCCESS && m->class != STUN_ERROR) return NULL;
  for (size_t i = 0; i < k->n_asks; i++) {
    struct ask *a = &k->asks[i];
    if (!memcmp(a->txid, m->txid, STUN_TXID_LEN - 1) &&
        m->txid[STUN_TXID_LEN - 1] < a->n_sent)
      return a;
  }
  return NULL;
}

static void tell(struct observer *ob, const struct ask *a) {
  struct observer_result r = {
      .server = a->to,
      .from = a->from,
      .sock = a->sock,
      .change = a->change,
      .error = a->error,
      .rtt = a->rtt,
      .n_sent = a->n_sent,
  };
  if (a->state == ASK_ANSWERED) r.mapped = a->mapped;
  if (ob->o.on_result) ob->o.on_result(ob->o.ud, &r);
}

/* From where an answer to this question may come: somebody else's would let him
 * choose what this machine takes for its address. */
static bool comes_rightly(const struct ask *a, const struct dgram *d) {
  bool same_ip = ztna_addr_same_ip(&d->remote, &a->to);
  if (d->sock != a->sock) return false;
  if (ztna_addr_equal(&d->remote, &a->to)) return true;
  if (a->change == STUN_CHANGE_PORT) return same_ip;
  return a->change & STUN_CHANGE_IP && d->remote.family == a->to.family &&
         !same_ip;
}

static bool mapped_is_sane(const struct ask *a, const struct stun_msg *m) {
  return m->mapped.family == a->to.family && m->mapped.port &&
         !ztna_addr_is_unspecified(&m->mapped) &&
         !ztna_addr_is_multicast(&m->mapped);
}

static bool lists_change(const struct stun_msg *m) {
  for (size_t i = 0; i < m->n_listed; i++)
    if (m->listed[i] == STUN_ATTR_CHANGE_REQUEST) return true;
  return false;
}

/* True: not an end, it is asked once more without what was not understood, or
 * with the length that a relay wants of strangers. */
static bool ask_otherwise(struct ask *a, const struct stun_msg *m,
                          uint64_t now) {
  bool padded = is_padded(a, m->txid[STUN_TXID_LEN - 1]);
  if (m->error == STUN_UNKNOWN_ATTRIBUTE && padded && !lists_change(m))
    a->bare = true;
  else if (m->error != STUN_BAD_REQUEST || padded || a->bare)
    return false;
  a->next_at = now;
  return true;
}

bool ask_answer(struct observer *ob, struct ask *a, uint64_t now,
                const struct dgram *d, const struct stun_msg *m) {
  int sending = m->txid[STUN_TXID_LEN - 1];
  if (a->state != ASK_OPEN) {
    ob->stats.n_late++;
    return false;
  }
  if (!comes_rightly(a, d)) {
    ob->stats.drops[REASON_WRONG_SOURCE]++;
    return false;
  }
  if (m->class == STUN_SUCCESS && !mapped_is_sane(a, m)) {
    ob->stats.drops[REASON_MALFORMED]++;
    return false;
  }
  if (m->class == STUN_ERROR && ask_otherwise(a, m, now)) return false;
  /* CHANGE-REQUEST may be passed over by who does not know it. */
  bool elsewhere = !ztna_addr_equal(&d->remote, &a->to);
  bool good = m->class == STUN_SUCCESS && (!a->change || elsewhere);
  a->state = good ? ASK_ANSWERED : ASK_REFUSED;
  a->bare_first = !is_padded(a, sending);
  a->from = d->remote;
  a->local = d->local;
  a->mapped = m->mapped;
  a->other = m->other;
  a->error = m->error;
  a->answers_at = a->sent_at[sending];
  a->rtt = now - a->answers_at;
  ob->stats.n_answers++;
  tell(ob, a);
  return true;
}

void ask_give_up(struct observer *ob, struct ask *a) {
  a->state = ASK_SILENT;
  ob->stats.n_unanswered++;
  tell(ob, a);
}
