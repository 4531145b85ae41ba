/* uso.c - see uso.h. While it grows a super-packet has the headers of its first
 * packet; they are mended once, when it leaves. */
#include "part/uso.h"

#include <string.h>

#include "codec/ip_wire.h"

static const uint8_t *start_of(const struct ip_pkt *udp) {
  return udp->payload - UDP_HEADER - udp->header_len;
}

/* All but lengths, checksums and IPv4's identification, which the kernel counts
 * up: it means nothing as long as nobody may fragment. */
static bool same_headers4(const uint8_t *a, const uint8_t *b) {
  return !memcmp(a, b, 2) && !memcmp(a + 6, b + 6, 4) &&
         !memcmp(a + 12, b + 12, 12);
}

static bool same_headers6(const uint8_t *a, const uint8_t *b) {
  return !memcmp(a, b, 4) && !memcmp(a + 6, b + 6, 38);
}

static bool may_join(const struct ip_pkt *p) {
  return p->version == 6 || (p->header_len == IP4_HEADER && p->df);
}

bool uso_join(struct ipq *q, const struct ip_pkt *p) {
  size_t headers = (size_t)p->header_len + UDP_HEADER, payload, size;
  const uint8_t *ip = start_of(p);
  struct ipq_pkt k;

  if (!p->payload_len || !may_join(p)) return false;
  if (!ipq_newest(q, &k) || k.len <= headers) return false;
  if (p->version == 4 ? !same_headers4(k.data, ip) : !same_headers6(k.data, ip))
    return false;
  payload = k.len - headers;
  size = k.gso_size ? k.gso_size : payload;
  if (p->payload_len > size || payload % size || payload / size >= USO_SEGMENTS)
    return false;
  return ipq_grow(q, p->payload, p->payload_len, (uint16_t)size);
}

void uso_finish(struct ipq_pkt *k) {
  bool v4 = k->data[0] >> 4 == 4;
  size_t header = v4 ? IP4_HEADER : IP6_HEADER, len = k->len - header;
  uint8_t *udp = k->data + header;

  if (!k->gso_size || k->data[v4 ? 9 : 6] != IP_PROTO_UDP) return;
  if (v4) {
    put16(k->data + 2, (uint32_t)k->len);
    put16(k->data + 10, 0);
    put16(k->data + 10,
          ip_checksum_finish(ip_checksum_add(0, k->data, header)));
  } else {
    put16(k->data + 4, (uint32_t)len);
  }
  put16(udp + 4, (uint32_t)len);
  put16(udp + 6, (uint16_t)~ip_checksum_finish(
                     ip_pseudo_sum(k->data, IP_PROTO_UDP, len)));
}
