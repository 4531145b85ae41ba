/* tun_offload.c - see tun_offload.h. */
#include "tun_offload.h"

#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>

#include "codec/ip.h"

#ifndef TUN_F_USO4 /* Linux 6.2 */
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

enum { TCP_HEADER = 20, TCP_SUM = 16, UDP_SUM = 6 };

/* --- what the kernel leaves to us */

static const struct {
  unsigned flags, means;
} levels[] = {
    {TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_USO4 | TUN_F_USO6,
     TUN_CSUM | TUN_TSO | TUN_USO},
    {TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6, TUN_CSUM | TUN_TSO},
    {TUN_F_CSUM, TUN_CSUM},
};

unsigned tun_offload_ask(int fd) {
  for (size_t i = 0; i < sizeof(levels) / sizeof(*levels); i++)
    if (ioctl(fd, TUNSETOFFLOAD, levels[i].flags) == 0) return levels[i].means;
  return 0;
}

/* --- headers */

struct transport {
  uint8_t proto;
  size_t at;  /* where it begins */
  size_t sum; /* of its checksum, from there */
};

/* Of TCP or UDP right behind an IP header; false: it is neither, or cut. */
static bool transport_find(struct transport *t, const uint8_t *d, size_t len) {
  if (len >= IP4_HEADER && d[0] >> 4 == 4)
    *t = (struct transport){.proto = d[9], .at = (size_t)(d[0] & 15) * 4};
  else if (len >= IP6_HEADER && d[0] >> 4 == 6)
    *t = (struct transport){.proto = d[6], .at = IP6_HEADER};
  else
    return false;
  t->sum = t->proto == IP_PROTO_TCP ? TCP_SUM : UDP_SUM;
  if (t->proto == IP_PROTO_TCP) return t->at + TCP_HEADER <= len;
  return t->proto == IP_PROTO_UDP && t->at + UDP_HEADER <= len;
}

static bool is_own_sum(const struct virtio_net_hdr *h, const uint8_t *data,
                       size_t len) {
  struct transport t;
  return transport_find(&t, data, len) && h->csum_start == t.at &&
         h->csum_offset == t.sum;
}

/* The field holds the sum of the pseudo header: the rest is added. */
static bool complete(const struct virtio_net_hdr *h, uint8_t *data,
                     size_t len) {
  size_t from = h->csum_start, at = from + h->csum_offset;
  if (at + 2 > len) return false;
  uint16_t sum =
      ip_checksum_finish(ip_checksum_add(0, data + from, len - from));
  if (!sum) sum = 0xffff; /* as UDP wants it; the same number */
  data[at] = (uint8_t)(sum >> 8);
  data[at + 1] = (uint8_t)sum;
  return true;
}

bool tun_offload_read(struct tun_pkt *p, const struct virtio_net_hdr *h,
                      uint8_t *data, size_t len) {
  uint8_t type = h->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;
  bool partial = h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM;
  *p = (struct tun_pkt){.data = data, .len = (uint32_t)len};
  if (partial && !is_own_sum(h, data, len))
    return type == VIRTIO_NET_HDR_GSO_NONE && complete(h, data, len);
  p->partial = partial;
  switch (type) {
  case VIRTIO_NET_HDR_GSO_NONE:
    return true;
  case VIRTIO_NET_HDR_GSO_TCPV4:
  case VIRTIO_NET_HDR_GSO_TCPV6:
  case VIRTIO_NET_HDR_GSO_UDP_L4:
    p->gso_size = h->gso_size;
    p->partial = true; /* whatever its checksum is, no segment has that one */
    return h->gso_size > 0;
  }
  return false;
}

static uint8_t gso_type(uint8_t version, uint8_t proto) {
  if (proto == IP_PROTO_UDP) return VIRTIO_NET_HDR_GSO_UDP_L4;
  return version == 4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6;
}

bool tun_offload_write(struct virtio_net_hdr *h, const struct tun_pkt *p) {
  struct transport t;
  *h = (struct virtio_net_hdr){0};
  if (!p->partial) return !p->gso_size;
  if (!transport_find(&t, p->data, p->len)) return false;
  h->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
  h->csum_start = (uint16_t)t.at;
  h->csum_offset = (uint16_t)t.sum;
  if (!p->gso_size) return true;
  size_t header = t.proto == IP_PROTO_TCP
                      ? (size_t)(p->data[t.at + 12] >> 4) * 4
                      : UDP_HEADER;
  h->gso_type = gso_type(p->data[0] >> 4, t.proto);
  h->gso_size = p->gso_size;
  h->hdr_len = (uint16_t)(t.at + header);
  return true;
}
