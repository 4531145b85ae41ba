/* forward_udp.c - see forward_udp.h. */
#include "host/forward_udp.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include <ztna/err.h>

#include "base/heap.h"
#include "base/log.h"
#include "base/map.h"
#include "base/time.h"
#include "host/clock.h"
#include "host/socks5.h"

#define IDLE_AFTER (120 * SEC) /* RFC 4787, REQ-5 */

enum {
  PORTS_MAX = 128,
  RUN_EVENTS = 16,
  RUN_BATCH = 64, /* datagrams of one socket per wake-up */
  DATAGRAM_MAX = 65535,
};

struct port {
  int fd; /* -1: free */
  bool socks;
  struct ztna_addr client; /* socks: its address; its port with the first */
  struct forward_rule rule;
};

struct key { /* zeroed: compared as bytes */
  struct ztna_addr from;
  char service[64];
  uint32_t port; /* index */
  uint32_t to;   /* the service's */
};

struct peer {
  struct heap_node node;
  struct key key;
  uint32_t number;
  uint64_t used_at;
  struct socks5_message header; /* socks: what its answers come from */
};

struct forward_udp {
  struct ztna_agent *agent;
  int epoll_fd;
  struct port ports[PORTS_MAX];
  struct map map; /* key -> peer */
  struct heap heap;
  struct peer *peers[ZTNA_AGENT_UDP_MAX];
  uint32_t next;
  struct log_limit unknown;
  struct forward_udp_counters counters;
  uint8_t room[DATAGRAM_MAX];
};

#define METRIC(member, metric, kind, text)                          \
  {                                                                 \
    .name = "ztna_forward_udp_" metric, .help = text, .type = kind, \
    .offset = offsetof(struct forward_udp_counters, member)         \
  }

const struct metric forward_udp_metrics[] = {
    METRIC(peers, "peers", METRIC_GAUGE,
           "Programs and services that talk by UDP without a TUN"),
    METRIC(associations, "associations", METRIC_GAUGE,
           "UDP associations of SOCKS clients"),
    METRIC(out, "out_packets_total", METRIC_COUNTER,
           "Datagrams of programs to services"),
    METRIC(in, "in_packets_total", METRIC_COUNTER,
           "Datagrams of services to programs"),
    METRIC(malformed, "malformed_total", METRIC_COUNTER,
           "Datagrams dropped: no SOCKS header, or a fragment"),
    METRIC(foreign, "foreign_total", METRIC_COUNTER,
           "Datagrams dropped: not from the SOCKS client"),
    METRIC(unknown, "unknown_total", METRIC_COUNTER,
           "Datagrams dropped: no such service, or no relay yet"),
    METRIC(full, "full_total", METRIC_COUNTER,
           "Datagrams dropped: a table or buffer was full"),
    {0},
};

const struct forward_udp_counters *
forward_udp_counters(const struct forward_udp *u) {
  return &u->counters;
}

/* --- life */

struct forward_udp *forward_udp_new(struct ztna_agent *agent) {
  struct forward_udp *u = calloc(1, sizeof(*u));
  if (!u) return NULL;
  u->agent = agent;
  map_init(&u->map, sizeof(struct key), ZTNA_AGENT_UDP_MAX, &clock_rng);
  for (int i = 0; i < PORTS_MAX; i++) u->ports[i].fd = -1;
  u->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (u->epoll_fd >= 0) return u;
  forward_udp_free(u);
  return NULL;
}

static void peer_free(struct forward_udp *u, struct peer *p) {
  heap_del(&u->heap, &p->node);
  map_del(&u->map, &p->key);
  u->peers[p->number] = NULL;
  u->counters.peers--;
  ztna_agent_udp_forget(u->agent, p->number);
  free(p);
}

void forward_udp_free(struct forward_udp *u) {
  if (!u) return;
  for (int i = 0; i < ZTNA_AGENT_UDP_MAX; i++)
    if (u->peers[i]) peer_free(u, u->peers[i]);
  for (int i = 0; i < PORTS_MAX; i++)
    if (u->ports[i].fd >= 0) close(u->ports[i].fd);
  if (u->epoll_fd >= 0) close(u->epoll_fd);
  heap_done(&u->heap);
  map_done(&u->map);
  free(u);
}

int forward_udp_fd(const struct forward_udp *u) { return u->epoll_fd; }

/* --- ports */

