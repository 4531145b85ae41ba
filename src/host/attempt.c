/* attempt.c - see attempt.h. */
#include "host/attempt.h"

#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/errqueue.h>

#include "host/clock.h"

enum { ECHO_BYTES = 16, ECHO_HEADER = 8, ECHO_ROOM = 256 };

struct try {
  int fd;
  bool v6, raw;
  uint64_t begun, end_at;
  uint8_t marker[ECHO_BYTES];
};

/* --- sockets */

static void begin(struct try *t, const struct ztna_addr *to, int timeout_ms) {
  *t = (struct try){.fd = -1, .v6 = to->family == 6};
  t->begun = clock_now();
  t->end_at = t->begun + (uint64_t)timeout_ms * MS;
}

static bool open_socket(struct try *t, int type, int protocol) {
  int on = 1;

  t->fd = socket(t->v6 ? AF_INET6 : AF_INET,
                 type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
  if (t->fd < 0) return false;
  if (t->v6)
    setsockopt(t->fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof(on));
  else
    setsockopt(t->fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on));
  return true;
}

static int dial(const struct try *t, const struct ztna_addr *to) {
  struct sockaddr_storage ss = {0};
  struct ztna_addr a = *to;
  socklen_t len;

  if (t->raw) a.port = 0; /* a raw v6 socket takes it for the protocol */
  len = (socklen_t)ztna_addr_to_sockaddr(&a, &ss);
  return connect(t->fd, (struct sockaddr *)&ss, len);
}

/* False: the time is up. */
static bool wait_for(const struct try *t, short events) {
  struct pollfd p = {.fd = t->fd, .events = events};

  for (;;) {
    uint64_t now = clock_now();
    if (now >= t->end_at) return false;
    int rc = poll(&p, 1, (int)((t->end_at - now + MS - 1) / MS));
    if (rc > 0) return true;
    if (rc < 0 && errno != EINTR) return false;
  }
}

static struct attempt over(struct try *t, enum attempt_end end, int err) {
  struct attempt a = {.end = end, .took = clock_now() - t->begun, .err = err};

  if (t->fd >= 0) close(t->fd);
  return a;
}

/* --- errors */

static enum attempt_end end_of_errno(int err) {
  switch (err) {
  case ECONNREFUSED:
    return ATTEMPT_REFUSED;
  case ETIMEDOUT:
    return ATTEMPT_SILENT;
  case EMFILE:
  case ENFILE:
  case ENOBUFS:
  case ENOMEM:
  case EPERM:
    return ATTEMPT_IMPOSSIBLE;
  case EACCES: /* of ICMPv6, 1: administratively prohibited */
    return ATTEMPT_PROHIBITED;
  default:
    return ATTEMPT_UNREACHABLE;
  }
}

static enum attempt_end end_of_icmp(const struct sock_extended_err *e) {
  if (e->ee_origin == SO_EE_ORIGIN_ICMP && e->ee_type == ICMP_DEST_UNREACH) {
    if (e->ee_code == ICMP_PORT_UNREACH) return ATTEMPT_REFUSED;
    if (e->ee_code == ICMP_NET_ANO || e->ee_code == ICMP_HOST_ANO ||
        e->ee_code == ICMP_PKT_FILTERED)
      return ATTEMPT_PROHIBITED;
  }
  if (e->ee_origin == SO_EE_ORIGIN_ICMP6 && e->ee_type == ICMP6_DST_UNREACH) {
    if (e->ee_code == ICMP6_DST_UNREACH_NOPORT) return ATTEMPT_REFUSED;
    if (e->ee_code == ICMP6_DST_UNREACH_ADMIN) return ATTEMPT_PROHIBITED;
  }
  return end_of_errno((int)e->ee_errno);
}

/* What the queue of errors holds; err: what the socket itself said. */
static enum attempt_end end_of_queue(const struct try *t, int err) {
  char data[ECHO_ROOM], control[512];
  struct iovec v = {data, sizeof(data)};
  struct msghdr m = {.msg_iov = &v,
                     .msg_iovlen = 1,
                     .msg_control = control,
                     .msg_controllen = sizeof(control)};

  if (recvmsg(t->fd, &m, MSG_ERRQUEUE) < 0) return end_of_errno(err);
  for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
    struct sock_extended_err e;
    if ((c->cmsg_level != IPPROTO_IP || c->cmsg_type != IP_RECVERR) &&
        (c->cmsg_level != IPPROTO_IPV6 || c->cmsg_type != IPV6_RECVERR))
      continue;
    memcpy(&e, CMSG_DATA(c), sizeof(e));
    return end_of_icmp(&e);
  }
  return end_of_errno(err);
}

/* --- tries */

struct attempt attempt_tcp(const struct ztna_addr *to, int timeout_ms) {
  struct try t;
  int err = 0;
  socklen_t len = sizeof(err);

