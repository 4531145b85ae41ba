/* stack_ip.c - what lwIP's TCP takes for its IP layer: packets come and go
 * whole, any address is ours, and there is one way out. So none of lwIP's own
 * IP code, with its fragments, extension headers and neighbours, is linked. */
#include "stack/stack_int.h"

#include <string.h>

#include "base/map.h"
#include "lwip/ip.h"
#include "lwip/nd6.h"
#include "stack/lwip_hooks.h"

struct ip_globals ip_data;
const ip_addr_t ip_addr_any = IPADDR4_INIT(IPADDR_ANY);
const ip_addr_t ip_addr_any_type = IPADDR_ANY_TYPE_INIT;

static struct netif only; /* its mtu is all that is read of it */

/* --- in --- */

static void addr_read(ip_addr_t *a, uint8_t version, const uint8_t *bytes) {
  memset(a, 0, sizeof(*a));
  if (version == 4) {
    memcpy(&ip_2_ip4(a)->addr, bytes, 4);
    IP_SET_TYPE_VAL(*a, IPADDR_TYPE_V4);
  } else {
    memcpy(ip_2_ip6(a)->addr, bytes, 16);
    IP_SET_TYPE_VAL(*a, IPADDR_TYPE_V6);
  }
}

static void tuple_read(struct segment *g, const uint8_t *ip) {
  size_t at = g->version == 4 ? 12 : 8, n = g->version == 4 ? 4 : 16;

  memset(g->tuple, 0, sizeof(g->tuple));
  g->tuple[0] = g->version;
  memcpy(g->tuple + 1, ip + at, n);
  memcpy(g->tuple + 17, ip + at + n, n);
  memcpy(g->tuple + 33, g->head, 4); /* both ports */
  addr_read(&g->src, g->version, ip + at);
  addr_read(&g->dst, g->version, ip + at + n);
}

bool segment_read(struct segment *g, const uint8_t *ip, size_t len) {
  struct ip_pkt p;

  if (len > UINT16_MAX || !ip_read_header(&p, ip, len) || p.len != len ||
      p.kind != IP_OTHER || p.proto != IP_PROTO_TCP ||
      len - p.header_len < TCP_HLEN)
    return false;
  ip += p.header_len;
  g->head_len = (size_t)(ip[12] >> 4) * 4;
  if (g->head_len < TCP_HLEN || g->head_len > len - p.header_len) return false;
  memcpy(g->head, ip, g->head_len);
  g->payload = ip + g->head_len;
  g->payload_len = (uint16_t)(len - p.header_len - g->head_len);
  g->flags = ip[13];
  g->version = p.version;
  tuple_read(g, ip - p.header_len);
  return !ip_addr_isany(&g->src) && !ip_addr_isany(&g->dst) &&
         !ip_addr_ismulticast(&g->src) && !ip_addr_ismulticast(&g->dst) &&
         !ip_addr_isbroadcast(&g->src, &only);
}

uint64_t segment_key(const struct stack *s, const struct segment *g) {
  uint64_t key = siphash(s->key, g->tuple, sizeof(g->tuple));

  return key ? key : 1;
}

static void keep(struct pbuf *p) { /* the bytes are lent */
}

void segment_feed(struct segment *g, bool options) {
  struct pbuf_custom head, payload;
  struct pbuf *p;

  if (!options) {
    g->head_len = TCP_HLEN;
    g->head[12] = TCP_HLEN / 4 << 4;
  }
  head.custom_free_function = payload.custom_free_function = keep;
  p = pbuf_alloced_custom(PBUF_RAW, (u16_t)g->head_len, PBUF_REF, &head,
                          g->head, (u16_t)g->head_len);
  if (g->payload_len)
    pbuf_cat(p,
             pbuf_alloced_custom(PBUF_RAW, g->payload_len, PBUF_REF, &payload,
                                 (void *)g->payload, g->payload_len));
  ip_data = (struct ip_globals){
      .current_netif = &only,
      .current_input_netif = &only,
      .current_iphdr_src = g->src,
      .current_iphdr_dest = g->dst,
  };
  tcp_input(p, &only);
}

/* --- out --- */

static size_t write_header(uint8_t *b, const ip_addr_t *src,
                           const ip_addr_t *dst, size_t transport_len) {
  if (IP_IS_V6(dst)) {
    memset(b, 0, IP6_HEADER);
    b[0] = 0x60;
    put16(b + 4, (uint32_t)transport_len);
    b[6] = IP_PROTO_TCP;
    b[7] = TCP_TTL;
    memcpy(b + 8, ip_2_ip6(src)->addr, 16);
    memcpy(b + 24, ip_2_ip6(dst)->addr, 16);
    return IP6_HEADER;
  }
  memset(b, 0, IP4_HEADER);
  b[0] = 0x45;
  put16(b + 2, (uint32_t)(IP4_HEADER + transport_len));
  b[6] = 0x40; /* don't fragment, so it needs no identification (RFC 6864) */
  b[8] = TCP_TTL;
  b[9] = IP_PROTO_TCP;
  memcpy(b + 12, &ip_2_ip4(src)->addr, 4);
  memcpy(b + 16, &ip_2_ip4(dst)->addr, 4);
  put16(b + 10, ip_checksum_finish(ip_checksum_add(0, b, IP4_HEADER)));
  return IP4_HEADER;
}

