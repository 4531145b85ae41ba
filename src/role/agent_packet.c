/* agent_packet.c - this machine's packets into links, and what comes back out
 * of them. What comes back is checked as strictly as a connector checks what
 * goes in: only answers to conversations that began here reach this machine. */
#include "role/agent_int.h"

#include <string.h>

#include "base/map.h"

#define FRAG_FOR (2 * SEC)

void agent_drop(struct ztna_agent *a, enum reason why) {
  a->counters.drops[why]++;
}

/* --- to this machine --- */

static void out_push(struct ztna_agent *a, struct pkt *k) {
  if (a->out.n >= OUT_MAX) {
    agent_drop(a, REASON_RATE_LIMITED);
    pool_put(&a->pool, k);
    return;
  }
  pktq_push(&a->out, k);
  a->counters.n_ip_out++;
}

bool ztna_agent_ip_next(struct ztna_agent *a, struct ztna_ip *pkt) {
  if (a->lent) pool_put(&a->pool, a->lent);
  a->lent = pktq_pop(&a->out);
  if (!a->lent) return false;
  *pkt = (struct ztna_ip){.data = pkt_data(a->lent), .len = a->lent->len};
  return true;
}

/* An ICMP error about a packet of this machine, as if its destination's router
 * had sent it. */
void agent_packet_error(struct ztna_agent *a, enum ip_error err, uint32_t mtu,
                        const uint8_t *about, size_t len) {
  struct pkt *k = pool_get(&a->pool);
  struct ip_pkt p;
  int n = 0;

  if (!k) return;
  if (ip_parse(&p, about, len) == 0) {
    p.dst.port = 0;
    n = ip_build_error(pkt_data(k), a->mtu, &p.dst, err, mtu, about, len);
  }
  if (n <= 0) {
    pool_put(&a->pool, k);
    return;
  }
  k->len = (uint16_t)n;
  out_push(a, k);
}

/* What a person's program sees: "connection refused" where the service's
 * machine said no, "no route to host" where nobody can be reached, and
 * "administratively prohibited" where a rule forbids it. */
enum ip_error agent_packet_error_of(enum reason why) {
  switch (why) {
  case REASON_BACKEND_REFUSED:
    return IP_ERR_PORT;
  case REASON_NOT_ALLOWED:
  case REASON_PORT_NOT_ALLOWED:
  case REASON_REVOKED:
  case REASON_IDENTITY_MISMATCH:
    return IP_ERR_PROHIBITED;
  default:
    return IP_ERR_HOST;
  }
}

static struct frag *frag_find(struct ztna_agent *a, const struct ip_pkt *p) {
  for (int i = 0; i < FRAGS_MAX; i++) {
    struct frag *f = &a->frags[i];

    if (a->now < f->until && f->id == p->frag_id &&
        ztna_addr_same_ip(&f->src, &p->src) &&
        ztna_addr_same_ip(&f->dst, &p->dst))
      return f;
  }
  return NULL;
}

static void frag_admit(struct ztna_agent *a, const struct ip_pkt *p) {
  a->frags[a->next_frag++ % FRAGS_MAX] =
      (struct frag){.src = p->src,
                    .dst = p->dst,
                    .id = p->frag_id,
                    .until = a->now + FRAG_FOR};
}

static bool begun_here(struct ztna_agent *a, uint8_t proto,
                       const struct ztna_addr *src,
                       const struct ztna_addr *dst) {
  struct flow_key key = {.proto = proto, .src = *src, .dst = *dst};

  return flows_find(a->flows, &key, a->now) != FLOWS_NONE;
}

/* The answer to something this machine sent? */
static bool expected(struct ztna_agent *a, struct ip_pkt *p) {
  switch (p->kind) {
  case IP_UDP:
  case IP_ECHO_REPLY:
    return begun_here(a, p->proto, &p->dst, &p->src);
  case IP_ICMP_ERROR:
    return begun_here(a, p->inner_proto, &p->inner_src, &p->inner_dst);
  case IP_FRAGMENT:
    if (p->proto == IP_PROTO_TCP || !ip_first_ports(p)) return frag_find(a, p);
    if (!begun_here(a, p->proto, &p->dst, &p->src)) return false;
    frag_admit(a, p);
    return true;
  default:
    return false;
  }
}

static bool is_of(const struct ztna_addr v[2], const struct ztna_addr *addr) {
  const struct ztna_addr *mine = &v[addr->family == 6];

  return mine->family && ztna_addr_same_ip(mine, addr);
}

