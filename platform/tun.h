/* tun.h - the TUN device: whole IP packets from and to this machine's kernel.
 * It lives as long as the descriptor: when the process dies, the device, its
 * addresses and its routes are gone. */
#ifndef ZTNA_PLATFORM_TUN_H
#define ZTNA_PLATFORM_TUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  TUN_NAMELEN = 16,
  TUN_BATCH = 64, /* packets of one tun_read */
};

/* One packet. gso_size is 0: a single packet. (Super-packets, which need
 * IFF_VNET_HDR, will carry their segment size here.) */
struct tun_pkt {
  const uint8_t *data;
  uint32_t len;
  uint16_t gso_size;
};

struct tun_counters {
  uint64_t rx_packets, rx_bytes; /* from the kernel */
  uint64_t tx_packets, tx_bytes; /* to the kernel */
  uint64_t tx_dropped;           /* refused by the kernel */
};

struct tun {
  int fd;
  int ifindex;
  char name[TUN_NAMELEN];
  uint32_t mtu;
  uint8_t *buf; /* TUN_BATCH receive buffers */
  struct tun_counters counters;
};

/* Creates the device, with mtu, not yet up and without addresses, quiet: no
 * multicast, no link-local address, no router solicitations. An empty name or
 * one with %d ("ztna%d") lets the kernel choose. 0, ZTNA_EPERM (root or
 * CAP_NET_ADMIN is missing), ZTNA_ENOENT (no /dev/net/tun), ZTNA_EEXIST (the
 * name is in use), ZTNA_EINVAL (name or mtu), ZTNA_EIO; logged with what would
 * help. tun_close is fine after a failure. */
int tun_open(struct tun *t, const char *name, uint32_t mtu);
/* From here on packets come. 0 or ZTNA_EIO, logged. */
int tun_up(struct tun *t);
void tun_close(struct tun *t);

/* Reads up to max (and TUN_BATCH) packets; their bytes stay valid until the
 * next tun_read. Returns how many, 0 when there are none for now, ZTNA_ECLOSED
 * when the device was taken away. */
int tun_read(struct tun *t, struct tun_pkt *v, int max);
/* Gives packets to the kernel; what it refuses is dropped and counted. */
void tun_write(struct tun *t, const struct tun_pkt *v, int n);

#endif
