/* tun_offload.h - what a kernel leaves to be done and what may be left to it:
 * the header of virtio (struct virtio_net_hdr, in the machine's byte order) in
 * front of each packet of a TUN device opened with IFF_VNET_HDR. */
#ifndef ZTNA_PLATFORM_TUN_OFFLOAD_H
#define ZTNA_PLATFORM_TUN_OFFLOAD_H

#include <linux/virtio_net.h>

#include "../tun.h"

/* Tells the kernel to leave as much to us as it can; TUN_CSUM, TUN_TSO and
 * TUN_USO bits of what it agreed to. */
unsigned tun_offload_ask(int fd);
/* The packet behind a header. A checksum that is neither TCP's nor UDP's own
 * (that of a packet within a packet) is completed in place. False: header and
 * packet are no pair. */
bool tun_offload_read(struct tun_pkt *p, const struct virtio_net_hdr *h,
                      uint8_t *data, size_t len);
/* The header for a packet. False: it has a gso_size or is partial, and is
 * neither TCP nor UDP. */
bool tun_offload_write(struct virtio_net_hdr *h, const struct tun_pkt *p);

#endif
