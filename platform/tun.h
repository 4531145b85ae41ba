/* tun.h - the TUN device: whole IP packets from and to this machine's kernel,
 * and, where the platform can, super-packets of up to 64 KB whose cutting and
 * checksums are left to who gets them: one system call for 50 packets. It lives
 * as long as the descriptor: when the process dies, the device, its addresses
 * and its routes are gone. */
#ifndef ZTNA_PLATFORM_TUN_H
#define ZTNA_PLATFORM_TUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  TUN_NAMELEN = 16,
  TUN_BATCH = 64, /* packets of one tun_read */
};

/* What a device leaves to us, as bits of tun.offload. */
enum {
  TUN_CSUM = 1, /* checksums */
  TUN_TSO = 2,  /* cutting of TCP */
  TUN_USO = 4,  /* cutting of UDP */
};

/* One packet, or a super-packet. gso_size: 0, or its payload is that of many
 * packets with so many bytes each, the last may have less. partial: its TCP or
 * UDP checksum is only that of the pseudo header; always set with gso_size. */
struct tun_pkt {
  const uint8_t *data;
  uint32_t len;
  uint16_t gso_size;
  bool partial;
};

struct tun_counters {
  uint64_t rx_packets, rx_bytes; /* from the kernel */
  uint64_t rx_dropped;           /* made no sense */
  uint64_t tx_packets, tx_bytes; /* to the kernel */
  uint64_t tx_dropped;           /* refused by the kernel */
};

struct tun {
  int fd;
  int ifindex;
  char name[TUN_NAMELEN];
  uint32_t mtu;
  unsigned offload; /* what the kernel agreed to */
  bool has_header;  /* of offload, in front of each packet */
  uint8_t *buf;     /* of the packets of one tun_read */
  struct tun_counters counters;
};

/* Creates the device, with mtu, not yet up and without addresses, quiet: no
 * multicast, no link-local address, no router solicitations. offload: ask for
 * it; what the kernel agreed to is in t->offload and in the log. An empty name
 * or one with %d ("ztna%d") lets the kernel choose. 0, ZTNA_EPERM (root or
 * CAP_NET_ADMIN is missing), ZTNA_ENOENT (no /dev/net/tun), ZTNA_EEXIST (the
 * name is in use), ZTNA_EINVAL (name or mtu), ZTNA_EIO; logged with what would
 * help. tun_close is fine after a failure. */
int tun_open(struct tun *t, const char *name, uint32_t mtu, bool offload);
/* From here on packets come. 0 or ZTNA_EIO, logged. */
int tun_up(struct tun *t);
void tun_close(struct tun *t);

/* Reads up to max (and TUN_BATCH) packets, or a few super-packets; their bytes
 * stay valid until the next tun_read. Returns how many, 0 when there are none
 * for now, ZTNA_ECLOSED when the device was taken away. */
int tun_read(struct tun *t, struct tun_pkt *v, int max);
/* Gives packets to the kernel; what it refuses is dropped and counted. Super-
 * packets and partial ones only to a device that was opened with offload and
 * agreed to TUN_TSO (UDP ones: TUN_USO). */
void tun_write(struct tun *t, const struct tun_pkt *v, int n);

#endif
