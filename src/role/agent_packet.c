/* agent_packet.c - this machine's packets into links, and what comes back out
 * of them. What comes back is checked as strictly as a connector checks what
 * goes in: only answers to conversations that began here reach this machine. */
#include "role/agent_int.h"

#include <assert.h>
#include <string.h>

#include "base/map.h"
#include "part/uso.h"
#include "role/agent_local.h"
#include "role/agent_tcp.h"

#define FRAG_FOR (2 * SEC)

void agent_drop(struct ztna_agent *a, enum reason why) {
  a->counters.drops[why]++;
}

/* --- to this machine --- */

bool ztna_agent_ip_next(struct ztna_agent *a, struct ztna_ip *pkt) {
  struct ipq_pkt k;

  if (!ipq_pop(&a->out, &k) && !(agent_tcp_drained(a) && ipq_pop(&a->out, &k)))
    return false;
  a->counters.n_ip_out++;
  uso_finish(&k);
  *pkt = (struct ztna_ip){.data = k.data,
                          .len = k.len,
                          .gso_size = k.gso_size,
                          .partial = k.partial};
  return true;
}

/* An ICMP error about a packet of this machine, as if its destination's router
 * had sent it. */
void agent_packet_error(struct ztna_agent *a, enum ip_error err, uint32_t mtu,
                        const uint8_t *about, size_t len) {
  uint8_t *room = ipq_room(&a->out, a->mtu);
  struct ip_pkt p;
  int n;

  if (!room || ip_parse_partial(&p, about, len) < 0) return;
  p.dst.port = 0;
  n = ip_build_error(room, a->mtu, &p.dst, err, mtu, about, len);
  if (n > 0) ipq_push(&a->out, (size_t)n, 0, false);
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
  uint8_t *room;

  if (len > PKT_ROOM || ip_parse(&p, ip, len) < 0) {
    agent_drop(a, REASON_MALFORMED);
  } else if (!is_of(s->addrs, &p.src)) {
    agent_drop(a, REASON_WRONG_SOURCE);
  } else if (!is_of(a->addrs, &p.dst)) {
    agent_drop(a, REASON_WRONG_DESTINATION);
  } else if (!expected(a, &p)) {
    agent_drop(a, REASON_NOT_BEGUN_HERE);
  } else if (agent_udp_take(a, &p, ip)) {
    return;
  } else if (p.kind == IP_UDP && a->offload_udp && uso_join(&a->out, &p)) {
    a->counters.n_ip_out++;
  } else if (!(room = ipq_room(&a->out, len))) {
    agent_drop(a, REASON_RATE_LIMITED);
  } else {
    memcpy(room, ip, len);
    ipq_push(&a->out, len, 0, false);
  }
}

/* --- from this machine --- */

/* The packet's conversation; its context is the epoch of its service in which
 * it was last carried, 0: never. */
static struct flow *remember(struct ztna_agent *a, const struct ip_pkt *p) {
  struct flow_key key = {.proto = p->proto, .src = p->src, .dst = p->dst};
  uint32_t i = flows_find(a->flows, &key, a->now);

  if (i != FLOWS_NONE) return flows_at(a->flows, i);
  i = flows_add(a->flows, &key, a->now);
  if (i == FLOWS_NONE) {
    flows_del(a->flows, flows_oldest(a->flows, 0));
    i = flows_add(a->flows, &key, a->now);
  }
  a->counters.n_flows = flows_count(a->flows);
  return i == FLOWS_NONE ? NULL : flows_at(a->flows, i);
}

/* The following three take the packet; the reason why it could not be carried,
 * of which its sender was told, is for the caller to count. */

static enum reason refuse(struct ztna_agent *a, struct pkt *k, enum reason why,
                          enum ip_error err, uint32_t mtu) {
  agent_packet_error(a, err, mtu, pkt_data(k), k->len);
  pool_put(&a->pool, k);
  return why;
}

static enum reason send(struct ztna_agent *a, struct link *l, uint16_t context,
                        struct pkt *k) {
  size_t mtu = path_mtu(l->path);

  if (k->len > mtu)
    return refuse(a, k, REASON_PACKET_TOO_BIG, IP_ERR_TOO_BIG, (uint32_t)mtu);
  a->sweep_at = time_min(a->sweep_at, a->now + 100 * MS);
  path_send_packet(l->path, context, k, a->now);
  return REASON_NONE;
}

/* The service is open, but may take no new conversations. */
static enum reason route_open(struct ztna_agent *a, struct service *s,
                              struct flow *f, struct pkt *k) {
  enum reason why = f && !f->context ? agent_service_obstacle(s) : REASON_NONE;

  if (why) return refuse(a, k, why, agent_packet_error_of(why), 0);
  if (f) f->context = s->epoch;
  return send(a, s->link, s->context, k);
}

