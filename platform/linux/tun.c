/* tun.c - /dev/net/tun. */
#include "../tun.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include <ztna/err.h>

#include "../net.h"
#include "base/log.h"
#include "netlink.h"
#include "tun_offload.h"

enum {
  SMALL = 2048, /* above any tunnel's MTU */
  LARGE = 65536,
  ALIGN = 16, /* of a packet's first byte; the header lies in front */
  HEADER = sizeof(struct virtio_net_hdr),
  /* For the packets of one tun_read: two large ones, so that what a flood
   * brings is not read only to be dropped before the network takes it. */
  ROOM = 2 * (ALIGN + LARGE),
  TUN_MTU_MIN = 576,
  TUN_MTU_MAX = 1500,
  /* Packets that wait in the kernel: 12 ms at 1 Gbit/s. Super-packets are 50
   * times as large; more of them would let a flood delay all others for half a
   * second (measured), fewer would not hold the bursts of many programs. */
  QUEUE = 1000,
  QUEUE_SUPER = 250,
};

/* --- opening */

static int device_missing(int err) {
  switch (err) {
  case ENOENT:
  case ENODEV:
  case ENXIO:
    log_err("tun: /dev/net/tun is missing; load the kernel's module with"
            " `modprobe tun`, or give the container --device /dev/net/tun");
    return ZTNA_ENOENT;
  case EPERM:
  case EACCES:
    log_err("tun: may not open /dev/net/tun; run as root or give the program"
            " CAP_NET_ADMIN");
    return ZTNA_EPERM;
  default:
    log_err("tun: /dev/net/tun: %s", strerror(err));
    return ZTNA_EIO;
  }
}

static int create_failed(const char *name, int err) {
  switch (err) {
  case EPERM:
  case EACCES:
    log_err("tun: may not create %s; run as root or give the program"
            " CAP_NET_ADMIN (setcap cap_net_admin+ep)",
            name);
    return ZTNA_EPERM;
  case EBUSY:
    log_err("tun: %s is in use by a running program; stop that one or choose"
            " another name with --tun",
            name);
    return ZTNA_EEXIST;
  case EINVAL:
  case EEXIST:
    if (net_ifindex(name)) {
      log_err("tun: %s is the name of another network device; choose another"
              " one with --tun",
              name);
      return ZTNA_EEXIST;
    }
    log_err("tun: %s is not a usable device name", name);
    return ZTNA_EINVAL;
  default:
    log_err("tun: create %s: %s", name, strerror(err));
    return ZTNA_EIO;
  }
}

static bool name_ok(const char *name) {
  return strlen(name) < TUN_NAMELEN && !strpbrk(name, "/ \t\n:");
}

static bool has_headers(int fd) {
  unsigned features = 0;
  return ioctl(fd, TUNGETFEATURES, &features) == 0 && features & IFF_VNET_HDR;
}

static void ask_for_offload(struct tun *t) {
  int size = HEADER;
  if (ioctl(t->fd, TUNSETVNETHDRSZ, &size) == 0)
    t->offload = tun_offload_ask(t->fd);
  log_info("tun: %s leaves to us: checksums %s, cutting TCP %s, cutting UDP %s",
           t->name, t->offload & TUN_CSUM ? "yes" : "no",
           t->offload & TUN_TSO ? "yes" : "no",
           t->offload & TUN_USO ? "yes" : "no");
}

static int create(struct tun *t, const char *name, bool offload) {
  struct ifreq r = {.ifr_flags = IFF_TUN | IFF_NO_PI};
  t->has_header = offload && has_headers(t->fd);
  if (t->has_header) r.ifr_flags |= IFF_VNET_HDR;
  strcpy(r.ifr_name, name);
  if (ioctl(t->fd, TUNSETIFF, &r) < 0) return create_failed(name, errno);
  memcpy(t->name, r.ifr_name, TUN_NAMELEN);
  t->ifindex = (int)net_ifindex(t->name);
  if (t->has_header) ask_for_offload(t);
  return 0;
}

static void write_conf(const char *dev, const char *key, const char *value) {
  char path[128];
  snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/%s", dev, key);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return; /* no IPv6, or /proc is read-only: belt and braces */
  if (write(fd, value, strlen(value)) < 0)
    log_debug("tun: %s: %s", path, strerror(errno));
  close(fd);
}

/* A device that comes up gets a link-local address, joins groups and asks for
 * routers. None of that has a receiver here; all of it would reach the core as
 * packets from the person, and mDNS responders would add theirs. */
