/* agent_udp.c - UDP of programs without a TUN: their datagrams become inner
 * packets from the agent's own address, with a source port for each of the
 * skin's numbers, and answers to those ports go back to the skin. They take the
 * same way, and pass the same checks, as packets of a TUN. */
#include <stdlib.h>
#include <string.h>
#include <ztna/err.h>

#include "codec/ip_frag.h"
#include "part/reass.h"
#include "role/agent_local.h"

enum {
  /* Above what kernels give to programs by themselves (32768 to 60999), so that
   * a TUN beside this meets no port twice. */
  PORT_BASE = 65536 - ZTNA_AGENT_UDP_MAX,
  DATA_MAX = 65535 - IP4_HEADER - UDP_HEADER,
  QUEUE = 512 * 1024,
  REASS = 128 * 1024,
  FRAGMENTED = 16,
};

struct agent_udp {
  struct ztna_addr to[ZTNA_AGENT_UDP_MAX]; /* of each number; family 0: free */
  struct ipq answers;                      /* number (4 bytes), data */
  struct reass *reass;
  struct fragmented { /* answers that came in pieces so far, for programs here
                       */
    struct ztna_addr src, dst;
    uint32_t id;
    uint64_t until;
  } fragmented[FRAGMENTED];
  unsigned next_fragmented;
  uint16_t frag_id;
  uint8_t whole[65535], piece[PKT_ROOM];
};

static struct agent_udp *table_of(struct ztna_agent *a) {
  struct agent_udp *t = a->udp ? a->udp : calloc(1, sizeof(*t));

  if (a->udp || !t) return t;
  t->reass = reass_new(REASS);
  if (!t->reass || ipq_init(&t->answers, QUEUE) < 0) {
    reass_free(t->reass);
    free(t);
    return NULL;
  }
  return a->udp = t;
}

void agent_udp_free(struct ztna_agent *a) {
  if (!a->udp) return;
  ipq_done(&a->udp->answers);
  reass_free(a->udp->reass);
  free(a->udp);
  a->udp = NULL;
}

/* --- out */

static void send_cut(struct ztna_agent *a, size_t len) {
  struct agent_udp *t = a->udp;
  struct ip_cut c = {
      .pkt = t->whole, .len = len, .mtu = a->mtu, .id = ++t->frag_id};
  struct ztna_ip ip = {.data = t->piece};

  while ((ip.len = ip_cut_next(&c, t->piece))) ztna_agent_ip_in(a, a->now, &ip);
}

int ztna_agent_udp_send(struct ztna_agent *a, uint64_t now, uint32_t local,
                        const char *service, uint16_t port, const uint8_t *data,
                        size_t len) {
  struct service *s = agent_service_named(a, service);
  struct ztna_addr src, dst;
  struct agent_udp *t;
  int k, n;

  a->now = now;
  if (local >= ZTNA_AGENT_UDP_MAX) return ZTNA_EFULL;
  if (len > DATA_MAX) return ZTNA_ESIZE;
  if (!s || !port) return ZTNA_ENOENT;
  k = s->addrs[0].family ? 0 : 1;
  if (ztna_addr_parse(&dst, service) == 0) k = dst.family == 6;
  dst = s->addrs[k];
  src = a->addrs[k];
  if (!dst.family || !src.family) return ZTNA_ENOENT;
  if (!(t = table_of(a))) return ZTNA_EFULL;
  dst.port = port;
  src.port = (uint16_t)(PORT_BASE + local);
  t->to[local] = dst;
  n = ip_build_udp(t->whole, sizeof(t->whole), &src, &dst, 0, data, len);
  if (n < 0) return ZTNA_ESIZE;
  if (n <= a->mtu)
    ztna_agent_ip_in(a, now,
                     &(struct ztna_ip){.data = t->whole, .len = (size_t)n});
  else
    send_cut(a, (size_t)n);
  return 0;
}