static void write_checksum(uint8_t *pkt, size_t header, size_t transport_len) {
  uint64_t sum = ip_pseudo_sum(pkt, IP_PROTO_TCP, transport_len);
  uint8_t *tcp = pkt + header;

  put16(tcp + 16, 0);
  if (turn_now.stack->cfg.offload)
    put16(tcp + 16, (uint16_t)~ip_checksum_finish(sum));
  else
    put16(tcp + 16,
          ip_checksum_finish(ip_checksum_add(sum, tcp, transport_len)));
}

/* No room is no loss: lwIP keeps the segment for the next tcp_output. */
static err_t output(struct pbuf *p, const ip_addr_t *src,
                    const ip_addr_t *dst) {
  const struct stack_config *cfg = &turn_now.stack->cfg;
  struct stack_conn *c = turn_now.conn;
  size_t header = IP_IS_V6(dst) ? IP6_HEADER : IP4_HEADER, payload;
  struct stack_out o = {.len = header + p->tot_len};
  uint8_t *b = cfg->ops->room(cfg->ud, o.len);

  if (!b) {
    if (c) node_move(&turn_now.stack->stalled, &c->stalled);
    return ERR_MEM;
  }
  write_header(b, src, dst, p->tot_len);
  pbuf_copy_partial(p, b + header, p->tot_len, 0);
  write_checksum(b, header, p->tot_len);
  payload = p->tot_len - (size_t)(b[header + 12] >> 4) * 4;
  if (c && payload > c->mss) o.gso_size = c->mss;
  cfg->ops->out(cfg->ud, &o);
  return ERR_OK;
}

void segment_ack(const struct segment *g, uint32_t seq, uint32_t ack) {
  const struct stack_config *cfg = &turn_now.stack->cfg;
  size_t header = g->version == 6 ? IP6_HEADER : IP4_HEADER;
  struct stack_out o = {.len = header + TCP_HLEN};
  uint8_t *b = cfg->ops->room(cfg->ud, o.len), *tcp;

  if (!b) return; /* its FIN comes again */
  write_header(b, &g->dst, &g->src, TCP_HLEN);
  tcp = b + header;
  memset(tcp, 0, TCP_HLEN);
  memcpy(tcp, g->tuple + 35, 2);
  memcpy(tcp + 2, g->tuple + 33, 2);
  put32(tcp + 4, seq);
  put32(tcp + 8, ack);
  tcp[12] = TCP_HLEN / 4 << 4;
  tcp[13] = TCP_ACK;
  put16(tcp + 14, TCP_WND >> TCP_RCV_SCALE);
  write_checksum(b, header, TCP_HLEN);
  cfg->ops->out(cfg->ud, &o);
}

/* --- what lwIP links against --- */

static struct netif *route(void) {
  only.mtu = turn_now.stack->cfg.mtu;
  return &only;
}

struct netif *ip4_route(const ip4_addr_t *dst) {
  return route();
}

struct netif *ip6_route(const ip6_addr_t *src, const ip6_addr_t *dst) {
  return route();
}

struct netif *netif_get_by_index(u8_t index) {
  return route();
}

u16_t nd6_get_destination_mtu(const ip6_addr_t *dst, struct netif *netif) {
  return turn_now.stack->cfg.mtu;
}

/* Never asked: a connection has its address from its SYN. */
const ip_addr_t *ip6_select_source_address(struct netif *netif,
                                           const ip6_addr_t *dst) {
  return NULL;
}

u8_t ip4_addr_isbroadcast_u32(u32_t addr, const struct netif *netif) {
  return addr == IPADDR_BROADCAST;
}

err_t ip4_output_if(struct pbuf *p, const ip4_addr_t *src,
                    const ip4_addr_t *dst, u8_t ttl, u8_t tos, u8_t proto,
                    struct netif *netif) {
  ip_addr_t from, to;

  ip_addr_copy_from_ip4(from, *src);
  ip_addr_copy_from_ip4(to, *dst);
  return output(p, &from, &to);
}

err_t ip6_output_if(struct pbuf *p, const ip6_addr_t *src,
                    const ip6_addr_t *dst, u8_t hop_limit, u8_t tclass,
                    u8_t next_header, struct netif *netif) {
  ip_addr_t from, to;

  ip_addr_copy_from_ip6(from, *src);
  ip_addr_copy_from_ip6(to, *dst);
  return output(p, &from, &to);
}

static void addr_write(uint8_t *to, const ip_addr_t *a) {
  if (IP_IS_V6(a))
    memcpy(to, ip_2_ip6(a)->addr, 16);
  else
    memcpy(to, &ip_2_ip4(a)->addr, 4);
}

/* RFC 6528: a clock of about 4 us, moved by a hash of who talks to whom. */
u32_t stack_isn(const ip_addr_t *local, u16_t local_port,
                const ip_addr_t *remote, u16_t remote_port) {
  uint8_t tuple[TUPLE_LEN] = {IP_IS_V6(local) ? 6 : 4};

  addr_write(tuple + 1, remote);
  addr_write(tuple + 17, local);
  put16(tuple + 33, remote_port);
  put16(tuple + 35, local_port);
  return (u32_t)(siphash(turn_now.stack->key, tuple, sizeof(tuple)) +
                 (turn_now.stack->now >> 12));
}

/* stack_timer.c asks after every call instead. */
void tcp_timer_needed(void) {}