static int make_quiet(struct tun *t) {
  struct nl_msg m;
  write_conf(t->name, "accept_ra", "0");
  write_conf(t->name, "autoconf", "0");
  write_conf(t->name, "router_solicitations", "0");
  write_conf(t->name, "accept_redirects", "0");

  struct ifinfomsg info = {.ifi_index = t->ifindex,
                           .ifi_change = IFF_MULTICAST};
  nl_begin(&m, RTM_NEWLINK, 0, &info, sizeof(info));
  nl_put_u32(&m, IFLA_MTU, t->mtu);
  nl_put_u32(&m, IFLA_TXQLEN, t->offload & TUN_TSO ? QUEUE_SUPER : QUEUE);
  int rc = nl_once(&m);
  if (rc < 0) {
    log_err("tun: set up %s: %s", t->name, strerror(-rc));
    return ZTNA_EIO;
  }
  /* On its own: a kernel without IPv6 refuses it. */
  nl_begin(&m, RTM_NEWLINK, 0, &info, sizeof(info));
  size_t spec = nl_nest(&m, IFLA_AF_SPEC);
  size_t inet6 = nl_nest(&m, AF_INET6);
  nl_put_u8(&m, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
  nl_nest_end(&m, inet6);
  nl_nest_end(&m, spec);
  rc = nl_once(&m);
  if (rc < 0) log_debug("tun: addrgenmode of %s: %s", t->name, strerror(-rc));
  return 0;
}

int tun_open(struct tun *t, const char *name, uint32_t mtu, bool offload) {
  *t = (struct tun){.fd = -1, .mtu = mtu};
  if (!name_ok(name)) {
    log_err("tun: '%s' is not a usable device name (at most %d characters,"
            " no / or blank)",
            name, TUN_NAMELEN - 1);
    return ZTNA_EINVAL;
  }
  if (mtu < TUN_MTU_MIN || mtu > TUN_MTU_MAX) {
    log_err("tun: mtu %u is not between %d and %d", mtu, TUN_MTU_MIN,
            TUN_MTU_MAX);
    return ZTNA_EINVAL;
  }
  t->buf = malloc(ROOM); /* touched as far as packets come */
  if (!t->buf) return ZTNA_ENOMEM;
  t->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  int rc = t->fd < 0 ? device_missing(errno) : create(t, name, offload);
  if (rc == 0) rc = make_quiet(t);
  if (rc < 0) tun_close(t);
  return rc;
}

int tun_up(struct tun *t) {
  struct nl_msg m;
  struct ifinfomsg info = {
      .ifi_index = t->ifindex, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
  nl_begin(&m, RTM_NEWLINK, 0, &info, sizeof(info));
  int rc = nl_once(&m);
  if (rc == 0) return 0;
  log_err("tun: bring %s up: %s", t->name, strerror(-rc));
  return ZTNA_EIO;
}

void tun_close(struct tun *t) {
  if (t->fd >= 0) close(t->fd);
  free(t->buf);
  t->fd = -1;
  t->buf = NULL;
}

/* --- packets */

/* One packet with its header, if it has one, right in front of `data`. Its
 * length, 0 when there is none for now, ZTNA_ECLOSED. */
static ssize_t read_one(struct tun *t, uint8_t *data) {
  size_t header = t->has_header ? HEADER : 0;
  ssize_t len;
  do {
    len = read(t->fd, data - header, header + (header ? LARGE : SMALL));
  } while (len < 0 && errno == EINTR);
  if (len < 0 && errno == EAGAIN) return 0;
  return len > (ssize_t)header ? len - (ssize_t)header : ZTNA_ECLOSED;
}

static bool take(struct tun *t, struct tun_pkt *p, uint8_t *data, size_t len) {
  struct virtio_net_hdr h;
  if (t->has_header) {
    memcpy(&h, data - HEADER, HEADER);
    if (!tun_offload_read(p, &h, data, len)) {
      t->counters.rx_dropped++;
      return false;
    }
  } else {
    *p = (struct tun_pkt){.data = data, .len = (uint32_t)len};
  }
  t->counters.rx_packets++;
  t->counters.rx_bytes += len;
  return true;
}

/* Packets lie one behind the other, so that only as much memory is touched as
 * comes at once. */
int tun_read(struct tun *t, struct tun_pkt *v, int max) {
  size_t most = ALIGN + (t->has_header ? LARGE : SMALL);
  uint8_t *at = t->buf, *end = t->buf + ROOM;
  int n = 0;
  if (max > TUN_BATCH) max = TUN_BATCH;
  while (n < max && (size_t)(end - at) >= most) {
    ssize_t len = read_one(t, at + ALIGN);
    if (len < 0 && !n) return ZTNA_ECLOSED; /* device deleted or down */
    if (len <= 0) break;
    if (take(t, &v[n], at + ALIGN, (size_t)len)) n++;
    at += ALIGN + ((size_t)len + ALIGN - 1) / ALIGN * ALIGN;
  }
  return n;
}

static bool write_one(struct tun *t, const struct tun_pkt *p) {
  struct virtio_net_hdr h = {0};
  struct iovec v[2] = {{&h, HEADER}, {(void *)p->data, p->len}};
  ssize_t len;
  if (t->has_header ? !tun_offload_write(&h, p) : p->gso_size || p->partial)
    return false;
  do {
    len = t->has_header ? writev(t->fd, v, 2) : write(t->fd, p->data, p->len);
  } while (len < 0 && errno == EINTR);
  return len >= 0;
}

void tun_write(struct tun *t, const struct tun_pkt *v, int n) {
  for (int i = 0; i < n; i++) {
    if (!write_one(t, &v[i])) {
      t->counters.tx_dropped++;
      continue;
    }
    t->counters.tx_packets++;
    t->counters.tx_bytes += v[i].len;
  }
}