static enum reason route(struct ztna_agent *a, struct service *s,
                         struct flow *f, struct pkt *k) {
  const struct left *left = f ? agent_service_left(s, f->context) : NULL;

  s->used_at = a->now;
  if (left) return send(a, left->link, left->context, k);
  if (s->use == USE_OPEN && path_is_live(s->link->path))
    return route_open(a, s, f, k);
  if (s->use == USE_REFUSED && a->now < s->retry_at)
    return refuse(a, k, s->why, agent_packet_error_of(s->why), 0);
  agent_service_hold(a, s, pkt_data(k), k->len);
  pool_put(&a->pool, k);
  agent_service_want(a, s);
  return REASON_NONE;
}

static void drop_many(struct ztna_agent *a, enum reason why, size_t n) {
  a->counters.drops[why] += n;
}

/* A UDP super-packet, or one packet that lacks its checksum: as the packets
 * they will be at the other end. When one cannot be carried, nor can the rest.
 */
static void route_cut(struct ztna_agent *a, struct service *s, struct flow *f,
                      const struct ip_pkt *p, size_t size) {
  size_t n = p->payload_len ? (p->payload_len + size - 1) / size : 1;
  enum reason why = REASON_NONE;

  a->counters.n_ip_in += n - 1;
  for (size_t i = 0; i < n && !why; i++) {
    struct pkt *k = i < SEGMENTS_MAX ? pool_get(&a->pool) : NULL;

    why = REASON_RATE_LIMITED;
    if (k) {
      int len = ip_build_segment(pkt_data(k), PKT_ROOM, p, size, i);

      assert(len > 0); /* the largest was judged before */
      k->len = (uint16_t)len;
      why = route(a, s, f, k);
    }
    if (why) drop_many(a, why, n - i);
  }
}

static void route_whole(struct ztna_agent *a, struct service *s, struct flow *f,
                        const uint8_t *ip, size_t len) {
  struct pkt *k = pool_get(&a->pool);
  enum reason why = REASON_RATE_LIMITED;

  if (k) {
    memcpy(pkt_data(k), ip, len);
    k->len = (uint16_t)len;
    why = route(a, s, f, k);
  }
  if (why) agent_drop(a, why);
}

/* True when a packet of this kind can be carried; else it was answered. *f: of
 * its conversation; NULL for what comes behind a first fragment. */
static bool carried(struct ztna_agent *a, struct ip_pkt *p, const uint8_t *ip,
                    size_t len, struct flow **f) {
  *f = NULL;
  switch (p->kind) {
  case IP_UDP:
  case IP_ECHO_REQUEST:
    *f = remember(a, p);
    return true;
  case IP_FRAGMENT:
    if (p->proto != IP_PROTO_TCP && ip_first_ports(p)) *f = remember(a, p);
    return true;
  default:
    agent_drop(a, REASON_PORT_NOT_ALLOWED);
    agent_packet_error(a, IP_ERR_PROTOCOL, 0, ip, len);
    return false;
  }
}

/* The length of the largest packet that this one, maybe a super-packet, stands
 * for. TCP's super-packets leave as bytes of a stream. */
static size_t largest(const struct ip_pkt *p, const struct ztna_ip *pkt) {
  if (pkt->gso_size && p->kind == IP_TCP) return 0;
  if (pkt->gso_size && p->kind == IP_UDP && pkt->gso_size < p->payload_len)
    return (size_t)p->header_len + UDP_HEADER + pkt->gso_size;
  return pkt->len;
}

static bool is_well_formed(struct ip_pkt *p, const struct ztna_ip *pkt) {
  if (!pkt->gso_size && !pkt->partial)
    return ip_parse(p, pkt->data, pkt->len) == 0;
  return ip_parse_partial(p, pkt->data, pkt->len) == 0 &&
         (p->kind == IP_UDP || p->kind == IP_TCP);
}

void ztna_agent_ip_in(struct ztna_agent *a, uint64_t now,
                      const struct ztna_ip *pkt) {
  const uint8_t *ip = pkt->data;
  size_t len = pkt->len;
  struct service *s;
  struct flow *f;
  struct ip_pkt p;

  a->now = now;
  a->counters.n_ip_in++;
  if (!is_well_formed(&p, pkt)) {
    agent_drop(a, REASON_MALFORMED);
  } else if (!is_of(a->addrs, &p.src)) {
    agent_drop(a, REASON_WRONG_SOURCE);
  } else if (!(s = agent_service_by_addr(a, &p.dst))) {
    agent_drop(a, REASON_WRONG_DESTINATION);
    agent_packet_error(a, IP_ERR_NET, 0, ip, len);
  } else if (largest(&p, pkt) > a->mtu || largest(&p, pkt) > PKT_ROOM) {
    agent_drop(a, REASON_PACKET_TOO_BIG);
    agent_packet_error(a, IP_ERR_TOO_BIG, a->mtu, ip, len);
  } else if (p.kind == IP_TCP) {
    agent_tcp_in(a, s, &p, ip, len);
  } else if (carried(a, &p, ip, len, &f)) {
    if (pkt->gso_size || pkt->partial)
      route_cut(a, s, f, &p, pkt->gso_size ? pkt->gso_size : p.payload_len);
    else
      route_whole(a, s, f, ip, len);
  }
}
