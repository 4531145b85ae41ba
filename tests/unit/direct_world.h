/* direct_world.h - two ends of a link that look for a direct path, on a
 * simulated network with NATs and two STUN servers. Messages pass as text in
 * 10 ms, as over a relay. What is found is tried by a packet there and back, as
 * a handshake would be. */
#ifndef ZTNA_TEST_DIRECT_WORLD_H
#define ZTNA_TEST_DIRECT_WORLD_H

#include "unit.h"

#include "base/time.h"
#include "role/direct.h"
#include "sim/nat_class.h"
#include "sim/net.h"

enum { DW_AGENT, DW_CONNECTOR, DW_SENT_MAX = 20000 };
#define DW_RTT (20 * MS)

struct dw_end {
  struct dw *w;
  struct vnet_host *host;
  struct vnet_nat *box; /* NULL: none */
  struct outside outside;
  struct direct_common c;
  struct direct *d;
  struct ztna_addr forbidden; /* by its owner; family 0: nothing is */
  struct ztna_addr observed;  /* the peer, by relays; family 0: anywhere */

  bool mute;  /* no path: nothing can be said */
  bool wants; /* agent: as long as nothing has joined */
  bool joined;
  uint16_t sock; /* that the path lives on */

  /* What happened. */
  size_t n_said, n_found, n_listened;
  uint64_t said_at;
  char said[4096]; /* the last message */
  struct ztna_addr found[DIRECT_FAMILIES];
  uint16_t found_sock[DIRECT_FAMILIES];
  uint64_t found_at[DIRECT_FAMILIES], joined_at;
  uint8_t handles[DIRECT_FAMILIES][HANDLE_LEN];
  uint8_t peer[DIRECT_FAMILIES][HANDLE_LEN];
  struct ztna_addr sent[DW_SENT_MAX]; /* destinations, in order */
  size_t n_sent;
  uint64_t sent_at[DW_SENT_MAX];
  uint64_t checked_at; /* the first packet to anybody but a server */
};

struct dw {
  struct vnet *net;
  struct vnet_host *servers[2];
  struct dw_end ends[2];
  bool cut;                 /* messages are lost */
  bool no_way;              /* what is found does not work */
  bool silent;              /* the servers do not answer */
  struct ztna_addr deaf_to; /* whom their other ports do not answer */
  char log[1 << 14];
};

/* Classes of nat_class.h. In front of one "off ": that end has it switched off;
 * "dual ": it has an IPv6 address, too. */
struct dw *dw_new(const char *agent, const char *connector, uint64_t seed);
void dw_free(struct dw *w);
uint64_t dw_now(const struct dw *w);
void dw_run(struct dw *w, uint64_t for_ns);
/* Until both have joined, or that long. */
bool dw_meets(struct dw *w, uint64_t for_ns);
/* The path is gone, for both. */
void dw_lose(struct dw *w);
/* To that end, as if its peer had said it; %s-free JSON. The result of
 * direct_message. */
int dw_hear(struct dw_end *e, const char *json);
/* Any packet, as if it came from there on the main socket. */
bool dw_arrives(struct dw_end *e, const char *from, const void *data,
                size_t len);
/* A check of the round that the agent has said last, as if it came from there.
 */
void dw_check_arrives(struct dw_end *e, const char *from);
size_t dw_sent_to(const struct dw_end *e, const char *addr);
/* A member of direct_status: a text, or "" when there is none. */
const char *dw_status(struct dw_end *e, const char *key);
long dw_status_number(struct dw_end *e, const char *key); /* -1: none */

/* Another link of that end. */
struct direct *dw_link(struct dw_end *e);
/* Waits for the next word of the agent; seconds that it took. */
double dw_next_round(struct dw *w, double at_most);
/* After a first round that could not but fail. */
struct dw *dw_hopeless(uint64_t seed);
void dw_check_why(struct dw_end *e, const char *why);

/* Within what the schedule may differ by chance, and the observer takes. */
#define DW_NEAR(value, want)                                   \
  do {                                                         \
    double v_ = (value), w_ = (want);                          \
    if (v_ < w_ * 0.8 - 0.06 || v_ > w_ * 1.2 + 0.06)          \
      fail_msg("%s is %.3f, want about %.3f", #value, v_, w_); \
  } while (0)

/* Messages by hand. */
#define DW_KEY \
  "\"id\":\"0102030405060708\",\"key\":\"" DW_K8 DW_K8 DW_K8 DW_K8 "\""
#define DW_K8 "0102030405060708"
#define DW_HANDLES "\"handles\":[\"0102030405060708\",\"1112131415161718\"]"
#define DW_OFFER(round, list)                                            \
  "{\"type\":\"candidates\",\"round\":" #round "," DW_KEY "," DW_HANDLES \
  ",\"nat\":{\"mapping\":\"address-and-port-dependent\",\"allocation\":" \
  "\"random\"},\"list\":[" list "]}"
#define DW_AT(addr, kind) "{\"addr\":\"" addr "\",\"kind\":\"" kind "\"}"

#endif
