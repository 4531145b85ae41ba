/* udp.c - the UDP sockets of a role: made, bound, counted. Receiving is in
 * udp_recv.c, sending in udp_send.c, extra sockets are in udp_extra.c. */
#include "host/udp_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <ztna/err.h>

#include "base/log.h"

#define COUNTER(member, text)                                               \
  {                                                                         \
    .name = "ztna_udp_" #member "_total", .help = text,                     \
    .type = METRIC_COUNTER, .offset = offsetof(struct udp_counters, member) \
  }

const struct metric udp_metrics[] = {
    COUNTER(rx_packets, "UDP packets received"),
    COUNTER(rx_bytes, "UDP payload bytes received"),
    COUNTER(rx_trains, "Receives, each of one packet or one GRO train"),
    COUNTER(rx_truncated, "Receives dropped because they did not fit"),
    COUNTER(rx_errors, "Receive calls that failed"),
    COUNTER(tx_packets, "UDP packets sent"),
    COUNTER(tx_bytes, "UDP payload bytes sent"),
    COUNTER(tx_sends, "Sends, each of one packet or one GSO train"),
    COUNTER(tx_too_big, "Packets dropped as larger than the interface MTU"),
    COUNTER(tx_no_buffer, "Packets dropped because the system had no buffer"),
    COUNTER(tx_unreachable, "Packets dropped because there was no route"),
    COUNTER(tx_refused, "Packets dropped by a local packet filter"),
    COUNTER(tx_failed, "Packets dropped for another reason"),
    COUNTER(tx_blocked, "Times a send buffer was full"),
    COUNTER(gso_repeats, "Trains repeated segment by segment"),
    COUNTER(source_gone, "Sends whose local address had left the machine"),
    COUNTER(extra_opened, "Extra sockets opened, each for a hole in a NAT"),
    COUNTER(extra_closed, "Extra sockets closed"),
    COUNTER(extra_refused,
            "Packets dropped because no further socket could be opened"),
    {0},
};

/* --- life */

struct udp *udp_new(void) {
  struct udp *u = calloc(1, sizeof(*u));
  if (!u) return NULL;
  u->blocked = -1;
  u->rx_room = malloc((size_t)UDP_BATCH * RX_ROOM);
  if (!u->rx_room) {
    free(u);
    return NULL;
  }
  return u;
}

void udp_free(struct udp *u) {
  if (!u) return;
  for (int i = 0; i < u->n; i++) close(u->socks[i].fd);
  udp_extra_free(u);
  free(u->rx_room);
  free(u);
}

static int set_int(int fd, int level, int name, int value) {
  return setsockopt(fd, level, name, &value, sizeof(value));
}

/* FORCE passes net.core.rmem_max, but wants CAP_NET_ADMIN. */
void udp_sock_enlarge(const struct sock *s) {
  if (set_int(s->fd, SOL_SOCKET, SO_RCVBUFFORCE, RX_SOCKET_BUFFER) < 0)
    set_int(s->fd, SOL_SOCKET, SO_RCVBUF, RX_SOCKET_BUFFER);
  if (set_int(s->fd, SOL_SOCKET, SO_SNDBUFFORCE, TX_SOCKET_BUFFER) < 0)
    set_int(s->fd, SOL_SOCKET, SO_SNDBUF, TX_SOCKET_BUFFER);
}

/* What the protocol cannot do without; GRO alone is only speed. */
static int set_options(int fd, int family) {
  int rc = 0;
  if (family == 4) {
    rc |= set_int(fd, IPPROTO_IP, IP_PKTINFO, 1);
    rc |= set_int(fd, IPPROTO_IP, IP_RECVTOS, 1);
    rc |= set_int(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
  } else {
    rc |= set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    rc |= set_int(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    rc |= set_int(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
    rc |= set_int(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
  }
  set_int(fd, IPPROTO_UDP, UDP_GRO, 1);
  return rc;
}

static int bind_failed(const struct ztna_addr *a, int err,
                       enum log_level level) {
  char text[ZTNA_ADDR_STRLEN];
  ztna_addr_print(a, text);
  switch (err) {
  case EADDRINUSE:
    log_line(level, "udp: %s is in use by another program; choose another port",
             text);
    return ZTNA_EEXIST;
  case EADDRNOTAVAIL:
    log_line(level, "udp: %s is not an address of this machine", text);
    return ZTNA_ENOENT;
  case EAFNOSUPPORT:
    log_line(level, "udp: this machine has no IPv%d, %s is left out", a->family,
             text);
    return ZTNA_ENOENT;
  case EACCES:
  case EPERM:
    log_line(level,
             "udp: not allowed to use %s; ports below 1024 want root or"
             " CAP_NET_BIND_SERVICE",
             text);
    return ZTNA_EPERM;
  default:
    log_line(level, "udp: no socket for %s: %s", text, strerror(err));
    return ZTNA_EIO;
  }
}

int udp_sock_open(struct sock *s, const struct ztna_addr *local) {
  struct sockaddr_storage ss = {0};
  socklen_t len = (socklen_t)ztna_addr_to_sockaddr(local, &ss);
  int fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;

  *s = (struct sock){.fd = fd, .gso = true};
  s->wildcard = ztna_addr_is_unspecified(local);
  if (set_options(fd, local->family) != 0 ||
      bind(fd, (struct sockaddr *)&ss, len) < 0) {
    int err = errno;
    close(fd);
    return err;
  }
  len = sizeof(ss);
  getsockname(fd, (struct sockaddr *)&ss, &len);
  ztna_addr_from_sockaddr(&s->local, &ss);
  return 0;
}

static int bind_sock(struct udp *u, const struct ztna_addr *local,
                     enum log_level level) {
  if (local->family != 4 && local->family != 6) return ZTNA_EINVAL;
  if (u->n == UDP_MAX_SOCKETS) {
    log_line(level, "udp: no more than %d addresses", UDP_MAX_SOCKETS);
    return ZTNA_EFULL;
  }

  struct sock *s = &u->socks[u->n];
  int err = udp_sock_open(s, local);
  if (err != 0) return bind_failed(local, err, level);
  udp_sock_enlarge(s);
  return u->n++;
}

int udp_bind(struct udp *u, const struct ztna_addr *local) {
  return bind_sock(u, local, LOG_LEVEL_ERR);
}

int udp_bind_optional(struct udp *u, const struct ztna_addr *local) {
  return bind_sock(u, local, LOG_LEVEL_WARN);
}

int udp_count(const struct udp *u) { return u->n; }

int udp_fd(const struct udp *u, int socket) {
  return socket == UDP_EXTRA ? udp_extra_fd(u) : u->socks[socket].fd;
}

struct ztna_addr udp_local(const struct udp *u, int socket) {
  return u->socks[socket].local;
}

const struct udp_counters *udp_counters(const struct udp *u) {
  return &u->counters;
}

int udp_blocked(const struct udp *u) { return u->blocked; }

bool udp_network_changed(struct udp *u) {
  bool changed = u->changed;
  u->changed = false;
  return changed;
}
