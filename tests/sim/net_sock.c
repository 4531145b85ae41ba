/* net_sock.c - see net_sock.h. */
#include "sim/net_sock.h"

#include <stdlib.h>

enum { EPHEMERAL = 32768, N_EPHEMERAL = 28232 }; /* as Linux has them */

struct vnet_socks {
  uint16_t port[DGRAM_SOCKS_MAX][2]; /* 0: closed; v4, v6 */
  int n;                             /* numbers below this were in use */
};

static void need(bool ok) {
  if (!ok) abort(); /* no memory, or a test's own mistake */
}

uint16_t vnet_sock_port(const struct vnet_host *h, uint16_t sock, int family) {
  if (!sock) return h->outer[family == 6].port;
  return h->socks && sock < DGRAM_SOCKS_MAX ? h->socks->port[sock][family == 6]
                                            : 0;
}

int vnet_socks_open(const struct vnet_host *h) {
  int n = 0;

  for (int i = 1; h->socks && i < h->socks->n; i++)
    n += h->socks->port[i][0] || h->socks->port[i][1];
  return n;
}

int net_sock_find(const struct vnet_host *h, int family, uint16_t port) {
  if (h->outer[family == 6].port == port) return 0;
  for (int i = 1; h->socks && i < h->socks->n; i++)
    if (h->socks->port[i][family == 6] == port) return i;
  return -1;
}

uint16_t net_sock_use(struct vnet_host *h, uint16_t sock, int family) {
  uint16_t port = vnet_sock_port(h, sock, family);

  if (!sock || port) return port;
  need(sock < DGRAM_SOCKS_MAX);
  if (!h->socks) h->socks = calloc(1, sizeof(*h->socks));
  need(h->socks);
  do port = (uint16_t)(EPHEMERAL + seeded_u64(&h->net->rnd) % N_EPHEMERAL);
  while (net_sock_find(h, family, port) >= 0);
  h->socks->port[sock][family == 6] = port;
  if (sock >= h->socks->n) h->socks->n = sock + 1;
  return port;
}

void net_sock_close(struct vnet_host *h, uint16_t sock, int family) {
  need(sock && sock < DGRAM_SOCKS_MAX);
  if (h->socks) h->socks->port[sock][family == 6] = 0;
}

void net_sock_done(struct vnet_host *h) {
  free(h->socks);
  h->socks = NULL;
}