void ztna_agent_udp_forget(struct ztna_agent *a, uint32_t local) {
  if (a->udp && local < ZTNA_AGENT_UDP_MAX)
    memset(&a->udp->to[local], 0, sizeof(a->udp->to[local]));
}

/* --- in */

/* The number whose conversation this is; ZTNA_AGENT_UDP_MAX: none. mine and
 * theirs: the ends of it. */
static uint32_t local_of(const struct agent_udp *t,
                         const struct ztna_addr *mine,
                         const struct ztna_addr *theirs) {
  uint32_t local = (uint32_t)mine->port - PORT_BASE; /* below: a large one */

  if (mine->port < PORT_BASE || !ztna_addr_equal(&t->to[local], theirs))
    return ZTNA_AGENT_UDP_MAX;
  return local;
}

static void answer(struct ztna_agent *a, uint32_t local,
                   const struct ip_pkt *p) {
  uint8_t *room = ipq_room(&a->udp->answers, 4 + (size_t)p->payload_len);

  if (!room) {
    agent_drop(a, REASON_RATE_LIMITED);
    return;
  }
  memcpy(room, &local, 4);
  memcpy(room + 4, p->payload, p->payload_len);
  ipq_push(&a->udp->answers, 4 + (size_t)p->payload_len, 0, false);
}

static bool is_known(const struct ztna_agent *a, const struct ip_pkt *p) {
  for (int i = 0; i < FRAGMENTED; i++) {
    const struct fragmented *f = &a->udp->fragmented[i];

    if (a->now < f->until && f->id == p->frag_id &&
        ztna_addr_same_ip(&f->src, &p->src) &&
        ztna_addr_same_ip(&f->dst, &p->dst))
      return true;
  }
  return false;
}

/* Only a first fragment tells the port. */
static bool take_fragment(struct ztna_agent *a, struct ip_pkt p,
                          const uint8_t *ip) {
  struct agent_udp *t = a->udp;
  uint32_t local;
  int n;

  if (ip_first_ports(&p)) {
    if (local_of(t, &p.dst, &p.src) == ZTNA_AGENT_UDP_MAX) return false;
    t->fragmented[t->next_fragmented++ % FRAGMENTED] = (struct fragmented){
        .src = p.src, .dst = p.dst, .id = p.frag_id, .until = a->now + 2 * SEC};
  } else if (!is_known(a, &p)) {
    return false;
  }
  n = reass_put(t->reass, &p, ip, a->now, &ip);
  if (n < 0) agent_drop(a, REASON_MALFORMED);
  if (n <= 0) return true;
  if (ip_parse(&p, ip, (size_t)n) < 0 || p.kind != IP_UDP) {
    agent_drop(a, REASON_MALFORMED);
    return true;
  }
  local = local_of(t, &p.dst, &p.src);
  if (local < ZTNA_AGENT_UDP_MAX) answer(a, local, &p);
  return true;
}

bool agent_udp_take(struct ztna_agent *a, const struct ip_pkt *p,
                    const uint8_t *ip) {
  uint32_t local;

  if (!a->udp) return false;
  switch (p->kind) {
  case IP_UDP:
    local = local_of(a->udp, &p->dst, &p->src);
    if (local == ZTNA_AGENT_UDP_MAX) return false;
    answer(a, local, p);
    return true;
  case IP_FRAGMENT:
    return p->proto == IP_PROTO_UDP && take_fragment(a, *p, ip);
  case IP_ICMP_ERROR: /* the program asks again, or gives up */
    return p->inner_proto == IP_PROTO_UDP &&
           local_of(a->udp, &p->inner_src, &p->inner_dst) < ZTNA_AGENT_UDP_MAX;
  default:
    return false;
  }
}

bool ztna_agent_udp_next(struct ztna_agent *a, uint32_t *local,
                         const uint8_t **data, size_t *len) {
  struct ipq_pkt k;

  if (!a->udp || !ipq_pop(&a->udp->answers, &k)) return false;
  memcpy(local, k.data, 4);
  *data = k.data + 4;
  *len = k.len - 4;
  return true;
}
