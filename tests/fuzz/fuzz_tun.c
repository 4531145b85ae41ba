/* fuzz_tun.c - any virtio header in front of any bytes, as if a TUN device had
 * given them: no byte outside is touched, what is understood is written back to
 * mean the same, and UDP that is joined is what it was. */
#include <stdlib.h>
#include <string.h>

#include "../../platform/linux/tun_offload.h"
#include "fuzz.h"
#include "part/uso.h"
#include "unit/ip_samples.h"

enum { HEADER = sizeof(struct virtio_net_hdr) };

#define UDP4_HEADER 1, 5, 28, 0, 2, 0, 20, 0, 6, 0

static const uint8_t super4[] = {
    UDP4_HEADER, 0x45, 0,   0, 0x21, 0,   0,   0x40, 0,   0x40, 0x11, 0,
    0,           10,   100, 0, 2,    10,  100, 1,    9,   0x9c, 0x40, 0,
    53,          0,    13,  0, 0,    'q', 'u', 'e',  'r', 'y'};
static const uint8_t inner4[] = {1,  0, 0, 0, 0, 0, 20, 0, 2, 0, 0x45, 0, 0,
                                 28, 0, 0, 0, 0, 1, 4,  0, 0, 1, 2,    3, 4,
                                 5,  6, 7, 8, 1, 2, 3,  4, 5, 6, 7,    8};

const struct fuzz_seed fuzz_seeds[] = {{super4, sizeof(super4)},
                                       {inner4, sizeof(inner4)},
                                       {udp4, sizeof(udp4)},
                                       {udp6, sizeof(udp6)}};
const size_t n_fuzz_seeds = sizeof(fuzz_seeds) / sizeof(*fuzz_seeds);

static void check_written(const struct tun_pkt *p, uint8_t *data) {
  struct virtio_net_hdr h;
  struct tun_pkt again;
  if (!tun_offload_write(&h, p)) return;
  assert(tun_offload_read(&again, &h, data, p->len));
  assert(again.len == p->len && again.gso_size == p->gso_size);
  assert(again.partial == p->partial);
}

/* Three times the same packet, queued as answers are. */
static void check_joined(const uint8_t *data, size_t len) {
  struct ipq q;
  struct ipq_pkt k;
  struct ip_pkt p, all;
  size_t n = 0;
  if (ip_parse(&p, data, len) < 0 || p.kind != IP_UDP) return;
  assert(ipq_init(&q, 4 * (len + 16)) == 0);
  for (int i = 0; i < 3; i++) {
    if (uso_join(&q, &p)) continue;
    uint8_t *room = ipq_room(&q, len);
    assert(room);
    memcpy(room, data, len);
    ipq_push(&q, len, 0, false);
  }
  for (; ipq_pop(&q, &k); n += all.payload_len) {
    uso_finish(&k);
    assert(ip_parse_partial(&all, k.data, k.len) == 0 && all.kind == IP_UDP);
    assert(k.gso_size || k.len == len);
    assert(ztna_addr_equal(&all.src, &p.src) &&
           ztna_addr_equal(&all.dst, &p.dst));
    for (size_t at = 0; at < all.payload_len; at += p.payload_len)
      assert(memcmp(all.payload + at, p.payload, p.payload_len) == 0);
  }
  assert(n == 3 * (size_t)p.payload_len);
  ipq_done(&q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  struct virtio_net_hdr h;
  struct tun_pkt p;
  uint8_t *copy;
  check_joined(data, len);
  if (len < HEADER) return 0;
  memcpy(&h, data, HEADER);
  copy = malloc(len > HEADER ? len - HEADER : 1);
  memcpy(copy, data + HEADER, len - HEADER);
  if (tun_offload_read(&p, &h, copy, len - HEADER)) {
    assert(!p.gso_size || p.partial);
    check_written(&p, copy);
  }
  p = (struct tun_pkt){copy, (uint32_t)(len - HEADER), h.gso_size, true};
  check_written(&p, copy);
  free(copy);
  return 0;
}