void agent_packet_to_tun(struct ztna_agent *a, struct service *s,
                         const uint8_t *ip, size_t len) {
  struct ip_pkt p;
  struct pkt *k;

  if (len > PKT_ROOM || ip_parse(&p, ip, len) < 0) {
    agent_drop(a, REASON_MALFORMED);
  } else if (!is_of(s->addrs, &p.src)) {
    agent_drop(a, REASON_WRONG_SOURCE);
  } else if (!is_of(a->addrs, &p.dst)) {
    agent_drop(a, REASON_WRONG_DESTINATION);
  } else if (!expected(a, &p)) {
    agent_drop(a, REASON_NOT_BEGUN_HERE);
  } else if (!(k = pool_get(&a->pool))) {
    agent_drop(a, REASON_RATE_LIMITED);
  } else {
    memcpy(pkt_data(k), ip, len);
    k->len = (uint16_t)len;
    out_push(a, k);
  }
}

/* --- from this machine --- */

static void remember(struct ztna_agent *a, const struct ip_pkt *p) {
  struct flow_key key = {.proto = p->proto, .src = p->src, .dst = p->dst};
  uint32_t i = flows_find(a->flows, &key, a->now);

  if (i != FLOWS_NONE) return;
  i = flows_add(a->flows, &key, a->now);
  if (i == FLOWS_NONE) {
    flows_del(a->flows, flows_oldest(a->flows, 0));
    flows_add(a->flows, &key, a->now);
  }
  a->counters.n_flows = flows_count(a->flows);
}

static void send(struct ztna_agent *a, struct service *s, const uint8_t *ip,
                 size_t len) {
  struct pkt *k;

  if (len > path_mtu(s->link->path)) {
    agent_drop(a, REASON_PACKET_TOO_BIG);
    agent_packet_error(a, IP_ERR_TOO_BIG, (uint32_t)path_mtu(s->link->path), ip,
                       len);
    return;
  }
  k = pool_get(&a->pool);
  if (!k) {
    agent_drop(a, REASON_RATE_LIMITED);
    return;
  }
  memcpy(pkt_data(k), ip, len);
  k->len = (uint16_t)len;
  a->sweep_at = time_min(a->sweep_at, a->now + 100 * MS);
  path_send_packet(s->link->path, s->context, k, a->now);
}

static void route(struct ztna_agent *a, struct service *s, const uint8_t *ip,
                  size_t len) {
  s->used_at = a->now;
  if (s->use == USE_OPEN && path_is_live(s->link->path)) {
    send(a, s, ip, len);
    return;
  }
  if (s->use == USE_REFUSED && a->now < s->retry_at) {
    agent_drop(a, s->why);
    agent_packet_error(a, agent_packet_error_of(s->why), 0, ip, len);
    return;
  }
  agent_service_hold(a, s, ip, len);
  agent_service_want(a, s);
}

/* True when a packet of this kind can be carried; else it was answered. */
static bool carried(struct ztna_agent *a, struct ip_pkt *p, const uint8_t *ip,
                    size_t len) {
  switch (p->kind) {
  case IP_UDP:
  case IP_ECHO_REQUEST:
    remember(a, p);
    return true;
  case IP_FRAGMENT:
    if (p->proto != IP_PROTO_TCP && ip_first_ports(p)) remember(a, p);
    return true;
  default: /* TCP ends in this agent in time (DESIGN, idea 5) */
    agent_drop(a, REASON_PORT_NOT_ALLOWED);
    agent_packet_error(a, IP_ERR_PROTOCOL, 0, ip, len);
    return false;
  }
}

void ztna_agent_ip_in(struct ztna_agent *a, uint64_t now,
                      const struct ztna_ip *pkt) {
  const uint8_t *ip = pkt->data;
  size_t len = pkt->len;
  struct service *s;
  struct ip_pkt p;

  a->now = now;
  a->counters.n_ip_in++;
  if (ip_parse(&p, ip, len) < 0) {
    agent_drop(a, REASON_MALFORMED);
  } else if (!is_of(a->addrs, &p.src)) {
    agent_drop(a, REASON_WRONG_SOURCE);
  } else if (!(s = agent_service_by_addr(a, &p.dst))) {
    agent_drop(a, REASON_WRONG_DESTINATION);
    agent_packet_error(a, IP_ERR_NET, 0, ip, len);
  } else if (len > a->mtu || len > PKT_ROOM) {
    agent_drop(a, REASON_PACKET_TOO_BIG);
    agent_packet_error(a, IP_ERR_TOO_BIG, a->mtu, ip, len);
  } else if (carried(a, &p, ip, len)) {
    route(a, s, ip, len);
  }
}
