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
#include <unistd.h>
#include <ztna/err.h>

#include "../net.h"
#include "base/log.h"
#include "netlink.h"

enum {
  TUN_ROOM = 2048, /* of a receive buffer: above any tunnel's MTU */
  TUN_MTU_MIN = 576,
  TUN_MTU_MAX = 1500,
  TUN_QUEUE = 1000, /* packets that wait in the kernel: 12 ms at 1 Gbit/s */
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

static int create(struct tun *t, const char *name) {
  struct ifreq r = {.ifr_flags = IFF_TUN | IFF_NO_PI};
  strcpy(r.ifr_name, name);
  if (ioctl(t->fd, TUNSETIFF, &r) < 0) return create_failed(name, errno);
  memcpy(t->name, r.ifr_name, TUN_NAMELEN);
  t->ifindex = (int)net_ifindex(t->name);
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
  nl_put_u32(&m, IFLA_TXQLEN, TUN_QUEUE);
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

int tun_open(struct tun *t, const char *name, uint32_t mtu) {
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
  t->buf = malloc((size_t)TUN_BATCH * TUN_ROOM);
  if (!t->buf) return ZTNA_ENOMEM;
  t->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  int rc = t->fd < 0 ? device_missing(errno) : create(t, name);
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

int tun_read(struct tun *t, struct tun_pkt *v, int max) {
  int n = 0;
  if (max > TUN_BATCH) max = TUN_BATCH;
  while (n < max) {
    uint8_t *room = t->buf + (size_t)n * TUN_ROOM;
    ssize_t len = read(t->fd, room, TUN_ROOM);
    if (len < 0 && errno == EINTR) continue;
    if (len < 0 && errno == EAGAIN) break;
    if (len <= 0) return n ? n : ZTNA_ECLOSED; /* device deleted or down */
    v[n++] = (struct tun_pkt){.data = room, .len = (uint32_t)len};
    t->counters.rx_packets++;
    t->counters.rx_bytes += (uint64_t)len;
  }
  return n;
}

void tun_write(struct tun *t, const struct tun_pkt *v, int n) {
  for (int i = 0; i < n; i++) {
    ssize_t len;
    do {
      len = write(t->fd, v[i].data, v[i].len);
    } while (len < 0 && errno == EINTR);
    if (len < 0) {
      t->counters.tx_dropped++;
      continue;
    }
    t->counters.tx_packets++;
    t->counters.tx_bytes += (uint64_t)len;
  }
}
