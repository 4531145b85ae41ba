/* probe_int.h - between the files of the probe: probe.c (the run),
 * probe_control.c (a control connection), probe_hole.c (hairpinning, lifetime),
 * probe_report.c (what was found). */
#ifndef ZTNA_HOST_PROBE_INT_H
#define ZTNA_HOST_PROBE_INT_H

#include "host/probe.h"

#include "../../platform/net.h"
#include "host/loop.h"
#include "host/portmap.h"
#include "host/probe_ping.h"
#include "part/punch.h"
#include "role/observer.h"
#include "transport/h3.h"

enum {
  PROBE_PATHS = 2 * PROBE_TARGETS,
  PROBE_NET_ADDRS = 32,
  PROBE_HOLES = 16,      /* of the lifetime test */
  PROBE_SIZE_MAX = 1452, /* the largest packet that QUIC tries */
};

/* The control connection of one path. */
struct probe_control {
  struct h3 *session;
  bool dialled, ready, told; /* told: /v1/self was answered, or never will be */
  uint64_t dialled_at, ready_at;
  json_t *self;
  int64_t wall_ms; /* our clock when /v1/self was answered */
  uint64_t self_rtt;
  /* copied before the connection ends */
  char group[32], cipher[48], alpn[8], relay[IDENTITY_SPIFFE_MAX + 1];
  int64_t relay_not_after;
  struct quic_info info;
  enum reason why; /* of its end, before it was ready */
  char text[320];
  bool reached; /* something came back */
};

/* One server's address of one family. */
struct probe_path {
  struct probe *probe;
  const struct probe_target *target;
  size_t index;          /* of the target */
  int family;            /* 4 or 6 */
  struct ztna_addr addr; /* family 0: none */
  struct ping ping;
  struct probe_control control;
};

/* A mapping that is left alone for so long, then looked for. */
struct probe_hole {
  uint16_t sock;
  uint64_t rest; /* ns */
  uint8_t txid[STUN_TXID_LEN];
  uint16_t port;    /* the outer one; 0: not known yet */
  uint64_t next_at; /* the next packet, or the end of waiting */
  int n_sent;       /* of what it waits for now */
  int n_used;       /* answers before it rests */
  enum { HOLE_NEW, HOLE_RESTS, HOLE_ASKED, HOLE_ALIVE, HOLE_GONE } state;
};

/* Packets from one socket of ours to the outer address of the other. */
struct probe_hairpin {
  bool running, done, passes;
  uint16_t sock; /* the second one; 0: none */
  uint8_t txid[STUN_TXID_LEN], open_txid[STUN_TXID_LEN];
  struct ztna_addr mapped; /* of the second socket; family 0: not known yet */
  uint64_t next_at;
  int n_sent;
};

struct probe_lifetime {
  bool running, done;
  bool works; /* the server answers to another port */
  struct probe_hole holes[PROBE_HOLES];
  size_t n_holes;
  uint64_t alive, gone; /* known to last so long, known not to; 0: unknown */
};

struct probe {
  const struct probe_options *o;
  struct host *host;
  struct host_role *role;
  struct udp *udp; /* the host's */
  struct quic *quic;
  struct observer *observer;
  struct punch_socks socks;
  struct net *net;
  struct net_addr addrs[PROBE_NET_ADDRS];
  int n_addrs;
  bool has[2]; /* a socket of that family */
  uint16_t port[2];
  struct probe_path paths[PROBE_PATHS]; /* 2 i and 2 i + 1: of target i */
  char why[PROBE_TARGETS][128];         /* a name that was not resolved */
  size_t n_resolving;
  uint64_t begun_at, end_at;
  bool observed; /* observer was started */
  /* Questions to other ports of a server, by family: firewalls may let UDP out
   * to some ports only. */
  int n_elsewhere[2], n_elsewhere_answered[2];
  bool stopping;
  struct probe_hairpin hairpin;
  struct probe_lifetime lifetime;
  /* A router is asked for the port of a socket of its own: how it treats the
   * main one shall stay as it is. */
  struct udp *mapped_udp;
  struct portmap *portmap; /* NULL: not asked */
  json_t *mapping;         /* portmap_status at the end */
};

/* --- probe_control.c */

void probe_control_dial(struct probe_path *p, uint64_t now);
/* Nothing more is expected of it. */
bool probe_control_is_over(const struct probe_path *p, uint64_t now);
uint64_t probe_control_deadline(const struct probe_path *p);
/* Copies what only a live connection tells. */
void probe_control_look(struct probe_path *p);
void probe_control_close(struct probe_path *p);

/* --- probe_hole.c: each test begins when the view of IPv4 is there */

void probe_hairpin_start(struct probe *p, uint64_t now);
void probe_lifetime_start(struct probe *p, uint64_t now);
bool probe_hole_in(struct probe *p, uint64_t now, const struct dgram *d,
                   const struct stun_msg *m);
bool probe_hole_next(struct probe *p, uint64_t now, struct dgram *d);
void probe_hole_tick(struct probe *p, uint64_t now);
uint64_t probe_hole_deadline(const struct probe *p);

/* --- probe_report.c */

json_t *probe_report(struct probe *p, uint64_t now, enum probe_result *result);

#endif
