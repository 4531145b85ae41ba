/* agent.h - the agent without its skin, for embedders: IP packets, UDP
 * datagrams and time go in; IP packets, UDP datagrams, wishes (addresses,
 * routes) and a deadline come out. No I/O, no clock, no threads.
 *
 *   one turn:  udp_in / ip_in / tick
 *              while (n = next(...)) send them
 *              while (n = ip_next(...)) write them to the TUN
 *              if generation() changed: set addresses and routes
 *              sleep until deadline()
 *
 * Times are monotonic nanoseconds of any origin. An agent is used by one thread
 * at a time. */
#ifndef ZTNA_AGENT_H
#define ZTNA_AGENT_H

#include <ztna/addr.h>
#include <ztna/dgram.h>
#include <ztna/identity.h>
#include <ztna/sock.h>

enum {
  ZTNA_AGENT_MTU_MIN = 1280, /* RFC 8200, 5 */
  ZTNA_AGENT_MTU_MAX = 1500,
  ZTNA_IP_MAX = 65535, /* a super-packet */
};

/* An IP packet from or for this machine. */
struct ztna_ip {
  const uint8_t *data;
  size_t len;
  /* 0: one packet. Else a TCP or UDP super-packet: its payload is that of many
   * packets with so many bytes each, the last may have less. */
  uint16_t gso_size;
  /* The TCP or UDP checksum is only that of the pseudo header (as with
   * VIRTIO_NET_HDR_F_NEEDS_CSUM). Always so with a gso_size. */
  bool partial;
};

struct ztna_agent;

/* Everything is copied. */
struct ztna_agent_config {
  struct ztna_identity identity;
  const char *const *relays; /* "host:port", tried in turn */
  size_t n_relays;
  const char *const *services; /* ids or patterns with *; none: all */
  size_t n_services;
  const struct ztna_prefix *networks; /* where addresses are accepted from a
                                         relay */
  size_t n_networks;
  bool direct; /* look for direct paths to connectors */
  /* Private networks where connectors may be looked for, besides those of this
   * machine's interfaces; 16 at most. */
  const struct ztna_prefix *direct_networks;
  size_t n_direct_networks;
  bool cubic;   /* congestion control instead of BBR */
  uint16_t mtu; /* of the tunnel; 0: 1280 */
  /* The TUN takes TCP super-packets and partial checksums; and of UDP. */
  bool offload, offload_udp;
  void (*random)(void *ctx, void *buf, size_t len); /* cryptographic */
  void *random_ctx;
  int64_t unix_now; /* seconds since 1970 */
};

/* Once per process before the first agent. 0 or ZTNA_ETLS. */
int ztna_agent_global_init(void (*random)(void *ctx, void *buf, size_t len),
                           void *random_ctx);

/* 0; ZTNA_ETLS or ZTNA_EINVAL with a sentence for people in why (room bytes);
 * ZTNA_ENOMEM. */
int ztna_agent_new(struct ztna_agent **a, const struct ztna_agent_config *cfg,
                   uint64_t now, char *why, size_t room);
void ztna_agent_free(struct ztna_agent *a);

/* Another certificate of the same SPIFFE ID, other CAs or lists of revoked
 * ones. Control connections and paths are made anew beside the old ones and
 * flows move over; those of peers that are not let in any more end at once. 0;
 * or as ztna_agent_new, and nothing changed. */
int ztna_agent_set_identity(struct ztna_agent *a,
                            const struct ztna_identity *id, uint64_t now,
                            char *why, size_t room);

/* The index of a relay whose name should be resolved (again), or -1. */
int ztna_agent_wants_relay(struct ztna_agent *a);
void ztna_agent_set_relay(struct ztna_agent *a, size_t relay,
                          const struct ztna_addr *v, size_t n, uint64_t now);

/* In. Bytes are lent until next and ip_next have returned 0. */
void ztna_agent_udp_in(struct ztna_agent *a, uint64_t now,
                       const struct dgram *d);
/* One whole IP packet, or super-packet, from this machine. */
void ztna_agent_ip_in(struct ztna_agent *a, uint64_t now,
                      const struct ztna_ip *pkt);
void ztna_agent_tick(struct ztna_agent *a, uint64_t now);
/* Addresses or default routes of this machine changed. */
void ztna_agent_network_changed(struct ztna_agent *a, uint64_t now);
/* This machine's own addresses, sorted, 32 at most, each with the port of the
 * UDP socket of its family. Told at the start and after each change. */
void ztna_agent_set_locals(struct ztna_agent *a, const struct ztna_local *v,
                           size_t n, uint64_t now);
/* Outer addresses that a router forwards to our v4 UDP socket because we asked
 * it to; n 0: none (any more). */
void ztna_agent_set_mapped(struct ztna_agent *a, const struct ztna_addr *v,
                           size_t n, uint64_t now);

/* Out. Datagrams: at most max, lent until the agent is called again; 0: none
 * left. */
