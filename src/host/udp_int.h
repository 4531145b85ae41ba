/* udp_int.h - what the files udp*.c share. */
#ifndef ZTNA_HOST_UDP_INT_H
#define ZTNA_HOST_UDP_INT_H

#include <linux/udp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "host/udp.h"

#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

enum {
  RX_ROOM = 65535,
  RX_SOCKET_BUFFER = 8 << 20, /* 25 ms at 2.5 Gbit/s, skb overhead included */
  /* Of an extra socket, which is one of hundreds that wait for one packet. */
  RX_EXTRA_BUFFER = 64 << 10,
  TX_SOCKET_BUFFER = 2 << 20, /* a few trains; more would only be delay */
  GONE_MAX = 8,               /* those that came first are told of again */
  TX_BATCH = 32,              /* messages of one sendmmsg */
  TX_PIECES = 256,            /* buffers of all of them */
};

/* Room for one packet's PKTINFO, TOS, hop limit and segment size. */
union control {
  struct cmsghdr align;
  uint8_t room[CMSG_SPACE(sizeof(struct in6_pktinfo)) +
               3 * CMSG_SPACE(sizeof(int))];
};

struct sock {
  int fd;
  struct ztna_addr local;
  bool wildcard;
  bool gso;        /* false once the way out had no checksum offload */
  bool large;      /* an extra socket that has the buffers of a main one */
  uint16_t number; /* of an extra socket, else 0 */
  uint32_t n_sent; /* by an extra socket */
};

/* One message to send: pieces of v from [first] at byte `off` on; `end` is the
 * first of v that is not wholly in it or in a message before it. */
struct train {
  int first, end;
  uint32_t off;
  uint32_t bytes;
  uint16_t seg;
  uint16_t n_segs;
  bool pktinfo;
};

struct udp {
  struct sock socks[UDP_MAX_SOCKETS];
  int n;
  int turn;              /* whose turn it is in udp_recv */
  int blocked;           /* index or -1 */
  struct extras *extras; /* NULL until the first is opened */
  bool changed;
  struct ztna_addr gone[GONE_MAX]; /* local ones, whose end has been told */
  unsigned n_gone;
  struct udp_counters counters;

  uint8_t *rx_room; /* UDP_BATCH * RX_ROOM */
  struct mmsghdr rx_msgs[UDP_BATCH];
  struct iovec rx_iovs[UDP_BATCH];
  struct sockaddr_storage rx_names[UDP_BATCH];
  union control rx_controls[UDP_BATCH];

  struct train tx_trains[TX_BATCH];
  struct mmsghdr tx_msgs[TX_BATCH];
  struct iovec tx_iovs[TX_PIECES];
  struct sockaddr_storage tx_names[TX_BATCH];
  union control tx_controls[TX_BATCH];
};

/* udp.c */
/* Makes *s a socket bound to local, with the system's buffers. 0 or errno. */
int udp_sock_open(struct sock *s, const struct ztna_addr *local);
void udp_sock_enlarge(const struct sock *s);

/* udp_extra.c */
int udp_extra_fd(const struct udp *u);
/* The socket of d->sock and remote's family; NULL: it is not open. */
struct sock *udp_extra_find(const struct udp *u, const struct dgram *d);
/* The same, opened when it is not. NULL: counted. */
struct sock *udp_extra_open(struct udp *u, const struct dgram *d);
void udp_extra_close(struct udp *u, const struct dgram *d);
/* n messages left by it. */
void udp_extra_sent(struct udp *u, struct sock *s, int n);
/* udp_room_fd waits for its room, or for nothing more. */
bool udp_extra_block(struct udp *u, struct sock *s);
void udp_extra_unblock(struct udp *u);
/* One that has something; NULL: none. */
struct sock *udp_extra_ready(struct udp *u);
void udp_extra_free(struct udp *u);

#endif