static int bind_failed(int fd, int err) {
  if (fd >= 0) close(fd);
  switch (err) {
  case EADDRINUSE:
    return ZTNA_EEXIST;
  case EACCES:
  case EPERM:
    return ZTNA_EPERM;
  case EADDRNOTAVAIL:
  case EAFNOSUPPORT:
    return ZTNA_ENOENT;
  case EMFILE:
  case ENFILE:
    return ZTNA_EFULL;
  default:
    return ZTNA_EIO;
  }
}

static int open_port(struct forward_udp *u, const struct ztna_addr *at, int i) {
  struct sockaddr_storage ss = {0};
  socklen_t len = (socklen_t)ztna_addr_to_sockaddr(at, &ss);
  struct epoll_event ev = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
  int fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  int on = 1;
  if (fd < 0) return bind_failed(fd, errno);
  if (at->family == 6)
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
  if (bind(fd, (struct sockaddr *)&ss, len) < 0 ||
      epoll_ctl(u->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
    return bind_failed(fd, errno);
  u->ports[i] = (struct port){.fd = fd};
  return 0;
}

static int free_port(const struct forward_udp *u) {
  for (int i = 0; i < PORTS_MAX; i++)
    if (u->ports[i].fd < 0) return i;
  return ZTNA_EFULL;
}

int forward_udp_bind(struct forward_udp *u, const struct forward_rule *rule) {
  int i = free_port(u), rc = i < 0 ? i : open_port(u, &rule->at, i);
  if (rc < 0) return rc;
  u->ports[i].rule = *rule;
  return 0;
}

int forward_udp_associate(struct forward_udp *u, const struct ztna_addr *local,
                          const struct ztna_addr *peer,
                          struct ztna_addr *bound) {
  struct sockaddr_storage ss = {0};
  socklen_t len = sizeof(ss);
  struct ztna_addr at = *local;
  int i = free_port(u), rc;
  at.port = 0;
  rc = i < 0 ? i : open_port(u, &at, i);
  if (rc < 0) return rc;
  if (getsockname(u->ports[i].fd, (struct sockaddr *)&ss, &len) == 0)
    ztna_addr_from_sockaddr(bound, &ss);
  u->ports[i].socks = true;
  u->ports[i].client = *peer;
  u->ports[i].client.port = 0;
  u->counters.associations++;
  return i;
}

void forward_udp_dissociate(struct forward_udp *u, int number) {
  for (int i = 0; i < ZTNA_AGENT_UDP_MAX; i++)
    if (u->peers[i] && u->peers[i]->key.port == (uint32_t)number)
      peer_free(u, u->peers[i]);
  close(u->ports[number].fd);
  u->ports[number].fd = -1;
  u->counters.associations--;
}

/* --- peers */

/* A free number; the one that was not used for longest makes room. */
static uint32_t free_number(struct forward_udp *u) {
  uint32_t i = u->next;
  if (u->counters.peers == ZTNA_AGENT_UDP_MAX)
    peer_free(u, (struct peer *)heap_top(&u->heap));
  while (u->peers[i]) i = (i + 1) % ZTNA_AGENT_UDP_MAX;
  u->next = (i + 1) % ZTNA_AGENT_UDP_MAX;
  return i;
}

static struct peer *peer_new(struct forward_udp *u, uint64_t now,
                             const struct key *key) {
  struct peer *p = calloc(1, sizeof(*p));
  if (!p) return NULL;
  p->key = *key;
  p->number = free_number(u);
  if (map_put(&u->map, key, p) < 0) {
    free(p);
    return NULL;
  }
  if (heap_set(&u->heap, &p->node, now + IDLE_AFTER) < 0) {
    map_del(&u->map, key);
    free(p);
    return NULL;
  }
  u->peers[p->number] = p;
  u->counters.peers++;
  return p;
}

/* One that was used meanwhile stays; its place in the heap was left alone. */
void forward_udp_tick(struct forward_udp *u, uint64_t now) {
  struct heap_node *n;
  while ((n = heap_top(&u->heap)) && n->at <= now) {
    struct peer *p = (struct peer *)n;
    if (p->used_at + IDLE_AFTER > now)
      heap_set(&u->heap, n, p->used_at + IDLE_AFTER);
    else
      peer_free(u, p);
  }
}

uint64_t forward_udp_deadline(const struct forward_udp *u) {
  const struct heap_node *n = heap_top(&u->heap);
  return n ? n->at : NEVER;
}

/* --- to services */

static void send_out(struct forward_udp *u, uint64_t now, const struct key *key,
                     const struct socks5_message *header, const uint8_t *data,
                     size_t len) {
  struct peer *p = map_get(&u->map, key);
  uint32_t hidden = 0;
  int rc;
  if (!p && !(p = peer_new(u, now, key))) {
    u->counters.full++;
    return;
  }
  p->used_at = now;
  if (header) p->header = *header;
  rc = ztna_agent_udp_send(u->agent, now, p->number, key->service,
                           (uint16_t)key->to, data, len);
  if (rc == 0) {
    u->counters.out++;
    return;
  }
  u->counters.unknown += rc == ZTNA_ENOENT;
  u->counters.full += rc != ZTNA_ENOENT;
  peer_free(u, p);
  if (rc == ZTNA_ENOENT && log_allow(&u->unknown, now, 3, 60 * SEC, &hidden))
    log_warn("forward: datagram dropped service=%s: the relay lists no such "
             "service, or is not reached yet; check the name and `ztna status` "
             "(hidden=%u)",
             key->service, hidden);
}

static void take_socks(struct forward_udp *u, uint64_t now, uint32_t i,
                       struct key *key, const uint8_t *data, size_t len) {
  struct ztna_addr *client = &u->ports[i].client;
  char text[ZTNA_ADDR_STRLEN];
  struct socks5_message m;
  int n;
  if (!ztna_addr_same_ip(client, &key->from) ||
      (client->port && client->port != key->from.port)) {
    u->counters.foreign++;
    return;
  }
  n = socks5_read_datagram(&m, data, len);
  if (n < 0) {
    u->counters.malformed++;
    return;
  }
  client->port = key->from.port;
  key->to = m.port;
  strncpy(key->service, socks5_target(&m, text), sizeof(key->service) - 1);
  send_out(u, now, key, &m, data + n, len - (size_t)n);
}

static void take(struct forward_udp *u, uint64_t now, uint32_t i,
                 const struct sockaddr_storage *from, size_t len) {
  const struct forward_rule *rule = &u->ports[i].rule;
  struct key key;
  memset(&key, 0, sizeof(key));
  key.port = i;
  if (ztna_addr_from_sockaddr(&key.from, from) < 0) return;
  if (u->ports[i].socks) {
    take_socks(u, now, i, &key, u->room, len);
    return;
  }
  memcpy(key.service, rule->service, sizeof(key.service));
  key.to = rule->port;
  send_out(u, now, &key, NULL, u->room, len);
}

static void run_port(struct forward_udp *u, uint64_t now, uint32_t i) {
  for (int k = 0; k < RUN_BATCH && u->ports[i].fd >= 0; k++) {
    struct sockaddr_storage ss = {0};
    socklen_t len = sizeof(ss);
    ssize_t n = recvfrom(u->ports[i].fd, u->room, sizeof(u->room), MSG_DONTWAIT,
                         (struct sockaddr *)&ss, &len);
    if (n < 0) return;
    take(u, now, i, &ss, (size_t)n);
  }
}

void forward_udp_run(struct forward_udp *u, uint64_t now) {
  struct epoll_event v[RUN_EVENTS];
  int n = epoll_wait(u->epoll_fd, v, RUN_EVENTS, 0);
  for (int i = 0; i < n; i++) run_port(u, now, v[i].data.u32);
}

/* --- answers */

static void send_back(struct forward_udp *u, const struct peer *p,
                      const uint8_t *data, size_t len) {
  const struct port *port = &u->ports[p->key.port];
  struct sockaddr_storage ss = {0};
  uint8_t header[3 + SOCKS5_MESSAGE_MAX];
  struct iovec iov[2] = {{header, 0}, {(void *)(uintptr_t)data, len}};
  struct msghdr h = {.msg_name = &ss,
                     .msg_namelen =
                         (socklen_t)ztna_addr_to_sockaddr(&p->key.from, &ss),
                     .msg_iov = iov,
                     .msg_iovlen = 2};
  if (port->socks) iov[0].iov_len = socks5_write_datagram(header, &p->header);
  if (sendmsg(port->fd, &h, MSG_DONTWAIT) < 0)
    u->counters.full++;
  else
    u->counters.in++;
}

void forward_udp_flush(struct forward_udp *u, uint64_t now) {
  const uint8_t *data;
  uint32_t number;
  size_t len;
  while (ztna_agent_udp_next(u->agent, &number, &data, &len)) {
    struct peer *p = number < ZTNA_AGENT_UDP_MAX ? u->peers[number] : NULL;
    if (!p) continue;
    p->used_at = now;
    send_back(u, p, data, len);
  }
}
