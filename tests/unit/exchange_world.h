/* exchange_world.h - two clients and a server over an in-memory wire, whose own
 * files are exchanged while DATAGRAMs go both ways. */
#ifndef ZTNA_TESTS_EXCHANGE_WORLD_H
#define ZTNA_TESTS_EXCHANGE_WORLD_H

#include "base/time.h"
#include "sim/pki.h"
#include "sim/seeded.h"
#include "transport/quic.h"

enum { XW_NOW = 1700000000, XW_CLIENTS = 2, XW_WIRE = 4096 };

struct xw_packet {
  uint64_t at;
  struct ztna_addr from, to;
  size_t len;
  uint8_t data[1500];
};

/* One end of one connection. */
struct xw_end {
  struct quic_conn *conn; /* ready */
  int n_ready, n_end;
  struct quic_end end;
  uint64_t n_sent, n_got; /* DATAGRAMs */
  uint64_t n_due;         /* to be sent now */
};

struct xw {
  struct seeded rnd;
  struct quic *server, *clients[XW_CLIENTS];
  struct ztna_addr server_addr, client_addrs[XW_CLIENTS];
  struct xw_end at_server[XW_CLIENTS], at_client[XW_CLIENTS];
  struct xw_packet *wire;
  size_t n_wire;
  uint64_t now;
};

/* Lent. */
struct xw *xw_new(struct tls *server, struct tls *client0, struct tls *client1);
void xw_free(struct xw *w);
void xw_dial(struct xw *w, int i);
/* Both dial, and are ready. */
void xw_connect(struct xw *w);
/* Lets ns go by; every ready end sends a DATAGRAM per ms. */
void xw_run(struct xw *w, uint64_t ns);
/* Lets what is on its way arrive, then: whatever was sent between these two has
 * arrived. */
void xw_assert_no_loss(struct xw *w, int i);

#endif