  begin(&t, to, timeout_ms);
  if (!open_socket(&t, SOCK_STREAM, 0))
    return over(&t, ATTEMPT_IMPOSSIBLE, errno);
  if (dial(&t, to) < 0) {
    if (errno != EINPROGRESS) return over(&t, end_of_errno(errno), errno);
    if (!wait_for(&t, POLLOUT)) return over(&t, ATTEMPT_SILENT, 0);
    getsockopt(t.fd, SOL_SOCKET, SO_ERROR, &err, &len);
  }
  return over(&t, err ? end_of_errno(err) : ATTEMPT_ANSWERED, err);
}

struct attempt attempt_udp(const struct ztna_addr *to, int timeout_ms) {
  struct try t;
  char room[1];

  begin(&t, to, timeout_ms);
  if (!open_socket(&t, SOCK_DGRAM, 0))
    return over(&t, ATTEMPT_IMPOSSIBLE, errno);
  if (dial(&t, to) < 0 || send(t.fd, "", 0, 0) < 0)
    return over(&t, end_of_errno(errno), errno);
  while (wait_for(&t, POLLIN)) {
    if (recv(t.fd, room, sizeof(room), 0) >= 0)
      return over(&t, ATTEMPT_ANSWERED, 0);
    int err = errno;
    if (err == EAGAIN || err == EINTR) continue;
    return over(&t, end_of_queue(&t, err), err);
  }
  return over(&t, ATTEMPT_SILENT, 0);
}

/* --- the echo */

static uint16_t checksum(const uint8_t *p, size_t len) {
  uint32_t sum = 0;

  for (size_t i = 0; i + 1 < len; i += 2)
    sum += (uint32_t)(p[i] << 8 | p[i + 1]);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return (uint16_t)~sum;
}

static bool open_echo(struct try *t) {
  int protocol = t->v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;

  if (open_socket(t, SOCK_DGRAM, protocol)) return true;
  t->raw = true;
  return open_socket(t, SOCK_RAW, protocol);
}

/* The kernel puts a ping socket's own number and the checksum into it, but for
 * the checksum of a raw v4 one. */
static int send_echo(struct try *t) {
  uint8_t out[ECHO_HEADER + ECHO_BYTES] = {0};

  rng_fill(&clock_rng, t->marker, sizeof(t->marker));
  out[0] = t->v6 ? ICMP6_ECHO_REQUEST : ICMP_ECHO;
  memcpy(out + 4, t->marker, 2); /* the number; 6: the sequence, 0 */
  memcpy(out + ECHO_HEADER, t->marker, ECHO_BYTES);
  uint16_t sum = t->v6 ? 0 : checksum(out, sizeof(out));
  out[2] = (uint8_t)(sum >> 8);
  out[3] = (uint8_t)sum;
  return send(t->fd, out, sizeof(out), 0) < 0 ? -1 : 0;
}

/* A raw v4 socket shows the IP header, too. */
static bool is_answer(const struct try *t, const uint8_t *p, size_t len) {
  size_t skip = t->raw && !t->v6 && len ? (size_t)(p[0] & 15) * 4 : 0;

  if (len < skip + ECHO_HEADER + ECHO_BYTES) return false;
  p += skip;
  return p[0] == (t->v6 ? ICMP6_ECHO_REPLY : ICMP_ECHOREPLY) &&
         !memcmp(p + ECHO_HEADER, t->marker, ECHO_BYTES);
}

struct attempt attempt_echo(const struct ztna_addr *to, int timeout_ms) {
  struct try t;
  uint8_t room[ECHO_ROOM];

  begin(&t, to, timeout_ms);
  if (!open_echo(&t)) return over(&t, ATTEMPT_IMPOSSIBLE, errno);
  if (dial(&t, to) < 0 || send_echo(&t) < 0)
    return over(&t, end_of_errno(errno), errno);
  while (wait_for(&t, POLLIN)) {
    ssize_t n = recv(t.fd, room, sizeof(room), 0);
    if (n >= 0 && is_answer(&t, room, (size_t)n))
      return over(&t, ATTEMPT_ANSWERED, 0);
    int err = errno;
    if (n >= 0 || err == EAGAIN || err == EINTR) continue;
    return over(&t, end_of_queue(&t, err), err);
  }
  return over(&t, ATTEMPT_SILENT, 0);
}

/* --- routes */

struct ztna_addr attempt_source(const struct ztna_addr *to) {
  struct sockaddr_storage ss = {0};
  struct ztna_addr a = *to, from = {0};
  socklen_t len = sizeof(ss);
  struct try t;

  begin(&t, to, 0);
  if (!a.port) a.port = 9; /* any; nothing is sent */
  if (open_socket(&t, SOCK_DGRAM, 0) && dial(&t, &a) == 0 &&
      getsockname(t.fd, (struct sockaddr *)&ss, &len) == 0)
    ztna_addr_from_sockaddr(&from, &ss);
  if (t.fd >= 0) close(t.fd);
  from.port = 0;
  return from;
}
