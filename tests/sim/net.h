/* net.h - a network on virtual time: hosts with addresses, lines with delay,
 * bandwidth and a queue, jitter, loss, reordering, duplication and a size
 * limit, NATs that forget, cables that are pulled. What happens follows from
 * the seed alone.
 *
 * Every host hangs on the network by one line, so a packet crosses the up
 * direction of its sender and the down direction of its receiver: is it lost,
 * does it find room in the queue, its turn, the way. A line keeps the order of
 * packets unless it is told to reorder.
 *
 * A host may hang behind a NAT or firewall instead (nat.h), on its LAN; the box
 * has the line to the network then, or to the LAN of another box. Hosts of one
 * LAN reach each other there. Translation takes no time: what goes out is
 * translated before the box's line, what comes in behind it.
 *
 * Hops: every box and the core in between (core_hops) take one off a packet's
 * TTL and drop what has none left; a box before it looks at the packet. So of a
 * host behind one box, a packet with TTL 1 dies in the box, with 2 it opens its
 * hole and dies in the core, with 3 in the peer's box. Lines take none. */
#ifndef ZTNA_TESTS_NET_H
#define ZTNA_TESTS_NET_H

#include "base/dgram.h"
#include "base/heap.h"
#include "sim/nat.h"
#include "sim/seeded.h"

struct vnet;

/* A bandwidth and the drop-tail queue before it. Lines that have the same one
 * share it. */
struct vnet_pipe {
  uint64_t rate;    /* bits/s of IP packets */
  size_t queue;     /* bytes that may wait */
  uint64_t free_at; /* when all that is in it has left */
  uint64_t longest; /* ns that a packet waited at most, until it is reset */
};

struct vnet_line {           /* one direction */
  struct vnet_pipe *pipe;    /* NULL: any bandwidth */
  uint64_t delay, jitter;    /* ns; jitter is uniform on top */
  double loss, dup, reorder; /* probabilities */
  uint64_t reorder_by;       /* ns more, uniform, for those reordered */
  size_t mtu;                /* largest UDP payload; 0: any */
  uint64_t last;             /* when the last packet in order leaves it */
  /* What came through, in IP packets, and what did not. */
  uint64_t n_packets, n_bytes, n_lost, n_full;
};

struct vnet_counters {
  uint64_t n_sent, n_lost, n_full, n_too_big, n_nobody, n_delivered;
  uint64_t n_filtered; /* by boxes, either way */
  uint64_t n_expired;  /* no hop left */
};

enum {
  VNET_HOSTS = 16,
  VNET_NATS = 16,
  VNET_TTL = 64, /* of packets that name none */
  VNET_PEERS = 32,
  VNET_PIPES = 8,
  VNET_HEADERS = 28, /* of IPv4 and UDP, before each payload */
};

struct vnet_host {
  struct vnet *net;
  int number;
  struct ztna_addr
      inner[2]; /* v4, v6: what the host believes; family 0: none */
  struct ztna_addr outer[2]; /* what others see, or the first box */
  struct vnet_nat *behind;   /* NULL: its line ends in the core */
  /* A simple NAT of its own, without a box: */
  bool nat; /* lets in only whom the host has sent to */
  struct ztna_addr peers[VNET_PEERS]; /* whom it has sent to since */
  size_t n_peers;
  struct vnet_line up, down;
  bool off;                 /* cable pulled: both directions */
  bool blocked[VNET_HOSTS]; /* no packets from here to these */
  struct vnet_socks *socks; /* extra ones; NULL: never had any */
  /* A packet, or a train of them that arrived together; lent. */
  void (*on_dgram)(void *ud, const struct dgram *d);
  void *ud;
};

/* A box with a LAN inside. */
struct vnet_nat {
  struct vnet *net;
  struct sim_nat *model;
  struct vnet_nat *behind; /* whose LAN it hangs on; NULL: the core */
  struct vnet_line up, down;
  bool off;
};

struct vnet {
  struct seeded rnd;
  uint64_t now;
  struct vnet_host hosts[VNET_HOSTS];
  int n_hosts;
  struct vnet_nat nats[VNET_NATS];
  int n_nats;
  int core_hops; /* 1 */
  struct vnet_pipe pipes[VNET_PIPES];
  int n_pipes;
  struct heap events;
  struct vnet_counters counters;
  uint64_t digest; /* of every packet sent so far, and when */
  /* Sees every packet that is sent into the core, from the address it has
   * there; not what stays in a LAN or dies in a box. */
  void (*on_wire)(void *ud, const struct ztna_addr *from,
                  const struct ztna_addr *to, const uint8_t *data, size_t len);
  void *wire_ud;
};

struct vnet *vnet_new(uint64_t seed, uint64_t now);
void vnet_free(struct vnet *n);

/* v4 and v6 with ports ("192.0.2.1:4433"), either may be NULL. delay: of each
 * direction of its line. */
struct vnet_host *vnet_add(struct vnet *n, const char *v4, const char *v6,
                           uint64_t delay);
/* queue: bytes. The network owns it. */
struct vnet_pipe *vnet_pipe(struct vnet *n, uint64_t rate, size_t queue);
/* Another outer port per family: the NAT forgot, or the host has a new socket.
 * What is sent to the old ones finds nobody. */
void vnet_rebind(struct vnet_host *h);

/* Another address of the host itself, with ports; NULL: none of that family
 * from now on. Its extra sockets stay. */
void vnet_readdress(struct vnet_host *h, const char *v4, const char *v6);

/* A box; outer: its IPv4 address without port, NULL for firewalls. behind: NULL
 * or the box on whose LAN it hangs. The delay is its line's. */
struct vnet_nat *vnet_nat(struct vnet *n, const struct sim_nat_config *c,
                          const char *outer, struct vnet_nat *behind,
                          uint64_t delay);
/* Hangs the host on the box's LAN, or on the core (NULL). Its own line is the
 * LAN's then; a delay of more than 2 us there lets packets arrive as trains. */
void vnet_behind(struct vnet_host *h, struct vnet_nat *box);

/* An extra socket's port, 0 when it is not open; family 4 or 6. */
uint16_t vnet_sock_port(const struct vnet_host *h, uint16_t sock, int family);
/* How many are open, by number: one with both families counts once. */
int vnet_socks_open(const struct vnet_host *h);

/* From a host: one packet or a train, from the socket that it names; of len 0
 * it closes that socket. */
void vnet_send(struct vnet_host *h, const struct dgram *d);
/* From nowhere, with any source address; arrives after delay. */
void vnet_inject(struct vnet *n, const struct ztna_addr *from,
                 const struct ztna_addr *to, const uint8_t *data, size_t len,
                 uint64_t delay);
/* Calls fn at that time. */
void vnet_at(struct vnet *n, uint64_t at, void (*fn)(void *ud, uint64_t arg),
             void *ud, uint64_t arg);

uint64_t vnet_deadline(const struct vnet *n); /* of the next event, or NEVER */
/* Lets what is due at n->now happen: one train, or one call. False: nothing. */
bool vnet_step(struct vnet *n);
/* A network alone, without a world around it. */
void vnet_run(struct vnet *n, uint64_t for_ns);

#endif