int ztna_agent_next(struct ztna_agent *a, uint64_t now, struct dgram *v,
                    int max);
/* One IP packet for this machine, lent until the next call; false: none left.
 * Super-packets and partial checksums only when config.offload is set, of UDP
 * when config.offload_udp is. */
bool ztna_agent_ip_next(struct ztna_agent *a, struct ztna_ip *pkt);
/* The earliest time at which tick must be called; UINT64_MAX: never. */
uint64_t ztna_agent_deadline(const struct ztna_agent *a);

/* --- without a TUN: programs' sockets, spliced to flows (ztna/sock.h) --- */

/* Sockets are numbered below this. */
enum { ZTNA_AGENT_SOCK_MAX = 4096 };

/* A TCP connection that the skin accepted for this service (by its id, or by
 * one of its addresses as text) and port. 0 with its number; ZTNA_EFULL;
 * ZTNA_ENOENT: the relay lists no such service. While no relay was reached yet
 * it waits for 10 s. Of `from`, the program's address, the connector sees the
 * port, behind the agent's own tunnel address. Until the answer is there the
 * skin reads nothing from it: then comes a READ, or an ABORT, whose reason
 * ztna_agent_sock_why tells. */
int ztna_agent_sock_open(struct ztna_agent *a, uint64_t now,
                         const char *service, uint16_t port,
                         const struct ztna_addr *from, uint32_t *sock);
bool ztna_agent_sock_next(struct ztna_agent *a, struct ztna_sock_op *op);
/* The name of the reason, from the ABORT until the number is used again;
 * "reset": by the other end. */
const char *ztna_agent_sock_why(const struct ztna_agent *a, uint32_t sock);
/* Where to read to; NULL: no room, READ follows. */
uint8_t *ztna_agent_sock_room(struct ztna_agent *a, uint32_t sock,
                              size_t *room);
void ztna_agent_sock_read(struct ztna_agent *a, uint64_t now, uint32_t sock,
                          size_t n);
void ztna_agent_sock_eof(struct ztna_agent *a, uint64_t now, uint32_t sock);
void ztna_agent_sock_failed(struct ztna_agent *a, uint64_t now, uint32_t sock,
                            enum ztna_sock_error why);
/* What to write: at most n vectors; 0: nothing now. */
int ztna_agent_sock_peek(struct ztna_agent *a, uint32_t sock,
                         struct ztna_sock_vec *v, int n);
void ztna_agent_sock_wrote(struct ztna_agent *a, uint64_t now, uint32_t sock,
                           size_t n);

/* UDP of a program on this machine, without a TUN. `local` is the skin's number
 * for (program, service, port), below ZTNA_AGENT_UDP_MAX; answers come back
 * with it, whole, however large they are. 0; ZTNA_ENOENT (no such service, or
 * no relay was reached yet), ZTNA_ESIZE, ZTNA_EFULL. */
enum { ZTNA_AGENT_UDP_MAX = 4096 };
int ztna_agent_udp_send(struct ztna_agent *a, uint64_t now, uint32_t local,
                        const char *service, uint16_t port, const uint8_t *data,
                        size_t len);
/* An answer, lent until the next call. False: none left. */
bool ztna_agent_udp_next(struct ztna_agent *a, uint32_t *local,
                         const uint8_t **data, size_t *len);
/* The program is gone: the number is free. */
void ztna_agent_udp_forget(struct ztna_agent *a, uint32_t local);

/* Wishes: grows when one of the two lists below changed. */
uint32_t ztna_agent_generation(const struct ztna_agent *a);
/* The agent's own tunnel addresses; returns how many, 2 at most. */
int ztna_agent_addresses(const struct ztna_agent *a, struct ztna_addr v[2]);
/* The addresses of services; returns how many of them fit max. */
int ztna_agent_routes(const struct ztna_agent *a, struct ztna_addr *v, int max);

/* True when a relay is reached; else why, as a name of the reason table. */
bool ztna_agent_ready(const struct ztna_agent *a, const char **why);
/* Asks the relay about a service as its use would, listed or not, and again if
 * it is in use; the answer is in the status (its `asked` is true until then).
 * 0; ZTNA_ENOENT: config.services leaves it out; ZTNA_EAGAIN: no relay is
 * reached; ZTNA_EFULL. */
int ztna_agent_ask(struct ztna_agent *a, uint64_t now, const char *service);
/* What `ztna status` shows, a JSON object; malloc'd, NULL: no memory. */
char *ztna_agent_status(const struct ztna_agent *a);
/* Prometheus text; malloc'd. */
char *ztna_agent_metrics(const struct ztna_agent *a);

/* Says goodbye; drain afterwards until stopped (bounded by the caller). */
void ztna_agent_stop(struct ztna_agent *a, uint64_t now);
bool ztna_agent_stopped(const struct ztna_agent *a);

#endif
